/* Classifying mappings (see vma_kind.h). */
#include "vma_kind.h"

#include <string.h>

#include "../api/engine.h"
#include "../base/arith.h"
#include "../source/name_kinds.h"
#include "mapfiles.h"
#include "proc_maps.h"
#include "smaps.h"

static bool named(const mdc_map_facts *facts, const char *name) {
    return facts->name_size == strlen(name) && memcmp(facts->name, name, facts->name_size) == 0;
}

static bool begins(const mdc_map_facts *facts, const char *prefix) {
    size_t length = strlen(prefix);
    return facts->name_size >= length && memcmp(facts->name, prefix, length) == 0;
}

/* A private mapping of /dev/zero is anonymous memory that happens to keep a name and an inode. */
static bool private_zero(const mdc_region *region, const mdc_map_facts *facts) {
    return (facts->perms & MDC_PERM_SHARED) == 0 && (facts->file_flags & MDC_MAPPED_ZERO) != 0 &&
           (region->facts & MDC_FACT_DELETED) == 0;
}

/* Can its pages without a page table entry be taken for zeros? Only where content is always in page table entries:
 * private, and not backed by a file, driver or huge page pool. */
static bool hole_candidate(const mdc_region *region, const mdc_map_facts *facts) {
    const uint32_t drivers = MDC_SMAPS_DEVICE | MDC_SMAPS_MIXED | MDC_SMAPS_HUGETLB;
    if ((facts->perms & MDC_PERM_SHARED) != 0 || (facts->smaps_flags & drivers) != 0) return false;
    if (private_zero(region, facts)) return true;
    if (region->inode != 0) return false;
    return facts->name_size == 0 || named(facts, "[heap]") || named(facts, "[stack]") || begins(facts, "[anon:");
}

static bool never_read(const mdc_region *region, const mdc_map_facts *facts) {
    if ((facts->smaps_flags & MDC_SMAPS_DEVICE) != 0) return true;
    /* [vvar] and [vvar_vclock]: pages of the kernel's clock, some of which fault. [vsyscall] lies outside of the
     * process. Memory of memfd_secret cannot be read by other processes. */
    if (region->inode == 0 && (begins(facts, "[vvar") || named(facts, "[vsyscall]"))) return true;
    if (named(facts, "/secretmem") && (region->facts & MDC_FACT_DELETED) != 0) return true;
    return (facts->file_flags & MDC_MAPPED_CHAR) != 0 && (facts->file_flags & MDC_MAPPED_ZERO) == 0;
}

static uint32_t kinds_of(const mdc_region *region, const mdc_map_facts *facts) {
    bool shared = (facts->perms & MDC_PERM_SHARED) != 0;
    bool deleted = (region->facts & MDC_FACT_DELETED) != 0;
    if (region->inode == 0 && !shared) {
        if (named(facts, "[vdso]")) return MDC_KIND_VDSO;
        if (begins(facts, "[vvar") || named(facts, "[vsyscall]")) return 0;
        if (named(facts, "[heap]")) return MDC_KIND_HEAP | MDC_KIND_ANONYMOUS;
        if (named(facts, "[stack]")) return MDC_KIND_STACK | MDC_KIND_ANONYMOUS;
        return MDC_KIND_ANONYMOUS;
    }
    if (private_zero(region, facts)) return MDC_KIND_ANONYMOUS;
    return mdc_name_kinds(facts->name, facts->name_size, deleted, shared);
}

/* How much of the mapping is before the end of its file; pages after it fault. */
static uint64_t valid_size(const mdc_region *region, const mdc_map_facts *facts) {
    if ((facts->file_flags & MDC_MAPPED_REGULAR) == 0 || (facts->smaps_flags & MDC_SMAPS_HUGETLB) != 0)
        return region->size;
    uint64_t file_end = mdc_page_up(facts->file_size);
    uint64_t valid = 0;
    if (file_end > region->file_offset) valid = mdc_min_u64(region->size, file_end - region->file_offset);
    /* Some file systems (sysfs, proc) report meaningless sizes: what is resident exists. */
    return facts->smaps_exact && facts->resident > valid ? region->size : valid;
}

/* Memory without access is a reservation if nothing is in it. Content that no page table shows can only be
 * in shared memory (used by garbage collectors); an untouched private file mapping holds what its file holds. */
static bool reservation(const mdc_region *region, const mdc_map_facts *facts) {
    if ((facts->perms & (MDC_PERM_ACCESS | MDC_PERM_SHARED)) != 0) return false;
    if (!facts->smaps_exact || (facts->smaps_flags & (MDC_SMAPS_CONTENT | MDC_SMAPS_HUGETLB)) != 0) return false;
    if (region->inode == 0) return facts->name_size == 0 || begins(facts, "[anon:");
    if (private_zero(region, facts)) return true;
    return (region->facts & MDC_FACT_DELETED) == 0 && (facts->file_flags & MDC_MAPPED_REGULAR) != 0;
}

void mdc_map_classify(mdc_region *region, const mdc_map_facts *facts) {
    bool anonymous = (region->inode == 0 && (facts->perms & MDC_PERM_SHARED) == 0) || private_zero(region, facts);
    region->state = MDC_MEM_COMMIT;
    region->protect = mdc_map_protection(facts->perms);
    region->type = anonymous ? MDC_MEM_PRIVATE : MDC_MEM_MAPPED;
    region->kinds = kinds_of(region, facts);
    region->alloc_base = region->base;
    region->resident = facts->smaps_exact ? facts->resident : 0;
    region->valid_size = region->inode != 0 ? valid_size(region, facts) : region->size;
    region->flags = 0;
    if (!anonymous) region->flags |= MDC_REGION_FILE;
    if ((facts->perms & MDC_PERM_SHARED) != 0) region->flags |= MDC_REGION_SHARED;
    if ((facts->smaps_flags & MDC_SMAPS_MISSING) != 0) region->flags |= MDC_REGION_USERFAULT;
    if ((facts->file_flags & MDC_MAPPED_SLOW) != 0) region->flags |= MDC_REGION_SLOW_FILE | MDC_REGION_VIA_MEM;
    if (hole_candidate(region, facts)) region->flags |= MDC_REGION_UNTOUCHED;
    if (never_read(region, facts)) region->flags |= MDC_REGION_NEVER_READ;
    /* process_vm_readv needs read access; it copies shared anonymous pages in the target first, and waits for a
     * userfaultfd handler that may be stopped. What is not known is read the harmless way. */
    bool pinnable = facts->smaps_exact && (facts->perms & MDC_PERM_READ) != 0 &&
                    (facts->smaps_flags & (MDC_SMAPS_UNSHARES | MDC_SMAPS_UFFD | MDC_SMAPS_MIXED)) == 0;
    if (!pinnable) region->flags |= MDC_REGION_VIA_MEM;
    if (facts->dontdump != MDC_DONTDUMP_IGNORE &&
        (!facts->smaps_known || (facts->smaps_flags & MDC_SMAPS_DONTDUMP) != 0))
        region->flags |= MDC_REGION_DONTDUMP;
    if (reservation(region, facts)) {
        region->state = MDC_MEM_RESERVE;
        region->protect = 0; /* undefined for reservations, by convention 0 */
        region->flags |= MDC_REGION_NEVER_READ;
    }
}
