/* Listing the mappings (see mappings.h). */
#include "mappings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../api/engine.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "../source/target_view.h"
#include "corefilter.h"
#include "mapfiles.h"
#include "proc_maps.h"
#include "process.h"
#include "procmap_query.h"
#include "slow_fs.h"
#include "smaps.h"
#include "vma_kind.h"

enum { TEXT_MAX = 64 << 20 }; /* bytes of maps; 60,000 mappings with long paths make 10 MiB */

void mdc_mappings_init(mdc_mappings *mappings) {
    memset(mappings, 0, sizeof *mappings);
    mappings->core_filter = -1;
    mdc_vec_init(&mappings->regions, sizeof(mdc_region));
    mdc_vec_init(&mappings->notes, sizeof(mdc_mapping_note));
    mdc_vec_init(&mappings->names, sizeof(mdc_name));
    mdc_vec_init(&mappings->pool, 1);
    mdc_vec_init(&mappings->text, 1);
    mdc_vec_init(&mappings->flags, sizeof(mdc_smaps_entry));
    mdc_vec_init(&mappings->files, sizeof(mdc_mapped_file));
    mdc_vec_init(&mappings->mounts, sizeof(mdc_mount));
    mdc_noopen_init(&mappings->noopen);
    mdc_hash_init(&mappings->name_table);
    mdc_hash_init(&mappings->file_table);
}

void mdc_mappings_fini(mdc_mappings *mappings) {
    mdc_smaps_thread_fini(&mappings->smaps);
    mdc_vec_fini(&mappings->regions);
    mdc_vec_fini(&mappings->notes);
    mdc_vec_fini(&mappings->names);
    mdc_vec_fini(&mappings->pool);
    mdc_vec_fini(&mappings->text);
    mdc_vec_fini(&mappings->flags);
    mdc_vec_fini(&mappings->files);
    mdc_vec_fini(&mappings->mounts);
    mdc_noopen_fini(&mappings->noopen);
    mdc_hash_fini(&mappings->name_table);
    mdc_hash_fini(&mappings->file_table);
}

mdc_status mdc_mappings_intern(mdc_mappings *mappings, const void *bytes, size_t size, mdc_name *name, mdc_error *err) {
    return mdc_pool_add(&mappings->pool, bytes, size, name, err);
}

int64_t mdc_mappings_find(const mdc_mappings *mappings, uint64_t address) {
    return mdc_regions_at(&mappings->regions, address);
}

typedef struct lister {
    mdc_mappings *mappings;
    int proc;
    size_t absent; /* of the absent mappings: the next */
} lister;

static mdc_status malformed(mdc_error *err) {
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "malformed line in /proc/PID/maps");
}

static mdc_status add_one(lister *self, const mdc_map_record *record, mdc_error *err) {
    mdc_mappings *mappings = self->mappings;
    mdc_control_advance(mappings->control);
    mdc_region region = {.base = record->first,
                         .size = record->end - record->first,
                         .file_offset = record->file_offset,
                         .inode = record->inode,
                         .dev_major = record->dev_major,
                         .dev_minor = record->dev_minor};
    mdc_mapping_note note = {.perms = record->perms};
    if (((record->first | record->end) & (MDC_PAGE_SIZE - 1)) != 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "a mapping of the target is not page-aligned");
    if (mappings->regions.count > 0) {
        const mdc_region *last = &mdc_vec_at(&mappings->regions, mdc_region, mappings->regions.count - 1);
        /* Seen only where the target was not stopped: the list must still be in order. */
        if (region.base < last->base + last->size) return MDC_OK;
    }
    mdc_status status;
    if (record->inode != 0) {
        int64_t number = mdc_mapped_file_find(mappings, record->dev_major, record->dev_minor, record->inode);
        size_t file = (size_t)number;
        if (number < 0 || record->name != NULL) {
            status = mdc_mapped_file_get(mappings, self->proc, record, &file, err);
            if (status != MDC_OK) return status;
        }
        const mdc_mapped_file *known = &mdc_vec_at(&mappings->files, mdc_mapped_file, file);
        region.name_id = known->name_id;
        if ((known->flags & MDC_MAPPED_DELETED) != 0) region.facts |= MDC_FACT_DELETED;
    } else {
        status = mdc_mapped_name(mappings, record->name, record->name_size, &region.name_id, err);
        if (status != MDC_OK) return status;
    }
    status = mdc_vec_push(&mappings->notes, &note, 1, NULL, err);
    return status == MDC_OK ? mdc_vec_push(&mappings->regions, &region, 1, NULL, err) : status;
}

