"""``show FILE``: what any minidump holds."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from ..enums import MemoryState, MemoryType
from . import names, text
from .console import Exit, put_json, say
from .dumpfile import DumpFile, read_dump


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "show",
        help="print what a minidump holds",
        description="Print header, streams, threads, modules, regions and bytes of a minidump of any platform.",
    )
    parser.add_argument("file", metavar="FILE", help="the minidump")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the file; status 1 if a part of it is damaged."""
    dump = read_dump(args.file)
    if args.json:
        put_json(to_json(dump))
    else:
        show(dump, args.file)
    for problem in dump.problems:
        say(f"{args.file}: {problem}")
    return Exit.ERROR if dump.problems else Exit.OK


def _when(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def to_json(dump: DumpFile) -> dict[str, Any]:
    """Return the content as plain values; addresses are integers."""
    system = dump.system
    return {
        "file_bytes": dump.file_bytes,
        "version": dump.version,
        "timestamp": dump.timestamp,
        "flags": dump.flags,
        "process_id": dump.process_id,
        "system": None if system is None else vars(system),
        "streams": [{"name": names.stream_name(stream.type), **vars(stream)} for stream in dump.streams],
        "threads": [vars(thread) for thread in dump.threads],
        "modules": [vars(module) for module in dump.modules],
        "regions": [vars(region) for region in dump.regions],
        "gaps": [vars(gap) for gap in dump.gaps],
        "exceptions": [vars(failure) for failure in dump.failures],
        "memory_ranges": dump.memory_ranges,
        "memory_bytes": dump.memory_bytes,
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


def _streams(dump: DumpFile) -> None:
    _heading(text.plural(len(dump.streams), "stream"))
    rows = [(names.stream_name(stream.type), f"{stream.size:,}", f"{stream.rva:#x}") for stream in dump.streams]
    text.table(sys.stdout, ("name", ">bytes", ">offset"), rows)


def _threads(dump: DumpFile) -> None:
    _heading(text.plural(len(dump.threads), "thread"))
    rows = [
        (
            str(thread.id),
            "" if thread.instruction_pointer is None else f"{thread.instruction_pointer:#x}",
            "" if thread.stack_pointer is None else f"{thread.stack_pointer:#x}",
            text.size(thread.stack_size),
            thread.name,
        )
        for thread in dump.threads
    ]
    if rows:
        text.table(sys.stdout, (">id", ">instruction", ">stack pointer", ">stack bytes", "name"), rows)


def _modules(dump: DumpFile) -> None:
    _heading(text.plural(len(dump.modules), "module"))
    rows = [(f"{module.base:#x}", text.size(module.size), module.path, module.identity) for module in dump.modules]
    if rows:
        text.table(sys.stdout, (">base", ">size", "path", "identity"), rows)


def _regions(dump: DumpFile) -> None:
    ranges = text.plural(dump.memory_ranges, "range")
    _heading(f"{text.plural(len(dump.regions), 'region')}, {text.size(dump.memory_bytes)} stored in {ranges}")
    rows = [
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
    ]
    if rows:
        text.table(sys.stdout, (">base", ">size", ">stored", "state", "access", "type", "name"), rows)


def _gaps(dump: DumpFile) -> None:
    if not dump.gaps:
        return
    _heading(f"{text.plural(len(dump.gaps), 'gap')}: bytes that were wanted and could not be had")
    rows = [
        (
            f"{gap.address:#x}",
            text.size(gap.size),
            names.GAP_REASONS.get(gap.reason, str(gap.reason)),
            str(gap.errno or ""),
        )
        for gap in dump.gaps
    ]
    text.table(sys.stdout, (">address", ">size", "reason", ">errno"), rows)
