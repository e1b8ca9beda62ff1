"""Dump types in words: presets, names of MINIDUMP_TYPE bits, and sums of both."""

from __future__ import annotations

from .enums import DumpType
from .filters import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["PRESETS", "dump_type", "words_of"]

PRESETS: dict[str, DumpType] = {
    "normal": DumpType.NORMAL,
    "full": DumpType.WITH_FULL_MEMORY,
    "heap": DumpType.WITH_PRIVATE_READ_WRITE_MEMORY | DumpType.WITH_DATA_SEGS,
    "modified": DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY,
    "referenced": DumpType.WITH_INDIRECTLY_REFERENCED_MEMORY,
    "triage": DumpType.FILTER_MEMORY | DumpType.FILTER_TRIAGE | DumpType.FILTER_MODULE_PATHS,
}
"""What is described in docs/types.md."""

_ALL = _values.every(DumpType)


def dump_type(value: Any) -> DumpType:
    """A dump type: flags, a number, or words joined by ``+``: "full", "heap+triage", "full+with_thread_info".

    Words are presets, and names of `DumpType` in any case, with or without what people leave away: WITH_THREAD_INFO,
    MiniDumpWithThreadInfo, thread-info.
    """
    if isinstance(value, str):
        result = DumpType.NORMAL
        for word in value.split("+"):
            known = PRESETS | {_plain(str(flag.name)): flag for flag in DumpType}
            flag = known.get(_plain(word.strip()))
            if flag is None:
                names = [*PRESETS, *(str(bit.name).lower() for bit in DumpType)]
                raise ValueError(f"type: {word!r} is not known{_values.did_you_mean(word, names)}")
            result |= flag
        return result
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"type must be a DumpType or names of it, not {value!r}")
    if not 0 <= value <= _ALL:
        raise ValueError(f"type {int(value):#x} has bits that MINIDUMP_TYPE does not have")
    return DumpType(value)


def words_of(type: DumpType) -> str:
    """The words that `dump_type` makes these flags of."""
    words = []
    for name, flags in PRESETS.items():
        if flags and type & flags == flags:
            words.append(name)
            type &= ~flags
    words += [str(flag.name).lower() for flag in DumpType if flag and flag & type]
    return "+".join(words) or "normal"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").removeprefix("minidump").removeprefix("with")
