/* The MiniDumpWriteDump callback ABI, declared here.
 *
 * Never replace this by a dbghelp.h: mingw-w64's MINIDUMP_CALLBACK_OUTPUT is 68 bytes long instead of 52, and every
 * GCC build of a Windows header puts CONTEXT at 12 instead of 16 (pack(4) wins over align(16) there).
 * Sources: Microsoft's minidumpapiset.h (sizes and offsets confirmed from public PDB type dumps) and its public
 * documentation pages. Sizes and offsets are asserted in base/protocol_asserts.h. "Seen" means recorded with both
 * dbghelp 6.3.9600 (Windows 8.1) and dbgcore 10.0.22621 (Windows 11) (docs/callbacks.md).
 *
 * The target CPU of the *build* decides sizeof(CONTEXT), as with dbghelp: an engine sends its own CONTEXT.
 * Between the cdef markers the text is also read by cffi, so it stays plain C there.
 */
#ifndef MDC_API_MINIDUMP_PROTOCOL_H
#define MDC_API_MINIDUMP_PROTOCOL_H

#include <stdint.h>

#if defined(_WIN32)
#define MDC_CALL __stdcall /* WINAPI and CALLBACK; no distinction on x64 and arm64 */
#else
#define MDC_CALL
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define MDC_CONTEXT_SIZE 1232
#elif defined(__aarch64__) || defined(_M_ARM64)
#define MDC_CONTEXT_SIZE 912
#elif defined(__i386__) || defined(_M_IX86)
#define MDC_CONTEXT_SIZE 716
#else
#error "no MINIDUMP callback ABI is known for this processor"
#endif

#if UINTPTR_MAX > 0xFFFFFFFFu
#define MDC_THREAD_PAD uint32_t Pad; /* CONTEXT is 16-aligned inside a pack(4) struct */
#define MDC_THREAD_TAIL uint8_t Tail[12];
#else
#define MDC_THREAD_PAD
#define MDC_THREAD_TAIL
#endif

