/* libFuzzer: a minidump. Read strictly as a source whose lists have to be sound, whose content has to cover each region
 * and whose memory has to be where the content says, and written again by the engine; and read by the tolerant reader.
 * Readers limit lists, so one that does and one that does not have to come to the same beginning. */
#include "../../csrc/dumpfile/dump_source.h"
#include "../../csrc/source/reading.h"
#include "sources.h"

enum { LIMIT = 3 };

static mdc_source *open_source(int fd, mdc_dump_source_options options, mdc_error *err) {
    mdc_source *source = NULL;
    mdc_error_clear(err);
    require(mdc_dump_source_new(fd, &options, &source, err) == MDC_OK, err->message);
    return source;
}

static void check_carried(const mdc_carried *carried, size_t size) {
    uint64_t floor = 0;
    require(carried->file_size == size, "another size");
    for (size_t i = 0; i < carried->stream_count; i++) {
        const mdc_carried_stream *stream = &carried->streams[i];
        require(stream->type != 0 && stream->rva <= size && stream->size <= size - stream->rva, "a stream outside");
    }
    for (size_t i = 0; i < carried->run_count; i++) {
        const mdc_carried_run *run = &carried->runs[i];
        require(run->size > 0 && run->address >= floor && run->address + run->size > run->address, "runs overlap");
        require(run->offset <= size && run->size <= size - run->offset, "a run outside");
        floor = run->address + run->size;
    }
}

static void check_strict(int fd, size_t size) {
    mdc_error err;
    mdc_source *source = open_source(fd, (mdc_dump_source_options){.tolerant = 0}, &err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    if (source->ops->prepare(source, &control, &err) == MDC_OK && source->ops->stop(source, &err) == MDC_OK) {
        const mdc_snapshot *lists = source->ops->snapshot(source);
        require(mdc_snapshot_check(lists, &err) == MDC_OK, err.message);
        require(mdc_dump_source_view(source)->fault_count == 0, "a fault that is no error");
        check_carried(lists->carried, size);
        for (size_t i = 0; i < lists->region_count && i < REGIONS_LOOKED_AT; i++) check_region(source, lists, i);
    }
    require((err.code == MDC_OK) == (err.message[0] == '\0'), "an error without a message");
    require(err.code == MDC_OK || err.code == MDC_ERR_FORMAT, err.message);
    source->ops->free(source);
}

static mdc_reading *open_reading(int fd, uint32_t limit) {
    mdc_error err;
    mdc_source *source = open_source(fd, (mdc_dump_source_options){1, limit, limit, 0}, &err);
    mdc_reading *reading;
    if (mdc_reading_new(&source, &reading, &err) != MDC_OK) require(err.code == MDC_ERR_FORMAT, err.message);
    return reading;
}

static bool same(size_t limited, size_t all) { return limited == (all < LIMIT ? all : LIMIT); }

static void check_tolerant(int fd, size_t size) {
    mdc_reading *whole = open_reading(fd, 0), *limited = open_reading(fd, LIMIT);
    require((whole == NULL) == (limited == NULL), "a limit that is an error");
    if (whole != NULL) {
        const mdc_snapshot *all = mdc_reading_snapshot(whole), *some = mdc_reading_snapshot(limited);
        const mdc_dump_view *view = mdc_dump_source_view(mdc_reading_source(whole));
        check_carried(all->carried, size);
        require(view->fault_count <= 100, "too many faults");
        for (size_t i = 0; i < view->fault_count; i++)
            require(memchr(view->faults[i].message, 0, sizeof view->faults[i].message) != NULL, "a fault without end");
        require(same(some->thread_count, all->thread_count), "threads");
        require(same(some->module_count, all->module_count), "modules");
        require(same(some->handle_count, all->handle_count), "handles");
        for (size_t i = 0; i < some->thread_count; i++)
            require(some->threads[i].tid == all->threads[i].tid, "other threads");
    }
    mdc_reading_free(whole);
    mdc_reading_free(limited);
}

static void dump(int fd, size_t size) {
    mdc_error err;
    const uint64_t full = MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO;
    dump_source(open_source(fd, (mdc_dump_source_options){.tolerant = 0}, &err), (size & 2) != 0 ? full : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = stored(data, size);
    check_strict(fd, size);
    check_tolerant(fd, size);
    dump(fd, size);
    close(fd);
    return 0;
}
