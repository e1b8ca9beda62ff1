"""The trampoline."""

from __future__ import annotations

import os
import sys

from .. import errors
from ..enums import CallbackType
from ._ext import ffi, lib
from .errors import exception, new_error
from .pointers import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .filter import NativeFilter
    from .hooks import Hooks


class NativeCallback:
    """The trampoline with its per-dump state."""

    __slots__ = ("_maker", "_shown", "hooks", "pointer")

    hooks: Hooks | None
    pointer: Any

    def __init__(
        self,
        native: NativeFilter,
        hooks: Hooks | None = None,
        *,
        module_capacity: int = 0,
        name_capacity: int = 0,
        memory_piece: int = 0,
        stack_capacity: int = 0,
        excluded_gap_capacity: int = 0,
    ) -> None:
        options = ffi.new("mdc_callback_options *")
        options.stack_capacity, options.excluded_gap_capacity = stack_capacity, excluded_gap_capacity
        options.module_capacity, options.name_capacity = module_capacity, name_capacity
        options.memory_piece = memory_piece
        if hooks is not None:
            options.hook_types = hooks.types()
            options.hook = lib.mdc_py_hook
            options.hook_context = hooks.handle
        error = new_error()
        pointer = lib.mdc_callback_new(native.pointer, options, error)
        if pointer == ffi.NULL:
            raise exception(error)
        self._shown = [False]
        self.pointer = owned(pointer, self._release())
        self.hooks = hooks
        if hooks is not None:
            hooks.callback = ffi.cast("mdc_callback *", pointer)
        self._maker = os.getpid()

    def is_ours(self) -> bool:
        """False in a forked child."""
        return self._maker == os.getpid()

    def check_process(self) -> None:
        if not self.is_ours():
            raise errors.CallbackError("this callback was made before the process was forked: make a new one")

    def close(self) -> None:
        error = new_error()
        ffi.gc(self.pointer, None)  # from here on nothing else frees it
        free = lib.mdc_callback_retire if self._shown[0] else lib.mdc_callback_free
        if free(self.pointer, error) != lib.MDC_OK:
            self.pointer = owned(self.pointer, self._release())
            raise exception(error)
        self.pointer = ffi.NULL

    def _release(self) -> Callable[[Any], object]:
        """What frees it with its object: an engine that was shown the addresses may still call them."""
        shown, free, ending = self._shown, _free_callback, sys.is_finalizing

        def release(raw: Any) -> None:
            if ending():  # this module may be gone already, and the memory goes with the process
                return
            if shown[0]:
                lib.mdc_callback_retire(raw, new_error())
            else:
                free(raw)

        return release

    def information(self) -> Any:
        self._shown[0] = True
        return lib.mdc_callback_information(self.pointer)

    def addresses(self) -> tuple[int, int]:
        """Routine and param, for an engine that is gone before this object is."""
        found = lib.mdc_callback_information(self.pointer)
        return int(ffi.cast("uintptr_t", found.CallbackRoutine)), int(ffi.cast("uintptr_t", found.CallbackParam))

    def acquire(self, extensions: int) -> None:
        """Begin a dump of an engine that is not paired with it by a session."""
        error = new_error()
        if lib.mdc_callback_acquire(self.pointer, error) != lib.MDC_OK:
            raise exception(error)
        try:
            self.reset()
            self.set_host(extensions)
        except BaseException:
            lib.mdc_callback_release(self.pointer)
            raise

    def release(self) -> None:
        lib.mdc_callback_release(self.pointer)

    def set_host(self, extensions: int) -> None:
        error = new_error()
        if lib.mdc_callback_set_host(self.pointer, extensions, error) != lib.MDC_OK:
            raise exception(error)

    def reset(self) -> None:
        error = new_error()
        if lib.mdc_callback_reset(self.pointer, error) != lib.MDC_OK:
            raise exception(error)
        if self.hooks is not None:
            self.hooks.error = None

    def cancel(self) -> None:
        lib.mdc_callback_cancel(self.pointer)

    def check(self) -> None:
        error = new_error()
        if lib.mdc_callback_check(self.pointer, error) != lib.MDC_OK:
            raise exception(error)

    def counters(self) -> dict[str, Any]:
        return counters(lib.mdc_callback_read_counters(self.pointer))


def _free_callback(raw: Any) -> None:
    lib.mdc_callback_free(raw, new_error())


def counters(raw: Any) -> dict[str, Any]:
    """The counters of a callback as Python values."""
    calls = list(raw.calls)
    return {
        "calls": {member: calls[member] for member in CallbackType},
        "unknown": calls[31],
        "excluded": raw.excluded,
        "narrowed": raw.narrowed,
        "tolerated": raw.tolerated,
        "kernel_status": raw.kernel_status & 0xFFFFFFFF,
        "redacted_bytes": raw.scrubbed_bytes,
        "redacted_hits": raw.scrubbed_hits,
        "sanitized_words": raw.sanitized_words,
        "uncovered_borders": raw.uncovered_borders,
        "hulls": raw.hulls,
        "excluded_gap_bytes": raw.excluded_gap_bytes,
        "filled_bytes": raw.filled_bytes,
        "lost": raw.lost,
    }
