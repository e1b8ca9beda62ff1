/* The fake source (see fake.h): a target described in memory, with unreadable pages, untouched pages and sizes no real
 * process can have. Its lists are made once, in mdc_fake_new; reading computes the bytes. */
#include "fake.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/base/arith.h"
#include "../../csrc/base/bound.h"
#include "../../csrc/base/clock.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/base/os_error.h"
#include "../../csrc/base/vec.h"

enum { CONTEXT_SIZE = 1232, CONTEXT_NOTHING = 0x100000, CONTEXT_CONTROL_INTEGER = 0x100003 };

typedef struct mdc_fake {
    mdc_source source;
    mdc_vec plain;    /* mdc_fake_region: the description; names are not used any more */
    mdc_vec regions;  /* mdc_region */
    mdc_vec threads;  /* mdc_thread */
    mdc_vec modules;  /* mdc_module */
    mdc_vec names;    /* mdc_name */
    mdc_vec pool;     /* uint8_t */
    mdc_vec bytes;    /* uint8_t: texts */
    mdc_vec contexts; /* uint8_t[CONTEXT_SIZE] */
    mdc_text texts[7];
    mdc_system system;
    mdc_snapshot lists;
    uint64_t stopped_ns; /* 0: not stopped */
    uint64_t stop_time_ns;
    size_t hint; /* region of the last read */
    uint32_t seed;
    uint32_t read_us;
} mdc_fake;

/* Eight bytes at once: a mix of the address of the word, so that no two pages look alike. */
static uint64_t fake_word(uint64_t address, uint32_t seed) {
    uint64_t x = ((address >> 3) + seed) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 29;
    return x * UINT64_C(0xBF58476D1CE4E5B9);
}

uint8_t mdc_fake_byte(uint64_t address, uint32_t seed) {
    return (uint8_t)(fake_word(address, seed) >> 8 * (address & 7));
}

static void fake_bytes(uint64_t address, uint32_t seed, uint8_t *out, size_t size) {
    size_t at = 0;
    while (at < size && ((address + at) & 7) != 0) {
        out[at] = mdc_fake_byte(address + at, seed);
        at++;
    }
    for (; size - at >= 8; at += 8) {
        uint64_t word = fake_word(address + at, seed);
        memcpy(out + at, &word, 8);
    }
    for (; at < size; at++) out[at] = mdc_fake_byte(address + at, seed);
}

static bool page_touched(const mdc_fake_region *region, uint64_t page_address) {
    uint64_t page = (page_address - region->base) / MDC_PAGE_SIZE;
    return region->touch_every != 0 && page % region->touch_every == 0;
}

static bool page_zero(const mdc_fake_region *region, uint64_t page_address) {
    return region->zero_every != 0 && (page_address - region->base) / MDC_PAGE_SIZE % region->zero_every == 0;
}

static const mdc_fake_region *find_region(mdc_fake *fake, uint64_t address) {
    const mdc_fake_region *regions = fake->plain.data;
    if (fake->hint < fake->plain.count && address >= regions[fake->hint].base &&
        address - regions[fake->hint].base < regions[fake->hint].size)
        return &regions[fake->hint];
    size_t at;
    mdc_lower_bound(at, 0, fake->plain.count, regions[at].base <= address);
    if (at == 0 || address - regions[at - 1].base >= regions[at - 1].size) return NULL;
    fake->hint = at - 1;
    return &regions[at - 1];
}

/* 0 and the bytes to the end of the page, or the error number this page's read fails with. */
static int32_t read_page(mdc_fake *fake, uint64_t address, uint8_t *out, size_t size) {
    const mdc_fake_region *region = find_region(fake, address);
    if (region == NULL || (region->flags & MDC_REGION_NEVER_READ) != 0 || (region->protect & MDC_PAGE_GUARD) != 0)
        return MDC_OS_FAULT;
    uint64_t valid = region->valid_size != 0 ? region->valid_size : region->size;
    if (address - region->base >= mdc_page_up(valid)) return MDC_OS_FAULT;
    uint64_t page = mdc_page_down(address);
    if (page < region->unreadable_end && page + MDC_PAGE_SIZE - 1 >= region->unreadable_first) return MDC_OS_IO;
    int injected = MDC_FAILPOINT("read:page");
    if (injected != 0) return injected;
    if (page_touched(region, page) && !page_zero(region, page))
        fake_bytes(address, fake->seed, out, size);
    else
        memset(out, 0, size);
    return 0;
}

