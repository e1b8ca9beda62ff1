"""The engine and answers it must not believe: nonsense, endless lists, failing statuses, FALSE everywhere.

Callees that are not ours, on targets that are descriptions in memory. Whatever they answer, the dump ends, as a sound
file or as an error with a name and without a file.
"""

from __future__ import annotations

import itertools
import struct
import tempfile
from pathlib import Path
from typing import Any

import fake
import file_rules
import hypothesis
import live
import pytest
from callees import Answer, Callee, agree, keep_asking, own_memory, refuse
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
PAGE = fake.PAGE
TARGET = fake.small()
HEAP = TARGET.regions[1]
E_INVALIDARG, E_FAIL = 0x80070057, 0x80004005
PID = TARGET.threads[0].tid
U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
LIMITS = md.EngineOptions(answers_max=64, buffer_bytes=PAGE)


def dump(callee: Callee, type: md.DumpType, target: fake.Target = TARGET) -> tuple[Exception | None, Path | None]:
    """Dump into a folder of its own; the error, or the file."""
    with tempfile.TemporaryDirectory(prefix="mdc-answers-") as folder:
        file = Path(folder, "d.dmp")
        try:
            fake.write(target, file, type, callback=callee.routine, options=LIMITS, deadline=60.0)
        except md.DumpError as error:
            assert fake.names(folder) == [], "no file, under whatever name"
            return error, None
        if callee.count(TYPE.IO_WRITE_ALL):
            assert fake.names(folder) == [], "the callee has the bytes"
        else:
            assert file_rules.broken_rules(file) == []
        return None, file


def refused(callee: Callee, type: md.DumpType, by: TYPE) -> md.CallbackError:
    """The dump ends with the error that an answer of this type deserves."""
    error, _ = dump(callee, type)
    assert isinstance(error, md.CallbackError), error
    assert (error.hresult, error.callback_type) == (E_INVALIDARG, by)
    return error


# ------------------------------------------------------------------------------------------------- IncludeVmRegion


def answer_region(base: int, size: int, at: int = HEAP.base) -> Answer:
    """What becomes of the region at an address."""

    def answer(_input: Any, output: Any) -> int:
        if output.Region.VmRegion.BaseAddress == at:
            output.Region.VmRegion.BaseAddress, output.Region.VmRegion.RegionSize = base, size
        output.Region.Continue = 1
        return 1

    return answer


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (HEAP.base - PAGE, HEAP.size),  # begins before it
        (HEAP.base, HEAP.size + PAGE),  # ends after it
        (HEAP.base - PAGE, HEAP.size + 2 * PAGE),
        (0, 1 << 63),
        (HEAP.base + 1, PAGE),  # not aligned
        (HEAP.base, PAGE + 1),
        (HEAP.base + 8, PAGE - 8),
        (HEAP.base, (1 << 64) - PAGE),  # past the end of the address space
        ((1 << 64) - PAGE, 2 * PAGE),
        (HEAP.base + HEAP.size, PAGE),  # elsewhere
    ],
)
def test_what_is_no_part_of_the_region(base: int, size: int) -> None:
    refused(Callee({TYPE.INCLUDE_VM_REGION: answer_region(base, size)}), FULL, TYPE.INCLUDE_VM_REGION)


near = st.one_of(U64, st.integers(HEAP.base - 2 * PAGE, HEAP.base + HEAP.size + 2 * PAGE))
sizes = st.one_of(U64, st.integers(0, HEAP.size + PAGE), st.integers(0, 66).map(lambda pages: pages * PAGE))


