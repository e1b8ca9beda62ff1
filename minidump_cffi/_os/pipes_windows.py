"""How a process and the one that dumps it talk, on Windows: an inherited handle, and pipes that are looked into."""

from __future__ import annotations

import contextlib
import ctypes
import msvcrt
import os
import subprocess
import sys
import time
from ctypes import wintypes

from . import windows as _windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

assert sys.platform == "win32"

__all__ = ["handed_over", "has_data", "is_closed", "read", "standard_occupied", "taken_over", "write_if_room"]

_LOOK = 0.01
_SAME_ACCESS = 2
_current_process = _windows.declare(_windows.kernel32, "GetCurrentProcess", _windows.HANDLE)
_duplicate = _windows.declare(
    _windows.kernel32,
    "DuplicateHandle",
    wintypes.BOOL,
    _windows.HANDLE,
    _windows.HANDLE,
    _windows.HANDLE,
    ctypes.POINTER(_windows.HANDLE),
    wintypes.DWORD,
    wintypes.BOOL,
    wintypes.DWORD,
)
_dword = ctypes.POINTER(wintypes.DWORD)
_peek = _windows.declare(
    _windows.kernel32,
    "PeekNamedPipe",
    wintypes.BOOL,
    _windows.HANDLE,
    ctypes.c_void_p,
    wintypes.DWORD,
    _dword,
    _dword,
    _dword,
)


standard_occupied = contextlib.nullcontext  # standard streams are handles there, and have no numbers


@contextlib.contextmanager
def handed_over(fd: int | None) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """What the other process calls our output, and what Popen needs to hand it over."""
    if fd is None:
        yield None, {}
        return
    own, ours = _current_process(), _windows.HANDLE()
    if not _duplicate(own, msvcrt.get_osfhandle(fd), own, ctypes.byref(ours), 0, True, _SAME_ACCESS):
        raise _windows.last_error()
    try:
        # Nothing else that can be inherited goes along.
        yield ours.value, {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [ours.value]})}
    finally:
        _windows.close_handle(ours)


def taken_over(number: int | None) -> int | None:
    """In the other process: the descriptor of the handle that was handed over."""
    return None if number is None else msvcrt.open_osfhandle(number, os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)


def _waiting(fd: int) -> int:
    """Bytes that can be read; -1 if the other end is closed."""
    count = wintypes.DWORD()
    found = _peek(msvcrt.get_osfhandle(fd), None, 0, None, ctypes.byref(count), None)
    return count.value if found else -1


def read(fd: int, seconds: float) -> bytes | None:
    """What has come, after at most this long; None for nothing, b"" if nothing will ever come."""
    until = time.monotonic() + seconds
    while not (count := _waiting(fd)):
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK)
    return os.read(fd, count) if count > 0 else b""


def has_data(fd: int) -> bool:
    """Whether something can be read.

    Raises
    ------
    EOFError
        The other end is closed.
    """
    count = _waiting(fd)
    if count < 0:
        raise EOFError
    return count > 0


def is_closed(fd: int) -> bool:
    """Whether the other end of a pipe is closed that nothing is sent through any more."""
    return _waiting(fd) != 0


def write_if_room(fd: int, data: bytes) -> None:
    """Write to a pipe. If its reader is stopped and there is no room this waits; the dump goes on meanwhile."""
    os.write(fd, data)
