/* Hostile sources: link maps that loop and lists that lie, and every allocation failing once. */
#include "../../csrc/base/failpoint.h"
#include "bent_source.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY };

/* Program headers at 0, dynamic section at 0x200, r_debug at 0x400, link maps from 0x1000, names at 0x2000. */
static void build_linker(void) {
    memset(heap, 0, sizeof heap);
    put32(0, 6); /* PT_PHDR, linked at 0x40 and loaded at HEAP */
    put64(16, 0x40);
    put32(56, 2); /* PT_DYNAMIC */
    put64(56 + 16, 0x40 + 0x200);
    put64(56 + 40, 0x100);
    put64(0x200, 1);
    put64(0x210, 21); /* DT_DEBUG */
    put64(0x218, HEAP + 0x400);
    put32(0x400, 1);
    put64(0x408, HEAP + 0x1000);
    put64(0x410, 0xB4B4);
    put64(0x420, 0x1DBA5E);
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t map = 0x1000 + i * 0x100;
        put64(map, 0x7000000 + i);
        put64(map + 8, HEAP + 0x2000 + i * 0x20);
        put64(map + 16, 0x1D + i);
        put64(map + 24, i < 2 ? HEAP + map + 0x100 : 0);
        put64(map + 32, i > 0 ? HEAP + map - 0x100 : 0);
        memcpy(heap + 0x2000 + i * 0x20, "/lib/libx.so.0", 14);
        heap[0x2000 + i * 0x20 + 13] = (uint8_t)('0' + i);
    }
}

static uint32_t dso_count(const made_dump *made) {
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, NULL);
    return at == 0 ? 0 : u32_at(made, at + 8);
}

static int exclude_names(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 10) return -1;
    out->Region.Continue = 1;
    if (self->number == 0 && out->Region.VmRegion.BaseAddress == HEAP) out->Region.VmRegion.RegionSize = 0x2000;
    if (self->number == 1 && in->u.RegionFacts.MappingBase == HEAP && out->Region.VmRegion.BaseAddress >= HEAP + 0x2000)
        out->Region.VmRegion.RegionSize = 0;
    return 1;
}

static void test_link_map(void) {
    for (int full = 0; full < 2; full++) {
        build_linker();
        mdc_engine_options options = {.dump_type = full ? FULL : MDC_TYPE_NORMAL};
        made_dump made;
        make_bent(&made, &options);
        run_bent(&made);
        check_rules(&made);
        uint32_t size;
        uint64_t at = stream_at(&made, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, &size), map = u32_at(&made, at + 4);
        CHECK(dso_count(&made) == 3 && size == 40 + 3 * 16 && u64_at(&made, at + 16) == 0xB4B4);
        CHECK(u64_at(&made, at + 24) == 0x1DBA5E && u64_at(&made, at + 32) == HEAP + 0x200);
        CHECK(u64_at(&made, map + 24) == 0x7000001 && u64_at(&made, map + 24 + 16) == 0x1E);
        uint64_t name = u32_at(&made, map + 48 + 8);
        CHECK(u32_at(&made, name) == 28 && made.data[name + 4 + 26] == '2');
        keep_file(&made, full ? "dso_full" : "dso_normal");
        unmake(&made);
    }
}

static void test_link_map_excluded(void) {
    for (uint64_t normal = 0; normal < 2; normal++) {
        build_linker();
        callee self = {.answer = exclude_names, .number = normal};
        mdc_engine_options options = options_for(&self, normal ? MDC_TYPE_NORMAL : FULL, normal ? MDC_EXT_PIECES : 0);
        made_dump made;
        make_bent(&made, &options);
        run_bent(&made);
        check_rules(&made);
        CHECK(stream_at(&made, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, NULL) == 0);
        CHECK((made.report->omitted_streams & MDC_STREAM_DSO_DEBUG) != 0);
        unmake(&made);
    }
}

/* Each of these must end, and leave a sound dump; `count` objects are told. */
static void test_link_map_hostile(void) {
    static const struct {
        uint64_t at, value;
        uint32_t count;
    } cases[] = {
        {0x1000 + 24, HEAP + 0x1000, 1},  /* an entry that follows itself */
        {0x1200 + 24, HEAP + 0x1000, 3},  /* a loop */
        {0x1100 + 24, 0xDEAD0000, 2},     /* into nothing */
        {0x1000 + 8, UINT64_MAX - 3, 3},  /* a name at the end of the address space */
        {0x1000 + 8, HEAP + 0x7FF0, 3},   /* a name without a NUL before the end of the mapping */
        {0x408, 0, 0},                    /* no list */
        {0x408, UINT64_MAX - 8, 0},       /* a list that overflows */
        {0x218, 0, 0},                    /* no r_debug */
        {56 + 16, UINT64_MAX - 0x100, 0}, /* a dynamic section nowhere */
        {56 + 40, UINT64_MAX, 3},         /* of endless size */
        {16, 0x123456, 0},                /* a bias that points elsewhere */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        build_linker();
        memset(heap + 0x7FF0, 'x', 16);
        put64(cases[i].at, cases[i].value);
        mdc_engine_options options = {.dump_type = FULL};
        made_dump made;
        make_bent(&made, &options);
        run_bent(&made);
        check_rules(&made);
        CHECK(dso_count(&made) == cases[i].count);
        if (dso_count(&made) != cases[i].count) fprintf(stderr, "  case %zu: %" PRIu32 "\n", i, dso_count(&made));
        unmake(&made);
    }
    build_linker();
    for (uint64_t at = 0x1000; at + 0x28 <= 0x8000; at += 0x28) { /* as many as fit, well linked */
        memset(heap + at, 0, 0x28);
        put64(at + 24, HEAP + at + 0x28);
        put64(at + 32, at > 0x1000 ? HEAP + at - 0x28 : 0);
    }
    mdc_engine_options options = {.dump_type = FULL};
    made_dump made;
    make_bent(&made, &options);
    bent.auxv_phnum = UINT32_MAX;
    run_bent(&made);
    check_rules(&made);
    CHECK(dso_count(&made) == 0x7000 / 0x28);
    unmake(&made);
}

