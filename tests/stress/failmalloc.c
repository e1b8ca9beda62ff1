/* Preloaded: the n-th allocation of threads other than the one that armed it fails, once or from there on. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

void failmalloc_arm(long nth, int from_there_on);
long failmalloc_disarm(void);
int failmalloc_fired(void);

static atomic_long left = -1, seen;
static atomic_int all, fired, armed_by;

void failmalloc_arm(long nth, int from_there_on) {
    armed_by = (int)syscall(SYS_gettid);
    fired = 0;
    seen = 0;
    all = from_there_on;
    left = nth;
}

/* How many there were. */
long failmalloc_disarm(void) {
    left = -1;
    return seen;
}

int failmalloc_fired(void) { return fired; }

static int fails(void) {
    if (left < 0 || (int)syscall(SYS_gettid) == armed_by) return 0;
    seen++;
    if (left > 0) {
        left--;
        return 0;
    }
    fired = 1;
    if (!all) left = -1;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return fails() ? NULL : __libc_realloc(block, size); }
