"""Filter files: TOML to a filter and back. Public through `Filter.from_toml`, `from_file` and `to_toml`.

TOML cannot hold odd bytes, so a glob may also be written as ``{ hex = "2f746d70ff" }``; 64-bit numbers above 2**63 - 1
may be written as text, as all addresses are here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from enum import EnumMeta
from typing import TYPE_CHECKING, Any, TypeVar

from .._dump_types import words_of
from ..errors import FilterError
from . import _composed, _values
from ._files import read_trusted
from ._patterns import Pattern
from ._rules import (
    ALL_MODULE,
    ALL_THREAD,
    CONDITIONS,
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
from ._sections import Dump, Environ, Memory, Modules, Redact, Streams, Threads, keys
from ._toml_lines import line_of

if TYPE_CHECKING:
    from ._filter import Filter

_Made = TypeVar("_Made")

_TOP = (
    "preset",
    "extends",
    "default",
    "read_failure",
    "ignore_case",
    "secondary_flags",
    "dump",
    "rule",
    "thread",
    "threads",
    "module",
    "modules",
    "memory",
    "streams",
    "redact",
)
_RULE = ("action", "label", "priority", "ranges", *CONDITIONS, "bytes")


_DEPTH = 16
"""So many files may extend each other."""


def read(text: str | bytes, source: str | None, make: type[Filter], below: tuple[str, ...] = ()) -> Filter:
    """A compiled filter from the text of a filter file. `below`: the files that extend it."""
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
        base = _preset(document, make)
        made = make(*_rules(document), **_sections(document)).compile()
    except FilterError as error:
        error.lineno = line_of(error.message, text, document, error.index)
        error.message = f"{where}:{error.lineno}: {error.message}" if error.lineno else f"{where}: {error.message}"
        error.filename = source
        raise
    if "extends" in document:
        base |= _extended(document["extends"], source, below, make)
    return _on_top(base, made, document) if "extends" in document or "preset" in document else made


def _preset(document: Mapping[str, Any], make: type[Filter]) -> Filter:
    """The filters that are ready made, in their order."""
    names = document.get("preset", [])
    base = make()
    for name in names if isinstance(names, list) else [names]:
        base |= make.preset(name)
    return base


def _extended(names: object, source: str | None, below: tuple[str, ...], make: type[Filter]) -> Filter:
    """The filters that a file extends, in their order."""
    if source is None:
        raise FilterError(
            "filter: extends: needs a file that it is relative to: read this filter with Filter.from_file"
        )
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise FilterError(f"{source}: extends: expected a file or a list of files, not {names!r}", filename=source)
    folder, chain = os.path.dirname(source), (*below, os.path.realpath(source))  # noqa: PTH120
    base = make()
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118
        if os.path.realpath(path) in chain or len(chain) >= _DEPTH:
            raise FilterError(f"{source}: extends: {name} is extended by itself, or too deeply", filename=source)
        try:
            text = read_trusted(path)
        except OSError as error:
            raise FilterError(f"{source}: extends: {name}: {error.strerror}", filename=source) from error
        base |= read(text, path, make, chain)
    return base


def _on_top(base: Filter, made: Filter, document: Mapping[str, Any]) -> Filter:
    """Both filters; what the file of `made` states counts, the usual value too."""
    stated = {name: getattr(made, name) for name in _composed.PLAIN if name in document}
    for name, kind in (("threads", Threads), ("modules", Modules)):
        if "default" in document.get(name, {}):
            rules = [*getattr(base, name).rules, *getattr(made, name).rules]
            stated[name] = kind(rules, default=getattr(made, name).default)
    return (base | made).replace(**stated).compile()


def _rules(document: dict[str, Any]) -> list[Rule | RangeRules]:
    """The rules; every complaint names the rule."""
    _known(document, _TOP, "")
    rules: list[Rule | RangeRules] = []
    number = 0
    for table in _tables(document, "rule"):
        rule = _rule(table, number)
        rules.append(rule)
        number += 1 if isinstance(rule, Rule) else len(rule)
    return rules


def _rule(table: dict[str, Any], number: int) -> Rule | RangeRules:
    label = table.get("label")
    where = f"rule {number}" + (f" ({label})" if isinstance(label, str) else "")
    try:
        _known(table, _RULE, "")
        if "action" not in table:
            raise FilterError("action: missing; write include, exclude or head")
        if "ranges" in table:
            return _ranges(table)
        values = {key: _condition(key, value) for key, value in table.items() if key not in ("action", "bytes")}
        return make_rule(table["action"], values, bytes=table.get("bytes"))
    except FilterError as error:
        error.message = f"{where}: {error.message}"
        error.index, error.label = number, label if isinstance(label, str) else None
        raise


def _condition(key: str, value: object) -> Any:
    what = CONDITIONS.get(key)
    if what == "glob":
        return _glob(value, key)
    return _names(value, key) if what == "protect" or isinstance(what, EnumMeta) else value


def _ranges(table: Mapping[str, Any]) -> RangeRules:
    others = sorted(table.keys() - {"action", "label", "ranges"})
    if others:
        raise FilterError(f"{others[0]}: cannot be combined with ranges; write one rule for each range")
    make = {"include": include_ranges, "exclude": exclude_ranges}.get(table["action"])
    if make is None:
        raise FilterError(f"action: {table['action']!r} is not possible with ranges; write include or exclude")
    return make(_list(table, "ranges", ""), label=table.get("label"))


def _sections(document: dict[str, Any]) -> dict[str, Any]:
    """What `Filter` takes besides rules. A file has no numbers for flags, and other ways to write bytes."""
    values: dict[str, Any] = {key: document[key] for key in ("default", "read_failure") if key in document}
    if "ignore_case" in document:
        values["ignore_case"] = _typed(document, "ignore_case", bool, "true or false")
    if "secondary_flags" in document:
        values["secondary_flags"] = _names(document["secondary_flags"], "secondary_flags")
    threads = _table(document, "threads", _without(keys(Threads), "rules"))
    modules = _table(document, "modules", _without(keys(Modules), "rules"))
    for key in ("exclude", "include"):
        if key in modules:
            modules[key] = [_glob(item, f"modules.{key}") for item in _list(modules, key, "modules")]
        _list(threads, key, "threads")
    for name, table in (("threads", threads), ("modules", modules)):
        if "default" in table:
            table["default"] = _names(table["default"], f"{name}.default")
    threads["rules"] = [_thread(table, at) for at, table in enumerate(_tables(document, "thread"))]
    modules["rules"] = [_module(table, at) for at, table in enumerate(_tables(document, "module"))]
    dump = _table(document, "dump", keys(Dump))
    if "type" in dump and not isinstance(dump["type"], str):
        raise FilterError(f"dump.type: expected words joined by +, such as heap, not {dump['type']!r}")
    memory = _table(document, "memory", keys(Memory))
    for key in keys(Memory):
        _list(memory, key, "memory")
    streams = _table(document, "streams", keys(Streams))
    if "exclude" in streams:
        streams["exclude"] = _names(streams["exclude"], "streams.exclude")
    return values | {
        "dump": Dump(**dump),
        "threads": Threads(**threads),
        "modules": Modules(**modules),
        "memory": Memory(**memory),
        "streams": Streams(**streams),
        "redact": Redact(**_redact(document)),
    }


def _redact(document: Mapping[str, Any]) -> dict[str, Any]:
    redact = _table(document, "redact", keys(Redact))
    _list(redact, "ranges", "redact")
    if "patterns" in redact:
        if not isinstance(redact["patterns"], list):
            raise FilterError("redact.patterns: expected a list")  # without the value, which is secret
        redact["patterns"] = [_pattern(item, number) for number, item in enumerate(redact["patterns"])]
    if "environ" in redact:
        environ = _typed(redact, "environ", dict, "a section [redact.environ]")
        _known(environ, keys(Environ), "[redact.environ]: ")
        redact["environ"] = {
            key: environ[key]
            if key == "everywhere"
            else [_glob(item, f"redact.environ.{key}") for item in _list(environ, key, "redact.environ")]
            for key in environ
        }
    return redact


def _without(names: Iterable[str], left_out: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != left_out)


def _thread(table: dict[str, Any], number: int) -> ThreadRule:
    _known(table, ("id", "write"), f"thread {number}: ")
    _needs(table, ("id", "write"), f"thread {number}: ")
    return _at(f"thread {number}", thread, table["id"], _names(table["write"], "write"))


def _module(table: dict[str, Any], number: int) -> ModuleRule:
    _known(table, ("path", "write"), f"module {number}: ")
    _needs(table, ("path", "write"), f"module {number}: ")
    return _at(f"module {number}", module, _glob(table["path"], "path"), _names(table["write"], "write"))


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


def _pattern(value: object, number: int) -> str | bytes | Pattern:
    where = f"redact.patterns: number {number}"
    if isinstance(value, dict):
        rest = {key: item for key, item in value.items() if key not in ("hex", "text")}
        _known(rest, ("text", "hex", "then", "up_to", "utf16"), f"{where}: ")
        if "then" in rest:
            rest["then"] = _glob(rest["then"], f"{where}: then")
        try:
            (given,) = (value[key] if key == "text" else bytes.fromhex(value[key]) for key in value if key not in rest)
        except (TypeError, ValueError):
            raise FilterError(
                f"{where} is written neither as {{ hex = '2f746d70ff' }} nor {{ text = 'sk_' }}"
            ) from None
        return _at(where, lambda: Pattern(given, **rest))
    if not isinstance(value, str):
        raise FilterError(f"{where} is neither text nor {{ hex = '2f746d70ff' }}")
    return value


def _pattern_value(pattern: bytes | Pattern) -> object:
    if isinstance(pattern, bytes):
        return _glob_value(pattern)
    start = _glob_value(pattern.start)
    table: dict[str, Any] = dict(start) if isinstance(start, dict) else {"text": start}
    if pattern.then:
        table |= {"then": _glob_value(pattern.then), "up_to": pattern.up_to}
    return table | ({"utf16": True} if pattern.utf16 else {})


def write(made: Filter) -> str:
    """The text of a filter file."""
    top: dict[str, Any] = {"default": made.default, "read_failure": made.read_failure, "ignore_case": made.ignore_case}
    if made.secondary_flags:
        top["secondary_flags"] = _values.names_of(made.secondary_flags)
    parts = [_body(top)]
    if made.dump.type is not None:
        parts.append("[dump]\n" + _body({"type": words_of(made.dump.type)}))
    parts += ["[[rule]]\n" + _body(_rule_table(rule)) for rule in made.rules]

    for section, items, default, everything in (
        ("thread", made.threads.rules, made.threads.default, ALL_THREAD),
        ("module", made.modules.rules, made.modules.default, ALL_MODULE),
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

    memory = {key: [_pair(pair) for pair in getattr(made.memory, key)] for key in keys(Memory)}
    if any(memory.values()):
        parts.append("[memory]\n" + _body(memory))
    if made.streams.exclude:
        parts.append("[streams]\n" + _body({"exclude": _values.names_of(made.streams.exclude)}))
    redact: dict[str, Any] = {}
    if made.redact.ranges:
        redact["ranges"] = [_pair(pair) for pair in made.redact.ranges]
    if made.redact.patterns:
        redact["patterns"] = [_pattern_value(pattern) for pattern in made.redact.patterns]
    if made.redact.keys:
        redact["keys"] = list(made.redact.keys)
    if made.redact.stacks:
        redact["stacks"] = True
    if made.redact.fill != Redact().fill:
        redact["fill"] = made.redact.fill
    if redact:
        parts.append("[redact]\n" + _body(redact))
    environ: dict[str, Any] = {
        key: list(map(_glob_value, getattr(made.redact.environ, key))) for key in ("keep", "drop")
    }
    environ["everywhere"] = made.redact.environ.everywhere
    if any(environ.values()):
        parts.append("[redact.environ]\n" + _body({key: value for key, value in environ.items() if value}))
    return "\n".join(parts)


def _item_key(item: ThreadRule | ModuleRule) -> object:
    return item.id if isinstance(item, ThreadRule) else _glob_value(item.path)


def _rule_table(rule: Rule | RangeRules) -> dict[str, Any]:
    table: dict[str, Any] = {"action": rule.action, "label": rule.label}
    if isinstance(rule, RangeRules):
        table["ranges"] = [_pair(pair) for pair in rule]
    else:
        table |= {key: _plain(what, getattr(rule, key)) for key, what in CONDITIONS.items() if what != "protect"}
        table["protect"] = _values.protection_names(rule.protect, rule.access) or None
        table["bytes"] = _plain("size", rule.bytes)
        table["priority"] = rule.priority
    return {key: value for key, value in table.items() if value is not None}


def _plain(what: object, value: Any) -> Any:
    """A condition as a file has it."""
    if value is None:
        return None
    if isinstance(what, str):
        return _WRITE[what](value)
    return _values.names_of(value)


def _pair(pair: tuple[int, int]) -> list[str]:
    return [f"{address:#x}" for address in pair]


def _glob_value(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}


_WRITE: dict[str, Callable[[Any], Any]] = {"range": _pair, "size": _values.size_text, "glob": _glob_value}


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
