"""Cores that the kernel and gcore write of real programs: their minidumps say what gdb says of the cores."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
import readers

import minidump_cffi as md
from minidump_cffi.report import GapReason

if sys.platform == "linux":
    import cores
    import crashing

pytestmark = pytest.mark.linux

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)), "rip")
GENERAL_32 = (
    *("gs", "fs", "es", "ds", "edi", "esi", "ebx", "edx"),
    *("ecx", "eax", "ebp", "eip", "cs", "eflags", "esp", "ss"),
)
SEGMENTS = {"cs": 56, "ds": 58, "es": 60, "fs": 62, "gs": 64, "ss": 66}
FULL = md.DumpType.WITH_FULL_MEMORY | md.DumpType.WITH_AVX_XSTATE_CONTEXT | md.DumpType.WITH_FULL_MEMORY_INFO
READ = 1024


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that crashes in the ways of crashers.c."""
    return cores.program(tmp_path_factory.mktemp("program"))


def of_context(context: bytes) -> dict[str, int]:
    """The registers of an AMD64 CONTEXT, by gdb's names."""
    found = dict(zip(GENERAL, struct.unpack_from("<17Q", context, 120), strict=True))
    found |= {name: struct.unpack_from("<H", context, at)[0] for name, at in SEGMENTS.items()}
    found |= {f"xmm{n}": int.from_bytes(context[416 + 16 * n :][:16], "little") for n in range(16)}
    found["eflags"], found["mxcsr"] = struct.unpack_from("<I", context, 68)[0], struct.unpack_from("<I", context, 52)[0]
    found["fctrl"] = struct.unpack_from("<H", context, 256)[0]
    return found


def of_context_32(context: bytes) -> dict[str, int]:
    """The registers of an x86 CONTEXT."""
    found = dict(zip(GENERAL_32, struct.unpack_from("<16I", context, 140), strict=True))
    found |= {f"xmm{n}": int.from_bytes(context[204 + 160 + 16 * n :][:16], "little") for n in range(8)}
    found["mxcsr"] = struct.unpack_from("<I", context, 204 + 24)[0]
    found["fctrl"] = struct.unpack_from("<I", context, 28)[0] & 0xFFFF
    return found


def assert_as_gdb(core: cores.Core, path: Path, wide: bool = True) -> dict[str, Any]:
    """Threads, registers and memory of the dump are those that gdb sees in the core."""
    with file_rules.DumpFile(path) as dump:
        threads = {thread.tid: thread for thread in dump.threads()}
        wanted = [(item.address, min(item.size, READ)) for item in dump.ranges() if item.address < 1 << 63]
        wanted += [(item.address + item.size - READ, READ) for item in dump.ranges() if READ < item.size < 1 << 63]
        seen = core.gdb(wanted)
        assert {item["tid"] for item in seen["threads"]} == set(threads)
        pointers = dump.thread_pointers()
        for item in seen["threads"]:
            context = threads[item["tid"]].context
            mine = of_context(context) if wide else of_context_32(context)
            if wide:
                mine["fs_base"] = pointers[item["tid"]]
            differ = {name: (mine[name], value) for name, value in item["registers"].items() if mine.get(name) != value}
            # gdb shows the bases of segments by these names as well.
            assert {name for name in differ if name != "gs_base"} <= {"fs", "gs"}, differ
        compared = 0
        for (address, size), content in zip(wanted, seen["memory"], strict=True):
            if content is not None:
                assert dump.read(address, size) == bytes.fromhex(content), hex(address)
                compared += 1
        assert compared > 5
    return seen


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("null", "SIGSEGV /SEGV_MAPERR"),
        ("noncanonical", "SIGSEGV /0x00000080"),
        ("bus", "SIGBUS / BUS_ADRERR"),
        ("fpe", "SIGFPE / FPE_INTDIV"),
        ("ill", "SIGILL / ILL_ILLOPN"),
        ("trap", "SIGTRAP"),
        ("sys", "SIGSYS"),
        ("abort", "SIGABRT"),
        ("raise", "SIGSEGV /0xfffffffa"),
        ("overflow", "SIGSEGV /SEGV_MAPERR"),
        ("null_in_thread", "SIGSEGV /SEGV_MAPERR"),
    ],
)
def test_ways_to_crash(tmp_path: Path, made: Path, way: str, reason: str) -> None:
    """Registers, memory, modules and the exception of a kernel's core."""
    core = cores.by_kernel(tmp_path / "core", made, way, "2", stack=256 << 10 if way == "overflow" else 0)
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    assert (report.pid, report.gaps) == (core.pid, ())
    assert file_rules.broken_rules(out) == []
    seen = assert_as_gdb(core, out)
    blame = crashing.exception_of(out)
    assert blame.tid == seen["current"]
    assert (blame.signal, blame.code & 0xFFFFFFFF) == (seen["siginfo"]["signo"], seen["siginfo"]["code"])
    sent = way in ("abort", "raise")
    assert blame.address == (0 if sent else seen["siginfo"]["address"])
    assert blame.rip == core.at or core.at == 0
    with file_rules.DumpFile(out) as dump:
        parameters = struct.unpack_from("<I4x3Q", dump.stream(6), 32)
        if sent:
            assert parameters[:3] == (3, core.pid, 0)
        elif way == "sys":
            assert parameters[:3] == (2, 121, 0xC000003E)  # getpgid, AUDIT_ARCH_X86_64
        else:
            assert parameters == (0, 0, 0, 0)
        names = {name for _, _, name, _ in dump.modules()}
        assert {str(made), "linux-gate.so"} < names
        assert dump.modules()[0][2] == str(made)
        assert dump.stream(0x47670006).split(b"\0") == [str(made).encode(), way.encode(), b"2", b""]
    walk = subprocess.run(
        [readers.breakpad_program("minidump_stackwalk"), str(out)], capture_output=True, text=True, check=False
    ).stdout
    assert f"Crash reason:  {reason}\n" in walk
    assert f"Crash address: {blame.address:#x}\n" in walk
    if way in ("null", "abort"):
        live.assert_accepted(out, report)


