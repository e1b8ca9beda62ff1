"""Tables of a report: its regions, and what each rule decided."""

from __future__ import annotations

from ..enums import Kind, MemoryType
from . import names, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from ..report._report import DumpReport, RuleBytes


def _bytes(number: int) -> str:
    return text.size(number) if number else "-"


def put_regions(out: TextIO, report: DumpReport) -> None:
    """Write one line for each mapping: what it is, and how much of it is kept and takes room in the file."""
    rows = [
        (
            f"{region.base:#x}",
            text.size(region.size),
            _bytes(region.kept),
            _bytes(region.stored),
            region.verdict,
            names.protection(region.protect),
            names.flags(MemoryType, region.type),
            names.flags(Kind, region.kinds),
            region.path,
        )
        for region in report.regions
    ]
    head = (">base", ">size", ">kept", ">stored", "verdict", "access", "type", "kind", "name")
    text.table(out, head, rows)


def rule_name(rule: RuleBytes) -> str:
    """How a rule is called in a table."""
    if rule.index is None:
        return f"default ({rule.action})"
    return f"{rule.index}: {rule.label or rule.action}"


def put_rules(out: TextIO, report: DumpReport) -> None:
    """Write one line for each rule: the bytes it kept and left out. Every byte counts for one rule."""
    rows = [(rule_name(rule), _bytes(rule.kept), _bytes(rule.excluded)) for rule in report.rules]
    text.table(out, ("rule", ">kept", ">left out"), rows)


def totals(report: DumpReport) -> str:
    """One line: what the file holds."""
    ranges = text.plural(report.memory64_ranges or report.memory_ranges, "range")
    return (
        f"{text.size(report.memory_bytes)} of memory in {ranges}, "
        f"{text.size(report.zero_bytes)} of it zeros not stored in the file; file {text.size(report.file_bytes)}"
    )
