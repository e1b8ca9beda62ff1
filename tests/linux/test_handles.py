"""HandleData of a Linux process: what /proc/PID/fd says at the stop, as the PyPI package ``minidump`` reads it."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crashpad
import pytest
from minidump.minidumpfile import MinidumpFile

import minidump_cffi as md

pytestmark = pytest.mark.linux

HANDLES = md.DumpType.WITH_HANDLE_DATA
HOLDER = """
import os, select, socket, sys
folder = sys.argv[1]
kept = [
    *os.pipe(), socket.socket(), *socket.socketpair(), select.epoll(), os.memfd_create("named"), os.eventfd(0),
    os.pidfd_open(os.getpid()), os.open(folder, os.O_RDONLY | os.O_DIRECTORY), os.open("/dev/null", os.O_RDWR),
    os.open(folder + "/token=hunter2", os.O_RDWR | os.O_CREAT | os.O_APPEND), os.open("/proc/self/maps", os.O_RDONLY),
    os.open(folder, os.O_PATH), os.open(folder + "/new\\nline", os.O_WRONLY | os.O_CREAT),
    os.open(folder + "/gone", os.O_WRONLY | os.O_CREAT),
]
os.unlink(folder + "/gone")
os.lseek(kept[-2], (5 << 32) + 7, os.SEEK_SET)
os.dup2(kept[-2], 700)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder = tmp_path / "held"
    folder.mkdir()
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process
        assert process.poll() is None, "the process did not run on"


def parsed(path: Path) -> Any:
    """What the other reader makes of a dump."""
    found = MinidumpFile.parse(str(path))
    found.file_handle.close()
    return found


def handles(path: Path) -> list[Any] | None:
    """The handles of a dump, None without the stream."""
    found = parsed(path).handles
    return None if found is None else list(found.handles)


def numbers(pid: int, fd: str) -> dict[str, str]:
    """What fdinfo shows, by its first word."""
    lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def kind(mode: int, target: str) -> str:
    """What is expected as the name of the type."""
    if target.startswith("anon_inode:"):
        return target.removeprefix("anon_inode:").strip("[]")
    formats = {
        stat.S_IFREG: "File", stat.S_IFDIR: "Directory", stat.S_IFCHR: "CharDevice", stat.S_IFIFO: "Pipe",
        stat.S_IFSOCK: "Socket",
    }  # fmt: skip
    return formats[stat.S_IFMT(mode)]


@pytest.mark.parametrize("memory", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY])
def test_they_are_what_proc_says(holder: subprocess.Popen[bytes], tmp_path: Path, memory: md.DumpType) -> None:
    report = md.write_dump(holder, tmp_path / "x.dmp", HANDLES | memory)
    assert report.honoured & HANDLES and not report.messages
    found = handles(tmp_path / "x.dmp")
    assert found is not None
    descriptors = sorted(Path(f"/proc/{holder.pid}/fd").iterdir(), key=lambda path: int(path.name))
    assert [handle.Handle for handle in found] == [int(path.name) for path in descriptors]
    assert len(descriptors) >= 19 and descriptors[-1].name == "700"
    for handle, descriptor in zip(found, descriptors, strict=True):
        target, mode = str(descriptor.readlink()), descriptor.stat().st_mode
        info = numbers(holder.pid, descriptor.name)
        assert handle.ObjectName == target
        assert handle.TypeName == kind(mode, target)
        assert (handle.Attributes, handle.GrantedAccess) == (mode, int(info["flags"], 8))
        assert handle.PointerCount << 32 | handle.HandleCount == int(info["pos"])
    assert found[-1].PointerCount == 5 and found[-1].HandleCount == 7


def test_they_come_only_where_they_are_wanted(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    md.write_dump(holder, path)
    assert handles(path) is None and b"h\0u\0n\0t\0e\0r\0002" not in path.read_bytes()
    without = md.Filter(streams={"exclude": ["handle_data", "limits"]})
    report = md.write_dump(holder, path, HANDLES, filter=without)
    assert handles(path) is None and b"h\0u\0n\0t\0e\0r\0002" not in path.read_bytes()
    assert md.Filter(streams={"exclude": ["handle_data"]}).streams.exclude & report.omitted_streams
    assert b"Max open files" not in path.read_bytes()


def test_their_targets_are_redacted_as_all_names_are(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    md.write_dump(holder, path, HANDLES, filter=md.Filter(redact=md.Redact(patterns=["hunter2"])))
    assert any(handle.ObjectName.endswith("/token=XXXXXXX") for handle in handles(path) or [])
    assert "hunter2".encode("utf-16-le") not in path.read_bytes()


def test_limits_are_those_of_proc(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    md.write_dump(holder, path)
    data = path.read_bytes()
    at, size = crashpad.streams(data)[0x4D7A0003]
    assert data[at : at + size] == Path(f"/proc/{holder.pid}/limits").read_bytes()
