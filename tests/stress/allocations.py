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


def trials(args: argparse.Namespace, program: Path, folder: Path) -> int:
    """All of them, in a process that has the library preloaded."""
    import minidump_cffi as md

    library = ctypes.CDLL(None)
    library.failmalloc_arm.argtypes = [ctypes.c_long, ctypes.c_int]
    library.failmalloc_disarm.restype = ctypes.c_long
    target = common.Target(program, "beats", "8", "4")
    path = folder / "x.dmp"
    full = md.DumpType.WITH_FULL_MEMORY
    seen: Counter[str] = Counter()
    faults: list[str] = []
    try:
        md.write_dump(target.pid, path, full)
        library.failmalloc_arm(1 << 40, 0)
        md.write_dump(target.pid, path, full)
        count = library.failmalloc_disarm()
        fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for all_others in (0, 1):
            for nth in range(0, count + 3, args.step):
                path.unlink(missing_ok=True)
                library.failmalloc_arm(nth, all_others)
                outcome = "dumped"
                try:
                    md.write_dump(target.pid, path, full, deadline=60)
                except (MemoryError, md.DumpError) as error:
                    outcome = type(error).__name__
                except BaseException as error:
                    outcome = "FAULT"
                    faults.append(f"allocation {nth}: {error!r}")
                library.failmalloc_disarm()
                seen[outcome] += 1
                if path.exists() != (outcome == "dumped"):
                    faults.append(
                        f"allocation {nth}: {outcome}, and the file is {'' if path.exists() else 'not '}there"
                    )
                if not target.runs_on():
                    faults.append(f"allocation {nth}: the target does not run on")
        if len(os.listdir("/proc/self/fd")) != fds:  # noqa: PTH208
            faults.append("descriptors are left open")
        if not count or seen.total() == seen["dumped"]:
            faults.append("no allocation failed")
    finally:
        target.close()
    print(f"{count} allocations, one failing at a time, then all from there on: {dict(seen)}")
    for text in faults:
        print("FAULT:", text)
    return 1 if faults else 0


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
