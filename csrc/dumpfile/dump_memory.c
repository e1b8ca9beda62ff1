/* Where the file has the target's memory (see dump_file.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "dump_file.h"

enum { RANGES_MAX = 1 << 26 }; /* as the engine takes */

/* Target memory [address, address + size) at `offset` of the file. Until mdc_dump_hold, `reserved` is its place in the
 * order of the lists. */
static mdc_status push_range(mdc_dump_file *file, uint64_t address, uint64_t size, uint64_t offset, uint32_t list,
                             const char *what, uint64_t at, mdc_error *err) {
    if (size == 0) return MDC_OK;
    if (size - 1 > UINT64_MAX - address) {
        mdc_dump_broken(err, at, what, "the range extends beyond the end of the address space");
        return mdc_dump_tolerate(file, err);
    }
    if (file->held.count >= RANGES_MAX) return mdc_dump_broken(err, at, what, "more than 67108864 ranges");
    if (address + size == 0) size--; /* no sum may overflow: the last byte of all has no place */
    uint64_t there = mdc_min_u64(size, file->size - mdc_min_u64(offset, file->size));
    if (there < size) {
        mdc_set_range cut = {address + there, address + size};
        file->ranges_cut++;
        if (mdc_vec_push(&file->cut, &cut, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (there == 0) return MDC_OK;
    mdc_carried_run held = {
        .address = address, .size = there, .offset = offset, .list = list, .reserved = (uint32_t)file->held.count};
    return mdc_vec_push(&file->held, &held, 1, NULL, err);
}

static mdc_status take_memory(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_memory range;
    memcpy(&range, entry, sizeof range);
    return push_range(file, range.start, range.memory.data_size, range.memory.rva, MDC_CARRIED_LIST32,
                      "MemoryList: an entry", offset, err);
}

/* Tells a reader that the file was cut. For the filter that is no fault: the rest is used. */
static mdc_status tell_cut(mdc_dump_file *file, const char *what, mdc_error *err) {
    uint64_t count = file->ranges_cut;
    file->ranges_cut = 0;
    if (count == 0 || !file->tolerant) return MDC_OK;
    mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
             "%s: %" PRIu64 " ranges are beyond the end of the file: it is truncated", what, count);
    return mdc_dump_tolerate(file, err);
}

mdc_status mdc_dump_memory_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    file->lists |= MDC_CARRIED_LIST32;
    if (mdc_dump_each_counted(file, stream, sizeof(mdc_file_memory), MDC_DUMP_RANGES, "MemoryList", take_memory, err) !=
        MDC_OK)
        return err->code;
    return tell_cut(file, "MemoryList", err);
}

static mdc_status take_memory64(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_memory64 range;
    const char *what = "Memory64List: an entry";
    memcpy(&range, entry, sizeof range);
    if (push_range(file, range.start, range.data_size, file->data_at, MDC_CARRIED_LIST64, what, offset, err) != MDC_OK)
        return err->code;
    if (!mdc_add_u64(file->data_at, range.data_size, &file->data_at))
        return mdc_dump_broken(err, offset, what, "the data of all ranges together has more than 2^64 bytes");
    return MDC_OK;
}

mdc_status mdc_dump_memory64_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_file_memory64_list list;
    if (stream->size < sizeof list)
        return mdc_dump_broken(err, stream->rva, "Memory64List", "it has less than 16 bytes");
    if (mdc_dump_get(file, stream->rva, &list, sizeof list, "Memory64List", err) != MDC_OK) return err->code;
    if (list.range_count > (stream->size - sizeof list) / sizeof(mdc_file_memory64))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "Memory64List: %" PRIu64 " entries at offset 0x%" PRIx32 " do not fit into %" PRIu32 " bytes",
                        list.range_count, stream->rva, stream->size);
    file->lists |= MDC_CARRIED_LIST64;
    file->data_at = list.base_rva;
    list.range_count = mdc_dump_limited(file, list.range_count, MDC_DUMP_RANGES);
    if (mdc_dump_each(file, (uint64_t)stream->rva + sizeof list, list.range_count, sizeof(mdc_file_memory64),
                      "Memory64List", take_memory64, err) != MDC_OK)
        return err->code;
    return tell_cut(file, "Memory64List", err);
}

/* -- sorted and disjoint ------------------------------------------------------------------------------------------- */

static int by_address(const void *left, const void *right) {
    const mdc_carried_run *a = left, *b = right;
    if (a->address != b->address) return a->address < b->address ? -1 : 1;
    return a->reserved < b->reserved ? -1 : a->reserved > b->reserved;
}

static bool is_sorted(const mdc_vec *held) {
    const mdc_carried_run *all = held->data;
    for (size_t i = 1; i < held->count; i++)
        if (by_address(&all[i - 1], &all[i]) > 0) return false;
    return true;
}

static bool is_disjoint(const mdc_vec *held) {
    const mdc_carried_run *all = held->data;
    for (size_t i = 1; i < held->count; i++)
        if (all[i].address - all[i - 1].address < all[i - 1].size) return false;
    return true;
}

/* Ranges that hold the current address, as a heap of indices: the one that comes first in the lists on top. */
typedef struct open_ranges {
    const mdc_carried_run *all;
    uint32_t *heap;
    size_t count;
} open_ranges;

static bool before(const open_ranges *open, size_t a, size_t b) {
    return open->all[open->heap[a]].reserved < open->all[open->heap[b]].reserved;
}

static void swap(open_ranges *open, size_t a, size_t b) {
    uint32_t index = open->heap[a];
    open->heap[a] = open->heap[b];
    open->heap[b] = index;
}

