/* What an exception is described by (see exception_pointers.h). */
#include "exception_pointers.h"

#include <string.h>
#include <windows.h>

#include "../base/arith.h"
#include "../base/own_memory.h"
#include "../windows/win_memory.h"

enum { RECORD32_BYTES = 80, CONTEXT32_BYTES = 716 };

static size_t add(mdc_span spans[3], size_t count, uint64_t address, uint64_t size) {
    uint64_t end;
    if (address == 0 || !mdc_add_u64(address, size, &end)) return count;
    spans[count] = (mdc_span){address, size};
    return count + 1;
}

size_t mdc_dbghelp_exception_find(const mdc_exception_info *info, void *process, mdc_span spans[3]) {
    BOOL narrow = FALSE; /* a 32-bit program on 64-bit Windows: its structures have 32-bit pointers */
    uint64_t pointers[2] = {0, 0};
    uint8_t bytes[16];
    uint32_t os_errno;
    if (info->thread_id == 0 || info->client == 0 || process == NULL) return 0;
    if (sizeof(void *) == 4 || !IsWow64Process(process, &narrow)) narrow = sizeof(void *) == 4;
    size_t pointer = narrow ? 4 : 8, count = add(spans, 0, info->pointers, 2 * pointer);
    if (count == 0 || mdc_win_memory_read(process, info->pointers, bytes, 2 * pointer, &os_errno) != 2 * pointer)
        return count;
    memcpy(&pointers[0], bytes, pointer);
    memcpy(&pointers[1], bytes + pointer, pointer);
    count = add(spans, count, pointers[0], narrow ? RECORD32_BYTES : sizeof(EXCEPTION_RECORD));
    return add(spans, count, pointers[1], narrow ? CONTEXT32_BYTES : sizeof(CONTEXT));
}

/* All three must be there: an address of 0 is not one. */
static bool readable_there(const mdc_exception_info *info, void *process, uint64_t *address) {
    mdc_span spans[3];
    uint8_t bytes[sizeof(CONTEXT)]; /* the largest of them */
    uint32_t os_errno;
    size_t count = mdc_dbghelp_exception_find(info, process, spans);
    for (size_t i = 0; i < count; i++) {
        *address = spans[i].address;
        if (mdc_win_memory_read(process, *address, bytes, (size_t)spans[i].size, &os_errno) != spans[i].size)
            return false;
    }
    if (count < 3) *address = count == 0 ? info->pointers : 0;
    return count == 3;
}

static bool readable_here(const mdc_exception_info *info, uint64_t *address) {
    EXCEPTION_POINTERS pointers;
    EXCEPTION_RECORD record;
    CONTEXT context;
    *address = info->pointers;
    if (!mdc_own_memory_read(*address, &pointers, sizeof pointers)) return false;
    *address = (uintptr_t)pointers.ExceptionRecord;
    if (!mdc_own_memory_read(*address, &record, sizeof record)) return false;
    *address = (uintptr_t)pointers.ContextRecord;
    return mdc_own_memory_read(*address, &context, sizeof context);
}

bool mdc_dbghelp_exception_readable(const mdc_exception_info *info, void *process, uint64_t *address) {
    if (info->thread_id == 0) return true;
    return info->client != 0 ? readable_there(info, process, address) : readable_here(info, address);
}
