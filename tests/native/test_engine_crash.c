/* The signal of a Linux process: frames of our making on a stack, and what a hostile target puts there. */
#include "../../csrc/base/failpoint.h"
#include "../../csrc/format/amd64_context.h"
#include "../../csrc/format/linux_signal.h"
#include "bent_source.h"

enum {
    FULL = MDC_TYPE_WITH_FULL_MEMORY,
    XSTATE = 832, /* bytes of an XSAVE area with AVX */
    TID = 4711
};
#define FRAME 0x1008 /* in the heap: 8 above a multiple of 16 */
#define OUTER 0x3008
#define NO_SIGNAL MDC_DUMP_REQUESTED

/* A frame of a handler: of this signal, interrupted with this stack pointer. */
static void put_frame(uint64_t at, uint32_t signal, int32_t code, uint64_t sp, uint64_t fpstate) {
    uint64_t uc = at + 8;
    memset(heap + at, 0, MDC_SIGFRAME_BYTES);
    put64(at, EXE + 0x100);                                               /* the restorer */
    for (uint64_t i = 0; i < 16; i++) put64(uc + 40 + 8 * i, 0x1000 + i); /* r8 and so on */
    put64(uc + 160, sp);
    put64(uc + 168, EXE + 0x500);
    put64(uc + 176, 0x10246);
    put64(uc + 184, UINT64_C(0x002B000000000033));
    put64(uc + 200, signal == MDC_SIGFPE ? 0 : 14); /* of the exception: a page fault */
    put64(uc + 224, fpstate);
    put64(uc, 7);
    put32(at + MDC_SIGFRAME_SIGINFO, signal);
    put32(at + MDC_SIGFRAME_SIGINFO + 8, (uint32_t)code);
    put64(at + MDC_SIGFRAME_SIGINFO + 16, 0xFA017);
}

static void put_xstate(uint64_t at, uint32_t size) {
    memset(heap + at, 0x5A, XSTATE);
    put32(at + 464, 0x46505853);
    put32(at + 480, size);
    put64(at + 512, 7);
    put64(at + 520, 0);
}

static mdc_thread threads[2];

/* A dump of the thread, whose stack pointer is in the heap. */
static void make_crash(made_dump *made, const mdc_engine_options *options, uint64_t sp) {
    make_bent(made, options);
    memcpy(threads, bent.threads, sizeof threads);
    threads[0].stack_pointer = sp;
    bent.threads = threads;
    run_bent(made);
}

static uint64_t exception_at(const made_dump *made) { return stream_at(made, MDC_STREAM_TYPE_EXCEPTION, NULL); }

static uint64_t context_at(const made_dump *made) { return u32_at(made, exception_at(made) + 164); }

static mdc_engine_options search(void) {
    return (mdc_engine_options){.signal = {.thread_id = TID, .given = MDC_SIGNAL_SEARCH}};
}

static void expect_requested(const made_dump *made, uint32_t code, uint32_t flags, uint64_t address) {
    uint64_t at = exception_at(made);
    REQUIRE(made->status == MDC_OK && at != 0);
    CHECK(u32_at(made, at) == TID && u32_at(made, at + 8) == code && u32_at(made, at + 12) == flags);
    CHECK(u64_at(made, at + 24) == address);
}

