"""What bad input gets: filter files, rules, outputs and hooks; by the API and on the command line."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]

BAD_TOML: dict[str, tuple[str, int | None, list[str]]] = {
    "no-toml": ('default = "include"\nrule = [\n', 3, ["not TOML"]),
    "odd-byte": ('default = "include"\nname = "\x00"\n', 2, ["not TOML"]),
    "unknown-key": (
        '[[rule]]\naction = "exclude"\nlabel = "maps"\nmin_sise = 1\n',
        4,
        ["min_sise", "min_size", "maps"],
    ),
    "unknown-top": ("defualt = 1\n", 1, ["defualt", "default"]),
    "unknown-action": ('[[rule]]\naction = "drop"\n', 2, ["drop"]),
    "second-rule": (
        '[[rule]]\naction = "exclude"\n[[rule]]\naction = "exclude"\nkind = "stak"\n',
        5,
        ["rule 1", "stak"],
    ),
    "empty-range": ('[[rule]]\naction = "exclude"\nlabel = "none"\nrange = ["0x2000", "0x2000"]\n', 4, ["none"]),
    "backward-range": ('[[rule]]\naction = "exclude"\nrange = ["0x3000", "0x2000"]\n', 3, ["rule 0"]),
    "overflowing-range": ('[[rule]]\naction = "exclude"\nrange = ["0", "0x10000000000000001"]\n', 3, ["rule 0"]),
    "negative-range": ('[[rule]]\naction = "exclude"\nrange = ["-1", "0x1000"]\n', 3, ["rule 0"]),
    "size-order": ('[[rule]]\naction = "exclude"\nmin_size = "2 MiB"\nmax_size = "1 MiB"\n', 1, ["never match"]),
    "bad-unit": ('[[rule]]\naction = "exclude"\nmin_size = "2 potatoes"\n', 3, ["potatoes"]),
    "bad-glob": ('[[rule]]\naction = "exclude"\nname = "[a-"\n', 1, ["rule 0"]),
    "not-a-table": ("rule = 1\n", 1, ["rule"]),
}


@pytest.mark.parametrize("name", list(BAD_TOML))
def test_a_filter_file_that_is_wrong(name: str, tmp_path: Path) -> None:
    text, line, words = BAD_TOML[name]
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(md.FilterError) as caught:
        md.Filter.from_file(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert caught.value.lineno == line
    if line is not None:
        assert message.startswith(f"{path}:{line}:")
    for word in words:
        assert word in message
    assert "\n" not in message
    done = live.run_cli("plan", str(os.getpid()), "--filter", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_a_filter_file_that_is_not_there(tmp_path: Path) -> None:
    done = live.run_cli("plan", str(os.getpid()), "--filter", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "none.toml" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "pair", [(0x2000, 0x2000), (0x3000, 0x2000), (-1, 5), (0, (1 << 64) + 1), (1 << 64, 1 << 65)], ids=repr
)
def test_a_range_that_is_no_range(pair: tuple[int, int]) -> None:
    with pytest.raises(md.FilterError):
        md.Filter(md.exclude(range=pair)).compile()
    with pytest.raises(md.FilterError):
        md.Filter(memory={"add": [pair]}).compile()


def test_a_range_up_to_the_top_is_one(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, _, _ = target.region("plain")
    _, path = take(target, FULL, filter=md.Filter(md.exclude(range=(base, 1 << 64))), only=["udmp-parser"])
    with file_rules.DumpFile(path) as dump:
        assert not [item for item in dump.ranges() if item.address + item.size > base]


def test_overlapping_ranges_are_fine_and_the_last_wins(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    page = live.PAGE
    keep = md.Filter(
        md.exclude(range=(base, base + 8 * page)),
        md.include(range=(base + 2 * page, base + 6 * page)),
        md.exclude(range=(base + 3 * page, base + 4 * page)),
        md.exclude(range=(base + 3 * page, base + 4 * page)),
    )
    with pytest.warns(md.FilterWarning, match="rule 2"):
        keep.compile()
    _, path = take(target, FULL, filter=keep)
    with file_rules.DumpFile(path) as dump:
        held = [dump.holds(base + number * page, page) for number in range(size // page)]
    assert held == [False, False, True, False, True, True, False, False] + [True] * 8


def test_a_rule_that_can_never_match_warns(tmp_path: Path) -> None:
    with pytest.warns(md.FilterWarning, match=r"rule 0 \(first\)"):
        md.Filter(md.include(kind="stack", label="first"), md.exclude()).compile()
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\naction = "include"\nlabel = "first"\n[[rule]]\naction = "exclude"\n')
    done = live.run_cli("plan", str(os.getpid()), "--filter", path)
    assert done.returncode == 0, done.stderr
    assert "warning: rule 0 (first)" in done.stderr


def test_a_million_rules(start_pattern: Start, take: live.Taker) -> None:
    """Compiled once, asked with a cursor: the dump is right, and the table within its stated size."""
    target = start_pattern("--maps", 2000)
    maps, _, seed = target.region("maps")
    ranges = [(maps + 2 * number * live.PAGE, maps + (2 * number + 1) * live.PAGE) for number in range(1_000_000)]
    keep = md.Filter.from_ranges(ranges)
    assert len(keep) == 1_000_000
    assert keep.table_bytes <= 64 * keep.table_intervals
    _, path = take(target, FULL, filter=keep, only=["udmp-parser", "minidump"])
    with file_rules.DumpFile(path) as dump:
        starts = {item.address: item.offset for item in dump.memory64()}
        for number in range(2000):
            at = maps + number * live.PAGE
            if number % 2:
                offset = starts[at]
                assert dump.data[offset : offset + 8] == live.pattern(at, 8, seed)
            else:
                assert at not in starts


@pytest.mark.parametrize("glob", [b"*odd name \xff\t*", b"*odd name ?\t(deleted) x.bin", b"*\xff*", b"*[\xf0-\xff]*"])
def test_a_pattern_with_odd_bytes(glob: bytes, start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    base, size, _ = target.region("odd_name")
    _, path = take(target, FULL, filter=md.Filter(md.exclude(name=glob)))
    with file_rules.DumpFile(path) as dump:
        assert not dump.holds(base, size)
        other, size, _ = target.region("plain")
        assert dump.read(other, size) == target.content("plain")


@pytest.mark.parametrize("glob", ["[", "[]", "[z-a]", "[a-", "\\"])
def test_a_pattern_that_is_malformed_or_matches_literally(glob: str) -> None:
    """Never a crash: an error of ours, or a pattern that is taken at its word."""
    try:
        md.Filter(md.exclude(name=glob)).compile()
    except md.FilterError as error:
        assert error.index == 0 or "name" in str(error)


def test_a_pattern_that_would_backtrack_for_ever(start_pattern: Start, take: live.Taker) -> None:
    target = start_pattern()
    hostile = "*" + "a*" * 200 + "b"
    take(target, FULL, filter=md.Filter(md.exclude(name=hostile), md.exclude(module=hostile)), only=["udmp-parser"])


def raising(_: Any = None) -> bool:
    """A hook that raises."""
    raise LookupError("the hook's own words")


@pytest.mark.parametrize("where", ["on_cancel", "progress"])
def test_a_hook_that_raises(where: str, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 256)
    hook = (lambda: raising()) if where == "on_cancel" else raising
    with pytest.raises(LookupError, match="the hook's own words"):
        md.write_dump(target.pid, tmp_path / "d.dmp", FULL, **{where: hook})  # type: ignore[arg-type]
    assert not (tmp_path / "d.dmp").exists()
    target.assert_runs_on()


def test_a_write_hook_that_raises(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()

    class Io:
        def write(self, offset: int, data: memoryview) -> None:
            raise LookupError("the hook's own words")

        def finish(self) -> None:
            raise AssertionError("not reached")

    with md.Callback(io=Io()) as callback, pytest.raises(LookupError, match="the hook's own words"):
        md.write_dump(target.pid, None, callback=callback)
    target.assert_runs_on()


def test_io_callbacks_take_the_dump(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    image = bytearray()
    finished = []

    class Io:
        def write(self, offset: int, data: memoryview) -> None:
            image.extend(bytes(max(0, offset + len(data) - len(image))))
            image[offset : offset + len(data)] = data

        def finish(self) -> None:
            finished.append(True)

    with md.Callback(io=Io()) as callback:
        report = md.write_dump(target.pid, None, FULL, callback=callback)
    assert finished == [True]
    (tmp_path / "d.dmp").write_bytes(image)
    live.assert_accepted(tmp_path / "d.dmp", report)


def test_a_callback_serves_one_dump_at_a_time(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with md.Callback(md.Filter()) as callback:
        ours, theirs = os.pipe()
        import threading

        seen: list[BaseException] = []

        def run() -> None:
            try:
                md.write_dump(target.pid, theirs, FULL, callback=callback, deadline=30)
            except md.DumpError as error:
                seen.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        live.wait_until(lambda: "t" in live.task_states(target.pid).values(), "the first dump hangs in its pipe")
        with pytest.raises(md.CallbackError):
            md.write_dump(target.pid, tmp_path / "d.dmp", callback=callback)
        os.close(ours)
        thread.join(live.PATIENCE)
        os.close(theirs)
        assert isinstance(seen[0], md.SinkError)
        live.wait_until(lambda: "t" not in live.task_states(target.pid).values(), "it runs again")
        md.write_dump(target.pid, tmp_path / "d.dmp", callback=callback)
    with pytest.raises(md.CallbackError, match="closed"):
        md.write_dump(target.pid, tmp_path / "d.dmp", callback=callback)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_a_deadline_that_is_no_time(value: Any, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    with pytest.raises((ValueError, TypeError), match="deadline"):
        md.write_dump(target.pid, tmp_path / "d.dmp", deadline=value)


def test_what_this_engine_cannot_honour(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    report = md.write_dump(target.pid, tmp_path / "d.dmp", md.DumpType.WITH_UNLOADED_MODULES)
    assert any("unloaded" in message.lower() for message in report.messages)
    with pytest.raises((md.DumpError, ValueError), match=r"(?i)unloaded"):
        md.write_dump(target.pid, tmp_path / "e.dmp", md.DumpType.WITH_UNLOADED_MODULES, strict=True)
    assert not (tmp_path / "e.dmp").exists()


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dump"],
        ["dump", "x", "-o", "d.dmp"],
        ["dump", "1"],
        ["dump", "1", "-o", "d.dmp", "--type", "fulll"],
        ["dump", "1", "-o", "d.dmp", "--deadline", "-1"],
        ["dump", "1", "-o", "-", "--json"],
        ["frobnicate"],
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_wrong_usage_is_status_2(words: list[str], tmp_path: Path) -> None:
    done = live.run_cli(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["missing/d.dmp", "/proc/d.dmp", "."])
def test_an_unwritable_path(name: str, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    output = name if name.startswith("/") else tmp_path / name
    done = live.run_cli("dump", str(target.pid), "-o", output)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(output) in done.stderr


def test_a_full_disk_on_the_command_line(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 16)
    with live.small_filesystem(tmp_path / "small", "4m") as folder:
        done = live.run_cli("dump", str(target.pid), "-o", folder / "d.dmp", "--type", "full")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert os.strerror(errno.ENOSPC) in done.stderr
        assert not list(folder.iterdir())


def test_a_dump_to_stdout(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern()
    path = tmp_path / "d.dmp"
    with path.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", "-", "--no-spool", "--type", "full"],
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
            timeout=live.PATIENCE,
        )
    assert done.returncode == 0, done.stderr
    assert file_rules.broken_rules(path) == []


def test_stdout_that_closes(start_pattern: Start) -> None:
    target = start_pattern("--heap", 16)
    process = subprocess.Popen(
        [sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", "-", "--no-spool", "--type", "full"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(4096)
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(live.PATIENCE) == 1
    assert len(said.strip().splitlines()) == 1, said
    target.assert_runs_on()


def test_json_is_one_object(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--threads", 2)
    done = live.run_cli("dump", str(target.pid), "-o", tmp_path / "d.dmp", "--type", "full", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["pid"] == target.pid
    assert report["complete"] is True
    assert len(report["threads"]) == 3
    plan = live.run_cli("plan", str(target.pid), "--type", "full", "--json")
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["planned"] is True


def test_ctrl_c_is_status_130(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 16)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ours = os.open(fifo, os.O_RDWR)
    process = subprocess.Popen(
        [sys.executable, "-m", "minidump_cffi", "dump", str(target.pid), "-o", str(fifo), "--type", "full"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        live.wait_until(lambda: "t" in live.task_states(target.pid).values(), "the target is stopped")
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=live.PATIENCE)
        assert process.returncode == 130, said
        assert len(said.decode().strip().splitlines()) == 1
        target.assert_runs_on()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_show_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    path.write_bytes(b"not a dump at all" * 100)
    done = live.run_cli("show", path)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(path) in done.stderr
