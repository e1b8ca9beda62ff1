/* One forward write: small streams, the source's bytes, lists, memory, tail. Then, if the sink is seekable,
 * what was left open until the target was resumed, the lists that gaps have changed and, last of all, the
 * signature: an unfinished dump is not a valid one. */
#include <string.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../format/mdc_streams.h"
#include "dump_state.h"

mdc_status mdc_out_flush(mdc_out *out, mdc_error *err) {
    mdc_sink *sink = out->dump->sink;
    const uint8_t *buffer = out->dump->copier.buffer;
    size_t size = out->used;
    out->used = 0;
    if (size == 0) return MDC_OK;
    if (!out->patching) return sink->ops->write(sink, buffer, size, err);
    uint64_t offset = out->offset;
    out->offset += size;
    return sink->ops->patch(sink, offset, buffer, size, err);
}

mdc_status mdc_out_put(mdc_out *out, const void *data, uint64_t size, mdc_error *err) {
    const mdc_copier *copier = &out->dump->copier;
    const uint8_t *from = data;
    while (size > 0) {
        if (out->used == copier->room && mdc_out_flush(out, err) != MDC_OK) return err->code;
        size_t part = (size_t)mdc_min_u64(size, copier->room - out->used);
        if (from != NULL)
            memcpy(copier->buffer + out->used, from, part);
        else
            memset(copier->buffer + out->used, 0, part);
        if (from != NULL) from += part;
        out->used += part;
        size -= part;
    }
    return MDC_OK;
}

/* Zeros up to the offset. */
static mdc_status pad_to(mdc_out *out, uint64_t offset, mdc_error *err) {
    uint64_t here = out->patching ? out->offset + out->used : out->dump->sink->position + out->used;
    return here < offset ? mdc_out_put(out, NULL, offset - here, err) : MDC_OK;
}

static mdc_status put_parts(mdc_out *out, mdc_error *err) {
    mdc_dump *dump = out->dump;
    for (size_t i = 0; i < dump->parts.count; i++) {
        const mdc_part *part = &mdc_vec_at(&dump->parts, const mdc_part, i);
        if (pad_to(out, part->offset, err) != MDC_OK) return err->code;
        if (part->data != NULL) {
            if (mdc_out_put(out, part->data, part->size, err) != MDC_OK) return err->code;
        } else if (mdc_out_flush(out, err) != MDC_OK || mdc_copy_text(dump, part->address, part->size, err) != MDC_OK) {
            return err->code;
        }
    }
    return MDC_OK;
}

static mdc_status put_gap_stream(mdc_out *out, mdc_error *err) {
    const mdc_dump *dump = out->dump;
    mdc_gap_stream stream = {.version = MDC_GAP_STREAM_VERSION,
                             .header_size = sizeof stream,
                             .entry_size = sizeof(mdc_gap),
                             .planned_count = (uint32_t)dump->planned_gaps,
                             .tail_offset = dump->tail_offset,
                             .tail_capacity = dump->options.gaps_max - dump->planned_gaps};
    if (mdc_out_put(out, &stream, sizeof stream, err) != MDC_OK) return err->code;
    return mdc_out_put(out, dump->planned, dump->planned_gaps * (uint64_t)sizeof(mdc_gap), err);
}

static mdc_status put_lists(mdc_out *out, mdc_error *err) {
    mdc_dump *dump = out->dump;
    if (pad_to(out, dump->memory_list.offset, err) != MDC_OK || mdc_lists_memory(dump, out, err) != MDC_OK ||
        pad_to(out, dump->memory_info_list.offset, err) != MDC_OK || mdc_lists_memory_info(dump, out, err) != MDC_OK ||
        pad_to(out, dump->gap_stream_offset, err) != MDC_OK)
        return err->code;
    return put_gap_stream(out, err);
}

static mdc_status put_front(mdc_dump *dump, mdc_error *err) {
    mdc_out out = {.dump = dump};
    uint32_t signature = dump->sink->patchable ? 0 : MDC_FILE_SIGNATURE;
    memcpy(dump->small.data, &signature, sizeof signature);
    if (mdc_out_put(&out, dump->small.data, dump->small.count, err) != MDC_OK || put_parts(&out, err) != MDC_OK ||
        put_lists(&out, err) != MDC_OK || pad_to(&out, dump->memory_offset, err) != MDC_OK)
        return err->code;
    return mdc_out_flush(&out, err);
}

