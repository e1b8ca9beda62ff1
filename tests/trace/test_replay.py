"""Replays: the sequences of other engines and of ours, sent to our callback and to routines that are not ours."""

from __future__ import annotations

import ctypes
import dataclasses
import threading
from collections import Counter
from typing import Any

import cffi
import fake
import live
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import VERSIONS, load

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib
from minidump_cffi.protocol import CallbackType as T
from minidump_cffi.replay import Call, Recording, Replay, ReplayFault

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")

FOLDER = live.HERE / "data" / "sequences"
SEQUENCES = {path.stem: Recording.from_jsonl(path) for path in sorted(FOLDER.glob("*.jsonl"))}
CONTEXT = ffi.sizeof(dict(ffi.typeof("MINIDUMP_THREAD_CALLBACK").fields)["Context"].type)
OWN = [name for name in SEQUENCES if name.startswith("own-")]
# A range as long as the address space would be handed out in millions of answers, which a Callback refuses.
ANY_FILTER = strategies.full_filters().filter(
    lambda keep: all(end - first < 1 << 40 for first, end in (*keep.memory.add, *keep.memory.remove))
)
RANGES = [(0x5A_0000_0000, 0x5A_0000_2000), (0x1D0_0000_0000, 0x1D0_0000_0001)]
FILTERS = {
    "everything": md.Filter(),
    "nothing": md.Filter(
        default="exclude",
        threads={"default": md.filters.ThreadWrite(0)},
        modules={"default": md.filters.ModuleWrite(0)},
    ),
    "trimmed": md.Filter(
        md.exclude(type="mapped"),
        md.exclude(module="*ntdll*"),
        md.head("4 KiB", type="private"),
        threads=[md.thread(4700, md.filters.ThreadWrite.THREAD)],
        modules=[
            md.module("*kernel32*", md.filters.ModuleWrite.MODULE),
            md.module("*libc*", md.filters.ModuleWrite(0)),
        ],
        secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO,
        read_failure="abort",
        memory={"add": RANGES, "remove": RANGES[:1]},
    ),
}


def settled(recording: Recording) -> dict[T, int]:
    """Calls by type since the last one that begins a dump."""
    counts: Counter[T] = Counter(dict.fromkeys(T, 0))
    before: object = None
    for call in recording:
        if call.type == T.IS_PROCESS_SNAPSHOT or (call.type == T.VM_START and before != T.IS_PROCESS_SNAPSHOT):
            counts.update({member: -counts[member] for member in T})
        if isinstance(call.type, T):
            counts[call.type] += 1
        before = call.type
    return dict(counts)


def reads_are_shown(recording: Recording, keep: md.Filter) -> bool:
    """Whether it asks to see reads: an engine that takes one part of a region would store what lies in holes."""
    again = int(recording.extensions) & lib.MDC_EXT_RESUBMIT
    return not again and bool(keep._compiled().requirements() & lib.MDC_REQUIRES_EXCLUDED_GAPS)


