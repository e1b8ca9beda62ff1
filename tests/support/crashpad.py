"""What the caller said of a dump, read from the file by the layouts of Crashpad's minidump_extensions.h."""

from __future__ import annotations

import struct
from pathlib import Path

COMMENT_A, COMMENT_W, CRASHPAD_INFO = 10, 11, 0x43500001


def streams(data: bytes) -> dict[int, tuple[int, int]]:
    """Offset and size of each stream, by number."""
    _, _, count, rva = struct.unpack_from("<4I", data)
    entries = [struct.unpack_from("<3I", data, rva + 12 * at) for at in range(count)]
    used = [number for number, _, _ in entries if number != 0]  # dbghelp leaves entries unused
    assert len(set(used)) == len(used)
    return {number: (at, size) for number, size, at in entries}


def simple_annotations(path: Path) -> dict[str, str] | None:
    """The simple annotations; None without CrashpadInfo."""
    data = path.read_bytes()
    if CRASHPAD_INFO not in (found := streams(data)):
        return None
    at, size = found[CRASHPAD_INFO]
    version, *ids, dictionary, rva, modules, _ = struct.unpack_from("<I4Q4I", data, at)
    assert version == 1 and not any(ids) and not modules and size >= 52
    (count,) = struct.unpack_from("<I", data, rva)
    assert dictionary == 4 + 8 * count
    rows = [struct.unpack_from("<2I", data, rva + 4 + 8 * index) for index in range(count)]
    assert all(place % 4 == at % 4 for row in rows for place in row)
    return {_utf8(data, key): _utf8(data, value) for key, value in rows}


def _utf8(data: bytes, at: int) -> str:
    """A MinidumpUTF8String."""
    (length,) = struct.unpack_from("<I", data, at)
    assert data[at + 4 + length] == 0
    return data[at + 4 : at + 4 + length].decode()


def comments(path: Path) -> tuple[str | None, str | None]:
    """CommentStreamA and CommentStreamW, without their NUL."""
    data = path.read_bytes()
    found = streams(data)
    narrow, wide = (
        data[found[number][0] : sum(found[number])] if number in found else None for number in (COMMENT_A, COMMENT_W)
    )
    assert narrow is None or narrow.endswith(b"\0")
    assert wide is None or wide.endswith(b"\0\0")
    return (
        None if narrow is None else narrow[:-1].decode("ascii"),
        None if wide is None else wide[:-2].decode("utf-16-le"),
    )
