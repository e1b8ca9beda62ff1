"""Types for callers who annotate wrappers of `write_dump`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from .files import AnyFile, CoreFile, DumpFile
from .targets import Handle, PidFd

if TYPE_CHECKING:
    from .protocol._views import Input, Output

__all__ = [
    "AnswerFunction",
    "AnyCallback",
    "File",
    "HasPid",
    "HasRead",
    "Hook",
    "IoHandler",
    "Process",
    "Readable",
    "Writable",
]


@runtime_checkable
class HasPid(Protocol):
    """Anything that knows its process: Popen, psutil.Process, multiprocessing.Process, asyncio's Process."""

    @property
    def pid(self) -> int | None:
        """The process id; None if it was not started."""


@runtime_checkable
class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: Any, /) -> Any:
        """Take the bytes of `data`."""


@runtime_checkable
class HasRead(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> Any:
        """At most so many bytes; none at the end."""


Readable: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | HasRead
"""Where a file can be read from that stands for a process."""

Process: TypeAlias = int | PidFd | Handle | HasPid | CoreFile | DumpFile | AnyFile
"""What can be dumped. A bare int is always a pid."""

File: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | Writable
"""Where a dump can go."""

Hook: TypeAlias = Callable[[Any, Any], bool]
"""Answers one callback type in Python: gets MINIDUMP_CALLBACK_INPUT * and MINIDUMP_CALLBACK_OUTPUT * as cffi objects,
returns TRUE or FALSE."""


@runtime_checkable
class IoHandler(Protocol):
    """Takes the bytes of a dump instead of a file (IoStart, IoWriteAll and IoFinish).

    Examples
    --------
    >>> import io
    >>> from minidump_cffi import Callback
    >>> class Memory:
    ...     def __init__(self) -> None:
    ...         self.file = io.BytesIO()
    ...     def write(self, offset: int, data: memoryview) -> None:
    ...         self.file.seek(offset)
    ...         self.file.write(data)
    ...     def finish(self) -> None:
    ...         self.file.seek(0)
    >>> with Callback(io=Memory()) as callback:
    ...     len(callback.hook_types)
    3
    """

    def write(self, offset: int, data: memoryview, /) -> None:
        """Store all of `data` at this offset, in bytes from the start of the dump.

        The memory of `data` is valid during the call. The engine of this package writes forwards; others may return
        to earlier offsets. An exception ends the dump.
        """

    def finish(self) -> None:
        """Make the dump complete: everything has been written."""


AnswerFunction: TypeAlias = "Callable[[Input, Output], bool]"
"""Answers a callback: returns TRUE or FALSE, and writes the members of the type in the `Output`."""

AnyCallback: TypeAlias = object
"""What `write_dump` takes: `Callback`, `Plugin`, `PythonCallback`, `Routine`, a pair (routine, param) of addresses, a
ctypes function, a cffi function pointer."""
