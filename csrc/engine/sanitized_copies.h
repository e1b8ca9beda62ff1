/* What goes into the file without a read: texts, registers and names from the kernel. If they are sanitized
 * (mdc_engine_options.edit, FilterTriage), this is done in copies: callbacks get the originals, the file gets the
 * copies. */
#ifndef MDC_ENGINE_SANITIZED_COPIES_H
#define MDC_ENGINE_SANITIZED_COPIES_H

#include "capture.h"

typedef struct mdc_sanitized {
    const mdc_engine *engine;
    const mdc_capture *capture;
    mdc_vec bytes;  /* uint8_t: texts, then contexts; empty unless they are sanitized */
    mdc_vec starts; /* size_t: where each begins */
    mdc_vec string; /* uint8_t: the string of the last call */
} mdc_sanitized;

void mdc_sanitized_init(mdc_sanitized *copies, const mdc_capture *capture);
void mdc_sanitized_fini(mdc_sanitized *copies);
mdc_status mdc_sanitized_make(mdc_sanitized *copies, mdc_error *err);
const uint8_t *mdc_sanitized_text(const mdc_sanitized *copies, size_t text);
const uint8_t *mdc_sanitized_context(const mdc_sanitized *copies, size_t thread);
/* *bytes may become a copy that lives until the next call. */
mdc_status mdc_sanitized_string(mdc_sanitized *copies, const uint8_t **bytes, size_t size, mdc_error *err);
/* sanitized_registers.c: in place, if the type asks for it (FilterTriage). */
void mdc_sanitize_registers(const mdc_capture *capture, uint8_t *context, size_t size);
static inline bool mdc_sanitizes_registers(const mdc_capture *capture) {
    return (capture->type & MDC_TYPE_FILTER_TRIAGE) != 0 && capture->lists->carried == NULL;
}
/* In place, if at all. */
void mdc_sanitize(const mdc_engine *engine, uint64_t address, void *bytes, uint64_t size);

#endif
