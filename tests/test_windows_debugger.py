"""Microsoft's debugger engine, two generations, reads our dumps of Linux and of Windows processes.

The DLLs are those that ``.ci/windows microsoft`` has fetched; without them the tests skip, and in CI they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fake
import file_rules
import live
import pytest
import wine
from fake import Region, Target
from test_oracles_fake import APP, FULL, IMAGE, NORMAL, with_threads

import minidump_cffi as md

pytestmark = pytest.mark.linux

VERSIONS = ("6.3.9600", "10.0.15063")
SOURCE = live.HERE / "targets" / "debugger" / "dump_reader.c"
OVERRIDES = "dbgeng=n;dbghelp=n;dbgmodel=n;symsrv=n;srcsrv=n;msdia120=n;msdia140=n"
COMPLAINTS = re.compile(r"^(?:ERROR|WARNING)|can't have|corrupt|invalid|truncated|missing", re.IGNORECASE)
# What it says of dumps of every writer: stream 24 is newer than it, 0xFFF0 is one of Wine's dbghelp, and no file of a
# module is there to load.
USUAL = re.compile(
    r"unknown stream type 0x(18|fff0)$|symbols could not be loaded|verify timestamp|load image|Invalid name"
)


@dataclass
class Seen:
    """What one engine says of one dump."""

    opened: bool
    words: list[str]
    threads: dict[int, tuple[int, int]] = field(default_factory=dict)  # instruction and stack pointer
    modules: dict[int, int] = field(default_factory=dict)  # base, size
    memory: dict[int, bytes] = field(default_factory=dict)

    @property
    def complaints(self) -> list[str]:
        """Lines that are no chatter."""
        return [line for line in self.words if COMPLAINTS.search(line) and not USUAL.search(line)]


class Debugger:
    """The program with the DLLs of one version beside it."""

    def __init__(self, version: str, folder: Path) -> None:
        self.folder = folder
        self.version = version
        found = Path(wine.program()).parent / "microsoft" / version
        if not found.is_dir():
            reason = f"the debugger engine {version} was not fetched (.ci/windows microsoft)"
            if wine.wine_required():
                pytest.fail(reason)
            pytest.skip(reason)
        for library in found.glob("*.dll"):
            shutil.copy(library, folder)
        (folder / "symbols").mkdir()
        self.program = folder / "dump_reader.exe"
        flags = ("-O1", "-static", "-Wall", "-Wextra", "-Wno-cast-function-type", "-Werror")
        wine.compile_c(SOURCE, self.program, *flags, "-lole32", "-luuid")

    def read(self, path: Path, *wanted: tuple[int, int]) -> Seen:
        """Open the dump, and read these ranges in it."""
        words = [wine.windows_path(path), wine.windows_path(self.folder / "symbols")]
        words += [f"{address:x}:{size}" for address, size in wanted]
        done = wine.run(
            [wine.program(), wine.windows_path(self.program), *words],
            env={**os.environ, "MDC_WINE_OVERRIDES": OVERRIDES},
            stderr=subprocess.DEVNULL,
        )
        lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
        seen = Seen(opened=["opened", "0"] in lines, words=[])
        for line, *rest in lines:
            if line == "says":
                seen.words.append(" ".join(rest))
            elif line == "thread":
                seen.threads[int(rest[0])] = (int(rest[1], 16), int(rest[2], 16))
            elif line == "module":
                seen.modules[int(rest[0], 16)] = int(rest[1], 16)
            elif line == "bytes":
                seen.memory[int(rest[0], 16)] = bytes.fromhex(rest[1]) if len(rest) > 1 else b""
        return seen


@pytest.fixture(scope="module", params=VERSIONS)
def debugger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Debugger:
    """The engine of each generation."""
    return Debugger(request.param, tmp_path_factory.mktemp("debugger"))


def assert_read(debugger: Debugger, path: Path, mask: int = 2**64 - 1) -> Seen:
    """It opens the dump without a complaint and sees what is in the file; of registers the bits of the mask."""
    with file_rules.DumpFile(path) as dump:
        wanted = [(item.address, min(item.size, 4096)) for item in dump.ranges()]
        wanted = wanted[:: max(1, len(wanted) // 16)]
        threads = {item.tid: (item.register("rip") & mask, item.register("rsp") & mask) for item in dump.threads()}
        modules = {base: size for base, size, _, _ in dump.modules()}
        memory = {address: dump.read(address, size) for address, size in wanted}
    seen = debugger.read(path, *wanted)
    assert seen.opened, seen.words
    assert seen.complaints == []
    assert (seen.threads, seen.modules, seen.memory) == (threads, modules, memory)
    return seen


@pytest.mark.parametrize("kind", [NORMAL, FULL, FULL | md.DumpType.WITH_THREAD_INFO], ids=["normal", "full", "info"])
def test_dumps_of_linux_processes(
    kind: md.DumpType, debugger: Debugger, start_pattern: Callable[..., live.Target], take: live.Taker
) -> None:
    target = start_pattern("--threads", 3)
    _, path = take(target, kind, only=())
    assert_read(debugger, path)


def test_a_python_process(debugger: Debugger, take: live.Taker) -> None:
    """Its thread blocks were taken for 32-bit TEBs, and the registers cut."""
    with live.python_target(2) as target:
        _, path = take(target, FULL, only=())
    assert_read(debugger, path)


@pytest.mark.parametrize("kind", [NORMAL, FULL], ids=["normal", "full"])
def test_a_dump_without_threads(kind: md.DumpType, debugger: Debugger, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    fake.write(Target(regions=(IMAGE, Region(base=0x20000000, size=4096)), modules=(APP,)), path, kind)
    assert assert_read(debugger, path).threads.keys() == {0xFFFFFFFF}


def test_more_ranges_than_breakpad_reads(debugger: Debugger, tmp_path: Path) -> None:
    heap = Region(base=0x10000000, size=40000 * 4096)
    rules = md.Filter(memory_add=[(heap.base + n * 8192, heap.base + n * 8192 + 4096) for n in range(20000)])
    fake.write(with_threads(1, heap), tmp_path / "x.dmp", NORMAL, filter=rules)
    assert_read(debugger, tmp_path / "x.dmp")


def test_a_normal_dump_beyond_the_32_bit_offsets(debugger: Debugger, tmp_path: Path) -> None:
    heap = Region(base=0x10000000, size=512 * 4096)
    rules = md.Filter(memory_add=[(heap.base, heap.base + heap.size)])
    options = md.EngineOptions(limit32=1 << 20)
    fake.write(with_threads(1, heap), tmp_path / "x.dmp", NORMAL, filter=rules, options=options)
    assert_read(debugger, tmp_path / "x.dmp")


WITH_ALL = (
    "with_data_segs+with_code_segs+with_handle_data+with_unloaded_modules+with_process_thread_data"
    "+with_indirectly_referenced_memory+with_thread_info"
)


@pytest.mark.parametrize("engine", ["native", "dbghelp"])
@pytest.mark.parametrize("kind", ["normal", "full", WITH_ALL], ids=["normal", "full", "all"])
def test_dumps_of_windows_processes(kind: str, engine: str, debugger: Debugger, tmp_path: Path) -> None:
    python = Path(wine.python()).parent / "python" / "python.exe"
    script = wine.windows_path(live.HERE / "targets" / "windows_threads.py")
    path = tmp_path / "x.dmp"
    with wine.Target(python, script, "3") as target:
        words = ("dump", str(target.info["pid"]), "-o", wine.windows_path(tmp_path) + "\\x.dmp")
        done = wine.run_cli(*words, "--type", kind, "--engine", engine)
        assert done.returncode == 0, done.stderr
    # The older engine takes a process of Wine for a 32-bit one if it finds the TEBs, and cuts the registers.
    with_tebs = kind == "full" or (kind == WITH_ALL and engine == "native")
    cut = with_tebs and debugger.version == "6.3.9600"
    assert_read(debugger, path, 2**32 - 1 if cut else 2**64 - 1)
