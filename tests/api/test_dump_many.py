"""`write_dump_many`: processes of all kinds, names, errors, executors, and what is left when it ends early."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import minidump_cffi as md
from minidump_cffi import targets

FULL = md.DumpType.WITH_FULL_MEMORY
GONE = (1 << 22) + 1
WAITS = [sys.executable, "-c", "print(flush=True); input()"]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [subprocess.Popen(WAITS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for one in started:
            assert one.stdout is not None and one.stdout.readline()
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_each_process_has_its_dump_and_its_report(processes: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "made" / "for it"
    keep = md.Filter(streams={"exclude": ["environ"]})
    results = list(md.write_dump_many(processes, out, filter=keep, deadline=60.0))
    assert {result.process for result in results} == set(processes)
    for result in results:
        assert result.error is None and result.report is not None and result.report.complete
        assert result.report.pid == result.process.pid
        path = Path(str(result.destination))
        assert path.name.endswith(f"-{result.process.pid}.dmp") and path.name.lower().startswith("python")
        assert path.stat().st_size == result.report.file_bytes and path.read_bytes()[:4] == b"MDMP"
    assert len(files(out)) == len(processes)


def test_no_two_go_to_the_same_place(processes: list[Any], tmp_path: Path) -> None:
    pid = processes[0].pid
    results = list(md.write_dump_many([pid, processes[0], pid], tmp_path, jobs=1))
    assert all(result.report is not None for result in results)
    ends = sorted(name.rpartition(str(pid))[2] for name in files(tmp_path))
    assert ends == ["-2.dmp", "-3.dmp", ".dmp"]


def test_a_function_says_where(processes: list[Any], tmp_path: Path) -> None:
    for result in md.write_dump_many(processes[:2], lambda process: tmp_path / f"{process.pid}"):
        assert result.destination == tmp_path / f"{result.process.pid}"
    assert files(tmp_path) == sorted(f"{process.pid}" for process in processes[:2])


def test_errors_are_results(processes: list[Any], tmp_path: Path) -> None:
    wrong: list[Any] = [GONE, "app", md.DumpFile("x.dmp"), processes[0]]
    results = {str(result.process): result for result in md.write_dump_many(wrong, tmp_path)}
    kinds = [type(results[str(one)].error) for one in wrong]
    assert kinds == [md.TargetGone, TypeError, TypeError, type(None)]
    assert len(files(tmp_path)) == 1


def test_the_first_error_is_raised_if_so_asked(processes: list[Any], tmp_path: Path) -> None:
    with pytest.raises(md.TargetGone) as caught:
        list(md.write_dump_many([GONE, *processes], tmp_path, on_error="raise", jobs=1))
    assert caught.value.__notes__ == [f"process: {GONE}"]


@pytest.mark.linux
def test_a_pool_of_processes(processes: list[Any], tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    pids = [process.pid for process in processes]
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(md.write_dump_many(pids, tmp_path, executor=pool))
    assert {result.report.pid for result in results if result.report is not None} == set(pids)
    assert len(files(tmp_path)) == len(pids)


def test_closing_the_iterator_ends_the_work(processes: list[Any], tmp_path: Path) -> None:
    pids = [process.pid for process in processes * 50]
    results = md.write_dump_many(pids, tmp_path, type=FULL, jobs=2, engine="native")
    next(results)
    results.close()
    before = files(tmp_path)
    assert 0 < len(before) < 150 and all(name.endswith(".dmp") for name in before)
    assert all(process.poll() is None for process in processes)


def test_on_cancel_ends_the_whole(processes: list[Any], tmp_path: Path) -> None:
    asked: list[int] = []
    with pytest.raises(md.Cancelled):
        pids = [process.pid for process in processes * 50]
        for _ in md.write_dump_many(
            pids, tmp_path, type=FULL, engine="native", on_cancel=lambda: asked.append(1) or True
        ):
            pass
    assert asked and all(name.endswith(".dmp") for name in files(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"processes": 5}, TypeError, "several processes"),
        ({"processes": [], "on_error": "ignore"}, ValueError, "on_error"),
        ({"processes": [], "jobs": 0}, ValueError, "jobs"),
        ({"processes": [], "progress": print}, TypeError, "progress"),
        ({"processes": [], "callback": md.Callback}, TypeError, "callback"),
        ({"processes": [], "destination": 3}, TypeError, "destination"),
        ({"processes": [], "deadlin": 3}, TypeError, "deadlin"),
        ({"processes": [], "executor": 3}, TypeError, "executor"),
    ],
)
def test_wrong_arguments_are_refused_at_once(
    arguments: dict[str, Any], kind: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=text):
        md.write_dump_many(**{"destination": tmp_path} | arguments)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python3", "python3"),
        ("a/b\\c:d", "a_b_c_d"),
        ("x\x1b[2J\n", "x_[2J_"),
        ("..", "process"),
        ("", "process"),
        ("\udcff", "_"),
    ],
)
def test_names_of_programs(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets._system, "program_of", lambda pid: name)
    assert targets.name_values(targets.Target(pid=7))["name"] == expected


# ------------------------------------------------------------------------------------------------------------ asyncio


def test_a_loop_over_many(processes: list[Any], tmp_path: Path) -> None:
    """Processes of an asynchronous generator, and one that is gone."""

    async def given() -> AsyncIterator[Any]:
        for process in processes:
            yield process
        yield GONE

    async def main() -> list[md.DumpedProcess]:
        return [done async for done in md.aio.write_dump_many(given(), tmp_path, jobs=2)]

    results = asyncio.run(main())
    assert {result.process for result in results} == {*processes, GONE}
    assert [type(result.error) for result in results if result.process == GONE] == [md.TargetGone]
    assert len(files(tmp_path)) == len(processes)
    assert all(result.report.complete for result in results if result.report is not None)


def test_a_loop_that_is_left(processes: list[Any], tmp_path: Path) -> None:
    """Nothing of it goes on, and no dump that is not complete remains."""

    async def main() -> int:
        async with contextlib.aclosing(
            md.aio.write_dump_many(processes * 50, tmp_path, type=FULL, engine="native")
        ) as many:
            async for _ in many:
                break
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert 0 < len(files(tmp_path)) < 50 and all(name.endswith(".dmp") for name in files(tmp_path))


def test_an_error_of_a_loop(processes: list[Any], tmp_path: Path) -> None:
    async def main(**arguments: Any) -> None:
        async for _ in md.aio.write_dump_many([GONE, *processes], tmp_path, **arguments):
            pass

    with pytest.raises(md.TargetGone) as caught:
        asyncio.run(main(on_error="raise"))
    assert caught.value.__notes__ == [f"process: {GONE}"]
    with pytest.raises(ValueError, match="jobs"):
        asyncio.run(main(jobs=0))


def test_on_cancel_ends_the_loop(processes: list[Any], tmp_path: Path) -> None:
    """As it ends `write_dump_many`: not a result for each."""

    async def main() -> None:
        pids = [process.pid for process in processes * 20]
        async for _ in md.aio.write_dump_many(pids, tmp_path, engine="native", on_cancel=lambda: True):
            pass

    with pytest.raises(md.Cancelled):
        asyncio.run(main())
    assert all(process.poll() is None for process in processes)
