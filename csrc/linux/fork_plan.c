/* What a fork of another process would do to it (see fork_plan.h). */
#include "fork_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/shortage.h"
#include "cgroup_room.h"
#include "mapfiles.h"
#include "proc_maps.h"
#include "smaps.h"

/* Pages that a device writes to are copied for the child, not for the process, since 5.12 (page_needs_cow_for_dma), and
 * input and output around the page cache marks them so since 6.5: before, a fork in the middle of it loses data. */
enum { RELEASE_FORK = 5 << 16 | 12, RELEASE_DIRECT = 6 << 16 | 5 };
/* As measured for mappings.c. */
enum { SMAPS_NS_PER_MAPPING = 4000, SMAPS_NS_PER_PAGE = 56 };
static const uint64_t again_most_ns = 20000000;
enum { FEW_ABSENT = 4 }; /* more than a library has for itself */
static const uint64_t keep_most = UINT64_C(64) << 20;
enum { CODE_CHUNK = 256 * 1024, CODE_OVERLAP = 16 };
static const uint64_t code_most = UINT64_C(64) << 20; /* bytes of one file that are searched */

void mdc_fork_plan_init(mdc_fork_plan *plan) {
    memset(plan, 0, sizeof *plan);
    mdc_kept_init(&plan->kept);
    mdc_vec_init(&plan->absent, sizeof(mdc_smaps_entry));
}

void mdc_fork_plan_fini(mdc_fork_plan *plan) {
    mdc_kept_fini(&plan->kept);
    mdc_vec_fini(&plan->absent);
}

static void refuse(mdc_fork_plan *plan, uint32_t reason, int os_errno) {
    if (plan->reason != MDC_STOP_REASON_NONE) return;
    plan->reason = reason;
    plan->os_errno = os_errno;
}

/* major << 16 | minor of the kernel. */
static unsigned long release(void) {
    struct utsname name;
    char *end;
    if (uname(&name) != 0) return 0;
    unsigned long major = strtoul(name.release, &end, 10);
    return *end == '.' ? major << 16 | strtoul(end + 1, NULL, 10) : 0;
}

/* -- code ---------------------------------------------------------------------------------------------------------- */

static bool complete(const mdc_gadgets *gadgets) { return gadgets->call != 0 && gadgets->restorer != 0; }

/* In the file, so that the target gets no page of it; in memory if that is not to be had. */
static mdc_status search(mdc_fork_plan *plan, mdc_mappings *mappings, int proc, const mdc_map_record *record,
                         mdc_error *err) {
    mdc_region region = {.base = record->first,
                         .size = record->end - record->first,
                         .file_offset = record->file_offset,
                         .inode = record->inode,
                         .dev_major = record->dev_major,
                         .dev_minor = record->dev_minor};
    int64_t number = mdc_mapped_file_find(mappings, record->dev_major, record->dev_minor, record->inode);
    if (number < 0) return MDC_OK;
    const mdc_mapped_file *known = &mdc_vec_at(&mappings->files, const mdc_mapped_file, (size_t)number);
    if ((known->flags & MDC_MAPPED_SLOW) != 0) return MDC_OK;
    region.name_id = known->name_id;
    uint8_t *code = mdc_alloc(1, CODE_CHUNK, err);
    if (code == NULL) return err->code;
    int file = mdc_mapped_file_open(mappings, proc, &region);
    const bool memory = file < 0;
    if (memory) file = openat(proc, "mem", O_RDONLY | O_CLOEXEC);
    const uint64_t size = mdc_min_u64(region.size, code_most);
    for (uint64_t at = 0; file >= 0 && at < size && !complete(&plan->gadgets); at += CODE_CHUNK - CODE_OVERLAP) {
        const uint64_t from = memory ? region.base + at : region.file_offset + at;
        ssize_t got = pread(file, code, (size_t)mdc_min_u64(CODE_CHUNK, size - at), (off_t)from);
        if (got <= 0) break;
        mdc_gadgets_find(&plan->gadgets, code, (size_t)got, region.base + at);
    }
    if (file >= 0) close(file);
    mdc_dealloc(code);
    return MDC_OK;
}

static bool holds(const mdc_map_record *record, const char *text) {
    return memmem(record->name, record->name_size, text, strlen(text)) != NULL;
}

