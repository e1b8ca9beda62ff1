"""Sizes, durations, tables and the progress line."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidump_cffi.cli import text
from minidump_cffi.cli.progress import ProgressLine
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


def test_table_sets_numbers_to_the_right() -> None:
    """Columns are as wide as their widest cell; line breaks in a cell do not break the table."""
    out = io.StringIO()
    text.table(out, (">n", "name"), [("1", "a\nb"), ("1000", "")])
    assert out.getvalue() == "   n  name\n   1  a\\nb\n1000\n"


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
