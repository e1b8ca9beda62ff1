"""Plug-ins as DLLs: loaded and asked by both engines in a Windows CPython under Wine, or refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import live
import pytest
import wine

import minidump_cffi as md

pytestmark = pytest.mark.linux

PLUGINS = live.HERE / "targets" / "plugins"
#: Dumps a process with each plug-in and engine, and prints what came of it.
DRIVER = """
import json, subprocess, sys
from pathlib import Path
import minidump_cffi as md

folder = Path(sys.argv[1])
program = "import sys; print('ready', flush=True); sys.stdin.read()"
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
found = {}
with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
    process.stdout.readline()
    whole = md.write_dump(process, "NUL", md.DumpType.WITH_FULL_MEMORY, engine="native")
    found["whole"] = whole.memory_bytes
    for path in sorted(folder.glob("*.dll")):
        for engine in ("native", "dbghelp"):
            try:
                kind = md.DumpType.WITH_FULL_MEMORY if engine == "native" else md.DumpType.NORMAL
                report = md.write_dump(process, "NUL", kind, callback=md.Plugin(path), engine=engine)
                found[f"{path.stem} {engine}"] = [report.memory_bytes, len(report.modules), len(report.rules)]
            except md.PluginError as error:
                found[f"{path.stem} {engine}"] = str(error)
    assert process.poll() is None, "the process did not run on"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver printed."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "driver.py").write_text(DRIVER)
    wine.python()
    for name in ("agrees", "narrows", "no_routine", "routine_is_data"):
        wine.compile_c(PLUGINS / f"{name}.c", folder / f"{name}.dll", "-O1", "-shared", "-I", md.protocol.get_include())
    (folder / "text.dll").write_text("not a DLL")
    done = wine.run_python(folder / "driver.py", wine.windows_path(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_plugin_that_keeps_everything(found: dict[str, Any]) -> None:
    memory, modules, rules = found["agrees native"]
    assert memory > 0 and modules > 5 and rules == 0
    assert found["agrees dbghelp"][1:] == [modules, 0]


def test_a_plugin_that_narrows(found: dict[str, Any]) -> None:
    """Told to leave out what begins in the first MiB, and to keep a page of what begins in the second."""
    assert found["agrees native"][0] == found["whole"]
    assert 0 < found["narrows native"][0] < found["whole"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_routine", "has no function MiniDumpCallbackRoutine"),
        ("routine_is_data", "is not a function"),
        ("text", "does not start as a PE file"),
    ],
)
def test_dlls_that_are_no_plugins(found: dict[str, Any], name: str, text: str) -> None:
    for engine in ("native", "dbghelp"):
        assert text in found[f"{name} {engine}"]
