/* Breakpad's DSO_DEBUG stream: the dynamic linker's list of loaded objects, read from the target's memory: AT_PHDR ->
 * PT_DYNAMIC -> DT_DEBUG -> r_debug -> link_map (System V ABI, glibc's link.h). All of it is hostile: every count is
 * bounded, the list must be doubly linked (a loop breaks that), and what the callee does not keep is not read. If
 * something is missing, the stream is left out; the dump is still valid. */
#include <string.h>

#include "../../base/arith.h"
#include "stream.h"

enum {
    PHDR_MAX = 56,
    PHDRS_MAX = 128,
    PT_DYNAMIC_TYPE = 2,
    PT_PHDR_TYPE = 6,
    DYN_MAX = 16,
    DYNS_MAX = 1024,
    DT_DEBUG_TAG = 21,
    WORDS = 5, /* of r_debug {version, map, brk, state, ldbase} and link_map {addr, name, ld, next, prev} */
    OBJECTS_MAX = 4096,
    NAME_MAX_BYTES = 4096
};

/* One entry of the link map; its name is in dso_state.names. */
typedef struct dso_object {
    uint64_t addr;
    uint64_t ld;
    size_t name;
    size_t name_size; /* bytes */
} dso_object;

typedef struct dso_state {
    const mdc_reader *reader;
    bool wide; /* a 64-bit process */
    size_t word;
    bool excluded; /* the callee does not keep some of it */
    mdc_file_dso_debug debug;
    mdc_vec dynamic; /* uint8_t: the dynamic section */
    mdc_vec objects; /* dso_object */
    mdc_vec names;   /* uint8_t */
} dso_state;

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

static uint64_t get_word(const dso_state *state, const uint8_t *bytes, size_t index) {
    bytes += index * state->word;
    return state->wide ? get_u64(bytes) : get_u32(bytes);
}

static bool mapped(const mdc_capture *capture, uint64_t first, uint64_t end) {
    while (first < end) {
        int64_t found = mdc_regions_find(capture, first);
        if (found == MDC_NO_REGION) return false;
        first = capture->regions[found].base + capture->regions[found].size;
    }
    return true;
}

/* *whole: all was kept and could be read. Fails only when the dump has to end. */
static mdc_status peek(dso_state *state, uint64_t address, void *out, size_t size, bool *whole, mdc_error *err) {
    uint64_t end;
    *whole = false;
    if (address == 0 || !mdc_add_u64(address, size, &end)) return MDC_OK;
    bool kept;
    if (mdc_reader_kept(state->reader, address, end, &kept, err) != MDC_OK) return err->code;
    if (!kept) {
        /* Unmapped is a broken list; mapped and not kept is a rule. */
        state->excluded = state->excluded || mapped(state->reader->capture, address, end);
        return MDC_OK;
    }
    size_t done;
    if (mdc_reader_peek(state->reader, address, out, size, &done, err) != MDC_OK) return err->code;
    *whole = done == size;
    return MDC_OK;
}

/* Whether an entry of the dynamic section is the last one. */
static bool is_last(const dso_state *state, const uint8_t *entry) { return get_word(state, entry, 0) == 0; }

/* As many of `count` items as are kept and can be read: all of them mostly, else one by one, and then none after
 * DT_NULL if they are dynamic. */
static mdc_status peek_items(dso_state *state, uint64_t address, uint8_t *out, size_t count, size_t item, bool dynamic,
                             size_t *got, mdc_error *err) {
    const bool excluded = state->excluded;
    bool whole = true;
    *got = count;
    if (count == 0) return MDC_OK;
    if (peek(state, address, out, count * item, &whole, err) != MDC_OK) return err->code;
    if (whole) return MDC_OK;
    state->excluded = excluded;
    for (*got = 0, whole = true; *got < count; ++*got) {
        if (peek(state, address + *got * item, out + *got * item, item, &whole, err) != MDC_OK) return err->code;
        if (!whole) break;
        if (dynamic && is_last(state, out + *got * item)) {
            ++*got;
            break;
        }
    }
    return MDC_OK;
}

