"""Fixtures of the benchmarks: the C programs they need, fresh targets, and where output goes.

``MDC_BENCH_DIR`` says where dumps are written (default: /dev/shm if there is room, else a temporary directory).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contest import Contest
from setting import MIB, QUICK, SIZES, Programs, Sizes, Spawn, Target

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    """Sizes of this run."""
    return SIZES


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile the targets and the baselines; without a C compiler the benchmarks that need them are skipped."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux")
    where = tmp_path_factory.mktemp("programs")
    bare = HERE / "baselines"
    for source in (HERE / "targets.c", HERE / "pulse.c", bare / "bare_copy.c", bare / "bare_write.c"):
        command = [
            compiler,
            "-std=c11",
            "-D_GNU_SOURCE",
            "-O2",
            "-pthread",
            "-o",
            str(where / source.stem),
            str(source),
        ]
        subprocess.run(command, check=True)
    names = ("targets", "pulse", "bare_copy", "bare_write")
    return Programs(**{name: where / name for name in names})


@pytest.fixture(scope="session")
def spawn(programs: Programs) -> Spawn:
    """Start a target of targets.c as a context manager: ``with spawn("heap", 4096) as target``."""

    @contextmanager
    def start(kind: str, *numbers: int) -> Iterator[Target]:
        command = [str(programs.targets), kind, *map(str, numbers)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        try:
            pid, address = process.stdout.readline().split()
            yield Target(pid=int(pid), address=int(address, 16))
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()

    return start


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for dumps: memory if there is room, because a disk would measure itself."""
    chosen = os.environ.get("MDC_BENCH_DIR")
    if chosen:
        where = Path(chosen) / f"mdc-bench-{os.getpid()}"
    elif Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 2 * SIZES.sparse:
        where = Path("/dev/shm") / f"mdc-bench-{os.getpid()}"
    else:
        where = tmp_path_factory.mktemp("dumps")
    where.mkdir(exist_ok=True)
    yield where
    shutil.rmtree(where, ignore_errors=True)


@pytest.fixture(scope="session")
def contests() -> dict[str, Contest]:
    """The contests that have been run, by name: every competitor's benchmark replays one and the same run."""
    return {}


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    """Keep what a reader of figures needs, and nothing that names the machine."""
    for key in ("node",):
        machine_info.pop(key, None)
    machine_info["quick"] = QUICK
    machine_info["cpus_allowed"] = len(os.sched_getaffinity(0))
    machine_info["memory_mib"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    machine_info["governor"] = governor.read_text().strip() if governor.exists() else "unknown"