def test_lldb_sees_the_same(tmp_path: Path, made: Path) -> None:
    """Of the minidump what it sees of the core: modules with their ids, frames, registers."""
    core = cores.by_kernel(tmp_path / "core", made, "null_in_thread", "3")
    out = tmp_path / "out.dmp"
    md.write_dump(md.CoreFile(core.path), out)
    of_core, of_dump = (readers.read_lldb(path, registers=True, frames=True) for path in (core.path, out))
    assert of_dump.errors == ()
    assert of_core.threads is not None
    assert of_dump.threads is not None
    key = {thread.tid: thread for thread in of_core.threads}
    assert {thread.tid for thread in of_dump.threads} == set(key)
    for thread in of_dump.threads:
        assert (thread.sp, thread.ip) == (key[thread.tid].sp, key[thread.tid].ip)
        for name in (*GENERAL, "xmm7", "xmm15", "ymm7"):
            if name in thread.registers:
                assert thread.registers[name] == key[thread.tid].registers[name], name
    assert of_core.modules is not None
    assert of_dump.modules is not None
    ids = {module.base: module.build_id for module in of_dump.modules}
    for module in of_core.modules:
        if module.build_id is not None and module.base in ids:
            assert ids[module.base] == module.build_id
    assert sum(module.base in ids for module in of_core.modules) >= 3


def test_a_hundred_threads(tmp_path: Path, made: Path) -> None:
    """The crashing thread is the leader here, and comes first; each thread has its own registers."""
    core = cores.by_kernel(tmp_path / "core", made, "null", "100")
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out, type=md.DumpType.WITH_AVX_XSTATE_CONTEXT)
    assert len(report.threads) == 101
    with file_rules.DumpFile(out) as dump:
        threads = dump.threads()
        assert threads[0].tid == core.pid == crashing.exception_of(out).tid
        assert dump.thread_names()[core.pid] == "core_crash"
        numbers = {thread.register("r12") for thread in threads[1:]}
        assert numbers == {0xABCD0000 + number for number in range(100)}
        for thread in threads[1:]:
            assert int.from_bytes(thread.xmm(7)[:8], "little") == thread.register("r12")
            assert len(thread.context) > 1232
    assert_as_gdb(core, out)
    live.assert_accepted(out, report, ["lldb", "minidump", "udmp-parser", "minidump_stackwalk"])


