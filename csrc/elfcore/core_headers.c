/* The headers of a core: elf(5); counts above 65,534 as fs/binfmt_elf.c writes them (PN_XNUM). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/elf_file.h"
#include "core.h"

static mdc_status refuse(mdc_error *err, const char *why) {
    return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0, "%s", why);
}

static mdc_status check_header(mdc_core *core, mdc_elf_header *header, mdc_error *err) {
    const uint64_t all = mdc_input_size(core->input);
    size_t size = (size_t)mdc_min_u64(all, MDC_ELF_HEADER_MAX);
    if (size < MDC_ELF_IDENT) return refuse(err, "not an ELF core: the file is too short for an ELF header");
    const uint8_t *bytes = mdc_window_get(&core->window, 0, size, "ELF header", err);
    if (bytes == NULL) return err->code;
    if (memcmp(bytes, "\177ELF", 4) != 0) return refuse(err, "not an ELF core: the file does not begin like one");
    if (bytes[5] == 2) return refuse(err, "a core of a big-endian machine; only cores of x86-64 and i386 can be read");
    if (!mdc_elf_header_parse(bytes, size, header))
        return refuse(err, "not an ELF core: the ELF header (offset 0) is incomplete or of an unknown class");
    if (header->type != MDC_ELF_TYPE_CORE)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "an ELF file, but not a core: e_type (offset 16) is %u, a core has %u", header->type,
                        MDC_ELF_TYPE_CORE);
    if (header->machine == MDC_ELF_X86_64 && !header->wide)
        return refuse(err, "a core of an x32 process; only cores of x86-64 and i386 can be read");
    if (header->machine != (header->wide ? MDC_ELF_X86_64 : MDC_ELF_386))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "a %d-bit core of %s (e_machine %u, offset 18); only cores of x86-64 and i386 can be read",
                        header->wide ? 64 : 32, mdc_elf_machine_name(header->machine), header->machine);
    if (header->segment_size != mdc_elf_segment_size(header->wide))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "not a sound core: e_phentsize (offset %d) is %u, expected %zu", header->wide ? 54 : 42,
                        header->segment_size, mdc_elf_segment_size(header->wide));
    core->wide = header->wide;
    return MDC_OK;
}

/* How many program headers there are. */
static mdc_status count_headers(mdc_core *core, const mdc_elf_header *header, uint64_t *count, mdc_error *err) {
    const size_t size = mdc_elf_segment_size(core->wide), section = mdc_elf_section_size(core->wide);
    const uint64_t all = mdc_input_size(core->input);
    *count = header->segment_count;
    if (*count != MDC_ELF_MANY_SEGMENTS) return MDC_OK;
    uint64_t end;
    const uint8_t *bytes;
    if (header->sections != 0 && mdc_add_u64(header->sections, section, &end) && end <= all) {
        mdc_elf_section first;
        bytes = mdc_window_get(&core->window, header->sections, section, "section header 0", err);
        if (bytes == NULL) return err->code;
        mdc_elf_section_parse(bytes, core->wide, &first);
        *count = first.info;
        return MDC_OK;
    }
    /* Section 0 is at the end of the file, which was cut. The notes begin right after the program headers. */
    mdc_elf_segment notes;
    bytes = mdc_window_get(&core->window, header->segments, size, "program header 0", err);
    if (bytes == NULL) return err->code;
    mdc_elf_segment_parse(bytes, core->wide, &notes);
    if (notes.offset > header->segments) *count = (notes.offset - header->segments) / size;
    core->cut_bytes = section;
    return MDC_OK;
}

static void add_cut(mdc_core *core, uint64_t bytes) {
    if (!mdc_add_u64(core->cut_bytes, bytes, &core->cut_bytes)) core->cut_bytes = UINT64_MAX;
}

/* Bytes of [offset, offset + size) that the file does not have. */
static uint64_t missing(const mdc_core *core, uint64_t offset, uint64_t size) {
    const uint64_t all = mdc_input_size(core->input);
    uint64_t there = offset < all ? all - offset : 0;
    return size > there ? size - there : 0;
}

