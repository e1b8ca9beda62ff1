/* Copies the memory of the plan to the output, through the reader and its buffer. */
#ifndef MDC_ENGINE_COPIER_H
#define MDC_ENGINE_COPIER_H

#include "layout.h"
#include "sparse_output.h"

typedef struct mdc_copier mdc_copier;

/* Before the stop: what it needs is allocated here, the others may still be empty. */
mdc_copier *mdc_copier_new(const mdc_reader *reader, mdc_layout *layout, mdc_gaps *gaps, mdc_sparse_output *output,
                           mdc_error *err);
void mdc_copier_free(mdc_copier *copier);
/* All extents but the late ones, for which holes are left. */
mdc_status mdc_copier_extents(mdc_copier *copier, mdc_error *err);
/* Whether the stop had to end before all of them were copied (mdc_engine.copy_until), and from where on. */
bool mdc_copier_ended(const mdc_copier *copier, size_t *extent, uint64_t *address);
/* Target memory that is not an extent. */
mdc_status mdc_copier_part(mdc_copier *copier, uint64_t address, uint64_t size, mdc_error *err);

#endif
