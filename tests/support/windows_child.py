"""For tests in a Windows CPython: a process to dump, and dumps of it whose callbacks are counted.

``MDC_DBGHELP`` names the version of Microsoft's dbghelp that is in the system's folder of the Wine prefix; without it
that is Wine's own.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import file_rules
import pytest

import minidump_cffi as md

C = md.protocol.CallbackType
FULL = md.DumpType.WITH_FULL_MEMORY
PAGE: Final = 4096
PAGES: Final = 256
VERSION: Final = os.environ.get("MDC_DBGHELP", "")
NEW: Final = VERSION != "" and not VERSION.startswith("6.")  # says 1 of every failure; dbgcore.dll has the routine
SYSTEM: Final = Path(os.environ.get("SYSTEMROOT", ""), "system32")
WINE: Final = "Wine's own dbghelp"
UNLOADED: Final = "cabinet.dll"  # that the process has loaded and unloaded
PROGRAM: Final = """
import ctypes, os, sys, threading, time
kernel32 = ctypes.WinDLL("kernel32")
allocate = kernel32.VirtualAlloc
allocate.restype = ctypes.c_void_p
allocate.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_ulong]
at = allocate(0x600000000000, 256 * 4096, 0x3000, 4)  # where Wine gives released memory back to the system
for page in range(256):
    ctypes.memmove(at + page * 4096, b"PAGE%04d SECRET-%04d!" % (page, page), 21)
tail = allocate(0x610000000000, 4 * 4096, 0x3000, 4)  # four pages, nothing, and four pages more
assert allocate(tail + 16 * 4096, 4 * 4096, 0x3000, 4) == tail + 16 * 4096
for page in (0, 1, 2, 3, 16, 17, 18, 19):
    ctypes.memmove(tail + page * 4096, b"TAIL%04d" % page, 8)
load, unload = kernel32.LoadLibraryW, kernel32.FreeLibrary
load.restype, unload.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
unload(load("cabinet.dll"))
kernel32.CreateEventW(None, False, False, "mdc-event-%d" % os.getpid())
for _ in range(3):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print(at, tail, flush=True)
sys.stdin.read()
"""
counted: collections.Counter[C] = collections.Counter()


class Child:
    """A process with an area of pages that say which they are."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", PROGRAM]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "MDC_MARK": "an environment"}
        )
        assert self.process.stdout is not None
        self.area, self.tail = map(int, self.process.stdout.readline().split())

    @property
    def handle(self) -> int:
        """Its HANDLE, as the caller has it."""
        return int(self.process._handle)  # type: ignore[attr-defined]

    def page(self, number: int) -> int:
        """Address of a page."""
        return self.area + number * PAGE

    def rules(self, *pages: tuple[int, int], **options: Any) -> md.Filter:
        """Exclude these pages, from and to."""
        return md.Filter(*(md.exclude(range=(self.page(low), self.page(high))) for low, high in pages), **options)

    def release(self) -> None:
        """Unmap the area while the process is stopped."""
        free = ctypes.WinDLL("kernel32", use_last_error=True).VirtualFreeEx
        free.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong]
        assert free(self.handle, self.area, 0, 0x8000), ctypes.get_last_error()

    def end(self) -> None:
        """End it; it has to run until then."""
        assert self.process.poll() is None, "the process did not run on"
        with self.process:
            self.process.kill()


def tell_counts() -> None:
    """How often each type was sent so far, for the lane's closing lines."""
    told = os.environ.get("MDC_DBGHELP_COUNTS")
    if told:
        counts = {kind.name: counted[kind] for kind in C if counted[kind]}
        Path(told).write_text(json.dumps({"version": file_version(), "calls": counts}), "utf-8")


def file_version() -> str:
    """The version of the DLL that has MiniDumpWriteDump, from its resource."""
    version = ctypes.WinDLL("version")
    path = str(SYSTEM / ("dbgcore.dll" if NEW else "dbghelp.dll"))
    size = version.GetFileVersionInfoSizeW(path, None)
    data = ctypes.create_string_buffer(size)
    assert version.GetFileVersionInfoW(path, 0, size, data)
    at = data.raw.index((0xFEEF04BD).to_bytes(4, "little"))
    words = [int.from_bytes(data.raw[at + n : at + n + 2], "little") for n in (10, 8, 14, 12)]
    return ".".join(map(str, words))


def take(
    child: Child,
    path: Path | str | None,
    type: md.DumpType = md.DumpType.NORMAL,
    engine: str = "dbghelp",
    **options: Any,
) -> md.DumpReport:
    """A dump of the process, which runs on."""
    report = md.write_dump(child.process, path, type, engine=engine, **options)  # type: ignore[arg-type]
    if engine == "dbghelp":
        counted.update(report.callbacks)
    assert child.process.poll() is None
    return report


def kept(path: Path, child: Child) -> list[int]:
    """The pages of the area that the file has with what was in them."""
    with file_rules.DumpFile(path) as dump:
        found = []
        for page in range(PAGES):
            data = dump.read(child.page(page), 21)
            if data is not None and data.startswith(b"PAGE%04d" % page):
                found.append(page)
        return found


def covered(ranges: list[file_rules.Range], address: int, size: int) -> int:
    """How many of the bytes are in the file, which has no byte twice."""
    return sum(max(0, min(item.address + item.size, address + size) - max(item.address, address)) for item in ranges)


def one_engine(request: pytest.FixtureRequest, lacks: Mapping[tuple[str, str], str]) -> str:
    """The engine of a parametrised fixture, or a skip where the table says that it does not do what the test is about.

    The table has names of tests and "dbghelp" or `WINE`.
    """
    name: str = request.param
    test: str = request.node.originalname
    reason = lacks.get((test, name)) or (lacks.get((test, WINE)) if name == "dbghelp" and not VERSION else None)
    if reason is not None:
        pytest.skip(f"not asserted of dbghelp {VERSION or 'of Wine'}: {reason}")
    return name
