"""``show FILE``: what any minidump or core holds."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from datetime import UTC, datetime

from ..enums import MemoryState, MemoryType
from . import faults, names, text
from .areas import of_dump
from .console import Exit, put_json, say
from .dumpfile import read_dump
from .dumpmodel import DumpFile
from .options import add_html, check_html
from .regions import SHOWN, put_areas, size_or_dash
from .screen import Column, Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from .dumpmodel import Failure, Module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument("file", metavar="FILE", help="a minidump or a core; - for standard input")
    parser.add_argument("-a", "--all", action="store_true", help="list everything, and every region")
    add_html(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the file; status 1 if a part of it is damaged."""
    check_html(args)
    dump = read_dump(0 if args.file == "-" else args.file)
    if args.html is not None:
        from . import picture  # it is not small

        picture.put(args.html, args.file, of_dump(dump))
        if args.html != "-":
            say(f"{args.html}: {text.plural(len(dump.regions), 'region')}, {text.size(dump.memory_bytes)} stored")
    if args.json:
        put_json(to_json(dump))
    elif args.html is None:
        show(dump, args.file, everything=args.all)
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


def show(dump: DumpFile, path: str, *, everything: bool = False) -> None:
    """Print the content as text; everything: long lists as a whole, and every region."""
    _Shown(dump, everything).put(path)


def _failure(failure: Failure) -> str:
    """``SIGSEGV / SEGV_MAPERR at 0x10 in thread 5: ...``."""
    words = f"{failure.name} ({failure.code:#x})" if failure.name else f"code {failure.code:#x}"
    if failure.faulted:
        words += f" at {failure.address:#x}"
    words += f" in thread {failure.thread}"
    if failure.instruction_pointer not in (None, failure.address):
        words += f", instruction {failure.instruction_pointer:#x}"
    return f"{words}: {failure.details}" if failure.details else words


