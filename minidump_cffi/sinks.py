"""Where the bytes of a dump go, seen from Python: paths, descriptors, file objects.

A dump either stands complete under its name or not at all. What a file object gets, it gets whole and after the target
runs again, unless the caller asks for `spool=False`.
"""

# ruff: noqa: PTH116 -- paths may be bytes here, which pathlib does not know

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .enums import Phase
from .errors import SinkError

__all__ = ["File", "Writable", "open_sink"]

CHUNK = 1 << 20
"""Bytes handed to a file object at a time."""
_FIFO_POLL = 0.02


@runtime_checkable
class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: Any, /) -> Any:
        """Take the bytes of `data`."""


File: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | Writable"
"""Where a dump can go."""


class Sink:
    """An output that is open. `fd` is what the C side writes to, None if it writes through `io`.

    Exactly one of `commit` and `discard` is called, when the dump has ended.
    """

    fd: int | None = None
    io: Any = None

    def commit(self, check: Callable[[], None]) -> None:
        """The dump is complete: put it in its place. `check` raises if somebody wants to end."""

    def discard(self) -> None:
        """The dump failed: leave nothing behind. Never raises."""


def sink_error(error: OSError, action: str, name: object, phase: Phase = Phase.OPEN) -> SinkError:
    """Our error for a refusal of the system."""
    text = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
    return SinkError(
        f"cannot {action} {text}: {error.strerror or error} (errno {error.errno})",
        phase=phase,
        errno=error.errno,
        filename=name if isinstance(name, (str, bytes)) else None,
    )


def open_sink(
    file: File | None,
    *,
    spool: bool | str | os.PathLike[str] = True,
    fsync: bool = False,
    give_up: Callable[[], None] = lambda: None,
) -> Sink:
    """Open the output a caller named.

    Parameters
    ----------
    file
        A path, a descriptor, an object with ``write()``, or None for nothing.
    spool
        For objects with ``write()``: False writes to them while the target stands; a directory says where the
        temporary file is made.
    fsync
        Flush the directory, too.
    give_up
        Called while waiting for the reader of a FIFO; raises to end the waiting.

    Raises
    ------
    SinkError
        It cannot be written.
    TypeError
        It is nothing that can be written to, or a file opened in text mode.
    """
    if file is None:
        return Sink()
    if isinstance(file, bool):
        raise TypeError("file must be a path, a descriptor or an object with write(), not a bool")
    if isinstance(file, int):
        return DescriptorSink(file)
    if isinstance(file, (str, bytes, os.PathLike)):
        return _open_path(os.fspath(file), fsync, give_up)
    if isinstance(file, io.TextIOBase) or (hasattr(file, "encoding") and not _binary(file)):
        raise TypeError(f"a dump is bytes, and {file!r} takes text: open it in binary mode ('wb'), or give its .buffer")
    if not callable(getattr(file, "write", None)):
        raise TypeError(f"file must be a path, a descriptor or an object with write(), not {file!r}")
    fd = _plain_descriptor(file)
    if fd is not None:
        return DescriptorSink(fd, file)
    if spool is False:
        return HookSink(file)
    return SpooledSink(file, None if spool is True else spool)


def _binary(file: Any) -> bool:
    mode = getattr(file, "mode", "")
    return isinstance(mode, str) and "b" in mode


def _plain_descriptor(file: Any) -> int | None:
    """The descriptor of a file object that does nothing but pass bytes on to it; None for all others."""
    raw = file
    if type(file) in (io.BufferedWriter, io.BufferedRandom):
        raw = file.raw
    if type(raw) is not io.FileIO:
        return None
    try:
        file.flush()  # which also takes a BufferedRandom back from what it read ahead
        fd: int = raw.fileno()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise sink_error(error, "flush", getattr(file, "name", file)) from error
        raise
    return fd


