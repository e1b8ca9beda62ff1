"""Compiles and runs every program of tests/native: plain, under ASan and UBSan, those of several threads under TSan.

Each is linked with the C rooms alone: no Python, no build system. Exit status 77 means that the machine lacks
something; the reason stands on its standard output.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import live
import pytest
import readers

ROOT = live.HERE.parent
PROGRAMS = sorted(path for path in (live.HERE / "native").glob("*.c") if not path.stem.endswith("_windows"))
SKIPPED = 77
COMMON = ("-std=c11", "-D_GNU_SOURCE", "-DMDC_FAILPOINTS", "-g", "-pthread")
VARIANTS = {
    "plain": ("-O2",),
    "asan": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    "tsan": ("-O1", "-fsanitize=thread", "-fno-omit-frame-pointer"),
}
THREADED = "bind_"  # in the name of a program that is run under TSan too: jobs are what runs in several threads


def room_sources() -> list[Path]:
    """The C files of all rooms; windows/ needs its own system."""
    rooms = (path for path in (ROOT / "csrc").glob("*/*.c") if path.parent.name != "windows")
    return sorted(path for path in rooms if not path.stem.endswith("_windows"))


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
        command = [*live.compiler().split(), *COMMON, *VARIANTS[variant]]
        probe = folder / "probe.c"
        probe.write_text("int main(void) { return 0; }\n")
        linked = subprocess.run([*command, str(probe), "-o", str(folder / "probe")], capture_output=True, check=False)
        if linked.returncode != 0:
            reason = f"this compiler has no run time for {' '.join(VARIANTS[variant])}"
            if readers.readers_required():
                pytest.fail(reason)
            pytest.skip(reason)
        sources = room_sources()
        assert sources, "no C files in csrc"
        done = subprocess.run(
            [*command, "-c", *map(str, sources)], cwd=folder, capture_output=True, text=True, check=False, timeout=600
        )
        objects = sorted(folder.glob("*.o"))
        if done.returncode != 0:
            self.refusals[variant] = done.stderr
        elif len(objects) != len(sources):
            self.refusals[variant] = "two C files have one name"
        else:
            library = folder / "rooms.a"
            subprocess.run([os.environ.get("AR", "ar"), "rcs", str(library), *map(str, objects)], check=True)
            self.archives[variant] = library


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Rooms:
    """The compiled rooms."""
    return Rooms(tmp_path_factory.mktemp("rooms"))


def run_program(source: Path, library: Path, variant: str, folder: Path) -> None:
    """Compile, run, judge."""
    program = live.compile_c(
        source, folder / source.stem, *COMMON, *VARIANTS[variant], "-I", str(ROOT / "csrc"), str(library), "-lm"
    )
    command = [str(program)]
    setarch = shutil.which("setarch")
    if variant == "tsan" and setarch:
        command = [setarch, "-R", *command]  # its shadow memory does not go with every layout of the address space
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
@pytest.mark.parametrize("source", PROGRAMS, ids=lambda path: path.stem)
def test_native_program(source: Path, variant: str, rooms: Rooms, tmp_path: Path) -> None:
    run_program(source, rooms.archive(variant), variant, tmp_path)


@pytest.mark.parametrize("source", [path for path in PROGRAMS if THREADED in path.stem], ids=lambda path: path.stem)
def test_native_program_of_several_threads(source: Path, rooms: Rooms, tmp_path: Path) -> None:
    run_program(source, rooms.archive("tsan"), "tsan", tmp_path)


def test_there_are_native_programs() -> None:
    assert PROGRAMS
