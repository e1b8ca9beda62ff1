"""Handlers of fatal signals, the helper process that they ask, and alternate stacks: csrc/crash."""

from __future__ import annotations

import os
import sys

from ._ext import ffi, lib
from .errors import exception, new_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

assert sys.platform != "win32"

__all__ = [
    "REQUEST_BYTES",
    "Stacks",
    "allow_tracer",
    "answer",
    "arm",
    "disarm",
    "dumpable",
    "dumps",
    "end_access",
    "is_armed",
    "is_pidfd",
    "kill",
    "no_engine",
    "parse",
    "set_dumpable",
    "start",
    "watch",
]

REQUEST_BYTES: int = ffi.sizeof("mdc_crash_request")
"""Size of the message that a handler sends."""


def no_engine() -> str | None:
    """Name the processor whose processes this build cannot dump, if it is the one that it runs on."""
    name = lib.mdc_access_no_engine()
    return None if name == ffi.NULL else ffi.string(name).decode()


def arm(
    *, socket: int, helper: int, helper_fd: int, signals: Iterable[int], chain: bool, dumpable: bool, wait: float
) -> None:
    """Install the handlers; they wait for an answer for so many seconds."""
    spec = ffi.new("mdc_crash_spec *")
    spec.socket, spec.helper, spec.helper_fd = socket, helper, helper_fd
    spec.chain, spec.dumpable, spec.wait_ns = int(chain), int(dumpable), int(wait * 1e9)
    for signal in signals:
        spec.signals |= 1 << (signal - 1)
    error = new_error()
    if lib.mdc_crash_arm(spec, error) != lib.MDC_OK:
        raise exception(error)


def disarm() -> None:
    """Remove the handlers."""
    lib.mdc_crash_disarm()


def is_armed() -> bool:
    """Whether this process has them."""
    return bool(lib.mdc_crash_is_armed())


def dumps() -> int:
    """How many crashes this process has survived that are in a dump."""
    return int(lib.mdc_crash_dumps())


def allow_tracer(pid: int) -> None:
    """Let a process trace us where Yama asks for that (prctl(2), PR_SET_PTRACER).

    `end_access` takes it back.
    """
    lib.mdc_crash_allow(pid)


def end_access(*, undumpable: bool) -> None:
    """Take that back, and PR_SET_DUMPABLE if that was set; a thread that crashes now keeps them."""
    lib.mdc_crash_end_access(undumpable)


def dumpable() -> int:
    """PR_GET_DUMPABLE: 1 if processes with the same rights may look into this one."""
    return int(lib.mdc_crash_dumpable())


def set_dumpable(value: int) -> None:
    """PR_SET_DUMPABLE, of which only 0 and 1 can be set."""
    lib.mdc_crash_set_dumpable(value)


def start(command: Sequence[str], environment: Mapping[str, str], *, errors: int, control: int, crashes: int) -> int:
    """Start the helper, as no child of this process; its pid."""
    program = ffi.new("mdc_crash_program *")
    arguments = [ffi.new("char[]", os.fsencode(word)) for word in command]
    variables = [ffi.new("char[]", os.fsencode(f"{name}={value}")) for name, value in environment.items()]
    tables = [ffi.new("char *[]", [*texts, ffi.NULL]) for texts in (arguments, variables)]
    program.arguments, program.environment = tables
    program.errors, program.control, program.crashes = errors, control, crashes
    pid, error = ffi.new("int32_t *"), new_error()
    if lib.mdc_crash_start(program, pid, error) != lib.MDC_OK:
        raise exception(error)
    return int(pid[0])


def watch(pid: int) -> int:
    """A pidfd: it can be polled for the end of the process."""
    pidfd, error = ffi.new("int32_t *"), new_error()
    if lib.mdc_crash_watch(pid, pidfd, error) != lib.MDC_OK:
        raise exception(error)
    return int(pidfd[0])


def is_pidfd(fd: int) -> bool:
    """Whether a descriptor is one."""
    return bool(lib.mdc_crash_is_pidfd(fd))


def kill(pidfd: int) -> None:
    """SIGKILL to a process, if it has not ended."""
    lib.mdc_crash_kill(pidfd)


class Stacks:
    """Alternate stacks of threads. They go with their thread, and the object stays."""

    def __init__(self) -> None:
        error = new_error()
        self._stacks = lib.mdc_crash_stacks_new(error)
        if self._stacks == ffi.NULL:
            raise exception(error)

    def cover(self) -> None:
        """Give the calling thread one, if it has none."""
        error = new_error()
        if lib.mdc_crash_stacks_cover(self._stacks, error) != lib.MDC_OK:
            raise exception(error)

    @property
    def count(self) -> int:
        """How many threads that live were covered."""
        return int(lib.mdc_crash_stacks_count(self._stacks))

    def forked(self) -> None:
        """Only the calling thread is left."""
        lib.mdc_crash_stacks_forked(self._stacks)


# ------------------------------------------------------------------------------------------------- the other side


def parse(data: bytes) -> Any:
    """The message of a handler: an mdc_crash_request."""
    request = ffi.new("mdc_crash_request *")
    ffi.memmove(request, data, REQUEST_BYTES)
    return request


def answer(failed: str | None) -> bytes:
    """What the handler is told: why there is no dump, or that there is one."""
    made = ffi.new("mdc_crash_answer *")
    if failed is not None:
        made.failed = 1
        line = " ".join(failed.split()).encode("utf-8", "replace")
        made.message = line[: ffi.sizeof(made.message) - 1]
    return bytes(ffi.buffer(made))
