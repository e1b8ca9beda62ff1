/* The live process as a source: what it delivers of a real process, what it refuses, and that the process runs on. */
#include "linux_target.h"

#include "api/minidump_protocol.h"
#include "base/failpoint.h"
#include "linux/live.h"

typedef struct live_process {
    mdc_live_options options;
    mdc_dump_control control;
    mdc_source *source;
    mdc_error err;
    uint64_t stop_time_ns;
} live_process;

static void live_open(live_process *live, pid_t pid) {
    memset(live, 0, sizeof *live);
    live->options.pid = pid;
    live->options.pidfd = -1;
    live->options.times = 1;
    mdc_error_clear(&live->err);
    mdc_control_init(&live->control, 0);
}

static mdc_status live_prepare(live_process *live) {
    live->source = mdc_live_new(&live->options, &live->err);
    REQUIRE(live->source != NULL);
    return live->source->ops->prepare(live->source, &live->control, &live->err);
}

static mdc_status live_stop(live_process *live) { return live->source->ops->stop(live->source, &live->err); }

static mdc_status live_resume(live_process *live) {
    return live->source->ops->resume(live->source, &live->stop_time_ns, &live->err);
}

static mdc_status live_read(live_process *live, uint64_t address, uint64_t size, void *buffer, size_t *done,
                            int32_t *os_errno) {
    mdc_span span = {address, size};
    return live->source->ops->read(live->source, &span, 1, buffer, done, os_errno, &live->err);
}

static void live_free(live_process *live) { live->source->ops->free(live->source); }

/* A process with known content: words[0] a private page, words[1] a page without access, words[2] never touched. */
static void known_content(target_shared *shared) {
    uint8_t *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *untouched = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || untouched == MAP_FAILED) _exit(3);
    for (int i = 0; i < 4096; i++) page[4096 + i] = (uint8_t)(i * 7 + 1);
    mprotect(page, 4096, PROT_NONE);
    mprotect(page + 2 * 4096, 4096, PROT_NONE);
    shared->words[0] = (uintptr_t)page + 4096;
    shared->words[1] = (uintptr_t)page;
    shared->words[2] = (uintptr_t)untouched;
    prctl(PR_SET_NAME, "known content");
    start_threads(shared, 3, sleep_forever);
    beat_forever(shared);
}

static void check_lists(live_process *live, pid_t pid, const target_shared *shared) {
    const mdc_snapshot *lists = live->source->ops->snapshot(live->source);
    bool page = false, stacks_ok = true;
    REQUIRE(lists->region_count > 10 && lists->thread_count == 4 && lists->module_count >= 1);
    for (size_t i = 0; i < lists->region_count; i++) {
        const mdc_region *region = &lists->regions[i];
        REQUIRE(region->size != 0 && region->base % 4096 == 0 && region->size % 4096 == 0);
        REQUIRE(i == 0 || region->base >= lists->regions[i - 1].base + lists->regions[i - 1].size);
        page = page || region->base == shared->words[0];
    }
    REQUIRE(page);
    REQUIRE(lists->threads[0].tid == (uint32_t)pid);
    for (size_t i = 0; i < lists->thread_count; i++) {
        const mdc_thread *thread = &lists->threads[i];
        bool found = false;
        REQUIRE(thread->flags == 0 && thread->context != NULL && thread->context_size >= MDC_CONTEXT_SIZE);
        for (size_t k = 0; k < lists->region_count; k++) {
            const mdc_region *region = &lists->regions[k];
            if (thread->stack_pointer < region->base || thread->stack_pointer - region->base >= region->size) continue;
            found = true;
            stacks_ok = stacks_ok && (region->kinds & MDC_KIND_STACK) != 0;
        }
        REQUIRE(found && thread->create_time > UINT64_C(130000000000000000) && thread->affinity != 0);
        REQUIRE(thread->name.size == 13 && memcmp(lists->pool + thread->name.offset, "known content", 13) == 0);
    }
    REQUIRE(stacks_ok);
    REQUIRE(lists->system->architecture != 0 || MDC_CONTEXT_SIZE == 716);
    REQUIRE(lists->system->xstate_size == 0 && lists->auxv_phdr != 0 && lists->text_count > 0);
}

