"""What looking for pages of zeros costs where there are none.

The same memory goes to a file, where each page is tested, and to the same kind of file opened to append, which is a
stream to the engine: nothing is tested there. The goal is a ratio of at most 1.03.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import SIZES, Sizes, Spawn

import minidump_cffi as md

FLAGS = {"append": os.O_APPEND, "file": 0}


def _dump(flags: int, spawn: Spawn, output: Path) -> tuple[float, dict[str, float]]:
    file = output / "dump"
    with spawn("heap", SIZES.heap) as target:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | flags)
        try:
            start = time.perf_counter()
            report = md.write_dump(target.pid, fd, md.DumpType.WITH_FULL_MEMORY)
            seconds = time.perf_counter() - start
            return seconds, {"stop_ms": report.stop_time * 1e3, "zeros": sum(region.zeros for region in report.regions)}
        finally:
            os.close(fd)
            file.unlink()


@pytest.mark.benchmark(group="zero-test", timer=CLOCK)
@pytest.mark.parametrize("who", list(FLAGS))
def test_cost_of_the_zero_test(
    benchmark: Any, spawn: Spawn, output: Path, contests: dict[str, Contest], sizes: Sizes, who: str
) -> None:
    """A full dump of touched memory without a page of zeros."""
    if "zero" not in contests:
        runs = {name: partial(_dump, flags, spawn, output) for name, flags in FLAGS.items()}
        contests["zero"] = hold(runs, baseline="append", rounds=sizes.rounds * 3)
    replay(benchmark, contests["zero"], who)