/* The C library first: others may have nothing of it. */
static mdc_status walk(mdc_fork_plan *plan, mdc_mappings *mappings, int proc, bool library, bool direct,
                       mdc_error *err) {
    mdc_error why;
    mdc_error_clear(&why);
    mdc_map_reader *reader = mdc_map_reader_new(proc, "maps", &why);
    mdc_status status = reader != NULL ? MDC_OK : why.code;
    while (status == MDC_OK) {
        uint8_t *line;
        size_t size;
        mdc_map_record record;
        status = mdc_map_reader_line(reader, &line, &size, &why);
        if (status != MDC_OK || line == NULL) break;
        if (!mdc_map_parse(line, size, &record) || record.inode == 0) continue;
        if (direct && (holds(&record, "[aio]") || holds(&record, "[io_uring]")))
            refuse(plan, MDC_STOP_REASON_DEVICE, 0);
        const bool code = (record.perms & (MDC_PERM_EXECUTE | MDC_PERM_WRITE | MDC_PERM_SHARED | MDC_PERM_READ)) ==
                          (MDC_PERM_EXECUTE | MDC_PERM_READ);
        const bool likely = holds(&record, "/libc") || holds(&record, "/ld-") || holds(&record, "/libpthread");
        if (code && likely == library && !complete(&plan->gadgets))
            status = search(plan, mappings, proc, &record, &why);
    }
    if (reader != NULL) mdc_map_reader_free(reader);
    if (!mdc_is_shortage(status))
        return MDC_OK; /* without code, it is refused; a target that is gone will be noticed */
    *err = why;
    return status;
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

/* May others, or the process itself, write to what is mapped here? A file of a disk that is mapped for reading is as
 * steady as any other file. */
static bool changes(const mdc_mappings *mappings, const mdc_smaps_entry *entry) {
    if ((entry->flags & MDC_PERM_SHARED) == 0 || (entry->flags & MDC_SMAPS_CONTENT) == 0) return false;
    if ((entry->flags & MDC_PERM_WRITE) != 0) return true;
    int64_t number = mdc_mapped_file_find(mappings, entry->device >> 20, entry->device & 0xFFFFF, entry->inode);
    return number < 0 ||
           (mdc_vec_at(&mappings->files, const mdc_mapped_file, (size_t)number).flags & MDC_MAPPED_MEMORY) != 0;
}

static mdc_status look(mdc_fork_plan *plan, const mdc_mappings *mappings, const mdc_smaps_entry *entry, uint64_t *keep,
                       mdc_error *err) {
    const uint32_t flags = entry->flags;
    const bool shared = (flags & MDC_PERM_SHARED) != 0;
    if ((flags & MDC_SMAPS_UFFD) != 0) refuse(plan, MDC_STOP_REASON_USERFAULT, 0);
    /* [vvar] is one of no file. */
    if ((flags & MDC_SMAPS_DEVICE) != 0 && entry->inode != 0) refuse(plan, MDC_STOP_REASON_DEVICE, 0);
    /* The pool may have none left for a copy: then the child, or a process that is itself a child, loses its page. */
    if ((flags & MDC_SMAPS_HUGETLB) != 0 && !shared && (flags & MDC_SMAPS_CONTENT) != 0)
        refuse(plan, MDC_STOP_REASON_UNCOPIED, 0);
    if (changes(mappings, entry)) plan->shared = true;
    if ((flags & (MDC_SMAPS_NO_COPY | MDC_SMAPS_WIPE)) == 0 || (flags & MDC_SMAPS_DEVICE) != 0) return MDC_OK;
    mdc_status status = MDC_OK;
    if ((flags & MDC_SMAPS_NO_COPY) != 0) {
        if (entry->inode != 0) refuse(plan, MDC_STOP_REASON_UNCOPIED, 0); /* would need its file, too */
        plan->absent_pages += (entry->end - entry->first) / MDC_PAGE_SIZE;
        status = mdc_vec_push(&plan->absent, entry, 1, NULL, err);
    }
    *keep += (uint64_t)entry->resident_pages * MDC_PAGE_SIZE;
    return status == MDC_OK ? mdc_kept_add(&plan->kept, entry->first, entry->end, err) : status;
}

/* All that the entries show. *own: bytes that a child shares with the process until one of them writes. */
static mdc_status look_at_all(mdc_fork_plan *plan, const mdc_mappings *mappings, const mdc_vec *entries, uint64_t *keep,
                              uint64_t *own, mdc_error *err) {
    mdc_status status = MDC_OK;
    *keep = *own = 0;
    for (size_t i = 0; status == MDC_OK && i < entries->count; i++) {
        const mdc_smaps_entry *entry = &mdc_vec_at(entries, const mdc_smaps_entry, i);
        if ((entry->flags & MDC_SMAPS_OWN) != 0 && (entry->flags & MDC_PERM_SHARED) == 0)
            *own += (uint64_t)entry->resident_pages * MDC_PAGE_SIZE;
        status = look(plan, mappings, entry, keep, err);
    }
    return status;
}

mdc_status mdc_fork_plan_again(mdc_fork_plan *plan, const mdc_mappings *mappings, int proc, mdc_error *err) {
    uint64_t cost = 0, keep, own;
    for (size_t i = 0; i < mappings->flags.count; i++)
        cost += SMAPS_NS_PER_MAPPING +
                mdc_vec_at(&mappings->flags, const mdc_smaps_entry, i).resident_pages * (uint64_t)SMAPS_NS_PER_PAGE;
    if (plan->absent.count <= FEW_ABSENT || cost > again_most_ns) return MDC_OK;
    mdc_vec fresh;
    mdc_error why;
    mdc_vec_init(&fresh, sizeof(mdc_smaps_entry));
    mdc_error_clear(&why);
    mdc_status status = mdc_vec_reserve(&fresh, mappings->flags.count + mappings->flags.count / 8, &why);
    if (status == MDC_OK) status = mdc_smaps_read(&fresh, proc, UINT64_MAX, NULL, NULL, &why);
    if (status == MDC_OK) {
        plan->absent.count = plan->kept.ranges.count = 0;
        plan->absent_pages = 0;
        status = look_at_all(plan, mappings, &fresh, &keep, &own, &why);
    }
    mdc_vec_fini(&fresh);
    if (status == MDC_OK) return MDC_OK;
    refuse(plan, MDC_STOP_REASON_UNCOPIED, 0);
    if (mdc_is_shortage(status) || status == MDC_ERR_TARGET_GONE) *err = why;
    return err->code;
}

mdc_status mdc_fork_plan_make(mdc_fork_plan *plan, mdc_mappings *mappings, int proc, int process, uint64_t keep_max,
                              mdc_error *err) {
    const unsigned long kernel = release();
    uint64_t keep = 0, own = 0;
    mdc_status status;
#if !defined(__x86_64__)
    refuse(plan, MDC_STOP_REASON_KERNEL, 0);
#endif
    if (kernel < RELEASE_FORK) refuse(plan, MDC_STOP_REASON_KERNEL, 0);
    if (!mappings->flags_known) refuse(plan, MDC_STOP_REASON_UNCOPIED, 0); /* what a child lacks is not known */
    status = look_at_all(plan, mappings, &mappings->flags, &keep, &own, err);
    if (status != MDC_OK) return status;
    const uint64_t most = keep_max == 0 ? keep_most : mdc_min_u64(keep_max, keep_most);
    if (keep > most) refuse(plan, MDC_STOP_REASON_UNCOPIED, 0);
    if (!mdc_cgroup_has_room(process, own)) refuse(plan, MDC_STOP_REASON_CGROUP, 0);
    if (plan->reason != MDC_STOP_REASON_NONE) return MDC_OK;
    /* It grows until the stop. */
    status = mdc_kept_reserve(&plan->kept, mdc_min_u64(most, 2 * keep + (UINT64_C(64) << 10)), err);
    const bool direct = kernel < RELEASE_DIRECT;
    if (status == MDC_OK) status = walk(plan, mappings, proc, true, direct, err);
    if (status == MDC_OK && !complete(&plan->gadgets)) status = walk(plan, mappings, proc, false, false, err);
    if (status == MDC_OK && !complete(&plan->gadgets)) refuse(plan, MDC_STOP_REASON_THREAD, 0);
    return status;
}
