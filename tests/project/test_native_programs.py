"""Compiles and runs every program of tests/native: plain, under ASan and UBSan, those of several threads under TSan.

Each is linked with the C rooms alone: no Python, no build system. Exit status 77 means that the machine lacks
something; the reason is on its standard output. What needs no POSIX is cross-compiled for Windows too, with all
warnings on, and run under Wine; for 32-bit Windows it is linked, and run where Wine takes 32-bit programs.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import live
import pytest
import readers
import wine
from compilers import compile_objects, room_sources

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
SKIPPED = 77
COMMON = ("-std=c11", "-D_GNU_SOURCE", "-DMDC_FAILPOINTS", "-g1", "-pthread")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror")
VARIANTS = {
    "plain": ("-O2",),
    "asan": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    "tsan": ("-O1", "-fsanitize=thread", "-fno-omit-frame-pointer"),
}
WINDOWS = {"windows-x64": "x64", "windows-x86": "x86"}
THREADED = "session"  # in the name of a program that is run under TSan too: jobs are what runs in several threads


FAKE = live.HERE / "support" / "fake.c"  # linked with the rooms: most programs dump it


def programs(system: str) -> list[Path]:
    """The programs that are not named after another system: test_linux_*, *_posix; test_windows_*, *_windows."""
    topic, suffix = ("test_windows_", "_windows") if system == "linux" else ("test_linux_", "_posix")
    return [
        path
        for path in sorted((live.HERE / "native").glob("*.c"))
        if not path.stem.startswith(topic) and not path.stem.endswith(suffix)
    ]


class Rooms:
    """The rooms compiled into one archive per variant, each when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archives: dict[str, Path] = {}
        self.refusals: dict[str, str] = {}

    def archive(self, variant: str) -> Path:
        """The archive of a variant; a skip where the compiler has no run time for it (in CI an error)."""
        if variant not in self.archives and variant not in self.refusals:
            self._build(variant)
        if variant in self.refusals:
            pytest.fail(self.refusals[variant])
        return self.archives[variant]

    def _build(self, variant: str) -> None:
        folder = self.folder / variant
        folder.mkdir(exist_ok=True)
        command = compile_command(variant)
        if variant in WINDOWS:
            sources, archiver = [*room_sources("windows"), FAKE], wine.CROSS[WINDOWS[variant]].replace("gcc", "ar")
            command += WARNINGS
        else:
            sources, archiver = [*room_sources(), FAKE], os.environ.get("AR", "ar")
            _probe(command, folder, variant)
        assert sources, "no C files in csrc"
        complaints = compile_objects(command, sources, folder)
        objects = sorted(folder.glob("*.o"))
        if complaints:
            self.refusals[variant] = complaints[-6000:]
        elif len(objects) != len(sources):
            self.refusals[variant] = "two C files have one name"
        else:
            library = folder / "rooms.a"
            subprocess.run([archiver, "rcs", str(library), *map(str, objects)], check=True)
            self.archives[variant] = library


def compile_command(variant: str) -> list[str]:
    """Compiler and flags of a variant."""
    if variant in WINDOWS:
        return [wine.cross_compiler(WINDOWS[variant]), *wine.CROSS_FLAGS, "-DMDC_FAILPOINTS", "-O1"]
    return [*live.compiler().split(), *COMMON, *VARIANTS[variant]]


def _probe(command: list[str], folder: Path, variant: str) -> None:
    """Skip (in CI: fail) where the compiler has no run time for the variant."""
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    linked = subprocess.run([*command, str(probe), "-o", str(folder / "probe")], capture_output=True, check=False)
    if linked.returncode != 0:
        reason = f"this compiler has no run time for {' '.join(VARIANTS[variant])}"
        if readers.readers_required():
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Rooms:
    """The compiled rooms."""
    return Rooms(tmp_path_factory.mktemp("rooms"))


def link_program(source: Path, library: Path, variant: str, folder: Path) -> Path:
    """A program and the rooms."""
    compiler, *flags = compile_command(variant)
    name = source.stem + (".exe" if variant in WINDOWS else "")
    return live.compile_c(source, folder / name, *flags, "-I", str(ROOT / "csrc"), str(library), "-lm", cross=compiler)


def run_program(source: Path, library: Path, variant: str, folder: Path) -> None:
    """Compile, run, judge."""
    command = [str(link_program(source, library, variant, folder))]
    setarch = shutil.which("setarch")
    if variant == "tsan" and setarch:
        command = [setarch, "-R", *command]  # its shadow memory does not go with every layout of the address space
    if variant in WINDOWS:
        command = [wine.program(), *command]
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
        "TMPDIR": str(folder),
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode == SKIPPED:
        pytest.skip(text.strip()[-300:] or "the program gave no reason")
    assert done.returncode == 0, f"status {done.returncode}\n{text[-6000:]}"


@pytest.mark.parametrize("variant", ["plain", "asan"])
@pytest.mark.parametrize("source", programs("linux"), ids=lambda path: path.stem)
def test_native_program(source: Path, variant: str, rooms: Rooms, tmp_path: Path) -> None:
    run_program(source, rooms.archive(variant), variant, tmp_path)


@pytest.mark.parametrize(
    "source", [path for path in programs("linux") if THREADED in path.stem], ids=lambda path: path.stem
)
def test_native_program_of_several_threads(source: Path, rooms: Rooms, tmp_path: Path) -> None:
    run_program(source, rooms.archive("tsan"), "tsan", tmp_path)


@pytest.mark.parametrize("source", programs("windows"), ids=lambda path: path.stem)
def test_windows_program(source: Path, rooms: Rooms, tmp_path: Path) -> None:
    """Built with mingw-w64 without a warning in the rooms, run under Wine."""
    wine.program()
    run_program(source, rooms.archive("windows-x64"), "windows-x64", tmp_path)


@pytest.mark.parametrize("source", programs("windows"), ids=lambda path: path.stem)
def test_32_bit_windows_program(source: Path, rooms: Rooms, tmp_path: Path) -> None:
    """Built and linked; run where Wine takes 32-bit programs."""
    library = rooms.archive("windows-x86")
    if takes_32_bit_programs(rooms.folder):
        run_program(source, library, "windows-x86", tmp_path)
    else:
        assert link_program(source, library, "windows-x86", tmp_path).is_file()


@functools.cache
def takes_32_bit_programs(folder: Path) -> bool:
    """True if there is a Wine that runs a 32-bit program."""
    if not os.environ.get("MDC_WINE_PYTHON"):
        return False
    source = folder / "answer.c"
    source.write_text("int main(void) { return 42; }\n")
    program = live.compile_c(source, folder / "answer32.exe", cross=wine.cross_compiler("x86"))
    return wine.run([wine.program(), program]).returncode == 42


def test_every_program_is_for_some_system() -> None:
    linux, windows = set(programs("linux")), set(programs("windows"))
    assert linux - windows, "none is taken for Linux only: the rule sees nothing"
    assert linux & windows
    assert linux | windows == set((live.HERE / "native").glob("*.c"))
