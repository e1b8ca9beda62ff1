/* The pool of strings: those that an RVA names, and the names of regions (see dump_file.h). */
#include <inttypes.h>
#include <string.h>

#include "../base/fail.h"
#include "../format/wtf8.h"
#include "dump_file.h"

enum { TEXT_ROOM = MDC_DUMP_STRING_MAX / 2 * MDC_WTF8_PER_UNIT };

typedef struct dump_string {
    uint64_t rva;
    mdc_name name;
} dump_string;

void mdc_dump_texts_init(mdc_dump_file *file) {
    mdc_vec_init(&file->pool, 1);
    mdc_vec_init(&file->names, sizeof(mdc_name));
    mdc_vec_init(&file->strings, sizeof(dump_string));
    mdc_hash_init(&file->by_name);
    mdc_hash_init(&file->by_rva);
}

void mdc_dump_texts_forget(mdc_dump_file *file) {
    mdc_vec_fini(&file->strings);
    mdc_hash_fini(&file->by_name);
    mdc_hash_fini(&file->by_rva);
    mdc_vec_trim(&file->pool);
}

void mdc_dump_texts_fini(mdc_dump_file *file) {
    mdc_dump_texts_forget(file);
    mdc_vec_fini(&file->pool);
    mdc_vec_fini(&file->names);
}

mdc_status mdc_dump_put(mdc_dump_file *file, const void *bytes, size_t size, mdc_name *name, mdc_error *err) {
    size_t at;
    if (size > UINT32_MAX || file->pool.count > UINT32_MAX - size)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0, "the strings in the file take more than 4 GiB");
    if (mdc_vec_push(&file->pool, bytes, size, &at, err) != MDC_OK) return err->code;
    *name = (mdc_name){(uint32_t)at, (uint32_t)size};
    return MDC_OK;
}

static bool same_rva(const void *context, uint32_t number, const void *key) {
    const mdc_dump_file *file = context;
    return mdc_vec_at(&file->strings, const dump_string, number).rva == *(const uint64_t *)key;
}

/* Reads the string at `rva` into the pool. */
static mdc_status read_string(mdc_dump_file *file, uint64_t rva, const char *what, mdc_name *name, mdc_error *err) {
    uint32_t bytes;
    if (mdc_dump_get(file, rva, &bytes, sizeof bytes, what, err) != MDC_OK) return err->code;
    if (!mdc_dump_inside(file, rva + sizeof bytes, bytes))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s: a string of %" PRIu32 " bytes at offset 0x%" PRIx64 " is beyond the end of the file", what,
                        bytes, rva);
    if (bytes > MDC_DUMP_STRING_MAX) {
        if (!file->tolerant)
            return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                            "%s: a string of %" PRIu32 " bytes at offset 0x%" PRIx64 "; %d are the limit", what, bytes,
                            rva, MDC_DUMP_STRING_MAX);
        bytes = MDC_DUMP_STRING_MAX;
    }
    bytes &= ~1u;
    if (file->text_read + bytes > file->size)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s: the string at offset 0x%" PRIx64 " overlaps others: together they are longer than the "
                        "file",
                        what, rva);
    file->text_read += bytes;
    if (mdc_dump_get(file, rva + sizeof bytes, file->scratch, bytes, what, err) != MDC_OK) return err->code;
    size_t size = mdc_wtf8_from_utf16((const uint16_t *)(const void *)file->scratch, bytes / 2, file->text, TEXT_ROOM);
    return mdc_dump_put(file, file->text, size, name, err);
}

mdc_status mdc_dump_string(mdc_dump_file *file, uint64_t rva, const char *what, mdc_name *name, mdc_error *err) {
    *name = (mdc_name){0, 0};
    if (rva == 0) return MDC_OK;
    uint32_t hash = mdc_hash_of(&file->by_rva, &rva, sizeof rva);
    uint32_t number = mdc_hash_find(&file->by_rva, hash, same_rva, file, &rva);
    if (number != MDC_HASH_NONE) {
        *name = mdc_vec_at(&file->strings, const dump_string, number).name;
        return MDC_OK;
    }
    if (read_string(file, rva, what, name, err) != MDC_OK) return mdc_dump_tolerate(file, err);
    dump_string string = {rva, *name};
    if (mdc_hash_reserve(&file->by_rva, (size_t)file->by_rva.count + 1, err) != MDC_OK ||
        mdc_vec_push(&file->strings, &string, 1, NULL, err) != MDC_OK)
        return err->code;
    mdc_hash_add(&file->by_rva, hash);
    return MDC_OK;
}

typedef struct name_key {
    const uint8_t *bytes;
    size_t size;
} name_key;

static bool same_name(const void *context, uint32_t number, const void *key) {
    const mdc_dump_file *file = context;
    const name_key *wanted = key;
    mdc_name name = mdc_vec_at(&file->names, const mdc_name, number);
    return name.size == wanted->size &&
           memcmp((const uint8_t *)file->pool.data + name.offset, wanted->bytes, wanted->size) == 0;
}

mdc_status mdc_dump_name_id(mdc_dump_file *file, const uint8_t *bytes, size_t size, uint32_t *id, mdc_error *err) {
    *id = 0;
    if (size == 0) return MDC_OK;
    mdc_hash *table = &file->by_name;
    uint32_t hash = mdc_hash_of(table, bytes, size);
    name_key wanted = {bytes, size};
    uint32_t number = mdc_hash_find(table, hash, same_name, file, &wanted);
    if (number == MDC_HASH_NONE) {
        mdc_name name;
        if (mdc_hash_reserve(table, (size_t)table->count + 1, err) != MDC_OK ||
            mdc_dump_put(file, bytes, size, &name, err) != MDC_OK ||
            mdc_vec_push(&file->names, &name, 1, NULL, err) != MDC_OK)
            return err->code;
        number = mdc_hash_add(table, hash);
    }
    *id = number + 1;
    return MDC_OK;
}
