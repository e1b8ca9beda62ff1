/* Gathering: what the target is and what the callee wants of it, in the order of dbghelp (docs/callbacks.md):
 * IsProcessSnapshot, VmStart, IoStart, SecondaryFlags and the first Cancel before the stop, then IncludeThread and
 * IncludeModule, Module and Thread, and in a Normal dump Memory and RemoveMemory. VmQuery is sent ahead of all items,
 * since the mappings must be known before stacks are located. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../format/utf16.h"
#include "dump_state.h"

enum { MODULE_SIZE_MAX = 0xFFFFF000 }; /* SizeOfImage is 32 bits */

mdc_status mdc_capture_before_stop(mdc_dump *dump, mdc_error *err) {
    mdc_calls_begin(&dump->calls);
    /* The descriptor of the output, where Windows shows hFile; NULL if there is none. */
    void *handle = dump->sink != NULL && dump->sink->fd != -1 ? (void *)dump->sink->fd : NULL;
    if (!dump->options.plan_only && mdc_calls_io_start(&dump->calls, handle)) {
        dump->io_sink = mdc_sink_io_new(&dump->options.callback, handle, dump->calls.count, err);
        if (dump->io_sink == NULL) return err->code;
        dump->sink = dump->io_sink;
    }
    if (dump->sink == NULL && !dump->options.plan_only)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_GATHER, 0, "no output was given for the dump");
    dump->secondary = mdc_calls_secondary_flags(&dump->calls);
    return mdc_calls_poll(&dump->calls, err);
}

/* A region from VmQuery. Facts of the source about the same addresses are kept: above all what must not be read. */
static mdc_status add_queried(mdc_dump *dump, const MINIDUMP_MEMORY_INFO *info, mdc_error *err) {
    mdc_region region = {.base = info->BaseAddress,
                         .size = info->RegionSize,
                         .state = info->State,
                         .protect = info->Protect,
                         .type = info->Type,
                         .alloc_base = info->AllocationBase,
                         .alloc_protect = info->AllocationProtect,
                         .valid_size = info->RegionSize,
                         .kinds = MDC_KIND_ANONYMOUS};
    size_t at; /* the first that ends after its start */
    mdc_lower_bound(at, 0, dump->lists->region_count,
                    dump->lists->regions[at].base + dump->lists->regions[at].size <= region.base);
    for (; at < dump->lists->region_count; at++) {
        const mdc_region *known = &dump->lists->regions[at];
        if (known->base >= region.base + region.size) break;
        region.flags |= known->flags & (uint32_t)(MDC_REGION_NEVER_READ | MDC_REGION_DONTDUMP);
        /* A part of what the target's filter leaves out is as good as all of it. */
        if (known->filtered > 0) region.filtered = region.size;
        if (known->base == region.base) {
            region.kinds = known->kinds;
            region.name_id = known->name_id;
            region.facts = known->facts;
        }
    }
    return mdc_vec_push(&dump->queried, &region, 1, NULL, err);
}

/* 18 from address 0 to the end of the callee's answers. A callee that leaves the query to the engine gets the
 * engine's regions. */
static mdc_status query_regions(mdc_dump *dump, mdc_error *err) {
    uint64_t address = 0;
    for (uint32_t i = 0; i < dump->options.answers_max; i++) {
        MINIDUMP_MEMORY_INFO info;
        int answer = mdc_calls_vm_query(&dump->calls, address, &info);
        if (answer == MDC_VM_OWN_QUERY && dump->queried.count == 0) return MDC_OK;
        if (answer != MDC_VM_ANSWER) return MDC_OK;
        uint64_t last;
        if (info.RegionSize == 0 || ((info.BaseAddress | info.RegionSize) & (MDC_PAGE_SIZE - 1)) != 0 ||
            info.BaseAddress > address || !mdc_add_u64(info.BaseAddress, info.RegionSize - 1, &last) || last < address)
            return mdc_fail_callback(err, MDC_CB_VM_QUERY, address,
                                     "the callback answered VmQuery with a region that does not contain the address");
        if (last == UINT64_MAX && info.State == MDC_MEM_FREE) return MDC_OK; /* the rest of the address space */
        if (last == UINT64_MAX)
            return mdc_fail_callback(err, MDC_CB_VM_QUERY, address,
                                     "the callback answered VmQuery with memory that ends at 2**64");
        uint64_t end = last + 1;
        if (info.BaseAddress < address) { /* returned already, except what follows */
            info.RegionSize = end - address;
            info.BaseAddress = address;
        }
        if (info.State != MDC_MEM_FREE && add_queried(dump, &info, err) != MDC_OK) return err->code;
        address = end;
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    }
    return mdc_fail_callback(err, MDC_CB_VM_QUERY, address, "the callback answered VmQuery without an end");
}

