/* What the filter excludes goes from the finished file (see scrub.h). */
#include "scrub.h"

#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../callback/redaction.h"
#include "../source/describe.h"
#include "../windows/win_regions.h"
#include "scrub_items.h"

enum {
    CHUNK = 1 << 20,
    EVERYTHING = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES,
    REDACTING = MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY
};

typedef struct scrubber {
    mdc_scrub *scrub;
    mdc_callback *callback;
    mdc_proxy *proxy;
    mdc_staging_file *store;
    mdc_dump_control *control;
    const mdc_dump_reader *file;
    bool full;
    size_t hold;     /* bytes of a read that are shown again with the next */
    uint8_t *buffer; /* CHUNK bytes after `hold` bytes */
    uint8_t *before; /* as many */
    uint8_t fill;
    bool left_out;    /* ask without a piece: not all of it is kept */
    uint32_t streams; /* MDC_STREAM_*: texts that are left out */
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
} scrubber;

void mdc_scrub_init(mdc_scrub *scrub) {
    memset(scrub, 0, sizeof *scrub);
    mdc_vec_init(&scrub->hidden, sizeof(mdc_span));
}

void mdc_scrub_fini(mdc_scrub *scrub) { mdc_vec_fini(&scrub->hidden); }

/* -- rules about memory -------------------------------------------------------------------------------------------- */

static mdc_status fill(scrubber *s, const mdc_file_piece *piece, uint64_t first, uint64_t last, mdc_error *err) {
    if (piece == NULL) {
        s->left_out = true;
        return MDC_OK;
    }
    mdc_span span = {first, last - first + 1};
    uint64_t offset = piece->offset + (first - piece->address), left = span.size;
    if (mdc_vec_push(&s->scrub->hidden, &span, 1, NULL, err) != MDC_OK) return err->code;
    memset(s->buffer, s->fill, (size_t)mdc_min_u64(left, CHUNK));
    while (left > 0) {
        size_t part = (size_t)mdc_min_u64(left, CHUNK);
        if (mdc_control_check(s->control, err) != MDC_OK ||
            mdc_staging_file_overwrite(s->store, offset, s->buffer, part, err) != MDC_OK)
            return err->code;
        offset += part;
        left -= part;
    }
    return MDC_OK;
}

/* Asks about [first, last], which lies in one region or in none and was added by Memory (5) as a whole or not at all,
 * and overwrites what is not kept. No piece: only notes whether all is kept. */
static mdc_status ask_filter(scrubber *s, const mdc_file_piece *piece, const mdc_region *region, size_t index,
                             bool added, uint64_t first, uint64_t last, mdc_error *err) {
    const mdc_region unknown = {
        .state = MDC_MEM_COMMIT, .protect = MDC_PAGE_READWRITE, .type = MDC_MEM_PRIVATE, .alloc_base = first};
    MINIDUMP_MEMORY_INFO info = mdc_describe_info(region != NULL ? region : &unknown);
    for (;;) {
        MINIDUMP_CALLBACK_OUTPUT output;
        memset(&output, 0, sizeof output);
        info.BaseAddress = first;
        info.RegionSize = last - first + 1;
        output.Region.VmRegion = info;
        memset(&s->input, 0, sizeof s->input);
        s->input.CallbackType = MDC_CB_INCLUDE_VM_REGION;
        if (region != NULL)
            s->input.u.RegionFacts = mdc_region_map_facts_at(&s->proxy->map, index);
        else if (mdc_region_map_facts(&s->proxy->map, NULL, &info, &s->input.u.RegionFacts, err) != MDC_OK)
            return err->code;
        if (!s->full) s->input.u.RegionFacts.Flags |= MDC_FACT_PIECE;
        if (added) s->input.u.RegionFacts.Flags |= MDC_FACT_ADDED;
        mdc_callback_routine(s->callback, &s->input, &output);
        uint64_t base = output.Region.VmRegion.BaseAddress, size = output.Region.VmRegion.RegionSize;
        if (size == 0) return fill(s, piece, first, last, err);
        if (base < first || base > last || size - 1 > last - base) /* it answered something else than it was asked */
            return mdc_fail_callback(err, MDC_CB_INCLUDE_VM_REGION, first,
                                     "the callback kept more than the region has");
        if (base > first && fill(s, piece, first, base - 1, err) != MDC_OK) return err->code;
        if (base + (size - 1) == last) return MDC_OK;
        first = base + size;
    }
}

