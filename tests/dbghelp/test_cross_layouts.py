"""What only a Windows compiler can say: the callback's layout and its calling convention, for x64 and x86."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import live
import pytest
import wine

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
LAYOUTS = ("base/protocol_asserts.h", "format/minidump_file.h")


def compiled(source: Path, cpu: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """The end of a cross compiler that only looks."""
    command = [wine.cross_compiler(cpu), *wine.CROSS_FLAGS, "-Wall", "-Werror", "-fsyntax-only", *flags]
    return subprocess.run(
        [*command, "-I", str(ROOT / "csrc"), str(source)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("cpu", list(wine.CROSS))
def test_layouts_hold(cpu: str, tmp_path: Path) -> None:
    """The static asserts, beside the headers of Windows that most programs include."""
    source = tmp_path / "layouts.c"
    names = ["<windows.h>", *(f'"{name}"' for name in LAYOUTS)]
    source.write_text("".join(f"#include {name}\n" for name in names) + "int mdc_layouts_hold = 1;\n")
    done = compiled(source, cpu)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("cpu", "wrong"), [("x64", 8), ("x86", 12)])
def test_a_wrong_layout_would_be_noticed(cpu: str, wrong: int, tmp_path: Path) -> None:
    """An assert that is true on the other CPU only."""
    source = tmp_path / "wrong.c"
    source.write_text(
        '#include "base/protocol_asserts.h"\n'
        f'_Static_assert(offsetof(MINIDUMP_CALLBACK_INPUT, CallbackType) == {20 - wrong}, "right");\n'
        f'_Static_assert(offsetof(MINIDUMP_CALLBACK_INPUT, CallbackType) == {wrong}, "of the other one");\n'
    )
    done = compiled(source, cpu)
    assert done.returncode != 0
    assert '"of the other one"' in done.stderr
    assert '"right"' not in done.stderr


@pytest.mark.parametrize("cpu", list(wine.CROSS))
def test_the_routine_is_stdcall(cpu: str, tmp_path: Path) -> None:
    """What is declared otherwise is no MINIDUMP_CALLBACK_ROUTINE on x86; on x64 there is one convention."""
    source = tmp_path / "convention.c"
    source.write_text(
        '#include "api/minidump_protocol.h"\n'
        "static int32_t __cdecl other(void *p, MINIDUMP_CALLBACK_INPUT *i, MINIDUMP_CALLBACK_OUTPUT *o)\n"
        "{ return p && i && o; }\n"
        "MINIDUMP_CALLBACK_INFORMATION information = { other, 0 };\n"
    )
    done = compiled(source, cpu)
    assert (done.returncode == 0) == (cpu == "x64"), done.stderr


@pytest.mark.parametrize("cpu", list(wine.CROSS))
def test_what_cffi_writes_compiles(cpu: str, tmp_path: Path) -> None:
    """The extension's own C file; linking is left to the wheel, which is there for x64."""
    headers = Path(wine.python()).parent / "python" / "include"
    source = tmp_path / "native.c"
    emit = (
        "import runpy, sys; made = runpy.run_path(sys.argv[1])['ffibuilder']; made.emit_c_code(sys.argv[2]);"
        "print(made._assigned_source[3]['sources'])"
    )
    done = live.run_python(emit, ROOT / "csrc" / "ffi_build.py", source, env={**os.environ, "MDC_TARGET": "win32"})
    assert done.returncode == 0, done.stderr
    assert "_posix" not in done.stdout
    assert "csrc/linux/" not in done.stdout
    done = compiled(source, cpu, "-I", str(headers))
    assert done.returncode == 0, done.stderr
