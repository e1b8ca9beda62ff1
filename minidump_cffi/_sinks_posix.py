"""Outputs on POSIX: descriptors, FIFOs and devices, and files that have no name until they are complete."""

# ruff: noqa: PTH116 -- paths may be bytes here, which pathlib does not know

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable

from ._sinks_common import Sink, sink_error, temporary_name
from .enums import Phase
from .errors import SinkError

assert sys.platform != "win32"

__all__ = ["ReplacingSink", "StreamSink", "check_writable", "native", "special"]

_FIFO_POLL = 0.02


def native(fd: int) -> int:
    """What C calls a descriptor: itself."""
    return fd


def check_writable(fd: int, owner: object = None) -> bool:
    """Whether the descriptor is open for writing, and not for appending only.

    Raises
    ------
    OSError
        It is not open, or for reading only.
    """
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is not open for writing")
    return not flags & os.O_APPEND


def special(path: str | bytes) -> bool:
    """Whether the path is known to be a device without looking: nothing is."""
    return False


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
            name = temporary_name()
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
                name = temporary_name()
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
