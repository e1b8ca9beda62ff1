"""The C files of the rooms, and a compiler that may be missing."""

from __future__ import annotations

import shutil
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


def clang() -> str:
    """A clang, or a skip."""
    for name in ("clang", *(f"clang-{version}" for version in range(22, 13, -1))):
        if found := shutil.which(name):
            return found
    pytest.skip("clang is not installed")
