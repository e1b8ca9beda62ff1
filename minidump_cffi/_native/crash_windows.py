"""The filter of unhandled exceptions, and how it and the helper process talk: csrc/crash on Windows."""

from __future__ import annotations

import mmap
import sys

from ._ext import ffi, lib
from .errors import exception, new_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

assert sys.platform == "win32"

__all__ = ["Exchange", "answer", "arm", "cover_thread", "disarm", "dumps", "wait"]


class Exchange:
    """Memory that two processes have in common, by a name that only they know.

    Parameters
    ----------
    name
        The same in both.
    """

    def __init__(self, name: str) -> None:
        self._memory = mmap.mmap(-1, ffi.sizeof("mdc_crash_exchange"), tagname=name)
        self.address = ffi.cast("mdc_crash_exchange *", ffi.from_buffer(self._memory))

    def request(self) -> Any:
        """What the filter has asked: a copy, which the program cannot change any more."""
        return ffi.new("mdc_crash_exchange *", self.address[0])

    def answer(self, failed: str | None) -> None:
        """Say why there is no dump, or that there is one."""
        self.address.failed = int(failed is not None)
        line = " ".join((failed or "").split()).encode("utf-8", "replace")
        self.address.message = line[: ffi.sizeof(self.address.message) - 1]


def arm(*, asked: int, answered: int, helper: int, exchange: Exchange, chain: bool, wait: float) -> None:
    """Install the filter; it waits for an answer for so many seconds."""
    spec = ffi.new("mdc_crash_spec *")
    spec.asked, spec.answered = ffi.cast("void *", asked), ffi.cast("void *", answered)
    spec.helper, spec.exchange = ffi.cast("void *", helper), exchange.address
    spec.chain, spec.wait_ns = int(chain), int(wait * 1e9)
    error = new_error()
    if lib.mdc_crash_arm(spec, error) != lib.MDC_OK:
        raise exception(error)


def disarm() -> None:
    """Remove the filter."""
    lib.mdc_crash_disarm()


def dumps() -> int:
    """How many crashes this process has survived that are in a dump."""
    return int(lib.mdc_crash_dumps())


def cover_thread() -> bool:
    """Let the filter run on the calling thread after a stack overflow."""
    return bool(lib.mdc_crash_cover_thread())


# ------------------------------------------------------------------------------------------------- the other side


def wait(asked: int, process: int) -> bool:
    """Wait for a request; False when the process has ended."""
    return bool(lib.mdc_crash_wait(ffi.cast("void *", asked), ffi.cast("void *", process)))


def answer(answered: int) -> None:
    """Wake the filter."""
    lib.mdc_crash_answer(ffi.cast("void *", answered))
