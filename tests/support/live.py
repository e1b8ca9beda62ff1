"""Processes to dump, and what the tests ask about them and about their dumps.

The C target (``targets/pattern.c``) is compiled once per test run. `Target` starts it, knows its addresses, and says
whether it still runs as before.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import file_rules
import pytest
import readers

HERE = Path(__file__).resolve().parents[1]
PAGE = 4096
FACTOR = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1
PATIENCE = 60.0  # seconds; not a measurement: longer means hanging


def compiler() -> str:
    """The C compiler the tests use, or a skip where there is none."""
    import shutil

    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not found:
        pytest.skip("no C compiler")
    return found


def compile_c(source: Path, program: Path, *flags: str, cross: str | None = None) -> Path:
    """Compile one C file to a program, for this system or with a cross compiler."""
    command = [*(cross or compiler()).split(), str(source), "-o", str(program), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return program


def pattern(base: int, size: int, seed: int) -> bytes:
    """The bytes pattern.c puts at [base, base + size)."""
    words = ((((at + seed) & WORD) * FACTOR) & WORD for at in range(base, base + size, 8))
    return struct.pack(f"<{size // 8}Q", *words)


def wait_until(condition: Any, what: str, patience: float = PATIENCE) -> None:
    """Wait for something that happens by itself; fails when it does not."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.005)


def task_states(pid: int) -> dict[int, str]:
    """State letter of each thread."""
    states = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            states[int(task.name)] = (task / "stat").read_text("latin-1").rpartition(")")[2].split()[0]
    return states


def status_field(pid: int, name: str, task: int | None = None) -> str:
    """A field of /proc/PID/status, or of a thread's."""
    path = Path(f"/proc/{pid}/status") if task is None else Path(f"/proc/{pid}/task/{task}/status")
    for line in path.read_text("utf-8", "replace").splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    raise KeyError(name)


def start_time(pid: int) -> int:
    """Clock ticks since boot at which the process started."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def memory_figures(pid: int) -> dict[str, int]:
    """Page tables, anonymous RSS and PSS of a process, in KiB."""
    figures = {name: int(status_field(pid, name).split()[0]) for name in ("VmPTE", "RssAnon")}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in ("Pss", "Pss_Anon", "Private_Dirty", "Shared_Dirty"):
            figures[name] = int(value.split()[0])
    return figures


def press_ctrl_c() -> None:
    """From any thread: what Ctrl-C does to the main thread, and on Linux also to the system call it is in."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)


class Target:
    """A running pattern.c (or anything that prints one JSON line when it is ready and answers lines)."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
        )
        try:
            line = self.read_line()
            self.info: dict[str, Any] = json.loads(line)
        except BaseException:
            self.close()
            raise
        self.pid: int = self.info.get("pid", self.process.pid)

    def read_line(self) -> bytes:
        """The next line of its output; fails when none comes."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, "the target does not answer"
            byte = os.read(self.process.stdout.fileno(), 1 << 16)
            assert byte, f"the target ended: {self.process.wait()}"
            line += byte
        return line

    def ping(self) -> list[int]:
        """Ask for an answer; return its number, and how many timer signals and queued signals the target has seen."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"ping\n")
        self.process.stdin.flush()
        return [int(word) for word in self.read_line().split()[1:]]

    def region(self, name: str) -> tuple[int, int, int]:
        """Address, bytes and seed of a region."""
        entry = self.info[name]
        return entry["base"], entry["size"], entry["seed"]

    def content(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """The bytes that are in a region."""
        base, whole, seed = self.region(name)
        return pattern(base + offset, whole - offset if size is None else size, seed)

    def assert_runs_on(self) -> None:
        """No thread is stopped or traced, and it answers."""
        wait_until(
            lambda: not {"t", "T"} & set(task_states(self.pid).values()),
            f"threads are stopped: {task_states(self.pid)}",
        )
        for task in task_states(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                assert status_field(self.pid, "TracerPid", task) == "0"
        self.ping()

    def finish(self) -> int:
        """End its input and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kill it, and the worker it forked."""
        if getattr(self, "pid", self.process.pid) != self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


PYTHON_TARGET = HERE / "targets" / "threads.py"


def python_target(threads: int = 4) -> Target:
    """A CPython process with threads."""
    return Target([sys.executable, str(PYTHON_TARGET), str(threads)])


def expected_counts(report: Any) -> readers.Counts:
    """What a DumpReport says is in the file, in the readers' terms."""
    from minidump_cffi.report import DumpWarning, ThreadFlags

    threads = [thread for thread in report.threads if not thread.flags & ThreadFlags.EXCLUDED]
    modules = sum(1 for module in report.modules if module.included)
    placeholder = int(bool(report.warnings & DumpWarning.NO_THREADS))
    return readers.Counts(
        threads=len(threads) + placeholder,
        modules=modules,
        memory=report.memory_ranges,
        memory64=report.memory64_ranges,
        infos=report.memory_info_count,
        stackless=sum(1 for thread in threads if thread.stack_size == 0) + placeholder,
    )


def assert_accepted(path: os.PathLike[str] | str, report: Any, only: Iterable[str] | None = None) -> None:
    """The file keeps the rules of the format, and every reader at hand accepts it with the report's counts."""
    broken = file_rules.broken_rules(path)
    assert not broken, "\n".join(broken)
    readers.assert_accepted_counts(Path(path), expected_counts(report), only)


def file_holds(path: os.PathLike[str] | str, *needles: bytes) -> list[int]:
    """Offset of each needle in the file, -1 where it is not there."""
    with file_rules.DumpFile(path) as dump:
        return [dump.data.find(needle) for needle in needles]


def run_cli(
    *words: str | os.PathLike[str], timeout: float = PATIENCE, **options: Any
) -> subprocess.CompletedProcess[str]:
    """``python -m minidump_cffi`` with these words."""
    return subprocess.run(
        [sys.executable, "-m", "minidump_cffi", *map(os.fspath, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def run_python(program: str, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Another Python with a program that may import the package."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **{"check": False, "timeout": PATIENCE * 3, **options},
    )


@contextlib.contextmanager
def small_filesystem(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of so many bytes; skips where one cannot be mounted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill, wait, close."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Taker:
    """Takes dumps into one folder; every one of them has to be accepted by the readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def path(self) -> Path:
        """A name that is not taken."""
        self.count += 1
        return self.folder / f"dump-{self.count}.dmp"

    def __call__(
        self, target: Target | int, dump_type: Any = 0, *, only: Iterable[str] | None = None, **options: Any
    ) -> tuple[Any, Path]:
        """Dump a process; return the report and the file's path."""
        import minidump_cffi as md

        path = self.path()
        pid = target if isinstance(target, int) else target.pid
        report = md.write_dump(pid, path, md.DumpType(dump_type), **options)
        assert_accepted(path, report, only)
        if isinstance(target, Target):
            target.assert_runs_on()
        return report, path
