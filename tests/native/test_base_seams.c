/* What differs between systems and may not show: locks, waits, threads, the clock, and the texts of error numbers. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/base/clock.h"
#include "../../csrc/base/os_error.h"
#include "check.h"
#include "threads_check.h"

#define MS(n) ((n) * UINT64_C(1000000))

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct shared {
    mdc_lock lock;
    mdc_condition change;
    uint64_t plain; /* only right if the lock excludes */
    int turn;
} shared;

static void *count(void *argument) {
    shared *s = argument;
    for (int i = 0; i < ROUNDS; i++) {
        mdc_lock_enter(&s->lock);
        s->plain++;
        mdc_lock_leave(&s->lock);
    }
    return NULL;
}

/* Two threads by turns: each wakes the other. */
static void *answer(void *argument) {
    shared *s = argument;
    mdc_lock_enter(&s->lock);
    for (int i = 0; i < 100; i++) {
        while (s->turn % 2 == 0) mdc_condition_wait(&s->change, &s->lock, UINT64_MAX);
        s->turn++;
        mdc_condition_wake_all(&s->change);
    }
    mdc_lock_leave(&s->lock);
    return NULL;
}

static void test_locks(void) {
    mdc_error err;
    mdc_error_clear(&err);
    shared s = {.lock = MDC_LOCK_INIT};
    CHECK(mdc_condition_init(&s.change, &err) == MDC_OK);
    thread *threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK((threads[i] = thread_begin(count, &s)) != NULL);
    for (int i = 0; i < THREADS; i++) thread_end(threads[i]);
    CHECK(s.plain == (uint64_t)THREADS * ROUNDS);

    thread *other = thread_begin(answer, &s);
    CHECK(other != NULL);
    mdc_lock_enter(&s.lock);
    for (int i = 0; i < 100; i++) {
        s.turn++;
        mdc_condition_wake_all(&s.change);
        while (s.turn % 2 == 1) mdc_condition_wait(&s.change, &s.lock, UINT64_MAX);
    }
    mdc_lock_leave(&s.lock);
    thread_end(other);
    CHECK(s.turn == 200);

    /* Nobody wakes: the time decides, and not before it has come. Behind it a wait returns at once. */
    uint64_t until = mdc_clock_ns() + MS(30);
    mdc_lock_enter(&s.lock);
    while (mdc_condition_wait(&s.change, &s.lock, until)) continue;
    CHECK(mdc_clock_ns() >= until);
    CHECK(!mdc_condition_wait(&s.change, &s.lock, until) && !mdc_condition_wait(&s.change, &s.lock, 0));
    mdc_lock_leave(&s.lock);
    mdc_condition_fini(&s.change);
    mdc_lock_fini(&s.lock);
}

static void test_clock(void) {
    uint64_t last = mdc_clock_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = mdc_clock_ns();
        CHECK(now >= last);
        last = now;
    }
    uint64_t before = mdc_clock_ns();
    sleep_ms(20);
    CHECK(mdc_clock_ns() - before >= MS(20) &&
          mdc_clock_ns() - before < MS(60000)); /* nanoseconds, not something else */
}

/* A thread that lies in what it frees. */
typedef struct own {
    mdc_thread_start start;
    atomic_int *done;
} own;

static void frees_itself(void *argument) {
    own *self = argument;
    atomic_int *done = self->done;
    memset(self, 0xEE, sizeof *self);
    free(self);
    atomic_store(done, 1);
}

static void test_threads(void) {
    static atomic_int done;
    own *self = calloc(1, sizeof *self);
    if (self == NULL) exit(1);
    self->start = (mdc_thread_start){frees_itself, self};
    self->done = &done;
    CHECK(mdc_thread_run(&self->start, (size_t)1 << 20) == 0);
    while (atomic_load(&done) == 0) give_way();
    CHECK(mdc_process_id() != 0 && mdc_process_id() == mdc_process_id());
    mdc_thread_start never = {frees_itself, NULL};
    CHECK(mdc_thread_run(&never, SIZE_MAX / 2) != 0); /* no room for such a stack */
}

static void test_errors(void) {
    mdc_error err;
    char text[200], cut[8];
    mdc_error_clear(&err);
    CHECK(mdc_fail(&err, MDC_ERR_SINK, MDC_PHASE_WRITE, MDC_OS_NO_SPACE, "cannot write %zu bytes", (size_t)5) ==
          MDC_ERR_SINK);
    CHECK(err.os_errno == MDC_OS_NO_SPACE && err.hresult == 0x80070070u); /* HRESULT_FROM_WIN32(ERROR_DISK_FULL) */
    CHECK(strncmp(err.message, "cannot write 5 bytes: ", 22) == 0);
#if defined(_WIN32)
    CHECK(strstr(err.message, "(error 112)") != NULL && strchr(err.message, '\n') == NULL);
    CHECK(strstr(err.message, ". (") == NULL);
    CHECK(mdc_os_error_hresult(5) == 0x80070005u && mdc_os_error_hresult((int32_t)0x80070057u) == 0x80070057u);
    mdc_os_error_text(0x2FFFFFFF, text, sizeof text); /* a number without a sentence */
    CHECK(strcmp(text, "unknown error (error 805306367)") == 0);
#else
    CHECK(strstr(err.message, "No space left on device (errno 28)") != NULL);
    CHECK(mdc_os_error_hresult(EACCES) == 0x80070005u && mdc_os_error_hresult(EXDEV) == 0x80004005u);
    mdc_os_error_text(ENOENT, text, sizeof text);
    CHECK(strcmp(text, "No such file or directory (errno 2)") == 0);
#endif
    memset(cut, 'x', sizeof cut);
    mdc_os_error_text(MDC_OS_NO_SPACE, cut, sizeof cut);
    CHECK(strlen(cut) == sizeof cut - 1); /* cut, and terminated */
    char wide[600];
    memset(wide, 'w', sizeof wide);
    wide[sizeof wide - 1] = '\0';
    mdc_error_clear(&err);
    mdc_fail(&err, MDC_ERR_SINK, MDC_PHASE_WRITE, MDC_OS_IO, "%s", wide);
    CHECK(strlen(err.message) == sizeof err.message - 1);
}

int main(void) {
    test_locks();
    test_clock();
    test_threads();
    test_errors();
    return failures != 0;
}
