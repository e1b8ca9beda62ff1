/* Positions in the file: 32-bit limits moved low, untouched memory, many small mappings. */
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY };

static int add_big(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 5 || self->calls[5] > 2) return -1;
    out->Memory.MemoryBase = self->calls[5] == 1 ? HEAP : FILE_MAP;
    out->Memory.MemorySize = self->calls[5] == 1 ? 0x8000 : 0x1801; /* not whole pages */
    return 1;
}

/* Where something passes the limit there is a Memory64List, in a Normal dump too; a thread whose stack passes it has
 * Rva 0 in its descriptor. */
static void test_limit32(void) {
    for (uint64_t limit = 16 << 10; limit <= 256 << 10; limit += 4 << 10) {
        for (int full = 0; full < 2; full++) {
            callee self = {.answer = add_big};
            mdc_engine_options options = options_for(&self, full ? FULL : MDC_TYPE_NORMAL, 0);
            options.limit32 = limit;
            options.buffer_bytes = 4096;
            made_dump made;
            make(&made, &standard_target, &options);
            check_rules(&made);
            for (uint32_t i = 0; i < u32_at(&made, 8); i++) {
                uint64_t entry = u32_at(&made, 12) + 12 * (uint64_t)i;
                CHECK((uint64_t)u32_at(&made, entry + 4) + u32_at(&made, entry + 8) < limit);
            }
            found_range ranges[16];
            bool partial = stream_at(&made, MDC_STREAM_TYPE_MEMORY_LIST, NULL) != 0;
            uint64_t count = partial ? memory_ranges(&made, ranges, 16) : memory64_ranges(&made, ranges, 16);
            bool all32 = true;
            for (uint64_t i = 0; i < count; i++) all32 = all32 && ranges[i].offset + ranges[i].size < limit;
            CHECK(right(&made, STACK_A + 0xC010) && right(&made, STACK_B + 0x7FFF) && right(&made, HEAP + 0x7FFF));
            CHECK(right(&made, FILE_MAP + 0x1800) && holds(&made, FILE_MAP + 0x1801) == full);
            CHECK(full || (count == 5 && partial == all32));
            CHECK(((made.report->warnings & MDC_WARN_MEMORY64) != 0) == (!full && !partial));
            bool stacks32 = limit >= 64 << 10;
            if (stacks32) CHECK((made.report->warnings & MDC_WARN_RANGES_ABOVE_4G) == 0 && count >= 2);
            if (limit == 20 << 10) {
                CHECK((made.report->warnings & MDC_WARN_RANGES_ABOVE_4G) != 0);
                uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
                CHECK(u32_at(&made, list + 4 + 32) == 0 && u32_at(&made, list + 4 + 36) == 0);
                CHECK((made.report->threads[0].flags & MDC_THREAD_NO_STACK) != 0);
                keep_file(&made, full ? "limit_full" : "limit_normal");
            }
            unmake(&made);
        }
    }
    mdc_engine_options options = {.dump_type = FULL, .limit32 = 4096};
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_ERR_FORMAT); /* the small streams do not fit: said, not cut */
    unmake(&made);
}

static void test_untouched(void) {
    /* SPARSE has one page of 256 touched: runs of 1020 KiB that were not. */
    for (uint32_t how = 0; how < 3; how++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            for (int small_max = 0; small_max < 2; small_max++) {
                mdc_error err = {0};
                mdc_sink *sink = mdc_sink_memory_new(UINT64_C(1) << 32, &err);
                sink->sparse = sparse;
                mdc_engine_options options = {.dump_type = FULL, .untouched = how};
                if (small_max) options.sparse_max = 1 << 20;
                made_dump made;
                make_into(&made, &standard_target, &options, sink);
                made.data = mdc_sink_memory_data(sink, &made.size);
                check_rules(&made);
                bool holes = !small_max && (how == MDC_UNTOUCHED_HOLE || (how == MDC_UNTOUCHED_AUTO && sparse));
                CHECK(byte_in(&made, SPARSE + 0x1000) == (holes ? 0 : -1) && right(&made, SPARSE + 0x100000));
                CHECK(right(&made, SPARSE + 0x300FFF) && (made.size > 4 << 20) == holes);
                const mdc_report_region *region = &made.report->regions[2];
                CHECK(region->kept == 0x400000 && region->untouched == 0x3FC000 && region->stored == 0x4000);
                bool warns = small_max && (how == MDC_UNTOUCHED_HOLE || (how == MDC_UNTOUCHED_AUTO && sparse));
                CHECK(((made.report->warnings & MDC_WARN_NO_SPARSE) != 0) == warns);
                if (!holes) CHECK(info_starts_at(&made, SPARSE + 0x100000));
                CHECK(made.report->memory64_ranges == (holes ? 8 : 11)); /* one range, holes and all */
                for (size_t i = 1; i < made.report->extent_count; i++) {
                    const mdc_extent *extent = &made.report->extents[i];
                    bool joined = (extent->flags & MDC_EXTENT_JOINED) != 0;
                    if (extent->region == 2) CHECK(joined == (holes && extent->address != SPARSE));
                }
                if (!sparse && !small_max) keep_file(&made, how == 1 ? "untouched_hole" : "untouched_omit");
                unmake(&made);
            }
        }
    }
}

