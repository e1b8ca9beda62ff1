"""Redaction in dumps of real processes: a secret that is all over a process is nowhere in its dump.

What is checked is the file as a whole, and what independent readers make of it; and that without redaction the same
search finds the secret everywhere, so that silence means something.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

NORMAL, FULL = md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY
MIB = 1 << 20
SECRET = b"Swordfish#c0ffee-42"
WIDE = SECRET.decode().encode("utf-16-le")
NAME = SECRET[:15]
MARKER = struct.pack("<Q", 0x0DEFACED0DEFACED)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    return live.compile_c(
        live.HERE / "targets" / "secrets.c", folder / "secrets", "-O0", "-g", "-fno-omit-frame-pointer", "-pthread"
    )


@pytest.fixture
def target(program: Path, tmp_path: Path) -> Iterator[dict[str, int]]:
    """A process full of secrets, also in its arguments' neighbour, the environment."""
    folder = tmp_path / "files"
    folder.mkdir()
    written = bytes(byte + 1 for byte in SECRET)
    environ = {b"PATH": b"/bin", b"API_TOKEN": SECRET, b"API_OTHER": b"another-one", b"LAST": b"l" + SECRET + b"l"}
    command = [os.fsencode(program), written, os.fsencode(folder)]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        info = json.loads(process.stdout.readline())
        live.wait_until(lambda: set(live.task_states(info["pid"]).values()) == {"S"}, "its threads wait")
        yield info
        assert process.poll() is None, "the target did not run on"
        process.send_signal(signal.SIGCONT)  # a test may have stopped it


def count(path: Path, needle: bytes) -> int:
    """How often it is in a file, whose holes are passed over."""
    found = 0
    with file_rules.DumpFile(path) as dump, path.open("rb") as file:
        searched = 0
        for start, end in stored(file.fileno()):
            at = max(searched, start - len(needle))
            end += len(needle)
            while (at := dump.data.find(needle, at, end)) >= 0:
                found += 1
                at += 1
            searched = end - len(needle) + 1
    return found


def stored(fd: int) -> Iterator[tuple[int, int]]:
    """Where a file has bytes: first and end of each run."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing more
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def hole_free(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_the_search_finds_the_secrets(target: dict[str, int], take: live.Taker) -> None:
    """Without redaction: heap 8, pair 1, sparse 1, stack 1, environment 2 and its stream 2, a file's name in maps.

    And one across the pages of a stack that are apart in the file.
    """
    report, path = take(target["pid"], FULL)
    assert report.redaction is None
    assert count(path, SECRET) == 16
    border = report.threads[0].stack_base
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(border - len(SECRET) // 2, len(SECRET)) == SECRET
    assert count(path, NAME.decode().encode("utf-16-le")) == 1  # the thread's name
    _, path = take(target["pid"], NORMAL)
    assert count(path, SECRET) >= 4


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_a_pattern_is_nowhere(dump_type: md.DumpType, target: dict[str, int], take: live.Taker) -> None:
    """Neither in memory, whatever border it crosses, nor in texts, names and registers."""
    keep = md.Filter(redact=md.Redact(patterns=[SECRET, NAME, WIDE]))
    report, path = take(target["pid"], dump_type, filter=keep)
    for needle in (SECRET, NAME, WIDE, WIDE[:30], SECRET[-8:]):
        assert count(path, needle) == 0
    assert report.redaction is not None
    assert report.redaction.uncovered == 0 and report.redaction.hits >= 4
    assert report.redaction.bytes >= report.redaction.hits * len(NAME) // 2
    assert report.complete
    if dump_type == FULL:
        with file_rules.DumpFile(path) as dump:
            assert dump.read(target["pair"] + MIB - 9, 5) == b"XXXXX"
            assert dump.read(target["heap"] + 3 * MIB - 3, len(SECRET)) == b"X" * len(SECRET)
            border = report.threads[0].stack_base
            assert dump.read_across(border - len(SECRET) // 2, len(SECRET)) == b"X" * len(SECRET)
            # nothing besides was touched
            assert dump.read(target["pair"] + MIB + 10, 5) == b"ppppp"
            assert dump.read(target["pair"] + MIB - 10, 1) == b"p"


def test_small_buffers_and_no_sink_to_patch(target: dict[str, int], tmp_path: Path) -> None:
    """The engine's buffer as small as it can be, and a stream as output."""
    options = md.EngineOptions(buffer_bytes=4096)
    report = md.write_dump(
        target["pid"],
        tmp_path / "small.dmp",
        FULL,
        filter=md.Filter(redact=md.Redact(patterns=[SECRET])),
        options=options,
    )
    assert count(tmp_path / "small.dmp", SECRET) == 0
    assert report.redaction is not None and report.redaction.uncovered == 0
    reading, writing = os.pipe()
    with (tmp_path / "piped.dmp").open("wb") as file, subprocess.Popen(["cat"], stdin=reading, stdout=file) as copier:
        os.close(reading)
        report = md.write_dump(
            target["pid"], writing, FULL, filter=md.Filter(redact=md.Redact(patterns=[SECRET])), untouched="omit"
        )
        os.close(writing)
        assert copier.wait() == 0
    assert count(tmp_path / "piped.dmp", SECRET) == 0
    live.assert_accepted(tmp_path / "piped.dmp", report)


