"""Holes inside kept memory on engines that take one part of a region and do not ask again.

The answer is the hull, and the bytes in it that a rule excludes are overwritten in VmPostRead. Here a made-up engine
asks, which can do what no good one does; test_excluded_gaps_dumps.py has a real one.
"""

from __future__ import annotations

import itertools
from typing import Any

import drive
import hypothesis
import pytest
import strategies
from hypothesis import strategies as st
from plain_host import PARTIAL_COPY, S_OK, PlainHost

import minidump_cffi as md
from minidump_cffi._native._ext import lib
from minidump_cffi.filters import Kind, MemoryType

TYPE = md.protocol.CallbackType
PAGE = strategies.PAGE
BASE = strategies.WINDOW
E_FAIL = lib.MDC_E_FAIL

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")


def region_at(first: int, pages: int, **changes: Any) -> strategies.Region:
    """A private region of the window, by page numbers."""
    values = {
        "base": BASE + first * PAGE, "size": pages * PAGE, "state": md.filters.MemoryState.COMMIT,
        "type": MemoryType.PRIVATE, "protect": 4, "kinds": Kind.ANONYMOUS, "name": b"",
    }  # fmt: skip
    return strategies.Region(**{**values, **changes})


def at(page: int) -> int:
    """The address of a page of the window."""
    return BASE + page * PAGE


TWO_HOLES = md.Filter(
    md.exclude(range=(at(2) + 16, at(2) + 32)), md.exclude(range=(at(6), at(7))), redact=md.Redact(fill=0x2A)
)
REGION = region_at(0, 9)
HOLES = [(at(2), at(3)), (at(6), at(7))]


# ------------------------------------------------------------------------------------------------- a made-up engine


def test_the_hull_is_kept_and_the_holes_are_overwritten() -> None:
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback)
        assert host.shows
        assert host.ask(REGION) == (REGION.base, REGION.size)
        host.read(REGION.base, REGION.size)
        for page in range(9):
            data = bytes(host.stored[at(page) + i] for i in range(PAGE))
            assert data == (b"\x2a" * PAGE if page in (2, 6) else bytes(host.memory(at(page), PAGE)))
        callback.raise_error()
        counters = callback.counters
        assert (counters.hulls, counters.excluded_gap_bytes, counters.filled_bytes) == (1, 2 * PAGE, 2 * PAGE)
        assert (counters.narrowed, counters.lost, counters.excluded) == (0, 0, 0)


def test_a_hull_that_is_shorter_than_its_region() -> None:
    keep = md.Filter(md.include(range=(at(2), at(3))), md.include(range=(at(5), at(6))), default="exclude")
    with md.Callback(keep) as callback:
        host = PlainHost(callback)
        assert host.ask(REGION) == (at(2), 4 * PAGE)
        host.read(at(2), 4 * PAGE)
        assert bytes(host.stored[at(3) + i] for i in range(2 * PAGE)) == b"X" * 2 * PAGE
        assert callback.counters.narrowed == 2 and callback.counters.hulls == 1
        callback.raise_error()


@pytest.mark.parametrize("filter", [
    md.Filter(), md.Filter(md.exclude(type="mapped"), md.head(PAGE, kind="heap")),
    md.Filter(md.include(range=(at(2), at(3))), default="exclude"), md.Filter(md.exclude(range=(at(2), 1 << 64))),
])  # fmt: skip
def test_a_filter_that_leaves_no_holes_does_not_ask_for_reads(filter: md.Filter) -> None:
    with md.Callback(filter) as callback:
        host = PlainHost(callback)
        assert not host.shows
        data = host.memory(at(0), PAGE)
        assert host.show(at(0), data) == data
        assert callback.counters.calls[TYPE.VM_POST_READ] == 1


def test_an_engine_that_asks_again_is_not_asked_for_reads() -> None:
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback, extensions=drive.EXTENSIONS)
        assert not host.shows
        assert host.engine.kept(REGION) == [(at(0), at(2)), (at(3), at(6)), (at(7), at(9))]
        assert callback.counters.hulls == callback.counters.lost == 0
        callback.raise_error()


def test_without_vm_start_the_longest_part_alone_is_stored() -> None:
    """Old engines do not ask it, and what they would store of a hull could not be overwritten."""
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback, vm=False)
        assert host.ask(REGION) == (at(3), 3 * PAGE)
        host.read(at(3), 3 * PAGE)
        assert callback.counters.lost == callback.counters.narrowed == 2 and callback.counters.hulls == 0
        callback.raise_error()


