/* Parsing smaps and finding mappings again (see smaps.h). */
#include "smaps.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"

/* The sums of one entry while its lines are read. Bytes. */
typedef struct counts {
    uint64_t resident;
    uint64_t shared;
    uint64_t anonymous;
    uint64_t merged;
    uint64_t swapped;
    uint64_t hugetlb;
    uint64_t hugetlb_shared;
} counts;

static bool is_name(const mdc_map_record *record, const char *name) {
    return record->name_size == strlen(name) && memcmp(record->name, name, record->name_size) == 0;
}

static void begin(mdc_smaps_entry *entry, const mdc_map_record *record) {
    memset(entry, 0, sizeof *entry);
    entry->first = record->first;
    entry->end = record->end;
    entry->inode = record->inode;
    entry->device = mdc_smaps_device(record->dev_major, record->dev_minor);
    entry->flags = record->perms;
    if (is_name(record, "[heap]")) entry->flags |= MDC_SMAPS_HEAP;
    if (is_name(record, "[stack]")) entry->flags |= MDC_SMAPS_STACK;
    if (is_name(record, "[vsyscall]")) entry->flags |= MDC_SMAPS_VSYSCALL;
}

static uint64_t kilobytes(const uint8_t *at, const uint8_t *end) {
    uint64_t value = 0;
    while (at < end && *at == ' ') at++;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (value > UINT64_MAX / 16384) return UINT64_MAX; /* no process has that much */
        value = value * 10 + (uint64_t)(*at - '0');
    }
    return value * 1024;
}

/* VmFlags: two letters and a blank each (fs/proc/task_mmu.c: show_smap_vma_flags). */
static uint32_t vm_flags(const uint8_t *at, const uint8_t *end) {
    static const struct {
        char letters[3];
        uint32_t flag;
    } table[] = {
        {"dd", MDC_SMAPS_DONTDUMP}, {"io", MDC_SMAPS_DEVICE},
        {"pf", MDC_SMAPS_DEVICE},   {"um", MDC_SMAPS_UFFD | MDC_SMAPS_MISSING},
        {"uw", MDC_SMAPS_UFFD},     {"ui", MDC_SMAPS_UFFD},
        {"ht", MDC_SMAPS_HUGETLB},  {"mm", MDC_SMAPS_MIXED},
        {"dc", MDC_SMAPS_NO_COPY},  {"wf", MDC_SMAPS_WIPE},
    };
    uint32_t flags = 0;
    while (at < end) {
        if (*at == ' ') {
            at++;
            continue;
        }
        const uint8_t *word = at;
        while (at < end && *at != ' ') at++;
        if (at - word != 2) continue;
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
            if (word[0] == (uint8_t)table[i].letters[0] && word[1] == (uint8_t)table[i].letters[1])
                flags |= table[i].flag;
    }
    return flags;
}

static bool key(const uint8_t *line, size_t size, const char *name, size_t length) {
    return size > length && memcmp(line, name, length) == 0;
}

static void field(mdc_smaps_entry *entry, counts *sum, const uint8_t *line, size_t size) {
#define KEY(name) key(line, size, name, sizeof(name) - 1)
#define VALUE(name) kilobytes(line + sizeof(name) - 1, line + size)
    /* The first letter rules out most lines: there are two dozen per mapping. */
    switch (line[0]) {
    case 'R':
        if (KEY("Rss:")) sum->resident = VALUE("Rss:");
        break;
    case 'S':
        if (KEY("Shared_Clean:") || KEY("Shared_Dirty:")) sum->shared += VALUE("Shared_Clean:");
        if (KEY("Shared_Hugetlb:")) sum->hugetlb_shared = VALUE("Shared_Hugetlb:");
        if (KEY("Swap:")) sum->swapped = VALUE("Swap:");
        break;
    case 'P':
        if (KEY("Private_Hugetlb:")) sum->hugetlb = VALUE("Private_Hugetlb:");
        break;
    case 'A':
        if (KEY("Anonymous:")) sum->anonymous = VALUE("Anonymous:");
        break;
    case 'K':
        if (KEY("KSM:")) sum->merged = VALUE("KSM:");
        break;
    case 'V':
        if (KEY("VmFlags:")) entry->flags |= vm_flags(line + sizeof("VmFlags:") - 1, line + size);
        break;
    default:
        break;
    }
#undef KEY
#undef VALUE
}

/* The lines of numbers that are there already. Their columns are fixed (fs/proc/task_mmu.c: SEQ_PUT_DEC) but for what
 * has more than eight digits, and most are zero, which adds nothing. */
static void fields(mdc_map_reader *reader, mdc_smaps_entry *entry, counts *sum) {
    static const char unit[] = " kB\n";
    enum { LINE = 28, UNIT = sizeof unit - 1 };
    size_t size, done = 0;
    const uint8_t *at = mdc_map_reader_peek(reader, &size);
    for (; size - done >= LINE; done += LINE) {
        const uint8_t *line = at + done;
        if (memcmp(line + LINE - UNIT, unit, UNIT) != 0 || mdc_map_is_header(line, LINE)) break;
        if (memcmp(line + LINE - UNIT - 2, " 0", 2) != 0) field(entry, sum, line, LINE - 1);
    }
    mdc_map_reader_skip(reader, done);
}

