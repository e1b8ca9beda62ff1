/* A fake target becomes a dump, Normal and full, and the dump gives back what was in the target. */
#include "engine_check.h"

static void test_full(void) {
    mdc_engine_options options = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_THREAD_INFO};
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    if (made.status == MDC_OK) {
        CHECK(right(&made, EXE) && right(&made, EXE + 0x2FFF) && right(&made, HEAP + 0x7FFF));
        CHECK(right(&made, SPARSE) && byte_in(&made, SPARSE + 0x1000) <= 0);
        CHECK(right(&made, FILE_MAP + 0x1FFF) && !holds(&made, FILE_MAP + 0x2000));
        CHECK(!holds(&made, VVAR) && right(&made, STACK_A) && right(&made, STACK_A + 0xFFFF));
        CHECK(u32_at(&made, stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL)) == 2);
        CHECK(stream_at(&made, MDC_STREAM_TYPE_LINUX_ENVIRON, NULL) != 0);
        CHECK(made.data[stream_at(&made, MDC_STREAM_TYPE_LINUX_ENVIRON, NULL)] == mdc_fake_byte(HEAP + 0x100, SEED));
        CHECK(made.report->gap_count == 1 && made.report->gaps[0].address == FILE_MAP + 0x2000 &&
              made.report->gaps[0].reason == MDC_GAP_BEYOND_EOF && made.report->read_failed_gaps == 0);
    }
    keep_file(&made, "full");
    unmake(&made);
}

static void test_normal(void) {
    mdc_engine_options options = {.dump_type = MDC_TYPE_NORMAL};
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    if (made.status == MDC_OK) {
        found_range ranges[8];
        CHECK(memory_ranges(&made, ranges, 8) == 3 && stream_at(&made, MDC_STREAM_TYPE_MEMORY64_LIST, NULL) == 0);
        /* The windows of both threads overlap: one range, 12 bytes longer. */
        CHECK(ranges[0].address == EXE + 0x1234 - 128 && ranges[0].size == 256 + 12);
        CHECK(ranges[1].address == STACK_A + 0xB000 && ranges[1].size == 0x5000);
        CHECK(ranges[2].address == STACK_B + 0x2000 && ranges[2].size == 0x6000);
        CHECK(right(&made, STACK_A + 0xB000) && right(&made, STACK_B + 0x7FFF) && right(&made, EXE + 0x1234));
        CHECK(!holds(&made, HEAP) && !holds(&made, STACK_A + 0xAFFF));
    }
    keep_file(&made, "normal");
    unmake(&made);
}

int main(void) {
    test_full();
    test_normal();
    return failures != 0;
}
