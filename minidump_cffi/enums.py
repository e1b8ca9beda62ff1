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
    """MINIDUMP_TYPE: what a dump holds. The value goes to the header of the file.

    Examples
    --------
    >>> DumpType.WITH_FULL_MEMORY | DumpType.WITH_THREAD_INFO
    <DumpType.WITH_FULL_MEMORY|WITH_THREAD_INFO: 4098>
    """

    NORMAL = 0  #: What a stack trace of every thread needs
    WITH_DATA_SEGS = 0x1  #: Writable sections of modules: global variables
    WITH_FULL_MEMORY = 0x2  #: All accessible memory
    WITH_HANDLE_DATA = 0x4  #: Open handles
    FILTER_MEMORY = 0x8  #: Stacks without what is not needed for a stack trace
    SCAN_MEMORY = 0x10  #: Modules that stacks refer to are marked
    WITH_UNLOADED_MODULES = 0x20  #: Modules that were unloaded lately
    WITH_INDIRECTLY_REFERENCED_MEMORY = 0x40  #: Memory that stacks refer to
    FILTER_MODULE_PATHS = 0x80  #: Names of modules without their folders
    WITH_PROCESS_THREAD_DATA = 0x100  #: PEB and TEBs, with parameters and environment
    WITH_PRIVATE_READ_WRITE_MEMORY = 0x200  #: Private writable memory
    WITHOUT_OPTIONAL_DATA = 0x400  #: Without memory that is not essential
    WITH_FULL_MEMORY_INFO = 0x800  #: The list of regions
    WITH_THREAD_INFO = 0x1000  #: Times and states of threads
    WITH_CODE_SEGS = 0x2000  #: Code sections of modules
    WITHOUT_AUXILIARY_STATE = 0x4000  #: Without what auxiliary providers add
    WITH_FULL_AUXILIARY_STATE = 0x8000  #: All that auxiliary providers add
    WITH_PRIVATE_WRITE_COPY_MEMORY = 0x10000  #: Private copies of written pages
    IGNORE_INACCESSIBLE_MEMORY = 0x20000  #: Memory that cannot be read is no error
    WITH_TOKEN_INFORMATION = 0x40000  #: Security tokens
    WITH_MODULE_HEADERS = 0x80000  #: Headers of modules
    FILTER_TRIAGE = 0x100000  #: Data for triage
    WITH_AVX_XSTATE_CONTEXT = 0x200000  #: Registers of AVX
    WITH_IPT_TRACE = 0x400000  #: Traces of Intel Processor Trace
    SCAN_INACCESSIBLE_PARTIAL_PAGES = 0x800000  #: Looks for readable parts of pages that could not be read whole
    FILTER_WRITE_COMBINED_MEMORY = 0x1000000  #: Without write-combined memory
    NO_IGNORE_INACCESSIBLE_MEMORY = 0x2000000  #: Undoes IGNORE_INACCESSIBLE_MEMORY, which some types imply
    WITH_MEMORY_COMPRESSED = 0x4000000  #: Memory is compressed


