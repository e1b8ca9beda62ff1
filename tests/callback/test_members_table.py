"""docs/members.md has a right row per member of the cffi type, and members.md beside this names tests that exist."""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live
import pytest
import recorded
from callees import curious

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
TEXT = (TESTS.parent / "docs" / "members.md").read_text("utf-8")
SHOWN = (HERE / "members.md").read_text("utf-8")
OUTPUT = ffi.typeof("MINIDUMP_CALLBACK_OUTPUT")
NAMED_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def rows(text: str, columns: int) -> list[list[str]]:
    """Rows of the tables of so many columns, without head and rule."""
    found = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return [cells for cells in found if len(cells) == columns][1:]


def members() -> dict[str, tuple[str, ...]]:
    """Names as Microsoft has them, and the way to them: what its header groups namelessly has a short name in ours."""
    found = {}
    for name, field in OUTPUT.fields:
        if field.type.kind == "struct" and "MDC_OUTPUT_" in field.type.cname:
            found.update({inner: (name, inner) for inner, _ in field.type.fields})
        else:
            found[name] = (name,)
    return found


SECOND = "## On entry, engine by engine"
TABLE = {cells[0]: cells for cells in rows(TEXT.partition(SECOND)[0], 6)}


def types_of(cell: str) -> set[int]:
    """The callback types that a cell names."""
    return {md.protocol.CallbackType[snake(name)] for name in re.findall(r"[A-Z]\w+", cell)}


def test_every_member_has_a_row() -> None:
    assert list(TABLE) == list(dict.fromkeys(TABLE)), "one row each"
    assert set(TABLE) == set(members())


def test_every_member_names_tests_that_exist() -> None:
    shown = dict(rows(SHOWN, 2))
    assert set(TABLE) <= set(shown)
    known: dict[str, set[str]] = {}
    for name, cell in shown.items():
        assert NAMED_TEST.search(cell), f"{name}: no test"
        for file, function in NAMED_TEST.findall(cell):
            if file not in known:
                (path,) = TESTS.glob(f"*/{file}")
                tree = ast.parse(path.read_text("utf-8"))
                known[file] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function in known[file], f"{file} has no {function}"
    assert "::" not in NAMED_TEST.sub("", SHOWN), "a name that is not one of a test"
    assert "::" not in TEXT, "tests are named in members.md beside them"


def test_every_test_of_a_member_has_a_row() -> None:
    """The other way round, so that a test that shows something is told of."""
    named = {function for _, function in NAMED_TEST.findall(SHOWN)}
    for file in ("items", "memory", "status", "vm"):
        tree = ast.parse((HERE / f"test_members_{file}.py").read_text("utf-8"))
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"}
        assert tests <= named, tests - named


@pytest.mark.parametrize("name", sorted(TABLE))
def test_python_has_the_member_for_these_types(name: str) -> None:
    """The attribute of `Output` is there for the types in the row, and for no others."""
    _, types, attribute = TABLE[name][:3]
    if not attribute:
        return
    answered = set()
    for number in md.protocol.CallbackType:
        output: Any = md.protocol.Output(ffi.new("MINIDUMP_CALLBACK_OUTPUT *"), number)
        if hasattr(output, attribute.strip("`")):
            answered.add(int(number))
    assert answered == types_of(types)


def test_the_defaults_are_those_the_engine_sets(start_pattern: Callable[..., live.Target]) -> None:
    target = start_pattern("--threads", 1)
    entries: dict[int, bytes] = {}
    for dump_type in (md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY):
        callee = curious()
        md.write_dump(target.pid, "/dev/null", dump_type, callback=callee.routine)
        entries.update({call.type: call.output for call in callee.seen})
    looked_at = 0
    for name, (_, types, _, entry, *_rest) in TABLE.items():
        offset = 0
        kind = OUTPUT
        for step in members()[name]:
            field = dict(kind.fields)[step]
            offset, kind = offset + field.offset, field.type
        for part in entry.split(";"):
            value = re.match(r"\s*(0x[0-9A-F]+|\d+)", part)
            if value is None:
                continue
            given = re.search(r" in ([A-Z].*)", part)
            for number in types_of(given[1] if given else types) - {md.protocol.CallbackType.THREAD_EX}:
                found = struct.unpack_from("<I", entries[number], offset)[0]
                assert found == int(value[1], 0), (name, number)
                looked_at += 1
    assert looked_at >= 20
    target.assert_runs_on()


ENTRIES = {cells[0]: cells[2:4] for cells in rows(TEXT.partition(SECOND)[2], 6) if " in " in cells[0]}


@pytest.mark.parametrize("row", sorted(ENTRIES))
def test_entries_are_as_recorded(row: str) -> None:
    """What the second table says of the two versions of dbghelp is in their recordings, and nothing else is."""
    field = re.match(r"`(\w+)`", row)
    types = {
        md.protocol.CallbackType[snake(name)] for name in re.findall(r"[A-Z]\w+", row.split(" in ")[1].split(" as ")[0])
    }
    assert field is not None and types
    for version, cell in zip(recorded.VERSIONS, ENTRIES[row], strict=True):
        found = {
            call.before[field[1]]
            for scenario in recorded.SCENARIOS
            for call in recorded.load(version, scenario)
            if call.type in types
        }
        if cell in ("garbage", "the region", "what IncludeThread left"):
            assert found - {0}
        else:
            assert found == {int(value, 0) for value in re.findall(r"\b(?:0x[0-9A-F]+|\d)\b", cell)}


def snake(name: str) -> str:
    """IncludeThread: INCLUDE_THREAD."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
