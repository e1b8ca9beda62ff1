/* The report of a dump by dbghelp (see dbghelp_report.h). */
#include "dbghelp_report.h"

#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../windows/win_regions.h"

enum { MANY_THREADS = 4096, MANY_MODULES = 2048, PARTIAL_COPY = 299 };

void mdc_dbghelp_report_init(mdc_dbghelp_report *report) {
    memset(report, 0, sizeof *report);
    mdc_vec_init(&report->regions, sizeof(mdc_report_region));
    mdc_vec_init(&report->threads, sizeof(mdc_report_thread));
    mdc_vec_init(&report->modules, sizeof(mdc_report_module));
    mdc_vec_init(&report->extents, sizeof(mdc_extent));
    mdc_vec_init(&report->runs, sizeof(mdc_extent));
}

void mdc_dbghelp_report_fini(mdc_dbghelp_report *report) {
    mdc_vec_fini(&report->regions);
    mdc_vec_fini(&report->threads);
    mdc_vec_fini(&report->modules);
    mdc_vec_fini(&report->extents);
    mdc_vec_fini(&report->runs);
}

/* -- regions ------------------------------------------------------------------------------------------------------- */

static mdc_status add_region(mdc_dbghelp_report *report, const mdc_proxy *proxy, const mdc_region *region,
                             mdc_error *err) {
    mdc_report_region told = {.base = region->base,
                              .size = region->size,
                              .state = region->state,
                              .protect = region->protect,
                              .type = region->type,
                              .kinds = region->kinds,
                              .flags = region->flags};
    if (region->name_id != 0) {
        mdc_name name = mdc_vec_at(&proxy->map.names.names, const mdc_name, region->name_id - 1);
        told.name = name.offset;
        told.name_size = name.size;
    }
    return mdc_vec_push(&report->regions, &told, 1, NULL, err);
}

