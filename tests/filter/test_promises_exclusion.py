"""Promise: nothing a filter excludes is ever written. Not in padding, a second copy of a stack, or a text stream."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]


def words_of(target: live.Target, name: str, offset: int = 0, size: int | None = None) -> list[bytes]:
    """Every 16-byte piece at the start of each page of a region: what to search a file for."""
    content = target.content(name, offset, size)
    return [content[at : at + 16] for at in range(0, len(content), live.PAGE)]


def assert_absent(path: Path, needles: list[bytes]) -> None:
    """None of these bytes is anywhere in the file."""
    found = [needle for needle, at in zip(needles, live.file_holds(path, *needles), strict=True) if at >= 0]
    assert not found, f"{len(found)} of {len(needles)} pieces of excluded memory are in the file"


def assert_present(path: Path, needles: list[bytes]) -> None:
    """All of these bytes are in the file."""
    assert -1 not in live.file_holds(path, *needles)


def test_the_search_finds_what_is_there(start_pattern: Start, take: live.Taker) -> None:
    """Without a filter the same search finds every piece, so its silence below means something."""
    target = start_pattern()
    _, path = take(target, FULL)
    for name in ("plain", "unreadable", "odd_name", "deleted", "memfd", "named"):
        if name in target.info:
            assert_present(path, words_of(target, name))


def test_a_range(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, _size, _ = target.region("plain")
    first, end = base + 4 * live.PAGE, base + 6 * live.PAGE
    keep = md.Filter(md.exclude(range=(first, end), label="key store"))
    _, path = take(target, FULL, filter=keep)
    assert_absent(path, words_of(target, "plain", 4 * live.PAGE, 2 * live.PAGE))
    assert_present(path, words_of(target, "plain", 0, 4 * live.PAGE))
    assert_present(path, words_of(target, "plain", 6 * live.PAGE))


def test_a_range_within_a_page_takes_the_page(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, _, _ = target.region("plain")
    at = base + 5 * live.PAGE + 100
    _, path = take(target, FULL, filter=md.Filter(md.exclude(range=(at, at + 1))))
    page = target.content("plain", 5 * live.PAGE, live.PAGE)
    assert_absent(path, [page[offset : offset + 16] for offset in range(0, live.PAGE, 16)])
    assert_present(path, words_of(target, "plain", 0, 5 * live.PAGE))


def test_an_include_under_an_exclude_keeps_whole_pages_only(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    inner = (base + 2 * live.PAGE - 8, base + 4 * live.PAGE + 8)
    keep = md.Filter(md.exclude(range=(base, base + size)), md.include(range=inner))
    _, path = take(target, FULL, filter=keep)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base + 2 * live.PAGE, 2 * live.PAGE) == target.content("plain", 2 * live.PAGE, 2 * live.PAGE)
        assert not dump.holds(base, 2 * live.PAGE)
        assert not dump.holds(base + 4 * live.PAGE, size - 4 * live.PAGE)


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        (md.exclude(name="*odd name*"), "odd_name"),
        (md.exclude(type=md.filters.MemoryType.MAPPED), "odd_name"),
        (md.exclude(name="*gone.bin*"), "deleted"),
        (md.exclude(name="/memfd:*"), "memfd"),
        (md.exclude(kind="shared"), "memfd"),
        (md.exclude(min_size="64 KiB", max_size="64 KiB"), "plain"),
        (md.exclude(kind="anonymous"), "plain"),
        (md.exclude(protect="rw"), "plain"),
    ],
    ids=repr,
)
def test_an_attribute(rule: md.filters.Rule, gone: str, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    _, path = take(target, FULL, filter=md.Filter(rule))
    assert_absent(path, words_of(target, gone))


def test_head_keeps_the_first_bytes(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    keep = md.Filter(md.head(range=(base, base + size), bytes="8 KiB"))
    _, path = take(target, FULL, filter=keep)
    assert_present(path, words_of(target, "plain", 0, 2 * live.PAGE))
    assert_absent(path, words_of(target, "plain", 2 * live.PAGE))


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_a_stack_in_none_of_its_copies(dump_type: md.DumpType, start_pattern: Start, take: live.Taker) -> None:
    """The thread descriptor, MemoryList and Memory64List point at stacks: excluded memory is in none of them."""
    target = start_pattern("--threads", 3)
    spared, hidden = target.info["threads"][0], target.info["threads"][1]
    page = hidden[1] & -live.PAGE
    keep = md.Filter(md.exclude(range=(page, page + 2 * live.PAGE)))
    _, path = take(target, dump_type, filter=keep)
    assert_absent(path, [live.pattern(hidden[1], 64, 14)[at : at + 8] for at in range(0, 64, 8)])
    assert_present(path, [live.pattern(spared[1], 64, 14)])


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_all_stacks_by_kind(dump_type: md.DumpType, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 3)
    report, path = take(target, dump_type, filter=md.Filter(md.exclude(kind="stack")))
    for _, marker in target.info["threads"]:
        assert_absent(path, [live.pattern(marker, 64, 14)[:8]])
    assert len(report.threads) == 4


def test_a_byte_exact_hole_in_a_normal_dump(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 1)
    _, marker = target.info["threads"][0]
    keep = md.Filter(memory={"remove": [(marker + 16, marker + 24)]})
    _, path = take(target, NORMAL, filter=keep)
    content = live.pattern(marker, 64, 14)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(marker, 16) == content[:16]
        assert dump.read(marker + 24, 40) == content[24:]
        assert not dump.holds(marker + 16, 8)
    assert_absent(path, [content[16:24]])


def test_memory_remove_in_a_full_dump(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    keep = md.Filter(memory={"remove": [(base, base + size)]})
    _, path = take(target, FULL, filter=keep)
    assert_absent(path, words_of(target, "plain"))


def test_added_memory_is_there_and_byte_exact(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, _, _ = target.region("plain")
    keep = md.Filter(memory={"add": [(base + 100, base + 5000)]})
    _, path = take(target, NORMAL, filter=keep)
    content = target.content("plain")
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base + 100, 4900) == content[100:5000]
    assert_absent(path, [content[5008:5024]])


def test_an_exclude_wins_over_added_memory(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, _size, _ = target.region("plain")
    keep = md.Filter(md.exclude(range=(base, base + live.PAGE)), memory={"add": [(base, base + 2 * live.PAGE)]})
    _, path = take(target, NORMAL, filter=keep)
    assert_absent(path, words_of(target, "plain", 0, live.PAGE))
    assert_present(path, words_of(target, "plain", live.PAGE, live.PAGE))


SECRET = "MDC_SECRET_OF_THE_TEST=correct horse battery staple"


def secret_target(start_pattern: Start, *words: str) -> live.Target:
    """A target with a secret in its environment and one on its command line."""
    name, _, value = SECRET.partition("=")
    return start_pattern(*words, "--note", "kept between us", env={**os.environ, name: value})


def pages_with(pid: int, *needles: bytes) -> list[tuple[int, int]]:
    """Pages of a process's stack that hold one of these: its arguments, and copies left by the dynamic linker."""
    maps = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
    first, end = (int(word, 16) for word in next(line for line in maps if b"[stack]" in line).split()[0].split(b"-"))
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(first)
        data = memory.read(end - first)
    found = [match.start() for needle in needles for match in re.finditer(re.escape(needle), data)]
    assert len(found) >= len(needles)
    pages = {page for at in found for page in ((first + at) & -live.PAGE, (first + at + 64) & -live.PAGE)}
    return [(page, page + live.PAGE) for page in sorted(pages)]


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_environment_memory_takes_the_text_streams_with_it(
    dump_type: md.DumpType, start_pattern: Start, take: live.Taker
) -> None:
    target = secret_target(start_pattern)
    secrets = [b"correct horse battery staple", b"kept between us"]
    keep = md.Filter(*(md.exclude(range=pair) for pair in pages_with(target.pid, *secrets)))
    report, path = take(target, dump_type, filter=keep)
    assert_absent(path, secrets)
    assert md.filters.Stream.ENVIRON in report.omitted_streams


