"""Dump this program when it crashes: `enable`, in the manner of `faulthandler.enable`.

>>> import minidump_cffi as md
>>> md.crash.enable(folder)
>>> md.crash.status().enabled
True
>>> md.crash.disable()
"""

from __future__ import annotations

import os
import sys
import threading

from .. import targets
from .._options import DumpOptions
from .._record import Record
from ..engines import check_annotations, check_streams, check_text
from ..errors import DumpError
from ._exceptions import MOST, Exceptions
from ._settings import Settings, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ..enums import DumpType
    from ..filters import Filter

if sys.platform == "win32":
    from . import _windows as _system
else:
    from . import _posix as _system

__all__ = ["Status", "asyncio_handler", "disable", "dump_now", "enable", "status"]

_REFUSED = ("callback", "on_cancel", "progress", "spool", "fsync", "record", "exception", "deadline", "grace")

_COMPLETING = 5.0  # seconds
_lock = threading.RLock()
_exceptions: Exceptions | None = None
_watch: Any = None  # what the module of this system has set up


class Status(Record):
    """What `enable` has set up.

    Attributes
    ----------
    enabled : bool
        Whether a crash of this process is dumped.
    pid : int
        This process.
    helper : int
        The pid of the process that takes the dumps, 0 if there is none.
    helper_alive : bool
        False if it has ended, because it was killed.
    signals : tuple of int
        The signals that are handled.
    threads_covered : int
        Threads whose stack overflow is dumped, because they have an alternate stack.
    threads_uncovered : int
        Threads that may have none: they were started before `enable`, or not by `threading`.
    dumps : int
        Dumps that were taken: crashes that the program survived, and those of `dump_now`.

    Examples
    --------
    >>> md.crash.status().helper
    0
    """

    enabled: bool
    pid: int
    helper: int
    helper_alive: bool
    signals: tuple[int, ...]
    threads_covered: int
    threads_uncovered: int
    dumps: int


def enable(
    place: str | os.PathLike[str],
    *,
    filter: Filter | None = None,
    type: DumpType | int | str = "normal",
    signals: Iterable[int] | None = None,
    max_stop: float = 30.0,
    on_dump: Sequence[str] | None = None,
    chain: bool = True,
    name: str = "{name}-{pid}-{time}",
    excepthooks: bool | int = False,
    dumpable: bool = False,
    python: str | None = None,
    **options: Any,
) -> None:
    """Dump this process when a signal is about to end it.

    A helper process is started, and handlers of the signals are installed. When one comes, the helper takes the dump
    while all threads are stopped; then the program ends as it would have without us: with the handlers
    there were before (faulthandler's), the same exit status, and a core if it writes one. On Windows these are the
    exceptions that nothing handles, and abort().

    Parameters
    ----------
    place : str or os.PathLike
        A directory, in which dumps are named by `name`; or the path of the dump, whose last component is the template.
    filter : Filter or None
        What goes into it.
    type : DumpType, int or str
        As in `write_dump`.
    signals : iterable of int or None
        Which signals; by default SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP and SIGSYS. Not for Windows.
    max_stop : float
        Longest time for a dump, in seconds. After it the program ends without one; with ``on_limit="truncate"`` with
        what was copied by then, which may take some seconds more to be completed.
    on_dump : sequence of str or None
        A command that is run with each dump, by the helper and when the program has ended. In its words {path}, {pid}
        and {signal} are replaced.
    chain : bool
        After the dump come the handlers that were installed before; False for the default action.
    name : str
        Template of file names: {name} is the script, {time} the time in UTC, {signal} the signal. Where a name is
        taken, a number follows it.
    excepthooks : bool or int
        Also dump Python exceptions that nothing catches, with the traceback as comment and annotation, and then call
        the previous `sys.excepthook` or `threading.excepthook`. At most so many, 10 if True. For asyncio see
        `asyncio_handler`.
    dumpable : bool
        Set PR_SET_DUMPABLE for the time of a dump, for a program that has dropped its privileges.
    python : str or None
        Path of the Python that the helper runs, for a program that embeds one; None for `sys.executable`.
    **options : Any
        More options of `write_dump`.

    Raises
    ------
    AccessDenied
        This process may not be dumped; the message says why.
    SinkError
        Nothing can be written there.
    DumpError
        Another interpreter of this process has enabled it.

    Examples
    --------
    >>> md.crash.enable(folder, type="normal", name="{name}-{signal}-{time}")
    >>> md.crash.disable()
    """
    global _watch, _exceptions
    refused = [option for option in options if option in _REFUSED]
    if refused:
        raise TypeError(f"enable() has no {', '.join(refused)}: a crashed process can run nothing, and nothing waits")
    options.setdefault("busy_timeout", 2.0)  # a debugger may be about to detach
    # What was copied is still to be completed when the stop had to end.
    deadline = max_stop + _COMPLETING if options.get("on_limit") == "truncate" else max_stop
    checked = DumpOptions(type, filter=filter, max_stop=max_stop, deadline=deadline, grace=1.0, **options)
    if any(callable(stream.data) for stream in check_streams(checked.user_streams)):
        raise ValueError("user_streams: the helper is another process, to which no callable can be sent: give bytes")
    if filter is not None:
        filter.compile()  # its errors and warnings belong here
    settings = Settings(
        pid=os.getpid(),
        tid=threading.get_native_id(),
        start_time=targets.start_time(os.getpid()) or 0,
        names=names(place, name),
        options=checked,
        on_dump=_command(on_dump),
    )
    with _lock:
        disable()
        _watch = _system.Watch(settings, signals, chain=chain, dumpable=dumpable, python=python)
        _exceptions = Exceptions(_dump, MOST if excepthooks in (True, False) else excepthooks)
        if excepthooks:
            _exceptions.install()


