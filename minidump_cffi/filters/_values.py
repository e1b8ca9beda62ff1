"""Values as people write them ("64 MiB", "rw", "0x7f00") turned into numbers, flags and bytes, and back."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterable

from ..enums import Access, MemoryProtect
from ..errors import FilterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Flags = TypeVar("Flags", bound=enum.IntFlag)

TOP = 1 << 64
"""One past the last address."""

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _UNITS[_letter] = _UNITS[f"{_letter}ib"] = 1024**_power
    _UNITS[f"{_letter}b"] = 1000**_power
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_LETTERS = {"r": Access.READ, "w": Access.WRITE, "x": Access.EXECUTE}
_WORDS = {"readable": Access.READ, "writable": Access.WRITE, "executable": Access.EXECUTE}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about a word that is not known."""
    names = sorted(known)
    import difflib  # for messages about errors only

    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"


def size(value: int | str, what: str) -> int:
    """Bytes: a number, or text such as ``"64 MiB"`` (powers of 1024), ``"1.5 GB"`` (powers of 1000), ``"0x1000"``."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise FilterError(f"{what}: expected bytes as a number or a text such as '64 MiB', not {value!r}")
    if isinstance(value, str):
        if value.strip().lower().startswith("0x"):
            return size(number(value, what), what)
        match = _SIZE.fullmatch(value)
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise FilterError(
                f"{what}: {value!r} is not a size; write a number of bytes, or '64 KiB', '10 MB', '1.5 GiB'"
            )
        whole, _, part = match[1].partition(".")
        scaled, divisor = int(whole + part) * unit, int("1" + "0" * len(part))
        if scaled % divisor:
            raise FilterError(f"{what}: {value!r} is not a whole number of bytes")
        value = scaled // divisor
    if not 0 <= value < TOP:
        raise FilterError(f"{what}: {value} bytes are not between 0 and 2**64 - 1")
    return value


def size_text(value: int) -> str | int:
    """`size` read backwards: the shortest exact text."""
    for unit in ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB"):
        factor = _UNITS[unit.lower()]
        if value and value % factor == 0:
            return f"{value // factor} {unit}"
    return value if value < 1 << 63 else str(value)


def number(value: int | str, what: str) -> int:
    """An integer, or its text in any base Python knows the prefix of."""
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError:
            raise FilterError(f"{what}: {value!r} is not a number; write 4096 or '0x1000'") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise FilterError(f"{what}: expected a number, not {value!r}")
    return value


def address_range(value: object, what: str) -> tuple[int, int]:
    """Addresses [first, end): a pair of numbers (or their texts), or a Python `range` with step 1."""
    if isinstance(value, range):
        if value.step != 1:
            raise FilterError(f"{what}: an address range cannot have step {value.step}")
        first, end = value.start, value.stop
    else:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise FilterError(f"{what}: expected a pair (first, end), not {value!r}")
        pair = list(value)
        if len(pair) != 2:
            raise FilterError(f"{what}: expected a pair (first, end), not {len(pair)} values")
        first, end = number(pair[0], what), number(pair[1], what)
    if not (0 <= first < TOP and 0 <= end <= TOP):
        raise FilterError(f"{what}: {first:#x} to {end:#x} is not between 0 and 2**64")
    if first >= end:
        reason = "is empty" if first == end else "ends before it begins"
        raise FilterError(f"{what}: {first:#x} to {end:#x} {reason}; `end` is the first address after the range")
    return first, end


def flags(kind: type[Flags], value: object, what: str) -> Flags:
    """Flags: themselves, a number, a name in any case, or an iterable of names; none or an unknown bit is an error."""
    if isinstance(value, kind):
        result = value
    elif isinstance(value, (bool, enum.Enum)):
        raise FilterError(f"{what}: expected {kind.__name__}, not {value!r}")
    elif isinstance(value, int):
        result = kind(value)
    elif isinstance(value, str):
        result = flag_names(kind, [value], what)
    elif isinstance(value, Iterable):
        result = flag_names(kind, list(value), what)
    else:
        raise FilterError(f"{what}: expected {kind.__name__} or names of it, not {value!r}")
    unknown = int(result) & ~every(kind)
    if unknown or int(result) < 0:
        raise FilterError(f"{what}: bits {unknown:#x} are not in {kind.__name__}")
    return result


def flag_names(kind: type[Flags], names: Iterable[object], what: str) -> Flags:
    """The flags with these names, or'ed together; no flags without names."""
    result = kind(0)
    for name in names:
        if isinstance(name, kind):
            result |= name
            continue
        member = kind.__members__.get(name.upper().replace("-", "_")) if isinstance(name, str) else None
        if member is None:
            known = [known.lower() for known in kind.__members__]
            raise FilterError(f"{what}: {name!r} is not known{did_you_mean(str(name), known)}")
        result |= member
    return result


