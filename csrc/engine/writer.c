/* Small streams, the source's bytes, lists, memory, tail. */
#include "writer.h"

#include "../base/arith.h"
#include "../base/fail.h"
#include "buffered_output.h"
#include "carried/carried_file.h"
#include "copy_order.h"
#include "streams/stream.h"

enum {
    FRONT_LATER_MIN = 256 << 10, /* bytes: a shorter front is written as fast as it is left open */
    FRONT_KEPT_MAX = 1 << 20     /* bytes of it that are memory of the target: the environment, mostly */
};

mdc_status mdc_writer_init(mdc_writer *writer, const mdc_reader *reader, mdc_layout *layout, mdc_gaps *gaps,
                           mdc_error *err) {
    writer->engine = reader->engine;
    writer->reader = reader;
    writer->layout = layout;
    writer->gaps = gaps;
    mdc_vec_init(&writer->front_kept, 1);
    writer->copier = mdc_copier_new(reader, layout, gaps, &writer->output, err);
    return writer->copier != NULL ? mdc_staging_reserve(&writer->staging, writer->engine, err) : err->code;
}

void mdc_writer_fini(mdc_writer *writer) {
    mdc_copier_free(writer->copier);
    mdc_vec_fini(&writer->front_kept);
    mdc_sparse_fini(&writer->output);
    mdc_staging_fini(&writer->staging);
}

static mdc_out begin_output(const mdc_writer *writer) {
    return (mdc_out){.sink = writer->output.sink, .buffer = writer->reader->buffer, .room = writer->reader->room};
}

/* Memory that fits into what is left of the buffer is read there, so that it is not a write of its own. *put: done. */
static mdc_status put_memory(const mdc_writer *writer, mdc_out *out, const mdc_part *part, bool *put, mdc_error *err) {
    *put = false;
    if (writer->engine->calls.wants_post_read || part->size > out->room - out->used) return MDC_OK;
    size_t done;
    int32_t os_errno;
    if (mdc_reader_read(writer->reader, part->address, out->buffer, out->used, out->used, (size_t)part->size, &done,
                        &os_errno, err) != MDC_OK)
        return err->code;
    *put = done == part->size;
    if (*put) out->used += done;
    return MDC_OK;
}

static mdc_status put_parts(mdc_writer *writer, mdc_out *out, mdc_error *err) {
    for (size_t i = 0; i < writer->layout->parts.count; i++) {
        const mdc_part *part = &mdc_vec_at(&writer->layout->parts, const mdc_part, i);
        if (mdc_out_pad_to(out, part->offset, err) != MDC_OK) return err->code;
        if (part->data != NULL) {
            if (mdc_out_put(out, part->data, part->size, err) != MDC_OK) return err->code;
        } else if (part->from == MDC_PART_FILE) {
            if (mdc_out_flush(out, err) != MDC_OK ||
                mdc_carried_copy(writer->reader, part, writer->output.sink, err) != MDC_OK)
                return err->code;
        } else {
            bool put;
            if (put_memory(writer, out, part, &put, err) != MDC_OK ||
                (!put && (mdc_out_flush(out, err) != MDC_OK ||
                          mdc_copier_part(writer->copier, part->address, part->size, err) != MDC_OK)))
                return err->code;
        }
    }
    return MDC_OK;
}

/* signature: 0 as long as the dump is not valid. */
static mdc_status put_small(mdc_writer *writer, mdc_out *out, uint32_t signature, mdc_error *err) {
    const mdc_vec *small = &writer->layout->small;
    if (mdc_out_put(out, &signature, sizeof signature, err) != MDC_OK) return err->code;
    return mdc_out_put(out, (const uint8_t *)small->data + sizeof signature, small->count - sizeof signature, err);
}

