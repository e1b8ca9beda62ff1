"""What every subcommand says the same way: exit statuses, one-line messages, JSON."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Any

from .text import printable

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


def say(message: str) -> None:
    """Write one line to stderr, with the name of the program before it."""
    sys.stderr.write(f"{PROGRAM}: {printable(' '.join(message.split()))}\n")
    sys.stderr.flush()


def put_json(value: Any) -> None:
    """Write one JSON object and a newline to stdout."""
    json.dump(value, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    sys.stdout.write("\n")
