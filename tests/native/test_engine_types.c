/* Bits of the dump type: honoured, offered to the callee and claimed by the header, or nothing of these. And what they
 * put into the dump of a target that is a Windows process, on any system: a fake one. */
#include "pe_target.h"

/* ---- bits of the dump type ---- */

#define EVERY_BIT 0x07FFFFFFu
#define ADDS                                                                                                           \
    (MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_HANDLE_DATA | MDC_TYPE_WITH_UNLOADED_MODULES |                            \
     MDC_TYPE_WITH_PROCESS_THREAD_DATA | MDC_TYPE_WITH_CODE_SEGS)

static int see_flags(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == MDC_CB_INCLUDE_MODULE || in->CallbackType == MDC_CB_MODULE)
        self->number |= out->ModuleWriteFlags;
    if (in->CallbackType == MDC_CB_INCLUDE_THREAD || in->CallbackType == MDC_CB_THREAD)
        self->number |= (uint64_t)out->ThreadWriteFlags << 32;
    return -1;
}

/* A bit is honoured, offered to the callee and claimed by the header, or nothing of these, and the report says so. */
static void check_bit(uint64_t bit, uint64_t told, bool full) {
    static const uint64_t offered[][2] = {
        {MDC_TYPE_WITH_DATA_SEGS, MDC_MODULE_WRITE_DATA_SEG},
        {MDC_TYPE_WITH_CODE_SEGS, MDC_MODULE_WRITE_CODE_SEGS},
        {MDC_TYPE_WITH_PROCESS_THREAD_DATA, (uint64_t)MDC_THREAD_WRITE_THREAD_DATA << 32},
        {MDC_TYPE_WITH_THREAD_INFO, (uint64_t)MDC_THREAD_WRITE_THREAD_INFO << 32}};
    const uint64_t always = MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO | MDC_TYPE_WITH_THREAD_INFO |
                            MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY | MDC_TYPE_SCAN_MEMORY |
                            MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY | MDC_TYPE_FILTER_MODULE_PATHS |
                            MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY | MDC_TYPE_FILTER_TRIAGE |
                            (full ? 0 : MDC_TYPE_WITHOUT_OPTIONAL_DATA);
    const uint64_t memory = MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_PROCESS_THREAD_DATA |
                            MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY | MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY |
                            MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY | MDC_TYPE_WITH_MODULE_HEADERS;
    disguise self = {.types = told};
    callee answers = {.answer = see_flags};
    mdc_engine_options options = options_for(&answers, full ? bit | MDC_TYPE_WITH_FULL_MEMORY : bit, 0);
    made_dump made;
    make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
    check_rules(&made);
    bool full_now = full || bit == MDC_TYPE_WITH_FULL_MEMORY;
    bool contained = full_now && (bit & memory) != 0, honoured = !contained && (bit & (always | told)) != 0;
    uint64_t claimed = (full_now ? MDC_TYPE_WITH_FULL_MEMORY : 0) | (honoured ? bit : 0);
    if (bit == MDC_TYPE_FILTER_TRIAGE) claimed |= MDC_TYPE_FILTER_MODULE_PATHS;
    CHECK(u64_at(&made, 24) == claimed);
    uint64_t flags = bit == MDC_TYPE_SCAN_MEMORY ? MDC_MODULE_REFERENCED_BY_MEMORY : 0;
    uint64_t without =
        honoured && bit == MDC_TYPE_WITHOUT_OPTIONAL_DATA ? (uint64_t)MDC_THREAD_WRITE_INSTRUCTION_WINDOW << 32 : 0;
    for (size_t i = 0; honoured && i < sizeof offered / sizeof offered[0]; i++)
        if (offered[i][0] == bit) flags = offered[i][1];
    CHECK(answers.number == ((0x0D | UINT64_C(0x17) << 32 | flags) & ~without));
    CHECK(((made.report->warnings & MDC_WARN_TYPE) != 0) == (!honoured && !contained));
    CHECK((made.report->honoured_type & bit) == (honoured || contained ? bit : 0));
    unmake(&made);
}

static void test_every_bit(void) {
    for (uint64_t bit = 1; bit <= EVERY_BIT; bit <<= 1)
        for (int way = 0; way < 4; way++) check_bit(bit, (way & 1) != 0 ? ADDS : 0, (way & 2) != 0);
}

