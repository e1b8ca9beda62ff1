"""What only mapped files hold is read when the target runs again, and the dump is the same.

Where that could not be proved, or a callback is to see what is read, it is read while the target is stopped.

That a file which changes meanwhile becomes a gap, and that the target goes on meanwhile, is tested in
tests/native/test_linux_late.c and test_engine_late.c, which can do something between the two.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

FULL = md.DumpType.WITH_FULL_MEMORY
PAGE = 4096
PAGES = 256
ZEROS = range(64, 96)
OWN = 7
SECRET = b"sk_live_0123456789abcdef"
SECRET_AT = 40 * PAGE + 4090  # across two pages
KINDS = {"ext2/ext3", "xfs", "btrfs", "f2fs"}
VOLATILE = {
    0x3,  # ThreadListStream: contexts are compared, kernel times are elsewhere
    0xF,  # MiscInfoStream: processor times
    0x47670004,  # LinuxProcStatus: context switches
}
MAPPER = """
import ctypes, json, mmap, os, sys
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
base = ctypes.addressof(ctypes.c_char.from_buffer(view))
view[7 * 4096] = 0xAB
print(json.dumps({"base": base}), flush=True)
for line in sys.stdin:
    print("pong 0", flush=True)
"""


def content() -> bytes:
    """What is in the file."""
    pages = [bytes(PAGE) if page in ZEROS else bytes([page % 250 + 1]) * PAGE for page in range(PAGES)]
    whole = bytearray(b"".join(pages))
    whole[SECRET_AT : SECRET_AT + len(SECRET)] = SECRET
    return bytes(whole)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has not changed for some seconds."""
    folder = tmp_path_factory.mktemp("late")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    if kind not in KINDS:
        pytest.skip(f"files of {kind} are not read late")
    path = folder / "mapped"
    path.write_bytes(content())
    changed = path.stat().st_ctime
    live.wait_until(lambda: time.time() > changed + 4, "the clock does not go on")
    return path


@pytest.fixture
def target(mapped: Path) -> Iterator[live.Target]:
    """A process with the file mapped, one page of which it has changed."""
    with live.Target([sys.executable, "-c", MAPPER, str(mapped)]) as started:
        yield started


def assert_content(target: live.Target, path: Path) -> None:
    expected = bytearray(content())
    expected[OWN * PAGE] = 0xAB
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(target.info["base"], len(expected)) == expected


def region_of(target: live.Target, report: md.DumpReport) -> md.RegionReport:
    (region,) = [region for region in report.regions if region.base == target.info["base"]]
    return region


def late_of(target: live.Target, report: md.DumpReport) -> int:
    """Bytes of the file's mapping that were read late."""
    base = target.info["base"]
    return sum(
        extent.size
        for extent in report.extents
        if extent.flags & md.report.ExtentFlags.LATE and base <= extent.address < base + PAGES * PAGE
    )


@pytest.mark.parametrize("stop", ["whole", "memory"])
def test_the_dump_is_the_same(stop: Literal["whole", "memory"], target: live.Target, tmp_path: Path) -> None:
    os.kill(target.pid, signal.SIGSTOP)
    live.wait_until(lambda: set(live.task_states(target.pid).values()) == {"T"}, "it does not stop")
    late, plain = tmp_path / "late.dmp", tmp_path / "plain.dmp"
    reports = [
        md.write_dump(target.pid, late, FULL, stop=stop),
        md.write_dump(target.pid, plain, FULL, filter=md.Filter(read_failure="abort")),
    ]
    os.kill(target.pid, signal.SIGCONT)
    assert late_of(target, reports[0]) == (PAGES - OWN - 1) * PAGE
    assert reports[0].late_bytes >= late_of(target, reports[0]) and reports[1].late_bytes == 0
    assert_content(target, late)
    live.assert_accepted(late, reports[0])
    for name in (
        "complete",
        "memory_bytes",
        "stored_bytes",
        "zero_bytes",
        "file_bytes",
        "gaps",
        "regions",
    ):
        assert getattr(reports[0], name) == getattr(reports[1], name), name
    assert region_of(target, reports[0]).zeros == len(ZEROS) * PAGE
    with file_rules.DumpFile(late) as left, file_rules.DumpFile(plain) as right:
        kinds = set(left.streams)
        assert kinds == set(right.streams)
        for kind in sorted(kinds - VOLATILE):
            assert left.stream(kind) == right.stream(kind), hex(kind)
        assert left.memory64() == right.memory64()
        for part in left.memory64():
            assert left.read(part.address, part.size) == right.read(part.address, part.size), hex(part.address)
    assert late.stat().st_blocks <= plain.stat().st_blocks + 64, "zeros have no room in the file"
    target.assert_runs_on()


