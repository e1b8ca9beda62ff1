/* Parsing mapping lines (see map_line.h). Written by hand instead of with sscanf: names hold spaces, newlines (escaped)
 * and odd bytes, have no length limit, and 60,000 lines must take little time. */
#include "map_line.h"

#include <string.h>

#include "../api/minidump_protocol.h"

/* The digit, 16 for anything else. By a table: lines of maps are mostly digits. */
static unsigned hex_digit(uint8_t c) {
    static const uint8_t after[] = {
        ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
        ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16};
    return c < sizeof after && after[c] != 0 ? after[c] - 1U : 16U;
}

bool mdc_map_is_header(const uint8_t *line, size_t size) {
    /* Addresses are lower case hexadecimal; the keys of smaps begin with a capital. */
    return size > 0 && hex_digit(line[0]) < 16;
}

/* Eight digits at once, by the bytes of one word: each is what its four bits are written as. */
static bool eight_digits(const uint8_t *at, uint64_t *value) {
    const uint64_t ones = UINT64_MAX / 0xFF;
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++) word = word << 8 | at[i];
    uint64_t bits = (word & ones * 0x0F) + 9 * (word >> 6 & ones);
    uint64_t letters = (bits + ones * 0x76) >> 7 & ones; /* those above nine */
    if ((bits & ones * 0xF0) != 0 || bits + ones * '0' + letters * ('a' - '0' - 10) != word) return false;
    bits = (bits | bits >> 4) & UINT64_C(0x00FF00FF00FF00FF);
    bits = (bits | bits >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    *value = (bits | bits >> 16) & UINT32_MAX;
    return true;
}

/* A hexadecimal number ended by `stop`, which is skipped. */
static bool hexadecimal(const uint8_t **at, const uint8_t *end, uint8_t stop, uint64_t *value) {
    const uint8_t *p = *at;
    uint64_t sum = 0, eight;
    if (end - p >= 8 && eight_digits(p, &eight)) {
        sum = eight;
        p += 8;
    }
    for (; p < end && *p != stop; p++) {
        unsigned digit = hex_digit(*p);
        if (digit > 15 || sum >> 60 != 0) return false;
        sum = sum << 4 | digit;
    }
    if (p == *at || p == end) return false;
    *at = p + 1;
    *value = sum;
    return true;
}

/* A decimal one, ended by a blank, which is skipped, or the end. */
static bool decimal(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    const uint8_t *p = *at;
    uint64_t sum = 0;
    for (; p < end && *p != ' '; p++) {
        if (*p < '0' || *p > '9') return false;
        uint64_t digit = (uint64_t)(*p - '0');
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    if (p == *at) return false;
    *at = p < end ? p + 1 : p;
    *value = sum;
    return true;
}

/* The kernel escapes newlines, and only them, as \012 (fs/proc/task_mmu.c: seq_path(m, path, "\n")). */
static size_t unescape(uint8_t *name, size_t size) {
    if (memchr(name, '\\', size) == NULL) return size;
    size_t to = 0;
    for (size_t from = 0; from < size;) {
        if (size - from >= 4 && memcmp(name + from, "\\012", 4) == 0) {
            name[to++] = '\n';
            from += 4;
        } else {
            name[to++] = name[from++];
        }
    }
    return to;
}

bool mdc_map_parse(uint8_t *line, size_t size, mdc_map_record *record) {
    const uint8_t *at = line;
    const uint8_t *end = line + size;
    memset(record, 0, sizeof *record);
    if (!hexadecimal(&at, end, '-', &record->first) || !hexadecimal(&at, end, ' ', &record->end)) return false;
    if (record->first >= record->end) return false;
    if (end - at < 5 || at[4] != ' ') return false;
    if (at[0] == 'r') record->perms |= MDC_PERM_READ;
    if (at[1] == 'w') record->perms |= MDC_PERM_WRITE;
    if (at[2] == 'x') record->perms |= MDC_PERM_EXECUTE;
    if (at[3] == 's') record->perms |= MDC_PERM_SHARED;
    at += 5;
    uint64_t major, minor;
    if (!hexadecimal(&at, end, ' ', &record->file_offset) || !hexadecimal(&at, end, ':', &major) ||
        !hexadecimal(&at, end, ' ', &minor) || major > UINT32_MAX || minor > UINT32_MAX)
        return false;
    record->dev_major = (uint32_t)major;
    record->dev_minor = (uint32_t)minor;
    /* A line without a name may end right after the inode. */
    if (!decimal(&at, end, &record->inode)) return false;
    while (at < end && *at == ' ') at++;
    record->name = at;
    record->name_size = unescape(line + (at - line), (size_t)(end - at));
    return true;
}

uint32_t mdc_map_protection(uint32_t perms) {
    static const uint32_t table[8] = {
        MDC_PAGE_NOACCESS, MDC_PAGE_READONLY,     MDC_PAGE_READWRITE,         MDC_PAGE_READWRITE,
        MDC_PAGE_EXECUTE,  MDC_PAGE_EXECUTE_READ, MDC_PAGE_EXECUTE_READWRITE, MDC_PAGE_EXECUTE_READWRITE,
    };
    return table[perms & MDC_PERM_ACCESS];
}
