"""The lists and the memory of a file, as C reads it: what `mdc_snapshot` and `mdc_dump_view` hold, as records."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from itertools import islice

from .. import sinks
from ..enums import Kind, MemoryProtect, MemoryState, MemoryType
from ..errors import FormatError
from ..reading._items import (
    ExceptionRecord,
    Fault,
    Handle,
    MemoryRange,
    Module,
    Region,
    StreamEntry,
    System,
    Thread,
    UnloadedModule,
)
from . import file_sources
from ._ext import ffi, lib
from .errors import exception, new_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Snapshot", "core", "dump"]

_PROTECT = 0x7FF  # what MemoryProtect has names for; of others there could be as many as there are regions
_TYPE = 0x1060000
_POINTERS_END = {0: 200, 5: 68, 9: 256, 12: 272, 0x8003: 272}
"""By architecture, the bytes of a context up to the end of both pointers."""

_RUNS = 64
_HELD = {lib.MDC_CONTENT_DATA, lib.MDC_CONTENT_ZERO, lib.MDC_CONTENT_UNTOUCHED, lib.MDC_CONTENT_FILE}
_TEXT_MAX = 16 << 20
_TEXTS = {
    lib.MDC_STREAM_CMDLINE: 0x47670006,
    lib.MDC_STREAM_ENVIRON: 0x47670007,
    lib.MDC_STREAM_AUXV: 0x47670008,
}
"""Text streams that a core has, too, and their types in a minidump."""
LISTS = {
    "threads": lib.MDC_DUMP_THREADS,
    "modules": lib.MDC_DUMP_MODULES,
    "handles": lib.MDC_DUMP_HANDLES,
    "regions": lib.MDC_DUMP_INFOS,
    "memory_ranges": lib.MDC_DUMP_RANGES,
}
"""Lists of which a limited reader takes a part, by their names for `Snapshot.length`."""

if TYPE_CHECKING:
    RawRegion = tuple[int, int, int, int, int]
    """Base, size, state, protection and type, as in the file."""


class Snapshot:
    """What both kinds of files have. Not to be used after `close`."""

    def __init__(self, slot: Any, file_bytes: int, timestamp: int = 0) -> None:
        reading, error = ffi.new("mdc_reading **"), new_error()
        if lib.mdc_reading_new(slot, reading, error) != lib.MDC_OK:
            raise exception(error)
        self._reading = ffi.gc(reading[0], lib.mdc_reading_free)
        self._lists = lib.mdc_reading_snapshot(self._reading)
        self._contexts: dict[tuple[int, int], bytes] = {}
        self._texts: dict[tuple[int, int], str] = {}
        self._bases: array[int] = array("Q")
        self.file_bytes: int = file_bytes
        self._timestamp = timestamp

    def close(self) -> None:
        ffi.release(self._reading)

    # ---------------------------------------------------------------------------------------------- as a core has them

    @property
    def pid(self) -> int | None:
        pid: int = lib.mdc_reading_pid(self._reading)
        return pid or None

    @property
    def header(self) -> tuple[int, int, int]:
        """Version, timestamp and flags."""
        return 0, self._timestamp, 0

    @property
    def entry_count(self) -> int:
        """How many entries the directory has."""
        return 0

    def length(self, name: str) -> int:
        """How many entries a list of `LISTS` has in the file."""
        counts: dict[str, int] = {
            "threads": self._lists.thread_count,
            "modules": self._lists.module_count,
            "handles": self._lists.handle_count,
            "regions": self._lists.region_count,
        }
        return counts.get(name, 0)

    def streams(self) -> Iterator[StreamEntry]:
        return iter(())

    def faults(self) -> Iterator[Fault]:
        if self._lists.cut_bytes:
            yield Fault(stream=0, message=f"the core was cut: {self._lists.cut_bytes:,} bytes are missing")

    def file(self, offset: int, size: int) -> bytes:
        raise FormatError("this is a core: it has no streams")

    def exceptions(self) -> Iterator[ExceptionRecord]:
        """The signal; a thread's registers are those of that time."""
        crash = self._lists.crash
        if not crash.known or crash.thread >= self._lists.thread_count:
            return
        thread = next(islice(self.threads(), crash.thread, None))
        yield ExceptionRecord(
            thread=thread.id,
            code=crash.signal,
            flags=crash.code,
            address=crash.address,
            parameters=tuple(crash.parameters)[: min(crash.parameter_count, 3)],
            instruction_pointer=thread.instruction_pointer,
            stack_pointer=thread.stack_pointer,
            context=thread.context,
            architecture=thread.architecture,
        )

    def parameter_words(self, index: int) -> tuple[int, tuple[int, ...]]:
        """Of an exception: how many parameters it says it has, and all words of them."""
        crash = self._lists.crash
        return crash.parameter_count, tuple(crash.parameters)

    def infos(self) -> Iterator[RawRegion]:
        """The list of regions as it is in the file, by address."""
        for index in range(self._lists.region_count):
            region = self._lists.regions[index]
            yield region.base, region.size, region.state, region.protect, region.type

    def mappings(self) -> Iterator[tuple[int, int, int]]:
        """Named parts of the address space, sorted: first address, end, number for `name`."""
        for index in range(self._lists.region_count):
            region = self._lists.regions[index]
            yield region.base, region.base + region.size, region.name_id

    def memory(self) -> Iterator[tuple[int, int]]:
        """Runs that the file holds, sorted and disjoint: address and size."""
        runs, after = ffi.new("mdc_content[]", _RUNS), ffi.new("uint64_t *")
        for index in range(self._lists.region_count):
            region = self._lists.regions[index]
            at, end = region.base, region.base + region.size
            while at < end:
                count = lib.mdc_reading_content(self._reading, index, at, end, runs, _RUNS, after)
                for run in runs[0:count]:
                    if run.what in _HELD:
                        yield run.first, run.end - run.first
                if after[0] <= at:
                    break
                at = after[0]

    def texts(self) -> Iterator[tuple[int, bytes]]:
        """Texts of the process that are in no stream: type of the stream they would be in, and bytes."""
        for index in range(self._lists.text_count):
            text = self._lists.texts[index]
            number = _TEXTS.get(text.stream)
            if number is None or text.size > _TEXT_MAX:
                continue
            if text.data != ffi.NULL:
                yield number, bytes(ffi.buffer(text.data, text.size))
            else:
                yield number, self.read(text.address, text.size)[0]

    # ---------------------------------------------------------------------------------------------------- of the target

    def system(self) -> System | None:
        """None: the file does not say."""
        system = self._lists.system
        return System(
            architecture=system.architecture,
            processors=system.processors,
            platform=system.platform,
            major=system.major,
            minor=system.minor,
            build=system.build,
            text=self._name(system.csd_version),
        )

    def threads(self) -> Iterator[Thread]:
        architecture = self._lists.system.architecture
        for index in range(self._lists.thread_count):
            thread = self._lists.threads[index]
            known = not thread.flags & lib.MDC_THREAD_NO_REGISTERS
            yield Thread(
                id=thread.tid,
                name=self._name(thread.name),
                **self._registers(thread, known),
                stack=_span(thread.stack_first, thread.stack_end) or self._stack(thread.stack_pointer),
                suspend_count=thread.suspend_count,
                priority=thread.priority,
                teb=thread.thread_pointer,
                context=self._context(thread.context, thread.context_size) if known else b"",
                architecture=architecture,
            )

    def modules(self) -> Iterator[Module]:
        for index in range(self._lists.module_count):
            module = self._lists.modules[index]
            yield Module(
                base=module.base,
                size=module.size,
                path=self._name(module.path),
                checksum=module.checksum,
                timestamp=module.timestamp,
                build_id=bytes(ffi.buffer(module.build_id, module.build_id_size)),
                codeview=self._bytes(module.codeview),
            )

    def unloaded(self) -> Iterator[UnloadedModule]:
        for index in range(self._lists.unloaded_count):
            module = self._lists.unloaded[index]
            yield UnloadedModule(
                base=module.base,
                size=module.size,
                path=self._name(module.name),
                checksum=module.checksum,
                timestamp=module.timestamp,
            )

    def handles(self) -> Iterator[Handle]:
        for index in range(self._lists.handle_count):
            handle = self._lists.handles[index]
            yield Handle(
                value=handle.value,
                type=self._name(handle.type),
                name=self._name(handle.name),
                attributes=handle.attributes,
                access=handle.access,
                handles=handle.handles,
                pointers=handle.pointers,
            )

    def regions(self) -> Iterator[Region]:
        for index in range(self._lists.region_count):
            region = self._lists.regions[index]
            yield Region(
                base=region.base,
                size=region.size,
                state=MemoryState(region.state),
                protect=MemoryProtect(region.protect & _PROTECT),
                type=MemoryType(region.type & _TYPE),
                kinds=Kind(region.kinds),
                name=self.name(region.name_id),
            )

    def name(self, number: int) -> str:
        return self._name(self._lists.names[number - 1]) if number else ""

    # ----------------------------------------------------------------------------------------------------------- memory

    def read(self, address: int, size: int) -> tuple[bytes, int]:
        """What there is from this address on, and the error number of why it is not more."""
        data, error = bytearray(size), new_error()
        done, number = ffi.new("size_t *"), ffi.new("int32_t *")
        if lib.mdc_reading_read(self._reading, address, size, ffi.from_buffer(data), done, number, error) != lib.MDC_OK:
            raise exception(error)
        del data[done[0] :]
        return bytes(data), number[0]

    # ----------------------------------------------------------------------------------------------------------- pieces

    def _registers(self, found: Any, known: bool) -> dict[str, Any]:
        """Both pointers, if the context reaches so far."""
        known = known and found.context_size >= _POINTERS_END.get(self._lists.system.architecture, 1 << 32)
        return {
            "instruction_pointer": found.instruction_pointer if known else None,
            "stack_pointer": found.stack_pointer if known else None,
        }

    def _stack(self, pointer: int) -> MemoryRange | None:
        """Of a thread whose stack the file does not tell: the region."""
        if not self._bases:
            self._bases.extend(base for base, *_ in self.infos())
        at = bisect_right(self._bases, pointer) - 1
        if not pointer or at < 0 or pointer >= self._bases[at] + self._lists.regions[at].size:
            return None
        return MemoryRange(address=self._bases[at], size=self._lists.regions[at].size)

    def _context(self, place: Any, size: int) -> bytes:
        """The bytes of a context; threads and exceptions share them."""
        key = int(ffi.cast("uintptr_t", place)), size
        if key not in self._contexts:
            self._contexts[key] = bytes(ffi.buffer(place, size))
        return self._contexts[key]

    def _bytes(self, name: Any) -> bytes:
        return bytes(ffi.buffer(self._lists.pool + name.offset, name.size)) if name.size else b""

    def _name(self, name: Any) -> str:
        """A string of the pool, made once: hostile files have many names for it."""
        key = name.offset, name.size
        if key not in self._texts:
            data = self._bytes(name)
            try:
                self._texts[key] = data.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:  # of Linux: odd bytes
                self._texts[key] = data.decode("utf-8", "surrogateescape")
        return self._texts[key]


