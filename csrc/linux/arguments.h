/* Where the command line and the environment of a process are in its memory: the texts that the kernel shows, which a
 * program may have overwritten or moved, and what it was started with. */
#ifndef MDC_LINUX_ARGUMENTS_H
#define MDC_LINUX_ARGUMENTS_H

#include "memory.h"
#include "process.h"

/* Bytes of one of them. The kernel lets both together grow to 6 MiB; prctl(2) can claim more. */
enum { MDC_ARGUMENTS_MAX = 8 << 20 };

/* Under the stop, after mdc_proc_files_read: makes the command line's text the one that /proc/PID/cmdline has, and
 * appends to `copies` (mdc_copy) the memory of both beyond the texts. Copies that a program made (setenv, a title on
 * its heap) have no address that the kernel knows. */
mdc_status mdc_arguments_find(mdc_vec *copies, mdc_proc_files *texts, const mdc_process_stat *stat, mdc_memory *memory,
                              const mdc_mappings *mappings, mdc_error *err);

#endif
