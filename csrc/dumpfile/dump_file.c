/* Header, directory, and what reads which stream (see dump_file.h). */
#include "dump_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"

enum { ARCH_UNKNOWN = 0xFFFF, ENTRIES_BETWEEN_CHECKS = 4096, TEXT_ROOM = MDC_DUMP_STRING_MAX / 2 * 3 };

void mdc_dump_file_init(mdc_dump_file *file, const mdc_input *input, const mdc_dump_source_options *options) {
    memset(file, 0, sizeof *file);
    file->input = input;
    file->size = mdc_input_size(input);
    file->system.architecture = ARCH_UNKNOWN;
    if (options != NULL) {
        file->tolerant = options->tolerant != 0;
        file->list_max = options->list_max;
        file->range_max = options->range_max;
    }
    mdc_vec_init(&file->entries, sizeof(mdc_dump_entry));
    mdc_vec_init(&file->streams, sizeof(mdc_carried_stream));
    mdc_vec_init(&file->faults, sizeof(mdc_dump_fault));
    mdc_vec_init(&file->threads, sizeof(mdc_thread));
    mdc_vec_init(&file->places, sizeof(mdc_dump_thread_at));
    mdc_vec_init(&file->unlisted, sizeof(uint32_t));
    mdc_vec_init(&file->exceptions, sizeof(mdc_dump_exception));
    mdc_vec_init(&file->modules, sizeof(mdc_module));
    mdc_vec_init(&file->unloaded, sizeof(mdc_unloaded));
    mdc_vec_init(&file->handles, sizeof(mdc_handle));
    mdc_vec_init(&file->infos, sizeof(mdc_region));
    mdc_vec_init(&file->mappings, sizeof(mdc_dump_mapping));
    mdc_vec_init(&file->held, sizeof(mdc_carried_run));
    mdc_range_set_init(&file->cut);
    mdc_vec_init(&file->regions, sizeof(mdc_region));
    mdc_vec_init(&file->contexts, 1);
    mdc_dump_texts_init(file);
}

void mdc_dump_file_fini(mdc_dump_file *file) {
    mdc_vec *all[] = {&file->unlisted, &file->entries, &file->streams,    &file->faults,
                      &file->threads,  &file->places,  &file->exceptions, &file->modules,
                      &file->unloaded, &file->handles, &file->infos,      &file->mappings,
                      &file->held,     &file->cut,     &file->regions,    &file->contexts};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mdc_vec_fini(all[i]);
    mdc_dump_texts_fini(file);
    mdc_window_fini(&file->window);
    mdc_dealloc(file->scratch);
    mdc_dealloc(file->text);
    file->scratch = file->text = NULL;
}

/* -- what the parsers of streams share ----------------------------------------------------------------------------- */

mdc_status mdc_dump_tolerate(mdc_dump_file *file, mdc_error *err) {
    if (!file->tolerant || err->code != MDC_ERR_FORMAT) return err->code;
    mdc_dump_fault fault = {.stream = file->stream};
    memcpy(fault.message, err->message, sizeof fault.message);
    mdc_error_clear(err);
    if (file->faults.count >= MDC_DUMP_FAULTS_MAX) return MDC_OK;
    return mdc_vec_push(&file->faults, &fault, 1, NULL, err);
}

mdc_status mdc_dump_broken(mdc_error *err, uint64_t offset, const char *what, const char *reason) {
    return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0, "%s at offset 0x%" PRIx64 ": %s", what, offset, reason);
}

bool mdc_dump_inside(const mdc_dump_file *file, uint64_t offset, uint64_t size) {
    return offset <= file->size && size <= file->size - offset;
}

mdc_status mdc_dump_get(const mdc_dump_file *file, uint64_t offset, void *out, size_t size, const char *what,
                        mdc_error *err) {
    int32_t os_errno = 0;
    if (!mdc_dump_inside(file, offset, size))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s: %zu bytes at offset 0x%" PRIx64 " are beyond the end of the file", what, size, offset);
    if (mdc_input_read(file->input, offset, out, size, &os_errno) < size)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, os_errno, "%s: cannot read %zu bytes at offset 0x%" PRIx64,
                        what, size, offset);
    return MDC_OK;
}

uint64_t mdc_dump_limited(mdc_dump_file *file, uint64_t count, uint32_t list) {
    if (list < MDC_DUMP_LISTS) file->lengths[list] += count;
    uint32_t limit = list == MDC_DUMP_RANGES ? file->range_max : file->list_max;
    return limit != 0 ? mdc_min_u64(count, limit) : count;
}

