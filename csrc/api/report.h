/* What a dump was, or would be. Filled by the engine; what only the callee knows (rules) is added in session/. */
#ifndef MDC_API_REPORT_H
#define MDC_API_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
enum { MDC_DROPPED_MAX = 16 };

/* mdc_gap.reason */
enum {
    MDC_GAP_READ_FAILED = 1, /* requested, and the read failed: the dump is not complete */
    MDC_GAP_BEYOND_EOF = 2,  /* mapped, but beyond the end of its file: nothing to read */
    MDC_GAP_TRUNCATED = 3,   /* planned, and not reached when the stop had to end; or of a full table of gaps */
    MDC_GAP_UNKNOWN = 4,     /* not resident, and its file cannot be read or may never respond: not read */
    MDC_GAP_CUT = 6,         /* was in the core or dump that was read, before that was cut */
    MDC_GAP_BUDGET = 7,      /* planned, and left out since the file must not be longer than max_bytes */
    MDC_GAP_LEFT_TO_FILE = 5 /* clean pages of a module that are in its file: left out on request, not missing */
};

/* Also the entry of the gap stream (format/mdc_streams.h), little endian. */
typedef struct mdc_gap {
    uint64_t address;
    uint64_t size; /* bytes */
    uint32_t reason;
    int32_t os_errno;
} mdc_gap;

/* Bits of mdc_report_region.flags: why the engine itself treated a mapping specially, and what it is. */
enum {
    MDC_REGION_NEVER_READ = 0x01, /* [vvar], [vsyscall], device memory, guard, reservation without access */
    MDC_REGION_DONTDUMP = 0x02,   /* MADV_DONTDUMP (or not known) */
    MDC_REGION_UNTOUCHED = 0x04,  /* may hold pages that were never touched */
    MDC_REGION_VIA_MEM = 0x08,    /* read through /proc/PID/mem: shared by copy on write, userfaultfd, no access */
    MDC_REGION_EXCLUDED = 0x10,   /* the callee kept nothing of it */
    MDC_REGION_NARROWED = 0x20,   /* the callee kept a part of it */
    MDC_REGION_FILE = 0x40,       /* mapped from a file: pages exist even without a page table entry */
    MDC_REGION_CHANGED = 0x80,    /* appeared or changed between the listing before the stop and the stop */
    MDC_REGION_SHARED = 0x100,    /* other processes see writes to it: MAP_SHARED */
    MDC_REGION_USERFAULT = 0x200, /* a userfaultfd handler supplies missing pages */
    MDC_REGION_SLOW_FILE = 0x800 /* on a file system that may never respond (FUSE, NFS): only resident pages are read */
};

/* One mapping of the target. */
typedef struct mdc_report_region {
    uint64_t base;
    uint64_t size;         /* bytes */
    uint64_t kept;         /* bytes the dump covers: stored, holes and gaps */
    uint64_t stored;       /* bytes that take space in the file */
    uint64_t untouched;    /* bytes kept that were never written: holes in the file, or left out of it */
    uint64_t left_to_file; /* bytes that were not kept because the module's file has them */
    uint64_t filtered;     /* bytes at the end that the target's coredump_filter leaves out */
    uint64_t zeros;        /* bytes kept that were read, turned out to be pages of zeros, and are holes in the file */
    uint64_t over_budget;  /* bytes that would have been kept, and for which max_bytes left no room */
    uint32_t state;        /* MDC_MEM_* */
    uint32_t protect;      /* MDC_PAGE_* */
    uint32_t type;         /* MDC_MEM_* */
    uint32_t kinds;        /* MDC_KIND_* */
    uint32_t flags;        /* MDC_REGION_* */
    uint32_t name;         /* offset into mdc_report.names */
    uint32_t name_size;    /* bytes */
    uint32_t reserved;
} mdc_report_region;

/* mdc_report_thread.flags */
enum {
    MDC_THREAD_NO_REGISTERS = 0x01, /* did not stop within stop_timeout */
    MDC_THREAD_EXCLUDED = 0x02,
    MDC_THREAD_NO_STACK = 0x04
};

typedef struct mdc_report_thread {
    uint32_t tid;
    uint32_t flags;
    uint64_t stack_base; /* low end of the stack in the thread descriptor, 0 if none */
    uint64_t stack_size;
} mdc_report_thread;

typedef struct mdc_report_module {
    uint64_t base;
    uint64_t size;
    uint32_t flags; /* MODULE_WRITE_FLAGS in effect; 0 if left out */
    uint32_t path;  /* offset into names */
    uint32_t path_size;
    uint32_t reserved;
} mdc_report_module;

