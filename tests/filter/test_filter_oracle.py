"""What a compiled filter answers, against the plain-Python oracle in strategies.py."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import strategies as make
from drive import Engine
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import PAGE, WINDOW, Module, Region

import minidump_cffi as md
from minidump_cffi._native._ext import lib

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")


def answers(keep: md.Filter, regions: Sequence[Region], modules: Sequence[Module]) -> list[list[tuple[int, int]]]:
    with md.Callback(keep) as callback:
        engine = Engine(callback)
        engine.begin(modules)
        first = [engine.kept(region) for region in regions]
        again = [engine.kept(region) for region in reversed(regions)]
        assert first == again[::-1], "the same question has the same answer, in any order"
        return first


@given(make.filters(), make.regions(), make.modules())
def test_whole_pages(keep: md.Filter, regions: list[Region], modules: list[Module]) -> None:
    expected = [make.kept(keep, region, modules, whole_pages=True) for region in regions]
    assert answers(keep, regions, modules) == expected


@given(make.filters(), make.regions(flags=lib.MDC_FACT_PIECE), make.modules())
def test_pieces_of_a_normal_dump_are_byte_exact(keep: md.Filter, regions: list[Region], modules: list[Module]) -> None:
    expected = [make.kept(keep, region, modules, whole_pages=False) for region in regions]
    assert answers(keep, regions, modules) == expected


@given(make.filters(), make.regions(), st.integers(0, 2**32))
def test_a_part_of_a_mapping_is_judged_like_the_whole(keep: md.Filter, regions: list[Region], seed: int) -> None:
    with md.Callback(keep) as callback:
        engine = Engine(callback)
        engine.begin()
        for region in regions:
            pages = region.size // PAGE
            at = region.base + seed % pages * PAGE
            expected = [
                (max(first, at), end) for first, end in make.kept(keep, region, [], whole_pages=True) if end > at
            ]
            base, size = engine.region(region, at, region.end - at)
            assert ([(base, base + size)] if size else []) == expected[:1]


def check_plain(engine: Engine, region: Region, expected: list[tuple[int, int]], vm: bool) -> None:
    """One part for a host that does not ask again: the hull of what is kept if it shows its reads, else the longest."""
    base, size = engine.region(region, region.base, region.size)
    if vm:
        assert (base, base + size) == (expected[0][0], expected[-1][1]) if expected else not size
    else:
        assert size == max((end - first for first, end in expected), default=0)
        assert not size or (base, base + size) in expected


@pytest.mark.parametrize("vm", [False, True])
@given(keep=make.filters(), regions=make.regions())
def test_a_host_that_does_not_ask_again(vm: bool, keep: md.Filter, regions: list[Region]) -> None:
    with md.Callback(keep) as callback:
        engine = Engine(callback, lib.MDC_EXT_REGION_FACTS)
        engine.begin(vm=vm)
        for region in regions:
            check_plain(engine, region, make.kept(keep, region, [], whole_pages=True), vm)


@pytest.mark.parametrize("vm", [False, True])
@given(keep=make.filters(), regions=make.regions())
def test_a_plain_host_knows_no_names(vm: bool, keep: md.Filter, regions: list[Region]) -> None:
    kinds = {
        md.filters.MemoryType.IMAGE: md.filters.Kind.IMAGE,
        md.filters.MemoryType.MAPPED: md.filters.Kind.FILE,
        md.filters.MemoryType.PRIVATE: md.filters.Kind.ANONYMOUS,
    }
    with md.Callback(keep) as callback:
        engine = Engine(callback, 0)
        engine.begin(vm=vm)
        for region in regions:
            seen = Region(**{**vars(region), "name": b"", "kinds": kinds[region.type]})
            check_plain(engine, region, make.kept(keep, seen, [], whole_pages=True), vm)


@settings(max_examples=20)
@given(make.filters(), make.regions(), make.modules())
def test_threads_share_one_filter(keep: md.Filter, regions: list[Region], modules: list[Module]) -> None:
    results: list[object] = []

    def ask() -> None:
        try:
            results.append(answers(keep, regions, modules))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[make.kept(keep, region, modules, whole_pages=True) for region in regions]] * 4


def region(**values: object) -> Region:
    return Region(
        **{
            "base": WINDOW,
            "size": 8 * PAGE,
            "state": md.filters.MemoryState.COMMIT,
            "type": md.filters.MemoryType.PRIVATE,
            "protect": 4,
            "kinds": md.filters.Kind.ANONYMOUS,
            "name": b"",
            **values,
        }
    )


def test_the_last_match_wins() -> None:
    first, second = md.exclude(kind="anonymous"), md.include(protect="rw")
    assert answers(md.Filter(first, second), [region()], []) == [[(WINDOW, WINDOW + 8 * PAGE)]]
    assert answers(md.Filter(second, first), [region()], []) == [[]]


def test_an_exclude_takes_whole_pages_and_no_more() -> None:
    keep = md.Filter(md.exclude(range=(WINDOW + 2 * PAGE + 5, WINDOW + 2 * PAGE + 6)))
    assert answers(keep, [region()], []) == [[(WINDOW, WINDOW + 2 * PAGE), (WINDOW + 3 * PAGE, WINDOW + 8 * PAGE)]]


def test_an_include_under_an_exclude_keeps_whole_pages_only() -> None:
    keep = md.Filter(md.include(range=(WINDOW + PAGE - 1, WINDOW + 3 * PAGE + 1)), default="exclude")
    assert answers(keep, [region()], []) == [[(WINDOW + PAGE, WINDOW + 3 * PAGE)]]


def test_a_module_owns_the_memory_its_base_and_size_cover() -> None:
    module = Module(base=WINDOW, size=3 * PAGE, path=b"/lib/libsecret.so")
    keep = md.Filter(md.exclude(module="*/libsecret*"))
    assert answers(keep, [region()], [module]) == [[(WINDOW + 3 * PAGE, WINDOW + 8 * PAGE)]]


def test_dontdump_memory_needs_a_rule_that_includes_it() -> None:
    asked = region(flags=lib.MDC_FACT_DONTDUMP)
    everything = [(asked.base, asked.end)]
    assert answers(md.Filter(), [asked], []) == [[]]
    assert answers(md.Filter(md.include(kind="anonymous")), [asked], []) == [everything]


def test_a_million_ranges_answer_as_they_should() -> None:
    from array import array

    flat = array("Q")
    for number in range(1_000_000):
        flat.append(0x1000_0000 + number * 2 * PAGE)
        flat.append(0x1000_0000 + number * 2 * PAGE + PAGE)
    keep = md.Filter.from_ranges(flat, label="every other page")
    assert len(keep) == 1_000_000
    assert keep.table_bytes <= 64 * keep.table_intervals
    for number in (0, 1, 499_999, 999_998):
        base = 0x1000_0000 + number * 2 * PAGE
        assert answers(keep, [region(base=base, size=4 * PAGE)], []) == [
            [(base + PAGE, base + 2 * PAGE), (base + 3 * PAGE, base + 4 * PAGE)]
        ]


def test_ranges_at_both_ends_of_the_address_space() -> None:
    last = (1 << 64) - PAGE
    keep = md.Filter(md.exclude(range=(0, PAGE)), md.exclude_ranges([(last, 1 << 64)]))
    regions = [region(base=0, size=2 * PAGE), region(base=last - PAGE, size=2 * PAGE)]
    assert answers(keep, regions, []) == [[(PAGE, 2 * PAGE)], [(last - PAGE, last)]]