static void test_environment_blocks(void) {
    for (int asked = 0; asked < 2; asked++) {
        disguise self = {.types = asked ? ADDS : 0};
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, MDC_TYPE_WITH_PROCESS_THREAD_DATA, 0);
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        check_rules(&made);
        CHECK(right(&made, HEAP + 0x3000) == asked && right(&made, HEAP + 0x6FFF) == asked); /* two TEBs */
        CHECK(right(&made, HEAP + 0x7FFF) == asked &&
              !holds(&made, HEAP + 0x77FF)); /* the PEB, as far as it is there */
        CHECK(made.report->gap_count == 0);
        unmake(&made);
    }
}

static int leave_out_one(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    if (in->CallbackType != MDC_CB_MODULE || in->u.Module.BaseOfImage != EXE) return -1;
    out->ModuleWriteFlags &= ~(uint32_t)(MDC_MODULE_WRITE_DATA_SEG | MDC_MODULE_WRITE_CODE_SEGS);
    return 1;
}

static void test_sections(void) {
    for (int way = 0; way < 6; way++) {
        bool data = way % 3 != 1, code = way % 3 != 0, left_out = way >= 3;
        disguise self = {.types = ADDS};
        callee answers = {.answer = left_out ? leave_out_one : NULL};
        uint64_t type = (data ? MDC_TYPE_WITH_DATA_SEGS : 0) | (code ? MDC_TYPE_WITH_CODE_SEGS : 0);
        mdc_engine_options options = options_for(&answers, type, 0);
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        check_rules(&made);
        CHECK(right(&made, EXE + 0x1000) == (data && !left_out) && right(&made, EXE + 0x1122) == (data && !left_out));
        CHECK(right(&made, EXE + 0x2000) == (code && !left_out) && right(&made, EXE + 0x2455) == (code && !left_out));
        CHECK(!holds(&made, EXE + 0x1123) && !holds(&made, EXE + 0x2456));
        CHECK(right(&made, HEAP + 0x100) == data && right(&made, HEAP + 0x17F) == data && !holds(&made, HEAP + 0x180));
        unmake(&made);
    }
}