/* mdc_report.stop_reason: why the threads were stopped for longer than requested. */
enum {
    MDC_STOP_REASON_NONE = 0,
    MDC_STOP_REASON_SOURCE = 1,       /* the target is not a live Linux process */
    MDC_STOP_REASON_SECCOMP = 2,      /* its seccomp filter forbids clone, or cannot be read */
    MDC_STOP_REASON_UNCOPIED = 3,     /* too much memory that a child does not get: MADV_DONTFORK, MADV_WIPEONFORK */
    MDC_STOP_REASON_USERFAULT = 4,    /* a userfaultfd handler of the target would have to answer */
    MDC_STOP_REASON_CGROUP = 5,       /* a memory cgroup of the target is near its limit */
    MDC_STOP_REASON_CLONE = 6,        /* clone failed: limits of processes, overcommit */
    MDC_STOP_REASON_THREAD = 7,       /* no thread is stopped where it can call clone */
    MDC_STOP_REASON_STOPPED = 8,      /* a signal has stopped the process */
    MDC_STOP_REASON_SHADOW_STACK = 9, /* its threads have shadow stacks */
    MDC_STOP_REASON_KERNEL = 10,      /* the kernel does not have what is needed */
    MDC_STOP_REASON_FAILED = 11,      /* another step failed */
    MDC_STOP_REASON_RESERVE = 12,     /* MEMORY: memory could not be reserved before the stop */
    MDC_STOP_REASON_DEVICE = 13       /* devices have a part in its memory */
};

/* A run of memory in the finished plan. rule is filled in session/: number of the rule that keeps it, or -1. */
typedef struct mdc_extent {
    uint64_t address;
    uint64_t size;        /* bytes */
    uint64_t file_offset; /* bytes; not meaningful for runs that are left out */
    uint32_t region;      /* index into regions */
    uint32_t flags;       /* MDC_EXTENT_* */
} mdc_extent;

enum {
    MDC_EXTENT_STACK = 0x01,    /* of a stack: thread descriptors point here */
    MDC_EXTENT_HOLE = 0x02,     /* never written: not read, a hole in the file */
    MDC_EXTENT_ZERO = 0x04,     /* never written: not read, zeros among the bytes (shorter than hole_min) */
    MDC_EXTENT_OMITTED = 0x08,  /* never written: not read, left out of the file */
    MDC_EXTENT_BLOCK = 0x10,    /* Normal dump: added by Memory, or an instruction window */
    MDC_EXTENT_JOINED = 0x20,   /* continues the range of the extent before it: one descriptor */
    MDC_EXTENT_LATE = 0x40,     /* of a mapped file: read after the target's threads were resumed */
    MDC_EXTENT_TRUNCATED = 0x80 /* not reached when the stop had to end: left out of the file, and a gap */
};

typedef struct mdc_report {
    uint64_t dump_type;         /* MDC_TYPE_*, as requested */
    uint64_t honoured_type;     /* the bits of it that are honoured */
    uint64_t file_bytes;        /* length of the dump */
    uint64_t memory_bytes;      /* bytes of target memory the dump covers */
    uint64_t stored_bytes;      /* of it, bytes that take space in the file */
    uint64_t zero_bytes;        /* of it, bytes that read as zero and take no space in the file */
    uint64_t left_to_file;      /* bytes not in it because they are in the files of modules */
    uint64_t filtered_bytes;    /* bytes of committed memory that the target's coredump_filter leaves out */
    uint64_t cut_bytes;         /* that a core or dump which was cut promises and no longer holds */
    uint64_t late_bytes;        /* of memory_bytes, planned to be read after the target's threads were resumed */
    uint64_t over_budget;       /* bytes that max_bytes left no room for */
    uint64_t memory_ranges;     /* entries of MemoryList, 0 where there is a Memory64List instead */
    uint64_t memory64_ranges;   /* entries of Memory64List, 0 where there is none */
    uint64_t memory_info_count; /* entries of MemoryInfoList */
    uint64_t stop_time_ns;      /* from the first thread's stop to the last thread's release */
    uint32_t stop;              /* MDC_STOP_*, in effect */
    uint32_t stop_reason;       /* MDC_STOP_REASON_*: why it is not what was requested */
    int32_t stop_errno;         /* beside it, 0: none */
    uint32_t reserved;
    uint64_t total_ns;
    uint64_t calls[32]; /* callbacks sent, by type */
    uint32_t read_failed_gaps;
    uint32_t warnings; /* MDC_WARN_* */
    int32_t pid;
    uint32_t streams;         /* directory entries */
    uint32_t omitted_streams; /* MDC_STREAM_* left out: by request, or because a rule excludes their bytes */
    uint32_t dropped_count;   /* streams of an existing dump that were left out: what is in them is not known */
    uint32_t dropped[16];     /* the types of the first of them */
    const mdc_report_region *regions;
    size_t region_count;
    const mdc_report_thread *threads;
    size_t thread_count;
    const mdc_report_module *modules;
    size_t module_count;
    const mdc_extent *extents;
    size_t extent_count;
    const mdc_gap *gaps;
    size_t gap_count;
    const mdc_extent *cut; /* what the budget took out of the plan, in pieces of extents */
    size_t cut_count;
    const uint8_t *names; /* concatenated, no separators */
    size_t names_size;
} mdc_report;