@hypothesis.given(base=near, size=sizes)
@hypothesis.settings(max_examples=60)
def test_any_answer_about_a_region(base: int, size: int) -> None:
    """A page-aligned part is kept, no more and no less; all else is E_INVALIDARG."""
    callee = Callee({TYPE.INCLUDE_VM_REGION: answer_region(base, size)})
    sound = base % PAGE == size % PAGE == 0 and HEAP.base <= base and base + size <= HEAP.base + HEAP.size
    if size and not sound:
        refused(callee, FULL, TYPE.INCLUDE_VM_REGION)
        return
    report = fake.write(TARGET, "/dev/null", FULL, callback=callee.routine)
    assert report.regions[1].kept == size


# ------------------------------------------------------------------------------------------- Memory, RemoveMemory


def answer_memory(ranges: list[tuple[int, int]]) -> Answer:
    """These ranges, then the end."""
    left = list(ranges)

    def answer(_input: Any, output: Any) -> int:
        base, size = left.pop(0) if left else (0, 0)
        output.Memory.MemoryBase, output.Memory.MemorySize = base, size
        return 1

    return answer


MEMORY = (TYPE.MEMORY, TYPE.REMOVE_MEMORY)


@pytest.mark.parametrize("number", MEMORY)
@pytest.mark.parametrize("base", [(1 << 64) - 5, (1 << 64) - PAGE + 1])
def test_memory_that_passes_the_end_of_the_address_space(base: int, number: TYPE) -> None:
    error = refused(Callee({number: answer_memory([(base, PAGE)])}), NORMAL, number)
    assert error.address == base


@pytest.mark.parametrize("last", [((1 << 64) - PAGE, PAGE), ((1 << 64) - 1, 1)])
def test_memory_up_to_the_last_address_does_not_end_the_list(last: tuple[int, int]) -> None:
    callee = Callee(
        {
            TYPE.MEMORY: answer_memory([last, (HEAP.base, 2 * PAGE)]),
            TYPE.REMOVE_MEMORY: answer_memory([last, (HEAP.base, PAGE)]),
        }
    )
    report = fake.write(TARGET, "/dev/null", NORMAL, callback=callee.routine)
    assert report.regions[1].base == HEAP.base and report.regions[1].kept == PAGE


@pytest.mark.parametrize("number", MEMORY)
def test_memory_for_ever(number: TYPE) -> None:
    def endless(_input: Any, output: Any) -> int:
        output.Memory.MemoryBase, output.Memory.MemorySize = HEAP.base, PAGE
        return 1

    callee = Callee({number: endless})
    refused(callee, NORMAL, number)
    assert callee.count(number) == LIMITS.answers_max + 1


@pytest.mark.parametrize("number", MEMORY)
def test_false_and_a_size_end_the_list(number: TYPE) -> None:
    def size_and_false(_input: Any, output: Any) -> int:
        output.Memory.MemoryBase, output.Memory.MemorySize = HEAP.base, PAGE
        return 0

    callee = Callee({number: size_and_false})
    report = fake.write(TARGET, "/dev/null", NORMAL, callback=callee.routine)
    assert callee.count(number) == 1 and report.regions[1].kept == 0


ranges = st.lists(st.tuples(st.one_of(near, U64), st.one_of(U32, st.integers(0, 3 * PAGE))), max_size=12)


@hypothesis.given(added=ranges, removed=ranges, tolerate=st.booleans())
@hypothesis.settings(max_examples=60)
def test_any_answers_about_memory(added: list[tuple[int, int]], removed: list[tuple[int, int]], tolerate: bool) -> None:
    """A sound dump of what is mapped; an error for what overflows, and for what is not mapped if not tolerated."""

    def failed(_input: Any, output: Any) -> int:
        output.Status = int(not tolerate)
        return 1

    callee = Callee(
        {
            TYPE.MEMORY: answer_memory(added),
            TYPE.REMOVE_MEMORY: answer_memory(removed),
            TYPE.READ_MEMORY_FAILURE: failed,
        }
    )
    error, _ = dump(callee, NORMAL)
    lists = [itertools.takewhile(lambda pair: pair[1] != 0, answers) for answers in (added, removed)]
    if any(base + size > 1 << 64 for answers in lists for base, size in answers):
        assert isinstance(error, md.CallbackError) and error.callback_type in MEMORY
        assert error.hresult == E_INVALIDARG
    elif error is not None:
        assert isinstance(error, md.ReadError) and not tolerate


