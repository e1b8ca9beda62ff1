"""Reports as dicts, lists, texts and numbers, ready for JSON."""

from __future__ import annotations

from ..enums import GapReason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._report import DumpReport

SCHEMA = 1
"""Number of the form of `DumpReport.to_dict`."""


def of(report: DumpReport) -> dict[str, Any]:
    """What `DumpReport.to_dict` returns."""
    return {
        "schema": SCHEMA,
        "path": report.path,
        "host": report.host,
        "started": report.started,
        "annotations": dict(report.annotations),
        "comment": report.comment,
        "pid": report.pid,
        "engine": report.engine,
        "type": _flags(report.type) or ["normal"],
        "honoured": _flags(report.honoured) or ["normal"],
        "planned": report.planned,
        "complete": report.complete,
        "file_bytes": report.file_bytes,
        "memory_bytes": report.memory_bytes,
        "stored_bytes": report.stored_bytes,
        "zero_bytes": report.zero_bytes,
        "left_to_file": report.left_to_file,
        "late_bytes": report.late_bytes,
        "over_budget": report.over_budget,
        "filtered_bytes": report.filtered_bytes,
        "cut_bytes": report.cut_bytes,
        "memory_ranges": report.memory_ranges,
        "memory64_ranges": report.memory64_ranges,
        "memory_info_count": report.memory_info_count,
        "streams": report.streams,
        "omitted_streams": _flags(report.omitted_streams),
        "dropped_streams": list(report.dropped_streams),
        "stop": report.stop,
        "stop_seconds": report.stop_time,
        "total_seconds": report.total,
        "handed_on_seconds": report.handed_on,
        "warnings": _flags(report.warnings),
        "messages": list(report.messages),
        "callbacks": {member.name.lower(): count for member, count in report.callbacks.items()},
        "rules": [_values(rule) for rule in report.rules],
        "redaction": None if report.redaction is None else _values(report.redaction),
        "threads": [_plain(thread) for thread in report.threads],
        "modules": [_plain(module) for module in report.modules],
        "regions": [_plain(region) | {"verdict": region.verdict} for region in report.regions],
        "gaps": [_plain(gap) for gap in report.gaps],
    }


def _flags(value: Any) -> list[str]:
    return [str(member.name).lower() for member in value.__class__ if member.value and member & value]


def _values(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item._fields}


def _plain(item: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in _values(item).items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        elif isinstance(value, GapReason):
            value = value.name.lower()
        elif hasattr(value, "value"):
            value = _flags(value)
        plain[name] = value
    return plain
