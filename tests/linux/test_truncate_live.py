"""`on_limit="truncate"` for real processes: they run on in time, and foreign readers see the stacks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

import minidump_cffi as md
from minidump_cffi.protocol import CallbackType, HResult, Input, Output, PythonCallback

pytestmark = pytest.mark.linux
FULL = md.DumpType.WITH_FULL_MEMORY
MIB = 192
PROGRAM = f"""
import json, os, sys, threading
heap = [b"heap" * (1 << 18) for _ in range({MIB})]
for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()
print(json.dumps({{"pid": os.getpid()}}), flush=True)
for line in sys.stdin: print("pong 0 0", flush=True)
"""
SMALL_READS = md.EngineOptions(buffer_bytes=4096)
"""Some microseconds for each page, so that the time is over before the heap is."""


@pytest.fixture(scope="module")
def process() -> Iterator[live.Target]:
    with live.Target([sys.executable, "-c", PROGRAM]) as target:
        yield target


def not_reached(report: md.DumpReport) -> int:
    """Bytes that were left out for lack of time."""
    return sum(gap.size for gap in report.missing if gap.reason is md.report.GapReason.TRUNCATED)


def truncated(process: live.Target, path: Path, **options: Any) -> md.DumpReport:
    """A dump in so little time that not all is in it; in more if even the plan takes longer on this machine now."""
    for limit in (0.04, 0.08, 0.16):
        try:
            report = md.write_dump(
                process, path, FULL, max_stop=limit, on_limit="truncate", options=SMALL_READS, **options
            )
        except md.DeadlineExceeded:
            continue
        assert report.stop_time < limit + 0.2
        return report
    pytest.fail("the machine is too slow for a plan")


@pytest.mark.parametrize("stop", ["whole", "memory"])
def test_a_heap_that_is_larger_than_the_time(process: live.Target, stop: Any, tmp_path: Path) -> None:
    """The process runs on, the stacks are whole, and every byte is told."""
    path = tmp_path / "app.dmp"
    report = truncated(process, path, stop=stop, untouched="omit")
    process.assert_runs_on()
    assert not report.complete and report.warnings & md.report.DumpWarning.TRUNCATED
    assert {gap.reason for gap in report.missing} == {md.report.GapReason.TRUNCATED}
    assert not_reached(report) > 1 << 20
    assert report.stored_bytes + not_reached(report) + sum(r.untouched + r.zeros for r in report.regions) >= (
        report.memory_bytes
    )
    assert len(report.threads) == 4
    plan = md.plan_dump(process, FULL)
    assert [thread.stack_size for thread in report.threads] == [thread.stack_size for thread in plan.threads]
    live.assert_accepted(path, report)  # lldb, the Python readers, Breakpad
    with file_rules.DumpFile(path) as dump:
        lists = [(item.address, item.address + item.size) for item in dump.ranges()]
    for gap in report.missing:
        assert not any(first < gap.address + gap.size and gap.address < end for first, end in lists)


def test_the_bytes_are_those_of_the_process(process: live.Target, tmp_path: Path) -> None:
    """Those of the heap, wherever it was cut."""
    path = tmp_path / "app.dmp"
    truncated(process, path)
    whole = tmp_path / "whole.dmp"
    md.write_dump(process, whole, FULL)
    checked = 0
    with file_rules.DumpFile(path) as one, file_rules.DumpFile(whole) as other:
        for item in one.ranges():
            if b"heap" * 8 in one.data[item.offset : item.offset + item.size]:
                assert one.read_across(item.address, item.size) == other.read_across(item.address, item.size)
                checked += item.size
    assert checked > 1 << 20


@pytest.mark.parametrize("extensions", [(), "hold_back"], ids=["plain", "held"])
def test_a_read_that_is_not_back_in_time(process: live.Target, extensions: Any, tmp_path: Path) -> None:
    """The process runs again when the time is over, not when the callback returns; what it saw then does not count."""
    reads: list[tuple[int, int]] = []

    def start(question: Input, answer: Output) -> bool:
        answer.status = HResult.S_FALSE
        return True

    def slow(question: Input, answer: Output) -> bool:
        read = question.vm_post_read
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        if read.completed >= 1 << 20:  # of the heap
            reads.append((read.offset, read.completed))
            time.sleep(0.3)
        return True

    callback = PythonCallback({CallbackType.VM_START: start, CallbackType.VM_POST_READ: slow}, extensions=extensions)
    path = tmp_path / "app.dmp"
    report = md.write_dump(
        process, path, FULL, callback=callback, max_stop=0.8, on_limit="truncate", options=md.EngineOptions(hold=5000)
    )
    process.assert_runs_on()
    assert 0.7 < report.stop_time < 0.95
    assert not report.complete and 2 <= len(reads) <= 4
    live.assert_accepted(path, report, ["udmp-parser", "minidump", "lldb"])
    # Neither what was read last is there, nor what was held back for it.
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(*reads[-1])
        assert dump.holds(*reads[-2])


def test_planning_that_takes_longer(process: live.Target, tmp_path: Path) -> None:
    """Then nothing has been copied, and there is no dump."""
    with pytest.raises(md.DeadlineExceeded, match="max_stop exceeded"):
        md.write_dump(process, tmp_path / "app.dmp", FULL, max_stop=1e-5, on_limit="truncate")
    process.assert_runs_on()
    assert list(tmp_path.iterdir()) == []


def test_the_default_still_fails(process: live.Target, tmp_path: Path) -> None:
    with pytest.raises(md.DeadlineExceeded, match="max_stop exceeded"):
        md.write_dump(process, tmp_path / "app.dmp", FULL, max_stop=0.04, options=SMALL_READS)
    process.assert_runs_on()
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_has_all(process: live.Target, tmp_path: Path) -> None:
    """Only the fork is within the stop, and it was in time."""
    report = md.write_dump(
        process, tmp_path / "app.dmp", FULL, stop="snapshot", max_stop=20, on_limit="truncate", untouched="omit"
    )
    if report.stop != "snapshot":
        pytest.skip(report.messages[0])
    assert report.complete


def test_the_command_line(process: live.Target, tmp_path: Path) -> None:
    """Exit status 3, and the summary and `show` say what was not reached; wrong use is status 2."""
    path = tmp_path / "app.dmp"
    words = ("dump", str(process.pid), "-o", path, "--type", "full", "--on-limit", "truncate")
    done = live.run_cli(*words, "--max-stop", "0.06")
    wrong = live.run_cli(*words[:3], tmp_path / "no.dmp", *words[4:])
    assert wrong.returncode == 2 and "--on-limit truncate" in wrong.stderr and "--max-stop" in wrong.stderr
    assert done.returncode in (1, 3), done.stderr  # 1: the machine was too slow even for the plan
    if done.returncode == 3:
        assert "not reached within --max-stop" in done.stderr
        assert "not reached" in live.run_cli("show", path).stdout
