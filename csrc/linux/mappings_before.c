/* What is known of mappings before the stop (see mappings.h). */
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "mapfiles.h"
#include "mappings.h"
#include "proc_maps.h"
#include "slow_fs.h"

enum { TEXT_PER_MAPPING = 64 }; /* bytes of a line of maps, about */

static void start(mdc_mappings *mappings, int proc) {
    mappings->deferred = false;
    if (!mappings->without_smaps) mdc_smaps_thread_start(&mappings->smaps, &mappings->flags, proc);
}

/* Examines the files, so that this does not stop the target longer, and counts the mappings: to read smaps of a few,
 * with few pages, takes so little time that it is done under the stop alone. `cost`: by the pages. */
static mdc_status look_before(mdc_mappings *mappings, int proc, uint64_t cost, mdc_error *err) {
    mdc_map_reader *reader = mdc_map_reader_new(proc, "maps", err);
    if (reader == NULL) return err->code;
    mdc_status status = MDC_OK;
    /* Without smaps there is nothing to wait for meanwhile: the files of many mappings are examined when listed. */
    for (; !mappings->without_smaps || cost < mappings->defer_ns; cost += MDC_SMAPS_NS_PER_MAPPING) {
        uint8_t *line;
        size_t size;
        mdc_map_record record;
        if (mappings->deferred && cost >= mappings->defer_ns) start(mappings, proc);
        /* Those of further mappings: as the thread finds them, or, if smaps is read under the stop, which takes ten
         * times as long, when they are listed. */
        if (mappings->expected >= MDC_SMAPS_THREAD_KNOWN) break;
        status = mdc_map_reader_line(reader, &line, &size, err);
        if (status != MDC_OK || line == NULL) break;
        mappings->expected++;
        if (!mdc_map_parse(line, size, &record))
            status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "malformed line in /proc/PID/maps");
        else if (record.inode != 0)
            status = mdc_mapped_file_get(mappings, proc, &record, &size, err);
        if (status != MDC_OK) break;
    }
    mdc_map_reader_free(reader);
    return status;
}

mdc_status mdc_mappings_begin(mdc_mappings *mappings, int proc, mdc_error *err) {
    uint64_t cost;
    mappings->flags.count = mappings->expected = 0;
    mappings->flags_known = false;
    mappings->deferred = true;
    mappings->mounts.count = 0;
    if (!mdc_mul_u64(mappings->resident_pages, MDC_SMAPS_NS_PER_PAGE, &cost)) cost = UINT64_MAX / 2;
    if (cost >= mappings->defer_ns) start(mappings, proc); /* it takes longest */
    mdc_status status = mdc_mounts_read(&mappings->mounts, proc, err);
    if (status == MDC_OK && !mappings->few_files) status = mdc_noopen_read(&mappings->noopen, proc, err);
    return status == MDC_OK ? look_before(mappings, proc, cost, err) : status;
}

/* Those of which the thread has kept lines. */
static mdc_status look_at_lines(mdc_mappings *mappings, mdc_error *err) {
    mdc_vec *lines = &mappings->smaps.lines;
    mdc_status status = MDC_OK;
    for (size_t at = 0, size; status == MDC_OK && at < lines->count; at += size + 1) {
        uint8_t *line = &mdc_vec_at(lines, uint8_t, at), *stop = memchr(line, '\n', lines->count - at);
        mdc_map_record record;
        size_t file;
        size = stop != NULL ? (size_t)(stop - line) : lines->count - at;
        if (mdc_map_parse(line, size, &record))
            status = mdc_mapped_file_get(mappings, mappings->smaps.proc, &record, &file, err);
    }
    mdc_vec_fini(lines);
    return status;
}

/* Touched here, so that few page faults fall into the stop. */
static mdc_status make_room(mdc_vec *vec, size_t count, mdc_error *err) {
    mdc_status status = mdc_vec_reserve(vec, count, err);
    if (status == MDC_OK && count > 0) memset(vec->data, 0, count * vec->item_size);
    return status;
}

static mdc_status make_rooms(mdc_mappings *mappings, mdc_error *err) {
    size_t count = mappings->flags.count > mappings->expected ? mappings->flags.count : mappings->expected;
    count += count / 16 + 8;
    mdc_status status = make_room(&mappings->regions, count, err);
    if (status == MDC_OK) status = make_room(&mappings->notes, count, err);
    return status == MDC_OK ? make_room(&mappings->text, count * TEXT_PER_MAPPING, err) : status;
}

mdc_status mdc_mappings_begun(mdc_mappings *mappings, mdc_status status, mdc_error *err) {
    mdc_error why;
    mdc_error_clear(&why);
    mdc_status read = mdc_smaps_thread_wait(&mappings->smaps, &why);
    if (status == MDC_OK && read != MDC_OK) *err = why;
    if (status == MDC_OK) status = read;
    if (status == MDC_OK) status = look_at_lines(mappings, err);
    if (status == MDC_OK) status = make_rooms(mappings, err);
    if (mappings->without_smaps) mappings->deferred = false;
    const bool unread = mappings->deferred;
    if (status == MDC_OK && mappings->without_smaps) return MDC_OK;
    if (status == MDC_OK && (unread ? mappings->expected : mappings->flags.count) == 0)
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_CAPTURE, 0, "the target has no memory left: it is exiting");
    if (status != MDC_OK) {
        mappings->flags.count = 0;
        return status;
    }
    mdc_vec_trim(&mappings->flags);
    mappings->flags_known = !unread;
    return MDC_OK;
}

mdc_status mdc_mappings_prepare(mdc_mappings *mappings, int proc, mdc_error *err) {
    return mdc_mappings_begun(mappings, mdc_mappings_begin(mappings, proc, err), err);
}
