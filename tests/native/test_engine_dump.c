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

/* Modules that overlap, are longer than 4 GiB, or have odd names. */
static void test_modules(void) {
    char longer[3000];
    memset(longer, 'p', sizeof longer);
    memcpy(longer + sizeof longer - 8, "/end.so", 8);
    const mdc_fake_module modules[] = {{EXE, 0x1000000, "/usr/bin/fake", {1}},
                                       {EXE + 0x2000, 0x1000, "/odd\xFFname \xE2\x82\xAC", {0}},
                                       {0x100000000, 0x500000000, longer, {0}}};
    mdc_fake_target target = standard_target;
    target.modules = modules;
    target.module_count = 3;
    mdc_engine_options options = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY};
    made_dump made;
    make(&made, &target, &options);
    check_rules(&made);
    uint64_t list = stream_at(&made, MDC_STREAM_TYPE_MODULE_LIST, NULL) + 4;
    CHECK(u32_at(&made, list + 8) == 0x2000 && u32_at(&made, list + 108 + 8) == 0x1000);
    CHECK(u32_at(&made, list + 216 + 8) == 0xFFFFF000);
    uint64_t name = u32_at(&made, list + 108 + 20);
    CHECK(u32_at(&made, name) == 2 * 11 && u32_at(&made, name + 4 + 2 * 4) == ('n' << 16 | 0xFFFD));
    name = u32_at(&made, list + 216 + 20);
    CHECK(u32_at(&made, name) == 2 * 1024 && made.data[name + 4 + 2 * 1023] == 'o');
    keep_file(&made, "modules");
    unmake(&made);
}

static void test_options(void) {
    static const mdc_engine_options wrong[] = {
        {.untouched = 3}, {.dontdump = 3}, {.buffer_bytes = 4097}, {.limit32 = 1ull << 33}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        made_dump made;
        make(&made, &standard_target, &wrong[i]);
        CHECK(made.dump == NULL && made.status == MDC_ERR_INVALID);
        unmake(&made);
    }
    mdc_engine_options options = {0};
    made_dump made;
    make_into(&made, &standard_target, &options, NULL);
    CHECK(made.status == MDC_ERR_INVALID);
    unmake(&made);
}

static void test_misc(void) {
    for (uint32_t omit = 0; omit < 2; omit++) {
        mdc_engine_options options = {.dump_type = MDC_TYPE_WITH_THREAD_INFO | 0xFE000000,
                                      .omit_streams = omit ? MDC_STREAM_ALL : 0};
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        static const uint32_t optional[] = {17,         24,         0x47670003, 0x47670004,
                                            0x47670005, 0x47670006, 0x47670007, 0x47670009};
        for (size_t i = 0; i < 8; i++) CHECK((stream_at(&made, optional[i], NULL) == 0) == omit);
        uint32_t size;
        uint64_t misc = stream_at(&made, MDC_STREAM_TYPE_MISC_INFO, &size);
        CHECK(size == 832 && u32_at(&made, misc) == 832 && u32_at(&made, misc + 8) == 4711);
        CHECK((u32_at(&made, misc + 4) & 4) != 0 && u32_at(&made, misc + 24) == 2500); /* MHz */
        uint64_t names = stream_at(&made, MDC_STREAM_TYPE_THREAD_NAMES, NULL);
        if (!omit)
            CHECK(u32_at(&made, names) == 2 && u32_at(&made, names + 16) == 4712 &&
                  u32_at(&made, u32_at(&made, names + 20)) == 12);
        uint64_t infos = stream_at(&made, MDC_STREAM_TYPE_THREAD_INFO_LIST, &size);
        if (!omit) CHECK(size == 12 + 128 && u32_at(&made, infos + 12) == 4711 && u32_at(&made, infos + 4) == 64);
        unmake(&made);
    }
}

static int32_t MDC_CALL no_power(void *param, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)param;
    if (in->CallbackType == 15) out->SecondaryFlags = 0xFFFFFFFF;
    return in->CallbackType <= 4 || in->CallbackType == 15;
}

static void test_power_info(void) {
    mdc_engine_options options = {.callback = {no_power, NULL}};
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    uint64_t misc = stream_at(&made, MDC_STREAM_TYPE_MISC_INFO, NULL);
    CHECK((u32_at(&made, misc + 4) & 4) == 0 && u64_at(&made, misc + 24) == 0 && u64_at(&made, misc + 32) == 0);
    unmake(&made);
}

int main(void) {
    test_modules();
    test_options();
    test_misc();
    test_power_info();
    test_full();
    test_normal();
    return failures != 0;
}
