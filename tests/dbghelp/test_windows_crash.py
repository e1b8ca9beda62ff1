"""`md.crash` on Windows: what nothing handles, and abort(), are dumped by the helper, with both engines."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows; .ci/windows runs it", allow_module_level=True)

import file_rules

import minidump_cffi as md
from minidump_cffi._os import sinks_windows

EXCEPTION_STREAM: Final = 6
PATIENCE: Final = 120

PROGRAM: Final = """
import ctypes, os, subprocess, sys, threading, time
import minidump_cffi as md

kernel32 = ctypes.WinDLL("kernel32")
Filter = ctypes.WINFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
kernel32.SetUnhandledExceptionFilter.restype = ctypes.c_void_p
kernel32.SetUnhandledExceptionFilter.argtypes = [ctypes.c_void_p]
kernel32.CreateThread.restype = ctypes.c_void_p
kernel32.CreateThread.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_void_p] * 2, ctypes.c_ulong] + [
    ctypes.POINTER(ctypes.c_ulong)]

folder, way, engine = sys.argv[1:4]

def say(*words):
    print(*words, flush=True)

@Filter
def before(pointers):
    say("filter of before")
    return 1  # EXCEPTION_EXECUTE_HANDLER: the process ends

# Code that ctypes does not guard: x64, in memory of its own. The filter ends the process, without a debugger.
kernel32.VirtualAlloc.restype = ctypes.c_void_p
at = kernel32.VirtualAlloc(None, 8192, 0x3000, 0x40)
ctypes.memmove(at + 4096, b"\\xb8\\1\\0\\0\\0\\xc3", 6)  # mov eax, EXCEPTION_EXECUTE_HANDLER; ret
kernel32.SetUnhandledExceptionFilter(before if way == "chain" else at + 4096)
for _ in range(2):  # the second in place of the first
    md.crash.enable(folder, engine=engine, name="{signal}", comment="crashed")
if way == "later":
    kernel32.SetUnhandledExceptionFilter(at + 4096)

CODE = {
    # mov rbx, 0x1212...; mov eax, 0x10; mov [rax], ecx
    "write": b"\\x48\\xbb" + b"\\x12" * 8 + b"\\xb8\\x10\\0\\0\\0" + b"\\x89\\x08",
}
def run(code):
    ctypes.memmove(at, code, len(code))
    number = ctypes.c_ulong()
    thread = kernel32.CreateThread(None, 0, at, None, 0, ctypes.byref(number))
    say("thread", number.value)
    time.sleep(30)

if way == "now":
    say(os.path.basename(md.crash.dump_now(annotations={"why": "asked"})))
    say(os.path.basename(md.crash.dump_now()))
    say(md.crash.status().dumps, md.crash.status().helper_alive)
    md.crash.disable()
    say(md.crash.status().enabled)
elif way == "abort":
    os.abort()
elif way == "put back":
    ours = kernel32.SetUnhandledExceptionFilter(at + 4096)
    md.crash.disable()
    kernel32.SetUnhandledExceptionFilter(ours)
    md.crash.enable(folder, engine=engine, name="{signal}")
    run(CODE["write"])
elif way == "disabled":
    md.crash.disable()
    run(CODE["write"])
elif way == "killed":
    os.kill(md.crash.status().helper, 9)
    run(CODE["write"])
elif way == "python":
    md.crash.enable(folder, engine=engine, name="{signal}", excepthooks=True)
    raise LookupError("nothing catches this")
elif way == "threads":
    say(md.crash.status().threads_covered)
    go = threading.Event()
    others = [threading.Thread(target=go.wait) for _ in range(3)]
    for other in others: other.start()
    say(md.crash.status().threads_covered, md.crash.status().threads_uncovered)
    go.set()
    for other in others: other.join()
    say(md.crash.status().threads_covered)
else:
    run(CODE.get(way, CODE["write"]))
