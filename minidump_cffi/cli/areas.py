"""The areas of an address space, from a report or from a file, and how they are grouped by kind and by name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..enums import GapReason, Kind, MemoryState, MemoryType, RegionFlags
from . import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from ..report import DumpReport, Region
    from .dumpmodel import DumpFile

VERDICTS: Final[dict[str, tuple[str, str]]] = {
    "kept": ("green", "in the dump"),
    "partly": ("yellow", "some of it is in the dump"),
    "excluded": ("red", "left out by a rule or a callback"),
    "dontdump": ("yellow", "marked MADV_DONTDUMP by the process"),
    "coredump-filter": ("yellow", "left out of cores by the process' coredump_filter"),
    "left-to-file": ("cyan", "in the file of its module, as it is in memory"),
    "not-stored": ("dim", "not part of this type of dump"),
    "never-read": ("dim", "guards, reservations, devices"),
    "over-budget": ("red", "no room for it within --max-bytes: a gap"),
    "missing": ("red", "was asked for and could not be read: a gap"),
}
"""A colour and a meaning for each word that says what became of memory; those after "partly" for what is not there."""

NOT_MEMORY: Final = ("never-read",)
"""Nothing is there: listed last, however large."""

KINDS: Final[dict[str, str]] = {
    "heap": "red",
    "stack": "yellow",
    "anonymous": "green",
    "shared": "cyan",
    "image": "cyan",
    "file": "bold",
    "vdso": "dim",
    "other": "dim",
}
"""A colour for each kind."""
_PRECEDENCE: Final = (
    (Kind.STACK, "stack"),
    (Kind.HEAP, "heap"),
    (Kind.VDSO, "vdso"),
    (Kind.IMAGE, "image"),
    (Kind.FILE, "file"),
    (Kind.SHARED, "shared"),
    (Kind.ANONYMOUS, "anonymous"),
)
GAPS: Final[dict[int, str]] = {
    GapReason.LEFT_TO_FILE: "left-to-file",
    GapReason.BEYOND_EOF: "never-read",
    GapReason.BUDGET: "over-budget",
}
"""Gaps of a file that have a word of their own."""
_NAMELESS: Final = {
    "heap": "heap",
    "stack": "stacks",
    "image": "data of modules without a file",
    "other": "memory",
    "file": "mapped, without a name",
}
"""What areas of a kind are called together."""
_TYPES: Final[dict[int, str]] = {MemoryType.IMAGE: "image", MemoryType.MAPPED: "file", MemoryType.PRIVATE: "anonymous"}


class Area:
    """A mapping, or a region of a file; `left` says how many bytes are not in the dump and why."""

    __slots__ = ("access", "base", "kept", "kind", "left", "name", "size", "stored", "type", "verdict")

    def __init__(
        self,
        base: int,
        size: int,
        *,
        kept: int,
        stored: int,
        kind: str,
        verdict: str,
        left: dict[str, int],
        access: str,
        type: str,
        name: str,
    ) -> None:
        self.base: int = base
        self.size: int = size
        self.kept: int = kept
        self.stored: int = stored
        self.kind: str = kind
        self.verdict: str = verdict
        self.left: dict[str, int] = left
        self.access: str = access
        self.type: str = type
        self.name: str = name


class Group:
    """Areas of one kind, or of one name: how many, and their bytes."""

    __slots__ = ("areas", "kept", "kind", "left", "name", "size", "stored")

    def __init__(self, kind: str, name: str) -> None:
        self.kind: str = kind
        self.name: str = name
        self.areas: int = 0
        self.size: int = 0
        self.kept: int = 0
        self.stored: int = 0
        self.left: dict[str, int] = {}

    def add(self, area: Area) -> None:
        """Count one more."""
        self.areas += 1
        self.size += area.size
        self.kept += area.kept
        self.stored += area.stored
        for word, number in area.left.items():
            self.left[word] = self.left.get(word, 0) + number

    def join(self, other: Group) -> None:
        """Count those of another one, too."""
        self.areas += other.areas
        self.size += other.size
        self.kept += other.kept
        self.stored += other.stored
        for word, number in other.left.items():
            self.left[word] = self.left.get(word, 0) + number

    @property
    def memory(self) -> int:
        """Bytes without those where nothing is."""
        return self.size - sum(self.left.get(word, 0) for word in NOT_MEMORY)

    @property
    def verdict(self) -> str:
        """One word for most of what is not in the dump, or that all is."""
        if not self.left:
            return "kept"
        most = max(self.left, key=self.left.__getitem__)
        return most if not self.kept else "partly"


def of_report(report: DumpReport) -> list[Area]:
    """The mappings of a process, or of the file that was read."""
    return [
        Area(
            region.base,
            region.size,
            kept=region.kept,
            stored=region.stored,
            kind=next((word for flag, word in _PRECEDENCE if region.kinds & flag), "other"),
            verdict=region.verdict,
            left=_left(region),
            access=names.protection(region.protect),
            type=names.flags(MemoryType, region.type),
            name=region.path,
        )
        for region in report.regions
    ]


def _left(region: Region) -> dict[str, int]:
    """What of a region is not in the dump, by reason. "excluded" is what rules and callbacks left out only."""
    rest = region.size - region.kept
    found = {}
    for word, number in (
        ("over-budget", region.over_budget),
        ("left-to-file", region.left_to_file),
        ("coredump-filter", region.filtered),
    ):
        if number and rest:
            found[word] = min(number, rest)
            rest -= found[word]
    if rest > 0:
        word = region.verdict
        if word in ("partly", "over-budget", "left-to-file", "coredump-filter", "kept"):
            narrowed = region.flags & (RegionFlags.EXCLUDED | RegionFlags.NARROWED)
            word = "excluded" if narrowed else "dontdump" if region.flags & RegionFlags.DONTDUMP else "not-stored"
        found[word] = rest
    return found


def of_dump(dump: DumpFile) -> list[Area]:
    """The regions of a file, but those that are free. It does not say why something is not in it, only what failed."""
    modules = sorted((module.base, module.base + module.size, module.path) for module in dump.modules)
    starts = [module[0] for module in modules]
    stacks = sorted(
        address for thread in dump.threads for address in (thread.stack, thread.stack_pointer) if address is not None
    )
    lost = _gaps_of(dump)
    found = []
    for index, region in enumerate(dump.regions):
        if region.state == MemoryState.FREE:
            continue
        end, name = region.base + region.size, region.name
        at = bisect_right(starts, region.base) - 1
        in_module = at >= 0 and region.base < modules[at][1]
        if in_module and not name:
            name = modules[at][2]
        kind = _TYPES.get(region.type, "other")
        near = bisect_left(stacks, region.base)
        if near < len(stacks) and stacks[near] < end and not in_module:
            kind = "stack"
        elif name == "[heap]":
            kind = "heap"
        elif name.startswith("[v"):
            kind = "vdso"
        elif in_module:
            kind = "image"
        stored = min(region.stored, region.size)
        rest, left = region.size - stored, {}
        for word, number in lost.get(index, {}).items():
            if rest:
                left[word] = min(number, rest)
                rest -= left[word]
        word = "never-read" if region.state == MemoryState.RESERVE else "not-stored"
        if rest:
            left[word] = rest
        found.append(
            Area(
                region.base,
                region.size,
                kept=stored,
                stored=stored,
                kind=kind,
                verdict="kept" if not left else "partly" if stored else max(left, key=left.__getitem__),
                left=left,
                access=names.protection(region.protect),
                type=names.flags(MemoryType, region.type),
                name=name,
            )
        )
    return found


def _gaps_of(dump: DumpFile) -> dict[int, dict[str, int]]:
    """Bytes of the gaps in each region, by its index; a gap may go on in the regions that follow."""
    starts = [region.base for region in dump.regions]
    found: dict[int, dict[str, int]] = {}
    for gap in dump.gaps:
        word, end = GAPS.get(gap.reason, "missing"), gap.address + gap.size
        for at in range(max(0, bisect_right(starts, gap.address) - 1), bisect_left(starts, end)):
            region = dump.regions[at]
            number = min(end, region.base + region.size) - max(gap.address, region.base)
            if number > 0:
                left = found.setdefault(at, {})
                left[word] = left.get(word, 0) + number
    return found


def by_kind(areas: Iterable[Area]) -> list[Group]:
    """The kinds, the largest first."""
    return _grouped(areas, lambda area: (area.kind, ""))


def by_name(areas: Iterable[Area]) -> list[Group]:
    """Files, modules, and what has no file by its kind; the largest first."""
    return _grouped(areas, key_of)


def key_of(area: Area) -> tuple[str, str]:
    """What areas are grouped by in `by_name`."""
    return ("", area.name) if is_path(area.name) else (area.kind, _label(area))


def group_key(group: Group) -> tuple[str, str]:
    """The `key_of` of the areas in a group of `by_name`."""
    return ("" if is_path(group.name) else group.kind, group.name)


def by_verdict(areas: Iterable[Area]) -> list[tuple[str, int, int]]:
    """Why bytes are not in the dump, how many, and in how many regions; the most first."""
    found: dict[str, list[int]] = {}
    for area in areas:
        for word, number in area.left.items():
            entry = found.setdefault(word, [0, 0])
            entry[0] += number
            entry[1] += 1
    rows = [(word, number, count) for word, (number, count) in found.items()]
    return sorted(rows, key=lambda row: (row[0] in NOT_MEMORY, -row[1]))


def total(groups: Iterable[Group]) -> Group:
    """All of them in one."""
    found = Group("total", "total")
    for group in groups:
        found.join(group)
    return found


def is_path(name: str) -> bool:
    """Whether a mapping has the name of a file, of Linux or of Windows."""
    return name.startswith(("/", "\\")) or name[1:3] in (":\\", ":/")


def _label(area: Area) -> str:
    if area.name not in ("", "[heap]") and area.kind != "stack":
        return area.name
    return _NAMELESS.get(area.kind, area.kind)


def _grouped(areas: Iterable[Area], key: Callable[[Area], tuple[str, str]]) -> list[Group]:
    found: dict[tuple[str, str], Group] = {}
    for area in areas:
        kind_and_name = key(area)
        group = found.get(kind_and_name)
        if group is None:
            group = found[kind_and_name] = Group(area.kind, kind_and_name[1])
        group.add(area)
    return sorted(found.values(), key=lambda group: (not group.memory, -group.memory, -group.size, group.name))
