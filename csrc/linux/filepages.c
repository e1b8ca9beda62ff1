/* Pages that only the file has (see filepages.h). */
#include "filepages.h"

#include <fcntl.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "mapfiles.h"
#include "pagemap.h"

/* The pages of one region that are there, turned into those that are not. */
typedef struct finder {
    mdc_vec *runs;
    uint64_t at; /* up to here it is known */
} finder;

static mdc_status add_to(finder *self, uint64_t end, mdc_error *err) {
    mdc_content run = {.first = self->at, .end = end, .what = MDC_CONTENT_IN_FILE};
    if (run.first >= run.end) return MDC_OK;
    return mdc_vec_push(self->runs, &run, 1, NULL, err);
}

static mdc_status take(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    finder *self = context;
    (void)categories;
    mdc_status status = add_to(self, first, err);
    self->at = mdc_max_u64(self->at, end);
    return status;
}

static bool has_identity(const mdc_vec *modules, uint64_t address) {
    for (size_t i = 0; i < modules->count; i++) {
        const mdc_module *module = &mdc_vec_at(modules, const mdc_module, i);
        if (address >= module->base && address - module->base < module->size)
            return module->build_id_size > 0 && module->hashed == 0;
    }
    return false;
}

mdc_status mdc_filepages_find(mdc_vec *runs, int proc, const mdc_mappings *mappings, const mdc_vec *modules,
                              mdc_error *err) {
    /* Private and written pages of a file mapping are present or swapped. */
    const mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED, .control = mappings->control};
    const mdc_region *regions = mappings->regions.data;
    runs->count = 0;
    int fd = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    mdc_status status = MDC_OK;
    for (size_t i = 0; fd >= 0 && status == MDC_OK && i < mappings->regions.count; i++) {
        const mdc_region *region = &regions[i];
        if (region->type != MDC_MEM_IMAGE || region->inode == 0 || (region->facts & MDC_FACT_DELETED) != 0 ||
            (region->flags & MDC_REGION_NEVER_READ) != 0 || !has_identity(modules, region->base) ||
            !mdc_mapped_file_stays(mappings, proc, region))
            continue;
        size_t before = runs->count;
        int os_errno = 0;
        finder self = {runs, region->base};
        uint64_t end = region->base + mdc_min_u64(mdc_page_up(region->valid_size), region->size);
        status = mdc_pagemap_scan(fd, region->base, end, &query, take, &self, &os_errno, err);
        if (status == MDC_OK && os_errno == 0) status = add_to(&self, end, err);
        if (os_errno != 0) runs->count = before;
    }
    if (fd >= 0) close(fd);
    return status;
}

static size_t find(const mdc_vec *known, uint64_t address) {
    const mdc_content *all = known->data;
    size_t at;
    mdc_lower_bound(at, 0, known->count, all[at].end <= address);
    return at;
}

void mdc_filepages_cut(const mdc_vec *known, mdc_content *run) {
    size_t at = find(known, run->first);
    if (run->what == MDC_CONTENT_UNAVAILABLE || run->what == MDC_CONTENT_UNTOUCHED || at == known->count) return;
    const mdc_content *found = &mdc_vec_at(known, const mdc_content, at);
    if (found->first > run->first) {
        run->end = mdc_min_u64(run->end, found->first);
        return;
    }
    run->end = mdc_min_u64(run->end, found->end);
    run->what = MDC_CONTENT_IN_FILE;
}
