"""What a dump was, or would be: reports and their entries."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..enums import (
        DumpWarning,
        ExtentFlags,
        GapReason,
        Kind,
        MemoryProtect,
        MemoryState,
        MemoryType,
        ModuleWrite,
        Phase,
        RegionFlags,
        Stream,
        ThreadFlags,
    )
    from ._items import (
        Extent,
        Gap,
        Module,
        Redaction,
        Region,
        RuleBytes,
        Thread,
    )
    from ._metrics import (
        METRICS,
    )
    from ._report import (
        DumpPlan,
        DumpReport,
    )

__all__ = [
    "METRICS",
    "DumpPlan",
    "DumpReport",
    "DumpWarning",
    "Extent",
    "ExtentFlags",
    "Gap",
    "GapReason",
    "Kind",
    "MemoryProtect",
    "MemoryState",
    "MemoryType",
    "Module",
    "ModuleWrite",
    "Phase",
    "Redaction",
    "Region",
    "RegionFlags",
    "RuleBytes",
    "Stream",
    "Thread",
    "ThreadFlags",
]

_HOMES = _lazy.homes(
    {
        "_items": "Extent Gap Module Redaction Region RuleBytes Thread",
        "_metrics": "METRICS",
        "_report": "DumpPlan DumpReport",
        "..enums": (
            "DumpWarning ExtentFlags GapReason Kind MemoryProtect MemoryState MemoryType ModuleWrite Phase "
            "RegionFlags Stream ThreadFlags"
        ),
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
