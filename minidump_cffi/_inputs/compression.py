"""Compressed inputs, recognised by content: gzip, bzip2 and xz by the standard library, zstd and lz4 by extras.

All decompressors are used through the interface of `lzma.LZMADecompressor`, because it bounds what one call returns: a
few bytes of a decompression bomb would otherwise become all of memory.
"""

from __future__ import annotations

import errno
import importlib

from .._record import Record
from ..errors import FormatError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["HEAD", "Codec", "Unpacked", "codec_of"]

HEAD = 8
"""Bytes from the start of a file that say how it is compressed."""
PIECE = 1 << 18
"""Bytes that one step unpacks at most."""


class Codec(Record):
    """A format of compressed files.

    Attributes
    ----------
    name : str
        For messages.
    magics : tuple of bytes
        How a member or frame begins.
    modules : tuple of str
        Where its decompressor is; the first one that can be imported is used.
    kind : str
        The class there.
    extra : str or None
        The extra of this package that brings it; None if that is Python.
    """

    name: str
    magics: tuple[bytes, ...]
    modules: tuple[str, ...]
    kind: str
    extra: str | None = None

    def decompressor(self) -> Callable[[], Any]:
        """What makes a decompressor of one member.

        Raises
        ------
        InputError
            The module is not there.
        """
        for module in self.modules:
            try:
                return getattr(importlib.import_module(module), self.kind)  # type: ignore[no-any-return]
            except ImportError:
                continue
        needed = f"pip install minidump_cffi[{self.extra}]" if self.extra else "a Python with this module"
        raise InputError(
            f"the input is compressed by {self.name}, and {' or '.join(self.modules)} cannot be imported: {needed}",
            errno=errno.ENOTSUP,
            hint=needed,
        )


_SKIPPABLE = tuple(bytes([0x50 + number, 0x2A, 0x4D, 0x18]) for number in range(16))  # RFC 8878, 3.1.2
_ZSTD = ("compression.zstd", "backports.zstd")
CODECS = (
    Codec(name="gzip", magics=(b"\x1f\x8b\x08",), modules=(f"{__name__}",), kind="GzipMember"),
    Codec(name="bzip2", magics=(b"BZh",), modules=("bz2",), kind="BZ2Decompressor"),
    Codec(name="xz", magics=(b"\xfd7zXZ\0",), modules=("lzma",), kind="LZMADecompressor"),
    Codec(name="zstd", magics=(b"\x28\xb5\x2f\xfd", *_SKIPPABLE), modules=_ZSTD, kind="ZstdDecompressor", extra="zstd"),
    Codec(name="lz4", magics=(b"\x04\x22\x4d\x18",), modules=("lz4.frame",), kind="LZ4FrameDecompressor", extra="lz4"),
)


def codec_of(head: bytes) -> Codec | None:
    """How a file is compressed that begins with these bytes; None if it is not."""
    for codec in CODECS:
        if head.startswith(codec.magics):
            return codec
    return None


class GzipMember:
    """A member of a gzip file, with the interface of `lzma.LZMADecompressor`."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)
        self._full = False  # zlib may have more to give without more input

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length
        return piece


class Unpacked:
    """The content of a compressed file, piece by piece.

    Attributes
    ----------
    cut : bool
        After the last piece: whether the compressed data ended within a member.
    """

    def __init__(self, codec: Codec, pieces: Iterator[bytes]) -> None:
        self._codec, self._pieces = codec, pieces
        self._make = codec.decompressor()
        self.cut = False

    def __iter__(self) -> Iterator[bytes]:
        """All members, one after the other; zeros after one are padding.

        Raises
        ------
        InputError
            The compressed data is damaged, or something else follows it.
        """
        waiting: bytes | None = b""
        members = 0
        while waiting is not None:
            waiting = self._next_member(waiting, members)
            if waiting is None:
                return
            member = self._make()
            members += 1
            while not member.eof:
                if member.needs_input and not waiting:
                    waiting = next(self._pieces, b"")
                    if not waiting:
                        self.cut = True
                        return
                piece = self._step(member, waiting)
                waiting = b""
                if piece:
                    yield piece
            waiting = member.unused_data

    def _step(self, member: Any, data: bytes) -> bytes:
        try:
            piece: bytes = member.decompress(data, PIECE)
        except Exception as error:  # each module has classes of its own; MemoryError and ours are none of them
            if isinstance(error, (InputError, MemoryError)):
                raise
            raise InputError(
                f"the {self._codec.name} data of the input is damaged: {error}", errno=errno.EBADMSG
            ) from error
        return piece

    def _next_member(self, waiting: bytes, members: int) -> bytes | None:
        """Where the next member begins, in a piece that is long enough to show it; None at the end."""
        waiting = waiting.lstrip(b"\0") if members else waiting
        longest = max(map(len, self._codec.magics))
        while len(waiting) < longest:
            piece = next(self._pieces, b"")
            if not piece:
                break
            waiting = (waiting + piece).lstrip(b"\0") if members else waiting + piece
        if not waiting:
            return None
        if not waiting.startswith(self._codec.magics):
            if any(magic.startswith(waiting) for magic in self._codec.magics):
                self.cut = True  # within the first bytes of a member
                return None
            raise FormatError(
                f"the input has {self._codec.name} data, and after it bytes that are not: "
                f"they begin with {waiting[:HEAD].hex(' ')}"
            )
        return waiting
