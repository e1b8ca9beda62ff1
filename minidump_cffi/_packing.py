"""Compressed outputs: a path or URL that ends in ``.gz`` or ``.zst`` gets the dump compressed."""

from __future__ import annotations

import errno
import importlib
import os

from .enums import Phase
from .errors import SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SUFFIXES", "largest", "packer", "smallest"]

SUFFIXES = (".gz", ".zst")
_ZSTD = ("compression.zstd", "backports.zstd")
_OVERHEAD = 1024
"""Bytes of headers and trailers at most."""


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


def largest(most: int) -> int:
    """How long a dump may be that has at most so many bytes when it is compressed, even if it is all random.

    Such bytes grow by less than this: in deflate by 1/4096 + 1/16384, in zstd by 1/256 (ZSTD_COMPRESSBOUND).
    """
    return max(1, most - most // 256 - _OVERHEAD)


def smallest(length: int) -> int:
    """The least number of bytes of which `largest` makes this length."""
    most = length + _OVERHEAD
    while largest(most) < length:
        most += max(1, length - largest(most))
    return most