/* The dynamic section: into `dyn` up to DT_NULL, *count entries; *debug is what DT_DEBUG points at. */
static mdc_status find_dynamic(dso_state *state, uint8_t *dyn, size_t *count, uint64_t *address, uint64_t *debug,
                               bool *found, mdc_error *err) {
    const mdc_snapshot *lists = state->reader->capture->lists;
    uint8_t phdrs[PHDRS_MAX * PHDR_MAX];
    /* Elf32_Phdr and Elf64_Phdr: p_vaddr, p_memsz. */
    const size_t phdr_size = state->wide ? 56 : 32, vaddr = state->wide ? 16 : 8, memsz = state->wide ? 40 : 20;
    const size_t dyn_size = 2 * state->word;
    const size_t phnum = lists->auxv_phnum < PHDRS_MAX ? lists->auxv_phnum : PHDRS_MAX;
    uint64_t bias = 0, size = 0;
    size_t got;
    *found = false;
    *address = 0;
    if (peek_items(state, lists->auxv_phdr, phdrs, phnum, phdr_size, false, &got, err) != MDC_OK) return err->code;
    if (got < phnum) return MDC_OK;
    for (const uint8_t *phdr = phdrs; phdr < phdrs + phnum * phdr_size; phdr += phdr_size) {
        uint32_t type = get_u32(phdr);
        /* Where the image was moved to. */
        if (type == PT_PHDR_TYPE) bias = lists->auxv_phdr - get_word(state, phdr + vaddr, 0);
        if (type != PT_DYNAMIC_TYPE) continue;
        *address = get_word(state, phdr + vaddr, 0);
        size = get_word(state, phdr + memsz, 0);
    }
    if (*address == 0) return MDC_OK; /* a static executable */
    *address += bias;
    const size_t most = size / dyn_size < DYNS_MAX ? (size_t)(size / dyn_size) : DYNS_MAX;
    if (peek_items(state, *address, dyn, most, dyn_size, true, &got, err) != MDC_OK) return err->code;
    bool ended = false;
    for (*count = 0; *count < got && !ended; ++*count) {
        const uint8_t *entry = dyn + *count * dyn_size;
        ended = is_last(state, entry);
        if (get_word(state, entry, 0) != DT_DEBUG_TAG) continue;
        *debug = get_word(state, entry, 1);
        *found = *debug != 0;
    }
    return MDC_OK;
}

/* The text at the address up to its NUL, appended to the names. */
static mdc_status read_name(dso_state *state, uint64_t address, dso_object *object, mdc_error *err) {
    uint8_t text[NAME_MAX_BYTES];
    size_t size = 0;
    while (size < sizeof text) { /* page by page: the name may end just before a page that is not there */
        uint64_t from = address + size;
        uint64_t stop = mdc_page_down(from) + MDC_PAGE_SIZE;
        size_t part = (size_t)mdc_min_u64(stop - from, sizeof text - size);
        bool whole;
        if (peek(state, from, text + size, part, &whole, err) != MDC_OK) return err->code;
        if (!whole) break;
        const uint8_t *nul = memchr(text + size, 0, part);
        size += nul != NULL ? (size_t)(nul - (text + size)) : part;
        if (nul != NULL) break;
    }
    size_t at;
    mdc_vec *names = &state->names;
    if (mdc_vec_push(names, text, size, &at, err) != MDC_OK) return err->code;
    object->name = at;
    object->name_size = size;
    return MDC_OK;
}

