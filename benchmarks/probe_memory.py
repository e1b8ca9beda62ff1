"""Child of test_growth.py: dump a process once, and tell the peak of resident memory before and after as JSON.

Usage: probe_memory.py PID FILE. Start-up is the interpreter with the package imported, and nothing else.
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


def main(pid: int, file: str) -> None:
    """Measure and print."""
    imported = peak()
    report = md.write_dump(pid, file, md.DumpType.WITH_FULL_MEMORY)
    after = peak()
    Path(file).unlink()
    print(json.dumps({"start": imported, "peak": after, "extents": len(report.extents)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