static void test_given(void) {
    made_dump made;
    mdc_engine_options options = {
        .signal = {.thread_id = TID, .ucontext = HEAP + FRAME + 8, .siginfo = HEAP + FRAME + MDC_SIGFRAME_SIGINFO}};
    memset(heap, 0, sizeof heap);
    put_frame(FRAME, MDC_SIGSEGV, 2, STACK_A + 0x5678, HEAP + 0x2000);
    put_xstate(0x2000, XSTATE);
    make_crash(&made, &options, HEAP + 0x100);
    expect_requested(&made, MDC_SIGSEGV, 2, 0xFA017);
    uint64_t context = context_at(&made);
    CHECK(u32_at(&made, exception_at(&made) + 160) == MDC_AMD64_CONTEXT_SIZE);
    CHECK(u32_at(&made, context + 48) == 0x10000F); /* control, integer, segments, floating point */
    CHECK(u64_at(&made, context + 152) == STACK_A + 0x5678 && u64_at(&made, context + 248) == EXE + 0x500);
    CHECK(u64_at(&made, context + 256 + 160) == 0x5A5A5A5A5A5A5A5A);
    CHECK(u64_at(&made, context + 120 + 64) == 0x1000); /* r8 */
    unmake(&made);
    /* Numbers of the XSAVE area that cannot be: the FXSAVE image is there all the same. */
    static const uint32_t sizes[] = {0, 511, 575, 1 << 20, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        put_xstate(0x2000, sizes[i]);
        make_crash(&made, &options, HEAP + 0x100);
        expect_requested(&made, MDC_SIGSEGV, 2, 0xFA017);
        CHECK(u32_at(&made, context_at(&made) + 48) == 0x10000F);
        unmake(&made);
    }
    static const uint64_t places[] = {0, 1, HEAP + sizeof heap - 100, VVAR, UINT64_MAX - 10};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        put_frame(FRAME, MDC_SIGSEGV, 2, STACK_A + 0x5678, places[i]);
        make_crash(&made, &options, HEAP + 0x100);
        expect_requested(&made, MDC_SIGSEGV, 2, 0xFA017);
        CHECK(u32_at(&made, context_at(&made) + 48) == 0x100007);
        unmake(&made);
    }
}

static void test_wrong_places(void) {
    static const uint64_t places[] = {1,    VVAR,           SPARSE + 0x2000,   STACK_B - 0x1000,
                                      HEAP, UINT64_MAX - 7, HEAP + 0x8000 - 16};
    memset(heap, 0, sizeof heap);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        made_dump made;
        mdc_engine_options options = {.signal = {.thread_id = TID, .ucontext = places[i]}};
        make_crash(&made, &options, HEAP + 0x100);
        CHECK(made.status == MDC_ERR_INVALID && made.err.address == places[i]);
        unmake(&made);
    }
}

static void test_search(void) {
    made_dump made;
    mdc_engine_options options = search();
    memset(heap, 0, sizeof heap);
    make_crash(&made, &options, HEAP + 0x100);
    CHECK(made.status == MDC_ERR_INVALID && strstr(made.err.message, "no frame") != NULL);
    unmake(&made);
    /* Of a timer, then of the fault; then of the fault that was raised again in front of it. */
    put_frame(FRAME, 14, 128, HEAP + FRAME + 0x800, 0);
    put_frame(OUTER, MDC_SIGBUS, 3, STACK_A + 0x100, 0);
    make_crash(&made, &options, HEAP + 0x100);
    expect_requested(&made, MDC_SIGBUS, 3, 0xFA017);
    unmake(&made);
    put_frame(FRAME, MDC_SIGBUS, MDC_SI_TKILL, HEAP + FRAME + 0x800, 0);
    make_crash(&made, &options, HEAP + 0x100);
    expect_requested(&made, MDC_SIGBUS, 3, 0xFA017);
    unmake(&made);
    /* The outer one is of another signal: the inner one is what there is. */
    put_frame(OUTER, MDC_SIGFPE, 1, STACK_A + 0x100, 0);
    make_crash(&made, &options, HEAP + 0x100);
    expect_requested(&made, MDC_SIGBUS, (uint32_t)MDC_SI_TKILL, 0);
    unmake(&made);
    /* Frames that interrupt each other, or themselves. */
    static const uint64_t rings[] = {HEAP + 0x100, HEAP + FRAME, HEAP + FRAME + 8, 0, UINT64_MAX, STACK_A};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        put_frame(FRAME, 14, 128, HEAP + OUTER - 8, 0);
        put_frame(OUTER, 14, 128, rings[i], 0);
        put64(OUTER + 8 + 16, HEAP + 0x2000); /* an alternate stack, so that it may interrupt what is below */
        put64(OUTER + 8 + 32, 0x2000);
        make_crash(&made, &options, HEAP + 0x100);
        CHECK(made.status == MDC_ERR_INVALID);
        unmake(&made);
    }
}

