/* The flags and figures that the threads of one dump share. All fields are lock-free atomics; the creator
 * of the dump control keeps it alive until no thread of the dump uses it. */
#ifndef MDC_BASE_DUMP_CONTROL_H
#define MDC_BASE_DUMP_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/engine.h"

/* mdc_dump_control.abort: why the dump has to end. The first reason stays. */
enum {
    MDC_ABORT_NONE = 0,
    MDC_ABORT_CANCEL = 1,
    MDC_ABORT_DEADLINE = 2,
    MDC_ABORT_MAX_STOP = 3,
    MDC_ABORT_TARGET_GONE = 4,
    MDC_ABORT_TRACER = 5, /* what holds the target cannot do so any longer */
    MDC_ABORT_STALL = 6,  /* no progress for stall_ns while the target was stopped */
    MDC_ABORT_MUTUAL = 7  /* the target dumps us */
};

enum { MDC_ACTIVITY_WORDS = MDC_ACTIVITY_NAME / 8 };

/* What the thread that dumps does right now. Only that thread writes it; others look at it when the thread hangs. */
typedef struct mdc_doing {
    _Atomic uint64_t what; /* kind, and the callback type + 1 << 8 */
    _Atomic uint64_t address;
    _Atomic uint64_t name[MDC_ACTIVITY_WORDS]; /* its bytes, NUL-terminated; of the last activity that has one */
    _Atomic uint64_t advances;                 /* calls of the callback that returned, parts of listings */
} mdc_doing;

typedef struct mdc_dump_control {
    _Atomic int32_t abort;
    _Atomic int32_t phase;
    _Atomic int32_t stopped;
    _Atomic uint64_t stopped_since; /* mdc_clock_ns of the first thread's stop; 0: not known */
    _Atomic int32_t may_end;        /* 1: when max_stop passes, the dump is completed without what was not copied */
    _Atomic int32_t stop_ended;     /* 1: so it is, and the target runs: set before the first thread is resumed */
    _Atomic uint64_t bytes_done;
    _Atomic uint64_t bytes_total;
    _Atomic uint64_t steps; /* reads of the target and writes of the output that came back */
    mdc_doing doing;
    mdc_activity stalled; /* set before MDC_ABORT_STALL */
    uint64_t started_ns;  /* set before the threads start, as what follows */
    uint64_t deadline_ns; /* absolute, 0: none */
    uint64_t stall_ns;    /* how long a stopped target may wait for progress; 0: for ever */
} mdc_dump_control;

/* stall_ns is 0. */
void mdc_control_init(mdc_dump_control *control, uint64_t deadline_ns);
/* true if this call set the reason. */
bool mdc_control_abort(mdc_dump_control *control, int32_t reason);
/* Why the dump has to end, MDC_ABORT_NONE if it need not. Also notices that the deadline passed. */
int32_t mdc_control_reason(mdc_dump_control *control);
/* When max_stop has passed, before the target is resumed for that: false if the dump has to end with an error. */
bool mdc_control_end_stop(mdc_dump_control *control);
/* MDC_OK, or fills the error that belongs to the abort reason (MDC_ERR_CANCELLED with hresult 0x800704C7,
 * MDC_ERR_DEADLINE, MDC_ERR_STALLED, MDC_ERR_TARGET_GONE, MDC_ERR_TARGET_BUSY). Cheap enough to ask per chunk. */
mdc_status mdc_control_check(mdc_dump_control *control, mdc_error *err);
mdc_progress mdc_control_read(const mdc_dump_control *control);

/* -- what may hang ------------------------------------------------------------------------------------------------- */

/* What was being done before; activities nest. */
typedef struct mdc_doing_before {
    uint64_t what;
    uint64_t address;
} mdc_doing_before;

/* The thread that dumps is about to do this; a few stores. type: MDC_CB_* of a call, else -1. */
static inline mdc_doing_before mdc_control_begin(mdc_dump_control *control, int32_t kind, int32_t type,
                                                 uint64_t address) {
    mdc_doing *doing = &control->doing;
    mdc_doing_before before = {atomic_load_explicit(&doing->what, memory_order_relaxed),
                               atomic_load_explicit(&doing->address, memory_order_relaxed)};
    atomic_store_explicit(&doing->address, address, memory_order_relaxed);
    atomic_store_explicit(&doing->what, (uint64_t)kind | (uint64_t)(uint8_t)(type + 1) << 8, memory_order_release);
    return before;
}
static inline void mdc_control_end(mdc_dump_control *control, mdc_doing_before before) {
    atomic_store_explicit(&control->doing.address, before.address, memory_order_relaxed);
    atomic_store_explicit(&control->doing.what, before.what, memory_order_release);
}
/* Of what is read or opened: the end of it, if it is long. Before mdc_control_begin. */
void mdc_control_name(mdc_dump_control *control, const void *name, size_t size);
/* A read or a write has come back with something. */
static inline void mdc_control_step(mdc_dump_control *control) {
    atomic_fetch_add_explicit(&control->steps, 1, memory_order_relaxed);
}
/* The callback has returned, or a listing has come so much further. By the thread that dumps: it alone counts these, so
 * a load and a store are enough. dump control may be NULL. */
static inline void mdc_control_advance(mdc_dump_control *control) {
    if (control == NULL) return;
    uint64_t advances = atomic_load_explicit(&control->doing.advances, memory_order_relaxed);
    atomic_store_explicit(&control->doing.advances, advances + 1, memory_order_relaxed);
}
mdc_activity mdc_control_doing(const mdc_dump_control *control);
/* "a read of memory at 0x7f0000000000 (mapping of /lib/x.so)", "the output", "the callback (IncludeVmRegion)". */
void mdc_activity_describe(const mdc_activity *activity, char *text, size_t size);

/* Watches for progress; belongs to the thread that holds the target. */
typedef struct mdc_stall {
    uint64_t seen;  /* steps, advances and bytes */
    uint64_t since; /* mdc_clock_ns */
} mdc_stall;

void mdc_stall_init(mdc_stall *stall, const mdc_dump_control *control, uint64_t now);
/* For how long nothing has come back, and whether that is longer than stall_ns. */
uint64_t mdc_stall_ns(mdc_stall *stall, const mdc_dump_control *control, uint64_t now);
bool mdc_stall_over(mdc_stall *stall, const mdc_dump_control *control, uint64_t now);
/* Aborts by MDC_ABORT_STALL, because of this. */
void mdc_control_stalled(mdc_dump_control *control, mdc_activity activity);

#endif