static mdc_status fake_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    mdc_fake *fake = (mdc_fake *)source;
    *done = 0;
    *os_errno = 0;
    if (fake->stopped_ns == 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_WRITE, 0, "the fake target was read while running");
    for (uint64_t until = mdc_clock_ns() + fake->read_us * UINT64_C(1000);
         fake->read_us != 0 && mdc_clock_ns() < until;)
        continue;
    for (size_t i = 0; i < span_count; i++) {
        uint64_t address = spans[i].address, end;
        if (!mdc_add_u64(address, spans[i].size, &end)) {
            *os_errno = MDC_OS_FAULT;
            return MDC_OK;
        }
        while (address < end) {
            uint64_t stop = mdc_min_u64(end, mdc_page_down(address) + MDC_PAGE_SIZE);
            *os_errno = read_page(fake, address, buffer + *done, (size_t)(stop - address));
            if (*os_errno != 0) return MDC_OK;
            *done += (size_t)(stop - address);
            address = stop;
        }
    }
    return MDC_OK;
}

static size_t fake_content(mdc_source *source, size_t index, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    const mdc_fake *fake = (const mdc_fake *)source;
    const mdc_fake_region *region = &mdc_vec_at(&fake->plain, const mdc_fake_region, index);
    size_t count = 0;
    while (first < end && count < room) {
        uint32_t what = MDC_CONTENT_DATA;
        uint64_t stop = end;
        if ((region->protect & MDC_PAGE_GUARD) != 0) {
            what = MDC_CONTENT_UNAVAILABLE;
        } else if ((region->flags & MDC_REGION_UNTOUCHED) != 0 && region->touch_every != 1) {
            bool touched = page_touched(region, first);
            if (!touched) what = MDC_CONTENT_UNTOUCHED;
            if (region->touch_every != 0) {
                uint64_t page = (first - region->base) / MDC_PAGE_SIZE, pages = 1;
                if (!touched) pages = region->touch_every - page % region->touch_every;
                stop = mdc_min_u64(end, mdc_page_down(first) + pages * MDC_PAGE_SIZE);
            }
        }
        if (what == MDC_CONTENT_DATA && region->zero_told != 0 && region->zero_every != 0) {
            if (page_zero(region, first)) what = MDC_CONTENT_ZERO;
            if (region->zero_every != 1) stop = mdc_min_u64(stop, mdc_page_down(first) + MDC_PAGE_SIZE);
        }
        if (what == MDC_CONTENT_DATA && region->in_file != 0) {
            uint64_t page = (first - region->base) / MDC_PAGE_SIZE % region->in_file;
            if (page != 0) what = MDC_CONTENT_IN_FILE;
            uint64_t pages = page == 0 ? 1 : region->in_file - page;
            stop = mdc_min_u64(stop, mdc_page_down(first) + pages * MDC_PAGE_SIZE);
        }
        runs[count++] = (mdc_content){.first = first, .end = stop, .what = what};
        first = stop;
    }
    *next = first;
    return count;
}

static mdc_status fake_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    (void)control;
    (void)source;
    (void)err;
    return MDC_OK;
}

static mdc_status fake_stop(mdc_source *source, mdc_error *err) {
    mdc_fake *fake = (mdc_fake *)source;
    int injected = MDC_FAILPOINT("stop:thread");
    if (injected != 0) return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, injected, "the fake target did not stop");
    fake->stopped_ns = mdc_clock_ns();
    return MDC_OK;
}

static const mdc_snapshot *fake_lists(const mdc_source *source) { return &((const mdc_fake *)source)->lists; }

static mdc_status fake_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    mdc_fake *fake = (mdc_fake *)source;
    (void)err;
    if (fake->stopped_ns != 0) {
        fake->stop_time_ns = mdc_clock_ns() - fake->stopped_ns;
        fake->stopped_ns = 0;
    }
    *stop_time_ns = fake->stop_time_ns;
    return MDC_OK;
}

