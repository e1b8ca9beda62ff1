"""The Python side on Windows: outputs, targets, both engines, the command line. The lane of .ci/windows runs it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows; .ci/windows runs it", allow_module_level=True)

import _winapi
import msvcrt

import crashpad
import fake

import minidump_cffi as md
from minidump_cffi import plugins, sinks, targets
from minidump_cffi._os import pe
from minidump_cffi.cli import main

FULL = md.DumpType.WITH_FULL_MEMORY
ENGINES: Final = ("native", "dbghelp")
AREA = 65536
#: A region of its own, whose bytes are nowhere else in the process.
PROGRAM: Final = """
import ctypes, sys
allocate = ctypes.WinDLL("kernel32").VirtualAlloc
allocate.restype = ctypes.c_void_p
allocate.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_ulong]
at = allocate(None, 65536, 0x3000, 4)
area = (ctypes.c_ubyte * 65536).from_address(at)
for place in range(4096):
    area[place] = (place * place * 7 + place * 3 + 3) >> 3 & 255
print(at, flush=True)
sys.stdin.read()
"""
PATTERN: Final = bytes((at * at * 7 + at * 3 + 3) >> 3 & 255 for at in range(4096))


@pytest.fixture(scope="module")
def child() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with `PATTERN` at an address; it has to live when the tests end."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        assert process.poll() is None, "the process did not run on"


def put(sink: sinks.Sink, data: bytes) -> None:
    """Write to an open output as C would."""
    assert sink.fd is not None
    os.write(sink.fd, data)


def done() -> None:
    """Nobody wants to end."""


# --------------------------------------------------------------------------------------------------------- outputs


def test_a_file_takes_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    sink = sinks.open_sink(path)
    put(sink, b"whole")
    (temporary,) = fake.names(tmp_path)
    assert temporary != "x.dmp"
    with pytest.raises(OSError, match=temporary):  # no other process sees half a dump
        (tmp_path / temporary).open("rb")
    sink.commit(done)
    assert fake.names(tmp_path) == ["x.dmp"] and path.read_bytes() == b"whole"
    sink = sinks.open_sink(os.fsencode(path))
    put(sink, b"new")
    assert path.read_bytes() == b"whole"
    sink.commit(done)
    assert fake.names(tmp_path) == ["x.dmp"] and path.read_bytes() == b"new"
    sink = sinks.open_sink(path)
    put(sink, b"half")
    sink.discard()
    assert fake.names(tmp_path) == ["x.dmp"] and path.read_bytes() == b"new"


def test_nothing_stays_of_a_process_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys
from minidump_cffi import sinks
sink = sinks.open_sink({str(tmp_path / "x.dmp")!r})
os.write(sink.fd, b"half")
print(len(os.listdir({str(tmp_path)!r})), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"1"
        process.kill()
    assert fake.names(tmp_path) == []


def test_a_file_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    path.write_bytes(b"old")
    sink = sinks.open_sink(path)
    put(sink, b"new")
    with path.open("rb") as user, pytest.raises(md.SinkError, match="cannot put in place") as caught:
        sink.commit(done)
    assert user.closed and caught.value.winerror in (5, 32) and caught.value.errno == errno.EACCES
    assert fake.names(tmp_path) == ["x.dmp"] and path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("", "is empty", errno.ENOENT),
        ("nowhere/x.dmp", "cannot create", errno.ENOENT),
        ("COM7", "reserves this name", errno.EINVAL),
        ("lpt1.dmp", "reserves this name", errno.EINVAL),
        ("x.dmp:hidden", "stream of another file", errno.EINVAL),
        ("dot.", "dots and spaces", errno.EINVAL),
        ("a\0b", "invalid path", errno.EINVAL),
        ("a?b", r"cannot inspect .*[^.] \(error 123\)$", errno.EINVAL),
        (".", "is a directory", errno.EISDIR),
        (r"\\.\pipe\minidump-nobody", "cannot open", errno.ENOENT),
    ],
)
def test_names_that_are_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, number: int
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(md.SinkError, match=text) as caught:
        sinks.open_sink(name)
    assert caught.value.errno == number
    assert fake.names(tmp_path) == []


def test_long_names(tmp_path: Path) -> None:
    folder = "\\\\?\\" + str(tmp_path)
    path = f"{folder}\\con.{'x' * 200}"  # reserved, too, without the prefix
    sink = sinks.open_sink(path)
    put(sink, b"whole")
    sink.commit(done)
    assert Path(path).read_bytes() == b"whole"
    Path(path).unlink()


@pytest.mark.parametrize("name", ["NUL", "nul", r"\\.\NUL"])
def test_the_null_device(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = sinks.open_sink(name)
    put(sink, b"gone")
    sink.commit(done)
    assert fake.names(tmp_path) == []


def test_a_descriptor_is_written_at_its_position(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with path.open("wb") as file:
        file.write(b"head")
        sink = sinks.open_sink(file)
        put(sink, b"half")
        sink.discard()
        file.write(b"tail")
    assert path.read_bytes() == b"headtail"
    with path.open("ab") as file:
        sink = sinks.open_sink(file)
        put(sink, b"more")
        sink.commit(done)
    assert path.read_bytes() == b"headtailmore"
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(md.SinkError, match="not open for writing"):
        sinks.open_sink(descriptor)
    os.close(descriptor)
    with pytest.raises(md.SinkError) as caught:
        sinks.open_sink(descriptor)
    assert caught.value.errno == errno.EBADF


def test_handles_are_not_inherited(tmp_path: Path) -> None:
    sink = sinks.open_sink(tmp_path / "x.dmp")
    assert sink.fd is not None and not os.get_inheritable(sink.fd)
    assert sinks.native(sink.fd) == msvcrt.get_osfhandle(sink.fd)
    sink.discard()


@contextlib.contextmanager
def pipe_server() -> Iterator[tuple[str, list[bytes]]]:
    """A named pipe, and what came through it until the other end was closed."""
    name = rf"\\.\pipe\minidump-{os.getpid()}-{time.monotonic_ns()}"
    handle = _winapi.CreateNamedPipe(name, _winapi.PIPE_ACCESS_INBOUND, 0, 1, 0, 65536, 0, _winapi.NULL)
    found: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            _winapi.ConnectNamedPipe(handle)
        with contextlib.suppress(OSError):
            while True:
                found.append(_winapi.ReadFile(handle, 65536)[0])

    thread = threading.Thread(target=serve)
    thread.start()
    yield name, found
    thread.join()
    _winapi.CloseHandle(handle)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_named_pipe(child: tuple[subprocess.Popen[bytes], int], engine: Any) -> None:
    with pipe_server() as (name, found):
        report = md.write_dump(child[0], name, engine=engine)
    data = b"".join(found)
    assert data.startswith(b"MDMP") and len(data) == report.file_bytes


# --------------------------------------------------------------------------------------------------------- targets


def test_processes_by_handle(child: tuple[subprocess.Popen[bytes], int]) -> None:
    process, _ = child
    handle = int(process._handle)  # type: ignore[attr-defined]
    assert targets.resolve(md.Handle(handle)) == targets.Target(pid=process.pid, handle=handle)
    assert targets.resolve(process) == targets.Target(pid=process.pid, handle=handle)
    assert targets.resolve(process.pid) == targets.Target(pid=process.pid)
    assert targets.resolve(md.Handle(-1)).own  # the pseudo handle of GetCurrentProcess


def test_handles_that_are_none() -> None:
    with pytest.raises(md.TargetError, match="not the handle of a process") as caught:
        targets.resolve(md.Handle(0x7FFF_0000))
    assert caught.value.winerror == 6
    for wrong in (True, "5"):
        with pytest.raises(TypeError, match="a handle is an int"):
            targets.resolve(md.Handle(wrong))  # type: ignore[arg-type]
    with pytest.raises(md.TargetError, match="on Linux only") as caught:
        targets.resolve(md.PidFd(3))
    assert "Handle" in str(caught.value.hint)


def test_processes_that_have_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    handle = int(process._handle)  # type: ignore[attr-defined]
    _winapi.WaitForSingleObject(handle, 60_000)
    assert process.returncode is None, "its status was not read yet"
    for target in (process, md.Handle(handle)):
        with pytest.raises(md.TargetGone, match="has ended") as caught:
            md.write_dump(target, "NUL")
        assert caught.value.errno == errno.ESRCH and caught.value.pid == process.pid
    for engine in ENGINES:  # it can still be opened, as we hold a handle
        with pytest.raises(md.TargetGone) as caught:
            md.write_dump(process.pid, "NUL", engine=engine)
        assert caught.value.errno == errno.ESRCH
    process.wait()
    with pytest.raises(md.TargetGone, match="ended with status 0"):
        targets.resolve(process)


class Known:
    """As psutil.Process: knows that its pid is its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def create_time(self) -> float:
        return 0.0

    def is_running(self) -> bool:
        return True


