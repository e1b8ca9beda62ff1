"""The rules a dump file has to keep, read from its bytes: no reader library, and nothing of the product.

:class:`DumpFile` is a small parser for what the rules need. :func:`broken_rules` says which of them a file breaks.
Offsets are those of the minidump format (little endian, pack 4).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import mmap
import operator
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import corpus

THREAD_LIST, MODULE_LIST, MEMORY_LIST, SYSTEM_INFO = 3, 4, 5, 7
MEMORY64_LIST, MISC_INFO, MEMORY_INFO_LIST, THREAD_INFO_LIST, THREAD_NAMES = 9, 15, 16, 17, 24
CPUINFO, STATUS, LSB_RELEASE, CMDLINE, ENVIRON, AUXV, MAPS, DSO_DEBUG = range(0x47670003, 0x4767000B)
ALWAYS = (THREAD_LIST, MODULE_LIST, SYSTEM_INFO, MISC_INFO, MEMORY_INFO_LIST)
KNOWN_FLAGS = 0x01FFFFFF
THREAD_POINTERS = 0x4D444302
CONTEXT_AMD64 = 1232  # bytes
CONTEXT_X86 = 716
LIMIT32 = 1 << 32
STRING_UNITS = 1024
FULL_MEMORY = 2  # of the header's flags


@dataclass(frozen=True, kw_only=True)
class Range:
    """Target memory that is in the file."""

    address: int
    size: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class RawThread:
    """One MINIDUMP_THREAD."""

    tid: int
    teb: int
    stack: Range
    context: bytes

    def register(self, name: str) -> int:
        """A general register out of the AMD64 CONTEXT."""
        order = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)), "rip")
        value: int = struct.unpack_from("<Q", self.context, 120 + 8 * order.index(name))[0]
        return value

    def xmm(self, number: int) -> bytes:
        """An SSE register out of FltSave (offset 256, XmmRegisters at 160 in it)."""
        return self.context[256 + 160 + 16 * number :][:16]


@dataclass(frozen=True, kw_only=True)
class RawInfo:
    """One MINIDUMP_MEMORY_INFO."""

    base: int
    allocation_base: int
    size: int
    state: int
    protect: int
    type: int


class DumpFile:
    """A minidump, mapped and taken apart as far as the rules need."""

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self.path = Path(path)
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.data)
        self.signature, self.version, count, directory = struct.unpack_from("<4sIII", self.data, 0)
        (self.flags,) = struct.unpack_from("<Q", self.data, 24)
        self.directory = [struct.unpack_from("<III", self.data, directory + 12 * index) for index in range(count)]
        self.streams = {kind: (size, offset) for kind, size, offset in self.directory if kind}
        corpus.keep(self)

    def close(self) -> None:
        """Unmap the file."""
        self.data.close()

    def __enter__(self) -> DumpFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(self, kind: int) -> bytes:
        """A stream's bytes, empty if it is not there."""
        size, offset = self.streams.get(kind, (0, 0))
        return self.data[offset : offset + size]

    def string(self, offset: int) -> str:
        """A MINIDUMP_STRING; raises UnicodeDecodeError if it is no UTF-16."""
        (size,) = struct.unpack_from("<I", self.data, offset)
        return self.data[offset + 4 : offset + 4 + size].decode("utf-16-le")

    def threads(self) -> list[RawThread]:
        """The thread list."""
        found = []
        data = self.stream(THREAD_LIST)
        for index in range(struct.unpack_from("<I", data)[0]):
            tid, _, _, _, teb, stack, size, offset, context_size, context = struct.unpack_from(
                "<IIIIQQIIII", data, 4 + 48 * index
            )
            found.append(
                RawThread(
                    tid=tid,
                    teb=teb,
                    stack=Range(address=stack, size=size, offset=offset),
                    context=self.data[context : context + context_size],
                )
            )
        return found

    def thread_names(self) -> dict[int, str]:
        """Thread ids and names."""
        data = self.stream(THREAD_NAMES)
        if not data:
            return {}
        pairs = (struct.unpack_from("<IQ", data, 4 + 12 * n) for n in range(struct.unpack_from("<I", data)[0]))
        return {tid: self.string(offset) for tid, offset in pairs}

    def thread_pointers(self) -> dict[int, int]:
        """Thread ids and FS bases (docs/file.md, thread pointers)."""
        data = self.stream(THREAD_POINTERS)
        if not data:
            return {}
        version, header, entry, count = struct.unpack_from("<IIII", data)
        if (version, len(data)) != (1, header + count * entry):
            raise ValueError(f"version {version}, {len(data)} bytes for {count} entries")
        rows = (struct.unpack_from("<IIQ", data, header + entry * n) for n in range(count))
        return {tid: pointer for tid, _, pointer in rows}

    def modules(self) -> list[tuple[int, int, str, bytes]]:
        """Base, size, name and CodeView record of each module."""
        data = self.stream(MODULE_LIST)
        found = []
        for index in range(struct.unpack_from("<I", data)[0]):
            at = 4 + 108 * index
            base, size, _, _, name = struct.unpack_from("<QIIII", data, at)
            record_size, record = struct.unpack_from("<II", data, at + 76)
            found.append((base, size, self.string(name), self.data[record : record + record_size]))
        return found

    def memory(self) -> list[Range]:
        """MemoryList."""
        data = self.stream(MEMORY_LIST)
        found = []
        for index in range(struct.unpack_from("<I", data)[0] if data else 0):
            address, size, offset = struct.unpack_from("<QII", data, 4 + 16 * index)
            found.append(Range(address=address, size=size, offset=offset))
        return found

    def memory64(self) -> list[Range]:
        """Memory64List, with the offsets its base adds up to."""
        data = self.stream(MEMORY64_LIST)
        if not data:
            return []
        count, offset = struct.unpack_from("<QQ", data)
        found = []
        for index in range(count):
            address, size = struct.unpack_from("<QQ", data, 16 + 16 * index)
            found.append(Range(address=address, size=size, offset=offset))
            offset += size
        return found

    def infos(self) -> list[RawInfo]:
        """MemoryInfoList."""
        data = self.stream(MEMORY_INFO_LIST)
        header, entry, count = struct.unpack_from("<IIQ", data)
        found = []
        for index in range(count):
            base, allocation, _, _, size, state, protect, kind, _ = struct.unpack_from(
                "<QQIIQIIII", data, header + entry * index
            )
            found.append(
                RawInfo(base=base, allocation_base=allocation, size=size, state=state, protect=protect, type=kind)
            )
        return found

    def ranges(self) -> list[Range]:
        """All memory in the file, Memory64List before MemoryList."""
        return self.memory64() + self.memory()

    @functools.cached_property
    def _sorted(self) -> tuple[list[Range], list[Range]]:
        """Both lists by address; neither has overlaps in a sound file."""
        by_address = operator.attrgetter("address")
        return sorted(self.memory64(), key=by_address), sorted(self.memory(), key=by_address)

    def read(self, address: int, size: int) -> bytes | None:
        """Target memory, None if no one range holds all of it."""
        for ranges in self._sorted:
            place = bisect.bisect_right(ranges, address, key=operator.attrgetter("address")) - 1
            if place >= 0 and address + size <= ranges[place].address + ranges[place].size:
                at = ranges[place].offset + address - ranges[place].address
                return self.data[at : at + size]
        return None

    def read_across(self, address: int, size: int) -> bytes | None:
        """Target memory, pieced together from ranges that touch; None if a byte is missing."""
        pieces = sorted(self.ranges(), key=lambda item: item.address)
        found = b""
        for item in pieces:
            here = address + len(found)
            if item.address <= here < item.address + item.size:
                take = min(item.address + item.size - here, size - len(found))
                at = item.offset + here - item.address
                found += self.data[at : at + take]
                if len(found) == size:
                    return found
        return None

    def holds(self, address: int, size: int = 1) -> bool:
        """True if any byte of [address, address + size) is in the file."""
        return any(item.address < address + size and address < item.address + item.size for item in self.ranges())


