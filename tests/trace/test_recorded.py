"""What Microsoft's dbghelp was seen to do, by the recordings of it, and that our callback answers it the same again."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
import strategies
from hypothesis import given, settings
from recorded import AREA, FOLDER, FULL, PAGE, PAGES, SCENARIOS, VERSIONS, Scenario, load, name_of

import minidump_cffi as md
from minidump_cffi.protocol import CallbackType as T

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")

RECORDED = {(version, name): load(version, name) for version in VERSIONS for name in SCENARIOS}
EVERY = pytest.mark.parametrize(("version", "name"), RECORDED, ids=lambda part: part)
E_NOTIMPL, E_FAIL, S_FALSE = 0x80004001, 0x80004005, 1
READS = (T.VM_PRE_READ, T.VM_POST_READ)
ANYWHERE = (T.CANCEL, *READS, T.VM_QUERY, T.READ_MEMORY_FAILURE)
NEVER = {T.THREAD_EX, T.COMPRESSED_MEMORY_STREAM_START, T.COMPRESSED_MEMORY_STREAM_FINISH}


NOTHING = md.Filter(
    default="exclude",
    threads={"default": md.filters.ThreadWrite(0)},
    modules={"default": md.filters.ModuleWrite(0)},
    redact=md.Redact(ranges=[(0, PAGE)]),
)


def some(*names: str) -> pytest.MarkDecorator:
    """Some of the recordings, by scenario, of every version."""
    return pytest.mark.parametrize(
        ("version", "name"), [key for key in RECORDED if key[1] in names], ids=lambda part: part
    )


def types(calls: Iterable[md.replay.Call], *without: T) -> list[T]:
    """The types in their order."""
    return [T(call.type) for call in calls if call.type not in without]


def runs(calls: Iterable[md.replay.Call], *without: T) -> list[T]:
    """The types in their order, one for each row of the same."""
    return [kind for kind, _ in itertools.groupby(types(calls, *without))]


def of_type(calls: Iterable[md.replay.Call], kind: T) -> list[md.replay.Call]:
    """The calls of one type."""
    return [call for call in calls if call.type == kind]


def cancelled(name: str) -> bool:
    """Whether the callback ended the dump."""
    return SCENARIOS[name].cancels_at > 0


def regions(calls: Iterable[md.replay.Call]) -> list[tuple[int, int, int, int]]:
    """Each question about a region: base and end, and of what was kept of it."""
    found = []
    for call in of_type(calls, T.INCLUDE_VM_REGION):
        asked, kept = call.before, call.after
        assert kept is not None
        ends = (asked["BaseAddress"], asked["RegionSize"], kept["BaseAddress"], kept["RegionSize"])
        found.append((ends[0], ends[0] + ends[1], ends[2], ends[2] + ends[3]))
    return found


# -------------------------------------------------------------------------------------------------- our callback


@EVERY
def test_the_same_callback_answers_as_recorded(version: str, name: str) -> None:
    with SCENARIOS[name].callback() as callback:
        md.replay.Replay(RECORDED[version, name]).check(callback)


@EVERY
def test_a_call_that_is_answered_otherwise_is_found(version: str, name: str) -> None:
    """So that the test above can fail: a callback with another filter, at the first call whose answer it changes."""
    with md.Callback(NOTHING) as callback, pytest.raises(md.replay.ReplayMismatch) as caught:
        md.replay.Replay(RECORDED[version, name]).check(callback)
    assert caught.value.callback_type in (T.VM_START, T.IO_START, T.CANCEL, *READS, T.INCLUDE_THREAD, T.SECONDARY_FLAGS)


def answered(keep: md.Filter, asked: strategies.Region, modules: list[strategies.Module], again: bool) -> Any:
    """The first kept part of a region, as (base, end), for an engine that asks again; else the hull of all."""
    parts = strategies.kept(keep, asked, modules, whole_pages=True)
    return None if not parts else parts[0] if again else (parts[0][0], parts[-1][1])


KINDS = {
    md.filters.MemoryType.IMAGE: md.filters.Kind.IMAGE,
    md.filters.MemoryType.MAPPED: md.filters.Kind.FILE,
    md.filters.MemoryType.PRIVATE: md.filters.Kind.ANONYMOUS,
}


@some("full", "full-holes", "full-vm")
@settings(max_examples=8)
@given(keep=strategies.filters())
def test_another_filter_answers_what_the_oracle_says(version: str, name: str, keep: md.Filter) -> None:
    """About every region that was asked about, and every rest of one."""
    recording = RECORDED[version, name]
    again = bool(recording.extensions & md.protocol.Extensions.RESUBMIT)
    modules = [
        strategies.Module(
            base=call.input["BaseOfImage"], size=call.input["SizeOfImage"], path=call.input["FullPath"].encode()
        )
        for call in of_type(recording, T.MODULE)
    ]
    with md.Callback(keep) as callback:
        answers = md.replay.Replay(recording).run(callback)
    for call, answer in zip(recording, answers, strict=True):
        if call.type != T.INCLUDE_VM_REGION:
            continue
        kind = md.filters.MemoryType(call.before["Type"])
        asked = strategies.Region(
            base=call.before["BaseAddress"],
            size=call.before["RegionSize"],
            state=md.filters.MemoryState(call.before["State"]),
            type=kind,
            protect=call.before["Protect"],
            kinds=KINDS[kind],
            name=b"",
        )
        base, size = answer.after["BaseAddress"], answer.after["RegionSize"]
        assert ((base, base + size) if size else None) == answered(keep, asked, modules, again)


@some("normal")
def test_flags_are_those_of_the_filter(version: str, name: str) -> None:
    recording = RECORDED[version, name]
    tids = [call.input["ThreadId"] for call in recording if call.type == T.THREAD]
    keep = md.Filter(
        threads=[md.thread(tids[1], md.filters.ThreadWrite.THREAD)],
        modules=[md.module("*kernel32*", md.filters.ModuleWrite.MODULE)],
    )
    with md.Callback(keep) as callback:
        answers = md.replay.Replay(recording).run(callback)
    threads = [answer.after["ThreadWriteFlags"] for answer in answers if answer.type == T.THREAD]
    paths = [call.input["FullPath"] for call in recording if call.type == T.MODULE]
    modules = [answer.after["ModuleWriteFlags"] for answer in answers if answer.type == T.MODULE]
    assert threads == [0x17, 0x01, 0x17] and modules == [0x01 if "kernel32" in path else 0x0D for path in paths]
    assert 0x01 in modules
    with md.Callback(NOTHING) as callback:
        answers = md.replay.Replay(recording).run(callback)
    assert not any(answer.returned for answer in answers if answer.type == T.INCLUDE_THREAD)
    assert not any(answer.after["ModuleWriteFlags"] for answer in answers if answer.type == T.MODULE)


# ------------------------------------------------------------------------------------------------ what is in them


@EVERY
def test_a_recording_says_what_it_is(version: str, name: str) -> None:
    recording = RECORDED[version, name]
    scenario = SCENARIOS[name]
    assert version in recording.engine and scenario.what in recording.note and recording.dropped == 0
    assert recording.extensions == scenario.extensions
    assert ("it failed with 0x" in recording.note) is cancelled(name)
    for call in of_type(recording, T.MODULE):
        assert re.fullmatch(r"C:\\(app|windows\\system32)\\\w+\.(exe|dll)", call.input["FullPath"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_was_sent_but_those_that_never_are(version: str) -> None:
    sent = {call.type for (which, _), calls in RECORDED.items() if which == version for call in calls}
    assert sent == set(T) - NEVER


@some("normal")
def test_the_set_of_a_plain_normal_dump(version: str, name: str) -> None:
    assert {call.type for call in RECORDED[version, name]} == {0, 1, 3, 4, 5, 6, 7, 9, 11, 15, 16, 17}


@EVERY
def test_process_id_and_handle(version: str, name: str) -> None:
    handle = RECORDED[version, name][0].process_handle
    for call in RECORDED[version, name]:
        known = call.type <= T.CANCEL or call.type in (
            T.REMOVE_MEMORY, T.INCLUDE_VM_REGION, T.READ_MEMORY_FAILURE, T.SECONDARY_FLAGS,
        )  # fmt: skip
        no_handle = (T.WRITE_KERNEL_MINIDUMP, T.KERNEL_MINIDUMP_STATUS, T.IO_START, T.IO_WRITE_ALL, T.IO_FINISH)
        assert (call.process_id != 0) is known
        assert call.process_handle == (0 if call.type in no_handle else handle)


@EVERY
def test_the_output_on_entry(version: str, name: str) -> None:
    full = SCENARIOS[name].kind & FULL
    trimmed = {
        call.input["ThreadId"]: call.after["ThreadWriteFlags"]
        for call in of_type(RECORDED[version, name], T.INCLUDE_THREAD)
        if call.after is not None
    }
    for call in RECORDED[version, name]:
        match call.type:
            case T.MODULE | T.INCLUDE_MODULE:
                assert call.before == {"ModuleWriteFlags": 0x0D}
            case T.INCLUDE_THREAD:
                assert call.before == {"ThreadWriteFlags": 0x05 if full else 0x17}
            case T.THREAD:  # what IncludeThread left of them
                assert call.before == {"ThreadWriteFlags": trimmed[call.input["ThreadId"]]}
            case T.IS_PROCESS_SNAPSHOT | T.VM_START | T.IO_START:
                assert call.before == {"Status": E_NOTIMPL}
            case T.IO_WRITE_ALL | T.IO_FINISH:
                assert call.before == {"Status": E_FAIL}
            case T.READ_MEMORY_FAILURE:
                assert call.before == {"Status": S_FALSE}
            case T.VM_QUERY:  # the rest of it is garbage
                assert call.before["VmQueryStatus"] == E_NOTIMPL
            case T.VM_PRE_READ | T.VM_POST_READ:
                assert call.before["VmReadStatus"] == E_NOTIMPL
            case T.INCLUDE_VM_REGION:
                assert call.before["RegionSize"] and call.before["Continue"] == 0
            case _:
                assert not any(call.before.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_count_of_a_read_is_garbage_on_entry(version: str) -> None:
    """VmReadBytesCompleted has to be written by who answers TRUE."""
    reads = [call for kind in READS for call in of_type(RECORDED[version, "vm"], kind)]
    assert len({call.before["VmReadBytesCompleted"] for call in reads}) > 1


# ----------------------------------------------------------------------------------------------------- their order


@EVERY
def test_how_a_dump_begins(version: str, name: str) -> None:
    """The first question about Cancel comes before the first thread."""
    calls = types(RECORDED[version, name], *READS)
    assert calls[:6] == [T.IS_PROCESS_SNAPSHOT, T.VM_START, T.IO_START, T.SECONDARY_FLAGS, T.CANCEL, T.INCLUDE_THREAD]


@EVERY
def test_the_order_of_the_types(version: str, name: str) -> None:
    """Modules before threads; what is added before what is taken away; the file before the kernel minidump."""
    scenario: Scenario = SCENARIOS[name]
    expected = [T.IS_PROCESS_SNAPSHOT, T.VM_START, T.IO_START, T.SECONDARY_FLAGS, T.INCLUDE_THREAD, T.INCLUDE_MODULE]
    expected += [T.MODULE, T.THREAD]
    expected += [T.INCLUDE_VM_REGION] if scenario.kind & FULL else [T.MEMORY, T.REMOVE_MEMORY]
    expected += [T.IO_WRITE_ALL, T.IO_FINISH] if scenario.takes_io else []
    expected += [] if cancelled(name) else [T.WRITE_KERNEL_MINIDUMP]
    expected += [T.KERNEL_MINIDUMP_STATUS] if scenario.gives_handle else []
    assert runs(RECORDED[version, name], *ANYWHERE) == expected


@EVERY
def test_an_item_is_shown_if_it_was_included(version: str, name: str) -> None:
    """In the order of the questions, each once; an IncludeModule that is always agreed to shows them all."""
    calls = RECORDED[version, name]
    asked = [call.input["ThreadId"] for call in of_type(calls, T.INCLUDE_THREAD) if call.returned]
    assert [call.input["ThreadId"] for call in of_type(calls, T.THREAD)] == asked
    bases = [call.input["BaseOfImage"] for call in of_type(calls, T.INCLUDE_MODULE) if call.returned]
    assert [call.input["BaseOfImage"] for call in of_type(calls, T.MODULE)] == bases
    assert len(set(asked)) == len(asked) == 3 and len(set(bases)) == len(bases) > 3


@EVERY
def test_when_cancel_is_asked(version: str, name: str) -> None:
    """Right before each IncludeThread, right after each IncludeModule, never between Modules and Threads."""
    calls = types(RECORDED[version, name], *READS)
    before = {kind: {calls[at - 1] for at, found in enumerate(calls) if found == kind} for kind in T}
    after = {kind: {calls[at + 1] for at, found in enumerate(calls[:-1]) if found == kind} for kind in T}
    assert before[T.INCLUDE_THREAD] == {T.CANCEL} == after[T.INCLUDE_MODULE]
    assert before[T.THREAD] == {T.MODULE, T.THREAD}
    items = calls[calls.index(T.MODULE) : len(calls) - calls[::-1].index(T.THREAD)]
    assert T.CANCEL not in items
    assert before[T.VM_QUERY] <= {T.CANCEL}, "before each question of what is where"
    assert after[T.INCLUDE_VM_REGION] <= {T.CANCEL}


@some("full-cancelled")
def test_nothing_comes_after_a_cancel(version: str, name: str) -> None:
    calls = of_type(RECORDED[version, name], T.CANCEL)
    assert [bool(call.after and call.after["Cancel"]) for call in calls] == [False] * (len(calls) - 1) + [True]
    assert RECORDED[version, name][-1].type == T.CANCEL and len(calls) == SCENARIOS[name].cancels_at


@some("normal", "ranges", "failure")
def test_ranges_are_asked_for_until_there_are_no_more(version: str, name: str) -> None:
    for kind, ranges in (
        (T.MEMORY, SCENARIOS[name].filter.memory.add),
        (T.REMOVE_MEMORY, SCENARIOS[name].filter.memory.remove),
    ):
        calls = of_type(RECORDED[version, name], kind)
        assert [bool(call.returned) for call in calls] == [True] * len(ranges) + [False]


@some("full", "full-holes", "full-vm")
def test_regions_are_asked_about_twice(version: str, name: str) -> None:
    """In the same order, to lay out the file and to write it; the answers are the same."""
    asked = regions(RECORDED[version, name])
    assert len(asked) % 2 == 0
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]


@some("full", "full-holes", "full-vm")
def test_a_region_is_asked_about_again_behind_what_was_kept(version: str, name: str) -> None:
    """Whether the callback was told of that or not. Nothing of it kept, or kept to its end: on to the next region."""
    asked = regions(RECORDED[version, name])
    asked = asked[: len(asked) // 2]
    rests = 0
    for (base, end, kept, kept_end), following in itertools.pairwise(asked):
        if kept_end not in (kept, end):
            assert following[:2] == (kept_end, end)
            rests += 1
        else:
            assert following[0] >= end > base
    assert rests == (3 if name == "full-holes" else 0)
    if name == "full-holes":
        parts = [(first, stop) for _, _, first, stop in asked if first != stop]
        pages = [((first - AREA) // PAGE, (stop - AREA) // PAGE) for first, stop in parts]
        assert pages == [(0, 1), (2, 3), (5, 20), (21, PAGES)]


# ------------------------------------------------------------------------------------------------- reads and output


@pytest.mark.parametrize("name", ["ranges", "vm", "full-vm"])
@pytest.mark.parametrize("version", VERSIONS)
def test_reads_are_shown_in_pairs_from_the_start(version: str, name: str) -> None:
    """All reads of the target, those of dbghelp's own lists too. The newer one begins with a word of the system."""
    calls = list(RECORDED[version, name])
    for before, after in itertools.pairwise(calls):
        if before.type == T.VM_PRE_READ:
            assert after.type == T.VM_POST_READ
            assert all(before.input[key] == after.input[key] for key in ("Offset", "Size"))
    kinds = types(calls)
    assert kinds.count(T.VM_PRE_READ) == kinds.count(T.VM_POST_READ) > 20
    first = kinds.index(T.VM_PRE_READ)
    assert first < kinds.index(T.INCLUDE_THREAD)
    newer = version == "10.0.22621"
    assert (first < kinds.index(T.SECONDARY_FLAGS)) is newer
    if newer:
        assert calls[first].input == {"Offset": 0x7FFE0708, "Size": 8}


