"""Writing and planning dumps: `write_dump` and `plan_dump`.

The work is done by threads of the C side without Python in them. The calling thread waits in slices of a tenth of a
second, so that Ctrl-C works, and runs `on_cancel` and `progress` between them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import _bridge, _bridge_options, _bridge_replay, sinks, targets
from ._outcome import report_of
from ._request import DontDump, EngineOptions, FilePages, Request, Untouched
from .callback import Callback, Use, record_limit
from .engines import Backend, Engine, ExceptionInfo, UserStream, choose
from .enums import CallbackType, DumpType, DumpWarning, Phase
from .errors import CallbackError, Cancelled, DeadlineExceeded, DumpError, Stalled
from .filters._filter import Filter
from .protocol._foreign import AnyCallback, Callee, Watch
from .report._report import DumpPlan, DumpReport

__all__ = ["EngineOptions", "Progress", "plan_dump", "write_dump"]

SLICE = 0.1
"""Seconds between two looks at a running dump."""
GRACE = 5.0
"""Seconds a dump that must end may take to do so before it is abandoned."""

# What an engine that never asked cannot have honoured. Our filters are applied to the finished file as well.
_UNASKED_MEMORY = DumpWarning.NO_MEMORY_CALLBACKS
_UNASKED = _UNASKED_MEMORY | DumpWarning.NO_REGION_CALLBACKS | DumpWarning.NO_VM_CALLBACKS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a dump is.

    Attributes
    ----------
    phase : Phase
        What it does.
    stopped : bool
        Whether the threads of the target are stopped.
    bytes_done, bytes_total : int
        Of target memory; the total is 0 until the plan is made.
    elapsed : float
        Seconds since the start.
    """

    phase: Phase
    stopped: bool
    bytes_done: int
    bytes_total: int
    elapsed: float

    @property
    def fraction(self) -> float | None:
        """Part that is done, from 0 to 1; None until the plan is made."""
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else None


