/* ModuleList with names and 'BpEL' CodeView records. */
#include <string.h>

#include "dump_state.h"

static mdc_status put_record(mdc_dump *dump, const mdc_module *module, mdc_file_location *location, mdc_error *err) {
    uint32_t signature = MDC_FILE_CV_ELF;
    size_t at;
    if (mdc_layout_align(dump, 4, err) != MDC_OK ||
        mdc_layout_put(dump, &signature, sizeof signature, &at, err) != MDC_OK ||
        mdc_layout_put(dump, module->build_id, module->build_id_size, NULL, err) != MDC_OK)
        return err->code;
    *location = (mdc_file_location){4 + module->build_id_size, (uint32_t)at};
    return MDC_OK;
}

mdc_status mdc_streams_modules(mdc_dump *dump, mdc_error *err) {
    uint32_t count = 0;
    size_t at, entry_at;
    for (size_t i = 0; i < dump->module_plans.count; i++)
        count += mdc_vec_at(&dump->module_plans, const mdc_module_plan, i).write != 0;
    if (count > MDC_BREAKPAD_MODULES) dump->warnings |= MDC_WARN_MANY_MODULES;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &count, sizeof count, &at, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, count * sizeof(mdc_file_module), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->module_plans.count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        const mdc_module_plan *plan = &mdc_vec_at(&dump->module_plans, const mdc_module_plan, i);
        if (plan->write == 0) continue;
        mdc_file_module entry = {.base_of_image = module->base, .size_of_image = plan->size};
        const uint8_t *path = mdc_dump_name(dump, module->path);
        if (mdc_layout_string(dump, path, module->path.size, &entry.name_rva, err) != MDC_OK) return err->code;
        if ((plan->write & MDC_MODULE_WRITE_CV_RECORD) != 0 && module->build_id_size != 0 &&
            put_record(dump, module, &entry.cv_record, err) != MDC_OK)
            return err->code;
        memcpy((uint8_t *)dump->small.data + entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_MODULE_LIST, at, 4 + 108 * (uint64_t)count, NULL, err);
}