def _overlaps(ranges: list[tuple[int, int]]) -> bool:
    ordered = sorted(ranges)
    return any(base + size > after for (base, size), (after, _) in itertools.pairwise(ordered))


def _memory_rules(dump: DumpFile) -> list[str]:
    broken = []
    listed, listed64, infos = dump.memory(), dump.memory64(), dump.infos()
    addresses = [item.address for item in listed]
    if addresses != sorted(addresses):
        broken.append("MemoryList is not sorted")
    if _overlaps([(item.address, item.size) for item in listed]):
        broken.append("MemoryList ranges overlap")
    # Debugger engines: "Full memory minidumps can't have MemoryListStreams", "Partial memory minidumps can't have
    # Memory64ListStreams".
    full = bool(dump.flags & FULL_MEMORY)
    if (MEMORY_LIST in dump.streams, MEMORY64_LIST in dump.streams) != (not full, full):
        broken.append("not exactly one memory list, and the one of its header flags")
    if any(item.size == 0 for item in listed):
        broken.append("MemoryList has an empty range")
    if MEMORY64_LIST in dump.streams:
        size, _ = dump.streams[MEMORY64_LIST]
        if size != 16 * (len(listed64) + 1):
            broken.append(f"Memory64List: directory says {size} bytes for {len(listed64)} ranges")
        if _overlaps([(item.address, item.size) for item in listed64]):
            broken.append("Memory64List ranges overlap")
        if any(item.size == 0 for item in listed64):
            broken.append("Memory64List has an empty range")
        starts = {item.base for item in infos}
        strays = [hex(item.address) for item in listed64 if item.address not in starts]
        if strays:
            broken.append(f"Memory64 ranges without a MemoryInfoList entry at their start: {strays[:4]}")
    for item in dump.ranges():
        if item.offset + item.size > dump.size:
            broken.append(f"memory at {item.address:#x} ends after the file's end")
            break
    if _overlaps([(item.base, item.size) for item in infos]):
        broken.append("MemoryInfoList entries overlap")
    if [item.base for item in infos] != sorted(item.base for item in infos):
        broken.append("MemoryInfoList is not sorted")
    return broken


