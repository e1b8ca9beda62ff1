"""Dumps of Windows processes, written under Wine by both engines, and read on Linux by readers that are not ours."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
import readers
import wine

import minidump_cffi as md

pytestmark = pytest.mark.linux

ENGINES = ("native", "dbghelp")
READERS = {"lldb": readers.read_lldb, "minidump": readers.read_minidump, "udmp-parser": readers.read_udmp}
SECRET = b"TOP-SECRET-TOP-SECRET-"  # more than the one in the program's own image


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C target, for Windows."""
    wine.program()
    folder = tmp_path_factory.mktemp("windows")
    return wine.compile_c(live.HERE / "targets" / "win_pattern.c", folder / "win_pattern.exe", "-O0", "-g")


class Pattern:
    """A running win_pattern.exe and what it says of itself."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [wine.program(), str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.info: dict[str, int] = {}
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            words = raw.decode().split()
            if words == ["ready"]:
                break
            self.info[words[0]] = int(words[1], 16)
        assert "main" in self.info, self.process.wait(wine.PATIENCE)
        self.pid = self.info["pid"]

    def pattern(self) -> bytes:
        """What is in its known memory."""
        return bytes((i * 7 + i // 256) & 0xFF for i in range(self.info["pattern_size"]))

    def finish(self) -> int:
        """End its input; it ends with 0 if it ran on to the end."""
        assert self.process.poll() is None, "it has ended before"
        _, errors = self.process.communicate(timeout=wine.PATIENCE)
        assert not errors, errors
        return self.process.returncode


@pytest.fixture
def pattern(program: Path) -> Iterator[Pattern]:
    """The C target, running; it runs on whatever is done to it."""
    made = Pattern(program)
    try:
        yield made
        assert made.finish() == 0
    finally:
        with contextlib.suppress(OSError):
            made.process.kill()
        made.process.wait(wine.PATIENCE)


@pytest.fixture
def target() -> Iterator[wine.Target]:
    """A Windows CPython with three more threads; it answers after every test."""
    script = wine.windows_path(live.HERE / "targets" / "windows_threads.py")
    with wine.Target(Path(wine.python()).parent / "python" / "python.exe", script, "3") as made:
        yield made
        made.ping()


@pytest.fixture
def dump(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """``minidump-cffi dump`` of the Windows CPython, of a process by pid; its report, and the file."""

    def take(pid: int, engine: str, *words: str, rules: str | None = None) -> tuple[dict[str, Any], Path]:
        path = tmp_path / f"{engine}.dmp"
        if rules is not None:
            (tmp_path / "rules.toml").write_text(rules)
            words = (*words, "--filter", wine.windows_path(tmp_path / "rules.toml"))
        done = wine.run_cli("dump", str(pid), "-o", wine.windows_path(path), "--engine", engine, "--json", *words)
        assert done.returncode in (0, 3), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["complete"] == (done.returncode == 0)
        assert report["engine"] == engine
        assert report["pid"] == pid
        assert report["file_bytes"] == path.stat().st_size
        return report, path

    return take


WINE_STREAM = 0xFFF0


def without_stream_of_wine(path: Path) -> Path:
    """A copy without the stream 0xFFF0 of Wine's own dbghelp; the file itself where there is none."""
    with file_rules.DumpFile(path) as file:
        (directory,) = struct.unpack_from("<I", file.data, 12)
        content = bytearray(file.data)
        for number, (kind, _, _) in enumerate(file.directory):
            if kind == WINE_STREAM:
                struct.pack_into("<I", content, directory + 12 * number, 0)
        if content == file.data[:]:
            return path
    copy = path.with_suffix(".plain.dmp")
    copy.write_bytes(content)
    return copy


def readings(path: Path, memory: readers.Wanted = ()) -> dict[str, readers.Reading]:
    """What the readers say of a dump; none of them may complain."""
    with file_rules.DumpFile(path) as file:
        # udmp-parser wants a MemoryInfoList beside a Memory64List; Wine's dbghelp has none, whatever is asked for.
        unlisted = file.memory64() and file_rules.MEMORY_INFO_LIST not in file.streams
    found = {}
    for name, read in READERS.items():
        if name == "udmp-parser" and unlisted:
            continue
        try:
            # The package minidump gives up at numbers of streams that it does not know.
            found[name] = read(without_stream_of_wine(path) if name == "minidump" else path, memory)
        except readers.ReaderMissing as missing:
            if readers.readers_required():
                pytest.fail(f"{missing}, and MDC_REQUIRE_READERS is set")
            continue
        assert found[name].errors == (), f"{name}: {found[name].errors}"
    assert found, "no reader is at hand"
    return found


def module_names(reading: readers.Reading) -> set[str]:
    """Names of the module files, in lower case."""
    return {module.path.replace("/", "\\").rpartition("\\")[2].lower() for module in reading.modules or ()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["normal", "full"])
def test_every_reader_sees_what_the_report_says(
    kind: str, engine: str, target: wine.Target, dump: Callable[..., Any]
) -> None:
    report, path = dump(target.pid, engine, "--type", kind)
    tids = {target.info["main"], *target.info["threads"]}
    kept, size, _ = target.region("kept")
    for name, reading in readings(path, [(kept, size)] if kind == "full" else []).items():
        assert reading.threads is not None
        assert tids <= {thread.tid for thread in reading.threads}, name
        assert len(reading.threads) == len(report["threads"]), name
        assert {"python.exe", "python311.dll", "kernel32.dll", "ntdll.dll"} <= module_names(reading), name
        if kind == "full":
            assert reading.contents == (target.content("kept"),), name
    if engine == "native":
        assert file_rules.broken_rules(path) == []
        assert without_stream_of_wine(path) == path
    with file_rules.DumpFile(path) as file:
        assert file.holds(kept) == (kind == "full")


