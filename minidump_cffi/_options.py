"""What a caller may ask of a dump: the options of `write_dump` and `plan_dump`, each declared once.

A new option is a field here, with its default, its check and the member of C that it becomes. The functions take the
fields as their parameters; a dump of our own process pickles the whole.
"""

from __future__ import annotations

from . import causes, engines
from ._dump_types import dump_type
from ._record import Record, replace
from .enums import DumpType, Extensions
from .errors import FilterError
from .filters import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from dataclasses import KW_ONLY
    from typing import Any, Literal

    from ._aliases import AnyCallback
    from ._progress import Progress
    from .filters import Filter

__all__ = ["DumpOptions", "EngineOptions", "PlanOptions"]


class EngineOptions(Record):
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
    referenced_max : int
        Bytes that WITH_INDIRECTLY_REFERENCED_MEMORY adds at most [64 MiB].
    hole_min : int
        Untouched runs of at least this many bytes become holes or are left out [64 KiB].
    sparse_max : int
        Files with holes stay below this many bytes [64 GiB].
    answers_max : int
        Ranges accepted from Memory and from RemoveMemory each [1,048,576].
    gaps_max : int
        Gaps remembered [65,536].
    stop_memory : int
        Bytes of target memory that ``stop="memory"`` and ``stop="snapshot"`` keep in memory of this process at most
        [2 GiB].
    hold : int
        Bytes of a contiguous read that VmPostRead sees again as the head of the next one [0]; for callbacks that know
        `protocol.Extensions.HOLD_BACK`.

    Examples
    --------
    >>> EngineOptions(buffer_bytes=1 << 16).buffer_bytes
    65536
    """

    spare_slots: int = 0
    limit32: int = 0
    stack_limit: int = 0
    buffer_bytes: int = 0
    referenced_max: int = 0
    hole_min: int = 0
    sparse_max: int = 0
    answers_max: int = 0
    gaps_max: int = 0
    stop_memory: int = 0
    hold: int = 0

    def differs(self, **passed_over: int) -> bool:
        """Whether it changes anything but these."""
        return replace(self, **passed_over) != EngineOptions()


class PlanOptions(Record, kw_only=False):
    """The options of `plan_dump`, described there and with `write_dump`."""

    planned = True

    type: DumpType | int | str | None = None
    _: KW_ONLY
    filter: Filter | None = None
    callback: AnyCallback | None = None
    on_cancel: Callable[[], object] | None = None
    deadline: float | None = None
    max_stop: float | None = None
    stop_timeout: float | None = None
    busy_timeout: float | None = None
    stall_timeout: float | None = 30.0
    grace: float = 5.0
    max_bytes: int | str | None = None
    untouched: Literal["auto", "hole", "omit"] = "auto"
    dontdump: Literal["honour", "ask", "ignore"] = "honour"
    coredump_filter: bool = False
    file_pages: Literal["all", "resident"] = "all"
    names: Literal["unicode", "ascii"] = "unicode"
    module_names: Literal["path", "soname"] = "path"
    unknown_streams: Literal["drop", "keep"] = "drop"
    strict: bool = False
    record: bool | int = False
    options: EngineOptions | None = None
    engine: Literal["auto", "native", "dbghelp"] | engines.DbgHelp = "auto"

    def __post_init__(self) -> None:
        if self.type is not None:
            self._put("type", dump_type(self.type))
        if self.max_bytes is not None:
            self._put("max_bytes", _budget(self.max_bytes))
        for name, least in _TIMES:
            if (value := getattr(self, name)) is not None:
                _seconds(name, value, least)
        if self.grace is None:
            raise TypeError("grace must be seconds, not None")
        for name, known in _ALL_WORDS:
            if getattr(self, name, known[0]) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name in _SWITCHES:
            value = getattr(self, name, False)
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, not {value!r}")
        record_limit(self.record)

    @property
    def flags(self) -> DumpType:
        """The type as flags; NORMAL if none was given."""
        return DumpType.NORMAL if self.type is None else dump_type(self.type)

    def members(self) -> dict[str, Any]:
        """Members of mdc_engine_options; what is not named is 0."""
        limits = self.options
        values: dict[str, Any] = {} if limits is None else {name: getattr(limits, name) for name in limits._fields}
        for name, known in _WORDS.items():
            if (word := getattr(self, name, known[0])) != known[0]:
                values[name] = known.index(word)
        for name in _SWITCHES:
            values[name] = int(getattr(self, name, False))
        values.update(max_bytes=self.max_bytes or 0, dump_type=int(self.flags), plan_only=int(self.planned))
        return values

    def times(self) -> dict[str, int]:
        """Members of the session's specification: nanoseconds, where 0 means none."""
        stall = self.stall_timeout
        return {
            "max_stop_ns": int((self.max_stop or 0) * 1e9),
            "stop_timeout_ns": int((self.stop_timeout or 0) * 1e9),
            "busy_timeout_ns": int((self.busy_timeout or 0) * 1e9),
            "stall_timeout_ns": int(stall * 1e9) if stall else (1 << 64) - 1,
        }