mdc_status mdc_dump_each(mdc_dump_file *file, uint64_t offset, uint64_t count, uint32_t entry_size, const char *what,
                         mdc_dump_take take, mdc_error *err) {
    if (count > (file->size - mdc_min_u64(offset, file->size)) / entry_size)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s: %" PRIu64 " entries at offset 0x%" PRIx64 " are beyond the end of the file", what, count,
                        offset);
    for (uint64_t i = 0; i < count; i++, offset += entry_size) {
        if (i % ENTRIES_BETWEEN_CHECKS == 0 && file->control != NULL && mdc_control_check(file->control, err) != MDC_OK)
            return err->code;
        const uint8_t *entry = mdc_window_get(&file->window, offset, entry_size, what, err);
        if (entry == NULL || take(file, entry, offset, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_dump_each_counted(mdc_dump_file *file, const mdc_dump_entry *stream, uint32_t entry_size, uint32_t list,
                                 const char *what, mdc_dump_take take, mdc_error *err) {
    uint32_t count;
    if (mdc_dump_get(file, stream->rva, &count, sizeof count, what, err) != MDC_OK) return err->code;
    uint64_t needed = (uint64_t)count * entry_size;
    if (stream->size < sizeof count || needed > stream->size - sizeof count)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s: %" PRIu32 " entries at offset 0x%" PRIx32 " do not fit into %" PRIu32 " bytes", what,
                        count, stream->rva, stream->size);
    uint64_t head = stream->size - needed == 8 ? 8 : sizeof count;
    uint64_t taken = mdc_dump_limited(file, count, list);
    return mdc_dump_each(file, stream->rva + head, taken, entry_size, what, take, err);
}

mdc_status mdc_dump_each_sized(mdc_dump_file *file, const mdc_dump_entry *stream, uint32_t least, bool wide_count,
                               uint32_t list, const char *what, mdc_dump_take take, mdc_error *err) {
    uint32_t head[4] = {0}; /* SizeOfHeader, SizeOfEntry, NumberOfEntries, which may have 8 bytes */
    size_t least_header = wide_count ? 16 : 12;
    if (mdc_dump_get(file, stream->rva, head, least_header, what, err) != MDC_OK) return err->code;
    uint64_t count = head[2] | (wide_count ? (uint64_t)head[3] << 32 : 0);
    if (stream->size < least_header || head[0] < least_header || head[0] > stream->size || head[1] < least ||
        head[1] > MDC_WINDOW_BYTES || count > (stream->size - head[0]) / head[1])
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "%s at offset 0x%" PRIx32 ": header %" PRIu32 ", entry %" PRIu32 " and count %" PRIu64
                        " do not fit into %" PRIu32 " bytes",
                        what, stream->rva, head[0], head[1], count, stream->size);
    count = mdc_dump_limited(file, count, list);
    return mdc_dump_each(file, (uint64_t)stream->rva + head[0], count, head[1], what, take, err);
}

/* -- header and directory ------------------------------------------------------------------------------------------ */

static mdc_status read_header(mdc_dump_file *file, mdc_error *err) {
    mdc_file_header *header = &file->header;
    if (file->size < sizeof *header)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0, "this is not a minidump: it has only %" PRIu64 " bytes",
                        file->size);
    if (mdc_dump_get(file, 0, header, sizeof *header, "the header", err) != MDC_OK) return err->code;
    if (header->signature != MDC_FILE_SIGNATURE || (header->version & 0xFFFF) != MDC_FILE_VERSION)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "this is not a minidump: it does not begin with MDMP and the version 0xa793");
    return MDC_OK;
}

static mdc_status take_entry(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_dump_entry stream;
    _Static_assert(sizeof stream == sizeof(mdc_file_directory), "MINIDUMP_DIRECTORY");
    (void)offset;
    memcpy(&stream, entry, sizeof stream);
    if (mdc_vec_push(&file->entries, &stream, 1, NULL, err) != MDC_OK) return err->code;
    if (stream.type == 0 || !mdc_dump_inside(file, stream.rva, stream.size)) return MDC_OK;
    mdc_carried_stream carried = {.type = stream.type, .size = stream.size, .rva = stream.rva};
    return mdc_vec_push(&file->streams, &carried, 1, NULL, err);
}

static mdc_status read_directory(mdc_dump_file *file, mdc_error *err) {
    const mdc_file_header *header = &file->header;
    if (!mdc_dump_inside(file, header->directory_rva, (uint64_t)header->stream_count * sizeof(mdc_file_directory)))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                        "the directory of %" PRIu32 " streams at offset 0x%" PRIx32 " is beyond the end of the file",
                        header->stream_count, header->directory_rva);
    return mdc_dump_each(file, header->directory_rva, header->stream_count, sizeof(mdc_file_directory), "the directory",
                         take_entry, err);
}

/* -- streams ------------------------------------------------------------------------------------------------------- */

typedef struct parse_step {
    uint32_t type;
    const char *name;
    mdc_dump_stream parse;
    bool repeated; /* each stream of the type counts for the filter: what it lists is asked about */
} parse_step;