static mdc_status finish(mdc_vec *entries, mdc_smaps_entry *entry, const counts *sum, mdc_error *err) {
    uint64_t resident = sum->resident + sum->hugetlb + sum->hugetlb_shared;
    if (resident > 0 || sum->swapped > 0) entry->flags |= MDC_SMAPS_CONTENT;
    if (sum->anonymous > 0 || sum->swapped > 0) entry->flags |= MDC_SMAPS_OWN;
    uint64_t pages = resident / MDC_PAGE_SIZE;
    entry->resident_pages = pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
    if ((entry->flags & MDC_PERM_SHARED) == 0) {
        /* Pages of the file itself are shared too, and harmless; which of the pages are the shared ones is not known,
         * so a private file mapping counts as soon as it has anonymous pages at all. */
        bool anonymous = entry->inode == 0 || sum->anonymous > 0;
        if ((anonymous && sum->shared > 0) || sum->merged > 0 || sum->hugetlb_shared > 0)
            entry->flags |= MDC_SMAPS_UNSHARES;
    }
    /* The target runs while this is read: a mapping merged in the meantime may be shown with a start before
     * the end of the last one. */
    if (entries->count > 0) {
        uint64_t last_end = mdc_vec_at(entries, mdc_smaps_entry, entries->count - 1).end;
        if (entry->end <= last_end) return MDC_OK;
        if (entry->first < last_end) entry->first = last_end;
    }
    return mdc_vec_push(entries, entry, 1, NULL, err);
}

static mdc_status read_all(mdc_map_reader *reader, mdc_vec *entries, uint64_t limit, mdc_smaps_seen seen, void *context,
                           mdc_error *err) {
    mdc_smaps_entry entry;
    counts sum;
    bool open = false;
    for (;;) {
        uint8_t *line;
        size_t size;
        if (open) fields(reader, &entry, &sum);
        mdc_status status = mdc_map_reader_line(reader, &line, &size, err);
        if (status != MDC_OK) return status;
        if (line == NULL) break;
        if (size == 0) continue;
        if (!mdc_map_is_header(line, size)) {
            if (open) field(&entry, &sum, line, size);
            continue;
        }
        if (open) status = finish(entries, &entry, &sum, err);
        if (status == MDC_OK && seen != NULL) status = seen(context, line, size, err);
        if (status != MDC_OK) return status;
        mdc_map_record record;
        if (!mdc_map_parse(line, size, &record))
            return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "malformed line in /proc/PID/smaps");
        open = record.first < limit;
        if (!open) return MDC_OK;
        begin(&entry, &record);
        memset(&sum, 0, sizeof sum);
    }
    return open ? finish(entries, &entry, &sum, err) : MDC_OK;
}

mdc_status mdc_smaps_read(mdc_vec *entries, int proc, uint64_t limit, mdc_smaps_seen seen, void *context,
                          mdc_error *err) {
    int forced = MDC_FAILPOINT("smaps:list");
    if (forced != 0) return mdc_map_fail(err, forced, "smaps", "read");
    mdc_map_reader *reader = mdc_map_reader_new(proc, "smaps", err);
    if (reader == NULL) return err->code;
    mdc_status status = read_all(reader, entries, limit, seen, context, err);
    mdc_map_reader_free(reader);
    return status;
}

static bool same_backing(const mdc_smaps_entry *a, const mdc_smaps_entry *b) {
    return a->inode == b->inode && a->device == b->device && ((a->flags ^ b->flags) & MDC_PERM_SHARED) == 0;
}

static bool same_special(const mdc_smaps_entry *a, const mdc_smaps_entry *b) {
    return ((a->flags ^ b->flags) & (MDC_SMAPS_HEAP | MDC_SMAPS_STACK)) == 0;
}

mdc_smaps_match mdc_smaps_lookup(const mdc_vec *entries, size_t *cursor, const mdc_smaps_entry *now, bool torn,
                                 uint32_t *flags, uint64_t *resident) {
    const mdc_smaps_entry *at = entries->data;
    *flags = 0;
    *resident = 0;
    while (*cursor < entries->count && at[*cursor].end <= now->first) ++*cursor;
    uint32_t found = 0;
    uint64_t covered = now->first; /* up to here by old mappings with the same backing */
    bool edge = false;             /* begins or ends where an old one did, otherwise the same */
    bool alien = false;
    for (size_t i = *cursor; i < entries->count && at[i].first < now->end; i++) {
        bool perms = ((at[i].flags ^ now->flags) & MDC_SMAPS_PERMS) == 0;
        if (!same_backing(&at[i], now) || !same_special(&at[i], now)) {
            alien = true;
            continue;
        }
        if (at[i].first == now->first && at[i].end == now->end && perms) {
            *flags = at[i].flags;
            *resident = (uint64_t)at[i].resident_pages * MDC_PAGE_SIZE;
            return MDC_SMAPS_EXACT;
        }
        if (perms && (at[i].first == now->first || at[i].end == now->end)) edge = true;
        if (at[i].first <= covered && at[i].end > covered) covered = at[i].end;
        found |= at[i].flags;
    }
    /* A mapping has one set of flags: what grew by merging has those of its old part. */
    if (torn || alien || !(covered >= now->end || edge)) return MDC_SMAPS_UNKNOWN;
    *flags = found;
    return MDC_SMAPS_INHERITED;
}
