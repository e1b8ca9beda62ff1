"""Plug-ins on Windows: what kind of file it is, loading it, and whether an address is code."""

from __future__ import annotations

import ctypes
import struct
import sys
from ctypes import wintypes

from . import windows as _windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

assert sys.platform == "win32"

__all__ = ["fault", "function", "is_code", "load"]

_COFF = struct.Struct("<4sHHIIIHH")  # "PE\0\0", then IMAGE_FILE_HEADER
_FILE_DLL = 0x2000
_MACHINES = {0x14C: "x86 (32 bits)", 0x8664: "x86-64", 0xAA64: "ARM64", 0x1C4: "ARM (32 bits)"}
_virtual_query = _windows.declare(
    _windows.kernel32, "VirtualQuery", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)


class _MemoryInformation(ctypes.Structure):
    _fields_ = [
        ("BaseAddress", ctypes.c_void_p),
        ("AllocationBase", ctypes.c_void_p),
        ("AllocationProtect", wintypes.DWORD),
        ("PartitionId", wintypes.WORD),
        ("RegionSize", ctypes.c_size_t),
        ("State", wintypes.DWORD),
        ("Protect", wintypes.DWORD),
        ("Type", wintypes.DWORD),
    ]


def _header(path: str) -> tuple[int, int] | None:
    """Machine and characteristics of a PE file; None if it is not one."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or not head.startswith(b"MZ"):
            return None
        file.seek(struct.unpack_from("<I", head, 60)[0])
        data = file.read(_COFF.size)
    if len(data) < _COFF.size or not data.startswith(b"PE\0\0"):
        return None
    fields = _COFF.unpack(data)
    return fields[1], fields[7]


def fault(path: str) -> str | None:
    """Why the file cannot be a plug-in, in the words of its header; None if it may be one.

    Raises
    ------
    OSError
        It cannot be read.
    """
    found = _header(path)
    if found is None:
        return "is not a DLL: it does not start as a PE file"
    machine, flags = found
    own = _header(sys.executable)
    if own is not None and own[0] != machine:
        return f"is for another machine: {_name(machine)}, and this Python is {_name(own[0])}"
    if not flags & _FILE_DLL:
        return "is not a DLL: link it with -shared or /DLL"
    return None


def _name(machine: int) -> str:
    return _MACHINES.get(machine, f"PE machine {machine:#x}")


def load(path: str) -> ctypes.CDLL:
    """The library; what it needs is looked for beside it and in the system's folder only."""
    return ctypes.WinDLL(path)


def function(library: ctypes.CDLL, name: str) -> Any:
    """An exported function; on 32 bits its name may have the decoration of stdcall.

    Raises
    ------
    AttributeError
        The name does not exist.
    """
    try:
        return library[name]
    except AttributeError:
        if ctypes.sizeof(ctypes.c_void_p) == 8:
            raise
        return library[f"_{name}@12"]


def is_code(address: int) -> bool:
    """Whether the address lies in memory that can be executed."""
    found = _MemoryInformation()
    if not _virtual_query(address, ctypes.byref(found), ctypes.sizeof(found)):
        return False
    executable = 0xF0  # PAGE_EXECUTE, _READ, _READWRITE, _WRITECOPY
    return bool(found.Protect & executable)
