"""The fast, programmable way to take minidumps.

A `Filter` says once what goes into a dump; a compiled C trampoline answers the MiniDumpWriteDump callback protocol from
it, and an engine of this package drives that protocol over live Linux processes.

>>> import minidump_cffi as md
>>> keep = md.Filter(md.exclude(type="mapped", min_size="64 MiB"), streams={"exclude": ["environ"]})
>>> report = md.write_dump(pid, "app.dmp", md.DumpType.WITH_FULL_MEMORY, filter=keep)  # doctest: +SKIP
"""

from . import _lazy

TYPE_CHECKING = False  # typing takes longer to import than all that is needed here
if TYPE_CHECKING:
    from . import aio, crash, filters, protocol, reading, replay, report
    from ._aliases import (
        AnyCallback,
        File,
        Process,
    )
    from ._options import (
        EngineOptions,
    )
    from ._progress import (
        Progress,
    )
    from .batch import (
        DumpedProcess,
        FilteredFile,
        filter_many,
        write_dump_many,
    )
    from .callback import (
        Callback,
    )
    from .causes import (
        ExceptionInfo,
        SignalInfo,
    )
    from .dumping import (
        plan_dump,
        write_dump,
    )
    from .engines import (
        DbgHelp,
        UserStream,
    )
    from .enums import (
        DumpType,
    )
    from .errors import (
        AccessDenied,
        BudgetTooSmall,
        CallbackError,
        Cancelled,
        DeadlineExceeded,
        DumpError,
        FilterError,
        FilterWarning,
        FormatError,
        InputError,
        LimitReached,
        PluginError,
        ReadError,
        SinkError,
        Stalled,
        TargetBusy,
        TargetError,
        TargetGone,
    )
    from .files import (
        AnyFile,
        CoreFile,
        DumpFile,
    )
    from .filters import (
        Filter,
        Glob,
        Pattern,
        Redact,
        Size,
        exclude,
        exclude_ranges,
        head,
        include,
        include_ranges,
        module,
        thread,
    )
    from .plugins import (
        Plugin,
    )
    from .reading import (
        open_dump,
    )
    from .report import (
        DumpPlan,
        DumpReport,
    )
    from .targets import (
        Handle,
        PidFd,
    )

__version__ = "0.2.0"

__all__ = [
    "AccessDenied",
    "AnyCallback",
    "AnyFile",
    "BudgetTooSmall",
    "Callback",
    "CallbackError",
    "Cancelled",
    "CoreFile",
    "DbgHelp",
    "DeadlineExceeded",
    "DumpError",
    "DumpFile",
    "DumpPlan",
    "DumpReport",
    "DumpType",
    "DumpedProcess",
    "EngineOptions",
    "ExceptionInfo",
    "File",
    "Filter",
    "FilterError",
    "FilterWarning",
    "FilteredFile",
    "FormatError",
    "Glob",
    "Handle",
    "InputError",
    "LimitReached",
    "Pattern",
    "PidFd",
    "Plugin",
    "PluginError",
    "Process",
    "Progress",
    "ReadError",
    "Redact",
    "SignalInfo",
    "SinkError",
    "Size",
    "Stalled",
    "TargetBusy",
    "TargetError",
    "TargetGone",
    "UserStream",
    "aio",
    "crash",
    "exclude",
    "exclude_ranges",
    "filter_many",
    "filters",
    "head",
    "include",
    "include_ranges",
    "module",
    "open_dump",
    "plan_dump",
    "protocol",
    "reading",
    "replay",
    "report",
    "thread",
    "write_dump",
    "write_dump_many",
]

_HOMES = _lazy.homes(
    {
        "aio": "aio",
        "crash": "crash",
        "filters": (
            "filters Filter Glob Pattern Redact Size exclude exclude_ranges head include include_ranges module thread"
        ),
        "protocol": "protocol",
        "reading": "reading open_dump",
        "replay": "replay",
        "report": "report DumpPlan DumpReport",
        "batch": "DumpedProcess FilteredFile filter_many write_dump_many",
        "callback": "Callback",
        "_options": "EngineOptions",
        "_progress": "Progress",
        "dumping": "plan_dump write_dump",
        "causes": "ExceptionInfo SignalInfo",
        "engines": "DbgHelp UserStream",
        "enums": "DumpType",
        "errors": (
            "AccessDenied BudgetTooSmall CallbackError Cancelled DeadlineExceeded DumpError FilterError FilterWarning "
            "FormatError InputError LimitReached PluginError ReadError SinkError Stalled TargetBusy TargetError "
            "TargetGone"
        ),
        "files": "AnyFile CoreFile DumpFile",
        "plugins": "Plugin",
        "_aliases": "AnyCallback File Process",
        "targets": "Handle PidFd",
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
