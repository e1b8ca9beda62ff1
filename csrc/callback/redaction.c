/* Editing what was read (see redaction.h). Never allocates or locks. */
#include "redaction.h"

#include <string.h>

#include "../base/vec.h"
#include "state.h"

enum { WORD = 8, NARROW_WORD = 4 };

mdc_status mdc_redaction_init(mdc_redaction *r, const mdc_filter *filter, uint32_t modules, uint32_t stacks,
                              mdc_error *err) {
    r->redactor = mdc_filter_redactor(filter);
    if (r->redactor == NULL) return MDC_OK;
    r->hold = (size_t)mdc_filter_hold(filter);
    r->block = mdc_alloc(r->hold, 6, err);
    if (r->block == NULL) return err->code;
    for (size_t i = 0; i < 2; i++) {
        r->tails[i].raw = r->block + (3 * i) * r->hold;
        r->tails[i].seen = r->block + (3 * i + 1) * r->hold;
        r->tails[i].shown = r->block + (3 * i + 2) * r->hold;
    }
    r->stack_capacity = stacks;
    bool sanitize = mdc_redact_sanitizes(r->redactor);
    return mdc_module_table_init(&r->pointees, sanitize ? modules + stacks : 0, err);
}

void mdc_redaction_forget(mdc_redaction *r, const mdc_filter *filter) {
    if (r->learned == NULL) return;
    r->redactor = mdc_filter_redactor(filter);
    mdc_redactor_free(r->learned);
    r->learned = NULL;
}

void mdc_redaction_fini(mdc_redaction *r) {
    mdc_redactor_free(r->learned);
    mdc_dealloc(r->block);
    mdc_module_table_fini(&r->pointees);
}

void mdc_redaction_rewind(mdc_redaction *r) {
    r->tails[0].size = r->tails[1].size = 0;
    r->any_read = false;
    r->stacks = 0;
    mdc_module_table_clear(&r->pointees);
    atomic_store_explicit(&r->scrubbed_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&r->scrubbed_hits, 0, memory_order_relaxed);
    atomic_store_explicit(&r->sanitized_words, 0, memory_order_relaxed);
    atomic_store_explicit(&r->uncovered_borders, 0, memory_order_relaxed);
}

bool mdc_redaction_module(mdc_redaction *r, uint64_t base, uint64_t size) {
    /* The stacks' room stays theirs. */
    if (r->pointees.count - r->stacks >= r->pointees.capacity - r->stack_capacity) return size == 0;
    return mdc_module_table_enter(&r->pointees, base, size, MDC_POINTEE_MODULE);
}

/* StackBase is the high end on Windows; engines differ. */
bool mdc_redaction_stack(mdc_redaction *r, uint64_t one_end, uint64_t other_end) {
    uint64_t low = one_end < other_end ? one_end : other_end, high = one_end < other_end ? other_end : one_end;
    if (low == high) return true;
    if (r->stacks >= r->stack_capacity || !mdc_module_table_enter(&r->pointees, low, high - low, MDC_POINTEE_STACK))
        return false;
    r->stacks++;
    return true;
}

/* ---- stacks ---- */

static uint32_t segment_of(const mdc_module_table *map, uint64_t address) {
    const uint64_t *base = map->start;
    for (uint32_t count = map->segments; count > 1;) {
        uint32_t half = count / 2;
        base = base[half] <= address ? base + half : base;
        count -= half;
    }
    return (uint32_t)(base - map->start);
}

/* A word of the stack: an address or a number. */
static bool may_stay(const mdc_module_table *map, uint64_t address, int64_t number) {
    if ((uint64_t)number + MDC_SMALL_WORD <= 2 * MDC_SMALL_WORD) return true;
    return map->row[segment_of(map, address)] != MDC_POINTEE_NONE;
}

static bool word_may_stay(const mdc_module_table *map, const uint8_t *bytes, size_t word) {
    uint64_t wide;
    uint32_t narrow;
    if (word == WORD) {
        memcpy(&wide, bytes, sizeof wide);
        return may_stay(map, wide, (int64_t)wide) || wide == MDC_SANITIZED_WORD;
    }
    memcpy(&narrow, bytes, sizeof narrow);
    return may_stay(map, narrow, (int32_t)narrow) || narrow == (uint32_t)MDC_SANITIZED_WORD;
}

/* Reads may end at 2**64, where the address after them is 0: what follows counts bytes from `address` on. */

/* The bytes [first, end), which are part of one word, become those of the marker. */
static void sanitize_part(uint8_t *bytes, uint64_t address, size_t first, size_t end) {
    static const uint8_t marker[WORD] = {0xED, 0xAC, 0xEF, 0x0D, 0xED, 0xAC, 0xEF, 0x0D}; /* little endian */
    memcpy(bytes + first, marker + ((address + first) & (WORD - 1)), end - first);
}

static bool on_stack(const mdc_module_table *map, uint64_t address) {
    return map->row[segment_of(map, address)] == MDC_POINTEE_STACK;
}

/* Bytes to the next beginning of a word. */
static size_t to_word(uint64_t address, size_t word) { return (size_t)((0 - address) & (word - 1)); }

/* Judges the whole words of [address, address + size). Returns how many that end after `fresh` bytes were replaced. */
static uint64_t sanitize_words(const mdc_module_table *map, size_t word, uint64_t address, uint8_t *bytes, size_t size,
                               size_t fresh) {
    size_t at = to_word(address, word);
    uint64_t words = 0;
    while (at < size && size - at >= word) {
        uint32_t segment = segment_of(map, address + at);
        uint64_t more = map->start[segment + 1] - 1 - (address + at); /* start 0: 2**64 */
        size_t stop = more < size - at ? at + (size_t)more + 1 : size;
        if (map->row[segment] != MDC_POINTEE_STACK) {
            at = stop + to_word(address + stop, word);
            continue;
        }
        for (; at < stop && size - at >= word; at += word) {
            if (word_may_stay(map, bytes + at, word)) continue;
            sanitize_part(bytes, address, at, at + word);
            words += at + word > fresh;
        }
    }
    return words;
}

