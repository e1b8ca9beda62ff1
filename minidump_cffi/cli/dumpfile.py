"""A bounded reader of minidumps for ``show``: any writer's, any platform's, damaged ones too.

Everything in a dump is hostile. Nothing is read that does not lie inside the file, every list is cut at a stated
length (`DumpFile.cut` says which and how long it is), only the first stream of each kind is looked at, and strings may
not be longer together than the file, however often it names them: time, memory and what is printed are bounded by the
size of the file, and memory by a constant. A header or directory that cannot be right is a `FormatError`; damage inside
a stream is listed in `DumpFile.problems`, and the rest is still read.

Layouts: minidumpapiset.h, and Breakpad's minidump_format.h for the streams of Linux.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_right
from itertools import accumulate, pairwise
from operator import attrgetter, sub

from ..errors import FormatError
from . import names
from .dumpmodel import DumpFile, Failure, Gap, Module, Region, Stream, System, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO, Final

MAX_STREAMS: Final = 4096
MAX_ITEMS: Final = 100_000
MAX_RANGES: Final = 250_000  # of memory, which are only counted and added up
MAX_MODULES: Final = 1 << 16
MAX_STRING_BYTES: Final = 1 << 16
MAX_TEXT_BYTES: Final = 16 << 20
FREE_TEXT_BYTES: Final = 1 << 20  # on top of the size of the file
MAX_PROBLEMS: Final = 100

_SIGNATURE: Final = 0x504D444D
_VERSION: Final = 0xA793
GAP_STREAM: Final = 0x4D444301  # csrc/format/mdc_streams.h


class _Damage(Exception):
    """A part of the file that cannot be right."""


class _Reader:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, os.SEEK_END)
        self.text_left = self.text_budget()
        self.strings: dict[int, str] = {}

    def text_budget(self) -> int:
        """Bytes that strings of one kind may have together, each counted as often as it is named."""
        return min(MAX_TEXT_BYTES, FREE_TEXT_BYTES + self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes."""
        if offset > self.size or size > self.size - offset:
            raise _Damage(f"{size} bytes at {offset:#x} are beyond the end of the file")
        self.stream.seek(offset)
        data = self.stream.read(size)
        if len(data) != size:
            raise _Damage(f"the file became shorter while it was read (at {offset:#x})")
        return data

    def rows(
        self, layout: struct.Struct, offset: int, count: int, size: int | None = None
    ) -> Iterator[tuple[int, ...]]:
        """`count` structures, `size` bytes apart; read in pieces, so that memory stays small."""
        size = size or layout.size
        if count > (self.size - min(offset, self.size)) // size:
            raise _Damage(f"{count} entries at {offset:#x} are beyond the end of the file")
        step = max(1, (1 << 16) // size)
        for first in range(0, count, step):
            data = self.read(offset + first * size, min(step, count - first) * size)
            for at in range(0, len(data), size):
                yield layout.unpack_from(data, at)

    def string(self, rva: int) -> str:
        """A MINIDUMP_STRING; long ones keep their head."""
        if rva == 0:
            return ""
        (length,) = struct.unpack("<I", self.read(rva, 4))
        if length > self.size - rva - 4:
            raise _Damage(f"a string of {length} bytes at {rva:#x} is beyond the end of the file")
        length = min(length & ~1, MAX_STRING_BYTES)
        if self.text_left < 0:
            return ""
        self.text_left -= length
        if self.text_left < 0:
            raise _Damage(f"the names are longer than {self.text_budget()} bytes in total: the rest is left out")
        if rva not in self.strings:
            self.strings[rva] = self.read(rva + 4, length).decode("utf-16-le", "replace")
        return self.strings[rva]


_HEADER = struct.Struct("<IIIIIIQ")
_DIRECTORY = struct.Struct("<III")
_THREAD = struct.Struct("<IIIIQQIIII")
_MODULE = struct.Struct("<QIIII52xIIII16x")
_MEMORY = struct.Struct("<QII")
_MEMORY64 = struct.Struct("<QQ")
_MEMORY_INFO = struct.Struct("<QQIIQIIII")
_GAP = struct.Struct("<QQIi")
_GAP_HEADER = struct.Struct("<IIIIQQ8x")
_EXCEPTION = struct.Struct("<I4xI12xQ")
_THREAD_NAME = struct.Struct("<IQ")

#: ProcessorArchitecture -> offsets of the instruction and stack pointer in the context, and their struct format
_REGISTERS: Final = {0: (184, 196, "<I"), 9: (248, 152, "<Q"), 12: (264, 256, "<Q"), 0x8003: (264, 256, "<Q")}


def _counted(reader: _Reader, stream: Stream, item: int) -> tuple[int, int]:
    """Count and offset of a list with a 32-bit count; some writers put 4 bytes of padding after the count."""
    (count,) = struct.unpack("<I", reader.read(stream.rva, 4))
    if 4 + count * item > stream.size:
        raise _Damage(f"{count} entries do not fit into {stream.size} bytes")
    return count, stream.rva + (8 if stream.size == 8 + count * item else 4)


class _Ranges:
    """Stored ranges [first, end), as arrays: there may be many more than is printed."""

    def __init__(self) -> None:
        self.first = array("Q")
        self.end = array("Q")

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


class _Parser:
    """Fills a DumpFile, stream by stream; a damaged stream costs that stream."""

    def __init__(self, reader: _Reader, dump: DumpFile) -> None:
        self.reader = reader
        self.dump = dump
        self.architecture = -1
        self.thread_names: dict[int, str] = {}
        self.ranges = _Ranges()
        self.mappings: list[tuple[int, int, str]] = []
        self.starts: list[int] = []
        self.names_left = reader.text_budget()

    def run(self) -> None:
        first: dict[int, Stream] = {}
        for stream in self.dump.streams:
            first.setdefault(stream.type, stream)
        # The order matters: threads need the processor and the names.
        steps: tuple[tuple[int, Callable[[Stream], None]], ...] = (
            (7, self._system),
            (15, self._misc),
            (24, self._thread_names),
            (3, self._threads),
            (4, self._modules),
            (5, self._memory),
            (9, self._memory64),
            (0x47670009, self._maps),
            (16, self._memory_info),
            (GAP_STREAM, self._gaps),
        )
        for number, step in steps:
            if number == 16:
                self._memory_ends()
            if number in first:
                self._guard(first[number], step)
        known = {number for number, _ in steps} | {0, 6}
        for stream in self.dump.streams:
            if stream.type not in known or (stream.type in first and stream is not first[stream.type]):
                self._guard(stream, lambda _: None)
        for stream in self.dump.streams:
            if stream.type == 6:  # LLDB writes one for each thread that stopped
                self._guard(stream, self._exception)
        if not self.dump.regions:
            self._regions_of_ranges()
        self.dump.regions.sort(key=attrgetter("base", "size", "state", "protect", "type"))

    def _cut(self, name: str, count: int, limit: int = MAX_ITEMS) -> int:
        """How many entries of a list are read; says so if that is not all."""
        if count <= limit:
            return count
        self.dump.cut[name] = count
        return limit

    def _problem(self, text: str) -> None:
        if len(self.dump.problems) < MAX_PROBLEMS:
            self.dump.problems.append(text)

    def _guard(self, stream: Stream, step: Callable[[Stream], None]) -> None:
        name = names.stream_name(stream.type)
        try:
            if stream.rva > self.reader.size or stream.size > self.reader.size - stream.rva:
                raise _Damage(f"{stream.size} bytes at {stream.rva:#x} are beyond the end of the file")
            step(stream)
        except _Damage as damage:
            self._problem(f"{name}: {damage}")

    def _text(self, rva: int, what: str) -> str:
        try:
            return self.reader.string(rva)
        except _Damage as damage:
            self._problem(f"{what}: {damage}")
            return ""

    def _system(self, stream: Stream) -> None:
        data = self.reader.read(stream.rva, min(stream.size, 56))
        if len(data) < 32:
            raise _Damage(f"{len(data)} bytes are too few")
        self.architecture, _, _, processors = struct.unpack_from("<HHHB", data)
        major, minor, build, platform, text = struct.unpack_from("<IIIII", data, 8)
        self.dump.system = System(
            processor=names.PROCESSORS.get(self.architecture, f"processor 0x{self.architecture:x}"),
            processors=processors,
            platform=names.PLATFORMS.get(platform, f"platform 0x{platform:x}"),
            version=f"{major}.{minor}.{build}",
            text=self._text(text, "SystemInfo"),
        )

    def _misc(self, stream: Stream) -> None:
        data = self.reader.read(stream.rva, min(stream.size, 24))
        if len(data) < 12:
            raise _Damage(f"{len(data)} bytes are too few")
        _, flags, process_id = struct.unpack_from("<III", data)
        if flags & 1:
            self.dump.process_id = process_id

    def _thread_names(self, stream: Stream) -> None:
        count, offset = _counted(self.reader, stream, _THREAD_NAME.size)
        for thread, rva in self.reader.rows(_THREAD_NAME, offset, min(count, MAX_ITEMS)):
            self.thread_names[thread] = self._text(rva, "ThreadNames")

    def _threads(self, stream: Stream) -> None:
        count, offset = _counted(self.reader, stream, _THREAD.size)
        for row in self.reader.rows(_THREAD, offset, self._cut("threads", count)):
            instruction, stack = self._registers(row[9], row[8])
            self.dump.threads.append(
                Thread(
                    id=row[0],
                    name=self.thread_names.get(row[0], ""),
                    stack=row[5],
                    stack_size=row[6],
                    context_size=row[8],
                    instruction_pointer=instruction,
                    stack_pointer=stack,
                )
            )

    def _registers(self, rva: int, size: int) -> tuple[int | None, int | None]:
        if self.architecture not in _REGISTERS or size == 0:
            return None, None
        instruction, stack, form = _REGISTERS[self.architecture]
        width = struct.calcsize(form)
        if max(instruction, stack) + width > size:
            return None, None
        try:
            data = self.reader.read(rva, max(instruction, stack) + width)
        except _Damage as damage:
            self._problem(f"ThreadList: a context: {damage}")
            return None, None
        return struct.unpack_from(form, data, instruction)[0], struct.unpack_from(form, data, stack)[0]

    def _modules(self, stream: Stream) -> None:
        count, offset = _counted(self.reader, stream, _MODULE.size)
        count = self._cut("modules", count, MAX_MODULES)
        for base, size, _, _, name, cv_size, cv_rva, _, _ in self.reader.rows(_MODULE, offset, count):
            path = self._text(name, "ModuleList: a name")
            self.dump.modules.append(Module(base=base, size=size, path=path, identity=self._identity(cv_rva, cv_size)))

    def _identity(self, rva: int, size: int) -> str:
        if size < 4:
            return ""
        try:
            data = self.reader.read(rva, min(size, 64))
        except _Damage as damage:
            self._problem(f"ModuleList: a CodeView record: {damage}")
            return ""
        if data[:4] == b"LEpB":
            return data[4:].hex()
        if data[:4] == b"RSDS" and len(data) >= 24:
            first, second, third = struct.unpack_from("<IHH", data, 4)
            (age,) = struct.unpack_from("<I", data, 20)
            return f"{first:08x}{second:04x}{third:04x}{data[12:20].hex()}{age:x}"
        return ""

    def _add_ranges(self, rows: Iterator[tuple[int, int, int]]) -> None:
        """Take ranges (base, size, offset in the file); of one that is cut off only what is there."""
        cut = 0
        for base, size, offset in rows:
            if size > (1 << 64) - base:
                raise _Damage(f"the range at {base:#x} extends beyond the end of the address space")
            there = max(0, min(size, self.reader.size - offset))
            cut += there < size
            self.ranges.first.append(base)
            self.ranges.end.append(min(base + there, (1 << 64) - 1))
        if cut:
            raise _Damage(f"{cut} ranges are beyond the end of the file: it is truncated")

    def _memory(self, stream: Stream) -> None:
        count, offset = _counted(self.reader, stream, _MEMORY.size)
        count = self._cut("memory_ranges", count, MAX_RANGES)
        self._add_ranges((row[0], row[1], row[2]) for row in self.reader.rows(_MEMORY, offset, count))

    def _memory64(self, stream: Stream) -> None:
        count, at = struct.unpack("<QQ", self.reader.read(stream.rva, 16))
        if 16 + count * _MEMORY64.size > stream.size:
            raise _Damage(f"{count} entries do not fit into {stream.size} bytes")
        count = self._cut("memory_ranges", count, MAX_RANGES)

        def placed(at: int) -> Iterator[tuple[int, int, int]]:
            for base, size in self.reader.rows(_MEMORY64, stream.rva + 16, count):
                yield base, size, at
                at += size

        self._add_ranges(placed(at))

    def _memory_info(self, stream: Stream) -> None:
        header, entry, count = struct.unpack("<IIQ", self.reader.read(stream.rva, 16))
        if header < 16 or entry < _MEMORY_INFO.size or header + count * entry > stream.size:
            raise _Damage(f"header {header}, entry {entry} and count {count} do not fit into {stream.size} bytes")
        for row in self.reader.rows(_MEMORY_INFO, stream.rva + header, self._cut("regions", count), entry):
            self._region(row[0], row[4], row[5], row[6], row[7])

    def _maps(self, stream: Stream) -> None:
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
                    raise _Damage("malformed line of /proc/PID/maps") from None
                name = fields[5]
                if name not in names:
                    left -= len(name)
                    if left < 0:
                        raise _Damage(f"the names are longer than {self.reader.text_budget()} bytes in total")
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
                raise _Damage(f"a line is longer than {MAX_STRING_BYTES} bytes")
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
            self._problem("LinuxMaps: the names of the regions are too long in total: the rest is left out")
            return ""
        return name

    def _gaps(self, stream: Stream) -> None:
        """Take our own stream: gaps known beforehand, and at the end of the file those found while reading."""
        if stream.size < _GAP_HEADER.size:
            raise _Damage(f"{stream.size} bytes are too few")
        head = _GAP_HEADER.unpack(self.reader.read(stream.rva, _GAP_HEADER.size))
        _, header, entry, planned, tail, capacity = head
        if header < _GAP_HEADER.size or entry < _GAP.size or header + planned * entry > stream.size:
            raise _Damage(f"header {header}, entry {entry} and count {planned} do not fit into {stream.size} bytes")
        (found,) = struct.unpack("<Q", self.reader.read(tail, 8))
        if found > capacity:
            raise _Damage(f"{found} entries are more than there can be")
        left = self._cut("gaps", planned + found)
        for offset, count in ((stream.rva + header, planned), (tail + 8, found)):
            count = min(count, left)
            left -= count
            for row in self.reader.rows(_GAP, offset, count, entry):
                self.dump.gaps.append(Gap(address=row[0], size=row[1], reason=row[2], errno=row[3]))

    def _exception(self, stream: Stream) -> None:
        if stream.size < _EXCEPTION.size:
            raise _Damage(f"{stream.size} bytes are too few")
        thread, code, address = _EXCEPTION.unpack(self.reader.read(stream.rva, _EXCEPTION.size))
        self.dump.failures.append(Failure(thread=thread, code=code, address=address))

    def _memory_ends(self) -> None:
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

    def _regions_of_ranges(self) -> None:
        count = self._cut("regions", len(self.ranges.first))
        for first, end in zip(self.ranges.first[:count], self.ranges.end[:count], strict=True):
            self._region(first, end - first, 0, 0, 0)


def read_dump(path: str | os.PathLike[str]) -> DumpFile:
    """Read what a minidump holds, not its memory.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        It is not a minidump, or its header or directory is invalid.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as stream:
        reader = _Reader(stream)
        try:
            if reader.size < _HEADER.size:
                raise _Damage(f"this is not a minidump: it has only {reader.size} bytes")
            signature, version, count, rva, _, timestamp, flags = _HEADER.unpack(reader.read(0, _HEADER.size))
            if signature != _SIGNATURE or version & 0xFFFF != _VERSION:
                raise _Damage("this is not a minidump: it does not begin with MDMP and the version 0xa793")
            if count > MAX_STREAMS:
                raise _Damage(f"a directory of {count} streams is more than this reader takes ({MAX_STREAMS})")
            rows = list(reader.rows(_DIRECTORY, rva, count))
        except _Damage as damage:
            raise FormatError(f"{os.fspath(path)}: {damage}") from None
        dump = DumpFile(file_bytes=reader.size, version=version, timestamp=timestamp, flags=flags)
        dump.streams = [Stream(type=row[0], size=row[1], rva=row[2]) for row in rows]
        _Parser(reader, dump).run()
    return dump
