"""``plan PID`` or ``plan FILE``: what a dump would hold, region by region and rule by rule."""

from __future__ import annotations

import argparse
import os

from .._options import PlanOptions
from ..dumping import plan_dump
from ..errors import DumpError
from ..files import AnyFile
from .areas import of_report
from .console import Exit, UsageError, put_json, say
from .dump import say_warnings
from .options import add_core, add_html, add_what, check_html, file_options, given, process_id
from .processes import named, process
from .regions import put_areas, put_left_out, put_rules, totals
from .screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..report import DumpReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument(
        "target",
        metavar="PID|NAME|IN",
        help="a process, by number or, on Linux, by name; or a core or minidump (./1234 if it is a number)",
    )
    parser.add_argument("-a", "--all", action="store_true", help="list every region, in place of the largest")
    add_html(parser)
    add_what(parser, "normal, for files all that they have")
    add_core(parser)


def run(args: argparse.Namespace) -> int:
    """Plan and print; status 3 if the dump would not be complete."""
    check_html(args)
    try:
        report = plan_dump(_target(args), **given(args, PlanOptions))
    except ValueError as error:
        if isinstance(error, DumpError):
            raise
        raise UsageError(str(error)) from error
    if args.html is not None:
        _draw(report, args)
    if args.json:
        put_json(report.to_dict())
    elif args.html is None:
        _put(report, everything=args.all)
    say_warnings(report)
    return Exit.OK if report.complete else Exit.GAPS


def _draw(report: DumpReport, args: argparse.Namespace) -> None:
    from . import picture  # it is not small

    what = f"process {report.pid}" if isinstance(report.pid, int) else ""
    title = f"{args.target} ({what})" if what not in ("", f"process {args.target}") else what or args.target
    picture.put(args.html, f"Plan of {title}", of_report(report), report.rules)
    if args.html != "-":
        say(f"{args.html}: {totals(report)}")


def _put(report: DumpReport, *, everything: bool) -> None:
    screen, areas = Screen(), of_report(report)
    put_areas(screen, areas, everything=everything)
    put_left_out(screen, areas)
    if report.rules:
        screen.heading("What each rule decided (the last rule that matches a byte wins)")
        put_rules(screen, report)
    screen.line()
    screen.line(totals(report), "bold")


def _target(args: argparse.Namespace) -> int | AnyFile:
    """The process or file that is meant."""
    if args.target.isdecimal():
        try:
            return _process(process_id(args.target), args)
        except argparse.ArgumentTypeError as error:
            raise UsageError(str(error)) from None
    if args.target == "-":
        return AnyFile(0, **file_options(args))
    if "/" not in args.target and not os.path.lexists(args.target) and named(args.target):
        return _process(process(args.target), args)
    return AnyFile(args.target, **file_options(args))


def _process(pid: int, args: argparse.Namespace) -> int:
    """A process, of which nothing was said that only a core has."""
    given = {"--root": args.root != "/", "--executable": args.executable is not None, "--text": args.text != "core"}
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise UsageError(f"{wrong[0]} is for cores, and {args.target} is a process (./{args.target} is a file)")
    return pid
