"""The entries of an open dump."""

from __future__ import annotations

from .._record import Record
from ..enums import Kind, MemoryProtect, MemoryState, MemoryType
from ._registers import registers_of

__all__ = [
    "ExceptionRecord",
    "Fault",
    "Handle",
    "MemoryRange",
    "Module",
    "Region",
    "StreamEntry",
    "System",
    "Thread",
    "UnloadedModule",
]


def _briefly(record: Thread | ExceptionRecord) -> str:
    """`repr` with the size of the context in place of its bytes."""
    words = (
        f"{name}=" + (f"<{len(record.context)} bytes>" if name == "context" else record._text(name))
        for name in record._shown
    )
    return f"{type(record).__qualname__}({', '.join(words)})"


class MemoryRange(Record):
    """Memory of the target, one piece.

    Attributes
    ----------
    address, size : int
        First address and bytes.

    Examples
    --------
    >>> hex(MemoryRange(address=0x1000, size=0x20).end)
    '0x1020'
    """

    _addresses = frozenset({"address"})

    address: int
    size: int

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + self.size


class StreamEntry(Record):
    """An entry of a minidump's directory, as it is in the file.

    Attributes
    ----------
    type : int
        Number of the kind of stream: 3 is the list of threads; 0 is an unused entry.
    size : int
        Bytes.
    offset : int
        In the file.

    Examples
    --------
    >>> StreamEntry(type=7, size=56, offset=32).type
    7
    """

    type: int
    size: int
    offset: int


class System(Record):
    """The machine and its system.

    Attributes
    ----------
    architecture : int
        PROCESSOR_ARCHITECTURE: x86 is 0, ARM 5, AMD64 9, ARM64 12, ARM64 of Breakpad 0x8003.
    processors : int
        How many; 0 if that is not known.
    platform : int
        PlatformId: Windows is 2, macOS 0x8101, iOS 0x8102, Linux 0x8201, Android 0x8203.
    major, minor, build : int
        Version of the system.
    text : str
        CSDVersion: service pack, or what ``uname`` says.

    Examples
    --------
    >>> System(architecture=9, processors=8, platform=0x8201, major=6, minor=18, build=44, text="").version
    '6.18.44'
    """

    architecture: int
    processors: int
    platform: int
    major: int
    minor: int
    build: int
    text: str

    @property
    def version(self) -> str:
        """The three numbers of the version."""
        return f"{self.major}.{self.minor}.{self.build}"


class Thread(Record):
    """A thread.

    Attributes
    ----------
    id : int
        Its number.
    name : str
        Empty if the dump does not say.
    instruction_pointer, stack_pointer : int or None
        None if its registers are not in the dump, or of a processor that is not known.
    stack : MemoryRange or None
        Its stack as the dump says; without that, what the dump holds round the stack pointer; of a core the mapping.
    suspend_count, priority : int
        As in MINIDUMP_THREAD.
    teb : int
        Address of its TEB; 0 if it has none.
    context : bytes
        Its registers as they are in the file; empty if they are not in it.
    architecture : int
        That of the system: what `context` is the layout of.

    Examples
    --------
    >>> thread = Thread(
    ...     id=7, name="main", instruction_pointer=0x1000, stack_pointer=None, stack=None, suspend_count=0, priority=0,
    ...     teb=0, context=bytes(716), architecture=0,
    ... )
    >>> thread.registers["eip"]
    0
    """

    _addresses = frozenset({"instruction_pointer", "stack_pointer", "teb"})

    id: int
    name: str
    instruction_pointer: int | None
    stack_pointer: int | None
    stack: MemoryRange | None
    suspend_count: int
    priority: int
    teb: int
    context: bytes
    architecture: int

    @property
    def registers(self) -> dict[str, int]:
        """The integer registers by name; empty if they are not in the dump, or of a processor that is not known."""
        return registers_of(self.architecture, self.context)

    def __repr__(self) -> str:
        return _briefly(self)


class ExceptionRecord(Record):
    """An exception, or the signal, that the dump was taken for.

    Attributes
    ----------
    thread : int
        Number of the thread it happened in.
    code : int
        Code of Windows, number of the signal, exception of macOS; 0xFFFFFFFF: there was none.
    flags : int
        Flags of Windows; si_code, unsigned.
    address : int
        The instruction on Windows, si_addr on Linux.
    parameters : tuple of int
        At most 15.
    instruction_pointer, stack_pointer, context, architecture
        As of a `Thread`: the registers when it happened.

    Examples
    --------
    >>> record = ExceptionRecord(
    ...     thread=7, code=11, flags=1, address=0x10, parameters=(), instruction_pointer=None, stack_pointer=None,
    ...     context=b"", architecture=9,
    ... )
    >>> record.registers
    {}
    """

    _addresses = frozenset({"address", "instruction_pointer", "stack_pointer"})

    thread: int
    code: int
    flags: int
    address: int
    parameters: tuple[int, ...]
    instruction_pointer: int | None
    stack_pointer: int | None
    context: bytes
    architecture: int

    @property
    def registers(self) -> dict[str, int]:
        """The integer registers by name."""
        return registers_of(self.architecture, self.context)

    def __repr__(self) -> str:
        return _briefly(self)