/* In the order in which they need each other: threads before their names and times, all before the exceptions. */
static const parse_step steps[] = {
    {MDC_STREAM_TYPE_SYSTEM_INFO, "SystemInfo", mdc_dump_system_info, false},
    {MDC_STREAM_TYPE_MISC_INFO, "MiscInfo", mdc_dump_misc_info, false},
    {MDC_STREAM_TYPE_LINUX_PROC_STATUS, "LinuxProcStatus", mdc_dump_proc_status, false},
    {MDC_STREAM_TYPE_THREAD_LIST, "ThreadList", mdc_dump_thread_list, true},
    {MDC_STREAM_TYPE_THREAD_EX_LIST, "ThreadExList", mdc_dump_thread_ex_list, true},
    {MDC_STREAM_TYPE_THREAD_NAMES, "ThreadNames", mdc_dump_thread_names, true},
    {MDC_STREAM_TYPE_THREAD_INFO_LIST, "ThreadInfoList", mdc_dump_thread_infos, true},
    {MDC_STREAM_TYPE_MODULE_LIST, "ModuleList", mdc_dump_module_list, true},
    {MDC_DUMP_WINE_ELF_MODULES, "the list of ELF modules", mdc_dump_elf_module_list, true},
    {MDC_STREAM_TYPE_UNLOADED_MODULE_LIST, "UnloadedModuleList", mdc_dump_unloaded_list, false},
    {MDC_STREAM_TYPE_HANDLE_DATA, "HandleData", mdc_dump_handle_data, false},
    {MDC_STREAM_TYPE_MEMORY_LIST, "MemoryList", mdc_dump_memory_list, true},
    {MDC_STREAM_TYPE_MEMORY64_LIST, "Memory64List", mdc_dump_memory64_list, true},
    {MDC_STREAM_TYPE_LINUX_MAPS, "LinuxMaps", mdc_dump_maps, false},
    {MDC_STREAM_TYPE_MEMORY_INFO_LIST, "MemoryInfoList", mdc_dump_memory_infos, false},
    {MDC_STREAM_TYPE_EXCEPTION, "Exception", mdc_dump_exception_stream, true},
};

static mdc_status parse_stream(mdc_dump_file *file, const parse_step *step, const mdc_dump_entry *stream,
                               mdc_error *err) {
    mdc_status status;
    file->stream = stream->type;
    if (stream->size == 0) return MDC_OK;
    if (!mdc_dump_inside(file, stream->rva, stream->size))
        status = mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                          "%s: %" PRIu32 " bytes at offset 0x%" PRIx32 " are beyond the end of the file", step->name,
                          stream->size, stream->rva);
    else
        status = step->parse(file, stream, err);
    return status == MDC_OK ? MDC_OK : mdc_dump_tolerate(file, err);
}

/* All of a type, or the first. Together they are not longer than the file, unless a directory names one again and
 * again.
 */
static mdc_status parse_type(mdc_dump_file *file, const parse_step *step, mdc_error *err) {
    const mdc_dump_entry *all = file->entries.data;
    bool repeated = step->type == MDC_STREAM_TYPE_EXCEPTION || (step->repeated && !file->tolerant);
    uint64_t total = 0;
    size_t place = 0;
    for (size_t i = 0; i < file->entries.count; i++) {
        bool carried = all[i].type != 0 && mdc_dump_inside(file, all[i].rva, all[i].size);
        if (all[i].type == step->type) {
            uint32_t before = (uint32_t)file->modules.count;
            total += all[i].size;
            if (!file->tolerant && carried && total > file->size)
                return mdc_dump_broken(err, all[i].rva, step->name,
                                       "the directory names so many that they overlap: together they are longer than "
                                       "the file");
            if (parse_stream(file, step, &all[i], err) != MDC_OK) return err->code;
            if (carried && file->modules.count > before)
                mdc_vec_at(&file->streams, mdc_carried_stream, place).first_module = before + 1;
            if (!repeated) break;
        }
        place += carried;
    }
    return MDC_OK;
}

static mdc_status parse_streams(mdc_dump_file *file, mdc_error *err) {
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++)
        if (parse_type(file, &steps[k], err) != MDC_OK) return err->code;
    file->stream = 0;
    return mdc_dump_unlisted_threads(file, err);
}

/* What was needed for parsing only. */
static void forget(mdc_dump_file *file) {
    mdc_window_fini(&file->window);
    mdc_dealloc(file->scratch);
    mdc_dealloc(file->text);
    file->scratch = file->text = NULL;
    file->control = NULL;
    mdc_vec_fini(&file->places);
    mdc_vec_fini(&file->unlisted);
    mdc_dump_texts_forget(file);
}

mdc_status mdc_dump_file_parse(mdc_dump_file *file, mdc_dump_control *control, mdc_error *err) {
    file->control = control;
    if (read_header(file, err) != MDC_OK || mdc_window_init(&file->window, file->input, err) != MDC_OK)
        return err->code;
    file->scratch = mdc_alloc(1, MDC_DUMP_STRING_MAX, err);
    file->text = file->scratch == NULL ? NULL : mdc_alloc(1, TEXT_ROOM, err);
    if (file->text == NULL) return err->code;
    if (read_directory(file, err) != MDC_OK || parse_streams(file, err) != MDC_OK ||
        mdc_dump_hold(file, err) != MDC_OK || mdc_dump_contexts(file, err) != MDC_OK ||
        mdc_dump_make_regions(file, err) != MDC_OK || mdc_dump_find_copies(file, err) != MDC_OK)
        return err->code;
    forget(file);
    return MDC_OK;
}
