"""Outputs on POSIX: descriptors, FIFOs and devices, and files that have no name until they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import sys
import time

from ..enums import Phase
from ..errors import SinkError
from . import paths_posix, pipes_posix
from .sinks_common import Sink, sink_error, temporary_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

assert sys.platform != "win32"

__all__ = [
    "NewFileSink",
    "ReplacingSink",
    "StreamSink",
    "allow_holes",
    "check_writable",
    "native",
    "open_path",
    "scratch_file",
    "temporary_file",
]

_FIFO_POLL = 0.02


def native(fd: int) -> int:
    """What C calls a descriptor: itself."""
    return fd


def allow_holes(fd: int) -> None:
    """Files of POSIX have holes wherever nothing was written."""


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


def open_path(path: str | bytes, fsync: bool, give_up: Callable[[], None]) -> Sink:
    """The sink of a path that is not empty."""
    try:
        found = paths_posix.resolve(path)
    except ValueError as error:  # an embedded zero byte
        raise SinkError(f"invalid path {path!r}: {error}", phase=Phase.OPEN, errno=errno.EINVAL) from None
    except OSError as error:
        action = "create" if isinstance(error, FileNotFoundError) else "inspect"
        raise sink_error(error, action, path) from error
    with found as place:
        about = place.about
        if about is None or (stat.S_ISREG(about.st_mode) and not place.magic):
            return ReplacingSink(place, path, fsync)
        if stat.S_ISDIR(about.st_mode):
            text = f"{os.fsdecode(path)} is a directory"
            raise SinkError(text, phase=Phase.OPEN, errno=errno.EISDIR, filename=path)
        if place.foreign:
            raise SinkError(
                f"{os.fsdecode(path)} is a {'FIFO' if stat.S_ISFIFO(about.st_mode) else 'special file'} of user "
                f"{about.st_uid} in a directory that others can write: remove it, or name a directory that only you "
                "can write",
                phase=Phase.OPEN,
                errno=errno.EACCES,
                filename=path,
            )
        if stat.S_ISREG(about.st_mode):
            # A descriptor by its path; if its file has no name any more, there is nothing to replace.
            with (
                contextlib.suppress(OSError),
                paths_posix.resolve(os.readlink(place.name, dir_fd=place.directory)) as real,
            ):
                if real.about is not None and os.path.samestat(real.about, about) and not real.magic:
                    return ReplacingSink(real, path, fsync)
        return StreamSink(place, path, give_up)


class StreamSink(Sink):
    """A FIFO, terminal or device by path."""

    def __init__(self, place: paths_posix.Place, path: str | bytes, give_up: Callable[[], None]) -> None:
        # Without O_NONBLOCK opening a FIFO without a reader hangs, and no signal handler's exception gets out.
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
        fifo = place.about is not None and stat.S_ISFIFO(place.about.st_mode)
        while True:
            try:
                with pipes_posix.standard_occupied():
                    fd = place.open(flags)
                break
            except OSError as error:
                if error.errno != errno.ENXIO or not fifo:
                    raise sink_error(error, "open", path) from error
            give_up()
            time.sleep(_FIFO_POLL)
        os.set_blocking(fd, True)
        self.fd = fd

    def _close(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    def commit(self, check: Callable[[], None]) -> None:
        self._close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._close()


def _create(directory: int, named: Callable[[str | None], object]) -> int:
    """A new file in the directory, without a name where the file system can do that; else `named` is told it before.

    `directory` has the lowest number that was free, and what was opened before it is open still.
    """
    if directory > 2:  # so those of the standard streams are taken
        return _create_any(directory, named)
    with pipes_posix.standard_occupied():
        return _create_any(directory, named)


def _create_any(directory: int, named: Callable[[str | None], object]) -> int:
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError as error:
        # NFS, FUSE, overlay on some kernels: not every file system can make a file without a name.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        name = temporary_name()
        named(name)
        try:
            return os.open(name, flags, 0o600, dir_fd=directory)
        except OSError as error:
            named(None)
            if not isinstance(error, FileExistsError):
                raise


def temporary_file(directory: str | bytes) -> io.FileIO:
    """A file without a name in the directory, for reading and writing.

    Raises
    ------
    OSError
        It cannot be made, or its path has a link of another user.
    """
    with paths_posix.resolve(directory) as place:
        if place.about is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        folder = place.open(os.O_RDONLY | os.O_DIRECTORY)
        try:
            names: list[str | None] = [None]
            fd = _create(folder, names.append)
            if names[-1] is not None:
                os.unlink(names[-1], dir_fd=folder)
            return io.FileIO(fd, "r+")
        finally:
            os.close(folder)


def scratch_file() -> io.FileIO:
    """A file without a name in the directory for temporary files; in memory if no such directory is writable.

    Raises
    ------
    OSError
        It cannot be made, or its path has a link of another user.
    """
    try:
        import tempfile  # as long to import as all of this

        return temporary_file(tempfile.gettempdir())
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EROFS):
            raise
    with pipes_posix.standard_occupied():
        return io.FileIO(os.memfd_create("minidump-cffi"), "r+")


class ReplacingSink(Sink):
    """A regular file that takes its name only when it is complete; mode 0600.

    It is made without a name (O_TMPFILE) where the file system can do that, so that nothing remains even if we are
    killed, and linked at the end. An existing file of that name is replaced atomically. A symbolic link is followed if
    no other user could have put it there: its target is replaced.
    """

    made = True
    _temporary: str | None = None
    _directory: int | None = None

    def __init__(self, place: paths_posix.Place, given: str | bytes, fsync: bool) -> None:
        self._given, self._fsync = given, fsync
        self._name = place.name
        self._taken = place.about is not None
        if os.fsdecode(given).endswith("/"):
            raise SinkError(f"{os.fsdecode(given)} is not the name of a file", phase=Phase.OPEN, errno=errno.EISDIR)
        try:
            if fsync:  # which a descriptor of O_PATH cannot
                self._directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.directory)
            else:
                self._directory = os.dup(place.directory)
            self.fd = _create(self._directory, self._named)
            os.fchmod(self.fd, 0o600)
        except OSError as error:
            self.discard()
            raise sink_error(error, "create", given) from error

    def __del__(self) -> None:
        self.discard()  # a signal handler may have raised before the caller had it

    def _named(self, name: str | None) -> None:
        self._temporary = name

    def commit(self, check: Callable[[], None]) -> None:
        try:
            new = True
            if self._temporary is None:
                self._link()
            if self._temporary is not None:
                new = not self._fsync or self._stat() is None
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
                failed.message += "; the dump has its final name, but a crash of the system may undo that"
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
        taken = self._taken
        while True:
            name = temporary_name() if taken else self._name
            self._temporary = name if taken else None  # before it is there: a signal handler may raise when it is
            try:
                # src_dir_fd makes Python call linkat, which follows the link; link() would not.
                os.link(source, name, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=True)
            except FileExistsError:
                taken = True
            else:
                return

    def _close(self) -> None:
        open_ones = self.fd, self._directory
        self.fd = self._directory = None  # first: a signal handler may raise, and no number is closed twice
        for fd in open_ones:
            if fd is not None:
                try:  # noqa: SIM105 -- suppress() takes longer than all else here
                    os.close(fd)
                except OSError:
                    pass

    def discard(self) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._directory)
            self._temporary = None
        self._close()


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
        self._stem, self._suffix = stem, suffix
        self.path = os.path.join(folder, stem + suffix)  # noqa: PTH118
        try:
            with paths_posix.resolve(self.path) as place:
                super().__init__(place, self.path, fsync=False)
        except OSError as error:
            if isinstance(error, SinkError):
                raise
            raise sink_error(error, "create", self.path) from error
        self._folder = folder

    def commit(self, check: Callable[[], None]) -> None:
        """Take the first name that is free; `path` is the one."""
        number = 1
        while True:
            name = self._stem + ("" if number == 1 else f"-{number}") + self._suffix
            try:
                self._take(name)
                break
            except FileExistsError:
                number += 1
            except OSError as error:
                self.discard()
                raise sink_error(error, "put in place", self.path, Phase.FINISH) from error
        self._temporary = None
        self.path = os.path.join(self._folder, name)  # noqa: PTH118
        self._close()

    def _take(self, name: str) -> None:
        at = {"src_dir_fd": self._directory, "dst_dir_fd": self._directory}
        if self._temporary is None:
            # src_dir_fd makes Python call linkat, which follows the link; link() would not.
            os.link(f"/proc/self/fd/{self.fd}", name, follow_symlinks=True, **at)
            return
        try:
            os.link(self._temporary, name, follow_symlinks=False, **at)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A file system without links: nothing else takes a name without replacing what has it.
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._directory))
            os.replace(self._temporary, name, **at)  # noqa: PTH105
        else:
            os.unlink(self._temporary, dir_fd=self._directory)
