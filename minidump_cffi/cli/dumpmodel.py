"""What `show` finds in a minidump."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """An entry of the directory; size in bytes, rva the offset in the file."""

    type: int
    size: int
    rva: int


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """What the dump says of the machine; architecture is ProcessorArchitecture, platform_id PlatformId."""

    architecture: int
    platform_id: int
    processor: str
    processors: int
    platform: str
    version: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Thread:
    """A thread; the registers are None where the context is of an unknown kind or not there."""

    id: int
    name: str
    stack: int
    stack_size: int
    context_size: int
    instruction_pointer: int | None
    stack_pointer: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module; identity is the build id or the PDB identity, as hexadecimal."""

    base: int
    size: int
    path: str
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A region; stored is how many of its bytes are in the file, state to type are 0 where the dump does not say."""

    base: int
    size: int
    state: int
    protect: int
    type: int
    stored: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Bytes that were requested and are not available."""

    address: int
    size: int
    reason: int
    errno: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An exception record, and what it says: `faults` has the words.

    accessed is the address that a refused access was about, faulted whether `address` is that of a fault.
    """

    thread: int
    code: int
    flags: int
    address: int
    parameters: tuple[int, ...]
    name: str
    access: str
    accessed: int | None
    details: str
    faulted: bool
    instruction_pointer: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """What failed, as Breakpad's handlers of invalid parameters and pure virtual calls write it."""

    expression: str
    function: str
    file: str
    line: int
    type: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Handle:
    """An open handle; of a Linux process a descriptor: st_mode, flags of open(2), and two halves of the offset."""

    handle: int
    type: str
    name: str
    attributes: int
    access: int
    handles: int
    pointers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationObject:
    """An annotation of Crashpad with a type; the value is a text if the type is 1, else hexadecimal."""

    name: str
    type: int
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleAnnotations:
    """What a module gave Crashpad to write; module is its index in the list of modules."""

    module: int
    listed: list[str]
    annotations: dict[str, str]
    objects: list[AnnotationObject]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crashpad:
    """The stream of Crashpad."""

    report_id: str
    client_id: str
    annotations: dict[str, str]
    modules: list[ModuleAnnotations]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A line of /proc/PID/limits."""

    name: str
    soft: str
    hard: str
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Auxiliary:
    """An entry of the auxiliary vector."""

    type: int
    name: str
    value: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UserStream:
    """A stream of no known number: its beginning, as a text if it is one, else hexadecimal."""

    type: int
    size: int
    text: bool
    beginning: str


@dataclass(kw_only=True)
class DumpFile:
    """What a minidump holds."""

    file_bytes: int
    version: int
    timestamp: int
    flags: int
    process_id: int | None = None
    process_name: str = ""
    distribution: str = ""
    comments: list[str] = field(default_factory=list)
    system: System | None = None
    streams: list[Stream] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    requesting_thread: int | None = None
    """The thread that asked Breakpad for the dump."""
    assertion: Assertion | None = None
    handles: list[Handle] = field(default_factory=list)
    crashpad: Crashpad | None = None
    command_line: list[str] = field(default_factory=list)
    environ: list[str] = field(default_factory=list)
    auxv: list[Auxiliary] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    soft_errors: list[Any] = field(default_factory=list)
    user_streams: list[UserStream] = field(default_factory=list)
    memory_ranges: int = 0
    memory_bytes: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    """Length of each list that is longer than what was read of it, by its name in this class."""
    problems: list[str] = field(default_factory=list)
