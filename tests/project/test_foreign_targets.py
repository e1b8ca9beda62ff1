"""The C rooms for other targets than the one of this Python: musl, and aarch64 by a cross compiler and qemu.

Every room is compiled with all warnings and linked statically with programs of tests/native, which run. Those of musl
dump live processes; on aarch64 there is no engine for those, and everything else works: callback, filters, sources in
memory, existing dumps, outputs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import live
import pytest
import readers
from compilers import compile_objects, room_sources

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-DMDC_FAILPOINTS", "-O1", "-pthread")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror")
EVERYWHERE = [
    "test_callback_retire",
    "test_dumpfile_source_posix",
    "test_engine_dump",
    "test_filter_glob",
    "test_linux_engine",
    "test_session",
    "test_sink_stream_posix",
    "test_trace_replay",
]
MUSL = [
    "test_base_seams",
    "test_linux_backing",
    "test_linux_live",
    "test_linux_memory",
    "test_linux_registers",
    "test_session_live_posix",
    "test_session_process_posix",
]
AARCH64 = [
    "test_callback_biased_lock",
    "test_callback_regions",
]


def tool(name: str) -> str:
    """A program, or a skip (in CI an error)."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if readers.readers_required() else pytest.skip)(f"{name} is not installed")
    return found


def kernel_headers(folder: Path) -> Path:
    """The kernel's headers alone: musl-gcc knows a folder without them, and those of glibc beside them do not fit."""
    machine = os.uname().machine
    asm = next(
        path for path in (Path(f"/usr/include/{machine}-linux-gnu/asm"), Path("/usr/include/asm")) if path.exists()
    )
    folder.mkdir()
    for name, path in {
        "linux": "/usr/include/linux",
        "asm-generic": "/usr/include/asm-generic",
        "asm": str(asm),
    }.items():
        (folder / name).symlink_to(path)
    return folder


def run_all(compiler: list[str], runner: list[str], programs: list[str], folder: Path) -> None:
    """Compile the rooms, link each program, and run it."""
    objects = folder / "objects"
    objects.mkdir()
    complaints = compile_objects(
        [*compiler, *FLAGS, *WARNINGS], [*room_sources(), live.HERE / "support" / "fake.c"], objects
    )
    assert not complaints, complaints[-6000:]
    library = folder / "rooms.a"
    subprocess.run(["ar", "rcs", str(library), *map(str, sorted(objects.glob("*.o")))], check=True)
    sources = [live.HERE / "native" / f"{name}.c" for name in programs]
    include = ["-I", str(ROOT / "csrc")]
    complaints = compile_objects([*compiler, *FLAGS, *include], sources, folder)
    assert not complaints, complaints[-6000:]
    for source in sources:
        program = folder / source.stem
        link = [
            *compiler,
            "-static",
            str(folder / f"{source.stem}.o"),
            str(library),
            "-lm",
            "-pthread",
            "-o",
            str(program),
        ]
        subprocess.run(link, check=True)
        done = subprocess.run(
            [*runner, str(program)],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=120,
        )
        assert done.returncode == 0, f"{source.stem}: status {done.returncode}\n{done.stdout[-3000:]}"


def test_musl(tmp_path: Path) -> None:
    """Live processes are dumped by programs that are linked with musl."""
    if os.uname().machine != "x86_64":
        pytest.skip("live processes need x86-64")
    headers = kernel_headers(tmp_path / "headers")
    run_all([tool("musl-gcc"), "-isystem", str(headers)], [], [*EVERYWHERE, *MUSL], tmp_path)


def test_aarch64(tmp_path: Path) -> None:
    """What needs no registers runs on another processor; live processes are refused (test_linux_engine)."""
    compiler, emulator = tool("aarch64-linux-gnu-gcc"), tool("qemu-aarch64")
    run_all([compiler], [emulator], [*EVERYWHERE, *AARCH64], tmp_path)
