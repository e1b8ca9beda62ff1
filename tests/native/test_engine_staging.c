/* MDC_STOP_MEMORY: nothing is written before the threads run, unless it does not fit; the bytes are those of a dump
 * that was written at once; and what goes wrong, before, during or after the stop, ends as it does there. */
#include "../../csrc/base/arena.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/base/os_error.h"
#include "engine_check.h"

enum { PAGES = 256, LEAST = 256 << 10 };
#define FULL (MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY)
#define BIG UINT64_C(0x8000000)

static const mdc_fake_region regions[] = {
    {EXE, 0x3000, MDC_MEM_COMMIT, RX, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/bin/fake", 0, 0, 0},
    {HEAP, 0x8000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_HEAP, 0, 1, "[heap]", HEAP + 0x2000, HEAP + 0x3000, 0},
    {BIG, PAGES * 4096, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, NULL, 0, 0, 0},
    {STACK_A, 0x10000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, "[stack]", 0, 0, 0},
};
static const mdc_fake_thread threads[] = {{4711, 0, STACK_A + 0xC010, EXE + 0x1234, "main"}};
static const mdc_fake_target target = {regions, 4, threads, 1, NULL, 0, "fake --target", 0, 0, SEED, 0, NULL};
/* So large that what waits is given back while it is written. */
static const mdc_fake_region large_regions[] = {
    {BIG, 40 << 20, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, NULL, 0, 0, 0, 5},
    {STACK_A, 0x10000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, "[stack]", 0, 0, 0},
};
static const mdc_fake_target large = {large_regions, 2, threads, 1, NULL, 0, "fake --target", 0, 0, SEED, 0, NULL};

/* An output that knows whether the threads run. */
typedef struct watched {
    mdc_sink sink; /* first */
    mdc_sink *inner;
    const mdc_dump_control *control;
    int begun;
    uint64_t announced;
    uint64_t stopped_bytes, running_bytes;
    bool begun_stopped;
} watched;

static bool stopped(const watched *self) { return atomic_load(&self->control->stopped) != 0; }

static void take(watched *self, uint64_t bytes) {
    *(stopped(self) ? &self->stopped_bytes : &self->running_bytes) += bytes;
    self->sink.position = self->inner->position;
}

static mdc_status watch_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    watched *self = (watched *)sink;
    self->begun++;
    self->announced = planned;
    self->begun_stopped = stopped(self);
    CHECK(written <= planned);
    return self->inner->ops->begin(self->inner, planned, written, err);
}

static mdc_status watch_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    watched *self = (watched *)sink;
    CHECK(self->begun == 1);
    mdc_status status = self->inner->ops->write(self->inner, data, size, err);
    take(self, size);
    return status;
}

static mdc_status watch_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    watched *self = (watched *)sink;
    mdc_status status = self->inner->ops->hole(self->inner, size, err);
    take(self, size);
    return status;
}

static mdc_status watch_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    watched *self = (watched *)sink;
    CHECK(!stopped(self));
    return self->inner->ops->patch(self->inner, offset, data, size, err);
}

static mdc_status watch_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    watched *self = (watched *)sink;
    return self->inner->ops->finish(self->inner, flush, err);
}

static void watch_free(mdc_sink *sink) {
    watched *self = (watched *)sink;
    self->inner->ops->free(self->inner);
}

static const mdc_sink_ops WATCH_OPS = {watch_begin, watch_write, watch_hole, watch_patch, watch_finish, watch_free};

static void run_of(const mdc_fake_target *shown, made_dump *made, watched *watch, const mdc_engine_options *options) {
    mdc_error err = {0};
    memset(watch, 0, sizeof *watch);
    watch->inner = mdc_sink_memory_new(UINT64_C(1) << 32, &err);
    watch->sink = (mdc_sink){.ops = &WATCH_OPS, .patchable = true, .sparse = true, .fd = -1};
    watch->control = &made->control;
    make_into(made, shown, options, &watch->sink);
    made->data = mdc_sink_memory_data(watch->inner, &made->size);
    CHECK(atomic_load(&made->control.stopped) == 0);
}

