"""Types for callers who annotate wrappers of `write_dump`."""

from __future__ import annotations

import os
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .targets import Handle, PidFd

__all__ = ["File", "HasPid", "Process", "Writable"]


@runtime_checkable
class HasPid(Protocol):
    """Anything that knows its process: Popen, psutil.Process, multiprocessing.Process, asyncio's Process."""

    @property
    def pid(self) -> int | None:
        """The process id; None if it was not started."""


@runtime_checkable
class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: Any, /) -> Any:
        """Take the bytes of `data`."""


Process: TypeAlias = int | PidFd | Handle | HasPid
"""What can be dumped. A bare int is always a pid."""

File: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | Writable
"""Where a dump can go."""
