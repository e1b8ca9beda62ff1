"""The C files of the rooms, and a compiler that may be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import live
import pytest

ROOT = live.HERE.parent


def room_sources(system: str = "linux") -> list[Path]:
    """The C files of all rooms that belong to a system; see csrc/ffi_build.py for the rule."""
    absent, suffix = ({"windows", "dbghelp"}, "_windows") if system == "linux" else ({"linux"}, "_posix")
    csrc = ROOT / "csrc"
    return sorted(
        path
        for path in csrc.rglob("*.c")
        if path.relative_to(csrc).parts[0] not in absent and not path.stem.endswith(suffix)
    )


def compile_objects(command: Sequence[str], sources: Iterable[Path], folder: Path) -> str:
    """Compile each C file to an object file in the folder, as many at a time as there are CPUs; returns complaints.

    A process for each: a compiler cache like ccache takes no command with several files.
    """

    def compile_one(source: Path) -> str:
        done = subprocess.run(
            [*command, "-c", str(source)], cwd=folder, capture_output=True, text=True, check=False, timeout=600
        )
        return "" if done.returncode == 0 else done.stderr or f"{source.name}: the compiler says nothing"

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return "".join(pool.map(compile_one, sources))


def clang() -> str:
    """A clang, or a skip."""
    for name in ("clang", *(f"clang-{version}" for version in range(22, 13, -1))):
        if found := shutil.which(name):
            return found
    pytest.skip("clang is not installed")
