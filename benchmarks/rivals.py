"""Rust's minidump-writer: the program of ours that calls it, built and served.

It is built from its crates in a folder of the user's cache, once; without cargo, or where the build fails, the
competitor is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from setting import QUICK

SOURCES = Path(__file__).parent / "baselines" / "minidump_writer"
NAME = "normal_dumps"


class NotBuilt(Exception):
    """Why there is no program."""


def build() -> Path:
    """Return the program.

    Raises
    ------
    NotBuilt
        There is no cargo, or it failed; the message says why.
    """
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(home / "bin"))
    if cargo is None:
        raise NotBuilt("cargo is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = cache / "minidump-cffi-benchmarks" / SOURCES.name
    if QUICK and not (where / "target" / "release" / NAME).exists():
        raise NotBuilt("minidump-writer is not built, which takes a minute: a run that is not quick does it")
    shutil.copytree(SOURCES, where, dirs_exist_ok=True)
    command = [cargo, "build", "--release", "--quiet"]
    if (where / "Cargo.lock").exists():  # made by the first build: all that come later are of the same crates
        command.append("--locked")
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise NotBuilt(f"cargo cannot build minidump-writer: {last[0]}")
    return where / "target" / "release" / NAME


class Writer:
    """The program, at work on one process: a call is one dump, and returns the seconds that it took inside of it."""

    def __init__(self, program: Path, pid: int) -> None:
        self._process = subprocess.Popen(
            [program, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __call__(self, path: Path) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        return float(self._process.stdout.readline())

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
