"""The progress line on a terminal: bytes, rate, time left."""

from __future__ import annotations

import time

from ..enums import Phase
from . import terminal, text

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
        self._copying: Phase | None = None  # an input, or a dump that is handed on
        self.active: bool = not quiet and out.isatty()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._show("")

    def __call__(self, progress: Progress) -> None:
        """Show a state; called about ten times a second."""
        if self.active:
            # The last column stays free: some terminals go to the next line when it is written.
            room = (terminal.columns(self._out) or 81) - 1
            length = 30 if room >= 109 else 12 if room >= 78 else 0
            if length and progress.bytes_total:
                line = self.describe(progress, time.monotonic(), room - length - 3)
                self._show(f"[{self._bar(progress, length)}] {line}")
            else:
                self._show(self.describe(progress, time.monotonic(), room))

    def _bar(self, progress: Progress, length: int) -> str:
        letters = "█░" if terminal.has_blocks(self._out) else "#."
        done = min(length, length * progress.bytes_done // progress.bytes_total)
        return letters[0] * done + letters[1] * (length - done)

    def describe(self, progress: Progress, now: float, room: int = 80) -> str:
        """Return the line for a state at a time (seconds of the monotonic clock), in at most so many columns."""
        if not progress.bytes_total:
            line = f"{text.size(progress.bytes_done)} read" if progress.bytes_done else "looking at the process"
            return line[:room]
        copying = progress.phase if progress.phase in (Phase.OPEN, Phase.HAND_ON) else None
        if self._first is None or self._copying != copying:
            self._first, self._copying = (now, progress.bytes_done), copying
        done_of = f"{text.size(progress.bytes_done)} of {text.size(progress.bytes_total)}"
        parts = [""] * 3
        elapsed, done = now - self._first[0], progress.bytes_done - self._first[1]
        if elapsed > 0 and done > 0:
            rate = done / elapsed
            left = max(0, progress.bytes_total - progress.bytes_done) / rate
            parts[:2] = f", {text.size(int(rate))}/s", f", {text.span(left)} left"
        if progress.stopped:
            parts[2] = ", target stopped"
        elif copying == Phase.HAND_ON:
            parts[2] = ", target runs"
        while len(done_of) + sum(map(len, parts)) > room and any(parts):
            parts[next(at for at in (2, 0, 1) if parts[at])] = ""  # the time left is the last to go
        line = done_of + "".join(parts)
        if len(line) > room:
            line = f"{min(100, 100 * progress.bytes_done // progress.bytes_total)}%"
        return line

    def _show(self, line: str) -> None:
        if not self.active or (not line and not self._width):
            return
        # Spaces instead of an escape sequence: they wipe the rest of an older line on every terminal.
        self._out.write("\r" + line.ljust(self._width) + ("" if line else "\r"))
        self._out.flush()
        self._width = len(line)
