"""Samples of other writers, written again: kept whole, and through filters at random."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import file_rules
import minidumps
import pytest
import readers

import minidump_cffi as md

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.linux,
    pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning"),  # a random range may lie in another
]

DATA = Path(__file__).resolve().parents[1] / "data"
BROKEN = "rust-minidump-invalid-range.dmp"  # its directory leads into the header, and its streams into nothing
SAMPLES = sorted(path.name for path in DATA.glob("*.dmp") if path.name != BROKEN)
FILTERS = 20  # for each sample
BLOCK = 16  # bytes that are looked for
READERS: dict[str, Callable[[Path], readers.Reading]] = {
    "lldb": readers.read_lldb,
    "minidump": readers.read_minidump,
    "udmp-parser": readers.read_udmp,
    "minidump_stackwalk": readers.read_stackwalk,
    "minidump_dump": readers.read_breakpad_dump,
    "obj2yaml": readers.read_obj2yaml,
}
BEYOND = {"vectorcontrol", "debugcontrol"}  # `minidump` reads on after contexts that end before these


def registers(thread: readers.ReaderThread) -> dict[str, int]:
    """Those that are in a context of any writer."""
    return {
        name: value for name, value in thread.registers.items() if name not in BEYOND and not name.startswith("last")
    }


def same(before: readers.Reading, after: readers.Reading) -> list[str]:
    """What a reader sees that is not the same."""
    wrong = []
    pairs = {
        "threads": (
            [(t.tid, t.sp, t.ip, t.stack, registers(t)) for t in reading.threads or ()] for reading in (before, after)
        ),
        "modules": (reading.modules for reading in (before, after)),
        "memory": (sorted(reading.memory or ()) for reading in (before, after)),
        "memory64": (sorted(reading.memory64 or ()) for reading in (before, after)),
        "infos": (reading.infos for reading in (before, after)),
        "counts": (
            (r.thread_count, r.module_count, r.memory_count, r.memory64_count, r.info_count) for r in (before, after)
        ),
    }
    for name, (one, other) in pairs.items():
        if one != other:
            wrong.append(f"{before.reader}: {name}: {one} became {other}")
    return wrong


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_is_kept_whole_is_the_same_to_every_reader(name: str, tmp_path: Path) -> None:
    """A reader that took the original takes the copy, and sees the same; written again it is the same file."""
    copy, again = tmp_path / "copy.dmp", tmp_path / "again.dmp"
    for kind in ("normal", None):
        report = md.write_dump(md.DumpFile(DATA / name), copy, kind)
        assert report.complete
        md.write_dump(md.DumpFile(copy), again, kind)
        assert copy.read_bytes() == again.read_bytes(), kind
    with md.open_dump(DATA / name) as before, md.open_dump(copy) as after:
        assert before.exceptions == after.exceptions
        assert before.threads == after.threads
        assert before.handles == after.handles
        assert [(m.base, m.path, m.codeview, m.build_id) for m in before.modules] == [
            (m.base, m.path, m.codeview, m.build_id) for m in after.modules
        ]
        assert sorted(s.type for s in before.streams if s.type) == sorted(s.type for s in after.streams)
        for held in before.memory:
            assert before.read(held.address, held.size) == after.read(held.address, held.size)
    for tool, read in READERS.items():
        try:
            original = read(DATA / name)
        except Exception:  # a reader that fails on the original promises nothing
            continue
        if original.errors and any(error.startswith("exit status") for error in original.errors):
            continue
        assert same(original, read(copy)) == [], tool


def test_what_microsofts_engine_refuses_is_told(tmp_path: Path) -> None:
    """Both lists stay both lists."""
    report = md.write_dump(md.DumpFile(DATA / "own-a-lldb22-stack.dmp"), tmp_path / "copy.dmp")
    assert report.warnings & md.report.DumpWarning.BOTH_LISTS
    assert (report.memory_ranges, report.memory64_ranges) == (3, 2)
    assert any("debugger engine refuses" in message for message in report.messages)


def stacks_of(dump: md.reading.OpenDump, threads: list[int]) -> list[tuple[int, int]]:
    """Of these threads alone; those that share a stack with others are taken out of the list."""
    spans = {t.id: (t.stack.address, t.stack.address + t.stack.size) for t in dump.threads if t.stack is not None}
    for tid in list(threads):
        low, high = spans.get(tid, (0, 0))
        if any(first < high and low < end for other, (first, end) in spans.items() if other != tid):
            threads.remove(tid)
    return [spans[tid] for tid in threads if tid in spans]


def random_filter(chance: random.Random, dump: md.reading.OpenDump) -> tuple[md.Filter, list[tuple[int, int]]]:
    """Excludes ranges of what the dump holds, threads and modules."""
    gone: list[tuple[int, int]] = []
    for _ in range(chance.randint(1, 3)):
        if not dump.memory:
            break
        held = chance.choice(dump.memory)
        first = held.address + chance.randrange(held.size)
        end = min(held.address + held.size, first + chance.choice([1, 16, 100, 4096, 1 << 20]))
        gone.append((first, end))
    rules = [md.exclude(range=span) for span in gone]
    threads = [thread.id for thread in dump.threads if chance.random() < 0.2]
    if not dump.flags & md.DumpType.WITH_FULL_MEMORY:  # then their stacks go with them
        gone += stacks_of(dump, threads)
    modules = [module.path for module in dump.modules if chance.random() < 0.1]
    escaped = [path.replace("[", "[[]").replace("?", "[?]").replace("*", "[*]").replace("\\", "/") for path in modules]
    return (
        md.Filter(*rules, threads=md.filters.Threads(exclude=threads), modules=md.filters.Modules(exclude=escaped)),
        gone,
    )


def unique_blocks(data: bytes, offset: int, size: int) -> list[bytes]:
    """Blocks of a part of the file that are nowhere else in it, and not too plain to be found elsewhere by chance."""
    blocks = []
    for at in range(offset, offset + size - BLOCK + 1, BLOCK):
        block = data[at : at + BLOCK]
        if len(set(block)) >= BLOCK // 2 and data.count(block) == 1:
            blocks.append(block)
        if len(blocks) == 64:
            break
    return blocks


@pytest.mark.parametrize("name", SAMPLES)
def test_what_random_filters_exclude_is_nowhere_and_the_rest_is_the_same(name: str, tmp_path: Path) -> None:
    """Bytes of excluded memory and of excluded threads appear nowhere in the file."""
    data = (DATA / name).read_bytes()
    chance = random.Random(name)
    with file_rules.DumpFile(DATA / name) as raw:
        runs = {run.address: (run.size, run.offset) for run in (*raw.memory(), *raw.memory64())}
    with md.open_dump(DATA / name) as before:
        for _ in range(FILTERS):
            rules, gone = random_filter(chance, before)
            out = tmp_path / "out.dmp"
            report = md.write_dump(md.DumpFile(DATA / name), out, filter=rules)
            assert report.complete
            written = out.read_bytes()
            with md.open_dump(out) as after:
                stay = {thread.id for thread in before.threads} - {rule.id for rule in rules.threads.rules}
                assert {thread.id for thread in after.threads} - {0xFFFFFFFF} == stay
                check_memory(before, after, gone)
                for thread in before.threads:
                    if (
                        thread.id not in stay
                        and len(set(thread.context)) > 32
                        and data.count(thread.context[120:250]) == 1
                    ):
                        assert thread.context[120:250] not in written
            for first, end in gone:
                for address, (size, offset) in runs.items():
                    low, high = max(first, address), min(end, address + size)
                    if low < high:
                        for block in unique_blocks(data, offset + low - address, high - low):
                            assert block not in written, hex(low)


def check_memory(before: md.reading.OpenDump, after: md.reading.OpenDump, gone: list[tuple[int, int]]) -> None:
    """What is not excluded is there, and what is excluded is not."""
    for held in before.memory:
        at, end = held.address, held.address + held.size
        inside = sorted((max(first, at), min(last, end)) for first, last in gone if first < end and last > at)
        for first, last in inside:
            if at < first:
                assert after.read(at, first - at) == before.read(at, first - at)
            at = max(at, last)
            for address in (first, last - 1):
                with pytest.raises(md.ReadError):
                    after.read(address, 1)
        if at < end:
            assert after.read(at, end - at) == before.read(at, end - at)


def test_holes_stay_holes(tmp_path: Path) -> None:
    """Of 8 GiB of memory a few pages are in the file: no more is read, and no more written; to a pipe zeros."""
    path, out, again = tmp_path / "sparse.dmp", tmp_path / "out.dmp", tmp_path / "again.dmp"
    writer, size, base = minidumps.Writer(), 8 << 30, 0x10000000
    writer.system(9)
    ranges = [(base, size), (base + size, 100)]
    rows = b"".join(struct.pack("<QQ", *entry) for entry in ranges)
    at = writer.put(struct.pack("<QQ", len(ranges), 0) + rows)
    writer.entries.append((minidumps.MEMORY64, 16 + len(rows), at))
    struct.pack_into("<Q", writer.data, at + 8, len(writer.data))
    head = writer.finish(flags=2)
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + size // 2 + 123)
        file.write(b"in the middle")
        file.seek(len(head) + size)
        file.write(b"e" * 100)
    report = md.write_dump(md.DumpFile(path), out)
    assert report.complete and report.memory64_ranges == 2
    assert report.zero_bytes > size - (1 << 20) and out.stat().st_blocks * 512 < 4 << 20
    md.write_dump(md.DumpFile(out), again, filter=md.Filter(md.exclude(range=(base, base + size // 2))))
    with md.open_dump(out) as whole, md.open_dump(again) as half:
        assert [(run.address, run.size) for run in whole.memory] == ranges
        for dump in (whole, half):
            assert dump.read(base + size // 2 + 100, 50) == bytes(23) + b"in the middle" + bytes(14)
            assert dump.read(base + size - 5, 105) == bytes(5) + b"e" * 100
    with (
        (tmp_path / "piped").open("wb") as file,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as reader,
    ):
        assert reader.stdin is not None
        small = md.Filter(md.exclude(range=(base + (1 << 17), base + size)))
        md.write_dump(md.DumpFile(path), reader.stdin, filter=small)
        reader.stdin.close()
    piped = (tmp_path / "piped").read_bytes()
    assert piped[:4] == b"MDMP" and not any(piped[8192:].rstrip(b"\0").removesuffix(b"e" * 100))
