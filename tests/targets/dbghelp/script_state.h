/* The part of script_double.c that asks, writes and reads: one dump's state, its output, and the reads of its target.
 */
#ifndef MDC_TESTS_SCRIPT_STATE_H
#define MDC_TESTS_SCRIPT_STATE_H

#include <stdio.h>
#include <string.h>
#include <windows.h>

#include "../../../csrc/api/minidump_protocol.h"
#include "script_double.h"

enum {
    D_PAGE = 4096,
    D_BLOCK = 16 * D_PAGE, /* the most that one read asks for */
    D_THREADS = 2,
    D_MODULES = 3,
    D_STACK = 2 * D_PAGE,
    D_RANGES = 64,
    D_DIRECTORY = 32, /* offset */
    D_STREAMS = 12,
    D_BODY = D_DIRECTORY + 12 * D_STREAMS
};
#define D_E_FAIL ((int32_t)0x80004005)
#define D_E_NOTIMPL ((int32_t)0x80004001)
#define D_CANCELLED 0x800704C7u
#define D_ABORT 0x80004004u

static double_script script;
static double_seen seen;
static volatile LONG inside;

/* -- one dump -------------------------------------------------------------------------------------------------------
 */

typedef struct range {
    uint64_t base;
    uint64_t size;
} range;

typedef struct dump {
    HANDLE process; /* to be read */
    HANDLE given;   /* hProcess */
    uint32_t pid;
    HANDLE file;
    uint32_t type;
    MINIDUMP_CALLBACK_INFORMATION callback;
    BOOL io, vm, check_cancel;
    uint32_t hresult; /* why it failed */
    uint64_t end;     /* of what was written */
    uint32_t streams;
    uint32_t directory[D_STREAMS][3];
    BOOL refused; /* a piece of the output */
    uint8_t block[D_BLOCK];
    uint32_t thread_flags[D_THREADS], module_flags[D_MODULES];
    range ranges[D_RANGES];
    uint32_t range_count;
    MINIDUMP_EXCEPTION_INFORMATION exception; /* ThreadId 0: there was none */
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
} dump;

static const wchar_t *const MODULE_NAMES[D_MODULES] = {L"C:\\app\\one.exe", L"C:\\app\\libtwo.dll",
                                                       L"C:\\Windows\\System32\\three.dll"};

static uint64_t module_base(unsigned i) { return script.area + script.area_size + 0x100000u * (i + 1); }
static uint32_t thread_id(unsigned i) { return 1000 + 4 * i; }

static void complain(const char *what) {
    if (seen.complaint[0] == 0) snprintf(seen.complaint, sizeof seen.complaint, "%s", what);
}

static BOOL fail(dump *d, uint32_t hresult) {
    if (d->hresult == 0) d->hresult = hresult;
    return FALSE;
}

/* Asks with the content of input.u and output; the input's head is filled in as dbghelp does. */
static BOOL ask(dump *d, uint32_t type) {
    BOOL target = type <= 6 || type == 9 || type == 10 || type == 14 || type == 15;
    d->input.CallbackType = type;
    d->input.ProcessId = target ? d->pid : 0;
    d->input.ProcessHandle = target || type >= 16 ? d->given : NULL;
    if (seen.calls < DOUBLE_CALLS) seen.types[seen.calls] = (uint8_t)type;
    seen.calls++;
    return d->callback.CallbackRoutine(d->callback.CallbackParam, &d->input, &d->output) != 0;
}

static void fresh(dump *d) {
    memset(&d->input, 0xEE, sizeof d->input); /* what a callee must not look at is no zero by chance */
    memset(&d->output, 0, sizeof d->output);
}

/* After a callback of this type: whether the script lets the dump end here. */
static BOOL passes(dump *d, uint32_t type) {
    if (script.hresult != 0 && script.fail_after == type) return fail(d, script.hresult);
    return TRUE;
}

static BOOL ask_cancel(dump *d) {
    if (!d->check_cancel || script.only_items) return TRUE;
    fresh(d);
    BOOL handled = ask(d, 6);
    d->check_cancel = d->output.Cancel.CheckCancel != 0; /* with FALSE too */
    if (handled && d->output.Cancel.Cancel != 0) return fail(d, D_CANCELLED);
    return passes(d, 6);
}

/* -- output ---------------------------------------------------------------------------------------------------------
 */

