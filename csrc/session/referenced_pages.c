/* Pages that words point to (see referenced_pages.h). */
#include "referenced_pages.h"

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/protection.h"
#include "../engine/stack_pointers.h"

enum {
    LOOK = 64 << 10,         /* bytes of a stack at a time */
    CRASHED_MOST = 1 << 20,  /* bytes of one stack, from the stack pointer up */
    OTHERS_MOST = 128 << 10, /* the same of other threads */
    ALL_MOST = 8 << 20,      /* bytes of all of them */
    RANGES_MOST = 1 << 16
};

typedef struct looking {
    const mdc_cut_request *request;
    mdc_vec memory; /* mdc_set_range: what may be pointed to */
    mdc_vec *into;
    uint64_t left; /* bytes that may still be looked at */
    uint8_t *buffer;
    bool enough; /* no more ranges are noted */
} looking;

void mdc_referenced_init(mdc_referenced *referenced) {
    mdc_range_set_init(&referenced->crashed);
    mdc_range_set_init(&referenced->others);
}

void mdc_referenced_fini(mdc_referenced *referenced) {
    mdc_vec_fini(&referenced->crashed);
    mdc_vec_fini(&referenced->others);
}

/* Code and constants of images are in their files, and every return address leads there. */
static bool is_wanted(const mdc_report_region *region) {
    return region->type != MDC_MEM_IMAGE || (region->protect & MDC_PAGE_ANY_WRITE) != 0;
}

static mdc_status find_memory(looking *look, mdc_error *err) {
    const mdc_report *plan = look->request->plan;
    for (size_t i = 0; i < plan->extent_count; i++) {
        const mdc_extent *extent = &plan->extents[i];
        mdc_set_range range = {extent->address, extent->address + extent->size};
        if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_STACK)) != 0) continue;
        if (is_wanted(&plan->regions[extent->region]) && mdc_vec_push(&look->memory, &range, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    mdc_range_set_normalise(&look->memory);
    return MDC_OK;
}

static mdc_status look_at_word(void *context, uint64_t word, bool *enough, mdc_error *err) {
    looking *look = context;
    mdc_vec *into = look->into;
    const mdc_set_range *all = look->memory.data;
    if (look->memory.count == 0 || word < all[0].first || word >= all[look->memory.count - 1].end) return MDC_OK;
    if (into->count > 0 && mdc_vec_at(into, const mdc_set_range, into->count - 1).first + MDC_POINTED_BEFORE <= word &&
        mdc_vec_at(into, const mdc_set_range, into->count - 1).end > word + MDC_POINTED_AFTER)
        return MDC_OK;
    size_t found = mdc_range_set_find(&look->memory, word);
    if (found == look->memory.count || all[found].first > word) return MDC_OK;
    mdc_set_range range = {mdc_page_down(word < MDC_POINTED_BEFORE ? 0 : word - MDC_POINTED_BEFORE), UINT64_MAX};
    if (!mdc_add_u64(word, MDC_POINTED_AFTER, &range.end)) return MDC_OK;
    range.end = mdc_page_up(range.end);
    if (into->count >= RANGES_MOST) {
        mdc_range_set_normalise(into);
        *enough = into->count > RANGES_MOST / 2;
    }
    return mdc_vec_push(into, &range, 1, NULL, err);
}

static mdc_status look_at_words(looking *look, const uint8_t *bytes, size_t size, mdc_error *err) {
    return mdc_words_walk(bytes, size, look->request->word, look_at_word, look, &look->enough, err);
}

static mdc_status look_at_stack(looking *look, uint64_t first, uint64_t end, mdc_error *err) {
    while (first < end && look->left > 0 && !look->enough) {
        size_t size = (size_t)mdc_min_u64(mdc_min_u64(end - first, LOOK), look->left), done;
        if (look->request->peek(look->request->peek_context, first, look->buffer, size, &done, err) != MDC_OK ||
            look_at_words(look, look->buffer, done, err) != MDC_OK)
            return err->code;
        first += size;
        look->left -= size;
    }
    return MDC_OK;
}

/* Of an extent what lies in stacks of these threads; only what is in the plan is looked at. */
static mdc_status look_at_extent(looking *look, const mdc_extent *extent, bool crashed, mdc_error *err) {
    const mdc_cut_request *request = look->request;
    const uint64_t end = extent->address + extent->size;
    size_t at;
    if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_HOLE | MDC_EXTENT_ZERO)) != 0) return MDC_OK;
    mdc_lower_bound(at, 0, request->stack_count, request->stacks[at].end <= extent->address);
    for (; at < request->stack_count && request->stacks[at].first < end; at++) {
        const mdc_cut_stack *stack = &request->stacks[at];
        uint64_t most = crashed ? CRASHED_MOST : OTHERS_MOST;
        uint64_t stop = stack->end - stack->first > most ? stack->first + most : stack->end;
        if ((stack->crashed != 0) != crashed) continue;
        if (look_at_stack(look, mdc_max_u64(stack->first, extent->address), mdc_min_u64(stop, end), err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

static mdc_status look_for(looking *look, mdc_vec *into, bool crashed, mdc_error *err) {
    const mdc_cut_request *request = look->request;
    look->into = into;
    look->enough = false;
    for (size_t i = 0; i < request->register_count; i++)
        if (request->registers[i].crashed == crashed &&
            look_at_words(look, request->registers[i].bytes, request->registers[i].size, err) != MDC_OK)
            return err->code;
    for (size_t i = 0; i < request->plan->extent_count; i++)
        if (look_at_extent(look, &request->plan->extents[i], crashed, err) != MDC_OK) return err->code;
    mdc_range_set_normalise(into);
    return MDC_OK;
}

mdc_status mdc_referenced_find(mdc_referenced *referenced, const mdc_cut_request *request, mdc_error *err) {
    looking look = {.request = request, .left = ALL_MOST};
    mdc_range_set_init(&look.memory);
    look.buffer = mdc_alloc_buffer(LOOK, 1, err);
    mdc_status status = look.buffer != NULL ? find_memory(&look, err) : err->code;
    if (status == MDC_OK) status = look_for(&look, &referenced->crashed, true, err);
    if (status == MDC_OK) status = look_for(&look, &referenced->others, false, err);
    mdc_dealloc(look.buffer);
    mdc_vec_fini(&look.memory);
    return status;
}
