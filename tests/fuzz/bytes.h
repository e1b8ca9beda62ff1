/* Bytes of a fuzzer as numbers: bytes after the end are 0. */
#ifndef MDC_FUZZ_BYTES_H
#define MDC_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>

typedef struct bytes_in {
    const uint8_t *data;
    size_t left;
} bytes_in;

static inline uint8_t take8(bytes_in *in) {
    if (in->left == 0) return 0;
    in->left--;
    return *in->data++;
}

static inline uint16_t take16(bytes_in *in) {
    uint16_t low = take8(in);
    return (uint16_t)(low | take8(in) << 8);
}

static inline uint32_t take32(bytes_in *in) {
    uint32_t low = take16(in);
    return low | (uint32_t)take16(in) << 16;
}

static inline uint64_t take64(bytes_in *in) {
    uint64_t low = take32(in);
    return low | (uint64_t)take32(in) << 32;
}

/* One of `count` values. */
static inline uint32_t take_below(bytes_in *in, uint32_t count) { return take8(in) % count; }

/* An address: mostly one of the first 64 pages, so that things meet; sometimes near the end of the address space;
 * sometimes anything. */
static inline uint64_t take_address(bytes_in *in) {
    uint8_t kind = take8(in);
    switch (kind >> 5) {
    case 0:
    case 1:
    case 2:
        return (uint64_t)(take8(in) & 63) << 12;
    case 3: {
        uint64_t page = (uint64_t)(take8(in) & 63) << 12;
        return page + (take16(in) & 0xFFF);
    }
    case 4:
        return UINT64_MAX - ((uint64_t)(take8(in) & 15) << 12) - 0xFFF;
    case 5:
        return UINT64_MAX - (take16(in) & 0x1FFF);
    case 6:
        return (UINT64_C(1) << (kind & 31)) << (take8(in) & 31);
    default:
        return take64(in);
    }
}

#endif
