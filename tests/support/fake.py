"""Targets that are descriptions in memory (tests/support/fake.h), dumped through the real engine and the real API."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import extension

import minidump_cffi as md
from minidump_cffi import plan_dump, write_dump
from minidump_cffi.filters import Kind, MemoryProtect, MemoryType
from minidump_cffi.targets import SourceTarget

_extension = extension.load()
ffi, lib = _extension.ffi, _extension.lib
PAGE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """One mapping; unreadable: addresses [first, end) whose read fails with EIO; flags: RegionFlags."""

    base: int
    size: int
    name: bytes = b""
    state: md.filters.MemoryState = md.filters.MemoryState.COMMIT
    protect: MemoryProtect = MemoryProtect.READWRITE
    type: MemoryType = MemoryType.PRIVATE
    kinds: Kind = Kind.ANONYMOUS
    flags: int = 0
    touch_every: int = 1
    zero_every: int = 0
    zero_told: bool = False
    in_file: int = 0
    filtered: int = 0
    unreadable: tuple[int, int] = (0, 0)
    valid_size: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thread:
    """One thread."""

    tid: int
    stack_pointer: int = 0
    instruction_pointer: int = 0
    name: bytes = b""
    flags: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Module:
    """One module."""

    base: int
    size: int
    path: bytes
    build_id: bytes = bytes(range(20))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A fake process."""

    regions: tuple[Region, ...]
    threads: tuple[Thread, ...] = ()
    modules: tuple[Module, ...] = ()
    environ: tuple[int, int] = (0, 0)
    """Address and size of target memory shown as the environment."""
    seed: int = 1
    read_us: int = 0
    """Microseconds that each read takes."""
    interrupted: tuple[int, ...] = ()
    """Stack pointers that signal handlers interrupted, by thread; 0: none."""

    def bytes(self, address: int, size: int) -> bytes:
        """What the target holds, all pages touched."""
        return bytes(lib.mdc_fake_byte(address + at, self.seed) for at in range(size))

    def source(self) -> SourceTarget:
        """A fresh source, for one dump."""
        error = ffi.new("mdc_error *")
        described, alive = self._described()
        slot = ffi.gc(ffi.new("mdc_source **"), lib.mdc_fake_drop)
        slot[0] = lib.mdc_fake_new(described, error)
        del alive
        if slot[0] == ffi.NULL:
            raise ValueError(ffi.string(error.message).decode())
        return SourceTarget(slot=int(ffi.cast("uintptr_t", slot)), owner=slot)

    def _described(self) -> tuple[Any, list[Any]]:
        """The C description, and what has to stay alive with it."""
        alive: list[Any] = []

        def text(value: bytes) -> Any:
            alive.append(ffi.new("char[]", value))
            return alive[-1]

        regions = ffi.new("mdc_fake_region[]", len(self.regions))
        for to, region in zip(regions, self.regions, strict=True):
            to.base, to.size = region.base, region.size
            to.state, to.protect, to.type = int(region.state), int(region.protect), int(region.type)
            to.kinds, to.flags, to.touch_every = int(region.kinds), int(region.flags), region.touch_every
            to.name = text(region.name) if region.name else ffi.NULL
            to.unreadable_first, to.unreadable_end = region.unreadable
            to.valid_size = region.valid_size
            to.zero_every, to.zero_told = region.zero_every, int(region.zero_told)
            to.in_file, to.filtered = region.in_file, region.filtered
        threads = ffi.new("mdc_fake_thread[]", len(self.threads))
        for to, thread in zip(threads, self.threads, strict=True):
            to.tid, to.flags = thread.tid, int(thread.flags)
            to.stack_pointer, to.instruction_pointer = thread.stack_pointer, thread.instruction_pointer
            to.name = text(thread.name) if thread.name else ffi.NULL
        modules = ffi.new("mdc_fake_module[]", len(self.modules))
        for to, module in zip(modules, self.modules, strict=True):
            to.base, to.size, to.path = module.base, module.size, text(module.path)
            ffi.buffer(to.build_id)[:] = module.build_id
        target = ffi.new("mdc_fake_target *")
        target.regions, target.region_count = regions, len(self.regions)
        target.threads, target.thread_count = threads, len(self.threads)
        target.modules, target.module_count = modules, len(self.modules)
        if self.interrupted:
            alive.append(ffi.new("uint64_t[]", [*self.interrupted, *[0] * len(self.threads)]))
            target.interrupted = alive[-1]
        target.cmdline = text(b"fake")
        target.environ_address, target.environ_size = self.environ
        target.seed = self.seed
        target.read_us = self.read_us
        return target, [*alive, regions, threads, modules]


def small(**changes: Any) -> Target:
    """Two threads with stacks, a heap, an image, a file map."""
    values = {
        "regions": (
            Region(base=0x40_0000, size=4 * PAGE, name=b"/bin/app", type=MemoryType.IMAGE, kinds=Kind.IMAGE,
                   protect=MemoryProtect.EXECUTE_READ),
            Region(base=0x50_0000, size=64 * PAGE, name=b"[heap]", kinds=Kind.HEAP | Kind.ANONYMOUS),
            Region(base=0x70_0000, size=16 * PAGE, name=b"/data/table", type=MemoryType.MAPPED, kinds=Kind.FILE,
                   protect=MemoryProtect.READONLY),
            Region(base=0x80_0000, size=8 * PAGE, kinds=Kind.STACK | Kind.ANONYMOUS),
            Region(base=0x90_0000, size=8 * PAGE, name=b"[stack]", kinds=Kind.STACK | Kind.ANONYMOUS),
        ),
        "threads": (
            Thread(tid=100, stack_pointer=0x90_6000, instruction_pointer=0x40_0100, name=b"main"),
            Thread(tid=101, stack_pointer=0x80_7000, instruction_pointer=0x40_0200, name=b"worker"),
        ),
        "modules": (Module(base=0x40_0000, size=4 * PAGE, path=b"/bin/app"),),
    }  # fmt: skip
    return Target(**{**values, **changes})


def names(folder: str | Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def write(target: Target, file: Any, type: int = md.DumpType.NORMAL, **options: Any) -> md.DumpReport:
    """`write_dump` of a fake target."""
    return write_dump(target.source(), file, type, engine="native", **options)


def plan(target: Target, type: int = md.DumpType.NORMAL, **options: Any) -> md.DumpPlan:
    """`plan_dump` of a fake target."""
    return plan_dump(target.source(), type, **options)
