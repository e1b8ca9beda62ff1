"""Arguments that more than one subcommand takes, and how their text is read."""

from __future__ import annotations

import argparse
import functools
import math
import shlex
import sys

from .. import _dump_types, _options
from ..errors import FilterError
from ..filters import PRESETS, Filter, _values
from ..filters._rules import CONDITIONS, make_rule
from .console import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..enums import DumpType


def dump_type(word: str) -> DumpType:
    """Read ``--type``: names of MINIDUMP_TYPE bits joined by ``+``, or a number."""
    try:
        value: int | str = int(word, 0)
    except ValueError:
        value = word
    try:
        return _dump_types.dump_type(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("type: ").removeprefix("type ")) from None


def process_id(word: str) -> int:
    """Read a process id."""
    if not word.isdecimal() or not 0 < int(word) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{word!r} is not a process id; give a positive number")
    return int(word)


def signal_number(word: str) -> int:
    """Read a signal: a name, with or without SIG, or a number."""
    if word.isdecimal() and 0 < int(word) < 128:
        return int(word)
    import signal

    name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
    value = getattr(signal, name, None)
    if not isinstance(value, signal.Signals):
        raise argparse.ArgumentTypeError(f"{word!r} is not a signal; give a name such as SIGSEGV, or a number")
    return int(value)


def number(word: str) -> int:
    """Read a whole number, which may be negative."""
    try:
        return int(word, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number") from None


def address(word: str) -> int:
    """Read an address: a number, 0x before hexadecimal digits."""
    try:
        value = int(word, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"{word!r} is not an address; give a number such as 0x7f0000001000")
    return value


def seconds(word: str) -> float:
    """Read a number of seconds above 0."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is not a time; give seconds above 0, such as 0.5")
    return value


def seconds_or_none(word: str) -> float:
    """Read a number of seconds, where 0 means: not at all."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is not a time; give seconds, such as 0.5, or 0")
    return value


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Add how large the file may become."""
    parser.add_argument(
        "--max-bytes",
        metavar="SIZE",
        type=bytes_above_0,
        help="the dump is never larger than this, such as 5MiB: what matters most is in it, the rest are gaps",
    )


def bytes_above_0(word: str) -> int:
    """Read ``--max-bytes`` and ``--max-input``: a number of bytes above 0, or a size such as 8GiB."""
    try:
        value = _values.size(int(word) if word.isdecimal() else word, "size")
    except FilterError:
        value = 0
    if not value:
        raise argparse.ArgumentTypeError(f"{word!r} is not a size; give a number of bytes, or 512MiB, 8GiB")
    return value


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Add what the filter is made of, in the order of the command line: the last rule that matches decides."""
    parts: dict[str, Any] = {"dest": "filters", "action": "append"}
    parser.add_argument(
        "--filter",
        metavar="FILE",
        type=lambda word: ("filter", word),
        help="filter rules, a TOML file; - for stdin; may be given several times: the last rule that matches decides",
        **parts,
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        type=lambda word: ("preset", word),
        help=f"a filter that is ready made, as if it were a file: {', '.join(PRESETS)}",
        **parts,
    )
    for action in ("include", "exclude"):
        parser.add_argument(
            f"--{action}",
            metavar="CONDITIONS",
            type=functools.partial(rule, action),
            help=f"one more rule: {action} memory, such as 'name=/dev/shm/*' or 'kind=heap min_size=1MiB'",
            **parts,
        )


def rule(action: Any, word: str) -> tuple[str, Filter]:
    """Read ``--include`` and ``--exclude``: conditions of a rule, KEY=VALUE, with blanks in between."""
    conditions: dict[str, Any] = {}
    try:
        for part in shlex.split(word):
            key, equals, value = part.partition("=")
            if not equals or not key:
                raise argparse.ArgumentTypeError(f"{part!r} is not KEY=VALUE")
            if key not in CONDITIONS and key != "priority":
                known = _values.did_you_mean(key, [*CONDITIONS, "priority"])
                raise argparse.ArgumentTypeError(f"{key!r} is not a condition{known}")
            if key in conditions:
                raise argparse.ArgumentTypeError(f"{key} is given twice")
            conditions[key] = _condition(key, value)
        if not conditions.keys() - {"priority"}:
            raise argparse.ArgumentTypeError("no condition; give KEY=VALUE, such as kind=heap")
        return "rule", Filter(make_rule(action, conditions | {"label": word}))
    except (FilterError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _condition(key: str, value: str) -> Any:
    if key == "priority":
        return int(value) if value.isdecimal() else value
    what = CONDITIONS[key]
    if what == "range":
        return tuple(value.split("-", 1))
    if what == "size":
        return int(value) if value.isdecimal() else value
    return value if what == "glob" or "," not in value else value.split(",")


def filter_of(args: argparse.Namespace) -> Filter | None:
    """The filter that the arguments make; None if they have none."""
    made = None
    parts = args.filters or []
    readers = parts.count(("filter", "-")) + (getattr(args, "target", "") == "-") + ("-" in getattr(args, "inputs", ()))
    if readers > 1 and ("filter", "-") in parts:
        raise UsageError("--filter -: stdin can be read only once")
    for kind, given in parts:
        part = given if kind == "rule" else _preset(given) if kind == "preset" else _read_filter(given)
        made = part if made is None else made | part
    return made


def _preset(name: str) -> Filter:
    try:
        return Filter.preset(name)
    except FilterError as error:
        raise UsageError(f"--{error}") from error


def _read_filter(name: str) -> Filter:
    if name == "-":
        if sys.stdin is None:
            raise UsageError("--filter -: stdin is closed")
        return Filter.from_toml(sys.stdin.buffer.read(), source="stdin")
    try:
        return Filter.from_file(name)
    except OSError as error:
        raise UsageError(f"--filter {name}: {error.strerror}") from error


def add_html(parser: argparse.ArgumentParser) -> None:
    """Add the picture."""
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="draw the address space into an HTML file that needs nothing else, in place of the tables; - for stdout",
    )


