"""Recordings of callbacks, and replays."""

from __future__ import annotations

import os

from .. import errors
from .._record import Record
from ._ext import ffi, lib
from .errors import exception, new_error
from .pointers import owned
from .session import keep_for_good

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .callback import NativeCallback

ANSWER_SIZE = 60
"""Bytes of mdc_replay_answer; C asserts it."""


class NativeRecorder:
    """A routine in front of another one that keeps calls and answers. It holds a reference to that callback."""

    __slots__ = ("_callback", "_maker", "pointer")

    pointer: Any

    def __init__(self, limit: int = 0, callback: NativeCallback | None = None) -> None:
        options = ffi.new("mdc_recorder_options *")
        options.limit = limit
        # The key of the digests is secret, and destroyed with the recorder.
        key0, key1 = (int.from_bytes(os.urandom(8), "little") for _ in range(2))
        options.key0, options.key1 = key0, key1 | 1
        error = new_error()
        pointer = lib.mdc_recorder_new(options, error)
        if pointer == ffi.NULL:
            raise exception(error)
        self.pointer = owned(pointer, lib.mdc_recorder_free)
        self._maker = os.getpid()
        self._callback = callback
        if callback is not None:
            information = ffi.new("MINIDUMP_CALLBACK_INFORMATION *", callback.information()[0])
            lib.mdc_recorder_attach(self.pointer, 0, information)

    def _check_process(self) -> None:
        # The lock may be held by a thread that the child does not have.
        if self._maker != os.getpid():
            raise errors.CallbackError("this recording was made before the process was forked")

    def information(self) -> Any:
        return lib.mdc_recorder_information(self.pointer)

    def show(self) -> None:
        """The addresses are given out: it is never freed, nor is the gate of its callback."""
        keep_for_good(self)
        self._callback = None

    def clear(self) -> None:
        self._check_process()
        lib.mdc_recorder_clear(self.pointer)

    def read(self) -> tuple[bytes, int, int]:
        """The records, the extensions in force, and how many calls are missing at the end."""
        self._check_process()
        state = lib.mdc_recorder_read(self.pointer)
        data = bytearray(state.bytes)
        size = lib.mdc_recorder_copy(self.pointer, ffi.from_buffer("uint8_t[]", data), len(data)) if data else 0
        return bytes(data[:size]), state.extensions, state.dropped


class Outcome(Record, kw_only=False):
    answers: bytes
    calls: int
    violations: int
    elapsed_ns: int


def run(packed: bytes, count: int, routine: int, param: int, options: Mapping[str, int]) -> Outcome:
    """Send records to a routine."""
    # A copy: an object of bytes need not be aligned, and a callee must not be able to change it.
    records = ffi.new("uint64_t[]", max(1, len(packed) // 8))
    ffi.memmove(records, packed, len(packed))
    native = ffi.new("mdc_replay_options *")
    for name, value in options.items():
        setattr(native, name, value)
    answers = bytearray(max(1, count * ANSWER_SIZE))
    result, error = ffi.new("mdc_replay_result *"), new_error()
    status = lib.mdc_replay_run(
        ffi.cast("uint8_t *", records),
        len(packed),
        ffi.cast("MINIDUMP_CALLBACK_ROUTINE", routine),
        ffi.cast("void *", param),
        native,
        ffi.cast("mdc_replay_answer *", ffi.from_buffer(answers)),
        count,
        result,
        error,
    )
    if status != lib.MDC_OK:
        raise exception(error)
    return Outcome(bytes(answers[: count * ANSWER_SIZE]), result.calls, result.violations, result.elapsed_ns)
