"""The stages of a dump in csrc/engine: each sees the earlier ones, and those const; none sees the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "csrc" / "engine"
FILES = {path.name: path.read_text("utf-8") for path in ENGINE.rglob("*.[ch]")}
STAGES = ("capture", "plan", "layout", "writer")  # report.h comes after all of them
INCLUDE = re.compile(r'^#include "(?:\.\./|streams/)?(\w+\.h)"$', re.MULTILINE)  # of the engine's own headers
POINTER = re.compile(r"(const )?mdc_(capture|plan) \*")


def seen_from(name: str, files: dict[str, str]) -> set[str]:
    """The headers of the engine that a file includes, and those that they include."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        new = set(INCLUDE.findall(files[waiting.pop()])) & files.keys() - seen
        seen |= new
        waiting += new
    return seen


def writable(stage: str, text: str) -> list[str]:
    """The earlier stages that a header of this stage would let be written to."""
    earlier = STAGES[: STAGES.index(stage)]
    return [name for const, name in POINTER.findall(text) if not const and name in earlier]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_does_not_see_later_ones(stage: str) -> None:
    seen = seen_from(f"{stage}.h", FILES)
    assert not seen & {f"{later}.h" for later in (*STAGES[STAGES.index(stage) + 1 :], "report")}
    assert {f"{earlier}.h" for earlier in STAGES[: STAGES.index(stage)]} <= seen


@pytest.mark.parametrize("stage", STAGES)
def test_earlier_stages_are_const(stage: str) -> None:
    """Also in what belongs to a stage: the reader and the gaps to the plan, the copier and the output to the writer."""
    parts = {"plan": ("reader", "gaps", "include_region"), "writer": ("copier", "sparse_output")}.get(stage, ())
    assert [(name, found) for name in (stage, *parts) if (found := writable(stage, FILES[f"{name}.h"]))] == []


def test_no_stage_sees_the_report() -> None:
    """But who chooses what is left out, and what comes first, sees the plan as a report."""
    choices = {"budget.h", "copy_order.h"}
    found = {name for name in FILES if "report.h" in INCLUDE.findall(FILES[name])}
    assert found == {"dump.c", "report.c"} | choices


def test_what_is_wrong_is_found() -> None:
    """The checks themselves."""
    assert seen_from("a.h", {"a.h": '#include "b.h"\n', "b.h": '#include "../c.h"\n', "c.h": ""}) == {"b.h", "c.h"}
    assert writable("layout", "mdc_plan *plan; const mdc_capture *capture;") == ["plan"]