def test_more_holes_than_there_is_room_for() -> None:
    """A hull with some of its holes would be no answer: all of them or the longest part."""
    with md.Callback(TWO_HOLES, excluded_gap_capacity=1) as callback:
        host = PlainHost(callback)
        assert host.ask(REGION) == (at(3), 3 * PAGE)
        one = region_at(4, 5)
        assert host.ask(one) == (one.base, one.size)
        assert host.ask(REGION) == (at(3), 3 * PAGE), "no other answer because some of it is known by now"
        host.read(at(3), 6 * PAGE)
        callback.raise_error()
        assert callback.counters.hulls == 1 and callback.counters.lost == 4


def test_a_new_dump_knows_no_holes() -> None:
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        host = PlainHost(callback)
        data = host.memory(at(2), PAGE)
        assert host.show(at(2), data) == data, "reads before the question are the engine's own"
        callback.raise_error()
        assert callback.counters.hulls == callback.counters.filled_bytes == 0
        host.ask(REGION)
        old = PlainHost(callback, vm=False)
        assert old.ask(REGION) == (at(3), 3 * PAGE), "what another engine could do is forgotten"
        assert old.show(at(2), data) == data


def test_regions_that_change_between_two_questions() -> None:
    """What was excluded once stays hidden; a hole that has grown has to be shown again."""
    first = md.Filter(md.exclude(range=(at(2), at(7)), type="private"), md.exclude(range=(at(3), at(4))))
    with md.Callback(first) as callback:
        host = PlainHost(callback)
        mapped = region_at(0, 9, type=MemoryType.MAPPED, kinds=Kind.FILE)
        host.ask(mapped)
        assert callback.counters.excluded_gap_bytes == PAGE
        host.read(at(3), PAGE)
        callback.raise_error()
        host.ask(REGION)
        assert callback.counters.excluded_gap_bytes == 5 * PAGE
        with pytest.raises(md.CallbackError, match=f"^{5 * PAGE} bytes"):
            callback.raise_error()
        host.ask(mapped)
        host.read(at(0), 9 * PAGE)
        assert bytes(host.stored[at(2) + i] for i in range(5 * PAGE)) == b"X" * 5 * PAGE
        callback.raise_error()


SPANS = st.tuples(st.integers(0, 11), st.integers(1, 6)).map(lambda span: (span[0], min(12, sum(span))))


@hypothesis.given(st.lists(SPANS, max_size=4), st.lists(SPANS, max_size=4), st.lists(st.tuples(st.booleans(), SPANS)))
@hypothesis.example([(2, 5)], [(4, 7)], [(True, (0, 12)), (False, (0, 12))])
def test_any_regions_that_change(mapped: list[Any], private: list[Any], asked: list[tuple[bool, Any]]) -> None:
    """Holes of all answers together are hidden, wherever they meet, and nothing else is."""
    spans = [("mapped", span) for span in mapped] + [("private", span) for span in private]
    rules = [md.exclude(range=(at(first), at(end)), type=kind) for kind, (first, end) in spans]
    hidden: set[int] = set()
    with md.Callback(md.Filter(*rules)) as callback:
        host = PlainHost(callback)
        for is_mapped, (first, end) in asked:
            out = {page for span in (mapped if is_mapped else private) for page in range(*span)}
            kept = [page for page in range(first, end) if page not in out]
            kind = (MemoryType.MAPPED, Kind.FILE) if is_mapped else (MemoryType.PRIVATE, Kind.ANONYMOUS)
            host.ask(region_at(first, end - first, type=kind[0], kinds=kind[1]))
            if kept:
                hidden |= {*range(kept[0], kept[-1])} & out
        assert callback.counters.excluded_gap_bytes == len(hidden) * PAGE
        seen = host.show(at(0), bytearray(12 * PAGE))
        assert {page for page in range(12) if seen[page * PAGE : (page + 1) * PAGE] == b"X" * PAGE} == hidden
        assert seen.count(b"X") == len(hidden) * PAGE
        callback.raise_error()


# ---------------------------------------------------------------------------------------------- what was not shown