static mdc_status add_regions(mdc_dbghelp_report *report, const mdc_proxy *proxy, const mdc_dump_reader *file,
                              mdc_error *err) {
    const mdc_vec *map = &proxy->map.regions;
    for (size_t i = 0; i < map->count; i++)
        if (add_region(report, proxy, &mdc_vec_at(map, const mdc_region, i), err) != MDC_OK) return err->code;
    /* Where the system gives no regions (a snapshot that does not show its clone), MemoryInfoList is what is left. */
    for (size_t i = 0; map->count == 0 && file != NULL && i < file->infos.count; i++) {
        const MINIDUMP_MEMORY_INFO *info = &mdc_vec_at(&file->infos, const MINIDUMP_MEMORY_INFO, i);
        mdc_region region = {.base = info->BaseAddress,
                             .size = info->RegionSize,
                             .state = info->State,
                             .protect = info->Protect,
                             .type = info->Type,
                             .kinds = mdc_win_region_kinds(info->Type, false),
                             .flags = mdc_win_region_flags(info->State, info->Protect, info->Type)};
        if (info->State != MDC_MEM_FREE && add_region(report, proxy, &region, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* Index of the region of the report with this address, SIZE_MAX if there is none. Only the first `sorted` are in order.
 */
static size_t find_region(const mdc_dbghelp_report *report, size_t sorted, uint64_t address) {
    size_t at;
    mdc_lower_bound(at, 0, sorted, mdc_vec_at(&report->regions, const mdc_report_region, at).base <= address);
    if (at == 0) return SIZE_MAX;
    const mdc_report_region *region = &mdc_vec_at(&report->regions, const mdc_report_region, at - 1);
    return address - region->base < region->size ? at - 1 : SIZE_MAX;
}

/* What the callee answered to IncludeVmRegion. A region can be asked about in parts, each the rest of the one before;
 * the last time that its beginning was asked about is the one that counted. */
static void mark_answers(mdc_dbghelp_report *report, const mdc_proxy *proxy, size_t sorted) {
    size_t current = SIZE_MAX;
    uint64_t kept = 0, size = 0;
    for (size_t i = 0; i < proxy->regions.count; i++) {
        const mdc_proxy_region *asked = &mdc_vec_at(&proxy->regions, const mdc_proxy_region, i);
        size_t at = find_region(report, sorted, asked->base);
        if (at == SIZE_MAX) continue;
        mdc_report_region *region = &mdc_vec_at(&report->regions, mdc_report_region, at);
        if (at != current || asked->base == region->base) {
            kept = 0;
            size = asked->size;
        }
        current = at;
        kept += asked->kept_size;
        region->flags &= ~(uint32_t)(MDC_REGION_EXCLUDED | MDC_REGION_NARROWED);
        if (kept == 0)
            region->flags |= MDC_REGION_EXCLUDED;
        else if (kept != size)
            region->flags |= MDC_REGION_NARROWED;
    }
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b) {
    const mdc_extent *one = a, *other = b;
    if (one->address != other->address) return one->address < other->address ? -1 : 1;
    if (one->size != other->size) return one->size > other->size ? -1 : 1; /* the longer one first */
    return one->file_offset < other->file_offset ? -1 : one->file_offset > other->file_offset;
}

/* Adds [from, last] of a run to the extents, cut at the borders of regions. */
static mdc_status add_extent(mdc_dbghelp_report *report, const mdc_extent *run, uint64_t from, uint64_t last,
                             size_t sorted, mdc_error *err) {
    for (;;) {
        size_t region = find_region(report, sorted, from);
        uint64_t end = last;
        if (region == SIZE_MAX) { /* younger than the list of regions */
            mdc_report_region unknown = {.base = from,
                                         .size = last - from + 1,
                                         .state = MDC_MEM_COMMIT,
                                         .protect = MDC_PAGE_READWRITE,
                                         .type = MDC_MEM_PRIVATE,
                                         .kinds = MDC_KIND_ANONYMOUS};
            if (mdc_vec_push(&report->regions, &unknown, 1, &region, err) != MDC_OK) return err->code;
        } else {
            const mdc_report_region *known = &mdc_vec_at(&report->regions, const mdc_report_region, region);
            end = mdc_min_u64(last, known->base + (known->size - 1));
        }
        mdc_extent extent = {.address = from,
                             .size = end - from + 1,
                             .file_offset = run->file_offset + (from - run->address),
                             .region = (uint32_t)region,
                             .flags = run->flags};
        mdc_report_region *owner = &mdc_vec_at(&report->regions, mdc_report_region, region);
        owner->kept += extent.size;
        owner->stored += extent.size;
        if (mdc_vec_push(&report->extents, &extent, 1, NULL, err) != MDC_OK) return err->code;
        if (end == last) return MDC_OK;
        from = end + 1;
    }
}

/* [from, last] of a run without what was overwritten. */
static mdc_status add_shown(mdc_dbghelp_report *report, const mdc_extent *run, uint64_t from, uint64_t last,
                            const mdc_vec *hidden, size_t *next, size_t sorted, mdc_error *err) {
    for (; *next < hidden->count; ++*next) {
        const mdc_span *span = &mdc_vec_at(hidden, const mdc_span, *next);
        uint64_t span_last = span->address + (span->size - 1);
        if (span_last < from) continue;
        if (span->address > last) break;
        size_t region = find_region(report, sorted, span->address);
        if (region != SIZE_MAX) mdc_vec_at(&report->regions, mdc_report_region, region).flags |= MDC_REGION_NARROWED;
        if (span->address > from && add_extent(report, run, from, span->address - 1, sorted, err) != MDC_OK)
            return err->code;
        if (span_last >= last) return MDC_OK;
        from = span_last + 1;
    }
    return add_extent(report, run, from, last, sorted, err);
}

static mdc_status add_extents(mdc_dbghelp_report *report, const mdc_proxy *proxy, const mdc_dump_reader *file,
                              const mdc_vec *hidden, size_t sorted, mdc_error *err) {
    for (size_t i = 0; i < file->pieces.count; i++) {
        const mdc_file_piece *piece = &mdc_vec_at(&file->pieces, const mdc_file_piece, i);
        mdc_extent run = {.address = piece->address, .size = piece->size, .file_offset = piece->offset};
        if (piece->from != MDC_PIECE_MEMORY64) run.flags |= MDC_EXTENT_STACK;
        if (piece->from == MDC_PIECE_MEMORY && mdc_proxy_was_added(proxy, piece->address, piece->size))
            run.flags = MDC_EXTENT_BLOCK;
        if (mdc_vec_push(&report->runs, &run, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (report->runs.count == 0) return MDC_OK;
    qsort(report->runs.data, report->runs.count, sizeof(mdc_extent), by_address);
    uint64_t covered = 0; /* up to here memory has an extent; the same bytes may be in the file twice */
    bool all = false;
    size_t next = 0;
    for (size_t i = 0; i < report->runs.count && !all; i++) {
        const mdc_extent *run = &mdc_vec_at(&report->runs, const mdc_extent, i);
        uint64_t last = run->address + (run->size - 1), from = mdc_max_u64(run->address, covered);
        if (from > last) continue;
        if (add_shown(report, run, from, last, hidden, &next, sorted, err) != MDC_OK) return err->code;
        all = last == UINT64_MAX;
        covered = last + 1;
    }
    return MDC_OK;
}

/* The runs, which are sorted, without what they share. */
static void merge_runs(mdc_dbghelp_report *report) {
    mdc_extent *runs = report->runs.data;
    size_t count = 0;
    for (size_t i = 0; i < report->runs.count; i++) {
        uint64_t last = runs[i].address + (runs[i].size - 1);
        uint64_t reached = count > 0 ? runs[count - 1].address + (runs[count - 1].size - 1) : 0;
        if (count == 0 || runs[i].address > reached)
            runs[count++] = runs[i];
        else if (last > reached)
            runs[count - 1].size = last - runs[count - 1].address + 1;
    }
    report->runs.count = count;
}

/* What of [from, last] is in none of the runs is a read that failed: with IGNORE_INACCESSIBLE_MEMORY dbghelp leaves a
 * whole region out for one page, and says nothing. */
static void add_lost(const mdc_dbghelp_report *report, mdc_proxy *proxy, uint64_t from, uint64_t last) {
    size_t at; /* the first run that begins after */
    mdc_lower_bound(at, 0, report->runs.count, mdc_vec_at(&report->runs, const mdc_extent, at).address <= from);
    for (size_t i = at > 0 ? at - 1 : 0; i < report->runs.count; i++) {
        const mdc_extent *run = &mdc_vec_at(&report->runs, const mdc_extent, i);
        uint64_t run_last = run->address + (run->size - 1);
        if (run_last < from) continue;
        if (run->address > last) break;
        if (run->address > from) mdc_proxy_gap(proxy, from, run->address - from, PARTIAL_COPY);
        if (run_last >= last) return;
        from = run_last + 1;
    }
    mdc_proxy_gap(proxy, from, last - from + 1, PARTIAL_COPY);
}

static void find_lost(mdc_dbghelp_report *report, mdc_proxy *proxy, size_t sorted) {
    uint64_t done = 0; /* each region is asked about more than once */
    merge_runs(report);
    for (size_t i = 0; i < proxy->regions.count; i++) {
        const mdc_proxy_region *asked = &mdc_vec_at(&proxy->regions, const mdc_proxy_region, i);
        size_t at = find_region(report, sorted, asked->base);
        if (asked->kept_size == 0 || asked->kept_base < done || at == SIZE_MAX) continue;
        const mdc_report_region *region = &mdc_vec_at(&report->regions, const mdc_report_region, at);
        uint64_t last = asked->kept_base + (asked->kept_size - 1);
        done = last + 1;
        if ((region->flags & MDC_REGION_NEVER_READ) == 0) add_lost(report, proxy, asked->kept_base, last);
    }
}

/* Of memory that was to be added, what dbghelp could not read, which it leaves out without a word, unless it is a gap
 * already. Where the callee also removes memory, what is not there may be what it removed. */
static mdc_status find_lost_additions(mdc_dbghelp_report *report, mdc_proxy *proxy, mdc_error *err) {
    if (proxy->removes || proxy->added.count == 0) return MDC_OK;
    for (size_t i = 0; i < proxy->gaps.count; i++) {
        const mdc_gap *gap = &mdc_vec_at(&proxy->gaps, const mdc_gap, i);
        const mdc_extent known = {.address = gap->address, .size = gap->size};
        if (gap->size > 0 && mdc_vec_push(&report->runs, &known, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (report->runs.count > 0) qsort(report->runs.data, report->runs.count, sizeof(mdc_extent), by_address);
    merge_runs(report);
    for (size_t i = 0; i < proxy->added.count; i++) {
        const mdc_set_range *range = &mdc_vec_at(&proxy->added, const mdc_set_range, i);
        if (range->first < range->end) add_lost(report, proxy, range->first, range->end - 1);
    }
    return MDC_OK;
}

/* -- threads and modules ------------------------------------------------------------------------------------------- */

static mdc_status add_threads(mdc_dbghelp_report *report, const mdc_proxy *proxy, const mdc_dump_reader *file,
                              mdc_error *err) {
    for (size_t i = 0; file != NULL && i < file->threads.count; i++) {
        const mdc_dump_reader_thread *thread = &mdc_vec_at(&file->threads, const mdc_dump_reader_thread, i);
        mdc_report_thread told = {
            .tid = thread->tid, .stack_base = thread->stack_base, .stack_size = thread->stack_size};
        if (thread->context_size == 0) told.flags |= MDC_THREAD_NO_REGISTERS;
        if (thread->stack_size == 0) told.flags |= MDC_THREAD_NO_STACK;
        if (thread->suspend_count == UINT32_MAX) report->report.warnings |= MDC_WARN_NOT_STOPPED;
        if (mdc_vec_push(&report->threads, &told, 1, NULL, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < proxy->threads.count; i++) {
        const mdc_proxy_thread *thread = &mdc_vec_at(&proxy->threads, const mdc_proxy_thread, i);
        mdc_report_thread told = {.tid = thread->tid};
        if (thread->flags == 0)
            told.flags = MDC_THREAD_EXCLUDED | MDC_THREAD_NO_STACK;
        else if (file != NULL)
            continue;
        if (mdc_vec_push(&report->threads, &told, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* The answer about the module with this base; NULL if nothing was asked about it. */
static const mdc_proxy_module *find_module(const mdc_proxy *proxy, uint64_t base) {
    for (size_t i = proxy->modules.count; i-- > 0;) {
        const mdc_proxy_module *module = &mdc_vec_at(&proxy->modules, const mdc_proxy_module, i);
        if (module->base == base) return module;
    }
    return NULL;
}

static mdc_status add_module(mdc_dbghelp_report *report, uint64_t base, uint64_t size, uint32_t flags, mdc_name path,
                             mdc_error *err) {
    mdc_report_module told = {.base = base, .size = size, .flags = flags, .path = path.offset, .path_size = path.size};
    return mdc_vec_push(&report->modules, &told, 1, NULL, err);
}

static mdc_status add_modules(mdc_dbghelp_report *report, const mdc_proxy *proxy, const mdc_dump_reader *file,
                              mdc_error *err) {
    for (size_t i = 0; file != NULL && i < file->modules.count; i++) {
        const mdc_dump_reader_module *module = &mdc_vec_at(&file->modules, const mdc_dump_reader_module, i);
        const mdc_proxy_module *asked = find_module(proxy, module->base);
        uint32_t flags = asked != NULL && asked->flags != 0 ? asked->flags : MDC_MODULE_WRITE_MODULE;
        if (add_module(report, module->base, module->size, flags, module->path, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < proxy->modules.count; i++) {
        const mdc_proxy_module *module = &mdc_vec_at(&proxy->modules, const mdc_proxy_module, i);
        if (module->flags != 0 && file != NULL) continue;
        mdc_name path = module->path;
        int64_t region = mdc_win_regions_find(&proxy->map.regions, module->base);
        if (path.size == 0 && region >= 0) { /* IncludeModule gives only the base */
            mdc_region_facts facts = mdc_region_map_facts_at(&proxy->map, (size_t)region);
            if (facts.NameId != 0) path = mdc_vec_at(&proxy->map.names.names, const mdc_name, facts.NameId - 1);
        }
        if (add_module(report, module->base, module->size, module->flags, path, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

static void sum_up(mdc_dbghelp_report *report, const mdc_proxy *proxy) {
    mdc_report *told = &report->report;
    told->regions = report->regions.data;
    told->region_count = report->regions.count;
    told->threads = report->threads.data;
    told->thread_count = report->threads.count;
    told->modules = report->modules.data;
    told->module_count = report->modules.count;
    told->extents = report->extents.data;
    told->extent_count = report->extents.count;
    told->gaps = proxy->gaps.data;
    told->gap_count = proxy->gaps.count;
    told->names = proxy->map.names.pool.data;
    told->names_size = proxy->map.names.pool.count;
    for (size_t i = 0; i < report->extents.count; i++)
        told->stored_bytes += mdc_vec_at(&report->extents, const mdc_extent, i).size;
    told->memory_bytes = told->stored_bytes;
    for (size_t i = 0; i < proxy->gaps.count; i++) {
        uint64_t size = mdc_vec_at(&proxy->gaps, const mdc_gap, i).size;
        if (!mdc_add_u64(told->memory_bytes, size, &told->memory_bytes)) told->memory_bytes = UINT64_MAX;
    }
    told->read_failed_gaps = (uint32_t)proxy->gaps.count;
    if (report->threads.count > MANY_THREADS) told->warnings |= MDC_WARN_MANY_THREADS;
    if (report->modules.count > MANY_MODULES) told->warnings |= MDC_WARN_MANY_MODULES;
}

/* What dbghelp has never asked, so that the callee could not say it. */
static uint32_t unasked(const mdc_proxy *proxy, const mdc_engine_options *options) {
    bool full = (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    uint32_t warnings = proxy->warnings;
    if (proxy->callee.CallbackRoutine == NULL) return warnings;
    if (full && proxy->calls[MDC_CB_INCLUDE_VM_REGION] == 0) warnings |= MDC_WARN_NO_REGION_CALLBACKS;
    if (!full && proxy->calls[MDC_CB_MEMORY] == 0) warnings |= MDC_WARN_NO_MEMORY_CALLBACKS;
    if (proxy->calls[MDC_CB_VM_START] == 0) warnings |= MDC_WARN_NO_VM_CALLBACKS;
    return warnings;
}

mdc_status mdc_dbghelp_report_fill(mdc_dbghelp_report *report, mdc_proxy *proxy, const mdc_dump_reader *file,
                                   const mdc_vec *hidden, const mdc_engine_options *options, mdc_error *err) {
    mdc_report *told = &report->report;
    told->dump_type = told->honoured_type = options->dump_type;
    told->warnings = unasked(proxy, options);
    memcpy(told->calls, proxy->calls, sizeof told->calls);
    told->file_bytes = proxy->io_end;
    if (file != NULL) {
        told->streams = file->streams;
        told->memory_ranges = file->memory_ranges;
        told->memory64_ranges = file->memory64_ranges;
        told->memory_info_count = file->infos.count;
    }
    if (add_regions(report, proxy, file, err) != MDC_OK) return err->code;
    size_t sorted = report->regions.count;
    mark_answers(report, proxy, sorted);
    if ((file != NULL && add_extents(report, proxy, file, hidden, sorted, err) != MDC_OK) ||
        add_threads(report, proxy, file, err) != MDC_OK || add_modules(report, proxy, file, err) != MDC_OK)
        return err->code;
    bool silent = proxy->calls[MDC_CB_READ_MEMORY_FAILURE] == 0; /* else it says itself what it could not read */
    if (file != NULL && silent && (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0)
        find_lost(report, proxy, sorted);
    if (file != NULL && find_lost_additions(report, proxy, err) != MDC_OK) return err->code;
    if (proxy->error.code != MDC_OK) {
        *err = proxy->error;
        return err->code;
    }
    mdc_vec_fini(&report->runs); /* as many as there are ranges in the file */
    sum_up(report, proxy);
    return MDC_OK;
}
