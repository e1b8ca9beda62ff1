/* The vdso: every process of one kernel maps the same pages, so those that a target has not touched are read from our
 * own, and the target gets no page by it. */
#ifndef MDC_LINUX_VDSO_H
#define MDC_LINUX_VDSO_H

#include <stdbool.h>
#include <stdint.h>

enum { MDC_VDSO_HEAD = 4096 /* bytes of the front that are compared: ELF header, build id and symbols */ };

/* Our own vdso if it is `size` bytes long, begins with the MDC_VDSO_HEAD bytes at `head` (NULL: any), and was not
 * written to; else NULL. */
const uint8_t *mdc_vdso_own(uint64_t size, const uint8_t *head);

#endif
