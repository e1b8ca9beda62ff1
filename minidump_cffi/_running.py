"""A dump that runs: from the compiled filter to the report.

The work is done by threads of the C side without Python in them. The calling thread waits in slices of a tenth of a
second, so that Ctrl-C works, and runs `on_cancel` and `progress` between them.
"""

from __future__ import annotations

import contextlib
import time

from . import sinks, targets
from ._native import options as parts
from ._native.recorder import NativeRecorder
from ._native.session import SINK_FD, Session
from ._options import DumpOptions, record_limit
from ._outcome import report_of
from ._progress import Progress
from .callback import Callback, Use, borrowed, give_back
from .engines import check_streams
from .enums import CallbackType, DumpWarning, Phase
from .errors import Cancelled, DeadlineExceeded, DumpError, Stalled
from .filters._filter import EVERYTHING
from .protocol._foreign import Callee, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._options import PlanOptions
    from ._request import Request
    from .engines import Backend
    from .report import DumpReport

SLICE = 0.1
"""Seconds between two looks at a running dump."""

# What an engine that never asked cannot have honoured. Our filters are applied to the finished file as well.
_UNHONOURED = DumpWarning.TYPE | DumpWarning.STOP | DumpWarning.NO_MEMORY_CALLBACKS
_UNHONOURED_BY_CALLEE = _UNHONOURED | DumpWarning.NO_REGION_CALLBACKS | DumpWarning.NO_VM_CALLBACKS


class Timer:
    """The deadline and the caller's wish to end, for the parts that are done in Python."""

    def __init__(self, options: PlanOptions) -> None:
        self.started = time.monotonic()
        self.deadline = None if options.deadline is None else self.started + options.deadline
        self.on_cancel = options.on_cancel
        self.grace = options.grace
        self.cancelled = False

    def left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    def check(self) -> None:
        left = self.left()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the deadline passed before the dump was complete")
        if self.wants_cancel():
            raise Cancelled("on_cancel cancelled the dump", hresult=0x800704C7)

    def wants_cancel(self) -> bool:
        self.cancelled = self.on_cancel is not None and bool(self.on_cancel())
        return self.cancelled


def reading(request: Request, timer: Timer) -> Callable[[int, int], object] | None:
    """What tells the caller how far the reading of an input is, before there is a session."""
    tell = getattr(request.options, "progress", None)
    if tell is None:
        return None
    return lambda done, total: tell(
        Progress(
            phase=Phase.OPEN,
            stopped=False,
            bytes_done=done,
            bytes_total=total,
            elapsed=time.monotonic() - timer.started,
        )
    )


def run(request: Request, target: targets.Target | targets.SourceTarget, sink: sinks.Sink, timer: Timer) -> DumpReport:
    """One dump, from the compiled filter to the report; nothing is put in place here."""
    timer.check()
    callback = request.callback
    callee = callback if isinstance(callback, Callee) else None
    again = False
    if callee is not None:
        filter, hooks = None, None if callee.python is None else callee.python._hooks
    elif isinstance(callback, Callback):
        filter, hooks = callback.filter, callback._hooks
    else:
        filter = request.options.filter or EVERYTHING
        again = request.io is None and not filter.redact  # it may hold what it was to hide
        callback = borrowed(filter) if again else Callback(filter, io=request.io)
        hooks = callback._hooks

    engine, progress = (
        request.members(filter),
        request.options.progress if isinstance(request.options, DumpOptions) else None,
    )
    options = _session_options(request, target, sink, timer)
    using = None if callee is None else contextlib.ExitStack()  # Python's, for as long as the engine may call it
    use = Use()
    session: Session | None = None
    ended = given_up = succeeded = False
    try:  # a signal handler may raise anywhere: from here on there may be a session that runs
        if callee is None:
            assert isinstance(callback, Callback)
            native = callback._enter(use)  # ours until its error and its recording have been fetched
            if hooks is not None:
                hooks.take_error()
            recorder = _recorder(request, callback)
            assert filter is not None
            session = Session(
                native, engine, options, recorder=recorder, fill=_parts(request, target), entries=len(filter) + 1
            )
            session.start()
        else:
            recorder = _recorder(request, callback)
            if callee.python is not None and using is not None:
                using.enter_context(callee.python.in_use(extensions=callee.extensions))
            engine["extensions"] = int(callee.extensions)
            routine, keep = (callee.routine, callee.param), (callee.keep, using)
            session = Session(
                None, engine, options, routine=routine, keep=keep, recorder=recorder, fill=_parts(request, target)
            )
            session.start()
        max_stop = request.options.max_stop
        watch = None if callee is None or max_stop is None else Watch(session, max_stop)
        ended = _wait(session, timer, progress, watch)
        given_up = not ended
        error = None if hooks is None else hooks.take_error()
        if error is None and not ended:
            error = _left_behind(session, timer, timer.cancelled, callee, request.backend)
        error = error or session.finish()
        if error is None and callee is not None and callee.python is not None:
            callee.python.raise_error()
        if error is not None:
            if ended and callee is not None and isinstance(error, DumpError) and error.callback_type is not None:
                error.message = f"{callee.name}: {error.message}"
            raise error
        report = report_of(session, filter, request, recorder)
        if report.warnings & (_UNHONOURED if callee is None else _UNHONOURED_BY_CALLEE):
            request.check_strict(report.messages)
        if progress is not None:
            progress(_progress(session))
        succeeded = True
        return report
    except BaseException:
        while not ended and not given_up:
            try:
                ended = session is None or _settle(session, timer.grace)
                given_up = not ended
            except BaseException:  # a second Ctrl-C must still remove the output
                continue
        raise
    finally:
        try:
            if session is not None:
                session.close()
        finally:
            if isinstance(callback, Callback):
                callback._leave(use)
            if ended and using is not None:
                using.close()  # an abandoned callee stays in use
        if ended and isinstance(callback, Callback) and callback is not request.callback:
            if again and succeeded:
                give_back(callback)
            else:
                callback.close()