class DumpOptions(PlanOptions):
    """The options of `write_dump`, described there."""

    planned = False

    progress: Callable[[Progress], object] | None = None
    stop: Literal["whole", "memory", "snapshot"] = "whole"
    on_limit: Literal["fail", "truncate"] = "fail"
    spool: bool | str | os.PathLike[str] = True
    fsync: bool = False
    exception: causes.ExceptionInfo | causes.SignalInfo | None = None
    user_streams: Sequence[engines.UserStream] | Mapping[int, bytes | Callable[[int], bytes]] = ()
    annotations: Mapping[str, str] | None = None
    comment: str | None = None

    def members(self) -> dict[str, Any]:
        """Members of mdc_engine_options; what is not named is 0."""
        values = super().members()
        if self.truncates:
            values["truncate_ns"] = int((self.max_stop or 0) * 1e9)
        return values

    @property
    def truncates(self) -> bool:
        """Whether a stop that has to end leaves a shorter dump."""
        return self.on_limit == "truncate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exception is not None and not isinstance(self.exception, (causes.ExceptionInfo, causes.SignalInfo)):
            raise TypeError(f"exception must be a SignalInfo or an ExceptionInfo, not {self.exception!r}")
        self._put("user_streams", engines.check_streams(self.user_streams))
        self._put("annotations", engines.check_annotations(self.annotations))
        if self.comment is not None:
            engines.check_text("comment", self.comment)


_WORDS = {  # in the order of the numbers in csrc/api/engine.h
    "untouched": ("auto", "hole", "omit"),
    "dontdump": ("honour", "ask", "ignore"),
    "file_pages": ("all", "resident"),
    "names": ("unicode", "ascii"),
    "module_names": ("path", "soname"),
    "unknown_streams": ("drop", "keep"),
    "stop": ("whole", "memory", "snapshot"),
}
_ALL_WORDS = (*_WORDS.items(), ("on_limit", ("fail", "truncate")))
_SWITCHES = ("coredump_filter", "fsync")
_TIMES = (
    ("deadline", "above 0"),
    ("max_stop", "above 0"),
    ("stop_timeout", "above 0"),
    ("busy_timeout", "from 0"),
    ("stall_timeout", "from 0"),
    ("grace", "from 0"),
)


def _seconds(name: str, value: Any, least: str) -> None:
    """Refuse what is no time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds, not {value!r}")
    if not (value > 0 if least == "above 0" else value >= 0) or not value < 1e9:
        raise ValueError(f"{name} must be seconds {least}, not {value!r}")


def _budget(value: Any) -> int:
    """The bytes of `max_bytes`."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"max_bytes must be bytes as a number or a text such as '5 MiB', not {value!r}")
    try:
        found = _values.size(value, "max_bytes")
    except FilterError as error:
        raise ValueError(error.message) from None
    if not 0 < found < 1 << 63:
        raise ValueError(f"max_bytes must be above 0 and below 2**63, not {value!r}")
    return found


def record_limit(record: bool | int) -> int | None:
    """The limit in bytes that `record` asks for: 0 is the default, None means no recording."""
    if record is True:
        return 0
    if not isinstance(record, int):
        raise TypeError(f"record must be True, False or a number of bytes, not {record!r}")
    if not 0 <= record < 1 << 63:
        raise ValueError(f"record must be a number of bytes, not {record}")
    return int(record) or None


def check_extensions(extensions: Any) -> Extensions:
    """The flags, from flags or names of them."""
    if isinstance(extensions, str):
        extensions = [extensions]
    if isinstance(extensions, (list, tuple, set, frozenset)):
        try:
            return _values.flag_names(Extensions, extensions, "extensions")
        except FilterError as error:
            raise ValueError(error.message) from None
    if isinstance(extensions, bool) or not isinstance(extensions, int):
        raise TypeError(f"extensions must be Extensions or names of them, not {extensions!r}")
    known = sum(flag.value for flag in Extensions)
    if int(extensions) & ~known:  # of an IntFlag, ~ knows the named bits only
        raise ValueError(f"extensions {int(extensions):#x} has bits that Extensions does not have")
    return Extensions(extensions)
