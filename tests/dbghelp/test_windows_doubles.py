"""Dumps by a dbghelp that plays the recorded sequence by script: what Wine's own never asks or does.

Read failures, errors, cancel, deadline and snapshots, from Python, in a Windows CPython under Wine. The same double is
driven from C in tests/native/test_dbghelp_script_windows.c.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import live
import pytest
import recorded
import wine

import minidump_cffi as md

pytestmark = pytest.mark.linux

DOUBLES = live.HERE / "targets" / "dbghelp"
AREA, PAGE = 0x20000000, 4096
CANCELLED = 0x800704C7


class Played:
    """What the driver printed, by case, and the folder with the dumps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        library = wine.compile_c(DOUBLES / "script_double.c", folder / "script_double.dll", "-O1", "-shared")
        done = wine.run_python(DOUBLES / "drive_double.py", wine.windows_path(library), wine.windows_path(folder))
        assert done.returncode == 0, done.stderr
        lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        self.cases = {line.pop("case"): line for line in lines}

    def holds(self, name: str, page: int) -> bool:
        """Whether the dump of a case has this page of the area."""
        return bytes([65 + page]) * PAGE in (self.folder / f"{name}.dmp").read_bytes()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """All cases, played once."""
    wine.python()
    return Played(tmp_path_factory.mktemp("doubles"))


def test_a_dump_of_what_was_asked(played: Played) -> None:
    case = played.cases["plain"]
    assert (case["threads"], case["modules"], case["complete"]) == (2, 3, True)
    assert case["file_bytes"] == (played.folder / "plain.dmp").stat().st_size


@pytest.mark.parametrize("version", recorded.VERSIONS)
@pytest.mark.parametrize("name", ["plain", "full"])
def test_it_asks_in_the_order_of_dbghelp(played: Played, name: str, version: str) -> None:
    """As recorded, but for how often."""
    order = {
        who: [kind for kind, _ in itertools.groupby(kind for kind in types if kind != md.protocol.CallbackType.CANCEL)]
        for who, types in (
            ("dbghelp", [call.type for call in recorded.load(version, "full" if name == "full" else "normal")]),
            ("double", played.cases[name]["types"]),
        )
    }
    assert order["double"] == order["dbghelp"]


def test_a_hole_is_in_no_copy_of_the_memory(played: Played) -> None:
    """Stacks are stored without asking, and these lie in the hole."""
    assert played.cases["full"]["complete"]
    assert [page for page in range(16) if not played.holds("full", page)] == [2, 3]


def test_read_failures(played: Played) -> None:
    """Tolerated ones are gaps; others are the error that dbghelp got.

    A gap is all of the region that is in no stack in a full dump, and else the range that was added.
    """
    for name, first in (("gaps", 4), ("range_gone", 10)):
        assert played.cases[name]["gaps"] == [[AREA + first * PAGE, (16 - first) * PAGE]]
        assert not played.cases[name]["complete"] and not played.holds(name, 13)
    for name, address in (("refused", None), ("range_refused", AREA + 10 * PAGE)):
        assert played.cases[name] == {
            "error": "ReadError",
            "winerror": 299,
            "hresult": 0x8007012B,
            "address": address,
            "exists": False,
        }


@pytest.mark.parametrize("name", ["full", "once"])
def test_whether_it_asks_again_or_not(played: Played, name: str) -> None:
    """What is kept on both sides of a hole is there."""
    assert played.cases[name]["complete"]
    assert [page for page in range(16) if not played.holds(name, page)] == [2, 3]


@pytest.mark.parametrize(
    ("hresult", "error", "winerror"),
    [
        (0x80070005, "AccessDenied", 5),
        (0x80070070, "SinkError", 112),
        (0x8007012B, "ReadError", 299),
        (0x80004005, "TargetError", None),
    ],
)
def test_an_hresult_becomes_our_exception(played: Played, hresult: int, error: str, winerror: int | None) -> None:
    case = played.cases[f"{hresult:x}"]
    assert (case["error"], case["hresult"], case["winerror"]) == (error, hresult, winerror)
    assert not case["exists"]


@pytest.mark.parametrize(("name", "error"), [("cancel", "Cancelled"), ("deadline", "DeadlineExceeded")])
def test_an_end_through_cancel_callbacks(played: Played, name: str, error: str) -> None:
    case = played.cases[name]
    assert (case["error"], case["hresult"], case["exists"]) == (error, CANCELLED, False)


def test_a_snapshot_is_dumped_and_let_go(played: Played) -> None:
    """The clone ends with the dump; the target runs on, here as after everything else."""
    assert played.cases["snapshot"]["complete"] and played.holds("snapshot", 9)
    assert played.cases["clone"] == {"status": 0}
    assert played.cases["target"] == {"status": 0}
