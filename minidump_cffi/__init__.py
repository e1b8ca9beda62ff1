"""The fast, programmable way to take minidumps.

A `Filter` says once what goes into a dump; a compiled C trampoline answers the MiniDumpWriteDump callback protocol from
it, and an engine of this package drives that protocol over live Linux processes.

>>> import minidump_cffi as md
>>> keep = md.Filter(md.exclude(type="mapped", min_size="64 MiB"), streams_exclude=["environ"])
>>> report = md.write_dump(pid, "app.dmp", md.DumpType.WITH_FULL_MEMORY, filter=keep)  # doctest: +SKIP
"""

from __future__ import annotations

import typing

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

if typing.TYPE_CHECKING:
    from types import ModuleType

    from . import aio

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    """`aio`, imported when it is used: asyncio takes as long to import as all the rest."""
    if name != "aio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"{__name__}.aio")


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