@some("full-vm")
def test_a_read_is_a_pair_for_each_page(version: str, name: str) -> None:
    """Up to 64 KiB are asked for; one page of them is read, and the next pair asks for the rest."""
    reads = [call.input for call in of_type(RECORDED[version, name], T.VM_POST_READ)]
    blocks = [read for read in reads if AREA <= read["Offset"] < AREA + PAGES * PAGE]
    assert [read["Offset"] for read in blocks] == list(range(AREA, AREA + PAGES * PAGE, PAGE))
    assert {read["Completed"] for read in blocks} == {PAGE}
    assert [read["Size"] // PAGE for read in blocks] == [*range(16, 0, -1), *range(PAGES - 16, 0, -1)]


def test_the_newer_one_reads_more() -> None:
    """Two pairs more for each module, one for each thread, and the first."""
    counts = [Counter(types(RECORDED[version, "vm"]))[T.VM_PRE_READ] for version in VERSIONS]
    modules, threads = (len(of_type(RECORDED[VERSIONS[0], "vm"], kind)) for kind in (T.MODULE, T.THREAD))
    assert counts[1] - counts[0] == 2 * modules + threads + 1


@EVERY
def test_what_is_where_is_asked_in_full_dumps_of_who_said_so(version: str, name: str) -> None:
    """VmQuery needs no snapshot, only S_FALSE in VmStart; it comes after the last Thread, among the regions."""
    calls = RECORDED[version, name]
    start = of_type(calls, T.VM_START)[0]
    shown = start.after is not None and start.after["Status"] == S_FALSE
    kinds = types(calls)
    assert (T.VM_PRE_READ in kinds) is shown
    assert (T.VM_QUERY in kinds) is (shown and bool(SCENARIOS[name].kind & FULL))
    if T.VM_QUERY in kinds:
        assert kinds.index(T.VM_QUERY) > len(kinds) - kinds[::-1].index(T.THREAD) - 1
        assert not any(call.returned for call in of_type(calls, T.VM_QUERY)), "its own list is used"


@some("failure")
def test_a_failed_read_is_one_block(version: str, name: str) -> None:
    """64 KiB of the range, after all has been gathered."""
    calls = RECORDED[version, name]
    (failure,) = of_type(calls, T.READ_MEMORY_FAILURE)
    assert failure.input["Offset"] == AREA and failure.input["Bytes"] == 0x10000
    kinds = types(calls)
    assert kinds.index(T.READ_MEMORY_FAILURE) > kinds.index(T.REMOVE_MEMORY)


@some("io")
def test_the_file_is_not_written_in_order(version: str, name: str) -> None:
    """The header first, the directory last, back and forth in between; IoFinish after the last piece."""
    writes = [
        (call.input["Offset"], call.input["BufferBytes"]) for call in of_type(RECORDED[version, name], T.IO_WRITE_ALL)
    ]
    assert writes[0] == (0, 32)
    directory = [offset for offset, size in writes if size == 12][-5:]
    assert directory == sorted(directory) and [offset for offset, _ in writes[-5:]] == directory
    assert any(later < earlier for (earlier, _), (later, _) in itertools.pairwise(writes))
    assert max(size for _, size in writes) <= 0x10000


def test_both_versions_ask_the_same_but_for_reads() -> None:
    """The sequences of types of the two are one, where no reads and no output are shown."""
    old, new = VERSIONS
    for name in SCENARIOS:
        if not SCENARIOS[name].takes_io:
            assert types(RECORDED[old, name], *READS) == types(RECORDED[new, name], *READS), name


def test_the_files_are_these() -> None:
    made = {path.stem for path in FOLDER.glob("dbghelp-*.jsonl") if re.match(r"dbghelp-[\d.]+-", path.stem)}
    assert made == {name_of(version, name) for version, name in RECORDED}
    assert all(path.stat().st_size < 200_000 for path in FOLDER.glob("*.jsonl"))


def test_the_table_of_the_types_is_theirs() -> None:
    """docs/callbacks.md says "never" of exactly the types that an engine was not seen to send."""
    text = (FOLDER.parents[2] / "docs" / "callbacks.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:2] == "| "]
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", cells[0]).upper(): cells[2:] for cells in rows if len(cells) == 6}
    sent = [{T[name] for name in named.keys() & set(T.__members__) if named[name][at] != "never"} for at in range(4)]
    seen = [
        {call.type for (which, _), calls in RECORDED.items() if which == version for call in calls}
        for version in VERSIONS
    ]
    assert set(T.__members__) <= named.keys()
    assert sent == [*seen, {T.MODULE, T.THREAD}, set(T) - NEVER]