def test_what_the_kernel_left_out(tmp_path: Path, made: Path) -> None:
    """No gap, and nothing in its place; untouched pages are holes of core and dump."""
    core = cores.by_kernel(tmp_path / "core", made, "null", "0")
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    with file_rules.DumpFile(out) as dump:
        assert dump.read(cores.PATTERN, cores.MIB) == live_pattern()
        untouched = dump.read(cores.UNTOUCHED, cores.MIB)
        assert untouched is not None
        assert untouched[4096] == 1
        assert untouched.count(0) == cores.MIB - 1
        assert not dump.holds(cores.HIDDEN, cores.MIB)
        assert not dump.holds(cores.NO_ACCESS, cores.MIB)
        assert b"not to be dumped" not in dump.data[:]
    assert report.zero_bytes >= cores.MIB - 8192
    assert report.cut_bytes == 0


def test_the_position_of_a_descriptor_stays(tmp_path: Path, made: Path) -> None:
    core = cores.by_kernel(tmp_path / "core", made, "null", "0")
    with core.path.open("rb", buffering=0) as file:
        md.write_dump(md.CoreFile(file.fileno()), tmp_path / "out.dmp")
        assert file.tell() == 0


def test_a_handler_on_its_own_stack(tmp_path: Path, made: Path) -> None:
    """A small dump has the stack that the handler interrupted as well."""
    core = cores.by_kernel(tmp_path / "core", made, "null", "1", "handler")
    out = tmp_path / "out.dmp"
    md.write_dump(md.CoreFile(core.path), out, type=md.DumpType.NORMAL)
    assert crashing.exception_of(out).signal == 6
    assert out.stat().st_size < 512 << 10
    with file_rules.DumpFile(out) as dump:
        assert struct.pack("<Q", 0x5EEDFACE5EEDFACE) in dump.data[:]
    assert file_rules.broken_rules(out) == []


def live_pattern() -> bytes:
    """What core_crash.c writes to PATTERN."""
    return struct.pack(
        f"<{cores.MIB // 8}Q",
        *((cores.PATTERN + at) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF for at in range(0, cores.MIB, 8)),
    )


def test_gcore(tmp_path: Path, made: Path) -> None:
    """Notes after the memory, offsets in bytes, no signal: a requested dump."""
    core = cores.by_gcore(tmp_path / "core", made, "wait", "3")
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    assert (report.pid, report.gaps, len(report.threads)) == (core.pid, (), 4)
    assert file_rules.broken_rules(out) == []
    assert_as_gdb(core, out)
    with file_rules.DumpFile(out) as dump:
        assert dump.read(cores.PATTERN, cores.MIB) == live_pattern()
        tid, code, flags = struct.unpack_from("<I4xII", dump.stream(6))
        assert (tid, code, flags) == (core.pid, 0xFFFFFFFF, 0)
        names = {name: record[4:] for _, _, name, record in dump.modules()}
        assert dump.modules()[0][2] == str(made)
        assert len([name for name in names if "/libc" in name or "/ld" in name]) == 2
        assert all(names.values())
    live.assert_accepted(out, report, ["lldb", "minidump", "udmp-parser", "minidump_stackwalk"])


@pytest.mark.parametrize("narrow", [False, True])
def test_debugger(tmp_path: Path, narrow: bool) -> None:
    """What gdb writes of a crash: the signal with its siginfo, for each thread."""
    core = cores.by_debugger(tmp_path / "core", cores.program(tmp_path, narrow=narrow), "null_in_thread", "2")
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    assert (report.pid, report.gaps, len(report.threads)) == (core.pid, (), 1 if narrow else 4)
    seen = assert_as_gdb(core, out, wide=not narrow)
    with file_rules.DumpFile(out) as dump:
        tid, code, flags, address = struct.unpack_from("<I4xII8xQ", dump.stream(6))
        assert tid == seen["current"]
        assert (code, flags, address) == tuple(seen["siginfo"].values())
        assert (code, flags, address) == (11, 1, 0x1234 if narrow else 8)
        if narrow:  # made of what FXSAVE stores, as FSAVE stores it: one valid register, the others empty
            [thread] = dump.threads()
            assert struct.unpack_from("<3I", thread.context, 28) == (0xFFFF037F, 0xFFFF3800, 0xFFFF3FFF)
            assert thread.context[28 + 28 :][:10] == bytes.fromhex("00000000000000c0ff3f")
    assert file_rules.broken_rules(out) == []


