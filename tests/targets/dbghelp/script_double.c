/* A DLL in place of dbghelp.dll that plays the documented sequence of callbacks over a small target, with every member
 * of the output on entry as protocol.md has it, and writes a real dump: random access, header last. What it cannot be
 * made to do by a Windows of its own (snapshots, read failures, cancel) it does by script.
 *
 * Nothing here is shared with the code under test but the declarations of the protocol. Built as a DLL:
 * x86_64-w64-mingw32-gcc -shared script_double.c. A test program may also include it and name itself as the library. */
#include "script_double.h"

#include <stdio.h>
#include <string.h>
#include <windows.h>

#include "../../../csrc/api/minidump_protocol.h"

enum {
    D_PAGE = 4096,
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

static double_script script;
static double_seen seen;
static volatile LONG inside;

__declspec(dllexport) void double_set(const double_script *given);
__declspec(dllexport) const double_seen *double_read(void);
__declspec(dllexport) BOOL WINAPI MiniDumpWriteDump(HANDLE process, DWORD pid, HANDLE file, uint32_t type,
                                                    MINIDUMP_EXCEPTION_INFORMATION *exception,
                                                    MINIDUMP_USER_STREAM_INFORMATION *streams,
                                                    MINIDUMP_CALLBACK_INFORMATION *callback);
__declspec(dllexport) DWORD WINAPI PssCaptureSnapshot(HANDLE process, DWORD flags, DWORD context, void **snapshot);
__declspec(dllexport) DWORD WINAPI PssQuerySnapshot(void *snapshot, int what, void *buffer, DWORD size);
__declspec(dllexport) DWORD WINAPI PssFreeSnapshot(HANDLE process, void *snapshot);

void double_set(const double_script *given) {
    memset(&seen, 0, sizeof seen);
    script = *given;
}

const double_seen *double_read(void) { return &seen; }

/* -- snapshots ------------------------------------------------------------------------------------------------------
 */

static struct {
    HANDLE process; /* what it was taken of */
    int alive;
} pss;

DWORD WINAPI PssCaptureSnapshot(HANDLE process, DWORD flags, DWORD context, void **snapshot) {
    (void)context;
    seen.captures++;
    seen.capture_flags = flags;
    if (script.clone == NULL) return ERROR_NOT_SUPPORTED;
    pss.process = process;
    pss.alive = 1;
    *snapshot = &pss;
    return ERROR_SUCCESS;
}

DWORD WINAPI PssQuerySnapshot(void *snapshot, int what, void *buffer, DWORD size) {
    seen.queries++;
    if (script.no_clone) return ERROR_NOT_FOUND;
    if (snapshot != &pss || what != 1 || size != sizeof(HANDLE)) return ERROR_INVALID_PARAMETER;
    memcpy(buffer, &script.clone, sizeof script.clone);
    return ERROR_SUCCESS;
}

DWORD WINAPI PssFreeSnapshot(HANDLE process, void *snapshot) {
    if (process != GetCurrentProcess() || snapshot != &pss || !pss.alive) seen.wrong_frees++;
    seen.frees++;
    pss.alive = 0;
    return ERROR_SUCCESS;
}

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

/* Asks with what stands in input.u and output; the input's head is filled in as Windows does. */
static BOOL ask(dump *d, uint32_t type) {
    BOOL target = type <= 6 || type == 9 || type == 15;
    d->input.CallbackType = type;
    d->input.ProcessId = target ? d->pid : 0;
    d->input.ProcessHandle = target || type == 16 || type == 17 ? d->given : NULL;
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
    d->check_cancel = handled && d->output.Cancel.CheckCancel != 0;
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
        if (!ask(d, 12) || d->output.Status != 0)
            return fail(d, d->output.Status < 0 ? (uint32_t)d->output.Status : (uint32_t)D_E_FAIL);
        return TRUE;
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
    uint32_t entry[3] = {type, size, rva};
    if (script.spoil == 1) entry[2] = (uint32_t)d->end;
    return write_at(d, D_DIRECTORY + 12 * (uint64_t)d->streams++, entry, sizeof entry);
}

/* -- reading the target ---------------------------------------------------------------------------------------------
 */

static BOOL fails_here(uint64_t address) {
    return address >= script.area + script.area_size - (uint64_t)script.failed_reads * D_PAGE;
}

/* One page or less. With Vm callbacks: 19, a read, 20. */
static int32_t read_page(dump *d, uint64_t address, uint8_t *page, uint32_t size) {
    SIZE_T done = 0;
    if (d->vm) {
        fresh(d);
        d->input.u.VmPreRead = (MINIDUMP_VM_PRE_READ_CALLBACK){address, page, size};
        d->output.VmRead.VmReadStatus = D_E_NOTIMPL;
        if (ask(d, 19) && d->output.VmRead.VmReadBytesCompleted >= size) return 0;
    }
    int32_t status = 0;
    if (fails_here(address))
        status = (int32_t)script.failure;
    else if (!ReadProcessMemory(d->process, (void *)(uintptr_t)address, page, size, &done))
        status = (int32_t)(0x80070000u | GetLastError());
    if (d->vm) {
        fresh(d);
        d->input.u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){address, page, size, (uint32_t)done, status};
        d->output.VmRead.VmReadStatus = D_E_NOTIMPL;
        if (ask(d, 20)) {
            status = d->output.VmRead.VmReadStatus;
            done = d->output.VmRead.VmReadBytesCompleted;
        }
    }
    return status != 0 ? status : done == size ? 0 : (int32_t)0x8007012B;
}

