/* One call at a time, whatever threads do: a hook never sees a second one inside; a thread that takes over from another
 * is let in; who was refused is remembered; and the barrier comes where it has to. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/api/callback.h"
#include "../../csrc/callback/biased_lock.h"
#include "check.h"
#include "threads_check.h"

enum { THREADS = 3, CALLS = 40000 };

static mdc_error err;

typedef struct scene {
    mdc_callback *callback;
    atomic_int inside;
    atomic_ulong accepted;
    atomic_ulong refused;
    uint64_t plain; /* only safe if calls exclude each other: TSan looks here */
} scene;

static int32_t hook(void *context, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    scene *s = context;
    (void)input;
    REQUIRE(atomic_fetch_add(&s->inside, 1) == 0);
    /* Sometimes long enough for others to try. */
    if (++s->plain % 64 == 0) give_way();
    output->Status = MDC_S_FALSE;
    REQUIRE(atomic_fetch_sub(&s->inside, 1) == 1);
    return 1;
}

static void *hammer(void *context) {
    scene *s = context;
    MINIDUMP_CALLBACK_INPUT input = {.CallbackType = MDC_CB_IO_START};
    MINIDUMP_CALLBACK_OUTPUT output;
    for (int i = 0; i < CALLS; i++) {
        if (mdc_callback_routine(s->callback, &input, &output) != 0)
            atomic_fetch_add(&s->accepted, 1);
        else
            atomic_fetch_add(&s->refused, 1);
    }
    return NULL;
}

static scene *scene_new(void) {
    scene *s = calloc(1, sizeof *s);
    mdc_filter_spec spec = {.default_action = MDC_INCLUDE};
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    mdc_callback_options options = {.hook_types = 1u << MDC_CB_IO_START, .hook = hook, .hook_context = s};
    s->callback = mdc_callback_new(filter, &options, &err);
    REQUIRE(s->callback != NULL);
    mdc_filter_release(filter);
    return s;
}

static void scene_free(scene *s) {
    REQUIRE(mdc_callback_free(s->callback, &err) == MDC_OK);
    free(s);
}

typedef struct view {
    mdc_biased_lock *lock;
    uint64_t self;
    bool favoured, entered;
} view;

static void *look(void *context) {
    view *v = context;
    v->self = mdc_biased_lock_self();
    atomic_uint *flag = mdc_biased_lock_enter(v->lock);
    v->favoured = flag != NULL;
    v->entered = mdc_biased_lock_enter_slow(v->lock);
    if (v->entered) mdc_biased_lock_leave_slow(v->lock, true);
    return NULL;
}

static view look_elsewhere(mdc_biased_lock *lock) {
    view v = {.lock = lock};
    thread *other = thread_begin(look, &v);
    REQUIRE(other != NULL);
    thread_end(other);
    return v;
}

/* The quick way is open to the thread that was inside last, and to no other. */
static void favours(void) {
    mdc_biased_lock lock;
    mdc_biased_lock_init(&lock);
    REQUIRE(mdc_biased_lock_enter(&lock) == NULL && mdc_biased_lock_enter_slow(&lock));
    mdc_biased_lock_leave_slow(&lock, true);
    atomic_uint *flag = mdc_biased_lock_enter(&lock);
    bool has_marks = mdc_biased_lock_self() != 0;
    REQUIRE((flag != NULL) == (lock.barrier && has_marks));
    if (flag == NULL) return; /* a system without the barrier */
    view v = look_elsewhere(&lock);
    REQUIRE(v.self != 0 && v.self != mdc_biased_lock_self() && !v.favoured && !v.entered); /* a call is inside */
    mdc_biased_lock_leave(flag);
    v = look_elsewhere(&lock);
    REQUIRE(!v.favoured && v.entered);
    REQUIRE(mdc_biased_lock_enter(&lock) == NULL); /* it is the other one's now */
}

/* -- the barrier ----------------------------------------------------------------------------------------------------
 */

/* What the lock asks of the system comes by here, in place of the C library's or Windows' function. */
static struct {
    mdc_biased_lock *lock;
    atomic_uint *flag; /* raised at the barrier: of a thread that raised it before, and that was not seen yet */
    int barriers;
    bool biased; /* at one of them the bias had not been revoked yet */
    bool refuses;
} watched;

static bool barrier_is_seen(void) {
    if (watched.lock == NULL) return true;
    watched.barriers++;
    if (atomic_load(&watched.lock->bias) != MDC_BIASED_LOCK_NONE) watched.biased = true;
    if (watched.flag != NULL) atomic_store_explicit(watched.flag, 1, memory_order_relaxed);
    return !watched.refuses;
}

#if defined(_WIN32)
#include <windows.h>

