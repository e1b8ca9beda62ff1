"""Pid namespaces: a /proc of another one is refused, and what is in a namespace below ours is dumped by our numbers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

FULL = md.DumpType.WITH_FULL_MEMORY
DUMP = """
import os, subprocess, sys, minidump_cffi as md
def outcome(process):
    try: return md.write_dump(process, sys.argv[1]).complete
    except md.DumpError as error: return f"{type(error).__name__}: {error}"
"""
CHILD = DUMP + (
    "child = subprocess.Popen(['sleep', '100'])\nfd = os.pidfd_open(child.pid)\n"
    "for process in (child.pid, md.PidFd(fd), os.getpid()): print(outcome(process))\n"
    "child.kill()\n"
)


def namespaced(prefix: list[str], program: str, path: Path) -> list[str]:
    """What the program prints under unshare or nsenter; skips where that is not to be had."""
    if os.getuid() != 0 or shutil.which(prefix[0]) is None:
        pytest.skip("only root may make namespaces")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("namespaces cannot be made here")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", program, str(path)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_proc_of_the_namespace_above(tmp_path: Path) -> None:
    """Number N is one process for ptrace and another in /proc: two of them were mixed into one dump."""
    found = namespaced(["unshare", "-p", "-f"], CHILD, tmp_path / "d.dmp")
    assert len(found) == 3
    for line in found:
        assert line.startswith("TargetError: /proc is that of another pid namespace"), line
    assert not list(tmp_path.iterdir())


def test_a_namespace_with_its_own_proc(tmp_path: Path) -> None:
    assert namespaced(["unshare", "-p", "-f", "--mount-proc"], CHILD, tmp_path / "d.dmp") == ["True"] * 3
    assert file_rules.broken_rules(tmp_path / "d.dmp") == []


@contextlib.contextmanager
def process_below() -> Iterator[int]:
    """A process in a pid and mount namespace below ours, by our number."""
    program = "import sys; print(1, flush=True); sys.stdin.read()"
    command = ["unshare", "-p", "-f", "--mount-proc", sys.executable, "-c", program]
    outer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert outer.stdout is not None and outer.stdin is not None
        if not outer.stdout.readline():
            pytest.skip("namespaces cannot be made here")
        yield int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
    finally:
        assert outer.stdin is not None and outer.stdout is not None
        outer.stdin.close()
        outer.wait(live.PATIENCE)
        outer.stdout.close()


def test_a_process_in_a_namespace_below_ours(take: live.Taker) -> None:
    with process_below() as pid:
        fd = os.pidfd_open(pid)
        try:
            for process in (pid, md.PidFd(fd)):
                path = take.path()
                report = md.write_dump(process, path, FULL)
                assert report.complete and report.pid == pid and [thread.tid for thread in report.threads] == [pid]
                with file_rules.DumpFile(path) as dump:
                    [thread] = dump.threads()
                    assert thread.stack.address <= thread.register("rsp") < thread.stack.address + thread.stack.size
        finally:
            os.close(fd)


def test_a_proc_of_a_namespace_below_ours(tmp_path: Path) -> None:
    """There this process has no number at all."""
    with process_below() as pid:
        found = namespaced(["nsenter", "--mount", "--target", str(pid)], CHILD, tmp_path / "d.dmp")
    for line in found:
        assert line.startswith("TargetError: "), line
        assert "/proc is" in line and "another pid namespace" in line


def test_without_proc(tmp_path: Path) -> None:
    prefix = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /proc && exec "$0" "$@"']
    number, handle, _own = namespaced(prefix, CHILD, tmp_path / "d.dmp")
    assert number.startswith("TargetError: /proc is not mounted here")
    assert "PidFd" in handle and "/proc is not mounted" in handle


def test_a_proc_that_hides_processes(tmp_path: Path) -> None:
    """With hidepid another user's process cannot be looked at; our own can."""
    program = (
        "import os\nos.setgroups([]); os.setresgid(65534, 65534, 65534)\n"
        "import minidump_cffi.dumping, subprocess\nother = os.getppid()\nos.setresuid(65534, 65534, 65534)\n"
        + DUMP.replace("sys.argv[1]", "'/dev/null'")
        + "child = subprocess.Popen(['sleep', '100'])\nprint(outcome(1))\nprint(outcome(child.pid))\nchild.kill()\n"
    )
    prefix = ["unshare", "-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$0" "$@"']
    hidden, shown = namespaced(prefix, program, tmp_path / "d.dmp")
    assert hidden.startswith("AccessDenied: ") and "hidepid" in hidden
    assert shown == "True"
