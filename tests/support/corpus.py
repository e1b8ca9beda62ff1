"""A folder with one dump of each kind that the tests of a run make, for Microsoft's debugger engine at its end.

``MDC_DUMPS`` names the folder; without it nothing is kept. conftest.py sets it where that engine is at hand, and CI for
the tests under Windows, whose dumps are read on Linux afterwards. Dumps are noticed where tests look into them
(file_rules.DumpFile, readers.assert_accepted_counts), and are copied: the test may change or delete its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import file_rules
    import readers

FOLDER = "MDC_DUMPS"
FILES_MAX = 120
BYTES_MAX = 64 << 20  # of one dump
SAMPLES = Path(__file__).resolve().parents[1] / "data"  # dumps of other writers


def kind_of(dump: file_rules.DumpFile) -> dict[str, Any]:
    """What makes the dump another case for a reader than one that is there already."""
    threads = dump.threads()
    modules = _count(dump, 4)
    return {
        "flags": hex(dump.flags),
        "streams": [hex(kind) for kind, _, _ in dump.directory],
        "platform": struct.unpack_from("<I", dump.stream(7), 20)[0],
        "threads": _size(len(threads)),
        "contexts": sorted({len(thread.context) for thread in threads}),
        "stackless": any(thread.stack.size == 0 for thread in threads),
        "modules": _size(modules),
        "ranges": [_size(len(dump.memory())), _size(len(dump.memory64()))],
    }


def _count(dump: file_rules.DumpFile, stream: int) -> int:
    data = dump.stream(stream)
    return int.from_bytes(data[:4], "little")


def _size(count: int) -> int:
    """None, one, some, or more than readers with limits take."""
    return min(count, 2) if count <= 4096 else 4097


def keep(dump: file_rules.DumpFile, counts: readers.Counts | None = None) -> None:
    """Keep a copy of a dump that a test has made, if it is of a new kind; counts: what the report says of it."""
    folder = os.environ.get(FOLDER)
    path = dump.path.resolve()
    if not folder or SAMPLES in path.parents or Path(folder).resolve() in path.parents or dump.size > BYTES_MAX:
        return
    try:
        kind = kind_of(dump)
    except struct.error:  # a stream that a test has taken out or cut
        return
    name = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:12]
    place, facts = Path(folder, f"{name}.dmp"), Path(folder, f"{name}.json")
    if facts.exists():
        if counts is None or json.loads(facts.read_text("utf-8"))["counts"] is not None:
            return
    elif len(list(Path(folder).glob("*.json"))) >= FILES_MAX:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    told = None if counts is None else dataclasses.asdict(counts)
    shutil.copyfile(path, place)
    facts.write_text(json.dumps({"test": test, "kind": kind, "counts": told}), "utf-8")


def kept(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The dumps of a folder, and what is known of each."""
    return [(path.with_suffix(".dmp"), json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
