"""``minidump-cffi filter`` and ``plan`` of files: words, names, pipes, exit statuses."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import live
import pytest
from test_files_batch import SAMPLES, files, whole

import minidump_cffi as md
from minidump_cffi.cli.console import Exit

SAMPLE = SAMPLES[0]


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """A folder with dumps, and one that is none."""
    made = tmp_path / "dumps"
    made.mkdir()
    for path in SAMPLES:
        shutil.copy(path, made)
    return made


def test_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out.dmp"
    done = live.run_cli("filter", SAMPLE, "-o", out, "--json")
    assert done.returncode == Exit.OK, done.stderr
    md.write_dump(md.DumpFile(SAMPLE), tmp_path / "same.dmp")
    assert out.read_bytes() == (tmp_path / "same.dmp").read_bytes()
    report = json.loads(done.stdout)
    assert (report["file_bytes"], report["complete"]) == (out.stat().st_size, True)
    assert str(out) in done.stderr and "stopped" not in done.stderr
    rules = tmp_path / "rules.toml"
    rules.write_text(md.Filter(md.exclude(kind="stack")).to_toml())
    done = live.run_cli("filter", SAMPLE, "-o", out, "--filter", rules, "--type", "normal")
    assert done.returncode == Exit.OK, done.stderr
    assert out.stat().st_size < (tmp_path / "same.dmp").stat().st_size


def test_without_an_output_the_dump_is_beside_the_input(tmp_path: Path) -> None:
    """Under a name of its own: never the input's."""
    for name, packed, expected in (
        ("a.dmp", False, "a.filtered.dmp"),
        ("b.dmp.gz", True, "b.dmp"),
        ("core.1", False, "core.1.dmp"),
    ):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        data = SAMPLE.read_bytes()
        (folder / name).write_bytes(gzip.compress(data) if packed else data)
        done = live.run_cli("filter", folder / name)
        assert done.returncode == Exit.OK, done.stderr
        assert files(folder) == sorted([name, expected])
        assert str(folder / expected) in done.stderr


def test_stdin_and_stdout(tmp_path: Path) -> None:
    """Through pipes, compressed; and a file as stdin, which is read where it is."""
    command = [sys.executable, "-m", "minidump_cffi", "filter", "-", "-o", "-"]
    packed = gzip.compress(SAMPLE.read_bytes())
    done = subprocess.run(command, input=packed, capture_output=True, check=True)
    with SAMPLE.open("rb") as file:
        same = subprocess.run(command, stdin=file, capture_output=True, check=True)
    assert done.stdout == same.stdout
    assert done.stdout[:4] == b"MDMP"
    bomb = subprocess.run([*command, "--max-input", "10KiB"], input=packed, capture_output=True)
    assert (bomb.returncode, bomb.stdout) == (Exit.ERROR, b"")
    assert b"more than 10,240 bytes" in bomb.stderr


def test_several_files(dumps: Path, tmp_path: Path) -> None:
    """Patterns are expanded here, too; a file that is none is status 1, and the others are written."""
    out = tmp_path / "new" / "out"
    done = live.run_cli("filter", "--jobs", "2", dumps / "*.dmp", "-o", out, "--json")
    assert done.returncode == Exit.OK, done.stderr
    assert files(out) == files(dumps)
    assert all(whole(path) for path in out.iterdir())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["source"] for line in lines) == sorted(str(path) for path in dumps.iterdir())
    assert all(line["report"]["complete"] and line["error"] is None for line in lines)
    assert "3 dumps complete, 0 not complete, 0 errors" in done.stderr
    shutil.rmtree(out)
    (dumps / "text.dmp").write_text("hello")
    done = live.run_cli("filter", *sorted(dumps.iterdir()), "-o", out)
    assert done.returncode == Exit.ERROR
    assert "text.dmp is neither a core nor a minidump" in done.stderr
    assert "3 dumps complete, 0 not complete, 1 error" in done.stderr
    assert len(files(out)) == 3


def test_a_pattern_means_files(dumps: Path, tmp_path: Path) -> None:
    """`**` matches directories as well, which are no inputs."""
    (dumps / "deeper").mkdir()
    shutil.copy(SAMPLE, dumps / "deeper" / "last.dmp")
    done = live.run_cli("filter", f"{dumps}/**", "-o", tmp_path / "out")
    assert done.returncode == Exit.OK, done.stderr
    assert files(tmp_path / "out") == sorted(["last.dmp", *(path.name for path in SAMPLES)])


