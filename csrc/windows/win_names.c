/* The name pool (see win_names.h). */
#include "win_names.h"

#include <string.h>

#include "../base/fail.h"
#include "../format/wtf8.h"

mdc_status mdc_win_names_init(mdc_win_names *names, mdc_error *err) {
    mdc_vec_init(&names->pool, 1);
    mdc_vec_init(&names->names, sizeof(mdc_name));
    mdc_hash_init(&names->table);
    names->units = mdc_alloc(MDC_WIN_PATH_UNITS, sizeof *names->units, err);
    names->bytes = names->units == NULL ? NULL : mdc_alloc(MDC_WIN_PATH_UNITS, MDC_WTF8_PER_UNIT, err);
    return names->bytes != NULL ? MDC_OK : err->code;
}

void mdc_win_names_fini(mdc_win_names *names) {
    mdc_vec_fini(&names->pool);
    mdc_vec_fini(&names->names);
    mdc_hash_fini(&names->table);
    mdc_dealloc(names->units);
    mdc_dealloc(names->bytes);
    names->units = NULL;
    names->bytes = NULL;
}

mdc_status mdc_win_names_put(mdc_win_names *names, const void *bytes, size_t size, mdc_name *name, mdc_error *err) {
    size_t at;
    if (size > UINT32_MAX || names->pool.count > UINT32_MAX - size)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_CAPTURE, 0, "the names in the target take more than 4 GiB");
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

typedef struct name_key {
    const uint8_t *bytes;
    size_t size;
} name_key;

static bool same_name(const void *context, uint32_t number, const void *key) {
    const mdc_win_names *names = context;
    const name_key *wanted = key;
    mdc_name name = mdc_vec_at(&names->names, const mdc_name, number);
    return name.size == wanted->size &&
           memcmp((const uint8_t *)names->pool.data + name.offset, wanted->bytes, wanted->size) == 0;
}

mdc_status mdc_win_names_id(mdc_win_names *names, const uint8_t *bytes, size_t size, uint32_t *id, mdc_error *err) {
    *id = 0;
    if (size == 0) return MDC_OK;
    mdc_hash *table = &names->table;
    uint32_t hash = mdc_hash_of(table, bytes, size);
    name_key wanted = {bytes, size};
    uint32_t number = mdc_hash_find(table, hash, same_name, names, &wanted);
    if (number == MDC_HASH_NONE) {
        mdc_name name;
        if (mdc_hash_reserve(table, table->count + 1, err) != MDC_OK ||
            mdc_win_names_put(names, bytes, size, &name, err) != MDC_OK ||
            mdc_vec_push(&names->names, &name, 1, NULL, err) != MDC_OK)
            return err->code;
        number = mdc_hash_add(table, hash);
    }
    *id = number + 1;
    return MDC_OK;
}
