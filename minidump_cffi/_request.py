"""One dump as it was asked for, checked before anything is opened."""

from __future__ import annotations

from ._options import EngineOptions, PlanOptions
from ._record import replace
from .callback import Callback
from .causes import SignalInfo
from .engines import choose
from .enums import CallbackType
from .errors import DumpError
from .filters._filter import Filter
from .protocol._foreign import Callee, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import sinks
    from .engines import Backend

__all__ = ["Request"]


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
    """

    __slots__ = ("backend", "callback", "io", "notes", "options")

    def __init__(self, options: PlanOptions, backend: Backend | None = None) -> None:
        self.backend = choose(options.engine, plan_only=options.planned) if backend is None else backend
        self.callback: Callback | Callee | None = None
        self.io: Any = None
        if options.filter is not None and not isinstance(options.filter, Filter):
            raise TypeError(f"filter must be a Filter, not {options.filter!r}")
        if options.callback is not None:
            self.callback = resolve(options.callback)
        if options.filter is not None and isinstance(self.callback, Callee):
            raise ValueError(f"give filter or callback: only {self.callback.name} would be used")
        if options.filter is not None and self.callback is not None:
            raise ValueError("give filter or callback, not both: a Callback has its own filter")
        if not self.backend.own and isinstance(getattr(options, "exception", None), SignalInfo):
            raise ValueError(
                "exception: a SignalInfo is for Linux processes; of a Windows process give an ExceptionInfo"
            )
        self.options = options
        filter = self.rules()
        self.notes = self.backend.limits(options, None if filter is None else filter.streams.exclude)
        self.check_strict(self.notes)
        if isinstance(self.callback, Callee) and options.max_stop is None:
            self.options = replace(options, max_stop=self.callback.max_stop)

    def rules(self) -> Filter | None:
        """The filter that decides; None if there is none, or a foreign callback decides."""
        return self.callback.filter if isinstance(self.callback, Callback) else self.options.filter

    def check_strict(self, notes: tuple[str, ...]) -> None:
        """Raise what cannot be honoured, if that is to be an error."""
        if self.options.strict and notes:
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

    def members(self, filter: Filter | None) -> dict[str, Any]:
        """Members of mdc_engine_options."""
        return self.options.members() | {"omit_streams": 0 if filter is None else int(filter.streams.exclude)}

    def limits(self) -> EngineOptions:
        """The limits of the engine."""
        return self.options.options or EngineOptions()
