"""``show FILE``: what any minidump holds."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from ..enums import MemoryState, MemoryType
from . import names, text
from .console import Exit, put_json, say
from .dumpfile import read_dump
from .dumpmodel import DumpFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument("file", metavar="FILE", help="the minidump")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the file; status 1 if a part of it is damaged."""
    dump = read_dump(args.file)
    if args.json:
        put_json(to_json(dump))
    else:
        show(dump, args.file)
    for name, count in dump.cut.items():
        say(f"{args.file}: {count:,} {name.replace('_', ' ')} are more than this reader takes; the rest is left out")
    for problem in dump.problems:
        say(f"{args.file}: {problem}")
    return Exit.ERROR if dump.problems else Exit.OK


def _when(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _values(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


def to_json(dump: DumpFile) -> dict[str, Any]:
    """Return the content as plain values, lists as iterators for `put_json`; addresses are integers."""
    system = dump.system
    return {
        "file_bytes": dump.file_bytes,
        "version": dump.version,
        "timestamp": dump.timestamp,
        "flags": dump.flags,
        "process_id": dump.process_id,
        "system": None if system is None else _values(system),
        "streams": ({"name": names.stream_name(stream.type), **_values(stream)} for stream in dump.streams),
        "threads": map(_values, dump.threads),
        "modules": map(_values, dump.modules),
        "regions": map(_values, dump.regions),
        "gaps": map(_values, dump.gaps),
        "exceptions": map(_values, dump.failures),
        "memory_ranges": dump.memory_ranges,
        "memory_bytes": dump.memory_bytes,
        "cut": dump.cut,
        "problems": dump.problems,
    }


def show(dump: DumpFile, path: str) -> None:
    """Print the content as text."""
    out = sys.stdout
    out.write(f"{text.printable(path)}: {text.size(dump.file_bytes)}, written {_when(dump.timestamp)}")
    out.write(f", flags {dump.flags:#x}\n")
    if dump.system is not None:
        system = dump.system
        words = [system.platform, system.version, system.processor, text.plural(system.processors, "processor")]
        out.write(f"System: {', '.join(words)}\n")
        if system.text:
            out.write(f"        {text.printable(system.text)}\n")
    if dump.process_id is not None:
        out.write(f"Process: {dump.process_id}\n")
    for failure in dump.failures:
        out.write(f"Exception: code {failure.code:#x} at {failure.address:#x} in thread {failure.thread}\n")
    _streams(dump)
    _threads(dump)
    _modules(dump)
    _regions(dump)
    _gaps(dump)


def _heading(title: str) -> None:
    sys.stdout.write(f"\n{title}\n")


def _count(dump: DumpFile, name: str, shown: int) -> str:
    """``3 threads``; of a list that was cut also how much of it follows."""
    if name not in dump.cut:
        return text.plural(shown, name.removesuffix("s"))
    return f"{dump.cut[name]:,} {name}, the first {shown:,} of them"


def _streams(dump: DumpFile) -> None:
    _heading(text.plural(len(dump.streams), "stream"))
    rows = [(names.stream_name(stream.type), f"{stream.size:,}", f"{stream.rva:#x}") for stream in dump.streams]
    text.table(sys.stdout, ("name", ">bytes", ">offset"), rows)


def _threads(dump: DumpFile) -> None:
    _heading(_count(dump, "threads", len(dump.threads)))
    rows = (
        (
            str(thread.id),
            "" if thread.instruction_pointer is None else f"{thread.instruction_pointer:#x}",
            "" if thread.stack_pointer is None else f"{thread.stack_pointer:#x}",
            text.size(thread.stack_size),
            thread.name,
        )
        for thread in dump.threads
    )
    if dump.threads:
        text.table(sys.stdout, (">id", ">instruction", ">stack pointer", ">stack bytes", "name"), rows)


def _modules(dump: DumpFile) -> None:
    _heading(_count(dump, "modules", len(dump.modules)))
    rows = ((f"{module.base:#x}", text.size(module.size), module.path, module.identity) for module in dump.modules)
    if dump.modules:
        text.table(sys.stdout, (">base", ">size", "path", "identity"), rows)


def _regions(dump: DumpFile) -> None:
    ranges = text.plural(dump.memory_ranges, "range")
    _heading(f"{_count(dump, 'regions', len(dump.regions))}, {text.size(dump.memory_bytes)} stored in {ranges}")
    rows = (
        (
            f"{region.base:#x}",
            text.size(region.size),
            text.size(region.stored) if region.stored else "-",
            names.flags(MemoryState, region.state),
            names.protection(region.protect),
            names.flags(MemoryType, region.type),
            region.name,
        )
        for region in dump.regions
    )
    if dump.regions:
        text.table(sys.stdout, (">base", ">size", ">stored", "state", "access", "type", "name"), rows)


def _gaps(dump: DumpFile) -> None:
    if not dump.gaps:
        return
    _heading(f"{_count(dump, 'gaps', len(dump.gaps))}: bytes that are mapped and not in the dump")
    rows = (
        (
            f"{gap.address:#x}",
            text.size(gap.size),
            names.GAP_REASONS.get(gap.reason, str(gap.reason)),
            str(gap.errno or ""),
        )
        for gap in dump.gaps
    )
    text.table(sys.stdout, (">address", ">size", "reason", ">errno"), rows)
