"""What the tests of docs/members.md share: memory of a dump as a reader that is not ours sees it."""

from __future__ import annotations

from pathlib import Path

import readers

QUICK = ("minidump", "udmp-parser")
"""Readers that take no time; the slow ones accept the same files in other tests."""


def contents(path: Path, *wanted: tuple[int, int]) -> tuple[bytes | None, ...]:
    """Memory as a reader that is not ours sees it."""
    return readers.read_minidump(path, wanted).contents


def covered(path: Path) -> list[tuple[int, int]]:
    """What a full dump holds, [first, end), joined: where stacks part ranges depends on the moment."""
    runs: list[tuple[int, int]] = []
    for base, size in sorted(readers.read_minidump(path).memory64 or ()):
        if runs and runs[-1][1] == base:
            runs[-1] = runs[-1][0], base + size
        else:
            runs.append((base, base + size))
    return runs
