/* What the engine makes of a target that is a Windows process, on any system: a fake one, told as a Windows source
 * would tell it. And streams of the caller, which go into every dump. */
#include "pe_target.h"

/* ---- modules, system, threads ---- */

static int see_items(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)out;
    if (in->CallbackType == MDC_CB_MODULE && in->u.Module.BaseOfImage == EXE) {
        const MINIDUMP_MODULE_CALLBACK *module = &in->u.Module;
        CHECK(module->CheckSum == 0xC0FFEE && module->TimeDateStamp == 0x5F000001);
        CHECK(module->VersionInfo.Signature == 0xFEEF04BD);
        CHECK(module->SizeOfCvRecord == sizeof rsds && memcmp(module->CvRecord, rsds, sizeof rsds) == 0);
        self->number |= 1;
    } else if (in->CallbackType == MDC_CB_MODULE) {
        CHECK(in->u.Module.CvRecord == NULL && in->u.Module.SizeOfCvRecord == 0);
    }
    if (in->CallbackType == MDC_CB_THREAD && in->u.Thread.ThreadId == 4712) {
        CHECK(in->u.Thread.ThreadHandle == (void *)(uintptr_t)0x44);
        CHECK(in->u.Thread.StackBase == STACK_B + 0x8000 && in->u.Thread.StackEnd == STACK_B + 0x2000);
        CHECK(in->u.Thread.Context[0] == 0x31);
        self->number |= 2;
    }
    return -1;
}

static void test_items(void) {
    for (int edited = 0; edited < 2; edited++) {
        disguise self = {.fake = NULL};
        size_t edits = 0;
        callee answers = {.answer = see_items};
        mdc_engine_options options = options_for(&answers, MDC_TYPE_WITH_FULL_MEMORY, 0);
        if (edited) options.edit = shout;
        options.edit_context = &edits;
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        check_rules(&made);
        CHECK(answers.number == 3);
        uint64_t at = stream_at(&made, MDC_STREAM_TYPE_MODULE_LIST, NULL) + 4;
        CHECK(u32_at(&made, at + 12) == 0xC0FFEE && u32_at(&made, at + 16) == 0x5F000001);
        CHECK(u32_at(&made, at + 24) == 0xFEEF04BD && u32_at(&made, at + 32) == 0x000A0001);
        CHECK(u32_at(&made, at + 76) == sizeof rsds && memcmp(made.data + u32_at(&made, at + 80), "RSDS", 4) == 0);
        CHECK(contains(&made, rsds, sizeof rsds) == !edited && contains(&made, "C:\\build\\XXXXXX-name", 20) == edited);
        CHECK(u32_at(&made, at + 108 + 76) == 0); /* the other module has none */
        at = stream_at(&made, MDC_STREAM_TYPE_SYSTEM_INFO, NULL);
        CHECK(made.data[at + 7] == 3 && u32_at(&made, at + 16 + 4) == 2 && u32_at(&made, at + 28) == 0x110);
        CHECK(u64_at(&made, at + 32) == UINT64_C(0x1122334455667788)); /* features, not a vendor */
        CHECK(u32_at(&made, u32_at(&made, at + 24)) == 0);             /* CSDVersion: there, and empty */
        CHECK(stream_at(&made, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, NULL) == 0);
        unmake(&made);
    }
}

static int no_contexts(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    if (in->CallbackType != MDC_CB_INCLUDE_THREAD || in->u.IncludeThread.ThreadId != 4712) return -1;
    out->ThreadWriteFlags &= ~(uint32_t)MDC_THREAD_WRITE_CONTEXT;
    return 1;
}

