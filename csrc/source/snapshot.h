/* What a source says of a stopped target: regions, threads, modules, texts, the system. Made by the source under the
 * stop, read by the engine, which checks it: everything in it comes from a hostile target. */
#ifndef MDC_SOURCE_SNAPSHOT_H
#define MDC_SOURCE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "../api/report.h"
#include "carried.h"

/* cdef: begin */
/* Bytes in the source's name pool. */
typedef struct mdc_name {
    uint32_t offset;
    uint32_t size; /* bytes */
} mdc_name;

/* One mapping, sorted by base, disjoint, base and size multiples of the page size, base + size does not overflow. */
typedef struct mdc_region {
    uint64_t base;
    uint64_t size; /* bytes */
    uint64_t file_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t state;         /* MDC_MEM_COMMIT or MDC_MEM_RESERVE (no access and nothing there) */
    uint32_t protect;       /* MDC_PAGE_* */
    uint32_t type;          /* MDC_MEM_PRIVATE, MDC_MEM_MAPPED, MDC_MEM_IMAGE */
    uint32_t kinds;         /* MDC_KIND_* */
    uint32_t flags;         /* MDC_REGION_* of api/report.h: NEVER_READ, DONTDUMP, UNTOUCHED, VIA_MEM, FILE, CHANGED */
    uint32_t facts;         /* MDC_FACT_DELETED */
    uint32_t name_id;       /* 0: no name; else 1.. into names() */
    uint32_t alloc_protect; /* MINIDUMP_MEMORY_INFO.AllocationProtect; 0: as protect */
    uint64_t alloc_base;    /* MINIDUMP_MEMORY_INFO.AllocationBase: the module's base for an image, else base */
    uint64_t valid_size;    /* bytes from base that can exist at all; less than size beyond the end of a file */
    uint64_t resident;      /* bytes, 0 if not known */
    uint64_t filtered; /* bytes at the end that the target's coredump_filter leaves out, where that was asked for */
} mdc_region;

enum { MDC_INTERRUPTED_MAX = 4 };

typedef struct mdc_thread {
    uint32_t tid;
    uint32_t flags;               /* MDC_THREAD_NO_REGISTERS */
    uint64_t stack_pointer;       /* 0: not known; may be known without registers */
    uint64_t instruction_pointer; /* as stack_pointer */
    uint64_t thread_pointer;      /* TEB; of a Linux thread the FS base */
    const uint8_t *context; /* CONTEXT of the target's processor, context_size bytes; without registers all zero but
                               the flags and what is known. Lives as long as the source */
    uint32_t context_size;  /* 1232; longer if the extended state follows */
    uint32_t priority;      /* as in MINIDUMP_THREAD */
    uint32_t priority_class;
    uint32_t suspend_count;
    mdc_name name;        /* UTF-8 or odd bytes */
    uint64_t create_time; /* 100 ns since 1601, as ThreadInfoList wants it */
    uint64_t kernel_time; /* 100 ns */
    uint64_t user_time;   /* 100 ns */
    uint64_t affinity;
    uint64_t start_address; /* 0 if not known */
    /* Stack pointers of other stacks that signal handlers of the thread have interrupted, the innermost first. */
    uint64_t interrupted[MDC_INTERRUPTED_MAX];
    uint32_t interrupted_count;
    uint32_t named;       /* 1: it has a name even if that is empty */
    uint64_t stack_first; /* of an existing dump: its stack as the dump has it; both 0: none */
    uint64_t stack_end;
    void *handle; /* for MINIDUMP_THREAD_CALLBACK.ThreadHandle; NULL where threads have none */
} mdc_thread;

typedef struct mdc_module {
    uint64_t base;
    uint64_t size; /* bytes; end of the highest mapping minus base */
    mdc_name path; /* raw bytes, without " (deleted)" */
    uint8_t build_id[64];
    uint32_t build_id_size; /* 0 if there is none */
    uint32_t checksum;      /* of a PE image, as its header has it */
    uint32_t timestamp;     /* of a PE image */
    uint32_t hashed;        /* 1: build_id is none, but made of the first page of code */
    mdc_name soname;        /* the name a library gives itself; size 0: none */
    mdc_name codeview;      /* the CodeView record of a PE image ('RSDS'), whole; size 0: none, or an ELF file */
    uint32_t version[13];   /* VS_FIXEDFILEINFO, all zero if there is none */
    uint32_t reserved2;
} mdc_module;

