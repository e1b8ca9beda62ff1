"""Messages of the library in the words of the command line: ``--max-stop`` for ``max_stop``."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

OPTIONS: Final[dict[str, str]] = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "busy_timeout", "comment", "coredump_filter", "deadline", "dontdump", "engine", "executable", "file_pages",
        "fsync", "jobs", "max_bytes", "max_input", "max_stop", "module_names", "names", "on_limit", "root",
        "stall_timeout", "stop", "stop_timeout", "text", "type", "unknown_streams", "untouched",
    )
} | {"annotations": "--annotation"}  # fmt: skip
"""What an option of the library is called."""

_NAMES: Final = "|".join(sorted(OPTIONS, key=len, reverse=True))
_GIVEN: Final = re.compile(rf"(?<![\w/.-])({_NAMES})=(\"?)([\w+.-]+)\2")
_SUBJECT: Final = re.compile(rf"^({_NAMES})(?=:| must| has| and )")
_MENTIONED: Final = re.compile(
    rf"(?<![\w/.-])({'|'.join(name for name in OPTIONS if '_' in name)})(?![\w=])"  # others are words of English, too
)


def in_options(message: str) -> str:
    """The message with options in place of Python's keywords."""
    message = message.removeprefix("exception: ")  # options of their own: --signal, --thread
    message = _GIVEN.sub(lambda found: f"{OPTIONS[found[1]]} {found[3]}", message)
    message = _SUBJECT.sub(lambda found: OPTIONS[found[1]], message)
    return _MENTIONED.sub(lambda found: OPTIONS[found[1]], message)