static mdc_status init_reports(mdc_dump *dump, mdc_error *err) {
    if (mdc_vec_push(&dump->thread_plans, NULL, dump->lists->thread_count, NULL, err) != MDC_OK ||
        mdc_vec_push(&dump->module_plans, NULL, dump->lists->module_count, NULL, err) != MDC_OK ||
        mdc_vec_push(&dump->report_regions, NULL, dump->region_count, NULL, err) != MDC_OK ||
        mdc_vec_push(&dump->names, dump->lists->pool, dump->lists->pool_size, NULL, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->region_count; i++) {
        const mdc_region *region = &dump->regions[i];
        mdc_report_region *report = &mdc_vec_at(&dump->report_regions, mdc_report_region, i);
        *report = (mdc_report_region){.base = region->base,
                                      .size = region->size,
                                      .state = region->state,
                                      .protect = region->protect,
                                      .type = region->type,
                                      .kinds = region->kinds,
                                      .flags = region->flags};
        if (region->state == MDC_MEM_COMMIT && (region->flags & MDC_REGION_NEVER_READ) == 0)
            report->filtered = region->filtered;
        if (region->name_id == 0) continue;
        report->name = dump->lists->names[region->name_id - 1].offset;
        report->name_size = dump->lists->names[region->name_id - 1].size;
    }
    return MDC_OK;
}

mdc_status mdc_capture_lists(mdc_dump *dump, mdc_error *err) {
    dump->lists = dump->source->ops->lists(dump->source);
    if (mdc_lists_check(dump->lists, err) != MDC_OK || mdc_streams_exception_check(dump, err) != MDC_OK)
        return err->code;
    dump->regions = dump->lists->regions;
    dump->region_count = dump->lists->region_count;
    dump->warnings |= dump->lists->warnings;
    dump->type = mdc_types_honoured(dump);
    if (mdc_types_lost(dump) != 0) dump->warnings |= MDC_WARN_TYPE;
    if (dump->calls.serves_memory && query_regions(dump, err) != MDC_OK) return err->code;
    if (dump->queried.count > 0) {
        dump->regions = dump->queried.data;
        dump->region_count = dump->queried.count;
    }
    return init_reports(dump, err);
}

static mdc_status include_threads(mdc_dump *dump, mdc_error *err) {
    uint64_t type = dump->type;
    uint32_t flags = MDC_THREAD_WRITE_THREAD | MDC_THREAD_WRITE_STACK | MDC_THREAD_WRITE_CONTEXT |
                     MDC_THREAD_WRITE_INSTRUCTION_WINDOW;
    if ((type & MDC_TYPE_WITH_THREAD_INFO) != 0) flags |= MDC_THREAD_WRITE_THREAD_INFO;
    if ((type & MDC_TYPE_WITH_PROCESS_THREAD_DATA) != 0) flags |= MDC_THREAD_WRITE_THREAD_DATA;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        mdc_vec_at(&dump->thread_plans, mdc_thread_plan, i).write =
            mdc_calls_include_thread(&dump->calls, dump->lists->threads[i].tid, flags);
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static int by_address(const void *left, const void *right) {
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* SizeOfImage has 32 bits, and readers store modules as ranges that must not overlap: each ends at the next base. */
static mdc_status size_modules(mdc_dump *dump, mdc_error *err) {
    size_t count = dump->lists->module_count;
    uint64_t *bases = mdc_alloc(count, sizeof *bases, err);
    if (bases == NULL) return err->code;
    for (size_t i = 0; i < count; i++) bases[i] = dump->lists->modules[i].base;
    qsort(bases, count, sizeof *bases, by_address);
    for (size_t i = 0; i < count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        size_t at; /* the first base after this one */
        mdc_lower_bound(at, 0, count, bases[at] <= module->base);
        uint64_t room = at < count ? bases[at] - module->base : UINT64_MAX;
        uint64_t size = mdc_min_u64(mdc_min_u64(module->size, room), MODULE_SIZE_MAX);
        mdc_vec_at(&dump->module_plans, mdc_module_plan, i).size = (uint32_t)size;
    }
    mdc_dealloc(bases);
    return MDC_OK;
}

static mdc_status include_modules(mdc_dump *dump, mdc_error *err) {
    uint64_t type = dump->type;
    uint32_t flags = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_MISC_RECORD | MDC_MODULE_WRITE_CV_RECORD;
    if ((type & MDC_TYPE_WITH_DATA_SEGS) != 0) flags |= MDC_MODULE_WRITE_DATA_SEG;
    if ((type & MDC_TYPE_WITH_CODE_SEGS) != 0) flags |= MDC_MODULE_WRITE_CODE_SEGS;
    for (size_t i = 0; i < dump->module_plans.count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        mdc_module_plan *plan = &mdc_vec_at(&dump->module_plans, mdc_module_plan, i);
        plan->write = mdc_calls_include_module(&dump->calls, module->base, flags);
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status call_threads(mdc_dump *dump, mdc_error *err) {
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        mdc_thread_plan *plan = &mdc_vec_at(&dump->thread_plans, mdc_thread_plan, i);
        if (plan->write == 0) continue;
        plan->write = mdc_calls_thread(&dump->calls, thread, plan->stack.first, plan->stack.end, plan->write);
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status call_modules(mdc_dump *dump, mdc_error *err) {
    size_t longest = 0;
    for (size_t i = 0; i < dump->lists->module_count; i++)
        if (dump->lists->modules[i].path.size > longest) longest = dump->lists->modules[i].path.size;
    uint16_t *path = mdc_alloc(longest + 1, sizeof *path, err);
    if (path == NULL) return err->code;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < dump->module_plans.count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        mdc_module_plan *plan = &mdc_vec_at(&dump->module_plans, mdc_module_plan, i);
        if (plan->write == 0) continue;
        uint8_t elf[4 + sizeof module->build_id];
        size_t record_size;
        const uint8_t *record = mdc_modules_record(dump, module, elf, &record_size);
        mdc_utf16_path(mdc_dump_name(dump, module->path), module->path.size, path);
        MINIDUMP_MODULE_CALLBACK input = {.FullPath = path,
                                          .BaseOfImage = module->base,
                                          .SizeOfImage = plan->size,
                                          .CheckSum = module->checksum,
                                          .TimeDateStamp = module->timestamp,
                                          .SizeOfCvRecord = (uint32_t)record_size};
        memcpy(&input.VersionInfo, module->version, sizeof input.VersionInfo);
        /* The callee may write to it, as on Windows: nothing of it is used afterwards. */
        input.CvRecord = record_size != 0 ? (void *)(uintptr_t)record : NULL;
        plan->write = mdc_calls_module(&dump->calls, &input, plan->write);
        status = mdc_calls_poll(&dump->calls, err);
    }
    mdc_dealloc(path);
    return status;
}

/* All of 5, or all of 9. No cap is documented, and a callee that always answers would never end: there is one here. */
static mdc_status ask_memory(mdc_dump *dump, uint32_t type, mdc_vec *runs, mdc_error *err) {
    for (uint32_t i = 0;; i++) {
        uint64_t base, size;
        if (mdc_calls_memory(&dump->calls, type, &base, &size, err) != MDC_OK) return err->code;
        if (size == 0) break;
        if (i >= dump->options.answers_max)
            return mdc_fail_callback(err, (int32_t)type, base, "the callback answered %s more than %" PRIu32 " times",
                                     type == MDC_CB_MEMORY ? "Memory" : "RemoveMemory", dump->options.answers_max);
        mdc_set_range range = {base, base + size};
        if (mdc_vec_push(runs, &range, 1, NULL, err) != MDC_OK) return err->code;
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(runs);
    return MDC_OK;
}

mdc_status mdc_capture_items(mdc_dump *dump, mdc_error *err) {
    if (include_threads(dump, err) != MDC_OK || size_modules(dump, err) != MDC_OK ||
        include_modules(dump, err) != MDC_OK || mdc_stacks_find(dump, err) != MDC_OK ||
        call_modules(dump, err) != MDC_OK || call_threads(dump, err) != MDC_OK)
        return err->code;
    if (!dump->full && (ask_memory(dump, MDC_CB_MEMORY, &dump->added, err) != MDC_OK ||
                        ask_memory(dump, MDC_CB_REMOVE_MEMORY, &dump->removed, err) != MDC_OK))
        return err->code;
    return mdc_stacks_keep(dump, err);
}
