/* The recorder (see record.h). */
#include "recorder.h"

#include <stdbool.h>
#include <string.h>

#include "../base/fail.h"
#include "../base/thread.h"
#include "../base/vec.h"
#include "../callback/state.h"
#include "codec.h"
#include "siphash.h"

#define DEFAULT_LIMIT (UINT64_C(256) << 20)
/* A chunk holds at least the longest record; they double up to the second number. */
#define CHUNK_MIN ((size_t)128 << 10)
#define CHUNK_MAX ((size_t)16 << 20)

typedef struct chunk {
    struct chunk *next;
    size_t used;
    size_t room;
    uint8_t bytes[];
} chunk;

struct mdc_recorder {
    mdc_lock lock;
    MINIDUMP_CALLBACK_INFORMATION own;
    MINIDUMP_CALLBACK_INFORMATION callee;
    uint32_t callee_extensions;
    bool digests;
    uint64_t key[2];
    uint64_t limit;
    /* under the lock */
    chunk *first;
    chunk *last;
    uint64_t reserved; /* bytes of all chunks */
    bool full;         /* something did not fit: what comes later is not kept either, so that no hole is left */
    mdc_recorder_state state;
};

mdc_recorder *mdc_recorder_new(const mdc_recorder_options *options, mdc_error *err) {
    mdc_error_clear(err);
    mdc_recorder *recorder = mdc_alloc(1, sizeof *recorder, err);
    if (recorder == NULL) return NULL;
    if (mdc_lock_init(&recorder->lock, err) != MDC_OK) {
        mdc_dealloc(recorder);
        return NULL;
    }
    recorder->own.CallbackRoutine = mdc_recorder_routine;
    recorder->own.CallbackParam = recorder;
    recorder->limit = options != NULL && options->limit != 0 ? options->limit : DEFAULT_LIMIT;
    if (options != NULL) {
        recorder->key[0] = options->key0;
        recorder->key[1] = options->key1;
        recorder->digests = (options->key0 | options->key1) != 0;
    }
    return recorder;
}

static void forget(mdc_recorder *recorder) {
    while (recorder->first != NULL) {
        chunk *next = recorder->first->next;
        mdc_dealloc(recorder->first);
        recorder->first = next;
    }
    recorder->last = NULL;
    recorder->reserved = 0;
    recorder->full = false;
    memset(&recorder->state, 0, sizeof recorder->state);
}

void mdc_recorder_free(mdc_recorder *recorder) {
    if (recorder == NULL) return;
    forget(recorder);
    mdc_lock_fini(&recorder->lock);
    mdc_dealloc(recorder);
}

void mdc_recorder_clear(mdc_recorder *recorder) {
    mdc_lock_enter(&recorder->lock);
    forget(recorder);
    mdc_lock_leave(&recorder->lock);
}

void mdc_recorder_attach(mdc_recorder *recorder, uint32_t extensions, MINIDUMP_CALLBACK_INFORMATION *callee) {
    /* A callee that is this recorder already would call itself for ever. */
    if (callee->CallbackRoutine == NULL || callee->CallbackParam == recorder) return;
    recorder->callee = *callee;
    recorder->callee_extensions = extensions;
    *callee = recorder->own;
}

const MINIDUMP_CALLBACK_INFORMATION *mdc_recorder_information(const mdc_recorder *recorder) { return &recorder->own; }

/* -- appending ----------------------------------------------------------------------------------------------------- */

/* Room for one more record, or NULL. Each chunk is as large as all before it, within bounds. */
static uint8_t *room(mdc_recorder *recorder, size_t size) {
    chunk *last = recorder->last;
    if (last != NULL && last->room - last->used >= size) return last->bytes + last->used;
    uint64_t left = recorder->limit - recorder->reserved;
    size_t want = recorder->reserved < CHUNK_MIN   ? CHUNK_MIN
                  : recorder->reserved > CHUNK_MAX ? CHUNK_MAX
                                                   : (size_t)recorder->reserved;
    if (want > left) want = (size_t)left;
    if (want < size) return NULL;
    mdc_error unused;
    mdc_error_clear(&unused);
    chunk *fresh = mdc_alloc(1, sizeof *fresh + want, &unused);
    if (fresh == NULL) return NULL;
    fresh->room = want;
    if (last != NULL)
        last->next = fresh;
    else
        recorder->first = fresh;
    recorder->last = fresh;
    recorder->reserved += want;
    return fresh->bytes;
}

