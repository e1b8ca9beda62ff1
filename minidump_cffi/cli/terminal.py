"""What a stream is connected to: how wide a terminal is, whether it shows colours, which characters it has."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TextIO

NARROWEST: Final = 20
"""Columns of a terminal that says it has fewer, as some do that say 0."""
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def is_terminal(stream: TextIO) -> bool:
    """Whether people look at it."""
    try:
        return stream.isatty()
    except (OSError, ValueError):  # it is closed
        return False


def columns(stream: TextIO) -> int | None:
    """How many columns the stream shows, of a terminal: those of COLUMNS, or its own. Else None: any number."""
    if not is_terminal(stream):
        return None
    word = os.environ.get("COLUMNS", "")
    if word.isdecimal() and 0 < int(word) < 1 << 16:
        return max(NARROWEST, int(word))
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no descriptor
        found = 0
    return max(NARROWEST, found) if found else 80


def coloured(stream: TextIO) -> bool:
    """Whether to write colours: never with NO_COLOR, else if FORCE_COLOR says so or a terminal can show them."""
    if os.environ.get("NO_COLOR"):
        return False
    if force := os.environ.get("FORCE_COLOR"):
        return force not in ("0", "false")
    if not is_terminal(stream) or os.environ.get("TERM") == "dumb":
        return False
    # The console of Windows has to be asked to obey escape sequences; these say that theirs does.
    return sys.platform != "win32" or any(name in os.environ for name in ("WT_SESSION", "TERM", "ANSICON"))


def paint(text: str, style: str) -> str:
    """Text in a colour, or as it is if style is empty."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and text else text


def has_blocks(stream: TextIO) -> bool:
    """Whether its encoding has the characters of bars and the ellipsis."""
    try:
        "█▒░…".encode(stream.encoding or "ascii")
    except (LookupError, UnicodeError):
        return False
    return True
