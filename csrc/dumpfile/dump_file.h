/* A minidump file, parsed into the lists of a snapshot. The parser of filter and reader alike; dump_source.h makes a
 * source of it.
 *
 * Everything in the file is hostile. Of several streams of one type the first counts, but for the exceptions; a list
 * has no more entries than its stream has room for; strings and contexts are kept once for each RVA, and may not be
 * longer together than the file. So memory is bounded by a few times what the lists take in the file.
 *
 * Two ways: strict, where the first fault of a known stream is an error, and tolerant, where faults are collected and
 * the rest is read. What real writers get wrong is no fault in either: stacks with an RVA that is null or wrong. */
#ifndef MDC_DUMPFILE_DUMP_FILE_H
#define MDC_DUMPFILE_DUMP_FILE_H

#include "../base/dump_control.h"
#include "../base/hash.h"
#include "../base/range_set.h"
#include "../base/vec.h"
#include "../format/minidump_file.h"
#include "../input/input.h"
#include "../source/source.h"
#include "dump_source.h"

enum {
    MDC_DUMP_STRING_MAX = 1 << 16, /* bytes of a string; paths of Windows have 32,767 units at most */
    MDC_DUMP_CONTEXT_MAX = 1 << 16,
    MDC_DUMP_FAULTS_MAX = 100,
    MDC_DUMP_WINE_ELF_MODULES = 0xFFF0 /* of Wine: its ELF modules, laid out as a ModuleList */
};

/* What belongs to a thread only while the file is parsed. */
typedef struct mdc_dump_thread_at {
    mdc_file_location context;
    mdc_file_memory stack;
} mdc_dump_thread_at;

typedef struct mdc_dump_file {
    const mdc_input *input;
    mdc_dump_control *control; /* may be NULL */
    mdc_window window;         /* of the list that is read */
    uint8_t *scratch;          /* MDC_DUMP_STRING_MAX bytes: a string as it is in the file, a line */
    uint8_t *text;             /* a string as it is in the pool */
    uint64_t size;             /* of the file, bytes */
    bool tolerant;
    uint32_t list_max;  /* entries of a list that are taken; 0: all */
    uint32_t range_max; /* likewise, of memory */
    bool process_known;
    bool system_known;
    uint32_t stream; /* type of the one that is parsed */
    mdc_file_header header;
    uint32_t process_id;
    mdc_vec entries;    /* mdc_dump_entry: all of the directory */
    mdc_vec streams;    /* mdc_carried_stream: those in use that lie in the file */
    mdc_vec faults;     /* mdc_dump_fault */
    mdc_vec threads;    /* mdc_thread */
    mdc_vec places;     /* mdc_dump_thread_at, by thread */
    mdc_vec unlisted;   /* uint32_t: ids that other streams than the lists of threads name */
    size_t listed;      /* threads of those lists; those that are in none follow */
    mdc_vec exceptions; /* mdc_dump_exception */
    mdc_vec modules;    /* mdc_module */
    mdc_vec unloaded;   /* mdc_unloaded */
    mdc_vec handles;    /* mdc_handle */
    mdc_vec infos;      /* mdc_region: entries of MemoryInfoList, as they are */
    mdc_vec mappings;   /* mdc_dump_mapping, sorted */
    mdc_vec held;       /* mdc_carried_run */
    mdc_vec cut;        /* mdc_set_range, a set: what lists promise beyond the end of the file */
    mdc_vec regions;    /* mdc_region */
    mdc_vec contexts;   /* uint8_t */
    mdc_vec pool;       /* uint8_t */
    mdc_vec names;      /* mdc_name: of regions, by name_id - 1 */
    mdc_vec strings;    /* by RVA, see dump_text.c */
    mdc_vec about;      /* what a list says of threads, see dump_threads.c */
    mdc_hash by_name;
    mdc_hash by_rva;
    uint64_t text_read; /* bytes of strings so far, each RVA once */
    uint64_t cut_bytes;
    uint64_t ranges_cut; /* of the list that is read */
    uint64_t data_at;    /* likewise: where the next range of Memory64List is in the file */
    uint32_t lists;      /* MDC_CARRIED_* */
    uint64_t lengths[MDC_DUMP_LISTS];
    mdc_system system;
} mdc_dump_file;

/* options: NULL for a strict one without limits. */
void mdc_dump_file_init(mdc_dump_file *file, const mdc_input *input, const mdc_dump_source_options *options);
void mdc_dump_file_fini(mdc_dump_file *file);
/* Header, directory, lists. A fault in header or directory is always an error. */
mdc_status mdc_dump_file_parse(mdc_dump_file *file, mdc_dump_control *control, mdc_error *err);

/* -- what the parsers of streams share (dump_file.c) --------------------------------------------------------------- */