class CallbackType(enum.IntEnum):
    """MINIDUMP_CALLBACK_TYPE: what the engine asks or reports.

    Examples
    --------
    >>> CallbackType(10)
    <CallbackType.INCLUDE_VM_REGION: 10>
    """

    MODULE = 0  #: What is written about a module
    THREAD = 1  #: What is written about a thread
    THREAD_EX = 2  #: The same, on systems with a second stack per thread
    INCLUDE_THREAD = 3  #: Whether a thread is in the dump
    INCLUDE_MODULE = 4  #: Whether a module is in the dump
    MEMORY = 5  #: Ranges of memory to add
    CANCEL = 6  #: Whether to cancel
    WRITE_KERNEL_MINIDUMP = 7  #: A handle for a kernel minidump
    KERNEL_MINIDUMP_STATUS = 8  #: What came of the kernel minidump
    REMOVE_MEMORY = 9  #: Ranges of memory to leave out
    INCLUDE_VM_REGION = 10  #: What of a region is in a full dump
    IO_START = 11  #: Whether the callback takes the output
    IO_WRITE_ALL = 12  #: Bytes of the output, for a callback that takes it
    IO_FINISH = 13  #: The output is complete
    READ_MEMORY_FAILURE = 14  #: Memory could not be read: whether to go on
    SECONDARY_FLAGS = 15  #: More flags about what is written
    IS_PROCESS_SNAPSHOT = 16  #: Whether the process handle is a snapshot
    VM_START = 17  #: Whether the callback takes part in reads
    VM_QUERY = 18  #: A region, for a callback that answers in the system's place
    VM_PRE_READ = 19  #: Before a read: the callback may supply the bytes
    VM_POST_READ = 20  #: After a read: the callback may change the bytes
    COMPRESSED_MEMORY_STREAM_START = 21  #: How memory is compressed
    COMPRESSED_MEMORY_STREAM_FINISH = 22  #: What compression came to


class MemoryState(enum.IntFlag):
    """MEM_*: the state of a region. On Linux a reservation is a mapping without access and without content.

    Examples
    --------
    >>> MemoryState["COMMIT"]
    <MemoryState.COMMIT: 4096>
    """

    COMMIT = 0x1000  #: It has content
    RESERVE = 0x2000  #: An address range without content
    FREE = 0x10000  #: Nothing is there


class MemoryType(enum.IntFlag):
    """MEM_*: what backs a region. On Linux: anonymous memory, a mapped file, a mapped ELF image.

    Examples
    --------
    >>> MemoryType.PRIVATE | MemoryType.MAPPED
    <MemoryType.PRIVATE|MAPPED: 393216>
    """

    PRIVATE = 0x20000  #: Anonymous memory
    MAPPED = 0x40000  #: A mapped file, or shared memory
    IMAGE = 0x1000000  #: An image: program or library


class MemoryProtect(enum.IntFlag):
    """PAGE_*: the protection of a region, with its modifiers from GUARD on.

    Examples
    --------
    >>> MemoryProtect(0x104)
    <MemoryProtect.READWRITE|GUARD: 260>
    """

    NOACCESS = 0x01  #: No access
    READONLY = 0x02  #: Read
    READWRITE = 0x04  #: Read and write
    WRITECOPY = 0x08  #: Read, and write to a private copy
    EXECUTE = 0x10  #: Execute
    EXECUTE_READ = 0x20  #: Execute and read
    EXECUTE_READWRITE = 0x40  #: Execute, read and write
    EXECUTE_WRITECOPY = 0x80  #: Execute, read, and write to a private copy
    GUARD = 0x100  #: The first access raises an exception
    NOCACHE = 0x200  #: Not cached
    WRITECOMBINE = 0x400  #: Writes are combined


class Access(enum.IntFlag):
    """What may be done with a region, whichever PAGE_* value grants it.

    Examples
    --------
    >>> Access.READ | Access.WRITE
    <Access.READ|WRITE: 3>
    """

    READ = 1  #: It can be read
    WRITE = 2  #: It can be written
    EXECUTE = 4  #: It can be executed


class Kind(enum.IntFlag):
    """What a mapping is. A mapping can be several things: one that holds a stack pointer is a stack, whatever else.

    Examples
    --------
    >>> Kind.STACK in Kind.STACK | Kind.ANONYMOUS
    True
    """

    IMAGE = 0x01  #: A mapping of a program or library
    FILE = 0x02  #: A mapping of a file
    ANONYMOUS = 0x04  #: Without a file
    HEAP = 0x08  #: On Linux private memory that is written, and no stack or module; on Windows, a heap
    STACK = 0x10  #: A stack: a stack pointer lies in it
    SHARED = 0x20  #: Shared with other processes
    VDSO = 0x40  #: Code that the kernel maps into every process


