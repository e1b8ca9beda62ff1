"""Outputs on Windows: handles of descriptors, devices and pipes, and files that vanish unless they are completed."""

# ruff: noqa: PTH116 -- paths may be bytes here, which pathlib does not know

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import msvcrt
import os
import re
import stat
import sys
import tempfile
import time
from ctypes import wintypes

from ..enums import Phase
from ..errors import SinkError
from . import windows as _windows
from .sinks_common import Sink, sink_error, temporary_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

assert sys.platform == "win32"

__all__ = ["ReplacingSink", "StreamSink", "allow_holes", "check_writable", "native", "open_path", "temporary_file"]

_PIPE_POLL = 0.02
_GENERIC_READ, _GENERIC_WRITE, _DELETE = 0x8000_0000, 0x4000_0000, 0x0001_0000
_CREATE_NEW, _OPEN_EXISTING = 1, 3
_SHARE_READ_WRITE = 3
_FILE_WRITE_DATA, _FILE_APPEND_DATA = 0x2, 0x4
_RENAME_INFO, _DISPOSITION_INFO = 3, 4  # FILE_INFO_BY_HANDLE_CLASS
_PIPE_BUSY = 231
_SET_SPARSE = 0x000900C4  # FSCTL_SET_SPARSE
_INVALID_HANDLE = ctypes.c_void_p(-1).value
# Full access for the owner, the system and administrators, and for no others; nothing is inherited.
_OWNER_ONLY = "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)"
# Names of a device in every directory.
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *([.:].*)?", re.IGNORECASE)


class _SecurityAttributes(ctypes.Structure):
    _fields_ = [("Length", wintypes.DWORD), ("Descriptor", ctypes.c_void_p), ("InheritHandle", wintypes.BOOL)]


_create_file = _windows.declare(
    _windows.kernel32, "CreateFileW", _windows.HANDLE, wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD,
    ctypes.POINTER(_SecurityAttributes), wintypes.DWORD, wintypes.DWORD, _windows.HANDLE,
)  # fmt: skip
_set_information = _windows.declare(
    _windows.kernel32,
    "SetFileInformationByHandle",
    wintypes.BOOL,
    _windows.HANDLE,
    ctypes.c_int,
    ctypes.c_void_p,
    wintypes.DWORD,
)
_io_control = _windows.declare(
    _windows.kernel32, "DeviceIoControl", wintypes.BOOL, _windows.HANDLE, wintypes.DWORD, ctypes.c_void_p,
    wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD), ctypes.c_void_p,
)  # fmt: skip
_local_free = _windows.declare(_windows.kernel32, "LocalFree", _windows.HANDLE, _windows.HANDLE)


def native(fd: int) -> int:
    """What C calls a descriptor of Python's run-time library, which is not C's: its HANDLE."""
    return msvcrt.get_osfhandle(fd)


def allow_holes(fd: int) -> None:
    """Let what is never written take no room, where the file system can do that."""
    unused = wintypes.DWORD()
    _io_control(native(fd), _SET_SPARSE, None, 0, None, 0, ctypes.byref(unused), None)


def check_writable(fd: int, owner: object = None) -> bool:
    """Whether the descriptor is open for writing, at its position.

    Whether a bare descriptor was opened for appending is not known here: it must be at the end.

    Raises
    ------
    OSError
        It is not open, or for reading only.
    """
    access = _windows.granted_access(native(fd))
    if access is not None and not access & (_FILE_WRITE_DATA | _FILE_APPEND_DATA):
        raise OSError(errno.EBADF, "it is not open for writing")
    if "a" in str(getattr(owner, "mode", "")):
        os.lseek(fd, 0, os.SEEK_END)
    return True


def special(path: str | bytes) -> bool:
    r"""Whether the path names a device or pipe: ``\\.\...``, which looking at would connect to."""
    return os.fsdecode(path).replace("/", "\\").startswith(("\\\\.\\", "\\\\?\\pipe\\"))


