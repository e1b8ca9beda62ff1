"""Targets that crash: an error that says so, never a dump with nothing in it, never a core that we cut short."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

import minidump_cffi as md
from minidump_cffi import cli

pytestmark = pytest.mark.linux

MIB = 1 << 20
Start = Callable[..., live.Target]


@pytest.fixture(scope="session")
def crash_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("crash") / "crash"
    return live.compile_c(live.HERE / "targets" / "crash.c", program, "-O1", "-g", "-pthread")


@pytest.fixture
def start_crash(crash_program: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts one of so many MiB that may write a core, or not, into its working directory."""
    started: list[live.Target] = []

    def start(mib: int, *, core: bool) -> live.Target:
        def limits() -> None:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY if core else 0,) * 2)

        started.append(live.Target([str(crash_program), str(mib)], cwd=tmp_path, preexec_fn=limits))
        return started[-1]

    if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "@", "/")):
        pytest.skip("cores are not written to the working directory here")
    if os.getuid() != 0 and resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("cores are not written here")
    yield start
    for target in started:
        target.close()


def crash(target: live.Target) -> None:
    assert target.process.stdin is not None
    target.process.stdin.write(b"\n")
    target.process.stdin.flush()


def test_a_process_that_the_kernel_writes_a_core_of(
    start_crash: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = start_crash(400, core=True)
    crash(target)
    live.wait_until(lambda: live.status_field(target.pid, "CoreDumping") == "1", "the core is being written")
    for dump in (lambda: md.write_dump(target.pid, tmp_path / "d.dmp"), lambda: md.plan_dump(target.pid)):
        with pytest.raises(md.TargetError, match=f"process {target.pid} is dumping core after SIGSEGV") as caught:
            dump()
        assert not isinstance(caught.value, md.TargetGone) and caught.value.pid == target.pid
    assert cli.main(["dump", str(target.pid), "-o", str(tmp_path / "d.dmp")]) == 1  # a process of its own is too late
    said = capsys.readouterr()
    assert said.out == "" and "dumping core after SIGSEGV" in said.err
    assert target.process.wait(live.PATIENCE) == -signal.SIGSEGV
    [core] = tmp_path.iterdir()
    assert core.stat().st_size > 400 * MIB, "the core is whole"
    core.unlink()


@pytest.mark.parametrize("core", [True, False], ids=["core", "no core"])
def test_a_target_that_crashes_meanwhile(core: bool, start_crash: Start, tmp_path: Path) -> None:
    """A whole dump from before the crash, or an error that says what happened: not an exec, which it was not."""
    seen: set[type] = set()
    for number, delay in enumerate([*(0.0005 * step for step in range(20)), 0.05, 0.5, live.PATIENCE]):
        target, path = start_crash(8, core=core), tmp_path / f"{number}.dmp"
        outcome: list[Any] = []

        def dump(outcome: list[Any] = outcome, path: Path = path, pid: int = target.pid) -> None:
            try:
                outcome.append(md.write_dump(pid, path, md.DumpType.WITH_FULL_MEMORY))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=dump)
        thread.start()
        thread.join(delay)
        crash(target)
        thread.join(live.PATIENCE)
        [told] = outcome
        seen.add(type(told))
        if isinstance(told, md.DumpReport):
            assert told.complete and len(told.threads) == 3 and told.memory_bytes > 8 * MIB
            assert file_rules.broken_rules(path) == []
        else:
            assert isinstance(told, md.TargetError), told
            assert "another program" not in str(told)
            assert not path.exists()
        assert target.process.wait(live.PATIENCE) == -signal.SIGSEGV
    assert md.DumpReport in seen


def test_what_killed_a_target_is_said(start_crash: Start, tmp_path: Path) -> None:
    """Seen while it is a zombie: its memory went away in the middle of the dump."""
    target = start_crash(64, core=False)

    def progress(state: md.Progress) -> None:
        os.kill(target.pid, signal.SIGKILL)

    with pytest.raises(md.TargetGone, match="killed by SIGKILL") as caught:
        md.write_dump(target.pid, SlowSink(), md.DumpType.WITH_FULL_MEMORY, spool=False, progress=progress)
    assert caught.value.pid == target.pid


class SlowSink:
    """Takes long enough for a progress function to be called."""

    def write(self, data: bytes) -> int:
        threading.Event().wait(0.02)
        return len(data)
