"""Random filters, and the whole file searched for every marker that a rule excludes.

    python tests/stress/exclusion.py --count 300

The target (marks.c) holds a marker of 16 bytes, a function of its address, in every half page of seven kinds of memory.
Full dumps go to a path, a pipe and an object with ``write()``. What the last matching rule excludes, what
`Memory.remove` or `Redact.ranges` covers and what is a pattern must be nowhere in the file; what is included as a whole
page must be there.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import common

import minidump_cffi as md

PAGE, WORD = 4096, (1 << 64) - 1
KINDS = ("heap", "anonymous", "file", "shared", "image", "stack")
NAMES = ("*map file*", "[[]heap]", "", "*marks", "*.so*")


def mix(x: int) -> int:
    """As in marks.c."""
    x &= WORD
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


class Marks:
    """The running target."""

    def __init__(self, program: Path, folder: Path, seed: int) -> None:
        self.seed = seed
        command = [program, f"{seed:x}", folder / "map file.bin"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={})
        assert self.process.stdout is not None
        self.places: list[tuple[int, int]] = []
        for line in iter(self.process.stdout.readline, "ready\n"):
            _, first, end = line.split()
            self.places.append((int(first, 16), int(end, 16)))
        self.addresses = [at for first, end in self.places for at in range(first + 8, end, PAGE // 2)]

    def marker(self, at: int) -> bytes:
        """The bytes at an address."""
        return struct.pack("<QQ", mix(at ^ self.seed), mix(at + 1 + self.seed))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class Trial:
    """One filter and what it means."""

    def __init__(self, rng: random.Random, marks: Marks) -> None:
        self.rng, self.marks = rng, marks
        plan = md.plan_dump(marks.process.pid, md.DumpType.WITH_FULL_MEMORY)
        self.regions = {page: region for region in plan.regions for page in self.pages(region)}
        self.rules = [self.rule() for _ in range(rng.randint(1, 6))]
        self.default = rng.choice(["include", "include", "include", "exclude"])
        self.removed = [self.bytes_somewhere()] if rng.random() < 0.3 else []
        self.scrubbed = [self.bytes_somewhere()] if rng.random() < 0.3 else []
        self.patterns = [marks.marker(at) for at in rng.sample(marks.addresses, 20)] if rng.random() < 0.4 else []
        actions: dict[str, Any] = {"exclude": md.exclude, "include": md.include, "head": md.head}
        self.filter = md.Filter(
            *(actions[action](**conditions) for action, conditions in self.rules),
            default=self.default,
            memory={"remove": self.removed},
            redact=md.Redact(ranges=self.scrubbed, patterns=self.patterns),
        )

    def pages(self, region: Any) -> range:
        """The pages of a region that hold markers."""
        if not any(first < region.base + region.size and region.base < end for first, end in self.marks.places):
            return range(0)
        return range(region.base, region.base + region.size, PAGE)

    def bytes_somewhere(self) -> tuple[int, int]:
        """A range that begins in marked memory."""
        first, end = self.rng.choice(self.marks.places)
        at = self.rng.randrange(first, end - 16)
        return at, at + self.rng.randrange(1, 9000)

    def rule(self) -> tuple[str, dict[str, Any]]:
        """An action and its conditions."""
        rng = self.rng
        action = rng.choice(["exclude", "exclude", "include", "head"])
        conditions: dict[str, Any] = {}
        if rng.random() < 0.6:
            first, end = rng.choice(self.marks.places)
            low = rng.randrange(first, end, PAGE)
            high = rng.randrange(low, end, PAGE) + PAGE
            if rng.random() < 0.3:
                low, high = low + rng.randrange(PAGE), high + rng.randrange(PAGE)
            conditions["range"] = (low, high)
        if rng.random() < 0.25:
            conditions["kind"] = rng.choice(KINDS)
        if rng.random() < 0.15:
            conditions["type"] = rng.choice(["private", "mapped", "image"])
        if rng.random() < 0.15:
            conditions["name"] = rng.choice(NAMES)
        if rng.random() < 0.15:
            conditions["min_size"] = rng.randrange(1, 64) * PAGE
        if action == "head":
            conditions["bytes"] = rng.randrange(1, 64) * PAGE if rng.random() < 0.7 else rng.randrange(1, 200_000)
        return action, conditions

    def keeps(self, at: int) -> bool:
        """Whether the byte is kept, taken literally."""
        if any(first <= at < end for first, end in self.removed):
            return False
        region = self.regions[at & -PAGE]
        for action, wanted in reversed(self.rules):
            low, high = wanted.get("range", (0, WORD))
            if not low <= at < high:
                continue
            if "kind" in wanted and not region.kinds & md.filters.Kind[wanted["kind"].upper()]:
                continue
            if "type" in wanted and region.type != md.filters.MemoryType[wanted["type"].upper()]:
                continue
            if "name" in wanted and not fnmatch.fnmatchcase(os.fsdecode(region.name), wanted["name"]):
                continue
            if region.size < wanted.get("min_size", 0):
                continue
            if action == "head":
                return bool(at - region.base < wanted["bytes"])
            return action == "include"
        return self.default == "include"

    def write(self, folder: Path) -> bytes:
        """A dump to one kind of output."""
        pid, full = self.marks.process.pid, md.DumpType.WITH_FULL_MEMORY
        how = self.rng.choice(["path", "pipe", "object"])
        if how == "path":
            md.write_dump(pid, folder / "x.dmp", full, filter=self.filter)
            return (folder / "x.dmp").read_bytes()
        if how == "object":
            out = io.BytesIO()
            md.write_dump(pid, out, full, filter=self.filter)
            return out.getvalue()
        end, start = os.pipe()
        got: list[bytes] = []

        def drain() -> None:
            with open(end, "rb") as file:
                got.append(file.read())

        reader = threading.Thread(target=drain)
        reader.start()
        try:
            md.write_dump(pid, start, full, filter=self.filter)
        finally:
            os.close(start)
            reader.join()
        return got[0]

    def faults(self, dump: bytes) -> tuple[list[str], int, int]:
        """What is in the file and should not be, or should and is not; and how much was looked for."""
        found: list[str] = []
        hidden = shown = 0
        for at in self.marks.addresses:
            marker = self.marks.marker(at)
            covered = any(first < at + 16 and at < end for first, end in self.scrubbed) or marker in self.patterns
            kept = all(self.keeps(byte) for byte in (*range(at, at + 16, 3), at + 15))
            if covered or not kept:
                hidden += 1
                if marker in dump:
                    found.append(f"hidden, and in the file: {at:#x}")
            elif all(self.keeps(byte) for byte in (*range(at & -PAGE, (at & -PAGE) + PAGE, 61), at | PAGE - 1)):
                shown += 1
                if marker not in dump:
                    found.append(f"kept, and not in the file: {at:#x}")
        return found, hidden, shown


def main() -> int:
    """Read the command line and try filters."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="filters (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    rng = random.Random(args.seed)
    bad = hidden = shown = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = common.compile_c(common.HERE / "marks.c", folder / "marks")
        marks = Marks(program, folder, rng.getrandbits(64))
        for number in range(args.count):
            trial = Trial(rng, marks)
            found, out, kept = trial.faults(trial.write(folder))
            hidden, shown = hidden + out, shown + kept
            if found:
                bad += 1
                print(f"FAULT in trial {number}: {trial.rules} default {trial.default} removed {trial.removed}")
                print(f"  scrubbed {trial.scrubbed}: {len(found)} markers, {found[:4]}", flush=True)
        marks.close()
    print(f"{args.count} filters, {hidden} markers that are hidden, {shown} that are kept, {bad} filters with faults")
    return 1 if bad or not hidden or not shown else 0


if __name__ == "__main__":
    sys.exit(main())
