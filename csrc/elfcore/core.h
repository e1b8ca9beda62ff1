/* A core as the files of this room share it. */
#ifndef MDC_ELFCORE_CORE_H
#define MDC_ELFCORE_CORE_H

#include "../base/hash.h"
#include "../base/vec.h"
#include "../input/input.h"
#include "../source/arguments.h"
#include "../source/target_view.h"
#include "core_source.h"
#include "root_files.h"

/* Bounds on what a file can make us do, far above what Linux makes (vm.max_map_count, kernel.threads-max). */
enum {
    MDC_CORE_LOADS_MAX = 1 << 22,
    MDC_CORE_FILES_MAX = 1 << 22,
    MDC_CORE_NOTES_MAX = 1 << 22,
    MDC_CORE_NOTE_SEGMENTS_MAX = 256,
    MDC_CORE_THREADS_MAX = 1 << 17,
    MDC_CORE_PATH_MAX = 4096
};

/* A PT_LOAD. */
typedef struct mdc_core_load {
    uint64_t address;
    uint64_t memory_size; /* address + memory_size does not overflow */
    uint64_t file_size;   /* at most memory_size */
    uint64_t offset;      /* offset + file_size does not overflow */
    uint32_t flags;       /* MDC_ELF_READ, ... */
    uint32_t reserved;
} mdc_core_load;

/* Memory that a file has, or had before that was cut. Sorted by address, disjoint. */
typedef struct mdc_core_piece {
    uint64_t address;
    uint64_t size;
    uint64_t offset; /* in the file */
    uint64_t file;   /* 0: the core; else 1.. into text_files */
} mdc_core_piece;

/* Part of the core. size 0: not there. */
typedef struct mdc_core_part {
    uint64_t offset;
    uint64_t size;
} mdc_core_part;

/* Where the notes of one thread are. */
typedef struct mdc_core_notes {
    uint32_t tid;
    uint32_t extended_size; /* of extended */
    uint64_t status;        /* NT_PRSTATUS; offsets of the descriptors, 0: not there */
    uint64_t floating;      /* NT_FPREGSET */
    uint64_t extended;      /* NT_X86_XSTATE */
    uint64_t fxsave;        /* NT_PRXFPREG of i386 */
    uint64_t segments;      /* NT_386_TLS */
    uint32_t segments_size;
    uint32_t reserved;
} mdc_core_notes;

/* mdc_region.alloc_protect until the modules are known: no program header says how the mapping may be accessed. */
#define MDC_CORE_UNKNOWN_ACCESS UINT32_MAX

/* An entry of NT_FILE. */
typedef struct mdc_core_file {
    uint64_t first;
    uint64_t end;
    uint64_t offset; /* bytes */
    uint32_t name_id;
    uint32_t deleted;
} mdc_core_file;

/* An entry of the link map: where an image was moved to, and its path. */
typedef struct mdc_core_link {
    uint64_t bias;
    uint32_t name_id;
    uint32_t reserved;
} mdc_core_link;

/* A module's file that gives memory. */
typedef struct mdc_core_text_file {
    mdc_root_file about; /* its fd is not open */
    mdc_name path;       /* below root; size 0: it is the executable that was given */
} mdc_core_text_file;

