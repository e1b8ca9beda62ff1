"""Normal dumps from inside a process: against rust's minidump-writer, how many a second, and what a mapping costs.

minidump-writer is measured inside its process as we are inside ours. It copies memory that a program asked not to be
dumped (MADV_DONTDUMP); "ignore-marks" are our dumps that do so too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import costs
import pytest
from contest import CLOCK, Contest, hold, replay
from rivals import NotBuilt, Writer, build
from setting import QUICK, Sizes, Spawn, Target

import minidump_cffi as md

WRITER = "minidump-writer"
OURS = "minidump_cffi"
IGNORING = "ignore-marks"
WAYS = (WRITER, OURS, IGNORING)
SMALL = 65_536
"""Bytes of random memory of a small process."""

Notes = tuple[float, dict[str, float]]


@pytest.fixture(scope="session")
def writer() -> Path | str:
    """The program of minidump-writer, or why there is none."""
    try:
        return build()
    except NotBuilt as why:
        return str(why)


def _dump(target: Target, file: Path, dontdump: Any = "honour") -> Notes:
    start = time.perf_counter()
    report = md.write_dump(target.pid, file, dontdump=dontdump)
    return time.perf_counter() - start, {"stop_ms": report.stop_time * 1e3}


def _dump_by(rival: Writer, file: Path) -> Notes:
    return rival(file), {}


def _against(target: Target, writer: Path | str, output: Path, rounds: int) -> Contest:
    ways: dict[str, Callable[[], Notes]] = {
        OURS: partial(_dump, target, output / "ours.dmp"),
        IGNORING: partial(_dump, target, output / "ignoring.dmp", "ignore"),
    }
    if isinstance(writer, str):
        return hold(ways, baseline=OURS, rounds=rounds)
    with Writer(writer, target.pid) as rival:
        ways[WRITER] = partial(_dump_by, rival, output / "rival.dmp")
        return hold(ways, baseline=WRITER, rounds=rounds)


def _contest(
    contests: dict[str, Contest], name: str, spawn: Spawn, writer: Path | str, output: Path, sizes: Sizes
) -> Contest:
    scenes = {"threads-8": ("threads", 8, 101), "threads-500": ("threads", sizes.threads, 31)}
    scenes["mappings"] = ("mappings", sizes.mappings, 15)
    kind, number, rounds = scenes[name]
    if name not in contests:
        with spawn(kind, number) as target:
            contests[name] = _against(target, writer, output, sizes.rounds if QUICK else rounds)
    return contests[name]


@pytest.fixture(scope="module")
def normal_contests() -> dict[str, Contest]:
    """The contests of this module that have been run."""
    return {}


def _report(benchmark: Any, contest: Contest, who: str, writer: Path | str) -> None:
    if who == WRITER and isinstance(writer, str):
        pytest.skip(writer)
    replay(benchmark, contest, who)


@pytest.mark.parametrize("who", WAYS)
@pytest.mark.benchmark(group="normal-writer-threads-8", timer=CLOCK)
def test_a_dump_of_eight_threads(
    benchmark: Any,
    normal_contests: dict[str, Contest],
    spawn: Spawn,
    writer: Path | str,
    output: Path,
    sizes: Sizes,
    who: str,
) -> None:
    """The goal is a ratio of 0.8 to minidump-writer."""
    _report(benchmark, _contest(normal_contests, "threads-8", spawn, writer, output, sizes), who, writer)


@pytest.mark.parametrize("who", WAYS)
@pytest.mark.benchmark(group="normal-writer-threads-500", timer=CLOCK)
def test_a_dump_of_500_threads(
    benchmark: Any,
    normal_contests: dict[str, Contest],
    spawn: Spawn,
    writer: Path | str,
    output: Path,
    sizes: Sizes,
    who: str,
) -> None:
    """The goal is a ratio of 0.8."""
    _report(benchmark, _contest(normal_contests, "threads-500", spawn, writer, output, sizes), who, writer)


@pytest.mark.parametrize("who", WAYS)
@pytest.mark.benchmark(group="normal-writer-mappings", timer=CLOCK)
def test_a_dump_of_many_mappings(
    benchmark: Any,
    normal_contests: dict[str, Contest],
    spawn: Spawn,
    writer: Path | str,
    output: Path,
    sizes: Sizes,
    who: str,
) -> None:
    """20,000 of them. The goal is a ratio of 0.8."""
    _report(benchmark, _contest(normal_contests, "mappings", spawn, writer, output, sizes), who, writer)


@pytest.mark.benchmark(group="stop-mappings", timer=CLOCK)
@pytest.mark.parametrize("who", ["few", "many"])
def test_what_a_mapping_costs_under_the_stop(benchmark: Any, stop_contest: Contest, sizes: Sizes, who: str) -> None:
    """The stop of 60,000 mappings, less that of 500: the goal is 0.8 us for each."""
    replay(benchmark, stop_contest, who)
    if who == "many":
        more = min(stop_contest.times["many"]) - min(stop_contest.times["few"])
        benchmark.extra_info["us_per_mapping"] = more / (sizes.regions - _FEW) * 1e6


_FEW = 500


@pytest.fixture(scope="module")
def stop_contest(spawn: Spawn, output: Path, sizes: Sizes) -> Iterator[Contest]:
    """Both targets live at the same time and are dumped in turns."""

    def stop(target: Target, file: Path) -> Notes:
        report = md.write_dump(target.pid, file)
        return report.stop_time, {"mappings": len(report.regions), "total_ms": report.total * 1e3}

    with spawn("mappings", _FEW) as few, spawn("mappings", sizes.regions) as many:
        ways = {"few": partial(stop, few, output / "few.dmp"), "many": partial(stop, many, output / "many.dmp")}
        yield hold(ways, baseline="few", rounds=2 if QUICK else 9)


# -- throughput ----------------------------------------------------------------------------------------------------


def _dumping(targets: list[Target], output: Path, seconds: float, beside: Callable[[], object] | None = None) -> float:
    """Dumps a second of one thread per target, while `beside` runs in one more."""
    counts = [0] * len(targets)
    until = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < until:
            md.write_dump(targets[number].pid, output / f"throughput-{number}.dmp")
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(targets))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    if beside is not None:
        beside()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def _spin(seconds: float) -> float:
    """Rounds a second of a loop in Python."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(1000):
            count += 1
    return count / (time.perf_counter() - start)


