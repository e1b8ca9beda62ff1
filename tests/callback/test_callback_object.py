"""`Callback`: its life, its hooks, what it answers to engines that are not ours."""

from __future__ import annotations

import copy
import ctypes
import gc
import io
import os
import pickle
import threading
import weakref
from typing import Any

import fake
import pytest
from drive import Engine

import minidump_cffi as md
from minidump_cffi import callback as callback_object
from minidump_cffi._native import callback as native_callback
from minidump_cffi._native import errors as native_errors
from minidump_cffi._native import pointers
from minidump_cffi._native._ext import ffi, lib

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()


def test_addresses_and_information() -> None:
    with md.Callback() as callback:
        information = callback.information
        assert callback.routine == int(ffi.cast("uintptr_t", information.CallbackRoutine)) != 0
        assert callback.param == int(ffi.cast("uintptr_t", information.CallbackParam)) != 0


def test_a_closed_callback_refuses_everything() -> None:
    callback = md.Callback()
    callback.close()
    callback.close()
    assert callback.closed and "closed" in repr(callback)
    for use in ("information", "routine", "param", "counters"):
        with pytest.raises(md.CallbackError, match="closed"):
            getattr(callback, use)
    for call in (callback.cancel, callback.reset, callback.raise_error, callback.__enter__):
        with pytest.raises(md.CallbackError, match="closed"):
            call()
    with pytest.raises(md.CallbackError, match="closed"):
        fake.write(TARGET, "/dev/null", callback=callback)


def test_the_callback_of_a_filter_serves_its_next_dump_too() -> None:
    keep = md.Filter(md.exclude(name="[[]heap]"), md.exclude(module="*/libapp*"))
    report = fake.write(TARGET, "/dev/null", FULL, filter=keep)
    idle = keep._compiled().idle
    (made,) = idle
    again = fake.write(TARGET, "/dev/null", FULL, filter=keep)
    assert idle == [made] and not made.closed
    assert again.regions == report.regions and again.rules == report.rules and again.callbacks == report.callbacks
    with pytest.raises(md.Cancelled):
        fake.write(TARGET, "/dev/null", FULL, filter=keep, progress=_cancel)
    assert idle == [] and made.closed, "one whose dump failed is not kept"
    for _ in range(callback_object._IDLE_MAX + 1):
        callback_object.give_back(md.Callback(keep))
    assert len(idle) == callback_object._IDLE_MAX
    secret = md.Filter(redact=md.Redact(patterns=[b"secret"]))
    fake.write(TARGET, "/dev/null", FULL, filter=secret)
    assert secret._compiled().idle == [], "nor one that knows what it hides"


def test_a_filter_and_its_idle_callbacks_end_together() -> None:
    keep = md.Filter(md.exclude(kind="heap"))
    fake.write(TARGET, "/dev/null", filter=keep)
    (made,) = keep._compiled().idle
    ended = weakref.ref(made)
    gc.disable()  # what keeps itself alive would be found
    try:
        del keep, made
        assert ended() is None
    finally:
        gc.enable()


def _cancel(progress: md.report.Progress) -> None:
    raise md.Cancelled("enough")


def test_it_cannot_be_copied() -> None:
    with md.Callback() as callback:
        with pytest.raises(TypeError):
            pickle.dumps(callback)
        with pytest.raises(TypeError):
            copy.copy(callback)


def test_it_serves_many_dumps_and_counts_each_anew() -> None:
    with md.Callback(md.Filter(md.exclude(kind="file"))) as callback:
        for _ in range(3):
            report = fake.write(TARGET, "/dev/null", FULL, callback=callback)
            assert callback.counters.calls[md.protocol.CallbackType.INCLUDE_VM_REGION] == 5
            assert callback.counters.excluded == 1
            assert {number: count for number, count in callback.counters.calls.items() if count} == report.callbacks
        assert report.rules[0].excluded == 16 * fake.PAGE


def test_the_table_lives_as_long_as_a_callback_uses_it() -> None:
    keep = md.Filter(md.exclude(kind="heap"))
    with md.Callback(keep) as callback:
        with pytest.raises(AttributeError):
            callback.filter = md.Filter()  # type: ignore[misc]
        assert callback.filter is keep
        object.__setattr__(keep, "_native", None)
        del keep
        gc.collect()
        assert fake.write(TARGET, "/dev/null", FULL, callback=callback).regions[1].kept == 0


