"""What outputs of all kinds have in common, on all systems: the interface, and how errors are reported."""

from __future__ import annotations

import os

from ..enums import Phase
from ..errors import SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Sink", "sink_error", "temporary_name"]


class Sink:
    """An output that is open. `fd` is the descriptor that is written, None if C writes through `io`.

    `made` says that this is a new regular file, which nothing else has open.

    Exactly one of `commit` and `discard` is called, when the dump has ended. If it `hands_on`, `commit` copies the dump
    from a temporary file, and calls `advance` with the bytes that are done and all of them.
    """

    fd: int | None = None
    io: Any = None
    hands_on = False
    made = False
    advance: Callable[[int, int], object] = staticmethod(lambda done, total: None)

    def room(self, most: int) -> int:
        """How long the dump may be so that the output has at most so many bytes."""
        return most

    def needed(self, least: int) -> int:
        """What `most` has to be for a dump of this length."""
        return least

    def commit(self, check: Callable[[], None]) -> None:
        """The dump is complete: put it in its place. `check` raises if the dump was cancelled."""

    def discard(self) -> None:
        """The dump failed: remove everything. Never raises."""


def sink_error(error: OSError, action: str, name: object, phase: Phase = Phase.OPEN) -> SinkError:
    """Our error for a refusal of the system."""
    text = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
    winerror: int | None = getattr(error, "winerror", None)
    number = f"errno {error.errno}" if winerror is None else f"error {winerror}"
    said = (error.strerror or str(error)).rstrip(".")  # Windows ends its sentences, and the number follows
    return SinkError(
        f"cannot {action} {text}: {said} ({number})",
        phase=phase,
        errno=error.errno,
        winerror=winerror,
        filename=name if isinstance(name, (str, bytes)) else None,
    )


def temporary_name() -> str:
    """An unused name, for a file that gets its final name later."""
    return f".minidump-{os.urandom(8).hex()}.tmp"