/* Short untouched runs are stored as zeros, without being read, and batched with their neighbours. */
static void test_short_runs(void) {
    for (uint32_t every = 1; every < 6; every++) {
        for (uint64_t buffer = 4096; buffer <= 1 << 20; buffer *= 16) {
            mdc_fake_region regions[8];
            memcpy(regions, standard_regions, sizeof regions);
            regions[2].touch_every = every;
            regions[1].unreadable_first = HEAP + 0x3000;
            regions[1].unreadable_end = HEAP + 0x4000;
            regions[2].unreadable_first = SPARSE + 0x1000 * (uint64_t)every;
            regions[2].unreadable_end = regions[2].unreadable_first + 1;
            mdc_fake_target target = standard_target;
            target.regions = regions;
            mdc_engine_options options = {.dump_type = FULL | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY,
                                          .buffer_bytes = buffer};
            made_dump made;
            make(&made, &target, &options);
            check_rules(&made);
            for (uint64_t page = 0; page < 256; page++) {
                uint64_t address = SPARSE + page * 0x1000 + page * 13 % 0x1000;
                int wanted = page == every ? -1 : page % every == 0 ? mdc_fake_byte(address, SEED) : 0;
                CHECK(byte_in(&made, address) == wanted);
            }
            CHECK(right(&made, FILE_MAP + 0x1000) && right(&made, STACK_B));
            unmake(&made);
        }
    }
}

/* Counts what reaches the source and the sink. */
typedef struct counting_source {
    mdc_source source;
    mdc_source *inner;
    uint64_t reads;
} counting_source;
static counting_source *counted; /* of the test that runs */
static const mdc_source_ops *inner_ops;
static uint64_t sink_writes;
static const mdc_sink_ops *sink_ops;

static mdc_status counting_read(mdc_source *source, const mdc_span *spans, size_t count, uint8_t *buffer, size_t *done,
                                int32_t *os_errno, mdc_error *err) {
    counted->reads++;
    return inner_ops->read(source, spans, count, buffer, done, os_errno, err);
}
static mdc_status counting_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    sink_writes++;
    return sink_ops->write(sink, data, size, err);
}

static void test_batching(void) {
    enum { MAPPINGS = 20000 };
    mdc_fake_region *many = calloc(MAPPINGS, sizeof *many);
    for (size_t i = 0; i < MAPPINGS; i++)
        many[i] = (mdc_fake_region){.base = 0x100000 + i * 0x2000,
                                    .size = 0x1000,
                                    .state = MDC_MEM_COMMIT,
                                    .protect = i % 2 ? RW : RO,
                                    .type = MDC_MEM_PRIVATE,
                                    .touch_every = 1};
    mdc_fake_target target = {.regions = many, .region_count = MAPPINGS, .seed = SEED};
    made_dump made = {0};
    mdc_control_init(&made.control, 0);
    counting_source source = {0};
    counted = &source;
    mdc_source *fake = mdc_fake_new(&target, &made.err);
    inner_ops = fake->ops;
    mdc_source_ops ops = *fake->ops;
    ops.read = counting_read;
    fake->ops = &ops;
    mdc_sink *sink = mdc_sink_memory_new(UINT64_C(1) << 32, &made.err);
    sink_ops = sink->ops;
    mdc_sink_ops counting_ops = *sink->ops;
    counting_ops.write = counting_write;
    sink->ops = &counting_ops;
    mdc_engine_options options = {.dump_type = FULL};
    mdc_dump *dump = mdc_dump_new(&options, fake, sink, &made.control, &made.err);
    CHECK(dump != NULL && mdc_dump_run(dump, &made.err) == MDC_OK);
    const mdc_report *report = mdc_dump_report(dump);
    CHECK(report->memory64_ranges == MAPPINGS && report->memory_info_count == MAPPINGS &&
          report->extent_count == MAPPINGS);
    CHECK(source.reads <= MAPPINGS / 256 + 2 && sink_writes <= MAPPINGS / 256 + 10); /* 256 pages fill the buffer */
    made.data = mdc_sink_memory_data(sink, &made.size);
    CHECK(right(&made, many[0].base) && right(&made, many[4000].base + 0xFFF));
    keep_file(&made, "many");
    mdc_progress progress = mdc_control_read(&made.control);
    CHECK(progress.bytes_done == progress.bytes_total && progress.bytes_total == MAPPINGS * UINT64_C(4096));
    mdc_dump_free(dump);
    fake->ops->free(fake);
    sink->ops->free(sink);
    free(many);
}

