/* Layout: minidump/minidump_extensions.h of Crashpad. All counts have 32 bits, all strings are UTF-8 with their length
 * in front, but the names of annotation objects and lists are offsets too. */
#include <string.h>

#include "../../base/arith.h"
#include "carried_trees.h"

enum { LINK_BYTES = 12, MODULE_PARTS = 3, OBJECT_BYTES = 12, OBJECT_STRING = 1 };

typedef struct crashpad {
    mdc_relocation *relocation;
    const mdc_capture *capture;
} crashpad;

static uint32_t get(const mdc_vec *bytes, size_t at) {
    uint32_t value;
    memcpy(&value, (const uint8_t *)bytes->data + at, sizeof value);
    return value;
}

static void set(mdc_vec *bytes, size_t at, uint32_t value) {
    memcpy((uint8_t *)bytes->data + at, &value, sizeof value);
}

/* A list: u32 count and entries of `size` bytes, as `body`; *count is 0 if there is none. */
static mdc_status read_list(const crashpad *tree, const mdc_file_location *location, size_t size, const char *what,
                            mdc_vec *body, uint32_t *count, mdc_error *err) {
    body->count = 0;
    *count = 0;
    if (location->data_size == 0 || location->rva == 0) return MDC_OK;
    if (location->data_size < sizeof *count) return mdc_relocation_fail(tree->relocation, what, location->rva, err);
    if (mdc_relocation_read(tree->relocation, location->rva, location->data_size, what, body, err) != MDC_OK)
        return err->code;
    *count = get(body, 0);
    if (*count > (location->data_size - sizeof *count) / size)
        return mdc_relocation_fail(tree->relocation, what, location->rva, err);
    body->count = sizeof *count + *count * size;
    return MDC_OK;
}

static mdc_status put_list(const crashpad *tree, const mdc_vec *body, mdc_file_location *location, mdc_error *err) {
    size_t at;
    mdc_layout *layout = tree->relocation->layout;
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, body->data, body->count, &at, err) != MDC_OK)
        return err->code;
    *location = (mdc_file_location){(uint32_t)body->count, (uint32_t)at};
    return MDC_OK;
}

static mdc_status move_string(const crashpad *tree, mdc_vec *body, size_t at, mdc_error *err) {
    uint32_t rva = get(body, at);
    if (mdc_relocate_string(tree->relocation, MDC_MOVED_UTF8, &rva, "an annotation", err) != MDC_OK) return err->code;
    set(body, at, rva);
    return MDC_OK;
}

/* A list of strings (one offset each) or of pairs of them. */
static mdc_status move_strings(const crashpad *tree, mdc_file_location *location, size_t strings, mdc_error *err) {
    mdc_vec body;
    uint32_t count;
    mdc_vec_init(&body, 1);
    mdc_status status = read_list(tree, location, strings * sizeof(uint32_t), "annotations", &body, &count, err);
    for (size_t i = 0; status == MDC_OK && i < (size_t)count * strings; i++)
        status = move_string(tree, &body, sizeof count + i * sizeof(uint32_t), err);
    *location = (mdc_file_location){0, 0};
    if (status == MDC_OK && body.count > 0) status = put_list(tree, &body, location, err);
    mdc_vec_fini(&body);
    return status;
}

/* Name, type, value: the value is a string if the type says so, else bytes with their length in front like one. */
static mdc_status move_objects(const crashpad *tree, mdc_file_location *location, mdc_error *err) {
    mdc_vec body;
    uint32_t count;
    mdc_vec_init(&body, 1);
    mdc_status status = read_list(tree, location, OBJECT_BYTES, "annotation objects", &body, &count, err);
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        size_t at = sizeof count + i * OBJECT_BYTES;
        status = move_string(tree, &body, at, err);
        if (status == MDC_OK) status = move_string(tree, &body, at + 8, err);
    }
    *location = (mdc_file_location){0, 0};
    if (status == MDC_OK && body.count > 0) status = put_list(tree, &body, location, err);
    mdc_vec_fini(&body);
    return status;
}

