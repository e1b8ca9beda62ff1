"""The rules a filter is made of, and the functions that make them. They are public through filters.py."""

from __future__ import annotations

import builtins

from .._record import Record
from ..enums import Access, Kind, MemoryProtect, MemoryState, MemoryType, ModuleWrite, ThreadWrite
from ..errors import FilterError
from . import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Literal, TypeAlias, Unpack

    from ._conditions import Conditions, Glob, Ranges, Size

    Action: TypeAlias = Literal["include", "exclude", "head"]
    Verdict: TypeAlias = Literal["include", "exclude"]

ALL_THREAD = ThreadWrite(_values.every(ThreadWrite))
ALL_MODULE = ModuleWrite(_values.every(ModuleWrite))
CONDITIONS: dict[str, Any] = {
    "range": "range",
    "state": MemoryState,
    "type": MemoryType,
    "protect": "protect",
    "min_size": "size",
    "max_size": "size",
    "module": "glob",
    "name": "glob",
    "kind": Kind,
}
"""What each condition is: flags, or how its value is read. `Conditions` has what is taken, `Rule` what comes of it."""


class Rule(Record):
    """One rule about memory, as `include`, `exclude` and `head` make it: everything is a number, flags or bytes.

    A rule matches a byte when every condition that is not None holds. All conditions but `range` and `module` look at
    the whole mapping the byte lies in.

    Attributes
    ----------
    action : str
        "include", "exclude" or "head".
    label : str or None
        Name of the rule in reports.
    range : tuple of int or None
        Addresses [first, end).
    state, type : MemoryState, MemoryType or None
        Any of these.
    protect : MemoryProtect or None
        Any of these PAGE_* values.
    access : Access or None
        All of these, whichever PAGE_* value grants them.
    min_size, max_size : int or None
        Bytes of the mapping, both inclusive.
    module, name : bytes or None
        Globs over the path of the module and over the name of the mapping.
    kind : Kind or None
        Any of these.
    priority : int or None
        With `max_bytes`, how much what it keeps matters, 0 to 100; None: what it is decides (docs/budget.md).
    bytes : int or None
        For "head": how many bytes from the start of the mapping are kept.

    Examples
    --------
    >>> Rule(action="exclude", kind=Kind.HEAP, label="the heap")
    <exclude: label='the heap', kind=<Kind.HEAP: 8>>
    """

    action: Action
    label: str | None = None
    range: tuple[int, int] | None = None
    state: MemoryState | None = None
    type: MemoryType | None = None
    protect: MemoryProtect | None = None
    access: Access | None = None
    min_size: int | None = None
    max_size: int | None = None
    module: builtins.bytes | None = None
    name: builtins.bytes | None = None
    kind: Kind | None = None
    priority: int | None = None
    bytes: int | None = None

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in self._fields[1:] if getattr(self, name) is not None]
        return f"<{self.action}: {', '.join(values) or 'everything'}>"

    def __post_init__(self) -> None:
        if self.action not in ("include", "exclude", "head"):
            hint = _values.did_you_mean(str(self.action), ["include", "exclude", "head"])
            raise FilterError(f"action: {self.action!r} is not known{hint}")
        check_label(self.label)
        if self.priority is not None:
            if isinstance(self.priority, bool) or not isinstance(self.priority, int) or not 0 <= self.priority <= 100:
                raise FilterError(f"priority: expected a number from 0 to 100, not {self.priority!r}")
            if self.action == "exclude":
                raise FilterError("priority: of what is excluded nothing is kept; give it to include or head")
        if (self.bytes is not None) != (self.action == "head"):
            raise FilterError("bytes: needed by 'head', and by no other action")
        if self.bytes == 0:
            raise FilterError("bytes: a head of 0 bytes keeps nothing; write exclude")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise FilterError(
                f"min_size {self.min_size} is above max_size {self.max_size}, so the rule could never match"
            )
        if self.max_size == 0:
            raise FilterError("max_size: no mapping has 0 bytes, so the rule could never match")


