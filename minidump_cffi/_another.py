"""Another Python that runs this very package, and how it is talked to: pickles with a header, on pipes or sockets."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from pathlib import Path

from .enums import Phase
from .errors import DumpError, TargetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any

__all__ = ["HEADER", "command", "exactly", "framed", "last_line", "message", "portable", "receive", "send"]

HEADER = struct.Struct("=cQ")
"""Kind and size of a message."""

# This very package, wherever it is. The folder around it comes last: it may hold anything, but cffi may be there only.
_PROGRAM = """
import importlib.util, sys
package = sys.argv[1]
sys.path.append(sys.argv[2])
spec = importlib.util.spec_from_file_location(
    "minidump_cffi", package + "/__init__.py", submodule_search_locations=[package])
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
importlib.import_module("minidump_cffi." + sys.argv[3]).main()
"""


def command(module: str, what: str, python: str | None = None) -> list[str]:
    """The command line of a fresh Python that calls `main` of this module of the package.

    Raises
    ------
    TargetError
        Where Python is, is not known; `what` is what it is needed for.
    """
    python = python or sys.executable
    if not python:
        raise TargetError(f"{what} by another Python, and sys.executable does not say where that is")
    package = Path(__file__).resolve().parent
    return [python, "-I", "-c", _PROGRAM, str(package), str(package.parent), module]


def framed(kind: bytes, data: bytes) -> bytes:
    """One message of bytes."""
    return HEADER.pack(kind, len(data)) + data


def message(kind: bytes, body: object) -> bytes:
    """One message of a pickle."""
    return framed(kind, pickle.dumps(body))


def send(fd: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(fd, data) :]


def exactly(fd: int, size: int) -> bytes:
    """So many bytes.

    Raises
    ------
    EOFError
        There are fewer.
    """
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise EOFError("the message ended early")
        data += more
    return data


def portable(error: BaseException) -> BaseException:
    """The error, if it survives the way to another process; else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return DumpError(f"{type(error).__name__}: {error}", phase=Phase.NONE)
    return error


def receive(fd: int) -> tuple[bytes, Any]:
    """The next message, from a process that is trusted with our rights.

    Raises
    ------
    EOFError
        None will come.
    """
    kind, size = HEADER.unpack(exactly(fd, HEADER.size))
    return kind, pickle.loads(exactly(fd, size))


def last_line(errors: io.FileIO | None) -> str:
    """What it said last before it ended, to be appended to a message."""
    if errors is None:
        return ""
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    return f": {said[-1]}" if said else ""
