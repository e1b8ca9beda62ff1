/* Running classic BPF on the data of a system call (see seccomp_check.h, and seccomp_check_filter in kernel/seccomp.c
 * for what a filter may hold). */
#include "seccomp_check.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(mdc_seccomp_call) == 64, "struct seccomp_data");

enum {
    GET_FILTER = 0x420C, /* PTRACE_SECCOMP_GET_FILTER */
    FILTERS_MAX = 64,
    STEPS_MAX = BPF_MAXINSNS /* jumps go forwards */
};

typedef struct machine {
    uint32_t a, x;
    uint32_t memory[BPF_MEMWORDS];
} machine;

static bool compute(machine *at, uint16_t operation, uint32_t by) {
    switch (operation) {
    case BPF_ADD:
        at->a += by;
        return true;
    case BPF_SUB:
        at->a -= by;
        return true;
    case BPF_MUL:
        at->a *= by;
        return true;
    case BPF_DIV:
        if (by == 0) return false;
        at->a /= by;
        return true;
    case BPF_AND:
        at->a &= by;
        return true;
    case BPF_OR:
        at->a |= by;
        return true;
    case BPF_XOR:
        at->a ^= by;
        return true;
    case BPF_LSH:
        at->a = by < 32 ? at->a << by : 0;
        return by < 32;
    case BPF_RSH:
        at->a = by < 32 ? at->a >> by : 0;
        return by < 32;
    case BPF_NEG:
        at->a = 0 - at->a;
        return true;
    default:
        return false;
    }
}

static bool load(machine *at, const struct sock_filter *it, const mdc_seccomp_call *call) {
    const bool to_x = BPF_CLASS(it->code) == BPF_LDX;
    uint32_t value;
    switch (BPF_MODE(it->code)) {
    case BPF_ABS:
        if (to_x || BPF_SIZE(it->code) != BPF_W || it->k % 4 != 0 || it->k >= sizeof *call) return false;
        memcpy(&value, (const uint8_t *)call + it->k, sizeof value);
        break;
    case BPF_IMM:
        value = it->k;
        break;
    case BPF_LEN:
        value = sizeof *call;
        break;
    case BPF_MEM:
        if (it->k >= BPF_MEMWORDS) return false;
        value = at->memory[it->k];
        break;
    default:
        return false;
    }
    *(to_x ? &at->x : &at->a) = value;
    return true;
}

static bool holds(const machine *at, const struct sock_filter *it) {
    const uint32_t with = BPF_SRC(it->code) == BPF_X ? at->x : it->k;
    switch (BPF_OP(it->code)) {
    case BPF_JEQ:
        return at->a == with;
    case BPF_JGT:
        return at->a > with;
    case BPF_JGE:
        return at->a >= with;
    default:
        return (at->a & with) != 0; /* BPF_JSET */
    }
}

uint32_t mdc_seccomp_run(const struct sock_filter *filter, size_t count, const mdc_seccomp_call *call) {
    machine at;
    memset(&at, 0, sizeof at);
    for (size_t pc = 0, steps = 0; pc < count && steps < STEPS_MAX; pc++, steps++) {
        const struct sock_filter *it = &filter[pc];
        bool well = true;
        switch (BPF_CLASS(it->code)) {
        case BPF_LD:
        case BPF_LDX:
            well = load(&at, it, call);
            break;
        case BPF_ST:
        case BPF_STX:
            well = it->k < BPF_MEMWORDS;
            if (well) at.memory[it->k] = BPF_CLASS(it->code) == BPF_ST ? at.a : at.x;
            break;
        case BPF_ALU:
            well = compute(&at, BPF_OP(it->code), BPF_SRC(it->code) == BPF_X ? at.x : it->k);
            break;
        case BPF_JMP:
            if (BPF_OP(it->code) == BPF_JA)
                pc += it->k;
            else if (BPF_OP(it->code) <= BPF_JSET)
                pc += holds(&at, it) ? it->jt : it->jf;
            else
                well = false;
            break;
        case BPF_RET:
            return BPF_RVAL(it->code) == BPF_A ? at.a : it->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(it->code) == BPF_TAX)
                at.x = at.a;
            else
                at.a = at.x;
            break;
        }
        if (!well) break;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

bool mdc_seccomp_allows(int32_t tid, const mdc_seccomp_call *calls, size_t count, int *os_errno) {
    struct sock_filter filter[BPF_MAXINSNS];
    *os_errno = 0;
    for (long number = 0; number < FILTERS_MAX; number++) {
        long size = syscall(SYS_ptrace, (long)GET_FILTER, (long)tid, number, NULL);
        if (size < 0 && errno == ENOENT) return number > 0; /* that were all */
        if (size > 0 && size <= BPF_MAXINSNS) size = syscall(SYS_ptrace, (long)GET_FILTER, (long)tid, number, filter);
        if (size <= 0 || size > BPF_MAXINSNS) {
            *os_errno = size < 0 ? errno : EINVAL;
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            const uint32_t action = mdc_seccomp_run(filter, (size_t)size, &calls[i]) & SECCOMP_RET_ACTION_FULL;
            if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG) return false;
        }
    }
    return false;
}
