/* Hiding variables of the environment (see sanitized_source.h). */
#include "sanitized_source.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../base/vec.h"

#define BLOCK_MAX (UINT64_C(8) << 20) /* bytes; the kernel lets arguments and environment grow to 6 MiB */

typedef struct mdc_veil {
    mdc_source source;
    mdc_source *inner;
    mdc_hides hides;
    const void *context;
    mdc_vec hidden; /* mdc_span, sorted, disjoint */
    uint64_t count; /* variables */
    uint8_t fill;
} mdc_veil;

static mdc_veil *veil_of(mdc_source *source) { return (mdc_veil *)source; } /* source is its first member */

static void take_identity(mdc_veil *veil) {
    veil->source.pid = veil->inner->pid;
    veil->source.handle = veil->inner->handle;
}

static mdc_status hide(mdc_veil *veil, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_span *last = veil->hidden.count > 0 ? &mdc_vec_at(&veil->hidden, mdc_span, veil->hidden.count - 1) : NULL;
    if (size == 0) return MDC_OK;
    if (last != NULL && last->address + last->size == address) {
        last->size += size;
        return MDC_OK;
    }
    mdc_span span = {address, size};
    return mdc_vec_push(&veil->hidden, &span, 1, NULL, err);
}

/* One string of the block. */
static mdc_status judge(mdc_veil *veil, uint64_t address, const uint8_t *text, size_t size, mdc_error *err) {
    const uint8_t *equals = memchr(text, '=', size);
    size_t name = equals != NULL ? (size_t)(equals - text) : size;
    if (size == 0 || !veil->hides(veil->context, text, name)) return MDC_OK;
    veil->count++;
    size_t kept = equals != NULL ? name + 1 : 0;
    return hide(veil, address + kept, size - kept, err);
}

/* The strings of one run of pages that could be read. broken: its first string begins in what could not. */
static mdc_status judge_run(mdc_veil *veil, uint64_t address, const uint8_t *bytes, size_t size, bool broken,
                            mdc_error *err) {
    for (size_t at = 0; at < size;) {
        const uint8_t *nul = memchr(bytes + at, 0, size - at);
        size_t length = nul != NULL ? (size_t)(nul - (bytes + at)) : size - at;
        mdc_status status =
            broken && at == 0 ? hide(veil, address, length, err) : judge(veil, address + at, bytes + at, length, err);
        if (status != MDC_OK) return status;
        at += length + 1;
    }
    return MDC_OK;
}

/* Pages that cannot be read now are hidden: their content is unknown. */
static mdc_status judge_block(mdc_veil *veil, uint64_t address, uint8_t *bytes, size_t size, mdc_error *err) {
    size_t at = 0;
    bool broken = false;
    while (at < size) {
        size_t done = 0;
        int32_t os_errno = 0;
        mdc_span span = {address + at, size - at};
        if (veil->inner->ops->read(veil->inner, &span, 1, bytes + at, &done, &os_errno, err) != MDC_OK)
            return err->code;
        if (done > size - at) done = size - at;
        if (judge_run(veil, address + at, bytes + at, done, broken, err) != MDC_OK) return err->code;
        at += done;
        if (at == size) break;
        uint64_t next = mdc_min_u64(mdc_page_down(address + at) + MDC_PAGE_SIZE, address + size);
        if (hide(veil, address + at, next - (address + at), err) != MDC_OK) return err->code;
        at = (size_t)(next - address);
        broken = true;
    }
    return MDC_OK;
}

static mdc_status find_variables(mdc_veil *veil, mdc_error *err) {
    const mdc_lists *lists = veil->inner->ops->lists(veil->inner);
    veil->hidden.count = 0;
    veil->count = 0;
    for (size_t i = 0; i < lists->text_count; i++) {
        const mdc_text *text = &lists->texts[i];
        uint64_t end;
        if (text->stream != MDC_STREAM_ENVIRON || text->data != NULL || text->size == 0) continue;
        if (!mdc_add_u64(text->address, text->size, &end) || text->size > BLOCK_MAX)
            return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_GATHER, 0,
                            "the target's environment is too long to hide variables in it");
        uint8_t *bytes = mdc_alloc((size_t)text->size, 1, err);
        if (bytes == NULL) return err->code;
        mdc_status status = judge_block(veil, text->address, bytes, (size_t)text->size, err);
        mdc_dealloc(bytes);
        return status;
    }
    return MDC_OK;
}

static mdc_status veil_prepare(mdc_source *source, mdc_error *err) {
    mdc_veil *veil = veil_of(source);
    mdc_status status = veil->inner->ops->prepare(veil->inner, err);
    take_identity(veil);
    return status;
}

