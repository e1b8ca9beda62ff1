"""Records of callbacks as bytes (csrc/trace/codec.h) and as fields with Microsoft's names.

Every field is an unsigned integer of 32 or 64 bits; HRESULTs and BOOLs too. Texts are the path of a module and the name
of a mapping.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from ..enums import CallbackType

Fields: TypeAlias = Mapping[str, Any]

RESULT, AFTER, DIGEST, FACTS, TEXT, GCC = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
HEADER = struct.Struct("=IIQIiHBBI")
DIGESTS = struct.Struct("=QQ")
TEXT_MAX = 65536
S_FALSE, E_NOTIMPL, E_FAIL = 1, 0x80004001, 0x80004005
_POINTER = "Q" if struct.calcsize("P") == 8 else "I"

_T = CallbackType


class Member(NamedTuple):
    """A member of one of the two unions: how its bytes are laid out, and what its fields are called."""

    layout: struct.Struct
    names: tuple[str, ...]
    widths: tuple[int, ...]
    """Bits of each field."""

    def pack(self, fields: Fields) -> bytes:
        """Bytes of complete fields."""
        return self.layout.pack(*map(fields.__getitem__, self.names))

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """Fields of bytes."""
        return dict(zip(self.names, self.layout.unpack_from(data, offset), strict=True))


def _member(layout: str, names: str = "") -> Member:
    letters = layout.replace("4x", "")
    return Member(
        struct.Struct("=" + layout), tuple(names.split()), tuple(64 if letter == "Q" else 32 for letter in letters)
    )


_VERSION = 13
_MODULE = _member(
    "QIIIII" + "I" * _VERSION,
    "BaseOfImage SizeOfImage CheckSum TimeDateStamp SizeOfCvRecord SizeOfMiscRecord "
    + " ".join(f"VersionInfo{at}" for at in range(_VERSION)),
)
_THREAD = _member("QQQQQII", "ThreadHandle StackBase StackEnd BackingStoreBase BackingStoreEnd ThreadId SizeOfContext")
_IO = _member("QQI", "Handle Offset BufferBytes")
_MEMORY = _member("QI", "MemoryBase MemorySize")
_STATUS = _member("I", "Status")
_THREAD_FLAGS = _member("I", "ThreadWriteFlags")
_MODULE_FLAGS = _member("I", "ModuleWriteFlags")
_VM_READ = _member("II", "VmReadStatus VmReadBytesCompleted")
_INFO = "BaseAddress AllocationBase AllocationProtect RegionSize State Protect Type"
_NOTHING = _member("")

FACTS_MEMBER = _member(
    "QQQQQIIIIII",
    "MappingBase MappingSize FileOffset Inode ResidentBytes Version NameId Kinds Flags DevMajor DevMinor",
)
"""mdc_region_facts, which engines of this package add to IncludeVmRegion."""

INPUTS: dict[int, Member] = {
    _T.MODULE: _MODULE,
    _T.THREAD: _THREAD,
    _T.THREAD_EX: _THREAD,
    _T.INCLUDE_THREAD: _member("I", "ThreadId"),
    _T.INCLUDE_MODULE: _member("Q", "BaseOfImage"),
    _T.KERNEL_MINIDUMP_STATUS: _STATUS,
    _T.IO_START: _IO,
    _T.IO_WRITE_ALL: _IO,
    _T.IO_FINISH: _IO,
    _T.READ_MEMORY_FAILURE: _member("QII", "Offset Bytes FailureStatus"),
    _T.SECONDARY_FLAGS: _member("I", "SecondaryFlags"),
    _T.VM_QUERY: _member("Q", "Offset"),
    _T.VM_PRE_READ: _member("QI", "Offset Size"),
    _T.VM_POST_READ: _member("QIII", "Offset Size Completed Status"),
    _T.COMPRESSED_MEMORY_STREAM_FINISH: _member("QI", "CompressedStreamSize StreamCompressionRate"),
}
OUTPUTS: dict[int, Member] = {
    _T.MODULE: _MODULE_FLAGS,
    _T.THREAD: _THREAD_FLAGS,
    _T.THREAD_EX: _THREAD_FLAGS,
    _T.INCLUDE_THREAD: _THREAD_FLAGS,
    _T.INCLUDE_MODULE: _MODULE_FLAGS,
    _T.MEMORY: _MEMORY,
    _T.CANCEL: _member("II", "CheckCancel Cancel"),
    _T.WRITE_KERNEL_MINIDUMP: _member(_POINTER, "Handle"),
    _T.REMOVE_MEMORY: _MEMORY,
    _T.INCLUDE_VM_REGION: _member("QQI4xQIII4xI", _INFO + " Continue"),
    _T.IO_START: _STATUS,
    _T.IO_WRITE_ALL: _STATUS,
    _T.IO_FINISH: _STATUS,
    _T.READ_MEMORY_FAILURE: _STATUS,
    _T.SECONDARY_FLAGS: _member("I", "SecondaryFlags"),
    _T.IS_PROCESS_SNAPSHOT: _STATUS,
    _T.VM_START: _STATUS,
    _T.VM_QUERY: _member("IQQI4xQIII4x", "VmQueryStatus " + _INFO),
    _T.VM_PRE_READ: _VM_READ,
    _T.VM_POST_READ: _VM_READ,
    _T.COMPRESSED_MEMORY_STREAM_START: _member(
        f"II{_POINTER}II", "MaxParallelism MaxTransferSize NumaNodeInfoArray NumaNodeInfoArraySize Reserved"
    ),
}
# What the engine sets before it asks: observed on Windows, or what other engines do.
_ENTRY: dict[int, dict[str, int]] = {
    _T.MODULE: {"ModuleWriteFlags": 0x0D},
    _T.INCLUDE_MODULE: {"ModuleWriteFlags": 0x0D},
    _T.THREAD: {"ThreadWriteFlags": 0x17},
    _T.THREAD_EX: {"ThreadWriteFlags": 0x17},
    _T.INCLUDE_THREAD: {"ThreadWriteFlags": 0x17},
    _T.IO_START: {"Status": E_NOTIMPL},
    _T.IO_WRITE_ALL: {"Status": E_FAIL},
    _T.IO_FINISH: {"Status": E_FAIL},
    _T.READ_MEMORY_FAILURE: {"Status": S_FALSE},
    _T.IS_PROCESS_SNAPSHOT: {"Status": E_NOTIMPL},
    _T.VM_START: {"Status": E_NOTIMPL},
    _T.VM_QUERY: {"VmQueryStatus": E_NOTIMPL},
    _T.VM_PRE_READ: {"VmReadStatus": E_NOTIMPL},
    _T.VM_POST_READ: {"VmReadStatus": E_NOTIMPL},
}
# Packed, but no part of what a call says.
_HIDDEN: dict[int, frozenset[str]] = {
    _T.THREAD: frozenset(("BackingStoreBase", "BackingStoreEnd")),
    _T.IO_START: frozenset(("Offset", "BufferBytes")),
    _T.IO_FINISH: frozenset(("Offset", "BufferBytes")),
}
_TYPES: dict[int, CallbackType] = {int(member): member for member in CallbackType}
BUFFERED = frozenset((_T.IO_WRITE_ALL, _T.VM_PRE_READ, _T.VM_POST_READ))
THREADS = frozenset((_T.THREAD, _T.THREAD_EX))


def input_member(type: int, facts: bool) -> Member:
    """Member of the input that belongs to a type."""
    return FACTS_MEMBER if facts else INPUTS.get(type, _NOTHING)


def output_member(type: int) -> Member:
    """Member of the output that belongs to a type."""
    return OUTPUTS.get(type, _NOTHING)


def number(name: str, value: object, bits: int) -> int:
    """The value of a field as the unsigned number it is stored as."""
    if not isinstance(value, int):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise ValueError(f"{name} does not fit into {bits} bits: {value}")
    return int(value) & (1 << bits) - 1


def complete(what: str, member: Member, given: Fields, preset: Fields, hidden: frozenset[str]) -> dict[str, Any]:
    """All fields of a member: as given, else preset, else 0."""
    unknown = given.keys() - set(member.names) | given.keys() & hidden
    if unknown:
        raise ValueError(f"{what} has no {', '.join(sorted(unknown))}")
    return {
        name: number(name, given.get(name, preset.get(name, 0)), bits)
        for name, bits in zip(member.names, member.widths, strict=True)
        if name not in hidden
    }


def has_facts(type: int, given: Fields) -> bool:
    """Whether an IncludeVmRegion carries what only our own engine says."""
    return type == _T.INCLUDE_VM_REGION and bool(given)


def complete_input(type: int, given: Fields) -> dict[str, Any]:
    """All fields of the input of a call."""
    given = dict(given)
    what = f"the input of {label(type)}"
    text: dict[str, Any] = {}
    preset: dict[str, Any] = {}
    version: Any = None
    if type == _T.MODULE:
        text["FullPath"] = given.pop("FullPath", None)
        version = given.pop("VersionInfo", (0,) * _VERSION)
        if isinstance(version, str) or len(version) != _VERSION:
            raise ValueError(f"VersionInfo must be {_VERSION} numbers")
        if given.keys() & set(_MODULE.names[-_VERSION:]):
            raise ValueError(f"{what} has VersionInfo as one field")
        given.update((f"VersionInfo{at}", value) for at, value in enumerate(version))
    elif has_facts(type, given):
        text["Name"] = given.pop("Name", None)
        preset["Version"] = 1
    for name, value in text.items():
        encode_text(type, name, value)
    fields = complete(
        what, input_member(type, type == _T.INCLUDE_VM_REGION and "Name" in text), given, preset,
        _HIDDEN.get(type, frozenset()),
    )  # fmt: skip
    if version is not None:
        fields["VersionInfo"] = tuple(fields.pop(f"VersionInfo{at}") for at in range(_VERSION))
    return text | fields


def entry(type: int, input: Fields) -> Fields:
    """The output on entry, by default."""
    return {"SecondaryFlags": input["SecondaryFlags"]} if type == _T.SECONDARY_FLAGS else _ENTRY.get(type, {})


def label(type: int) -> str:
    """The name of a type in recordings: lower case, or the number of one that is not known."""
    return type.name.lower() if isinstance(type, CallbackType) else f"type {int(type)}"


def encode_text(type: int, name: str, value: object) -> bytes:
    """A path or name with its NUL, as a record keeps it; b"" for None."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text or None, not {value!r}")
    if type == _T.MODULE:
        if "\0" in value:
            raise ValueError(f"{name} has a NUL in it")
        data = value.encode("utf-16-le", "surrogatepass") + b"\0\0"
    else:
        data = value.encode("utf-8", "surrogateescape") + b"\0"
    if len(data) > TEXT_MAX:
        raise ValueError(f"{name} is longer than {TEXT_MAX} bytes")
    return data


