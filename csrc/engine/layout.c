/* Small streams first (built in memory, at offset 0), then the source's own bytes, the memory lists and the gap stream;
 * then the memory, stacks in front. */
#include "layout.h"

#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/escape.h"
#include "../format/utf16.h"
#include "file_ranges.h"
#include "streams/stream.h"

enum { EXTRA_ROOM = 8 };      /* of an existing dump: those that it may not have had */
enum { DIRECTORY_ROOM = 24 }; /* entries the directory has room for, without those of streams the caller gives */

void mdc_layout_init(mdc_layout *layout, const mdc_plan *plan) {
    layout->engine = plan->engine;
    layout->capture = plan->capture;
    layout->plan = plan;
    mdc_vec_init(&layout->small, 1);
    mdc_vec_init(&layout->parts, sizeof(mdc_part));
    mdc_vec_init(&layout->ascii, 1);
    mdc_vec_init(&layout->soft_errors, 1);
    mdc_sanitized_init(&layout->sanitized, plan->capture);
}

void mdc_layout_fini(mdc_layout *layout) {
    mdc_vec_fini(&layout->small);
    mdc_vec_fini(&layout->parts);
    mdc_vec_fini(&layout->ascii);
    mdc_vec_fini(&layout->soft_errors);
    mdc_sanitized_fini(&layout->sanitized);
    mdc_dealloc(layout->directory);
    mdc_dealloc(layout->excised);
}

mdc_status mdc_layout_put(mdc_layout *layout, const void *data, size_t size, size_t *offset, mdc_error *err) {
    if (layout->small.count + (uint64_t)size >= layout->engine->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "threads, modules and strings exceed the 32-bit offsets of a minidump");
    return mdc_vec_push(&layout->small, data, size, offset, err);
}

void mdc_layout_set(mdc_layout *layout, uint64_t offset, const void *data, size_t size) {
    memcpy((uint8_t *)layout->small.data + offset, data, size);
}

mdc_status mdc_layout_align(mdc_layout *layout, size_t alignment, mdc_error *err) {
    size_t over = layout->small.count % alignment;
    return over == 0 ? MDC_OK : mdc_layout_put(layout, NULL, alignment - over, NULL, err);
}

mdc_status mdc_layout_stream(mdc_layout *layout, uint32_t type, uint64_t offset, uint64_t size, size_t *directory,
                             mdc_error *err) {
    uint64_t end;
    if (layout->stream_count >= layout->directory_room || !mdc_add_u64(offset, size, &end) ||
        end >= layout->engine->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "stream 0x%" PRIx32 " of %" PRIu64 " bytes exceeds the 32-bit offsets of a minidump", type,
                        size);
    if (directory != NULL) *directory = layout->stream_count;
    layout->directory[layout->stream_count++] = (mdc_file_directory){type, (uint32_t)size, (uint32_t)offset};
    return MDC_OK;
}

mdc_status mdc_layout_string(mdc_layout *layout, const uint8_t *bytes, size_t size, uint32_t *rva, mdc_error *err) {
    uint16_t text[MDC_FILE_STRING_UNITS + 1];
    if (mdc_sanitized_string(&layout->sanitized, &bytes, size, err) != MDC_OK) return err->code;
    if (layout->engine->options.names == MDC_NAMES_ASCII) {
        layout->ascii.count = 0;
        if (mdc_escape_text(&layout->ascii, bytes, size, MDC_ESCAPE_ASCII, err) != MDC_OK) return err->code;
        bytes = layout->ascii.data;
        size = layout->ascii.count;
    }
    size_t units = mdc_utf16_text(bytes, size, text, MDC_FILE_STRING_UNITS), at;
    text[units] = 0;
    uint32_t length = (uint32_t)(units * 2);
    mdc_sanitize(layout->engine, 0, text, length); /* a pattern may be UTF-16 */
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, &length, sizeof length, &at, err) != MDC_OK ||
        mdc_layout_put(layout, text, (units + 1) * 2, NULL, err) != MDC_OK)
        return err->code;
    *rva = (uint32_t)at;
    return MDC_OK;
}

mdc_status mdc_layout_name(mdc_layout *layout, mdc_name name, uint32_t *rva, mdc_error *err) {
    if (name.size == 0) return MDC_OK;
    return mdc_layout_string(layout, mdc_capture_name(layout->capture, name), name.size, rva, err);
}

mdc_status mdc_layout_table(mdc_layout *layout, uint32_t type, const void *header, size_t header_size, size_t count,
                            size_t entry_size, size_t *entries, mdc_error *err) {
    size_t at;
    if (mdc_layout_align(layout, 8, err) != MDC_OK || mdc_layout_put(layout, header, header_size, &at, err) != MDC_OK ||
        mdc_layout_put(layout, NULL, count * entry_size, entries, err) != MDC_OK)
        return err->code;
    return mdc_layout_stream(layout, type, at, header_size + (uint64_t)count * entry_size, NULL, err);
}

