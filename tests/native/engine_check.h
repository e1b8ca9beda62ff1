/* For the engine's tests: fake targets, a callee that can be told what to answer, and a small parser of the dump. */
#ifndef MDC_TESTS_ENGINE_CHECK_H
#define MDC_TESTS_ENGINE_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/range_set.h"
#include "../../csrc/engine/engine.h"
#include "../../csrc/format/mdc_streams.h"
#include "../../csrc/format/minidump_file.h"
#include "../support/fake.h"
#include "check.h"

enum { SEED = 7, RW = MDC_PAGE_READWRITE, RX = MDC_PAGE_EXECUTE_READ, RO = MDC_PAGE_READONLY };

/* A process in small: an executable, a heap, a mapping of which little is touched, two stacks, and what must not be
 * read. */
#define EXE 0x400000u
#define HEAP 0x600000u
#define SPARSE 0x10000000u
#define FILE_MAP 0x20000000u
#define VVAR 0x30000000u
#define STACK_A 0x40000000u
#define STACK_B 0x50000000u
static const mdc_fake_region standard_regions[] = {
    {EXE, 0x3000, MDC_MEM_COMMIT, RX, MDC_MEM_IMAGE, MDC_KIND_IMAGE, MDC_REGION_FILE, 1, "/usr/bin/fake", 0, 0, 0},
    {HEAP, 0x8000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_HEAP | MDC_KIND_ANONYMOUS, 0, 1, "[heap]", 0, 0, 0},
    {SPARSE, 0x400000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, MDC_REGION_UNTOUCHED, 256, NULL, 0, 0,
     0},
    {FILE_MAP, 0x4000, MDC_MEM_COMMIT, RO, MDC_MEM_MAPPED, MDC_KIND_FILE, MDC_REGION_FILE, 1, "/tmp/shrunk", 0, 0,
     0x1800},
    {VVAR, 0x2000, MDC_MEM_COMMIT, RO, MDC_MEM_PRIVATE, 0, MDC_REGION_NEVER_READ, 1, "[vvar]", 0, 0, 0},
    {STACK_A, 0x10000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, "[stack]", 0, 0, 0},
    {STACK_B - 0x1000, 0x1000, MDC_MEM_RESERVE, MDC_PAGE_NOACCESS, MDC_MEM_PRIVATE, 0, MDC_REGION_NEVER_READ, 0, NULL,
     0, 0, 0},
    {STACK_B, 0x8000, MDC_MEM_COMMIT, RW, MDC_MEM_PRIVATE, MDC_KIND_ANONYMOUS, 0, 1, NULL, 0, 0, 0},
};
static const mdc_fake_thread standard_threads[] = {
    {4711, 0, STACK_A + 0xC010, EXE + 0x1234, "main"},
    {4712, 0, STACK_B + 0x2F40, EXE + 0x1240, "wörker"},
};
static const mdc_fake_module standard_modules[] = {
    {EXE, 0x3000, "/usr/bin/fake", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}},
    {FILE_MAP, 0x4000, "/usr/lib/libshrunk.so.1", {0}},
};
static const mdc_fake_target standard_target = {
    standard_regions, 8, standard_threads, 2, standard_modules, 2, "fake --target", HEAP + 0x100, 0x80, SEED, 0, NULL};

/* One dump into memory. */
typedef struct made_dump {
    mdc_error err;
    mdc_status status;
    const uint8_t *data;
    size_t size;
    const mdc_report *report;
    mdc_dump_control control;
    mdc_source *source;
    mdc_sink *sink;
    mdc_dump *dump;
} made_dump;

static inline void make_into(made_dump *made, const mdc_fake_target *target, const mdc_engine_options *options,
                             mdc_sink *sink) {
    memset(made, 0, sizeof *made);
    mdc_control_init(&made->control, 0);
    made->source = mdc_fake_new(target, &made->err);
    made->sink = sink;
    made->dump = made->source == NULL ? NULL : mdc_dump_new(options, made->source, sink, &made->control, &made->err);
    if (made->dump == NULL) {
        made->status = made->err.code;
        return;
    }
    made->status = mdc_dump_run(made->dump, &made->err);
    made->report = mdc_dump_report(made->dump);
}

