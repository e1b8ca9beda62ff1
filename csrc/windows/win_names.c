/* The name pool (see win_names.h). */
#include "win_names.h"

#include <string.h>

#include "../base/fail.h"
#include "../format/wtf8.h"

enum { SLOTS_MIN = 256 };

mdc_status mdc_win_names_init(mdc_win_names *names, mdc_error *err) {
    mdc_vec_init(&names->pool, 1);
    mdc_vec_init(&names->names, sizeof(mdc_name));
    mdc_vec_init(&names->slots, sizeof(uint32_t));
    names->units = mdc_alloc(MDC_WIN_PATH_UNITS, sizeof *names->units, err);
    names->bytes = names->units == NULL ? NULL : mdc_alloc(MDC_WIN_PATH_UNITS, MDC_WTF8_PER_UNIT, err);
    return names->bytes != NULL ? MDC_OK : err->code;
}

void mdc_win_names_fini(mdc_win_names *names) {
    mdc_vec_fini(&names->pool);
    mdc_vec_fini(&names->names);
    mdc_vec_fini(&names->slots);
    mdc_dealloc(names->units);
    mdc_dealloc(names->bytes);
    names->units = NULL;
    names->bytes = NULL;
}

mdc_status mdc_win_names_put(mdc_win_names *names, const void *bytes, size_t size, mdc_name *name, mdc_error *err) {
    size_t at;
    if (size > UINT32_MAX || names->pool.count > UINT32_MAX - size)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_GATHER, 0, "the names of the target take more than 4 GiB");
    if (mdc_vec_push(&names->pool, bytes, size, &at, err) != MDC_OK) return err->code;
    *name = (mdc_name){(uint32_t)at, (uint32_t)size};
    return MDC_OK;
}

mdc_status mdc_win_names_put16(mdc_win_names *names, const uint16_t *units, size_t count, mdc_name *name,
                               mdc_error *err) {
    size_t room = (size_t)MDC_WIN_PATH_UNITS * MDC_WTF8_PER_UNIT;
    size_t size = mdc_wtf8_from_utf16(units, count, names->bytes, room);
    return mdc_win_names_put(names, names->bytes, size, name, err);
}

/* FNV-1a. Names that all fall on one place only make a dump slow, and there are as many as mappings at most. */
static uint32_t hash(const uint8_t *bytes, size_t size) {
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < size; i++) value = (value ^ bytes[i]) * 16777619u;
    return value;
}

static const uint8_t *bytes_of(const mdc_win_names *names, mdc_name name) {
    return (const uint8_t *)names->pool.data + name.offset;
}

/* The slot that holds these bytes, or the free one where they belong. */
static uint32_t *find(const mdc_win_names *names, const uint8_t *bytes, size_t size) {
    uint32_t *slots = names->slots.data;
    size_t mask = names->slots.count - 1;
    for (size_t at = hash(bytes, size) & mask;; at = (at + 1) & mask) {
        if (slots[at] == 0) return &slots[at];
        mdc_name name = mdc_vec_at(&names->names, const mdc_name, slots[at] - 1);
        if (name.size == size && memcmp(bytes_of(names, name), bytes, size) == 0) return &slots[at];
    }
}

static mdc_status grow(mdc_win_names *names, mdc_error *err) {
    size_t count = names->slots.count == 0 ? SLOTS_MIN : names->slots.count * 2;
    names->slots.count = 0;
    if (mdc_vec_push(&names->slots, NULL, count, NULL, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < names->names.count; i++) {
        mdc_name name = mdc_vec_at(&names->names, const mdc_name, i);
        *find(names, bytes_of(names, name), name.size) = (uint32_t)i + 1;
    }
    return MDC_OK;
}

mdc_status mdc_win_names_id(mdc_win_names *names, const uint8_t *bytes, size_t size, uint32_t *id, mdc_error *err) {
    *id = 0;
    if (size == 0) return MDC_OK;
    if (names->names.count >= names->slots.count / 2 && grow(names, err) != MDC_OK) return err->code;
    uint32_t *slot = find(names, bytes, size);
    if (*slot == 0) {
        mdc_name name;
        if (mdc_win_names_put(names, bytes, size, &name, err) != MDC_OK ||
            mdc_vec_push(&names->names, &name, 1, NULL, err) != MDC_OK)
            return err->code;
        *slot = (uint32_t)names->names.count;
    }
    *id = *slot;
    return MDC_OK;
}
