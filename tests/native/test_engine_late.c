/* What files hold is read when the target runs again: the dump is the same, byte for byte; what changed meanwhile is a
 * gap and not in it; and where that cannot be, all is read under the stop. */
#include "../../csrc/base/failpoint.h"
#include "../../csrc/base/os_error.h"
#include "engine_check.h"

enum { PAGE = 4096, PAGES = 96, LATE_PAGES = PAGES - 2, OWN_PAGE = 40, STALE = 0xEE, CHANGED = 116, UNREADABLE = 5 };
#define FULL (MDC_TYPE_WITH_FULL_MEMORY)
#define TOLERANT (FULL | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY)
#define FIRST_FILE UINT64_C(0x8000000)
#define SECOND_FILE UINT64_C(0x9000000)
#define FILE_BYTES ((uint64_t)PAGES * PAGE)
#define ZEROS_EVERY (16 * PAGE)                        /* of these bytes a page is zeros */
#define LATE_BYTES ((uint64_t)(LATE_PAGES - 1) * PAGE) /* of one file */

static const mdc_fake_region regions[] = {
    {EXE, 0x3000, MDC_MEM_COMMIT, RX, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/bin/fake", 0, 0, 0},
    {HEAP, 0x8000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_HEAP, 0, 1, "[heap]", HEAP + 0x2000, HEAP + 0x3000, 0},
    {FIRST_FILE, FILE_BYTES, MDC_MEM_COMMIT, RO, MDC_MEM_MAPPED, MDC_KIND_FILE, MDC_REGION_FILE, 1, "/srv/first", 0, 0,
     0, 16},
    {SECOND_FILE, FILE_BYTES, MDC_MEM_COMMIT, RO, MDC_MEM_MAPPED, MDC_KIND_FILE, MDC_REGION_FILE, 1, "/srv/second", 0,
     0, 0, 16},
    {STACK_A, 0x10000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, "[stack]", 0, 0, 0},
};
static const mdc_fake_thread threads[] = {{4711, 0, STACK_A + 0xC010, EXE + 0x1234, "main"}};
static const mdc_fake_target target = {regions, 5, threads, 1, NULL, 0, "fake --target", 0, 0, SEED, 0, NULL};

static const mdc_source_ops *inner;
static struct {
    bool resumed;
    int ends;          /* questions where late memory ends */
    uint64_t bytes;    /* read late */
    int checks;        /* of the first file */
    uint64_t bad_page; /* cannot be read, 0: none */
    uint64_t stale;    /* from this address of the first file on another moment is read, 0: nowhere */
    bool short_reads;  /* and no more than that */
} now;

static uint64_t base_of(size_t region) { return regions[region].base; }
static bool is_mapped(size_t region) { return region == 2 || region == 3; }

static size_t content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                      uint64_t *next) {
    if (!is_mapped(region)) return inner->content(source, region, first, end, runs, room, next);
    uint64_t own = base_of(region) + (uint64_t)OWN_PAGE * PAGE;
    bool owned = first >= own && first < own + PAGE;
    uint64_t stop = owned ? own + PAGE : first < own ? own : base_of(region) + FILE_BYTES;
    runs[0] = (mdc_content){first, stop < end ? stop : end, owned ? MDC_CONTENT_DATA : MDC_CONTENT_FILE, 0};
    *next = runs[0].end;
    return 1;
}

static mdc_status read_spans(mdc_source *source, const mdc_span *spans, size_t count, uint8_t *buffer, size_t *done,
                             int32_t *os_errno, mdc_error *err) {
    CHECK(!now.resumed);
    return inner->read(source, spans, count, buffer, done, os_errno, err);
}

static mdc_status resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    now.resumed = true;
    return inner->resume(source, stop_time_ns, err);
}

static uint64_t late_end(mdc_source *source, size_t region) {
    (void)source;
    CHECK(!now.resumed);
    now.ends++;
    return is_mapped(region) ? base_of(region) + (uint64_t)LATE_PAGES * PAGE : base_of(region);
}