static void run(made_dump *made, watched *watch, const mdc_engine_options *options) {
    run_of(&target, made, watch, options);
}

/* The same bytes as those of a dump that is written at once. */
static bool as_whole_of(const mdc_fake_target *shown, const made_dump *made, const mdc_engine_options *options) {
    mdc_engine_options whole = *options;
    whole.stop = MDC_STOP_WHOLE;
    made_dump other;
    make(&other, shown, &whole);
    bool same = other.status == MDC_OK && other.size == made->size && made->size > 64 &&
                memcmp(made->data, other.data, 20) == 0 && /* then the time */
                memcmp(made->data + 24, other.data + 24, made->size - 24) == 0;
    unmake(&other);
    return same;
}

static bool as_whole(const made_dump *made, const mdc_engine_options *options) {
    return as_whole_of(&target, made, options);
}

static mdc_engine_options memory(callee *self) {
    mdc_engine_options options = options_for(self, FULL, 0);
    options.stop = MDC_STOP_MEMORY;
    options.buffer_bytes = 64 << 10;
    return options;
}

static void test_nothing_is_written_before_the_threads_run(void) {
    callee self = {0};
    mdc_engine_options options = memory(&self);
    made_dump made;
    watched watch;
    run(&made, &watch, &options);
    CHECK(made.status == MDC_OK && as_whole(&made, &options));
    CHECK(made.report->stop == MDC_STOP_MEMORY && made.report->warnings == 0);
    CHECK(watch.stopped_bytes == 0 && watch.running_bytes >= PAGES * 4096);
    CHECK(watch.begun == 1 && !watch.begun_stopped && watch.announced >= PAGES * 4096);
    unmake(&made);
    options.stop = MDC_STOP_WHOLE;
    run(&made, &watch, &options);
    CHECK(made.status == MDC_OK && watch.stopped_bytes >= PAGES * 4096 && watch.begun_stopped);
    unmake(&made);
}

static void test_what_waits_is_given_back(void) {
    for (int bound = 0; bound < 2; bound++) {
        callee self = {0};
        mdc_engine_options options = memory(&self);
        options.stop_memory = bound == 0 ? 0 : 38 << 20;
        made_dump made;
        watched watch;
        run_of(&large, &made, &watch, &options);
        CHECK(made.status == MDC_OK && as_whole_of(&large, &made, &options));
        CHECK((watch.stopped_bytes != 0) == (bound != 0) && watch.running_bytes > 36 << 20);
        unmake(&made);
    }
}

/* The front is written at once, and as much as is allowed waits. */
static void test_what_fits_is_kept(void) {
    callee self = {0};
    mdc_engine_options options = memory(&self);
    options.stop_memory = LEAST;
    made_dump made;
    watched watch;
    run(&made, &watch, &options);
    CHECK(made.status == MDC_OK && as_whole(&made, &options));
    CHECK(made.report->stop == MDC_STOP_MEMORY && made.report->warnings == MDC_WARN_STOP_MEMORY);
    CHECK(watch.begun == 1 && watch.begun_stopped);
    CHECK(watch.running_bytes > LEAST - LEAST / 16 && watch.running_bytes <= LEAST);
    CHECK(watch.stopped_bytes > (PAGES * 4096) - LEAST);
    unmake(&made);
}

static void test_without_the_memory_it_is_written_at_once(void) {
    static const char *const points[] = {"arena:reserve:0:12", "arena:touch:1:12", "arena:touch:2:12"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        callee self = {0};
        mdc_engine_options options = memory(&self);
        made_dump made;
        watched watch;
        mdc_failpoint_set(points[i]);
        run(&made, &watch, &options);
        mdc_failpoint_set("");
        CHECK(made.status == MDC_OK && as_whole(&made, &options));
        CHECK(made.report->stop == MDC_STOP_WHOLE && made.report->warnings == MDC_WARN_STOP);
        CHECK(made.report->stop_reason == MDC_STOP_REASON_RESERVE && made.report->stop_errno == 12);
        CHECK(watch.stopped_bytes >= PAGES * 4096);
        unmake(&made);
    }
}

