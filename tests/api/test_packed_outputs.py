"""Paths that end in .gz and .zst: what is in them, and what stays when that cannot be written."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import sys
from pathlib import Path
from typing import Any

import fake
import pytest
from packed import UNPACK, ZSTD

import minidump_cffi as md
from minidump_cffi import sinks
from minidump_cffi.cli import main

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 22),))


def without_time(data: bytes) -> bytes:
    return data[:20] + data[24:]


@pytest.mark.parametrize("suffix", UNPACK)
@pytest.mark.parametrize("fsync", [False, True])
def test_the_same_dump_compressed(fsync: bool, suffix: str, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.dmp", tmp_path / f"a.dmp{suffix.upper() if fsync else suffix}"
    fake.write(TARGET, plain, FULL)
    for _ in range(2):  # a new file, and one that is replaced
        report = fake.write(TARGET, packed, FULL, fsync=fsync)
    content = UNPACK[suffix](packed.read_bytes())
    assert without_time(content) == without_time(plain.read_bytes())
    assert report.file_bytes == len(content) and report.path == str(packed)
    assert packed.stat().st_size < len(content)
    assert fake.names(tmp_path) == sorted([plain.name, packed.name])
    if sys.platform != "win32":
        assert stat.S_IMODE(packed.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", UNPACK)
def test_it_is_read_again(suffix: str, tmp_path: Path) -> None:
    fake.write(TARGET, tmp_path / f"a.dmp{suffix}", FULL)
    with md.open_dump(tmp_path / f"a.dmp{suffix}") as dump:
        assert len(dump.read(0x1000_0000, 4096)) == 4096


def test_spool_is_where_the_temporary_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    make = sinks._outputs.temporary_file
    monkeypatch.setattr(sinks._outputs, "temporary_file", lambda folder: asked.append(folder) or make(folder))
    (tmp_path / "spool").mkdir()
    fake.write(TARGET, tmp_path / "a.gz", FULL)
    fake.write(TARGET, tmp_path / "b.gz", FULL, spool=tmp_path / "spool")
    monkeypatch.chdir(tmp_path)
    fake.write(TARGET, "c.gz", FULL)
    assert asked == [str(tmp_path), str(tmp_path / "spool"), os.curdir]
    assert fake.names(tmp_path / "spool") == []


def test_a_dump_that_is_cancelled_while_it_is_compressed(tmp_path: Path) -> None:
    def cancel() -> bool:
        return sys._getframe(3).f_code.co_name == "commit"

    (tmp_path / "a.gz").write_bytes(b"before")
    with pytest.raises(md.Cancelled):
        fake.write(TARGET, tmp_path / "a.gz", FULL, on_cancel=cancel)
    assert fake.names(tmp_path) == ["a.gz"] and (tmp_path / "a.gz").read_bytes() == b"before"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sinks.os, "write", full)
    with pytest.raises(md.SinkError, match=r"cannot write .*a\.gz") as caught:
        fake.write(TARGET, tmp_path / "a.gz", FULL)
    assert caught.value.errno == errno.ENOSPC
    assert fake.names(tmp_path) == []


def test_without_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is stopped."""
    for name in ZSTD:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(md.SinkError, match=r"pip install minidump_cffi\[zstd\]"):
        fake.write(TARGET, tmp_path / "a.zst", FULL)
    assert fake.names(tmp_path) == []


@pytest.mark.linux
def test_the_command_line_says_both_sizes(
    start_pattern: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.dmp.gz"
    assert main(["dump", str(start_pattern().pid), "-o", str(path)]) == 0
    assert ", compressed " in capsys.readouterr().err
    assert gzip.decompress(path.read_bytes())[:4] == b"MDMP"
