"""What the stress programs share: their targets, and whether these run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


@contextlib.contextmanager
def shapes() -> Iterator[Path]:
    """The compiled shapes.c."""
    with tempfile.TemporaryDirectory() as name:
        yield compile_c(HERE / "shapes.c", Path(name) / "shapes")


def compile_c(source: Path, program: Path, *flags: str) -> Path:
    """Compile one file."""
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-O1", "-pthread", str(source), "-o", str(program), *flags], check=True)
    return program


def stopped(pid: int) -> list[str]:
    """Threads that do not run, or that something traces."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text(errors="replace").splitlines())
            if fields["State"][0] in "tT" or fields["TracerPid"] != "0":
                found.append(f"{status.parent.name} {fields['State']}, tracer {fields['TracerPid']}")
    return found


class Target:
    """A process with threads that count (shapes.c beats)."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, env={}, start_new_session=True)
        assert self.process.stdout is not None
        self.beats = Path(f"/proc/{self.process.pid}/fd/{int(self.process.stdout.readline())}")
        self.pid = self.process.pid

    def runs_on(self) -> bool:
        """Whether every thread runs and counts, within some seconds."""
        end = time.monotonic() + 10
        before = self.beats.read_bytes()[:64]
        while time.monotonic() < end:
            now = self.beats.read_bytes()[:64]
            moved = all(before[at : at + 8] != now[at : at + 8] for at in range(0, 64, 8))
            if moved and not stopped(self.pid):
                return True
            time.sleep(0.005)
        return False

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
