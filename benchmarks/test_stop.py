"""How long a Normal dump stops its target: the same, however much memory that has.

A target with 2 GiB touched against one with 16 MiB; what is compared is the time the threads did not run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import Sizes, Spawn, Target

import minidump_cffi as md

ROUNDS = 15  # a stop takes a millisecond or two


def _stop(target: Target, file: Path) -> tuple[float, dict[str, float]]:
    report = md.write_dump(target.pid, file)
    return report.stop_time, {"stored_bytes": report.stored_bytes, "total_ms": report.total * 1e3}


@pytest.fixture(scope="module")
def contest(spawn: Spawn, output: Path, sizes: Sizes) -> Contest:
    """Both targets live at the same time and are dumped in turns."""
    with spawn("heap", sizes.small) as small, spawn("heap", sizes.large) as large:
        targets = {"small": small, "large": large}
        competitors = {name: partial(_stop, target, output / f"{name}.dmp") for name, target in targets.items()}
        return hold(competitors, baseline="small", rounds=ROUNDS)


@pytest.mark.benchmark(group="stop-time", timer=CLOCK)
@pytest.mark.parametrize("who", ["small", "large"])
def test_stop_of_a_normal_dump(benchmark: Any, contest: Contest, who: str) -> None:
    """The large one is stopped no longer than the small one, but for noise."""
    replay(benchmark, contest, who)
    if who == "large":
        assert contest.best_ratio("large") <= 1.5
