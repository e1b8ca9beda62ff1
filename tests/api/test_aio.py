"""`minidump_cffi.aio`: the loop runs on, and cancelling a task resumes the target."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import live
import pytest

import minidump_cffi as md
from minidump_cffi import aio

pytestmark = pytest.mark.linux

FULL = md.DumpType.WITH_FULL_MEMORY


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        assert process.poll() is None
        process.kill()


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe without a reader."""
    reader, writer = os.pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def is_stopped(pid: int) -> bool:
    return live.status_field(pid, "TracerPid") != "0" or "t" in live.task_states(pid).values()


async def begin(dump: Awaitable[Any], pid: int) -> asyncio.Task[Any]:
    """The dump as a task that has stopped its target."""
    task: asyncio.Task[Any] = asyncio.ensure_future(dump)  # type: ignore[assignment]
    while not is_stopped(pid):
        assert not task.done()
        await asyncio.sleep(0.002)
    return task


class Slow:
    """An output that takes its time, on a thread of the dump."""

    def write(self, data: Any) -> int:
        threading.Event().wait(0.05)
        return len(data)


def test_the_loop_runs_on(child: subprocess.Popen[bytes]) -> None:
    slow = Slow()

    async def main() -> tuple[md.DumpReport, md.DumpPlan, int]:
        ticks, ended = 0, False

        async def tick() -> None:
            nonlocal ticks
            while not ended:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        report = await aio.write_dump(child.pid, slow, FULL, spool=False)
        ended = True
        await ticking
        return report, await aio.plan_dump(child.pid, FULL), ticks

    report, plan, ticks = asyncio.run(main())
    assert report.complete
    assert plan.memory_bytes > 0
    assert ticks > 20


def test_many_targets_at_once(tmp_path: Path) -> None:
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(12)]

    async def main() -> list[md.DumpReport]:
        return await asyncio.gather(*(aio.write_dump(c, tmp_path / f"{c.pid}.dmp") for c in children))

    try:
        assert all(report.complete for report in asyncio.run(main()))
        assert len(fake.names(tmp_path)) == 12
    finally:
        for process in children:
            process.kill()
            process.wait()


def test_cancelling_resumes_the_target(child: subprocess.Popen[bytes], full_pipe: int) -> None:
    async def main() -> None:
        task = await begin(aio.write_dump(child.pid, full_pipe, FULL), child.pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_stopped(child.pid), "it is resumed before the task has ended"

    asyncio.run(main())


def test_cancelling_twice_changes_nothing(child: subprocess.Popen[bytes], full_pipe: int) -> None:
    async def main() -> None:
        task = await begin(aio.write_dump(child.pid, full_pipe, FULL), child.pid)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_stopped(child.pid)

    asyncio.run(main())


def test_a_timeout_leaves_no_file(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    async def main() -> None:
        options = md.EngineOptions(buffer_bytes=4096)
        slow = md.protocol.PythonCallback({md.protocol.CallbackType.MODULE: lambda *_: time.sleep(0.1) is None})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await aio.write_dump(child.pid, Slow(), FULL, spool=False, options=options)
        assert not is_stopped(child.pid)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):  # it cannot be complete at that moment
                await aio.write_dump(child.pid, tmp_path / "a.dmp", callback=slow)
        assert fake.names(tmp_path) == []

    asyncio.run(main())


def test_the_end_of_the_loop_resumes_the_target(child: subprocess.Popen[bytes], full_pipe: int) -> None:
    """`asyncio.run` cancels what is left, and waits for it."""

    async def main() -> None:
        await begin(aio.write_dump(child.pid, full_pipe, FULL), child.pid)

    asyncio.run(main())
    assert not is_stopped(child.pid)


def test_errors_and_hooks(child: subprocess.Popen[bytes]) -> None:
    def fail(state: object) -> None:
        raise KeyError("progress")

    async def raises(kind: type[BaseException], *args: Any, **options: Any) -> None:
        with pytest.raises(kind):
            await aio.write_dump(*args, **options)

    async def main() -> None:
        await raises(md.TargetGone, 2**22 + 1, "/dev/null")
        await raises(KeyError, child.pid, "/dev/null", FULL, progress=fail)
        await raises(md.Cancelled, child.pid, "/dev/null", FULL, on_cancel=lambda: True)
        await raises(TypeError, child.pid, "/dev/null", on_cancel=5)
        await raises(TypeError, child.pid)
        nothing: Iterator[int] = iter(())
        await raises(RuntimeError, child.pid, "/dev/null", on_cancel=lambda: next(nothing))

    asyncio.run(main())


@pytest.mark.parametrize("name", ["plan_dump", "write_dump"])
def test_it_is_the_same_function(name: str) -> None:
    function: Callable[..., Any] = getattr(aio, name)
    assert inspect.iscoroutinefunction(function)
    assert inspect.signature(function) == inspect.signature(getattr(md, name))
    assert function.__doc__ != getattr(md, name).__doc__


def test_it_is_there_without_another_import() -> None:
    done = live.run_python(
        "import sys, minidump_cffi as md\nassert 'asyncio' not in sys.modules\nprint(md.aio.write_dump)\n"
    )
    assert done.returncode == 0, done.stderr