static void test_x86(void) {
    disguise self = {.fake = NULL};
    callee answers = {.answer = no_contexts};
    mdc_engine_options options = options_for(&answers, MDC_TYPE_NORMAL, 0);
    made_dump made;
    make_disguised(&made, &self, MDC_FILE_ARCH_X86, MDC_PLATFORM_WINDOWS, &options);
    CHECK(made.status == MDC_OK);
    uint64_t at = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL) + 4;
    CHECK(u32_at(&made, at + 40) == 716 && made.data[u32_at(&made, at + 44)] == 0x30);
    CHECK(u32_at(&made, at + 48 + 40) == 716 && u32_at(&made, u32_at(&made, at + 48 + 44)) == 0x10000);
    at = stream_at(&made, MDC_STREAM_TYPE_SYSTEM_INFO, NULL);
    CHECK(u64_at(&made, at + 32) != UINT64_C(0x1122334455667788)); /* a vendor, not features */
    unmake(&made);
}

/* ---- the Exception stream ---- */

#define RECORD (HEAP + 0x1000u)

static void put_exception(disguise *self, bool wide) {
    uint64_t record = RECORD + 0x40, context = RECORD + 0x100;
    uint32_t code = 0xC0000005u, flags = 1, many = 99;
    self->overlay = RECORD;
    memset(self->bytes, 0, sizeof self->bytes);
    if (wide) {
        uint64_t address = 0x7FF612345678u, chained = 0x77, first = 1, second = 0xBAD;
        memcpy(self->bytes, &record, 8);
        memcpy(self->bytes + 8, &context, 8);
        memcpy(self->bytes + 0x40 + 8, &chained, 8);
        memcpy(self->bytes + 0x40 + 16, &address, 8);
        memcpy(self->bytes + 0x40 + 24, &many, 4);
        memcpy(self->bytes + 0x40 + 32, &first, 8);
        memcpy(self->bytes + 0x40 + 40, &second, 8);
    } else {
        uint32_t address = 0x12345678, chained = 0x77, first = 1, second = 0xBAD;
        memcpy(self->bytes, &record, 4);
        memcpy(self->bytes + 4, &context, 4);
        memcpy(self->bytes + 0x40 + 8, &chained, 4);
        memcpy(self->bytes + 0x40 + 12, &address, 4);
        memcpy(self->bytes + 0x40 + 16, &many, 4);
        memcpy(self->bytes + 0x40 + 20, &first, 4);
        memcpy(self->bytes + 0x40 + 24, &second, 4);
    }
    memcpy(self->bytes + 0x40, &code, 4);
    memcpy(self->bytes + 0x44, &flags, 4);
    for (size_t i = 0; i < 1232; i++) self->bytes[0x100 + i] = (uint8_t)(i * 3 + 1);
}

static void check_exception(const made_dump *made, bool wide) {
    uint32_t size;
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_EXCEPTION, &size);
    CHECK(at != 0 && size == 168);
    if (at == 0) return;
    CHECK(u32_at(made, at) == 4711 && u32_at(made, at + 8) == 0xC0000005u && u32_at(made, at + 12) == 1);
    CHECK(u64_at(made, at + 16) == 0x77 && u32_at(made, at + 32) == 15); /* NumberParameters is hostile */
    CHECK(u64_at(made, at + 24) == (wide ? 0x7FF612345678u : 0x12345678u));
    CHECK(u64_at(made, at + 40) == 1 && u64_at(made, at + 48) == 0xBAD);
    CHECK(u32_at(made, at + 160) == (wide ? 1232 : 716));
    const uint8_t *context = made->data + u32_at(made, at + 164);
    bool same = true;
    for (size_t i = 0; i < (wide ? 1232 : 716); i++) same = same && context[i] == (uint8_t)(i * 3 + 1);
    CHECK(same);
    CHECK(made->report->omitted_streams == 0);
}

static mdc_engine_options options_with_exception(callee *self, uint64_t type, uint32_t extensions, uint64_t pointers) {
    mdc_engine_options options = options_for(self, type, extensions);
    options.exception = (mdc_exception_info){4711, 1, pointers};
    return options;
}

