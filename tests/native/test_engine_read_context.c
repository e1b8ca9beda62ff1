/* What a callee that looks for patterns is shown: every stretch of hold + 1 bytes of contiguous kept memory is in
 * one call of VmPostRead, wherever its bytes go in the file, also if the budget cuts a part of it; what is kept out of
 * the dump is not shown; and a callee that only edits leaves untouched pages alone. Also the edit of what is never
 * read. */
#include "../../csrc/engine/budget.h"
#include "engine_check.h"

enum { FULL = MDC_TYPE_WITH_FULL_MEMORY, HOLD = 37, MOST = 1 << 16 };

typedef struct shown {
    uint64_t first, end;
} shown;

typedef struct watcher {
    callee callee; /* first: the routine gets it */
    shown calls[MOST];
    size_t count;
    uint64_t drop_first, drop_end; /* excluded at 10 */
    bool edits_only;
    uint64_t cut_every; /* bytes: of each so many in the heap the last page is cut; 0: no budget */
} watcher;

static int watch(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    watcher *w = (watcher *)self;
    if (in->CallbackType == 17) {
        out->Status = MDC_S_FALSE;
        return 1;
    }
    if (in->CallbackType == MDC_CB_INCLUDE_VM_REGION) {
        MINIDUMP_MEMORY_INFO *region = &out->Region.VmRegion;
        uint64_t end = region->BaseAddress + region->RegionSize;
        out->Region.Continue = 1;
        if (region->BaseAddress < w->drop_end && w->drop_first < end) { /* in two answers: before and after */
            if (region->BaseAddress < w->drop_first) {
                region->RegionSize = w->drop_first - region->BaseAddress;
            } else if (end > w->drop_end) {
                region->BaseAddress = w->drop_end;
                region->RegionSize = end - w->drop_end;
            } else {
                region->RegionSize = 0;
            }
        }
        return 1;
    }
    if (in->CallbackType == 18 || in->CallbackType == 19) {
        CHECK(!w->edits_only);
        return 0;
    }
    if (in->CallbackType != 20) return -1;
    MINIDUMP_VM_POST_READ_CALLBACK read = in->u.VmPostRead;
    CHECK(w->count < MOST);
    if (w->count < MOST) w->calls[w->count++] = (shown){read.Offset, read.Offset + read.Completed};
    CHECK(read.Offset + read.Size <= w->drop_first || read.Offset >= w->drop_end);
    for (uint32_t i = 0; i < read.Completed; i++) {
        uint64_t at = read.Offset + i;
        bool touched = at - SPARSE >= 0x400000 || (at - SPARSE) / 4096 % 256 == 0;
        if (((uint8_t *)read.Buffer)[i] != (touched ? mdc_fake_byte(at, SEED) : 0)) {
            CHECK(!"it is not shown the content there");
            break;
        }
    }
    out->VmRead.VmReadStatus = read.Status;
    out->VmRead.VmReadBytesCompleted = read.Completed;
    return 1;
}

/* The stretch [first, first + HOLD + 1) is in one call. */
static bool is_shown(const watcher *w, uint64_t first) {
    for (size_t i = 0; i < w->count; i++)
        if (w->calls[i].first <= first && first + HOLD + 1 <= w->calls[i].end) return true;
    return false;
}

static bool is_file_tail(uint64_t address) { return address >= FILE_MAP + 0x2000 && address < FILE_MAP + 0x4000; }

static bool is_cut(const watcher *w, uint64_t address) {
    return w->cut_every != 0 && address >= HEAP && address < HEAP + 0x10000 &&
           (address - HEAP) % w->cut_every >= w->cut_every - 4096;
}

