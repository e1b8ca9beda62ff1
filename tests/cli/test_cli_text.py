"""Sizes, durations, tables and the progress line."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidump_cffi.cli import COMMANDS, main, subcommand, text, wording
from minidump_cffi.cli.progress import ProgressLine
from minidump_cffi.cli.screen import Column, Screen
from minidump_cffi.report import Phase


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        ((1 << 64) - 1, "16.0 EiB"),
    ],
)
def test_size(number: int, words: str) -> None:
    """Powers of 1024; never four digits before the point."""
    assert text.size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.00035, "350 us"), (0.0125, "12.5 ms"), (3.21, "3.2 s"), (245, "4:05"), (7384, "2:03:04")]
)
def test_span(seconds: float, words: str) -> None:
    """Units as people use them."""
    assert text.span(seconds) == words


@given(st.text() | st.binary())
def test_printable_holds_nothing_a_terminal_obeys(value: str | bytes) -> None:
    """Whatever a mapping is called."""
    assert text.printable(value).isprintable()


COLUMNS = (
    Column("n", lambda row: row[0], right=True),
    Column("more", lambda row: "x" * 8, drop=1),
    Column("name", lambda row: row[1], elide=True, style=lambda row: "red"),
)


def screen(
    monkeypatch: pytest.MonkeyPatch, columns: int | None = None, *, force: str = "", no: str = ""
) -> tuple[Screen, io.StringIO]:
    """A screen, a terminal if it has so many columns, and what is written to it."""
    monkeypatch.setenv("TERM", "dumb")
    for name, value in (("COLUMNS", str(columns or "")), ("FORCE_COLOR", force), ("NO_COLOR", no)):
        monkeypatch.setenv(name, value)
    out = _Terminal() if columns else io.StringIO()
    return Screen(out), out


def test_table_sets_numbers_to_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are as wide as their widest cell; line breaks in a cell do not break the table."""
    made, out = screen(monkeypatch)
    made.table(COLUMNS[::2], [("1", "a\nb"), ("1000", "")], ("10", "all"))
    assert out.getvalue() == "   n  name\n   1  a\\nb\n1000\n  10  all\n"


