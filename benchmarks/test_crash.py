"""What `md.crash.enable` costs a program that does not crash, and how long one that does is kept.

Goals: nothing that can be measured, and 20 ms from the signal to the end of a small process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import QUICK, Sizes

import minidump_cffi as md

PROGRAM = """
import json, os, sys, threading, time
if len(sys.argv) > 1:
    import minidump_cffi as md
    md.crash.enable(sys.argv[1])
def work():
    rows = [{"name": str(number), "size": number * number} for number in range(ROWS)]
    found = json.loads(json.dumps(rows))
    found.sort(key=lambda row: row["name"])
    return sum(row["size"] for row in found)
def threads():
    for _ in range(THREADS):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
print("ready", flush=True)
for line in sys.stdin:
    run = {"work": work, "threads": threads}[line.strip()]
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start, flush=True)
"""
PROGRAM = f"ROWS, THREADS = {(100, 10) if QUICK else (20_000, 500)}\n{PROGRAM}"
WAYS = ["plain", "enabled"]


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    """One that waits for lines, with crashes dumped into a directory or not."""
    command = [sys.executable, "-c", PROGRAM, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.poll() is None:
            process.kill()


def _ask(process: subprocess.Popen[str], what: str) -> tuple[float, dict[str, float]]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return float(process.stdout.readline()), {}


@pytest.fixture(scope="module")
def running(output: Path, sizes: Sizes) -> dict[str, Contest]:
    """Two programs that do the same, in turns."""
    with ExitStack() as stack:
        processes = {"plain": stack.enter_context(program()), "enabled": stack.enter_context(program(str(output)))}
        return {
            what: hold(
                {who: partial(_ask, process, what) for who, process in processes.items()},
                baseline="plain",
                rounds=5 * sizes.rounds,
            )
            for what in ("work", "threads")
        }


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("who", WAYS)
@pytest.mark.parametrize("what", ["work", "threads"])
def test_a_program_that_does_not_crash(benchmark: Any, running: dict[str, Contest], what: str, who: str) -> None:
    """Pure Python work, and starting threads, which then get an alternate stack."""
    benchmark.group = f"crash-running-{what}"
    replay(benchmark, running[what], who)


def _end(folder: Path | None) -> tuple[float, dict[str, float]]:
    """From a signal to the end of the process, in seconds."""
    with program(*([] if folder is None else [str(folder)])) as process:
        before = time.perf_counter()
        os.kill(process.pid, signal.SIGSEGV)
        status = process.wait()
        seconds = time.perf_counter() - before
    assert status == -signal.SIGSEGV
    if folder is not None:
        [dump] = folder.glob("*.dmp")
        dump.unlink()
    return seconds, {}


def _own(folder: Path) -> tuple[float, dict[str, float]]:
    """The same process dumped from outside, without a helper that is ready."""
    with program() as process:
        before = time.perf_counter()
        md.write_dump(process.pid, folder / "own.dmp")
        return time.perf_counter() - before, {}


@pytest.fixture(scope="module")
def ending(output: Path, sizes: Sizes) -> Contest:
    """A crash that is dumped against one that is not, and against a dump alone."""
    folder = output / "crashes"
    folder.mkdir()
    competitors = {
        "plain": partial(_end, None),
        "enabled": partial(_end, folder),
        "write_dump": partial(_own, output),
    }
    contest = hold(competitors, baseline="plain", rounds=3 * sizes.rounds)
    folder.rmdir()  # others take all that is in the directory for their dumps
    (output / "own.dmp").unlink()
    return contest


@pytest.mark.benchmark(group="crash-ending", timer=CLOCK)
@pytest.mark.parametrize("who", [*WAYS, "write_dump"])
def test_a_program_that_crashes(benchmark: Any, ending: Contest, who: str) -> None:
    """The end of a small process, by a signal."""
    replay(benchmark, ending, who)
    if who == "enabled":
        assert min(ending.times["enabled"]) <= 0.02