def _thread_rules(dump: DumpFile) -> list[str]:
    broken = []
    listed = sorted(dump.ranges(), key=operator.attrgetter("address"))
    starts = [item.address for item in listed]
    narrow = dump.stream(SYSTEM_INFO)[:2] == b"\0\0"  # PROCESSOR_ARCHITECTURE_INTEL
    if not dump.threads():
        broken.append("there is no thread, without which a debugger engine does not start")
    for thread in dump.threads():
        if thread.context and len(thread.context) < (CONTEXT_X86 if narrow else CONTEXT_AMD64):
            broken.append(f"thread {thread.tid}: context of {len(thread.context)} bytes")
        stack = thread.stack
        if stack.size == 0:
            continue
        place = bisect.bisect_right(starts, stack.address) - 1
        item = listed[place] if place >= 0 else Range(address=0, size=0, offset=0)
        inside = stack.address + stack.size <= item.address + item.size
        if not inside or item.offset + stack.address - item.address != stack.offset:
            broken.append(f"thread {thread.tid}: its stack is not in the memory list")
    return broken


def _string_rules(dump: DumpFile) -> list[str]:
    try:
        names = [name for _, _, name, _ in dump.modules()] + list(dump.thread_names().values())
    except UnicodeDecodeError as error:
        return [f"a string is no UTF-16: {error}"]
    too_long = [name for name in names if len(name.encode("utf-16-le")) // 2 > STRING_UNITS]
    return [f"a string of more than {STRING_UNITS} units: {name[:40]}" for name in too_long]


def broken_rules(path: os.PathLike[str] | str) -> list[str]:
    """What the file does wrong; empty if nothing."""
    with DumpFile(path) as dump:
        if dump.signature != b"MDMP" or dump.version & 0xFFFF != 0xA793:
            return ["no minidump header"]
        broken = []
        if dump.flags & ~KNOWN_FLAGS:
            broken.append(f"unknown header flags {dump.flags:#x}")
        kinds = [kind for kind, _, _ in dump.directory if kind]
        broken += [f"stream {kind} is there twice" for kind in sorted(set(kinds)) if kinds.count(kind) > 1]
        broken += [f"stream {kind} is missing" for kind in ALWAYS if kind not in kinds]
        for kind, size, offset in dump.directory:
            if offset + size > min(dump.size, LIMIT32):
                broken.append(f"stream {kind} lies outside the file")
        if broken:
            return broken
        return _memory_rules(dump) + _thread_rules(dump) + _string_rules(dump)
