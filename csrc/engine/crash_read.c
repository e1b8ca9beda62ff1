/* While a handler runs, the registers of its thread are the handler's. What the thread did before is in the ucontext_t
 * that the kernel made, whose address a caller knows; otherwise its frame is looked for on the stack.
 *
 * What is taken from there are the registers of a thread and the reason of a signal, as ptrace(2) would have shown them
 * a moment earlier: Thread and IncludeThread decide about them, not the rules for memory. */
#include "crash_read.h"

#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../base/protection.h"
#include "../format/amd64_context.h"
#include "../format/linux_signal.h"
#include "../format/minidump_file.h"

enum {
    FRAMES_MAX = 8,          /* handlers that interrupted each other */
    SEARCH_MAX = 256 * 1024, /* bytes of one stack */
    CHUNK = 16 * 1024,
    RUNS = 8
};

typedef struct signal_frame {
    mdc_ucontext saved;
    mdc_siginfo siginfo;
} signal_frame;

/* How much from `address` on, at most to `end`, is there and can be read without a change to the target: what a stack
 * is, and no memory of files, which may never respond. */
static uint64_t data_end(const mdc_capture *capture, uint64_t address, uint64_t end) {
    while (address < end) {
        int64_t found = mdc_regions_find(capture, address);
        if (found == MDC_NO_REGION || mdc_regions_closed(capture, (size_t)found)) return address;
        const mdc_region *region = &capture->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        for (uint64_t first = address; !capture->queried && first < stop;) {
            mdc_content runs[RUNS];
            uint64_t next = stop;
            mdc_source *source = capture->engine->source;
            size_t count = source->ops->content(source, (size_t)found, first, stop, runs, RUNS, &next);
            for (size_t i = 0; i < count && i < RUNS; i++)
                if (runs[i].what != MDC_CONTENT_DATA) return mdc_max_u64(address, mdc_min_u64(runs[i].first, stop));
            if (next <= first) return first;
            first = next;
        }
        address = stop;
    }
    return end;
}

/* *done: bytes from the start that were read. */
static mdc_status look(const mdc_reader *reader, uint64_t address, uint8_t *out, size_t size, size_t *done,
                       mdc_error *err) {
    uint64_t end;
    bool closed;
    int32_t os_errno;
    *done = 0;
    if (address == 0 || !mdc_add_u64(address, size, &end)) return MDC_OK;
    size = (size_t)(data_end(reader->capture, address, end) - address);
    return size == 0 ? MDC_OK : mdc_reader_fetch(reader, address, out, size, done, &closed, &os_errno, err);
}

static mdc_status wrong(mdc_error *err, const char *what, uint64_t address) {
    mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "exception: there is no %s at 0x%" PRIx64 " in the target",
             what, address);
    err->address = address;
    return err->code;
}

static bool can_run(const mdc_capture *capture, uint64_t address) {
    int64_t found = mdc_regions_find(capture, address);
    return found != MDC_NO_REGION && (capture->regions[found].protect & MDC_PAGE_ANY_EXECUTE) != 0;
}

/* The first frame at or above `address` in the same run of memory. *at: where, 0 if there is none. */
static mdc_status next_frame(const mdc_reader *reader, uint64_t address, uint64_t *at, signal_frame *frame,
                             mdc_error *err) {
    uint8_t *window = reader->buffer; /* nothing is being written yet */
    uint64_t from = mdc_sigframe_align(address), end = from;
    *at = 0;
    if (!mdc_add_u64(from, SEARCH_MAX, &end)) end = UINT64_MAX;
    while (from < end) {
        size_t step = 0, done, want = (size_t)mdc_min_u64(mdc_min_u64(end - from, CHUNK), reader->room);
        if (look(reader, from, window, want, &done, err) != MDC_OK) return err->code;
        for (; step + MDC_SIGFRAME_BYTES <= done; step += 16) {
            uint64_t returns;
            if (!mdc_sigframe_plausible(window + step, from + step, &returns, &frame->saved) ||
                !can_run(reader->capture, returns))
                continue;
            mdc_siginfo_parse(window + step + MDC_SIGFRAME_SIGINFO, &frame->siginfo);
            *at = from + step;
            return MDC_OK;
        }
        if (done < want || step == 0) break;
        from += step;
    }
    return MDC_OK;
}

/* The handler's frame, and what it interrupted: another stack, or the same one above. 0: it cannot have been. */
static uint64_t interrupted(const signal_frame *frame, uint64_t at) {
    uint64_t sp = frame->saved.registers.general[MDC_AMD64_RSP], stack = frame->saved.stack;
    bool alternate = at >= stack && at - stack < frame->saved.stack_size;
    bool left = alternate && (sp < stack || sp - stack >= frame->saved.stack_size);
    return left || sp > at ? sp : 0;
}

