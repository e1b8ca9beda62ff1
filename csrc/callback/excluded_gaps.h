/* Excluded gaps: what the rules exclude inside a region, for a host that does not ask again and stores only one part of
 * it.
 *
 * The answer to such a host is the hull, from the first kept byte to the last, and what is between kept parts is
 * entered here and overwritten in every read that VmPostRead shows, before it is stored. That only works with an
 * engine that shows its reads. So for each excluded gap it is recorded how much of it was shown: what was not shown by
 * the end of the dump may be in it unchanged, and mdc_callback_check reports that.
 *
 * All is reserved at the start; nothing here allocates, locks or calls the system. Accessed only by the call inside the
 * lock, except the counters. */
#ifndef MDC_CALLBACK_EXCLUDED_GAPS_H
#define MDC_CALLBACK_EXCLUDED_GAPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/callback.h"
#include "../filter/match.h"

/* Reads mostly rise, but parts of a region may be written ahead of the rest of it (stacks), so a second run is kept. */
typedef struct mdc_excluded_gap {
    uint64_t first;
    uint64_t last;      /* inclusive */
    uint64_t passed;    /* bytes from `first` that were shown since the excluded gap was entered */
    uint64_t run_first; /* and from here, counted from `first`; */
    uint64_t run_end;   /* 0: no such run */
} mdc_excluded_gap;

typedef struct mdc_excluded_gaps {
    mdc_excluded_gap *gaps; /* sorted, disjoint */
    uint32_t count;
    uint32_t capacity; /* 0: the filter leaves no excluded gaps, or others answer for its reads */
    bool open;         /* reads are shown: VmStart was answered S_FALSE to a host that does not ask again */
    uint8_t fill;
    _Atomic uint64_t hulls, excluded_gap_bytes, filled_bytes, lost;
} mdc_excluded_gaps;

mdc_status mdc_excluded_gaps_init(mdc_excluded_gaps *gaps, uint32_t capacity, uint8_t fill, mdc_error *err);
void mdc_excluded_gaps_fini(mdc_excluded_gaps *gaps);
void mdc_excluded_gaps_rewind(mdc_excluded_gaps *gaps);

/* The answer to IncludeVmRegion for a host that does not ask again, as mdc_match_answer gives it: the hull where reads
 * are shown and there is room for all its excluded gaps, else the longest kept part. The same question gets the same
 * answer, and enters its excluded gaps once. */
int mdc_excluded_gaps_answer(mdc_excluded_gaps *gaps, const mdc_filter *filter, mdc_cursor *cursor,
                             const mdc_question *question, uint64_t *first, uint64_t *last);
/* Whether all that lies between kept parts of the question is entered: its answer was, or would be, the hull. */
bool mdc_excluded_gaps_cover(const mdc_excluded_gaps *gaps, const mdc_matcher *matcher);

/* A read that was shown: overwrites what is in excluded gaps. Bytes after `completed` do not count as stored, but are
 * overwritten too: `bytes` is `size` long whatever the result of the read. */
void mdc_excluded_gaps_fill(mdc_excluded_gaps *gaps, uint64_t address, uint8_t *bytes, size_t size, size_t completed);
/* [address, address + size) could not be read and is left out. */
void mdc_excluded_gaps_pass(mdc_excluded_gaps *gaps, uint64_t address, uint64_t size);

/* What was not shown is not in the dump; the caller has made sure of that. */
void mdc_excluded_gaps_dismiss(mdc_excluded_gaps *gaps);

/* Bytes in excluded gaps that were not shown, and the address of the first. */
uint64_t mdc_excluded_gaps_hidden(const mdc_excluded_gaps *gaps, uint64_t *address);

#endif
