/* Layout: MDRawDebug32, MDRawDebug64 and MDRawLinkMap of Breakpad's minidump_format.h. */
#include <string.h>

#include "../../base/arith.h"
#include "carried_trees.h"

enum { ARCH_ARM = 5 };

typedef struct shape {
    size_t head, map, name; /* bytes of the head and of a link map, offset of the name in that */
    size_t dynamic;         /* offset of the address of the dynamic section */
    size_t word;
} shape;

static shape shape_of(uint16_t architecture) {
    bool narrow = architecture == MDC_FILE_ARCH_X86 || architecture == ARCH_ARM;
    return narrow ? (shape){24, 12, 4, 20, 4} : (shape){40, 24, 8, 32, 8};
}

/* The section is memory of the target. What the dump does not hold of it, no rule has left out. */
static mdc_status is_kept(const mdc_relocation *relocation, uint64_t address, uint64_t size, bool *kept,
                          mdc_error *err) {
    uint64_t end;
    const mdc_capture *capture = relocation->layout->capture;
    *kept = true;
    if (size == 0 || !mdc_add_u64(address, size, &end)) return MDC_OK;
    for (uint64_t at = address; at < end;) {
        int64_t found = mdc_regions_find(capture, at);
        if (found == MDC_NO_REGION) return MDC_OK;
        at = capture->regions[found].base + capture->regions[found].size;
    }
    return mdc_reader_kept(relocation->layout->plan->reader, address, end, kept, err);
}

static mdc_status move_maps(mdc_relocation *relocation, const shape *it, uint32_t count, uint32_t *map_rva,
                            mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    mdc_vec maps;
    size_t at;
    mdc_vec_init(&maps, 1);
    mdc_status status =
        mdc_relocation_read(relocation, *map_rva, (uint64_t)count * it->map, "the link map", &maps, err);
    if (status == MDC_OK && mdc_layout_align(layout, 8, err) != MDC_OK) status = err->code;
    if (status == MDC_OK) status = mdc_layout_put(layout, NULL, maps.count, &at, err);
    for (uint32_t i = 0; status == MDC_OK && i < count; i++) {
        uint8_t *name = (uint8_t *)maps.data + i * it->map + it->name;
        uint32_t rva;
        memcpy(&rva, name, sizeof rva);
        status = mdc_relocate_string(relocation, MDC_MOVED_STRING, &rva, "a name", err);
        memcpy(name, &rva, sizeof rva);
    }
    if (status == MDC_OK) {
        mdc_layout_set(layout, at, maps.data, maps.count);
        *map_rva = (uint32_t)at;
    }
    mdc_vec_fini(&maps);
    return status;
}

static mdc_status move(mdc_relocation *relocation, const mdc_carried_stream *stream, const shape *it, mdc_vec *body,
                       bool *kept, mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    uint32_t map_rva, count;
    uint64_t dynamic = 0;
    size_t at;
    if (mdc_relocation_read(relocation, stream->rva, stream->size, "the stream", body, err) != MDC_OK) return err->code;
    uint8_t *bytes = body->data;
    memcpy(&map_rva, bytes + offsetof(mdc_file_dso_debug, map_rva), sizeof map_rva);
    memcpy(&count, bytes + offsetof(mdc_file_dso_debug, dso_count), sizeof count);
    memcpy(&dynamic, bytes + it->dynamic, it->word);
    if (is_kept(relocation, dynamic, stream->size - it->head, kept, err) != MDC_OK || !*kept) return err->code;
    mdc_sanitize(layout->engine, dynamic, bytes + it->head, stream->size - it->head);
    if (mdc_layout_align(layout, 8, err) != MDC_OK || mdc_layout_put(layout, NULL, stream->size, &at, err) != MDC_OK)
        return err->code;
    if (count > 0 && move_maps(relocation, it, count, &map_rva, err) != MDC_OK) return err->code;
    if (count == 0) map_rva = 0;
    memcpy(bytes + offsetof(mdc_file_dso_debug, map_rva), &map_rva, sizeof map_rva);
    mdc_layout_set(layout, at, bytes, stream->size);
    return mdc_layout_stream(layout, stream->type, at, stream->size, NULL, err);
}

mdc_status mdc_dso_debug_move(mdc_relocation *relocation, const mdc_carried_stream *stream, bool *kept,
                              mdc_error *err) {
    const shape it = shape_of(relocation->layout->capture->lists->system->architecture);
    mdc_vec body;
    relocation->what = "LinuxDsoDebug";
    *kept = true;
    if (stream->size < it.head) return mdc_relocation_fail(relocation, "the stream", stream->rva, err);
    mdc_vec_init(&body, 1);
    mdc_status status = move(relocation, stream, &it, &body, kept, err);
    mdc_vec_fini(&body);
    return status;
}
