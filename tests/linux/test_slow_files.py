"""Targets with files of a file system that stops answering: nothing of a dump waits for it.

Each dump is made by a process of its own, which is killed if it hangs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
from silent_files import MAPPER, MNT_DETACH, PATIENCE, Silent, running

import minidump_cffi as md

pytestmark = pytest.mark.linux

PAGES = 64
NOTE_PAGE = 40
HOLDER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.close(os.dup(fd))  # its flush is answered, so that the last close asks for none
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Silent]]:
    """Mounts a file system that serves a file, and unmounts it with the test."""
    with contextlib.ExitStack() as stack:

        def mounted(source: Path) -> Silent:
            folder = tmp_path / f"silent {source.name}"
            folder.mkdir()
            silent = Silent(folder, source)
            stack.callback(silent.close)
            return silent

        yield mounted


def dump(pid: int, path: Path, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit status, report and messages of the command line."""
    command = [sys.executable, "-m", "minidump_cffi", "dump", str(pid), "-o", str(path), "--json", *map(str, words)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert time.monotonic() - began < PATIENCE
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def elf_file(path: Path) -> Path:
    """An image whose header is on its first page and whose notes are on one that the target does not touch."""
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<2HI3QI6H", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)

    def segment(kind: int, flags: int, offset: int, size: int) -> bytes:
        numbers = (offset, offset, offset, size, size, live.PAGE)
        return struct.pack("<2I6Q", kind, flags, *numbers)

    size = PAGES * live.PAGE
    image = bytearray(live.pattern(0, size, 3))
    table = segment(1, 5, 0, size) + segment(4, 4, NOTE_PAGE * live.PAGE, 64)
    image[: len(header) + len(table)] = header + table
    path.write_bytes(image)
    return path


def region_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(region for region in report["regions"] if region["name"] == name)


@pytest.mark.parametrize("kind", ["normal", "full"])
def test_a_mapping_of_a_server_that_does_not_answer(kind: str, serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    silent = serve(elf_file(tmp_path / "file"))
    with running(sys.executable, "-c", MAPPER, silent.image) as target:
        silent.silence()
        status, report, said = dump(target.pid, tmp_path / "x.dmp", "--type", kind)
        region = region_of(report, str(silent.image))
        assert "slow_file" in region["flags"]
        assert str(silent.image) in [module["path"] for module in report["modules"]]
        if kind == "normal":
            assert (status, report["gaps"], report["complete"]) == (0, [], True)
            return
        assert status == 3
        assert not report["complete"]
        assert report["warnings"] == ["slow_files"]
        assert str(silent.image) in report["messages"][0]
        assert str(silent.image) in said
        assert {gap["reason"] for gap in report["gaps"]} == {"unknown"}
        missing = {gap["address"] + at for gap in report["gaps"] for at in range(0, gap["size"], live.PAGE)}
        present = {region["base"] + page * live.PAGE for page in (0, 7, 8)}
        assert missing == {region["base"] + page * live.PAGE for page in range(PAGES)} - present
        with file_rules.DumpFile(tmp_path / "x.dmp") as file:
            assert (
                file.read(region["base"] + 7 * live.PAGE, 2 * live.PAGE)
                == (tmp_path / "file").read_bytes()[7 * live.PAGE : 9 * live.PAGE]
            )


def test_an_excluded_mapping_of_such_a_server_is_no_gap(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    silent = serve(elf_file(tmp_path / "file"))
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "exclude"\nname = "*/image"\n')
    with running(sys.executable, "-c", MAPPER, silent.image) as target:
        silent.silence()
        status, report, _ = dump(target.pid, tmp_path / "x.dmp", "--type", "full", "--filter", rules)
        assert (status, report["gaps"], report["warnings"]) == (0, [], [])


def test_the_error_names_the_mapping(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    silent = serve(elf_file(tmp_path / "file"))
    rules = tmp_path / "rules.toml"
    rules.write_text('read_failure = "abort"\n')
    with running(sys.executable, "-c", MAPPER, silent.image) as target:
        silent.silence()
        status, _, said = dump(target.pid, tmp_path / "x.dmp", "--type", "full", "--filter", rules)
        assert status == 1
        assert str(silent.image) in said
        assert not (tmp_path / "x.dmp").exists()


@pytest.mark.parametrize("kind", ["normal", "full"])
def test_a_program_that_was_started_from_it(
    kind: str, pattern_program: Path, serve: Callable[[Path], Silent], tmp_path: Path
) -> None:
    """As the programs of an AppImage are: executable, code and data are the file system's."""
    silent = serve(pattern_program)
    (tmp_path / "target").mkdir()
    with running(silent.image, "--folder", tmp_path / "target") as target:
        silent.silence()
        status, report, _ = dump(target.pid, tmp_path / "x.dmp", "--type", kind)
        assert report["modules"][0]["path"] == str(silent.image)
        reasons = {gap["reason"] for gap in report["gaps"]}  # all of a small program may be resident
        assert reasons <= {"unknown", "beyond_eof"}
        assert status == (3 if "unknown" in reasons else 0)


def test_files_that_answer_are_read_as_ever(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    """The same file on the file system of the test: what is not resident is read."""
    path = elf_file(tmp_path / "file")
    with running(sys.executable, "-c", MAPPER, path) as target:
        report = md.write_dump(target.pid, tmp_path / "x.dmp", md.DumpType.WITH_FULL_MEMORY)
        assert report.complete
        region = next(region for region in report.regions if region.path == str(path))
        assert not region.flags & md.report.RegionFlags.SLOW_FILE
        with file_rules.DumpFile(tmp_path / "x.dmp") as file:
            assert file.read(region.base, region.size) == path.read_bytes()


def test_a_detached_mount_counts_as_one(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    """Lazily unmounted, as is done when a server hangs: no list of mounts has it any more."""
    silent = serve(elf_file(tmp_path / "file"))
    with running(sys.executable, "-c", MAPPER, silent.image) as target:
        assert ctypes.CDLL(None).umount2(str(silent.folder).encode(), MNT_DETACH) == 0
        silent.silence()
        status, report, _ = dump(target.pid, tmp_path / "x.dmp", "--type", "full")
        assert status == 3
        assert report["warnings"] == ["slow_files"]


def test_descriptors_of_it_do_not_hold_up_a_dump_to_a_pipe(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    """Whether the target reads the pipe is asked before the stop, of all its descriptors."""
    silent = serve(elf_file(tmp_path / "file"))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with running(sys.executable, "-c", HOLDER, silent.image) as target:
        silent.silence()
        with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.DEVNULL) as reader:
            status, report, said = dump(target.pid, fifo)
            assert (status, report.get("complete")) == (0, True), said
            assert reader.wait(PATIENCE) == 0


def test_descriptors_of_it_are_listed(serve: Callable[[Path], Silent], tmp_path: Path) -> None:
    """Nothing is asked of the file system: its kind is what the kernel knows."""
    silent = serve(elf_file(tmp_path / "file"))
    with running(sys.executable, "-c", HOLDER, silent.image) as target:
        silent.silence()
        status, report, said = dump(target.pid, tmp_path / "x.dmp", "--type", "normal+with_handle_data")
        assert (status, report.get("complete")) == (0, True), said
        assert str(silent.image).encode("utf-16-le") in (tmp_path / "x.dmp").read_bytes()
