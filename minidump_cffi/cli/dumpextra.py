"""What a minidump says beside process and memory: comments, annotations, texts of Linux, unknown streams.

Layouts: Crashpad's minidump_extensions.h, Breakpad's minidump_format.h; the texts are those of proc(5).
"""

from __future__ import annotations

import json
import re
import struct

from . import names
from .dumpbytes import MAX_ITEMS, MAX_STRING_BYTES, Damage, Part, Reader
from .dumpmodel import (
    AnnotationObject,
    Assertion,
    Auxiliary,
    Crashpad,
    DumpFile,
    Limit,
    ModuleAnnotations,
    Stream,
    UserStream,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

MAX_TEXT: Final = 1 << 20
MAX_BEGINNING: Final = 256
MAX_OBJECT: Final = 4096
MAX_DEPTH: Final = 100

_COUNT = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_CRASHPAD = struct.Struct("<I16s16sIIII")
_MODULE_LINK = struct.Struct("<III")
_MODULE_INFO = struct.Struct("<IIIIIII")
_OBJECT = struct.Struct("<IHHI")
_ASSERTION = struct.Struct("<256s256s256sII")
_NARROW_PROCESSORS: Final = {0, 1, 3, 5}
_SPACES = re.compile(r" {2,}")
_BRACKETS = re.compile(r"[\[\]{}]")


class Extra(Part):
    """Streams that need no others, but the processor for the width of the auxiliary vector."""

    def __init__(self, reader: Reader, dump: DumpFile) -> None:
        super().__init__(reader, dump)
        self.items_left: int = MAX_ITEMS

    def steps(self) -> dict[int, Callable[[Stream], None]]:
        """What reads which stream, in this order."""
        return {
            10: self._comment_a,
            11: self._comment_w,
            0x43500001: self._crashpad,
            0x47670001: self._breakpad,
            0x47670002: self._assertion,
            0x47670004: self._status,
            0x47670005: self._release,
            0x47670006: self._command_line,
            0x47670007: self._environ,
            0x47670008: self._auxv,
            0x4D7A0003: self._limits,
            0x4D7A0004: self._soft_errors,
        }

    def _bytes(self, stream: Stream) -> bytes:
        """A text: its head if it is long, and as much of the budget of all texts."""
        if stream.size > MAX_TEXT:
            self.dump.cut[f"bytes of {names.stream_name(stream.type)}"] = stream.size
        size = min(stream.size, MAX_TEXT)
        return self.reader.read(stream.rva, size) if self.reader.spend(size) else b""

    def _text(self, stream: Stream) -> str:
        return self._bytes(stream).decode("utf-8", "replace").rstrip("\0")

    def _strings(self, stream: Stream, name: str) -> list[str]:
        """Texts that each end with a NUL."""
        text = self._bytes(stream).decode("utf-8", "replace").removesuffix("\0")
        count = self.cut(name, text.count("\0") + 1)
        return text.split("\0", count)[:count] if text else []

    def _comment(self, text: str) -> None:
        text = text.partition("\0")[0]
        if text not in self.dump.comments:
            self.dump.comments.append(text)

    def _comment_a(self, stream: Stream) -> None:
        self._comment(self._bytes(stream).decode("utf-8", "replace"))

    def _comment_w(self, stream: Stream) -> None:
        self._comment(self._bytes(stream).decode("utf-16-le", "replace"))

    # ---------------------------------------------------------------------------------------------------- Breakpad

    def _breakpad(self, stream: Stream) -> None:
        """MDRawBreakpadInfo: which numbers are valid, the thread that wrote the dump, the one that asked for it."""
        if stream.size < 12:
            raise Damage(f"{stream.size} bytes are too few")
        valid, _, thread = struct.unpack("<III", self.reader.read(stream.rva, 12))
        if valid & 2:
            self.dump.requesting_thread = thread

    def _assertion(self, stream: Stream) -> None:
        """MDRawAssertionInfo: three texts of 128 UTF-16 units, a line, a type."""
        if stream.size < _ASSERTION.size:
            raise Damage(f"{stream.size} bytes are too few")
        *texts, line, kind = _ASSERTION.unpack(self.reader.read(stream.rva, _ASSERTION.size))
        expression, function, file = (text.decode("utf-16-le", "replace").partition("\0")[0] for text in texts)
        if expression or function or file:
            self.dump.assertion = Assertion(expression=expression, function=function, file=file, line=line, type=kind)

    # ---------------------------------------------------------------------------------------------------- Crashpad

    def _crashpad(self, stream: Stream) -> None:
        if stream.size < _CRASHPAD.size:
            raise Damage(f"{stream.size} bytes are too few")
        _, report, client, size, rva, modules_size, modules = _CRASHPAD.unpack(
            self.reader.read(stream.rva, _CRASHPAD.size)
        )
        self.dump.crashpad = found = Crashpad(
            report_id=_uuid(report), client_id=_uuid(client), annotations={}, modules=[]
        )
        self._dictionary(found.annotations, size, rva)
        for index, info_size, where in self._entries(_MODULE_LINK, modules_size, modules):
            found.modules.append(self._module(index, info_size, where))

    def _module(self, index: int, info_size: int, rva: int) -> ModuleAnnotations:
        data = self.reader.read(rva, min(info_size, _MODULE_INFO.size))
        info = _MODULE_INFO.unpack(data.ljust(_MODULE_INFO.size, b"\0"))  # old ones have no objects
        _, list_size, list_rva, size, dictionary, objects_size, objects = info
        listed = [self.reader.utf8(row[0]) for row in self._entries(_COUNT, list_size, list_rva)]
        annotations: dict[str, str] = {}
        self._dictionary(annotations, size, dictionary)
        found = []
        for name, kind, _, value in self._entries(_OBJECT, objects_size, objects):
            found.append(AnnotationObject(name=self.reader.utf8(name), type=kind, value=self._value(kind, value)))
        return ModuleAnnotations(module=index, listed=listed, annotations=annotations, objects=found)

    def _value(self, kind: int, rva: int) -> str:
        """A MinidumpByteArray: a text if its type says so."""
        if kind == 1:
            return self.reader.utf8(rva)
        if rva == 0:
            return ""
        (length,) = _COUNT.unpack(self.reader.read(rva, _COUNT.size))
        length = min(length, MAX_OBJECT)
        return self.reader.read(rva + 4, length).hex() if self.reader.spend(2 * length) else ""

    def _dictionary(self, found: dict[str, str], size: int, rva: int) -> None:
        """Take a MinidumpSimpleStringDictionary; of a damaged one what comes first."""
        for key, value in self._entries(_PAIR, size, rva):
            found.setdefault(self.reader.utf8(key), self.reader.utf8(value))

    def _entries(self, layout: struct.Struct, size: int, rva: int) -> Iterator[tuple[int, ...]]:
        """Entries after a count; none where there is no list. All lists of the stream share a limit."""
        if size == 0 or rva == 0:
            return
        (count,) = _COUNT.unpack(self.reader.read(rva, _COUNT.size))
        if _COUNT.size + count * layout.size > size:
            raise Damage(f"{count} entries at {rva:#x} do not fit into {size} bytes")
        if count > self.items_left:
            self.dump.cut["annotations"] = max(count, self.dump.cut.get("annotations", 0))
        count = min(count, self.items_left)
        self.items_left -= count
        yield from self.reader.rows(layout, rva + _COUNT.size, count)

    # -------------------------------------------------------------------------------------------------- proc texts

    def _status(self, stream: Stream) -> None:
        """/proc/PID/status: the name."""
        self.dump.process_name = dict(_fields(self._text(stream), ":")).get("Name", "")

    def _release(self, stream: Stream) -> None:
        """/etc/lsb-release or os-release: the distribution."""
        fields = {key: value.strip("\"'") for key, value in _fields(self._text(stream), "=")}
        self.dump.distribution = fields.get("PRETTY_NAME") or fields.get("DISTRIB_DESCRIPTION", "")

    def _command_line(self, stream: Stream) -> None:
        self.dump.command_line = self._strings(stream, "command_line")

    def _environ(self, stream: Stream) -> None:
        self.dump.environ = self._strings(stream, "environ")

    def _auxv(self, stream: Stream) -> None:
        system = self.dump.system
        narrow = system is not None and system.architecture in _NARROW_PROCESSORS
        layout = _PAIR if narrow else struct.Struct("<QQ")
        count = min(stream.size, MAX_STRING_BYTES) // layout.size
        for kind, value in self.reader.rows(layout, stream.rva, count):
            if kind == 0:
                break
            self.dump.auxv.append(Auxiliary(type=kind, name=names.AUXILIARY.get(kind, str(kind)), value=value))

    def _limits(self, stream: Stream) -> None:
        """/proc/PID/limits: columns of 26, 21, 21 and 10 characters (fs/proc/base.c: proc_pid_limits)."""
        for line in self._text(stream).splitlines()[1 : MAX_ITEMS + 1]:
            words = _SPACES.split(line.strip())
            if len(words) not in (3, 4):
                raise Damage("malformed line of /proc/PID/limits")
            self.dump.limits.append(
                Limit(name=words[0], soft=words[1], hard=words[2], unit=words[3] if len(words) > 3 else "")
            )

    def _soft_errors(self, stream: Stream) -> None:
        """JSON of minidump-writer: a list of names, or of objects with a name and what belongs to it."""
        text, depth, deepest = self._text(stream), 0, 0
        for letter in _BRACKETS.findall(text):
            depth += 1 if letter in "[{" else -1
            deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            raise Damage(f"it is nested {deepest:,} times")
        try:
            found = json.loads(text, parse_float=str, parse_constant=str) if text else []
        except ValueError as error:
            raise Damage(f"it is not JSON: {error}") from None
        self.dump.soft_errors = found if isinstance(found, list) else [found]

    def unknown(self, stream: Stream) -> None:
        """A stream that only its writer knows: how it begins."""
        size = min(stream.size, MAX_BEGINNING)
        data = self.reader.read(stream.rva, size) if self.reader.spend(size) else b""
        text = _readable(data, cut=size < stream.size)
        self.dump.user_streams.append(
            UserStream(
                type=stream.type, size=stream.size, text=text != "", beginning=data.hex() if text == "" else text
            )
        )


def _readable(data: bytes, cut: bool) -> str:
    """The text that the bytes are; empty if they are none. A text that was cut may end within a character."""
    try:
        text = data.removesuffix(b"\0").decode()
    except UnicodeDecodeError as error:
        if not cut or error.start < len(data) - 3:
            return ""
        text = data[: error.start].decode()
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else ""


def _fields(text: str, separator: str) -> Iterator[tuple[str, str]]:
    """``Name:  value`` or ``NAME=value``, line by line."""
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found:
            yield key.strip(), value.strip()


def _uuid(data: bytes) -> str:
    """A UUID as Crashpad prints it: three little-endian numbers and eight bytes; empty if it is zero."""
    if not any(data):
        return ""
    first, second, third = struct.unpack_from("<IHH", data)
    return f"{first:08x}-{second:04x}-{third:04x}-{data[8:10].hex()}-{data[10:].hex()}"
