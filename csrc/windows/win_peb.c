/* The PEB (see win_peb.h). */
#include "win_peb.h"

#include "../base/arith.h"
#include "win_memory.h"

enum {
    HEAPS_MAX = 4096,
    MODULES_MAX = 16384, /* a longer list is invalid: the target wrote it */
    AT_PART = 64,        /* heap addresses read at a time */
    IMAGE_BASE = sizeof(void *) == 8 ? 0x10 : 0x08,
    PEB_BYTES = sizeof(void *) == 8 ? 0x388 : 0x250, /* of Windows 8.1 */
    PARAMETERS = sizeof(void *) == 8 ? 0x20 : 0x10,
    ENVIRONMENT = sizeof(void *) == 8 ? 0x80 : 0x48, /* from here on in RTL_USER_PROCESS_PARAMETERS */
    ENVIRONMENT_SIZE = sizeof(void *) == 8 ? 0x3F0 : 0x290,
    BLOCK_MAX = 16 << 20, /* a longer one is invalid: the target wrote its size */
    PROCESS_HEAP = sizeof(void *) == 8 ? 0x30 : 0x18,
    HEAP_COUNT = sizeof(void *) == 8 ? 0xE8 : 0x88,
    HEAP_ARRAY = sizeof(void *) == 8 ? 0xF0 : 0x90,
    LOADER = sizeof(void *) == 8 ? 0x18 : 0x0C,
    LOADER_LIST = sizeof(void *) == 8 ? 0x20 : 0x14 /* PEB_LDR_DATA.InMemoryOrderModuleList */
};

/* LDR_DATA_TABLE_ENTRY from InMemoryOrderLinks on. */
typedef struct loader_entry {
    uintptr_t next, previous;
    uintptr_t initialisation[2];
    uintptr_t base;
    uintptr_t entry_point;
    uintptr_t size; /* ULONG SizeOfImage, and a hole on 64-bit */
    uint16_t path_bytes, path_room;
    uintptr_t path;
} loader_entry;
_Static_assert(sizeof(void *) == 8 ? offsetof(loader_entry, path) == 0x40 : offsetof(loader_entry, path) == 0x20,
               "LDR_DATA_TABLE_ENTRY.FullDllName.Buffer");

static bool get(void *process, uint64_t address, void *out, size_t size) {
    uint32_t os_errno;
    return address != 0 && mdc_win_memory_read(process, address, out, size, &os_errno) == size;
}

static uint64_t get_pointer(void *process, uint64_t peb, uint32_t offset) {
    uintptr_t pointer;
    uint64_t address;
    return peb != 0 && mdc_add_u64(peb, offset, &address) && get(process, address, &pointer, sizeof pointer) ? pointer
                                                                                                             : 0;
}

uint64_t mdc_win_peb_image(void *process, uint64_t peb) { return get_pointer(process, peb, IMAGE_BASE); }

mdc_status mdc_win_peb_heaps(mdc_vec *heaps, void *process, uint64_t peb, mdc_error *err) {
    uint64_t first = get_pointer(process, peb, PROCESS_HEAP), array = get_pointer(process, peb, HEAP_ARRAY);
    if (first != 0 && mdc_vec_push(heaps, &first, 1, NULL, err) != MDC_OK) return err->code;
    uint32_t count;
    if (array == 0 || !get(process, peb + HEAP_COUNT, &count, sizeof count)) return MDC_OK;
    if (count > HEAPS_MAX) count = HEAPS_MAX;
    for (uint32_t i = 0; i < count; i += AT_PART) {
        uintptr_t part[AT_PART];
        uint32_t size = count - i < AT_PART ? count - i : AT_PART;
        uint64_t address;
        if (!mdc_add_u64(array, i * sizeof part[0], &address) || !get(process, address, part, size * sizeof part[0]))
            return MDC_OK;
        for (uint32_t j = 0; j < size; j++) {
            uint64_t heap = part[j];
            if (heap != 0 && mdc_vec_push(heaps, &heap, 1, NULL, err) != MDC_OK) return err->code;
        }
    }
    return MDC_OK;
}

static mdc_status add_block(mdc_vec *blocks, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_span block = {address, size};
    return address != 0 && size != 0 && size <= BLOCK_MAX ? mdc_vec_push(blocks, &block, 1, NULL, err) : MDC_OK;
}

mdc_status mdc_win_peb_blocks(mdc_vec *blocks, void *process, uint64_t peb, mdc_error *err) {
    uint64_t parameters = get_pointer(process, peb, PARAMETERS);
    uint32_t sizes[2] = {0, 0}; /* RTL_USER_PROCESS_PARAMETERS: MaximumLength, Length */
    (void)get(process, parameters, sizes, sizeof sizes);
    if (add_block(blocks, peb, PEB_BYTES, err) != MDC_OK || add_block(blocks, parameters, sizes[1], err) != MDC_OK)
        return err->code;
    if (sizes[1] < ENVIRONMENT_SIZE + sizeof(void *)) return MDC_OK;
    return add_block(blocks, get_pointer(process, parameters, ENVIRONMENT),
                     get_pointer(process, parameters, ENVIRONMENT_SIZE), err);
}

static bool is_listed(const mdc_vec *loaded, uint64_t base) {
    for (size_t i = 0; i < loaded->count; i++)
        if (mdc_vec_at(loaded, const mdc_win_loaded, i).base == base) return true;
    return false;
}

mdc_status mdc_win_peb_modules(mdc_vec *loaded, void *process, uint64_t peb, bool *whole, mdc_error *err) {
    uint64_t head = get_pointer(process, peb, LOADER);
    *whole = false;
    if (head == 0 || !mdc_add_u64(head, LOADER_LIST, &head)) return MDC_OK;
    uint64_t at = get_pointer(process, head, 0);
    for (size_t i = 0; at != head && i < MODULES_MAX; i++) {
        loader_entry entry;
        if (!get(process, at, &entry, sizeof entry) || is_listed(loaded, entry.base))
            return MDC_OK; /* broken, a circle */
        mdc_win_loaded module = {entry.base, (uint32_t)entry.size, entry.path, entry.path_bytes, 0};
        if (mdc_vec_push(loaded, &module, 1, NULL, err) != MDC_OK) return err->code;
        at = entry.next;
    }
    *whole = at == head && loaded->count > 0;
    return MDC_OK;
}
