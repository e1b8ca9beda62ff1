"""Promise: the target always runs on. After success, error, cancel, exception, a hanging sink, a killed dumper."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]
DUMPER = (
    "import sys, minidump_cffi as md\nprint('go', flush=True)\n"
    "md.write_dump(int(sys.argv[1]), sys.argv[2], md.DumpType.WITH_FULL_MEMORY)\n"
)


@contextlib.contextmanager
def dumper(pid: int, path: Path | str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that dumps, already at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", DUMPER, str(pid), os.fspath(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def is_held(pid: int) -> bool:
    """A tracer holds the process."""
    return live.status_field(pid, "TracerPid") != "0"


@pytest.mark.parametrize("threads", [0, 8, 200])
def test_a_dumper_that_is_killed_while_the_target_stands(threads: int, start_pattern: Start, tmp_path: Path) -> None:
    """The output is a FIFO that is no longer read: the dumper hangs in write, the target is stopped, then SIGKILL."""
    target = start_pattern("--threads", threads, "--heap", 4)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ours = os.open(fifo, os.O_RDWR)
    try:
        with dumper(target.pid, fifo) as process:
            live.wait_until(lambda: is_held(target.pid), "the dumper stops the target")
            live.wait_until(lambda: "t" in live.task_states(target.pid).values(), "threads are stopped")
            process.send_signal(signal.SIGKILL)
            process.wait()
        target.assert_runs_on()
    finally:
        os.close(ours)


def test_ctrl_c_ends_the_dump_and_frees_the_target(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 4)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ours = os.open(fifo, os.O_RDWR)
    try:
        with dumper(target.pid, fifo) as process:
            live.wait_until(lambda: is_held(target.pid), "the dumper stops the target")
            process.send_signal(signal.SIGINT)
            assert process.wait(live.PATIENCE) == -signal.SIGINT
            assert process.stderr is not None
            assert b"KeyboardInterrupt" in process.stderr.read()
        target.assert_runs_on()
    finally:
        os.close(ours)


class Hanging:
    """A sink that never comes back from a write."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def write(self, data: Any) -> int:
        """Wait."""
        self.entered.set()
        self.go_on.wait()
        return len(data)


def test_a_sink_that_hangs_with_max_stop(start_pattern: Start) -> None:
    """The tracer resumes the target at max_stop whatever the sink is doing."""
    target = start_pattern("--heap", 4)
    sink = Hanging()
    seen: list[BaseException] = []

    def run() -> None:
        try:
            md.write_dump(target.pid, sink, FULL, spool=False, max_stop=0.3)
        except md.DumpError as error:
            seen.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert sink.entered.wait(live.PATIENCE)
        live.wait_until(lambda: not is_held(target.pid), "the target is resumed")
        target.assert_runs_on()
    finally:
        sink.go_on.set()
        thread.join(live.PATIENCE)
    assert isinstance(seen[0], md.DeadlineExceeded)


def test_a_slow_sink_is_spooled_and_does_not_hold_the_target(start_pattern: Start, tmp_path: Path) -> None:
    """By default a Python sink gets its bytes after the threads run again."""
    target = start_pattern("--heap", 4)
    held: list[bool] = []

    class Looking:
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: Any) -> int:
            held.append(is_held(target.pid))
            self.data += data
            return len(data)

    sink = Looking()
    report = md.write_dump(target.pid, sink, FULL)
    assert held
    assert not any(held)
    (tmp_path / "d.dmp").write_bytes(sink.data)
    live.assert_accepted(tmp_path / "d.dmp", report)


def test_python_may_run_in_other_threads_meanwhile(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 128)
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    md.write_dump(target.pid, tmp_path / "d.dmp", FULL)
    during = counted - before
    done.set()
    thread.join()
    assert during > 0