/* Whether the address is in a stack of which no part was to be written; *last is moved down to the end of the range
 * for which that is the same. Some engines store stacks regardless of the flags of their threads. */
static bool stack_left_out(const scrubber *s, uint64_t first, uint64_t *last) {
    const mdc_vec *threads = &s->proxy->threads;
    bool found = false;
    for (size_t i = 0; i < threads->count; i++) {
        const mdc_proxy_thread *thread = &mdc_vec_at(threads, const mdc_proxy_thread, i);
        if ((thread->flags & MDC_THREAD_WRITE_STACK) != 0 || thread->stack_high <= first) continue;
        found = found || thread->stack_low <= first;
        *last = mdc_min_u64(*last, (thread->stack_low <= first ? thread->stack_high : thread->stack_low) - 1);
    }
    return found;
}

/* [first, end_last] region by region. Blocks that Memory (5) added may lie in larger pieces, above all in stacks. */
static mdc_status judge_all(scrubber *s, const mdc_file_piece *piece, uint64_t first, uint64_t end_last,
                            mdc_error *err) {
    const mdc_vec *regions = &s->proxy->map.regions;
    for (;;) {
        int64_t found = mdc_win_regions_find(regions, first);
        const mdc_region *region = found >= 0 ? &mdc_vec_at(regions, const mdc_region, found) : NULL;
        uint64_t last = end_last;
        if (region != NULL) {
            last = mdc_min_u64(last, region->base + (region->size - 1));
        } else { /* to the next region; this happens for memory that is younger than the list */
            last = mdc_min_u64(last, first | (MDC_PAGE_SIZE - 1));
        }
        bool added = !s->full && mdc_proxy_added_run(s->proxy, first, &last);
        bool unwanted = !s->full && !added && stack_left_out(s, first, &last);
        mdc_status status = unwanted
                                ? fill(s, piece, first, last, err)
                                : ask_filter(s, piece, region, found >= 0 ? (size_t)found : 0, added, first, last, err);
        if (status != MDC_OK) return status;
        if (last == end_last) return MDC_OK;
        first = last + 1;
    }
}

