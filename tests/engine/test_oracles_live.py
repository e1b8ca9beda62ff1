"""Dumps of live processes, as readers that are not ours see them: what comes back is what was in the process."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
EXTRAS = (
    md.DumpType.NORMAL,
    md.DumpType.WITH_FULL_MEMORY_INFO,
    md.DumpType.WITH_THREAD_INFO,
    md.DumpType.IGNORE_INACCESSIBLE_MEMORY,
    md.DumpType.WITH_AVX_XSTATE_CONTEXT,
    md.DumpType.WITH_HANDLE_DATA,
    md.DumpType.WITH_FULL_MEMORY_INFO
    | md.DumpType.WITH_THREAD_INFO
    | md.DumpType.WITH_HANDLE_DATA
    | md.DumpType.IGNORE_INACCESSIBLE_MEMORY
    | md.DumpType.WITH_AVX_XSTATE_CONTEXT,
    md.DumpType(0x07FFFFFF) & ~FULL,
)
HONOURED = (
    EXTRAS[6]
    | md.DumpType.WITH_DATA_SEGS
    | md.DumpType.FILTER_MEMORY
    | md.DumpType.SCAN_MEMORY
    | md.DumpType.WITH_INDIRECTLY_REFERENCED_MEMORY
    | md.DumpType.FILTER_MODULE_PATHS
    | md.DumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | md.DumpType.WITHOUT_OPTIONAL_DATA
    | md.DumpType.WITH_CODE_SEGS
    | md.DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY
    | md.DumpType.WITH_MODULE_HEADERS
    | md.DumpType.FILTER_TRIAGE
)
MEMORY = (  # that a full dump has anyway
    md.DumpType.WITH_DATA_SEGS
    | md.DumpType.WITH_INDIRECTLY_REFERENCED_MEMORY
    | md.DumpType.WITH_PROCESS_THREAD_DATA
    | md.DumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | md.DumpType.WITH_CODE_SEGS
    | md.DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY
    | md.DumpType.WITH_MODULE_HEADERS
)
Start = Callable[..., live.Target]


def reading_of(reader: Callable[..., readers.Reading], *words: object, **options: object) -> readers.Reading:
    """A reader's view, or a skip where it is missing and may be."""
    try:
        return reader(*words, **options)
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            pytest.fail(f"{missing}, and MDC_REQUIRE_READERS is set")
        pytest.skip(str(missing))


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda value: f"{int(value):#x}")
@pytest.mark.parametrize("base", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_every_reader_accepts(base: md.DumpType, extra: md.DumpType, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 3)
    report, path = take(target, base | extra)
    assert report.complete
    with file_rules.DumpFile(path) as dump:
        honoured = HONOURED & ~(MEMORY | md.DumpType.WITHOUT_OPTIONAL_DATA) if base else HONOURED
        assert dump.flags == base | (extra & honoured)
        lost = extra & ~honoured & ~(MEMORY if base else 0)
        assert report.honoured == (base | extra) & ~lost
        assert bool(report.warnings & md.report.DumpWarning.TYPE) == bool(lost)
        assert all(any(str(member.name) in text for text in report.messages) for member in lost)
        assert {thread.tid for thread in dump.threads()} == set(live.task_states(target.pid))
        assert bool(dump.memory64()) == bool(base)


@pytest.mark.parametrize("base", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_thread_pointers(base: md.DumpType, start_pattern: Start, take: live.Taker) -> None:
    """The FS base of each thread. Not in Teb, where a debugger engine would take glibc's thread block for a TEB."""
    target = start_pattern("--threads", 3)
    _, path = take(target, base, only=())
    with file_rules.DumpFile(path) as dump:
        pointers = dump.thread_pointers()
        assert pointers.keys() == set(live.task_states(target.pid))
        assert all(thread.teb == 0 for thread in dump.threads())
        if base:  # the block begins with its own address
            for pointer in pointers.values():
                assert dump.read(pointer, 8) == pointer.to_bytes(8, "little")


BYTES_IN = ("plain", "unreadable", "odd_name", "deleted", "memfd", "named")


@pytest.mark.parametrize("reader", [readers.read_lldb, readers.read_minidump, readers.read_udmp])
def test_memory_comes_back(reader: Callable[..., readers.Reading], start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    _, path = take(target, FULL, only=())
    names = [name for name in BYTES_IN if name in target.info]
    assert len(names) >= 5
    wanted = [target.region(name)[:2] for name in names]
    reading = reading_of(reader, path, wanted)
    for name, content in zip(names, reading.contents, strict=True):
        assert content == target.content(name), f"{reading.reader}: {name}"


def expected_registers(index: int) -> dict[str, int]:
    """What park() in pattern.c loads for the worker with this number."""
    seed = ((index + 1) * 0x0101010101010100) & live.WORD
    order = ("rdi", "rsi", "rdx", "r8", "r9", "r10", "rbx", "r12", "r13", "r14", "r15")
    return {name: (seed + 0x11 * place) & live.WORD for place, name in enumerate(order)}


def expected_vector(index: int, number: int, size: int) -> bytes:
    """The vector register of that worker."""
    return bytes((number * 16 + byte + index + 1) & 0xFF for byte in range(size))


def test_registers_are_those_of_the_threads(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 4)
    _report, path = take(target)
    by_udmp = reading_of(readers.read_udmp, path)
    by_minidump = reading_of(readers.read_minidump, path)
    by_lldb = reading_of(readers.read_lldb, path, registers=True)
    for index, (tid, marker) in enumerate(target.info["threads"]):
        for reading in (by_udmp, by_minidump, by_lldb):
            assert reading.threads is not None
            thread = {item.tid: item for item in reading.threads}[tid]
            for name, value in expected_registers(index).items():
                assert thread.registers[name] == value, f"{reading.reader}: {name} of worker {index}"
            assert thread.sp is not None
            assert thread.sp < marker < thread.sp + 65536
        udmp_thread = {item.tid: item for item in by_udmp.threads or ()}[tid]
        for number in range(16):
            expected = int.from_bytes(expected_vector(index, number, 16), "little")
            assert udmp_thread.registers[f"xmm{number}"] == expected


def test_extended_state_holds_the_upper_halves(start_pattern: Start, take: live.Taker) -> None:
    """CONTEXT_XSTATE: a CONTEXT_EX after the CONTEXT says where the AVX part is."""
    target = start_pattern("--threads", 2)
    if not target.info["avx"]:
        pytest.skip("this processor has no AVX")
    _, path = take(target, md.DumpType.WITH_AVX_XSTATE_CONTEXT)
    with file_rules.DumpFile(path) as dump:
        threads = {thread.tid: thread for thread in dump.threads()}
    for index, (tid, _) in enumerate(target.info["threads"]):
        context = threads[tid].context
        assert len(context) > file_rules.CONTEXT_AMD64
        flags = struct.unpack_from("<I", context, 48)[0]
        assert flags & 0x40 == 0x40
        upper = [expected_vector(index, number, 32)[16:] for number in range(16)]
        assert b"".join(upper) in context[file_rules.CONTEXT_AMD64 :]


def test_back_traces_show_the_functions(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 2)
    target.ping()  # the main thread waits where it should
    live.wait_until(lambda: live.task_states(target.pid)[target.pid] == "S", "it waits")
    _, path = take(target)
    reading = reading_of(readers.read_lldb, path, frames=True)
    frames = {thread.tid: thread.frames for thread in reading.threads or ()}
    assert "main" in frames[target.pid]
    assert "serve" in frames[target.pid]
    for tid, _ in target.info["threads"]:
        assert frames[tid][0] == "park"
        assert frames[tid][1] == "worker_main"


def test_stackwalk_finds_the_program_on_the_stacks(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 2)
    _, path = take(target)
    reading = reading_of(readers.read_stackwalk, path)
    assert {module.path for module in reading.modules or ()} >= {"pattern", "libc.so.6"}


def test_stacks_hold_the_markers(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern("--threads", 4)
    _report, path = take(target)
    with file_rules.DumpFile(path) as dump:
        stacks = {thread.tid: thread.stack for thread in dump.threads()}
        for tid, marker in target.info["threads"]:
            assert dump.read(marker, 64) == live.pattern(marker, 64, 14)
            stack = stacks[tid]
            assert stack.address <= marker < stack.address + stack.size


def elf_build_id(path: str) -> str | None:
    """The GNU build id of a file, by pyelftools."""
    elffile = pytest.importorskip("elftools.elf.elffile")
    with open(path, "rb") as file:
        for segment in elffile.ELFFile(file).iter_segments("PT_NOTE"):
            for note in segment.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"])
    return None


def mapped_images(pid: int) -> dict[str, int]:
    """Paths and lowest addresses of the ELF files a process has mapped executable, from maps."""
    lowest: dict[str, int] = {}
    executable = set()
    for line in Path(f"/proc/{pid}/maps").read_bytes().decode("utf-8", "surrogateescape").splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            lowest.setdefault(parts[5], int(parts[0].split("-")[0], 16))
            if "x" in parts[1]:
                executable.add(parts[5])
    return {path: base for path, base in lowest.items() if path in executable}


@pytest.mark.parametrize("reader", [readers.read_lldb, readers.read_minidump, readers.read_udmp, readers.read_obj2yaml])
def test_modules_and_build_ids(reader: Callable[..., readers.Reading], start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    _, path = take(target, only=())
    reading = reading_of(reader, path)
    found = {module.path: module for module in reading.modules or ()}
    images = mapped_images(target.pid)
    assert len(images) >= 3
    for name, base in images.items():
        module = found[name]
        assert module.base == base, name
        assert module.build_id == elf_build_id(name), name


def test_a_deleted_program_keeps_its_build_id(pattern_program: Path, tmp_path: Path, take: live.Taker) -> None:
    copy = tmp_path / "copied program"
    copy.write_bytes(pattern_program.read_bytes())
    copy.chmod(0o700)
    with live.Target([str(copy), "--folder", str(tmp_path)]) as target:
        copy.unlink()
        _, path = take(target)
        with file_rules.DumpFile(path) as dump:
            records = {name: record for _, _, name, record in dump.modules()}
        record = next(record for name, record in records.items() if "copied program" in name)
        assert record == b"LEpB" + bytes.fromhex(elf_build_id(str(pattern_program)) or "")


def test_thread_names_and_text_streams(start_pattern: Start, take: live.Taker) -> None:
    secret = "MDC_TEST_VARIABLE=here it is"
    environment = {**os.environ, "MDC_TEST_VARIABLE": "here it is"}
    target = start_pattern("--threads", 3, env=environment)
    _, path = take(target)
    with file_rules.DumpFile(path) as dump:
        names = dump.thread_names()
        assert [names[tid] for tid, _ in target.info["threads"]] == ["worker-0", "worker-1", "worker-2"]
        assert secret.encode() in dump.stream(file_rules.ENVIRON).split(b"\0")
        assert dump.stream(file_rules.CMDLINE).split(b"\0")[1] == b"--folder"
        assert b"rw-p" in dump.stream(file_rules.MAPS)
        assert dump.stream(file_rules.AUXV) == Path(f"/proc/{target.pid}/auxv").read_bytes()
        assert b"processor" in dump.stream(file_rules.CPUINFO)
        assert f"Pid:\t{target.pid}".encode() in dump.stream(file_rules.STATUS)


def test_the_link_map_is_there_for_breakpad(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    _, path = take(target)
    with file_rules.DumpFile(path) as dump:
        data = dump.stream(file_rules.DSO_DEBUG)
    assert len(data) >= 24
    version, _, count = struct.unpack_from("<III", data)
    assert version >= 1
    assert count >= 3