static void late_read(mdc_source *source, size_t region, uint64_t address, size_t size, uint8_t *buffer, size_t *done,
                      int32_t *os_errno) {
    CHECK(now.resumed && is_mapped(region) && address >= base_of(region));
    CHECK(address + size <= base_of(region) + (uint64_t)LATE_PAGES * PAGE);
    (void)source;
    for (uint64_t at = address; at < address + size; at++)
        buffer[at - address] = at % ZEROS_EVERY < PAGE ? 0 : mdc_fake_byte(at, SEED);
    *done = size;
    *os_errno = 0;
    now.bytes += size;
    for (uint64_t at = address; region == 2 && now.stale != 0 && at < address + size; at++)
        if (at >= now.stale) buffer[at - address] = STALE;
    if (region == 2 && now.short_reads && address + size > now.stale)
        *done = address < now.stale ? (size_t)(now.stale - address) : 0;
    if (address <= now.bad_page && now.bad_page < address + size) {
        *done = (size_t)(now.bad_page - address);
        *os_errno = UNREADABLE;
    }
}

static int32_t late_check(mdc_source *source, size_t region) {
    (void)source;
    CHECK(now.resumed);
    if (region == 2) now.checks++;
    bool changed = now.stale != 0 && (now.bad_page == 0 || now.checks > 1); /* the first is about the bad page */
    return region == 2 && changed ? CHANGED : 0;
}

static const mdc_late_ops late_ops = {late_end, late_read, late_check};

static void make_late(made_dump *made, const mdc_engine_options *options, bool patchable) {
    static mdc_source_ops ops;
    memset(made, 0, sizeof *made);
    uint64_t stale = now.stale, bad_page = now.bad_page;
    bool short_reads = now.short_reads;
    memset(&now, 0, sizeof now);
    now.stale = stale;
    now.bad_page = bad_page;
    now.short_reads = short_reads;
    mdc_control_init(&made->control, 0);
    made->source = mdc_fake_new(&target, &made->err);
    inner = made->source->ops;
    ops = *inner;
    ops.content = content;
    ops.read = read_spans;
    ops.resume = resume;
    ops.late = &late_ops;
    made->source->ops = &ops;
    made->sink = mdc_sink_memory_new(UINT64_C(1) << 32, &made->err);
    made->sink->patchable = patchable;
    made->dump = mdc_dump_new(options, made->source, made->sink, &made->control, &made->err);
    made->status = mdc_dump_run(made->dump, &made->err);
    made->report = mdc_dump_report(made->dump);
    if (made->status == MDC_OK) made->data = mdc_sink_memory_data(made->sink, &made->size);
}

static bool same_bytes(const made_dump *left, const made_dump *right) {
    const size_t stamp = 20; /* TimeDateStamp */
    return left->size == right->size && memcmp(left->data, right->data, stamp) == 0 &&
           memcmp(left->data + stamp + 4, right->data + stamp + 4, left->size - stamp - 4) == 0;
}

static void test_same_dump(void) {
    static const uint64_t rooms[] = {0, 0x4000}; /* bytes read at once */
    for (size_t i = 0; i < 2; i++) {
        mdc_engine_options options = {.dump_type = TOLERANT, .buffer_bytes = rooms[i]};
        made_dump plain, late;
        memset(&now, 0, sizeof now);
        make_late(&plain, &options, true);
        CHECK(now.ends == 0 && now.bytes == 0 && plain.report->late_bytes == 0);
        options.late_files = 1;
        make_late(&late, &options, true);
        check_rules(&late);
        CHECK(now.bytes == 2 * LATE_BYTES && late.report->late_bytes == 2 * LATE_BYTES);
        CHECK(same_bytes(&plain, &late)); /* and a page of the heap was cut out before it */
        CHECK(late.report->read_failed_gaps == 1 && plain.report->read_failed_gaps == 1);
        CHECK(late.report->stored_bytes == plain.report->stored_bytes && plain.report->zero_bytes == 12 * PAGE);
        CHECK(late.report->zero_bytes == plain.report->zero_bytes);
        CHECK(mdc_control_read(&late.control).bytes_done == mdc_control_read(&plain.control).bytes_done);
        unmake(&plain);
        unmake(&late);
    }
}

