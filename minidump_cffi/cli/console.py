"""What every subcommand says the same way: exit statuses, one-line messages, JSON."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice

from . import terminal
from .screen import wrapped
from .text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "minidump-cffi"


class Exit(IntEnum):
    """Exit statuses, also described in ``minidump-cffi --help``."""

    OK = 0
    ERROR = 1
    USAGE = 2
    GAPS = 3
    INTERRUPTED = 130


class UsageError(Exception):
    """Arguments that make no sense together; becomes one line and status 2."""


class _ClosedStream(io.TextIOBase):
    """Stands for a standard output that was closed when we were started: what is written to it is an error."""

    def write(self, text: str) -> int:
        """Refuse."""
        raise OSError(errno.EBADF, "the standard output is closed")


class _NoStream(io.TextIOBase):
    """Stands for a standard error that was closed when we were started: messages are lost."""

    def write(self, text: str) -> int:
        """Take it and do nothing."""
        return len(text)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Give the program standard streams where some are closed, as for a helper that the kernel starts.

    Their descriptors are occupied, so that nothing that is opened later gets their numbers and with them what is
    written for people; they cannot be written.
    """
    _occupy()
    with contextlib.ExitStack() as stack:
        if sys.stdout is None:
            stack.enter_context(contextlib.redirect_stdout(_ClosedStream()))
        if sys.stderr is None:
            stack.enter_context(contextlib.redirect_stderr(_NoStream()))
        yield


def _occupy() -> None:
    if sys.platform == "win32":
        return
    closed = []
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            closed.append(fd)
    if not closed:
        return
    ends = os.pipe()  # /dev does not exist everywhere
    try:
        for fd in closed:
            if fd != ends[0]:
                os.dup2(ends[0], fd)
            os.set_inheritable(fd, True)
    finally:
        for end in ends:
            if end not in closed:
                os.close(end)


def give_up(stream: Any, fd: int) -> None:
    """Throw away what a standard stream holds and cannot write, so that Python does not try once more at the end."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def say(message: str, style: str = "") -> None:
    """Write one line to stderr, with the name of the program before it; if it cannot be written, it is lost.

    On a terminal it is broken between words; a word that is longer, such as a path, stays whole to be copied.
    """
    line = f"{PROGRAM}: {printable(' '.join(message.split()))}"
    room = terminal.columns(sys.stderr) if terminal.is_terminal(sys.stderr) else None
    line = "\n  ".join(wrapped(line, room, whole=True))
    if style and terminal.coloured(sys.stderr):
        line = terminal.paint(PROGRAM, style) + line.removeprefix(PROGRAM)
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr, 2)


def put_json(value: Any) -> None:
    """Write one JSON object and a newline to stdout; its members may be iterators, written as lists piece by piece."""
    import json

    encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
    if not isinstance(value, dict):
        sys.stdout.write(encode(value) + "\n")
        return
    for number, (key, member) in enumerate(value.items()):
        sys.stdout.write(f"{',' if number else '{'}{encode(key)}:")
        if not isinstance(member, Iterator):
            sys.stdout.write(encode(member))
            continue
        before = "["
        while piece := list(islice(member, 100)):
            sys.stdout.write(before + encode(piece)[1:-1])
            before = ","
        sys.stdout.write("[]" if before == "[" else "]")
    sys.stdout.write("}\n" if value else "{}\n")