class ModuleWrite(enum.IntFlag):
    """MODULE_WRITE_FLAGS: what is written about a module. Without MODULE it is not in the dump at all.

    Examples
    --------
    >>> ModuleWrite(0x09)
    <ModuleWrite.MODULE|CV_RECORD: 9>
    """

    MODULE = 0x01  #: Its entry in the list
    DATA_SEG = 0x02  #: Its writable sections
    MISC_RECORD = 0x04  #: Its IMAGE_DEBUG_MISC record
    CV_RECORD = 0x08  #: Its CodeView record: the build id
    REFERENCED_BY_MEMORY = 0x10  #: Memory in the dump refers to it
    TLS_DATA = 0x20  #: Its thread-local data
    CODE_SEGS = 0x40  #: Its code sections


class ThreadWrite(enum.IntFlag):
    """THREAD_WRITE_FLAGS: what is written about a thread. Without THREAD it is not in the dump at all.

    Examples
    --------
    >>> ThreadWrite(0x05)
    <ThreadWrite.THREAD|CONTEXT: 5>
    """

    THREAD = 0x01  #: Its entry in the list
    STACK = 0x02  #: Its stack
    CONTEXT = 0x04  #: Its registers
    BACKING_STORE = 0x08  #: Its second stack (Itanium)
    INSTRUCTION_WINDOW = 0x10  #: Memory around its instruction pointer
    THREAD_DATA = 0x20  #: Its TEB
    THREAD_INFO = 0x40  #: Its times and state


class SecondaryFlags(enum.IntFlag):
    """MINIDUMP_SECONDARY_FLAGS.

    Examples
    --------
    >>> SecondaryFlags(1)
    <SecondaryFlags.WITHOUT_POWER_INFO: 1>
    """

    NONE = 0  #: Nothing
    WITHOUT_POWER_INFO = 1  #: Without the power state of processors


class Stream(enum.IntFlag):
    """Streams of a dump that can be left out.

    Examples
    --------
    >>> Stream.ENVIRON | Stream.CMDLINE
    <Stream.CMDLINE|ENVIRON: 24>
    """

    CPUINFO = 0x001  #: LinuxCpuInfo: /proc/cpuinfo
    STATUS = 0x002  #: LinuxProcStatus: /proc/PID/status
    LSB_RELEASE = 0x004  #: LinuxLsbRelease: the distribution
    CMDLINE = 0x008  #: LinuxCmdLine: the command line
    ENVIRON = 0x010  #: LinuxEnviron: the environment
    AUXV = 0x020  #: LinuxAuxv: the auxiliary vector
    MAPS = 0x040  #: LinuxMaps: the mappings
    DSO_DEBUG = 0x080  #: LinuxDsoDebug: the loader's list of modules
    THREAD_NAMES = 0x100  #: ThreadNames
    THREAD_INFO = 0x200  #: ThreadInfoList
    EXCEPTION = 0x400  #: Exception
    LIMITS = 0x800  #: MozLinuxLimits: /proc/PID/limits
    HANDLE_DATA = 0x1000  #: HandleData: open handles, on Linux descriptors


class GapReason(enum.IntEnum):
    """Why memory that was asked for is not in the dump.

    Examples
    --------
    >>> GapReason(1)
    <GapReason.READ_FAILED: 1>
    """

    READ_FAILED = 1  #: The read failed: the dump is not complete
    BEYOND_EOF = 2  #: Mapped, but beyond the end of its file: nothing to read
    TRUNCATED = 3  #: Not reached within `max_stop` (`on_limit="truncate"`), or of a full table of gaps
    UNKNOWN = 4  #: Not resident, and its file cannot be read or may never respond
    LEFT_TO_FILE = 5  #: Clean pages of a module that are in its file; nothing is lost
    CUT = 6  #: Was in the core or dump that was read, before that file was cut
    BUDGET = 7  #: Left out because the dump must not be longer than `max_bytes`


