/* The Exception stream.
 *
 * Of a Windows process: EXCEPTION_POINTERS lead to a record and to the registers at that time. In the target they are
 * memory like any other: read by address, through VmPreRead and VmPostRead, and left out if the callee does not keep
 * them or their thread. In our own process they are copied with a check.
 *
 * Of a Linux process: what ../crash_read.c has read, as Breakpad and Crashpad store it: the signal as the code, si_code
 * as the flags. Left out if the callee does not keep the thread's registers. */
#include <inttypes.h>
#include <string.h>

#include "../../base/arith.h"
#include "../../base/fail.h"
#include "../../base/own_memory.h"
#include "../../format/amd64_context.h"
#include "stream.h"

enum { RECORD32_BYTES = 80, PARAMETERS_MAX = 15 };

/* EXCEPTION_RECORD32, as in a 32-bit process. */
typedef struct record32 {
    uint32_t code;
    uint32_t flags;
    uint32_t record;
    uint32_t address;
    uint32_t parameters;
    uint32_t information[PARAMETERS_MAX];
} record32;
_Static_assert(sizeof(record32) == RECORD32_BYTES, "EXCEPTION_RECORD32");

typedef struct exception_state {
    mdc_file_exception stream;
    size_t context_size; /* bytes */
    uint8_t context[];
} exception_state;

static mdc_status check_target(const mdc_capture *capture, mdc_error *err) {
    const mdc_exception_info *info = &capture->engine->options.exception;
    const mdc_system *system = capture->lists->system;
    bool windows = system->platform == MDC_PLATFORM_WINDOWS;
    if (capture->engine->options.signal.thread_id != 0 && (windows || system->architecture != MDC_FILE_ARCH_AMD64))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0,
                        "exception: a SignalInfo is for Linux processes on x86-64, and the target is none; of a "
                        "Windows process give an ExceptionInfo");
    if (info->thread_id == 0) return MDC_OK;
    if (!windows)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0,
                        "exception: an ExceptionInfo is for Windows processes only, no others have EXCEPTION_POINTERS; "
                        "of a Linux process give a SignalInfo");
    if (info->pointers == 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0,
                        "exception: the address of EXCEPTION_POINTERS is 0");
    return MDC_OK;
}

/* *kept: the callee keeps it. A failure to read is an error: the address was given by the caller. */
static mdc_status get(const mdc_plan *plan, uint64_t address, void *out, size_t size, bool *kept, mdc_error *err) {
    uint64_t end;
    size_t done = 0;
    *kept = true;
    if (address == 0 || !mdc_add_u64(address, size, &end)) {
        done = 0;
    } else if (!plan->engine->options.exception.client) {
        done = mdc_own_memory_read(address, out, size) ? size : 0;
    } else if (mdc_regions_find(plan->capture, address) != MDC_NO_REGION) {
        if (mdc_reader_kept(plan->reader, address, end, kept, err) != MDC_OK) return err->code;
        if (!*kept) return MDC_OK;
        if (mdc_reader_peek(plan->reader, address, out, size, &done, err) != MDC_OK) return err->code;
    }
    if (done == size) return MDC_OK;
    mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_PLAN, 0,
             "exception: there is nothing to read at 0x%" PRIx64 " in the memory of %s", address,
             plan->engine->options.exception.client ? "the target" : "this process");
    err->address = address;
    return err->code;
}

static mdc_status get_record(const mdc_plan *plan, uint64_t address, bool wide, mdc_file_exception_record *record,
                             bool *kept, mdc_error *err) {
    if (wide) return get(plan, address, record, sizeof *record, kept, err);
    record32 narrow;
    if (get(plan, address, &narrow, sizeof narrow, kept, err) != MDC_OK || !*kept) return err->code;
    *record = (mdc_file_exception_record){.code = narrow.code,
                                          .flags = narrow.flags,
                                          .record = narrow.record,
                                          .address = narrow.address,
                                          .parameters = narrow.parameters};
    for (size_t i = 0; i < PARAMETERS_MAX; i++) record->information[i] = narrow.information[i];
    return MDC_OK;
}

/* Whether the callee lets the thread's registers into the dump; a thread in no list is left out. */
static bool thread_kept(const mdc_plan *plan, uint32_t tid) {
    for (size_t i = 0; i < plan->capture->lists->thread_count; i++)
        if (plan->capture->lists->threads[i].tid == tid)
            return (plan->capture->threads[i].write & MDC_THREAD_WRITE_CONTEXT) != 0;
    return true;
}