/* A fault's frame from stack_pointer on. A handler that raises its signal again leaves two frames, and the outer one
 * says what happened. signal: the one that is wanted, 0: any. *found stays false if there is none. */
static mdc_status find_fault(const mdc_reader *reader, uint64_t stack_pointer, int32_t signal, bool *found,
                             signal_frame *frame, mdc_error *err) {
    uint64_t at = stack_pointer;
    for (uint32_t i = 0; i < FRAMES_MAX && at != 0; i++) {
        uint64_t where;
        signal_frame next;
        if (next_frame(reader, at, &where, &next, err) != MDC_OK) return err->code;
        if (where == 0) break;
        const int32_t raised = *found ? frame->siginfo.signal : signal;
        bool wanted = raised == 0 && mdc_signal_is_fault(next.siginfo.signal);
        if (raised != 0)
            wanted = (next.siginfo.signal == raised && next.siginfo.code > 0) ||
                     mdc_siginfo_of_trap(&next.saved, raised, &next.siginfo);
        if (wanted) {
            *frame = next;
            *found = true;
            if (next.siginfo.code > 0) break;
        }
        at = interrupted(&next, where);
    }
    return MDC_OK;
}

/* What the caller gave by address. */
static mdc_status read_given(const mdc_reader *reader, bool *saved, signal_frame *frame, mdc_error *err) {
    const mdc_signal_info *info = &reader->engine->options.signal;
    uint8_t bytes[MDC_UCONTEXT_BYTES];
    size_t done;
    if (info->siginfo != 0) {
        if (look(reader, info->siginfo, bytes, MDC_SIGINFO_BYTES, &done, err) != MDC_OK) return err->code;
        if (done < MDC_SIGINFO_BYTES) return wrong(err, "siginfo_t", info->siginfo);
        mdc_siginfo_parse(bytes, &frame->siginfo);
    }
    if (info->ucontext == 0) return MDC_OK;
    if (look(reader, info->ucontext, bytes, sizeof bytes, &done, err) != MDC_OK) return err->code;
    if (done < sizeof bytes || !mdc_ucontext_parse(bytes, &frame->saved))
        return wrong(err, "ucontext_t", info->ucontext);
    *saved = true;
    return MDC_OK;
}

static void take_reason(mdc_crash *crash, const mdc_signal_info *info, const mdc_siginfo *siginfo, bool known) {
    crash->signal = known ? (uint32_t)siginfo->signal : MDC_DUMP_REQUESTED;
    if ((info->given & MDC_SIGNAL_NUMBER) != 0) crash->signal = info->signal;
    crash->code = (uint32_t)((info->given & MDC_SIGNAL_CODE) != 0 ? info->code : siginfo->code);
    crash->address = (info->given & MDC_SIGNAL_ADDRESS) != 0 ? info->address : siginfo->address;
    const uint64_t *parameters = info->parameter_count != 0 ? info->parameters : siginfo->parameters;
    crash->parameter_count = info->parameter_count != 0 ? info->parameter_count : siginfo->parameter_count;
    if (crash->parameter_count > MDC_CRASH_PARAMETERS) crash->parameter_count = MDC_CRASH_PARAMETERS;
    memcpy(crash->parameters, parameters, crash->parameter_count * sizeof parameters[0]);
}

/* A stack pointer in a guard below a stack, where an overflow ends, means the lowest page of the stack. */
static uint64_t lift(const mdc_capture *capture, uint64_t sp) {
    const uint64_t guard_max = UINT64_C(0x110000); /* the gap below a main thread's stack, and a page or two */
    uint64_t page = mdc_page_down(sp), end;
    if (!mdc_add_u64(page, guard_max, &end)) return sp;
    while (page < end) {
        if (data_end(capture, page, page + 1) > page) return page > sp ? page : sp;
        int64_t found = mdc_regions_find(capture, page);
        size_t at; /* the next region, where this one cannot be read at all */
        mdc_lower_bound(at, 0, capture->region_count, capture->regions[at].base <= page);
        uint64_t next = at < capture->region_count ? capture->regions[at].base : end;
        page = found == MDC_NO_REGION || mdc_regions_closed(capture, (size_t)found) ? next : page + MDC_PAGE_SIZE;
    }
    return sp;
}