class DescriptorSink(Sink):
    """A descriptor of the caller's: written from its position, cut back to it when the dump fails."""

    def __init__(self, fd: int, owner: object = None) -> None:
        name = f"descriptor {fd}" if owner is None else getattr(owner, "name", owner)
        if not 0 <= fd < 1 << 31:
            raise SinkError(f"descriptor {fd} is not open", phase=Phase.OPEN, errno=errno.EBADF)
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            about = os.fstat(fd)
        except OSError as error:
            raise sink_error(error, "write to", name) from error
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise SinkError(f"{name} is not open for writing", phase=Phase.OPEN, errno=errno.EBADF)
        self.fd = fd
        self._owner = owner
        self._start: int | None = None
        if stat.S_ISREG(about.st_mode) and not flags & os.O_APPEND:
            with contextlib.suppress(OSError):
                self._start = os.lseek(fd, 0, os.SEEK_CUR)

    def commit(self, check: Callable[[], None]) -> None:
        if isinstance(self._owner, io.BufferedRandom) and self._start is not None:
            self._owner.seek(0, os.SEEK_CUR)  # it keeps a position of its own

    def discard(self) -> None:
        if self._start is not None and self.fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self._start)
                os.lseek(self.fd, self._start, os.SEEK_SET)


def _open_path(path: str | bytes, fsync: bool, give_up: Callable[[], None]) -> Sink:
    if not path:
        raise SinkError("the path of the dump is empty", phase=Phase.OPEN, errno=errno.ENOENT)
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return ReplacingSink(os.path.realpath(path), path, fsync)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):  # an embedded zero byte
            raise SinkError(f"{path!r} is no path: {error}", phase=Phase.OPEN, errno=errno.EINVAL) from None
        raise sink_error(error, "look at", path) from error
    if stat.S_ISREG(about.st_mode):
        real = os.path.realpath(path)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(real), about):
                return ReplacingSink(real, path, fsync)
        # /dev/fd/N of a file that has no name any more: there is nothing to replace.
    if stat.S_ISDIR(about.st_mode):
        raise SinkError(f"{os.fsdecode(path)} is a directory", phase=Phase.OPEN, errno=errno.EISDIR, filename=path)
    return StreamSink(path, give_up)


class StreamSink(Sink):
    """A FIFO, terminal or device by path."""

    def __init__(self, path: str | bytes, give_up: Callable[[], None]) -> None:
        # Without O_NONBLOCK the opening of a FIFO nobody reads hangs, and no signal handler's exception gets out.
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        while True:
            try:
                fd = os.open(path, flags)
                break
            except OSError as error:
                if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                    raise sink_error(error, "open", path) from error
            give_up()
            time.sleep(_FIFO_POLL)
        os.set_blocking(fd, True)
        self.fd = fd

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
    """A regular file that takes its name only when it is complete; mode 0600.

    It is made without a name (O_TMPFILE) where the file system can do that, so that nothing stays even if we are
    killed, and linked at the end. A file that has the name is replaced at once. A symbolic link is followed: what it
    points to is replaced.
    """

    def __init__(self, real: str | bytes, given: str | bytes, fsync: bool) -> None:
        real = os.fsdecode(real)
        self._given, self._fsync = given, fsync
        directory, self._name = os.path.split(real)
        self._temporary: str | None = None
        self._directory: int | None = None
        if not self._name:
            raise SinkError(f"{os.fsdecode(given)} names no file", phase=Phase.OPEN, errno=errno.EISDIR)
        try:
            self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.fd = self._create()
            os.fchmod(self.fd, 0o600)
        except OSError as error:
            self.discard()
            raise sink_error(error, "create", given) from error

    def _create(self) -> int:
        try:
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
        except OSError as error:
            # NFS, FUSE, overlay on some kernels: not every file system can make a file without a name.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            name = _temporary_name()
            with contextlib.suppress(FileExistsError):
                fd = os.open(name, flags, 0o600, dir_fd=self._directory)
                self._temporary = name
                return fd

    def commit(self, check: Callable[[], None]) -> None:
        try:
            new = True
            if self._temporary is None:
                self._link()
            if self._temporary is not None:
                new = self._stat() is None
                os.replace(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                self._temporary = None
        except OSError as error:
            self.discard()
            raise sink_error(error, "put in place", self._given, Phase.FINISH) from error
        try:
            if self._fsync and self._directory is not None:
                os.fsync(self._directory)
        except OSError as error:
            gone = new and self._remove()
            self.discard()
            failed = sink_error(error, "flush the folder of", self._given, Phase.FINISH)
            if not gone:
                failed.message += "; the dump stands under its name, but a crash of the system may undo that"
            raise failed from error
        self._close()

    def _stat(self) -> os.stat_result | None:
        """What has the name now."""
        try:
            return os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _remove(self) -> bool:
        """Take the name away from our file; False if it stays."""
        try:
            found = self._stat()
            if self.fd is not None and found is not None and os.path.samestat(found, os.fstat(self.fd)):
                os.unlink(self._name, dir_fd=self._directory)
        except OSError:
            return False
        return True

    def _link(self) -> None:
        """Give the nameless file its name; where that is taken, another one to rename."""
        source = f"/proc/self/fd/{self.fd}"
        name = self._name
        while True:
            try:
                # src_dir_fd makes Python call linkat, which follows the link; link() would not.
                os.link(source, name, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=True)
            except FileExistsError:
                name = _temporary_name()
                continue
            if name != self._name:
                self._temporary = name
            return

    def _close(self) -> None:
        for fd in (self.fd, self._directory):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self.fd = self._directory = None

    def discard(self) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._directory)
            self._temporary = None
        self._close()


