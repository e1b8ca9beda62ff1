/* A DLL in place of dbghelp.dll that plays the sequence of callbacks that dbghelp 6.3.9600 and 10.0.22621 were recorded
 * to send (docs/callbacks.md), over a small target, and writes a real dump: random access, header first, directory
 * last. What dbghelp cannot be made to do (snapshots, read failures, errors) it does by script.
 *
 * Nothing here is shared with the code under test but the declarations of the protocol. Built as a DLL:
 * x86_64-w64-mingw32-gcc -shared script_double.c. A test program may also include it and name itself as the library. */
#include "script_state.h"

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
        if (i > 0 && !ask_cancel(d)) return FALSE;
        fresh(d);
        d->input.u.IncludeThread.ThreadId = thread_id(i);
        d->output.ThreadWriteFlags = d->thread_flags[i];
        d->thread_flags[i] = ask(d, 3) ? d->output.ThreadWriteFlags & d->thread_flags[i] : 0;
    }
    if (!ask_cancel(d) || !ask_cancel(d)) return FALSE;
    for (unsigned i = 0; i < D_MODULES; i++) {
        d->module_flags[i] = 0x0D;
        if (script.only_items) continue;
        fresh(d);
        d->input.u.IncludeModule.BaseOfImage = module_base(i);
        d->output.ModuleWriteFlags = d->module_flags[i];
        d->module_flags[i] = ask(d, 4) ? d->output.ModuleWriteFlags & d->module_flags[i] : 0;
        if (!ask_cancel(d)) return FALSE;
    }
    return passes(d, 4);
}

static BOOL gather_threads(dump *d) {
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
        if (script.gcc_layout && sizeof(void *) == 8) { /* no Pad: everything after ThreadHandle is 4 bytes earlier */
            uint8_t *bytes = (uint8_t *)&thread;
            memmove(bytes + 12, bytes + 16, sizeof thread - 16);
        }
        memcpy(&d->input.u.Thread, &thread, sizeof thread);
        d->output.ThreadWriteFlags = d->thread_flags[i];
        BOOL answer = ask(d, 1);
        if (!answer && !script.only_items) return fail(d, D_ABORT);
        d->thread_flags[i] = answer ? d->output.ThreadWriteFlags & d->thread_flags[i] : 0;
    }
    return passes(d, 1) && ask_cancel(d);
}

static BOOL gather_modules(dump *d) {
    for (unsigned i = 0; i < D_MODULES; i++) {
        if ((d->module_flags[i] & 1) == 0) continue;
        fresh(d);
        memset(&d->input.u.Module, 0, sizeof d->input.u.Module);
        d->input.u.Module.FullPath = (const uint16_t *)MODULE_NAMES[i];
        d->input.u.Module.BaseOfImage = module_base(i);
        d->input.u.Module.SizeOfImage = 0x10000;
        d->output.ModuleWriteFlags = d->module_flags[i];
        BOOL answer = ask(d, 0);
        if (!answer && !script.only_items) return fail(d, D_ABORT);
        d->module_flags[i] = answer ? d->output.ModuleWriteFlags & d->module_flags[i] : 0;
    }
    return passes(d, 0);
}

/* Wine sends Thread before Module. */
static BOOL gather_items(dump *d) {
    if (script.only_items) return gather_threads(d) && gather_modules(d);
    return gather_modules(d) && gather_threads(d);
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
            if (type == 5 && !ask_cancel(d)) return FALSE;
        }
    }
    return passes(d, 9);
}

/* What is where. No callee here has memory of its own. */
static BOOL query(dump *d, uint64_t address) {
    if (!d->vm) return TRUE;
    fresh(d);
    memset(&d->output, 0xEE, sizeof d->output);
    d->input.u.VmQuery.Offset = address;
    d->output.VmQuery.VmQueryStatus = D_E_NOTIMPL;
    if (ask(d, 18) && d->output.VmQuery.VmQueryStatus != D_E_NOTIMPL)
        return fail(d, (uint32_t)d->output.VmQuery.VmQueryStatus);
    return TRUE;
}

