"""The Exception stream of processes that a signal ends: signal, thread, registers, bytes and back trace are right.

What is right is what the handler of the process itself says, and gdb of the core that the kernel writes afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

pytestmark = pytest.mark.linux

EXCEPTION = 6
QUICK: Final = ("udmp-parser", "minidump", "minidump_stackwalk")
MARK = bytes((at * 3 + 1) % 256 for at in range(64))
FLOATS: Final = struct.pack("<2d", 1.5, -2.25)
REQUESTED = 0xFFFFFFFF

# Signal and si_code of each cause; the address, where it is the same each time.
CAUSES: Final[dict[str, tuple[int, int, int | None]]] = {
    "write": (signal.SIGSEGV, 1, 0x10),
    "noncanonical": (signal.SIGSEGV, 128, 0),
    "jump": (signal.SIGSEGV, 2, None),
    "overflow": (signal.SIGSEGV, 1, None),
    "trap": (signal.SIGILL, 2, None),
    "breakpoint": (signal.SIGTRAP, 128, 0),
    "divide": (signal.SIGFPE, 1, None),
    "beyond-file": (signal.SIGBUS, 2, None),
    "forbidden-call": (signal.SIGSYS, 1, None),
    "abort": (signal.SIGABRT, -6, 0),
    "raise": (signal.SIGSEGV, -6, 0),
    "kill": (signal.SIGQUIT, 0, 0),
    "queue": (signal.SIGSEGV, -1, 0),
}
SENT: Final = ("abort", "raise", "kill", "queue")

Start = Callable[..., live.Target]


class Stream:
    """MINIDUMP_EXCEPTION_STREAM of a dump."""

    def __init__(self, dump: file_rules.DumpFile) -> None:
        data = dump.stream(EXCEPTION)
        self.tid, self.code, self.flags, self.nested, self.address, count = struct.unpack_from("<I4xIIQQI", data)
        self.parameters = struct.unpack_from(f"<{count}Q", data, 40)
        size, at = struct.unpack_from("<II", data, 160)
        self.context = dump.data[at : at + size]

    def registers(self) -> dict[str, int]:
        order = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)), "rip")
        values = dict(zip(order, struct.unpack_from("<17Q", self.context, 120), strict=True))
        return values | {"eflags": struct.unpack_from("<I", self.context, 68)[0]}


@pytest.fixture(scope="session")
def signals_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("signals") / "signals"
    return live.compile_c(
        live.HERE / "targets" / "signals.c", program, "-O1", "-g", "-fno-omit-frame-pointer", "-pthread"
    )


@pytest.fixture
def start(signals_program: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[live.Target] = []

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

    def begin(cause: str, stack: str = "alt", thread: str = "main") -> live.Target:
        (tmp_path / "cores").mkdir(exist_ok=True)
        words = [str(signals_program), cause, stack, thread]
        started.append(live.Target(words, cwd=tmp_path / "cores", preexec_fn=limits if os.getuid() == 0 else None))
        return started[-1]

    yield begin
    for target in started:
        target.close()


def given(target: live.Target) -> md.SignalInfo:
    """What a handler would pass on."""
    info = target.info
    return md.SignalInfo(tid=info["tid"], ucontext=info["ucontext"], siginfo=info["siginfo"])


def check_stream(dump: file_rules.DumpFile, target: live.Target, cause: str) -> Stream:
    stream, info = Stream(dump), target.info
    number, code, address = CAUSES[cause]
    if cause == "overflow" and info["tid"] != info["pid"]:
        code = 2  # into the guard page that the library maps
    assert (stream.tid, stream.code, stream.flags) == (info["tid"], number, code & 0xFFFFFFFF)
    assert stream.nested == 0
    assert stream.address == (info["address"] if address is None else address)
    if cause == "forbidden-call":
        assert stream.parameters == (321, 0xC000003E)  # AUDIT_ARCH_X86_64
    elif cause in SENT:
        assert stream.parameters[:2] == (info["pid"], os.getuid())
        assert stream.parameters[2:] == (0x123456789ABC if cause == "queue" else 0,)
    else:
        assert stream.parameters == ()
    return stream


def check_memory(dump: file_rules.DumpFile, target: live.Target, stream: Stream) -> None:
    """The interrupted stack and the code are there, and the thread's descriptor has that stack."""
    registers = stream.registers()
    assert dump.read(target.info["mark"], 64) == MARK
    [thread] = [thread for thread in dump.threads() if thread.tid == target.info["tid"]]
    stack = thread.stack
    lowest = registers["rsp"] if dump.read(registers["rsp"], 1) is not None else target.info["mark"]
    assert stack.address <= lowest < stack.address + stack.size
    assert thread.register("rsp") != registers["rsp"]  # its own are the handler's
    assert dump.read(thread.register("rsp"), 8) is not None


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY], ids=["normal", "full"])
@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("stack", ["alt", "plain"])
@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause(
    cause: str, stack: str, thread: str, dump_type: md.DumpType, start: Start, take: live.Taker
) -> None:
    if cause == "overflow" and stack == "plain":
        with pytest.raises(AssertionError, match="the target ended: -11"):  # there is no stack for a handler
            start(cause, stack, thread)
        return
    target = start(cause, stack, thread)
    report, path = take(target.pid, dump_type, only=QUICK, exception=given(target))
    assert report.complete
    with file_rules.DumpFile(path) as dump:
        stream = check_stream(dump, target, cause)
        assert stream.registers() == target.info["registers"]
        check_memory(dump, target, stream)
        if cause == "write":
            assert stream.context[256 + 160 + 16 * 5 :][:16] == FLOATS  # xmm5 in FltSave
            rip = stream.registers()["rip"]
            code = dump.read(rip - 100, 200)
            assert code is not None and code[100:106] == b"\xc7\x00\x01\x00\x00\x00"  # movl $1, (%rax)
    assert target.finish() == -CAUSES[cause][0], "the process dies of its signal"


