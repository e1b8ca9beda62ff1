/* Command line and environment in memory (see arguments.h). */
#include "arguments.h"

#include <limits.h>
#include <string.h>

#include "../base/arith.h"

typedef struct part {
    uint64_t first, end;
} part;

/* Where the kernel put the strings of exec(2), and nothing between them (fs/exec.c, fs/binfmt_elf.c): arguments,
 * environment, and the program's name, which AT_EXECFN points at. Below them are bytes of AT_RANDOM and AT_PLATFORM. */
static part initial_block(const mdc_proc_files *texts, const mdc_process_stat *stat) {
    const part none = {0, 0};
    uint64_t low;
    if (texts->random == 0 || !mdc_add_u64(texts->random, 16, &low)) return none;
    low = mdc_max_u64(low, texts->platform);
    if (low <= stat->start_stack || texts->execfn <= low || texts->execfn - low > MDC_ARGUMENTS_MAX) return none;
    return (part){low, texts->execfn};
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
static mdc_status find_title(const mdc_process_stat *stat, mdc_memory *memory, const mdc_mappings *mappings,
                             uint64_t *end, mdc_error *err) {
    char title[MDC_PAGE_SIZE];
    size_t done;
    int32_t os_errno;
    *end = stat->arg_end;
    if (stat->arg_start >= stat->arg_end) return MDC_OK;
    mdc_span last = {stat->arg_end - 1, 1};
    mdc_status status = mdc_memory_read(memory, mappings, &last, 1, (uint8_t *)title, &done, &os_errno, err);
    if (status != MDC_OK || done != 1 || title[0] == '\0') return status;
    bool follows = stat->env_start == stat->arg_end && stat->env_end >= stat->env_start;
    uint64_t room = (follows ? stat->env_end : stat->arg_end) - stat->arg_start;
    mdc_span span = {stat->arg_start, mdc_min_u64(room, sizeof title)};
    status = mdc_memory_read(memory, mappings, &span, 1, (uint8_t *)title, &done, &os_errno, err);
    if (status != MDC_OK || done == 0) return status;
    size_t length = strnlen(title, done);
    *end = stat->arg_start + length + (length < done);
    return MDC_OK;
}

/* The arguments, a title over them, and the program's name: a script's is what was typed. */
static mdc_status add_cmdline(mdc_vec *copies, const mdc_process_stat *stat, const part *block, uint64_t title_end,
                              const mdc_mappings *mappings, mdc_error *err) {
    const uint32_t stream = MDC_STREAM_CMDLINE;
    if (add(copies, stream, stat->arg_start, mdc_max_u64(stat->arg_end, title_end), err) != MDC_OK) return err->code;
    if (block->end == 0) return MDC_OK;
    bool moved = !within(block, stat->arg_start, stat->arg_end);
    uint64_t border = within(block, stat->env_start, stat->env_end) ? stat->env_start : block->end;
    if (moved && add(copies, stream, block->first, border, err) != MDC_OK) return err->code;
    int64_t at = mdc_mappings_find(mappings, block->end);
    if (at < 0) return MDC_OK;
    const mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, at);
    uint64_t end = mdc_min_u64(region->base + region->size, block->end + PATH_MAX);
    return add(copies, stream, block->end, end, err);
}

static mdc_status add_environ(mdc_vec *copies, const mdc_process_stat *stat, const part *block, mdc_error *err) {
    const uint32_t stream = MDC_STREAM_ENVIRON;
    /* What a text has no room for. */
    if (stat->env_end > stat->env_start && stat->env_end - stat->env_start > MDC_ARGUMENTS_MAX &&
        add(copies, stream, stat->env_start + MDC_ARGUMENTS_MAX, stat->env_end, err) != MDC_OK)
        return err->code;
    if (block->end == 0) return MDC_OK;
    uint64_t border = within(block, stat->arg_start, stat->arg_end) ? stat->arg_end : block->first;
    if (!within(block, stat->env_start, stat->env_end)) return add(copies, stream, border, block->end, err);
    if (border != block->first && add(copies, stream, border, stat->env_start, err) != MDC_OK) return err->code;
    return add(copies, stream, stat->env_end, block->end, err);
}

mdc_status mdc_arguments_find(mdc_vec *copies, mdc_proc_files *texts, const mdc_process_stat *stat, mdc_memory *memory,
                              const mdc_mappings *mappings, mdc_error *err) {
    const part block = initial_block(texts, stat);
    uint64_t title_end;
    copies->count = 0;
    if (find_title(stat, memory, mappings, &title_end, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < texts->texts.count; i++) {
        mdc_text *text = &mdc_vec_at(&texts->texts, mdc_text, i);
        if (text->stream == MDC_STREAM_CMDLINE)
            text->size = mdc_min_u64(title_end - stat->arg_start, MDC_ARGUMENTS_MAX);
    }
    if (add_cmdline(copies, stat, &block, title_end, mappings, err) != MDC_OK) return err->code;
    return add_environ(copies, stat, &block, err);
}