class RegionFlags(enum.IntFlag):
    """What the engine itself found out or decided about a mapping.

    Examples
    --------
    >>> RegionFlags.FILE | RegionFlags.SHARED
    <RegionFlags.FILE|SHARED: 320>
    """

    NEVER_READ = 0x01  #: [vvar], [vsyscall], device memory, a guard, a reservation
    DONTDUMP = 0x02  #: Marked with MADV_DONTDUMP
    UNTOUCHED = 0x04  #: May hold pages that were never touched
    VIA_MEM = 0x08  #: Read through /proc/PID/mem
    EXCLUDED = 0x10  #: The callback kept nothing of it
    NARROWED = 0x20  #: The callback kept a part of it
    FILE = 0x40  #: Mapped from a file
    CHANGED = 0x80  #: Appeared or changed just before the stop, as far as smaps was read before it, too
    SHARED = 0x100  #: Other processes see writes to it
    USERFAULT = 0x200  #: A userfaultfd handler supplies missing pages
    SLOW_FILE = 0x800  #: On a file system that may never respond: only resident pages are read


class ThreadFlags(enum.IntFlag):
    """What is missing of a thread.

    Examples
    --------
    >>> ThreadFlags(0x01)
    <ThreadFlags.NO_REGISTERS: 1>
    """

    NO_REGISTERS = 0x01  #: It did not stop within `stop_timeout`
    EXCLUDED = 0x02  #: It was left out
    NO_STACK = 0x04  #: Its stack could not be found


class ExtentFlags(enum.IntFlag):
    """How a run of memory is stored in the file.

    Examples
    --------
    >>> ExtentFlags(0x41)
    <ExtentFlags.STACK|LATE: 65>
    """

    STACK = 0x01  #: Of a stack: thread descriptors refer to it
    HOLE = 0x02  #: Never written: a hole in the file
    ZERO = 0x04  #: Never written: zeros among the bytes
    OMITTED = 0x08  #: Never written: left out of the file
    BLOCK = 0x10  #: In a dump without full memory: added memory, or around an instruction pointer
    JOINED = 0x20  #: Continues the range of the extent before it
    LATE = 0x40  #: Of a mapped file: read after the target was resumed
    TRUNCATED = 0x80  #: Not reached within `max_stop`: not in the file


class DumpWarning(enum.IntFlag):
    """What a reader of the dump, or of the report, should know.

    Examples
    --------
    >>> DumpWarning(0x200000)
    <DumpWarning.TYPE: 2097152>
    """

    MANY_THREADS = 0x01  #: More than 4,096 threads: Breakpad drops the list
    MANY_MODULES = 0x02  #: More than 2,048 modules: Breakpad drops the list
    MANY_RANGES = 0x04  #: More than 4,096 ranges in MemoryList: Breakpad drops the list
    RANGES_ABOVE_4G = 0x08  #: Stacks beyond 4 GiB of the file: no thread refers to them
    NO_SPARSE = 0x10  #: Untouched memory was left out: with holes the file would be too long
    NO_RESIDENCY = 0x20  #: The kernel does not report which pages were touched
    GAP_TABLE_FULL = 0x40  #: More gaps than the table holds: the last entry covers the rest
    NO_REGION_CALLBACKS = 0x80  #: The engine did not ask about regions
    NO_MEMORY_CALLBACKS = 0x100  #: The engine did not ask for memory to add
    NO_VM_CALLBACKS = 0x200  #: The engine did not show what it read
    FILLED = 0x400  #: Excluded bytes were overwritten in the finished file
    NO_THREAD_REGISTERS = 0x4000  #: A thread did not stop: its registers are missing
    NO_THREAD_STACK = 0x8000  #: A thread did not stop, and its stack is missing
    UNKNOWN_MEMORY = 0x800  #: Shared memory of which the process has no page is missing
    SLOW_FILES = 0x10000  #: Pages of files that may never respond are missing
    TRUNCATED = 0x20000  #: `on_limit="truncate"`: `max_stop` had passed before all was copied
    MEMORY64 = 0x40000  #: A dump without full memory, too long for MemoryList
    NOT_STOPPED = 0x100000  #: dbghelp could not stop a thread
    NO_THREADS = 0x80000  #: No thread is left: an empty one is listed
    TYPE = 0x200000  #: Bits of the dump type had no effect
    CUT = 0x800000  #: Threads, mappings or files of a core are missing, which was cut
    BOTH_LISTS = 0x400000  #: An existing dump with MemoryList and Memory64List has both again
    STOP = 0x1000000  #: The threads were stopped for longer than `stop` asked for
    SHARED_LATER = 0x2000000  #: Snapshot: shared memory is of a moment after the stop
    STOP_MEMORY = 0x4000000  #: `stop="memory"`: more than its bound, the rest was written during the stop
    REFERENCED = 0x10000000  #: Threads point to more than `EngineOptions.referenced_max`: the rest is missing
    ZOMBIE = 0x8000000  #: Snapshot: its child stays a zombie of the target
    VALUES_UNKNOWN = 0x40000000  #: Values of variables were not searched for: their environment could not be read


