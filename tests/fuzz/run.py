"""Builds and runs the fuzz targets: random engines against the meaning of rules, corpora, and libFuzzer.

    python tests/fuzz/run.py                                    # as CI does
    python tests/fuzz/run.py --calls 100000000 --seconds 3600   # long

First ``drive_calls`` sends so many random callbacks, then each target replays its corpus (``corpus/NAME.txt``, one
input in hexadecimal on a line), then libFuzzer looks for more for so many seconds. An input that ends a target is
printed in hexadecimal: put it into the corpus with the repair. ``--merge`` writes what was found into the corpora.
Needs clang with its run time for fuzzers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGETS = ("calls", "filter", "glob", "texts", "replay", "core", "dump_source", "carried")
LONGER = {"core": 2, "dump_source": 2, "carried": 2}  # times as long as the others
CORPUS_LONGER = {"core": 2048, "dump_source": 2048, "carried": 2048}  # bytes, where more than CORPUS_BYTES
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
SANITIZERS = "address,undefined"
CORPUS_INPUTS, CORPUS_BYTES = 60, 512


def find_clang() -> str:
    """The compiler, with or without a version in its name."""
    for name in ("clang", *(f"clang-{version}" for version in range(22, 13, -1))):
        if shutil.which(name):
            return name
    sys.exit("there is no clang")


def sources() -> list[Path]:
    """The C files of all rooms that belong to Linux; see csrc/ffi_build.py for the rule."""
    return sorted(
        path
        for path in (ROOT / "csrc").rglob("*.c")
        if path.relative_to(ROOT / "csrc").parts[0] not in {"windows", "dbghelp"} and not path.stem.endswith("_windows")
    )


def build(folder: Path, jobs: int) -> None:
    """All programs."""
    compile_one = [find_clang(), *FLAGS, f"-fsanitize=fuzzer-no-link,{SANITIZERS}", "-c"]
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:  # a process for each file: ccache takes no command with several
        for done in pool.map(lambda file: subprocess.run([*compile_one, file], cwd=objects, check=False), sources()):
            if done.returncode != 0:
                sys.exit("the rooms do not compile")
    archive = folder / "rooms.a"
    subprocess.run(["ar", "rcs", archive, *objects.glob("*.o")], check=True)
    for name in (*(f"fuzz_{target}" for target in TARGETS), "drive_calls"):
        kind = SANITIZERS if name.startswith("drive") else f"fuzzer,{SANITIZERS}"
        command = [find_clang(), *FLAGS, "-Wall", "-Wextra", "-Werror", f"-fsanitize={kind}", HERE / f"{name}.c"]
        subprocess.run([*command, archive, "-o", folder / name], check=True)


def unpack(target: str, folder: Path) -> Path:
    """The corpus of a target as files."""
    place = folder / f"corpus-{target}"
    place.mkdir(exist_ok=True)
    for number, line in enumerate((HERE / "corpus" / f"{target}.txt").read_text().split()):
        (place / f"{number:04}").write_bytes(bytes.fromhex(line))
    return place


def run(command: list[str | Path], folder: Path, what: str) -> bool:
    """Run one program to its end; prints what it said if it failed."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode == 0:
        said = next((line for line in reversed(lines) if "Done" in line or "seed" in line), "")
        print(f"{what}: passed in {time.monotonic() - began:.0f} s {said}", flush=True)
        return True
    print(f"{what}: FAILED with status {done.returncode}", *lines[-60:], sep="\n", flush=True)
    for artifact in folder.glob(f"{what.split()[-1]}-*"):
        print(f"input {artifact.name}: {artifact.read_bytes()[:4096].hex()}", flush=True)
    return False


def drive(folder: Path, args: argparse.Namespace, number: int) -> bool:
    """A share of the random callbacks."""
    seed = args.seed + number
    share = args.calls // args.jobs
    return run([folder / "drive_calls", str(seed), str(share)], folder, f"{share:,} callbacks, seed {seed}")


def fuzz(folder: Path, args: argparse.Namespace, target: str) -> bool:
    """Replay the corpus of one target, then look for more."""
    program, corpus = folder / f"fuzz_{target}", unpack(target, folder)
    artifacts = f"-artifact_prefix={folder}/{target}-"
    if not run([program, artifacts, "-runs=0", corpus], folder, f"corpus of {target}"):
        return False
    seconds = args.seconds * LONGER.get(target, 1)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192"]
    command = [program, artifacts, *limits, f"-seed={args.seed}", "-print_final_stats=0", corpus]
    return args.seconds == 0 or run(command, folder, f"{seconds} s of {target}")


def merge(folder: Path, target: str) -> None:
    """Write the inputs that together reach as much as all that were found, the small ones of them."""
    small = folder / f"merged-{target}"
    small.mkdir()
    command = [folder / f"fuzz_{target}", "-merge=1", small, folder / f"corpus-{target}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    longest = CORPUS_LONGER.get(target, CORPUS_BYTES)
    inputs = sorted((path.read_bytes() for path in small.iterdir()), key=lambda data: (len(data), data))
    kept = [data.hex() for data in inputs if 0 < len(data) <= longest][:CORPUS_INPUTS]
    (HERE / "corpus" / f"{target}.txt").write_text("".join(line + "\n" for line in kept))


def main() -> int:
    """Read the command line and run everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5_000_000, help="random callbacks (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=12, help="of each libFuzzer target (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--merge", action="store_true", help="renew the corpora with what is found")
    args = parser.parse_args()
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        build(folder, args.jobs)
        with ThreadPoolExecutor(args.jobs) as pool:
            good = list(pool.map(lambda number: args.calls == 0 or drive(folder, args, number), range(args.jobs)))
            good += pool.map(lambda target: fuzz(folder, args, target), TARGETS)
        if args.merge:
            for target in TARGETS:
                merge(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
