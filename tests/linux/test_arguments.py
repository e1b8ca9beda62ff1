"""Command line and environment: what the streams show, and that excluded is excluded, wherever the bytes are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
ENVIRON, ARGUMENT, TITLE, MOVED = b"environ-marker", b"argument-marker", b"title-marker", b"moved-marker"
CMDLINE_STREAM, ENVIRON_STREAM, MAPS_STREAM = 0x47670006, 0x47670007, 0x47670009
HOW = ["plain", "title", "short", "moved", "unset"]
VARIABLES = {"SECRET": ENVIRON.decode(), "LONG": "v" * 5000 + ENVIRON.decode(), "LAST": ENVIRON.decode()}

Start = Callable[..., live.Target]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target, compiled."""
    folder = tmp_path_factory.mktemp("arguments")
    return live.compile_c(live.HERE / "targets" / "arguments.c", folder / "arguments", "-O0", "-pthread", "-Wl,-z,now")


@pytest.fixture
def start(program: Path) -> Iterator[Start]:
    """Starts targets, with markers in the environment and as arguments."""
    with ExitStack() as stack:

        def started(how: str) -> live.Target:
            command = [str(program), how, ARGUMENT.decode(), ARGUMENT.decode() + "-2"]
            target = stack.enter_context(live.Target(command, env=VARIABLES))
            if "errno" in target.info:
                pytest.skip("the kernel has no PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE)")
            return target

        yield started


def leave_out(*streams: str) -> md.Filter:
    """A filter that leaves out nothing else."""
    return md.Filter(streams={"exclude": list(streams)})


def stream_of(path: Path, kind: int) -> bytes:
    """One stream of a dump."""
    with file_rules.DumpFile(path) as dump:
        return bytes(dump.stream(kind))


@pytest.mark.parametrize("dump_type", [NORMAL, FULL])
@pytest.mark.parametrize("how", HOW)
def test_excluded_strings_are_nowhere_in_the_file(
    how: str, dump_type: md.DumpType, start: Start, take: live.Taker
) -> None:
    target = start(how)
    secrets = [ENVIRON, ARGUMENT, TITLE, MOVED]
    _, path = take(target, dump_type, only=["minidump"])
    there = [offset >= 0 for offset in live.file_holds(path, *secrets)]
    assert there[0] == (how != "title") and there[2] == (how in ("title", "short", "moved")), "the test itself"
    report, path = take(target, dump_type, filter=leave_out("environ", "cmdline"), only=["minidump"])
    assert live.file_holds(path, *secrets) == [-1, -1, -1, -1]
    assert report.complete and report.omitted_streams == md.filters.Stream.ENVIRON | md.filters.Stream.CMDLINE


@pytest.mark.parametrize("dump_type", [NORMAL, FULL])
@pytest.mark.parametrize("how", ["plain", "short", "moved", "unset"])
def test_each_of_them_alone(how: str, dump_type: md.DumpType, start: Start, take: live.Taker) -> None:
    target = start(how)
    _, path = take(target, dump_type, filter=leave_out("environ"), only=["minidump"])
    assert live.file_holds(path, ENVIRON, MOVED) == [-1, -1]
    assert stream_of(path, CMDLINE_STREAM) == Path(f"/proc/{target.pid}/cmdline").read_bytes()
    _, path = take(target, dump_type, filter=leave_out("cmdline"), only=["minidump"])
    assert live.file_holds(path, ARGUMENT, TITLE) == [-1, -1]
    assert stream_of(path, ENVIRON_STREAM) == Path(f"/proc/{target.pid}/environ").read_bytes()


@pytest.mark.parametrize("how", HOW)
def test_the_command_line_is_the_one_that_the_kernel_shows(how: str, start: Start, take: live.Taker) -> None:
    target = start(how)
    shown = Path(f"/proc/{target.pid}/cmdline").read_bytes()
    assert shown.startswith(TITLE) == (how in ("title", "short", "moved"))
    _, path = take(target)
    assert stream_of(path, CMDLINE_STREAM) == shown
    if how == "title":
        assert len(shown) == live.PAGE, "longer than the arguments were; the kernel shows a page"


