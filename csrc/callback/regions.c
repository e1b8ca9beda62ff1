/* IncludeVmRegion (10) and Module (0): the answers that look at the filter's table. */
#include <stddef.h>
#include <string.h>

#include "../filter/glob.h"
#include "path16.h"
#include "state.h"

/* ---- modules ---- */

int32_t mdc_answer_module(mdc_callback *callback, const MINIDUMP_MODULE_CALLBACK *module,
                          MINIDUMP_CALLBACK_OUTPUT *output) {
    const mdc_filter *filter = callback->filter;
    bool judged = mdc_filter_judges_modules(filter);
    size_t size = 0;
    if (judged || callback->has_modules) {
        size = mdc_path_bytes(module->FullPath, callback->path);
        if (size == SIZE_MAX) {
            mdc_callback_fault(callback, MDC_FAULT_PATH_TOO_LONG);
            return 1;
        }
    }
    if (callback->has_modules) {
        mdc_filter_module_row(filter, callback->path, size, mdc_rows_scratch(&callback->rows));
        uint32_t row = mdc_rows_keep(&callback->rows);
        if (row == MDC_ROW_NONE || !mdc_modmap_enter(&callback->modules, module->BaseOfImage, module->SizeOfImage, row))
            mdc_callback_fault(callback, MDC_FAULT_MODULES_FULL);
    }
    uint32_t keep = mdc_filter_module_keep(filter, callback->path, size);
    if (keep != UINT32_MAX) output->ModuleWriteFlags &= keep;
    return 1;
}

/* ---- regions ---- */

const mdc_region_facts *mdc_callback_facts(const mdc_region_facts *facts) {
    return facts->Version >= 1 && facts->Size >= sizeof *facts ? facts : NULL;
}

/* What a type says about kinds when nothing else is known. */
static uint32_t kinds_of_type(uint32_t type) {
    return type == MDC_MEM_IMAGE     ? MDC_KIND_IMAGE
           : type == MDC_MEM_MAPPED  ? MDC_KIND_FILE
           : type == MDC_MEM_PRIVATE ? MDC_KIND_ANONYMOUS
                                     : 0;
}

void mdc_callback_question(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                           const mdc_region_facts *facts, const uint64_t *name_row, mdc_question *question,
                           mdc_module_map *map) {
    uint64_t base = region->BaseAddress, more = region->RegionSize - 1;
    question->base = base;
    question->last = more > UINT64_MAX - base ? UINT64_MAX : base + more;
    question->state = region->State;
    question->protect = region->Protect;
    question->type = region->Type;
    question->name_row = name_row;
    if (facts != NULL) {
        question->mapping_base = facts->MappingBase;
        question->mapping_size = facts->MappingSize;
        question->kinds = facts->Kinds;
        question->flags = facts->Flags;
    } else {
        question->mapping_base = base;
        question->mapping_size = region->RegionSize;
        question->kinds = kinds_of_type(region->Type);
        question->flags = 0;
    }
    question->modules = NULL;
    if (callback->modules.count > 0) {
        map->start = callback->modules.start;
        map->row = callback->modules.row;
        map->rows = callback->rows.data;
        map->count = callback->modules.segments;
        question->modules = map;
    }
}

/* The row of the mapping's name: matched once per NameId, as far as there is room. */
static const uint64_t *name_row(mdc_callback *callback, const mdc_region_facts *facts) {
    uint32_t id = facts->NameId;
    if (id <= callback->name_capacity && callback->name_row[id] != 0)
        return mdc_rows_at(&callback->rows, callback->name_row[id] - 1);
    size_t size = facts->Name == NULL ? 0 : facts->NameSize;
    if (size > MDC_GLOB_TEXT_MAX) mdc_callback_fault(callback, MDC_FAULT_NAME_TOO_LONG);
    uint64_t *scratch = mdc_rows_scratch(&callback->rows);
    mdc_filter_name_row(callback->filter, facts->Name, size, scratch);
    if (id > callback->name_capacity) return scratch;
    uint32_t row = mdc_rows_keep(&callback->rows);
    if (row == MDC_ROW_NONE) return scratch;
    callback->name_row[id] = row + 1;
    if (id >= callback->name_used) callback->name_used = id + 1;
    return mdc_rows_at(&callback->rows, row);
}

int32_t mdc_answer_region(mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                          MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_MEMORY_INFO *region = &output->Region.VmRegion;
    output->Region.Continue = 1; /* always: FALSE would end the questions and write the rest in full */
    if (region->RegionSize == 0) return 1;
    const mdc_region_facts *facts = NULL;
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed);
    const uint64_t *names = callback->no_name_row;
    if (extensions & MDC_EXT_REGION_FACTS) {
        facts = mdc_callback_facts(&input->u.RegionFacts);
        if (facts == NULL)
            mdc_callback_fault(callback, MDC_FAULT_FACTS);
        else if (callback->has_names && facts->NameId != 0)
            names = name_row(callback, facts);
    }
    if (callback->modules.count > 0 && !callback->modules.sealed) {
        mdc_modmap_seal(&callback->modules);
        callback->cursor.module = 0; /* the segments are others now */
    }
    mdc_question question;
    mdc_module_map map;
    mdc_matcher matcher;
    mdc_callback_question(callback, region, facts, names, &question, &map);
    mdc_match_begin(&matcher, callback->filter, &question);
    uint64_t first, last;
    bool found = extensions & MDC_EXT_RESUBMIT
                     ? mdc_match_next(&matcher, &callback->cursor, question.base, &first, &last)
                     : mdc_match_longest(&matcher, &callback->cursor, &first, &last);
    if (!found) {
        region->RegionSize = 0;
        mdc_tally_add(&callback->tally.excluded);
    } else if (first != question.base || last != question.last) {
        region->BaseAddress = first;
        region->RegionSize = last - first + 1;
        mdc_tally_add(&callback->tally.narrowed);
    }
    return 1;
}
