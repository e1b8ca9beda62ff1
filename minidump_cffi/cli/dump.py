"""``dump PID -o FILE``: write a minidump of a live process."""

from __future__ import annotations

import argparse
import os
import stat
import sys

from .._naming import expand, is_template
from .._options import DumpOptions
from .._os.sinks_common import sink_error
from .._packing import SUFFIXES
from ..causes import SignalInfo
from ..dumping import write_dump
from ..engines import DbgHelp
from ..enums import DumpWarning, GapReason, Phase, ThreadFlags
from ..errors import DumpError
from ..filters import Filter
from ..targets import name_values, resolve
from . import text
from .console import PROGRAM, Exit, UsageError, put_json, say
from .options import about, add_about, add_target, address, given, number, process_id, signal_number
from .processes import process
from .progress import ProgressLine
from .wording import in_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..report._report import DumpReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    add_target(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="the dump, compressed if the name ends in .gz or .zst; a URL; a template such as "
        "'{host}-{name}-{pid}-{time}.dmp'; - for stdout",
    )
    parser.add_argument(
        "--plugin", metavar="LIB", help="a shared library that decides instead of a filter: MiniDumpCallbackRoutine"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "native", "dbghelp"),
        default="auto",
        help="the engine: this package's, or Windows' dbghelp; auto is dbghelp on Windows, unless variables are hidden "
        "(default: %(default)s)",
    )
    parser.add_argument("--snapshot", action="store_true", help="dbghelp: dump a snapshot of the process")
    parser.add_argument(
        "--stop",
        choices=("whole", "memory", "snapshot"),
        default="whole",
        help="how long the process is stopped: until all is written, copied to memory, or until a copy-on-write "
        "snapshot of it is made (default: %(default)s)",
    )
    parser.add_argument(
        "--on-limit",
        choices=("fail", "truncate"),
        default="fail",
        help="when --max-stop has passed: write no dump, or one with what was copied by then, most useful memory first "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--dbghelp", metavar="DLL", help="dbghelp: path of a dbghelp.dll to use instead of the system's"
    )
    add_about(parser)
    crash = parser.add_argument_group("why it is taken (Linux)")
    crash.add_argument("--thread", metavar="TID", type=process_id, help="the thread to blame (default: the main one)")
    crash.add_argument("--signal", metavar="SIG", type=signal_number, help="its signal, such as SIGSEGV, or a number")
    crash.add_argument("--code", metavar="N", type=number, help="si_code of the signal")
    crash.add_argument("--fault-address", metavar="ADDRESS", type=address, help="the address that faulted, si_addr")
    crash.add_argument(
        "--ucontext", metavar="ADDRESS", type=address, help="address in the process of the handler's ucontext_t"
    )
    crash.add_argument(
        "--siginfo", metavar="ADDRESS", type=address, help="address in the process of the handler's siginfo_t"
    )
    parser.add_argument("--fsync", action="store_true", help="flush to the disk before the dump counts as written")
    parser.add_argument(
        "--no-environment",
        action="store_true",
        help="overwrite the environment of the process, in its stream and in its memory",
    )
    parser.add_argument(
        "--no-spool",
        action="store_true",
        help="with -o - into a pipe: write while the process is stopped, for as long as the reader takes",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


class Stdout:
    """Standard output as an object with ``write()``: it gets a dump when the process runs again."""

    def write(self, data: memoryview) -> None:
        """Write all of it."""
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError as error:
            raise sink_error(error, "write to", "stdout", Phase.FINISH) from error


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def run(args: argparse.Namespace) -> int:
    """Dump; status 3 if memory, registers or stacks that were asked for are missing."""
    to_stdout = args.output == "-"
    if to_stdout and args.json:
        raise UsageError("--json and -o - both want stdout; give the dump a file")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("a dump cannot be written to a terminal; give -o FILE, or redirect stdout")
    if args.plugin is not None and args.filters is not None:
        raise UsageError("--plugin and a filter exclude each other: give one of them")
    if sys.platform == "win32" and cause(args, 0) is not None:
        raise UsageError("--signal and what belongs to it are for Linux processes")
    if args.engine == "native" and (args.snapshot or args.dbghelp is not None):
        raise UsageError("--snapshot and --dbghelp are for --engine dbghelp")
    dbghelp = [name for name in ("--snapshot", "--dbghelp") if getattr(args, name.removeprefix("--"))]
    if sys.platform != "win32" and (dbghelp or args.engine == "dbghelp"):
        raise UsageError(f"{'--engine dbghelp' if not dbghelp else dbghelp[0]} is for Windows, whose engine that is")
    if args.no_spool and not to_stdout:
        raise UsageError("--no-spool is for -o -")
    if args.plugin is not None and args.no_environment:
        raise UsageError("--no-environment is for filters: a plug-in decides by itself")
    args.pid = process(args.process)
    if is_template(args.output):
        try:
            args.output = expand(args.output, name_values(resolve(args.pid)))
        except ValueError as error:
            raise UsageError(f"-o: {error}") from error
    options = given(args, DumpOptions) | {"exception": cause(args, args.pid)}
    if args.no_environment:
        without = Filter(streams={"exclude": "environ"})
        options["filter"] = without if options["filter"] is None else options["filter"] | without
    options |= about(args)
    if args.plugin is not None:
        from ..plugins import Plugin

        options["callback"] = Plugin(args.plugin)
    with ProgressLine(sys.stderr, quiet=args.quiet) as line:
        try:
            if args.snapshot or args.dbghelp is not None:
                options["engine"] = DbgHelp(path=args.dbghelp, snapshot=args.snapshot)
            output: Any = args.output
            if to_stdout:
                output = Stdout() if _is_pipe(1) and not args.no_spool else 1
            if isinstance(output, Stdout) and args.untouched == "auto":
                options["untouched"] = "omit"  # as in a pipe: holes would be sent as zeros
            report = write_dump(args.pid, output, **options, progress=line if line.active else None)
        except ValueError as error:  # what goes together is up to the engine
            if isinstance(error, DumpError):
                raise
            raise UsageError(str(error)) from error
    if not args.quiet:
        say(summary(report, "the dump on stdout" if to_stdout else args.output))
        say_warnings(report)
        if options["filter"] is None and args.plugin is None and sys.platform != "win32":
            say(
                "it holds stacks and the environment, with the secrets in them: --preset no-secrets overwrites what is "
                "known to be one, --no-environment the environment"
            )
    if args.json:
        put_json(report.to_dict())
    return Exit.OK if report.complete else Exit.GAPS


def cause(args: argparse.Namespace, pid: int) -> SignalInfo | None:
    """What the arguments say of a signal; None if they say nothing."""
    members = {
        "tid": args.thread,
        "signal": args.signal,
        "code": args.code,
        "address": args.fault_address,
        "ucontext": args.ucontext,
        "siginfo": args.siginfo,
    }
    found = {name: value for name, value in members.items() if value is not None}
    try:
        return SignalInfo(**{"tid": pid} | found) if found else None
    except ValueError as error:
        raise UsageError(str(error)) from error


def summary(report: DumpReport, name: str, *, live: bool = True) -> str:
    """One line about a dump that was written, of a live process or of a file."""
    kept = sum(1 for region in report.regions if region.kept)
    packed = _packed_size(report.path)
    words = [
        f"{name}: {text.size(report.file_bytes)}{'' if packed is None else f', compressed {text.size(packed)}'}",
        f"{text.size(report.memory_bytes)} of memory in {text.plural(kept, 'region')}",
        text.plural(sum(1 for thread in report.threads if not thread.flags & ThreadFlags.EXCLUDED), "thread"),
        f"stopped for {text.span(report.stop_time)} of {text.span(report.total)}" if live else text.span(report.total),
    ]
    if not report.complete:
        words.append(f"NOT COMPLETE: {missing(report)}")
    return ", ".join(words)


def _packed_size(path: str | None) -> int | None:
    """How large a compressed dump is."""
    if path is None or not path.lower().endswith(SUFFIXES):
        return None
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return None


def missing(report: DumpReport) -> str:
    """What is missing of a dump that is not complete."""
    words = []
    if report.warnings & DumpWarning.TRUNCATED:
        lost = sum(gap.size for gap in report.missing if gap.reason is GapReason.TRUNCATED)
        words.append(f"{text.size(lost)} not reached within --max-stop")
    if report.over_budget:
        words.append(f"{text.size(report.over_budget)} over the budget")
    if report.missing:
        words.append(f"{text.plural(len(report.missing), 'gap')}; `{PROGRAM} show` lists them")
    if report.threads_without_registers:
        words.append(f"{text.plural(len(report.threads_without_registers), 'thread')} without registers")
    if report.warnings & DumpWarning.CUT:
        words.append("lists of a core that was cut")
    return ", ".join(words)


def say_warnings(report: DumpReport) -> None:
    """Say on stderr what a reader of the dump should know."""
    for message in report.messages:
        say(f"warning: {in_options(message)}", "yellow")
