/* Reading target memory (see memory.h). */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "proc_maps.h"

/* One call takes this many pieces (the kernel's UIO_MAXIOV) and bytes at most: measured best from 256 pieces on. */
enum { PIECES_MAX = 1024 };
static const uint64_t batch_max = UINT64_C(1) << 30;

typedef enum route {
    ROUTE_PIN,  /* process_vm_readv */
    ROUTE_MEM,  /* /proc/PID/mem */
    ROUTE_FILE, /* from the file that is mapped there */
    ROUTE_ZERO, /* nothing is there, and it stays so */
    ROUTE_KEPT, /* from a copy */
    ROUTE_FAULT /* nothing there, or must not be touched */
} route;

/* A place in the list of spans. */
typedef struct cursor {
    size_t span;
    uint64_t offset; /* bytes of the span that are done */
} cursor;

typedef struct piece {
    uint64_t address;
    uint64_t size;
    route route;
} piece;

mdc_status mdc_memory_open(mdc_memory *memory, int proc, int32_t tid, mdc_error *err) {
    memset(memory, 0, sizeof *memory);
    memory->tid = tid;
    memory->mem = openat(proc, "mem", O_RDONLY | O_CLOEXEC);
    return memory->mem < 0 ? mdc_map_fail(err, errno, "mem", "open") : MDC_OK;
}

void mdc_memory_close(mdc_memory *memory) {
    if (memory->mem >= 0) close(memory->mem);
    memory->mem = -1;
}

/* The region of an address: mostly that of the last one, or the next. */
static const mdc_region *region_of(mdc_memory *memory, const mdc_mappings *mappings, uint64_t address) {
    const mdc_region *regions = mappings->regions.data;
    for (size_t i = memory->hint; i < memory->hint + 2 && i < mappings->regions.count; i++) {
        if (address >= regions[i].base && address - regions[i].base < regions[i].size) {
            memory->hint = i;
            return &regions[i];
        }
    }
    int64_t found = mdc_mappings_find(mappings, address);
    if (found < 0) return NULL;
    memory->hint = (size_t)found;
    return &regions[found];
}

/* The next piece that lies in one region; false at the end of the spans. */
static bool next_piece(mdc_memory *memory, const mdc_mappings *mappings, const mdc_span *spans, size_t span_count,
                       cursor *at, piece *out) {
    while (at->span < span_count && at->offset >= spans[at->span].size) {
        at->span++;
        at->offset = 0;
    }
    if (at->span >= span_count) return false;
    const mdc_span *span = &spans[at->span];
    out->size = span->size - at->offset;
    out->route = ROUTE_FAULT;
    if (!mdc_add_u64(span->address, at->offset, &out->address)) return true;
    out->size = mdc_min_u64(out->size, UINT64_MAX - out->address);
    if (mappings == NULL) {
        out->route = ROUTE_MEM;
        return true;
    }
    const mdc_region *region = region_of(memory, mappings, out->address);
    if (region == NULL || (region->flags & MDC_REGION_NEVER_READ) != 0) return true;
    out->size = mdc_min_u64(out->size, region->size - (out->address - region->base));
    uint64_t end;
    const uint8_t *bytes;
    if (memory->kept != NULL && mdc_kept_find(memory->kept, out->address, &end, &bytes)) {
        out->size = mdc_min_u64(out->size, end - out->address);
        out->route = bytes != NULL ? ROUTE_KEPT : ROUTE_ZERO;
        return true;
    }
    if (memory->backing != NULL) {
        mdc_backing_route from = mdc_backing_route_of(memory->backing, memory->hint, out->address, &end);
        out->size = mdc_min_u64(out->size, end - out->address);
        if (from == MDC_BACKING_CLOSED) return true;
        if (from == MDC_BACKING_FILE) out->route = ROUTE_FILE;
        if (from == MDC_BACKING_ZEROS) out->route = ROUTE_ZERO;
        if (from != MDC_BACKING_MEMORY) return true;
    }
    bool mem = memory->no_vm_readv || (region->flags & MDC_REGION_VIA_MEM) != 0;
    out->route = mem ? ROUTE_MEM : ROUTE_PIN;
    return true;
}

static void advance(const mdc_span *spans, size_t span_count, cursor *at, uint64_t bytes) {
    while (bytes > 0 && at->span < span_count) {
        uint64_t left = spans[at->span].size - at->offset;
        if (bytes < left) {
            at->offset += bytes;
            return;
        }
        bytes -= left;
        at->span++;
        at->offset = 0;
    }
}

