"""Compressed dumps, unpacked."""

from __future__ import annotations

import gzip
import importlib

import pytest

ZSTD = ("compression.zstd", "backports.zstd")


def unzstd(data: bytes) -> bytes:
    """The bytes of a zstd file; skips where there is no module for it."""
    for name in ZSTD:
        try:
            return importlib.import_module(name).decompress(data)  # type: ignore[no-any-return]
        except ImportError:
            continue
    pytest.skip("there is no zstd")


UNPACK = {".gz": gzip.decompress, ".zst": unzstd}
