/* Jobs with a foreign callee: its current call can be seen from another thread while it hangs, its session can be
 * abandoned, and the descriptor of the output arrives as Io.Handle. Run this one under a thread sanitizer, too. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/session/session.h"
#include "../support/fake.h"
#include "check.h"
#include "output_check.h"
#include "threads_check.h"

#define SECONDS(n) ((n) * UINT64_C(1000000000))

static const mdc_fake_region REGIONS[] = {{.base = 0x1000000,
                                           .size = 0x10000,
                                           .state = MDC_MEM_COMMIT,
                                           .protect = MDC_PAGE_READWRITE,
                                           .type = MDC_MEM_PRIVATE,
                                           .kinds = MDC_KIND_ANONYMOUS,
                                           .touch_every = 1}};
static const mdc_fake_thread THREADS[] = {{.tid = 100, .stack_pointer = 0x1008000}};
static const mdc_fake_target TARGET = {
    .regions = REGIONS, .region_count = 1, .threads = THREADS, .thread_count = 1, .cmdline = "app", .seed = 7};

typedef struct callee {
    uint32_t hang_at;     /* type; UINT32_MAX: nowhere */
    atomic_int come_back; /* 1: let it go on */
    atomic_int left;      /* 1: it has come back */
    atomic_uint_least64_t calls;
    atomic_intptr_t handle[2]; /* Io.Handle of 11 and of 12 */
    bool takes_output;
} callee;

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    callee *self = param;
    uint32_t type = input->CallbackType;
    atomic_fetch_add(&self->calls, 1);
    if (type == self->hang_at) {
        while (!atomic_load(&self->come_back)) give_way();
        atomic_store(&self->left, 1);
    }
    switch (type) {
    case MDC_CB_IO_START:
        atomic_store(&self->handle[0], (intptr_t)input->u.Io.Handle);
        if (self->takes_output) output->Status = MDC_S_FALSE;
        return 1;
    case MDC_CB_IO_WRITE_ALL:
        atomic_store(&self->handle[1], (intptr_t)input->u.Io.Handle);
        output->Status = MDC_S_OK;
        return 1;
    case MDC_CB_IO_FINISH:
        output->Status = MDC_S_OK;
        return 1;
    case MDC_CB_MEMORY:
    case MDC_CB_REMOVE_MEMORY:
        return 0;
    default:
        return 1;
    }
}

static mdc_session *start(callee *self, int64_t fd) {
    mdc_error err;
    mdc_source *source = mdc_fake_new(&TARGET, &err);
    mdc_session_spec spec = {
        .take_source = &source, .pidfd = -1, .sink = fd != -1 ? MDC_SINK_FD : MDC_SINK_MEMORY, .fd = fd};
    spec.engine.callback.CallbackRoutine = routine;
    spec.engine.callback.CallbackParam = self;
    mdc_session *session = NULL;
    mdc_session_start(&spec, &session, &err);
    if (session == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return session;
}

static void wait_inside(const mdc_session *session, int32_t type) {
    while (mdc_session_callee(session).type != type) give_way();
}

static void hangs_and_comes_back(uint32_t type) {
    callee self = {.hang_at = type};
    mdc_session *session = start(&self, -1);
    wait_inside(session, (int32_t)type);
    mdc_callee_state first = mdc_session_callee(session), second = mdc_session_callee(session);
    CHECK(first.call == second.call && first.call > 0);
    CHECK(!mdc_session_wait(session, 1000));
    atomic_store(&self.come_back, 1);
    CHECK(mdc_session_wait(session, SECONDS(60)));
    mdc_error err = {.callback_type = -1};
    CHECK(mdc_session_result(session, &err) == MDC_OK);
    mdc_callee_state last = mdc_session_callee(session);
    CHECK(last.type == -1 && last.call == atomic_load(&self.calls) && last.call >= first.call);
    mdc_session_free(session);
}

static void left_behind(void) {
    callee *self = calloc(1, sizeof *self);
    self->hang_at = MDC_CB_THREAD;
    mdc_session *session = start(self, -1);
    wait_inside(session, MDC_CB_THREAD);
    mdc_session_cancel(session, MDC_ERR_DEADLINE);
    CHECK(!mdc_session_wait(session, 1000));
    mdc_session_free(session); /* the worker keeps it */
    atomic_store(&self->come_back, 1);
    while (!atomic_load(&self->left)) give_way();
    sleep_ms(200); /* until the worker is gone: leak checkers look at the end */
    free(self);
}

static void handle_is_the_descriptor(bool takes_output) {
    int64_t fd = output_file();
    callee self = {.hang_at = UINT32_MAX, .takes_output = takes_output};
    mdc_session *session = start(&self, fd);
    CHECK(mdc_session_wait(session, SECONDS(60)));
    mdc_error err = {.callback_type = -1};
    CHECK(mdc_session_result(session, &err) == MDC_OK);
    CHECK(atomic_load(&self.handle[0]) > 2 && atomic_load(&self.handle[0]) != fd); /* a duplicate */
    CHECK(atomic_load(&self.handle[1]) == (takes_output ? atomic_load(&self.handle[0]) : 0));
    char first;
    CHECK((output_read(fd, &first, 1) == 0) == takes_output);
    mdc_session_free(session);
    output_close(fd);
}

int main(void) {
    for (uint32_t type = 0; type <= MDC_CB_VM_START; type++) {
        if (type == MDC_CB_THREAD || type == MDC_CB_INCLUDE_THREAD || type == MDC_CB_VM_START ||
            type == MDC_CB_MEMORY || type == MDC_CB_WRITE_KERNEL_MINIDUMP || type == MDC_CB_CANCEL)
            hangs_and_comes_back(type);
    }
    left_behind();
    handle_is_the_descriptor(false);
    handle_is_the_descriptor(true);
    return failures == 0 ? 0 : 1;
}