def check_answer(call: Call, answer: md.replay.Answer, keep: md.Filter, shown: bool) -> None:
    """What the protocol demands of a callback that takes no I/O and no kernel minidump, and only edits reads."""
    after, before = answer.after, call.before
    kind = call.type
    assert not answer.faults and not answer.changed
    match kind:
        case T.MODULE:
            assert answer.returned and after["ModuleWriteFlags"] & ~before["ModuleWriteFlags"] == 0
        case T.INCLUDE_MODULE:  # judged at Module, where the path is
            assert answer.returned and after == before
        case T.THREAD | T.THREAD_EX:
            assert answer.returned and after["ThreadWriteFlags"] & ~before["ThreadWriteFlags"] == 0
        case T.INCLUDE_THREAD:
            assert after["ThreadWriteFlags"] & ~before["ThreadWriteFlags"] == 0
            assert not answer.returned or after["ThreadWriteFlags"] & md.filters.ThreadWrite.THREAD
        case T.MEMORY | T.REMOVE_MEMORY:
            assert (after["MemorySize"] > 0) if answer.returned else after == before
        case T.CANCEL:
            assert answer.returned and after == {"CheckCancel": 1, "Cancel": 0}
        case T.KERNEL_MINIDUMP_STATUS:
            assert answer.returned
        case T.INCLUDE_VM_REGION:
            assert answer.returned and after["Continue"] == 1
            base, size = after["BaseAddress"], after["RegionSize"]
            if size:
                assert before["BaseAddress"] <= base
                assert base + size <= before["BaseAddress"] + before["RegionSize"]
                whole = before["BaseAddress"] | before["RegionSize"]
                assert (base | size) % 4096 == 0 or whole % 4096
            edited = {"BaseAddress", "RegionSize", "Continue"}
            assert all(after[name] == value for name, value in before.items() if name not in edited)
        case T.VM_START:
            assert answer.returned and after["Status"] == shown
        case T.VM_POST_READ if shown:  # TRUE replaces the result: it is said again
            assert answer.returned
            assert after == {"VmReadStatus": call.input["Status"], "VmReadBytesCompleted": call.input["Completed"]}
        case T.IO_START | T.IS_PROCESS_SNAPSHOT:
            assert not answer.returned or after["Status"] != 1, "S_FALSE is yes"
        case T.IO_WRITE_ALL | T.IO_FINISH:
            assert not answer.returned and after["Status"] >> 31
        case T.READ_MEMORY_FAILURE if keep.read_failure == "skip":
            assert answer.returned and after["Status"] == 0
        case T.READ_MEMORY_FAILURE:
            assert not answer.returned and after["Status"] == call.input["FailureStatus"]
        case T.SECONDARY_FLAGS:
            assert answer.returned
            assert after["SecondaryFlags"] == call.input["SecondaryFlags"] | keep.secondary_flags
        case _:  # 7: no kernel minidump; 18 to 22 and what is yet to come: not taken
            assert not answer.returned and after == before


def test_the_data_is_there() -> None:
    assert {"dbghelp-start", "wine"} < SEQUENCES.keys() and len(OWN) == 4
    listed = (FOLDER / "README.md").read_text()
    for name, recording in SEQUENCES.items():
        assert f"{name}.jsonl" in listed
        assert recording.note and recording.engine and len(recording)
    start = [call.type for call in SEQUENCES["dbghelp-start"]]
    assert start == [16, 17, 11, 15, 6, 3, 4]
    assert [call.type for call in SEQUENCES["wine"]] == [1, 1, 0, 0, 0]
    assert {kind for recording in SEQUENCES.values() for kind in (call.type for call in recording)} > set(T)


@pytest.mark.parametrize("keep", FILTERS.values(), ids=list(FILTERS))
@pytest.mark.parametrize("name", SEQUENCES)
def test_answers_are_what_the_protocol_demands(name: str, keep: md.Filter) -> None:
    recording = SEQUENCES[name]
    with md.Callback(keep) as callback:
        answers = Replay(recording).run(callback)
        assert len(answers) == answers.calls == len(recording)
        assert answers.violations == 0 and answers.wrong == ()
        for call, answer in zip(recording, answers, strict=True):
            check_answer(call, answer, keep, reads_are_shown(recording, keep))
        check_lists(recording, answers, keep)
        counters = callback.counters
    assert counters.calls == settled(recording)
    assert counters.unknown == sum(not isinstance(call.type, T) for call in recording)
    regions = [answer for answer in answers if answer.type == T.INCLUDE_VM_REGION]
    assert counters.excluded == sum(answer.after["RegionSize"] == 0 for answer in regions)
    failures = sum(call.type == T.READ_MEMORY_FAILURE for call in recording)
    assert counters.tolerated == failures * (keep.read_failure == "skip")
    statuses = [call.input["Status"] for call in recording if call.type == T.KERNEL_MINIDUMP_STATUS]
    assert counters.kernel_status == (statuses[-1] if statuses else 0)