def test_a_hull_whose_reads_are_not_shown() -> None:
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        with pytest.raises(md.CallbackError, match=f"^{2 * PAGE} bytes that a rule excludes") as caught:
            callback.raise_error()
        assert (caught.value.address, caught.value.callback_type) == (at(2), TYPE.VM_POST_READ)
        host.read(at(0), 6 * PAGE + 1)
        with pytest.raises(md.CallbackError, match=f"^{PAGE - 1} bytes that a rule excludes") as caught:
            callback.raise_error()
        assert caught.value.address == at(6) + 1
        host.read(at(6) + 1, PAGE)
        callback.raise_error()


def test_a_part_that_is_skipped_is_noticed() -> None:
    keep = md.Filter(md.exclude(range=(at(1), at(8))))
    for missing in range(1, 8):
        with md.Callback(keep) as callback:
            host = PlainHost(callback)
            host.ask(REGION)
            for page in range(9):
                if page != missing:
                    host.read(at(page), PAGE)
            with pytest.raises(md.CallbackError, match=f"^{PAGE} bytes") as caught:
                callback.raise_error()
            assert caught.value.address == at(missing)


@pytest.mark.parametrize("order", [
    [(5, 9), (0, 5)], [(5, 7), (7, 9), (0, 5)], [(5, 7), (7, 9), (0, 2), (2, 5)], [(7, 9), (5, 7), (0, 5)],
    [(0, 9), (0, 9)], [(3, 6), (0, 9)], [(0, 4), (3, 9)],
])  # fmt: skip
def test_parts_written_ahead_of_the_rest(order: list[tuple[int, int]]) -> None:
    """As engines do with the part of a stack in use."""
    with md.Callback(md.Filter(md.exclude(range=(at(1), at(8))))) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        for number, (first, end) in enumerate(order, 1):
            host.read(at(first), (end - first) * PAGE)
            if number < len(order) and order[0] != (0, 9):
                with pytest.raises(md.CallbackError, match="discard the dump"):
                    callback.raise_error()
        callback.raise_error()


@hypothesis.given(st.lists(st.tuples(st.integers(0, 36), st.integers(1, 20)), max_size=9))
@hypothesis.example([(12, 4), (24, 4), (0, 8)])
def test_nothing_counts_as_shown_that_was_not(reads: list[tuple[int, int]]) -> None:
    """Any reads in any order, in quarters of a page: what is said to be hidden is never less than what is."""
    quarter = PAGE // 4
    hidden = {*range(4, 32)}
    with md.Callback(md.Filter(md.exclude(range=(at(1), at(8))))) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        for first, count in reads:
            host.show(REGION.base + first * quarter, bytearray(count * quarter))
            hidden.difference_update(range(first, first + count))
            try:
                callback.raise_error()
            except md.CallbackError as error:
                said = int(str(error).split()[0])
                assert said >= len(hidden) * quarter
            else:
                assert not hidden
        host.read(REGION.base, REGION.size)
        callback.raise_error()


def test_memory_that_cannot_be_read() -> None:
    """What an engine is shown to have not read, or asks 14 about, is not in the dump."""
    with md.Callback(TWO_HOLES) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        data = host.memory(at(0), 4 * PAGE)
        seen = host.show(at(0), data, completed=2 * PAGE + 8, status=PARTIAL_COPY)
        assert seen == data[: 2 * PAGE] + b"\x2a" * PAGE + data[3 * PAGE :], "whatever the engine makes of it"
        assert callback.counters.filled_bytes == 8
        with pytest.raises(md.CallbackError, match=f"^{PAGE} bytes"):
            callback.raise_error()
        assert host.failed(at(5), 4 * PAGE)
        callback.raise_error()


def test_a_read_failure_that_is_not_tolerated_hides_nothing() -> None:
    keep = md.Filter(md.exclude(range=(at(2), at(3))), read_failure="abort")
    with md.Callback(keep) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        assert not host.failed(at(0), 9 * PAGE)
        with pytest.raises(md.CallbackError, match="discard the dump"):
            callback.raise_error()


@pytest.mark.parametrize("tolerate", [True, False])
def test_a_hook_that_decides_about_read_failures(tolerate: bool) -> None:
    def failure(_input: Any, output: Any) -> bool:
        output.Status = S_OK if tolerate else E_FAIL - (1 << 32)
        return True

    with md.Callback(TWO_HOLES, hooks={TYPE.READ_MEMORY_FAILURE: failure}) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        assert host.failed(at(0), 9 * PAGE) is tolerate
        if tolerate:
            callback.raise_error()
        else:
            with pytest.raises(md.CallbackError, match="discard the dump"):
                callback.raise_error()


