"""VmQueryStatus, VmQueryResult, VmReadStatus and VmReadBytesCompleted: a callee that serves memory itself.

As in test_members_items.py: real processes, and readers that are not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import live
import pytest
import readers
from callees import Callee, own_memory
from members import QUICK, contents

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
S_OK, E_NOTIMPL, E_FAIL = md.protocol.HResult.S_OK, md.protocol.HResult.E_NOTIMPL, md.protocol.HResult.E_FAIL
PAGE = live.PAGE
MADE_UP = 0x6000_0000_0000
Answer = Callable[[md.protocol.Input, md.protocol.Output], bool]


def serving(**functions: Answer) -> md.protocol.PythonCallback:
    """A Python callee that takes part in every read: functions for vm_query, vm_pre_read, vm_post_read and others."""

    def start(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = md.protocol.HResult.S_FALSE
        return True

    table: dict[TYPE, Answer] = {TYPE.VM_START: start}
    table.update({TYPE[name.upper()]: function for name, function in functions.items()})
    return md.protocol.PythonCallback(table)


def of_region(question: md.protocol.Input, base: int, size: int) -> bool:
    """Whether a read begins in [base, base + size)."""
    return base <= question.vm_pre_read.offset < base + size


def made_up_regions(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
    """Nothing but four pages that no process has."""
    answer.vm_query_status = S_OK
    if question.vm_query < MADE_UP:
        answer.vm_query_result.set(base_address=0, region_size=MADE_UP, state=md.filters.MemoryState.FREE)
    elif question.vm_query < MADE_UP + 4 * PAGE:
        answer.vm_query_result.set(base_address=MADE_UP, region_size=4 * PAGE)
    else:
        answer.vm_query_status = E_FAIL
    return True


def fill(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
    """Supplies memory: the pattern of seed 99."""
    read = question.vm_pre_read
    read.buffer[:] = live.pattern(read.offset, read.size, 99)
    answer.vm_read_status, answer.vm_read_bytes_completed = S_OK, read.size
    return True


def test_memory_served_by_a_python_callee(target: live.Target, take: live.Taker) -> None:
    """Which regions there are, and what is in them: no byte is the process's own."""
    _, path = take(target, FULL, callback=serving(vm_query=made_up_regions, vm_pre_read=fill), only=QUICK)
    heap, size, _ = target.region("heap")
    served = live.pattern(MADE_UP, 4 * PAGE, 99)
    for reader in (readers.read_minidump, readers.read_udmp):
        assert reader(path, [(MADE_UP, 4 * PAGE), (heap, 8)]).contents == (served, None), reader
    assert readers.read_minidump(path).memory64 == ((MADE_UP, 4 * PAGE),)
    assert readers.read_minidump(path).infos == ((MADE_UP, 4 * PAGE),)
    assert live.file_holds(path, target.content("heap", size - 64, 64)) == [-1]


