"""Writing and planning dumps: `write_dump` and `plan_dump`."""

from __future__ import annotations

import errno
import os
import stat
import time

from . import _log, _running, sinks, targets
from ._dump_types import words_of
from ._inputs.remote import is_url, local, shown
from ._native.options import placed
from ._options import DumpOptions, PlanOptions
from ._progress import Progress
from ._record import in_order, replace
from ._request import Request
from .engines import check_streams
from .enums import CallbackType, DumpType, Phase
from .errors import BudgetTooSmall, CallbackError, FormatError, SinkError
from .files import FILES
from .protocol._foreign import Callee

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from ._aliases import File, Process
    from .report import DumpPlan, DumpReport

    P = ParamSpec("P")
    Options = TypeVar("Options", bound=PlanOptions)

__all__ = ["plan_dump", "write_dump"]


def _writes(
    options: Callable[P, Options],
) -> Callable[
    [Callable[[Process, File | None, Options], DumpReport]], Callable[Concatenate[Process, File | None, P], DumpReport]
]:
    """Take the fields of the options as parameters after the first two."""
    return lambda function: _with_parameters(function, "process, file", options)


def _plans(
    options: Callable[P, Options],
) -> Callable[[Callable[[Process, Options], DumpPlan]], Callable[Concatenate[Process, P], DumpPlan]]:
    """Take the fields of the options as parameters after the first one."""
    return lambda function: _with_parameters(function, "process", options)


def _with_parameters(function: Any, first: str, options: Any) -> Any:
    """The function with the fields of the options in place of its last parameter, as `help` shows them."""
    by_position, fields = options.__match_args__, options._fields
    names = [*by_position, *(name for name in fields if name not in by_position)]
    parameters = [f"{name}=_defaults[{name!r}]" for name in names]
    parameters.insert(len(by_position), "*")
    source = (
        f"def {function.__name__}({first}, {', '.join(parameters)}):\n"
        f"    return _function({first}, _in_order(_options, ({', '.join(fields)})))"
    )
    scope = {"_function": function, "_in_order": in_order, "_options": options, "_defaults": options._defaults}
    exec(source, scope)
    made: Any = scope[function.__name__]
    made.__doc__, made.__module__ = function.__doc__, function.__module__
    kinds = {
        name: text for kind in reversed(options.__mro__) for name, text in vars(kind).get("__annotations__", {}).items()
    }
    made.__annotations__ = function.__annotations__ | {name: kinds[name] for name in names}
    return made


