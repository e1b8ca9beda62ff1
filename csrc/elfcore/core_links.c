/* The dynamic linker's list of what is loaded, for the paths of images where there is no NT_FILE: AT_PHDR -> PT_DYNAMIC
 * -> DT_DEBUG -> r_debug -> link_map (glibc's link.h). */
#include <string.h>

#include "../base/arith.h"
#include "../format/elf_file.h"
#include "core.h"

enum { HEADERS_MAX = 128, ENTRIES_MAX = 1024, LINKS_MAX = 4096, SEGMENT_PHDR = 6, TAG_NULL = 0, TAG_DEBUG = 21 };

static bool get(mdc_core *core, uint64_t address, uint8_t *to, size_t size, mdc_error *err) {
    size_t done;
    return address != 0 && mdc_core_peek(core, address, to, size, &done, err) == MDC_OK && done == size;
}

/* The dynamic section of the executable; 0: it has none. */
static uint64_t find_dynamic(mdc_core *core, mdc_error *err) {
    const size_t size = mdc_elf_segment_size(core->wide);
    uint64_t bias = 0, dynamic = 0;
    for (uint64_t i = 0; i < core->phnum && i < HEADERS_MAX; i++) {
        uint8_t bytes[MDC_ELF_SEGMENT_MAX];
        mdc_elf_segment segment;
        if (!get(core, core->phdr + i * size, bytes, size, err)) return 0;
        mdc_elf_segment_parse(bytes, core->wide, &segment);
        if (segment.type == SEGMENT_PHDR) bias = core->phdr - segment.address;
        if (segment.type == MDC_ELF_DYNAMIC) dynamic = segment.address;
    }
    return dynamic == 0 ? 0 : dynamic + bias;
}

static uint64_t find_debug(mdc_core *core, uint64_t dynamic, mdc_error *err) {
    const size_t size = mdc_elf_entry_size(core->wide);
    for (uint64_t i = 0; dynamic != 0 && i < ENTRIES_MAX; i++) {
        uint8_t bytes[MDC_ELF_DYNAMIC_MAX];
        mdc_elf_entry entry;
        if (!get(core, dynamic + i * size, bytes, size, err)) return 0;
        mdc_elf_entry_parse(bytes, core->wide, &entry);
        if (entry.tag == TAG_DEBUG) return entry.value;
        if (entry.tag == TAG_NULL) return 0;
    }
    return 0;
}

static mdc_status add_link(mdc_core *core, mdc_vec *links, uint64_t bias, uint64_t name, mdc_error *err) {
    uint8_t path[MDC_CORE_PATH_MAX];
    size_t done = 0;
    mdc_core_link link = {.bias = bias};
    if (name == 0 || mdc_core_peek(core, name, path, sizeof path, &done, err) != MDC_OK || done == 0) return err->code;
    const uint8_t *nul = memchr(path, '\0', done);
    if (nul == NULL || nul == path) return MDC_OK;
    if (mdc_core_name(core, path, (size_t)(nul - path), &link.name_id, err) != MDC_OK) return err->code;
    return mdc_vec_push(links, &link, 1, NULL, err);
}

mdc_status mdc_core_read_links(mdc_core *core, mdc_vec *links, mdc_error *err) {
    const size_t word = core->wide ? 8 : 4;
    uint8_t bytes[40];
    const uint64_t debug = core->phdr != 0 ? find_debug(core, find_dynamic(core, err), err) : 0;
    if (!get(core, debug, bytes, 2 * word, err)) return err->code;
    uint64_t link = mdc_elf_get_word(bytes + word, core->wide), before = 0;
    /* The list is doubly linked: one that leads back to itself ends here. */
    for (uint32_t i = 0; i < LINKS_MAX && get(core, link, bytes, 5 * word, err); i++) {
        if (mdc_elf_get_word(bytes + 4 * word, core->wide) != before) break;
        if (add_link(core, links, mdc_elf_get_word(bytes, core->wide), mdc_elf_get_word(bytes + word, core->wide),
                     err) != MDC_OK)
            return err->code;
        before = link;
        link = mdc_elf_get_word(bytes + 3 * word, core->wide);
    }
    return err->code;
}