def _open(path: str, access: int, disposition: int, *, share: int = 0, security: Any = None) -> int:
    """CreateFileW, as a descriptor that children do not inherit."""
    handle = _create_file(path, access, share, security, disposition, 0x80, None)  # FILE_ATTRIBUTE_NORMAL
    if handle in (None, _INVALID_HANDLE):
        raise _windows.last_error()
    return msvcrt.open_osfhandle(handle, os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)


def open_path(path: str | bytes, fsync: bool, give_up: Callable[[], None]) -> Sink:
    """The sink of a path that is not empty."""
    if special(path):
        return StreamSink(path, give_up)
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return ReplacingSink(os.path.realpath(path), path, fsync)
    except ValueError as error:  # an embedded zero byte
        raise SinkError(f"invalid path {path!r}: {error}", phase=Phase.OPEN, errno=errno.EINVAL) from None
    except OSError as error:
        raise sink_error(error, "inspect", path) from error
    if stat.S_ISREG(about.st_mode):
        real = os.path.realpath(path)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(real), about):
                return ReplacingSink(real, path, fsync)
    if stat.S_ISDIR(about.st_mode):
        raise SinkError(f"{os.fsdecode(path)} is a directory", phase=Phase.OPEN, errno=errno.EISDIR, filename=path)
    return StreamSink(path, give_up)


def scratch_file() -> io.FileIO:
    """A file in the folder for temporary files that goes when it is closed."""
    return temporary_file(tempfile.gettempdir())


def temporary_file(directory: str | bytes) -> io.FileIO:
    """A file in the directory that is removed when it is closed, for reading and writing.

    Raises
    ------
    OSError
        It cannot be made.
    """
    file: Any = tempfile.TemporaryFile(buffering=0, dir=os.fsdecode(directory))  # noqa: SIM115 -- the caller closes it
    return file  # type: ignore[no-any-return]


class StreamSink(Sink):
    """A pipe, console or device by path."""

    def __init__(self, path: str | bytes, give_up: Callable[[], None]) -> None:
        while True:
            try:
                self.fd = _open(os.fsdecode(path), _GENERIC_WRITE, _OPEN_EXISTING, share=_SHARE_READ_WRITE)
                return
            except ValueError as error:  # an embedded zero byte
                raise SinkError(f"invalid path {path!r}: {error}", phase=Phase.OPEN, errno=errno.EINVAL) from None
            except OSError as error:
                if error.winerror != _PIPE_BUSY:
                    raise sink_error(error, "open", path) from error
            give_up()
            time.sleep(_PIPE_POLL)

    def _close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def commit(self, check: Callable[[], None]) -> None:
        self._close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._close()