static BOOL write_at(dump *d, uint64_t offset, const void *data, uint32_t size) {
    if (offset + size > d->end) d->end = offset + size;
    if (d->io) {
        fresh(d);
        d->input.u.Io = (MINIDUMP_IO_CALLBACK){d->file, offset, data, size};
        d->output.Status = D_E_FAIL;
        if (ask(d, 12) && d->output.Status == 0) return TRUE;
        d->refused = TRUE;
        return fail(d, d->output.Status < 0 ? (uint32_t)d->output.Status : (uint32_t)D_E_FAIL);
    }
    OVERLAPPED at;
    DWORD done = 0;
    memset(&at, 0, sizeof at);
    at.Offset = (DWORD)offset;
    at.OffsetHigh = (DWORD)(offset >> 32);
    if (!WriteFile(d->file, data, size, &done, &at) || done != size) return fail(d, 0x80070000u | GetLastError());
    return TRUE;
}

/* Appends; *rva: where. */
static BOOL append(dump *d, const void *data, uint32_t size, uint32_t *rva) {
    uint64_t at = d->end < D_BODY ? D_BODY : d->end;
    *rva = (uint32_t)at;
    return write_at(d, at, data, size);
}

static BOOL enter_stream(dump *d, uint32_t type, uint32_t size, uint32_t rva) {
    uint32_t *entry = d->directory[d->streams++];
    entry[0] = type;
    entry[1] = size;
    entry[2] = script.spoil == 1 ? (uint32_t)d->end : rva;
    return TRUE;
}

/* -- reading the target ---------------------------------------------------------------------------------------------
 */

static BOOL fails_here(uint64_t address) {
    return address >= script.area + script.area_size - (uint64_t)script.failed_reads * D_PAGE;
}

/* Reads to the end of the page; `rest` bytes of the block are left, and the Vm callbacks are asked about all of them.
 * *done: how many there are now. */
static int32_t read_some(dump *d, uint64_t address, uint8_t *buffer, uint32_t rest, uint32_t *done) {
    uint32_t size = (uint32_t)(D_PAGE - address % D_PAGE);
    SIZE_T got = 0;
    if (size > rest) size = rest;
    if (d->vm) {
        fresh(d);
        d->input.u.VmPreRead = (MINIDUMP_VM_PRE_READ_CALLBACK){address, buffer, rest};
        d->output.VmRead = (MDC_OUTPUT_VM_READ){D_E_NOTIMPL, 40}; /* the count is garbage on entry */
        *done = rest;
        if (ask(d, 19) && d->output.VmRead.VmReadBytesCompleted >= rest) return 0;
    }
    int32_t status = 0;
    if (fails_here(address))
        status = (int32_t)script.failure;
    else if (!ReadProcessMemory(d->process, (void *)(uintptr_t)address, buffer, size, &got))
        status = (int32_t)(0x80070000u | GetLastError());
    if (d->vm) {
        fresh(d);
        d->input.u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){address, buffer, rest, (uint32_t)got, status};
        d->output.VmRead = (MDC_OUTPUT_VM_READ){D_E_NOTIMPL, 40};
        if (ask(d, 20)) {
            status = d->output.VmRead.VmReadStatus;
            got = d->output.VmRead.VmReadBytesCompleted;
        }
    }
    *done = (uint32_t)got;
    return status != 0 ? status : got != 0 ? 0 : (int32_t)0x8007012B;
}

/* All of a block, or a failure. */
static int32_t read_block(dump *d, uint64_t address, uint32_t size) {
    for (uint32_t at = 0, done; at < size; at += done) {
        int32_t status = read_some(d, address + at, d->block + at, size - at, &done);
        if (status != 0) return status;
    }
    return 0;
}

typedef enum on_failure { ENDS_THE_DUMP, IS_ASKED_ABOUT, LOSES_THE_RANGE } on_failure;

/* Appends [base, base + size) of the target; *stored: all of it, or nothing if a read failed and the dump goes on. */
static BOOL append_memory(dump *d, uint64_t base, uint64_t size, on_failure what, uint32_t *rva, uint64_t *stored) {
    *stored = 0;
    *rva = (uint32_t)(d->end < D_BODY ? D_BODY : d->end);
    while (*stored < size) {
        uint64_t address = base + *stored;
        uint32_t block = size - *stored < D_BLOCK ? (uint32_t)(size - *stored) : D_BLOCK, at;
        if (!ask_cancel(d)) return FALSE;
        int32_t status = read_block(d, address, block);
        if (status != 0) {
            *stored = 0;
            if (what == LOSES_THE_RANGE) return TRUE;
            fresh(d);
            d->input.u.ReadMemoryFailure = (MINIDUMP_READ_MEMORY_FAILURE_CALLBACK){address, block, status};
            d->output.Status = 1;
            if (what == IS_ASKED_ABOUT && !script.only_items && ask(d, 14) && d->output.Status == 0) return TRUE;
            return fail(d, (uint32_t)status);
        }
        if (!append(d, d->block, block, &at)) return FALSE;
        *stored += block;
    }
    return TRUE;
}

#endif
