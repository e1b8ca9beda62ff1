"""Dumps by processes that have little: no standard streams, no folder for temporary files, no environment, low limits.

Such are helpers that the kernel or a supervisor starts, and containers with a read-only root.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

pytestmark = pytest.mark.linux

ROOT = Path(live.HERE).parent
PATIENCE = 60.0
Start = Callable[..., live.Target]
CLI = "import sys; sys.path.insert(0, sys.argv.pop(1)); from minidump_cffi.cli import main; sys.exit(main())"
#: For the library: what is dumped, and where to.
LIBRARY = """
import io, os, sys
sys.path.insert(0, sys.argv[1])
import minidump_cffi as md
target, where = int(sys.argv[2]), sys.argv[3]
kind = md.DumpType.WITH_FULL_MEMORY if len(sys.argv) > 4 else md.DumpType.NORMAL
report = md.write_dump(target or os.getpid(), where, kind)
sys.exit(0 if report.complete else 3)
"""
#: Writes to the descriptors of the standard streams all the time, as C code does that reports something.
CHATTER = """
import os, threading, time
def chatter():
    while True:
        for fd in (1, 2):
            try: os.write(fd, b"NOISE" * 100)
            except OSError: pass
        time.sleep(0.0001)
threading.Thread(target=chatter, daemon=True).start()
"""


def run(program: str, *words: object, shell: str = '"$@"', **options: Any) -> subprocess.CompletedProcess[bytes]:
    """A Python program, started by a line of sh in which it is "$@"."""
    command = ["/bin/sh", "-c", f"exec {shell}", "sh", sys.executable, "-c", program, str(ROOT), *map(str, words)]
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, **options)


def assert_dump(path: Path) -> None:
    """A whole dump, and nothing else in its folder."""
    assert sorted(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with file_rules.DumpFile(path) as dump:
        assert dump.size == path.stat().st_size


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the dump goes: a folder with nothing in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "x.dmp"


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_command_line_without_standard_streams(closed: str, start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    done = run(CLI, "dump", target.pid, "-o", place, shell=f'"$@" {closed}')
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert_dump(place)
    target.assert_runs_on()


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("own", [False, True], ids=["other", "self"])
def test_library_without_standard_streams(closed: str, own: bool, start_pattern: Start, place: Path) -> None:
    """What is printed all the time by a thread, or C code, does not get into the dump."""
    target = start_pattern()
    done = run(CHATTER + LIBRARY, 0 if own else target.pid, place, shell=f'"$@" {closed}')
    assert done.returncode == 0, done.stderr[-2000:].replace(b"NOISE", b"")
    assert_dump(place)
    if not own:
        assert b"NOISE" not in place.read_bytes()


def test_a_pipe_without_standard_streams(start_pattern: Start, place: Path) -> None:
    os.mkfifo(place)
    with subprocess.Popen(["cat", str(place)], stdout=subprocess.PIPE) as reader:
        done = run(CHATTER + LIBRARY, start_pattern().pid, place, shell='"$@" <&- >&- 2>&-')
        read = reader.communicate(timeout=PATIENCE)[0]
    assert done.returncode == 0
    assert read.startswith(b"MDMP")
    assert b"NOISE" not in read


@pytest.mark.parametrize("words", [["-o", "-"], ["-o", "x.dmp", "--json"]], ids=["dump", "json"])
def test_output_that_was_asked_for_and_has_no_stdout(
    words: list[str], start_pattern: Start, place: Path, tmp_path: Path
) -> None:
    done = run(CLI, "dump", start_pattern().pid, *words, shell='"$@" >&-', cwd=tmp_path)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if words == ["-o", "-"] else 3)


def test_stderr_closed_and_the_dump_on_stdout(start_pattern: Start, place: Path) -> None:
    with place.open("wb") as out:
        words = [sys.executable, "-c", CLI, str(ROOT), "dump", str(start_pattern().pid), "-o", "-"]
        command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *words]
        assert subprocess.run(command, stdout=out, timeout=PATIENCE, check=False).returncode == 0
    with file_rules.DumpFile(place) as dump:
        assert dump.size == place.stat().st_size


@pytest.mark.parametrize(
    ("words", "shell", "status"),
    [
        (["-o", "-"], '"$@" >/dev/full', 1),
        (["-o", "x.dmp", "--json"], '"$@" >/dev/full', 1),
        (["-o", "x.dmp"], '"$@" 2>/dev/full', 0),
    ],
    ids=["dump", "json", "messages"],
)
def test_streams_that_are_full(words: list[str], shell: str, status: int, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    done = run(CLI, "dump", target.pid, *words, shell=shell, cwd=tmp_path)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    target.assert_runs_on()


@pytest.mark.parametrize("handling", ["SIG_IGN", "SIG_DFL"])
def test_a_pipe_that_nobody_reads_is_an_error(handling: str, start_pattern: Start) -> None:
    """Whatever SIGPIPE does: it ends neither the program nor the dump without a word."""
    program = (
        f"import os, signal; signal.signal(signal.SIGPIPE, signal.{handling})\n"
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import minidump_cffi as md\n"
        "reader, writer = os.pipe(); os.close(reader)\n"
        "try: md.write_dump(int(sys.argv[2]), writer)\n"
        "except md.SinkError as error: print(error.errno)\n"
    )
    target = start_pattern()
    done = run(program, target.pid)
    assert (done.returncode, done.stdout) == (0, b"32\n"), done.stderr
    target.assert_runs_on()


@pytest.fixture
def read_only_root(tmp_path: Path) -> Iterator[str]:
    """A line of sh that runs "$@" in a read-only copy of the root with one place to write, /dev/shm/out."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount")
    folder = tmp_path / "root"
    folder.mkdir()
    setup = (
        f"mount --rbind / {folder} && mount -o remount,ro,bind {folder} && mount -t tmpfs none {folder}/dev/shm && "
        f"mkdir {folder}/dev/shm/out && for at in tmp var/tmp usr/tmp; do "
        f"mount -o remount,ro,bind {folder}/$at 2>/dev/null; done; "
        f"cd {folder} && exec chroot {folder} "
    )
    probe = subprocess.run(
        ["unshare", "-m", "sh", "-c", setup + "true"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if probe.returncode != 0:
        pytest.skip(f"no read-only root can be made here: {probe.stderr.strip()}")
    yield setup


@pytest.mark.parametrize("output", ["path", "object"])
@pytest.mark.parametrize("own", [False, True], ids=["other", "self"])
def test_no_folder_for_temporary_files(output: str, own: bool, read_only_root: str, start_pattern: Start) -> None:
    program = (
        "import io, os, sys; sys.path[:0] = eval(sys.argv[1])\n"
        "import minidump_cffi as md\n"
        "file = io.BytesIO() if sys.argv[2] == 'object' else '/dev/shm/out/x.dmp'\n"
        "report = md.write_dump(int(sys.argv[3]) or os.getpid(), file)\n"
        "size = len(file.getvalue()) if sys.argv[2] == 'object' else os.stat(file).st_size\n"
        "print(report.complete, size == report.file_bytes)\n"
    )
    target = start_pattern()
    paths = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    command = [sys.executable, "-c", program, repr(paths), output, "0" if own else str(target.pid)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", read_only_root + '"$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, "TMPDIR": "/nowhere"},
    )
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
    target.assert_runs_on()


SURROUNDINGS = {
    "no-environment": 'env -i "$@"',
    "no-home-no-path": 'env -u HOME -u PATH "$@"',
    "umask-0": 'sh -c \'umask 0; exec "$@"\' sh "$@"',
    "few-descriptors": 'sh -c \'ulimit -n 20; exec "$@"\' sh "$@"',
    "deleted-folder": 'sh -c \'cd "$0" && rmdir "$0" && exec "$@"\' "$GONE" "$@"',
    "ascii": 'env LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$@"',
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
@pytest.mark.parametrize("way", ["command", "library", "self"])
def test_surroundings(surroundings: str, way: str, start_pattern: Start, place: Path, tmp_path: Path) -> None:
    """The name of the dump is no ASCII."""
    gone = tmp_path / "gone"
    gone.mkdir()
    place = place.with_name("dümp ☃.dmp")
    target = start_pattern()
    if way == "command":
        program, words = CLI, ["dump", target.pid, "-o", place, "--type", "full"]
    else:
        program, words = LIBRARY, [0 if way == "self" else target.pid, place, "full"]
    done = run(program, *words, shell=surroundings, env={**os.environ, "GONE": str(gone)})
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert_dump(place)
    target.assert_runs_on()


def test_a_relative_path_in_a_deleted_folder_is_an_error(start_pattern: Start, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    target = start_pattern()
    words = ["dump", target.pid, "-o", "x.dmp"]
    done = run(CLI, *words, shell=SURROUNDINGS["deleted-folder"], env={**os.environ, "GONE": str(gone)})
    assert done.returncode == 1
    assert done.stderr.startswith(b"minidump-cffi: cannot create x.dmp: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("way", ["command", "library", "self"])
def test_a_limit_on_the_size_of_files(way: str, start_pattern: Start, place: Path) -> None:
    """RLIMIT_FSIZE of 8 KiB: an error, nothing stays, the target runs on."""
    target = start_pattern()
    limited = 'sh -c \'ulimit -f 16; exec "$@"\' sh "$@"'
    if way == "command":
        done = run(CLI, "dump", target.pid, "-o", place, "--type", "full", shell=limited)
        assert done.returncode == 1
        assert b"File too large" in done.stderr
        assert b"Traceback" not in done.stderr
    else:
        done = run(LIBRARY, 0 if way == "self" else target.pid, place, "full", shell=limited)
        assert done.returncode == 1
        assert b"SinkError" in done.stderr
        assert b"File too large" in done.stderr
    assert list(place.parent.iterdir()) == []
    target.assert_runs_on()
