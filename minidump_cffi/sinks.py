"""Where the bytes of a dump go, seen from Python: paths, descriptors, file objects.

A dump appears complete under its name, or not at all. A file object gets the whole dump after the target was resumed,
unless the caller asks for `spool=False`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys

from . import _packing
from ._inputs import remote
from ._os.sinks_common import Sink, sink_error
from .enums import Phase
from .errors import SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._aliases import File

if sys.platform == "win32":
    from ._os import sinks_windows as _outputs
else:
    from ._os import sinks_posix as _outputs

__all__ = ["Sink", "allow_holes", "native", "open_sink", "scratch_file", "temporary_file"]

CHUNK = 1 << 20
"""Bytes handed to a file object at a time."""
allow_holes: Callable[[int], None] = _outputs.allow_holes
native: Callable[[int], int] = _outputs.native
scratch_file: Callable[[], io.FileIO] = _outputs.scratch_file
temporary_file: Callable[[str | bytes], io.FileIO] = _outputs.temporary_file


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
    file : File or None
        A path or URL, of which one that ends in .gz or .zst is compressed, a descriptor, an object with ``write()``, or
        None for nothing.
    spool : bool, str or os.PathLike
        For objects with ``write()``: False writes to them while the target is stopped; a directory is where the
        temporary file is made.
    fsync : bool
        Flush the directory, too.
    give_up : callable
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
        path = os.fspath(file)
        if not path:
            raise SinkError("the path of the dump is empty", phase=Phase.OPEN, errno=errno.ENOENT)
        return (_open_url if remote.is_url(file) else _open_path)(path, spool, fsync, give_up)
    if isinstance(file, io.TextIOBase) or (hasattr(file, "encoding") and not _binary(file)):
        raise TypeError(f"a dump is bytes, and {file!r} takes text: open it in binary mode ('wb'), or give its .buffer")
    if not callable(getattr(file, "write", None)):
        raise TypeError(f"file must be a path, a descriptor or an object with write(), not {file!r}")
    fd = _plain_descriptor(file)
    if fd is not None:
        return DescriptorSink(fd, file)
    if spool is False:
        return HookSink(file)
    return SpooledSink(Receiver(file), _spool(spool))


def _spool(directory: object) -> io.FileIO:
    """A temporary file without a name: in that folder, or where such files are made."""
    try:
        if isinstance(directory, bool):
            return _outputs.scratch_file()
        return _outputs.temporary_file(os.fspath(directory))  # type: ignore[call-overload]
    except OSError as error:
        where = "the system's temporary folder" if isinstance(directory, bool) else directory
        raise sink_error(error, "create a temporary file in", where) from error


def _open_url(
    path: str | bytes, spool: bool | str | os.PathLike[str], fsync: bool, give_up: Callable[[], None]
) -> Sink:
    """What fsspec knows, through a temporary file: a network is never waited for while the target is stopped."""
    url = os.fsdecode(path)
    make, held = _packing.packer(url), _spool(True if isinstance(spool, bool) else spool)
    try:
        return SpooledSink(_Url(remote.RemoteFile(url)), held, make)
    except BaseException:
        held.close()
        raise


def _open_path(
    path: str | bytes, spool: bool | str | os.PathLike[str], fsync: bool, give_up: Callable[[], None]
) -> Sink:
    """The file, or what is compressed into it if its name says so."""
    make = _packing.packer(path)
    sink = _outputs.open_path(path, fsync, give_up)
    if make is None:
        return sink
    folder = os.path.dirname(path) or os.curdir if isinstance(spool, bool) else os.fspath(spool)  # noqa: PTH120
    try:
        return SpooledSink(_Opened(sink, path, fsync), _spool(folder), make)
    except BaseException:
        sink.discard()
        raise


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
            positioned = _outputs.check_writable(fd, owner)
            about = os.fstat(fd)
        except OSError as error:
            raise sink_error(error, "write to", name) from error
        self.fd: int | None = fd
        self._owner = owner
        self._start: int | None = None
        if stat.S_ISREG(about.st_mode) and positioned:
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


class Receiver:
    """What a dump is handed on to, once the target runs again: an object of the caller's with ``write()``.

    Exactly one of `commit` and `discard` is called.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it."""
        put(self._file, memoryview(data))

    def commit(self, check: Callable[[], None]) -> None:
        """It has all bytes: put it in its place."""

    def discard(self) -> None:
        """The dump failed. Never raises."""


class _Opened(Receiver):
    """A file by its path."""

    def __init__(self, sink: Sink, path: str | bytes, fsync: bool) -> None:
        super().__init__(sink)
        self._sink, self._path, self._fsync = sink, path, fsync

    def write(self, data: bytes | memoryview) -> None:
        assert self._sink.fd is not None
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._sink.fd, left) :]
        except OSError as error:
            raise sink_error(error, "write", self._path, Phase.FINISH) from error

    def commit(self, check: Callable[[], None]) -> None:
        try:
            if self._fsync and self._sink.fd is not None:
                os.fsync(self._sink.fd)
        except OSError as error:
            raise sink_error(error, "flush", self._path, Phase.FINISH) from error
        self._sink.commit(check)

    def discard(self) -> None:
        self._sink.discard()


class _Url(Receiver):
    """A file of a remote system."""

    def __init__(self, file: remote.RemoteFile) -> None:
        super().__init__(file)
        self._remote = file

    def commit(self, check: Callable[[], None]) -> None:
        check()
        self._remote.commit()

    def discard(self) -> None:
        self._remote.discard()


class SpooledSink(Sink):
    """A dump that goes to a temporary file without a name, and from there, compressed if so asked, to its receiver.

    Handing on needs no target: it runs already.
    """

    hands_on = True
    made = True

    def __init__(self, receiver: Receiver, spool: io.FileIO, make: Callable[[], Any] | None = None) -> None:
        self._receiver, self._spool, self._make = receiver, spool, make
        self.fd = spool.fileno()
        self._most: int | None = None

    def room(self, most: int) -> int:
        self._most = most
        return most if self._make is None else _packing.largest(most)

    def needed(self, least: int) -> int:
        return least if self._make is None else _packing.smallest(least)

    def commit(self, check: Callable[[], None]) -> None:
        packed = None if self._make is None else self._make()
        written = 0

        def hand_on(data: bytes | memoryview) -> None:
            nonlocal written
            written += len(data)
            if self._most is not None and written > self._most:
                raise SinkError("the compressed dump is larger than max_bytes", phase=Phase.FINISH, errno=errno.EFBIG)
            self._receiver.write(data)

        self._spool.seek(0)
        buffer, done, total = memoryview(bytearray(CHUNK)), 0, os.fstat(self._spool.fileno()).st_size
        while count := self._spool.readinto(buffer):
            check()
            piece = buffer[:count]
            hand_on(piece if packed is None else packed.compress(piece))
            done += count
            self.advance(done, max(done, total))
        if packed is not None:
            hand_on(packed.flush())
        self._close()
        self._receiver.commit(check)

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._spool.close()
        self.fd = None

    def discard(self) -> None:
        self._close()
        self._receiver.discard()


class HookSink(Sink):
    """An object with write() that is written while the target is stopped (`spool=False`)."""

    def __init__(self, file: Any) -> None:
        self.io: Any = ForwardIo(file)


class ForwardIo:
    """Io callbacks (`IoHandler`) into an object with write(). Going back needs seek()."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._position = 0
        self._start: int | None = None

    def write(self, offset: int, data: memoryview) -> None:
        """Write at this offset, counted from the object's initial position."""
        if offset != self._position:
            seek = getattr(self._file, "seek", None)
            if seek is None:
                raise SinkError(
                    f"the engine writes at offset {offset} after {self._position}, and {self._file!r} cannot seek",
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
                f"{file!r} is non-blocking and not ready: give a blocking one", phase=Phase.FINISH, errno=errno.EAGAIN
            )
        if count <= 0:
            raise SinkError(f"{file!r} accepts no more bytes", phase=Phase.FINISH, errno=errno.EIO)
        data = data[count:]
