/* ScanMemory: which modules the registers and stacks of threads refer to. */
#include <stdlib.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/vec.h"
#include "stack_pointers.h"

typedef struct place {
    uint64_t base;
    uint64_t end;
    size_t module;
} place;

typedef struct scan {
    mdc_capture *capture;
    place *places; /* by base */
    size_t count;
    size_t left; /* modules that nothing referred to yet */
} scan;

static int by_base(const void *left, const void *right) {
    const place *a = left, *b = right;
    return a->base < b->base ? -1 : a->base > b->base;
}

static void mark(scan *self, size_t module) {
    uint32_t *write = &self->capture->modules[module].write;
    if ((*write & MDC_MODULE_REFERENCED_BY_MEMORY) == 0) self->left--;
    *write |= MDC_MODULE_REFERENCED_BY_MEMORY;
}

static mdc_status look_up(void *context, uint64_t word, bool *enough, mdc_error *err) {
    scan *self = context;
    size_t at;
    (void)err;
    mdc_lower_bound(at, 0, self->count, self->places[at].base <= word);
    if (at > 0 && word < self->places[at - 1].end) mark(self, self->places[at - 1].module);
    *enough = self->left == 0;
    return MDC_OK;
}

mdc_status mdc_modules_scan(mdc_capture *capture, const mdc_reader *reader, mdc_error *err) {
    scan self = {.capture = capture};
    self.places = mdc_alloc(capture->lists->module_count, sizeof *self.places, err);
    if (self.places == NULL) return err->code;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        if (capture->modules[i].write == 0) continue;
        uint64_t end = module->base + mdc_min_u64(capture->modules[i].size, UINT64_MAX - module->base);
        self.places[self.count++] = (place){module->base, end, i};
    }
    self.left = self.count;
    if (self.count > 0) qsort(self.places, self.count, sizeof *self.places, by_base);
    /* Readers take the first module for the program. */
    if (self.count > 0 && capture->modules[0].write != 0) mark(&self, 0);
    /* Only a hint comes of it: the callee is asked about the modules afterwards. */
    mdc_status status = self.left > 0 ? mdc_pointers_walk(reader, 0, look_up, &self, err) : MDC_OK;
    mdc_dealloc(self.places);
    return status;
}