mdc_status mdc_layout_part(mdc_layout *layout, uint32_t type, const mdc_part *part, mdc_error *err) {
    if (mdc_layout_stream(layout, type, part->offset, part->size, NULL, err) != MDC_OK ||
        mdc_vec_push(&layout->parts, part, 1, NULL, err) != MDC_OK)
        return err->code;
    layout->end = (part->offset + part->size + 7) & ~UINT64_C(7);
    return MDC_OK;
}

mdc_status mdc_layout_reserve(mdc_layout *layout, mdc_place *place, uint32_t type, uint64_t bytes, mdc_error *err) {
    layout->end = place->offset = (layout->end + 7) & ~UINT64_C(7);
    if (layout->lists_offset == 0) layout->lists_offset = place->offset;
    if (mdc_layout_stream(layout, type, place->offset, bytes, &place->directory, err) != MDC_OK) return err->code;
    layout->end += bytes;
    return MDC_OK;
}

static mdc_status build_streams(mdc_layout *layout, mdc_error *err) {
    layout->small.count = layout->parts.count = layout->stream_count = 0;
    layout->lists_offset = 0;
    layout->dropped.count = 0;
    size_t room = layout->directory_room * sizeof *layout->directory;
    if (mdc_layout_put(layout, NULL, sizeof(mdc_file_header), NULL, err) != MDC_OK ||
        mdc_user_streams_put(layout, err) != MDC_OK || mdc_layout_align(layout, 8, err) != MDC_OK ||
        mdc_layout_put(layout, NULL, room, &layout->directory_at, err) != MDC_OK ||
        mdc_streams_build(layout, err) != MDC_OK || mdc_layout_align(layout, 16, err) != MDC_OK)
        return err->code;
    layout->end = layout->small.count;
    return mdc_streams_place(layout, err);
}

/* Offsets of all extents. Returns the end of the last, UINT64_MAX if there is none below 2**64. */
static uint64_t place_extents(mdc_layout *layout) {
    uint64_t offset = layout->memory_offset;
    size_t excised = 0;
    for (size_t i = 0; i < layout->plan->extents.count; i++) {
        mdc_extent *extent = &layout->extents[i];
        extent->file_offset = offset;
        if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_TRUNCATED)) == 0 &&
            !mdc_add_u64(offset, extent->size, &offset))
            return UINT64_MAX;
        for (; excised < layout->excised_count && layout->excised[excised].extent == i; excised++)
            offset -= layout->excised[excised].size;
    }
    layout->tail_offset = (offset + 7) & ~UINT64_C(7);
    return offset;
}

/* Whole pages stay on page boundaries of the file, so that holes are holes. */
static mdc_status place_memory(mdc_layout *layout, mdc_error *err) {
    layout->memory_offset = layout->end = mdc_page_up(layout->end);
    if (place_extents(layout) > UINT64_MAX / 2)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0, "the dump would be longer than 2**63 bytes");
    layout->offset32_end = layout->plan->extents.count;
    mdc_range_walk walk = mdc_ranges_begin(layout, 0, layout->plan->extents.count);
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) {
        if (range.offset + range.size < layout->engine->options.limit32) continue;
        layout->offset32_end = range.extent;
        break;
    }
    return MDC_OK;
}

/* The directory contains the real length of lists, spare slots follow. */
static void put_header(mdc_layout *layout) {
    const mdc_carried *carried = layout->capture->lists->carried;
    mdc_streams_count(layout);
    uint64_t type = layout->capture->type & MDC_FILE_TYPE_MASK;
    if (layout->memory64 && carried == NULL)
        type |= MDC_TYPE_WITH_FULL_MEMORY; /* readers take Memory64List with this bit only */
    if (carried != NULL && layout->engine->held) type = carried->flags;
    mdc_file_header header = {.version = carried != NULL
                                             ? carried->version
                                             : MDC_FILE_VERSION, /* the writer knows when the signature is due */
                              .stream_count = (uint32_t)layout->stream_count,
                              .directory_rva = (uint32_t)layout->directory_at, /* below MDC_USER_STREAMS_FIRST_MAX */
                              .time_date_stamp = carried != NULL ? carried->timestamp : (uint32_t)layout->now,
                              .flags = type};
    mdc_layout_set(layout, 0, &header, sizeof header);
    mdc_layout_set(layout, layout->directory_at, layout->directory, layout->stream_count * sizeof layout->directory[0]);
}

/* What MemoryList holds has 32-bit offsets. */
static bool fits32(const mdc_layout *layout) {
    if (!layout->memory32) return true;
    size_t in_list = layout->memory64 ? layout->plan->extents.stack_count : layout->plan->extents.count;
    return layout->offset32_end >= in_list;
}