def _decode_text(type: int, data: bytes) -> str:
    if type == _T.MODULE:
        return data[:-2].decode("utf-16-le", "surrogatepass")
    return data[:-1].decode("utf-8", "surrogateescape")


class Parts(NamedTuple):
    """A record taken apart."""

    type: int
    process_handle: int
    process_id: int
    result: int | None
    gcc: bool
    digests: tuple[int, int] | None
    input: Fields
    before: Fields
    after: Fields | None


def _up8(size: int) -> int:
    return size + 7 & ~7


def pack(parts: Parts) -> bytes:
    """The record of complete fields."""
    type = parts.type
    fields = dict(parts.input)
    flags = RESULT * (parts.result is not None) | AFTER * (parts.after is not None) | GCC * parts.gcc
    text = b""
    facts = False
    if type == _T.MODULE:
        text = encode_text(type, "FullPath", fields.pop("FullPath"))
        fields.update((f"VersionInfo{at}", value) for at, value in enumerate(fields.pop("VersionInfo")))
    elif has_facts(type, fields):
        facts = True
        text = encode_text(type, "Name", fields.pop("Name"))
    flags |= FACTS * facts | TEXT * bool(text) | DIGEST * (parts.digests is not None)
    fields.update(dict.fromkeys(_HIDDEN.get(type, ()), 0))
    member = input_member(type, facts).pack(fields)
    output = output_member(type)
    before = output.pack(parts.before)
    outputs = before + (output.pack(parts.after) if parts.after is not None else bytes(len(before)))
    body = b"" if parts.digests is None else DIGESTS.pack(*parts.digests)
    for piece in (member, outputs, text):
        body += piece + bytes(_up8(len(piece)) - len(piece))
    return (
        HEADER.pack(
            HEADER.size + len(body),
            type,
            parts.process_handle,
            parts.process_id,
            parts.result or 0,
            len(member),
            len(before),
            flags,
            len(text),
        )
        + body
    )


