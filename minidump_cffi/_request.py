"""One dump as it was asked for, checked before anything is opened."""

from __future__ import annotations

from ._options import DumpOptions, EngineOptions, PlanOptions
from ._record import replace
from .callback import Callback
from .causes import SignalInfo
from .engines import choose
from .enums import CallbackType, DumpType
from .errors import DumpError
from .filters._filter import EVERYTHING, Filter
from .protocol._foreign import Callee, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import sinks
    from .engines import Backend
    from .targets import SourceTarget

__all__ = ["Request"]


_STOPPED = "a file is not stopped"
_LIVE_ONLY = {
    "stop": _STOPPED,
    "max_stop": _STOPPED,
    "on_limit": _STOPPED,
    "stop_timeout": _STOPPED,
    "busy_timeout": "files are not traced",
    "dontdump": "a file does not say which memory has the mark",
    "coredump_filter": "the kernel has applied it to a core, and a dump does not have it",
    "file_pages": "a file does not say which pages were resident",
}


def file_notes(options: PlanOptions, notes: tuple[str, ...]) -> tuple[str, ...]:
    """What cannot be honoured of a file, in place of what is said of live processes about the same options."""
    asked = (
        name for name in _LIVE_ONLY if name in options._names and getattr(options, name) != options._defaults[name]
    )
    return (
        *(note for note in notes if note.partition(" ")[0] not in _LIVE_ONLY),
        *(f"{name} has no effect: {_LIVE_ONLY[name]}" for name in asked),
    )


class Request:
    """What a caller asked for, and what was found out about it.

    Attributes
    ----------
    options : PlanOptions or DumpOptions
        As given; `max_stop` with the default of the callback.
    callback : Callback, Callee or None
        What answers, if it is not the filter of the options.
    backend : Backend
        The engine.
    notes : tuple of str
        What of the options the engine cannot honour.
    io : object or None
        Where an output is written that callbacks write.
    everything : bool
        Whether all is dumped that the target has: a file, and no type was given.
    """

    __slots__ = ("backend", "callback", "everything", "io", "notes", "options")

    def __init__(self, options: PlanOptions, backend: Backend | None = None, *, file: bool = False) -> None:
        """`file`: what is dumped is a file, not a process.

        Raises
        ------
        TypeError, ValueError
            Options that make no sense.
        DumpError
            The engine is not there, or, if that is to be an error, cannot honour an option.
        """
        self.backend = choose(options.engine, plan_only=options.planned, file=file) if backend is None else backend
        ends_early = options.max_bytes is not None or getattr(options, "truncates", False)
        if backend is None and options.engine == "auto" and ends_early:
            self.backend = choose("native")
        if not self.backend.own and getattr(options, "stop", "whole") == "snapshot":
            self.backend = replace(self.backend, snapshot=True)
        if not self.backend.own and options.max_bytes is not None:
            raise DumpError(
                'max_bytes: dbghelp does not say how much it will write: give engine="native"', hint='engine="native"'
            )
        if not self.backend.own and getattr(options, "truncates", False):
            raise DumpError(
                'on_limit="truncate": dbghelp does not end a stop before all is written: give engine="native"',
                hint='engine="native"',
            )
        self.callback: Callback | Callee | None = None
        self.io: Any = None
        self.everything = False
        if options.filter is not None and not isinstance(options.filter, Filter):
            raise TypeError(f"filter must be a Filter, not {options.filter!r}")
        if options.callback is not None:
            self.callback = resolve(options.callback)
        if options.filter is not None and isinstance(self.callback, Callee):
            raise ValueError(f"give filter or callback: only {self.callback.name} would be used")
        if options.filter is not None and self.callback is not None:
            raise ValueError("give filter or callback, not both: a Callback has its own filter")
        self.options = options
        streams = getattr(options, "user_streams", ())
        if backend is None and options.engine == "auto" and not self.backend.serves(self.rules(), streams):
            self.backend = choose("native")
        self.backend.check_streams(streams)
        if not self.backend.own and isinstance(getattr(options, "exception", None), SignalInfo):
            raise ValueError(
                "exception: a SignalInfo is for Linux processes; of a Windows process give an ExceptionInfo"
            )
        self._take_type()
        filter = self.rules()
        self.notes = self.backend.limits(self.options, filter)
        if self._keeps_stacks():
            self.notes += ("FILTER_MEMORY has no effect: the callback does not edit stacks",)
        if file:
            if getattr(options, "exception", None) is not None:
                raise ValueError("exception is for live processes: a file has its own")
            self.notes = file_notes(options, self.notes)
            if isinstance(options, DumpOptions):
                self.options = replace(self.options, stop="whole", on_limit="fail")
        self.check_strict(self.notes)
        if isinstance(self.callback, Callee) and options.max_stop is None:
            self.options = replace(self.options, max_stop=self.callback.max_stop)
        if getattr(self.options, "truncates", False) and self.options.max_stop is None:
            raise ValueError('on_limit="truncate" says what becomes of a dump when max_stop has passed: give max_stop')

    def _take_type(self) -> None:
        """The type that the filter is made for, if none was given; and the filter that a type needs."""
        filter = self.rules()
        if self.options.type is None and filter is not None and filter.dump.type is not None:
            self.options = replace(self.options, type=filter.dump.type)
        if DumpType.FILTER_MEMORY in self.options.flags and self.backend.own and self.callback is None:
            filter = filter or EVERYTHING
            stacks = filter.replace(redact=replace(filter.redact, stacks=True))
            self.options = replace(self.options, filter=stacks)

    def _keeps_stacks(self) -> bool:
        """Whether stack words should be sanitized, and the callback does not do that."""
        if DumpType.FILTER_MEMORY not in self.options.flags or not self.backend.own:
            return False
        filter = self.rules()
        return filter is None or not filter.redact.stacks

    def rules(self) -> Filter | None:
        """The filter that decides; None if there is none, or a foreign callback decides."""
        return self.callback.filter if isinstance(self.callback, Callback) else self.options.filter

    def check_strict(self, notes: tuple[str, ...]) -> None:
        """Raise what cannot be honoured, if that is to be an error."""
        if self.options.strict and notes:
            raise DumpError(f"strict: {'; '.join(notes)}")

    def take_file(self, target: SourceTarget) -> None:
        """The file is open: what it has to say of itself."""
        self.everything = self.options.type is None
        self.notes += target.notes
        self.check_strict(target.notes)

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

    def members(self, filter: Filter | None) -> dict[str, Any]:
        """Members of mdc_engine_options."""
        values = self.options.members()
        values["omit_streams"] = 0 if filter is None else int(filter.streams.exclude)
        values["everything"] = int(self.everything)
        return values

    def limits(self) -> EngineOptions:
        """The limits of the engine."""
        return self.options.options or EngineOptions()