def test_through_ctypes() -> None:
    """A foreign engine calls it by address, on a thread of its own, and knows the plain protocol only."""
    with md.Callback(md.Filter(md.exclude(type="mapped"))) as callback:
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        routine = kind(callback.routine)
        engine = Engine(callback, 0)
        answers: list[tuple[int, int, int]] = []

        def ask() -> None:
            for memory_type in (lib.MDC_MEM_PRIVATE, lib.MDC_MEM_MAPPED):
                engine.clear()
                engine.input.CallbackType = lib.MDC_CB_INCLUDE_VM_REGION
                region = engine.output.Region.VmRegion
                region.BaseAddress, region.RegionSize, region.Type = 0x1000, 0x4000, memory_type
                said = routine(
                    callback.param,
                    int(ffi.cast("uintptr_t", engine.input)),
                    int(ffi.cast("uintptr_t", engine.output)),
                )
                answers.append((said, region.RegionSize, engine.output.Region.Continue))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert answers == [(1, 0x4000, 1), (1, 0, 1)]


def test_cancel_answers_the_next_cancel_callback() -> None:
    with md.Callback() as callback:
        engine = Engine(callback, 0)
        for expected in (0, 1):
            engine.clear()
            assert engine.send(lib.MDC_CB_CANCEL)
            assert (engine.output.Cancel.CheckCancel, engine.output.Cancel.Cancel) == (1, expected)
            callback.cancel()
        callback.reset()
        engine.clear()
        engine.send(lib.MDC_CB_CANCEL)
        assert engine.output.Cancel.Cancel == 0


def test_cancel_ends_a_dump() -> None:
    huge = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 33),))
    with md.Callback() as callback:

        def progress(state: md.Progress) -> None:
            callback.cancel()

        with pytest.raises(md.Cancelled) as caught:
            fake.write(huge, "/dev/null", FULL, callback=callback, progress=progress)
        assert caught.value.hresult == 0x800704C7
        assert fake.write(TARGET, "/dev/null", FULL, callback=callback).complete, "the next dump begins anew"


class Mine(BaseException):
    """Not even an Exception."""


