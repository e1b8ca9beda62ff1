"""The command line on terminals of 40, 80 and 200 columns, and what hostile names do to them: nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import live
import pytest

from minidump_cffi import Progress
from minidump_cffi.cli import main
from minidump_cffi.cli.processes import named
from minidump_cffi.cli.progress import ProgressLine
from minidump_cffi.cli.text import width
from minidump_cffi.report import Phase

pytestmark = pytest.mark.linux
ROOT = Path(__file__).resolve().parents[2]
COLOURS = re.compile("\x1b\\[[0-9]*m")
WIDE = "日本語-" * 9
#: Clears the screen, sets a title, a C1 control, turned text, a line break, DEL, what is no UTF-8.
EVIL = b"\x1b[2J\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6\r\n\x7f\xff;"
#: Everything that such a process can name has that name.
HOSTILE = """
import ctypes, mmap, os, sys, threading
evil = os.environb[b"EVIL"]
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
fd = os.open(evil, os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4096)
mapped = mmap.mmap(fd, 4096)
unmapped = os.memfd_create("evil-" + os.fsdecode(evil[:20]))
os.truncate(unmapped, 4096)
shared = mmap.mmap(unmapped, 4096)
def thread():
    libc.prctl(15, evil)
    started.wait()
    threading.Event().wait()
