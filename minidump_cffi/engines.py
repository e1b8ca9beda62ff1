"""Which engine writes a dump, and what only some of them can do.

There are two: the engine of this package (``"native"``), and Windows' own, MiniDumpWriteDump of dbghelp.dll
(``"dbghelp"``), which decides most things by itself.
"""

from __future__ import annotations

import os
import sys

from ._record import Record
from .enums import DumpType, Stream
from .errors import DumpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal

    from ._options import PlanOptions
    from .filters import Filter

__all__ = [
    "Backend",
    "DbgHelp",
    "UserStream",
    "check_annotations",
    "check_streams",
    "check_text",
    "choose",
]

_NATIVE_TYPES = (
    DumpType.WITH_FULL_MEMORY
    | DumpType.WITH_FULL_MEMORY_INFO
    | DumpType.WITH_THREAD_INFO
    | DumpType.IGNORE_INACCESSIBLE_MEMORY
    | DumpType.WITH_HANDLE_DATA
    | DumpType.FILTER_MEMORY
    | DumpType.SCAN_MEMORY
    | DumpType.FILTER_MODULE_PATHS
    | DumpType.FILTER_TRIAGE
    | DumpType.WITH_DATA_SEGS
    | DumpType.WITH_CODE_SEGS
    | DumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | DumpType.WITH_INDIRECTLY_REFERENCED_MEMORY
)
_WINDOWS_TYPES = DumpType.WITH_UNLOADED_MODULES | DumpType.WITH_PROCESS_THREAD_DATA
_LINUX_TYPES = DumpType.WITH_AVX_XSTATE_CONTEXT | DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY | DumpType.WITH_MODULE_HEADERS
_MEMORY_TYPES = (  # memory that a full dump has anyway
    DumpType.WITH_DATA_SEGS
    | DumpType.WITH_INDIRECTLY_REFERENCED_MEMORY
    | DumpType.WITH_PROCESS_THREAD_DATA
    | DumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | DumpType.WITH_CODE_SEGS
    | DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY
    | DumpType.WITH_MODULE_HEADERS
)


class UserStream(Record):
    """A stream that goes into the dump as it is: MINIDUMP_USER_STREAM.

    Where `user_streams` of `write_dump` takes these, it also takes a mapping of types to data.

    Parameters
    ----------
    type : int
        Its number: above 0xFFFF, as the numbers below are Microsoft's, and not one that the engine writes itself.
        (dbghelp also takes its comment streams, 10 and 11, if no comment is given.)
    data : bytes or callable
        Its bytes, below 4 GiB. Or what makes them, for a stream that contains offsets in the file (RVAs): it is called
        with the offset at which the stream will be, a number, and returns the bytes. That is before the target is
        stopped, so their number may be any, up to 256 MiB for all streams of this kind. These come first in the file,
        one after the other; what else is in it is not known by then. Of a compressed dump offsets are those of the
        dump that was compressed. For the native engine: dbghelp does not say where it puts a stream.

    Examples
    --------
    >>> UserStream(type=0x10001, data=b"build 42").data
    b'build 42'
    >>> import struct
    >>> index = UserStream(type=0x10002, data=lambda rva: struct.pack("<I", rva + 4) + b"what the offset leads to")
    """

    type: int
    data: bytes | Callable[[int], bytes]
    _rva: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.type, bool) or not isinstance(self.type, int):
            raise TypeError(f"the type of a stream must be a number, not {self.type!r}")
        if not 0 < self.type < 1 << 32:
            raise ValueError(f"the type of a stream must be above 0 and fit into 32 bits, not {self.type}")
        if isinstance(self.data, (str, int)):
            raise TypeError(f"the data of a stream must be bytes, not {self.data!r}")
        if callable(self.data):
            return
        self._put("data", bytes(self.data))
        if len(self.data) >= 1 << 32:
            raise ValueError(f"a stream has less than 4 GiB, and this one has {len(self.data)} bytes")


