/* statx(2) with a struct of our own: musl has none before 1.2.5, and declares one that the kernel's header declares
 * again since. Sizes and numbers: include/uapi/linux/stat.h. */
#ifndef MDC_LINUX_STATX_H
#define MDC_LINUX_STATX_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

enum { MDC_STATX_TYPE = 0x1, MDC_STATX_MODE = 0x2, MDC_STATX_INO = 0x100, MDC_STATX_SIZE = 0x200 };

typedef struct mdc_statx_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
} mdc_statx_time;

typedef struct mdc_statx_facts {
    uint32_t mask;
    uint32_t block_size;
    uint64_t attributes;
    uint32_t links;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t reserved;
    uint64_t inode;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    mdc_statx_time accessed, created, changed, modified;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint64_t later[14]; /* of newer kernels */
} mdc_statx_facts;

_Static_assert(sizeof(mdc_statx_facts) == 256, "struct statx");

/* As statx: 0, or -1 and errno. */
static inline int mdc_statx(int directory, const char *path, int flags, unsigned wanted, mdc_statx_facts *facts) {
    return (int)syscall(SYS_statx, directory, path, flags, wanted, facts);
}

#endif
