"""Callbacks that are not ours, on our engine, by address: ctypes, cffi, pairs of numbers."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import cffi
import fake
import live
import pytest
import readers

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
C = md.protocol.CallbackType
TARGET = fake.small()
ROUTINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


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
        md.protocol.Routine(routine=function),
        md.protocol.Routine(routine=address, param=1),
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

    @md.protocol.ffi.callback("MINIDUMP_CALLBACK_ROUTINE")
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
        ("lib.so", TypeError, "a routine must be an address"),
        ((1, 2, 3), TypeError, "a pair must be"),
        ((1, "x"), TypeError, "a param must be a number"),
        ((0, 0), ValueError, "not 0"),
        ((-1, 0), ValueError, "addresses"),
        (cffi.FFI().callback("int(int)", lambda _: 0), ValueError, "three arguments"),
        (ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda _: 0), ValueError, "three arguments"),
        (cffi.FFI().new("int *"), TypeError, "a routine must be an address"),
        (md.Filter(), TypeError, "a routine must be an address"),
    ],
    ids=range(11),
)
def test_what_is_no_callback(callback: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        md.write_dump(1, "/dev/null", callback=callback)


def test_a_filter_beside_it_is_an_error_with_the_reason() -> None:
    for callback in (ROUTINE(lambda *_: 0), md.protocol.PythonCallback({}), (1, 2)):
        with pytest.raises(ValueError, match="give filter or callback: only"):
            md.write_dump(1, "/dev/null", filter=md.Filter(), callback=callback)


def test_a_record_of_a_foreign_callback() -> None:
    report = fake.write(TARGET, "/dev/null", FULL, callback=md.protocol.PythonCallback({}), record=True)
    assert report.recording is not None
    assert sum(report.callbacks.values()) == len(report.recording)
