"""Command line and environment of a Windows process: excluded is excluded, with both engines, where they are known."""

from __future__ import annotations

import json
from pathlib import Path

import live
import pytest
import wine

pytestmark = pytest.mark.linux


def test_excluded_texts_are_overwritten(tmp_path: Path) -> None:
    """Where the parameters of the process have them; its run-time library copies both to its heap, in full dumps."""
    wine.python()
    program = wine.compile_c(live.HERE / "targets" / "win_texts.c", tmp_path / "texts.exe", "-O1")
    script = live.HERE / "targets" / "win_texts_dumps.py"
    done = wine.run_python(script, wine.windows_path(program), wine.windows_path(tmp_path))
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) == 16
    for case in cases:
        kept = {"environ", "cmdline"} - set(case["left_out"])
        assert case["complete"]
        if case["type"] == "full":
            assert set(case["there"]) == kept, case
            assert set(case["filled"]) == set(case["left_out"]), case
        else:
            assert set(case["anywhere"]) <= kept, case
        if case["engine"] == "native" and case["type"] == "small" and "environ" in kept:
            assert "environ" in case["anywhere"], "the test itself"
