"""A whole dump against the bare copy of the same process and against gcore; and a small dump in process.

What a debugger's user waits for. The bare loop (baselines/bare_copy.c) is the bound: it leaves out everything but the
bytes. gcore includes the start of gdb, because it cannot run without it.
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

#: name -> kind of target and its numbers, the competitor everything is compared with, MiB to warm up
SCENARIOS: dict[str, tuple[tuple[Any, ...], str, int]] = {
    "touched": (("heap", SIZES.heap), "bare", SIZES.heap // MIB + 128),
    "sparse": (("sparse", SIZES.sparse, SIZES.sparse_touched), "bare-scan", SIZES.sparse // MIB + 128),
    "mappings": (("mappings", SIZES.mappings), "bare", 256),
    "threads": (("threads", SIZES.threads), "bare-scan", SIZES.threads * 8 + 128),
}
COMPETITORS = ["bare", "bare-scan", "gcore", "minidump_cffi"]


def _warm(programs: Programs, mebibytes: int) -> None:
    subprocess.run([str(programs.targets), "warm", str(mebibytes * MIB)], check=True)


def _bare(mode: str, programs: Programs, pid: int, file: Path) -> Result:
    done = subprocess.run(
        [str(programs.bare_copy), str(pid), str(file), mode], check=True, capture_output=True, text=True
    )
    seconds, size = done.stdout.split()
    return float(seconds), {"bytes": int(size)}


def _gcore(programs: Programs, pid: int, file: Path) -> Result:
    environment = {**os.environ, "DEBUGINFOD_URLS": ""}
    start = time.perf_counter()
    subprocess.run(["gcore", "-o", str(file), str(pid)], check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - start
    return seconds, {"bytes": Path(f"{file}.{pid}").stat().st_size}


def _ours(programs: Programs, pid: int, file: Path) -> Result:
    start = time.perf_counter()
    report = md.write_dump(pid, file, md.DumpType.WITH_FULL_MEMORY)
    seconds = time.perf_counter() - start
    return seconds, {
        "bytes": report.stored_bytes,
        "stop_ms": report.stop_time * 1e3,
        "ranges": report.memory64_ranges,
    }


def _once(
    competitor: Callable[[Programs, int, Path], Result],
    programs: Programs,
    spawn: Spawn,
    output: Path,
    target: tuple[Any, ...],
    warm: int,
) -> Result:
    with spawn(*target) as running:
        _warm(programs, warm)
        try:
            return competitor(programs, running.pid, output / "dump")
        finally:
            for file in output.iterdir():
                file.unlink()


@pytest.fixture(scope="session")
def contest_of(
    programs: Programs, spawn: Spawn, output: Path, contests: dict[str, Contest], sizes: Sizes
) -> Callable[[str], Contest]:
    """Hold the contest of a scenario, or give the one already held."""

    def find(name: str) -> Contest:
        if name not in contests:
            target, baseline, warm = SCENARIOS[name]
            ways: dict[str, Callable[[Programs, int, Path], Result]] = {
                "bare": partial(_bare, "all"),
                "bare-scan": partial(_bare, "scan"),
                "minidump_cffi": _ours,
            }
            if shutil.which("gcore"):
                ways["gcore"] = _gcore
            runs = {who: partial(_once, way, programs, spawn, output, target, warm) for who, way in ways.items()}
            contests[name] = hold(runs, baseline=baseline, rounds=sizes.rounds)
        return contests[name]

    return find


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("who", COMPETITORS)
@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_whole_dump(benchmark: Any, contest_of: Callable[[str], Contest], scenario: str, who: str) -> None:
    """Full memory of 1 GiB touched; of 4 GiB with 64 MiB touched; of 20,000 mappings; of 500 threads."""
    benchmark.group = f"whole-dump-{scenario}"
    contest = contest_of(scenario)
    if who not in contest.times:
        pytest.skip(f"{who} is not installed")
    replay(benchmark, contest, who)


@pytest.mark.benchmark(group="normal-dump")
def test_normal_dump_of_eight_threads(benchmark: Any, spawn: Spawn, output: Path, sizes: Sizes) -> None:
    """A normal dump (stacks, registers, modules) of a process with eight threads, without starting an interpreter."""
    file = output / "normal.dmp"
    with spawn("threads", 8) as target:
        report = md.write_dump(target.pid, file)
        benchmark.pedantic(md.write_dump, args=(target.pid, file), rounds=sizes.rounds * 20, warmup_rounds=3)
    benchmark.extra_info.update(
        median_ms=benchmark.stats.stats.median * 1e3 if benchmark.enabled else None,
        stop_ms=report.stop_time * 1e3,
        threads=len(report.threads),
        bytes=report.file_bytes,
    )
    assert len(report.threads) == 8


@pytest.mark.benchmark(group="stop-threads")
def test_the_stop_is_linear_in_the_threads(benchmark: Any, spawn: Spawn, sizes: Sizes) -> None:
    """Four times the threads: four times the stop, not sixteen times; at most seven, on a busy machine."""
    few, many = sizes.few_threads, 4 * sizes.few_threads
    stops: dict[int, list[float]] = {few: [], many: []}
    with spawn("threads", few) as small, spawn("threads", many) as large:

        def both() -> None:
            for count, target in ((few, small), (many, large)):
                plan = md.plan_dump(target.pid)
                assert len(plan.threads) == count
                stops[count].append(plan.stop_time)

        benchmark.pedantic(both, rounds=sizes.rounds * 3, warmup_rounds=1)
    shortest = {count: min(times) for count, times in stops.items()}
    ratio = shortest[many] / shortest[few]
    benchmark.extra_info.update(
        few_ms=shortest[few] * 1e3, many_ms=shortest[many] * 1e3, ratio=ratio, us_per_thread=shortest[many] / many * 1e6
    )
    assert ratio <= 7
