"""The types of what rules take, for type checkers and for callers who annotate wrappers."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from typing import TypeAlias, TypedDict

from ..enums import Access, Kind, MemoryProtect, MemoryState, MemoryType

__all__ = ["AddressRange", "Conditions", "Glob", "Ranges", "Size"]

Size: TypeAlias = int | str
"""Bytes: a number, or a text such as ``"64 MiB"`` (powers of 1024), ``"1.5 GB"`` (powers of 1000), ``"0x1000"``."""

Glob: TypeAlias = str | bytes | os.PathLike[str]
"""A glob over bytes; text is encoded as file names are (`os.fsencode`)."""

AddressRange: TypeAlias = tuple[int | str, int | str] | range
"""Addresses (first, end): numbers or their texts, or a Python `range` with step 1."""

Ranges: TypeAlias = "Iterable[tuple[int, int]] | array[int] | memoryview"
"""Many address ranges: pairs of integers, or a buffer of 64-bit integers (``array('Q')``, NumPy)."""


class Conditions(TypedDict, total=False):
    """What a rule may ask of memory. All conditions that are given must hold.

    Examples
    --------
    >>> from minidump_cffi import exclude
    >>> big: Conditions = {"type": "mapped", "min_size": "64 MiB"}
    >>> exclude(**big).min_size
    67108864
    """

    range: AddressRange | None
    """Addresses (first, end); `end` is the first address after the range and may be ``2**64``. With `module`, the only
    condition that can match a part of a mapping."""
    state: MemoryState | str | Iterable[str] | None
    """Flags or their names ("commit", "reserve"); any of them."""
    type: MemoryType | str | Iterable[str] | None
    """Flags or their names ("private", "mapped", "image"); any of them."""
    protect: MemoryProtect | Access | str | Iterable[str] | None
    """Letters that must all be there ("rw"), "readable", "writable", "executable" or `Access`; letters in their places,
    with dashes, where no other may be ("r--"); or names or values of `MemoryProtect`; one match is enough."""
    min_size: Size | None
    """Bytes of the whole mapping, inclusive: a number or a text such as "64 MiB"."""
    max_size: Size | None
    """The same, from above."""
    module: Glob | None
    """Glob over the path of the module that covers the address, which includes its .data and .bss."""
    name: Glob | None
    """Glob over the name of the mapping. A mapping without a name has the empty name."""
    kind: Kind | str | Iterable[str] | None
    """Flags or their names ("stack", "heap", "file", ...); any of them. A mapping can be of several kinds."""
    label: str | None
    """Name of the rule in reports."""
    priority: int | None
    """How much what it keeps matters where `max_bytes` has no room for all: 0 to 100."""
