/* libFuzzer: a minidump. Read strictly as a source whose lists have to be sound, whose content has to cover each region
 * and whose memory has to be where the content says, and written again by the engine; and read by the tolerant reader.
 * Readers limit lists, so one that does and one that does not have to come to the same beginning. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/dumpfile/dump_source.h"
#include "../../csrc/engine/capture.h"
#include "../../csrc/engine/engine.h"
#include "../../csrc/source/reading.h"

enum { REGIONS_LOOKED_AT = 64, RUNS_LOOKED_AT = 64, BYTES = 4096, LIMIT = 3 };

static void require(bool sound, const char *text) {
    if (sound) return;
    fprintf(stderr, "%s\n", text);
    abort();
}

static mdc_source *open_source(int fd, mdc_dump_source_options options, mdc_error *err) {
    mdc_source *source = NULL;
    mdc_error_clear(err);
    require(mdc_dump_source_new(fd, &options, &source, err) == MDC_OK, err->message);
    return source;
}

/* Data can be read where the content says so, and nothing where it says that there is none. */
static void check_run(mdc_source *source, const mdc_content *run) {
    static uint8_t bytes[BYTES];
    const uint64_t length = run->end - run->first;
    const mdc_span span = {run->first, length < BYTES ? length : BYTES};
    size_t done;
    int32_t os_errno;
    mdc_error err;
    mdc_error_clear(&err);
    require(source->ops->read(source, &span, 1, bytes, &done, &os_errno, &err) == MDC_OK, "a read failed");
    require(done == (run->what == MDC_CONTENT_DATA ? span.size : 0), "memory is not what the content says");
    require((done == span.size) == (os_errno == 0), "a read that says no reason");
}

static void check_region(mdc_source *source, const mdc_snapshot *lists, size_t index) {
    const mdc_region *region = &lists->regions[index];
    const uint64_t end = region->base + region->size;
    uint64_t at = region->base;
    for (int i = 0; at < end && i < RUNS_LOOKED_AT; i++) {
        mdc_content runs[3];
        uint64_t next = at;
        const size_t count = source->ops->content(source, index, at, end, runs, 3, &next);
        require(count > 0 && count <= 3 && next > at && next <= end, "content makes no way");
        for (size_t k = 0; k < count; k++) {
            require(runs[k].first == at && runs[k].end > at, "content has a gap");
            at = runs[k].end;
            check_run(source, &runs[k]);
        }
        require(at == next, "content ends elsewhere");
    }
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
    mdc_source *source = open_source(fd, (mdc_dump_source_options){.tolerant = 0}, &err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    const uint64_t type = (size & 2) != 0 ? MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO : 0;
    const mdc_engine_options options = {.dump_type = type};
    mdc_sink *sink = mdc_sink_null_new(&err);
    mdc_dump *made = sink != NULL ? mdc_dump_new(&options, source, sink, &control, &err) : NULL;
    require(made != NULL, err.message);
    (void)mdc_dump_run(made, &err);
    mdc_dump_free(made);
    sink->ops->free(sink);
    source->ops->free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("dump", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memfd");
    check_strict(fd, size);
    check_tolerant(fd, size);
    dump(fd, size);
    close(fd);
    return 0;
}
