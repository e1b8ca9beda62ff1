/* Memory on its way to the sink: pages of zeros become holes where the sink has holes.
 *
 * Pages are those of the file, because only a page of the file that was never written takes no room. The test comes
 * last, when the bytes are what the callee left: a page it changed is stored, a page it cleared is not. */
#include <string.h>

#include "../base/arith.h"
#include "dump_state.h"

/* A page that begins with another byte costs nothing; memcmp is the fastest loop there is without SIMD of our own. */
static bool all_zero(const uint8_t *data, size_t size) { return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0; }

/* Bytes from the start that are alike, by pages of the file: zeros or not. */
static size_t alike(uint64_t position, const uint8_t *data, size_t size, bool *zeros) {
    size_t run = 0;
    while (run < size) {
        uint64_t left = MDC_PAGE_SIZE - ((position + run) & (MDC_PAGE_SIZE - 1));
        size_t part = (size_t)mdc_min_u64(left, size - run);
        bool blank = all_zero(data + run, part);
        if (run > 0 && blank != *zeros) break;
        *zeros = blank;
        run += part;
    }
    return run;
}

/* Whole pages of the file at [first, end) were left out: counts them for the regions they belong to. */
static void count_zeros(mdc_dump *dump, uint64_t first, uint64_t end) {
    mdc_copier *copier = &dump->copier;
    uint64_t at = first + copier->cut_bytes; /* extents have the offsets of the plan */
    end += copier->cut_bytes;
    while (at < end && copier->zero_extent < dump->extents.count) {
        const mdc_extent *extent = &mdc_vec_at(&dump->extents, const mdc_extent, copier->zero_extent);
        uint64_t stop = extent->file_offset + extent->size;
        if ((extent->flags & MDC_EXTENT_OMITTED) != 0 || stop <= at) {
            copier->zero_extent++;
            continue;
        }
        stop = mdc_min_u64(stop, end);
        mdc_vec_at(&dump->report_regions, mdc_report_region, extent->region).zeros += stop - at;
        at = stop;
    }
}

/* `size` bytes that are alike go to `position`: which pages of the file are now known to be zeros as a whole? */
static void note_pages(mdc_dump *dump, uint64_t position, uint64_t size, bool zeros) {
    mdc_copier *copier = &dump->copier;
    uint64_t page = mdc_page_down(position), end = position + size;
    if (position == page) copier->page_blank = true;
    if (!zeros) {
        copier->page_blank = false;
        return;
    }
    uint64_t first = copier->page_blank ? page : page + MDC_PAGE_SIZE, last = mdc_page_down(end);
    if (last > first) count_zeros(dump, first, last);
    if (last > page) copier->page_blank = true;
}

mdc_status mdc_store(mdc_dump *dump, const uint8_t *data, size_t size, mdc_error *err) {
    mdc_sink *sink = dump->sink;
    if (!sink->sparse || sink->position < dump->memory_offset)
        return size > 0 ? sink->ops->write(sink, data, size, err) : MDC_OK;
    while (size > 0) {
        bool zeros = false;
        uint64_t position = sink->position;
        size_t run = alike(position, data, size, &zeros);
        mdc_status status = zeros ? sink->ops->hole(sink, run, err) : sink->ops->write(sink, data, run, err);
        if (status != MDC_OK) return status;
        note_pages(dump, position, run, zeros);
        data += run;
        size -= run;
    }
    return MDC_OK;
}

mdc_status mdc_store_late(mdc_dump *dump, uint64_t offset, const uint8_t *data, size_t size, uint64_t *zeros,
                          mdc_error *err) {
    mdc_sink *sink = dump->sink;
    while (size > 0) {
        bool blank = false;
        size_t run = alike(offset, data, size, &blank);
        if (blank)
            *zeros += run;
        else if (sink->ops->patch(sink, offset, data, run, err) != MDC_OK)
            return err->code;
        offset += run;
        data += run;
        size -= run;
    }
    return MDC_OK;
}

mdc_status mdc_store_hole(mdc_dump *dump, uint64_t size, mdc_error *err) {
    dump->copier.page_blank = false; /* a page it shares with memory was counted by the plan, in part */
    return dump->sink->ops->hole(dump->sink, size, err);
}

void mdc_store_cut(mdc_dump *dump, uint64_t size) {
    dump->copier.page_blank = false;
    dump->copier.cut_bytes += size;
}
