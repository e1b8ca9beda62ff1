"""``completion SHELL``: a script that completes commands, options and their values, made from the parsers themselves.

What the scripts offer as processes comes from /proc while they run. Anyone can name a process, so only names of plain
letters are offered, and never through anything that expands words.
"""

from __future__ import annotations

import argparse
import sys

from .. import _dump_types
from ..enums import DumpType
from ..filters import PRESETS
from .console import PROGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")
_FUNCTION: Final = "_" + PROGRAM.replace("-", "_")
_FILES: Final = frozenset({"FILE", "DIR", "OUT", "IN", "LIB", "DLL", "PID|NAME|IN"})
"""What metavars of files are called."""
_WORDS: Final = {
    "type": (*_dump_types.PRESETS, *(str(flag.name).lower() for flag in DumpType)),
    "preset": tuple(PRESETS),
}
"""Words of options that are not in their choices: by dest, or by the name of an option whose dest is another."""


class _Option:
    """An option or an argument, as far as it is completed."""

    def __init__(self, action: argparse.Action) -> None:
        self.names: list[str] = sorted(action.option_strings, key=len)
        self.help: str = str(action.help or "").partition(";")[0].partition(" (default")[0].replace("%%", "%")
        self.metavar: str = str(action.metavar or action.dest)
        self.takes: bool = action.nargs != 0
        name = action.option_strings[0].lstrip("-") if action.option_strings else ""
        words = action.choices or _WORDS.get(action.dest, _WORDS.get(name, ()))
        self.words: tuple[str, ...] = tuple(map(str, words)) if self.takes else ()
        self.files: bool = self.takes and self.metavar in _FILES
        self.process: bool = self.metavar.startswith("PID")
        self.again: bool = isinstance(action, argparse._AppendAction)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's own."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"{', '.join(SHELLS)}")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from . import COMMANDS, subcommand

    purposes = {name: purpose.partition(". ")[0].rstrip(".") for name, purpose in COMMANDS.items()}
    commands = {name: [_Option(action) for action in subcommand(name)._actions] for name in COMMANDS}
    for line in {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](commands, purposes):
        sys.stdout.write(line + "\n")
    return 0


def _quoted(text: str) -> str:
    """A word for any of the shells."""
    return "'" + text.replace("'", "'\\''") + "'"


def _bash(commands: dict[str, list[_Option]], purposes: dict[str, str]) -> Iterator[str]:
    yield f"""\
# bash completion of {PROGRAM}: eval "$({PROGRAM} completion bash)"
{_FUNCTION}_files() {{
    compopt -o filenames 2>/dev/null
    local name
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$1")
}}
{_FUNCTION}_processes() {{
    local path name
    for path in /proc/[0-9]*; do
        name=${{path#/proc/}}
        if [[ $1 == [0-9]* ]]; then
            if [[ $name == "$1"* ]]; then COMPREPLY+=("$name"); fi
        elif {{ read -r name <"$path/comm"; }} 2>/dev/null && [[ $name =~ ^[A-Za-z0-9._-]+$ && $name == "$1"* ]]; then
            COMPREPLY+=("$name")
        fi
    done
}}
{_FUNCTION}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= i
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${{COMP_WORDS[i]}} != -* ]]; then
            command=${{COMP_WORDS[i]}}
            break
        fi
    done
    COMPREPLY=()
    case $command in
    '') COMPREPLY=($(compgen -W '{" ".join(commands)} --help --version' -- "$word")) ;;"""
    for command, options in commands.items():
        yield f"    {command})"
        yield '        case "$before" in'
        for option in options:
            if not option.names or not option.takes:
                continue
            what = f"""COMPREPLY=($(compgen -W '{" ".join(option.words)}' -- "$word")); """ if option.words else ""
            what = f'{_FUNCTION}_files "$word"; ' if option.files else what
            yield f"        {' | '.join(option.names)}) {what}return ;;"
        yield "        esac"
        names = " ".join(name for option in options for name in option.names)
        yield "        if [[ $word == -* ]]; then"
        yield f"""            COMPREPLY=($(compgen -W '{names}' -- "$word"))"""
        yield "            return"
        yield "        fi"
        for option in options:
            if option.names:
                continue
            if option.process:
                yield f'        {_FUNCTION}_processes "$word"'
            if option.files:
                yield f'        {_FUNCTION}_files "$word"'
            if option.words:
                yield f"""        COMPREPLY=($(compgen -W '{" ".join(option.words)}' -- "$word"))"""
        yield "        ;;"
    yield "    esac\n}"
    yield f"complete -F {_FUNCTION} {PROGRAM}"


