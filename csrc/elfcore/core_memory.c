/* Memory of a core: pieces of the file, and of the files of modules. */
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/os_error.h"
#include "core.h"

static int by_address(const void *left, const void *right) {
    const mdc_core_piece *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

void mdc_core_sort_pieces(mdc_core *core) {
    if (core->pieces.count > 1) qsort(core->pieces.data, core->pieces.count, sizeof(mdc_core_piece), by_address);
}

/* The first piece that ends after the address; pieces.count: none. */
static size_t piece_at(const mdc_core *core, uint64_t address) {
    const mdc_core_piece *pieces = core->pieces.data;
    size_t at;
    mdc_lower_bound(at, 0, core->pieces.count, pieces[at].address + (pieces[at].size - 1) < address);
    return at;
}

/* Bytes of the piece from this address on that the core still has. */
static uint64_t there(const mdc_core *core, const mdc_core_piece *piece, uint64_t address) {
    const uint64_t skip = address - piece->address, all = mdc_input_size(core->input);
    if (piece->file != 0) return piece->size - skip;
    const uint64_t offset = piece->offset + skip;
    return offset < all ? mdc_min_u64(all - offset, piece->size - skip) : 0;
}

bool mdc_core_holds(const mdc_core *core, uint64_t address, uint64_t size) {
    const mdc_core_piece *pieces = core->pieces.data;
    for (size_t at = piece_at(core, address); size > 0; at++) {
        if (at == core->pieces.count || pieces[at].address > address) return false;
        const uint64_t part = mdc_min_u64(size, pieces[at].size - (address - pieces[at].address));
        if (there(core, &pieces[at], address) < part) return false;
        address += part;
        size -= part;
    }
    return true;
}

/* A run of one piece that begins at this address. Untouched pages are holes of the file; only whole pages count, since
 * gcore aligns nothing. */
static mdc_content run_of(const mdc_core *core, const mdc_core_piece *piece, uint64_t address, uint64_t end) {
    mdc_content run = {.first = address, .end = end, .what = MDC_CONTENT_FILE};
    if (piece->file != 0) return run;
    const uint64_t left = there(core, piece, address), offset = piece->offset + (address - piece->address);
    run.what = MDC_CONTENT_CUT;
    if (left == 0) return run;
    run.end = mdc_min_u64(end, address + left);
    const uint64_t stop = offset + (run.end - address);
    bool hole;
    const uint64_t next = mdc_input_run(core->input, offset, stop, &hole);
    const uint64_t change = address + (mdc_min_u64(next, stop) - offset);
    run.what = MDC_CONTENT_DATA;
    if (change <= address) return run;
    if (!hole) {
        run.end = mdc_min_u64(run.end, mdc_page_up(change));
        return run;
    }
    const bool whole = (address & (MDC_PAGE_SIZE - 1)) == 0;
    if (whole && mdc_page_down(change) > address) {
        run.what = MDC_CONTENT_UNTOUCHED;
        run.end = mdc_page_down(change);
    } else {
        run.end = mdc_min_u64(run.end, mdc_page_up(address + 1));
    }
    return run;
}

size_t mdc_core_runs(const mdc_core *core, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                     uint64_t *next) {
    const mdc_core_piece *pieces = core->pieces.data;
    size_t count = 0, at = piece_at(core, first);
    for (*next = first; *next < end && count < room; *next = runs[count++].end) {
        while (at < core->pieces.count && pieces[at].address + (pieces[at].size - 1) < *next) at++;
        const uint64_t begin = at < core->pieces.count ? pieces[at].address : UINT64_MAX;
        if (begin <= *next)
            runs[count] = run_of(core, &pieces[at], *next, mdc_min_u64(end, begin + pieces[at].size));
        else
            runs[count] = (mdc_content){.first = *next, .end = mdc_min_u64(end, begin), .what = MDC_CONTENT_ABSENT};
    }
    return count;
}

size_t mdc_core_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                        uint64_t *next) {
    const mdc_core *core = (const mdc_core *)source;
    (void)region;
    mdc_control_advance(core->control);
    return mdc_core_runs(core, first, end, runs, room, next);
}

/* The file of a module, open. Another one that has taken its place since gives nothing. */
static bool open_text(mdc_core *core, size_t number) {
    if (core->open_number == number) return true;
    mdc_root_file_close(&core->open);
    core->open_number = 0;
    const mdc_core_text_file *file = &mdc_vec_at(&core->text_files, const mdc_core_text_file, number - 1);
    /* Without a path it is the executable that was given. */
    const bool below = file->path.size > 0;
    const uint8_t *path =
        below ? &mdc_vec_at(&core->pool, uint8_t, file->path.offset) : (const uint8_t *)core->executable;
    const size_t size = below ? file->path.size : strlen(core->executable);
    if (!mdc_root_file_open(&core->open, below ? core->root : NULL, path, size)) return false;
    if (!mdc_root_file_same(&core->open, &file->about)) {
        mdc_root_file_close(&core->open);
        return false;
    }
    core->open_number = number;
    return true;
}

/* Bytes from the start that could be read. A file's last page goes on with zeros, as it is mapped. */
static size_t read_text(mdc_core *core, const mdc_core_piece *piece, uint64_t offset, uint8_t *to, size_t size) {
    if (!open_text(core, (size_t)piece->file)) return 0;
    const uint64_t left = offset < core->open.size ? core->open.size - offset : 0;
    const size_t wanted = (size_t)mdc_min_u64(size, left);
    const size_t done = mdc_root_file_read(&core->open, offset, to, wanted);
    if (done < wanted) return done;
    memset(to + wanted, 0, size - wanted);
    return size;
}

/* Bytes from the start that could be read. */
static size_t read_some(mdc_core *core, uint64_t address, uint8_t *to, uint64_t size, int32_t *os_errno) {
    const mdc_core_piece *pieces = core->pieces.data;
    uint64_t done = 0;
    *os_errno = 0;
    for (size_t at = piece_at(core, address); done < size; at++) {
        const uint64_t from = address + done;
        if (at == core->pieces.count || pieces[at].address > from) break;
        const uint64_t left = there(core, &pieces[at], from), offset = pieces[at].offset + (from - pieces[at].address);
        const size_t part = (size_t)mdc_min_u64(left, size - done);
        const size_t got = pieces[at].file != 0 ? read_text(core, &pieces[at], offset, to + done, part)
                                                : mdc_input_read(core->input, offset, to + done, part, os_errno);
        done += got;
        if (got < part || (done < size && from + part != pieces[at].address + pieces[at].size)) break;
    }
    if (done < size && *os_errno == 0) *os_errno = MDC_OS_FAULT;
    return (size_t)done;
}

mdc_status mdc_core_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                         int32_t *os_errno, mdc_error *err) {
    mdc_core *core = (mdc_core *)source;
    *done = 0;
    *os_errno = 0;
    for (size_t i = 0; i < span_count; i++) {
        const size_t got = read_some(core, spans[i].address, buffer + *done, spans[i].size, os_errno);
        *done += got;
        if (got < spans[i].size) break;
    }
    if (*done > 0) mdc_control_step(core->control);
    return mdc_control_check(core->control, err);
}

mdc_status mdc_core_peek(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err) {
    int32_t os_errno;
    (void)err;
    *done = read_some(context, address, to, size, &os_errno);
    return MDC_OK;
}

mdc_target_view mdc_core_view(mdc_core *core) {
    return (mdc_target_view){.regions = &core->regions,
                             .names = &core->names,
                             .pool = &core->pool,
                             .narrow = !core->wide,
                             .read = mdc_core_peek,
                             .context = core,
                             .control = core->control};
}
