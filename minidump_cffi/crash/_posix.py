"""Crashes on POSIX: the program's side. It starts the helper, arms the handlers, and asks for dumps."""

from __future__ import annotations

import contextlib
import os
import select
import signal as _signal
import socket
import sys
import threading
import time

from .. import _another, sinks
from .._native import crash_posix as native
from .._native.errors import short
from .._os import pipes_posix
from ..errors import AccessDenied, DumpError, TargetError
from . import _threads
from ._requests import Requests
from ._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

assert sys.platform != "win32"

__all__ = ["SIGNALS", "Watch"]

SIGNALS: tuple[int, ...] = (
    _signal.SIGSEGV,
    _signal.SIGBUS,
    _signal.SIGFPE,
    _signal.SIGILL,
    _signal.SIGABRT,
    _signal.SIGTRAP,
    _signal.SIGSYS,
)
"""The signals that say that a program has crashed."""
_HARMLESS = (  # that do not end a process, or cannot be handled
    *(_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGCONT, _signal.SIGURG, _signal.SIGWINCH),
    *(_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU),
)
_GRACE = 3.0  # seconds that are waited for an answer after the time for a dump has passed


class Watch(Requests):
    """A helper that watches this process, and the handlers that ask it.

    Its descriptors are numbers, which no interpreter closes when it ends: the process may crash after that.
    """

    def __init__(
        self, settings: Settings, signals: Iterable[int] | None, *, chain: bool, dumpable: bool, python: str | None
    ) -> None:
        if (processor := native.no_engine()) is not None:
            raise TargetError(f"this build has no engine for {processor} processes: nothing would dump a crash")
        self.settings, self.dumpable = settings, dumpable
        self.signals = _checked(SIGNALS if signals is None else signals)
        super().__init__((settings.options.deadline or 0) + _GRACE)
        self._ours: dict[int, tuple[int, int, bool]] = {}
        with contextlib.ExitStack() as stack:
            command = _another.command("crash._helper_posix", "crashes are dumped", python)
            try:
                self._start(stack, command)
            except OSError as error:
                if isinstance(error, DumpError):
                    raise
                raise short(error.errno or 0, "cannot start the process that dumps crashes") from error
            stack.callback(_threads.uncover)
            _cover_threads()
            native.arm(
                socket=self._crashes,
                helper=self.helper,
                helper_fd=self._helper_fd,
                signals=self.signals,
                chain=chain,
                dumpable=dumpable,
                wait=self._seconds,
            )
            stack.pop_all()

    def _start(self, stack: contextlib.ExitStack, command: list[str]) -> None:
        with pipes_posix.standard_occupied():
            self._control, far_control = _socket_pair(stack, socket.SOCK_STREAM)
            self._crashes, far_crashes = _socket_pair(stack, socket.SOCK_SEQPACKET)
        with far_control, far_crashes, sinks.scratch_file() as errors:
            self.helper = native.start(
                command,
                os.environ,
                errors=errors.fileno(),
                control=far_control.fileno(),
                crashes=far_crashes.fileno(),
            )
            self._helper_fd = -1
            self._ours = {fd: _identity(fd) for fd in (self._control, self._crashes)}
            stack.callback(self._end)
            with pipes_posix.standard_occupied():
                self._helper_fd = native.watch(self.helper)
            self._ours[self._helper_fd] = _identity(self._helper_fd)
            far_control.close()
            self.begin(self.settings, errors)

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[None]:
        """The helper may look into this process."""
        before = native.dumpable()
        if self.dumpable and before != 1:
            native.set_dumpable(1)
        native.allow_tracer(self.helper)
        try:
            yield
        finally:
            native.end_access(undumpable=self.dumpable and before != 1)

    def _exchange(self, request: bytes, seconds: float) -> tuple[bytes, Any]:
        fd, until = self._control, time.monotonic() + seconds
        if self.settings.pid != os.getpid():
            raise TargetError("a forked child is not watched: call enable() in it")
        if not (self._is_ours(fd) and self._is_ours(self._helper_fd)):
            raise TargetError("the program has closed the descriptors of the helper of crashes")
        waiter = select.poll()
        waiter.register(fd, select.POLLIN)
        waiter.register(self._helper_fd, select.POLLIN)
        with self._allowed():
            try:
                with _as_socket(fd) as control:
                    control.sendall(request)  # without SIGPIPE
                ready: set[int] = set()
                while not ready:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise TimeoutError
                    ready = {number for number, _ in waiter.poll(left * 1000)}
                if fd not in ready:
                    raise EOFError
                return _another.receive(fd)
            except ConnectionError:
                raise EOFError from None

    def _explained(self, error: BaseException) -> BaseException:
        """With the advice that helps here."""
        if isinstance(error, AccessDenied) and not self.dumpable and native.dumpable() != 1:
            hint = "enable(dumpable=True) sets that for the time of a dump"
            return AccessDenied(
                f"this process is not dumpable, as after setuid(), so none with the same rights may dump it: {hint}",
                pid=error.pid,
                errno=error.errno,
                hint=hint,
            )
        return error

    @property
    def dumps(self) -> int:
        """How many were taken."""
        return self._taken + native.dumps()

    @property
    def alive(self) -> bool:
        """Whether the helper is."""
        return not self._ended(0)

    def threads(self) -> tuple[int, int]:
        """How many threads have an alternate stack of which we know, and how many may have none."""
        covered = 0 if _stacks is None else _stacks.count
        try:
            living = len(os.listdir("/proc/self/task"))  # noqa: PTH208
        except OSError:  # after chroot()
            living = threading.active_count()
        return covered, max(0, living - covered)

    def close(self) -> None:
        """Remove the handlers and end the helper."""
        if self.settings.pid != os.getpid():  # a fork that Python has not seen
            self.forget()
            return
        native.disarm()
        _threads.uncover()
        self._end()
        self._close_sockets()

    def _end(self) -> None:
        """Of the helper; it has only its own work to lose."""
        if self._is_ours(self._control):
            with _as_socket(self._control) as control:
                control.shutdown(socket.SHUT_RDWR)
        if not self._is_ours(self._helper_fd):
            return
        if not self._ended(1.0):
            native.kill(self._helper_fd)
            self._ended(_GRACE)
        with contextlib.suppress(ChildProcessError):  # it is our child where orphans go to us
            os.waitpid(self.helper, os.WNOHANG)
        self._close(self._helper_fd)

    def _is_ours(self, fd: int) -> bool:
        """Whether it is still the one of the start: the program may close it, and use its number again."""
        try:
            return fd >= 0 and _identity(fd) == self._ours[fd]
        except OSError:
            return False

    def _close(self, fd: int) -> None:
        if self._is_ours(fd):
            os.close(fd)

    def _ended(self, seconds: float) -> bool:
        if not self._is_ours(self._helper_fd):
            return True
        waiter = select.poll()
        waiter.register(self._helper_fd, select.POLLIN)
        return bool(waiter.poll(seconds * 1000))

    def _close_sockets(self) -> None:
        self._close(self._control)
        self._close(self._crashes)

    def forget(self) -> None:
        """In a forked child: all of it is the parent's."""
        native.disarm()
        self._close_sockets()
        self._close(self._helper_fd)


