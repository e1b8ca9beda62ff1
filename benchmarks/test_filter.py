"""The compiled filter: how long one match takes in the order an engine asks and in random order, and compiling."""

from __future__ import annotations

import random
import statistics
from functools import partial
from typing import Any

import callees
import pytest
from callees import Callee, lib
from contest import CLOCK, hold, replay
from setting import QUICK, SIZES

QUERIES = 65_536
ROUNDS = 3 if QUICK else 15


@pytest.fixture(scope="module", params=SIZES.intervals, ids=lambda count: f"{count}")
def compiled(request: pytest.FixtureRequest) -> tuple[int, Any]:
    """A filter with this many intervals and 16 attribute rules."""
    count: int = request.param
    return count, callees.compile_filter(callees.new_filter(count, 16), count + 16)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callee:
    """What the loop itself costs."""
    return callees.with_nothing(callees.build_module(tmp_path_factory.mktemp("empty")))


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("order", ["ascending", "random"])
def test_match(benchmark: Any, compiled: tuple[int, Any], empty: Callee, order: str) -> None:
    """One region question through the trampoline; the questions spread over all intervals.

    The loop fills the structs of the protocol for each question; what that takes is measured beside it.
    """
    count, native = compiled
    benchmark.group = f"filter-match-{order}"
    slots = [number * 2 * count // QUERIES for number in range(QUERIES)]
    ranks = list(range(QUERIES))
    if order == "random":
        random.Random(1).shuffle(ranks)
    questions = callees.regions(slots, ranks)
    ways = {"match": callees.with_trampoline(native), "empty-c": empty}
    runs = {name: partial(callees.timed, callee, questions, QUERIES) for name, callee in ways.items()}
    contest = hold(runs, baseline="empty-c", rounds=ROUNDS)
    replay(benchmark, contest, "match")
    each, loop = (statistics.median(contest.times[name]) * 1e9 for name in ways)
    benchmark.extra_info.clear()
    benchmark.extra_info.update(
        intervals=count, ns_per_question=each, of_it_the_loop_ns=loop, in_table=lib.mdc_filter_intervals(native)
    )


@pytest.mark.benchmark(group="filter-compile")
@pytest.mark.parametrize("count", SIZES.intervals)
def test_compile(benchmark: Any, count: int) -> None:
    """Rules to table, in C; and what the table takes."""
    rules = callees.new_filter(count, 16)
    native = benchmark.pedantic(callees.compile_filter, args=(rules, count + 16), rounds=5)
    size, intervals = lib.mdc_filter_bytes(native), lib.mdc_filter_intervals(native)
    benchmark.extra_info.update(rules=count + 16, table_bytes=size, bytes_per_interval=size / intervals)