/* Appends [base, base + size) of the target; *stored: how much of it, up to the first read that failed. */
static BOOL append_memory(dump *d, uint64_t base, uint64_t size, uint32_t *rva, uint64_t *stored) {
    uint8_t page[D_PAGE];
    *stored = 0;
    *rva = (uint32_t)(d->end < D_BODY ? D_BODY : d->end);
    while (*stored < size) {
        uint64_t address = base + *stored;
        uint32_t part = (uint32_t)(D_PAGE - address % D_PAGE), at;
        if (part > size - *stored) part = (uint32_t)(size - *stored);
        if (!ask_cancel(d)) return FALSE;
        int32_t status = read_page(d, address, page, part);
        if (status != 0) {
            fresh(d);
            d->input.u.ReadMemoryFailure =
                (MINIDUMP_READ_MEMORY_FAILURE_CALLBACK){address, (uint32_t)(size - *stored), status};
            d->output.Status = 1;
            if (script.only_items || !ask(d, 14) || d->output.Status != 0) return fail(d, (uint32_t)status);
            return TRUE;
        }
        if (!append(d, page, part, &at)) return FALSE;
        *stored += part;
    }
    return TRUE;
}

/* -- the sequence ---------------------------------------------------------------------------------------------------
 */

static BOOL begin(dump *d) {
    if (script.only_items) return TRUE;
    fresh(d);
    d->output.Status = D_E_NOTIMPL;
    BOOL snapshot = ask(d, 16) && d->output.Status == 1;
    seen.was_snapshot = (uint32_t)snapshot;
    seen.handle_fits = snapshot == (d->given == (HANDLE)&pss);
    if (snapshot) d->process = script.no_clone ? (HANDLE)script.clone : pss.process;
    if (!seen.handle_fits) return fail(d, 0x80070006u);
    if (!passes(d, 16)) return FALSE;
    fresh(d);
    d->output.Status = D_E_NOTIMPL;
    d->vm = ask(d, 17) && d->output.Status == 1 && !script.unshown;
    fresh(d);
    d->input.u.Io.Handle = d->file;
    d->output.Status = D_E_NOTIMPL;
    d->io = ask(d, 11) && d->output.Status == 1;
    seen.io = d->io != 0;
    fresh(d);
    d->input.u.SecondaryFlags = 0;
    d->output.SecondaryFlags = 0;
    if (ask(d, 15) && (d->output.SecondaryFlags & ~1u) != 0) complain("unknown secondary flags");
    if (!passes(d, 15)) return FALSE;
    d->check_cancel = TRUE;
    for (uint32_t waited = 0; waited <= script.wait_for_cancel; waited += 10) {
        if (!ask_cancel(d)) return FALSE;
        if (waited < script.wait_for_cancel) Sleep(10);
    }
    return TRUE;
}