class DbgHelp(Record):
    """The engine of Windows, MiniDumpWriteDump, with its own options, for `engine` of `write_dump`.

    Parameters
    ----------
    path : str, os.PathLike or None
        Path of a dbghelp.dll to use instead of the system's; None for that.
    snapshot : bool
        Dump a snapshot of the process (PssCaptureSnapshot), which stops it only while that is taken.

    Raises
    ------
    ValueError
        The path is empty or not a text.

    Examples
    --------
    >>> DbgHelp(snapshot=True)
    DbgHelp(path=None, snapshot=True)
    """

    path: str | os.PathLike[str] | None = None
    snapshot: bool = False

    def __post_init__(self) -> None:
        if self.path is not None:
            path = os.fspath(self.path)
            if not isinstance(path, str) or not path or "\0" in path:
                raise ValueError(f"path must be that of a DLL, not {self.path!r}")
            self._put("path", os.path.abspath(path))  # noqa: PTH100
        self._put("snapshot", bool(self.snapshot))


def check_streams(streams: Any) -> tuple[UserStream, ...]:
    """The streams, if they are some."""
    if isinstance(streams, tuple) and not streams:
        return ()
    if hasattr(streams, "items"):
        streams = [UserStream(type=number, data=data) for number, data in streams.items()]
    found = tuple(streams)
    for stream in found:
        if not isinstance(stream, UserStream):
            raise TypeError(f"user_streams must be UserStream objects, not {stream!r}")
    return found


def check_annotations(annotations: Any) -> dict[str, str] | None:
    """A copy of the annotations, if they can be written."""
    if annotations is None:
        return None
    found = dict(annotations)
    for key, value in found.items():
        check_text("a key of annotations", key)
        check_text(f"annotations[{key!r}]", value)
        if not key:
            raise ValueError("a key of annotations is empty")
    return found


