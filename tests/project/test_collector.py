"""The collector service of docs/collector.md does what the page says, in as few lines as it says."""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live
import pytest
from packed import unzstd

import minidump_cffi as md

pytestmark = pytest.mark.linux

PAGE = Path(__file__).resolve().parents[2] / "docs" / "collector.md"
SECRET = "swordfish-4711-swordfish"
TARGETS = 20
NAME = re.compile(r"/crash-dumps/.+-pattern-(\d+)-\d{8}T\d{6}\.\d{3}Z\.dmp\.zst")


@pytest.fixture
def bucket() -> Iterator[dict[str, Any]]:
    """The files of the file system in memory, by name."""
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory").store
    store.clear()
    yield store
    store.clear()


@pytest.fixture
def collect() -> Callable[..., Any]:
    """The function of the page."""
    (text,) = re.findall(r"^```python collector\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len([line for line in text.splitlines() if line.strip()]) <= 25
    namespace: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), namespace)  # the page is ours
    function: Callable[..., Any] = namespace["collect"]
    return function


@pytest.fixture
def processes(start_pattern: Callable[..., live.Target]) -> Iterator[list[int]]:
    """Twenty of them, each with a secret and more memory than the budget."""
    environment = {**os.environ, "DATABASE_PASSWORD": SECRET}
    made = [start_pattern("--heap", 8, env=environment) for _ in range(TARGETS)]  # MiB
    yield [target.pid for target in made]
    assert all(target.ping() for target in made), "a target did not run on"


def test_twenty_processes(
    collect: Callable[..., Any],
    processes: list[int],
    bucket: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The network is away once, and a process has ended meanwhile."""
    memory = importlib.import_module("fsspec.implementations.memory").MemoryFileSystem
    move, refused = memory.mv, []

    def once(self: Any, *words: Any, **options: Any) -> Any:
        if not refused:
            refused.append(words)
            raise OSError(errno.ENETDOWN, "the network is down")
        return move(self, *words, **options)

    monkeypatch.setattr(memory, "mv", once)
    asyncio.run(collect([*processes, 2**22 + 1], threading.Event()))

    said = capsys.readouterr().out
    assert said.count("the network is down") == 1
    assert f"[{TARGETS}/{TARGETS + 1}]" in said
    found = {int(match[1]): file.getvalue() for name, file in bucket.items() if (match := NAME.fullmatch(name))}
    assert set(found) == set(processes) and len(bucket) == TARGETS, sorted(bucket)
    for pid, data in found.items():
        assert len(data) <= 5 << 20
        path = tmp_path / f"{pid}.dmp"
        path.write_bytes(unzstd(data))
        plain = path.read_bytes()
        assert SECRET.encode() not in plain
        assert b"service\0" in plain and b"shop\0" in plain
        with md.open_dump(path) as dump:
            (thread,) = dump.threads
            assert thread.stack_pointer is not None and len(dump.read(thread.stack_pointer, 64)) == 64
        path.unlink()


def test_the_service_ends(collect: Callable[..., Any], processes: list[int], bucket: dict[str, Any]) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(md.Cancelled):
        asyncio.run(collect(processes, stop))
    assert not bucket
