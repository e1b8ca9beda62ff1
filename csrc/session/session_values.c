/* Values that are hidden everywhere (see session_values.h). */
#include "session_values.h"

#include <string.h>

#include "../base/fail.h"

void mdc_session_values_init(mdc_session_values *values) {
    memset(values, 0, sizeof *values);
    mdc_vec_init(&values->pool, 1);
    mdc_vec_init(&values->ends, sizeof(size_t));
}

void mdc_session_values_fini(mdc_session_values *values) {
    mdc_vec_fini(&values->pool);
    mdc_vec_fini(&values->ends);
}

static mdc_status add_piece(mdc_session_values *values, const uint8_t *bytes, size_t size, bool wide, mdc_error *err) {
    size_t room = wide ? 2 * size : size, at;
    if (values->ends.count >= MDC_VALUES_MAX || room > MDC_VALUES_BYTES_MAX - values->pool.count)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_CAPTURE, 0,
                        "the variables to hide have more values than can be searched for (%d, %d MiB): hide fewer of "
                        "them everywhere",
                        (int)MDC_VALUES_MAX, MDC_VALUES_BYTES_MAX >> 20);
    if (mdc_vec_push(&values->pool, NULL, room, &at, err) != MDC_OK) return err->code;
    uint8_t *out = &mdc_vec_at(&values->pool, uint8_t, at);
    for (size_t i = 0; i < size; i++) out[wide ? 2 * i : i] = bytes[i];
    size_t end = values->pool.count;
    return mdc_vec_push(&values->ends, &end, 1, NULL, err);
}

/* Pieces that follow each other; the last one overlaps the one before if too little is left. */
static mdc_status add_pieces(mdc_session_values *values, const uint8_t *value, size_t size, bool wide, mdc_error *err) {
    const size_t most = wide ? MDC_VALUE_PIECE / 2 : MDC_VALUE_PIECE;
    for (size_t at = 0; at < size;) {
        size_t part = size - at < most ? size - at : most;
        if (part < MDC_VALUE_MIN) {
            at = size - MDC_VALUE_MIN; /* the value is no shorter */
            part = MDC_VALUE_MIN;
        }
        if (add_piece(values, value + at, part, wide, err) != MDC_OK) return err->code;
        at += part;
    }
    return MDC_OK;
}

/* UTF-16 is made of ASCII alone: of other text it depends on the encoding of the environment. */
static bool is_ascii(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] > 0x7F) return false;
    return true;
}

mdc_status mdc_session_values_add(void *context, const uint8_t *value, size_t size, mdc_error *err) {
    mdc_session_values *values = context;
    if (size < MDC_VALUE_MIN) {
        values->shorter++;
        return MDC_OK;
    }
    values->searched++;
    if (add_pieces(values, value, size, false, err) != MDC_OK) return err->code;
    return is_ascii(value, size) ? add_pieces(values, value, size, true, err) : MDC_OK;
}

mdc_status mdc_session_values_all(void *context, size_t unknown, mdc_error *err) {
    mdc_session_values *values = context;
    size_t count = values->ends.count;
    values->unknown = unknown != 0;
    if (count == 0) return MDC_OK;
    mdc_bytes *list = mdc_alloc(count, sizeof *list, err);
    if (list == NULL) return err->code;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = mdc_vec_at(&values->ends, size_t, i);
        list[i] = (mdc_bytes){&mdc_vec_at(&values->pool, uint8_t, at), end - at};
        at = end;
    }
    mdc_status status = mdc_callback_learn(values->callback, list, count, err);
    mdc_dealloc(list);
    return status;
}
