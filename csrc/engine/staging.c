#include "staging.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/headroom.h"
#include "../base/os_error.h"

enum {
    LITTLE_BYTES = 2 << 20,   /* touched for a dump that has no large memory: one huge page */
    LEAST_BYTES = 256 << 10,  /* less than that is not worth it */
    TOUCH_BYTES = 64 << 20,   /* touched between two looks at the dump control */
    WRITE_BYTES = 1 << 20,    /* written at once: a cancel waits no longer */
    RELEASE_BYTES = 16 << 20, /* given back at once, a multiple of huge pages */
    NOT_STAGED = 4096         /* bytes of a page of descriptors at the end */
};
static const uint64_t HOLE = UINT64_MAX;

/* A run of bytes in the arena, or a hole. */
typedef struct staged_piece {
    uint64_t at; /* offset in the arena, or HOLE */
    uint64_t size;
} staged_piece;

static mdc_staging *staging_of(mdc_sink *sink) { return (mdc_staging *)sink; }

/* From the end of the arena towards its front. */
static staged_piece *piece_at(const mdc_staging *staging, size_t index) {
    return (staged_piece *)(void *)(staging->arena.data + staging->arena.size) - (index + 1);
}

/* Bytes between what is kept and the list of pieces, when that has `more` of them. */
static size_t room_left(const mdc_staging *staging, size_t more) {
    size_t list = (staging->pieces + more) * sizeof(staged_piece), free = staging->arena.size - staging->used;
    return list < free ? free - list : 0;
}

/* -- before the stop ----------------------------------------------------------------------------------------------- */

/* What will probably be kept. */
static uint64_t expected(const mdc_engine *engine, uint64_t footprint) {
    const uint64_t large = MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY |
                           MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY | MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY;
    bool adds = (engine->options.extensions & MDC_EXT_OPTIONAL) != 0;
    if (!engine->full && !adds && (engine->options.dump_type & large) == 0) return LITTLE_BYTES;
    uint64_t bytes;
    return mdc_add_u64(footprint, footprint / 64 + LITTLE_BYTES, &bytes) ? bytes : UINT64_MAX;
}

static mdc_status give_up(mdc_staging *staging, uint32_t reason, int32_t os_errno) {
    mdc_arena_free(&staging->arena);
    staging->engine->stop_reason = reason;
    staging->engine->stop_errno = os_errno;
    return MDC_OK;
}

mdc_status mdc_staging_reserve(mdc_staging *staging, mdc_engine *engine, mdc_error *err) {
    staging->engine = engine;
    mdc_source *source = engine->source;
    if (engine->options.stop != MDC_STOP_MEMORY) return MDC_OK;
    uint64_t footprint = source->ops->footprint != NULL ? source->ops->footprint(source) : 0;
    if (footprint == 0) return give_up(staging, MDC_STOP_REASON_SOURCE, 0);
    uint64_t most = mdc_page_down(mdc_min_u64(mdc_min_u64(engine->options.stop_memory, mdc_headroom()), SIZE_MAX / 4));
    uint64_t touched = mdc_min_u64(mdc_page_up(expected(engine, footprint)), most);
    int32_t os_errno = MDC_OS_NO_MEMORY;
    /* A bound that is larger than what is needed may be refused: by a limit on addresses, or where the system vouches
     * for what it gives. */
    if (most < LEAST_BYTES || (!mdc_arena_reserve(&staging->arena, (size_t)most, &os_errno) &&
                               !mdc_arena_reserve(&staging->arena, (size_t)touched, &os_errno)))
        return give_up(staging, MDC_STOP_REASON_RESERVE, os_errno);
    size_t size = staging->arena.size;
    if (!mdc_arena_touch(&staging->arena, size - NOT_STAGED, size, &os_errno))
        return give_up(staging, MDC_STOP_REASON_RESERVE, os_errno);
    for (size_t at = 0; at < touched; at += TOUCH_BYTES) {
        if (mdc_control_check(engine->control, err) != MDC_OK) return err->code;
        if (!mdc_arena_touch(&staging->arena, at, (size_t)mdc_min_u64(touched, at + TOUCH_BYTES), &os_errno))
            return give_up(staging, MDC_STOP_REASON_RESERVE, os_errno);
    }
    return MDC_OK;
}

void mdc_staging_fini(mdc_staging *staging) { mdc_arena_free(&staging->arena); }

/* -- to the output ------------------------------------------------------------------------------------------------- */

static mdc_status begin_target(mdc_staging *staging, mdc_error *err) {
    mdc_sink *target = staging->target;
    if (staging->begun) return MDC_OK;
    staging->begun = true;
    return target->ops->begin != NULL ? target->ops->begin(target, staging->planned, staging->written, err) : MDC_OK;
}

static mdc_status write_piece(mdc_staging *staging, const staged_piece *piece, size_t *freed, mdc_error *err) {
    mdc_sink *target = staging->target;
    if (piece->at == HOLE) return target->ops->hole(target, piece->size, err);
    size_t at = (size_t)piece->at, end = at + (size_t)piece->size;
    while (at < end) {
        if (mdc_calls_poll(&staging->engine->calls, err) != MDC_OK) return err->code;
        size_t part = (size_t)mdc_min_u64(end - at, WRITE_BYTES);
        if (target->ops->write(target, staging->arena.data + at, part, err) != MDC_OK) return err->code;
        at += part;
        if (freed != NULL && at - *freed >= RELEASE_BYTES) {
            mdc_arena_release(&staging->arena, *freed, at - at % RELEASE_BYTES);
            *freed = at - at % RELEASE_BYTES;
        }
    }
    return MDC_OK;
}