/* version, annotations as a list, as pairs, as objects. Older files end before the objects. */
static mdc_status move_module(const crashpad *tree, mdc_file_location *location, mdc_error *err) {
    mdc_vec body;
    mdc_file_location parts[MODULE_PARTS] = {{0, 0}};
    mdc_vec_init(&body, 1);
    mdc_status status = MDC_OK;
    const size_t known = sizeof(uint32_t) + MODULE_PARTS * sizeof parts[0];
    size_t there = location->data_size < known ? location->data_size : known;
    if (there < sizeof(uint32_t) || (there - sizeof(uint32_t)) % sizeof parts[0] != 0)
        status = mdc_relocation_fail(tree->relocation, "annotations of a module", location->rva, err);
    if (status == MDC_OK)
        status = mdc_relocation_read(tree->relocation, location->rva, there, "annotations of a module", &body, err);
    if (status == MDC_OK) {
        there -= sizeof(uint32_t);
        memcpy(parts, (const uint8_t *)body.data + sizeof(uint32_t), there);
        if (move_strings(tree, &parts[0], 1, err) != MDC_OK || move_strings(tree, &parts[1], 2, err) != MDC_OK ||
            move_objects(tree, &parts[2], err) != MDC_OK)
            status = err->code;
        memcpy((uint8_t *)body.data + sizeof(uint32_t), parts, there);
    }
    if (status == MDC_OK) status = put_list(tree, &body, location, err);
    /* Breakpad's reader takes the objects for there whatever the size says: it finds none. */
    if (status == MDC_OK && body.count < known)
        status = mdc_layout_put(tree->relocation->layout, NULL, known - body.count, NULL, err);
    mdc_vec_fini(&body);
    return status;
}

/* The number a module has among those that stay; false if it is left out. */
static bool renumber(const uint32_t *numbers, size_t modules, uint32_t *number) {
    if (*number >= modules) return true; /* of no module that the dump lists */
    if (numbers[*number] == UINT32_MAX) return false;
    *number = numbers[*number];
    return true;
}

static mdc_status move_links(const crashpad *tree, mdc_vec *body, uint32_t count, const uint32_t *numbers,
                             mdc_error *err) {
    size_t to = sizeof count;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = sizeof count + (size_t)i * LINK_BYTES;
        uint32_t number = get(body, at);
        mdc_file_location location = {get(body, at + 4), get(body, at + 8)};
        if (!renumber(numbers, tree->capture->lists->module_count, &number)) continue;
        if (move_module(tree, &location, err) != MDC_OK) return err->code;
        set(body, to, number);
        set(body, to + 4, location.data_size);
        set(body, to + 8, location.rva);
        to += LINK_BYTES;
        kept++;
    }
    set(body, 0, kept);
    body->count = to;
    return MDC_OK;
}

static mdc_status move_modules(const crashpad *tree, mdc_file_location *location, mdc_error *err) {
    const mdc_capture *capture = tree->capture;
    mdc_vec body;
    uint32_t count, next = 0;
    mdc_vec_init(&body, 1);
    uint32_t *numbers = mdc_alloc(capture->lists->module_count, sizeof *numbers, err);
    mdc_status status = numbers == NULL ? err->code : MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < capture->lists->module_count; i++)
        numbers[i] = capture->modules[i].write != 0 ? next++ : UINT32_MAX;
    if (status == MDC_OK) status = read_list(tree, location, LINK_BYTES, "the list of modules", &body, &count, err);
    if (status == MDC_OK && body.count > 0) status = move_links(tree, &body, count, numbers, err);
    *location = (mdc_file_location){0, 0};
    if (status == MDC_OK && body.count > 0) status = put_list(tree, &body, location, err);
    mdc_dealloc(numbers);
    mdc_vec_fini(&body);
    return status;
}

mdc_status mdc_crashpad_move(mdc_relocation *relocation, const mdc_carried_stream *stream, mdc_error *err) {
    const size_t simple = offsetof(mdc_file_crashpad_info, simple_annotations),
                 modules = offsetof(mdc_file_crashpad_info, module_list), least = modules + sizeof(mdc_file_location);
    crashpad tree = {relocation, relocation->layout->capture};
    mdc_file_location location;
    mdc_vec body;
    size_t at;
    relocation->what = "CrashpadInfo";
    if (stream->size < least) return mdc_relocation_fail(relocation, "the stream", stream->rva, err);
    /* Writers put into the same stream what it refers to, which is moved by itself. */
    const size_t size = (size_t)mdc_min_u64(stream->size, sizeof(mdc_file_crashpad_info));
    mdc_vec_init(&body, 1);
    mdc_status status = mdc_relocation_read(relocation, stream->rva, size, "the stream", &body, err);
    if (status == MDC_OK && mdc_layout_align(relocation->layout, 8, err) != MDC_OK) status = err->code;
    if (status == MDC_OK) status = mdc_layout_put(relocation->layout, NULL, size, &at, err);
    for (size_t i = 0; status == MDC_OK && i < 2; i++) {
        size_t where = i == 0 ? simple : modules;
        memcpy(&location, (const uint8_t *)body.data + where, sizeof location);
        status = i == 0 ? move_strings(&tree, &location, 2, err) : move_modules(&tree, &location, err);
        memcpy((uint8_t *)body.data + where, &location, sizeof location);
    }
    if (status == MDC_OK) {
        mdc_layout_set(relocation->layout, at, body.data, size);
        status = mdc_layout_stream(relocation->layout, stream->type, at, size, NULL, err);
    }
    mdc_vec_fini(&body);
    return status;
}
