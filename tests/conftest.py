"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import live
import pytest


@pytest.fixture(scope="session")
def pattern_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C target, compiled."""
    folder = tmp_path_factory.mktemp("targets")
    source = live.HERE / "targets" / "pattern.c"
    return live.compile_c(source, folder / "pattern", "-O0", "-g", "-fno-omit-frame-pointer", "-pthread")


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