class ReplacingSink(Sink):
    """A regular file that takes its name only when it is complete, for its owner, the system and administrators.

    It is made in the same directory under another name, with a mark that removes it when its last handle is closed, so
    that nothing remains even if we are killed. At the end the mark is removed and the file renamed, through the same
    handle: no other process can open it before. An existing file of that name is replaced atomically. A symbolic link
    is followed.
    """

    def __init__(self, real: str | bytes, given: str | bytes, fsync: bool) -> None:
        self._real, self._given = os.fsdecode(real), given  # C flushes the file; folders cannot be flushed here
        self._marked = False
        directory, name = os.path.split(self._real)
        self._temporary = os.path.join(directory, temporary_name())  # noqa: PTH118
        _check_name(self._real, name, given)
        try:
            with _owner_only() as security:
                access = _GENERIC_READ | _GENERIC_WRITE | _DELETE
                self.fd = _open(self._temporary, access, _CREATE_NEW, security=security)
        except OSError as error:
            raise sink_error(error, "create", given) from error
        self._marked = self._mark(True)

    def _mark(self, remove: bool) -> bool:
        """FILE_DISPOSITION_INFO; False where the file system does not have it."""
        assert self.fd is not None
        flag = ctypes.c_ubyte(remove)
        return bool(_set_information(native(self.fd), _DISPOSITION_INFO, ctypes.byref(flag), 1))

    def commit(self, check: Callable[[], None]) -> None:
        assert self.fd is not None
        try:
            if self._marked and not self._mark(False):
                raise _windows.last_error()
            self._marked = False
            self._take_name()
        except OSError as error:
            self.discard()
            raise sink_error(error, "put in place", self._given, Phase.FINISH) from error
        self._close()

    def _take_name(self) -> None:
        if not self._rename(replace=True):
            self._leave()
            os.replace(self._temporary, self._real)  # noqa: PTH105

    def _leave(self) -> None:
        """Some redirectors cannot rename through a handle; without it the file has no owner for a moment."""
        assert self.fd is not None
        os.close(self.fd)
        self.fd = None

    def _rename(self, *, replace: bool) -> bool:
        assert self.fd is not None

        class Information(ctypes.Structure):  # FILE_RENAME_INFO with its name
            _fields_ = [
                ("ReplaceIfExists", wintypes.DWORD),
                ("RootDirectory", _windows.HANDLE),
                ("FileNameLength", wintypes.DWORD),
                ("FileName", ctypes.c_wchar * (len(self._real) + 1)),
            ]

        found = Information(replace, None, len(self._real.encode("utf-16-le", "surrogatepass")), self._real)
        return bool(_set_information(native(self.fd), _RENAME_INFO, ctypes.byref(found), ctypes.sizeof(found)))

    def _close(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def discard(self) -> None:
        remove = self.fd is not None and not self._marked and not self._mark(True)
        self._close()
        if remove or os.path.lexists(self._temporary):
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108


class NewFileSink(ReplacingSink):
    """A regular file that replaces none: where the name is taken, a number follows it.

    Parameters
    ----------
    folder
        Where it is made.
    stem, suffix
        Its name, before and after the number.
    """

    def __init__(self, folder: str, stem: str, suffix: str) -> None:
        self._stem = os.path.join(folder, stem)  # noqa: PTH118
        self._suffix = suffix
        self.path = self._stem + suffix
        super().__init__(self.path, self.path, fsync=False)

    def _take_name(self) -> None:
        """Take the first name that is free; `path` is the one."""
        number = 1
        while not self._take():
            number += 1
            self.path = self._real = f"{self._stem}-{number}{self._suffix}"

    def _take(self) -> bool:
        if self.fd is not None and self._rename(replace=False):
            return True
        if os.path.lexists(self._real):
            return False
        if self.fd is not None:
            self._leave()
        try:
            os.rename(self._temporary, self._real)  # noqa: PTH104
        except FileExistsError:
            return False
        return True


def _check_name(real: str, name: str, given: str | bytes) -> None:
    """Refuse names that Windows would take for something else than a file in this folder."""
    why = None
    if not name:
        raise SinkError(f"{os.fsdecode(given)} is not the name of a file", phase=Phase.OPEN, errno=errno.EISDIR)
    if ":" in name:
        why = "the part after ':' would be a stream of another file"
    elif not real.startswith("\\\\?\\") and _RESERVED.fullmatch(name):
        why = "Windows reserves this name for a device"
    elif name[-1] in ". ":
        why = "Windows removes dots and spaces from the end of a name"
    if why is not None:
        raise SinkError(f"cannot create {os.fsdecode(given)}: {why}", phase=Phase.OPEN, errno=errno.EINVAL)


@contextlib.contextmanager
def _owner_only() -> Any:
    """SECURITY_ATTRIBUTES for the owner only; None where the system cannot make them."""
    convert = _windows.declare(
        ctypes.WinDLL("advapi32"), "ConvertStringSecurityDescriptorToSecurityDescriptorW", wintypes.BOOL,
        wintypes.LPCWSTR, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p,
    )  # fmt: skip
    descriptor = ctypes.c_void_p()
    if not convert(_OWNER_ONLY, 1, ctypes.byref(descriptor), None):
        yield None
        return
    try:
        yield ctypes.byref(_SecurityAttributes(ctypes.sizeof(_SecurityAttributes), descriptor, False))
    finally:
        _local_free(descriptor)
