"""Python functions that C calls."""

from __future__ import annotations

from ..enums import CallbackType
from ._ext import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Hooks:
    """Python functions that answer callback types. C reaches them through `mdc_py_hook`.

    The first exception of any of them is kept, ends the dump, and is raised again by the waiting thread.
    """

    __slots__ = ("callback", "error", "handle", "table")

    handle: Any
    table: dict[int, Callable[[Any, Any], object]]

    def __init__(self, table: Mapping[int, Callable[[Any, Any], object]]) -> None:
        self.table = dict(table)
        self.error: BaseException | None = None
        self.callback: Any = None
        self.handle = ffi.new_handle(self)

    def types(self) -> int:
        bits = 0
        for number in self.table:
            bits |= 1 << number
        return bits

    def call(self, input: Any, output: Any) -> int:
        number = input.CallbackType
        try:
            if self.error is None:
                return 1 if self.table[number](input, output) else 0
            # Nobody has fetched it yet. What the hooks would have said is missing from this dump too.
            lib.mdc_callback_cancel(self.callback)
        except BaseException as error:
            self.error = error
            # The dump shall end although the hook that failed may not be asked again.
            lib.mdc_callback_cancel(self.callback)
        if number == CallbackType.CANCEL:
            output.Cancel.CheckCancel = output.Cancel.Cancel = 1
            return 1
        if number in (CallbackType.IO_WRITE_ALL, CallbackType.IO_FINISH):
            output.Status = _E_FAIL
        return 0

    def take_error(self) -> BaseException | None:
        error, self.error = self.error, None
        return error


_E_FAIL = lib.MDC_E_FAIL - (1 << 32)


@ffi.def_extern(error=0)
def mdc_py_hook(context: Any, input: Any, output: Any) -> int:
    """What C calls; never raises (`Hooks.call` keeps what its function raises)."""
    hooks: Hooks = ffi.from_handle(context)
    return hooks.call(input, output)
