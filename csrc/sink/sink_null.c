/* Counts and throws away. Claims what a file can (patches, holes), so that a plan made over it is the plan of a file.
 */
#include "../base/vec.h"
#include "sink_impl.h"

static mdc_status null_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    (void)planned, (void)written;
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status null_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    if (mdc_sink_accepts((mdc_sink_base *)sink, size)) sink->position += size;
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status null_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    (void)data;
    return null_hole(sink, size, err);
}

static mdc_status null_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)data;
    mdc_sink_accepts_patch((mdc_sink_base *)sink, offset, size);
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status null_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    (void)flush;
    mdc_sink_finishes((mdc_sink_base *)sink);
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static void null_free(mdc_sink *sink) { mdc_dealloc(sink); }

static const mdc_sink_ops NULL_OPS = {null_begin, null_write, null_hole, null_patch, null_finish, null_free};

mdc_sink *mdc_sink_null_new(mdc_error *err) {
    mdc_sink_base *base = mdc_alloc(1, sizeof *base, err);
    if (base == NULL) return NULL;
    mdc_sink_setup(base, &NULL_OPS, true, true);
    return &base->sink;
}