static inline void make(made_dump *made, const mdc_fake_target *target, const mdc_engine_options *options) {
    mdc_error err = {0};
    make_into(made, target, options, mdc_sink_memory_new(UINT64_C(1) << 32, &err));
    if (made->status != MDC_OK) return;
    made->data = mdc_sink_memory_data(made->sink, &made->size);
}

static inline void unmake(made_dump *made) {
    mdc_dump_free(made->dump);
    if (made->source != NULL) made->source->ops->free(made->source);
    if (made->sink != NULL) made->sink->ops->free(made->sink);
}

/* A callee with safe answers, which a test overrides: `answer` sees every call first and returns -1 to leave it. */
typedef struct callee {
    int (*answer)(struct callee *callee, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out);
    uint32_t log[256]; /* types, in order */
    uint32_t logged;
    uint32_t calls[32];
    uint64_t number; /* the test's */
    void *data;
} callee;

static int32_t MDC_CALL callee_routine(void *param, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    callee *self = param;
    uint32_t type = in->CallbackType;
    if (self->logged < 256) self->log[self->logged++] = type;
    self->calls[type & 31]++;
    int answer = self->answer != NULL ? self->answer(self, in, out) : -1;
    if (answer >= 0) return answer;
    switch (type) {
    case MDC_CB_CANCEL:
        out->Cancel.CheckCancel = 1;
        out->Cancel.Cancel = 0;
        return 1;
    case MDC_CB_INCLUDE_VM_REGION:
        out->Region.Continue = 1;
        return 1;
    case MDC_CB_READ_MEMORY_FAILURE:
        out->Status = MDC_S_OK;
        return 1;
    default:
        return type <= MDC_CB_INCLUDE_MODULE;
    }
}

static inline mdc_engine_options options_for(callee *self, uint64_t dump_type, uint32_t extensions) {
    return (mdc_engine_options){.dump_type = dump_type, .callback = {callee_routine, self}, .extensions = extensions};
}

/* Parsing: everything copied out, offsets checked against the size. */
static inline uint32_t u32_at(const made_dump *made, uint64_t offset) {
    uint32_t value = 0;
    if (offset + 4 <= made->size)
        memcpy(&value, made->data + offset, 4);
    else
        failures++;
    return value;
}

static inline uint64_t u64_at(const made_dump *made, uint64_t offset) {
    return u32_at(made, offset) | (uint64_t)u32_at(made, offset + 4) << 32;
}

/* Offset of a stream, 0 if it is not there; *size its bytes. A stream that is there twice is a failure. */
static inline uint64_t stream_at(const made_dump *made, uint32_t type, uint32_t *size) {
    uint64_t found = 0;
    if (size != NULL) *size = 0;
    for (uint32_t i = 0; i < u32_at(made, 8); i++) {
        uint64_t entry = u32_at(made, 12) + 12 * (uint64_t)i;
        if (u32_at(made, entry) != type) continue;
        CHECK(found == 0);
        found = u32_at(made, entry + 8);
        if (size != NULL) *size = u32_at(made, entry + 4);
        CHECK(found + u32_at(made, entry + 4) <= made->size);
    }
    return found;
}

typedef struct found_range {
    uint64_t address, size, offset;
} found_range;

static inline uint32_t memory_ranges(const made_dump *made, found_range *out, uint32_t room) {
    uint32_t size;
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_MEMORY_LIST, &size);
    if (at == 0) return 0;
    uint32_t count = u32_at(made, at);
    CHECK(size == 4 + 16 * count);
    for (uint32_t i = 0; i < count && i < room; i++)
        out[i] = (found_range){u64_at(made, at + 4 + 16 * i), u32_at(made, at + 12 + 16 * i),
                               u32_at(made, at + 16 + 16 * i)};
    for (uint32_t i = 1; i < count && i < room; i++) CHECK(out[i - 1].address + out[i - 1].size <= out[i].address);
    return count;
}

static inline uint64_t memory64_ranges(const made_dump *made, found_range *out, uint64_t room) {
    uint32_t size;
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_MEMORY64_LIST, &size);
    if (at == 0) return 0;
    uint64_t count = u64_at(made, at), offset = u64_at(made, at + 8);
    CHECK(size == 16 * (count + 1));
    for (uint64_t i = 0; i < count && i < room; i++) {
        out[i] = (found_range){u64_at(made, at + 16 + 16 * i), u64_at(made, at + 24 + 16 * i), offset};
        CHECK(out[i].size > 0);
        offset += out[i].size;
        CHECK(offset <= made->size);
    }
    return count;
}

