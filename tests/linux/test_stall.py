"""Something hangs while the target is stopped: the target is resumed in time, and the error names what it was."""

from __future__ import annotations

import inspect
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live
import pytest
from silent_files import MAPPER, Silent, running

import minidump_cffi as md

pytestmark = pytest.mark.linux

Start = Callable[..., live.Target]
FULL = md.DumpType.WITH_FULL_MEMORY
UNSPOOLED = ("-o", "-", "--no-spool")
SHORT = 0.4  # seconds
SOON = 0.3  # until what does not end is abandoned


def runs(pid: int) -> bool:
    return not any(state == "t" for state in live.task_states(pid).values())


def test_an_output_that_nobody_reads(start_pattern: Start) -> None:
    target = start_pattern()
    reader, writer = os.pipe()
    try:
        with pytest.raises(
            md.Stalled, match=r"0\.4 s without progress \(stall_timeout\); what hung: the output"
        ) as caught:
            md.write_dump(target.pid, writer, FULL, stall_timeout=SHORT)
        assert isinstance(caught.value, md.DeadlineExceeded) and caught.value.pid == target.pid
        assert runs(target.pid)
    finally:
        os.close(reader)
        os.close(writer)
    target.assert_runs_on()


def test_a_write_that_does_not_come_back(start_pattern: Start) -> None:
    target = start_pattern()
    over = threading.Event()
    seen: list[bool] = []

    class Hung:
        def write(self, data: bytes) -> int:
            live.wait_until(lambda: runs(target.pid), "the target was resumed", 10)
            seen.append(True)
            over.wait(30)
            return len(data)

    try:
        with pytest.raises(md.Stalled, match="the output hangs; the target runs on"):
            md.write_dump(target.pid, Hung(), FULL, spool=False, stall_timeout=SHORT)
        assert seen
    finally:
        over.set()
    target.assert_runs_on()


