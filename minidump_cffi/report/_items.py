"""The entries of a report's lists."""

from __future__ import annotations

import os

from .._record import Record
from ..enums import (
    ExtentFlags,
    GapReason,
    Kind,
    MemoryProtect,
    MemoryState,
    MemoryType,
    ModuleWrite,
    RegionFlags,
    ThreadFlags,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntFlag
    from typing import Any, TypeVar

    Flags = TypeVar("Flags", bound=IntFlag)

__all__ = ["Extent", "Gap", "Module", "Redaction", "Region", "RuleBytes", "Thread"]


def flags_of(kind: type[Flags], value: int) -> Flags:
    """``kind(value)``, which takes a third of the time where that was made before."""
    found: Any = kind._value2member_map_.get(value)
    return kind(value) if found is None else found


class Region(Record):
    """One mapping of the target.

    Attributes
    ----------
    base, size : int
        Address and bytes.
    kept : int
        Bytes the dump answers for: stored, zeros, or gaps.
    stored : int
        Bytes that take room in the file.
    untouched : int
        Bytes kept that were never written: they read as zero, are holes in the file or left out of it. On a stream,
        runs below `EngineOptions.hole_min` are stored.
    left_to_file : int
        Bytes that were not kept because the module's file has them.
    filtered : int
        Bytes at its end that the target's coredump_filter leaves out, if that was asked for.
    zeros : int
        Bytes kept that were read and are pages of zeros: holes in the file. Always 0 on streams, which store them.
    over_budget : int
        Bytes that would have been kept, and for which `max_bytes` left no room; they are gaps.
    state, protect, type, kinds : MemoryState; MemoryProtect; MemoryType; Kind
        What it is.
    flags : RegionFlags
        What the engine found out about it.
    name : bytes
        As the kernel has it, without escapes; empty if it has none.

    Examples
    --------
    >>> heap = Region(
    ...     base=0x1000, size=0x2000, kept=0x2000, stored=0x1000, untouched=0x1000, left_to_file=0, filtered=0, zeros=0,
    ...     state=MemoryState.COMMIT, protect=MemoryProtect.READWRITE, type=MemoryType.PRIVATE, kinds=Kind.HEAP,
    ...     flags=RegionFlags(0), name=b"[heap]",
    ... )
    >>> heap.path, hex(heap.end), heap.verdict
    ('[heap]', '0x3000', 'kept')
    """

    _addresses = frozenset({"base"})

    base: int
    size: int
    kept: int
    stored: int
    untouched: int
    left_to_file: int
    filtered: int
    zeros: int
    over_budget: int = 0
    state: MemoryState
    protect: MemoryProtect
    type: MemoryType
    kinds: Kind
    flags: RegionFlags
    name: bytes

    @property
    def end(self) -> int:
        """First address after it."""
        return self.base + self.size

    @property
    def path(self) -> str:
        """The name as text, odd bytes as surrogates, as file names are in Python."""
        try:
            return os.fsdecode(self.name)
        except UnicodeDecodeError:  # on Windows: a name that cannot be one there
            return self.name.decode("utf-8", "surrogateescape")

    @property
    def verdict(self) -> str:
        """One word for what became of it.

        "kept", "partly", or why nothing of it is in the dump: "never-read", "dontdump", "coredump-filter" (the
        target's own), "left-to-file", "over-budget" (`max_bytes`), "excluded" (a rule or callback), "not-stored" (none
        of these: not part of this type of dump, or guard pages).
        """
        if self.flags & RegionFlags.NEVER_READ:
            return "never-read"
        if self.kept >= self.size:
            return "kept"
        if self.kept:
            return "partly"
        if self.over_budget:
            return "over-budget"
        if self.filtered >= self.size:
            return "coredump-filter"
        if self.flags & (RegionFlags.EXCLUDED | RegionFlags.NARROWED) and not self.left_to_file:
            return "excluded"
        if self.flags & RegionFlags.DONTDUMP:
            return "dontdump"
        return "left-to-file" if self.left_to_file else "not-stored"


class Thread(Record):
    """One thread of the target; stack_base (the low end) and stack_size say what of its stack is in the dump.

    Examples
    --------
    >>> Thread(tid=7, flags=ThreadFlags(0), stack_base=0x7000, stack_size=0x1000).tid
    7
    """

    _addresses = frozenset({"stack_base"})

    tid: int
    flags: ThreadFlags
    stack_base: int
    stack_size: int


class Module(Record):
    """One module of the target. flags: what was written about it, 0 if it was left out.

    Examples
    --------
    >>> Module(base=0x1000, size=0x2000, flags=ModuleWrite(0), path=b"/bin/app").included
    False
    """

    _addresses = frozenset({"base"})

    base: int
    size: int
    flags: ModuleWrite
    path: bytes

    @property
    def included(self) -> bool:
        """Whether it is in the list of modules."""
        return bool(self.flags & ModuleWrite.MODULE)


class Extent(Record):
    """A run of memory in the plan: where it is in the target and in the file; region is an index into regions.

    Examples
    --------
    >>> Extent(address=0x1000, size=0x2000, file_offset=640, region=0, flags=ExtentFlags.STACK).file_offset
    640
    """

    _addresses = frozenset({"address"})

    address: int
    size: int
    file_offset: int
    region: int
    flags: ExtentFlags


class Gap(Record):
    """Memory that was asked for and is not in the dump.

    Attributes
    ----------
    address, size : int
        Where it is, and bytes.
    reason : GapReason
        Why.
    errno, winerror : int or None
        Of the read that failed; a Windows error where Windows refused it.

    Examples
    --------
    >>> Gap(address=0x1000, size=4096, reason=GapReason.READ_FAILED, errno=5)
    Gap(address=0x1000, size=4096, reason=<GapReason.READ_FAILED: 1>, errno=5, winerror=None)
    """

    _addresses = frozenset({"address"})

    address: int
    size: int
    reason: GapReason
    errno: int | None
    winerror: int | None = None


class RuleBytes(Record):
    """What one rule, or block of ranges, decided.

    Attributes
    ----------
    index : int or None
        Position in `Filter.rules`; None for the default.
    action : str
        Of the rule, or the default.
    label : str or None
        Of the rule.
    kept, excluded : int
        Bytes of the target it kept and left out: each byte counts for one rule, the last that matches. What was left
        to the file of a module counts as kept.
    over_budget : int
        Of the bytes kept, those that `max_bytes` left no room for.

    Examples
    --------
    >>> RuleBytes(index=0, action="exclude", label="big maps", kept=0, excluded=4096).excluded
    4096
    """

    index: int | None
    action: str
    label: str | None
    kept: int
    excluded: int
    over_budget: int = 0


class Redaction(Record):
    """What was overwritten before it was stored.

    Attributes
    ----------
    bytes : int
        Overwritten by ranges and patterns. What is in the dump twice counts twice.
    hits : int
        Occurrences of patterns.
    words : int
        Stack words that were replaced.
    variables : int
        Environment variables whose values were hidden.
    searched_values : int
        Distinct values that were searched for everywhere (`Environ.everywhere`): equal ones of several variables count
        once.
    short_values : int
        Distinct values under 4 bytes: hidden in the environment and the command line only, since they would be found
        by chance everywhere else.
    uncovered : int
        Places where a pattern that lay across two reads would not have been found; 0 with the engine of this package.

    Examples
    --------
    >>> Redaction(bytes=24, hits=3, words=0, variables=1, searched_values=1, short_values=0, uncovered=0).hits
    3
    """

    bytes: int
    hits: int
    words: int
    variables: int
    searched_values: int = 0
    short_values: int = 0
    uncovered: int
