/* The reader of what dbghelp wrote: a dump with every list it looks at, whole, cut at every length, and with bytes
 * changed at random. A broken one is an error, never a read outside of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/dbghelp/dump_reader.h"
#include "check.h"

enum { ROOM = 4096, STREAMS = 7, MUTATIONS = 20000 };

typedef struct image {
    uint8_t bytes[ROOM];
    uint32_t used;
    uint32_t streams;
} image;

static uint32_t put(image *it, const void *data, size_t size) {
    uint32_t at = it->used;
    memcpy(it->bytes + at, data, size);
    it->used += (uint32_t)size;
    return at;
}

static void enter(image *it, uint32_t type, uint32_t rva, uint32_t size) {
    mdc_file_directory entry = {type, size, rva};
    memcpy(it->bytes + sizeof(mdc_file_header) + it->streams++ * sizeof entry, &entry, sizeof entry);
}

static uint32_t list(image *it, uint32_t type, const void *entries, uint32_t count, size_t entry_size) {
    uint32_t at = put(it, &count, sizeof count);
    put(it, entries, count * entry_size);
    enter(it, type, at, (uint32_t)(sizeof count + count * entry_size));
    return at;
}

static image make(void) {
    image it;
    memset(&it, 0, sizeof it);
    it.used = sizeof(mdc_file_header) + STREAMS * sizeof(mdc_file_directory);
    static const uint8_t memory[256] = {1, 2, 3};
    uint32_t stack = put(&it, memory, 64), block = put(&it, memory, 32), context = put(&it, memory, 100);
    static const uint8_t name[] = {8, 0, 0, 0, 'a', 0, '.', 0, 'd', 0, 0xFC, 0, 0, 0};
    uint32_t name_rva = put(&it, name, sizeof name);
    mdc_file_thread thread = {.thread_id = 7, .stack = {0x1000, {64, stack}}, .context = {100, context}};
    list(&it, MDC_STREAM_TYPE_THREAD_LIST, &thread, 1, sizeof thread);
    mdc_file_module module = {.base_of_image = 0x400000, .size_of_image = 0x1000, .name_rva = name_rva};
    list(&it, MDC_STREAM_TYPE_MODULE_LIST, &module, 1, sizeof module);
    mdc_file_memory ranges[] = {{0x1000, {64, stack}}, {0x5000, {32, block}}};
    list(&it, MDC_STREAM_TYPE_MEMORY_LIST, ranges, 2, sizeof ranges[0]);
    mdc_file_memory_info_list infos = {16, 48, 1};
    MINIDUMP_MEMORY_INFO info = {.BaseAddress = 0x1000, .RegionSize = 0x1000, .State = MDC_MEM_COMMIT};
    uint32_t at = put(&it, &infos, sizeof infos);
    put(&it, &info, sizeof info);
    enter(&it, MDC_STREAM_TYPE_MEMORY_INFO_LIST, at, sizeof infos + sizeof info);
    uint8_t exception[168] = {0};
    mdc_file_location where = {100, context};
    memcpy(exception + 160, &where, sizeof where);
    enter(&it, 6, put(&it, exception, sizeof exception), sizeof exception);
    enter(&it, 0, 0xFFFFFFFF, 0xFFFFFFFF); /* unused: means nothing */
    mdc_file_memory64 ranges64[] = {{0x10000, 128}, {0x20000, 64}};
    mdc_file_memory64_list list64 = {2, it.used + sizeof list64 + sizeof ranges64};
    at = put(&it, &list64, sizeof list64);
    put(&it, ranges64, sizeof ranges64);
    put(&it, memory, 192);
    enter(&it, MDC_STREAM_TYPE_MEMORY64_LIST, at, sizeof list64 + sizeof ranges64);
    mdc_file_header header = {.signature = MDC_FILE_SIGNATURE,
                              .version = MDC_FILE_VERSION,
                              .stream_count = it.streams,
                              .directory_rva = sizeof header,
                              .flags = 2};
    memcpy(it.bytes, &header, sizeof header);
    return it;
}

/* In a block of exactly that size. Every piece of a dump that is accepted lies in it. */
static mdc_status read_it(const uint8_t *bytes, size_t size, mdc_dump_reader *file, mdc_win_names *names) {
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t *exact = malloc(size + 1);
    memcpy(exact, bytes, size);
    mdc_staging_file store = {.in_memory = true, .data = exact, .size = size, .room = size};
    mdc_status status = mdc_dump_reader_read(file, &store, names, &err);
    CHECK(status == err.code && (status == MDC_OK || status == MDC_ERR_FORMAT));
    for (size_t i = 0; status == MDC_OK && i < file->pieces.count; i++) {
        const mdc_file_piece *piece = &mdc_vec_at(&file->pieces, const mdc_file_piece, i);
        CHECK(piece->size != 0 && piece->offset <= size && piece->size <= size - piece->offset);
        CHECK(piece->address + (piece->size - 1) >= piece->address);
    }
    for (size_t i = 0; status == MDC_OK && i < file->contexts.count; i++) {
        const mdc_file_location *context = &mdc_vec_at(&file->contexts, const mdc_file_location, i);
        CHECK(context->rva <= size && context->data_size <= size - context->rva);
    }
    free(exact);
    return status;
}

int main(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_win_names names;
    memset(&names, 0, sizeof names);
    CHECK(mdc_win_names_init(&names, &err) == MDC_OK);
    image good = make();
    mdc_dump_reader file;
    CHECK(read_it(good.bytes, good.used, &file, &names) == MDC_OK);
    CHECK(file.threads.count == 1 && file.modules.count == 1 && file.infos.count == 1 && file.contexts.count == 2);
    CHECK(file.pieces.count == 5 && file.memory_ranges == 2 && file.memory64_ranges == 2 && file.streams == STREAMS);
    mdc_name path = mdc_vec_at(&file.modules, const mdc_dump_reader_module, 0).path;
    CHECK(path.size == 5 && memcmp((const uint8_t *)names.pool.data + path.offset, "a.d\xC3\xBC", 5) == 0);
    const mdc_file_piece *last = &mdc_vec_at(&file.pieces, const mdc_file_piece, 4);
    CHECK(last->address == 0x20000 && last->size == 64 && last->offset == good.used - 64);
    mdc_dump_reader_fini(&file);
    for (uint32_t size = 0; size < good.used; size++) { /* each length lacks something */
        CHECK(read_it(good.bytes, size, &file, &names) == MDC_ERR_FORMAT);
        mdc_dump_reader_fini(&file);
    }
    static const uint8_t odd[] = {0, 1, 0x7F, 0x80, 0xFF, 4, 8, 0x30};
    uint32_t state = 12345;
    unsigned accepted = 0;
    for (unsigned i = 0; i < MUTATIONS; i++) {
        image bad = good;
        for (unsigned k = 0; k < 1 + i % 4; k++) {
            state = state * 1664525u + 1013904223u;
            bad.bytes[(state >> 8) % good.used] = odd[state >> 24 & 7];
        }
        accepted += read_it(bad.bytes, good.used, &file, &names) == MDC_OK;
        mdc_dump_reader_fini(&file);
        names.pool.count = 0;
    }
    CHECK(accepted > 100 && accepted < MUTATIONS - 100);
    mdc_win_names_fini(&names);
    if (failures == 0) puts("ok");
    return failures != 0;
}
