/* 32-bit programs on 64-bit Windows (see win_wow64.h). ProcessWow64Information is documented with
 * NtQueryInformationProcess; offsets are those of the 32-bit PEB and NT_TIB. */
#include "win_wow64.h"

#include "../base/arith.h"
#include "win_memory.h"

enum {
    PROCESS_WOW64 = 26,
    HEAPS_MAX = 4096,
    AT_PART = 64,
    PROCESS_HEAP = 0x18,
    HEAP_COUNT = 0x88,
    HEAP_ARRAY = 0x90,
    TEB_OFFSET = 0x2000, /* from the 64-bit TEB, always; TEB.WowTebOffset says so since Windows 10 */
    TIB_STACK_BASE = 4,
    TIB_SELF = 0x18
};

static bool get(void *process, uint64_t address, void *out, size_t size) {
    uint32_t os_errno;
    return address < UINT32_MAX && mdc_win_memory_read(process, address, out, size, &os_errno) == size;
}

uint64_t mdc_win_wow64_peb(const mdc_win_nt *nt, void *process) {
    uintptr_t peb = 0;
    if (sizeof(void *) != 8 || nt->query_process == NULL ||
        nt->query_process(process, PROCESS_WOW64, &peb, sizeof peb, NULL) < 0)
        return 0;
    return peb;
}

mdc_status mdc_win_wow64_heaps(mdc_vec *heaps, void *process, uint64_t peb, mdc_error *err) {
    uint32_t first, count, array, part[AT_PART];
    if (peb > UINT32_MAX || !get(process, peb + PROCESS_HEAP, &first, sizeof first) ||
        !get(process, peb + HEAP_COUNT, &count, sizeof count) || !get(process, peb + HEAP_ARRAY, &array, sizeof array))
        return MDC_OK;
    uint64_t heap = first;
    if (heap != 0 && mdc_vec_push(heaps, &heap, 1, NULL, err) != MDC_OK) return err->code;
    if (count > HEAPS_MAX) count = HEAPS_MAX;
    for (uint32_t i = 0; i < count; i += AT_PART) {
        uint32_t size = count - i < AT_PART ? count - i : AT_PART;
        if (!get(process, (uint64_t)array + i * sizeof part[0], part, size * sizeof part[0])) return MDC_OK;
        for (uint32_t j = 0; j < size; j++) {
            heap = part[j];
            if (heap != 0 && mdc_vec_push(heaps, &heap, 1, NULL, err) != MDC_OK) return err->code;
        }
    }
    return MDC_OK;
}

uint64_t mdc_win_wow64_stack_base(void *process, uint64_t teb) {
    uint32_t self, base;
    uint64_t narrow;
    if (teb == 0 || !mdc_add_u64(teb, TEB_OFFSET, &narrow)) return 0;
    if (!get(process, narrow + TIB_SELF, &self, sizeof self) || self != narrow) return 0;
    return get(process, narrow + TIB_STACK_BASE, &base, sizeof base) ? base : 0;
}