def test_environment_is_found_when_nothing_excludes_it(start_pattern: Start, take: live.Taker) -> None:
    target = secret_target(start_pattern)
    _, path = take(target, FULL)
    assert_present(path, [b"correct horse battery staple", b"kept between us"])


def test_streams_that_are_excluded_are_not_there(start_pattern: Start, take: live.Taker) -> None:
    target = secret_target(start_pattern, "--threads", "1")
    keep = md.Filter(
        md.exclude(kind="stack"), streams={"exclude": ["environ", "cmdline", "maps", "status", "auxv", "thread_names"]}
    )
    _, path = take(target, NORMAL, filter=keep)
    with file_rules.DumpFile(path) as dump:
        gone = {file_rules.ENVIRON, file_rules.CMDLINE, file_rules.MAPS, file_rules.STATUS, file_rules.AUXV}
        assert not (gone | {file_rules.THREAD_NAMES}) & set(dump.streams)
        assert file_rules.CPUINFO in dump.streams
    assert_absent(path, [b"correct horse battery staple", b"kept between us", "worker-0".encode("utf-16-le")])


@pytest.mark.parametrize("policy", ["honour", "ask", "ignore"])
def test_dontdump(policy: str, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("dontdump")
    everything = md.Filter(md.include(range=(base, base + size)))
    report, path = take(target, FULL, filter=everything, dontdump=policy)
    if policy == "honour":
        assert_absent(path, words_of(target, "dontdump"))
        region = next(item for item in report.regions if item.base == base)
        assert md.report.RegionFlags.DONTDUMP in region.flags
        assert region.stored == 0
    else:
        assert_present(path, words_of(target, "dontdump"))


def test_dontdump_of_memory_that_was_marked_just_before_the_stop(tmp_path: Path) -> None:
    """Memory is replaced by other of the same shape and marked at any moment, also after the dump has begun."""
    program = live.compile_c(live.HERE / "targets" / "moving.c", tmp_path / "moving", "-O0")
    secret = bytes(byte ^ 0x20 for byte in b"sEcReT-kEy-0042")
    path = tmp_path / "moving.dmp"
    plain = marked = 0
    with live.Target([str(program), "marks"]) as target:
        base, size = target.info["memory"]
        for _ in range(60):
            report = md.write_dump(target.pid, path, FULL)
            assert report.complete
            assert live.file_holds(path, secret) == [-1]
            regions = [region for region in report.regions if region.base == base and region.size == size]
            marked += any(md.report.RegionFlags.DONTDUMP in region.flags for region in regions)
            plain += any(md.report.RegionFlags.DONTDUMP not in region.flags for region in regions)
    assert plain, "the program was never met while its memory was not marked"
    assert marked, "the program was never met while its memory was marked"


def test_dontdump_that_is_asked_about_can_be_refused(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("dontdump")
    _, path = take(target, FULL, filter=md.Filter(md.exclude(range=(base, base + size))), dontdump="ask")
    assert_absent(path, words_of(target, "dontdump"))


def test_dontdump_in_added_memory(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("dontdump")
    _, path = take(target, NORMAL, filter=md.Filter(memory={"add": [(base, base + size)]}))
    assert_absent(path, words_of(target, "dontdump"))


def test_excluded_regions_stay_in_the_memory_info_list(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    _, path = take(target, FULL, filter=md.Filter(md.exclude(range=(base, base + size))))
    with file_rules.DumpFile(path) as dump:
        assert any(info.base <= base and base + size <= info.base + info.size for info in dump.infos())


def test_threads_and_modules_that_are_excluded(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 2)
    hidden, marker = target.info["threads"][0]
    keep = md.Filter(threads={"exclude": [hidden]}, modules={"exclude": ["*libc.so*"]})
    _report, path = take(target, NORMAL, filter=keep)
    with file_rules.DumpFile(path) as dump:
        assert hidden not in {thread.tid for thread in dump.threads()}
        assert not [name for _, _, name, _ in dump.modules() if "libc.so" in name]
    assert_absent(path, [live.pattern(marker, 64, 14)[:8]])


@pytest.mark.parametrize("where", ["pipe", "python", "no-spool"])
def test_nothing_leaks_into_other_sinks(where: str, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    base, _size, _ = target.region("plain")
    keep = md.Filter(md.exclude(range=(base, base + 8 * live.PAGE)))
    path = tmp_path / "d.dmp"
    if where == "pipe":
        with path.open("wb") as output:
            reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
            assert reader.stdin is not None
            report = md.write_dump(target.pid, reader.stdin.fileno(), FULL, filter=keep)
            reader.stdin.close()
            assert reader.wait() == 0
    else:
        with path.open("wb", buffering=0) as output:
            report = md.write_dump(target.pid, Writer(output), FULL, filter=keep, spool=where == "python")
    live.assert_accepted(path, report)
    assert_absent(path, words_of(target, "plain", 0, 8 * live.PAGE))
    assert_present(path, words_of(target, "plain", 8 * live.PAGE))


class Writer:
    """Something with write() and nothing else."""

    def __init__(self, file: object) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        """Store all of it."""
        self.file.write(bytes(data))  # type: ignore[attr-defined]
        return len(data)


def test_the_dumper_itself_can_be_dumped_without_its_secret(tmp_path: Path) -> None:
    """Own pid: a fresh process takes the dump."""
    program = (
        "import os, sys, ctypes\nimport minidump_cffi as md\n"
        "secret = ctypes.create_string_buffer(os.urandom(8).hex().encode() * 1024)\n"
        "at = ctypes.addressof(secret)\n"
        "keep = md.Filter(md.exclude(range=(at & -4096, (at + 16384 + 4095) & -4096)))\n"
        "md.write_dump(os.getpid(), sys.argv[1], md.DumpType.WITH_FULL_MEMORY, filter=keep, engine='native')\n"
        "print(hex(at))\n"
    )
    path = tmp_path / "own.dmp"
    done = live.run_python(program, path)
    assert done.returncode == 0, done.stderr
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(int(done.stdout, 16), 16384)
        assert dump.threads()
