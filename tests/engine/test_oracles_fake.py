"""Dumps of made-up targets, as readers that are not ours see them: limits, faults, odd names, and random targets."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from pathlib import Path

import fake
import file_rules
import live
import pytest
import readers
from fake import PAGE, Module, Region, Target, Thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import APP, FULL, IMAGE, NORMAL, STACKS, with_threads

import minidump_cffi as md


def touched(region: Region, page: int) -> bool:
    """Whether the page at this address holds data."""
    return region.touch_every != 0 and ((page - region.base) // PAGE) % region.touch_every == 0


def content(target: Target, address: int, size: int) -> bytes:
    """The bytes at an address of one region, zeros where it was never touched."""
    region = next(item for item in target.regions if item.base <= address < item.base + item.size)
    found = bytearray()
    for page in range(address & -PAGE, address + size, PAGE):
        first, end = max(page, address), min(page + PAGE, address + size)
        found += target.bytes(first, end - first) if touched(region, page) else bytes(end - first)
    return bytes(found)


def assert_content(target: Target, path: Path) -> None:
    """Every range of the file holds the target's bytes."""
    with file_rules.DumpFile(path) as dump:
        for item in dump.ranges():
            at = item.address
            while at < item.address + item.size:
                region = next(piece for piece in target.regions if piece.base <= at < piece.base + piece.size)
                end = min(item.address + item.size, region.base + region.size)
                offset = item.offset + at - item.address
                assert dump.data[offset : offset + end - at] == content(target, at, end - at), hex(at)
                at = end


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_a_small_target(dump_type: md.DumpType, tmp_path: Path) -> None:
    target = with_threads(3, Region(base=0x10000000, size=64 * PAGE))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, dump_type)
    live.assert_accepted(path, report)
    assert_content(target, path)


def test_a_target_without_anything(tmp_path: Path) -> None:
    path = tmp_path / "d.dmp"
    target = Target(regions=(IMAGE,), modules=(APP,), threads=(Thread(tid=1),))
    report = fake.write(target, path, NORMAL)
    assert file_rules.broken_rules(path) == []
    assert report.complete


def test_lists_longer_than_breakpad_reads(tmp_path: Path) -> None:
    """They are written whole, the report warns, and every other reader takes them."""
    modules = tuple(
        Module(base=0x10000000 + number * 2 * PAGE, size=PAGE, path=b"/lib/%d.so" % number) for number in range(2100)
    )
    images = tuple(
        Region(base=item.base, size=PAGE, type=md.filters.MemoryType.IMAGE, kinds=md.filters.Kind.IMAGE, name=item.path)
        for item in modules
    )
    plain = with_threads(4200, *images, stack_pages=1)
    target = Target(regions=plain.regions, threads=plain.threads, modules=(APP, *modules))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL)
    assert report.warnings & md.report.DumpWarning.MANY_THREADS
    assert report.warnings & md.report.DumpWarning.MANY_MODULES
    live.assert_accepted(path, report, only=["minidump", "udmp-parser", "obj2yaml"])  # lldb takes a minute
    with file_rules.DumpFile(path) as dump:
        assert len(dump.threads()) == 4200
        assert len(dump.modules()) == 2101
        assert len(dump.memory64()) > 4200


def test_a_normal_dump_with_more_ranges_than_breakpad_reads(tmp_path: Path) -> None:
    """All of them are in MemoryList."""
    heap = Region(base=0x10000000, size=10000 * PAGE)
    target = with_threads(1, heap)
    path = tmp_path / "d.dmp"
    keep = md.Filter(memory={"add": [(heap.base + 2 * n * PAGE, heap.base + (2 * n + 1) * PAGE) for n in range(5000)]})
    report = fake.write(target, path, NORMAL, filter=keep)
    assert report.warnings & md.report.DumpWarning.MANY_RANGES
    live.assert_accepted(path, report, only=["minidump", "udmp-parser", "obj2yaml"])
    with file_rules.DumpFile(path) as dump:
        assert len(dump.memory()) == report.memory_ranges > 5000
    assert_content(target, path)