/* The absent mappings below the address. */
static mdc_status add_absent(lister *self, uint64_t below, mdc_error *err) {
    const mdc_vec *absent = self->mappings->absent;
    mdc_status status = MDC_OK;
    for (; status == MDC_OK && absent != NULL && self->absent < absent->count; self->absent++) {
        const mdc_smaps_entry *entry = &mdc_vec_at(absent, const mdc_smaps_entry, self->absent);
        if (entry->first >= below) break;
        const mdc_map_record record = {
            .first = entry->first, .end = entry->end, .perms = entry->flags & MDC_SMAPS_PERMS};
        status = add_one(self, &record, err);
    }
    return status;
}

static mdc_status add(lister *self, const mdc_map_record *record, mdc_error *err) {
    mdc_status status = add_absent(self, record->first, err);
    return status == MDC_OK ? add_one(self, record, err) : status;
}

static bool wants_name(const void *context, const mdc_map_record *record) { return context == NULL && record != NULL; }

/* One whose name has a backslash: in the text, which has to stay as it is, a newline and a name that holds its escape
 * look the same. */
static mdc_status add_escaped(lister *self, const uint8_t *line, size_t size, mdc_error *err) {
    mdc_vec copy;
    mdc_vec_init(&copy, 1);
    mdc_map_record record, exact;
    mdc_procmap_query procmap;
    int os_errno = 0;
    if (mdc_vec_push(&copy, line, size, NULL, err) == MDC_OK && !mdc_map_parse(copy.data, size, &record))
        malformed(err);
    if (err->code == MDC_OK && mdc_procmap_query_open(&procmap, self->proc, err) == MDC_OK) {
        procmap.next = record.first;
        bool found = mdc_procmap_query_next(&procmap, wants_name, NULL, &exact, &os_errno) == MDC_PROCMAP_QUERY_FOUND;
        add(self, found && exact.first == record.first && exact.inode == record.inode ? &exact : &record, err);
        mdc_procmap_query_close(&procmap);
    }
    mdc_vec_fini(&copy);
    return err->code;
}

/* Without changing the line. */
static mdc_status add_line(lister *self, uint8_t *line, size_t size, mdc_error *err) {
    mdc_map_record record;
    if (memchr(line, '\\', size) != NULL) return add_escaped(self, line, size, err);
    return mdc_map_parse(line, size, &record) ? add(self, &record, err) : malformed(err);
}

/* More text than a dump holds. */
static mdc_status list_by_lines(lister *self, mdc_error *err) {
    mdc_map_reader *reader = mdc_map_reader_new(self->proc, "maps", err);
    if (reader == NULL) return err->code;
    mdc_status status;
    for (;;) {
        uint8_t *line;
        size_t size;
        status = mdc_map_reader_line(reader, &line, &size, err);
        if (status == MDC_OK && line != NULL) status = add_line(self, line, size, err);
        if (status != MDC_OK || line == NULL) break;
    }
    mdc_map_reader_free(reader);
    return status;
}

/* From the text of maps, which a dump holds as well, and which may have been read with smaps. PROCMAP_QUERY takes twice
 * as long per mapping. */
static mdc_status list_all(lister *self, bool read, mdc_error *err) {
    mdc_vec *text = &self->mappings->text;
    bool cut = false;
    mdc_status status = MDC_OK;
    if (!read) {
        text->count = 0;
        status = mdc_process_read_text(self->proc, "maps", TEXT_MAX, text, &cut, err);
    }
    if (status == MDC_OK && cut) return list_by_lines(self, err);
    uint8_t *at = text->data, *end = at + text->count;
    for (uint8_t *stop; status == MDC_OK && at < end; at = stop < end ? stop + 1 : end) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        status = add_line(self, at, (size_t)(stop - at), err);
    }
    return status;
}

/* Whether two neighbours touch, and the kernel would have merged them if their flags were the same. (mm/vma.c:
 * can_vma_merge_after) */