static void test_exception(void) {
    for (int i = 0; i < 4; i++) {
        bool wide = (i & 1) != 0;
        disguise self = {.fake = NULL};
        callee answers = {.answer = NULL};
        uint64_t type = (i & 2) != 0 ? MDC_TYPE_WITH_FULL_MEMORY : MDC_TYPE_NORMAL;
        mdc_engine_options options = options_with_exception(&answers, type, MDC_EXT_PIECES, RECORD);
        put_exception(&self, wide);
        made_dump made;
        make_disguised(&made, &self, wide ? MDC_FILE_ARCH_AMD64 : MDC_FILE_ARCH_X86, MDC_PLATFORM_WINDOWS, &options);
        CHECK(made.status == MDC_OK);
        check_exception(&made, wide);
        unmake(&made);
    }
}

/* Keeps nothing of the heap, where the exception is. */
static int no_heap(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    if (in->CallbackType != MDC_CB_INCLUDE_VM_REGION) return -1;
    uint64_t base = out->Region.VmRegion.BaseAddress;
    if (base >= HEAP && base < HEAP + 0x8000) out->Region.VmRegion.RegionSize = 0;
    out->Region.Continue = 1;
    return 1;
}

static int no_thread(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self, (void)out;
    return in->CallbackType == MDC_CB_INCLUDE_THREAD && in->u.IncludeThread.ThreadId == 4711 ? 0 : -1;
}

static void test_excluded_exception(void) {
    for (int i = 0; i < 4; i++) {
        disguise self = {.fake = NULL};
        callee answers = {.answer = i < 2 ? no_heap : i == 2 ? no_thread : NULL};
        uint64_t type = i == 0 ? MDC_TYPE_WITH_FULL_MEMORY : MDC_TYPE_NORMAL;
        mdc_engine_options options = options_with_exception(&answers, type, MDC_EXT_PIECES, RECORD);
        if (i == 3) options.omit_streams = MDC_STREAM_EXCEPTION;
        put_exception(&self, true);
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        CHECK(made.status == MDC_OK);
        CHECK(stream_at(&made, MDC_STREAM_TYPE_EXCEPTION, NULL) == 0);
        CHECK(made.report->omitted_streams == MDC_STREAM_EXCEPTION);
        CHECK(!contains(&made, self.bytes + 0x100, 1232) && self.overlay_reads == 0);
        unmake(&made);
    }
}

static void test_wrong_exception(void) {
    const struct {
        uint64_t pointers;
        uint32_t platform;
        int32_t client;
        uint64_t record; /* what EXCEPTION_POINTERS say */
    } wrong[] = {
        {RECORD, 0, 1, RECORD + 0x40},                      /* no Windows process */
        {0, MDC_PLATFORM_WINDOWS, 1, RECORD + 0x40},        /* no address */
        {0x10, MDC_PLATFORM_WINDOWS, 1, RECORD + 0x40},     /* nothing there */
        {UINT64_MAX - 3, MDC_PLATFORM_WINDOWS, 1, RECORD},  /* and none after it */
        {RECORD, MDC_PLATFORM_WINDOWS, 1, 0},               /* it leads to nothing */
        {RECORD, MDC_PLATFORM_WINDOWS, 1, UINT64_MAX - 20}, /* or beyond the end */
        {0x10, MDC_PLATFORM_WINDOWS, 0, RECORD},            /* in our own memory, where nothing is */
        {UINT64_MAX - 3, MDC_PLATFORM_WINDOWS, 0, RECORD},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        disguise self = {.fake = NULL};
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_with_exception(&answers, MDC_TYPE_NORMAL, 0, wrong[i].pointers);
        options.exception.client = wrong[i].client;
        put_exception(&self, true);
        memcpy(self.bytes, &wrong[i].record, 8);
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, wrong[i].platform, &options);
        CHECK(made.status == MDC_ERR_INVALID && made.size == 0 && strstr(made.err.message, "exception") != NULL);
        unmake(&made);
    }
}

