"""Cores made for the benchmarks: one thread with a stack, and memory, dense or with holes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from setting import MIB

PAGE = 4096
STACK, STACK_SIZE = 0x7FFF_0000_0000, 64 * 1024
MEMORY = 0x5000_0000_0000
_PRSTATUS, _PRSTATUS_SIZE, _TID, _REGISTERS = 1, 336, 32, 112  # elf_prstatus of x86-64
_RIP, _RSP = 16, 19  # in user_regs_struct, words


def make_core(path: Path, size: int, *, stored: int | None = None) -> None:
    """Write a core of x86-64 with so much memory; of it `stored` bytes, a MiB here and there, the rest is holes."""
    status = bytearray(_PRSTATUS_SIZE)
    struct.pack_into("<I", status, _TID, 1000)
    struct.pack_into("<Q", status, _REGISTERS + 8 * _RIP, MEMORY)
    struct.pack_into("<Q", status, _REGISTERS + 8 * _RSP, STACK + STACK_SIZE // 2)
    note = struct.pack("<3I8s", 5, len(status), _PRSTATUS, b"CORE") + status
    segments = [(STACK, STACK_SIZE), (MEMORY, size)]
    count = 1 + len(segments)
    start = (64 + 56 * count + len(note) + PAGE - 1) // PAGE * PAGE
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<2HI3QI6H", 4, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    header += struct.pack("<2I6Q", 4, 0, 64 + 56 * count, 0, 0, len(note), 0, 4)
    at = start
    for address, length in segments:
        header += struct.pack("<2I6Q", 1, 6, at, address, 0, length, length, PAGE)
        at += length
    filling = os.urandom(MIB)
    with path.open("wb") as file:
        file.write(header + note)
        file.truncate(at)
        file.seek(start)
        file.write(filling[:STACK_SIZE])
        pieces = (size if stored is None else stored) // MIB
        for number in range(pieces):
            file.seek(start + STACK_SIZE + number * (size // pieces) // PAGE * PAGE)
            file.write(filling)