static bool would_merge(const mdc_mappings *mappings, size_t index) {
    const mdc_region *a = &mdc_vec_at(&mappings->regions, const mdc_region, index), *b = a + 1;
    const mdc_mapping_note *notes = &mdc_vec_at(&mappings->notes, const mdc_mapping_note, index);
    if (a->base + a->size != b->base || notes[0].perms != notes[1].perms || a->inode != b->inode ||
        a->dev_major != b->dev_major || a->dev_minor != b->dev_minor || a->name_id != b->name_id)
        return false;
    return a->inode == 0 || a->file_offset + (b->base - a->base) == b->file_offset;
}

static bool torn(const mdc_mappings *mappings, size_t index) {
    if (index > 0 && would_merge(mappings, index - 1)) return true;
    return index + 1 < mappings->regions.count && would_merge(mappings, index);
}

/* Files grow under their mappings (databases map more than they have): those that were too short for a mapping before
 * the stop are examined again. */
static void refresh_sizes(mdc_mappings *mappings, int proc) {
    const mdc_region *regions = mappings->regions.data;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        const mdc_region *region = &regions[i];
        if (region->inode == 0) continue;
        int64_t number = mdc_mapped_file_find(mappings, region->dev_major, region->dev_minor, region->inode);
        if (number < 0) continue;
        mdc_mapped_file *file = &mdc_vec_at(&mappings->files, mdc_mapped_file, (size_t)number);
        uint64_t file_end = mdc_page_up(file->size);
        bool beyond = file_end < region->file_offset || file_end - region->file_offset < region->size;
        const uint32_t mask = MDC_MAPPED_REGULAR | MDC_MAPPED_AGAIN;
        if (!beyond || (file->flags & mask) != MDC_MAPPED_REGULAR) continue;
        file->flags |= MDC_MAPPED_AGAIN;
        mdc_mapped_file_resize(mappings, file, proc, region);
    }
}

static mdc_name name_of(const mdc_mappings *mappings, uint32_t name_id) {
    return name_id == 0 ? (mdc_name){0, 0} : mdc_vec_at(&mappings->names, mdc_name, name_id - 1);
}

static uint32_t special_of(const uint8_t *name, size_t size) {
    if (size == 6 && memcmp(name, "[heap]", 6) == 0) return MDC_SMAPS_HEAP;
    if (size == 7 && memcmp(name, "[stack]", 7) == 0) return MDC_SMAPS_STACK;
    return 0;
}

/* The inputs of mdc_map_classify for one region that do not come from smaps. */
static void facts_of(const mdc_mappings *mappings, size_t index, uint32_t dontdump, mdc_map_facts *facts) {
    const mdc_region *region = &mdc_vec_at(&mappings->regions, const mdc_region, index);
    memset(facts, 0, sizeof *facts);
    mdc_name name = name_of(mappings, region->name_id);
    facts->perms = mdc_vec_at(&mappings->notes, const mdc_mapping_note, index).perms;
    facts->name = name.size > 0 ? &mdc_vec_at(&mappings->pool, uint8_t, name.offset) : (const uint8_t *)"";
    facts->name_size = name.size;
    facts->dontdump = dontdump;
    if (region->inode == 0) return;
    int64_t number = mdc_mapped_file_find(mappings, region->dev_major, region->dev_minor, region->inode);
    if (number < 0) return;
    const mdc_mapped_file *file = &mdc_vec_at(&mappings->files, mdc_mapped_file, (size_t)number);
    facts->file_flags = file->flags;
    facts->file_size = file->size;
}

static mdc_smaps_match look_up(const mdc_mappings *mappings, const mdc_vec *entries, size_t *cursor, size_t index,
                               mdc_map_facts *facts) {
    const mdc_region *region = &mdc_vec_at(&mappings->regions, const mdc_region, index);
    mdc_smaps_entry now = {.first = region->base,
                           .end = region->base + region->size,
                           .inode = region->inode,
                           .device = mdc_smaps_device(region->dev_major, region->dev_minor),
                           .flags = facts->perms};
    if (facts->name_size > 0 && region->inode == 0) now.flags |= special_of(facts->name, facts->name_size);
    mdc_smaps_match match =
        mdc_smaps_lookup(entries, cursor, &now, torn(mappings, index), &facts->smaps_flags, &facts->resident);
    facts->smaps_known = match != MDC_SMAPS_UNKNOWN;
    facts->smaps_exact = match == MDC_SMAPS_EXACT;
    return match;
}