class Module(Record):
    r"""A program or library in memory.

    Attributes
    ----------
    base, size : int
        Address and bytes.
    path : str
        Odd bytes and lone surrogates as surrogates, as file names are in Python.
    checksum, timestamp : int
        Of a PE image.
    build_id : bytes
        Of an ELF file; empty if the dump does not say.
    codeview : bytes
        The CodeView record of another one; empty if the dump has none.

    Examples
    --------
    >>> module = Module(
    ...     base=0x1000, size=0x2000, path="/bin/app", checksum=0, timestamp=0, build_id=b"\1\2", codeview=b""
    ... )
    >>> hex(module.end), module.identity
    ('0x3000', '0102')
    """

    _addresses = frozenset({"base"})

    base: int
    size: int
    path: str
    checksum: int
    timestamp: int
    build_id: bytes
    codeview: bytes

    @property
    def end(self) -> int:
        """First address after it."""
        return self.base + self.size

    @property
    def identity(self) -> str:
        """Build id, or GUID and age of the PDB, in hexadecimal, as symbol servers have it; empty if not known."""
        if self.build_id:
            return self.build_id.hex()
        data = self.codeview
        if data[:4] != b"RSDS" or len(data) < 24:
            return data[4:64].hex() if data[:4] == b"LEpB" else ""
        first, second, third, age = (
            int.from_bytes(data[start:end], "little") for start, end in ((4, 8), (8, 10), (10, 12), (20, 24))
        )
        return f"{first:08x}{second:04x}{third:04x}{data[12:20].hex()}{age:x}"


class UnloadedModule(Record):
    """A module that was unloaded before the dump.

    Examples
    --------
    >>> UnloadedModule(base=0x1000, size=0x2000, path="x.dll", checksum=0, timestamp=0).path
    'x.dll'
    """

    _addresses = frozenset({"base"})

    base: int
    size: int
    path: str
    checksum: int
    timestamp: int


class Handle(Record):
    """An open handle of a Windows process, or a descriptor of a Linux process.

    Attributes
    ----------
    value : int
        The handle.
    type, name : str
        Of the object; empty if the dump does not say.
    attributes, access : int
        On Linux st_mode and the flags of open(2).
    handles, pointers : int
        References to the object; on Linux the low and the high half of the offset.

    Examples
    --------
    >>> Handle(value=4, type="File", name="", attributes=0, access=0, handles=1, pointers=1).type
    'File'
    """

    value: int
    type: str
    name: str
    attributes: int
    access: int
    handles: int
    pointers: int


class Region(Record):
    """A part of the address space.

    Regions are sorted and do not overlap. What the dump does not say of memory that it holds is guessed: a module's is
    an image that can be executed, other memory is private and can be written.

    Attributes
    ----------
    base, size : int
        Address and bytes, whole pages.
    state, protect, type, kinds : MemoryState; MemoryProtect; MemoryType; Kind
        What it is.
    name : str
        Of the mapping, or the path of the module; empty if it has none.

    Examples
    --------
    >>> heap = Region(
    ...     base=0x1000, size=0x2000, state=MemoryState.COMMIT, protect=MemoryProtect.READWRITE,
    ...     type=MemoryType.PRIVATE, kinds=Kind.HEAP, name="[heap]",
    ... )
    >>> hex(heap.end)
    '0x3000'
    """

    _addresses = frozenset({"base"})

    base: int
    size: int
    state: MemoryState
    protect: MemoryProtect
    type: MemoryType
    kinds: Kind
    name: str

    @property
    def end(self) -> int:
        """First address after it."""
        return self.base + self.size


class Fault(Record):
    """Damage in a file that was read all the same.

    Attributes
    ----------
    stream : int
        Type of the stream it is in; 0 if it is in none.
    message : str
        What is wrong, with the offset in the file.

    Examples
    --------
    >>> Fault(stream=4, message="ModuleList at offset 0x20: ...").stream
    4
    """

    stream: int
    message: str
