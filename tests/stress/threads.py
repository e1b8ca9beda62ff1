"""Dumps from many threads at once, of the same and of different targets, cancelled, late, failing, forked meanwhile.

    python tests/stress/threads.py [--threads 8] [--dumps 500] [--seed 1] [--targets N]

Garbage is collected all the time, so that what C still uses and Python does not hold is freed as early as it can be.
Meant to be run under a sanitizer, or with a debug allocator; test_threads.py does both. Exit status 0, and one line of
JSON with the outcomes, if every dump succeeded or failed as it may, and nothing is left: no stopped target, no
descriptor, no child, no thread.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import gc
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
NORMAL = md.DumpType.NORMAL
RULES = md.Filter(
    md.exclude(kind="file"), md.exclude(name="*libc*"), redact=md.Redact(patterns=[b"needle-in-a-haystack"])
)
SMALL = md.Filter(md.exclude(kind="file"), md.exclude(min_size="1 MiB"))


class HookError(Exception):
    """What our own hooks and outputs raise."""


class BadOutput:
    """Takes some writes, then raises."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left < 0:
            raise HookError
        return len(data)


def fail() -> bool:
    raise HookError


class Stress:
    """The threads, what they share, and what came of their dumps."""

    def __init__(self, pids: list[int], folder: Path, dumps: int, seed: int) -> None:
        self.pids, self.folder, self.dumps, self.seed = pids, folder, dumps, seed
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()
        self.shared = md.Callback(RULES, record=True)
        self.failing = md.Callback(SMALL, on_cancel=fail)

    def note(self, outcome: str) -> None:
        with self.lock:
            self.outcomes[outcome] += 1

    def blame(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)

    def run(self, number: int) -> None:
        """One thread."""
        dice = random.Random(self.seed * 1000 + number)
        own = self.pids[number % len(self.pids)]
        for _ in range(self.dumps):
            kind = dice.choice(KINDS)
            pid = own if dice.random() < 0.7 else dice.choice(self.pids)
            try:
                kind(self, pid, self.folder / f"{number}.dmp", dice)
                self.note(f"{kind.__name__}: ok")
            except (md.DumpError, HookError) as error:
                self.note(f"{kind.__name__}: {type(error).__name__}")
                if not may_fail(kind.__name__, error):
                    self.blame(f"{kind.__name__}: {error!r}")
            except BaseException as error:
                self.blame(f"{kind.__name__}: {error!r}")
                raise
            if dice.random() < 0.02:
                gc.collect()


def may_fail(kind: str, error: Exception) -> bool:
    """Whether a dump of this kind may end so: another thread dumps the same target, or it was asked for."""
    if isinstance(error, md.TargetBusy):
        return True
    allowed: dict[str, tuple[type[Exception], ...]] = {
        "late": (md.DeadlineExceeded,),
        "cancelled": (md.Cancelled,),
        "bad_output": (HookError,),
        "hook_raises": (HookError,),
        "shared_callback": (md.CallbackError,),
        "failing_callback": (md.CallbackError, HookError),
    }
    return isinstance(error, allowed.get(kind, ()))


def check(report: md.DumpReport, data: bytes | None = None, path: Path | None = None) -> None:
    size = len(data) if data is not None else path.stat().st_size if path is not None else report.file_bytes
    head = data[:4] if data is not None else path.read_bytes()[:4] if path is not None else b"MDMP"
    if head != b"MDMP" or size != report.file_bytes:
        raise AssertionError(f"{size} bytes that begin with {head!r}, and the report says {report.file_bytes}")


