"""Tables of an address space: by kind, by file, why something was left out, region by region, rule by rule."""

from __future__ import annotations

from . import areas as areas_
from . import text
from .screen import Column, Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from ..report import DumpReport, RuleBytes
    from .areas import Area, Group

SHOWN: Final = 15
"""So many lines of a long list are shown without ``--all``."""


def size_or_dash(number: int) -> str:
    """Bytes as people read them, and a dash for none."""
    return text.size(number) if number else "-"


def put_kinds(screen: Screen, areas: Sequence[Area], *, file: bool = False) -> None:
    """Write a line for each kind, with a bar: in the file, zeros, left out. A file has no zeros that are not in it."""
    groups = areas_.by_kind(areas)
    columns = [
        Column("kind", lambda group: group.kind, style=lambda group: areas_.KINDS.get(group.kind, "")),
        Column("regions", lambda group: f"{group.areas:,}", right=True, drop=4),
        *_amounts(file),
        _bar(screen, groups),
    ]
    screen.table(columns, groups, areas_.total(groups))


def put_names(screen: Screen, areas: Sequence[Area], *, file: bool = False) -> None:
    """Write a line for each of the largest files, and for what has none."""
    groups = areas_.by_name(areas)
    columns = [
        *_amounts(file),
        Column("verdict", lambda group: group.verdict, drop=1, style=lambda group: verdict_style(group.verdict)),
        Column("kind", lambda group: group.kind, drop=5, style=lambda group: areas_.KINDS.get(group.kind, "")),
        Column("file or kind of memory", lambda group: group.name, elide=True),
    ]
    shown = groups if len(groups) <= SHOWN + 1 else groups[:SHOWN]
    screen.table(columns, shown)
    if rest := groups[len(shown) :]:
        more = areas_.total(rest)
        sizes = f"{text.size(more.size)}, of it {text.size(more.stored)} stored"
        screen.line(f"and {len(rest):,} more, {sizes}: --all lists every region", "dim")


def _amounts(file: bool) -> list[Column]:
    kept = [] if file else [Column("kept", lambda group: size_or_dash(group.kept), right=True, drop=2)]
    return [
        Column("size", lambda group: text.size(group.size), right=True, drop=3 if file else 0),
        *kept,
        Column("stored", lambda group: size_or_dash(group.stored), right=True, drop=0 if file else 3),
    ]


def _bar(screen: Screen, groups: Sequence[Group]) -> Column:
    room, most = screen.room_for_bars(), max((group.memory for group in groups), default=0)

    def cell(group: Group) -> str:
        if not room or group.kind == "total":
            return ""
        return screen.bar((group.stored, group.kept - group.stored, group.memory - group.kept), most, room)

    return Column("", cell, drop=6)


def put_left_out(screen: Screen, areas: Sequence[Area]) -> None:
    """Write why bytes are not in the dump; nothing if all are."""
    rows = areas_.by_verdict(areas)
    if not rows:
        return
    screen.heading("Not in the dump")
    columns = [
        Column("size", lambda row: text.size(row[1]), right=True),
        Column("regions", lambda row: f"{row[2]:,}", right=True, drop=1),
        Column("why", lambda row: row[0], style=lambda row: verdict_style(row[0])),
        Column("", lambda row: meaning(row[0]), elide=True, drop=2),
    ]
    screen.table(columns, rows)


def verdict_style(word: str) -> str:
    """The colour of a verdict."""
    return areas_.VERDICTS.get(word, ("", ""))[0]


def meaning(word: str) -> str:
    """A verdict in words."""
    return areas_.VERDICTS.get(word, ("", ""))[1]


def put_regions(screen: Screen, areas: Sequence[Area], *, file: bool = False) -> None:
    """Write one line for each region: what it is, and how much of it is kept and takes room in the file."""
    columns = [
        Column("base", lambda area: f"{area.base:#x}", right=True),
        Column("size", lambda area: text.size(area.size), right=True, drop=2),
        *([] if file else [Column("kept", lambda area: size_or_dash(area.kept), right=True, drop=4)]),
        Column("stored", lambda area: size_or_dash(area.stored), right=True, drop=3),
        Column("verdict", lambda area: area.verdict, drop=1, style=lambda area: verdict_style(area.verdict)),
        Column("access", lambda area: area.access, drop=5),
        Column("type", lambda area: area.type, drop=7),
        Column("kind", lambda area: area.kind, drop=6, style=lambda area: areas_.KINDS.get(area.kind, "")),
        Column("name", lambda area: area.name, elide=True),
    ]
    screen.table(columns, areas)


def put_areas(screen: Screen, areas: Sequence[Area], *, everything: bool, file: bool = False) -> None:
    """Write what is where: every region, or kinds and the largest files."""
    if everything:
        put_regions(screen, areas, file=file)
        screen.line()
    put_kinds(screen, areas, file=file)
    if not everything:
        screen.heading("Largest")
        put_names(screen, areas, file=file)


def rule_name(rule: RuleBytes) -> str:
    """How a rule is called in a table."""
    if rule.index is None:
        return f"default ({rule.action})"
    return f"{rule.index}: {rule.label or rule.action}"


def put_rules(screen: Screen, report: DumpReport) -> None:
    """Write one line for each rule: the bytes it kept and left out. Every byte counts for one rule."""
    room = screen.room_for_bars()
    most = max((rule.kept + rule.excluded for rule in report.rules), default=0)

    def bar(rule: RuleBytes) -> str:
        left_out = rule.excluded + rule.over_budget
        return screen.bar((rule.kept - rule.over_budget, 0, left_out), most, room) if room else ""

    columns = [
        Column("rule", rule_name, elide=True),
        Column("kept", lambda rule: size_or_dash(rule.kept - rule.over_budget), right=True),
        Column("left out", lambda rule: size_or_dash(rule.excluded), right=True),
    ]
    if report.over_budget:
        columns.append(Column("over budget", lambda rule: size_or_dash(rule.over_budget), right=True))
    screen.table([*columns, Column("", bar, drop=1)], report.rules)


def totals(report: DumpReport) -> str:
    """One line: what the file holds."""
    ranges = text.plural(report.memory64_ranges or report.memory_ranges, "range")
    over = f"; {text.size(report.over_budget)} more are over the budget" if report.over_budget else ""
    return (
        f"{text.size(report.memory_bytes)} of memory in {ranges}, "
        f"{text.size(report.zero_bytes)} of it zeros not stored in the file; file {text.size(report.file_bytes)}{over}"
    )