class RangeRules(Record, kw_only=False):
    """Any number of rules that each state one address range and share action and label, in one block of bytes.

    Made by `include_ranges` and `exclude_ranges`. Counts as ``len(self)`` rules; iterating gives (first, end) pairs.

    Examples
    --------
    >>> blocks = include_ranges([(0x1000, 0x2000), (0x4000, 0x6000)])
    >>> len(blocks), list(blocks)[1]
    (2, (16384, 24576))
    """

    action: Verdict
    packed: bytes
    label: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ("include", "exclude"):
            hint = _values.did_you_mean(str(self.action), ["include", "exclude"])
            raise FilterError(f"action: {self.action!r} is not known for ranges{hint}")
        check_label(self.label)
        if len(self.packed) % 16:
            raise FilterError("ranges: the block does not contain pairs of 64-bit numbers")

    def __len__(self) -> int:
        return len(self.packed) // 16

    def __iter__(self) -> Iterator[tuple[int, int]]:
        flat = iter(memoryview(self.packed).cast("Q"))
        for first, end in zip(flat, flat, strict=True):
            yield first, end or _values.TOP

    def __repr__(self) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return f"<{self.action}_ranges: {len(self)} ranges{label}>"


class ThreadRule(Record):
    """What is written about one thread; nothing at all without `ThreadWrite.THREAD`.

    Examples
    --------
    >>> ThreadRule(id=7, write=ThreadWrite.THREAD | ThreadWrite.STACK).id
    7
    """

    id: int
    write: ThreadWrite


class ModuleRule(Record):
    """What is written about the modules whose path matches; nothing at all without `ModuleWrite.MODULE`.

    Examples
    --------
    >>> ModuleRule(path=b"*/libbig*", write=ModuleWrite(0)).path
    b'*/libbig*'
    """

    path: bytes
    write: ModuleWrite


def check_label(label: object) -> None:
    """Labels are text that can be printed and stored."""
    if label is None:
        return
    if not isinstance(label, str):
        raise FilterError(f"label: expected text, not {label!r}")
    try:
        label.encode()
    except UnicodeEncodeError:
        raise FilterError(f"label: {label!r} contains an unpaired surrogate") from None


def make_rule(action: Action, given: Any, *, bytes: Size | None = None) -> Rule:
    """A rule from conditions as people write them."""
    fields: dict[str, Any] = {"action": action, "label": given.get("label"), "priority": given.get("priority")}
    if bytes is not None:
        fields["bytes"] = _values.size(bytes, "bytes")
    for name, value in given.items():
        what = CONDITIONS.get(name)
        if what is None and name not in ("label", "priority"):
            raise TypeError(f"unknown condition {name!r}{_values.did_you_mean(name, [*CONDITIONS, 'priority'])}")
        if what is None or value is None:
            continue
        if what == "protect":
            fields["protect"], fields["access"] = _values.protection(value, name)
        elif isinstance(what, str):
            fields[name] = _READ[what](value, name)
        else:
            fields[name] = _values.some(what, value, name)
    return Rule(**fields)


_READ = {"range": _values.address_range, "size": _values.size, "glob": _values.glob}


def include(**conditions: Unpack[Conditions]) -> Rule:
    """Make a rule that keeps what matches all of its conditions; without conditions it keeps everything.

    Parameters
    ----------
    **conditions : Conditions
        What memory must be: the keys of `filters.Conditions`, which also says what each of them takes.

        ``range``: addresses (first, end); ``state``, ``type``, ``kind``: flags or their names, any of them;
        ``protect``: letters that must all be there, or PAGE_* flags; ``min_size``, ``max_size``: bytes of the whole
        mapping, inclusive; ``module``, ``name``: globs over the path of the module that covers the address and over the
        name of the mapping. ``label`` names the rule in reports, and ``priority``, 0 to 100, says how
        much what it keeps matters where `max_bytes` has no room for all.

    Raises
    ------
    FilterError
        A value is wrong, or the rule could never match.

    Notes
    -----
    In a glob ``*`` matches any bytes, also ``/``; ``?`` for one byte; ``[a-z]`` and ``[!a]`` for one of, or none
    of, these bytes. Globs match bytes: text is encoded as file names are (`os.fsencode`).

    Examples
    --------
    >>> include(module="*/libapp*.so*", label="our code").module
    b'*/libapp*.so*'
    >>> include(range=("0x1000", 0x3000)).range
    (4096, 12288)
    """
    return make_rule("include", conditions)


def exclude(**conditions: Unpack[Conditions]) -> Rule:
    """Make a rule that leaves out what matches all of its conditions.

    In a full dump whole pages are left out: a page with any excluded byte does not go into the file.

    Parameters
    ----------
    **conditions : Conditions
        As for `include`.

    Examples
    --------
    >>> exclude(type="mapped", min_size="64 MiB").min_size
    67108864
    """
    return make_rule("exclude", conditions)


