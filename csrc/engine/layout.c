/* Gives everything its offset before a byte is written: small streams first (built in memory, at offset 0), then the
 * source's own bytes, the memory lists and the gap stream; then the memory, stacks in front. All that a directory entry
 * names lies below limit32; only Memory64 data may lie above. */
#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/mdc_streams.h"
#include "../format/utf16.h"
#include "dump_state.h"

const uint8_t *mdc_dump_name(const mdc_dump *dump, mdc_name name) {
    return name.size == 0 ? (const uint8_t *)"" : dump->lists->pool + name.offset;
}

mdc_status mdc_layout_put(mdc_dump *dump, const void *data, size_t size, size_t *offset, mdc_error *err) {
    if (dump->small.count + (uint64_t)size >= dump->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "threads, modules and strings exceed the 32-bit offsets of a minidump");
    return mdc_vec_push(&dump->small, data, size, offset, err);
}

mdc_status mdc_layout_align(mdc_dump *dump, size_t alignment, mdc_error *err) {
    size_t over = dump->small.count % alignment;
    return over == 0 ? MDC_OK : mdc_layout_put(dump, NULL, alignment - over, NULL, err);
}

mdc_status mdc_layout_stream(mdc_dump *dump, uint32_t type, uint64_t offset, uint64_t size, size_t *directory,
                             mdc_error *err) {
    uint64_t end;
    if (dump->stream_count >= dump->directory_room || !mdc_add_u64(offset, size, &end) || end >= dump->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "stream 0x%" PRIx32 " of %" PRIu64 " bytes exceeds the 32-bit offsets of a minidump", type,
                        size);
    if (directory != NULL) *directory = dump->stream_count;
    dump->directory[dump->stream_count++] = (mdc_file_directory){type, (uint32_t)size, (uint32_t)offset};
    return MDC_OK;
}

mdc_status mdc_layout_string(mdc_dump *dump, const uint8_t *bytes, size_t size, uint32_t *rva, mdc_error *err) {
    uint16_t text[MDC_FILE_STRING_UNITS + 1];
    if (mdc_sanitized_string(dump, &bytes, size, err) != MDC_OK) return err->code;
    size_t units = mdc_utf16_text(bytes, size, text, MDC_FILE_STRING_UNITS), at;
    text[units] = 0;
    uint32_t length = (uint32_t)(units * 2);
    if (mdc_layout_align(dump, 4, err) != MDC_OK || mdc_layout_put(dump, &length, sizeof length, &at, err) != MDC_OK ||
        mdc_layout_put(dump, text, (units + 1) * 2, NULL, err) != MDC_OK)
        return err->code;
    *rva = (uint32_t)at;
    return MDC_OK;
}

static size_t count_ranges(const mdc_dump *dump) {
    size_t count = 0;
    mdc_range_walk walk = mdc_ranges_begin(dump, 0, dump->extents.count);
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) count++;
    return count;
}

static mdc_status place_list(mdc_dump *dump, mdc_list_place *place, uint32_t type, uint64_t header, uint64_t entry,
                             uint64_t slots, mdc_error *err) {
    dump->end = (dump->end + 7) & ~UINT64_C(7);
    place->offset = dump->end;
    place->slots = slots;
    uint64_t bytes;
    if (!mdc_mul_u64(slots, entry, &bytes) || !mdc_add_u64(bytes, header, &bytes)) bytes = UINT64_MAX;
    if (mdc_layout_stream(dump, type, place->offset, bytes, &place->directory, err) != MDC_OK) return err->code;
    dump->end += bytes;
    return MDC_OK;
}

/* One list of memory: debugger engines refuse a dump that has both. */
static mdc_status place_lists(mdc_dump *dump, size_t ranges, mdc_error *err) {
    bool memory64 = dump->has_memory64;
    uint64_t infos = dump->region_count + (memory64 ? ranges : 0) + dump->spare;
    uint64_t header = memory64 ? sizeof(mdc_file_memory64_list) : sizeof(uint32_t);
    uint64_t entry = memory64 ? sizeof(mdc_file_memory64) : sizeof(mdc_file_memory);
    if (place_list(dump, &dump->memory_list, memory64 ? MDC_STREAM_TYPE_MEMORY64_LIST : MDC_STREAM_TYPE_MEMORY_LIST,
                   header, entry, ranges + dump->spare, err) != MDC_OK ||
        place_list(dump, &dump->memory_info_list, MDC_STREAM_TYPE_MEMORY_INFO_LIST, sizeof(mdc_file_memory_info_list),
                   sizeof(MINIDUMP_MEMORY_INFO), infos, err) != MDC_OK)
        return err->code;
    dump->end = (dump->end + 7) & ~UINT64_C(7);
    dump->gap_stream_offset = dump->end;
    uint64_t size = sizeof(mdc_gap_stream) + dump->planned_gaps * (uint64_t)sizeof(mdc_gap);
    if (mdc_layout_stream(dump, MDC_STREAM_TYPE_GAPS, dump->end, size, NULL, err) != MDC_OK) return err->code;
    dump->end += size;
    return MDC_OK;
}

