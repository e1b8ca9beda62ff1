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
        A path, of which one that ends in .gz or .zst is compressed, a descriptor, an object with ``write()``, or None
        for nothing.
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
        return _open_path(path, spool, fsync, give_up)
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
        return _packing.PackedSink(sink, make, _outputs.temporary_file(folder), path, fsync=fsync)
    except OSError as error:
        sink.discard()
        raise sink_error(error, "create a temporary file in", folder) from error


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


class SpooledSink(Sink):
    """An object with write(): the dump goes to an unlinked temporary file, and from there to the object.

    Handing on needs no target: it runs already.
    """

    def __init__(self, file: Any, directory: str | os.PathLike[str] | None) -> None:
        self._file = file
        try:
            self._spool = (
                _outputs.temporary_file(os.fspath(directory)) if directory is not None else _outputs.scratch_file()
            )
        except OSError as error:
            raise sink_error(
                error, "create a temporary file in", directory or "the system's temporary folder"
            ) from error
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
