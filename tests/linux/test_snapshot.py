"""stop="snapshot": a child is made in the target, dumped at leisure, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import file_rules
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

# Two counters on different pages that are equal between two lines, and a marker on each page of a large area.
COUNTING = """
import ctypes, threading, time
area = ctypes.create_string_buffer(64 << 20)
base = (ctypes.addressof(area) + 4095) & ~4095
pages = (len(area) >> 12) - 2
first = ctypes.c_uint64.from_address(base)
last = ctypes.c_uint64.from_address(base + (pages - 1) * 4096)
for page in range(pages):
    ctypes.c_uint64.from_address(base + page * 4096 + 8).value = page
for _ in range(3):
    threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)], daemon=True).start()
print(hex(base), pages, flush=True)
while True:
    first.value += 1
    last.value += 1
"""


def children_of(pid: int) -> list[int]:
    """All children of all threads, zombies too."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def files_of(pid: int) -> int:
    """How many descriptors are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def read(dump: file_rules.DumpFile, address: int, size: int) -> bytes:
    """Bytes that must be in the dump."""
    found = dump.read_across(address, size)
    assert found is not None
    return found


def test_memory_is_of_one_moment_and_nothing_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", COUNTING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_text, pages_text = process.stdout.readline().split()
        base, pages = int(base_text, 16), int(pages_text)
        files = files_of(process.pid)
        try:
            counts = []
            for turn in range(3):
                path = tmp_path / f"{turn}.dmp"
                report = md.write_dump(process.pid, path, md.DumpType.WITH_FULL_MEMORY, stop="snapshot")
                assert report.stop == "snapshot", report.messages
                assert not report.warnings & md.report.DumpWarning.ZOMBIE
                dump = file_rules.DumpFile(path)
                first = int.from_bytes(read(dump, base, 8), "little")
                last = int.from_bytes(read(dump, base + (pages - 1) * 4096, 8), "little")
                assert first - last in (0, 1)
                counts.append(first)
                for page in range(0, pages, 97):
                    assert int.from_bytes(read(dump, base + page * 4096 + 8, 8), "little") == page
                assert children_of(process.pid) == []
                assert files_of(process.pid) == files
            assert counts == sorted(set(counts))  # it ran in between
            assert process.poll() is None
        finally:
            process.kill()
