"""Opens what a caller names as an input, and gives a descriptor that can be read at any offset."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import time
from itertools import chain

from .._record import Record
from ..errors import FormatError, InputError
from . import compression, remote, spool

if sys.platform == "win32":
    from .._os import pipes_windows as _pipes
else:
    from .._os import pipes_posix as _pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Opened", "Watch", "opened"]

CHUNK = 1 << 18
PERIOD = 0.1
"""Seconds between two looks at the caller's wishes."""
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_FLAGS |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Opened(Record):
    """An input that is open.

    Attributes
    ----------
    fd : int
        A descriptor of a file with the content from offset 0; open as long as `opened` is entered.
    name : str
        For messages.
    head : bytes
        How the content begins.
    identity : tuple of int or None
        Device and inode of the file that was given, if it was one.
    notes : tuple of str
        What the report has to say of it.
    """

    fd: int
    name: str
    head: bytes
    identity: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


class Watch:
    """What a caller wants to know and to say while an input is copied: called often, it calls ten times a second.

    Parameters
    ----------
    check
        Raises to end it.
    progress
        Gets the bytes that were read of the input, and how many it has, 0 if that is not known.
    """

    def __init__(
        self, check: Callable[[], object] = lambda: None, progress: Callable[[int, int], object] | None = None
    ) -> None:
        self._check, self._progress = check, progress
        self._last = 0.0
        self._done = 0
        self.total = 0

    def step(self, count: int = 0) -> None:
        """So many bytes were read."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= PERIOD:
            self._last = now
            self._check()
            if self._progress is not None:
                self._progress(self._done, self.total)


@contextlib.contextmanager
def opened(
    given: Any, *, limit: int | None = None, directory: str | os.PathLike[str] | None = None, watch: Watch | None = None
) -> Iterator[Opened]:
    """Open an input for reading at any offset; what cannot be read so is copied to an unlinked file.

    Parameters
    ----------
    given
        A path, the URL of a file, a descriptor, or an object with ``read()``.
    limit
        Bytes that may be copied; see `spool.Spool`.
    directory
        Where to.
    watch
        Called while the input is copied.

    Raises
    ------
    InputError
        It cannot be opened, read or unpacked, or is larger than the limit.
    FormatError
        It is empty.
    TypeError
        It is nothing that can be read, or a file opened in text mode.
    """
    watch = Watch() if watch is None else watch
    with contextlib.ExitStack() as stack:
        source = _source(given, stack)
        about = None if source.fd is None else _about(source)
        regular = about is not None and stat.S_ISREG(about.st_mode)
        identity = (about.st_dev, about.st_ino) if about is not None and regular else None
        if source.fd is not None and regular:
            start = source.position()
            if start == 0:
                head = _at(source, source.fd, compression.HEAD, 0)
                if compression.codec_of(head) is None:
                    yield Opened(fd=source.fd, name=source.name, head=_checked(head, source.name), identity=identity)
                    return
            assert about is not None
            watch.total = max(0, about.st_size - start)
            pieces = _file_pieces(source, source.fd, start)
        elif source.fd is not None:
            pieces = _stream_pieces(source, source.fd, watch)
        else:
            size = getattr(source.file, "size", None)
            watch.total = size if isinstance(size, int) else 0
            pieces = _object_pieces(source)
        notes: list[str] = []
        copy = stack.enter_context(_copy(source.name, _watched(pieces, watch), directory, limit, notes))
        head = copy.read(compression.HEAD)
        yield Opened(
            fd=copy.fileno(),
            name=source.name,
            head=_checked(head, source.name),
            identity=identity,
            notes=tuple(notes),
        )


class _Source:
    """What was given: a descriptor, or an object that is read."""

    def __init__(self, name: str, fd: int | None, file: Any = None) -> None:
        self.name, self.fd, self.file = name, fd, file

    def position(self) -> int:
        """Where a file is to be read from."""
        assert self.fd is not None
        try:
            place: int = os.lseek(self.fd, 0, os.SEEK_CUR) if self.file is None else self.file.tell()
        except OSError as error:
            raise _refused(error, "read", self.name) from error
        return place


def _source(given: Any, stack: contextlib.ExitStack) -> _Source:
    if isinstance(given, bool):
        raise TypeError("an input is a path, a descriptor or an object with read(), not a bool")
    if isinstance(given, int):
        return _Source("stdin" if given == 0 else f"descriptor {given}", given)
    if remote.is_url(given):
        return _Source(given, None, stack.enter_context(remote.reading(given)))
    if isinstance(given, (str, bytes, os.PathLike)):
        return _open_path(os.fspath(given), stack)
    if isinstance(given, io.TextIOBase) or isinstance(getattr(given, "encoding", None), str):
        raise TypeError(f"an input is bytes, and {given!r} gives text: open it in binary mode ('rb')")
    if not callable(getattr(given, "read", None)):
        raise TypeError(f"an input is a path, a descriptor or an object with read(), not {given!r}")
    name = getattr(given, "name", None)
    raw = given.raw if type(given) in (io.BufferedReader, io.BufferedRandom) else given
    fd = None
    if type(raw) is io.FileIO:
        if type(given) is io.BufferedRandom:
            given.flush()  # what waits to be written is content
        if given.seekable():
            fd = given.fileno()
    return _Source(os.fsdecode(name) if isinstance(name, (str, bytes)) else repr(given), fd, given)


def _open_path(path: str | bytes, stack: contextlib.ExitStack) -> _Source:
    name = os.fsdecode(path)
    try:
        _check_kind(os.stat(path), name)  # noqa: PTH116 -- it may be bytes
        with _pipes.standard_occupied():
            fd = os.open(path, _FLAGS)
        stack.callback(os.close, fd)
        _check_kind(os.fstat(fd), name)
    except ValueError as error:  # an embedded zero byte
        raise InputError(f"invalid path {path!r}: {error}", errno=errno.EINVAL) from None
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise _refused(error, "open", name, path) from error
    return _Source(name, fd)


def _check_kind(about: os.stat_result, name: str) -> None:
    kind = _KINDS.get(stat.S_IFMT(about.st_mode))
    if kind is not None:
        number = errno.EISDIR if kind == "a directory" else errno.EINVAL
        raise InputError(f"{name} is {kind}: an input is a file or a FIFO", errno=number, filename=name)


def _about(source: _Source) -> os.stat_result:
    assert source.fd is not None
    try:
        about = os.fstat(source.fd)
        if stat.S_ISREG(about.st_mode):
            os.read(source.fd, 0)  # fails if it is open for writing only
    except (OSError, OverflowError) as error:
        if isinstance(error, OverflowError):
            error = OSError(errno.EBADF, os.strerror(errno.EBADF))
        raise _refused(error, "read", source.name) from error
    if stat.S_ISDIR(about.st_mode):
        _check_kind(about, source.name)
    return about


def _refused(error: OSError, action: str, name: str, path: str | bytes | None = None) -> InputError:
    winerror: int | None = getattr(error, "winerror", None)
    number = f"errno {error.errno}" if winerror is None else f"error {winerror}"
    said = (error.strerror or str(error)).rstrip(".")
    return InputError(
        f"cannot {action} {name}: {said} ({number})", errno=error.errno, winerror=winerror, filename=path or name
    )


def _checked(head: bytes, name: str) -> bytes:
    if not head:
        raise FormatError(f"{name} is empty", filename=name)
    return head


def _at(source: _Source, fd: int, size: int, offset: int) -> bytes:
    """Bytes at this offset; the position of the descriptor stays."""
    try:
        if sys.platform != "win32":
            return os.pread(fd, size, offset)
        place = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)
        finally:
            os.lseek(fd, place, os.SEEK_SET)
    except OSError as error:
        raise _refused(error, "read", source.name) from error


def _file_pieces(source: _Source, fd: int, offset: int) -> Iterator[bytes]:
    while piece := _at(source, fd, CHUNK, offset):
        offset += len(piece)
        yield piece


def _stream_pieces(source: _Source, fd: int, watch: Watch) -> Iterator[bytes]:
    """Of a pipe, FIFO, socket or terminal: the caller is asked while nothing comes."""
    while True:
        try:
            piece = _pipes.read(fd, PERIOD)
        except BlockingIOError:
            piece = None
        except OSError as error:
            raise _refused(error, "read", source.name) from error
        if piece is None:
            watch.step()
        elif not piece:
            return
        else:
            yield piece


def _object_pieces(source: _Source) -> Iterator[bytes]:
    while True:
        try:
            piece = source.file.read(CHUNK)
        except OSError as error:
            raise _refused(error, "read", source.name) from error
        if piece is None:
            raise InputError(f"{source.name} is non-blocking and has no data: give a blocking one", errno=errno.EAGAIN)
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise TypeError(f"an input is bytes, and read() of {source.name} gives {type(piece).__name__}")
        if not piece:
            return
        yield bytes(piece)


def _watched(pieces: Iterator[bytes], watch: Watch) -> Iterator[bytes]:
    watch.step()
    for piece in pieces:
        watch.step(len(piece))
        yield piece


@contextlib.contextmanager
def _copy(
    name: str, pieces: Iterator[bytes], directory: Any, limit: int | None, notes: list[str]
) -> Iterator[io.FileIO]:
    """The content in a file of its own, unpacked if it is compressed."""
    head = b""
    while len(head) < compression.HEAD and (piece := next(pieces, b"")):
        head += piece
    if not head:
        raise FormatError(f"{name} is empty", filename=name)
    codec = compression.codec_of(head)
    joined = chain([head], pieces)
    try:
        unpacked = None if codec is None else compression.Unpacked(codec, joined)
        file = spool.copied(joined if unpacked is None else unpacked, directory, limit)
    except (InputError, FormatError) as error:
        if name not in error.message:
            error.message = f"{name}: {error.message}"
        raise
    with contextlib.closing(file):
        if unpacked is not None and codec is not None:
            inner = compression.codec_of(file.read(compression.HEAD))
            file.seek(0)
            if inner is not None:
                raise FormatError(
                    f"{name} is {inner.name} data within {codec.name} data: unpack it once", filename=name
                )
            if unpacked.cut:
                size = os.fstat(file.fileno()).st_size
                notes.append(
                    f"the {codec.name} data of {name} is cut: it ends after {size:,} bytes of content, and what "
                    "follows is missing"
                )
        yield file
