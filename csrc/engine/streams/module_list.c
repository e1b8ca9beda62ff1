/* ModuleList with names and CodeView records: 'RSDS' of PE images, 'BpEL' of ELF build ids. */
#include <string.h>

#include "stream.h"

/* The fields before the path: signature, GUID, age of 'RSDS'; signature, offset, time, age of 'NB10'. */
enum { RSDS_FIXED = 24, NB10_FIXED = 16, NB10_SIGNATURE = 0x3031424E };
enum { BREAKPAD_MODULES = 2048 }; /* more, and Breakpad drops the list */

/* The path after the fixed part of a PE image's record is text, and sanitized like all texts. */
static mdc_status put_record(mdc_layout *layout, const mdc_module *module, mdc_file_location *location,
                             mdc_error *err) {
    uint8_t elf[4 + sizeof module->build_id];
    size_t size, at;
    const uint8_t *record = mdc_module_record(layout->capture, module, elf, &size);
    if (size == 0) return MDC_OK;
    uint32_t signature = 0;
    memcpy(&signature, record, size < sizeof signature ? size : sizeof signature);
    size_t fixed = signature == NB10_SIGNATURE ? NB10_FIXED : RSDS_FIXED;
    if (module->codeview.size == 0 || fixed > size) fixed = size;
    const uint8_t *path = record + fixed;
    if (mdc_layout_align(layout, 4, err) != MDC_OK || mdc_layout_put(layout, record, fixed, &at, err) != MDC_OK ||
        mdc_sanitized_string(&layout->sanitized, &path, size - fixed, err) != MDC_OK ||
        mdc_layout_put(layout, path, size - fixed, NULL, err) != MDC_OK)
        return err->code;
    *location = (mdc_file_location){(uint32_t)size, (uint32_t)at};
    return MDC_OK;
}

/* Path, or with the SONAME in place of the last part of it, as Breakpad and dump_syms name a module; a library out of
 * an archive comes after the archive's path. scratch: uint8_t. */
static mdc_status put_name(mdc_layout *layout, const mdc_module *module, mdc_vec *scratch, uint32_t *rva,
                           mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    const uint8_t *path = mdc_capture_name(capture, module->path);
    size_t size = module->path.size;
    if ((capture->type & MDC_TYPE_FILTER_MODULE_PATHS) != 0) {
        size_t name = size;
        while (name > 0 && path[name - 1] != '/' && path[name - 1] != '\\') name--;
        path += name;
        size -= name;
    }
    if (layout->engine->options.module_names != MDC_MODULE_NAMES_SONAME || module->soname.size == 0)
        return mdc_layout_string(layout, path, size, rva, err);
    int64_t region = mdc_regions_find(capture, module->base);
    bool archive = region != MDC_NO_REGION && capture->regions[region].file_offset != 0;
    while (!archive && size > 0 && path[size - 1] != '/') size--;
    scratch->count = 0;
    if (mdc_vec_push(scratch, path, size, NULL, err) != MDC_OK ||
        (archive && mdc_vec_push(scratch, "/", 1, NULL, err) != MDC_OK) ||
        mdc_vec_push(scratch, mdc_capture_name(capture, module->soname), module->soname.size, NULL, err) != MDC_OK)
        return err->code;
    return mdc_layout_string(layout, scratch->data, scratch->count, rva, err);
}

static mdc_status put_modules(mdc_layout *layout, size_t entry_at, mdc_vec *scratch, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        const mdc_module_choice *choice = &capture->modules[i];
        if (choice->write == 0) continue;
        mdc_file_module entry = {.base_of_image = module->base,
                                 .size_of_image = choice->size,
                                 .checksum = module->checksum,
                                 .time_date_stamp = module->timestamp};
        memcpy(&entry.version_info, module->version, sizeof entry.version_info);
        if (put_name(layout, module, scratch, &entry.name_rva, err) != MDC_OK) return err->code;
        if ((choice->write & MDC_MODULE_WRITE_CV_RECORD) != 0 &&
            put_record(layout, module, &entry.cv_record, err) != MDC_OK)
            return err->code;
        mdc_layout_set(layout, entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return MDC_OK;
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    uint32_t count = 0;
    size_t entry_at;
    (void)place;
    for (size_t i = 0; i < capture->lists->module_count; i++) count += capture->modules[i].write != 0;
    if (count > BREAKPAD_MODULES) layout->warnings |= MDC_WARN_MANY_MODULES;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_MODULE_LIST, &count, sizeof count, count, sizeof(mdc_file_module),
                         &entry_at, err) != MDC_OK)
        return err->code;
    mdc_vec scratch;
    mdc_vec_init(&scratch, 1);
    mdc_status status = put_modules(layout, entry_at, &scratch, err);
    mdc_vec_fini(&scratch);
    return status;
}

const mdc_stream mdc_stream_module_list = {.type = MDC_STREAM_TYPE_MODULE_LIST, .build = build_stream};