def write_dump(
    process: targets.Process,
    file: sinks.File | None,
    type: DumpType = DumpType.NORMAL,
    *,
    filter: Filter | None = None,
    callback: AnyCallback | None = None,
    on_cancel: Callable[[], object] | None = None,
    progress: Callable[[Progress], object] | None = None,
    deadline: float | None = None,
    max_stop: float | None = None,
    stop_timeout: float | None = None,
    busy_timeout: float | None = None,
    stall_timeout: float | None = 30.0,
    spool: bool | str | os.PathLike[str] = True,
    untouched: Untouched = "auto",
    dontdump: DontDump = "honour",
    coredump_filter: bool = False,
    file_pages: FilePages = "all",
    fsync: bool = False,
    strict: bool = False,
    record: bool | int = False,
    options: EngineOptions | None = None,
    engine: Engine = "auto",
    snapshot: bool = False,
    dbghelp: str | os.PathLike[str] | None = None,
    exception: ExceptionInfo | None = None,
    user_streams: Sequence[UserStream] = (),
) -> DumpReport:
    """Write a minidump of a live process.

    The process is stopped for a moment, read, and always runs on: success, error, cancel, an exception, a
    hanging output, or the death of this process. The dump appears complete under its name, or not at all.

    Parameters
    ----------
    process
        A pid (a bare int is always a pid), `PidFd`, `Handle`, a `subprocess.Popen`, a ``psutil.Process``, or anything
        with a ``pid``. Our own process is dumped by a fresh one that is started for it.
    file
        A path: a temporary file takes the name when complete, with mode 0600; a symbolic link
        is followed (on Linux not another user's in a directory that others can write); FIFOs and devices are opened.
        Or a descriptor. Or anything with ``write()`` that takes bytes. None if `callback` handles the output.
    type
        What the dump holds. The native engine knows NORMAL, WITH_FULL_MEMORY, WITH_FULL_MEMORY_INFO (which adds
        nothing: MemoryInfoList is always there), WITH_THREAD_INFO, IGNORE_INACCESSIBLE_MEMORY, on Linux
        WITH_AVX_XSTATE_CONTEXT and on Windows WITH_PROCESS_THREAD_DATA (PEB and TEBs). dbghelp gets all bits as they
        are.
    filter
        What goes into it; None keeps everything.
    callback
        Instead of `filter`: a `Callback`, a `Plugin`, a `PythonCallback`, a `Routine`, a pair of addresses (routine,
        param), a ctypes function or a cffi function pointer. All but the first get the plain protocol.
    on_cancel
        Called on this thread about ten times a second; returns true to cancel.
    progress
        Called on this thread about ten times a second, and at the end, with a `Progress`.
    deadline
        Longest time, in seconds, for everything. After it the target is resumed, the output removed and
        `DeadlineExceeded` raised.
    max_stop
        Longest time, in seconds, the target may be stopped; same consequences as `deadline`. 30 by default with a
        `Plugin`. A foreign callback that does not return for that long is abandoned, and named in the exception.
    stop_timeout
        Seconds one thread may take to stop; one that does not (uninterruptible sleep) is dumped without registers, and
        the dump is not complete.
    busy_timeout
        Seconds to wait while another process traces the target: another dump of it, or a debugger. None or 0: not at
        all, `TargetBusy` is raised. On Linux; Windows lets several processes suspend one.
    stall_timeout
        Seconds the target may be stopped without progress: no memory is read, no byte is written, no callback
        returns and, on Linux, no list of its mappings, pages or threads advances. Then it is resumed, and `Stalled`
        names what hung. None or 0: no limit.
    spool
        For objects with ``write()``. True: through an unlinked temporary file, copied after the target was resumed; a
        directory: make that file there. False: written while the target is stopped, which prolongs the stop.
    untouched
        How pages that were never written are stored: "hole" in the file, "omit", or "auto".
    dontdump
        MADV_DONTDUMP memory: "honour" (never in the dump), "ask" (only if a rule includes it), "ignore" the mark.
    coredump_filter
        True: what the target's ``/proc/PID/coredump_filter`` leaves out of a core file (core(5)) is left out of the
        dump, with every rule that would keep it; `DumpReport.filtered_bytes` says how much that is.
    file_pages
        Pages of a module that are clean and not in the target's memory: "all", they are read from the file; or
        "resident", they are left to it, if it still has its name and the module is in the dump with its build
        id. They are listed (`DumpReport.left_to_file`), and are not gaps.
    fsync
        Flush file and directory to the disk before the dump counts as written.
    strict
        What the engine cannot honour is an error, before anything is written, instead of a note in the report. What
        is only known after dbghelp sent no callback is an error too; then the output is removed.
    record
        Keep the callbacks and their answers in `DumpReport.recording`: True, or the largest number of bytes it may take
        (True is 256 MiB). Each call then takes a lock and may allocate, while the target is stopped.
    options
        Limits of the native engine.
    engine
        "native", the engine of this package; "dbghelp", MiniDumpWriteDump of Windows; "auto": dbghelp on Windows,
        native elsewhere. docs/windows.md says what each honours.
    snapshot
        With dbghelp: dump a snapshot of the process (PssCaptureSnapshot), which runs on meanwhile.
    dbghelp
        Path of another dbghelp.dll than that of the system.
    exception
        Why the dump is taken; for targets that are Windows processes.
    user_streams
        Streams that are written to the dump unchanged.

    Returns
    -------
    DumpReport
        What is in the dump, what is not, and what it cost. See `DumpReport.complete`.

    Raises
    ------
    TargetGone
        No such process (ESRCH), or it ended, or its pid belongs to another one now.
    TargetBusy
        Another dump of it is under way, or it is traced (gdb, strace). Try again later, or give `busy_timeout`.
    AccessDenied
        No permission (EPERM, EACCES); `hint` says what would allow it.
    TargetError
        A zombie, a kernel thread, a 32-bit process, or one that reads our output.
    SinkError
        The output cannot be written (ENOSPC, EPIPE, ...).
    ReadError
        Memory could not be read and the filter says "abort".
    Cancelled, DeadlineExceeded
        As asked for.
    Stalled
        A read of memory, the output or a callback hung for `stall_timeout` while the target was stopped.
    CallbackError
        The callback is closed or in use, or broke the protocol.
    FilterError
        The filter cannot be compiled.
    Exception
        Any exception of `on_cancel`, `progress` or a hook.

    Notes
    -----
    Pages that only mapped files hold are read after the process was resumed, where they are known to be unchanged; see
    docs/file.md.

    Blocking, with the GIL released. In asyncio: ``await minidump_cffi.aio.write_dump(pid, "app.dmp")``.

    dbghelp is single-threaded: dumps with it wait for each other in this process, and the deadline counts while they
    wait. Cancel and deadline reach it as answers to its Cancel callbacks, so it decides when it asks; a call that has
    not returned some seconds after the deadline is abandoned, and the process it dumps may stay stopped until it does.

    Examples
    --------
    >>> import subprocess, sys
    >>> with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
    ...     report = write_dump(child, "/dev/null")
    ...     child.kill()
    >>> report.complete
    True
    """
    request = Request(
        type, filter, callback, deadline, max_stop, stop_timeout, untouched, dontdump, fsync, strict, options, False,
        record=record, backend=choose(engine, snapshot=snapshot, dbghelp=dbghelp), exception=exception,
        user_streams=tuple(user_streams), busy_timeout=busy_timeout, stall_timeout=stall_timeout,
        coredump_filter=coredump_filter, file_pages=file_pages,
    )  # fmt: skip
    return _write(request, targets.resolve(process), file, spool, _Timer(deadline, on_cancel), progress)


