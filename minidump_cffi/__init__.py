"""The fast, programmable way to take minidumps.

A `Filter` says once what goes into a dump; a compiled C trampoline answers the MiniDumpWriteDump callback protocol from
it, and an engine of this package drives that protocol over live Linux processes.

>>> import minidump_cffi as md
>>> keep = md.Filter(md.exclude(type="mapped", min_size="64 MiB"), streams_exclude=["environ"])
>>> report = md.write_dump(pid, "app.dmp", md.DumpType.WITH_FULL_MEMORY, filter=keep)  # doctest: +SKIP
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than all that is needed here
if TYPE_CHECKING:
    from . import aio
    from ._native import ffi
    from .building import ffibuilder, get_include
    from .callback import Callback, Counters, IoHandler
    from .dumping import EngineOptions, Progress, plan_dump, write_dump
    from .engines import ExceptionInfo, UserStream
    from .enums import (
        Access,
        CallbackType,
        DumpType,
        DumpWarning,
        Extensions,
        ExtentFlags,
        GapReason,
        HResult,
        Kind,
        MemoryProtect,
        MemoryState,
        MemoryType,
        ModuleWrite,
        Phase,
        RegionFlags,
        SecondaryFlags,
        Stream,
        ThreadFlags,
        ThreadWrite,
    )
    from .errors import (
        AccessDenied,
        CallbackError,
        Cancelled,
        DeadlineExceeded,
        DumpError,
        FilterError,
        FilterWarning,
        FormatError,
        LimitReached,
        PluginError,
        ReadError,
        ReplayMismatch,
        SinkError,
        Stalled,
        TargetBusy,
        TargetError,
        TargetGone,
    )
    from .filters import (
        Filter,
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
    from .foreign import PythonCallback, Routine
    from .plugins import Plugin
    from .recording import Call, Recording
    from .replay import Answer, Answers, Replay, ReplayFault
    from .report import DumpPlan, DumpReport, Extent, Gap, Module, Redaction, Region, RuleBytes, Thread
    from .targets import Handle, PidFd
    from .views import (
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

__version__ = "0.1.0"

__all__ = [
    "Access",
    "AccessDenied",
    "Answer",
    "Answers",
    "Call",
    "Callback",
    "CallbackError",
    "CallbackType",
    "Cancelled",
    "Counters",
    "DeadlineExceeded",
    "DumpError",
    "DumpPlan",
    "DumpReport",
    "DumpType",
    "DumpWarning",
    "EngineOptions",
    "ExceptionInfo",
    "Extensions",
    "Extent",
    "ExtentFlags",
    "Filter",
    "FilterError",
    "FilterWarning",
    "FormatError",
    "Gap",
    "GapReason",
    "HResult",
    "Handle",
    "Input",
    "IoHandler",
    "IoInput",
    "Kind",
    "LimitReached",
    "MemoryInfo",
    "MemoryProtect",
    "MemoryState",
    "MemoryType",
    "Module",
    "ModuleInput",
    "ModuleRule",
    "ModuleWrite",
    "Output",
    "Phase",
    "PidFd",
    "Plugin",
    "PluginError",
    "Progress",
    "PythonCallback",
    "RangeRules",
    "ReadError",
    "ReadFailureInput",
    "Recording",
    "Redaction",
    "Region",
    "RegionFacts",
    "RegionFlags",
    "Replay",
    "ReplayFault",
    "ReplayMismatch",
    "Routine",
    "Rule",
    "RuleBytes",
    "SecondaryFlags",
    "SinkError",
    "Stalled",
    "Stream",
    "TargetBusy",
    "TargetError",
    "TargetGone",
    "Thread",
    "ThreadFlags",
    "ThreadInput",
    "ThreadRule",
    "ThreadWrite",
    "UserStream",
    "VmReadInput",
    "aio",
    "exclude",
    "exclude_ranges",
    "ffi",
    "ffibuilder",
    "get_include",
    "head",
    "include",
    "include_ranges",
    "module",
    "plan_dump",
    "thread",
    "write_dump",
]

_NAMES = {  # of each module; they are imported when they are first used
    "aio": ("aio",),
    "_native": ("ffi",),
    "building": (
        "ffibuilder",
        "get_include",
    ),
    "callback": (
        "Callback",
        "Counters",
        "IoHandler",
    ),
    "dumping": (
        "EngineOptions",
        "Progress",
        "plan_dump",
        "write_dump",
    ),
    "engines": (
        "ExceptionInfo",
        "UserStream",
    ),
    "enums": (
        "Access",
        "CallbackType",
        "DumpType",
        "DumpWarning",
        "Extensions",
        "ExtentFlags",
        "GapReason",
        "HResult",
        "Kind",
        "MemoryProtect",
        "MemoryState",
        "MemoryType",
        "ModuleWrite",
        "Phase",
        "RegionFlags",
        "SecondaryFlags",
        "Stream",
        "ThreadFlags",
        "ThreadWrite",
    ),
    "errors": (
        "AccessDenied",
        "CallbackError",
        "Cancelled",
        "DeadlineExceeded",
        "DumpError",
        "FilterError",
        "FilterWarning",
        "FormatError",
        "LimitReached",
        "PluginError",
        "ReadError",
        "ReplayMismatch",
        "SinkError",
        "Stalled",
        "TargetBusy",
        "TargetError",
        "TargetGone",
    ),
    "filters": (
        "Filter",
        "ModuleRule",
        "RangeRules",
        "Rule",
        "ThreadRule",
        "exclude",
        "exclude_ranges",
        "head",
        "include",
        "include_ranges",
        "module",
        "thread",
    ),
    "foreign": (
        "PythonCallback",
        "Routine",
    ),
    "plugins": ("Plugin",),
    "recording": (
        "Call",
        "Recording",
    ),
    "replay": (
        "Answer",
        "Answers",
        "Replay",
        "ReplayFault",
    ),
    "report": (
        "DumpPlan",
        "DumpReport",
        "Extent",
        "Gap",
        "Module",
        "Redaction",
        "Region",
        "RuleBytes",
        "Thread",
    ),
    "targets": (
        "Handle",
        "PidFd",
    ),
    "views": (
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
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """A public name, or a module of the package, imported when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{home}")
    found: object = module if name == home else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
