"""What the package promises of its speed: ratios inside one run, never seconds.

Each goal names a figure of a benchmark: the group, the competitor, and a key of its ``extra_info``. figures.py shows
goals beside what was reached; ratios.py compares figures with those stored in the repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Run = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a run."""

    group: str
    who: str
    key: str = "ratio"

    def find(self, runs: Iterable[Run]) -> list[float]:
        """The number in each of the runs that has it."""
        return [
            float(bench["extra_info"][self.key])
            for run in runs
            for bench in run["benchmarks"]
            if bench["group"] == self.group and name_of(bench) == self.who and self.key in bench["extra_info"]
        ]

    def __str__(self) -> str:
        return f"{self.group}/{self.who}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure and its limit: `most` or `least`."""

    title: str
    figure: Figure
    most: float | None = None
    least: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value keeps the promise."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    @property
    def limit(self) -> str:
        """For a table."""
        return f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"


def name_of(bench: dict[str, Any]) -> str:
    """The competitor that a result of pytest-benchmark is of."""
    params = bench.get("params") or {}
    return str(params.get("who") or bench.get("param") or "minidump_cffi")


def _most(title: str, group: str, who: str, most: float, key: str = "ratio") -> Goal:
    return Goal(title=title, figure=Figure(group=group, who=who, key=key), most=most)


def _least(title: str, group: str, who: str, least: float, key: str) -> Goal:
    return Goal(title=title, figure=Figure(group=group, who=who, key=key), least=least)


GOALS = (
    _least(
        "A region callback, the loop's own cost included: times faster than ctypes",
        "callback-idle",
        "trampoline",
        100,
        "times_faster_than_ctypes",
    ),
    _most("A snapshot of 1 GiB in small pages stops the target, ms", "stop-policies-small", "snapshot", 40, "gap_ms"),
    _most("A snapshot of 1 GiB in small pages: fork of the target itself", "stop-policies-small", "snapshot", 1.2),
    _most("A snapshot of 1 GiB in huge pages, ms", "stop-policies-huge", "snapshot", 5, "gap_ms"),
    _most("A snapshot of 1 GiB that was never written, ms", "stop-policies-none", "snapshot", 5, "gap_ms"),
    _most('Stop of `stop="memory"`, 1 GiB: bare copy into touched memory', "output-memory", "minidump_cffi", 1.3),
    _most("Full dump with `fsync`: O_DIRECT writing of as many bytes", "output-disk", "minidump_cffi", 1.1),
    _most("Full dump to a pipe: cat of the same bytes", "output-pipe", "minidump_cffi", 1 / 0.9),
    _most("Full dump of 1 GiB: bare copy", "whole-dump-touched", "minidump_cffi", 1.05),
    _most("Full dump of 20,000 mappings: bare copy", "whole-dump-mappings", "minidump_cffi", 1.1),
    _most("Full dump of 500 threads: bare copy of what is there", "whole-dump-threads", "minidump_cffi", 1.3),
    _most("Normal dump of 8 threads: minidump-writer", "normal-writer-threads-8", "minidump_cffi", 0.8),
    _most("Normal dump of 500 threads: minidump-writer", "normal-writer-threads-500", "minidump_cffi", 0.8),
    _most("Normal dump of 20,000 mappings: minidump-writer", "normal-writer-mappings", "minidump_cffi", 0.8),
    _most(
        "Normal dump of 20,000 mappings that ignores marks, as minidump-writer does",
        "normal-writer-mappings",
        "ignore-marks",
        0.8,
    ),
    _most("Stop, us per mapping at 60,000", "stop-mappings", "many", 0.8, "us_per_mapping"),
    _least("Normal dumps a second from one thread", "throughput", "minidump_cffi", 600, "per_second"),
    _least("From eight threads on two processors: from one", "throughput", "minidump_cffi", 1.7, "eight_to_one"),
    _most("A busy Python thread beside a dumping one loses", "throughput", "minidump_cffi", 0.05, "busy_thread_loses"),
)