def test_sparse_memory_stays_sparse(target: dict[str, int], take: live.Taker) -> None:
    """4 GiB that were never touched are neither read nor written because of a pattern."""
    before = live.memory_figures(target["pid"])
    report, path = take(target["pid"], FULL, filter=md.Filter(redact=md.Redact(patterns=[SECRET], stacks=True)))
    assert report.zero_bytes > 4000 * MIB
    assert path.stat().st_size > 4000 * MIB and hole_free(path) < 64 * MIB
    after = live.memory_figures(target["pid"])
    assert after["RssAnon"] - before["RssAnon"] < 256 and after["VmPTE"] - before["VmPTE"] < 64
    assert (
        md.protocol.CallbackType.VM_PRE_READ not in report.callbacks
        and report.callbacks[md.protocol.CallbackType.VM_POST_READ] > 0
    )


def test_ranges(target: dict[str, int], take: live.Taker) -> None:
    first = target["heap"] + 2 * MIB - 100
    keep = md.Filter(redact=md.Redact(ranges=[(first, first + 200), (first + 100, first + MIB)], fill=0x2E))
    report, path = take(target["pid"], FULL, filter=keep)
    with file_rules.DumpFile(path) as dump:
        assert dump.read(first, MIB) == b"." * MIB
        assert dump.read(first - 8, 8) == live_bytes(target["pid"], first - 8, 8)
        assert dump.read(first + MIB, 8) == live_bytes(target["pid"], first + MIB, 8)
    assert report.redaction == md.report.Redaction(bytes=MIB, hits=0, words=0, variables=0, uncovered=0)


def live_bytes(pid: int, address: int, size: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
def test_stacks_hold_pointers_only(dump_type: md.DumpType, target: dict[str, int], take: live.Taker) -> None:
    """Every word of a stack in the file is small, the marker, or points into a module or a stack."""
    os.kill(target["pid"], signal.SIGSTOP)  # the stacks as they are now are dumped
    live.wait_until(lambda: set(live.task_states(target["pid"]).values()) == {"T"}, "it is stopped")
    report, path = take(target["pid"], dump_type, filter=md.Filter(redact=md.Redact(stacks=True)))
    stacks = [(thread.stack_base, thread.stack_base + thread.stack_size) for thread in report.threads]
    known = [*stacks, *((module.base, module.base + module.size) for module in report.modules)]
    words = replaced = 0
    with file_rules.DumpFile(path) as dump:
        for first, end in stacks:
            stored = dump.read(first, end - first)
            original = live_bytes(target["pid"], first, end - first)
            assert stored is not None and len(stored) == len(original)
            for (word,), (was,) in zip(
                struct.iter_unpack("<Q", stored), struct.iter_unpack("<Q", original), strict=True
            ):
                pointer = any(low <= was < high for low, high in known)
                small = was <= 4096 or was >= (1 << 64) - 4096
                assert word == (was if pointer or small else 0x0DEFACED0DEFACED)
                words += 1
                replaced += word == 0x0DEFACED0DEFACED
        assert stored.count(SECRET) == 0
    assert words > 500 and replaced > 50
    assert report.redaction is not None and report.redaction.words >= replaced  # texts of the stack too


def test_unwinding_still_works(target: dict[str, int], take: live.Taker) -> None:
    """Return addresses and frame pointers stay, so a debugger finds the same frames."""
    if not readers.lldb_program():
        pytest.skip("no lldb")
    frames = []
    for keep in (md.Filter(), md.Filter(redact=md.Redact(stacks=True))):
        _, path = take(target["pid"], NORMAL, filter=keep)
        reading = readers.read_lldb(path, frames=True)
        assert not reading.errors
        frames.append({thread.tid: thread.frames for thread in reading.threads or ()})
    assert frames[0][target["pid"]][:2] == ("wait_with_secrets", "main")
    assert frames[1] == frames[0]


@pytest.mark.parametrize("dump_type", [NORMAL, FULL], ids=["normal", "full"])
@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        ({"drop": ["API_*", "LAST"]}, {b"API_TOKEN", b"API_OTHER", b"LAST"}),
        ({"keep": ["PATH"]}, {b"API_TOKEN", b"API_OTHER", b"LAST"}),
        ({"keep": ["*"], "drop": ["API_TOKEN"]}, {b"API_TOKEN"}),
        ({"drop": ["api_*"]}, set()),
    ],
    ids=["drop", "keep", "both", "case"],
)
def test_variables(
    rules: dict[str, list[str]],
    hidden: set[bytes],
    dump_type: md.DumpType,
    target: dict[str, int],
    take: live.Taker,
) -> None:
    """Names stay, values go: in the stream, in the stack's copy, in all memory."""
    report, path = take(target["pid"], dump_type, filter=md.Filter(redact={"environ": rules}, ignore_case=False))
    environ = Path(f"/proc/{target['pid']}/environ").read_bytes()
    assert report.redaction is not None and report.redaction.variables == len(hidden)
    with file_rules.DumpFile(path) as dump:
        stream = dump.stream(0x47670007)
        wanted = []
        for entry in environ.split(b"\0")[:-1]:
            name, _, value = entry.partition(b"=")
            wanted.append(name + b"=" + (b"X" * len(value) if name in hidden else value))
            assert (count(path, entry) > 0) == (name not in hidden)
        assert stream == b"\0".join(wanted) + b"\0"