def _recorder(request: Request, callback: Callback | Callee | None) -> NativeRecorder | None:
    """What records this dump: the recorder of the callback, or one of its own."""
    if isinstance(callback, Callback) and callback._recorder is not None:
        callback._recorder.clear()
        return callback._recorder
    limit = record_limit(request.options.record)
    return None if limit is None else NativeRecorder(limit)


def _parts(request: Request, target: targets.Target | targets.SourceTarget) -> tuple[parts.Fill, ...]:
    """What of a session's specification points at memory."""
    options = request.options
    found = []
    if not isinstance(target, targets.Target):
        found.append(parts.source(target))
    if isinstance(options, DumpOptions):
        if options.user_streams:
            found.append(parts.user_streams(check_streams(options.user_streams)))
        if options.annotations:
            found.append(parts.simple_annotations(options.annotations))
        if options.comment is not None:
            found.append(parts.comment(options.comment))
        if options.exception is not None:
            found.append(parts.exception(options.exception))
    if options.max_bytes is not None or getattr(options, "truncates", False):
        found.append(parts.priorities(request.rules()))
    if not request.backend.own:
        found.append(parts.dbghelp(request.backend))
    return tuple(found)


def _session_options(
    request: Request, target: targets.Target | targets.SourceTarget, sink: sinks.Sink, timer: Timer
) -> dict[str, Any]:
    """Members of mdc_session_spec."""
    left = timer.left()
    # 0 would mean none: what is left is above 0, or the timer would have raised.
    values: dict[str, Any] = {"pidfd": -1, "deadline_ns": 0 if left is None else max(1, int(left * 1e9))}
    values |= request.options.times()
    if isinstance(target, targets.Target):
        values.update(pid=target.pid, pidfd=target.pidfd, start_time=target.start_time, process=target.handle)
    if sink.fd is not None:
        values.update(sink=SINK_FD, fd=sinks.native(sink.fd))
    return values


def _wait(
    session: Session,
    timer: Timer,
    progress: Callable[[Progress], object] | None,
    watch: Watch | None = None,
) -> bool:
    """True when the session has ended; False if it had to end and did not."""
    late: float | None = None  # when a dump that must end is abandoned: an output or a hook hangs
    while not session.wait(SLICE):
        if late is not None:
            if time.monotonic() >= late:
                return False
            continue
        if timer.wants_cancel():
            session.cancel()
        elif watch is not None and watch.hangs():
            session.cancel(deadline=True)
        elif progress is not None:
            progress(_progress(session))
        left = timer.left()
        if session.progress().aborted or (left is not None and left <= 0):
            late = time.monotonic() + timer.grace
    return True


def _settle(session: Session, grace: float) -> bool:
    """End a dump and wait for that; True if it did. An exception is on its way already: hardly ever raises another."""
    until = time.monotonic() + grace
    while True:
        try:
            session.cancel()
            while (left := until - time.monotonic()) > 0:
                if session.wait(min(left, SLICE)):
                    return True
            return False
        except BaseException:  # a second Ctrl-C
            continue


def _left_behind(session: Session, timer: Timer, cancelled: bool, callee: Callee | None, backend: Backend) -> DumpError:
    """Why a session is given up that does not end."""
    state = session.progress()
    phase = Phase(state.phase) if 0 <= state.phase <= Phase.FINISH else None
    doing = session.doing()
    what, number = doing.text, doing.callback_type
    if callee is not None and (inside := session.callee().type) >= 0:
        number = inside
        what = f"{callee.name} does not return from {_type_name(inside)}: it"
    where = f"{what} hangs; the target runs on, and the dump was abandoned"
    if not backend.own:  # it alone can resume the threads that it suspended
        what = f"{backend.title} or {what}" if number >= 0 else backend.title
        where = f"{what} hangs; the dump was abandoned, and the target may stay stopped until it returns"
    details: dict[str, Any] = {
        "phase": phase,
        "callback_type": CallbackType(number) if number in CallbackType.__members__.values() else None,
        "address": doing.address or None,
    }
    if cancelled:
        return Cancelled(f"the dump was cancelled, and {where}", hresult=0x800704C7, **details)
    if state.stalled:
        return Stalled(f"no progress for stall_timeout: {where}", **details)
    left = timer.left()
    passed = "the deadline" if left is not None and left <= 0 else "max_stop"
    return DeadlineExceeded(f"{passed} passed, and {where}", **details)


def _type_name(number: int) -> str:
    return (
        f"{CallbackType(number).name} ({number})" if number in CallbackType.__members__.values() else f"type {number}"
    )


def _progress(session: Session) -> Progress:
    state = session.progress()
    return Progress(
        phase=Phase(state.phase) if 0 <= state.phase <= Phase.FINISH else Phase.NONE,
        stopped=state.stopped,
        bytes_done=state.bytes_done,
        bytes_total=state.bytes_total,
        elapsed=state.elapsed,
    )
