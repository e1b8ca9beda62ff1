"""Python programs that crash under `md.crash`, and what they leave."""

from __future__ import annotations

import resource
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
"""


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
    dumps = sorted(path for path in folder.iterdir() if path.is_file())
    return Outcome(status=done.returncode, out=done.stdout, err=done.stderr, dumps=dumps)