def test_whoever_takes_the_output_is_not_told_that_it_is_complete() -> None:
    finished = []

    class Taker:
        def write(self, offset: int, data: memoryview, /) -> None:
            pass

        def finish(self) -> None:
            finished.append(True)

    with md.Callback(TWO_HOLES, io=Taker()) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        host.engine.clear()
        assert not host.engine.send(TYPE.IO_FINISH)
        assert host.engine.output.Status & 0xFFFFFFFF == E_FAIL and not finished
        host.read(REGION.base, REGION.size)
        host.engine.clear()
        assert host.engine.send(TYPE.IO_FINISH)
        assert host.engine.output.Status == S_OK and finished
        callback.raise_error()


def test_odd_reads_do_no_harm() -> None:
    """No buffer, nothing in it, more completed than asked for, the end of the address space."""
    keep = md.Filter(md.exclude(range=(at(2), at(3))), md.exclude(range=((1 << 64) - 2 * PAGE, (1 << 64) - PAGE)))
    top = region_at(0, 3, base=(1 << 64) - 3 * PAGE)
    with md.Callback(keep) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        host.ask(top)
        engine = host.engine
        for size in (0, 9 * PAGE):
            engine.clear()
            engine.input.u.VmPostRead.Offset, engine.input.u.VmPostRead.Size = at(0), size
            engine.input.u.VmPostRead.Completed = 9 * PAGE
            assert engine.send(TYPE.VM_POST_READ)
        with pytest.raises(md.CallbackError, match=f"^{2 * PAGE} bytes"):
            callback.raise_error()
        seen = host.show(at(2), bytearray(PAGE), completed=(1 << 32) - 1)
        assert seen == b"X" * PAGE
        assert host.show(top.base, bytearray(3 * PAGE)) == bytes(PAGE) + b"X" * PAGE + bytes(PAGE)
        assert host.show((1 << 64) - PAGE, bytearray(2 * PAGE)) == bytes(2 * PAGE)
        callback.raise_error()


def test_redaction_sees_what_is_left() -> None:
    """Holes first: a pattern that is excluded is neither counted nor visible."""
    word = bytes(PlainHost.memory(at(2) + 100, 16))
    kept = bytes(PlainHost.memory(at(4) + 64, 16))
    keep = md.Filter(md.exclude(range=(at(2), at(3))), redact=md.Redact(ranges=[(at(4) + 64, at(4) + 80)], fill=0x2E))
    with md.Callback(keep) as callback:
        host = PlainHost(callback)
        host.ask(REGION)
        host.read(REGION.base, REGION.size)
        assert bytes(host.stored[at(4) + 64 + i] for i in range(16)) == b"." * 16
        assert bytes(host.stored[at(2) + i] for i in range(PAGE)) == b"." * PAGE
        assert (callback.counters.redacted_bytes, callback.counters.filled_bytes) == (16, PAGE)
    assert word and kept


GAPS = lib.MDC_REQUIRES_EXCLUDED_GAPS
NEEDS = {
    "facts": (lib.MDC_REQUIRES_REGION_FACTS, md.Filter(md.exclude(name="/dev/*")), md.Filter(md.exclude(kind="file"))),
    "kinds": (lib.MDC_REQUIRES_REGION_FACTS, md.Filter(md.include(kind="stack")), md.Filter(md.exclude(type="image"))),
    "a range": (
        GAPS,
        TWO_HOLES,
        md.Filter(md.include(range=(at(1), at(2))), default="exclude"),
    ),
    "ranges": (
        GAPS,
        md.Filter(md.include_ranges([(1, 2), (3, 4)]), default="exclude"),
        md.Filter(),
    ),
    "a module": (
        GAPS,
        md.Filter(md.exclude(module="*")),
        md.Filter(modules={"exclude": ["*"]}),
    ),
    "removed": (
        GAPS,
        md.Filter(memory={"remove": [(1, 2)]}),
        md.Filter(memory={"add": [(1, 2)]}),
    ),
    "a head": (
        GAPS,
        md.Filter(md.head(PAGE), md.include(range=(8, 9))),
        md.Filter(md.head(PAGE)),
    ),
    "pieces": (lib.MDC_REQUIRES_PIECES, md.Filter(md.exclude(type="mapped")), md.Filter(memory={"remove": [(1, 2)]})),
    "the default": (lib.MDC_REQUIRES_PIECES, md.Filter(default="exclude"), md.Filter(threads={"exclude": [1]})),
    "reads": (lib.MDC_REQUIRES_READS, md.Filter(redact=md.Redact(ranges=[(1, 2)])), TWO_HOLES),
    "hold": (
        lib.MDC_REQUIRES_HOLD_BACK,
        md.Filter(redact=md.Redact(patterns=["secret"])),
        md.Filter(redact=md.Redact(ranges=[(1, 2)])),
    ),
    "words": (
        lib.MDC_REQUIRES_HOLD_BACK,
        md.Filter(redact=md.Redact(stacks=True)),
        md.Filter(redact=md.Redact(environ={"drop": ["A"]})),
    ),
    "environ": (
        lib.MDC_REQUIRES_ENVIRON,
        md.Filter(redact=md.Redact(environ={"keep": ["A"]})),
        md.Filter(redact=md.Redact(stacks=True)),
    ),
}


