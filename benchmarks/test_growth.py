"""What must not grow: the dumper's memory with the size of the target, and the target by being dumped.

No times here, so these hold on a noisy machine too.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from setting import Sizes, Spawn

import minidump_cffi as md

KIB = 1024
MIB = 1024 * KIB
PROBE = Path(__file__).with_name("probe_memory.py")


def _status(pid: int, key: str) -> int:
    """A figure of /proc/PID/status in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * KIB
    raise LookupError(key)


def _rollup(pid: int, key: str) -> int:
    """A figure of /proc/PID/smaps_rollup in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * KIB
    raise LookupError(key)


def _figures(pid: int) -> dict[str, int]:
    return {
        "VmPTE": _status(pid, "VmPTE"),
        "RssAnon": _status(pid, "RssAnon"),
        "RssFile": _status(pid, "RssFile"),
        "RssShmem": _status(pid, "RssShmem"),
        "Pss_Anon": _rollup(pid, "Pss_Anon"),
    }


@pytest.mark.benchmark(group="growth-dumper")
@pytest.mark.parametrize("shape", ["extents", "bytes"])
def test_dumper_memory_stays_small(benchmark: Any, spawn: Spawn, output: Path, sizes: Sizes, shape: str) -> None:
    """Peak memory of a dumping process above its own start-up: at most 16 MiB, whatever the target."""
    step = 128 * KIB
    target = ("spots", sizes.extents * step, step) if shape == "extents" else ("heap", sizes.heap)
    with spawn(*target) as running:
        command = [sys.executable, str(PROBE), str(running.pid), str(output / "probe.dmp")]
        environment = {**os.environ, "PYTHONPATH": str(Path(md.__file__).parent.parent)}  # also when built in place
        run = functools.partial(subprocess.check_output, command, env=environment)
        result = json.loads(benchmark.pedantic(run, rounds=1))
    benchmark.extra_info.update(result, above_start_mib=(result["peak"] - result["start"]) / MIB)
    if shape == "extents":
        assert result["extents"] >= sizes.extents
    assert result["peak"] - result["start"] <= 16 * MIB


def _settled(pid: int) -> dict[str, int]:
    """The figures of a process that has come to rest."""
    figures: dict[str, int] = {}
    while figures != (now := _figures(pid)):
        figures = now
        time.sleep(0.1)
    return figures


@pytest.mark.benchmark(group="growth-target")
@pytest.mark.parametrize("kind", ["sparse", "forked"])
def test_target_does_not_grow(benchmark: Any, spawn: Spawn, output: Path, sizes: Sizes, kind: str) -> None:
    """Page tables at most 64 KiB larger; not a page of memory more, also where it is shared by fork."""
    numbers = (sizes.sparse, sizes.sparse_touched) if kind == "sparse" else (sizes.forked,)
    with spawn(kind, *numbers) as target:
        before = _settled(target.pid)
        benchmark.pedantic(
            md.write_dump, args=(target.pid, output / "grow.dmp", md.DumpType.WITH_FULL_MEMORY), rounds=1
        )
        after = _figures(target.pid)
    growth = {key: after[key] - before[key] for key in before}
    benchmark.extra_info.update(growth_bytes=growth, before_bytes=before)
    (output / "grow.dmp").unlink()
    assert growth["VmPTE"] <= 64 * KIB
    assert growth["RssAnon"] <= 0
    assert growth["RssFile"] <= 0
    assert growth["RssShmem"] <= 0
    assert growth["Pss_Anon"] <= 0
