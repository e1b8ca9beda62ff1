"""The MiniDumpWriteDump callback protocol: what Python functions see of it, and foreign routines."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._foreign import PythonCallback, Routine
    from ._views import (
        Input,
        IoInput,
        MemoryInfo,
        ModuleInput,
        Output,
        ReadFailureInput,
        RegionFacts,
        ThreadInput,
        VmReadInput,
    )

__all__ = [
    "Input",
    "IoInput",
    "MemoryInfo",
    "ModuleInput",
    "Output",
    "PythonCallback",
    "ReadFailureInput",
    "RegionFacts",
    "Routine",
    "ThreadInput",
    "VmReadInput",
]

_HOMES = _lazy.homes(
    {
        "_foreign": ("PythonCallback", "Routine"),
        "_views": (
            "Input",
            "IoInput",
            "MemoryInfo",
            "ModuleInput",
            "Output",
            "ReadFailureInput",
            "RegionFacts",
            "ThreadInput",
            "VmReadInput",
        ),
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
