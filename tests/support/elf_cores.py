"""Writes ELF cores of any shape: for 64 and 32 bits, in any order of headers and notes, whole, sparse, or absurd."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path

PAGE = 4096
NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV, NT_FILE, NT_SIGINFO = 1, 2, 3, 6, 0x46494C45, 0x53494749
NT_XSTATE, NT_LAYOUT, NT_PRXFPREG, NT_TLS = 0x202, 0x205, 0x46E62B7F, 0x200
EM_386, EM_X86_64 = 3, 62
# Offsets of some of the registers in NT_PRSTATUS, by class.
SP = {True: 112 + 8 * 19, False: 72 + 4 * 15}
IP = {True: 112 + 8 * 16, False: 72 + 4 * 12}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """A PT_LOAD: `data` is at its start in the file, `size` bytes of memory."""

    address: int
    size: int
    data: bytes = b""
    flags: int = 6
    hole: int = 0
    """Bytes of zeros behind `data` that the file has as well, as a hole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """An entry of NT_FILE; `offset` in bytes."""

    first: int
    end: int
    path: bytes
    offset: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thread:
    """The notes of a thread."""

    tid: int
    sp: int = 0
    ip: int = 0
    signal: int = 0
    xstate: bytes = b""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Core:
    """A core. `order`: numbers of the loads, as their headers stand; None: as given."""

    loads: Sequence[Load] = ()
    threads: Sequence[Thread] = (Thread(tid=1),)
    files: Sequence[File] = ()
    pid: int = 1
    siginfo: bytes = b""
    auxv: Sequence[tuple[int, int]] = ()
    wide: bool = True
    page_size: int = PAGE
    notes_last: bool = False
    many: bool = False
    """As with more than 65,534 headers: e_phnum is 0xFFFF, the count in section 0, at the end."""
    order: Sequence[int] | None = None
    machine: int | None = None
    extra_notes: bytes = b""
    align: int = PAGE

    # -- notes

    def _words(self, *values: int) -> bytes:
        return struct.pack(f"<{len(values)}{'Q' if self.wide else 'I'}", *values)

    def status(self, thread: Thread) -> bytes:
        """NT_PRSTATUS; each word of the registers that is not given has a value of its own."""
        data = bytearray(336 if self.wide else 144)
        struct.pack_into("<H", data, 12, thread.signal)
        struct.pack_into("<I", data, 32 if self.wide else 24, thread.tid)
        start, size, count = (112, 8, 27) if self.wide else (72, 4, 17)
        for index in range(count):
            value = (thread.tid << 8 | index) & 0xFFFFFFFF
            data[start + size * index : start + size * (index + 1)] = self._words(value)
        for at, value in ((SP[self.wide], thread.sp), (IP[self.wide], thread.ip)):
            data[at : at + size] = self._words(value)
        return bytes(data)

    def notes(self) -> bytes:
        """All notes, in the kernel's order."""
        info = bytearray(136 if self.wide else 124)
        struct.pack_into("<I", info, 24 if self.wide else 12, self.pid)
        at = 40 if self.wide else 28
        info[at : at + 4] = b"made"
        out = b""
        for index, thread in enumerate(self.threads):
            out += note(b"CORE", NT_PRSTATUS, self.status(thread))
            if index == 0:
                out += note(b"CORE", NT_PRPSINFO, bytes(info))
                if self.siginfo:
                    out += note(b"CORE", NT_SIGINFO, self.siginfo.ljust(128, b"\0"))
                if self.auxv:
                    pairs = b"".join(self._words(*pair) for pair in (*self.auxv, (0, 0)))
                    out += note(b"CORE", NT_AUXV, pairs)
                if self.files:
                    out += note(b"CORE", NT_FILE, self.file_note())
            if thread.xstate:
                out += note(b"LINUX", NT_XSTATE, thread.xstate)
        return out + self.extra_notes

    def file_note(self) -> bytes:
        """The descriptor of NT_FILE."""
        head = self._words(len(self.files), self.page_size)
        rows = b"".join(self._words(file.first, file.end, file.offset // self.page_size) for file in self.files)
        return head + rows + b"".join(file.path + b"\0" for file in self.files)

    # -- the file

    def layout(self) -> tuple[bytes, list[tuple[int, bytes]], int]:
        """Headers, (offset, bytes) of what follows, and the size of the file."""
        header, entry, section = (64, 56, 64) if self.wide else (52, 32, 40)
        count = len(self.loads) + 1
        notes = self.notes()
        at = header + count * entry
        parts: list[tuple[int, bytes]] = []
        notes_at = at
        if not self.notes_last:
            parts.append((at, notes))
            at += len(notes)
        offsets = []
        for load in self.loads:
            at = -(-at // self.align) * self.align
            offsets.append(at)
            parts.append((at, load.data))
            at += len(load.data) + load.hole
        if self.notes_last:
            notes_at = at
            parts.append((at, notes))
            at += len(notes)
        rows = [self._segment(4, 0, notes_at, 0, len(notes), 0)]
        for index in range(len(self.loads)) if self.order is None else self.order:
            load = self.loads[index]
            rows.append(
                self._segment(1, load.flags, offsets[index], load.address, len(load.data) + load.hole, load.size)
            )
        sections = at if self.many else 0
        if self.many:
            fields = (0, 0, 0, 0, 0, 0)
            null = (
                struct.pack("<IIQQQQIIQQ", *fields, 0, count, 0, 0)
                if self.wide
                else struct.pack("<10I", *fields, 0, count, 0, 0)
            )
            parts.append((at, null))
            at += section
        machine = self.machine if self.machine is not None else EM_X86_64 if self.wide else EM_386
        ident = b"\x7fELF" + bytes([2 if self.wide else 1, 1, 1]) + bytes(9)
        numbers = (entry, 0xFFFF if self.many else count, section if self.many else 0, int(self.many), 0)
        head = ident + struct.pack("<HHI", 4, machine, 1) + self._words(0, header, sections)
        head += struct.pack("<IH5H", 0, header, *numbers)
        assert len(head) == header
        return head + b"".join(rows), parts, at

    def _segment(self, kind: int, flags: int, offset: int, address: int, size: int, memory: int) -> bytes:
        if self.wide:
            return struct.pack("<IIQQQQQQ", kind, flags, offset, address, 0, size, memory, PAGE)
        return struct.pack("<8I", kind, offset, address, 0, size, memory, flags, PAGE)

    def bytes(self) -> bytes:
        """The whole file."""
        head, parts, size = self.layout()
        out = bytearray(size)
        out[: len(head)] = head
        for at, data in parts:
            out[at : at + len(data)] = data
        return bytes(out)

    def write(self, path: Path) -> Path:
        """Write it as a sparse file."""
        head, parts, size = self.layout()
        with path.open("wb") as file:
            file.write(head)
            for at, data in parts:
                file.seek(at)
                file.write(data)
            file.truncate(size)
        return path


def note(name: bytes, kind: int, data: bytes) -> bytes:
    """One note, padded to 4 bytes."""
    name += b"\0"
    head = struct.pack("<III", len(name), len(data), kind)
    return head + name + bytes(-len(name) % 4) + data + bytes(-len(data) % 4)