def plan_dump(
    process: targets.Process,
    type: DumpType = DumpType.NORMAL,
    *,
    filter: Filter | None = None,
    callback: AnyCallback | None = None,
    on_cancel: Callable[[], object] | None = None,
    deadline: float | None = None,
    max_stop: float | None = None,
    stop_timeout: float | None = None,
    busy_timeout: float | None = None,
    stall_timeout: float | None = 30.0,
    untouched: Untouched = "auto",
    dontdump: DontDump = "honour",
    coredump_filter: bool = False,
    file_pages: FilePages = "all",
    strict: bool = False,
    record: bool | int = False,
    options: EngineOptions | None = None,
    engine: Engine = "auto",
) -> DumpPlan:
    """Say what `write_dump` would write, per region and per rule, without writing anything.

    The only memory it reads is the loader's list of modules, after the process was resumed.

    The target is stopped for the registers of its threads only. Parameters and exceptions are those of `write_dump`.
    The plan is that of the native engine, on Windows too: dbghelp cannot plan a dump, and
    ``engine="dbghelp"`` is an error.

    Returns
    -------
    DumpPlan
        Like a `DumpReport`, of a dump to a regular file.
    """
    request = Request(
        type, filter, callback, deadline, max_stop, stop_timeout, untouched, dontdump, False, strict, options, True,
        record=record, backend=choose(engine, plan_only=True), busy_timeout=busy_timeout, stall_timeout=stall_timeout,
        coredump_filter=coredump_filter, file_pages=file_pages,
    )  # fmt: skip
    target = targets.resolve(process)
    report = _run(request, target, sinks.Sink(), _Timer(deadline, on_cancel), None)
    assert isinstance(report, DumpPlan)
    return report


def _write(
    request: Request,
    target: targets.Target | targets.SourceTarget,
    file: sinks.File | None,
    spool: bool | str | os.PathLike[str],
    timer: _Timer,
    progress: Callable[[Progress], object] | None,
) -> DumpReport:
    """Open the output, dump into it, put it in place; on any failure nothing of it stays."""
    sink = sinks.open_sink(file, spool=spool, fsync=request.fsync, give_up=timer.check)
    try:
        if sink.fd is not None and isinstance(target, targets.Target):
            targets.check_consumer(target.pid, sink.fd)
        request.take_io(sink, file)
        report = _run(request, target, sink, timer, progress)
        if isinstance(request.callback, Callee) and not _has_output(report, file, sink):
            sink.discard()
            return report._noted("the callback took the output; no file was made")
        sink.commit(timer.check)
    except BaseException:
        sink.discard()
        raise
    return report