@_writes(DumpOptions)
def write_dump(process: Process, file: File | None, options: DumpOptions) -> DumpReport:
    """Write a minidump of a live process, or of a file that stands for one: a core, or another minidump.

    The process is stopped for a moment, read, and always runs on: success, error, cancel, an exception, a
    hanging output, or the death of this process. The dump appears complete under its name, or not at all.

    Parameters
    ----------
    process : Process
        A pid (a bare int is always a pid), `PidFd`, `Handle`, a `subprocess.Popen`, a ``psutil.Process``, or anything
        with a ``pid``. Our own process is dumped by a fresh one that is started for it. Or a file: `CoreFile`,
        `DumpFile`, or `AnyFile`, which recognises them.
    file : File or None
        A path: a temporary file takes the name when complete, with mode 0600; a symbolic link
        is followed (on Linux not another user's in a directory that others can write); FIFOs and devices are opened.
        A path that ends in ``.gz`` or ``.zst`` (the extra ``zstd``) gets the dump compressed when the target runs
        again, from a temporary file in the same folder or in that of `spool`; `DumpReport.file_bytes` is the length
        before.
        A URL (the extra ``remote``): sent when the target runs again, compressed likewise; it takes its name when it is
        complete. A path that looks like a URL is given as a `pathlib.Path`.
        Or a descriptor. Or anything with ``write()`` that takes bytes. None if `callback` handles the output.
    type : DumpType, int, str or None
        What the dump holds. None: what the filter says (`filters.Dump`), else NORMAL of a process, and of a file all
        that it has. Else `DumpType` flags, or words joined by ``+``: "normal", "full", "heap", "modified",
        "referenced", "triage", names of flags ("full+with_thread_info"). docs/types.md says what each is. dbghelp gets
        all bits as they are.
    filter : Filter or None
        What goes into it; None keeps everything.
    callback : AnyCallback or None
        Instead of `filter`: a `Callback`, a `Plugin`, a `PythonCallback`, a `Routine`, a pair of addresses (routine,
        param), a ctypes function or a cffi function pointer. All but the first get the plain protocol.
    on_cancel : callable or None
        Called on this thread about ten times a second; returns true to cancel.
    progress : callable or None
        Called on this thread about ten times a second, and at the end, with a `Progress`.
    deadline : float or None
        Longest time, in seconds, for everything. After it the target is resumed, the output removed and
        `DeadlineExceeded` raised.
    max_stop : float or None
        Longest time, in seconds, the target may be stopped; same consequences as `deadline`, or those of `on_limit`. 30
        by default with a `Plugin`. A foreign callback that does not return for that long is abandoned, and named in the
        exception.
    stop_timeout : float or None
        Seconds one thread may take to stop; one that does not (uninterruptible sleep) is dumped without registers, and
        the dump is not complete.
    busy_timeout : float or None
        Seconds to wait while another process traces the target: another dump of it, or a debugger. None or 0: not at
        all, `TargetBusy` is raised. On Linux; Windows lets several processes suspend one.
    stall_timeout : float or None
        Seconds the target may be stopped without progress: no memory is read, no byte is written, no callback
        returns and, on Linux, no list of its mappings, pages or threads advances. Then it is resumed, and `Stalled`
        names what hung. None or 0: no limit.
    grace : float
        Seconds a dump that has to end, because it was cancelled or a time is over, may take to do so. Then it is
        abandoned: the function raises, and the thread that hangs in an output or a callback is left behind.
    max_bytes : int, str or None
        The most bytes the file may have, a number or a text such as "5 MiB"; compressed files count as they are on the
        disk. The memory that matters most is written (docs/budget.md), the rest is a gap with reason
        `GapReason.BUDGET`, and the dump is not complete. With the native engine only.
    stop : {"whole", "memory", "snapshot"}
        How long the threads are stopped: "whole", until all is written; "memory", until all is copied to memory of
        this process (`EngineOptions.stop_memory` bytes at most); or "snapshot", until a copy-on-write child is made
        inside the target, which is then read. docs/stop.md says what each costs, and when a snapshot is refused.
        `DumpReport.stop` says which it was.
    on_limit : {"fail", "truncate"}
        What becomes of the dump when `max_stop` passes: "fail", it is removed and `DeadlineExceeded` raised; or
        "truncate", it is completed with what was copied by then, most useful memory first (docs/stop.md). The rest is a
        gap with reason `GapReason.TRUNCATED`, and the dump is not complete. With the native engine, and outputs that
        are regular files or spooled.
    spool : bool, str or os.PathLike
        For objects with ``write()``, and compressed files. True: through an unlinked temporary file, copied after the
        target was resumed; a directory: make that file there, and copies of inputs. False: written while the target is
        stopped, which prolongs the stop; not of compressed files.
    untouched : {"auto", "hole", "omit"}
        How pages that were never written are stored: "hole" in the file, "omit", or "auto".
    dontdump : {"honour", "ask", "ignore"}
        MADV_DONTDUMP memory: "honour" (never in the dump), "ask" (only if a rule includes it), "ignore" the mark.
    coredump_filter : bool
        True: what the target's ``/proc/PID/coredump_filter`` leaves out of a core file (core(5)) is left out of the
        dump, with every rule that would keep it; `DumpReport.filtered_bytes` says how much that is.
    file_pages : {"all", "resident"}
        Pages of a module that are clean and not in the target's memory: "all", they are read from the file; or
        "resident", they are left to it, if it still has its name and the module is in the dump with its build
        id. They are listed (`DumpReport.left_to_file`), and are not gaps.
    names : {"unicode", "ascii"}
        Names of threads, modules and all other strings: "unicode", or "ascii" for readers that choke on others
        (docs/file.md): a byte that is no printable ASCII is written as a backslash and three octal digits.
    module_names : {"path", "soname"}
        What the module list shows: "path", the file's; "soname", the path with the name that the library gives itself
        (DT_SONAME) in place of the file's, by which symbol stores have it; of a library that was mapped out of an
        archive the archive's path and then that name. Rules see the path.
    unknown_streams : {"drop", "keep"}
        Streams of an existing dump whose layout is not known: "drop" them, which the report notes, or "keep" their
        bytes; offsets in them lead nowhere then, and no rule reaches what they hold.
    fsync : bool
        Flush file and directory to the disk before the dump counts as written.
    strict : bool
        What the engine cannot honour is an error, before anything is written, instead of a note in the report. What
        is only known after dbghelp sent no callback is an error too; then the output is removed.
    record : bool or int
        Keep the callbacks and their answers in `DumpReport.recording`: True, or the largest number of bytes it may take
        (True is 256 MiB). Each call then takes a lock and may allocate, while the target is stopped.
    options : EngineOptions or None
        Limits of the native engine.
    engine : {"auto", "native", "dbghelp"} or DbgHelp
        "native", the engine of this package; "dbghelp", MiniDumpWriteDump of Windows, or a `DbgHelp` with its own
        options; "auto": dbghelp on Windows, unless variables are to be hidden, a stream is to be told its place or
        there is a budget, native elsewhere. docs/windows.md says what each honours.
    exception : SignalInfo, ExceptionInfo or None
        Why the dump is taken: the signal of a Linux process, the exception of a Windows process.
    user_streams : sequence of UserStream, or mapping of int to bytes or callable
        Streams that are written to the dump unchanged, or their types and data. A callable is told where in the file
        its stream will be, and returns its bytes, which may contain offsets in the file.
    annotations : Mapping of str to str, or None
        What the dump says of itself: crash pipelines show the simple annotations of Crashpad's stream, which these
        become. Like `comment` they are written as they are: no rule excludes or redacts them. 1,024 at most, and with
        the comment 1 MiB of UTF-8.
    comment : str or None
        A comment, which debuggers show when they open the dump.

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
    InputError
        A file that stands for a process cannot be opened, read or unpacked, or is larger than its `max_input`.
    FormatError
        Such a file is no core or minidump, or is damaged.
    SinkError
        The output cannot be written (ENOSPC, EPIPE, ...).
    BudgetTooSmall
        `max_bytes` has no room even for a dump without memory; `least_bytes` says what would be enough.
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
    >>> import sys
    >>> from subprocess import PIPE, Popen
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     report = write_dump(child, "/dev/null")
    ...     child.kill()
    >>> report.complete
    True
    """
    request, timer = Request(options, file=isinstance(process, FILES)), _running.Timer(options)
    file = local(file)
    return _write(request, _resolve(process, request, timer, file), file, timer)


