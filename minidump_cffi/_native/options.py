"""Parts of a session's specification that point at memory: what the caller adds, options of dbghelp, a source.

Each function fills in a part and returns what has to live as long as the session.
"""

from __future__ import annotations

from .._record import replace
from ..causes import ExceptionInfo
from ..filters._rules import RangeRules
from ._ext import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..causes import SignalInfo
    from ..engines import Backend, UserStream
    from ..filters import Filter
    from ..targets import SourceTarget

    Fill = Callable[[Any], object]


_GIVEN = {"signal": lib.MDC_SIGNAL_NUMBER, "code": lib.MDC_SIGNAL_CODE, "address": lib.MDC_SIGNAL_ADDRESS}


def user_streams(streams: Sequence[UserStream]) -> Fill:
    """`mdc_engine_options.user_streams`."""

    def fill(spec: Any) -> object:
        table = ffi.new("mdc_user_stream[]", len(streams))
        kept: list[Any] = [table]
        for entry, stream in zip(table, streams, strict=True):
            assert isinstance(stream.data, bytes)
            data = ffi.from_buffer("uint8_t[]", stream.data)
            kept.append(data)
            entry.type, entry.data, entry.size = stream.type, ffi.cast("void *", data), len(stream.data)
            entry.rva = stream._rva
        spec.engine.user_streams, spec.engine.user_stream_count = table, len(streams)
        return kept

    return fill


def placed(streams: Sequence[UserStream]) -> tuple[UserStream, ...]:
    """The streams as bytes: callables are told their place and called, in the order of the file."""
    made, rva = [], int(lib.MDC_USER_STREAM_RVA)
    for stream in streams:
        if callable(stream.data):
            data = stream.data(rva)
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"the callable of user stream {stream.type:#x} must return bytes, not {data!r}")
            data = bytes(data)
            stream = replace(stream, data=data, _rva=rva)
            rva = (rva + len(data) + 7) & ~7
            if rva > lib.MDC_USER_STREAMS_FIRST_MAX:
                raise ValueError("user_streams: those that are told their place have 256 MiB at most")
        made.append(stream)
    return tuple(made)


def simple_annotations(texts: Mapping[str, str]) -> Fill:
    """`mdc_engine_options.annotations`."""

    def fill(spec: Any) -> object:
        table = ffi.new("mdc_annotation[]", len(texts))
        kept: list[Any] = [table]
        for entry, (key, value) in zip(table, texts.items(), strict=True):
            entry.key, entry.value = words = _text(key), _text(value)
            kept.append(words)
        spec.engine.annotations, spec.engine.annotation_count = table, len(texts)
        return kept

    return fill


def comment(text: str) -> Fill:
    """`mdc_engine_options.comment`."""

    def fill(spec: Any) -> object:
        spec.engine.comment = kept = _text(text)
        return kept

    return fill


def _text(text: str) -> Any:
    return ffi.new("char[]", text.encode())


def priorities(filter: Filter | None) -> Fill:
    """`mdc_session_spec.priorities`: those of the rules, as C numbers them."""

    def fill(spec: Any) -> object:
        rules = () if filter is None else filter.rules
        if not any(getattr(rule, "priority", None) is not None for rule in rules):
            return None
        values: list[int] = []
        for rule in rules:
            priority = getattr(rule, "priority", None)
            values += [-1 if priority is None else priority] * (len(rule) if isinstance(rule, RangeRules) else 1)
        spec.priorities = kept = ffi.new("int32_t[]", values)
        spec.priority_count = len(values)
        return kept

    return fill


def exception(info: ExceptionInfo | SignalInfo) -> Fill:
    """`mdc_engine_options.exception` and `signal`."""

    def fill(spec: Any) -> object:
        if isinstance(info, ExceptionInfo):
            found = spec.engine.exception
            found.thread_id, found.pointers, found.client = info.thread_id, info.pointers, int(info.client_pointers)
            return None
        found = spec.engine.signal
        found.thread_id, found.ucontext, found.siginfo = info.tid, info.ucontext, info.siginfo
        found.given = lib.MDC_SIGNAL_SEARCH if info.find_frame else 0
        for name, bit in _GIVEN.items():
            value = getattr(info, name)
            if value is not None:
                setattr(found, name, value)
                found.given |= bit
        found.parameter_count = len(info.parameters)
        found.parameters[0 : len(info.parameters)] = info.parameters
        return None

    return fill


def dbghelp(backend: Backend) -> Fill:
    """`mdc_session_spec.dbghelp`."""

    def fill(spec: Any) -> object:
        options = ffi.new("mdc_dbghelp_options *")
        options.snapshot = int(backend.snapshot)
        kept: list[Any] = [options]
        if backend.dll is not None:
            units = ffi.from_buffer("uint8_t[]", (backend.dll + "\0").encode("utf-16-le", "surrogatepass"))
            kept.append(units)
            options.dll = ffi.cast("uint16_t *", units)
        spec.dbghelp = options
        return kept

    return fill


def source(target: SourceTarget) -> Fill:
    """`mdc_session_spec.take_source`."""

    def fill(spec: Any) -> object:
        spec.take_source = ffi.cast("mdc_source **", target.slot)
        return target.owner

    return fill
