/* Breakpad's DSO_DEBUG stream: the dynamic linker's list of loaded objects, read from the target's memory: AT_PHDR ->
 * PT_DYNAMIC -> DT_DEBUG -> r_debug -> link_map (System V ABI, glibc's link.h). All of it is hostile: every count is
 * bounded, the list must be doubly linked (a loop breaks that), and what the callee does not keep is not read. If
 * something is missing, the stream is left out; the dump is still valid. */
#include <string.h>

#include "../../base/arith.h"
#include "../dump_state.h"

enum {
    PHDR_SIZE = 56,
    PHDRS_MAX = 128,
    PT_DYNAMIC_TYPE = 2,
    PT_PHDR_TYPE = 6,
    DYN_SIZE = 16,
    DYNS_MAX = 1024,
    DT_DEBUG_TAG = 21,
    R_DEBUG_SIZE = 40,
    LINK_MAP_SIZE = 40,
    OBJECTS_MAX = 4096,
    NAME_MAX_BYTES = 4096
};

typedef struct dso_reader {
    mdc_dump *dump;
    bool excluded; /* the callee does not keep some of it */
} dso_reader;

static uint64_t get_u64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint32_t get_u32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static bool mapped(const mdc_dump *dump, uint64_t first, uint64_t end) {
    while (first < end) {
        int64_t found = mdc_regions_find(dump, first);
        if (found == MDC_NO_REGION) return false;
        first = dump->regions[found].base + dump->regions[found].size;
    }
    return true;
}

/* *whole: all was kept and could be read. Fails only when the dump has to end. */
static mdc_status peek(dso_reader *reader, uint64_t address, void *out, size_t size, bool *whole, mdc_error *err) {
    uint64_t end;
    *whole = false;
    if (address == 0 || !mdc_add_u64(address, size, &end)) return MDC_OK;
    bool kept;
    if (mdc_memory_kept(reader->dump, address, end, &kept, err) != MDC_OK) return err->code;
    if (!kept) {
        /* Unmapped is a broken list; mapped and not kept is a rule. */
        reader->excluded = reader->excluded || mapped(reader->dump, address, end);
        return MDC_OK;
    }
    size_t done;
    if (mdc_copy_peek(reader->dump, address, out, size, &done, err) != MDC_OK) return err->code;
    *whole = done == size;
    return MDC_OK;
}

/* The dynamic section: into `dyn` up to DT_NULL, *count entries; *debug is what DT_DEBUG points at. */
static mdc_status find_dynamic(dso_reader *reader, uint8_t *dyn, size_t *count, uint64_t *address, uint64_t *debug,
                               bool *found, mdc_error *err) {
    const mdc_lists *lists = reader->dump->lists;
    uint8_t phdr[PHDR_SIZE];
    uint64_t bias = 0, size = 0;
    *found = false;
    *address = 0;
    for (uint32_t i = 0; i < lists->auxv_phnum && i < PHDRS_MAX; i++) {
        bool whole;
        if (peek(reader, lists->auxv_phdr + (uint64_t)i * PHDR_SIZE, phdr, sizeof phdr, &whole, err) != MDC_OK)
            return err->code;
        if (!whole) return MDC_OK;
        uint32_t type = get_u32(phdr);
        if (type == PT_PHDR_TYPE) bias = lists->auxv_phdr - get_u64(phdr + 16); /* where the image was moved to */
        if (type != PT_DYNAMIC_TYPE) continue;
        *address = get_u64(phdr + 16);
        size = get_u64(phdr + 40);
    }
    if (*address == 0) return MDC_OK; /* a static executable */
    *address += bias;
    for (*count = 0; *count < DYNS_MAX && *count < size / DYN_SIZE; ++*count) {
        uint8_t *entry = dyn + *count * DYN_SIZE;
        bool whole;
        if (peek(reader, *address + *count * DYN_SIZE, entry, DYN_SIZE, &whole, err) != MDC_OK) return err->code;
        if (!whole) return MDC_OK;
        if (get_u64(entry) == DT_DEBUG_TAG) {
            *debug = get_u64(entry + 8);
            *found = *debug != 0;
        }
        if (get_u64(entry) == 0) {
            ++*count;
            break;
        }
    }
    return MDC_OK;
}

/* The text at the address up to its NUL, appended to dump->dso_names. */
static mdc_status read_name(dso_reader *reader, uint64_t address, mdc_dso_object *object, mdc_error *err) {
    uint8_t text[NAME_MAX_BYTES];
    size_t size = 0;
    while (size < sizeof text) { /* page by page: the name may end just before a page that is not there */
        uint64_t from = address + size;
        uint64_t stop = mdc_page_down(from) + MDC_PAGE_SIZE;
        size_t part = (size_t)mdc_min_u64(stop - from, sizeof text - size);
        bool whole;
        if (peek(reader, from, text + size, part, &whole, err) != MDC_OK) return err->code;
        if (!whole) break;
        const uint8_t *nul = memchr(text + size, 0, part);
        size += nul != NULL ? (size_t)(nul - (text + size)) : part;
        if (nul != NULL) break;
    }
    size_t at;
    mdc_vec *names = &reader->dump->dso_names;
    if (mdc_vec_push(names, text, size, &at, err) != MDC_OK) return err->code;
    object->name = at;
    object->name_size = size;
    return MDC_OK;
}

