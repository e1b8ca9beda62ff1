/* What memory goes into a dump: what the callee keeps, byte for byte and no byte more. */
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY };

/* ---- full dumps: 10 ---- */

static int narrow(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 10) return -1;
    MINIDUMP_MEMORY_INFO *region = &out->Region.VmRegion;
    out->Region.Continue = 1;
    if (region->BaseAddress == EXE) region->RegionSize = 0;
    if (region->BaseAddress == HEAP) { /* keep [1, 3), and of the rest [5, end) */
        region->BaseAddress += 0x1000;
        region->RegionSize = 0x2000;
    } else if (region->BaseAddress == HEAP + 0x3000) {
        CHECK((self->number & MDC_EXT_RESUBMIT) != 0 && region->RegionSize == 0x5000);
        region->BaseAddress += 0x2000;
        region->RegionSize -= 0x2000;
    }
    if ((self->number & MDC_EXT_REGION_FACTS) != 0) {
        const mdc_region_facts *facts = &in->u.RegionFacts;
        CHECK(facts->Size == sizeof *facts && facts->Version == 1);
        if (region->BaseAddress >= HEAP && region->BaseAddress < SPARSE)
            CHECK(facts->MappingBase == HEAP && facts->MappingSize == 0x8000);
        if (facts->MappingBase == HEAP) CHECK(facts->NameSize == 6 && memcmp(facts->Name, "[heap]", 6) == 0);
        if (facts->MappingBase == STACK_B) CHECK(facts->NameId == 0 && (facts->Kinds & MDC_KIND_STACK) != 0);
    }
    return 1;
}

static void test_narrow(void) {
    for (uint32_t extensions = 0; extensions < 4; extensions++) {
        callee self = {.answer = narrow, .number = extensions};
        mdc_engine_options options = options_for(&self, FULL, extensions);
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        bool again = (extensions & MDC_EXT_RESUBMIT) != 0;
        CHECK(!holds(&made, EXE) && !holds(&made, HEAP) && right(&made, HEAP + 0x1000) && right(&made, HEAP + 0x2FFF));
        CHECK(!holds(&made, HEAP + 0x3000) && !holds(&made, HEAP + 0x4FFF) && holds(&made, HEAP + 0x5000) == again);
        CHECK(right(&made, STACK_A + 0xC000));
        /* environ is in what was left out: so is the stream */
        CHECK(stream_at(&made, MDC_STREAM_TYPE_LINUX_ENVIRON, NULL) == 0);
        CHECK(made.report->omitted_streams == MDC_STREAM_ENVIRON);
        CHECK((made.report->regions[0].flags & MDC_REGION_EXCLUDED) != 0 && made.report->regions[0].kept == 0);
        CHECK((made.report->regions[1].flags & MDC_REGION_NARROWED) != 0);
        CHECK(made.report->regions[1].kept == (again ? 0x5000 : 0x2000) &&
              made.report->regions[1].stored == made.report->regions[1].kept);
        CHECK(info_starts_at(&made, EXE) && info_starts_at(&made, VVAR)); /* in MemoryInfoList all the same */
        for (size_t at = 0; at + 16 < made.size; at++) {                  /* and nowhere else in the file */
            uint8_t secret[16];
            for (size_t i = 0; i < 16; i++) secret[i] = mdc_fake_byte(HEAP + 0x100 + i, SEED);
            CHECK(memcmp(made.data + at, secret, 16) != 0);
        }
        keep_file(&made, again ? "narrow2" : "narrow");
        unmake(&made);
    }
}

static int stop_asking(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 10) return -1;
    out->Region.VmRegion.RegionSize = 0; /* the edit is not honoured without Continue */
    out->Region.Continue = self->number == 1 ? 0 : self->calls[10] == 1;
    return self->number == 1 ? 1 : self->calls[10] == 1;
}

static void test_stop_asking(void) {
    for (uint64_t n = 0; n < 2; n++) {
        callee self = {.answer = stop_asking, .number = n};
        mdc_engine_options options = options_for(&self, FULL, 0);
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        CHECK(self.calls[10] == (n == 1 ? 1 : 2) && holds(&made, EXE) == (n == 1));
        CHECK(right(&made, HEAP) && right(&made, STACK_A + 0xC000) && right(&made, FILE_MAP));
        unmake(&made);
    }
}

