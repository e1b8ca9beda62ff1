/* The engine's side of the callback ABI: one function per callback type. Each builds a fresh INPUT, zeroes the whole
 * 52-byte OUTPUT, sets the type's default, calls, counts, and checks the answer as hostile. Without a callback every
 * function behaves as if the callee had no opinion. */
#ifndef MDC_ENGINE_PROTOCOL_CALLS_H
#define MDC_ENGINE_PROTOCOL_CALLS_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/engine.h"
#include "../base/dump_control.h"
#include "../source/source.h"

typedef struct mdc_calls {
    MINIDUMP_CALLBACK_INFORMATION callback;
    uint32_t pid;
    uint32_t extensions; /* MDC_EXT_* */
    void *process;
    mdc_dump_control *control;
    uint64_t count[32];
    bool check_cancel;    /* the callee wants to be asked for Cancel */
    bool wants_post_read; /* VmStart was answered S_FALSE: VmPostRead is sent */
    bool serves_memory; /* and the callee may serve memory: VmQuery and VmPreRead are sent, also for untouched pages */
    bool ask_regions;   /* false once IncludeVmRegion was answered FALSE or without Continue */
    alignas(16) MINIDUMP_CALLBACK_INPUT input;
} mdc_calls;

void mdc_calls_init(mdc_calls *calls, const mdc_engine_options *options, uint32_t pid, void *process,
                    mdc_dump_control *control);

/* IsProcessSnapshot and VmStart. */
void mdc_calls_begin(mdc_calls *calls);
/* IoStart: true if the callee does the writing. `handle` is Io.Handle: what it would be written to otherwise. */
bool mdc_calls_io_start(mdc_calls *calls, void *handle);
/* SecondaryFlags: MDC_SECONDARY_* in effect. */
uint32_t mdc_calls_secondary_flags(mdc_calls *calls);

/* Cancel while the callee wants it: MDC_ERR_CANCELLED. */
mdc_status mdc_calls_cancel(mdc_calls *calls, mdc_error *err);
/* The dump control and Cancel: between items, and for each piece of about 1 MiB. */
mdc_status mdc_calls_poll(mdc_calls *calls, mdc_error *err);

/* IncludeThread and IncludeModule: the flags that stay, at most `flags`; 0 if the item is left out. */
uint32_t mdc_calls_include_thread(mdc_calls *calls, uint32_t tid, uint32_t flags);
uint32_t mdc_calls_include_module(mdc_calls *calls, uint64_t base, uint32_t flags);
/* Thread and Module: likewise. The thread's part of its stack is [low, high). */
uint32_t mdc_calls_thread(mdc_calls *calls, const mdc_thread *thread, uint64_t low, uint64_t high, uint32_t flags);
uint32_t mdc_calls_module(mdc_calls *calls, const MINIDUMP_MODULE_CALLBACK *module, uint32_t flags);

/* Memory and RemoveMemory (`type`): one more range; *size 0 when there are no more. */
mdc_status mdc_calls_memory(mdc_calls *calls, uint32_t type, uint64_t *base, uint64_t *size, mdc_error *err);

/* IncludeVmRegion about [*first, *end) of the region `info` describes. The kept part comes back in *first and *end,
 * empty if nothing is kept. exact: the answer need not be whole pages. When the callee ends the questions,
 * calls->ask_regions is false and the part comes back whole. Facts, if the callee understands them, the caller writes
 * to calls->input.u.RegionFacts before each call: this is asked once per mapping, and a copy would cost as much as the
 * answer. */
mdc_status mdc_calls_include_region(mdc_calls *calls, const MINIDUMP_MEMORY_INFO *info, bool exact, uint64_t *first,
                                    uint64_t *end, mdc_error *err);

/* ReadMemoryFailure: true if the callee tolerates it. */
bool mdc_calls_read_failure(mdc_calls *calls, uint64_t address, uint32_t size);

/* VmQuery */
enum { MDC_VM_ANSWER = 1, MDC_VM_OWN_QUERY = 2, MDC_VM_END = 3 };
int mdc_calls_vm_query(mdc_calls *calls, uint64_t address, MINIDUMP_MEMORY_INFO *result);
/* VmPreRead: bytes the callee served (at most size); *failed: the read fails there, the engine does not read and
 * VmPostRead is not sent. */
uint32_t mdc_calls_vm_pre_read(mdc_calls *calls, uint64_t address, uint8_t *buffer, uint32_t size, bool *failed);
/* VmPostRead: bytes valid from the start of the buffer (at most size). */
uint32_t mdc_calls_vm_post_read(mdc_calls *calls, uint64_t address, uint8_t *buffer, uint32_t size, uint32_t completed);

/* WriteKernelMinidump and KernelMinidumpStatus, after the dump has succeeded. */
void mdc_calls_kernel_minidump(mdc_calls *calls);

#endif
