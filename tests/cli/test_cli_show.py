"""``show``: dumps of every platform and writer, and hostile ones."""

from __future__ import annotations

import json
import logging
import os
import struct
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidump_cffi import FormatError, InputError
from minidump_cffi.cli import dumpfile, main

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLES = sorted(DATA.glob("*.dmp"))
SOUND = [path for path in SAMPLES if "invalid" not in path.name]


def build(streams: list[tuple[int, bytes]], *, behind: bytes = b"", count: int | None = None) -> bytes:
    """A minidump of these streams; `behind` is put after them."""
    directory, bodies, at = b"", b"", 32 + 12 * len(streams)
    for kind, body in streams:
        directory += struct.pack("<III", kind, len(body), at + len(bodies))
        bodies += body
    number = len(streams) if count is None else count
    return struct.pack("<IIIIIIQ", 0x504D444D, 0xA793, number, 32, 0, 1, 0) + directory + bodies + behind


def read(tmp_path: Path, data: bytes) -> dumpfile.DumpFile:
    """What the reader makes of these bytes."""
    path = tmp_path / "made.dmp"
    path.write_bytes(data)
    return dumpfile.read_dump(path)


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_every_sample_agrees_with_another_reader(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Threads, modules, memory ranges and regions are those that the PyPI package `minidump` finds."""
    library = pytest.importorskip("minidump.minidumpfile")
    logging.disable(logging.CRITICAL)  # it logs a traceback for dumps without a PEB
    try:
        theirs = library.MinidumpFile.parse_bytes(path.read_bytes())
    finally:
        logging.disable(logging.NOTSET)
    assert main(["show", "--json", str(path)]) == 0
    out, err = capsys.readouterr()
    ours = json.loads(out)
    assert err == ""
    assert ours["problems"] == []
    if theirs.threads is not None:
        expected = [(thread.ThreadId, thread.Stack.StartOfMemoryRange) for thread in theirs.threads.threads]
        assert [(thread["id"], thread["stack"]) for thread in ours["threads"]] == expected
    if theirs.modules is not None:
        modules = [(module.baseaddress, module.size, module.name) for module in theirs.modules.modules]
        assert [(module["base"], module["size"], module["path"]) for module in ours["modules"]] == modules
    if theirs.memory_info is not None:
        infos = sorted((info.BaseAddress, info.RegionSize) for info in theirs.memory_info.infos)
        assert [(region["base"], region["size"]) for region in ours["regions"]] == infos
    stored: set[tuple[int, int]] = set()
    for part in (theirs.memory_segments, theirs.memory_segments_64):
        if part is not None:
            stored |= {(segment.start_virtual_address, segment.size) for segment in part.memory_segments}
    assert ours["memory_bytes"] == sum(size for _, size in stored)


def test_text_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The text form has the same numbers, the streams by name and the registers of the threads."""
    path = DATA / "own-a-breakpad.dmp"
    assert main(["show", str(path)]) == 0
    assert "stacks" in capsys.readouterr().out
    assert main(["show", str(path), "--all"]) == 0
    out = capsys.readouterr().out
    words = ("3 threads", "4 modules", "LinuxMaps", "System: Linux", "0x7f64c06f5c82", "[stack]", "13 streams")
    assert [word for word in words if word not in out] == []


def test_windows_regions_have_state_access_and_type(capsys: pytest.CaptureFixture[str]) -> None:
    """A MemoryInfoList of Windows is printed in words."""
    assert main(["show", "--all", str(DATA / "google-tiny-exe-with-cet-xsave.dmp")]) == 0
    out = capsys.readouterr().out
    assert "557 regions" in out
    rows = [line.split() for line in out.split("557 regions")[1].splitlines()]
    assert any(row[-3:] == ["commit", "r-x", "image"] for row in rows)
    assert any("free" in row for row in rows)


def test_our_gap_stream_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gaps known beforehand and gaps of the tail, in this order."""
    gap = struct.Struct("<QQIi")
    body = struct.pack("<IIIIQQQ", 1, 40, 24, 1, 32 + 12 + 64, 8, 0) + gap.pack(0x1000, 4096, 2, 0)
    data = build([(0x4D444301, body)], behind=struct.pack("<Q", 1) + gap.pack(0x9000, 8192, 1, 14))
    path = tmp_path / "gaps.dmp"
    path.write_bytes(data)
    assert main(["show", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["gaps"] == [
        {"address": 0x1000, "size": 4096, "reason": 2, "errno": 0},
        {"address": 0x9000, "size": 8192, "reason": 1, "errno": 14},
    ]
    assert main(["show", str(path)]) == 0
    assert "2 gaps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"MDMP", "not a minidump"),
        (b"MZ" + bytes(60), "neither a core nor a minidump"),
        (b"\x7fELF" + bytes(60), "not an ELF core"),
        (struct.pack("<IIIIIIQ", 0x504D444D, 0xA793, 0xFFFFFFFF, 32, 0, 0, 0), "4294967295 streams"),
        (struct.pack("<IIIIIIQ", 0x504D444D, 0xA793, 5, 0xFFFFFFF0, 0, 0, 0), "beyond the end"),
    ],
    ids=["empty", "cut", "windows-program", "elf", "many-streams", "directory-outside"],
)
def test_no_minidump_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    """A header or directory that cannot be right."""
    path = tmp_path / "bad.dmp"
    path.write_bytes(data)
    assert main(["show", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(path) in err
    assert words in err


def test_missing_file_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of the file and the reason."""
    assert main(["show", str(tmp_path / "none.dmp")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "none.dmp" in err and any(words in err for words in ("No such file", "not found", "cannot find"))


def test_a_damaged_stream_costs_that_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The count of the module list is wrong: the threads are shown all the same, and the status is 1."""
    thread = struct.pack("<I", 1) + struct.pack("<IIIIQQIIII", 77, 0, 0, 0, 0, 0x5000, 0, 0, 0, 0)
    path = tmp_path / "damaged.dmp"
    path.write_bytes(build([(4, struct.pack("<I", 0xFFFFFFFF)), (3, thread)]))
    assert main(["show", "--json", str(path)]) == 1
    out, err = capsys.readouterr()
    assert [entry["id"] for entry in json.loads(out)["threads"]] == [77]
    assert "ModuleList" in err and err.count("\n") == 1


def test_a_dump_that_was_cut_off_says_so(tmp_path: Path) -> None:
    """What is beyond the end does not count as stored."""
    ranges = struct.pack("<I", 2) + struct.pack("<QII", 0x1000, 16, 76) + struct.pack("<QII", 0x2000, 4096, 92)
    dump = read(tmp_path, build([(5, ranges)], behind=bytes(16 + 100 - 4)))
    assert dump.memory_bytes == 16 + 100
    assert len(dump.problems) == 1 and "truncated" in dump.problems[0]


def test_overlapping_regions_and_ranges_end_soon(tmp_path: Path) -> None:
    """Every region covers every range: a walk over both would take 10 ** 10 steps."""
    number = 100_000
    ranges = struct.pack("<I", number) + b"".join(struct.pack("<QII", at * 2, 1, 0) for at in range(number))
    info = struct.pack("<QQIIQIIII", 0, 0, 0, 0, 1 << 40, 0x1000, 4, 0x20000, 0)
    infos = struct.pack("<IIQ", 16, 48, number) + info * number
    dump = read(tmp_path, build([(5, ranges), (16, infos)]))
    assert {region.stored for region in dump.regions} == {number}


def test_one_stream_many_times_is_read_once(tmp_path: Path) -> None:
    """A directory of copies of one big stream must not multiply the work."""
    body = struct.pack("<I", 1000) + struct.pack("<QII", 0x1000, 0, 0) * 1000
    data = bytearray(build([(5, body)] + [(5, b"")] * 4000))
    entry = data[32:44]
    for number in range(1, 4001):
        data[32 + 12 * number : 44 + 12 * number] = entry
    dump = read(tmp_path, bytes(data))
    assert len(dump.streams) == 4001
    assert dump.problems == ["MemoryList: there are 4,001 streams of this kind"]
    assert Counter(stream.type for stream in dump.streams) == {5: 4001}


def test_names_cannot_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module named like an escape sequence or with a line break is printed escaped."""
    name = "/tmp/\x1b[2J\r\nrm\u202e.so".encode("utf-16-le")
    at = 32 + 12 + 4 + 108
    module = struct.pack("<QIIII52xIIII16x", 0x400000, 4096, 0, 0, at, 0, 0, 0, 0)
    path = tmp_path / "named.dmp"
    path.write_bytes(build([(4, struct.pack("<I", 1) + module)], behind=struct.pack("<I", len(name)) + name))
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\r" not in out and "\u202e" not in out
    assert "\\x1b[2J\\r\\nrm\\u202e.so" in out


def test_names_beyond_the_encoding_of_stdout_are_escaped(tmp_path: Path) -> None:
    """A terminal that knows ASCII only is no reason to fail."""
    name = "/tmp/\u00fc.so".encode("utf-16-le")
    module = struct.pack("<QIIII52xIIII16x", 0x400000, 4096, 0, 0, 32 + 12 + 4 + 108, 0, 0, 0, 0)
    path = tmp_path / "named.dmp"
    path.write_bytes(build([(4, struct.pack("<I", 1) + module)], behind=struct.pack("<I", len(name)) + name))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "minidump_cffi", "show", str(path)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"/tmp/\xfc.so" in done.stdout


def test_a_directory_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.linux
def test_standard_input_is_a_file_too() -> None:
    command = [sys.executable, "-m", "minidump_cffi", "show", "-"]
    done = subprocess.run(command, input=SOUND[0].read_bytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"-: ") and b"ThreadList" in done.stdout


@pytest.mark.linux
def test_a_pipe_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(SOUND[0].read_bytes(),))
    writer.start()
    try:
        assert main(["show", str(path)]) == 0
    finally:
        writer.join()
    from_pipe = capsys.readouterr().out.partition("\n")[2]
    assert main(["show", str(SOUND[0])]) == 0
    assert capsys.readouterr().out.partition("\n")[2] == from_pipe


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_dumps_never_break_the_reader(tmp_path: Path, data: st.DataObject) -> None:
    """Any damage gives a DumpFile or a FormatError, or an InputError where it begins as a compressed file does."""
    whole = data.draw(st.sampled_from(SAMPLES)).read_bytes()
    mutated = bytearray(whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])
    words = st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\x10\0\0\0"])
    for _ in range(data.draw(st.integers(0, 4))):
        if len(mutated) >= 4:
            at = data.draw(st.integers(0, min(len(mutated), 4096) - 4))
            mutated[at : at + 4] = data.draw(words | st.binary(min_size=4, max_size=4))
    path = tmp_path / "mutated.dmp"
    path.write_bytes(mutated)
    try:
        dump = dumpfile.read_dump(path)
    except (FormatError, InputError) as error:
        assert str(path) in str(error)
    else:
        assert dump.memory_bytes <= max(1, len(mutated)) * max(1, dump.memory_ranges)
