"""What a dump leaves out on request: what coredump_filter leaves out, and pages that the files of modules have."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import file_rules
import live
import pytest
from fake import PAGE, Region

import minidump_cffi as md
from minidump_cffi._native import _ext
from minidump_cffi.filters import Kind, MemoryType

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]


# ---------------------------------------------------------------------------------------------------- coredump_filter


def set_filter(pid: int, bits: int) -> None:
    """Say what the process wants in a core file."""
    Path(f"/proc/{pid}/coredump_filter").write_text(hex(bits))


def kept_of(report: md.DumpReport, target: live.Target, name: str) -> int:
    """Bytes of a region of pattern.c that the filter leaves in the dump."""
    base, _, _ = target.region(name)
    (region,) = [region for region in report.regions if region.base == base]
    return region.size - region.filtered


#: bits -> the regions of pattern.c that stay: private and written, private of a file, shared without and with a name
KEPT = {
    0x00: set(),
    0x01: {"plain", "unreadable"},
    0x02: {"memfd", "deleted"},
    0x04: {"odd_name"},
    0x08: {"shrunk"},
    0x33: {"plain", "unreadable", "memfd", "deleted"},
    0x7F: {"plain", "unreadable", "memfd", "deleted", "odd_name", "shrunk"},
}


@pytest.mark.parametrize("bits", list(KEPT))
def test_what_each_bit_leaves_out(bits: int, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    set_filter(target.pid, bits)
    report, path = take(target, FULL, coredump_filter=True, only=["minidump"])
    found = {name for name in KEPT[0x7F] if kept_of(report, target, name)}
    assert found == KEPT[bits]
    assert report.complete
    assert report.filtered_bytes == sum(region.filtered for region in report.regions)
    with file_rules.DumpFile(path) as dump:
        for name in KEPT[0x7F]:
            base, _, _ = target.region(name)
            assert dump.holds(base, PAGE) == (name in found)
    words = {region.verdict for region in report.regions if region.filtered == region.size}
    assert words <= {"coredump-filter", "never-read"}


def core_loads(core: bytes) -> dict[int, tuple[int, int]]:
    """Address -> bytes of the mapping, and how many of them are in the core file."""
    (offset,) = struct.unpack_from("<Q", core, 32)
    size, count = struct.unpack_from("<HH", core, 54)
    found = {}
    for number in range(count):
        kind, _, _, address, _, stored, mapped, _ = struct.unpack_from("<IIQQQQQQ", core, offset + number * size)
        if kind == 1:
            found[address] = (mapped, stored)
    return found


@pytest.mark.parametrize("bits", [0x00, 0x01, 0x10, 0x14, 0x33, 0x7F])
def test_the_kernel_decides_the_same(bits: int, start_pattern: Start, tmp_path: Path) -> None:
    """The target then dies of a signal: what is in its core file is what the report said."""
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() != "core":
        pytest.skip("core files do not go to the working directory here")
    folder = tmp_path / "cores"
    folder.mkdir()
    target = start_pattern(cwd=folder)
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    set_filter(target.pid, bits)
    report = md.write_dump(target.pid, tmp_path / "d.dmp", FULL, coredump_filter=True)
    os.kill(target.pid, signal.SIGABRT)
    target.process.wait(60)
    (core,) = folder.iterdir()
    loads = core_loads(core.read_bytes())
    compared = 0
    for region in report.regions:
        # The kernel leaves these out by themselves; and of private memory that was never written there is nothing.
        aside = md.report.RegionFlags.NEVER_READ | md.report.RegionFlags.DONTDUMP
        if region.flags & aside or not region.state & md.filters.MemoryState.COMMIT or region.untouched == region.size:
            continue
        assert loads[region.base] == (region.size, region.size - region.filtered), (region.path, hex(bits))
        compared += 1
    assert compared > 15


def test_the_first_page_of_an_image_and_of_nothing_else(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    set_filter(target.pid, 0x10)
    report, _ = take(target, FULL, coredump_filter=True, only=["minidump"])
    heads = {module.base for module in report.modules}
    kept = {region.base: region.kept for region in report.regions if region.kept and not region.kinds & Kind.VDSO}
    assert all(size == PAGE for base, size in kept.items() if base in heads)
    assert any(base in heads for base in kept)
    assert kept_of(report, target, "odd_name") == 0, "a file that is no image and may not be executed"


def test_rules_leave_out_more_but_add_nothing(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    set_filter(target.pid, 0x01)
    plain, _, _ = target.region("plain")
    memfd, size, _ = target.region("memfd")
    keep = md.Filter(md.include(range=(memfd, memfd + size)), md.exclude(range=(plain, plain + 4 * PAGE)))
    report, path = take(target, FULL, filter=keep, coredump_filter=True, only=["minidump"])
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(memfd) and not dump.holds(plain) and dump.holds(plain + 4 * PAGE)
    assert report.rules[0].kept == 0


def test_a_dump_without_full_memory_honours_it_too(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    set_filter(target.pid, 0)
    plain, _, _ = target.region("plain")
    keep = md.Filter(md.exclude(kind="vdso"), memory={"add": [(plain, plain + PAGE)]})  # cores have the vdso
    report, path = take(target, filter=keep, coredump_filter=True, only=["minidump"])
    assert report.memory_bytes == report.stored_bytes == 0
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(plain)


def test_a_part_of_a_mapping(tmp_path: Path) -> None:
    base = 0x1000_0000
    region = Region(base=base, size=16 * PAGE, filtered=15 * PAGE)
    target = fake.small(regions=(*fake.small().regions, region))
    for kind, keep in ((FULL, md.Filter()), (NORMAL, md.Filter(memory={"add": [(base + 100, base + 3 * PAGE)]}))):
        path = tmp_path / f"{int(kind)}.dmp"
        report = fake.write(target, path, kind, filter=keep)
        assert report.filtered_bytes == 15 * PAGE
        with file_rules.DumpFile(path) as dump:
            assert dump.read(base + 100, PAGE - 100) == target.bytes(base, PAGE)[100:]
            assert not dump.holds(base + PAGE)


def test_a_filter_that_cannot_be_read_is_an_error(start_pattern: Start, tmp_path: Path) -> None:
    """What it says is not known, and what it hides must not be in the dump."""
    target = start_pattern("--zombie-leader", "--threads", 2)
    live.wait_until(lambda: live.task_states(target.pid).get(target.pid) == "Z", "the first thread has ended")
    with pytest.raises(md.DumpError, match="dump without coredump_filter"):
        md.write_dump(target.pid, tmp_path / "d.dmp", coredump_filter=True)
    assert not (tmp_path / "d.dmp").exists()


def test_arguments() -> None:
    with pytest.raises(TypeError, match="coredump_filter must be True or False"):
        md.write_dump(1, "/dev/null", coredump_filter=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="file_pages must be one of all, resident"):
        md.plan_dump(1, file_pages="none")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- file_pages


class Loaded:
    """A process that has loaded a copy of a shared library of which it uses next to nothing."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "libcopy.so"
        shutil.copy(_ext.__file__, self.image)
        code = "import ctypes, os, sys; ctypes.CDLL(sys.argv[1]); print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, str(self.image)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.pid = self.process.pid

    def regions(self, report: md.DumpReport) -> list[md.report.Region]:
        """The mappings of the library."""
        return [region for region in report.regions if region.path == str(self.image)]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    with contextlib.closing(Loaded(tmp_path)) as made:
        yield made