def to_a_pipe(target: live.Target, path: Path) -> md.DumpReport:
    reader, writer = os.pipe()
    taken: list[bytes] = []

    def take() -> None:
        with open(reader, "rb") as source:
            taken.append(source.read())

    thread = threading.Thread(target=take)
    thread.start()
    try:
        report = md.write_dump(target.pid, writer, FULL)
    finally:
        os.close(writer)
        thread.join()
    path.write_bytes(taken[0])
    return report


def recorded(target: live.Target, path: Path) -> md.DumpReport:
    return md.write_dump(target.pid, path, FULL, record=True)


def to_a_routine(target: live.Target, path: Path) -> md.DumpReport:
    with md.Callback(md.Filter()) as callback:
        return md.write_dump(
            target.pid, path, FULL, callback=md.protocol.Routine(routine=callback.routine, param=callback.param)
        )


def strictly(target: live.Target, path: Path) -> md.DumpReport:
    return md.write_dump(target.pid, path, FULL, filter=md.Filter(read_failure="abort"))


@pytest.mark.parametrize("way", [to_a_pipe, recorded, to_a_routine, strictly], ids=lambda way: way.__name__)
def test_read_under_the_stop(way: Any, target: live.Target, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    report = way(target, path)
    assert report.complete and report.late_bytes == 0
    assert_content(target, path)


def test_of_a_file_that_is_open_for_writing(target: live.Target, mapped: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    with mapped.open("r+b"):
        report = md.write_dump(target.pid, path, FULL)
    assert report.complete and late_of(target, report) == 0
    assert_content(target, path)


def test_through_a_spool(target: live.Target, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    output = io.BytesIO()
    report = md.write_dump(target.pid, output, FULL)
    path.write_bytes(output.getvalue())
    assert late_of(target, report) > 0
    assert_content(target, path)


def test_redaction(target: live.Target, tmp_path: Path) -> None:
    """A callback that edits what is read sees it in the order of memory, with what is around it."""
    path = tmp_path / "app.dmp"
    assert md.write_dump(target.pid, path, FULL).late_bytes > 0
    assert live.file_holds(path, SECRET) != [-1]
    report = md.write_dump(target.pid, path, FULL, filter=md.Filter(redact=md.Redact(patterns=[SECRET])))
    assert report.late_bytes == 0 and report.redaction is not None and report.redaction.hits > 0
    assert live.file_holds(path, SECRET) == [-1]


def test_what_a_rule_leaves_out(target: live.Target, mapped: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    base = target.info["base"]
    rules = md.Filter(md.exclude(name=str(mapped)), md.include(range=(base + 100 * PAGE, base + 140 * PAGE)))
    report = md.write_dump(target.pid, path, FULL, filter=rules)
    assert late_of(target, report) == 40 * PAGE
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(base + 100 * PAGE, 40 * PAGE) == content()[100 * PAGE : 140 * PAGE]
        assert not dump.holds(base + 99 * PAGE) and not dump.holds(base + 140 * PAGE)


def test_a_plan_and_a_normal_dump(target: live.Target, tmp_path: Path) -> None:
    plan, report = md.plan_dump(target.pid, FULL), md.write_dump(target.pid, tmp_path / "full.dmp", FULL)
    assert late_of(target, plan) == late_of(target, report) > 0 and plan.late_bytes == report.late_bytes
    assert md.write_dump(target.pid, tmp_path / "app.dmp").late_bytes == 0


def test_the_target_does_not_grow(target: live.Target, tmp_path: Path) -> None:
    target.ping()
    before = live.status_field(target.pid, "RssFile")
    report = md.write_dump(target.pid, tmp_path / "app.dmp", FULL)
    target.ping()
    assert late_of(target, report) > 0 and live.status_field(target.pid, "RssFile") == before
