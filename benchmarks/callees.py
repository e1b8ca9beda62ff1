"""The callback routines that are compared: our trampoline, ctypes, extern "Python", and an empty C function.

All do the same work as people write it: look at the type of the callback, answer IncludeVmRegion (10), leave out a
committed mapped region of 32 KiB or more, and, where there are intervals, look the address up. All are driven by the
same C loop (tests/support/bench_loop.h), so only the callee differs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cffi import FFI

from minidump_cffi._native import _ext

ffi, lib = _ext.ffi, _ext.lib
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
support = importlib.import_module("extension").load()

COMMIT, MAPPED, PRIVATE, READWRITE = 0x1000, 0x40000, 0x20000, 0x04
REGION = 10  # IncludeVmRegion
LIMIT = 32 << 10
BASE = 0x7F0000000000
STRIDE = 0x10000

_DECLARATIONS = """
typedef struct {
    uint32_t ProcessId;
    void *ProcessHandle;
    uint32_t CallbackType;
} bench_input;
typedef struct {
    uint64_t BaseAddress, AllocationBase;
    uint32_t AllocationProtect, Alignment1;
    uint64_t RegionSize;
    uint32_t State, Protect, Type, Alignment2;
    int32_t Continue;
} bench_output;
"""


class _Input(ctypes.Structure):
    _pack_ = 4
    _layout_ = "ms"
    _fields_ = [
        ("ProcessId", ctypes.c_uint32),
        ("ProcessHandle", ctypes.c_void_p),
        ("CallbackType", ctypes.c_uint32),
    ]


class _Output(ctypes.Structure):
    _pack_ = 4
    _layout_ = "ms"
    _fields_ = [
        ("BaseAddress", ctypes.c_uint64),
        ("AllocationBase", ctypes.c_uint64),
        ("AllocationProtect", ctypes.c_uint32),
        ("Alignment1", ctypes.c_uint32),
        ("RegionSize", ctypes.c_uint64),
        ("State", ctypes.c_uint32),
        ("Protect", ctypes.c_uint32),
        ("Type", ctypes.c_uint32),
        ("Alignment2", ctypes.c_uint32),
        ("Continue", ctypes.c_int32),
    ]


_ROUTINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(_Input), ctypes.POINTER(_Output))


@dataclass(frozen=True, kw_only=True)
class Callee:
    """A routine and its parameter as addresses; `keep` holds what must stay alive."""

    routine: int
    param: int = 0
    keep: Any = field(default=None, repr=False)


def with_ctypes() -> Callee:
    """Return the callback as a ctypes function."""

    @_ROUTINE
    def routine(param: object, given: Any, output: Any) -> int:
        if given[0].CallbackType == REGION:
            region = output[0]
            if region.State == COMMIT and region.Type == MAPPED and region.RegionSize >= LIMIT:
                region.RegionSize = 0
            region.Continue = 1
        return 1

    return Callee(routine=ctypes.cast(routine, ctypes.c_void_p).value or 0, keep=routine)


def with_ctypes_and_intervals(intervals: int) -> Callee:
    """Return the callback as a ctypes function that also looks the address up in the intervals of `new_filter`."""
    starts = [BASE + 2 * number * STRIDE for number in range(intervals)]

    @_ROUTINE
    def routine(param: object, given: Any, output: Any) -> int:
        if given[0].CallbackType == REGION:
            region = output[0]
            place = bisect_right(starts, region.BaseAddress) - 1
            if place >= 0 and region.BaseAddress < starts[place] + STRIDE:
                if place % 2:
                    region.RegionSize = 0
            elif region.State == COMMIT and region.Type == MAPPED and region.RegionSize >= LIMIT:
                region.RegionSize = 0
            region.Continue = 1
        return 1

    return Callee(routine=ctypes.cast(routine, ctypes.c_void_p).value or 0, keep=(routine, starts))


def build_module(where: Path) -> Any:
    """Compile the cffi module with the extern "Python" function and the empty C one."""
    builder = FFI()
    builder.cdef(
        _DECLARATIONS.replace("}", "...; }")  # the compiler says where the members lie
        + 'extern "Python" int32_t bench_python(void *, bench_input *, bench_output *);'
        + "int32_t bench_empty(void *, bench_input *, bench_output *);"
    )
    builder.set_source(
        "_bench_callees",
        "#pragma pack(push, 4)\n" + _DECLARATIONS + "#pragma pack(pop)\n"
        "static int32_t bench_empty(void *param, bench_input *given, bench_output *output) {\n"
        "    (void)param; (void)given; output->Continue = 1; return 1; }\n",
        extra_compile_args=["-O2"],
    )
    file = builder.compile(tmpdir=str(where))
    spec = importlib.util.spec_from_file_location("_bench_callees", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_bench_callees"] = module
    spec.loader.exec_module(module)
    return module


def with_extern_python(module: Any) -> Callee:
    """Return the callback as a cffi extern "Python" function."""

    @module.ffi.def_extern()  # type: ignore[untyped-decorator]
    def bench_python(param: object, given: Any, region: Any) -> int:
        if given.CallbackType == REGION:
            if region.State == COMMIT and region.Type == MAPPED and region.RegionSize >= LIMIT:
                region.RegionSize = 0
            region.Continue = 1
        return 1

    address = module.ffi.cast("uintptr_t", module.ffi.addressof(module.lib, "bench_python"))
    return Callee(routine=int(address), keep=(module, bench_python))


def with_nothing(module: Any) -> Callee:
    """Return an empty C function: what the loop itself costs."""
    return Callee(routine=int(module.ffi.cast("uintptr_t", module.ffi.addressof(module.lib, "bench_empty"))))


def check(status: int, error: Any) -> None:
    """Raise what a C function of the package complained about."""
    if status != 0:
        raise RuntimeError(ffi.string(error.message).decode())


def new_filter(intervals: int, attribute_rules: int = 1) -> Any:
    """Compile a filter of this many disjoint exclude intervals after `attribute_rules` rules on type and size."""
    rules = ffi.new("mdc_rule[]", intervals + attribute_rules)
    for number in range(attribute_rules):
        rule = rules[number]
        rule.action = lib.MDC_EXCLUDE
        rule.fields = lib.MDC_RULE_TYPE | lib.MDC_RULE_STATE | lib.MDC_RULE_SIZE
        rule.type, rule.state = MAPPED, COMMIT
        rule.min_size, rule.max_size = LIMIT + (number << 12), 2**64 - 1
    for number in range(intervals):
        rule = rules[attribute_rules + number]
        rule.action = lib.MDC_EXCLUDE if number % 2 else lib.MDC_INCLUDE
        rule.fields = lib.MDC_RULE_RANGE
        rule.range.first = BASE + 2 * number * STRIDE
        rule.range.end = BASE + (2 * number + 1) * STRIDE
    return rules


def compile_filter(rules: Any, count: int) -> Any:
    """Compile rules made by `new_filter`."""
    spec = ffi.new("mdc_filter_spec *")
    spec.rules, spec.rule_count = rules, count
    spec.default_action = lib.MDC_INCLUDE
    spec.threads_default_keep = spec.modules_default_keep = 0xFFFFFFFF
    error = ffi.new("mdc_error *")
    compiled = lib.mdc_filter_new(spec, error)
    if compiled == ffi.NULL:
        check(1, error)
    return ffi.gc(compiled, lib.mdc_filter_release)


def with_trampoline(compiled: Any) -> Callee:
    """Return our routine over a compiled filter, for an engine that sends region facts."""
    error = ffi.new("mdc_error *")
    callback = lib.mdc_callback_new(compiled, ffi.NULL, error)
    if callback == ffi.NULL:
        check(1, error)
    callback = ffi.gc(callback, lambda pointer: lib.mdc_callback_free(pointer, error))
    check(lib.mdc_callback_set_host(callback, lib.MDC_EXT_REGION_FACTS, error), error)
    information = lib.mdc_callback_information(callback)
    return Callee(
        routine=int(ffi.cast("uintptr_t", information.CallbackRoutine)),
        param=int(ffi.cast("uintptr_t", information.CallbackParam)),
        keep=(callback, compiled),
    )


def regions(slots: Sequence[int], order: Sequence[int] | None = None) -> Any:
    """Return questions, one for each slot of STRIDE bytes; every second slot is an interval of `new_filter`.

    Private and mapped by turns, 4 KiB to 64 KiB, in the same pattern whatever `order` the slots are asked about in: so
    that the order of addresses is all that differs.
    """
    result = support.ffi.new("mdc_bench_region[]", len(slots))
    for place, number in enumerate(order or range(len(slots))):
        entry = result[place]
        info, facts = entry.info, entry.facts
        info.BaseAddress = info.AllocationBase = facts.MappingBase = BASE + slots[number] * STRIDE
        info.RegionSize = facts.MappingSize = ((place % 16) + 1) << 12
        info.State, info.Protect = COMMIT, READWRITE
        info.Type = MAPPED if place % 4 == 0 else PRIVATE
        facts.Size, facts.Version = ffi.sizeof("mdc_region_facts"), 1
        facts.Kinds = lib.MDC_KIND_FILE if place % 4 == 0 else lib.MDC_KIND_ANONYMOUS
    return result


def drive(callee: Callee, questions: Any, count: int, *, gap_ns: int = 0, latencies: array[int] | None = None) -> float:
    """Ask a callee; return nanoseconds per call, without the gaps."""
    times = ffi.from_buffer("uint64_t[]", latencies) if latencies is not None else ffi.NULL
    routine = ffi.cast("MINIDUMP_CALLBACK_ROUTINE", callee.routine)
    param = ffi.cast("void *", callee.param)
    result = support.lib.mdc_bench_loop(routine, param, lib.MDC_EXT_REGION_FACTS, count, questions, gap_ns, times)
    assert result >= 0, "the callee refused a question"
    return float(result)


def timed(callee: Callee, questions: Any, count: int) -> tuple[float, dict[str, Any]]:
    """Ask a callee, as a competitor of a contest: seconds per call, by the clock of the C loop."""
    return drive(callee, questions, count) * 1e-9, {}
