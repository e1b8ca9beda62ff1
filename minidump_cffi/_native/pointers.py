"""Pointers and texts of C: who owns them, and what they are as Python values."""

from __future__ import annotations

import os

from ._ext import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def owned(pointer: Any, release: Callable[[Any], object]) -> Any:
    """The pointer, released with its Python object in the process that made it and nowhere else."""
    maker = os.getpid()

    def free(raw: Any, getpid: Callable[[], int] = os.getpid) -> None:
        if getpid() == maker:
            release(raw)

    return ffi.gc(pointer, free)


def view(pointer: Any, size: int, *, writable: bool = False) -> memoryview:
    """Memory of C; read-only unless said otherwise."""
    if not size:
        return memoryview(b"")
    found = memoryview(ffi.buffer(ffi.cast("uint8_t *", pointer), size))
    return found if writable else found.toreadonly()


def address(value: Any) -> int:
    """A pointer as a number."""
    return int(ffi.cast("uintptr_t", value))


def utf16(pointer: Any) -> str:
    """A NUL-terminated UTF-16 text of C; bytes that are not UTF-8 appear as from os.fsdecode."""
    if pointer == ffi.NULL:
        return ""
    units = 0
    while pointer[units]:
        units += 1
    return bytes(ffi.buffer(pointer, 2 * units)).decode("utf-16-le", "surrogatepass")


def as_pointer(value: int) -> Any:
    """A number as a pointer."""
    return ffi.cast("void *", value)


def foreign_function(value: Any) -> int | None:
    """The address of a cffi function pointer of any FFI; None for everything else."""
    if not isinstance(value, ffi.CData):
        return None
    kind = ffi.typeof(value)
    if kind.kind != "function":
        return None
    if len(kind.args) != 3:
        raise ValueError(f"a callback routine takes three arguments, and {kind.cname} does not")
    return address(value)


def is_pointer(value: Any) -> bool:
    """Whether it is a pointer of cffi."""
    return isinstance(value, ffi.CData) and ffi.typeof(value).kind in ("pointer", "array", "function")
