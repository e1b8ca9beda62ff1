"""`DumpReport`: what it says, and that it can be kept, sent and printed."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import pickle
import platform
import sys
import time
from pathlib import Path
from typing import Any

import fake
import file_rules
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()


@pytest.fixture(scope="module")
def report() -> md.DumpReport:
    keep = md.Filter(
        md.exclude(type="mapped", label="maps"),
        md.head("8 KiB", kind="heap", label="heap"),
        md.exclude_ranges([(0x80_0000, 0x80_1000), (0x80_2000, 0x80_3000)], label="holes"),
        threads={"exclude": [101]},
        streams={"exclude": ["environ", "cmdline"]},
    )
    return fake.write(TARGET, "/dev/null", FULL, filter=keep)


def test_regions(report: md.DumpReport) -> None:
    assert [(region.base, region.size, region.kept, region.verdict) for region in report.regions] == [
        (0x40_0000, 4 * fake.PAGE, 4 * fake.PAGE, "kept"),
        (0x50_0000, 64 * fake.PAGE, 2 * fake.PAGE, "partly"),
        (0x70_0000, 16 * fake.PAGE, 0, "excluded"),
        (0x80_0000, 8 * fake.PAGE, 6 * fake.PAGE, "partly"),
        (0x90_0000, 8 * fake.PAGE, 8 * fake.PAGE, "kept"),
    ]
    heap = report.regions[1]
    assert (heap.name, heap.path, heap.end) == (b"[heap]", "[heap]", 0x54_0000)
    assert heap.type is md.filters.MemoryType.PRIVATE and md.filters.Kind.HEAP in heap.kinds
    assert md.report.RegionFlags.NARROWED in heap.flags
    assert md.report.RegionFlags.EXCLUDED in report.regions[2].flags
    assert sum(region.kept for region in report.regions) == report.memory_bytes


def test_rules(report: md.DumpReport) -> None:
    assert [(rule.index, rule.action, rule.label, rule.kept, rule.excluded) for rule in report.rules] == [
        (0, "exclude", "maps", 0, 16 * fake.PAGE),
        (1, "head", "heap", 2 * fake.PAGE, 62 * fake.PAGE),
        (2, "exclude", "holes", 0, 2 * fake.PAGE),
        (None, "include", None, 18 * fake.PAGE, 0),
    ]


def test_threads_modules_streams(report: md.DumpReport) -> None:
    assert [(thread.tid, thread.flags) for thread in report.threads] == [
        (100, md.report.ThreadFlags(0)),
        (101, md.report.ThreadFlags.EXCLUDED | md.report.ThreadFlags.NO_STACK),
    ]
    assert report.threads[0].stack_base <= 0x90_6000 < report.threads[0].stack_base + report.threads[0].stack_size
    assert [(module.path, module.included) for module in report.modules] == [(b"/bin/app", True)]
    assert md.filters.Stream.ENVIRON | md.filters.Stream.CMDLINE in report.omitted_streams
    assert report.callbacks[md.protocol.CallbackType.INCLUDE_THREAD] == 2
    assert report.callbacks[md.protocol.CallbackType.THREAD] == 1
    assert md.protocol.CallbackType.IO_FINISH not in report.callbacks


def test_extents_lie_in_the_file(report: md.DumpReport) -> None:
    assert report.extents
    for extent in report.extents:
        region = report.regions[extent.region]
        assert region.base <= extent.address and extent.address + extent.size <= region.end
        assert extent.file_offset + extent.size <= report.file_bytes
    assert sum(extent.size for extent in report.extents) == report.memory_bytes


def test_it_is_immutable_and_picklable(report: md.DumpReport) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        report.pid = 5
    with pytest.raises(AttributeError, match="immutable"):
        del report.pid
    again = pickle.loads(pickle.dumps(report))
    assert again == report and hash(again) == hash(report) and again.regions == report.regions
    assert again != fake.plan(TARGET, FULL) and report != "x"


def test_json(report: md.DumpReport) -> None:
    again = json.loads(json.dumps(report.to_dict()))
    assert again["type"] == ["with_full_memory"]
    assert again["complete"] is True and again["planned"] is False
    assert again["regions"][1]["kinds"] == ["anonymous", "heap"]
    assert again["regions"][1]["verdict"] == "partly"
    first = {"index": 0, "action": "exclude", "label": "maps", "kept": 0, "excluded": 65536, "over_budget": 0}
    assert again["rules"][0] == first
    assert again["omitted_streams"] == ["cmdline", "environ"] or "environ" in again["omitted_streams"]
    assert again["callbacks"]["include_vm_region"] == report.callbacks[md.protocol.CallbackType.INCLUDE_VM_REGION]


def test_gaps() -> None:
    target = fake.Target(
        regions=(
            fake.Region(base=0x10_0000, size=8 * fake.PAGE, unreadable=(0x10_2000, 0x10_3000)),
            fake.Region(base=0x20_0000, size=4 * fake.PAGE, name=b"/odd\xff", valid_size=2 * fake.PAGE,
                        type=md.filters.MemoryType.MAPPED, kinds=md.filters.Kind.FILE),
        )
    )  # fmt: skip
    report = fake.write(target, "/dev/null", FULL)
    assert not report.complete
    assert len(report.gaps) == 2
    assert "1 gaps" in repr(report), "what lies beyond the end of a file is no loss"
    numbers = [gap.winerror if sys.platform == "win32" else gap.errno for gap in report.gaps]
    assert [(gap.address, gap.size, gap.reason, number) for gap, number in zip(report.gaps, numbers, strict=True)] == [
        (0x10_2000, fake.PAGE, md.report.GapReason.READ_FAILED, 299 if sys.platform == "win32" else errno.EIO),
        (0x20_2000, 2 * fake.PAGE, md.report.GapReason.BEYOND_EOF, None),
    ]
    data = report.to_dict()
    assert data["gaps"][0]["reason"] == "read_failed"
    assert data["regions"][1]["name"] == "/odd\\xff"
    assert report.regions[1].path == "/odd\udcff"
    behind = fake.write(fake.Target(regions=target.regions[1:]), "/dev/null", FULL)
    assert behind.complete and len(behind.gaps) == 1


def test_where_and_when_a_dump_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = time.time()
    report = fake.write(TARGET, "a.dmp", FULL)
    assert before - 0.1 <= report.started <= time.time()
    assert report.path == str(tmp_path / "a.dmp") and report.host.lower() == platform.node().lower()
    data = json.loads(report.to_json(indent=2))
    assert data == json.loads(report.to_json()) == json.loads(json.dumps(report.to_dict()))
    assert (data["schema"], data["path"], data["host"]) == (1, report.path, report.host)
    assert report.to_json().isascii() and "\n" not in report.to_json()
    assert pickle.loads(pickle.dumps(report)) == report
    assert (data["annotations"], data["comment"]) == ({}, None)
    assert fake.write(TARGET, io.BytesIO(), FULL).path is None
    assert fake.plan(TARGET, FULL).path is None


def test_what_the_caller_said_is_in_the_report(tmp_path: Path) -> None:
    """Beside the dump, as JSON, it says what the dump is without being opened."""
    report = fake.write(TARGET, tmp_path / "a.dmp", annotations={"version": "1.2"}, comment="by hand")
    data = json.loads(report.to_json())
    assert (data["annotations"], data["comment"]) == ({"version": "1.2"}, "by hand")
    assert pickle.loads(pickle.dumps(report)).annotations == report.annotations == {"version": "1.2"}


def test_a_plan_is_what_the_dump_becomes() -> None:
    keep = md.Filter(md.exclude(type="mapped"))
    plan = fake.plan(TARGET, FULL, filter=keep)
    report = fake.write(TARGET, "/dev/null", FULL, filter=keep)
    assert isinstance(plan, md.DumpPlan) and plan.planned and not report.planned
    assert plan.regions == report.regions and plan.rules == report.rules
    assert plan.memory_bytes == report.memory_bytes


def test_threads_without_registers() -> None:
    lost = fake.Thread(tid=102, flags=md.report.ThreadFlags.NO_REGISTERS)
    report = fake.write(fake.small(threads=(*TARGET.threads, lost)), "/dev/null")
    assert report.threads_without_registers == (102,)


STUCK = fake.Thread(tid=102, flags=md.report.ThreadFlags.NO_REGISTERS)
SEEN_STUCK = dataclasses.replace(STUCK, stack_pointer=TARGET.threads[0].stack_pointer + 0x400)
REGISTERS, STACK = md.report.DumpWarning.NO_THREAD_REGISTERS, md.report.DumpWarning.NO_THREAD_STACK


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
@pytest.mark.parametrize(
    ("thread", "rules", "missing"),
    [
        (STUCK, {}, REGISTERS | STACK),
        (SEEN_STUCK, {}, REGISTERS),
        (STUCK, {"threads": {"exclude": [102]}}, 0),
        (SEEN_STUCK, {"threads": [md.thread(102, md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.STACK)]}, 0),
        (
            STUCK,
            {"threads": [md.thread(102, md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.CONTEXT)]},
            REGISTERS,
        ),
    ],
    ids=["nothing is known", "its stack is known", "left out", "no registers asked for", "no stack asked for"],
)
def test_a_thread_that_did_not_stop(
    thread: fake.Thread, rules: dict[str, Any], missing: int, dump_type: md.DumpType, tmp_path: Path
) -> None:
    target, keep = fake.small(threads=(*TARGET.threads, thread)), md.Filter(**rules)
    report = fake.write(target, tmp_path / "d.dmp", dump_type, filter=keep)
    for told in (report, fake.plan(target, dump_type, filter=keep)):
        assert told.warnings & (REGISTERS | STACK) == missing
        assert told.complete == (not missing) == told.to_dict()["complete"]
        assert len(told.messages) == missing.bit_count()
    assert not report.gaps
    assert ("without registers" in repr(report)) == (not isinstance(rules.get("threads"), dict))
    [stuck] = [one for one in report.threads if one.tid == 102]
    assert (stuck.stack_size > 0) == bool(thread.stack_pointer)
    assert file_rules.broken_rules(tmp_path / "d.dmp") == []


def test_messages() -> None:
    many = tuple(fake.Thread(tid=at) for at in range(1, 4200))
    report = fake.write(fake.small(threads=many), "/dev/null")
    assert md.report.DumpWarning.MANY_THREADS in report.warnings
    assert any("4,096 threads" in message for message in report.messages)
    assert set(report.to_dict()["warnings"]) >= {"many_threads"}
