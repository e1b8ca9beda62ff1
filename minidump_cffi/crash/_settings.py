"""What a helper is told when it is started: where dumps go, with what options, and what happens to them."""

from __future__ import annotations

import os
import signal as _signal
import sys

from .._naming import expand, host, timestamp
from .._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._options import DumpOptions

__all__ = ["Names", "Settings", "names", "program_name", "signal_name"]

_NO_NAME = dict.fromkeys((*range(32), 127, *map(ord, "/" if sys.platform != "win32" else '/\\:*?"<>|')), "_")
_LONGEST = 255 - 16  # bytes of a name, without a number and the suffix


class Names(Record):
    """The names of the dumps of one process.

    Attributes
    ----------
    folder : str
        Where they are.
    template : str
        Of the name, with {name}, {pid}, {time}, {signal} and {host}.
    suffix : str
        What follows.
    name : str
        For {name}.
    """

    folder: str
    template: str
    suffix: str
    name: str

    def __post_init__(self) -> None:
        self.stem(1, "SIGSEGV")

    def stem(self, pid: int, signal: str) -> str:
        """The name of a dump that is taken now, without the suffix: no hidden file, and no path."""
        values = {"name": self.name, "pid": pid, "time": timestamp(), "signal": signal, "host": host()}
        text = expand(self.template, values).translate(_NO_NAME)
        if text.startswith("."):
            text = "_" + text[1:]
        return os.fsdecode(os.fsencode(text)[:_LONGEST]) or "_"


class Settings(Record):
    """Of one process that is watched.

    Attributes
    ----------
    pid : int
        The process.
    tid : int
        A thread of it, which waits while the helper starts.
    start_time : int
        What field 22 of /proc/PID/stat has to say.
    names : Names
        Of its dumps.
    options : DumpOptions
        Of its dumps.
    on_dump : tuple of str
        The command that is run with each.
    """

    pid: int
    tid: int
    start_time: int
    names: Names
    options: DumpOptions
    on_dump: tuple[str, ...] = ()


def names(place: str | os.PathLike[str], template: str) -> Names:
    """The names in a directory, or those of a path whose last component is the template."""
    path = os.fspath(place)
    if not isinstance(path, str) or not path:
        raise TypeError(f"a directory or a path must be text, not {place!r}")
    if not isinstance(template, str):
        raise TypeError(f"name must be text, not {template!r}")
    path, suffix = os.path.abspath(path), ".dmp"  # noqa: PTH100
    if not os.path.isdir(path):  # noqa: PTH112
        path, template = os.path.split(path)
        template, suffix = os.path.splitext(template)  # noqa: PTH122
        if "{" in suffix:
            template, suffix = template + suffix, ""
    return Names(folder=path, template=template, suffix=suffix, name=program_name())


def program_name() -> str:
    """What was started: the script or the module without .py, else the Python."""
    started = sys.argv[0] if sys.argv else ""
    name = os.path.basename(started)  # noqa: PTH119
    if name == "__main__.py":  # python -m package
        name = os.path.basename(os.path.dirname(started))  # noqa: PTH119, PTH120
    if name in ("", "-", "-c", "-m"):
        name = os.path.basename(sys.executable or "python")  # noqa: PTH119
    return name.removesuffix(".py") or "python"


def signal_name(number: int) -> str:
    """SIGSEGV for 11."""
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal-{number}"
