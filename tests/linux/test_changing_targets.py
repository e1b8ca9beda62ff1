"""Targets that become another program, lose threads, fork or exit while they are dumped."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]


def outcome_of(pid: int, path: Path, dump_type: md.DumpType = FULL) -> md.DumpReport | md.DumpError:
    """The report, or the exception if it is one of ours."""
    try:
        return md.write_dump(pid, path, dump_type)
    except md.DumpError as error:
        return error


@pytest.mark.parametrize("stop", ["whole", "memory", "snapshot"])
def test_a_target_that_execs_meanwhile(
    pattern_program: Path, tmp_path: Path, stop: Literal["whole", "memory", "snapshot"]
) -> None:
    """A sound dump of one of its programs, whenever it execs: never a mixture, never a hang."""
    process = subprocess.Popen([str(pattern_program), "--exec-loop", "0"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for number in range(25):
            path = tmp_path / f"{number}.dmp"
            report = md.write_dump(process.pid, path, FULL, stop=stop)
            live.assert_accepted(path, report, only=["udmp-parser"])
        assert process.poll() is None
        assert live.status_field(process.pid, "TracerPid") == "0"
    finally:
        live.end(process)


def test_a_target_whose_threads_exec(pattern_program: Path, tmp_path: Path) -> None:
    """Again and again a thread takes the place of the leader: the process is there all the time."""
    process = subprocess.Popen([str(pattern_program), "--exec-by-threads", "0"])
    try:
        outcomes = [outcome_of(process.pid, tmp_path / "threads.dmp", md.DumpType.NORMAL) for _ in range(300)]
        failed = [outcome for outcome in outcomes if not isinstance(outcome, md.DumpReport)]
        assert len(failed) <= 2, failed
        assert process.poll() is None
    finally:
        live.end(process)


def test_a_target_whose_threads_follow_each_other(pattern_program: Path, tmp_path: Path) -> None:
    """The thread by which the target is looked at ends: another one is found. The process is gone only if none is."""
    process = subprocess.Popen([str(pattern_program), "--relay"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        outcomes = [outcome_of(process.pid, tmp_path / "relay.dmp") for _ in range(60)]
        assert all(isinstance(outcome, (md.DumpReport, md.TargetError)) for outcome in outcomes), outcomes
        assert sum(isinstance(outcome, md.DumpReport) for outcome in outcomes) >= 48, outcomes
        assert process.poll() is None
    finally:
        live.end(process)


def test_a_target_that_exits_meanwhile(pattern_program: Path, tmp_path: Path) -> None:
    """Many short lives: each is dumped whole, or is gone."""
    seen = set()
    for number in range(20):
        with live.Target([str(pattern_program), "--folder", str(tmp_path), "--heap", "8", "--exit", "9"]) as target:
            assert target.process.stdin is not None
            done: list[Any] = []
            path = tmp_path / f"{number}.dmp"
            thread = threading.Thread(
                target=lambda done=done, path=path, pid=target.pid: done.append(outcome_of(pid, path))
            )
            thread.start()
            threading.Event().wait(0.0007 * number)
            target.process.stdin.close()
            assert target.process.wait(live.PATIENCE) == 9
            thread.join(live.PATIENCE)
            outcome = done[0]
            seen.add(type(outcome))
            if isinstance(outcome, md.DumpReport):
                assert file_rules.broken_rules(path) == []
            else:
                assert isinstance(outcome, md.TargetError), outcome
                assert not path.exists()
    assert md.DumpReport in seen


def test_a_target_that_forks_meanwhile(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--fork-loop", "--threads", 2)
    for _ in range(10):
        report, _ = take(target, FULL, only=["udmp-parser"])
        assert report.complete
