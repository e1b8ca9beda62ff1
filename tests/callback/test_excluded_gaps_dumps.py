"""Dumps with holes in kept memory through the plain protocol: our engine, told of no extension, and our callback.

Real processes where the file is looked at by readers that are not ours, made-up targets where reads have to fail.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import fake
import live
import pytest
import readers
from members import QUICK

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

FULL = md.DumpType.WITH_FULL_MEMORY
TYPE = md.protocol.CallbackType
PAGE = live.PAGE
HOLE = (0x50_3000, 0x50_5000)
ROUTINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def through_the_plain_protocol(callback: md.Callback) -> md.protocol.Routine:
    """Our engine then knows of no extension."""
    return md.protocol.Routine(routine=callback.routine, param=callback.param)


@pytest.mark.parametrize("buffer", [PAGE, 64 << 10, 1 << 20])
def test_a_process_through_the_plain_protocol(buffer: int, target: live.Target, take: live.Taker) -> None:
    """Kept bytes are the target's, excluded ones are nowhere in the file: by readers that are not ours."""
    base, size, _ = target.region("heap")
    holes = [(3 * PAGE + 64, 3 * PAGE + 65), (17 * PAGE, 40 * PAGE), (size - 2 * PAGE, size - PAGE)]
    keep = md.Filter(*[md.exclude(range=(base + first, base + end)) for first, end in holes])
    content = bytearray(target.content("heap"))
    secret = []
    for first, end in ((3 * PAGE, 4 * PAGE), *holes[1:]):
        secret += [bytes(content[a : a + 16]) for a in range(first, end, 512)]
        content[first:end] = b"X" * (end - first)
    with md.Callback(keep) as callback:
        options = md.EngineOptions(buffer_bytes=buffer)
        _, path = take(target, FULL, callback=through_the_plain_protocol(callback), options=options, only=QUICK)
        callback.raise_error()
        counters = callback.counters
    for reader in (readers.read_minidump, readers.read_udmp):
        assert reader(path, [(base, size)]).contents == (bytes(content),), reader
    assert set(live.file_holds(path, *secret)) == {-1}
    assert (counters.hulls, counters.lost, counters.excluded_gap_bytes) == (1, 0, 25 * PAGE)
    assert counters.filled_bytes >= counters.excluded_gap_bytes
    again, path = take(target, FULL, filter=keep, only=QUICK)
    assert readers.read_udmp(path, [(base + 3 * PAGE, 8)]).contents == (None,), "asked again, they are left out"
    assert again.complete


def test_a_hole_in_a_stack(target: live.Target, take: live.Taker) -> None:
    """The part in use is written first, the rest of the mapping later: the hole lies in both."""
    _, marker = target.info["threads"][0]
    page = marker - marker % PAGE
    keep = md.Filter(md.exclude(range=(page - 6 * PAGE, page + PAGE)))
    with md.Callback(keep) as callback:
        _, path = take(target, FULL, callback=through_the_plain_protocol(callback), only=QUICK)
        callback.raise_error()
        assert callback.counters.hulls == 1
    assert live.file_holds(path, live.pattern(marker, 64, 14)) == [-1]


def test_memory_of_a_hole_that_fails(tmp_path: Path) -> None:
    """14 is asked, and the block is left out."""
    bad = fake.Region(base=0x60_0000, size=8 * PAGE, unreadable=(0x60_2000, 0x60_4000))
    broken = fake.small(regions=(*fake.small().regions[:2], bad, *fake.small().regions[2:]))
    keep = md.Filter(md.exclude(range=(0x60_2000, 0x60_5000)))
    with md.Callback(keep) as callback:
        report = fake.write(broken, tmp_path / "a.dmp", FULL, callback=through_the_plain_protocol(callback))
        callback.raise_error()
        assert callback.counters.tolerated == 2 and not report.complete


def without(missing: TYPE, callback: md.Callback) -> object:
    """The callback with FALSE for one type, as if the engine did not know it."""
    inner = ROUTINE(callback.routine)
    param = callback.param

    @ROUTINE
    def routine(_param: int | None, question: int, output: int) -> int:
        if (
            ctypes.c_uint32.from_address(question + ffi.offsetof("MINIDUMP_CALLBACK_INPUT", "CallbackType")).value
            == missing
        ):
            return 0
        return int(inner(param, question, output))

    return routine


def test_an_engine_that_does_not_show_its_reads(tmp_path: Path) -> None:
    """The excluded bytes are in the file then, and that is said."""
    target = fake.small()
    secret = target.bytes(HOLE[0], 64)
    with md.Callback(md.Filter(md.exclude(range=HOLE))) as callback:
        path = tmp_path / "a.dmp"
        fake.write(target, path, FULL, callback=without(TYPE.VM_POST_READ, callback))
        assert live.file_holds(path, secret) != [-1]
        with pytest.raises(md.CallbackError, match=f"^{2 * PAGE} bytes that a rule excludes") as caught:
            callback.raise_error()
        assert caught.value.address == HOLE[0]


def test_an_engine_that_does_not_know_vm_start(tmp_path: Path) -> None:
    """The longest kept part, and nothing excluded."""
    target = fake.small()
    with md.Callback(md.Filter(md.exclude(range=HOLE))) as callback:
        path = tmp_path / "a.dmp"
        report = fake.write(target, path, FULL, callback=without(TYPE.VM_START, callback))
        callback.raise_error()
        assert callback.counters.lost == 1
    assert next(region for region in report.regions if region.base == 0x50_0000).kept == 0x54_0000 - HOLE[1]
    assert live.file_holds(path, target.bytes(HOLE[1], 64)) != [-1]
    assert live.file_holds(path, target.bytes(HOLE[0], 64)) == [-1]


def test_a_recorded_dump_with_holes_is_answered_again(tmp_path: Path) -> None:
    """Hulls and echoes come again from the calls alone; the memory they are about is in no recording."""
    keep = md.Filter(md.exclude(range=HOLE))
    with md.Callback(keep, record=True) as callback:
        fake.write(fake.small(), tmp_path / "a.dmp", FULL, callback=through_the_plain_protocol(callback))
        callback.raise_error()
        recording, counters = callback.recording, callback.counters
    assert recording is not None and not recording.extensions
    assert counters.hulls == 1 and counters.calls[TYPE.VM_POST_READ] > 0
    edited = [call for call in recording if call.digests and call.digests[0] != call.digests[1]]
    assert {call.type for call in edited} == {TYPE.VM_POST_READ}
    with md.Callback(keep) as callback:
        md.replay.Replay(recording).check(callback)
        callback.raise_error()
        assert callback.counters == counters
    shorter = md.replay.Recording([call for call in recording if call not in edited])
    with md.Callback(keep) as callback:
        assert len(md.replay.Replay(shorter).run(callback)) == len(shorter), "nothing is stored by a replay"
        with pytest.raises(md.CallbackError, match="discard the dump"):
            callback.raise_error()
