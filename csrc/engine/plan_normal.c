/* The memory of a Normal dump: stacks, instruction windows, the vdso, what bits of the type ask for and what Memory
 * adds, byte-exact, without what RemoveMemory takes away. A callee that speaks MDC_EXT_PIECES is asked IncludeVmRegion
 * about each piece; one that speaks MDC_EXT_OPTIONAL about every region as well, of which it may have whole pages. */
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/os_error.h"
#include "include_region.h"
#include "plan.h"

static const char not_there[] = "should be added to the dump, but is not mapped";

enum {
    WINDOW = 256, /* bytes around an instruction pointer, as Breakpad stores them */
    REGIONS_PER_CHECK = 64
};

/* Pieces that are treated alike: a set of ranges. */
typedef struct pieces {
    const mdc_vec *ranges;
    uint32_t fact_flags;
    bool asked; /* the callee wants them: it is not asked again */
    size_t next;
} pieces;

typedef struct kept_piece {
    mdc_plan *plan;
    uint32_t extent_flags;
    uint64_t bytes;
} kept_piece;

static mdc_status keep_piece(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    kept_piece *piece = context;
    piece->bytes += end - first;
    return mdc_plan_add(piece->plan, region, first, end, piece->extent_flags, err);
}

/* One part of a piece that lies in one region. */
static mdc_status add_in_region(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, const pieces *of,
                                uint32_t extent_flags, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    const uint32_t fact_flags = of->fact_flags;
    if ((fact_flags & MDC_FACT_ADDED) != 0 && capture->regions[region].state != MDC_MEM_COMMIT &&
        capture->lists->system->platform == MDC_PLATFORM_WINDOWS) /* elsewhere a reservation reads as zeros */
        return mdc_gaps_ask(plan->gaps, first, end, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err);
    if (mdc_regions_closed(capture, region)) return MDC_OK;
    end = mdc_min_u64(end, mdc_region_end(&capture->regions[region]));
    if (first >= end) return MDC_OK;
    if ((fact_flags & MDC_FACT_ADDED) != 0) extent_flags |= MDC_EXTENT_ADDED;
    if (of->asked || (capture->engine->calls.extensions & MDC_EXT_PIECES) == 0)
        return mdc_plan_add(plan, region, first, end, extent_flags, err);
    kept_piece piece = {plan, extent_flags, 0};
    if (mdc_include_region(capture, region, first, end, fact_flags | MDC_FACT_PIECE, keep_piece, &piece, err) != MDC_OK)
        return err->code;
    if (piece.bytes < end - first) plan->outcomes[region].flags |= MDC_REGION_NARROWED;
    return MDC_OK;
}

static mdc_status add_piece(mdc_plan *plan, mdc_set_range range, const pieces *of, uint32_t extent_flags,
                            mdc_error *err) {
    while (range.first < range.end) {
        int64_t found = mdc_regions_find(plan->capture, range.first);
        uint64_t stop;
        if (found != MDC_NO_REGION) {
            const mdc_region *region = &plan->capture->regions[found];
            stop = mdc_min_u64(range.end, region->base + region->size);
            if (add_in_region(plan, (size_t)found, range.first, stop, of, extent_flags, err) != MDC_OK)
                return err->code;
        } else {
            size_t at; /* up to the next region */
            mdc_lower_bound(at, 0, plan->capture->region_count, plan->capture->regions[at].base <= range.first);
            stop =
                at < plan->capture->region_count ? mdc_min_u64(range.end, plan->capture->regions[at].base) : range.end;
            if (mdc_gaps_ask(plan->gaps, range.first, stop, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err) !=
                MDC_OK)
                return err->code;
        }
        range.first = stop;
    }
    return mdc_calls_poll(&plan->engine->calls, err);
}