@_plans(PlanOptions)
def plan_dump(process: Process, options: PlanOptions) -> DumpPlan:
    """Say what `write_dump` would write, per region and per rule, without writing anything.

    The only memory it reads is the loader's list of modules, after the process was resumed; with `max_bytes` also the
    stacks, and the process is stopped until the plan is made.

    The target is stopped for the registers of its threads only. Parameters and exceptions are those of `write_dump`.
    The plan is that of the native engine, on Windows too: dbghelp cannot plan a dump, and
    ``engine="dbghelp"`` is an error.

    Returns
    -------
    DumpPlan
        Like a `DumpReport`, of a dump to a regular file.

    Examples
    --------
    >>> import sys
    >>> from subprocess import PIPE, Popen
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     plan = plan_dump(child, "full")
    ...     child.kill()
    >>> plan.memory_bytes == sum(region.kept for region in plan.regions)
    True
    """
    request, timer = Request(options, file=isinstance(process, FILES)), _running.Timer(options)
    plan: Any = _run(request, _resolve(process, request, timer), sinks.Sink(), timer)
    return plan  # type: ignore[no-any-return]


def _resolve(
    process: Process, request: Request, timer: _running.Timer, file: File | None = None
) -> targets.Target | targets.SourceTarget:
    """Find out which process is meant, or open the file that stands for one, unless the output would replace it."""
    if not isinstance(process, FILES):
        return targets.resolve(process)
    from ._inputs import opening, sources

    spool = getattr(request.options, "spool", True)
    avx = DumpType.WITH_AVX_XSTATE_CONTEXT
    target = sources.open_target(
        process,
        xstate=request.options.type is None or bool(request.options.flags & avx),
        watch=opening.Watch(timer.check, _running.reading(request, timer)),
        directory=None if isinstance(spool, bool) else spool,
    )
    request.take_file(target)
    if isinstance(file, (str, bytes, os.PathLike)):
        _check_other(target, os.fspath(file))
    return target


