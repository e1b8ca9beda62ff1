"""Compressed outputs: a path that ends in ``.gz`` or ``.zst`` gets the dump compressed, when the target runs again."""

from __future__ import annotations

import errno
import importlib
import os

from ._os.sinks_common import Sink, sink_error
from .enums import Phase
from .errors import SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable
    from typing import Any

__all__ = ["SUFFIXES", "PackedSink", "packer"]

SUFFIXES = (".gz", ".zst")
_ZSTD = ("compression.zstd", "backports.zstd")
_CHUNK = 1 << 20
"""Bytes that are compressed at a time."""


def packer(path: str | bytes) -> Callable[[], Any] | None:
    """What makes the compressor that the name of a file asks for; None for a plain file.

    Raises
    ------
    SinkError
        There is no module for it.
    """
    name = os.fsdecode(path).lower()
    if name.endswith(".gz"):
        return _gzip
    if not name.endswith(".zst"):
        return None
    for module in _ZSTD:
        try:
            return importlib.import_module(module).ZstdCompressor  # type: ignore[no-any-return]
        except ImportError:
            continue
    needed = "pip install minidump_cffi[zstd]"
    raise SinkError(
        f"{os.fsdecode(path)} is to be compressed by zstd, and {' or '.join(_ZSTD)} cannot be imported: {needed}",
        phase=Phase.OPEN,
        errno=errno.ENOTSUP,
        filename=path,
        hint=needed,
    )


def _gzip() -> Any:
    import zlib

    return zlib.compressobj(wbits=31)


class PackedSink(Sink):
    """A file that gets the dump compressed: from a temporary file without a name, once the target runs again."""

    def __init__(
        self, inner: Sink, make: Callable[[], Any], spool: io.FileIO, path: str | bytes, *, fsync: bool
    ) -> None:
        self._inner, self._make, self._spool = inner, make, spool
        self._path, self._fsync = path, fsync
        self.fd = spool.fileno()

    def commit(self, check: Callable[[], None]) -> None:
        packed = self._make()
        self._spool.seek(0)
        buffer = memoryview(bytearray(_CHUNK))
        try:
            while count := self._spool.readinto(buffer):
                check()
                self._write(packed.compress(buffer[:count]))
            self._write(packed.flush())
            if self._fsync and self._inner.fd is not None:
                os.fsync(self._inner.fd)
        except OSError as error:
            raise sink_error(error, "write", self._path, Phase.FINISH) from error
        self._close()
        self._inner.commit(check)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._inner.fd is not None:
            left = left[os.write(self._inner.fd, left) :]

    def _close(self) -> None:
        self._spool.close()
        self.fd = None

    def discard(self) -> None:
        self._close()
        self._inner.discard()
