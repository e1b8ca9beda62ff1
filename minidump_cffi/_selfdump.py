"""Dumps of our own process: a fresh process is started for them, and this module is what both sides run.

A process cannot stop and trace itself, and a forked copy of a threaded Python is not fit to run Python. The output is
opened here and handed over as a descriptor or HANDLE; the request and the answer are pickles on pipes. When the request
pipe closes, because we want to cancel or are gone, the other side ends the dump.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _another, _running, sinks, targets
from ._native.errors import start_refused
from ._options import DumpOptions
from ._record import replace
from ._request import Request
from ._running import Timer
from .callback import Use
from .causes import ExceptionInfo
from .enums import Phase
from .errors import Cancelled, DeadlineExceeded, TargetBusy, TargetError
from .protocol._foreign import Callee

if sys.platform == "win32":
    from ._os import pipes_windows as _pipes
else:
    from ._os import pipes_posix as _pipes

if TYPE_CHECKING:
    from ._progress import Progress
    from .report import DumpReport

_BUSY_POLL = 0.02


class _Turn:
    """One dump of our own process at a time: it has one tracer, and one PR_SET_PTRACER.

    The mark ends with the object that holds it, so that a signal handler that raises takes it away as well.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may come in between
        self._holder: weakref.ref[Use] | None = None
        self._thread = 0

    def take(self, use: Use) -> bool:
        with self._lock:
            if self._holder is not None and self._holder() is not None:
                return False
            self._holder, self._thread = weakref.ref(use), threading.get_ident()
            return True

    def give_back(self, use: Use) -> None:
        if self._holder is not None and self._holder() is use:
            self._holder = None

    def is_ours(self) -> bool:
        """Whether this very thread is in the middle of one: a hook or a signal handler asks for another."""
        return self._thread == threading.get_ident()


_turn = _Turn()


def _after_fork() -> None:
    global _turn
    _turn = _Turn()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(request: Request, sink: sinks.Sink, timer: Timer) -> DumpReport:
    """Dump this process into the sink, by another one."""
    turn, use = _turn, Use()
    until = time.monotonic() + (request.options.busy_timeout or 0)
    try:
        while not turn.take(use):
            if turn.is_ours() or time.monotonic() >= until:
                raise TargetBusy(
                    f"a dump of this process ({os.getpid()}) is under way: dump it again later, or give busy_timeout",
                    phase=Phase.OPEN,
                    pid=os.getpid(),
                    errno=errno.EBUSY,
                )
            timer.check()
            time.sleep(_BUSY_POLL)
        return _run(request, sink, timer)
    finally:
        turn.give_back(use)


def _run(request: Request, sink: sinks.Sink, timer: Timer) -> DumpReport:
    progress = getattr(request.options, "progress", None)
    callback = request.callback
    if isinstance(callback, Callee) and callback.python is None:
        raise TargetError("our own process is dumped by another one, where the address of a Routine is not valid")
    if request.io is not None or isinstance(callback, Callee) or (callback is not None and callback.hook_types):
        raise TargetError(
            "our own process is dumped by another one while all our threads are stopped: no Python hook can run; "
            "give on_cancel to the function, and an output that is a path, a descriptor or spooled"
        )
    command = _another.command("_selfdump", "our own process is dumped")
    timer.check()
    filter = request.rules()
    if filter is not None:
        filter.compile()  # its errors and warnings belong here
    with sinks.scratch_file() as errors:
        with _pipes.handed_over(sink.fd) as (output, options):
            question = _question(request, timer, output)
            try:
                with _pipes.standard_occupied():
                    process = subprocess.Popen(
                        command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        **options,
                    )
            except OSError as error:
                if error.filename is not None:  # the program does not exist, or may not be run
                    raise TargetError(
                        f"our own process is dumped by another Python, which does not start: {error}"
                    ) from error
                raise start_refused(error.errno or 0, "cannot start the process that dumps us") from error
        assert process.stdin is not None and process.stdout is not None
        try:
            with _ptracer(process.pid):
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(_another.framed(b"q", question))
                    process.stdin.flush()
                reader = _Reader(process.stdout.fileno())
                late: float | None = None
                while True:
                    for kind, body in reader.messages(_running.SLICE):
                        if kind == b"p" and progress is not None and late is None:
                            progress(body)
                        elif kind == b"r":
                            report: DumpReport = body
                            return report
                        elif kind == b"e":
                            raise body
                    if reader.closed:
                        errors.seek(0)
                        _end(process, timer.grace)
                        said = errors.read().decode(errors="replace").strip().splitlines()
                        raise TargetError(
                            f"the process that dumps us ended with status {process.returncode}"
                            + (f": {said[-1]}" if said else "")
                        )
                    if late is None and timer.wants_cancel():
                        process.stdin.close()
                        late = time.monotonic() + timer.grace
                    left = timer.left()
                    if late is None and left is not None and left <= 0:
                        late = time.monotonic() + timer.grace
                    if late is not None and time.monotonic() >= late:
                        if timer.cancelled:
                            raise Cancelled("the dump was cancelled, and the output hangs", hresult=0x800704C7)
                        raise DeadlineExceeded("the deadline passed, and the output hangs")
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                _end(process, timer.grace)
            finally:
                process.stdout.close()