@pytest.mark.linux
def test_clean_pages_are_left_to_the_file(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "d.dmp"
    plan = md.plan_dump(loaded.pid, FULL, file_pages="resident")
    report = md.write_dump(loaded.pid, path, FULL, file_pages="resident")
    live.assert_accepted(path, report, only=["minidump", "udmp-parser", "lldb"])
    assert report.complete and plan.complete
    assert plan.left_to_file == report.left_to_file > 0
    assert plan.file_bytes == report.file_bytes
    gaps = [gap for gap in report.gaps if gap.reason is md.report.GapReason.LEFT_TO_FILE]
    assert sum(gap.size for gap in gaps) == report.left_to_file
    assert sum(region.left_to_file for region in loaded.regions(report)) > 0
    with file_rules.DumpFile(path) as dump:
        for gap in gaps:
            assert not dump.holds(gap.address, gap.size)
            assert any(module.base <= gap.address < module.base + module.size for module in report.modules)
    done = live.run_cli("show", path, "--json")
    assert done.returncode == 0
    shown = [gap for gap in json.loads(done.stdout)["gaps"] if gap["reason"] == int(md.report.GapReason.LEFT_TO_FILE)]
    assert sum(gap["size"] for gap in shown) == report.left_to_file

    # A full dump is full: the same addresses with the bytes of the files.
    whole = md.write_dump(loaded.pid, path, FULL)
    assert whole.left_to_file == 0
    assert not [gap for gap in whole.gaps if gap.reason is md.report.GapReason.LEFT_TO_FILE]
    data = loaded.image.read_bytes()
    maps = [line.split() for line in Path(f"/proc/{loaded.pid}/maps").read_text().splitlines()]
    offsets = {int(words[0].partition("-")[0], 16): int(words[2], 16) for words in maps}
    with file_rules.DumpFile(path) as dump:
        for region in loaded.regions(report):
            for gap in gaps:
                if region.base <= gap.address < region.end:
                    at = offsets[region.base] + gap.address - region.base
                    assert dump.read(gap.address, PAGE) == data[at : at + PAGE].ljust(PAGE, b"\0")


@pytest.mark.linux
@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_file_that_is_another_one_by_now(how: str, loaded: Loaded, tmp_path: Path) -> None:
    if how == "replaced":
        other = tmp_path / "other"
        shutil.copy(loaded.image, other)
        other.rename(loaded.image)
    else:
        loaded.image.unlink()
    path = tmp_path / "d.dmp"
    report = md.write_dump(loaded.pid, path, FULL, file_pages="resident")
    regions = loaded.regions(report)
    assert regions and not sum(region.left_to_file for region in regions)
    assert all(region.kept == region.size for region in regions)
    assert report.left_to_file > 0, "other modules"


def image(**changes: Any) -> Region:
    """An image whose pages are in the file but for each fourth."""
    return Region(base=0x40_0000, size=16 * PAGE, name=b"/bin/app", type=MemoryType.IMAGE, kinds=Kind.IMAGE,
                  in_file=4, **changes)  # fmt: skip


def with_image(build_id: bytes = bytes(range(20))) -> fake.Target:
    """A fake target of that image."""
    plain = fake.small()
    module = fake.Module(base=0x40_0000, size=16 * PAGE, path=b"/bin/app", build_id=build_id)
    return fake.small(regions=(image(), *plain.regions[1:]), modules=(module,))


@pytest.mark.parametrize(
    ("left", "build_id", "options"),
    [
        (12, bytes(range(20)), {"file_pages": "resident"}),
        (0, bytes(range(20)), {}),
        (0, bytes(20), {"file_pages": "resident"}),
        (0, bytes(range(20)), {"file_pages": "resident", "filter": md.Filter(modules={"exclude": ["/bin/app"]})}),
    ],
    ids=["left", "not asked for", "no build id", "module not in the dump"],
)
def test_only_modules_of_the_dump_with_an_identity(
    left: int, build_id: bytes, options: dict[str, Any], tmp_path: Path
) -> None:
    target = with_image(build_id)
    path = tmp_path / "d.dmp"
    report = fake.write(target, path, FULL, **dict(options))
    plan = fake.plan(target, FULL, **dict(options))
    assert report.left_to_file == plan.left_to_file == left * PAGE
    assert report.regions[0].kept == (16 - left) * PAGE
    assert report.complete
    assert [(gap.address, gap.size, gap.reason.name) for gap in report.gaps] == [
        (0x40_0000 + number * 4 * PAGE + PAGE, 3 * PAGE, "LEFT_TO_FILE") for number in range(left // 3)
    ]
    live.assert_accepted(path, report, only=["minidump", "udmp-parser"])
    with file_rules.DumpFile(path) as dump:
        for number in range(16):
            assert dump.holds(0x40_0000 + number * PAGE, PAGE) == (not left or number % 4 == 0)


def test_the_table_of_gaps_keeps_room_for_others(tmp_path: Path) -> None:
    report = fake.write(
        with_image(), tmp_path / "d.dmp", FULL, file_pages="resident", options=md.EngineOptions(gaps_max=4)
    )
    assert report.complete and report.left_to_file == 6 * PAGE
    assert not report.warnings & md.report.DumpWarning.GAP_TABLE_FULL


def test_the_command_line(loaded: Loaded, tmp_path: Path) -> None:
    set_filter(loaded.pid, 0x01)
    words = ("--type", "full", "--json", "--file-pages", "resident")
    done = live.run_cli("dump", str(loaded.pid), "-o", tmp_path / "d.dmp", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_to_file"] > 0
    done = live.run_cli("plan", str(loaded.pid), *words, "--coredump-filter")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["filtered_bytes"] > 0
    assert {region["verdict"] for region in told["regions"] if region["filtered"] == region["size"]} == {
        "coredump-filter"
    }


@pytest.mark.linux
def test_our_own_process(tmp_path: Path) -> None:
    """The options reach the process that dumps us."""
    saved = Path("/proc/self/coredump_filter").read_text()
    try:
        set_filter(os.getpid(), 0)
        report = md.write_dump(os.getpid(), tmp_path / "d.dmp", FULL, coredump_filter=True)
    finally:
        Path("/proc/self/coredump_filter").write_text("0x" + saved.strip())
    assert report.memory_bytes < 64 * PAGE < report.filtered_bytes
    report = md.write_dump(os.getpid(), tmp_path / "d.dmp", FULL, file_pages="resident")
    assert report.left_to_file > 0 and report.complete
