/* Device paths, as the kernel reports mapped files, to the usual paths: \Device\HarddiskVolume3\Windows to
 * C:\Windows, \Device\Mup\server\share to \\server\share. What has no letter keeps its device path. */
#ifndef MDC_WINDOWS_WIN_PATHS_H
#define MDC_WINDOWS_WIN_PATHS_H

#include <stddef.h>
#include <stdint.h>

enum { MDC_WIN_DRIVES = 26, MDC_WIN_DEVICE_UNITS = 260 };

typedef struct mdc_win_paths {
    uint16_t device[MDC_WIN_DRIVES][MDC_WIN_DEVICE_UNITS]; /* where the letter points; empty: nowhere */
    size_t size[MDC_WIN_DRIVES];                           /* units */
} mdc_win_paths;

/* Asks for all letters, once: they do not change while a dump is taken. */
void mdc_win_paths_init(mdc_win_paths *paths);
/* In place: `count` units with room for `room` of them. Returns how many there are now. */
size_t mdc_win_paths_to_dos(const mdc_win_paths *paths, uint16_t *units, size_t count, size_t room);

#endif
