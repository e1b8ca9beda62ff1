/* Threads and the crash: elf_prstatus and siginfo_t of x86 (arch/x86/include/uapi/asm/ptrace-abi.h, user_64.h,
 * user_32.h). */
#include <string.h>

#include "../api/engine.h"
#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../format/amd64_context.h"
#include "../format/elf_file.h"
#include "../format/linux_signal.h"
#include "../format/minidump_file.h"
#include "../format/x86_context.h"
#include "../source/sigframe.h"
#include "core.h"

enum {
    STATUS_SIGNAL = 12,
    STATUS_WIDE_TIMES = 48, /* utime, stime: seconds and microseconds each */
    STATUS_NARROW_TIMES = 40,
    STATUS_WIDE_REGISTERS = 112,
    STATUS_NARROW_REGISTERS = 72,
    WIDE_REGISTERS = 27,
    NARROW_REGISTERS = 17,
    INFO_NAME = 16,
    XCR0 = 464, /* the kernel's sw_reserved bytes of an XSAVE area */
    XSTATE_BV = 512,
    LAYOUT_ENTRY = 16,
    PLATFORM_LINUX = 0x8201
};

static uint64_t get(const mdc_core *core, const uint8_t *words, size_t index) {
    return mdc_elf_get_word(words + index * (core->wide ? 8 : 4), core->wide);
}

/* r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs
 */
static void take_wide(const mdc_core *core, const uint8_t *words, uint8_t *context, mdc_thread *thread) {
    static const uint8_t general[MDC_AMD64_GENERAL] = {10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0, 16};
    mdc_amd64_registers registers;
    for (size_t i = 0; i < MDC_AMD64_GENERAL; i++) registers.general[i] = get(core, words, general[i]);
    registers.cs = (uint16_t)get(core, words, 17);
    registers.eflags = (uint32_t)get(core, words, 18);
    registers.ss = (uint16_t)get(core, words, 20);
    registers.ds = (uint16_t)get(core, words, 23);
    registers.es = (uint16_t)get(core, words, 24);
    registers.fs = (uint16_t)get(core, words, 25);
    registers.gs = (uint16_t)get(core, words, 26);
    mdc_amd64_put_general(context, &registers);
    thread->stack_pointer = registers.general[MDC_AMD64_RSP];
    thread->instruction_pointer = registers.general[MDC_AMD64_RIP];
    thread->thread_pointer = get(core, words, 21);
}

/* ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss */
static void take_narrow(const mdc_core *core, const uint8_t *words, uint8_t *context, mdc_thread *thread,
                        uint32_t *gs) {
    uint32_t w[NARROW_REGISTERS];
    for (size_t i = 0; i < NARROW_REGISTERS; i++) w[i] = (uint32_t)get(core, words, i);
    const mdc_x86_registers registers = {.ebx = w[0],
                                         .ecx = w[1],
                                         .edx = w[2],
                                         .esi = w[3],
                                         .edi = w[4],
                                         .ebp = w[5],
                                         .eax = w[6],
                                         .ds = w[7],
                                         .es = w[8],
                                         .fs = w[9],
                                         .gs = w[10],
                                         .eip = w[12],
                                         .cs = w[13],
                                         .eflags = w[14],
                                         .esp = w[15],
                                         .ss = w[16]};
    mdc_x86_put_general(context, &registers);
    thread->stack_pointer = registers.esp;
    thread->instruction_pointer = registers.eip;
    *gs = registers.gs & 0xFFFF;
}

/* The base of the segment that Gs selects: struct user_desc {entry_number, base_addr, limit, flags} each. */
static mdc_status find_gs_base(mdc_core *core, const mdc_core_notes *notes, uint32_t gs, mdc_thread *thread,
                               mdc_error *err) {
    enum { ENTRY = 16 };
    if (notes->segments == 0) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(&core->window, notes->segments, notes->segments_size, "NT_386_TLS", err);
    if (bytes == NULL) return err->code;
    for (uint32_t at = 0; at + ENTRY <= notes->segments_size; at += ENTRY)
        if (gs != 0 && mdc_elf_get32(bytes + at) == gs >> 3) thread->thread_pointer = mdc_elf_get32(bytes + at + 4);
    return MDC_OK;
}

