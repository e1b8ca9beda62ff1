"""Microsoft's own dbghelp drives the trampoline: .ci/windows runs this with each version that it has fetched.

``MDC_DBGHELP`` names the version that is in the system's folder of the Wine prefix. What Wine itself lacks (a way for
new versions to stop threads, snapshots, handles of other processes) is not asserted.
"""

from __future__ import annotations

import collections
import ctypes
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crashpad
import fake
import file_rules
import pytest

import minidump_cffi as md

if sys.platform != "win32":
    pytest.skip("needs Microsoft's dbghelp; .ci/windows runs it", allow_module_level=True)

from windows_child import FULL, NEW, PAGE, PAGES, SYSTEM, VERSION, C, Child, file_version, kept, take


@pytest.fixture
def fresh() -> Iterator[Child]:
    """A process whose memory the test may take away."""
    made = Child()
    yield made
    made.end()


def test_it_is_the_version_that_was_fetched() -> None:
    assert file_version().rpartition(".")[0] == VERSION


@pytest.mark.parametrize("bit", range(26))
def test_every_bit_of_the_type(child: Child, bit: int, tmp_path: Path) -> None:
    """Bits that a version does not know are an error that names it."""
    path = tmp_path / "x.dmp"
    kind = md.DumpType(1 << bit)
    if bit > (24 if NEW else 20):
        with pytest.raises(ValueError, match=rf"its version, {re.escape(VERSION)}[.].*, does not support.*0x80070057"):
            take(child, path, kind)
        assert fake.names(tmp_path) == []
        return
    report = take(child, path, kind)
    assert report.complete and report.modules and report.threads
    with file_rules.DumpFile(path) as dump:
        assert dump.flags & kind and {thread.tid for thread in dump.threads()} == {item.tid for item in report.threads}


def test_many_dumps_in_a_row(child: Child, tmp_path: Path) -> None:
    count = ctypes.c_ulong()
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetProcessHandleCount.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    handles = []
    for _ in range(100):
        assert take(child, tmp_path / "x.dmp").complete
        kernel.GetProcessHandleCount(-1, ctypes.byref(count))
        handles.append(count.value)
    assert handles[-1] <= handles[10] + 2


def test_holes_are_holes(child: Child, tmp_path: Path) -> None:
    """It asks again about the rest of a region: every kept part is a range of its own, and nothing is filled."""
    path = tmp_path / "x.dmp"
    rules = child.rules(*((page, page + 1) for page in range(1, PAGES, 2)))
    report = take(child, path, FULL, filter=rules)
    assert report.complete and not report.warnings & md.report.DumpWarning.FILLED
    assert report.rules is not None and report.callbacks[C.INCLUDE_VM_REGION] > PAGES
    with file_rules.DumpFile(path) as dump:
        ranges = [item for item in dump.memory64() if child.area <= item.address < child.page(PAGES)]
        assert [(item.address, item.size) for item in ranges] == [(child.page(n), PAGE) for n in range(0, PAGES, 2)]
    assert kept(path, child) == list(range(0, PAGES, 2))
    assert b"SECRET-0001" not in path.read_bytes() and b"SECRET-0002" in path.read_bytes()
    region = next(item for item in report.regions if item.base == child.area)
    assert region.flags & md.report.RegionFlags.NARROWED and region.stored == PAGES // 2 * PAGE


