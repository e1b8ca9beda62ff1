"""Replays: what a million calls take, and what one callback of each type costs over a bare C function that says TRUE.

Both callees are driven by the same C loop (csrc/trace/replay.h), which also builds the structs and checks what was
written: the bare function shows what that alone takes, and the difference is what the callee costs.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import QUICK

import minidump_cffi as md
from minidump_cffi.protocol import CallbackType
from minidump_cffi.replay import Call

MILLION = 10_000 if QUICK else 1_000_000
COUNT = 2_000 if QUICK else 100_000
WAYS = ("trampoline", "bare-c")

KEEP = md.Filter(
    md.exclude(type="mapped", min_size="64 KiB"),
    md.exclude(module="*/libsecret*"),
    threads=[md.thread(7, md.filters.ThreadWrite.THREAD)],
    secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO,
)
INPUTS: dict[CallbackType, dict[str, Any]] = {
    CallbackType.MODULE: {"FullPath": "/usr/lib/x86_64-linux-gnu/libc.so.6", "SizeOfImage": 0x200000},
    CallbackType.IO_WRITE_ALL: {"BufferBytes": 4096},
    CallbackType.VM_PRE_READ: {"Size": 4096},
    CallbackType.VM_POST_READ: {"Size": 4096, "Completed": 4096},
    CallbackType.READ_MEMORY_FAILURE: {"Bytes": 4096, "FailureStatus": 0x8007012B},
}
REGION = {"BaseAddress": 0x7F0000000000, "RegionSize": 0x10000, "State": 0x1000, "Protect": 4, "Type": 0x20000}


def sequence(number: CallbackType) -> md.replay.Replay:
    """One call of a type. A module comes after the call that begins a dump: its table would fill up."""
    before = {"before": REGION} if number == CallbackType.INCLUDE_VM_REGION else {}
    first = [Call(CallbackType.IS_PROCESS_SNAPSHOT)] if number == CallbackType.MODULE else []
    return md.replay.Replay([*first, *[Call(number, INPUTS.get(number, {}), **before)] * (1000 if first else 1)])


def dump() -> md.replay.Replay:
    """The calls of a dump of 1,000 regions with full memory, as dbghelp sends them."""
    calls = [Call(number) for number in (16, 17, 11, 15, 6)]
    calls += [Call(CallbackType.INCLUDE_THREAD, {"ThreadId": tid}) for tid in range(20)]
    calls += [Call(CallbackType.INCLUDE_MODULE, {"BaseOfImage": base << 20}) for base in range(50)]
    calls += [Call(CallbackType.THREAD, {"ThreadId": tid}) for tid in range(20)]
    calls += [
        Call(CallbackType.MODULE, {"FullPath": f"/lib/lib{base}.so", "BaseOfImage": base << 20, "SizeOfImage": 4096})
        for base in range(50)
    ]
    for at in range(1000):
        region = REGION | {"BaseAddress": REGION["BaseAddress"] + (at << 20), "Type": 0x40000 if at % 4 else 0x20000}
        calls += [Call(CallbackType.INCLUDE_VM_REGION, before=region)] * 2
    return md.replay.Replay([*calls, Call(CallbackType.WRITE_KERNEL_MINIDUMP)])


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A C routine that returns TRUE and touches nothing."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    where = tmp_path_factory.mktemp("bare")
    (where / "bare.c").write_text(
        "int bare(void *param, void *input, void *output);\nint bare(void *param, void *input,"
        " void *output) { (void)param; (void)input; (void)output; return 1; }\n"
    )
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(where / "bare.so"), str(where / "bare.c")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(where / "bare.so")).bare


def _run(sequence: md.replay.Replay, callee: Any, repeat: int) -> tuple[float, dict[str, Any]]:
    answers = sequence.run(callee, repeat=repeat)
    each = answers.elapsed / answers.calls
    return each, {"ns_per_call": each * 1e9, "calls": answers.calls}


def _contest(contests: dict[str, Contest], name: str, sequence: md.replay.Replay, calls: int, bare: Any) -> Contest:
    if name not in contests:
        with md.Callback(KEEP) as callback:
            callees: dict[str, Any] = {"trampoline": callback, "bare-c": bare}
            repeat = max(1, calls // len(sequence))
            runs: dict[str, Callable[[], tuple[float, dict[str, Any]]]] = {
                way: partial(_run, sequence, callee, repeat) for way, callee in callees.items()
            }
            contests[name] = hold(runs, baseline="bare-c", rounds=15)
    return contests[name]


def _more(contest: Contest, who: str) -> dict[str, float]:
    # Of the fastest rounds: a difference of a few nanoseconds drowns in whatever else the machine did in the others.
    best = min(contest.times[who])
    return {"best_ns": best * 1e9, "ns_more_than_bare": (best - min(contest.times["bare-c"])) * 1e9}


@pytest.mark.benchmark(timer=CLOCK, group="replay-million")
@pytest.mark.parametrize("who", WAYS)
def test_a_million_calls(benchmark: Any, contests: dict[str, Contest], bare: Any, who: str) -> None:
    """Whole dumps of 1,000 regions, one after the other, until a million calls are made; time per call."""
    contest = _contest(contests, "replay-million", dump(), MILLION, bare)
    replay(benchmark, contest, who)
    benchmark.extra_info.update(_more(contest, who))


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("who", WAYS)
@pytest.mark.parametrize("number", list(CallbackType), ids=lambda number: number.name.lower())
def test_one_type(benchmark: Any, contests: dict[str, Contest], bare: Any, number: CallbackType, who: str) -> None:
    """One callback of this type; time per call."""
    benchmark.group = f"replay-{number.value:02}-{number.name.lower()}"
    contest = _contest(contests, benchmark.group, sequence(number), COUNT, bare)
    replay(benchmark, contest, who)
    benchmark.extra_info.update(_more(contest, who))


@pytest.mark.benchmark(timer=CLOCK, group="replay-recorded")
@pytest.mark.parametrize("who", ["recorded", "plain"])
def test_recording(benchmark: Any, contests: dict[str, Contest], who: str) -> None:
    """The same calls with a recorder in front; time per call. The recorder is emptied before each round."""
    if "replay-recorded" not in contests:
        sequence = dump()
        repeat = max(1, COUNT // len(sequence))
        with md.Callback(KEEP, record=True) as recorded, md.Callback(KEEP) as plain:
            runs = {
                "recorded": partial(_run, sequence, recorded, repeat),
                "plain": partial(_run, sequence, plain, repeat),
            }
            contests["replay-recorded"] = hold(runs, baseline="plain", rounds=7)
            assert recorded.recording is not None and recorded.recording.dropped == 0
    replay(benchmark, contests["replay-recorded"], who)
