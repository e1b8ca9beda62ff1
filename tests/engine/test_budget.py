"""`max_bytes`: no dump is larger, what matters most is in it, and every byte that is left out is told."""

from __future__ import annotations

import gzip
import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake
import file_rules
import live
import pytest
import readers
from fake import PAGE, Module, Region, Target, Thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import FULL, IMAGE, NORMAL, STACKS, with_threads
from test_oracles_fake import RANGES, assert_content, regions

import minidump_cffi as md

HEAP, MAPPED = 0x10000000, 0x20000000
GAP = md.report.GapReason


def pieces(path: Path) -> list[tuple[int, int]]:
    """Addresses [first, end) of the memory that is in a dump."""
    with file_rules.DumpFile(path) as dump:
        return sorted((item.address, item.address + item.size) for item in dump.ranges())


def pages(ranges: Any) -> set[int]:
    """The pages they touch."""
    return {page for first, end in ranges for page in range(first & -PAGE, end, PAGE)}


def budget_gaps(report: md.DumpReport) -> list[tuple[int, int]]:
    """What was left out for lack of room."""
    return [(gap.address, gap.address + gap.size) for gap in report.gaps if gap.reason is GAP.BUDGET]


def target() -> Target:
    """Three threads with stacks, a heap, a read-only file map."""
    return with_threads(
        3,
        Region(base=HEAP, size=64 * PAGE, name=b"[heap]", kinds=md.filters.Kind.HEAP),
        Region(
            base=MAPPED,
            size=64 * PAGE,
            name=b"/data/table",
            type=md.filters.MemoryType.MAPPED,
            kinds=md.filters.Kind.FILE,
            protect=md.filters.MemoryProtect.READONLY,
        ),
        depth=3 * PAGE,
    )


def least(made: Target, type: int = FULL, **options: Any) -> int:
    """The smallest budget that is not refused."""
    with pytest.raises(md.BudgetTooSmall) as caught:
        fake.write(made, io.BytesIO(), type, max_bytes=1, **options)
    return caught.value.least_bytes


def test_memory_is_spent_by_priority(tmp_path: Path) -> None:
    """Page by page more room: the first thread's stack, the others', the heap, then the rest."""
    made, path = target(), tmp_path / "d.dmp"
    floor = least(made)
    seen: list[str] = []
    known: set[int] = set()
    for room in range(0, 160, 3):
        report = fake.write(made, path, FULL, max_bytes=floor + room * PAGE)
        assert path.stat().st_size == report.file_bytes <= floor + room * PAGE
        held = pages(pieces(path))
        assert known <= held  # more room never costs what was there with less
        new = held - known
        known = held
        seen += {
            "main" if STACKS <= page < STACKS + 4 * PAGE
            else "stack" if page >= STACKS else "heap" if HEAP <= page < MAPPED else "rest"
            for page in new
        }  # fmt: skip
        assert report.over_budget == sum(end - first for first, end in budget_gaps(report))
        assert report.complete is not bool(report.over_budget)
    order = [seen.index(word) for word in ("main", "stack", "heap", "rest")]
    assert order == sorted(order)
    assert report.complete
    live.assert_accepted(path, report)


@pytest.mark.parametrize("crashed", [100, 102])
def test_the_stack_of_the_thread_that_crashed_comes_first(crashed: int, tmp_path: Path) -> None:
    """Its stack whole before a page of another; then a page of each of the others, nearest to its stack pointer."""
    made, path = target(), tmp_path / "d.dmp"
    why = md.SignalInfo(tid=crashed, signal=11)
    floor = least(made, NORMAL, exception=why)
    stacks = {100 + number: STACKS + number * 64 * PAGE for number in range(3)}
    for room, own, others in ((2, 1, 0), (3, 2, 0), (5, 4, 0), (6, 4, 1), (7, 4, 2)):
        report = fake.write(made, path, NORMAL, exception=why, max_bytes=floor + room * PAGE)
        held = pages(pieces(path))
        assert report.file_bytes <= floor + room * PAGE
        mine = [page for page in held if stacks[crashed] <= page < stacks[crashed] + 4 * PAGE]
        assert len(mine) >= own, (room, sorted(map(hex, held)))
        rest = [page for page in held if page >= STACKS and page not in mine]
        assert len(rest) >= others
        if rest:
            assert len(mine) == 4
            assert set(rest[:2]) <= set(stacks.values()) or len(rest) > 2