def test_a_folder_as_output(dumps: Path, tmp_path: Path) -> None:
    for out in (f"{tmp_path}/one/", tmp_path):
        done = live.run_cli("filter", SAMPLE, "-o", str(out))
        assert done.returncode == Exit.OK, done.stderr
        assert whole(Path(str(out)) / SAMPLE.name)
    pattern = dumps / "[a].dmp"  # a name, where there is such a file
    shutil.copy(SAMPLE, pattern)
    done = live.run_cli("filter", pattern, "-o", tmp_path / "single.dmp")
    assert done.returncode == Exit.OK, done.stderr
    assert whole(tmp_path / "single.dmp")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["none", "-o", "x"], Exit.ERROR, "cannot open none: No such file or directory"),
        (["*.none", "-o", "x/"], Exit.USAGE, "*.none: no file matches"),
        (["a.dmp", "b.dmp", "-o", "-"], Exit.USAGE, "several inputs need a directory"),
        (["-", "-o", "x/"], Exit.USAGE, "stdin has no name: give -o FILE"),
        (["a.dmp", "-o", "-", "--json"], Exit.USAGE, "--json and -o - both want stdout"),
        (["a.dmp", "b.dmp"], Exit.USAGE, "-o DIR"),
        (["-"], Exit.USAGE, "-o FILE"),
        (["a.dmp", "-o", "a.dmp"], Exit.ERROR, "a.dmp is both input and output"),
        (["a.dmp", "-o", "x", "--jobs", "0"], Exit.USAGE, "not a number of jobs"),
        (["a.dmp", "-o", "x", "--max-input", "0"], Exit.USAGE, "not a size"),
        (["a.dmp", "-o", "x", "--type", "ful"], Exit.USAGE, "did you mean 'full'"),
        (["a.dmp", "-o", "x", "--filter", "none.toml"], Exit.USAGE, "none.toml"),
        ([".", "-o", "x"], Exit.ERROR, ". is a directory"),
    ],
)
def test_what_is_refused(words: list[str], status: int, message: str, tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "a.dmp")
    done = live.run_cli("filter", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert files(tmp_path) == ["a.dmp"]
    assert (tmp_path / "a.dmp").read_bytes() == SAMPLE.read_bytes()


def test_a_terminal_is_no_input(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "minidump_cffi", "filter", "-", "-o", str(tmp_path / "x")]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == Exit.USAGE
    assert "stdin is a terminal" in done.stderr
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&-', *command], capture_output=True, text=True)
    assert done.returncode == Exit.USAGE
    assert "stdin is closed" in done.stderr


def test_plan_of_a_file(tmp_path: Path) -> None:
    done = live.run_cli("plan", SAMPLE, "--json")
    assert done.returncode == Exit.OK, done.stderr
    plan = json.loads(done.stdout)
    report = md.write_dump(md.DumpFile(SAMPLE), tmp_path / "out.dmp")
    assert (plan["planned"], plan["memory_bytes"]) == (True, report.memory_bytes)
    shutil.copy(SAMPLE, tmp_path / "1234567")
    assert live.run_cli("plan", "./1234567", cwd=tmp_path).returncode == Exit.OK
    assert "1234567" in live.run_cli("plan", "1234567", cwd=tmp_path).stderr
    with SAMPLE.open("rb") as file:
        command = [sys.executable, "-m", "minidump_cffi", "plan", "-"]
        assert subprocess.run(command, stdin=file, capture_output=True).returncode == Exit.OK


def test_ctrl_c_while_nothing_comes(tmp_path: Path) -> None:
    """No file, the status of an interrupt, and no trace of Python."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "minidump_cffi", "filter", str(fifo), "-o", str(tmp_path / "x")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        writer = os.open(fifo, os.O_WRONLY)  # when it has opened it
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        said = child.stderr.read()
        assert child.wait(30) == Exit.INTERRUPTED
        os.close(writer)
    assert said.startswith("minidump-cffi: interrupted; no file was left that is not complete")
    assert files(tmp_path) == ["fifo"]