/* Command line and environment in this piece, where their streams would be left out. */
static mdc_status hide_texts(scrubber *s, const mdc_file_piece *piece, mdc_error *err) {
    const mdc_vec *copies = &s->proxy->map.copies;
    const uint64_t piece_last = piece->address + (piece->size - 1);
    for (size_t i = 0; i < copies->count; i++) {
        const mdc_copy *copy = &mdc_vec_at(copies, const mdc_copy, i);
        uint64_t first = mdc_max_u64(piece->address, copy->span.address);
        uint64_t last = mdc_min_u64(piece_last, copy->span.address + (copy->span.size - 1));
        if ((s->streams & copy->stream) != 0 && first <= last && fill(s, piece, first, last, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

static int by_address(const void *a, const void *b) {
    const mdc_span *one = a, *other = b;
    return one->address < other->address ? -1 : one->address > other->address;
}

/* The same memory can be in the file twice: each copy was overwritten, and it is reported once. */
static void merge_hidden(mdc_scrub *scrub) {
    size_t count = 0;
    mdc_span *spans = scrub->hidden.data;
    if (scrub->hidden.count == 0) return;
    qsort(spans, scrub->hidden.count, sizeof *spans, by_address);
    for (size_t i = 1; i < scrub->hidden.count; i++) {
        uint64_t last = spans[count].address + (spans[count].size - 1), more = spans[i].address + (spans[i].size - 1);
        if (spans[i].address > last && spans[i].address - last > 1)
            spans[++count] = spans[i];
        else if (more > last)
            spans[count].size = more - spans[count].address + 1;
    }
    scrub->hidden.count = count + 1;
    for (size_t i = 0; i <= count; i++) scrub->hidden_bytes += spans[i].size;
}

/* -- redaction ----------------------------------------------------------------------------------------------------- */

static uint64_t count_differences(const uint8_t *a, const uint8_t *b, size_t size) {
    uint64_t count = 0;
    for (size_t i = 0; i < size; i++) count += a[i] != b[i];
    return count;
}

/* Shows `size` bytes at the address as having been read; what comes back is in the buffer. */
static void show(scrubber *s, uint64_t address, size_t size) {
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&output, 0, sizeof output);
    memset(&s->input, 0, sizeof s->input);
    s->input.CallbackType = MDC_CB_VM_POST_READ;
    s->input.u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){
        .Offset = address, .Buffer = s->buffer, .Size = (uint32_t)size, .Completed = (uint32_t)size, .Status = 0};
    mdc_callback_routine(s->callback, &s->input, &output);
}

/* Writes what changed of [offset, offset + size), which the buffers hold from `at` on. */
static mdc_status write_back(scrubber *s, uint64_t offset, size_t at, size_t size, mdc_error *err) {
    uint64_t changed = count_differences(s->buffer + at, s->before + at, size);
    s->scrub->edited_bytes += changed;
    return changed == 0 ? MDC_OK : mdc_staging_file_overwrite(s->store, offset, s->buffer + at, size, err);
}

/* What was found across the border of two pieces goes from all other copies of these bytes too: beside a part that is
 * overwritten, the other part would not be known again. */
static mdc_status spread(scrubber *s, uint64_t address, size_t size, mdc_error *err) {
    const mdc_vec *pieces = &s->file->pieces;
    uint64_t last = address + (size - 1);
    for (size_t i = 0; i < pieces->count; i++) {
        const mdc_file_piece *piece = &mdc_vec_at(pieces, const mdc_file_piece, i);
        uint64_t piece_last = piece->address + (piece->size - 1);
        if (piece->address > last || piece_last < address) continue;
        uint64_t from = mdc_max_u64(piece->address, address), to = mdc_min_u64(piece_last, last);
        for (uint64_t n = 0; n <= to - from; n++) {
            size_t in = (size_t)(from - address + n);
            uint64_t offset = piece->offset + (from - piece->address) + n;
            if (s->buffer[in] != s->before[in] &&
                mdc_staging_file_overwrite(s->store, offset, &s->buffer[in], 1, err) != MDC_OK)
                return err->code;
        }
    }
    return MDC_OK;
}

/* One piece, the end of each read shown again as the head of the next. `tail`: bytes at the end of the piece before,
 * which this one continues in the target and whose data ends at tail_offset. */
static mdc_status edit_piece(scrubber *s, const mdc_file_piece *piece, size_t tail, uint64_t tail_offset,
                             mdc_error *err) {
    uint64_t done = 0;
    while (done < piece->size) {
        size_t part = (size_t)mdc_min_u64(piece->size - done, CHUNK);
        size_t head = done == 0 ? tail : (size_t)mdc_min_u64(done, s->hold);
        uint64_t head_offset = done == 0 ? tail_offset - tail : piece->offset + done - head;
        if (mdc_control_check(s->control, err) != MDC_OK ||
            (head > 0 && mdc_staging_file_read(s->store, head_offset, s->buffer, head, err) != MDC_OK) ||
            mdc_staging_file_read(s->store, piece->offset + done, s->buffer + head, part, err) != MDC_OK)
            return err->code;
        memcpy(s->before, s->buffer, head + part);
        show(s, piece->address + done - head, head + part);
        if (done == 0 && count_differences(s->buffer, s->before, head) != 0 &&
            spread(s, piece->address - head, (size_t)mdc_min_u64(head + part, 2 * s->hold), err) != MDC_OK)
            return err->code;
        if ((head > 0 && write_back(s, head_offset, 0, head, err) != MDC_OK) ||
            write_back(s, piece->offset + done, head, part, err) != MDC_OK)
            return err->code;
        done += part;
    }
    return MDC_OK;
}

static int by_place(const void *a, const void *b) {
    const mdc_file_piece *one = a, *other = b;
    if (one->address != other->address) return one->address < other->address ? -1 : 1;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

/* In order of address, regardless of the order of the lists: the start of a pattern may be anywhere. */
static mdc_status edit_sorted(scrubber *s, const mdc_file_piece *pieces, size_t count, mdc_error *err) {
    const mdc_file_piece *before = NULL; /* of those that came, the one that goes furthest */
    for (size_t i = 0; i < count; i++) {
        const mdc_file_piece *piece = &pieces[i];
        uint64_t tail = 0, tail_offset = 0;
        if (i > 0 && by_place(piece, piece - 1) == 0 && piece->size == piece[-1].size) continue; /* in two lists */
        if (before != NULL && piece->address > before->address && piece->address - before->address <= before->size) {
            uint64_t into = piece->address - before->address;
            tail = mdc_min_u64(into, s->hold);
            tail_offset = before->offset + into;
        }
        if (edit_piece(s, piece, (size_t)tail, tail_offset, err) != MDC_OK) return err->code;
        if (before == NULL || piece->address + (piece->size - 1) > before->address + (before->size - 1)) before = piece;
    }
    return MDC_OK;
}

static mdc_status edit_pieces(scrubber *s, mdc_error *err) {
    size_t count = s->file->pieces.count;
    if (count == 0) return MDC_OK;
    mdc_file_piece *pieces = mdc_alloc(count, sizeof *pieces, err);
    if (pieces == NULL) return err->code;
    memcpy(pieces, s->file->pieces.data, count * sizeof *pieces);
    qsort(pieces, count, sizeof *pieces, by_place);
    mdc_status status = edit_sorted(s, pieces, count, err);
    mdc_dealloc(pieces);
    return status;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

/* Registers, names, and the exception, which is copied from memory without a callback. */
static mdc_status hide_items(scrubber *s, bool redacts, mdc_error *err) {
    s->left_out = false;
    for (size_t i = 0; i < s->proxy->exception_spans; i++) {
        const mdc_span *span = &s->proxy->exception_memory[i];
        uint64_t first = span->address, last = span->address + (span->size - 1);
        if (s->full) { /* rules go by whole pages there */
            first = mdc_page_down(first);
            last |= MDC_PAGE_SIZE - 1;
        }
        if (judge_all(s, NULL, first, last, err) != MDC_OK) return err->code;
    }
    mdc_scrub_items items = {.callback = s->callback,
                             .proxy = s->proxy,
                             .file = s->file,
                             .store = s->store,
                             .redacts = redacts,
                             .exception_hidden = s->left_out};
    mdc_status status = mdc_scrub_items_hide(&items, s->control, err);
    s->scrub->edited_bytes += items.edited_bytes;
    s->scrub->left_out = items.left_out;
    return status;
}

static mdc_status run(scrubber *s, bool redacts, mdc_error *err) {
    for (size_t i = 0; i < s->file->pieces.count; i++) {
        const mdc_file_piece *piece = &mdc_vec_at(&s->file->pieces, const mdc_file_piece, i);
        if (mdc_control_check(s->control, err) != MDC_OK ||
            judge_all(s, piece, piece->address, piece->address + (piece->size - 1), err) != MDC_OK ||
            hide_texts(s, piece, err) != MDC_OK)
            return err->code;
    }
    merge_hidden(s->scrub);
    if (redacts && edit_pieces(s, err) != MDC_OK) return err->code;
    return hide_items(s, redacts, err);
}

mdc_status mdc_scrub_run(mdc_scrub *scrub, mdc_callback *callback, mdc_proxy *proxy, const mdc_dump_reader *file,
                         mdc_staging_file *store, bool full, uint32_t streams, mdc_dump_control *control,
                         mdc_error *err) {
    const mdc_filter *filter = mdc_callback_filter(callback);
    bool redacts = mdc_filter_redactor(filter) != NULL;
    if (file->compressed)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0,
                        "dbghelp compressed the target's memory, so it cannot be searched for what the "
                        "filter excludes: leave out MiniDumpWithMemoryCompressed");
    if (proxy->map.regions.count == 0 && mdc_filter_rule_count(filter) != 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_FINISH, 0,
                        "the memory map of the target is not available, so it cannot be checked whether the dump "
                        "holds what the filter excludes");
    if (mdc_callback_set_host(callback, redacts ? EVERYTHING | REDACTING : EVERYTHING, err) != MDC_OK) return err->code;
    scrubber *s = mdc_alloc(1, sizeof *s, err);
    if (s == NULL) return err->code;
    s->scrub = scrub;
    s->callback = callback;
    s->proxy = proxy;
    s->store = store;
    s->control = control;
    s->file = file;
    s->full = full;
    s->streams = streams;
    s->fill = mdc_filter_fill(filter);
    mdc_status status = MDC_OK;
    if (!mdc_to_size(mdc_filter_hold(filter), &s->hold) || s->hold > CHUNK)
        status = mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_FINISH, 0, "the filter's patterns are too long");
    if (status == MDC_OK) s->buffer = mdc_alloc(s->hold + CHUNK, 1, err);
    if (s->buffer != NULL) s->before = mdc_alloc(s->hold + CHUNK, 1, err);
    status = s->before != NULL ? run(s, redacts, err) : err->code;
    if (status == MDC_OK) mdc_callback_settle(callback);
    mdc_dealloc(s->buffer);
    mdc_dealloc(s->before);
    mdc_dealloc(s);
    return status;
}
