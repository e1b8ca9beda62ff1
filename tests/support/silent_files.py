"""A mounted file system that stops answering, and programs that map a file of it."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import live
import pytest

PATIENCE = 60.0  # seconds; hanging takes for ever


MNT_DETACH = 2


MAPPER = """
import ctypes, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
area = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
os.close(fd)
area.madvise(mmap.MADV_RANDOM)
touched = [area[page * 4096] for page in (0, 7, 8)]
print("ready", flush=True)
sys.stdin.read()
"""


class Silent:
    """A mounted silent_fs.py with one file."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.image = folder / "image"
        program = live.HERE / "targets" / "silent_fs.py"
        command = [sys.executable, str(program), str(folder), str(source)]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.server.stdout is not None
        if self.server.stdout.readline() != b"mounted\n":
            _, said = self.server.communicate(timeout=PATIENCE)
            pytest.skip(f"no FUSE file system can be mounted here: {said.decode().splitlines()[-1]}")

    def silence(self) -> None:
        """From now on nothing is answered."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(b"\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == b"silent\n"

    def close(self) -> None:
        self.server.kill()
        self.server.communicate()
        ctypes.CDLL(None).umount2(str(self.folder).encode(), MNT_DETACH)


@contextlib.contextmanager
def running(*command: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that says when it is ready, and runs on when it has been dumped."""
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith((b"ready", b"{"))
            yield process
            assert process.poll() is None
            assert "t" not in live.task_states(process.pid).values()
        finally:
            process.kill()
