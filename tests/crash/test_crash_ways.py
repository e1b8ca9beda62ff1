"""Every way to crash: one dump, which blames the right thread, signal and instruction, and the end is as without us."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import crashing
import pytest
import readers

pytestmark = pytest.mark.linux

# Way, signal, si_code (None: not told here). The codes are those of sigaction(2).
WAYS = [
    ("null", signal.SIGSEGV, 1),
    ("noncanonical", signal.SIGSEGV, 128),
    ("bus", signal.SIGBUS, 2),
    ("fpe", signal.SIGFPE, 1),
    ("ill", signal.SIGILL, 2),
    ("trap", signal.SIGTRAP, None),
    ("sys", signal.SIGSYS, 1),
    ("overflow", signal.SIGSEGV, 1),
    ("corrupted", signal.SIGABRT, -6),
    ("in_malloc", signal.SIGSEGV, None),
    ("null_in_thread", signal.SIGSEGV, 1),
    ("at_once", signal.SIGSEGV, 1),
    ("abort", signal.SIGABRT, -6),
    ("raise", signal.SIGSEGV, -6),
]
ELSEWHERE = ("null_in_thread", "at_once")


@pytest.mark.parametrize(("way", "number", "code"), WAYS, ids=[way for way, _, _ in WAYS])
def test_it_is_dumped(way: str, number: int, code: int | None, crashers: Path, tmp_path: Path) -> None:
    without = crashing.run(tmp_path / "without", f"crash({way!r})", crashers)
    done = crashing.run(tmp_path / "out", f"enable(); crash({way!r})", crashers)
    assert done.status == without.status == -number
    if way == "corrupted":  # in what words glibc says so depends on what is free around
        assert done.err and without.err
    else:
        assert done.err == without.err
    blame = crashing.exception_of(done.dump)
    assert blame.signal == number
    assert code is None or blame.code == code
    assert (blame.tid == done.said("tid")) == (way not in ELSEWHERE)
    if done.said("at"):
        assert blame.rip == done.said("at")
    if way in ("null", "null_in_thread", "at_once"):
        assert blame.address == 8
        assert int.from_bytes(blame.context[216:224], "little") == 0x1212121212121212, "r12 as at the instruction"


def test_a_handler_starts_opens_and_maps_nothing(crashers: Path, tmp_path: Path) -> None:
    """Any system call that it has no need of would end the program by SIGSYS."""
    done = crashing.run(tmp_path / "out", "enable(); crash('confined')", crashers)
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert crashing.exception_of(done.dump).rip == done.said("at")


def test_lldb_selects_the_thread_and_walks_its_stack(crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable(); crash('null')", crashers)
    try:
        reading = readers.read_lldb(done.dump, frames=True, tids=[done.said("tid")])
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            raise
        pytest.skip(str(missing))
    assert reading.threads is not None
    [thread] = reading.threads
    assert thread.ip == done.said("at")
    assert thread.frames[:2] == ("null", "crash")


def test_breakpad_names_the_reason_and_the_address(crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable(); crash('null')", crashers)
    try:
        program = readers.breakpad_program("minidump_stackwalk")
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            raise
        pytest.skip(str(missing))
    walked = subprocess.run([program, done.dump], capture_output=True, text=True, check=True).stdout
    assert "Crash reason:  SIGSEGV /SEGV_MAPERR\nCrash address: 0x8\n" in walked


def test_an_overflow_of_a_python_thread(crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
enable()
thread = threading.Thread(target=crash, args=("overflow",), name="deep")
thread.start()
thread.join()
""",
        crashers,
    )
    assert done.status == -signal.SIGSEGV
    assert crashing.exception_of(done.dump).tid == done.said("tid")


def test_an_overflow_of_a_thread_without_an_alternate_stack_is_not_caught(crashers: Path, tmp_path: Path) -> None:
    """As the docs say; `status` counts such threads."""
    done = crashing.run(tmp_path / "out", "enable(); crash('overflow_in_thread')", crashers)
    assert (done.status, done.dumps) == (-signal.SIGSEGV, [])