class _Shown:
    """Writes a dump to the screen."""

    def __init__(self, dump: DumpFile, everything: bool) -> None:
        self.dump = dump
        self.everything = everything
        self.screen: Screen = Screen()

    def put(self, path: str) -> None:
        """Write all of it."""
        self._summary(path)
        self._crashpad()
        self._streams()
        self._threads()
        self._modules()
        self._regions()
        self._gaps()
        self._handles()
        self._texts()

    def _summary(self, path: str) -> None:
        dump, named = self.dump, self.screen.named
        named(path, f"{text.size(dump.file_bytes)}, written {_when(dump.timestamp)}, flags {dump.flags:#x}")
        if dump.system is not None:
            system = dump.system
            words = [system.platform, system.version, system.processor, text.plural(system.processors, "processor")]
            if not dump.streams:  # a core does not say
                del words[1::2]
            named("System", ", ".join(words))
            for line in filter(None, (system.text, dump.distribution)):
                self.screen.line(f"        {line}")
        if dump.process_id is not None:
            named("Process", f"{dump.process_id}{f' ({dump.process_name})' if dump.process_name else ''}")
        if dump.command_line:
            named("Command", shlex.join(dump.command_line))
        for comment in dump.comments:
            named("Comment", comment)
        for failure in dump.failures:
            named("Exception", _failure(failure), "" if failure.code == faults.DUMP_REQUESTED else "red")
        if dump.requesting_thread is not None:
            named("Requested", f"by thread {dump.requesting_thread}")
        if dump.assertion is not None:
            assertion = dump.assertion
            place = f"{assertion.function or '?'}, {assertion.file or '?'}:{assertion.line}"
            named("Assertion", f"{assertion.expression} in {place}", "red")
        if dump.crashpad is not None and dump.crashpad.report_id:
            client = f", client {dump.crashpad.client_id}" if dump.crashpad.client_id else ""
            named("Report", f"{dump.crashpad.report_id}{client}")

    def _count(self, name: str, shown: int) -> str:
        """``3 threads``; of a list that was cut also how much of it follows."""
        if name not in self.dump.cut:
            return text.plural(shown, name.removesuffix("s"))
        return f"{self.dump.cut[name]:,} {name}, the first {shown:,} of them"

    def _list(self, columns: Sequence[Column], rows: Sequence[Any]) -> None:
        """A table; of a long list the beginning."""
        shown = rows if self.everything or len(rows) <= SHOWN + 1 else rows[:SHOWN]
        if rows:
            self.screen.table(columns, shown)
        self._more(len(rows) - len(shown))

    def _more(self, count: int) -> None:
        if count:
            self.screen.line(f"and {count:,} more: --all lists them", "dim")

    def _crashpad(self) -> None:
        """Annotations of the process first, then those of its modules."""
        dump = self.dump
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
            self.screen.heading(self._count("annotations", len(rows)))
            columns = [
                Column("module", lambda row: row[0], elide=True, drop=1),
                Column("key", lambda row: row[1], elide=True),
                Column("value", lambda row: row[2], elide=True),
            ]
            self._list(columns, rows)

    def _streams(self) -> None:
        dump = self.dump
        if not dump.streams:
            return
        self.screen.heading(text.plural(len(dump.streams), "stream"))
        columns = [
            Column("name", lambda stream: names.stream_name(stream.type)),
            Column("bytes", lambda stream: f"{stream.size:,}", right=True),
            Column("offset", lambda stream: f"{stream.rva:#x}", right=True, drop=1),
        ]
        self._list(columns, dump.streams)

    def _threads(self) -> None:
        dump = self.dump
        self.screen.heading(self._count("threads", len(dump.threads)))
        failed = {failure.thread for failure in dump.failures if failure.code != faults.DUMP_REQUESTED}
        # Those that failed first: they are what a dump is opened for.
        rows = sorted(dump.threads, key=lambda thread: thread.id not in failed) if failed else dump.threads
        columns = [
            Column("id", lambda row: str(row.id), right=True, style=lambda row: "red" if row.id in failed else ""),
            Column("instruction", lambda row: _pointer(row.instruction_pointer), right=True, drop=2),
            Column("stack pointer", lambda row: _pointer(row.stack_pointer), right=True, drop=3),
            Column("stack bytes", lambda row: text.size(row.stack_size), right=True, drop=1),
            Column("name", lambda row: row.name, elide=True),
        ]
        self._list(columns, rows)

    def _modules(self) -> None:
        dump = self.dump
        self.screen.heading(self._count("modules", len(dump.modules)))
        # All of them in the order of the file; of a long list the program, which is first, and the largest.
        rows: Sequence[Module] = dump.modules
        if not self.everything and len(rows) > SHOWN + 1:
            rows = [rows[0], *sorted(rows[1:], key=lambda module: -module.size)]
        columns = [
            Column("base", lambda module: f"{module.base:#x}", right=True, drop=1),
            Column("size", lambda module: text.size(module.size), right=True, drop=2),
            Column("path", lambda module: module.path, elide=True),
            Column("identity", lambda module: module.identity, drop=3),
        ]
        self._list(columns, rows)

    def _regions(self) -> None:
        dump = self.dump
        ranges = text.plural(dump.memory_ranges, "range")
        count = self._count("regions", len(dump.regions))
        self.screen.heading(f"{count}, {text.size(dump.memory_bytes)} stored in {ranges}")
        if not dump.regions:
            return
        if not self.everything:
            put_areas(self.screen, of_dump(dump), everything=False, file=True)
            return
        columns = [
            Column("base", lambda region: f"{region.base:#x}", right=True),
            Column("size", lambda region: text.size(region.size), right=True, drop=1),
            Column("stored", lambda region: size_or_dash(region.stored), right=True),
            Column("state", lambda region: names.flags(MemoryState, region.state), drop=3),
            Column("access", lambda region: names.protection(region.protect), drop=2),
            Column("type", lambda region: names.flags(MemoryType, region.type), drop=4),
            Column("name", lambda region: region.name, elide=True),
        ]
        self.screen.table(columns, dump.regions)

    def _gaps(self) -> None:
        dump = self.dump
        if not dump.gaps:
            return
        self.screen.heading(f"{self._count('gaps', len(dump.gaps))}: bytes that are mapped and not in the dump")
        columns = [
            Column("address", lambda gap: f"{gap.address:#x}", right=True),
            Column("size", lambda gap: text.size(gap.size), right=True),
            Column("reason", lambda gap: names.GAP_REASONS.get(gap.reason, str(gap.reason)), elide=True),
            Column("errno", lambda gap: str(gap.errno or ""), right=True, drop=1),
        ]
        self._list(columns, dump.gaps)

    def _handles(self) -> None:
        dump = self.dump
        if not dump.handles:
            return
        self.screen.heading(self._count("handles", len(dump.handles)))
        if dump.system is not None and dump.system.platform_id in faults.LINUX:
            columns = [
                Column("descriptor", lambda item: str(item.handle), right=True),
                Column("type", lambda item: item.type, drop=1),
                Column("mode", lambda item: f"{item.attributes:o}", right=True, drop=4),
                Column("flags", lambda item: f"{item.access:o}", right=True, drop=3),
                Column("offset", lambda item: f"{item.pointers << 32 | item.handles:,}", right=True, drop=2),
                Column("target", lambda item: item.name, elide=True),
            ]
        else:
            columns = [
                Column("handle", lambda item: f"{item.handle:#x}", right=True),
                Column("type", lambda item: item.type, drop=1),
                Column("access", lambda item: f"{item.access:#x}", right=True, drop=2),
                Column("attributes", lambda item: f"{item.attributes:#x}", right=True, drop=3),
                Column("handles", lambda item: f"{item.handles:,}", right=True, drop=4),
                Column("pointers", lambda item: f"{item.pointers:,}", right=True, drop=5),
                Column("name", lambda item: item.name, elide=True),
            ]
        self._list(columns, dump.handles)

    def _texts(self) -> None:
        """Of Linux, and streams that only their writer knows."""
        dump = self.dump
        if dump.limits:
            self.screen.heading(self._count("limits", len(dump.limits)))
            columns = [
                Column("limit", lambda item: item.name, elide=True),
                Column("soft", lambda item: item.soft, right=True),
                Column("hard", lambda item: item.hard, right=True, drop=2),
                Column("unit", lambda item: item.unit, drop=1),
            ]
            self._list(columns, dump.limits)
        if dump.auxv:
            self.screen.heading(text.plural(len(dump.auxv), "auxiliary value"))
            columns = [
                Column("name", lambda item: item.name),
                Column("value", lambda item: f"{item.value:#x}", right=True),
            ]
            self._list(columns, dump.auxv)
        if dump.environ:
            what = text.plural(len(dump.environ), "variable of the environment", "variables of the environment")
            self._lines(what, dump.environ)
        if dump.soft_errors:
            errors = [error if isinstance(error, str) else json.dumps(error) for error in dump.soft_errors]
            self._lines(text.plural(len(errors), "soft error"), errors)
        if dump.user_streams:
            self.screen.heading(text.plural(len(dump.user_streams), "unknown stream"))
            columns = [
                Column("number", lambda item: names.stream_name(item.type)),
                Column("bytes", lambda item: f"{item.size:,}", right=True),
                Column("beginning", lambda item: item.beginning, elide=True),
            ]
            self._list(columns, dump.user_streams)

    def _lines(self, heading: str, lines: Sequence[str]) -> None:
        self.screen.heading(heading)
        shown = lines if self.everything or len(lines) <= SHOWN + 1 else lines[:SHOWN]
        for line in shown:
            self.screen.line(line)
        self._more(len(lines) - len(shown))


def _pointer(value: int | None) -> str:
    return "" if value is None else f"{value:#x}"
