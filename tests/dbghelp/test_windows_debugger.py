"""Microsoft's debugger engine, two generations, reads our dumps of Linux and of Windows processes.

What it says of all other dumps of a run: test_debugger_corpus.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fake
import file_rules
import live
import pytest
import wine
from debugger import VERSIONS, Debugger, Seen
from fake import Region, Target
from made_up import APP, FULL, IMAGE, NORMAL, with_threads

import minidump_cffi as md

pytestmark = pytest.mark.linux


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
    rules = md.Filter(memory={"add": [(heap.base + n * 8192, heap.base + n * 8192 + 4096) for n in range(20000)]})
    fake.write(with_threads(1, heap), tmp_path / "x.dmp", NORMAL, filter=rules)
    assert_read(debugger, tmp_path / "x.dmp")


def test_a_normal_dump_beyond_the_32_bit_offsets(debugger: Debugger, tmp_path: Path) -> None:
    heap = Region(base=0x10000000, size=512 * 4096)
    rules = md.Filter(memory={"add": [(heap.base, heap.base + heap.size)]})
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
