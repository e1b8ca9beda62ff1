"""Describes the extension minidump_cffi._native._ext to cffi.

The declarations are those of the C headers themselves (see minidump_cffi/_cdef.py). Paths are relative to the project's
root, as setuptools wants them.
"""

import os
import runpy
import sys
from pathlib import Path

from cffi import FFI

# The system that is built for: setup.py tells how to name another one.
windows = (os.environ.get("MDC_TARGET") or sys.platform).startswith("win")
mingw = windows and sys.platform != "win32"

HEADERS = [
    "csrc/api/minidump_protocol.h",
    "csrc/api/error.h",
    "csrc/base/shortage.h",
    "csrc/api/filter.h",
    "csrc/api/callback.h",
    "csrc/api/report.h",
    "csrc/api/engine.h",
    "csrc/api/dbghelp.h",
    "csrc/trace/codec.h",
    "csrc/trace/recorder.h",
    "csrc/trace/replay.h",
    "csrc/source/carried.h",
    "csrc/source/snapshot.h",
    "csrc/source/source.h",
    "csrc/source/reading.h",
    "csrc/dumpfile/dump_view.h",
    "csrc/dumpfile/dump_source.h",
    "csrc/elfcore/core_source.h",
    *(
        ["csrc/crash/crash_windows.h"]
        if windows
        else ["csrc/base/openat2.h", "csrc/linux/access.h", "csrc/linux/signal_stop.h", "csrc/crash/crash_posix.h"]
    ),
    "csrc/session/session.h",
]

POSIX = [("_GNU_SOURCE", "1")]
# Windows 7 and later; mingw's printf knows %zu only if it is its own.
WINDOWS = [("_WIN32_WINNT", "0x0601"), ("__USE_MINGW_ANSI_STDIO", "1")]

# Hooks are entered here from C: see minidump_cffi/callback.py.
HOOKS = """
extern "Python" int32_t mdc_py_hook(void *, MINIDUMP_CALLBACK_INPUT *, MINIDUMP_CALLBACK_OUTPUT *);
"""

root = Path(__file__).resolve().parent.parent
declarations = runpy.run_path(str(root / "minidump_cffi" / "_cdef.py"))["declarations"]
failpoints = os.environ.get("MDC_FAILPOINTS") == "1"


def belongs(source: Path) -> bool:
    """True for a file that is compiled for this system: rooms, and names that end in _posix or _windows."""
    absent, suffix = ({"linux"}, "_posix") if windows else ({"windows", "dbghelp"}, "_windows")
    return source.relative_to(root / "csrc").parts[0] not in absent and not source.stem.endswith(suffix)


def sources() -> list[str]:
    """Every C file that belongs to this system."""
    return sorted(path.relative_to(root).as_posix() for path in (root / "csrc").rglob("*.c") if belongs(path))


ffibuilder = FFI()
ffibuilder.cdef("\n".join(declarations(root / header, windows) for header in HEADERS) + HOOKS)
if failpoints:
    ffibuilder.cdef("void mdc_failpoint_set(const char *spec);")
ffibuilder.set_source(
    "minidump_cffi._native._ext",
    "".join(f'#include "{header.removeprefix("csrc/")}"\n' for header in [*HEADERS, "csrc/base/failpoint.h"]),
    sources=sources(),
    include_dirs=["csrc"],
    depends=sorted(path.relative_to(root).as_posix() for path in (root / "csrc").rglob("*.h")),
    define_macros=[*(WINDOWS if windows else POSIX), *([("MDC_FAILPOINTS", "1")] if failpoints else [])],
    extra_compile_args=["-std=c11", "-O2"] if mingw else [] if windows else ["-O2", "-fvisibility=hidden"],
    libraries=[] if windows else ["pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