def disable() -> None:
    """Undo `enable`: remove the handlers, end the helper. Without effect if it is not enabled.

    Handlers that were installed after ours stay. Alternate stacks go with their threads.

    Examples
    --------
    >>> md.crash.disable()
    >>> md.crash.status().enabled
    False
    """
    global _watch
    with _lock:
        watch, _watch = _watch, None
        _drop_hooks()
        if watch is not None:
            watch.close()


def status() -> Status:
    """What is set up, and which threads are covered.

    Examples
    --------
    >>> md.crash.status().enabled
    False
    """
    with _lock:
        watch = _watch
        covered, uncovered = (0, 0) if watch is None else watch.threads()
        return Status(
            enabled=watch is not None,
            pid=os.getpid(),
            helper=0 if watch is None else watch.helper,
            helper_alive=watch is not None and watch.alive,
            signals=() if watch is None else watch.signals,
            threads_covered=covered,
            threads_uncovered=uncovered,
            dumps=0 if watch is None else watch.dumps,
        )


def dump_now(*, comment: str | None = None, annotations: Mapping[str, str] | None = None) -> str:
    """Dump this process as after a crash, and go on; the path of the dump. It blames the calling thread.

    Parameters
    ----------
    comment : str or None
        In place of the one that `enable` was given.
    annotations : Mapping of str to str, or None
        Beside those that `enable` was given.

    Raises
    ------
    DumpError
        `enable` was not called in this process, or the dump failed.

    Examples
    --------
    >>> md.crash.enable(folder)
    >>> md.crash.dump_now(comment="the cache is inconsistent").endswith(".dmp")
    True
    >>> md.crash.disable()
    """
    watch = _watch
    if watch is None:
        raise DumpError("dump_now() needs enable(), which starts the process that takes the dump")
    if comment is not None:
        check_text("comment", comment)
    about = {"tid": threading.get_native_id(), "comment": comment, "annotations": check_annotations(annotations)}
    path: str = watch.dump(about)
    return path


def asyncio_handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler for an event loop: dump, then do what the loop does by default.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop.
    context : dict
        What happened. Only exceptions are dumped, and while `enable` is in force.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     asyncio.get_running_loop().set_exception_handler(md.crash.asyncio_handler)
    >>> asyncio.run(main())
    """
    error, exceptions = context.get("exception"), _exceptions
    if exceptions is not None and error is not None:
        exceptions.take(error, f"asyncio: {context.get('message')}")
    loop.default_exception_handler(context)


def _dump(comment: str, annotations: dict[str, str]) -> None:
    dump_now(comment=comment, annotations=annotations)


def _drop_hooks() -> None:
    global _exceptions
    if _exceptions is not None:
        _exceptions.remove()
        _exceptions = None


def _command(words: Sequence[str] | None) -> tuple[str, ...]:
    if words is None:
        return ()
    if isinstance(words, str) or callable(words) or not words or not all(isinstance(word, str) for word in words):
        raise TypeError(
            f"on_dump must be a command, as a sequence of texts, not {words!r}: no Python runs after a crash"
        )
    if any("\0" in word for word in words):
        raise ValueError(f"on_dump has a NUL, which ends a word: {words!r}")
    return tuple(words)


def _after_fork() -> None:
    """A child is not watched: the helper is its parent's."""
    global _watch, _lock
    _lock = threading.RLock()  # another thread may have held it
    watch, _watch = _watch, None
    _drop_hooks()
    if watch is not None:
        watch.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