/* IncludeVmRegion about the area, and again about the rest after each kept part: what is kept. */
static BOOL ask_regions(dump *d, range kept[D_RANGES], uint32_t *count) {
    range rest = {script.area, script.area_size};
    uint64_t end = script.area + script.area_size;
    *count = 0;
    if (!query(d, script.area)) return FALSE;
    while (rest.size != 0 && *count < D_RANGES) {
        fresh(d);
        MINIDUMP_MEMORY_INFO *info = &d->output.Region.VmRegion;
        *info = (MINIDUMP_MEMORY_INFO){.BaseAddress = rest.base,
                                       .AllocationBase = script.area,
                                       .AllocationProtect = 4,
                                       .RegionSize = rest.size,
                                       .State = 0x1000,
                                       .Protect = 4,
                                       .Type = 0x20000};
        if (script.only_items || !ask(d, 10) || !d->output.Region.Continue) {
            kept[(*count)++] = rest;
            return TRUE;
        }
        uint64_t base = info->BaseAddress, size = info->RegionSize;
        if (base < rest.base || base % D_PAGE != 0 || size % D_PAGE != 0 || base + size > end)
            complain("the answer to IncludeVmRegion is no page-aligned part of the region");
        if (size != 0) kept[(*count)++] = (range){base, size};
        rest = size == 0 || script.asks_once ? (range){0, 0} : (range){base + size, end - base - size};
        if (!ask_cancel(d)) return FALSE;
    }
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
            if (!append_memory(d, base, D_STACK, ENDS_THE_DUMP, &rva, &stored)) return FALSE;
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
        if (!append_memory(d, d->ranges[i].base, d->ranges[i].size, IS_ASKED_ABOUT, &rva, &stored)) return FALSE;
        if (stored == 0) continue;
        uint32_t numbers[4] = {0, 0, (uint32_t)stored, rva};
        memcpy(numbers, &d->ranges[i].base, sizeof d->ranges[i].base);
        memcpy(list + 4 + 16 * count++, numbers, sizeof numbers);
    }
    memcpy(list, &count, sizeof count);
    return append(d, list, 4 + 16 * count, &rva) && enter_stream(d, 5, 4 + 16 * count, rva);
}

static BOOL write_full(dump *d, const range *kept, uint32_t count) {
    uint64_t list[2 + 2 * D_RANGES] = {0};
    uint32_t rva, list_rva, size = 16 + 16 * count, again_count;
    range again[D_RANGES];
    on_failure what = (d->type & 0x20000) != 0 ? LOSES_THE_RANGE : ENDS_THE_DUMP; /* IgnoreInaccessibleMemory */
    if (!ask_regions(d, again, &again_count)) return FALSE;                       /* the second pass */
    if (again_count != count || memcmp(again, kept, count * sizeof *kept) != 0)
        complain("two answers about one region differ");
    if (!append(d, list, size, &list_rva)) return FALSE; /* gone back to below */
    list[0] = count;
    list[1] = list_rva + size;
    for (uint32_t i = 0; i < count; i++) {
        list[2 + 2 * i] = kept[i].base;
        if (!append_memory(d, kept[i].base, kept[i].size, what, &rva, &list[3 + 2 * i])) return FALSE;
    }
    return write_at(d, list_rva, list, size) && enter_stream(d, 9, size, list_rva);
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

static BOOL write_header(dump *d) {
    uint32_t header[8] = {script.spoil == 2 ? 0 : 0x504D444D, 0xA793, D_STREAMS, D_DIRECTORY};
    header[6] = d->type;
    return write_at(d, 0, header, sizeof header);
}

static BOOL finish(dump *d) {
    for (uint32_t i = 0; i < D_STREAMS; i++)
        if (!write_at(d, D_DIRECTORY + 12 * (uint64_t)i, d->directory[i], sizeof d->directory[i])) return FALSE;
    return TRUE;
}

/* Sent after a refused IoWriteAll too. */
static BOOL finish_io(dump *d) {
    fresh(d);
    d->input.u.Io.Handle = d->file;
    d->output.Status = D_E_FAIL;
    return ask(d, 13) && d->output.Status >= 0 ? TRUE : fail(d, (uint32_t)D_E_FAIL);
}

static BOOL ask_kernel(dump *d) {
    if (script.only_items) return TRUE;
    fresh(d);
    if (ask(d, 7) && d->output.Handle != NULL) {
        fresh(d);
        d->input.u.Status = D_E_NOTIMPL;
        ask(d, 8);
    }
    return passes(d, 7);
}

static BOOL write_file(dump *d, const range *kept, uint32_t count) {
    return write_header(d) && write_threads(d) && write_modules(d) &&
           ((d->type & 2) != 0 ? write_full(d, kept, count) : write_memory(d)) &&
           (!script.with_items || write_items(d)) && finish(d);
}

static BOOL write_dump(dump *d) {
    BOOL full = (d->type & 2) != 0;
    range kept[D_RANGES];
    uint32_t count = 0;
    if (!begin(d) || !include_items(d) || !gather_items(d)) return FALSE;
    if (full ? !ask_regions(d, kept, &count) : !gather_memory(d)) return FALSE;
    if (!passes(d, 10)) return FALSE;
    BOOL written = write_file(d, kept, count);
    if (d->io && (written || d->refused)) written = finish_io(d) && written;
    return written && ask_kernel(d);
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
