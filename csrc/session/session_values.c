/* Values that are hidden everywhere (see session_values.h). */
#include "session_values.h"

#include <string.h>

#include "../base/fail.h"

static void bytes_init(mdc_distinct *distinct) {
    mdc_vec_init(&distinct->pool, 1);
    mdc_vec_init(&distinct->ends, sizeof(size_t));
    mdc_hash_init(&distinct->table);
}

static void bytes_fini(mdc_distinct *distinct) {
    mdc_vec_fini(&distinct->pool);
    mdc_vec_fini(&distinct->ends);
    mdc_hash_fini(&distinct->table);
}

void mdc_session_values_init(mdc_session_values *values) {
    memset(values, 0, sizeof *values);
    bytes_init(&values->told);
    bytes_init(&values->pieces);
}

void mdc_session_values_fini(mdc_session_values *values) {
    bytes_fini(&values->told);
    bytes_fini(&values->pieces);
}

static mdc_bytes bytes_at(const mdc_distinct *distinct, size_t number) {
    size_t first = number == 0 ? 0 : mdc_vec_at(&distinct->ends, size_t, number - 1);
    return (mdc_bytes){&mdc_vec_at(&distinct->pool, uint8_t, first),
                       mdc_vec_at(&distinct->ends, size_t, number) - first};
}

static bool same(const void *context, uint32_t number, const void *key) {
    const mdc_bytes *wanted = key, there = bytes_at(context, number);
    return there.size == wanted->size && memcmp(there.data, wanted->data, wanted->size) == 0;
}

/* The last `size` bytes of the pool become an entry, or are removed again if there is one like them. */
static mdc_status enter(mdc_distinct *distinct, size_t size, bool *fresh, mdc_error *err) {
    size_t end = distinct->pool.count;
    const mdc_bytes key = {&mdc_vec_at(&distinct->pool, uint8_t, end - size), size};
    uint32_t hash = mdc_hash_of(&distinct->table, key.data, size);
    *fresh = mdc_hash_find(&distinct->table, hash, same, distinct, &key) == MDC_HASH_NONE;
    if (!*fresh) {
        distinct->pool.count -= size;
        return MDC_OK;
    }
    if (mdc_hash_reserve(&distinct->table, (size_t)distinct->table.count + 1, err) != MDC_OK ||
        mdc_vec_push(&distinct->ends, &end, 1, NULL, err) != MDC_OK)
        return err->code;
    mdc_hash_add(&distinct->table, hash);
    return MDC_OK;
}

enum { UNIT = 2 };

/* How a value becomes a pattern: as it is, from bytes to UTF-16, from UTF-16 to bytes. */
typedef enum form { AS_IT_IS, WIDENED, NARROWED } form;

static mdc_status add_piece(mdc_session_values *values, const uint8_t *bytes, size_t size, form how, mdc_error *err) {
    mdc_vec *pool = &values->pieces.pool;
    size_t room = how == WIDENED ? UNIT * size : how == NARROWED ? size / UNIT : size, at;
    bool fresh;
    if (mdc_vec_push(pool, NULL, room, &at, err) != MDC_OK) return err->code;
    uint8_t *out = &mdc_vec_at(pool, uint8_t, at);
    for (size_t i = 0; i < room; i++) {
        if (how == AS_IT_IS) out[i] = bytes[i];
        if (how == NARROWED) out[i] = bytes[UNIT * i];
        if (how == WIDENED) out[i] = i % UNIT == 0 ? bytes[i / UNIT] : 0;
    }
    if (enter(&values->pieces, room, &fresh, err) != MDC_OK) return err->code;
    if (values->pieces.ends.count <= MDC_VALUES_MAX && pool->count <= MDC_VALUES_BYTES_MAX) return MDC_OK;
    return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_CAPTURE, 0,
                    "the variables to hide have more values than can be searched for (%d, those as UTF-16 "
                    "included, and %d MiB): hide fewer of them everywhere",
                    (int)MDC_VALUES_MAX, MDC_VALUES_BYTES_MAX >> 20);
}

/* Pieces that follow each other; the last one overlaps the one before if too little is left. unit: bytes of a
 * character of the value. */
static mdc_status add_pieces(mdc_session_values *values, const uint8_t *value, size_t size, size_t unit, form how,
                             mdc_error *err) {
    const size_t most = how == WIDENED ? MDC_VALUE_PIECE / UNIT : MDC_VALUE_PIECE, least = MDC_VALUE_MIN * unit;
    for (size_t at = 0; at < size;) {
        size_t part = size - at < most ? size - at : most;
        if (part < least) {
            at = size - least; /* the value is no shorter */
            part = least;
        }
        if (add_piece(values, value + at, part, how, err) != MDC_OK) return err->code;
        at += part;
    }
    return MDC_OK;
}

/* Only ASCII is the same characters in the other form, whatever encoding bytes have. */
static bool is_ascii(const uint8_t *bytes, size_t size, size_t unit) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] > (i % unit == 0 ? 0x7F : 0)) return false;
    return true;
}

mdc_status mdc_session_values_add(void *context, const uint8_t *value, size_t size, bool wide, mdc_error *err) {
    mdc_session_values *values = context;
    const size_t unit = wide ? UNIT : 1;
    bool fresh;
    if (size == 0) return MDC_OK;
    if (mdc_vec_push(&values->told.pool, value, size, NULL, err) != MDC_OK ||
        enter(&values->told, size, &fresh, err) != MDC_OK)
        return err->code;
    if (!fresh) return MDC_OK;
    if (size / unit < MDC_VALUE_MIN) {
        values->shorter++;
        return MDC_OK;
    }
    values->searched++;
    if (add_pieces(values, value, size, unit, AS_IT_IS, err) != MDC_OK) return err->code;
    if (!is_ascii(value, size, unit)) return MDC_OK;
    return add_pieces(values, value, size, unit, wide ? NARROWED : WIDENED, err);
}

mdc_status mdc_session_values_all(void *context, size_t unknown, mdc_error *err) {
    mdc_session_values *values = context;
    size_t count = values->pieces.ends.count;
    values->unknown = unknown != 0;
    bytes_fini(&values->told);
    if (count == 0) return MDC_OK;
    mdc_bytes *list = mdc_alloc(count, sizeof *list, err);
    if (list == NULL) return err->code;
    for (size_t i = 0; i < count; i++) list[i] = bytes_at(&values->pieces, i);
    mdc_status status = mdc_callback_learn(values->callback, list, count, err);
    mdc_dealloc(list);
    return status;
}