enum {
    MDC_WARN_MANY_THREADS = 0x01,    /* more than 4,096: Breakpad drops the list */
    MDC_WARN_MANY_MODULES = 0x02,    /* more than 2,048: Breakpad drops the list */
    MDC_WARN_MANY_RANGES = 0x04,     /* more than 4,096 in MemoryList: Breakpad drops the list */
    MDC_WARN_RANGES_ABOVE_4G = 0x08, /* no thread descriptor can refer to stacks beyond 32-bit offsets */
    MDC_WARN_NO_SPARSE = 0x10,       /* untouched memory was left out: with holes the file would be too long */
    MDC_WARN_NO_RESIDENCY = 0x20,    /* PAGEMAP_SCAN is not supported: everything was read */
    MDC_WARN_GAP_TABLE_FULL = 0x40,  /* more gaps than the table holds: the last entry covers the rest */
    /* dbghelp and similar engines, which do not send all callbacks of the protocol: */
    MDC_WARN_NO_REGION_CALLBACKS = 0x80,  /* a full dump, and no callbacks about regions */
    MDC_WARN_NO_MEMORY_CALLBACKS = 0x100, /* another dump, and no callbacks about memory to add */
    MDC_WARN_NO_VM_CALLBACKS = 0x200,     /* no callbacks about reads */
    MDC_WARN_FILLED = 0x400,              /* excluded bytes were overwritten in the finished file */
    /* The dump is not complete: a thread in it did not stop, and */
    MDC_WARN_NO_THREAD_REGISTERS = 0x4000, /* its registers were requested */
    MDC_WARN_NO_THREAD_STACK = 0x8000,     /* its stack was requested, and the system does not report its address */
    MDC_WARN_UNKNOWN_MEMORY = 0x800,       /* content of shared memory of which the target has no page is unknown */
    MDC_WARN_SLOW_FILES = 0x10000,         /* non-resident pages of a MDC_REGION_SLOW_FILE were not read */
    MDC_WARN_TRUNCATED = 0x20000,          /* not complete: the stop had to end before all was copied (truncate_ns) */
    MDC_WARN_MEMORY64 = 0x40000,           /* a Normal dump too long for MemoryList: laid out like a full one */
    MDC_WARN_NOT_STOPPED = 0x100000,       /* dbghelp reported that a thread could not be stopped */
    MDC_WARN_CUT = 0x800000,           /* not complete: of a cut core, lists of threads, memory or files end early */
    MDC_WARN_BOTH_LISTS = 0x400000,    /* MemoryList and Memory64List: Microsoft's debugger engine refuses that */
    MDC_WARN_TYPE = 0x200000,          /* bits of the dump type have no effect: honoured_type has the others */
    MDC_WARN_STOP = 0x1000000,         /* stopped for longer than requested: stop_reason */
    MDC_WARN_SHARED_LATER = 0x2000000, /* SNAPSHOT: shared memory is of a moment after the stop */
    MDC_WARN_STOP_MEMORY = 0x4000000,  /* MEMORY: more than stop_memory: the rest was written during the stop */
    MDC_WARN_ZOMBIE = 0x8000000,      /* SNAPSHOT: the child could not be waited for in the target, and is its zombie */
    MDC_WARN_REFERENCED = 0x10000000, /* threads point to more than referenced_max: the rest is not in the dump */
    MDC_WARN_VALUES_UNKNOWN = 0x40000000, /* set by the session's caller: mdc_hidden.unknown */
    MDC_WARN_NO_THREADS = 0x80000         /* no thread is left: ThreadList has one entry with id 0xFFFFFFFF */
};

/* Streams that can be left out: mdc_engine_options.omit_streams. */
enum {
    MDC_STREAM_CPUINFO = 0x001,
    MDC_STREAM_STATUS = 0x002,
    MDC_STREAM_LSB_RELEASE = 0x004,
    MDC_STREAM_CMDLINE = 0x008,
    MDC_STREAM_ENVIRON = 0x010,
    MDC_STREAM_AUXV = 0x020,
    MDC_STREAM_MAPS = 0x040,
    MDC_STREAM_DSO_DEBUG = 0x080,
    MDC_STREAM_THREAD_NAMES = 0x100,
    MDC_STREAM_THREAD_INFO = 0x200,
    MDC_STREAM_EXCEPTION = 0x400,
    MDC_STREAM_LIMITS = 0x800,
    MDC_STREAM_HANDLE_DATA = 0x1000,
    MDC_STREAM_ALL = 0x1FFF
};
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