def test_cut_by_its_limit(tmp_path: Path, made: Path) -> None:
    """What is there is used; the rest is a gap, and the report says how many bytes are missing."""
    whole = cores.by_kernel(tmp_path / "whole", made, "null", "0")
    core = cores.by_kernel(tmp_path / "core", made, "null", "0", limit=256 << 10)
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    assert report.pid == core.pid
    assert not report.complete
    assert report.cut_bytes > 512 << 10
    assert {gap.reason for gap in report.gaps} == {GapReason.CUT}
    assert abs(report.cut_bytes - (whole.path.stat().st_size - core.path.stat().st_size)) <= 1 << 16
    assert sum(gap.size for gap in report.gaps) == report.cut_bytes
    assert crashing.exception_of(out).rip == core.at
    assert file_rules.broken_rules(out) == []


@pytest.mark.parametrize("keep", [0.001, 0.02, 0.3, 0.6, 0.95])
def test_cut_anywhere(tmp_path: Path, made: Path, keep: float) -> None:
    """Headers, notes or memory end early: a dump that keeps the rules, or an error that says so."""
    core = cores.by_kernel(tmp_path / "core", made, "null", "3")
    data = core.path.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data) * keep)])
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(cut), out)
    assert report.cut_bytes >= len(data) * (1 - keep) * 0.5
    assert file_rules.broken_rules(out) == []


def test_i386(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A 32-bit core becomes a minidump of x86."""
    made = cores.program(tmp_path_factory.mktemp("program32"), narrow=True)
    core = cores.by_kernel(tmp_path / "core", made)
    out = tmp_path / "out.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    assert report.pid == core.pid
    seen = assert_as_gdb(core, out, wide=False)
    with file_rules.DumpFile(out) as dump:
        assert struct.unpack_from("<H", dump.stream(7))[0] == 0
        [thread] = dump.threads()
        assert len(thread.context) == 716
        registers = of_context_32(thread.context)
        assert (registers["ebx"], registers["esi"], registers["edi"]) == (0x11111111, 0x22222222, 0x33333333)
        assert registers["xmm3"] == 0x00000004000000030000000200000001
        assert struct.unpack_from("<3I", thread.context, 28) == (0xFFFF037F, 0xFFFF3800, 0xFFFF3FFF)
        assert thread.context[28 + 28 :][:10] == bytes.fromhex("00000000000000c0ff3f")  # ST0: 1.5
        assert dump.read(registers["ecx"], 8) == bytes(range(1, 9))
        assert dump.thread_pointers() == {thread.tid: registers["ecx"]}
        code, flags, address = struct.unpack_from("<8xII8xQ", dump.stream(6))
        assert (code, flags, address) == (11, 1, 0x1234) == tuple(seen["siginfo"].values())
    walk = subprocess.run(
        [readers.breakpad_program("minidump_stackwalk"), str(out)], capture_output=True, text=True, check=False
    ).stdout
    assert "CPU: x86" in walk
    assert "Crash reason:  SIGSEGV /SEGV_MAPERR\nCrash address: 0x1234\n" in walk
    assert f"eip = 0x{registers['eip']:08x}" in walk
    live.assert_accepted(out, report, ["lldb", "minidump_stackwalk"])


def test_the_heap_is_where_the_kernel_has_it(tmp_path: Path) -> None:
    """No core names it; a rule about it must hold nevertheless."""
    command = [sys.executable, "-c", "input('ready')"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(5) == b"ready"
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        subprocess.run(["gcore", "-o", str(tmp_path / "core"), str(process.pid)], check=True, capture_output=True)
        process.communicate(b"\n")
    [heap] = [line.split()[0] for line in maps.splitlines() if line.endswith("[heap]")]
    first, end = (int(text, 16) for text in heap.split("-"))
    rule = md.exclude(kind="heap")
    report = md.write_dump(md.CoreFile(tmp_path / f"core.{process.pid}"), tmp_path / "out.dmp", filter=md.Filter(rule))
    named = [region for region in report.regions if region.name == b"[heap]"]
    assert [(region.base, region.base + region.size, region.kept) for region in named] == [(first, end, 0)]
    others = [region for region in report.regions if region.kinds & md.report.Kind.HEAP and region not in named]
    assert {(region.name, region.kept, region.type) for region in others} <= {(b"", 0, md.filters.MemoryType.PRIVATE)}
    assert not any(region.kinds & md.report.Kind.STACK for region in others)
    with md.open_dump(tmp_path / "out.dmp") as dump, pytest.raises(md.ReadError):
        dump.read(first, 1)
