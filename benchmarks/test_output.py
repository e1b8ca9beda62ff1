"""Full dumps to where waiting is: memory until the threads run, a disk that has to have it, and a pipe.

`memory`: for how long the threads of the target are stopped, against a loop that stops them and copies the same bytes
to memory that was touched before (baselines/bare_copy.c, keep). `disk`: with `fsync`, against O_DIRECT writes of as
many bytes that read nothing. `pipe`: to a reader that throws it away, against cat of the same bytes to the same reader.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import MIB, SIZES, Programs, Sizes, Spawn

import minidump_cffi as md

Result = tuple[float, dict[str, float]]
FULL = md.DumpType.WITH_FULL_MEMORY


def _warm(programs: Programs) -> None:
    """What the target has, and as much again."""
    subprocess.run([str(programs.targets), "warm", str(SIZES.heap * 2 + 128 * MIB)], check=True)


def _keep(programs: Programs, pid: int) -> Result:
    done = subprocess.run([str(programs.bare_copy), str(pid), "-", "keep"], check=True, capture_output=True, text=True)
    seconds, size = done.stdout.split()
    return float(seconds), {"bytes": int(size), "total_s": float(seconds)}


def _memory(output: Path, pid: int) -> Result:
    file = output / "memory.dmp"
    report = md.write_dump(pid, file, FULL, stop="memory")
    file.unlink()
    assert report.stop == "memory", report.messages
    return report.stop_time, {"bytes": report.stored_bytes, "total_s": report.total}


def _direct(programs: Programs, file: Path) -> Result:
    command = [str(programs.bare_write), str(file), "direct", str(SIZES.heap)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    file.unlink()
    return float(done.stdout), {"bytes": SIZES.heap}


def _flushed(file: Path, pid: int) -> Result:
    start = time.perf_counter()
    report = md.write_dump(pid, file, FULL, fsync=True)
    seconds = time.perf_counter() - start
    file.unlink()
    return seconds, {"bytes": report.stored_bytes}


def _piped(programs: Programs, fifo: Path, write: Callable[[int], object]) -> Result:
    reader = subprocess.Popen([str(programs.bare_write), str(fifo), "drain"], stdout=subprocess.PIPE, text=True)
    fd = os.open(fifo, os.O_WRONLY)
    start = time.perf_counter()
    try:
        write(fd)
    finally:
        os.close(fd)
    text, _ = reader.communicate()
    return time.perf_counter() - start, {"bytes": int(text)}


def _hold(programs: Programs, runs: dict[str, Callable[[], Result]], baseline: str, rounds: int) -> Contest:
    def one(run: Callable[[], Result]) -> Result:
        _warm(programs)
        return run()

    return hold({who: partial(one, run) for who, run in runs.items()}, baseline=baseline, rounds=rounds)


@pytest.fixture(scope="module")
def memory(programs: Programs, spawn: Spawn, output: Path, sizes: Sizes) -> Contest:
    """Stops."""
    with spawn("heap", sizes.heap) as target:
        runs = {"bare": partial(_keep, programs, target.pid), "minidump_cffi": partial(_memory, output, target.pid)}
        return _hold(programs, runs, "bare", sizes.rounds)


@pytest.fixture(scope="module")
def disk(programs: Programs, spawn: Spawn, sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> Contest:
    """Dumps that are on the disk; not in `output`, which is memory."""
    file = tmp_path_factory.mktemp("disk") / "file"
    try:
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("the temporary directory is on a file system without O_DIRECT")
    with spawn("heap", sizes.heap) as target:
        runs = {"direct": partial(_direct, programs, file), "minidump_cffi": partial(_flushed, file, target.pid)}
        return _hold(programs, runs, "direct", sizes.rounds)


@pytest.fixture(scope="module")
def pipe(programs: Programs, spawn: Spawn, output: Path, sizes: Sizes) -> Contest:
    """Dumps that go through a pipe."""
    cat = shutil.which("cat")
    if cat is None:
        pytest.skip("cat is not installed")
    fifo, same = output / "fifo", output / "same.dmp"
    os.mkfifo(fifo)
    with spawn("heap", sizes.heap) as target:
        md.write_dump(target.pid, same, FULL)
        runs = {
            "cat": partial(_piped, programs, fifo, lambda fd: subprocess.run([cat, str(same)], stdout=fd, check=True)),
            "minidump_cffi": partial(
                _piped, programs, fifo, lambda fd: md.write_dump(target.pid, fd, FULL, spool=False)
            ),
        }
        try:
            return _hold(programs, runs, "cat", sizes.rounds)
        finally:
            same.unlink()
            fifo.unlink()


@pytest.mark.benchmark(group="output-memory", timer=CLOCK)
@pytest.mark.parametrize("who", ["bare", "minidump_cffi"])
def test_memory(benchmark: Any, memory: Contest, who: str) -> None:
    """How long the threads are stopped."""
    replay(benchmark, memory, who)


@pytest.mark.benchmark(group="output-disk", timer=CLOCK)
@pytest.mark.parametrize("who", ["direct", "minidump_cffi"])
def test_disk(benchmark: Any, disk: Contest, who: str) -> None:
    """Until the disk has it."""
    replay(benchmark, disk, who)


@pytest.mark.benchmark(group="output-pipe", timer=CLOCK)
@pytest.mark.parametrize("who", ["cat", "minidump_cffi"])
def test_pipe(benchmark: Any, pipe: Contest, who: str) -> None:
    """Until the reader has it."""
    replay(benchmark, pipe, who)
