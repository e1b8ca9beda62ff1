"""What `show` finds in a minidump."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """An entry of the directory; size in bytes, rva the offset in the file."""

    type: int
    size: int
    rva: int


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """What the dump says of the machine."""

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
    """An exception record."""

    thread: int
    code: int
    address: int


@dataclass(kw_only=True)
class DumpFile:
    """What a minidump holds."""

    file_bytes: int
    version: int
    timestamp: int
    flags: int
    process_id: int | None = None
    system: System | None = None
    streams: list[Stream] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    memory_ranges: int = 0
    memory_bytes: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    """Length of each list that is longer than what was read of it, by its name in this class."""
    problems: list[str] = field(default_factory=list)