@pytest.mark.benchmark(group="throughput")
def test_dumps_per_second(benchmark: Any, spawn: Spawn, output: Path) -> None:
    """Normal dumps of small processes: from one thread, from eight, and what a busy thread loses beside one that dumps.

    The goals are 600 a second, 1.7 times that from eight threads on two processors, and 5 % lost.
    """
    seconds, rounds = (0.2, 1) if QUICK else (2.0, 5)
    one: list[float] = []
    eight: list[float] = []
    alone: list[float] = []
    beside: list[float] = []

    def all_of_it(targets: list[Target]) -> None:
        one.append(_dumping(targets[:1], output, seconds))
        eight.append(_dumping(targets, output, seconds))
        alone.append(_spin(seconds))
        _dumping(targets[:1], output, seconds, lambda: beside.append(_spin(seconds)))

    with ExitStack() as stack:
        targets = [stack.enter_context(spawn("heap", SMALL)) for _ in range(8)]
        _dumping(targets, output, 0.1)
        benchmark.pedantic(all_of_it, args=(targets,), rounds=rounds)
    benchmark.extra_info.update(
        per_second=max(one),
        per_second_of_eight=max(eight),
        eight_to_one=max(eight) / max(one),
        busy_thread_loses=1 - max(beside) / max(alone),
    )


# -- where the time goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["8 threads", "500 threads", "20,000 mappings"])
@pytest.mark.benchmark(group="normal-costs")
def test_what_a_dump_spends_its_time_on(benchmark: Any, spawn: Spawn, output: Path, sizes: Sizes, who: str) -> None:
    """The largest costs of a Normal dump, by a profiler."""
    kind, number = {
        "8 threads": ("threads", 8),
        "500 threads": ("threads", sizes.threads),
        "20,000 mappings": ("mappings", sizes.mappings),
    }[who]
    shares: list[dict[str, float]] = []
    with spawn(kind, number) as target:
        try:
            measured = partial(costs.measure, target.pid, output / "costs.dmp", 0.3 if QUICK else 6.0)
            benchmark.pedantic(lambda: shares.append(measured()), rounds=1)
        except costs.NoProfile as why:
            pytest.skip(str(why))
    benchmark.extra_info["costs"] = {name: round(share, 4) for name, share in shares[0].items()}
