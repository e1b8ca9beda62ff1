/* Pages that cannot be read: what they cost, where they are told, and that complete means complete. */
#include "../../csrc/base/os_error.h"
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY, TOLERANT = FULL | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY };

static mdc_fake_region regions[8];
static mdc_fake_target bad_target(void) {
    memcpy(regions, standard_regions, sizeof regions);
    regions[1].unreadable_first = HEAP + 0x2000; /* two pages of the heap */
    regions[1].unreadable_end = HEAP + 0x4000;
    regions[5].unreadable_first = STACK_A + 0xD000; /* one of a stack */
    regions[5].unreadable_end = STACK_A + 0xD001;
    mdc_fake_target target = standard_target;
    target.regions = regions;
    return target;
}

static void check_gap_stream(const made_dump *made, uint64_t found) {
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_GAPS, NULL);
    CHECK(u32_at(made, at) == 1 && u32_at(made, at + 4) == 40 && u32_at(made, at + 8) == 24);
    CHECK(u32_at(made, at + 12) == 1 && u64_at(made, at + 40) == FILE_MAP + 0x2000); /* beyond the end of the file */
    uint64_t tail = u64_at(made, at + 16);
    uint64_t end = tail + 8 + 24 * found;
    CHECK(u64_at(made, tail) == found);
    if (end != made->size) { /* the soft errors follow, where the directory could be corrected */
        uint32_t size = 0;
        CHECK(stream_at(made, MDC_STREAM_TYPE_MOZ_SOFT_ERRORS, &size) == end && end + size == made->size);
        CHECK(found > 0 && made->sink->patchable && memcmp(made->data + end, "[{\"READ_FAILED\":{", 17) == 0);
    }
    for (uint64_t i = 0; i < found; i++) {
        const mdc_gap *gap = &made->report->gaps[made->report->gap_count - found + i];
        CHECK(u64_at(made, tail + 8 + 24 * i) == gap->address && u64_at(made, tail + 16 + 24 * i) == gap->size);
        CHECK(u32_at(made, tail + 24 + 24 * i) == MDC_GAP_READ_FAILED && u32_at(made, tail + 28 + 24 * i) == MDC_OS_IO);
    }
}

/* A sink that can only go forwards. */
static void make_stream(made_dump *made, const mdc_fake_target *target, const mdc_engine_options *options) {
    mdc_error err = {0};
    mdc_sink *sink = mdc_sink_memory_new(UINT64_C(1) << 32, &err);
    sink->patchable = sink->sparse = false;
    make_into(made, target, options, sink);
    if (made->status == MDC_OK) made->data = mdc_sink_memory_data(sink, &made->size);
}

static void check_around(const made_dump *made) {
    CHECK(right(made, HEAP + 0x1FFF) && right(made, HEAP + 0x4000) && right(made, HEAP + 0x7FFF));
    CHECK(right(made, STACK_A + 0xC010) && right(made, STACK_A + 0xCFFF) && right(made, STACK_A + 0xE000));
    CHECK(right(made, STACK_B) && right(made, STACK_B + 0x7FFF) && right(made, SPARSE) &&
          right(made, FILE_MAP + 0x1000));
}

static void test_cut(void) {
    mdc_fake_target target = bad_target();
    for (uint64_t buffer = 4096; buffer <= 1 << 20; buffer *= 4) {
        mdc_engine_options options = {.dump_type = TOLERANT, .buffer_bytes = buffer};
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        check_around(&made);
        CHECK(!holds(&made, HEAP + 0x2000) && !holds(&made, HEAP + 0x3FFF) && !holds(&made, STACK_A + 0xD000));
        CHECK(made.report->read_failed_gaps == 2 && made.report->gap_count == 3); /* stacks are read first */
        CHECK(made.report->gaps[1].address == STACK_A + 0xD000 && made.report->gaps[1].size == 0x1000);
        CHECK(made.report->gaps[2].address == HEAP + 0x2000 && made.report->gaps[2].size == 0x2000);
        CHECK(info_starts_at(&made, HEAP + 0x4000) && info_starts_at(&made, STACK_A + 0xE000));
        check_gap_stream(&made, 2);
        uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
        CHECK(u64_at(&made, list + 4 + 24) == STACK_A + 0xB000 && u32_at(&made, list + 4 + 32) == 0x2000);
        if (buffer == 4096) keep_file(&made, "cut");
        unmake(&made);
    }
    mdc_engine_options options = {.dump_type = MDC_TYPE_NORMAL};
    made_dump made;
    make(&made, &target, &options);
    CHECK(made.status == MDC_ERR_READ && made.err.os_errno == MDC_OS_IO && made.err.address == STACK_A + 0xD000);
    CHECK(made.err.hresult == MDC_E_PARTIAL_COPY && made.err.phase == MDC_PHASE_WRITE);
    unmake(&made);
}

