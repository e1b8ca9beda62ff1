"""Who can be dumped, how it is named, and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import multiprocessing
import os
import pickle
import pty
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import minidump_cffi as md
from minidump_cffi import targets

FULL = md.DumpType.WITH_FULL_MEMORY


@contextlib.contextmanager
def child(program: str = "", **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process that says when it is ready and lives until its stdin closes."""
    text = f"import os, sys\n{program}\nprint('ready', flush=True)\nsys.stdin.read()"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen([sys.executable, "-c", text], **options) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running() -> Iterator[subprocess.Popen[str]]:
    with child() as process:
        yield process


def test_a_pid(running: subprocess.Popen[str], tmp_path: Path) -> None:
    report = md.write_dump(running.pid, tmp_path / "a.dmp")
    assert (report.pid, report.complete) == (running.pid, True)


def test_a_popen(running: subprocess.Popen[str]) -> None:
    assert md.write_dump(running, "/dev/null").pid == running.pid


def test_a_pidfd(running: subprocess.Popen[str]) -> None:
    fd = os.pidfd_open(running.pid)
    try:
        assert md.write_dump(md.PidFd(fd), "/dev/null").pid == running.pid
        assert os.fstat(fd), "it stays the caller's"
    finally:
        os.close(fd)


def test_a_psutil_process(running: subprocess.Popen[str]) -> None:
    psutil = pytest.importorskip("psutil")
    process = psutil.Process(running.pid)
    assert targets.resolve(process).start_time == targets.start_time(running.pid) != 0
    assert md.write_dump(process, "/dev/null").pid == running.pid


def test_a_psutil_process_whose_pid_was_used_again(running: subprocess.Popen[str]) -> None:
    psutil = pytest.importorskip("psutil")
    process = psutil.Process(running.pid)
    with child() as other:
        stale = psutil.Process(other.pid)
        other.kill()
        other.wait()
        # As if another process had the pid now.
        stale._pid = process.pid
        with pytest.raises(md.TargetGone, match="another process"):
            md.write_dump(stale, "/dev/null")


def _say_and_sleep(up: Any) -> None:
    up.set()
    time.sleep(60)


def test_a_multiprocessing_process() -> None:
    context = multiprocessing.get_context("spawn")
    up = context.Event()
    process = context.Process(target=_say_and_sleep, args=(up,))
    with pytest.raises(md.TargetError, match="not been started"):
        md.write_dump(process, "/dev/null")
    process.start()
    try:
        assert up.wait(60), "until then it may still be in exec"
        assert md.write_dump(process, "/dev/null").pid == process.pid
    finally:
        process.kill()
        process.join()
    with pytest.raises(md.TargetGone, match="status -9"):
        md.write_dump(process, "/dev/null")


def test_asyncio(running: subprocess.Popen[str]) -> None:
    async def main() -> md.DumpReport:
        return await asyncio.to_thread(md.write_dump, running.pid, "/dev/null")

    assert asyncio.run(main()).pid == running.pid


def test_the_wrong_start_time(running: subprocess.Popen[str]) -> None:
    class Stale:
        pid = running.pid

        def create_time(self) -> float:
            return 0.0

        def is_running(self) -> bool:
            return True

    target = targets.resolve(Stale())
    assert target.start_time == targets.start_time(running.pid)
    wrong = targets.Target(pid=running.pid, start_time=target.start_time + 1)
    with pytest.raises(md.TargetGone) as caught:
        md.plan_dump(wrong, FULL)  # type: ignore[arg-type]
    assert caught.value.pid == running.pid


def test_gone(tmp_path: Path) -> None:
    with child() as process:
        pid, fd = process.pid, os.pidfd_open(process.pid)
    try:
        for target in (process, pid, md.PidFd(fd)):
            with pytest.raises(md.TargetGone) as caught:
                md.write_dump(target, tmp_path / "a.dmp")
            assert caught.value.errno == errno.ESRCH
            assert isinstance(caught.value, ProcessLookupError)
    finally:
        os.close(fd)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pid", [0, -1, 1 << 40, (1 << 31) - 1])
def test_pids_that_cannot_be(pid: int) -> None:
    with pytest.raises(md.TargetGone):
        md.write_dump(pid, "/dev/null")


@pytest.mark.parametrize("process", [True, None, "1", 1.5, object()])
def test_what_names_no_process(process: Any) -> None:
    with pytest.raises(TypeError):
        md.write_dump(process, "/dev/null")


def test_descriptors_that_are_no_pidfds() -> None:
    with Path(os.devnull).open("rb") as file, pytest.raises(md.TargetError, match="not a pidfd"):
        md.write_dump(md.PidFd(file.fileno()), "/dev/null")
    with pytest.raises(md.TargetError, match="not open"):
        md.write_dump(md.PidFd(9999), "/dev/null")


