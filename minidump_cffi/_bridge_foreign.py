"""Pointers and texts of C that callbacks from somewhere else bring along: the cffi side of foreign.py and views.py."""

from __future__ import annotations

from typing import Any

from ._bridge import address
from ._native import ffi


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
