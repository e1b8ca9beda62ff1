"""What the system sees of a crash: cores, Yama, alternate stacks, and the command that gets the dump."""

from __future__ import annotations

import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

import crashing
import file_rules
import live
import pytest

pytestmark = pytest.mark.linux


@dataclass(frozen=True, kw_only=True)
class Core:
    """What a core file says of the thread that crashed (elf(5), core.c of the kernel)."""

    signal: int
    code: int
    address: int
    registers: dict[str, int]
    stack: bytes


CORE_ORDER = [
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
]
CONTEXT_ORDER = [
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rip",
]
STACK = 512  # bytes from the stack pointer on that are compared


def read_core(path: Path) -> Core:
    data = path.read_bytes()
    (at,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    headers = [struct.unpack_from("<IIQQQQQQ", data, at + 56 * index) for index in range(count)]
    kind, _, offset, _, _, size, _, _ = headers[0]
    assert kind == 4, "PT_NOTE comes first"
    notes: dict[int, bytes] = {}
    end = offset + size
    while offset < end:
        name, length, number = struct.unpack_from("<III", data, offset)
        offset += 12 + (name + 3) // 4 * 4
        notes.setdefault(number, data[offset : offset + length])  # those of the first thread
        offset += (length + 3) // 4 * 4
    number, _, code, address = struct.unpack_from("<iii4xQ", notes[0x53494749])
    registers = dict(zip(CORE_ORDER, struct.unpack_from("<20Q", notes[1], 112), strict=True))
    stack = b""
    for kind, _, offset, base, _, size, _, _ in headers[1:]:
        if kind == 1 and base <= registers["rsp"] < base + size:
            stack = data[offset + registers["rsp"] - base :][:STACK]
    return Core(signal=number, code=code, address=address, registers=registers, stack=stack)


def check_against(core: Core, dump: Path) -> None:
    """The dump has the registers and the stack that the core of the same crash has."""
    blame = crashing.exception_of(dump)
    registers = dict(zip(CONTEXT_ORDER, struct.unpack_from("<17Q", blame.context, 120), strict=True))
    assert registers == {name: core.registers[name] for name in CONTEXT_ORDER}
    assert (blame.signal, blame.code) == (core.signal, core.code)
    with file_rules.DumpFile(dump) as file:
        [held] = [part for part in file.memory() if part.address <= blame.rsp < part.address + part.size]
        at = held.offset + blame.rsp - held.address
        assert file.data[at : at + STACK] == core.stack


@pytest.mark.parametrize("way", ["null", "fpe", "trap", "sys", "abort", "null_in_thread"])
@pytest.mark.parametrize("before", ["", "faulthandler.enable(); "], ids=["alone", "with faulthandler"])
def test_a_core_is_as_without_us(way: str, before: str, crashers: Path, tmp_path: Path) -> None:
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() != "core" or os.geteuid() != 0:
        pytest.skip("cores are not written to the working directory here")
    found = []
    for enable in ("", "enable(); "):
        place = tmp_path / f"run{len(enable)}"
        place.mkdir()
        done = crashing.run(place / "out", f"{before}{enable}crash({way!r})", crashers, core=True)
        assert len(done.dumps) == bool(enable)
        [path] = place.glob("core*")
        core = read_core(path)
        path.unlink()
        at = done.said("at")
        # Of a signal that was sent there are pid and uid in place of the address.
        address = core.code > 0 and (core.address == at, core.address == 8)
        found.append((done.status, core.signal, core.code, address, core.registers["rip"] == at))
        if enable and not before:
            check_against(core, done.dump)
    assert found[1] == found[0]


@pytest.mark.parametrize("body", ["null()", "md.crash.dump_now(); os._exit(0)"])
def test_yama_is_asked_for_the_helper_and_only_for_it(body: str, tmp_path: Path) -> None:
    """Not in force here: what would be said to it is noted."""
    source = live.HERE / "targets" / "asks_yama.c"
    library = live.compile_c(source, tmp_path / "asks.so", "-shared", "-fPIC", "-O1", "-Wall", "-Werror")
    asked = tmp_path / "asked"
    done = crashing.run(
        tmp_path / "out",
        f"print('pid', os.getpid()); enable(); {body}",
        env={**os.environ, "LD_PRELOAD": str(library), "ASKED": str(asked)},
    )
    assert done.dump
    pid, helper = done.said("pid"), done.said("helper")
    lines = [tuple(map(int, line.split())) for line in asked.read_text().splitlines()]
    # Once when it is enabled, once for the dump; each time it is taken back.
    assert lines == [(pid, helper), (pid, 0)] * 2


def test_threads_that_are_covered(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
import _thread
go = threading.Event()
def start():
    thread = threading.Thread(target=go.wait)
    thread.start()
    return thread
count = lambda: (md.crash.status().threads_covered, md.crash.status().threads_uncovered)
maps = lambda: sum(1 for _ in open("/proc/self/maps"))
early = [start() for _ in range(3)]
enable()
assert count() == (1, 3), count()
late = [start() for _ in range(5)]
assert count() == (6, 3), count()
_thread.start_new_thread(go.wait, ())
while count() != (6, 4): time.sleep(0.01)
class Own(threading.Thread):
    def run(self): go.wait()
own = Own()
own.start()
assert count() == (7, 4), count()
go.set()
for thread in (*early, *late, own): thread.join()
while count() != (1, 0): time.sleep(0.01)
def many():
    threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(40)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    while count() != (1, 0): time.sleep(0.01)
many()
before = maps()
for _ in range(3): many()
assert maps() <= before + 4, "the stacks went with their threads"
if os.fork() == 0:
    assert count() == (0, 0)
    os._exit(0)
assert os.wait()[1] == 0
md.crash.disable()
original = threading.Thread._bootstrap_inner.__qualname__
assert original == "Thread._bootstrap_inner", original
""",
    )
    assert (done.status, done.err) == (0, "")


def test_the_command_gets_the_dump_when_the_program_has_ended(tmp_path: Path) -> None:
    body = """
target = sys.argv[2]
script = 'sleep 0.2; test ! -d /proc/$2 && mv "$1" "$4/$3.moved"'
enable(on_dump=["sh", "-c", script, "sh", "{path}", str(os.getpid()), "{signal}-{pid}", target])
print("pid", os.getpid(), flush=True)
null()
"""
    done = crashing.run(tmp_path / "out", body, tmp_path)
    assert done.status == -signal.SIGSEGV
    moved = tmp_path / f"SIGSEGV-{done.said('pid')}.moved"
    live.wait_until(moved.exists, "the command has moved it")
    assert moved.read_bytes()[:4] == b"MDMP"


def test_a_path_that_looks_like_a_field_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "{pid} {signal}"
    done = crashing.run(folder, "enable(on_dump=['touch', '{path}.taken'], name='x')\nmd.crash.dump_now()")
    assert (done.status, done.err) == (0, "")
    live.wait_until((folder / "x.dmp.taken").exists, "the command has its path")


def test_a_command_that_does_not_exist_is_no_fault(tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable(on_dump=['/nowhere/command'])\nmd.crash.dump_now()\nnull()")
    assert (done.status, done.err, len(done.dumps)) == (-signal.SIGSEGV, "", 2)


def test_filter_and_type_are_those_that_were_given(tmp_path: Path) -> None:
    body = """
data = bytearray(b"SECRET" * 200_000)
enable(type="full", name="all")
md.crash.dump_now()
enable(type="full", name="some", filter=md.Filter(md.exclude(kind="anonymous")))
null()
"""
    done = crashing.run(tmp_path / "out", body)
    assert [path.name for path in done.dumps] == ["all.dmp", "some.dmp"]
    assert [b"SECRET" * 100_000 in path.read_bytes() for path in done.dumps] == [True, False]