def check_lists(recording: Recording, answers: md.replay.Answers, keep: md.Filter) -> None:
    """Memory and RemoveMemory hand out their lists in order, and then FALSE."""
    for kind, ranges in ((T.MEMORY, keep.memory.add), (T.REMOVE_MEMORY, keep.memory.remove)):
        said = [answer for answer in answers if answer.type == kind]
        given = [(one.after["MemoryBase"], one.after["MemorySize"]) for one in said if one.returned]
        assert given == [(first, end - first) for first, end in ranges][: len(said)]


@pytest.mark.parametrize("name", OWN)
def test_our_recordings_hold_what_our_callback_says(name: str) -> None:
    assert all(call.returned is not None and call.after is not None for call in SEQUENCES[name])
    with md.Callback() as callback:
        Replay(SEQUENCES[name]).check(callback)
    with (
        md.Callback(FILTERS["nothing"]) as callback,
        pytest.raises(md.replay.ReplayMismatch, match="recorded") as caught,
    ):
        Replay(SEQUENCES[name]).check(callback)
    index = caught.value.index
    assert index is not None and caught.value.callback_type == SEQUENCES[name][index].type


@pytest.mark.parametrize("kind", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY], ids=["normal", "full"])
def test_our_engine_asks_as_recorded(kind: md.DumpType) -> None:
    recording = fake.write(fake.small(), "/dev/null", kind, record=True).recording
    assert recording is not None
    recorded = SEQUENCES[f"own-fake-{'full' if kind else 'normal'}"]
    assert [call.type for call in recording] == [call.type for call in recorded]


# ------------------------------------------------------------------------------------- record, then replay


@pytest.mark.parametrize("name", SEQUENCES)
@settings(max_examples=6, deadline=None)
@given(keep=ANY_FILTER)
def test_what_is_recorded_is_answered_again(name: str, keep: md.Filter) -> None:
    """One callback records what it says to a sequence; another one says the same."""
    with md.Callback(keep, record=True) as callback:
        answers = Replay(SEQUENCES[name]).run(callback)
        made = callback.recording
    assert made is not None and len(made) == len(answers)
    assert made.extensions == SEQUENCES[name].extensions
    for call, asked, answer in zip(made, SEQUENCES[name], answers, strict=True):
        assert (call.type, call.input, call.before) == (asked.type, asked.input, asked.before)
        assert (call.process_id, call.process_handle, call.gcc) == (asked.process_id, asked.process_handle, asked.gcc)
        assert (call.returned, call.after) == (answer.returned, answer.after)
    with md.Callback(keep) as callback:
        Replay(Recording.from_jsonl(made.to_jsonl())).check(callback)


@settings(max_examples=25, deadline=None)
@given(keep=ANY_FILTER, full=st.booleans())
def test_a_recorded_dump_is_answered_again(keep: md.Filter, full: bool) -> None:
    """The same with our engine in front, and with the rest of a filter's life: a file, a pickle."""
    kind = md.DumpType.WITH_FULL_MEMORY if full else md.DumpType.NORMAL
    report = fake.plan(fake.small(), kind, filter=keep, record=True)
    assert report.recording is not None
    assert Counter(call.type for call in report.recording) == Counter(report.callbacks)
    with md.Callback(keep) as callback:
        Replay(report.recording).check(callback)


