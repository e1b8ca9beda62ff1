/* Fail points (see failpoint.h). Only test builds contain anything: their table is the one global of the tree. */
#include "failpoint.h"

#ifdef MDC_FAILPOINTS
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 16, NAME_MAX_BYTES = 32 };

static struct {
    char name[NAME_MAX_BYTES];
    unsigned long nth; /* 0: every pass */
    _Atomic unsigned long passes;
    int os_errno;
} points[POINTS_MAX];
static _Atomic size_t point_count; /* no lock: a process that shares our memory may be killed while it passes one */

void mdc_failpoint_set(const char *spec) {
    size_t count = 0;
    atomic_store(&point_count, 0);
    /* The name itself holds a colon ("read:page"), so a point is cut from its end: name:n:errno. */
    while (*spec != '\0' && count < POINTS_MAX) {
        size_t length = strcspn(spec, ",");
        char text[96];
        if (length < sizeof text) {
            memcpy(text, spec, length);
            text[length] = '\0';
            char *code = strrchr(text, ':');
            if (code != NULL) *code++ = '\0';
            char *nth = code != NULL ? strrchr(text, ':') : NULL;
            if (nth != NULL) *nth++ = '\0';
            if (nth != NULL && strlen(text) < NAME_MAX_BYTES) {
                memset(&points[count], 0, sizeof points[0]);
                memcpy(points[count].name, text, strlen(text));
                points[count].nth = strtoul(nth, NULL, 10);
                points[count].os_errno = (int)strtol(code, NULL, 10);
                count++;
            }
        }
        spec += length;
        if (*spec == ',') spec++;
    }
    atomic_store(&point_count, count);
}

int mdc_failpoint(const char *name) {
    int os_errno = 0;
    size_t count = atomic_load(&point_count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(points[i].name, name) != 0) continue;
        unsigned long pass = atomic_fetch_add(&points[i].passes, 1) + 1;
        if (points[i].nth == 0 || points[i].nth == pass) os_errno = points[i].os_errno;
    }
    return os_errno;
}

unsigned long mdc_failpoint_passes(const char *name) {
    size_t count = atomic_load(&point_count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(points[i].name, name) == 0) return atomic_load(&points[i].passes);
    return 0;
}
#else
/* ISO C forbids an empty translation unit. */
typedef int mdc_failpoints_are_off;
#endif