def _check_other(target: targets.SourceTarget, place: str | bytes | int) -> None:
    """Refuse to write the file that is read."""
    try:
        about = os.stat(place)  # noqa: PTH116 -- it may be a descriptor, or bytes
    except (OSError, ValueError):
        return  # a new file, or one that cannot be opened either
    if (about.st_dev, about.st_ino) == target.identity:
        raise SinkError(
            f"{target.name} is both input and output: give the output another name",
            phase=Phase.OPEN,
            errno=errno.EINVAL,
            filename=place if isinstance(place, (str, bytes)) else None,
        )


def _write(
    request: Request, target: targets.Target | targets.SourceTarget, file: File | None, timer: _running.Timer
) -> DumpReport:
    """Open the output, dump into it, put it in place; on any failure nothing of it stays."""
    options = request.options
    assert isinstance(options, DumpOptions)
    if options.user_streams and any(callable(stream.data) for stream in check_streams(options.user_streams)):
        request.options = options = replace(options, user_streams=placed(check_streams(options.user_streams)))
    what = (
        f"process {target.pid}"
        if isinstance(target, targets.Target)
        else repr(target.name)
        if target.name
        else "a file"
    )
    if _log.says_debug():
        _log.debug("dump of %s: type %s, engine %s", what, words_of(options.flags), request.backend.name)
    most = options.max_bytes
    try:
        sink = sinks.open_sink(file, spool=options.spool, fsync=options.fsync, give_up=timer.check)
        if isinstance(sink, sinks.DescriptorSink) and isinstance(target, targets.SourceTarget):
            assert sink.fd is not None
            _check_other(target, sink.fd)  # here nothing was written that would have to be cut back
    except BaseException as error:
        _log.info("no dump of %s: %s", what, type(error).__name__)
        raise
    try:
        if isinstance(most, int):
            request.options = replace(request.options, max_bytes=sink.room(most))
        if sink.fd is not None and not sink.made:
            if isinstance(target, targets.Target):
                targets.check_consumer(target.pid, sink.fd)
            else:
                _check_other(target, sink.fd)
        request.take_io(sink, file)
        report = _run(request, target, sink, timer)
        if isinstance(request.callback, Callee) and not _has_output(report, file, sink):
            sink.discard()
            return report._with(notes=(*report._notes, "the callback took the output; no file was made"))
        _hand_on(request, report, sink, timer)
    except BaseException as error:
        sink.discard()
        _log.info("no dump of %s: %s", what, type(error).__name__)
        if isinstance(error, BudgetTooSmall):
            error.least_bytes = sink.needed(error.least_bytes)
            error.message = (
                f"max_bytes is {most:,}, and this dump takes {error.least_bytes:,} bytes without any memory: give at "
                "least that, or leave out streams"
            )
        raise
    if isinstance(file, (str, bytes, os.PathLike)):
        report._put(path=shown(file) if is_url(file) else os.path.abspath(os.fsdecode(file)))  # noqa: PTH100
    if _log.listens():
        _log.info(
            "dump of %s: %d bytes, stopped for %.6f s, took %.6f s, handed on in %.6f s",
            what,
            report.file_bytes,
            report.stop_time,
            report.total,
            report.handed_on,
        )
        for message in report.messages:
            _log.warning("dump of %s: %s", what, message)
    return report


def _hand_on(request: Request, report: DumpReport, sink: sinks.Sink, timer: _running.Timer) -> None:
    """Put the output in its place, the target runs again; what takes long is told."""
    if not sink.hands_on:
        sink.commit(timer.check)
        return
    tell = getattr(request.options, "progress", None)
    begun, told = time.perf_counter(), time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if tell is not None and (now - told >= _running.SLICE or done == total):
            told = now
            tell(
                Progress(
                    phase=Phase.HAND_ON, stopped=False, bytes_done=done, bytes_total=total, elapsed=now - timer.started
                )
            )

    _log.debug("the target runs; %d bytes are handed on", report.file_bytes)
    sink.advance = advance
    sink.commit(timer.check)
    report._put(handed_on=time.perf_counter() - begun)


def _run(
    request: Request, target: targets.Target | targets.SourceTarget, sink: sinks.Sink, timer: _running.Timer
) -> DumpReport:
    """Dump it here, or by another process if it is our own."""
    if isinstance(target, targets.Target):
        request.backend.check_filter(request.rules())
        if target.own:
            from . import _selfdump

            return _selfdump.run(request, sink, timer)
    try:
        return _running.run(request, target, sink, timer)
    except FormatError as error:
        if isinstance(target, targets.SourceTarget) and target.name and error.filename is None:
            error.filename = target.name
            error.message = f"{target.name}: {error.message}"
        raise


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
