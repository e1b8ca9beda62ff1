/* Memory of a target that a child of it does not get, copied while the target is stopped. */
#ifndef MDC_LINUX_KEPT_H
#define MDC_LINUX_KEPT_H

#include "../base/vec.h"
#include "../source/source.h"

typedef struct mdc_kept {
    mdc_vec ranges;  /* mdc_span by address: whole mappings */
    mdc_vec runs;    /* mdc_content: pages that were there */
    mdc_vec offsets; /* uint64_t by run: where its bytes are */
    mdc_vec bytes;   /* uint8_t; reserved before the stop */
} mdc_kept;

void mdc_kept_init(mdc_kept *kept);
void mdc_kept_fini(mdc_kept *kept);
/* Before the stop, in ascending order: a mapping of which `bytes` are resident. */
mdc_status mdc_kept_add(mdc_kept *kept, uint64_t first, uint64_t end, mdc_error *err);
/* Room for this many bytes, with pages. */
mdc_status mdc_kept_reserve(mdc_kept *kept, uint64_t bytes, mdc_error *err);
/* Copies all of it. proc: /proc/PID, mem: its mem. false: there is more than room was reserved for, or it cannot be
 * read. */
bool mdc_kept_copy(mdc_kept *kept, int proc, int mem);
/* Is [first, end) one of those? */
bool mdc_kept_has(const mdc_kept *kept, uint64_t first, uint64_t end);
/* The bytes kept from the address on, in [address, *end); NULL: none were there, they are zeros. false: the address is
 * in no range. */
bool mdc_kept_find(const mdc_kept *kept, uint64_t address, uint64_t *end, const uint8_t **bytes);

#endif
