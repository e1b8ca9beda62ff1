"""What is done on each thread that `threading` starts: room for a handler after an overflow of its stack."""

from __future__ import annotations

import threading

from ..errors import DumpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["cover", "uncover"]

_bootstrap: Any = None  # what threading had before


def cover(each: Callable[[threading.Thread], object]) -> None:
    """Call this on every thread that is started from now on."""
    global _bootstrap
    if _bootstrap is not None:
        return
    before: Any = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def covered(thread: threading.Thread) -> None:
        try:  # noqa: SIM105 -- every thread pays for it
            each(thread)
        except (DumpError, MemoryError):
            pass  # without, all works but an overflow of its stack
        before(thread)

    _bootstrap = before
    threading.Thread._bootstrap_inner = covered  # type: ignore[attr-defined]


def uncover() -> None:
    """Threads that are started from now on get nothing."""
    global _bootstrap
    if _bootstrap is not None:
        threading.Thread._bootstrap_inner = _bootstrap  # type: ignore[attr-defined]
        _bootstrap = None