static void test_lists(void) {
    for (int n = 0; n < 12; n++) {
        mdc_engine_options options = {.dump_type = FULL};
        made_dump made;
        make_bent(&made, &options);
        mdc_region regions[8];
        mdc_thread threads[2];
        mdc_module modules[2];
        mdc_text text = {.stream = MDC_STREAM_ENVIRON, .address = UINT64_MAX - 8, .size = 16};
        memcpy(regions, bent.regions, sizeof regions);
        memcpy(threads, bent.threads, sizeof threads);
        memcpy(modules, bent.modules, sizeof modules);
        bent.regions = regions;
        bent.threads = threads;
        bent.modules = modules;
        if (n == 0) regions[1].size = 0;
        if (n == 1) regions[1].size += 1;
        if (n == 2) regions[2].base = regions[1].base;
        if (n == 3)
            regions[7].size = (UINT64_MAX - regions[7].base) & ~UINT64_C(0xFFF), regions[7].base += 0x10000000000000;
        if (n == 4) regions[3].valid_size = regions[3].size + 1;
        if (n == 5) regions[3].name_id = 1000;
        if (n == 6) threads[1].context = NULL;
        if (n == 7) threads[1].name.offset = 0xFFFFFFF0;
        if (n == 8) modules[1].build_id_size = 65;
        if (n == 9) modules[1].size = UINT64_MAX;
        if (n == 10) bent.texts = &text, bent.text_count = 1;
        if (n == 11) threads[0].context_size = 1 << 20;
        run_bent(&made);
        CHECK(made.status == MDC_ERR_FORMAT);
        unmake(&made);
    }
}

#ifdef MDC_FAILPOINTS
static void test_allocations(void) {
    for (int full = 0; full < 2; full++) {
        bool complete = false;
        for (int n = 1; n < 400 && !complete; n++) {
            char spec[32];
            mdc_engine_options options = {.dump_type = full ? FULL | MDC_TYPE_WITH_THREAD_INFO : MDC_TYPE_NORMAL};
            made_dump made;
            build_linker();
            make_bent(&made, &options);
            snprintf(spec, sizeof spec, "alloc:%d:12", n);
            mdc_failpoint_set(spec);
            run_bent(&made);
            mdc_failpoint_set("");
            complete = made.status == MDC_OK;
            CHECK(complete || made.status == MDC_ERR_NOMEM);
            uint64_t frozen;
            mdc_error err = {0};
            CHECK(inner->resume(made.source, &frozen, &err) == MDC_OK);
            CHECK(complete ? n > 15 : true);
            unmake(&made);
        }
        CHECK(complete);
    }
}

static void test_sink_fails(void) {
    static const char *const specs[] = {"write:chunk:1:28", "write:chunk:3:28", "write:patch:1:5", "sink:finish:1:28",
                                        "stop:thread:1:3"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        mdc_engine_options options = {.dump_type = FULL, .buffer_bytes = 4096};
        made_dump made;
        build_linker();
        make_bent(&made, &options);
        mdc_failpoint_set(specs[i]);
        run_bent(&made);
        mdc_failpoint_set("");
        CHECK(made.status == (i == 4 ? MDC_ERR_TARGET : MDC_ERR_SINK));
        if (made.status == MDC_OK) fprintf(stderr, "  %s\n", specs[i]);
        CHECK(atomic_load(&made.control.stopped) == 0);
        size_t size;
        const uint8_t *data = mdc_sink_memory_data(made.sink, &size);
        uint32_t signature = 0;
        if (size >= 4) memcpy(&signature, data, 4);
        CHECK(signature != MDC_FILE_SIGNATURE || i == 3); /* written last: before that, it is no dump */
        unmake(&made);
    }
}
#endif

static void test_abort(void) {
    mdc_engine_options options = {.dump_type = FULL, .buffer_bytes = 4096};
    made_dump made;
    make_bent(&made, &options);
    mdc_control_abort(&made.control, MDC_ABORT_DEADLINE);
    run_bent(&made);
    CHECK(made.status == MDC_ERR_DEADLINE);
    unmake(&made);
}

int main(void) {
    test_link_map();
    test_link_map_excluded();
    test_link_map_hostile();
    test_lists();
#ifdef MDC_FAILPOINTS
    test_allocations();
    test_sink_fails();
#endif
    test_abort();
    return failures != 0;
}
