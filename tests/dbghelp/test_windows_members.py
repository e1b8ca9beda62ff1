"""What each member of MINIDUMP_CALLBACK_OUTPUT does to the file, and each kind of rule, with both engines on Windows.

With ``MDC_DBGHELP`` dbghelp is Microsoft's; else it is Wine's own, and `LACKS` says what that one does not do.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import file_rules
import pytest

import minidump_cffi as md

if sys.platform != "win32":
    pytest.skip("needs Windows; .ci/windows runs it", allow_module_level=True)

from windows_child import FULL, NEW, PAGE, PAGES, VERSION, WINE, C, Child, covered, kept, take

T = md.DumpType
NORMAL = T.NORMAL
S_FALSE: Final = 1
E_FAIL: Final = 0x80004005 - (1 << 32)
E_NOTIMPL: Final = 0x80004001 - (1 << 32)
PARTIAL_COPY: Final = 0x8007012B - (1 << 32)
Answer = Callable[[md.protocol.Input, md.protocol.Output], bool]
LACKS: Final = {
    (name, WINE): "sends Module and Thread only"
    for name in (
        "test_thread_write_flags_at_include_thread", "test_module_write_flags_at_include_module",
        "test_memory_is_exact",
        "test_check_cancel", "test_handle", "test_vm_region", "test_continue", "test_vm_query", "test_served_memory",
        "test_edited_memory", "test_a_stack_that_cannot_be_read", "test_read_memory_failure",
        "test_vm_start_that_does_not_count",
    )
} | {
    ("test_thread_write_flags", WINE): "clears no part of a thread",
    ("test_module_without_its_record", WINE): "stores every CodeView record",
}  # fmt: skip


def python(kinds: dict[md.protocol.CallbackType, Answer]) -> md.protocol.PythonCallback:
    """A callback that keeps all regions and is asked on; the given types are answered by functions."""

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.continue_ = True
        return True

    return md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region, **kinds})


def refuse(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
    """FALSE."""
    return False


def status(value: int) -> Answer:
    """Answers TRUE and this status."""

    def answered(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = value
        return True

    return answered


# ---------------------------------------------------------------------------------------------------- write flags


def module_records(path: Path) -> dict[str, int]:
    """Sizes of the CodeView records, by the last part of the name."""
    with file_rules.DumpFile(path) as dump:
        return {name.lower().rpartition("\\")[2]: len(record) for _, _, name, record in dump.modules()}


def without(bit: int, base: int | None = None) -> Answer:
    """Clears a bit, of all modules or of the one at this base."""

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        at = question.module.base_of_image if question.type == C.MODULE else question.include_module
        if base in (None, at):
            answer.module_write_flags &= ~bit
        return True

    return module


def test_module_without_its_record(child: Child, engine: str, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    take(child, path, NORMAL, engine)
    every = module_records(path)
    assert any(every.values())
    take(child, path, NORMAL, engine, callback=python({C.MODULE: without(0x08)}))
    # Module comes when dbghelp has gathered it: only IncludeModule keeps the record out.
    assert module_records(path) == (every if engine == "dbghelp" else dict.fromkeys(every, 0))


@pytest.mark.parametrize("flags", [0x01, 0xFFFFFFFF], ids=hex)
def test_module_write_flags(child: Child, engine: str, flags: int, tmp_path: Path) -> None:
    """Without 0x01, and with nothing, the module is not in the list."""
    path = tmp_path / "x.dmp"
    report = take(child, path, NORMAL, engine)
    out = report.modules[-1]
    take(child, path, NORMAL, engine, callback=python({C.MODULE: without(flags, out.base)}))
    with file_rules.DumpFile(path) as dump:
        assert {base for base, *_ in dump.modules()} == {item.base for item in report.modules} - {out.base}


def test_module_write_flags_at_include_module(child: Child, engine: str, tmp_path: Path) -> None:
    """What IncludeModule has taken away Module does not offer again."""
    path = tmp_path / "x.dmp"
    every = len(take(child, path, NORMAL, engine).modules)
    offered = set()

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        offered.add(int(answer.module_write_flags))
        answer.module_write_flags |= 0x08  # bits cannot be added
        return True

    take(child, path, NORMAL, engine, callback=python({C.INCLUDE_MODULE: without(0x08), C.MODULE: module}))
    assert offered == {0x05} and len(module_records(path)) == every
    assert not any(module_records(path).values())


def threads(path: Path) -> dict[int, tuple[bool, bool, bool, bool]]:
    """Of each thread whether the file has registers, the stack, the instruction window, the TEB."""
    found = {}
    with file_rules.DumpFile(path) as dump:
        ranges = dump.ranges()
        for thread, at in zip(dump.threads(), range(10**6), strict=False):
            offset = dump.streams[file_rules.THREAD_LIST][1] + 4 + 48 * at
            teb, _, size, _, _, context = struct.unpack_from("<QQIIII", dump.data, offset + 16)
            flags = struct.unpack_from("<I", dump.data, context + 48)[0] & 0x1F if context else 0
            rip = POINTERS[thread.tid][0]
            window = covered(ranges, rip - 0x80, 0x100) == 0x100
            found[thread.tid] = (flags != 0, size != 0, window, covered(ranges, teb, 0x2000) == 0x2000)
    return found


POINTERS: dict[int, tuple[int, int]] = {}


def clear(bit: int, tid: int | None) -> Answer:
    """Clears a bit, of all threads or of one."""

    def thread(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.type == C.THREAD:
            seen = question.thread.thread_id
        else:
            seen = question.include_thread
        if tid in (None, seen):
            answer.thread_write_flags &= ~bit
        return True

    return thread


def remember(child: Child, path: Path, engine: str) -> list[int]:
    """Where the threads are; they sleep, and so does the main one. Ids of all."""
    take(child, path, NORMAL, engine)
    with file_rules.DumpFile(path) as dump:
        for thread in dump.threads():
            POINTERS[thread.tid] = (thread.register("rip"), thread.register("rsp"))
        return [thread.tid for thread in dump.threads()]


@pytest.mark.parametrize(("bit", "column"), [(0x04, 0), (0x02, 1), (0x10, 2), (0x20, 3)], ids=str)
@pytest.mark.parametrize("kind", [C.INCLUDE_THREAD, C.THREAD], ids=["include", "thread"])
def test_thread_write_flags(
    child: Child, engine: str, kind: md.protocol.CallbackType, bit: int, column: int, tmp_path: Path
) -> None:
    """0x04: registers. 0x02: the stack, which dbghelp stores all the same. 0x10: window. 0x20: TEB."""
    path = tmp_path / "x.dmp"
    tids = remember(child, path, engine)
    take(child, path, T.WITH_PROCESS_THREAD_DATA, engine)
    assert set(threads(path).values()) == {(True, True, True, True)}
    take(child, path, T.WITH_PROCESS_THREAD_DATA, engine, callback=python({kind: clear(bit, None)}))
    expected = [True] * 4
    expected[column] = bit == 0x02 and engine == "dbghelp"
    found = threads(path)
    assert set(found) == set(tids) and {row[column] for row in found.values()} == {expected[column]}
    assert all(row[number] for row in found.values() for number in range(4) if number != column)


@pytest.mark.parametrize("engine_flags", [0x01, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("kind", [C.INCLUDE_THREAD, C.THREAD], ids=["include", "thread"])
def test_thread_write_flags_at_include_thread(
    child: Child, engine: str, kind: md.protocol.CallbackType, engine_flags: int, tmp_path: Path
) -> None:
    """Without 0x01, and with nothing, the thread is not in the list."""
    path = tmp_path / "x.dmp"
    tids = remember(child, path, engine)
    take(child, path, NORMAL, engine, callback=python({kind: clear(engine_flags, tids[-1])}))
    assert set(threads(path)) == set(tids) - {tids[-1]}


# ------------------------------------------------------------------------------------------------ memory, regions


def test_memory_is_exact(child: Child, engine: str, tmp_path: Path) -> None:
    """MemoryBase and MemorySize of Memory and RemoveMemory: to the byte; what overlaps or touches is one range."""
    given = [(3, 10), (8, 20), (20, 30), (100, 101), (5000, 9000)]
    removed = [(25, 28), (4999, 5001), (8000, 8500)]
    left = {C.MEMORY: list(given), C.REMOVE_MEMORY: list(removed)}

    def memory(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if not left[question.type]:
            return False
        first, end = left[question.type].pop(0)
        answer.memory_base, answer.memory_size = child.area + first, end - first
        return True

    path = tmp_path / "x.dmp"
    take(child, path, NORMAL, engine, callback=python({C.MEMORY: memory, C.REMOVE_MEMORY: memory}))
    with file_rules.DumpFile(path) as dump:
        inside = [item for item in dump.ranges() if child.area <= item.address < child.page(PAGES)]
        stored = {at for item in inside for at in range(item.address, item.address + item.size)}
    wanted = {at for first, end in given for at in range(first, end)}
    wanted -= {at for first, end in removed for at in range(first, end)}
    assert stored == {child.area + at for at in wanted}
    assert [(item.address - child.area, item.size) for item in sorted(inside, key=lambda item: item.address)] == [
        (3, 22), (28, 2), (100, 1), (5001, 2999), (8500, 500)
    ]  # fmt: skip


@pytest.mark.parametrize("goes_on", [True, False])
def test_check_cancel(child: Child, engine: str, goes_on: bool, tmp_path: Path) -> None:
    """CheckCancel FALSE ends the questions. A routine of ctypes: our own callbacks always want to be asked on."""
    asked = []

    @ctypes.WINFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    def routine(param: int, question: int, answer: int) -> int:
        kind = ctypes.c_uint32.from_address(question + 12).value
        if kind == C.CANCEL:
            asked.append(1)
            ctypes.c_int32.from_address(answer).value = goes_on
        return int(kind not in (C.MEMORY, C.REMOVE_MEMORY))

    report = take(child, tmp_path / "x.dmp", NORMAL, engine, callback=routine)
    assert report.complete and (len(asked) > 5 if goes_on else len(asked) == 1)


def test_handle(child: Child, engine: str, tmp_path: Path) -> None:
    """Of WriteKernelMinidump: KernelMinidumpStatus follows, with a failure; the dump is what it is without it."""
    told: list[int] = []

    def kernel(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.handle = handle
        return True

    def failed(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        told.append(int(question.status))
        return True

    import msvcrt

    with open(tmp_path / "kernel.dmp", "wb") as file:
        handle = msvcrt.get_osfhandle(file.fileno())
        kinds = {C.WRITE_KERNEL_MINIDUMP: kernel, C.KERNEL_MINIDUMP_STATUS: failed}
        report = take(child, tmp_path / "x.dmp", NORMAL, engine, callback=python(kinds))
    assert report.complete and len(told) == 1 and told[0] != 0 and (tmp_path / "kernel.dmp").stat().st_size == 0


@pytest.mark.parametrize(("first", "end"), [(0, 3), (7, 200), (0, 0), (255, 256)], ids=str)
def test_vm_region(child: Child, engine: str, first: int, end: int, tmp_path: Path) -> None:
    """A part of the region in whole pages, and nothing of it afterwards."""

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.continue_ = True
        told = answer.vm_region
        if told.base_address == child.area:
            told.base_address, told.region_size = child.page(first), (end - first) * PAGE
        elif child.area < told.base_address < child.page(PAGES):
            told.region_size = 0
        return True

    path = tmp_path / "x.dmp"
    take(child, path, FULL, engine, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert kept(path, child) == list(range(first, end))


@pytest.mark.parametrize("answered", [True, False])
def test_continue(child: Child, engine: str, answered: bool, tmp_path: Path) -> None:
    """FALSE, as the callback's FALSE, ends the questions: all regions from there on are in the file whole."""
    asked: list[int] = []

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        asked.append(answer.vm_region.base_address)
        answer.continue_ = answer.vm_region.base_address != child.area
        if not answer.continue_:
            answer.vm_region.region_size = 0
        return answered or bool(answer.continue_)

    path = tmp_path / "x.dmp"
    take(child, path, FULL, engine, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert kept(path, child) == list(range(PAGES)) and max(asked) == child.area
    with file_rules.DumpFile(path) as dump:
        assert any(item.address > child.area for item in dump.memory64())


# ------------------------------------------------------------------------------------------------ virtual memory


def test_vm_start_that_does_not_count(child: Child, engine: str) -> None:
    """Status of VmStart: only S_FALSE brings the questions about memory."""
    for value in (0, E_NOTIMPL, E_FAIL, 2):
        asked: list[int] = []

        def read(question: md.protocol.Input, answer: md.protocol.Output, asked: list[int] = asked) -> bool:
            asked.append(1)
            return False

        take(child, "NUL", NORMAL, engine, callback=python({C.VM_START: status(value), C.VM_PRE_READ: read}))
        assert not asked, value


def test_vm_query(child: Child, engine: str, tmp_path: Path) -> None:
    """VmQueryStatus and VmQueryResult: the regions of a full dump are those that the callback tells."""

    def query(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        at = question.vm_query
        ends = (child.area, child.page(PAGES), 1 << 64)
        start, end, state = next(
            (low, high, kind)
            for low, high, kind in zip((0, *ends), ends, (0x10000, 0x1000, 0x10000), strict=False)
            if low <= at < high
        )
        answer.vm_query_status = 0
        told = answer.vm_query_result
        told.set(base_address=start, region_size=end - start, state=state, type=0x20000 if state == 0x1000 else 0)
        return True

    path = tmp_path / "x.dmp"
    kinds = {C.VM_START: status(S_FALSE), C.VM_QUERY: query, C.VM_PRE_READ: refuse, C.VM_POST_READ: refuse}
    take(child, path, FULL, engine, callback=python(kinds))
    assert kept(path, child) == list(range(PAGES))
    with file_rules.DumpFile(path) as dump:
        assert all(child.area <= item.address < child.page(PAGES) for item in dump.memory64())


def serve(child: Child, page: int, count: int, value: int) -> Answer:
    """Serves the page, so many bytes of it, with this status; the rest is the engine's."""

    def read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        first, size = question.vm_pre_read.offset, question.vm_pre_read.size
        answer.vm_read_status, answer.vm_read_bytes_completed = E_NOTIMPL, 0
        if first == child.page(page):
            data = (b"SERVED--" * (PAGE // 8))[: min(count, size)]
            question.vm_pre_read.buffer[: len(data)] = data
            answer.vm_read_status, answer.vm_read_bytes_completed = value, len(data)
        return True

    return read


@pytest.mark.parametrize("count", [PAGE, 64])
def test_served_memory(child: Child, engine: str, count: int, tmp_path: Path) -> None:
    """VmReadBytesCompleted of VmPreRead: so many bytes are the callback's, the engine reads what follows."""
    path = tmp_path / "x.dmp"
    kinds = {
        C.VM_START: status(S_FALSE),
        C.VM_QUERY: refuse,
        C.VM_PRE_READ: serve(child, 0, count, 0),
        C.VM_POST_READ: refuse,
    }
    ranges = iter([(child.page(0), PAGE)])

    def memory(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.memory_base, answer.memory_size = next(ranges, (0, 0))
        return True

    take(child, path, NORMAL, engine, callback=python({**kinds, C.MEMORY: memory}))
    with file_rules.DumpFile(path) as dump:
        data = dump.read(child.page(0), PAGE)
    assert data is not None and data[:count] == (b"SERVED--" * (PAGE // 8))[:count]
    assert data[count:] == bytes(PAGE - count)


@pytest.mark.parametrize("answered", [False, True], ids=["false", "true"])
def test_edited_memory(child: Child, engine: str, answered: bool, tmp_path: Path) -> None:
    """What VmPostRead has changed in the buffer is in the file; TRUE with VmReadBytesCompleted keeps that many."""
    path = tmp_path / "x.dmp"

    def edit(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        view = question.vm_post_read
        first, size = view.offset, view.completed
        if first <= child.page(5) < first + size:
            at = child.page(5) - first
            view.buffer[at : at + 8] = b"EDITED--"
        answer.vm_read_status, answer.vm_read_bytes_completed = 0, size
        return answered

    kinds = {C.VM_START: status(S_FALSE), C.VM_QUERY: refuse, C.VM_PRE_READ: refuse, C.VM_POST_READ: edit}
    take(child, path, FULL, engine, callback=python(kinds))
    with file_rules.DumpFile(path) as dump:
        assert dump.read(child.page(5), 21) == b"EDITED--" + b" SECRET-0005!"
        assert dump.read(child.page(6), 8) == b"PAGE0006"


def fail_at(address: int, *, later: bool) -> Answer:
    """A read of this address fails; later: not the first one."""
    seen: list[int] = []

    def read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        view = question.vm_pre_read
        inside = view.offset <= address < view.offset + view.size
        fails = inside and (bool(seen) or not later)
        seen.extend([1] * inside)
        answer.vm_read_status, answer.vm_read_bytes_completed = PARTIAL_COPY if fails else E_NOTIMPL, 0
        return True

    return read


@pytest.mark.parametrize("tolerated", [True, False])
def test_read_memory_failure(child: Child, engine: str, tolerated: bool, tmp_path: Path) -> None:
    """Status: S_OK goes on without it, anything else fails the dump. dbghelp leaves out all of the range."""
    path = tmp_path / "x.dmp"
    told: list[int] = []
    ranges = iter([(child.page(0), 4 * PAGE)])

    def memory(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.memory_base, answer.memory_size = next(ranges, (0, 0))
        return True

    def failure(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        told.append(question.read_memory_failure.offset)
        answer.status = 0 if tolerated else S_FALSE
        return True

    # dbghelp reads added memory page by page to see whether it is there, and again to write it.
    read = fail_at(child.page(2), later=engine == "dbghelp")
    kinds = {C.VM_START: status(S_FALSE), C.VM_QUERY: refuse, C.VM_PRE_READ: read, C.VM_POST_READ: refuse}
    callback = python({**kinds, C.MEMORY: memory, C.READ_MEMORY_FAILURE: failure})
    if not tolerated:
        with pytest.raises(md.ReadError):
            take(child, path, NORMAL, engine, callback=callback)
        assert told
        return
    report = take(child, path, NORMAL, engine, callback=callback)
    assert told and not report.complete
    assert any(gap.address <= child.page(2) < gap.address + gap.size for gap in report.gaps)
    assert kept(path, child) == ([] if engine == "dbghelp" else [0, 1, 3])


@pytest.mark.parametrize("tolerated", [True, False])
def test_a_stack_that_cannot_be_read(child: Child, engine: str, tolerated: bool, tmp_path: Path) -> None:
    """Of dbghelp the dump fails at once; the native engine asks about it as about any other memory."""
    path = tmp_path / "x.dmp"
    tids = remember(child, path, engine)
    pointer = POINTERS[tids[-1]][1]
    told: list[int] = []

    def failure(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        told.append(question.read_memory_failure.offset)
        answer.status = 0 if tolerated else S_FALSE
        return True

    read = fail_at(pointer, later=False)
    kinds = {C.VM_START: status(S_FALSE), C.VM_QUERY: refuse, C.VM_PRE_READ: read, C.VM_POST_READ: refuse}
    callback = python({**kinds, C.READ_MEMORY_FAILURE: failure})
    if not tolerated or engine == "dbghelp":
        with pytest.raises(md.DumpError if engine == "dbghelp" and NEW else md.ReadError):  # NEW: error 1
            take(child, path, NORMAL, engine, callback=callback)
        assert bool(told) == (engine == "native")
        return
    report = take(child, path, NORMAL, engine, callback=callback)
    assert told and not report.complete
    assert any(gap.address <= pointer < gap.address + gap.size for gap in report.gaps)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(pointer, 8) is None and len(dump.threads()) == len(tids)


# ------------------------------------------------------------------------------------------------- rules of filters

RULES: Final[dict[str, tuple[dict[str, Any], Callable[[md.report.Region, md.DumpReport], bool]]]] = {
    "type": ({"type": "mapped"}, lambda region, report: bool(region.type & md.filters.MemoryType.MAPPED)),
    "min_size": ({"min_size": 2 << 20}, lambda region, report: region.size >= 2 << 20),
    "max_size": ({"max_size": 16384}, lambda region, report: region.size <= 16384),
    "protect": (
        {"protect": "writable"},
        lambda region, report: bool(region.protect & (4 | 8 | 0x40 | 0x80)),
    ),
    "execute": ({"protect": "x"}, lambda region, report: bool(region.protect & 0xF0)),
    "kind": ({"kind": "stack"}, lambda region, report: bool(region.kinds & md.filters.Kind.STACK)),
    "heap": ({"kind": "heap"}, lambda region, report: bool(region.kinds & md.filters.Kind.HEAP)),
    "name": ({"name": "*python3*.dll"}, lambda region, report: "python3" in region.path.lower()),
    "module": (
        {"module": "*/kernel32.dll"},
        lambda region, report: any(
            item.base <= region.base < item.base + item.size
            for item in report.modules
            if item.path.lower().endswith(b"kernel32.dll")
        ),
    ),
    "state": ({"state": "commit"}, lambda region, report: True),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_kind_of_rule(child: Child, engine: str, rule: str, tmp_path: Path) -> None:
    """Of what the rule matches nothing is in a full dump, of the rest all."""
    if engine == "dbghelp" and not VERSION and rule != "name":
        pytest.skip(
            "not asserted of dbghelp of Wine: rules are applied to its finished file, each kind in the same way"
        )
    words, matches = RULES[rule]
    plain, path = tmp_path / "plain.dmp", tmp_path / "x.dmp"
    report = take(child, plain, FULL, engine, filter=md.Filter())
    filtered = take(child, path, FULL, engine, filter=md.Filter(md.exclude(**words)))
    outside = 0
    with file_rules.DumpFile(plain) as before, file_rules.DumpFile(path) as after:
        all_of, left = before.ranges(), after.ranges()
        for region in report.regions:
            whole = covered(all_of, region.base, region.size)
            if not whole:
                continue
            now = covered(left, region.base, region.size)
            if not matches(region, report):
                assert now == whole, (hex(region.base), region.path)
                outside += 1
            elif now:  # an engine that asks about no region: overwritten
                assert filtered.warnings & md.report.DumpWarning.FILLED
                for item in left:
                    if region.base <= item.address < region.end:
                        data = after.read(item.address, item.size)
                        assert data is not None and set(data) == {0x58}, (hex(item.address), region.path)
    assert outside or rule == "state"


def test_scrubbed_ranges(child: Child, engine: str, tmp_path: Path) -> None:
    """To the byte; what is beside it is kept."""
    path = tmp_path / "x.dmp"
    rules = md.Filter(redact=md.Redact(ranges=[(child.page(3) + 9, child.page(3) + 16)], fill=0x2A))
    report = take(child, path, FULL, engine, filter=rules)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(child.page(3), 21) == b"PAGE0003 *******0003!"
    assert report.redaction is not None and report.redaction.bytes >= 7


@pytest.mark.parametrize("kind", [NORMAL, FULL], ids=["normal", "full"])
def test_sanitized_stacks(child: Child, engine: str, kind: md.DumpType, tmp_path: Path) -> None:
    """Words of stacks are pointers into modules and stacks, small numbers, or overwritten."""
    path = tmp_path / "x.dmp"
    report = take(child, path, kind, engine, filter=md.Filter(redact=md.Redact(stacks=True)))
    assert report.redaction is not None and report.redaction.words > 50
    with file_rules.DumpFile(path) as dump:
        modules = [(base, base + size) for base, size, _, _ in dump.modules()]
        areas = modules + [(item.base, item.end) for item in report.regions if item.kinds & md.filters.Kind.STACK]
        for thread in dump.threads():
            low, high = thread.register("rsp"), thread.stack.address + thread.stack.size
            data = dump.read(low, high - low)
            assert data is not None
            for (word,) in struct.iter_unpack("<Q", data[: len(data) & ~7]):
                signed = word - (1 << 64) if word >> 63 else word
                inside = any(first <= word < end for first, end in areas)
                assert inside or word == 0x0DEFACED0DEFACED or -4096 <= signed <= 4096, hex(word)
