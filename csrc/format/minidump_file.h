/* The minidump file format: the content of the file, little endian, packed to 4 unless noted. Only this room knows
 * packing; others fill one of these structs and copy it out with memcpy, since offsets in a dump are not aligned.
 *
 * Sizes and offsets: Microsoft's minidumpapiset.h, Breakpad's minidump_format.h; numbers not public there are noted.
 * Traps: every RVA and DataSize is 32-bit except MEMORY64_LIST.BaseRva, MEMORY_DESCRIPTOR64.DataSize and the RVA of a
 * thread name. MINIDUMP_MODULE is 108 bytes on the wire. MEMORY64_LIST's header is 16 bytes, and its data is one
 * block: the address in the file of range i is BaseRva plus the DataSize of all ranges before it. */
#ifndef MDC_FORMAT_MINIDUMP_FILE_H
#define MDC_FORMAT_MINIDUMP_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "../api/minidump_protocol.h"

enum {
    MDC_FILE_SIGNATURE = 0x504D444D, /* MDMP */
    MDC_FILE_VERSION = 0xA793,       /* low half of Version; the high half is the implementation's own */
    MDC_FILE_TYPE_MASK = 0x01FFFFFF, /* bits of MINIDUMP_TYPE that every reader knows */
    MDC_FILE_CV_ELF = 0x4270454C,    /* 'BpEL': CodeView record of an ELF build id */
    MDC_FILE_CONTEXT_X86 = 0x10000,
    MDC_FILE_CONTEXT_AMD64 = 0x100000,
    MDC_FILE_ARCH_X86 = 0,
    MDC_FILE_ARCH_AMD64 = 9,
    MDC_FILE_ARCH_ARM64 = 12,
    MDC_FILE_CRASHPAD_VERSION = 1, /* MinidumpCrashpadInfo */
    MDC_FILE_STRING_UNITS = 1024   /* longest string written, UTF-16 units */
};

/* Id of the entry in a thread list without threads: debugger engines do not start without a thread. No
 * system gives a thread this id. */
#define MDC_FILE_NO_THREAD UINT32_MAX

/* MINIDUMP_STREAM_TYPE, and the numbers of Crashpad, Breakpad (Linux) and Mozilla. */
enum {
    MDC_STREAM_TYPE_THREAD_LIST = 3,
    MDC_STREAM_TYPE_MODULE_LIST = 4,
    MDC_STREAM_TYPE_MEMORY_LIST = 5,
    MDC_STREAM_TYPE_EXCEPTION = 6,
    MDC_STREAM_TYPE_SYSTEM_INFO = 7,
    MDC_STREAM_TYPE_THREAD_EX_LIST = 8,
    MDC_STREAM_TYPE_MEMORY64_LIST = 9,
    MDC_STREAM_TYPE_COMMENT_A = 10,
    MDC_STREAM_TYPE_COMMENT_W = 11,
    MDC_STREAM_TYPE_HANDLE_DATA = 12,
    MDC_STREAM_TYPE_UNLOADED_MODULE_LIST = 14,
    MDC_STREAM_TYPE_MISC_INFO = 15,
    MDC_STREAM_TYPE_MEMORY_INFO_LIST = 16,
    MDC_STREAM_TYPE_THREAD_INFO_LIST = 17,
    MDC_STREAM_TYPE_THREAD_NAMES = 24,
    MDC_STREAM_TYPE_CRASHPAD_INFO = 0x43500001,
    MDC_STREAM_TYPE_LINUX_CPU_INFO = 0x47670003,
    MDC_STREAM_TYPE_LINUX_PROC_STATUS = 0x47670004,
    MDC_STREAM_TYPE_LINUX_LSB_RELEASE = 0x47670005,
    MDC_STREAM_TYPE_LINUX_CMD_LINE = 0x47670006,
    MDC_STREAM_TYPE_LINUX_ENVIRON = 0x47670007,
    MDC_STREAM_TYPE_LINUX_AUXV = 0x47670008,
    MDC_STREAM_TYPE_LINUX_MAPS = 0x47670009,
    MDC_STREAM_TYPE_LINUX_DSO_DEBUG = 0x4767000A,
    MDC_STREAM_TYPE_MOZ_LINUX_LIMITS = 0x4D7A0003,
    MDC_STREAM_TYPE_MOZ_SOFT_ERRORS = 0x4D7A0004
};