class DumpSnapshot(Snapshot):
    """A minidump, read in spite of its damage."""

    def __init__(self, slot: Any) -> None:
        super().__init__(slot, 0)
        self._source = lib.mdc_reading_source(self._reading)
        self._view = lib.mdc_dump_source_view(self._source)
        self._carried = self._lists.carried
        self.file_bytes = self._carried.file_size

    @property
    def header(self) -> tuple[int, int, int]:
        """Version, timestamp and flags."""
        return self._carried.version, self._carried.timestamp, self._carried.flags

    @property
    def pid(self) -> int | None:
        return self._view.process_id if self._view.process_known else None

    @property
    def entry_count(self) -> int:
        """How many entries the directory has."""
        count: int = self._view.entry_count
        return count

    def length(self, name: str) -> int:
        """How many entries a list of `LISTS` has in the file."""
        length: int = self._view.lengths[LISTS[name]]
        return length

    def streams(self) -> Iterator[StreamEntry]:
        for index in range(self._view.entry_count):
            entry = self._view.entries[index]
            yield StreamEntry(type=entry.type, size=entry.size, offset=entry.rva)

    def faults(self) -> Iterator[Fault]:
        for index in range(self._view.fault_count):
            fault = self._view.faults[index]
            yield Fault(stream=fault.stream, message=ffi.string(fault.message).decode("utf-8", "replace"))

    def file(self, offset: int, size: int) -> bytes:
        """These bytes of the file.

        Raises
        ------
        FormatError
            The file does not have them.
        """
        if offset > self.file_bytes or size > self.file_bytes - offset:
            raise FormatError(f"{size} bytes at offset {offset:#x} are beyond the end of the file")
        data, error = bytearray(size), new_error()
        source = ffi.cast("mdc_source *", self._source)
        if self._carried.read(source, offset, ffi.from_buffer(data), size, error) != lib.MDC_OK:
            raise exception(error)
        return bytes(data)

    def texts(self) -> Iterator[tuple[int, bytes]]:
        return iter(())  # they are streams

    def system(self) -> System | None:
        return super().system() if self._view.system_known else None

    def _stack(self, pointer: int) -> MemoryRange | None:
        return None  # what the file says is all

    def exceptions(self) -> Iterator[ExceptionRecord]:
        architecture = self._lists.system.architecture
        for index in range(self._view.exception_count):
            found = self._view.exceptions[index]
            known = found.context != ffi.NULL
            yield ExceptionRecord(
                thread=found.tid,
                code=found.code,
                flags=found.flags,
                address=found.address,
                parameters=tuple(found.parameters)[: min(found.parameter_count, 15)],
                **self._registers(found, known),
                context=self._context(found.context, found.context_size) if known else b"",
                architecture=architecture,
            )

    def parameter_words(self, index: int) -> tuple[int, tuple[int, ...]]:
        """Of an exception: how many parameters it says it has, and all 15 words of them."""
        found = self._view.exceptions[index]
        return found.parameter_count, tuple(found.parameters)

    def infos(self) -> Iterator[RawRegion]:
        """The entries of MemoryInfoList as they are, by address."""
        for index in range(self._view.info_count):
            info = self._view.infos[index]
            yield info.base, info.size, info.state, info.protect, info.type

    def mappings(self) -> Iterator[tuple[int, int, int]]:
        """Those of LinuxMaps, sorted: first address, end, number for `name`."""
        for index in range(self._view.mapping_count):
            mapping = self._view.mappings[index]
            yield mapping.first, mapping.end, mapping.name_id

    def memory(self) -> Iterator[tuple[int, int]]:
        """Runs that the file holds, sorted and disjoint: address and size."""
        for index in range(self._carried.run_count):
            run = self._carried.runs[index]
            yield run.address, run.size


