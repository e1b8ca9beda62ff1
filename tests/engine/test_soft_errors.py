"""MozSoftErrors: what is missing of a dump, as JSON in the form of minidump-writer."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import crashpad
import fake
import live
import pytest
from fake import PAGE, Region, Thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import FULL, NORMAL, with_threads

import minidump_cffi as md

NUMBER = 0x4D7A0004


def soft_errors(data: bytes) -> list[Any] | None:
    """The list, None without the stream."""
    if NUMBER not in (found := crashpad.streams(data)):
        return None
    at, size = found[NUMBER]
    errors: list[Any] = json.loads(data[at : at + size])
    assert errors
    return errors


def gaps_of(report: md.report.DumpReport) -> list[Any]:
    """What is expected of the gaps of a report."""
    return [
        {gap.reason.name: {"address": f"{gap.address:#x}", "size": gap.size, "errno": gap.errno or 0}}
        for gap in report.missing
    ]


def piped(target: fake.Target, kind: md.DumpType) -> bytes:
    """The dump, through a pipe: nothing can be filled in later."""
    end, output = os.pipe()
    parts: list[bytes] = []

    def drain() -> None:
        with open(end, "rb") as stream:
            parts.append(stream.read())

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        fake.write(target, output, kind)
    finally:
        os.close(output)
        reader.join()
    return parts[0]


@pytest.mark.parametrize("kind", [NORMAL, FULL])
def test_a_complete_dump_says_nothing(tmp_path: Path, kind: md.DumpType) -> None:
    report = fake.write(with_threads(2, Region(base=0x1000_0000, size=4 * PAGE)), tmp_path / "x.dmp", kind)
    assert report.complete and soft_errors((tmp_path / "x.dmp").read_bytes()) is None


@pytest.mark.linux  # gaps hold error numbers of the system
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(holes=st.lists(st.booleans(), min_size=1, max_size=40), names=st.booleans())
def test_gaps_of_reads_are_said_where_the_file_can_be_corrected(tmp_path: Path, holes: list[bool], names: bool) -> None:
    """With and without other soft errors, which have the stream a place before memory is read."""
    regions = [
        Region(base=0x1000_0000 + at * 16 * PAGE, size=8 * PAGE,
               unreadable=(0x1000_0000 + (at * 16 + 3) * PAGE, 0x1000_0000 + (at * 16 + 5) * PAGE) if hole else (0, 0))
        for at, hole in enumerate(holes)
    ]  # fmt: skip
    target = with_threads(2, *regions)
    lost = Thread(tid=999, flags=1) if names else None  # MDC_THREAD_NO_REGISTERS
    if lost is not None:
        target = fake.dataclasses.replace(target, threads=(*target.threads, lost))
    others = [] if lost is None else [{"NO_THREAD_REGISTERS": {"thread": 999}}, {"NO_THREAD_STACK": {"thread": 999}}]
    path = tmp_path / "x.dmp"
    report = fake.write(target, path, FULL)
    assert sum(gap.size for gap in report.missing) == sum(holes) * 2 * PAGE
    assert soft_errors(path.read_bytes()) == (gaps_of(report) + others or None)
    assert report.file_bytes == path.stat().st_size
    live.assert_accepted(path, report, only=["minidump", "udmp-parser"])
    assert soft_errors(piped(target, FULL)) == (others or None)


@pytest.mark.linux
def test_of_very_many_gaps_the_rest_is_counted(tmp_path: Path) -> None:
    regions = [
        Region(base=0x1000_0000 + at * 16 * PAGE, size=2 * PAGE,
               unreadable=(0x1000_0000 + at * 16 * PAGE, 0x1000_0000 + (at * 16 + 1) * PAGE))
        for at in range(1005)
    ]  # fmt: skip
    report = fake.write(with_threads(1, *regions), tmp_path / "x.dmp", FULL)
    found = soft_errors((tmp_path / "x.dmp").read_bytes())
    assert found is not None and found[:1000] == gaps_of(report)[:1000]
    assert found[1000:] == [{"MORE_GAPS": 5}]


@pytest.mark.linux
def test_beyond_the_offsets_of_the_format_nothing_is_said(tmp_path: Path) -> None:
    """The gap stream, whose tail may be anywhere, has them all the same."""
    low = md.EngineOptions(limit32=1 << 16)
    hole = Region(base=0x1000_0000, size=64 * PAGE, unreadable=(0x1000_1000, 0x1000_2000))
    report = fake.write(with_threads(1, hole), tmp_path / "x.dmp", FULL, options=low)
    assert report.missing and soft_errors((tmp_path / "x.dmp").read_bytes()) is None


def test_warnings_by_name(tmp_path: Path) -> None:
    target = with_threads(1, Region(base=0x1000_0000, size=PAGE))
    report = fake.write(target, tmp_path / "x.dmp", NORMAL | md.DumpType.WITH_UNLOADED_MODULES)
    assert report.warnings == md.report.DumpWarning.TYPE
    assert soft_errors((tmp_path / "x.dmp").read_bytes()) == ["TYPE"]
    none = md.Filter(threads={"exclude": [thread.tid for thread in target.threads]})
    report = fake.write(target, tmp_path / "x.dmp", NORMAL, filter=none)
    assert report.warnings == md.report.DumpWarning.NO_THREADS
    assert soft_errors((tmp_path / "x.dmp").read_bytes()) == ["NO_THREADS"]


def test_every_warning_of_the_native_engine_has_its_name(tmp_path: Path) -> None:
    """The numbers and names of the C table are those of the report."""
    text = (Path(__file__).resolve().parents[2] / "csrc/engine/streams/soft_errors.c").read_text()
    foreign = {"BOTH_LISTS"}  # of an existing dump, which keeps what its writer has said
    foreign |= {
        "NO_RESIDENCY",
        "NO_REGION_CALLBACKS",
        "NO_MEMORY_CALLBACKS",
        "NO_VM_CALLBACKS",
        "FILLED",
        "NOT_STOPPED",
    }
    foreign |= {
        "STOP",
        "STOP_MEMORY",
        "ZOMBIE",
        "VALUES_UNKNOWN",
    }  # of the target and the time, not of what the dump holds
    for warning in md.report.DumpWarning:
        assert (f'"{warning.name}"' in text) is (warning.name not in foreign), warning.name
