"""Every allocation of a dump fails, one after the other: once, and from there on.

    python tests/stress/allocations.py

In the threads of the dump and in the process that holds the target; what Python itself allocates does not fail. Each
time the dump is complete or an error says that there is no memory; no part of a file stays, and the target runs on.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import common

import minidump_cffi as md

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


SAMPLES = ("google-tiny-exe-with-cet-xsave.dmp", "own-a-crashpad.dmp", "own-a-breakpad.dmp")


class Trials:
    """The dumps of one source with failing allocations."""

    def __init__(self, source: Any, path: Path, step: int) -> None:
        self.source, self.path, self.step = source, path, step
        self.filter = md.Filter(
            md.exclude(range=(0x1000, 0x2000)),
            redact=md.filters.Redact(
                patterns=["a pattern", md.Pattern("with a tail", then="[0-9]", up_to=9, utf16=True)],
                environ={"drop": ["*KEY*", "PATH"], "everywhere": True},
            ),
        )
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.failmalloc = ctypes.CDLL(None)
        self.failmalloc.failmalloc_arm.argtypes = [ctypes.c_long, ctypes.c_int]
        self.failmalloc.failmalloc_disarm.restype = ctypes.c_long

    def dump(self) -> None:
        md.write_dump(self.source, self.path, md.DumpType.WITH_FULL_MEMORY, filter=self.filter, deadline=60)

    def one(self, nth: int, all_others: int) -> None:
        """A dump in which this allocation fails, and perhaps all after it."""
        self.path.unlink(missing_ok=True)
        self.failmalloc.failmalloc_arm(nth, all_others)
        outcome = "dumped"
        try:
            self.dump()
        except (MemoryError, md.DumpError) as error:
            outcome = type(error).__name__
        except BaseException as error:
            outcome = "FAULT"
            self.faults.append(f"allocation {nth}: {error!r}")
        self.failmalloc.failmalloc_disarm()
        self.seen[outcome] += 1
        if self.path.exists() != (outcome == "dumped"):
            self.faults.append(
                f"allocation {nth}: {outcome}, and the file is {'' if self.path.exists() else 'not '}there"
            )

    def all(self, check: Callable[[], bool]) -> int:
        """All of them; returns how many allocations there are. check: false if the target does not run on."""
        self.dump()
        self.failmalloc.failmalloc_arm(1 << 40, 0)
        self.dump()
        count: int = self.failmalloc.failmalloc_disarm()
        fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for all_others in (0, 1):
            for nth in range(0, count + 3, self.step):
                self.one(nth, all_others)
                if not check():
                    self.faults.append(f"allocation {nth}: the target does not run on")
        if len(os.listdir("/proc/self/fd")) != fds:  # noqa: PTH208
            self.faults.append("descriptors are left open")
        if not count or self.seen.total() == self.seen["dumped"]:
            self.faults.append("no allocation failed")
        return count


def trials(args: argparse.Namespace, program: Path, folder: Path) -> int:
    """All of them, in a process that has the library preloaded."""
    target = common.Target(program, "beats", "8", "4")
    data = common.HERE.parent / "data"
    status = 0
    try:
        core = folder / "core"
        subprocess.run(["gcore", "-o", core, str(target.pid)], check=True, capture_output=True)
        sources: dict[str, Any] = {"a process": target.pid, "a core": md.CoreFile(f"{core}.{target.pid}")}
        sources |= {name: md.DumpFile(data / name) for name in SAMPLES}
        for name, source in sources.items():
            trial = Trials(source, folder / "x.dmp", args.step)
            count = trial.all(target.runs_on if name == "a process" else lambda: True)
            print(f"{name}: {count} allocations, one failing at a time, then all from there on: {dict(trial.seen)}")
            for text in trial.faults:
                print("FAULT:", name, text)
            status |= bool(trial.faults)
    finally:
        target.close()
    return status


def main() -> int:
    """Read the command line; run the trials under the library."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--step", type=int, default=1, help="only every n-th allocation (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        return trials(args, args.folder / "shapes", args.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common.compile_c(common.HERE / "shapes.c", folder / "shapes")
        library = common.compile_c(common.HERE / "failmalloc.c", folder / "failmalloc.so", "-shared", "-fPIC")
        command = [sys.executable, __file__, "--folder", name, "--step", str(args.step)]
        return subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(library)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
