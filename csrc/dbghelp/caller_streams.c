#include "caller_streams.h"

#include <string.h>

#include "../base/fail.h"
#include "../format/caller_texts.h"

/* A zeroed body of `size` bytes, as the next stream; NULL for lack of memory. */
static void *add(mdc_caller_streams *streams, size_t place, uint32_t type, size_t size, mdc_error *err) {
    void *body = streams->bodies[place] = mdc_alloc(size, 1, err);
    if (body != NULL) streams->all[streams->count++] = (MINIDUMP_USER_STREAM){type, (uint32_t)size, body};
    return body;
}

static mdc_status add_annotations(mdc_caller_streams *streams, const mdc_engine_options *options, mdc_error *err) {
    if (options->annotation_count == 0) return MDC_OK;
    size_t size = mdc_annotations_put(options->annotations, options->annotation_count, 0, NULL);
    uint8_t *body = add(streams, 0, MDC_STREAM_TYPE_CRASHPAD_INFO, size, err);
    if (body == NULL) return err->code;
    mdc_annotations_put(options->annotations, options->annotation_count, 0, body);
    return MDC_OK;
}

static mdc_status add_comment(mdc_caller_streams *streams, const char *comment, mdc_error *err) {
    if (comment == NULL) return MDC_OK;
    if (mdc_comment_is_ascii(comment)) {
        char *narrow = add(streams, 1, MDC_STREAM_TYPE_COMMENT_A, strlen(comment) + 1, err);
        if (narrow == NULL) return err->code;
        memcpy(narrow, comment, strlen(comment) + 1);
    }
    uint16_t *wide = add(streams, 2, MDC_STREAM_TYPE_COMMENT_W, mdc_comment_put(comment, NULL), err);
    if (wide == NULL) return err->code;
    mdc_comment_put(comment, wide);
    return MDC_OK;
}

mdc_status mdc_caller_streams_init(mdc_caller_streams *streams, const mdc_engine_options *options, mdc_error *err) {
    if (mdc_caller_texts_check(options, err) != MDC_OK) return err->code;
    if (options->user_stream_count > UINT32_MAX - MDC_CALLER_STREAMS_MORE)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "too many user streams");
    streams->all = mdc_alloc(options->user_stream_count + MDC_CALLER_STREAMS_MORE, sizeof *streams->all, err);
    if (streams->all == NULL) return err->code;
    for (size_t i = 0; i < options->user_stream_count; i++) {
        const mdc_user_stream *stream = &options->user_streams[i];
        if (stream->size > UINT32_MAX)
            return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, (int64_t)i,
                               "user stream %u has 4 GiB or more: the format has 32 bits for its size",
                               (unsigned)stream->type);
        streams->all[streams->count++] = (MINIDUMP_USER_STREAM){
            .Type = stream->type,
            .BufferSize = (uint32_t)stream->size,
            .Buffer = (void *)(uintptr_t)stream->data, /* Microsoft's struct has no const; it is only read */
        };
    }
    if (add_annotations(streams, options, err) != MDC_OK) return err->code;
    return add_comment(streams, options->comment, err);
}

void mdc_caller_streams_fini(mdc_caller_streams *streams) {
    for (size_t i = 0; i < MDC_CALLER_STREAMS_MORE; i++) mdc_dealloc(streams->bodies[i]);
    mdc_dealloc(streams->all);
}

mdc_status mdc_caller_streams_settle(const mdc_engine_options *options, const mdc_dump_reader *file,
                                     mdc_staging_file *store, mdc_error *err) {
    const mdc_file_location *place = &file->crashpad_info;
    if (options->annotation_count == 0) return MDC_OK;
    size_t size = mdc_annotations_put(options->annotations, options->annotation_count, 0, NULL);
    if (place->data_size != size)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0, "dbghelp did not write the annotations");
    uint8_t *body = mdc_alloc(size, 1, err);
    if (body == NULL) return err->code;
    mdc_annotations_put(options->annotations, options->annotation_count, place->rva, body);
    mdc_status status = mdc_staging_file_overwrite(store, place->rva, body, size, err);
    mdc_dealloc(body);
    return status;
}
