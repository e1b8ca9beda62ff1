/* Extents: runs of kept memory by what is in them, with their place in the file. Stacks first, then the rest. */
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "dump_state.h"

static mdc_status add_run(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t flags, mdc_error *err) {
    mdc_vec *vec = (flags & MDC_EXTENT_STACK) != 0 ? &dump->extents : &dump->rest_extents;
    mdc_extent *last = vec->count > 0 ? &mdc_vec_at(vec, mdc_extent, vec->count - 1) : NULL;
    if (last != NULL && last->address + last->size == first && last->region == region) {
        bool new_stack = false;
        if ((flags & MDC_EXTENT_STACK) != 0) {
            /* A part that begins where another ends is a range of its own: a thread descriptor points at it. */
            const mdc_stack *stacks = dump->stacks.data;
            size_t at;
            mdc_lower_bound(at, 0, dump->stacks.count, stacks[at].first < first);
            new_stack = at < dump->stacks.count && stacks[at].first == first;
        }
        if (!new_stack) {
            if ((last->flags | MDC_EXTENT_JOINED) == (flags | MDC_EXTENT_JOINED)) {
                last->size += end - first;
                return MDC_OK;
            }
            flags |= MDC_EXTENT_JOINED;
        }
    }
    mdc_extent extent = {.address = first, .size = end - first, .region = (uint32_t)region, .flags = flags};
    return mdc_vec_push(vec, &extent, 1, NULL, err);
}

/* Checks a run of a hostile source: it has to begin where the last one ended and make way. */
static uint32_t run_kind(const mdc_content *run, uint64_t first, uint64_t end, uint64_t *stop) {
    bool sound = run->first <= first && run->end > first;
    *stop = sound ? mdc_min_u64(run->end, end) : end;
    return sound ? run->what : MDC_CONTENT_DATA;
}

/* A page that is left to the file must be found again: by a module of the dump that says which file it is. And gaps of
 * other reasons must find room in the table. A pattern that lies across its border would be stored in part. */
static bool may_leave(const mdc_dump *dump, size_t region) {
    const uint32_t wanted = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_CV_RECORD;
    if (dump->options.file_pages != MDC_FILE_PAGES_RESIDENT || dump->calls.serves_memory || dump->options.hold > 0 ||
        dump->gap_count >= dump->options.gaps_max / 2)
        return false;
    uint64_t base = dump->regions[region].base;
    for (size_t i = 0; i < dump->lists->module_count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        uint32_t write = mdc_vec_at(&dump->module_plans, const mdc_module_plan, i).write;
        if (base >= module->base && base - module->base < module->size)
            return module->build_id_size > 0 && (write & wanted) == wanted;
    }
    return false;
}

/* [first, end), which has one kind of content and is in the file: what may be read later apart from the rest. As with
 * holes, shorter runs are not worth a separate write. */
static mdc_status add_stored(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t what, uint32_t flags,
                             mdc_error *err) {
    const mdc_source *source = dump->source;
    bool whole = ((first | end) & (MDC_PAGE_SIZE - 1)) == 0;
    uint64_t late_end = first;
    if (dump->late && (what == MDC_CONTENT_FILE || what == MDC_CONTENT_IN_FILE) && whole &&
        (flags & MDC_EXTENT_STACK) == 0 && end - first >= dump->options.hole_min)
        late_end = mdc_min_u64(end, mdc_page_down(source->ops->late->end(dump->source, region)));
    if (late_end <= first || late_end - first < dump->options.hole_min) late_end = first;
    if (late_end > first && add_run(dump, region, first, late_end, flags | MDC_EXTENT_LATE, err) != MDC_OK)
        return err->code;
    return late_end < end ? add_run(dump, region, late_end, end, flags, err) : MDC_OK;
}

static mdc_status add_content(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t flags,
                              mdc_error *err) {
    mdc_content runs[64];
    mdc_report_region *report = &mdc_vec_at(&dump->report_regions, mdc_report_region, region);
    while (first < end) {
        uint64_t next = end;
        size_t count = 0;
        if (dump->queried.count == 0)
            count = dump->source->ops->content(dump->source, region, mdc_page_down(first), mdc_page_up(end), runs,
                                               sizeof runs / sizeof runs[0], &next);
        if (count == 0) {
            runs[0] = (mdc_content){.first = first, .end = end, .what = MDC_CONTENT_DATA};
            count = 1;
        }
        for (size_t i = 0; i < count && first < end; i++) {
            uint64_t stop;
            uint32_t what = run_kind(&runs[i], first, end, &stop), how = flags;
            uint64_t size = stop - first;
            /* A callee that serves memory itself may have some where the target has none; one that sees reads may
             * edit what is there. */
            if ((what == MDC_CONTENT_UNTOUCHED && !dump->calls.serves_memory) ||
                (what == MDC_CONTENT_ZERO && !dump->calls.wants_post_read)) {
                how |= size >= dump->options.hole_min ? MDC_EXTENT_HOLE : MDC_EXTENT_ZERO;
                report->untouched += size;
            }
            if (what == MDC_CONTENT_UNKNOWN && !dump->calls.serves_memory) {
                report->kept += size;
                dump->warnings |=
                    (report->flags & MDC_REGION_SLOW_FILE) != 0 ? MDC_WARN_SLOW_FILES : MDC_WARN_UNKNOWN_MEMORY;
                if (mdc_gaps_ask(dump, first, stop, MDC_GAP_UNKNOWN, 0,
                                 "is not resident, and the mapped file cannot be read safely", err) != MDC_OK)
                    return err->code;
            } else if (what == MDC_CONTENT_IN_FILE && may_leave(dump, region)) {
                mdc_gaps_add(dump, first, size, MDC_GAP_LEFT_TO_FILE, 0);
                report->left_to_file += size;
            } else if (what != MDC_CONTENT_UNAVAILABLE) {
                report->kept += size;
                if (add_stored(dump, region, first, stop, what, how, err) != MDC_OK) return err->code;
            }
            first = stop;
        }
    }
    return MDC_OK;
}

