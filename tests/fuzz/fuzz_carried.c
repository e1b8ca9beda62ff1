/* libFuzzer: a minidump that goes through a filter. What comes out is a sound minidump without the memory the filter
 * excludes, and comes out the same if it is filtered again. The first bytes are the filter's. */
#include "../../csrc/api/callback.h"
#include "../../csrc/callback/redaction.h"
#include "../../csrc/dumpfile/dump_source.h"
#include "sources.h"

enum { HEAD = 4, LIMIT = 64 << 20 };

typedef struct rules {
    uint64_t first, end; /* excluded */
    bool redacts;
    bool keeps_unknown;
} rules;

static mdc_callback *make_callback(const rules *how) {
    static const uint8_t secret[] = "hunter2", lib[] = "*a*";
    static const mdc_bytes pattern = {secret, sizeof secret - 1};
    const mdc_rule rule = {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {how->first, how->end}};
    const mdc_thread_rule thread = {.tid = 2, .keep = 0};
    const mdc_module_rule module = {.glob = {lib, sizeof lib - 1}, .keep = 0};
    const mdc_filter_spec spec = {.rules = &rule,
                                  .rule_count = 1,
                                  .default_action = MDC_INCLUDE,
                                  .threads = &thread,
                                  .thread_count = 1,
                                  .threads_default_keep = UINT32_MAX,
                                  .modules = &module,
                                  .module_count = 1,
                                  .modules_default_keep = UINT32_MAX,
                                  .patterns = &pattern,
                                  .pattern_count = how->redacts};
    const mdc_callback_options options = {.module_capacity = 64, .name_capacity = 64, .stack_capacity = 64};
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    mdc_callback *callback = filter != NULL ? mdc_callback_new(filter, &options, &err) : NULL;
    require(callback != NULL, err.message);
    mdc_filter_release(filter);
    return callback;
}

static void edit(void *context, uint64_t address, uint8_t *bytes, size_t size, uint32_t stored) {
    mdc_callback_edit(context, address, bytes, size, stored != 0);
}

static mdc_source *open_source(int fd, mdc_error *err) {
    mdc_source *source = NULL;
    mdc_error_clear(err);
    require(mdc_dump_source_new(fd, NULL, &source, err) == MDC_OK, err->message);
    return source;
}

/* The dump in `fd` through the filter, into a new file; -1: it is damaged. */
static int filtered(int fd, mdc_callback *callback, const rules *how) {
    mdc_error err;
    mdc_source *source = open_source(fd, &err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    const uint32_t extensions = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES |
                                (how->redacts ? MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY : 0u);
    require(mdc_callback_reset(callback, &err) == MDC_OK, err.message);
    require(mdc_callback_set_host(callback, extensions, &err) == MDC_OK, err.message);
    const mdc_engine_options options = {.everything = 1,
                                        .unknown_streams = how->keeps_unknown,
                                        .buffer_bytes = 4096,
                                        .callback = *mdc_callback_information(callback),
                                        .extensions = extensions,
                                        .hold = how->redacts ? mdc_filter_hold(mdc_callback_filter(callback)) : 0,
                                        .edit = how->redacts ? edit : NULL,
                                        .edit_context = callback};
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_memory_new(LIMIT, &err);
    mdc_dump *dump = sink != NULL ? mdc_dump_new(&options, source, sink, &control, &err) : NULL;
    require(dump != NULL, err.message);
    int out = -1;
    if (mdc_dump_run(dump, &err) == MDC_OK) {
        size_t size;
        const uint8_t *data = mdc_sink_memory_data(sink, &size);
        out = stored(data, size);
    } else {
        require(err.message[0] != '\0', "an error without a message");
    }
    mdc_dump_free(dump);
    sink->ops->free(sink);
    source->ops->free(source);
    return out;
}

static void check_excluded(int fd, const rules *how) {
    mdc_error err;
    mdc_source *source = open_source(fd, &err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    require(source->ops->prepare(source, &control, &err) == MDC_OK, err.message);
    require(source->ops->stop(source, &err) == MDC_OK, err.message);
    const mdc_snapshot *lists = source->ops->snapshot(source);
    for (size_t i = 0; i < lists->carried->run_count; i++) {
        const mdc_carried_run *run = &lists->carried->runs[i];
        require(run->address >= how->end || run->address + run->size <= how->first, "excluded memory is in the dump");
    }
    for (size_t i = 0; i < lists->thread_count; i++) require(lists->threads[i].tid != 2, "the thread is in the dump");
    source->ops->free(source);
}

static void check_same(int one, int other) {
    off_t size = lseek(one, 0, SEEK_END);
    require(lseek(other, 0, SEEK_END) == size, "not as long when it is filtered again");
    if (size == 0) return;
    void *a = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, one, 0);
    void *b = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, other, 0);
    require(a != MAP_FAILED && b != MAP_FAILED, "no mapping");
    require(memcmp(a, b, (size_t)size) == 0, "not the same when it is filtered again");
    munmap(a, (size_t)size);
    munmap(b, (size_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    uint64_t first = 0x10000 + data[0] * 16u;
    const rules how = {first, first + 1 + data[1], (data[2] & 1) != 0, (data[2] & 2) != 0};
    mdc_callback *callback = make_callback(&how);
    int fd = stored(data + HEAD, size - HEAD);
    int out = filtered(fd, callback, &how);
    if (out >= 0) {
        check_excluded(out, &how);
        int again = filtered(out, callback, &how);
        require(again >= 0, "what came out cannot be filtered");
        check_same(out, again);
        close(again);
        close(out);
    }
    close(fd);
    mdc_error ignored;
    require(mdc_callback_free(callback, &ignored) == MDC_OK, "the callback is in use");
    return 0;
}
