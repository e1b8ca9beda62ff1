/* Images among the mappings, ELF (also in the middle of a file, which is an archive then) and the PE images of Wine:
 * base, size, path, identity, names; marks their regions MDC_KIND_IMAGE and MDC_MEM_IMAGE. Everything in their headers
 * is hostile: bounded and checked. Mappings are of one file if they have the same device and inode. */
#ifndef MDC_SOURCE_MODULES_H
#define MDC_SOURCE_MODULES_H

#include "target_view.h"

typedef struct mdc_module_ops {
    /* Identifies the image at this offset in the file of a mapping, for what memory does not say
     * (mdc_elf_image_identify); leaves the module as it is where the file cannot be read. */
    mdc_status (*identify)(void *context, const mdc_region *head, uint64_t start, mdc_module *module, mdc_error *err);
    /* Path of the main executable; *size 0: not known. */
    void (*executable)(void *context, uint8_t *path, size_t room, size_t *size);
    /* Device and inode of the main executable, for the region; false: not known. */
    bool (*executable_file)(void *context, mdc_region *file);
    void *context;
} mdc_module_ops;

/* modules: mdc_module; the main executable first, then by address. phdr: AT_PHDR of the target (0 if not known). */
mdc_status mdc_modules_find(mdc_vec *modules, const mdc_target_view *view, const mdc_module_ops *ops, uint64_t phdr,
                            mdc_error *err);

#endif
