"""Filters: what goes into a dump, as data."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..enums import (
        Access,
        Kind,
        MemoryProtect,
        MemoryState,
        MemoryType,
        ModuleWrite,
        SecondaryFlags,
        Stream,
        ThreadWrite,
    )
    from ._conditions import (
        AddressRange,
        Conditions,
        Glob,
        Ranges,
        Size,
    )
    from ._filter import (
        Filter,
    )
    from ._patterns import (
        KEYS,
        Pattern,
    )
    from ._presets import (
        PRESETS,
    )
    from ._rules import (
        ModuleRule,
        RangeRules,
        Rule,
        ThreadRule,
        exclude,
        exclude_ranges,
        head,
        include,
        include_ranges,
        module,
        thread,
    )
    from ._sections import (
        Dump,
        Environ,
        Memory,
        Modules,
        Redact,
        Streams,
        Threads,
    )

__all__ = [
    "KEYS",
    "PRESETS",
    "Access",
    "AddressRange",
    "Conditions",
    "Dump",
    "Environ",
    "Filter",
    "Glob",
    "Kind",
    "Memory",
    "MemoryProtect",
    "MemoryState",
    "MemoryType",
    "ModuleRule",
    "ModuleWrite",
    "Modules",
    "Pattern",
    "RangeRules",
    "Ranges",
    "Redact",
    "Rule",
    "SecondaryFlags",
    "Size",
    "Stream",
    "Streams",
    "ThreadRule",
    "ThreadWrite",
    "Threads",
    "exclude",
    "exclude_ranges",
    "head",
    "include",
    "include_ranges",
    "module",
    "thread",
]

_HOMES = _lazy.homes(
    {
        "_filter": "Filter",
        "_conditions": "AddressRange Conditions Glob Ranges Size",
        "_patterns": "KEYS Pattern",
        "_presets": "PRESETS",
        "_sections": "Dump Environ Memory Modules Redact Streams Threads",
        "_rules": (
            "ModuleRule RangeRules Rule ThreadRule exclude exclude_ranges head include include_ranges module thread"
        ),
        "..enums": "Access Kind MemoryProtect MemoryState MemoryType ModuleWrite SecondaryFlags Stream ThreadWrite",
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