/* MINIDUMP_MISC_INFO.Flags1 */
enum {
    MDC_MISC_PROCESS_ID = 0x1,
    MDC_MISC_PROCESS_TIMES = 0x2,
    MDC_MISC_POWER_INFO = 0x4,
    MDC_MISC_PROCESS_INTEGRITY = 0x10,
    MDC_MISC_PROCESS_EXECUTE_FLAGS = 0x20,
    MDC_MISC_TIMEZONE = 0x40,
    MDC_MISC_BUILD_STRING = 0x100
};

/* MINIDUMP_THREAD_INFO.DumpFlags */
enum { MDC_THREAD_INFO_INVALID_CONTEXT = 0x10 };

#pragma pack(push, 4)

typedef struct mdc_file_header {
    uint32_t signature;
    uint32_t version;
    uint32_t stream_count;
    uint32_t directory_rva;
    uint32_t checksum;
    uint32_t time_date_stamp;
    uint64_t flags;
} mdc_file_header;

typedef struct mdc_file_directory {
    uint32_t stream_type;
    uint32_t data_size;
    uint32_t rva;
} mdc_file_directory;

typedef struct mdc_file_location {
    uint32_t data_size;
    uint32_t rva;
} mdc_file_location;

typedef struct mdc_file_memory {
    uint64_t start;
    mdc_file_location memory;
} mdc_file_memory;

typedef struct mdc_file_memory64 {
    uint64_t start;
    uint64_t data_size;
} mdc_file_memory64;

typedef struct mdc_file_memory64_list {
    uint64_t range_count;
    uint64_t base_rva;
} mdc_file_memory64_list;

typedef struct mdc_file_thread {
    uint32_t thread_id;
    uint32_t suspend_count;
    uint32_t priority_class;
    uint32_t priority;
    uint64_t teb;
    mdc_file_memory stack;
    mdc_file_location context;
} mdc_file_thread;

/* MINIDUMP_EXCEPTION, in MINIDUMP_EXCEPTION_STREAM; EXCEPTION_RECORD64 is the same. */
typedef struct mdc_file_exception_record {
    uint32_t code;
    uint32_t flags;
    uint64_t record;
    uint64_t address;
    uint32_t parameters;
    uint32_t align;
    uint64_t information[15];
} mdc_file_exception_record;

typedef struct mdc_file_exception {
    uint32_t thread_id;
    uint32_t align;
    mdc_file_exception_record record;
    mdc_file_location context;
} mdc_file_exception;

typedef struct mdc_file_module {
    uint64_t base_of_image;
    uint32_t size_of_image;
    uint32_t checksum;
    uint32_t time_date_stamp;
    uint32_t name_rva;
    MDC_VS_FIXEDFILEINFO version_info;
    mdc_file_location cv_record;
    mdc_file_location misc_record;
    uint64_t reserved0;
    uint64_t reserved1;
} mdc_file_module;

typedef struct mdc_file_system_info {
    uint16_t processor_architecture;
    uint16_t processor_level;
    uint16_t processor_revision;
    uint8_t processor_count;
    uint8_t product_type;
    uint32_t major_version;
    uint32_t minor_version;
    uint32_t build_number;
    uint32_t platform_id;
    uint32_t csd_version_rva;
    uint16_t suite_mask;
    uint16_t reserved2;
    /* The CPU union. Breakpad fills the x86 member for x86 and amd64 alike; Windows has processor features on all but
     * x86. */
    union {
        struct {
            uint32_t vendor_id[3];
            uint32_t version_information;
            uint32_t feature_information;
            uint32_t amd_extended_features;
        };
        uint64_t processor_features[2];
    };
} mdc_file_system_info;

typedef struct mdc_file_xstate_feature {
    uint32_t offset;
    uint32_t size;
} mdc_file_xstate_feature;

typedef struct mdc_file_xstate {
    uint32_t size_of_info;
    uint32_t context_size;
    uint64_t enabled_features;
    mdc_file_xstate_feature features[64];
} mdc_file_xstate;

/* Version 5. Shorter versions end earlier: 1 at 24, 2 at 44, 3 at 232, 4 at 832. */
typedef struct mdc_file_misc_info {
    uint32_t size_of_info;
    uint32_t flags1;
    uint32_t process_id;
    uint32_t create_time;
    uint32_t user_time;
    uint32_t kernel_time;
    uint32_t max_mhz;
    uint32_t current_mhz;
    uint32_t mhz_limit;
    uint32_t max_idle_state;
    uint32_t current_idle_state;
    uint32_t integrity_level;
    uint32_t execute_flags;
    uint32_t protected_process;
    uint32_t time_zone_id;
    uint8_t time_zone[172];
    uint16_t build_string[260];
    uint16_t debug_build_string[40];
    mdc_file_xstate xstate;
    uint32_t process_cookie;
} mdc_file_misc_info;