def check_html(args: argparse.Namespace) -> None:
    """Refuse two outputs on stdout."""
    if args.html == "-" and args.json:
        raise UsageError("--json and --html - both want stdout; give the picture a file")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add what says how a dump is written, of whatever it is."""
    parser.add_argument(
        "--names",
        choices=("unicode", "ascii"),
        default="unicode",
        help="names of threads and modules: as they are, or what is not ASCII as octal escapes (default: %(default)s)",
    )
    parser.add_argument(
        "--module-names",
        choices=("path", "soname"),
        default="path",
        help="the module list: paths, or with the library's own name in place of the file's (default: %(default)s)",
    )
    parser.add_argument(
        "--untouched",
        choices=("auto", "hole", "omit"),
        default="auto",
        help="pages that were never written: holes in the file, left out, or as the output allows "
        "(default: %(default)s)",
    )
    parser.add_argument("--deadline", metavar="S", type=seconds, help="give up after this many seconds")


def add_core(parser: argparse.ArgumentParser) -> None:
    """Add what is said of a core."""
    core = parser.add_argument_group("cores")
    core.add_argument(
        "--root",
        metavar="DIR",
        default="/",
        help="the root of the system that made it, for the files of its modules (default: %(default)s)",
    )
    core.add_argument("--executable", metavar="FILE", help="its program, if that is elsewhere")
    core.add_argument(
        "--text",
        choices=("core", "files"),
        default="core",
        help="module text that it left out: left out, too, or taken from files with the same build id "
        "(default: %(default)s)",
    )


def file_options(args: argparse.Namespace) -> dict[str, Any]:
    """What of the arguments is said of a file."""
    return {name: getattr(args, name) for name in ("root", "executable", "text", "max_input") if hasattr(args, name)}


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add whom to dump and what of it."""
    parser.add_argument("process", metavar="PID|NAME", help="the process, by number or, on Linux, by name")
    add_what(parser, "normal")


def add_what(parser: argparse.ArgumentParser, default: str) -> None:
    """Add what of it."""
    parser.add_argument(
        "--type",
        metavar="TYPE",
        type=dump_type,
        help="words joined by +: normal, full, heap, modified, referenced, triage, names of MINIDUMP_TYPE bits; or a "
        f"number (default: {default}, unless a filter file says [dump] type)",
    )
    add_filter(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    add_budget(parser)
    parser.add_argument(
        "--dontdump",
        choices=("honour", "ask", "ignore"),
        default="honour",
        help="memory marked MADV_DONTDUMP: leave it out, ask the filter, or ignore the mark (default: %(default)s)",
    )
    parser.add_argument(
        "--coredump-filter",
        action="store_true",
        help="leave out what the process' /proc/PID/coredump_filter leaves out of a core file",
    )
    parser.add_argument(
        "--file-pages",
        choices=("all", "resident"),
        default="all",
        help="clean pages of modules that are not in memory: read them from the file, or leave them to it "
        "(default: %(default)s)",
    )
    add_output(parser)
    parser.add_argument("--max-stop", metavar="S", type=seconds, help="never stop the process longer than this")
    parser.add_argument("--stop-timeout", metavar="S", type=seconds, help="how long one thread may take to stop")
    parser.add_argument(
        "--stall-timeout",
        metavar="S",
        type=seconds_or_none,
        default=30.0,
        help="resume the process after this long without progress; 0: never (default: %(default)g)",
    )
    parser.add_argument(
        "--busy-timeout",
        metavar="S",
        type=seconds_or_none,
        help="how long to wait for another dump of it, or a debugger",
    )


def given(args: argparse.Namespace, kind: type[_options.PlanOptions]) -> dict[str, Any]:
    """What of the arguments are options of `write_dump` or `plan_dump`: those that have a name of theirs."""
    values = {name: value for name, value in vars(args).items() if name in kind._names}
    return values | {"filter": filter_of(args)}


def add_about(parser: argparse.ArgumentParser) -> None:
    """Add what a dump is to say of itself."""
    parser.add_argument(
        "--annotation",
        metavar="KEY=VALUE",
        dest="annotations",
        type=annotation,
        action="append",
        help="a text that crash pipelines show with the dump; may be given several times",
    )
    parser.add_argument("--comment", metavar="TEXT", help="a comment that debuggers show with the dump")


def annotation(word: str) -> tuple[str, str]:
    """Read ``--annotation``: KEY=VALUE."""
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE")
    return key, value


def about(args: argparse.Namespace) -> dict[str, Any]:
    """What a dump is to say of itself: options of `write_dump`."""
    if args.annotations is None:
        return {"annotations": None}
    annotations = dict(args.annotations)
    if len(annotations) < len(args.annotations):
        raise UsageError("--annotation: a KEY is given twice")
    return {"annotations": annotations}
