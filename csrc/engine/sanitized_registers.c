/* FilterTriage: registers without text. Vector and floating-point registers hold 16 to 64 bytes of the text that was
 * copied or compared last, the others up to 8. */
#include <string.h>

#include "../base/sanitized.h"
#include "../format/amd64_context.h"
#include "../format/minidump_file.h"
#include "../format/x86_context.h"
#include "sanitized_copies.h"

/* winnt.h: CONTEXT of AMD64 has FltSave at 256, whose first 32 bytes are control words, then vector registers; what
 * follows CONTEXT and the gap after it is extended state, whose Mask of zero says that all is in its initial state. */
enum { AMD64_FLOAT = 256, AMD64_FLOAT_CONTROL = 32, AMD64_VECTORS_END = 1184 };
/* CONTEXT of x86 has FloatSave at 28, whose first 28 bytes are control words, and what FXSAVE stores at 204. */
enum { X86_FLOAT = 28, X86_FLOAT_CONTROL = 28, X86_FLOAT_END = 136, X86_EXTENDED = 204, X86_FX_CONTROL = 32 };
enum { X86_EBP = 6, X86_EIP = 7, AMD64_RBP = 5 };

static void clear(uint8_t *context, size_t size, size_t first, size_t end) {
    if (end > size) end = size;
    if (first < end) memset(context + first, 0, end - first);
}

/* A number that is neither an address of something nor a count, index or error. */
static bool hides(const mdc_capture *capture, uint64_t value, int64_t number) {
    return (number > MDC_SMALL_WORD || number < -MDC_SMALL_WORD) && mdc_regions_find(capture, value) == MDC_NO_REGION;
}

static void amd64(const mdc_capture *capture, uint8_t *context, size_t size) {
    const uint64_t marker = MDC_SANITIZED_WORD;
    clear(context, size, AMD64_FLOAT + AMD64_FLOAT_CONTROL, AMD64_VECTORS_END);
    clear(context, size, MDC_AMD64_CONTEXT_SIZE + MDC_AMD64_XSTATE_GAP, size);
    for (size_t i = 0; i < MDC_AMD64_GENERAL; i++) {
        uint8_t *at = context + MDC_AMD64_GENERAL_AT + i * sizeof marker;
        uint64_t value;
        memcpy(&value, at, sizeof value);
        bool frame = i == MDC_AMD64_RSP || i == AMD64_RBP || i == MDC_AMD64_RIP;
        if (!frame && hides(capture, value, (int64_t)value)) memcpy(at, &marker, sizeof marker);
    }
}

static void x86(const mdc_capture *capture, uint8_t *context, size_t size) {
    const uint32_t marker = (uint32_t)MDC_SANITIZED_WORD;
    clear(context, size, X86_FLOAT + X86_FLOAT_CONTROL, X86_FLOAT_END);
    clear(context, size, X86_EXTENDED + X86_FX_CONTROL, MDC_X86_CONTEXT_SIZE);
    for (size_t i = 0; i < MDC_X86_GENERAL; i++) {
        uint8_t *at = context + MDC_X86_GENERAL_AT + i * sizeof marker;
        uint32_t value;
        memcpy(&value, at, sizeof value);
        if (i != X86_EBP && i != X86_EIP && hides(capture, value, (int32_t)value)) memcpy(at, &marker, sizeof marker);
    }
}

void mdc_sanitize_registers(const mdc_capture *capture, uint8_t *context, size_t size) {
    uint32_t architecture = capture->lists->system->architecture;
    if (!mdc_sanitizes_registers(capture)) return;
    if (architecture == MDC_FILE_ARCH_AMD64 && size >= MDC_AMD64_CONTEXT_SIZE)
        amd64(capture, context, size);
    else if (architecture == MDC_FILE_ARCH_X86 && size >= MDC_X86_CONTEXT_SIZE)
        x86(capture, context, size);
    else
        memset(context, 0, size); /* not known */
}
