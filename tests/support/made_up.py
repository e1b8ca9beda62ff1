"""A made-up program with as many threads as wanted: what tests of several rooms dump."""

from __future__ import annotations

from fake import PAGE, Module, Region, Target, Thread

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY


STACKS = 0x7F0000000000


IMAGE = Region(
    base=0x400000,
    size=16 * PAGE,
    protect=md.filters.MemoryProtect.EXECUTE_READ,
    type=md.filters.MemoryType.IMAGE,
    kinds=md.filters.Kind.IMAGE,
    flags=int(md.report.RegionFlags.FILE),
    name=b"/opt/app",
)


APP = Module(base=IMAGE.base, size=IMAGE.size, path=b"/opt/app")


def with_threads(count: int, *others: Region, stack_pages: int = 4, depth: int = 256) -> Target:
    """A program, other regions below the stacks, and so many threads with so many bytes on a stack each."""
    stacks = tuple(
        Region(base=STACKS + number * 64 * PAGE, size=stack_pages * PAGE, name=b"[stack]" if number == 0 else b"")
        for number in range(count)
    )
    threads = tuple(
        Thread(
            tid=100 + number,
            stack_pointer=stack.base + stack.size - depth,
            instruction_pointer=IMAGE.base + 16,
            name=b"t%d" % number,
        )
        for number, stack in enumerate(stacks)
    )
    return Target(regions=(IMAGE, *others, *stacks), threads=threads, modules=(APP,))