static mdc_status add_window(const mdc_plan *plan, mdc_vec *windows, uint64_t at, mdc_error *err) {
    int64_t found = at == 0 ? MDC_NO_REGION : mdc_regions_find(plan->capture, at);
    if (found == MDC_NO_REGION) return MDC_OK; /* a wild jump: nothing there to show */
    const mdc_region *region = &plan->capture->regions[found];
    mdc_set_range range = {at - region->base < WINDOW / 2 ? region->base : at - WINDOW / 2,
                           region->base + region->size - at < WINDOW / 2 ? region->base + region->size
                                                                         : at + WINDOW / 2};
    return mdc_vec_push(windows, &range, 1, NULL, err);
}

/* The vdso: no file has it, and without it stacks of threads inside of it cannot be walked. */
static mdc_status find_vdso(mdc_plan *plan, mdc_vec *windows, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        int64_t found = capture->modules[i].write != 0 ? mdc_regions_find(capture, module->base) : MDC_NO_REGION;
        if (found == MDC_NO_REGION || (capture->kinds[found] & MDC_KIND_VDSO) == 0) continue;
        const mdc_region *region = &capture->regions[found];
        mdc_set_range range = {region->base, region->base + region->size};
        if (mdc_vec_push(windows, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status find_windows(mdc_plan *plan, mdc_vec *windows, mdc_error *err) {
    const mdc_crash *crash = &plan->capture->crash;
    if (mdc_type_memory(plan->reader, windows, &plan->warnings, err) != MDC_OK ||
        find_vdso(plan, windows, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < plan->capture->lists->thread_count; i++) {
        if ((plan->capture->threads[i].write & MDC_THREAD_WRITE_INSTRUCTION_WINDOW) == 0) continue;
        if (add_window(plan, windows, plan->capture->lists->threads[i].instruction_pointer, err) != MDC_OK ||
            (crash->instruction_pointer != 0 && crash->thread == i &&
             add_window(plan, windows, crash->instruction_pointer, err) != MDC_OK))
            return err->code;
    }
    mdc_range_set_normalise(windows);
    return MDC_OK;
}

typedef struct kept_ranges {
    const mdc_calls *calls;
    mdc_vec *ranges; /* mdc_set_range */
} kept_ranges;

static mdc_status take_optional(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    kept_ranges *kept = context;
    mdc_set_range range = {first, end};
    (void)region;
    /* A callee that ends the questions keeps what the dump has, and not what it could have. */
    return kept->calls->ask_regions ? mdc_vec_push(kept->ranges, &range, 1, NULL, err) : MDC_OK;
}

/* What the callee wants of the memory that this type of dump does not have. */
static mdc_status find_optional(mdc_plan *plan, mdc_vec *optional, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    const mdc_calls *calls = &capture->engine->calls;
    kept_ranges kept = {calls, optional};
    if ((calls->extensions & MDC_EXT_OPTIONAL) == 0) return MDC_OK;
    for (size_t i = 0; i < capture->region_count && calls->ask_regions; i++) {
        const mdc_region *region = &capture->regions[i];
        if (i % REGIONS_PER_CHECK == 0 && mdc_control_check(capture->engine->control, err) != MDC_OK) return err->code;
        if (!mdc_regions_closed(capture, i) &&
            mdc_include_region(capture, i, region->base, mdc_region_end(region), MDC_FACT_OPTIONAL, take_optional,
                               &kept, err) != MDC_OK)
            return err->code;
    }
    mdc_range_set_normalise(optional);
    return MDC_OK;
}

/* All of them in address order; the sets are disjoint. */
static mdc_status add_all(mdc_plan *plan, pieces *sets, size_t count, uint32_t extent_flags, mdc_error *err) {
    for (;;) {
        pieces *least = NULL;
        mdc_set_range range = {0, 0};
        for (size_t i = 0; i < count; i++) {
            if (sets[i].next == sets[i].ranges->count) continue;
            mdc_set_range head = mdc_vec_at(sets[i].ranges, const mdc_set_range, sets[i].next);
            if (least != NULL && range.first <= head.first) continue;
            least = &sets[i];
            range = head;
        }
        if (least == NULL) return MDC_OK;
        least->next++;
        if (add_piece(plan, range, least, extent_flags, err) != MDC_OK) return err->code;
    }
}

/* *out: `from` without these; scratch is used. */
static mdc_status without(mdc_vec *out, const mdc_vec *from, const mdc_vec *const *less, size_t count, mdc_vec *scratch,
                          mdc_error *err) {
    out->count = 0;
    if (mdc_vec_push(out, from->data, from->count, NULL, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < count; i++) {
        scratch->count = 0;
        if (mdc_range_set_subtract(scratch, out, less[i], err) != MDC_OK) return err->code;
        out->count = 0;
        if (mdc_vec_push(out, scratch->data, scratch->count, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

enum { STACKS, KEEP_STACKS, PLAIN, BOTH, BLOCKS, WINDOWS, KEEP_WINDOWS, OPTIONAL, KEEP_OPTIONAL, SCRATCH, SETS };

static mdc_status plan_sets(mdc_plan *plan, mdc_vec *sets, mdc_error *err) {
    const mdc_vec *added = &plan->capture->added, *removed = &plan->capture->removed;
    mdc_vec *stacks = &sets[STACKS], *windows = &sets[WINDOWS], *optional = &sets[OPTIONAL], *scratch = &sets[SCRATCH];
    for (size_t i = 0; i < plan->capture->stacks.count; i++) {
        const mdc_stack *stack = &mdc_vec_at(&plan->capture->stacks, const mdc_stack, i);
        mdc_set_range range = {stack->first, stack->end};
        if (mdc_vec_push(stacks, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (find_windows(plan, windows, err) != MDC_OK || find_optional(plan, optional, err) != MDC_OK) return err->code;
    /* A byte is in one piece only. Inside a stack, what was added is asked about as such: plain = stacks - added,
     * both = stacks - plain; blocks = added - stacks; windows lose what is in either, and what the callee wants besides
     * what is in any. */
    const mdc_vec *keep_stacks = &sets[KEEP_STACKS], *plain = &sets[PLAIN];
    if (without(&sets[KEEP_STACKS], stacks, &removed, 1, scratch, err) != MDC_OK ||
        without(&sets[PLAIN], keep_stacks, &added, 1, scratch, err) != MDC_OK ||
        without(&sets[BOTH], keep_stacks, &plain, 1, scratch, err) != MDC_OK ||
        without(&sets[BLOCKS], added, (const mdc_vec *[]){stacks, removed}, 2, scratch, err) != MDC_OK ||
        without(&sets[KEEP_WINDOWS], windows, (const mdc_vec *[]){stacks, added, removed}, 3, scratch, err) != MDC_OK ||
        without(&sets[KEEP_OPTIONAL], optional, (const mdc_vec *[]){stacks, added, removed, windows}, 4, scratch,
                err) != MDC_OK)
        return err->code;
    pieces of_stacks[] = {{.ranges = &sets[BOTH], .fact_flags = MDC_FACT_ADDED}, {.ranges = plain}};
    pieces rest[] = {{.ranges = &sets[BLOCKS], .fact_flags = MDC_FACT_ADDED},
                     {.ranges = &sets[KEEP_WINDOWS]},
                     {.ranges = &sets[KEEP_OPTIONAL], .asked = true}};
    if (add_all(plan, of_stacks, 2, MDC_EXTENT_STACK, err) != MDC_OK) return err->code;
    return add_all(plan, rest, 3, MDC_EXTENT_BLOCK, err);
}

mdc_status mdc_plan_normal(mdc_plan *plan, mdc_error *err) {
    mdc_vec sets[SETS];
    for (size_t i = 0; i < SETS; i++) mdc_range_set_init(&sets[i]);
    mdc_status status = plan_sets(plan, sets, err);
    for (size_t i = 0; i < SETS; i++) mdc_vec_fini(&sets[i]);
    return status;
}