static mdc_status put_tail(mdc_dump *dump, mdc_error *err) {
    mdc_out out = {.dump = dump};
    dump->tail_offset = (dump->sink->position + 7) & ~UINT64_C(7); /* as planned, unless gaps were cut out */
    uint64_t count = dump->gap_count - dump->planned_gaps;
    if (pad_to(&out, dump->tail_offset, err) != MDC_OK || mdc_out_put(&out, &count, sizeof count, err) != MDC_OK ||
        mdc_out_put(&out, dump->gaps + dump->planned_gaps, count * sizeof(mdc_gap), err) != MDC_OK)
        return err->code;
    return mdc_out_flush(&out, err);
}

/* What follows a cut has moved down. */
static void move_extents(mdc_dump *dump) {
    uint64_t offset = dump->memory_offset;
    size_t cut = 0;
    for (size_t i = 0; i < dump->extents.count; i++) {
        mdc_extent *extent = &mdc_vec_at(&dump->extents, mdc_extent, i);
        extent->file_offset = offset;
        if ((extent->flags & MDC_EXTENT_OMITTED) == 0) offset += extent->size;
        for (; cut < dump->cut_count && dump->cuts[cut].extent == i; cut++) offset -= dump->cuts[cut].size;
    }
    dump->memory_bytes = offset - dump->memory_offset;
}

static mdc_status patch_lists(mdc_dump *dump, mdc_error *err) {
    mdc_layout_count(dump);
    uint32_t none = 0; /* not yet: the signature comes last */
    memcpy(dump->small.data, &none, sizeof none);
    mdc_out out = {.dump = dump, .patching = true, .offset = 0};
    if (mdc_out_put(&out, dump->small.data, dump->small.count, err) != MDC_OK || mdc_out_flush(&out, err) != MDC_OK)
        return err->code;
    out.offset = dump->memory_list.offset;
    if (put_lists(&out, err) != MDC_OK) return err->code;
    return mdc_out_flush(&out, err);
}

static mdc_status write_file(mdc_dump *dump, mdc_error *err) {
    mdc_sink *sink = dump->sink;
    uint64_t holes = 0, total = 0;
    for (size_t i = 0; i < dump->extents.count; i++) {
        const mdc_extent *extent = &mdc_vec_at(&dump->extents, const mdc_extent, i);
        if ((extent->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_LATE)) != 0) holes += extent->size;
        if ((extent->flags & MDC_EXTENT_OMITTED) == 0) total += extent->size;
    }
    atomic_store(&dump->monitor->bytes_total, total);
    uint64_t planned = dump->tail_offset + sizeof(uint64_t);
    if ((sink->ops->begin != NULL && sink->ops->begin(sink, planned, planned - holes, err) != MDC_OK) ||
        put_front(dump, err) != MDC_OK || mdc_copy_extents(dump, err) != MDC_OK || mdc_dump_resume(dump, err) != MDC_OK)
        return err->code;
    if (dump->cut_count > 0) move_extents(dump);
    if (mdc_late_copy(dump, err) != MDC_OK) return err->code;
    mdc_dump_phase(dump, MDC_PHASE_FINISH);
    if (put_tail(dump, err) != MDC_OK || (dump->cut_count > 0 && patch_lists(dump, err) != MDC_OK) ||
        mdc_calls_poll(&dump->calls, err) != MDC_OK)
        return err->code;
    uint32_t signature = MDC_FILE_SIGNATURE;
    if (sink->patchable && sink->ops->patch(sink, 0, &signature, sizeof signature, err) != MDC_OK) return err->code;
    return sink->ops->finish(sink, dump->options.fsync != 0, err);
}

mdc_status mdc_write_file(mdc_dump *dump, mdc_error *err) {
    /* Reads and callbacks are inside of it; between them only the output can hang. */
    mdc_doing_before before = mdc_monitor_begin(dump->monitor, MDC_DOING_WRITE, -1, 0);
    mdc_status status = write_file(dump, err);
    mdc_monitor_end(dump->monitor, before);
    return status;
}
