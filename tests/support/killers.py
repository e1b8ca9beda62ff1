"""Paths that do something to the process that opens them; it has to be another one than that which made them."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Killer(os.PathLike[str]):
    """Ends a process that opens it, and leaves a line in a file for each that it ended."""

    def __init__(self, trace: Path) -> None:
        self.trace, self.maker = trace, os.getpid()

    def __fspath__(self) -> str:
        if os.getpid() != self.maker:
            with self.trace.open("a") as file:
                file.write(f"{os.getpid()}\n")
            os._exit(9)
        return "killer.dmp"


class Slow(os.PathLike[str]):
    """A path that takes its time in another process, and leaves its pid in a file."""

    def __init__(self, path: Path, trace: Path, seconds: float) -> None:
        self.path, self.trace, self.seconds, self.maker = path, trace, seconds, os.getpid()

    def __fspath__(self) -> str:
        if os.getpid() != self.maker:
            with self.trace.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(self.seconds)
        return str(self.path)
