#include "sparse_output.h"

#include <string.h>

#include "../base/arith.h"

mdc_status mdc_sparse_init(mdc_sparse_output *output, mdc_sink *sink, const mdc_layout *layout, mdc_error *err) {
    output->sink = sink;
    output->layout = layout;
    if (!sink->sparse) return MDC_OK;
    output->zeros = mdc_alloc(layout->capture->region_count, sizeof *output->zeros, err);
    return output->zeros != NULL ? MDC_OK : err->code;
}

void mdc_sparse_fini(mdc_sparse_output *output) { mdc_dealloc(output->zeros); }

void mdc_sparse_count(mdc_sparse_output *output, size_t region, uint64_t bytes) {
    if (output->zeros != NULL) output->zeros[region] += bytes;
}

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
static void count_zeros(mdc_sparse_output *output, uint64_t first, uint64_t end) {
    uint64_t at = first + output->excised; /* extents have the offsets of the plan */
    end += output->excised;
    while (at < end && output->zero_extent < output->layout->plan->extents.count) {
        const mdc_extent *extent = &output->layout->extents[output->zero_extent];
        uint64_t stop = extent->file_offset + extent->size;
        if ((extent->flags & MDC_EXTENT_OMITTED) != 0 || stop <= at) {
            output->zero_extent++;
            continue;
        }
        stop = mdc_min_u64(stop, end);
        mdc_sparse_count(output, extent->region, stop - at);
        at = stop;
    }
}

/* `size` bytes that are alike go to `position`: which pages of the file are now known to be zeros as a whole? */
static void note_pages(mdc_sparse_output *output, uint64_t position, uint64_t size, bool zeros) {
    uint64_t page = mdc_page_down(position), end = position + size;
    if (position == page) output->page_blank = true;
    if (!zeros) {
        output->page_blank = false;
        return;
    }
    uint64_t first = output->page_blank ? page : page + MDC_PAGE_SIZE, last = mdc_page_down(end);
    if (last > first) count_zeros(output, first, last);
    if (last > page) output->page_blank = true;
}

uint8_t *mdc_sparse_place(mdc_sparse_output *output, uint8_t *buffer, size_t size) {
    uint8_t *place = output->staging != NULL ? mdc_staging_place(output->staging, size) : NULL;
    return place != NULL ? place : buffer;
}

mdc_status mdc_sparse_write(mdc_sparse_output *output, const uint8_t *data, size_t size, mdc_error *err) {
    mdc_sink *sink = output->sink;
    if (!sink->sparse || sink->position < output->layout->memory_offset)
        return size > 0 ? sink->ops->write(sink, data, size, err) : MDC_OK;
    while (size > 0) {
        bool zeros = false;
        uint64_t position = sink->position;
        size_t run = alike(position, data, size, &zeros);
        mdc_status status = zeros ? sink->ops->hole(sink, run, err) : sink->ops->write(sink, data, run, err);
        if (status != MDC_OK) return status;
        note_pages(output, position, run, zeros);
        data += run;
        size -= run;
    }
    return MDC_OK;
}

mdc_status mdc_sparse_patch(mdc_sparse_output *output, uint64_t offset, const uint8_t *data, size_t size,
                            uint64_t *zeros, mdc_error *err) {
    mdc_sink *sink = output->sink;
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

mdc_status mdc_sparse_hole(mdc_sparse_output *output, uint64_t size, mdc_error *err) {
    output->page_blank = false; /* a page it shares with memory was counted by the plan, in part */
    return output->sink->ops->hole(output->sink, size, err);
}

void mdc_sparse_excise(mdc_sparse_output *output, uint64_t size) {
    output->page_blank = false;
    output->excised += size;
}
