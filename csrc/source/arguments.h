/* Where the command line and the environment of a process are in its memory: the texts that the kernel shows, which a
 * program may have overwritten or moved, and what it was started with. */
#ifndef MDC_SOURCE_ARGUMENTS_H
#define MDC_SOURCE_ARGUMENTS_H

#include "target_view.h"

/* Bytes of one of them. The kernel lets both together grow to 6 MiB; prctl(2) can claim more. */
enum { MDC_ARGUMENTS_MAX = 8 << 20 };

/* Addresses; 0: not known. */
typedef struct mdc_start {
    uint64_t stack; /* of argc, where the first thread's stack began */
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t random, platform, execfn; /* AT_RANDOM, AT_PLATFORM, AT_EXECFN */
} mdc_start;

/* Makes the command line's text among `texts` (mdc_text) the one that /proc/PID/cmdline has, and appends to `copies`
 * (mdc_copy) the memory of both beyond the texts. Copies that a program made (setenv, a title on its heap) have no
 * address that the kernel knows. */
mdc_status mdc_arguments_find(mdc_vec *copies, mdc_vec *texts, const mdc_start *start, const mdc_target_view *view,
                              mdc_error *err);

/* Of mdc_target_view, or the like. */
typedef mdc_status (*mdc_read_memory)(void *context, uint64_t address, void *to, size_t size, size_t *done,
                                      mdc_error *err);
/* The address of the auxiliary vector with these bytes. The kernel puts it above argc, the arguments' and the
 * environment's addresses, and below their strings (fs/binfmt_elf.c: create_elf_tables); a program may have cut its
 * environment short since, so its terminator is not reliable, and the vector is recognised by its bytes instead. *found
 * 0: it is not between `from` and the strings (0: not known, then it is searched for in the next 64 KiB). */
mdc_status mdc_auxv_find(mdc_read_memory read, void *context, uint64_t from, uint64_t strings, const uint8_t *auxv,
                         size_t size, uint64_t *found, mdc_error *err);

#endif