def test_handles_are_for_windows() -> None:
    with pytest.raises(md.TargetError, match="Windows only") as caught:
        md.write_dump(md.Handle(4), "/dev/null")
    assert caught.value.hint


# -------------------------------------------------------------------------------------------------- our own consumer


def test_a_target_that_reads_our_pipe() -> None:
    with child() as process:
        assert process.stdin is not None
        with pytest.raises(md.TargetError, match="reads the pipe") as caught:
            md.write_dump(process, process.stdin.fileno(), FULL)
        assert caught.value.hint and caught.value.pid == process.pid
        with pytest.raises(md.TargetError, match="reads the pipe"):
            md.write_dump(process, process.stdin.buffer, FULL)


def test_a_pipe_we_read_ourselves() -> None:
    """A forked worker has inherited the reading end, but we read."""
    read, write = os.pipe()
    taken: list[int] = []

    def drain() -> None:
        while data := os.read(read, 1 << 16):
            taken.append(len(data))

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        with child(pass_fds=[read]) as process:
            report = md.write_dump(process, write, FULL)
    finally:
        os.close(write)
        thread.join()
        os.close(read)
    assert sum(taken) == report.file_bytes


def test_a_fifo_the_target_reads(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with (
        child(f"fifo = os.open({os.fspath(path)!r}, os.O_RDONLY | os.O_NONBLOCK)") as process,
        pytest.raises(md.TargetError, match="reads the pipe"),
    ):
        md.write_dump(process, path, FULL)


@pytest.mark.parametrize("family", ["unix", "tcp", "tcp6"])
def test_a_socket_whose_other_end_the_target_holds(family: str) -> None:
    if family == "unix":
        ours, theirs = socket.socketpair()
    else:
        kind = socket.AF_INET if family == "tcp" else socket.AF_INET6
        try:
            server = socket.create_server(("::1" if family == "tcp6" else "127.0.0.1", 0), family=kind)
        except OSError:
            pytest.skip(f"no {family} here")
        ours = socket.create_connection(server.getsockname()[:2])
        theirs = server.accept()[0]
        server.close()
    with ours, child(pass_fds=[theirs.fileno()]) as process, child() as other:
        assert targets.check_consumer(process.pid, ours.fileno()) is None, "we hold the other end, too"
        theirs.close()
        targets.check_consumer(other.pid, ours.fileno())
        with pytest.raises(md.TargetError, match="other end of the socket"):
            md.write_dump(process, ours.fileno(), FULL)


def test_a_terminal_the_target_serves() -> None:
    master, slave = pty.openpty()
    try:
        with child(pass_fds=[master]) as process, child() as other:
            targets.check_consumer(other.pid, slave)
            with pytest.raises(md.TargetError, match="serves the terminal"):
                md.write_dump(process, slave, FULL)
    finally:
        os.close(master)
        os.close(slave)


# -------------------------------------------------------------------------------------------------- our own process


def own(program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program that dumps itself."""
    text = f"import os, sys, threading\nsys.path[:0] = {sys.path!r}\nimport minidump_cffi as md\n{program}"
    return subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_our_own_process(tmp_path: Path) -> None:
    done = own(
        "for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "seen = []\n"
        "report = md.write_dump(os.getpid(), sys.argv[1], md.DumpType.WITH_FULL_MEMORY, deadline=60,\n"
        "    filter=md.Filter(md.exclude(kind='file', label='files')), progress=seen.append)\n"
        "assert report.pid == os.getpid() and report.complete and len(report.threads) == 4\n"
        "assert report.rules[0].label == 'files' and seen[-1].fraction == 1\n"
        "assert os.stat(sys.argv[1]).st_size == report.file_bytes\n"
        "import io; file = io.BytesIO()\n"
        "assert md.write_dump(os.getpid(), file).file_bytes == len(file.getvalue())\n"
        "assert md.plan_dump(os.getpid()).planned\n",
        str(tmp_path / "a.dmp"),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_our_own_stdout() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, sys\nsys.path[:0] = {sys.path!r}\nimport minidump_cffi as md\n"
            "print(md.write_dump(os.getpid(), 1).file_bytes, file=sys.stderr)",
        ],
        capture_output=True,
        check=True,
    )
    assert len(done.stdout) == int(done.stderr) and done.stdout[:4] == b"MDMP"


def test_hooks_cannot_run_while_we_are_dumped() -> None:
    with md.Callback(on_cancel=lambda: False) as callback, pytest.raises(md.TargetError, match="no Python hook"):
        md.write_dump(os.getpid(), "/dev/null", callback=callback)
    with pytest.raises(md.TargetError, match="no Python hook"):
        md.write_dump(os.getpid(), io.BytesIO(), spool=False)
    with pytest.raises(md.TargetError, match="address of a Routine"):
        md.write_dump(os.getpid(), "/dev/null", callback=md.protocol.Routine(routine=1))


def test_our_own_pipe_is_refused() -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(md.TargetError, match="reads the pipe"):
            md.write_dump(os.getpid(), write)
    finally:
        os.close(read)
        os.close(write)


def test_cancel_and_deadline_of_our_own_dump(tmp_path: Path) -> None:
    done = own(
        "for options, kind in (({'on_cancel': lambda: True}, md.Cancelled),\n"
        "                      ({'deadline': 0.001}, md.DeadlineExceeded)):\n"
        "    try: md.write_dump(os.getpid(), sys.argv[1], md.DumpType.WITH_FULL_MEMORY, **options)\n"
        "    except kind: pass\n"
        "    else: raise SystemExit('not raised')\n"
        "asked = []\n"
        "def later():\n"
        "    asked.append(1)\n"
        "    return len(asked) > 1\n"
        "try: md.write_dump(os.getpid(), sys.argv[1], md.DumpType.WITH_FULL_MEMORY, on_cancel=later)\n"
        "except md.Cancelled: pass\n",
        str(tmp_path / "a.dmp"),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_deadline_that_passed_on_the_way_is_told_as_one() -> None:
    """The other side takes seconds above 0, and would blame the caller for anything else."""
    from minidump_cffi import _running, _selfdump
    from minidump_cffi._options import DumpOptions
    from minidump_cffi._request import Request

    request = Request(DumpOptions(FULL, deadline=1e-9))
    timer = _running.Timer(request.options)
    left = timer.left()
    assert left is not None and left < 0
    asked = pickle.loads(_selfdump._question(request, timer, None))
    assert 0 < asked["options"].deadline < 0.1


def test_the_other_process_hears_a_cancel_while_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is a pipe without a reader, so the dump hangs until cancelled. Another process plays our part."""
    read, write = os.pipe()
    try:
        with child() as process, monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: process.pid)
            with pytest.raises(md.Cancelled) as caught:
                md.write_dump(
                    process.pid, write, FULL, deadline=60, on_cancel=lambda: select.select([read], [], [], 0)[0]
                )
            assert caught.value.pid == process.pid, "the other process said so"
    finally:
        os.close(read)
        os.close(write)


def test_the_other_process_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and the error is ours."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho $$ > "${0%/*}/pid"\nexec sleep 100\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    asked: list[int] = []

    def later() -> bool:
        asked.append(1)
        return len(asked) > 3

    options: dict[str, Any]
    for options, kind in (({"deadline": 0.5}, md.DeadlineExceeded), ({"on_cancel": later}, md.Cancelled)):
        with pytest.raises(kind):
            md.write_dump(os.getpid(), tmp_path / "a.dmp", grace=0.3, **options)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not (tmp_path / "a.dmp").exists()


def test_what_lies_beside_the_package_hides_no_module_of_python(tmp_path: Path) -> None:
    shutil.copytree(Path(md.__file__).parent, tmp_path / "minidump_cffi")
    (tmp_path / "tempfile.py").write_text("raise SystemExit('the wrong module')\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, sys, tempfile\nsys.path[:0] = {[str(tmp_path), *sys.path]!r}\nimport minidump_cffi as md\n"
            "assert md.__file__.startswith(sys.argv[1]), md.__file__\n"
            "assert md.write_dump(os.getpid(), '/dev/null').pid == os.getpid()\n",
            str(tmp_path),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_of_the_other_process_come_here(tmp_path: Path) -> None:
    done = own(
        "try: md.write_dump(os.getpid(), '/dev/full', md.DumpType.WITH_FULL_MEMORY)\n"
        "except md.SinkError as error: assert error.errno == 28 and error.phase is not None\n"
        "try: md.write_dump(os.getpid(), '/dev/null', filter=md.Filter(md.exclude(name='[')))\n"
        "except md.FilterError as error: assert 'rule 0' in str(error)\n"
        "sys.executable = '/nonexistent'\n"
        "try: md.write_dump(os.getpid(), '/dev/null')\n"
        "except FileNotFoundError: pass\n"
        "except md.TargetError: pass\n"
        "else: raise SystemExit('not raised')\n"
        "sys.executable = '/bin/false'\n"
        "try: md.write_dump(os.getpid(), '/dev/null')\n"
        "except md.TargetError as error: assert 'status 1' in str(error), error\n"
        "else: raise SystemExit('not raised')\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