def pointing_at_heap() -> tuple[Target, int]:
    """A thread whose instruction pointer is in a page of a heap of 64 pages, and where."""
    heap = Region(base=HEAP, size=64 * PAGE, name=b"[heap]", kinds=md.filters.Kind.HEAP)
    there = HEAP + 41 * PAGE + 0x200
    stack = Region(base=STACKS, size=2 * PAGE, name=b"[stack]")
    made = Target(
        regions=(IMAGE, heap, stack),
        threads=(Thread(tid=100, stack_pointer=STACKS + 0x200, instruction_pointer=there),),
    )
    return made, there


def test_what_registers_and_stacks_point_to_comes_before_the_heap(tmp_path: Path) -> None:
    """The instruction pointers of the threads lead to a page of the heap, which has more than there is room for."""
    made, there = pointing_at_heap()
    path = tmp_path / "d.dmp"
    floor = least(made)
    fake.write(made, path, FULL, max_bytes=floor + 5 * PAGE)
    held = pages(pieces(path))
    assert {STACKS, STACKS + PAGE, there & -PAGE} <= held
    assert len(held & set(range(HEAP, HEAP + 64 * PAGE, PAGE))) < 4


def test_priorities_of_rules(tmp_path: Path) -> None:
    """A rule's priority counts for the memory it is the last to match; equal ones go by address."""
    made, path = target(), tmp_path / "d.dmp"
    rules = (
        md.include(kind="heap", priority=0),
        md.include(range=(HEAP + 8 * PAGE, HEAP + 10 * PAGE), priority=100, label="wanted"),
        md.include(name="/data/*", priority=95),
    )
    keep = md.Filter(*rules)
    floor = least(made, filter=keep)
    report = fake.write(made, path, FULL, filter=keep, max_bytes=floor + 10 * PAGE)
    held = pages(pieces(path))
    assert {HEAP + 8 * PAGE, HEAP + 9 * PAGE, MAPPED, MAPPED + PAGE} <= held
    assert not any(page >= STACKS for page in held)
    kept, over = [rule.kept for rule in report.rules], [rule.over_budget for rule in report.rules]
    assert kept[:3] == [62 * PAGE, 2 * PAGE, 64 * PAGE]
    assert over[0] == 62 * PAGE and over[1] == 0 and 0 < over[2] < 64 * PAGE
    assert sum(over) == report.over_budget
    more = fake.write(made, path, FULL, filter=keep, max_bytes=floor + (64 + 20) * PAGE)
    assert any(page >= STACKS for page in pages(pieces(path)))
    assert more.rules[0].over_budget == 62 * PAGE
    assert md.Filter.from_toml(keep.to_toml()) == keep


def test_wrong_priorities() -> None:
    for wrong in (-1, 101, True, "high", 1.5):
        with pytest.raises(md.FilterError, match="priority: expected a number from 0 to 100"):
            md.include(kind="heap", priority=wrong)  # type: ignore[arg-type]
    with pytest.raises(md.FilterError, match="of what is excluded nothing is kept"):
        md.exclude(kind="heap", priority=5)


