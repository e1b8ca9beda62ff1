"""Exceptions of Python that nothing caught: a dump with the traceback, then what was there before."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    Dump = Callable[[str, dict[str, str]], object]

__all__ = ["MOST", "Exceptions"]

MOST = 10
"""How many exceptions of one process are dumped: a fault in a pool of threads would fill a disk."""
_LONGEST = 200_000  # characters of a traceback: it is in the dump twice


class Exceptions:
    """The hooks of one `enable`.

    Parameters
    ----------
    dump
        Takes a dump with a comment and annotations.
    most
        How many.
    """

    def __init__(self, dump: Dump, most: int) -> None:
        self._dump, self._left = dump, most
        self._lock = threading.Lock()
        self._before: tuple[Any, Any] | None = None
        self._ours: tuple[Any, Any] = (self._of_program, self._of_thread)

    def install(self) -> None:
        """Put the hooks in front of those that are there."""
        self._before = sys.excepthook, threading.excepthook
        sys.excepthook, threading.excepthook = self._ours

    def remove(self) -> None:
        """Take them away, where they are still the first ones; elsewhere they hand on from now on."""
        self._left = 0
        if self._before is not None:
            if sys.excepthook is self._ours[0]:
                sys.excepthook = self._before[0]
            if threading.excepthook is self._ours[1]:
                threading.excepthook = self._before[1]

    def take(self, error: BaseException, what: str) -> None:
        """Dump because of this exception; never raises."""
        with self._lock:
            if self._left <= 0:
                return
            self._left -= 1
        try:
            text = _plain("".join(traceback.format_exception(error)))
            annotations = {
                "python.exception": _plain("".join(traceback.format_exception_only(error)).strip()),
                "python.traceback": text,
                "python.where": _plain(what),
            }
            self._dump(text, annotations)
        except Exception as failed:
            with contextlib.suppress(Exception):
                if sys.stderr is not None:  # print() would take stdout
                    print(f"minidump_cffi: no dump of this exception: {failed}", file=sys.stderr)

    def _of_program(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            self.take(error.with_traceback(where), "main thread")
        if self._before is not None:
            self._before[0](kind, error, where)

    def _of_thread(self, about: threading.ExceptHookArgs) -> None:
        if about.exc_value is not None and not isinstance(about.exc_value, SystemExit):
            self.take(about.exc_value, f"thread {about.thread.name if about.thread else threading.get_ident()}")
        if self._before is not None:
            self._before[1](about)


def _plain(text: str) -> str:
    """What a dump can hold: no NUL, no lone surrogates, not without end."""
    if len(text) > _LONGEST:
        text = text[: _LONGEST // 2] + "\n[...]\n" + text[-_LONGEST // 2 :]
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
