"""Standard output as people see it: lines and tables that fit into the terminal, in colour where it has one.

All text for people goes through a `Screen`: nothing that a terminal would obey passes it but its own colours.
"""

from __future__ import annotations

import sys
from itertools import chain, islice

from . import terminal
from .text import elide, fill, head, printable, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Final, TextIO

_SAMPLE: Final = 1000
"""So many rows say how wide the columns are."""
_WIDEST: Final = 100
"""A longer cell makes its own row longer, and no other."""
_LEAST: Final = 30
"""Columns that a text which can be elided keeps, before others are dropped for it."""
_BETWEEN: Final = "  "


class Column:
    """One column of a table.

    Parameters
    ----------
    title
        Its head.
    cell
        Makes the text of a row.
    right
        Whether it is set to the right, as numbers are.
    elide
        Whether long text is elided where the terminal is narrow.
    drop
        Columns with the highest number are dropped first where the terminal is narrow; 0: never.
    style
        Makes the colour of a row, see `terminal.paint`.
    """

    __slots__ = ("cell", "drop", "elide", "right", "style", "title")

    def __init__(
        self,
        title: str,
        cell: Callable[[Any], str],
        *,
        right: bool = False,
        elide: bool = False,
        drop: int = 0,
        style: Callable[[Any], str] | None = None,
    ) -> None:
        self.title: str = title
        self.cell: Callable[[Any], str] = cell
        self.right: bool = right
        self.elide: bool = elide
        self.drop: int = drop
        self.style: Callable[[Any], str] | None = style


class Screen:
    """A stream for people, usually standard output."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self.columns: int | None = terminal.columns(self._out)
        self._coloured = terminal.coloured(self._out)
        self.blocks: bool = terminal.has_blocks(self._out)
        self._mark = "…" if self.blocks else "..."

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line; what is longer than the terminal is wide goes on below, indented."""
        text = printable(text)
        for number, part in enumerate(wrapped(text, self.columns)):
            self._put(part if not number else f"  {part}", style)

    def heading(self, text: str) -> None:
        """Write an empty line and one that says what follows."""
        self._out.write("\n")
        self.line(text, "bold")

    def named(self, name: str, text: str, style: str = "") -> None:
        """Write ``Name: text``; only the name is emphasized, or all of it has a colour."""
        name, text = printable(name), printable(text)
        for number, part in enumerate(wrapped(f"{name}: {text}", self.columns)):
            if number or style or not self._coloured:
                self._put(f"  {part}" if number else part, style)
            else:
                self._out.write(f"{terminal.paint(part[: len(name) + 1], 'bold')}{part[len(name) + 1 :]}\n")

    def _put(self, text: str, style: str) -> None:
        self._out.write((terminal.paint(text, style) if self._coloured else text) + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Any], last: Any = None) -> None:
        """Write rows in columns, and one more that is set off; the first rows say how wide the columns are.

        Where the terminal is narrower, columns are dropped as they say, and text is elided.
        """
        waiting = iter(rows)
        first = list(islice(waiting, _SAMPLE))
        ends = [] if last is None else [last]
        cells = [[printable(column.cell(row)) for column in columns] for row in [*first, *ends]]
        widths = [
            max(min(width(line[at]), _WIDEST) for line in [[column.title for column in columns], *cells])
            for at, column in enumerate(columns)
        ]
        shown = self._fit(columns, widths)
        self._row([(columns[at].title, at, "bold") for at in shown], columns, widths)
        later = ((row, [printable(column.cell(row)) for column in columns]) for row in waiting)
        for row, line in chain(zip(first, cells, strict=False), later):
            self._row([(line[at], at, self._style(columns[at], row)) for at in shown], columns, widths)
        if ends:
            self._row([(cells[-1][at], at, "bold") for at in shown], columns, widths)

    def _style(self, column: Column, row: Any) -> str:
        return column.style(row) if self._coloured and column.style is not None else ""

    def _fit(self, columns: Sequence[Column], widths: list[int]) -> list[int]:
        """Which columns there is room for; makes those narrower that can be."""
        shown = [at for at in range(len(columns)) if widths[at]]
        if self.columns is None:
            return shown
        while True:
            over = sum(widths[at] for at in shown) + len(_BETWEEN) * (len(shown) - 1) - self.columns
            spare = sum(max(0, widths[at] - _LEAST) for at in shown if columns[at].elide)
            least = max(shown, key=lambda at: columns[at].drop, default=0)
            if over <= spare or not shown or not columns[least].drop:
                break
            shown.remove(least)
        for at in sorted((at for at in shown if columns[at].elide), key=lambda at: -widths[at]):
            if over > 0:
                taken = min(over, max(0, widths[at] - (_LEAST if over <= spare else 1)))
                widths[at] -= taken
                over -= taken
        return shown

    def _row(self, cells: list[tuple[str, int, str]], columns: Sequence[Column], widths: list[int]) -> None:
        parts, taken = [], 0
        for text, at, style in cells:
            if self.columns is not None:
                room = widths[at] if columns[at].elide else self.columns - taken
                text = elide(text, max(0, room), self._mark)
            filled = fill(text, widths[at], right=columns[at].right)
            if at == cells[-1][1]:
                filled = filled.rstrip()
            taken += width(filled) + len(_BETWEEN)
            if style and self._coloured and text:
                filled = filled.replace(text, terminal.paint(text, style), 1)
            parts.append(filled)
        line = _BETWEEN.join(parts)
        self._out.write((line if line.endswith("m") else line.rstrip()) + "\n")

    def bar(self, parts: Sequence[int], whole: int, room: int) -> str:
        """A bar of parts, the first the darkest; what is not nothing is seen."""
        letters = "█▒░" if self.blocks else "#=."
        bar, done, taken = "", 0, 0
        for at, part in enumerate(parts):
            done += part
            end = round(done * room / whole) if whole else 0
            if part:
                end = max(end, taken + 1)
            end = min(end, room - sum(1 for later in parts[at + 1 :] if later))
            bar += letters[at] * (end - taken)
            taken = max(taken, end)
        return bar

    def room_for_bars(self) -> int:
        """How long a bar may be; 0 where the terminal is narrow."""
        return 20 if self.columns is None or self.columns >= 110 else 10 if self.columns >= 72 else 0


def wrapped(text: str, room: int | None, *, whole: bool = False) -> list[str]:
    """Lines of words; the first may be two columns longer than the others, which are to be indented.

    Parameters
    ----------
    text
        Printable text.
    room
        The columns of a line; None: as many as it takes.
    whole
        Whether words that are longer than a line stay whole.
    """
    if room is None or width(text) <= room:
        return [text]
    lines: list[str] = []
    rest = text.lstrip(" ")
    line = text[: len(text) - len(rest)]
    for word in rest.split(" "):
        limit = room if not lines else room - 2
        if line.strip() and width(line) + 1 + width(word) > limit and not (whole and width(word) > room - 2):
            lines.append(line)
            line, limit = "", room - 2
        line = f"{line} {word}" if line.strip() else line + word
        while not whole and width(line) > limit:  # a word that is longer than a line
            part = head(line, limit)
            lines.append(part)
            line, limit = line[len(part) :], room - 2
    return [*lines, line] if line else lines