static BOOL include_items(dump *d) {
    for (unsigned i = 0; i < D_THREADS; i++) {
        d->thread_flags[i] = 0x17;
        if (script.only_items) continue;
        fresh(d);
        d->input.u.IncludeThread.ThreadId = thread_id(i);
        d->output.ThreadWriteFlags = d->thread_flags[i];
        d->thread_flags[i] = ask(d, 3) ? d->output.ThreadWriteFlags & d->thread_flags[i] : 0;
    }
    for (unsigned i = 0; i < D_MODULES; i++) {
        d->module_flags[i] = 0x0D;
        if (script.only_items) continue;
        fresh(d);
        d->input.u.IncludeModule.BaseOfImage = module_base(i);
        d->output.ModuleWriteFlags = d->module_flags[i];
        d->module_flags[i] = ask(d, 4) ? d->output.ModuleWriteFlags & d->module_flags[i] : 0;
    }
    return passes(d, 4) && ask_cancel(d);
}

static BOOL gather_items(dump *d) {
    for (unsigned i = 0; i < D_THREADS; i++) {
        if ((d->thread_flags[i] & 1) == 0) continue;
        fresh(d);
        uint64_t low = script.area + i * (uint64_t)D_STACK, high = low + D_STACK;
        MINIDUMP_THREAD_CALLBACK thread;
        memset(&thread, 0, sizeof thread);
        thread.ThreadId = thread_id(i);
        thread.SizeOfContext = MDC_CONTEXT_SIZE;
        thread.StackBase = script.low_first ? low : high;
        thread.StackEnd = script.low_first ? high : low;
        if (script.gcc_layout && sizeof(void *) == 8) { /* no Pad: everything behind ThreadHandle is 4 bytes earlier */
            uint8_t *bytes = (uint8_t *)&thread;
            memmove(bytes + 12, bytes + 16, sizeof thread - 16);
        }
        memcpy(&d->input.u.Thread, &thread, sizeof thread);
        d->output.ThreadWriteFlags = d->thread_flags[i];
        d->thread_flags[i] = ask(d, 1) ? d->output.ThreadWriteFlags & d->thread_flags[i] : 0;
    }
    for (unsigned i = 0; i < D_MODULES; i++) {
        if ((d->module_flags[i] & 1) == 0) continue;
        fresh(d);
        memset(&d->input.u.Module, 0, sizeof d->input.u.Module);
        d->input.u.Module.FullPath = (const uint16_t *)MODULE_NAMES[i];
        d->input.u.Module.BaseOfImage = module_base(i);
        d->input.u.Module.SizeOfImage = 0x10000;
        d->output.ModuleWriteFlags = d->module_flags[i];
        d->module_flags[i] = ask(d, 0) ? d->output.ModuleWriteFlags & d->module_flags[i] : 0;
    }
    return passes(d, 0) && ask_cancel(d);
}

static void remove_range(dump *d, uint64_t base, uint64_t size) {
    for (uint32_t i = 0; i < d->range_count; i++) {
        range *r = &d->ranges[i];
        uint64_t end = r->base + r->size, stop = base + size;
        if (base >= end || stop <= r->base) continue;
        if (base > r->base && stop < end && d->range_count < D_RANGES)
            d->ranges[d->range_count++] = (range){stop, end - stop};
        if (base > r->base)
            r->size = base - r->base;
        else if (stop < end)
            *r = (range){stop, end - stop};
        else
            r->size = 0;
    }
}