static void fake_free(mdc_source *source) {
    mdc_fake *fake = (mdc_fake *)source;
    mdc_vec *vecs[] = {&fake->plain, &fake->regions, &fake->threads, &fake->modules,
                       &fake->names, &fake->pool,    &fake->bytes,   &fake->contexts};
    for (size_t i = 0; i < sizeof vecs / sizeof vecs[0]; i++) mdc_vec_fini(vecs[i]);
    mdc_dealloc(fake);
}

static uint64_t fake_footprint(mdc_source *source) {
    const mdc_fake *fake = (const mdc_fake *)source;
    uint64_t bytes = MDC_PAGE_SIZE;
    for (size_t i = 0; i < fake->plain.count; i++) bytes += mdc_vec_at(&fake->plain, const mdc_fake_region, i).size;
    return bytes;
}

static const mdc_source_ops fake_ops = {fake_prepare, fake_stop, fake_lists, fake_content,  fake_read,
                                        fake_resume,  fake_free, NULL,       fake_footprint};

static mdc_status add_name(mdc_fake *fake, const char *text, mdc_name *name, mdc_error *err) {
    size_t at, size = text != NULL ? strlen(text) : 0;
    mdc_status status = mdc_vec_push(&fake->pool, text, size, &at, err);
    if (status == MDC_OK && fake->pool.count > UINT32_MAX)
        status = mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "the names of the fake target are too long");
    if (status == MDC_OK) *name = (mdc_name){(uint32_t)at, (uint32_t)size};
    return status;
}

/* Equal names get equal ids: `slots` is an open hash table of ids, `mask` + 1 of them. */
static mdc_status name_id(mdc_fake *fake, const char *text, uint32_t *slots, size_t mask, uint32_t *id,
                          mdc_error *err) {
    size_t size = strlen(text), at = 5381;
    for (size_t i = 0; i < size; i++) at = at * 33 + (uint8_t)text[i];
    for (at &= mask; slots[at] != 0; at = (at + 1) & mask) {
        const mdc_name *name = &mdc_vec_at(&fake->names, const mdc_name, slots[at] - 1);
        if (name->size == size && memcmp((const char *)fake->pool.data + name->offset, text, size) == 0) {
            *id = slots[at];
            return MDC_OK;
        }
    }
    mdc_name name = {0, 0};
    mdc_status status = add_name(fake, text, &name, err);
    if (status == MDC_OK) status = mdc_vec_push(&fake->names, &name, 1, NULL, err);
    if (status == MDC_OK) *id = slots[at] = (uint32_t)fake->names.count;
    return status;
}

static mdc_status add_region(mdc_fake *fake, const mdc_fake_region *given, size_t index, uint64_t *floor,
                             uint32_t *slots, size_t mask, mdc_error *err) {
    uint64_t end;
    if (given->size == 0 || ((given->base | given->size) & (MDC_PAGE_SIZE - 1)) != 0 ||
        !mdc_add_u64(given->base, given->size, &end) || given->base < *floor || given->valid_size > given->size)
        return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_NONE, (int64_t)index,
                           "fake region %zu at 0x%" PRIx64 " is empty, unaligned, overlapping or out of order", index,
                           given->base);
    *floor = end;
    mdc_region region = {.base = given->base,
                         .size = given->size,
                         .state = given->state,
                         .protect = given->protect,
                         .type = given->type,
                         .kinds = given->kinds,
                         .flags = given->flags,
                         .alloc_base = given->base,
                         .filtered = given->filtered,
                         .valid_size = given->valid_size != 0 ? given->valid_size : given->size};
    mdc_status status = MDC_OK;
    if (given->name != NULL && given->name[0] != 0)
        status = name_id(fake, given->name, slots, mask, &region.name_id, err);
    if (status == MDC_OK) status = mdc_vec_push(&fake->regions, &region, 1, NULL, err);
    if (status == MDC_OK) status = mdc_vec_push(&fake->plain, given, 1, NULL, err);
    return status;
}

static mdc_status add_regions(mdc_fake *fake, const mdc_fake_target *target, mdc_error *err) {
    size_t slot_count = 16;
    while (slot_count < 2 * target->region_count) slot_count *= 2;
    uint32_t *slots = mdc_alloc(slot_count, sizeof *slots, err);
    mdc_status status = slots != NULL ? MDC_OK : err->code;
    uint64_t floor = 0;
    for (size_t i = 0; status == MDC_OK && i < target->region_count; i++)
        status = add_region(fake, &target->regions[i], i, &floor, slots, slot_count - 1, err);
    mdc_dealloc(slots);
    return status;
}

