"""Crashes on Windows: the program's side. It starts the helper, installs the filter, and asks for dumps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
import weakref

from .. import _another, sinks
from .._native import crash_windows as native
from .._native.errors import start_refused
from .._os import pipes_windows
from .._os import windows as _windows
from .._record import replace
from ..errors import DumpError
from . import _threads
from ._requests import Requests
from ._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

assert sys.platform == "win32"

__all__ = ["Watch"]

_GRACE = 8.0  # seconds from the end of the time for a dump until it is given up: dbghelp is abandoned after 5
_SLICE = 0.05


class Watch(Requests):
    """A helper that watches this process, and the filter that asks it.

    Its handles are numbers, which no interpreter closes when it ends: the process may crash after that.
    """

    def __init__(
        self, settings: Settings, signals: Iterable[int] | None, *, chain: bool, dumpable: bool, python: str | None
    ) -> None:
        if signals is not None or dumpable:
            raise ValueError("signals and dumpable are for POSIX: on Windows every unhandled exception is dumped")
        truncates = settings.options.truncates
        if settings.options.engine not in ("auto", "native") and truncates:
            raise DumpError(
                'on_limit="truncate": dbghelp does not end a stop before all is written: give engine="native"',
                hint='engine="native"',
            )
        # dbghelp has no limit of the stop: there is the deadline.
        if settings.options.engine != "native" and not truncates:
            settings = replace(settings, options=replace(settings.options, max_stop=None))
        self.settings = settings
        self.signals: tuple[int, ...] = ()
        self._covered: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        super().__init__((settings.options.deadline or 0) + _GRACE)
        name = f"Local\\minidump_cffi-{uuid.uuid4().hex}"
        self._shared = native.Exchange(name)
        with contextlib.ExitStack() as stack:
            self._asked, self._answered = (_event(stack) for _ in range(2))
            command = _another.command("crash._helper_windows", "crashes are dumped", python)
            self._start([*command, name, str(self._asked), str(self._answered)], stack)
            native.arm(
                asked=self._asked,
                answered=self._answered,
                helper=self._process,
                exchange=self._shared,
                chain=chain,
                wait=self._seconds,
            )
            self._cover(threading.current_thread())
            _threads.cover(self._cover)
            stack.pop_all()

    def _start(self, command: list[str], stack: contextlib.ExitStack) -> None:
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [self._asked, self._answered]})
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        with sinks.scratch_file() as errors:
            try:
                child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, startupinfo=startup,
                    creationflags=flags,
                )  # fmt: skip
            except OSError as error:
                raise start_refused(error.errno or 0, "cannot start the process that dumps crashes") from error
            assert child.stdin is not None and child.stdout is not None
            self.helper, self._process = child.pid, child._handle.Detach()  # type: ignore[attr-defined]
            child.returncode = 0  # it is ours from here on: a Popen would say that it still runs
            self._requests, self._answers = os.dup(child.stdin.fileno()), os.dup(child.stdout.fileno())
            stack.callback(self._end)
            child.stdin.close()
            child.stdout.close()
            self.begin(self.settings, errors)

    def _exchange(self, request: bytes, seconds: float) -> tuple[bytes, Any]:
        until = time.monotonic() + seconds
        try:
            _another.send(self._requests, request)
            while not pipes_windows.has_data(self._answers):
                if time.monotonic() >= until:
                    raise TimeoutError
                time.sleep(_SLICE)
            return _another.receive(self._answers)
        except TimeoutError:
            raise
        except OSError:
            raise EOFError from None

    @property
    def dumps(self) -> int:
        """How many were taken."""
        return self._taken + native.dumps()

    @property
    def alive(self) -> bool:
        """Whether the helper is."""
        return not _windows.wait(self._process, 0)

    def _cover(self, thread: threading.Thread) -> None:
        if native.cover_thread():
            self._covered.add(thread)

    def threads(self) -> tuple[int, int]:
        """How many threads have room for the filter after a stack overflow, and how many of `threading` may not."""
        covered = sum(thread.is_alive() for thread in self._covered)
        return covered, max(0, threading.active_count() - covered)

    def close(self) -> None:
        """Remove the filter and end the helper."""
        native.disarm()
        _threads.uncover()
        self._end()
        for handle in (self._asked, self._answered):
            _windows.close_handle(handle)

    def _end(self) -> None:
        os.close(self._requests)  # by which it ends
        if not _windows.wait(self._process, _GRACE):
            _windows.terminate(self._process)
            _windows.wait(self._process, _GRACE)
        os.close(self._answers)
        _windows.close_handle(self._process)

    def forget(self) -> None:
        """Do nothing: Windows does not fork."""


def _event(stack: contextlib.ExitStack) -> int:
    handle = _windows.new_event()
    stack.callback(_windows.close_handle, handle)
    os.set_handle_inheritable(handle, True)
    return handle