def head(bytes: Size, **conditions: Unpack[Conditions]) -> Rule:
    """Make a rule that keeps the first `bytes` of each mapping it matches and leaves out the rest of that mapping.

    Parameters
    ----------
    bytes : Size
        How much to keep: a number or a text such as "64 KiB". Not 0.
    **conditions : Conditions
        As for `include`.

    Examples
    --------
    >>> head("64 KiB", kind="file").bytes
    65536
    """
    return make_rule("head", conditions, bytes=bytes)


def include_ranges(ranges: Ranges, *, label: str | None = None) -> RangeRules:
    """Make rules that keep these address ranges: one for each, stored and compiled as one block.

    Parameters
    ----------
    ranges : Ranges
        (first, end) pairs of integers; or, much faster, a flat ``array('Q')`` first, end, first, end, ... or a buffer
        of 64-bit integers of shape (2 * n,) or (n, 2), such as a NumPy array. In a buffer an `end` of 0 is 2**64.
    label : str or None
        Name of all of them in reports.

    Raises
    ------
    FilterError
        The values are not pairs. Empty ranges are detected when the filter is compiled.

    Examples
    --------
    >>> include_ranges([(0x1000, 0x2000)], label="kept")
    <include_ranges: 1 ranges, label='kept'>
    """
    return RangeRules("include", pack(ranges), label)


def exclude_ranges(ranges: Ranges, *, label: str | None = None) -> RangeRules:
    """Make rules that leave out these address ranges; see `include_ranges`.

    Examples
    --------
    >>> exclude_ranges([(0x1000, 0x2000), (0x8000, 0x9000)], label="keys")
    <exclude_ranges: 2 ranges, label='keys'>
    """
    return RangeRules("exclude", pack(ranges), label)


def pack(ranges: Any) -> builtins.bytes:
    """Pairs of addresses as native 64-bit integers; an end of 2**64 becomes 0."""
    from array import array

    try:
        view = memoryview(ranges)
    except TypeError:
        pass
    else:
        if view.itemsize != 8 or view.format.lstrip("@=") not in ("Q", "q", "L", "l"):
            raise FilterError(f"ranges: expected a buffer of 64-bit integers, not of format {view.format!r}")
        if view.nbytes % 16 or (view.ndim == 2 and view.shape is not None and view.shape[1] != 2) or view.ndim > 2:
            raise FilterError(f"ranges: the buffer's shape {view.shape} is neither (2 * n,) nor (n, 2)")
        return view.tobytes()
    if isinstance(ranges, (str, bytes)) or not hasattr(ranges, "__iter__"):
        raise FilterError(f"ranges: expected (first, end) pairs, not {ranges!r}")
    from itertools import chain

    pairs: list[Any] = list(ranges)
    try:
        if set(map(len, pairs)) - {2}:
            raise TypeError
        return array("Q", chain.from_iterable(pairs)).tobytes()
    except (TypeError, OverflowError):
        # The slow way: it says which one is wrong, and takes texts and an end of 2**64.
        packed = array("Q")
        for number, pair in enumerate(pairs):
            first, end = _values.address_range(pair, f"range {number}")
            packed.extend((first, end % _values.TOP))
        return packed.tobytes()


def thread(id: int, write: ThreadWrite | str | Iterable[str]) -> ThreadRule:
    """Say what is written about the thread with this id.

    Parameters
    ----------
    id : int
        Thread id (on Linux: tid).
    write : ThreadWrite, str or iterable of str
        `ThreadWrite` flags or their names. Flags can only take away from what the dump type asks for; without
        "thread" the thread is left out of the dump.

    Examples
    --------
    >>> thread(4242, ["thread", "context"]).write
    <ThreadWrite.THREAD|CONTEXT: 5>
    """
    if isinstance(id, bool) or not isinstance(id, int) or not 0 < id < 1 << 32:
        raise FilterError(f"thread id: expected a number from 1 to 2**32 - 1, not {id!r}")
    return ThreadRule(id=id, write=_values.flags(ThreadWrite, write, "write"))


def module(path: Glob, write: ModuleWrite | str | Iterable[str]) -> ModuleRule:
    """Say what is written about the modules whose path matches this glob; their memory is the rules' business.

    Parameters
    ----------
    path : Glob
        Glob, as in `include`.
    write : ModuleWrite, str or iterable of str
        `ModuleWrite` flags or their names, as in `thread`; without "module" the modules are left out of the list.

    Examples
    --------
    >>> module("*/libbig*", ["module"])
    ModuleRule(path=b'*/libbig*', write=<ModuleWrite.MODULE: 1>)
    """
    return ModuleRule(path=_values.glob(path, "path"), write=_values.flags(ModuleWrite, write, "write"))
