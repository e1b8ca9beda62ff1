/* Dumps between stacks and everything, of a fake target that is a Linux process: what bits of the type and answers
 * about optional regions add. */
#include "engine_check.h"

#define DATA (EXE + 0x3000u)
#define BSS (EXE + 0x4000u)
#define ARENA 0x700000u
#define LIB 0x60000000u

/* As standard_regions, with an executable that has .data and .bss, memory without a name, and a library. */
static const mdc_fake_region regions[] = {
    {EXE, 0x3000, MDC_MEM_COMMIT, RX, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/bin/fake", 0, 0, 0},
    {DATA, 0x1000, MDC_MEM_COMMIT, RW, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/bin/fake", 0, 0, 0},
    {BSS, 0x1000, MDC_MEM_COMMIT, RW, MDC_MEM_IMAGE, MDC_KIND_IMAGE | MDC_KIND_ANONYMOUS, 0, 1, NULL, 0, 0, 0},
    {HEAP, 0x8000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_HEAP | MDC_KIND_ANONYMOUS, 0, 1, "[heap]", 0, 0, 0},
    {ARENA, 0x4000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, NULL, 0, 0, 0},
    {FILE_MAP, 0x4000, MDC_MEM_COMMIT, RO, MDC_MEM_MAPPED, MDC_KIND_FILE, MDC_REGION_FILE, 1, "/tmp/data", 0, 0, 0},
    {VVAR, 0x2000, MDC_MEM_COMMIT, RO, MDC_MEM_PRIVATE, 0, MDC_REGION_NEVER_READ, 1, "[vvar]", 0, 0, 0},
    {STACK_A, 0x10000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, "[stack]", 0, 0, 0},
    {LIB, 0x2000, MDC_MEM_COMMIT, RX, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/lib/lib.so", 0, 0, 0},
    {LIB + 0x2000, 0x1000, MDC_MEM_COMMIT, RO, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/lib/lib.so", 0,
     0, 0},
};
static const mdc_fake_thread threads[] = {{4711, 0, STACK_A + 0xC010, EXE + 0x1234, "main"}};
static const mdc_fake_module modules[] = {{EXE, 0x5000, "/usr/bin/fake", {1}}, {LIB, 0x3000, "/usr/lib/lib.so", {2}}};
static const mdc_fake_target target = {
    regions, sizeof regions / sizeof regions[0], threads, 1, modules, 2, "fake --target", HEAP + 0x100, 0x80, SEED, 0,
    NULL};

static bool region_in(const made_dump *made, uint64_t base, uint64_t size) {
    return right(made, base) && right(made, base + size / 2) && right(made, base + size - 1);
}

static void test_bits(void) {
    const uint64_t data = MDC_TYPE_WITH_DATA_SEGS, code = MDC_TYPE_WITH_CODE_SEGS,
                   headers = MDC_TYPE_WITH_MODULE_HEADERS, private = MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY;
    const uint64_t bits[] = {0, data, code, headers, private, data | private, data | code | headers | private};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, bits[i], 0);
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        bool has_data = (bits[i] & data) != 0, has_code = (bits[i] & code) != 0, has_private = (bits[i] & private) != 0;
        bool has_headers = (bits[i] & headers) != 0;
        CHECK(u64_at(&made, 24) == bits[i] && made.report->honoured_type == bits[i]);
        CHECK(region_in(&made, DATA, 0x1000) == has_data && holds(&made, DATA + 0x800) == has_data);
        CHECK(region_in(&made, BSS, 0x1000) == has_data && holds(&made, BSS + 0x800) == has_data);
        CHECK(region_in(&made, EXE, 0x3000) == has_code && region_in(&made, LIB, 0x2000) == has_code);
        CHECK(region_in(&made, EXE, 0x1000) == (has_headers || has_code) && !holds(&made, LIB + 0x2000));
        CHECK(region_in(&made, HEAP, 0x8000) == has_private && holds(&made, HEAP + 0x4000) == has_private);
        CHECK(region_in(&made, ARENA, 0x4000) == has_private && region_in(&made, STACK_A, 0x10000) == has_private);
        CHECK(!holds(&made, FILE_MAP) && !holds(&made, VVAR));
        CHECK(made.report->gap_count == 0);
        unmake(&made);
    }
}

typedef struct seen {
    uint64_t asked;  /* questions about optional regions */
    uint64_t end_at; /* where the questions are ended */
    uint32_t heaps;  /* regions that are of that kind */
} seen;

/* Keeps the first two pages of the heap and of the file, and none of the rest; pieces stay. */
static int answer_optional(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    seen *what = self->data;
    if (in->CallbackType != MDC_CB_INCLUDE_VM_REGION) return -1;
    out->Region.Continue = 1;
    if ((in->u.RegionFacts.Flags & MDC_FACT_OPTIONAL) == 0) return 1;
    CHECK((in->u.RegionFacts.Flags & MDC_FACT_PIECE) == 0);
    uint64_t base = out->Region.VmRegion.BaseAddress;
    what->asked++;
    if ((in->u.RegionFacts.Kinds & MDC_KIND_HEAP) != 0) what->heaps++;
    if (base == what->end_at) {
        out->Region.Continue = 0;
        return 1;
    }
    bool first = base == HEAP || base == FILE_MAP || base == STACK_A;
    out->Region.VmRegion.RegionSize = first ? 0x2000 : 0;
    return 1;
}

static void test_optional(void) {
    const uint32_t facts = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES;
    for (int way = 0; way < 4; way++) {
        seen what = {.end_at = way == 2 ? ARENA : 0};
        callee answers = {.answer = answer_optional, .data = &what};
        uint64_t type = way == 3 ? MDC_TYPE_WITH_FULL_MEMORY : 0;
        mdc_engine_options options = options_for(&answers, type, way == 0 ? facts : facts | MDC_EXT_OPTIONAL);
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        bool asked = way == 1 || way == 2, full = way == 3;
        CHECK(what.asked == (way == 1 ? 12u : way == 2 ? 6u : 0u)); /* a kept part is followed by the rest */
        CHECK(way != 1 || what.heaps == 3); /* [heap], twice, and the memory without a name; not the stack */
        CHECK(region_in(&made, HEAP, 0x2000) == (asked || full) && holds(&made, HEAP + 0x2000) == full);
        CHECK(region_in(&made, FILE_MAP, 0x2000) == (way == 1 || full) && holds(&made, FILE_MAP + 0x2000) == full);
        CHECK(holds(&made, ARENA) == full && holds(&made, LIB) == full);
        CHECK(region_in(&made, STACK_A, 0x2000) == (way == 1 || full) && right(&made, STACK_A + 0xC010));
        CHECK(!holds(&made, VVAR));
        unmake(&made);
    }
}

/* A callee that ends the questions gets what the dump has anyway, and no more. */
static int end_at_once(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    (void)out;
    return in->CallbackType == MDC_CB_INCLUDE_VM_REGION ? 0 : -1;
}

static void test_ended(void) {
    callee answers = {.answer = end_at_once};
    mdc_engine_options options = options_for(&answers, 0, MDC_EXT_REGION_FACTS | MDC_EXT_PIECES | MDC_EXT_OPTIONAL);
    made_dump made;
    make(&made, &target, &options);
    check_rules(&made);
    CHECK(answers.calls[MDC_CB_INCLUDE_VM_REGION] == 1);
    CHECK(!holds(&made, HEAP) && !holds(&made, FILE_MAP) && right(&made, STACK_A + 0xC010));
    unmake(&made);
}

/* What is optional and what was added, removed or asked for by the type is in the dump once. */
static int add_and_remove(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == MDC_CB_INCLUDE_VM_REGION) {
        out->Region.Continue = 1;
        return 1;
    }
    if (in->CallbackType != MDC_CB_MEMORY && in->CallbackType != MDC_CB_REMOVE_MEMORY) return -1;
    if (self->calls[in->CallbackType] > 1) return 0;
    bool add = in->CallbackType == MDC_CB_MEMORY;
    out->Memory.MemoryBase = add ? HEAP + 0x1234 : HEAP + 0x5678;
    out->Memory.MemorySize = add ? 0x1000 : 0x321;
    return 1;
}

