"""What bad targets get: an exception of ours with errno, pid and phase; one line and a status on the command line."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
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


def assert_refused(
    process: Any, folder: Path, expected: type[md.DumpError], number: int | None, *words: str, pid: int | None = None
) -> md.DumpError:
    """The API raises this, with these words, and leaves nothing; the command line says it in one line, status 1."""
    place = folder / "refused"
    place.mkdir(exist_ok=True)
    with pytest.raises(expected) as caught:
        md.write_dump(process, place / "api.dmp")
    error = caught.value
    target = process if isinstance(process, int) else pid
    assert error.pid == target
    assert isinstance(error.phase, md.report.Phase)
    if number is not None:
        assert isinstance(error, OSError)
        assert error.errno == number
    for word in words:
        assert word in str(error)
    if target is not None:
        assert_cli_refuses(1, *words, arguments=["dump", str(target), "-o", place / "cli.dmp"])
    assert not list(place.iterdir())
    return error


def assert_cli_refuses(status: int, *words: str, arguments: list[Any], **options: Any) -> None:
    """One line on stderr with these words, nothing on stdout, this exit status."""
    done = live.run_cli(*arguments, **options)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def dead_pid() -> int:
    """A pid that belonged to a process a moment ago."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_no_such_pid(tmp_path: Path) -> None:
    pid = dead_pid()
    assert_refused(pid, tmp_path, md.TargetGone, errno.ESRCH, str(pid))


@pytest.mark.parametrize("number", [0, -1, 1 << 31, 1 << 40])
def test_a_number_that_is_no_pid(number: int, tmp_path: Path) -> None:
    with pytest.raises(md.TargetGone):
        md.write_dump(number, tmp_path / "d.dmp")
    assert_cli_refuses_usage(str(number), tmp_path)


def assert_cli_refuses_usage(word: str, folder: Path) -> None:
    """Wrong usage: status 2."""
    done = live.run_cli("dump", "-o", folder / "d.dmp", "--", word)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr


@pytest.mark.parametrize("thing", [None, "1", 1.0, True, object()])
def test_things_that_name_no_process(thing: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="process must be"):
        md.write_dump(thing, tmp_path / "d.dmp")


def spawn_with_pid(pid: int) -> subprocess.Popen[bytes] | None:
    """A new process with a given number, where the kernel lets us choose."""
    try:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    except OSError:
        return None
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    if process.pid == pid:
        return process
    live.end(process)
    return None


def test_a_pid_that_was_used_again(tmp_path: Path) -> None:
    """Psutil knows when its process started; the pid is another's now."""
    psutil = pytest.importorskip("psutil")
    first = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    known, fd = psutil.Process(first.pid), os.pidfd_open(first.pid)
    begun = live.start_time(first.pid)
    live.end(first)
    time.sleep(0.05)  # start times count in ticks of 10 ms
    try:
        second = spawn_with_pid(first.pid)
        if second is None:
            pytest.skip("the next pid cannot be chosen here")
        try:
            live.wait_until(lambda: live.start_time(second.pid) is not None, "it started")
            if live.start_time(second.pid) == begun:
                pytest.skip("both processes started in one clock tick")
            for process in (known, md.PidFd(fd)):
                with pytest.raises(md.TargetGone) as caught:
                    md.write_dump(process, tmp_path / "d.dmp")
                assert caught.value.errno == errno.ESRCH
            md.write_dump(second.pid, tmp_path / "d.dmp")
        finally:
            live.end(second)
    finally:
        os.close(fd)


def test_a_popen_that_has_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(md.TargetGone, match="ended with status 0"):
        md.write_dump(process, tmp_path / "d.dmp")


