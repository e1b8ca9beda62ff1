/* libFuzzer: an ELF core. Read as a source whose lists have to be sound, whose content has to cover each region and
 * whose memory has to be where the content says; then dumped by the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/elfcore/core_source.h"
#include "../../csrc/engine/capture.h"
#include "../../csrc/engine/engine.h"

enum { REGIONS_LOOKED_AT = 64, RUNS_LOOKED_AT = 64, BYTES = 4096 };

static void require(bool sound, const char *text) {
    if (sound) return;
    fprintf(stderr, "%s\n", text);
    abort();
}

static mdc_source *open_source(int fd, size_t size, mdc_error *err) {
    const mdc_core_options options = {.xstate = size & 1};
    mdc_source *source = NULL;
    mdc_error_clear(err);
    require(mdc_core_source_new(fd, &options, &source, err) == MDC_OK, err->message);
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
    const bool none = run->what == MDC_CONTENT_ABSENT || run->what == MDC_CONTENT_CUT;
    require(done == (none ? 0 : span.size), "memory is not what the content says");
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

static void check_lists(int fd, size_t size) {
    mdc_error err;
    mdc_source *source = open_source(fd, size, &err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    if (source->ops->prepare(source, &control, &err) == MDC_OK && source->ops->stop(source, &err) == MDC_OK) {
        const mdc_snapshot *lists = source->ops->snapshot(source);
        require(mdc_snapshot_check(lists, &err) == MDC_OK, err.message);
        for (size_t i = 0; i < lists->region_count && i < REGIONS_LOOKED_AT; i++) check_region(source, lists, i);
    }
    require((err.code == MDC_OK) == (err.message[0] == '\0'), "an error without a message");
    source->ops->free(source);
}

static void dump(int fd, size_t size) {
    mdc_error err;
    mdc_source *source = open_source(fd, size, &err);
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
    int fd = memfd_create("core", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memfd");
    check_lists(fd, size);
    dump(fd, size);
    close(fd);
    return 0;
}