static void test_overlaps(void) {
    callee answers = {.answer = add_and_remove};
    mdc_engine_options options = options_for(&answers, MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY,
                                             MDC_EXT_REGION_FACTS | MDC_EXT_PIECES | MDC_EXT_OPTIONAL);
    made_dump made;
    make(&made, &target, &options);
    check_rules(&made); /* no range overlaps another */
    for (uint64_t at = HEAP; at < HEAP + 0x8000; at += 0x7B)
        CHECK(right(&made, at) == (at < HEAP + 0x5678 || at >= HEAP + 0x5678 + 0x321));
    CHECK(right(&made, FILE_MAP + 0x3FFF) && right(&made, LIB) && right(&made, STACK_A) && !holds(&made, VVAR));
    unmake(&made);
}

/* ---- what threads point to ---- */

static void test_cap(void) {
    const uint64_t caps[] = {0, 0x400, 0x3FF, 0x7FF, 0x2000};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, 0, 0);
        made_dump plain, made;
        make(&plain, &target, &options);
        options.dump_type = MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY;
        options.referenced_max = caps[i];
        make(&made, &target, &options);
        check_rules(&made);
        uint64_t more = made.report->memory_bytes - plain.report->memory_bytes;
        CHECK(caps[i] == 0 || more <= caps[i]);
        unmake(&made);
        unmake(&plain);
    }
}

