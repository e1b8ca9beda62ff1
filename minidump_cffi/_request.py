"""What a caller asks of one dump, checked before anything is opened: the arguments of `write_dump` and `plan_dump`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias

from . import _bridge_options, sinks
from .callback import Callback, record_limit
from .engines import Backend, ExceptionInfo, UserStream, check_streams
from .enums import CallbackType, DumpType, Stream
from .errors import DumpError
from .filters._filter import Filter
from .protocol._foreign import AnyCallback, Callee, resolve

__all__ = ["DontDump", "EngineOptions", "FilePages", "Request", "Untouched"]

Untouched: TypeAlias = Literal["auto", "hole", "omit"]
DontDump: TypeAlias = Literal["honour", "ask", "ignore"]
FilePages: TypeAlias = Literal["all", "resident"]

_UNTOUCHED = {"auto": 0, "hole": 1, "omit": 2}
_DONTDUMP = {"honour": 0, "ask": 1, "ignore": 2}
_FILE_PAGES = {"all": 0, "resident": 1}
_NATIVE = Backend()
_ALL_TYPES = 0x07FFFFFF


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """Limits of the engine that rarely need a change. 0 means the default given in brackets.

    Attributes
    ----------
    spare_slots : int
        Spare descriptors per list for ranges that unreadable pages split [64].
    limit32 : int
        The limit of 32-bit offsets and sizes, bytes [2**32]; tests set it low.
    stack_limit : int
        Bytes of a stack the thread descriptor covers at most [8 MiB].
    buffer_bytes : int
        The one copy buffer, bytes, a multiple of 4096 [1 MiB].
    hole_min : int
        Untouched runs of at least this many bytes become holes or are left out [64 KiB].
    sparse_max : int
        Files with holes stay below this many bytes [64 GiB].
    answers_max : int
        Ranges accepted from Memory and from RemoveMemory each [1,048,576].
    gaps_max : int
        Gaps remembered [65,536].
    hold : int
        Bytes of a contiguous read that VmPostRead sees again as the head of the next one [0]; for callbacks that know
        `Extensions.HOLD_BACK`.
    """

    spare_slots: int = 0
    limit32: int = 0
    stack_limit: int = 0
    buffer_bytes: int = 0
    hole_min: int = 0
    sparse_max: int = 0
    answers_max: int = 0
    gaps_max: int = 0
    hold: int = 0


def _duration(name: str, value: Any) -> float | None:
    """Seconds; None and 0 both mean: not at all."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds, not {value!r}")
    if not 0 <= value < 1e9:
        raise ValueError(f"{name} must be seconds, from 0 to 1e9, not {value!r}")
    return value or None


@dataclasses.dataclass(slots=True)
class Request:
    """What a caller asked for, checked."""

    type: DumpType
    filter: Filter | None
    callback: AnyCallback | None
    deadline: float | None
    max_stop: float | None
    stop_timeout: float | None
    untouched: str
    dontdump: str
    fsync: bool
    strict: bool
    options: EngineOptions | None
    plan_only: bool
    notes: tuple[str, ...] = ()
    io: Any = None
    record: bool | int = False
    backend: Backend = _NATIVE
    exception: ExceptionInfo | None = None
    user_streams: tuple[UserStream, ...] = ()
    busy_timeout: float | None = None
    stall_timeout: float | None = 30.0
    coredump_filter: bool = False
    file_pages: str = "all"

    def __post_init__(self) -> None:
        record_limit(self.record)
        max_stop = self.max_stop  # as the caller gave it
        if self.filter is not None and not isinstance(self.filter, Filter):
            raise TypeError(f"filter must be a Filter, not {self.filter!r}")
        if self.callback is not None:
            self.callback = resolve(self.callback)
        if self.filter is not None and isinstance(self.callback, Callee):
            name = self.callback.name
            raise ValueError(f"give filter or callback: only {name} would be used")
        if self.filter is not None and self.callback is not None:
            raise ValueError("give filter or callback, not both: a Callback has its own filter")
        if isinstance(self.callback, Callee) and self.max_stop is None:
            self.max_stop = self.callback.max_stop
        if isinstance(self.type, bool) or not isinstance(self.type, int):
            raise TypeError(f"type must be a DumpType, not {self.type!r}")
        if not 0 <= self.type <= _ALL_TYPES:
            raise ValueError(f"type {int(self.type):#x} has bits that MINIDUMP_TYPE does not have")
        self.type = DumpType(self.type)
        for name in ("deadline", "max_stop", "stop_timeout"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be seconds, not {value!r}")
            if not 0 < value < 1e9:
                raise ValueError(f"{name} must be seconds above 0, not {value!r}")
        self.busy_timeout = _duration("busy_timeout", self.busy_timeout)
        self.stall_timeout = _duration("stall_timeout", self.stall_timeout)
        for name, known in (("untouched", _UNTOUCHED), ("dontdump", _DONTDUMP), ("file_pages", _FILE_PAGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        if not isinstance(self.coredump_filter, bool):
            raise TypeError(f"coredump_filter must be True or False, not {self.coredump_filter!r}")
        if self.exception is not None and not isinstance(self.exception, ExceptionInfo):
            raise TypeError(f"exception must be an ExceptionInfo, not {self.exception!r}")
        self.user_streams = check_streams(self.user_streams)
        filter = self.rules()
        self.notes = self.backend.limits(
            type=self.type,
            untouched=self.untouched != "auto",
            dontdump=self.dontdump != "honour",
            coredump_filter=self.coredump_filter,
            file_pages=self.file_pages != "all",
            max_stop=max_stop is not None,
            stop_timeout=self.stop_timeout is not None,
            options=dataclasses.replace(self.options or EngineOptions(), answers_max=0, gaps_max=0) != EngineOptions(),
            streams=Stream(0) if filter is None else filter.streams.exclude,
        )
        self.check_strict(self.notes)

    def rules(self) -> Filter | None:
        """The filter that decides; None if there is none, or a foreign callback decides."""
        return self.callback.filter if isinstance(self.callback, Callback) else self.filter

    def check_strict(self, notes: tuple[str, ...]) -> None:
        """Raise what cannot be honoured, if that is to be an error."""
        if self.strict and notes:
            raise DumpError(f"strict: {'; '.join(notes)}")

    def take_io(self, sink: sinks.Sink, file: object) -> None:
        """Pair an output that is written by callbacks with the callback."""
        self.io = sink.io
        if self.io is not None and self.callback is not None:
            raise ValueError("spool=False uses the Io callbacks itself: give filter instead of callback")
        takes = isinstance(self.callback, Callee) or (
            self.callback is not None and CallbackType.IO_START in self.callback.hook_types
        )
        if file is None and not takes:
            raise ValueError("file is None, and no callback handles the output")

    def engine_options(self, filter: Filter | None) -> dict[str, Any]:
        """Members of mdc_engine_options."""
        values = dataclasses.asdict(self.options or EngineOptions())
        values.update(
            dump_type=int(self.type),
            untouched=_UNTOUCHED[self.untouched],
            dontdump=_DONTDUMP[self.dontdump],
            coredump_filter=int(self.coredump_filter),
            file_pages=_FILE_PAGES[self.file_pages],
            plan_only=int(self.plan_only),
            fsync=int(self.fsync),
            omit_streams=0 if filter is None else int(filter.streams.exclude),
        )
        return values

    def parts(self) -> tuple[_bridge_options.Fill, ...]:
        """What of a job's specification points at memory."""
        return (
            _bridge_options.user_streams(self.user_streams),
            _bridge_options.exception(self.exception),
            _bridge_options.dbghelp(self.backend),
        )
