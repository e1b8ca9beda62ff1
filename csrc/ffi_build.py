"""Describes the extension minidump_cffi._native to cffi.

The declarations are those of the C headers themselves (see minidump_cffi/_cdef.py). Paths are relative to the project's
root, as setuptools wants them.
"""

import os
import runpy
import sys
from pathlib import Path

from cffi import FFI

HEADERS = [
    "csrc/api/minidump_protocol.h",
    "csrc/api/error.h",
    "csrc/api/filter.h",
    "csrc/api/callback.h",
    "csrc/api/report.h",
    "csrc/api/engine.h",
    "csrc/api/dbghelp.h",
    "csrc/callback/drive.h",
    "csrc/callback/call.h",
    "csrc/callback/record.h",
    "csrc/callback/replay.h",
    "csrc/source/fake.h",
    "csrc/linux/access.h",
    "csrc/bind/job.h",
]

# Hooks are entered here from C: see minidump_cffi/callback.py.
HOOKS = """
extern "Python" int32_t mdc_py_hook(void *, MINIDUMP_CALLBACK_INPUT *, MINIDUMP_CALLBACK_OUTPUT *);
"""

root = Path(__file__).resolve().parent.parent
declarations = runpy.run_path(str(root / "minidump_cffi" / "_cdef.py"))["declarations"]
failpoints = os.environ.get("MDC_FAILPOINTS") == "1"


def sources() -> list[str]:
    """Every C file of the rooms that belong to this system."""
    absent = {"linux"} if sys.platform == "win32" else {"windows"}
    return sorted(
        path.relative_to(root).as_posix() for path in root.glob("csrc/*/*.c") if path.parent.name not in absent
    )


ffibuilder = FFI()
ffibuilder.cdef("\n".join(declarations(root / header) for header in HEADERS) + HOOKS)
if failpoints:
    ffibuilder.cdef("void mdc_failpoint_set(const char *spec);")
ffibuilder.set_source(
    "minidump_cffi._native",
    "".join(f'#include "{header.removeprefix("csrc/")}"\n' for header in [*HEADERS, "csrc/base/failpoint.h"]),
    sources=sources(),
    include_dirs=["csrc"],
    depends=sorted(path.relative_to(root).as_posix() for path in root.glob("csrc/*/*.h")),
    define_macros=[("_GNU_SOURCE", "1"), *([("MDC_FAILPOINTS", "1")] if failpoints else [])],
    extra_compile_args=[] if sys.platform == "win32" else ["-O2", "-fvisibility=hidden"],
    libraries=[] if sys.platform == "win32" else ["pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
