/* A source made of a description in memory: the engine's tests, and sizes no real process can have. */
#ifndef MDC_SUPPORT_FAKE_H
#define MDC_SUPPORT_FAKE_H

#include "../../csrc/source/source.h"

/* cdef: begin */
/* One mapping of a fake target. Its byte at address a is mdc_fake_byte(a, seed) where the page is touched, 0 where it
 * is not. */
typedef struct mdc_fake_region {
    uint64_t base;
    uint64_t size;
    uint32_t state, protect, type, kinds, flags; /* as mdc_region */
    uint32_t touch_every;                        /* 1: every page touched; n: the first of each n pages; 0: none */
    const char *name;                            /* NUL-terminated, or NULL */
    uint64_t unreadable_first, unreadable_end;   /* addresses in it whose read fails with EIO; equal: none */
    uint64_t valid_size;                         /* 0: size */
    uint32_t zero_every; /* 0: none; n: the first of each n pages is a page of zeros, although it is touched */
    uint32_t zero_told;  /* 1: and content() reports it, as the kernel does for its zero page */
    uint32_t in_file;    /* 0: none; n: of each n pages all but the first are in the module's file only */
    uint64_t filtered;   /* bytes at the end that its coredump_filter leaves out */
} mdc_fake_region;

typedef struct mdc_fake_thread {
    uint32_t tid;
    uint32_t flags;
    uint64_t stack_pointer;
    uint64_t instruction_pointer;
    const char *name;
} mdc_fake_thread;

typedef struct mdc_fake_module {
    uint64_t base;
    uint64_t size;
    const char *path;
    uint8_t build_id[20];
} mdc_fake_module;

typedef struct mdc_fake_target {
    const mdc_fake_region *regions;
    size_t region_count;
    const mdc_fake_thread *threads;
    size_t thread_count;
    const mdc_fake_module *modules;
    size_t module_count;
    const char *cmdline;      /* NULL: none */
    uint64_t environ_address; /* target memory shown as the environment; 0: none */
    uint64_t environ_size;
    uint32_t seed;
    uint32_t read_us;            /* microseconds that each read takes */
    const uint64_t *interrupted; /* thread_count stack pointers that handlers interrupted, 0: none; NULL: none at all */
} mdc_fake_target;

uint8_t mdc_fake_byte(uint64_t address, uint32_t seed);
/* Copies the description. NULL with *err filled on failure (regions unsorted, overlapping, unaligned). */
mdc_source *mdc_fake_new(const mdc_fake_target *target, mdc_error *err);
/* Frees what no session has taken out of the slot. */
void mdc_fake_drop(mdc_source **slot);
/* cdef: end */

#endif
