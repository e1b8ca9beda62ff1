/* A fake target, told as a Windows source would tell it, for the engine's tests on any system. */
#ifndef MDC_TESTS_PE_TARGET_H
#define MDC_TESTS_PE_TARGET_H

#include "engine_check.h"

/* Stands before the fake source and tells its lists in another way. */
typedef struct disguise {
    mdc_source source;
    mdc_source *fake;
    mdc_snapshot lists;
    mdc_system system;
    mdc_thread threads[2];
    mdc_module modules[2];
    uint8_t context[2][1232];
    uint8_t pool[4096];
    uint64_t types;
    mdc_span blocks[2];
    mdc_section sections[3];
    mdc_unloaded unloaded;
    mdc_handle handles[2];
    uint64_t overlay;     /* address of `bytes` in the target */
    size_t overlay_reads; /* bytes of it that were read */
    uint8_t bytes[2048];
} disguise;

static inline disguise *of(mdc_source *source) { return (disguise *)source; }

static const uint8_t rsds[] = "RSDS\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\1\0\0\0C:\\build\\hidden-name.pdb";

static inline mdc_status prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    return of(source)->fake->ops->prepare(of(source)->fake, control, err);
}

static inline mdc_name put_pool(disguise *self, const char *text) {
    mdc_name name = {(uint32_t)self->lists.pool_size, (uint32_t)strlen(text)};
    memcpy(self->pool + name.offset, text, name.size);
    self->lists.pool_size += name.size;
    return name;
}

/* What only the source of a Windows process tells. */
static inline void tell_windows(disguise *self) {
    self->blocks[0] = (mdc_span){HEAP + 0x7800, 0x2000}; /* ends with its mapping, where nothing follows */
    self->blocks[1] = (mdc_span){0x10, 16};              /* nothing there */
    self->sections[0] = (mdc_section){EXE + 0x1000, 0x123, 0, MDC_SECTION_DATA};
    self->sections[1] = (mdc_section){EXE + 0x2000, 0x456, 0, MDC_SECTION_CODE};
    self->sections[2] = (mdc_section){HEAP + 0x100, 0x80, 1, MDC_SECTION_DATA};
    self->unloaded = (mdc_unloaded){0x7000, 0x3000, 7, 0x5F000002, put_pool(self, "hidden.dll")};
    self->handles[0] = (mdc_handle){0x44, 2, 0x1F0003, 3, 65, put_pool(self, "Event"), put_pool(self, "hidden-event")};
    self->handles[1] = (mdc_handle){.value = 0x48};
    mdc_misc *misc = &self->system.misc;
    misc->flags = MDC_MISC_POWER_INFO | MDC_MISC_PROCESS_INTEGRITY | MDC_MISC_TIMEZONE;
    misc->max_mhz = 2100;
    misc->integrity_level = 0x3000;
    misc->time_zone_id = 2;
    misc->time_zone[4] = 'G';
    misc->build_string = put_pool(self, "6.3.9600.1");
    self->lists.blocks = self->blocks;
    self->lists.block_count = 2;
    self->lists.sections = self->sections;
    self->lists.section_count = 3;
    self->lists.unloaded = &self->unloaded;
    self->lists.unloaded_count = 1;
    self->lists.handles = self->handles;
    self->lists.handle_count = 2;
    self->lists.types = self->types;
}