/* Offsets of all extents, and how far offsets of 32 bits reach; whole pages stay on page boundaries of the file, so
 * that holes are holes. */
static mdc_status place_memory(mdc_dump *dump, mdc_error *err) {
    uint64_t offset = dump->end = mdc_page_up(dump->end);
    dump->memory_offset = offset;
    for (size_t i = 0; i < dump->extents.count; i++) {
        mdc_extent *extent = &mdc_vec_at(&dump->extents, mdc_extent, i);
        extent->file_offset = offset;
        if ((extent->flags & MDC_EXTENT_OMITTED) == 0 && !mdc_add_u64(offset, extent->size, &offset))
            return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0, "the dump would be longer than 2**64 bytes");
    }
    if (offset > UINT64_MAX / 2)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0, "the dump would be longer than 2**63 bytes");
    dump->memory_bytes = offset - dump->memory_offset;
    dump->tail_offset = (offset + 7) & ~UINT64_C(7);
    dump->offset32_end = dump->extents.count;
    mdc_range_walk walk = mdc_ranges_begin(dump, 0, dump->extents.count);
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) {
        if (range.offset + range.size < dump->options.limit32) continue;
        dump->offset32_end = range.extent;
        break;
    }
    return MDC_OK;
}

static mdc_status build_small(mdc_dump *dump, mdc_error *err) {
    dump->small.count = dump->parts.count = 0;
    dump->stream_count = 0;
    size_t front = sizeof(mdc_file_header) + dump->directory_room * sizeof *dump->directory;
    if (mdc_layout_put(dump, NULL, front, NULL, err) != MDC_OK || mdc_streams_system(dump, err) != MDC_OK ||
        mdc_streams_misc(dump, err) != MDC_OK || mdc_streams_threads(dump, err) != MDC_OK ||
        mdc_streams_modules(dump, err) != MDC_OK || mdc_streams_dso(dump, err) != MDC_OK ||
        mdc_streams_exception(dump, err) != MDC_OK || mdc_streams_handles(dump, err) != MDC_OK ||
        mdc_layout_align(dump, 16, err) != MDC_OK)
        return err->code;
    dump->end = dump->small.count;
    if (mdc_streams_contexts(dump, err) != MDC_OK) return err->code;
    return mdc_streams_texts(dump, err) == MDC_OK ? mdc_streams_user(dump, err) : err->code;
}

static void put_header(mdc_dump *dump) {
    uint64_t type = dump->type & MDC_FILE_TYPE_MASK;
    if (dump->has_memory64) type |= MDC_TYPE_WITH_FULL_MEMORY; /* readers take Memory64List with this bit only */
    mdc_file_header header = {.signature = MDC_FILE_SIGNATURE,
                              .version = MDC_FILE_VERSION,
                              .stream_count = (uint32_t)dump->stream_count,
                              .directory_rva = sizeof header,
                              .time_date_stamp = (uint32_t)dump->now,
                              .flags = type};
    memcpy(dump->small.data, &header, sizeof header);
    memcpy((uint8_t *)dump->small.data + sizeof header, dump->directory,
           dump->stream_count * sizeof dump->directory[0]);
}

/* The real length of the lists; the directory contains only that, spare slots follow. */
void mdc_layout_count(mdc_dump *dump) {
    mdc_lists_count(dump);
    uint32_t header = dump->has_memory64 ? sizeof(mdc_file_memory64_list) : sizeof(uint32_t);
    dump->directory[dump->memory_list.directory].data_size = header + (uint32_t)(16 * dump->memory_list.count);
    dump->directory[dump->memory_info_list.directory].data_size = (uint32_t)(16 + 48 * dump->memory_info_list.count);
    put_header(dump);
    mdc_streams_thread_stacks(dump);
}

mdc_status mdc_layout_build(mdc_dump *dump, mdc_error *err) {
    size_t ranges = count_ranges(dump);
    /* Memory beyond the offsets of MemoryList goes into a Memory64List in a Normal dump too: seen when all is placed,
     * so perhaps it is built twice. */
    dump->has_memory64 = dump->full;
    for (;;) {
        if (build_small(dump, err) != MDC_OK || place_lists(dump, ranges, err) != MDC_OK ||
            place_memory(dump, err) != MDC_OK)
            return err->code;
        if (dump->has_memory64 || dump->offset32_end == dump->extents.count) break;
        dump->has_memory64 = true;
    }
    if (!dump->has_memory64 && ranges > MDC_MEMORY_LIST_MAX) dump->warnings |= MDC_WARN_MANY_RANGES;
    if (dump->has_memory64 && !dump->full) dump->warnings |= MDC_WARN_MEMORY64;
    if (dump->offset32_end < dump->stack_extents) dump->warnings |= MDC_WARN_RANGES_ABOVE_4G;
    mdc_layout_count(dump);
    return MDC_OK;
}