typedef struct mdc_file_memory_info_list {
    uint32_t size_of_header;
    uint32_t size_of_entry;
    uint64_t entry_count; /* entries are MINIDUMP_MEMORY_INFO of the protocol header */
} mdc_file_memory_info_list;

typedef struct mdc_file_thread_info_list {
    uint32_t size_of_header;
    uint32_t size_of_entry;
    uint32_t entry_count;
} mdc_file_thread_info_list;

typedef struct mdc_file_thread_info {
    uint32_t thread_id;
    uint32_t dump_flags;
    uint32_t dump_error;
    uint32_t exit_status;
    uint64_t create_time;
    uint64_t exit_time;
    uint64_t kernel_time;
    uint64_t user_time;
    uint64_t start_address;
    uint64_t affinity;
} mdc_file_thread_info;

typedef struct mdc_file_thread_name {
    uint32_t thread_id;
    uint64_t name_rva;
} mdc_file_thread_name;

typedef struct mdc_file_handle_data {
    uint32_t size_of_header;
    uint32_t size_of_descriptor;
    uint32_t descriptor_count;
    uint32_t reserved;
} mdc_file_handle_data;

typedef struct mdc_file_handle {
    uint64_t handle;
    uint32_t type_name_rva;   /* 0: not known */
    uint32_t object_name_rva; /* 0: none */
    uint32_t attributes;
    uint32_t granted_access;
    uint32_t handle_count;
    uint32_t pointer_count;
} mdc_file_handle;

typedef struct mdc_file_unloaded_list {
    uint32_t size_of_header;
    uint32_t size_of_entry;
    uint32_t entry_count;
} mdc_file_unloaded_list;

typedef struct mdc_file_unloaded {
    uint64_t base_of_image;
    uint32_t size_of_image;
    uint32_t checksum;
    uint32_t time_date_stamp;
    uint32_t name_rva;
} mdc_file_unloaded;

/* Breakpad's DSO_DEBUG for 64-bit targets: the dynamic section's bytes follow directly. */
typedef struct mdc_file_dso_debug {
    uint32_t version;
    uint32_t map_rva;
    uint32_t dso_count;
    uint32_t align;
    uint64_t brk;
    uint64_t ldbase;
    uint64_t dynamic;
} mdc_file_dso_debug;

typedef struct mdc_file_link_map {
    uint64_t addr;
    uint32_t name_rva;
    uint32_t align;
    uint64_t ld;
} mdc_file_link_map;

/* The same of 32-bit processes. */
typedef struct mdc_file_dso_debug32 {
    uint32_t version;
    uint32_t map_rva;
    uint32_t dso_count;
    uint32_t brk;
    uint32_t ldbase;
    uint32_t dynamic;
} mdc_file_dso_debug32;

typedef struct mdc_file_link_map32 {
    uint32_t addr;
    uint32_t name_rva;
    uint32_t ld;
} mdc_file_link_map32;

/* MinidumpCrashpadInfo of Crashpad, and an entry of its MinidumpSimpleStringDictionary. */
typedef struct mdc_file_crashpad_info {
    uint32_t version;
    uint8_t report_id[16];
    uint8_t client_id[16];
    mdc_file_location simple_annotations;
    mdc_file_location module_list;
    uint32_t reserved;
    uint64_t address_mask;
} mdc_file_crashpad_info;

typedef struct mdc_file_annotation {
    uint32_t key_rva;
    uint32_t value_rva;
} mdc_file_annotation;

#pragma pack(pop)

_Static_assert(sizeof(mdc_file_header) == 32 && offsetof(mdc_file_header, flags) == 24, "MINIDUMP_HEADER");
_Static_assert(sizeof(mdc_file_directory) == 12, "MINIDUMP_DIRECTORY");
_Static_assert(sizeof(mdc_file_location) == 8, "MINIDUMP_LOCATION_DESCRIPTOR");
_Static_assert(sizeof(mdc_file_memory) == 16 && offsetof(mdc_file_memory, memory) == 8, "MINIDUMP_MEMORY_DESCRIPTOR");
_Static_assert(sizeof(mdc_file_memory64) == 16, "MINIDUMP_MEMORY_DESCRIPTOR64");
_Static_assert(sizeof(mdc_file_memory64_list) == 16, "MINIDUMP_MEMORY64_LIST");
_Static_assert(sizeof(mdc_file_thread) == 48 && offsetof(mdc_file_thread, teb) == 16 &&
                   offsetof(mdc_file_thread, stack) == 24 && offsetof(mdc_file_thread, context) == 40,
               "MINIDUMP_THREAD");