static mdc_status add_threads(mdc_fake *fake, const mdc_fake_target *target, mdc_error *err) {
    mdc_status status = mdc_vec_push(&fake->contexts, NULL, target->thread_count, NULL, err);
    for (size_t i = 0; status == MDC_OK && i < target->thread_count; i++) {
        const mdc_fake_thread *given = &target->threads[i];
        bool none = (given->flags & MDC_THREAD_NO_REGISTERS) != 0;
        uint8_t *context = (uint8_t *)fake->contexts.data + i * CONTEXT_SIZE;
        uint32_t flags = none ? CONTEXT_NOTHING : CONTEXT_CONTROL_INTEGER;
        memcpy(context + 48, &flags, 4);
        memcpy(context + 152, &given->stack_pointer, 8);
        memcpy(context + 248, &given->instruction_pointer, 8);
        mdc_thread thread = {.tid = given->tid,
                             .flags = given->flags,
                             .context = context,
                             .context_size = CONTEXT_SIZE,
                             .stack_pointer = given->stack_pointer,
                             .instruction_pointer = given->instruction_pointer,
                             .create_time = UINT64_C(133000000000000000) + i,
                             .user_time = 10 * (i + 1),
                             .affinity = 3};
        if (target->interrupted != NULL && target->interrupted[i] != 0)
            thread.interrupted[thread.interrupted_count++] = target->interrupted[i];
        status = add_name(fake, given->name, &thread.name, err);
        if (status == MDC_OK) status = mdc_vec_push(&fake->threads, &thread, 1, NULL, err);
    }
    return status;
}

static mdc_status add_modules(mdc_fake *fake, const mdc_fake_target *target, mdc_error *err) {
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < target->module_count; i++) {
        const mdc_fake_module *given = &target->modules[i];
        mdc_module module = {.base = given->base, .size = given->size};
        for (size_t b = 0; b < sizeof given->build_id; b++)
            if (given->build_id[b] != 0) module.build_id_size = sizeof given->build_id;
        memcpy(module.build_id, given->build_id, sizeof given->build_id);
        status = add_name(fake, given->path, &module.path, err);
        if (status == MDC_OK) status = mdc_vec_push(&fake->modules, &module, 1, NULL, err);
    }
    return status;
}

/* The text's place in `bytes` is kept as its offset in `address` until all bytes are there. */
static mdc_status add_text(mdc_fake *fake, uint32_t stream, const char *text, size_t size, mdc_error *err) {
    size_t at;
    mdc_status status = mdc_vec_push(&fake->bytes, text, size, &at, err);
    if (status == MDC_OK)
        fake->texts[fake->lists.text_count++] = (mdc_text){.stream = stream, .address = at, .size = size};
    return status;
}

static mdc_status add_maps(mdc_fake *fake, mdc_error *err) {
    size_t begin = fake->bytes.count;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < fake->regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&fake->regions, const mdc_region, i);
        bool write = (region->protect & (MDC_PAGE_READWRITE | MDC_PAGE_EXECUTE_READWRITE)) != 0;
        bool execute = (region->protect & 0xF0) != 0;
        char line[96];
        int size =
            snprintf(line, sizeof line, "%012" PRIx64 "-%012" PRIx64 " %c%c%cp 00000000 00:00 0 \n", region->base,
                     region->base + region->size, (region->protect & MDC_PAGE_NOACCESS) != 0 ? '-' : 'r',
                     write ? 'w' : '-', execute ? 'x' : '-');
        status = mdc_vec_push(&fake->bytes, line, (size_t)size, NULL, err);
    }
    if (status == MDC_OK)
        fake->texts[fake->lists.text_count++] =
            (mdc_text){.stream = MDC_STREAM_MAPS, .address = begin, .size = fake->bytes.count - begin};
    return status;
}

