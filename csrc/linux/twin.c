/* A process of its own that shares our memory (see twin.h).
 *
 * clone(2) with CLONE_VM but neither CLONE_THREAD nor CLONE_VFORK. vfork would do as well, but its parent sleeps where
 * no job control and no other thread's setuid() reaches it (Ctrl-Z would seem to hang), for as long as a target stands:
 * so our thread waits in waitpid instead, one system call during which it does not touch what it has lent. */
#include "twin.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_BYTES = 512 * 1024, GUARD_BYTES = 64 * 1024 }; /* the guard: a page of any size there is */

typedef struct twin_order {
    void (*body)(void *argument);
    void *argument;
    pid_t process; /* of the thread that asked */
    pid_t thread;
    volatile bool begun; /* read when the process is gone */
    volatile bool finished;
} twin_order;

/* There only in a program under ThreadSanitizer, and AddressSanitizer. */
extern void __tsan_init(void) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));

/* Programs that run others (Valgrind, older qemu-user) know clone as fork and as thread, and take ours for one of them:
 * they do not show the kernel's vDSO. ThreadSanitizer takes every clone for a fork and marks its tables, which we
 * share, as those of a child. */
static bool possible(void) { return getauxval(AT_SYSINFO_EHDR) != 0 && __tsan_init == NULL; }

static int begin(void *argument) {
    twin_order *order = argument;
    /* From here on the kernel kills us when that thread ends; it may have ended before. Its process lives on after an
     * exec, so the thread is asked for as well. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == order->process &&
        syscall(SYS_tgkill, order->process, order->thread, 0) == 0) {
        order->begun = true;
        order->body(order->argument);
        order->finished = true;
    }
    syscall(SYS_exit_group, 0); /* nothing else: what runs at exit belongs to our process */
    return 0;
}

int mdc_twin_run(void (*body)(void *argument), void *argument, bool *finished) {
    twin_order order = {.body = body, .argument = argument, .process = getpid()};
    order.thread = (pid_t)syscall(SYS_gettid);
    *finished = false;
    if (!possible()) return ENOSYS;
    uint8_t *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) return errno;
    mprotect(stack, GUARD_BYTES, PROT_NONE); /* if refused, it works unguarded */

    int rc = 0;
    pid_t twin = clone(begin, stack + GUARD_BYTES + STACK_BYTES, CLONE_VM | CLONE_FS | CLONE_FILES, &order);
    if (twin < 0) {
        rc = errno;
    } else {
        /* Until this returns errno is the twin's. It is not interrupted: no signal has a handler here. ECHILD: somebody
         * waited for all there is (__WALL) when the twin was gone. */
        while (syscall(SYS_wait4, twin, NULL, __WALL, NULL) < 0 && errno == EINTR) {
        }
        if (!order.begun) rc = ESRCH;
        *finished = order.finished;
        if (__asan_unpoison_memory_region != NULL) /* of frames that never returned */
            __asan_unpoison_memory_region(stack, GUARD_BYTES + STACK_BYTES);
    }
    munmap(stack, GUARD_BYTES + STACK_BYTES);
    return rc;
}