static mdc_status put_floating(mdc_core *core, const mdc_core_notes *notes, uint8_t *context, mdc_error *err) {
    const uint8_t *bytes;
    if (notes->floating != 0) {
        const size_t size = core->wide ? MDC_AMD64_FXSAVE_SIZE : MDC_X86_FSAVE_SIZE;
        bytes = mdc_window_get(&core->window, notes->floating, size, "NT_FPREGSET", err);
        if (bytes == NULL) return err->code;
        if (core->wide)
            mdc_amd64_put_float(context, bytes);
        else
            mdc_x86_put_float(context, bytes);
    }
    /* An XSAVE area begins with the same 512 bytes. */
    const uint64_t image = notes->fxsave != 0 ? notes->fxsave : notes->extended;
    const bool wanted = core->wide ? notes->floating == 0 && notes->extended != 0 : image != 0;
    if (!wanted) return MDC_OK;
    bytes = mdc_window_get(&core->window, core->wide ? notes->extended : image, MDC_AMD64_FXSAVE_SIZE,
                           "extended registers", err);
    if (bytes == NULL) return err->code;
    if (core->wide)
        mdc_amd64_put_float(context, bytes);
    else
        mdc_x86_put_extended(context, bytes);
    /* gdb writes no NT_FPREGSET of i386. */
    if (!core->wide && notes->floating == 0) mdc_x86_put_float_of_fxsave(context, bytes);
    return MDC_OK;
}

/* 100 ns. */
static uint64_t time_at(const mdc_core *core, const uint8_t *words) {
    uint64_t seconds = get(core, words, 0), units;
    if (!mdc_mul_u64(seconds, 10000000, &units) || units > INT64_MAX) return 0;
    return units + mdc_min_u64(get(core, words, 1), 999999) * 10;
}

static mdc_status add_thread(mdc_core *core, const mdc_core_notes *notes, bool leader, mdc_error *err) {
    const bool extended = core->system.xstate_size != 0 && notes->extended != 0;
    mdc_thread thread = {.tid = notes->tid, .context_size = MDC_X86_CONTEXT_SIZE};
    if (core->wide) thread.context_size = mdc_amd64_context_size(extended ? core->system.xstate_size : 0);
    size_t at;
    uint32_t gs = 0;
    if (mdc_vec_push(&core->contexts, NULL, thread.context_size, &at, err) != MDC_OK) return err->code;
    uint8_t *context = (uint8_t *)core->contexts.data + at;
    if (core->wide)
        mdc_amd64_context_clear(context, thread.context_size);
    else
        mdc_x86_context_clear(context);
    const size_t start = core->wide ? STATUS_WIDE_REGISTERS : STATUS_NARROW_REGISTERS;
    const size_t size = start + (core->wide ? WIDE_REGISTERS * 8 : NARROW_REGISTERS * 4);
    const uint8_t *bytes = mdc_window_get(&core->window, notes->status, size, "NT_PRSTATUS", err);
    if (bytes == NULL) return err->code;
    if (core->wide)
        take_wide(core, bytes + start, context, &thread);
    else
        take_narrow(core, bytes + start, context, &thread, &gs);
    const uint8_t *times = bytes + (core->wide ? STATUS_WIDE_TIMES : STATUS_NARROW_TIMES);
    const uint64_t user = time_at(core, times), kernel = time_at(core, times + (core->wide ? 16 : 8));
    if (leader) { /* of all threads together: fill_prstatus of fs/binfmt_elf.c */
        core->system.user_time_s = (uint32_t)mdc_min_u64(user / 10000000, UINT32_MAX);
        core->system.kernel_time_s = (uint32_t)mdc_min_u64(kernel / 10000000, UINT32_MAX);
    } else {
        thread.user_time = user;
        thread.kernel_time = kernel;
    }
    if (find_gs_base(core, notes, gs, &thread, err) != MDC_OK || put_floating(core, notes, context, err) != MDC_OK)
        return err->code;
    if (core->wide && extended) {
        bytes = mdc_window_get(&core->window, notes->extended, notes->extended_size, "NT_X86_XSTATE", err);
        if (bytes == NULL) return err->code;
        mdc_amd64_put_extended(context, core->system.xstate_size, core->system.xstate_mask, bytes,
                               notes->extended_size);
    }
    /* Contexts are where they stay only when all are there. */
    thread.handle = NULL;
    thread.context = NULL;
    return mdc_vec_push(&core->threads, &thread, 1, NULL, err);
}

