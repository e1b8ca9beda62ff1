"""With ``stop="memory"`` a live target runs again before anything is written, whatever the output does."""

from __future__ import annotations

import array
import fcntl
import os
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux
FULL = md.DumpType.WITH_FULL_MEMORY
RUNS = set("RSDI")


@pytest.fixture
def target() -> Iterator[live.Target]:
    """A process with threads, and more memory than any pipe holds."""
    with live.python_target() as started:
        yield started


class Reader(threading.Thread):
    """Looks at the target as soon as there is something to read, and then reads."""

    def __init__(self, fd: int, pid: int) -> None:
        super().__init__()
        self.fd, self.pid = fd, pid
        self.states: set[str] = set()
        self.bytes = b""

    def waiting(self) -> int:
        """Bytes in the pipe."""
        count = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        return count[0]

    def run(self) -> None:
        """Until the writer closes it."""
        live.wait_until(lambda: self.waiting() > 0, "nothing is written")
        self.states = set(live.task_states(self.pid).values())
        with open(self.fd, "rb") as stream:
            self.bytes = stream.read()


@pytest.mark.parametrize("stop", ["whole", "memory"])
def test_a_pipe_that_nothing_is_read_of(stop: Literal["whole", "memory"], target: live.Target, tmp_path: Path) -> None:
    end, fd = os.pipe()
    reader = Reader(end, target.pid)
    reader.start()
    try:
        report = md.write_dump(target.pid, fd, FULL, spool=False, stop=stop)
    finally:
        os.close(fd)
        reader.join()
    assert report.stop == stop and report.complete
    assert ("t" in reader.states) == (stop == "whole"), reader.states
    assert stop == "whole" or reader.states <= RUNS
    path = tmp_path / "app.dmp"
    path.write_bytes(reader.bytes)
    live.assert_accepted(path, report)
    target.assert_runs_on()


class Full:
    """A file object on which there is no room."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.states: set[str] = set()

    def write(self, data: Any) -> int:
        """Refuse it."""
        self.states = set(live.task_states(self.pid).values())
        raise OSError(28, "No space left on device")


def test_an_output_that_fails_when_the_target_runs(target: live.Target) -> None:
    full = Full(target.pid)
    with pytest.raises((md.SinkError, OSError)) as caught:
        md.write_dump(target.pid, full, FULL, stop="memory")
    assert caught.value.errno == 28
    assert full.states and full.states <= RUNS
    target.assert_runs_on()


def test_a_bound_that_is_too_small_is_said(target: live.Target, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    report = md.write_dump(target.pid, path, FULL, stop="memory", options=md.EngineOptions(stop_memory=1 << 20))
    assert report.stop == "memory"
    assert report.warnings & md.report.DumpWarning.STOP_MEMORY
    assert any("stop_memory" in message for message in report.messages)
    live.assert_accepted(path, report)
    target.assert_runs_on()


def test_a_cancel_when_the_target_runs(target: live.Target) -> None:
    """Nothing is read of the pipe, and the dump is larger than that."""
    end, fd = os.pipe()
    reader = Reader(end, target.pid)
    states: set[str] = set()

    def cancel() -> bool:
        if reader.waiting() == 0:
            return False
        states.update(live.task_states(target.pid).values())
        return True

    try:
        with pytest.raises(md.Cancelled):
            md.write_dump(target.pid, fd, FULL, spool=False, stop="memory", on_cancel=cancel)
    finally:
        os.close(fd)
        os.close(end)
    assert states and states <= RUNS
    target.assert_runs_on()
