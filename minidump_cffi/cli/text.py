"""Plain text for terminals: sizes, and names that come from a target and may hold anything."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


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
    """Text without what a terminal would obey: a mapping or a module can be named like an escape sequence.

    What is not printable for Unicode becomes an escape: control characters, those of C1, and those that turn the
    direction of text.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return text.translate(_ESCAPES)


def width(text: str) -> int:
    """How many columns of a terminal the text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(map(_COLUMNS.__getitem__, text))


class _Columns(dict[str, int]):
    """How many columns a character takes; looked up when it is first met."""

    def __missing__(self, letter: str) -> int:
        from unicodedata import category, east_asian_width

        taken = 0 if category(letter) in ("Mn", "Me") else 2 if east_asian_width(letter) in "WF" else 1
        if len(self) < 4096:
            self[letter] = taken
        return taken


_COLUMNS: Final = _Columns()


def head(text: str, room: int) -> str:
    """As much of its beginning as fits into so many columns."""
    if text.isascii():
        return text[:room]
    taken = 0
    for at, letter in enumerate(text):
        taken += _COLUMNS[letter]
        if taken > room:
            return text[:at]
    return text


def tail(text: str, room: int) -> str:
    """As much of its end as fits."""
    return text[len(text) - room :] if text.isascii() and room < len(text) else head(text[::-1], room)[::-1]


def elide(text: str, room: int, mark: str = "…") -> str:
    """The text in at most so many columns: of a path the middle is left out, its end says most."""
    if width(text) <= room:
        return text
    room -= width(mark)
    if room < 1:
        return head(text, room + width(mark))
    before = room // 3 if "/" in text or "\\" in text else room
    return head(text, before) + mark + tail(text, room - before)


def fill(text: str, room: int, *, right: bool = False) -> str:
    """The text with blanks up to so many columns."""
    blanks = " " * (room - width(text))
    return blanks + text if right else text + blanks
