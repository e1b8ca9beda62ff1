"""A soak: many threads dump processes that come and go, for minutes, and nothing may be left over.

    python tests/stress/soak.py --minutes 20

Eight threads take dumps of thirty targets of several kinds with random types, filters, outputs, cancels and deadlines,
while targets are killed and replaced. Once a minute all threads pause, and what must be flat is counted: resident
memory, descriptors, threads and children of this process, threads of targets that are stopped (t, T) or have a tracer,
files that were left. Prints a table; the exit status is 1 if something grew, was left or was no `DumpError`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import faulthandler
import gc
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minidump_cffi as md

HERE = Path(__file__).resolve().parent
PATIENCE = 180.0
"""Seconds after which a thread that does not come to the pause hangs."""
PYTHON = """
import threading, time
keep = [bytearray(1 << 20) for _ in range(16)]
for number in range(12):
    threading.Thread(target=lambda: [time.sleep(0.01) or sum(range(200)) for _ in iter(int, 1)], daemon=True).start()
time.sleep(10000)
"""
TYPES = (
    md.DumpType.NORMAL,
    md.DumpType.NORMAL,
    md.DumpType.WITH_FULL_MEMORY,
    md.DumpType.WITH_FULL_MEMORY | md.DumpType.WITH_THREAD_INFO,
    md.DumpType.WITH_FULL_MEMORY_INFO | md.DumpType.IGNORE_INACCESSIBLE_MEMORY,
    md.DumpType.WITH_AVX_XSTATE_CONTEXT,
)


class Targets:
    """Processes of several kinds, always as many."""

    def __init__(self, count: int, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.lock = threading.Lock()
        self.started = self.killed = self.ended = 0
        self.program = folder / "shapes"
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-O1", "-pthread", str(HERE / "shapes.c"), "-o", str(self.program)], check=True)
        redis = shutil.which("redis-server")
        shape = str(self.program)
        self.kinds: list[list[str]] = [
            ["sleep", "10000"],
            [sys.executable, "-c", PYTHON],
            [shape, "mappings", "3000"],
            [shape, "shared"],
            [shape, "threads", "60"],
            [shape, "churn"],
            [shape, "forks"],
            [shape, "crash"],
            *([[redis, "--port", "0", "--save", "", "--daemonize", "no"]] if redis else []),
        ]
        self.all = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        self.started += 1
        return subprocess.Popen(
            self.kinds[self.started % len(self.kinds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            start_new_session=True,
        )

    def pick(self, rng: random.Random) -> int:
        """The pid of one of them, which may be dead by now."""
        with self.lock:
            return rng.choice(self.all).pid

    def turn_over(self) -> None:
        """Replace what ended, and kill one now and then."""
        with self.lock:
            for number, process in enumerate(self.all):
                if process.poll() is not None:
                    self.ended += 1
                elif self.rng.random() < 0.02:
                    self.killed += 1
                    self._kill(process)
                else:
                    continue
                self._kill(process)
                self.all[number] = self._start()

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):  # its forks, too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End them all."""
        for process in self.all:
            self._kill(process)

    def stopped(self) -> list[str]:
        """Threads of targets that do not run, or that something traces."""
        found = []
        for process in self.all:
            for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
                with contextlib.suppress(OSError):
                    fields = dict(line.split(":\t", 1) for line in status.read_text(errors="replace").splitlines())
                    if fields["State"][0] in "tT" or fields["TracerPid"] != "0":
                        found.append(f"{fields['Name']} {status.parent.name}: {fields['State']}")
        return found


