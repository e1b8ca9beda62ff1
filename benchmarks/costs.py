"""What a dump spends its processor time on, by a sampling profiler (perf), as shares of the whole.

A sample belongs to the first of `KINDS` one of whose names is in its stack; without one, to the library it is in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

#: What is done -> functions of the kernel that do it, in the order in which they are looked for.
KINDS = {
    "smaps": ("show_smap",),
    "maps": ("show_map",),
    "other files of /proc": (
        "proc_single_show",
        "proc_pid_status",
        "do_task_stat",
        "show_cpuinfo",
        "mountinfo",
        "proc_fd",
        "seq_show",
        "proc_pid",
        "proc_lookup",
        "proc_task",
        "proc_readfd",
        "proc_fill_cache",
        "tid_fd",
    ),
    "ptrace": ("__x64_sys_ptrace", "ptrace_stop"),
    "pages and memory of the target": ("do_pagemap_scan", "process_vm_rw", "mem_rw"),
    "threads and processes of ours": (
        "__do_sys_clone",
        "__x64_sys_exit",
        "do_exit",
        "__x64_sys_wait4",
        "ret_from_fork",
        "futex",
    ),
    "writing the file": ("__x64_sys_pwrite64", "__x64_sys_renameat", "__x64_sys_linkat", "__x64_sys_ftruncate"),
    "opening and closing files": ("openat", "__x64_sys_close", "statx", "readlinkat", "newfstatat"),
}
LIBRARIES = {"libpython": "Python", "python3": "Python", "_cffi_backend": "Python", "_ext": "the engine"}
REST = "the rest"
FREQUENCY = 4000

_WORK = """
import sys, time
import minidump_cffi as md
pid, file, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
md.write_dump(pid, file)
count, start = 0, time.perf_counter()
print("begin", time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
while time.perf_counter() - start < seconds:
    md.write_dump(pid, file)
    count += 1
print("end", count, flush=True)
"""


class NoProfile(Exception):
    """Why there is none."""


def measure(pid: int, file: Path, seconds: float) -> dict[str, float]:
    """Return the shares, largest first, and under "samples per dump" how much they are of.

    Raises
    ------
    NoProfile
        perf is not there, or may not look into the kernel.
    """
    perf = shutil.which("perf")
    if perf is None:
        raise NoProfile("perf is not installed")
    data = file.with_suffix(".perf")
    command = [perf, "record", "-q", "-k", "CLOCK_MONOTONIC", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g"]
    command += ["-o", str(data), sys.executable, "-c", _WORK, str(pid), str(file), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ROOT})
    lines = dict(line.split() for line in done.stdout.splitlines())
    if done.returncode != 0 or "end" not in lines:
        raise NoProfile(f"perf failed: {done.stderr.strip().splitlines()[-1:]}")
    script = [perf, "script", "-i", str(data), "-F", "time,ip,sym,dso"]
    found = subprocess.run(script, capture_output=True, text=True, check=False)
    data.unlink()
    counts = _count(found.stdout, float(lines["begin"]))
    total = sum(counts.values())
    if total == 0 or not any(kind in counts for kind in KINDS):
        raise NoProfile("perf shows nothing of the kernel: kernel.perf_event_paranoid, kernel.kptr_restrict")
    shares: dict[str, float] = {kind: count / total for kind, count in counts.most_common()}
    shares["processor ms per dump"] = total / FREQUENCY / int(lines["end"]) * 1e3
    return shares


ROOT = str(Path(__file__).parent.parent)


def _count(script: str, begin: float) -> Counter[str]:
    """Count samples after `begin` by their kind."""
    counts: Counter[str] = Counter()
    for sample in script.split("\n\n"):
        head, _, stack = sample.strip().partition("\n")
        if stack and float(head.strip().rstrip(":")) >= begin:
            counts[_kind(stack)] += 1
    return counts


def _kind(stack: str) -> str:
    for kind, names in KINDS.items():
        if any(name in stack for name in names):
            return kind
    leaf = stack.partition("\n")[0]
    return next((name for library, name in LIBRARIES.items() if library in leaf.rpartition("(")[2]), REST)
