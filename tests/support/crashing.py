"""Python programs that crash under `md.crash`, and what they leave."""

from __future__ import annotations

import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import file_rules
import live

# What every program can use. It says first who watches it.
PROLOGUE = """
import ctypes, faulthandler, os, signal, subprocess, sys, threading, time
import minidump_cffi as md
folder = sys.argv[1]
def enable(**options):
    md.crash.enable(folder, **options)
    print("helper", md.crash.status().helper, flush=True)
def null():
    ctypes.string_at(0)
def crashers():
    library = ctypes.CDLL(sys.argv[2])
    library.crash_at.restype = ctypes.c_ulong
    return library
def crash(way):
    library = crashers()
    print("tid", threading.get_native_id())
    print("at", library.crash_at(way.encode()), flush=True)
    library.crash(way.encode())
"""


@dataclass(frozen=True, kw_only=True)
class Blame:
    """What the Exception stream says."""

    tid: int
    signal: int
    code: int
    address: int
    context: bytes

    @property
    def rip(self) -> int:
        """The instruction."""
        value: int = struct.unpack_from("<Q", self.context, 248)[0]
        return value

    @property
    def rsp(self) -> int:
        """The stack pointer."""
        value: int = struct.unpack_from("<Q", self.context, 152)[0]
        return value


def exception_of(path: Path) -> Blame:
    """MINIDUMP_EXCEPTION_STREAM (6) of a dump."""
    with file_rules.DumpFile(path) as dump:
        stream = dump.stream(6)
        tid, signal, code, address, size, at = struct.unpack("<I4xIi8xQ128xII", stream)
        return Blame(tid=tid, signal=signal, code=code, address=address, context=dump.data[at : at + size])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended."""

    status: int
    out: str
    err: str
    dumps: list[Path]

    @property
    def dump(self) -> Path:
        """The one dump; it keeps the rules of the format, and is for its owner only."""
        assert len(self.dumps) == 1, (self.dumps, self.err)
        [path] = self.dumps
        assert file_rules.broken_rules(path) == []
        assert path.stat().st_mode & 0o777 == 0o600
        return path

    def said(self, name: str) -> int:
        """The number that the program printed after this word."""
        [line] = [line for line in self.out.splitlines() if line.startswith(name + " ")]
        return int(line.split()[1])


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return "Z" in live.task_states(pid).values()
    except (FileNotFoundError, ProcessLookupError):
        return True


def run(folder: Path, body: str, *words: object, core: bool = False, **options: Any) -> Outcome:
    """A program to its end; afterwards no helper of it is left."""
    folder.mkdir(exist_ok=True)

    def limits() -> None:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored by what a shell runs in the background
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY if core else 0,) * 2)

    command = [*options.pop("prefix", ()), sys.executable, "-c", PROLOGUE + body, str(folder), *map(str, words)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        **{"check": False, "timeout": live.PATIENCE, "preexec_fn": limits, "cwd": folder.parent, **options},
    )
    for line in done.stdout.splitlines():
        if line.startswith("helper "):
            helper = int(line.split()[1])
            live.wait_until(lambda pid=helper: gone(pid), "the helper ends with the program")
    dumps = sorted(path for path in folder.glob("*") if path.is_file())
    return Outcome(status=done.returncode, out=done.stdout, err=done.stderr, dumps=dumps)
