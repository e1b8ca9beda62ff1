"""Plug-ins on systems with ELF: what kind of file it is, loading it, and whether an address is code."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

assert sys.platform != "win32"

__all__ = ["fault", "function", "is_code", "load"]

# elf(5): e_ident, e_type, e_machine.
_HEADER = struct.Struct("=4sBBB9xHH")
_ELF = b"\x7fELF"
_ET_DYN = 3
_MACHINES = {3: "x86", 40: "ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V", 8: "MIPS", 21: "PowerPC 64", 22: "s390"}


def fault(path: str) -> str | None:
    """Why the file cannot be a plug-in, in the words of its header; None if it may be one.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_ELF):
        return "is not a shared library: it does not start as an ELF file"
    kind, machine = _kind(head)
    with open("/proc/self/exe", "rb") as own:
        wanted = _kind(own.read(_HEADER.size))[1]
    if machine != wanted:
        return f"is for another machine: {_name(machine)}, and this Python is {_name(wanted)}"
    if kind != _ET_DYN:
        return "is not a shared library: link it with -shared"
    return None


def load(path: str) -> ctypes.CDLL:
    """The library, all its symbols resolved."""
    return ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)


def function(library: ctypes.CDLL, name: str) -> Any:
    """An exported function.

    Raises
    ------
    AttributeError
        The name does not exist.
    """
    return library[name]


def _kind(head: bytes) -> tuple[int, tuple[int, int, int]]:
    """Type of the file; class, byte order and machine."""
    _, bits, order, _, kind, machine = _HEADER.unpack(head)
    if order == 2:  # of the other byte order
        kind, machine = int.from_bytes(head[16:18], "big"), int.from_bytes(head[18:20], "big")
    return kind, (bits, order, machine)


def _name(machine: tuple[int, int, int]) -> str:
    bits, order, number = machine
    endian = "" if order == 1 else ", big endian"
    return f"{_MACHINES.get(number, f'ELF machine {number}')} ({32 * bits} bits{endian})"


def is_code(address: int) -> bool:
    """Whether the address lies in memory that can be executed."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            span, rights = line.split(maxsplit=2)[:2]
            first, end = (int(part, 16) for part in span.split(b"-"))
            if first <= address < end:
                return b"x" in rights
    return False