@pytest.mark.parametrize("kind", [md.protocol.CallbackType.INCLUDE_VM_REGION, md.protocol.CallbackType.MODULE])
def test_a_hook_that_does_not_come_back(start_pattern: Start, kind: md.protocol.CallbackType) -> None:
    target = start_pattern()
    over = threading.Event()
    entered = threading.Event()

    def hang(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        assert not runs(target.pid)
        entered.set()
        over.wait(30)
        return False

    started = time.monotonic()
    try:
        with pytest.raises(md.Stalled, match=kind.name) as caught:
            md.write_dump(
                target.pid, "/dev/null", FULL, callback=md.protocol.PythonCallback({kind: hang}), stall_timeout=SHORT
            )
        assert caught.value.callback_type is kind
        assert entered.is_set() and runs(target.pid)
        assert SHORT <= time.monotonic() - started < 10
    finally:
        over.set()
    target.assert_runs_on()


def test_what_comes_back_late_is_named_too(start_pattern: Start) -> None:
    """The callback comes back after the target was resumed: what it was asked for is worth nothing any more."""
    target = start_pattern()

    def late(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        live.wait_until(lambda: runs(target.pid), "the target was resumed", 10)
        return False

    callback = md.protocol.PythonCallback({md.protocol.CallbackType.INCLUDE_VM_REGION: late})
    with pytest.raises(md.Stalled, match=r"what hung: the callback \(IncludeVmRegion\)") as caught:
        md.write_dump(target.pid, "/dev/null", FULL, callback=callback, stall_timeout=SHORT)
    assert caught.value.callback_type is md.protocol.CallbackType.INCLUDE_VM_REGION
    target.assert_runs_on()


@pytest.fixture
def hung_file(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file that a FUSE server serves, until told to be silent, below an overlay, which does not show that."""
    folders = {name: tmp_path / name for name in ("served", "room", "top")}
    for folder in folders.values():
        folder.mkdir()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 18))
    silent = Silent(folders["served"], source)
    with live.small_filesystem(folders["room"], "4m") as room:
        upper, work = room / "upper", room / "work"
        upper.mkdir(), work.mkdir()
        layers = f"lowerdir={folders['served']},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "-o", layers, "overlay", str(folders["top"])]
        try:
            if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
                pytest.skip("no overlay can be mounted here")
            yield folders["top"] / "image", silent.silence
        finally:
            silent.close()  # the kernel ends what waits for it
            subprocess.run(["umount", "-l", str(folders["top"])], check=False, capture_output=True)


def test_a_file_that_does_not_answer(hung_file: tuple[Path, Callable[[], None]]) -> None:
    path, silence = hung_file
    with running(sys.executable, "-c", MAPPER, path) as target:
        silence()
        with pytest.raises(md.Stalled, match=re.escape(str(path)[-40:])) as caught:
            md.write_dump(target.pid, "/dev/null", FULL, stall_timeout=SHORT, grace=SOON)
        assert runs(target.pid)
        assert caught.value.address is not None
        assert "the file of the mapping at" in str(caught.value) or "a read of memory at" in str(caught.value)


def test_slow_is_not_hung(start_pattern: Start, tmp_path: Path) -> None:
    """A reader that takes little at a time, for much longer in all than it may take nothing."""
    target = start_pattern()
    reader, writer = os.pipe()
    taken = bytearray()

    def read() -> None:
        until = time.monotonic() + 4 * SHORT
        while piece := os.read(reader, 4096 if time.monotonic() < until else 1 << 20):
            taken.extend(piece)
            if time.monotonic() < until:
                time.sleep(SHORT / 4)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        report = md.write_dump(target.pid, writer, FULL, stall_timeout=SHORT)
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)
    assert report.complete and report.stop_time > 3 * SHORT
    assert len(taken) == report.file_bytes


def test_a_callback_that_returns_is_progress(start_pattern: Start) -> None:
    """Each call takes little, all of them much longer than the limit, and nothing is read or written meanwhile."""
    target = start_pattern()
    asked: list[float] = []

    def slow(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        if len(asked) < 16:
            time.sleep(SHORT / 5)
        asked.append(time.monotonic())
        answer.continue_ = True
        return True

    callback = md.protocol.PythonCallback({md.protocol.CallbackType.INCLUDE_VM_REGION: slow})
    report = md.write_dump(target.pid, "/dev/null", FULL, callback=callback, stall_timeout=SHORT)
    assert report.complete and report.callbacks[md.protocol.CallbackType.INCLUDE_VM_REGION] == len(asked) >= 16
    assert asked[-1] - asked[0] > 2 * SHORT


@pytest.mark.parametrize("limit", [None, 0, 30.0])
def test_without_a_limit(start_pattern: Start, limit: float | None) -> None:
    target = start_pattern()
    slow = md.protocol.PythonCallback(
        {md.protocol.CallbackType.MODULE: lambda question, answer: time.sleep(0.05) or True}
    )
    assert md.write_dump(target.pid, "/dev/null", callback=slow, stall_timeout=limit).complete
    assert md.plan_dump(target.pid, stall_timeout=limit).pid == target.pid


def test_thirty_seconds_are_the_default() -> None:
    for function in (md.write_dump, md.plan_dump):
        assert inspect.signature(function).parameters["stall_timeout"].default == 30.0
    done = live.run_cli("dump", "--help")
    assert "--stall-timeout" in done.stdout and "default: 30" in done.stdout


def test_the_command_line(start_pattern: Start) -> None:
    target = start_pattern()
    command = [
        sys.executable,
        "-m",
        "minidump_cffi",
        "dump",
        str(target.pid),
        "-o",
        "-",
        "--no-spool",
        "--type",
        "full",
    ]
    dumper = subprocess.Popen([*command, "--stall-timeout", str(SHORT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert dumper.wait(30) == 1
        assert dumper.stderr is not None and b"what hung: the output" in dumper.stderr.read()
    finally:
        dumper.kill()
        dumper.communicate()
    target.assert_runs_on()


def test_our_own_process() -> None:
    """It is dumped by another one, which knows the limit too."""
    reader, writer = os.pipe()
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[reader])
    os.close(reader)
    try:
        with pytest.raises(md.Stalled, match="what hung: the output"):
            md.write_dump(os.getpid(), writer, FULL, stall_timeout=SHORT)
    finally:
        os.close(writer)
        holder.kill()
        holder.communicate()


def test_a_dumper_that_is_stopped_itself(start_pattern: Start) -> None:
    """SIGSTOP, as by Ctrl-Z: its tracer goes on, and does not let the target wait for that."""
    target = start_pattern()
    command = [
        sys.executable,
        "-m",
        "minidump_cffi",
        "dump",
        str(target.pid),
        "-o",
        "-",
        "--no-spool",
        "--type",
        "full",
    ]
    dumper = subprocess.Popen([*command, "--stall-timeout", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        live.wait_until(lambda: not runs(target.pid), "the stop")
        dumper.send_signal(19)  # SIGSTOP
        live.wait_until(lambda: runs(target.pid), "the target was resumed", 10)
        dumper.send_signal(18)  # SIGCONT
        assert dumper.wait(30) == 1
        assert dumper.stderr is not None and b"this process itself, stopped by a signal" in dumper.stderr.read()
    finally:
        dumper.kill()
        dumper.communicate()
    target.assert_runs_on()


def test_the_process_group_of_a_dumper_is_stopped(start_pattern: Start) -> None:
    """Ctrl-Z and supervisors stop a whole group: the tracer is not in it, and resumes the target all the same."""
    target = start_pattern()
    command = [
        sys.executable,
        "-m",
        "minidump_cffi",
        "dump",
        str(target.pid),
        "-o",
        "-",
        "--no-spool",
        "--type",
        "full",
    ]
    command += ["--stall-timeout", "1"]
    dumper = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        live.wait_until(lambda: not runs(target.pid), "the stop")
        os.killpg(dumper.pid, 19)  # SIGSTOP
        live.wait_until(lambda: runs(target.pid), "the target was resumed", 10)
        os.killpg(dumper.pid, 18)  # SIGCONT
        assert dumper.wait(30) == 1
        assert dumper.stderr is not None and b"this process itself, stopped by a signal" in dumper.stderr.read()
    finally:
        dumper.kill()
        dumper.communicate()
    target.assert_runs_on()


CRASHING = """
import os, resource, sys
import minidump_cffi as md
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
os.chdir(sys.argv[1])
md.write_dump(int(sys.argv[2]), sys.stdout.buffer.fileno(), md.DumpType.WITH_FULL_MEMORY, stall_timeout=None)
"""


def test_a_dumper_that_crashes(start_pattern: Start, tmp_path: Path) -> None:
    """Its core takes for ever, on a file system that does not answer: the target does not wait for that."""
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "@", "/")):
        pytest.skip("cores are not written to the working directory here")
    if os.getuid() != 0 and resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("cores are not written here")
    target = start_pattern()
    source, folder = tmp_path / "source", tmp_path / "served"
    source.write_bytes(b"x")
    folder.mkdir()
    silent = Silent(folder, source)
    command = [sys.executable, "-c", CRASHING, str(folder), str(target.pid)]
    dumper = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(live.HERE.parent)})
    try:
        live.wait_until(lambda: not runs(target.pid), "the stop")
        silent.silence()
        dumper.send_signal(signal.SIGSEGV)
        live.wait_until(lambda: runs(target.pid), "the target was resumed", 10)
        assert live.status_field(dumper.pid, "CoreDumping") == "1"
        target.assert_runs_on()
    finally:
        silent.close()  # ends the core
        dumper.kill()
        dumper.communicate()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, 1e10])
def test_the_limit_is_seconds(value: Any) -> None:
    for call in (md.write_dump, lambda pid, _, **rest: md.plan_dump(pid, **rest)):
        with pytest.raises((ValueError, TypeError), match="stall_timeout"):
            call(os.getpid(), "/dev/null", stall_timeout=value)
