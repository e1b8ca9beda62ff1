"""``dump``, ``plan`` and ``demo`` as a user runs them: exit statuses, streams, messages of one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live
import pytest

from minidump_cffi.cli import dumpfile, main
from minidump_cffi.cli.processes import named

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
COMMAND = [sys.executable, "-m", "minidump_cffi"]
#: Shared memory under userfaultfd: touching a missing page waits for a handler that never comes, and a debugger
#: is refused. The one way to make memory unreadable that needs no special rights or file systems.
UNREADABLE = """
import ctypes, fcntl, mmap, struct, sys
area = mmap.mmap(-1, 65536, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
fd = ctypes.CDLL(None).syscall(323, 0o2000000 | 1)
if fd < 0:
    sys.exit(77)
fcntl.ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))
fcntl.ioctl(fd, 0xC020AA00, struct.pack("QQQQ", start, 65536, 1, 0))
print("ready", flush=True)
sys.stdin.read()
"""
WAITING = "import sys; area = bytearray(b'x') * int(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"


def environment() -> dict[str, str]:
    """That of this process; the package is found where it is not installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def child(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that says when it is ready; it has to live when the test ends."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            process.kill()
            pytest.skip("this kernel does not have what the process needs")
        yield process
        assert process.poll() is None, "the process did not run on"


@pytest.fixture
def pid() -> Iterator[int]:
    """A process that only waits."""
    with child(WAITING, "1000") as process:
        yield process.pid


def one_line(text: str) -> str:
    """The one line of a message."""
    assert text.count("\n") == 1 and text.startswith("minidump-cffi: "), text
    return text


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        env=environment(),
        timeout=PATIENCE,
        check=False,
        **({"capture_output": True} | options),
    )


