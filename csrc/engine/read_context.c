/* Memory around what is about to be written, shown to the callee only: a pattern may span the border between a
 * stack's part and the rest of its mapping, or two adjacent mappings, whose bytes are apart in the file. Used
 * are: what the plan keeps or kept until it was made to fit into the budget, the rest of a page that is read anyway,
 * and in a Normal dump, which keeps little, what the callee would keep if asked; nothing else is read for it. Pages
 * never touched are zeros, and stay untouched. */
#include <string.h>

#include "../base/arith.h"
#include "reader.h"

static bool is_zero(const mdc_extent *extent) {
    return (extent->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_ZERO | MDC_EXTENT_OMITTED)) != 0;
}

static const mdc_extent *find_planned(const mdc_reader *reader, uint64_t address) {
    const mdc_extent *found = mdc_extents_find(reader->extents, address);
    return found != NULL ? found : mdc_extents_find(reader->cut, address);
}

/* Whether a page that is not in the plan of a Normal dump may be read. */
static mdc_status ask_page(const mdc_reader *reader, uint64_t page, bool *may, bool *zero, mdc_error *err) {
    const mdc_engine *engine = reader->engine;
    int64_t found = engine->full ? MDC_NO_REGION : mdc_regions_find(reader->capture, page);
    *may = *zero = false;
    if (found == MDC_NO_REGION || mdc_regions_closed(reader->capture, (size_t)found)) return MDC_OK;
    const mdc_region *region = &reader->capture->regions[found];
    if (page - region->base >= region->valid_size) return MDC_OK;
    mdc_content run = {.what = MDC_CONTENT_DATA};
    uint64_t next;
    if (!reader->capture->queried)
        (void)engine->source->ops->content(engine->source, (size_t)found, page, page + MDC_PAGE_SIZE, &run, 1, &next);
    if (run.what == MDC_CONTENT_UNAVAILABLE || run.what == MDC_CONTENT_UNKNOWN || run.what == MDC_CONTENT_ABSENT ||
        run.what == MDC_CONTENT_CUT)
        return MDC_OK;
    *zero = run.what == MDC_CONTENT_UNTOUCHED && !engine->calls.serves_memory;
    return mdc_reader_kept(reader, page, page + MDC_PAGE_SIZE, may, err);
}

/* Fills out with the bytes from `first` on, up to `end` or to memory that may not be read. zero: whether the page of
 * `first` was never touched, if it is not in the plan. */
static mdc_status look(const mdc_reader *reader, uint64_t first, uint64_t end, bool zero, uint8_t *out, size_t *got,
                       mdc_error *err) {
    uint64_t at = first;
    *got = 0;
    while (at < end) {
        const mdc_extent *extent = find_planned(reader, at);
        uint64_t stop = mdc_page_up(at);
        if (extent != NULL) {
            stop = extent->address + extent->size;
            zero = is_zero(extent);
        } else if (stop <= at) {
            bool may;
            if (ask_page(reader, at, &may, &zero, err) != MDC_OK) return err->code;
            if (!may) break;
            stop = at + MDC_PAGE_SIZE;
        } /* else the rest of a page, which is as what lies before it */
        size_t part = (size_t)(mdc_min_u64(stop, end) - at), done = part;
        int32_t os_errno;
        bool closed;
        if (zero)
            memset(out + (at - first), 0, part);
        else if (mdc_reader_fetch(reader, at, out + (at - first), part, &done, &closed, &os_errno, err) != MDC_OK)
            return err->code;
        *got += done;
        if (done < part) break;
        at += part;
    }
    return MDC_OK;
}

mdc_status mdc_context_after(const mdc_reader *reader, uint64_t first, size_t want, uint8_t *out, size_t *got,
                             mdc_error *err) {
    uint64_t end;
    return look(reader, first, mdc_add_u64(first, want, &end) ? end : UINT64_MAX, false, out, got, err);
}

mdc_status mdc_context_before(const mdc_reader *reader, uint64_t end, size_t want, uint8_t *out, size_t *got,
                              mdc_error *err) {
    uint64_t floor = end > want ? end - want : 0, first = end;
    bool zero = false;
    *got = 0;
    while (first > floor) {
        const mdc_extent *extent = find_planned(reader, first - 1);
        uint64_t start = mdc_page_down(first - 1);
        if (extent != NULL)
            start = extent->address;
        else if ((first & (MDC_PAGE_SIZE - 1)) == 0) {
            bool may;
            if (ask_page(reader, start, &may, &zero, err) != MDC_OK) return err->code;
            if (!may) break;
        }
        if (extent != NULL && is_zero(extent) && (start & (MDC_PAGE_SIZE - 1)) != 0) {
            first = mdc_max_u64(start, floor);
            break; /* the rest of that page was never touched either */
        }
        first = mdc_max_u64(start, floor);
    }
    /* Down to the last readable address: memory below a bad page is not adjacent. */
    while (first < end) {
        size_t done;
        if (look(reader, first, end, zero, out, &done, err) != MDC_OK) return err->code;
        if (done == (size_t)(end - first)) {
            *got = done;
            break;
        }
        first = mdc_page_down(first + done) + MDC_PAGE_SIZE;
    }
    return MDC_OK;
}
