/* Streams that are a table: which entries stay, and what in them refers to other places of the file. */
#ifndef MDC_ENGINE_CARRIED_TABLES_H
#define MDC_ENGINE_CARRIED_TABLES_H

#include "carried_relocation.h"

/* What the callee decided about threads and modules, to be found by id and by base. */
typedef struct mdc_choices {
    mdc_vec threads; /* mdc_choice: by id */
    mdc_vec modules; /* mdc_choice: by base */
} mdc_choices;

typedef struct mdc_choice {
    uint64_t key;
    uint32_t write; /* MDC_THREAD_WRITE_* or MDC_MODULE_WRITE_*; 0: left out */
    uint32_t index; /* of the snapshot's list */
} mdc_choice;

mdc_status mdc_choices_make(mdc_choices *choices, const mdc_capture *capture, mdc_error *err);
void mdc_choices_fini(mdc_choices *choices);
/* NULL: the callee was not asked about it. */
const mdc_choice *mdc_choices_thread(const mdc_choices *choices, uint32_t tid);
const mdc_choice *mdc_choices_module(const mdc_choices *choices, uint64_t base);

/* A descriptor of memory in a table, which gets its offset when all is laid out. */
typedef struct mdc_descriptor {
    uint64_t at;      /* in the dump */
    uint64_t address; /* of what it named in the old one */
    uint64_t size;    /* bytes */
    size_t thread;    /* index of the thread whose stack it is, SIZE_MAX: of none */
} mdc_descriptor;

typedef struct mdc_table mdc_table;
/* NULL: the type is no table. */
const mdc_table *mdc_table_of(uint32_t type);
/* descriptors: mdc_descriptor. omitted: MDC_STREAM_* of what was left out whole. */
mdc_status mdc_table_move(const mdc_table *table, mdc_relocation *relocation, const mdc_choices *choices,
                          const mdc_carried_stream *stream, mdc_vec *descriptors, uint32_t *omitted, mdc_error *err);

#endif
