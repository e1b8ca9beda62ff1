/* Handles (see win_handles.h). */
#include "win_handles.h"

#include <string.h>
#include <windows.h>

#include "../base/fail.h"
#include "win_nt.h"

enum {
    SYSTEM_HANDLES = 64, /* SystemExtendedHandleInformation */
    OBJECT_BASICS = 0,   /* OBJECT_INFORMATION_CLASS */
    OBJECT_NAME = 1,
    OBJECT_TYPE = 2,
    TEXT_BYTES = 65536 + 64,
    TABLE_BYTES = 1 << 20,
    TABLE_BYTES_MAX = 1 << 28,
    HANDLES_MAX = 1 << 20, /* of one process */
    STATUS_TOO_SHORT = (int32_t)0xC0000004
};

typedef int32_t(WINAPI *query_system)(int what, void *out, ULONG size, ULONG *size_out);
typedef int32_t(WINAPI *query_object)(HANDLE handle, int what, void *out, ULONG size, ULONG *size_out);

/* SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX and what precedes the entries. */
typedef struct table_entry {
    void *object;
    uintptr_t pid;
    uintptr_t value;
    uint32_t access;
    uint16_t creator;
    uint16_t type;
    uint32_t attributes;
    uint32_t reserved;
} table_entry;
typedef struct table_head {
    uintptr_t count;
    uintptr_t reserved;
} table_head;

typedef struct object_basics { /* PUBLIC_OBJECT_BASIC_INFORMATION */
    uint32_t attributes;
    uint32_t access;
    uint32_t handles;
    uint32_t pointers;
    uint32_t reserved[10];
} object_basics;

typedef struct object_text { /* OBJECT_NAME_INFORMATION, and the start of OBJECT_TYPE_INFORMATION */
    uint16_t bytes, room;
    const uint16_t *units;
} object_text;

/* All handles of the system; NULL if it does not report them (err is clear) or for lack of memory. */
static void *read_table(size_t *count, mdc_error *err) {
    query_system query = (query_system)mdc_win_function_of("ntdll.dll", "NtQuerySystemInformation");
    for (ULONG size = TABLE_BYTES; query != NULL && size <= TABLE_BYTES_MAX; size *= 2) {
        uint8_t *table = mdc_alloc(size, 1, err);
        if (table == NULL) return NULL;
        ULONG used = 0;
        int32_t status = query(SYSTEM_HANDLES, table, size, &used);
        if (status >= 0) {
            table_head head;
            memcpy(&head, table, sizeof head);
            size_t room = (size - sizeof head) / sizeof(table_entry);
            *count = head.count < room ? head.count : room;
            return table;
        }
        mdc_dealloc(table);
        if (status != STATUS_TOO_SHORT) break;
    }
    return NULL;
}

/* Type or name of an object. text: TEXT_BYTES. */
static mdc_status read_text(query_object query, HANDLE handle, int what, void *text, mdc_win_names *names,
                            mdc_name *name, mdc_error *err) {
    ULONG size = 0;
    object_text told;
    if (query(handle, what, text, TEXT_BYTES, &size) < 0) return MDC_OK;
    memcpy(&told, text, sizeof told);
    const uint8_t *first = (const uint8_t *)told.units, *begin = text;
    if (first == NULL || first < begin || first > begin + TEXT_BYTES - told.bytes) return MDC_OK;
    return mdc_win_names_put16(names, told.units, told.bytes / sizeof(uint16_t), name, err);
}

static bool is_file(const mdc_win_names *names, mdc_name type) {
    return type.size == 4 && memcmp((const uint8_t *)names->pool.data + type.offset, "File", 4) == 0;
}

static mdc_status describe(mdc_handle *handle, void *process, void *text, mdc_win_names *names, mdc_error *err) {
    query_object query = (query_object)mdc_win_function_of("ntdll.dll", "NtQueryObject");
    HANDLE copy = NULL;
    if (query == NULL || !DuplicateHandle(process, (HANDLE)(uintptr_t)handle->value, GetCurrentProcess(), &copy, 0,
                                          FALSE, DUPLICATE_SAME_ACCESS))
        return MDC_OK;
    object_basics basics;
    ULONG size;
    if (query(copy, OBJECT_BASICS, &basics, sizeof basics, &size) >= 0) {
        handle->handles = basics.handles - 1; /* without ours */
        handle->pointers = basics.pointers;
    }
    mdc_status status = read_text(query, copy, OBJECT_TYPE, text, names, &handle->type, err);
    if (status == MDC_OK && handle->type.size != 0 && !is_file(names, handle->type))
        status = read_text(query, copy, OBJECT_NAME, text, names, &handle->name, err);
    CloseHandle(copy);
    return status;
}

bool mdc_win_handles_list(mdc_vec *handles, void *process, int32_t pid, mdc_win_names *names, mdc_error *err) {
    size_t count = 0;
    uint8_t *table = read_table(&count, err);
    if (table == NULL) return false;
    void *text = mdc_alloc(TEXT_BYTES, 1, err);
    mdc_status status = text != NULL ? MDC_OK : err->code;
    for (size_t i = 0; status == MDC_OK && i < count && handles->count < HANDLES_MAX; i++) {
        table_entry entry;
        memcpy(&entry, table + sizeof(table_head) + i * sizeof entry, sizeof entry);
        if (entry.pid != (uintptr_t)pid) continue;
        mdc_handle handle = {.value = entry.value, .attributes = entry.attributes, .access = entry.access};
        status = describe(&handle, process, text, names, err);
        if (status == MDC_OK) status = mdc_vec_push(handles, &handle, 1, NULL, err);
    }
    mdc_dealloc(text);
    mdc_dealloc(table);
    return true;
}
