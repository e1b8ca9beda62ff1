/* What is captured, in the order of dbghelp (docs/callbacks.md): IsProcessSnapshot, VmStart, IoStart, SecondaryFlags
 * and the first Cancel before the stop, then IncludeThread and IncludeModule, Module and Thread, and in a Normal dump
 * Memory and RemoveMemory. VmQuery is sent ahead of all items, since the mappings must be known before stacks are
 * located. */
#include "capture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../format/minidump_file.h"
#include "../format/utf16.h"
#include "../source/name_kinds.h"

enum { MODULE_SIZE_MAX = 0xFFFFF000 }; /* SizeOfImage is 32 bits */

void mdc_capture_init(mdc_capture *capture, mdc_engine *engine) {
    capture->engine = engine;
    mdc_vec_init(&capture->answers, sizeof(mdc_region));
    mdc_vec_init(&capture->stacks, sizeof(mdc_stack));
    mdc_range_set_init(&capture->added);
    mdc_range_set_init(&capture->removed);
}

void mdc_capture_fini(mdc_capture *capture) {
    mdc_vec_fini(&capture->answers);
    mdc_vec_fini(&capture->stacks);
    mdc_vec_fini(&capture->added);
    mdc_vec_fini(&capture->removed);
    mdc_dealloc(capture->crash.context);
    mdc_dealloc(capture->kinds);
    mdc_dealloc(capture->threads);
    mdc_dealloc(capture->modules);
}

int64_t mdc_regions_find(const mdc_capture *capture, uint64_t address) {
    const mdc_region *regions = capture->regions;
    size_t at;
    mdc_lower_bound(at, 0, capture->region_count, regions[at].base <= address);
    if (at == 0 || address - regions[at - 1].base >= regions[at - 1].size) return MDC_NO_REGION;
    return (int64_t)(at - 1);
}

bool mdc_regions_closed(const mdc_capture *capture, size_t region) {
    const mdc_engine *engine = capture->engine;
    const mdc_region *it = &capture->regions[region];
    if ((it->flags & MDC_REGION_NEVER_READ) != 0 || it->state != MDC_MEM_COMMIT) return true;
    if (it->filtered == it->size) return true;
    if ((it->flags & MDC_REGION_DONTDUMP) == 0) return false;
    bool can_ask = engine->calls.callback.CallbackRoutine != NULL;
    return engine->options.dontdump == MDC_DONTDUMP_HONOUR ||
           (engine->options.dontdump == MDC_DONTDUMP_ASK && !can_ask);
}

size_t mdc_capture_crashed(const mdc_capture *capture) {
    const mdc_engine_options *options = &capture->engine->options;
    const mdc_snapshot *lists = capture->lists;
    const uint32_t tid = options->signal.thread_id != 0 ? options->signal.thread_id : options->exception.thread_id;
    if (capture->crash.known) return capture->crash.thread < lists->thread_count ? capture->crash.thread : 0;
    for (size_t i = 0; i < lists->thread_count; i++)
        if (tid != 0 && lists->threads[i].tid == tid) return i;
    return 0;
}

const uint8_t *mdc_capture_name(const mdc_capture *capture, mdc_name name) {
    return name.size == 0 ? (const uint8_t *)"" : capture->lists->pool + name.offset;
}

mdc_name mdc_region_name(const mdc_capture *capture, size_t region) {
    uint32_t id = capture->regions[region].name_id;
    return id != 0 ? capture->lists->names[id - 1] : (mdc_name){0, 0};
}

const uint8_t *mdc_module_record(const mdc_capture *capture, const mdc_module *module, uint8_t *elf, size_t *size) {
    *size = module->codeview.size;
    if (*size != 0) return mdc_capture_name(capture, module->codeview);
    if (module->build_id_size == 0) return NULL;
    const uint32_t signature = MDC_FILE_CV_ELF;
    memcpy(elf, &signature, sizeof signature);
    memcpy(elf + sizeof signature, module->build_id, module->build_id_size);
    *size = sizeof signature + module->build_id_size;
    return elf;
}

mdc_status mdc_capture_before_stop(mdc_capture *capture, mdc_sink **sink, mdc_sink **io_sink, mdc_error *err) {
    mdc_engine *engine = capture->engine;
    mdc_calls_begin(&engine->calls);
    /* The descriptor of the output, where Windows shows hFile; NULL if there is none. */
    void *handle = *sink != NULL && (*sink)->fd != -1 ? (void *)(*sink)->fd : NULL;
    if (!engine->options.plan_only && mdc_calls_io_start(&engine->calls, handle)) {
        *sink = *io_sink = mdc_sink_io_new(&engine->options.callback, handle, engine->calls.count, err);
        if (*sink == NULL) return err->code;
    }
    if (*sink == NULL && !engine->options.plan_only)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "no output was given for the dump");
    engine->patchable = *sink != NULL && (*sink)->patchable;
    engine->sparse = *sink != NULL && (*sink)->sparse;
    capture->secondary = mdc_calls_secondary_flags(&engine->calls);
    return mdc_calls_poll(&engine->calls, err);
}