/* Parts of words at the edges of a stack: their words are unknown. Not at the front if the bytes before were
 * presented earlier. */
static void sanitize_edges(const mdc_module_table *map, size_t word, uint64_t address, uint8_t *bytes, size_t size,
                           bool front) {
    size_t head = to_word(address, word), tail = (size_t)((address + size) & (word - 1));
    if (front && head != 0 && on_stack(map, address)) sanitize_part(bytes, address, 0, head < size ? head : size);
    if (tail != 0 && tail <= size && on_stack(map, address + (size - tail)))
        sanitize_part(bytes, address, size - tail, size);
}

/* ---- reads ---- */

static void count(_Atomic uint64_t *counter, uint64_t more) {
    if (more == 0) return;
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

/* Where the end of the last read is repeated in this one. */
typedef struct mdc_again {
    size_t at;   /* in this read */
    size_t skip; /* in the tail */
    size_t size; /* bytes; 0: nowhere */
} mdc_again;

/* An engine may show more again than was asked for. Bytes that were shown before get back what was read. */
static mdc_again take_up(const mdc_tail *tail, uint64_t address, uint8_t *bytes, size_t size) {
    mdc_again again = {0, 0, 0};
    uint64_t at = tail->address > address ? tail->address - address : 0;
    uint64_t skip = address > tail->address ? address - tail->address : 0;
    if (at >= size || skip >= tail->size) return again;
    again.at = (size_t)at;
    again.skip = (size_t)skip;
    size_t there = tail->size - again.skip < size - again.at ? tail->size - again.skip : size - again.at;
    if (memcmp(bytes + again.at, tail->shown + again.skip, there) != 0) return again; /* read afresh */
    memcpy(bytes + again.at, tail->raw + again.skip, there);
    again.size = there;
    return again;
}

static void edit(mdc_redaction *r, uint64_t address, uint8_t *bytes, size_t size, bool holds_back) {
    const mdc_tail *before = &r->tails[r->current];
    mdc_tail *after = &r->tails[1 - r->current];
    mdc_redact_counts counts = {0, 0, 0};
    mdc_again again = {0, 0, 0};
    if (holds_back) again = take_up(before, address, bytes, size);
    size_t head = again.size > 0 ? again.at + again.size : 0; /* not counted again */
    size_t keep = !holds_back ? 0 : size < r->hold ? size : r->hold;
    if (r->hold > 0 && head == 0 && r->any_read && address == r->last_end && address != 0)
        count(&r->uncovered_borders, 1);
    if (keep > 0) memcpy(after->raw, bytes + size - keep, keep);
    mdc_redact_patterns(r->redactor, bytes, size, head, &counts);
    for (size_t i = 0; i < again.size; i++) { /* what was hidden stays hidden: its reason may lie before this read */
        uint8_t raw = before->raw[again.skip + i], seen = before->seen[again.skip + i];
        if (seen != raw)
            bytes[again.at + i] = seen;
        else
            counts.bytes += bytes[again.at + i] != raw;
    }
    mdc_redact_ranges(r->redactor, address, bytes, again.at, again.at, &counts);
    mdc_redact_ranges(r->redactor, address + head, bytes + head, size - head, 0, &counts);
    bool sanitize = mdc_redact_sanitizes(r->redactor) && r->stacks > 0;
    const size_t word = r->narrow ? NARROW_WORD : WORD;
    if (sanitize) {
        mdc_module_table_seal(&r->pointees);
        counts.words = sanitize_words(&r->pointees, word, address, bytes, size, head);
    }
    if (keep > 0) memcpy(after->seen, bytes + size - keep, keep);
    if (sanitize) sanitize_edges(&r->pointees, word, address, bytes, size, head == 0);
    if (keep > 0) memcpy(after->shown, bytes + size - keep, keep);
    after->address = address + (size - keep);
    after->size = keep;
    r->current = 1 - r->current;
    r->any_read = true;
    r->last_end = address + size;
    count(&r->scrubbed_bytes, counts.bytes);
    count(&r->scrubbed_hits, counts.hits);
    count(&r->sanitized_words, counts.words);
}

void mdc_redaction_post_read(mdc_redaction *r, const MINIDUMP_VM_POST_READ_CALLBACK *read, bool holds_back) {
    if (r->redactor == NULL) return;
    uint32_t size = read->Completed < read->Size ? read->Completed : read->Size;
    if (size != 0 && read->Buffer != NULL) edit(r, read->Offset, read->Buffer, size, holds_back);
}

void mdc_callback_edit(mdc_callback *callback, uint64_t address, uint8_t *bytes, size_t size, bool counted) {
    mdc_redaction *r = &callback->redaction;
    mdc_redact_counts counts = {0, 0, 0};
    if (r->redactor == NULL || size == 0) return;
    mdc_redact_patterns(r->redactor, bytes, size, 0, &counts);
    if (address != 0) mdc_redact_ranges(r->redactor, address, bytes, size, 0, &counts);
    if (!counted) return;
    count(&r->scrubbed_bytes, counts.bytes);
    count(&r->scrubbed_hits, counts.hits);
}

const mdc_filter *mdc_callback_filter(const mdc_callback *callback) { return callback->filter; }