static mdc_status veil_stop(mdc_source *source, mdc_error *err) {
    mdc_veil *veil = veil_of(source);
    mdc_status status = veil->inner->ops->stop(veil->inner, err);
    take_identity(veil);
    if (status != MDC_OK || find_variables(veil, err) == MDC_OK) return status;
    mdc_error ignored; /* nothing stays stopped after a failure */
    uint64_t frozen_ns;
    mdc_error_clear(&ignored);
    (void)veil->inner->ops->resume(veil->inner, &frozen_ns, &ignored);
    return err->code;
}

static const mdc_lists *veil_lists(const mdc_source *source) {
    const mdc_veil *veil = (const mdc_veil *)source;
    return veil->inner->ops->lists(veil->inner);
}

static size_t veil_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    mdc_source *inner = veil_of(source)->inner;
    return inner->ops->content(inner, region, first, end, runs, room, next);
}

/* [first, end) was read to `bytes`. */
static void cover(const mdc_veil *veil, uint64_t first, uint64_t end, uint8_t *bytes) {
    const mdc_span *spans = veil->hidden.data;
    size_t at; /* the first that ends after `first` */
    mdc_lower_bound(at, 0, veil->hidden.count, spans[at].address + spans[at].size <= first);
    for (; at < veil->hidden.count && spans[at].address < end; at++) {
        uint64_t from = mdc_max_u64(first, spans[at].address);
        uint64_t to = mdc_min_u64(end, spans[at].address + spans[at].size);
        memset(bytes + (from - first), veil->fill, (size_t)(to - from));
    }
}

static mdc_status veil_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    mdc_veil *veil = veil_of(source);
    mdc_status status = veil->inner->ops->read(veil->inner, spans, span_count, buffer, done, os_errno, err);
    if (veil->hidden.count == 0) return status;
    /* Whatever it says was read: a source may leave more in the buffer than it vouches for. */
    for (size_t i = 0; i < span_count; i++) {
        cover(veil, spans[i].address, spans[i].address + spans[i].size, buffer);
        buffer += spans[i].size;
    }
    return status;
}

static mdc_status veil_resume(mdc_source *source, uint64_t *frozen_ns, mdc_error *err) {
    mdc_source *inner = veil_of(source)->inner;
    return inner->ops->resume(inner, frozen_ns, err);
}

static uint64_t veil_late_end(mdc_source *source, size_t region) {
    mdc_source *inner = veil_of(source)->inner;
    return inner->ops->late->end(inner, region);
}

static void veil_late_read(mdc_source *source, size_t region, uint64_t address, size_t size, uint8_t *buffer,
                           size_t *done, int32_t *os_errno) {
    mdc_veil *veil = veil_of(source);
    veil->inner->ops->late->read(veil->inner, region, address, size, buffer, done, os_errno);
    cover(veil, address, address + size, buffer);
}

static int32_t veil_late_check(mdc_source *source, size_t region) {
    mdc_source *inner = veil_of(source)->inner;
    return inner->ops->late->check(inner, region);
}

static void veil_free(mdc_source *source) {
    mdc_veil *veil = veil_of(source);
    veil->inner->ops->free(veil->inner);
    mdc_vec_fini(&veil->hidden);
    mdc_dealloc(veil);
}

mdc_source *mdc_veil_new(mdc_source *inner, mdc_hides hides, const void *context, uint8_t fill, mdc_error *err) {
    static const mdc_late_ops late = {veil_late_end, veil_late_read, veil_late_check};
    static const mdc_source_ops ops = {.prepare = veil_prepare,
                                       .stop = veil_stop,
                                       .lists = veil_lists,
                                       .content = veil_content,
                                       .read = veil_read,
                                       .resume = veil_resume,
                                       .free = veil_free,
                                       .late = &late};
    static const mdc_source_ops ops_without = {.prepare = veil_prepare,
                                               .stop = veil_stop,
                                               .lists = veil_lists,
                                               .content = veil_content,
                                               .read = veil_read,
                                               .resume = veil_resume,
                                               .free = veil_free};
    mdc_veil *veil = mdc_alloc(1, sizeof *veil, err);
    if (veil == NULL) return NULL;
    mdc_source_init(&veil->source, inner->ops->late != NULL ? &ops : &ops_without, inner->pid);
    veil->inner = inner;
    veil->hides = hides;
    veil->context = context;
    veil->fill = fill;
    mdc_vec_init(&veil->hidden, sizeof(mdc_span));
    take_identity(veil);
    return &veil->source;
}

uint64_t mdc_veil_count(const mdc_source *veil) { return ((const mdc_veil *)veil)->count; }
