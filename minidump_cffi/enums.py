"""Flags and numbers of MiniDumpWriteDump and of this package, with Microsoft's names in Python's case.

Values are those of Microsoft's minidumpapiset.h and of the C headers of this package; a test compares each of them.
"""

from __future__ import annotations

import enum

__all__ = [
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
]


class DumpType(enum.IntFlag):
    """MINIDUMP_TYPE: what a dump holds. The value goes to the header of the file."""

    NORMAL = 0
    WITH_DATA_SEGS = 0x1
    WITH_FULL_MEMORY = 0x2
    WITH_HANDLE_DATA = 0x4
    FILTER_MEMORY = 0x8
    SCAN_MEMORY = 0x10
    WITH_UNLOADED_MODULES = 0x20
    WITH_INDIRECTLY_REFERENCED_MEMORY = 0x40
    FILTER_MODULE_PATHS = 0x80
    WITH_PROCESS_THREAD_DATA = 0x100
    WITH_PRIVATE_READ_WRITE_MEMORY = 0x200
    WITHOUT_OPTIONAL_DATA = 0x400
    WITH_FULL_MEMORY_INFO = 0x800
    WITH_THREAD_INFO = 0x1000
    WITH_CODE_SEGS = 0x2000
    WITHOUT_AUXILIARY_STATE = 0x4000
    WITH_FULL_AUXILIARY_STATE = 0x8000
    WITH_PRIVATE_WRITE_COPY_MEMORY = 0x10000
    IGNORE_INACCESSIBLE_MEMORY = 0x20000
    WITH_TOKEN_INFORMATION = 0x40000
    WITH_MODULE_HEADERS = 0x80000
    FILTER_TRIAGE = 0x100000
    WITH_AVX_XSTATE_CONTEXT = 0x200000
    WITH_IPT_TRACE = 0x400000
    SCAN_INACCESSIBLE_PARTIAL_PAGES = 0x800000
    FILTER_WRITE_COMBINED_MEMORY = 0x1000000
    NO_IGNORE_INACCESSIBLE_MEMORY = 0x2000000
    WITH_MEMORY_COMPRESSED = 0x4000000


class CallbackType(enum.IntEnum):
    """MINIDUMP_CALLBACK_TYPE: what the engine asks or reports."""

    MODULE = 0
    THREAD = 1
    THREAD_EX = 2
    INCLUDE_THREAD = 3
    INCLUDE_MODULE = 4
    MEMORY = 5
    CANCEL = 6
    WRITE_KERNEL_MINIDUMP = 7
    KERNEL_MINIDUMP_STATUS = 8
    REMOVE_MEMORY = 9
    INCLUDE_VM_REGION = 10
    IO_START = 11
    IO_WRITE_ALL = 12
    IO_FINISH = 13
    READ_MEMORY_FAILURE = 14
    SECONDARY_FLAGS = 15
    IS_PROCESS_SNAPSHOT = 16
    VM_START = 17
    VM_QUERY = 18
    VM_PRE_READ = 19
    VM_POST_READ = 20
    COMPRESSED_MEMORY_STREAM_START = 21
    COMPRESSED_MEMORY_STREAM_FINISH = 22