typedef struct mdc_core {
    mdc_source source;
    mdc_dump_control *control;
    mdc_input *input;
    mdc_window window;
    char *root, *executable; /* own copies, NULL: not given */
    bool text_wanted, xstate_wanted;
    bool prepared;

    bool wide;          /* 64 bit */
    mdc_vec segments;   /* mdc_core_part: PT_NOTE */
    mdc_vec loads;      /* mdc_core_load: sorted, disjoint; empty again when the regions are known */
    mdc_vec pieces;     /* mdc_core_piece */
    mdc_vec files;      /* mdc_core_file: sorted, disjoint; empty again when the regions are known */
    mdc_vec notes;      /* mdc_core_notes: the crashing thread first */
    mdc_hash tids;      /* of notes */
    mdc_core_part auxv; /* descriptors of notes of the process */
    mdc_core_part file_note;
    mdc_core_part layout; /* of the XSAVE area */
    uint64_t info;        /* NT_SIGINFO of the first thread; offsets, 0: not there */
    uint64_t psinfo;
    uint64_t cut_bytes;
    bool lists_cut; /* program headers or notes are among them */

    mdc_vec regions; /* mdc_region */
    mdc_vec names;   /* mdc_name */
    mdc_vec pool;    /* uint8_t */
    mdc_hash name_table;
    mdc_vec threads;  /* mdc_thread */
    mdc_vec contexts; /* uint8_t */
    mdc_vec modules;  /* mdc_module */
    mdc_vec texts;    /* mdc_text */
    mdc_vec copies;   /* mdc_copy */
    uint8_t *auxv_bytes;
    mdc_vec maps;       /* uint8_t: the text of /proc/PID/maps */
    mdc_vec text_files; /* mdc_core_text_file */
    mdc_root_file open; /* the one of them that is open */
    size_t open_number; /* 1..; 0: none */

    uint64_t phdr, phnum, vdso, hwcap; /* AT_PHDR and the like */
    mdc_start start;
    mdc_system system;
    mdc_snapshot lists;
} mdc_core;

/* ELF header and program headers: wide, segments, loads. */
mdc_status mdc_core_read_headers(mdc_core *core, mdc_error *err);
/* Where the notes are. */
mdc_status mdc_core_read_notes(mdc_core *core, mdc_error *err);
/* NT_FILE: files and their names. */
mdc_status mdc_core_read_files(mdc_core *core, mdc_error *err);
/* Regions and pieces out of loads and files. */
mdc_status mdc_core_make_regions(mdc_core *core, mdc_error *err);
/* The auxiliary vector: phdr and what follows it. Before the regions. */
mdc_status mdc_core_read_auxv(mdc_core *core, mdc_error *err);
/* Threads with their contexts, crash, and what the system members say of the extended state. */
mdc_status mdc_core_make_threads(mdc_core *core, mdc_error *err);
/* Modules, and with text_wanted the pieces of their files. Before the texts. */
mdc_status mdc_core_find_modules(mdc_core *core, mdc_error *err);
/* No core says which mapping is the heap of brk(2): it is the first nameless one above the program, and near it. After
 * the modules, before the texts. */
mdc_status mdc_core_find_heap(mdc_core *core, mdc_error *err);
/* Texts and copies. */
mdc_status mdc_core_find_texts(mdc_core *core, mdc_error *err);

/* links: mdc_core_link; empty where the list is not in the core. */
mdc_status mdc_core_read_links(mdc_core *core, mdc_vec *links, mdc_error *err);

/* The id of a name, entered once; 0 for the empty name. */
mdc_status mdc_core_name(mdc_core *core, const uint8_t *bytes, size_t size, uint32_t *name_id, mdc_error *err);
/* Gives the region that holds the address a name it does not have yet, and kinds. */
mdc_status mdc_core_name_region(mdc_core *core, uint64_t address, const char *name, uint32_t kinds, mdc_error *err);
/* As mdc_target_view.read: context is the core. */
mdc_status mdc_core_peek(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err);
mdc_target_view mdc_core_view(mdc_core *core);
/* Whether all of [address, address + size) is there. */
bool mdc_core_holds(const mdc_core *core, uint64_t address, uint64_t size);
/* Puts mdc_core_piece in order. */
void mdc_core_sort_pieces(mdc_core *core);

/* As content of mdc_source_ops. */
size_t mdc_core_runs(const mdc_core *core, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                     uint64_t *next);
/* content and read of mdc_source_ops. */
size_t mdc_core_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                        uint64_t *next);
mdc_status mdc_core_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                         int32_t *os_errno, mdc_error *err);

#endif