@pytest.mark.parametrize("engine", ENGINES)
def test_thread_and_module_rules_take_effect(engine: str, target: wine.Target, dump: Callable[..., Any]) -> None:
    left_out = target.info["threads"][1]
    rules = f'[threads]\nexclude = [{left_out}]\n[modules]\nexclude = ["*\\\\PYTHON311.dll"]\n'
    report, path = dump(target.pid, engine, rules=rules)
    others = {target.info["main"], *target.info["threads"]} - {left_out}
    for name, reading in readings(path).items():
        tids = {thread.tid for thread in reading.threads or ()}
        assert others <= tids, name
        assert left_out not in tids, name
        assert "kernel32.dll" in module_names(reading), name
        assert "python311.dll" not in module_names(reading), name
    assert [m["flags"] for m in report["modules"] if "python311.dll" in m["path"].lower()] == [[]]


@pytest.mark.parametrize("engine", ENGINES)
def test_pattern_of_a_c_program(engine: str, pattern: Pattern, dump: Callable[..., Any]) -> None:
    _, path = dump(pattern.pid, engine, "--type", "full")
    base, size = pattern.info["pattern"], pattern.info["pattern_size"]
    for name, reading in readings(path, [(base, size)]).items():
        assert reading.contents == (pattern.pattern(),), name
        assert pattern.info["main"] in {thread.tid for thread in reading.threads or ()}, name
        assert "win_pattern.exe" in module_names(reading), name
    assert live.file_holds(path, SECRET) != [-1]


def excluding(pattern: Pattern) -> str:
    """Rules that leave out the secret memory."""
    first, end = pattern.info["secret"], pattern.info["secret"] + pattern.info["secret_size"]
    return f'[[rule]]\naction = "exclude"\nrange = ["{first:#x}", "{end:#x}"]\n'


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_excluded_is_nowhere_in_the_file(engine: str, pattern: Pattern, dump: Callable[..., Any]) -> None:
    report, path = dump(pattern.pid, engine, "--type", "full", rules=excluding(pattern))
    base, size = pattern.info["pattern"], pattern.info["pattern_size"]
    for name, reading in readings(path, [(base, size), (pattern.info["secret"], 64)]).items():
        there, gone = reading.contents
        assert there == pattern.pattern(), name
        assert gone is None or set(gone) == {ord("X")}, name  # dbghelp did not ask about it: fill bytes
    assert live.file_holds(path, SECRET) == [-1]
    assert report["rules"][0]["excluded"] == pattern.info["secret_size"]


def test_stacks_of_threads_left_out_are_nowhere_in_the_file(pattern: Pattern, dump: Callable[..., Any]) -> None:
    """The marker is on the main thread's stack."""
    for engine in ENGINES:
        _, path = dump(pattern.pid, engine)
        with file_rules.DumpFile(path) as file:
            assert file.read(pattern.info["marker"], 13) == b"stack-marker\0", engine
        _, path = dump(pattern.pid, engine, rules=f"[threads]\nexclude = [{pattern.info['main']}]\n")
        with file_rules.DumpFile(path) as file:
            assert not file.holds(pattern.info["marker"], 13), engine
            assert pattern.info["main"] not in {thread.tid for thread in file.threads()}, engine


def test_threads_have_their_registers(pattern: Pattern, dump: Callable[..., Any]) -> None:
    """Both engines see one suspended thread at one place."""
    seen = []
    for engine in ENGINES:
        _, path = dump(pattern.pid, engine)
        with file_rules.DumpFile(path) as file:
            sleeper = next(thread for thread in file.threads() if thread.tid == pattern.info["sleeper"])
            seen.append((sleeper.register("rip"), sleeper.register("rsp"), sleeper.teb))
    assert seen[0] == seen[1]
    assert seen[0][0] != 0


@pytest.mark.parametrize("engine", ENGINES)
def test_plug_in_of_a_cross_compiler(engine: str, pattern: Pattern, dump: Callable[..., Any], tmp_path: Path) -> None:
    """A DLL that says TRUE to everything and touches nothing."""
    source, library = live.HERE / "targets" / "plugins" / "agrees.c", tmp_path / "agrees.dll"
    wine.compile_c(source, library, "-shared", "-Wall", "-Werror", "-I", md.protocol.get_include())
    report, path = dump(pattern.pid, engine, "--plugin", wine.windows_path(library))
    assert report["rules"] == []
    for name, reading in readings(path).items():
        assert {pattern.info["main"], pattern.info["sleeper"]} <= {thread.tid for thread in reading.threads or ()}, name


def test_plug_in_of_another_system(pattern: Pattern, tmp_path: Path) -> None:
    library = tmp_path / "agrees.so"
    source = live.HERE / "targets" / "plugins" / "agrees.c"
    live.compile_c(source, library, "-shared", "-fPIC", "-I", md.protocol.get_include())
    output = tmp_path / "a.dmp"
    words = ["-o", wine.windows_path(output), "--plugin", wine.windows_path(library)]
    done = wine.run_cli("dump", str(pattern.pid), *words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "agrees.so" in done.stderr
    assert not output.exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_process_that_is_not_there(engine: str, tmp_path: Path) -> None:
    output = tmp_path / "a.dmp"
    done = wine.run_cli("dump", "424240", "-o", wine.windows_path(output), "--engine", engine)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "424240" in done.stderr
    assert not output.exists()