def of_the_core(target: live.Target, program: Path, folder: Path) -> str:
    """What gdb says of the core that the kernel writes when the target goes on; its stack as a file."""
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "@", "/")) or os.getuid() != 0:
        pytest.skip("cores are not written to the working directory here")
    target.finish()
    [core] = (folder / "cores").iterdir()
    done = subprocess.run(
        ["gdb", "-q", "-nx", "-batch", "-ex", "p $_siginfo", "-ex", "info registers", "-ex", "bt 300",
         "-ex", f"dump binary memory {folder}/stack $sp $sp+512", str(program), str(core)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE * 2, check=False,
    )  # fmt: skip
    return done.stdout


def of_lldb(path: Path, program: Path) -> str:
    """What lldb says of the dump."""
    try:
        lldb = readers.lldb_program()
    except readers.ReaderMissing:
        pytest.skip("lldb is not installed")
    done = subprocess.run(
        [lldb, "-x", "-b", "-o", f"target create {program} -c {path}", "-o", "process status", "-o", "bt 20"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE * 3, check=False,
    )  # fmt: skip
    return done.stdout


def own_functions(frames: list[str]) -> list[str]:
    """Those of the program: of the libraries one reader has names that the other has not."""
    return [name for name in frames if name in ("write_to", "overflow", "beyond_file", "die", "run", "main")]


@pytest.mark.parametrize("cause", CAUSES)
def test_gdb_says_the_same_of_the_core(
    cause: str, start: Start, take: live.Taker, signals_program: Path, tmp_path: Path
) -> None:
    target = start(cause)
    _, path = take(target.pid, only=(), exception=given(target))
    shown = of_the_core(target, signals_program, tmp_path)
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        [number] = re.findall(r"si_signo = (\d+)", shown)
        [code] = re.findall(r"si_code = (-?\d+)", shown)
        assert (stream.code, stream.flags) == (int(number), int(code) & 0xFFFFFFFF)
        if cause in SENT or cause in ("breakpoint", "forbidden-call"):
            return  # sent again from the handler: the core is of there
        values = dict(re.findall(r"^(\w+) +(0x[0-9a-f]+)", shown, re.MULTILINE))
        registers = stream.registers()
        for name in ("rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15"):
            assert registers[name] == int(values[name], 16), f"{name}: {shown}"
        if cause != "overflow":  # its stack pointer is below the stack
            assert dump.read(registers["rsp"], 512) == (tmp_path / "stack").read_bytes()


@pytest.mark.parametrize(
    ("cause", "stack", "thread"),
    [
        ("write", "alt", "thread"),
        ("write", "plain", "main"),
        ("beyond-file", "alt", "main"),
        ("trap", "plain", "thread"),
    ],
)
def test_the_back_trace_is_that_of_gdb(
    cause: str, stack: str, thread: str, start: Start, take: live.Taker, signals_program: Path, tmp_path: Path
) -> None:
    target = start(cause, stack, thread)
    _, path = take(target.pid, only=(), exception=given(target))
    shown = of_the_core(target, signals_program, tmp_path).rpartition("\n#0 ")[2]
    expected = re.findall(r"^(?:#\d+)? +(?:0x\w+ in )?(\w+)", " " + shown, re.MULTILINE)
    found = re.findall(r"frame #\d+: 0x\w+ [^`]+`(\w+)", of_lldb(path, signals_program).split("(lldb) bt")[1])
    assert own_functions(found) == own_functions(expected) != []
    assert {"die", "run"} <= set(found)


@pytest.mark.parametrize(
    ("cause", "stack", "thread", "words"),
    [
        ("write", "alt", "thread", "SIGSEGV"),
        ("overflow", "alt", "main", "SIGSEGV"),
        ("abort", "alt", "main", "SIGABRT"),
        ("divide", "plain", "main", "SIGFPE"),
        ("write", "again", "main", "SIGSEGV"),
    ],
)
def test_lldb_names_the_signal_and_selects_the_thread(
    cause: str, stack: str, thread: str, words: str, start: Start, take: live.Taker, signals_program: Path
) -> None:
    target = start(cause, stack, thread)
    _, path = take(target.pid, only=(), exception=given(target))
    shown = of_lldb(path, signals_program)
    [selected] = re.findall(r"^\* thread #\d+, .*stop reason = (.*)$", shown, re.MULTILINE)[:1]
    assert words in selected, shown
    frames = re.findall(r"frame #\d+: 0x\w+ [^`]+`(\w+)", shown)
    if cause == "overflow":
        assert set(frames) == {"overflow"}
    else:
        assert {"die", "run"} <= set(frames), shown


@pytest.mark.parametrize(
    ("cause", "reason", "address"),
    [
        ("write", "SIGSEGV /SEGV_MAPERR", 0x10),
        ("jump", "SIGSEGV /SEGV_ACCERR", None),
        ("divide", "SIGFPE / FPE_INTDIV", None),
        ("beyond-file", "SIGBUS / BUS_ADRERR", None),
        ("trap", "SIGILL / ILL_ILLOPN", None),
        ("abort", "SIGABRT", None),
    ],
)
def test_stackwalk_prints_reason_and_address(
    cause: str, reason: str, address: int | None, start: Start, take: live.Taker
) -> None:
    target = start(cause, "alt", "thread")
    _, path = take(target.pid, only=(), exception=given(target))
    try:
        program = readers.breakpad_program("minidump_stackwalk")
    except readers.ReaderMissing:
        pytest.skip("minidump_stackwalk is not installed")
    done = subprocess.run([program, "-m", path], capture_output=True, text=True, check=False, timeout=live.PATIENCE)
    [crash] = [line.split("|") for line in done.stdout.splitlines() if line.startswith("Crash|")]
    assert reason in crash[1]
    if address is not None:
        assert int(crash[2], 16) == address
    [crashed] = [line.split("|") for line in done.stdout.splitlines() if line.startswith(crash[3] + "|0|")]
    assert "signals" in crashed[2] or cause in ("jump", "abort")


def test_a_handler_that_raises_again_hides_nothing(start: Start, take: live.Taker) -> None:
    target = start("write", "again")
    assert target.info["code"] == -6
    _, path = take(target.pid, only=QUICK, exception=given(target))
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        assert (stream.code, stream.flags, stream.address, stream.parameters) == (signal.SIGSEGV, 1, 0x10, ())
        registers = stream.registers()
        assert registers["rax"] == 0x10 and registers["r12"] == 0x1212121212121212
        check_memory(dump, target, stream)


def test_raise_alone_stays_what_it_was(start: Start, take: live.Taker) -> None:
    target = start("raise", "again")
    _, path = take(target.pid, only=QUICK, exception=given(target))
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        assert (stream.code, stream.flags) == (signal.SIGSEGV, -6 & 0xFFFFFFFF)
        assert stream.registers() == target.info["registers"]


@pytest.mark.parametrize(("stack", "thread"), [("alt", "thread"), ("plain", "main"), ("again", "thread")])
def test_the_frame_is_found_by_itself(stack: str, thread: str, start: Start, take: live.Taker) -> None:
    target = start("write", stack, thread)
    _, path = take(target.pid, only=QUICK, exception=md.SignalInfo.of_thread(target.pid, target.info["tid"]))
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        assert (stream.tid, stream.code, stream.flags, stream.address) == (target.info["tid"], 11, 1, 0x10)
        assert stream.registers()["r13"] == 0x1313131313131313
        check_memory(dump, target, stream)


def test_a_thread_that_handles_nothing_has_no_frame(target: live.Target, tmp_path: Path) -> None:
    info = md.SignalInfo.of_thread(target.pid, target.pid)
    with pytest.raises(ValueError, match="is not handling a signal of a fault"):
        md.write_dump(target.pid, tmp_path / "x.dmp", exception=info)
    assert not list(tmp_path.glob("*.dmp*"))
    target.assert_runs_on()


def test_a_tracer_asks_for_the_signal_itself(signals_program: Path, take: live.Taker) -> None:
    """PTRACE_TRACEME, then a signal-delivery-stop of which this thread is the tracer."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    child = subprocess.Popen(
        [signals_program, "write", "alt", "main"],
        preexec_fn=lambda: libc.ptrace(0, 0, None, None),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        while os.WSTOPSIG(os.waitpid(child.pid, 0)[1]) != signal.SIGSEGV:
            assert libc.ptrace(7, child.pid, None, None) == 0  # PTRACE_CONT: past the stop of execve
        info = md.SignalInfo.of_thread(child.pid, child.pid)
        assert (info.signal, info.code, info.address, info.find_frame) == (signal.SIGSEGV, 1, 0x10, False)
        assert libc.ptrace(17, child.pid, None, signal.SIGSTOP) == 0  # PTRACE_DETACH
        live.wait_until(lambda: live.task_states(child.pid)[child.pid] == "T", "it has stopped")
        _, path = take(child.pid, only=QUICK, exception=info)
        with file_rules.DumpFile(path) as dump:
            stream = Stream(dump)
            assert (stream.tid, stream.code, stream.flags, stream.address) == (child.pid, signal.SIGSEGV, 1, 0x10)
            assert stream.registers()["rax"] == 0x10  # the thread's own: no handler ran
            [thread] = dump.threads()
            assert thread.context == stream.context
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()


def test_a_thread_is_blamed_without_a_signal(target: live.Target, take: live.Taker) -> None:
    _, path = take(target.pid, only=QUICK, exception=md.SignalInfo(tid=target.pid))
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        [thread] = [thread for thread in dump.threads() if thread.tid == target.pid]
        assert (stream.tid, stream.code, stream.flags) == (target.pid, REQUESTED, 0)
        assert stream.context == thread.context and stream.address == thread.register("rip")


def test_what_is_given_wins(start: Start, take: live.Taker) -> None:
    target = start("write")
    info = md.SignalInfo(
        tid=target.info["tid"], signal=signal.SIGBUS, code=3, address=0xABC, parameters=(1, 2),
        ucontext=target.info["ucontext"], siginfo=target.info["siginfo"],
    )  # fmt: skip
    _, path = take(target.pid, only=QUICK, exception=info)
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        assert (stream.code, stream.flags, stream.address, stream.parameters) == (signal.SIGBUS, 3, 0xABC, (1, 2))
        assert stream.registers() == target.info["registers"]


@pytest.mark.parametrize("member", ["ucontext", "siginfo"])
@pytest.mark.parametrize("where", ["nothing", "unaligned end", "other bytes"])
def test_wrong_addresses(member: str, where: str, start: Start, tmp_path: Path) -> None:
    target = start("write")
    address = {"nothing": 0x48, "unaligned end": (1 << 64) - 8, "other bytes": target.info["mark"]}[where]
    info = md.SignalInfo(tid=target.info["tid"], **{member: address})
    if (member, where) == ("siginfo", "other bytes"):
        return  # any bytes can be one
    with pytest.raises(ValueError, match=f"there is no {member}_t at {address:#x}"):
        md.write_dump(target.pid, tmp_path / "x.dmp", exception=info)
    assert not list(tmp_path.glob("*.dmp"))


def test_a_thread_that_does_not_exist(target: live.Target, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the target has no thread 7"):
        md.write_dump(target.pid, tmp_path / "x.dmp", exception=md.SignalInfo(tid=7))
    with pytest.raises(md.TargetGone, match="has no thread"):
        md.SignalInfo.of_thread(target.pid, (1 << 31) - 1)


@pytest.mark.parametrize(
    ("keep", "there"),
    [
        (md.Filter(md.exclude(kind="stack")), True),
        (md.Filter(threads={"default": md.filters.ThreadWrite.THREAD}), False),
        (md.Filter(streams={"exclude": ["exception"]}), False),
    ],
    ids=["no stacks", "no registers", "no exception"],
)
def test_registers_are_the_threads(keep: md.Filter, there: bool, start: Start, take: live.Taker) -> None:
    target = start("write")
    report, path = take(target.pid, only=QUICK, filter=keep, exception=given(target))
    with file_rules.DumpFile(path) as dump:
        assert (EXCEPTION in dump.streams) == there
        if there:
            assert Stream(dump).registers() == target.info["registers"]
    assert live.file_holds(path, MARK) == [-1 if keep.streams.exclude == 0 else live.file_holds(path, MARK)[0]]
    assert report.complete


def test_its_registers_are_sanitized(start: Start, take: live.Taker) -> None:
    target = start("write")
    secret = md.Filter(redact=md.Redact(patterns=[struct.pack("<Q", 0x1313131313131313)]))
    _, path = take(target.pid, only=QUICK, filter=secret, exception=given(target))
    assert live.file_holds(path, struct.pack("<Q", 0x1313131313131313)) == [-1]
    with file_rules.DumpFile(path) as dump:
        assert Stream(dump).registers()["r12"] == 0x1212121212121212


def test_the_extended_state(start: Start, take: live.Taker) -> None:
    target = start("write")
    _, path = take(target.pid, md.DumpType.WITH_AVX_XSTATE_CONTEXT, only=QUICK, exception=given(target))
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        [thread] = dump.threads()
        assert len(stream.context) == len(thread.context)
        flags = [struct.unpack_from("<I", context, 48)[0] & 0x4F for context in (stream.context, thread.context)]
        assert flags[0] == flags[1]
        assert stream.context[1232:1256] == thread.context[1232:1256]  # CONTEXT_EX
        assert stream.context[256 + 160 + 16 * 5 :][:16] == FLOATS


def test_the_command_line(start: Start, tmp_path: Path) -> None:
    target = start("write", "alt", "thread")
    info, path = target.info, tmp_path / "x.dmp"
    words = ["--thread", str(info["tid"]), "--ucontext", hex(info["ucontext"]), "--siginfo", hex(info["siginfo"])]
    done = live.run_cli("dump", str(target.pid), "-o", path, *words)
    assert done.returncode == 0, done.stderr
    with file_rules.DumpFile(path) as dump:
        check_stream(dump, target, "write")
    words = ["--signal", "bus", "--code", "-6", "--fault-address", "0x123"]
    done = live.run_cli("dump", str(target.pid), "-o", path, *words)
    assert done.returncode == 0, done.stderr
    with file_rules.DumpFile(path) as dump:
        stream = Stream(dump)
        assert (stream.tid, stream.code, stream.address) == (target.pid, signal.SIGBUS, 0x123)
    for wrong in (["--signal", "SIGNOTHING"], ["--fault-address", "here"], ["--thread", "0"]):
        done = live.run_cli("dump", str(target.pid), "-o", path, *wrong)
        assert done.returncode == 2 and wrong[1] in done.stderr


@pytest.mark.parametrize(
    ("members", "error", "words"),
    [
        ({"tid": 0}, ValueError, "tid must be above 0"),
        ({"tid": True}, TypeError, "tid must be a number"),
        ({"tid": 1, "signal": 0}, ValueError, "signal must be above 0"),
        ({"tid": 1, "signal": 128}, ValueError, "signal"),
        ({"tid": 1, "code": 1 << 31}, ValueError, "code must fit"),
        ({"tid": 1, "address": -1}, ValueError, "address"),
        ({"tid": 1, "ucontext": 1 << 64}, ValueError, "ucontext"),
        ({"tid": 1, "parameters": (1, 2, 3, 4)}, ValueError, "at most 3"),
        ({"tid": 1, "parameters": ("x",)}, TypeError, "a parameter"),
        ({"tid": 1, "find_frame": 1}, TypeError, "find_frame"),
        ({"tid": 1, "find_frame": True, "siginfo": 8}, ValueError, "one or the other"),
    ],
)
def test_arguments(members: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        md.SignalInfo(**members)