def _has_output(report: DumpReport, file: object, sink: sinks.Sink) -> bool:
    """False if a callback took all the bytes and left nothing in the file that was to be written."""
    taken = report.callbacks.get(CallbackType.IO_WRITE_ALL, 0) > 0
    if file is None and not taken:
        raise CallbackError(
            "file is None, and the callback did not handle the output", callback_type=CallbackType.IO_START
        )
    if not taken or sink.fd is None:
        return True
    about = os.fstat(sink.fd)
    return not stat.S_ISREG(about.st_mode) or about.st_size > 0


class _Timer:
    """The deadline and the caller's wish to end, for the parts that are done in Python."""

    def __init__(self, deadline: float | None, on_cancel: Callable[[], object] | None) -> None:
        self.started = time.monotonic()
        self.deadline = None if deadline is None else self.started + deadline
        self.on_cancel = on_cancel
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


def _run(
    request: Request,
    target: targets.Target | targets.SourceTarget,
    sink: sinks.Sink,
    timer: _Timer,
    progress: Callable[[Progress], object] | None,
) -> DumpReport:
    """One dump, from the compiled filter to the report; nothing is put in place here."""
    parts = request.parts()
    if isinstance(target, targets.SourceTarget):
        parts = (*parts, _bridge_options.source(target))
    else:
        request.backend.check_filter(request.rules())
        if target.own:
            from . import _selfdump

            return _selfdump.run(request, sink, timer, progress)
    timer.check()
    callback = request.callback
    callee = callback if isinstance(callback, Callee) else None
    if callee is not None:
        filter, hooks = None, None if callee.python is None else callee.python._hooks
    elif isinstance(callback, Callback):
        filter, hooks = callback.filter, callback._hooks
    else:
        filter = request.filter or _EVERYTHING
        callback = Callback(filter, io=request.io)
        hooks = callback._hooks

    engine = request.engine_options(filter)
    options = _job_options(request, target, sink, timer)
    using = contextlib.ExitStack()  # a Python callee, for as long as the engine may call it
    use = Use()
    job: _bridge.Job | None = None
    ended = given_up = False
    try:  # a signal handler may raise anywhere: from here on there may be a job that runs
        if callee is None:
            assert isinstance(callback, Callback)
            native = callback._enter(use)  # ours until its error and its recording have been fetched
            if hooks is not None:
                hooks.take_error()
            recorder = _recorder(request, callback)
            job = _bridge.Job(native, engine, options, recorder=recorder, fill=parts)
            job.start()
        else:
            recorder = _recorder(request, callback)
            if callee.python is not None:
                using.enter_context(callee.python.in_use(extensions=callee.extensions))
            engine["extensions"] = int(callee.extensions)
            routine, keep = (callee.routine, callee.param), (callee.keep, using)
            job = _bridge.Job(None, engine, options, routine=routine, keep=keep, recorder=recorder, fill=parts)
            job.start()
        watch = None if callee is None or request.max_stop is None else Watch(job, request.max_stop)
        ended = _wait(job, timer, progress, watch)
        given_up = not ended
        error = None if hooks is None else hooks.take_error()
        if error is None and not ended:
            error = _left_behind(job, timer, timer.cancelled, callee, request.backend)
        error = error or job.error()
        if error is None and callee is not None and callee.python is not None:
            callee.python.raise_error()
        if error is not None:
            if ended and callee is not None and isinstance(error, DumpError) and error.callback_type is not None:
                error.message = f"{callee.name}: {error.message}"
            raise error
        report = report_of(job, filter, request, recorder)
        if report.warnings & (DumpWarning.TYPE | (_UNASKED_MEMORY if callee is None else _UNASKED)):
            request.check_strict(report.messages)
        if progress is not None:
            progress(_progress(job))
        return report
    except BaseException:
        while not ended and not given_up:
            try:
                ended = job is None or _settle(job)
                given_up = not ended
            except BaseException:  # a second Ctrl-C must still remove the output
                continue
        raise
    finally:
        try:
            if job is not None:
                job.close()
        finally:
            if isinstance(callback, Callback):
                callback._leave(use)
            if ended:
                using.close()  # an abandoned callee stays in use
        if ended and isinstance(callback, Callback) and callback is not request.callback:
            callback.close()


