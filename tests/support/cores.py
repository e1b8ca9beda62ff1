"""ELF cores of real programs, made by the kernel and by gcore, and what gdb says of them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import live
import pytest
import readers

HERE = Path(__file__).resolve().parent
PATTERN, UNTOUCHED, HIDDEN, NO_ACCESS = 0x5A0000000000, 0x5A0010000000, 0x5A0020000000, 0x5A0030000000
MIB = 1 << 20
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def missing(reason: str) -> NoReturn:
    """What a test needs is not here: an error where nothing may be missing (CI)."""
    if readers.readers_required():
        pytest.fail(reason)
    pytest.skip(reason)


def program(folder: Path, *more: str, narrow: bool = False) -> Path:
    """targets/core_crash, or core_crash32."""
    targets = live.HERE / "targets"
    if not narrow:
        return live.compile_c(
            targets / "core_crash.c", folder / "core_crash", str(targets / "crashers.c"), "-O1", "-pthread", *more
        )
    flags = ("-m32", "-O1", "-msse", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie")
    try:
        return live.compile_c(targets / "core_crash32.c", folder / "core_crash32", *flags, "-no-pie")
    except AssertionError as error:
        missing(f"no compiler for i386: {error}")


@contextlib.contextmanager
def core_files() -> Iterator[None]:
    """The kernel writes cores to the folder of the program; said where it does not and may not be told to."""
    before = CORE_PATTERN.read_text("utf-8").strip()
    if before and not before.startswith(("|", "@", "/")) and "/" not in before:
        yield
        return
    try:
        CORE_PATTERN.write_text("core", "ascii")
    except OSError as error:
        missing(f"the kernel writes no core files: core_pattern is {before!r}, and cannot be set: {error}")
    try:
        yield
    finally:
        CORE_PATTERN.write_text(before, "utf-8")


@dataclass(frozen=True, kw_only=True)
class Core:
    """A core and the program that it is of."""

    path: Path
    program: Path
    pid: int
    at: int = 0  # address of the instruction that crashes, 0: not known

    def gdb(self, memory: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
        """What gdb says of it: threads with registers, siginfo, memory."""
        return gdb(self.path, self.program, memory)


def by_kernel(folder: Path, made: Path, *words: str, limit: int = resource.RLIM_INFINITY, stack: int = 0) -> Core:
    """Run the program to its crash."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = float("inf") if hard == resource.RLIM_INFINITY or os.geteuid() == 0 else hard
    if (float("inf") if limit == resource.RLIM_INFINITY else limit) > most:
        missing(f"RLIMIT_CORE is {hard} bytes, and cannot be raised")

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
        if stack:
            resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))

    folder.mkdir(exist_ok=True)
    with core_files():
        process = subprocess.Popen(
            [str(made), *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=limits
        )
        out, _ = process.communicate(timeout=live.PATIENCE)
    assert process.returncode < 0, (process.returncode, out)
    found = [path for path in folder.iterdir() if path.name.startswith("core") and path != made]
    if not found:
        missing(f"the kernel wrote no core of a program that ended by {signal.Signals(-process.returncode).name}")
    said = json.loads(out or "{}")
    return Core(path=found[0], program=made, pid=process.pid, at=said.get("at", 0))


def by_gcore(folder: Path, made: Path, *words: str) -> Core:
    """A core of the running program, by gdb's gcore."""
    if shutil.which("gcore") is None:
        missing("gcore is not installed")
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([str(made), *words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            done = subprocess.run(
                ["gcore", "-o", str(folder / "core"), str(process.pid)],
                capture_output=True,
                text=True,
                timeout=live.PATIENCE,
                check=False,
            )
        finally:
            process.kill()
    path = folder / f"core.{process.pid}"
    assert path.exists(), done.stdout + done.stderr
    return Core(path=path, program=made, pid=process.pid)


def by_debugger(folder: Path, made: Path, *words: str) -> Core:
    """Run the program under gdb to its crash, and let gdb write the core."""
    if shutil.which("gdb") is None:
        missing("gdb is not installed")
    folder.mkdir(exist_ok=True)
    path = folder / "core"
    command = ["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "run", "-ex", "python import gdb"]
    command += ["-ex", "python print('pid', gdb.selected_inferior().pid)", "-ex", f"generate-core-file {path}"]
    command += ["-ex", "kill", "--args", str(made), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=live.PATIENCE,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert path.exists(), done.stdout + done.stderr
    [pid] = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("pid ")]
    return Core(path=path, program=made, pid=pid)


def gdb(path: Path, made: Path, memory: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """What gdb says of a core."""
    if shutil.which("gdb") is None:
        missing("gdb is not installed")
    with tempfile.TemporaryDirectory(prefix="mdc-gdb-") as folder:
        answer = Path(folder, "answer.json")
        request = json.dumps({"memory": [list(pair) for pair in memory], "answer": str(answer)})
        command = ["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", f"file {made}"]
        command += ["-ex", f"core-file {path}", "-x", str(HERE / "gdb_script.py")]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=live.PATIENCE,
            check=False,
            env={**os.environ, "MDC_GDB_REQUEST": request, "LC_ALL": "C"},
        )
        assert answer.exists(), done.stdout + done.stderr
        found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        return found
