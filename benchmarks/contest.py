"""Several ways to do one thing, measured in turns.

Times on one machine move by a factor of two between runs, the ratio inside a run does not. So all competitors run in
the same rounds, in random order, and what is reported is the ratio of the medians to the baseline's, beside the
median of the ratios round by round. pytest-benchmark then replays each competitor's times as a benchmark of its own,
so that they are in one group of its table.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Contest:
    """Times in seconds by competitor, round by round."""

    baseline: str
    times: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def ratio(self, who: str, other: str | None = None) -> float:
        """Median time over the baseline's median time."""
        return statistics.median(self.times[who]) / statistics.median(self.times[other or self.baseline])

    def best_ratio(self, who: str, other: str | None = None) -> float:
        """Shortest time over the baseline's shortest time: what remains when the others leave the machine alone."""
        return min(self.times[who]) / min(self.times[other or self.baseline])

    def paired_ratio(self, who: str, other: str | None = None) -> float:
        """Median over the rounds of time over the baseline's time in the same round."""
        pairs = zip(self.times[who], self.times[other or self.baseline], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def summary(self, who: str) -> dict[str, Any]:
        """What belongs into ``extra_info``."""
        quartiles = statistics.quantiles(self.times[who], n=4) if len(self.times[who]) > 1 else [0.0, 0.0, 0.0]
        return {
            "baseline": self.baseline,
            "rounds": len(self.times[who]),
            "median_s": statistics.median(self.times[who]),
            "iqr_s": quartiles[2] - quartiles[0],
            "best_s": min(self.times[who]),
            "ratio": self.ratio(who),
            "best_ratio": self.best_ratio(who),
            "paired_ratio": self.paired_ratio(who),
            **{key: statistics.median(note[key] for note in self.notes[who]) for key in self.notes[who][0]},
        }


def hold(
    competitors: Mapping[str, Callable[[], tuple[float, dict[str, float]]]],
    *,
    baseline: str,
    rounds: int,
    seed: int = 7,
) -> Contest:
    """Run every competitor once per round in random order.

    A competitor makes its own fresh target, times only the work itself, and returns the seconds and notes, which are
    numbers with the same names in every round. One more round before the others is thrown away: it warms caches and
    allocators.
    """
    names = list(competitors)
    contest = Contest(baseline=baseline, times={name: [] for name in names}, notes={name: [] for name in names})
    order = list(names)
    shuffle = random.Random(seed).shuffle
    for number in range(-1, rounds):
        shuffle(order)
        for name in order:
            seconds, notes = competitors[name]()
            if number >= 0:
                contest.times[name].append(seconds)
                contest.notes[name].append(notes)
    return contest


class ReplayClock:
    """A timer for pytest-benchmark that shows recorded times: it moves only by :meth:`advance`."""

    def __init__(self) -> None:
        self._times = [0.0]
        self._at = 0
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def load(self, times: list[float]) -> None:
        """Take the times to show, in seconds."""
        self._times = times
        self._at = 0

    def advance(self) -> None:
        """Let the next recorded time pass."""
        self._now += self._times[self._at % len(self._times)]
        self._at += 1


#: The timer of every benchmark that replays: ``@pytest.mark.benchmark(timer=CLOCK)``.
CLOCK = ReplayClock()


def replay(benchmark: Any, contest: Contest, who: str) -> None:
    """Report the recorded times of one competitor as a pytest-benchmark result (its timer must be `CLOCK`)."""
    CLOCK.load(contest.times[who])
    benchmark.pedantic(CLOCK.advance, rounds=len(contest.times[who]), iterations=1)
    benchmark.extra_info.update(contest.summary(who))
