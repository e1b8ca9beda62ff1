"""Where in a filter file a mistake is: tomllib keeps no lines, so the key that a message names is looked for."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\s-]+?)\s*\]")
_NAMED = re.compile(
    r"(?:(?:rule|thread|module) (?P<number>\d+)(?: \(.*?\))?: )?(?:\[(?P<section>[\w.]+)\]: )?"
    r"(?:unknown key '(?P<unknown>[^']*)'|(?P<path>[\w.]+)(?:\[.*?\])?: )"
)


def line_of(message: str, text: str, document: Mapping[str, Any], number: int | None) -> int | None:
    """The line that a message is about; None if it cannot be told. `number`: of a rule, each range counts."""
    named = _NAMED.match(message)
    table, key = "", ""
    if named is not None:
        *tables, key = (named["unknown"] or named["path"] or "").split(".")
        table = named["section"] or ".".join(tables)
    kind = message.partition(" ")[0]
    if kind == "rule" and number is not None:
        position = _position(document, number)
    elif kind in ("thread", "module") and named is not None and named["number"] is not None:
        position = int(named["number"])
    else:
        return _line(text, [], table, key)
    headers = [at for at, name in _headers(text) if name == f"[[{kind}"]
    tables_of = document.get(kind)
    if not isinstance(tables_of, list) or len(headers) != len(tables_of) or position >= len(headers):
        return None  # written in another way, or in a string of several lines
    return _line(text, headers[position : position + 1], table, key) or headers[position]


def _position(document: Mapping[str, Any], number: int) -> int:
    """Which [[rule]] the rule with this number is in."""
    rules = document.get("rule")
    for position, rule in enumerate(rules if isinstance(rules, list) else []):
        ranges = rule.get("ranges") if isinstance(rule, dict) else None
        count = len(ranges) if isinstance(ranges, list) else 1
        if number < count:
            return position
        number -= count
    return number


def _headers(text: str) -> list[tuple[int, str]]:
    """Lines and names of the tables: [name, [[name."""
    found = ((at, _HEADER.match(line)) for at, line in enumerate(text.split("\n"), start=1))
    return [(at, f"{match[1]}{match[2]}") for at, match in found if match is not None]


def _line(text: str, begins: list[int], table: str, key: str) -> int | None:
    """The line of a key below this header, or in this table; that of the table if the key is not in it."""
    if not key:
        return None
    lines = text.split("\n")
    headers = _headers(text)
    if not begins and table:
        begins = [at for at, name in headers if name == f"[{table}"]
    if not begins and table:
        return _line(text, [], "", table.partition(".")[0])  # table.key = value, or table = { key = value }
    begin = begins[0] if begins else 0
    end = min((at for at, _ in headers if at > begin), default=len(lines) + 1)
    if any(quotes in line for line in lines[begin : end - 1] for quotes in ('"""', "'''")):
        return begin or None  # what looks like a key may be a line of a text
    assigned = re.compile(rf"\s*([\"']?){re.escape(key)}\1\s*[.=]")
    for at in range(begin + 1, end):
        if assigned.match(lines[at - 1]):
            return at
    return begin or next((at for at, name in headers if name.lstrip("[") == key), None)
