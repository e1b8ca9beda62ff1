"""Microsoft's debugger engine, two generations, reads a dump of each kind that the tests of this run have made.

Runs last (conftest.py). Where MDC_DUMPS was set from outside, it reads that folder: CI does so with the dumps of the
tests under Windows.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpus
import debugger
import file_rules
import pytest
import readers
import wine

pytestmark = [pytest.mark.linux, pytest.mark.timeout(1200)]

SAMPLES = 8  # ranges of a dump that are read
SAMPLE = 1024  # bytes of each
PATIENCE = 900.0
LEAST = 20  # kinds that a whole run of the suite makes, on Linux and under Windows
EXCEPTION = 6  # ExceptionStream
WINDOWS = 2  # PlatformId VER_PLATFORM_WIN32_NT
WINE_STREAM = 0xFFF0  # of Wine's dbghelp: the package minidump gives up at it


@dataclass
class Expected:
    """What the package ``minidump`` finds in a dump, and what our report says of it."""

    path: Path
    facts: dict[str, Any]
    wanted: list[tuple[int, int]] = field(default_factory=list)
    threads: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    modules: dict[int, int | None] = field(default_factory=dict)
    memory: dict[int, bytes | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.facts['test']}: {self.facts['kind']}"


def expect(path: Path, facts: dict[str, Any]) -> Expected:
    """Read a dump with the package ``minidump``."""
    with tempfile.NamedTemporaryFile(suffix=".dmp") as copy:
        if hex(WINE_STREAM) in facts["kind"]["streams"]:
            data = bytearray(path.read_bytes())
            at = int.from_bytes(data[12:16], "little") + 12 * facts["kind"]["streams"].index(hex(WINE_STREAM))
            data[at : at + 12] = bytes(12)
            copy.write(data)
            copy.flush()
        source = Path(copy.name) if Path(copy.name).stat().st_size else path
        lists = readers.read_minidump(source)
        assert not lists.errors, (facts, lists.errors)
        ranges = [*(lists.memory or ()), *(lists.memory64 or ())]
        wanted = [(at, min(size, SAMPLE)) for at, size in ranges[:: max(1, len(ranges) // SAMPLES)] if size]
        contents = readers.read_minidump(source, wanted).contents
    found = Expected(path=path, facts=facts, wanted=wanted)
    found.threads = {item.tid: (item.ip, item.sp) for item in lists.threads or ()}
    found.modules = {item.base: item.size for item in lists.modules or ()}
    found.memory = {at: data for (at, _), data in zip(wanted, contents, strict=True)}
    counts = facts["counts"] or {}
    for what, number in (("threads", len(lists.threads or ())), ("modules", len(lists.modules or ()))):
        assert counts.get(what) in (None, number), f"{found.name}: {number} {what}, the report says {counts[what]}"
    return found


def is_whole(config: pytest.Config) -> bool:
    """All tests are run."""
    options = config.option
    chosen = options.keyword or options.markexpr or options.deselect
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not chosen


def is_alone(session: pytest.Session) -> bool:
    """Only this module is run: the dumps are those of another run."""
    return all(item.path.name == Path(__file__).name for item in session.items)


@pytest.fixture(scope="module")
def dumps(request: pytest.FixtureRequest) -> list[Expected]:
    """One dump of each kind."""
    wine.program()
    folder = os.environ.get(corpus.FOLDER)
    if folder is None:
        pytest.skip("no dump was kept: the debugger engine was not fetched (.ci/windows fetch)")
    try:
        found = [expect(*dump) for dump in corpus.kept(Path(folder))]
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            raise
        pytest.skip(str(missing))
    if wine.wine_required() and (is_whole(request.config) or is_alone(request.session)):
        assert len(found) >= LEAST, f"the tests left {len(found)} kinds of dumps"
    return found


def cut_registers(version: str, seen: debugger.Seen, expected: Expected) -> bool:
    """All registers are cut to 32 bits, and the dump is of Windows and has a TEB."""
    whole = {tid: place for tid, place in seen.threads.items() if place is not None}
    cut = {tid: tuple((value or 0) & 0xFFFFFFFF for value in expected.threads.get(tid, ())) for tid in whole}
    with file_rules.DumpFile(expected.path) as dump:
        tebs = any(thread.teb and dump.holds(thread.teb) for thread in dump.threads())
    return version == "6.3.9600" and expected.facts["kind"]["platform"] == WINDOWS and tebs and whole == cut


def segmented(version: str, seen: debugger.Seen, expected: Expected) -> bool:
    """A thread of x86 has another code segment than on Windows: the engine takes it for 16 bits (docs/files.md)."""
    del version, seen
    with file_rules.DumpFile(expected.path) as dump:
        contexts = [thread.context for thread in dump.threads() if len(thread.context) == file_rules.CONTEXT_X86]
    segments = [struct.unpack_from("<II", context, SEGMENT) for context in contexts]
    return any(cs != CODE_SEGMENT or flags & VIRTUAL_8086 for cs, flags in segments)


SEGMENT, VIRTUAL_8086 = 188, 0x20000  # offset of SegCs and EFlags in an x86 CONTEXT; VM of EFlags
CODE_SEGMENT = 0x1B  # of user mode on Windows

# What is known, and in docs if real dumps have it: for the dumps for which it is true, this is not compared.
KNOWN = {
    "thread": (
        cut_registers,  # 6.3.9600 takes a process of Wine with its TEBs for a 32-bit one (docs/windows.md)
        segmented,
    ),
}


NEWER = {"0x15", "0x16"}  # SystemMemoryInfo and ProcessVmCounters, of dbgcore 10.0.22621
LOST_THREAD = re.compile(
    r"(Unable to find system thread|.* occurred on unknown thread) (?P<tid>[0-9A-F]+)$"
    r"|The thread being debugged has either exited or cannot be accessed$"
    r"|Many commands will not work properly$"
)


def is_known(version: str, complaint: str, expected: Expected) -> bool:
    """Complaints that are right: streams younger than the engine, an exception of a thread not listed, no pid."""
    streams = expected.facts["kind"]["streams"]
    unknown = re.search(r"unknown stream type (0x[0-9a-f]+)$", complaint)
    if unknown:
        return version == "6.3.9600" and unknown[1] in NEWER & set(streams)
    if complaint.endswith("Ignoring invalid event process ID 0"):  # of a core that was cut before its process id
        with file_rules.DumpFile(expected.path) as dump:
            return not any(dump.stream(file_rules.MISC_INFO)[8:12])
    lost = LOST_THREAD.match(complaint.partition(": ")[2])
    if lost is None or hex(EXCEPTION) not in streams:
        return False
    with file_rules.DumpFile(expected.path) as dump:
        tid = int.from_bytes(dump.stream(EXCEPTION)[:4], "little")
    return tid not in expected.threads and lost["tid"] in (None, f"{tid:X}")


def differences(version: str, seen: debugger.Seen, expected: Expected) -> list[str]:
    """What the engine says otherwise."""
    if not seen.opened:
        return ["not opened: " + "; ".join(seen.words[-3:])]
    found = [f"it complains: {line}" for line in seen.complaints if not is_known(version, line, expected)]
    registers = {tid: expected.threads.get(tid) if place is None else place for tid, place in seen.threads.items()}
    modules = seen.modules
    if file_rules.CONTEXT_X86 in expected.facts["kind"]["contexts"]:  # addresses of 32 bits are sign-extended
        modules = {base & 0xFFFFFFFF: size for base, size in modules.items()}
    pairs: tuple[tuple[str, Mapping[int, object], Mapping[int, object]], ...] = (
        ("thread", expected.threads, registers),
        ("module", expected.modules, modules),
        ("bytes", expected.memory, seen.memory),
    )
    for what, ours, theirs in pairs:
        wrong = [at for at in sorted({*ours, *theirs}) if theirs.get(at) != ours.get(at)]
        if (
            wrong
            and ours.keys() == theirs.keys()
            and any(known(version, seen, expected) for known in KNOWN.get(what, ()))
        ):
            continue
        found += [f"{what} {at:#x}: {theirs.get(at)!s:.60}, not {ours.get(at)!s:.60}" for at in wrong[:3]]
    return found if seen.ended else [*found, "it ended in the middle"]


@pytest.mark.parametrize("version", debugger.VERSIONS)
def test_every_kind_of_dump(version: str, dumps: list[Expected], tmp_path: Path) -> None:
    engine = debugger.Debugger(version, tmp_path)
    seen = engine.read_all([(item.path, item.wanted) for item in dumps], PATIENCE)
    wrong = [
        f"{item.name}\n    " + "\n    ".join(found)
        for item, one in zip(dumps, seen, strict=True)
        if (found := differences(version, one, item))
    ]
    assert not wrong, f"{len(wrong)} of {len(dumps)}:\n" + "\n".join(wrong)