/* After a step failed: MDC_OK if the fault was noted and the rest can be read. */
mdc_status mdc_dump_tolerate(mdc_dump_file *file, mdc_error *err);
/* The fault of a number in the file: "what at offset 0x10: reason". */
mdc_status mdc_dump_broken(mdc_error *err, uint64_t offset, const char *what, const char *reason);
/* Copies [offset, offset + size) of the file. */
mdc_status mdc_dump_get(const mdc_dump_file *file, uint64_t offset, void *out, size_t size, const char *what,
                        mdc_error *err);
bool mdc_dump_inside(const mdc_dump_file *file, uint64_t offset, uint64_t size);

/* Takes one entry of a list. offset: where it is in the file. */
typedef mdc_status (*mdc_dump_take)(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err);
/* How many of `count` entries are taken. list: MDC_DUMP_*, which is so long; MDC_DUMP_LISTS: none that is limited. */
uint64_t mdc_dump_limited(mdc_dump_file *file, uint64_t count, uint32_t list);
/* `count` entries. */
mdc_status mdc_dump_each(mdc_dump_file *file, uint64_t offset, uint64_t count, uint32_t entry_size, const char *what,
                         mdc_dump_take take, mdc_error *err);
/* A list that begins with a 32-bit count; some writers align its entries to 8. list: as for mdc_dump_limited. */
mdc_status mdc_dump_each_counted(mdc_dump_file *file, const mdc_dump_entry *stream, uint32_t entry_size, uint32_t list,
                                 const char *what, mdc_dump_take take, mdc_error *err);
/* A list that begins with the sizes of its header and of an entry, `least` at least. */
mdc_status mdc_dump_each_sized(mdc_dump_file *file, const mdc_dump_entry *stream, uint32_t least, bool wide_count,
                               uint32_t list, const char *what, mdc_dump_take take, mdc_error *err);

/* -- dump_text.c --------------------------------------------------------------------------------------------------- */

/* A MINIDUMP_STRING as UTF-8 (lone surrogates as three bytes); RVA 0: none. A fault costs the string. */
mdc_status mdc_dump_string(mdc_dump_file *file, uint64_t rva, const char *what, mdc_name *name, mdc_error *err);
/* The number of a region's name: each different one is in the pool once. */
mdc_status mdc_dump_name_id(mdc_dump_file *file, const uint8_t *bytes, size_t size, uint32_t *id, mdc_error *err);
mdc_status mdc_dump_put(mdc_dump_file *file, const void *bytes, size_t size, mdc_name *name, mdc_error *err);
void mdc_dump_texts_init(mdc_dump_file *file);
void mdc_dump_texts_fini(mdc_dump_file *file);
/* Keeps the pool; no string can be added any more. */
void mdc_dump_texts_forget(mdc_dump_file *file);

/* -- streams ------------------------------------------------------------------------------------------------------- */

typedef mdc_status (*mdc_dump_stream)(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);

mdc_status mdc_dump_system_info(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_misc_info(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_proc_status(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_thread_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_thread_ex_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_thread_names(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_thread_infos(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_exception_stream(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_module_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
/* For the filter, not for readers. */
mdc_status mdc_dump_elf_module_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_unloaded_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_handle_data(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_memory_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_memory64_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_memory_infos(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);
mdc_status mdc_dump_maps(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err);

/* -- what needs several streams, in this order --------------------------------------------------------------------- */

/* dump_threads.c: threads that no list has, but a name, times or an exception. They have no registers and no stack, and
 * are there so that the filter is asked about them. */
mdc_status mdc_dump_unlisted_threads(mdc_dump_file *file, mdc_error *err);

/* dump_context.c: reads the contexts; registers and the crash's thread. */
mdc_status mdc_dump_contexts(mdc_dump_file *file, mdc_error *err);
/* dump_memory.c: the lists' ranges become runs that are sorted and disjoint; then the threads' stacks. */
mdc_status mdc_dump_hold(mdc_dump_file *file, mdc_error *err);
/* The run that holds the address; -1 if none does. */
int64_t mdc_dump_held_at(const mdc_dump_file *file, uint64_t address);
/* dump_regions.c */
mdc_status mdc_dump_make_regions(mdc_dump_file *file, mdc_error *err);
/* Reads memory that the file holds. Returns the bytes from the start; less than size: *os_errno is that of the file, or
 * 0 where the memory is not in it. */
size_t mdc_dump_read_held(const mdc_dump_file *file, uint64_t address, uint8_t *buffer, size_t size, int32_t *os_errno);
/* dump_copies.c: where the bytes of a text stream are in the target's memory. For the filter, not for readers. */
mdc_status mdc_dump_find_copies(mdc_dump_file *file, mdc_error *err);

#endif