@pytest.mark.parametrize("pages", [(0, PAGES), (0, 7), (9, PAGES), (5, 6)], ids=str)
def test_memory_is_excluded(child: Child, pages: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    report = take(child, path, FULL, filter=child.rules(pages))
    assert report.complete and kept(path, child) == [n for n in range(PAGES) if not pages[0] <= n < pages[1]]


def test_memory_is_added_and_removed(child: Child, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    added = [(child.page(1), child.page(4)), (child.page(9), child.page(10))]
    rules = md.Filter(memory={"add": added, "remove": [(child.page(2), child.page(3))]})
    report = take(child, path, filter=rules, strict=True)
    assert report.callbacks[C.MEMORY] and report.callbacks[C.REMOVE_MEMORY]
    assert kept(path, child) == [1, 3, 9]


@pytest.mark.parametrize(
    ("base", "size"), [(1, PAGE), (0, PAGE + 1), (-PAGE, 2 * PAGE), (PAGE, PAGES * PAGE), (PAGES * PAGE, PAGE)], ids=str
)
def test_an_answer_that_is_no_part_of_the_region(child: Child, base: int, size: int, tmp_path: Path) -> None:
    """It would write this region and all others in full, and succeed."""

    def region(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.continue_ = True
        if answer.vm_region.base_address == child.area:
            answer.vm_region.base_address += base
            answer.vm_region.region_size = size
        return True

    with pytest.raises(md.DumpError, match="not a page-aligned part of it") as caught:
        take(child, tmp_path / "x.dmp", FULL, callback=md.protocol.PythonCallback({C.INCLUDE_VM_REGION: region}))
    assert caught.value.address == child.area and fake.names(tmp_path) == []


@pytest.mark.parametrize("kind", [C.MODULE, C.THREAD])
def test_false_about_an_item_leaves_it_out(child: Child, kind: md.protocol.CallbackType, tmp_path: Path) -> None:
    """It alone would fail the dump with E_ABORT."""
    seen: list[int] = []

    def item(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        seen.append(question.module.base_of_image if kind == C.MODULE else question.thread.thread_id)
        return len(seen) != 2

    path = tmp_path / "x.dmp"
    take(child, path, callback=md.protocol.PythonCallback({kind: item}))
    with file_rules.DumpFile(path) as dump:
        found = {base for base, *_ in dump.modules()} if kind == C.MODULE else {item.tid for item in dump.threads()}
    assert len(seen) > 2 and found == set(seen) - {seen[1]}


def test_threads_and_modules_are_excluded(child: Child, tmp_path: Path) -> None:
    every = take(child, tmp_path / "x.dmp")
    out = every.threads[-1].tid
    path = tmp_path / "y.dmp"
    rules = md.Filter(threads={"exclude": [out]}, modules={"exclude": ["*/ntdll.dll"]})
    take(child, path, filter=rules)
    with file_rules.DumpFile(path) as dump:
        assert {thread.tid for thread in dump.threads()} == {thread.tid for thread in every.threads} - {out}
        assert not any(name.lower().endswith("ntdll.dll") for _, _, name, _ in dump.modules())


def lost(report: md.DumpReport, child: Child) -> set[int]:
    """The pages of the area that the report has as gaps."""
    inside = [gap for gap in report.gaps if child.area <= gap.address < child.page(PAGES)]
    ends = [((gap.address - child.area) // PAGE, (gap.address + gap.size - child.area) // PAGE) for gap in inside]
    return {page for low, high in ends for page in range(low, high)}


def test_a_page_that_cannot_be_read(child: Child, tmp_path: Path) -> None:
    """It leaves out the whole region and says nothing; the report has it as a gap."""

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1
        return True

    def read(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        first, size = question.vm_pre_read.offset, question.vm_pre_read.size
        fails = first < child.page(8) and child.page(7) < first + size
        answer.vm_read_status = 0x8007012B if fails else 0x80004001
        answer.vm_read_bytes_completed = 0
        return True

    path = tmp_path / "x.dmp"
    callback = md.protocol.PythonCallback({C.VM_START: start, C.VM_PRE_READ: read})
    report = take(child, path, FULL | md.DumpType.IGNORE_INACCESSIBLE_MEMORY, callback=callback)
    assert not report.complete and 7 in lost(report, child)
    assert sorted(lost(report, child) | set(kept(path, child))) == list(range(PAGES))


@pytest.mark.parametrize("read_failure", ["skip", "abort"])
def test_memory_that_is_gone(fresh: Child, read_failure: Any, tmp_path: Path) -> None:
    """Between the layout and the write: it sends no ReadMemoryFailure in a full dump."""
    path = tmp_path / "x.dmp"
    regions = take(fresh, "NUL", FULL).callbacks[C.INCLUDE_VM_REGION] // 2

    def cancel(question: Any, answer: Any) -> bool:
        answer.Cancel.CheckCancel = True
        if callback.counters.calls[C.INCLUDE_VM_REGION] > regions and not gone:
            gone.append(1)
            fresh.release()
        return True

    gone: list[int] = []
    with md.Callback(md.Filter(read_failure=read_failure), hooks={C.CANCEL: cancel}) as callback:
        if read_failure == "abort":
            with pytest.raises(md.ReadError) as caught:
                take(fresh, path, FULL, callback=callback)
            assert gone and caught.value.address == fresh.area and fake.names(tmp_path) == []
            return
        report = take(fresh, path, FULL, callback=callback)
    assert gone and not report.complete
    assert lost(report, fresh) == set(range(PAGES)) and kept(path, fresh) == []


@pytest.mark.parametrize("type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_every_call_is_recorded(child: Child, type: md.DumpType) -> None:
    report = take(child, "NUL", type, record=True, filter=md.Filter())
    assert report.recording is not None
    assert collections.Counter(call.type for call in report.recording) == report.callbacks
    assert report.callbacks[C.IO_START] == 1


def test_patterns(child: Child, tmp_path: Path) -> None:
    """The file is clean, and no message says that it might not be."""
    path = tmp_path / "x.dmp"
    report = take(child, path, FULL, filter=md.Filter(redact=md.Redact(patterns=["SECRET-"])))
    assert report.redaction is not None and report.redaction.hits >= PAGES
    assert not any("borders" in message for message in report.messages)
    assert b"SECRET-" not in path.read_bytes() and b"PAGE0001" in path.read_bytes()


def test_a_failing_write_says_why(child: Child, tmp_path: Path) -> None:
    """New versions say 1 of every failure."""

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1
        return True

    def write(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 0x80070070 - (1 << 32)
        return True

    callback = md.protocol.PythonCallback({C.IO_START: start, C.IO_WRITE_ALL: write})
    with pytest.raises(md.DumpError) as caught:
        take(child, None, callback=callback)  # type: ignore[arg-type]
    assert caught.value.hresult == 0x80070070 and caught.value.winerror == 112


def test_own_io(child: Child) -> None:
    data = bytearray()

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1
        return True

    def write(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        part, at = bytes(question.io.data), question.io.offset
        data.extend(bytes(max(0, at + len(part) - len(data))))
        data[at : at + len(part)] = part
        answer.status = 0
        return True

    def finish(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 0
        return True

    callback = md.protocol.PythonCallback({C.IO_START: start, C.IO_WRITE_ALL: write, C.IO_FINISH: finish})
    report = take(child, None, callback=callback)  # type: ignore[arg-type]
    assert data.startswith(b"MDMP") and report.callbacks[C.IO_FINISH] == 1


@pytest.mark.parametrize("after", [1, 5, 30])
def test_cancel(child: Child, after: int, tmp_path: Path) -> None:
    asked: list[int] = []

    def cancel(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        asked.append(1)
        answer.check_cancel = True
        answer.cancel = len(asked) > after
        return True

    with pytest.raises(md.Cancelled) as caught:
        take(child, tmp_path / "x.dmp", FULL, callback=md.protocol.PythonCallback({C.CANCEL: cancel}))
    assert len(asked) == after + 1 and caught.value.hresult == 0x800704C7 and fake.names(tmp_path) == []


def test_deadline(child: Child, tmp_path: Path) -> None:
    asked: list[int] = []

    def slow(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        asked.append(1)
        if len(asked) == 1:
            time.sleep(2.5)
        return True

    with pytest.raises(md.DeadlineExceeded) as caught:
        take(child, tmp_path / "x.dmp", FULL, callback=md.protocol.PythonCallback({C.MODULE: slow}), deadline=2)
    assert caught.value.hresult == 0x800704C7 and fake.names(tmp_path) == []


def test_an_exception_in_a_hook(child: Child, tmp_path: Path) -> None:
    def module(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        take(child, tmp_path / "x.dmp", callback=md.protocol.PythonCallback({C.MODULE: module}))
    assert fake.names(tmp_path) == []


def test_user_streams(child: Child, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    said = {"version": "1.2", "\u00fc": "\U0001f389"}
    take(child, path, user_streams=[md.UserStream(type=0x10001, data=b"build 42")], annotations=said, comment="\u00fc")
    with file_rules.DumpFile(path) as dump:
        assert dump.stream(0x10001) == b"build 42"
    assert crashpad.simple_annotations(path) == said and crashpad.comments(path) == (None, "\u00fc")


def test_annotations_need_an_output_of_ours(child: Child) -> None:
    """Their offsets are those of the file: a callback that takes it has the bytes before they are known."""

    def start(question: md.protocol.Input, answer: md.protocol.Output) -> bool:
        answer.status = 1
        return True

    callback = md.protocol.PythonCallback(
        {C.IO_START: start, C.IO_WRITE_ALL: lambda *_: True, C.IO_FINISH: lambda *_: True}
    )
    with pytest.raises(ValueError, match="annotations are not possible"):
        take(child, None, callback=callback, annotations={"a": "b"})  # type: ignore[arg-type]


def test_threads_that_were_not_stopped_are_said(child: Child, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    report = take(child, path)
    with file_rules.DumpFile(path) as dump:
        list_at = dump.streams[file_rules.THREAD_LIST][1]
        ran = any(dump.data[list_at + 4 + 48 * n + 4 :][:4] == b"\xff" * 4 for n in range(len(dump.threads())))
    assert bool(report.warnings & md.report.DumpWarning.NOT_STOPPED) is ran


def test_the_dll_of_an_sdk(child: Child, tmp_path: Path) -> None:
    """By its path, with the dbgcore.dll that it forwards to beside it."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    for name in ("dbghelp.dll", "dbgcore.dll") if NEW else ("dbghelp.dll",):
        shutil.copy(SYSTEM / name, folder / name)
    report = take(child, tmp_path / "x.dmp", engine=md.DbgHelp(path=folder / "dbghelp.dll"))
    assert report.complete and report.modules
