/* libFuzzer: an ELF core. Read as a source whose lists have to be sound, whose content has to cover each region and
 * whose memory has to be where the content says; then dumped by the engine. */
#include "../../csrc/elfcore/core_source.h"
#include "sources.h"

static mdc_source *open_source(int fd, size_t size, mdc_error *err) {
    const mdc_core_options options = {.xstate = size & 1};
    mdc_source *source = NULL;
    mdc_error_clear(err);
    require(mdc_core_source_new(fd, &options, &source, err) == MDC_OK, err->message);
    return source;
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
    const uint64_t full = MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO;
    dump_source(open_source(fd, size, &err), (size & 2) != 0 ? full : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = stored(data, size);
    check_lists(fd, size);
    dump(fd, size);
    close(fd);
    return 0;
}