static void classify_one(const mdc_mappings *mappings, size_t index, const mdc_map_facts *facts) {
    mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, index);
    bool *head = &mdc_vec_at(&mappings->notes, mdc_mapping_note, index).head;
    mdc_map_classify(region, facts);
    region->filtered = 0;
    *head = false;
    if (mappings->core_filter < 0) return;
    region->filtered = region->size - mdc_corefilter_size((uint32_t)mappings->core_filter, region, facts, head);
}

/* One pass over all regions with what smaps said before the stop. */
static void classify(mdc_mappings *mappings, uint32_t dontdump) {
    mdc_region *regions = mappings->regions.data;
    size_t cursor = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        mdc_map_facts facts;
        facts_of(mappings, i, dontdump, &facts);
        mdc_smaps_match match = look_up(mappings, &mappings->flags, &cursor, i, &facts);
        classify_one(mappings, i, &facts);
        if (match != MDC_SMAPS_EXACT && mappings->flags_known) regions[i].flags |= MDC_REGION_CHANGED;
    }
}

/* And with what it says now. What even that does not know is changing while we look, by a process that shares the
 * memory and was not stopped: nothing is known of it. */
static void classify_again(mdc_mappings *mappings, const mdc_vec *fresh, uint32_t dontdump) {
    mdc_region *regions = mappings->regions.data;
    size_t cursor = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        mdc_map_facts facts;
        uint32_t before = regions[i].flags & (MDC_REGION_CHANGED | MDC_REGION_DONTDUMP);
        facts_of(mappings, i, dontdump, &facts);
        mdc_smaps_match match = look_up(mappings, fresh, &cursor, i, &facts);
        if (match != MDC_SMAPS_EXACT) facts.smaps_known = false;
        classify_one(mappings, i, &facts);
        /* Marked right before the stop: in the child it is empty, and what was there is lost. */
        if (mappings->kept != NULL && (facts.smaps_flags & MDC_SMAPS_WIPE) != 0 &&
            !mdc_kept_has(mappings->kept, regions[i].base, regions[i].base + regions[i].size))
            regions[i].flags |= MDC_REGION_NEVER_READ;
        bool other = ((regions[i].flags ^ before) & MDC_REGION_DONTDUMP) != 0;
        if (match != MDC_SMAPS_EXACT || other) before |= MDC_REGION_CHANGED;
        regions[i].flags |= before & MDC_REGION_CHANGED;
    }
}

/* What reading smaps would take, nanoseconds: by the pages of before the stop, and the mappings of now. */
static uint64_t cost_of_smaps(const mdc_mappings *mappings) {
    uint64_t cost = mappings->regions.count * (uint64_t)MDC_SMAPS_NS_PER_MAPPING;
    for (size_t i = 0; i < mappings->flags.count; i++)
        cost += mdc_vec_at(&mappings->flags, mdc_smaps_entry, i).resident_pages * (uint64_t)MDC_SMAPS_NS_PER_PAGE;
    return cost;
}

static mdc_status seen_again(void *context, const uint8_t *line, size_t size, mdc_error *err) {
    (void)line;
    (void)size;
    (void)err;
    mdc_control_advance(context);
    return MDC_OK;
}

/* The lines of maps out of smaps. */
typedef struct collector {
    mdc_mappings *mappings;
    bool cut; /* there are more than a dump holds */
} collector;

static mdc_status collect(void *context, const uint8_t *line, size_t size, mdc_error *err) {
    collector *self = context;
    mdc_vec *text = &self->mappings->text;
    mdc_control_advance(self->mappings->control);
    self->cut = self->cut || text->count + size + 1 > TEXT_MAX;
    if (self->cut) return MDC_OK;
    mdc_status status = mdc_vec_push(text, line, size, NULL, err);
    return status == MDC_OK ? mdc_vec_push(text, "\n", 1, NULL, err) : status;
}

