"""An engine with nothing but Microsoft's protocol, for tests of our callback."""

from __future__ import annotations

import drive
import strategies

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib

TYPE = md.protocol.CallbackType
S_OK, S_FALSE, PARTIAL_COPY = 0, 1, 0x8007012B


class PlainHost:
    """It sends what it is told to, and has memory of which byte a is `a * 31 >> 3`."""

    def __init__(self, callback: md.Callback, *, vm: bool = True, extensions: int = 0) -> None:
        self.engine = drive.Engine(callback, extensions)
        self.callback = callback
        self.stored: dict[int, int] = {}
        self.engine.clear()
        self.engine.send(TYPE.IS_PROCESS_SNAPSHOT)
        self.shows = False
        if vm:
            self.engine.clear()
            self.shows = self.engine.send(TYPE.VM_START) and self.engine.output.Status == S_FALSE

    @staticmethod
    def memory(address: int, size: int) -> bytearray:
        """What the target holds."""
        return bytearray((at * 31 >> 3) & 0xFF for at in range(address, address + size))

    def ask(self, region: strategies.Region) -> tuple[int, int]:
        """IncludeVmRegion, twice as documented: (base, size)."""
        first = self.engine.region(region, region.base, region.size)
        assert self.engine.region(region, region.base, region.size) == first, "the same question, the same answer"
        return first

    def show(self, address: int, data: bytearray, *, completed: int | None = None, status: int = S_OK) -> bytes:
        """VmPostRead: the buffer as it came back."""
        engine = self.engine
        engine.clear()
        engine.output.VmRead.VmReadStatus = lib.MDC_E_NOTIMPL - (1 << 32)
        buffer = ffi.new("uint8_t[]", bytes(data))
        read = engine.input.u.VmPostRead
        read.Offset, read.Buffer, read.Size = address, buffer, len(data)
        read.Completed = len(data) if completed is None else completed
        read.Status = status - (status >> 31 << 32)
        completed = read.Completed
        if engine.send(TYPE.VM_POST_READ):
            assert engine.output.VmRead.VmReadStatus == status - (status >> 31 << 32)
            assert engine.output.VmRead.VmReadBytesCompleted == completed
        return bytes(ffi.buffer(buffer, len(data)))

    def read(self, address: int, size: int) -> None:
        """Read and store."""
        data = bytes(self.memory(address, size))
        if self.shows:
            data = self.show(address, bytearray(data))
        self.stored.update(zip(range(address, address + size), data, strict=True))

    def failed(self, address: int, size: int) -> bool:
        """ReadMemoryFailure: whether it was tolerated."""
        self.engine.clear()
        failure = self.engine.input.u.ReadMemoryFailure
        failure.Offset, failure.Bytes, failure.FailureStatus = address, size, PARTIAL_COPY - (1 << 32)
        return self.engine.send(TYPE.READ_MEMORY_FAILURE) and self.engine.output.Status == S_OK