class Phase(enum.IntEnum):
    """Where a dump is, or was when it failed.

    Examples
    --------
    >>> Phase.STOP < Phase.WRITE
    True
    """

    NONE = 0  #: None of these
    COMPILE = 1  #: The filter is compiled
    OPEN = 2  #: Target and output are opened
    STOP = 3  #: The threads are stopped
    CAPTURE = 4  #: Mappings, threads and modules are listed
    PLAN = 5  #: It is decided what is written
    WRITE = 6  #: The file is written
    FINISH = 7  #: The file is put in its place
    HAND_ON = 8  #: The target runs: the dump is compressed, sent, or written to an object


class Extensions(enum.IntFlag):
    """What our engine adds to the protocol for a callee that knows it. A foreign callee gets the plain protocol: 0.

    Examples
    --------
    >>> Extensions.REGION_FACTS | Extensions.RESUBMIT
    <Extensions.REGION_FACTS|RESUBMIT: 3>
    """

    #: IncludeVmRegion carries facts about the mapping: name, kinds, original size.
    REGION_FACTS = 0x1
    #: IncludeVmRegion is sent again for the rest after the answered part.
    RESUBMIT = 0x2
    #: IncludeVmRegion is also sent for each piece of a dump without full memory.
    PIECES = 0x4
    #: VmPostRead sees the end of a read again as the head of the next one: `EngineOptions.hold` bytes.
    HOLD_BACK = 0x8
    #: The callee asks for VmPostRead only to edit what was read: VmQuery and VmPreRead are not sent.
    EDITS_ONLY = 0x10
    #: Names of modules and mappings are those of Windows, whatever system this is.
    WINDOWS_NAMES = 0x20
    #: Words of the stacks have 4 bytes.
    NARROW_WORDS = 0x40
    #: In a dump without full memory IncludeVmRegion is also sent about every region, for memory to add to it.
    OPTIONAL = 0x80
    #: SCAN_MEMORY: Module has REFERENCED_BY_MEMORY where threads refer to the module; others are to be left out.
    SCANNED = 0x100


PLAIN = Extensions(0)
"""The plain protocol."""


class HResult(enum.IntEnum):
    """HRESULTs of the protocol, unsigned. S_FALSE says yes to IoStart, VmStart and IsProcessSnapshot; S_OK says no.

    Examples
    --------
    >>> hex(HResult.E_CANCELLED)
    '0x800704c7'
    """

    S_OK = 0x00000000  #: Done; to a question: no
    S_FALSE = 0x00000001  #: To IoStart, VmStart and IsProcessSnapshot: yes
    E_NOTIMPL = 0x80004001  #: Not implemented
    E_FAIL = 0x80004005  #: It failed
    E_OUTOFMEMORY = 0x8007000E  #: There is not enough memory
    E_INVALIDARG = 0x80070057  #: A value is wrong
    E_PARTIAL_COPY = 0x8007012B  #: Only a part could be read
    E_CANCELLED = 0x800704C7  #: It was cancelled
