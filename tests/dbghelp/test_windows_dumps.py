"""Dumps that the engine of this package takes of a live Windows process under Wine, as readers on Linux see them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live
import pytest
import readers
import wine

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
ROOMS = ("base", "engine", "format", "sink", "source", "windows")
CONTENT_READERS: dict[str, Callable[..., readers.Reading]] = {
    "lldb": readers.read_lldb,
    "minidump": readers.read_minidump,
    "udmp-parser": readers.read_udmp,
}
SAMPLE = 256  # bytes asked of a reader at a time


def pattern(offset: int, size: int) -> bytes:
    """What targets/win_pattern.c puts there."""
    return bytes((i * 7 + i // 256) & 0xFF for i in range(offset, offset + size))


class Taken:
    """A normal and a full dump of one process, and what the process told about itself."""

    def __init__(self, folder: Path, facts: dict[str, int]) -> None:
        self.folder = folder
        self.facts = facts

    def path(self, kind: str) -> Path:
        return self.folder / f"{kind}.dmp"

    def read(self, reader: str, kind: str, *addresses: int, **options: Any) -> readers.Reading:
        """A reader's view; a skip where it is missing (in CI an error)."""
        try:
            return CONTENT_READERS[reader](self.path(kind), [(address, SAMPLE) for address in addresses], **options)
        except readers.ReaderMissing as missing:
            if readers.readers_required():
                raise
            pytest.skip(str(missing))


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """The dumps the native test program leaves."""
    folder = tmp_path_factory.mktemp("windows-dumps")
    sources = [
        str(path) for room in ROOMS for path in (ROOT / "csrc" / room).rglob("*.c") if not path.stem.endswith("_posix")
    ]
    program = wine.compile_c(
        live.HERE / "native" / "test_windows_live.c",
        folder / "dumper.exe",
        "-DMDC_FAILPOINTS",
        "-Wl,--build-id",  # an 'RSDS' record, as MSVC writes one
        *sources,
    )
    done = wine.run([wine.program(), program, "keep"], cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = {name: int(value, 16) for name, value in re.findall(r"^(\w+) (0x[0-9a-f]+)$", done.stdout, re.MULTILINE)}
    return Taken(folder, facts)


@pytest.mark.parametrize("kind", ["normal", "full"])
def test_every_reader_accepts_it(taken: Taken, kind: str) -> None:
    readings = readers.assert_accepted_counts(taken.path(kind), readers.Counts(threads=3))
    assert len({reading.module_count for reading in readings if reading.module_count is not None}) <= 1


@pytest.mark.parametrize("reader", CONTENT_READERS)
def test_readers_find_the_known_bytes_in_a_full_dump(taken: Taken, reader: str) -> None:
    first = taken.facts["pattern"]
    offsets = (0, 0x1234, taken.facts["pattern_size"] - SAMPLE)
    reading = taken.read(reader, "full", *(first + offset for offset in offsets), taken.facts["secret"])
    assert not reading.errors
    assert list(reading.contents) == [
        *(pattern(offset, SAMPLE) for offset in offsets),
        (b"TOP-SECRET-" * SAMPLE)[:SAMPLE],
    ]


@pytest.mark.parametrize("reader", ["lldb", "minidump"])  # udmp-parser sees no MemoryList
def test_a_normal_dump_has_stacks_and_nothing_else_of_the_memory(taken: Taken, reader: str) -> None:
    marker, secret = taken.facts["marker"], taken.facts["secret"]
    reading = taken.read(reader, "normal", marker, secret)
    stack, rest = reading.contents
    assert stack is not None and stack.startswith(b"stack-marker")
    assert rest is None
    assert b"TOP-SECRET-TOP-SECRET" not in taken.path("normal").read_bytes()


@pytest.mark.parametrize("kind", ["normal", "full"])
@pytest.mark.parametrize("reader", CONTENT_READERS)
def test_registers_point_into_modules_and_stacks(taken: Taken, reader: str, kind: str) -> None:
    options = {"registers": True} if reader == "lldb" else {}
    reading = taken.read(reader, kind, **options)
    lists = taken.read("minidump", kind)
    assert reading.threads is not None and lists.modules is not None
    ranges = lists.memory64 if kind == "full" else lists.memory
    assert ranges
    assert {thread.tid for thread in reading.threads} >= {taken.facts["main"], taken.facts["sleeper"]}
    for thread in reading.threads:
        assert thread.ip is not None and thread.sp is not None
        assert any(module.base <= thread.ip < module.base + (module.size or 0) for module in lists.modules)
        assert any(base <= thread.sp < base + size for base, size in ranges)


def test_lldb_knows_the_modules(taken: Taken) -> None:
    reading = taken.read("lldb", "normal")
    assert reading.modules is not None
    names = [re.split(r"[\\/]", module.path)[-1].lower() for module in reading.modules]
    assert names[0] == "dumper.exe"
    assert {"ntdll.dll", "kernel32.dll"} <= set(names)
    assert reading.modules[0].build_id, "the 'RSDS' record of the executable has not arrived"


def test_memory_that_must_not_be_read_is_only_listed(taken: Taken) -> None:
    reading = taken.read("minidump", "full")
    assert reading.infos is not None and reading.memory64 is not None
    for name in ("guard", "noaccess", "reserved"):
        address = taken.facts[name]
        assert any(base <= address < base + size for base, size in reading.infos), name
        assert not any(base <= address < base + size for base, size in reading.memory64), name
