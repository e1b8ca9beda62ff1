"""What redaction costs beside the plain copy: the edit of a buffer, reads of a process, and whole dumps.

At 1, 16 and 256 patterns of 16 bytes, at patterns as short as they may be, and with words of stacks replaced.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from callees import lib
from contest import CLOCK, Contest, hold, replay
from setting import MIB, QUICK, SIZES, Spawn

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

ROUNDS = 3 if QUICK else 25
TURNS = 2 if QUICK else 16
WAYS = ("memcpy", "patterns-1", "patterns-16", "patterns-256", "patterns-16-of-4-bytes", "stack-words")
LENGTH = 16  # bytes of a pattern: a short token


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def patterns(count: int, length: int = LENGTH) -> list[bytes]:
    """Tokens as they are: letters and digits."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    draw = random.Random(count * 31 + length)
    return [bytes(draw.choices(letters, k=length)) for _ in range(count)]


def filters() -> dict[str, md.Filter]:
    """By way."""
    made = {f"patterns-{count}": md.Filter(redact=md.Redact(patterns=patterns(count))) for count in (1, 16, 256)}
    made["patterns-16-of-4-bytes"] = md.Filter(redact=md.Redact(patterns=patterns(16, 4)))
    made["stack-words"] = md.Filter(redact=md.Redact(stacks=True))
    return made


class Reader:
    """Edits one buffer through the routine, as an engine has it done after each read."""

    def __init__(self, keep: md.Filter, buffer: Any, address: int) -> None:
        self.callback = md.Callback(keep)
        self.buffer = buffer
        self.input = ffi.new("MINIDUMP_CALLBACK_INPUT *")
        self.output = ffi.new("MINIDUMP_CALLBACK_OUTPUT *")
        self.param = self.callback.information.CallbackParam
        if keep.redact.stacks:  # all of the buffer is a stack
            self.input.CallbackType = md.protocol.CallbackType.THREAD
            self.input.u.Thread.StackEnd, self.input.u.Thread.StackBase = address, address + len(buffer)
            assert lib.mdc_callback_routine(self.param, self.input, self.output) == 1
        self.input.CallbackType = md.protocol.CallbackType.VM_POST_READ
        read = self.input.u.VmPostRead
        read.Offset, read.Buffer, read.Size, read.Completed = address, buffer, len(buffer), len(buffer)

    def edit(self) -> None:
        assert lib.mdc_callback_routine(self.param, self.input, self.output) == 1


def hot_contest() -> Contest:
    """1 MiB that is in the cache: program text, which is neither zeros nor noise."""
    with Path(os.path.realpath("/proc/self/exe")).open("rb") as file:
        content = file.read(MIB)
    content = (content * (MIB // max(len(content), 1) + 1))[:MIB]
    source, buffer = ffi.new("uint8_t[]", content), ffi.new("uint8_t[]", MIB)

    def run(work: Any) -> tuple[float, dict[str, float]]:
        ffi.memmove(buffer, source, MIB)
        begun = time.perf_counter()
        for _ in range(TURNS):
            work()
        seconds = (time.perf_counter() - begun) / TURNS
        return seconds, {"gb_per_s": MIB / seconds / 1e9}

    runs = {"memcpy": partial(run, partial(ffi.memmove, buffer, source, MIB))}
    for way, keep in filters().items():
        runs[way] = partial(run, Reader(keep, buffer, 0x10000).edit)
    return hold(runs, baseline="memcpy", rounds=ROUNDS)


def read_contest(pid: int, address: int, size: int) -> Contest:
    """Reads of 1 MiB out of a process, each followed by the edit, as the engine does it."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ffi.new("uint8_t[]", MIB)
    local = _Iovec(int(ffi.cast("uintptr_t", buffer)), MIB)

    def run(reader: Reader | None) -> tuple[float, dict[str, float]]:
        begun = time.perf_counter()
        for at in range(address, address + size, MIB):
            remote = _Iovec(at, MIB)
            got = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
            assert got == MIB
            if reader is not None:
                reader.edit()
        seconds = time.perf_counter() - begun
        return seconds, {"gb_per_s": size / seconds / 1e9}

    runs = {"process_vm_readv": partial(run, None)}
    for way, keep in filters().items():
        runs[way] = partial(run, Reader(keep, buffer, 0x10000))
    return hold(runs, baseline="process_vm_readv", rounds=5 if QUICK else 11)


def dump_contest(pid: int, output: Path) -> Contest:
    """Whole dumps."""

    def run(keep: md.Filter) -> tuple[float, dict[str, float]]:
        path = output / "redact.dmp"
        begun = time.perf_counter()
        report = md.write_dump(pid, path, md.DumpType.WITH_FULL_MEMORY, filter=keep)
        seconds = time.perf_counter() - begun
        path.unlink()
        return seconds, {"stop_s": report.stop_time, "gb_per_s": report.stored_bytes / seconds / 1e9}

    runs = {"plain": partial(run, md.Filter())}
    runs.update((way, partial(run, keep)) for way, keep in filters().items())
    return hold(runs, baseline="plain", rounds=3 if QUICK else 7)


@pytest.mark.benchmark(group="redact-hot", timer=CLOCK)
@pytest.mark.parametrize("way", WAYS)
def test_hot_buffer(benchmark: Any, contests: dict[str, Contest], way: str) -> None:
    """The edit alone, on 1 MiB in the cache, beside memcpy of it."""
    if "redact-hot" not in contests:
        contests["redact-hot"] = hot_contest()
    replay(benchmark, contests["redact-hot"], way)


@pytest.mark.benchmark(group="redact-read", timer=CLOCK)
@pytest.mark.parametrize("way", ("process_vm_readv", *WAYS[1:]))
def test_reads(benchmark: Any, contests: dict[str, Contest], spawn: Spawn, way: str) -> None:
    """Read and edit, beside the read."""
    if "redact-read" not in contests:
        size = min(SIZES.heap, 256 * MIB)
        with spawn("heap", size) as target:
            contests["redact-read"] = read_contest(target.pid, target.address, size)
    replay(benchmark, contests["redact-read"], way)


@pytest.mark.benchmark(group="redact-dump", timer=CLOCK)
@pytest.mark.parametrize("way", ("plain", *WAYS[1:]))
def test_dumps(benchmark: Any, contests: dict[str, Contest], spawn: Spawn, output: Path, way: str) -> None:
    """Whole dumps with redaction, beside the plain one."""
    if "redact-dump" not in contests:
        with spawn("heap", min(SIZES.heap, 256 * MIB)) as target:
            contests["redact-dump"] = dump_contest(target.pid, output)
    replay(benchmark, contests["redact-dump"], way)
