/* Drive letters of devices (see win_paths.h). */
#include "win_paths.h"

#include <string.h>
#include <windows.h>

void mdc_win_paths_init(mdc_win_paths *paths) {
    for (size_t i = 0; i < MDC_WIN_DRIVES; i++) {
        wchar_t letter[3] = {(wchar_t)(L'A' + i), L':', L'\0'}, target[MDC_WIN_DEVICE_UNITS * 2];
        size_t size = 0;
        /* The first of the strings is where it points now; the others are what it pointed at before. */
        if (QueryDosDeviceW(letter, target, sizeof target / sizeof target[0]) != 0)
            while (size < MDC_WIN_DEVICE_UNITS - 1 && target[size] != L'\0') size++;
        paths->size[i] = size;
        memcpy(paths->device[i], target, size * sizeof target[0]);
        paths->device[i][size] = 0;
    }
}

static uint16_t lower(uint16_t unit) { return unit >= 'A' && unit <= 'Z' ? (uint16_t)(unit + ('a' - 'A')) : unit; }

static int begins(const uint16_t *units, size_t count, const uint16_t *with, size_t size) {
    if (count < size) return 0;
    for (size_t i = 0; i < size; i++)
        if (lower(units[i]) != lower(with[i])) return 0;
    return count == size || units[size] == '\\';
}

static size_t replace(uint16_t *units, size_t count, size_t room, size_t old, const uint16_t *new, size_t size) {
    if (count - old + size > room) return count;
    memmove(units + size, units + old, (count - old) * sizeof *units);
    memcpy(units, new, size * sizeof *units);
    return count - old + size;
}

size_t mdc_win_paths_to_dos(const mdc_win_paths *paths, uint16_t *units, size_t count, size_t room) {
    static const uint16_t mup[] = {'\\', 'D', 'e', 'v', 'i', 'c', 'e', '\\', 'M', 'u', 'p'};
    static const uint16_t native[] = {'\\', '?', '?'}; /* Wine returns a usable path already */
    static const uint16_t unc[] = {'\\'};
    for (size_t i = 0; i < MDC_WIN_DRIVES; i++) {
        if (paths->size[i] == 0 || !begins(units, count, paths->device[i], paths->size[i])) continue;
        uint16_t letter[2] = {(uint16_t)('A' + i), ':'};
        return replace(units, count, room, paths->size[i], letter, 2);
    }
    if (begins(units, count, mup, sizeof mup / sizeof mup[0]))
        return replace(units, count, room, sizeof mup / sizeof mup[0], unc, 1);
    if (begins(units, count, native, sizeof native / sizeof native[0]))
        return replace(units, count, room, sizeof native / sizeof native[0] + 1, unc, 0);
    return count;
}
