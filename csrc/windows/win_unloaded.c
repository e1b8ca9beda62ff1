/* Unloaded modules (see win_unloaded.h). */
#include "win_unloaded.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "win_memory.h"
#include "win_nt.h"

enum { EVENTS_MAX = 1024, EVENT_BYTES_MAX = 4096, NAME_UNITS = 32 };

/* RTL_UNLOAD_EVENT_TRACE; newer systems have more after it. */
typedef struct unload_event {
    uintptr_t base; /* 0: none yet */
    uintptr_t size;
    uint32_t sequence;
    uint32_t timestamp;
    uint32_t checksum;
    uint16_t name[NAME_UNITS];
} unload_event;

/* RtlGetUnloadEventTraceEx gives addresses in ntdll.dll, which lies at the same place in all processes: of the size of
 * an event, of their number, and of a pointer to the events. */
typedef void(WINAPI *get_trace)(ULONG **size, ULONG **count, void **events);

static int last_first(const void *left, const void *right) {
    const unload_event *a = left, *b = right;
    return a->sequence < b->sequence ? 1 : a->sequence > b->sequence ? -1 : 0;
}

static bool read(void *process, uint64_t address, void *out, size_t size) {
    uint32_t os_errno;
    return mdc_win_memory_read(process, address, out, size, &os_errno) == size;
}

static mdc_status add(mdc_vec *unloaded, const unload_event *event, mdc_win_names *names, mdc_error *err) {
    mdc_unloaded found = {
        .base = event->base, .size = (uint32_t)event->size, .checksum = event->checksum, .timestamp = event->timestamp};
    size_t units = 0;
    while (units < NAME_UNITS && event->name[units] != 0) units++;
    if (mdc_win_names_put16(names, event->name, units, &found.name, err) != MDC_OK) return err->code;
    return mdc_vec_push(unloaded, &found, 1, NULL, err);
}

bool mdc_win_unloaded_list(mdc_vec *unloaded, void *process, mdc_win_names *names, mdc_error *err) {
    get_trace get = (get_trace)mdc_win_function_of("ntdll.dll", "RtlGetUnloadEventTraceEx");
    ULONG *size = NULL, *count = NULL;
    void *pointer = NULL;
    uintptr_t events = 0;
    if (get == NULL) return false;
    get(&size, &count, &pointer);
    if (size == NULL || count == NULL || *size < sizeof(unload_event) || *size > EVENT_BYTES_MAX ||
        *count > EVENTS_MAX || !read(process, (uint64_t)(uintptr_t)pointer, &events, sizeof events))
        return false;
    mdc_vec found;
    mdc_vec_init(&found, sizeof(unload_event));
    mdc_status status = MDC_OK;
    for (ULONG i = 0; events != 0 && status == MDC_OK && i < *count; i++) {
        unload_event event;
        if (!read(process, events + (uint64_t)i * *size, &event, sizeof event) || event.base == 0) break;
        status = mdc_vec_push(&found, &event, 1, NULL, err);
    }
    if (found.count != 0) qsort(found.data, found.count, sizeof(unload_event), last_first);
    for (size_t i = 0; status == MDC_OK && i < found.count; i++)
        status = add(unloaded, &mdc_vec_at(&found, const unload_event, i), names, err);
    mdc_vec_fini(&found);
    return true;
}
