"""Every enum says what the C headers say."""

from __future__ import annotations

import enum
import sys

import pytest

import minidump_cffi as md
from minidump_cffi._native import errors as native_errors
from minidump_cffi._native import session as native_session
from minidump_cffi._native._ext import ffi, lib

PAIRS = [
    (md.protocol.CallbackType, "MDC_CB_", {"COUNT"}),
    (md.filters.ModuleWrite, "MDC_MODULE_WRITE_", set()),
    (md.filters.ThreadWrite, "MDC_THREAD_WRITE_", set()),
    (md.filters.MemoryState, "MDC_MEM_", {"PRIVATE", "MAPPED", "IMAGE"}),
    (md.filters.MemoryType, "MDC_MEM_", {"COMMIT", "RESERVE", "FREE"}),
    (md.filters.MemoryProtect, "MDC_PAGE_", set()),
    (
        md.filters.Access,
        "MDC_ACCESS_",
        {"YAMA", "NAMESPACE", "UID", "CAPABILITY", "DUMPABLE", "SECCOMP", "LSM", "UNKNOWN"},
    ),
    (md.filters.Kind, "MDC_KIND_", set()),
    (md.filters.Stream, "MDC_STREAM_", {"ALL"}),
    (md.report.GapReason, "MDC_GAP_", set()),
    (md.report.RegionFlags, "MDC_REGION_", set()),
    (md.report.ThreadFlags, "MDC_THREAD_", {"WRITE_" + name for name in md.filters.ThreadWrite.__members__}),
    (md.report.ExtentFlags, "MDC_EXTENT_", set()),
    (md.report.DumpWarning, "MDC_WARN_", set()),
    (md.report.Phase, "MDC_PHASE_", set()),
    (md.protocol.Extensions, "MDC_EXT_", set()),
]


@pytest.mark.parametrize(("kind", "prefix", "others"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_names_and_values_are_those_of_the_headers(kind: type[enum.Enum], prefix: str, others: set[str]) -> None:
    known = {name.removeprefix(prefix): getattr(lib, name) for name in dir(lib) if name.startswith(prefix)}
    ours = {name: member.value for name, member in kind.__members__.items()}
    if kind is md.filters.ModuleWrite:
        ours.pop("REFERENCED_BY_MEMORY")  # Microsoft calls it ModuleReferencedByMemory
        assert lib.MDC_MODULE_REFERENCED_BY_MEMORY == md.filters.ModuleWrite.REFERENCED_BY_MEMORY
    assert ours == {name: value for name, value in known.items() if name not in others}


def test_dump_types_the_engine_names() -> None:
    names = [name for name in dir(lib) if name.startswith("MDC_TYPE_")]
    assert len(names) >= 9
    for name in names:
        assert md.DumpType[name.removeprefix("MDC_TYPE_")] == getattr(lib, name)


def test_dump_types_are_microsofts() -> None:
    values = [member.value for member in md.DumpType]
    assert values == [1 << bit for bit in range(27)]
    assert md.DumpType.WITH_MEMORY_COMPRESSED == 0x4000000
    assert md.DumpType.WITH_FULL_MEMORY_INFO == 0x800
    assert md.DumpType.WITH_TOKEN_INFORMATION == 0x40000


def test_secondary_flags() -> None:
    assert md.filters.SecondaryFlags.WITHOUT_POWER_INFO == lib.MDC_SECONDARY_WITHOUT_POWER_INFO


def test_structs_of_the_report_are_unpacked_in_their_true_size() -> None:
    from minidump_cffi.report import _report as report

    formats = {
        "mdc_report_region": report._REGION,
        "mdc_report_thread": report._THREAD,
        "mdc_report_module": report._MODULE,
        "mdc_extent": report._EXTENT,
        "mdc_gap": report._GAP,
    }
    assert {name: form.size for name, form in formats.items()} == native_session.SIZES


def test_the_head_of_a_report_is_unpacked_as_it_is_declared() -> None:
    raw = ffi.new("mdc_report *")
    ffi.memmove(raw, bytes(range(1, 256)) * 2, ffi.offsetof("mdc_report", "regions"))
    raw.dropped_count = 3
    numbers, dropped, calls = native_session.head(raw)
    assert numbers.pop("windows") == (sys.platform == "win32")
    assert {name: getattr(raw, name) for name in numbers} == numbers
    assert dropped == tuple(raw.dropped[0:3]) and calls == bytes(ffi.buffer(raw.calls))
    heads = {name for name, field in ffi.typeof("mdc_report").fields if field.offset < native_session.HEAD}
    assert heads - {"calls", "dropped"} == numbers.keys()


def test_every_status_has_an_exception() -> None:
    codes = {getattr(lib, name) for name in dir(lib) if name.startswith("MDC_ERR_")}
    plain = {lib.MDC_ERR_INVALID: ValueError, lib.MDC_ERR_NOMEM: MemoryError}
    for code in codes:
        error = native_errors.new_error()
        error.code = code
        made = native_errors.exception(error)
        assert type(made) is plain.get(code, type(made))
        assert code in plain or (isinstance(made, md.DumpError) and type(made) is not md.DumpError)


def test_hresults_are_those_of_the_headers() -> None:
    for status in md.protocol.HResult:
        assert getattr(lib, f"MDC_{status.name}") == status