static mdc_status add_texts(mdc_fake *fake, const mdc_fake_target *target, mdc_error *err) {
    static const char cpuinfo[] = "processor\t: 0\nvendor_id\t: GenuineFake!\ncpu MHz\t\t: 2500.000\n\n";
    static const char process_status[] = "Name:\tfake\nPid:\t4711\n";
    static const char limits[] = "Limit                     Soft Limit           Hard Limit           Units     \n"
                                 "Max open files            1024                 unlimited            files     \n";
    static const char lsb[] = "DISTRIB_ID=Fake\n";
    mdc_status status = add_text(fake, MDC_STREAM_CPUINFO, cpuinfo, sizeof cpuinfo - 1, err);
    if (status == MDC_OK) status = add_text(fake, MDC_STREAM_STATUS, process_status, sizeof process_status - 1, err);
    if (status == MDC_OK) status = add_text(fake, MDC_STREAM_LSB_RELEASE, lsb, sizeof lsb - 1, err);
    if (status == MDC_OK && target->cmdline != NULL)
        status = add_text(fake, MDC_STREAM_CMDLINE, target->cmdline, strlen(target->cmdline) + 1, err);
    if (status == MDC_OK) status = add_maps(fake, err);
    if (status == MDC_OK) status = add_text(fake, MDC_STREAM_LIMITS, limits, sizeof limits - 1, err);
    for (size_t i = 0; status == MDC_OK && i < fake->lists.text_count; i++) {
        fake->texts[i].data = (const uint8_t *)fake->bytes.data + fake->texts[i].address;
        fake->texts[i].address = 0;
    }
    if (status == MDC_OK && target->environ_address != 0)
        fake->texts[fake->lists.text_count++] =
            (mdc_text){.stream = MDC_STREAM_ENVIRON, .address = target->environ_address, .size = target->environ_size};
    return status;
}

static mdc_status add_system(mdc_fake *fake, mdc_error *err) {
    fake->system = (mdc_system){.architecture = 9,
                                .level = 6,
                                .revision = 0x5507,
                                .processors = 2,
                                .major = 6,
                                .minor = 18,
                                .build = 44,
                                .platform = 0x8201,
                                .create_time_s = 1700000000,
                                .user_time_s = 3,
                                .kernel_time_s = 1,
                                .vendor = {0x756E6547, 0x46656E69, 0x21656B61}};
    mdc_status status = add_name(fake, "Linux 6.18.44 #1 SMP fake x86_64", &fake->system.version, err);
    return status != MDC_OK ? status : add_name(fake, "#1 SMP fake x86_64", &fake->system.csd_version, err);
}

mdc_source *mdc_fake_new(const mdc_fake_target *target, mdc_error *err) {
    mdc_fake *fake = mdc_alloc(1, sizeof *fake, err);
    if (fake == NULL) return NULL;
    mdc_source_init(&fake->source, &fake_ops, 4711);
    fake->seed = target->seed;
    fake->read_us = target->read_us;
    mdc_vec_init(&fake->plain, sizeof(mdc_fake_region));
    mdc_vec_init(&fake->regions, sizeof(mdc_region));
    mdc_vec_init(&fake->threads, sizeof(mdc_thread));
    mdc_vec_init(&fake->modules, sizeof(mdc_module));
    mdc_vec_init(&fake->names, sizeof(mdc_name));
    mdc_vec_init(&fake->pool, 1);
    mdc_vec_init(&fake->bytes, 1);
    mdc_vec_init(&fake->contexts, CONTEXT_SIZE);
    mdc_status status = add_regions(fake, target, err);
    if (status == MDC_OK) status = add_threads(fake, target, err);
    if (status == MDC_OK) status = add_modules(fake, target, err);
    if (status == MDC_OK) status = add_texts(fake, target, err);
    if (status == MDC_OK) status = add_system(fake, err);
    if (status != MDC_OK) {
        fake_free(&fake->source);
        return NULL;
    }
    fake->lists.regions = fake->regions.data;
    fake->lists.region_count = fake->regions.count;
    fake->lists.threads = fake->threads.data;
    fake->lists.thread_count = fake->threads.count;
    fake->lists.modules = fake->modules.data;
    fake->lists.module_count = fake->modules.count;
    fake->lists.texts = fake->texts;
    fake->lists.names = fake->names.data;
    fake->lists.name_count = fake->names.count;
    fake->lists.pool = fake->pool.data;
    fake->lists.pool_size = fake->pool.count;
    fake->lists.system = &fake->system;
    return &fake->source;
}

void mdc_fake_drop(mdc_source **slot) {
    if (*slot != NULL) (*slot)->ops->free(*slot);
    *slot = NULL;
}
