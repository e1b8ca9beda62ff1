"""What every MiniDumpWriteDump does on Windows, of the native engine and of dbghelp, side by side.

The expectations are those of public conformance suites, and what Microsoft's dbghelp was seen to do. With
``MDC_DBGHELP`` dbghelp is Microsoft's; else it is Wine's own, and `LACKS` says what that one does not do.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path
from typing import Any, Final

import file_rules
import pytest

import minidump_cffi as md

if sys.platform != "win32":
    pytest.skip("needs Windows; .ci/windows runs it", allow_module_level=True)

from windows_child import FULL, NEW, PAGE, UNLOADED, VERSION, WINE, C, Child, covered, take

T = md.DumpType
NORMAL = T.NORMAL
HANDLE_DATA, UNLOADED_MODULES = 12, 14
MISC: Final = struct.Struct("<15I172s520s80s")
MEMORY: Final = (  # bits whose memory a full dump has anyway; its header does not claim them
    T.WITH_DATA_SEGS
    | T.WITH_INDIRECTLY_REFERENCED_MEMORY
    | T.WITH_PROCESS_THREAD_DATA
    | T.WITH_PRIVATE_READ_WRITE_MEMORY
    | T.WITH_CODE_SEGS
    | T.WITH_PRIVATE_WRITE_COPY_MEMORY
    | T.WITH_MODULE_HEADERS
)
OFFERED: Final = {  # what a bit adds to the flags of modules and of threads on entry
    T.WITH_DATA_SEGS: (0x02, 0),
    T.WITH_CODE_SEGS: (0x40, 0),
    T.FILTER_MEMORY: (0x10, 0),
    T.SCAN_MEMORY: (0x10, 0),
    T.WITH_PROCESS_THREAD_DATA: (0, 0x20),
    T.WITH_THREAD_INFO: (0, 0x40),
}
HONOURED: Final = (  # by the native engine
    T.WITH_FULL_MEMORY
    | T.WITH_FULL_MEMORY_INFO
    | T.WITH_THREAD_INFO
    | T.IGNORE_INACCESSIBLE_MEMORY
    | T.WITH_DATA_SEGS
    | T.WITH_CODE_SEGS
    | T.WITH_PROCESS_THREAD_DATA
    | T.WITH_UNLOADED_MODULES
    | T.WITH_HANDLE_DATA
    | T.WITH_INDIRECTLY_REFERENCED_MEMORY
    | T.SCAN_MEMORY
    | T.FILTER_MODULE_PATHS
    | T.FILTER_TRIAGE
    | T.WITH_PRIVATE_READ_WRITE_MEMORY
    | T.WITHOUT_OPTIONAL_DATA
)
# What is not asserted of an engine, and why. The last three are Wine's: other programs would find the same.
NOT_ASKED: Final = {
    C.THREAD_EX, C.KERNEL_MINIDUMP_STATUS, C.IO_WRITE_ALL, C.IO_FINISH, C.COMPRESSED_MEMORY_STREAM_START,
    C.COMPRESSED_MEMORY_STREAM_FINISH,
}  # fmt: skip
LACKS: Final = {
    ("test_process_handle", WINE): "sends Module and Thread only",
    ("test_a_bit_is_honoured_or_not_claimed", WINE): "claims every bit, whatever it does",
    ("test_sections_of_modules", WINE): "knows neither bit",
    ("test_process_and_thread_data", WINE): "does not know the bit",
    ("test_referenced_memory", WINE): "stores other ranges",
    ("test_misc_info", WINE): "leaves MiscInfo at its first version",
    ("test_an_unreadable_tail", WINE): "does not ask for memory",
    ("test_one_range_for_each_thread", WINE): "stores no instruction windows",
    ("test_unloaded_modules", "dbghelp"): "no UnloadedModuleList under Wine",
    ("test_unloaded_modules", WINE): "no UnloadedModuleList under Wine",
    ("test_handles", "dbghelp"): "no HandleData under Wine",
    ("test_handles", WINE): "no HandleData under Wine",
}


def sections(child: Child, folder: Path) -> list[tuple[str, int, int, int]]:
    """Module, address, size and characteristics of each section, from the headers in a full dump."""
    path = folder / "full.dmp"
    take(child, path, FULL, "native")
    found = []
    with file_rules.DumpFile(path) as dump:
        for base, _, name, _ in dump.modules():
            head = dump.read(base, PAGE)
            assert head is not None and head[:2] == b"MZ"
            (at,) = struct.unpack_from("<I", head, 0x3C)
            (count,), (optional,) = struct.unpack_from("<H", head, at + 6), struct.unpack_from("<H", head, at + 20)
            for number in range(count):
                size, rva, _, _, _, _, _, _, flags = struct.unpack_from(
                    "<IIIIIIHHI", head, at + 24 + optional + 40 * number + 8
                )
                found.append((name, base + rva, size, flags))
    return found


@pytest.mark.parametrize("type", [NORMAL, FULL], ids=["normal", "full"])
def test_process_handle(child: Child, engine: str, type: md.DumpType) -> None:
    """The caller's own value, with the rights it has: another one can be taken out of the process with it."""
    seen: dict[md.protocol.CallbackType, set[tuple[int, int]]] = {}
    copied: list[int] = []
    duplicate = ctypes.WinDLL("kernel32").DuplicateHandle
    duplicate.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_ulong, ctypes.c_int, ctypes.c_ulong]

    def look(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        seen.setdefault(question.type, set()).add((question.process_id, question.process_handle))
        if question.type == C.MODULE and not copied:
            copy = ctypes.c_void_p()
            copied.append(duplicate(question.process_handle, 4, -1, ctypes.byref(copy), 0, 0, 2))
        if question.type == C.VM_START:
            answer.status = 1
        if question.type in (C.VM_QUERY, C.VM_PRE_READ, C.VM_POST_READ):
            return False
        if question.type == C.CANCEL:
            answer.check_cancel = True
        if question.type == C.INCLUDE_VM_REGION:
            answer.continue_ = True
        return question.type not in (C.MEMORY, C.REMOVE_MEMORY, C.IO_START, C.IS_PROCESS_SNAPSHOT)

    kinds = set(C) - NOT_ASKED
    take(child, "NUL", type, engine, callback=md.protocol.PythonCallback(dict.fromkeys(kinds, look)))
    pid, handle = child.process.pid, child.handle
    expected = {kind: {(pid, handle)} for kind in C}
    expected |= {kind: {(0, 0)} for kind in (C.WRITE_KERNEL_MINIDUMP, C.IO_START)}
    starts = (C.IS_PROCESS_SNAPSHOT, C.VM_START, C.VM_QUERY, C.VM_PRE_READ, C.VM_POST_READ)
    expected |= {kind: {(0, handle)} for kind in starts}
    assert seen == {kind: expected[kind] for kind in seen}
    assert set(seen) >= {0, 1, 3, 4, 6, 7, 11, 15, 16, 17, 19} | ({10} if type else {5, 9})
    assert copied == [1]


@pytest.mark.parametrize("full", [False, True], ids=["alone", "full"])
@pytest.mark.parametrize("bit", [1 << number for number in range(27)], ids=hex)
def test_a_bit_is_honoured_or_not_claimed(child: Child, engine: str, bit: int, full: bool, tmp_path: Path) -> None:
    """A bit without an effect is not offered to the callback, not claimed by the header, and named by the report."""
    asked = T(bit) | (FULL if full else NORMAL)
    if engine == "dbghelp" and (bit > 1 << (24 if NEW else 20) or (not NEW and asked == FULL | T.WITH_CODE_SEGS)):
        with pytest.raises((ValueError, md.DumpError)):
            take(child, "NUL", asked, engine)
        return
    flags: list[set[int]] = [set(), set()]

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        flags[0].add(int(answer.module_write_flags))
        return True

    def thread(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        flags[1].add(int(answer.thread_write_flags))
        return True

    kinds = {C.INCLUDE_MODULE: module, C.MODULE: module, C.INCLUDE_THREAD: thread, C.THREAD: thread}
    path = tmp_path / "x.dmp"
    report = take(child, path, asked, engine, callback=md.protocol.PythonCallback(kinds))
    full = bool(asked & FULL)
    contained = MEMORY if full else NORMAL
    dropped = contained
    if engine == "dbghelp" and full:
        dropped |= T.FILTER_MEMORY | T.SCAN_MEMORY | T.WITH_FULL_AUXILIARY_STATE
        if bit == T.WITHOUT_OPTIONAL_DATA:
            dropped |= FULL
    honoured = asked & (HONOURED if engine == "native" else T(0x07FFFFFF))
    if engine == "native" and full:
        honoured &= ~T.WITHOUT_OPTIONAL_DATA
    with file_rules.DumpFile(path) as dump:
        claimed = T(dump.flags)
    # Filters for triage leave what they leave: their bits are no part of this.
    if engine == "native" or not asked & T.FILTER_TRIAGE:
        implied = T.FILTER_MODULE_PATHS if asked & T.FILTER_TRIAGE else NORMAL
        assert claimed == honoured & ~dropped | implied
    more = OFFERED.get(T(bit), (0, 0)) if honoured & ~dropped & bit else (0, 0)
    stack = 0x05 if engine == "dbghelp" and full and not dropped & FULL else 0x17
    assert 0x0D | more[0] in flags[0] and flags[0] <= {0x0D, 0x0D | more[0]}
    if engine == "native" and honoured & T.WITHOUT_OPTIONAL_DATA:
        stack &= ~0x10  # no instruction windows
    assert flags[1] == {stack | more[1]}
    lost = asked & ~honoured & ~contained
    assert bool(report.warnings & md.report.DumpWarning.TYPE) == bool(lost)
    assert report.honoured == asked & ~lost
    assert all(any(str(member.name) in text for text in report.messages) for member in lost)


def test_sections_of_modules(child: Child, engine: str, tmp_path: Path) -> None:
    """WITH_DATA_SEGS stores what can be written, WITH_CODE_SEGS the code, each whole; without them there is little."""
    every = sections(child, tmp_path)
    if engine == "dbghelp" and VERSION.startswith("6."):  # which leaves this one out
        every = [row for row in every if not row[0].lower().endswith("vcruntime140.dll")]
    data = [(at, size) for _, at, size, flags in every if flags & 0x80000000]
    code = [(at, size) for _, at, size, flags in every if flags & 0x20 and not flags & 0x80000000]
    assert len(data) >= 5 and len(code) >= 5
    stored = {}
    for kind in (NORMAL, T.WITH_DATA_SEGS, T.WITH_CODE_SEGS, T.WITH_DATA_SEGS | T.WITH_CODE_SEGS):
        path = tmp_path / "x.dmp"
        take(child, path, kind, engine)
        with file_rules.DumpFile(path) as dump:
            ranges = dump.ranges()
            stored[kind] = [covered(ranges, at, size) == size for at, size in data + code]
            for at, size in data + code:
                assert covered(ranges, at, size) == size or covered(ranges, at, size) <= 4 * 256
    both = T.WITH_DATA_SEGS | T.WITH_CODE_SEGS
    assert all(stored[T.WITH_DATA_SEGS][: len(data)]) and not any(stored[T.WITH_DATA_SEGS][len(data) :])
    assert all(stored[T.WITH_CODE_SEGS][len(data) :])
    assert all(stored[both]) and not any(stored[NORMAL])


def test_a_module_without_its_sections(child: Child, engine: str, tmp_path: Path) -> None:
    """ModuleWriteFlags without 0x02 and 0x40."""
    if engine == "dbghelp" and not VERSION:
        pytest.skip("not asserted of dbghelp of Wine: knows neither bit")
    every = sections(child, tmp_path)

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.module.full_path.lower().endswith("kernel32.dll"):
            answer.module_write_flags &= ~0x42
        return True

    path = tmp_path / "x.dmp"
    kind = T.WITH_DATA_SEGS | T.WITH_CODE_SEGS
    take(child, path, kind, engine, callback=md.protocol.PythonCallback({C.MODULE: module}))
    with file_rules.DumpFile(path) as dump:
        ranges = dump.ranges()
    for name, at, size, flags in every:
        if flags & 0x80000020 and size > 4 * 256:
            out = name.lower().endswith("kernel32.dll")
            assert (covered(ranges, at, size) == size) is not out, (name, hex(at))


@pytest.mark.parametrize("kind", [T.WITH_PROCESS_THREAD_DATA, NORMAL], ids=["asked", "not asked"])
def test_process_and_thread_data(child: Child, engine: str, kind: md.DumpType, tmp_path: Path) -> None:
    """TEBs, PEB, parameters and environment."""
    path = tmp_path / "x.dmp"
    take(child, path, kind, engine)
    with file_rules.DumpFile(path) as dump:
        data = path.read_bytes()
        tebs = [dump.read(thread.teb, 0x2000) for thread in dump.threads()]
        assert len(tebs) >= 4 and all(teb is not None for teb in tebs) == bool(kind)
        assert ("MDC_MARK=an environment".encode("utf-16-le") in data) == bool(kind)
        if kind:
            assert tebs[0] is not None
            (peb,) = struct.unpack_from("<Q", tebs[0], 0x60)
            block = dump.read(peb, 0x388)
            assert block is not None
            (parameters,) = struct.unpack_from("<Q", block, 0x20)
            head = dump.read(parameters, 8)
            assert head is not None and dump.read(parameters, 0x400) is not None


def test_unloaded_modules(child: Child, engine: str, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    take(child, path, T.WITH_UNLOADED_MODULES, engine)
    with file_rules.DumpFile(path) as dump:
        data = dump.stream(UNLOADED_MODULES)
        header, entry, count = struct.unpack_from("<III", data)
        assert (header, entry) == (12, 24) and len(data) == header + count * entry
        rows = [struct.unpack_from("<QIIII", data, header + entry * number) for number in range(count)]
        names = [dump.string(row[4]).lower() for row in rows]
        assert UNLOADED in names
        base, size, _, timestamp, _ = rows[names.index(UNLOADED)]
        assert base % 0x10000 == 0 and size % PAGE == 0 and size > 0 and timestamp
    take(child, path, NORMAL, engine)
    with file_rules.DumpFile(path) as dump:
        assert UNLOADED_MODULES not in dump.streams


def test_handles(child: Child, engine: str, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    report = take(child, path, T.WITH_HANDLE_DATA, engine)
    assert report.honoured == T.WITH_HANDLE_DATA
    with file_rules.DumpFile(path) as dump:
        data = dump.stream(HANDLE_DATA)
        header, entry, count, _ = struct.unpack_from("<IIII", data)
        assert (header, entry) == (16, 32) and len(data) == header + count * entry
        rows = [struct.unpack_from("<QIIIIII", data, header + entry * number) for number in range(count)]
        named = {dump.string(row[2]): row for row in rows if row[2]}
        types = {dump.string(row[1]) for row in rows if row[1]}
        (event,) = (row for name, row in named.items() if name.endswith(f"mdc-event-{child.process.pid}"))
        assert dump.string(event[1]) == "Event" and event[4] & 0x1F0003 and event[5] == 1
        assert {"Event", "File", "Key"} <= types
        assert len({row[0] for row in rows}) == count, "each handle once"
    take(child, path, NORMAL, engine)
    with file_rules.DumpFile(path) as dump:
        assert HANDLE_DATA not in dump.streams


def stacks(dump: file_rules.DumpFile) -> list[file_rules.Range]:
    """The stacks that the threads point at, from the page of the stack pointer on."""
    found = []
    for thread in dump.threads():
        first = thread.stack.address & ~(PAGE - 1)
        end = thread.stack.address + thread.stack.size
        found.append(file_rules.Range(address=first, size=end - first, offset=0))
    return found


def test_referenced_memory(child: Child, engine: str, tmp_path: Path) -> None:
    """Around what words of stacks point at, outside of modules, 0x400 bytes: 0x100 before it."""
    normal, more = tmp_path / "normal.dmp", tmp_path / "more.dmp"
    take(child, normal, NORMAL, engine)
    take(child, more, T.WITH_INDIRECTLY_REFERENCED_MEMORY, engine)
    take(child, tmp_path / "full.dmp", FULL, "native")
    with (
        file_rules.DumpFile(normal) as before,
        file_rules.DumpFile(more) as dump,
        file_rules.DumpFile(tmp_path / "full.dmp") as full,
    ):
        ranges, plain, images = dump.ranges(), before.ranges(), dump.modules()
        regions = {item.base: item for item in full.infos()}
        checked = 0
        for thread in dump.threads():
            low, high = thread.register("rsp"), thread.stack.address + thread.stack.size
            data = dump.read(low, high - low)
            assert data is not None
            for (word,) in struct.iter_unpack("<Q", data[: len(data) & ~7]):
                region = next((item for item in regions.values() if item.base <= word < item.base + item.size), None)
                if region is None or region.state != 0x1000 or region.type == 0x1000000 or full.read(word, 1) is None:
                    continue
                if any(base <= word < base + size for base, size, _, _ in images):
                    continue
                first, end = max(word - 0x100, region.base), min(word + 0x300, region.base + region.size)
                assert covered(ranges, first, end - first) == end - first, hex(word)
                checked += 1
        assert checked > 20
        extra = sum(item.size for item in ranges) - sum(item.size for item in plain)
        assert 0x400 < extra < 4 << 20, "not whole mappings"


def misc(path: Path) -> tuple[int, tuple[Any, ...]]:
    """Length and members of MiscInfo."""
    with file_rules.DumpFile(path) as dump:
        data = dump.stream(file_rules.MISC_INFO)
        return len(data), MISC.unpack_from(data)


def test_misc_info(child: Child, engine: str, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    take(child, path, NORMAL, engine)
    size, members = misc(path)
    assert size == members[0] and size == (1364 if engine == "dbghelp" and NEW else 832)
    flags, pid, created = members[1:4]
    assert flags & 0x77 == 0x77 and pid == child.process.pid and created > 1600000000
    assert members[6] > 0 and members[11] >= 0x2000, "MHz and integrity level"
    assert "," in members[17].decode("utf-16-le") or "minidump_cffi" in members[17].decode("utf-16-le")


def test_misc_info_is_the_same(child: Child, tmp_path: Path) -> None:
    """Of the members that both engines fill."""
    if not VERSION:
        pytest.skip("not asserted of dbghelp of Wine: leaves MiscInfo at its first version")
    take(child, tmp_path / "a.dmp", NORMAL, "native")
    take(child, tmp_path / "b.dmp", NORMAL, "dbghelp")
    ours, theirs = misc(tmp_path / "a.dmp")[1], misc(tmp_path / "b.dmp")[1]
    both = ours[1] & theirs[1]
    assert theirs[1] & ~ours[1] == 0, "flags that we lack"
    assert ours[2:4] == theirs[2:4] and all(abs(a - b) <= 1 for a, b in zip(ours[4:6], theirs[4:6], strict=True))
    assert both & 0x77 == 0x77 and ours[6:9] == theirs[6:9]
    assert ours[11:13] + ours[14:16] == theirs[11:13] + theirs[14:16], "ProtectedProcess is not filled by them"
    if both & 0x100:
        assert ours[16] == theirs[16], "BuildString"


def test_without_power_info(child: Child, engine: str, tmp_path: Path) -> None:
    """SecondaryFlags: 1 leaves out what MiscInfo says of the processor."""
    if engine == "dbghelp" and not VERSION:
        pytest.skip("not asserted of dbghelp of Wine: sends Module and Thread only")
    path = tmp_path / "x.dmp"
    take(child, path, NORMAL, engine, filter=md.Filter(secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO))
    _, members = misc(path)
    assert not members[1] & 4 and members[6:11] == (0, 0, 0, 0, 0)
    assert members[1] & 0x73 == 0x73


def test_an_unreadable_tail(child: Child, engine: str, tmp_path: Path) -> None:
    """A range that cannot be read to its end keeps its head, and the report names what is missing."""
    path = tmp_path / "x.dmp"
    rules = md.Filter(memory={"add": [(child.tail, child.tail + 24 * PAGE)]})
    report = take(child, path, NORMAL, engine, filter=rules)
    with file_rules.DumpFile(path) as dump:
        found = {number for number in range(24) if dump.read(child.tail + number * PAGE, 8) == b"TAIL%04d" % number}
    # dbghelp ends the range where it cannot read; the native engine goes on after that.
    assert found == set(range(4)) | (set() if engine == "dbghelp" else set(range(16, 20)))
    lost = {
        (gap.address + at - child.tail) // PAGE
        for gap in report.gaps
        for at in range(0, gap.size, PAGE)
        if child.tail <= gap.address + at < child.tail + 24 * PAGE
    }
    assert lost == set(range(24)) - found and not report.complete


def test_one_range_for_each_thread(child: Child, engine: str, tmp_path: Path) -> None:
    """Type 0: stacks and instruction windows, and nothing of what a file of a module has besides."""
    path = tmp_path / "x.dmp"
    take(child, path, NORMAL, engine)
    every = sections(child, tmp_path)
    with file_rules.DumpFile(path) as dump:
        ranges, threads = dump.ranges(), dump.threads()
        for thread in threads:
            assert covered(ranges, thread.register("rsp"), 8) == 8
            assert covered(ranges, thread.register("rip") - 0x80, 0x100) == 0x100
        code = [item for item in ranges if any(at <= item.address < at + size for _, at, size, f in every if f & 0x20)]
        assert 1 <= len(code) <= len(threads)
        assert len(ranges) <= 2 * len(threads)
        assert not any(covered(ranges, base, 64) for base, _, _, _ in dump.modules()), "no PE header"