static void WINAPI flush(void) {
    typedef void(WINAPI * function)(void);
    barrier_is_seen();
    FARPROC real = GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "FlushProcessWriteBuffers");
    ((function)(void (*)(void))real)();
}
#if defined(_WIN64)
void(WINAPI *imported_flush)(void) __asm__("__imp_FlushProcessWriteBuffers") = flush;
#else
void(WINAPI *imported_flush)(void) __asm__("__imp__FlushProcessWriteBuffers@0") = flush;
#endif
enum { WATCHED = true, CAN_REFUSE = false };
#elif defined(__linux__) && defined(__x86_64__)
#include <linux/membarrier.h>
#include <sys/syscall.h>

long syscall(long number, ...) {
    va_list list;
    long words[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) words[i] = va_arg(list, long);
    va_end(list);
    if (number == __NR_membarrier && (int)words[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED && !barrier_is_seen()) {
        errno = EPERM;
        return -1;
    }
    register long fourth __asm__("r10") = words[3];
    register long fifth __asm__("r8") = words[4];
    register long sixth __asm__("r9") = words[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(words[0]), "S"(words[1]), "d"(words[2]), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}
enum { WATCHED = true, CAN_REFUSE = true };
#else
enum { WATCHED = false, CAN_REFUSE = false };
#endif

/* The owner's flag need not be seen by another thread before the barrier. So that one revokes the bias first, then has
 * the barrier made, and looks at the flag only then. */
static void barrier_is_between(void) {
    mdc_biased_lock lock;
    mdc_biased_lock_init(&lock);
    REQUIRE(mdc_biased_lock_enter_slow(&lock));
    mdc_biased_lock_leave_slow(&lock, true);
    atomic_uint *flag = mdc_biased_lock_enter(&lock);
    if (flag == NULL || !WATCHED) return; /* a system without the barrier */
    mdc_biased_lock_leave(flag);

    watched.lock = &lock;
    watched.flag = flag;
    REQUIRE(!mdc_biased_lock_enter_slow(&lock)); /* its owner is inside */
    REQUIRE(watched.barriers == 1 && !watched.biased);
    watched.flag = NULL;
    REQUIRE(!mdc_biased_lock_enter_slow(&lock) && watched.barriers == 1); /* there is no bias to revoke any more */
    mdc_biased_lock_leave(flag);
    REQUIRE(mdc_biased_lock_enter_slow(&lock) && watched.barriers == 1);
    mdc_biased_lock_leave_slow(&lock, true);
    REQUIRE(mdc_biased_lock_enter_slow(&lock) && watched.barriers == 2 && !watched.biased);
    mdc_biased_lock_leave_slow(&lock, true);
    if (CAN_REFUSE) {
        watched.refuses = true;
        REQUIRE(!mdc_biased_lock_enter_slow(&lock) && watched.barriers == 3); /* nothing is known about the owner */
        REQUIRE(mdc_biased_lock_enter_slow(&lock) && watched.barriers == 3);
        mdc_biased_lock_leave_slow(&lock, true);
        REQUIRE(mdc_biased_lock_enter(&lock) == NULL); /* and from then on there is no bias */
    }
    watched.lock = NULL;
}

int main(void) {
    favours();
    barrier_is_between();
    thread *threads[THREADS];
    scene *s = scene_new();
    /* One after the other: none is refused, also not after a reset from this thread. */
    for (int i = 0; i < THREADS; i++) {
        REQUIRE((threads[i] = thread_begin(hammer, s)) != NULL);
        thread_end(threads[i]);
        hammer(s);
    }
    REQUIRE(s->refused == 0 && s->accepted == 2 * THREADS * CALLS && s->plain == s->accepted);
    REQUIRE(mdc_callback_read_counters(s->callback).calls[MDC_CB_IO_START] == s->accepted);
    REQUIRE(mdc_callback_check(s->callback, &err) == MDC_OK);
    REQUIRE(mdc_callback_reset(s->callback, &err) == MDC_OK);
    scene_free(s);

    /* All at once. */
    s = scene_new();
    for (int i = 0; i < THREADS; i++) REQUIRE((threads[i] = thread_begin(hammer, s)) != NULL);
    for (int i = 0; i < THREADS; i++) thread_end(threads[i]);
    REQUIRE(s->accepted + s->refused == THREADS * CALLS && s->accepted > 0 && s->plain == s->accepted);
    REQUIRE(mdc_callback_read_counters(s->callback).calls[MDC_CB_IO_START] == s->accepted);
    REQUIRE((mdc_callback_check(s->callback, &err) == MDC_ERR_BUSY) == (s->refused > 0));
    printf("%lu calls, %lu refused\n", s->accepted, s->refused);
    scene_free(s);
    return 0;
}
