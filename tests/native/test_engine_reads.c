/* Callees that see or serve every read (17 to 20), and the hold-back window. */
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY, WINDOW_KEY = 24 };

static int own_reads(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    uint64_t n = self->number;
    if (in->CallbackType >= 16 && in->CallbackType <= 20) CHECK(in->ProcessId == 0);
    if (in->CallbackType == 17) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == 19) {
        MINIDUMP_VM_PRE_READ_CALLBACK read = in->u.VmPreRead;
        CHECK(out->VmRead.VmReadStatus == (int32_t)MDC_E_NOTIMPL && out->VmRead.VmReadBytesCompleted == 0);
        if (n == 1) { /* serves everything itself, and then sees no 20 */
            memset(read.Buffer, 0x5A, read.Size);
            out->VmRead.VmReadStatus = MDC_S_OK;
            out->VmRead.VmReadBytesCompleted = read.Size + 100; /* clamped */
            return 1;
        }
        if (n == 2) { /* a head; the engine reads on */
            memset(read.Buffer, 0x5A, 100);
            out->VmRead.VmReadStatus = MDC_S_OK;
            out->VmRead.VmReadBytesCompleted = 100;
            return 1;
        }
        if (n == 7) { /* claims all, fills one byte: what the buffer held before must not pass for it */
            *(uint8_t *)read.Buffer = 0x5A;
            out->VmRead.VmReadStatus = MDC_S_OK;
            out->VmRead.VmReadBytesCompleted = read.Size;
            return 1;
        }
        if (n == 3 && read.Offset <= HEAP && HEAP < read.Offset + read.Size) { /* a failed read */
            out->VmRead.VmReadStatus = (int32_t)MDC_E_FAIL;
            return 1;
        }
        return 0;
    }
    if (in->CallbackType == 20) {
        MINIDUMP_VM_POST_READ_CALLBACK read = in->u.VmPostRead;
        CHECK(read.Completed == read.Size && read.Status == MDC_S_OK);
        for (uint32_t i = 0; i < read.Size && n != 2; i++)
            CHECK(((uint8_t *)read.Buffer)[i] == mdc_fake_byte(read.Offset + i, SEED));
        if (n == 4) return 1; /* TRUE untouched: every read fails */
        if (n == 5) {         /* scrubs */
            memset(read.Buffer, 0xEE, read.Size);
            out->VmRead.VmReadStatus = read.Status;
            out->VmRead.VmReadBytesCompleted = read.Completed;
            return 1;
        }
        if (n == 6) { /* half of it, each time */
            out->VmRead.VmReadStatus = MDC_S_OK;
            out->VmRead.VmReadBytesCompleted = read.Size > 1 ? read.Size / 2 : read.Size;
            return 1;
        }
        return 0;
    }
    return -1;
}

static void test_own_reads(void) {
    mdc_fake_region regions[8];
    memcpy(regions, standard_regions, sizeof regions);
    regions[2].flags = 0;
    regions[2].touch_every = 1;
    regions[2].size = 0x40000;
    mdc_fake_target target = standard_target;
    target.regions = regions;
    for (uint64_t n = 0; n < 8; n++) {
        callee self = {.answer = own_reads, .number = n};
        mdc_engine_options options = options_for(&self, FULL, 0);
        options.buffer_bytes = 0x4000;
        made_dump made;
        make(&made, &target, &options);
        check_rules(&made);
        int heap = byte_in(&made, HEAP + 50), later = byte_in(&made, HEAP + 0x7FFF);
        int real = mdc_fake_byte(HEAP + 50, SEED), real_later = mdc_fake_byte(HEAP + 0x7FFF, SEED);
        if (n == 0 || n == 6) CHECK(heap == real && later == real_later);
        if (n == 1) CHECK(heap == 0x5A && later == 0x5A && self.calls[20] == 0);
        if (n == 2) CHECK(heap == 0x5A && byte_in(&made, HEAP + 100) == mdc_fake_byte(HEAP + 100, SEED));
        if (n == 3)
            CHECK(heap == -1 && byte_in(&made, HEAP + 0x1000) == mdc_fake_byte(HEAP + 0x1000, SEED) &&
                  self.calls[14] >= 1);
        if (n == 4) CHECK(heap != real && later != real_later && self.calls[14] > 50);
        if (n == 5) CHECK(heap == 0xEE && later == 0xEE);
        for (uint64_t i = 0; n == 7 && i < 0x8000; i++) {
            int byte = byte_in(&made, HEAP + i);
            CHECK(byte == 0 || byte == 0x5A);
        }
        CHECK(self.calls[19] > 0 &&
              made.report->read_failed_gaps == (n == 3 || n == 4 ? made.report->gap_count - 1 : 0));
        uint64_t text = stream_at(&made, MDC_STREAM_TYPE_LINUX_ENVIRON, NULL); /* no way round */
        if (n == 5) CHECK(made.data[text] == 0xEE && made.data[text + 0x7F] == 0xEE);
        if (n == 4) CHECK(made.data[text] == 0);
        unmake(&made);
    }
}

