"""Independent minidump readers, each wrapped in one function with one kind of answer.

None of them is ours: lldb, the PyPI packages ``minidump`` and ``udmp-parser``, Breakpad's ``minidump_stackwalk`` and
``minidump_dump``, LLVM's ``obj2yaml``. A dump is *accepted* when a reader ends with status 0, prints no error about a
stream, and counts the same threads, modules and memory ranges as our report; :func:`assert_accepted` asks all of them.

A reader that is not installed is passed over, except where ``MDC_REQUIRE_READERS`` is set (CI): there it is an error.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpus
import file_rules

HERE = Path(__file__).resolve().parent
READER_TIMEOUT = 240.0  # seconds; a reader that takes longer hangs
BREAKPAD_LIMITS = (4096, 2048, 4096)  # threads, modules, MemoryList ranges: Breakpad drops longer lists
_ABSENT = "is not installed"


@dataclass(frozen=True, kw_only=True)
class ReaderThread:
    """A thread as a reader saw it; a number is None where the reader does not tell."""

    tid: int
    sp: int | None = None
    ip: int | None = None
    stack: tuple[int, int] | None = None  # address, bytes
    registers: dict[str, int] = field(default_factory=dict)
    frames: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReaderModule:
    """A module as a reader saw it."""

    path: str
    base: int
    size: int | None = None
    build_id: str | None = None  # lower case hex


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All a reader says of one dump. A list is None where the reader does not show it."""

    reader: str
    threads: tuple[ReaderThread, ...] | None = None
    modules: tuple[ReaderModule, ...] | None = None
    memory: tuple[tuple[int, int], ...] | None = None  # MemoryList: address, bytes
    memory64: tuple[tuple[int, int], ...] | None = None  # Memory64List: address, bytes
    infos: tuple[tuple[int, int], ...] | None = None  # MemoryInfoList: address, bytes
    thread_count: int | None = None
    module_count: int | None = None
    memory_count: int | None = None
    memory64_count: int | None = None
    info_count: int | None = None
    contents: tuple[bytes | None, ...] = ()  # one per range of memory asked for
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What our report says is in the file; None where it is not to be compared."""

    threads: int | None = None
    modules: int | None = None
    memory: int | None = None
    memory64: int | None = None
    infos: int | None = None
    stackless: int = 0  # threads in the list whose stack is not in the file


class ReaderMissing(Exception):
    """The reader is not on this machine."""


Wanted = Sequence[tuple[int, int]]  # address, bytes


def _which(*names: str) -> str:
    if sys.platform == "win32":
        # Under Wine the programs of the system below are seen, but take no path of Windows.
        raise ReaderMissing(f"{names[-1]} is no program of Windows")
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise ReaderMissing(f"{names[-1]} {_ABSENT}")


def _versions(tool: str) -> tuple[str, ...]:
    return (*(f"{tool}-{version}" for version in range(22, 13, -1)), tool)


@functools.cache
def lldb_program() -> str:
    """Path of an lldb (19 before others: the one the exact commands were tried with)."""
    return _which("lldb-19", *_versions("lldb"))


@functools.cache
def obj2yaml_program() -> str:
    """Path of an obj2yaml."""
    return _which("obj2yaml-19", *_versions("obj2yaml"))


@functools.cache
def breakpad_program(name: str) -> str:
    """Path of a Breakpad tool: from MDC_BREAKPAD_BIN, a node_modules folder here or above, the CI cache, or PATH."""
    if sys.platform == "win32":
        return _which(name)
    relative = Path("node_modules/minidump/bin/linux-x64")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidump-cffi-ci"
    folders = [folder / relative for folder in (*HERE.parents, cache)]
    if "MDC_BREAKPAD_BIN" in os.environ:
        folders.insert(0, Path(os.environ["MDC_BREAKPAD_BIN"]))
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return str(folder / name)
    return _which(name)


def _run(command: Sequence[str], output: Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a reader with its standard output in a file (it may be long); return status and standard error."""
    with output.open("wb") as stdout:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=READER_TIMEOUT,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    return done.returncode, done.stderr.decode("utf-8", "replace")


def _status(code: int) -> list[str]:
    return [] if code == 0 else [f"exit status {code}"]