static int by_address(const void *a, const void *b) {
    const mdc_smaps_entry *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

/* What smaps of a child cannot show. */
static mdc_status add_to_fresh(const mdc_mappings *mappings, mdc_vec *fresh, mdc_error *err) {
    const mdc_vec *absent = mappings->absent;
    if (absent == NULL || absent->count == 0) return MDC_OK;
    mdc_status status = mdc_vec_push(fresh, absent->data, absent->count, NULL, err);
    if (status == MDC_OK) qsort(fresh->data, fresh->count, sizeof(mdc_smaps_entry), by_address);
    return status;
}

static mdc_status look_again(mdc_mappings *mappings, int proc, uint32_t dontdump, mdc_error *err) {
    mdc_vec fresh;
    mdc_vec_init(&fresh, sizeof(mdc_smaps_entry));
    mdc_error ignored;
    mdc_error_clear(&ignored);
    mdc_status status = mdc_vec_reserve(&fresh, mappings->regions.count, &ignored);
    if (status == MDC_OK) status = mdc_smaps_read(&fresh, proc, UINT64_MAX, seen_again, mappings->control, &ignored);
    if (status == MDC_OK) status = add_to_fresh(mappings, &fresh, &ignored);
    /* Of what a child does not have it says nothing. */
    mappings->exact = status == MDC_OK && (mappings->absent == NULL || mappings->absent->count == 0);
    if (status == MDC_OK)
        classify_again(mappings, &fresh, dontdump);
    else if (mdc_is_shortage(status) || status == MDC_ERR_TARGET_GONE)
        *err = ignored;
    else
        status = MDC_OK; /* unknown stays unknown: do not dump */
    mdc_vec_fini(&fresh);
    return status;
}

/* What was not read before the stop is read now, and is exact: the text of maps with it, which the kernel would else
 * have to make once more. *text: it is there. */
static mdc_status look_now(mdc_mappings *mappings, int proc, uint32_t dontdump, bool *text, mdc_error *err) {
    collector lines = {mappings, false};
    mdc_error why;
    mdc_error_clear(&why);
    mappings->text.count = 0;
    mdc_status status = mdc_smaps_read(&mappings->flags, proc, UINT64_MAX, collect, &lines, &why);
    mappings->flags_known = status == MDC_OK;
    *text = status == MDC_OK && !lines.cut;
    if (status == MDC_OK || (dontdump == MDC_DONTDUMP_IGNORE && !mdc_is_shortage(status))) return MDC_OK;
    *err = why;
    return status;
}

/* Is it unknown whether one of these addresses may be dumped? */
static bool in_doubt(const mdc_mappings *mappings, const mdc_again *again) {
    const uint32_t doubt = MDC_REGION_CHANGED | MDC_REGION_DONTDUMP;
    for (size_t i = 0; i < again->count; i++) {
        int64_t found = mdc_mappings_find(mappings, again->addresses[i]);
        if (found >= 0 && (mdc_vec_at(&mappings->regions, const mdc_region, found).flags & doubt) == doubt) return true;
    }
    return false;
}

static bool worth_again(const mdc_mappings *mappings, uint32_t dontdump, const mdc_again *again) {
    if (!mappings->flags_known || dontdump == MDC_DONTDUMP_IGNORE) return false;
    if (again == NULL) return true;
    uint64_t cost = cost_of_smaps(mappings);
    return cost <= again->any_ns || (cost <= again->needed_ns && in_doubt(mappings, again));
}

mdc_status mdc_mappings_list(mdc_mappings *mappings, int proc, uint32_t dontdump, const mdc_again *again,
                             mdc_error *err) {
    if (!mappings->flags_known && !mappings->deferred && dontdump != MDC_DONTDUMP_IGNORE)
        return mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_CAPTURE, 0,
                        "/proc/PID/smaps was not read, so the MADV_DONTDUMP mappings are unknown; give ignore to "
                        "dump all the same");
    int forced = MDC_FAILPOINT("maps:list");
    if (forced != 0) return mdc_map_fail(err, forced, "maps", "read");
    lister self = {mappings, proc, 0};
    bool text = false;
    mappings->regions.count = mappings->notes.count = 0;
    mappings->exact = mappings->deferred;
    if (mappings->deferred && look_now(mappings, proc, dontdump, &text, err) != MDC_OK) return err->code;
    mdc_status status = list_all(&self, text, err);
    if (status == MDC_OK) status = add_absent(&self, UINT64_MAX, err);
    if (status != MDC_OK) return status;
    if (mappings->regions.count == 0)
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_CAPTURE, ESRCH, "the target no longer has memory");
    refresh_sizes(mappings, proc);
    classify(mappings, dontdump);
    const bool looked = !mappings->deferred && worth_again(mappings, dontdump, again);
    if (looked) status = look_again(mappings, proc, dontdump, err);
    mdc_region *regions = mappings->regions.data;
    for (size_t i = 0; !looked && !mappings->deferred && again != NULL && i < mappings->regions.count; i++)
        regions[i].flags |= MDC_REGION_VIA_MEM;
    mdc_vec_fini(&mappings->flags);
    return status;
}
