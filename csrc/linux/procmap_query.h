/* Listing mappings by the PROCMAP_QUERY ioctl on /proc/PID/maps (Linux 6.11): no text, no path lookup unless the name
 * is asked for, and names come without escapes. */
#ifndef MDC_LINUX_PROCMAP_QUERY_H
#define MDC_LINUX_PROCMAP_QUERY_H

#include <stdbool.h>

#include "proc_maps.h"

/* The longest name the kernel delivers, with its NUL. */
enum { MDC_PROCMAP_NAME = 4096 };

typedef struct mdc_procmap_query {
    int fd;            /* /proc/PID/maps */
    uint64_t next;     /* address to go on at */
    bool expect_names; /* whether the last mapping's name was needed */
    uint8_t name[MDC_PROCMAP_NAME];
} mdc_procmap_query;

/* What a step found. */
typedef enum mdc_procmap_query_step {
    MDC_PROCMAP_QUERY_FOUND = 0,
    MDC_PROCMAP_QUERY_END = 1,
    MDC_PROCMAP_QUERY_UNSUPPORTED = 2, /* this kernel has no such ioctl, or a name is too long for it: use the text */
    MDC_PROCMAP_QUERY_FAILED = 3       /* errno in *os_errno */
} mdc_procmap_query_step;

/* Is the name of this mapping needed? Its record has everything but the name. */
typedef bool (*mdc_procmap_query_want)(const void *context, const mdc_map_record *record);

mdc_status mdc_procmap_query_open(mdc_procmap_query *procmap, int proc, mdc_error *err);
void mdc_procmap_query_close(mdc_procmap_query *procmap);
/* The next mapping. record->name is NULL if want said no. */
mdc_procmap_query_step mdc_procmap_query_next(mdc_procmap_query *procmap, mdc_procmap_query_want want,
                                              const void *context, mdc_map_record *record, int *os_errno);

#endif