# ------------------------------------------------------------------------------------- odd sequences


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_cut_off_anywhere_leaves_the_callback_fit(name: str) -> None:
    recording = SEQUENCES[name]
    keep = FILTERS["trimmed"]
    with md.Callback(keep) as fresh:
        expected = Replay(recording).run(fresh)
    with md.Callback(keep) as callback:
        for stop in range(0, len(recording), max(1, len(recording) // 32)):
            assert Replay(recording[:stop]).run(callback)[:] == expected[:stop]
            assert Replay(recording).run(callback) == expected


@pytest.mark.parametrize("name", SEQUENCES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(1, 2**64 - 1), keep=ANY_FILTER)
def test_garbage_in_unread_members_changes_nothing(name: str, seed: int, keep: md.Filter) -> None:
    with md.Callback(keep) as callback:
        replay = Replay(SEQUENCES[name])
        assert replay.run(callback, garbage=seed) == replay.run(callback)


def test_repetitions() -> None:
    with md.Callback(FILTERS["trimmed"]) as callback:
        replay = Replay(load(VERSIONS[-1], "full-vm"))
        once = replay.run(callback)
        many = replay.run(callback, repeat=1000)
        assert many.calls == 1000 * len(once) and many[:] == once[:]
        assert callback.counters.calls == settled(replay.recording)  # each begins a new dump
        assert many.elapsed > 0


def test_a_callback_in_use_is_refused() -> None:
    """A hook, while its own replay runs, tries to replay to the same callback; so does another thread."""
    replay = Replay([Call(T.CANCEL)])
    errors: list[BaseException] = []

    def again() -> None:
        try:
            replay.run(callback)
        except BaseException as error:
            errors.append(error)

    def on_cancel() -> bool:
        again()
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        with pytest.raises(md.CallbackError, match="in use"):
            callback.close()
        return False

    with md.Callback(on_cancel=on_cancel) as callback:
        assert replay.run(callback)[0].returned
    assert [type(error) for error in errors] == [md.CallbackError] * 2
    with pytest.raises(md.CallbackError, match="closed"):
        replay.run(callback)


def test_the_exception_of_a_hook_comes_out() -> None:
    def on_cancel() -> bool:
        raise ZeroDivisionError("mine")

    with md.Callback(on_cancel=on_cancel) as callback:
        with pytest.raises(ZeroDivisionError, match="mine"):
            Replay(load(VERSIONS[0], "normal")).run(callback)
        with pytest.raises(ZeroDivisionError):
            Replay([Call(T.CANCEL)]).check(callback)


# ------------------------------------------------------------------------------------- routines that are not ours

ROUTINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

SOURCE = r"""
#include <stdint.h>
#include <string.h>
/* Writes *param bytes of the output, whatever is asked. */
int32_t sprawling(void *param, const uint8_t *input, uint8_t *output) {
    (void)input;
    memset(output, 0, (size_t)*(const int32_t *)param);
    return 1;
}
/* Built with mingw-w64's header, where the output has 68 bytes and Status is the last of them. */
int32_t mingw(void *param, const uint8_t *input, uint8_t *output) {
    uint32_t type, status = 0;
    (void)param;
    memcpy(&type, input + 12, 4);
    if (type == 14) memcpy(output + 64, &status, 4);
    return 1;
}
/* Keeps to the members: clears Status where there is one. */
int32_t decent(void *param, const uint8_t *input, uint8_t *output) {
    uint32_t type;
    memcpy(&type, input + 12, 4);
    ++*(int32_t *)param;
    if (type >= 11 && type <= 14) memset(output, 0, 4);
    return type != 5 && type != 9;
}
/* Fills the buffer of VmPreRead, and one byte more than there is. */
int32_t reader(void *param, const uint8_t *input, uint8_t *output) {
    uint32_t type, size;
    uint8_t *buffer;
    memcpy(&type, input + 12, 4);
    memcpy(&buffer, input + 24, 8);
    memcpy(&size, input + 32, 4);
    if (type == 19) memset(buffer, 0x77, size + (uint32_t)*(const int32_t *)param);
    (void)output;
    return 0;
}
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A shared library of callback routines, by ctypes."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "foreign.c").write_text(SOURCE)
    return ctypes.CDLL(str(live.compile_c(folder / "foreign.c", folder / "foreign.so", "-shared", "-fPIC", "-O1")))


MEMBERS = {0: 4, 1: 4, 2: 4, 3: 4, 4: 4, 5: 12, 6: 8, 7: 8, 8: 0, 9: 12, 10: 52, 11: 4, 12: 4, 13: 4, 14: 4, 15: 4,
           16: 4, 17: 4, 18: 52, 19: 8, 20: 8, 21: 24, 22: 0}  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 4, 5, 8, 12, 13, 24, 25, 51, 52, 53, 68])
def test_writing_beside_the_member_is_caught(foreign: Any, size: int) -> None:
    """For each type exactly those are caught that write more than its member."""
    written = ctypes.c_int32(size)
    calls = [Call(T(number)) for number in MEMBERS] + [Call(4711)]
    answers = Replay(calls).run((foreign.sprawling, ctypes.cast(ctypes.pointer(written), ctypes.c_void_p)))
    for answer in answers:
        expected = ReplayFault(0)
        member = MEMBERS.get(int(answer.type), 0)
        if size > member and member < 52:
            expected |= ReplayFault.BEYOND_MEMBER
        if size > 52:
            expected |= ReplayFault.BEYOND_OUTPUT
        assert answer.faults == expected, answer
        assert not any(answer.after.values()) or size < 52
    wrong = [answer.index for answer in answers if answer.faults]
    assert answers.violations == len(wrong) and [answer.index for answer in answers.wrong] == wrong


def test_the_first_of_them_is_named(foreign: Any) -> None:
    replay = Replay(Call(call.type, call.input, call.before) for call in load(VERSIONS[0], "failure"))
    with pytest.raises(md.replay.ReplayMismatch, match="after the 52 bytes") as caught:
        replay.check(foreign.mingw)
    kinds = [call.type for call in replay.recording]
    assert caught.value.index == kinds.index(T.READ_MEMORY_FAILURE)
    assert caught.value.callback_type == T.READ_MEMORY_FAILURE
    assert isinstance(caught.value, md.CallbackError)


def test_a_stack_is_where_the_engine_has_it() -> None:
    """Engines built with GCC have the fields after Context 4 bytes lower on x64; on others the flag says nothing."""
    stack = {"ThreadId": 7, "SizeOfContext": CONTEXT, "StackBase": 0x9000, "StackEnd": 0x8000}
    inside, beside = ({"Offset": at, "Size": 64, "Completed": 64} for at in (0x8800, 0x9000))
    for kind in (T.THREAD, T.THREAD_EX):
        for gcc in (False, True):
            calls = [Call(T.VM_START), Call(kind, stack, gcc=gcc), Call(T.VM_POST_READ, inside)]
            with md.Callback(md.Filter(redact=md.Redact(stacks=True)), record=True) as callback:
                answers = Replay([*calls, Call(T.VM_POST_READ, beside)]).run(callback, fill=0x5A, garbage=1)
                assert [answer.changed for answer in answers] == [False, False, True, False]
                assert callback.counters.sanitized_words == 8
                made = callback.recording
            assert made is not None and made[1].input["StackBase"] == 0x9000


def test_buffers_are_real(foreign: Any) -> None:
    more = ctypes.c_int32(0)
    param = ctypes.cast(ctypes.pointer(more), ctypes.c_void_p)
    replay = Replay([Call(T.VM_PRE_READ, {"Offset": 1, "Size": 4096}), Call(T.VM_POST_READ, {"Size": 1 << 20})])
    answers = replay.run((foreign.reader, param))
    assert [answer.changed for answer in answers] == [True, False] and answers.violations == 0
    assert not replay.run((foreign.reader, param), fill=0x77)[0].changed  # it wrote what was there
    more.value = 1
    assert replay.run((foreign.reader, param))[0].faults == ReplayFault.BEYOND_BUFFER
    with pytest.raises(ValueError, match="limit"):
        replay.run((foreign.reader, param), buffer_max=4096)


def test_every_kind_of_callee(foreign: Any) -> None:
    """Addresses, ctypes functions, cffi functions, a Routine: the same answers from all of them."""
    count = ctypes.c_int32(0)
    pointer = ctypes.pointer(count)
    param = ctypes.addressof(count)
    address = ctypes.cast(foreign.decent, ctypes.c_void_p).value
    assert address
    other = cffi.FFI()
    function = other.cast("int (*)(void *, void *, void *)", address)
    replay = Replay(load(VERSIONS[0], "io"))
    expected = replay.run((address, param))[:]
    for callee in (
        (foreign.decent, pointer.contents and ctypes.cast(pointer, ctypes.c_void_p)),
        (function, other.cast("void *", param)),
        (function, param),
        (ffi.cast("MINIDUMP_CALLBACK_ROUTINE", address), ffi.cast("void *", param)),
        md.protocol.Routine(routine=address, param=param),
    ):
        assert replay.run(callee)[:] == expected
    assert count.value == 6 * len(replay)
    for nonsense in (None, 7, "routine", (0, 0), (address,), (address, 0, 0), (address, -1), print, object(), 1.5):
        with pytest.raises((TypeError, ValueError)):
            replay.run(nonsense)


def test_python_functions(foreign: Any) -> None:
    """A ctypes callback and a cffi callback without a parameter."""
    seen: list[int] = []

    def answer(param: object, input: int, output: object) -> int:
        seen.append(ctypes.c_uint32.from_address(input + 12).value)
        return 0

    replay = Replay(SEQUENCES["dbghelp-start"])
    routine = ROUTINE(answer)
    assert not any(one.returned for one in replay.run(routine))
    maker = cffi.FFI()

    @maker.callback("int(void *, void *, void *)")
    def other(param: object, input: Any, output: object) -> int:
        return answer(param, int(maker.cast("uintptr_t", input)), output)

    assert not any(one.returned for one in replay.run(other))
    assert seen == [16, 17, 11, 15, 6, 3, 4] * 2


def test_a_python_callback() -> None:
    """It begins anew with each replay, and what it raises comes out."""
    seen: list[md.protocol.CallbackType] = []

    def answer(question: Any, output: Any) -> bool:
        seen.append(question.type)
        if question.type == T.SECONDARY_FLAGS and len(seen) > 7:
            raise ZeroDivisionError("mine")
        return False

    with md.protocol.PythonCallback(answer) as callback:
        replay = Replay(SEQUENCES["dbghelp-start"])
        assert [one.type for one in replay.run(callback) if one.returned] == [T.CANCEL]  # whose flag decides
        assert seen == [16, 17, 11, 15, 6, 3, 4]
        with pytest.raises(ZeroDivisionError, match="mine"):
            replay.run(callback)


def test_arguments() -> None:
    replay = Replay([Call(T.CANCEL)])
    with md.Callback() as callback:
        for wrong in ({"repeat": 0}, {"repeat": 1.5}, {"fill": 256}, {"garbage": 2**64}, {"buffer_max": "much"}):
            with pytest.raises(ValueError):
                replay.run(callback, **wrong)  # type: ignore[arg-type]
        assert len(Replay([]).run(callback)) == 0
        answers = replay.run(callback)
    assert "1 calls" in repr(answers) and "1 calls" in repr(replay) and len(replay) == 1
    assert dataclasses.replace(answers[0], index=1) != answers[0] and hash(answers[0]) and hash(answers)
    assert answers[-1] == answers[0]
    with pytest.raises(IndexError):
        answers[1]


def test_values_are_those_of_c() -> None:
    assert [flag.value for flag in ReplayFault] == [
        lib.MDC_REPLAY_BEYOND_MEMBER,
        lib.MDC_REPLAY_BEYOND_OUTPUT,
        lib.MDC_REPLAY_BEYOND_BUFFER,
        lib.MDC_REPLAY_READ_ONLY,
    ]
    assert {flag.name: flag.value for flag in md.protocol.Extensions} == {
        name.removeprefix("MDC_EXT_"): getattr(lib, name) for name in dir(lib) if name.startswith("MDC_EXT_")
    }
