"""Plain text for terminals: sizes, tables, and names that come from a target and may hold anything."""

from __future__ import annotations

from itertools import chain, islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, TextIO


class _Escapes(dict[int, str]):
    """What `str.translate` puts for a character; made when it is first met."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        if not letter.isprintable():
            letter = letter.encode("unicode_escape", "backslashreplace").decode()
        if len(self) < 4096:
            self[code] = letter
        return letter


_ESCAPES: Final = _Escapes()
_SAMPLE: Final = 1000  # rows
_WIDEST: Final = 100  # characters
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(number: int) -> str:
    """Bytes as people read them: ``17 B``, ``64.0 KiB``."""
    if number < 1024:
        return f"{number} B"
    value = float(number)
    for unit in _UNITS:
        value /= 1024
        if value < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def span(seconds: float) -> str:
    """A duration as people read it: ``350 us``, ``12.5 ms``, ``3.2 s``, ``4:05``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, word: str, many: str | None = None) -> str:
    """``1 region``, ``20,000 regions``."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def printable(text: str | bytes) -> str:
    """Text without what a terminal would obey: a mapping or a module can be named like an escape sequence."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return text.translate(_ESCAPES)


def table(out: TextIO, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows in columns. A head that begins with ``>`` is a column of numbers, set to the right.

    The first rows say how wide the columns are, up to a limit: a long cell makes its own row longer and no other.
    """
    right = [name.startswith(">") for name in head]
    waiting = iter(rows)
    names = [name.removeprefix(">") for name in head]
    first = [names, *(tuple(map(printable, row)) for row in islice(waiting, _SAMPLE))]
    widths = [max(min(len(line[column]), _WIDEST) for line in first) for column in range(len(head))]
    layout = "  ".join(f"%{'' if number else '-'}{width}s" for width, number in zip(widths, right, strict=True))
    for row in chain(first, waiting):
        line = layout % tuple(row)
        if not line.isprintable():
            line = layout % tuple(map(printable, row))
        out.write(line.rstrip() + "\n")
