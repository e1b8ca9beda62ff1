"""The exception tree.

Everything that can go wrong with a dump is a `DumpError`. Where the operating system refused something, the exception
is an `OSError` too and carries its ``errno``, so that code written for `OSError` keeps working. On Windows all of them
carry the Windows error as ``winerror`` too.

::

    DumpError
    +-- FilterError         (ValueError)          a filter or one of its rules is wrong
    +-- TargetError                               this process cannot be dumped
    |   +-- TargetGone      (ProcessLookupError)  the process does not exist (any more)
    |   +-- TargetBusy                            another dump of it is under way, or a debugger has it: try again
    |   +-- AccessDenied    (PermissionError)     we may not look into it
    |   +-- InputError      (OSError)             a file that stands for it cannot be opened, read or unpacked
    +-- ReadError           (OSError)             its memory could not be read, and the filter says "abort"
    +-- SinkError           (OSError)             the output could not be written
    +-- BudgetTooSmall                            `max_bytes` has no room even for a dump without memory
    +-- FormatError         (ValueError)          the dump cannot be expressed in the file format
    +-- LimitReached        (OSError)             a limit on open files, threads or processes was reached
    +-- Cancelled                                 the dump was cancelled
    +-- DeadlineExceeded    (TimeoutError)        `deadline` or `max_stop` passed
    |   +-- Stalled                               something hung while the target was stopped
    +-- CallbackError                             the callback broke the protocol, is closed or in use
        +-- ReplayMismatch                        a replay got another answer than the recording has
    +-- PluginError         (OSError)             a shared library cannot be used as a callback

A wrong argument of a function is a plain `ValueError` or `TypeError`, as everywhere in Python.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .enums import CallbackType, Phase

__all__ = [
    "AccessDenied",
    "BudgetTooSmall",
    "CallbackError",
    "Cancelled",
    "DeadlineExceeded",
    "DumpError",
    "FilterError",
    "FilterWarning",
    "FormatError",
    "InputError",
    "LimitReached",
    "PluginError",
    "ReadError",
    "ReplayMismatch",
    "SinkError",
    "Stalled",
    "TargetBusy",
    "TargetError",
    "TargetGone",
]


def errno_of(winerror: int) -> int | None:
    """The errno that Python gives a Windows error; None where there is none, and on other systems."""
    return OSError(0, "", None, winerror).errno or None


class DumpError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        What happened, where, and what to do about it; one line.

    Attributes
    ----------
    message : str
        As given; what `str` returns.
    phase : Phase or None
        Where in the dump it happened.
    pid : int or None
        The target.
    address : int or None
        In the target.
    hresult : int or None
        What a caller of MiniDumpWriteDump would see, unsigned.
    winerror : int or None
        The Windows error, if Windows refused something.
    callback_type : CallbackType or None
        The callback whose answer was wrong.
    index : int or None
        Number, from 0, of the rule, range or thread the message is about.
    hint : str or None
        What would make it work, when that is known.

    Examples
    --------
    >>> DumpError("cannot do it: give more", hint="give more").hint
    'give more'
    """

    winerror: Any  # OSError has one of its own, on Windows only

    args: tuple[Any, ...]

    def __init__(
        self,
        message: str = "",
        *,
        phase: Phase | None = None,
        pid: int | None = None,
        address: int | None = None,
        hresult: int | None = None,
        callback_type: CallbackType | None = None,
        index: int | None = None,
        hint: str | None = None,
        errno: int | None = None,
        winerror: int | None = None,
        filename: str | bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.pid = pid
        self.address = address
        self.hresult = hresult
        self.callback_type = callback_type
        self.index = index
        self.hint = hint
        if isinstance(self, OSError):
            _fill_members(self, errno_of(winerror) if errno is None and winerror else errno, message, filename)
        self.winerror = winerror  # of an OSError on Windows a C member, too

    @property
    def message(self) -> str:
        """What happened; `str` returns it too."""
        return str(self.args[0]) if self.args else ""

    @message.setter
    def message(self, text: str) -> None:
        self.args = (text,)
        if isinstance(self, OSError):
            _fill_members(self, self.errno, text, None)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        members = (self.errno, self.strerror, self.filename) if isinstance(self, OSError) else None
        return _rebuild, (type(self), self.message, members, {**self.__dict__, "winerror": self.winerror})


def _fill_members(error: OSError, errno: int | None, strerror: str | None, filename: str | bytes | None) -> None:
    # These live in C members, which OSError fills only when it is given two arguments.
    error.errno = errno
    error.strerror = strerror
    if filename is not None:
        error.filename = filename


def _rebuild(cls: type[DumpError], message: str, members: tuple[Any, ...] | None, state: dict[str, Any]) -> DumpError:
    error = cls(message)
    state = dict(state)
    error.winerror = state.pop("winerror", None)
    error.__dict__.update(state)
    if isinstance(error, OSError) and members is not None:
        _fill_members(error, *members)
    return error


class FilterError(DumpError, ValueError):
    """A filter, one of its rules or a filter file is wrong.

    Attributes
    ----------
    filename : str or None
        The filter file.
    lineno : int or None
        Line in it, from 1, where that is known.
    label : str or None
        Of the rule.

    Examples
    --------
    >>> from minidump_cffi import exclude
    >>> try:
    ...     exclude(min_size="64 Mib/s")
    ... except FilterError as error:
    ...     print(error)
    min_size: '64 Mib/s' is not a size; write a number of bytes, or '64 KiB', '10 MB', '1.5 GiB'
    """

    def __init__(
        self,
        message: str = "",
        *,
        filename: str | None = None,
        lineno: int | None = None,
        label: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.filename = filename
        self.lineno = lineno
        self.label = label


class TargetError(DumpError):
    """The target cannot be dumped: a zombie, a kernel thread, 32-bit, dumping core, our own consumer.

    Examples
    --------
    >>> issubclass(TargetGone, TargetError) and issubclass(TargetError, DumpError)
    True
    """


class TargetGone(TargetError, ProcessLookupError):
    """The process does not exist: it never did, it ended, became another program, or its pid was reused.

    Examples
    --------
    >>> from minidump_cffi import write_dump
    >>> try:
    ...     write_dump(2**22 + 1, "/dev/null")
    ... except ProcessLookupError as error:
    ...     type(error).__name__
    'TargetGone'
    """


class TargetBusy(TargetError):
    """Another process traces the target: another dump of it is under way, or a debugger is attached.

    The same call works when that has ended; ``busy_timeout`` waits for it.

    Examples
    --------
    >>> TargetBusy("a debugger is attached", pid=7).pid
    7
    """


class AccessDenied(TargetError, PermissionError):
    """Permission to look into the target was refused; the message names who refused, `hint` what would allow it.

    Examples
    --------
    >>> issubclass(AccessDenied, PermissionError)
    True
    """


class InputError(TargetError, OSError):
    """A file that stands for a process (`CoreFile`, `DumpFile`) cannot be opened, read or unpacked, or is too large.

    `filename` is the file, where that is known; `hint` names what is needed: an extra of this package, a larger
    ``max_input``.

    Examples
    --------
    >>> from minidump_cffi import CoreFile, plan_dump
    >>> try:
    ...     plan_dump(CoreFile("/nowhere/core"))
    ... except InputError as error:
    ...     error.filename
    '/nowhere/core'
    """


class ReadError(DumpError, OSError):
    """Memory of the target could not be read, and the callback did not tolerate it.

    Examples
    --------
    >>> ReadError("cannot read", address=0x1000, errno=5).errno
    5
    """


class SinkError(DumpError, OSError):
    """The output could not be written; nothing of it remains.

    Examples
    --------
    >>> import os
    >>> from minidump_cffi import write_dump
    >>> try:
    ...     write_dump(os.getppid(), "/nowhere/app.dmp")
    ... except SinkError as error:
    ...     error.filename
    '/nowhere/app.dmp'
    """


class FormatError(DumpError, ValueError):
    """Input that is not a dump or recording, or a dump that cannot be expressed in the file format.

    Attributes
    ----------
    filename : str or None
        The file, where that is known.
    lineno : int or None
        Line in it, from 1, if it is a text.

    Examples
    --------
    >>> from minidump_cffi.replay import Recording
    >>> try:
    ...     Recording.from_jsonl("{}")
    ... except FormatError as error:
    ...     error.lineno
    1
    """

    def __init__(
        self, message: str = "", *, filename: str | None = None, lineno: int | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.filename = filename
        self.lineno = lineno


class LimitReached(DumpError, OSError):
    """We may not have more open files, threads or processes; the message names the limit, `hint` what would help.

    Examples
    --------
    >>> issubclass(LimitReached, OSError)
    True
    """


class BudgetTooSmall(DumpError):
    """`max_bytes` has no room for headers, threads, modules and texts of this dump, even without any memory.

    Attributes
    ----------
    least_bytes : int
        The least `max_bytes` with which this dump could have been written.

    Examples
    --------
    >>> BudgetTooSmall("too small", least_bytes=65536).least_bytes
    65536
    """

    def __init__(self, message: str = "", *, least_bytes: int = 0, **members: Any) -> None:
        super().__init__(message, **members)
        self.least_bytes = least_bytes


class Cancelled(DumpError):
    """The dump was cancelled: by `on_cancel`, by a Cancel callback or by `Callback.cancel`.

    Examples
    --------
    >>> hex(Cancelled("cancelled", hresult=0x800704C7).hresult)
    '0x800704c7'
    """


class DeadlineExceeded(DumpError, TimeoutError):
    """`deadline` or `max_stop` passed; the target runs on and nothing was written.

    With ``on_limit="truncate"`` only if `max_stop` passed before any memory was copied.

    Examples
    --------
    >>> issubclass(DeadlineExceeded, TimeoutError)
    True
    """


class Stalled(DeadlineExceeded):
    """The target was resumed because the dump made no progress for `stall_timeout`; the message names what hung.

    A read of memory that does not return has its `address`, a callback its `callback_type`.

    Examples
    --------
    >>> issubclass(Stalled, DeadlineExceeded)
    True
    """


class CallbackError(DumpError):
    """The callback answered what the protocol forbids, or it is closed, or another dump uses it.

    Examples
    --------
    >>> from minidump_cffi import Callback
    >>> callback = Callback()
    >>> callback.close()
    >>> try:
    ...     callback.counters
    ... except CallbackError as error:
    ...     print(error)
    this callback is closed
    """


class ReplayMismatch(CallbackError):
    """A replay got another answer than the recording has, or the callback wrote where it must not.

    `index` is the number of the call, from 0, `callback_type` its type; the message says what differs.

    Examples
    --------
    >>> issubclass(ReplayMismatch, CallbackError)
    True
    """


class PluginError(DumpError, OSError):
    """A file cannot be loaded as a plug-in: not there, no shared library, for another machine, without the routine.

    Attributes
    ----------
    filename : str or None
        The file.

    Examples
    --------
    >>> from minidump_cffi import Plugin
    >>> try:
    ...     Plugin("/nowhere/plugin.so")
    ... except PluginError as error:
    ...     error.filename
    '/nowhere/plugin.so'
    """


class FilterWarning(UserWarning):
    """A rule of a filter can never decide anything.

    Examples
    --------
    >>> import warnings
    >>> from minidump_cffi import Filter, exclude, include
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     compiled = Filter(exclude(kind="heap"), include()).compile()
    >>> print(caught[0].message)
    rule 0 can never decide anything: later rules hide it
    """