/* Where the components are: the kernel's note {type, size, offset, flags}, else the one place that no processor puts
 * elsewhere, that of AVX. */
static mdc_status read_layout(mdc_core *core, mdc_error *err) {
    enum { AVX = 2, AVX_OFFSET = 576, AVX_SIZE = 256 };
    mdc_system *system = &core->system;
    mdc_xstate_feature *features = system->xstate_features;
    const size_t size = (size_t)mdc_min_u64(core->layout.size, 64 * LAYOUT_ENTRY);
    features[0] = (mdc_xstate_feature){0, 160};
    features[1] = (mdc_xstate_feature){160, 256};
    if ((system->xstate_mask >> AVX & 1) != 0 && system->xstate_size >= AVX_OFFSET + AVX_SIZE)
        features[AVX] = (mdc_xstate_feature){AVX_OFFSET, AVX_SIZE};
    if (size == 0) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(&core->window, core->layout.offset, size, "NT_X86_XSAVE_LAYOUT", err);
    if (bytes == NULL) return err->code;
    for (size_t at = 0; at + LAYOUT_ENTRY <= size; at += LAYOUT_ENTRY) {
        const uint32_t type = mdc_elf_get32(bytes + at), part = mdc_elf_get32(bytes + at + 4),
                       offset = mdc_elf_get32(bytes + at + 8);
        if (type < 2 || type > 62 || offset < MDC_AMD64_XSAVE_MIN || offset > system->xstate_size ||
            part > system->xstate_size - offset)
            continue;
        features[type] = (mdc_xstate_feature){offset, part};
    }
    return MDC_OK;
}

static mdc_status read_extended(mdc_core *core, mdc_error *err) {
    for (size_t i = 0; core->wide && core->xstate_wanted && i < core->notes.count; i++) {
        const mdc_core_notes *notes = &mdc_vec_at(&core->notes, const mdc_core_notes, i);
        if (notes->extended == 0) continue;
        const uint8_t *bytes =
            mdc_window_get(&core->window, notes->extended, MDC_AMD64_XSAVE_MIN, "NT_X86_XSTATE", err);
        if (bytes == NULL) return err->code;
        core->system.xstate_size = notes->extended_size;
        core->system.xstate_mask = mdc_elf_get64(bytes + XCR0);
        if (core->system.xstate_mask == 0) core->system.xstate_mask = mdc_elf_get64(bytes + XSTATE_BV) | 3;
        return read_layout(core, err);
    }
    return MDC_OK;
}

/* Of the process: pid, and the leader's name. */
static mdc_status read_process(mdc_core *core, uint32_t *pid, mdc_name *name, mdc_error *err) {
    const size_t pid_at = core->wide ? 24 : 12, name_at = core->wide ? 40 : 28;
    *pid = 0;
    name->size = 0;
    if (core->psinfo == 0) return MDC_OK;
    const uint8_t *bytes = mdc_window_get(&core->window, core->psinfo, name_at + INFO_NAME, "NT_PRPSINFO", err);
    if (bytes == NULL) return err->code;
    *pid = mdc_elf_get32(bytes + pid_at);
    const uint8_t *nul = memchr(bytes + name_at, '\0', INFO_NAME);
    return mdc_pool_add(&core->pool, bytes + name_at, nul != NULL ? (size_t)(nul - (bytes + name_at)) : INFO_NAME, name,
                        err);
}