/* Untouched memory is asked for: the callee may have some. */
static void test_untouched_is_asked(void) {
    callee self = {.answer = own_reads, .number = 1};
    mdc_engine_options options = options_for(&self, FULL, 0);
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    CHECK(byte_in(&made, SPARSE + 0x1000) == 0x5A && made.report->zero_bytes == 0);
    unmake(&made);
}

/* Looks for a key that lies across reads: every 20 sees the end of the one before again. */
static const uint64_t key_at[] = {HEAP + 0x1000 - 12, HEAP + 0x2000 - 1, HEAP + 0x2FF0, STACK_A + 0xB000 - 10,
                                  HEAP + 0x8000 - 24};
static int scrub_key(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == 17) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType != 20) return in->CallbackType == 19 || in->CallbackType == 18 ? 0 : -1;
    MINIDUMP_VM_POST_READ_CALLBACK read = in->u.VmPostRead;
    for (uint32_t i = 0; i < read.Completed; i++) { /* the content at Offset, except what was scrubbed before */
        uint8_t byte = ((uint8_t *)read.Buffer)[i];
        CHECK(byte == 0 || byte == mdc_fake_byte(read.Offset + i, SEED));
    }
    out->VmRead.VmReadStatus = read.Status;
    out->VmRead.VmReadBytesCompleted = read.Completed;
    for (uint32_t at = 0; at + WINDOW_KEY <= read.Completed; at++)
        for (size_t k = 0; k < sizeof key_at / sizeof key_at[0]; k++)
            if (read.Offset + at == key_at[k]) memset((uint8_t *)read.Buffer + at, 0, WINDOW_KEY);
    self->number++;
    return 1;
}

static void test_hold_back(void) {
    for (int hold = 0; hold < 2; hold++) {
        callee self = {.answer = scrub_key};
        mdc_engine_options options = options_for(&self, FULL, hold ? MDC_EXT_HOLD_BACK : 0);
        options.buffer_bytes = 4096;
        options.hold = WINDOW_KEY - 1;
        options.omit_streams = MDC_STREAM_ENVIRON;
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        for (size_t k = 0; k < sizeof key_at / sizeof key_at[0]; k++) {
            bool gone = true;
            for (uint64_t i = 0; i < WINDOW_KEY; i++) gone = gone && byte_in(&made, key_at[k] + i) == 0;
            /* Without hold-back only keys inside one page are seen. With it, also the one across the parts of a stack,
             * which are in two places of the file. */
            CHECK(gone == (k == 4 || hold));
        }
        CHECK(right(&made, HEAP + 0x1000 - 13) && right(&made, HEAP + 0x100C) && right(&made, HEAP + 0x7FE0));
        CHECK(right(&made, STACK_A + 0xFFFF) && right(&made, SPARSE + 0x100FFF));
        unmake(&made);
    }
}

/* 18: the callee's own regions replace the list. What the source says must not be read stays so. */
static int query(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    static const MINIDUMP_MEMORY_INFO list[] = {
        {.BaseAddress = 0, .RegionSize = EXE, .State = MDC_MEM_FREE},
        {.BaseAddress = EXE, .RegionSize = 0x1000, .State = MDC_MEM_COMMIT, .Protect = RX, .Type = MDC_MEM_IMAGE},
        {.BaseAddress = EXE + 0x1000, .RegionSize = VVAR - EXE - 0x1000, .State = MDC_MEM_FREE},
        {.BaseAddress = VVAR, .RegionSize = 0x2000, .State = MDC_MEM_COMMIT, .Protect = RO, .Type = MDC_MEM_PRIVATE},
    };
    if (in->CallbackType == 17) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == 18) {
        for (size_t i = 0; i < 4; i++) {
            if (in->u.VmQuery.Offset - list[i].BaseAddress >= list[i].RegionSize) continue;
            out->VmQuery.VmQueryStatus = MDC_S_OK;
            out->VmQuery.VmQueryResult = list[i];
            return 1;
        }
        out->VmQuery.VmQueryStatus = (int32_t)MDC_E_FAIL; /* no more */
        return 1;
    }
    (void)self;
    return in->CallbackType == 19 || in->CallbackType == 20 ? 0 : -1;
}

static void test_query(void) {
    callee self = {.answer = query};
    mdc_engine_options options = options_for(&self, FULL, 0);
    made_dump made;
    make(&made, &standard_target, &options);
    check_rules(&made);
    CHECK(self.calls[18] == 5 && made.report->region_count == 2 && made.report->memory_info_count == 2);
    CHECK(right(&made, EXE) && !holds(&made, EXE + 0x1000) && !holds(&made, VVAR) && !holds(&made, HEAP));
    unmake(&made);
}

int main(void) {
    test_own_reads();
    test_untouched_is_asked();
    test_hold_back();
    test_query();
    return failures != 0;
}