# -------------------------------------------------------------------------------------------------- Vm callbacks


def query_answer(status: int, base: int, size: int, state: int = 0x1000) -> Answer:
    """The same region, whatever is asked about."""

    def answer(_input: Any, output: Any) -> int:
        output.VmQuery.VmQueryStatus = status
        result = output.VmQuery.VmQueryResult
        result.BaseAddress, result.RegionSize, result.State = base, size, state
        return 1

    return answer


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (0, 0),  # an empty region: the next question would be the same
        (PAGE, PAGE),  # does not hold address 0
        (1, PAGE),
        (0, PAGE + 1),
        (0, PAGE),  # ends before the second question: the same region for ever
        (0, (1 << 64) - 1),
        ((1 << 64) - PAGE, 2 * PAGE),
    ],
)
def test_a_region_that_does_not_hold_the_address(base: int, size: int) -> None:
    answers = {TYPE.VM_START: own_memory, TYPE.VM_QUERY: query_answer(0, base, size)}
    error = refused(Callee(answers, otherwise=keep_all), FULL, TYPE.VM_QUERY)
    # The same answer to the next question would be none either: the first one is to be refused where it can be.
    assert error.address == (PAGE if (base, size) == (0, PAGE) else None)


def keep_all(input: Any, output: Any) -> int:
    """The safe answers, but for reads: those are the engine's."""
    number = input.CallbackType
    if number in (TYPE.CANCEL, TYPE.INCLUDE_VM_REGION):
        return keep_asking(input, output)
    return int(number not in (TYPE.VM_QUERY, TYPE.VM_PRE_READ, TYPE.VM_POST_READ))


@pytest.mark.parametrize(("state", "good"), [(0x10000, True), (0x1000, False)], ids=["free", "memory"])
def test_a_region_that_ends_with_the_address_space(state: int, good: bool) -> None:
    """Free, it is the last answer; there is no memory there."""
    end = HEAP.base + HEAP.size

    parts = [(0, HEAP.base, 0x10000), (HEAP.base, HEAP.size, 0x1000), (end, (1 << 64) - end, state)]

    def rest(input: Any, output: Any) -> int:
        base, size, kind = next(part for part in reversed(parts) if part[0] <= input.u.VmQuery.Offset)
        return query_answer(0, base, size, kind)(input, output)

    callee = Callee({TYPE.VM_START: own_memory, TYPE.VM_QUERY: rest}, otherwise=keep_all)
    if not good:
        refused(callee, FULL, TYPE.VM_QUERY)
        return
    report = fake.write(TARGET, "/dev/null", FULL, callback=callee.routine)
    assert callee.count(TYPE.VM_QUERY) == 3
    assert [(item.base, item.size) for item in report.regions] == [(HEAP.base, HEAP.size)]


def test_queries_without_an_end() -> None:
    def next_page(input: Any, output: Any) -> int:
        return query_answer(0, input.u.VmQuery.Offset & -PAGE, PAGE)(input, output)

    callee = Callee({TYPE.VM_START: own_memory, TYPE.VM_QUERY: next_page}, otherwise=keep_all)
    refused(callee, FULL, TYPE.VM_QUERY)
    assert callee.count(TYPE.VM_QUERY) == LIMITS.answers_max