static mdc_status read_crash(mdc_core *core, uint32_t thread, mdc_error *err) {
    const mdc_core_notes *notes = core->notes.data;
    mdc_source_crash *crash = &core->lists.crash;
    const uint8_t *bytes = mdc_window_get(&core->window, notes[0].status, STATUS_SIGNAL + 2, "NT_PRSTATUS", err);
    if (bytes == NULL) return err->code;
    const uint32_t signal = mdc_elf_get16(bytes + STATUS_SIGNAL);
    *crash = (mdc_source_crash){.known = 1, .thread = thread, .signal = signal != 0 ? signal : MDC_DUMP_REQUESTED};
    /* A debugger's core of a program without a signal: the siginfo is that of its own stop. */
    if (signal == 0 || core->info == 0) return MDC_OK;
    bytes = mdc_window_get(&core->window, core->info, MDC_SIGINFO_BYTES, "NT_SIGINFO", err);
    if (bytes == NULL) return err->code;
    mdc_siginfo info;
    if (core->wide)
        mdc_siginfo_parse(bytes, &info);
    else
        mdc_siginfo_parse_narrow(bytes, &info);
    if ((uint32_t)info.signal != signal) return MDC_OK;
    crash->code = (uint32_t)info.code;
    crash->address = info.address;
    crash->parameter_count = info.parameter_count;
    memcpy(crash->parameters, info.parameters, sizeof crash->parameters);
    return MDC_OK;
}

static void mark_stack(mdc_core *core, uint64_t stack_pointer) {
    int64_t found = mdc_regions_at(&core->regions, stack_pointer);
    if (found >= 0) mdc_vec_at(&core->regions, mdc_region, found).kinds |= MDC_KIND_STACK;
}

static size_t content_of(const void *context, const mdc_region *region, uint64_t first, uint64_t end, mdc_content *runs,
                         size_t room, uint64_t *next) {
    (void)region;
    return mdc_core_runs(context, first, end, runs, room, next);
}

/* Stacks that signal handlers have interrupted. */
static mdc_status find_interrupted(mdc_core *core, mdc_error *err) {
    const mdc_target_view view = mdc_core_view(core);
    mdc_sigframes frames;
    if (!core->wide) return MDC_OK;
    mdc_status status = mdc_sigframes_init(&frames, &view, content_of, core, err);
    for (size_t i = 0; status == MDC_OK && i < core->threads.count; i++) {
        mdc_thread *thread = &mdc_vec_at(&core->threads, mdc_thread, i);
        /* Thread-local storage is at the top of a stack that a library made. */
        const uint64_t own = (int32_t)thread->tid == core->source.pid ? 0 : thread->thread_pointer;
        status = mdc_sigframes_find(&frames, own, thread, err);
        for (uint32_t k = 0; k < thread->interrupted_count; k++) mark_stack(core, thread->interrupted[k]);
    }
    mdc_sigframes_fini(&frames);
    return status;
}

mdc_status mdc_core_make_threads(mdc_core *core, mdc_error *err) {
    const mdc_core_notes *notes = core->notes.data;
    const size_t count = core->notes.count;
    uint32_t pid;
    mdc_name name;
    core->system.architecture = core->wide ? MDC_FILE_ARCH_AMD64 : MDC_FILE_ARCH_X86;
    core->system.platform = PLATFORM_LINUX;
    /* On x86 these are the bits that CPUID leaf 1 has in EDX: ELF_HWCAP of arch/x86/include/asm/elf.h. */
    core->system.feature_information = (uint32_t)core->hwcap;
    if (read_process(core, &pid, &name, err) != MDC_OK || read_extended(core, err) != MDC_OK ||
        mdc_vec_reserve(&core->threads, count, err) != MDC_OK)
        return err->code;
    size_t leader = count;
    for (size_t i = 0; i < count && leader == count; i++)
        if (notes[i].tid == pid) leader = i;
    if (leader < count && add_thread(core, &notes[leader], true, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < count; i++) {
        if (i % 256 == 0 && mdc_control_check(core->control, err) != MDC_OK) return err->code;
        if (i != leader && add_thread(core, &notes[i], false, err) != MDC_OK) return err->code;
    }
    mdc_thread *threads = core->threads.data;
    size_t at = 0;
    for (size_t i = 0; i < count; at += threads[i++].context_size) {
        threads[i].context = (const uint8_t *)core->contexts.data + at;
        mark_stack(core, threads[i].stack_pointer);
    }
    if (leader < count && name.size > 0) {
        threads[0].name = name;
        threads[0].named = 1;
    }
    core->source.pid = (int32_t)(pid != 0 || count == 0 ? pid : threads[0].tid);
    /* The first in the file is the one that crashed. */
    const uint32_t crashed = leader < count && leader > 0 ? 1 : 0;
    if (count > 0 && read_crash(core, crashed, err) != MDC_OK) return err->code;
    return find_interrupted(core, err);
}