static mdc_status add_load(mdc_core *core, const mdc_elf_segment *segment, mdc_error *err) {
    const uint64_t last = core->wide ? UINT64_MAX & ~(MDC_PAGE_SIZE - 1) : UINT64_C(1) << 32;
    if (segment->address >= last) return MDC_OK;
    mdc_core_load load = {.address = segment->address, .offset = segment->offset, .flags = segment->flags & 7};
    load.memory_size = mdc_min_u64(segment->memory_size, last - load.address);
    load.file_size = mdc_min_u64(mdc_min_u64(segment->file_size, load.memory_size), UINT64_MAX - load.offset);
    if (load.memory_size == 0) return MDC_OK;
    return mdc_vec_push(&core->loads, &load, 1, NULL, err);
}

static int by_address(const void *left, const void *right) {
    const mdc_core_load *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* In order and disjoint: of what overlaps, that with the lower address counts. */
static void sort_loads(mdc_core *core) {
    mdc_core_load *loads = core->loads.data;
    size_t kept = 0, count = core->loads.count;
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) sorted = loads[i - 1].address <= loads[i].address;
    if (!sorted) qsort(loads, count, sizeof *loads, by_address);
    uint64_t floor = 0;
    for (size_t i = 0; i < count; i++) {
        mdc_core_load load = loads[i];
        uint64_t over = load.address < floor ? floor - load.address : 0;
        if (over >= load.memory_size) continue;
        uint64_t in_file = mdc_min_u64(over, load.file_size);
        load.address += over;
        load.memory_size -= over;
        load.offset += in_file;
        load.file_size -= in_file;
        floor = load.address + load.memory_size;
        add_cut(core, missing(core, load.offset, load.file_size));
        loads[kept++] = load;
    }
    core->loads.count = kept;
}

mdc_status mdc_core_read_headers(mdc_core *core, mdc_error *err) {
    mdc_elf_header header;
    uint64_t count;
    if (check_header(core, &header, err) != MDC_OK || count_headers(core, &header, &count, err) != MDC_OK)
        return err->code;
    const size_t size = mdc_elf_segment_size(core->wide);
    const uint64_t all = mdc_input_size(core->input);
    if (count == 0) return refuse(err, "not a sound core: it has no program headers (e_phnum is 0)");
    const uint64_t room = header.segments < all ? (all - header.segments) / size : 0;
    if (room == 0)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "the core was cut before its program headers: e_phoff is 0x%" PRIx64 ", the file has %" PRIu64
                        " bytes",
                        header.segments, all);
    if (count > room) {
        add_cut(core, (count - room) * size);
        core->lists_cut = true;
        count = room;
    }
    if (count > MDC_CORE_LOADS_MAX)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0, "a core with %" PRIu64 " program headers: %d at most",
                        count, MDC_CORE_LOADS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *bytes = mdc_window_get(&core->window, header.segments + i * size, size, "program header", err);
        if (bytes == NULL || (i % 1024 == 0 && mdc_control_check(core->control, err) != MDC_OK)) return err->code;
        mdc_elf_segment segment;
        mdc_elf_segment_parse(bytes, core->wide, &segment);
        if (segment.type == MDC_ELF_LOAD && add_load(core, &segment, err) != MDC_OK) return err->code;
        if (segment.type != MDC_ELF_NOTE || core->segments.count == MDC_CORE_NOTE_SEGMENTS_MAX) continue;
        const uint64_t gone = missing(core, segment.offset, segment.file_size);
        const mdc_core_part notes = {segment.offset, segment.file_size - gone};
        add_cut(core, gone);
        if (gone > 0) core->lists_cut = true;
        if (notes.size > 0 && mdc_vec_push(&core->segments, &notes, 1, NULL, err) != MDC_OK) return err->code;
    }
    sort_loads(core);
    return MDC_OK;
}