/* The position of one component in the XSAVE area, standard format; size 0: not known. */
typedef struct mdc_xstate_feature {
    uint32_t offset; /* bytes from the start of the area */
    uint32_t size;   /* bytes */
} mdc_xstate_feature;

/* Module memory that a bit of the dump type stores. */
enum {
    MDC_SECTION_DATA = 1, /* written at run time: WithDataSegs */
    MDC_SECTION_CODE = 2  /* WithCodeSegs */
};
typedef struct mdc_section {
    uint64_t address;
    uint64_t size;   /* bytes */
    uint32_t module; /* index into the modules */
    uint32_t what;   /* MDC_SECTION_* */
} mdc_section;

/* A module that was unloaded. */
typedef struct mdc_unloaded {
    uint64_t base;
    uint32_t size; /* bytes */
    uint32_t checksum;
    uint32_t timestamp;
    mdc_name name;
} mdc_unloaded;

/* An open handle of a Windows process, as MINIDUMP_HANDLE_DESCRIPTOR has it. Of a Linux process it is a descriptor:
 * attributes are its st_mode (as minidump-writer has it), access its open(2) flags, handles and pointers the low and
 * the high half of its offset, the name what it leads to. */
typedef struct mdc_handle {
    uint64_t value;
    uint32_t attributes;
    uint32_t access;
    uint32_t handles;  /* of the object; 0: not known */
    uint32_t pointers; /* to the object; 0: not known */
    mdc_name type;
    mdc_name name; /* size 0: none, or not asked for */
} mdc_handle;

enum { MDC_PLATFORM_WINDOWS = 2 }; /* VER_PLATFORM_WIN32_NT */

/* What MiscInfo can say of a Windows process; flags: MINIDUMP_MISC_INFO.Flags1, the members that are known. */
typedef struct mdc_misc {
    uint32_t flags;
    uint32_t max_mhz, current_mhz, mhz_limit, max_idle_state, current_idle_state;
    uint32_t integrity_level;
    uint32_t execute_flags;
    uint32_t time_zone_id;
    uint8_t time_zone[172]; /* TIME_ZONE_INFORMATION */
    mdc_name build_string;
} mdc_misc;

/* What the system streams need. Strings are offsets into the name pool. */
typedef struct mdc_system {
    uint16_t architecture;        /* PROCESSOR_ARCHITECTURE_AMD64 9 */
    uint16_t level;               /* cpu family */
    uint16_t revision;            /* model << 8 | stepping */
    uint8_t processors;           /* capped at 255 */
    uint8_t product_type;         /* of Windows: VER_NT_WORKSTATION 1, domain controller 2, server 3 */
    uint32_t major, minor, build; /* of the kernel: 6.18.44 */
    uint32_t platform;            /* 0x8201; MDC_PLATFORM_WINDOWS */
    uint32_t suite_mask;          /* of Windows */
    uint32_t vendor[3];           /* CPUID vendor */
    uint32_t version_information;
    uint32_t feature_information;
    uint64_t processor_features[2]; /* Windows, not on x86: bit i is IsProcessorFeaturePresent(i) */
    mdc_name version;               /* uname line: sysname release version machine */
    mdc_name csd_version;           /* what of it is not in major, minor and build */
    uint64_t create_time_s;         /* of the process, seconds since 1970 */
    uint32_t user_time_s, kernel_time_s;
    uint64_t xstate_mask; /* XCR0 components in the contexts, 0 if none */
    uint32_t xstate_size; /* bytes of the XSAVE area (standard format), 0 if none */
    uint32_t reserved2;
    mdc_xstate_feature xstate_features[64]; /* by component; processors differ in where they put them (CPUID 0xD) */
    mdc_misc misc;
} mdc_system;

/* A text stream: bytes the kernel made (address 0), or target memory [address, address + size), which the engine reads
 * by address like any other, asking the callee. */