static void test_lists_and_reads(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(known_content, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    for (int round = 0; round < 2; round++) {
        live_process live;
        uint8_t buffer[4096];
        size_t done;
        int32_t os_errno;
        live_open(&live, pid);
        live.options.pidfd = round == 0 ? -1 : pidfd_of(pid);
        if (round == 1) live.options.pid = 0;
        REQUIRE_OK(live_prepare(&live), live.err);
        REQUIRE(live.source->pid == pid && (intptr_t)live.source->handle >= 0);
        REQUIRE(beats(shared)); /* it runs until the stop */
        REQUIRE_OK(live_stop(&live), live.err);
        uint64_t beat = atomic_load(&shared->beat);
        check_lists(&live, pid, shared);
        REQUIRE_OK(live_read(&live, shared->words[0], 4096, buffer, &done, &os_errno), live.err);
        REQUIRE(done == 4096 && os_errno == 0);
        for (int i = 0; i < 4096; i++) REQUIRE(buffer[i] == (uint8_t)(i * 7 + 1));
        REQUIRE_OK(live_read(&live, 4096, 4096, buffer, &done, &os_errno), live.err); /* nothing is mapped there */
        REQUIRE(done == 0 && os_errno != 0);

        const mdc_snapshot *lists = live.source->ops->snapshot(live.source);
        mdc_content runs[8];
        for (size_t i = 0; i < lists->region_count; i++) {
            const mdc_region *region = &lists->regions[i];
            uint64_t next = 0, first = region->base, end = region->base + region->size;
            bool untouched = first <= shared->words[2] && shared->words[2] + (1 << 20) <= end;
            while (first < end) {
                size_t count = live.source->ops->content(live.source, i, first, end, runs, 8, &next);
                REQUIRE(count > 0 && count <= 8 && next > first && next <= end && runs[0].first == first);
                for (size_t k = 0; k < count; k++) {
                    REQUIRE(runs[k].first < runs[k].end && (k == 0 || runs[k].first == runs[k - 1].end));
                    if (untouched && runs[k].first <= shared->words[2] && shared->words[2] < runs[k].end)
                        REQUIRE(runs[k].what == MDC_CONTENT_UNTOUCHED);
                }
                REQUIRE(runs[count - 1].end == next);
                first = next;
            }
        }
        REQUIRE(live.source->ops->content(live.source, lists->region_count, 0, 4096, runs, 8, &(uint64_t){0}) == 0);
        REQUIRE(atomic_load(&shared->beat) == beat); /* it was stopped all the time */
        REQUIRE_OK(live_resume(&live), live.err);
        REQUIRE(live.stop_time_ns > 0);
        REQUIRE(beats(shared));
        if (round == 1) close(live.options.pidfd);
        live_free(&live);
    }
    target_end(pid);
}

static void test_xstate(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(known_content, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    live_process live;
    live_open(&live, pid);
    live.options.xstate = 1;
    REQUIRE_OK(live_prepare(&live), live.err);
    REQUIRE_OK(live_stop(&live), live.err);
    const mdc_snapshot *lists = live.source->ops->snapshot(live.source);
    REQUIRE((lists->system->xstate_size != 0) == (lists->threads[0].context_size > MDC_CONTEXT_SIZE));
    REQUIRE_OK(live_resume(&live), live.err);
    live_free(&live);
    target_end(pid);
}

/* Refused before anything is touched: code, text, pid. */
static void refuse(live_process *live, mdc_status expected, const char *text) {
    mdc_status status = live_prepare(live);
    if (status != expected || strstr(live->err.message, text) == NULL)
        printf("got %d: %s\nwanted %d: %s\n", (int)status, live->err.message, (int)expected, text);
    REQUIRE(status == expected && strstr(live->err.message, text) != NULL);
    REQUIRE(live->err.phase == MDC_PHASE_OPEN);
    live_free(live);
}

static void *tell_tid(void *argument) {
    target_shared *shared = argument;
    shared->words[0] = (uint64_t)syscall(SYS_gettid);
    return sleep_forever(argument);
}

static void with_thread(target_shared *shared) {
    start_threads(shared, 1, tell_tid);
    sleep_forever(shared);
}

static void ends_at_once(target_shared *shared) { atomic_store(&shared->ready, 1); }

static void test_refusals(void) {
    live_process live;
    char text[128];
    target_shared *shared = target_share();

    pid_t pid = target_start(ends_at_once, shared);
    WAIT_FOR(state_of(pid, pid) == 'Z');
    live_open(&live, pid);
    snprintf(text, sizeof text, "process %d is a zombie", (int)pid);
    refuse(&live, MDC_ERR_TARGET, text);
    int pidfd = pidfd_of(pid);
    REQUIRE(waitpid(pid, NULL, 0) == pid);
    live_open(&live, pid);
    refuse(&live, MDC_ERR_TARGET_GONE, "there is no process");
    live_open(&live, 0);
    live.options.pidfd = pidfd;
    refuse(&live, MDC_ERR_TARGET_GONE, "has ended");
    close(pidfd);

    live_open(&live, 0);
    refuse(&live, MDC_ERR_INVALID, "invalid pid");
    live_open(&live, -5);
    refuse(&live, MDC_ERR_INVALID, "invalid pid");
    live_open(&live, 0);
    live.options.pidfd = 0; /* standard input is open, but no pidfd */
    refuse(&live, MDC_ERR_INVALID, "descriptor 0");
    live_open(&live, 0);
    live.options.pidfd = 9999;
    refuse(&live, MDC_ERR_INVALID, "9999");
    live_open(&live, (int32_t)getpid());
    refuse(&live, MDC_ERR_TARGET, "cannot dump itself");

    live_open(&live, 2);
    if (access("/proc/2/stat", R_OK) == 0) refuse(&live, MDC_ERR_TARGET, "process 2 is a kernel thread");

    pid = target_start(with_thread, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 3);
    live_open(&live, (int32_t)shared->words[0]);
    snprintf(text, sizeof text, "is a thread of process %d: give the pid of the process", (int)pid);
    refuse(&live, MDC_ERR_TARGET, text);
    live_open(&live, pid);
    live.options.start_time = 1;
    refuse(&live, MDC_ERR_TARGET_GONE, "was reused");
    live_open(&live, pid + 1);
    live.options.pidfd = pidfd_of(pid);
    refuse(&live, MDC_ERR_INVALID, "refers to process");
    close(live.options.pidfd);
    target_end(pid);

    atomic_store(&shared->ready, 0);
    pthread_t own;
    REQUIRE(pthread_create(&own, NULL, tell_tid, shared) == 0);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    live_open(&live, (int32_t)shared->words[0]);
    refuse(&live, MDC_ERR_TARGET, "is a thread of this process");
}

/* The leader has ended, its threads have not: dumped through task/TID. */
static void leader_leaves(target_shared *shared) {
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(page, 0x5A, 4096);
    shared->words[0] = (uintptr_t)page;
    start_threads(shared, 3, beat_forever);
    pthread_exit(NULL);
}

static void test_dead_leader(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(leader_leaves, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 3);
    WAIT_FOR(state_of(pid, pid) == 'Z');
    live_process live;
    uint8_t buffer[4096];
    size_t done;
    int32_t os_errno;
    live_open(&live, pid);
    REQUIRE_OK(live_prepare(&live), live.err);
    REQUIRE_OK(live_stop(&live), live.err);
    const mdc_snapshot *lists = live.source->ops->snapshot(live.source);
    REQUIRE(lists->thread_count == 3 && lists->region_count > 10 && lists->module_count >= 1);
    REQUIRE_OK(live_read(&live, shared->words[0], 4096, buffer, &done, &os_errno), live.err);
    REQUIRE(done == 4096 && buffer[0] == 0x5A && buffer[4095] == 0x5A);
    REQUIRE_OK(live_resume(&live), live.err);
    REQUIRE(beats(shared));
    live_free(&live);
    target_end(pid);
}

/* The thread by which it was looked at ends between prepare and stop: another one takes its place. */
static void leader_leaves_on_request(target_shared *shared) {
    start_threads(shared, 2, beat_forever);
    while (!atomic_load(&shared->go)) sleep_us(100);
    pthread_exit(NULL);
}

static void test_leader_ends_before_the_stop(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(leader_leaves_on_request, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 2);
    live_process live;
    live_open(&live, pid);
    REQUIRE_OK(live_prepare(&live), live.err);
    atomic_store(&shared->go, 1);
    WAIT_FOR(state_of(pid, pid) == 'Z');
    REQUIRE_OK(live_stop(&live), live.err);
    const mdc_snapshot *lists = live.source->ops->snapshot(live.source);
    REQUIRE(lists->thread_count == 2 && lists->region_count > 10 && lists->module_count >= 1);
    REQUIRE_OK(live_resume(&live), live.err);
    REQUIRE(beats(shared));
    live_free(&live);
    target_end(pid);
}

/* What is read after the target was resumed or has died must not be used. */
static void test_reads_fail_after_the_stop(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(known_content, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    live_process live;
    uint8_t buffer[4096];
    size_t done;
    int32_t os_errno;

    live_open(&live, pid);
    live.options.max_stop_ns = 100000000;
    REQUIRE_OK(live_prepare(&live), live.err);
    REQUIRE_OK(live_stop(&live), live.err);
    REQUIRE_OK(live_read(&live, shared->words[0], 4096, buffer, &done, &os_errno), live.err);
    REQUIRE(beats(shared));
    REQUIRE(live_read(&live, shared->words[0], 4096, buffer, &done, &os_errno) == MDC_ERR_DEADLINE);
    REQUIRE(live.err.pid == pid);
    mdc_error_clear(&live.err);
    REQUIRE(live_resume(&live) == MDC_ERR_DEADLINE);
    live_free(&live);

    live_open(&live, pid);
    REQUIRE_OK(live_prepare(&live), live.err);
    REQUIRE_OK(live_stop(&live), live.err);
    kill(pid, SIGKILL);
    mdc_status status = MDC_OK;
    for (int i = 0; i < 5000 && status == MDC_OK; i++) {
        status = live_read(&live, shared->words[0], 4096, buffer, &done, &os_errno);
        REQUIRE(status != MDC_OK || done == 4096);
        if (status == MDC_OK) sleep_us(1000);
    }
    REQUIRE(status == MDC_ERR_TARGET_GONE && live.err.pid == pid);
    mdc_error_clear(&live.err);
    REQUIRE(live_resume(&live) == MDC_ERR_TARGET_GONE);
    live_free(&live);
    target_end(pid);
}

static void execs_itself(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    while (!atomic_load(&shared->go)) sleep_us(100);
    execl("/bin/sleep", "sleep", "600", (char *)NULL);
}

/* exec and exit between prepare and stop: the program that it has become is seen. */
static void test_exec_and_exit_before_the_stop(void) {
    target_shared *shared = target_share();
    live_process live;
    pid_t pid = target_start(execs_itself, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    live_open(&live, pid);
    REQUIRE_OK(live_prepare(&live), live.err);
    atomic_store(&shared->go, 1);
    REQUIRE(has_become(pid, "sleep"));
    REQUIRE_OK(live_stop(&live), live.err);
    REQUIRE(state_of(pid, pid) == 't');
    const mdc_snapshot *lists = live.source->ops->snapshot(live.source);
    REQUIRE(lists->module_count > 0 && lists->thread_count == 1);
    const mdc_name path = lists->modules[0].path;
    REQUIRE(path.size > 5 && memcmp((const char *)lists->pool + path.offset + path.size - 5, "sleep", 5) == 0);
    REQUIRE_OK(live_resume(&live), live.err);
    live_free(&live);

    live_open(&live, pid);
    REQUIRE_OK(live_prepare(&live), live.err);
    target_end(pid);
    REQUIRE(live_stop(&live) == MDC_ERR_TARGET_GONE && live.err.pid == pid);
    live_free(&live);
}

/* Nothing that fails on the way leaves the target standing. */
static void test_fail_points(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(known_content, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    static const char *const points[] = {"maps:list:1:5", "pagemap:scan:1:12", "stop:thread:3:1", "regs:thread:2:5",
                                         "spawn:tracer:1:11"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        live_process live;
        live_open(&live, pid);
        REQUIRE_OK(live_prepare(&live), live.err);
        mdc_failpoint_set(points[i]);
        mdc_status status = live_stop(&live);
        mdc_failpoint_set("");
        REQUIRE(i == 1 || (status != MDC_OK && live.err.pid == pid && live.err.message[0] != '\0'));
        if (status == MDC_OK) REQUIRE_OK(live_resume(&live), live.err);
        REQUIRE(beats(shared) && state_of(pid, pid) != 't');
        live_free(&live);
    }
    /* Memory runs out at any point. */
    int failed = 0;
    for (int n = 1; n < 400; n++) {
        char spec[32];
        live_process live;
        live_open(&live, pid);
        snprintf(spec, sizeof spec, "alloc:%d:12", n);
        mdc_failpoint_set(spec);
        live.source = mdc_live_new(&live.options, &live.err);
        mdc_status status =
            live.source == NULL ? live.err.code : live.source->ops->prepare(live.source, &live.control, &live.err);
        if (status == MDC_OK) status = live_stop(&live);
        mdc_failpoint_set("");
        if (status != MDC_OK && status != MDC_ERR_NOMEM) printf("%s: %d: %s\n", spec, (int)status, live.err.message);
        REQUIRE(status == MDC_OK || status == MDC_ERR_NOMEM);
        failed += status != MDC_OK;
        if (live.source != NULL) live_free(&live);
        REQUIRE(state_of(pid, pid) != 't');
        if (status == MDC_OK) break;
    }
    REQUIRE(failed > 5);
    REQUIRE(beats(shared));
    target_end(pid);
}

static void many(target_shared *shared) {
    start_threads(shared, 499, sleep_forever);
    beat_forever(shared);
}

static void test_many_threads(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(many, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 500);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        live_process live;
        live_open(&live, pid);
        REQUIRE_OK(live_prepare(&live), live.err);
        REQUIRE_OK(live_stop(&live), live.err);
        REQUIRE(live.source->ops->snapshot(live.source)->thread_count == 500);
        REQUIRE_OK(live_resume(&live), live.err);
        if (live.stop_time_ns < best) best = live.stop_time_ns;
        live_free(&live);
    }
    printf("500 threads, lists and all: frozen for %.2f ms\n", (double)best / 1e6);
    REQUIRE(beats(shared));
    target_end(pid);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"lists and reads", test_lists_and_reads},
                 {"xstate", test_xstate},
                 {"refusals", test_refusals},
                 {"dead leader", test_dead_leader},
                 {"leader ends before the stop", test_leader_ends_before_the_stop},
                 {"reads fail after the stop", test_reads_fail_after_the_stop},
                 {"exec and exit before the stop", test_exec_and_exit_before_the_stop},
                 {"fail points", test_fail_points},
                 {"many threads", test_many_threads}};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) continue;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
    }
    return 0;
}