@pytest.mark.parametrize(("dump_type", "threads"), [(NORMAL, 4095), (FULL, 4096)], ids=["normal", "full"])
def test_no_warning_at_the_limit(dump_type: md.DumpType, threads: int, tmp_path: Path) -> None:
    """4,096 threads, or as many ranges: their stacks, and the instructions that they share."""
    target = with_threads(threads, stack_pages=1)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, dump_type)
    assert not report.warnings
    only = ["minidump_stackwalk", "minidump_dump"]  # lldb takes its time
    if dump_type == NORMAL:
        only += ["minidump", "udmp-parser", "obj2yaml"]
    live.assert_accepted(path, report, only)


def test_stacks_beyond_the_32_bit_limit(tmp_path: Path) -> None:
    """With the limit moved down: no thread points at a stack that does not fit, and Memory64List has it."""
    target = with_threads(40, stack_pages=16, depth=15 * PAGE)
    path = tmp_path / "d.dmp"
    limit = 1 << 20
    report = fake.write(target, path, FULL, options=md.EngineOptions(limit32=limit))
    assert report.warnings & md.report.DumpWarning.RANGES_ABOVE_4G
    live.assert_accepted(path, report)
    with file_rules.DumpFile(path) as dump:
        for kind, size, offset in dump.directory:
            assert offset + size <= limit, kind
        beyond = [thread for thread in dump.threads() if thread.stack.size == 0]
        assert 0 < len(beyond) < 40
        assert all(thread.stack.offset == 0 for thread in beyond)
        assert all(dump.read(STACKS + number * 64 * PAGE, 16 * PAGE) is not None for number in range(40))
    assert_content(target, path)


def test_added_memory_beyond_the_limit_of_a_normal_dump(tmp_path: Path) -> None:
    heap = Region(base=0x10000000, size=512 * PAGE)
    target = with_threads(1, heap)
    path = tmp_path / "d.dmp"
    keep = md.Filter(memory={"add": [(heap.base, heap.base + heap.size)]})
    report = fake.write(target, path, NORMAL, filter=keep, options=md.EngineOptions(limit32=1 << 20))
    live.assert_accepted(path, report)
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(heap.base, heap.size) == content(target, heap.base, heap.size)
        assert dump.memory64() and dump.flags == md.DumpType.WITH_FULL_MEMORY
    assert report.warnings & md.report.DumpWarning.MEMORY64


FAULTY = Region(base=0x10000000, size=64 * PAGE, unreadable=(0x10000000 + 5 * PAGE, 0x10000000 + 7 * PAGE))


@pytest.mark.parametrize("slots", [0, 64], ids=["default", "many"])
# On Windows a HANDLE does not tell that the C run-time appends: it is a file like any other.
@pytest.mark.parametrize("how", ["file", "pipe", *([] if sys.platform == "win32" else ["append"])])
def test_pages_that_fail(how: str, slots: int, tmp_path: Path) -> None:
    target = with_threads(2, FAULTY)
    path = tmp_path / "d.dmp"
    options = md.EngineOptions(spare_slots=slots)
    if how == "file":
        report = fake.write(target, path, FULL, options=options)
    elif how == "append":
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        report = fake.write(target, fd, FULL, options=options)
        os.close(fd)
    else:
        report = through_pipe(target, path, options)
    assert not report.complete
    live.assert_accepted(path, report)
    first, end = FAULTY.unreadable
    assert [(gap.address, gap.size) for gap in report.gaps] == [(first, end - first)]
    with file_rules.DumpFile(path) as dump:
        before = FAULTY.base, first - FAULTY.base
        behind = end, FAULTY.base + FAULTY.size - end
        for address, size in (before, behind):
            assert dump.read_across(address, size) == content(target, address, size)
        if how == "file":
            assert not dump.holds(first, end - first)
        else:
            assert dump.read_across(first, end - first) == bytes(end - first)


def through_pipe(target: Target, path: Path, options: md.EngineOptions) -> md.DumpReport:
    """Dump to a pipe, and what comes out of it to a file."""
    ours, theirs = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        while data := os.read(ours, 1 << 16):
            received.append(data)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        return fake.write(target, theirs, FULL, options=options)
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
        path.write_bytes(b"".join(received))


