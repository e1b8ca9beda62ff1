"""An unlinked temporary file that an input is copied to, under a limit; blocks of zeros become holes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile

from .. import sinks
from ..errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable

__all__ = ["DEFAULT_LIMIT", "Spool", "copied"]

DEFAULT_LIMIT = 64 << 30
RESERVE = 1 << 30
"""Bytes of the file system that stay free, if no limit was given."""
BLOCK = 4096
CHUNK = 1 << 18
_ZEROS = bytes(2 * CHUNK)
_ZERO_BLOCK = _ZEROS[:BLOCK]


class Spool:
    """The file while it is written. `close` it, or take its `file`.

    Parameters
    ----------
    directory
        Where it is made; None for the directory of temporary files.
    limit
        Bytes the content may have; None for 64 GiB, of which those that are not zero leave 1 GiB of the file system
        free.
    """

    def __init__(self, directory: str | os.PathLike[str] | None, limit: int | None) -> None:
        where = tempfile.gettempdir() if directory is None else os.fspath(directory)
        try:
            self.file: io.FileIO = sinks.scratch_file() if directory is None else sinks.temporary_file(where)
            sinks.allow_holes(self.file.fileno())
            free = shutil.disk_usage(where).free
        except OSError as error:
            raise InputError(
                f"the input has to be copied, and no temporary file can be made in {where}: {error.strerror}",
                errno=error.errno,
                hint="set TMPDIR, or give spool",
            ) from error
        self._where = where
        self._limit = DEFAULT_LIMIT if limit is None else limit
        self._room = max(0, free - RESERVE) if limit is None else None
        self._waiting = bytearray()
        self.size = 0
        self._stored = 0

    def write(self, data: bytes) -> None:
        """Add to the content.

        Raises
        ------
        InputError
            It is more than the limit, or than the file system takes.
        """
        if self.size + len(data) > self._limit:
            raise InputError(
                f"the input has more than {self._limit:,} bytes, the limit of what is unpacked or copied: give a "
                "larger max_input if that is what it should have",
                errno=errno.EFBIG,
                hint="a larger max_input",
            )
        self.size += len(data)
        self._waiting += data
        if len(self._waiting) >= CHUNK:
            self._flush(len(self._waiting) // BLOCK * BLOCK)

    def finish(self) -> io.FileIO:
        """The file with all of the content, at its start."""
        self._flush(len(self._waiting))
        self._system(lambda: self.file.truncate(self.size))
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()

    def _flush(self, size: int) -> None:
        """Write so many of the bytes that wait, those that are not zero."""
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        start = self.size - len(self._waiting) - size
        if _ZEROS.startswith(data):
            return
        first = None
        for at in range(0, size, BLOCK):
            if data.startswith(_ZERO_BLOCK, at):
                if first is not None:
                    self._put(start + first, data[first:at])
                    first = None
            elif first is None:
                first = at
        if first is not None:
            self._put(start + first, data[first:])

    def _put(self, offset: int, data: bytes) -> None:
        self._stored += len(data)
        if self._room is not None and self._stored > self._room:
            raise InputError(
                f"the input has more than {self._room:,} bytes that are not zero, and {self._where} has not more room, "
                "less 1 GiB: free some, or set TMPDIR to another directory",
                errno=errno.ENOSPC,
                hint="another TMPDIR",
            )
        self._system(lambda: self._write(offset, data))

    def _write(self, offset: int, data: bytes) -> None:
        self.file.seek(offset)
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]

    def _system(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            raise InputError(
                f"the input cannot be copied to a temporary file in {self._where}: {error.strerror}", errno=error.errno
            ) from error


def copied(pieces: Iterable[bytes], directory: str | os.PathLike[str] | None, limit: int | None) -> io.FileIO:
    """A temporary file with all pieces, at its start; nothing remains of it if that fails."""
    spool = Spool(directory, limit)
    try:
        for piece in pieces:
            spool.write(piece)
        return spool.finish()
    except BaseException:
        spool.close()
        raise