static mdc_status read_objects(dso_state *state, uint64_t address, bool *sound, mdc_error *err) {
    uint64_t before = 0;
    while (address != 0 && state->objects.count < OBJECTS_MAX) {
        uint8_t map[WORDS * 8];
        if (peek(state, address, map, WORDS * state->word, sound, err) != MDC_OK) return err->code;
        if (!*sound || get_word(state, map, 4) != before) break; /* l_prev: the list is what it says to be */
        dso_object object = {.addr = get_word(state, map, 0), .ld = get_word(state, map, 2)};
        const uint64_t name = get_word(state, map, 1);
        if (name != 0 && read_name(state, name, &object, err) != MDC_OK) return err->code;
        if (mdc_vec_push(&state->objects, &object, 1, NULL, err) != MDC_OK) return err->code;
        before = address;
        address = get_word(state, map, 3);
        if (mdc_calls_poll(&state->reader->engine->calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status read_all(dso_state *state, bool *there, mdc_error *err) {
    uint8_t dyn[DYNS_MAX * DYN_MAX], debug[WORDS * 8];
    size_t dyn_count = 0;
    uint64_t dynamic = 0, debug_address = 0;
    bool found, whole;
    *there = false;
    if (find_dynamic(state, dyn, &dyn_count, &dynamic, &debug_address, &found, err) != MDC_OK) return err->code;
    if (!found) return MDC_OK;
    if (peek(state, debug_address, debug, WORDS * state->word, &whole, err) != MDC_OK) return err->code;
    if (!whole || read_objects(state, get_word(state, debug, 1), &whole, err) != MDC_OK) return err->code;
    *there = state->objects.count > 0;
    state->debug = (mdc_file_dso_debug){.version = get_u32(debug),
                                        .dso_count = (uint32_t)state->objects.count,
                                        .brk = get_word(state, debug, 2),
                                        .ldbase = get_word(state, debug, 4),
                                        .dynamic = dynamic};
    return mdc_vec_push(&state->dynamic, dyn, dyn_count * 2 * state->word, NULL, err);
}

static void free_state(void *place) {
    dso_state *state = place;
    mdc_vec_fini(&state->dynamic);
    mdc_vec_fini(&state->objects);
    mdc_vec_fini(&state->names);
    mdc_dealloc(state);
}

static mdc_status read_stream(mdc_plan *plan, void **place, mdc_error *err) {
    if (plan->capture->lists->auxv_phdr == 0) return MDC_OK;
    dso_state *state = *place = mdc_alloc(1, sizeof *state, err);
    if (state == NULL) return err->code;
    state->reader = plan->reader;
    state->wide = plan->capture->lists->system->architecture != MDC_FILE_ARCH_X86;
    state->word = state->wide ? 8 : 4;
    mdc_vec_init(&state->dynamic, 1);
    mdc_vec_init(&state->objects, sizeof(dso_object));
    mdc_vec_init(&state->names, 1);
    bool there;
    if (read_all(state, &there, err) != MDC_OK) return err->code;
    if (state->excluded) plan->omitted_streams |= MDC_STREAM_DSO_DEBUG;
    if (there && !state->excluded) return MDC_OK;
    free_state(state);
    *place = NULL;
    return MDC_OK;
}

/* The head of the stream, as processes of this width have it; its size. */
static size_t head_of(const dso_state *state, mdc_file_dso_debug *wide, mdc_file_dso_debug32 *narrow) {
    *wide = state->debug;
    *narrow = (mdc_file_dso_debug32){.version = wide->version,
                                     .dso_count = wide->dso_count,
                                     .brk = (uint32_t)wide->brk,
                                     .ldbase = (uint32_t)wide->ldbase,
                                     .dynamic = (uint32_t)wide->dynamic};
    return state->wide ? sizeof *wide : sizeof *narrow;
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const dso_state *state = place->state;
    if (state == NULL) return MDC_OK;
    size_t at, map_at;
    mdc_file_dso_debug wide;
    mdc_file_dso_debug32 narrow;
    const size_t head = head_of(state, &wide, &narrow);
    const void *bytes = state->wide ? (const void *)&wide : (const void *)&narrow;
    const size_t each = state->wide ? sizeof(mdc_file_link_map) : sizeof(mdc_file_link_map32);
    if (mdc_layout_align(layout, 8, err) != MDC_OK || mdc_layout_put(layout, bytes, head, &at, err) != MDC_OK ||
        mdc_layout_put(layout, state->dynamic.data, state->dynamic.count, NULL, err) != MDC_OK ||
        mdc_layout_align(layout, 8, err) != MDC_OK ||
        mdc_layout_put(layout, NULL, state->objects.count * each, &map_at, err) != MDC_OK)
        return err->code;
    uint32_t map_rva = (uint32_t)map_at;
    mdc_layout_set(layout, at + offsetof(mdc_file_dso_debug, map_rva), &map_rva, sizeof map_rva);
    for (size_t i = 0; i < state->objects.count; i++) {
        const dso_object *object = &mdc_vec_at(&state->objects, const dso_object, i);
        const uint8_t *name = object->name_size != 0 ? (const uint8_t *)state->names.data + object->name : NULL;
        uint32_t rva;
        if (mdc_layout_string(layout, name, object->name_size, &rva, err) != MDC_OK) return err->code;
        const mdc_file_link_map map = {.addr = object->addr, .name_rva = rva, .ld = object->ld};
        const mdc_file_link_map32 map32 = {(uint32_t)object->addr, rva, (uint32_t)object->ld};
        mdc_layout_set(layout, map_at + i * each, state->wide ? (const void *)&map : (const void *)&map32, each);
    }
    return mdc_layout_stream(layout, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, at, head + state->dynamic.count, NULL, err);
}

const mdc_stream mdc_stream_dso_debug = {.type = MDC_STREAM_TYPE_LINUX_DSO_DEBUG,
                                         .omit = MDC_STREAM_DSO_DEBUG,
                                         .read = read_stream,
                                         .free = free_state,
                                         .build = build_stream};
