"""How long a CPython process is stopped that has a large file mapped and touched nothing of it.

Its full dump reads the file when the process runs again; with ``read_failure="abort"`` it reads it under the stop.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import Sizes

import minidump_cffi as md

PROGRAM = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
print(flush=True)
sys.stdin.read()
"""
FILTERS = {"under-the-stop": md.Filter(read_failure="abort"), "late": md.Filter()}


@contextmanager
def _mapper(file: Path) -> Iterator[int]:
    command = [sys.executable, "-c", PROGRAM, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def _stop(pid: int, keep: md.Filter, file: Path) -> tuple[float, dict[str, float]]:
    report = md.write_dump(pid, file, md.DumpType.WITH_FULL_MEMORY, filter=keep)
    return report.stop_time, {"late_bytes": report.late_bytes, "total_ms": report.total * 1e3}


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory, output: Path, sizes: Sizes) -> Contest:
    """One target, whose file has not changed for some seconds, dumped by turns."""
    file = tmp_path_factory.mktemp("mapped") / "file"
    file.write_bytes(os.urandom(sizes.mapped))
    time.sleep(4)
    with _mapper(file) as pid:
        if md.plan_dump(pid, md.DumpType.WITH_FULL_MEMORY).late_bytes < sizes.mapped:
            pytest.skip("files of this file system are not read late")
        runs = {name: partial(_stop, pid, keep, output / f"{name}.dmp") for name, keep in FILTERS.items()}
        return hold(runs, baseline="under-the-stop", rounds=sizes.rounds)


@pytest.mark.benchmark(group="stop-mapped", timer=CLOCK)
@pytest.mark.parametrize("who", list(FILTERS))
def test_stop_of_a_process_with_a_mapped_file(benchmark: Any, contest: Contest, who: str) -> None:
    """Shown, not judged: how much depends on the disk, and on what else is mapped."""
    replay(benchmark, contest, who)
