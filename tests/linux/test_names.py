"""Names of threads, files and modules that are more than ASCII, empty, or break lines."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import file_rules
import live
import pytest
import readers

pytestmark = pytest.mark.linux

MAPS_STREAM = 0x47670009

THREADS = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
names = [bytes.fromhex(word) for word in sys.argv[1:]]
ready = threading.Barrier(len(names) + 1)
tids = {}
def work(number, name):
    libc.prctl(15, ctypes.c_char_p(name), 0, 0, 0)  # PR_SET_NAME
    tids[number] = threading.get_native_id()
    ready.wait()
    threading.Event().wait()
for number, name in enumerate(names):
    threading.Thread(target=work, args=(number, name), daemon=True).start()
ready.wait()
import json
print(json.dumps({"pid": os.getpid(), "tids": [tids[number] for number in range(len(names))]}), flush=True)
for number, line in enumerate(sys.stdin):
    print("pong", number, 0, 0, flush=True)
"""
NAMES = ["plain", "", "\U0001f600 beyond", "äöü€", "tab\there", "x\n#\x1b[31m"]
ODD = b"odd \xff\xfe \xf0\x9f"


def test_thread_names(take: live.Taker) -> None:
    words = [name.encode() for name in NAMES] + [ODD]
    with live.Target([sys.executable, "-c", THREADS, *(word.hex() for word in words)]) as target:
        tids = target.info["tids"]
        # Breakpad takes a surrogate pair for an error and drops the whole list.
        _, path = take(target, only=[name for name in readers.READERS if not name.startswith("minidump_")])
        with file_rules.DumpFile(path) as dump:
            found = dump.thread_names()
        assert [found[tid] for tid in tids] == [*NAMES, "odd \ufffd\ufffd \ufffd\ufffd"]
        _, path = take(target, names="ascii")
        with file_rules.DumpFile(path) as dump:
            found = dump.thread_names()
        escaped = [re.sub(rb"[^ -~]", lambda byte: b"\\%03o" % byte[0][0], word).decode() for word in words]
        assert [found[tid] for tid in tids] == escaped
        done = live.run_cli("dump", str(target.pid), "-o", str(path), "--names", "ascii", "--module-names", "soname")
        assert done.returncode == 0, done.stderr
        with file_rules.DumpFile(path) as dump:
            assert dump.thread_names()[tids[2]] == escaped[2]


MAPPED = """
import mmap, os, sys
kept = []
for word in sys.argv[2:]:
    name = os.path.join(os.fsencode(sys.argv[1]), bytes.fromhex(word))
    file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(file, 4096)
    kept.append(mmap.mmap(file, 4096))
print('{"pid": %d}' % os.getpid(), flush=True)
for number, line in enumerate(sys.stdin):
    print("pong", number, 0, 0, flush=True)
"""
BREAKS = [
    b"a\nb",
    b"a\rb",
    b"end\r",
    b"\x0b\x0c\x1c\x1d\x1e\x7f",
    "next\x85line".encode(),
    "line\u2028par\u2029".encode(),
    b"\xff\xfe",
    b"cut\xf0\x9f",
    "fine \U0001f600 ä".encode(),
    b"two\nlines\n1000-2000 rw-p 00000000 00:00 0 [heap]",
]


def escaped(name: bytes) -> bytes:
    """What the text shall have: an independent rule, over characters."""
    shown = b""
    for char in name.decode("utf-8", "surrogateescape"):
        raw = char.encode("utf-8", "surrogateescape")
        breaks = len(f"a{char}b".splitlines()) > 1 or ord(char) < 32 or 127 <= ord(char) < 160
        shown += b"".join(b"\\%03o" % byte for byte in raw) if breaks or "\udc80" <= char <= "\udcff" else raw
    return shown


def test_every_line_of_the_maps_is_a_line(take: live.Taker, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAPPED, str(tmp_path), *(name.hex() for name in BREAKS)]
    with live.Target(command) as target:
        report, path = take(target)
        with file_rules.DumpFile(path) as dump:
            raw = bytes(dump.stream(MAPS_STREAM))
    lines = raw.decode("utf-8").splitlines()  # breaks at more than newlines
    assert len(lines) == raw.count(b"\n") == len(report.regions)
    assert all(re.fullmatch(r"[0-9a-f]+-[0-9a-f]+ [-r][-w][-x][ps] [0-9a-f]+ \S+ \d+ *(\S.*)?", line) for line in lines)
    for name in BREAKS:
        assert b"/" + escaped(name) + b"\n" in raw
