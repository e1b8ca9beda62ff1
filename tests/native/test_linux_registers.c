/* Registers: known values in a stopped thread come back at the offsets of CONTEXT. */
#include "linux_target.h"

#include "base/failpoint.h"
#include "linux/registers.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#if defined(__x86_64__)
#include <asm/prctl.h>
#include <cpuid.h>

static uint64_t get64(const uint8_t *context, size_t at) {
    uint64_t value;
    memcpy(&value, context + at, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *context, size_t at) {
    uint32_t value;
    memcpy(&value, context + at, sizeof value);
    return value;
}

static bool has_avx(void) {
    uint32_t a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) != 0 && (c & bit_OSXSAVE) != 0;
}

/* Puts 0x1111.. into rax, 0x2222.. into rbx and so on, and stays. words[0]: FS base; words[1]: AVX or not. */
static void known_registers(target_shared *shared) {
    static uint64_t halves[8] = {0xA0A1A2A3A4A5A6A7, 0xB0B1B2B3B4B5B6B7, 0xC0C1C2C3C4C5C6C7, 0xD0D1D2D3D4D5D6D7,
                                 0xE0E1E2E3E4E5E6E7, 0xF0F1F2F3F4F5F6F7, 0x0807060504030201, 0x1817161514131211};
    uint32_t mxcsr = 0x1FA0; /* as after a reset, and the precision flag */
    syscall(SYS_arch_prctl, ARCH_GET_FS, &shared->words[0]);
    shared->words[1] = has_avx();
    if (has_avx())
        __asm__ volatile("vmovups %0, %%ymm0\n\tvmovups %1, %%ymm15" ::"m"(*(uint64_t(*)[4])halves),
                         "m"(*(uint64_t(*)[4])(halves + 4)));
    else
        __asm__ volatile("movups %0, %%xmm0\n\tmovups %1, %%xmm15" ::"m"(*(uint64_t(*)[2])halves),
                         "m"(*(uint64_t(*)[2])(halves + 4)));
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "mov %%rax, 8(%0)\n\t"
                     "mov %%rsp, 16(%0)\n\t"
                     "movl $1, (%1)\n\t"
                     "movabs $0x1111111111111111, %%rax\n\t"
                     "movabs $0x2222222222222222, %%rbx\n\t"
                     "movabs $0x3333333333333333, %%rcx\n\t"
                     "movabs $0x4444444444444444, %%rdx\n\t"
                     "movabs $0x5555555555555555, %%rsi\n\t"
                     "movabs $0x6666666666666666, %%rdi\n\t"
                     "movabs $0x7777777777777777, %%rbp\n\t"
                     "movabs $0x8888888888888888, %%r8\n\t"
                     "movabs $0x9999999999999999, %%r9\n\t"
                     "movabs $0xAAAAAAAAAAAAAAAA, %%r10\n\t"
                     "movabs $0xBBBBBBBBBBBBBBBB, %%r11\n\t"
                     "movabs $0xCCCCCCCCCCCCCCCC, %%r12\n\t"
                     "movabs $0xDDDDDDDDDDDDDDDD, %%r13\n\t"
                     "movabs $0xEEEEEEEEEEEEEEEE, %%r14\n\t"
                     "movabs $0xF0F0F0F0F0F0F0F0, %%r15\n\t"
                     "std\n\t"
                     "1: jmp 1b" ::"D"(shared->words + 1),
                     "S"(&shared->ready)
                     : "memory");
}

static void check_general(const uint8_t *context, const mdc_registers_summary *summary, const target_shared *shared) {
    static const struct {
        uint32_t at;
        uint64_t value;
    } known[] = {{120, 0x1111111111111111}, {128, 0x3333333333333333}, {136, 0x4444444444444444},
                 {144, 0x2222222222222222}, {160, 0x7777777777777777}, {168, 0x5555555555555555},
                 {176, 0x6666666666666666}, {184, 0x8888888888888888}, {192, 0x9999999999999999},
                 {200, 0xAAAAAAAAAAAAAAAA}, {208, 0xBBBBBBBBBBBBBBBB}, {216, 0xCCCCCCCCCCCCCCCC},
                 {224, 0xDDDDDDDDDDDDDDDD}, {232, 0xEEEEEEEEEEEEEEEE}, {240, 0xF0F0F0F0F0F0F0F0}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) REQUIRE(get64(context, known[i].at) == known[i].value);
    REQUIRE(get64(context, 248) == shared->words[2]); /* Rip */
    REQUIRE(get64(context, 152) == shared->words[3]); /* Rsp */
    REQUIRE(summary->instruction_pointer == shared->words[2]);
    REQUIRE(summary->stack_pointer == shared->words[3]);
    REQUIRE(summary->thread_pointer == shared->words[0]);
    REQUIRE((get32(context, 56) & 0xFFFF) == 0x33); /* SegCs */
    REQUIRE((get32(context, 66) & 0xFFFF) == 0x2B); /* SegSs */
    REQUIRE((get32(context, 68) & 0x400) != 0);     /* EFlags: DF */
}

