/* Command line and environment (see win_texts.h). */
#include "win_texts.h"

#include "../base/arith.h"
#include "win_memory.h"

enum {
    BLOCK_MAX = 16 << 20, /* bytes of an environment; a longer one is invalid */
    PART = 4096
};

/* Offsets in the PEB (the first) and in RTL_USER_PROCESS_PARAMETERS. */
typedef struct layout {
    uint32_t parameters, command_line, environment, environment_size;
} layout;

static bool get(void *process, uint64_t address, void *out, size_t size) {
    uint32_t os_errno;
    return address != 0 && mdc_win_memory_read(process, address, out, size, &os_errno) == size;
}

/* A pointer, or a size, of the target's width at base + offset; 0 if it cannot be read. */
static uint64_t word_at(void *process, uint64_t base, uint64_t offset, uint32_t width) {
    uint64_t value = 0, address;
    return base != 0 && mdc_add_u64(base, offset, &address) && get(process, address, &value, width) ? value : 0;
}

static mdc_status add(mdc_vec *copies, uint32_t stream, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_copy copy = {.stream = stream, .span = {address, size}};
    uint64_t end;
    if (address == 0 || size == 0 || !mdc_add_u64(address, size, &end)) return MDC_OK;
    return mdc_vec_push(copies, &copy, 1, NULL, err);
}

/* Bytes of a block of UTF-16 strings, up to and with the empty one; what cannot be read ends it. */
static uint64_t block_size(void *process, uint64_t address) {
    uint16_t units[PART / 2];
    uint64_t size = 0;
    uint32_t os_errno;
    bool ended = false; /* the last unit was a NUL */
    while (size < BLOCK_MAX) {
        uint64_t at;
        if (!mdc_add_u64(address, size, &at)) return size;
        size_t want = PART - (size_t)(at & (PART - 1)), got = mdc_win_memory_read(process, at, units, want, &os_errno);
        for (size_t i = 0; i < got / 2; i++, size += 2) {
            if (units[i] == 0 && (ended || size == 0)) return size + 2;
            ended = units[i] == 0;
        }
        if (got < want || got % 2 != 0) return size;
    }
    return size;
}

mdc_status mdc_win_texts_find(mdc_vec *copies, void *process, uint64_t peb, uint32_t pointer, mdc_error *err) {
    static const layout wide = {0x20, 0x70, 0x80, 0x3F0}, narrow = {0x10, 0x40, 0x48, 0x290};
    const layout *at = pointer == 8 ? &wide : &narrow;
    uint64_t parameters = word_at(process, peb, at->parameters, pointer), text;
    uint16_t sizes[2] = {0, 0}; /* UNICODE_STRING: Length, MaximumLength */
    if (parameters == 0 || !mdc_add_u64(parameters, at->command_line, &text)) return MDC_OK;
    if (get(process, text, sizes, sizeof sizes) &&
        add(copies, MDC_STREAM_CMDLINE, word_at(process, text, pointer, pointer), mdc_max_u64(sizes[0], sizes[1]),
            err) != MDC_OK)
        return err->code;
    uint64_t environment = word_at(process, parameters, at->environment, pointer);
    uint64_t claimed = word_at(process, parameters, at->environment_size, pointer);
    if (environment == 0) return MDC_OK;
    uint64_t size = mdc_max_u64(block_size(process, environment), claimed <= BLOCK_MAX ? claimed : 0);
    return add(copies, MDC_STREAM_ENVIRON, environment, size, err);
}
