/* What the targets about files share: a source that is looked at and dumped. */
#ifndef FUZZ_SOURCES_H
#define FUZZ_SOURCES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/engine/capture.h"
#include "../../csrc/engine/engine.h"

enum { REGIONS_LOOKED_AT = 64, RUNS_LOOKED_AT = 64, LOOKED_AT_BYTES = 4096 };

static inline void require(bool sound, const char *text) {
    if (sound) return;
    fprintf(stderr, "%s\n", text);
    abort();
}

static inline int stored(const uint8_t *data, size_t size) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memfd");
    return fd;
}

/* Data can be read where the content says so, and nothing where it says that there is none. */
static inline void check_run(mdc_source *source, const mdc_content *run) {
    static uint8_t bytes[LOOKED_AT_BYTES];
    const uint64_t length = run->end - run->first;
    const mdc_span span = {run->first, length < LOOKED_AT_BYTES ? length : LOOKED_AT_BYTES};
    size_t done;
    int32_t os_errno;
    mdc_error err;
    mdc_error_clear(&err);
    require(source->ops->read(source, &span, 1, bytes, &done, &os_errno, &err) == MDC_OK, "a read failed");
    const bool none = run->what == MDC_CONTENT_ABSENT || run->what == MDC_CONTENT_CUT;
    require(done == (none ? 0 : span.size), "memory is not what the content says");
    require((done == span.size) == (os_errno == 0), "a read that says no reason");
}

static inline void check_region(mdc_source *source, const mdc_snapshot *lists, size_t index) {
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

/* To nowhere; an error is one of the input. Frees the source. */
static inline void dump_source(mdc_source *source, uint64_t type) {
    mdc_error err;
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    const mdc_engine_options options = {.dump_type = type};
    mdc_sink *sink = mdc_sink_null_new(&err);
    mdc_dump *made = sink != NULL ? mdc_dump_new(&options, source, sink, &control, &err) : NULL;
    require(made != NULL, err.message);
    (void)mdc_dump_run(made, &err);
    mdc_dump_free(made);
    sink->ops->free(sink);
    source->ops->free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
