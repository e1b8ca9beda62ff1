"""Each system call that a dump makes is refused once by a filter of system calls, as in a container.

    python tests/stress/denied.py

Right is a complete dump, or an error that says what was refused; the target runs on, nothing hangs and no part of a
file stays. Calls without which no Python runs are left out. Needs strace, which tells the calls.
"""

from __future__ import annotations

import argparse
import errno
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import common

HERE = Path(__file__).resolve().parent
DUMP = "import sys, minidump_cffi as md; md.write_dump(int(sys.argv[1]), sys.argv[2], md.DumpType.WITH_FULL_MEMORY)"
BASIC = {
    "brk", "mmap", "munmap", "mprotect", "execve", "exit_group", "exit", "arch_prctl", "set_tid_address", "openat",
    "close", "read", "fstat", "newfstatat", "rt_sigaction", "futex", "write", "lseek", "getdents64",
}  # fmt: skip


def used_calls(pid: int, folder: Path) -> dict[str, int]:
    """Numbers of the system calls that a dump makes, by their names."""
    log = folder / "calls"
    command = ["strace", "-f", "-n", "-qq", "-o", str(log), sys.executable, "-c", DUMP, str(pid), str(folder / "s.dmp")]
    subprocess.run(command, check=False, capture_output=True, timeout=120)
    found = re.findall(r"\[ *(\d+)\] (\w+)\(", log.read_text(errors="replace"))
    return {name: int(number) for number, name in found if name not in BASIC}


def one(deny: Path, name: str, number: int, target: common.Target, path: Path) -> str:
    """One call refused; what is wrong, or what came of it."""
    path.unlink(missing_ok=True)
    command = [str(deny), str(errno.EPERM), str(number), sys.executable, "-c", DUMP, str(target.pid), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "FAULT: hangs"
    said = (done.stderr.strip().splitlines() or [""])[-1]
    if not target.runs_on():
        return f"FAULT: the target does not run on; {said}"
    if done.returncode == 0:
        return "dumped" if path.exists() else "FAULT: success without a file"
    if path.exists():
        return f"FAULT: a file is left; {said}"
    if done.returncode < 0:
        return f"FAULT: ended by signal {-done.returncode}"
    if not said.startswith("minidump_cffi.errors."):
        return f"outside of the package: {said[:100]}" if "minidump_cffi" not in done.stderr else f"FAULT: {said[:160]}"
    return f"refused: {said[:160]}"


def main() -> int:
    """Refuse one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args()
    if not shutil.which("strace"):
        print("there is no strace")
        return 77
    faults = 0
    with tempfile.TemporaryDirectory() as name, common.shapes() as program:
        folder = Path(name)
        deny = common.compile_c(HERE.parent / "targets" / "deny.c", folder / "deny")
        target = common.Target(program, "beats", "8", "4")
        for call, number in sorted(used_calls(target.pid, folder).items()):
            outcome = one(deny, call, number, target, folder / "x.dmp")
            faults += outcome.startswith("FAULT")
            print(f"{call}: {outcome}", flush=True)
        target.close()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