def dump(fd: int, *, list_max: int = 0, range_max: int = 0) -> Snapshot:
    """Read a minidump.

    Parameters
    ----------
    fd
        Of a file; it is duplicated.
    list_max, range_max
        Entries of a list, and ranges of memory, that are taken; 0: all.

    Raises
    ------
    FormatError
        Header or directory are invalid.
    """
    options = ffi.new("mdc_dump_source_options *")
    options.tolerant, options.list_max, options.range_max = 1, list_max, range_max
    slot, error = ffi.gc(ffi.new("mdc_source **"), lib.mdc_source_drop), new_error()
    if lib.mdc_dump_source_new(sinks.native(fd), options, slot, error) != lib.MDC_OK:
        raise exception(error)
    return DumpSnapshot(slot)


def core(fd: int, *, root: Any, executable: Any, text_files: bool) -> Snapshot:
    """Read a core. The descriptor is duplicated."""
    address, owner = file_sources.core(fd, root=root, executable=executable, text_files=text_files, xstate=True)
    about = os.fstat(fd)
    snapshot = Snapshot(ffi.cast("mdc_source **", address), about.st_size, int(about.st_mtime))
    del owner  # the slot is empty
    return snapshot


def _span(first: int, end: int) -> MemoryRange | None:
    return MemoryRange(address=first, size=end - first) if end > first else None
