/* Memory on its way to the sink: pages of zeros become holes where the sink has holes.
 *
 * Pages are those of the file, because only a page of the file that was never written takes no room. The test comes
 * last, when the bytes are what the callee left: a page it changed is stored, a page it cleared is not. */
#ifndef MDC_ENGINE_SPARSE_OUTPUT_H
#define MDC_ENGINE_SPARSE_OUTPUT_H

#include "../sink/sink.h"
#include "layout.h"
#include "staging.h"

typedef struct mdc_sparse_output {
    mdc_sink *sink;
    mdc_staging *staging; /* what the sink is, while it keeps memory; else NULL */
    const mdc_layout *layout;
    uint64_t *zeros;    /* by region: bytes that were read and are holes; NULL if the sink has none */
    uint64_t excised;   /* bytes so far: what follows is that far before its planned offset */
    size_t zero_extent; /* extent of the last hole */
    bool page_blank;    /* the page of the file that is being filled holds only zeros so far */
} mdc_sparse_output;

mdc_status mdc_sparse_init(mdc_sparse_output *output, mdc_sink *sink, const mdc_layout *layout, mdc_error *err);
void mdc_sparse_fini(mdc_sparse_output *output);
/* Where `size` bytes may be put before they are written from there; else `buffer`. */
uint8_t *mdc_sparse_place(mdc_sparse_output *output, uint8_t *buffer, size_t size);
mdc_status mdc_sparse_write(mdc_sparse_output *output, const uint8_t *data, size_t size, mdc_error *err);
mdc_status mdc_sparse_hole(mdc_sparse_output *output, uint64_t size, mdc_error *err); /* of the plan */
void mdc_sparse_excise(mdc_sparse_output *output, uint64_t size); /* that many bytes of the plan do not come */
/* Whole pages, written over a hole in the file; *zeros grows by those that remain a hole. */
mdc_status mdc_sparse_patch(mdc_sparse_output *output, uint64_t offset, const uint8_t *data, size_t size,
                            uint64_t *zeros, mdc_error *err);
/* Bytes of the region turned out to be a hole. */
void mdc_sparse_count(mdc_sparse_output *output, size_t region, uint64_t bytes);

#endif