static int sees_reads(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == MDC_CB_VM_START) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == MDC_CB_VM_POST_READ) {
        CHECK(!now.resumed);
        self->number += in->u.VmPostRead.Size;
    }
    return -1;
}

static void test_where_it_cannot_be(void) {
    callee self = {.answer = sees_reads};
    mdc_engine_options seen = options_for(&self, TOLERANT, 0), full = {.dump_type = TOLERANT}, normal = {0};
    normal.dump_type = MDC_TYPE_NORMAL;
    seen.late_files = full.late_files = normal.late_files = 1;
    const struct {
        const mdc_engine_options *options;
        bool patchable;
    } cases[] = {{&seen, true}, {&full, false}, {&normal, true}};
    for (size_t i = 0; i < 3; i++) {
        made_dump made;
        memset(&now, 0, sizeof now);
        make_late(&made, cases[i].options, cases[i].patchable);
        CHECK(made.status == MDC_OK && now.ends == 0 && now.bytes == 0 && made.report->late_bytes == 0);
        if (i < 2) CHECK(right(&made, FIRST_FILE + PAGE) && right(&made, SECOND_FILE + FILE_BYTES - 1));
        unmake(&made);
    }
    CHECK(self.number > 2 * FILE_BYTES);
}

static bool none_is_stale(const made_dump *made) {
    uint8_t run[64];
    memset(run, STALE, sizeof run);
    for (size_t at = 0; at + sizeof run <= made->size; at += 16)
        if (memcmp(made->data + at, run, sizeof run) == 0) return false;
    return true;
}

/* Of the first file, [from, its late end) but for its own page is in gaps, and reads as zeros. */
static void check_changed(const made_dump *made, uint64_t from, size_t before) {
    uint64_t at = from, own = FIRST_FILE + (uint64_t)OWN_PAGE * PAGE, end = FIRST_FILE + (uint64_t)LATE_PAGES * PAGE;
    for (size_t i = before; i < made->report->gap_count; i++) {
        const mdc_gap *gap = &made->report->gaps[i];
        CHECK(gap->address == at && gap->reason == MDC_GAP_READ_FAILED && gap->os_errno == CHANGED);
        at = gap->address + gap->size == own ? own + PAGE : gap->address + gap->size;
    }
    CHECK(at == end);
    for (uint64_t page = FIRST_FILE; page < FIRST_FILE + FILE_BYTES; page += PAGE) {
        bool gone = page >= from && page < end && page != own;
        if (gone) CHECK(byte_in(made, page + 9) == 0);
        if (!gone && page != now.bad_page)
            CHECK(byte_in(made, page + 9) == mdc_fake_byte(page + 9, SEED) || page % ZEROS_EVERY == 0);
    }
    CHECK(none_is_stale(made));
    CHECK(right(made, own + 1) && right(made, SECOND_FILE + PAGE) && right(made, SECOND_FILE + 50 * PAGE));
    if (from == FIRST_FILE) CHECK(made->report->regions[2].zeros == LATE_BYTES);
}

static void test_changed_meanwhile(void) {
    mdc_engine_options options = {.dump_type = TOLERANT, .late_files = 1, .buffer_bytes = 0x4000};
    for (int i = 0; i < 4; i++) {
        made_dump made;
        memset(&now, 0, sizeof now);
        now.stale = FIRST_FILE + (i % 2 == 0 ? 1 : 70 * PAGE);
        now.short_reads = i >= 2;
        make_late(&made, &options, true);
        check_rules(&made);
        check_changed(&made, FIRST_FILE, 1);
        CHECK(made.report->late_bytes == 2 * LATE_BYTES);
        unmake(&made);
    }
}

