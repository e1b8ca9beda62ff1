"""Pages of zeros take no space in a file, of any origin, and everything that may change them sees them first."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fake
import file_rules
import live
import pytest
from fake import PAGE, Region

import minidump_cffi as md

pytestmark = pytest.mark.linux  # the volumes that Wine shows have no sparse files

FULL = md.DumpType.WITH_FULL_MEMORY
MIB = 1 << 20
BASE = 0x1000_0000
Start = Callable[..., live.Target]


def target_with(*, pages: int = 1024, every: int = 2, told: bool = False, **changes: object) -> fake.Target:
    """A target with one region of so many pages, of which each n-th is a page of zeros."""
    region = Region(base=BASE, size=pages * PAGE, zero_every=every, zero_told=told, **changes)  # type: ignore[arg-type]
    plain = fake.small()
    regions = tuple(sorted((*plain.regions, region), key=lambda region: region.base))
    return fake.Target(regions=regions, threads=plain.threads, modules=plain.modules)


def page(target: fake.Target, number: int, every: int) -> bytes:
    """What the target holds there."""
    return bytes(PAGE) if number % every == 0 else target.bytes(BASE + number * PAGE, PAGE)


def blocks(path: Path) -> int:
    """Bytes the file takes on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return path.stat().st_blocks * 512


def report_of(report: md.DumpReport) -> md.report.Region:
    """What the report says of the region."""
    (found,) = [region for region in report.regions if region.base == BASE]
    return found


def into_a_pipe(target: fake.Target, path: Path, **options: object) -> md.DumpReport:
    """Dump to a stream."""
    reader, writer = os.pipe()

    def drain() -> None:
        with open(reader, "rb") as stream:
            path.write_bytes(stream.read())

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        return fake.write(target, writer, FULL, **options)
    finally:
        os.close(writer)
        thread.join()


@pytest.mark.parametrize("buffer_bytes", [4096, 0])
@pytest.mark.parametrize("every", [1, 2, 3, 200])
def test_pages_of_zeros_are_holes(every: int, buffer_bytes: int, tmp_path: Path) -> None:
    target = target_with(every=every)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, options=md.EngineOptions(buffer_bytes=buffer_bytes))
    zeros = -(-1024 // every) * PAGE
    region = report_of(report)
    assert (region.kept, region.stored, region.zeros, region.untouched) == (
        1024 * PAGE,
        1024 * PAGE - zeros,
        zeros,
        0,
    )
    assert report.zero_bytes == zeros
    assert report.memory_bytes == report.stored_bytes + report.zero_bytes
    assert blocks(path) <= report.stored_bytes * 1.01 + MIB
    assert blocks(path) < path.stat().st_size - zeros + 64 * 1024
    live.assert_accepted(path, report, only=["minidump", "udmp-parser"])
    with file_rules.DumpFile(path) as dump:
        for number in (0, 1, 2, 3, 4, 511, 512, 1022, 1023):
            assert dump.read(BASE + number * PAGE, PAGE) == page(target, number, every)


def test_short_untouched_runs_are_holes_of_a_file_and_zeros_of_a_stream(tmp_path: Path) -> None:
    flags = int(md.report.RegionFlags.UNTOUCHED)
    target = target_with(every=0, touch_every=4, flags=flags)
    path, stream = tmp_path / "d.dmp", tmp_path / "s.dmp"
    report = fake.write(target, path, FULL)
    assert report_of(report).untouched == 768 * PAGE
    assert report_of(report).stored == 256 * PAGE
    assert blocks(path) < path.stat().st_size - 700 * PAGE
    through = into_a_pipe(target, stream)
    assert report_of(through).untouched == 768 * PAGE
    assert (report_of(through).stored, report_of(through).zeros, through.zero_bytes) == (1024 * PAGE, 0, 0)
    with file_rules.DumpFile(path) as one, file_rules.DumpFile(stream) as two:
        assert one.read(BASE, 1024 * PAGE) == two.read(BASE, 1024 * PAGE)


def test_zeros_found_while_copying_are_stored_on_a_stream(tmp_path: Path) -> None:
    """The lists come first there: what was promised has to follow."""
    target = target_with(every=3)
    stream = tmp_path / "s.dmp"
    report = into_a_pipe(target, stream)
    region = report_of(report)
    assert (region.kept, region.stored, region.zeros, report.zero_bytes) == (1024 * PAGE, 1024 * PAGE, 0, 0)
    live.assert_accepted(stream, report, only=["minidump", "udmp-parser"])
    with file_rules.DumpFile(stream) as dump:
        assert dump.read(BASE, 4 * PAGE) == b"".join(page(target, number, 3) for number in range(4))


def test_zero_pages_the_kernel_tells_are_left_out_of_a_stream(tmp_path: Path) -> None:
    target = target_with(every=1, told=True)
    path, stream = tmp_path / "d.dmp", tmp_path / "s.dmp"
    report, through = fake.write(target, path, FULL), into_a_pipe(target, stream)
    for made in (report, through):
        region = report_of(made)
        assert (region.kept, region.stored, region.untouched) == (1024 * PAGE, 0, 1024 * PAGE)
        assert made.zero_bytes == 1024 * PAGE and made.complete
    with file_rules.DumpFile(path) as one, file_rules.DumpFile(stream) as two:
        assert one.read(BASE, PAGE) == bytes(PAGE)
        assert not two.holds(BASE, PAGE)
    assert stream.stat().st_size < MIB


@pytest.mark.parametrize("told", [False, True])
def test_redaction_sees_every_page_of_zeros(told: bool, tmp_path: Path) -> None:
    """What it overwrites is stored, the rest of the page with it; what it leaves alone is a hole."""
    target = target_with(every=2, told=told)
    keep = md.Filter(redact=md.Redact(ranges=[(BASE + 100, BASE + 200), (BASE + 4 * PAGE, BASE + 6 * PAGE)], fill=0x2E))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, filter=keep)
    assert report_of(report).zeros == 510 * PAGE  # but for the pages 0 and 4
    with file_rules.DumpFile(path) as dump:
        assert dump.read(BASE, PAGE) == bytes(100) + b"." * 100 + bytes(PAGE - 200)
        assert dump.read(BASE + 4 * PAGE, 2 * PAGE) == b"." * (2 * PAGE)
        assert dump.read(BASE + 2 * PAGE, 2 * PAGE) == page(target, 2, 2) + page(target, 3, 2)


