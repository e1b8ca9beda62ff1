"""The signal a traced thread is stopped with."""

from __future__ import annotations

from ._ext import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def signal_of_tracee(tid: int) -> dict[str, Any] | None:
    """Members of a SignalInfo; None if this thread does not trace that one, or it is not in a signal stop."""
    info = ffi.new("mdc_signal_info *")
    if not lib.mdc_signal_of_tracee(tid, info):
        return None
    return {
        "signal": int(info.signal),
        "code": int(info.code),
        "address": int(info.address),
        "parameters": tuple(info.parameters[0 : info.parameter_count]),
    }