/* More stacks than Breakpad reads. */
static void test_many_stacks(void) {
    enum { THREADS = 5000 };
    mdc_fake_region *stacks = calloc(THREADS, sizeof *stacks);
    mdc_fake_thread *threads = calloc(THREADS, sizeof *threads);
    for (size_t i = 0; i < THREADS; i++) {
        stacks[i] = (mdc_fake_region){.base = 0x100000 + i * 0x3000,
                                      .size = 0x1000,
                                      .state = MDC_MEM_COMMIT,
                                      .protect = RW,
                                      .type = MDC_MEM_PRIVATE,
                                      .touch_every = 1};
        threads[i] = (mdc_fake_thread){.tid = (uint32_t)i + 1, .stack_pointer = stacks[i].base + 0x800};
    }
    mdc_fake_target target = {
        .regions = stacks, .region_count = THREADS, .threads = threads, .thread_count = THREADS, .seed = SEED};
    for (int full = 0; full < 2; full++) {
        mdc_engine_options options = {.dump_type = full ? FULL : MDC_TYPE_NORMAL};
        made_dump made;
        make(&made, &target, &options);
        CHECK(made.status == MDC_OK && made.report->memory_ranges == (full ? 0 : THREADS));
        CHECK(made.report->memory64_ranges == (full ? THREADS : 0));
        CHECK(((made.report->warnings & MDC_WARN_MANY_RANGES) != 0) == !full);
        CHECK((made.report->warnings & MDC_WARN_MANY_THREADS) != 0);
        CHECK(made.report->threads[0].stack_size == 0x1000 && made.report->threads[THREADS - 1].stack_size == 0x1000);
        keep_file(&made, full ? "stacks_full" : "stacks_normal");
        unmake(&made);
    }
    free(stacks);
    free(threads);
}

/* The part of a stack ends at the next thread's, at the limit, at a guard. */
static void test_stack_parts(void) {
    static const mdc_fake_thread threads[] = {{1, 0, STACK_A + 0x1010, 0, NULL},
                                              {2, 0, STACK_A + 0x8080, 0, NULL},
                                              {3, 0, STACK_A + 0x8800, 0, NULL},
                                              {4, 0, 0x1234, 0, NULL},
                                              {5, 1, 0, 0, NULL},
                                              {6, 0, VVAR + 0x100, 0, NULL},
                                              {7, 0, STACK_B + 0x10, 0, NULL},
                                              {8, 0, STACK_A + 0xFF80, 0, NULL}};
    mdc_fake_target target = standard_target;
    target.threads = threads;
    target.thread_count = 8;
    for (int limited = 0; limited < 2; limited++) {
        mdc_engine_options options = {.dump_type = MDC_TYPE_NORMAL, .stack_limit = limited ? 0x2000 : 0};
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        const mdc_report_thread *found = made.report->threads;
        /* SP - 128 of thread 1 lies in the page below; thread 2's exactly on the page. */
        CHECK(found[0].stack_base == STACK_A && found[0].stack_size == (limited ? 0x2000 : 0x8000));
        CHECK(found[1].stack_base == STACK_A + 0x8000 && found[1].stack_size == (limited ? 0x2000 : 0x7000));
        CHECK(found[2].stack_base == found[1].stack_base && found[2].stack_size == found[1].stack_size);
        CHECK(found[3].stack_size == 0 && found[5].stack_size == 0 && (found[5].flags & MDC_THREAD_NO_STACK) != 0);
        CHECK(found[4].stack_size == 0 && (found[4].flags & MDC_THREAD_NO_REGISTERS) != 0);
        CHECK(found[6].stack_base == STACK_B && found[6].stack_size == (limited ? 0x2000 : 0x8000));
        CHECK(found[7].stack_base == STACK_A + 0xF000 && found[7].stack_size == 0x1000);
        unmake(&made);
    }
}

static void test_empty(void) {
    mdc_fake_target target = {.seed = SEED};
    for (int full = 0; full < 2; full++) {
        mdc_engine_options options = {.dump_type = full ? FULL : MDC_TYPE_NORMAL};
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        /* A debugger engine does not start without a thread: a placeholder is in the list. */
        uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
        CHECK(u32_at(&made, list) == 1 && u32_at(&made, list + 4) == MDC_FILE_NO_THREAD);
        CHECK((made.report->warnings & MDC_WARN_NO_THREADS) != 0 && made.report->thread_count == 0);
        keep_file(&made, full ? "empty_full" : "empty_normal");
        unmake(&made);
    }
}

int main(void) {
    test_limit32();
    test_untouched();
    test_short_runs();
    test_batching();
    test_many_stacks();
    test_stack_parts();
    test_empty();
    return failures != 0;
}