def test_processes_by_start_time(child: tuple[subprocess.Popen[bytes], int]) -> None:
    process, _ = child
    start = targets.start_time(process.pid)
    assert start is not None and start > 0
    assert targets.resolve(Known(process.pid)) == targets.Target(pid=process.pid, start_time=start)
    assert targets.start_time(0x7FFF_FFF0) is None
    for engine in ENGINES:
        wrong = targets.Target(pid=process.pid, start_time=start + 1)
        with pytest.raises(md.TargetGone):
            md.write_dump(wrong, io.BytesIO(), FULL, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_there_is_no_such_process(tmp_path: Path, engine: Any) -> None:
    with pytest.raises(md.TargetGone, match="no process") as caught:
        md.write_dump(0x7FFF_FFF0, tmp_path / "x.dmp", engine=engine)
    assert (caught.value.errno, caught.value.winerror) == (errno.ESRCH, 87)
    assert caught.value.hresult == 0x8007_0057
    assert fake.names(tmp_path) == []


# --------------------------------------------------------------------------------------------------------- engines


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_rule_excludes_is_not_in_the_file(
    child: tuple[subprocess.Popen[bytes], int], tmp_path: Path, engine: Any
) -> None:
    process, address = child
    whole, without = tmp_path / "whole.dmp", tmp_path / "without.dmp"
    report = md.write_dump(process, whole, FULL, engine=engine)
    assert report.engine == engine and report.complete and report.file_bytes == whole.stat().st_size
    assert PATTERN in whole.read_bytes()
    rules = md.Filter(md.exclude(range=(address, address + AREA), label="pattern"))
    report = md.write_dump(process, without, FULL, filter=rules, engine=engine)
    assert PATTERN not in without.read_bytes()
    rule = report.rules[0]
    assert (rule.label, rule.kept, rule.excluded) == ("pattern", 0, AREA)
    (region,) = (region for region in report.regions if region.base <= address < region.end)
    assert region.kept == 0
    if engine == "native":
        assert report.file_bytes < whole.stat().st_size and not report.messages
    else:
        assert bool(report.warnings & md.report.DumpWarning.FILLED) == (
            md.protocol.CallbackType.INCLUDE_VM_REGION not in report.callbacks
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_of_all_kinds(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path, engine: Any) -> None:
    process, _ = child
    path = tmp_path / "x.dmp"
    for given in (path, os.fsencode(path))[: 2 if engine == "native" else 1]:  # dbghelp takes seconds under Wine
        report = md.write_dump(process, given, engine=engine, fsync=given is path)
        assert path.stat().st_size == report.file_bytes
        assert path.read_bytes().startswith(b"MDMP")
        assert fake.names(tmp_path) == ["x.dmp"]
        path.unlink()
    for spool in (True, False):
        memory = io.BytesIO()
        report = md.write_dump(process, memory, engine=engine, spool=spool)
        assert len(memory.getvalue()) == report.file_bytes and memory.getvalue().startswith(b"MDMP")
    with path.open("wb") as file:
        file.write(b"head")
        report = md.write_dump(process, file, engine=engine)
    assert path.read_bytes().startswith(b"headMDMP") and path.stat().st_size == 4 + report.file_bytes
    assert md.write_dump(process, "NUL", engine=engine).complete


@pytest.mark.parametrize("engine", ENGINES)
def test_limits_and_cancelling(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path, engine: Any) -> None:
    process, _ = child
    asked = []

    def cancel() -> bool:
        asked.append(True)
        return engine == "native" or len(asked) > 1  # with dbghelp not before it begins

    with pytest.raises(md.Cancelled) as caught:
        md.write_dump(process, tmp_path / "x.dmp", FULL, engine=engine, on_cancel=cancel)
    assert caught.value.hresult == 0x8007_04C7
    with pytest.raises(md.DeadlineExceeded):
        md.write_dump(process, tmp_path / "x.dmp", FULL, engine=engine, deadline=0.001)

    def fail() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        md.write_dump(process, tmp_path / "x.dmp", FULL, engine=engine, on_cancel=fail)
    # An abandoned call of dbghelp holds its file until it returns. The file has no other end than that.
    until = time.monotonic() + 60
    while fake.names(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert fake.names(tmp_path) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_handles_can_be_left_out(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path, engine: Any) -> None:
    """Their names are those of files and objects: excluded, they are not in the dump. (Wine's dbghelp lists none.)"""
    path, kind = tmp_path / "x.dmp", md.DumpType.WITH_HANDLE_DATA
    md.write_dump(child[0], path, kind, engine=engine)
    data = path.read_bytes()
    assert data[24] == kind and (12 in crashpad.streams(data) or engine == "dbghelp")
    md.write_dump(child[0], path, kind, engine=engine, filter=md.Filter(streams={"exclude": ["handle_data"]}))
    data = path.read_bytes()
    assert 12 not in crashpad.streams(data) and (data[24] == 0 or engine == "native")


@pytest.mark.parametrize("engine", ENGINES)
def test_our_own_process(tmp_path: Path, engine: Any) -> None:
    seen: list[md.Progress] = []
    path = tmp_path / "x.dmp"
    report = md.write_dump(
        os.getpid(), path, engine=engine, progress=seen.append,
        user_streams=[md.UserStream(type=0x10001, data=b"from the parent")],
        annotations={"version": "1.2", "\u00fc": ""}, comment="by hand",
    )  # fmt: skip
    assert crashpad.simple_annotations(path) == {"version": "1.2", "\u00fc": ""}
    assert crashpad.comments(path) == ("by hand", "by hand")
    assert report.pid == os.getpid() and report.engine == engine
    data = path.read_bytes()
    assert len(data) == report.file_bytes and b"from the parent" in data
    assert fake.names(tmp_path) == ["x.dmp"]
    with pytest.raises(md.Cancelled):
        md.write_dump(md.Handle(-1), tmp_path / "y.dmp", FULL, engine=engine, on_cancel=lambda: True)
    assert fake.names(tmp_path) == ["x.dmp"]


def test_dumps_by_dbghelp_wait_for_each_other(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda at=at: found.append(md.write_dump(child[0], tmp_path / f"{at}.dmp").complete))
        for at in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 2


def test_a_library_that_is_none(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    for wrong in (tmp_path / "nothing.dll", rf"{os.environ['SYSTEMROOT']}\system32\ntdll.dll"):
        with pytest.raises((ValueError, md.DumpError)):
            md.write_dump(child[0], tmp_path / "x.dmp", engine=md.DbgHelp(path=wrong))
        assert main(["dump", str(child[0].pid), "-o", str(tmp_path / "x.dmp"), "--dbghelp", str(wrong)]) in (1, 2)
    assert fake.names(tmp_path) == []


def test_added_memory_that_dbghelp_does_not_ask_for(child: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    process, address = child
    rules = md.Filter(memory={"add": [(address, address + 4096)]})
    report = md.write_dump(process, tmp_path / "x.dmp", filter=rules, engine="native", strict=True)
    assert PATTERN in (tmp_path / "x.dmp").read_bytes()
    report = md.write_dump(process, tmp_path / "y.dmp", filter=rules, engine="dbghelp")
    asked = md.protocol.CallbackType.MEMORY in report.callbacks
    assert (PATTERN in (tmp_path / "y.dmp").read_bytes()) is asked
    assert any("memory to add" in message for message in report.messages) is not asked
    if not asked:  # Wine's does not
        with pytest.raises(md.DumpError, match=r"^strict: .*memory to add"):
            md.write_dump(process, tmp_path / "z.dmp", filter=rules, engine="dbghelp", strict=True)
        assert fake.names(tmp_path) == ["x.dmp", "y.dmp"]


def test_recordings(child: tuple[subprocess.Popen[bytes], int]) -> None:
    for engine, name in (("native", "minidump_cffi"), ("dbghelp", "dbghelp")):
        report = md.write_dump(child[0], "NUL", engine=engine, record=True)  # type: ignore[arg-type]
        assert report.recording is not None and report.recording.engine == name
        modules = [call for call in report.recording if call.type == md.protocol.CallbackType.MODULE]
        assert any(str(call.input["FullPath"]).lower().endswith("ntdll.dll") for call in modules)


# ------------------------------------------------------------------------------------------------ callbacks, plug-ins

ROUTINE: Final = ctypes.WINFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@pytest.mark.parametrize("engine", ENGINES)
def test_routines_of_ctypes_and_python(child: tuple[subprocess.Popen[bytes], int], engine: Any) -> None:
    calls: list[int] = []

    @ROUTINE
    def routine(param: int, input: int, output: int) -> int:
        calls.append(param)
        return 0 if engine == "native" else 1

    report = md.write_dump(child[0], "NUL", engine=engine, callback=md.protocol.Routine(routine=routine, param=7))
    assert calls and set(calls) == {7} and not report.rules
    kinds: set[md.protocol.CallbackType] = set()

    def answer(question: md.protocol.Input, output: md.protocol.Output) -> bool:
        kinds.add(question.type)
        return True

    report = md.write_dump(
        child[0], "NUL", engine=engine, callback=md.protocol.PythonCallback({md.protocol.CallbackType.MODULE: answer})
    )
    assert kinds == {md.protocol.CallbackType.MODULE} and report.modules


def test_files_that_are_no_plugins(tmp_path: Path) -> None:
    broken = tmp_path / "broken.dll"
    broken.write_bytes(b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(200))
    elf = tmp_path / "elf.dll"
    elf.write_bytes(b"\x7fELF" + bytes(200))
    other = tmp_path / "other.dll"
    head = Path(sys.executable).read_bytes()[:1024]
    at = int.from_bytes(head[60:64], "little") + 4
    other.write_bytes(head[:at] + b"\x64\xaa" + head[at + 2 :])
    for path, text in (
        (broken, "does not start as a PE file"),
        (elf, "does not start as a PE file"),
        (other, "for another machine: ARM64"),
        (Path(sys.executable), "is not a DLL"),
        (Path(sys.executable).with_name("python3.dll"), "has no function MiniDumpCallbackRoutine"),
        (tmp_path / "nothing.dll", "cannot be read"),
        (tmp_path, "not a regular file"),
    ):
        with pytest.raises(md.PluginError, match=text):
            plugins.Plugin(path)


def test_what_is_code() -> None:
    function = ctypes.cast(ctypes.windll.kernel32.GetTickCount, ctypes.c_void_p).value
    assert function is not None and pe.is_code(function)
    assert not pe.is_code(id(None)) and not pe.is_code(0)


# -------------------------------------------------------------------------------------------------------- the rest


def test_windows_errors_are_errnos_too() -> None:
    for number, expected in ((5, errno.EACCES), (112, errno.ENOSPC), (109, errno.EPIPE), (6, errno.EBADF)):
        error = md.SinkError("x", winerror=number)
        assert (error.errno, error.winerror) == (expected, number)


def test_command_line(
    child: tuple[subprocess.Popen[bytes], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process, address = child
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[[rule]]\naction = "exclude"\nrange = ["{address:#x}", "{address + AREA:#x}"]\nlabel = "it"\n')
    for engine in ENGINES:
        path = tmp_path / f"{engine}.dmp"
        command = ["dump", str(process.pid), "-o", str(path), "--engine", engine, "--type", "full", "--json"]
        assert main([*command, "--filter", str(rules)]) == 0
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert report["engine"] == engine and report["rules"][0]["excluded"] == AREA
        assert PATTERN not in path.read_bytes()
        assert main(["show", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["system"]["platform"] == "Windows"
    assert main(["plan", str(process.pid), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "native"
    assert main(["dump", str(0x7FFF_FFF0), "-o", str(tmp_path / "x.dmp")]) == 1
    assert "no process" in capsys.readouterr().err
    assert not (tmp_path / "x.dmp").exists()


def test_a_dump_through_a_pipe(child: tuple[subprocess.Popen[bytes], int]) -> None:
    command = [sys.executable, "-m", "minidump_cffi", "dump", str(child[0].pid), "-o", "-"]
    for engine in ENGINES:
        done = subprocess.run([*command, "--engine", engine], stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"MDMP") and b"\r\r\n" not in done.stdout[:4096]
        assert b"the dump on stdout" in done.stderr


def test_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minidump_cffi", "demo", "-o", str(tmp_path / "demo.dmp")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the document is there, the secret is not there" in done.stdout
    assert "environment" not in done.stdout, "it is memory like any other on Windows, and in the dump"
