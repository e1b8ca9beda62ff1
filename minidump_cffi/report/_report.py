"""What a dump was, or would be.

A report is made in a few microseconds from copies of C arrays; lists of regions and the like are built when they are
first looked at.
"""

from __future__ import annotations

import struct
from functools import cached_property

from ..enums import (
    CallbackType,
    DumpType,
    DumpWarning,
    ExtentFlags,
    GapReason,
    Kind,
    MemoryProtect,
    MemoryState,
    MemoryType,
    ModuleWrite,
    RegionFlags,
    Stream,
    ThreadFlags,
)
from ..errors import errno_of
from . import _messages
from ._items import Extent, Gap, Module, Redaction, Region, RuleBytes, Thread, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal, Self

    from ..replay._recording import Recording

__all__ = ["DumpPlan", "DumpReport", "Extent", "Gap", "Module", "Redaction", "Region", "RuleBytes", "Thread"]

# The C structs of csrc/api/report.h, in native layout; a test compares their sizes.
_REGION = struct.Struct("=9Q8I")
_THREAD = struct.Struct("=2I2Q")
_MODULE = struct.Struct("=2Q4I")
_EXTENT = struct.Struct("=3Q2I")
_GAP = struct.Struct("=2QIi")
_CALLS = struct.Struct("=32Q")

_GIVEN = ("rules", "recording", "redaction", "engine", "path", "host", "started", "handed_on", "annotations", "comment")
_STOPS = ("whole", "memory", "snapshot")  # MDC_STOP_* of csrc/api/engine.h


