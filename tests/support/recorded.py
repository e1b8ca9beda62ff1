"""Recordings of Microsoft's MiniDumpWriteDump: the dumps they are of, and the program that makes them.

`SCENARIOS` says what each dump was and what answered it, so that the same callback can be made again for a replay. Run
as a program on Linux, with ``MDC_WINE_PYTHON`` set (``bash .ci/windows``), it records all of them anew, with each
version of dbghelp that ``bash .ci/windows microsoft`` has fetched.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minidump_cffi as md

FOLDER = Path(__file__).resolve().parents[1] / "data" / "sequences"
VERSIONS = ("6.3.9600", "10.0.22621")
AREA, PAGES, PAGE = 0x7000_0000_0000, 24, 4096  # of targets/win_area.c; the rules of strategies.py are about it too
FLAGS = ("-O1", "-s", "-Wl,--no-insert-timestamp")  # so that the program is the same each time
T = md.protocol.CallbackType
NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY


def pages(first: int, stop: int) -> tuple[int, int]:
    """Addresses of pages of the area."""
    return AREA + first * PAGE, AREA + stop * PAGE


EVERYTHING = md.Filter()
NO_EXTENSIONS = md.protocol.Extensions(0)
AREA_WITH_HOLES = md.Filter(
    md.include(range=pages(0, PAGES)),
    *(md.exclude(range=pages(page, page + 1)) for page in (1, 3, 4, 20)),
    default="exclude",
)


class Sink:
    """Takes the output and keeps nothing of it."""

    def write(self, offset: int, data: memoryview) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


def give_handle(_input: Any, output: Any) -> bool:
    """WriteKernelMinidump: a handle, so that the status is told."""
    output.Handle = md.protocol.ffi.cast("void *", 12345)
    return True


class Cancel:
    """Answers Cancel: says yes from a certain question on, or takes the area away."""

    def __init__(self, at: int = 0, release: Callable[[], None] | None = None) -> None:
        self.callback: md.Callback | None = None
        self.at, self.release = at, release
        self.asked = 0

    def __call__(self) -> bool:
        """Whether to cancel."""
        self.asked += 1
        assert self.callback is not None
        if self.release is not None and self.callback.counters.calls[T.REMOVE_MEMORY]:
            self.release()
            self.release = None
        return 0 < self.at <= self.asked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """One dump."""

    what: str
    kind: md.DumpType = NORMAL
    filter: md.Filter = EVERYTHING
    extensions: md.protocol.Extensions = NO_EXTENSIONS  # which dbghelp has, as far as the callback is told
    takes_io: bool = False
    gives_handle: bool = False
    cancels_at: int = 0
    loses_area: bool = False

    def callback(self, release: Callable[[], None] | None = None, *, record: bool = False) -> md.Callback:
        """What answers it."""
        cancel = Cancel(self.cancels_at, release) if self.cancels_at or self.loses_area else None
        made = md.Callback(
            self.filter,
            io=Sink() if self.takes_io else None,
            on_cancel=cancel,
            hooks={T.WRITE_KERNEL_MINIDUMP: give_handle} if self.gives_handle else None,
            record=record,
        )
        if cancel is not None:
            cancel.callback = made
        return made


SCENARIOS = {
    "normal": Scenario(what="nothing filtered"),
    "ranges": Scenario(
        what="memory added and removed, items trimmed, a handle for a kernel minidump",
        filter=md.Filter(
            secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO,
            threads={
                "default": md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.CONTEXT | md.filters.ThreadWrite.STACK
            },
            modules={"rules": [md.module("*kernel32.dll", md.filters.ModuleWrite.MODULE)], "exclude": ["*ntdll.dll"]},
            memory={"add": [pages(0, 3), pages(5, 6)], "remove": [pages(1, 2)]},
        ),
        gives_handle=True,
    ),
    "failure": Scenario(
        what="memory added, gone before it was read",
        filter=md.Filter(memory={"add": [pages(0, PAGES)]}),
        loses_area=True,
    ),
    "io": Scenario(what="the output taken over", takes_io=True),
    "vm": Scenario(what="edits of reads asked for", filter=md.Filter(redact=md.Redact(patterns=["AAAA"]))),
    "full": Scenario(what="nothing filtered", kind=FULL, extensions=md.protocol.Extensions.RESUBMIT),
    "full-holes": Scenario(
        what="parts of one region kept, told that the engine asks again",
        kind=FULL,
        filter=AREA_WITH_HOLES,
        extensions=md.protocol.Extensions.RESUBMIT,
    ),
    "full-vm": Scenario(
        what="parts of one region kept, not told that the engine asks again, so that reads are edited",
        kind=FULL,
        filter=AREA_WITH_HOLES,
    ),
    "full-cancelled": Scenario(
        what="cancelled while memory was written",
        kind=FULL,
        extensions=md.protocol.Extensions.RESUBMIT,
        cancels_at=100,
    ),
}


def load(version: str, scenario: str) -> md.replay.Recording:
    """A recording."""
    return md.replay.Recording.from_jsonl(FOLDER / f"{name_of(version, scenario)}.jsonl")


def name_of(version: str, scenario: str) -> str:
    """Of the file, without its suffix."""
    return f"dbghelp-{version}-{scenario}"


# ----------------------------------------------------------------------------------- making them: in a Windows CPython


def record(version: str, program: str, folder: Path) -> None:
    """All of them with the dbghelp of the system."""
    dll = ctypes.WinDLL("dbghelp.dll" if version.startswith("6.") else "dbgcore.dll", use_last_error=True)
    dll.MiniDumpWriteDump.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32]
    dll.MiniDumpWriteDump.argtypes += [ctypes.c_void_p] * 3
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    kernel.VirtualFreeEx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32]
    application = Path("C:/app/target.exe")  # as paths in a recording have it
    application.parent.mkdir(exist_ok=True)
    shutil.copy(program, application)
    for name, scenario in SCENARIOS.items():
        with subprocess.Popen(str(application), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline().strip() == b"ready"
            handle = int(child._handle)  # type: ignore[attr-defined]

            def release(handle: int = handle) -> None:
                assert kernel.VirtualFreeEx(handle, AREA, 0, 0x8000)  # MEM_RELEASE

            output = folder / "recorded.dmp"
            file = kernel.CreateFileW(str(output), 0xC0000000, 0, None, 2, 0, None)  # read and write, CREATE_ALWAYS
            with scenario.callback(release, record=True) as callback:
                with callback.in_use(extensions=scenario.extensions):
                    information = (ctypes.c_uint64 * 2)(callback.routine, callback.param)
                    done = dll.MiniDumpWriteDump(
                        handle, child.pid, file, int(scenario.kind), None, None, ctypes.byref(information)
                    )
                    error = ctypes.get_last_error() & 0xFFFFFFFF
                callback.raise_error()
                made = callback.recording
            kernel.CloseHandle(file)
            output.unlink()
            child.kill()
        assert made is not None
        result = "it succeeded" if done else f"it failed with 0x{error:08X}"
        note = (
            f"Recorded: MiniDumpWriteDump, type 0x{int(scenario.kind):X}, of tests/targets/win_area.c under Wine: "
            f"{scenario.what}; {result}."
        )
        file_of = f"{'dbghelp.dll' if version.startswith('6.') else 'dbgcore.dll'} {version}"
        again = md.replay.Recording(made, engine=file_of, note=note, extensions=made.extensions, dropped=made.dropped)
        (folder / f"{name_of(version, name)}.jsonl").write_bytes(again.to_jsonl().encode("ascii"))
        print(f"{version} {name}: {len(made)} calls, {result}", flush=True)


# --------------------------------------------------------------------------------------------------- and from Linux


def main() -> None:
    """Compile the target, and have each version record."""
    import tempfile

    import live
    import wine

    with tempfile.TemporaryDirectory() as scratch:
        program = wine.compile_c(live.HERE / "targets" / "win_area.c", Path(scratch, "target.exe"), *FLAGS)
        for version in VERSIONS:
            done = wine.run_python(
                __file__, version, wine.windows_path(program), wine.windows_path(FOLDER),
                env={**os.environ, "MDC_DBGHELP": version},
            )  # fmt: skip
            print(done.stdout, end="")
            if done.returncode != 0:
                raise SystemExit(done.stderr)


if __name__ == "__main__":
    if sys.platform == "win32":
        record(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    else:
        main()
