"""``filter IN... -o OUT``: write dumps of cores and of existing minidumps, through a filter."""

from __future__ import annotations

import argparse
import glob
import os
import sys

from .. import _options
from .._naming import is_template
from ..dumping import write_dump
from ..errors import DumpError
from ..files import AnyFile
from . import text
from .console import Exit, UsageError, put_json, say
from .dump import say_warnings, summary
from .options import (
    about,
    add_about,
    add_budget,
    add_core,
    add_filter,
    add_output,
    bytes_above_0,
    dump_type,
    file_options,
    filter_of,
)
from .progress import ProgressLine
from .wording import in_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_STDIN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument(
        "inputs",
        metavar="IN",
        nargs="+",
        help="a core or a minidump, by its content, also a compressed one, a FIFO or a URL; - for stdin; several, or "
        "patterns such as 'dumps/*.dmp', with -o DIR",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the dump; - for stdout; for several a directory, which is made if it is not there (DIR/ also for one), "
        "or a template such as 'out/{name}-{time}.dmp.zst'; "
        "default: beside IN, core.1 as core.1.dmp and app.dmp as app.filtered.dmp",
    )
    add_filter(parser)
    parser.add_argument(
        "--type",
        metavar="TYPE",
        type=dump_type,
        help="normal, heap, full and the like, names of MINIDUMP_TYPE bits, joined by +, or a number "
        "(default: all that the input has)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each input on stdout")
    parser.add_argument("--jobs", metavar="N", type=jobs, help="how many inputs are in work at a time")
    add_core(parser)
    parser.add_argument(
        "--max-input",
        metavar="SIZE",
        type=bytes_above_0,
        help="largest input that is unpacked or copied, such as 8GiB (default: 64 GiB, and 1 GiB stays free)",
    )
    parser.add_argument(
        "--unknown-streams",
        choices=("drop", "keep"),
        default="drop",
        help="streams of a minidump whose layout is not known (default: %(default)s)",
    )
    add_about(parser)
    add_output(parser)
    add_budget(parser)
    parser.add_argument("--fsync", action="store_true", help="flush to the disk before a dump counts as written")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def jobs(word: str) -> int:
    """Read ``--jobs``."""
    if not word.isdecimal() or not 0 < int(word) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of jobs; give a number above 0")
    return int(word)


def run(args: argparse.Namespace) -> int:
    """Filter; status 3 if something is missing of a dump, 1 if one was not written."""
    names = list(_inputs(args.inputs))
    many = len(names) > 1 or args.inputs[0] not in (_STDIN, names[0])
    if args.output is None:
        args.output = _beside(names[0], many)
    to_folder = many or args.output.endswith(("/", os.sep)) or os.path.isdir(args.output) or is_template(args.output)  # noqa: PTH112
    options = {name: value for name, value in vars(args).items() if name in _options.DumpOptions._names}
    options |= {"filter": filter_of(args)} | about(args)
    try:
        if args.output == _STDIN:
            if many:
                raise UsageError("several inputs need a directory: give -o DIR")
            return _one(names[0], _STDIN, args, options)
        if to_folder:
            if _STDIN in names:
                raise UsageError("stdin has no name: give -o FILE")
            return _many(names, args, options)
        return _one(names[0], args.output, args, options)
    except ValueError as error:
        if isinstance(error, DumpError):
            raise
        raise UsageError(str(error)) from error


def _inputs(words: list[str]) -> Iterator[str]:
    """The names, with patterns replaced by what they match; a name that is there is no pattern."""
    for word in words:
        if word == _STDIN or "://" in word or not glob.has_magic(word) or os.path.lexists(word):
            yield word
            continue
        # `**` matches directories too
        found = sorted(name for name in glob.glob(word, recursive=True) if not os.path.isdir(name))  # noqa: PTH112, PTH207
        if not found:
            raise UsageError(f"{word}: no file matches")
        yield from found


def _beside(name: str, many: bool) -> str:
    """Where the dump of an input goes if nothing is said: never onto the input."""
    from ..batch import dump_name

    if many or name == _STDIN or "://" in name:
        raise UsageError(f"give {'-o DIR for several inputs' if many else '-o FILE'}")
    stem, suffix = dump_name(name)
    place = os.path.join(os.path.dirname(name), stem + suffix)  # noqa: PTH118, PTH120
    return os.path.splitext(place)[0] + ".filtered" + suffix if place == name else place  # noqa: PTH122


def _one(name: str, output: str, args: argparse.Namespace, options: dict[str, Any]) -> int:
    to_stdout = output == _STDIN
    if to_stdout and args.json:
        raise UsageError("--json and -o - both want stdout; give the dump a file")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("a dump cannot be written to a terminal; give -o FILE, or redirect stdout")
    source = stdin_or(name, args)
    with ProgressLine(sys.stderr, quiet=args.quiet) as line:
        file = 1 if to_stdout else output
        report = write_dump(source, file, **options, progress=line if line.active else None)
    if not args.quiet:
        say(summary(report, "the dump on stdout" if to_stdout else output, live=False))
        say_warnings(report)
    if args.json:
        put_json(report.to_dict())
    return Exit.OK if report.complete else Exit.GAPS


def stdin_or(name: str, args: argparse.Namespace) -> AnyFile:
    """The file, or stdin."""
    if name != _STDIN:
        return AnyFile(name, **file_options(args))
    if sys.stdin is None:
        raise UsageError("stdin is closed: redirect it, or give a file")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal: redirect it, or give a file")
    return AnyFile(0, **file_options(args))


def _many(names: list[str], args: argparse.Namespace, options: dict[str, Any]) -> int:
    from ..batch import filter_many
    from . import describe

    status, count = Exit.OK, {Exit.OK: 0, Exit.GAPS: 0, Exit.ERROR: 0}
    for done in filter_many(names, args.output, jobs=args.jobs, **file_options(args), **options):
        if done.report is None:
            assert done.error is not None
            each = Exit.ERROR
            message = in_options(describe(done.error))
            say(message if done.source in message else f"{done.source}: {message}")
        else:
            each = Exit.OK if done.report.complete else Exit.GAPS
            if not args.quiet:
                say(f"{done.source} -> {summary(done.report, str(done.destination), live=False)}")
                say_warnings(done.report)
        if args.json:
            put_json(
                {
                    "source": done.source,
                    "destination": None if done.destination is None else os.fspath(done.destination),
                    "error": None if done.error is None else describe(done.error),
                    "report": None if done.report is None else done.report.to_dict(),
                }
            )
        count[each] += 1
        status = each if status != Exit.ERROR and each != Exit.OK else status
    if len(names) > 1 and not args.quiet:
        say(
            f"{text.plural(count[Exit.OK], 'dump')} complete, {count[Exit.GAPS]:,} not complete, "
            f"{text.plural(count[Exit.ERROR], 'error')}"
        )
    return status