static inline mdc_status stop(mdc_source *source, mdc_error *err) {
    disguise *self = of(source);
    if (self->fake->ops->stop(self->fake, err) != MDC_OK) return err->code;
    bool x86 = self->system.architecture == MDC_FILE_ARCH_X86 && self->system.platform == MDC_PLATFORM_WINDOWS;
    uint16_t architecture = self->system.architecture;
    uint32_t platform = self->system.platform;
    self->lists = *self->fake->ops->snapshot(self->fake);
    self->system = *self->lists.system;
    if (platform == 0) return MDC_OK; /* as it is */
    self->system.architecture = architecture;
    self->system.platform = platform;
    self->system.product_type = 3;
    self->system.suite_mask = 0x110;
    self->system.processor_features[0] = UINT64_C(0x1122334455667788);
    self->system.version = self->system.csd_version = (mdc_name){0, 0};
    memcpy(self->pool, self->lists.pool, self->lists.pool_size);
    memcpy(self->pool + self->lists.pool_size, rsds, sizeof rsds);
    for (size_t i = 0; i < 2; i++) {
        self->threads[i] = self->lists.threads[i];
        memset(self->context[i], 0x30 + (int)i, sizeof self->context[i]);
        self->threads[i].context = self->context[i];
        self->threads[i].context_size = x86 ? 716 : 1232;
        self->threads[i].handle = (void *)(uintptr_t)(0x40 + i * 4);
        self->threads[i].thread_pointer = HEAP + 0x3000 + i * 0x2000;
        self->modules[i] = self->lists.modules[i];
        self->modules[i].build_id_size = 0;
    }
    self->modules[0].codeview = (mdc_name){(uint32_t)self->lists.pool_size, sizeof rsds};
    self->modules[0].checksum = 0xC0FFEE;
    self->modules[0].timestamp = 0x5F000001;
    self->modules[0].version[0] = 0xFEEF04BD;
    self->modules[0].version[2] = 0x000A0001;
    self->lists.pool = self->pool;
    self->lists.pool_size += sizeof rsds;
    self->lists.system = &self->system;
    self->lists.threads = self->threads;
    self->lists.modules = self->modules;
    self->lists.texts = NULL;
    self->lists.text_count = 0;
    tell_windows(self);
    return MDC_OK;
}

static inline const mdc_snapshot *lists(const mdc_source *source) { return &((const disguise *)source)->lists; }

static inline size_t content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                             size_t room, uint64_t *next) {
    return of(source)->fake->ops->content(of(source)->fake, region, first, end, runs, room, next);
}

static inline mdc_status read_spans(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer,
                                    size_t *done, int32_t *os_errno, mdc_error *err) {
    disguise *self = of(source);
    mdc_status status = self->fake->ops->read(self->fake, spans, span_count, buffer, done, os_errno, err);
    size_t at = 0;
    for (size_t i = 0; self->overlay != 0 && i < span_count; at += (size_t)spans[i++].size)
        for (uint64_t j = 0; j < spans[i].size && at + j < *done; j++)
            if (spans[i].address + j - self->overlay < sizeof self->bytes) {
                buffer[at + j] = self->bytes[spans[i].address + j - self->overlay];
                self->overlay_reads++;
            }
    return status;
}

static inline mdc_status resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    return of(source)->fake->ops->resume(of(source)->fake, stop_time_ns, err);
}

static inline void free_it(mdc_source *source) { of(source)->fake->ops->free(of(source)->fake); }

/* A dump of the standard target as a Windows process of this architecture; platform 0: as the Linux process it is. */
static inline void make_disguised(made_dump *made, disguise *self, uint16_t architecture, uint32_t platform,
                                  const mdc_engine_options *options) {
    static const mdc_source_ops ops = {prepare, stop, lists, content, read_spans, resume, free_it, NULL, NULL};
    memset(made, 0, sizeof *made);
    mdc_control_init(&made->control, 0);
    self->fake = mdc_fake_new(&standard_target, &made->err);
    self->source.ops = &ops;
    self->source.pid = self->fake->pid;
    self->system.architecture = architecture;
    self->system.platform = platform;
    made->source = &self->source;
    made->sink = mdc_sink_memory_new(UINT64_C(1) << 32, &made->err);
    made->dump = mdc_dump_new(options, made->source, made->sink, &made->control, &made->err);
    if (made->dump == NULL) {
        made->status = made->err.code;
        return;
    }
    made->status = mdc_dump_run(made->dump, &made->err);
    made->report = mdc_dump_report(made->dump);
    made->data = mdc_sink_memory_data(made->sink, &made->size);
}

static inline bool contains(const made_dump *made, const void *bytes, size_t size) {
    for (size_t at = 0; at + size <= made->size; at++)
        if (memcmp(made->data + at, bytes, size) == 0) return true;
    return false;
}

static inline void shout(void *context, uint64_t address, uint8_t *bytes, size_t size, uint32_t stored) {
    (void)address;
    (void)stored;
    for (size_t i = 0; i + 6 <= size; i++)
        if (memcmp(bytes + i, "hidden", 6) == 0) memcpy(bytes + i, "XXXXXX", 6);
    ++*(size_t *)context;
}

#endif
