/* Texts of a core. The auxiliary vector is a note; command line and environment are where exec(2) put them on the main
 * thread's stack (fs/binfmt_elf.c: create_elf_tables): argc, the arguments' addresses, NULL, the environment's, NULL,
 * the vector; above it their strings. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../api/engine.h"
#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/elf_file.h"
#include "../format/escape.h"
#include "core.h"

enum {
    AUXV_MAX = 16 << 10,
    MAPS_MAX = 64 << 20,
    POINTERS_MAX = 1 << 20, /* of arguments, or of the environment: both have 6 MiB at most */

    AT_NULL = 0,
    AT_PHDR = 3,
    AT_PHNUM = 5,
    AT_PLATFORM = 15,
    AT_HWCAP = 16,
    AT_RANDOM = 25,
    AT_EXECFN = 31,
    AT_SYSINFO_EHDR = 33
};

mdc_status mdc_core_read_auxv(mdc_core *core, mdc_error *err) {
    const size_t each = mdc_elf_entry_size(core->wide);
    const size_t size = (size_t)mdc_min_u64(core->auxv.size, AUXV_MAX) / each * each;
    if (size == 0) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(&core->window, core->auxv.offset, size, "NT_AUXV", err);
    if (bytes == NULL) return err->code;
    core->auxv_bytes = mdc_alloc(1, size, err);
    if (core->auxv_bytes == NULL) return err->code;
    memcpy(core->auxv_bytes, bytes, size);
    core->auxv.size = size;
    for (size_t at = 0; at < size; at += each) {
        mdc_elf_entry entry;
        mdc_elf_entry_parse(bytes + at, core->wide, &entry);
        switch (entry.tag) {
        case AT_NULL:
            return MDC_OK;
        case AT_PHDR:
            core->phdr = entry.value;
            break;
        case AT_PHNUM:
            core->phnum = entry.value;
            break;
        case AT_PLATFORM:
            core->start.platform = entry.value;
            break;
        case AT_HWCAP:
            core->hwcap = entry.value;
            break;
        case AT_RANDOM:
            core->start.random = entry.value;
            break;
        case AT_EXECFN:
            core->start.execfn = entry.value;
            break;
        case AT_SYSINFO_EHDR:
            core->vdso = entry.value;
            break;
        default:
            break;
        }
    }
    return MDC_OK;
}

/* The word at the address. */
static bool word_at(mdc_core *core, uint64_t address, uint64_t *value) {
    uint8_t bytes[8];
    const size_t size = core->wide ? 8 : 4;
    size_t done;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    if (mdc_core_peek(core, address, bytes, size, &done, &ignored) != MDC_OK || done < size) return false;
    *value = mdc_elf_get_word(bytes, core->wide);
    return true;
}

/* Goes down from a NULL at *at to the next NULL; *first: address of the lowest pointer between them, *count of them. */
static bool pointers_below(mdc_core *core, uint64_t *at, uint64_t *first, uint64_t *count, bool argc_ends) {
    const uint64_t size = core->wide ? 8 : 4;
    for (*count = 0; *count < POINTERS_MAX && *at >= 2 * size; ++*count) {
        uint64_t value;
        *at -= size;
        if (!word_at(core, *at, &value)) return false;
        /* Below the arguments' addresses is their number. */
        if (argc_ends ? value == *count : value == 0) return true;
        *first = value;
    }
    return false;
}

/* Where the strings lie, by the pointers below the vector. */
static void find_start(mdc_core *core, uint64_t vector) {
    const uint64_t size = core->wide ? 8 : 4;
    mdc_start *start = &core->start;
    uint64_t at = vector - size, end, argument = 0, variable = 0, count;
    if (vector < 4 * size || !word_at(core, at, &end) || end != 0) return;
    if (!pointers_below(core, &at, &variable, &count, false)) return;
    const bool variables = count > 0;
    if (!pointers_below(core, &at, &argument, &count, true)) return;
    start->stack = at;
    /* Pointers that the program has changed lead elsewhere. */
    const uint64_t limit = start->execfn;
    if (count == 0 || argument <= vector || argument >= limit || limit - argument > MDC_ARGUMENTS_MAX) return;
    if (variables && (variable <= argument || variable >= limit)) return;
    start->arg_start = argument;
    start->arg_end = start->env_start = variables ? variable : limit;
    start->env_end = limit;
}

static mdc_status add_text(mdc_core *core, uint32_t stream, const uint8_t *data, uint64_t address, uint64_t size,
                           mdc_error *err) {
    const mdc_text text = {.stream = stream, .data = data, .address = address, .size = size};
    return size > 0 ? mdc_vec_push(&core->texts, &text, 1, NULL, err) : MDC_OK;
}

/* Memory that is shown as text; not what the core does not hold. */
static mdc_status add_memory(mdc_core *core, uint32_t stream, uint64_t first, uint64_t end, mdc_error *err) {
    const uint64_t size = end > first ? mdc_min_u64(end - first, MDC_ARGUMENTS_MAX) : 0;
    return mdc_core_holds(core, first, size) ? add_text(core, stream, NULL, first, size, err) : MDC_OK;
}

