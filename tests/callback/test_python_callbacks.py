"""Python functions for every callback type, on our engine: what they answer is done."""

from __future__ import annotations

from pathlib import Path

import fake
import file_rules
import live
import pytest
import readers

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
C = md.protocol.CallbackType
TARGET = fake.small()


def test_a_python_function_narrows_and_drops(target: live.Target, take: live.Taker) -> None:
    base, size, _ = target.region("heap")
    asked: list[tuple[int, int]] = []

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        info = answer.vm_region
        asked.append((info.base_address, info.region_size))
        assert not answer.continue_ and question.type == C.INCLUDE_VM_REGION
        if info.base_address == base:
            info.base_address += live.PAGE
            info.region_size = 2 * live.PAGE
        answer.continue_ = True
        return True

    report, path = take(target, FULL, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert len(asked) == report.callbacks[C.INCLUDE_VM_REGION]
    assert (base, size) in asked
    wanted = [(base, live.PAGE), (base + live.PAGE, 2 * live.PAGE), (base + 3 * live.PAGE, live.PAGE)]
    reading = readers.read_minidump(path, wanted)
    assert reading.contents == (None, target.content("heap", live.PAGE, 2 * live.PAGE), None)


def test_threads_modules_and_memory(target: live.Target, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    left, kept_out = [], []
    blocks = [(base, 104), (base + live.PAGE, 3 * live.PAGE)]

    def include_thread(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        assert answer.thread_write_flags == md.filters.ThreadWrite(0x17)
        return question.include_thread != target.info["threads"][0][0]

    def thread(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        left.append(question.thread.thread_id)
        assert question.thread.stack_base >= question.thread.stack_end and len(question.thread.context) == 1232
        assert question.thread.thread_handle == 0
        if len(left) == 2:
            answer.thread_write_flags &= ~md.filters.ThreadWrite.STACK
        return True

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.module.full_path.endswith("/pattern"):
            assert question.module.cv_record[:4] == b"LEpB"
            answer.module_write_flags &= ~md.filters.ModuleWrite.CV_RECORD
        elif "libc" in question.module.full_path:
            kept_out.append(question.module.base_of_image)
            answer.module_write_flags = md.filters.ModuleWrite(0)
        return True

    def memory(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        assert answer.memory_base == answer.memory_size == 0
        if not blocks:
            return False
        answer.memory_base, answer.memory_size = blocks.pop()
        return True

    removed = [base + live.PAGE]

    def remove(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if removed:
            answer.memory_base, answer.memory_size = removed.pop(), 8
            return True
        return False

    functions = {
        C.INCLUDE_THREAD: include_thread, C.THREAD: thread, C.MODULE: module, C.MEMORY: memory, C.REMOVE_MEMORY: remove,
    }  # fmt: skip
    _, path = take(target, callback=md.protocol.PythonCallback(functions))
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

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        assert answer.status == md.protocol.HResult.E_NOTIMPL
        answer.status = md.protocol.HResult.S_FALSE
        return True

    def query(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        at = question.vm_query
        known = sorted([(base, live.PAGE * 2), (area, live.PAGE * count)])
        answer.vm_query_status = md.protocol.HResult.S_OK
        for first, size in known:
            if at < first:
                answer.vm_query_result.set(base_address=at, region_size=first - at, state=0x10000)
                return True
            if at < first + size:
                answer.vm_query_result.set(base_address=first, region_size=size)
                return True
        answer.vm_query_status = md.protocol.HResult.E_FAIL
        return True

    def pre_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        wanted = question.vm_pre_read
        reads.append((question.type, wanted.offset, wanted.size))
        if not area <= wanted.offset < area + live.PAGE * count:
            return False
        wanted.buffer[:] = b"\xab" * wanted.size
        answer.vm_read_status, answer.vm_read_bytes_completed = md.protocol.HResult.S_OK, wanted.size
        return True

    def post_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        done = question.vm_post_read
        reads.append((question.type, done.offset, done.size))
        if done.offset == base:
            done.buffer[:16] = b"\0" * 16
        answer.vm_read_status, answer.vm_read_bytes_completed = done.status, done.completed
        return True

    functions = {C.VM_START: start, C.VM_QUERY: query, C.VM_PRE_READ: pre_read, C.VM_POST_READ: post_read}
    report, path = take(target, FULL, callback=md.protocol.PythonCallback(functions))
    assert report.complete and {kind for kind, _, _ in reads} == {C.VM_PRE_READ, C.VM_POST_READ}
    reading = readers.read_minidump(path, [(area, live.PAGE), (base, 32)])
    assert reading.contents == (b"\xab" * live.PAGE, b"\0" * 16 + target.content("heap", 16, 16))


def test_python_takes_over_the_output(target: live.Target, tmp_path: Path) -> None:
    store, handles = bytearray(), set()

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        handles.add(question.io.handle)
        answer.status = md.protocol.HResult.S_FALSE
        return True

    def write(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        io = question.io
        handles.add(io.handle)
        store[io.offset : io.offset + len(io.data)] = io.data
        answer.status = md.protocol.HResult.S_OK
        return True

    def finish(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_OK
        return True

    callback = md.protocol.PythonCallback({C.IO_START: start, C.IO_WRITE_ALL: write, C.IO_FINISH: finish})
    report = md.write_dump(target.pid, None, FULL, callback=callback)
    path = tmp_path / "a.dmp"
    path.write_bytes(store)
    live.assert_accepted(path, report)
    assert handles == {0}


def test_one_function_for_all_types(target: live.Target, take: live.Taker) -> None:
    seen: set[md.protocol.CallbackType] = set()

    def everything(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        seen.add(question.type)
        if question.type == C.CANCEL:
            answer.check_cancel = True
        elif question.type == C.INCLUDE_VM_REGION:
            answer.continue_ = True
        elif question.type == C.SECONDARY_FLAGS:
            assert question.secondary_flags == answer.secondary_flags == 0
        elif question.type == C.KERNEL_MINIDUMP_STATUS:
            assert question.status == md.protocol.HResult.E_NOTIMPL
        elif question.type == C.WRITE_KERNEL_MINIDUMP:
            assert answer.handle == 0
            answer.handle = 99
        return question.type not in (C.MEMORY, C.REMOVE_MEMORY, C.IO_START, C.VM_START)

    callback = md.protocol.PythonCallback(everything)
    assert callback.hook_types == {kind for kind in C if kind <= 20}
    full, _ = take(target, FULL, callback=callback)
    normal, _ = take(target, callback=callback)
    assert seen == full.callbacks.keys() | normal.callbacks.keys() >= {C.MEMORY, C.KERNEL_MINIDUMP_STATUS}


def test_a_failure_of_a_read_is_shown_and_decided() -> None:
    bad = fake.Region(base=0x60_0000, size=8 * fake.PAGE, unreadable=(0x60_2000, 0x60_3000))
    broken = fake.small(regions=(*TARGET.regions[:2], bad, *TARGET.regions[2:]))
    seen = []

    def failure(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        what = question.read_memory_failure
        seen.append((what.offset, what.bytes, what.failure_status))
        answer.status = md.protocol.HResult.S_OK if tolerate else md.protocol.HResult.E_FAIL
        return True

    tolerate = True
    report = fake.write(
        broken, "/dev/null", FULL, callback=md.protocol.PythonCallback({C.READ_MEMORY_FAILURE: failure})
    )
    assert [gap.address for gap in report.gaps] == [0x60_2000]
    assert seen == [(0x60_2000, fake.PAGE, md.protocol.HResult.E_PARTIAL_COPY)]
    tolerate = False
    with pytest.raises(md.ReadError, match="did not tolerate"):
        fake.write(broken, "/dev/null", FULL, callback=md.protocol.PythonCallback({C.READ_MEMORY_FAILURE: failure}))


def test_region_facts_for_those_who_know_them() -> None:
    found: dict[int, md.protocol.RegionFacts | None] = {}

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        found[answer.vm_region.base_address] = question.region_facts
        answer.continue_ = True
        return True

    fake.write(TARGET, "/dev/null", FULL, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert set(found.values()) == {None}
    callback = md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}, extensions=md.protocol.Extensions.REGION_FACTS)
    fake.write(TARGET, "/dev/null", FULL, callback=callback)
    facts = found[0x50_0000]
    assert (
        facts is not None
        and facts.name == b"[heap]"
        and facts.kinds == md.filters.Kind.HEAP | md.filters.Kind.ANONYMOUS
    )
    assert (facts.mapping_base, facts.mapping_size) == (0x50_0000, 64 * fake.PAGE)
    no_name = found[0x80_0000]
    assert no_name is not None and no_name.name is None


@pytest.mark.parametrize("edits_only", [False, True])
def test_hold_back_for_those_who_know_it(edits_only: bool) -> None:
    """A pattern across two reads is seen whole by a callee that asked to see the end of a read again."""
    extensions = md.protocol.Extensions.HOLD_BACK | (
        md.protocol.Extensions.EDITS_ONLY if edits_only else md.protocol.Extensions(0)
    )
    reads: list[tuple[int, int]] = []
    others: list[md.protocol.CallbackType] = []

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_FALSE
        return True

    def other(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        others.append(question.type)
        return False

    def post_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_post_read
        reads.append((read.offset, read.size))
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        return True

    functions = {C.VM_START: start, C.VM_QUERY: other, C.VM_PRE_READ: other, C.VM_POST_READ: post_read}
    for hold in (0, 64):
        reads.clear()
        callback = md.protocol.PythonCallback(functions, extensions=extensions)
        options = md.EngineOptions(hold=hold, buffer_bytes=fake.PAGE)
        fake.write(TARGET, "/dev/null", FULL, callback=callback, options=options)
        heap = [read for read in reads if 0x50_0000 <= read[0] < 0x54_0000]
        assert heap[:2] == [(0x50_0000, fake.PAGE), (0x50_1000 - hold, fake.PAGE + hold)]
    assert (not others) is edits_only


def test_resubmission_for_those_who_know_it() -> None:
    """The same function keeps one page of each answer, and is asked again only if it says that it understands that."""
    for extensions, pages in ((md.protocol.Extensions(0), 1), (md.protocol.Extensions.RESUBMIT, 64)):
        asked = 0

        def one_page(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
            nonlocal asked
            asked += answer.vm_region.base_address >> 20 == 5
            answer.vm_region.region_size = fake.PAGE
            answer.continue_ = True
            return True

        callback = md.protocol.PythonCallback({C.INCLUDE_VM_REGION: one_page}, extensions=extensions)
        report = fake.write(TARGET, "/dev/null", FULL, callback=callback)
        assert asked == pages
        assert next(region for region in report.regions if region.base == 0x50_0000).kept == pages * fake.PAGE
