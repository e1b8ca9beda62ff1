/* Reading the memory of a process: pages of a mapped file from that file (backing.h), else by
 * process_vm_readv where it neither unshares pages in the target nor hangs, /proc/PID/mem elsewhere. Only failing
 * pages are lost. */
#ifndef MDC_LINUX_MEMORY_H
#define MDC_LINUX_MEMORY_H

#include "backing.h"
#include "kept.h"

typedef struct mdc_memory {
    int32_t tid;          /* a living thread of the target */
    int mem;              /* /proc/PID/mem */
    size_t hint;          /* region of the last read */
    mdc_backing *backing; /* borrowed; NULL: files of mappings are not used */
    const mdc_kept *kept; /* borrowed; NULL, or what is read from there */
    bool no_vm_readv;     /* process_vm_readv is not allowed here, or the thread is gone: everything through mem */
} mdc_memory;

mdc_status mdc_memory_open(mdc_memory *memory, int proc, int32_t tid, mdc_error *err);
void mdc_memory_close(mdc_memory *memory);
/* As mdc_source_ops.read. Without mappings (NULL) everything goes through /proc/PID/mem; with them, addresses in no
 * region or in one that is NEVER_READ fail with EFAULT and are not touched. */
mdc_status mdc_memory_read(mdc_memory *memory, const mdc_mappings *mappings, const mdc_span *spans, size_t span_count,
                           uint8_t *buffer, size_t *done, int32_t *os_errno, mdc_error *err);

#endif
