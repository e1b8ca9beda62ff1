"""Errors of C as exceptions."""

from __future__ import annotations

import errno
import re
import sys

from .. import errors
from ..enums import CallbackType, Phase
from ._ext import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLASSES: dict[int, type[errors.DumpError]] = {
    lib.MDC_ERR_FILTER: errors.FilterError,
    lib.MDC_ERR_TARGET: errors.TargetError,
    lib.MDC_ERR_TARGET_GONE: errors.TargetGone,
    lib.MDC_ERR_TARGET_BUSY: errors.TargetBusy,
    lib.MDC_ERR_STALLED: errors.Stalled,
    lib.MDC_ERR_ACCESS: errors.AccessDenied,
    lib.MDC_ERR_READ: errors.ReadError,
    lib.MDC_ERR_SINK: errors.SinkError,
    lib.MDC_ERR_FORMAT: errors.FormatError,
    lib.MDC_ERR_CANCELLED: errors.Cancelled,
    lib.MDC_ERR_DEADLINE: errors.DeadlineExceeded,
    lib.MDC_ERR_CALLBACK: errors.CallbackError,
    lib.MDC_ERR_BUSY: errors.CallbackError,
    lib.MDC_ERR_LIMIT: errors.LimitReached,
    lib.MDC_ERR_BUDGET: errors.BudgetTooSmall,
}


def new_error() -> Any:
    """An mdc_error that says nothing went wrong."""
    error = ffi.new("mdc_error *")
    error.callback_type = -1
    error.index = -1
    return error


def exception(error: Any) -> Exception:
    """The exception that belongs to an mdc_error."""
    message = ffi.string(error.message).decode("utf-8", "replace")
    if error.code == lib.MDC_ERR_INVALID:
        return ValueError(message)
    if error.code == lib.MDC_ERR_NOMEM:
        return MemoryError(message)
    cls = _CLASSES.get(error.code, errors.DumpError)
    types = {member.value for member in CallbackType}
    number, winerror = _system_error(cls, error.os_errno)
    more = {"least_bytes": error.least_bytes} if cls is errors.BudgetTooSmall else {}
    return cls(
        message,
        phase=Phase(error.phase) if 0 <= error.phase <= Phase.FINISH else None,
        pid=error.pid or None,
        address=error.address or None,
        hresult=error.hresult or None,
        callback_type=CallbackType(error.callback_type) if error.callback_type in types else None,
        index=error.index if error.index >= 0 else None,
        hint=_hint(cls, message),
        errno=number,
        winerror=winerror,
        **more,
    )


def start_refused(number: int, what: str) -> Exception:
    """The exception for a thread or process that could not be started, which names the limit or who refused."""
    error = new_error()
    lib.mdc_fail_start(error, Phase.OPEN, number, what.encode())
    return exception(error)


def short(number: int, what: str) -> Exception:
    """The exception for something else that the system refuses to us: open files, memory, a call."""
    error = new_error()
    lib.mdc_fail_short(error, Phase.OPEN, number, what.encode())
    return exception(error)


def _system_error(
    cls: type[errors.DumpError], number: int, system: str = sys.platform
) -> tuple[int | None, int | None]:
    """C's number of the system's error as errno and, on Windows, as Windows error."""
    if not number and cls is errors.TargetGone:  # seen without a call that failed; a ProcessLookupError all the same
        return errno.ESRCH, None
    if system != "win32" or not number:
        return number or None, None
    # A pid that is gone is ERROR_INVALID_PARAMETER there, and a missing privilege has no errno that fits the class.
    fixed = {
        errors.TargetGone: errno.ESRCH,
        errors.AccessDenied: errno.EACCES,
        errors.DeadlineExceeded: errno.ETIMEDOUT,
    }
    return fixed.get(cls) or errors.errno_of(number), number


def _hint(cls: type[errors.DumpError], message: str) -> str | None:
    """The advice at the end of a message: "who refused: what would allow it: what the system said"."""
    if cls not in (errors.AccessDenied, errors.LimitReached):
        return None
    text = re.sub(r": [^:]* \((errno|error) \d+\)$", "", message)
    return text.rpartition(": ")[2] if ": " in text else None
