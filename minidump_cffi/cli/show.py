"""``show FILE``: what any minidump or core holds."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime

from ..enums import MemoryState, MemoryType
from . import faults, names, text
from .console import Exit, put_json, say
from .dumpfile import read_dump
from .dumpmodel import DumpFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from .dumpmodel import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument("file", metavar="FILE", help="a minidump or a core; - for standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the file; status 1 if a part of it is damaged."""
    dump = read_dump(0 if args.file == "-" else args.file)
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
        "process_name": dump.process_name,
        "command_line": dump.command_line,
        "distribution": dump.distribution,
        "comments": dump.comments,
        "system": None if system is None else _values(system),
        "streams": ({"name": names.stream_name(stream.type), **_values(stream)} for stream in dump.streams),
        "threads": map(_values, dump.threads),
        "modules": map(_values, dump.modules),
        "regions": map(_values, dump.regions),
        "gaps": map(_values, dump.gaps),
        "exceptions": map(_values, dump.failures),
        "requesting_thread": dump.requesting_thread,
        "assertion": None if dump.assertion is None else _values(dump.assertion),
        "handles": map(_values, dump.handles),
        "crashpad": None if dump.crashpad is None else asdict(dump.crashpad),
        "environ": iter(dump.environ),
        "auxv": map(_values, dump.auxv),
        "limits": map(_values, dump.limits),
        "soft_errors": dump.soft_errors,
        "user_streams": map(_values, dump.user_streams),
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
        if not dump.streams:  # a core does not say
            del words[1::2]
        out.write(f"System: {', '.join(words)}\n")
        for line in filter(None, (system.text, dump.distribution)):
            out.write(f"        {text.printable(line)}\n")
    if dump.process_id is not None:
        name = f" ({text.printable(dump.process_name)})" if dump.process_name else ""
        out.write(f"Process: {dump.process_id}{name}\n")
    if dump.command_line:
        out.write(f"Command: {text.printable(shlex.join(dump.command_line))}\n")
    for comment in dump.comments:
        out.write(f"Comment: {text.printable(comment)}\n")
    for failure in dump.failures:
        out.write(f"Exception: {_failure(failure)}\n")
    if dump.requesting_thread is not None:
        out.write(f"Requested: by thread {dump.requesting_thread}\n")
    if dump.assertion is not None:
        assertion = dump.assertion
        place = f"{assertion.function or '?'}, {assertion.file or '?'}:{assertion.line}"
        out.write(f"Assertion: {text.printable(f'{assertion.expression} in {place}')}\n")
    if dump.crashpad is not None and dump.crashpad.report_id:
        client = f", client {dump.crashpad.client_id}" if dump.crashpad.client_id else ""
        out.write(f"Report: {dump.crashpad.report_id}{client}\n")
    _crashpad(dump)
    _streams(dump)
    _threads(dump)
    _modules(dump)
    _regions(dump)
    _gaps(dump)
    _handles(dump)
    _texts(dump)


def _failure(failure: Failure) -> str:
    """``SIGSEGV / SEGV_MAPERR at 0x10 in thread 5: ...``."""
    words = f"{failure.name} ({failure.code:#x})" if failure.name else f"code {failure.code:#x}"
    if failure.faulted:
        words += f" at {failure.address:#x}"
    words += f" in thread {failure.thread}"
    if failure.instruction_pointer not in (None, failure.address):
        words += f", instruction {failure.instruction_pointer:#x}"
    return f"{words}: {text.printable(failure.details)}" if failure.details else words


def _heading(title: str) -> None:
    sys.stdout.write(f"\n{title}\n")


def _count(dump: DumpFile, name: str, shown: int) -> str:
    """``3 threads``; of a list that was cut also how much of it follows."""
    if name not in dump.cut:
        return text.plural(shown, name.removesuffix("s"))
    return f"{dump.cut[name]:,} {name}, the first {shown:,} of them"


def _crashpad(dump: DumpFile) -> None:
    """Annotations of the process first, then those of its modules."""
    if dump.crashpad is None:
        return
    crashpad = dump.crashpad
    rows = [("", *item) for item in crashpad.annotations.items()]
    for module in crashpad.modules:
        place = f"module {module.module}"
        if module.module < len(dump.modules):
            place = dump.modules[module.module].path
        rows += [(place, "", entry) for entry in module.listed]
        rows += [(place, *item) for item in module.annotations.items()]
        rows += [(place, item.name, item.value) for item in module.objects]
    if rows:
        _heading(_count(dump, "annotations", len(rows)))
        text.table(sys.stdout, ("module", "key", "value"), rows)


def _handles(dump: DumpFile) -> None:
    if not dump.handles:
        return
    linux = dump.system is not None and dump.system.platform_id in faults.LINUX
    _heading(_count(dump, "handles", len(dump.handles)))
    if linux:
        head: tuple[str, ...] = (">descriptor", "type", ">mode", ">flags", ">offset", "target")
        rows: Iterator[tuple[str, ...]] = (
            (
                str(item.handle),
                item.type,
                f"{item.attributes:o}",
                f"{item.access:o}",
                f"{item.pointers << 32 | item.handles:,}",
                item.name,
            )
            for item in dump.handles
        )
    else:
        head = (">handle", "type", ">access", ">attributes", ">handles", ">pointers", "name")
        rows = (
            (
                f"{item.handle:#x}",
                item.type,
                f"{item.access:#x}",
                f"{item.attributes:#x}",
                f"{item.handles:,}",
                f"{item.pointers:,}",
                item.name,
            )
            for item in dump.handles
        )
    text.table(sys.stdout, head, rows)


def _texts(dump: DumpFile) -> None:
    """Of Linux, and streams that only their writer knows."""
    if dump.limits:
        _heading(_count(dump, "limits", len(dump.limits)))
        limits = ((item.name, item.soft, item.hard, item.unit) for item in dump.limits)
        text.table(sys.stdout, ("limit", ">soft", ">hard", "unit"), limits)
    if dump.auxv:
        _heading(text.plural(len(dump.auxv), "auxiliary value"))
        text.table(sys.stdout, ("name", ">value"), ((item.name, f"{item.value:#x}") for item in dump.auxv))
    if dump.environ:
        _heading(text.plural(len(dump.environ), "variable of the environment", "variables of the environment"))
        for variable in dump.environ:
            sys.stdout.write(f"{text.printable(variable)}\n")
    if dump.soft_errors:
        _heading(text.plural(len(dump.soft_errors), "soft error"))
        for error in dump.soft_errors:
            sys.stdout.write(f"{text.printable(error if isinstance(error, str) else json.dumps(error))}\n")
    if dump.user_streams:
        _heading(text.plural(len(dump.user_streams), "unknown stream"))
        streams = ((names.stream_name(item.type), f"{item.size:,}", item.beginning) for item in dump.user_streams)
        text.table(sys.stdout, ("number", ">bytes", "beginning"), streams)


def _streams(dump: DumpFile) -> None:
    if not dump.streams:
        return
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
