"""Status of MINIDUMP_CALLBACK_OUTPUT: who writes the file, what a failed read means, what a snapshot does.

As in test_members_items.py: real processes, and readers that are not ours.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live
import pytest
import readers
from callees import Callee
from members import QUICK, contents, covered

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
E_PARTIAL_COPY = 0x8007012B
PAGE, MIB = live.PAGE, 1 << 20


# ----------------------------------------------------------------------------------------------------- Status: Io


class Store:
    """Takes a dump by offset."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.finished = False

    def write(self, offset: int, data: memoryview) -> None:
        """Keep it."""
        self.file.seek(offset)
        self.file.write(data)

    def finish(self) -> None:
        """The end."""
        self.finished = True

    def python(self, question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        """The same for a `PythonCallback`."""
        if question.type == TYPE.IO_START:
            answer.status = md.protocol.HResult.S_FALSE
            return True
        if question.type == TYPE.IO_WRITE_ALL:
            part = question.io
            self.write(part.offset, part.data)
        else:
            self.finish()
        answer.status = md.protocol.HResult.S_OK
        return True

    def raw(self, input: Any, output: Any) -> int:
        """The same for a callee that is not ours."""
        output.Status = int(input.CallbackType == TYPE.IO_START)
        if input.CallbackType == TYPE.IO_WRITE_ALL:
            self.write(input.u.Io.Offset, memoryview(md.protocol.ffi.buffer(input.u.Io.Buffer, input.u.Io.BufferBytes)))
        self.finished = input.CallbackType == TYPE.IO_FINISH
        return 1


IO = (TYPE.IO_START, TYPE.IO_WRITE_ALL, TYPE.IO_FINISH)


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
@pytest.mark.parametrize("way", ["io", "python", "foreign"])
def test_the_output_taken_over_by_io(way: str, dump_type: md.DumpType, target: live.Target, folder: Path) -> None:
    store = Store()
    callbacks: dict[str, Any] = {
        "io": lambda: md.Callback(io=store),
        "python": lambda: md.protocol.PythonCallback(dict.fromkeys(IO, store.python)),
        "foreign": lambda: Callee(dict.fromkeys(IO, store.raw)).routine,
    }
    report = md.write_dump(target.pid, None, dump_type, callback=callbacks[way]())
    assert store.finished and list(folder.iterdir()) == []
    path = folder / "taken.dmp"
    path.write_bytes(store.file.getvalue())
    live.assert_accepted(path, report, QUICK)


@pytest.mark.parametrize("status", [0, 0x80004001])
def test_io_start_that_says_no(status: int, target: live.Target, take: live.Taker) -> None:
    """S_OK means no: only S_FALSE means "I do the writing"."""

    def no(_input: Any, output: Any) -> int:
        output.Status = status - (status >> 31 << 32)
        return 1

    callee = Callee({TYPE.IO_START: no})
    _, path = take(target, callback=callee.routine, only=QUICK)
    assert (callee.count(TYPE.IO_WRITE_ALL), callee.count(TYPE.IO_FINISH)) == (0, 0)
    assert path.stat().st_size > 0


# ------------------------------------------------------------------------------- Status: read failures, snapshots


def shrinking(target: live.Target) -> Callable[..., int]:
    """Cuts a mapped file while the target is stopped: after its first page the mapping cannot be read any more."""
    base, _, _ = target.region("odd_name")
    folder = Path(f"/proc/{target.pid}/map_files")
    name = next(entry for entry in folder.iterdir() if int(entry.name.partition("-")[0], 16) == base)
    path = name.readlink()

    def cut(_input: Any, _output: Any) -> int:
        os.truncate(path, PAGE)
        return 1

    return cut


def status_answer(value: int) -> Callable[..., int]:
    """Writes this HRESULT."""

    def answer(_input: Any, output: Any) -> int:
        output.Status = value - (value >> 31 << 32)
        return 1

    return answer


def failure_way(way: str, tolerate: bool, target: live.Target) -> dict[str, Any]:
    """A filter, a hook, a Python function or a foreign callee that tolerates failures or does not."""
    cut, failed = shrinking(target), status_answer(0 if tolerate else 1)
    if way == "filter":
        keep = md.Filter(read_failure="skip" if tolerate else "abort")
        return {"callback": md.Callback(keep, hooks={TYPE.THREAD: cut})}
    if way == "hook":
        return {"callback": md.Callback(hooks={TYPE.THREAD: cut, TYPE.READ_MEMORY_FAILURE: failed})}
    if way == "foreign":
        return {"callback": Callee({TYPE.THREAD: cut, TYPE.READ_MEMORY_FAILURE: failed}).routine}

    def python(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_OK if tolerate else md.protocol.HResult.S_FALSE
        return True

    def thread(_question: md.protocol.Input, _answer: md.protocol.Output) -> bool:
        return bool(cut(None, None))

    return {"callback": md.protocol.PythonCallback({TYPE.THREAD: thread, TYPE.READ_MEMORY_FAILURE: python})}


FAILURE_WAYS = ("filter", "hook", "python", "foreign")


@pytest.mark.parametrize("way", FAILURE_WAYS)
def test_a_read_failure_tolerated(way: str, target: live.Target, take: live.Taker) -> None:
    """The block is missing, not zero: no reader finds a byte there, and all else is there."""
    base, size, _ = target.region("odd_name")
    report, path = take(target, FULL, **failure_way(way, True, target), only=QUICK)
    assert not report.complete
    heap, heap_size, _ = target.region("heap")
    first, whole = target.content("odd_name", 0, PAGE), target.content("heap")
    found = contents(path, (base, PAGE), (base + PAGE, 8), (base + size - 8, 8), (heap, heap_size))
    assert found == (first, None, None, whole)
    # This one reads on after the end of a range, wherever the region is longer: asked for what is there only.
    assert readers.read_udmp(path, [(base, PAGE), (heap, heap_size)]).contents == (first, whole)


@pytest.mark.parametrize("way", FAILURE_WAYS)
def test_a_read_failure_not_tolerated(way: str, target: live.Target, folder: Path) -> None:
    """TRUE alone is not enough: a callback that does not write S_OK ends the dump."""
    base, _, _ = target.region("odd_name")
    with pytest.raises(md.ReadError) as caught:
        md.write_dump(target.pid, folder / "none.dmp", FULL, **failure_way(way, False, target))
    assert (caught.value.hresult, caught.value.callback_type) == (E_PARTIAL_COPY, TYPE.READ_MEMORY_FAILURE)
    assert caught.value.address == base + PAGE
    assert list(folder.iterdir()) == []


def test_a_snapshot_means_nothing_here(target: live.Target, take: live.Taker) -> None:
    """S_FALSE in 16 changes nothing: a live process has no snapshot."""
    _, path = take(target, FULL, callback=Callee({TYPE.IS_PROCESS_SNAPSHOT: status_answer(1)}).routine, only=QUICK)
    _, plain = take(target, FULL, only=QUICK)
    assert covered(path) == covered(plain)
    assert len(readers.read_udmp(path).threads or ()) == 3