def test_more_gaps_than_slots(tmp_path: Path) -> None:
    """Without a spare descriptor the failed page is zeros and an entry in the gap stream."""
    regions = tuple(
        Region(base=at, size=8 * PAGE, unreadable=(at + 3 * PAGE, at + 4 * PAGE))
        for at in range(0x10000000, 0x10000000 + 200 * 16 * PAGE, 16 * PAGE)
    )
    target = with_threads(1, *regions)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, options=md.EngineOptions(spare_slots=16))
    live.assert_accepted(path, report)
    assert len(report.gaps) == 200
    with file_rules.DumpFile(path) as dump:
        held = [dump.holds(region.base + 3 * PAGE, PAGE) for region in regions]
        assert held.count(False) >= 16
        for region in regions:
            assert dump.read_across(region.base, 3 * PAGE) == content(target, region.base, 3 * PAGE)
            assert dump.read_across(region.base + 4 * PAGE, 4 * PAGE) == content(
                target, region.base + 4 * PAGE, 4 * PAGE
            )


def test_a_table_of_gaps_that_is_full(tmp_path: Path) -> None:
    regions = tuple(
        Region(base=at, size=8 * PAGE, unreadable=(at, at + PAGE))
        for at in range(0x10000000, 0x10000000 + 50 * 16 * PAGE, 16 * PAGE)
    )
    path = tmp_path / "d.dmp"
    report = fake.write(with_threads(1, *regions), path, FULL, options=md.EngineOptions(gaps_max=10))
    assert not report.complete
    assert len(report.gaps) <= 10
    assert report.warnings & md.report.DumpWarning.GAP_TABLE_FULL
    live.assert_accepted(path, report)


@pytest.mark.parametrize(
    "name",
    [b"/tmp/\xff\xfe odd", b"/" + b"x" * 4000 + b"/end.so", "/tmp/\U0001f600".encode(), b"/tmp/\xed\xa0\x80", b"\xc3"],
    ids=["odd", "long", "astral", "surrogate", "cut"],
)
def test_odd_names(name: bytes, tmp_path: Path) -> None:
    module = Module(base=IMAGE.base, size=IMAGE.size, path=name)
    plain = with_threads(1)
    target = Target(regions=plain.regions, threads=plain.threads, modules=(module,))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL)
    # udmp-parser refuses every module path that is not printable ASCII, and Breakpad one with a surrogate pair.
    choke = {"udmp-parser"} | ({"minidump_stackwalk", "minidump_dump"} if "\U0001f600".encode() in name else set())
    live.assert_accepted(path, report, only=[name for name in readers.READERS if name not in choke])
    with file_rules.DumpFile(path) as dump:
        (_, _, text, _), *_ = dump.modules()
    assert len(text.encode("utf-16-le")) // 2 <= 1024
    assert text.endswith(name[-6:].decode("utf-8", "replace")[-1])
    report = fake.write(target, path, FULL, names="ascii")
    live.assert_accepted(path, report)
    with file_rules.DumpFile(path) as dump:
        (_, _, text, _), *_ = dump.modules()
    octal = re.sub(rb"[^ -~]", lambda byte: b"\\%03o" % byte[0][0], name).decode()
    assert text == octal[-1024:]


def test_untouched_memory_of_every_kind(tmp_path: Path) -> None:
    sparse = Region(base=0x10000000, size=4096 * PAGE, touch_every=256, flags=int(md.report.RegionFlags.UNTOUCHED))
    target = with_threads(1, sparse)
    for untouched in ("auto", "hole", "omit"):
        path = tmp_path / f"{untouched}.dmp"
        report = fake.write(target, path, FULL, untouched=untouched)
        live.assert_accepted(path, report)
        with file_rules.DumpFile(path) as dump:
            for number in range(0, 4096, 256):
                at = sparse.base + number * PAGE
                assert dump.read_across(at, PAGE) == content(target, at, PAGE)
        if untouched == "omit":
            assert path.stat().st_size < sparse.size // 4


