"""What ``show`` shows of a core, or of a minidump: any writer's, any platform's, damaged ones too.

The reader is that of `open_dump`, in C, and what it says is cut at stated lengths (`DumpFile.cut` says which list, and
how long it is); strings may not be longer together than the file, however often it names them: time, memory and what is
printed are bounded by the size of the file, and memory by a constant. A header or directory that cannot be right is a
`FormatError`; damage inside a stream is listed in `DumpFile.problems`, and the rest is still read.

`Parser` knows which stream goes where: threads, modules and memory come from C (dumpprocess, dumpmemory), small streams
that are mostly text are read here (dumpextra).
"""

from __future__ import annotations

import os
from collections import Counter
from operator import attrgetter

from ..errors import FormatError
from ..reading._dump import opened_snapshot
from . import names
from .dumpbytes import MAX_ITEMS, Damage, Part, Reader
from .dumpextra import Extra
from .dumpmemory import MAX_RANGES, Memory
from .dumpmodel import DumpFile, Stream
from .dumpprocess import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .._native.snapshot import Snapshot

__all__ = ["MAX_ITEMS", "DumpFile", "read_dump"]

MAX_STREAMS: Final = 4096

_UNUSED, _EXCEPTION, _LLDB = 0, 6, 0x4C4C4442
_GAPS: Final = 0x4D444301  # csrc/format/mdc_streams.h
_READ_IN_C: Final = frozenset({3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 16, 17, 24, 0x47670009})
"""Streams that C reads, the first one of each, and all exceptions: it says what is wrong with them."""


class _Parser(Part):
    """Fills a DumpFile, stream by stream; a damaged stream costs that stream."""

    def run(self, snapshot: Snapshot, texts: list[Stream]) -> None:
        """texts: of a core, as if they were streams."""
        for fault in snapshot.faults():
            self.problem(fault.message)
        Process(self.reader, self.dump, snapshot).fill()
        memory, extra = Memory(self.reader, self.dump, snapshot), Extra(self.reader, self.dump)
        first: dict[int, Stream] = {}
        for stream in self.dump.streams or texts:
            first.setdefault(stream.type, stream)
        steps: dict[int, Callable[[Stream], None]] = {**extra.steps(), _GAPS: memory.gaps}
        for number, step in steps.items():
            if number in first:
                self._guard(first[number], step)
        memory.fill()
        for stream in self.dump.streams:
            if stream.type == _UNUSED or stream.type == _EXCEPTION:
                continue
            again = stream is not first[stream.type]
            if again or (stream.type not in steps and stream.type not in _READ_IN_C):
                self._guard(stream, _nothing if again or stream.type in names.STREAMS else extra.unknown)
        self._duplicates(_LLDB in first)
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
                raise Damage(f"{stream.size} bytes at offset {stream.rva:#x} are beyond the end of the file")
            step(stream)
        except Damage as damage:
            self.problem(f"{name}: {damage}")


def _nothing(stream: Stream) -> None:
    """Of streams that are only named, the place is checked."""


def read_dump(path: str | os.PathLike[str] | int) -> DumpFile:
    """Read what a minidump holds, not its memory.

    Parameters
    ----------
    path
        The file, or a descriptor.

    Raises
    ------
    FormatError
        It is not a minidump, or its header or directory is invalid.
    OSError
        The file cannot be read.
    """
    with opened_snapshot(path, list_max=MAX_ITEMS, range_max=MAX_RANGES) as (snapshot, name):
        if snapshot.entry_count > MAX_STREAMS:
            raise FormatError(
                f"{name}: a directory of {snapshot.entry_count} streams is more than this reader takes ({MAX_STREAMS})"
            )
        version, timestamp, flags = snapshot.header
        dump = DumpFile(file_bytes=snapshot.file_bytes, version=version, timestamp=timestamp, flags=flags)
        dump.streams = [Stream(type=entry.type, size=entry.size, rva=entry.offset) for entry in snapshot.streams()]
        body, texts = b"", []
        for number, text in snapshot.texts():
            texts.append(Stream(type=number, size=len(text), rva=len(body)))
            body += text
        if texts:
            reader = Reader(lambda offset, size: body[offset : offset + size], len(body))
        else:
            reader = Reader(snapshot.file, snapshot.file_bytes)
        _Parser(reader, dump).run(snapshot, texts)
    return dump
