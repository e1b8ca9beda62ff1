/* Our own vdso (see vdso.h). */
#include "vdso.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "pagemap.h"

/* A mapping has no length in the auxiliary vector; the kernel's image ends with its section headers. */
static uint64_t own_size(const uint8_t *image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return 0;
    return mdc_page_up(header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize);
}

static mdc_status count(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    (void)categories;
    (void)err;
    *(uint64_t *)context += end - first;
    return MDC_OK;
}

/* A page that was written to is a copy of our own (a sandbox or a tracer may have put its calls there). */
static bool written(uint64_t first, uint64_t end) {
    const mdc_pagemap_query query = {
        .anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED, .none = MDC_PAGE_IS_FILE, .reported = MDC_PAGE_IS_PRESENT};
    uint64_t found = 0;
    int os_errno = 0;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    int fd = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return true;
    (void)mdc_pagemap_scan(fd, first, end, &query, count, &found, &os_errno, &ignored);
    if (os_errno != 0) {
        os_errno = 0;
        found = 0;
        (void)mdc_pagemap_read(fd, first, end, &query, count, &found, &os_errno, &ignored);
    }
    close(fd);
    return os_errno != 0 || found != 0;
}

const uint8_t *mdc_vdso_own(uint64_t size, const uint8_t *head) {
    const uint64_t base = getauxval(AT_SYSINFO_EHDR);
    const uint8_t *image = (const uint8_t *)(uintptr_t)base;
    if (base == 0 || size < MDC_VDSO_HEAD || own_size(image) != size || written(base, base + size)) return NULL;
    return head == NULL || memcmp(image, head, MDC_VDSO_HEAD) == 0 ? image : NULL;
}
