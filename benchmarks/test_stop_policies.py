"""How long a full dump stops its target by each policy, as the target itself sees it.

A thread of the target records the largest gap in what it does. `fork` is what the kernel takes for a fork of the
target's own, which a snapshot cannot be quicker than; `bare` is the time of a loop that stops it and copies.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import Programs, Sizes

import minidump_cffi as md

Result = tuple[float, dict[str, float]]
ROUNDS = 5
KINDS = ["small", "huge", "none"]
COMPETITORS = ["fork", "snapshot", "memory", "whole", "bare"]


class Pulse:
    """A pulse.c that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.pid = int(self._out.readline())

    def ask(self, what: str) -> float:
        """A time in seconds."""
        self._in.write(what + "\n")
        self._in.flush()
        return int(self._out.readline()) / 1e9


@contextmanager
def _pulse(program: Path, size: int, pages: str) -> Iterator[Pulse]:
    command = [str(program), str(size), pages]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Pulse(process)


def _fork(pulse: Pulse) -> Result:
    return pulse.ask("fork"), {"gap_ms": 0.0, "stop_ms": 0.0}


def _dump(pulse: Pulse, stop: Any, file: Path) -> Result:
    pulse.ask("gap")
    report = md.write_dump(pulse.pid, file, md.DumpType.WITH_FULL_MEMORY, stop=stop)
    assert report.stop == stop, report.messages
    gap = pulse.ask("gap")
    file.unlink()
    return gap, {"gap_ms": gap * 1e3, "stop_ms": report.stop_time * 1e3}


def _bare(pulse: Pulse, program: Path, file: Path) -> Result:
    pulse.ask("gap")
    subprocess.run([str(program), str(pulse.pid), str(file), "scan"], check=True, capture_output=True)
    gap = pulse.ask("gap")
    file.unlink()
    return gap, {"gap_ms": gap * 1e3, "stop_ms": gap * 1e3}


@pytest.fixture(scope="module", params=KINDS)
def contest(request: pytest.FixtureRequest, programs: Programs, output: Path, sizes: Sizes) -> Contest:
    """All policies, on one target."""
    with _pulse(programs.pulse, sizes.heap, request.param) as pulse:
        file = output / "policies.dmp"
        competitors: dict[str, Callable[[], Result]] = {
            "fork": partial(_fork, pulse),
            "bare": partial(_bare, pulse, programs.bare_copy, file),
            **{stop: partial(_dump, pulse, stop, file) for stop in ("snapshot", "memory", "whole")},
        }
        return hold(competitors, baseline="fork" if request.param == "small" else "whole", rounds=ROUNDS)


@pytest.mark.benchmark(group="stop-policies", timer=CLOCK)
@pytest.mark.parametrize("who", COMPETITORS)
def test_stop_policies(benchmark: Any, contest: Contest, request: pytest.FixtureRequest, who: str) -> None:
    """The times are the largest gaps."""
    benchmark.group = f"stop-policies-{request.node.callspec.params['contest']}"
    replay(benchmark, contest, who)
