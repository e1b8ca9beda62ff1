"""The region callback: our trampoline against ctypes and cffi's extern "Python".

Read these beside test_dump.py: a region's answer is nanoseconds, its copy is not. What the trampoline buys is that
no Python while a target is stopped, and with it the tail: how long a callback waits when other Python threads work.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import callees
import pytest
from callees import Callee
from contest import CLOCK, Contest, hold, replay
from setting import Sizes, Spawn

import minidump_cffi as md

PYTHON = ("ctypes", "ctypes-64k", "extern-python")
WAYS = ["trampoline", "trampoline-64k", "ctypes", "ctypes-64k", "extern-python", "empty-c"]
#: Which Python callback does the same work.
SAME_WORK = {"trampoline": "ctypes", "trampoline-64k": "ctypes-64k"}
GAPS_US = [50, 500]


@pytest.fixture(scope="session")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callee]:
    """Every callee by name."""
    module = callees.build_module(tmp_path_factory.mktemp("callees"))
    plain = callees.compile_filter(callees.new_filter(0), 1)
    large = callees.compile_filter(callees.new_filter(65_536, 64), 65_536 + 64)
    return {
        "trampoline": callees.with_trampoline(plain),
        "trampoline-64k": callees.with_trampoline(large),
        "ctypes": callees.with_ctypes(),
        "ctypes-64k": callees.with_ctypes_and_intervals(65_536),
        "extern-python": callees.with_extern_python(module),
        "empty-c": callees.with_nothing(module),
    }


@pytest.mark.benchmark(timer=CLOCK, group="callback-idle")
@pytest.mark.parametrize("who", WAYS)
def test_idle(benchmark: Any, ways: dict[str, Callee], contests: dict[str, Contest], sizes: Sizes, who: str) -> None:
    """One region callback, nothing else running; time per call."""
    if "idle" not in contests:
        questions = callees.regions(range(sizes.callbacks))
        counts = {way: sizes.callbacks // (8 if way in PYTHON else 1) for way in ways}
        runs = {way: partial(callees.timed, callee, questions, counts[way]) for way, callee in ways.items()}
        contests["idle"] = hold(runs, baseline="ctypes", rounds=max(15, sizes.rounds))
    contest = contests["idle"]
    replay(benchmark, contest, who)
    benchmark.extra_info.update(times_faster_than_ctypes=contest.ratio(SAME_WORK.get(who, "ctypes"), who))


@contextmanager
def _busy_threads(count: int) -> Iterator[None]:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            for step in range(1000):
                number += step

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _contended(
    callee: Callee, questions: Any, count: int, gap_us: int, latencies: array[int]
) -> tuple[float, dict[str, Any]]:
    times = array("Q", bytes(8 * count))
    with _busy_threads(4):
        nanoseconds = callees.drive(callee, questions, count, gap_ns=gap_us * 1000, latencies=times)
    latencies.extend(times)
    return nanoseconds * 1e-9, {}


def _tail(latencies: array[int]) -> dict[str, float]:
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "calls": len(ordered),
        "p50_us": ordered[last // 2] / 1e3,
        "p99_us": ordered[last * 99 // 100] / 1e3,
        "max_us": ordered[-1] / 1e3,
    }


@pytest.fixture(scope="session")
def tails() -> dict[str, dict[str, float]]:
    """Percentiles by contest and callee."""
    return {}


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("who", WAYS[:-1])
@pytest.mark.parametrize("gap_us", GAPS_US)
def test_four_busy_threads(
    benchmark: Any,
    ways: dict[str, Callee],
    contests: dict[str, Contest],
    tails: dict[str, dict[str, float]],
    sizes: Sizes,
    who: str,
    gap_us: int,
) -> None:
    """One region callback while four Python threads work, with engine work between the callbacks; mean, p50, p99, max.

    Without work between the callbacks no thread takes the GIL away and nothing of this can be seen.
    """
    benchmark.group = f"callback-busy-{gap_us}us"
    name = f"busy-{gap_us}"
    if name not in contests:
        questions = callees.regions(range(sizes.contended * 8))
        samples: dict[str, array[int]] = {way: array("Q") for way in WAYS[:-1]}
        runs: dict[str, Callable[[], tuple[float, dict[str, Any]]]] = {}
        for way in samples:
            count = sizes.contended * (1 if way in PYTHON else 8)
            runs[way] = partial(_contended, ways[way], questions, count, gap_us, samples[way])
        contests[name] = hold(runs, baseline="ctypes", rounds=5)
        for way, latencies in samples.items():
            tails[f"{name}-{way}"] = _tail(latencies)
    replay(benchmark, contests[name], who)
    tail, theirs = tails[f"{name}-{who}"], tails[f"{name}-ctypes"]
    benchmark.extra_info.update(tail, p99_times_better_than_ctypes=theirs["p99_us"] / tail["p99_us"])


@pytest.mark.benchmark(group="callback-share")
def test_share_of_a_dump(benchmark: Any, ways: dict[str, Callee], spawn: Spawn, output: Path, sizes: Sizes) -> None:
    """What all callbacks of a dump with 60,000 regions take of its time, with 64 rules about attributes."""
    keep = md.Filter(*(md.exclude(type="mapped", min_size=(64 << 10) + (number << 12)) for number in range(64)))
    file = output / "share.dmp"
    with spawn("mappings", sizes.regions) as target:
        start = time.perf_counter()
        report = benchmark.pedantic(
            md.write_dump, args=(target.pid, file, md.DumpType.WITH_FULL_MEMORY), kwargs={"filter": keep}, rounds=3
        )
        elapsed = (time.perf_counter() - start) / (3 if benchmark.enabled else 1)
    file.unlink()
    questions = callees.regions(range(sizes.regions))
    each = callees.drive(ways["trampoline-64k"], questions, sizes.regions)
    calls = report.callbacks[md.protocol.CallbackType.INCLUDE_VM_REGION]
    assert calls >= sizes.regions
    benchmark.extra_info.update(
        region_callbacks=calls, ns_per_callback=each, dump_seconds=elapsed, share=calls * each * 1e-9 / elapsed
    )
