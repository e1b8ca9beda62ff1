"""A bounded reader of minidumps for ``show``: any writer's, any platform's, damaged ones too.

Everything in a dump is hostile. Nothing is read that does not lie inside the file, every list is cut at a stated
length (`DumpFile.cut` says which and how long it is), only the first stream of each kind is looked at, and strings may
not be longer together than the file, however often it names them: time, memory and what is printed are bounded by the
size of the file, and memory by a constant. A header or directory that cannot be right is a `FormatError`; damage inside
a stream is listed in `DumpFile.problems`, and the rest is still read.

Layouts: minidumpapiset.h, and Breakpad's minidump_format.h for the streams of Linux. `Parser` knows which stream goes
where; dumpprocess, dumpmemory and dumpextra read them.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from operator import attrgetter

from ..errors import FormatError
from . import names
from .dumpbytes import MAX_ITEMS, Damage, Part, Reader
from .dumpextra import Extra
from .dumpmemory import Memory
from .dumpmodel import DumpFile, Stream
from .dumpprocess import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

__all__ = ["MAX_ITEMS", "DumpFile", "read_dump"]

MAX_STREAMS: Final = 4096

_SIGNATURE: Final = 0x504D444D
_VERSION: Final = 0xA793
_UNUSED, _EXCEPTION, _MEMORY_INFO, _LLDB = 0, 6, 16, 0x4C4C4442

_HEADER = struct.Struct("<IIIIIIQ")
_DIRECTORY = struct.Struct("<III")


class _Parser(Part):
    """Fills a DumpFile, stream by stream; a damaged stream costs that stream."""

    def run(self) -> None:
        parts = self.reader, self.dump
        process, memory, extra = Process(*parts), Memory(*parts), Extra(*parts)
        first: dict[int, Stream] = {}
        for stream in self.dump.streams:
            first.setdefault(stream.type, stream)
        # The order matters: threads need the processor and the names, regions the ranges and the mappings.
        steps: dict[int, Callable[[Stream], None]] = {
            7: process.system,
            15: process.misc,
            24: process.thread_names,
            3: process.threads,
            4: process.modules,
            **extra.steps(),
            5: memory.memory,
            9: memory.memory64,
            0x47670009: memory.maps,
            _MEMORY_INFO: memory.memory_info,
            0x4D444301: memory.gaps,  # csrc/format/mdc_streams.h
        }
        for number, step in steps.items():
            if number == _MEMORY_INFO:
                memory.memory_ends()
            if number in first:
                self._guard(first[number], step)
        for stream in self.dump.streams:
            if stream.type == _EXCEPTION:  # LLDB writes one for each thread that stopped
                self._guard(stream, process.exception)
            elif stream.type != _UNUSED and (stream.type not in steps or stream is not first[stream.type]):
                known = stream.type in names.STREAMS or stream is not first[stream.type]
                self._guard(stream, _nothing if known else extra.unknown)
        self._duplicates(_LLDB in first)
        if not self.dump.regions:
            memory.regions_of_ranges()
        self.dump.regions.sort(key=attrgetter("base", "size", "state", "protect", "type"))

    def _duplicates(self, lldb: bool) -> None:
        """Readers take the first or the last of two streams: what they show depends on it."""
        allowed = {_UNUSED, _EXCEPTION} if lldb else {_UNUSED}
        for number, count in Counter(stream.type for stream in self.dump.streams).items():
            if count > 1 and number not in allowed:
                self.problem(f"{names.stream_name(number)}: there are {count:,} streams of this kind")

    def _guard(self, stream: Stream, step: Callable[[Stream], None]) -> None:
        name = names.stream_name(stream.type)
        try:
            if stream.rva > self.reader.size or stream.size > self.reader.size - stream.rva:
                raise Damage(f"{stream.size} bytes at {stream.rva:#x} are beyond the end of the file")
            step(stream)
        except Damage as damage:
            self.problem(f"{name}: {damage}")


def _nothing(stream: Stream) -> None:
    """Of streams that are only named, the place is checked."""


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
        reader = Reader(stream)
        try:
            if reader.size < _HEADER.size:
                raise Damage(f"this is not a minidump: it has only {reader.size} bytes")
            signature, version, count, rva, _, timestamp, flags = _HEADER.unpack(reader.read(0, _HEADER.size))
            if signature != _SIGNATURE or version & 0xFFFF != _VERSION:
                raise Damage("this is not a minidump: it does not begin with MDMP and the version 0xa793")
            if count > MAX_STREAMS:
                raise Damage(f"a directory of {count} streams is more than this reader takes ({MAX_STREAMS})")
            rows = list(reader.rows(_DIRECTORY, rva, count))
        except Damage as damage:
            raise FormatError(f"{os.fspath(path)}: {damage}") from None
        dump = DumpFile(file_bytes=reader.size, version=version, timestamp=timestamp, flags=flags)
        dump.streams = [Stream(type=row[0], size=row[1], rva=row[2]) for row in rows]
        _Parser(reader, dump).run()
    return dump