def to_path(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    check(md.write_dump(pid, path, dice.choice((NORMAL, FULL)), filter=SMALL), path=path)


def to_memory(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    file = io.BytesIO()
    check(md.write_dump(pid, file, filter=RULES, spool=dice.random() < 0.8), data=file.getvalue())


def plan(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    md.plan_dump(pid, FULL, filter=SMALL)


def late(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    md.write_dump(pid, path, FULL, deadline=1e-4 + dice.random() * 0.02)


def cancelled(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    until = time.monotonic() + dice.random() * 0.02
    md.write_dump(pid, path, FULL, on_cancel=lambda: time.monotonic() > until)


def bad_output(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    md.write_dump(pid, BadOutput(dice.randrange(6)), filter=SMALL, spool=dice.random() < 0.5)


def hook_raises(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    md.write_dump(pid, path, FULL, on_cancel=fail)


def shared_callback(stress: Stress, pid: int, path: Path, dice: random.Random) -> None:
    report = md.write_dump(pid, path, callback=stress.shared)
    check(report, path=path)
    if report.recording is None or not len(report.recording):
        raise AssertionError("another thread has cleared the recording of this dump")


def failing_callback(stress: Stress, pid: int, path: Path, dice: random.Random) -> None:
    md.write_dump(pid, path, callback=stress.failing)
    raise AssertionError("the exception of the hook is lost")


def short_callback(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    with md.Callback(RULES) as callback:
        md.write_dump(pid, path, callback=callback)
        callback.cancel()
        callback.reset()
        assert callback.counters.excluded == 0


def python_callback(_: Stress, pid: int, path: Path, dice: random.Random) -> None:
    def keep(question: Any, answer: Any) -> bool:
        return True

    md.write_dump(pid, path, callback=md.protocol.PythonCallback({md.protocol.CallbackType.INCLUDE_THREAD: keep}))


KINDS: tuple[Callable[[Stress, int, Path, random.Random], None], ...] = (
    to_path, to_path, to_path, to_memory, plan, plan, late, cancelled, bad_output, hook_raises, shared_callback,
    failing_callback, short_callback, python_callback,
)  # fmt: skip


def collect(stop: threading.Event) -> None:
    """Free early what Python does not hold."""
    while not stop.wait(0.005):
        gc.collect(1)


def fork(stop: threading.Event, stress: Stress) -> None:
    """A child of a process with running dumps closes what it has inherited, and ends."""
    while not stop.wait(0.5):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # the watchdog of faulthandler is a thread, which the child does not have
            with contextlib.suppress(md.DumpError):
                stress.shared.close()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status != 0:
            stress.blame(f"a forked child ended with status {status}")


def descriptors() -> set[str]:
    """What our descriptors are, but for the standard ones."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add(str(path.readlink()) if int(path.name) > 2 else "")
    return found


def left(before: set[str], pids: list[int]) -> list[str]:
    """What should not be there any more."""
    found = []
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        if "TracerPid:\t0\n" not in status or "State:\tt" in status:
            found.append(f"target {pid} is still traced or stopped")
    found += [f"descriptor of {name}" for name in descriptors() - before]
    children = Path("/proc/self/task").glob("*/children")
    others = {int(word) for file in children for word in file.read_text().split()} - set(pids)
    return found + [f"child {pid}" for pid in others]


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=8)
    options.add_argument("--dumps", type=int, default=500)
    options.add_argument("--targets", type=int, default=5)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--no-fork", action="store_true", help="for ThreadSanitizer, which does not follow a fork")
    given = options.parse_args()
    faulthandler.dump_traceback_later(500, exit=True)  # a deadlock shows where
    targets = [
        subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(given.targets)
    ]
    pids = [target.pid for target in targets]
    before = descriptors()
    stop = threading.Event()
    try:
        with tempfile.TemporaryDirectory() as folder:
            stress = Stress(pids, Path(folder), given.dumps, given.seed)
            helpers = [threading.Thread(target=collect, args=(stop,))]
            if not given.no_fork:
                helpers.append(threading.Thread(target=fork, args=(stop, stress)))
            workers = [threading.Thread(target=stress.run, args=(number,)) for number in range(given.threads)]
            for thread in helpers + workers:
                thread.start()
            for thread in workers:
                thread.join()
            stop.set()
            for thread in helpers:
                thread.join()
            stress.shared.close()
            stress.failing.close()
            stress.wrong += [f"file {path.name}" for path in Path(folder).iterdir() if path.suffix != ".dmp"]
        deadline = time.monotonic() + 5
        while (remains := left(before, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        stress.wrong += remains
    finally:
        for target in targets:
            target.kill()
            target.wait()
    print(json.dumps({"outcomes": dict(sorted(stress.outcomes.items())), "wrong": stress.wrong[:20]}), flush=True)
    done = sum(stress.outcomes.values())
    if done != given.threads * given.dumps:
        print(f"{done} dumps came to an end of {given.threads * given.dumps}", file=sys.stderr)
        return 1
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
