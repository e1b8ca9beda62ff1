"""Writes small minidumps of odd shapes: any alignment, padded lists, shared contexts, ranges that overlap."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

HEADER, ENTRY = 32, 12
THREADS, MODULES, MEMORY, EXCEPTION, SYSTEM, MEMORY64, HANDLES, UNLOADED = 3, 4, 5, 6, 7, 9, 12, 14
MISC, INFOS, NAMES, MAPS = 15, 16, 24, 0x47670009


@dataclass
class Writer:
    """Bodies are put one after the other, each `odd` bytes after the last one; `finish` adds header and directory.

    The header is followed by room for `streams` entries; with `directory` the entries are written over that offset
    instead, whatever is there.
    """

    streams: int = 16
    odd: int = 0
    directory: int | None = None
    data: bytearray = field(default_factory=bytearray)
    entries: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data += bytes(HEADER + ENTRY * self.streams)

    def put(self, body: bytes) -> int:
        """Add bytes; their offset."""
        self.data += b"\xee" * self.odd
        at = len(self.data)
        self.data += body
        return at

    def string(self, text: str) -> int:
        body = text.encode("utf-16-le", "surrogatepass")
        return self.put(struct.pack("<I", len(body)) + body + b"\0\0")

    def stream(self, kind: int, body: bytes, *, at: int | None = None) -> int:
        """Add a stream, or the entry of one that is there already."""
        at = self.put(body) if at is None else at
        self.entries.append((kind, len(body), at))
        return at

    def counted(self, kind: int, rows: Iterable[bytes], *, padded: bool = False) -> int:
        """A list with a count, after which some writers put 4 bytes."""
        rows = list(rows)
        return self.stream(kind, struct.pack("<I", len(rows)) + bytes(4 if padded else 0) + b"".join(rows))

    def system(self, architecture: int, platform: int = 0x8201, text: str = "") -> int:
        rva = self.string(text) if text else 0
        body = struct.pack("<HHHBBIIIIIHH24x", architecture, 6, 0, 2, 0, 6, 18, 44, platform, rva, 0, 0)
        return self.stream(SYSTEM, body)

    def memory64(self, ranges: Iterable[tuple[int, bytes]]) -> int:
        """Ranges whose data is put in one block."""
        ranges = list(ranges)
        base = self.put(b"".join(body for _, body in ranges))
        rows = b"".join(struct.pack("<QQ", address, len(body)) for address, body in ranges)
        return self.stream(MEMORY64, struct.pack("<QQ", len(ranges), base) + rows)

    def finish(self, *, flags: int = 0, count: int | None = None) -> bytes:
        where = HEADER if self.directory is None else self.directory
        number = len(self.entries) if count is None else count
        head = struct.pack("<IIIIIIQ", 0x504D444D, 0xA793, number, where, 0, 1, flags)
        self.data[:HEADER] = head
        for index, entry in enumerate(self.entries):
            at = where + ENTRY * index
            self.data[at : at + ENTRY] = struct.pack("<III", *entry)
        return bytes(self.data)


def thread(
    tid: int,
    *,
    stack: tuple[int, int, int] = (0, 0, 0),
    context: tuple[int, int] = (0, 0),
    teb: int = 0,
    extra: int = 0,
) -> bytes:
    """A MINIDUMP_THREAD: stack is address, size and RVA, context size and RVA; `extra` bytes after it."""
    return struct.pack("<IIIIQQIIII", tid, 1, 2, 3, teb, *stack, *context) + bytes(extra)


def module(base: int, size: int, name: int, record: tuple[int, int] = (0, 0)) -> bytes:
    """A MINIDUMP_MODULE; record is size and RVA of the CodeView record."""
    return struct.pack("<QIIII52xIIII16x", base, size, 5, 6, name, *record, 0, 0)


def memory(address: int, size: int, rva: int) -> bytes:
    return struct.pack("<QII", address, size, rva)


def info(base: int, size: int, state: int = 0x1000, protect: int = 4, kind: int = 0x20000) -> bytes:
    return struct.pack("<QQIIQIIII", base, base, protect, 0, size, state, protect, kind, 0)


def sized(kind_header: int, entry: int, rows: Iterable[bytes], *, wide: bool = False) -> bytes:
    """A list that begins with the sizes of its header and entries."""
    rows = list(rows)
    head = struct.pack("<IIQ" if wide else "<III", kind_header, entry, len(rows)).ljust(kind_header, b"\0")
    return head + b"".join(row.ljust(entry, b"\xff") for row in rows)


def exception(tid: int, code: int, *, context: tuple[int, int] = (0, 0), words: tuple[int, ...] = ()) -> bytes:
    padded = [*words, *[0] * (15 - len(words))]
    return struct.pack("<IIIIQQII15QII", tid, 0, code, 1, 0, 0x1234, len(words), 0, *padded, *context)
