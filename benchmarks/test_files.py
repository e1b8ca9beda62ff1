"""Files through the filter: cores and dumps, against cp of the same file on the same file system, page cache warm.

The goals: keep everything of a dump of 1 GiB in at most 1.15 times `cp --reflink=never`, a core of 1 GiB as full dump
likewise, its stacks in at most 20 ms; a sparse core of 5 GiB with 64 MiB of data in at most twice the time of a dense
one of 64 MiB; and 16 MiB of memory above start-up.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from cores import make_core
from setting import MIB, Sizes

import minidump_cffi as md

PROBE = Path(__file__).with_name("probe_memory.py")


@pytest.fixture(scope="module")
def core(output: Path, sizes: Sizes) -> Iterator[Path]:
    """A core with dense memory."""
    path = output / "core"
    make_core(path, sizes.heap)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def dump(core: Path, output: Path) -> Iterator[Path]:
    """A full dump."""
    path = output / "in.dmp"
    md.write_dump(md.CoreFile(core), path)
    yield path
    path.unlink()


def _timed(work: Callable[[Path], object], target: Path) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    work(target)
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds, {}


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", "--sparse=never", str(source), str(target)], check=True)


def _dump(process: Any, type: str | None, target: Path) -> None:
    report = md.write_dump(process, target, type)
    assert report.complete


@pytest.mark.benchmark(group="file-dump", timer=CLOCK)
@pytest.mark.parametrize("who", ["filter", "cp"])
def test_keep_everything_of_a_dump(
    benchmark: Any, dump: Path, output: Path, contests: dict[str, Contest], sizes: Sizes, who: str
) -> None:
    """A dump through the engine and back."""
    if "file-dump" not in contests:
        runs = {"filter": partial(_dump, md.DumpFile(dump), None), "cp": partial(_copy, dump)}
        timed = {name: partial(_timed, work, output / "out") for name, work in runs.items()}
        contests["file-dump"] = hold(timed, baseline="cp", rounds=sizes.rounds)
    replay(benchmark, contests["file-dump"], who)


@pytest.mark.benchmark(group="file-core", timer=CLOCK)
@pytest.mark.parametrize("who", ["full", "stacks", "cp"])
def test_minidumps_of_a_core(
    benchmark: Any, core: Path, output: Path, contests: dict[str, Contest], sizes: Sizes, who: str
) -> None:
    """All of the memory, and the stacks only."""
    if "file-core" not in contests:
        runs = {
            "full": partial(_dump, md.CoreFile(core), None),
            "stacks": partial(_dump, md.CoreFile(core), "normal"),
            "cp": partial(_copy, core),
        }
        timed = {name: partial(_timed, work, output / "out") for name, work in runs.items()}
        contests["file-core"] = hold(timed, baseline="cp", rounds=sizes.rounds)
    replay(benchmark, contests["file-core"], who)


@pytest.mark.benchmark(group="file-sparse", timer=CLOCK)
@pytest.mark.parametrize("who", ["sparse", "dense"])
def test_holes_cost_little(benchmark: Any, output: Path, contests: dict[str, Contest], sizes: Sizes, who: str) -> None:
    """As much data in a core that is mostly holes."""
    if "file-sparse" not in contests:
        sparse, dense = output / "sparse", output / "dense"
        make_core(sparse, sizes.sparse + sizes.sparse // 4, stored=sizes.sparse_touched)
        make_core(dense, sizes.sparse_touched)
        runs = {
            name: partial(_timed, partial(_dump, md.CoreFile(path), None), output / "out")
            for name, path in (("sparse", sparse), ("dense", dense))
        }
        contests["file-sparse"] = hold(runs, baseline="dense", rounds=sizes.rounds)
        sparse.unlink()
        dense.unlink()
    replay(benchmark, contests["file-sparse"], who)


@pytest.mark.benchmark(group="growth-file")
@pytest.mark.parametrize("who", ["core", "dump", "packed"])
def test_memory_stays_small(benchmark: Any, core: Path, dump: Path, output: Path, who: str) -> None:
    """Peak memory of a filtering process above its own start-up: at most 16 MiB, whatever the size of the file."""
    source = {"core": core, "dump": dump, "packed": output / "core.gz"}[who]
    if who == "packed":
        with source.open("wb") as file:
            subprocess.run(["gzip", "-1", "-c", str(core)], check=True, stdout=file)
    command = [sys.executable, str(PROBE), str(source), str(output / "probe.dmp")]
    environment = {**os.environ, "PYTHONPATH": str(Path(md.__file__).parent.parent), "TMPDIR": str(output)}
    run = functools.partial(subprocess.check_output, command, env=environment)
    result = json.loads(benchmark.pedantic(run, rounds=1))
    benchmark.extra_info.update(result, above_start_mib=(result["peak"] - result["start"]) / MIB)
    if who == "packed":
        source.unlink()
    assert result["peak"] - result["start"] <= 16 * MIB
