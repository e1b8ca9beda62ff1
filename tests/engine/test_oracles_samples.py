"""The wrappers round the readers, held against dumps of other writers whose acceptance is known.

Without these a wrapper that finds nothing would look like a reader that accepts everything.
"""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import file_rules
import pytest
import readers

DATA = Path(__file__).resolve().parents[1] / "data"
CRASHPAD = DATA / "own-a-crashpad.dmp"
TINY = DATA / "google-tiny-exe-with-cet-xsave.dmp"
LLDB_WRITTEN = DATA / "own-a-lldb22-stack.dmp"
BUILD_ID = "e8616121092196899071c59806eca8b75a6f156e"
ALL = list(readers.READERS)


def read(name: str, path: Path) -> readers.Reading:
    """A reader's view, or a skip where it is missing and may be."""
    try:
        return readers.READERS[name](path)
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            pytest.fail(f"{missing}, and MDC_REQUIRE_READERS is set")
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", ALL)
def test_a_sound_windows_dump_is_accepted_with_its_counts(name: str) -> None:
    reading = read(name, TINY)
    modules = None if name == "lldb" else 25
    counts = readers.Counts(threads=1, modules=modules, memory=65, memory64=0, infos=557)
    assert readers.complaints(reading, counts) == []
    assert reading.thread_count == 1
    assert reading.threads is not None
    assert reading.threads[0].tid == 1468


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_count_is_a_complaint(name: str) -> None:
    reading = read(name, TINY)
    wrong = readers.complaints(reading, readers.Counts(threads=2))
    assert len(wrong) == 1
    assert name in wrong[0]


@pytest.mark.parametrize("name", ["lldb", "minidump", "udmp-parser", "obj2yaml"])
def test_modules_have_base_path_and_build_id(name: str) -> None:
    reading = read(name, CRASHPAD)
    assert reading.modules is not None
    first = {module.path: module for module in reading.modules}["/tmp/peers/bin/target"]
    assert first.base == 0x559C9C925000
    assert first.build_id == BUILD_ID


@pytest.mark.parametrize("name", ["lldb", "minidump", "udmp-parser"])
def test_registers_and_memory_are_returned(name: str) -> None:
    sp = 0x7FFC95C7B230
    try:
        if name == "lldb":
            reading = readers.read_lldb(CRASHPAD, [(sp, 16), (1, 4)], registers=True)
        elif name == "minidump":
            reading = readers.read_minidump(CRASHPAD, [(sp, 16), (1, 4)])
        else:
            reading = readers.read_udmp(CRASHPAD)
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    assert reading.threads is not None
    thread = {item.tid: item for item in reading.threads}[368]
    assert thread.sp == sp
    assert thread.ip == 0x7F64C06F5C82
    assert thread.registers["r15"] == 0xB0F2ECD95286FA26
    if reading.contents:  # udmp-parser reads only what a MemoryInfoList lists; this dump has none
        with file_rules.DumpFile(CRASHPAD) as dump:
            expected = dump.read(sp, 16)
        assert expected is not None
        assert reading.contents[0] == expected
        assert reading.contents[1] is None


@pytest.mark.parametrize("name", ["udmp-parser", "minidump_stackwalk", "minidump_dump", "obj2yaml"])
def test_duplicate_streams_are_not_accepted(name: str) -> None:
    assert readers.complaints(read(name, LLDB_WRITTEN), readers.Counts()) != []


def test_a_missing_memory_info_list_is_not_accepted() -> None:
    assert readers.complaints(read("minidump_dump", CRASHPAD), readers.Counts()) != []


def test_a_lost_list_is_not_accepted(tmp_path: Path) -> None:
    """minidump_stackwalk ends with status 0 although it could not read the modules; its ERROR line counts."""
    data = bytearray(CRASHPAD.read_bytes())
    with file_rules.DumpFile(CRASHPAD) as dump:
        _, offset = dump.streams[file_rules.MODULE_LIST]
    struct.pack_into("<I", data, offset, 2049)
    path = tmp_path / "many.dmp"
    path.write_bytes(data)
    reading = read("minidump_stackwalk", path)
    assert [error for error in reading.errors if "exit status" not in error] != []


@pytest.mark.parametrize("name", [name for name in ALL if name != "minidump"])
def test_a_fuzzed_file_is_not_accepted(name: str) -> None:
    reading = read(name, DATA / "rust-minidump-invalid-range.dmp")
    assert readers.complaints(reading, readers.Counts(threads=1)) != []


def test_assert_accepted_fails_for_a_dump_that_is_not() -> None:
    if not readers.read_all(CRASHPAD, ["obj2yaml"]):
        pytest.skip("obj2yaml is not installed")
    with pytest.raises(AssertionError, match="not accepted"):
        readers.assert_accepted_counts(CRASHPAD, readers.Counts(threads=99), ["obj2yaml"])


def test_file_rules_find_what_other_writers_leave_out() -> None:
    assert file_rules.broken_rules(CRASHPAD) == ["stream 16 is missing"]
    assert "stream 6 is there twice" in file_rules.broken_rules(LLDB_WRITTEN)
    assert file_rules.broken_rules(TINY) == ["MemoryList is not sorted"]


def test_the_samples_are_what_their_sources_say() -> None:
    listed = dict(re.findall(r"^\| (\S+\.dmp) .* ([0-9a-f]{64}) \|$", (DATA / "SOURCES.md").read_text(), re.MULTILINE))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DATA.glob("*.dmp")}
    assert found == listed
