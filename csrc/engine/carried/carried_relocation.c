#include "carried_relocation.h"

#include <inttypes.h>
#include <string.h>

#include "../../base/arith.h"
#include "../../base/fail.h"

/* Strings and tables are built in memory. Those of a hostile file may overlap, so that more is read of it than it has:
 * twice its size is more than any writer needs. */
enum { READ_FACTOR = 2, READ_SLACK = 1 << 16, TABLES_MAX = 512 << 20 };

void mdc_relocation_init(mdc_relocation *relocation, mdc_layout *layout, const mdc_vec *memory) {
    *relocation = (mdc_relocation){.layout = layout,
                                   .source = layout->engine->source,
                                   .carried = layout->capture->lists->carried,
                                   .memory = memory,
                                   .what = ""};
    mdc_hash_init(&relocation->shared);
    mdc_vec_init(&relocation->moved, sizeof(mdc_moved));
    mdc_vec_init(&relocation->bytes, 1);
    mdc_vec_init(&relocation->text, 1);
}

void mdc_relocation_fini(mdc_relocation *relocation) {
    mdc_hash_fini(&relocation->shared);
    mdc_vec_fini(&relocation->moved);
    mdc_vec_fini(&relocation->bytes);
    mdc_vec_fini(&relocation->text);
}

mdc_status mdc_relocation_fail(const mdc_relocation *relocation, const char *field, uint64_t rva, mdc_error *err) {
    return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                    "%s: %s at offset 0x%" PRIx64 " is damaged, or not inside of the file", relocation->what, field,
                    rva);
}

mdc_status mdc_carried_apart(const mdc_vec *memory, const char *what, uint64_t rva, uint64_t size, mdc_error *err) {
    if (size == 0 || !mdc_range_set_touches(memory, rva, rva + size)) return MDC_OK;
    return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                    "%s: %" PRIu64 " bytes at offset 0x%" PRIx64 " are also memory of the target: rules about memory "
                    "could not decide about them",
                    what, size, rva);
}

mdc_status mdc_relocation_read(mdc_relocation *relocation, uint64_t rva, uint64_t size, const char *field, mdc_vec *out,
                               mdc_error *err) {
    const uint64_t all = relocation->carried->file_size;
    uint64_t end;
    size_t at;
    if (!mdc_add_u64(rva, size, &end) || end > all) return mdc_relocation_fail(relocation, field, rva, err);
    if (mdc_carried_apart(relocation->memory, relocation->what, rva, size, err) != MDC_OK) return err->code;
    relocation->read += size;
    if (relocation->read > all * READ_FACTOR + READ_SLACK || relocation->read > TABLES_MAX)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "%s: the streams of this dump refer to %" PRIu64 " bytes, more than a file of %" PRIu64
                        " can have, or than %d: they overlap, or it is damaged",
                        relocation->what, relocation->read, all, (int)TABLES_MAX);
    if (mdc_vec_push(out, NULL, (size_t)size, &at, err) != MDC_OK) return err->code;
    return size == 0 ? MDC_OK
                     : relocation->carried->read(relocation->source, rva, (uint8_t *)out->data + at, (size_t)size, err);
}

static bool same_move(const void *context, uint32_t number, const void *key) {
    const mdc_relocation *relocation = context;
    const mdc_moved *a = &mdc_vec_at(&relocation->moved, const mdc_moved, number), *b = key;
    return a->kind == b->kind && a->rva == b->rva && a->size == b->size;
}

static uint32_t hash_of(const mdc_relocation *relocation, const mdc_moved *key) {
    return mdc_hash_of(&relocation->shared, key, offsetof(mdc_moved, to));
}

/* true, and where it is, if it was moved already. */
static bool find(const mdc_relocation *relocation, mdc_moved *key) {
    uint32_t found = mdc_hash_find(&relocation->shared, hash_of(relocation, key), same_move, relocation, key);
    if (found == MDC_HASH_NONE) return false;
    key->to = mdc_vec_at(&relocation->moved, const mdc_moved, found).to;
    return true;
}

static mdc_status note(mdc_relocation *relocation, const mdc_moved *key, mdc_error *err) {
    if (mdc_hash_reserve(&relocation->shared, (size_t)relocation->shared.count + 1, err) != MDC_OK ||
        mdc_vec_push(&relocation->moved, key, 1, NULL, err) != MDC_OK)
        return err->code;
    (void)mdc_hash_add(&relocation->shared, hash_of(relocation, key));
    return MDC_OK;
}

/* With names="ascii" it is escaped, as all strings are then. */
static mdc_status put_utf16(mdc_relocation *relocation, size_t units, uint32_t *rva, mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    const uint32_t length = (uint32_t)(units * 2);
    const uint16_t nul = 0;
    size_t at;
    uint8_t *bytes = relocation->bytes.data;
    if (mdc_carried_edit_utf16(relocation, bytes, units, err) != MDC_OK) return err->code;
    if (layout->engine->options.names == MDC_NAMES_ASCII && units > 0) {
        if (mdc_carried_utf8(relocation, bytes, units, err) != MDC_OK) return err->code;
        return mdc_layout_string(layout, relocation->text.data, relocation->text.count, rva, err);
    }
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, &length, sizeof length, &at, err) != MDC_OK ||
        mdc_layout_put(layout, bytes, units * 2, NULL, err) != MDC_OK ||
        mdc_layout_put(layout, &nul, sizeof nul, NULL, err) != MDC_OK)
        return err->code;
    *rva = (uint32_t)at;
    return MDC_OK;
}

