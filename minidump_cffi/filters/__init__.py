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
    from ._filter import (
        Filter,
    )
    from ._rules import (
        AddressRange,
        Glob,
        ModuleRule,
        RangeRules,
        Ranges,
        Rule,
        Size,
        ThreadRule,
        exclude,
        exclude_ranges,
        head,
        include,
        include_ranges,
        module,
        thread,
    )

__all__ = [
    "Access",
    "AddressRange",
    "Filter",
    "Glob",
    "Kind",
    "MemoryProtect",
    "MemoryState",
    "MemoryType",
    "ModuleRule",
    "ModuleWrite",
    "RangeRules",
    "Ranges",
    "Rule",
    "SecondaryFlags",
    "Size",
    "Stream",
    "ThreadRule",
    "ThreadWrite",
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
        "_rules": (
            "AddressRange Glob ModuleRule RangeRules Ranges Rule Size ThreadRule exclude exclude_ranges head "
            "include include_ranges module thread"
        ),
        "..enums": "Access Kind MemoryProtect MemoryState MemoryType ModuleWrite SecondaryFlags Stream ThreadWrite",
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
