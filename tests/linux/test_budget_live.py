"""Budgets for real processes: foreign readers see the stacks, and the bytes are those of the process."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Literal

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux
FULL = md.DumpType.WITH_FULL_MEMORY


@pytest.mark.parametrize("budget", ["1 MiB", "5 MiB"])
def test_a_python_with_threads(budget: str, tmp_path: Path) -> None:
    """Of a full dump of many megabytes the stacks are all there; nothing moved meanwhile, so bytes can be compared."""
    most = int(budget[0]) << 20
    target, small, whole = live.python_target(), tmp_path / "small.dmp", tmp_path / "whole.dmp"
    try:
        os.kill(target.pid, signal.SIGSTOP)  # nothing moves between the dumps
        report = md.write_dump(target.pid, small, FULL, max_bytes=budget)
        full = md.write_dump(target.pid, whole, FULL)
        os.kill(target.pid, signal.SIGCONT)
        target.assert_runs_on()
    finally:
        target.close()
    assert most - 5 * 4096 - 64 * 24 < small.stat().st_size <= most < whole.stat().st_size
    assert not report.complete and full.complete
    assert {gap.reason for gap in report.missing} == {md.report.GapReason.BUDGET}
    assert [thread.stack_size for thread in report.threads] == [thread.stack_size for thread in full.threads]
    live.assert_accepted(small, report)  # lldb, the Python readers, Breakpad
    total = 0
    with file_rules.DumpFile(small) as one, file_rules.DumpFile(whole) as other:
        for item in one.ranges():
            assert one.read_across(item.address, item.size) == other.read_across(item.address, item.size)
            total += item.size
    assert total > most * 0.9  # the room was used for memory


# A value on every border of pages of a mapping; it is not whole before the program runs.
BORDERS = """
import mmap, sys
memory = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"B" * len(memory))
value = bytes(byte ^ 1 for byte in bytes.fromhex(sys.argv[1]))
for border in range(4096, len(memory), 4096):
    memory[border - 8 : border + 8] = value
print("{}", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stop", ["whole", "snapshot"])
def test_no_half_of_a_value_is_beside_what_was_cut(stop: Literal["whole", "snapshot"], tmp_path: Path) -> None:
    """Of a process and of a dump of it, in a full dump and in one of writable memory."""
    value, path, whole = b"SvprrRedrfuVamvf", tmp_path / "d.dmp", tmp_path / "whole.dmp"
    target = live.Target([sys.executable, "-S", "-c", BORDERS, bytes(byte ^ 1 for byte in value).hex()])
    keep = md.Filter(redact=md.Redact(patterns=[value]))
    try:
        reports = []
        for kind in (FULL, md.DumpType.WITH_PRIVATE_READ_WRITE_MEMORY):
            for most in ("1 MiB", "3 MiB"):
                reports.append(md.write_dump(target.pid, path, kind, filter=keep, max_bytes=most, stop=stop))
                data = path.read_bytes()
                assert b"BBBBXXXX" in data
                assert not any(part in data for part in (b"BBBB" + value[:4], value[-4:] + b"BBBB", value))
        md.write_dump(target.pid, whole, FULL)
    finally:
        target.close()
    assert whole.read_bytes().count(b"BBBB" + value + b"BBBB") > 900
    reports.append(md.write_dump(md.DumpFile(whole), path, filter=keep, max_bytes="3 MiB"))
    data = path.read_bytes()
    assert b"BBBBXXXX" in data and b"BBBB" + value[:4] not in data and value[-4:] + b"BBBB" not in data
    for report in reports:
        assert report.over_budget and report.redaction is not None
        assert report.redaction.hits > 0 and report.redaction.uncovered == 0


def test_the_command_line(tmp_path: Path) -> None:
    """Exit status 3, and all of plan, dump, show and filter say what is over the budget."""
    target, path = live.python_target(), tmp_path / "app.dmp"
    try:
        plan = live.run_cli("plan", str(target.pid), "--type", "full", "--max-bytes", "1MiB")
        done = live.run_cli("dump", str(target.pid), "-o", path, "--type", "full", "--max-bytes", "1MiB")
        refused = live.run_cli("dump", str(target.pid), "-o", tmp_path / "no.dmp", "--max-bytes", "1000")
        wrong = live.run_cli("dump", str(target.pid), "-o", tmp_path / "no.dmp", "--max-bytes", "much")
    finally:
        target.close()
    assert (plan.returncode, done.returncode, refused.returncode, wrong.returncode) == (3, 3, 1, 2), plan.stderr
    assert "over budget" in plan.stdout and "are over the budget" in plan.stdout
    assert "NOT COMPLETE" in done.stderr and "over the budget" in done.stderr
    assert path.stat().st_size <= 1 << 20
    assert "without any memory: give at least that" in refused.stderr and not (tmp_path / "no.dmp").exists()
    assert "'much' is not a size" in wrong.stderr
    show = live.run_cli("show", path)
    assert "over the budget (max_bytes)" in show.stdout
    smaller = tmp_path / "smaller.dmp"
    again = live.run_cli("filter", path, "-o", smaller, "--max-bytes", "400KiB", "--json")
    assert again.returncode == 3 and smaller.stat().st_size <= 400 << 10
    assert json.loads(again.stdout)["over_budget"] > 0
