"""What `import minidump_cffi` gives, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import live
import pytest

import minidump_cffi as md

PACKAGES = (md, md.filters, md.protocol, md.reading, md.replay, md.report)
NAMES = [(package, name) for package in PACKAGES for name in package.__all__]
DEAR = ("typing", "dataclasses", "inspect", "enum", "re", "minidump_cffi._native", "minidump_cffi.report")


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package.__name__}.{name}" for package, name in NAMES])
def test_a_public_name_is_there(package: Any, name: str) -> None:
    assert getattr(package, name) is getattr(package, name)
    assert name in dir(package)


def test_the_top_level_is_small() -> None:
    """What is used without a second thought; the rest is in the packages."""
    assert len(set(md.__all__) - {"aio", "crash", "filters", "protocol", "reading", "replay", "report"}) <= 56


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.__name__))
def test_type_checkers_see_what_is_imported_later(package: Any) -> None:
    source = ast.parse(Path(package.__file__).read_text("utf-8"))
    typed = {
        (part.module or name.name, name.name)
        for block in source.body
        if isinstance(block, ast.If)
        for part in block.body
        if isinstance(part, ast.ImportFrom)
        for name in part.names
    }
    homes = {(home.lstrip("."), name) for name, home in package._HOMES.items()}
    assert typed == homes
    assert sorted(name for _, name in typed) == sorted(package.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'minidump_cffi' has no attribute 'write_dumps'"):
        md.write_dumps  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_imports_little() -> None:
    script = (
        "import sys; before = set(sys.modules); import minidump_cffi; new = set(sys.modules) - before;"
        f"print(*(name for name in {DEAR} if name in new))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_command_line_says_its_version() -> None:
    done = live.run_cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"minidump-cffi {md.__version__}\n", "")


def test_a_dump_imports_only_what_it_needs(tmp_path: Path) -> None:
    """These modules took half of the time of a small dump from the command line."""
    script = (
        "import sys\nfrom minidump_cffi import cli\nassert cli.main(['dump', *sys.argv[1:]]) == 0\nprint(*sys.modules)"
    )
    program, pipe = "print(flush=True); input()", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as target:
        assert target.stdout is not None and target.stdout.readline()
        command = [sys.executable, "-c", script, str(target.pid), "-o", str(tmp_path / "small.dmp")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        target.communicate(b"\n")
    imported = done.stdout.split()
    assert "minidump_cffi.cli.dump" in imported
    assert [
        name for name in ("typing", "dataclasses", "inspect", "tomllib", "json", "pickle") if name in imported
    ] == []
    dear = ("cli.show", "cli.demo", "cli.dumpfile", "plugins", "replay", "protocol._views", "filters._toml")
    assert [name for name in dear if f"minidump_cffi.{name}" in imported] == []
