/* The engine's side of the callback protocol: order, what the input holds, and that hostile answers end the dump. */
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY };

static int watch_input(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    static const uint8_t zero[sizeof *out];
    uint32_t type = in->CallbackType, entry = out->ThreadWriteFlags;
    (void)self;
    if (type == 7 || type == 11 || type == 16 || type == 17)
        CHECK(in->ProcessId == 0);
    else
        CHECK(in->ProcessId == 4711);
    if (type == 11 || type == 16 || type == 17)
        CHECK(entry == MDC_E_NOTIMPL);
    else if (type == 0 || type == 4)
        CHECK(entry == 0x0D);
    else if (type == 1 || type == 3)
        CHECK(entry == 0x17);
    else if (type != 10)
        CHECK(memcmp(out, zero, sizeof zero) == 0);
    if (type == 10) CHECK(out->Region.Continue == 0 && out->Region.VmRegion.RegionSize > 0);
    if (type == 1) {
        const MINIDUMP_THREAD_CALLBACK *thread = &in->u.Thread;
        bool first = thread->ThreadId == 4711;
        uint64_t sp;
        memcpy(&sp, thread->Context + 152, 8);
        CHECK(sp == (first ? STACK_A + 0xC010 : STACK_B + 0x2F40) && thread->SizeOfContext == MDC_CONTEXT_SIZE);
        CHECK(thread->StackBase == (first ? STACK_A + 0x10000 : STACK_B + 0x8000)); /* the high end */
        CHECK(thread->StackEnd == (first ? STACK_A + 0xB000 : STACK_B + 0x2000));
    }
    if (type == 0 && in->u.Module.BaseOfImage == EXE) {
        uint32_t signature = 0;
        memcpy(&signature, in->u.Module.CvRecord, 4);
        CHECK(signature == MDC_FILE_CV_ELF && in->u.Module.SizeOfCvRecord == 24 && in->u.Module.FullPath[1] == 'u');
    }
    memset(in, 0xAA, sizeof *in); /* what a callee leaves in the input must not come back */
    return -1;
}

static void test_order(void) {
    for (int full = 0; full < 2; full++) {
        callee self = {.answer = watch_input};
        mdc_engine_options options = options_for(&self, full ? FULL : MDC_TYPE_NORMAL, 0);
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        static const uint32_t begin[] = {16, 17, 11, 15, 6};
        static const uint32_t full_rest[] = {3, 3, 4, 4, 0, 0, 1, 1, 10, 10, 10, 10, 10, 10, 7};
        static const uint32_t normal_rest[] = {3, 3, 4, 4, 0, 0, 1, 1, 5, 9, 7};
        CHECK(memcmp(self.log, begin, sizeof begin) == 0);
        const uint32_t *rest = full ? full_rest : normal_rest;
        size_t wanted = full ? sizeof full_rest / 4 : sizeof normal_rest / 4, at = 0;
        for (uint32_t i = 5; i < self.logged; i++) {
            if (self.log[i] == 6) continue;
            CHECK(at < wanted && self.log[i] == rest[at]);
            at++;
        }
        CHECK(at == wanted && self.calls[6] > 8); /* Cancel for every item at least */
        for (int type = 0; type < 23 && made.report != NULL; type++)
            CHECK(made.report->calls[type] == self.calls[type]);
        unmake(&made);
    }
}

static int break_protocol(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    uint32_t type = in->CallbackType;
    uint64_t n = self->number;
    if (type == 10 && n < 8) {
        uint64_t *base = &out->Region.VmRegion.BaseAddress, *size = &out->Region.VmRegion.RegionSize;
        out->Region.Continue = 1;
        if (n == 0) *size += 0x1000;
        if (n == 1) *base -= 0x1000;
        if (n == 2) *base += 1;
        if (n == 3) *size -= 1;
        if (n == 4) *size = UINT64_MAX & ~UINT64_C(0xFFF);
        if (n == 5) *base += *size;
        if (n == 6) *base = 0;
        if (n == 7) *base += *size, *size = 0x1000;
        return 1;
    }
    if ((type == 5 && (n == 8 || n == 10)) || (type == 9 && (n == 9 || n == 11))) {
        out->Memory.MemoryBase = n < 10 ? UINT64_MAX - 10 : HEAP;
        out->Memory.MemorySize = 0x1000;
        return 1; /* 10 and 11: without an end */
    }
    if (type == 17 && n >= 12) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (type == 18 && n >= 12) {
        out->VmQuery.VmQueryStatus = MDC_S_OK;
        out->VmQuery.VmQueryResult = (MINIDUMP_MEMORY_INFO){.BaseAddress = in->u.VmQuery.Offset,
                                                            .RegionSize = n == 12   ? 0
                                                                          : n == 13 ? 0x1001
                                                                                    : 0x1000,
                                                            .State = MDC_MEM_FREE};
        if (n == 14) out->VmQuery.VmQueryResult.BaseAddress += 0x1000;
        return 1; /* 15: every page of the address space, one by one */
    }
    return -1;
}