#ifdef __cplusplus
extern "C" {
#endif

#pragma pack(push, 4)

/* cdef: begin */
/* MINIDUMP_CALLBACK_TYPE; the two of compressed memory are only in the newest SDK; they and ThreadEx were never seen.
 * The order seen: IsProcessSnapshot, VmStart, IoStart, SecondaryFlags, Cancel (repeated from here on),
 * all IncludeThread, all IncludeModule, all Module, all Thread; all Memory, then all RemoveMemory, or with full memory
 * IncludeVmRegion twice for each region, with VmQuery among them; IoWriteAll, IoFinish, WriteKernelMinidump,
 * KernelMinidumpStatus. VmPreRead and VmPostRead come with every read, from before the first IncludeThread. */
enum {
    MDC_CB_MODULE = 0,
    MDC_CB_THREAD = 1,
    MDC_CB_THREAD_EX = 2,
    MDC_CB_INCLUDE_THREAD = 3,
    MDC_CB_INCLUDE_MODULE = 4,
    MDC_CB_MEMORY = 5,
    MDC_CB_CANCEL = 6,
    MDC_CB_WRITE_KERNEL_MINIDUMP = 7,
    MDC_CB_KERNEL_MINIDUMP_STATUS = 8,
    MDC_CB_REMOVE_MEMORY = 9,
    MDC_CB_INCLUDE_VM_REGION = 10,
    MDC_CB_IO_START = 11,
    MDC_CB_IO_WRITE_ALL = 12,
    MDC_CB_IO_FINISH = 13,
    MDC_CB_READ_MEMORY_FAILURE = 14,
    MDC_CB_SECONDARY_FLAGS = 15,
    MDC_CB_IS_PROCESS_SNAPSHOT = 16,
    MDC_CB_VM_START = 17,
    MDC_CB_VM_QUERY = 18,
    MDC_CB_VM_PRE_READ = 19,
    MDC_CB_VM_POST_READ = 20,
    MDC_CB_COMPRESSED_MEMORY_STREAM_START = 21,
    MDC_CB_COMPRESSED_MEMORY_STREAM_FINISH = 22,
    MDC_CB_COUNT = 23
};

/* MODULE_WRITE_FLAGS */
enum {
    MDC_MODULE_WRITE_MODULE = 0x01,
    MDC_MODULE_WRITE_DATA_SEG = 0x02,
    MDC_MODULE_WRITE_MISC_RECORD = 0x04,
    MDC_MODULE_WRITE_CV_RECORD = 0x08,
    MDC_MODULE_REFERENCED_BY_MEMORY = 0x10,
    MDC_MODULE_WRITE_TLS_DATA = 0x20,
    MDC_MODULE_WRITE_CODE_SEGS = 0x40
};

/* THREAD_WRITE_FLAGS */
enum {
    MDC_THREAD_WRITE_THREAD = 0x01,
    MDC_THREAD_WRITE_STACK = 0x02,
    MDC_THREAD_WRITE_CONTEXT = 0x04,
    MDC_THREAD_WRITE_BACKING_STORE = 0x08,
    MDC_THREAD_WRITE_INSTRUCTION_WINDOW = 0x10,
    MDC_THREAD_WRITE_THREAD_DATA = 0x20,
    MDC_THREAD_WRITE_THREAD_INFO = 0x40
};

enum { MDC_SECONDARY_WITHOUT_POWER_INFO = 1 };

/* MINIDUMP_TYPE; the bits the engine of this package knows by name. */
enum {
    MDC_TYPE_NORMAL = 0,
    MDC_TYPE_WITH_DATA_SEGS = 0x1,
    MDC_TYPE_WITH_FULL_MEMORY = 0x2,
    MDC_TYPE_WITH_HANDLE_DATA = 0x4,
    MDC_TYPE_FILTER_MEMORY = 0x8,
    MDC_TYPE_SCAN_MEMORY = 0x10,
    MDC_TYPE_WITH_UNLOADED_MODULES = 0x20,
    MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY = 0x40,
    MDC_TYPE_FILTER_MODULE_PATHS = 0x80,
    MDC_TYPE_WITH_PROCESS_THREAD_DATA = 0x100,
    MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY = 0x200,
    MDC_TYPE_WITHOUT_OPTIONAL_DATA = 0x400,
    MDC_TYPE_WITH_FULL_MEMORY_INFO = 0x800,
    MDC_TYPE_WITH_THREAD_INFO = 0x1000,
    MDC_TYPE_WITH_CODE_SEGS = 0x2000,
    MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY = 0x10000,
    MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY = 0x20000,
    MDC_TYPE_WITH_MODULE_HEADERS = 0x80000,
    MDC_TYPE_FILTER_TRIAGE = 0x100000,
    MDC_TYPE_WITH_AVX_XSTATE_CONTEXT = 0x200000
};

/* HRESULTs, as the unsigned 32-bit values they are written as. */
#define MDC_S_OK 0x00000000
#define MDC_S_FALSE 0x00000001
#define MDC_E_NOTIMPL 0x80004001
#define MDC_E_FAIL 0x80004005
#define MDC_E_OUTOFMEMORY 0x8007000E
#define MDC_E_INVALIDARG 0x80070057
#define MDC_E_CANCELLED 0x800704C7
#define MDC_E_PARTIAL_COPY 0x8007012B

/* Memory constants of MINIDUMP_MEMORY_INFO. */
#define MDC_PAGE_NOACCESS 0x01
#define MDC_PAGE_READONLY 0x02
#define MDC_PAGE_READWRITE 0x04
#define MDC_PAGE_WRITECOPY 0x08
#define MDC_PAGE_EXECUTE 0x10
#define MDC_PAGE_EXECUTE_READ 0x20
#define MDC_PAGE_EXECUTE_READWRITE 0x40
#define MDC_PAGE_EXECUTE_WRITECOPY 0x80
#define MDC_PAGE_GUARD 0x100
#define MDC_PAGE_NOCACHE 0x200
#define MDC_PAGE_WRITECOMBINE 0x400
#define MDC_MEM_COMMIT 0x1000
#define MDC_MEM_RESERVE 0x2000
#define MDC_MEM_FREE 0x10000
#define MDC_MEM_PRIVATE 0x20000
#define MDC_MEM_MAPPED 0x40000
#define MDC_MEM_IMAGE 0x1000000

typedef struct MINIDUMP_MEMORY_INFO {
    uint64_t BaseAddress;
    uint64_t AllocationBase;
    uint32_t AllocationProtect;
    uint32_t Alignment1;
    uint64_t RegionSize;
    uint32_t State;
    uint32_t Protect;
    uint32_t Type;
    uint32_t Alignment2;
} MINIDUMP_MEMORY_INFO;

typedef struct MDC_VS_FIXEDFILEINFO {
    uint32_t Signature;
    uint32_t StrucVersion;
    uint32_t FileVersionMS;
    uint32_t FileVersionLS;
    uint32_t ProductVersionMS;
    uint32_t ProductVersionLS;
    uint32_t FileFlagsMask;
    uint32_t FileFlags;
    uint32_t FileOS;
    uint32_t FileType;
    uint32_t FileSubtype;
    uint32_t FileDateMS;
    uint32_t FileDateLS;
} MDC_VS_FIXEDFILEINFO;

typedef struct MINIDUMP_THREAD_CALLBACK {
    uint32_t ThreadId;
    void *ThreadHandle;
    MDC_THREAD_PAD
    uint8_t Context[MDC_CONTEXT_SIZE];
    uint32_t SizeOfContext;
    uint64_t StackBase; /* the high end, as seen; Wine has the low one */
    uint64_t StackEnd;  /* the low end */
    MDC_THREAD_TAIL
} MINIDUMP_THREAD_CALLBACK;

typedef struct MINIDUMP_THREAD_EX_CALLBACK {
    uint32_t ThreadId;
    void *ThreadHandle;
    MDC_THREAD_PAD
    uint8_t Context[MDC_CONTEXT_SIZE];
    uint32_t SizeOfContext;
    uint64_t StackBase;
    uint64_t StackEnd;
    uint64_t BackingStoreBase;
    uint64_t BackingStoreEnd;
    MDC_THREAD_TAIL
} MINIDUMP_THREAD_EX_CALLBACK;

typedef struct MINIDUMP_INCLUDE_THREAD_CALLBACK {
    uint32_t ThreadId;
} MINIDUMP_INCLUDE_THREAD_CALLBACK;

typedef struct MINIDUMP_MODULE_CALLBACK {
    const uint16_t *FullPath; /* UTF-16, NUL-terminated, valid during the call */
    uint64_t BaseOfImage;
    uint32_t SizeOfImage;
    uint32_t CheckSum;
    uint32_t TimeDateStamp;
    MDC_VS_FIXEDFILEINFO VersionInfo;
    const void *CvRecord;
    uint32_t SizeOfCvRecord;
    const void *MiscRecord;
    uint32_t SizeOfMiscRecord;
} MINIDUMP_MODULE_CALLBACK;

typedef struct MINIDUMP_INCLUDE_MODULE_CALLBACK {
    uint64_t BaseOfImage;
} MINIDUMP_INCLUDE_MODULE_CALLBACK;

/* Offsets go back and forth: the header was seen first and the directory last. */
typedef struct MINIDUMP_IO_CALLBACK {
    void *Handle;
    uint64_t Offset;
    const void *Buffer;
    uint32_t BufferBytes;
} MINIDUMP_IO_CALLBACK;

/* Seen in dumps without full memory only, and not for stacks. */
typedef struct MINIDUMP_READ_MEMORY_FAILURE_CALLBACK {
    uint64_t Offset; /* address in the target */
    uint32_t Bytes;
    int32_t FailureStatus;
} MINIDUMP_READ_MEMORY_FAILURE_CALLBACK;

typedef struct MINIDUMP_VM_QUERY_CALLBACK {
    uint64_t Offset;
} MINIDUMP_VM_QUERY_CALLBACK;

typedef struct MINIDUMP_VM_PRE_READ_CALLBACK {
    uint64_t Offset;
    void *Buffer;
    uint32_t Size; /* all that remains to be read, seen up to 64 KiB */
} MINIDUMP_VM_PRE_READ_CALLBACK;

typedef struct MINIDUMP_VM_POST_READ_CALLBACK {
    uint64_t Offset;
    void *Buffer;
    uint32_t Size;
    uint32_t Completed; /* a page at most was seen: the rest is the next read */
    int32_t Status;
} MINIDUMP_VM_POST_READ_CALLBACK;

typedef struct MINIDUMP_COMPRESSED_MEMORY_STREAM_START_CALLBACK {
    uint32_t MaxParallelism;
    uint32_t MaxTransferSize;
    void *NumaNodeInfoArray;
    uint32_t NumaNodeInfoArraySize;
    uint32_t Reserved;
} MINIDUMP_COMPRESSED_MEMORY_STREAM_START_CALLBACK;

typedef struct MINIDUMP_COMPRESSED_MEMORY_STREAM_FINISH_CALLBACK {
    uint64_t CompressedStreamSize;
    uint32_t StreamCompressionRate;
} MINIDUMP_COMPRESSED_MEMORY_STREAM_FINISH_CALLBACK;

/* What an engine of this package adds to IncludeVmRegion, whose input union Windows leaves unused. A callee may
 * read it only if that was agreed out of band when the two were paired for a dump (mdc_callback_set_host); nothing is
 * guessed from memory content. Pointers are valid during the call. */
typedef struct mdc_region_facts {
    uint32_t Size;        /* sizeof(mdc_region_facts) of the engine */
    uint32_t Version;     /* 1 */
    uint64_t MappingBase; /* the original mapping: size rules and `head` look at these, never at a remainder */
    uint64_t MappingSize; /* bytes */
    const uint8_t *Name;  /* raw bytes of the mapping's name, no escapes; NULL if it has none */
    uint32_t NameSize;    /* bytes */
    uint32_t NameId;      /* dense: 1.. for names, 0 for no name; equal names of one dump have equal ids */
    uint32_t Kinds;       /* MDC_KIND_*: a bit mask */
    uint32_t Flags;       /* MDC_FACT_* */
    uint64_t FileOffset;  /* bytes */
    uint64_t Inode;
    uint32_t DevMajor;
    uint32_t DevMinor;
    uint64_t ResidentBytes; /* 0 if not known */
} mdc_region_facts;

typedef union MDC_CALLBACK_INPUT_UNION {
    int32_t Status; /* KernelMinidumpStatus */
    MINIDUMP_THREAD_CALLBACK Thread;
    MINIDUMP_THREAD_EX_CALLBACK ThreadEx;
    MINIDUMP_MODULE_CALLBACK Module;
    MINIDUMP_INCLUDE_THREAD_CALLBACK IncludeThread;
    MINIDUMP_INCLUDE_MODULE_CALLBACK IncludeModule;
    MINIDUMP_IO_CALLBACK Io; /* IoStart, IoWriteAll, IoFinish */
    MINIDUMP_READ_MEMORY_FAILURE_CALLBACK ReadMemoryFailure;
    uint32_t SecondaryFlags;
    MINIDUMP_VM_QUERY_CALLBACK VmQuery;
    MINIDUMP_VM_PRE_READ_CALLBACK VmPreRead;
    MINIDUMP_VM_POST_READ_CALLBACK VmPostRead;
    MINIDUMP_COMPRESSED_MEMORY_STREAM_FINISH_CALLBACK CompressedMemoryStreamFinish;
    mdc_region_facts RegionFacts; /* IncludeVmRegion, only with the extension above */
} MDC_CALLBACK_INPUT_UNION;

/* Seen as 0 and NULL in IoStart, IoWriteAll, IoFinish, WriteKernelMinidump and KernelMinidumpStatus; as 0 and the
 * handle in IsProcessSnapshot and the Vm types; in all others both are set. */
typedef struct MINIDUMP_CALLBACK_INPUT {
    uint32_t ProcessId;
    void *ProcessHandle;
    uint32_t CallbackType;
    MDC_CALLBACK_INPUT_UNION u; /* anonymous in Microsoft's header */
} MINIDUMP_CALLBACK_INPUT;

typedef struct MDC_OUTPUT_MEMORY {
    uint64_t MemoryBase;
    uint32_t MemorySize;
} MDC_OUTPUT_MEMORY;

typedef struct MDC_OUTPUT_CANCEL {
    int32_t CheckCancel;
    int32_t Cancel;
} MDC_OUTPUT_CANCEL;

typedef struct MDC_OUTPUT_VM_REGION {
    MINIDUMP_MEMORY_INFO VmRegion;
    int32_t Continue;
} MDC_OUTPUT_VM_REGION;

typedef struct MDC_OUTPUT_VM_QUERY {
    int32_t VmQueryStatus;
    MINIDUMP_MEMORY_INFO VmQueryResult;
} MDC_OUTPUT_VM_QUERY;

typedef struct MDC_OUTPUT_VM_READ {
    int32_t VmReadStatus;
    uint32_t VmReadBytesCompleted;
} MDC_OUTPUT_VM_READ;

/* One union, 52 bytes, the same on every CPU. Everything is at offset 0: a callee writes only the member of the
 * callback's type, and all of it if it returns TRUE: on entry, VmQueryResult, VmReadBytesCompleted and the bytes after
 * a member were seen to contain garbage. Members that Microsoft groups in anonymous structs are grouped here under a
 * short name. */
typedef union MINIDUMP_CALLBACK_OUTPUT {
    uint32_t ModuleWriteFlags; /* Module, IncludeModule */
    uint32_t ThreadWriteFlags; /* Thread, ThreadEx, IncludeThread */
    uint32_t SecondaryFlags;
    MDC_OUTPUT_MEMORY Memory; /* Memory, RemoveMemory */
    MDC_OUTPUT_CANCEL Cancel;
    void *Handle;                /* WriteKernelMinidump */
    MDC_OUTPUT_VM_REGION Region; /* IncludeVmRegion */
    MDC_OUTPUT_VM_QUERY VmQuery;
    MDC_OUTPUT_VM_READ VmRead; /* VmPreRead, VmPostRead */
    MINIDUMP_COMPRESSED_MEMORY_STREAM_START_CALLBACK CompressedMemoryStreamStart;
    int32_t Status; /* IoStart, IoWriteAll, IoFinish, ReadMemoryFailure, IsProcessSnapshot, VmStart */
} MINIDUMP_CALLBACK_OUTPUT;

/* BOOL: non-zero is TRUE. */
typedef int32_t(MDC_CALL *MINIDUMP_CALLBACK_ROUTINE)(void *CallbackParam, MINIDUMP_CALLBACK_INPUT *CallbackInput,
                                                     MINIDUMP_CALLBACK_OUTPUT *CallbackOutput);

typedef struct MINIDUMP_CALLBACK_INFORMATION {
    MINIDUMP_CALLBACK_ROUTINE CallbackRoutine;
    void *CallbackParam;
} MINIDUMP_CALLBACK_INFORMATION;

typedef struct MINIDUMP_EXCEPTION_INFORMATION {
    uint32_t ThreadId;
    void *ExceptionPointers;
    int32_t ClientPointers;
} MINIDUMP_EXCEPTION_INFORMATION;

typedef struct MINIDUMP_USER_STREAM {
    uint32_t Type;
    uint32_t BufferSize;
    void *Buffer;
} MINIDUMP_USER_STREAM;

typedef struct MINIDUMP_USER_STREAM_INFORMATION {
    uint32_t UserStreamCount;
    MINIDUMP_USER_STREAM *UserStreamArray;
} MINIDUMP_USER_STREAM_INFORMATION;

/* Bits of mdc_region_facts.Kinds. A mapping can be several things: one that a stack pointer points into is always
 * a stack. */
enum {
    MDC_KIND_IMAGE = 0x01,     /* an ELF (or PE) image is mapped here */
    MDC_KIND_FILE = 0x02,      /* backed by a file that is not an image */
    MDC_KIND_ANONYMOUS = 0x04, /* backed by nothing */
    MDC_KIND_HEAP = 0x08,      /* [heap] */
    MDC_KIND_STACK = 0x10,     /* [stack], or holds the stack pointer of a thread */
    MDC_KIND_SHARED = 0x20,    /* MAP_SHARED, shared memory */
    MDC_KIND_VDSO = 0x40       /* [vdso] */
};

/* Bits of mdc_region_facts.Flags. */
enum {
    MDC_FACT_DELETED = 0x01,  /* the mapped file has been removed (Linux' " (deleted)") */
    MDC_FACT_PIECE = 0x02,    /* a piece of a Normal dump: the answer may be byte-exact */
    MDC_FACT_ADDED = 0x04,    /* the piece was added by Memory: kept unless a rule excludes it by name */
    MDC_FACT_DONTDUMP = 0x08, /* MADV_DONTDUMP with MDC_DONTDUMP_ASK: kept only if a rule includes it */
    MDC_FACT_OPTIONAL = 0x10  /* not in a dump of this type: kept only if a rule includes it */
};

/* Extensions of the protocol, switched on out of band when an engine and a callee are paired for one dump. */
enum {
    MDC_EXT_REGION_FACTS = 0x01, /* IncludeVmRegion carries mdc_region_facts */
    MDC_EXT_RESUBMIT = 0x02,     /* IncludeVmRegion is sent again for the rest after the answered part */
    MDC_EXT_PIECES = 0x04,       /* IncludeVmRegion is also sent for each piece of a Normal dump */
    MDC_EXT_HOLD_BACK = 0x08,    /* VmPostRead sees the last `hold` bytes of a run again as the head of the next read */
    MDC_EXT_EDITS_ONLY = 0x10,   /* a callee that answered VmStart with S_FALSE only edits in VmPostRead: it serves no
                                    memory, so VmQuery and VmPreRead are not sent, untouched pages not read */
    MDC_EXT_OPTIONAL = 0x80,     /* in a Normal dump IncludeVmRegion is also sent about every region, for memory to add:
                                    with MDC_FACT_OPTIONAL */
    MDC_EXT_SCANNED = 0x100,     /* ScanMemory: Module has ModuleReferencedByMemory where threads refer to the module,
                                    and other modules are to be left out */
    MDC_EXT_NARROW_WORDS = 0x40, /* words of the target's stacks have 4 bytes */
    MDC_EXT_WINDOWS_NAMES = 0x20 /* names of modules and mappings are those of Windows, whatever system this is */
};
/* cdef: end */

#pragma pack(pop)

#ifdef __cplusplus
}
#endif
#endif