@pytest.mark.parametrize("what", NEEDS)
def test_what_a_filter_needs_of_an_engine(what: str) -> None:
    """Known before a dump, so that it can be refused: one filter that needs it, one like it that does not."""
    bit, needs, does_not = NEEDS[what]
    assert needs._compiled().requirements() & bit
    assert not does_not._compiled().requirements() & bit
    assert md.Filter()._compiled().requirements() == 0


# --------------------------------------------------------------------------------------------------- any filter at all


def plain(region: strategies.Region) -> strategies.Region:
    """As an engine without facts shows it."""
    kinds = {MemoryType.PRIVATE: Kind.ANONYMOUS, MemoryType.MAPPED: Kind.FILE,
             MemoryType.IMAGE: Kind.IMAGE}[region.type]  # fmt: skip
    return strategies.Region(
        base=region.base, size=region.size, state=region.state, type=region.type, protect=region.protect,
        kinds=kinds, name=b"",
    )  # fmt: skip


def answer_of(runs: list[tuple[int, int]], hull: bool) -> tuple[int, int]:
    """What is stored of kept parts [first, end)."""
    if not runs:
        return (0, 0)
    if hull:
        return (runs[0][0], runs[-1][1] - runs[0][0])
    first, end = max(runs, key=lambda run: run[1] - run[0])
    return (first, end - first)


@hypothesis.given(
    keep=strategies.filters(),
    regions=strategies.regions(),
    modules=strategies.modules(),
    vm=st.booleans(),
    capacity=st.sampled_from([0, 0, 1, 2]),
    steps=st.lists(st.integers(1, 3 * PAGE), min_size=1, max_size=4),
)
def test_what_a_plain_engine_stores(
    keep: md.Filter, regions: list[Any], modules: list[Any], vm: bool, capacity: int, steps: list[int]
) -> None:
    """Kept bytes as they are, excluded ones never; hulls where there is room, the longest part where there is none."""
    room = capacity or 65_536
    with md.Callback(keep, excluded_gap_capacity=capacity) as callback:
        host = PlainHost(callback, vm=vm)
        for module in modules:
            host.engine.module(module)
        wanted: dict[int, int] = {}
        hulls = lost = holes_all = 0
        for region in map(plain, regions):
            runs = strategies.kept(keep, region, modules, whole_pages=True)
            holes = [(one[1], two[0]) for one, two in itertools.pairwise(runs)]
            if holes:
                assert callback.filter._compiled().requirements() & GAPS
            hull = not holes or (vm and len(holes) <= room)
            base, size = host.ask(region)
            assert (base if size else 0, size) == answer_of(runs, hull)
            lost += 2 * (bool(holes) and not hull)
            if holes and hull:
                room -= len(holes)
                hulls += 1
                holes_all += sum(end - first for first, end in holes)
            for first, end in runs if hull else [(base, base + size)]:
                wanted.update(zip(range(first, end), host.memory(first, end - first), strict=True))
            if hull:
                wanted.update((a, 0x58) for first, end in holes for a in range(first, end))
            position, lengths = base, itertools.cycle(steps)
            while position < base + size:
                step = min(next(lengths), base + size - position)
                host.read(position, step)
                position += step
        assert host.stored == wanted
        callback.raise_error()
        counters = callback.counters
        assert (counters.hulls, counters.lost, counters.excluded_gap_bytes) == (hulls, lost, holes_all)
        assert counters.filled_bytes == holes_all
