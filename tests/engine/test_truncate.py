"""`on_limit="truncate"`: when the stop has to end, what matters most is in the dump, and the rest is told."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import fake
import file_rules
import live
import pytest
import readers
from fake import PAGE, Region, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import FULL, NORMAL, STACKS, with_threads
from test_budget import pages, pieces, pointing_at_heap, target
from test_oracles_fake import RANGES, assert_content, regions

import minidump_cffi as md

HEAP, MAPPED = 0x10000000, 0x20000000
GAP = md.report.GapReason
SOON = 1e-6
"""A stop that is over when it begins: what is read first is in the dump, and nothing else that needs it."""


def not_reached(report: md.DumpReport) -> list[tuple[int, int]]:
    """What was left out for lack of time."""
    return [(gap.address, gap.address + gap.size) for gap in report.gaps if gap.reason is GAP.TRUNCATED]


def limits(batch: int, **more: int) -> md.EngineOptions:
    """So many pages are read at a time."""
    return md.EngineOptions(buffer_bytes=batch * PAGE, **more)


def unused(folder: Path) -> Path:
    """Where no dump was: readers keep files open, and Windows replaces none that is."""
    return Path(tempfile.mkdtemp(dir=folder)) / "d.dmp"


def size(ranges: Any) -> int:
    """Bytes of them."""
    return sum(end - first for first, end in ranges)


def test_memory_is_copied_by_priority(tmp_path: Path) -> None:
    """Page by page more time: the first thread's stack, the others', the heap, then the rest."""
    made, known = target(), set[int]()
    seen: list[str] = []
    for batch in range(1, 170, 3):
        path = unused(tmp_path)
        report = fake.write(made, path, FULL, max_stop=SOON, on_limit="truncate", options=limits(batch))
        held = pages(pieces(path))
        assert len(held) == min(batch, 16 + 3 * 4 + 128)
        assert known <= held
        seen += {
            "main" if STACKS <= page < STACKS + 4 * PAGE
            else "stack" if page >= STACKS else "heap" if HEAP <= page < MAPPED else "rest"
            for page in held - known
        }  # fmt: skip
        known = held
        assert size(not_reached(report)) + len(held) * PAGE == report.memory_bytes
        assert report.complete is not bool(not_reached(report))
        assert bool(report.warnings & md.report.DumpWarning.TRUNCATED) is not report.complete
        assert report.stored_bytes == len(held) * PAGE
        if batch % 9 == 1:
            live.assert_accepted(path, report, ["udmp-parser", "minidump", "lldb"] if batch == 10 else ["minidump"])
    order = [seen.index(word) for word in ("main", "stack", "heap", "rest")]
    assert order == sorted(order)
    assert report.complete


def test_stacks_stay_whole(tmp_path: Path) -> None:
    """A thread refers to one range, which is all of its part, when that was reached."""
    made, path = target(), tmp_path / "d.dmp"
    why = md.SignalInfo(tid=102, signal=11)
    whole = fake.write(made, tmp_path / "whole.dmp", FULL, exception=why)
    report = fake.write(made, path, FULL, exception=why, max_stop=SOON, on_limit="truncate", options=limits(6))
    sizes = {thread.tid: thread.stack_size for thread in report.threads}
    assert sizes == {100: 2 * PAGE, 101: 0, 102: whole.threads[2].stack_size}
    assert file_rules.broken_rules(path) == []
    assert_content(made, path)


def test_time_passes_while_memory_is_read(tmp_path: Path) -> None:
    """Each batch of four pages takes 2 ms, and there are 60 for all: the heap is not reached as a whole."""
    plain, path = with_threads(2, Region(base=HEAP, size=800 * PAGE)), tmp_path / "d.dmp"
    made = Target(regions=plain.regions, threads=plain.threads, modules=plain.modules, read_us=2000)
    report = fake.write(made, path, FULL, max_stop=0.06, on_limit="truncate", options=limits(4))
    held = pages(pieces(path))
    assert 4 < len(held) < 40 * 4
    assert size(not_reached(report)) + len(held) * PAGE == report.memory_bytes
    assert_content(plain, path)
    live.assert_accepted(path, report, ["udmp-parser", "minidump"])
    path = unused(tmp_path)
    assert fake.write(made, path, FULL, max_stop=60, on_limit="truncate", options=limits(400)).complete


def test_priorities_of_rules(tmp_path: Path) -> None:
    """What a rule gives a priority above that of stacks comes before them."""
    made, path = target(), tmp_path / "d.dmp"
    keep = md.Filter(md.include(range=(MAPPED + 8 * PAGE, MAPPED + 10 * PAGE), priority=95))
    options: dict[str, Any] = {"filter": keep, "on_limit": "truncate", "max_stop": SOON}
    fake.write(made, path, FULL, **options, options=limits(2))
    assert pages(pieces(path)) == {MAPPED + 8 * PAGE, MAPPED + 9 * PAGE}
    report = fake.write(made, path, FULL, **options, options=limits(6))
    assert pages(pieces(path)) == {MAPPED + 8 * PAGE, MAPPED + 9 * PAGE, *range(STACKS, STACKS + 4 * PAGE, PAGE)}
    whole = fake.write(made, tmp_path / "whole.dmp", FULL, filter=keep)
    assert [(rule.kept, rule.excluded) for rule in report.rules] == [(rule.kept, rule.excluded) for rule in whole.rules]


def test_what_needs_no_stop_stays(tmp_path: Path) -> None:
    """Memory that was never touched is in the file as ever, and is no gap."""
    fresh = Region(base=HEAP, size=64 * PAGE, touch_every=0, flags=int(md.report.RegionFlags.UNTOUCHED))
    made, path = with_threads(2, fresh, Region(base=MAPPED, size=64 * PAGE)), tmp_path / "d.dmp"
    told: dict[str, Any] = {"untouched": "hole", "options": limits(8, hole_min=PAGE)}
    report = fake.write(made, path, FULL, max_stop=SOON, on_limit="truncate", **told)
    held = pages(pieces(path))
    assert {HEAP + at * PAGE for at in range(64)} <= held
    assert size(not_reached(report)) == (64 + 16) * PAGE
    assert report.regions[1].untouched == 64 * PAGE
    assert_content(made, path)
    live.assert_accepted(path, report, ["udmp-parser", "minidump"])


def test_with_a_budget(tmp_path: Path) -> None:
    """What is over the budget is told apart from what was not reached; the file is not longer, with all gaps."""
    made, path = target(), tmp_path / "d.dmp"
    whole = fake.write(made, tmp_path / "whole.dmp", FULL)
    for most in (330_000, 500_000):
        report = fake.write(made, path, FULL, max_bytes=most, max_stop=SOON, on_limit="truncate", options=limits(20))
        held = pages(pieces(path))
        assert path.stat().st_size == report.file_bytes <= most
        assert len(held) == 20 and report.over_budget
        assert size(not_reached(report)) + 20 * PAGE + report.over_budget == whole.memory_bytes
        assert file_rules.broken_rules(path) == []
        assert_content(made, path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=regions(),
    excluded=st.lists(RANGES, max_size=2),
    ranked=st.lists(st.tuples(RANGES, st.integers(0, 100)), max_size=3),
    type=st.sampled_from([NORMAL, FULL, FULL]),
    batch=st.integers(1, 60),
    stop=st.sampled_from(["whole", "memory"]),
    untouched=st.sampled_from(["auto", "hole", "omit"]),
    redact=st.booleans(),
    gaps=st.sampled_from([0, 0, 0, 5]),
    slots=st.sampled_from([0, 1]),
    most=st.sampled_from([None, None, 600_000]),
)
def test_any_target(
    made: tuple[Region, ...],
    excluded: list[tuple[int, int]],
    ranked: list[tuple[tuple[int, int], int]],
    type: md.DumpType,
    batch: int,
    stop: str,
    untouched: str,
    redact: bool,
    gaps: int,
    slots: int,
    most: int | None,
    tmp_path: Path,
) -> None:
    """Random targets with pages that fail, and filters: a sound dump, which holds what it says and tells the rest."""
    program = with_threads(3, *made)
    keep = md.Filter(
        *(md.include(range=pair, priority=priority) for pair, priority in ranked),
        *(md.exclude(range=pair) for pair in excluded),
        redact=md.Redact(patterns=[b"/opt/none"] if redact else []),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", md.FilterWarning)  # a range may hide another
        keep.compile()
    options: dict[str, Any] = {
        "filter": keep,
        "untouched": untouched,
        "max_bytes": most,
        "options": limits(batch, hole_min=2 * PAGE, gaps_max=gaps, spare_slots=slots),
    }
    path, whole = unused(tmp_path), tmp_path / "whole.dmp"
    try:
        plain = fake.write(program, whole, type, **options)
    except md.BudgetTooSmall:
        return
    report = fake.write(program, path, type, max_stop=SOON, on_limit="truncate", stop=stop, **options)
    assert path.stat().st_size == report.file_bytes <= (most or 1 << 40)
    assert file_rules.broken_rules(path) == []
    readers.assert_accepted_counts(path, live.expected_counts(report), ["udmp-parser", "minidump"])
    if not any(region.unreadable[1] for region in made) or not slots:
        assert_content(program, path)
    lost, held = not_reached(report), pieces(path)
    assert [region.kept for region in report.regions] == [region.kept for region in plain.regions] or most
    if gaps or most:
        return
    assert report.complete is (plain.complete and not lost)
    # Together they are the dump that has all, and they are apart from each other.
    failed = [(gap.address, gap.address + gap.size) for gap in plain.gaps if gap.reason is not GAP.TRUNCATED]
    assert pages(held) | pages(lost) | pages(failed) >= pages(pieces(whole))
    assert not pages(lost) & pages(held) or type == NORMAL
    assert size(lost) + size(held) <= size(pieces(whole)) + size(failed)
    # The thread that crashed is there, unless what was read first had to be read again page by page.
    if not ranked and batch >= 4 and not excluded and not failed:
        assert report.threads[0].stack_size == plain.threads[0].stack_size
    # Nothing is missing that mattered more than something that was read.
    used = {STACKS + number * 64 * PAGE + 3 * PAGE for number in range(3)}  # from the stack pointers up
    if pages(lost) & used and not ranked:
        read = {page for page in pages(held) if HEAP <= page < STACKS}
        holes = {
            page
            for extent in report.extents
            if extent.flags & (md.report.ExtentFlags.HOLE | md.report.ExtentFlags.OMITTED)
            for page in range(extent.address & -PAGE, extent.address + extent.size, PAGE)
        }
        assert not read - holes


def test_what_registers_point_to_comes_before_the_heap(tmp_path: Path) -> None:
    made, there = pointing_at_heap()
    path = tmp_path / "d.dmp"
    report = fake.write(made, path, FULL, max_stop=SOON, on_limit="truncate", options=limits(3))
    assert pages(pieces(path)) == {STACKS, STACKS + PAGE, there & -PAGE}
    assert file_rules.broken_rules(path) == []
    assert size(not_reached(report)) == (63 + 16) * PAGE


def test_redacted_bytes_stay_redacted_where_the_copy_ends(tmp_path: Path) -> None:
    """Bytes that are held back for a pattern are written when the time is over, and were searched."""
    made, path = target(), tmp_path / "d.dmp"
    secret = made.bytes(STACKS + 3 * PAGE + 100, 24)
    keep = md.Filter(redact=md.Redact(patterns=[secret]))
    report = fake.write(made, path, FULL, filter=keep, max_stop=SOON, on_limit="truncate", options=limits(4))
    held = pages(pieces(path))
    assert held == set(range(STACKS, STACKS + 4 * PAGE, PAGE))
    assert secret not in path.read_bytes()
    assert report.redaction is not None and report.redaction.hits == 1


def test_outputs_that_cannot_be_corrected(tmp_path: Path) -> None:
    """They are refused before the stop, and get no byte."""
    reader, writer = os.pipe()
    held = io.BytesIO()
    try:
        for output in (writer, held):
            with pytest.raises(md.SinkError, match=r'on_limit="truncate": .* that is spooled'):
                fake.write(target(), output, FULL, max_stop=SOON, on_limit="truncate", spool=False)
    finally:
        os.close(writer)
        assert os.read(reader, 1) == b""
        os.close(reader)
    assert held.getvalue() == b""
    report = fake.write(target(), held, FULL, max_stop=SOON, on_limit="truncate", options=limits(4))
    assert len(held.getvalue()) == report.file_bytes and not report.complete


def test_wrong_values(tmp_path: Path) -> None:
    path = tmp_path / "d.dmp"
    with pytest.raises(ValueError, match="on_limit must be one of fail, truncate, not 'shorten'"):
        fake.write(target(), path, max_stop=1.0, on_limit="shorten")
    with pytest.raises(ValueError, match=r'on_limit="truncate" says what .* give max_stop'):
        fake.write(target(), path, on_limit="truncate")
    assert fake.names(tmp_path) == []
    fake.write(target(), path, FULL)
    report = md.write_dump(md.DumpFile(path), tmp_path / "copy.dmp", max_stop=SOON, on_limit="truncate")
    assert report.complete
    assert any("on_limit has no effect" in message for message in report.messages)


def test_dbghelp_refuses_it() -> None:
    from minidump_cffi._options import DumpOptions
    from minidump_cffi._request import Request
    from minidump_cffi.engines import Backend

    with pytest.raises(md.DumpError, match=r'on_limit.*give engine="native"'):
        Request(DumpOptions(max_stop=1.0, on_limit="truncate"), Backend(name="dbghelp"))