started = threading.Barrier(2)
threading.Thread(target=thread, daemon=True).start()
started.wait()
libc.prctl(15, evil)
print("ready", flush=True)
sys.stdin.read()
"""
MAPS = """
import mmap, sys
with open(sys.argv[1], "rb+") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def hostile(folder: Path) -> Iterator[int]:
    """A process with such a name, threads, arguments, variables, mapped and open files."""
    environment = {b"EVIL": EVIL, b"PATH": os.environb[b"PATH"]}
    command = [os.fsencode(sys.executable), b"-c", HOSTILE.encode(), os.fsencode(folder), EVIL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


def harmless(written: str) -> bool:
    """Whether a terminal obeys nothing in it but line breaks and our own colours."""
    return all(letter.isprintable() or letter == "\n" for letter in COLOURS.sub("", written))


@pytest.mark.parametrize("coloured", ["", "1"])
def test_names_never_reach_a_terminal_raw(
    coloured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every subcommand, on stdout and stderr, in results and in errors."""
    monkeypatch.setenv("FORCE_COLOR", coloured)
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.chdir(tmp_path)
    evil = os.fsdecode(EVIL)
    Path(f"{evil}.toml").write_text(f'[[rule]]\naction = "exclude"\nkind = "x"\n# {"y" * 9}\n')
    Path("words.toml").write_text('[[rule]]\naction = "exclude"\nname = "/x"\nlabel = "\\u001b[2J\\u202e"\n')
    Path("keys.toml").write_text('"\\u001b[2J\\u202e" = 1\n')
    sleeper = shutil.copy(str(shutil.which("sleep")), tmp_path / "sleeper")
    types, annotation = "full+with_handle_data", f"key{EVIL[:9].decode()}={EVIL[:9].decode()}"
    quoted = evil.replace("\n", "").replace("\r", "").replace("\udcff", "")
    with hostile(tmp_path) as pid, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.callback(stack.enter_context(subprocess.Popen([evil, "100"], executable=sleeper)).kill)
        live.wait_until(lambda: len(named("sleeper")) == 2, "they are started")
        runs: list[tuple[list[str], int | None]] = [
            (["dump", str(pid), "-o", evil, "--type", types, "--comment", quoted, "--annotation", annotation], 0),
            (["plan", str(pid), "--type", "full"], 0),
            (["plan", str(pid), "--type", "full", "--all", "--filter", "words.toml"], 0),
            (["plan", str(pid), "--exclude", f"name='{quoted}'"], 0),
            (["plan", str(pid), "--html", evil + ".html", "--json"], 0),
            (["plan", str(pid), "--html", "-"], 0),
            (["show", evil], 0),
            (["show", "--all", evil], 0),
            (["show", "--json", evil], 0),
            (["show", "--html", "-", evil], 0),
            (["filter", evil, "-o", evil + "2"], 0),
            (["filter", evil, "-o", evil + "3", "--json"], 0),
            (["filter", evil, evil + "2", "keys.toml", "-o", "folder" + evil, "--json"], 1),
            (["plan", evil], 0),
            (["dump", "sleeper", "-o", "x"], 2),
            (["dump", str(pid), "-o", f"none{evil}/x"], 1),
            (["dump", evil, "-o", "x"], 2),
            (["dump", str(pid), "-o", "x", "--filter", f"{evil}.toml"], 2),
            (["dump", str(pid), "-o", "x", "--filter", "keys.toml"], 2),
            (["dump", str(pid), "-o", "x", "--filter", evil], 2),
            (["dump", str(pid), "-o", "x", "--filter", f"none{evil}"], 2),
            (["dump", str(pid), "-o", "x", "--plugin", evil], None),
            (["show", f"none{evil}"], 1),
            (["show", "keys.toml"], 1),
            (["filter", f"{evil}*"], 2),
            ([evil], 2),
            *(([command, f"--{evil}", "1"], 2) for command in ("dump", "plan", "show", "filter", "demo", "completion")),
            *(([command, f"--al{evil}", "1"], 2) for command in ("plan", "show")),
            *((["dump", "1", "-o", "x", option, evil], 2)
              for option in ("--type", "--exclude", "--stop", "--signal", "--code", "--deadline", "--thread")),
            (["dump", "1", "-o", "x", "--annotation", evil], 2),
            (["completion", evil], 2),
        ]  # fmt: skip
        for words, expected in runs:
            status = main(words)
            out, err = capsys.readouterr()
            assert expected in (None, status), (words, status, err)
            assert harmless(out) and harmless(err), (words, out[:2000], err)
            assert out or err or status == 0
    assert "\\x1b[2J" in out + err


def seen(columns: int, *words: str, **environment: str) -> tuple[str, int]:
    """What a terminal of so many columns gets, and the exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    names = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    names |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    found = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: all have closed it
            while part := os.read(ours, 65536):
                found.extend(part)

    command = [sys.executable, "-m", "minidump_cffi", *words]
    reader = threading.Thread(target=read)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=names) as process:
        os.close(theirs)
        reader.start()
        status = process.wait(60)
    reader.join(60)
    os.close(ours)
    return found.decode().replace("\r\n", "\n"), status


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int, tmp_path: Path) -> None:
    """Of results, messages and help; a word of a message, such as a path, is not cut. A demo fits a screen of 80."""
    file = tmp_path / f"{WIDE}.bin"
    file.write_bytes(b"x" * 4096)
    command = [sys.executable, "-c", MAPS, str(file)]
    dump = str(tmp_path / "app.dmp")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        assert target.stdout is not None and target.stdout.readline() == b"ready\n"
        for words, expected in (
            (["demo"], 0),
            (["dump", str(target.pid), "-o", dump, "--type", "full+with_handle_data"], 0),
            (["plan", str(target.pid), "--all", "--exclude", "kind=stack"], 0),
            (["plan", str(target.pid), "--type", "full"], 0),
            (["show", dump], 0),
            (["show", "--all", dump], 0),
            (["dump", "--help"], 0),
            (["dump", str(target.pid), "-o", "x", "--type", "with_ful_memory"], 2),
        ):
            written, status = seen(columns, *words)
            assert status == expected, written
            lines = [line.rpartition("\r")[2] for line in written.split("\n")]  # without what rewrote itself
            assert harmless("\n".join(lines)) and ("\x1b[" in written) == (words[0] != "dump" or status == 2), written
            for line in COLOURS.sub("", written).replace("\r", "\n").split("\n"):
                assert width(line) <= columns or max(map(width, line.split())) > columns - 20, (words, line)
            if words == ["demo"] and columns == 80:
                assert written.count("\n") < 24
        target.kill()


def test_colours_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    sample = str(ROOT / "tests" / "data" / "own-a-breakpad.dmp")
    assert "\x1b[" in seen(80, "show", sample)[0]
    assert "\x1b" not in seen(80, "show", sample, NO_COLOR="1", FORCE_COLOR="1")[0]
    assert "\x1b" not in seen(80, "show", str(tmp_path / "none"), TERM="dumb")[0]
    assert "\x1b" not in live.run_cli("show", sample).stdout


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_progress_rewrites_one_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As wide as the terminal is at the time."""
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as out, ProgressLine(out) as line:
        for size in (columns, max(20, columns // 2)):
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
            for done in (0, 1 << 29, 3 << 30, 5 << 30):
                line(Progress(phase=Phase.WRITE, bytes_done=done, bytes_total=5 << 30, stopped=True, elapsed=1.0))
                written = os.read(ours, 4096).decode()
                assert "\n" not in written and written.startswith("\r")
                assert size < columns or width(written.removeprefix("\r")) < size
                assert written.strip(), "there is something to see"
    os.close(ours)