def test_everything_from_a_file(target: dict[str, int], tmp_path: Path) -> None:
    """The command line needs no options of its own: a filter file says it all."""
    rules = tmp_path / "rules.toml"
    rules.write_text(
        f"""
        [redact]
        ranges = [["{target["heap"]:#x}", "{target["heap"] + 4096:#x}"]]
        patterns = ["{SECRET.decode()}", {{ hex = "{NAME.hex()}" }}]
        stacks = true
        [redact.environ]
        drop = ["API_*"]
        """
    )
    path = tmp_path / "dump.dmp"
    done = live.run_cli("dump", str(target["pid"]), "-o", path, "--type", "full", "--filter", rules, "--json")
    assert done.returncode == 0, done.stderr
    redaction = json.loads(done.stdout)["redaction"]
    assert redaction["hits"] > 10 and redaction["words"] > 50 and redaction["variables"] == 2
    assert count(path, SECRET) == 0 and count(path, b"another-one") == 0
    with file_rules.DumpFile(path) as dump:
        assert dump.read(target["heap"], 4096) == b"X" * 4096


def test_a_plan_redacts_nothing(target: dict[str, int]) -> None:
    plan = md.plan_dump(target["pid"], FULL, filter=md.Filter(redact=md.Redact(patterns=[SECRET], stacks=True)))
    assert plan.redaction is None
    assert plan.zero_bytes > 4000 * MIB


def test_too_many_stacks_are_an_error(target: dict[str, int], tmp_path: Path) -> None:
    """A full table means unknown pointers: no dump, rather than one that claims too much."""
    with (
        md.Callback(md.Filter(redact=md.Redact(stacks=True)), stack_capacity=1) as callback,
        pytest.raises(md.CallbackError, match="room"),
    ):
        md.write_dump(target["pid"], tmp_path / "none.dmp", callback=callback)
    assert not (tmp_path / "none.dmp").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patterns": [b"abc"]}, "pattern 0: a pattern has 4 to 4,096 bytes, not 3"),
        ({"patterns": [b"abcd", "x" * 4097]}, "pattern 1: .* not 4097"),
        ({"patterns": [5]}, "pattern 0: expected bytes or str, not int"),
        ({"patterns": "secret"}, "patterns: expected a list, not a string$"),
        ({"patterns": [f"{number:04}" for number in range(4097)]}, "4097 patterns"),
        ({"ranges": [(8, 8)]}, "redact.ranges: .* is empty"),
        ({"environ": {"drop": "A"}}, "redact.environ.drop: expected a list"),
        ({"environ": {"keep": ["[a"]}}, "variable to keep 0"),
        ({"fill": 256}, "fill: expected a number from 0 to 255"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(md.FilterError, match=message):
        md.Filter(redact=values).compile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[redact]\npatterns = "abcd"', "redact.patterns: expected a list$"),
        ("[redact]\npatterns = [12345]", "number 0 is neither text nor"),
        ('[redact]\npatterns = [{ hex = "zz" }]', "number 0 is written neither"),
        ('[redact]\npatterns = ["abc"]', "redact.patterns: pattern 0"),
        ("[redact]\nstacks = 1", "stacks: expected true or false"),
        ("[redact]\npattern = []", "unknown key 'pattern'; did you mean 'patterns'"),
        ('[redact.environ]\ndrop = "A"', "redact.environ.drop: expected a list"),
        ("[redact.environ]\nhide = []", "unknown key 'hide'"),
        ("[environ]\ndrop = []", "unknown key 'environ'"),
    ],
)
def test_wrong_files(text: str, message: str) -> None:
    with pytest.raises(md.FilterError, match=message):
        md.Filter.from_toml(text)


def test_patterns_are_not_shown() -> None:
    """What is secret is not printed with the filter that hides it."""
    made = md.Filter(redact=md.Redact(patterns=[SECRET], environ={"drop": ["KEY"]}))
    assert "Swordfish" not in repr(made) and "patterns=<1>" in repr(made)
    assert "Swordfish" in made.to_toml()


def test_hooks_that_would_undo_it_are_refused() -> None:
    def hook(_input: object, _output: object) -> bool:
        return False

    with pytest.raises(ValueError, match="redacts"):
        md.Callback(md.Filter(redact=md.Redact(patterns=[SECRET])), hooks={md.protocol.CallbackType.VM_START: hook})
    md.Callback(md.Filter(), hooks={md.protocol.CallbackType.VM_START: hook}).close()
