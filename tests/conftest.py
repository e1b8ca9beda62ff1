"""Fixtures for all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import live
import pytest

# No test here depends on how fast the machine is.
hypothesis.settings.register_profile(
    "minidump_cffi", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("minidump_cffi")


def pytest_configure() -> None:
    """Let the programs that tests start find the package that is tested here, wherever they run, and no other."""
    found = importlib.util.find_spec("minidump_cffi")
    if found is not None and found.origin is not None:
        os.environ["PYTHONPATH"] = str(Path(found.origin).resolve().parent.parent)
        os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(scope="session")
def pattern_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C target, compiled."""
    folder = tmp_path_factory.mktemp("targets")
    source = live.HERE / "targets" / "pattern.c"
    return live.compile_c(source, folder / "pattern", "-O0", "-g", "-fno-omit-frame-pointer", "-pthread")


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles a plug-in of targets/plugins, once, against the installed headers."""
    import minidump_cffi as md

    folder = tmp_path_factory.mktemp("plugins")
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", md.get_include())

    def compiled(name: str) -> Path:
        library = folder / f"{name}.so"
        if not library.exists():
            live.compile_c(live.HERE / "targets" / "plugins" / f"{name}.c", library, *flags)
        return library

    return compiled


@pytest.fixture
def start_pattern(pattern_program: Path, tmp_path: Path) -> Iterator[Callable[..., live.Target]]:
    """Starts C targets, and ends them with the test."""
    with ExitStack() as stack:

        def start(*words: object, **options: Any) -> live.Target:
            folder = tmp_path / "target"
            folder.mkdir(exist_ok=True)
            command = [str(pattern_program), "--folder", str(folder), *map(str, words)]
            return stack.enter_context(live.Target(command, **options))

        yield start


@pytest.fixture
def take(tmp_path: Path) -> live.Taker:
    """Takes a dump that all readers have to accept."""
    return live.Taker(tmp_path)