class Store:
    """Takes a dump by offset."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.finished = 0

    def write(self, offset: int, data: memoryview) -> None:
        assert data.readonly
        self.file.seek(offset)
        self.file.write(data)

    def finish(self) -> None:
        self.finished += 1


def test_io() -> None:
    store = Store()
    with md.Callback(io=store) as callback:
        assert callback.hook_types == {
            md.protocol.CallbackType.IO_START,
            md.protocol.CallbackType.IO_WRITE_ALL,
            md.protocol.CallbackType.IO_FINISH,
        }
        report = fake.write(TARGET, None, FULL, callback=callback)
    data = store.file.getvalue()
    assert (len(data), data[:4], store.finished) == (report.file_bytes, b"MDMP", 1)


def test_io_needs_no_file_but_something_must_take_the_bytes() -> None:
    with md.Callback() as callback, pytest.raises(ValueError, match="no callback handles the output"):
        fake.write(TARGET, None, callback=callback)
    with pytest.raises(ValueError, match="no callback handles the output"):
        fake.write(TARGET, None)
    with md.Callback() as callback, pytest.raises(ValueError, match="spool=False"):
        fake.write(TARGET, io.BytesIO(), callback=callback, spool=False)


@pytest.mark.parametrize("where", ["write", "finish"])
def test_what_io_raises_comes_out(where: str) -> None:
    store = Store()

    def fail(*_: object) -> None:
        raise Mine(where)

    setattr(store, where, fail)
    with md.Callback(io=store) as callback:
        with pytest.raises(Mine, match=where):
            fake.write(TARGET, None, FULL, callback=callback)
        # ... once, and the callback can be used again.
        with pytest.raises(Mine, match=where):
            fake.write(TARGET, None, FULL, callback=callback)
    with md.Callback(io=Store()) as callback:
        fake.write(TARGET, None, FULL, callback=callback)


def test_on_cancel_of_the_callback() -> None:
    asked: list[int] = []

    def on_cancel() -> bool:
        asked.append(threading.get_ident())
        return len(asked) == 3

    with md.Callback(on_cancel=on_cancel) as callback, pytest.raises(md.Cancelled):
        fake.write(TARGET, "/dev/null", FULL, callback=callback)
    assert len(asked) == 3
    assert threading.get_ident() not in asked, "it runs on the engine's thread"


def test_what_on_cancel_of_the_callback_raises_comes_out() -> None:
    def fail() -> bool:
        raise Mine

    with md.Callback(on_cancel=fail) as callback, pytest.raises(Mine):
        fake.write(TARGET, "/dev/null", FULL, callback=callback)


def test_hooks_for_single_types() -> None:
    seen: list[str] = []

    def module(input: Any, output: Any) -> bool:
        path = ffi.string(ffi.cast("char16_t *", input.u.Module.FullPath))
        seen.append(path)
        output.ModuleWriteFlags &= ~int(md.filters.ModuleWrite.MODULE)
        return True

    with md.Callback(hooks={md.protocol.CallbackType.MODULE: module}) as callback:
        report = fake.write(TARGET, "/dev/null", callback=callback)
    assert seen == ["/bin/app"]
    assert [item.included for item in report.modules] == [False]


def test_a_hook_that_raises_ends_the_dump() -> None:
    def fail(input: Any, output: Any) -> bool:
        raise Mine

    for number in (
        md.protocol.CallbackType.THREAD,
        md.protocol.CallbackType.INCLUDE_THREAD,
        md.protocol.CallbackType.MEMORY,
    ):
        file = io.BytesIO()
        with md.Callback(hooks={number: fail}) as callback:
            with pytest.raises(Mine):
                fake.write(TARGET, file, callback=callback)
            assert callback.counters.calls[md.protocol.CallbackType.WRITE_KERNEL_MINIDUMP] == 0, (
                "it did not go on to the end"
            )
        assert file.getvalue() == b""


def test_a_hook_with_a_foreign_engine() -> None:
    def fail() -> bool:
        raise Mine

    with md.Callback(on_cancel=fail) as callback:
        engine = Engine(callback, 0)
        engine.clear()
        assert engine.send(lib.MDC_CB_CANCEL)
        assert engine.output.Cancel.Cancel == 1
        with pytest.raises(Mine):
            callback.raise_error()
        callback.raise_error()


@pytest.mark.parametrize(
    "options",
    [
        {"hooks": {md.protocol.CallbackType.INCLUDE_VM_REGION: lambda *_: True}},
        {"hooks": {md.protocol.CallbackType.VM_POST_READ: lambda *_: True}},
        {"hooks": {md.protocol.CallbackType.CANCEL: lambda *_: True}, "on_cancel": lambda: False},
        {"hooks": {md.protocol.CallbackType.IO_START: lambda *_: True}, "io": Store()},
        {"hooks": {md.protocol.CallbackType.THREAD: 5}},
        {"filter": "everything"},
        {"memory_piece": 1 << 33},
        {"hooks": {99: lambda *_: True}},
    ],
)
def test_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        md.Callback(**options)


def test_a_second_user_at_the_same_time() -> None:
    class Nested(Store):
        def write(self, offset: int, data: memoryview) -> None:
            with pytest.raises(md.CallbackError, match="in use"):
                fake.write(TARGET, "/dev/null", callback=callback)
            super().write(offset, data)

    with md.Callback(io=Nested()) as callback:
        fake.write(TARGET, None, callback=callback)


def test_a_routine_from_somewhere_else() -> None:
    """Ctypes plays the plug-in: it drops every module but the first and leaves out mapped memory."""
    seen: list[int] = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

    @kind
    def routine(param: int, input_address: int, output_address: int) -> int:
        assert param == 77
        input = ffi.cast("MINIDUMP_CALLBACK_INPUT *", input_address)
        output = ffi.cast("MINIDUMP_CALLBACK_OUTPUT *", output_address)
        seen.append(input.CallbackType)
        if input.CallbackType == lib.MDC_CB_INCLUDE_VM_REGION:
            output.Region.Continue = 1
            if output.Region.VmRegion.Type == lib.MDC_MEM_MAPPED:
                output.Region.VmRegion.RegionSize = 0
            return 1
        return int(input.CallbackType in (0, 1, 3, 4))

    address = ctypes.cast(routine, ctypes.c_void_p).value
    assert address is not None
    report = fake.write(TARGET, "/dev/null", FULL, callback=md.protocol.Routine(routine=address, param=77))
    assert report.rules == ()
    assert [bool(region.kept) for region in report.regions] == [True, True, False, True, True]
    assert {number: seen.count(number) for number in set(seen)} == report.callbacks
    with pytest.raises(ValueError):
        md.protocol.Routine(routine=0)


@pytest.mark.linux
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_child_frees_nothing_and_uses_nothing() -> None:
    keep = md.Filter(md.exclude(kind="heap")).compile()
    native = keep._compiled()
    callback = md.Callback(keep)
    routine = callback.routine
    released: list[Any] = []
    owned = pointers.owned(ffi.new("int *"), released.append)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                callback.cancel()
            except md.CallbackError as error:
                status = 0 if "fork" in str(error) else 2
            callback.close()
            # The filter is data: the child compiles its own.
            with md.Callback(keep) as other:
                status |= 4 if other.routine != routine else 0
            status |= 8 if keep._compiled() is native else 0
            del owned
            gc.collect()
            status |= 16 if released else 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert fake.write(TARGET, "/dev/null", FULL, callback=callback).regions[1].kept == 0
    callback.close()
    del owned
    gc.collect()
    assert len(released) == 1


def test_nothing_is_left_when_python_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    monkeypatch.setattr(
        native_callback,
        "_free_callback",
        lambda raw: freed.append(lib.mdc_callback_free(raw, native_errors.new_error())),
    )
    callback = md.Callback(on_cancel=lambda: False)
    del callback
    gc.collect()
    assert freed == [0]
