"""A dump that waited in memory until the threads ran holds the bytes of one that was written while they did not."""

from __future__ import annotations

import io
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import pytest
from fake import PAGE, Region
from test_same_bytes import STAMP, TYPES, filters, target

import minidump_cffi as md

pytestmark = pytest.mark.linux  # gaps hold error numbers of the system
FULL = md.DumpType.WITH_FULL_MEMORY
KIB = 1 << 10
LEAST = 256 * KIB  # what is reserved at least
NAMES = ("all", "rules", "redacted", "both")


def into_memory(target: fake.Target, type: int, **options: Any) -> tuple[md.DumpReport, bytes]:
    """The report and the file."""
    file = io.BytesIO()
    return fake.write(target, file, type, **options), file.getvalue()


def into_a_pipe(target: fake.Target, type: int, **options: Any) -> tuple[md.DumpReport, bytes]:
    """What a reader of a stream gets."""
    reader, writer = os.pipe()
    found: list[bytes] = []

    def drain() -> None:
        with open(reader, "rb") as stream:
            found.append(stream.read())

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        report = fake.write(target, writer, type, spool=False, **options)
    finally:
        os.close(writer)
        thread.join()
    return report, found[0]


WAYS: dict[str, Callable[..., tuple[md.DumpReport, bytes]]] = {"memory": into_memory, "pipe": into_a_pipe}


def without_time(data: bytes) -> bytes:
    """The file, but for its time stamp."""
    return data[: STAMP.start] + data[STAMP.stop :]


def compared(report: md.DumpReport) -> dict[str, Any]:
    """What the two reports have in common."""
    told = report.to_dict()
    passing = {
        "started",
        "stop",
        "stop_seconds",
        "handed_on_seconds",
        "total_seconds",
        "warnings",
        "messages",
        "callbacks",
        "stop_reason",
    }
    return {key: value for key, value in told.items() if key not in passing}


def large(pages: int = 256, **changes: Any) -> fake.Target:
    """More than the least that is reserved."""
    plain = fake.small()
    extra = (
        Region(base=0x1000_0000, size=pages * PAGE, zero_every=3),
        Region(base=0x2000_0000, size=pages * PAGE, touch_every=5, flags=int(md.report.RegionFlags.UNTOUCHED)),
        Region(base=0x3000_0000, size=16 * PAGE, unreadable=(0x3000_2000, 0x3000_5000)),
    )
    return fake.small(regions=(*plain.regions, *extra), **changes)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "rules"), list(itertools.product(TYPES, NAMES)))
def test_the_same_bytes(kind: str, rules: str, way: str) -> None:
    options = {"type": TYPES[kind], "filter": filters(target())[rules]}
    whole, expected = WAYS[way](target(), **options)
    kept, found = WAYS[way](target(), stop="memory", **options)
    assert without_time(found) == without_time(expected)
    assert (whole.stop, kept.stop) == ("whole", "memory")
    assert kept.warnings == whole.warnings
    assert compared(kept) == compared(whole)


@pytest.mark.parametrize("buffer", [4 * KIB, 64 * KIB, 0])
@pytest.mark.parametrize("bound", [LEAST, LEAST + 123, 512 * KIB, 0])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_too_much_is_written_at_once(way: str, bound: int, buffer: int) -> None:
    kind = FULL | md.DumpType.IGNORE_INACCESSIBLE_MEMORY
    engine = md.EngineOptions(buffer_bytes=buffer)
    limited = md.EngineOptions(buffer_bytes=buffer, stop_memory=bound)
    whole, expected = WAYS[way](large(), type=kind, options=engine)
    kept, found = WAYS[way](large(), type=kind, options=limited, stop="memory")
    assert without_time(found) == without_time(expected)
    assert kept.stop == "memory"
    assert (md.report.DumpWarning.STOP_MEMORY in kept.warnings) == (0 < bound < len(found) // 2)
    assert compared(kept) == compared(whole)


def test_pieces_of_a_few_bytes_are_too_many_for_the_list() -> None:
    """Each takes as much room in the list as it has bytes."""
    pages = 6000
    shown = fake.small(regions=(*fake.small().regions, Region(base=0x1000_0000, size=pages * PAGE, zero_every=2)))
    add = [(0x1000_0000 + page * PAGE + 64, 0x1000_0000 + page * PAGE + 80) for page in range(pages)]
    wanted = md.Filter(memory={"add": add}, redact=md.Redact(patterns=[bytes(range(1, 17))]))
    _, expected = into_memory(shown, md.DumpType.NORMAL, filter=wanted)
    assert len(expected) < LEAST - 8 * KIB  # the bytes alone would fit
    limited = md.EngineOptions(stop_memory=LEAST)
    kept, found = into_memory(shown, md.DumpType.NORMAL, filter=wanted, options=limited, stop="memory")
    assert without_time(found) == without_time(expected)
    assert md.report.DumpWarning.STOP_MEMORY in kept.warnings


def test_pages_of_zeros_stay_holes(tmp_path: Path) -> None:
    shown = fake.small(regions=(*fake.small().regions, Region(base=0x1000_0000, size=1024 * PAGE, zero_every=2)))
    sizes = {}
    for stop in ("whole", "memory"):
        path = tmp_path / stop
        report = fake.write(shown, path, FULL, stop=stop)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        sizes[stop] = path.stat().st_blocks
        assert sum(region.zeros for region in report.regions) == 512 * PAGE
    assert sizes["memory"] == sizes["whole"]
    assert sizes["memory"] * 512 < 800 * PAGE


def test_less_than_is_worth_it_is_not_reserved() -> None:
    report, found = into_memory(large(), FULL, stop="memory", options=md.EngineOptions(stop_memory=64 * KIB))
    assert report.stop == "whole"
    assert md.report.DumpWarning.STOP in report.warnings
    assert any("could not be reserved" in message for message in report.messages)
    assert without_time(found) == without_time(into_memory(large(), FULL)[1])