_EVERYTHING = Filter()


def _recorder(request: Request, callback: Callback | Callee | None) -> _bridge_replay.NativeRecorder | None:
    """What records this dump: the recorder of the callback, or one of its own."""
    if isinstance(callback, Callback) and callback._recorder is not None:
        callback._recorder.clear()
        return callback._recorder
    limit = record_limit(request.record)
    return None if limit is None else _bridge_replay.NativeRecorder(limit)


def _job_options(
    request: Request, target: targets.Target | targets.SourceTarget, sink: sinks.Sink, timer: _Timer
) -> dict[str, Any]:
    """Members of mdc_job_spec."""
    left = timer.left()
    values: dict[str, Any] = {
        "pidfd": -1,
        # 0 would mean none: what is left is above 0, or the timer would have raised.
        "deadline_ns": 0 if left is None else max(1, int(left * 1e9)),
        "max_stop_ns": int((request.max_stop or 0) * 1e9),
        "stop_timeout_ns": int((request.stop_timeout or 0) * 1e9),
        "busy_timeout_ns": int((request.busy_timeout or 0) * 1e9),
        "stall_timeout_ns": (1 << 64) - 1 if request.stall_timeout is None else int(request.stall_timeout * 1e9),
    }
    if isinstance(target, targets.Target):
        values.update(pid=target.pid, pidfd=target.pidfd, start_time=target.start_time, process=target.handle)
    if sink.fd is not None:
        values.update(sink=_bridge.SINK_FD, fd=sinks.native(sink.fd))
    return values


def _wait(
    job: _bridge.Job,
    timer: _Timer,
    progress: Callable[[Progress], object] | None,
    watch: Watch | None = None,
) -> bool:
    """True when the job has ended; False if it had to end and did not."""
    late: float | None = None  # when a dump that must end is abandoned: an output or a hook hangs
    while not job.wait(SLICE):
        if late is not None:
            if time.monotonic() >= late:
                return False
            continue
        if timer.wants_cancel():
            job.cancel()
        elif watch is not None and watch.hangs():
            job.cancel(deadline=True)
        elif progress is not None:
            progress(_progress(job))
        left = timer.left()
        if job.progress().aborted or (left is not None and left <= 0):
            late = time.monotonic() + GRACE
    return True


def _settle(job: _bridge.Job) -> bool:
    """End a job and wait for that; True if it did. An exception is on its way already: hardly ever raises another."""
    until = time.monotonic() + GRACE
    while True:
        try:
            job.cancel()
            while (left := until - time.monotonic()) > 0:
                if job.wait(min(left, SLICE)):
                    return True
            return False
        except BaseException:  # a second Ctrl-C
            continue


def _left_behind(
    job: _bridge.Job, timer: _Timer, cancelled: bool, callee: Callee | None, backend: Backend
) -> DumpError:
    """Why a job is given up that does not end."""
    state = job.progress()
    phase = Phase(state.phase) if 0 <= state.phase <= Phase.FINISH else None
    doing = job.doing()
    what, number = doing.text, doing.callback_type
    if callee is not None and (inside := job.callee().type) >= 0:
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


def _progress(job: _bridge.Job) -> Progress:
    state = job.progress()
    return Progress(
        phase=Phase(state.phase) if 0 <= state.phase <= Phase.FINISH else Phase.NONE,
        stopped=state.stopped,
        bytes_done=state.bytes_done,
        bytes_total=state.bytes_total,
        elapsed=state.elapsed,
    )
