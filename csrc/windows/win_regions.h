/* What lies where in a Windows process: VirtualQueryEx over the whole address space, and the facts of one region. */
#ifndef MDC_WINDOWS_WIN_REGIONS_H
#define MDC_WINDOWS_WIN_REGIONS_H

#include "../source/source.h"
#include "win_names.h"
#include "win_paths.h"

/* The name of what is mapped at the address (an image or a file) as a DOS path, WTF-8: bytes written to `out`, 0 if
 * nothing with a name is. units: MDC_WIN_PATH_UNITS of scratch. Allocates nothing. */
size_t mdc_win_region_name(void *process, const mdc_win_paths *paths, uint64_t address, uint16_t *units, uint8_t *out,
                           size_t room);
/* MDC_KIND_* of a region of this MEM_* type, with or without a file. Heaps and stacks are not known here. */
uint32_t mdc_win_region_kinds(uint32_t type, bool named);
/* MDC_REGION_* of a region of this state, protection and type. */
uint32_t mdc_win_region_flags(uint32_t state, uint32_t protect, uint32_t type);

/* Appends all regions to `regions` (mdc_region): sorted, disjoint, those that touch not merged; free space left out.
 * Fails only for want of memory. Rights: PROCESS_QUERY_INFORMATION, and PROCESS_VM_READ for names. */
mdc_status mdc_win_regions_list(mdc_vec *regions, void *process, mdc_win_names *names, const mdc_win_paths *paths,
                                mdc_error *err);
/* Index of the region that holds the address, -1 if none does. */
int64_t mdc_win_regions_find(const mdc_vec *regions, uint64_t address);
/* Adds a kind to all regions of the allocation that holds the address. */
void mdc_win_regions_mark(mdc_vec *regions, uint64_t address, uint32_t kind);

#endif
