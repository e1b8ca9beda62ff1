"""`open_dump`: what a minidump or a core holds."""

from __future__ import annotations

import contextlib
import threading

from .._inputs.opening import opened
from .._inputs.sources import is_core
from .._native.snapshot import Snapshot, core, dump
from ..errors import DumpError, FormatError, ReadError
from ..files import FILES, AnyFile
from ._items import MemoryRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import TypeVar

    from .._aliases import Readable
    from ..files import CoreFile, DumpFile
    from ._items import (
        ExceptionRecord,
        Fault,
        Handle,
        Module,
        Region,
        StreamEntry,
        System,
        Thread,
        UnloadedModule,
    )

    AnyInput = Readable | CoreFile | DumpFile | AnyFile
    Answer = TypeVar("Answer")
    Item = TypeVar("Item")

__all__ = ["OpenDump", "open_dump"]


class OpenDump:
    """A minidump or a core that is open; made by `open_dump`.

    Lists are made when they are first looked at, and stay: they can be used after `close`, if they were looked at
    before. It can be used by several threads: they wait for each other.

    Attributes
    ----------
    name : str
        Of the file.
    """

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        self.name = name
        self._snapshot: Snapshot | None = snapshot
        self._made: dict[str, tuple[object, ...]] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<OpenDump {self.name}{', closed' if self.closed else ''}>"

    def __enter__(self) -> OpenDump:
        self._ask(lambda snapshot: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what C holds. Can be called again."""
        with self._lock:
            snapshot, self._snapshot = self._snapshot, None
            if snapshot is not None:
                snapshot.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._snapshot is None

    # ------------------------------------------------------------------------------------------------------ of the file

    @property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return self._ask(lambda snapshot: snapshot.file_bytes)

    @property
    def version(self) -> int:
        """Version of the header, with the number of its writer in the high half."""
        return self._ask(lambda snapshot: snapshot.header[0])

    @property
    def timestamp(self) -> int:
        """When it was written, in seconds since 1970."""
        return self._ask(lambda snapshot: snapshot.header[1])

    @property
    def flags(self) -> int:
        """The type of the dump, bits of MINIDUMP_TYPE; many writers leave 0."""
        return self._ask(lambda snapshot: snapshot.header[2])

    @property
    def streams(self) -> tuple[StreamEntry, ...]:
        """The directory, entry by entry; unused ones too, and those that lead outside of the file."""
        return self._list("streams", lambda snapshot: snapshot.streams())

    def stream(self, kind: int | StreamEntry) -> bytes:
        r"""The bytes of a stream.

        Parameters
        ----------
        kind
            Its number, for the first one of that kind, or an entry of `streams`.

        Raises
        ------
        FormatError
            There is none, or it lies outside of the file.

        Examples
        --------
        >>> with open_dump("tests/data/own-a-breakpad.dmp") as dump:
        ...     dump.stream(0x47670006).split(b"\0")[0].rpartition(b"/")[2]
        b'target'
        """
        if isinstance(kind, int):
            entry = next((entry for entry in self.streams if entry.type == kind), None)
            if entry is None:
                raise FormatError(f"{self.name} has no stream of the type {kind:#x}")
        else:
            entry = kind
        return self._ask(lambda snapshot: snapshot.file(entry.offset, entry.size))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Damage that was found, at most 100 entries: what they are about is left out of the lists."""
        return self._list("faults", lambda snapshot: snapshot.faults())

    # ---------------------------------------------------------------------------------------------------- of the target

    @property
    def pid(self) -> int | None:
        """Process id; None if the dump does not say."""
        return self._ask(lambda snapshot: snapshot.pid)

    @property
    def system(self) -> System | None:
        """The machine and its system; None if the dump does not say."""
        return self._list("system", lambda snapshot: iter((snapshot.system(),)))[0]

    @property
    def threads(self) -> tuple[Thread, ...]:
        """In the order of the dump."""
        return self._list("threads", lambda snapshot: snapshot.threads())

    @property
    def modules(self) -> tuple[Module, ...]:
        """In the order of the dump: the program first."""
        return self._list("modules", lambda snapshot: snapshot.modules())

    @property
    def unloaded_modules(self) -> tuple[UnloadedModule, ...]:
        """In the order of the dump."""
        return self._list("unloaded_modules", lambda snapshot: snapshot.unloaded())

    @property
    def handles(self) -> tuple[Handle, ...]:
        """In the order of the dump."""
        return self._list("handles", lambda snapshot: snapshot.handles())

    @property
    def exceptions(self) -> tuple[ExceptionRecord, ...]:
        """Of most dumps at most one; LLDB writes one for each thread that was stopped for a reason."""
        return self._list("exceptions", lambda snapshot: snapshot.exceptions())

    @property
    def exception(self) -> ExceptionRecord | None:
        """The first one; None: the dump was not taken for one."""
        return self.exceptions[0] if self.exceptions else None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The address space: what the list of regions says, and all memory that is in the dump."""
        return self._list("regions", lambda snapshot: snapshot.regions())

    @property
    def memory(self) -> tuple[MemoryRange, ...]:
        """The memory that is in the dump, sorted, without overlaps; ranges may touch."""
        return self._list(
            "memory",
            lambda snapshot: (MemoryRange(address=address, size=size) for address, size in snapshot.memory()),
        )

    def read(self, address: int, size: int) -> bytes:
        """Memory of the target.

        Parameters
        ----------
        address
            The first one.
        size
            Bytes.

        Raises
        ------
        ReadError
            Not all of it is in the dump; its `address` is that of the first byte that is not.
        ValueError
            A number is negative, or the end is beyond 2**64.

        Examples
        --------
        >>> with open_dump("tests/data/own-a-breakpad.dmp") as dump:
        ...     thread = dump.threads[0]
        ...     len(dump.read(thread.stack_pointer, 16))
        16
        """
        if address < 0 or size < 0 or address + size > 1 << 64:
            raise ValueError(f"[{address:#x}, {address:#x} + {size:#x}) is no range of addresses")
        if size > self.file_bytes and not self._holds(address, size):  # before a buffer is made for it
            raise ReadError(f"{size:#x} bytes at {address:#x} are not in {self.name}", address=address)
        data, number = self._ask(lambda snapshot: snapshot.read(address, size))
        if len(data) < size:
            missing = address + len(data)
            raise ReadError(f"the memory at {missing:#x} is not in {self.name}", address=missing, errno=number)
        return data

    # ----------------------------------------------------------------------------------------------------------- pieces

    def _ask(self, question: Callable[[Snapshot], Answer]) -> Answer:
        """While nothing else is asked, and while it is open."""
        with self._lock:
            if self._snapshot is None:
                raise DumpError(f"{self.name} is closed: what is read of it has to be read before")
            return question(self._snapshot)

    def _list(self, name: str, make: Callable[[Snapshot], Iterator[Item]]) -> tuple[Item, ...]:
        if name not in self._made:
            self._made[name] = self._ask(lambda snapshot: tuple(make(snapshot)))
        return self._made[name]  # type: ignore[return-value]

    def _holds(self, address: int, size: int) -> bool:
        """Whether runs of the file cover all of it: a sparse core holds more than it has bytes."""
        for part in self.memory:
            if part.address <= address < part.end:
                size -= min(size, part.end - address)
                address = part.end
        return size == 0


def open_dump(file: AnyInput) -> OpenDump:
    """Open a minidump or an ELF core to look into it: any writer's, any platform's, damaged ones too.

    Parameters
    ----------
    file : str, bytes, os.PathLike, int, object with read(), CoreFile or DumpFile
        A path, a descriptor or a file object, which stay the caller's to close; compressed files as for `DumpFile`.

    Returns
    -------
    OpenDump
        To be closed; a context manager.

    Raises
    ------
    FormatError
        It is neither, or header or directory are invalid. Other damage of minidumps is in `OpenDump.faults`.
    InputError
        It cannot be opened, read or unpacked.

    Examples
    --------
    >>> with open_dump("tests/data/own-a-breakpad.dmp") as dump:
    ...     len(dump.threads), dump.modules[1].path, hex(dump.threads[0].registers["rip"])
    (3, '/usr/lib/x86_64-linux-gnu/libc.so.6', '0x7f64c06f5c82')
    """
    snapshot, name = _opened(file)
    return OpenDump(snapshot, name)


@contextlib.contextmanager
def opened_snapshot(file: AnyInput, *, list_max: int, range_max: int) -> Iterator[tuple[Snapshot, str]]:
    """What is below an `OpenDump`, and its name; with so many entries of each list and so many ranges of memory."""
    snapshot, name = _opened(file, list_max=list_max, range_max=range_max)
    try:
        yield snapshot, name
    finally:
        snapshot.close()


def _opened(file: AnyInput, *, list_max: int = 0, range_max: int = 0) -> tuple[Snapshot, str]:
    given = file if isinstance(file, FILES) else AnyFile(file)
    assert given.max_input is None or isinstance(given.max_input, int)
    with opened(given.file, limit=given.max_input) as found:
        try:
            if is_core(given, found):
                snapshot = core(
                    found.fd,
                    root=getattr(given, "root", "/"),
                    executable=getattr(given, "executable", None),
                    text_files=getattr(given, "text", "core") == "files",
                )
            else:
                snapshot = dump(found.fd, list_max=list_max, range_max=range_max)
        except FormatError as error:
            if found.name in str(error):
                raise
            raise FormatError(f"{found.name}: {error}", phase=error.phase) from None
        return snapshot, found.name