/* 5 and 9: what is added to a dump without full memory, and taken out of it again. */
static BOOL gather_memory(dump *d) {
    for (unsigned i = 0; i < D_THREADS; i++)
        if ((d->thread_flags[i] & 3) == 3)
            d->ranges[d->range_count++] = (range){script.area + i * (uint64_t)D_STACK, D_STACK};
    for (uint32_t type = 5; type <= 9 && !script.only_items; type += 4) {
        for (;;) {
            fresh(d);
            if (!ask(d, type) || d->output.Memory.MemorySize == 0) break;
            if (type == 9)
                remove_range(d, d->output.Memory.MemoryBase, d->output.Memory.MemorySize);
            else if (d->range_count < D_RANGES)
                d->ranges[d->range_count++] = (range){d->output.Memory.MemoryBase, d->output.Memory.MemorySize};
        }
    }
    return passes(d, 9);
}

static BOOL ask_region(dump *d, range *kept) {
    fresh(d);
    MINIDUMP_MEMORY_INFO *info = &d->output.Region.VmRegion;
    *info = (MINIDUMP_MEMORY_INFO){.BaseAddress = script.area,
                                   .AllocationBase = script.area,
                                   .AllocationProtect = 4,
                                   .RegionSize = script.area_size,
                                   .State = 0x1000,
                                   .Protect = 4,
                                   .Type = 0x20000};
    *kept = (range){script.area, script.area_size};
    if (script.only_items || !ask(d, 10) || !d->output.Region.Continue) return FALSE;
    uint64_t base = info->BaseAddress, size = info->RegionSize;
    if (base < script.area || base % D_PAGE != 0 || size % D_PAGE != 0 || base + size > script.area + script.area_size)
        complain("the answer to IncludeVmRegion is no page-aligned part of the region");
    *kept = (range){base, size};
    return TRUE;
}

static BOOL write_threads(dump *d) {
    uint32_t rva, count = 0;
    uint8_t list[4 + 48 * D_THREADS], context[MDC_CONTEXT_SIZE];
    memset(list, 0, sizeof list);
    for (unsigned i = 0; i < D_THREADS; i++) {
        if ((d->thread_flags[i] & 1) == 0) continue;
        uint32_t numbers[12] = {thread_id(i)};
        memset(context, 0, sizeof context);
        if (script.with_items) memcpy(context + 120, "item-in-register", 16);
        if (!append(d, context, sizeof context, &rva)) return FALSE;
        numbers[10] = sizeof context;
        numbers[11] = rva;
        if ((d->thread_flags[i] & 2) != 0 ||
            script.with_items) { /* the stack is never asked about: an unreadable one ends the dump */
            uint64_t base = script.area + i * (uint64_t)D_STACK, stored;
            memcpy(&numbers[6], &base, sizeof base);
            if (!append_memory(d, base, D_STACK, &rva, &stored)) return FALSE;
            numbers[8] = (uint32_t)stored;
            numbers[9] = rva;
        }
        memcpy(list + 4 + 48 * count++, numbers, sizeof numbers);
    }
    memcpy(list, &count, sizeof count);
    return append(d, list, 4 + 48 * count, &rva) && enter_stream(d, 3, 4 + 48 * count, rva);
}

static BOOL write_modules(dump *d) {
    uint32_t rva, count = 0;
    uint8_t list[4 + 108 * D_MODULES];
    memset(list, 0, sizeof list);
    for (unsigned i = 0; i < D_MODULES; i++) {
        if ((d->module_flags[i] & 1) == 0) continue;
        uint8_t *entry = list + 4 + 108 * count++;
        uint8_t name[128];
        uint32_t bytes = (uint32_t)(2 * wcslen(MODULE_NAMES[i])), size = 0x10000;
        uint64_t base = module_base(i);
        memset(name, 0, sizeof name);
        memcpy(name, &bytes, sizeof bytes);
        memcpy(name + 4, MODULE_NAMES[i], bytes);
        if (!append(d, name, 4 + bytes + 2, &rva)) return FALSE;
        memcpy(entry, &base, sizeof base);
        memcpy(entry + 8, &size, sizeof size);
        memcpy(entry + 20, &rva, sizeof rva);
        if (script.with_items) {
            uint8_t record[24 + 32] = "RSDS";
            uint32_t record_size = sizeof record;
            memcpy(record + 24, "C:\\build\\item-in-pdb\\a.pdb", 27);
            if (!append(d, record, sizeof record, &rva)) return FALSE;
            memcpy(entry + 76, &record_size, sizeof record_size);
            memcpy(entry + 80, &rva, sizeof rva);
        }
    }
    memcpy(list, &count, sizeof count);
    return append(d, list, 4 + 108 * count, &rva) && enter_stream(d, 4, 4 + 108 * count, rva);
}

