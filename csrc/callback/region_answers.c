/* Module and IncludeVmRegion: the answers that look at the filter's table. The routine has a short way of its
 * own for the commonest regions; what it leaves comes here. */
#include <stddef.h>
#include <string.h>

#include "../filter/glob.h"
#include "../format/utf16_path.h"
#include "state.h"

/* ---- modules ---- */

int32_t mdc_answer_module(mdc_callback *callback, const MINIDUMP_MODULE_CALLBACK *module,
                          MINIDUMP_CALLBACK_OUTPUT *output) {
    const mdc_filter *filter = callback->filter;
    bool decided = mdc_filter_decides_modules(filter);
    size_t size = 0;
    if (decided || callback->has_modules) {
        size = mdc_path_bytes(module->FullPath, callback->path);
        if (size == SIZE_MAX) {
            mdc_callback_fault(callback, MDC_FAULT_PATH_TOO_LONG);
            return 1;
        }
    }
    if (callback->has_modules) {
        mdc_filter_module_row(filter, mdc_callback_nocase(callback), callback->path, size,
                              mdc_rows_scratch(&callback->rows));
        uint32_t row = mdc_rows_keep(&callback->rows);
        if (row == MDC_ROW_NONE ||
            !mdc_module_table_enter(&callback->modules, module->BaseOfImage, module->SizeOfImage, row))
            mdc_callback_fault(callback, MDC_FAULT_MODULES_FULL);
        callback->hot_type = MDC_NO_TYPE;
    }
    if (mdc_redaction_listens(&callback->redaction) &&
        !mdc_redaction_module(&callback->redaction, module->BaseOfImage, module->SizeOfImage))
        mdc_callback_fault(callback, MDC_FAULT_POINTEES_FULL);
    uint32_t keep = mdc_filter_module_keep(filter, mdc_callback_nocase(callback), callback->path, size);
    if (keep != UINT32_MAX) output->ModuleWriteFlags &= keep;
    bool scanned = (atomic_load_explicit(&callback->extensions, memory_order_relaxed) & MDC_EXT_SCANNED) != 0;
    if (scanned && (output->ModuleWriteFlags & MDC_MODULE_REFERENCED_BY_MEMORY) == 0)
        output->ModuleWriteFlags &= ~(uint32_t)MDC_MODULE_WRITE_MODULE;
    return 1;
}

/* ---- regions ---- */

/* The row of the mapping's name: matched once per NameId, as far as there is room. */
static const uint64_t *name_row(mdc_callback *callback, const mdc_region_facts *facts) {
    uint32_t id = facts->NameId;
    if (id <= callback->name_capacity && callback->name_row[id] != 0)
        return mdc_rows_at(&callback->rows, callback->name_row[id] - 1);
    size_t size = facts->Name == NULL ? 0 : facts->NameSize;
    if (size > MDC_GLOB_TEXT_MAX) mdc_callback_fault(callback, MDC_FAULT_NAME_TOO_LONG);
    uint64_t *scratch = mdc_rows_scratch(&callback->rows);
    mdc_filter_name_row(callback->filter, mdc_callback_nocase(callback), facts->Name, size, scratch);
    if (id > callback->name_capacity) return scratch;
    uint32_t row = mdc_rows_keep(&callback->rows);
    if (row == MDC_ROW_NONE) return scratch;
    callback->name_row[id] = row + 1;
    if (id >= callback->name_used) callback->name_used = id + 1;
    return mdc_rows_at(&callback->rows, row);
}

/* Module (0) may come late: segments are made anew when modules were entered since. */
static const mdc_module_map *module_map(mdc_callback *callback) {
    mdc_module_table *modules = &callback->modules;
    if (!callback->has_modules) return NULL;
    if (!modules->sealed) {
        mdc_module_table_seal(modules);
        callback->map = (mdc_module_map){
            .start = modules->start, .row = modules->row, .rows = callback->rows.data, .count = modules->segments};
        callback->cursor.module = 0;
    }
    return &callback->map;
}

int32_t mdc_answer_region(mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                          MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_MEMORY_INFO *region = &output->Region.VmRegion;
    output->Region.Continue = 1; /* always: FALSE would end the questions and write the rest in full */
    if (region->RegionSize == 0) return 1;
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed);
    const mdc_region_facts *facts = NULL;
    const uint64_t *names = callback->no_name;
    if (extensions & MDC_EXT_REGION_FACTS) {
        facts = mdc_callback_facts(&input->u.RegionFacts);
        if (facts == NULL)
            mdc_callback_fault(callback, MDC_FAULT_FACTS);
        else if (callback->has_names && facts->NameId != 0)
            names = name_row(callback, facts);
    }
    const mdc_module_map *map = module_map(callback);
    bool open = callback->hot_type == MDC_CB_INCLUDE_VM_REGION;
    if (open) callback->cursor.interval = callback->hot.interval;
    mdc_question question;
    mdc_callback_question(region, facts, names, map, &question);
    uint64_t first, last;
    int part =
        (extensions & MDC_EXT_RESUBMIT) != 0
            ? mdc_match_answer(callback->filter, &callback->cursor, &question, &first, &last)
            : mdc_excluded_gaps_answer(&callback->gaps, callback->filter, &callback->cursor, &question, &first, &last);
    switch (part) {
    case MDC_MATCH_WHOLE:
        break;
    case MDC_MATCH_NOTHING:
        region->RegionSize = 0;
        mdc_counters_add(&callback->counters.excluded);
        break;
    default:
        region->BaseAddress = first;
        region->RegionSize = last - first + 1;
        mdc_counters_add(&callback->counters.narrowed);
    }
    /* From here on the routine may answer by itself, beginning where this answer was found. */
    bool refused = (extensions & MDC_EXT_REGION_FACTS) != 0 && facts == NULL;
    if (open || (mdc_hot_serves(callback->filter) && !refused &&
                 (callback->hook_types & 1u << MDC_CB_INCLUDE_VM_REGION) == 0)) {
        mdc_hot_place(&callback->hot, callback->filter, &callback->cursor, map,
                      callback->has_names ? NULL : callback->no_name);
        callback->hot_type = MDC_CB_INCLUDE_VM_REGION;
    }
    return 1;
}