@pytest.mark.parametrize("how", ["FALSE", "E_NOTIMPL"])
def test_a_query_left_to_the_engine(how: str, target: live.Target, take: live.Taker) -> None:
    """The regions of the process then, the memory of one of them the callee's."""
    base, size, _ = target.region("plain")

    def query(_question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.vm_query_status = E_NOTIMPL if how == "E_NOTIMPL" else S_OK
        return how == "E_NOTIMPL"

    def pre_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        return of_region(question, base, size) and fill(question, answer)

    callback = serving(vm_query=query, vm_pre_read=pre_read)
    _, path = take(target, FULL, callback=callback, only=QUICK)
    heap, heap_size, _ = target.region("heap")
    for reader in (readers.read_minidump, readers.read_udmp):
        found = reader(path, [(base, size), (heap, heap_size)]).contents
        assert found == (live.pattern(base, size, 99), target.content("heap")), reader
    assert callback.counters.calls[TYPE.VM_QUERY] == 1


def test_such_a_callee_is_asked_for_untouched_pages_too(target: live.Target, take: live.Taker) -> None:
    """It may have some where the process has none: what it says is in the file, where else a hole would be."""
    base, size, _ = target.region("mostly_untouched")
    asked: list[tuple[int, int]] = []

    def pre_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_pre_read
        if not base <= read.offset < base + size:
            return False
        asked.append((read.offset, read.size))
        return fill(question, answer)

    untouched = base + (2 << 20)
    _, plain = take(target, FULL, only=QUICK)
    assert contents(plain, (untouched, 64)) == (bytes(64),)
    _, path = take(target, FULL, callback=serving(vm_pre_read=pre_read), only=QUICK)
    assert contents(path, (base, size)) == (live.pattern(base, size, 99),)
    at = base
    for offset, part in sorted(asked):
        assert offset == at, "every page once"
        at += part
    assert at == base + size


def test_what_was_read_is_edited(target: live.Target, take: live.Taker) -> None:
    """VmPostRead in Python: the status and the number of bytes as they were, other bytes."""
    base, size, _ = target.region("plain")

    def post_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_post_read
        if base <= read.offset < base + size:
            read.buffer[: read.completed] = bytes(byte ^ 0xFF for byte in read.buffer[: read.completed])
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        return True

    _, path = take(target, FULL, callback=serving(vm_post_read=post_read), only=QUICK)
    content, (heap, heap_size, _) = target.content("plain"), target.region("heap")
    found = readers.read_udmp(path, [(base, size), (heap, heap_size)]).contents
    assert found == (bytes(byte ^ 0xFF for byte in content), target.content("heap"))
    pages = [content[at : at + 16] for at in range(0, size, PAGE)]
    assert set(live.file_holds(path, *pages)) == {-1}, "what was there before the edit is nowhere in the file"


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_a_stack_is_edited_in_all_its_copies(dump_type: md.DumpType, target: live.Target, take: live.Taker) -> None:
    _, marker = target.info["threads"][0]

    def post_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_post_read
        if read.offset <= marker < read.offset + read.completed:
            read.buffer[marker - read.offset : marker - read.offset + 64] = bytes(64)
        answer.vm_read_status, answer.vm_read_bytes_completed = read.status, read.completed
        return True

    _, path = take(target, dump_type, callback=serving(vm_post_read=post_read), only=QUICK)
    assert contents(path, (marker, 64)) == (bytes(64),)
    assert live.file_holds(path, live.pattern(marker, 64, 14)) == [-1]


def test_a_part_is_served_and_the_engine_reads_the_rest(target: live.Target, take: live.Taker) -> None:
    """VmReadBytesCompleted less than Size, with S_OK."""
    base, size, _ = target.region("plain")

    def pre_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = question.vm_pre_read
        if read.offset != base:
            return False
        read.buffer[:104] = live.pattern(base, 104, 99)
        answer.vm_read_status, answer.vm_read_bytes_completed = S_OK, 104
        return True

    _, path = take(target, FULL, callback=serving(vm_pre_read=pre_read), only=QUICK)
    rest = target.content("plain")[104:]
    assert contents(path, (base, 104), (base + 104, size - 104)) == (live.pattern(base, 104, 99), rest)


@pytest.mark.parametrize("tolerate", [True, False], ids=["tolerated", "not tolerated"])
@pytest.mark.parametrize("where", ["vm_pre_read", "vm_post_read"])
def test_a_read_the_callee_lets_fail(where: str, tolerate: bool, target: live.Target, take: live.Taker) -> None:
    """A failed VmReadStatus is a read failure like any other: 14 is asked, page by page."""
    base, size, _ = target.region("plain")
    bad = base + 2 * PAGE
    failures: list[tuple[int, int]] = []

    def answer_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        read = getattr(question, where)
        if not read.offset <= bad < read.offset + read.size:
            return False
        answer.vm_read_status, answer.vm_read_bytes_completed = E_FAIL, bad - read.offset
        return True

    def failed(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        failures.append((question.read_memory_failure.offset, question.read_memory_failure.bytes))
        answer.status = S_OK if tolerate else E_FAIL
        return True

    # Bytes it vouches for have to be there: of a read that failed in VmPreRead they are whatever the buffer held.
    functions: dict[str, Answer] = {"vm_post_read": answer_read, "read_memory_failure": failed}
    if where == "vm_pre_read":

        def pre_read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
            read = question.vm_pre_read
            inside = answer_read(question, answer)
            if inside and read.offset < bad:
                read.buffer[: bad - read.offset] = live.pattern(read.offset, bad - read.offset, 1)
            return inside

        functions = {"vm_pre_read": pre_read, "read_memory_failure": failed}
    if not tolerate:
        path = take.path()
        with pytest.raises(md.ReadError) as caught:
            md.write_dump(target.pid, path, FULL, callback=serving(**functions))
        assert (caught.value.address, caught.value.callback_type) == (bad, TYPE.READ_MEMORY_FAILURE)
        assert not path.exists()
        return
    report, path = take(target, FULL, callback=serving(**functions), only=QUICK)
    assert failures == [(bad, PAGE)] and not report.complete
    before, behind = target.content("plain", 0, 2 * PAGE), target.content("plain", 3 * PAGE)
    found = contents(path, (base, 2 * PAGE), (bad, 8), (bad + PAGE, size - 3 * PAGE))
    assert found == (before, None, behind)


@pytest.mark.parametrize(
    ("status", "returned"),
    [(0, 1), (0x80004001, 1), (0x80004005, 1), (1, 0)],
    ids=["S_OK", "E_NOTIMPL", "E_FAIL", "FALSE"],
)
def test_they_are_sent_only_to_who_asks(status: int, returned: int, target: live.Target, take: live.Taker) -> None:
    def start(_input: Any, output: Any) -> int:
        output.Status = status - (status >> 31 << 32)
        return returned

    callee = Callee({TYPE.VM_START: start})
    take(target, FULL, callback=callee.routine, only=QUICK)
    assert not {TYPE.VM_QUERY, TYPE.VM_PRE_READ, TYPE.VM_POST_READ} & set(callee.types())
    callee = Callee({TYPE.VM_START: own_memory}, otherwise=lambda input, _output: int(input.CallbackType < 5))
    take(target, FULL, callback=callee.routine, only=QUICK)
    assert {TYPE.VM_QUERY, TYPE.VM_PRE_READ, TYPE.VM_POST_READ} <= set(callee.types())
