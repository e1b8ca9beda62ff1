"""Microsoft's debugger engine as a reader of dumps: its DLLs of one version, and targets/debugger/dump_reader.c.

The DLLs are those that ``.ci/windows fetch`` has fetched; without them the tests skip, and in CI they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import live
import pytest
import wine

VERSIONS = ("6.3.9600", "10.0.15063")
SOURCE = live.HERE / "targets" / "debugger" / "dump_reader.c"
OVERRIDES = "dbgeng=n;dbghelp=n;dbgmodel=n;symsrv=n;srcsrv=n;msdia120=n;msdia140=n"
COMPLAINTS = re.compile(r"^(?:ERROR|WARNING)|can't have|corrupt|invalid|truncated|missing", re.IGNORECASE)
# What it says of dumps of every writer: stream 24 is newer than it, 0xFFF0 is one of Wine's dbghelp, and no file of a
# module is there to load.
USUAL = re.compile(
    r"unknown stream type 0x(18|fff0)$|symbols could not be loaded|verify timestamp|load image|Invalid name"
)
Wanted = Iterable[tuple[int, int]]  # address, bytes


@dataclass
class Seen:
    """What one engine says of one dump."""

    opened: bool = False
    ended: bool = False
    words: list[str] = field(default_factory=list)
    threads: dict[int, tuple[int, int] | None] = field(default_factory=dict)  # pc, sp; None: not asked, of many
    modules: dict[int, int] = field(default_factory=dict)  # base, size
    memory: dict[int, bytes] = field(default_factory=dict)

    @property
    def complaints(self) -> list[str]:
        """Lines that are no chatter."""
        return [line for line in self.words if COMPLAINTS.search(line) and not USUAL.search(line)]


class Debugger:
    """The program with the DLLs of one version beside it."""

    def __init__(self, version: str, folder: Path) -> None:
        self.folder = folder
        self.version = version
        found = Path(wine.program()).parent / "microsoft" / version
        if not found.is_dir():
            reason = f"the debugger engine {version} was not fetched (.ci/windows fetch)"
            if wine.wine_required():
                pytest.fail(reason)
            pytest.skip(reason)
        for library in found.glob("*.dll"):
            shutil.copy(library, folder)
        (folder / "symbols").mkdir()
        self.program = folder / "dump_reader.exe"
        flags = ("-O1", "-static", "-Wall", "-Wextra", "-Wno-cast-function-type", "-Werror")
        wine.compile_c(SOURCE, self.program, *flags, "-lole32", "-luuid")

    def read(self, path: Path, *wanted: tuple[int, int]) -> Seen:
        """Open the dump, and read these ranges in it."""
        return self.read_all([(path, wanted)])[0]

    def read_all(self, dumps: Iterable[tuple[Path, Wanted]], patience: float = wine.PATIENCE) -> list[Seen]:
        """Open dump after dump in one process; of each read these ranges."""
        given = self.folder / "list"
        lines = [
            "\t".join([wine.windows_path(path), *(f"{at:x}:{size}" for at, size in ranges)]) for path, ranges in dumps
        ]
        given.write_text("\n".join(lines) + "\n", "ascii")
        done = wine.run(
            [
                wine.program(),
                wine.windows_path(self.program),
                wine.windows_path(given),
                wine.windows_path(self.folder / "symbols"),
            ],
            env={**os.environ, "MDC_WINE_OVERRIDES": OVERRIDES},
            stderr=subprocess.DEVNULL,
            timeout=patience,
        )
        found: list[Seen] = []
        for line, *rest in (words for words in map(str.split, done.stdout.splitlines()) if words):
            if line == "file":
                found.append(Seen())
            elif found:
                _take(found[-1], line, rest)
        return found + [Seen() for _ in lines[len(found) :]]


def _take(seen: Seen, line: str, rest: list[str]) -> None:
    """One line that the program wrote."""
    if line == "says":
        seen.words.append(" ".join(rest))
    elif line == "opened":
        seen.opened = rest == ["0"]
    elif line == "read":
        seen.ended = True
    elif line == "thread":
        seen.threads[int(rest[0])] = (int(rest[1], 16), int(rest[2], 16)) if len(rest) > 1 else None
    elif line == "module":
        seen.modules[int(rest[0], 16)] = int(rest[1], 16)
    elif line == "bytes":
        seen.memory[int(rest[0], 16)] = bytes.fromhex(rest[1]) if len(rest) > 1 else b""