def unpack(data: bytes, at: int) -> Parts:
    """The record at this offset, which C has written or checked."""
    _, type, handle, pid, result, _, output_bytes, flags, text_bytes = HEADER.unpack_from(data, at)
    at += HEADER.size
    digests = None
    if flags & DIGEST:
        digests = DIGESTS.unpack_from(data, at)
        at += DIGESTS.size
    known = _TYPES.get(type, type)
    facts = bool(flags & FACTS)
    member, output = input_member(type, facts), output_member(type)
    fields = member.unpack(data, at)
    at += _up8(member.layout.size)
    before = output.unpack(data, at)
    after = output.unpack(data, at + output_bytes) if flags & AFTER else None
    at += _up8(2 * output_bytes)
    text = _decode_text(type, data[at : at + text_bytes]) if flags & TEXT else None
    for name in _HIDDEN.get(type, ()):
        del fields[name]
    if type == _T.MODULE:
        version = tuple(fields.pop(f"VersionInfo{number}") for number in range(_VERSION))
        fields = {"FullPath": text} | fields | {"VersionInfo": version}
    elif facts:
        fields = {"Name": text} | fields
    return Parts(
        type=known,
        process_handle=handle,
        process_id=pid,
        result=result if flags & RESULT else None,
        gcc=bool(flags & GCC),
        digests=digests,
        input=MappingProxyType(fields),
        before=MappingProxyType(before),
        after=None if after is None else MappingProxyType(after),
    )


def type_at(data: bytes, at: int) -> CallbackType | int:
    """The type of the record at this offset."""
    number: int = HEADER.unpack_from(data, at)[1]
    return _TYPES.get(number, number)


def offsets(data: bytes) -> list[int]:
    """Where each record begins."""
    found, at = [], 0
    size = struct.Struct("=I")
    while at < len(data):
        found.append(at)
        at += max(HEADER.size, size.unpack_from(data, at)[0])
    return found
