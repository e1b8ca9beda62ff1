"""Filter files: TOML to a filter and back. Public through `Filter.from_toml`, `from_file` and `to_toml`.

TOML cannot hold odd bytes, so a glob may also be written as ``{ hex = "2f746d70ff" }``; 64-bit numbers above 2**63 - 1
may be written as text, as all addresses are here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..enums import ModuleWrite, ThreadWrite
from ..errors import FilterError
from . import _values
from ._rules import (
    ALL_MODULE,
    ALL_THREAD,
    ModuleRule,
    RangeRules,
    Rule,
    ThreadRule,
    exclude_ranges,
    include_ranges,
    make_rule,
    module,
    thread,
)

if TYPE_CHECKING:
    from ._filter import Filter

_Made = TypeVar("_Made")

_TOP = (
    "default",
    "read_failure",
    "ignore_case",
    "secondary_flags",
    "rule",
    "thread",
    "threads",
    "module",
    "modules",
    "memory",
    "streams",
    "redact",
    "environ",
)
_RULE = (
    "action",
    "label",
    "range",
    "ranges",
    "state",
    "type",
    "protect",
    "min_size",
    "max_size",
    "module",
    "name",
    "kind",
    "bytes",
)


def read(text: str | bytes, source: str | None) -> Filter:
    """A compiled filter from the text of a filter file."""
    where = "filter" if source is None else source
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise FilterError(
                f"{where}:{line}: not UTF-8, as TOML must be: {error.reason}", filename=source, lineno=line
            ) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        # "at end of document" is the other way tomllib puts it.
        line = int(match[1]) if match else text.count("\n") + 1
        raise FilterError(f"{where}:{line}: not TOML: {error}", filename=source, lineno=line) from None
    except RecursionError:
        raise FilterError(f"{where}: nested too deeply", filename=source) from None
    try:
        return _Reader(_headers(text, document)).filter(document).compile()
    except FilterError as error:
        if error.index is not None and error.message.startswith("rule ") and error.lineno is None:
            error.lineno = _line_of_rule(_headers(text, document), document, error.index)
        error.message = f"{where}:{error.lineno}: {error.message}" if error.lineno else f"{where}: {error.message}"
        error.filename = source
        raise


def _headers(text: str, document: Mapping[str, Any]) -> list[int]:
    """Lines of the [[rule]] headers. tomllib keeps no lines, so they are looked for; none where they may lie."""
    headers = [at for at, line in enumerate(text.split("\n"), start=1) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)]
    rules = document.get("rule")
    return headers if isinstance(rules, list) and len(headers) == len(rules) else []


def _line_of_rule(headers: list[int], document: Mapping[str, Any], number: int) -> int | None:
    """Line of the rule with this number, where each range of a block counts as one."""
    for header, rule in zip(headers, document.get("rule", []), strict=False):
        ranges = rule.get("ranges") if isinstance(rule, dict) else None
        count = len(ranges) if isinstance(ranges, list) else 1
        if number < count:
            return header
        number -= count
    return None


class _Reader:
    """Turns the parsed document into a filter; every complaint names the place in the file."""

    def __init__(self, headers: list[int]) -> None:
        self.headers = headers

    def filter(self, document: dict[str, Any]) -> Filter:
        from ._filter import Filter

        _known(document, _TOP, "")
        rules: list[Rule | RangeRules] = []
        number = 0
        for position, table in enumerate(_tables(document, "rule")):
            try:
                rule = self.rule(table, number)
            except FilterError as error:
                error.lineno = self.headers[position] if self.headers else None
                raise
            rules.append(rule)
            number += 1 if isinstance(rule, Rule) else len(rule)

        threads = _table(document, "threads", ("default", "exclude", "include"))
        modules = _table(document, "modules", ("default", "exclude", "include"))
        memory = _table(document, "memory", ("add", "remove"))
        streams = _table(document, "streams", ("exclude",))
        redact = _table(document, "redact", ("ranges", "patterns", "stacks", "fill"))
        environ = _table(document, "environ", ("keep", "drop"))
        values: dict[str, Any] = {key: document[key] for key in ("default", "read_failure") if key in document}
        if "ignore_case" in document:
            values["ignore_case"] = _typed(document, "ignore_case", bool, "true or false")
        if "secondary_flags" in document:
            values["secondary_flags"] = _names(document["secondary_flags"], "secondary_flags")
        if "stacks" in redact:
            values["deface_stacks"] = _typed(redact, "stacks", bool, "true or false")
        if "fill" in redact:
            values["fill"] = redact["fill"]
        return Filter(
            *rules,
            threads=[
                *(_at("threads.exclude", thread, tid, ThreadWrite(0)) for tid in _list(threads, "exclude", "threads")),
                *(_at("threads.include", thread, tid, ALL_THREAD) for tid in _list(threads, "include", "threads")),
                *(self.thread(table, at) for at, table in enumerate(_tables(document, "thread"))),
            ],
            threads_default=_default(threads, "threads", ALL_THREAD),
            modules=[
                *(_at("modules.exclude", _module, at, ModuleWrite(0)) for at in _list(modules, "exclude", "modules")),
                *(_at("modules.include", _module, at, ALL_MODULE) for at in _list(modules, "include", "modules")),
                *(self.module(table, at) for at, table in enumerate(_tables(document, "module"))),
            ],
            modules_default=_default(modules, "modules", ALL_MODULE),
            memory_add=[_at("memory.add", _values.address_range, at, "range") for at in _list(memory, "add", "memory")],
            memory_remove=[
                _at("memory.remove", _values.address_range, at, "range") for at in _list(memory, "remove", "memory")
            ],
            streams_exclude=_names(streams.get("exclude", []), "streams.exclude"),
            scrub=[
                _at("redact.ranges", _values.address_range, at, "range") for at in _list(redact, "ranges", "redact")
            ],
            patterns=[
                _at("redact.patterns", _values.pattern, _pattern(item, number), f"pattern {number}")
                for number, item in enumerate(_secrets(redact, "patterns", "redact"))
            ],
            environ_keep=[_glob(item, "environ.keep") for item in _list(environ, "keep", "environ")],
            environ_drop=[_glob(item, "environ.drop") for item in _list(environ, "drop", "environ")],
            **values,
        )

    def rule(self, table: dict[str, Any], number: int) -> Rule | RangeRules:
        label = table.get("label")
        where = f"rule {number}" + (f" ({label})" if isinstance(label, str) else "")
        try:
            _known(table, _RULE, "")
            if "action" not in table:
                raise FilterError("action: missing; write include, exclude or head")
            values = dict(table)
            if "ranges" in values:
                return self.ranges(values)
            for key in ("module", "name"):
                if key in values:
                    values[key] = _glob(values[key], key)
            for key in ("state", "type", "kind", "protect"):
                if key in values:
                    values[key] = _names(values[key], key)
            return make_rule(**values)
        except FilterError as error:
            error.message = f"{where}: {error.message}"
            error.index, error.label = number, label if isinstance(label, str) else None
            raise

    def ranges(self, values: dict[str, Any]) -> RangeRules:
        others = sorted(values.keys() - {"action", "label", "ranges"})
        if others:
            raise FilterError(f"{others[0]}: cannot be combined with ranges; write one rule for each range")
        make = {"include": include_ranges, "exclude": exclude_ranges}.get(values["action"])
        if make is None:
            raise FilterError(f"action: {values['action']!r} is not possible with ranges; write include or exclude")
        return make(_list(values, "ranges", ""), label=values.get("label"))

    def thread(self, table: dict[str, Any], number: int) -> ThreadRule:
        _known(table, ("id", "write"), f"thread {number}: ")
        _needs(table, ("id", "write"), f"thread {number}: ")
        return _at(f"thread {number}", thread, table["id"], _names(table["write"], "write"))

    def module(self, table: dict[str, Any], number: int) -> ModuleRule:
        _known(table, ("path", "write"), f"module {number}: ")
        _needs(table, ("path", "write"), f"module {number}: ")
        return _at(f"module {number}", _module, table["path"], _names(table["write"], "write"))


def _module(path: object, write: Any) -> ModuleRule:
    return module(_glob(path, "path"), write)


def _at(where: str, make: Callable[..., _Made], *values: object) -> _Made:
    """Calls `make`; its complaint gets the place in front."""
    try:
        return make(*values)
    except FilterError as error:
        error.message = f"{where}: {error.message}"
        raise


def _known(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise FilterError(f"{where}unknown key {key!r}{_values.did_you_mean(key, known)}")


def _needs(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    for key in keys:
        if key not in table:
            raise FilterError(f"{where}{key} is missing")


def _typed(table: Mapping[str, Any], key: str, kind: type, expected: str) -> Any:
    if not isinstance(table[key], kind):
        raise FilterError(f"{key}: expected {expected}, not {table[key]!r}")
    return table[key]


def _table(document: Mapping[str, Any], key: str, known: Iterable[str]) -> dict[str, Any]:
    if key not in document:
        return {}
    table: dict[str, Any] = _typed(document, key, dict, f"a section [{key}]")
    _known(table, known, f"[{key}]: ")
    return table


def _tables(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FilterError(f"{key}: write [[{key}]] with two brackets, once for each {key}")
    return tables


def _list(table: Mapping[str, Any], key: str, section: str) -> list[Any]:
    values = table.get(key, [])
    if not isinstance(values, list):
        where = f"{section}.{key}" if section else key
        raise FilterError(f"{where}: expected a list, not {values!r}")
    return values


def _names(value: object, key: str) -> Any:
    """Names of flags: text or a list of texts. Numbers are for programs, not for files."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise FilterError(f"{key}: expected a name or a list of names, not {value!r}")