@pytest.mark.parametrize(
    "body",
    ["null()", "os.abort()", "os.kill(os.getpid(), signal.SIGBUS)", "crash('in_malloc')", "crash('null')"],
)
@pytest.mark.parametrize("order", ["faulthandler.enable(); enable()", "enable(); faulthandler.enable()"])
def test_faulthandler_says_the_same(order: str, body: str, crashers: Path, tmp_path: Path) -> None:
    without = crashing.run(tmp_path / "without", f"faulthandler.enable()\n{body}", crashers)
    done = crashing.run(tmp_path / "out", f"{order}\n{body}", crashers)
    assert done.status == without.status
    assert done.err.count("Fatal Python error") == 1

    def text(outcome: crashing.Outcome) -> list[str]:
        lines = [line for line in outcome.err.splitlines() if line]
        return [line for line in lines if not line.startswith(("Current thread", "Extension modules"))]

    assert text(done) == text(without)
    blame = crashing.exception_of(done.dump)
    if body == "null()":
        assert (blame.signal, blame.code, blame.address) == (signal.SIGSEGV, 1, 0)
    if body == "crash('null')":
        assert (blame.code, blame.address, blame.rip) == (1, 8, done.said("at"))


def test_faulthandler_enabled_again_and_again_ends(tmp_path: Path) -> None:
    """Each is the other's previous handler."""
    done = crashing.run(tmp_path / "out", "enable(); faulthandler.enable(); md.crash.disable(); enable(); null()")
    assert done.status == -signal.SIGSEGV
    assert done.err.count("Fatal Python error") == 1
    assert crashing.exception_of(done.dump).code == 1


def test_without_chain_the_default_action_follows(tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "faulthandler.enable(); enable(chain=False); null()")
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert done.dump


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGRTMAX])
def test_another_signal_can_be_one_too(number: int, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", f"enable(signals=[{number:d}]); os.kill(os.getpid(), {number:d})")
    assert (done.status, done.err) == (-number, "")
    blame = crashing.exception_of(done.dump)
    assert (blame.signal, blame.code) == (number, 0)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out", "signal.signal(signal.SIGABRT, signal.SIG_IGN); enable(); os.kill(os.getpid(), 6)"
    )
    assert (done.status, done.err, done.dumps) == (0, "", [])


def test_a_handler_that_recovers_still_does(crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
library = crashers()
library.recover_from_segv()
enable()
for _ in range(3): library.crash(b"recovers")
assert md.crash.status().dumps == 1
""",
        crashers,
    )
    assert (done.status, done.err) == (0, "")
    assert crashing.exception_of(done.dump).code == 1


@pytest.mark.parametrize("crash", ["null()", "thread = threading.Thread(target=null); thread.start(); thread.join()"])
def test_what_ends_a_program_that_has_survived_a_signal(crash: str, tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        f"""
survived = threading.Event()
signal.signal(signal.SIGUSR1, lambda number, frame: survived.set())
enable(signals=[signal.SIGUSR1, signal.SIGSEGV], name="{{signal}}")
os.kill(os.getpid(), signal.SIGUSR1)
assert survived.wait(60)
{crash}
""",
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert [path.name for path in done.dumps] == ["SIGSEGV.dmp", "SIGUSR1.dmp"]


def test_a_signal_of_many_threads_that_a_handler_survives(crashers: Path, tmp_path: Path) -> None:
    """Those that were in our handler when the first handed it on get to the previous one as well."""
    done = crashing.run(
        tmp_path / "out",
        """
library = crashers()
library.count_signal(signal.SIGUSR1)
enable(signals=[signal.SIGUSR1])
threads = [threading.Thread(target=signal.sigwait, args=([signal.SIGUSR2],)) for _ in range(4)]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
for thread in threads: thread.start()
helper = md.crash.status().helper
os.kill(helper, signal.SIGSTOP)
for thread in threads: signal.pthread_kill(thread.ident, signal.SIGUSR1)
def in_handler(tid):
    status = open(f"/proc/self/task/{tid}/status").read()
    return int(status.partition("SigBlk:")[2].split()[0], 16) >> signal.SIGSEGV - 1 & 1
while not all(in_handler(thread.native_id) for thread in threads): time.sleep(0.01)
os.kill(helper, signal.SIGCONT)
while library.signals_counted() < len(threads): time.sleep(0.01)
for thread in threads: signal.pthread_kill(thread.ident, signal.SIGUSR2)
""",
        crashers,
    )
    assert (done.status, done.err) == (0, "")
    assert done.dump


def test_a_handler_that_aborts_has_the_dump_of_the_crash_only(crashers: Path, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "crashers().abort_at_segv(); enable(); crash('null')", crashers)
    assert done.status == -signal.SIGABRT
    assert crashing.exception_of(done.dump).signal == signal.SIGSEGV