def _question(request: Request, timer: Timer, output: int | None) -> bytes:
    """What the other side has to know: the options, without what only this side can do."""
    options, left = request.options, timer.left()
    changes: dict[str, Any] = {
        "filter": request.rules(),
        "callback": None,
        "on_cancel": None,
        # The start of the other side took time too: one that has passed is that side's to find out.
        "deadline": None if left is None else max(left, 1e-3),
        # The other side has a callback of its own: what ours would have recorded comes back in the report.
        "record": options.record or getattr(request.callback, "_recorder", None) is not None,
    }
    if isinstance(options, DumpOptions):
        changes |= {"progress": None, "spool": True}
        if isinstance(options.exception, ExceptionInfo):  # an address in us is one in the target
            changes["exception"] = replace(options.exception, client_pointers=True)
    return pickle.dumps(
        {
            "pid": os.getpid(),
            "start_time": targets.start_time(os.getpid()) or 0,
            "output": output,
            "options": replace(options, **changes),
            "backend": request.backend,
            "progress": getattr(options, "progress", None) is not None,
        }
    )


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Wait for the other side to end, and end it if it does not: the kernel detaches a dead tracer from us."""
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        _kill(process, grace)  # what the dump came to is known already
    except BaseException:
        _kill(process, grace)
        raise


def _kill(process: subprocess.Popen[bytes], grace: float) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel, where no signal reaches it
        process.wait(grace)


class _Reader:
    """Messages from the other side, as they come."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.closed = False
        self._bytes = bytearray()

    def messages(self, seconds: float) -> list[tuple[bytes, Any]]:
        """What has come; waits at most this long."""
        data = _pipes.read(self.fd, seconds)
        if data is not None:
            self.closed = not data
            self._bytes += data
        found = []
        start = _another.HEADER.size
        while len(self._bytes) >= start:
            kind, size = _another.HEADER.unpack_from(self._bytes)
            if len(self._bytes) < start + size:
                break
            found.append((kind, pickle.loads(self._bytes[start : start + size])))
            del self._bytes[: start + size]
        return found


@contextlib.contextmanager
def _ptracer(pid: int) -> Any:
    """Let a child of ours trace us, where Yama asks for that (prctl(2), PR_SET_PTRACER)."""
    if sys.platform == "win32":
        yield
    else:
        from ._native.crash_posix import allow_tracer, end_access

        allow_tracer(pid)
        try:
            yield
        finally:
            end_access(undumpable=False)


# ------------------------------------------------------------------------------------------------- the other side


def main() -> None:
    """Read the request from stdin, dump, write progress and answer to stdout."""
    _, question = _another.receive(0)
    try:
        answer: tuple[bytes, Any] = (b"r", _dump(question))
    except BaseException as error:
        answer = (b"e", _another.portable(error))
    _another.send(1, _another.message(*answer))


def _dump(question: dict[str, Any]) -> DumpReport:
    options = question["options"]

    def progress(state: Progress) -> None:
        # The reader is stopped while it is dumped: there may be no room.
        _pipes.write_if_room(1, _another.message(b"p", state))

    if question["progress"]:
        options = replace(options, progress=progress)
    sink = sinks.Sink()
    sink.fd = _pipes.taken_over(question["output"])
    target = targets.Target(pid=question["pid"], start_time=question["start_time"])
    timer = Timer(replace(options, on_cancel=lambda: _pipes.is_closed(0)))
    return _running.run(Request(options, question["backend"]), target, sink, timer)