/* A stack word that points into memory that is not an image adds 0x100 bytes before and 0x300 after. */
static void test_referenced(void) {
    const struct {
        uint64_t points_at, first, end;
    } cases[] = {{HEAP + 0x4123, HEAP + 0x4023, HEAP + 0x4423},
                 {HEAP + 0x10, HEAP, HEAP + 0x310},
                 {HEAP + 0x7FFF, HEAP + 0x7EFF, HEAP + 0x8000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int asked = 0; asked < 2; asked++) {
            disguise self = {.types = ADDS, .overlay = STACK_B + 0x4000};
            memcpy(self.bytes + 0x48, &cases[i].points_at, sizeof cases[i].points_at);
            callee answers = {.answer = NULL};
            uint64_t type = asked ? MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY : 0;
            mdc_engine_options options = options_for(&answers, type, 0);
            made_dump made;
            make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
            check_rules(&made);
            CHECK(right(&made, cases[i].first) == asked && right(&made, cases[i].end - 1) == asked);
            CHECK(cases[i].first == HEAP || !holds(&made, cases[i].first - 1));
            CHECK(!holds(&made, cases[i].end));
            unmake(&made);
        }
}

static bool has_string(const made_dump *made, uint64_t rva, const char *text) {
    size_t length = strlen(text);
    if (rva == 0 || u32_at(made, rva) != 2 * length) return false;
    for (size_t i = 0; i < length; i++)
        if (made->data[rva + 4 + 2 * i] != (uint8_t)text[i]) return false;
    return true;
}

static void test_lists_of_windows(void) {
    for (int edited = 0; edited < 2; edited++) {
        disguise self = {.types = ADDS};
        size_t edits = 0;
        callee answers = {.answer = NULL};
        uint64_t type = MDC_TYPE_WITH_HANDLE_DATA | MDC_TYPE_WITH_UNLOADED_MODULES;
        mdc_engine_options options = options_for(&answers, type, 0);
        if (edited) options.edit = shout;
        options.edit_context = &edits;
        made_dump made;
        uint32_t size;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        check_rules(&made);
        uint64_t at = stream_at(&made, MDC_STREAM_TYPE_UNLOADED_MODULE_LIST, &size);
        CHECK(size == 12 + 24 && u32_at(&made, at) == 12 && u32_at(&made, at + 4) == 24 && u32_at(&made, at + 8) == 1);
        CHECK(u64_at(&made, at + 12) == 0x7000 && u32_at(&made, at + 20) == 0x3000 && u32_at(&made, at + 24) == 7);
        CHECK(u32_at(&made, at + 28) == 0x5F000002);
        CHECK(has_string(&made, u32_at(&made, at + 32), edited ? "XXXXXX.dll" : "hidden.dll"));
        at = stream_at(&made, MDC_STREAM_TYPE_HANDLE_DATA, &size);
        CHECK(size == 16 + 2 * 32 && u32_at(&made, at) == 16 && u32_at(&made, at + 4) == 32);
        CHECK(u32_at(&made, at + 8) == 2 && u64_at(&made, at + 16) == 0x44 && u64_at(&made, at + 48) == 0x48);
        CHECK(has_string(&made, u32_at(&made, at + 24), "Event"));
        CHECK(has_string(&made, u32_at(&made, at + 28), edited ? "XXXXXX-event" : "hidden-event"));
        CHECK(u32_at(&made, at + 32) == 2 && u32_at(&made, at + 36) == 0x1F0003 && u32_at(&made, at + 40) == 3);
        CHECK(u32_at(&made, at + 56) == 0 && u32_at(&made, at + 60) == 0);
        unmake(&made);
    }
}

static int no_power(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    if (in->CallbackType != MDC_CB_SECONDARY_FLAGS) return -1;
    out->SecondaryFlags = MDC_SECONDARY_WITHOUT_POWER_INFO;
    return 1;
}

static void test_misc(void) {
    for (int without = 0; without < 2; without++) {
        disguise self = {.types = 0};
        callee answers = {.answer = without ? no_power : NULL};
        mdc_engine_options options = options_for(&answers, MDC_TYPE_NORMAL, 0);
        made_dump made;
        uint32_t size;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, MDC_PLATFORM_WINDOWS, &options);
        uint64_t at = stream_at(&made, MDC_STREAM_TYPE_MISC_INFO, &size);
        CHECK(size == 832 && u32_at(&made, at) == 832);
        CHECK(u32_at(&made, at + 4) == (without ? 0x153u : 0x157u));
        CHECK(u32_at(&made, at + 24) == (without ? 0u : 2100u));
        CHECK(u32_at(&made, at + 44) == 0x3000 && u32_at(&made, at + 56) == 2 && made.data[at + 64] == 'G');
        CHECK(made.data[at + 232] == '6' && made.data[at + 250] == '1' && made.data[at + 252] == 0);
        CHECK(made.data[at + 752] == 'm' && made.data[at + 776] == 'i' && made.data[at + 778] == 0);
        unmake(&made);
    }
}

static int add_reserved(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == MDC_CB_READ_MEMORY_FAILURE) out->Status = MDC_S_OK;
    if (in->CallbackType != MDC_CB_MEMORY || self->number++ > 0) return in->CallbackType == MDC_CB_MEMORY ? 0 : -1;
    out->Memory.MemoryBase = STACK_B - 0x1000;
    out->Memory.MemorySize = 0x1000;
    return 1;
}

/* Memory of a Windows process that is reserved, and was to be added. */
static void test_added_reservation(void) {
    for (int windows = 0; windows < 2; windows++) {
        disguise self = {.types = 0};
        callee answers = {.answer = add_reserved};
        mdc_engine_options options = options_for(&answers, MDC_TYPE_NORMAL, 0);
        made_dump made;
        make_disguised(&made, &self, MDC_FILE_ARCH_AMD64, windows ? MDC_PLATFORM_WINDOWS : 0, &options);
        check_rules(&made);
        CHECK(made.report->gap_count == (size_t)windows);
        if (windows) CHECK(made.report->gaps[0].address == STACK_B - 0x1000 && made.report->gaps[0].size == 0x1000);
        unmake(&made);
    }
}

int main(void) {
    test_every_bit();
    test_environment_blocks();
    test_sections();
    test_referenced();
    test_lists_of_windows();
    test_misc();
    test_added_reservation();
    return failures == 0 ? 0 : 1;
}
