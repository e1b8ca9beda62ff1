"""Why a dump was refused: each number of the system gets the class and the words that fit what refused."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import live
import pytest

pytestmark = pytest.mark.linux

Start = Callable[..., live.Target]
# x86-64: arch/x86/entry/syscalls/syscall_64.tbl
NUMBERS = {
    "clone": 56, "fork": 57, "vfork": 58, "ptrace": 101, "process_vm_readv": 310, "kcmp": 312,
    "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435,
}  # fmt: skip
OUTCOME = """
import os, sys, minidump_cffi as md
try: print("complete", md.write_dump(int(sys.argv[1]) or os.getpid(), "/dev/null").complete)
except Exception as error:
    print(type(error).__name__, getattr(error, "errno", None), error, getattr(error, "hint", None), sep="|")
"""


@pytest.fixture(scope="session")
def deny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """The command that runs another one where system calls are refused."""
    program = live.compile_c(live.HERE / "targets" / "deny.c", tmp_path_factory.mktemp("deny") / "deny")

    def command(number: int, *calls: str) -> list[str]:
        return [str(program), str(number), ",".join(str(NUMBERS[call]) for call in calls)]

    return command


def outcome(prefix: list[str], pid: int) -> str:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", OUTCOME, str(pid)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("there are no seccomp filters here")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


REFUSED, LIMIT, WHOLE = "AccessDenied", "LimitReached", "complete True"


@pytest.mark.parametrize(
    ("calls", "number", "expected", "words"),
    [
        (["pidfd_open"], errno.EPERM, REFUSED, ["pidfd_open", "seccomp"]),
        (["pidfd_open"], errno.ENOSYS, REFUSED, ["pidfd_open", "seccomp"]),
        (["pidfd_open"], errno.EMFILE, LIMIT, ["RLIMIT_NOFILE"]),
        (["pidfd_send_signal"], errno.EPERM, WHOLE, []),
        (["pidfd_send_signal"], errno.ENOSYS, WHOLE, []),
        (["clone", "clone3"], errno.EPERM, REFUSED, ["thread", "seccomp"]),
        (["clone", "clone3"], errno.EAGAIN, LIMIT, ["thread", "RLIMIT_NPROC", "pids.max"]),
        (["clone3"], errno.ENOSYS, WHOLE, []),
        (["clone"], errno.EPERM, WHOLE, []),
        (["ptrace"], errno.EPERM, REFUSED, ["seccomp", "ptrace"]),
        (["ptrace"], errno.ENOSYS, REFUSED, ["seccomp", "ptrace"]),
        (["process_vm_readv", "kcmp"], errno.EPERM, WHOLE, []),
        (["process_vm_readv", "kcmp"], errno.ENOSYS, WHOLE, []),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else errno.errorcode.get(value, str(value)),
)
def test_a_system_call_that_is_refused(
    calls: list[str], number: int, expected: str, words: list[str], deny: Callable[..., list[str]], start_pattern: Start
) -> None:
    target = start_pattern("--threads", 1)
    found = outcome(deny(number, *calls), target.pid)
    assert found.startswith(expected), found
    for word in words:
        assert word in found
    if expected != WHOLE:
        _, told, _, hint = found.split("|")
        assert told == str(number) and hint != "None"
    target.assert_runs_on()


@pytest.mark.parametrize(("number", "expected"), [(errno.EPERM, REFUSED), (errno.EAGAIN, LIMIT)])
def test_a_process_for_our_own_dump_is_refused(number: int, expected: str, deny: Callable[..., list[str]]) -> None:
    found = outcome(deny(number, "fork", "vfork", "clone", "clone3"), 0)
    assert found.startswith(f"{expected}|{number}|cannot start the process"), found


@contextlib.contextmanager
def cgroup_of_one() -> Iterator[Path]:
    """A cgroup that may have one task, of either version; skips where none can be made."""
    for parent in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        folder = parent / f"minidump-cffi-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / "pids.max").exists():
                (folder / "pids.max").write_text("1")
                yield folder
                return
        finally:
            live.wait_until(lambda folder=folder: not (folder / "cgroup.procs").read_text(), "its processes are gone")
            folder.rmdir()
    pytest.skip("no cgroup with a limit on tasks can be made here")


def test_the_limit_of_a_cgroup_is_named(start_pattern: Start) -> None:
    target = start_pattern()
    with cgroup_of_one() as folder:
        enter = ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]
        found = outcome(enter, target.pid)
        assert found.startswith(f"LimitReached|{errno.EAGAIN}|cannot start the worker thread"), found
        assert f"raise pids.max in {folder}" in found
        done = subprocess.run(
            [*enter, sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", "/dev/null"],
            capture_output=True, text=True, timeout=live.PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 1 and "pids.max" in done.stderr and "memory" not in done.stderr
    target.assert_runs_on()


def test_every_limit_on_open_files(start_pattern: Start) -> None:
    """Wherever the dump runs out of them: the limit is named, and neither memory nor the target is blamed."""
    target = start_pattern("--threads", 2)
    program = (
        "import os, resource, sys, minidump_cffi as md\n"
        "fd, sink = os.pidfd_open(int(sys.argv[1])), os.open('/dev/null', os.O_WRONLY)\n"
        "md.write_dump(int(sys.argv[1]), sink)\n"  # what is imported late is there now
        "free = os.dup(0); os.close(free)\n"
        "for more in range(20):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, 4096))\n"
        "    for process in (int(sys.argv[1]), md.PidFd(fd)):\n"
        "        try: print(md.write_dump(process, sink).complete)\n"
        "        except Exception as error: print(type(error).__name__, error.errno, error, sep='|')\n"
    )
    done = live.run_python(program, target.pid)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 40 and lines[-2:] == ["True", "True"]
    short = [line for line in lines if line != "True"]
    assert len(short) > 6
    for line in short:
        assert line.startswith((f"LimitReached|{errno.EMFILE}|", f"SinkError|{errno.EMFILE}|")), line
    target.assert_runs_on()


@pytest.mark.parametrize("mode", [0o4755, 0o2755], ids=["set-user-ID", "set-group-ID"])
def test_a_set_id_program(mode: int, tmp_path: Path) -> None:
    """Its user started it and may not look into it: not because it belongs to another user."""
    if os.getuid() != 0:
        pytest.skip("only root can make one")
    source = tmp_path / "waits.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts(""); fflush(stdout); return getchar() == 0; }\n')
    program = live.compile_c(source, tmp_path / "waits")
    program.chmod(mode)
    code = (
        "import os, subprocess, sys, minidump_cffi as md, minidump_cffi.dumping\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "child = subprocess.Popen(['waits'], executable=f'/proc/self/fd/{fd}', pass_fds=[fd], stdin=subprocess.PIPE,\n"
        "                         stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "try: md.write_dump(child.pid, '/dev/null')\n"
        "except md.AccessDenied as error: print(error)\n"
        "child.stdin.close()\n"
    )
    done = live.run_python(code, program)
    assert "set-user-ID or set-group-ID" in done.stdout, done.stdout + done.stderr