@pytest.mark.parametrize("hold", [8, 100, 4096])
def test_pages_that_leave_the_window_in_two_parts(hold: int, tmp_path: Path) -> None:
    """With hold-back a page of the file is written in two parts: it counts as zeros only if both are."""
    target = target_with(every=2)
    keep = md.Filter(redact=md.Redact(patterns=[b"\x01\x02" * (hold // 2)]))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, filter=keep, options=md.EngineOptions(buffer_bytes=8192))
    assert (report_of(report).zeros, report_of(report).stored) == (512 * PAGE, 512 * PAGE)
    with file_rules.DumpFile(path) as dump:
        for number in range(0, 1024, 31):
            assert dump.read(BASE + number * PAGE, PAGE) == page(target, number, 2)


def test_a_callback_sees_every_byte(tmp_path: Path) -> None:
    target = target_with(every=2, told=True, pages=64)
    seen: set[int] = set()

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_FALSE
        return True

    def post_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_post_read
        seen.update(range(read.offset & -PAGE, read.offset + read.completed, PAGE))
        if read.offset <= BASE + 8 * PAGE < read.offset + read.completed:
            read.buffer[BASE + 8 * PAGE - read.offset] = 1
        if read.offset <= BASE + 9 * PAGE < read.offset + read.completed:
            at = BASE + 9 * PAGE - read.offset
            read.buffer[at : at + PAGE] = bytes(PAGE)
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        return True

    functions = {
        md.protocol.CallbackType.VM_START: start,
        md.protocol.CallbackType.VM_QUERY: lambda question, answer: False,
        md.protocol.CallbackType.VM_PRE_READ: lambda question, answer: False,
        md.protocol.CallbackType.VM_POST_READ: post_read,
    }
    path = tmp_path / "d.dmp"
    report = fake.write(
        target, path, FULL, callback=md.protocol.PythonCallback(functions), options=md.EngineOptions(buffer_bytes=PAGE)
    )
    assert {BASE + number * PAGE for number in range(64)} <= seen
    assert report_of(report).zeros == 32 * PAGE  # page 8 is none any more, page 9 has become one
    with file_rules.DumpFile(path) as dump:
        assert dump.read(BASE + 8 * PAGE, PAGE) == b"\1" + bytes(PAGE - 1)
        assert dump.read(BASE + 9 * PAGE, PAGE) == bytes(PAGE)


def test_gaps_among_pages_of_zeros(tmp_path: Path) -> None:
    """Where a gap was cut out, what follows has moved down in the file."""
    first = BASE + 11 * PAGE
    target = target_with(every=2, pages=64, unreadable=(first, first + PAGE))
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL | md.DumpType.IGNORE_INACCESSIBLE_MEMORY)
    region = report_of(report)
    assert not report.complete
    assert (region.kept, region.zeros, region.stored) == (64 * PAGE, 32 * PAGE, 31 * PAGE)
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(first, PAGE)
        for number in (0, 1, 10, 12, 13, 62, 63):
            assert dump.read(BASE + number * PAGE, PAGE) == page(target, number, 2)


def test_a_dump_without_full_memory_has_them_too(tmp_path: Path) -> None:
    target = target_with(every=2, pages=64)
    path = tmp_path / "d.dmp"
    start = BASE + 77
    report = fake.write(target, path, filter=md.Filter(memory={"add": [(start, start + 50 * PAGE)]}))
    region = report_of(report)
    assert region.kept == 50 * PAGE and region.stored + region.zeros == 50 * PAGE
    with file_rules.DumpFile(path) as dump:
        wanted = b"".join(page(target, number, 2) for number in range(64))[77 : 77 + 50 * PAGE]
        assert dump.read(start, 50 * PAGE) == wanted


def test_memory_that_was_only_read(start_pattern: Start, take: live.Taker) -> None:
    """The kernel's page of zeros is mapped everywhere: no room in a file, and not in a stream."""
    target = start_pattern("--zeros", "256M")
    base, size, seed = target.region("zeros")
    report, path = take(target, FULL)
    assert report.complete
    assert blocks(path) <= report.stored_bytes * 1.01 + MIB
    (region,) = [region for region in report.regions if region.base == base]
    assert region.untouched == size // 4 * 3 and region.zeros == region.stored == size // 8
    with file_rules.DumpFile(path) as dump:
        for offset in (0, size // 8):
            assert dump.read(base + offset, PAGE) == live.pattern(base + offset, PAGE, seed)
            assert dump.read(base + offset + PAGE, PAGE) == bytes(PAGE)
        assert dump.read(base + size - PAGE, PAGE) == bytes(PAGE)
    with subprocess.Popen(
        [sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", "-", "--no-spool", "--type", "full"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        stream = path.with_name("stream.dmp")
        stream.write_bytes(process.stdout.read())
    assert process.returncode == 0
    with file_rules.DumpFile(stream) as dump:
        assert dump.read(base, 2 * PAGE) == live.pattern(base, PAGE, seed) + bytes(PAGE)
        assert not dump.holds(base + size - PAGE)
    assert stream.stat().st_size < size // 2
    target.assert_runs_on()