@pytest.mark.parametrize("number", [TYPE.VM_PRE_READ, TYPE.VM_POST_READ])
def test_more_bytes_than_asked_are_all_that_were_asked(number: TYPE) -> None:
    """VmReadBytesCompleted is cut to Size: nothing after the buffer is used."""

    def too_many(input: Any, output: Any) -> int:
        if input.u.VmPreRead.Offset != HEAP.base:
            return 0
        ffi.memmove(input.u.VmPreRead.Buffer, b"\xa5" * input.u.VmPreRead.Size, input.u.VmPreRead.Size)
        output.VmRead.VmReadStatus, output.VmRead.VmReadBytesCompleted = 0, 0xFFFFFFFF
        return 1

    callee = Callee({TYPE.VM_START: own_memory, number: too_many}, otherwise=keep_all)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "d.dmp")
        fake.write(TARGET, file, FULL, callback=callee.routine, options=LIMITS)
        assert not file_rules.broken_rules(file)
        with file_rules.DumpFile(file) as found:
            assert found.read(HEAP.base, PAGE) == b"\xa5" * PAGE
            assert found.read(HEAP.base + PAGE, 256) == TARGET.bytes(HEAP.base + PAGE, 256)


def test_a_failed_status_does_not_vouch_for_all_bytes() -> None:
    """VmPostRead with a failure and Size bytes: nothing counts, and 14 is asked for every page."""
    failures: list[int] = []

    def contradicts(input: Any, output: Any) -> int:
        read = input.u.VmPostRead
        ours = HEAP.base <= read.Offset < HEAP.base + HEAP.size
        output.VmRead.VmReadStatus = E_FAIL - (1 << 32) if ours else read.Status
        output.VmRead.VmReadBytesCompleted = read.Completed
        return 1

    def tolerate(input: Any, output: Any) -> int:
        failures.append(input.u.ReadMemoryFailure.Offset)
        output.Status = 0
        return 1

    answers = {TYPE.VM_START: own_memory, TYPE.VM_POST_READ: contradicts, TYPE.READ_MEMORY_FAILURE: tolerate}
    fake.write(TARGET, "/dev/null", FULL, callback=Callee(answers, otherwise=keep_all).routine, options=LIMITS)
    assert failures == list(range(HEAP.base, HEAP.base + HEAP.size, PAGE))


# -------------------------------------------------------------------------------------------------------- Io


@pytest.mark.parametrize("status", [1, 0x80004001, E_FAIL, 0x8007000E, 0x7FFFFFFF])
@pytest.mark.parametrize("number", [TYPE.IO_WRITE_ALL, TYPE.IO_FINISH])
def test_io_that_fails(number: TYPE, status: int) -> None:
    """A failing status is passed on, any other than S_OK is E_FAIL."""

    def fail(_input: Any, output: Any) -> int:
        output.Status = status - (status >> 31 << 32)
        return 1

    def stored(_input: Any, output: Any) -> int:
        output.Status = 0
        return 1

    answers = {TYPE.IO_START: own_memory, TYPE.IO_WRITE_ALL: stored, TYPE.IO_FINISH: stored, number: fail}
    callee = Callee(answers, otherwise=keep_all)
    error, _ = dump(callee, FULL)
    assert isinstance(error, md.SinkError)
    assert (error.hresult, error.callback_type) == (status if status >> 31 else E_FAIL, number)
    assert callee.count(TYPE.WRITE_KERNEL_MINIDUMP) == 0, "7 comes after a dump that has succeeded"


@pytest.mark.parametrize("number", [TYPE.IO_WRITE_ALL, TYPE.IO_FINISH])
def test_io_that_returns_false(number: TYPE) -> None:
    def stored(_input: Any, output: Any) -> int:
        output.Status = 0
        return 1

    def false(_input: Any, output: Any) -> int:
        output.Status = 0
        return 0

    answers = {TYPE.IO_START: own_memory, TYPE.IO_WRITE_ALL: stored, TYPE.IO_FINISH: stored, number: false}
    error, _ = dump(Callee(answers), NORMAL)
    assert isinstance(error, md.SinkError)
    assert (error.hresult, error.callback_type) == (E_FAIL, number)


# ------------------------------------------------------------------------------------------- everything at once


