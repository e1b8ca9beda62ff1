/* What a live source is made of: for the files that are it (live.c, live_lists.c). */
#ifndef MDC_LINUX_LIVE_STATE_H
#define MDC_LINUX_LIVE_STATE_H

#include "fork_plan.h"
#include "identity.h"
#include "mappings.h"
#include "memory.h"
#include "process.h"
#include "residency.h"
#include "tracer.h"

/* The longest time smaps may be read under the stop for a small dump, whether that is needed or not. */
#define MDC_LIVE_AGAIN_ANY_NS UINT64_C(1000000)

typedef struct mdc_live {
    mdc_source source;
    mdc_live_options options;
    mdc_dump_control *control;
    mdc_identity identity;
    mdc_mappings mappings;
    mdc_residency residency;
    mdc_backing backing;
    mdc_memory memory;
    bool memory_open;
    mdc_proc_files texts;
    mdc_vec infos;   /* mdc_threadinfo, from before the stop */
    mdc_vec threads; /* mdc_thread */
    mdc_vec modules; /* mdc_module */
    mdc_vec copies;  /* mdc_copy */
    mdc_vec in_file; /* mdc_content: pages that only files of modules have, if requested */
    mdc_vec handles; /* mdc_handle: open descriptors, if requested */
    bool handles_known;
    mdc_system system;
    mdc_snapshot lists;
    mdc_tracer *tracer;
    mdc_fork_plan plan; /* if a snapshot was requested */
    mdc_fork_child child;
    int child_directory; /* /proc/CHILD, -1: there is none */
    uint64_t busy_until; /* 0: nothing else has traced the target yet */
    uint64_t probe;      /* an address in a stack of the target: shows whether its memory is still there */
} mdc_live;

/* Everything that is to be of one moment. If there is a child, the target runs: its memory is the child's. */
mdc_status mdc_live_capture(mdc_live *live, mdc_error *err);
/* Is it still the program that was prepared, or has it become another one (exec) since? Under the stop. */
mdc_status mdc_live_check_same(mdc_live *live, bool *same, mdc_error *err);
/* Whether the memory that was opened is still that of a process. */
bool mdc_live_memory_there(const mdc_live *live);

#endif
