"""The bytes of a minidump, read within bounds; and what all parsers of streams share."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Final

    from .dumpmodel import DumpFile, Stream

MAX_ITEMS: Final = 100_000
MAX_STRING_BYTES: Final = 1 << 16
MAX_TEXT_BYTES: Final = 16 << 20
FREE_TEXT_BYTES: Final = 1 << 20  # on top of the size of the file
MAX_PROBLEMS: Final = 100


class Damage(Exception):
    """A part of the file that cannot be right."""


class Reader:
    """The file: nothing is read that does not lie inside of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size: int = stream.seek(0, os.SEEK_END)
        self.text_left: int = self.text_budget()
        self.strings: dict[int, str] = {}

    def text_budget(self) -> int:
        """Bytes that strings of one kind may have together, each counted as often as it is named."""
        return min(MAX_TEXT_BYTES, FREE_TEXT_BYTES + self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes."""
        if offset > self.size or size > self.size - offset:
            raise Damage(f"{size} bytes at {offset:#x} are beyond the end of the file")
        self.stream.seek(offset)
        data = self.stream.read(size)
        if len(data) != size:
            raise Damage(f"the file became shorter while it was read (at {offset:#x})")
        return data

    def rows(
        self, layout: struct.Struct, offset: int, count: int, size: int | None = None
    ) -> Iterator[tuple[int, ...]]:
        """`count` structures, `size` bytes apart; read in pieces, so that memory stays small."""
        size = size or layout.size
        if count > (self.size - min(offset, self.size)) // size:
            raise Damage(f"{count} entries at {offset:#x} are beyond the end of the file")
        step = max(1, (1 << 16) // size)
        for first in range(0, count, step):
            data = self.read(offset + first * size, min(step, count - first) * size)
            for at in range(0, len(data), size):
                yield layout.unpack_from(data, at)

    def string(self, rva: int) -> str:
        """A MINIDUMP_STRING; long ones keep their head."""
        return "" if rva == 0 else self._string(rva, "utf-16-le")

    def utf8(self, rva: int) -> str:
        """A MinidumpUTF8String of Crashpad; long ones keep their head."""
        return "" if rva == 0 else self._string(rva, "utf-8")

    def spend(self, length: int) -> bool:
        """Whether there is a budget for so much more text; says once that it was used up."""
        if self.text_left < 0:
            return False
        self.text_left -= length
        if self.text_left < 0:
            raise Damage(f"the names are longer than {self.text_budget()} bytes in total: the rest is left out")
        return True

    def _string(self, rva: int, encoding: str) -> str:
        (length,) = struct.unpack("<I", self.read(rva, 4))
        if length > self.size - rva - 4:
            raise Damage(f"a string of {length} bytes at {rva:#x} is beyond the end of the file")
        length = min(length, MAX_STRING_BYTES)
        if encoding == "utf-16-le":
            length &= ~1
        if not self.spend(length):
            return ""
        key = rva << 1 | (encoding == "utf-8")
        if key not in self.strings:
            self.strings[key] = self.read(rva + 4, length).decode(encoding, "replace")
        return self.strings[key]


class Part:
    """A parser of some streams: it fills the `DumpFile`."""

    def __init__(self, reader: Reader, dump: DumpFile) -> None:
        self.reader = reader
        self.dump = dump

    def cut(self, name: str, count: int, limit: int = MAX_ITEMS) -> int:
        """How many entries of a list are read; says so if that is not all."""
        if count <= limit:
            return count
        self.dump.cut[name] = count
        return limit

    def problem(self, text: str) -> None:
        """Note what is damaged."""
        if len(self.dump.problems) < MAX_PROBLEMS:
            self.dump.problems.append(text)

    def text(self, rva: int, what: str) -> str:
        """A string; a damaged one costs that string."""
        try:
            return self.reader.string(rva)
        except Damage as damage:
            self.problem(f"{what}: {damage}")
            return ""

    def counted(self, stream: Stream, item: int) -> tuple[int, int]:
        """Count and offset of a list with a 32-bit count; some writers put 4 bytes of padding after the count."""
        (count,) = struct.unpack("<I", self.reader.read(stream.rva, 4))
        if 4 + count * item > stream.size:
            raise Damage(f"{count} entries do not fit into {stream.size} bytes")
        return count, stream.rva + (8 if stream.size == 8 + count * item else 4)
