/* Making the extents of a plan out of kept memory. */
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/os_error.h"
#include "plan.h"

mdc_status mdc_plan_put(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags, bool front,
                        mdc_error *err) {
    mdc_vec *vec = front ? &plan->stacks : &plan->all;
    mdc_extent *last = vec->count > 0 ? &mdc_vec_at(vec, mdc_extent, vec->count - 1) : NULL;
    bool joins = last != NULL && (last->flags | MDC_EXTENT_JOINED) == (flags | MDC_EXTENT_JOINED);
    if ((flags & MDC_EXTENT_JOINED) != 0 && joins && last->region == region && last->address + last->size == first) {
        last->size += end - first;
        return MDC_OK;
    }
    mdc_extent extent = {.address = first, .size = end - first, .region = (uint32_t)region, .flags = flags};
    return mdc_vec_push(vec, &extent, 1, NULL, err);
}

static mdc_status add_run(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags, mdc_error *err) {
    mdc_vec *vec = (flags & MDC_EXTENT_STACK) != 0 ? &plan->stacks : &plan->all;
    mdc_extent *last = vec->count > 0 ? &mdc_vec_at(vec, mdc_extent, vec->count - 1) : NULL;
    /* Regions of an existing dump may end inside of a stack, since it says less of them. */
    bool goes_on = last != NULL && last->address + last->size == first;
    if (goes_on && (last->region == region || plan->capture->lists->carried != NULL)) {
        bool new_stack = false;
        if ((flags & MDC_EXTENT_STACK) != 0) {
            /* A part that begins where another ends is a range of its own: a thread descriptor points at it. */
            const mdc_stack *stacks = plan->capture->stacks.data;
            size_t at;
            mdc_lower_bound(at, 0, plan->capture->stacks.count, stacks[at].first < first);
            new_stack = at < plan->capture->stacks.count && stacks[at].first == first;
        }
        if (!new_stack) {
            if (last->region == region && (last->flags | MDC_EXTENT_JOINED) == (flags | MDC_EXTENT_JOINED)) {
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
static bool may_leave(const mdc_plan *plan, size_t region) {
    const uint32_t wanted = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_CV_RECORD;
    const mdc_capture *capture = plan->capture;
    const mdc_engine_options *options = &capture->engine->options;
    if (options->file_pages != MDC_FILE_PAGES_RESIDENT || capture->engine->calls.serves_memory || options->hold > 0 ||
        plan->gaps->count >= options->gaps_max / 2)
        return false;
    uint64_t base = capture->regions[region].base;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        uint32_t write = capture->modules[i].write;
        if (base >= module->base && base - module->base < module->size)
            return module->build_id_size > 0 && module->hashed == 0 && (write & wanted) == wanted;
    }
    return false;
}

/* [first, end), which has one kind of content and is in the file: what may be read later apart from the rest. As with
 * holes, shorter runs are not worth a separate write. */
static mdc_status add_stored(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t what, uint32_t flags,
                             mdc_error *err) {
    const mdc_engine *engine = plan->engine;
    bool whole = ((first | end) & (MDC_PAGE_SIZE - 1)) == 0;
    uint64_t late_end = first;
    if (plan->late && (what == MDC_CONTENT_FILE || what == MDC_CONTENT_IN_FILE) && whole &&
        (flags & MDC_EXTENT_STACK) == 0 && end - first >= engine->options.hole_min)
        late_end = mdc_min_u64(end, mdc_page_down(engine->source->ops->late->end(engine->source, region)));
    if (late_end <= first || late_end - first < engine->options.hole_min) late_end = first;
    if (late_end > first && add_run(plan, region, first, late_end, flags | MDC_EXTENT_LATE, err) != MDC_OK)
        return err->code;
    return late_end < end ? add_run(plan, region, late_end, end, flags, err) : MDC_OK;
}

/* What a file no longer holds, or never did. */
static mdc_status miss(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t what, mdc_error *err) {
    const bool cut = what == MDC_CONTENT_CUT;
    plan->outcomes[region].kept += end - first;
    return mdc_gaps_ask(plan->gaps, first, end, cut ? MDC_GAP_CUT : MDC_GAP_READ_FAILED, cut ? 0 : MDC_OS_FAULT,
                        cut ? "is beyond the end of the file, which was cut" : "is not in the file", err);
}

static mdc_status add_content(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags,
                              mdc_error *err) {
    mdc_content runs[64];
    const mdc_engine *engine = plan->engine;
    mdc_region_outcome *outcome = &plan->outcomes[region];
    while (first < end) {
        uint64_t next = end;
        size_t count = 0;
        if (!plan->capture->queried)
            count = engine->source->ops->content(engine->source, region, mdc_page_down(first), mdc_page_up(end), runs,
                                                 sizeof runs / sizeof runs[0], &next);
        if (count == 0) {
            runs[0] = (mdc_content){.first = first, .end = end, .what = MDC_CONTENT_DATA};
            count = 1;
        }
        for (size_t i = 0; i < count && first < end; i++) {
            uint64_t stop;
            /* The content of a core or dump can change within a page. */
            if (runs[i].end <= first && i + 1 < count) continue;
            uint32_t what = run_kind(&runs[i], first, end, &stop), how = flags & ~(uint32_t)MDC_EXTENT_ADDED;
            uint64_t size = stop - first;
            /* A callee that serves memory itself may have some where the target has none; one that sees reads may
             * edit what is there. */
            if ((what == MDC_CONTENT_UNTOUCHED && !engine->calls.serves_memory) ||
                (what == MDC_CONTENT_ZERO && !engine->calls.wants_post_read)) {
                how |= size >= engine->options.hole_min ? MDC_EXTENT_HOLE : MDC_EXTENT_ZERO;
                outcome->untouched += size;
            }
            if (what == MDC_CONTENT_UNKNOWN && !engine->calls.serves_memory) {
                outcome->kept += size;
                bool slow = (plan->capture->regions[region].flags & MDC_REGION_SLOW_FILE) != 0;
                plan->warnings |= slow ? MDC_WARN_SLOW_FILES : MDC_WARN_UNKNOWN_MEMORY;
                if (mdc_gaps_ask(plan->gaps, first, stop, MDC_GAP_UNKNOWN, 0,
                                 "is not resident, and the mapped file cannot be read safely", err) != MDC_OK)
                    return err->code;
            } else if (what == MDC_CONTENT_CUT || (what == MDC_CONTENT_ABSENT && (flags & MDC_EXTENT_ADDED) != 0)) {
                if (miss(plan, region, first, stop, what, err) != MDC_OK) return err->code;
            } else if (what == MDC_CONTENT_IN_FILE && may_leave(plan, region)) {
                mdc_gaps_add(plan->gaps, first, size, MDC_GAP_LEFT_TO_FILE, 0);
                outcome->left_to_file += size;
            } else if (what != MDC_CONTENT_UNAVAILABLE && what != MDC_CONTENT_ABSENT) {
                outcome->kept += size;
                if (add_stored(plan, region, first, stop, what, how, err) != MDC_OK) return err->code;
            }
            first = stop;
        }
    }
    return MDC_OK;
}

mdc_status mdc_plan_add(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags, mdc_error *err) {
    const mdc_region *it = &plan->capture->regions[region];
    uint64_t valid_end = it->base + mdc_page_up(it->valid_size);
    uint64_t there = mdc_min_u64(end, valid_end);
    if (first < there && add_content(plan, region, first, there, flags, err) != MDC_OK) return err->code;
    if (there < first) there = first;
    if (there < end) {
        mdc_gaps_add(plan->gaps, there, end - there, MDC_GAP_BEYOND_EOF, 0);
        plan->outcomes[region].kept += end - there;
    }
    return MDC_OK;
}

void mdc_plan_init(mdc_plan *plan, const mdc_capture *capture, mdc_reader *reader, mdc_gaps *gaps) {
    plan->engine = capture->engine;
    plan->capture = capture;
    plan->reader = reader;
    plan->gaps = gaps;
    mdc_vec_init(&plan->stacks, sizeof(mdc_extent));
    mdc_vec_init(&plan->all, sizeof(mdc_extent));
    mdc_vec_init(&plan->cut, sizeof(mdc_extent));
    mdc_vec_init(&plan->chains, sizeof(mdc_chain));
    mdc_vec_init(&plan->cut_chains, sizeof(mdc_chain));
}

void mdc_plan_fini(mdc_plan *plan) {
    mdc_vec_fini(&plan->stacks);
    mdc_vec_fini(&plan->all);
    mdc_vec_fini(&plan->cut);
    mdc_vec_fini(&plan->chains);
    mdc_vec_fini(&plan->cut_chains);
    mdc_dealloc(plan->outcomes);
}

mdc_status mdc_plan_begin(mdc_plan *plan, mdc_error *err) {
    const mdc_engine *engine = plan->engine;
    /* Callees that see reads see them in the order of the file, with what lies around them in memory. */
    plan->late = engine->options.late_files != 0 && engine->full && !engine->calls.wants_post_read &&
                 engine->source->ops->late != NULL && engine->patchable;
    plan->outcomes = mdc_alloc(plan->capture->region_count, sizeof *plan->outcomes, err);
    return plan->outcomes != NULL ? MDC_OK : err->code;
}

/* Untouched runs are left out where holes cannot be: the ranges around them part. holes: they were to be holes. On a
 * stream they were not, unless the caller says so, and then they are written. */
static void omit_holes(mdc_plan *plan, bool holes) {
    bool broken = false;
    for (size_t i = 0; i < plan->extents.count; i++) {
        mdc_extent *extent = &mdc_vec_at(&plan->all, mdc_extent, i);
        if (broken) extent->flags &= ~(uint32_t)MDC_EXTENT_JOINED;
        broken = (extent->flags & MDC_EXTENT_HOLE) != 0;
        if (!broken) continue;
        extent->flags = (extent->flags & ~(uint32_t)(MDC_EXTENT_HOLE | MDC_EXTENT_JOINED)) | MDC_EXTENT_OMITTED;
        if (holes) plan->warnings |= MDC_WARN_NO_SPARSE;
    }
}

/* Holes of an existing dump are memory of it: where the output has none, zeros are written. */
static void fill_holes(mdc_plan *plan) {
    for (size_t i = 0; i < plan->extents.count; i++) {
        mdc_extent *extent = &mdc_vec_at(&plan->all, mdc_extent, i);
        if ((extent->flags & MDC_EXTENT_HOLE) != 0)
            extent->flags = (extent->flags & ~(uint32_t)MDC_EXTENT_HOLE) | MDC_EXTENT_ZERO;
    }
}

mdc_status mdc_plan_finish(mdc_plan *plan, mdc_error *err) {
    const mdc_engine *engine = plan->engine;
    /* Stacks in front of the rest, without a second copy of the rest, which is the long part. */
    size_t stacks = plan->stacks.count, rest = plan->all.count;
    if (mdc_vec_push(&plan->all, NULL, stacks, NULL, err) != MDC_OK) return err->code;
    mdc_extent *all = plan->all.data;
    if (rest > 0) memmove(all + stacks, all, rest * sizeof *all);
    if (stacks > 0) memcpy(all, plan->stacks.data, stacks * sizeof *all);
    mdc_vec_fini(&plan->stacks);
    mdc_vec_trim(&plan->all);
    plan->extents = (mdc_extents){.all = plan->all.data, .count = plan->all.count, .stack_count = stacks};
    uint64_t total = 0;
    bool fits = true;
    for (size_t i = 0; i < plan->extents.count; i++)
        fits = fits && mdc_add_u64(total, plan->extents.all[i].size, &total);
    /* Holes make a file longer: not where its length is limited. */
    bool holes = engine->options.untouched == MDC_UNTOUCHED_HOLE ||
                 (engine->options.untouched == MDC_UNTOUCHED_AUTO && engine->sparse && engine->options.max_bytes == 0);
    if (engine->held) {
        if (!engine->sparse) fill_holes(plan);
    } else if (!holes || !fits || total >= engine->options.sparse_max) {
        omit_holes(plan, holes);
    }
    return MDC_OK;
}

/* The extent of [low, high) that holds the address, or NULL. */
static const mdc_extent *find_in(const mdc_extents *extents, size_t low, size_t high, uint64_t address) {
    const mdc_extent *all = extents->all;
    size_t at; /* the first that ends after the address */
    mdc_lower_bound(at, low, high, all[at].address + all[at].size <= address);
    return at < high && all[at].address <= address ? &all[at] : NULL;
}

const mdc_chain *mdc_extents_chain(const mdc_extents *extents, uint64_t address) {
    size_t at;
    mdc_lower_bound(at, 0, extents->chain_count, extents->chains[at].address <= address);
    return at > 0 ? &extents->chains[at - 1] : NULL;
}

const mdc_extent *mdc_extents_find(const mdc_extents *extents, uint64_t address) {
    if (extents->chains != NULL) {
        const mdc_chain *chain = mdc_extents_chain(extents, address);
        return chain != NULL ? find_in(extents, chain->first, chain->end, address) : NULL;
    }
    const mdc_extent *found = find_in(extents, 0, extents->stack_count, address);
    return found != NULL ? found : find_in(extents, extents->stack_count, extents->count, address);
}

bool mdc_extents_cover(const mdc_extents *extents, uint64_t first, uint64_t end) {
    while (first < end) {
        const mdc_extent *extent = mdc_extents_find(extents, first);
        if (extent == NULL) return false;
        first = extent->address + extent->size;
    }
    return true;
}
