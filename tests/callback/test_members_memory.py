"""Members of MINIDUMP_CALLBACK_OUTPUT that decide which memory is in the file.

As in test_members_items.py: real processes, and readers that are not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
import readers
from callees import Callee, keep_asking
from members import QUICK, contents, covered

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
PAGE, MIB = live.PAGE, 1 << 20
Start = Callable[..., live.Target]


# ------------------------------------------------------------------------------------------- MemoryBase, MemorySize


def handing_out(number: TYPE, ranges: list[tuple[int, int]]) -> dict[str, Any]:
    """Hook, Python function and foreign callee that answer these (base, size)."""

    def raw(_input: Any, output: Any) -> int:
        base, size = left.pop(0) if left else (0, 0)
        output.Memory.MemoryBase, output.Memory.MemorySize = base, size
        return 1

    def python(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.memory_base, answer.memory_size = left.pop(0) if left else (0, 0)
        return True

    left = list(ranges)
    return {
        "hook": lambda: md.Callback(hooks={number: raw}),
        "python": lambda: md.protocol.PythonCallback({number: python}),
        "foreign": lambda: Callee({number: raw}).routine,
    }


@pytest.mark.parametrize("way", ["filter", "hook", "python", "foreign"])
def test_memory_added(way: str, target: live.Target, take: live.Taker) -> None:
    """Byte-exact: the block need not be aligned."""
    base, _, _ = target.region("heap")
    block, size = base + 5 * PAGE + 24, 3 * PAGE + 40
    options: dict[str, Any] = {"filter": md.Filter(memory={"add": [(block, block + size)]})}
    if way != "filter":
        options = {"callback": handing_out(TYPE.MEMORY, [(block, size)])[way]()}
    _, path = take(target, **options, only=QUICK)
    expected = live.pattern(block, size, 13)
    assert contents(path, (block, size), (block - 8, 8), (block + size, 8)) == (expected, None, None)


@pytest.mark.parametrize("way", ["filter", "hook", "python", "foreign"])
def test_memory_removed(way: str, target: live.Target, take: live.Taker) -> None:
    """From a stack, which no list had to add."""
    tid, marker = target.info["threads"][0]
    first = marker & -PAGE
    options: dict[str, Any] = {"filter": md.Filter(memory={"remove": [(first, first + PAGE)]})}
    if way != "filter":
        options = {"callback": handing_out(TYPE.REMOVE_MEMORY, [(first, PAGE)])[way]()}
    _, before = take(target, only=QUICK)
    _, path = take(target, **options, only=QUICK)
    assert contents(before, (marker, 16)) == (live.pattern(marker, 16, 14),)
    assert contents(path, (marker, 16)) == (None,)
    assert live.file_holds(path, live.pattern(marker, 16, 14)) == [-1]
    assert tid in {thread.tid for thread in readers.read_udmp(path).threads or ()}, "the thread itself stays"


def test_what_is_removed_of_what_was_added(target: live.Target, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    keep = md.Filter(memory={"add": [(base, base + 64 * PAGE)], "remove": [(base + 8 * PAGE, base + 9 * PAGE)]})
    _, path = take(target, filter=keep, only=QUICK)
    after = target.content("heap", 9 * PAGE, 55 * PAGE)
    assert contents(path, (base, 8 * PAGE), (base + 8 * PAGE, PAGE), (base + 9 * PAGE, 55 * PAGE)) == (
        target.content("heap", 0, 8 * PAGE),
        None,
        after,
    )


def test_neither_is_asked_with_full_memory(target: live.Target, take: live.Taker) -> None:
    callee = Callee(otherwise=keep_asking_of_regions)
    take(target, FULL, callback=callee.routine, only=())
    assert (callee.count(TYPE.MEMORY), callee.count(TYPE.REMOVE_MEMORY)) == (0, 0)


def keep_asking_of_regions(input: Any, output: Any) -> int:
    """TRUE, and Continue where it is asked for."""
    return keep_asking(input, output) if input.CallbackType == TYPE.INCLUDE_VM_REGION else 1


def test_a_large_region_in_pieces_and_beyond_the_32_bit_offsets(target: live.Target, take: live.Taker) -> None:
    """MemorySize has 32 bits, and so have the offsets of MemoryList: both limits lowered.

    A Normal dump that passes the offsets is laid out like a full one, and every reader still accepts the file.
    """
    base, size, _ = target.region("heap")
    keep = md.Filter(memory={"add": [(base, base + size)]})
    options = md.EngineOptions(limit32=2 * MIB)
    with md.Callback(keep, memory_piece=MIB) as callback:
        _, path = take(target, callback=callback, options=options)
        assert callback.counters.calls[TYPE.MEMORY] == 5, "four pieces, and the end"
    with file_rules.DumpFile(path) as dump:
        assert sum(item.size for item in dump.memory64()) > 2 * MIB
        assert dump.flags == md.DumpType.WITH_FULL_MEMORY
        assert dump.read_across(base, size) == target.content("heap")
    last = (base + size - PAGE, PAGE)
    reading = readers.read_minidump(path, [last])
    assert reading.memory64 and reading.contents == (target.content("heap", size - PAGE, PAGE),)


def test_a_region_of_more_than_4_gib(start_pattern: Start, folder: Path) -> None:
    """The same with nothing lowered: 5 GiB, of which little was ever touched."""
    target = start_pattern("--sparse", "5G", "--touch", "512K")
    base, size, _ = target.region("sparse")
    with md.Callback(md.Filter(memory={"add": [(base, base + size)]})) as callback:
        report = md.write_dump(target.pid, folder / "large.dmp", callback=callback)
        assert callback.counters.calls[TYPE.MEMORY] == 3
    assert not file_rules.broken_rules(folder / "large.dmp")
    assert report.file_bytes > 5 << 30
    last = base + 63 * (size // 64)
    assert contents(folder / "large.dmp", (base, PAGE), (last, PAGE)) == (
        live.pattern(base, PAGE, 12),
        live.pattern(last, PAGE, 12),
    )
    assert (folder / "large.dmp").stat().st_blocks * 512 < 64 * MIB
    target.assert_runs_on()


# ---------------------------------------------------------------------------------------------- VmRegion, Continue


def narrowing(base: int, first: int, size: int) -> dict[str, Any]:
    """Keeps [first, first + size) of the region that begins at `base`, and all of the others."""

    def raw(_input: Any, output: Any) -> int:
        if output.Region.VmRegion.BaseAddress == base:
            output.Region.VmRegion.BaseAddress, output.Region.VmRegion.RegionSize = first, size
        output.Region.Continue = 1
        return 1

    def python(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        region = answer.vm_region
        if region.base_address == base:
            region.base_address, region.region_size = first, size
        answer.continue_ = True
        return True

    return {
        "python": lambda: md.protocol.PythonCallback({TYPE.INCLUDE_VM_REGION: python}),
        "foreign": lambda: Callee({TYPE.INCLUDE_VM_REGION: raw}).routine,
    }


@pytest.mark.parametrize("way", ["filter", "python", "foreign"])
def test_a_region_narrowed_to_a_page_aligned_part(way: str, target: live.Target, take: live.Taker) -> None:
    base, size, _ = target.region("plain")
    first, end = base + 3 * PAGE, base + 9 * PAGE
    options: dict[str, Any] = {
        "filter": md.Filter(md.exclude(range=(base, base + size)), md.include(range=(first, end)))
    }
    if way != "filter":
        options = {"callback": narrowing(base, first, end - first)[way]()}
    _, path = take(target, FULL, **options, only=QUICK)
    for reading in (readers.read_minidump, readers.read_udmp):
        found = reading(path, [(first, end - first), (first - 8, 8), (end, 8), (base, 8)])
        assert found.contents == (target.content("plain", 3 * PAGE, 6 * PAGE), None, None, None), found.reader


@pytest.mark.parametrize("way", ["filter", "python", "foreign"])
def test_a_region_left_out(way: str, target: live.Target, take: live.Taker) -> None:
    """RegionSize 0."""
    base, size, _ = target.region("plain")
    options: dict[str, Any] = {"filter": md.Filter(md.exclude(range=(base, base + size)))}
    if way != "filter":
        options = {"callback": narrowing(base, base, 0)[way]()}
    _, path = take(target, FULL, **options, only=QUICK)
    heap, _, _ = target.region("heap")
    for reading in (readers.read_minidump, readers.read_udmp):
        found = reading(path, [(base, 8), (base + size - 8, 8), (heap, PAGE)])
        assert found.contents == (None, None, target.content("heap", 0, PAGE)), found.reader


def test_only_base_and_size_of_a_region_count(target: live.Target, take: live.Taker) -> None:
    """What else a callee writes into VmRegion changes nothing in the file."""

    def scribble(_input: Any, output: Any) -> int:
        region = output.Region.VmRegion
        region.State, region.Type, region.Protect, region.AllocationBase = 0x10000, 7, 9, 11
        output.Region.Continue = 1
        return 1

    _, path = take(target, FULL, callback=Callee({TYPE.INCLUDE_VM_REGION: scribble}).routine, only=QUICK)
    base, size, _ = target.region("plain")
    with file_rules.DumpFile(path) as dump:
        assert {info.state for info in dump.infos() if info.base == base} == {0x1000}
    assert contents(path, (base, size)) == (target.content("plain"),)


@pytest.mark.parametrize("way", ["python", "foreign"])
@pytest.mark.parametrize("how", ["Continue FALSE", "returned FALSE"])
def test_continue_false_ends_the_questions_and_the_rest_is_in_full(
    how: str, way: str, target: live.Target, take: live.Taker
) -> None:
    """The edit of that answer counts for nothing; what was left out before stays out."""
    plain, plain_size, _ = target.region("plain")
    heap, heap_size, _ = target.region("heap")
    bases: list[int] = []

    def raw(_input: Any, output: Any) -> int:
        region = output.Region.VmRegion
        bases.append(region.BaseAddress)
        output.Region.Continue = 1
        if region.BaseAddress == plain:
            region.RegionSize = 0
        elif region.BaseAddress == heap:
            region.RegionSize = 0
            output.Region.Continue = int(how == "returned FALSE")
            return int(how != "returned FALSE")
        return 1

    def python(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        return bool(raw(_question, answer._raw))

    callback: Any = md.protocol.PythonCallback({TYPE.INCLUDE_VM_REGION: python})
    if way == "foreign":
        callback = Callee({TYPE.INCLUDE_VM_REGION: raw}).routine
    _, path = take(target, FULL, callback=callback, only=QUICK)
    assert bases[-1] == heap and bases.count(heap) == 1
    _, whole = take(target, FULL, only=QUICK)
    assert contents(path, (plain, plain_size), (heap, heap_size)) == (None, target.content("heap"))
    later = [run for run in covered(whole) if run[0] > heap]
    assert later and later == [run for run in covered(path) if run[0] > heap]


def test_true_and_untouched_gets_everything_in_full(target: live.Target, take: live.Taker) -> None:
    callee = Callee()
    _, path = take(target, FULL, callback=callee.routine, only=QUICK)
    _, ours = take(target, FULL, only=QUICK)
    assert callee.count(TYPE.INCLUDE_VM_REGION) == 1, "Continue is FALSE on entry"
    assert covered(path) == covered(ours)
    theirs, reference = readers.read_minidump(path), readers.read_minidump(ours)
    assert theirs.modules == reference.modules and len(theirs.threads or ()) == 3
    base, size, _ = target.region("heap")
    assert readers.read_udmp(path, [(base, size)]).contents == (target.content("heap"),)
