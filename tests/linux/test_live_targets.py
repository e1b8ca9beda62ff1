"""Real targets: a Python process, many mappings, many threads, memory mostly untouched, a file that shrank."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
GIB = 1 << 30
MIB = 1 << 20
Start = Callable[..., live.Target]


@pytest.mark.linux
@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_a_python_process_with_threads(dump_type: md.DumpType, take: live.Taker) -> None:
    with live.python_target(6) as target:
        report, path = take(target, dump_type)
        assert report.complete
        with file_rules.DumpFile(path) as dump:
            assert len(dump.threads()) == len(live.task_states(target.pid)) == 7
            found = dump.read(target.info["text"], 128)
            assert (found is not None and b"attack attack attack at dawn" in found) == bool(dump_type & FULL)


def test_twenty_thousand_mappings(start_pattern: Start, take: live.Taker) -> None:
    count = 20_000
    target = start_pattern("--maps", count)
    report, path = take(target, FULL)
    assert report.complete
    base, _, seed = target.region("maps")
    with file_rules.DumpFile(path) as dump:
        infos = {info.base: info for info in dump.infos()}
        offsets = {item.address: item for item in dump.memory64()}
        for index in range(count):
            at = base + index * live.PAGE
            info = infos[at]
            assert info.size == live.PAGE
            assert info.protect == (
                md.filters.MemoryProtect.READONLY if index % 2 else md.filters.MemoryProtect.READWRITE
            )
            item = offsets[at]
            assert dump.data[item.offset : item.offset + 8] == live.pattern(at, 8, seed)


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_five_hundred_threads(dump_type: md.DumpType, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 500, "--no-regions")
    report, path = take(target, dump_type)
    assert report.complete
    with file_rules.DumpFile(path) as dump:
        threads = {thread.tid: thread for thread in dump.threads()}
        assert len(threads) == 501
        for index, (tid, marker) in enumerate(target.info["threads"]):
            assert threads[tid].register("r15") == ((index + 1) * 0x0101010101010100 + 0xAA) & live.WORD
            assert dump.read(marker, 64) == live.pattern(marker, 64, 14)


def touched_runs(target: live.Target, touched: int) -> list[tuple[int, int]]:
    """Where pattern.c touched its sparse mapping."""
    base, size, _ = target.region("sparse")
    return [(base + run * (size // 64), touched // 64) for run in range(64)]


@pytest.mark.parametrize("untouched", ["auto", "omit"])
def test_four_gib_of_which_64_mib_are_touched(untouched: str, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--sparse", "4G", "--touch", "64M")
    report, path = take(target, FULL, untouched=untouched)
    assert report.complete
    room = path.stat().st_blocks * 512
    assert 64 * MIB <= room < 64 * MIB + 48 * MIB
    base, _size, seed = target.region("sparse")
    with file_rules.DumpFile(path) as dump:
        for at, length in touched_runs(target, 64 * MIB):
            for page in (at, at + length // 2, at + length - live.PAGE):
                assert dump.read_across(page, live.PAGE) == live.pattern(page, live.PAGE, seed)
        beside = base + 2 * MIB
        assert dump.read(beside, live.PAGE) == (bytes(live.PAGE) if untouched == "auto" else None)
    assert report.file_bytes == path.stat().st_size


def test_a_file_that_shrank(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    report, path = take(target, FULL)
    base, size, _ = target.region("shrunk")
    assert report.complete, "what is beyond the end of a file is known when the dump is planned"
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base, live.PAGE) == target.content("shrunk", 0, live.PAGE)
        assert not dump.holds(base + live.PAGE, size - live.PAGE)
    gaps = [gap for gap in report.gaps if base <= gap.address < base + size]
    assert [(gap.address, gap.size) for gap in gaps] == [(base + live.PAGE, size - live.PAGE)]
    assert gaps[0].reason is md.report.GapReason.BEYOND_EOF


def test_threads_that_come_and_go(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--thread-churn", "--threads", 3)
    for _ in range(5):
        _report, path = take(target, only=["udmp-parser"])
        with file_rules.DumpFile(path) as dump:
            tids = {thread.tid for thread in dump.threads()}
        assert {target.pid, *(tid for tid, _ in target.info["threads"])} <= tids


def test_mappings_that_come_and_go(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--map-churn", "--threads", 2)
    for _ in range(5):
        _, path = take(target, FULL, only=["udmp-parser", "minidump"])
        with file_rules.DumpFile(path) as dump:
            base, size, _ = target.region("plain")
            assert dump.read(base, size) == target.content("plain")


def test_one_moment_for_all_memory(start_pattern: Start, take: live.Taker) -> None:
    """While the dump is written no thread runs: a counter that two places keep in step is in step in the file."""
    source = (
        "import ctypes,json,os,sys,threading\n"
        "a = ctypes.create_string_buffer(1 << 20); b = ctypes.create_string_buffer(64 << 20)\n"
        "x = ctypes.c_uint64.from_buffer(a, 4096); y = ctypes.c_uint64.from_buffer(b, 60 << 20)\n"
        "def run():\n"
        "    while True:\n"
        "        x.value += 1; y.value = x.value\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "print(json.dumps({'pid': os.getpid(), 'x': ctypes.addressof(x), 'y': ctypes.addressof(y)}), flush=True)\n"
        "for n, _ in enumerate(sys.stdin): print('pong', n, 0, flush=True)\n"
    )
    import sys

    with live.Target([sys.executable, "-c", source]) as target:
        for _ in range(3):
            _, path = take(target, FULL, only=["udmp-parser"])
            with file_rules.DumpFile(path) as dump:
                x = int.from_bytes(dump.read(target.info["x"], 8) or b"", "little")
                y = int.from_bytes(dump.read(target.info["y"], 8) or b"", "little")
            assert x > 0
            assert x - y in (0, 1)


def test_a_forked_worker_is_dumped_like_any_process(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--heap", 16, "--fork-worker")
    assert target.pid != target.process.pid
    _, path = take(target, FULL)
    base, size, seed = target.region("heap")
    with file_rules.DumpFile(path) as dump:
        assert dump.read(base, 16 * live.PAGE) == live.pattern(base, 16 * live.PAGE, seed)
        assert dump.read(base + size - live.PAGE, live.PAGE) == live.pattern(base + size - live.PAGE, live.PAGE, seed)


def test_signals_that_arrive_during_a_dump(start_pattern: Start, take: live.Taker) -> None:
    """None is lost or comes twice: what a thread was about to receive when it was stopped, it gets when it goes on."""
    target = start_pattern("--signals", "--threads", 200)  # many threads: the stop takes long enough to be hit
    sent, done = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        while not done.is_set() and sent < 20_000:
            os.kill(target.pid, signal.SIGRTMIN)
            sent += 1
            done.wait(0.0002)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(60):
            take(target, only=())
    finally:
        done.set()
        sender.join()
    _, timer, queued = target.ping()
    assert queued == sent > 100
    live.wait_until(lambda: target.ping()[1] > timer, "the timer goes on")


def test_path_of_the_dump_may_be_bytes_like_a_path(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    folder = tmp_path / "with space \u00e9"
    folder.mkdir()
    report = md.write_dump(target.pid, str(folder / "a b.dmp"))
    live.assert_accepted(folder / "a b.dmp", report)


def test_a_file_that_grows_while_the_dump_begins(tmp_path: Path) -> None:
    """Databases map more than their file has, and let it grow: what exists at the stop is dumped."""
    program = live.compile_c(live.HERE / "targets" / "moving.c", tmp_path / "moving", "-O0")
    path = tmp_path / "moving.dmp"
    with live.Target([str(program), "grows", str(tmp_path / "file")]) as target:
        base, size = target.info["memory"]
        keep = md.Filter(md.include(range=(base, base + size)), default="exclude")
        memory = Path(f"/proc/{target.pid}/mem")

        def has_grown() -> bool:
            with memory.open("rb", buffering=0) as file:
                file.seek(base)
                return int.from_bytes(file.read(8), "little") > 1

        live.wait_until(has_grown, "the file grows")
        for _ in range(10):
            report = md.write_dump(target.pid, path, FULL, filter=keep)
            assert report.complete
            with file_rules.DumpFile(path) as dump:
                count = dump.read(base, 8)
                assert count is not None
                last = int.from_bytes(count, "little") - 1
                assert last > 0
                page = dump.read(base + last * live.PAGE, 8)
                assert page is not None, f"page {last} was there at the stop and is not in the dump"
                assert int.from_bytes(page, "little") == last