/* Whatever is on the stack, the dump is written or the caller told what is wrong. */
static void test_noise(void) {
    uint64_t state = 12345;
    for (int round = 0; round < 400; round++) {
        for (size_t i = 0; i < sizeof heap; i += 8) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
            put64(i, state);
        }
        for (uint64_t at = FRAME; at + 0x300 < sizeof heap; at += 0x300) {
            put_frame(at, (uint32_t)(state >> 40 & 31), (int32_t)(state >> 50 & 7) - 3, HEAP + (state >> 20 & 0x7FFF),
                      HEAP + (state >> 8 & 0xFFFF));
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
            put64(at + (state >> 33 & 0x1F8), state); /* one word of it */
        }
        made_dump made;
        mdc_engine_options options = search();
        options.dump_type = (round & 1) != 0 ? FULL : 0;
        make_crash(&made, &options, HEAP + (state >> 10 & 0x7FF8));
        CHECK(made.status == MDC_OK || made.status == MDC_ERR_INVALID);
        unmake(&made);
    }
}

static void test_extended(void) {
    made_dump made;
    mdc_engine_options options = {.signal = {.thread_id = TID, .ucontext = HEAP + FRAME + 8}};
    static uint8_t wide[MDC_AMD64_CONTEXT_SIZE + MDC_AMD64_XSTATE_GAP + XSTATE - 512];
    static mdc_system system;
    memset(heap, 0, sizeof heap);
    put_frame(FRAME, MDC_SIGSEGV, 2, STACK_A + 0x5678, HEAP + 0x2000);
    put_xstate(0x2000, XSTATE);
    for (int round = 0; round < 3; round++) { /* a system that says another size than the contexts have */
        make_bent(&made, &options);
        system = *bent.system;
        system.xstate_size = round == 0 ? XSTATE : round == 1 ? 10 : UINT32_MAX;
        system.xstate_mask = 7;
        memcpy(threads, bent.threads, sizeof threads);
        threads[0].stack_pointer = HEAP + 0x100;
        for (int i = 0; i < 2; i++) {
            threads[i].context = wide;
            threads[i].context_size = sizeof wide;
        }
        bent.threads = threads;
        bent.system = &system;
        run_bent(&made);
        expect_requested(&made, NO_SIGNAL, 0, EXE + 0x500);
        uint64_t context = context_at(&made);
        if (round == 0) {
            CHECK(u32_at(&made, exception_at(&made) + 160) == sizeof wide);
            CHECK(u32_at(&made, context + 48) == 0x10004F);
            CHECK(u64_at(&made, context + MDC_AMD64_CONTEXT_SIZE + MDC_AMD64_XSTATE_GAP) == 4);
            CHECK(u64_at(&made, context + sizeof wide - 8) == 0x5A5A5A5A5A5A5A5A);
        } else {
            CHECK(u32_at(&made, exception_at(&made) + 160) == MDC_AMD64_CONTEXT_SIZE);
            CHECK(u32_at(&made, context + 48) == 0x10000F);
        }
        unmake(&made);
    }
}

#ifdef MDC_FAILPOINTS
static void test_no_memory(void) {
    mdc_engine_options options = search();
    memset(heap, 0, sizeof heap);
    put_frame(FRAME, MDC_SIGBUS, 3, STACK_A + 0x100, 0);
    bool finished = false;
    for (int at = 1; at < 500 && !finished; at++) {
        char spec[32];
        made_dump made;
        snprintf(spec, sizeof spec, "alloc:%d:12", at);
        make_bent(&made, &options);
        memcpy(threads, bent.threads, sizeof threads);
        threads[0].stack_pointer = HEAP + 0x100;
        bent.threads = threads;
        mdc_failpoint_set(spec);
        run_bent(&made);
        mdc_failpoint_set("");
        finished = made.status == MDC_OK;
        CHECK(finished ? at > 10 : made.status == MDC_ERR_NOMEM);
        unmake(&made);
    }
    CHECK(finished);
}
#endif

int main(void) {
    test_given();
    test_wrong_places();
    test_search();
    test_noise();
    test_extended();
#ifdef MDC_FAILPOINTS
    test_no_memory();
#endif
    return failures != 0;
}