def _glob(value: object, key: str) -> str | bytes:
    if isinstance(value, dict):
        _known(value, ("hex",), f"{key}: ")
        try:
            return bytes.fromhex(value["hex"])
        except (KeyError, TypeError, ValueError):
            raise FilterError(f"{key}: {value!r} is not a glob; write text or {{ hex = '2f746d70ff' }}") from None
    if not isinstance(value, str):
        raise FilterError(f"{key}: expected a glob as text, not {value!r}")
    return value


def _secrets(table: Mapping[str, Any], key: str, section: str) -> list[Any]:
    """`_list` for values that do not belong into messages."""
    if not isinstance(table.get(key, []), list):
        raise FilterError(f"{section}.{key}: expected a list")
    return _list(table, key, section)


def _pattern(value: object, number: int) -> str | bytes:
    if isinstance(value, dict):
        try:
            (text,) = (value[key] for key in value if key == "hex" and len(value) == 1)
            return bytes.fromhex(text)
        except (TypeError, ValueError):
            raise FilterError(f"redact.patterns: number {number} is not written as {{ hex = '2f746d70ff' }}") from None
    if not isinstance(value, str):
        raise FilterError(f"redact.patterns: number {number} is neither text nor {{ hex = '2f746d70ff' }}")
    return value


def _default(table: Mapping[str, Any], section: str, everything: Any) -> Any:
    value = table.get("default", "include")
    if value == "include":
        return everything
    if value == "exclude":
        return type(everything)(0)
    if isinstance(value, list):
        return _names(value, f"{section}.default")
    raise FilterError(f"{section}.default: expected include, exclude or a list of names, not {value!r}")


