/* A process of its own that shares our memory (see clone_vm.h).
 *
 * clone(2) with CLONE_VM but neither CLONE_THREAD nor CLONE_VFORK. vfork would do as well, but its parent sleeps where
 * no session control and no other thread's setuid() reaches it (Ctrl-Z would seem to hang), for as long as a target is
 * stopped: so our thread waits for it, and does not touch meanwhile what it has lent. */
#include "clone_vm.h"

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

#include "futexes.h"

enum { STACK_BYTES = 512 * 1024, GUARD_BYTES = 64 * 1024 }; /* the guard: a page of any size there is */

typedef struct clone_vm_order {
    void (*body)(void *argument);
    void *argument;
    pid_t process; /* of the thread that asked */
    pid_t thread;
    volatile bool begun; /* read when the process is gone */
    volatile bool finished;
    _Atomic uint32_t running; /* the kernel clears it when the process no longer uses our memory, however it ends */
} clone_vm_order;

/* There only in a program under ThreadSanitizer, and AddressSanitizer. */
extern void __tsan_init(void) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));

/* Programs that run others (Valgrind, older qemu-user) know clone as fork and as thread, and take ours for one of them:
 * they do not show the kernel's vDSO. ThreadSanitizer takes every clone for a fork and marks its tables, which we
 * share, as those of a child. */
static bool possible(void) { return getauxval(AT_SYSINFO_EHDR) != 0 && __tsan_init == NULL; }

/* Why a process could not be waited for, 0 if it can. Seccomp may forbid it; then there would be a zombie per dump. */
static int cannot_wait(void) {
    /* No child of ours has our own number. */
    return syscall(SYS_wait4, getpid(), NULL, WNOHANG | __WALL, NULL) < 0 && errno != ECHILD ? errno : 0;
}

static int begin(void *argument) {
    clone_vm_order *order = argument;
    /* A signal to our process's group (SIGSTOP, SIGKILL) is not for us: the target would wait as long as both are
     * stopped. If refused, we stay in the group. */
    setpgid(0, 0);
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

int mdc_clone_vm_run(void (*body)(void *argument), void *argument, bool *finished) {
    clone_vm_order order = {.body = body, .argument = argument, .process = getpid()};
    order.thread = (pid_t)syscall(SYS_gettid);
    *finished = false;
    if (!possible()) return ENOSYS;
    int rc = cannot_wait();
    if (rc != 0) return rc;
    uint8_t *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) return errno;
    mprotect(stack, GUARD_BYTES, PROT_NONE); /* if refused, it works unguarded */

    atomic_init(&order.running, 1);
    pid_t child = clone(begin, stack + GUARD_BYTES + STACK_BYTES,
                        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_CHILD_CLEARTID, &order, NULL, NULL, &order.running);
    if (child < 0) {
        rc = errno;
    } else {
        /* Until this returns errno is the clone's. It can be interrupted although all signals are blocked: the C
         * library keeps one for itself, by which another thread's setuid() reaches this one. ECHILD: another thread
         * waited for all there is (__WALL) when the clone was gone. Whatever else the call fails with, the stack and
         * `order` are the clone's until the kernel says otherwise. */
        for (bool waits = true; waits;) {
            int status = 0;
            long got = syscall(SYS_wait4, child, &status, __WALL | WUNTRACED, NULL);
            /* By SIGSTOP: it would keep what it holds for as long as that lasts. */
            if (got == child && WIFSTOPPED(status)) kill(child, SIGKILL);
            waits = got == child ? !WIFEXITED(status) && !WIFSIGNALED(status) : got < 0 && errno == EINTR;
        }
        while (mdc_futex_wait_cleared(&order.running) != 0) sched_yield();
        if (!order.begun) rc = ESRCH;
        *finished = order.finished;
        if (__asan_unpoison_memory_region != NULL) /* of frames that never returned */
            __asan_unpoison_memory_region(stack, GUARD_BYTES + STACK_BYTES);
    }
    munmap(stack, GUARD_BYTES + STACK_BYTES);
    return rc;
}
