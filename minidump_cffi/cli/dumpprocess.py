"""What else a minidump says of a process: the system, threads, modules, exceptions."""

from __future__ import annotations

import re
import struct

from . import faults, names
from .dumpbytes import MAX_ITEMS, Damage, Part, Reader
from .dumpmodel import DumpFile, Failure, Module, Stream, System, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_MODULES: Final = 1 << 16

_THREAD = struct.Struct("<IIIIQQIIII")
_MODULE = struct.Struct("<QIIII52xIIII16x")
_EXCEPTION = struct.Struct("<I4xIIQQI4x15QII")
_THREAD_NAME = struct.Struct("<IQ")
_LINUX = re.compile(r"Linux (\d+[.]\d+(?:[.]\d+)?)")

#: ProcessorArchitecture -> offsets of the instruction and stack pointer in the context, and their struct format
_REGISTERS: Final = {0: (184, 196, "<I"), 9: (248, 152, "<Q"), 12: (264, 256, "<Q"), 0x8003: (264, 256, "<Q")}


class Process(Part):
    """System, process, threads, modules and exceptions. The system comes first: others need the processor."""

    def __init__(self, reader: Reader, dump: DumpFile) -> None:
        super().__init__(reader, dump)
        self.architecture: int = -1
        self.platform: int = -1
        self.named: dict[int, str] = {}

    def system(self, stream: Stream) -> None:
        data = self.reader.read(stream.rva, min(stream.size, 56))
        if len(data) < 32:
            raise Damage(f"{len(data)} bytes are too few")
        self.architecture, _, _, processors = struct.unpack_from("<HHHB", data)
        major, minor, build, self.platform, rva = struct.unpack_from("<IIIII", data, 8)
        text, version = self.text(rva, "SystemInfo"), f"{major}.{minor}.{build}"
        if version == "0.0.0" and (found := _LINUX.search(text)):  # Breakpad and minidump-writer say it there only
            version = found[1]
        self.dump.system = System(
            architecture=self.architecture,
            platform_id=self.platform,
            processor=names.PROCESSORS.get(self.architecture, f"processor 0x{self.architecture:x}"),
            processors=processors,
            platform=names.PLATFORMS.get(self.platform, f"platform 0x{self.platform:x}"),
            version=version,
            text=text,
        )

    def misc(self, stream: Stream) -> None:
        data = self.reader.read(stream.rva, min(stream.size, 24))
        if len(data) < 12:
            raise Damage(f"{len(data)} bytes are too few")
        _, flags, process_id = struct.unpack_from("<III", data)
        if flags & 1:
            self.dump.process_id = process_id

    def thread_names(self, stream: Stream) -> None:
        count, offset = self.counted(stream, _THREAD_NAME.size)
        for thread, rva in self.reader.rows(_THREAD_NAME, offset, min(count, MAX_ITEMS)):
            self.named[thread] = self.text(rva, "ThreadNames")

    def threads(self, stream: Stream) -> None:
        count, offset = self.counted(stream, _THREAD.size)
        for row in self.reader.rows(_THREAD, offset, self.cut("threads", count)):
            instruction, stack = self._registers(row[9], row[8], "ThreadList")
            self.dump.threads.append(
                Thread(
                    id=row[0],
                    name=self.named.get(row[0], ""),
                    stack=row[5],
                    stack_size=row[6],
                    context_size=row[8],
                    instruction_pointer=instruction,
                    stack_pointer=stack,
                )
            )

    def _registers(self, rva: int, size: int, what: str) -> tuple[int | None, int | None]:
        if self.architecture not in _REGISTERS or size == 0:
            return None, None
        instruction, stack, form = _REGISTERS[self.architecture]
        width = struct.calcsize(form)
        if max(instruction, stack) + width > size:
            return None, None
        try:
            data = self.reader.read(rva, max(instruction, stack) + width)
        except Damage as damage:
            self.problem(f"{what}: a context: {damage}")
            return None, None
        return struct.unpack_from(form, data, instruction)[0], struct.unpack_from(form, data, stack)[0]

    def modules(self, stream: Stream) -> None:
        count, offset = self.counted(stream, _MODULE.size)
        count = self.cut("modules", count, MAX_MODULES)
        for base, size, _, _, name, cv_size, cv_rva, _, _ in self.reader.rows(_MODULE, offset, count):
            path = self.text(name, "ModuleList: a name")
            self.dump.modules.append(Module(base=base, size=size, path=path, identity=self._identity(cv_rva, cv_size)))

    def _identity(self, rva: int, size: int) -> str:
        if size < 4:
            return ""
        try:
            data = self.reader.read(rva, min(size, 64))
        except Damage as damage:
            self.problem(f"ModuleList: a CodeView record: {damage}")
            return ""
        if data[:4] == b"LEpB":
            return data[4:].hex()
        if data[:4] == b"RSDS" and len(data) >= 24:
            first, second, third = struct.unpack_from("<IHH", data, 4)
            (age,) = struct.unpack_from("<I", data, 20)
            return f"{first:08x}{second:04x}{third:04x}{data[12:20].hex()}{age:x}"
        return ""

    def exception(self, stream: Stream) -> None:
        if stream.size < _EXCEPTION.size:
            raise Damage(f"{stream.size} bytes are too few")
        found = _EXCEPTION.unpack(self.reader.read(stream.rva, _EXCEPTION.size))
        thread, code, flags, _, address, count, *words = found
        if count > 15:
            self.problem(f"Exception: {count} parameters are more than the 15 there can be")
        # LLDB has bytes of a text there, and their number.
        parameters = tuple(words[:15] if flags == faults.LLDB_FLAGS else words[: min(count, 15)])
        size, rva = words[15:]
        instruction, _ = self._registers(rva, size, "Exception")
        access, accessed = faults.access_of(self.platform, code, flags, address, parameters, instruction)
        self.dump.failures.append(
            Failure(
                thread=thread,
                code=code,
                flags=flags,
                address=address,
                parameters=parameters,
                name=faults.name_of(self.platform, code, flags, parameters),
                access=access,
                accessed=accessed,
                instruction_pointer=instruction,
                details=faults.details_of(self.platform, code, flags, address, parameters, access),
                faulted=faults.has_address(self.platform, code, flags, parameters),
            )
        )
