/* The position of the fields after Context in the input of Thread and ThreadEx.
 *
 * Microsoft's CONTEXT is 16-aligned and keeps that in a pack(4) struct; under GCC pack(4) wins. So an engine that was
 * built with GCC for x64 against a Windows header (Wine, mingw-w64) places Context at 12 instead of 16 in the member,
 * and everything after it 4 bytes lower. SizeOfContext shows the layout: in the other layout its place holds a stack
 * bound, which is page-aligned. Nothing is read here but SizeOfContext in both places, which also
 * lies within the 1296 bytes that a GCC engine's MINIDUMP_CALLBACK_INPUT has. Other processors have one layout. */
#ifndef MDC_BASE_THREAD_LAYOUT_H
#define MDC_BASE_THREAD_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../api/minidump_protocol.h"

#if defined(__x86_64__) || defined(_M_X64)
#define MDC_GCC_SHIFT 4u /* the hole in front of Context that GCC leaves out */
#else
#define MDC_GCC_SHIFT 0u
#endif

/* How many bytes lower than declared the fields after Context are: 0 or MDC_GCC_SHIFT. */
static inline uint32_t mdc_thread_shift(const void *thread) {
    const uint8_t *at = (const uint8_t *)thread + offsetof(MINIDUMP_THREAD_CALLBACK, SizeOfContext);
    uint32_t size, lower;
    memcpy(&size, at, sizeof size);
    memcpy(&lower, at - MDC_GCC_SHIFT, sizeof lower);
    return size != MDC_CONTEXT_SIZE && lower == MDC_CONTEXT_SIZE ? MDC_GCC_SHIFT : 0;
}

/* Whether SizeOfContext was found in one of both places. */
static inline bool mdc_thread_layout_known(const void *thread) {
    uint32_t size;
    memcpy(&size,
           (const uint8_t *)thread + offsetof(MINIDUMP_THREAD_CALLBACK, SizeOfContext) - mdc_thread_shift(thread),
           sizeof size);
    return size == MDC_CONTEXT_SIZE;
}

/* StackBase and StackEnd, of ThreadEx as well: they have the same offsets. */
static inline void mdc_thread_stack(const void *thread, uint64_t bounds[2]) {
    const uint8_t *at = (const uint8_t *)thread - mdc_thread_shift(thread);
    memcpy(bounds, at + offsetof(MINIDUMP_THREAD_CALLBACK, StackBase), 2 * sizeof bounds[0]);
}

#endif