static BOOL write_memory(dump *d) {
    uint8_t list[4 + 16 * D_RANGES];
    uint32_t rva, count = 0;
    for (uint32_t i = 0; i < d->range_count; i++) {
        uint64_t stored;
        if (!append_memory(d, d->ranges[i].base, d->ranges[i].size, &rva, &stored)) return FALSE;
        if (stored == 0) continue;
        uint32_t numbers[4] = {0, 0, (uint32_t)stored, rva};
        memcpy(numbers, &d->ranges[i].base, sizeof d->ranges[i].base);
        memcpy(list + 4 + 16 * count++, numbers, sizeof numbers);
    }
    memcpy(list, &count, sizeof count);
    return append(d, list, 4 + 16 * count, &rva) && enter_stream(d, 5, 4 + 16 * count, rva);
}

static BOOL write_full(dump *d, const range *kept) {
    uint64_t list[4] = {0}, stored = 0;
    uint32_t rva, list_rva;
    range again;
    (void)ask_region(d, &again); /* the second pass */
    if (again.base != kept->base || again.size != kept->size) complain("two answers about one region differ");
    if (!append(d, list, sizeof list, &list_rva)) return FALSE; /* gone back to below */
    if (kept->size != 0 && !append_memory(d, kept->base, kept->size, &rva, &stored)) return FALSE;
    list[0] = stored != 0;
    list[1] = list_rva + sizeof list;
    list[2] = kept->base;
    list[3] = stored;
    return write_at(d, list_rva, list, sizeof list) &&
           enter_stream(d, 9, stored != 0 ? sizeof list : sizeof list / 2, list_rva);
}

static BOOL append_string(dump *d, const wchar_t *text, uint32_t *rva) {
    uint8_t string[128];
    uint32_t bytes = (uint32_t)(2 * wcslen(text));
    memset(string, 0, sizeof string);
    memcpy(string, &bytes, sizeof bytes);
    memcpy(string + 4, text, bytes);
    return append(d, string, 4 + bytes + 2, rva);
}

/* What is copied from memory that is never asked about, 32-bit fields at the offsets of Microsoft's headers. */
static BOOL write_exception(dump *d) {
    uint64_t pointers[2], at = (uint64_t)(uintptr_t)d->exception.ExceptionPointers;
    uint8_t stream[168], context[MDC_CONTEXT_SIZE];
    uint32_t location[2] = {sizeof context, 0}, rva;
    SIZE_T done;
    memset(stream, 0, sizeof stream);
    memcpy(stream, &d->exception.ThreadId, 4);
    if (!ReadProcessMemory(d->process, (void *)(uintptr_t)at, pointers, sizeof pointers, &done) ||
        !ReadProcessMemory(d->process, (void *)(uintptr_t)pointers[0], stream + 8, 152, &done) ||
        !ReadProcessMemory(d->process, (void *)(uintptr_t)pointers[1], context, sizeof context, &done))
        return fail(d, 0x800703E6u);
    if (!append(d, context, sizeof context, &location[1])) return FALSE;
    memcpy(stream + 160, location, sizeof location);
    return append(d, stream, sizeof stream, &rva) && enter_stream(d, 6, sizeof stream, rva);
}