mdc_status mdc_layout_build(mdc_layout *layout, mdc_extent *extents, mdc_error *err) {
    const mdc_engine *engine = layout->engine;
    const mdc_carried *carried = layout->capture->lists->carried;
    layout->extents = extents;
    if (mdc_sanitized_make(&layout->sanitized, err) != MDC_OK) return err->code;
    if (engine->patchable) layout->spare = engine->options.spare_slots;
    layout->directory_room = DIRECTORY_ROOM + engine->options.user_stream_count;
    if (carried != NULL)
        layout->directory_room = carried->stream_count + EXTRA_ROOM + engine->options.user_stream_count;
    if (engine->options.annotation_count > 0) layout->directory_room++;
    if (engine->options.comment != NULL) layout->directory_room += 2;
    /* One more for mdc_layout_truncate, which makes no range. */
    layout->excised = mdc_alloc(layout->spare + 1, sizeof *layout->excised, err);
    layout->directory = mdc_alloc(layout->directory_room, sizeof *layout->directory, err);
    if (layout->excised == NULL || layout->directory == NULL) return err->code;
    layout->range_count = mdc_ranges_count(layout, 0, layout->plan->extents.count);
    /* Memory beyond the offsets of MemoryList goes into a Memory64List in a Normal dump too: seen when all is placed,
     * so perhaps it is built twice. */
    layout->memory32 = !engine->full;
    layout->memory64 = engine->full;
    if (engine->held) {
        /* Stacks that only their threads name are listed. */
        bool unlisted = carried->lists == 0 && layout->plan->extents.count > 0;
        layout->memory32 = (carried->lists & MDC_CARRIED_LIST32) != 0 || unlisted;
        layout->memory64 = (carried->lists & MDC_CARRIED_LIST64) != 0;
    }
    for (;;) {
        if (build_streams(layout, err) != MDC_OK || place_memory(layout, err) != MDC_OK) return err->code;
        /* An existing dump gets the room it needs, so that it is the same if it is written again. */
        if (carried != NULL && layout->directory_room > layout->stream_count) {
            layout->directory_room = layout->stream_count;
            continue;
        }
        if (fits32(layout)) break;
        layout->memory32 = false;
        layout->memory64 = true;
    }
    if (layout->memory64 && !engine->full && !engine->held) layout->warnings |= MDC_WARN_MEMORY64;
    if (layout->memory32 && layout->memory64) layout->warnings |= MDC_WARN_BOTH_LISTS;
    if (layout->offset32_end < layout->plan->extents.stack_count) layout->warnings |= MDC_WARN_RANGES_ABOVE_4G;
    put_header(layout);
    return MDC_OK;
}

bool mdc_layout_excise(mdc_layout *layout, size_t extent, uint64_t address, uint64_t size) {
    mdc_excised *last = layout->excised_count > 0 ? &layout->excised[layout->excised_count - 1] : NULL;
    if (last != NULL && last->extent == extent && last->address + last->size == address) {
        last->size += size;
        return true;
    }
    if (layout->excised_count >= layout->spare) return false;
    layout->excised[layout->excised_count++] = (mdc_excised){extent, address, size};
    return true;
}

uint64_t mdc_layout_truncate(mdc_layout *layout, size_t extent, uint64_t address) {
    uint64_t bytes = 0;
    layout->truncated = true;
    layout->warnings |= MDC_WARN_TRUNCATED;
    for (size_t i = extent; i < layout->plan->extents.timed_count; i++) {
        mdc_extent *it = &layout->extents[i];
        uint64_t size = i == extent ? it->address + it->size - address : it->size;
        bytes += size;
        if (size < it->size)
            layout->excised[layout->excised_count++] = (mdc_excised){i, address, size};
        else
            it->flags = (it->flags & ~(uint32_t)MDC_EXTENT_JOINED) | MDC_EXTENT_TRUNCATED;
    }
    return bytes;
}

void mdc_layout_close(mdc_layout *layout) {
    if (layout->excised_count == 0 && !layout->truncated) return;
    (void)place_extents(layout); /* it is shorter than it was */
    put_header(layout);
}

bool mdc_layout_move(mdc_layout *layout, mdc_place *place, uint32_t type, uint64_t offset, uint64_t size) {
    uint64_t end;
    if (!mdc_add_u64(offset, size, &end) || end >= layout->engine->options.limit32) return false;
    if (place->count == 0) {
        if (layout->stream_count >= layout->directory_room) return false;
        place->directory = layout->stream_count++;
    }
    place->count = size;
    layout->directory[place->directory] = (mdc_file_directory){type, (uint32_t)size, (uint32_t)offset};
    put_header(layout);
    return true;
}