static void test_dontdump(void) {
    mdc_fake_region regions[8];
    memcpy(regions, standard_regions, sizeof regions);
    regions[1].flags |= MDC_REGION_DONTDUMP;
    mdc_fake_target target = standard_target;
    target.regions = regions;
    for (uint32_t how = 0; how < 3; how++) {
        for (int with_callee = 0; with_callee < 2; with_callee++) {
            callee self = {0};
            mdc_engine_options options = options_for(&self, FULL, MDC_EXT_REGION_FACTS);
            if (!with_callee) options.callback.CallbackRoutine = NULL;
            options.dontdump = how;
            made_dump made;
            make(&made, &target, &options);
            check_rules(&made);
            bool kept = how == MDC_DONTDUMP_IGNORE || (how == MDC_DONTDUMP_ASK && with_callee);
            CHECK(holds(&made, HEAP) == kept && (made.report->regions[1].flags & MDC_REGION_DONTDUMP) != 0);
            CHECK(with_callee == 0 || self.calls[10] == (how == MDC_DONTDUMP_HONOUR ? 5 : 6));
            unmake(&made);
        }
    }
}

/* ---- Normal dumps: 5, 9, pieces ---- */

static int add_and_remove(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    static const mdc_set_range added[] = {{HEAP + 0x101, HEAP + 0x203},
                                          {HEAP + 0x180, HEAP + 0x300},
                                          {SPARSE + 0xFF0, SPARSE + 0x1010},
                                          {VVAR, VVAR + 0x10},
                                          {STACK_A + 0xBFF0, STACK_A + 0xC100}};
    static const mdc_set_range removed[] = {
        {HEAP + 0x200, HEAP + 0x210}, {STACK_A + 0xC020, STACK_A + 0xC031}, {STACK_A + 0xB100, STACK_A + 0xB200}};
    uint32_t type = in->CallbackType;
    if (type == 10) {
        CHECK((in->u.RegionFacts.Flags & MDC_FACT_PIECE) != 0);
        out->Region.Continue = 1;
        uint64_t base = out->Region.VmRegion.BaseAddress;
        bool is_added = (in->u.RegionFacts.Flags & MDC_FACT_ADDED) != 0;
        bool environ_text = base == HEAP + 0x100;
        CHECK(environ_text || is_added == ((base >= HEAP && base < SPARSE + 0x2000) ||
                                           (base >= STACK_A + 0xBFF0 && base < STACK_A + 0xC100)));
        if (base == HEAP + 0x210) out->Region.VmRegion.RegionSize = 5;
        return 1;
    }
    const mdc_set_range *list = type == 5 ? added : removed;
    size_t count = type == 5 ? sizeof added / sizeof added[0] : sizeof removed / sizeof removed[0];
    if (type != 5 && type != 9) return -1;
    size_t i = self->calls[type] - 1;
    if (i >= count) return 0;
    out->Memory.MemoryBase = list[i].first;
    out->Memory.MemorySize = (uint32_t)(list[i].end - list[i].first);
    return 1;
}

static void test_add_and_remove(void) {
    for (int pieces = 0; pieces < 2; pieces++) {
        callee self = {.answer = add_and_remove};
        mdc_engine_options options = options_for(&self, MDC_TYPE_NORMAL, pieces ? MDC_EXT_PIECES : 0);
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        CHECK(!holds(&made, HEAP + 0x100) && right(&made, HEAP + 0x101) && right(&made, HEAP + 0x1FF));
        CHECK(!holds(&made, HEAP + 0x200) && !holds(&made, HEAP + 0x20F) && right(&made, HEAP + 0x210));
        CHECK(right(&made, HEAP + 0x214) && holds(&made, HEAP + 0x215) == !pieces && !holds(&made, HEAP + 0x300));
        CHECK(right(&made, SPARSE + 0xFFF) && byte_in(&made, SPARSE + 0x1000) == 0 && !holds(&made, SPARSE + 0x1010));
        CHECK(!holds(&made, VVAR)); /* never read, no gap */
        CHECK(right(&made, STACK_A + 0xC01F) && !holds(&made, STACK_A + 0xC020) && !holds(&made, STACK_A + 0xC030));
        CHECK(right(&made, STACK_A + 0xC031) && right(&made, STACK_A + 0xFFFF) && made.report->gap_count == 0);
        CHECK((self.calls[10] > 0) == pieces);
        uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
        uint64_t stack = u64_at(&made, list + 4 + 24), size = u32_at(&made, list + 4 + 32);
        CHECK(holds(&made, STACK_A + 0xB0FF) && !holds(&made, STACK_A + 0xB1FF));
        if (!pieces) CHECK(stack == STACK_A + 0xB200 && stack + size == STACK_A + 0xC020); /* the range that holds SP */
        keep_file(&made, pieces ? "pieces" : "added");
        unmake(&made);
    }
}

static int add_missing(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == 5 && self->calls[5] == 1) {
        out->Memory.MemoryBase = HEAP + 0x7F00;
        out->Memory.MemorySize = 0x300; /* 0x200 after the end of the heap */
        return 1;
    }
    if (in->CallbackType == 14 && self->number == 1) {
        CHECK(in->u.ReadMemoryFailure.Offset == HEAP + 0x8000 && in->u.ReadMemoryFailure.Bytes == 0x200);
        return 1; /* TRUE without S_OK does not tolerate */
    }
    return -1;
}