class DumpReport:
    """What a dump holds and what it cost. Immutable and picklable.

    Attributes
    ----------
    pid : int
        The target.
    type : DumpType
        As asked for.
    honoured : DumpType
        Bits of it that have an effect. The header of the file claims no other one, and not those whose memory
        WITH_FULL_MEMORY brings anyway. With dbghelp all, since it refuses what it does not know.
    file_bytes : int
        Length of the dump.
    memory_bytes : int
        Bytes of target memory the dump answers for.
    stored_bytes : int
        Of it, bytes that take room in the file.
    zero_bytes : int
        Of it, bytes that read as zero and take no room in the file: never written, or pages of zeros. A plan knows only
        the former, so that its stored_bytes may be more than those of the dump.
    left_to_file : int
        Bytes not in it because the files of modules have them (``file_pages="resident"``).
    late_bytes : int
        Of memory_bytes, what only mapped files hold and was to be read from them when the target ran again; see
        docs/file.md.
    filtered_bytes : int
        Bytes not in it because the target's coredump_filter leaves them out (``coredump_filter=True``).
    cut_bytes : int
        Bytes that a core or dump which was cut promises and no longer holds (`GapReason.CUT`).
    over_budget : int
        Bytes that `max_bytes` left no room for (`GapReason.BUDGET`); not part of memory_bytes.
    memory_ranges, memory64_ranges, memory_info_count : int
        Entries of MemoryList, Memory64List and MemoryInfoList. A dump has one of the first two, the other number is 0;
        an existing dump that has both keeps both.
    stop : {"whole", "memory", "snapshot"}
        How the threads were stopped. If not as requested, `warnings` has STOP and `messages` the reason.
    stop_time : float
        Seconds from the stop of the first thread to the release of the last. With dbghelp what its call took, which
        does both; with a snapshot what taking that took.
    total : float
        Seconds the dump took.
    warnings : DumpWarning
        What a reader of the dump should know; `messages` says it in words.
    omitted_streams : Stream
        Streams left out: by request, or because a rule excludes their bytes.
    streams : int
        Entries of the directory.
    dropped_streams : tuple of int
        Of an existing dump the types of streams that were left out because what is in them is not known; the first 16.
    rules : tuple of RuleBytes
        What each rule decided; the last entry is the default. Empty if a foreign routine decided.
    recording : Recording or None
        What the engine asked and what was answered, if that was asked for.
    redaction : Redaction or None
        What was overwritten; None if the filter does not redact, and in a plan.
    engine : str
        Who wrote it: "native" or "dbghelp".
    path : str or None
        Where the dump is, an absolute path or a URL; None if it was written to something else.
    host : str
        The name of the machine that wrote it.
    started : float
        When that began: seconds since 1970, as `time.time` counts them.
    handed_on : float
        Seconds that handing the dump on took, when the target ran again: compressing it, sending it, writing it to an
        object. 0 if it was written to its place at once. Not a part of `total`.
    annotations, comment : Mapping of str to str, str or None
        What `write_dump` was given; with `to_json` beside the dump they can be found without opening it.

    Examples
    --------
    >>> import sys
    >>> from subprocess import PIPE, Popen
    >>> from minidump_cffi import write_dump
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     report = write_dump(child, "/dev/null", "full")
    ...     child.kill()
    >>> report.complete and report.memory_bytes == sum(region.kept for region in report.regions)
    True
    """

    _planned = False

    def __init__(
        self,
        *,
        numbers: Mapping[str, int],
        calls: bytes = bytes(_CALLS.size),
        dropped: tuple[int, ...] = (),
        regions: bytes = b"",
        threads: bytes = b"",
        modules: bytes = b"",
        extents: bytes = b"",
        gaps: bytes = b"",
        names: bytes = b"",
        rules: tuple[RuleBytes, ...] = (),
        notes: tuple[str, ...] = (),
        recording: Recording | None = None,
        redaction: Redaction | None = None,
        engine: str = "native",
        path: str | None = None,
        host: str = "",
        started: float = 0.0,
        handed_on: float = 0.0,
        annotations: Mapping[str, str] | None = None,
        comment: str | None = None,
    ) -> None:
        values = {
            "_raw": {
                "regions": regions,
                "threads": threads,
                "modules": modules,
                "extents": extents,
                "gaps": gaps,
                "names": names,
            },
            "_numbers": dict(numbers),
            "_calls": calls,
            "dropped_streams": dropped,
            "_notes": notes,
            "rules": rules,
            "recording": recording,
            "redaction": redaction,
            "engine": engine,
            "path": path,
            "host": host,
            "started": started,
            "handed_on": handed_on,
            "annotations": dict(annotations or {}),
            "comment": comment,
            "pid": numbers["pid"],
            "type": flags_of(DumpType, numbers["dump_type"]),
            "honoured": flags_of(DumpType, numbers["honoured_type"]),
            "stop": _STOPS[numbers["stop"]],
            "stop_time": numbers["stop_time_ns"] / 1e9,
            "total": numbers["total_ns"] / 1e9,
            "warnings": flags_of(DumpWarning, numbers["warnings"]),
            "omitted_streams": flags_of(Stream, numbers["omitted_streams"]),
            "file_bytes": numbers["file_bytes"],
            "memory_bytes": numbers["memory_bytes"],
            "stored_bytes": numbers["stored_bytes"],
            "zero_bytes": numbers["zero_bytes"],
            "left_to_file": numbers["left_to_file"],
            "late_bytes": numbers["late_bytes"],
            "over_budget": numbers["over_budget"],
            "filtered_bytes": numbers["filtered_bytes"],
            "cut_bytes": numbers["cut_bytes"],
            "memory_ranges": numbers["memory_ranges"],
            "memory64_ranges": numbers["memory64_ranges"],
            "memory_info_count": numbers["memory_info_count"],
            "streams": numbers["streams"],
        }
        self.__dict__.update(values)

    pid: int
    type: DumpType
    honoured: DumpType
    file_bytes: int
    memory_bytes: int
    stored_bytes: int
    zero_bytes: int
    left_to_file: int
    late_bytes: int
    over_budget: int
    filtered_bytes: int
    cut_bytes: int
    memory_ranges: int
    memory64_ranges: int
    memory_info_count: int
    stop: Literal["whole", "memory", "snapshot"]
    stop_time: float
    total: float
    warnings: DumpWarning
    omitted_streams: Stream
    streams: int
    dropped_streams: tuple[int, ...]
    rules: tuple[RuleBytes, ...]
    recording: Recording | None
    redaction: Redaction | None
    engine: str
    path: str | None
    host: str
    started: float
    handed_on: float
    annotations: Mapping[str, str]
    comment: str | None
    _raw: dict[str, bytes]
    _numbers: dict[str, int]
    _calls: bytes
    _notes: tuple[str, ...]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a report is immutable; {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a report is immutable; {name!r} cannot be deleted")

    def _state(self) -> dict[str, Any]:
        """What it is made of."""
        return {
            "numbers": self._numbers,
            "calls": self._calls,
            "dropped": self.dropped_streams,
            "notes": self._notes,
            **{name: getattr(self, name) for name in _GIVEN},
            **self._raw,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.__class__, self._state())

    def _put(self, **values: Any) -> None:
        """Set `path` and `handed_on`, before the report is given to the caller."""
        self.__dict__.update(values)

    def _with(self, **changes: Any) -> Self:
        """The same with other values."""
        return self.__class__(**self._state() | changes)

    def _key(self) -> tuple[Any, ...]:
        return tuple(self._state().values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DumpReport) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.pid, self.file_bytes, self._raw["regions"]))

    def __repr__(self) -> str:
        gaps = "" if self.complete else f", {len(self.missing)} gaps"
        if lost := len(self.threads_without_registers):
            gaps += f", {lost} threads without registers"
        return (
            f"<{self.__class__.__name__}: pid {self.pid}, {self.file_bytes} bytes, {len(self.threads)} threads, "
            f"{len(self.modules)} modules, {self.memory_bytes} bytes of memory{gaps}>"
        )

    def _name(self, offset: int, size: int) -> bytes:
        return self._raw["names"][offset : offset + size]

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Every mapping of the target, by address."""
        return tuple(
            Region(
                base=base,
                size=size,
                kept=kept,
                stored=stored,
                untouched=untouched,
                left_to_file=left,
                filtered=filtered,
                zeros=zeros,
                over_budget=over,
                state=MemoryState(state),
                protect=MemoryProtect(protect),
                type=MemoryType(kind),
                kinds=Kind(kinds),
                flags=RegionFlags(flags),
                name=self._name(name, name_size),
            )
            for (base, size, kept, stored, untouched, left, filtered, zeros, over), (
                state,
                protect,
                kind,
                kinds,
                flags,
                name,
                name_size,
                _,
            ) in ((row[:9], row[9:]) for row in _REGION.iter_unpack(self._raw["regions"]))
        )

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        """Every thread of the target, the main thread first; also those left out."""
        return tuple(
            Thread(tid=tid, flags=ThreadFlags(flags), stack_base=base, stack_size=size)
            for tid, flags, base, size in _THREAD.iter_unpack(self._raw["threads"])
        )

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Every module of the target, the main executable first; also those left out."""
        return tuple(
            Module(base=base, size=size, flags=ModuleWrite(flags), path=self._name(path, path_size))
            for base, size, flags, path, path_size, _ in _MODULE.iter_unpack(self._raw["modules"])
        )

    @cached_property
    def extents(self) -> tuple[Extent, ...]:
        """The plan: runs of memory in the order of the file."""
        return tuple(
            Extent(address=address, size=size, file_offset=offset, region=region, flags=ExtentFlags(flags))
            for address, size, offset, region, flags in _EXTENT.iter_unpack(self._raw["extents"])
        )

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """What was asked for and is not there, by address."""
        windows = bool(self._numbers.get("windows"))
        return tuple(
            Gap(
                address=address,
                size=size,
                reason=GapReason(reason),
                errno=(errno_of(number) if windows else number) or None,
                winerror=(number if windows else 0) or None,
            )
            for address, size, reason, number in sorted(_GAP.iter_unpack(self._raw["gaps"]))
        )

    @cached_property
    def callbacks(self) -> dict[CallbackType, int]:
        """How many callbacks of each type the engine sent; types never sent are not in it."""
        return {CallbackType(number): count for number, count in enumerate(_CALLS.unpack(self._calls)[:23]) if count}

    @property
    def complete(self) -> bool:
        """Whether every byte that was asked for was read, and the registers and the stack of every thread.

        Listed as gaps, but not incomplete: memory beyond the end of a mapped file, where there is nothing to read,
        and what was left to the file of a module. Threads that the filter leaves out do not count. What a budget
        (`max_bytes`) left out is missing like any other gap.
        """
        lost = DumpWarning.NO_THREAD_REGISTERS | DumpWarning.NO_THREAD_STACK | DumpWarning.CUT
        return not self.warnings & lost and not self.missing

    @property
    def missing(self) -> tuple[Gap, ...]:
        """The gaps that make the dump incomplete."""
        return tuple(gap for gap in self.gaps if gap.reason not in _NO_LOSS)

    @property
    def planned(self) -> bool:
        """True for a plan: nothing was read or written."""
        return self._planned

    @property
    def threads_without_registers(self) -> tuple[int, ...]:
        """Threads that did not stop within `stop_timeout`; they are in the dump without registers."""
        without = (thread for thread in self.threads if thread.flags & ThreadFlags.NO_REGISTERS)
        return tuple(thread.tid for thread in without if not thread.flags & ThreadFlags.EXCLUDED)

    @property
    def messages(self) -> tuple[str, ...]:
        """The warnings in words, and what of the request this engine cannot honour."""
        return _messages.of(self, self._notes, windows=bool(self._numbers.get("windows")))

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the dump as metrics, each a gauge, in base units (seconds, bytes).

        Names begin with ``minidump_cffi_dump_`` and end in their unit, as Prometheus asks for; `METRICS` says what each
        is.

        Examples
        --------
        >>> import sys
        >>> from subprocess import PIPE, Popen
        >>> from minidump_cffi import write_dump
        >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
        ...     _ = child.stdout.readline()
        ...     report = write_dump(child, "/dev/null")
        ...     child.kill()
        >>> report.metrics()["minidump_cffi_dump_stop_seconds"] == report.stop_time
        True
        """
        from . import _metrics

        return _metrics.of(self)

    def to_prometheus(self, labels: Mapping[str, str] | None = None) -> str:
        """Return `metrics` in the text format of Prometheus, with HELP and TYPE.

        Such a text can be a file ``NAME.prom`` for the textfile collector of node_exporter, or be
        pushed to a Pushgateway.

        Parameters
        ----------
        labels : Mapping of str to str, or None
            Labels of all of them, such as the name of the service.

        Raises
        ------
        ValueError
            A label has a name that Prometheus does not take.
        """
        from . import _metrics

        return _metrics.text(self, labels or {})

    def to_json(self, *, indent: int | None = None) -> str:
        """What `to_dict` returns, as the text of one JSON object in ASCII.

        Parameters
        ----------
        indent : int or None
            Spaces for each level; None: one line.

        Notes
        -----
        ``schema`` is 1. It becomes another number when a key goes or means something else; keys may be added.
        """
        import json

        return json.dumps(self.to_dict(), indent=indent, separators=None if indent else (",", ":"))

    def to_dict(self) -> dict[str, Any]:
        r"""Everything as dicts, lists, texts and numbers, ready for JSON.

        Names become text with odd bytes written as ``\xff``; flags become lists of their names in lower case.
        """
        from . import _plain

        return _plain.of(self)


class DumpPlan(DumpReport):
    """What a dump would hold. Nothing was read or written; times are those of the planning.

    Examples
    --------
    >>> import sys
    >>> from subprocess import PIPE, Popen
    >>> from minidump_cffi import plan_dump
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     plan = plan_dump(child, "full")
    ...     child.kill()
    >>> plan.planned and plan.file_bytes > 0
    True
    """

    _planned = True


# Gaps that do not make a dump incomplete: there is nothing, or it is elsewhere; both are listed.
_NO_LOSS = (GapReason.BEYOND_EOF, GapReason.LEFT_TO_FILE)


def _restore(cls: Callable[..., DumpReport], state: dict[str, Any]) -> DumpReport:
    return cls(**state)