def _build_id(record: bytes) -> str | None:
    return record[4:].hex() if record[:4] == b"LEpB" else None  # "BpEL" as a little-endian number


def _utf16(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").rstrip("\0")


# --- lldb ----------------------------------------------------------------------------------------------------------


def read_lldb(
    path: Path, memory: Wanted = (), *, registers: bool = False, frames: bool = False, tids: Iterable[int] | None = None
) -> Reading:
    """``target create -c FILE``, then threads, images, regions and memory through lldb's own Python."""
    program = lldb_program()
    request = {"memory": [list(pair) for pair in memory], "registers": registers, "frames": frames}
    if tids is not None:
        request["only_tids"] = list(tids)
    with tempfile.TemporaryDirectory(prefix="mdc-lldb-") as folder:
        answer_path, output = Path(folder, "answer.json"), Path(folder, "output")
        script = HERE / "lldb_script.py"
        code, stderr = _run(
            [program, "-x", "-b", "-o", f"target create -c '{path}'", "-o", f"command script import '{script}'"],
            output,
            {"MDC_LLDB_REQUEST": json.dumps(request), "MDC_LLDB_ANSWER": str(answer_path)},
        )
        text = output.read_text("utf-8", "replace")
        errors = _status(code) + [line for line in stderr.splitlines() if line.strip().startswith("error:")]
        if "was loaded" not in text:
            errors.append(text.strip() or "the core file was not loaded")
        if not answer_path.exists():
            return Reading(reader="lldb", errors=(*errors, "no answer: " + (stderr or text)))
        answer = json.loads(answer_path.read_text("utf-8"))
    threads = tuple(
        ReaderThread(
            tid=item["tid"],
            sp=item["sp"],
            ip=item["ip"],
            registers={
                name: int.from_bytes(bytes.fromhex(value), "little")
                for name, value in item.get("registers", {}).items()
            },
            frames=tuple(item.get("frames", ())),
        )
        for item in answer["threads"]
    )
    modules = tuple(
        ReaderModule(path=item["path"] or "", base=item["base"], build_id=item["uuid"]) for item in answer["modules"]
    )
    return Reading(
        reader="lldb",
        threads=threads,
        modules=modules,
        thread_count=len(threads) if tids is None else None,
        contents=tuple(None if item is None else bytes.fromhex(item) for item in answer["memory"]),
        errors=tuple(errors),
    )


# --- PyPI minidump -------------------------------------------------------------------------------------------------


def read_minidump(path: Path, memory: Wanted = ()) -> Reading:
    """``MinidumpFile.parse`` and its reader."""
    try:
        from minidump.minidumpfile import MinidumpFile
    except ImportError as error:
        raise ReaderMissing(f"the package minidump {_ABSENT}") from error
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # it looks for a Windows PEB in every dump, and logs that there is none
    try:
        dump: Any = MinidumpFile.parse(str(path))
    except Exception as error:  # whatever it raises, it does not accept the file
        return Reading(reader="minidump", errors=(f"{type(error).__name__}: {error}",))
    finally:
        logging.disable(before)
    try:
        threads = tuple(_minidump_thread(item) for item in (dump.threads.threads if dump.threads else ()))
        records = _minidump_codeview(dump)
        modules = tuple(
            ReaderModule(
                path=_utf16(item.name), base=item.baseaddress, size=item.size, build_id=_build_id(records[index])
            )
            for index, item in enumerate(dump.modules.modules if dump.modules else ())
        )

        def segments(part: Any) -> tuple[tuple[int, int], ...]:
            return tuple((s.start_virtual_address, s.size) for s in part.memory_segments) if part else ()

        infos = tuple((i.BaseAddress, i.RegionSize) for i in dump.memory_info.infos) if dump.memory_info else ()
        contents = tuple(_minidump_read(dump, address, size) for address, size in memory)
        ranges, ranges64 = segments(dump.memory_segments), segments(dump.memory_segments_64)
    finally:
        dump.file_handle.close()
    return Reading(
        reader="minidump",
        threads=threads,
        modules=modules,
        memory=ranges,
        memory64=ranges64,
        infos=infos,
        thread_count=len(threads),
        module_count=len(modules),
        memory_count=len(ranges),
        memory64_count=len(ranges64),
        info_count=len(infos),
        contents=contents,
    )


def _minidump_thread(item: Any) -> ReaderThread:
    context = item.ContextObject
    registers = {
        name.lower(): value
        for name, value in (vars(context).items() if context is not None else ())
        if isinstance(value, int)
    }
    return ReaderThread(
        tid=item.ThreadId,
        sp=registers.get("rsp", registers.get("esp")),
        ip=registers.get("rip", registers.get("eip")),
        stack=(item.Stack.StartOfMemoryRange, item.Stack.MemoryLocation.DataSize),
        registers=registers,
    )


def _minidump_codeview(dump: Any) -> list[bytes]:
    """The bytes of each module's CodeView record: the package keeps no raw record of an ELF build id."""
    from minidump.constants import MINIDUMP_STREAM_TYPE

    for entry in dump.directories:
        if entry.StreamType == MINIDUMP_STREAM_TYPE.ModuleListStream:
            file = dump.file_handle
            file.seek(entry.Location.Rva)
            data = file.read(entry.Location.DataSize)
            records = []
            for index in range(int.from_bytes(data[:4], "little")):
                location = data[4 + index * 108 + 76 :][:8]
                size, rva = int.from_bytes(location[:4], "little"), int.from_bytes(location[4:], "little")
                file.seek(rva)
                records.append(file.read(min(size, 4096)))
            return records
    return []


def _minidump_read(dump: Any, address: int, size: int) -> bytes | None:
    try:
        return bytes(dump.get_reader().read(address, size))
    except Exception:  # it raises plain Exception for memory that is not in the dump
        return None


# --- udmp-parser ---------------------------------------------------------------------------------------------------


def read_udmp(path: Path, memory: Wanted = ()) -> Reading:
    """``UserDumpParser.Parse``: strict about bounds, duplicates, contexts and MemoryInfoList."""
    try:
        import udmp_parser
    except ImportError as error:
        raise ReaderMissing(f"the package udmp-parser {_ABSENT}") from error
    parser: Any = udmp_parser.UserDumpParser()
    if not parser.Parse(path):
        return Reading(reader="udmp-parser", errors=("Parse returned False",))
    threads = []
    for tid, item in parser.Threads().items():
        context = item.Context
        registers = {
            name.lower(): value
            for name in dir(context)
            if not name.startswith("_") and isinstance(value := getattr(context, name), int)
        }
        for name in dir(context):  # 128-bit registers come as low and high half
            if re.fullmatch(r"Xmm\d+", name):
                value = getattr(context, name)
                registers[name.lower()] = value.Low | value.High << 64
        threads.append(ReaderThread(tid=tid, sp=registers.get("rsp"), ip=registers.get("rip"), registers=registers))
    modules = tuple(
        ReaderModule(
            path=str(item.ModuleName),
            base=base,
            size=item.SizeOfImage,
            build_id=_build_id(bytes(item.CvRecord)),
        )
        for base, item in parser.Modules().items()
    )
    infos = tuple((base, item.RegionSize) for base, item in parser.Memory().items())
    contents = []
    for address, size in memory:
        data = parser.ReadMemory(address, size)
        contents.append(bytes(data) if data is not None and len(data) == size else None)
    return Reading(
        reader="udmp-parser",
        threads=tuple(threads),
        modules=modules,
        infos=infos,
        thread_count=len(threads),
        module_count=len(modules),
        info_count=len(infos),
        contents=tuple(contents),
    )


# --- Breakpad ------------------------------------------------------------------------------------------------------

_ERROR_LINE = re.compile(r": ERROR: (.*)")


def read_stackwalk(path: Path) -> Reading:
    """``minidump_stackwalk -m FILE``: its exit status says little, its ERROR lines say that a list was lost."""
    program = breakpad_program("minidump_stackwalk")
    with tempfile.TemporaryDirectory(prefix="mdc-walk-") as folder:
        output = Path(folder, "output")
        code, stderr = _run([program, "-m", str(path)], output)
        lines = output.read_text("utf-8", "replace").splitlines()
    errors = _status(code) + _ERROR_LINE.findall(stderr)
    tids = [int(tid, 16) for tid in re.findall(r"Looking at thread .*:\d+/\d+ id (0x[0-9a-f]+)", stderr)]
    found = re.search(r"Found (\d+) memory regions", stderr)
    modules = tuple(
        ReaderModule(path=parts[1], base=int(parts[5], 16))
        for parts in (line.split("|") for line in lines if line.startswith("Module|"))
    )
    counted = re.search(r"Looking at thread .*:\d+/(\d+) id", stderr)
    return Reading(
        reader="minidump_stackwalk",
        threads=tuple(ReaderThread(tid=tid) for tid in tids),
        modules=modules,
        thread_count=int(counted[1]) if counted else len(tids),
        module_count=len(modules),
        memory_count=int(found[1]) if found else 0,
        errors=tuple(errors),
    )


def read_breakpad_dump(path: Path) -> Reading:
    """``minidump_dump FILE``: status 0 only if six streams are all there and sound."""
    program = breakpad_program("minidump_dump")
    with tempfile.TemporaryDirectory(prefix="mdc-bdump-") as folder:
        output = Path(folder, "output")
        code, stderr = _run([program, str(path)], output)
        errors = _status(code) + _ERROR_LINE.findall(stderr)
        counts: dict[str, int] = {}
        threads: list[ReaderThread] = []
        modules: list[ReaderModule] = []
        ranges: list[tuple[int, int]] = []
        infos: list[tuple[int, int]] = []
        record: dict[str, str] = {}
        pattern = re.compile(rb"^\s*([\w.()]+)\s+= (.*)$")
        with output.open("rb") as file:
            for line in file:
                if line.startswith((b"MD", b"(MD")):
                    record = {}
                    continue
                match = pattern.match(line[:4096])
                if not match:
                    continue
                key, value = match[1].decode(), match[2].decode("utf-8", "replace")
                record[key] = value
                if key in ("thread_count", "module_count", "region_count", "info_count"):
                    counts[key] = int(value)
                elif key == "thread_id":
                    threads.append(ReaderThread(tid=int(value.split()[0], 16)))
                elif key == "(code_file)":
                    base = int(record["base_of_image"], 16)
                    modules.append(ReaderModule(path=value.strip('"'), base=base))
                elif key == "memory.data_size" and "start_of_memory_range" in record:
                    ranges.append((int(record["start_of_memory_range"], 16), int(value, 0)))
                elif key == "region_size":
                    infos.append((int(record["base_address"], 16), int(value, 16)))
    return Reading(
        reader="minidump_dump",
        threads=tuple(threads),
        modules=tuple(modules),
        memory=tuple(ranges),
        infos=tuple(infos),
        thread_count=counts.get("thread_count"),
        module_count=counts.get("module_count"),
        memory_count=counts.get("region_count"),
        info_count=counts.get("info_count"),
        errors=tuple(errors),
    )


# --- LLVM ----------------------------------------------------------------------------------------------------------


def read_obj2yaml(path: Path) -> Reading:
    """``obj2yaml FILE``: strict about duplicates, parses four lists in full."""
    program = obj2yaml_program()
    with tempfile.TemporaryDirectory(prefix="mdc-yaml-") as folder:
        output = Path(folder, "output")
        code, stderr = _run([program, str(path)], output)
        kind = ""
        threads: list[ReaderThread] = []
        modules: list[ReaderModule] = []
        ranges: list[tuple[int, int]] = []
        infos: list[tuple[int, int]] = []
        start = 0
        with output.open("rb") as file:
            for raw in file:
                line = raw[:8192].decode("utf-8", "replace").rstrip("\n")
                words = line.split(":", 1)
                key = words[0].strip().removeprefix("- ")
                value = words[1].strip() if len(words) > 1 else ""
                if line.startswith("  - Type:"):
                    kind = value
                elif kind == "ThreadList" and key == "Thread Id":
                    threads.append(ReaderThread(tid=int(value, 0)))
                elif kind == "ModuleList" and key == "Base of Image":
                    start = int(value, 0)
                elif kind == "ModuleList" and key == "Module Name":
                    modules.append(ReaderModule(path=value.strip("'\""), base=start))
                elif kind == "ModuleList" and key == "CodeView Record" and modules:
                    last = modules[-1]
                    identity = _build_id(bytes.fromhex(value.strip("'\"")))
                    modules[-1] = ReaderModule(path=last.path, base=last.base, build_id=identity)
                elif kind == "MemoryList" and key == "Start of Memory Range":
                    ranges.append((int(value, 0), 0))
                elif kind == "MemoryInfoList" and key == "Base Address":
                    start = int(value, 0)
                elif kind == "MemoryInfoList" and key == "Region Size":
                    infos.append((start, int(value, 0)))
    return Reading(
        reader="obj2yaml",
        threads=tuple(threads),
        modules=tuple(modules),
        thread_count=len(threads),
        module_count=len(modules),
        memory_count=len(ranges),
        info_count=len(infos),
        infos=tuple(infos),
        errors=tuple(_status(code) + [line for line in stderr.splitlines() if "error" in line.lower()]),
    )


READERS: dict[str, Callable[[Path], Reading]] = {
    "lldb": read_lldb,
    "minidump": read_minidump,
    "udmp-parser": read_udmp,
    "minidump_stackwalk": read_stackwalk,
    "minidump_dump": read_breakpad_dump,
    "obj2yaml": read_obj2yaml,
}


def readers_required() -> bool:
    """True where no reader may be missing (CI)."""
    return os.environ.get("MDC_REQUIRE_READERS", "") not in ("", "0")


# What Breakpad says of each thread without a stack (minidump.cc: "this is ok, but log an error anyway"). No stream is
# lost by it; it is accepted as often as the report says that there is such a thread, and not once more.
_STACKLESS = ("MinidumpThread has a memory region problem, 0x0+0x0", "No memory region for ", "Can't get caller frame")


# minidump_dump asks for a MemoryList in every dump, and a full one has none: no writer's. (An empty list would please
# it, and Microsoft's debugger engine refuses a full dump that has a list at all.)
_NO_MEMORY_LIST = ["exit status 1", "minidump.GetMemoryList() failed"]


def _serious(errors: Sequence[str], stackless: int) -> list[str]:
    serious = [error for error in errors if not error.startswith(_STACKLESS)]
    for kind in _STACKLESS:
        said = [error for error in errors if error.startswith(kind)]
        if len(said) > stackless:
            serious += said
    return serious


def complaints(reading: Reading, counts: Counts, full: bool = False) -> list[str]:
    """Why this reading is no acceptance; empty if it is one. full: the dump says WITH_FULL_MEMORY."""
    serious = _serious(reading.errors, counts.stackless)
    if reading.reader == "minidump_dump" and full and serious == _NO_MEMORY_LIST:
        serious = []
    found = [f"{reading.reader}: {error}" for error in serious]
    pairs = (
        ("threads", reading.thread_count, counts.threads),
        ("modules", reading.module_count, counts.modules),
        ("MemoryList ranges", reading.memory_count, counts.memory),
        ("Memory64List ranges", reading.memory64_count, counts.memory64),
        ("MemoryInfoList entries", reading.info_count, counts.infos),
    )
    for what, seen, expected in pairs:
        if seen is not None and expected is not None and seen != expected:
            found.append(f"{reading.reader}: {seen} {what}, the report says {expected}")
    return found


def read_all(path: Path, only: Iterable[str] | None = None) -> list[Reading]:
    """Every reader's view of the dump; readers that are missing are left out, or an error where all are required."""
    readings = []
    for name in READERS if only is None else only:
        try:
            readings.append(READERS[name](path))
        except ReaderMissing as missing:
            if readers_required():
                raise AssertionError(f"{missing}, and MDC_REQUIRE_READERS is set") from missing
    return readings


def assert_accepted_counts(path: Path, counts: Counts, only: Iterable[str] | None = None) -> list[Reading]:
    """Every reader at hand accepts the dump, with these counts."""
    readings = read_all(path, only)
    with file_rules.DumpFile(path) as dump:
        full = bool(dump.flags & file_rules.FULL_MEMORY)
        corpus.keep(dump, counts)
    found = [line for reading in readings for line in complaints(reading, counts, full)]
    assert not found, f"{path.name} is not accepted:\n" + "\n".join(found)
    return readings