static mdc_status put_utf8(mdc_relocation *relocation, uint32_t length, uint32_t *rva, mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    const uint8_t nul = 0;
    size_t at;
    mdc_sanitize(layout->engine, 0, relocation->bytes.data, length);
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, &length, sizeof length, &at, err) != MDC_OK ||
        mdc_layout_put(layout, relocation->bytes.data, length, NULL, err) != MDC_OK ||
        mdc_layout_put(layout, &nul, sizeof nul, NULL, err) != MDC_OK)
        return err->code;
    *rva = (uint32_t)at;
    return MDC_OK;
}

mdc_status mdc_relocate_string(mdc_relocation *relocation, uint32_t kind, uint32_t *rva, const char *field,
                               mdc_error *err) {
    mdc_moved key = {.kind = kind, .rva = *rva};
    uint32_t length;
    if (*rva == 0) return MDC_OK;
    if (find(relocation, &key)) {
        *rva = key.to;
        return MDC_OK;
    }
    mdc_vec *bytes = &relocation->bytes;
    bytes->count = 0;
    if (mdc_relocation_read(relocation, *rva, sizeof length, field, bytes, err) != MDC_OK) return err->code;
    memcpy(&length, bytes->data, sizeof length);
    bytes->count = 0;
    if (mdc_relocation_read(relocation, (uint64_t)*rva + sizeof length, length, field, bytes, err) != MDC_OK)
        return err->code;
    mdc_status status = kind == MDC_MOVED_UTF8 ? put_utf8(relocation, length, &key.to, err)
                                               : put_utf16(relocation, length / 2, &key.to, err);
    if (status != MDC_OK) return status;
    *rva = key.to;
    return note(relocation, &key, err);
}

/* A context that declares no content, of the same size: readers know its kind by that and by the bits for the
 * processor. They are at offset 48 in AMD64's, and first in all others. */
static void empty_context(const mdc_relocation *relocation, uint8_t *bytes, size_t size) {
    bool amd64 = relocation->layout->capture->lists->system->architecture == MDC_FILE_ARCH_AMD64;
    size_t at = amd64 ? 48 : 0;
    uint32_t flags = 0;
    if (at + sizeof flags <= size) memcpy(&flags, bytes + at, sizeof flags);
    memset(bytes, 0, size);
    flags &= UINT32_C(0xFFFF0000);
    if (at + sizeof flags <= size) memcpy(bytes + at, &flags, sizeof flags);
}

/* Where the path begins in a CodeView record: what is before it is no text. A record of another kind may be all text.
 */
static size_t codeview_fixed(const uint8_t *bytes, size_t size) {
    enum { RSDS = 0x53445352, RSDS_FIXED = 24, NB10 = 0x3031424E, NB10_FIXED = 16 };
    uint32_t signature = 0;
    if (size >= sizeof signature) memcpy(&signature, bytes, sizeof signature);
    size_t fixed = signature == RSDS              ? RSDS_FIXED
                   : signature == NB10            ? NB10_FIXED
                   : signature == MDC_FILE_CV_ELF ? size
                                                  : 0;
    return fixed < size ? fixed : size;
}

mdc_status mdc_relocate_bytes(mdc_relocation *relocation, uint32_t kind, mdc_file_location *location, const char *field,
                              mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    mdc_moved key = {.kind = kind, .rva = location->rva, .size = location->data_size};
    const size_t size = location->data_size;
    if (size == 0 || location->rva == 0) {
        *location = (mdc_file_location){0, 0};
        return MDC_OK;
    }
    if (find(relocation, &key)) {
        location->rva = key.to;
        return MDC_OK;
    }
    relocation->bytes.count = 0;
    if (mdc_relocation_read(relocation, location->rva, size, field, &relocation->bytes, err) != MDC_OK)
        return err->code;
    uint8_t *bytes = relocation->bytes.data;
    size_t from = 0, at;
    if (kind == MDC_MOVED_CODEVIEW) from = codeview_fixed(bytes, size);
    if (kind == MDC_MOVED_EMPTY_CONTEXT)
        empty_context(relocation, bytes, size);
    else
        mdc_sanitize(layout->engine, 0, bytes + from, size - from);
    bool registers = kind == MDC_MOVED_CONTEXT || kind == MDC_MOVED_EMPTY_CONTEXT;
    if (mdc_layout_align(layout, registers ? 16 : 4, err) != MDC_OK ||
        mdc_layout_put(layout, bytes, size, &at, err) != MDC_OK)
        return err->code;
    location->rva = key.to = (uint32_t)at;
    return note(relocation, &key, err);
}
