"""The helper process on Windows: it waits for a crash of the program that started it, and dumps it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from .. import _another, targets
from .._native import crash_windows as native
from .._os import windows as _windows
from ..causes import ExceptionInfo
from ..errors import TargetGone
from ._helper import END, Helper
from ._settings import Settings

assert sys.platform == "win32"

__all__ = ["main"]

_REQUESTS, _ANSWERS = 0, 1  # descriptors


def main() -> None:
    """Read the settings, say that all is ready, and serve until the program ends."""
    name, asked, answered = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    _, settings = _another.receive(_REQUESTS)
    try:
        server = _Server(settings, native.Exchange(name), asked, answered)
        server.helper.rehearse()
    except BaseException as error:
        _another.send(_ANSWERS, _another.message(b"e", _another.portable(error)))
        return
    _another.send(_ANSWERS, _another.message(b"r", None))
    server.serve()


class _Server:
    """The program, and the events and the memory that it shares with us."""

    def __init__(self, settings: Settings, exchange: native.Exchange, asked: int, answered: int) -> None:
        self.exchange, self.asked, self.answered = exchange, asked, answered
        self.process = _windows.open_process(settings.pid)
        if targets.start_time(settings.pid) != settings.start_time:
            raise TargetGone(f"process {settings.pid} has ended", pid=settings.pid)
        target = targets.Target(pid=settings.pid, start_time=settings.start_time, handle=self.process)
        self.helper = Helper(settings, target, blame=lambda tid: None)

    def serve(self) -> None:
        """Until the program ends, or needs us no longer."""
        threading.Thread(target=self._serve_requests, daemon=True).start()
        while native.wait(self.asked, self.process):
            self._crashed()

    def _crashed(self) -> None:
        request = self.exchange.request()
        name, failed, path = f"{request.code:#010x}", None, None
        cause = ExceptionInfo(thread_id=request.tid, pointers=request.pointers)
        try:
            path = self.helper.dump(name, exception=cause)
        except BaseException as error:
            failed = str(error) or type(error).__name__
        self.exchange.answer(failed)
        native.answer(self.answered)
        if path is not None and self.helper.settings.on_dump:
            _windows.wait(self.process, END)
            self.helper.hand_on(path, name)

    def _serve_requests(self) -> None:
        """Pipes cannot be waited for together with events."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                answer, path = self.helper.asked(_REQUESTS)
                _another.send(_ANSWERS, answer)
                if path is not None:
                    self.helper.hand_on(path, "requested")
        os._exit(0)  # the program has closed the pipe: it has ended, or needs us no longer
