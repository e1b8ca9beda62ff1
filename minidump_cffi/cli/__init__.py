"""The command line: ``minidump-cffi`` and ``python -m minidump_cffi``.

One module per subcommand, imported when it is chosen, each with ``add_arguments`` and ``run``; `main`
maps what they raise to exit statuses.
Data goes to stdout only where it was asked for, everything else to stderr.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import warnings
from importlib import import_module

from .. import __version__
from ..errors import DumpError, FilterError, FilterWarning
from . import terminal
from .console import PROGRAM, Exit, UsageError, give_up, say, standard_streams
from .screen import wrapped
from .wording import in_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

__all__ = ["main"]

_STATUSES = """\
exit status: 0 complete, 1 error, 2 wrong usage, 3 written, not complete (memory, registers or stacks are missing),
130 interrupted
"""


COMMANDS = {  # what each does; the first sentence goes into the list of commands
    "dump": "Write a minidump of a live process. The file appears complete under its name, or not at all.",
    "filter": "Write minidumps of cores and of other minidumps, through a filter.",
    "plan": "Print what a dump would hold, by region and by rule. The process stops for its registers only.",
    "show": "Print what a minidump of any platform, or a core, holds: streams, threads, modules, regions and bytes.",
    "demo": "Start a small process and dump it with a filter. Prints the region table and what was left out.",
    "completion": "Print a script that completes words for bash, zsh or fish.",
}


class _Help(argparse.HelpFormatter):
    """As wide as the terminal; argparse imports all of shutil to find out."""

    def __init__(self, prog: str) -> None:
        room = terminal.columns(sys.stdout) or 80
        super().__init__(prog, width=room - 2, max_help_position=min(24, room // 3))

    def _format_usage(self, usage: Any, actions: Iterable[argparse.Action], groups: Any, prefix: Any) -> str:
        """Only what has to be given: the options are listed below."""
        if prefix == "":  # what the names of subcommands begin with
            return self._prog
        words = [f"usage: {self._prog} [OPTIONS]"]
        for action in actions:
            name = str(action.metavar or action.dest)
            if action.option_strings and action.required:
                words.append(f"{action.option_strings[0]} {name}")
            elif not action.option_strings:
                words.append(f"{name}{' ...' if action.nargs in ('+', argparse.PARSER) else ''}")
        return "\n    ".join(wrapped(" ".join(words), self._width - 2)) + "\n\n"


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, which says what was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Say it and end."""
        say(f"{message} (see {self.prog} --help)", "red")
        raise SystemExit(Exit.USAGE)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Name the option that a wrong one is near to."""
        found, rest = self.parse_known_args(args, namespace)
        if not rest and not hasattr(found, "run"):
            self.error(f"give a COMMAND: {', '.join(COMMANDS)}")
        if rest:
            parser: Any = getattr(found, "parser", self)
            word = rest[0].partition("=")[0]
            hint = _near(word, parser._option_string_actions) if word.startswith("--") else ""
            parser.error(f"unknown argument {rest[0]!r}{hint}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            words = _near(str(value), known) or f"; known are {', '.join(known)}"
            raise argparse.ArgumentError(action, f"{value!r} is not known{words}")


def _near(word: str, known: Iterable[str]) -> str:
    import difflib  # for messages about errors only

    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class _Command(_Parser):
    """The arguments of a subcommand, which its module adds when they are needed."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Import the module first."""
        self.fill()
        return super().parse_known_args(args, namespace)

    def fill(self) -> None:
        """Add the arguments."""
        module = import_module(f"{__name__}.{self.prog.rpartition(' ')[2]}")
        module.add_arguments(self)
        self.set_defaults(run=module.run, parser=self)


def subcommand(name: str) -> argparse.ArgumentParser:
    """The parser of a subcommand with all of its arguments."""
    parser = _Command(prog=f"{PROGRAM} {name}", formatter_class=_Help)
    parser.fill()
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Take minidumps of live processes, of cores and of minidumps, decided by a compiled filter.",
        epilog=_STATUSES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Command)
    for name, purpose in COMMANDS.items():
        first = purpose.partition(". ")[0].rstrip(".")
        commands.add_parser(name, help=first[0].lower() + first[1:], description=purpose, formatter_class=_Help)
    return parser


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"warning: {message}", "yellow")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        The arguments without the name of the program; those of this process if None.

    Returns
    -------
    int
        The exit status, see `minidump_cffi.cli.console.Exit`.
    """
    with standard_streams():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold what this terminal's encoding does not
    try:
        args = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has said what is wrong
        return int(end.code or 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", FilterWarning)
            warnings.showwarning = _show_warning
            status = int(args.run(args))
        sys.stdout.flush()
        return status
    except UsageError as error:
        # What the library said of an argument; all else is in the words of the command line, or names a file.
        said = str(error)
        say(in_options(said) if error.__cause__ is not None or error.__suppress_context__ else said, "red")
        return Exit.USAGE
    except KeyboardInterrupt:
        say("interrupted; no file was left that is not complete, and a process that was being dumped runs on")
        return Exit.INTERRUPTED
    except (DumpError, OSError) as error:
        give_up(sys.stdout, 1)
        if _reader_gone(error):
            return Exit.ERROR
        said = describe(error)
        say(said if getattr(error, "filename", None) is not None else in_options(said), "red")
        return Exit.USAGE if isinstance(error, FilterError) else Exit.ERROR
    except MemoryError as error:
        say(f"there is not enough memory: {error}" if str(error) else "there is not enough memory")
        return Exit.ERROR


def _reader_gone(error: Exception) -> bool:
    """Whether the reader of our output has gone."""
    if isinstance(error, BrokenPipeError):
        return True
    # What the C library of Windows makes of it.
    return sys.platform == "win32" and type(error) is OSError and error.errno == errno.EINVAL and error.filename is None


def describe(error: Exception) -> str:
    """One line: what happened, and what would help."""
    if isinstance(error, DumpError):
        hint = getattr(error, "hint", None)
        message = str(error)
        return f"{message} ({hint})" if hint and hint not in message else message
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