typedef struct mdc_text {
    uint32_t stream; /* MDC_STREAM_CPUINFO .. MDC_STREAM_MAPS, MDC_STREAM_LIMITS */
    uint32_t reserved;
    const uint8_t *data; /* NULL for target memory */
    uint64_t address;    /* with data: address of the same bytes in the target, 0 if none */
    uint64_t size;       /* bytes */
} mdc_text;

/* A run of pages, as reported by content(). */
enum {
    MDC_CONTENT_DATA = 1,        /* there, or may be: must be read */
    MDC_CONTENT_UNTOUCHED = 2,   /* reads as zero, and reading it would make page tables: not read */
    MDC_CONTENT_UNAVAILABLE = 3, /* guard pages: cannot be read, no gap */
    MDC_CONTENT_ZERO = 4,        /* the kernel's page of zeros: was read and never written; read only for callees */
    MDC_CONTENT_UNKNOWN = 5,     /* must not be read, whatever is there: a gap */
    MDC_CONTENT_FILE = 6,        /* as DATA, and it is the mapped file's: the target owns no page of it */
    MDC_CONTENT_IN_FILE = 7,     /* the same, and the file is a module's and still has its name */
    MDC_CONTENT_ABSENT = 8,      /* not in the core or dump, whose writer left it out: a gap only if it was added */
    MDC_CONTENT_CUT = 9          /* it was in the core or dump before that was cut: a gap */
};
typedef struct mdc_content {
    uint64_t first;
    uint64_t end;
    uint32_t what; /* MDC_CONTENT_* */
    uint32_t reserved;
} mdc_content;

typedef struct mdc_span {
    uint64_t address;
    uint64_t size; /* bytes */
} mdc_span;

/* Memory that holds what a text stream shows, beside the text itself: hidden with it where the stream is left out. */
typedef struct mdc_copy {
    uint32_t stream; /* MDC_STREAM_CMDLINE or MDC_STREAM_ENVIRON */
    uint32_t reserved;
    mdc_span span;
} mdc_copy;

/* The signal that a core was written for; of a dump what of its exception the plan needs. */
typedef struct mdc_source_crash {
    uint32_t known;
    uint32_t thread; /* index into the threads */
    uint32_t signal; /* MDC_DUMP_REQUESTED: there was none */
    uint32_t code;   /* si_code */
    uint64_t address;
    uint64_t instruction_pointer; /* at that time; 0: the thread's own */
    uint32_t parameter_count;
    uint32_t reserved;
    uint64_t parameters[3];
} mdc_source_crash;

typedef struct mdc_snapshot {
    const mdc_region *regions;
    size_t region_count;
    const mdc_thread *threads; /* the main thread first */
    size_t thread_count;
    const mdc_module *modules; /* the main executable first */
    size_t module_count;
    const mdc_text *texts;
    size_t text_count;
    const mdc_copy *copies;
    size_t copy_count;
    const mdc_name *names; /* by name_id - 1 */
    size_t name_count;
    const uint8_t *pool; /* what every mdc_name points into */
    size_t pool_size;
    const mdc_system *system;
    uint64_t auxv_phdr; /* AT_PHDR of the target, for the link map; 0 if not known */
    uint32_t auxv_phnum;
    uint64_t types; /* bits of the dump type for which the source has what they ask for, MDC_TYPE_* */
    const mdc_section *sections;
    size_t section_count;
    const mdc_span *blocks; /* data of a Windows process: PEB, parameters, environment */
    size_t block_count;
    const mdc_unloaded *unloaded;
    size_t unloaded_count;
    const mdc_handle *handles;
    size_t handle_count;
    uint32_t warnings;    /* MDC_WARN_NO_RESIDENCY, _SHARED_LATER */
    uint32_t frozen;      /* 1: the threads run again, and what is read is a copy of that moment */
    uint32_t stop_reason; /* MDC_STOP_REASON_*: why it is not, if that was requested */
    int32_t stop_errno;
    mdc_source_crash crash;
    uint64_t cut_bytes;         /* of memory that a cut core or dump no longer holds */
    const mdc_carried *carried; /* of an existing minidump, else NULL */
} mdc_snapshot;
/* cdef: end */

#endif
