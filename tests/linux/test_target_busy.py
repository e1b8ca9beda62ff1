"""A target that another process traces: said to be busy, waited for if that is asked for, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

Start = Callable[..., Any]
FULL = md.DumpType.WITH_FULL_MEMORY

# Seizes a process without stopping it, as a debugger that lets it run; detaches when its standard input ends.
TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("go", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def traced(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", TRACER, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == b"go\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@contextlib.contextmanager
def dump_under_way(pid: int) -> Iterator[Callable[[], None]]:
    """A dump whose output is not read until the function is called."""
    reader, writer = os.pipe()
    dumps = threading.Thread(target=md.write_dump, args=(pid, writer, FULL))
    drains = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 20), b"")])

    def go_on() -> None:
        if drains.ident is None:
            drains.start()
            dumps.join(30)
            assert not dumps.is_alive()
            os.close(writer)
            drains.join(30)
            os.close(reader)

    dumps.start()
    try:
        live.wait_until(lambda: live.status_field(pid, "State").startswith("t"), "the first dump")
        yield go_on
    finally:
        go_on()


def test_a_second_dump_says_that_one_is_under_way(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with dump_under_way(target.pid):
        for call in (md.write_dump, lambda pid, _: md.plan_dump(pid)):
            with pytest.raises(md.TargetBusy, match=f"under way, by process {os.getpid()}") as caught:
                call(target.pid, tmp_path / "a.dmp")
            assert caught.value.pid == target.pid
            assert not isinstance(caught.value, md.AccessDenied) and isinstance(caught.value, md.TargetError)
        done = live.run_cli("dump", str(target.pid), "-o", tmp_path / "a.dmp", "--busy-timeout", "0.1")
        assert done.returncode == 1 and "is under way" in done.stderr
    assert not list(tmp_path.glob("*.dmp*"))
    assert md.write_dump(target.pid, tmp_path / "a.dmp").complete
    target.assert_runs_on()


def test_the_end_of_the_first_dump_is_waited_for(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with dump_under_way(target.pid) as go_on:
        threading.Timer(0.3, go_on).start()
        started = time.monotonic()
        assert md.write_dump(target.pid, tmp_path / "a.dmp", busy_timeout=30).complete
        assert time.monotonic() - started >= 0.25
    with dump_under_way(target.pid) as go_on:
        threading.Timer(0.3, go_on).start()
        assert live.run_cli("plan", str(target.pid), "--busy-timeout", "30").returncode == 0


def test_a_wait_ends_with_its_time_a_cancel_and_the_deadline(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with traced(target.pid):
        started = time.monotonic()
        with pytest.raises(md.TargetBusy):
            md.write_dump(target.pid, tmp_path / "a.dmp", busy_timeout=0.3)
        assert time.monotonic() - started >= 0.3
        with pytest.raises(md.DeadlineExceeded):
            md.write_dump(target.pid, tmp_path / "a.dmp", busy_timeout=60, deadline=0.3)
        with pytest.raises(md.Cancelled):
            md.write_dump(target.pid, tmp_path / "a.dmp", busy_timeout=60, on_cancel=lambda: True)
        assert time.monotonic() - started < 20
    assert not list(tmp_path.glob("*.dmp*"))


def test_a_debugger_is_named_and_waited_for(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with traced(target.pid) as tracer:
        comm = Path(f"/proc/{tracer.pid}/comm").read_text().strip()
        with pytest.raises(md.TargetBusy, match=rf"traced by {comm} \(pid {tracer.pid}\): detach it first"):
            md.write_dump(target.pid, tmp_path / "a.dmp")
        assert tracer.stdin is not None
        threading.Timer(0.3, tracer.stdin.close).start()
        assert md.write_dump(target.pid, tmp_path / "a.dmp", busy_timeout=30).complete
    target.assert_runs_on()


def test_our_own_process_is_waited_for_too(tmp_path: Path) -> None:
    """One thread of ours that gets no signals: its tracer, who never looks, would not let it go on after one."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        with traced(thread.native_id) as tracer:
            with pytest.raises(md.TargetBusy, match=str(tracer.pid)):
                md.write_dump(os.getpid(), tmp_path / "a.dmp")
            assert tracer.stdin is not None
            threading.Timer(1.0, tracer.stdin.close).start()
            assert md.write_dump(os.getpid(), tmp_path / "a.dmp", busy_timeout=30).pid == os.getpid()
    finally:
        over.set()
        thread.join()


DUMPER = """
import collections, json, sys, minidump_cffi as md
outcomes = collections.Counter()
for _ in range(40):
    try:
        md.write_dump(int(sys.argv[1]), "/dev/null", busy_timeout=float(sys.argv[2]))
        outcomes["well"] += 1
    except Exception as error:
        outcomes["TargetBusy" if isinstance(error, md.TargetBusy) else repr(error)] += 1
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize(("wait", "allowed"), [(0, {"well", "TargetBusy"}), (60, {"well"})])
def test_many_at_once(start_pattern: Start, wait: float, allowed: set[str]) -> None:
    """The tracer may be gone again when the reason of the refusal is looked for: that is no lack of permission."""
    target = start_pattern("--threads", 3)
    dumpers = [
        subprocess.Popen([sys.executable, "-c", DUMPER, str(target.pid), str(wait)], stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    outcomes: Counter[str] = Counter()
    for dumper in dumpers:
        outcomes.update(json.loads(dumper.communicate(timeout=live.PATIENCE)[0]))
    assert set(outcomes) <= allowed and outcomes["well"] > 0
    assert outcomes.total() == 320
    target.assert_runs_on()


RING = """
import collections, json, sys, time, minidump_cffi as md
target, until = int(sys.stdin.readline()), time.monotonic() + 1.5
outcomes = collections.Counter()
while time.monotonic() < until:
    try:
        md.write_dump(target, "/dev/null", md.DumpType.WITH_FULL_MEMORY)
        outcomes["well"] += 1
    except Exception as error:
        outcomes[type(error).__name__] += 1
print(json.dumps(outcomes), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("count", [2, 3])
def test_processes_that_dump_each_other(count: int) -> None:
    """Each dumps the next, over and over: all go on, and dumps that cannot be are busy."""
    ring = [
        subprocess.Popen([sys.executable, "-c", RING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    watchdog = threading.Timer(30, lambda: [process.kill() for process in ring])
    watchdog.start()
    outcomes: Counter[str] = Counter()
    try:
        for process, target in zip(ring, ring[1:] + ring[:1], strict=True):
            assert process.stdin is not None
            process.stdin.write(b"%d\n" % target.pid)
            process.stdin.flush()
        for process in ring:
            assert process.stdout is not None
            outcomes.update(json.loads(process.stdout.readline()))
        for process in ring:
            assert live.status_field(process.pid, "TracerPid") == "0"
    finally:
        watchdog.cancel()
        for process in ring:
            process.kill()
            process.communicate()
    assert set(outcomes) <= {"well", "TargetBusy"} and outcomes["well"] > count


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, 1e10])
def test_the_time_to_wait_is_seconds(value: Any) -> None:
    for call in (md.write_dump, lambda pid, _, **rest: md.plan_dump(pid, **rest)):
        with pytest.raises((ValueError, TypeError), match="busy_timeout"):
            call(os.getpid(), "/dev/null", busy_timeout=value)