def every(kind: type[enum.IntFlag]) -> int:
    """All bits of the flags."""
    bits = 0
    for member in kind:
        bits |= member.value
    return bits


def some(kind: type[Flags], value: object, what: str) -> Flags:
    """`flags`, but at least one: with none the condition could never hold."""
    result = flags(kind, value, what)
    if not result:
        raise FilterError(f"{what}: no value given, so the rule could never match")
    return result


def names_of(value: enum.IntFlag) -> list[str]:
    """Names of the flags, in lower case, as a filter file has them."""
    return [str(member.name).lower() for member in value.__class__ if member.value and member & value]


_EXACT = {
    "---": MemoryProtect.NOACCESS,
    "r--": MemoryProtect.READONLY,
    "rw-": MemoryProtect.READWRITE | MemoryProtect.WRITECOPY,
    "--x": MemoryProtect.EXECUTE,
    "r-x": MemoryProtect.EXECUTE_READ,
}
"""Letters in their places, as /proc shows them: these and no others."""


def protection(value: object, what: str) -> tuple[MemoryProtect | None, Access | None]:
    """`protect=` of a rule: any of these PAGE_* values, all of these accesses.

    Letters ("rw") and "readable", "writable", "executable" are accesses, which all must be there; with dashes for the
    others ("r--") no other access may be there. Names of `MemoryProtect` are alternatives.
    """
    if isinstance(value, Access):
        return None, some(Access, value, what)
    if isinstance(value, int):
        return some(MemoryProtect, value, what), None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Iterable):
        raise FilterError(f"{what}: expected letters such as 'rw', MemoryProtect or Access, not {value!r}")
    any_of, all_of = MemoryProtect(0), Access(0)
    for item in value:
        if isinstance(item, Access):
            all_of |= item
        elif isinstance(item, MemoryProtect):
            any_of |= item
        elif isinstance(item, str) and item.lower() in _WORDS:
            all_of |= _WORDS[item.lower()]
        elif isinstance(item, str) and item.lower() in _EXACT:
            any_of |= _EXACT[item.lower()]
        elif isinstance(item, str) and item and not item.lower().strip("rwx"):
            for letter in item.lower():
                all_of |= _LETTERS[letter]
        elif isinstance(item, str) and item.upper() in MemoryProtect.__members__:
            any_of |= MemoryProtect[item.upper()]
        else:
            known = ["rw", "rwx", *_EXACT, *_WORDS, *(name.lower() for name in MemoryProtect.__members__)]
            raise FilterError(f"{what}: {item!r} is not known{did_you_mean(str(item), known)}")
    if not any_of and not all_of:
        raise FilterError(f"{what}: no value given, so the rule could never match")
    return any_of or None, all_of or None


def protection_names(any_of: MemoryProtect | None, all_of: Access | None) -> list[str]:
    """`protection` read backwards."""
    letters = "".join(letter for letter, access in _LETTERS.items() if all_of and access & all_of)
    return ([letters] if letters else []) + (names_of(any_of) if any_of else [])


def glob(value: object, what: str) -> bytes:
    """A glob as bytes. Text is encoded like file names, so odd bytes may appear in it as surrogates."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        try:
            value = os.fsencode(value)
        except UnicodeEncodeError as error:
            raise FilterError(f"{what}: {value!r} cannot be encoded as a file name: {error.reason}") from None
    if not isinstance(value, bytes):
        raise FilterError(f"{what}: expected a glob as str or bytes, not {value!r}")
    if b"\0" in value:
        raise FilterError(f"{what}: {value!r} contains a zero byte, which no name can")
    return value


def pattern(value: object, what: str) -> bytes:
    """Bytes to search for in memory; text is encoded as UTF-8. They are secret: no message shows them."""
    if isinstance(value, str):
        try:
            value = value.encode("utf-8")
        except UnicodeEncodeError:
            raise FilterError(f"{what}: the text cannot be encoded as UTF-8; give bytes") from None
    elif isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if not isinstance(value, bytes):
        raise FilterError(f"{what}: expected bytes or str, not {type(value).__name__}")
    if not 4 <= len(value) <= 4096:
        raise FilterError(f"{what}: a pattern has 4 to 4,096 bytes, not {len(value)}")
    return value


def byte(value: object, what: str) -> int:
    """A number from 0 to 255."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise FilterError(f"{what}: expected a number from 0 to 255, not {value!r}")
    return value
