/* Fail points (see failpoint.h). Only test builds contain anything: their table is the one global of the tree. */
#include "failpoint.h"

#ifdef MDC_FAILPOINTS
#include <stdlib.h>
#include <string.h>

#include "thread.h"

enum { POINTS_MAX = 16, NAME_MAX_BYTES = 32 };

static struct {
    char name[NAME_MAX_BYTES];
    unsigned long nth; /* 0: every pass */
    unsigned long passes;
    int os_errno;
} points[POINTS_MAX];
static size_t point_count;
static mdc_lock lock = MDC_LOCK_INIT;

void mdc_failpoint_set(const char *spec) {
    mdc_lock_enter(&lock);
    point_count = 0;
    /* The name itself holds a colon ("read:page"), so a point is cut from its end: name:n:errno. */
    while (*spec != '\0' && point_count < POINTS_MAX) {
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
                memset(&points[point_count], 0, sizeof points[0]);
                memcpy(points[point_count].name, text, strlen(text));
                points[point_count].nth = strtoul(nth, NULL, 10);
                points[point_count].os_errno = (int)strtol(code, NULL, 10);
                point_count++;
            }
        }
        spec += length;
        if (*spec == ',') spec++;
    }
    mdc_lock_leave(&lock);
}

int mdc_failpoint(const char *name) {
    int os_errno = 0;
    mdc_lock_enter(&lock);
    for (size_t i = 0; i < point_count; i++) {
        if (strcmp(points[i].name, name) != 0) continue;
        points[i].passes++;
        if (points[i].nth == 0 || points[i].nth == points[i].passes) os_errno = points[i].os_errno;
    }
    mdc_lock_leave(&lock);
    return os_errno;
}
#else
/* ISO C forbids an empty translation unit. */
typedef int mdc_failpoints_are_off;
#endif
