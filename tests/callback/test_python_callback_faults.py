"""Python functions for callback types: exceptions, views and values that are wrong, and functions that hang."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import fake
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
C = md.protocol.CallbackType
TARGET = fake.small()


@pytest.mark.parametrize("kind", [kind for kind in C if kind <= 20 and kind not in (2, 8, 12, 13, 14, 18, 19, 20)])
def test_an_exception_ends_the_dump_and_is_raised(
    kind: md.protocol.CallbackType, target: live.Target, tmp_path: Path
) -> None:
    calls: list[md.protocol.CallbackType] = []

    class Oops(Exception):
        pass

    def fail(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        calls.append(question.type)
        raise Oops(kind.name)

    dump_type = md.DumpType.NORMAL if kind in (C.MEMORY, C.REMOVE_MEMORY) else FULL
    try:
        with pytest.raises(Oops, match=kind.name):
            md.write_dump(target.pid, tmp_path / "a.dmp", dump_type, callback=md.protocol.PythonCallback({kind: fail}))
    finally:
        assert not (tmp_path / "a.dmp").exists()
    assert calls == [kind], "a function that failed is not called again"


@pytest.mark.parametrize("kind", [C.VM_QUERY, C.VM_PRE_READ, C.VM_POST_READ, C.IO_WRITE_ALL, C.IO_FINISH])
def test_an_exception_of_one_that_took_over(
    kind: md.protocol.CallbackType, target: live.Target, tmp_path: Path
) -> None:
    def take_over(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_FALSE
        return True

    def store(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_OK
        return True

    def fail(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        raise KeyError(kind.name)

    start = C.IO_START if kind in (C.IO_WRITE_ALL, C.IO_FINISH) else C.VM_START
    functions = {start: take_over, C.IO_WRITE_ALL: store, C.IO_FINISH: store, kind: fail}
    with pytest.raises(KeyError, match=kind.name):
        md.write_dump(target.pid, tmp_path / "a.dmp", FULL, callback=md.protocol.PythonCallback(functions))
    assert not (tmp_path / "a.dmp").exists()


@pytest.mark.parametrize("result", [None, 1, "yes"])
def test_an_answer_is_true_or_false(result: Any) -> None:
    with pytest.raises(TypeError, match="must return True or False"):
        fake.write(TARGET, "/dev/null", callback=md.protocol.PythonCallback({C.MODULE: lambda *_: result}))


def test_members_of_other_types_are_not_there() -> None:
    problems: list[str] = []
    members = {name for name in vars(md.protocol.Output) if not name.startswith("_")}
    questions = {name for name in vars(md.protocol.Input) if not name.startswith("_")}
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

    def look(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
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

    report = fake.write(TARGET, "/dev/null", FULL, callback=md.protocol.PythonCallback(look))
    assert not problems
    assert set(report.callbacks) == set(mine)


def test_views_end_with_the_call() -> None:
    kept: list[Any] = []

    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        kept.extend((question, answer))
        return True

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        kept.append(answer.vm_region)
        answer.continue_ = True
        return True

    def write(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        kept.append(question.io.data)
        answer.status = 0
        return True

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1
        return True

    functions = {C.MODULE: module, C.INCLUDE_VM_REGION: region, C.IO_START: start, C.IO_WRITE_ALL: write}
    functions[C.IO_FINISH] = lambda question, answer: setattr(answer, "status", 0) is None
    fake.write(TARGET, None, FULL, callback=md.protocol.PythonCallback(functions))
    for item in kept:
        if isinstance(item, memoryview):
            with pytest.raises(ValueError, match="released"):
                bytes(item)
        else:
            name = {md.protocol.Input: "module", md.protocol.Output: "module_write_flags"}.get(
                type(item), "region_size"
            )
            with pytest.raises(RuntimeError, match="has returned"):
                getattr(item, name)
    assert {type(item) for item in kept} == {md.protocol.Input, md.protocol.Output, md.protocol.MemoryInfo, memoryview}


def test_values_that_do_not_fit() -> None:
    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.vm_region.region_size = 1 << 64
        return True

    with pytest.raises(OverflowError):
        fake.write(TARGET, "/dev/null", FULL, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1 << 32
        return True

    with pytest.raises(ValueError, match="not an HRESULT"):
        fake.write(TARGET, "/dev/null", callback=md.protocol.PythonCallback({C.VM_START: start}))


def test_functions_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="never sent"):
        md.protocol.PythonCallback({C.COMPRESSED_MEMORY_STREAM_START: lambda *_: True})
    with pytest.raises(TypeError, match="not callable"):
        md.protocol.PythonCallback({C.MODULE: 5})
    with pytest.raises(TypeError, match="must be Extensions"):
        md.protocol.PythonCallback({}, extensions=1.5)
    with pytest.raises(ValueError, match=r"'hold_bac' is not known; did you mean 'hold_back'"):
        md.protocol.PythonCallback({}, extensions="hold_bac")
    assert md.protocol.PythonCallback({}, extensions=["hold_back", "pieces"]).extensions == 0x0C
    with pytest.raises(md.TargetError, match="no Python hook"):
        md.write_dump(os.getpid(), "/dev/null", callback=md.protocol.PythonCallback({C.MODULE: lambda *_: True}))


def test_a_python_function_that_hangs_is_left_behind(target: live.Target, tmp_path: Path) -> None:
    end = threading.Event()
    back = threading.Event()

    def hang(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        end.wait(live.PATIENCE)
        back.set()
        return True

    callback = md.protocol.PythonCallback({C.INCLUDE_MODULE: hang})
    try:
        with pytest.raises(md.DeadlineExceeded, match="the Python callback does not return from INCLUDE_MODULE"):
            md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback, max_stop=0.4, grace=0.2)
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
    callback = md.protocol.PythonCallback({C.VM_START: lambda *_: nested()})
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
    with md.protocol.PythonCallback({C.MODULE: lambda question, answer: not seen.append(question.type)}) as callback:
        question = md.protocol.ffi.new("MINIDUMP_CALLBACK_INPUT *")
        output = md.protocol.ffi.new("MINIDUMP_CALLBACK_OUTPUT *")
        information = callback.information
        with callback.in_use():
            assert information.CallbackRoutine(information.CallbackParam, question, output) == 1
    assert seen == [C.MODULE]
