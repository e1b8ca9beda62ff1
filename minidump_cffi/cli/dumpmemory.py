"""Memory in a minidump: what is stored of it, what is mapped, what is missing."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from itertools import accumulate, islice
from operator import sub

from .dumpbytes import MAX_ITEMS, Damage, Part, Reader
from .dumpmodel import DumpFile, Gap, Region, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .._native.snapshot import Snapshot

MAX_RANGES: Final = 250_000  # of memory, which are only counted and added up

_GAP = struct.Struct("<QQIi")
_GAP_HEADER = struct.Struct("<IIIIQQ8x")


class _Ranges:
    """Stored ranges [first, end), as arrays: there may be many more than is printed. Those that touch are one."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.first: array[int] = array("Q")
        self.end: array[int] = array("Q")
        for address, size in snapshot.memory():
            if self.end and self.end[-1] == address:
                self.end[-1] += size
            else:
                self.first.append(address)
                self.end.append(address + size)
        # below[i]: bytes stored in the ranges before i. Regions may overlap as they like, so none may walk the ranges.
        self.below: array[int] = array("Q", accumulate(map(sub, self.end, self.first), initial=0))

    def stored_below(self, address: int) -> int:
        """How many bytes are stored below the address."""
        at = bisect_right(self.first, address) - 1
        if at < 0:
            return 0
        stored: int = self.below[at] + min(address, self.end[at]) - self.first[at]
        return stored


class Memory(Part):
    """Memory and regions from the lists of the reader in C, and our own list of gaps."""

    def __init__(self, reader: Reader, dump: DumpFile, snapshot: Snapshot) -> None:
        super().__init__(reader, dump)
        self.snapshot = snapshot
        self.ranges: _Ranges = _Ranges(snapshot)
        self.starts: array[int] = array("Q")
        self.ends: array[int] = array("Q")
        self.names: array[int] = array("L")
        for first, end, name in snapshot.mappings():
            self.starts.append(first)
            self.ends.append(end)
            self.names.append(name)
        self.names_left: int = reader.text_budget()

    def fill(self) -> None:
        """Regions as the dump lists them; without that, the ranges."""
        self.cut("memory_ranges", self.snapshot.length("memory_ranges"), MAX_RANGES)
        self.cut("regions", self.snapshot.length("regions"))
        self.dump.memory_ranges = len(self.ranges.first)
        self.dump.memory_bytes = self.ranges.below[-1]
        for info in islice(self.snapshot.infos(), MAX_ITEMS):
            self._region(*info)
        if not self.dump.regions:
            count = self.cut("regions", len(self.ranges.first))
            for first, end in zip(self.ranges.first[:count], self.ranges.end[:count], strict=True):
                self._region(first, end - first, 0, 0, 0)

    def _region(self, base: int, size: int, state: int, protect: int, kind: int) -> None:
        stored = self.ranges.stored_below(base + size) - self.ranges.stored_below(base)
        name = self._name_at(base)
        self.dump.regions.append(
            Region(base=base, size=size, state=state, protect=protect, type=kind, stored=stored, name=name)
        )

    def _name_at(self, address: int) -> str:
        at = bisect_right(self.starts, address) - 1
        if at < 0 or address >= self.ends[at]:
            return ""
        name = self.snapshot.name(self.names[at])
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