def test_the_rest_of_the_stack_stays(start: Start, take: live.Taker, program: Path) -> None:
    """Bytes are overwritten in their place: the size is the same, and so are the pointers around them."""
    target = start("plain")
    plain, path = take(target)
    hidden, other = take(target, filter=leave_out("environ", "cmdline"))
    assert plain.memory_bytes == hidden.memory_bytes
    plan = md.plan_dump(target.pid, filter=leave_out("environ", "cmdline"))
    assert plan.memory_bytes == hidden.memory_bytes
    fields = Path(f"/proc/{target.pid}/stat").read_text().rpartition(")")[2].split()
    first, end = int(fields[45]), int(fields[48])  # arg_start, env_end
    with file_rules.DumpFile(path) as before, file_rules.DumpFile(other) as after:
        (stack,) = [item for item in before.ranges() if item.address <= first < item.address + item.size]
        was, now = (dump.read(stack.address, stack.size) for dump in (before, after))
        assert was is not None and now is not None
        at, stop = first - stack.address, end - stack.address
        assert now[at:stop] == b"X" * (stop - at)
        pointers = int(fields[25]) - stack.address  # startstack: argc, arguments, environment, auxiliary vector
        assert now[pointers:at] == was[pointers:at]
        name = os.fsencode(program) + b"\0"
        assert was[stop:].startswith(name) and name not in now[stop:], "AT_EXECFN"


PROGRAM = """
import os, sys, threading
def wait():
    threading.Event().wait()
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
print('{"pid": %d}' % os.getpid(), flush=True)
for number, line in enumerate(sys.stdin):
    print("pong", number, 0, 0, flush=True)
"""


def test_a_python_process(take: live.Taker, tmp_path: Path) -> None:
    """Of a small dump all is hidden. CPython copies both to its heap, which a full dump has: the stack has nothing."""
    file = tmp_path / f"{ARGUMENT.decode()}.py"
    file.write_text(PROGRAM)
    with live.Target([sys.executable, "-I", str(file)], env={**os.environ, **VARIABLES}) as target:
        _, path = take(target)
        assert -1 not in live.file_holds(path, ENVIRON, ARGUMENT)
        _, path = take(target, filter=leave_out("environ", "cmdline"))
        assert live.file_holds(path, ENVIRON, ARGUMENT) == [-1, -1]
        (stack,) = [
            tuple(int(word, 16) for word in line.split()[0].split("-"))
            for line in Path(f"/proc/{target.pid}/maps").read_text().splitlines()
            if line.endswith("[stack]")
        ]
        _, path = take(target, FULL, filter=leave_out("environ", "cmdline"), only=["minidump"])
        with file_rules.DumpFile(path) as dump:
            parts = [item for item in dump.ranges() if stack[0] <= item.address < stack[1]]
            found = b"".join(dump.read(item.address, item.size) or b"" for item in parts)
        assert found and ENVIRON not in found and ARGUMENT not in found


SELF = """
import sys
import minidump_cffi as md
import os
md.write_dump(os.getpid(), sys.argv[1], filter=md.Filter(streams={"exclude": ["environ", "cmdline"]}))
"""


def test_a_dump_of_ones_own_process(tmp_path: Path) -> None:
    path = tmp_path / "own.dmp"
    command = [sys.executable, "-c", SELF, str(path), ARGUMENT.decode()]
    subprocess.run(command, check=True, env={**os.environ, **VARIABLES}, timeout=live.PATIENCE)
    assert live.file_holds(path, ENVIRON, ARGUMENT) == [-1, -1]
    assert stream_of(path, MAPS_STREAM)


def test_variables_by_name_where_they_were_at_the_start(start: Start, take: live.Taker) -> None:
    """Redaction by names covers the same memory."""
    target = start("moved")
    _, path = take(target, FULL, filter=md.Filter(redact=md.Redact(environ={"keep": ["PATH"]})), only=["minidump"])
    assert live.file_holds(path, ENVIRON, MOVED) == [-1, -1]
    assert live.file_holds(path, b"SECRET=X") != [-1], "names stay"