/* A region from VmQuery. Facts of the source about the same addresses are kept: above all what must not be read. */
static mdc_status add_queried(mdc_capture *capture, const MINIDUMP_MEMORY_INFO *info, mdc_error *err) {
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
    mdc_lower_bound(at, 0, capture->lists->region_count,
                    capture->lists->regions[at].base + capture->lists->regions[at].size <= region.base);
    for (; at < capture->lists->region_count; at++) {
        const mdc_region *known = &capture->lists->regions[at];
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
    return mdc_vec_push(&capture->answers, &region, 1, NULL, err);
}

/* VmQuery from address 0 to the end of the callee's answers. A callee that leaves the query to the engine gets the
 * engine's regions. */
static mdc_status query_regions(mdc_capture *capture, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    uint64_t address = 0;
    for (uint32_t i = 0; i < capture->engine->options.answers_max; i++) {
        MINIDUMP_MEMORY_INFO info;
        int answer = mdc_calls_vm_query(calls, address, &info);
        if (answer == MDC_VM_OWN_QUERY && capture->answers.count == 0) return MDC_OK;
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
        if (info.State != MDC_MEM_FREE && add_queried(capture, &info, err) != MDC_OK) return err->code;
        address = end;
        if (mdc_calls_poll(calls, err) != MDC_OK) return err->code;
    }
    return mdc_fail_callback(err, MDC_CB_VM_QUERY, address, "the callback answered VmQuery without an end");
}

static mdc_status init_choices(mdc_capture *capture, mdc_error *err) {
    capture->threads = mdc_alloc(capture->lists->thread_count, sizeof *capture->threads, err);
    capture->modules = mdc_alloc(capture->lists->module_count, sizeof *capture->modules, err);
    capture->kinds = mdc_alloc(capture->region_count, sizeof *capture->kinds, err);
    if (capture->threads == NULL || capture->modules == NULL || capture->kinds == NULL) return err->code;
    for (size_t i = 0; i < capture->region_count; i++) capture->kinds[i] = capture->regions[i].kinds;
    return MDC_OK;
}

mdc_status mdc_capture_lists(mdc_capture *capture, mdc_error *err) {
    capture->lists = capture->engine->source->ops->snapshot(capture->engine->source);
    if (mdc_snapshot_check(capture->lists, err) != MDC_OK || mdc_streams_check(capture, err) != MDC_OK)
        return err->code;
    capture->regions = capture->lists->regions;
    capture->region_count = capture->lists->region_count;
    capture->warnings |= capture->lists->warnings;
    capture->type = mdc_type_honoured(capture);
    if (mdc_type_lost(capture) != 0) capture->warnings |= MDC_WARN_TYPE;
    if (capture->engine->calls.serves_memory && query_regions(capture, err) != MDC_OK) return err->code;
    capture->queried = capture->answers.count > 0;
    if (capture->queried) {
        capture->regions = capture->answers.data;
        capture->region_count = capture->answers.count;
    }
    return init_choices(capture, err);
}

static mdc_status include_threads(mdc_capture *capture, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    uint32_t flags = MDC_THREAD_WRITE_THREAD | MDC_THREAD_WRITE_STACK | MDC_THREAD_WRITE_CONTEXT |
                     MDC_THREAD_WRITE_INSTRUCTION_WINDOW;
    if ((capture->type & MDC_TYPE_WITHOUT_OPTIONAL_DATA) != 0) flags &= ~(uint32_t)MDC_THREAD_WRITE_INSTRUCTION_WINDOW;
    if ((capture->type & MDC_TYPE_WITH_THREAD_INFO) != 0) flags |= MDC_THREAD_WRITE_THREAD_INFO;
    if ((capture->type & MDC_TYPE_WITH_PROCESS_THREAD_DATA) != 0) flags |= MDC_THREAD_WRITE_THREAD_DATA;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        capture->threads[i].write = mdc_calls_include_thread(calls, capture->lists->threads[i].tid, flags);
        if (mdc_calls_poll(calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static int by_address(const void *left, const void *right) {
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* SizeOfImage has 32 bits, and readers store modules as ranges that must not overlap: each ends at the next base. */
static mdc_status size_modules(mdc_capture *capture, mdc_error *err) {
    size_t count = capture->lists->module_count;
    uint64_t *bases = mdc_alloc(count, sizeof *bases, err);
    if (bases == NULL) return err->code;
    for (size_t i = 0; i < count; i++) bases[i] = capture->lists->modules[i].base;
    qsort(bases, count, sizeof *bases, by_address);
    for (size_t i = 0; i < count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        size_t at; /* the first base after this one */
        mdc_lower_bound(at, 0, count, bases[at] <= module->base);
        uint64_t room = at < count ? bases[at] - module->base : UINT64_MAX;
        uint64_t size = mdc_min_u64(mdc_min_u64(module->size, room), MODULE_SIZE_MAX);
        capture->modules[i].size = (uint32_t)size;
    }
    mdc_dealloc(bases);
    return MDC_OK;
}

static mdc_status include_modules(mdc_capture *capture, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    uint32_t flags = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_MISC_RECORD | MDC_MODULE_WRITE_CV_RECORD;
    if ((capture->type & MDC_TYPE_WITH_DATA_SEGS) != 0) flags |= MDC_MODULE_WRITE_DATA_SEG;
    if ((capture->type & MDC_TYPE_WITH_CODE_SEGS) != 0) flags |= MDC_MODULE_WRITE_CODE_SEGS;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        capture->modules[i].write = mdc_calls_include_module(calls, capture->lists->modules[i].base, flags);
        if (mdc_calls_poll(calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status call_threads(mdc_capture *capture, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        mdc_thread_choice *choice = &capture->threads[i];
        if (choice->write == 0) continue;
        choice->write = mdc_calls_thread(calls, thread, choice->stack.first, choice->stack.end, choice->write);
        if (mdc_calls_poll(calls, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status call_modules(mdc_capture *capture, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    size_t longest = 0;
    for (size_t i = 0; i < capture->lists->module_count; i++)
        if (capture->lists->modules[i].path.size > longest) longest = capture->lists->modules[i].path.size;
    uint16_t *path = mdc_alloc(longest + 1, sizeof *path, err);
    if (path == NULL) return err->code;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        mdc_module_choice *choice = &capture->modules[i];
        if (choice->write == 0) continue;
        uint8_t elf[4 + sizeof module->build_id];
        size_t record_size;
        const uint8_t *record = mdc_module_record(capture, module, elf, &record_size);
        mdc_utf16_path(mdc_capture_name(capture, module->path), module->path.size, path);
        MINIDUMP_MODULE_CALLBACK input = {.FullPath = path,
                                          .BaseOfImage = module->base,
                                          .SizeOfImage = choice->size,
                                          .CheckSum = module->checksum,
                                          .TimeDateStamp = module->timestamp,
                                          .SizeOfCvRecord = (uint32_t)record_size};
        memcpy(&input.VersionInfo, module->version, sizeof input.VersionInfo);
        /* The callee may write to it, as on Windows: nothing of it is used afterwards. */
        input.CvRecord = record_size != 0 ? (void *)(uintptr_t)record : NULL;
        choice->write = mdc_calls_module(calls, &input, choice->write);
        status = mdc_calls_poll(calls, err);
    }
    mdc_dealloc(path);
    return status;
}

/* All answers to Memory, or to RemoveMemory. No cap is documented, and a callee that always answers would never end:
 * there is one here. */
static mdc_status ask_memory(mdc_capture *capture, uint32_t type, mdc_vec *runs, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    for (uint32_t i = 0;; i++) {
        uint64_t base, size;
        if (mdc_calls_memory(calls, type, &base, &size, err) != MDC_OK) return err->code;
        if (size == 0) break;
        if (i >= capture->engine->options.answers_max)
            return mdc_fail_callback(err, (int32_t)type, base, "the callback answered %s more than %" PRIu32 " times",
                                     type == MDC_CB_MEMORY ? "Memory" : "RemoveMemory",
                                     capture->engine->options.answers_max);
        mdc_set_range range = {base, base + size};
        if (mdc_vec_push(runs, &range, 1, NULL, err) != MDC_OK) return err->code;
        if (mdc_calls_poll(calls, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(runs);
    return MDC_OK;
}

static void find_heaps(mdc_capture *capture) {
    if (capture->lists->system->platform == MDC_PLATFORM_WINDOWS) return; /* which has a list of its heaps */
    for (size_t i = 0; i < capture->region_count; i++) {
        const mdc_region *region = &capture->regions[i];
        capture->kinds[i] = mdc_heap_kinds(capture->kinds[i], region->type, region->protect);
    }
}

static mdc_status find_items(mdc_capture *capture, const struct mdc_reader *reader, mdc_vec *interrupted,
                             mdc_error *err) {
    if (include_threads(capture, err) != MDC_OK || size_modules(capture, err) != MDC_OK ||
        include_modules(capture, err) != MDC_OK || mdc_stacks_find(capture, interrupted, err) != MDC_OK)
        return err->code;
    find_heaps(capture);
    return (capture->type & MDC_TYPE_SCAN_MEMORY) != 0 ? mdc_modules_scan(capture, reader, err) : MDC_OK;
}

mdc_status mdc_capture_items(mdc_capture *capture, const struct mdc_reader *reader, mdc_error *err) {
    mdc_vec interrupted;
    mdc_vec_init(&interrupted, sizeof(mdc_interrupted));
    mdc_status status = MDC_OK;
    if (find_items(capture, reader, &interrupted, err) != MDC_OK || call_modules(capture, err) != MDC_OK ||
        call_threads(capture, err) != MDC_OK)
        status = err->code;
    if (status == MDC_OK && !capture->engine->full &&
        (ask_memory(capture, MDC_CB_MEMORY, &capture->added, err) != MDC_OK ||
         ask_memory(capture, MDC_CB_REMOVE_MEMORY, &capture->removed, err) != MDC_OK))
        status = err->code;
    if (status == MDC_OK) status = mdc_stacks_keep(capture, &interrupted, err);
    mdc_vec_fini(&interrupted);
    return status;
}
