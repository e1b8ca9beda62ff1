/* MozSoftErrors: what a reader of the dump should know, as JSON in the form of minidump-writer: a list whose items are
 * names, or objects that hold a name and what belongs to it. Only if there is something to say.
 *
 * The names are those of MDC_GAP_* and MDC_WARN_*. Gaps beyond the end of a file and those left to one are no errors;
 * nothing is missing where the kernel does not report which pages were touched. An existing dump keeps what its writer
 * has said, and gets no other. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stream.h"

enum { GAPS_SHOWN = 1000, ITEM_BYTES = 128 };

static const struct {
    uint32_t flag;
    const char *name;
} warnings[] = {
    {MDC_WARN_MANY_THREADS, "MANY_THREADS"},
    {MDC_WARN_MANY_MODULES, "MANY_MODULES"},
    {MDC_WARN_MANY_RANGES, "MANY_RANGES"},
    {MDC_WARN_RANGES_ABOVE_4G, "RANGES_ABOVE_4G"},
    {MDC_WARN_NO_SPARSE, "NO_SPARSE"},
    {MDC_WARN_GAP_TABLE_FULL, "GAP_TABLE_FULL"},
    {MDC_WARN_UNKNOWN_MEMORY, "UNKNOWN_MEMORY"},
    {MDC_WARN_SLOW_FILES, "SLOW_FILES"},
    {MDC_WARN_MEMORY64, "MEMORY64"},
    {MDC_WARN_TYPE, "TYPE"},
    {MDC_WARN_NO_THREADS, "NO_THREADS"},
    {MDC_WARN_CUT, "CUT"},
    {MDC_WARN_SHARED_LATER, "SHARED_LATER"},
    {MDC_WARN_REFERENCED, "REFERENCED"},
};

static const char *reason_name(uint32_t reason) {
    return reason == MDC_GAP_READ_FAILED ? "READ_FAILED"
           : reason == MDC_GAP_TRUNCATED ? "TRUNCATED"
           : reason == MDC_GAP_CUT       ? "CUT"
                                         : "UNKNOWN";
}

static mdc_status put_item(mdc_vec *text, const char *item, mdc_error *err) {
    const char *before = text->count == 0 ? "[" : ",\n";
    if (mdc_vec_push(text, before, strlen(before), NULL, err) != MDC_OK) return err->code;
    return mdc_vec_push(text, item, strlen(item), NULL, err);
}

static mdc_status put_gaps(const mdc_gaps *gaps, mdc_vec *text, mdc_error *err) {
    char item[ITEM_BYTES];
    size_t shown = 0, more = 0;
    uint64_t over_budget = 0;
    for (size_t i = 0; i < gaps->count; i++) {
        const mdc_gap *gap = &gaps->all[i];
        if (gap->reason == MDC_GAP_BEYOND_EOF || gap->reason == MDC_GAP_LEFT_TO_FILE) continue;
        if (gap->reason == MDC_GAP_BUDGET) {
            over_budget += gap->size;
            continue;
        }
        if (shown == GAPS_SHOWN) {
            more++;
            continue;
        }
        shown++;
        snprintf(item, sizeof item,
                 "{\"%s\":{\"address\":\"0x%" PRIx64 "\",\"size\":%" PRIu64 ",\"errno\":%" PRId32 "}}",
                 reason_name(gap->reason), gap->address, gap->size, gap->os_errno);
        if (put_item(text, item, err) != MDC_OK) return err->code;
    }
    if (over_budget > 0) { /* in one item: a budget has no room for more of them */
        snprintf(item, sizeof item, "{\"BUDGET\":{\"size\":%" PRIu64 "}}", over_budget);
        if (put_item(text, item, err) != MDC_OK) return err->code;
    }
    if (more == 0) return MDC_OK;
    snprintf(item, sizeof item, "{\"MORE_GAPS\":%zu}", more);
    return put_item(text, item, err);
}

static mdc_status put_threads(const mdc_capture *capture, mdc_vec *text, mdc_error *err) {
    char item[ITEM_BYTES];
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        uint32_t write = capture->threads[i].write;
        if ((thread->flags & MDC_THREAD_NO_REGISTERS) == 0) continue;
        for (int stack = 0; stack < 2; stack++) {
            bool missing = stack ? (write & MDC_THREAD_WRITE_STACK) != 0 && thread->stack_pointer == 0
                                 : (write & MDC_THREAD_WRITE_CONTEXT) != 0;
            snprintf(item, sizeof item, "{\"%s\":{\"thread\":%" PRIu32 "}}",
                     stack ? "NO_THREAD_STACK" : "NO_THREAD_REGISTERS", thread->tid);
            if (missing && put_item(text, item, err) != MDC_OK) return err->code;
        }
    }
    return MDC_OK;
}

mdc_status mdc_soft_errors_text(const mdc_layout *layout, mdc_vec *text, mdc_error *err) {
    const mdc_gaps *gaps = layout->plan->gaps;
    uint32_t flags = layout->capture->warnings | layout->plan->warnings | layout->warnings;
    if (gaps->full) flags |= MDC_WARN_GAP_TABLE_FULL;
    text->count = 0;
    if (put_gaps(gaps, text, err) != MDC_OK || put_threads(layout->capture, text, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < sizeof warnings / sizeof warnings[0]; i++) {
        char item[ITEM_BYTES];
        snprintf(item, sizeof item, "\"%s\"", warnings[i].name);
        if ((flags & warnings[i].flag) != 0 && put_item(text, item, err) != MDC_OK) return err->code;
    }
    return text->count == 0 ? MDC_OK : mdc_vec_push(text, "]\n", 2, NULL, err);
}

/* The last that is built: others have noted their warnings. */
static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    size_t at;
    if (mdc_soft_errors_text(layout, &layout->soft_errors, err) != MDC_OK) return err->code;
    place->count = layout->soft_errors.count;
    if (place->count == 0) return MDC_OK;
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, layout->soft_errors.data, layout->soft_errors.count, &at, err) != MDC_OK)
        return err->code;
    return mdc_layout_stream(layout, MDC_STREAM_TYPE_MOZ_SOFT_ERRORS, at, place->count, &place->directory, err);
}

const mdc_stream mdc_stream_soft_errors = {.type = MDC_STREAM_TYPE_MOZ_SOFT_ERRORS, .build = build_stream};
