"""kill -9 at random moments of a dump: of the dumper, of its tracer, of the target.

    python tests/stress/kills.py --count 1000

After each: the target runs on (no thread stopped or traced, counters move), no process is left, no temporary file, and
what has the name of the dump is complete. A dumper whose tracer or target was killed ends within 20 s, with a dump or a
`DumpError`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import common

import minidump_cffi as md

PATIENCE = 20.0
GOOD, FAILED, ODD = 0, 50, 51


def dumper(pid: int, path: Path) -> int:
    """A process that takes one dump."""
    child = os.fork()
    if child != 0:
        return child
    status = ODD
    try:
        md.write_dump(pid, path, md.DumpType.WITH_FULL_MEMORY)
        status = GOOD
    except md.DumpError:
        status = FAILED
    except BaseException as error:
        print(f"no DumpError: {error!r}", file=sys.stderr)
    finally:
        os._exit(status)


def tracer_of(dumper: int) -> int | None:
    """The process that holds the target for this dumper."""
    for task in Path(f"/proc/{dumper}/task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(task.read_text().split()[0])
    return None


def wait_end(child: int) -> int | None:
    """Exit status of a child, None if it hangs."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def complete(path: Path) -> bool:
    """Whether the memory that the list names is in the file."""
    data = path.read_bytes()
    count, at = struct.unpack_from("<II", data, 8)
    for number in range(count):
        kind, _, place = struct.unpack_from("<III", data, at + 12 * number)
        if kind == 9:
            ranges, offset = struct.unpack_from("<QQ", data, place)
            sizes = struct.unpack_from(f"<{2 * ranges}Q", data, place + 16)[1::2]
            return offset + sum(sizes) <= len(data)
    return False


def one(kind: str, target: common.Target, path: Path, span: float, rng: random.Random) -> str:
    """One kill; what is wrong after it, or what came of it."""
    child = dumper(target.pid, path)
    time.sleep(rng.random() * span)
    if kind == "dumper":
        os.kill(child, signal.SIGKILL)
    elif kind == "target":
        os.kill(target.pid, signal.SIGKILL)
    else:
        victim, end = None, time.monotonic() + span
        while victim is None and time.monotonic() < end:
            victim = tracer_of(child)
        time.sleep(rng.random() ** 2 * span / 2)
        if victim is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
    status = wait_end(child)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "FAULT: the dumper hangs"
    if status not in (GOOD, FAILED, -signal.SIGKILL) or (status < 0 and kind != "dumper"):
        return f"FAULT: the dumper ended with {status}"
    if kind != "target" and not target.runs_on():
        return f"FAULT: the target does not run on: {common.stopped(target.pid)}"
    if path.exists() and not complete(path):
        return "FAULT: a part of a dump has its name"
    if left := [name for name in os.listdir(path.parent) if name != path.name]:  # noqa: PTH208
        return f"FAULT: left: {left}"
    if status == GOOD and not path.exists():
        return "FAULT: success without a file"
    return {GOOD: "dumped", FAILED: "refused"}.get(status, "killed")


def main() -> int:
    """Read the command line and kill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=30, help="of each kind (default: %(default)s)")
    parser.add_argument("--kind", choices=["dumper", "tracer", "target"], action="append")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    good = True
    with tempfile.TemporaryDirectory() as name, common.shapes() as program:
        path = Path(name) / "x.dmp"
        for kind in args.kind or ["dumper", "tracer", "target"]:
            seen: Counter[str] = Counter()
            target = common.Target(program, "beats", "8", "64")
            began = time.monotonic()
            md.write_dump(target.pid, path, md.DumpType.WITH_FULL_MEMORY)
            span = (time.monotonic() - began) * 1.2
            for _ in range(args.count):
                path.unlink(missing_ok=True)
                seen[one(kind, target, path, span, rng)] += 1
                if kind == "target":
                    target.close()
                    target = common.Target(program, "beats", "8", "64")
            target.close()
            good = good and not any(text.startswith("FAULT") for text in seen)
            print(f"{args.count} kills of the {kind}: {dict(seen)}", flush=True)
    if left := subprocess.run(
        ["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False
    ).stdout.split():
        print(f"FAULT: processes are left: {left}")
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