/* A bound that is refused is tried as what is needed. */
static void test_a_large_bound_is_not_needed(void) {
    callee self = {0};
    mdc_engine_options options = memory(&self);
    made_dump made;
    watched watch;
    mdc_failpoint_set("arena:reserve:1:12");
    run(&made, &watch, &options);
    mdc_failpoint_set("");
    CHECK(made.status == MDC_OK && as_whole(&made, &options));
    CHECK(made.report->stop == MDC_STOP_MEMORY && made.report->warnings == 0 && watch.stopped_bytes == 0);
    unmake(&made);
}

static void test_a_write_fails_when_the_threads_run(void) {
    static const char *const points[] = {"write:chunk:1:28", "write:chunk:2:28"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        callee self = {0};
        mdc_engine_options options = memory(&self);
        made_dump made;
        watched watch;
        mdc_failpoint_set(points[i]);
        run(&made, &watch, &options);
        mdc_failpoint_set("");
        CHECK(made.status == MDC_ERR_SINK && made.err.os_errno == 28 && watch.stopped_bytes == 0);
        CHECK(made.size == 0 || u32_at(&made, 0) != MDC_FILE_SIGNATURE);
        unmake(&made);
    }
}

static mdc_status lost(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    (void)source;
    *stop_time_ns = 1;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_WRITE, 0, "was resumed early");
}

/* What was read counts only if the resume succeeds: nothing is written otherwise. */
static void test_a_failed_resume_writes_nothing(void) {
    callee self = {0};
    mdc_engine_options options = memory(&self);
    made_dump made = {0};
    watched watch = {.control = &made.control, .sink = {.ops = &WATCH_OPS, .patchable = true, .fd = -1}};
    watch.inner = mdc_sink_memory_new(UINT64_C(1) << 32, &made.err);
    mdc_control_init(&made.control, 0);
    made.sink = &watch.sink;
    made.source = mdc_fake_new(&target, &made.err);
    REQUIRE(made.source != NULL);
    mdc_source_ops bent = *made.source->ops;
    bent.resume = lost;
    made.source->ops = &bent;
    made.dump = mdc_dump_new(&options, made.source, made.sink, &made.control, &made.err);
    REQUIRE(made.dump != NULL);
    CHECK(mdc_dump_run(made.dump, &made.err) == MDC_ERR_TARGET);
    CHECK(watch.stopped_bytes == 0 && watch.running_bytes == 0 && watch.begun == 0);
    unmake(&made);
}

static void test_a_file_is_not_stopped(void) {
    callee self = {0};
    mdc_engine_options options = memory(&self);
    made_dump made = {0};
    mdc_control_init(&made.control, 0);
    made.source = mdc_fake_new(&target, &made.err);
    made.sink = mdc_sink_memory_new(UINT64_C(1) << 32, &made.err);
    REQUIRE(made.source != NULL && made.sink != NULL);
    mdc_source_ops bent = *made.source->ops;
    bent.footprint = NULL;
    made.source->ops = &bent;
    made.dump = mdc_dump_new(&options, made.source, made.sink, &made.control, &made.err);
    REQUIRE(made.dump != NULL);
    CHECK(mdc_dump_run(made.dump, &made.err) == MDC_OK);
    CHECK(mdc_dump_report(made.dump)->stop == MDC_STOP_WHOLE);
    CHECK(mdc_dump_report(made.dump)->stop_reason == MDC_STOP_REASON_SOURCE);
    unmake(&made);
}

/* -- callees ------------------------------------------------------------------------------------------------------- */

/* Cancels at its n-th question. */
static int cancel_at(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != MDC_CB_CANCEL) return -1;
    out->Cancel.CheckCancel = 1;
    out->Cancel.Cancel = self->calls[MDC_CB_CANCEL] == self->number;
    return 1;
}

