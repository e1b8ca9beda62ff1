"""Asks a `Callback` as an engine does, through its routine, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from strategies import Module, Region

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib

EXTENSIONS = lib.MDC_EXT_REGION_FACTS | lib.MDC_EXT_RESUBMIT | lib.MDC_EXT_PIECES


class Engine:
    """Sends callbacks to one callback. `routine` and `param` are called as a foreign engine would call them."""

    def __init__(self, callback: md.Callback, extensions: int = EXTENSIONS) -> None:
        self.callback = callback
        self.extensions = extensions
        if extensions:
            callback._open().set_host(extensions)
        self.routine = ffi.cast("MINIDUMP_CALLBACK_ROUTINE", callback.routine)
        self.param = ffi.cast("void *", callback.param)
        self.input = ffi.new("MINIDUMP_CALLBACK_INPUT *")
        self.output = ffi.new("MINIDUMP_CALLBACK_OUTPUT *")
        self.names: dict[bytes, int] = {}

    def send(self, number: int) -> bool:
        """One callback with the input and output as they are."""
        self.input.CallbackType = number
        return bool(self.routine(self.param, self.input, self.output))

    def clear(self) -> None:
        """Zero both unions, as an engine has to before every call."""
        ffi.memmove(self.input, bytes(ffi.sizeof("MINIDUMP_CALLBACK_INPUT")), ffi.sizeof("MINIDUMP_CALLBACK_INPUT"))
        ffi.memmove(self.output, bytes(ffi.sizeof("MINIDUMP_CALLBACK_OUTPUT")), ffi.sizeof("MINIDUMP_CALLBACK_OUTPUT"))

    def begin(self, modules: Iterable[Module] = (), *, vm: bool = True) -> None:
        """The callbacks before the first region; without `vm` as an old engine sends them, which shows no reads."""
        self.clear()
        self.send(lib.MDC_CB_IS_PROCESS_SNAPSHOT)
        if vm:
            self.clear()
            self.send(lib.MDC_CB_VM_START)
        for module in modules:
            self.module(module)

    def module(self, module: Module, flags: int = 0x0D) -> int:
        """Module: the flags that stay."""
        self.clear()
        units = module.path.decode("utf-8", "replace").encode("utf-16-le") + b"\0\0"
        path = ffi.new("uint16_t[]", len(units) // 2)
        ffi.buffer(path)[:] = units
        self.input.u.Module.FullPath = path
        self.input.u.Module.BaseOfImage = module.base
        self.input.u.Module.SizeOfImage = module.size
        self.output.ModuleWriteFlags = flags
        assert self.send(lib.MDC_CB_MODULE)
        return int(self.output.ModuleWriteFlags)

    def thread(self, number: int, tid: int, flags: int = 0x17) -> tuple[bool, int]:
        """IncludeThread or Thread: the answer, and the flags that stay."""
        self.clear()
        self.input.u.IncludeThread.ThreadId = tid
        self.output.ThreadWriteFlags = flags
        return self.send(number), int(self.output.ThreadWriteFlags)

    def region(self, region: Region, base: int, size: int) -> tuple[int, int]:
        """IncludeVmRegion about a part of a region: the part that is kept, as (base, size)."""
        self.clear()
        info, facts = self.output.Region.VmRegion, self.input.u.RegionFacts
        info.BaseAddress, info.RegionSize = base, size
        info.AllocationBase = region.base
        info.State, info.Type, info.Protect = int(region.state), int(region.type), region.protect
        if self.extensions & lib.MDC_EXT_REGION_FACTS:
            name = ffi.new("uint8_t[]", region.name)
            facts.Size, facts.Version = ffi.sizeof("mdc_region_facts"), 1
            facts.MappingBase, facts.MappingSize = region.base, region.size
            facts.Kinds, facts.Flags = int(region.kinds), region.flags
            if region.name:
                facts.Name, facts.NameSize = name, len(region.name)
                facts.NameId = self.names.setdefault(region.name, len(self.names) + 1)
        assert self.send(lib.MDC_CB_INCLUDE_VM_REGION)
        assert self.output.Region.Continue == 1
        return int(info.BaseAddress), int(info.RegionSize)

    def kept(self, region: Region) -> list[tuple[int, int]]:
        """Asks about a region until nothing is left after the answered part; the kept [first, end), joined."""
        runs: list[tuple[int, int]] = []
        at = region.base
        while at < region.end:
            base, size = self.region(region, at, region.end - at)
            if not size:
                break
            assert at <= base and base + size <= region.end, "an answer lies within the question"
            if runs and runs[-1][1] == base:
                runs[-1] = (runs[-1][0], base + size)
            else:
                runs.append((base, base + size))
            at = base + size
        return runs
