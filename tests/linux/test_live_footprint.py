"""What a dump does to its target, and to the dumper: page tables, memory, copy-on-write sharing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]
SLACK = 64  # KiB: page tables that one pass may add, and stray pages of libc


def settled_figures(target: live.Target) -> dict[str, int]:
    """The figures of a target that has answered once (its first answer touches pages of its own)."""
    target.ping()
    return live.memory_figures(target.pid)


@pytest.mark.parametrize("words", [("--sparse", "4G", "--touch", "64M"), ("--heap", "64"), ("--maps", "5000")])
def test_page_tables_and_memory_of_the_target_stay(
    words: tuple[str, ...], start_pattern: Start, take: live.Taker
) -> None:
    target = start_pattern(*words)
    before = settled_figures(target)
    take(target, FULL, only=["udmp-parser"])
    after = settled_figures(target)
    assert after["VmPTE"] - before["VmPTE"] <= SLACK
    assert abs(after["RssAnon"] - before["RssAnon"]) <= SLACK
    assert abs(after["Pss_Anon"] - before["Pss_Anon"]) <= SLACK


def test_pages_shared_with_a_parent_stay_shared(start_pattern: Start, take: live.Taker) -> None:
    """process_vm_readv would copy each shared page into the worker first (limits: doubles its memory)."""
    target = start_pattern("--heap", 64, "--fork-worker")
    before = settled_figures(target)
    assert before["Shared_Dirty"] >= 64 * 1024
    take(target, FULL, only=["udmp-parser"])
    after = settled_figures(target)
    assert after["Shared_Dirty"] >= 64 * 1024
    assert abs(after["Pss_Anon"] - before["Pss_Anon"]) <= SLACK
    assert abs(after["RssAnon"] - before["RssAnon"]) <= SLACK
    assert after["VmPTE"] - before["VmPTE"] <= SLACK


CONTENT_NOT_IN_THE_PAGE_TABLES = ("odd_name", "deleted", "memfd", "unreadable")


@pytest.mark.parametrize("name", CONTENT_NOT_IN_THE_PAGE_TABLES)
def test_content_is_never_a_hole(name: str, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    _, path = take(target, FULL, only=["udmp-parser"])
    base, size, _ = target.region(name)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base, size) == target.content(name)


@pytest.mark.parametrize("untouched", ["auto", "hole", "omit"])
def test_untouched_pages_are_zero_or_left_out(untouched: str, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, seed = target.region("mostly_untouched")
    touched = base + (5 << 20)
    before = settled_figures(target)
    report, path = take(target, FULL, untouched=untouched)
    assert report.complete
    assert settled_figures(target)["RssAnon"] - before["RssAnon"] <= SLACK
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(touched, live.PAGE) == live.pattern(touched, live.PAGE, seed)
        assert dump.read_across(base + (9 << 20), live.PAGE) == bytes(live.PAGE)
        if untouched == "omit":
            assert not dump.holds(base + (1 << 20), live.PAGE)
            assert dump.size < size
        else:
            assert dump.read_across(base, size)[:4096] == bytes(4096)  # type: ignore[index]
            assert path.stat().st_blocks * 512 < size


def test_a_guard_page_costs_itself_alone(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    if "guarded" not in target.info:
        pytest.skip("this kernel has no MADV_GUARD_INSTALL")
    report, path = take(target, FULL)
    base, size, _ = target.region("guarded")
    assert report.complete, "a guard is known when the dump is planned"
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base, 2 * live.PAGE) == target.content("guarded", 0, 2 * live.PAGE)
        rest = dump.read(base + 3 * live.PAGE, size - 3 * live.PAGE)
        assert rest == target.content("guarded", 3 * live.PAGE)
        assert not dump.holds(base + 2 * live.PAGE, live.PAGE)


DUMPER = """
import resource, sys
import minidump_cffi as md
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
md.write_dump(int(sys.argv[1]), sys.argv[2], md.DumpType.WITH_FULL_MEMORY)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_growth(pid: int, path: Path) -> int:
    """KiB by which the peak of a fresh process grew over a full dump."""
    done = live.run_python(DUMPER, pid, path, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("words", [("--heap", "256"), ("--maps", "20000"), ("--sparse", "4G", "--touch", "64M")])
def test_memory_of_the_dumper_is_bounded(words: tuple[str, ...], start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern(*words)
    assert peak_growth(target.pid, tmp_path / "d.dmp") <= 16 * 1024


def test_a_normal_dump_of_much_memory_looks_at_what_it_takes(start_pattern: Start, take: live.Taker) -> None:
    """Too much memory to read smaps again under the stop: flags and pages are those of the ranges asked for."""
    target = start_pattern("--heap", 256)
    wanted = {name: target.region(name)[:2] for name in ("heap", "mostly_untouched", "dontdump")}
    before = settled_figures(target)
    ranges = [(base, base + size) for base, size in wanted.values()]
    report, path = take(target, md.DumpType.NORMAL, filter=md.Filter(memory={"add": ranges}), only=["udmp-parser"])
    assert report.complete
    assert abs(settled_figures(target)["RssAnon"] - before["RssAnon"]) <= SLACK
    kept = {region.base: region for region in report.regions}
    base, size = wanted["heap"]
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base, 1 << 20) == target.content("heap", 0, 1 << 20)
        assert dump.read(base + size - live.PAGE, live.PAGE) == target.content("heap", size - live.PAGE, live.PAGE)
    assert kept[base].kept == size
    base, size = wanted["mostly_untouched"]
    assert size > kept[base].untouched > size // 2
    base, _ = wanted["dontdump"]
    assert kept[base].kept == 0
    assert kept[base].flags & md.report.RegionFlags.DONTDUMP
