"""Sizes of the benchmarks, and what their fixtures hand out.

``MDC_BENCH_QUICK=1`` makes every size tiny: it shows that the benchmarks run, its figures mean nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

QUICK = os.environ.get("MDC_BENCH_QUICK", "") not in ("", "0")
GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How big everything is."""

    rounds: int
    heap: int
    sparse: int
    sparse_touched: int
    mappings: int
    threads: int
    few_threads: int
    regions: int
    callbacks: int
    contended: int
    intervals: tuple[int, ...]
    extents: int
    forked: int
    small: int
    large: int
    mapped: int


SIZES = (
    Sizes(
        rounds=2,
        heap=8 * MIB,
        sparse=64 * MIB,
        sparse_touched=MIB,
        mappings=500,
        threads=20,
        few_threads=100,
        regions=1000,
        callbacks=2000,
        contended=50,
        intervals=(16, 1024),
        extents=1000,
        forked=4 * MIB,
        small=4 * MIB,
        large=64 * MIB,
        mapped=MIB,
    )
    if QUICK
    else Sizes(
        rounds=7,
        heap=GIB,
        sparse=4 * GIB,
        sparse_touched=64 * MIB,
        mappings=20_000,
        threads=500,
        few_threads=1000,
        regions=60_000,
        callbacks=200_000,
        contended=400,
        intervals=(16, 1024, 65_536, 1_048_576),
        extents=100_000,
        forked=256 * MIB,
        small=16 * MIB,
        large=2 * GIB,
        mapped=64 * MIB,
    )
)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The compiled C programs."""

    targets: Path
    bare_copy: Path
    bare_write: Path
    pulse: Path


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running target: whom to dump and where its memory is."""

    pid: int
    address: int


Spawn = Callable[..., AbstractContextManager[Target]]
