"""Fixtures of the tests of `md.crash`."""

from __future__ import annotations

from pathlib import Path

import live
import pytest


@pytest.fixture(scope="session")
def crashers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of ways to crash, compiled."""
    library = tmp_path_factory.mktemp("crashers") / "crashers.so"
    source = live.HERE / "targets" / "crashers.c"
    return live.compile_c(source, library, "-shared", "-fPIC", "-O1", "-g", "-w", "-pthread")