mdc_status mdc_extents_add(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t flags,
                           mdc_error *err) {
    const mdc_region *it = &dump->regions[region];
    uint64_t valid_end = it->base + mdc_page_up(it->valid_size);
    uint64_t there = mdc_min_u64(end, valid_end);
    if (first < there && add_content(dump, region, first, there, flags, err) != MDC_OK) return err->code;
    if (there < first) there = first;
    if (there < end) {
        mdc_gaps_add(dump, there, end - there, MDC_GAP_BEYOND_EOF, 0);
        mdc_vec_at(&dump->report_regions, mdc_report_region, region).kept += end - there;
    }
    return MDC_OK;
}

/* Untouched runs are left out where holes cannot be: the ranges around them part. holes: they were to be holes. On a
 * stream they were not, unless the caller says so, and then they are written. */
static void omit_holes(mdc_dump *dump, bool holes) {
    bool broken = false;
    for (size_t i = 0; i < dump->extents.count; i++) {
        mdc_extent *extent = &mdc_vec_at(&dump->extents, mdc_extent, i);
        if (broken) extent->flags &= ~(uint32_t)MDC_EXTENT_JOINED;
        broken = (extent->flags & MDC_EXTENT_HOLE) != 0;
        if (!broken) continue;
        extent->flags = (extent->flags & ~(uint32_t)(MDC_EXTENT_HOLE | MDC_EXTENT_JOINED)) | MDC_EXTENT_OMITTED;
        if (holes) dump->warnings |= MDC_WARN_NO_SPARSE;
    }
}

mdc_status mdc_extents_finish(mdc_dump *dump, mdc_error *err) {
    /* Stacks in front of the rest, without a second copy of the rest, which is the long part. */
    size_t stacks = dump->stack_extents = dump->extents.count, rest = dump->rest_extents.count;
    if (mdc_vec_push(&dump->rest_extents, NULL, stacks, NULL, err) != MDC_OK) return err->code;
    mdc_extent *all = dump->rest_extents.data;
    if (rest > 0) memmove(all + stacks, all, rest * sizeof *all);
    if (stacks > 0) memcpy(all, dump->extents.data, stacks * sizeof *all);
    mdc_vec_fini(&dump->extents);
    dump->extents = dump->rest_extents;
    mdc_vec_init(&dump->rest_extents, sizeof(mdc_extent));
    mdc_vec_trim(&dump->extents);
    uint64_t total = 0;
    bool fits = true;
    for (size_t i = 0; i < dump->extents.count; i++)
        fits = fits && mdc_add_u64(total, mdc_vec_at(&dump->extents, const mdc_extent, i).size, &total);
    bool holes = dump->options.untouched == MDC_UNTOUCHED_HOLE ||
                 (dump->options.untouched == MDC_UNTOUCHED_AUTO && dump->sink != NULL && dump->sink->sparse);
    if (!holes || !fits || total >= dump->options.sparse_max) omit_holes(dump, holes);
    return MDC_OK;
}

/* How far the extents [low, high) cover from `first` on. */
static uint64_t covered_to(const mdc_dump *dump, size_t low, size_t high, uint64_t first, uint64_t end) {
    const mdc_extent *all = dump->extents.data;
    size_t at;
    mdc_lower_bound(at, low, high, all[at].address + all[at].size <= first);
    size_t stop = at < dump->stack_extents ? dump->stack_extents : dump->extents.count;
    for (; at < stop && first < end && all[at].address <= first; at++) first = all[at].address + all[at].size;
    return first;
}

bool mdc_extents_cover(const mdc_dump *dump, uint64_t first, uint64_t end) {
    while (first < end) {
        uint64_t to = covered_to(dump, 0, dump->stack_extents, first, end);
        to = covered_to(dump, dump->stack_extents, dump->extents.count, to, end);
        if (to <= first) return false;
        first = to;
    }
    return true;
}