static BOOL write_items(dump *d) {
    uint32_t names[4] = {1, thread_id(0), 0, 0}, handles[4 + 8] = {16, 32, 1, 0}, rva;
    uint32_t unloaded[3 + 6] = {12, 24, 1};
    if (!append_string(d, L"item-in-thread", &names[2]) || !append(d, names, sizeof names, &rva) ||
        !enter_stream(d, 24, sizeof names, rva))
        return FALSE;
    if (!append_string(d, L"File", &handles[4 + 2]) || !append_string(d, L"item-in-h\u00E4ndle", &handles[4 + 3]) ||
        !append(d, handles, sizeof handles, &rva) || !enter_stream(d, 12, sizeof handles, rva))
        return FALSE;
    if (!append_string(d, L"item-in-unloaded", &unloaded[3 + 5]) || !append(d, unloaded, sizeof unloaded, &rva) ||
        !enter_stream(d, 14, sizeof unloaded, rva))
        return FALSE;
    return d->exception.ThreadId == 0 || write_exception(d);
}

static BOOL finish(dump *d) {
    uint32_t header[8] = {0x504D444D, 0xA793, d->streams, D_DIRECTORY};
    if (script.spoil == 2) header[0] = 0;
    header[6] = d->type;
    if (!write_at(d, 0, header, sizeof header)) return FALSE;
    if (d->io) {
        fresh(d);
        d->input.u.Io.Handle = d->file;
        d->output.Status = D_E_FAIL;
        if (!ask(d, 13) || d->output.Status != 0) return fail(d, (uint32_t)D_E_FAIL);
    }
    if (script.only_items) return TRUE;
    fresh(d);
    if (ask(d, 7) && d->output.Handle != NULL) {
        fresh(d);
        d->input.u.Status = D_E_NOTIMPL;
        ask(d, 8);
    }
    return passes(d, 7);
}

static BOOL write_dump(dump *d) {
    BOOL full = (d->type & 2) != 0;
    range kept = {0, 0};
    if (!begin(d) || !include_items(d) || !gather_items(d)) return FALSE;
    if (full) (void)ask_region(d, &kept);
    if (!full && !gather_memory(d)) return FALSE;
    return passes(d, 10) && write_threads(d) && write_modules(d) && (full ? write_full(d, &kept) : write_memory(d)) &&
           (!script.with_items || write_items(d)) && finish(d);
}

static int32_t MDC_CALL nobody(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    (void)param, (void)output;
    return input->CallbackType <= 4;
}

BOOL WINAPI MiniDumpWriteDump(HANDLE process, DWORD pid, HANDLE file, uint32_t type,
                              MINIDUMP_EXCEPTION_INFORMATION *exception, MINIDUMP_USER_STREAM_INFORMATION *streams,
                              MINIDUMP_CALLBACK_INFORMATION *callback) {
    static _Alignas(16) dump d; /* one at a time: that is what the lock around it is for */
    if (InterlockedIncrement(&inside) != 1) seen.busy++;
    seen.dumps++;
    seen.dump_type = type;
    if (exception != NULL) {
        seen.exception_tid = exception->ThreadId;
        seen.exception_pointers = (uint64_t)(uintptr_t)exception->ExceptionPointers;
        seen.exception_client = (uint32_t)exception->ClientPointers;
    }
    if (streams != NULL) {
        seen.user_streams = streams->UserStreamCount;
        seen.user_stream_type = streams->UserStreamArray[0].Type;
        seen.user_stream_size = streams->UserStreamArray[0].BufferSize;
    }
    memset(&d, 0, sizeof d);
    if (exception != NULL) d.exception = *exception;
    d.process = d.given = process;
    d.pid = pid;
    d.file = file;
    d.type = type;
    d.callback = callback != NULL && callback->CallbackRoutine != NULL ? *callback
                                                                       : (MINIDUMP_CALLBACK_INFORMATION){nobody, NULL};
    BOOL written = write_dump(&d);
    InterlockedDecrement(&inside);
    SetLastError(d.hresult);
    return written;
}