static void test_own_exception(void) {
    disguise self = {.fake = NULL}, other = {.fake = NULL};
    callee answers = {.answer = NULL};
    put_exception(&self, true);
    uint64_t pointers[2] = {(uint64_t)(uintptr_t)(self.bytes + 0x40), (uint64_t)(uintptr_t)(self.bytes + 0x100)};
    mdc_engine_options options = options_with_exception(&answers, MDC_TYPE_NORMAL, 0, (uint64_t)(uintptr_t)pointers);
    options.exception.client = 0;
    made_dump made;
    make_disguised(&made, &other, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
    CHECK(made.status == MDC_OK);
    check_exception(&made, true);
    unmake(&made);
}

/* ---- streams of the caller ---- */

static void test_user_streams(void) {
    static const uint8_t first[] = "first stream", second[3000] = {7, [2999] = 9};
    mdc_user_stream streams[] = {
        {0x10000, 0, first, sizeof first}, {0x47670001, 0, second, sizeof second}, {0xFFFFFFFF, 0, NULL, 0}};
    for (int full = 0; full < 2; full++) {
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, full ? MDC_TYPE_WITH_FULL_MEMORY : MDC_TYPE_NORMAL, 0);
        options.user_streams = streams;
        options.user_stream_count = 3;
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        uint32_t size;
        uint64_t at = stream_at(&made, 0x10000, &size);
        CHECK(size == sizeof first && memcmp(made.data + at, first, size) == 0);
        at = stream_at(&made, 0x47670001, &size);
        CHECK(size == sizeof second && memcmp(made.data + at, second, size) == 0);
        CHECK(stream_at(&made, 0xFFFFFFFF, &size) != 0 && size == 0);
        unmake(&made);
        options.limit32 = 16384; /* what is below 4 GiB otherwise */
        static const uint8_t large[20000];
        streams[1].data = large;
        streams[1].size = sizeof large;
        make(&made, &standard_target, &options);
        CHECK(made.status == MDC_ERR_FORMAT);
        CHECK(made.sink->position == 0);
        unmake(&made);
        streams[1].data = second;
        streams[1].size = sizeof second;
    }
}

/* More streams than the engine has kinds of its own. */
static void test_many_user_streams(void) {
    static mdc_user_stream streams[4097];
    static const uint8_t byte = 5;
    for (uint32_t i = 0; i < 4097; i++) streams[i] = (mdc_user_stream){0x20000 + i, 0, &byte, 1};
    mdc_engine_options options = {.user_streams = streams, .user_stream_count = 500};
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    for (uint32_t i = 0; i < 500; i++) {
        uint32_t size;
        uint64_t at = stream_at(&made, 0x20000 + i, &size);
        CHECK(size == 1 && at < made.size && made.data[at] == 5);
    }
    unmake(&made);
    options.user_stream_count = 4097;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_ERR_INVALID);
    unmake(&made);
}

static void test_wrong_user_streams(void) {
    static const uint8_t byte = 1;
    const mdc_user_stream wrong[][2] = {
        {{0, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{3, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{0x10000, 0, &byte, 1}, {0xFFFF, 0, &byte, 1}},
        {{0x10000, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{MDC_STREAM_TYPE_GAPS, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{MDC_STREAM_TYPE_THREAD_POINTERS, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{MDC_STREAM_TYPE_LINUX_MAPS, 0, &byte, 1}, {0x10000, 0, &byte, 1}},
        {{0x10000, 0, &byte, UINT64_C(1) << 32}, {0x10001, 0, &byte, 1}},
        {{0x10000, 0, NULL, 1}, {0x10001, 0, &byte, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        mdc_engine_options options = {.user_streams = wrong[i], .user_stream_count = 2};
        made_dump made;
        make(&made, &standard_target, &options);
        CHECK(made.status == MDC_ERR_INVALID && strstr(made.err.message, "user stream") != NULL);
        CHECK(made.sink->position == 0);
        unmake(&made);
    }
    mdc_engine_options options = {.user_streams = NULL, .user_stream_count = 1};
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_ERR_INVALID);
    unmake(&made);
}

int main(void) {
    test_items();
    test_x86();
    test_exception();
    test_excluded_exception();
    test_wrong_exception();
    test_own_exception();
    test_user_streams();
    test_many_user_streams();
    test_wrong_user_streams();
    return failures == 0 ? 0 : 1;
}