class MemoryState(enum.IntFlag):
    """MEM_*: the state of a region. On Linux a reservation is a mapping without access and without content."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    FREE = 0x10000


class MemoryType(enum.IntFlag):
    """MEM_*: what backs a region. On Linux: anonymous memory, a mapped file, a mapped ELF image."""

    PRIVATE = 0x20000
    MAPPED = 0x40000
    IMAGE = 0x1000000


class MemoryProtect(enum.IntFlag):
    """PAGE_*: the protection of a region, with its modifiers from GUARD on."""

    NOACCESS = 0x01
    READONLY = 0x02
    READWRITE = 0x04
    WRITECOPY = 0x08
    EXECUTE = 0x10
    EXECUTE_READ = 0x20
    EXECUTE_READWRITE = 0x40
    EXECUTE_WRITECOPY = 0x80
    GUARD = 0x100
    NOCACHE = 0x200
    WRITECOMBINE = 0x400


class Access(enum.IntFlag):
    """What may be done with a region, whichever PAGE_* value grants it."""

    READ = 1
    WRITE = 2
    EXECUTE = 4


class Kind(enum.IntFlag):
    """What a mapping is. A mapping can be several things: one that holds a stack pointer is a stack, whatever else."""

    IMAGE = 0x01
    FILE = 0x02
    ANONYMOUS = 0x04
    HEAP = 0x08
    STACK = 0x10
    SHARED = 0x20
    VDSO = 0x40


class ModuleWrite(enum.IntFlag):
    """MODULE_WRITE_FLAGS: what is written about a module. Without MODULE it is not in the dump at all."""

    MODULE = 0x01
    DATA_SEG = 0x02
    MISC_RECORD = 0x04
    CV_RECORD = 0x08
    REFERENCED_BY_MEMORY = 0x10
    TLS_DATA = 0x20
    CODE_SEGS = 0x40


class ThreadWrite(enum.IntFlag):
    """THREAD_WRITE_FLAGS: what is written about a thread. Without THREAD it is not in the dump at all."""

    THREAD = 0x01
    STACK = 0x02
    CONTEXT = 0x04
    BACKING_STORE = 0x08
    INSTRUCTION_WINDOW = 0x10
    THREAD_DATA = 0x20
    THREAD_INFO = 0x40


class SecondaryFlags(enum.IntFlag):
    """MINIDUMP_SECONDARY_FLAGS."""

    NONE = 0
    WITHOUT_POWER_INFO = 1


class Stream(enum.IntFlag):
    """Streams of a dump that can be left out."""

    CPUINFO = 0x001
    STATUS = 0x002
    LSB_RELEASE = 0x004
    CMDLINE = 0x008
    ENVIRON = 0x010
    AUXV = 0x020
    MAPS = 0x040
    DSO_DEBUG = 0x080
    THREAD_NAMES = 0x100
    THREAD_INFO = 0x200
    EXCEPTION = 0x400


class GapReason(enum.IntEnum):
    """Why memory that was asked for is not in the dump."""

    READ_FAILED = 1
    BEYOND_EOF = 2
    TRUNCATED = 3
    UNKNOWN = 4
    LEFT_TO_FILE = 5


class RegionFlags(enum.IntFlag):
    """What the engine itself found out or decided about a mapping."""

    NEVER_READ = 0x01
    DONTDUMP = 0x02
    UNTOUCHED = 0x04
    VIA_MEM = 0x08
    EXCLUDED = 0x10
    NARROWED = 0x20
    FILE = 0x40
    CHANGED = 0x80
    SHARED = 0x100
    USERFAULT = 0x200
    SLOW_FILE = 0x800


class ThreadFlags(enum.IntFlag):
    """What is missing of a thread."""

    NO_REGISTERS = 0x01
    EXCLUDED = 0x02
    NO_STACK = 0x04


class ExtentFlags(enum.IntFlag):
    """How a run of memory is stored in the file."""

    STACK = 0x01
    HOLE = 0x02
    ZERO = 0x04
    OMITTED = 0x08
    BLOCK = 0x10
    JOINED = 0x20
    LATE = 0x40


class DumpWarning(enum.IntFlag):
    """What a reader of the dump, or of the report, should know."""

    MANY_THREADS = 0x01
    MANY_MODULES = 0x02
    MANY_RANGES = 0x04
    RANGES_ABOVE_4G = 0x08
    NO_SPARSE = 0x10
    NO_RESIDENCY = 0x20
    GAP_TABLE_FULL = 0x40
    NO_REGION_CALLBACKS = 0x80
    NO_MEMORY_CALLBACKS = 0x100
    NO_VM_CALLBACKS = 0x200
    FILLED = 0x400
    NO_THREAD_REGISTERS = 0x4000
    NO_THREAD_STACK = 0x8000
    UNKNOWN_MEMORY = 0x800
    SLOW_FILES = 0x10000
    MEMORY64 = 0x40000
    NOT_STOPPED = 0x100000
    NO_THREADS = 0x80000
    TYPE = 0x200000


class Phase(enum.IntEnum):
    """Where a dump is, or was when it failed."""

    NONE = 0
    COMPILE = 1
    OPEN = 2
    STOP = 3
    GATHER = 4
    PLAN = 5
    WRITE = 6
    FINISH = 7


class Extensions(enum.IntFlag):
    """What our engine adds to the protocol for a callee that knows it. A foreign callee gets the plain protocol: 0."""

    REGION_FACTS = 0x1
    """IncludeVmRegion carries facts about the mapping: name, kinds, original size."""
    RESUBMIT = 0x2
    """IncludeVmRegion is sent again for the rest after the answered part."""
    PIECES = 0x4
    """IncludeVmRegion is also sent for each piece of a dump without full memory."""
    HOLD_BACK = 0x8
    """VmPostRead sees the end of a read again as the head of the next one: `EngineOptions.hold` bytes."""
    EDITS_ONLY = 0x10
    """The callee asks for VmPostRead only to edit what was read: VmQuery and VmPreRead are not sent."""


PLAIN = Extensions(0)
"""The plain protocol."""


class HResult(enum.IntEnum):
    """HRESULTs of the protocol, unsigned. S_FALSE says yes to IoStart, VmStart and IsProcessSnapshot; S_OK says no."""

    S_OK = 0x00000000
    S_FALSE = 0x00000001
    E_NOTIMPL = 0x80004001
    E_FAIL = 0x80004005
    E_OUTOFMEMORY = 0x8007000E
    E_INVALIDARG = 0x80070057
    E_PARTIAL_COPY = 0x8007012B
    E_CANCELLED = 0x800704C7