class Counted:
    """An output that keeps nothing; now and then it fails."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def write(self, data: Any) -> int:
        """Take them."""
        if self.limit is not None:
            self.limit -= len(data)
            if self.limit < 0:
                raise OSError(28, "No space left on device")
        return len(data)


def rules(rng: random.Random) -> md.Filter | None:
    """A random filter."""
    if rng.random() < 0.3:
        return None
    some: list[md.filters.Rule] = []
    for _ in range(rng.randrange(1, 8)):
        make = rng.choice([md.exclude, md.include, lambda **more: md.head(rng.randrange(1, 1 << 18), **more)])
        condition: dict[str, Any] = rng.choice(
            [
                {"kind": rng.choice(["heap", "stack", "anonymous", "file", "image", "shared"])},
                {"name": rng.choice(["*libc*", "*memfd*", "[[]heap]", "*.so*"])},
                {"min_size": rng.randrange(1, 1 << 22)},
                {"range": (first := rng.randrange(1 << 47), first + rng.randrange(1, 1 << 40))},
                {"protect": rng.choice(["r", "rw", "x"])},
                {"module": "*lib*"},
            ]
        )
        some.append(make(**condition))
    more: dict[str, Any] = {}
    if rng.random() < 0.3:
        more["patterns"] = [rng.randbytes(rng.randrange(4, 40))]
    if rng.random() < 0.2:
        more["stacks"] = True
    return md.Filter(*some, default=rng.choice(["include", "exclude"]), redact=more)


class Soak:
    """The threads, what they saw, and the pause in which is counted."""

    def __init__(self, args: argparse.Namespace, targets: Targets, folder: Path) -> None:
        self.args, self.targets, self.folder = args, targets, folder
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.violations: list[str] = []
        self.lock = threading.Lock()
        self.running = threading.Event()
        self.running.set()
        self.idle = threading.Semaphore(0)
        self.ended = False

    def fault(self, text: str) -> None:
        """Remember and print what must not be."""
        with self.lock:
            self.violations.append(text)
        print("VIOLATION:", text, flush=True)

    def work(self, number: int) -> None:
        """One thread."""
        rng = random.Random(self.args.seed * 1000 + number)
        path = self.folder / f"out-{number}.dmp"
        while not self.ended:
            if not self.running.is_set():
                self.idle.release()
                self.running.wait()
                continue
            try:
                outcome = self.one(rng, path)
            except BaseException:
                self.fault(traceback.format_exc())
                outcome = "VIOLATION"
            with self.lock:
                self.outcomes[outcome] += 1
        self.idle.release()

    def one(self, rng: random.Random, path: Path) -> str:
        """One dump; what came of it."""
        more: dict[str, Any] = {}
        now = time.monotonic()
        chance = rng.random()
        if chance < 0.1:
            more["deadline"] = rng.random() ** 3
        elif chance < 0.2:
            until = now + rng.random() * 0.1
            more["on_cancel"] = lambda: time.monotonic() > until
        elif chance < 0.3:
            more["max_stop"] = rng.random() * 0.05 + 1e-4
        elif chance < 0.35:
            more["progress"] = lambda _: None
        outputs: list[Callable[[], Any]] = [
            lambda: path,
            lambda: path,
            lambda: "/dev/null",
            lambda: Counted(None),
            lambda: Counted(rng.randrange(1 << 20)),
        ]
        output = rng.choice(outputs)()
        if isinstance(output, Counted) and rng.random() < 0.5:
            more["spool"] = False
        pid = self.targets.pick(rng)
        if rng.random() < 0.03:
            more["progress"] = lambda _: os.kill(pid, signal.SIGKILL)
        try:
            md.write_dump(pid, output, rng.choice(TYPES), filter=rules(rng), **more)
        except (md.DumpError, ProcessLookupError) as error:
            if path.exists():
                self.fault(f"{path} is there after {error!r}")
                path.unlink()
            return f"{type(error).__name__}: {re.sub('0x[0-9a-f]+|[0-9]+', 'N', str(error))[:100]}"
        except OSError as error:
            if not isinstance(output, Counted) or error.errno != 28:
                raise
            return "output full"
        if output == path:
            with path.open("rb") as file:
                if file.read(4) != b"MDMP":
                    self.fault("a dump does not begin with MDMP")
            path.unlink()
        return "dumps"

    def pause(self) -> bool:
        """Wait until no thread is in a dump; false if one hangs."""
        self.running.clear()
        for _ in range(self.args.threads):
            if not self.idle.acquire(timeout=PATIENCE):
                self.fault(f"a thread did not end its dump within {PATIENCE:.0f} s")
                faulthandler.dump_traceback(all_threads=True)
                return False
        return True


def children() -> set[int]:
    """Pids of our children."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def figures(soak: Soak) -> dict[str, int]:
    """What must be flat, in a pause."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    own = {process.pid for process in soak.targets.all}
    end = time.monotonic() + 10
    while (left := children() - own) and time.monotonic() < end:
        time.sleep(0.05)
    while (stopped := soak.targets.stopped()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(OSError):
            about = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
            soak.fault(f"child {pid} is left over: {about[0]}, {about[2]}")
    for text in stopped:
        soak.fault(f"a thread of a target is stopped: {text}")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    names = os.listdir(soak.folder)  # noqa: PTH208
    return {
        "rss KiB": resident >> 10,
        "fds": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208
        "children": len(left),
        "stopped": len(stopped),
        "files": len([name for name in names if name.endswith((".dmp", ".tmp"))]),
    }


def judge(soak: Soak, rows: list[dict[str, int]]) -> None:
    """Compare with the first pause after the warm-up."""
    if files := max(row["files"] for row in rows):
        soak.fault(f"{files} files are left over")
    first, last = rows[0], rows[-1]
    for name in ("fds", "threads"):
        if last[name] > first[name]:
            soak.fault(f"{name} grew from {first[name]} to {last[name]}")
    # What a pause finds varies by some MiB with what ran before it, so the halves are compared.
    resident = [row["rss KiB"] for row in rows]
    half = (len(rows) + 1) // 2
    before, after = statistics.median(resident[:half]), statistics.median(resident[-half:])
    if after > before * 1.1 + (16 << 10):
        soak.fault(f"resident memory grew from {before:.0f} to {after:.0f} KiB (medians of the halves)")


def run(args: argparse.Namespace, folder: Path) -> int:
    """The soak in this folder."""
    rng = random.Random(args.seed)
    targets = Targets(args.targets, folder, rng)
    soak = Soak(args, targets, folder)
    workers = [threading.Thread(target=soak.work, args=(number,), daemon=True) for number in range(args.threads)]
    rows: list[dict[str, int]] = []
    began = time.monotonic()
    end = began + args.minutes * 60
    every = min(60.0, args.minutes * 60 / 6)
    hangs = False
    print(f"seed {args.seed}, {args.threads} threads, {args.targets} targets, {args.minutes:g} minutes", flush=True)
    head = (
        "minute",
        "dumps",
        "errors",
        "started",
        "killed",
        "ended",
        "rss KiB",
        "fds",
        "threads",
        "children",
        "stopped",
        "files",
    )
    print("  ".join(f"{name:>8}" for name in head), flush=True)
    try:
        for worker in workers:
            worker.start()
        while time.monotonic() < end - 1 and not hangs:
            until = min(end, time.monotonic() + every)
            while time.monotonic() < until:
                time.sleep(0.25)
                targets.turn_over()
            hangs = not soak.pause()
            row = figures(soak)
            rows.append(row)
            total = soak.outcomes.total()
            values = [
                f"{(time.monotonic() - began) / 60:.1f}",
                soak.outcomes["dumps"],
                total - soak.outcomes["dumps"],
                targets.started,
                targets.killed,
                targets.ended,
                *row.values(),
            ]
            print("  ".join(f"{value:>8}" for value in values), flush=True)
            soak.ended = time.monotonic() >= end - 1 or hangs
            soak.running.set()
        if not hangs:
            for worker in workers:
                worker.join(PATIENCE)
    finally:
        targets.close()
    judge(soak, rows[1:] or rows)
    for name, count in soak.outcomes.most_common():
        print(f"{count:>8}  {name}")
    print("violations:", len(soak.violations))
    return 1 if soak.violations else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--targets", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore", UserWarning)  # random rules hide each other
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    status = 1
    try:
        status = run(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    status = main()
    os._exit(status)  # a thread that hangs must not keep the verdict back
