"""How a process and the one that dumps it talk, on POSIX: an inherited descriptor, and pipes that are polled."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

assert sys.platform != "win32"

__all__ = ["handed_over", "is_closed", "read", "standard_occupied", "taken_over", "write_if_room"]


@contextlib.contextmanager
def standard_occupied() -> Iterator[None]:
    """Descriptors opened in here are above 2, also in a process whose standard streams are closed.

    What other threads and C code write for people would get into a file or a pipe that has the number of one.
    """
    held: list[int] = []
    try:
        while not held or held[-1] <= 2:
            held.append(os.open("/", os.O_PATH | os.O_CLOEXEC))  # which nothing can be written to
        yield
    finally:
        for fd in held:
            os.close(fd)


@contextlib.contextmanager
def handed_over(fd: int | None) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """What the other process calls our output, and what Popen needs to hand it over."""
    if fd is None:
        yield None, {}
        return
    ours = fcntl.fcntl(
        fd, fcntl.F_DUPFD_CLOEXEC, 3
    )  # above the standard descriptors, which are pipes on the other side
    try:
        yield ours, {"pass_fds": (ours,)}
    finally:
        os.close(ours)


def taken_over(number: int | None) -> int | None:
    """In the other process: the descriptor that was handed over."""
    return number


def _ready(fd: int, event: int, seconds: float) -> bool:
    """Whether the descriptor can be read or written within so many seconds."""
    waiter = select.poll()  # select() knows no descriptors above 1023
    waiter.register(fd, event)
    return bool(waiter.poll(seconds * 1000))


def read(fd: int, seconds: float) -> bytes | None:
    """What has come, after at most this long; None for nothing, b"" if nothing will ever come."""
    return os.read(fd, 1 << 20) if _ready(fd, select.POLLIN, seconds) else None


def is_closed(fd: int) -> bool:
    """Whether the other end of a pipe is closed that nothing is sent through any more."""
    return _ready(fd, select.POLLIN, 0)


def write_if_room(fd: int, data: bytes) -> None:
    """Write to a pipe whose reader may be stopped, or drop the data: all or nothing, as it is shorter than PIPE_BUF."""
    os.set_blocking(fd, False)
    try:
        with contextlib.suppress(BlockingIOError):
            if _ready(fd, select.POLLOUT, 0):
                os.write(fd, data)
    finally:
        os.set_blocking(fd, True)
