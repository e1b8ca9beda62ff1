"""The helper process on POSIX: it waits for a crash of the program that started it, and dumps it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

from .. import _another, targets
from .._native import crash_posix as native
from ..causes import SignalInfo
from ..errors import TargetGone
from ._helper import END, Helper
from ._settings import Settings, signal_name

assert sys.platform != "win32"

__all__ = ["main"]

_CONTROL, _CRASHES = 3, 4
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


def main() -> None:
    """Read the settings, say that all is ready, and serve until the program ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # what ends the program, ends us by its end
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("mdc-crash")
    _, settings = _another.receive(_CONTROL)
    try:
        server = _Server(settings)
        server.helper.rehearse()
    except BaseException as error:
        _another.send(_CONTROL, _another.message(b"e", _another.portable(error)))
        return
    os.dup2(0, 2)  # what is said from here on has no reader
    _another.send(_CONTROL, _another.message(b"r", None))
    server.serve()


class _Server:
    """The program, and the sockets to it."""

    def __init__(self, settings: Settings) -> None:
        self.crashes = socket.socket(fileno=_CRASHES)
        self.crashes.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.pidfd = native.watch(settings.pid)
        if targets.start_time(settings.pid) != settings.start_time:
            raise TargetGone(f"process {settings.pid} has ended", pid=settings.pid)
        target = targets.Target(pid=settings.pid, pidfd=self.pidfd, start_time=settings.start_time)
        self.helper = Helper(settings, target, blame=lambda tid: SignalInfo(tid=tid))

    def serve(self) -> None:
        """Until the program ends, is replaced by another, or needs us no longer."""
        waiter = select.poll()
        for fd in (_CRASHES, _CONTROL, self.pidfd):
            waiter.register(fd, select.POLLIN)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                ready = {fd for fd, _ in waiter.poll()}
                if _CRASHES in ready:
                    self._crashed()
                elif _CONTROL in ready:
                    self._asked()
                elif self.pidfd in ready:
                    return

    def _crashed(self) -> None:
        data, about, _, _ = self.crashes.recvmsg(native.REQUEST_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
        if len(data) != native.REQUEST_BYTES:
            raise EOFError
        if not any(self._is_program(value) for _, kind, value in about if kind == socket.SCM_CREDENTIALS):
            os.write(_CRASHES, native.answer("this process was forked by the one that is watched"))
            return
        request = native.parse(data)
        name, failed, path = signal_name(request.signal), None, None
        try:
            try:
                cause = SignalInfo(tid=request.tid, ucontext=request.ucontext, siginfo=request.siginfo)
                path = self.helper.dump(name, exception=cause)
            except ValueError:  # nothing that can be taken for a frame is there: so without its registers
                cause = SignalInfo(tid=request.tid, signal=request.signal, code=request.code, address=request.address)
                path = self.helper.dump(name, exception=cause)
        except BaseException as error:
            failed = str(error) or type(error).__name__
        os.write(_CRASHES, native.answer(failed))
        if path is not None and self.helper.settings.on_dump:
            _wait(self.pidfd, END)
            self.helper.hand_on(path, name)

    def _is_program(self, credentials: bytes) -> bool:
        """Whether it has sent that: a child in a PID namespace of its own may take itself for its parent."""
        pid: int = _CREDENTIALS.unpack(credentials)[0]
        return pid == self.helper.settings.pid

    def _asked(self) -> None:
        answer, path = self.helper.asked(_CONTROL)
        _another.send(_CONTROL, answer)
        if path is not None:
            self.helper.hand_on(path, "requested")


def _wait(fd: int, seconds: float) -> None:
    """Wait for the end of the process."""
    waiter, until = select.poll(), time.monotonic() + seconds
    waiter.register(fd, select.POLLIN)
    while (left := until - time.monotonic()) > 0 and not waiter.poll(left * 1000):
        continue