def write(made: Filter) -> str:
    """The text of a filter file."""
    top: dict[str, Any] = {"default": made.default, "read_failure": made.read_failure, "ignore_case": made.ignore_case}
    if made.secondary_flags:
        top["secondary_flags"] = _values.names_of(made.secondary_flags)
    parts = [_body(top)]
    parts += ["[[rule]]\n" + _body(_rule(rule)) for rule in made.rules]

    for section, items, default, everything in (
        ("thread", made.threads, made.threads_default, ALL_THREAD),
        ("module", made.modules, made.modules_default, ALL_MODULE),
    ):
        # A leading run of rules that write nothing is what `exclude` is short for.
        count = 0
        while count < len(items) and not items[count].write:
            count += 1
        table: dict[str, Any] = {}
        if default != everything:
            table["default"] = _values.names_of(default) if default else "exclude"
        if count:
            table["exclude"] = [_item_key(item) for item in items[:count]]
        if table:
            parts.append(f"[{section}s]\n" + _body(table))
        key = "id" if section == "thread" else "path"
        parts += [
            f"[[{section}]]\n" + _body({key: _item_key(item), "write": _values.names_of(item.write)})
            for item in items[count:]
        ]

    if made.memory_add or made.memory_remove:
        ranges = {"add": made.memory_add, "remove": made.memory_remove}
        parts.append("[memory]\n" + _body({key: [_pair(pair) for pair in pairs] for key, pairs in ranges.items()}))
    if made.streams_exclude:
        parts.append("[streams]\n" + _body({"exclude": _values.names_of(made.streams_exclude)}))
    redact: dict[str, Any] = {}
    if made.scrub:
        redact["ranges"] = [_pair(pair) for pair in made.scrub]
    if made.patterns:
        redact["patterns"] = [_glob_value(pattern) for pattern in made.patterns]
    if made.deface_stacks:
        redact["stacks"] = True
    if made.fill != ord("X"):
        redact["fill"] = made.fill
    if redact:
        parts.append("[redact]\n" + _body(redact))
    environ = {"keep": made.environ_keep, "drop": made.environ_drop}
    if any(environ.values()):
        parts.append(
            "[environ]\n" + _body({key: list(map(_glob_value, names)) for key, names in environ.items() if names})
        )
    return "\n".join(parts)


def _item_key(item: ThreadRule | ModuleRule) -> object:
    return item.id if isinstance(item, ThreadRule) else _glob_value(item.path)


def _rule(rule: Rule | RangeRules) -> dict[str, Any]:
    if isinstance(rule, RangeRules):
        values: dict[str, Any] = {"action": rule.action, "label": rule.label, "ranges": [_pair(pair) for pair in rule]}
    else:
        values = {
            "action": rule.action,
            "label": rule.label,
            "range": rule.range and _pair(rule.range),
            "state": rule.state and _values.names_of(rule.state),
            "type": rule.type and _values.names_of(rule.type),
            "protect": _values.protection_names(rule.protect, rule.access) or None,
            "min_size": None if rule.min_size is None else _values.size_text(rule.min_size),
            "max_size": None if rule.max_size is None else _values.size_text(rule.max_size),
            "module": None if rule.module is None else _glob_value(rule.module),
            "name": None if rule.name is None else _glob_value(rule.name),
            "kind": rule.kind and _values.names_of(rule.kind),
            "bytes": None if rule.bytes is None else _values.size_text(rule.bytes),
        }
    return {key: value for key, value in values.items() if value is not None}


def _pair(pair: tuple[int, int]) -> list[str]:
    return [f"{address:#x}" for address in pair]


def _glob_value(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _body(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        # A TOML string is a JSON string, but for DEL, which TOML wants escaped.
        import json  # for to_toml only

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"{value!r} cannot be written as TOML")