/* patching: into the hole that was left for it. */
static mdc_status put_front(mdc_writer *writer, bool patching, mdc_error *err) {
    mdc_out out = begin_output(writer);
    out.patching = patching;
    if (put_small(writer, &out, out.sink->patchable ? 0 : MDC_FILE_SIGNATURE, err) != MDC_OK ||
        put_parts(writer, &out, err) != MDC_OK || mdc_streams_write(writer->layout, &out, err) != MDC_OK ||
        mdc_out_pad_to(&out, writer->layout->memory_offset, err) != MDC_OK)
        return err->code;
    return mdc_out_flush(&out, err);
}

/* The front needs nothing of the target but the parts that are its memory. Where those are read now, the front of a
 * process of many mappings or threads is written after the resume. Not where most of the dump is memory: a file that
 * begins with a hole has no room reserved for the rest. */
static bool may_wait(const mdc_writer *writer, const mdc_sink *sink, uint64_t planned) {
    const uint64_t front = writer->layout->memory_offset;
    return sink->patchable && sink->late_parts && writer->output.staging == NULL &&
           !writer->engine->calls.wants_post_read && front >= FRONT_LATER_MIN && planned - front <= front;
}

/* *kept: all could be read. */
static mdc_status keep_parts(mdc_writer *writer, bool *kept, mdc_error *err) {
    mdc_part *parts = writer->layout->parts.data;
    const size_t count = writer->layout->parts.count;
    mdc_vec *bytes = &writer->front_kept;
    uint64_t size = 0;
    *kept = false;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].data != NULL) continue;
        if (parts[i].from == MDC_PART_FILE || !mdc_add_u64(size, parts[i].size, &size) || size > FRONT_KEPT_MAX)
            return MDC_OK;
    }
    if (mdc_vec_push(bytes, NULL, (size_t)size, NULL, err) != MDC_OK) return err->code;
    uint8_t *to = bytes->data;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].data != NULL) continue;
        size_t done;
        int32_t os_errno;
        if (mdc_reader_read(writer->reader, parts[i].address, to, 0, 0, (size_t)parts[i].size, &done, &os_errno, err) !=
            MDC_OK)
            return err->code;
        if (done < parts[i].size) return MDC_OK;
        to += done;
    }
    to = bytes->data;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].data != NULL) continue;
        parts[i].data = to;
        to += parts[i].size;
    }
    *kept = true;
    return MDC_OK;
}

/* What was found since the layout was made is said after the tail, if the directory can still be corrected. */
static mdc_status put_soft_errors(mdc_writer *writer, mdc_out *out, bool *moved, mdc_error *err) {
    mdc_layout *layout = writer->layout;
    mdc_vec *text = &layout->soft_errors;
    mdc_place *place = &layout->places[mdc_streams_find(MDC_STREAM_TYPE_MOZ_SOFT_ERRORS)];
    mdc_error ignored; /* a dump that is complete does not fail for it */
    mdc_error_clear(&ignored);
    if (layout->capture->lists->carried != NULL) return MDC_OK;
    if (!out->sink->patchable || mdc_soft_errors_text(layout, text, &ignored) != MDC_OK) return MDC_OK;
    uint64_t offset = out->sink->position + out->used, limit = layout->engine->options.max_bytes, end;
    if (limit != 0 && (!mdc_add_u64(offset, text->count, &end) || end > limit)) return MDC_OK;
    *moved = text->count != place->count &&
             mdc_layout_move(layout, place, MDC_STREAM_TYPE_MOZ_SOFT_ERRORS, offset, text->count);
    return *moved ? mdc_out_put(out, text->data, text->count, err) : MDC_OK;
}