_Static_assert(sizeof(mdc_file_exception_record) == 152 && offsetof(mdc_file_exception_record, information) == 32 &&
                   sizeof(mdc_file_exception) == 168 && offsetof(mdc_file_exception, context) == 160,
               "MINIDUMP_EXCEPTION_STREAM");
_Static_assert(sizeof(MDC_VS_FIXEDFILEINFO) == 52, "VS_FIXEDFILEINFO");
_Static_assert(sizeof(mdc_file_module) == 108 && offsetof(mdc_file_module, name_rva) == 20 &&
                   offsetof(mdc_file_module, version_info) == 24 && offsetof(mdc_file_module, cv_record) == 76 &&
                   offsetof(mdc_file_module, misc_record) == 84 && offsetof(mdc_file_module, reserved0) == 92,
               "MINIDUMP_MODULE");
_Static_assert(sizeof(mdc_file_system_info) == 56 && offsetof(mdc_file_system_info, product_type) == 7 &&
                   offsetof(mdc_file_system_info, platform_id) == 20 &&
                   offsetof(mdc_file_system_info, csd_version_rva) == 24 &&
                   offsetof(mdc_file_system_info, vendor_id) == 32 &&
                   offsetof(mdc_file_system_info, version_information) == 44,
               "MINIDUMP_SYSTEM_INFO");
_Static_assert(sizeof(mdc_file_xstate) == 528, "XSTATE_CONFIG_FEATURE_MSC_INFO");
_Static_assert(sizeof(mdc_file_misc_info) == 1364 && offsetof(mdc_file_misc_info, max_mhz) == 24 &&
                   offsetof(mdc_file_misc_info, integrity_level) == 44 &&
                   offsetof(mdc_file_misc_info, time_zone) == 60 && offsetof(mdc_file_misc_info, build_string) == 232 &&
                   offsetof(mdc_file_misc_info, debug_build_string) == 752 &&
                   offsetof(mdc_file_misc_info, xstate) == 832 && offsetof(mdc_file_misc_info, process_cookie) == 1360,
               "MINIDUMP_MISC_INFO_5");
_Static_assert(sizeof(MINIDUMP_MEMORY_INFO) == 48 && sizeof(mdc_file_memory_info_list) == 16, "MemoryInfoList");
_Static_assert(sizeof(mdc_file_thread_info_list) == 12 && sizeof(mdc_file_thread_info) == 64 &&
                   offsetof(mdc_file_thread_info, create_time) == 16 && offsetof(mdc_file_thread_info, affinity) == 56,
               "ThreadInfoList");
_Static_assert(sizeof(mdc_file_thread_name) == 12 && offsetof(mdc_file_thread_name, name_rva) == 4,
               "MINIDUMP_THREAD_NAME");
_Static_assert(sizeof(mdc_file_handle_data) == 16 && sizeof(mdc_file_handle) == 32, "MINIDUMP_HANDLE_DESCRIPTOR");
_Static_assert(sizeof(mdc_file_unloaded_list) == 12 && sizeof(mdc_file_unloaded) == 24, "MINIDUMP_UNLOADED_MODULE");
_Static_assert(sizeof(mdc_file_dso_debug) == 40 && offsetof(mdc_file_dso_debug, brk) == 16, "MDRawDebug64");
_Static_assert(sizeof(mdc_file_link_map) == 24 && offsetof(mdc_file_link_map, ld) == 16, "MDRawLinkMap64");
_Static_assert(sizeof(mdc_file_dso_debug32) == 24 && offsetof(mdc_file_dso_debug32, map_rva) == 4, "MDRawDebug32");
_Static_assert(sizeof(mdc_file_link_map32) == 12, "MDRawLinkMap32");
_Static_assert(sizeof(mdc_file_crashpad_info) == 64 && offsetof(mdc_file_crashpad_info, simple_annotations) == 36 &&
                   offsetof(mdc_file_crashpad_info, module_list) == 44,
               "MinidumpCrashpadInfo");
_Static_assert(sizeof(mdc_file_annotation) == 8, "MinidumpSimpleStringDictionaryEntry");

#endif
