"""The ratios that CI compares: what is worse than stored beyond its tolerance is named, by the best of several runs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def ratios(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("ratios", "goals", "figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("ratios")


def run_of(value: float, *, group: str = "callback-idle", quick: bool = True) -> dict[str, Any]:
    bench = {"group": group, "params": {"who": "trampoline"}, "extra_info": {"best_ratio": value}}
    return {"machine_info": {"quick": quick}, "benchmarks": [bench]}


@pytest.fixture
def stored(ratios: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(ratios, "STORED", tmp_path / "ratios.json")
    ratios.store([run_of(0.01)])
    return ratios


def test_what_is_worse_beyond_the_tolerance_is_named(stored: ModuleType) -> None:
    assert stored.check([run_of(0.0199)]) == []
    (fault,) = stored.check([run_of(0.021)])
    assert "callback-idle/trampoline/best_ratio" in fault


def test_the_best_of_several_runs_counts(stored: ModuleType) -> None:
    assert stored.check([run_of(0.5), run_of(0.011)]) == []


def test_a_figure_without_a_stored_ratio_is_a_fault(stored: ModuleType) -> None:
    (fault,) = stored.check([run_of(0.01), run_of(1.0, group="replay-million")])
    assert "replay-million" in fault and "store" in fault


def test_more_can_be_better(ratios: ModuleType) -> None:
    watched = ratios.Watched(figure=None, more_is_better=True)
    assert watched.best([1.0, 2.0]) == 2.0 and watched.worse_by(1.0, 4.0) == 4.0


def test_a_run_is_compared_from_the_command_line(stored: ModuleType, tmp_path: Path) -> None:
    for name, run in {"good": run_of(0.01), "bad": run_of(0.05), "full": run_of(0.01, quick=False)}.items():
        (tmp_path / name).write_text(json.dumps(run))
    good, bad, full = (str(tmp_path / name) for name in ("good", "bad", "full"))
    assert stored.main(["check", good]) == 0
    assert stored.main(["check", bad]) == 1
    assert stored.main(["check", bad, good]) == 0
    assert stored.main(["check", good, full]) == 2
    assert stored.main(["check"]) == 2


def test_every_stored_ratio_is_watched_and_every_goal_has_a_chapter(ratios: ModuleType) -> None:
    goals, figures = importlib.import_module("goals"), importlib.import_module("figures")
    kinds = json.loads((BENCHMARKS / "ratios.json").read_text())
    watched = {str(watched.figure) for watched in ratios.WATCHED}
    assert all(set(names) <= watched for names in kinds.values()) and set(kinds["quick"]) == watched
    for goal in goals.GOALS:
        assert any(goal.figure.group.startswith(prefix) for prefix in figures.CHAPTERS), goal.title
        assert (goal.most is None) != (goal.least is None)