def check_text(name: str, text: Any) -> None:
    """Refuse what is not a text of UTF-8 without NUL."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a text, not {text!r}")
    if "\0" in text:
        raise ValueError(f"{name} has a NUL, which ends a text: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} cannot be encoded: {error}") from None


class Backend(Record):
    """The engine of one dump.

    Attributes
    ----------
    name : str
        "native" or "dbghelp".
    snapshot : bool
        Dump a snapshot of the target.
    dll : str or None
        Path of another dbghelp.dll.
    """

    name: Literal["native", "dbghelp"] = "native"
    snapshot: bool = False
    dll: str | None = None

    @property
    def own(self) -> bool:
        """Whether it is the engine of this package."""
        return self.name == "native"

    @property
    def title(self) -> str:
        """For messages."""
        return (
            ("the native Windows engine" if sys.platform == "win32" else "the Linux engine") if self.own else "dbghelp"
        )

    def unknown(self, type: DumpType) -> DumpType:
        """The bits of a dump type that have no effect with this engine."""
        if not self.own:
            return DumpType(0)
        if type == DumpType.NORMAL:
            return type
        known = _NATIVE_TYPES | (_WINDOWS_TYPES if sys.platform == "win32" else _LINUX_TYPES)
        known |= _MEMORY_TYPES if type & DumpType.WITH_FULL_MEMORY else DumpType.WITHOUT_OPTIONAL_DATA
        return DumpType(type & ~known)

    def serves(self, filter: Filter | None, streams: Sequence[UserStream]) -> bool:
        """Whether it can do what the native engine can, of what would be an error otherwise."""
        hides = filter is not None and bool(filter.redact.environ.keep or filter.redact.environ.drop)
        return self.own or not (hides or any(callable(stream.data) for stream in streams))

    def check_filter(self, filter: Filter | None) -> None:
        """Refuse what would be a secret in the dump if it were only noted.

        Raises
        ------
        DumpError
            The filter hides variables of the environment, which dbghelp does not.
        """
        if not self.serves(filter, ()):
            raise DumpError(
                'redact.environ is for the native engine: the values would be in the dump; give engine="native", or '
                "exclude the memory",
                hint='engine="native"',
            )

    def check_streams(self, streams: Sequence[UserStream]) -> None:
        """Refuse streams that have to know their place if this engine does not tell it.

        Raises
        ------
        DumpError
            A stream is a callable, and dbghelp writes the dump.
        """
        if not self.serves(None, streams):
            raise DumpError(
                'dbghelp does not say where it puts a stream, so that none can contain offsets: give engine="native"',
                hint='engine="native"',
            )

    def limits(self, options: PlanOptions, filter: Filter | None) -> tuple[str, ...]:
        """What of the options and of the filter this engine cannot honour, in words."""
        found = []
        unknown = self.unknown(options.flags)
        if unknown:
            names = ", ".join(member.name or "" for member in unknown)
            found.append(f"unknown to {self.title}, no effect: {names}")
        if self.own and sys.platform != "win32":
            return tuple(found)
        asked = {name: getattr(options, name) != default for name, default in options._defaults.items()}
        if sys.platform == "win32":
            if asked["dontdump"]:
                found.append("dontdump has no effect: Windows has no such mark")
            if asked["coredump_filter"]:
                found.append("coredump_filter has no effect: Windows has no such filter")
            if asked["file_pages"]:
                found.append("file_pages has no effect: Windows does not report which pages are resident")
            if asked["untouched"]:
                found.append("untouched has no effect: Windows does not report which pages were touched")
            if asked["module_names"]:
                found.append("module_names has no effect: Windows modules have no SONAME")
        if self.own:
            return tuple(found)
        if asked["max_stop"]:
            found.append("max_stop has no effect: dbghelp lets the threads run when it has finished; give a deadline")
        if asked["names"]:
            found.append("names has no effect: dbghelp writes them")
        if getattr(options, "stop", "whole") == "memory":
            found.append("stop has no effect: dbghelp writes while the threads are stopped")
        if asked["stop_timeout"]:
            found.append("stop_timeout has no effect: dbghelp suspends the threads by itself")
        if options.options is not None and options.options.differs(answers_max=0, gaps_max=0):
            found.append(
                "options have no effect except answers_max and gaps_max: the others are limits of the native engine"
            )
        if options.flags & DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY and not options.flags & DumpType.WITH_FULL_MEMORY:
            found.append(
                "WITH_PRIVATE_WRITE_COPY_MEMORY: dbghelp stores pages that are copied when they are written, not those "
                "that were"
            )
        if filter is None:
            return tuple(found)
        if not options.flags & DumpType.WITH_FULL_MEMORY and any(rule.action != "exclude" for rule in filter.rules):
            found.append(
                "rules that include add no memory: dbghelp asks about regions in full dumps only; give memory.add, or "
                "WITH_FULL_MEMORY"
            )
        # The other streams come from /proc and are not in its dumps.
        kept = filter.streams.exclude & (Stream.THREAD_NAMES | Stream.THREAD_INFO)
        if kept:
            names = ", ".join((member.name or "").lower() for member in kept)
            found.append(f"streams.exclude has no effect on what dbghelp decides by itself: {names}")
        return tuple(found)


_NATIVE = Backend()


def choose(engine: Any, *, plan_only: bool = False, file: bool = False) -> Backend:
    """The engine that was asked for, to plan only, or for a file in place of a process.

    Raises
    ------
    DumpError
        It is not available here, or cannot do what was requested.
    ValueError
        The engine does not exist.
    """
    if engine not in ("auto", "native", "dbghelp") and not isinstance(engine, DbgHelp):
        raise ValueError(f"engine must be one of auto, native, dbghelp, or a DbgHelp, not {engine!r}")
    windows = sys.platform == "win32"
    if engine == "native" or (engine == "auto" and (plan_only or file or not windows)):
        return _NATIVE
    if file:
        raise DumpError('dbghelp dumps live processes: for a file give engine="native"', hint='engine="native"')
    if plan_only:
        raise DumpError('dbghelp cannot plan a dump: plan with engine="native"', hint='engine="native"')
    if not windows:
        raise DumpError(
            f"dbghelp is the engine of Windows, MiniDumpWriteDump, and this is {sys.platform}: "
            'give engine="native", or nothing',
            hint='engine="native"',
        )
    chosen = engine if isinstance(engine, DbgHelp) else DbgHelp()
    return Backend(name="dbghelp", snapshot=chosen.snapshot, dll=None if chosen.path is None else str(chosen.path))
