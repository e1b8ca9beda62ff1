"""The MiniDumpWriteDump callback protocol: what Python functions see of it, foreign routines, and its declarations."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._aliases import (
        AnswerFunction,
        AnyCallback,
        Hook,
        IoHandler,
    )
    from .._native._ext import (
        ffi,
    )
    from ..building import (
        ffibuilder,
        get_include,
    )
    from ..callback import (
        Counters,
    )
    from ..enums import (
        CallbackType,
        Extensions,
        HResult,
        Kind,
        MemoryProtect,
        MemoryState,
        MemoryType,
        ModuleWrite,
        SecondaryFlags,
        ThreadWrite,
    )
    from ._foreign import (
        PythonCallback,
        Routine,
    )
    from ._inputs import (
        IoInput,
        ModuleInput,
        ReadFailureInput,
        RegionFacts,
        ThreadInput,
        VmReadInput,
    )
    from ._views import (
        Input,
        MemoryInfo,
        Output,
    )

__all__ = [
    "AnswerFunction",
    "AnyCallback",
    "CallbackType",
    "Counters",
    "Extensions",
    "HResult",
    "Hook",
    "Input",
    "IoHandler",
    "IoInput",
    "Kind",
    "MemoryInfo",
    "MemoryProtect",
    "MemoryState",
    "MemoryType",
    "ModuleInput",
    "ModuleWrite",
    "Output",
    "PythonCallback",
    "ReadFailureInput",
    "RegionFacts",
    "Routine",
    "SecondaryFlags",
    "ThreadInput",
    "ThreadWrite",
    "VmReadInput",
    "ffi",
    "ffibuilder",
    "get_include",
]

_HOMES = _lazy.homes(
    {
        "_foreign": "PythonCallback Routine",
        ".._aliases": "AnswerFunction AnyCallback Hook IoHandler",
        "_inputs": "IoInput ModuleInput ReadFailureInput RegionFacts ThreadInput VmReadInput",
        "_views": "Input MemoryInfo Output",
        ".._native._ext": "ffi",
        "..building": "ffibuilder get_include",
        "..callback": "Counters",
        "..enums": (
            "CallbackType Extensions HResult Kind MemoryProtect MemoryState MemoryType ModuleWrite SecondaryFlags "
            "ThreadWrite"
        ),
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