static mdc_status put_tail(mdc_writer *writer, bool *moved, mdc_error *err) {
    const mdc_gaps *gaps = writer->gaps;
    mdc_out out = begin_output(writer);
    uint64_t count = gaps->count - gaps->planned_count;
    if (mdc_out_pad_to(&out, writer->layout->tail_offset, err) != MDC_OK ||
        (writer->layout->tail &&
         (mdc_out_put(&out, &count, sizeof count, err) != MDC_OK ||
          mdc_out_put(&out, gaps->all + gaps->planned_count, count * sizeof(mdc_gap), err) != MDC_OK)) ||
        put_soft_errors(writer, &out, moved, err) != MDC_OK)
        return err->code;
    return mdc_out_flush(&out, err);
}

static mdc_status patch_lists(mdc_writer *writer, mdc_error *err) {
    mdc_out out = begin_output(writer);
    out.patching = true;
    if (put_small(writer, &out, 0, err) != MDC_OK || mdc_out_flush(&out, err) != MDC_OK) return err->code;
    out.offset = writer->layout->lists_offset;
    if (mdc_streams_write(writer->layout, &out, err) != MDC_OK) return err->code;
    return mdc_out_flush(&out, err);
}

mdc_status mdc_writer_memory(mdc_writer *writer, mdc_sink *sink, mdc_error *err) {
    const mdc_extents *extents = &writer->layout->plan->extents;
    uint64_t holes = 0, total = 0;
    sink->flushes = writer->engine->options.fsync != 0;
    if (mdc_staging_there(&writer->staging)) {
        writer->output.staging = &writer->staging;
        sink = mdc_staging_over(&writer->staging, sink);
    }
    if (mdc_sparse_init(&writer->output, sink, writer->layout, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < extents->count; i++) {
        const mdc_extent *extent = &extents->all[i];
        if ((extent->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_LATE)) != 0) holes += extent->size;
        if ((extent->flags & MDC_EXTENT_OMITTED) == 0) total += extent->size;
    }
    atomic_store(&writer->engine->control->bytes_total, total);
    uint64_t planned = mdc_layout_planned_end(writer->layout), front = writer->layout->memory_offset;
    if (may_wait(writer, sink, planned) && keep_parts(writer, &writer->front_later, err) != MDC_OK) return err->code;
    if (writer->front_later) holes += front;
    if (sink->ops->begin != NULL && sink->ops->begin(sink, planned, planned - holes, err) != MDC_OK) return err->code;
    if ((writer->front_later ? sink->ops->hole(sink, front, err) : put_front(writer, false, err)) != MDC_OK)
        return err->code;
    return mdc_copier_extents(writer->copier, err);
}

mdc_status mdc_writer_finish(mdc_writer *writer, mdc_error *err) {
    mdc_engine *engine = writer->engine;
    if (writer->output.staging != NULL) {
        if (mdc_staging_drain(&writer->staging, err) != MDC_OK) return err->code;
        writer->output.sink = writer->staging.target;
        writer->output.staging = NULL;
        if (writer->staging.overflow) writer->layout->warnings |= MDC_WARN_STOP_MEMORY;
    }
    mdc_sink *sink = writer->output.sink;
    size_t extent;
    uint64_t address;
    if (mdc_copier_ended(writer->copier, &extent, &address))
        mdc_truncate(writer->layout, writer->gaps, extent, address);
    mdc_layout_close(writer->layout);
    if (writer->front_later && put_front(writer, true, err) != MDC_OK) return err->code;
    if (mdc_late_copy(writer, err) != MDC_OK) return err->code;
    atomic_store(&engine->control->phase, MDC_PHASE_FINISH);
    bool moved = false;
    if (put_tail(writer, &moved, err) != MDC_OK ||
        ((moved || writer->layout->excised_count > 0 || writer->layout->truncated) &&
         patch_lists(writer, err) != MDC_OK) ||
        mdc_calls_poll(&engine->calls, err) != MDC_OK)
        return err->code;
    uint32_t signature = MDC_FILE_SIGNATURE;
    if (sink->patchable && sink->ops->patch(sink, 0, &signature, sizeof signature, err) != MDC_OK) return err->code;
    return sink->ops->finish(sink, engine->options.fsync != 0, err);
}
