"""Dumps the fake target of tests/support/fake.py with a filter file; its result is JSON, the same on every system.

Arguments: filter file, dump, number of the dump type.
"""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import fake
import file_rules

import minidump_cffi as md

ALIKE = ("complete", "memory_bytes", "stored_bytes", "zero_bytes", "memory_ranges", "memory64_ranges", "callbacks",
         "memory_info_count", "rules", "threads", "modules", "regions")  # fmt: skip


def target() -> fake.Target:
    """The small one, with a page that cannot be read, a big file map and a region of odd rights."""
    small = fake.small()
    regions = (
        *small.regions,
        fake.Region(base=0xA0_0000, size=32 * fake.PAGE, unreadable=(0xA0_2000, 0xA0_3000), name=b"/dev/shm/pool"),
        fake.Region(
            base=0x7F00_0000_0000, size=64 * fake.PAGE, type=md.filters.MemoryType.MAPPED, kinds=md.filters.Kind.FILE
        ),
        fake.Region(base=0x7F10_0000_0000, size=4 * fake.PAGE, protect=md.filters.MemoryProtect.EXECUTE_READWRITE),
    )
    modules = (*small.modules, fake.Module(base=0x7F10_0000_0000, size=4 * fake.PAGE, path=b"/lib/libsecret.so"))
    return fake.small(regions=regions, modules=modules)


def main() -> None:
    """Dump, and tell."""
    keep, path = md.Filter.from_file(sys.argv[1]), Path(sys.argv[2])
    report = fake.write(target(), path, md.DumpType(int(sys.argv[3])), filter=keep).to_dict()
    with file_rules.DumpFile(path) as dump:
        memory = [(item.address, item.size, dump.read(item.address, item.size)) for item in dump.ranges()]
    told = {name: report[name] for name in ALIKE}
    told["gaps"] = [(gap["address"], gap["size"], gap["reason"]) for gap in report["gaps"]]
    told["memory"] = [(first, size, hashlib.sha256(content or b"").hexdigest()) for first, size, content in memory]
    print(json.dumps(told))


main()
