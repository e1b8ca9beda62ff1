"""``demo``: start a small process, dump it with a filter, and show what the filter left out."""

from __future__ import annotations

import contextlib
import json
import mmap
import subprocess
import sys
import tempfile
from pathlib import Path

from ..dumping import write_dump
from ..enums import DumpType
from ..filters import Filter, exclude
from . import text
from .areas import of_report
from .console import Exit, put_json, say
from .dump import say_warnings, summary
from .regions import put_kinds, put_rules
from .screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Final

#: The process of the demo: a document and a secret in private memory, a big file map, two more threads. The patterns
#: are written byte by byte, so that no second copy of them lies anywhere in the process.
_TARGET: Final = """
import ctypes, json, mmap, sys, tempfile, threading

def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))

def pattern(area, seed):
    for at in range(0, 4096):
        area[at] = (at * at * 7 + at * seed + seed) >> 3 & 255

size = int(sys.argv[1])
private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
document, secret = mmap.mmap(-1, size, **private), mmap.mmap(-1, size, **private)
pattern(document, 3)
pattern(secret, 5)
file = tempfile.TemporaryFile()
file.truncate(8 << 20)
big = mmap.mmap(file.fileno(), 8 << 20)
big[:4096] = b"cache " * 682 + b"...."
for number in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(json.dumps({"document": address(document), "secret": address(secret)}), flush=True)
sys.stdin.read()
"""
_AREA: Final = 64 << 10
_DOCUMENT, _SECRET = 3, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument("-o", "--output", metavar="FILE", help="keep the dump (default: it is removed)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object on stdout")


@contextlib.contextmanager
def _target() -> Iterator[tuple[int, dict[str, int]]]:
    """Run the process; gives its pid and its addresses."""
    command = [sys.executable, "-I", "-c", _TARGET, str(_AREA)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def _pattern(seed: int) -> bytes:
    """What the process wrote at the start of an area."""
    return bytes((at * at * 7 + at * seed + seed) >> 3 & 255 for at in range(4096))


def _holds(path: Path, wanted: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(wanted) >= 0


def run(args: argparse.Namespace) -> int:
    """Run the demo; status 1 if the dump does not hold what it should."""
    with tempfile.TemporaryDirectory(prefix="minidump-demo-") as folder, _target() as (pid, areas):
        path = Path(args.output or f"{folder}/demo.dmp")
        rules = Filter(
            exclude(type="mapped", min_size="4 MiB", label="big file maps"),
            exclude(range=(areas["secret"], areas["secret"] + _AREA), label="the secret"),
            streams={"exclude": [] if sys.platform == "win32" else ["environ"]},  # not a stream there
        )
        # Not dbghelp on Windows: some versions do not ask about memory.
        report = write_dump(pid, path, DumpType.WITH_FULL_MEMORY, filter=rules, engine="native")
        document, secret = _holds(path, _pattern(_DOCUMENT)), _holds(path, _pattern(_SECRET))
    if args.json:
        put_json(report.to_dict() | {"document_in_file": document, "secret_in_file": secret})
    else:
        screen = Screen()
        put_kinds(screen, of_report(report))
        screen.heading("What each rule decided (the last rule that matches a byte wins)")
        put_rules(screen, report)
        left_out = sum(rule.excluded for rule in report.rules)
        environment = " and the environment" if report.omitted_streams else ""
        screen.line()
        screen.line(f"The filter left out {text.size(left_out)}{environment}.")
        screen.line(
            f"Looked for in the file: the document is {'there' if document else 'MISSING'}, "
            f"the secret is {'THERE' if secret else 'not there'}.",
            "green" if document and not secret else "red",
        )
    say(summary(report, args.output or f"process {pid}"))
    say_warnings(report)
    if not document or secret:
        say("the dump does not contain what it should; please report this")
        return Exit.ERROR
    if args.output:
        say(f"open it with: lldb -c {args.output}, or look at it with: minidump-cffi show {args.output}")
    return Exit.OK if report.complete else Exit.GAPS