static void test_zeros(void) {
    mdc_fake_target target = bad_target();
    for (int stream = 0; stream < 2; stream++) {
        mdc_engine_options options = {.dump_type = TOLERANT, .buffer_bytes = 8192, .spare_slots = 1};
        made_dump made;
        if (stream)
            make_stream(&made, &target, &options);
        else
            make(&made, &target, &options); /* the one slot goes to the stack */
        check_rules(&made);
        check_around(&made);
        CHECK(byte_in(&made, HEAP + 0x2000) == 0 && byte_in(&made, HEAP + 0x3FFF) == 0);
        CHECK(byte_in(&made, STACK_A + 0xD000) == (stream ? 0 : -1));
        CHECK(made.report->read_failed_gaps == 2);
        check_gap_stream(&made, 2);
        keep_file(&made, stream ? "zeros_stream" : "zeros_slot");
        unmake(&made);
    }
}

static int refuse(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 14) return -1;
    CHECK(in->u.ReadMemoryFailure.Bytes == 0x1000 &&
          (uint32_t)in->u.ReadMemoryFailure.FailureStatus == MDC_E_PARTIAL_COPY);
    out->Status = self->calls[14] <= self->number ? MDC_S_OK : (int32_t)MDC_E_FAIL;
    return 1;
}

static void test_tolerance(void) {
    mdc_fake_target target = bad_target();
    for (uint64_t n = 0; n < 5; n++) {
        callee self = {.answer = refuse, .number = n};
        mdc_engine_options options = options_for(&self, n == 4 ? TOLERANT : FULL, 0);
        made_dump made;
        make(&made, &target, &options);
        CHECK(made.status == (n < 3 ? MDC_ERR_READ : MDC_OK) && self.calls[14] == (n < 3 ? n + 1 : n == 3 ? 3 : 0));
        if (made.status == MDC_OK) {
            check_rules(&made);
            CHECK(made.report->read_failed_gaps == 2);
        } else {
            CHECK(made.err.callback_type == 14 && self.calls[7] == 0);
        }
        unmake(&made);
    }
}

/* A gap at the start, at the end, over all of a range, and in a text. */
static void test_edges(void) {
    static const uint64_t bad[][2] = {{HEAP, HEAP + 0x1000}, {HEAP + 0x7000, HEAP + 0x8000}, {HEAP, HEAP + 0x8000}};
    for (size_t i = 0; i < 3; i++) {
        for (int stream = 0; stream < 2; stream++) {
            mdc_fake_target target = bad_target();
            regions[1].unreadable_first = bad[i][0];
            regions[1].unreadable_end = bad[i][1];
            mdc_engine_options options = {.dump_type = TOLERANT};
            made_dump made;
            if (stream)
                make_stream(&made, &target, &options);
            else
                make(&made, &target, &options);
            check_rules(&made);
            CHECK(holds(&made, bad[i][0]) == stream && holds(&made, bad[i][1] - 1) == stream);
            CHECK(i == 2 || right(&made, i == 0 ? HEAP + 0x1000 : HEAP + 0x6FFF));
            CHECK(right(&made, SPARSE) && right(&made, STACK_B + 0x2F40));
            /* environ, at the start of the heap, is read twice: as text and as memory */
            check_gap_stream(&made, i == 1 ? 2 : 3);
            if (!stream) keep_file(&made, i == 0 ? "cut_start" : i == 1 ? "cut_end" : "cut_all");
            unmake(&made);
        }
    }
}

static void test_table_full(void) {
    mdc_fake_target target = bad_target();
    mdc_fake_region many[40];
    for (size_t i = 0; i < 40; i++)
        many[i] = (mdc_fake_region){.base = 0x100000 + i * 0x3000,
                                    .size = 0x2000,
                                    .state = MDC_MEM_COMMIT,
                                    .protect = RW,
                                    .type = MDC_MEM_PRIVATE,
                                    .touch_every = 1,
                                    .unreadable_first = 0x100000 + i * 0x3000,
                                    .unreadable_end = 0x100001 + i * 0x3000};
    target.regions = many;
    target.region_count = 40;
    target.environ_address = 0;
    mdc_engine_options options = {.dump_type = TOLERANT, .gaps_max = 10, .spare_slots = 5};
    made_dump made;
    make(&made, &target, &options);
    check_rules(&made);
    CHECK(made.report->gap_count == 10 && (made.report->warnings & MDC_WARN_GAP_TABLE_FULL) != 0);
    const mdc_gap *last = &made.report->gaps[9];
    CHECK(last->reason == MDC_GAP_TRUNCATED && last->address == many[9].base &&
          last->address + last->size == many[39].base + 0x1000);
    for (size_t i = 0; i < 40; i++)
        CHECK(right(&made, many[i].base + 0x1000) && byte_in(&made, many[i].base) == (i < 5 ? -1 : 0));
    unmake(&made);
}

int main(void) {
    test_cut();
    test_zeros();
    test_tolerance();
    test_edges();
    test_table_full();
    return failures != 0;
}
