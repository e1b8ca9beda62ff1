"""Crashes in processes that are not plain: forked, replaced, ending, confined, without a helper, without room."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import crashing
import live
import pytest

pytestmark = pytest.mark.linux

WHY = "minidump_cffi: no dump of this crash: "


def without_capabilities() -> list[str]:
    """Starts a command without any."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("not root, or no setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.mark.parametrize("fork", ["os.fork()", "crashers().plain_fork()"])
def test_a_forked_child_is_not_watched_and_does_not_disturb(fork: str, crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        f"""
enable()
child = {fork}
if child == 0:
    null()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV
assert os.listdir(folder) == []
assert md.crash.status().helper_alive
null()
""",
        crashers,
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert done.dump


def test_a_forked_child_can_enable_it_for_itself(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable(name="parent")
if os.fork() == 0:
    assert not md.crash.status().enabled
    open_ones = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert not [name for name in open_ones if "socket:" in name or "pidfd" in name], open_ones
    caught = next(line for line in open("/proc/self/status") if line.startswith("SigCgt"))
    assert not int(caught.split()[1], 16) >> 10 & 1, caught
    md.crash.enable(folder, name="child")
    null()
os.wait()
md.crash.dump_now()
""",
    )
    assert (done.status, done.err) == (0, "")
    assert [path.name for path in done.dumps] == ["child.dmp", "parent.dmp"]


def test_a_child_of_a_fork_that_python_has_not_seen(crashers: Path, tmp_path: Path) -> None:
    """It gets no dump of its parent, and does not end its parent's helper."""
    done = crashing.run(
        tmp_path / "out",
        """
enable(name="parent")
child = crashers().plain_fork()
if child == 0:
    try: md.crash.dump_now()
    except md.TargetError as error: assert "forked" in str(error), error
    else: raise AssertionError("dumped")
    md.crash.enable(folder, name="child")
    null()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV
null()
""",
        crashers,
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert [path.name for path in done.dumps] == ["child.dmp", "parent.dmp"]


def test_nothing_remains_after_exec(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable()
helper = str(md.crash.status().helper)
program = '''if True:
    import ctypes, os, sys, time
    caught = next(line for line in open("/proc/self/status") if line.startswith("SigCgt"))
    assert not int(caught.split()[1], 16) >> 10 & 1, caught
    assert not [fd for fd in range(3, 100) if os.path.exists(f"/proc/self/fd/{fd}")
                and "socket" in os.readlink(f"/proc/self/fd/{fd}")]
    ctypes.string_at(0)
'''
os.execv(sys.executable, [sys.executable, "-c", program, helper])
""",
    )
    assert (done.status, done.err, done.dumps) == (-signal.SIGSEGV, "", [])


def test_a_crash_in_a_subinterpreter(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable()
try:
    import _xxsubinterpreters as interpreters
    inner = interpreters.create(isolated=False)
except ImportError:
    import _interpreters as interpreters
    inner = interpreters.create("legacy")
interpreters.run_string(inner, "import ctypes; ctypes.string_at(0)")
""",
    )
    assert done.status == -signal.SIGSEGV
    assert done.dump


def test_a_subinterpreter_that_enables_it(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
try:
    import _xxsubinterpreters as interpreters
    inner = interpreters.create(isolated=False)
except ImportError:
    import _interpreters as interpreters
    inner = interpreters.create("legacy")
interpreters.run_string(inner, f'''if True:
    import sys
    sys.path[:] = {sys.path!r}
    import minidump_cffi as md
    md.crash.enable({folder!r})
''')
null()
""",
    )
    assert done.status == -signal.SIGSEGV, done.err
    assert done.dump


def test_a_second_interpreter_is_told(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable()
try:
    import _xxsubinterpreters as interpreters
    inner = interpreters.create(isolated=False)
except ImportError:
    import _interpreters as interpreters
    inner = interpreters.create("legacy")
interpreters.run_string(inner, f'''if True:
    import sys
    sys.path[:] = {sys.path!r}
    import minidump_cffi as md
    try: md.crash.enable({folder!r})
    except md.CallbackError as error: assert "another interpreter" in str(error)
    else: raise AssertionError("enabled twice")
''')
null()
""",
    )
    assert done.status == -signal.SIGSEGV, done.err
    assert done.dump


@pytest.mark.parametrize(
    "late",
    [
        "import atexit; atexit.register(null)",
        "class Late:\n    def __del__(self, run=crashers().crash_null): run()\nsys.late = Late()",
        "library = crashers(); ctypes.CDLL(None)['__cxa_atexit'](library.crash_null, None, None)",
    ],
    ids=["atexit", "the last modules", "after the interpreter"],
)
def test_a_crash_while_the_program_ends(late: str, crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", f"enable()\n{late}", crashers)
    assert done.status == -signal.SIGSEGV, done.err
    assert done.dump


def test_a_program_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out", "enable()\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    assert (done.status, done.err, done.dumps) == (0, "", [])


def test_without_the_helper_nothing_hangs(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable()
helper = md.crash.status().helper
os.kill(helper, signal.SIGKILL)
while md.crash.status().helper_alive: time.sleep(0.01)
null()
""",
    )
    assert (done.status, done.dumps) == (-signal.SIGSEGV, [])
    assert done.err == WHY + "the process that takes it has ended\n"


@pytest.mark.parametrize(
    ("options", "later", "why"),
    [
        ("max_stop=0.1", "sleep 4; kill -CONT", "the process that takes it does not answer"),
        ("", "sleep 1; kill -KILL", "the process that takes it has ended"),
    ],
    ids=["too long", "until it is killed"],
)
def test_a_helper_that_is_stopped(options: str, later: str, why: str, tmp_path: Path) -> None:
    """It is waited for as long as was said, or until it has ended."""
    done = crashing.run(
        tmp_path / "out",
        f"""
enable({options})
helper = md.crash.status().helper
os.kill(helper, signal.SIGSTOP)
subprocess.Popen(["sh", "-c", f"{later} {{helper}}"], stdout=-3, stderr=-3)
null()
""",
    )
    assert (done.status, done.dumps) == (-signal.SIGSEGV, [])
    assert done.err == f"{WHY}{why}\n"


def test_a_full_disk(tmp_path: Path) -> None:
    with live.small_filesystem(tmp_path / "out", "192k") as folder:
        done = crashing.run(folder, "block = b'x' * (1 << 20); enable(type='full'); null()")
        assert (done.status, done.dumps) == (-signal.SIGSEGV, [])
        assert done.err.startswith(WHY) and "No space left" in done.err and done.err.count("\n") == 1
        assert os.statvfs(folder).f_files - os.statvfs(folder).f_ffree <= 1, "no partial file"


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable(); os.rename(folder, folder + '-'); os.mkdir(folder + '-/x')\nnull()")
    assert done.status == -signal.SIGSEGV
    assert done.err.startswith(WHY + "cannot create") and done.err.count("\n") == 1


def test_descriptors_that_the_program_closed(tmp_path: Path) -> None:
    """What has their numbers now gets no byte of ours."""
    done = crashing.run(
        tmp_path / "out",
        """
enable()
os.closerange(3, 256)
other = [open(folder + "/../other", "wb", buffering=0) for _ in range(20)]
null()
""",
    )
    assert (done.status, done.dumps) == (-signal.SIGSEGV, [])
    assert done.err == WHY + "the program has closed the descriptor for it\n"
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize(
    "then", ["md.crash.disable()", "if os.fork() == 0: check(); os._exit(0)\nassert os.wait()[1] == 0"]
)
def test_descriptors_that_are_the_program_s_now(then: str, tmp_path: Path) -> None:
    """Neither closed, shut down nor written to, whatever kind they are."""
    done = crashing.run(
        tmp_path / "out",
        f"""
import select, socket
enable()
os.closerange(3, 256)
own = [*socket.socketpair(), open(os.devnull), *(select.epoll() for _ in range(6)), *socket.socketpair()]
def check():
    for each in own: os.fstat(each.fileno())
    for near, far in (own[:2], own[-2:]):
        near.send(b"x")
        assert far.recv(9) == b"x"
try: md.crash.dump_now()
except md.TargetError as error: assert "has closed the descriptors" in str(error), error
else: raise AssertionError("dumped")
assert not md.crash.status().helper_alive
{then}
check()
enable()
null()
""".replace("enable()", "md.crash.enable(folder)"),
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert done.dump


def test_after_chroot(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")
    done = crashing.run(
        tmp_path / "out",
        "enable(); os.chroot(folder); os.chdir('/'); assert md.crash.status().threads_uncovered == 0; null()",
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert done.dump


def test_the_first_process_of_a_container_without_capabilities(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("no unshare")
    prefix = ["unshare", "-p", "-f", "--mount-proc", *without_capabilities()]
    done = crashing.run(
        tmp_path / "out",
        """
assert os.getpid() == 1
capabilities = next(line for line in open("/proc/self/status") if line.startswith("CapEff"))
assert int(capabilities.split()[1], 16) == 0, capabilities
md.crash.enable(folder)
null()
""",
        prefix=prefix,
    )
    assert done.status in (-signal.SIGSEGV, 128 + signal.SIGSEGV), done.err  # unshare says it in its own way
    assert done.dump


def test_a_forked_child_with_the_pid_of_its_parent(crashers: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("not root, or no unshare")
    done = crashing.run(
        tmp_path / "out",
        """
md.crash.enable(folder)
child = crashers().fork_in_namespace()
if child == 0:
    assert os.getpid() == 1
    null()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV
assert os.listdir(folder) == []
null()
""",
        crashers,
        prefix=["unshare", "-p", "-f", "--mount-proc"],
    )
    assert done.err == WHY + "this process was forked by the one that is watched\n"
    assert done.dump


def test_a_program_that_gave_up_its_privileges(tmp_path: Path) -> None:
    """It is not dumpable then, which the error says and dumpable=True sets for the time of a dump."""
    done = crashing.run(
        tmp_path / "out",
        """
dumpable = lambda: ctypes.CDLL(None).prctl(3)
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE, as setuid() does
assert dumpable() == 0
try: enable()
except md.AccessDenied as error:
    assert "not dumpable" in str(error) and "dumpable=True" in str(error.hint), error
else: raise AssertionError("enabled")
enable(dumpable=True)
assert dumpable() == 0
md.crash.dump_now()
assert dumpable() == 0
null()
""",
        prefix=without_capabilities(),
    )
    assert done.status == -signal.SIGSEGV, done.err
    assert len(done.dumps) == 2, done.err


def test_a_debugger_that_detaches_in_time(tmp_path: Path) -> None:
    """It does not keep a program from starting; what is to be dumped while it is there is refused."""
    done = crashing.run(
        tmp_path / "out",
        """
debugger = '''if True:
    import ctypes, os, sys
    assert ctypes.CDLL(None).ptrace(0x4206, os.getppid(), 0, 0) == 0  # PTRACE_SEIZE
    print(flush=True)
    sys.stdin.read()
'''
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
for order in ("while it starts", "later"):
    with subprocess.Popen([sys.executable, "-c", debugger], **pipes) as traces:
        traces.stdout.readline()
        if order == "while it starts":
            enable()
        else:
            try: md.crash.dump_now()
            except md.TargetBusy: pass
            else: raise AssertionError("traced by two")
        traces.kill()
    if order == "while it starts":
        md.crash.dump_now()
""",
    )
    assert (done.status, done.err) == (0, "")
    assert done.dump