static mdc_status read_all(const mdc_plan *plan, exception_state *state, bool *kept, mdc_error *err) {
    bool wide = plan->capture->lists->system->architecture != MDC_FILE_ARCH_X86;
    uint8_t bytes[16];
    uint64_t pointers[2] = {0, 0};
    size_t pointer = wide ? 8 : 4;
    if (get(plan, plan->engine->options.exception.pointers, bytes, 2 * pointer, kept, err) != MDC_OK || !*kept)
        return err->code;
    memcpy(&pointers[0], bytes, pointer);
    memcpy(&pointers[1], bytes + pointer, pointer);
    if (get_record(plan, pointers[0], wide, &state->stream.record, kept, err) != MDC_OK || !*kept) return err->code;
    return get(plan, pointers[1], state->context, state->context_size, kept, err);
}

static void fill_signal(const mdc_crash *crash, const mdc_snapshot *lists, exception_state *state) {
    const mdc_thread *thread = &lists->threads[crash->thread];
    memcpy(state->context, crash->context != NULL ? crash->context : thread->context, state->context_size);
    mdc_file_exception_record *record = &state->stream.record;
    *record = (mdc_file_exception_record){
        .code = crash->signal, .flags = crash->code, .address = crash->address, .parameters = crash->parameter_count};
    memcpy(record->information, crash->parameters, sizeof crash->parameters);
}

/* Bytes of the context. A Windows process has no extended state in its exception. */
static size_t context_bytes(const mdc_plan *plan) {
    const mdc_snapshot *lists = plan->capture->lists;
    const mdc_crash *crash = &plan->capture->crash;
    if (crash->context != NULL) return crash->context_size;
    if (crash->known) return lists->threads[crash->thread].context_size;
    size_t size = lists->thread_count > 0 ? lists->threads[0].context_size : 0;
    return size < MDC_AMD64_CONTEXT_SIZE ? size : MDC_AMD64_CONTEXT_SIZE;
}

static mdc_status read_stream(mdc_plan *plan, void **place, mdc_error *err) {
    const mdc_engine *engine = plan->engine;
    const mdc_crash *crash = &plan->capture->crash;
    uint32_t tid =
        crash->known ? plan->capture->lists->threads[crash->thread].tid : engine->options.exception.thread_id;
    if (tid == 0 || (engine->options.plan_only && !crash->known)) return MDC_OK;
    bool kept = thread_kept(plan, tid);
    size_t context_size = context_bytes(plan);
    exception_state *state = *place = mdc_alloc(1, sizeof *state + context_size, err);
    if (state == NULL) return err->code;
    state->context_size = context_size;
    if (kept && crash->known)
        fill_signal(crash, plan->capture->lists, state);
    else if (kept && read_all(plan, state, &kept, err) != MDC_OK)
        return err->code;
    if (!kept) {
        plan->omitted_streams |= MDC_STREAM_EXCEPTION;
        mdc_dealloc(state);
        *place = NULL;
        return MDC_OK;
    }
    mdc_file_exception_record *record = &state->stream.record;
    state->stream.thread_id = tid;
    if (record->parameters > PARAMETERS_MAX) record->parameters = PARAMETERS_MAX;
    record->align = 0;
    mdc_sanitize(engine, 0, record->information, sizeof record->information);
    mdc_sanitize(engine, 0, state->context, state->context_size);
    mdc_sanitize_registers(plan->capture, state->context, state->context_size);
    return MDC_OK;
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const exception_state *state = place->state;
    if (state == NULL) return MDC_OK;
    size_t context_at;
    if (mdc_layout_align(layout, 16, err) != MDC_OK ||
        mdc_layout_put(layout, state->context, state->context_size, &context_at, err) != MDC_OK)
        return err->code;
    mdc_file_exception stream = state->stream;
    stream.context = (mdc_file_location){(uint32_t)state->context_size, (uint32_t)context_at};
    return mdc_layout_table(layout, MDC_STREAM_TYPE_EXCEPTION, &stream, sizeof stream, 0, 0, NULL, err);
}

const mdc_stream mdc_stream_exception = {.type = MDC_STREAM_TYPE_EXCEPTION,
                                         .omit = MDC_STREAM_EXCEPTION,
                                         .check = check_target,
                                         .read = read_stream,
                                         .free = mdc_dealloc,
                                         .build = build_stream};
