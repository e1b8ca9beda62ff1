"""Which process is dumped: pids, pidfds, handles, Popen and psutil objects. What the system knows is in `_system`."""

from __future__ import annotations

import errno
import os

from ._naming import host, plain, timestamp
from ._os import system as _system
from ._os.system import check_consumer, start_time
from ._record import Record
from .errors import TargetError, TargetGone
from .files import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._aliases import Process

__all__ = ["Handle", "PidFd", "SourceTarget", "Target", "check_consumer", "resolve", "start_time"]


class PidFd(Record, kw_only=False):
    """A process by pidfd (`os.pidfd_open`), on Linux: its pid cannot be used again meanwhile.

    Stays the caller's to close.

    Examples
    --------
    >>> import os, sys
    >>> from subprocess import PIPE, Popen
    >>> from minidump_cffi import plan_dump
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     fd = os.pidfd_open(child.pid)
    ...     plan = plan_dump(PidFd(fd))
    ...     os.close(fd)
    ...     child.kill()
    >>> plan.pid == child.pid
    True
    """

    fd: int


class Handle(Record, kw_only=False):
    """A process by HANDLE, on Windows: its pid cannot be used again meanwhile. Stays the caller's to close.

    The handle needs PROCESS_QUERY_INFORMATION and PROCESS_VM_READ, for snapshots PROCESS_CREATE_PROCESS too; with
    SYNCHRONIZE the end of the process is noticed.

    Examples
    --------
    >>> Handle(0x1F4)
    Handle(handle=500)
    """

    handle: int


class Target(Record):
    """A resolved process.

    Attributes
    ----------
    pid : int
        Its process id.
    pidfd : int
        A pidfd of the caller's, or -1.
    start_time : int
        What field 22 of /proc/PID/stat has to say, on Windows the FILETIME of the creation; 0 if that is not known.
    handle : int
        A HANDLE of the caller's, or 0.
    """

    pid: int
    pidfd: int = -1
    start_time: int = 0
    handle: int = 0

    @property
    def own(self) -> bool:
        """Whether it is this very process."""
        return self.pid == os.getpid()


class SourceTarget(Record):
    """What is dumped in place of a process: a source of a file, or one that an extension made. For one dump.

    Attributes
    ----------
    slot : int
        Address of an ``mdc_source *`` (csrc/source/source.h). The dump takes the source out of it; NULL remains.
    owner : object
        Keeps the slot alive, and frees a source that has stayed in it.
    file : bool
        Whether it is a file: options of live processes have no effect, and without a type all of it is dumped.
    name : str
        Of the file, for messages.
    identity : tuple of int or None
        Device and inode of the file.
    notes : tuple of str
        What the report has to say of it.
    """

    slot: int
    owner: object
    file: bool = False
    name: str = ""
    identity: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def resolve(process: Process | Target | SourceTarget) -> Target | SourceTarget:
    """Find out which process is meant, and how to make sure that it is the same later.

    Raises
    ------
    TargetGone
        It has ended, or its pid belongs to another process now.
    TargetError
        It is not a process this system can dump.
    TypeError
        It is nothing that names a process.
    """
    if isinstance(process, (Target, SourceTarget)):
        return process
    if isinstance(process, FILES):
        raise TypeError(f"{process!r} is a file, and this needs a live process")
    if isinstance(process, bool):
        raise TypeError("process must be a pid, PidFd, Popen or psutil.Process, not a bool")
    if isinstance(process, int):
        return Target(pid=_checked(process), pidfd=-1, start_time=0, handle=0)
    if isinstance(process, PidFd):
        return Target(pid=_system.pid_of_fd(process.fd), pidfd=process.fd)
    if isinstance(process, Handle):
        if isinstance(process.handle, bool) or not isinstance(process.handle, int):
            raise TypeError(f"a handle is an int, not {process.handle!r}")
        owner, handle = _system.open_handle(process.handle)
        return Target(pid=owner, handle=handle)
    if not hasattr(process, "pid"):
        raise TypeError(f"process must be a pid, PidFd, Popen or psutil.Process, not {process!r}")
    pid = process.pid
    if pid is None:
        raise TargetError(f"{process!r} has not been started")
    for name in ("returncode", "exitcode"):
        status = getattr(process, name, None)
        if status is not None:
            raise TargetGone(f"process {pid} has ended with status {status}", pid=pid, errno=errno.ESRCH)
    number = _checked(pid)
    handle = _system.process_handle(process)
    if handle:
        _system.open_handle(handle)  # it may have ended unnoticed
    return Target(pid=number, start_time=_psutil_start(process, number), handle=handle)


def name_values(target: Target | SourceTarget) -> dict[str, object]:
    """What a template of file names (`_naming.expand`) may hold of a process."""
    assert isinstance(target, Target)
    name = plain(_system.program_of(target.pid)) or "process"
    return {"name": name, "pid": target.pid, "time": timestamp(), "host": plain(host()) or "host"}


def _checked(pid: object) -> int:
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError(f"a pid is an int, not {pid!r}")
    if not 0 < pid < 1 << 31:
        raise TargetGone(f"invalid pid {pid}: a pid is positive", errno=errno.ESRCH)
    return pid


def _psutil_start(process: Any, pid: int) -> int:
    """Start time of a psutil.Process, which knows that its pid is still its own; 0 for other objects."""
    if not (callable(getattr(process, "create_time", None)) and callable(getattr(process, "is_running", None))):
        return 0
    start = start_time(pid)
    # In this order: a process that is running now also owned the pid when `start` was read.
    if start is None or not process.is_running():
        raise TargetGone(
            f"process {pid} has ended, or its pid belongs to another process now", pid=pid, errno=errno.ESRCH
        )
    return start