static int remove_environ(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != 9 || self->calls[9] > 1) return -1;
    out->Memory.MemoryBase = HEAP + 0x17F; /* its last byte */
    out->Memory.MemorySize = (uint32_t)self->number;
    return 1;
}

static void test_remove_text(void) {
    for (uint64_t size = 0; size < 2; size++) {
        callee self = {.answer = remove_environ, .number = size};
        mdc_engine_options options = options_for(&self, MDC_TYPE_NORMAL, 0);
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        CHECK((stream_at(&made, MDC_STREAM_TYPE_LINUX_ENVIRON, NULL) == 0) == (size == 1));
        CHECK(made.report->omitted_streams == (size == 1 ? MDC_STREAM_ENVIRON : 0));
        unmake(&made);
    }
}

static void test_add_missing(void) {
    for (uint64_t n = 0; n < 2; n++) {
        callee self = {.answer = add_missing, .number = n};
        mdc_engine_options options = options_for(&self, MDC_TYPE_NORMAL, 0);
        made_dump made;
        make(&made, &standard_target, &options);
        CHECK(made.status == (n == 0 ? MDC_OK : MDC_ERR_READ) && self.calls[14] == 1);
        if (n == 0) {
            check_rules(&made);
            CHECK(right(&made, HEAP + 0x7FFF) && made.report->read_failed_gaps == 1);
            CHECK(made.report->gaps[0].address == HEAP + 0x8000 && made.report->gaps[0].size == 0x200);
        } else {
            CHECK(made.err.hresult == MDC_E_PARTIAL_COPY && made.err.address == HEAP + 0x8000);
        }
        unmake(&made);
    }
}

/* ---- threads and modules ---- */

static int trim_items(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    uint32_t type = in->CallbackType;
    if (type == 3 && in->u.IncludeThread.ThreadId == 4712 && self->number == 0) return 0;
    if (type == 1 && in->u.Thread.ThreadId == 4712) {
        if (self->number == 1) out->ThreadWriteFlags &= ~1u;
        if (self->number == 2) return 0;
        if (self->number == 3) out->ThreadWriteFlags &= ~(uint32_t)MDC_THREAD_WRITE_STACK;
        if (self->number == 4) out->ThreadWriteFlags &= ~(uint32_t)MDC_THREAD_WRITE_CONTEXT;
        if (self->number == 5) out->ThreadWriteFlags |= 0xFFFFFFFF;
    }
    if (type == 0 && in->u.Module.BaseOfImage == EXE) {
        if (self->number == 0) out->ModuleWriteFlags &= ~(uint32_t)MDC_MODULE_WRITE_CV_RECORD;
        if (self->number == 1) return 0;
    }
    if (type == 4 && in->u.IncludeModule.BaseOfImage == EXE && self->number == 2) return 0;
    return -1;
}

static void test_items(void) {
    for (uint64_t n = 0; n < 6; n++) {
        for (int full = 0; full < 2; full++) {
            callee self = {.answer = trim_items, .number = n};
            mdc_engine_options options = options_for(&self, full ? FULL : MDC_TYPE_NORMAL, 0);
            made_dump made;
            make(&made, &standard_target, &options);
            check_rules(&made);
            uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL), second = list + 4 + 48;
            CHECK(u32_at(&made, list) == (n < 3 ? 1 : 2) && self.calls[1] == (n == 0 ? 1 : 2));
            bool no_stack = n <= 3;
            if (n >= 3) {
                CHECK((u32_at(&made, second + 32) == 0) == no_stack && (u32_at(&made, second + 36) == 0) == no_stack);
                uint32_t context = u32_at(&made, second + 44);
                CHECK((u64_at(&made, context + 152) == 0) == (n == 4)); /* Rsp */
                CHECK(u32_at(&made, context + 48) == (n == 4 ? 0x100000u : 0x100003u));
            }
            CHECK(holds(&made, STACK_B + 0x2F40) == (full || !no_stack));
            uint64_t modules = stream_at(&made, MDC_STREAM_TYPE_MODULE_LIST, NULL);
            CHECK(u32_at(&made, modules) == (n == 1 || n == 2 ? 1 : 2));
            if (n == 0) CHECK(u32_at(&made, modules + 4 + 76) == 0);
            if (n == 5)
                CHECK(u32_at(&made, modules + 4 + 76) == 24 &&
                      u32_at(&made, u32_at(&made, modules + 4 + 80)) == MDC_FILE_CV_ELF);
            if (n == 4) keep_file(&made, full ? "nocontext_full" : "nocontext");
            if (n == 3) keep_file(&made, "nostack");
            unmake(&made);
        }
    }
}

int main(void) {
    test_narrow();
    test_stop_asking();
    test_dontdump();
    test_add_and_remove();
    test_add_missing();
    test_remove_text();
    test_items();
    return failures != 0;
}
