"""Callbacks that are not ours, on our engine: addresses, ctypes, cffi, and Python functions for every type."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cffi
import fake
import file_rules
import live
import pytest
import readers

import minidump_cffi as md
from minidump_cffi import dumping

FULL = md.DumpType.WITH_FULL_MEMORY
C = md.CallbackType
MIB = 1 << 20
TARGET = fake.small()
Start = Callable[..., live.Target]
ROUTINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@pytest.fixture
def target(start_pattern: Start) -> Iterator[live.Target]:
    """A small process; it runs on after every test."""
    made = start_pattern("--threads", 2, "--heap", 4)
    yield made
    made.assert_runs_on()


def type_at(pointer: int) -> int:
    """CallbackType of the input at this address (x64: offset 12)."""
    return ctypes.c_uint32.from_address(pointer + 12).value


# ----------------------------------------------------------------------------------------------- every kind of address


def no_heap(seen: list[int], heap: int) -> Any:
    """A ctypes function that leaves the region at `heap` out."""

    def answer(param: int | None, question: int, output: int) -> int:
        kind = type_at(question)
        seen.append(kind)
        if kind == C.INCLUDE_VM_REGION:
            ctypes.c_int32.from_address(output + 48).value = 1
            if ctypes.c_uint64.from_address(output).value == heap:
                ctypes.c_uint64.from_address(output + 24).value = 0
        return int(kind not in (C.MEMORY, C.REMOVE_MEMORY, C.IO_START, C.VM_START))

    return ROUTINE(answer)


def test_a_ctypes_function(target: live.Target, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    seen: list[int] = []
    report, path = take(target, FULL, callback=no_heap(seen, base))
    assert set(report.callbacks) == set(map(C, seen))
    assert readers.read_minidump(path, [(base, live.PAGE)]).contents == (None,)
    _, path = take(target, FULL)
    assert readers.read_minidump(path, [(base, live.PAGE)]).contents == (target.content("heap", 0, live.PAGE),)


def test_pairs_of_addresses(target: live.Target, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    function = no_heap([], base)
    address = ctypes.cast(function, ctypes.c_void_p).value
    for callback in (
        (address, 0),
        (function, None),
        (address, ctypes.c_void_p(5)),
        md.Routine(routine=function),
        md.Routine(routine=address, param=1),
    ):
        report = md.write_dump(target.pid, take.path(), FULL, callback=callback)
        assert next(region for region in report.regions if region.base == base).kept == 0


def test_the_param_arrives() -> None:
    got: list[int | None] = []

    @ROUTINE
    def routine(param: int | None, question: int, output: int) -> int:
        got.append(param)
        return 0 if type_at(question) in (C.MEMORY, C.REMOVE_MEMORY) else 1

    cell = ctypes.c_int(3)
    for param, wanted in ((7, 7), (ctypes.pointer(cell), ctypes.addressof(cell)), (None, None)):
        got.clear()
        fake.write(TARGET, "/dev/null", callback=(routine, param))
        assert set(got) == {wanted}
    block = cffi.FFI().new("int[]", 3)
    fake.write(TARGET, "/dev/null", callback=(routine, block))
    assert got[-1] == int(cffi.FFI().cast("uintptr_t", block))


def test_a_cffi_function_of_another_ffi(target: live.Target, take: live.Taker) -> None:
    ffi = cffi.FFI()
    ffi.cdef("typedef int (*routine)(void *, void *, void *);")
    seen = []

    @ffi.callback("int(void *, void *, void *)")
    def routine(param: Any, question: Any, output: Any) -> int:
        seen.append(int(ffi.cast("uint32_t *", question)[3]))
        return 0 if seen[-1] in (C.MEMORY, C.REMOVE_MEMORY) else 1

    report, _ = take(target, callback=routine)
    assert set(report.callbacks) == set(map(C, seen))
    take(target, callback=ffi.cast("routine", routine))


def test_a_cffi_function_of_the_same_types() -> None:
    kinds = []

    @md.ffi.callback("MINIDUMP_CALLBACK_ROUTINE")
    def routine(param: Any, question: Any, output: Any) -> int:
        kinds.append(question.CallbackType)
        if question.CallbackType == C.INCLUDE_VM_REGION:
            output.Region.Continue = 1
            output.Region.VmRegion.RegionSize = 0
        return int(question.CallbackType not in (C.IO_START, C.VM_START))

    report = fake.write(TARGET, "/dev/null", FULL, callback=routine)
    assert report.memory_bytes == 0 and kinds.count(C.INCLUDE_VM_REGION) == 5


def test_function_objects_live_as_long_as_the_dump() -> None:
    """Nobody but the dump holds the function."""

    def make() -> Any:
        count = 0

        @ROUTINE
        def routine(param: int | None, question: int, output: int) -> int:
            nonlocal count
            count += 1
            gc.collect()
            return 0 if type_at(question) in (C.MEMORY, C.REMOVE_MEMORY) else 1

        return routine

    assert fake.write(TARGET, "/dev/null", callback=make()).complete


@pytest.mark.parametrize(
    ("callback", "kind", "words"),
    [
        (len, TypeError, "PythonCallback"),
        (5, TypeError, "bare number"),
        ("lib.so", TypeError, "a routine is an address"),
        ((1, 2, 3), TypeError, "a pair is"),
        ((1, "x"), TypeError, "a param is a number"),
        ((0, 0), ValueError, "not 0"),
        ((-1, 0), ValueError, "addresses"),
        (cffi.FFI().callback("int(int)", lambda _: 0), ValueError, "three arguments"),
        (ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda _: 0), ValueError, "three arguments"),
        (cffi.FFI().new("int *"), TypeError, "a routine is an address"),
        (md.Filter(), TypeError, "a routine is an address"),
    ],
    ids=range(11),
)
def test_what_is_no_callback(callback: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        md.write_dump(1, "/dev/null", callback=callback)


def test_a_filter_beside_it_is_an_error_with_the_reason() -> None:
    for callback in (ROUTINE(lambda *_: 0), md.PythonCallback({}), (1, 2)):
        with pytest.raises(ValueError, match="the engine knows no filter"):
            md.write_dump(1, "/dev/null", filter=md.Filter(), callback=callback)


def test_a_record_of_a_foreign_callback() -> None:
    report = fake.write(TARGET, "/dev/null", FULL, callback=md.PythonCallback({}), record=True)
    assert report.recording is not None
    assert sum(report.callbacks.values()) == len(report.recording)


# ---------------------------------------------------------------------------------------------------- Python functions


def test_a_python_function_narrows_and_drops(target: live.Target, take: live.Taker) -> None:
    base, size, _ = target.region("heap")
    asked: list[tuple[int, int]] = []

    def region(question: md.Input, answer: md.Output) -> bool:
        info = answer.vm_region
        asked.append((info.base_address, info.region_size))
        assert not answer.continue_ and question.type == C.INCLUDE_VM_REGION
        if info.base_address == base:
            info.base_address += live.PAGE
            info.region_size = 2 * live.PAGE
        answer.continue_ = True
        return True

    report, path = take(target, FULL, callback=md.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert len(asked) == report.callbacks[C.INCLUDE_VM_REGION]
    assert (base, size) in asked
    wanted = [(base, live.PAGE), (base + live.PAGE, 2 * live.PAGE), (base + 3 * live.PAGE, live.PAGE)]
    reading = readers.read_minidump(path, wanted)
    assert reading.contents == (None, target.content("heap", live.PAGE, 2 * live.PAGE), None)


def test_threads_modules_and_memory(target: live.Target, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    left, kept_out = [], []
    blocks = [(base, 104), (base + live.PAGE, 3 * live.PAGE)]

    def include_thread(question: md.Input, answer: md.Output) -> bool:
        assert answer.thread_write_flags == md.ThreadWrite(0x17)
        return question.include_thread != target.info["threads"][0][0]

    def thread(question: md.Input, answer: md.Output) -> bool:
        left.append(question.thread.thread_id)
        assert question.thread.stack_base >= question.thread.stack_end and len(question.thread.context) == 1232
        assert question.thread.thread_handle == 0
        if len(left) == 2:
            answer.thread_write_flags &= ~md.ThreadWrite.STACK
        return True

    def module(question: md.Input, answer: md.Output) -> bool:
        if question.module.full_path.endswith("/pattern"):
            assert question.module.cv_record[:4] == b"LEpB"
            answer.module_write_flags &= ~md.ModuleWrite.CV_RECORD
        elif "libc" in question.module.full_path:
            kept_out.append(question.module.base_of_image)
            answer.module_write_flags = md.ModuleWrite(0)
        return True

    def memory(question: md.Input, answer: md.Output) -> bool:
        assert answer.memory_base == answer.memory_size == 0
        if not blocks:
            return False
        answer.memory_base, answer.memory_size = blocks.pop()
        return True

    removed = [base + live.PAGE]

    def remove(question: md.Input, answer: md.Output) -> bool:
        if removed:
            answer.memory_base, answer.memory_size = removed.pop(), 8
            return True
        return False

    functions = {
        C.INCLUDE_THREAD: include_thread, C.THREAD: thread, C.MODULE: module, C.MEMORY: memory, C.REMOVE_MEMORY: remove,
    }  # fmt: skip
    _, path = take(target, callback=md.PythonCallback(functions))
    with file_rules.DumpFile(path) as dump:
        threads = {item.tid: item for item in dump.threads()}
        assert sorted(threads) == sorted(left) and target.info["threads"][0][0] not in threads
        assert threads[left[1]].stack.size == 0 and threads[left[0]].stack.size > 0
        modules = dump.modules()
        assert kept_out and not {module[0] for module in modules} & set(kept_out)
        assert next(module[3] for module in modules if module[2].endswith("/pattern")) == b""
        assert dump.read(base, 104) == target.content("heap", 0, 104)
        assert not dump.holds(base + live.PAGE, 8)
        assert dump.read(base + live.PAGE + 8, live.PAGE) == target.content("heap", live.PAGE + 8, live.PAGE)


def test_python_serves_the_memory_itself(target: live.Target, take: live.Taker) -> None:
    """VmStart S_FALSE: VmQuery enumerates, VmPreRead supplies, VmPostRead changes what the engine has read."""
    base, _, _ = target.region("heap")
    area, count = 0x2000_0000_0000, 4
    reads: list[tuple[C, int, int]] = []

    def start(question: md.Input, answer: md.Output) -> bool:
        assert answer.status == md.HResult.E_NOTIMPL
        answer.status = md.HResult.S_FALSE
        return True

    def query(question: md.Input, answer: md.Output) -> bool:
        at = question.vm_query
        known = sorted([(base, live.PAGE * 2), (area, live.PAGE * count)])
        answer.vm_query_status = md.HResult.S_OK
        for first, size in known:
            if at < first:
                answer.vm_query_result.set(base_address=at, region_size=first - at, state=0x10000)
                return True
            if at < first + size:
                answer.vm_query_result.set(base_address=first, region_size=size)
                return True
        answer.vm_query_status = md.HResult.E_FAIL
        return True

    def pre_read(question: md.Input, answer: md.Output) -> bool:
        wanted = question.vm_pre_read
        reads.append((question.type, wanted.offset, wanted.size))
        if not area <= wanted.offset < area + live.PAGE * count:
            return False
        wanted.buffer[:] = b"\xab" * wanted.size
        answer.vm_read_status, answer.vm_read_bytes_completed = md.HResult.S_OK, wanted.size
        return True

    def post_read(question: md.Input, answer: md.Output) -> bool:
        done = question.vm_post_read
        reads.append((question.type, done.offset, done.size))
        if done.offset == base:
            done.buffer[:16] = b"\0" * 16
        answer.vm_read_status, answer.vm_read_bytes_completed = done.status, done.completed
        return True

    functions = {C.VM_START: start, C.VM_QUERY: query, C.VM_PRE_READ: pre_read, C.VM_POST_READ: post_read}
    report, path = take(target, FULL, callback=md.PythonCallback(functions))
    assert report.complete and {kind for kind, _, _ in reads} == {C.VM_PRE_READ, C.VM_POST_READ}
    reading = readers.read_minidump(path, [(area, live.PAGE), (base, 32)])
    assert reading.contents == (b"\xab" * live.PAGE, b"\0" * 16 + target.content("heap", 16, 16))


def test_python_takes_over_the_output(target: live.Target, tmp_path: Path) -> None:
    store, handles = bytearray(), set()

    def start(question: md.Input, answer: md.Output) -> bool:
        handles.add(question.io.handle)
        answer.status = md.HResult.S_FALSE
        return True

    def write(question: md.Input, answer: md.Output) -> bool:
        io = question.io
        handles.add(io.handle)
        store[io.offset : io.offset + len(io.data)] = io.data
        answer.status = md.HResult.S_OK
        return True

    def finish(question: md.Input, answer: md.Output) -> bool:
        answer.status = md.HResult.S_OK
        return True

    callback = md.PythonCallback({C.IO_START: start, C.IO_WRITE_ALL: write, C.IO_FINISH: finish})
    report = md.write_dump(target.pid, None, FULL, callback=callback)
    path = tmp_path / "a.dmp"
    path.write_bytes(store)
    live.assert_accepted(path, report)
    assert handles == {0}


def test_one_function_for_all_types(target: live.Target, take: live.Taker) -> None:
    seen: set[md.CallbackType] = set()

    def everything(question: md.Input, answer: md.Output) -> bool:
        seen.add(question.type)
        if question.type == C.CANCEL:
            answer.check_cancel = True
        elif question.type == C.INCLUDE_VM_REGION:
            answer.continue_ = True
        elif question.type == C.SECONDARY_FLAGS:
            assert question.secondary_flags == answer.secondary_flags == 0
        elif question.type == C.KERNEL_MINIDUMP_STATUS:
            assert question.status == md.HResult.E_NOTIMPL
        elif question.type == C.WRITE_KERNEL_MINIDUMP:
            assert answer.handle == 0
            answer.handle = 99
        return question.type not in (C.MEMORY, C.REMOVE_MEMORY, C.IO_START, C.VM_START)

    callback = md.PythonCallback(everything)
    assert callback.hook_types == {kind for kind in C if kind <= 20}
    full, _ = take(target, FULL, callback=callback)
    normal, _ = take(target, callback=callback)
    assert seen == full.callbacks.keys() | normal.callbacks.keys() >= {C.MEMORY, C.KERNEL_MINIDUMP_STATUS}


def test_a_failure_of_a_read_is_shown_and_decided() -> None:
    bad = fake.Region(base=0x60_0000, size=8 * fake.PAGE, unreadable=(0x60_2000, 0x60_3000))
    broken = fake.small(regions=(*TARGET.regions[:2], bad, *TARGET.regions[2:]))
    seen = []

    def failure(question: md.Input, answer: md.Output) -> bool:
        what = question.read_memory_failure
        seen.append((what.offset, what.bytes, what.failure_status))
        answer.status = md.HResult.S_OK if tolerate else md.HResult.E_FAIL
        return True

    tolerate = True
    report = fake.write(broken, "/dev/null", FULL, callback=md.PythonCallback({C.READ_MEMORY_FAILURE: failure}))
    assert [gap.address for gap in report.gaps] == [0x60_2000]
    assert seen == [(0x60_2000, fake.PAGE, md.HResult.E_PARTIAL_COPY)]
    tolerate = False
    with pytest.raises(md.ReadError, match="did not tolerate"):
        fake.write(broken, "/dev/null", FULL, callback=md.PythonCallback({C.READ_MEMORY_FAILURE: failure}))


def test_region_facts_for_those_who_know_them() -> None:
    found: dict[int, md.RegionFacts | None] = {}

    def region(question: md.Input, answer: md.Output) -> bool:
        found[answer.vm_region.base_address] = question.region_facts
        answer.continue_ = True
        return True

    fake.write(TARGET, "/dev/null", FULL, callback=md.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert set(found.values()) == {None}
    callback = md.PythonCallback({C.INCLUDE_VM_REGION: region}, extensions=md.Extensions.REGION_FACTS)
    fake.write(TARGET, "/dev/null", FULL, callback=callback)
    facts = found[0x50_0000]
    assert facts is not None and facts.name == b"[heap]" and facts.kinds == md.Kind.HEAP | md.Kind.ANONYMOUS
    assert (facts.mapping_base, facts.mapping_size) == (0x50_0000, 64 * fake.PAGE)
    no_name = found[0x80_0000]
    assert no_name is not None and no_name.name is None


@pytest.mark.parametrize("edits_only", [False, True])
def test_hold_back_for_those_who_know_it(edits_only: bool) -> None:
    """A pattern across two reads is seen whole by a callee that asked to see the end of a read again."""
    extensions = md.Extensions.HOLD_BACK | (md.Extensions.EDITS_ONLY if edits_only else md.Extensions(0))
    reads: list[tuple[int, int]] = []
    others: list[md.CallbackType] = []

    def start(question: md.Input, answer: md.Output) -> bool:
        answer.status = md.HResult.S_FALSE
        return True

    def other(question: md.Input, answer: md.Output) -> bool:
        others.append(question.type)
        return False

    def post_read(question: md.Input, answer: md.Output) -> bool:
        read = question.vm_post_read
        reads.append((read.offset, read.size))
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        return True

    functions = {C.VM_START: start, C.VM_QUERY: other, C.VM_PRE_READ: other, C.VM_POST_READ: post_read}
    for hold in (0, 64):
        reads.clear()
        callback = md.PythonCallback(functions, extensions=extensions)
        options = md.EngineOptions(hold=hold, buffer_bytes=fake.PAGE)
        fake.write(TARGET, "/dev/null", FULL, callback=callback, options=options)
        heap = [read for read in reads if 0x50_0000 <= read[0] < 0x54_0000]
        assert heap[:2] == [(0x50_0000, fake.PAGE), (0x50_1000 - hold, fake.PAGE + hold)]
    assert (not others) is edits_only


def test_resubmission_for_those_who_know_it() -> None:
    """The same function keeps one page of each answer, and is asked again only if it says that it understands that."""
    for extensions, pages in ((md.Extensions(0), 1), (md.Extensions.RESUBMIT, 64)):
        asked = 0

        def one_page(question: md.Input, answer: md.Output) -> bool:
            nonlocal asked
            asked += answer.vm_region.base_address >> 20 == 5
            answer.vm_region.region_size = fake.PAGE
            answer.continue_ = True
            return True

        callback = md.PythonCallback({C.INCLUDE_VM_REGION: one_page}, extensions=extensions)
        report = fake.write(TARGET, "/dev/null", FULL, callback=callback)
        assert asked == pages
        assert next(region for region in report.regions if region.base == 0x50_0000).kept == pages * fake.PAGE


# ------------------------------------------------------------------------------------------- exceptions, and the views


@pytest.mark.parametrize("kind", [kind for kind in C if kind <= 20 and kind not in (2, 8, 12, 13, 14, 18, 19, 20)])
def test_an_exception_ends_the_dump_and_is_raised(kind: md.CallbackType, target: live.Target, tmp_path: Path) -> None:
    calls: list[md.CallbackType] = []

    class Oops(Exception):
        pass

    def fail(question: md.Input, answer: md.Output) -> bool:
        calls.append(question.type)
        raise Oops(kind.name)

    dump_type = md.DumpType.NORMAL if kind in (C.MEMORY, C.REMOVE_MEMORY) else FULL
    try:
        with pytest.raises(Oops, match=kind.name):
            md.write_dump(target.pid, tmp_path / "a.dmp", dump_type, callback=md.PythonCallback({kind: fail}))
    finally:
        assert not (tmp_path / "a.dmp").exists()
    assert calls == [kind], "a function that failed is not called again"


@pytest.mark.parametrize("kind", [C.VM_QUERY, C.VM_PRE_READ, C.VM_POST_READ, C.IO_WRITE_ALL, C.IO_FINISH])
def test_an_exception_of_one_that_took_over(kind: md.CallbackType, target: live.Target, tmp_path: Path) -> None:
    def take_over(question: md.Input, answer: md.Output) -> bool:
        answer.status = md.HResult.S_FALSE
        return True

    def store(question: md.Input, answer: md.Output) -> bool:
        answer.status = md.HResult.S_OK
        return True

    def fail(question: md.Input, answer: md.Output) -> bool:
        raise KeyError(kind.name)

    start = C.IO_START if kind in (C.IO_WRITE_ALL, C.IO_FINISH) else C.VM_START
    functions = {start: take_over, C.IO_WRITE_ALL: store, C.IO_FINISH: store, kind: fail}
    with pytest.raises(KeyError, match=kind.name):
        md.write_dump(target.pid, tmp_path / "a.dmp", FULL, callback=md.PythonCallback(functions))
    assert not (tmp_path / "a.dmp").exists()


@pytest.mark.parametrize("result", [None, 1, "yes"])
def test_an_answer_is_true_or_false(result: Any) -> None:
    with pytest.raises(TypeError, match="answers True or False"):
        fake.write(TARGET, "/dev/null", callback=md.PythonCallback({C.MODULE: lambda *_: result}))


def test_members_of_other_types_are_not_there() -> None:
    problems: list[str] = []
    members = {name for name in vars(md.Output) if not name.startswith("_")}
    questions = {name for name in vars(md.Input) if not name.startswith("_")}
    mine = {
        C.MODULE: {"module_write_flags"}, C.INCLUDE_MODULE: {"module_write_flags"}, C.THREAD: {"thread_write_flags"},
        C.INCLUDE_THREAD: {"thread_write_flags"}, C.CANCEL: {"check_cancel", "cancel"},
        C.WRITE_KERNEL_MINIDUMP: {"handle"}, C.INCLUDE_VM_REGION: {"vm_region", "continue_"}, C.IO_START: {"status"},
        C.SECONDARY_FLAGS: {"secondary_flags"}, C.IS_PROCESS_SNAPSHOT: {"status"}, C.VM_START: {"status"},
    }  # fmt: skip
    asked = {
        C.MODULE: {"module"}, C.INCLUDE_MODULE: {"include_module"}, C.THREAD: {"thread"}, C.IO_START: {"io"},
        C.INCLUDE_THREAD: {"include_thread"}, C.SECONDARY_FLAGS: {"secondary_flags"},
        C.INCLUDE_VM_REGION: {"region_facts"},
    }  # fmt: skip
    always = {"type", "process_id", "process_handle"}

    def look(question: md.Input, answer: md.Output) -> bool:
        kind = question.type
        there = {name for name in members if hasattr(answer, name)}
        if there != mine[kind]:
            problems.append(f"{kind.name}: {there}")
        there = {name for name in questions if hasattr(question, name)} - always
        if there != asked.get(kind, set()):
            problems.append(f"{kind.name}: {there}")
        for name in members - mine[kind]:
            with pytest.raises(AttributeError):
                setattr(answer, name, 1)
        for name in questions:
            with pytest.raises(AttributeError):
                setattr(question, name, 1)
        if kind == C.INCLUDE_VM_REGION:
            answer.continue_ = True
        return kind not in (C.IO_START, C.VM_START, C.IS_PROCESS_SNAPSHOT)

    report = fake.write(TARGET, "/dev/null", FULL, callback=md.PythonCallback(look))
    assert not problems
    assert set(report.callbacks) == set(mine)


def test_views_end_with_the_call() -> None:
    kept: list[Any] = []

    def module(question: md.Input, answer: md.Output) -> bool:
        kept.extend((question, answer))
        return True

    def region(question: md.Input, answer: md.Output) -> bool:
        kept.append(answer.vm_region)
        answer.continue_ = True
        return True

    def write(question: md.Input, answer: md.Output) -> bool:
        kept.append(question.io.data)
        answer.status = 0
        return True

    def start(question: md.Input, answer: md.Output) -> bool:
        answer.status = 1
        return True

    functions = {C.MODULE: module, C.INCLUDE_VM_REGION: region, C.IO_START: start, C.IO_WRITE_ALL: write}
    functions[C.IO_FINISH] = lambda question, answer: setattr(answer, "status", 0) is None
    fake.write(TARGET, None, FULL, callback=md.PythonCallback(functions))
    for item in kept:
        if isinstance(item, memoryview):
            with pytest.raises(ValueError, match="released"):
                bytes(item)
        else:
            name = {md.Input: "module", md.Output: "module_write_flags"}.get(type(item), "region_size")
            with pytest.raises(RuntimeError, match="has returned"):
                getattr(item, name)
    assert {type(item) for item in kept} == {md.Input, md.Output, md.MemoryInfo, memoryview}


def test_values_that_do_not_fit() -> None:
    def region(question: md.Input, answer: md.Output) -> bool:
        answer.vm_region.region_size = 1 << 64
        return True

    with pytest.raises(OverflowError):
        fake.write(TARGET, "/dev/null", FULL, callback=md.PythonCallback({C.INCLUDE_VM_REGION: region}))

    def start(question: md.Input, answer: md.Output) -> bool:
        answer.status = 1 << 32
        return True

    with pytest.raises(ValueError, match="no HRESULT"):
        fake.write(TARGET, "/dev/null", callback=md.PythonCallback({C.VM_START: start}))


def test_functions_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="never sent"):
        md.PythonCallback({C.COMPRESSED_MEMORY_STREAM_START: lambda *_: True})
    with pytest.raises(TypeError, match="not callable"):
        md.PythonCallback({C.MODULE: 5})
    with pytest.raises(TypeError, match="must be Extensions"):
        md.PythonCallback({}, extensions="all")
    with pytest.raises(md.TargetError, match="no Python hook"):
        md.write_dump(os.getpid(), "/dev/null", callback=md.PythonCallback({C.MODULE: lambda *_: True}))


def test_a_python_function_that_hangs_is_left_behind(
    target: live.Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "GRACE", 0.2)
    end = threading.Event()
    back = threading.Event()

    def hang(question: md.Input, answer: md.Output) -> bool:
        end.wait(live.PATIENCE)
        back.set()
        return True

    callback = md.PythonCallback({C.INCLUDE_MODULE: hang})
    try:
        with pytest.raises(md.DeadlineExceeded, match="the Python callback does not come back from INCLUDE_MODULE"):
            md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback, max_stop=0.4)
        target.assert_runs_on()
        with pytest.raises(md.CallbackError, match="in use"):
            callback.close()
        with pytest.raises(md.CallbackError, match="in use"):
            md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback)
    finally:
        end.set()
        assert back.wait(live.PATIENCE)
    assert not (tmp_path / "a.dmp").exists()


def test_two_dumps_do_not_share_one(target: live.Target, tmp_path: Path) -> None:
    callback = md.PythonCallback({C.VM_START: lambda *_: nested()})
    caught: list[Exception] = []

    def nested() -> bool:
        try:
            fake.write(TARGET, "/dev/null", callback=callback)
        except md.CallbackError as error:
            caught.append(error)
        return False

    assert md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback).complete
    assert len(caught) == 1 and "in use" in str(caught[0])
    callback.close()
    with pytest.raises(md.CallbackError, match="closed"):
        md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback)


def test_python_callback_on_a_foreign_engine() -> None:
    seen = []
    with md.PythonCallback({C.MODULE: lambda question, answer: not seen.append(question.type)}) as callback:
        question = md.ffi.new("MINIDUMP_CALLBACK_INPUT *")
        output = md.ffi.new("MINIDUMP_CALLBACK_OUTPUT *")
        information = callback.information
        with callback.in_use():
            assert information.CallbackRoutine(information.CallbackParam, question, output) == 1
    assert seen == [C.MODULE]