def _temporary_name() -> str:
    return f".minidump-{os.urandom(8).hex()}.tmp"


class SpooledSink(Sink):
    """An object with write(): the dump goes to an unlinked temporary file, and from there to the object.

    Handing on needs no target: it runs already.
    """

    def __init__(self, file: Any, directory: str | os.PathLike[str] | None) -> None:
        import tempfile

        self._file = file
        try:
            self._spool = tempfile.TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 -- closed by commit or discard
        except OSError as error:
            raise sink_error(error, "create a temporary file in", directory or tempfile.gettempdir()) from error
        self.fd = self._spool.fileno()

    def commit(self, check: Callable[[], None]) -> None:
        try:
            self._spool.seek(0)
            buffer = memoryview(bytearray(CHUNK))
            while count := self._spool.readinto(buffer):
                check()
                put(self._file, buffer[:count])
        finally:
            self.discard()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._spool.close()
        self.fd = None


class HookSink(Sink):
    """An object with write() that is written while the target stands (`spool=False`)."""

    def __init__(self, file: Any) -> None:
        self.io = ForwardIo(file)


class ForwardIo:
    """Io callbacks (`IoHandler`) into an object with write(). Going back needs seek()."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._position = 0
        self._start: int | None = None

    def write(self, offset: int, data: memoryview) -> None:
        """Write at this offset, counted from where the object stood at first."""
        if offset != self._position:
            seek = getattr(self._file, "seek", None)
            if seek is None:
                raise SinkError(
                    f"the engine goes to offset {offset} after {self._position}, and {self._file!r} cannot seek",
                    phase=Phase.WRITE,
                    errno=errno.ESPIPE,
                )
            if self._start is None:
                self._start = self._file.tell() - self._position
            seek(self._start + offset)
        put(self._file, data)
        self._position = offset + len(data)

    def finish(self) -> None:
        """Flush, if the object can."""
        flush = getattr(self._file, "flush", None)
        if flush is not None:
            flush()


def put(file: Any, data: memoryview) -> None:
    """Write all of `data`. Only raw streams may take less: what others return is not always a count."""
    if not isinstance(file, io.RawIOBase):
        file.write(data)
        return
    while data:
        count = file.write(data)
        if count is None:
            raise SinkError(
                f"{file!r} is not ready and does not block: give one that does", phase=Phase.FINISH, errno=errno.EAGAIN
            )
        if count <= 0:
            raise SinkError(f"{file!r} takes no more bytes", phase=Phase.FINISH, errno=errno.EIO)
        data = data[count:]
