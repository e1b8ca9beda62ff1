/* NT_FILE: fill_files_note of fs/binfmt_elf.c. count and page size, (first, end, offset in pages) for each mapping,
 * then a path for each. gcore's page size is 1. Without the note (the kernel leaves it out from 65,536 mappings on,
 * older gcores as well) mappings have no names. */
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../format/elf_file.h"
#include "../source/name_kinds.h"
#include "core.h"

typedef struct name_key {
    const mdc_core *core;
    const uint8_t *bytes;
    size_t size;
} name_key;

static bool same_name(const void *context, uint32_t number, const void *key) {
    const mdc_core *core = context;
    const name_key *wanted = key;
    mdc_name name = mdc_vec_at(&core->names, mdc_name, number);
    return name.size == wanted->size &&
           memcmp(&mdc_vec_at(&core->pool, uint8_t, name.offset), wanted->bytes, wanted->size) == 0;
}

mdc_status mdc_core_name(mdc_core *core, const uint8_t *bytes, size_t size, uint32_t *name_id, mdc_error *err) {
    *name_id = 0;
    if (size == 0) return MDC_OK;
    mdc_hash *table = &core->name_table;
    const uint32_t hash = mdc_hash_of(table, bytes, size);
    const name_key wanted = {core, bytes, size};
    uint32_t number = mdc_hash_find(table, hash, same_name, core, &wanted);
    if (number == MDC_HASH_NONE) {
        mdc_name name;
        if (mdc_hash_reserve(table, (size_t)table->count + 1, err) != MDC_OK ||
            mdc_pool_add(&core->pool, bytes, size, &name, err) != MDC_OK ||
            mdc_vec_push(&core->names, &name, 1, NULL, err) != MDC_OK)
            return err->code;
        number = mdc_hash_add(table, hash);
    }
    *name_id = number + 1;
    return MDC_OK;
}

static int by_address(const void *left, const void *right) {
    const mdc_core_file *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* In order and disjoint, whole pages. */
static void sort_files(mdc_core *core) {
    mdc_core_file *files = core->files.data;
    size_t kept = 0, count = core->files.count;
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) sorted = files[i - 1].first <= files[i].first;
    if (!sorted) qsort(files, count, sizeof *files, by_address);
    uint64_t floor = 0;
    for (size_t i = 0; i < count; i++) {
        mdc_core_file file = files[i];
        if (file.first < floor) {
            file.offset += floor - file.first;
            file.first = floor;
        }
        if (file.first >= file.end) continue;
        floor = file.end;
        files[kept++] = file;
    }
    core->files.count = kept;
}

/* The path at this offset; *next: of the one after it, 0 if there is none. */
static mdc_status read_path(mdc_core *core, mdc_window *paths, uint64_t offset, mdc_core_file *file, uint64_t *next,
                            mdc_error *err) {
    const uint64_t end = core->file_note.offset + core->file_note.size;
    const size_t room = (size_t)mdc_min_u64(end - offset, MDC_CORE_PATH_MAX + MDC_NAME_DELETED_SIZE + 1);
    *next = 0;
    if (room == 0) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(paths, offset, room, "path in NT_FILE", err);
    if (bytes == NULL) return err->code;
    const uint8_t *nul = memchr(bytes, '\0', room);
    if (nul == NULL) return MDC_OK;
    size_t size = (size_t)(nul - bytes);
    *next = offset + size + 1;
    file->deleted = mdc_name_deleted(bytes, &size);
    return mdc_core_name(core, bytes, size, &file->name_id, err);
}

static mdc_status read_all(mdc_core *core, mdc_window *paths, mdc_error *err) {
    const size_t word = core->wide ? 8 : 4, each = 3 * word;
    const mdc_core_part *note = &core->file_note;
    if (note->size < 2 * word) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(&core->window, note->offset, 2 * word, "NT_FILE", err);
    if (bytes == NULL) return err->code;
    const uint64_t claimed = mdc_elf_get_word(bytes, core->wide), page = mdc_elf_get_word(bytes + word, core->wide);
    const uint64_t room = (note->size - 2 * word) / each;
    /* Where the paths begin follows from the count: with a wrong one there are none. */
    if (claimed > room || claimed > MDC_CORE_FILES_MAX || page == 0) return MDC_OK;
    uint64_t path = note->offset + 2 * word + claimed * each;
    for (uint64_t i = 0; i < claimed && path != 0; i++) {
        mdc_core_file file = {.deleted = 0};
        bytes = mdc_window_get(&core->window, note->offset + 2 * word + i * each, each, "entry of NT_FILE", err);
        if (bytes == NULL || (i % 1024 == 0 && mdc_control_check(core->control, err) != MDC_OK)) return err->code;
        file.first = mdc_page_down(mdc_elf_get_word(bytes, core->wide));
        file.end = mdc_page_up(mdc_elf_get_word(bytes + word, core->wide));
        const bool sound = mdc_mul_u64(mdc_elf_get_word(bytes + 2 * word, core->wide), page, &file.offset);
        if (read_path(core, paths, path, &file, &path, err) != MDC_OK) return err->code;
        if (!sound || file.first >= file.end || file.name_id == 0) continue;
        if (mdc_vec_push(&core->files, &file, 1, NULL, err) != MDC_OK) return err->code;
    }
    sort_files(core);
    return MDC_OK;
}

mdc_status mdc_core_read_files(mdc_core *core, mdc_error *err) {
    mdc_window paths;
    if (core->file_note.size == 0) return MDC_OK;
    if (mdc_window_init(&paths, core->input, err) != MDC_OK) return err->code;
    mdc_status status = read_all(core, &paths, err);
    mdc_window_fini(&paths);
    return status;
}
