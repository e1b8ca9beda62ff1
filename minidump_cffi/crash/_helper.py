"""The helper process: it waits for a crash of the program that started it, and dumps it.

All that a dump needs is there before: a first one is taken at the start and thrown away, which imports it and shows
that it is allowed. After the settings no pickle of the program is read: it may have fewer rights by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

from .. import _another, _running, targets
from .._native import crash as native
from .._os import sinks_posix
from .._record import replace
from .._request import Request
from ..causes import SignalInfo
from ..enums import DumpType
from ..errors import TargetGone
from ._settings import Settings, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._options import DumpOptions

assert sys.platform != "win32"

__all__ = ["main"]

_CONTROL, _CRASHES = 3, 4
_LONGEST = 1 << 24  # bytes of a request for a dump
_END = 10.0  # seconds that a crashed process may take to end until its dump is handed on


def main() -> None:
    """Read the settings, say that all is ready, and serve until the program ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # what ends the program, ends us by its end
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("mdc-crash")
    _, settings = _another.receive(_CONTROL)
    try:
        helper = _Helper(settings)
        helper.rehearse()
    except BaseException as error:
        _another.send(_CONTROL, _another.message(b"e", _another.portable(error)))
        return
    os.dup2(0, 2)  # what is said from here on has no reader
    _another.send(_CONTROL, _another.message(b"r", None))
    helper.serve()


class _Helper:
    """What is known of the program, and how it is dumped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pidfd = native.watch(settings.pid)
        if targets.start_time(settings.pid) != settings.start_time:
            raise TargetGone(f"process {settings.pid} has ended", pid=settings.pid)
        self.target = targets.Target(pid=settings.pid, pidfd=self.pidfd, start_time=settings.start_time)

    def rehearse(self) -> None:
        """A dump as after a crash, but a small one, and nothing of it stays."""
        blamed = SignalInfo(tid=self.settings.tid)
        options = replace(self.settings.options, type=DumpType.NORMAL, exception=blamed)
        sink = self._sink("SIGSEGV")
        try:
            self._run(options, sink)
        finally:
            sink.discard()

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
        data = os.read(_CRASHES, native.REQUEST_BYTES)
        if len(data) != native.REQUEST_BYTES:
            raise EOFError
        request = native.parse(data)
        name, failed, path = signal_name(request.signal), None, None
        try:
            try:
                cause = SignalInfo(tid=request.tid, ucontext=request.ucontext, siginfo=request.siginfo)
                path = self._dump(name, exception=cause)
            except ValueError:  # nothing that can be taken for a frame is there: so without its registers
                cause = SignalInfo(tid=request.tid, signal=request.signal, code=request.code, address=request.address)
                path = self._dump(name, exception=cause)
        except BaseException as error:
            failed = str(error) or type(error).__name__
        os.write(_CRASHES, native.answer(failed))
        if path is not None and self.settings.on_dump:
            _wait(self.pidfd, _END)
            self._hand_on(path, name)

    def _asked(self) -> None:
        kind, size = _another.HEADER.unpack(_another.exactly(_CONTROL, _another.HEADER.size))
        if kind != b"d" or size > _LONGEST:
            raise EOFError
        about = json.loads(_another.exactly(_CONTROL, size))
        options = self.settings.options
        changes = {
            "exception": SignalInfo(tid=about["tid"]),
            "comment": options.comment if about["comment"] is None else about["comment"],
            "annotations": {**(options.annotations or {}), **(about["annotations"] or {})},
        }
        try:
            path = self._dump("requested", **changes)
        except BaseException as error:
            _another.send(_CONTROL, _another.message(b"e", _another.portable(error)))
            return
        _another.send(_CONTROL, _another.message(b"r", path))
        self._hand_on(path, "requested")

    def _dump(self, name: str, **changes: Any) -> str:
        """Dump the program under a new name; the path."""
        sink = self._sink(name)
        try:
            self._run(replace(self.settings.options, **changes), sink)
            sink.commit(lambda: None)
        except BaseException:
            sink.discard()
            raise
        return sink.path

    def _sink(self, name: str) -> sinks_posix.NewFileSink:
        where = self.settings.names
        return sinks_posix.NewFileSink(where.folder, where.stem(self.settings.pid, name), where.suffix)

    def _run(self, options: DumpOptions, sink: sinks_posix.NewFileSink) -> None:
        _running.run(Request(options), self.target, sink, _running.Timer(options))

    def _hand_on(self, path: str, name: str) -> None:
        """Run the command that gets the dump, and do not wait for it."""
        if not self.settings.on_dump:
            return
        values = {"{path}": path, "{pid}": str(self.settings.pid), "{signal}": name}
        words = []
        for word in self.settings.on_dump:
            for field, value in values.items():
                word = word.replace(field, value)
            words.append(word)
        null = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)


def _wait(fd: int, seconds: float) -> None:
    """Wait for the end of the process."""
    waiter, until = select.poll(), time.monotonic() + seconds
    waiter.register(fd, select.POLLIN)
    while (left := until - time.monotonic()) > 0 and not waiter.poll(left * 1000):
        continue
