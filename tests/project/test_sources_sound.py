"""The C tree stands on its own: one plain compiler line takes it without a warning, its layouts hold on every CPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import live
import pytest
from compilers import clang, room_sources

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror"]
CPUS = {
    "x86": "i686-unknown-linux-gnu",
    "x64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "x86-windows": "i686-pc-windows-msvc",
    "x64-windows": "x86_64-pc-windows-msvc",
    "arm64-windows": "aarch64-pc-windows-msvc",
}
# Headers that give no system's types: enough to compile declarations for a CPU whose system is not installed.
PLAIN_HEADERS = ("stddef.h", "stdint.h")


def run(command: list[str], folder: Path) -> None:
    """A compiler line that has to succeed in silence."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stderr == ""


def test_one_plain_line_compiles_the_tree(tmp_path: Path) -> None:
    command = [*live.compiler().split(), "-std=c11", "-D_GNU_SOURCE", "-pthread", "-fsyntax-only", *WARNINGS]
    run([*command, *map(str, room_sources())], tmp_path)


def test_clang_has_no_warning_either(tmp_path: Path) -> None:
    run([clang(), "-std=c11", "-D_GNU_SOURCE", "-fsyntax-only", *WARNINGS, *map(str, room_sources())], tmp_path)


def public_headers() -> Iterator[Path]:
    """Headers that C users include, and those that hold layouts."""
    yield from sorted((ROOT / "csrc" / "api").glob("*.h"))
    yield from sorted((ROOT / "csrc" / "base").glob("*asserts*.h"))
    yield from sorted((ROOT / "csrc" / "format").glob("*.h"))


@pytest.mark.parametrize("cpu", list(CPUS))
def test_layouts_hold_on(cpu: str, tmp_path: Path) -> None:
    """The static asserts of the headers, compiled for each CPU with clang's own headers alone."""
    usable = [header for header in public_headers() if only_plain_headers(header)]
    assert ROOT / "csrc" / "api" / "minidump_protocol.h" in usable
    source = tmp_path / "layouts.c"
    source.write_text("".join(f'#include "{header}"\n' for header in usable) + "int mdc_layouts_hold = 1;\n")
    run(
        [clang(), "-std=c11", f"--target={CPUS[cpu]}", "-ffreestanding", "-fsyntax-only", "-Wall", str(source)],
        tmp_path,
    )


def only_plain_headers(header: Path, seen: frozenset[Path] = frozenset()) -> bool:
    """True if the header needs nothing of the system."""
    for line in header.read_text().splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "#include":
            continue
        if words[1].startswith("<"):
            if words[1].strip("<>") not in PLAIN_HEADERS:
                return False
        else:
            other = (header.parent / words[1].strip('"')).resolve()
            if other not in seen and not only_plain_headers(other, seen | {header}):
                return False
    return True


def test_a_wrong_layout_would_be_noticed(tmp_path: Path) -> None:
    """The check above fails when an assert is false: compile one that is."""
    source = tmp_path / "wrong.c"
    header = ROOT / "csrc" / "api" / "minidump_protocol.h"
    source.write_text(f'#include "{header}"\n_Static_assert(sizeof(MINIDUMP_CALLBACK_OUTPUT) == 68, "mingw");\n')
    with pytest.raises(AssertionError, match="mingw"):
        run(
            [clang(), "-std=c11", "--target=aarch64-unknown-linux-gnu", "-ffreestanding", "-fsyntax-only", str(source)],
            tmp_path,
        )


def test_headers_are_c_plus_plus_too(tmp_path: Path) -> None:
    compiler = shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source = tmp_path / "use.cpp"
    headers = sorted((ROOT / "csrc" / "api").glob("*.h"))
    source.write_text("".join(f'#include "{header}"\n' for header in headers) + "int main() { return 0; }\n")
    run([compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)], tmp_path)