static mdc_status read_objects(dso_reader *reader, uint64_t address, bool *sound, mdc_error *err) {
    uint64_t before = 0;
    while (address != 0 && reader->dump->dso_objects.count < OBJECTS_MAX) {
        uint8_t map[LINK_MAP_SIZE];
        if (peek(reader, address, map, sizeof map, sound, err) != MDC_OK) return err->code;
        if (!*sound || get_u64(map + 32) != before) break; /* l_prev: the list is what it says to be */
        mdc_dso_object object = {.addr = get_u64(map), .ld = get_u64(map + 16)};
        if (get_u64(map + 8) != 0 && read_name(reader, get_u64(map + 8), &object, err) != MDC_OK) return err->code;
        if (mdc_vec_push(&reader->dump->dso_objects, &object, 1, NULL, err) != MDC_OK) return err->code;
        before = address;
        address = get_u64(map + 24);
        if (mdc_calls_poll(&reader->dump->calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status read_all(dso_reader *reader, bool *there, mdc_error *err) {
    mdc_dump *dump = reader->dump;
    uint8_t dyn[DYNS_MAX * DYN_SIZE], debug[R_DEBUG_SIZE];
    size_t dyn_count = 0;
    uint64_t dynamic = 0, debug_address = 0;
    bool found, whole;
    *there = false;
    if (find_dynamic(reader, dyn, &dyn_count, &dynamic, &debug_address, &found, err) != MDC_OK) return err->code;
    if (!found) return MDC_OK;
    if (peek(reader, debug_address, debug, sizeof debug, &whole, err) != MDC_OK) return err->code;
    if (!whole || read_objects(reader, get_u64(debug + 8), &whole, err) != MDC_OK) return err->code;
    *there = dump->dso_objects.count > 0;
    dump->dso_debug = (mdc_file_dso_debug){.version = get_u32(debug),
                                           .dso_count = (uint32_t)dump->dso_objects.count,
                                           .brk = get_u64(debug + 16),
                                           .ldbase = get_u64(debug + 32),
                                           .dynamic = dynamic};
    return mdc_vec_push(&dump->dso_dynamic, dyn, dyn_count * DYN_SIZE, NULL, err);
}

mdc_status mdc_streams_dso_read(mdc_dump *dump, mdc_error *err) {
    if ((dump->options.omit_streams & MDC_STREAM_DSO_DEBUG) != 0 || dump->lists->auxv_phdr == 0) return MDC_OK;
    dso_reader reader = {.dump = dump};
    bool there;
    if (read_all(&reader, &there, err) != MDC_OK) return err->code;
    if (reader.excluded) dump->omitted_streams |= MDC_STREAM_DSO_DEBUG;
    dump->has_dso = there && !reader.excluded;
    return MDC_OK;
}

mdc_status mdc_streams_dso(mdc_dump *dump, mdc_error *err) {
    if (!dump->has_dso) return MDC_OK;
    size_t at, map_at;
    if (mdc_layout_align(dump, 8, err) != MDC_OK ||
        mdc_layout_put(dump, &dump->dso_debug, sizeof dump->dso_debug, &at, err) != MDC_OK ||
        mdc_layout_put(dump, dump->dso_dynamic.data, dump->dso_dynamic.count, NULL, err) != MDC_OK ||
        mdc_layout_align(dump, 8, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, dump->dso_objects.count * sizeof(mdc_file_link_map), &map_at, err) != MDC_OK)
        return err->code;
    uint32_t map_rva = (uint32_t)map_at;
    memcpy((uint8_t *)dump->small.data + at + offsetof(mdc_file_dso_debug, map_rva), &map_rva, sizeof map_rva);
    for (size_t i = 0; i < dump->dso_objects.count; i++) {
        const mdc_dso_object *object = &mdc_vec_at(&dump->dso_objects, const mdc_dso_object, i);
        mdc_file_link_map map = {.addr = object->addr, .ld = object->ld};
        const uint8_t *name = object->name_size != 0 ? (const uint8_t *)dump->dso_names.data + object->name : NULL;
        if (mdc_layout_string(dump, name, object->name_size, &map.name_rva, err) != MDC_OK) return err->code;
        memcpy((uint8_t *)dump->small.data + map_at + i * sizeof map, &map, sizeof map);
    }
    uint64_t size = sizeof dump->dso_debug + dump->dso_dynamic.count;
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, at, size, NULL, err);
}
