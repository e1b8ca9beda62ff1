/* A keyed digest of a buffer: SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012).
 *
 * Recordings keep a digest where they must not keep the bytes. Without the key, which is thrown away with its recorder,
 * it says no more than "equal" or "not equal" to another one of the same recording, however short the buffer is; a CRC
 * of four bytes would be those bytes. */
#ifndef MDC_TRACE_SIPHASH_H
#define MDC_TRACE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t mdc_siphash(const uint64_t key[2], const void *data, size_t size);

#endif
