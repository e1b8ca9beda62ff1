"""``plan PID``: what a dump would hold, region by region and rule by rule, without reading that memory."""

from __future__ import annotations

import sys

from .._options import PlanOptions
from ..dumping import plan_dump
from ..errors import DumpError
from .console import Exit, UsageError, put_json
from .dump import say_warnings
from .options import add_target, given
from .regions import put_regions, put_rules, totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Plan and print; status 3 if the dump would not be complete."""
    try:
        report = plan_dump(args.pid, **given(args, PlanOptions))
    except ValueError as error:
        if isinstance(error, DumpError):
            raise
        raise UsageError(str(error)) from error
    if args.json:
        put_json(report.to_dict())
    else:
        put_regions(sys.stdout, report)
        sys.stdout.write("\n")
        put_rules(sys.stdout, report)
        sys.stdout.write(f"\n{totals(report)}\n")
    say_warnings(report)
    return Exit.OK if report.complete else Exit.GAPS
