"""Why a dump is taken: the exception of a Windows process, the signal of a Linux process."""

from __future__ import annotations

import os
import sys

from ._record import Record
from .errors import TargetError, TargetGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._aliases import Process

__all__ = ["ExceptionInfo", "SignalInfo"]

_PARAMETERS_MAX = 3


class ExceptionInfo(Record):
    """Why a dump is taken: MINIDUMP_EXCEPTION_INFORMATION. For targets that are Windows processes.

    Parameters
    ----------
    thread_id : int
        The thread that had the exception.
    pointers : int
        Address of its EXCEPTION_POINTERS, as the handler of the exception was given it.
    client_pointers : bool
        True if that is an address in the target, False if it is one in this process.

    Examples
    --------
    >>> ExceptionInfo(thread_id=4242, pointers=0x14F2A0)
    ExceptionInfo(thread_id=4242, pointers=1372832, client_pointers=True)
    """

    thread_id: int
    pointers: int
    client_pointers: bool = True

    def __post_init__(self) -> None:
        _number("thread_id", self.thread_id, bits=32)
        _number("pointers", self.pointers, bits=64)


class SignalInfo(Record):
    """Why a dump is taken: the signal of a thread. For targets that are Linux processes.

    The dump's Exception stream has the number of the signal as the code and `si_code` as the flags, as Breakpad and
    Crashpad write it. Its registers are those that the kernel saved in `ucontext`, or the thread's own. A thread alone
    is blamed without a signal: "dump requested", code 0xFFFFFFFF.

    Parameters
    ----------
    tid : int
        The thread.
    signal : int or None
        Number of the signal, such as `signal.SIGSEGV`; None: as `siginfo` has it.
    code : int or None
        `si_code`; None: as `siginfo` has it, else 0.
    address : int or None
        The address that faulted, `si_addr`; None: as `siginfo` has it, else 0; of a dump without a signal the address
        of the instruction.
    ucontext : int
        Address in the target of the ucontext_t that the handler was given; 0 if no handler runs.
    siginfo : int
        Address in the target of the siginfo_t that the handler was given; 0 if it is not known.
    parameters : tuple of int
        ExceptionInformation, at most 3 numbers; empty: as `siginfo` has it. Of a signal that was sent: pid, uid and
        value of the sender; of SIGSYS: the system call and the architecture.
    find_frame : bool
        The thread runs the handler of a fault: look for the frame on its stack when the dump is taken, in place of
        `ucontext` and `siginfo`.

    Raises
    ------
    TypeError, ValueError
        A member is not a number, or out of range.

    Examples
    --------
    >>> import signal
    >>> SignalInfo(tid=4242, signal=signal.SIGSEGV, code=1, address=0x10).address
    16
    """

    tid: int
    signal: int | None = None
    code: int | None = None
    address: int | None = None
    ucontext: int = 0
    siginfo: int = 0
    parameters: tuple[int, ...] = ()
    find_frame: bool = False

    def __post_init__(self) -> None:
        _number("tid", self.tid, bits=31)
        if self.signal is not None:
            _number("signal", self.signal, bits=7)
        if self.code is not None:
            _number("code", self.code, bits=31, signed=True)
        if self.address is not None:
            _number("address", self.address, bits=64, least=0)
        _number("ucontext", self.ucontext, bits=64, least=0)
        _number("siginfo", self.siginfo, bits=64, least=0)
        parameters = tuple(self.parameters)
        if len(parameters) > _PARAMETERS_MAX:
            raise ValueError(f"parameters must be at most {_PARAMETERS_MAX} numbers, not {len(parameters)}")
        for value in parameters:
            _number("a parameter", value, bits=64, least=0)
        self._put("parameters", parameters)
        if not isinstance(self.find_frame, bool):
            raise TypeError(f"find_frame must be True or False, not {self.find_frame!r}")
        if self.find_frame and (self.ucontext or self.siginfo):
            raise ValueError("find_frame looks for ucontext and siginfo: give one or the other")

    @classmethod
    def of_thread(cls, process: Process, tid: int) -> SignalInfo:
        """The signal of a thread in a signal stop.

        If the calling thread traces it (ptrace(2)), that is the signal it is stopped with; detach with
        ``PTRACE_DETACH`` and ``SIGSTOP`` before the dump is taken, as a process has one tracer. Otherwise the thread
        runs a handler of a fault, perhaps one that waits for a debugger, and its frame is looked for when the dump is
        taken: that fails with `ValueError` if there is none.

        Parameters
        ----------
        process : Process
            What `write_dump` takes.
        tid : int
            The thread.

        Raises
        ------
        TargetGone
            The process, or the thread, has ended.
        TargetError
            This system is not Linux.

        Examples
        --------
        >>> from minidump_cffi import SignalInfo
        >>> SignalInfo.of_thread(os.getpid(), os.getpid()).find_frame
        True
        """
        from . import targets

        if sys.platform == "win32":
            raise TargetError("SignalInfo is for Linux processes; of a Windows process give an ExceptionInfo")
        from ._native.signals import signal_of_tracee

        target = targets.resolve(process)
        if not isinstance(target, targets.Target):
            raise TypeError(f"process must be a live one, not {process!r}")
        _number("tid", tid, bits=31)
        if not os.path.exists(f"/proc/{target.pid}/task/{tid}"):  # noqa: PTH110 -- pathlib takes long to import
            raise TargetGone(f"process {target.pid} has no thread {tid}", pid=target.pid)
        found = signal_of_tracee(tid)
        return cls(tid=tid, find_frame=True) if found is None else cls(tid=tid, **found)


def _number(name: str, value: Any, *, bits: int, least: int = 1, signed: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if signed:
        least = -(1 << bits)
    if not least <= value < 1 << bits:
        words = "fit" if signed else f"be {'above' if least else 'from'} 0 and fit"
        raise ValueError(f"{name} must {words} into {bits + signed} bits, not {value}")
