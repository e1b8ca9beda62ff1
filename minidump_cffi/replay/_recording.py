"""What an engine asked and what a callback answered, as data: `Call`, `Recording`, and their JSON lines."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

from .. import sinks
from ..enums import PLAIN, CallbackType, Extensions
from ..errors import FormatError
from . import _calls

__all__ = ["Call", "Recording"]

_VERSION = 1
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_PRESET: Mapping[str, int] = MappingProxyType({})  # by identity: what engines are known to set


_PLAIN = PLAIN


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One callback: what the engine gave, and the answer if it is known.

    Fields have Microsoft's names, without the struct's (``{"ThreadId": 7}``); all are unsigned numbers, but for
    ``FullPath`` (a string or None; U+DC80 + n is an invalid UTF-8 byte 0x80 + n) and ``VersionInfo`` (13 numbers).
    What is not given is 0. IncludeVmRegion has no input but for the facts our own engine adds, among them ``Name``.

    Attributes
    ----------
    type : CallbackType or int
        What was asked; a plain number if the type is not known here.
    input : Mapping
        Fields of the input's member of that type. Of buffers and registers only sizes.
    before : Mapping
        Fields of the output's member of that type, on entry; if not given, what engines are known to set.
    after : Mapping or None
        The same after the call; None if it is not known.
    returned : int or None
        What the routine returned (0 is FALSE); None if it is not known.
    process_id, process_handle : int
        As the engine gave them.
    digests : tuple of int, or None
        Of the buffer of IoWriteAll, VmPreRead and VmPostRead: before the call and after it. They are keyed: they can be
        compared within one recording, and say nothing else.
    gcc : bool
        Thread and ThreadEx: laid out as engines built with GCC have it on x86-64 (Context at 12 instead of 16).

    Raises
    ------
    ValueError
        A field that the type does not have, or a value that does not fit.

    Examples
    --------
    >>> call = Call(CallbackType.INCLUDE_THREAD, {"ThreadId": 7})
    >>> call.before["ThreadWriteFlags"]
    23
    """

    type: CallbackType | int
    input: Mapping[str, Any] = dataclasses.field(default_factory=lambda: _NOTHING)
    before: Mapping[str, int] = dataclasses.field(default_factory=lambda: _PRESET)
    after: Mapping[str, int] | None = None
    returned: int | None = None
    _: dataclasses.KW_ONLY
    process_id: int = 0
    process_handle: int = 0
    digests: tuple[int, int] | None = None
    gcc: bool = False

    def __post_init__(self) -> None:
        type = _calls.number("type", self.type, 32)
        type = CallbackType(type) if type <= max(CallbackType) else type
        fields = _calls.complete_input(type, self.input)
        output = _calls.output_member(type)
        # Somebody who gives a part of the output means 0 for the rest, as the engine clears it.
        before = _calls.entry(type, fields) if self.before is _PRESET else self.before
        after = self.after
        if not output.names:  # an answer that has nothing but the returned value
            after = None if self.returned is None else after or {}
        values: dict[str, Any] = {
            "type": type,
            "input": MappingProxyType(fields),
            "before": _output(type, output, before),
            "after": None if after is None else _output(type, output, after),
            "process_id": _calls.number("process_id", self.process_id, 32),
            "process_handle": _calls.number("process_handle", self.process_handle, 64),
            "gcc": bool(self.gcc),
        }
        if self.returned is not None:
            result = _calls.number("returned", self.returned, 32)
            values["returned"] = result - (result >> 31 << 32)
        if self.digests is not None:
            if type not in _calls.BUFFERED:
                raise ValueError(f"{_calls.label(type)} has no buffer, so it cannot have digests")
            first, second = self.digests
            values["digests"] = _calls.number("digests", first, 64), _calls.number("digests", second, 64)
        if self.gcc and type not in _calls.THREADS:
            raise ValueError("only Thread and ThreadEx have a layout of their own with GCC")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return hash((self.type, self.process_id, self.returned, tuple(self.input.values())))

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_call, (self._pack(),)

    def _pack(self) -> bytes:
        return _calls.pack(
            _calls.Parts(
                self.type, self.process_handle, self.process_id, self.returned, self.gcc, self.digests,
                self.input, self.before, self.after,
            )
        )  # fmt: skip

    @classmethod
    def _unpack(cls, data: bytes, at: int = 0) -> Call:
        parts = _calls.unpack(data, at)
        call = object.__new__(cls)
        for name, value in (
            ("type", parts.type),
            ("input", parts.input),
            ("before", parts.before),
            ("after", parts.after),
            ("returned", parts.result),
            ("process_id", parts.process_id),
            ("process_handle", parts.process_handle),
            ("digests", parts.digests),
            ("gcc", parts.gcc),
        ):
            object.__setattr__(call, name, value)
        return call

    def to_json(self) -> str:
        """One line, without its end."""
        known = isinstance(self.type, CallbackType)
        plain: dict[str, Any] = {"type": _calls.label(self.type) if known else int(self.type)}
        plain |= {name: value for name, value in (("pid", self.process_id), ("handle", self.process_handle)) if value}
        if self.input:
            plain["in"] = dict(self.input)
            if self.type == CallbackType.MODULE and not any(self.input["VersionInfo"]):
                del plain["in"]["VersionInfo"]
        if self.gcc:
            plain["gcc"] = True
        if self.digests is not None:
            plain["digests"] = [f"{digest:016x}" for digest in self.digests]
        if self.before:
            plain["before"] = dict(self.before)
        if self.after:
            plain["after"] = dict(self.after)
        if self.returned is not None:
            plain["return"] = self.returned
        return json.dumps(plain, separators=(", ", ": "))

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> Call:
        """Raises ValueError."""
        unknown = plain.keys() - _KEYS
        if unknown:
            raise ValueError(f"a call has no {', '.join(sorted(unknown))}")
        if "type" not in plain:
            raise ValueError("the type is missing")
        type = plain["type"]
        if isinstance(type, str):
            if type not in _NAMES:
                raise ValueError(f"unknown callback type {type!r}")
            type = _NAMES[type]
        parts = {name: plain.get(name) for name in ("in", "before", "after")}
        for name, fields in parts.items():
            if fields is not None and not isinstance(fields, dict):
                raise ValueError(f"{name} must be an object, not {fields!r}")
        digests = plain.get("digests")
        if digests is not None:
            if not isinstance(digests, list) or len(digests) != 2 or not all(map(_is_digest, digests)):
                raise ValueError("digests must be two texts of 16 hexadecimal digits")
            digests = (int(digests[0], 16), int(digests[1], 16))
        gcc = plain.get("gcc", False)
        if not isinstance(gcc, bool):
            raise ValueError(f"gcc must be true or false, not {gcc!r}")
        before = parts["before"]
        return cls(
            type,
            parts["in"] or {},
            _PRESET if before is None else before,
            parts["after"],
            plain.get("return"),
            process_id=plain.get("pid", 0),
            process_handle=plain.get("handle", 0),
            digests=digests,
            gcc=gcc,
        )


