/* Copies of memory that a child does not get (see kept.h). */
#include "kept.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "pagemap.h"

enum { RUNS_MAX = 4096 };

void mdc_kept_init(mdc_kept *kept) {
    mdc_vec_init(&kept->ranges, sizeof(mdc_span));
    mdc_vec_init(&kept->runs, sizeof(mdc_content));
    mdc_vec_init(&kept->offsets, sizeof(uint64_t));
    mdc_vec_init(&kept->bytes, 1);
}

void mdc_kept_fini(mdc_kept *kept) {
    mdc_vec_fini(&kept->ranges);
    mdc_vec_fini(&kept->runs);
    mdc_vec_fini(&kept->offsets);
    mdc_vec_fini(&kept->bytes);
}

mdc_status mdc_kept_add(mdc_kept *kept, uint64_t first, uint64_t end, mdc_error *err) {
    const mdc_span range = {first, end - first};
    return mdc_vec_push(&kept->ranges, &range, 1, NULL, err);
}

mdc_status mdc_kept_reserve(mdc_kept *kept, uint64_t bytes, mdc_error *err) {
    if (kept->ranges.count == 0) return MDC_OK;
    mdc_status status = mdc_vec_reserve(&kept->bytes, (size_t)bytes, err);
    if (status == MDC_OK) memset(kept->bytes.data, 0xFF, (size_t)bytes); /* no page fault under the stop */
    if (status == MDC_OK) status = mdc_vec_reserve(&kept->runs, RUNS_MAX, err);
    return status == MDC_OK ? mdc_vec_reserve(&kept->offsets, RUNS_MAX, err) : status;
}

static mdc_status take(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    mdc_kept *kept = context;
    mdc_content run = {.first = first, .end = end, .what = MDC_CONTENT_DATA};
    if ((categories & MDC_PAGE_IS_GUARD) != 0) return MDC_OK;
    mdc_content *last = kept->runs.count > 0 ? &mdc_vec_at(&kept->runs, mdc_content, kept->runs.count - 1) : NULL;
    if (last != NULL && last->end == first) {
        last->end = end;
        return MDC_OK;
    }
    return mdc_vec_push(&kept->runs, &run, 1, NULL, err);
}

static bool list_pages(mdc_kept *kept, int pagemap) {
    mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED,
                               .reported = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_GUARD};
    mdc_error ignored;
    mdc_error_clear(&ignored);
    kept->runs.count = 0;
    for (size_t i = 0; i < kept->ranges.count; i++) {
        const mdc_span *range = &mdc_vec_at(&kept->ranges, mdc_span, i);
        const uint64_t end = range->address + range->size;
        const size_t before = kept->runs.count;
        int os_errno = 0;
        if (mdc_pagemap_scan(pagemap, range->address, end, &query, take, kept, &os_errno, &ignored) != MDC_OK)
            return false;
        if (os_errno == EINVAL) { /* before Linux 6.15 guard pages cannot be asked for */
            os_errno = 0;
            kept->runs.count = before;
            query.reported = MDC_PAGE_IS_PRESENT;
            if (mdc_pagemap_scan(pagemap, range->address, end, &query, take, kept, &os_errno, &ignored) != MDC_OK)
                return false;
        }
        if (os_errno != 0) {
            os_errno = 0;
            kept->runs.count = before;
            if (mdc_pagemap_read(pagemap, range->address, end, &query, take, kept, &os_errno, &ignored) != MDC_OK ||
                os_errno != 0)
                return false;
        }
    }
    return true;
}

bool mdc_kept_copy(mdc_kept *kept, int proc, int mem) {
    mdc_error ignored;
    mdc_error_clear(&ignored);
    kept->offsets.count = kept->bytes.count = 0;
    if (kept->ranges.count == 0) return true;
    int pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) return false;
    bool listed = list_pages(kept, pagemap);
    close(pagemap);
    for (size_t i = 0; listed && i < kept->runs.count; i++) {
        const mdc_content *run = &mdc_vec_at(&kept->runs, mdc_content, i);
        const uint64_t offset = kept->bytes.count, size = run->end - run->first;
        if (size > kept->bytes.capacity - kept->bytes.count ||
            mdc_vec_push(&kept->offsets, &offset, 1, NULL, &ignored) != MDC_OK)
            return false;
        uint8_t *to = (uint8_t *)kept->bytes.data + offset;
        for (uint64_t done = 0; done < size;) {
            ssize_t got = pread(mem, to + done, (size_t)(size - done), (off_t)(run->first + done));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            done += (uint64_t)got;
        }
        kept->bytes.count += (size_t)size;
    }
    return listed;
}

static const mdc_span *range_of(const mdc_kept *kept, uint64_t address) {
    const mdc_span *ranges = kept->ranges.data;
    size_t at;
    mdc_lower_bound(at, 0, kept->ranges.count, ranges[at].address + ranges[at].size <= address);
    return at < kept->ranges.count && ranges[at].address <= address ? &ranges[at] : NULL;
}

bool mdc_kept_has(const mdc_kept *kept, uint64_t first, uint64_t end) {
    const mdc_span *range = range_of(kept, first);
    return range != NULL && end - range->address <= range->size;
}

bool mdc_kept_find(const mdc_kept *kept, uint64_t address, uint64_t *end, const uint8_t **bytes) {
    const mdc_span *range = range_of(kept, address);
    if (range == NULL) return false;
    const mdc_content *runs = kept->runs.data;
    size_t at;
    mdc_lower_bound(at, 0, kept->runs.count, runs[at].end <= address);
    *bytes = NULL;
    *end = range->address + range->size;
    if (at == kept->runs.count) return true;
    if (runs[at].first > address) {
        *end = mdc_min_u64(*end, runs[at].first);
        return true;
    }
    *end = mdc_min_u64(*end, runs[at].end);
    *bytes = &mdc_vec_at(&kept->bytes, uint8_t, mdc_vec_at(&kept->offsets, uint64_t, at) + (address - runs[at].first));
    return true;
}