static uint64_t to_page_end(const piece *part) {
    return mdc_min_u64(part->size, MDC_PAGE_SIZE - (part->address & (MDC_PAGE_SIZE - 1)));
}

/* Bytes read, 0 with *os_errno set, or 0 with *os_errno 0 if the memory of the process is gone. */
static uint64_t read_mem(const mdc_memory *memory, uint64_t address, uint64_t size, uint8_t *to, int *os_errno) {
    size_t want = (size_t)mdc_min_u64(size, batch_max);
    ssize_t got;
    do {
        got = pread(memory->mem, to, want, (off_t)address);
    } while (got < 0 && errno == EINTR);
    *os_errno = got < 0 ? errno : 0;
    return got > 0 ? (uint64_t)got : 0;
}

/* As many pieces as one call takes. Returns bytes read; 0 with *os_errno set. */
static uint64_t read_pinned(mdc_memory *memory, const mdc_mappings *mappings, const mdc_span *spans, size_t span_count,
                            cursor at, uint8_t *to, int *os_errno) {
    struct iovec remote[PIECES_MAX];
    struct iovec local = {.iov_base = to, .iov_len = 0};
    unsigned long count = 0;
    uint64_t total = 0;
    piece part;
    while (count < PIECES_MAX && total < batch_max && next_piece(memory, mappings, spans, span_count, &at, &part) &&
           part.route == ROUTE_PIN) {
        uint64_t size = mdc_min_u64(part.size, batch_max - total);
        remote[count].iov_base = (void *)(uintptr_t)part.address;
        remote[count].iov_len = (size_t)size;
        count++;
        total += size;
        advance(spans, span_count, &at, size);
    }
    local.iov_len = (size_t)total;
    ssize_t got = process_vm_readv(memory->tid, &local, 1, remote, count, 0);
    *os_errno = got < 0 ? errno : 0;
    return got > 0 ? (uint64_t)got : 0;
}

mdc_status mdc_memory_read(mdc_memory *memory, const mdc_mappings *mappings, const mdc_span *spans, size_t span_count,
                           uint8_t *buffer, size_t *done, int32_t *os_errno, mdc_error *err) {
    cursor at = {0, 0};
    piece part;
    *done = 0;
    *os_errno = MDC_FAILPOINT("read:page");
    if (*os_errno != 0) return MDC_OK;
    while (next_piece(memory, mappings, spans, span_count, &at, &part)) {
        int error = 0;
        uint64_t got = 0;
        if (part.route == ROUTE_FAULT) {
            *os_errno = EFAULT;
            return MDC_OK;
        }
        if (part.route == ROUTE_PIN) {
            got = read_pinned(memory, mappings, spans, span_count, at, buffer + *done, &error);
            /* Refused (seccomp, an old kernel, another user namespace), or the thread is gone while others live. */
            if (got == 0 && (error == EPERM || error == ENOSYS || error == ESRCH)) memory->no_vm_readv = true;
            /* The first page cannot be pinned; the other way may still read it. Only that page: the pages after
             * it can probably be pinned again. */
            if (got == 0 && !memory->no_vm_readv) part.size = to_page_end(&part);
        }
        if (part.route == ROUTE_ZERO) {
            got = mdc_min_u64(part.size, batch_max);
            memset(buffer + *done, 0, (size_t)got);
        }
        if (part.route == ROUTE_KEPT) {
            uint64_t end;
            const uint8_t *bytes;
            (void)mdc_kept_find(memory->kept, part.address, &end, &bytes);
            got = mdc_min_u64(part.size, batch_max);
            memcpy(buffer + *done, bytes, (size_t)got);
        }
        if (part.route == ROUTE_FILE) {
            got = mdc_backing_read(memory->backing, memory->hint, part.address, mdc_min_u64(part.size, batch_max),
                                   buffer + *done, &error);
            /* The file has become shorter, cannot be read there, or its last page goes on in memory. */
            if (got == 0) part.size = to_page_end(&part);
        }
        if (got == 0) {
            got = read_mem(memory, part.address, part.size, buffer + *done, &error);
            if (got == 0 && error == 0)
                return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_CAPTURE, ESRCH,
                                "the memory of the target no longer exists: the target exited or called exec");
        }
        if (got == 0) {
            *os_errno = error;
            return MDC_OK;
        }
        *done += (size_t)got;
        advance(spans, span_count, &at, got);
    }
    return MDC_OK;
}
