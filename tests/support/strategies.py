"""Rules and regions as hypothesis makes them, and the plain-Python oracle that says what a filter means.

Addresses are drawn from a small window, so that rules and regions meet; pages are 4096 bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

from hypothesis import strategies as st

import minidump_cffi as md

PAGE = 4096
WINDOW = 0x7000_0000_0000
PAGES = 24

NAMES = (
    b"",
    b"/usr/lib/libapp.so.1",
    b"/usr/lib/libapp-extra.so",
    b"/dev/shm/ring",
    b"[stack]",
    b"/tmp/od\xffd name",
    b"a",
)
GLOBS = (
    b"*",
    b"",
    b"/usr/*",
    b"*libapp*",
    b"*.so",
    b"[[]stack]",
    b"?",
    b"[a-c]",
    b"[!a]",
    b"/dev/shm/*",
    b"*\xff*",
    b"/USR/*",
)
STATES = (md.filters.MemoryState.COMMIT, md.filters.MemoryState.RESERVE)
TYPES = tuple(md.filters.MemoryType)
PROTECTS = (1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x104, 0x202)
TEXTS = st.text("aZ0 \t\n\r\x01\x7f\"'\\#=[]{}.*?\u00e9\u2028\U0001f600", max_size=8)
_READS = 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
_WRITES = 0x04 | 0x08 | 0x40 | 0x80
_EXECUTES = 0xF0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """A mapping as the engine asks about it."""

    base: int
    size: int
    state: md.filters.MemoryState
    type: md.filters.MemoryType
    protect: int
    kinds: md.filters.Kind
    name: bytes
    flags: int = 0
    """MDC_FACT_*."""

    @property
    def end(self) -> int:
        return self.base + self.size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Module:
    """A module as the engine announces it."""

    base: int
    size: int
    path: bytes


def flags_of(kind: type, *, least: int = 1) -> st.SearchStrategy:
    """Some flags of a kind."""
    members = [member for member in kind if member.value]
    return st.lists(st.sampled_from(members), min_size=least, max_size=3).map(lambda some: _join(kind, some))


def _join(kind: type, some: Sequence) -> object:
    result = kind(0)
    for member in some:
        result |= member
    return result


def addresses() -> st.SearchStrategy[int]:
    """Addresses in the window, on page borders or not."""
    pages = st.integers(0, PAGES).map(lambda page: WINDOW + page * PAGE)
    return st.one_of(pages, st.integers(WINDOW, WINDOW + PAGES * PAGE))


def window_ranges() -> st.SearchStrategy[tuple[int, int]]:
    """Non-empty ranges in the window."""
    return st.tuples(addresses(), addresses()).filter(lambda pair: pair[0] < pair[1])


def ranges() -> st.SearchStrategy[tuple[int, int]]:
    """Non-empty ranges in, before, after and around the window."""
    return st.one_of(
        window_ranges(),
        st.sampled_from([(0, 1 << 64), (1, 2), (WINDOW + 5 * PAGE, 1 << 64), (0, WINDOW + 7 * PAGE)]),
    )


def optional(values: st.SearchStrategy) -> st.SearchStrategy:
    """Mostly nothing: a rule with many conditions meets nothing."""
    return st.one_of(st.none(), st.none(), values)


@st.composite
def rules(draw: st.DrawFn) -> md.filters.Rule:
    """One rule."""
    action = draw(st.sampled_from(["include", "exclude", "exclude", "head"]))
    low, high = sorted(draw(st.tuples(st.integers(0, 8 * PAGE), st.integers(1, 12 * PAGE))))
    values = {
        "range": draw(optional(ranges())),
        "state": draw(optional(flags_of(md.filters.MemoryState))),
        "type": draw(optional(flags_of(md.filters.MemoryType))),
        "kind": draw(optional(flags_of(md.filters.Kind))),
        "min_size": draw(optional(st.just(low))),
        "max_size": draw(optional(st.just(max(high, 1)))),
        "name": draw(optional(st.sampled_from(GLOBS))),
        "module": draw(optional(st.sampled_from(GLOBS))),
        "label": draw(optional(TEXTS)),
    }
    match draw(st.integers(0, 5)):
        case 0:
            values["protect"] = draw(flags_of(md.filters.MemoryProtect))
        case 1:
            values["protect"] = draw(st.sampled_from(["r", "rw", "x", "rx", "writable", "executable"]))
    if action == "head":
        return md.head(draw(st.integers(1, 6 * PAGE)), **values)
    return (md.include if action == "include" else md.exclude)(**values)


def range_blocks() -> st.SearchStrategy[md.filters.RangeRules]:
    """Several ranges in one block."""
    make = st.sampled_from([md.include_ranges, md.exclude_ranges])
    return st.builds(lambda function, some: function(some), make, st.lists(ranges(), max_size=6))


@st.composite
def filters(draw: st.DrawFn) -> md.Filter:
    """A filter of rules about memory."""
    return md.Filter(
        *draw(st.lists(st.one_of(rules(), rules(), range_blocks()), max_size=7)),
        default=draw(st.sampled_from(["include", "exclude"])),
        ignore_case=draw(st.booleans()),
        memory={"remove": draw(st.lists(window_ranges(), max_size=2))},
    )


@st.composite
def full_filters(draw: st.DrawFn) -> md.Filter:
    """A filter with everything a filter can have."""
    writes = st.sampled_from([md.filters.ModuleWrite(0), md.filters.ModuleWrite.MODULE, md.filters.ModuleWrite(0x0D)])
    thread_writes = st.sampled_from(
        [md.filters.ThreadWrite(0), md.filters.ThreadWrite.THREAD, md.filters.ThreadWrite(0x17)]
    )
    names = st.one_of(st.sampled_from(NAMES), TEXTS)
    return md.Filter(
        *draw(st.lists(st.one_of(rules(), range_blocks()), max_size=5)),
        default=draw(st.sampled_from(["include", "exclude"])),
        read_failure=draw(st.sampled_from(["skip", "abort"])),
        secondary_flags=draw(st.sampled_from(list(md.filters.SecondaryFlags))),
        ignore_case=draw(st.booleans()),
        threads={
            "rules": [
                md.thread(tid, draw(thread_writes)) for tid in draw(st.lists(st.integers(1, 2**32 - 1), max_size=4))
            ],
            "default": draw(thread_writes),
        },
        modules={
            "rules": [
                md.module(path.replace(b"[", b"") if isinstance(path, bytes) else path.replace("[", ""), draw(writes))
                for path in draw(st.lists(names, max_size=4))
            ],
            "default": draw(writes),
        },
        memory={"add": draw(st.lists(ranges(), max_size=3)), "remove": draw(st.lists(ranges(), max_size=3))},
        streams={"exclude": draw(flags_of(md.filters.Stream, least=0))},
    )


@st.composite
def regions(draw: st.DrawFn, flags: int = 0) -> list[Region]:
    """Disjoint mappings in the window, by address."""
    borders = sorted(draw(st.sets(st.integers(0, PAGES), min_size=2, max_size=9)))
    made = []
    for first, end in itertools.pairwise(borders):
        if draw(st.integers(0, 4)) == 0:
            continue
        made.append(
            Region(
                base=WINDOW + first * PAGE,
                size=(end - first) * PAGE,
                state=draw(st.sampled_from(STATES)),
                type=draw(st.sampled_from(TYPES)),
                protect=draw(st.sampled_from(PROTECTS)),
                kinds=draw(flags_of(md.filters.Kind)),
                name=draw(st.sampled_from(NAMES)),
                flags=flags,
            )
        )
    return made


@st.composite
def modules(draw: st.DrawFn) -> list[Module]:
    """Disjoint modules in the window, by address; not always where a mapping is."""
    borders = sorted(draw(st.sets(st.integers(0, PAGES), max_size=6)))
    return [
        Module(base=WINDOW + first * PAGE, size=(end - first) * PAGE, path=draw(st.sampled_from(NAMES[1:4])))
        for first, end in list(itertools.pairwise(borders))[::2]
    ]


# ------------------------------------------------------------------------------------------------------- the oracle


def glob_matches(glob: bytes, text: bytes, ignore_case: bool) -> bool:
    """A glob by way of a regular expression."""
    if ignore_case:
        glob, text = glob.lower().replace(b"\\", b"/"), text.lower().replace(b"\\", b"/")
    pattern, at = b"", 0
    while at < len(glob):
        letter = glob[at : at + 1]
        at += 1
        if letter == b"*":
            pattern += b".*"
        elif letter == b"?":
            pattern += b"."
        elif letter == b"[":
            negated = glob[at : at + 1] == b"!"
            at += negated
            end = glob.index(b"]", at + 1)
            inside = re.escape(glob[at:end]).replace(rb"\-", b"-")
            pattern += b"[" + (b"^" if negated else b"") + inside + b"]"
            at = end + 1
        else:
            pattern += re.escape(letter)
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def _accesses(protect: int) -> md.filters.Access:
    base = protect & 0xFF
    access = md.filters.Access(0)
    for bits, flag in (
        (_READS, md.filters.Access.READ),
        (_WRITES, md.filters.Access.WRITE),
        (_EXECUTES, md.filters.Access.EXECUTE),
    ):
        if base & bits:
            access |= flag
    return access


def rule_matches(rule: md.filters.Rule, region: Region, address: int, module: bytes | None, ignore_case: bool) -> bool:
    """Whether every condition of a rule holds for one byte."""
    return (
        (rule.range is None or rule.range[0] <= address < rule.range[1])
        and (rule.state is None or bool(rule.state & region.state))
        and (rule.type is None or bool(rule.type & region.type))
        and (rule.protect is None or bool(int(rule.protect) & region.protect))
        and (rule.access is None or _accesses(region.protect) & rule.access == rule.access)
        and (rule.kind is None or bool(rule.kind & region.kinds))
        and (rule.min_size is None or region.size >= rule.min_size)
        and (rule.max_size is None or region.size <= rule.max_size)
        and (rule.name is None or glob_matches(rule.name, region.name, ignore_case))
        and (rule.module is None or (module is not None and glob_matches(rule.module, module, ignore_case)))
    )


def byte_kept(keep: md.Filter, region: Region, address: int, modules: Sequence[Module]) -> tuple[bool, int | None]:
    """Whether a byte is kept, and the index in `Filter.rules` of what decides; None: the default, or removed memory."""
    if any(first <= address < end for first, end in keep.memory.remove):
        return False, None
    module = next((item.path for item in modules if item.base <= address < item.base + item.size), None)
    for index in range(len(keep.rules) - 1, -1, -1):
        rule = keep.rules[index]
        if isinstance(rule, md.filters.RangeRules):
            if any(first <= address < end for first, end in rule):
                return rule.action == "include", index
        elif rule_matches(rule, region, address, module, keep.ignore_case):
            if rule.action == "head":
                return address < region.base + (rule.bytes or 0), index
            return rule.action == "include", index
    return keep.default == "include", None


def borders(keep: md.Filter, region: Region, modules: Sequence[Module]) -> list[int]:
    """Addresses in a region between which nothing changes."""
    cuts = {region.base, region.end}
    cuts.update(range(region.base, region.end, PAGE))
    for rule in keep.rules:
        if isinstance(rule, md.filters.RangeRules):
            cuts.update(address for pair in rule for address in pair)
        else:
            cuts.update(rule.range or ())
            cuts.add(region.base + (rule.bytes or 0))
    cuts.update(address for pair in keep.memory.remove for address in pair)
    cuts.update(address for module in modules for address in (module.base, module.base + module.size))
    return sorted(cut for cut in cuts if region.base <= cut <= region.end)


def kept(keep: md.Filter, region: Region, modules: Sequence[Module], *, whole_pages: bool) -> list[tuple[int, int]]:
    """The stretches [first, end) of a region that are kept; adjoining ones are one."""
    cuts = borders(keep, region, modules)
    pieces = [(first, end, byte_kept(keep, region, first, modules)[0]) for first, end in itertools.pairwise(cuts)]
    if whole_pages:
        bad = {first // PAGE for first, _, good in pieces if not good}
        pieces = [(first, end, good and first // PAGE not in bad) for first, end, good in pieces]
    runs: list[tuple[int, int]] = []
    for first, end, good in pieces:
        if not good:
            continue
        if runs and runs[-1][1] == first:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs
