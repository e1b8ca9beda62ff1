/* /proc/PID/coredump_filter: what of its memory a process wants in a core file (core(5)). */
#ifndef MDC_LINUX_COREFILTER_H
#define MDC_LINUX_COREFILTER_H

#include "mappings.h"
#include "vma_kind.h"

/* Bits of the file: include/linux/sched/coredump.h, MMF_DUMP_*, counted from the first. */
enum {
    MDC_CORE_ANON_PRIVATE = 0x01,
    MDC_CORE_ANON_SHARED = 0x02,
    MDC_CORE_MAPPED_PRIVATE = 0x04,
    MDC_CORE_MAPPED_SHARED = 0x08,
    MDC_CORE_ELF_HEADERS = 0x10,
    MDC_CORE_HUGE_PRIVATE = 0x20,
    MDC_CORE_HUGE_SHARED = 0x40
};

/* proc is a descriptor of /proc/PID. A kernel without the file is an error: what it would say is not known. */
mdc_status mdc_corefilter_read(int proc, int64_t *bits, mdc_error *err);
/* Bytes from the start of a classified mapping that the kernel would dump, as vma_dump_size in fs/coredump.c decides:
 * none, all, or the first page (*head) if it is an image's. /proc does not show DAX: such files count as files. */
uint64_t mdc_corefilter_size(uint32_t bits, const mdc_region *region, const mdc_map_facts *facts, bool *head);
/* When the images are known: first pages that are kept for an ELF header stay only where there is one. */
void mdc_corefilter_heads(mdc_mappings *mappings);

#endif
