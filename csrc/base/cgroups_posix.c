/* Looking through folders (see cgroups.h). */
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512, LEVELS_MAX = 64 };

bool mdc_slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got;
    do got = read(fd, text, size - 1);
    while (got < 0 && errno == EINTR);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

bool mdc_cgroup_number(const char *folder, const char *name, uint64_t *number) {
    char path[PATH_BYTES + 32], text[32], *end;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!mdc_slurp(path, text, sizeof text)) return false;
    *number = strtoull(text, &end, 10);
    return end != text;
}

static bool each_above(const char *mounted, const char *below, bool version2, mdc_cgroup_look look, void *context) {
    char folder[PATH_BYTES];
    int length = snprintf(folder, sizeof folder, "%s%s", mounted, below);
    if (length < 0 || (size_t)length >= sizeof folder) return false;
    for (int level = 0; level < LEVELS_MAX; level++) {
        if (look(context, folder, version2)) return true;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + strlen(mounted)) break;
        *slash = '\0';
    }
    return false;
}

/* Lines "ID:CONTROLLERS:PATH": version 2 has one with ID 0 and no controllers, version 1 one with the controller. The
 * folders are where systemd, and containers, mount them: each alone, or both side by side. */
bool mdc_cgroups_each(const char *cgroups, const char *mounted, const char *controller, mdc_cgroup_look look,
                      void *context) {
    while (*cgroups != '\0') {
        size_t length = strcspn(cgroups, "\n");
        char line[PATH_BYTES], at[PATH_BYTES];
        bool fits = length < sizeof line;
        snprintf(line, sizeof line, "%.*s", (int)(fits ? length : 0), cgroups);
        cgroups += length + (cgroups[length] == '\n');
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = '\0';
        bool version2 = controllers[1] == '\0';
        if (!version2 && strstr(controllers, controller) == NULL) continue;
        if (version2) {
            static const char *const unified[] = {"", "/unified"};
            for (size_t i = 0; i < sizeof unified / sizeof unified[0]; i++) {
                snprintf(at, sizeof at, "%s%s", mounted, unified[i]);
                if (each_above(at, path, true, look, context)) return true;
            }
        } else {
            snprintf(at, sizeof at, "%s/%s", mounted, controller);
            if (each_above(at, path, false, look, context)) return true;
        }
    }
    return false;
}
