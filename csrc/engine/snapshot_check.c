/* Checks what a source delivers: the numbers come from a hostile target, and the plan does arithmetic with them. */
#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "capture.h"

enum { CONTEXT_MAX = 1 << 16, ITEMS_MAX = 1 << 26 };

static mdc_status wrong(mdc_error *err, const char *what, size_t index, uint64_t address) {
    mdc_fail_at(err, MDC_ERR_FORMAT, MDC_PHASE_CAPTURE, (int64_t)index, "the source delivered %s %zu (0x%" PRIx64 ")",
                what, index, address);
    err->address = address;
    return err->code;
}

static bool name_fits(const mdc_snapshot *lists, mdc_name name) {
    return name.size == 0 || (uint64_t)name.offset + name.size <= lists->pool_size;
}

static mdc_status check_windows(const mdc_snapshot *lists, mdc_error *err) {
    for (size_t i = 0; i < lists->section_count; i++)
        if (lists->sections[i].module >= lists->module_count)
            return wrong(err, "a section without a module:", i, lists->sections[i].address);
    for (size_t i = 0; i < lists->unloaded_count; i++)
        if (!name_fits(lists, lists->unloaded[i].name))
            return wrong(err, "an unloaded module with a name outside the pool:", i, lists->unloaded[i].base);
    for (size_t i = 0; i < lists->handle_count; i++)
        if (!name_fits(lists, lists->handles[i].type) || !name_fits(lists, lists->handles[i].name))
            return wrong(err, "a handle with a name outside the pool:", i, lists->handles[i].value);
    if (!name_fits(lists, lists->system->misc.build_string)) return wrong(err, "a build outside the pool:", 0, 0);
    return MDC_OK;
}

static mdc_status check_regions(const mdc_snapshot *lists, mdc_error *err) {
    uint64_t floor = 0;
    for (size_t i = 0; i < lists->region_count; i++) {
        const mdc_region *region = &lists->regions[i];
        uint64_t end;
        if (region->size == 0 || ((region->base | region->size) & (MDC_PAGE_SIZE - 1)) != 0 || region->base < floor ||
            !mdc_add_u64(region->base, region->size, &end) || region->valid_size > region->size ||
            region->filtered > region->size || (region->filtered & (MDC_PAGE_SIZE - 1)) != 0 ||
            region->name_id > lists->name_count)
            return wrong(err, "a region that is empty, unaligned, overlapping or out of order:", i, region->base);
        floor = end;
    }
    for (size_t i = 0; i < lists->name_count; i++)
        if (!name_fits(lists, lists->names[i])) return wrong(err, "a name outside its pool:", i, 0);
    return MDC_OK;
}

mdc_status mdc_snapshot_check(const mdc_snapshot *lists, mdc_error *err) {
    if (lists->region_count > ITEMS_MAX || lists->thread_count > ITEMS_MAX || lists->module_count > ITEMS_MAX ||
        lists->name_count > ITEMS_MAX || lists->pool_size > UINT32_MAX || lists->section_count > ITEMS_MAX ||
        lists->unloaded_count > ITEMS_MAX || lists->handle_count > ITEMS_MAX || lists->copy_count > ITEMS_MAX ||
        lists->system == NULL)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_CAPTURE, 0, "the source delivered lists of impossible length");
    if (check_regions(lists, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < lists->thread_count; i++) {
        const mdc_thread *thread = &lists->threads[i];
        bool none = thread->context_size == 0 && lists->carried != NULL; /* a dump may have left it out */
        if ((!none && (thread->context == NULL || thread->context_size == 0)) || thread->context_size > CONTEXT_MAX ||
            thread->interrupted_count > MDC_INTERRUPTED_MAX || !name_fits(lists, thread->name))
            return wrong(err, "a thread with an invalid context or name:", i, thread->tid);
    }
    for (size_t i = 0; i < lists->module_count; i++) {
        const mdc_module *module = &lists->modules[i];
        uint64_t end;
        if (module->size == 0 || !mdc_add_u64(module->base, module->size, &end) ||
            module->build_id_size > sizeof module->build_id || !name_fits(lists, module->path) ||
            !name_fits(lists, module->codeview) || !name_fits(lists, module->soname))
            return wrong(err, "a module that is empty or overflows:", i, module->base);
    }
    for (size_t i = 0; i < lists->text_count; i++) {
        const mdc_text *text = &lists->texts[i];
        uint64_t end;
        if (text->data == NULL && !mdc_add_u64(text->address, text->size, &end))
            return wrong(err, "a string that overflows:", i, text->address);
    }
    if (!name_fits(lists, lists->system->version) || !name_fits(lists, lists->system->csd_version))
        return wrong(err, "a version outside the pool:", 0, 0);
    return check_windows(lists, err);
}