/* freed: where what is no longer needed begins; NULL keeps the memory. */
static mdc_status write_pieces(mdc_staging *staging, size_t *freed, mdc_error *err) {
    if (begin_target(staging, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < staging->pieces; i++)
        if (write_piece(staging, piece_at(staging, i), freed, err) != MDC_OK) return err->code;
    staging->used = staging->pieces = 0;
    return MDC_OK;
}

mdc_status mdc_staging_drain(mdc_staging *staging, mdc_error *err) {
    size_t freed = 0;
    if (write_pieces(staging, &freed, err) != MDC_OK) return err->code;
    mdc_arena_free(&staging->arena);
    return MDC_OK;
}

/* -- from the writer ----------------------------------------------------------------------------------------------- */

static mdc_status staging_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    mdc_staging *staging = staging_of(sink);
    (void)err;
    staging->planned = planned;
    staging->written = written;
    /* A page of descriptors for each 256 pages: more only where holes and pages alternate. */
    uint64_t room = staging->arena.size - staging->arena.size / 256 - NOT_STAGED;
    staging->direct = written > room ? written - room : 0;
    return MDC_OK;
}

/* A piece that goes on where the last one ended becomes part of it. There is room for one more. */
static void add_piece(mdc_staging *staging, uint64_t at, uint64_t size) {
    staged_piece *last = staging->pieces > 0 ? piece_at(staging, staging->pieces - 1) : NULL;
    if (last != NULL && (at == HOLE ? last->at == HOLE : last->at != HOLE && last->at + last->size == at))
        last->size += size;
    else
        *piece_at(staging, staging->pieces++) = (staged_piece){at, size};
}

/* Straight to the output, after what waits. */
static mdc_status pass_on(mdc_staging *staging, const uint8_t *data, uint64_t size, mdc_error *err) {
    mdc_sink *target = staging->target;
    staging->overflow = true;
    if (write_pieces(staging, NULL, err) != MDC_OK) return err->code;
    return data == NULL ? target->ops->hole(target, size, err) : target->ops->write(target, data, (size_t)size, err);
}

static mdc_status staging_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    mdc_staging *staging = staging_of(sink);
    const uint8_t *from = data;
    sink->position += size;
    if (staging->direct > 0) {
        size_t part = (size_t)mdc_min_u64(size, staging->direct);
        staging->direct -= part;
        if (pass_on(staging, from, part, err) != MDC_OK) return err->code;
        from += part;
        size -= part;
    }
    if (size == 0) return MDC_OK;
    uintptr_t place = (uintptr_t)from, next = (uintptr_t)(staging->arena.data + staging->used);
    bool placed = place >= next && place < (uintptr_t)(staging->arena.data + staging->arena.size);
    size_t at = placed ? (size_t)(from - staging->arena.data) : staging->used;
    /* What was placed may end where the list begins: there is room for it, but perhaps not for another piece. */
    if (room_left(staging, 1) < at - staging->used + size) return pass_on(staging, from, size, err);
    if (!placed) memcpy(staging->arena.data + at, from, size);
    add_piece(staging, at, size);
    staging->used = at + size;
    return MDC_OK;
}

static mdc_status staging_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    mdc_staging *staging = staging_of(sink);
    sink->position += size;
    if (size == 0) return MDC_OK;
    if (staging->direct > 0 || room_left(staging, 1) == 0) return pass_on(staging, NULL, size, err);
    add_piece(staging, HOLE, size);
    return MDC_OK;
}

/* The writer goes back only when all is drained. */
static mdc_status staging_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)sink, (void)data;
    return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_WRITE, 0,
                    "%zu bytes at offset %llu cannot be written again before the threads run", size,
                    (unsigned long long)offset);
}

static mdc_status staging_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    (void)flush;
    return staging_patch(sink, sink->position, NULL, 0, err);
}

static void staging_free(mdc_sink *sink) { (void)sink; /* the writer's: mdc_staging_fini */ }

static const mdc_sink_ops STAGING_OPS = {staging_begin, staging_write,  staging_hole,
                                         staging_patch, staging_finish, staging_free};

mdc_sink *mdc_staging_over(mdc_staging *staging, mdc_sink *target) {
    staging->target = target;
    staging->sink = (mdc_sink){.ops = &STAGING_OPS,
                               .patchable = target->patchable,
                               .sparse = target->sparse,
                               .fd = target->fd,
                               .position = target->position};
    return &staging->sink;
}

uint8_t *mdc_staging_place(mdc_staging *staging, size_t size) {
    if (staging->direct > 0) return NULL;
    /* Pages of the file on pages of ours: that is faster to copy to. */
    size_t skip = (size_t)((staging->sink.position - staging->used) & (MDC_PAGE_SIZE - 1));
    if (room_left(staging, 1) < skip + size) return NULL;
    return staging->arena.data + staging->used + skip;
}