def test_table_drops_and_elides_where_it_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that say so go first, then the middle of a path; numbers are never cut."""
    made, out = screen(monkeypatch, 40)
    made.table(COLUMNS, [("123,456", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30"), ("1", "short")])
    head, long, short = out.getvalue().splitlines()
    assert head.split() == ["n", "name"] and short == "      1  short"
    assert len(long) == 40 and long.startswith("123,456  /usr/lib/...") and long.endswith("libstdc++.so.6.0.30")


def test_wide_characters_keep_columns_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made, out = screen(monkeypatch, 60)
    made.table(COLUMNS[::-1], [("1", "日本語"), ("1", "e\u0301"), ("22", "abcdef")])
    lines = out.getvalue().splitlines()
    assert {text.width(line.partition("x" * 8)[0]) for line in lines[1:]} == {8}
    assert all(text.width(line) == text.width(lines[1]) for line in lines)


@given(st.text(), st.integers(0, 50))
def test_elided_text_fits(value: str, room: int) -> None:
    """Whatever it is, and it stays as it is if it fits anyway."""
    value = text.printable(value)
    elided = text.elide(value, room)
    assert text.width(elided) <= room
    assert elided == value or text.width(value) > room


@given(st.text(), st.integers(20, 60))
def test_lines_fit_and_lose_nothing(value: str, columns: int) -> None:
    """Long ones go on below; nothing but the blanks between words is lost."""
    with pytest.MonkeyPatch.context() as patch:
        made, out = screen(patch, columns)
        made.line(value)
    assert all(text.width(line) <= columns for line in out.getvalue().split("\n"))
    assert "".join(out.getvalue().split()) == "".join(text.printable(value).split())


@pytest.mark.parametrize(
    ("force", "no", "coloured"), [("", "", False), ("1", "", True), ("0", "", False), ("1", "1", False)]
)
def test_colours_are_asked_for(monkeypatch: pytest.MonkeyPatch, force: str, no: str, coloured: bool) -> None:
    """No terminal has none unless FORCE_COLOR says so; NO_COLOR is stronger. Columns stay in line."""
    made, out = screen(monkeypatch, force=force, no=no)
    made.table(COLUMNS, [("1", "a"), ("22", "bcd")])
    made.named("Name", "text")
    made.heading("x")
    assert ("\x1b[31ma\x1b[0m" in out.getvalue()) == coloured
    plain = re.sub("\x1b\\[[0-9]*m", "", out.getvalue())
    assert plain == " n  more      name\n 1  xxxxxxxx  a\n22  xxxxxxxx  bcd\nName: text\n\nx\n"


@given(st.lists(st.integers(0, 1 << 40), min_size=3, max_size=3), st.integers(1, 40))
def test_bars_are_to_scale(parts: list[int], room: int) -> None:
    """The whole is the length; what is not nothing is seen if there is room."""
    bar = Screen(io.StringIO()).bar(parts, sum(parts), room)
    assert len(bar) == (room if any(parts) else 0)
    if room >= 3:
        assert all((letter in bar) == bool(part) for letter, part in zip("#=.", parts, strict=True) if part)


@dataclass
class _State:
    """As minidump_cffi.Progress, as far as it is shown."""

    bytes_done: int
    bytes_total: int
    stopped: bool = False
    phase: Phase = Phase.WRITE


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_bytes_rate_and_time_left() -> None:
    """The rate is that since the first bytes."""
    line = ProgressLine(_Terminal())
    assert line.describe(_State(0, 0), 0.0) == "looking at the process"
    assert line.describe(_State(0, 1 << 30), 1.0) == "0 B of 1.0 GiB"
    assert line.describe(_State(1 << 28, 1 << 30, True), 3.0) == (
        "256.0 MiB of 1.0 GiB, 128.0 MiB/s, 6.0 s left, target stopped"
    )


def test_options_are_called_as_on_the_command_line() -> None:
    """Names of the library's keywords, as it writes them; words of English and of the kernel stay."""
    known = {name for command in COMMANDS for action in subcommand(command)._actions for name in action.option_strings}
    assert set(wording.OPTIONS.values()) <= known
    for message, words in (
        ("max_stop must be seconds above 0, not 1e10", "--max-stop must be seconds above 0, not 1e10"),
        ('unknown_streams="keep" copies them', "--unknown-streams keep copies them"),
        ("give engine=native, or nothing", "give --engine native, or nothing"),
        ("wait longer with stop_timeout", "wait longer with --stop-timeout"),
        ("stop has no effect: dbghelp", "--stop has no effect: dbghelp"),
        ("/proc/5/coredump_filter: names of a type", "/proc/5/coredump_filter: names of a type"),
        ("the text of it, max_stop_ns", "the text of it, max_stop_ns"),
    ):
        assert wording.in_options(message) == words


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 50), st.booleans(), st.integers(20, 200))
def test_progress_fits_any_terminal(done: int, whole: int, stopped: bool, columns: int) -> None:
    """Never a second line; the time left is the last thing that goes."""
    terminal = _Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        with ProgressLine(terminal) as line:
            line(_State(0, whole))
            line(_State(done, whole, stopped))
        described = line.describe(_State(min(done, whole) + 1, whole + 1, stopped), line._first[0] + 5.0, columns - 1)
    assert all(text.width(part) < columns for part in terminal.getvalue().split("\r"))
    if columns >= 45:
        assert "left" in described


def test_progress_of_an_input_that_is_copied() -> None:
    """Bytes that were read, and the rate of that; what follows has a rate of its own."""
    line = ProgressLine(_Terminal())
    assert line.describe(_State(1 << 20, 0, phase=Phase.OPEN), 0.0) == "1.0 MiB read"
    assert line.describe(_State(0, 4 << 20, phase=Phase.OPEN), 1.0) == "0 B of 4.0 MiB"
    assert line.describe(_State(2 << 20, 4 << 20, phase=Phase.OPEN), 2.0) == (
        "2.0 MiB of 4.0 MiB, 2.0 MiB/s, 1.0 s left"
    )
    assert line.describe(_State(0, 8 << 20), 3.0) == "0 B of 8.0 MiB"
    assert line.describe(_State(4 << 20, 8 << 20), 4.0) == "4.0 MiB of 8.0 MiB, 4.0 MiB/s, 1.0 s left"


def test_progress_wipes_itself() -> None:
    """A shorter line leaves nothing of a longer one, and nothing stays at the end."""
    terminal = _Terminal()
    with ProgressLine(terminal) as line:
        line(_State(1 << 20, 1 << 30))
        line(_State(0, 0))
    shown = ""
    for part in terminal.getvalue().split("\r"):
        shown = part + shown[len(part) :]
    assert shown.strip() == ""


def test_progress_is_silent_without_a_terminal() -> None:
    """A log gets no progress."""
    out = io.StringIO()
    with ProgressLine(out) as line:
        line(_State(1, 2))
    assert out.getvalue() == ""


def test_names_of_files_are_not_taken_for_options(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["show", str(tmp_path / "none" / "max_bytes")]) == 1
    assert main(["dump", "max_stop", "-o", str(tmp_path / "x.dmp")]) == 2
    said = capfd.readouterr().err
    assert "none/max_bytes" in said.replace("\\", "/") and "max_stop" in said and "--max" not in said
