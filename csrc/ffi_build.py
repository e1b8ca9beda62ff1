"""Describes the extension minidump_cffi._native to cffi.

The declarations are those of the C headers themselves: what stands between ``/* cdef: begin */`` and
``/* cdef: end */`` is read by cffi as it is read by the compiler. Paths are relative to the project's root, as
setuptools wants them.
"""

import os
import re
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
failpoints = os.environ.get("MDC_FAILPOINTS") == "1"


def declarations(header: str) -> str:
    """The text of a header that cffi reads."""
    text = (root / header).read_text(encoding="utf-8")
    parts = re.findall(r"/\* cdef: begin \*/(.*?)/\* cdef: end \*/", text, re.DOTALL)
    if not parts:
        raise SystemExit(f"{header}: no text between the cdef markers")
    text = re.sub(r"/\*.*?\*/", " ", "".join(parts), flags=re.DOTALL)
    text = re.sub(r"\bMDC_CALL\b", "__stdcall" if sys.platform == "win32" else "", text)
    # Padding is the compiler's business: cffi takes sizes and offsets from it ("...").
    text = re.sub(r"\bMDC_THREAD_(PAD|TAIL)\b", "", text).replace("[MDC_CONTEXT_SIZE]", "[...]")
    return re.sub(r"(typedef (?:struct|union) \w+ \{.*?)(\n\} \w+;)", r"\1\n    ...;\2", text, flags=re.DOTALL)


def sources() -> list[str]:
    """Every C file of the rooms that belong to this system."""
    absent = {"linux"} if sys.platform == "win32" else {"windows"}
    return sorted(
        path.relative_to(root).as_posix() for path in root.glob("csrc/*/*.c") if path.parent.name not in absent
    )


ffibuilder = FFI()
ffibuilder.cdef("\n".join(map(declarations, HEADERS)) + HOOKS)
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
