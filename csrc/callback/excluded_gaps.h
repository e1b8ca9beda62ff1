/* Holes: what the rules exclude inside a region, for a host that does not ask again and stores only one part of it.
 *
 * The answer to such a host is the hull, from the first kept byte to the last, and what is between kept parts is
 * entered here and overwritten in every read that VmPostRead shows, before it is stored. That only works with an
 * engine that shows its reads. So for each hole it is recorded how much of it was shown: what was not shown by the end
 * of the dump may be in it unchanged, and mdc_callback_check reports that.
 *
 * All is reserved at the start; nothing here allocates, locks or calls the system. Accessed only by the call inside the
 * gate, except the counters. */
#ifndef MDC_CALLBACK_EXCLUDED_GAPS_H
#define MDC_CALLBACK_EXCLUDED_GAPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/callback.h"
#include "../filter/match.h"

/* Reads mostly rise, but parts of a region may be written ahead of the rest of it (stacks), so a second run is kept. */
typedef struct mdc_hole {
    uint64_t first;
    uint64_t last;      /* inclusive */
    uint64_t passed;    /* bytes from `first` that were shown since the hole was entered */
    uint64_t run_first; /* and from here, counted from `first`; */
    uint64_t run_end;   /* 0: no such run */
} mdc_hole;

typedef struct mdc_holes {
    mdc_hole *holes; /* sorted, disjoint */
    uint32_t count;
    uint32_t capacity; /* 0: the filter leaves no holes, or others answer for its reads */
    bool open;         /* reads are shown: VmStart was answered S_FALSE to a host that does not ask again */
    uint8_t fill;
    _Atomic uint64_t hulls, hole_bytes, filled_bytes, lost;
} mdc_holes;

mdc_status mdc_holes_init(mdc_holes *holes, uint32_t capacity, uint8_t fill, mdc_error *err);
void mdc_holes_fini(mdc_holes *holes);
void mdc_holes_rewind(mdc_holes *holes);

/* The answer to 10 for a host that does not ask again, as mdc_match_answer gives it: the hull where reads are shown and
 * there is room for all its holes, else the longest kept part. The same question gets the same answer, and enters its
 * holes once. */
int mdc_holes_answer(mdc_holes *holes, const mdc_filter *filter, mdc_cursor *cursor, const mdc_question *question,
                     uint64_t *first, uint64_t *last);
/* Whether all that lies between kept parts of the question is entered: its answer was, or would be, the hull. */
bool mdc_holes_cover(const mdc_holes *holes, const mdc_matcher *matcher);

/* A read that was shown: overwrites what is in holes. Bytes after `completed` do not count as stored, but are
 * overwritten too: `bytes` is `size` long whatever the result of the read. */
void mdc_holes_fill(mdc_holes *holes, uint64_t address, uint8_t *bytes, size_t size, size_t completed);
/* [address, address + size) could not be read and is left out. */
void mdc_holes_pass(mdc_holes *holes, uint64_t address, uint64_t size);

/* What was not shown is not in the dump; the caller has made sure of that. */
void mdc_holes_settle(mdc_holes *holes);

/* Bytes in holes that were not shown, and the address of the first. */
uint64_t mdc_holes_hidden(const mdc_holes *holes, uint64_t *address);

#endif