/* The registers as a CONTEXT, as long as those of the threads. */
static mdc_status make_context(const mdc_reader *reader, mdc_crash *crash, const mdc_ucontext *saved, mdc_error *err) {
    const mdc_snapshot *lists = reader->capture->lists;
    const mdc_thread *thread = &lists->threads[crash->thread];
    uint32_t xstate_size = lists->system->xstate_size;
    if (xstate_size < MDC_AMD64_XSAVE_MIN || thread->context_size != mdc_amd64_context_size(xstate_size))
        xstate_size = 0;
    crash->context_size = mdc_amd64_context_size(xstate_size);
    crash->context = mdc_alloc(1, crash->context_size, err);
    if (crash->context == NULL) return err->code;
    mdc_amd64_context_clear(crash->context, crash->context_size);
    mdc_amd64_put_general(crash->context, &saved->registers);
    crash->stack_pointer = lift(reader->capture, saved->registers.general[MDC_AMD64_RSP]);
    crash->instruction_pointer = saved->registers.general[MDC_AMD64_RIP];
    size_t done;
    uint8_t *area = reader->buffer;
    if (reader->room < MDC_AMD64_XSAVE_MAX) return MDC_OK;
    if (look(reader, saved->fpstate, area, MDC_AMD64_FXSAVE_SIZE, &done, err) != MDC_OK) return err->code;
    if (done < MDC_AMD64_FXSAVE_SIZE) return MDC_OK; /* a thread that never used them, or a pointer to nothing */
    mdc_amd64_put_float(crash->context, area);
    uint32_t size = mdc_fpstate_size(area);
    if (xstate_size == 0 || size < MDC_AMD64_XSAVE_MIN) return MDC_OK;
    if (look(reader, saved->fpstate, area, size, &done, err) != MDC_OK) return err->code;
    if (done == size) mdc_amd64_put_extended(crash->context, xstate_size, lists->system->xstate_mask, area, size);
    return MDC_OK;
}

/* What a core says of the signal it was written for: the registers of the thread are those at that time. */
static void take_source(mdc_crash *crash, const mdc_source_crash *known, size_t threads) {
    if (!known->known || known->thread >= threads) return;
    *crash = (mdc_crash){.known = true,
                         .signal = known->signal,
                         .code = known->code,
                         .address = known->address,
                         .thread = known->thread,
                         .instruction_pointer = known->instruction_pointer};
    crash->parameter_count =
        known->parameter_count < MDC_CRASH_PARAMETERS ? known->parameter_count : MDC_CRASH_PARAMETERS;
    memcpy(crash->parameters, known->parameters, crash->parameter_count * sizeof crash->parameters[0]);
}

static mdc_status find_thread(const mdc_capture *capture, mdc_crash *crash, mdc_error *err) {
    uint32_t tid = capture->engine->options.signal.thread_id;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        if (capture->lists->threads[i].tid != tid) continue;
        crash->thread = i;
        return MDC_OK;
    }
    return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "exception: the target has no thread %" PRIu32, tid);
}

mdc_status mdc_crash_read(mdc_capture *capture, const mdc_reader *reader, mdc_error *err) {
    const mdc_signal_info *info = &capture->engine->options.signal;
    mdc_crash *crash = &capture->crash;
    signal_frame frame = {0};
    bool saved = false;
    if (info->thread_id == 0) {
        take_source(crash, &capture->lists->crash, capture->lists->thread_count);
        return MDC_OK;
    }
    if (capture->engine->options.plan_only) return MDC_OK;
    if (find_thread(capture, crash, err) != MDC_OK) return err->code;
    const mdc_thread *thread = &capture->lists->threads[crash->thread];
    if (read_given(reader, &saved, &frame, err) != MDC_OK) return err->code;
    bool known = info->siginfo != 0;
    int32_t code = (info->given & MDC_SIGNAL_CODE) != 0 ? info->code : frame.siginfo.code;
    int32_t signal = (info->given & MDC_SIGNAL_NUMBER) != 0 ? (int32_t)info->signal : frame.siginfo.signal;
    if ((info->given & MDC_SIGNAL_SEARCH) != 0) {
        if (find_fault(reader, thread->stack_pointer, 0, &known, &frame, err) != MDC_OK) return err->code;
        if (!known)
            return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0,
                            "exception: thread %" PRIu32 " is not handling a signal of a fault: no frame of one is on "
                            "its stack; name the thread alone to record that a dump was requested",
                            info->thread_id);
        saved = true;
    } else if (saved && known && code == MDC_SI_TKILL && frame.siginfo.sender == capture->engine->source->pid &&
               mdc_signal_is_fault(signal)) { /* raised by the process itself: another handler may have done that */
        bool original = false;
        signal_frame outer;
        if (find_fault(reader, frame.saved.registers.general[MDC_AMD64_RSP], signal, &original, &outer, err) != MDC_OK)
            return err->code;
        if (original) {
            mdc_signal_info only_thread = {.thread_id = info->thread_id};
            take_reason(crash, &only_thread, &outer.siginfo, true);
            crash->known = true;
            return make_context(reader, crash, &outer.saved, err);
        }
    }
    take_reason(crash, info, &frame.siginfo, known);
    if (crash->signal == MDC_DUMP_REQUESTED && (info->given & MDC_SIGNAL_ADDRESS) == 0)
        crash->address = saved ? frame.saved.registers.general[MDC_AMD64_RIP] : thread->instruction_pointer;
    crash->known = true;
    return saved ? make_context(reader, crash, &frame.saved, err) : MDC_OK;
}