def _zsh(commands: dict[str, list[_Option]], purposes: dict[str, str]) -> Iterator[str]:
    yield f"""\
#compdef {PROGRAM}
# zsh completion of {PROGRAM}: source <({PROGRAM} completion zsh), or a file _{PROGRAM} in $fpath
{_FUNCTION}_processes() {{
    local path name
    local -a names
    for path in /proc/[0-9]*(N); do
        {{ read -r name <$path/comm }} 2>/dev/null || continue
        [[ $name =~ '^[A-Za-z0-9._-]+$' ]] && names+=($name)
        names+=(${{path#/proc/}})
    done
    compadd -a names
}}
{_FUNCTION}_process_or_file() {{
    {_FUNCTION}_processes
    _files
}}
{_FUNCTION}() {{
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C '(-h --help)'{{-h,--help}}'[show help]' '--version[show the version]' \\
        '1:command:->command' '*::argument:->arguments'
    case $state in
    command)
        local -a commands=("""
    for command, purpose in purposes.items():
        yield f"            {_quoted(f'{command}:{purpose}')}"
    yield "        )\n        _describe command commands\n        ;;\n    arguments)\n        case $words[1] in"
    for command, options in commands.items():
        yield f"        {command})\n            _arguments -s \\"
        for option in options:
            for name in option.names or [""]:
                yield f"                {_quoted(_zsh_argument(option, name))} \\"
        yield "                && return\n            ;;"
    yield "        esac\n        ;;\n    esac\n}"
    yield f'if [[ $funcstack[1] == _{PROGRAM} ]]; then {_FUNCTION} "$@"; else compdef {_FUNCTION} {PROGRAM}; fi'


def _zsh_argument(option: _Option, name: str) -> str:
    """A specification of _arguments."""
    what = f"({' '.join(option.words)})" if option.words else ""
    if option.process:
        what = f"{_FUNCTION}_process{'_or_file' if option.files else 'es'}"
    elif option.files:
        what = "_files"
    metavar = option.metavar.replace(":", " ")
    if not name:
        return f"*:{metavar}:{what}"
    shown = option.help.replace("[", "(").replace("]", ")").replace(":", " ")
    value = f":{metavar}:{what or ' '}" if option.takes else ""
    equals = ("=" if name.startswith("--") else "+") if option.takes else ""
    return f"{'*' if option.again else ''}{name}{equals}[{shown}]{value}"


def _fish(commands: dict[str, list[_Option]], purposes: dict[str, str]) -> Iterator[str]:
    yield f"# fish completion of {PROGRAM}: {PROGRAM} completion fish | source"
    yield f"""\
function {_FUNCTION}_processes
    for path in /proc/[0-9]*
        set -l name (cat $path/comm 2>/dev/null)
        string match -qr '^[A-Za-z0-9._-]+$' -- "$name"; and printf '%s\\n' $name
        printf '%s\\t%s\\n' (string replace /proc/ '' $path) (string replace -ar '[^A-Za-z0-9._-]' '?' -- "$name")
    end
end
complete -c {PROGRAM} -f
complete -c {PROGRAM} -n __fish_use_subcommand -s h -l help -d 'show help'
complete -c {PROGRAM} -n __fish_use_subcommand -l version -d 'show the version'"""
    for command, purpose in purposes.items():
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand -a {command} -d {_fish_quoted(purpose)}"
    for command, options in commands.items():
        start = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {command}'"
        for option in options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            what = f"-a '{' '.join(option.words)}'" if option.words else ""
            if option.process and not option.names:
                what = f"-a '({_FUNCTION}_processes)'"
            files = "-F" if option.files else ""
            value = ("-r" if option.files else "-x") if option.takes and option.names else ""
            shown = f"-d {_fish_quoted(option.help)}" if option.names else ""
            yield " ".join(filter(None, (start, names, value, files, what, shown)))


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
