/* The text of /proc/PID/maps: the names of mappings (see dump_file.h). */
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/map_line.h"
#include "../source/name_kinds.h"
#include "dump_file.h"

static int by_first(const void *left, const void *right) {
    const mdc_dump_mapping *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

static mdc_status take_line(mdc_dump_file *file, const uint8_t *line, size_t size, uint64_t offset, mdc_error *err) {
    mdc_map_record record;
    if (size == 0 || line[0] == 0) return MDC_OK; /* padding */
    if (file->list_max != 0 && file->mappings.count >= file->list_max) return MDC_OK;
    memcpy(file->scratch, line, size);
    if (!mdc_map_parse(file->scratch, size, &record))
        return mdc_dump_broken(err, offset, "LinuxMaps", "malformed line of /proc/PID/maps");
    mdc_dump_mapping mapping = {.first = record.first,
                                .end = record.end,
                                .file_offset = record.file_offset,
                                .inode = record.inode,
                                .dev_major = record.dev_major,
                                .dev_minor = record.dev_minor,
                                .perms = record.perms};
    if (mdc_name_deleted(record.name, &record.name_size)) mapping.facts = MDC_FACT_DELETED;
    if (mdc_dump_name_id(file, record.name, record.name_size, &mapping.name_id, err) != MDC_OK) return err->code;
    return mdc_vec_push(&file->mappings, &mapping, 1, NULL, err);
}

static mdc_status take_lines(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    uint64_t end = (uint64_t)stream->rva + stream->size;
    for (uint64_t at = stream->rva; at < end;) {
        if (file->control != NULL && mdc_control_check(file->control, err) != MDC_OK) return err->code;
        size_t size = (size_t)mdc_min_u64(end - at, MDC_WINDOW_BYTES), from = 0;
        const uint8_t *text = mdc_window_get(&file->window, at, size, "LinuxMaps", err);
        if (text == NULL) return err->code;
        while (from < size) {
            const uint8_t *newline = memchr(text + from, '\n', size - from);
            if (newline == NULL && at + size < end) break;
            size_t length = newline != NULL ? (size_t)(newline - text) - from : size - from;
            if (take_line(file, text + from, length, at + from, err) != MDC_OK) return err->code;
            from = (size_t)mdc_min_u64(from + length + 1, size);
        }
        if (from == 0) return mdc_dump_broken(err, at, "LinuxMaps", "a line is longer than 65536 bytes");
        at += from;
    }
    return MDC_OK;
}

mdc_status mdc_dump_maps(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_status status = take_lines(file, stream, err);
    if (file->mappings.count > 1) qsort(file->mappings.data, file->mappings.count, sizeof(mdc_dump_mapping), by_first);
    return status;
}
