"""Runs in a Windows CPython: dumps a child with the scripted dbghelp (script_double.c), and prints what came of it.

Usage: ``drive_double.py script_double.dll folder``. One JSON object per case and line.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import minidump_cffi as md
from minidump_cffi._native import options as native_options

AREA, PAGES, PAGE = 0x20000000, 16, 4096
CHILD = f"""
import ctypes, sys
allocate = ctypes.windll.kernel32.VirtualAlloc
allocate.restype = ctypes.c_void_p
allocate.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32]
assert allocate({AREA}, {PAGES * PAGE}, 0x3000, 4) == {AREA}
for page in range({PAGES}):
    ctypes.memset({AREA} + page * {PAGE}, 65 + page, {PAGE})
print("ready", flush=True)
sys.stdin.read()
"""


class Script(ctypes.Structure):
    """`double_script` of script_double.h."""

    _fields_ = (
        ("area", ctypes.c_uint64),
        ("area_size", ctypes.c_uint64),
        *(
            (name, ctypes.c_uint32)
            for name in (
                "gcc_layout",
                "low_first",
                "only_items",
                "failed_reads",
                "failure",
                "wait_for_cancel",
                "fail_after",
                "hresult",
                "spoil",
                "with_items",
                "unshown",
                "no_clone",
                "asks_once",
            )
        ),
        ("clone", ctypes.c_void_p),
    )


library = ctypes.CDLL(sys.argv[1])
folder = Path(sys.argv[2])


def play(**wanted: Any) -> None:
    """What the double does next."""
    script = Script(area=AREA, area_size=PAGES * PAGE, failure=0x8007012B, **wanted)
    library.double_set(ctypes.byref(script))


def child() -> subprocess.Popen[str]:
    """A process with an area of known bytes."""
    made = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None and made.stdout.readline().strip() == "ready"
    return made


def case(name: str, process: Any, *words: Any, snapshot: bool = False, **options: Any) -> None:
    """Take a dump and print a line about it."""
    file = folder / f"{name}.dmp"
    line: dict[str, Any] = {"case": name}
    engine = md.DbgHelp(path=sys.argv[1], snapshot=snapshot)
    try:
        report = md.write_dump(process, file, *words, engine=engine, **options)
    except md.DumpError as error:
        line |= {
            "error": type(error).__name__,
            "winerror": getattr(error, "winerror", None),
            "hresult": error.hresult,
            "address": error.address,
        }
    else:
        line |= {
            "gaps": [[gap.address, gap.size] for gap in report.gaps],
            "complete": report.complete,
            "threads": len(report.threads),
            "modules": len(report.modules),
            "file_bytes": report.file_bytes,
        }
        if report.recording is not None:
            line["types"] = [int(call.type) for call in report.recording]
    line["exists"] = file.exists()
    print(json.dumps(line), flush=True)


def main() -> None:
    """All cases."""
    full = md.DumpType.WITH_FULL_MEMORY
    target = child()
    play()
    case("plain", target, record=True)
    case("full", target, full, record=True, filter=md.Filter(md.exclude(range=(AREA + 2 * PAGE, AREA + 4 * PAGE))))
    play(failed_reads=2)
    case("gaps", target, full, filter=md.Filter())
    case("refused", target, full, filter=md.Filter(read_failure="abort"))
    added = [(AREA + 10 * PAGE, AREA + PAGES * PAGE)]
    case("range_gone", target, filter=md.Filter(memory={"add": added}))
    case("range_refused", target, filter=md.Filter(read_failure="abort", memory={"add": added}))
    play(asks_once=1)
    case("once", target, full, filter=md.Filter(md.exclude(range=(AREA + 2 * PAGE, AREA + 4 * PAGE))))
    for number in (0x80070005, 0x80070070, 0x8007012B, 0x80004005):
        play(hresult=number, fail_after=0)
        case(f"{number:x}", target)
    play(wait_for_cancel=60_000)
    case("cancel", target, on_cancel=lambda: True)
    case("deadline", target, deadline=0.3)
    # Which DLL has PssCaptureSnapshot is nothing the package lets its users choose.
    clone = child()
    fill = native_options.dbghelp

    def with_pss(backend: Any) -> Any:
        def wrapped(spec: Any) -> object:
            kept = fill(backend)(spec)
            spec.dbghelp.pss = spec.dbghelp.dll
            return kept

        return wrapped

    native_options.dbghelp = with_pss
    play(clone=int(clone._handle))  # type: ignore[attr-defined]
    case("snapshot", target, full, snapshot=True)
    print(json.dumps({"case": "clone", "status": clone.wait(60)}), flush=True)
    native_options.dbghelp = fill
    target.communicate("", timeout=60)
    print(json.dumps({"case": "target", "status": target.returncode}), flush=True)


main()
