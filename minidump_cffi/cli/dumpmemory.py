"""Memory in a minidump: what is stored of it, what is mapped, what is missing."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from itertools import accumulate, pairwise
from operator import sub

from .dumpbytes import MAX_ITEMS, MAX_STRING_BYTES, Damage, Part, Reader
from .dumpmodel import DumpFile, Gap, Region, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

MAX_RANGES: Final = 250_000  # of memory, which are only counted and added up

_MEMORY = struct.Struct("<QII")
_MEMORY64 = struct.Struct("<QQ")
_MEMORY_INFO = struct.Struct("<QQIIQIIII")
_GAP = struct.Struct("<QQIi")
_GAP_HEADER = struct.Struct("<IIIIQQ8x")


class _Ranges:
    """Stored ranges [first, end), as arrays: there may be many more than is printed."""

    def __init__(self) -> None:
        self.first: array[int] = array("Q")
        self.end: array[int] = array("Q")
        self.below: array[int] = array("Q")

    def merge(self) -> None:
        """Sort them, and make one of those that touch or overlap."""
        first, end = self.first, self.end
        order: Iterable[int] = range(len(first))
        if any(left > right for left, right in pairwise(first)):
            order = sorted(order, key=first.__getitem__)
        self.first, self.end = array("Q"), array("Q")
        for at in order:
            if self.end and first[at] <= self.end[-1]:
                self.end[-1] = max(end[at], self.end[-1])
            elif end[at] > first[at]:
                self.first.append(first[at])
                self.end.append(end[at])
        # below[i]: bytes stored in the ranges before i. Regions may overlap as they like, so none may walk the ranges.
        self.below = array("Q", accumulate(map(sub, self.end, self.first), initial=0))

    def stored_below(self, address: int) -> int:
        """How many bytes are stored below the address."""
        at = bisect_right(self.first, address) - 1
        if at < 0:
            return 0
        stored: int = self.below[at] + min(address, self.end[at]) - self.first[at]
        return stored


class Memory(Part):
    """The memory lists, the list of regions, the text of the mappings, and our own list of gaps."""

    def __init__(self, reader: Reader, dump: DumpFile) -> None:
        super().__init__(reader, dump)
        self.ranges: _Ranges = _Ranges()
        self.mappings: list[tuple[int, int, str]] = []
        self.starts: list[int] = []
        self.names_left: int = reader.text_budget()

    def _add_ranges(self, rows: Iterator[tuple[int, int, int]]) -> None:
        """Take ranges (base, size, offset in the file); of one that is cut off only what is there."""
        cut = 0
        for base, size, offset in rows:
            if size > (1 << 64) - base:
                raise Damage(f"the range at {base:#x} extends beyond the end of the address space")
            there = max(0, min(size, self.reader.size - offset))
            cut += there < size
            self.ranges.first.append(base)
            self.ranges.end.append(min(base + there, (1 << 64) - 1))
        if cut:
            raise Damage(f"{cut} ranges are beyond the end of the file: it is truncated")

    def memory(self, stream: Stream) -> None:
        count, offset = self.counted(stream, _MEMORY.size)
        count = self.cut("memory_ranges", count, MAX_RANGES)
        self._add_ranges((row[0], row[1], row[2]) for row in self.reader.rows(_MEMORY, offset, count))

    def memory64(self, stream: Stream) -> None:
        count, at = struct.unpack("<QQ", self.reader.read(stream.rva, 16))
        if 16 + count * _MEMORY64.size > stream.size:
            raise Damage(f"{count} entries do not fit into {stream.size} bytes")
        count = self.cut("memory_ranges", count, MAX_RANGES)

        def placed(at: int) -> Iterator[tuple[int, int, int]]:
            for base, size in self.reader.rows(_MEMORY64, stream.rva + 16, count):
                yield base, size, at
                at += size

        self._add_ranges(placed(at))

    def memory_info(self, stream: Stream) -> None:
        header, entry, count = struct.unpack("<IIQ", self.reader.read(stream.rva, 16))
        if header < 16 or entry < _MEMORY_INFO.size or header + count * entry > stream.size:
            raise Damage(f"header {header}, entry {entry} and count {count} do not fit into {stream.size} bytes")
        for row in self.reader.rows(_MEMORY_INFO, stream.rva + header, self.cut("regions", count), entry):
            self._region(row[0], row[4], row[5], row[6], row[7])

    def maps(self, stream: Stream) -> None:
        """Take the names of the mappings from /proc/PID/maps, where the dump has it."""
        names: dict[bytes, str] = {}
        left = self.reader.text_budget()
        for line in self._lines(stream):
            fields = line.split(None, 5)
            if len(fields) == 6:
                first, _, end = fields[0].partition(b"-")
                try:
                    place = int(first, 16), int(end, 16)
                except ValueError:
                    raise Damage("malformed line of /proc/PID/maps") from None
                name = fields[5]
                if name not in names:
                    left -= len(name)
                    if left < 0:
                        raise Damage(f"the names are longer than {self.reader.text_budget()} bytes in total")
                    names[name] = name.decode("utf-8", "replace")
                self.mappings.append((*place, names[name]))
        self.mappings.sort()
        self.starts = [mapping[0] for mapping in self.mappings]

    def _lines(self, stream: Stream) -> Iterator[bytes]:
        """The lines of a text; read in pieces, MAX_ITEMS lines at most."""
        rest, count = b"", 0
        for offset in range(0, stream.size, MAX_STRING_BYTES):
            piece = self.reader.read(stream.rva + offset, min(MAX_STRING_BYTES, stream.size - offset))
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_STRING_BYTES:
                raise Damage(f"a line is longer than {MAX_STRING_BYTES} bytes")
            yield from lines[: MAX_ITEMS - count]
            count += len(lines)
            if count >= MAX_ITEMS:
                return
        yield rest

    def _name_at(self, address: int) -> str:
        at = bisect_right(self.starts, address) - 1
        if at < 0 or address >= self.mappings[at][1]:
            return ""
        name = self.mappings[at][2]
        if self.names_left < 0:
            return ""
        self.names_left -= len(name)
        if self.names_left < 0:
            self.problem("LinuxMaps: the names of the regions are too long in total: the rest is left out")
            return ""
        return name

    def gaps(self, stream: Stream) -> None:
        """Take our own stream: gaps known beforehand, and at the end of the file those found while reading."""
        if stream.size < _GAP_HEADER.size:
            raise Damage(f"{stream.size} bytes are too few")
        head = _GAP_HEADER.unpack(self.reader.read(stream.rva, _GAP_HEADER.size))
        _, header, entry, planned, tail, capacity = head
        if header < _GAP_HEADER.size or entry < _GAP.size or header + planned * entry > stream.size:
            raise Damage(f"header {header}, entry {entry} and count {planned} do not fit into {stream.size} bytes")
        (found,) = struct.unpack("<Q", self.reader.read(tail, 8))
        if found > capacity:
            raise Damage(f"{found} entries are more than there can be")
        left = self.cut("gaps", planned + found)
        for offset, count in ((stream.rva + header, planned), (tail + 8, found)):
            count = min(count, left)
            left -= count
            for row in self.reader.rows(_GAP, offset, count, entry):
                self.dump.gaps.append(Gap(address=row[0], size=row[1], reason=row[2], errno=row[3]))

    def memory_ends(self) -> None:
        self.ranges.merge()
        self.dump.memory_ranges = len(self.ranges.first)
        self.dump.memory_bytes = self.ranges.below[-1]

    def _region(self, base: int, size: int, state: int, protect: int, kind: int) -> None:
        """A region with what is stored of it. Ranges overlap where a stack is in both memory lists."""
        stored = self.ranges.stored_below(base + size) - self.ranges.stored_below(base)
        name = self._name_at(base)
        self.dump.regions.append(
            Region(base=base, size=size, state=state, protect=protect, type=kind, stored=stored, name=name)
        )

    def regions_of_ranges(self) -> None:
        count = self.cut("regions", len(self.ranges.first))
        for first, end in zip(self.ranges.first[:count], self.ranges.end[:count], strict=True):
            self._region(first, end - first, 0, 0, 0)
