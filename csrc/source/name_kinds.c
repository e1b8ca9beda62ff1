#include "name_kinds.h"

#include <string.h>

#include "../api/engine.h"

bool mdc_name_deleted(const uint8_t *name, size_t *size) {
    if (*size <= MDC_NAME_DELETED_SIZE ||
        memcmp(name + *size - MDC_NAME_DELETED_SIZE, " (deleted)", MDC_NAME_DELETED_SIZE) != 0)
        return false;
    *size -= MDC_NAME_DELETED_SIZE;
    return true;
}

static bool named(const uint8_t *name, size_t size, const char *text) {
    return size == strlen(text) && memcmp(name, text, size) == 0;
}

static bool begins(const uint8_t *name, size_t size, const char *prefix) {
    size_t length = strlen(prefix);
    return size >= length && memcmp(name, prefix, length) == 0;
}

uint32_t mdc_heap_kinds(uint32_t kinds, uint32_t type, uint32_t protect) {
    bool written = (protect & (MDC_PAGE_READWRITE | MDC_PAGE_EXECUTE_READWRITE)) != 0;
    return kinds == MDC_KIND_ANONYMOUS && type == MDC_MEM_PRIVATE && written ? kinds | MDC_KIND_HEAP : kinds;
}

uint32_t mdc_name_kinds(const uint8_t *name, size_t size, bool deleted, bool shared) {
    /* Names of the kernel's own nameless files (mm/shmem.c, ipc/shm.c, fs/hugetlbfs/inode.c). */
    bool memory = deleted && (named(name, size, "/dev/zero") || begins(name, size, "/SYSV"));
    bool pool = deleted && named(name, size, "/anon_hugepage");
    if (begins(name, size, "[anon_shmem:")) memory = true;
    if (pool && !shared) return MDC_KIND_ANONYMOUS;
    if (memory || pool) return MDC_KIND_SHARED;
    uint32_t kinds = MDC_KIND_FILE;
    if (shared || begins(name, size, "/dev/shm/") || (deleted && begins(name, size, "/memfd:")))
        kinds |= MDC_KIND_SHARED;
    return kinds;
}
