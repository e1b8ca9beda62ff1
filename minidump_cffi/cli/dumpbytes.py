"""The bytes of streams, read within bounds; and what all their parsers share."""

from __future__ import annotations

import struct

from ..errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from .dumpmodel import DumpFile

MAX_ITEMS: Final = 100_000
MAX_STRING_BYTES: Final = 1 << 16
MAX_TEXT_BYTES: Final = 16 << 20
FREE_TEXT_BYTES: Final = 1 << 20  # on top of the size of the file
MAX_PROBLEMS: Final = 100


class Damage(Exception):
    """A part of the file that cannot be right."""


class Reader:
    """The file: nothing is read that does not lie inside of it."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self.size: int = size
        self.text_left: int = self.text_budget()
        self.strings: dict[int, str] = {}

    def text_budget(self) -> int:
        """Bytes that strings of one kind may have together, each counted as often as it is named."""
        return min(MAX_TEXT_BYTES, FREE_TEXT_BYTES + self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes."""
        try:
            return self._read(offset, size)
        except FormatError as error:
            raise Damage(str(error)) from None

    def rows(
        self, layout: struct.Struct, offset: int, count: int, size: int | None = None
    ) -> Iterator[tuple[int, ...]]:
        """`count` structures, `size` bytes apart; read in pieces, so that memory stays small."""
        size = size or layout.size
        if count > (self.size - min(offset, self.size)) // size:
            raise Damage(f"{count} entries at offset {offset:#x} are beyond the end of the file")
        step = max(1, (1 << 16) // size)
        for first in range(0, count, step):
            data = self.read(offset + first * size, min(step, count - first) * size)
            for at in range(0, len(data), size):
                yield layout.unpack_from(data, at)

    def utf8(self, rva: int) -> str:
        """A MinidumpUTF8String of Crashpad; long ones keep their head."""
        if rva == 0:
            return ""
        (length,) = struct.unpack("<I", self.read(rva, 4))
        if length > self.size - rva - 4:
            raise Damage(f"a string of {length} bytes at {rva:#x} is beyond the end of the file")
        length = min(length, MAX_STRING_BYTES)
        if not self.spend(length):
            return ""
        if rva not in self.strings:
            self.strings[rva] = self.read(rva + 4, length).decode("utf-8", "replace")
        return self.strings[rva]

    def spend(self, length: int) -> bool:
        """Whether there is a budget for so much more text; says once that it was used up."""
        if self.text_left < 0:
            return False
        self.text_left -= length
        if self.text_left < 0:
            raise Damage(f"the names are longer than {self.text_budget()} bytes in total: the rest is left out")
        return True


class Part:
    """What fills a part of the `DumpFile`."""

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

    def text(self, text: str, what: str) -> str:
        """A name, as long as there is a budget for names."""
        try:
            return text if self.reader.spend(2 * len(text)) else ""
        except Damage as damage:
            self.problem(f"{what}: {damage}")
            return ""