static mdc_status cut_pages(void *context, const mdc_cut_request *request, mdc_cut_list *list, mdc_error *err) {
    const watcher *w = context;
    list->ranges.count = 0;
    CHECK(request->round == 0);
    for (uint64_t page = HEAP; page < HEAP + 0x10000; page += 4096) {
        mdc_set_range range = {page, page + 4096};
        if (is_cut(w, page) && mdc_vec_push(&list->ranges, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* What the budget cuts was kept, and is shown, though it is not stored. */
static void check_cut(const watcher *w, const made_dump *made) {
    for (uint64_t page = HEAP + 4096; page < HEAP + 0x10000; page += 4096) {
        if (!is_cut(w, page) && !is_cut(w, page - 1)) continue;
        CHECK(byte_in(made, page) < 0 || byte_in(made, page - 1) < 0);
        for (uint64_t at = page - HOLD; at < page; at++)
            if (!is_shown(w, at)) {
                fprintf(stderr, "not shown beside what was cut: 0x%" PRIx64 "\n", at);
                failures++;
            }
    }
}

/* Around every border of pages: where else could reads begin or end? */
static void check_borders(const watcher *w, const made_dump *made, uint64_t first, uint64_t end) {
    for (uint64_t page = first; page <= end; page += 4096)
        for (uint64_t at = page - HOLD - 3; at <= page + 3; at++) {
            bool whole = true;
            for (uint64_t i = 0; i <= HOLD; i++) whole = whole && byte_in(made, at + i) >= 0 && !is_file_tail(at + i);
            if (whole && !is_shown(w, at)) {
                fprintf(stderr, "not shown: 0x%" PRIx64 "\n", at);
                failures++;
            }
        }
}

static void test_every_stretch(uint64_t type, uint64_t drop_first, uint64_t drop_end, bool edits_only,
                               uint64_t cut_every) {
    static watcher w;
    mdc_fake_region regions[9]; /* a neighbour that touches the heap, and one of another kind that touches a stack */
    memcpy(regions, standard_regions, sizeof standard_regions);
    regions[8] = regions[7];
    regions[7] = regions[6];
    regions[6] = regions[5];
    regions[5] = regions[4];
    regions[4] = regions[3];
    regions[3] = regions[2];
    regions[2] = regions[1];
    regions[2].base = HEAP + 0x8000;
    regions[2].name = "/dev/shm/next";
    mdc_fake_target target = standard_target;
    target.regions = regions;
    target.region_count = 9;
    memset(&w, 0, sizeof w);
    w.callee.answer = watch;
    w.drop_first = drop_first;
    w.drop_end = drop_end;
    w.edits_only = edits_only;
    mdc_engine_options options = options_for(&w.callee, type,
                                             MDC_EXT_HOLD_BACK | MDC_EXT_RESUBMIT | MDC_EXT_PIECES |
                                                 (edits_only ? (uint32_t)MDC_EXT_EDITS_ONLY : 0));
    options.buffer_bytes = 8192;
    options.hold = HOLD;
    made_dump made;
    if (cut_every != 0) {
        options.choose_cut = cut_pages;
        options.cut_context = &w;
        options.max_bytes = UINT32_MAX;
        make(&made, &target, &options);
        CHECK(made.status == MDC_OK && w.cut_every == 0);
        options.max_bytes = made.size - 4096;
        unmake(&made);
        w.count = 0;
        w.cut_every = cut_every;
    }
    make(&made, &target, &options);
    check_rules(&made);
    CHECK(made.status == MDC_OK || cut_every == 0);
    if (cut_every != 0) check_cut(&w, &made);
    if (made.status == MDC_OK) {
        if (type == FULL) check_borders(&w, &made, HEAP, HEAP + 0x10000);
        check_borders(&w, &made, STACK_A + 0x9000, STACK_A + 0x10000);
        check_borders(&w, &made, STACK_B, STACK_B + 0x8000);
        if (type == FULL && drop_end == 0) {
            CHECK(is_shown(&w, HEAP + 0x8000 - 9)); /* two mappings that touch */
            CHECK(is_shown(&w, STACK_A + 0xB000 - 9) && is_shown(&w, STACK_B + 0x2000 - 9)); /* a stack and its rest */
        }
        uint64_t untouched = 0;
        for (size_t i = 0; i < made.report->region_count; i++) untouched += made.report->regions[i].untouched;
        CHECK((untouched > 0) == (edits_only && type == FULL));
        if (type == FULL) /* a touched page among untouched ones: its neighbours are zeros */
            CHECK(is_shown(&w, SPARSE + 0x101000 - 9) && is_shown(&w, SPARSE + 0x100000 - 9));
        if (type == FULL) CHECK(right(&made, HEAP + 0x7FFF) || drop_end != 0 || cut_every != 0);
    }
    unmake(&made);
}

/* Names, texts and registers go through the edit; the originals are what the callee is asked with. */
static void hide_fake(void *context, uint64_t address, uint8_t *bytes, size_t size, uint32_t stored) {
    uint64_t *calls = context;
    CHECK(address == 0 && stored == 1);
    ++*calls;
    for (size_t i = 0; i + 4 <= size; i++)
        if (memcmp(bytes + i, "fake", 4) == 0) memset(bytes + i, 'X', 4);
    if (size == 1232) bytes[300] = 0xAB;
}

static int expect_fake(callee *self, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)out;
    if (in->CallbackType == MDC_CB_MODULE) self->number += ((const uint16_t *)in->u.Module.FullPath)[9] == 'f';
    return -1;
}

static bool has(const made_dump *made, const char *text, size_t width) {
    uint8_t wanted[64] = {0};
    size_t size = strlen(text) * width;
    for (size_t i = 0; i < strlen(text); i++) wanted[i * width] = (uint8_t)text[i];
    for (size_t i = 0; i + size <= made->size; i++)
        if (memcmp(made->data + i, wanted, size) == 0) return true;
    return false;
}

static void test_edit(void) {
    for (int edits = 0; edits < 2; edits++) {
        uint64_t calls = 0;
        callee self = {.answer = expect_fake};
        mdc_engine_options options = options_for(&self, MDC_TYPE_NORMAL, 0);
        options.edit = edits ? hide_fake : NULL;
        options.edit_context = &calls;
        made_dump made;
        make(&made, &standard_target, &options);
        check_rules(&made);
        CHECK(self.number == 1); /* "/usr/bin/fake", whatever the file says */
        CHECK(has(&made, "fake --target", 1) == !edits && has(&made, "/usr/bin/fake", 2) == !edits);
        CHECK(!has(&made, "Name:\tfake", 1) == edits);
        CHECK(has(&made, "/usr/bin/XXXX", 2) == edits && has(&made, "XXXX --target", 1) == edits);
        CHECK((calls > 6) == edits);
        uint64_t list = stream_at(&made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
        CHECK((made.data[u32_at(&made, list + 4 + 44) + 300] == 0xAB) == edits);
        unmake(&made);
    }
}

int main(void) {
    for (int edits_only = 0; edits_only < 2; edits_only++) {
        test_every_stretch(FULL, 0, 0, edits_only != 0, 0);
        test_every_stretch(FULL, HEAP + 0x3000, HEAP + 0x4000, edits_only != 0, 0);
        test_every_stretch(FULL, HEAP + 0x8000, HEAP + 0x10000, edits_only != 0, 0);
        test_every_stretch(FULL, 0, 0, edits_only != 0, 0x2000);
        test_every_stretch(FULL, 0, 0, edits_only != 0, 0x4000);
        test_every_stretch(MDC_TYPE_NORMAL, 0, 0, edits_only != 0, 0);
        test_every_stretch(MDC_TYPE_NORMAL, STACK_A + 0xD000, STACK_A + 0xE000, edits_only != 0, 0);
    }
    test_edit();
    return failures != 0;
}
