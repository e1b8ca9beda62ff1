/* The Exception stream of a Windows process: EXCEPTION_POINTERS lead to a record and to the registers at that time.
 * In the target they are memory like any other: read by address, through VmPreRead and VmPostRead, and left out if the
 * callee does not keep them or their thread. In our own process they are copied with a check. */
#include <inttypes.h>
#include <string.h>

#include "../../base/arith.h"
#include "../../base/fail.h"
#include "../../base/own_memory.h"
#include "../dump_state.h"

enum { CONTEXT_MAX = 1232, RECORD32_BYTES = 80, PARAMETERS_MAX = 15 };

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

mdc_status mdc_streams_exception_check(mdc_dump *dump, mdc_error *err) {
    const mdc_exception_info *info = &dump->options.exception;
    if (info->thread_id == 0) return MDC_OK;
    if (dump->lists->system->platform != MDC_PLATFORM_WINDOWS)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_GATHER, 0,
                        "exception is for Windows processes only: no others have EXCEPTION_POINTERS");
    if (info->pointers == 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_GATHER, 0, "exception: the address of EXCEPTION_POINTERS is 0");
    return MDC_OK;
}

/* *kept: the callee keeps it. A failure to read is an error: the address was given by the caller. */
static mdc_status get(mdc_dump *dump, uint64_t address, void *out, size_t size, bool *kept, mdc_error *err) {
    uint64_t end;
    size_t done = 0;
    *kept = true;
    if (address == 0 || !mdc_add_u64(address, size, &end)) {
        done = 0;
    } else if (!dump->options.exception.client) {
        done = mdc_own_memory_read(address, out, size) ? size : 0;
    } else if (mdc_regions_find(dump, address) != MDC_NO_REGION) {
        if (mdc_memory_kept(dump, address, end, kept, err) != MDC_OK) return err->code;
        if (!*kept) return MDC_OK;
        if (mdc_copy_peek(dump, address, out, size, &done, err) != MDC_OK) return err->code;
    }
    if (done == size) return MDC_OK;
    mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_PLAN, 0,
             "exception: there is nothing to read at 0x%" PRIx64 " in the memory of %s", address,
             dump->options.exception.client ? "the target" : "this process");
    err->address = address;
    return err->code;
}

static mdc_status get_record(mdc_dump *dump, uint64_t address, bool wide, bool *kept, mdc_error *err) {
    mdc_file_exception_record *record = &dump->exception.record;
    if (wide) return get(dump, address, record, sizeof *record, kept, err);
    record32 narrow;
    if (get(dump, address, &narrow, sizeof narrow, kept, err) != MDC_OK || !*kept) return err->code;
    *record = (mdc_file_exception_record){.code = narrow.code,
                                          .flags = narrow.flags,
                                          .record = narrow.record,
                                          .address = narrow.address,
                                          .parameters = narrow.parameters};
    for (size_t i = 0; i < PARAMETERS_MAX; i++) record->information[i] = narrow.information[i];
    return MDC_OK;
}

/* Whether the callee lets the thread's registers into the dump; a thread in no list is left out. */
static bool thread_kept(const mdc_dump *dump) {
    for (size_t i = 0; i < dump->thread_plans.count; i++)
        if (dump->lists->threads[i].tid == dump->options.exception.thread_id)
            return (mdc_vec_at(&dump->thread_plans, const mdc_thread_plan, i).write & MDC_THREAD_WRITE_CONTEXT) != 0;
    return true;
}

static void edit(mdc_dump *dump, void *bytes, size_t size) {
    if (dump->options.edit != NULL) dump->options.edit(dump->options.edit_context, 0, bytes, size);
}

static mdc_status read_all(mdc_dump *dump, bool wide, size_t context_size, bool *kept, mdc_error *err) {
    uint8_t bytes[16];
    uint64_t pointers[2] = {0, 0};
    size_t pointer = wide ? 8 : 4;
    if (get(dump, dump->options.exception.pointers, bytes, 2 * pointer, kept, err) != MDC_OK || !*kept)
        return err->code;
    memcpy(&pointers[0], bytes, pointer);
    memcpy(&pointers[1], bytes + pointer, pointer);
    if (get_record(dump, pointers[0], wide, kept, err) != MDC_OK || !*kept ||
        mdc_vec_push(&dump->exception_context, NULL, context_size, NULL, err) != MDC_OK)
        return err->code;
    return get(dump, pointers[1], dump->exception_context.data, context_size, kept, err);
}

mdc_status mdc_streams_exception_read(mdc_dump *dump, mdc_error *err) {
    uint16_t architecture = dump->lists->system->architecture;
    bool wide = architecture != MDC_FILE_ARCH_X86;
    size_t context_size = dump->lists->thread_count > 0 ? dump->lists->threads[0].context_size : 0;
    if (dump->options.exception.thread_id == 0 || (dump->options.omit_streams & MDC_STREAM_EXCEPTION) != 0)
        return MDC_OK;
    bool kept = thread_kept(dump);
    if (context_size > CONTEXT_MAX) context_size = CONTEXT_MAX; /* an extended state is not there */
    if (kept && read_all(dump, wide, context_size, &kept, err) != MDC_OK) return err->code;
    if (!kept) {
        dump->omitted_streams |= MDC_STREAM_EXCEPTION;
        return MDC_OK;
    }
    dump->exception.thread_id = dump->options.exception.thread_id;
    if (dump->exception.record.parameters > PARAMETERS_MAX) dump->exception.record.parameters = PARAMETERS_MAX;
    dump->exception.record.align = 0;
    edit(dump, dump->exception.record.information, sizeof dump->exception.record.information);
    edit(dump, dump->exception_context.data, context_size);
    dump->has_exception = true;
    return MDC_OK;
}

mdc_status mdc_streams_exception(mdc_dump *dump, mdc_error *err) {
    if (!dump->has_exception) return MDC_OK;
    size_t at, context_at;
    if (mdc_layout_align(dump, 16, err) != MDC_OK ||
        mdc_layout_put(dump, dump->exception_context.data, dump->exception_context.count, &context_at, err) != MDC_OK)
        return err->code;
    dump->exception.context = (mdc_file_location){(uint32_t)dump->exception_context.count, (uint32_t)context_at};
    if (mdc_layout_align(dump, 8, err) != MDC_OK ||
        mdc_layout_put(dump, &dump->exception, sizeof dump->exception, &at, err) != MDC_OK)
        return err->code;
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_EXCEPTION, at, sizeof dump->exception, NULL, err);
}