static void check_float(const uint8_t *context) {
    REQUIRE(get32(context, 52) == 0x1FA0);       /* MxCsr */
    REQUIRE(get32(context, 256 + 24) == 0x1FA0); /* FltSave.MxCsr */
    REQUIRE(get64(context, 256 + 160) == 0xA0A1A2A3A4A5A6A7);
    REQUIRE(get64(context, 256 + 168) == 0xB0B1B2B3B4B5B6B7);
    REQUIRE(get64(context, 256 + 160 + 15 * 16) == 0xE0E1E2E3E4E5E6E7);
}

/* The layout that registers.h promises; the place of AVX comes from CPUID, not from our code. */
static void check_extended(const uint8_t *context, const mdc_registers_layout *layout, bool avx) {
    REQUIRE((int32_t)get32(context, 1232) == -1232 && get32(context, 1236) == layout->context_size);
    REQUIRE((int32_t)get32(context, 1240) == -1232 && get32(context, 1244) == 1232);
    REQUIRE(get32(context, 1248) == 48 && get32(context, 1252) == layout->xstate_size - 512);
    const uint8_t *header = context + 1232 + 48;
    REQUIRE((get64(header, 0) & 3) == 0 && get64(header, 8) == 0);
    if (!avx) return;
    uint32_t a, b, c, d;
    REQUIRE(__get_cpuid_count(0xD, 2, &a, &b, &c, &d));
    REQUIRE((get64(header, 0) & 4) != 0 && (layout->xstate_mask & 4) != 0);
    REQUIRE(get64(header, b - 512) == 0xC0C1C2C3C4C5C6C7); /* upper half of ymm0 */
    REQUIRE(get64(header, b - 512 + 8) == 0xD0D1D2D3D4D5D6D7);
    REQUIRE(get64(header, b - 512 + 15 * 16) == 0x0807060504030201);
}

int main(void) {
    target_shared *shared = target_share();
    mdc_registers_summary summary;

    mdc_registers_layout plain = mdc_registers_describe(false), full = mdc_registers_describe(true);
    REQUIRE(plain.context_size == 1232 && plain.xstate_size == 0 && plain.xstate_mask == 0);
    REQUIRE(!has_avx() || (full.xstate_size >= 832 && full.context_size == 1232 + 48 + full.xstate_size - 512));

    mdc_xstate_feature features[64];
    mdc_registers_xstate(&plain, features);
    for (int i = 0; i < 64; i++) REQUIRE(features[i].size == 0);
    mdc_registers_xstate(&full, features);
    REQUIRE(!has_avx() || (features[2].offset == 576 && features[2].size == 256)); /* Intel SDM vol. 1, table 13-1 */
    for (int i = 2; i < 64; i++)
        REQUIRE(features[i].size == 0 || features[i].offset + features[i].size <= full.xstate_size);

    pid_t pid = target_start(known_registers, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    uint8_t *context = malloc(full.context_size + 64);
    REQUIRE(context != NULL);

    /* Not traced, then traced but running: ESRCH, not nonsense. */
    REQUIRE(!mdc_registers_readable(pid));
    REQUIRE(mdc_registers_read(pid, &plain, context, &summary) == ESRCH);
    REQUIRE(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0);
    REQUIRE(!mdc_registers_readable(pid));
    sleep_us(20000);
    REQUIRE(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0);
    WAIT_FOR(mdc_registers_readable(pid));

    memset(context, 0xEE, full.context_size + 64);
    REQUIRE(mdc_registers_read(pid, &plain, context, &summary) == 0);
    REQUIRE(get32(context, 48) == 0x10001F);
    check_general(context, &summary, shared);
    check_float(context);
    for (uint32_t i = 0; i < 64; i++) REQUIRE(context[1232 + i] == 0xEE); /* nothing after the CONTEXT */

    memset(context, 0xEE, full.context_size + 64);
    REQUIRE(mdc_registers_read(pid, &full, context, &summary) == 0);
    REQUIRE(get32(context, 48) == (full.xstate_size != 0 ? 0x10005F : 0x10001F));
    check_general(context, &summary, shared);
    check_float(context);
    if (full.xstate_size != 0) check_extended(context, &full, shared->words[1] != 0);
    for (uint32_t i = 0; i < 64; i++) REQUIRE(context[full.context_size + i] == 0xEE);

    mdc_registers_none(&full, context);
    REQUIRE(get32(context, 48) == 0x100000 && get64(context, 248) == 0);

    mdc_failpoint_set("regs:thread:1:5"); /* EIO */
    REQUIRE(mdc_registers_read(pid, &plain, context, &summary) == 5);
    mdc_failpoint_set("");

    free(context);
    REQUIRE(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
    target_end(pid);
    return 0;
}
#else
int main(void) {
    puts("no register test for this processor");
    return 77;
}
#endif