static void test_hostile_answers(void) {
    static const int32_t types[] = {10, 10, 10, 10, 10, 10, 10, 10, 5, 9, 5, 9, 18, 18, 18, 18};
    for (uint64_t n = 0; n < 16; n++) {
        callee self = {.answer = break_protocol, .number = n};
        bool normal = types[n] == 5 || types[n] == 9;
        mdc_engine_options options = options_for(&self, normal ? MDC_TYPE_NORMAL : FULL, 0);
        options.answers_max = 100;
        made_dump made;
        make(&made, &standard_target, &options);
        CHECK(made.status == MDC_ERR_CALLBACK && made.err.code == MDC_ERR_CALLBACK);
        CHECK(made.err.callback_type == types[n] && made.err.hresult == MDC_E_INVALIDARG);
        if (made.status != MDC_ERR_CALLBACK) fprintf(stderr, "  case %d: %s\n", (int)n, made.err.message);
        CHECK(self.calls[7] == 0 && self.calls[types[n]] <= 101);
        size_t size;
        const uint8_t *data = mdc_sink_memory_data(made.sink, &size);
        uint32_t signature = 0;
        if (size >= 4) memcpy(&signature, data, 4);
        CHECK(signature != MDC_FILE_SIGNATURE); /* nothing that looks like a dump */
        unmake(&made);
    }
}

/* Cancel = TRUE at the nth question; with FALSE as the return value it does not count and ends the questions. */
static int cancel_at(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType != MDC_CB_CANCEL) return -1;
    out->Cancel.CheckCancel = 1;
    out->Cancel.Cancel = self->calls[6] == self->number;
    return self->data == NULL;
}

static void test_cancel(void) {
    uint32_t asked = 1;
    for (uint64_t n = 1; n <= asked + 1; n++) {
        callee self = {.answer = cancel_at, .number = n};
        mdc_engine_options options = options_for(&self, FULL, 0);
        options.buffer_bytes = 4096;
        made_dump made;
        make(&made, &standard_target, &options);
        asked = self.calls[6];
        CHECK(n > asked ? made.status == MDC_OK : made.status == MDC_ERR_CANCELLED);
        if (n <= asked) CHECK(made.err.hresult == MDC_E_CANCELLED && made.err.callback_type == 6);
        unmake(&made);
    }
    CHECK(asked > 50); /* per page of 4 KiB here */
    callee self = {.answer = cancel_at, .number = 1, .data = &self};
    mdc_engine_options options = options_for(&self, FULL, 0);
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_OK && self.calls[6] == 1);
    unmake(&made);
}

static int io_store(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    uint8_t *store = self->data;
    if (in->CallbackType == 11) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == 12) {
        CHECK(in->u.Io.Offset + in->u.Io.BufferBytes <= 8 << 20);
        memcpy(store + in->u.Io.Offset, in->u.Io.Buffer, in->u.Io.BufferBytes);
        if (in->u.Io.Offset + in->u.Io.BufferBytes > self->number)
            self->number = in->u.Io.Offset + in->u.Io.BufferBytes;
    }
    if (in->CallbackType != 12 && in->CallbackType != 13) return -1;
    out->Status = MDC_S_OK;
    return 1;
}

static void test_io(void) {
    callee self = {.answer = io_store, .data = calloc(1, 8 << 20)};
    mdc_engine_options options = options_for(&self, FULL | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY, 0);
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_OK && self.calls[13] == 1 && made.size == 0);
    made.data = self.data;
    made.size = (size_t)self.number;
    check_rules(&made);
    CHECK(right(&made, HEAP + 5) && right(&made, STACK_A + 0xC010));
    keep_file(&made, "io");
    unmake(&made);
    free(self.data);
}

static int offer_kernel(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == 7) out->Handle = self;
    if (in->CallbackType == 8) self->number = (uint32_t)in->u.Status;
    return in->CallbackType == 7 || in->CallbackType == 8 ? 1 : -1;
}

static void test_kernel_status(void) {
    callee self = {.answer = offer_kernel};
    mdc_engine_options options = options_for(&self, MDC_TYPE_NORMAL, 0);
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_OK && self.calls[8] == 1 && self.number == MDC_E_NOTIMPL);
    unmake(&made);
}

static void test_plan_only(void) {
    callee self = {.answer = watch_input};
    mdc_engine_options options = options_for(&self, FULL, 0);
    options.plan_only = 1;
    made_dump made;
    make(&made, &standard_target, &options);
    CHECK(made.status == MDC_OK && made.size == 0 && made.report->extent_count > 0 && self.calls[10] == 6);
    CHECK(self.calls[11] == 0 && self.calls[7] == 0 && made.report->memory_bytes > 0 && made.report->file_bytes > 0);
    unmake(&made);
}

int main(void) {
    test_order();
    test_hostile_answers();
    test_cancel();
    test_io();
    test_kernel_status();
    test_plan_only();
    return failures != 0;
}
