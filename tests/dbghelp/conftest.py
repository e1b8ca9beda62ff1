"""Fixtures of the tests that dump one Windows process with both engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import windows_child


@pytest.fixture(scope="session")
def child() -> Iterator[windows_child.Child]:
    """One process for all tests that change nothing in it."""
    made = windows_child.Child()
    yield made
    made.end()
    windows_child.tell_counts()


@pytest.fixture(params=["native", "dbghelp"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine, but for what the table of the module says that it does not do."""
    return windows_child.one_engine(request, request.module.LACKS)
