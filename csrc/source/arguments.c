/* Command line and environment in memory (see arguments.h). */
#include "arguments.h"

#include <string.h>

#include "../api/engine.h"
#include "../base/arith.h"

enum { PATH_BYTES = 4096 }; /* PATH_MAX of Linux */

typedef struct part {
    uint64_t first, end;
} part;

/* Where the kernel put the strings of exec(2), and nothing between them (fs/exec.c, fs/binfmt_elf.c): arguments,
 * environment, and the program's name, which AT_EXECFN points at. Below them are bytes of AT_RANDOM and AT_PLATFORM. */
static part initial_block(const mdc_start *start) {
    const part none = {0, 0};
    uint64_t low;
    if (start->random == 0 || !mdc_add_u64(start->random, 16, &low)) return none;
    low = mdc_max_u64(low, start->platform);
    if (low <= start->stack || start->execfn <= low || start->execfn - low > MDC_ARGUMENTS_MAX) return none;
    return (part){low, start->execfn};
}

static bool within(const part *block, uint64_t first, uint64_t end) {
    return first >= block->first && first < end && end <= block->end;
}

static mdc_status add(mdc_vec *copies, uint32_t stream, uint64_t first, uint64_t end, mdc_error *err) {
    if (first >= end) return MDC_OK;
    mdc_copy copy = {.stream = stream, .span = {first, end - first}};
    return mdc_vec_push(copies, &copy, 1, NULL, err);
}

/* As get_mm_cmdline of fs/proc/base.c: where the arguments' last byte is no NUL, a title was written over them, which
 * may go on where the environment was, and is a page long at most. *end: of it; the arguments' without a title. */
static mdc_status find_title(const mdc_start *start, const mdc_target_view *view, uint64_t *end, mdc_error *err) {
    char title[MDC_PAGE_SIZE];
    size_t done;
    *end = start->arg_end;
    if (start->arg_start >= start->arg_end) return MDC_OK;
    mdc_status status = view->read(view->context, start->arg_end - 1, title, 1, &done, err);
    if (status != MDC_OK || done != 1 || title[0] == '\0') return status;
    bool follows = start->env_start == start->arg_end && start->env_end >= start->env_start;
    uint64_t room = (follows ? start->env_end : start->arg_end) - start->arg_start;
    status = view->read(view->context, start->arg_start, title, (size_t)mdc_min_u64(room, sizeof title), &done, err);
    if (status != MDC_OK || done == 0) return status;
    const char *nul = memchr(title, 0, done);
    size_t length = nul != NULL ? (size_t)(nul - title) : done;
    *end = start->arg_start + length + (length < done);
    return MDC_OK;
}

/* The arguments, a title over them, and the program's name: a script's is what was typed. */
static mdc_status add_cmdline(mdc_vec *copies, const mdc_start *start, const part *block, uint64_t title_end,
                              const mdc_target_view *view, mdc_error *err) {
    const uint32_t stream = MDC_STREAM_CMDLINE;
    if (add(copies, stream, start->arg_start, mdc_max_u64(start->arg_end, title_end), err) != MDC_OK) return err->code;
    if (block->end == 0) return MDC_OK;
    bool moved = !within(block, start->arg_start, start->arg_end);
    uint64_t border = within(block, start->env_start, start->env_end) ? start->env_start : block->end;
    if (moved && add(copies, stream, block->first, border, err) != MDC_OK) return err->code;
    int64_t at = mdc_regions_at(view->regions, block->end);
    if (at < 0) return MDC_OK;
    const mdc_region *region = &mdc_vec_at(view->regions, mdc_region, at);
    uint64_t end = mdc_min_u64(region->base + region->size, block->end + PATH_BYTES);
    return add(copies, stream, block->end, end, err);
}

static mdc_status add_environ(mdc_vec *copies, const mdc_start *start, const part *block, mdc_error *err) {
    const uint32_t stream = MDC_STREAM_ENVIRON;
    /* What a text has no room for. */
    if (start->env_end > start->env_start && start->env_end - start->env_start > MDC_ARGUMENTS_MAX &&
        add(copies, stream, start->env_start + MDC_ARGUMENTS_MAX, start->env_end, err) != MDC_OK)
        return err->code;
    if (block->end == 0) return MDC_OK;
    uint64_t border = within(block, start->arg_start, start->arg_end) ? start->arg_end : block->first;
    if (!within(block, start->env_start, start->env_end)) return add(copies, stream, border, block->end, err);
    if (border != block->first && add(copies, stream, border, start->env_start, err) != MDC_OK) return err->code;
    return add(copies, stream, start->env_end, block->end, err);
}

mdc_status mdc_arguments_find(mdc_vec *copies, mdc_vec *texts, const mdc_start *start, const mdc_target_view *view,
                              mdc_error *err) {
    const part block = initial_block(start);
    uint64_t title_end;
    copies->count = 0;
    if (find_title(start, view, &title_end, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < texts->count; i++) {
        mdc_text *text = &mdc_vec_at(texts, mdc_text, i);
        if (text->stream == MDC_STREAM_CMDLINE)
            text->size = mdc_min_u64(title_end - start->arg_start, MDC_ARGUMENTS_MAX);
    }
    if (add_cmdline(copies, start, &block, title_end, view, err) != MDC_OK) return err->code;
    return add_environ(copies, start, &block, err);
}

mdc_status mdc_auxv_find(mdc_read_memory read, void *context, uint64_t from, uint64_t strings, const uint8_t *auxv,
                         size_t size, uint64_t *found, mdc_error *err) {
    enum { WINDOW = 32 * 1024, ENTRY_MIN = 8 };
    uint8_t window[WINDOW];
    *found = 0;
    if (size < 2 * ENTRY_MIN || size > WINDOW / 2) return MDC_OK;
    uint64_t at = from & ~UINT64_C(3);
    /* Without the strings' address: argc and a few thousand pointers. */
    uint64_t end = strings > at ? strings : at + 2 * WINDOW;
    end = mdc_min_u64(end, at + MDC_ARGUMENTS_MAX);
    if (at == 0 || end < at) return MDC_OK;
    while (end - at >= size) {
        /* Page by page: between the vector and the strings there may be pages never touched. */
        uint64_t pages = mdc_page_up(at + size) - at;
        size_t want = (size_t)mdc_min_u64(mdc_min_u64(end - at, pages), sizeof window), got;
        if (read(context, at, window, want, &got, err) != MDC_OK) return err->code;
        if (got < size) break;
        for (size_t i = 0; i + size <= got; i += 4) {
            if (memcmp(window + i, auxv, size) != 0) continue;
            *found = at + i;
            return MDC_OK;
        }
        /* The last bytes may hold the beginning of it: they come again. */
        at += (got - size + 4) & ~(size_t)3;
    }
    return MDC_OK;
}
