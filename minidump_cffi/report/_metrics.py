"""The numbers of a report as metrics, with the names and units that Prometheus asks for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from ._report import DumpReport

_PREFIX: Final = "minidump_cffi_dump_"
_ALL: Final[dict[str, tuple[str, Callable[[DumpReport], float]]]] = {
    "started_timestamp_seconds": ("When the dump began, in seconds since 1970.", lambda report: report.started),
    "stop_seconds": ("How long the threads of the target were stopped.", lambda report: report.stop_time),
    "duration_seconds": ("How long the dump took, without handing it on.", lambda report: report.total),
    "handed_on_seconds": (
        "How long compressing it, sending it or writing it to an object took afterwards.",
        lambda report: report.handed_on,
    ),
    "file_bytes": ("Length of the dump before it is compressed.", lambda report: report.file_bytes),
    "memory_bytes": ("Memory of the target that the dump answers for.", lambda report: report.memory_bytes),
    "stored_bytes": ("Memory that takes room in the file.", lambda report: report.stored_bytes),
    "missing_bytes": (
        "Memory that was asked for and is missing.",
        lambda report: sum(gap.size for gap in report.missing),
    ),
    "redacted_bytes": (
        "Bytes that ranges and patterns overwrote.",
        lambda report: 0 if report.redaction is None else report.redaction.bytes,
    ),
    "threads": ("Threads of the target.", lambda report: len(report.threads)),
    "modules": ("Modules of the target.", lambda report: len(report.modules)),
    "regions": ("Mappings of the target.", lambda report: len(report.regions)),
    "warnings": ("Warnings of the report.", lambda report: len(report.messages)),
    "complete": ("1 if everything that was asked for is in the dump, else 0.", lambda report: report.complete),
}

METRICS: Final[Mapping[str, str]] = {_PREFIX + name: about for name, (about, _) in _ALL.items()}
"""What `DumpReport.metrics` returns: names and what they are, the text of HELP. All of them are of type gauge."""


def of(report: DumpReport) -> dict[str, float]:
    """The numbers of a report by the names of the metrics."""
    return {_PREFIX + name: float(value(report)) for name, (_, value) in _ALL.items()}


def text(report: DumpReport, labels: Mapping[str, str]) -> str:
    """The metrics of a report in the text format of Prometheus."""
    for name in labels:
        if not (name.isascii() and name.isidentifier()) or name.startswith("__"):
            raise ValueError(f"{name!r} cannot be the name of a label")
    shown = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    lines = []
    for name, value in of(report).items():
        lines += [f"# HELP {name} {METRICS[name]}", f"# TYPE {name} gauge"]
        lines.append(f"{name}{{{shown}}} {value!r}" if shown else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
