"""The compiled filter: how long one match takes in the order an engine asks and in random order, and compiling."""

from __future__ import annotations

import random
from typing import Any

import callees
import pytest
from callees import lib
from setting import SIZES

QUERIES = 65_536


@pytest.fixture(scope="module", params=SIZES.intervals, ids=lambda count: f"{count}")
def compiled(request: pytest.FixtureRequest) -> tuple[int, Any]:
    """A filter with this many intervals and 16 attribute rules."""
    count: int = request.param
    return count, callees.compile_filter(callees.new_filter(count, 16), count + 16)


@pytest.mark.parametrize("order", ["ascending", "random"])
def test_match(benchmark: Any, compiled: tuple[int, Any], order: str) -> None:
    """One region question through the trampoline; the questions span all intervals."""
    count, native = compiled
    benchmark.group = f"filter-match-{order}"
    spots = list(range(QUERIES))
    if order == "random":
        random.Random(1).shuffle(spots)
    # Whatever the number of intervals, the questions spread over all of them: one lies 2 * STRIDE from the next.
    stride = max(0x1000, 2 * callees.STRIDE * count // QUERIES & ~0xFFF)
    questions = callees.regions(QUERIES, spots, stride)
    callee = callees.with_trampoline(native)
    callees.drive(callee, questions, QUERIES)
    benchmark.pedantic(callees.drive, args=(callee, questions, QUERIES), rounds=15, warmup_rounds=1)
    benchmark.extra_info.update(intervals=count, queries=QUERIES, compiled_intervals=lib.mdc_filter_intervals(native))
    if benchmark.enabled:
        benchmark.extra_info["ns_per_question"] = benchmark.stats.stats.median / QUERIES * 1e9


@pytest.mark.benchmark(group="filter-compile")
@pytest.mark.parametrize("count", SIZES.intervals)
def test_compile(benchmark: Any, count: int) -> None:
    """Rules to table, in C; and what the table takes."""
    rules = callees.new_filter(count, 16)
    native = benchmark.pedantic(callees.compile_filter, args=(rules, count + 16), rounds=5)
    size = lib.mdc_filter_bytes(native)
    benchmark.extra_info.update(table_bytes=size, bytes_per_interval=size / lib.mdc_filter_intervals(native))