/* A page that cannot be read is a gap of its own; what was read before it is certain. */
static void test_unreadable_page(void) {
    mdc_engine_options options = {.dump_type = TOLERANT, .late_files = 1};
    for (int changed = 0; changed < 2; changed++) {
        made_dump made;
        memset(&now, 0, sizeof now);
        now.bad_page = FIRST_FILE + 21 * PAGE;
        if (changed) now.stale = FIRST_FILE + 60 * PAGE;
        make_late(&made, &options, true);
        check_rules(&made);
        const mdc_gap *gap = &made.report->gaps[1];
        CHECK(gap->address == now.bad_page && gap->size == PAGE && gap->os_errno == UNREADABLE);
        CHECK(byte_in(&made, now.bad_page) == 0 && right(&made, FIRST_FILE + 20 * PAGE));
        if (changed) check_changed(&made, now.bad_page + PAGE, 2);
        if (!changed) CHECK(made.report->gap_count == 2 && right(&made, FIRST_FILE + 22 * PAGE));
        unmake(&made);
    }
}

static int refuses(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    if (in->CallbackType == MDC_CB_READ_MEMORY_FAILURE && now.resumed) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == MDC_CB_CANCEL && self->number != 0) {
        out->Cancel.CheckCancel = 1;
        out->Cancel.Cancel = now.resumed;
        return 1;
    }
    return -1;
}

static void test_ends_of_the_dump(void) {
    callee self = {.answer = refuses};
    mdc_engine_options options = options_for(&self, FULL, 0);
    options.late_files = 1;
    made_dump made;
    memset(&now, 0, sizeof now);
    now.stale = FIRST_FILE;
    make_late(&made, &options, true);
    CHECK(made.status == MDC_ERR_READ && made.err.address == FIRST_FILE);
    CHECK(made.err.phase == MDC_PHASE_WRITE && strstr(made.err.message, "changed") != NULL);
    unmake(&made);

    memset(&now, 0, sizeof now);
    self.number = 1;
    make_late(&made, &options, true);
    CHECK(made.status == MDC_ERR_CANCELLED && now.resumed && now.bytes == 0);
    unmake(&made);

    memset(&now, 0, sizeof now);
    self.number = 0;
    mdc_failpoint_set("write:patch:2:28");
    make_late(&made, &options, true);
    mdc_failpoint_set("");
    CHECK(made.status == MDC_ERR_SINK && made.err.os_errno == 28 && now.bytes > 0);
    unmake(&made);
}

static int narrows(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)self;
    if (in->CallbackType != MDC_CB_INCLUDE_VM_REGION) return -1;
    out->Region.Continue = 1;
    if (out->Region.VmRegion.BaseAddress == FIRST_FILE) out->Region.VmRegion.RegionSize = 0;
    if (out->Region.VmRegion.BaseAddress == SECOND_FILE) out->Region.VmRegion.RegionSize = 20 * PAGE;
    return 1;
}

static void test_what_the_callee_leaves_out(void) {
    callee self = {.answer = narrows};
    mdc_engine_options options = options_for(&self, TOLERANT, 0);
    options.late_files = 1;
    made_dump made;
    memset(&now, 0, sizeof now);
    make_late(&made, &options, true);
    check_rules(&made);
    CHECK(now.bytes == 20 * PAGE && made.report->late_bytes == 20 * PAGE);
    CHECK(!holds(&made, FIRST_FILE) && right(&made, SECOND_FILE + 20 * PAGE - 1) &&
          !holds(&made, SECOND_FILE + 20 * PAGE));
    unmake(&made);
}

int main(void) {
    test_same_dump();
    test_where_it_cannot_be();
    test_changed_meanwhile();
    test_unreadable_page();
    test_ends_of_the_dump();
    test_what_the_callee_leaves_out();
    return failures != 0;
}