static void open_push(open_ranges *open, uint32_t index) {
    size_t at = open->count++;
    open->heap[at] = index;
    for (; at > 0 && before(open, at, (at - 1) / 2); at = (at - 1) / 2) swap(open, at, (at - 1) / 2);
}

static void open_pop(open_ranges *open) {
    open->heap[0] = open->heap[--open->count];
    for (size_t at = 0, child; (child = 2 * at + 1) < open->count; at = child) {
        if (child + 1 < open->count && before(open, child + 1, child)) child++;
        if (!before(open, child, at)) return;
        swap(open, at, child);
    }
}

/* Of overlapping ranges each byte belongs to the one that comes first in the lists: at most twice as many runs. */
static mdc_status sweep(const mdc_vec *held, mdc_vec *runs, open_ranges *open, mdc_error *err) {
    const mdc_carried_run *all = held->data;
    uint64_t at = 0;
    for (size_t next = 0; next < held->count || open->count > 0;) {
        if (open->count == 0) at = all[next].address;
        while (next < held->count && all[next].address == at) open_push(open, (uint32_t)next++);
        while (open->count > 0 && at - all[open->heap[0]].address >= all[open->heap[0]].size) open_pop(open);
        if (open->count == 0) continue;
        const mdc_carried_run *top = &all[open->heap[0]];
        uint64_t end = top->address + top->size;
        if (next < held->count) end = mdc_min_u64(end, all[next].address);
        mdc_carried_run *last = runs->count > 0 ? &mdc_vec_at(runs, mdc_carried_run, runs->count - 1) : NULL;
        if (last != NULL && last->reserved == top->reserved && last->address + last->size == at) {
            last->size += end - at;
        } else {
            mdc_carried_run run = *top;
            run.address = at;
            run.size = end - at;
            run.offset = top->offset + (at - top->address);
            if (mdc_vec_push(runs, &run, 1, NULL, err) != MDC_OK) return err->code;
        }
        at = end;
    }
    return MDC_OK;
}

static mdc_status make_disjoint(mdc_dump_file *file, mdc_error *err) {
    mdc_vec runs;
    mdc_vec_init(&runs, sizeof(mdc_carried_run));
    open_ranges open = {.all = file->held.data, .heap = mdc_alloc(file->held.count, sizeof *open.heap, err)};
    mdc_status status = open.heap == NULL ? err->code : sweep(&file->held, &runs, &open, err);
    mdc_dealloc(open.heap);
    if (status != MDC_OK) {
        mdc_vec_fini(&runs);
        return status;
    }
    mdc_vec_fini(&file->held);
    file->held = runs;
    return MDC_OK;
}

/* Stacks that only the threads' descriptors name. Where there is a Memory64List, it has the stacks, and the descriptors
 * of Windows lead anywhere. */
static mdc_status push_stacks(mdc_dump_file *file, mdc_error *err) {
    if ((file->lists & MDC_CARRIED_LIST64) != 0) return MDC_OK;
    for (size_t i = 0; i < file->places.count; i++) {
        const mdc_file_memory *stack = &mdc_vec_at(&file->places, mdc_dump_thread_at, i).stack;
        uint64_t end, size = stack->memory.data_size, rva = stack->memory.rva;
        if (rva == 0 || !mdc_dump_inside(file, rva, size) || !mdc_add_u64(stack->start, size, &end)) continue;
        if (push_range(file, stack->start, size, rva, MDC_CARRIED_LIST32, "ThreadList: a stack", rva, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_dump_hold(mdc_dump_file *file, mdc_error *err) {
    if (push_stacks(file, err) != MDC_OK) return err->code;
    if (!is_sorted(&file->held)) qsort(file->held.data, file->held.count, sizeof(mdc_carried_run), by_address);
    if (!is_disjoint(&file->held) && make_disjoint(file, err) != MDC_OK) return err->code;
    mdc_vec_trim(&file->held);
    for (size_t i = 0; i < file->held.count; i++) mdc_vec_at(&file->held, mdc_carried_run, i).reserved = 0;
    mdc_range_set_normalise(&file->cut);
    for (size_t i = 0; i < file->cut.count; i++) {
        const mdc_set_range *cut = &mdc_vec_at(&file->cut, mdc_set_range, i);
        if (!mdc_add_u64(file->cut_bytes, cut->end - cut->first, &file->cut_bytes)) file->cut_bytes = UINT64_MAX;
    }
    return MDC_OK;
}

int64_t mdc_dump_held_at(const mdc_dump_file *file, uint64_t address) {
    const mdc_carried_run *all = file->held.data;
    size_t at;
    mdc_lower_bound(at, 0, file->held.count, all[at].address <= address);
    if (at == 0 || address - all[at - 1].address >= all[at - 1].size) return -1;
    return (int64_t)at - 1;
}

size_t mdc_dump_read_held(const mdc_dump_file *file, uint64_t address, uint8_t *buffer, size_t size,
                          int32_t *os_errno) {
    size_t done = 0;
    *os_errno = 0;
    int64_t at = size > 0 ? mdc_dump_held_at(file, address) : -1;
    if (at < 0) return 0;
    for (size_t i = (size_t)at; i < file->held.count && done < size; i++) {
        const mdc_carried_run *run = &mdc_vec_at(&file->held, const mdc_carried_run, i);
        if (run->address > address) break;
        uint64_t skipped = address - run->address;
        size_t part = (size_t)mdc_min_u64(run->size - skipped, size - done);
        size_t got = mdc_input_read(file->input, run->offset + skipped, buffer + done, part, os_errno);
        done += got;
        address += got;
        if (got < part) break;
    }
    return done;
}