@pytest.mark.linux
def test_a_process_of_many_gigabytes(tmp_path: Path) -> None:
    """Nothing of it is touched but a page here and there; the file has holes and offsets beyond 4 GiB."""
    huge = Region(base=0x100000000, size=12 << 30, touch_every=1 << 18, flags=int(md.report.RegionFlags.UNTOUCHED))
    target = with_threads(2, huge)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, untouched="hole")
    assert path.stat().st_size > 12 << 30
    assert path.stat().st_blocks * 512 < 64 << 20
    live.assert_accepted(path, report, only=["lldb", "minidump", "udmp-parser", "minidump_stackwalk", "minidump_dump"])
    with file_rules.DumpFile(path) as dump:
        last = huge.base + ((huge.size // PAGE - 1) >> 18 << 18) * PAGE
        assert dump.read(last, PAGE) == content(target, last, PAGE)


def test_a_file_that_would_be_too_long_for_holes(tmp_path: Path) -> None:
    huge = Region(base=0x100000000, size=1 << 30, touch_every=1 << 14, flags=int(md.report.RegionFlags.UNTOUCHED))
    target = with_threads(1, huge)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, options=md.EngineOptions(sparse_max=1 << 28))
    if sys.platform == "linux":  # where files have holes; Wine's volumes have none
        assert report.warnings & md.report.DumpWarning.NO_SPARSE
    assert path.stat().st_size < 64 << 20
    live.assert_accepted(path, report)


def regions() -> st.SearchStrategy[tuple[Region, ...]]:
    """Disjoint mappings with gaps or none between them, some with pages that fail."""
    sizes = st.integers(1, 24)
    one = st.tuples(st.integers(0, 3), sizes, st.sampled_from([1, 1, 2, 5]), st.integers(-1, 23), st.integers(1, 3))

    def place(pieces: list[tuple[int, int, int, int, int]]) -> tuple[Region, ...]:
        at, made = 0x10000000, []
        for distance, pages, every, bad, count in pieces:
            at += distance * PAGE
            size = pages * PAGE
            unreadable = (0, 0)
            if 0 <= bad < pages:
                unreadable = (at + bad * PAGE, min(at + (bad + count) * PAGE, at + size))
            made.append(
                Region(
                    base=at,
                    size=size,
                    touch_every=every,
                    unreadable=unreadable,
                    flags=int(md.report.RegionFlags.UNTOUCHED) if every > 1 else 0,
                )
            )
            at += size
        return tuple(made)

    return st.lists(one, max_size=12).map(place)


RANGES = st.tuples(st.integers(0, 300 * PAGE), st.integers(1, 20 * PAGE)).map(
    lambda pair: (0x10000000 + pair[0], 0x10000000 + pair[0] + pair[1])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=regions(),
    excluded=st.lists(RANGES, max_size=4),
    buffer=st.sampled_from([4096, 8192, 65536]),
    untouched=st.sampled_from(["auto", "omit", "hole"]),
)
def test_random_targets_come_back(
    made: tuple[Region, ...], excluded: list[tuple[int, int]], buffer: int, untouched: str, tmp_path: Path
) -> None:
    """Fake source, dump, reader: the same bytes outside gaps, nothing of what is excluded, everything else."""
    target = with_threads(2, *made)
    path = tmp_path / f"{len(fake.names(tmp_path))}.dmp"  # Windows replaces no file that a reader has open
    keep = md.Filter(*(md.exclude(range=pair) for pair in excluded))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", md.FilterWarning)  # a range may hide another
        keep.compile()
    report = fake.write(
        target,
        path,
        FULL,
        filter=keep,
        untouched=untouched,
        options=md.EngineOptions(buffer_bytes=buffer, hole_min=4096),
    )
    broken = file_rules.broken_rules(path)
    assert not broken
    readers.assert_accepted_counts(path, live.expected_counts(report), ["udmp-parser", "minidump"])
    assert_content(target, path)
    gaps = [(gap.address, gap.address + gap.size) for gap in report.gaps]
    with file_rules.DumpFile(path) as dump:
        held = sorted((item.address, item.address + item.size) for item in dump.ranges())
        for region in made:
            for page in range(region.base, region.base + region.size, PAGE):
                hidden = any(first < page + PAGE and page < end for first, end in excluded)
                failed = region.unreadable[0] <= page < region.unreadable[1] and touched(region, page)
                there = any(first <= page and page + PAGE <= end for first, end in held)
                if hidden:
                    assert not any(first < page + PAGE and page < end for first, end in held)
                elif failed:
                    assert any(first <= page < end for first, end in gaps)
                elif touched(region, page):
                    assert there