def test_wrong_budgets() -> None:
    for wrong, kind in ((0, ValueError), (-5, ValueError), ("5 XB", ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="max_bytes"):
            fake.plan(fake.small(), max_bytes=wrong)
    assert fake.plan(fake.small(), max_bytes="5 MiB").complete


def test_a_dump_that_fits_is_the_same() -> None:
    made, one, other = fake.small(), io.BytesIO(), io.BytesIO()
    report = fake.write(made, one, FULL, untouched="omit")
    assert report.complete
    fake.write(made, other, FULL, max_bytes=report.file_bytes + 64 * 24)  # gaps may still be found
    alike = [data.getvalue()[:20] + data.getvalue()[24:] for data in (one, other)]  # without the time stamp
    assert alike[0] == alike[1]


STREAMS = st.lists(st.integers(0, 9000), max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=regions(),
    excluded=st.lists(RANGES, max_size=2),
    ranked=st.lists(st.tuples(RANGES, st.integers(0, 100)), max_size=3),
    streams=STREAMS,
    type=st.sampled_from([NORMAL, FULL, FULL]),
    room=st.integers(-2 * PAGE, 200 * PAGE),
    output=st.sampled_from(["path", "object", "pipe"]),
    gaps=st.sampled_from([0, 0, 3, 40]),
    redact=st.booleans(),
)
def test_no_dump_is_larger(
    made: tuple[Region, ...],
    excluded: list[tuple[int, int]],
    ranked: list[tuple[tuple[int, int], int]],
    streams: list[int],
    type: md.DumpType,
    room: int,
    output: str,
    gaps: int,
    redact: bool,
    tmp_path: Path,
) -> None:
    """Random targets with pages that fail, filters, streams and outputs: see the promises below."""
    target = with_threads(3, *made)
    rules = [md.include(range=pair, priority=priority) for pair, priority in ranked]
    keep = md.Filter(
        *rules,
        *(md.exclude(range=pair) for pair in excluded),
        redact=md.Redact(patterns=[b"/opt/app"] if redact else []),
    )
    options: dict[str, Any] = {
        "filter": keep,
        "untouched": "omit",
        "user_streams": [md.UserStream(type=0x20000 + at, data=bytes(size)) for at, size in enumerate(streams)],
        "options": md.EngineOptions(gaps_max=gaps, hole_min=4096),
        "names": "ascii" if redact else "unicode",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", md.FilterWarning)  # a range may hide another
        keep.compile()
    options["spool"] = output != "pipe"
    floor = least(target, type, **options)
    path = tmp_path / f"{len(fake.names(tmp_path))}.dmp"
    most, held = floor + room, io.BytesIO()
    file: Any = path if output == "path" else held
    before = fake.names(tmp_path)
    if room < 0:
        with pytest.raises(md.BudgetTooSmall, match=rf"{floor:,} bytes without any memory"):
            fake.write(target, file, type, max_bytes=most, **options)
        assert fake.names(tmp_path) == before  # and nothing is left
        return
    report = fake.write(target, file, type, max_bytes=most, **options)
    if output != "path":
        path.write_bytes(held.getvalue())
    # Never larger, whatever was found while it was written.
    assert path.stat().st_size <= most
    assert report.file_bytes == path.stat().st_size
    # A dump like any other.
    assert file_rules.broken_rules(path) == []
    readers.assert_accepted_counts(path, live.expected_counts(report), ["udmp-parser", "minidump"])
    if not redact and not (output == "pipe" and any(region.unreadable[1] for region in made)):
        assert_content(target, path)
    # What is not over the budget is what a dump without one has.
    whole = tmp_path / f"{len(fake.names(tmp_path))}.dmp"
    plain = fake.write(target, whole, type, **options)
    cut = budget_gaps(report)
    assert report.over_budget == sum(end - first for first, end in cut) or gaps
    assert report.memory_bytes + report.over_budget == plain.memory_bytes
    assert [region.kept + region.over_budget for region in report.regions] == [region.kept for region in plain.regions]
    if not gaps:
        assert pages(pieces(path)) | pages(cut) >= pages(pieces(whole))
        assert not pages(pieces(path)) & pages(cut) or type == NORMAL
    assert [(rule.kept, rule.excluded) for rule in report.rules] == [(rule.kept, rule.excluded) for rule in plain.rules]
    assert sum(rule.over_budget for rule in report.rules) == report.over_budget
    assert report.complete is (plain.complete and not report.over_budget)
    # Room is used: not more than some pages are left where something is missing.
    if report.over_budget and not gaps and type == FULL and not any(region.unreadable[1] for region in made):
        assert path.stat().st_size > most - 8 * PAGE - 64 * 24


@pytest.mark.parametrize("spool", [True, False], ids=["file", "stream"])
def test_more_pages_fail_than_there_is_room_to_tell(spool: bool) -> None:
    """The last gap covers those for which the budget has no entry; a stream cannot even leave their bytes out."""
    bad = tuple(
        Region(base=at, size=4 * PAGE, unreadable=(at + PAGE, at + 2 * PAGE))
        for at in range(HEAP, HEAP + 300 * 8 * PAGE, 8 * PAGE)
    )
    made = with_threads(1, *bad)
    # Just enough for all of it, if nothing failed: then for no more than the gaps that are reserved.
    whole = fake.plan(made, FULL, untouched="omit").file_bytes
    for most in (whole + 64 * 24, whole + 100 * 24, whole - 40 * PAGE):
        held = io.BytesIO()
        report = fake.write(made, held, FULL, max_bytes=most, spool=spool)
        assert len(held.getvalue()) == report.file_bytes <= most
        assert not report.complete
        assert report.warnings & md.report.DumpWarning.GAP_TABLE_FULL
        told = [(gap.address, gap.address + gap.size) for gap in report.gaps]
        for region in bad:
            assert any(first <= region.unreadable[0] and region.unreadable[1] <= end for first, end in told)


@pytest.mark.parametrize("type", [FULL, NORMAL, md.DumpType.WITH_PRIVATE_READ_WRITE_MEMORY])
@pytest.mark.parametrize("source", ["process", "dump"])
def test_no_part_of_a_pattern_is_left_beside_what_was_cut(type: int, source: str, tmp_path: Path) -> None:
    """A pattern over every border of pages, one as long as a page: whatever is cut, what is left of it is hidden."""
    if source == "dump" and type == NORMAL:
        type = FULL  # all that it holds, under another type of the engine
    made = replace(target(), environ=(HEAP + 4 * PAGE - 40, 80))
    areas = [(region.base, region.size) for region in made.regions]
    borders = [page for base, size in areas for page in range(base + PAGE, base + size, PAGE)]
    secrets = [made.bytes(border - 8, 16) for border in borders]
    secrets.append(made.bytes(HEAP + 9 * PAGE - 1, 4096))
    places = [(border - 8, border + 8) for border in borders] + [(HEAP + 9 * PAGE - 1, HEAP + 10 * PAGE - 1)]
    path, whole = tmp_path / "d.dmp", tmp_path / "whole.dmp"
    fake.write(made, whole, FULL)
    options: dict[str, Any] = {"filter": md.Filter(redact=md.Redact(patterns=secrets))}

    def write(most: int) -> md.DumpReport:
        if source == "process":
            return fake.write(made, path, type, max_bytes=most, **options)
        return md.write_dump(md.DumpFile(whole), path, max_bytes=most, **options)

    with pytest.raises(md.BudgetTooSmall) as caught:
        write(1)
    halved = 0
    for room in (1, 3, 6, 9, 12, 20, 41, 77):
        report = write(caught.value.least_bytes + room * PAGE)
        assert report.redaction is not None and report.redaction.uncovered == 0
        with file_rules.DumpFile(path) as dump:
            for first, end in pieces(path):
                wanted = bytearray(made.bytes(first, end - first))
                for start, stop in places:
                    low, high = max(start, first), min(stop, end)
                    if low < high:
                        wanted[low - first : high - first] = b"X" * (high - low)
                        halved += high - low < stop - start
                assert dump.read_across(first, end - first) == wanted, (room, hex(first))
    assert halved >= 4 or type == NORMAL


@pytest.mark.parametrize("names", ["unicode", "ascii"])
@pytest.mark.parametrize(
    ("word", "pattern"),
    [("\xe9" * 50, "\xe9" * 50), ("\U0001f600" * 30, "\U0001f600"), ("aaa\U0001f600" * 14, b"aaa\xf0")],
    ids=["two bytes", "four bytes", "a part of a character"],
)
def test_hidden_names_are_measured_as_they_are_stored(
    word: str, pattern: str | bytes, names: str, tmp_path: Path
) -> None:
    """Bytes that are hidden may take more room than the character they were, or less if that is escaped."""
    named = Region(
        base=MAPPED,
        size=8 * PAGE,
        name=f"/data/{word}".encode(),
        type=md.filters.MemoryType.MAPPED,
        kinds=md.filters.Kind.FILE,
        protect=md.filters.MemoryProtect.READONLY,
    )
    files = tuple(replace(named, base=MAPPED + at * 16 * PAGE) for at in range(80))
    made, path = with_threads(1, *files), tmp_path / "d.dmp"
    modules = tuple(Module(base=region.base, size=region.size, path=region.name) for region in files)
    made = replace(made, modules=(*made.modules, *modules))
    keep = md.Filter(redact=md.Redact(patterns=[pattern]))
    plain = fake.write(made, path, FULL, filter=keep, names=names, untouched="omit")
    assert plain.redaction is not None and plain.redaction.hits >= 80
    without = fake.write(made, path, FULL, names=names, untouched="omit")
    assert abs(without.file_bytes - plain.file_bytes) >= PAGE  # or it would not matter
    floor = least(made, filter=keep, names=names)
    with pytest.raises(md.BudgetTooSmall) as caught:
        fake.plan(made, FULL, filter=keep, names=names, max_bytes=1)
    assert caught.value.least_bytes <= floor  # it has no exception stream and the like
    for most in (floor, floor + PAGE - 1, floor + 30 * PAGE, plain.file_bytes - PAGE, plain.file_bytes + 64 * 24):
        report = fake.write(made, path, FULL, filter=keep, names=names, max_bytes=most)
        assert path.stat().st_size == report.file_bytes <= most
        if most > floor + PAGE and report.over_budget:
            assert report.file_bytes > most - 8 * PAGE - 64 * 24
        assert file_rules.broken_rules(path) == []
    assert report.redaction == plain.redaction  # nothing is counted twice
    with pytest.raises(md.BudgetTooSmall):
        fake.write(made, path, FULL, filter=keep, names=names, max_bytes=floor - 1)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_not_larger_either(suffix: str, tmp_path: Path) -> None:
    """Even of what cannot be compressed; too small a budget says what would be enough of it."""
    if suffix == ".zst":
        pytest.importorskip("backports.zstd")
    made, path = target(), tmp_path / f"d.dmp{suffix}"
    for most in (60_000, 200_000, 400_000):
        report = fake.write(made, path, FULL, max_bytes=most)
        assert path.stat().st_size <= most
        assert report.over_budget
    with pytest.raises(md.BudgetTooSmall) as caught:
        fake.write(made, path, FULL, max_bytes=2_000)
    enough = caught.value.least_bytes
    assert fake.write(made, path, FULL, max_bytes=enough).over_budget
    with pytest.raises(md.BudgetTooSmall):
        fake.write(made, path, FULL, max_bytes=enough - 1)
    assert path.stat().st_size <= enough
    if suffix == ".gz":
        assert gzip.decompress(path.read_bytes()).startswith(b"MDMP")


def test_an_existing_dump_is_cut_too(tmp_path: Path) -> None:
    """And what it says of the budget stays, if it is filtered once more."""
    made, whole, small, again = target(), tmp_path / "a.dmp", tmp_path / "b.dmp", tmp_path / "c.dmp"
    fake.write(made, whole, FULL)
    report = md.write_dump(md.DumpFile(whole), small, max_bytes=300_000)
    assert small.stat().st_size <= 300_000
    assert file_rules.broken_rules(small) == []
    assert_content(made, small)
    held = pages(pieces(small))
    assert {page for page in pages(pieces(whole)) if page >= STACKS and page & 0x3FFFF < 4 * PAGE} <= held
    assert pages(budget_gaps(report)) == pages(pieces(whole)) - held
    copy = md.write_dump(md.DumpFile(small), again)
    assert budget_gaps(copy) == budget_gaps(report)
    plan = md.plan_dump(md.DumpFile(whole), max_bytes=300_000)
    assert plan.over_budget == report.over_budget and not plan.complete


def test_a_plan_says_what_would_be_missing() -> None:
    plan = fake.plan(target(), FULL, max_bytes=340_000)
    report = fake.write(target(), io.BytesIO(), FULL, max_bytes=340_000)
    assert plan.file_bytes <= 340_000 and not plan.complete
    assert abs(plan.over_budget - report.over_budget) <= PAGE  # it does not know whether the file can be patched
    verdicts = {region.path: region.verdict for region in plan.regions}
    assert verdicts["/data/table"] == "over-budget" and verdicts["[stack]"] == "kept"
    assert plan.to_dict()["over_budget"] == plan.over_budget
    assert {gap["reason"] for gap in plan.to_dict()["gaps"]} == {"budget"}


def test_dbghelp_refuses_a_budget() -> None:
    from minidump_cffi._options import DumpOptions
    from minidump_cffi._request import Request
    from minidump_cffi.engines import Backend

    with pytest.raises(md.DumpError, match=r'max_bytes.*give engine="native"'):
        Request(DumpOptions(max_bytes=1 << 20), Backend(name="dbghelp"))
    assert Request(DumpOptions(max_bytes=1 << 20)).backend.own
