"""The bytes of dumps do not change by accident: one fixed target, dumped in every way, against kept digests.

After a change of what a dump holds, run ``python tests/engine/test_same_bytes.py`` and commit the new digests together
with the reason. The names of the streams whose bytes changed are in the failure.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import fake
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux  # gaps hold error numbers of the system
KEPT = Path(__file__).resolve().parents[1] / "data" / "same_bytes.json"
HEADER = struct.Struct("<4sIIIIIQ")  # MINIDUMP_HEADER
DIRECTORY = struct.Struct("<III")  # MINIDUMP_DIRECTORY
STAMP = slice(20, 24)  # TimeDateStamp of the header
FULL = (
    md.DumpType.WITH_FULL_MEMORY
    | md.DumpType.WITH_FULL_MEMORY_INFO
    | md.DumpType.WITH_THREAD_INFO
    | md.DumpType.WITH_HANDLE_DATA
    | md.DumpType.WITH_UNLOADED_MODULES
)
TYPES = {"normal": md.DumpType.NORMAL, "full": FULL}
RULES = (
    md.exclude(name="/data/*"),
    md.exclude_ranges([(0x51_0000, 0x51_1800), (0x52_0000, 0x52_0001)]),
    md.head("8 KiB", kind="heap"),
)


def target() -> fake.Target:
    """Every shape at once: pages of zeros, untouched and unreadable ones, a thread without registers."""
    small = fake.small()
    return fake.small(
        regions=(
            *small.regions,
            fake.Region(base=0xA0_0000, size=64 * fake.PAGE, touch_every=3),
            fake.Region(base=0xB0_0000, size=64 * fake.PAGE, zero_every=4),
            fake.Region(base=0xC0_0000, size=8 * fake.PAGE, unreadable=(0xC0_2000, 0xC0_3000)),
            fake.Region(
                base=0xD0_0000, size=fake.PAGE, name=b"/dev/shm/\xff", protect=md.filters.MemoryProtect.NOACCESS
            ),
        ),
        modules=(*small.modules, fake.Module(base=0x70_0000, size=2 * fake.PAGE, path="/lib/größe.so".encode())),
        environ=(0x50_0000, 64),
        interrupted=(0x80_4000,),
    )


def filters(target: fake.Target) -> dict[str, md.Filter | None]:
    """With and without rules, with and without redaction."""
    hidden = md.Redact(
        ranges=[(0x50_0100, 0x50_0180)],
        patterns=[target.bytes(0x50_1000, 12), target.bytes(0x90_6100, 8)],
        stacks=True,
        environ={"keep": ["PATH"]},
    )
    rules: dict[str, Any] = {"memory": {"add": [(0xB0_0000, 0xB0_0800)]}, "modules": {"exclude": ["/lib/*"]}}
    return {
        "all": None,
        "rules": md.Filter(*RULES, **rules),
        "redacted": md.Filter(redact=hidden),
        "both": md.Filter(*RULES, **rules, redact=hidden),
    }


CASES = [f"{kind}-{rules}" for kind in TYPES for rules in ("all", "rules", "redacted", "both")]


def digests(case: str) -> dict[str, Any]:
    """SHA-256 of the whole file but its time, and of each stream."""
    kind, rules = case.split("-")
    file, shown = io.BytesIO(), target()
    fake.write(shown, file, TYPES[kind], filter=filters(shown)[rules])
    data = bytearray(file.getvalue())
    data[STAMP] = bytes(4)
    _, _, count, directory, *_ = HEADER.unpack_from(data)
    streams = {}
    for number in range(count):
        stream, size, at = DIRECTORY.unpack_from(data, directory + number * DIRECTORY.size)
        streams[f"{stream:#x}"] = hashlib.sha256(data[at : at + size]).hexdigest()[:16]
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "streams": streams}


@pytest.mark.parametrize("case", CASES)
def test_a_dump_of_a_fixed_target_keeps_its_bytes(case: str) -> None:
    kept, now = json.loads(KEPT.read_text("ascii"))[case], digests(case)
    changed = sorted(
        name for name in {**kept["streams"], **now["streams"]} if kept["streams"].get(name) != now["streams"].get(name)
    )
    assert not changed
    assert now == kept


def test_the_cases_differ() -> None:
    assert len({digests(case)["sha256"] for case in CASES}) == len(CASES)


def many(**changes: Any) -> fake.Target:
    """So many mappings that the front, most of the dump, is written when the target runs again."""
    others = tuple(fake.Region(base=0x1000_0000 + i * 2 * fake.PAGE, size=fake.PAGE) for i in range(6000))
    return fake.small(regions=(*target().regions, *others), **changes)


@pytest.mark.parametrize("rules", ["all", "redacted"])
@pytest.mark.parametrize("environ", [(0, 0), (0x50_0000, 64), (0xC0_1FF0, 64)])
def test_the_order_of_writing_changes_no_byte(environ: tuple[int, int], rules: str, tmp_path: Path) -> None:
    shown = many(environ=environ)
    files = {stop: tmp_path / stop for stop in ("whole", "memory")}  # of the second, all is kept in its order
    for stop, path in files.items():
        report = fake.write(shown, path, filter=filters(target())[rules], stop=stop)
        assert report.stop == stop
    data = [bytearray(path.read_bytes()) for path in files.values()]
    for one in data:
        one[STAMP] = bytes(4)
    assert len(data[0]) > 1 << 18 and data[0] == data[1]
    assert bytes(target().bytes(0x50_0000, 64)) in data[0] or environ[0] != 0x50_0000 or rules == "redacted"


if __name__ == "__main__":
    KEPT.write_text(json.dumps({case: digests(case) for case in CASES}, indent=1) + "\n", "ascii")
