/* Where the command line, the environment and the auxiliary vector are in the target's memory: at the top of the main
 * thread's stack, where the kernel put them. Found by their bytes, so that the streams are excluded with that memory
 * (see dump_file.h). */
#include <string.h>

#include "../base/arith.h"
#include "dump_file.h"

enum {
    SEARCHED = 8 << 20,  /* bytes of the stack at most, from its top */
    NEEDLE = 256,        /* bytes of the stream that are searched for; the rest is compared */
    COMPARED = 32 << 20, /* bytes after a hit, of all streams together, before the search is given up */
    PIECE = 4096,
    STACKS = 2,
    STREAMS_MAX = 4 /* of a type */
};

/* The held memory round a stack pointer, at most its top; empty if there is none. */
static mdc_set_range around(const mdc_dump_file *file, uint64_t pointer) {
    const mdc_carried_run *all = file->held.data;
    int64_t run = pointer != 0 ? mdc_dump_held_at(file, pointer) : -1;
    if (run < 0) return (mdc_set_range){0, 0};
    size_t last = (size_t)run;
    while (last + 1 < file->held.count && all[last].address + all[last].size == all[last + 1].address) last++;
    mdc_set_range range = {all[run].address, all[last].address + all[last].size};
    if (range.end - range.first > SEARCHED) range.first = range.end - SEARCHED;
    return range;
}

/* The stack of the thread that is listed first, as most writers list the main thread, and the highest one. */
static void find_stacks(const mdc_dump_file *file, mdc_set_range *stacks) {
    uint64_t highest = 0, main = 0;
    for (size_t i = 0; i < file->threads.count; i++) {
        uint64_t pointer = mdc_vec_at(&file->threads, const mdc_thread, i).stack_pointer;
        if (i == 0) main = pointer;
        if (pointer > highest && mdc_dump_held_at(file, pointer) >= 0) highest = pointer;
    }
    stacks[0] = around(file, main);
    stacks[1] = highest != main ? around(file, highest) : (mdc_set_range){0, 0};
}

/* Whether the memory at this address has all bytes of the stream; takes what it compares from the budget. */
static bool same_bytes(const mdc_dump_file *file, const mdc_carried_stream *stream, uint64_t address,
                       uint64_t *budget) {
    uint8_t theirs[PIECE], ours[PIECE];
    int32_t os_errno;
    for (uint32_t at = 0; at < stream->size;) {
        size_t part = (size_t)mdc_min_u64(stream->size - at, PIECE);
        if (*budget < part) *budget = 0;
        if (*budget == 0) return false;
        *budget -= part;
        if (mdc_input_read(file->input, (uint64_t)stream->rva + at, theirs, part, &os_errno) < part ||
            mdc_dump_read_held(file, address + at, ours, part, &os_errno) < part || memcmp(theirs, ours, part) != 0)
            return false;
        at += (uint32_t)part;
    }
    return true;
}

/* The highest place in the stack with the bytes of the stream; 0: none. */
static uint64_t find(const mdc_dump_file *file, const mdc_carried_stream *stream, const mdc_set_range *stack,
                     uint64_t *budget) {
    uint8_t needle[NEEDLE];
    int32_t os_errno;
    uint64_t found = 0;
    uint64_t end = stack->end;
    size_t length = (size_t)mdc_min_u64(stream->size, NEEDLE);
    if (length == 0 || mdc_input_read(file->input, stream->rva, needle, length, &os_errno) < length) return 0;
    for (uint64_t at = stack->first; end - at >= stream->size;) {
        size_t size = (size_t)mdc_min_u64(end - at, MDC_DUMP_STRING_MAX);
        if (mdc_dump_read_held(file, at, file->scratch, size, &os_errno) < size) return found;
        for (size_t i = 0; i + length <= size;) {
            const uint8_t *begin = memchr(file->scratch + i, needle[0], size - length + 1 - i);
            if (begin == NULL) break;
            i = (size_t)(begin - file->scratch);
            if (memcmp(begin, needle, length) == 0) {
                if (same_bytes(file, stream, at + i, budget)) found = at + i;
                if (*budget == 0) return found;
            }
            i++;
        }
        if (size < MDC_DUMP_STRING_MAX) break;
        at += size - length + 1;
    }
    return found;
}

/* The NULs at the end of a text but one: writers that read a whole page have more than the target has. */
static uint32_t spare_nuls(const mdc_dump_file *file, const mdc_carried_stream *stream) {
    uint8_t tail[PIECE];
    int32_t os_errno;
    uint32_t size = stream->size < PIECE ? stream->size : PIECE, count = 0;
    uint64_t from = (uint64_t)stream->rva + stream->size - size;
    if (mdc_input_read(file->input, from, tail, size, &os_errno) < size) return 0;
    while (count < size && tail[size - 1 - count] == 0) count++;
    return count > 1 && count < size ? count - 1 : 0;
}

/* Looks for each stream of this type. above: where the environment is, 0 if that is not known. The arguments end below
 * it; a copy of the program's name above it (AT_EXECFN) may be all of them, and is not what is meant. */
static mdc_status find_type(mdc_dump_file *file, uint32_t type, const mdc_set_range *stacks, uint64_t *above,
                            uint64_t *budget, mdc_error *err) {
    for (size_t i = 0, searched = 0; i < file->streams.count; i++) {
        mdc_carried_stream *stream = &mdc_vec_at(&file->streams, mdc_carried_stream, i);
        if (stream->type != type) continue;
        if (file->control != NULL && mdc_control_check(file->control, err) != MDC_OK) return err->code;
        if (++searched > STREAMS_MAX) break; /* a directory may name one of them again and again */
        const uint32_t spare = type != MDC_STREAM_TYPE_LINUX_AUXV ? spare_nuls(file, stream) : 0;
        stream->size -= spare;
        for (size_t k = 0; k < STACKS && stream->address == 0; k++) {
            mdc_set_range below = stacks[k];
            if (type == MDC_STREAM_TYPE_LINUX_CMD_LINE && *above > below.first && *above < below.end) {
                below.end = *above;
                stream->address = find(file, stream, &below, budget);
            }
            if (stream->address == 0) stream->address = find(file, stream, &stacks[k], budget);
        }
        if (stream->address == 0) stream->size += spare;
        if (type == MDC_STREAM_TYPE_LINUX_ENVIRON) *above = stream->address;
    }
    return MDC_OK;
}

mdc_status mdc_dump_find_copies(mdc_dump_file *file, mdc_error *err) {
    static const uint32_t types[] = {MDC_STREAM_TYPE_LINUX_ENVIRON, MDC_STREAM_TYPE_LINUX_CMD_LINE,
                                     MDC_STREAM_TYPE_LINUX_AUXV};
    mdc_set_range stacks[STACKS];
    uint64_t budget = COMPARED, environment = 0;
    if (file->tolerant) return MDC_OK;
    find_stacks(file, stacks);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (find_type(file, types[i], stacks, &environment, &budget, err) != MDC_OK) return err->code;
    return MDC_OK;
}
