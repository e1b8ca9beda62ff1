/* Content of mapped files, read after the target's threads were resumed, which shortens the stop. While they are
 * stopped a hole is left for it in the file (copier.c), which is filled in here.
 *
 * What was read is valid once the source confirms that the file is unchanged since the stop. If it changed, what was
 * read of the mapping since the last confirmation is a gap and replaced by zeros, as in a dump whose lists cannot be
 * patched. */
#include <string.h>

#include "../base/arith.h"
#include "dump_state.h"

/* The late extents of one mapping. */
typedef struct late_group {
    size_t region;
    size_t end;       /* after its last extent */
    size_t sure;      /* all before this extent, and of it */
    uint64_t sure_to; /* all below this address, counts */
    uint64_t zeros;   /* bytes after that which turned out to be pages of zeros */
} late_group;

bool mdc_late_allowed(const mdc_dump *dump) {
    /* Callees that see reads see them in the order of the file, with what lies around them in memory. */
    return dump->options.late_files != 0 && dump->full && !dump->calls.wants_post_read &&
           dump->source->ops->late != NULL && dump->sink != NULL && dump->sink->patchable;
}

static const mdc_extent *extent_at(const mdc_dump *dump, size_t index) {
    return &mdc_vec_at(&dump->extents, const mdc_extent, index);
}

static bool is_late(const mdc_dump *dump, size_t index) {
    return (extent_at(dump, index)->flags & MDC_EXTENT_LATE) != 0;
}

static void count_zeros(mdc_dump *dump, const late_group *group, uint64_t bytes) {
    if (dump->sink->sparse) mdc_vec_at(&dump->report_regions, mdc_report_region, group->region).zeros += bytes;
}

static void make_sure(mdc_dump *dump, late_group *group, size_t extent, uint64_t address) {
    count_zeros(dump, group, group->zeros);
    group->zeros = 0;
    group->sure = extent;
    group->sure_to = address;
}

static mdc_status patch_zeros(mdc_dump *dump, uint64_t offset, uint64_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    size_t part = (size_t)mdc_min_u64(size, copier->room);
    memset(copier->buffer, 0, part);
    for (; size > 0; size -= part, offset += part) {
        part = (size_t)mdc_min_u64(size, copier->room);
        if (dump->sink->ops->patch(dump->sink, offset, copier->buffer, part, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* The file has changed: all that is not sure becomes a gap. read_to: in the last extent that was read, up to where. */
static mdc_status give_up(mdc_dump *dump, late_group *group, size_t last, uint64_t read_to, int32_t os_errno,
                          mdc_error *err) {
    for (size_t i = group->sure; i < group->end; i++) {
        if (!is_late(dump, i)) continue;
        const mdc_extent *extent = extent_at(dump, i);
        uint64_t first = i == group->sure ? group->sure_to : extent->address, end = extent->address + extent->size;
        uint64_t stored = i < last ? end : i == last ? read_to : first;
        if (stored > first &&
            patch_zeros(dump, extent->file_offset + (first - extent->address), stored - first, err) != MDC_OK)
            return err->code;
        if (mdc_gaps_ask(dump, first, end, MDC_GAP_READ_FAILED, os_errno,
                         "belongs to a file that changed before it was read", err) != MDC_OK)
            return err->code;
        count_zeros(dump, group, end - first);
        atomic_fetch_add_explicit(&dump->monitor->bytes_done, end - stored, memory_order_relaxed);
    }
    return MDC_OK;
}

/* Reads one extent; *changed: up to where it was read before the file turned out to be another, 0 if it did not. */
static mdc_status copy_extent(mdc_dump *dump, late_group *group, size_t index, uint64_t *read_to, int32_t *changed,
                              mdc_error *err) {
    const mdc_late_ops *late = dump->source->ops->late;
    const mdc_extent *extent = extent_at(dump, index);
    const uint64_t end = extent->address + extent->size;
    uint64_t address = extent->address;
    for (*read_to = address; address < end; *read_to = address) {
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
        size_t part = (size_t)mdc_min_u64(end - address, dump->copier.room), done = 0;
        int32_t os_errno = 0;
        late->read(dump->source, group->region, address, part, dump->copier.buffer, &done, &os_errno);
        done = (size_t)mdc_page_down(done < part ? done : part);
        uint64_t offset = extent->file_offset + (address - extent->address);
        if (done > 0) {
            if (mdc_store_late(dump, offset, dump->copier.buffer, done, &group->zeros, err) != MDC_OK) return err->code;
        } else {
            *changed = late->check(dump->source, group->region);
            if (*changed != 0) return MDC_OK;
            done = MDC_PAGE_SIZE;
            if (mdc_gaps_ask(dump, address, address + done, MDC_GAP_READ_FAILED, os_errno, "cannot be read", err) !=
                MDC_OK)
                return err->code;
            group->zeros += done;
            make_sure(dump, group, index, address + done);
        }
        address += done;
        atomic_fetch_add_explicit(&dump->monitor->bytes_done, done, memory_order_relaxed);
    }
    return MDC_OK;
}

static mdc_status copy_group(mdc_dump *dump, late_group *group, mdc_error *err) {
    size_t last = group->sure;
    uint64_t read_to = group->sure_to;
    int32_t changed = 0;
    for (size_t i = group->sure; i < group->end && changed == 0; i++) {
        if (!is_late(dump, i)) continue;
        last = i;
        if (copy_extent(dump, group, i, &read_to, &changed, err) != MDC_OK) return err->code;
    }
    if (changed == 0) changed = dump->source->ops->late->check(dump->source, group->region);
    if (changed != 0) return give_up(dump, group, last, read_to, changed, err);
    make_sure(dump, group, group->end, 0);
    return MDC_OK;
}

mdc_status mdc_late_copy(mdc_dump *dump, mdc_error *err) {
    for (size_t i = 0; i < dump->extents.count;) {
        if (!is_late(dump, i)) {
            i++;
            continue;
        }
        const mdc_extent *first = extent_at(dump, i);
        late_group group = {.region = first->region, .end = i + 1, .sure = i, .sure_to = first->address};
        while (group.end < dump->extents.count && extent_at(dump, group.end)->region == first->region) group.end++;
        if (copy_group(dump, &group, err) != MDC_OK) return err->code;
        i = group.end;
    }
    return MDC_OK;
}
