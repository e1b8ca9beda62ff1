"""What plans, reports and `show` say is so."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import live
import pytest
from fake import PAGE, Region

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]


@pytest.mark.parametrize("kind", [NORMAL, FULL, FULL | md.DumpType.WITH_THREAD_INFO])
@pytest.mark.parametrize("words", [(), ("--threads", 3), ("--maps", 500), ("--sparse", "1G", "--touch", "4M")], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"untouched": "omit"}, {"filter": md.Filter(md.exclude(kind="file"))}], ids=str
)
def test_a_plan_is_the_dump_that_follows(
    kind: md.DumpType, words: tuple[Any, ...], options: dict[str, Any], start_pattern: Start, take: live.Taker
) -> None:
    """Of a process that does nothing in between."""
    target = start_pattern(*words)
    target.ping()  # its stack is as deep as it will be
    live.wait_until(lambda: set(live.task_states(target.pid).values()) == {"S"}, "all threads sleep")
    time.sleep(0.05)
    plan = md.plan_dump(target.pid, kind, **options)
    report, path = take(target, kind, only=["minidump"], **options)
    assert plan.planned and not report.planned
    for name in (
        "file_bytes",
        "streams",
        "memory_bytes",
        "memory_ranges",
        "memory64_ranges",
        "memory_info_count",
        "omitted_streams",
        "complete",
        "extents",
        "gaps",
        "rules",
    ):
        assert getattr(plan, name) == getattr(report, name), name
    assert path.stat().st_size == plan.file_bytes
    assert [(region.base, region.kept, region.verdict) for region in plan.regions] == [
        (region.base, region.kept, region.verdict) for region in report.regions
    ]


def test_a_plan_reads_of_memory_only_the_link_map(start_pattern: Start) -> None:
    """The target runs meanwhile, and nothing of it becomes resident that was not."""
    target = start_pattern("--sparse", "1G", "--touch", "4M")
    before = live.memory_figures(target.pid)
    plan = md.plan_dump(target.pid, FULL)
    after = live.memory_figures(target.pid)
    assert plan.streams > 0
    assert after["RssAnon"] == before["RssAnon"]
    assert after["VmPTE"] < before["VmPTE"] + 64


def verdicts(report: md.DumpReport) -> set[str]:
    """The words it has for its regions."""
    return {region.verdict for region in report.regions}


def test_excluded_is_said_where_a_rule_excluded(tmp_path: Path) -> None:
    target = fake.small(
        regions=(
            *fake.small().regions,
            Region(
                base=0x1000_0000, size=PAGE, protect=md.filters.MemoryProtect.READWRITE | md.filters.MemoryProtect.GUARD
            ),
        )
    )
    for kind in (NORMAL, FULL):
        report = fake.write(target, tmp_path / "a.dmp", kind)
        assert "excluded" not in verdicts(report)
        assert report.regions[-1].verdict == "not-stored"
    report = fake.write(target, tmp_path / "b.dmp", FULL, filter=md.Filter(md.exclude(kind="heap")))
    excluded = [region for region in report.regions if region.verdict == "excluded"]
    assert "[heap]" in [region.path for region in excluded]
    assert all(md.filters.Kind.HEAP in region.kinds for region in excluded)
    report = fake.write(target, tmp_path / "c.dmp", NORMAL, filter=md.Filter(md.exclude(kind="heap")))
    assert "excluded" not in verdicts(report), "nothing of it would be in a dump without full memory"
    report = fake.write(target, tmp_path / "d.dmp", NORMAL, filter=md.Filter(md.exclude(name="[[]stack]")))
    assert [region.path for region in report.regions if region.verdict == "excluded"] == ["[stack]"]


def test_excluded_in_a_real_process(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    for kind in (NORMAL, FULL):
        report, _ = take(target, kind, only=["minidump"])
        assert "excluded" not in verdicts(report)


def test_the_summary_counts_the_regions_that_are_in_the_dump(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--no-regions")
    path = tmp_path / "d.dmp"
    done = live.run_cli("dump", str(target.pid), "-o", path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    kept = sum(1 for region in told["regions"] if region["kept"])
    assert 0 < kept < len(told["regions"])
    assert f" of memory in {kept} region" in done.stderr


def test_a_pipe_is_no_reason_for_a_warning(start_pattern: Start) -> None:
    target = start_pattern("--sparse", "1G", "--touch", "1M")
    done = subprocess.run(
        [sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", "-", "--type", "full"],
        capture_output=True,
        timeout=live.PATIENCE,
        check=False,
    )
    assert done.returncode == 0
    assert b"warning" not in done.stderr, done.stderr
    assert len(done.stdout) < 64 << 20


def test_what_a_rule_adds_is_counted_for_it(tmp_path: Path) -> None:
    keep = md.Filter(md.include(kind="heap"), md.head("4 KiB", name="[[]heap]"), md.exclude(name="/data/*"))
    bare = fake.write(fake.small(), tmp_path / "a.dmp", NORMAL)
    report = fake.write(fake.small(), tmp_path / "a.dmp", NORMAL, filter=keep)
    assert report.messages == () and report.memory_bytes > bare.memory_bytes
    heaps = [region for region in report.regions if md.filters.Kind.HEAP in region.kinds]
    (named,) = (region for region in heaps if region.path == "[heap]")
    assert named.kept == 4096 == report.rules[1].kept, "the head of what the include added"
    assert sum(region.kept for region in heaps) == report.rules[0].kept + 4096
    assert fake.plan(fake.small(), NORMAL, filter=keep).memory_bytes == report.memory_bytes
    head = md.Filter(md.head("4 KiB", name="[[]heap]"))
    assert fake.write(fake.small(), tmp_path / "b.dmp", NORMAL, filter=head).memory_bytes == bare.memory_bytes


def damaged(path: Path, stream: int, rva: int, size: int) -> None:
    """Let the first stream of this number lie elsewhere."""
    data = bytearray(path.read_bytes())
    count, directory = struct.unpack_from("<II", data, 8)
    for at in range(directory, directory + 12 * count, 12):
        if struct.unpack_from("<I", data, at)[0] == stream:
            struct.pack_into("<II", data, at + 4, size, rva)
            path.write_bytes(data)
            return
    raise AssertionError(f"no stream {stream:#x}")


@pytest.mark.parametrize("stream", [3, 7, 16, 24, 0x47670003, 0x47670006, 0x4D444301, 0x4D444302])
@pytest.mark.parametrize(("rva", "size"), [(1 << 31, 8), (0x100, 1 << 31), (0xFFFFFFF0, 0xFFFFFFF0)])
def test_show_tells_of_streams_outside_the_file(
    stream: int, rva: int, size: int, start_pattern: Start, tmp_path: Path
) -> None:
    target = start_pattern("--no-regions")
    path = tmp_path / "d.dmp"
    md.write_dump(target.pid, path)
    assert live.run_cli("show", path).returncode == 0
    damaged(path, stream, rva, size)
    done = live.run_cli("show", path)
    assert done.returncode == 1
    assert f"{size} bytes at offset {rva:#x} are beyond the end of the file" in done.stderr
    assert done.stderr.count("are beyond the end of the file") == 1


def test_show_tells_of_a_second_list_outside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "d.dmp"
    fake.write(fake.small(), path)
    data = bytearray(path.read_bytes())
    count, directory = struct.unpack_from("<II", data, 8)
    struct.pack_into("<III", data, directory + 12 * count, 3, 64, 1 << 31)  # there is room for more
    struct.pack_into("<I", data, 8, count + 1)
    path.write_bytes(data)
    done = live.run_cli("show", path)
    assert done.returncode == 1 and "are beyond the end of the file" in done.stderr