@pytest.mark.parametrize("type", [NORMAL, FULL], ids=["normal", "full"])
def test_false_everywhere(type: md.DumpType) -> None:
    """Threads and modules are left out (3, 4), memory of a full dump is there: 10 answered FALSE ends the questions."""
    callee = Callee(otherwise=refuse)
    report = fake.write(TARGET, "/dev/null", type, callback=callee.routine)
    assert not any(item.included for item in report.modules)
    assert all(thread.flags & md.report.ThreadFlags.EXCLUDED for thread in report.threads)
    assert [bool(region.kept) for region in report.regions] == [bool(type)] * 5
    assert {number: callee.count(number) for number in set(callee.types())} == {
        16: 1, 17: 1, 11: 1, 15: 1, 6: 1, 3: 2, 4: 1, 7: 1, **({10: 1} if type else {5: 1, 9: 1})
    }  # fmt: skip


odd = st.one_of(
    U64,
    st.sampled_from([0, 1, PAGE, HEAP.base, HEAP.size, HEAP.base + PAGE, 1 << 63, E_FAIL, 0x80004001, HEAP.base << 32]),
)
junk_output = st.one_of(
    st.none(),
    st.binary(min_size=52, max_size=52),
    st.lists(odd, min_size=6, max_size=6).map(lambda words: struct.pack("<6QI", *words, 1)),
)
junk = st.fixed_dictionaries({}, optional={number: st.tuples(st.booleans(), junk_output) for number in range(21)})


@hypothesis.given(answers=junk, type=st.sampled_from([NORMAL, FULL]), own=st.booleans())
@hypothesis.settings(max_examples=120)
def test_any_bytes_for_any_type(answers: dict[int, tuple[bool, bytes | None]], type: md.DumpType, own: bool) -> None:
    """All 52 bytes of the output, TRUE or FALSE, for any types: a sound file or an error, and an end in any case."""

    def answering(returned: bool, output_bytes: bytes | None) -> Answer:
        def answer(_input: Any, output: Any) -> int:
            if output_bytes is not None:
                ffi.memmove(output, output_bytes, 52)
            return int(returned)

        return answer

    table = {number: answering(*answer) for number, answer in answers.items()}
    if own:
        table[TYPE.VM_START] = own_memory
    error, _ = dump(Callee(table, otherwise=keep_all), type)
    assert error is None or isinstance(error, md.DumpError)


def test_a_live_target_runs_on_after_each_of_them(pattern_program: Path, tmp_path: Path) -> None:
    """The same nonsense, to a process that has to run on."""
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "target").mkdir()
    cases: list[tuple[md.DumpType, dict[int, Answer]]] = [
        (FULL, {TYPE.INCLUDE_VM_REGION: answer_any_region}),
        (NORMAL, {TYPE.MEMORY: answer_memory([((1 << 64) - 1, PAGE)])}),
        (NORMAL, {TYPE.REMOVE_MEMORY: lambda _input, output: answer_memory([(PAGE, PAGE)])(_input, output)}),
        (FULL, {TYPE.VM_START: own_memory, TYPE.VM_QUERY: query_answer(0, 0, 0)}),
        (FULL, {TYPE.IO_START: own_memory, TYPE.IO_WRITE_ALL: agree}),
    ]
    with live.Target([str(pattern_program), "--folder", str(tmp_path / "target"), "--threads", "2"]) as target:
        for type, answers in cases:
            callee = Callee(answers, otherwise=keep_all)
            with pytest.raises(md.DumpError) as caught:
                md.write_dump(target.pid, folder / "d.dmp", type, callback=callee.routine, options=LIMITS)
            assert caught.value.callback_type in answers
            assert list(folder.iterdir()) == []
            target.assert_runs_on()


def answer_any_region(_input: Any, output: Any) -> int:
    """One page more than was asked about."""
    output.Region.VmRegion.RegionSize += PAGE
    output.Region.Continue = 1
    return 1
