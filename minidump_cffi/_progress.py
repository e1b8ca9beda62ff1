"""Where a running dump is."""

from __future__ import annotations

from ._record import Record
from .enums import Phase

__all__ = ["Progress"]


class Progress(Record):
    """Where a dump is.

    Attributes
    ----------
    phase : Phase
        What it does.
    stopped : bool
        Whether the threads of the target are stopped.
    bytes_done, bytes_total : int
        Of target memory; the total is 0 until the plan is made. With ``stop="memory"`` what was copied: when all is,
        and `stopped` is False, the dump is being written. In the phase HAND_ON of the dump's file.
    elapsed : float
        Seconds since the start.

    Examples
    --------
    >>> from minidump_cffi.report import Phase
    >>> Progress(phase=Phase.WRITE, stopped=True, bytes_done=1, bytes_total=4, elapsed=0.01).fraction
    0.25
    """

    phase: Phase
    stopped: bool
    bytes_done: int
    bytes_total: int
    elapsed: float

    @property
    def fraction(self) -> float | None:
        """Part that is done, from 0 to 1; None until the plan is made."""
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else None
