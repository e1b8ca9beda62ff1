"""The progress line on a terminal: bytes, rate, time left."""

from __future__ import annotations

import time

from ..enums import Phase
from . import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from minidump_cffi import Progress


class ProgressLine:
    """Writes and rewrites one line; use as a context manager, which wipes it at the end.

    Parameters
    ----------
    out
        Usually stderr. If it is not a terminal, nothing is ever written.
    quiet
        Nothing is ever written.
    """

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._width = 0
        self._first: tuple[float, int] | None = None
        self._reading = False  # an input is copied
        self.active: bool = not quiet and out.isatty()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._show("")

    def __call__(self, progress: Progress) -> None:
        """Show a state; called about ten times a second."""
        if self.active:
            self._show(self.describe(progress, time.monotonic()))

    def describe(self, progress: Progress, now: float) -> str:
        """Return the line for a state at a time (seconds of the monotonic clock)."""
        if not progress.bytes_total:
            return f"{text.size(progress.bytes_done)} read" if progress.bytes_done else "looking at the process"
        reading = progress.phase == Phase.OPEN
        if self._first is None or self._reading != reading:
            self._first, self._reading = (now, progress.bytes_done), reading
        line = f"{text.size(progress.bytes_done)} of {text.size(progress.bytes_total)}"
        elapsed, done = now - self._first[0], progress.bytes_done - self._first[1]
        if elapsed > 0 and done > 0:
            rate = done / elapsed
            left = max(0, progress.bytes_total - progress.bytes_done) / rate
            line += f", {text.size(int(rate))}/s, {text.span(left)} left"
        return line + (", target stopped" if progress.stopped else "")

    def _show(self, line: str) -> None:
        if not self.active or (not line and not self._width):
            return
        # Spaces instead of an escape sequence: they wipe the rest of an older line on every terminal.
        self._out.write("\r" + line.ljust(self._width) + ("" if line else "\r"))
        self._out.flush()
        self._width = len(line)