def _identity(fd: int) -> tuple[int, int, bool]:
    """What tells a descriptor from others; before Linux 6.9 pidfds have an inode number that is not theirs alone."""
    about = os.fstat(fd)
    return about.st_dev, about.st_ino, native.is_pidfd(fd)


def _socket_pair(stack: contextlib.ExitStack, kind: int) -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair(type=kind)
    for end in (ours, theirs):
        end.setblocking(True)  # whatever socket.setdefaulttimeout() says
    fd = ours.detach()
    stack.callback(os.close, fd)
    return fd, theirs


@contextlib.contextmanager
def _as_socket(fd: int) -> Iterator[socket.socket]:
    borrowed = socket.socket(fileno=fd)
    borrowed.setblocking(True)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _checked(signals: Iterable[int]) -> tuple[int, ...]:
    known = _signal.valid_signals() - set(_HARMLESS)
    found = tuple(dict.fromkeys(int(number) for number in signals))
    wrong = [number for number in found if number not in known]
    if wrong or not found:
        raise ValueError(f"signals must be some that end a process, not {wrong or found}")
    return found


# ------------------------------------------------------------------------------------------------- alternate stacks

_stacks: native.Stacks | None = None


def _cover_threads() -> None:
    """Give the calling thread an alternate stack, and every one that `threading` starts from now on."""
    global _stacks
    if _stacks is None:
        _stacks = native.Stacks()
    stacks = _stacks
    stacks.cover()
    _threads.cover(lambda thread: stacks.cover())


def _forked() -> None:
    if _stacks is not None:
        _stacks.forked()


os.register_at_fork(after_in_child=_forked)
