"""The C headers as cffi reads them. Runs by itself: csrc/ffi_build.py uses it before there is a package to import."""

import re
import sys
from pathlib import Path

PUBLIC = ("minidump_protocol.h", "error.h", "filter.h", "callback.h", "report.h", "engine.h", "dbghelp.h")
"""The public headers, in the order in which they build on each other."""


def declarations(header: Path, windows: bool = sys.platform == "win32") -> str:
    """The text of a header between its cdef markers, without what cffi takes from the compiler; for Windows or not."""
    text = header.read_text(encoding="utf-8")
    parts = re.findall(r"/\* cdef: begin \*/(.*?)/\* cdef: end \*/", text, re.DOTALL)
    if not parts:
        raise ValueError(f"{header}: no text between the cdef markers")
    text = re.sub(r"/\*.*?\*/", " ", "".join(parts), flags=re.DOTALL)
    text = re.sub(r"\bMDC_CALL\b", "__stdcall" if windows else "", text)
    # Padding is the compiler's business: cffi takes sizes and offsets from it ("...").
    text = re.sub(r"\bMDC_THREAD_(PAD|TAIL)\b", "", text).replace("[MDC_CONTEXT_SIZE]", "[...]")
    return re.sub(r"(typedef (?:struct|union) \w+ \{.*?)(\n\} \w+;)", r"\1\n    ...;\2", text, flags=re.DOTALL)