/* fixed NULL: a call that cannot be kept. */
static void append(mdc_recorder *recorder, const uint8_t *fixed, const mdc_trace_taken *taken, uint32_t extensions) {
    mdc_trace_header header = {.size = 0};
    if (fixed != NULL) memcpy(&header, fixed, sizeof header);
    mdc_lock_enter(&recorder->lock);
    uint8_t *to = fixed != NULL && !recorder->full ? room(recorder, header.size) : NULL;
    if (fixed != NULL && to == NULL) recorder->full = true;
    recorder->state.extensions |= extensions;
    if (to == NULL) {
        recorder->state.dropped++;
    } else {
        memcpy(to, fixed, taken->fixed);
        memset(to + taken->fixed, 0, header.size - taken->fixed);
        size_t ending = header.type == MDC_CB_MODULE ? 2 : 1; /* the NUL that is there already: the memory is zeroed */
        if (taken->text != NULL && header.text_bytes > ending)
            memcpy(to + taken->fixed, taken->text, header.text_bytes - ending);
        recorder->last->used += header.size;
        recorder->state.bytes += header.size;
        recorder->state.calls++;
    }
    mdc_lock_leave(&recorder->lock);
}

static uint32_t extensions_of(const mdc_recorder *recorder) {
    if (recorder->callee.CallbackRoutine != mdc_callback_routine) return recorder->callee_extensions;
    const mdc_callback *callback = recorder->callee.CallbackParam;
    return atomic_load_explicit(&callback->extensions, memory_order_relaxed);
}

static void put_digest(const mdc_recorder *recorder, uint8_t *to, const void *buffer, size_t size) {
    uint64_t digest = buffer != NULL && size > 0 ? mdc_siphash(recorder->key, buffer, size) : 0;
    memcpy(to, &digest, sizeof digest);
}

int32_t MDC_CALL mdc_recorder_routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_recorder *recorder = param;
    if (recorder == NULL || recorder->callee.CallbackRoutine == NULL) return 0;
    uint8_t fixed[MDC_TRACE_FIXED_MAX];
    mdc_trace_taken taken;
    uint32_t extensions = extensions_of(recorder);
    bool kept = mdc_trace_take(input, output, (extensions & MDC_EXT_REGION_FACTS) != 0, fixed, &taken);
    bool digests = kept && recorder->digests && taken.buffer != NULL;
    if (digests) put_digest(recorder, fixed + sizeof(mdc_trace_header), taken.buffer, taken.buffer_before);

    int32_t result = recorder->callee.CallbackRoutine(recorder->callee.CallbackParam, input, output);

    if (!kept) {
        append(recorder, NULL, &taken, extensions);
        return result;
    }
    mdc_trace_header answered;
    memcpy(&answered, fixed, sizeof answered);
    answered.result = result;
    answered.flags |= MDC_TRACE_RESULT | MDC_TRACE_AFTER;
    memcpy(fixed, &answered, sizeof answered);
    memcpy(fixed + taken.after_at, output, answered.output_bytes);
    if (digests) {
        size_t valid = taken.buffer_before;
        if (taken.buffer_after > 0) { /* 19, 20: what the callee says is in the buffer now, else what was */
            uint32_t said = output->VmRead.VmReadBytesCompleted;
            if (result != 0) valid = said < taken.buffer_after ? said : taken.buffer_after;
        }
        put_digest(recorder, fixed + sizeof answered + sizeof(uint64_t), taken.buffer, valid);
    }
    append(recorder, fixed, &taken, extensions);
    return result;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

mdc_recorder_state mdc_recorder_read(mdc_recorder *recorder) {
    mdc_lock_enter(&recorder->lock);
    mdc_recorder_state state = recorder->state;
    mdc_lock_leave(&recorder->lock);
    return state;
}

size_t mdc_recorder_copy(mdc_recorder *recorder, uint8_t *to, size_t size) {
    size_t done = 0;
    mdc_lock_enter(&recorder->lock);
    for (const chunk *from = recorder->first; from != NULL; from = from->next) {
        size_t take = from->used;
        if (take > size - done) { /* no more than whole records */
            take = 0;
            for (;;) {
                mdc_trace_header header;
                if (from->used - take < sizeof header) break;
                memcpy(&header, from->bytes + take, sizeof header);
                if (header.size > size - done - take) break;
                take += header.size;
            }
        }
        memcpy(to + done, from->bytes, take);
        done += take;
        if (take < from->used) break;
    }
    mdc_lock_leave(&recorder->lock);
    return done;
}