"""


class Ran:
    """A run of the program: status, lines, and the dumps that are in the folder."""

    def __init__(self, folder: Path, way: str, engine: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder, way, engine],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.status, self.lines, self.errors = done.returncode, done.stdout.split("\n")[:-1], done.stderr
        self.dumps = sorted(folder.iterdir())

    def thread(self) -> int:
        [number] = [int(line.split()[1]) for line in self.lines if line.startswith("thread ")]
        return number


def exception(path: Path) -> tuple[int, int, tuple[int, ...], bytes]:
    """Thread, code, parameters and context of a dump."""
    with file_rules.DumpFile(path) as dump:
        data = dump.stream(EXCEPTION_STREAM)
        tid, code, count = struct.unpack_from("<I4xI20xI", data)
        size, at = struct.unpack_from("<II", data, 160)
        return tid, code, struct.unpack_from(f"<{count}Q", data, 40), bytes(dump.data[at : at + size])


@pytest.mark.parametrize(
    ("way", "engine", "code", "parameters"),
    [
        ("write", "native", 0xC0000005, (1, 0x10)),
        ("write", "dbghelp", 0xC0000005, (1, 0x10)),
    ],
)
def test_a_crash_of_a_thread(
    way: str, engine: Any, code: int, parameters: tuple[int, ...] | None, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, way, engine)
    assert ran.status & 0xFFFFFFFF == code, ran.errors
    assert [path.name for path in ran.dumps] == [f"{code:#010x}.dmp"], ran.errors
    tid, found, told, context = exception(ran.dumps[0])
    assert (tid, found) == (ran.thread(), code)
    if parameters is not None:
        assert told == parameters
    if way == "write":
        rax, rbx = (struct.unpack_from("<Q", context, at)[0] for at in (120, 144))
        assert (rax, rbx) == (0x10, 0x1212121212121212)
    with file_rules.DumpFile(ran.dumps[0]) as dump:
        assert "crashed".encode("utf-16-le") in dump.stream(11)
        rsp = struct.unpack_from("<Q", context, 152)[0]
        assert dump.read(rsp, 8) is not None


def test_abort(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "abort", "native")
    assert ran.status == 3, ran.errors
    assert [path.name for path in ran.dumps] == ["0x40000015.dmp"], ran.errors
    assert exception(ran.dumps[0])[1] == 0x40000015


def test_what_was_there_before_comes_after(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "chain", "native")
    assert ran.lines[-1:] == ["filter of before"] and len(ran.dumps) == 1, ran.errors


def test_a_filter_of_later_comes_instead(tmp_path: Path) -> None:
    assert not Ran(tmp_path, "later", "native").dumps


def test_ours_put_back_by_another(tmp_path: Path) -> None:
    """It must not be taken for the one that was there before, and call itself."""
    ran = Ran(tmp_path, "put back", "native")
    assert ran.status & 0xFFFFFFFF == 0xC0000005 and len(ran.dumps) == 1, ran.errors


@pytest.mark.parametrize("renames", [True, False])
def test_a_name_that_is_taken(renames: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing is renamed through a handle."""
    if not renames:
        monkeypatch.setattr(sinks_windows.NewFileSink, "_rename", lambda self, replace: False)
    for number in range(3):
        sink = sinks_windows.NewFileSink(str(tmp_path), "x", ".dmp")
        assert sink.fd is not None
        os.write(sink.fd, b"%d" % number)
        sink.commit(lambda: None)
        assert Path(sink.path).read_bytes() == b"%d" % number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-2.dmp", "x-3.dmp", "x.dmp"]


def test_dump_now(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "now", "native")
    assert ran.lines == ["requested.dmp", "requested-2.dmp", "2 True", "False"], ran.errors
    assert [path.name for path in ran.dumps] == ["requested-2.dmp", "requested.dmp"]


def test_disabled(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "disabled", "native")
    assert ran.status & 0xFFFFFFFF == 0xC0000005 and not ran.dumps


def test_without_its_helper_nothing_hangs(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "killed", "native")
    assert ran.status & 0xFFFFFFFF == 0xC0000005 and not ran.dumps
    assert "no dump of this crash: the process that takes it has ended" in ran.errors


def test_exceptions_of_python(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "python", "native")
    assert ran.status == 1 and "nothing catches this" in ran.errors
    [path] = ran.dumps
    with file_rules.DumpFile(path) as dump:
        assert "LookupError: nothing catches this".encode("utf-16-le") in dump.stream(11)


def test_threads_are_covered(tmp_path: Path) -> None:
    assert Ran(tmp_path, "threads", "native").lines == ["1", "4 0", "1"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(md.SinkError, match="cannot create"):
        md.crash.enable(tmp_path / "none" / "x.dmp")
    assert not md.crash.status().enabled


def test_what_is_of_posix_is_refused(tmp_path: Path) -> None:
    for wrong in ({"signals": [11]}, {"dumpable": True}):
        with pytest.raises(ValueError, match="are for POSIX"):
            md.crash.enable(tmp_path, **wrong)
    assert not md.crash.status().enabled
