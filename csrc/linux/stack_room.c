/* Finding the mapping of a stack (see stack_room.h). */
#include "stack_room.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "procmap_query.h"

enum { CHUNK = 8192 };

/* The mapping that holds the address, and what touches it from below. */
typedef struct surroundings {
    mdc_map_record below, here;
    bool has_below, has_here;
    bool stack; /* named [stack] */
} surroundings;

static bool is_stack(const mdc_map_record *record) {
    static const char name[] = "[stack]";
    return record->name != NULL && record->name_size == sizeof name - 1 &&
           memcmp(record->name, name, sizeof name - 1) == 0;
}

static bool always(const void *context, const mdc_map_record *record) {
    (void)context;
    (void)record;
    return true;
}

/* By the ioctl. false: the text has to be read. */
static bool ask(int maps, uint64_t address, surroundings *out) {
    mdc_procmap_query query = {.fd = maps, .next = address, .expect_names = true};
    int os_errno;
    mdc_procmap_query_step step = mdc_procmap_query_next(&query, always, NULL, &out->here, &os_errno);
    if (step == MDC_PROCMAP_QUERY_UNSUPPORTED) return false;
    if (step != MDC_PROCMAP_QUERY_FOUND || out->here.first > address) return true;
    out->has_here = true;
    out->stack = is_stack(&out->here);
    query.next = out->here.first - 1;
    step = mdc_procmap_query_next(&query, always, NULL, &out->below, &os_errno);
    out->has_below = step == MDC_PROCMAP_QUERY_FOUND && out->below.end == out->here.first;
    return true;
}

static void read_text(int maps, uint64_t address, surroundings *out) {
    uint8_t text[CHUNK];
    size_t used = 0;
    off_t at = 0;
    bool skip = false; /* the rest of a line that is too long */
    for (;;) {
        ssize_t got = pread(maps, text + used, sizeof text - used, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        at += got;
        used += (size_t)got;
        uint8_t *line = text, *end = text + used, *stop;
        while (line < end && (stop = memchr(line, '\n', (size_t)(end - line))) != NULL) {
            mdc_map_record record;
            if (!skip && mdc_map_parse(line, (size_t)(stop - line), &record)) {
                if (record.first > address) return;
                if (record.end > address) {
                    out->here = record;
                    out->has_here = true;
                    out->stack = is_stack(&record);
                    out->has_below = out->has_below && out->below.end == record.first;
                    return;
                }
                out->below = record;
                out->has_below = true;
            }
            skip = false;
            line = stop + 1;
        }
        used = (size_t)(end - line);
        if (used == sizeof text) {
            skip = true;
            used = 0;
        }
        memmove(text, line, used);
    }
}

bool mdc_stack_room(int maps, bool main_thread, uint64_t thread_pointer, uint64_t first, uint64_t end) {
    const uint32_t wanted = MDC_PERM_READ | MDC_PERM_WRITE;
    surroundings found;
    memset(&found, 0, sizeof found);
    if (first >= end) return false;
    if (!ask(maps, end - 1, &found)) {
        memset(&found, 0, sizeof found);
        read_text(maps, end - 1, &found);
    }
    if (!found.has_here || found.here.first > first || found.here.end < end || found.here.inode != 0 ||
        (found.here.perms & wanted) != wanted || (found.here.perms & MDC_PERM_SHARED) != 0)
        return false;
    if (main_thread) return found.stack;
    return !found.stack && found.has_below && (found.below.perms & (wanted | MDC_PERM_EXECUTE)) == 0 &&
           thread_pointer >= end && thread_pointer < found.here.end;
}
