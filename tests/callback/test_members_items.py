"""Members of MINIDUMP_CALLBACK_OUTPUT that decide about modules, threads and the dump as a whole.

A test per row of docs/members.md: a dump of a real process, and what has become of it in the file, seen by readers that
are not ours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import live
import pytest
import readers
from callees import Callee, agree, keep_asking
from members import QUICK

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
CANCELLED = 0x800704C7


# ------------------------------------------------------------------------------------------------ ModuleWriteFlags


def libc_of(target: live.Target) -> tuple[str, int]:
    """Path and base of its C library."""
    for line in os.fsdecode(Path(f"/proc/{target.pid}/maps").read_bytes()).split("\n"):
        path = line.split(maxsplit=5)[5:]
        if path and Path(path[0]).name.startswith("libc."):
            return path[0], int(line.partition("-")[0], 16)
    raise AssertionError("no C library is mapped")


def module_ways(target: live.Target, keep: md.filters.ModuleWrite) -> dict[str, Any]:
    """A filter, a hook and both Python functions that leave these flags to the C library."""
    path, base = libc_of(target)

    def by_hook(input: Any, output: Any) -> bool:
        if input.u.Module.BaseOfImage == base:
            output.ModuleWriteFlags &= int(keep)
        return True

    def by_path(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.module.full_path == path:
            answer.module_write_flags &= keep
        return True

    def by_base(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.include_module == base:
            answer.module_write_flags &= keep
        return True

    return {
        "filter": {"filter": md.Filter(modules=[md.module(path, keep)])},
        "hook": {"callback": md.Callback(hooks={TYPE.MODULE: by_hook})},
        "Module": {"callback": md.protocol.PythonCallback({TYPE.MODULE: by_path})},
        "IncludeModule": {"callback": md.protocol.PythonCallback({TYPE.INCLUDE_MODULE: by_base})},
    }


MODULE_WAYS = ("filter", "hook", "Module", "IncludeModule")


@pytest.mark.parametrize("way", MODULE_WAYS)
def test_a_module_without_its_codeview_record(way: str, target: live.Target, take: live.Taker) -> None:
    _, base = libc_of(target)
    keep = md.filters.ModuleWrite.MODULE | md.filters.ModuleWrite.MISC_RECORD
    _, path = take(target, **module_ways(target, keep)[way], only=QUICK)
    for reader in (readers.read_udmp, readers.read_minidump):
        found = {module.base: module for module in reader(path).modules or ()}
        assert found[base].build_id is None, reader
        assert any(module.build_id for module in found.values()), "the others keep theirs"


@pytest.mark.parametrize("way", MODULE_WAYS)
def test_a_module_left_out(way: str, target: live.Target, take: live.Taker) -> None:
    path, base = libc_of(target)
    _, all_there = take(target, only=QUICK)
    _, without = take(target, **module_ways(target, md.filters.ModuleWrite(0))[way], only=QUICK)
    for reader in (readers.read_udmp, readers.read_minidump):
        before = {(module.base, module.path) for module in reader(all_there).modules or ()}
        after = {(module.base, module.path) for module in reader(without).modules or ()}
        assert before - after == {(base, path)}, reader


# ------------------------------------------------------------------------------------------------ ThreadWriteFlags


def thread_ways(tid: int, keep: md.filters.ThreadWrite) -> dict[str, Any]:
    """The same for a thread."""

    def hook(input: Any, output: Any) -> bool:
        if input.u.Thread.ThreadId == tid:
            output.ThreadWriteFlags &= int(keep)
        return True

    def by_thread(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.thread.thread_id == tid:
            answer.thread_write_flags &= keep
        return True

    def by_id(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.include_thread == tid:
            answer.thread_write_flags &= keep
        return True

    return {
        "filter": {"filter": md.Filter(threads=[md.thread(tid, keep)])},
        "hook": {"callback": md.Callback(hooks={TYPE.THREAD: hook})},
        "Thread": {"callback": md.protocol.PythonCallback({TYPE.THREAD: by_thread})},
        "IncludeThread": {"callback": md.protocol.PythonCallback({TYPE.INCLUDE_THREAD: by_id})},
    }


THREAD_WAYS = ("filter", "hook", "Thread", "IncludeThread")


@pytest.mark.parametrize("way", THREAD_WAYS)
def test_a_thread_without_stack(way: str, target: live.Target, take: live.Taker) -> None:
    (tid, marker), (other, other_marker) = target.info["threads"]
    keep = md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.CONTEXT | md.filters.ThreadWrite.INSTRUCTION_WINDOW
    _, path = take(target, **thread_ways(tid, keep)[way], only=QUICK)
    reading = readers.read_minidump(path, [(marker, 64), (other_marker, 64)])
    assert reading.contents == (None, live.pattern(other_marker, 64, 14))
    threads = {thread.tid: thread for thread in reading.threads or ()}
    assert threads[tid].stack == (0, 0) and threads[tid].sp
    assert threads[other].stack is not None and threads[other].stack[1] > 0
    assert live.file_holds(path, live.pattern(marker, 64, 14)) == [-1], "and nowhere else in the file"


@pytest.mark.parametrize("way", THREAD_WAYS)
def test_a_thread_without_context(way: str, target: live.Target, take: live.Taker) -> None:
    (tid, marker), (other, _) = target.info["threads"]
    keep = md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.STACK
    _, path = take(target, **thread_ways(tid, keep)[way], only=QUICK)
    for reading in (readers.read_udmp(path), readers.read_minidump(path)):
        threads = {thread.tid: thread for thread in reading.threads or ()}
        assert (threads[tid].sp, threads[tid].ip) == (0, 0), reading.reader
        assert threads[other].sp and threads[other].ip
    assert readers.read_minidump(path, [(marker, 64)]).contents == (live.pattern(marker, 64, 14),), "its stack stays"


@pytest.mark.parametrize("way", THREAD_WAYS)
def test_a_thread_left_out(way: str, target: live.Target, take: live.Taker) -> None:
    tid, marker = target.info["threads"][0]
    _, path = take(target, **thread_ways(tid, md.filters.ThreadWrite(0))[way], only=QUICK)
    for reading in (readers.read_udmp(path), readers.read_minidump(path, [(marker, 64)])):
        tids = {thread.tid for thread in reading.threads or ()}
        assert tids == set(live.task_states(target.pid)) - {tid}, reading.reader
    assert reading.contents == (None,), "nor its stack"


def test_threads_without_instruction_window_and_info(target: live.Target, take: live.Taker) -> None:
    """0x10 and 0x40: the bytes round the instruction pointer, and the entry in ThreadInfoList."""
    (tid, _), (other, _) = target.info["threads"]  # both sleep at the same place
    some = md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.STACK | md.filters.ThreadWrite.CONTEXT
    window, info = md.filters.ThreadWrite.INSTRUCTION_WINDOW, md.filters.ThreadWrite.THREAD_INFO
    keep = md.Filter(
        threads=[md.thread(target.pid, some | window), md.thread(tid, some), md.thread(other, some | info)]
    )
    _, before = take(target, md.DumpType.WITH_THREAD_INFO, only=QUICK)
    _, path = take(target, md.DumpType.WITH_THREAD_INFO, filter=keep, only=QUICK)
    ip = next(thread.ip for thread in readers.read_udmp(path).threads or () if thread.tid == tid)
    assert ip is not None
    code, gone = (readers.read_minidump(file, [(ip, 16)]).contents[0] for file in (before, path))
    assert code is not None and gone is None
    assert tids_with_info(before) == {target.pid, tid, other} and tids_with_info(path) == {other}


def tids_with_info(path: Path) -> set[int]:
    """ThreadInfoList, as the package `minidump` reads it."""
    from minidump.minidumpfile import MinidumpFile

    dump: Any = MinidumpFile.parse(str(path))
    dump.file_handle.close()
    return {info.ThreadId for info in dump.thread_info.infos}


def test_flags_can_be_taken_away_and_never_added(target: live.Target, take: live.Taker) -> None:
    """What Include has taken away stays away, though Thread and Module set every bit of theirs."""
    (tid, _), (other, _) = target.info["threads"]
    _, libc = libc_of(target)

    def less(input: Any, output: Any) -> int:
        if input.CallbackType == TYPE.INCLUDE_THREAD and input.u.IncludeThread.ThreadId == tid:
            output.ThreadWriteFlags = int(md.filters.ThreadWrite.THREAD)
        if input.CallbackType == TYPE.INCLUDE_MODULE and input.u.IncludeModule.BaseOfImage == libc:
            output.ModuleWriteFlags = int(md.filters.ModuleWrite.MODULE)
        return 1

    def everything(_input: Any, output: Any) -> int:
        output.ThreadWriteFlags = 0xFFFFFFFF
        return 1

    answers = {TYPE.INCLUDE_THREAD: less, TYPE.INCLUDE_MODULE: less, TYPE.THREAD: everything, TYPE.MODULE: everything}
    _, path = take(target, callback=Callee(answers).routine, only=QUICK)
    reading = readers.read_minidump(path)
    threads = {thread.tid: thread for thread in reading.threads or ()}
    assert (threads[tid].stack, threads[tid].sp) == ((0, 0), 0)
    assert threads[other].stack != (0, 0) and threads[other].sp
    records = {module.base: module.build_id for module in reading.modules or ()}
    assert records[libc] is None and any(records.values())


# --------------------------------------------------------------------------------------------------- SecondaryFlags


def power_info(path: Path) -> tuple[int | None, ...]:
    """The processor power fields, as the package `minidump` reads them."""
    from minidump.minidumpfile import MinidumpFile

    dump: Any = MinidumpFile.parse(str(path))
    try:
        misc = dump.misc_info
        return misc.ProcessorMaxMhz, misc.ProcessorCurrentMhz, misc.ProcessorMhzLimit
    finally:
        dump.file_handle.close()


def _without_power(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
    answer.secondary_flags |= md.filters.SecondaryFlags.WITHOUT_POWER_INFO
    return True


def _without_power_hook(input: Any, output: Any) -> bool:
    output.SecondaryFlags |= 1
    return True


@pytest.mark.parametrize("way", ["filter", "hook", "python"])
def test_processor_power_fields_left_out(way: str, target: live.Target, take: live.Taker) -> None:
    ways: dict[str, Any] = {
        "filter": {"filter": md.Filter(secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO)},
        "hook": {"callback": md.Callback(hooks={TYPE.SECONDARY_FLAGS: _without_power_hook})},
        "python": {"callback": md.protocol.PythonCallback({TYPE.SECONDARY_FLAGS: _without_power})},
    }
    _, path = take(target, **ways[way], only=QUICK)
    assert power_info(path) == (None, None, None)
    _, path = take(target, only=QUICK)
    if "cpu MHz" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this machine does not say how fast it is")
    assert all(power_info(path))


# --------------------------------------------------------------------------------------------- CheckCancel, Cancel


class CancelAt:
    """Cancels when it is asked for the so-manieth time."""

    def __init__(self, number: int) -> None:
        self.asked, self.number = 0, number

    def __call__(self) -> bool:
        """The question."""
        self.asked += 1
        return self.asked == self.number

    def answer(self, _question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        """The same for a `PythonCallback`."""
        answer.check_cancel, answer.cancel = True, self()
        return True

    def foreign(self, _input: Any, output: Any) -> int:
        """The same for a callee that is not ours."""
        output.Cancel.CheckCancel, output.Cancel.Cancel = 1, int(self())
        return 1


def cancel_way(way: str, cancel: CancelAt) -> Any:
    """A callback that asks it."""
    if way == "on_cancel":
        return md.Callback(on_cancel=cancel)
    if way == "python":
        return md.protocol.PythonCallback({TYPE.CANCEL: cancel.answer})
    return Callee({TYPE.CANCEL: cancel.foreign, TYPE.INCLUDE_VM_REGION: keep_asking}).routine


@pytest.mark.parametrize("when", ["first", "late"])
@pytest.mark.parametrize("way", ["on_cancel", "python", "foreign"])
def test_a_dump_cancelled(way: str, when: str, target: live.Target, folder: Path) -> None:
    never = CancelAt(-1)
    md.write_dump(target.pid, folder / "whole.dmp", FULL, callback=cancel_way(way, never))
    assert never.asked > 20, "before every item and every piece of memory"
    (folder / "whole.dmp").unlink()
    # The last but a few: mappings of the target may come and go between two dumps.
    cancel = CancelAt(1 if when == "first" else never.asked - 4)
    with pytest.raises(md.Cancelled) as caught:
        md.write_dump(target.pid, folder / "none.dmp", FULL, callback=cancel_way(way, cancel))
    assert caught.value.hresult == CANCELLED
    assert caught.value.callback_type == TYPE.CANCEL
    assert caught.value.phase in (
        (md.report.Phase.CAPTURE,) if when == "first" else (md.report.Phase.WRITE, md.report.Phase.FINISH)
    )
    assert list(folder.iterdir()) == [], "nothing under its name, and nothing beside it"


def test_cancel_of_a_callback(target: live.Target, folder: Path) -> None:
    """`Callback.cancel` is the next Cancel = TRUE."""
    with md.Callback(hooks={TYPE.THREAD: lambda *_: callback.cancel() or True}) as callback:
        with pytest.raises(md.Cancelled) as caught:
            md.write_dump(target.pid, folder / "none.dmp", FULL, callback=callback)
        assert (caught.value.hresult, caught.value.callback_type) == (CANCELLED, TYPE.CANCEL)
    assert list(folder.iterdir()) == []


def test_check_cancel_not_written_again_ends_the_questions(target: live.Target, take: live.Taker) -> None:
    """And what Cancel would say later is never heard: the dump is whole."""
    answers = iter([1, 1, 0])

    def thrice(_input: Any, output: Any) -> int:
        output.Cancel.CheckCancel = next(answers)
        return 1

    callee = Callee({TYPE.CANCEL: thrice})
    _, path = take(target, FULL, callback=callee.routine, only=QUICK)
    assert callee.count(TYPE.CANCEL) == 3
    base, _, _ = target.region("heap")
    assert readers.read_udmp(path, [(base, 4096)]).contents == (target.content("heap", 0, 4096),)


def test_cancel_counts_together_with_true_only(target: live.Target, take: live.Taker) -> None:
    def cancel_and_false(_input: Any, output: Any) -> int:
        output.Cancel.CheckCancel = output.Cancel.Cancel = 1
        return 0

    callee = Callee({TYPE.CANCEL: cancel_and_false})
    take(target, callback=callee.routine, only=QUICK)
    assert callee.count(TYPE.CANCEL) == 1


# ----------------------------------------------------------------------------------------------------------- Handle


@pytest.mark.parametrize("way", ["hook", "python", "foreign"])
def test_a_kernel_dump_handle_answered(way: str, target: live.Target, take: live.Taker, tmp_path: Path) -> None:
    """Nothing is written to it, 8 says E_NOTIMPL, and it stays open: it is the callee's."""
    kernel = tmp_path / "kernel.dmp"
    handle = os.open(kernel, os.O_RDWR | os.O_CREAT, 0o600)
    told: list[int] = []

    def give(input: Any, output: Any) -> int:
        output.Handle = md.protocol.ffi.cast("void *", handle)
        return 1

    def hear(input: Any, output: Any) -> int:
        told.append(input.u.Status & 0xFFFFFFFF)
        return 1

    def python(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if question.type == TYPE.WRITE_KERNEL_MINIDUMP:
            answer.handle = handle
        else:
            told.append(question.status)
        return True

    both = (TYPE.WRITE_KERNEL_MINIDUMP, TYPE.KERNEL_MINIDUMP_STATUS)
    callbacks: dict[str, Any] = {
        "hook": lambda: md.Callback(hooks=dict(zip(both, (give, hear), strict=True))),
        "python": lambda: md.protocol.PythonCallback(dict.fromkeys(both, python)),
        "foreign": lambda: Callee(dict(zip(both, (give, hear), strict=True))).routine,
    }
    try:
        take(target, callback=callbacks[way](), only=QUICK)
        assert told == [0x80004001]
        assert os.fstat(handle).st_size == 0 and os.fstat(handle).st_ino == kernel.stat().st_ino
        os.write(handle, b"still ours")
    finally:
        os.close(handle)


def test_no_handle_no_status(target: live.Target, take: live.Taker) -> None:
    callee = Callee({TYPE.WRITE_KERNEL_MINIDUMP: agree})
    take(target, callback=callee.routine, only=QUICK)
    assert (callee.count(TYPE.WRITE_KERNEL_MINIDUMP), callee.count(TYPE.KERNEL_MINIDUMP_STATUS)) == (1, 0)
