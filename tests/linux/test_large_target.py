"""A target with so much memory that /proc/PID/smaps is read once, when it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux
PAGE = 4096
PAGES = 70_000
MARKED = 16  # pages at the end that are not to be dumped
LARGE = """
import ctypes, json, mmap, sys
size, marked = int(sys.argv[1]), int(sys.argv[2])
view = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096):
    view[at] = 1 + (at >> 12) % 251
view.madvise(16, size - marked, marked)  # MADV_DONTDUMP
print(json.dumps({"base": ctypes.addressof(ctypes.c_char.from_buffer(view))}), flush=True)
for line in sys.stdin:
    print("pong 0", flush=True)
"""


@pytest.fixture
def target() -> Iterator[live.Target]:
    """A byte of its own in each page, and a mark at the end."""
    with live.Target([sys.executable, "-c", LARGE, str(PAGES * PAGE), str(MARKED * PAGE)]) as started:
        yield started


def test_what_is_marked_is_left_out(target: live.Target, tmp_path: Path) -> None:
    path = tmp_path / "large.dmp"
    report = md.write_dump(target.pid, path, md.DumpType.WITH_FULL_MEMORY, stop="memory")
    base, end = target.info["base"], target.info["base"] + (PAGES - MARKED) * PAGE
    assert report.complete and report.stop == "memory"
    (marked,) = [region for region in report.regions if region.base == end]
    assert marked.flags & md.report.RegionFlags.DONTDUMP and marked.kept == 0
    with file_rules.DumpFile(path) as dump:
        for page in (0, 1, PAGES // 2, PAGES - MARKED - 1):
            assert dump.read_across(base + page * PAGE, PAGE) == bytes([1 + page % 251]) + bytes(PAGE - 1)
    assert not any(part.address < end + MARKED * PAGE and end < part.address + part.size for part in report.extents)
    target.assert_runs_on()