static void test_a_cancel_at_every_question(void) {
    int running = 0, during = 0;
    uint64_t number = 1;
    for (;; number++) {
        callee self = {.answer = cancel_at, .number = number};
        mdc_engine_options options = memory(&self);
        made_dump made;
        watched watch;
        run(&made, &watch, &options);
        mdc_status status = made.status;
        CHECK(watch.stopped_bytes == 0);
        CHECK(status == MDC_OK || status == MDC_ERR_CANCELLED);
        CHECK(status == MDC_OK || made.size == 0 || u32_at(&made, 0) != MDC_FILE_SIGNATURE);
        if (status == MDC_ERR_CANCELLED) *(watch.running_bytes > 0 ? &running : &during) += 1;
        unmake(&made);
        if (status == MDC_OK) break;
    }
    CHECK(during > 10 && running > 0);
}

typedef struct taken {
    uint8_t *bytes;
    uint64_t size;
    const mdc_dump_control *control;
    bool stopped;
    int finished;
} taken;

static int takes(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    taken *to = self->data;
    if (in->CallbackType == MDC_CB_IO_START) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == MDC_CB_IO_FINISH) {
        to->finished++;
        out->Status = MDC_S_OK;
        return 1;
    }
    if (in->CallbackType != MDC_CB_IO_WRITE_ALL) return -1;
    CHECK(in->u.Io.Offset == to->size);
    if (atomic_load(&to->control->stopped) != 0) to->stopped = true;
    uint8_t *bytes = realloc(to->bytes, (size_t)to->size + in->u.Io.BufferBytes);
    REQUIRE(bytes != NULL);
    memcpy(bytes + to->size, in->u.Io.Buffer, in->u.Io.BufferBytes);
    to->bytes = bytes;
    to->size += in->u.Io.BufferBytes;
    out->Status = MDC_S_OK;
    return 1;
}

static void test_a_callee_that_writes_is_called_when_the_threads_run(void) {
    taken to[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        callee self = {.answer = takes, .data = &to[i]};
        mdc_engine_options options = memory(&self);
        options.stop = i == 0 ? MDC_STOP_WHOLE : MDC_STOP_MEMORY;
        made_dump made;
        to[i].control = &made.control;
        make_into(&made, &target, &options, NULL);
        CHECK(made.status == MDC_OK && to[i].finished == 1 && to[i].stopped == (i == 0));
        unmake(&made);
    }
    CHECK(to[0].size == to[1].size && to[0].size > PAGES * 4096);
    CHECK(to[0].size == to[1].size && memcmp(to[0].bytes + 24, to[1].bytes + 24, (size_t)to[0].size - 24) == 0);
    free(to[0].bytes);
    free(to[1].bytes);
}

/* -- the arena ----------------------------------------------------------------------------------------------------- */

static void test_the_arena(void) {
    mdc_arena arena = {NULL, 0};
    int32_t os_errno = 0;
    mdc_arena_free(&arena);
    REQUIRE(mdc_arena_reserve(&arena, 1 << 20, &os_errno));
    CHECK(arena.size == 1 << 20 && (uintptr_t)arena.data % 4096 == 0);
    CHECK(mdc_arena_touch(&arena, 100, 9000, &os_errno));
    arena.data[8999] = 7;
    arena.data[4095] = 8;
    arena.data[4096] = 9;
    mdc_arena_release(&arena, 1, 8192); /* the page in between */
    CHECK(arena.data[8999] == 7 && arena.data[4095] == 8);
    mdc_arena_free(&arena);
    CHECK(arena.data == NULL);
    CHECK(!mdc_arena_reserve(&arena, SIZE_MAX / 4 & ~(size_t)4095, &os_errno) || sizeof(size_t) == 4);
    CHECK(os_errno != 0 || sizeof(size_t) == 4);
    mdc_arena_free(&arena);
}

int main(void) {
    test_nothing_is_written_before_the_threads_run();
    test_what_waits_is_given_back();
    test_what_fits_is_kept();
    test_without_the_memory_it_is_written_at_once();
    test_a_large_bound_is_not_needed();
    test_a_write_fails_when_the_threads_run();
    test_a_failed_resume_writes_nothing();
    test_a_file_is_not_stopped();
    test_a_cancel_at_every_question();
    test_a_callee_that_writes_is_called_when_the_threads_run();
    test_the_arena();
    return failures != 0;
}
