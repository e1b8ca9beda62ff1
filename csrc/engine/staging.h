/* Memory of ours between the writer and the output, for MDC_STOP_MEMORY: what is copied while the threads are stopped
 * waits here, and is written when they run again.
 *
 * Reserved before the stop, and touched as far as the dump is expected to need it. To the writer it is a sink; the
 * copier may ask for the place where the next bytes go, so that they are copied once. If the plan says that not
 * everything fits, the front of the dump is written at once and the rest is kept. */
#ifndef MDC_ENGINE_STAGING_H
#define MDC_ENGINE_STAGING_H

#include "../base/arena.h"
#include "engine_parts.h"

typedef struct mdc_staging {
    mdc_sink sink; /* first: a mdc_sink * of ours is a mdc_staging * */
    mdc_sink *target;
    mdc_engine *engine;
    mdc_arena arena;  /* bytes from the front, the list of pieces from the end */
    size_t used;      /* bytes of them */
    size_t pieces;    /* written runs and holes, in the order of the file */
    uint64_t direct;  /* bytes that are still to be written at once */
    uint64_t planned; /* as the writer announced them: for the output's begin() */
    uint64_t written;
    bool begun;    /* the output was told */
    bool overflow; /* something was written before the resume */
} mdc_staging;

/* Before the stop: reserves, if the engine's options ask for it. Without the memory the dump is written during the
 * stop: engine->stop_reason. Fails only if the dump has to end. */
mdc_status mdc_staging_reserve(mdc_staging *staging, mdc_engine *engine, mdc_error *err);
void mdc_staging_fini(mdc_staging *staging);
static inline bool mdc_staging_there(const mdc_staging *staging) { return staging->arena.data != NULL; }
/* What is written to in place of this output. */
mdc_sink *mdc_staging_over(mdc_staging *staging, mdc_sink *target);
/* The place of the next `size` bytes, to be filled and then written from there; NULL: write from elsewhere. */
uint8_t *mdc_staging_place(mdc_staging *staging, size_t size);
/* After the resume: writes what waits, and frees it on the way. */
mdc_status mdc_staging_drain(mdc_staging *staging, mdc_error *err);

#endif
