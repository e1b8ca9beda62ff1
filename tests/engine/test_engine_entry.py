"""What the engine gives with each callback: the order, ProcessId and ProcessHandle, and the defaults on entry.

A callee that is not ours writes down what it sees, in dumps of a real process.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import fake
import live
import pytest
from callees import Callee, curious, keep_asking, own_memory
from drive import Engine

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

TYPE = md.protocol.CallbackType
NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
E_NOTIMPL, S_FALSE = 0x80004001, 1
NEVER = {TYPE.THREAD_EX, TYPE.COMPRESSED_MEMORY_STREAM_START, TYPE.COMPRESSED_MEMORY_STREAM_FINISH}
ON_REQUEST = {TYPE.VM_QUERY, TYPE.VM_PRE_READ, TYPE.VM_POST_READ}


def dump(target: live.Target, callee: Callee, type: int = NORMAL) -> md.DumpReport:
    """To wherever the callee has it."""
    return md.write_dump(target.pid, "/dev/null", md.DumpType(type), callback=callee.routine)


# A letter per type, so that the order is a regular expression. Cancel and what may come anywhere are taken out first.
LETTERS = {16: "P", 17: "V", 11: "I", 15: "S", 3: "t", 4: "m", 1: "T", 0: "M", 5: "a", 9: "r", 10: "R", 12: "W",
           13: "F", 7: "K", 8: "k", 18: "Q", 19: "<", 20: ">", 14: "!", 6: "c"}  # fmt: skip


def order(callee: Callee, leave_out: str = "c<>Q!") -> str:
    """The calls as letters."""
    return "".join(letter for number in callee.types() if (letter := LETTERS[number]) not in leave_out)


@pytest.mark.parametrize("takes_io", [False, True], ids=["file", "io"])
@pytest.mark.parametrize("type", [NORMAL, FULL], ids=["normal", "full"])
def test_order(type: md.DumpType, takes_io: bool, target: live.Target) -> None:
    callee = curious(takes_io=takes_io)
    dump(target, callee, type)
    memory, write = ("R+" if type else "aar"), ("W+F" if takes_io else "")
    assert re.fullmatch(f"PVISt{{3}}m+M+T{{3}}{memory}{write}Kk", order(callee)), order(callee)
    everything = order(callee, "")
    assert everything.startswith("PVISc"), "the first Cancel comes before the first item"
    assert everything.index("Q") < everything.index("t"), "the regions before the threads"
    assert everything.count("m") == everything.count("M"), "each item that was included is shown once"


def test_the_set_for_true_and_untouched(target: live.Target) -> None:
    """What real Windows sends to such a callee for a dump without full memory, once each where there is no list."""
    callee = Callee()
    dump(target, callee)
    assert set(callee.types()) == {0, 1, 3, 4, 5, 6, 7, 9, 11, 15, 16, 17}
    assert all(callee.count(number) == 1 for number in (5, 6, 7, 9, 11, 15, 16, 17))


@pytest.mark.parametrize("type", [NORMAL, FULL], ids=["normal", "full"])
def test_process_id_and_handle(type: md.DumpType, target: live.Target) -> None:
    callee = curious()
    dump(target, callee, type)
    handle = callee.seen[0].handle
    assert handle > 2, "the pidfd"
    expected = dict.fromkeys(range(23), (target.pid, handle))
    expected.update(dict.fromkeys((7, 8, 11, 12, 13), (0, 0)) | {16: (0, handle), 17: (0, handle)})
    expected.update({18: (0, handle), 19: (0, handle), 20: (0, handle)})
    wrong = {call for call in callee.seen if (call.pid, call.handle) != expected[call.type]}
    assert not wrong
    assert set(callee.types()) == set(range(23)) - NEVER - ({5, 9, 14} if type else {10})


IMPLIED = [
    (NORMAL, 0x0D, 0x17),
    (FULL, 0x0D, 0x17),
    (md.DumpType.WITH_THREAD_INFO, 0x0D, 0x57),
    (md.DumpType.WITH_DATA_SEGS | md.DumpType.WITH_CODE_SEGS, 0x4F, 0x17),
    (md.DumpType.WITHOUT_OPTIONAL_DATA, 0x0D, 0x07),
    # Not honoured of a Linux process, and therefore not offered.
    (md.DumpType.WITH_PROCESS_THREAD_DATA, 0x0D, 0x17),
]


@pytest.mark.parametrize(("type", "module", "thread"), IMPLIED, ids=lambda value: f"{int(value):#x}")
def test_the_output_on_entry(type: md.DumpType, module: int, thread: int, target: live.Target) -> None:
    """The default of the type, and zeros after it."""
    callee = curious()
    dump(target, callee, type)
    first = {0: module, 4: module, 1: thread, 3: thread, 11: E_NOTIMPL, 16: E_NOTIMPL, 17: E_NOTIMPL}
    first.update({18: E_NOTIMPL, 19: E_NOTIMPL, 20: E_NOTIMPL, 12: 0x80004005, 13: 0x80004005, 14: S_FALSE})
    for call in callee.seen:
        if call.type == TYPE.INCLUDE_VM_REGION:
            base, allocation, _, pad, size, state, _, _, pad2, goes_on = struct.unpack("<QQIIQIIIII", call.output)
            assert base % 4096 == size % 4096 == 0 and size and allocation <= base and state == 0x1000
            assert (pad, pad2, goes_on) == (0, 0, 0), "Continue is FALSE"
        else:
            assert call.output == struct.pack("<I", first.get(call.type, 0)) + bytes(48), TYPE(call.type).name


def test_answers_do_not_leak_into_the_next_question(target: live.Target) -> None:
    """All 52 bytes and the whole input filled by the callee: the next call begins anew."""

    def scribble(input: Any, output: Any) -> int:
        number = input.CallbackType
        ffi.memmove(output, b"\xee" * 52, 52)
        ffi.memmove(input, b"\xee" * ffi.sizeof(input[0]), ffi.sizeof(input[0]))
        if number in (TYPE.CANCEL,):
            output.Cancel.CheckCancel, output.Cancel.Cancel = 1, 0
        return int(number not in (TYPE.MEMORY, TYPE.REMOVE_MEMORY, TYPE.WRITE_KERNEL_MINIDUMP))

    callee = Callee(otherwise=scribble)
    dump(target, callee)
    assert all(call.output[4:] == bytes(48) for call in callee.seen)
    assert {call.pid for call in callee.seen if call.type in (0, 1, 3, 4, 5, 6, 9)} == {target.pid}


EVERY_BIT = 0x07FFFFFF & ~int(FULL)


@pytest.mark.parametrize("type", [EVERY_BIT, EVERY_BIT | FULL], ids=["normal", "full"])
def test_thread_ex_and_compressed_are_never_sent(type: int, target: live.Target) -> None:
    """ThreadEx is for processors with a backing store; of 21 and 22 only the names are known."""
    callee = curious()
    dump(target, callee, type)
    assert not NEVER & set(callee.types())


@pytest.mark.parametrize("number", [2, 18, 19, 20, 21, 22, 23, 1000, 0xFFFFFFFF])
def test_our_callback_refuses_them(number: int) -> None:
    """FALSE, and nothing written, for any engine that sends them; ThreadEx is answered as Thread."""
    with md.Callback(md.Filter(threads={"exclude": [7]})) as callback:
        engine = Engine(callback, 0)
        for _ in range(2):  # the first call of a thread takes another path than those after it
            ffi.memmove(engine.output, b"\x5a" * 52, 52)
            engine.input.u.ThreadEx.ThreadId = 8
            assert engine.send(number) == (number == TYPE.THREAD_EX)
            assert bytes(ffi.buffer(engine.output)) == b"\x5a" * 52


def test_18_is_asked_from_the_beginning_to_the_end() -> None:
    """VmQuery until the callee says that there is no more; each question begins where the last answer ended."""
    asked: list[int] = []
    ends = {0: 0x50_0000, 0x50_0000: 0x52_0000, 0x52_0000: 1 << 40}

    def query(input: Any, output: Any) -> int:
        at = int(input.u.VmQuery.Offset)
        asked.append(at)
        if at not in ends:
            output.VmQuery.VmQueryStatus = 0x80070057 - (1 << 32)
            return 1
        result = output.VmQuery.VmQueryResult
        result.BaseAddress, result.RegionSize = at, ends[at] - at
        result.State = 0x10000 if at != 0x50_0000 else 0x1000
        output.VmQuery.VmQueryStatus = 0
        return 1

    def otherwise(input: Any, output: Any) -> int:
        number = input.CallbackType
        if number in (TYPE.CANCEL, TYPE.INCLUDE_VM_REGION):
            return keep_asking(input, output)
        return int(number not in (TYPE.VM_PRE_READ, TYPE.VM_POST_READ))

    callee = Callee({TYPE.VM_START: own_memory, TYPE.VM_QUERY: query}, otherwise=otherwise)
    report = fake.write(fake.small(), "/dev/null", FULL, callback=callee.routine)
    assert asked == [0, 0x50_0000, 0x52_0000, 1 << 40]
    assert [(region.base, region.size) for region in report.regions] == [(0x50_0000, 0x2_0000)]
