"""Turn the JSON of pytest-benchmark into the tables of docs/figures.md.

Usage: python benchmarks/figures.py RUN.json [LATER.json ...] > docs/figures.md

A group of a later run takes the place of that group of an earlier one: what was disturbed can be measured again.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from goals import GOALS, name_of

Bench = dict[str, Any]

CONTEST_COLUMNS = (
    "ratio",
    "best_ratio",
    "times_faster_than_ctypes",
    "p50_us",
    "p99_us",
    "max_us",
    "p99_times_better_than_ctypes",
    "stop_ms",
    "us_per_mapping",
)
TITLES = {"ratio": "median / {}", "best_ratio": "best / {}"}

#: group prefix -> title and what the figures mean
CHAPTERS = {
    "callback-idle": (
        "One region callback, nothing else running",
        'The same C loop asks each callee; "empty-c" is what the loop itself costs. trampoline-64k: 65,536 intervals '
        "and 64 rules about attributes; ctypes-64k looks the address up in the same intervals by bisection, and is "
        "what trampoline-64k is compared with in the last column.",
    ),
    "callback-busy": (
        "One region callback while four Python threads work",
        "With 50 or 500 us of engine work between two callbacks, as when a region is copied. This is what a target "
        "would be stopped for.",
    ),
    "callback-share": ("Callbacks in a whole dump", "Full memory of a process with 60,000 regions, 64 rules."),
    "filter-match": (
        "One question to the compiled filter",
        "Through the trampoline, so with the cost of the loop; 16 attribute rules beside the intervals.",
    ),
    "filter-compile": ("Compiling a filter", "Rules to table, in C."),
    "whole-dump-touched": ("Whole dump: 1 GiB touched", "Bound: the bare copy of every byte."),
    "whole-dump-sparse": (
        "Whole dump: 4 GiB mapped, 64 MiB touched",
        "Bound: the bare copy of what PAGEMAP_SCAN finds.",
    ),
    "whole-dump-mappings": ("Whole dump: 20,000 mappings", "Bound: the bare copy of every byte, mapping by mapping."),
    "whole-dump-threads": ("Whole dump: 500 threads", "Bound: the bare copy of what PAGEMAP_SCAN finds."),
    "stop-policies": (
        "For how long a thread of the target does not run: 1 GiB",
        "The largest gap that a thread of the target sees in its own clock, in full dumps. small: pages of 4 KiB; "
        "huge: huge pages; none: memory that was never written. fork: the target forks by itself; bare: a loop that "
        "stops and copies.",
    ),
    "output-memory": (
        'Stop of `stop="memory"`: 1 GiB touched',
        "For how long the threads do not run. Bound: a loop that stops them and copies as many bytes to memory that "
        "was touched before.",
    ),
    "output-disk": (
        "A full dump of 1 GiB that is on the disk",
        "With fsync=True, on a file system of a disk. direct: O_DIRECT writes of as many bytes into reserved room, "
        "which read nothing.",
    ),
    "output-pipe": (
        "A full dump of 1 GiB through a pipe",
        "spool=False, to a reader that throws away what it reads. cat: of the same bytes, from memory, to the same "
        "reader.",
    ),
    "normal-dump": ("Normal dump of 8 threads, in process", "Stacks, registers, modules; no interpreter starts."),
    "normal-writer": (
        "Normal dumps against rust's minidump-writer",
        "Both measured inside their processes. minidump-writer copies memory that a program asked not to be dumped "
        "(MADV_DONTDUMP); ignore-marks are our dumps that do so too. The goal was 0.8.",
    ),
    "normal-costs": (
        "What a Normal dump spends its processor time on",
        "Shares of the samples of a profiler, largest first.",
    ),
    "throughput": (
        "Normal dumps a second",
        "Small processes, a new file each; from one Python thread, from eight, and what a busy Python thread loses "
        "beside one that dumps. The goals were 600, 1.7 times that, and 0.05.",
    ),
    "stop-mappings": (
        "Stop of a process of many mappings",
        "500 and 60,000; the difference per mapping. The goal was 0.8 us.",
    ),
    "stop-threads": (
        "Stop of a process of many threads",
        "Shortest of several, 1,000 and 4,000 idle threads by turns: linear is 4 times as long.",
    ),
    "stop-mapped": (
        "Stop of a CPython process with a file of 64 MiB mapped",
        "Full memory. late: the file is read when the process runs again.",
    ),
    "crash-running": (
        "A program whose crashes are dumped, and does not crash",
        "Pure Python work, and the start and end of 500 threads, with and without md.crash.enable().",
    ),
    "crash-ending": (
        "From a signal to the end of a small process",
        "Without and with md.crash.enable(), and write_dump of the same process from outside.",
    ),
    "replay-million": (
        "Whole sequences of callbacks",
        "A million calls as dbghelp sends them, through a loop in C that also builds the structs and checks what was "
        "written. bare-c answers TRUE and nothing else: what the loop itself costs.",
    ),
    "replay-recorded": ("Recording", "The same calls with and without a recorder in front of the trampoline."),
    "file-dump": (
        "An existing dump of 1 GiB, everything kept",
        "cp --reflink=never of the same file on the same file system, page cache warm.",
    ),
    "file-core": ("A core of 1 GiB", "As full minidump, and as one of its stacks; cp of the core."),
    "file-sparse": ("A core of 5 GiB with 64 MiB of data", "The rest is holes; dense: a core of 64 MiB."),
    "growth-file": (
        "Memory of the filter",
        "Peak above its own start-up, of a core and of a dump of 1 GiB, and of the core compressed by gzip.",
    ),
    "growth-dumper": (
        "Memory of the dumper",
        "Peak above its own start-up, in a process of its own: a plan of 100,000 extents, and 1 GiB of memory.",
    ),
    "growth-target": (
        "Memory of the target",
        "Change by being dumped: page tables, anonymous RSS and PSS. forked: a worker that shares its memory with its "
        "parent.",
    ),
}


UNTIMED = ("growth", "callback-share", "normal-costs", "throughput")  # their times mean nothing


def _duration(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(item)}" for key, item in value.items())
    return str(value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _who(bench: Bench) -> str:
    name = name_of(bench)
    return f"{int(name):,}" if name.isdecimal() else name


def _contest(benches: list[Bench]) -> str:
    """Competitors against a baseline."""
    columns = [key for key in CONTEST_COLUMNS if any(key in bench["extra_info"] for bench in benches)]
    baseline = benches[0]["extra_info"]["baseline"]
    titles = [TITLES.get(key, key.replace("_", " ")).format(baseline) for key in columns]
    rows = []
    for bench in sorted(benches, key=lambda one: one["extra_info"]["median_s"]):
        extra = bench["extra_info"]
        times = [_duration(extra[key]) for key in ("median_s", "iqr_s", "best_s")]
        rows.append([_who(bench), *times, *(_number(extra[key]) if key in extra else "" for key in columns)])
    return _table(["", "median", "IQR", "best", *titles], rows)


def _plain(benches: list[Bench]) -> str:
    """Benchmarks without a competitor: their notes are the result."""
    keys = list(dict.fromkeys(key for bench in benches for key in bench["extra_info"]))
    timed = not any(bench["group"].startswith(UNTIMED) for bench in benches)
    rows = []
    for bench in benches:
        times = [_duration(bench["stats"]["median"]), _duration(bench["stats"]["iqr"])] if timed else []
        extra = bench["extra_info"]
        rows.append([_who(bench), *times, *(_number(extra[key]) if key in extra else "" for key in keys)])
    return _table(["", *(["median", "IQR"] if timed else []), *(key.replace("_", " ") for key in keys)], rows)


def _costs(benches: list[Bench]) -> str:
    """Shares of what the profiler saw, by who was dumped."""
    columns = [(_who(bench), bench["extra_info"]["costs"]) for bench in benches]
    kinds = list(dict.fromkeys(kind for _, shares in columns for kind in shares))
    times = [kind for kind in kinds if kind.endswith("per dump")]
    order = sorted(kinds, key=lambda kind: -max(shares.get(kind, 0) for _, shares in columns))
    rows = [[kind, *(f"{shares.get(kind, 0):.0%}" for _, shares in columns)] for kind in order if kind not in times]
    rows += [[kind, *(_number(shares[kind]) for _, shares in columns)] for kind in times]
    return _table(["", *(who for who, _ in columns)], rows)


def _by_type(groups: dict[str, list[Bench]]) -> str:
    """Return the cost of the trampoline over a bare C function, one line for each callback type."""
    rows = []
    for group in sorted(groups):
        found = re.fullmatch(r"replay-(\d+)-(\w+)", group)
        if found:
            times = {bench["params"]["who"]: bench["extra_info"]["best_s"] for bench in groups[group]}
            rows.append([f"{int(found[1])} {found[2]}", *(_duration(times[way]) for way in ("trampoline", "bare-c"))])
    return _table(["best round", "trampoline", "bare-c"], rows) if rows else ""


def _goals(run: dict[str, Any]) -> str:
    """Goals beside what was reached, in words: a goal that was missed is said to be."""
    rows = [
        [goal.title, goal.limit, _number(value), "yes" if goal.met(value) else "**no**"]
        for goal in GOALS
        for value in goal.figure.find([run])
    ]
    return _table(["", "goal", "reached", "met"], rows) if rows else ""


def _machine(run: dict[str, Any]) -> str:
    info = run["machine_info"]
    cpu = info.get("cpu", {}).get("brand_raw", "unknown processor")
    release = ".".join(str(info["release"]).split("-")[0].split(".")[:2])
    memory = round(info["memory_mib"] / 1024)
    return (
        f"{info['cpus_allowed']} CPUs of an {cpu}, {memory} GiB, {info['system']} {release}, frequency governor: "
        f"{info['governor']}; {info['python_implementation']} {info['python_version']}"
    )


def render(run: dict[str, Any]) -> str:
    """Return the page for a run."""
    groups: dict[str, list[Bench]] = defaultdict(list)
    for bench in run["benchmarks"]:
        groups[bench["group"]].append(bench)
    parts = [
        "# Figures",
        f"Made by `benchmarks/figures.py` from runs of {run['datetime'][:10]} on {_machine(run)}.",
        "The machine was virtual and shared: absolute times move by a factor of two, the ratio inside one run does "
        "not. All competitors of a table ran in the same rounds, in random order; ratios are given of "
        "the medians and of the best rounds, in which the others left the machine alone. "
        "Dumps went to a file system in memory.",
    ]
    if run["machine_info"].get("quick"):
        parts.append("**A quick run with tiny sizes: these figures mean nothing.**")
    goals = _goals(run)
    if goals:
        parts += [
            "## Goals",
            "Ratios of medians to those of the baseline in the same rounds, from the tables below.",
            goals,
        ]
    for prefix, (title, text) in CHAPTERS.items():
        found = sorted(group for group in groups if group.startswith(prefix))
        if not found:
            continue
        parts += [f"## {title}", text]
        for group in found:
            benches = groups[group]
            if len(found) > 1:
                parts.append(f"`{group}`")
            if "costs" in benches[0]["extra_info"]:
                parts.append(_costs(benches))
                continue
            parts.append(_contest(benches) if "baseline" in benches[0]["extra_info"] else _plain(benches))
    by_type = _by_type(groups)
    if by_type:
        parts += ["## Each callback type", "Time per call, the loop that drives it included.", by_type]
    parts.append("To repeat it: `python -m pytest benchmarks --benchmark-json=run.json`, then this script.")
    return "\n\n".join(parts) + "\n"


def merge(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Join runs of one machine; the last run that has a group gives it."""
    newest = {bench["group"]: number for number, run in enumerate(runs) for bench in run["benchmarks"]}
    benches = [
        bench for number, run in enumerate(runs) for bench in run["benchmarks"] if newest[bench["group"]] == number
    ]
    return {**runs[-1], "benchmarks": benches}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {Path(__file__).name} RUN.json [LATER.json ...] > docs/figures.md")
    sys.stdout.write(render(merge([json.loads(Path(name).read_text()) for name in sys.argv[1:]])))
