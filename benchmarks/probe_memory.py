"""Child of test_growth.py and test_files.py: dump once, and tell the peak of resident memory before and after as JSON.

Usage: probe_memory.py PID|IN FILE. Start-up is the interpreter with what a dump needs imported, and nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import minidump_cffi as md


def peak() -> int:
    """VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmHWM")


def main(target: str, file: str) -> None:
    """Measure and print."""
    process = int(target) if target.isdecimal() else md.AnyFile(target)
    write, full = md.write_dump, md.DumpType.WITH_FULL_MEMORY  # modules are imported when they are looked for
    imported = peak()
    report = write(process, file, full)
    after = peak()
    Path(file).unlink()
    print(json.dumps({"start": imported, "peak": after, "extents": len(report.extents)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