static uint32_t module_count(const made_dump *made) { return u32_at(made, stream_at(made, 4, NULL)); }

static int leave_out_unmarked(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != MDC_CB_MODULE) return -1;
    self->number |= (uint64_t)out->ModuleWriteFlags << (in->u.Module.BaseOfImage == EXE ? 0 : 32);
    if ((out->ModuleWriteFlags & MDC_MODULE_REFERENCED_BY_MEMORY) == 0) out->ModuleWriteFlags = 0;
    return 1;
}

static void test_scan(void) {
    for (int scan = 0; scan < 2; scan++) {
        callee answers = {.answer = leave_out_unmarked};
        mdc_engine_options options = options_for(&answers, scan ? MDC_TYPE_SCAN_MEMORY : 0, 0);
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        /* The program counts always; a random stack does not point into the library. */
        CHECK(answers.number == (scan ? 0x1D | UINT64_C(0x0D) << 32 : 0x0D | UINT64_C(0x0D) << 32));
        CHECK(module_count(&made) == (uint32_t)scan);
        unmake(&made);
    }
}

static void test_without_optional_data(void) {
    for (int without = 0; without < 2; without++) {
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, without ? MDC_TYPE_WITHOUT_OPTIONAL_DATA : 0, 0);
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        CHECK(holds(&made, EXE + 0x1234) == !without && right(&made, STACK_A + 0xC010));
        unmake(&made);
    }
}

static bool string_is(const made_dump *made, uint64_t rva, const char *text) {
    size_t length = strlen(text);
    if (u32_at(made, rva) != 2 * length) return false;
    for (size_t i = 0; i < length; i++)
        if (made->data[rva + 4 + 2 * i] != (uint8_t)text[i]) return false;
    return true;
}

static void test_module_paths(void) {
    const uint64_t types[] = {0, MDC_TYPE_FILTER_MODULE_PATHS, MDC_TYPE_FILTER_TRIAGE};
    for (size_t i = 0; i < 3; i++) {
        callee answers = {.answer = NULL};
        mdc_engine_options options = options_for(&answers, types[i], 0);
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        uint64_t list = stream_at(&made, 4, NULL);
        CHECK(string_is(&made, u32_at(&made, list + 4 + 20), i == 0 ? "/usr/bin/fake" : "fake"));
        CHECK(string_is(&made, u32_at(&made, list + 4 + 108 + 20), i == 0 ? "/usr/lib/lib.so" : "lib.so"));
        unmake(&made);
    }
}

int main(void) {
    test_bits();
    test_optional();
    test_ended();
    test_overlaps();
    test_cap();
    test_scan();
    test_without_optional_data();
    test_module_paths();
    return failures == 0 ? 0 : 1;
}