def test_a_dump_to_a_path(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, nothing on stdout, a line on stderr and one about secrets, a file only we may read."""
    path = tmp_path / "app.dmp"
    assert main(["dump", str(pid), "-o", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    first, secrets = err.splitlines(keepends=True)
    assert "app.dmp" in one_line(first) and "stopped for" in first
    assert "--no-environment" in one_line(secrets)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [path]
    dump = dumpfile.read_dump(path)
    assert dump.process_id == pid and dump.problems == []


def test_a_quiet_dump_says_nothing(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But errors."""
    assert main(["dump", str(pid), "-q", "-o", str(tmp_path / "x.dmp")]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["dump", str(2**22 + 1), "--quiet", "-o", str(tmp_path / "y.dmp")]) == 1
    assert one_line(capsys.readouterr().err)


def test_a_dump_without_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in its stream nor on the stack; with a filter, too."""
    secret = "hunter2-" + "x" * 40
    rules = tmp_path / "rules.toml"
    rules.write_text("[streams]\nexclude = ['cmdline']\n")
    with subprocess.Popen(["sleep", "1000"], env={"TOKEN": secret}) as process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        for number, words in enumerate(([], ["--no-environment"], ["--no-environment", "--filter", str(rules)])):
            path = tmp_path / f"{number}.dmp"
            assert main(["dump", str(process.pid), "--type", "full", "-o", str(path), *words]) == 0
            assert (secret.encode() in path.read_bytes()) == (not words)
            assert ("secrets" in capsys.readouterr().err) == (not words)


def test_a_process_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ps shows it, or as it was started; several are listed, and none of them is dumped."""
    program = tmp_path / "a-sleeper-with-a-long-name"
    shutil.copy(str(shutil.which("sleep")), program)
    out = tmp_path / "x.dmp"
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(2):
            process = stack.enter_context(subprocess.Popen([program, "1000"]))
            stack.callback(process.kill)
            started.append(process.pid)
            live.wait_until(lambda: named(program.name) == started, "it has its name")
            if len(started) == 1:
                for name in (program.name, program.name[:15]):
                    assert main(["dump", name, "-o", str(out), "--json"]) == 0
                    assert json.loads(capsys.readouterr().out)["pid"] == process.pid
                assert main(["plan", program.name, "--json"]) == 0
                assert json.loads(capsys.readouterr().out)["pid"] == process.pid
        out.unlink()
        assert main(["dump", program.name, "-o", str(out)]) == 2
        *listed, last = capsys.readouterr().err.splitlines()
        assert [line.split()[1] for line in listed] == [f"{pid}:" for pid in started]
        assert all("sleeper" in line for line in listed) and last.startswith("minidump-cffi: 2 processes are named")
    assert main(["dump", program.name, "-o", str(out)]) == 2
    assert "no process is named" in one_line(capsys.readouterr().err)
    assert not out.exists()


def test_json_is_one_object_on_stdout(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report; the dump has the same numbers of everything."""
    path = tmp_path / "app.dmp"
    assert main(["dump", str(pid), "-o", str(path), "--type", "full", "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert out.count("\n") == 1
    dump = dumpfile.read_dump(path)
    assert report["pid"] == pid and report["complete"] is True
    assert report["file_bytes"] == path.stat().st_size
    assert len(report["threads"]) == len(dump.threads) == 1
    assert len(report["modules"]) == len(dump.modules)
    assert len(report["regions"]) >= 10


@pytest.mark.parametrize("stop", ["whole", "memory"])
def test_for_how_long_it_is_stopped(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: str) -> None:
    path = tmp_path / "app.dmp"
    assert main(["dump", str(pid), "-o", str(path), "--type", "full", "--stop", stop, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stop"] == stop and report["complete"] is True
    assert dumpfile.read_dump(path).problems == []


def test_a_dump_on_stdout_through_a_pipe(pid: int, tmp_path: Path) -> None:
    """The bytes on stdout are a whole dump and nothing else; messages go to stderr."""
    done = run("dump", pid, "-o", "-", "--type", "full")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("minidump-cffi: ") for line in done.stderr.decode().splitlines())
    path = tmp_path / "piped.dmp"
    path.write_bytes(done.stdout)
    dump = dumpfile.read_dump(path)
    assert dump.problems == [] and dump.process_id == pid and dump.memory_bytes > 1 << 20


@pytest.mark.parametrize("name", ["full", "WITH_FULL_MEMORY", "MiniDumpWithFullMemory+with-thread-info", "0x2"])
def test_types_by_name_or_number(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """However people spell it."""
    assert main(["dump", str(pid), "-o", str(tmp_path / "x.dmp"), "--type", name, "--json"]) == 0
    assert "with_full_memory" in json.loads(capsys.readouterr().out)["type"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dump", "1"], "-o"),
        (["dump", "no such process", "-o", "x"], "process id"),
        (["dump", "0", "-o", "x"], "process id"),
        (["dump", "1", "-o", "x", "--no-environment", "--plugin", "x.so"], "--no-environment"),
        (["dump", "-5", "-o", "x"], ""),
        (["dump", "1", "-o", "x", "--type", "fulll"], "fulll"),
        (["dump", "1", "-o", "x", "--type", "0x80000000"], "bits"),
        (["dump", "1", "-o", "x", "--type", "-1"], ""),
        (["dump", "1", "-o", "x", "--deadline", "soon"], "seconds"),
        (["dump", "1", "-o", "x", "--deadline", "nan"], "seconds"),
        (["dump", "1", "-o", "x", "--max-stop", "0"], "seconds"),
        (["dump", "1", "-o", "-", "--json"], "stdout"),
        (["plan", "1", "--exclude", "nmae=/x"], "did you mean 'name'"),
        (["plan", "1", "--exclude", "heap"], "KEY=VALUE"),
        (["plan", "1", "--root", "/x"], "--root is for cores"),
        (["dump", "1", "-o", "x", "--no-spool"], "--no-spool is for -o -"),
        (["dump", "1", "-o", "x", "--snapshot"], "--snapshot is for Windows"),
        (["dump", "1", "-o", "x", "--code", "x"], "whole number"),
        (["--verison"], "did you mean '--version'"),
        (["completion", "tcsh"], "bash, zsh, fish"),
        (["plan", "1", "--exclude", "kind=heap kind=stack"], "given twice"),
        (["plan", "1", "--exclude", "kind=haep"], "did you mean 'heap'"),
        (["plan", "1", "--include", "range=7"], "range"),
        (["plan", "1", "--include", "name='x"], "quotation"),
        (["filter", "x", "--include", ""], "no condition"),
        (["filter", "-", "-o", "x", "--filter", "-"], "only once"),
        (["plan", "-", "--filter", "-"], "only once"),
        (["plan", "1", "--filter", "-", "--filter", "-"], "only once"),
        (["dump", "1", "-o", "x", "--fliter", "y"], "did you mean '--filter'"),
        (["dump", "1", "-o", "x", "--names", "asci"], "did you mean 'ascii'"),
        (["dump", "1", "-o", "x", "more"], "'more'"),
        (["frobnicate"], "frobnicate"),
        (["dmup", "1"], "did you mean 'dump'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    """And the message names what is wrong."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in one_line(err) and "Traceback" not in err


def test_help_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit statuses in it."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "3 written, not complete" in " ".join(out.split())


def test_no_such_process_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no file."""
    assert main(["dump", str(2**22 + 1), "-o", str(tmp_path / "x.dmp")]) == 1
    assert str(2**22 + 1) in one_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_status_1(
    pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the path."""
    assert main(["dump", str(pid), "-o", str(tmp_path / "none" / "x.dmp")]) == 1
    assert str(tmp_path / "none") in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default = \n", "line 1"),
        ('[[rule]]\naction = "exclude"\nlabel = "odd one"\nsice = 4\n', "odd one"),
        ('[[rule]]\naction = "exclude"\nrange = ["0x2000", "0x1000"]\n', "rule 0"),
    ],
)
def test_a_mistake_in_a_filter_file_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    """File and line, or the rule's number and label; found before any process is looked at."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    assert main(["dump", "1", "-o", str(tmp_path / "x.dmp"), "--filter", str(path)]) == 2
    err = one_line(capsys.readouterr().err)
    assert says in err and "rules.toml" in err
    assert not (tmp_path / "x.dmp").exists()


def test_a_missing_filter_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its name."""
    assert main(["plan", "1", "--filter", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in one_line(capsys.readouterr().err)


def test_memory_nobody_can_read_is_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dump is written, the message says that it is not complete, and `show` lists the gap."""
    path = tmp_path / "x.dmp"
    with child(UNREADABLE) as process:
        assert main(["dump", str(process.pid), "-o", str(path), "--type", "full"]) == 3
    assert "NOT COMPLETE" in capsys.readouterr().err
    gaps = dumpfile.read_dump(path).gaps
    assert sum(gap.size for gap in gaps if gap.reason == 1) == 65536
    assert main(["show", str(path)]) == 0
    assert "the read failed" in capsys.readouterr().out


class _Terminal:
    """A terminal whose screen we read."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.seen = b""

    def wait_for(self, words: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert time.monotonic() < end, f"{words!r} did not come: {self.seen!r}"
            ready, _, _ = select.select([self.ours], [], [], 1.0)
            if ready:
                self.seen += os.read(self.ours, 4096)

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


def test_control_c_is_status_130_and_leaves_nothing(tmp_path: Path) -> None:
    """A stalled reader, a progress line on the terminal, Ctrl-C: the process runs on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    terminal = _Terminal()
    try:
        with child(WAITING, str(64 << 20)) as target:
            command = [*COMMAND, "dump", str(target.pid), "-o", str(fifo), "--type", "full"]
            with subprocess.Popen(command, stderr=terminal.theirs, env=environment()) as dumper:
                try:
                    terminal.wait_for(b" of ")
                    dumper.send_signal(signal.SIGINT)
                    assert dumper.wait(PATIENCE) == 130
                finally:
                    dumper.kill()
            terminal.wait_for(b"interrupted")
            assert "T" not in Path(f"/proc/{target.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert sorted(tmp_path.iterdir()) == [fifo]
    finally:
        os.close(reader)
        terminal.close()


def test_a_deadline_that_passes_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stalled reader, and no Ctrl-C."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with child(WAITING, "1000000") as target:
            assert main(["dump", str(target.pid), "-o", str(fifo), "--type", "full", "--deadline", "0.3"]) == 1
    finally:
        os.close(reader)
    assert "deadline" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "lines"), [(["dump", "PID", "-o", "-", "--no-spool", "--type", "full"], 1), (["plan", "PID"], 0)]
)
def test_a_reader_that_has_gone_is_status_1(pid: int, words: list[str], lines: int) -> None:
    """A dump that got lost is worth a line, an unread table is not; never a traceback."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = run(*(pid if word == "PID" else word for word in words), capture_output=False, stdout=theirs, stderr=-1)
    finally:
        os.close(theirs)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == lines, done.stderr
    assert done.stderr.startswith(b"minidump-cffi: ") == bool(lines)


@pytest.mark.parametrize("words", [[], ["--no-spool"]], ids=["spooled", "not"])
def test_a_slow_reader_of_a_pipe(words: list[str], pid: int) -> None:
    """The process is stopped for as long as it takes only where it was asked for so."""
    command = [sys.executable, "-m", "minidump_cffi", "dump", str(pid), "-o", "-", "--type", "full", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dumper:
        assert dumper.stdout is not None
        assert select.select([dumper.stdout], [], [], 30)[0]
        status = Path(f"/proc/{pid}/status").read_text()
        assert ("TracerPid:\t0\n" in status) == (not words)
        dump, _ = dumper.communicate()
    assert dump.startswith(b"MDMP") and dumper.returncode == 0


def test_plan_reads_no_memory_and_writes_nothing(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regions and bytes by rule, as text and as JSON; every byte belongs to one rule."""
    monkeypatch.chdir(tmp_path)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "exclude"\nlabel = "no stacks"\nkind = "stack"\n')
    assert main(["plan", str(pid), "--type", "full", "--filter", str(rules)]) == 0
    out = capsys.readouterr().out
    assert "heap" in out and "0: no stacks" in out and "default (include)" in out
    assert main(["plan", str(pid), "--type", "full", "--filter", str(rules), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["planned"] is True
    stacks = [region for region in plan["regions"] if "stack" in region["kinds"]]
    assert stacks and all(region["verdict"] == "excluded" for region in stacks)
    assert plan["rules"][0]["excluded"] == sum(region["size"] for region in stacks)
    assert sorted(tmp_path.iterdir()) == [rules]


def test_a_filter_of_files_and_single_rules(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the command line, of which the last one that matches decides; stdin is a file, too."""
    rules = tmp_path / "rules.toml"
    rules.write_text("default = 'exclude'\n")
    stdin = io.TextIOWrapper(io.BytesIO(b"[[rule]]\naction = 'include'\nkind = ['stack', 'heap', 'image']\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    words = ["--filter", str(rules), "--filter", "-", "--exclude", "kind=heap,image min_size=4096"]
    assert main(["plan", str(pid), "--type", "full", *words, "--include", "name='[[]heap]'", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    labels = [rule["label"] for rule in plan["rules"]]
    assert labels == [None, "kind=heap,image min_size=4096", "name='[[]heap]'", None]
    kept = {kind for region in plan["regions"] if region["kept"] for kind in region["kinds"]}
    assert {"stack", "heap"} <= kept and "image" not in kept and "file" not in kept


def test_letters_in_their_places_are_those_of_proc(pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    for letters in ("r--", "rw-", "r-x"):
        assert main(["plan", str(pid), "--type", "full", "--json", "--exclude", f"protect={letters}"]) == 0
        regions = json.loads(capsys.readouterr().out)["regions"]
        excluded = {region["base"] for region in regions if region["verdict"] == "excluded"}
        expected = {int(words[0].split("-")[0], 16) for words in maps if words[1].startswith(letters)}
        assert expected - excluded == {base for base in expected if base in unread(maps)}
        assert excluded <= expected


def unread(maps: list[list[str]]) -> set[int]:
    """Mappings that no dump reads."""
    return {int(words[0].split("-")[0], 16) for words in maps if words[-1] in ("[vvar]", "[vvar_vclock]", "[vsyscall]")}


def test_a_filter_from_stdin_that_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["plan", "1", "--filter", "-"]) == 2
    assert "stdin is closed" in one_line(capsys.readouterr().err)


def test_a_rule_that_never_decides_is_a_warning(pid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with its number; the plan is made all the same."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "include"\nname = "/x"\nlabel = "hidden"\n[[rule]]\naction = "exclude"\n')
    assert main(["plan", str(pid), "--type", "full", "--filter", str(rules)]) == 0
    err = capsys.readouterr().err
    assert "warning" in err and "hidden" in err and err.count("\n") == 1


def test_demo_keeps_the_document_and_leaves_out_the_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the README's first command runs it; and the dump can be kept."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert "the document is there, the secret is not there" in out
    assert "1: the secret" in out and "64.0 KiB" in out and "big file maps" in out
    one_line(err)
    path = tmp_path / "demo.dmp"
    assert main(["demo", "-o", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["document_in_file"] is True and report["secret_in_file"] is False
    assert len(dumpfile.read_dump(path).threads) == 3


def test_demo_notices_a_secret_in_the_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own check can fail: without the rules the secret is found."""
    from minidump_cffi.cli import demo

    real: Callable[..., Any] = demo.write_dump
    monkeypatch.setattr(demo, "write_dump", lambda pid, path, kind, **_: real(pid, path, kind))
    assert main(["demo"]) == 1
    assert "the secret is THERE" in capsys.readouterr().out
