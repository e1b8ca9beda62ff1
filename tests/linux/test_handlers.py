"""Signal handlers on alternate stacks: the stack that was interrupted is in a Normal dump, by the rules for stacks."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import fake
import file_rules
import live
import pytest
import readers

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
MARK = 64
QUICK = ("udmp-parser", "minidump")
PAUSE = "34 "  # the number of pause(2) on x86-64
Start = Callable[[str], live.Target]


@pytest.fixture(scope="session")
def handlers_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("handlers") / "handlers"
    return live.compile_c(
        live.HERE / "targets" / "handlers.c", program, "-O0", "-g", "-fno-omit-frame-pointer", "-pthread"
    )


@pytest.fixture
def start(handlers_program: Path) -> Iterator[Start]:
    started: list[live.Target] = []

    def begin(kind: str) -> live.Target:
        started.append(live.Target([str(handlers_program), kind]))
        return started[-1]

    yield begin
    for target in started:
        target.close()


def mark(number: int) -> bytes:
    """What interrupted function number so-and-so has on its stack, from 1."""
    return bytes((number + at) % 256 for at in range(MARK))


@pytest.mark.linux
@pytest.mark.parametrize("kind", ["mapping", "static", "local", "thread", "nested", "overflow"])
@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_the_interrupted_stack_is_in_the_dump(
    kind: str, dump_type: md.DumpType, start: Start, take: live.Taker
) -> None:
    target = start(kind)
    report, path = take(target.pid, dump_type, only=QUICK)
    assert report.complete and len(target.info["marks"]) == (2 if kind == "nested" else 1)
    plan = md.plan_dump(target.pid, dump_type)
    assert plan.memory_bytes == report.memory_bytes and plan.memory_ranges == report.memory_ranges
    with file_rules.DumpFile(path) as dump:
        for number, at in enumerate(target.info["marks"], 1):
            assert dump.read(at, MARK) == mark(number), f"{kind}: mark {number}"
    regions = [next(r for r in report.regions if r.base <= at < r.end) for at in target.info["marks"]]
    assert all(md.filters.Kind.STACK in region.kinds for region in regions)


@pytest.mark.linux
def test_the_back_trace_reaches_main(start: Start, handlers_program: Path, take: live.Taker) -> None:
    try:
        lldb = readers.lldb_program()
    except readers.ReaderMissing:
        pytest.skip("lldb is not installed")
    target = start("mapping")
    live.wait_until(lambda: Path(f"/proc/{target.pid}/syscall").read_text().startswith(PAUSE), "it has said everything")
    _, path = take(target.pid)
    done = subprocess.run(
        [lldb, "-x", "-b", "-o", f"target create {handlers_program} -c {path}", "-o", "bt"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE * 3, check=False,
    )  # fmt: skip
    frames = [line for line in done.stdout.splitlines() if "frame #" in line]
    for function in ("on_outer", "interrupted", "main"):
        assert any(f"`{function}" in frame for frame in frames), done.stdout + done.stderr


@pytest.mark.linux
@pytest.mark.parametrize(
    "keep",
    [
        md.Filter(md.exclude(kind="stack")),
        md.Filter(md.exclude(name="[[]stack]")),
        md.Filter(threads={"default": md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.CONTEXT}),
        md.Filter(md.exclude(range=(0, 1 << 47))),
    ],
    ids=["kind", "name", "no stacks", "range"],
)
def test_rules_for_stacks_hold_for_it(keep: md.Filter, start: Start, take: live.Taker) -> None:
    target = start("mapping")
    _, path = take(target.pid, only=QUICK, filter=keep)
    assert live.file_holds(path, mark(1)) == [-1]


@pytest.mark.linux
def test_a_thread_left_out_takes_it_along(start: Start, take: live.Taker) -> None:
    target = start("thread")
    [tid] = set(live.task_states(target.pid)) - {target.pid}
    _, path = take(target.pid, only=QUICK, filter=md.Filter(threads={"exclude": [tid]}))
    assert live.file_holds(path, mark(1)) == [-1]


@pytest.mark.linux
@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_its_words_are_sanitized(dump_type: md.DumpType, start: Start, take: live.Taker) -> None:
    target = start("mapping")
    _, path = take(target.pid, dump_type, only=QUICK, filter=md.Filter(redact=md.Redact(stacks=True)))
    [at] = target.info["marks"]
    with file_rules.DumpFile(path) as dump:
        assert dump.read(at + -at % 8, MARK - 8) == struct.pack("<Q", 0x0DEFACED0DEFACED) * (MARK // 8 - 1)


@pytest.mark.linux
def test_forged_frames_end_the_search(start: Start, take: live.Taker) -> None:
    """Stacks full of frames that name each other: a sound dump, with the places they name once."""
    target = start("forged")
    for dump_type in (NORMAL, FULL):
        report, _ = take(target.pid, dump_type)
        assert report.complete


def test_an_interrupted_stack_is_planned_like_a_stack() -> None:
    """With made-up stacks: in the memory list, and known as a stack, but no thread descriptor points at it."""
    target = fake.small(interrupted=(0x80_3000, 0))
    without, with_it = fake.write(fake.small(), "/dev/null"), fake.write(target, "/dev/null")
    # From the page of the stack pointer less the red zone to that of the other thread's.
    assert with_it.memory_bytes == without.memory_bytes + (0x80_6000 - 0x80_2000)
    assert [thread.stack_size for thread in with_it.threads] == [thread.stack_size for thread in without.threads]
    assert fake.plan(target).memory_bytes == with_it.memory_bytes
    for wild in (0x10_0000, 0xFFFF_FFFF_FFFF_FFFF, 0x70_1000):  # nothing there, and a file map
        found = fake.write(fake.small(interrupted=(wild, wild)), "/dev/null", filter=md.Filter(md.exclude(kind="file")))
        assert found.memory_bytes == without.memory_bytes