_KEYS = frozenset(("type", "pid", "handle", "in", "gcc", "digests", "before", "after", "return"))
_NAMES = {member.name.lower(): member for member in CallbackType}
_META = frozenset(("recording", "engine", "note", "extensions", "dropped"))


def _output(type: int, member: _calls.Member, given: Mapping[str, int]) -> Mapping[str, int]:
    what = f"the output of {_calls.label(type)}"
    return MappingProxyType(_calls.complete(what, member, given, {}, frozenset()))


def _load_call(data: bytes) -> Call:
    return Call._unpack(data)


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{16}", text) is not None


class Recording(Sequence[Call]):
    """A sequence of calls: one dump as its callback saw it, or one that was made up. Immutable and picklable.

    Parameters
    ----------
    calls : iterable of Call
        In their order.
    engine : str
        Who sent them.
    note : str
        What else a reader should know, such as what is observed and what is put together.
    extensions : Extensions
        What the engine says and does beyond Microsoft's protocol.
    dropped : int
        Calls that came later and did not fit into the recorder's limit.

    Notes
    -----
    A recording holds no target memory, no registers and no debug records: only their sizes, and keyed digests. It does
    hold addresses, thread ids, and the names of modules and mappings.

    Examples
    --------
    >>> recording = Recording([Call(CallbackType.CANCEL), Call(CallbackType.INCLUDE_THREAD, {"ThreadId": 7})])
    >>> Recording.from_jsonl(recording.to_jsonl()) == recording
    True
    """

    __slots__ = ("_at", "_packed", "dropped", "engine", "extensions", "note")

    engine: str
    note: str
    extensions: Extensions
    dropped: int

    def __init__(
        self,
        calls: Iterable[Call] = (),
        *,
        engine: str = "",
        note: str = "",
        extensions: Extensions = _PLAIN,
        dropped: int = 0,
    ) -> None:
        if isinstance(calls, Recording):
            packed = calls._packed
        else:
            packed = b"".join(call._pack() for call in calls)
        self._fill(packed, engine, note, extensions, dropped)

    def _fill(self, packed: bytes, engine: str, note: str, extensions: int, dropped: int) -> None:
        values = {
            "_packed": packed,
            "_at": None,
            "engine": engine,
            "note": note,
            "extensions": Extensions(extensions),
            "dropped": dropped,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _of(cls, packed: bytes, engine: str = "", note: str = "", extensions: int = 0, dropped: int = 0) -> Recording:
        made = cls.__new__(cls)
        made._fill(packed, engine, note, extensions, dropped)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a recording is immutable; {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a recording is immutable; {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._packed, self.engine, self.note, int(self.extensions), self.dropped)

    def _offsets(self) -> list[int]:
        if self._at is None:
            object.__setattr__(self, "_at", _calls.offsets(self._packed))
        found: list[int] = self._at  # type: ignore[assignment]
        return found

    _at: list[int] | None
    _packed: bytes

    def __len__(self) -> int:
        return len(self._offsets())

    def __iter__(self) -> Iterator[Call]:
        for at in self._offsets():
            yield Call._unpack(self._packed, at)

    @overload
    def __getitem__(self, index: int, /) -> Call: ...
    @overload
    def __getitem__(self, index: slice, /) -> Recording: ...
    def __getitem__(self, index: int | slice, /) -> Call | Recording:
        at = self._offsets()
        if isinstance(index, slice):
            first, stop, step = index.indices(len(at))
            if step == 1:
                ends = [*at, len(self._packed)]
                packed = self._packed[ends[first] : ends[max(first, stop)]]
            else:
                packed = b"".join(call._pack() for call in (self[one] for one in range(first, stop, step)))
            return Recording._of(packed, self.engine, self.note, self.extensions, self.dropped)
        return Call._unpack(self._packed, at[index])

    def type_of(self, index: int) -> CallbackType | int:
        """The type of a call, without the rest of it."""
        return _calls.type_at(self._packed, self._offsets()[index])

    def _key(self) -> tuple[Any, ...]:
        return self._packed, self.engine, self.note, self.extensions, self.dropped

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Recording) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        more = f", {self.dropped} dropped" if self.dropped else ""
        return f"<Recording: {len(self)} calls{f' of {self.engine}' if self.engine else ''}{more}>"

    # ------------------------------------------------------------------------------------------------ JSON lines

    def to_jsonl(self) -> str:
        """The recording as ASCII text: a first line about the recording, then a line for each call."""
        about: dict[str, Any] = {"recording": _VERSION, "engine": self.engine}
        if self.note:
            about["note"] = self.note
        about["extensions"] = [str(flag.name).lower() for flag in self.extensions]
        if self.dropped:
            about["dropped"] = self.dropped
        return "".join(line + "\n" for line in (json.dumps(about), *(call.to_json() for call in self)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON lines to a file, which is replaced if it is there.

        Raises
        ------
        OSError
            It cannot be written.
        """
        sink = sinks.open_sink(os.fspath(path))
        try:
            assert sink.fd is not None
            with open(sink.fd, "wb", closefd=False) as file:
                file.write(self.to_jsonl().encode("ascii"))
        except BaseException:
            sink.discard()
            raise
        sink.commit(lambda: None)

    @classmethod
    def from_jsonl(cls, source: str | os.PathLike[str]) -> Recording:
        """Read JSON lines.

        Parameters
        ----------
        source : str or os.PathLike
            A path, or the text itself: a str with a line end or a ``{`` in front is text. Empty lines and lines that
            begin with ``#`` are passed over.

        Raises
        ------
        FormatError
            Malformed; `lineno` says where.
        OSError
            The file cannot be read.
        """
        if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{") or not source):
            return cls._parse(source, None)
        path = os.fspath(source)
        try:
            text = Path(path).read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: not UTF-8: {error}", filename=path) from error
        return cls._parse(text, path)

    @classmethod
    def _parse(cls, text: str, path: str | None) -> Recording:
        about: dict[str, Any] | None = None
        packed: list[bytes] = []
        at = 0
        try:
            for line in text.split("\n"):
                at += 1
                if not line.strip() or line.startswith("#"):
                    continue
                plain = json.loads(line, object_pairs_hook=_no_clone_vm)
                if not isinstance(plain, dict):
                    raise ValueError(f"expected an object, not {plain!r}")
                if about is None:
                    about = _check_about(plain)
                    continue
                packed.append(Call._from_plain(plain)._pack())
            if about is None:
                raise ValueError("the header line of the recording is missing")
        except (ValueError, TypeError, RecursionError) as error:
            where = f"line {at}" if path is None else f"{path}, line {at}"
            message = f"JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise FormatError(f"{where}: {message}", filename=path, lineno=at) from error
        extensions = 0
        for name in about.get("extensions", []):
            extensions |= Extensions[name.upper()]
        return cls._of(
            b"".join(packed), about.get("engine", ""), about.get("note", ""), extensions, about.get("dropped", 0)
        )


def _check_about(about: dict[str, Any]) -> dict[str, Any]:
    if about.get("recording") != _VERSION or isinstance(about["recording"], bool):
        raise ValueError(f'the first line must say "recording": {_VERSION}, the version of the format')
    unknown = about.keys() - _META
    if unknown:
        raise ValueError(f"a recording has no {', '.join(sorted(unknown))}")
    for name in ("engine", "note"):
        if not isinstance(about.get(name, ""), str):
            raise ValueError(f"{name} must be a text, not {about[name]!r}")
    names = about.get("extensions", [])
    known = {str(flag.name).lower() for flag in Extensions}
    if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
        raise ValueError(f"extensions must be a list of some of {', '.join(sorted(known))}")
    dropped = about.get("dropped", 0)
    if isinstance(dropped, bool) or not isinstance(dropped, int) or dropped < 0:
        raise ValueError(f"dropped must be a number of calls, not {dropped!r}")
    return about


def _no_clone_vm(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _load(packed: bytes, engine: str, note: str, extensions: int, dropped: int) -> Recording:
    return Recording._of(packed, engine, note, extensions, dropped)
