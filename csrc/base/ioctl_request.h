/* The type of ioctl's second parameter: POSIX says int, as musl does, glibc says unsigned long. The kernel takes the
 * lower 32 bits. */
#ifndef MDC_BASE_IOCTL_REQUEST_H
#define MDC_BASE_IOCTL_REQUEST_H

#include <sys/ioctl.h>

#if defined(__GLIBC__)
typedef unsigned long mdc_ioctl_request;
#else
typedef int mdc_ioctl_request;
#endif

#endif