static mdc_status find_arguments(mdc_core *core, mdc_error *err) {
    const int64_t stack = mdc_regions_at(&core->regions, core->start.execfn);
    uint64_t vector = 0;
    if (core->auxv_bytes == NULL) return MDC_OK;
    if (core->start.execfn != 0 && stack >= 0) {
        /* The vector is below the strings, the lowest of which is near AT_RANDOM. */
        const mdc_region *region = &mdc_vec_at(&core->regions, const mdc_region, stack);
        const uint64_t top = core->start.random != 0 ? core->start.random : core->start.execfn;
        const uint64_t below = mdc_min_u64(top - mdc_min_u64(top, region->base), MDC_ARGUMENTS_MAX);
        const mdc_thread *threads = core->threads.data;
        uint64_t from = top - below;
        if (core->threads.count > 0 && threads[0].stack_pointer > from && threads[0].stack_pointer < top)
            from = threads[0].stack_pointer;
        if (mdc_auxv_find(mdc_core_peek, core, from, top, core->auxv_bytes, (size_t)core->auxv.size, &vector, err) !=
            MDC_OK)
            return err->code;
        if (vector != 0) find_start(core, vector);
    }
    const mdc_start *start = &core->start;
    /* Changed by the program, or not there: it is asked about with the strings. */
    if (add_text(core, MDC_STREAM_AUXV, core->auxv_bytes, vector != 0 ? vector : start->random, core->auxv.size, err) !=
            MDC_OK ||
        add_memory(core, MDC_STREAM_CMDLINE, start->arg_start, start->arg_end, err) != MDC_OK ||
        add_memory(core, MDC_STREAM_ENVIRON, start->env_start, start->env_end, err) != MDC_OK)
        return err->code;
    const mdc_target_view view = mdc_core_view(core);
    return mdc_arguments_find(&core->copies, &core->texts, start, &view, err);
}

static const char *access_text(uint32_t protect) {
    switch (protect) {
    case MDC_PAGE_READONLY:
        return "r--p";
    case MDC_PAGE_READWRITE:
        return "rw-p";
    case MDC_PAGE_EXECUTE:
        return "--xp";
    case MDC_PAGE_EXECUTE_READ:
        return "r-xp";
    case MDC_PAGE_EXECUTE_READWRITE:
        return "rwxp";
    default:
        return "---p";
    }
}

/* As the kernel shows a name there: newlines are escaped. */
static mdc_status add_name(mdc_core *core, const uint8_t *text, size_t size, mdc_error *err) {
    while (size > 0) {
        const uint8_t *newline = memchr(text, '\n', size);
        const size_t part = newline != NULL ? (size_t)(newline - text) : size;
        if (mdc_escape_text(&core->maps, text, part, MDC_ESCAPE_LINES, err) != MDC_OK) return err->code;
        if (newline == NULL) break;
        if (mdc_vec_push(&core->maps, "\\012", 4, NULL, err) != MDC_OK) return err->code;
        text += part + 1;
        size -= part + 1;
    }
    return MDC_OK;
}

/* Lines as /proc/PID/maps has them; whether a mapping is shared, and its device and inode, are not in a core. */
static mdc_status make_maps(mdc_core *core, mdc_error *err) {
    enum { HEAD = 96, NAME_COLUMN = 73 };
    const mdc_region *regions = core->regions.data;
    for (size_t i = 0; i < core->regions.count && core->maps.count < MAPS_MAX; i++) {
        const mdc_region *region = &regions[i];
        char head[HEAD];
        size_t size =
            (size_t)snprintf(head, sizeof head, "%08" PRIx64 "-%08" PRIx64 " %s %08" PRIx64 " 00:00 0", region->base,
                             region->base + region->size, access_text(region->protect), region->file_offset);
        if (region->name_id == 0) {
            head[size++] = '\n';
            if (mdc_vec_push(&core->maps, head, size, NULL, err) != MDC_OK) return err->code;
            continue;
        }
        do head[size++] = ' ';
        while (size < NAME_COLUMN);
        const mdc_name name = mdc_vec_at(&core->names, mdc_name, region->name_id - 1);
        const bool deleted = (region->facts & MDC_FACT_DELETED) != 0;
        const char *tail = deleted ? " (deleted)\n" : "\n";
        if (mdc_vec_push(&core->maps, head, size, NULL, err) != MDC_OK ||
            add_name(core, &mdc_vec_at(&core->pool, uint8_t, name.offset), name.size, err) != MDC_OK ||
            mdc_vec_push(&core->maps, tail, strlen(tail), NULL, err) != MDC_OK)
            return err->code;
    }
    mdc_vec_trim(&core->maps);
    return add_text(core, MDC_STREAM_MAPS, core->maps.data, 0, core->maps.count, err);
}

mdc_status mdc_core_find_texts(mdc_core *core, mdc_error *err) {
    return find_arguments(core, err) == MDC_OK ? make_maps(core, err) : err->code;
}
