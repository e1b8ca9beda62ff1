"""A callback that is not ours, for tests: a ctypes function that knows the plain protocol and keeps what it sees."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from typing import Any

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib

Answer = Callable[[Any, Any], int]
"""Gets MINIDUMP_CALLBACK_INPUT * and MINIDUMP_CALLBACK_OUTPUT * of cffi; returns TRUE or FALSE."""

_KIND = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_OUTPUT_BYTES = ffi.sizeof("MINIDUMP_CALLBACK_OUTPUT")


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One call: what an engine sets before it."""

    type: int
    pid: int
    handle: int
    output: bytes


def agree(_input: Any, _output: Any) -> int:
    """TRUE, and nothing touched."""
    return 1


def refuse(_input: Any, _output: Any) -> int:
    """FALSE, and nothing touched."""
    return 0


class Callee:
    """Answers each type by its function, and the others by `otherwise`."""

    def __init__(self, answers: dict[int, Answer] | None = None, otherwise: Answer = agree) -> None:
        self.answers = {int(number): answer for number, answer in (answers or {}).items()}
        self.otherwise = otherwise
        self.seen: list[Seen] = []
        self.function = _KIND(self._call)

    def _call(self, _param: int, input_address: int, output_address: int) -> int:
        input = ffi.cast("MINIDUMP_CALLBACK_INPUT *", input_address)
        output = ffi.cast("MINIDUMP_CALLBACK_OUTPUT *", output_address)
        number = int(input.CallbackType)
        handle = int(ffi.cast("uintptr_t", input.ProcessHandle))
        entry = bytes(ffi.buffer(output, _OUTPUT_BYTES))
        self.seen.append(Seen(number, int(input.ProcessId), handle, entry))
        return self.answers.get(number, self.otherwise)(input, output)

    @property
    def routine(self) -> md.protocol.Routine:
        """As `write_dump` takes it."""
        return md.protocol.Routine(routine=self.function)

    def types(self) -> list[int]:
        """The types in the order in which they came."""
        return [call.type for call in self.seen]

    def count(self, number: int) -> int:
        """Calls of one type."""
        return self.types().count(number)


def keep_asking(_input: Any, output: Any) -> int:
    """IncludeVmRegion: the region as it is, and more questions. Cancel: no, and more questions."""
    if _input.CallbackType == lib.MDC_CB_CANCEL:
        output.Cancel.CheckCancel = 1
    else:
        output.Region.Continue = 1
    return 1


def own_memory(_input: Any, output: Any) -> int:
    """VmStart: the callee wants to see every read."""
    output.Status = lib.MDC_S_FALSE
    return 1


def stored(_input: Any, output: Any) -> int:
    """S_OK: a write, the end of the writing, or a failure that is tolerated."""
    output.Status = 0
    return 1


def handle_of_nobody(_input: Any, output: Any) -> int:
    """A handle for a kernel minidump, so that its status is told."""
    output.Handle = ffi.cast("void *", 12345)
    return 1


def curious(*, takes_io: bool = True) -> Callee:
    """Asks for every type there is, and changes nothing."""
    answers: dict[int, Answer] = {
        md.protocol.CallbackType.VM_START: own_memory,
        md.protocol.CallbackType.CANCEL: keep_asking,
        md.protocol.CallbackType.INCLUDE_VM_REGION: keep_asking,
        md.protocol.CallbackType.READ_MEMORY_FAILURE: stored,
        md.protocol.CallbackType.WRITE_KERNEL_MINIDUMP: handle_of_nobody,
        md.protocol.CallbackType.VM_QUERY: refuse,
        md.protocol.CallbackType.VM_PRE_READ: refuse,
        md.protocol.CallbackType.VM_POST_READ: refuse,
    }
    unmapped = [0x7000_0000_0000]

    def add_what_is_not_there(_input: Any, output: Any) -> int:
        output.Memory.MemoryBase, output.Memory.MemorySize = (unmapped.pop(), 4096) if unmapped else (0, 0)
        return 1

    answers[md.protocol.CallbackType.MEMORY] = add_what_is_not_there
    if takes_io:
        answers[md.protocol.CallbackType.IO_START] = own_memory
        answers[md.protocol.CallbackType.IO_WRITE_ALL] = answers[md.protocol.CallbackType.IO_FINISH] = stored
    return Callee(answers)
