/* Content of mapped files, read after the target's threads were resumed, which shortens the stop. While they are
 * stopped a hole is left for it in the file (copier.c), which is filled in here.
 *
 * What was read is valid once the source confirms that the file is unchanged since the stop. If it changed, what was
 * read of the mapping since the last confirmation is a gap and replaced by zeros, as in a dump whose lists cannot be
 * patched. */
#include <string.h>

#include "../base/arith.h"
#include "buffered_output.h"
#include "writer.h"

/* The late extents of one mapping. */
typedef struct late_group {
    size_t region;
    size_t end;       /* after its last extent */
    size_t sure;      /* all before this extent, and of it */
    uint64_t sure_to; /* all below this address, counts */
    uint64_t zeros;   /* bytes after that which turned out to be pages of zeros */
} late_group;

static const mdc_extent *extent_at(const mdc_writer *writer, size_t index) { return &writer->layout->extents[index]; }

static bool is_late(const mdc_writer *writer, size_t index) {
    return (extent_at(writer, index)->flags & MDC_EXTENT_LATE) != 0;
}

static void make_sure(mdc_writer *writer, late_group *group, size_t extent, uint64_t address) {
    mdc_sparse_count(&writer->output, group->region, group->zeros);
    group->zeros = 0;
    group->sure = extent;
    group->sure_to = address;
}

static mdc_status patch_zeros(mdc_writer *writer, uint64_t offset, uint64_t size, mdc_error *err) {
    mdc_out out = {.sink = writer->output.sink,
                   .buffer = writer->reader->buffer,
                   .room = writer->reader->room,
                   .patching = true,
                   .offset = offset};
    return mdc_out_put(&out, NULL, size, err) == MDC_OK ? mdc_out_flush(&out, err) : err->code;
}

static void progress(mdc_writer *writer, uint64_t bytes) {
    atomic_fetch_add_explicit(&writer->engine->control->bytes_done, bytes, memory_order_relaxed);
}

/* The file has changed: all that is not sure becomes a gap. read_to: in the last extent that was read, up to where. */
static mdc_status give_up(mdc_writer *writer, late_group *group, size_t last, uint64_t read_to, int32_t os_errno,
                          mdc_error *err) {
    for (size_t i = group->sure; i < group->end; i++) {
        if (!is_late(writer, i)) continue;
        const mdc_extent *extent = extent_at(writer, i);
        uint64_t first = i == group->sure ? group->sure_to : extent->address, end = extent->address + extent->size;
        uint64_t stored = i < last ? end : i == last ? read_to : first;
        if (stored > first &&
            patch_zeros(writer, extent->file_offset + (first - extent->address), stored - first, err) != MDC_OK)
            return err->code;
        if (mdc_gaps_ask(writer->gaps, first, end, MDC_GAP_READ_FAILED, os_errno,
                         "belongs to a file that changed before it was read", err) != MDC_OK)
            return err->code;
        mdc_sparse_count(&writer->output, group->region, end - first);
        progress(writer, end - stored);
    }
    return MDC_OK;
}

/* Reads one extent; *changed: up to where it was read before the file turned out to be another, 0 if it did not. */
static mdc_status copy_extent(mdc_writer *writer, late_group *group, size_t index, uint64_t *read_to, int32_t *changed,
                              mdc_error *err) {
    mdc_source *source = writer->engine->source;
    const mdc_late_ops *late = source->ops->late;
    const mdc_extent *extent = extent_at(writer, index);
    const uint64_t end = extent->address + extent->size;
    uint64_t address = extent->address;
    for (*read_to = address; address < end; *read_to = address) {
        if (mdc_calls_poll(&writer->engine->calls, err) != MDC_OK) return err->code;
        size_t part = (size_t)mdc_min_u64(end - address, writer->reader->room), done = 0;
        int32_t os_errno = 0;
        late->read(source, group->region, address, part, writer->reader->buffer, &done, &os_errno);
        done = (size_t)mdc_page_down(done < part ? done : part);
        uint64_t offset = extent->file_offset + (address - extent->address);
        if (done > 0) {
            if (mdc_sparse_patch(&writer->output, offset, writer->reader->buffer, done, &group->zeros, err) != MDC_OK)
                return err->code;
        } else {
            *changed = late->check(source, group->region);
            if (*changed != 0) return MDC_OK;
            done = MDC_PAGE_SIZE;
            if (mdc_gaps_ask(writer->gaps, address, address + done, MDC_GAP_READ_FAILED, os_errno, "cannot be read",
                             err) != MDC_OK)
                return err->code;
            group->zeros += done;
            make_sure(writer, group, index, address + done);
        }
        address += done;
        progress(writer, done);
    }
    return MDC_OK;
}

static mdc_status copy_group(mdc_writer *writer, late_group *group, mdc_error *err) {
    mdc_source *source = writer->engine->source;
    size_t last = group->sure;
    uint64_t read_to = group->sure_to;
    int32_t changed = 0;
    for (size_t i = group->sure; i < group->end && changed == 0; i++) {
        if (!is_late(writer, i)) continue;
        last = i;
        if (copy_extent(writer, group, i, &read_to, &changed, err) != MDC_OK) return err->code;
    }
    if (changed == 0) changed = source->ops->late->check(source, group->region);
    if (changed != 0) return give_up(writer, group, last, read_to, changed, err);
    make_sure(writer, group, group->end, 0);
    return MDC_OK;
}

mdc_status mdc_late_copy(mdc_writer *writer, mdc_error *err) {
    for (size_t i = 0; i < writer->layout->plan->extents.count;) {
        if (!is_late(writer, i)) {
            i++;
            continue;
        }
        const mdc_extent *first = extent_at(writer, i);
        late_group group = {.region = first->region, .end = i + 1, .sure = i, .sure_to = first->address};
        while (group.end < writer->layout->plan->extents.count && extent_at(writer, group.end)->region == first->region)
            group.end++;
        if (copy_group(writer, &group, err) != MDC_OK) return err->code;
        i = group.end;
    }
    return MDC_OK;
}
