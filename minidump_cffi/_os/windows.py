"""What Windows says about processes, handles and memory, through ctypes: the counterpart of `_proc`."""

from __future__ import annotations

import ctypes
import errno
import sys
from ctypes import wintypes

from ..errors import AccessDenied, TargetError, TargetGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

assert sys.platform == "win32"

__all__ = [
    "HANDLE",
    "check_consumer",
    "close_handle",
    "declare",
    "granted_access",
    "kernel32",
    "last_error",
    "new_event",
    "open_handle",
    "open_process",
    "pid_of_fd",
    "process_handle",
    "program_of",
    "start_time",
    "terminate",
    "wait",
]

HANDLE = ctypes.c_void_p
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_QUERY_LIMITED, _SYNCHRONIZE = 0x1000, 0x0010_0000
_WAIT_OBJECT_0 = 0
_ACCESS_DENIED = 5
_DUMP = 0x1FFFFF  # PROCESS_ALL_ACCESS: what engines ask for differs


def declare(library: ctypes.WinDLL, name: str, result: Any, *arguments: Any) -> Any:
    """A function of a library with its types; by default ctypes assumes 32 bits."""
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


_open_process = declare(kernel32, "OpenProcess", HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
close_handle = declare(kernel32, "CloseHandle", wintypes.BOOL, HANDLE)
_get_process_id = declare(kernel32, "GetProcessId", wintypes.DWORD, HANDLE)
_wait = declare(kernel32, "WaitForSingleObject", wintypes.DWORD, HANDLE, wintypes.DWORD)
_create_event = declare(
    kernel32, "CreateEventW", HANDLE, ctypes.c_void_p, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR
)
_terminate = declare(kernel32, "TerminateProcess", wintypes.BOOL, HANDLE, wintypes.UINT)
_query_image_name = declare(
    kernel32, "QueryFullProcessImageNameW", wintypes.BOOL, HANDLE, wintypes.DWORD, wintypes.LPWSTR,
    ctypes.POINTER(wintypes.DWORD),
)  # fmt: skip
_filetime = ctypes.POINTER(ctypes.c_uint64)
_get_process_times = declare(kernel32, "GetProcessTimes", wintypes.BOOL, HANDLE, *[_filetime] * 4)


class _ObjectInformation(ctypes.Structure):
    """PUBLIC_OBJECT_BASIC_INFORMATION."""

    _fields_ = [
        ("Attributes", wintypes.ULONG),
        ("GrantedAccess", wintypes.DWORD),
        ("HandleCount", wintypes.ULONG),
        ("PointerCount", wintypes.ULONG),
        ("Reserved", wintypes.ULONG * 10),
    ]


def last_error() -> OSError:
    """What the system said last on this thread, as an OSError with errno and winerror."""
    return ctypes.WinError(ctypes.get_last_error())


def pid_of_fd(fd: int) -> int:
    """Refuse: pidfds are for Linux."""
    raise TargetError(
        f"PidFd({fd}) names a process on Linux only: on Windows give a pid, a Popen or Handle(handle)",
        hint="give a pid, a Popen or Handle(handle)",
    )


def open_handle(handle: int) -> tuple[int, int]:
    """Process id (0 if the handle does not allow to ask) and the HANDLE as C takes it.

    Raises
    ------
    TargetGone
        The process has ended.
    TargetError
        It is not the handle of a process.
    """
    pid = int(_get_process_id(handle))
    if not pid:
        error = last_error()
        if error.winerror != _ACCESS_DENIED:
            text = str(error.strerror).rstrip(".")  # the number follows
            raise TargetError(
                f"Handle({handle}) is not the handle of a process: {text} (error {error.winerror})",
                winerror=error.winerror,
            )
    if _wait(handle, 0) == _WAIT_OBJECT_0:
        raise TargetGone(f"process {pid or f'of Handle({handle})'} has ended", pid=pid or None, errno=errno.ESRCH)
    return pid, ctypes.c_int64(handle).value


def process_handle(process: Any) -> int:
    """The HANDLE of a Popen or a multiprocessing.Process, 0 if there is none.

    While it is open the process id cannot be used again.
    """
    from multiprocessing.process import BaseProcess

    handle = process.sentinel if isinstance(process, BaseProcess) else getattr(process, "_handle", None)
    if isinstance(handle, bool) or not isinstance(handle, int) or int(_get_process_id(int(handle))) != process.pid:
        return 0
    return int(handle)


def wait(handle: int, seconds: float) -> bool:
    """Whether the object is signalled, or the process has ended, within so many seconds."""
    return int(_wait(handle, int(seconds * 1000))) == _WAIT_OBJECT_0


def new_event() -> int:
    """An event that resets by itself.

    Raises
    ------
    OSError
        There are no more handles.
    """
    handle = _create_event(None, False, False, None)
    if not handle:
        raise last_error()
    return int(handle)


def open_process(pid: int) -> int:
    """A handle to dump a process with, and to wait for its end.

    Raises
    ------
    AccessDenied, TargetGone
        It cannot be had.
    """
    handle = _open_process(_DUMP, False, pid)
    if handle:
        return int(handle)
    error = last_error()
    kind = AccessDenied if error.winerror == _ACCESS_DENIED else TargetGone
    raise kind(f"cannot open process {pid}: {error.strerror}", pid=pid, winerror=error.winerror)


def terminate(handle: int) -> None:
    """End a process."""
    _terminate(handle, 1)


def program_of(pid: int) -> str:
    """The name of the program of a process, without .exe; empty if that cannot be found out."""
    handle = _open_process(_QUERY_LIMITED, False, pid)
    if not handle:
        return ""
    try:
        path, size = ctypes.create_unicode_buffer(32768), wintypes.DWORD(32768)
        found = _query_image_name(handle, 0, path, ctypes.byref(size))
        return path.value.rpartition("\\")[2].removesuffix(".exe") if found else ""
    finally:
        close_handle(handle)


def start_time(pid: int) -> int | None:
    """FILETIME of the creation of a process; None if there is no such process, 0 if access to it is denied."""
    handle = _open_process(_QUERY_LIMITED, False, pid)
    if not handle:
        return 0 if ctypes.get_last_error() == _ACCESS_DENIED else None
    try:
        times = [ctypes.c_uint64() for _ in range(4)]
        return times[0].value if _get_process_times(handle, *map(ctypes.byref, times)) else 0
    finally:
        close_handle(handle)


def check_consumer(pid: int, fd: int) -> None:
    """Do nothing: Windows does not report pipe readers. A target that reads its own dump hangs until the deadline."""


def granted_access(handle: int) -> int | None:
    """The rights a handle was opened with, such as FILE_WRITE_DATA; None if the system does not say."""
    found = _ObjectInformation()
    query = declare(
        ctypes.WinDLL("ntdll"), "NtQueryObject", ctypes.c_long, HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.ULONG,
        ctypes.c_void_p,
    )  # fmt: skip
    status = query(handle, 0, ctypes.byref(found), ctypes.sizeof(found), None)  # ObjectBasicInformation
    return int(found.GrantedAccess) if status >= 0 else None