def test_progress_counts_up_to_all(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 256)
    seen: list[Any] = []
    report = md.write_dump(target.pid, tmp_path / "d.dmp", FULL, progress=seen.append)
    assert seen
    done = [item.bytes_done for item in seen]
    assert done == sorted(done)
    assert seen[-1].bytes_done == seen[-1].bytes_total == sum(extent.size for extent in report.extents)


def test_an_exception_out_of_a_python_callback_is_raised_again(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()

    def refuse(_input: Any, _output: Any) -> bool:
        raise KeyError("the callback's own")

    with (
        md.Callback(md.Filter(), hooks={md.protocol.CallbackType.CANCEL: refuse}) as callback,
        pytest.raises(KeyError, match="the callback's own"),
    ):
        md.write_dump(target.pid, tmp_path / "d.dmp", callback=callback)
    target.assert_runs_on()
    assert not (tmp_path / "d.dmp").exists()


def test_a_stopped_target_stays_stopped(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--threads", 2, "--stopped")
    live.wait_until(lambda: set(live.task_states(target.pid).values()) == {"T"}, "it stops itself")
    report = md.write_dump(target.pid, tmp_path / "d.dmp", FULL)
    live.assert_accepted(tmp_path / "d.dmp", report)
    live.wait_until(lambda: set(live.task_states(target.pid).values()) == {"T"}, "it is stopped as before")
    assert not is_held(target.pid)
    os.kill(target.pid, signal.SIGCONT)
    target.assert_runs_on()


def test_a_parent_does_not_notice(start_pattern: Start, tmp_path: Path) -> None:
    """The dumper is the parent: no stop of the child is reported to it, and no SIGCHLD about it."""
    target = start_pattern("--threads", 2)
    heard: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    try:
        md.write_dump(target.pid, tmp_path / "d.dmp", FULL)
        assert os.waitpid(target.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED) == (0, 0)
        assert not heard
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert target.finish() == 0


def test_another_thread_that_waits_for_children_disturbs_nothing(start_pattern: Start, tmp_path: Path) -> None:
    """waitpid(-1, __WALL) in another thread takes the tracer's wait events; stops are not learned from them."""
    target = start_pattern("--threads", 50)
    done = threading.Event()
    wall = 0x40000000

    def steal() -> None:
        while not done.is_set():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG | os.WUNTRACED | wall)

    thief = threading.Thread(target=steal)
    thief.start()
    try:
        for number in range(5):
            report = md.write_dump(target.pid, tmp_path / f"{number}.dmp")
            assert not report.threads_without_registers
    finally:
        done.set()
        thief.join()
    target.assert_runs_on()


def test_a_thread_that_waits_for_the_child_hears_of_its_end_alone(start_pattern: Start, tmp_path: Path) -> None:
    """As in every program with a thread in Popen.wait(): a stop of ours must not look like the child's end."""
    target = start_pattern("--threads", 4, "--exit", 6)
    statuses: list[int] = []
    waiter = threading.Thread(target=lambda: statuses.append(os.waitstatus_to_exitcode(os.waitpid(target.pid, 0)[1])))
    waiter.start()
    try:
        for number in range(3):
            md.write_dump(target.pid, tmp_path / f"{number}.dmp", FULL)
        assert not statuses
        assert waiter.is_alive()
        assert target.process.stdin is not None
        target.process.stdin.close()
        waiter.join(live.PATIENCE)
        assert statuses == [6]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(target.pid, signal.SIGKILL)
        waiter.join()


@pytest.mark.parametrize("status", [0, 3])
def test_a_child_that_ends_after_its_dump_keeps_its_exit_status(
    status: int, start_pattern: Start, tmp_path: Path
) -> None:
    target = start_pattern("--exit", status)
    md.write_dump(target.pid, tmp_path / "d.dmp", FULL)
    assert target.finish() == status


def test_a_child_killed_during_its_dump_keeps_its_exit_status(start_pattern: Start, tmp_path: Path) -> None:
    """It dies by SIGKILL while it is held; the waiting process sees exactly that."""
    target = start_pattern("--heap", 16, "--threads", 3)
    ours, theirs = os.pipe()
    seen: list[BaseException] = []

    def run() -> None:
        try:
            md.write_dump(target.pid, theirs, FULL)
        except md.DumpError as error:
            seen.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        live.wait_until(lambda: "t" in live.task_states(target.pid).values(), "it is stopped")
        os.kill(target.pid, signal.SIGKILL)
        assert target.process.wait(live.PATIENCE) == -signal.SIGKILL
        os.set_blocking(ours, False)
        while thread.is_alive():
            try:
                os.read(ours, 1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
    finally:
        os.close(ours)
        thread.join(live.PATIENCE)
        os.close(theirs)
    assert isinstance(seen[0], md.TargetGone)
    assert seen[0].pid == target.pid


@pytest.mark.parametrize("words", [("--fork-loop",), ("--thread-churn",), ("--map-churn",), ("--signals",)])
def test_restless_targets_run_on(words: tuple[str, ...], start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern(*words)
    for _ in range(10):
        take(target, FULL, only=())


def test_two_dumps_at_once_of_two_processes(start_pattern: Start, tmp_path: Path) -> None:
    targets = [start_pattern("--heap", 32), start_pattern("--heap", 32)]
    reports: dict[int, Any] = {}
    keep = md.Filter(md.exclude(name="*odd name*"))

    def run(number: int) -> None:
        reports[number] = md.write_dump(targets[number].pid, tmp_path / f"{number}.dmp", FULL, filter=keep)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, target in enumerate(targets):
        live.assert_accepted(tmp_path / f"{number}.dmp", reports[number])
        with file_rules.DumpFile(tmp_path / f"{number}.dmp") as dump:
            assert {thread.tid for thread in dump.threads()} == set(live.task_states(target.pid))
        target.assert_runs_on()


def test_two_dumps_at_once_of_one_process(start_pattern: Start, tmp_path: Path) -> None:
    """One of them gets it, or both one after the other; none hangs and the target runs on."""
    target = start_pattern("--heap", 64)
    outcomes: list[object] = []

    def run(number: int) -> None:
        try:
            outcomes.append(md.write_dump(target.pid, tmp_path / f"{number}.dmp", FULL))
        except md.TargetError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(live.PATIENCE)
    assert len(outcomes) == 2
    assert any(isinstance(outcome, md.DumpReport) for outcome in outcomes)
    target.assert_runs_on()


def test_in_a_forked_child_our_objects_are_unusable_and_free_nothing(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    program = (
        "import os, sys, minidump_cffi as md\n"
        "callback = md.Callback(md.Filter())\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: callback.reset()\n"
        "    except Exception as error: os._exit(5 if isinstance(error, (md.DumpError, RuntimeError)) else 6)\n"
        "    os._exit(7)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "md.write_dump(int(sys.argv[1]), sys.argv[2], callback=callback)\n"
        "sys.exit(status)\n"
    )
    done = live.run_python(program, target.pid, tmp_path / "d.dmp")
    assert done.returncode == 5, done.stderr
    target.assert_runs_on()


def test_a_forked_child_can_take_its_own_dumps(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    program = (
        "import os, sys, minidump_cffi as md\n"
        "keep = md.Filter(md.exclude(kind='file'))\n"
        "md.write_dump(int(sys.argv[1]), sys.argv[2] + '.a', filter=keep)\n"
        "md.write_dump(int(sys.argv[1]), sys.argv[2] + '.a')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    md.write_dump(int(sys.argv[1]), sys.argv[2] + '.b', filter=keep)\n"
        "    md.write_dump(int(sys.argv[1]), sys.argv[2] + '.c')\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = live.run_python(program, target.pid, tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert file_rules.broken_rules(tmp_path / "d.b") == file_rules.broken_rules(tmp_path / "d.c") == []