/* true if a MemoryInfoList entry starts at the address. */
static inline bool info_starts_at(const made_dump *made, uint64_t address) {
    uint64_t at = stream_at(made, MDC_STREAM_TYPE_MEMORY_INFO_LIST, NULL);
    for (uint64_t i = 0; i < u64_at(made, at + 8); i++)
        if (u64_at(made, at + 16 + 48 * i) == address) return true;
    return false;
}

/* The byte of target memory in the dump, -1 if it is not there. */
static inline int byte_in(const made_dump *made, uint64_t address) {
    found_range ranges[4096];
    uint64_t count = memory64_ranges(made, ranges, 4096);
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < count && i < 4096; i++)
            if (address >= ranges[i].address && address - ranges[i].address < ranges[i].size)
                return made->data[ranges[i].offset + (address - ranges[i].address)];
        count = memory_ranges(made, ranges, 4096);
    }
    return -1;
}

static inline bool holds(const made_dump *made, uint64_t address) { return byte_in(made, address) >= 0; }
static inline bool right(const made_dump *made, uint64_t address) {
    return byte_in(made, address) == mdc_fake_byte(address, SEED);
}

/* What every dump has to keep, whatever is in it. */
static inline void check_rules(const made_dump *made) {
    static const uint32_t always[] = {3, 4, 7, 15, 16, MDC_STREAM_TYPE_GAPS};
    CHECK(made->status == MDC_OK);
    if (made->status != MDC_OK) {
        fprintf(stderr, "  %s\n", made->err.message);
        return;
    }
    CHECK(u32_at(made, 0) == MDC_FILE_SIGNATURE && (u32_at(made, 4) & 0xFFFF) == 0xA793);
    CHECK((u64_at(made, 24) & ~(uint64_t)0x01FFFFFF) == 0);
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) CHECK(stream_at(made, always[i], NULL) != 0);
    CHECK(made->size == made->report->file_bytes);
    static found_range ranges[4096], ranges64[4096];
    uint32_t count = memory_ranges(made, ranges, 4096);
    uint64_t count64 = memory64_ranges(made, ranges64, 4096);
    CHECK(count == made->report->memory_ranges && count64 == made->report->memory64_ranges);
    for (uint64_t i = 0; i < count64 && i < 4096; i++) CHECK(info_starts_at(made, ranges64[i].address));
    /* One memory list, the one of the header's type: debugger engines refuse any other. */
    bool full = (u64_at(made, 24) & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    CHECK((stream_at(made, MDC_STREAM_TYPE_MEMORY64_LIST, NULL) != 0) == full);
    CHECK((stream_at(made, MDC_STREAM_TYPE_MEMORY_LIST, NULL) != 0) == !full);
    CHECK(full || (made->report->dump_type & MDC_TYPE_WITH_FULL_MEMORY) == 0);
    const found_range *memory = full ? ranges64 : ranges;
    uint64_t memory_count = full ? count64 : count;
    uint64_t list = stream_at(made, MDC_STREAM_TYPE_THREAD_LIST, NULL);
    for (uint32_t t = 0; t < u32_at(made, list); t++) {
        uint64_t at = list + 4 + 48 * (uint64_t)t;
        uint32_t size = u32_at(made, at + 32);
        bool found = size == 0 && u32_at(made, at + 36) == 0;
        for (uint64_t i = 0; i < memory_count && i < 4096; i++)
            found = found || (memory[i].address == u64_at(made, at + 24) && memory[i].size == size &&
                              memory[i].offset == u32_at(made, at + 36));
        CHECK(found);
        CHECK(u32_at(made, at + 40) >= 1232);
    }
}

/* For readers that are not ours: writes the dump where MDC_TEST_KEEP says. */
static inline void keep_file(const made_dump *made, const char *name) {
    const char *directory = getenv("MDC_TEST_KEEP");
    char path[512];
    if (directory == NULL || made->data == NULL) return;
    snprintf(path, sizeof path, "%s/%s.dmp", directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) return;
    fwrite(made->data, 1, made->size, file);
    fclose(file);
}

#endif