def test_popen_pidfd_and_psutil_name_a_process(start_pattern: Start, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    target = start_pattern()
    fd = os.pidfd_open(target.pid)
    try:
        for process in (target.process, md.PidFd(fd), psutil.Process(target.pid)):
            report = md.write_dump(process, tmp_path / "d.dmp")
            assert report.pid == target.pid
    finally:
        os.close(fd)


def test_a_descriptor_that_is_no_pidfd(tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as file, pytest.raises(md.TargetError, match="not a pidfd"):
        md.write_dump(md.PidFd(file.fileno()), tmp_path / "d.dmp")


def test_a_zombie(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        live.wait_until(lambda: live.task_states(process.pid) == {process.pid: "Z"}, "it is a zombie")
        assert_refused(process.pid, tmp_path, md.TargetError, None, "zombie")
    finally:
        assert process.wait() == 0


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_a_dead_leader_with_living_threads_is_dumped(
    dump_type: md.DumpType, start_pattern: Start, take: live.Taker
) -> None:
    target = start_pattern("--threads", 2, "--zombie-leader")
    live.wait_until(lambda: live.task_states(target.pid)[target.pid] == "Z", "the leader is dead")
    report, path = take(target, dump_type)
    living = set(live.task_states(target.pid)) - {target.pid}
    with file_rules.DumpFile(path) as dump:
        assert living <= {thread.tid for thread in dump.threads()}
        for _tid, marker in target.info["threads"]:
            assert dump.read(marker, 64) == live.pattern(marker, 64, 14)
        if dump_type & FULL:
            base, size, _ = target.region("plain")
            assert dump.read(base, size) == target.content("plain")
    assert report.complete


TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("go", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def tracer_of(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that traces this one."""
    process = subprocess.Popen([sys.executable, "-c", TRACER, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        yield process
    finally:
        live.end(process)


def test_a_target_that_is_traced_names_the_tracer(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--threads", 2)
    with tracer_of(target.pid) as tracer:
        comm = Path(f"/proc/{tracer.pid}/comm").read_text().strip()
        assert_refused(target.pid, tmp_path, md.TargetError, None, str(tracer.pid), comm)
        assert live.status_field(target.pid, "TracerPid") == str(tracer.pid)
    target.assert_runs_on()
    md.write_dump(target.pid, tmp_path / "d.dmp")


def test_one_traced_thread_of_several(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--threads", 3)
    tid = target.info["threads"][1][0]
    with tracer_of(tid) as tracer, pytest.raises(md.TargetError, match=str(tracer.pid)):
        md.write_dump(target.pid, tmp_path / "d.dmp")
    target.assert_runs_on()


def test_our_own_consumer(tmp_path: Path) -> None:
    """The target reads the pipe the dump goes to: it could not while stopped."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert process.stdin is not None
        with pytest.raises(md.TargetError, match="pipe") as caught:
            md.write_dump(process.pid, process.stdin.fileno())
        assert caught.value.pid == process.pid
        assert caught.value.hint
        assert_cli_refuses(
            1,
            "pipe",
            arguments=["dump", str(process.pid), "-o", f"/proc/self/fd/{process.stdin.fileno()}"],
            pass_fds=[process.stdin.fileno()],
        )
    finally:
        live.end(process)


def test_a_consumer_behind_a_socket(tmp_path: Path) -> None:
    import socket

    ours, theirs = socket.socketpair()
    with ours:
        process = subprocess.Popen(["cat"], stdin=theirs, stdout=subprocess.DEVNULL)
        theirs.close()
        try:
            with pytest.raises(md.TargetError, match="socket"):
                md.write_dump(process.pid, ours.fileno())
        finally:
            live.end(process)


def test_the_terminal_the_target_serves(tmp_path: Path) -> None:
    """A terminal emulator must not be stopped by a process that writes to its terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[master]
    )
    os.close(master)
    try:
        with pytest.raises(md.TargetError, match="terminal"):
            md.write_dump(process.pid, slave)
    finally:
        os.close(slave)
        live.end(process)


def test_own_pid(tmp_path: Path) -> None:
    report = md.write_dump(os.getpid(), tmp_path / "d.dmp")
    live.assert_accepted(tmp_path / "d.dmp", report)
    with file_rules.DumpFile(tmp_path / "d.dmp") as dump:
        tids = {thread.tid for thread in dump.threads()}
    assert threading.get_native_id() in tids
    assert live.status_field(os.getpid(), "TracerPid") == "0"


def test_own_pid_with_a_python_hook(tmp_path: Path) -> None:
    with (
        md.Callback(md.Filter(), hooks={md.protocol.CallbackType.CANCEL: lambda *_: True}) as callback,
        pytest.raises((md.DumpError, ValueError), match="own"),
    ):
        md.write_dump(os.getpid(), tmp_path / "d.dmp", callback=callback)
    assert not list(tmp_path.iterdir())


def test_a_kernel_thread(tmp_path: Path) -> None:
    try:
        name = Path("/proc/2/comm").read_text().strip()
    except OSError:
        name = ""
    if name != "kthreadd":
        pytest.skip("kernel threads cannot be seen here")
    assert_refused(2, tmp_path, md.TargetError, None, "kernel thread")


def test_a_32_bit_target(tmp_path: Path) -> None:
    source = live.HERE / "targets" / "tiny32.c"
    flags = ["-m32", "-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector", "-fno-pic"]
    try:
        live.compile_c(source, tmp_path / "tiny32", *flags)
    except AssertionError as error:
        pytest.skip(f"no 32-bit program can be made here: {str(error).splitlines()[-1]}")
    try:
        process = subprocess.Popen([str(tmp_path / "tiny32")], stdout=subprocess.PIPE)
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error}")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert_refused(process.pid, tmp_path, md.TargetError, None, "32-bit")
        live.wait_until(lambda: live.task_states(process.pid)[process.pid] == "S", "it runs on")
    finally:
        live.end(process)


def test_a_thread_in_uninterruptible_sleep(start_pattern: Start, take: live.Taker) -> None:
    """A vfork parent does not stop: its stack is dumped without registers, and the dump is not complete."""
    target = start_pattern("--threads", 2, "--vfork")
    live.wait_until(lambda: "D" in live.task_states(target.pid).values(), "a thread waits for its vfork child")
    [sleeping] = [tid for tid, state in live.task_states(target.pid).items() if state == "D"]
    *_, stack_pointer, instruction_pointer = Path(f"/proc/{target.pid}/task/{sleeping}/syscall").read_text().split()
    path = take.path()
    for dump_type in (FULL, md.DumpType.NORMAL):
        report = md.write_dump(target.pid, path, dump_type, stop_timeout=0.2)
        live.assert_accepted(path, report)
        assert report.threads_without_registers == (sleeping,)
        assert report.warnings & md.report.DumpWarning.NO_THREAD_REGISTERS and not report.complete
        with file_rules.DumpFile(path) as dump:
            [thread] = [thread for thread in dump.threads() if thread.tid == sleeping]
            assert thread.register("rsp") == int(stack_pointer, 16)
            assert thread.register("rip") == int(instruction_pointer, 16)
            assert 0 < int(stack_pointer, 16) - thread.stack.address < thread.stack.size
            with open(f"/proc/{target.pid}/mem", "rb", buffering=0) as memory:
                assert dump.read(int(stack_pointer, 16), 64) == os.pread(memory.fileno(), 64, int(stack_pointer, 16))
            if dump_type == FULL:
                base, size, _ = target.region("plain")
                assert dump.read(base, size) == target.content("plain")
    assert not md.plan_dump(target.pid, stop_timeout=0.05).complete
    assert md.write_dump(
        target.pid, path, filter=md.Filter(threads={"exclude": [sleeping]}), stop_timeout=0.05
    ).complete
    for words in (("dump", "-o", path), ("plan",)):
        done = live.run_cli(*words, str(target.pid), "--stop-timeout", "0.05")
        assert done.returncode == 3 and "did not stop" in done.stderr, done.stderr
    target.ping()
    for task in live.task_states(target.pid):
        assert live.status_field(target.pid, "TracerPid", task) == "0"


def as_nobody(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the user nobody; skips where that cannot be done."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    program = (
        "import os, sys\nimport minidump_cffi as md\nimport minidump_cffi.dumping\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n" + code
    )
    return live.run_python(program, *words)


NOBODY_DUMPS = (
    "try: md.write_dump(int(sys.argv[1]), '/dev/null')\n"
    "except md.AccessDenied as error:\n"
    "    print(error.errno, error.pid, error.phase.name, error, error.hint, sep='\\n'); sys.exit(9)\n"
)


def test_another_users_process(start_pattern: Start) -> None:
    target = start_pattern()
    done = as_nobody(NOBODY_DUMPS, str(target.pid))
    assert done.returncode == 9, done.stderr
    number, pid, phase, message, _hint = done.stdout.splitlines()
    assert int(number) in (errno.EPERM, errno.EACCES)
    assert int(pid) == target.pid
    assert phase in ("OPEN", "STOP")
    assert "uid" in message or "user" in message
    target.assert_runs_on()


NOBODY_DUMPS_MANY = (
    "failed = []\n"
    "for _ in range(500):\n"
    "    try: md.write_dump(int(sys.argv[1]), '/dev/null')\n"
    "    except md.AccessDenied as error: failed.append(error)\n"
    "    except md.TargetGone: pass\n"
    "print(*failed, sep='\\n'); sys.exit(len(failed) > 0)\n"
)


def test_a_target_whose_threads_exec_is_not_refused(pattern_program: Path) -> None:
    """The files of a leader whose place a thread takes are root's for a moment: its user may dump it all the same."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with pattern_program.open("rb") as file:
        words = [f"/proc/self/fd/{file.fileno()}", "--exec-by-threads", "0"]
        target = subprocess.Popen(words, user=65534, group=65534, extra_groups=[], pass_fds=[file.fileno()])
    try:
        done = as_nobody(NOBODY_DUMPS_MANY, str(target.pid))
        assert done.returncode == 0, done.stdout + done.stderr
        assert target.poll() is None
    finally:
        live.end(target)


def test_a_process_that_is_not_dumpable(pattern_program: Path, tmp_path: Path) -> None:
    """Same user, but prctl(PR_SET_DUMPABLE, 0)."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    tmp_path.chmod(0o755)
    program = (
        "import ctypes, os, sys, time\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\nprint('{}', flush=True)\nsys.stdin.read()\n"
    )
    target = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert target.stdout is not None
        assert target.stdout.readline()
        done = as_nobody(NOBODY_DUMPS, str(target.pid))
        assert done.returncode == 9, done.stderr
        assert "dumpable" in done.stdout
    finally:
        live.end(target)


def facts(**known: int) -> Any:
    """Made-up facts: nothing is known but what is said."""
    from minidump_cffi._native._ext import ffi

    made = ffi.new("mdc_access_facts *")
    for name, kind in ffi.typeof("mdc_access_facts").fields:
        setattr(made, name, known.get(name, -1))
        assert kind is not None
    return made


def explain(**known: int) -> tuple[int, str]:
    """Reason and message."""
    from minidump_cffi._native._ext import ffi, lib

    text = ffi.new("char[480]")
    reason = lib.mdc_access_explain(facts(os_errno=errno.EPERM, **known), text, 480)
    return reason, ffi.string(text).decode()


USUAL = {
    "yama_scope": 0,
    "is_descendant": 0,
    "has_cap_ptrace": 0,
    "same_user_ns": 1,
    "target_has_more_caps": 0,
    "same_ids": 1,
    "dumpable": 1,
    "our_uid": 1000,
    "target_uid": 1000,
    "seccomp": 0,
    "lsm_confined": 0,
    "set_id": 0,
}


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"yama_scope": 1}, "YAMA", ["ptrace_scope"]),
        ({"yama_scope": 2}, "YAMA", ["ptrace_scope", "CAP_SYS_PTRACE"]),
        ({"yama_scope": 3}, "YAMA", ["ptrace_scope"]),
        ({"yama_scope": 3, "has_cap_ptrace": 1}, "YAMA", ["ptrace_scope"]),
        ({"same_user_ns": 0}, "NAMESPACE", ["namespace"]),
        ({"same_ids": 0, "target_uid": 0}, "UID", ["1000"]),
        ({"same_ids": 0}, "UID", ["another group"]),
        ({"same_ids": 0, "set_id": 1}, "UID", ["set-user-ID", "its own user"]),
        ({"same_ids": 0, "set_id": 1, "target_uid": 0}, "UID", ["set-user-ID", "another user"]),
        ({"target_has_more_caps": 1}, "CAPABILITY", ["capabilit"]),
        ({"dumpable": 0}, "DUMPABLE", ["dumpable"]),
        ({"seccomp": 2}, "SECCOMP", ["seccomp"]),
        ({"lsm_confined": 1}, "LSM", []),
        ({}, "UNKNOWN", []),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_who_refused_by_made_up_facts(changed: dict[str, int], reason: str, words: list[str]) -> None:
    from minidump_cffi._native._ext import lib

    number, message = explain(**{**USUAL, **changed})
    assert number == getattr(lib, f"MDC_ACCESS_{reason}"), message
    assert message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_yama_lets_descendants_be_traced() -> None:
    from minidump_cffi._native._ext import lib

    number, _ = explain(**{**USUAL, "yama_scope": 1, "is_descendant": 1})
    assert number != lib.MDC_ACCESS_YAMA


def test_no_fact_at_all_is_answered() -> None:
    from minidump_cffi._native._ext import lib

    number, message = explain()
    assert number == lib.MDC_ACCESS_UNKNOWN
    assert message


def test_an_explanation_fits_its_buffer() -> None:
    from minidump_cffi._native._ext import ffi, lib

    for size in (1, 2, 10, 60):
        text = ffi.new("char[]", b"\xff" * 100)
        lib.mdc_access_explain(facts(os_errno=errno.EPERM, **USUAL), text, size)
        assert b"\0" in ffi.buffer(text, size)[:]
        assert ffi.buffer(text, 100)[size:] == b"\xff" * (100 - size)


def test_ptrace_forbidden_for_the_dumper(start_pattern: Start, tmp_path: Path) -> None:
    """A target of the same user without the capability to trace: root that gave its capabilities away."""
    target = start_pattern()
    if os.getuid() != 0:
        pytest.skip("only root has capabilities to give away")
    program = (
        "import ctypes, os, sys, minidump_cffi as md, minidump_cffi.dumping\n"
        "libc = ctypes.CDLL(None)\n"
        "header = (ctypes.c_uint32 * 2)(0x20080522, 0); data = (ctypes.c_uint32 * 6)()\n"
        "assert libc.capset(header, data) == 0\n" + NOBODY_DUMPS
    )
    done = live.run_python(program, target.pid)
    assert done.returncode == 9, done.stdout + done.stderr
    assert "capabilit" in done.stdout
    target.assert_runs_on()
