/* The dump that dbghelp wrote, read back: the position of the target's memory in it, its threads and modules.
 *
 * The file is taken for hostile like any other input: everything is bounded by the length of the stream that holds it
 * and of the file, and an entry that points outside is MDC_ERR_FORMAT. */
#ifndef MDC_DBGHELP_DUMP_READER_H
#define MDC_DBGHELP_DUMP_READER_H

#include "../base/vec.h"
#include "../format/minidump_file.h"
#include "../source/source.h"
#include "../windows/win_names.h"
#include "staging_file.h"

/* mdc_file_piece.from: which list names it. */
enum { MDC_PIECE_STACK = 1, MDC_PIECE_MEMORY = 2, MDC_PIECE_MEMORY64 = 3 };

/* Target memory [address, address + size) at [offset, offset + size) of the file. */
typedef struct mdc_file_piece {
    uint64_t address;
    uint64_t size; /* bytes, not 0 */
    uint64_t offset;
    uint32_t from; /* MDC_PIECE_* */
    uint32_t reserved;
} mdc_file_piece;

typedef struct mdc_dump_reader_thread {
    uint32_t tid;
    uint32_t context_size; /* bytes */
    uint32_t context_rva;
    uint32_t suspend_count;
    uint64_t stack_base; /* as the descriptor says */
    uint64_t stack_size;
} mdc_dump_reader_thread;

typedef struct mdc_dump_reader_module {
    uint64_t base;
    uint64_t size;
    mdc_name path;
} mdc_dump_reader_module;

/* A text that came from the target and is not memory: bytes [offset, offset + size) of the file. */
typedef struct mdc_file_text {
    uint64_t offset;
    uint32_t size; /* not 0 */
    uint32_t wide; /* 1: UTF-16 */
} mdc_file_text;

typedef struct mdc_dump_reader_exception {
    uint64_t entry; /* offset of its directory entry */
    uint64_t at;    /* and of the stream, which has the size of mdc_file_exception at least */
    uint32_t tid;
    mdc_file_location context;
} mdc_dump_reader_exception;

/* A list with fewer entries than its size has room for: that of Wine's dbghelp when a callback has left some out. */
typedef struct mdc_file_short_list {
    uint64_t entry; /* offset of its directory entry */
    uint32_t size;  /* bytes it has */
    uint32_t reserved;
} mdc_file_short_list;

typedef struct mdc_dump_reader {
    uint64_t flags;   /* MINIDUMP_TYPE, as the header has it */
    uint32_t streams; /* directory entries */
    uint64_t memory_ranges;
    uint64_t memory64_ranges;
    mdc_file_location crashpad_info; /* size 0: there is none */
    bool odd_texts;                  /* there are names that point outside of the file */
    bool compressed;                 /* memory is in a stream whose contents are not documented */
    mdc_vec pieces;                  /* mdc_file_piece */
    mdc_vec threads;                 /* mdc_dump_reader_thread */
    mdc_vec modules;                 /* mdc_dump_reader_module */
    mdc_vec infos;                   /* MINIDUMP_MEMORY_INFO */
    mdc_vec contexts;                /* mdc_file_location: registers of threads and of the exception */
    mdc_vec texts;                   /* mdc_file_text: names of modules, threads, handles, unloaded modules */
    mdc_vec exceptions;              /* mdc_dump_reader_exception */
    mdc_vec shortened;               /* mdc_file_short_list */
} mdc_dump_reader;

/* names: where the modules' paths go. */
mdc_status mdc_dump_reader_read(mdc_dump_reader *file, const mdc_staging_file *store, mdc_win_names *names,
                                mdc_error *err);
/* Gives the lists of threads and modules the size they have: readers take others for broken, and drop them. */
mdc_status mdc_dump_reader_fit_lists(const mdc_dump_reader *file, mdc_staging_file *store, mdc_error *err);
void mdc_dump_reader_fini(mdc_dump_reader *file); /* also of one that was zeroed only */

#endif
