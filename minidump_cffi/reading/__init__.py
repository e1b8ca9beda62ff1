"""What a minidump or a core holds, for programs: `open_dump` and its records."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._dump import (
        OpenDump,
        open_dump,
    )
    from ._items import (
        ExceptionRecord,
        Fault,
        Handle,
        MemoryRange,
        Module,
        Region,
        StreamEntry,
        System,
        Thread,
        UnloadedModule,
    )

__all__ = [
    "ExceptionRecord",
    "Fault",
    "Handle",
    "MemoryRange",
    "Module",
    "OpenDump",
    "Region",
    "StreamEntry",
    "System",
    "Thread",
    "UnloadedModule",
    "open_dump",
]

_HOMES = _lazy.homes(
    {
        "._dump": "OpenDump open_dump",
        "._items": ("ExceptionRecord Fault Handle MemoryRange Module Region StreamEntry System Thread UnloadedModule"),
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
