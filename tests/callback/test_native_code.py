"""What comments say about compiled code, looked up in the compiled code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import live
import pytest

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-fPIC", "-fvisibility=hidden")


def compilers() -> list[str]:
    """Those on this machine, each under one name."""
    clangs = [f"clang-{version}" for version in range(22, 13, -1)]
    found = [name for name in ("gcc", "clang", *clangs) if shutil.which(name)]
    return found[: 2 if "gcc" in found else 1] or ["cc"]


@pytest.mark.parametrize("level", ["-O2", "-O3"])
@pytest.mark.parametrize("compiler", compilers())
def test_the_routine_has_no_stack_frame(compiler: str, level: str, tmp_path: Path) -> None:
    live.compiler()  # a skip without one
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    compiled = tmp_path / "trampoline.o"
    source = ROOT / "csrc" / "callback" / "trampoline.c"
    subprocess.run([compiler, *FLAGS, level, "-c", str(source), "-o", str(compiled)], check=True)
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "--disassemble=mdc_callback_routine", str(compiled)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    code = re.findall(r"^\s+[0-9a-f]+:\s+(.*)$", listing, re.MULTILINE)
    assert len(code) > 50
    assert not [line for line in code if re.search(r"\b(push|pop|call)\b|%[re]?sp\b", line)]
