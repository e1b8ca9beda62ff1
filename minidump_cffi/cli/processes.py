"""Processes by name: ``dump redis-server``. On Linux; on Windows a process has a PID."""

from __future__ import annotations

import os
import sys

from . import terminal
from .console import PROGRAM, UsageError, say
from .text import head, printable

_SHOWN = 10
"""So many processes of one name are listed."""


def named(name: str) -> list[int]:
    """The processes of that name, but this one: that of /proc/PID/comm, or of the file they were started as.

    The kernel cuts comm after 15 bytes. Threads of the kernel have no memory, and are passed over.
    """
    if sys.platform == "win32":
        return []
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if not entry.isdecimal() or int(entry) == os.getpid():
            continue
        command = _read(f"/proc/{entry}/cmdline")
        started_as = os.fsdecode(command.split(b"\0")[0]).rpartition("/")[2]
        comm = os.fsdecode(_read(f"/proc/{entry}/comm").removesuffix(b"\n"))
        if command and name in (comm, started_as):
            found.append(int(entry))
    return sorted(found)


def process(word: str) -> int:
    """The process that a word of the command line names.

    Raises
    ------
    UsageError
        None, or several; those were listed.
    """
    if word.isdecimal() and 0 < int(word) < 1 << 31:
        return int(word)
    if word.isdecimal() or word.startswith("-"):
        raise UsageError(f"{word!r} is not a process id; give a positive number, or the name of a process")
    found = named(word)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no process is named {word!r}: give a process id, or the name that ps shows")
    room = (terminal.columns(sys.stderr) or 200) - len(f"{PROGRAM}: ")
    for pid in found[:_SHOWN]:
        words = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ")
        say(head(printable(f"{pid}: {os.fsdecode(words).strip()}"), room))
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    raise UsageError(f"{len(found)} processes are named {word!r}{more}: give the process id of one")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it has ended
        return b""
