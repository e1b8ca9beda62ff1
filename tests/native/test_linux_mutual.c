/* Processes that dump each other, in rings of two and of three, in the same instant: every stop ends, well or as busy,
 * whichever kind of tracer does it. */
#include "linux_hold.h"

enum { ROUNDS = 60, LIMIT_S = 100 };

typedef struct ring {
    _Atomic uint32_t arrived;
    _Atomic uint32_t well, busy, first;
    _Atomic int32_t pids[3];
    _Atomic int over;
} ring;

static void meet(ring *ring, uint32_t round, uint32_t count) {
    atomic_fetch_add(&ring->arrived, 1);
    while (atomic_load(&ring->arrived) < round * count) sched_yield();
}

static void dump_next(ring *ring, uint32_t self, uint32_t count, const char *spec) {
    alarm(LIMIT_S);
    while (atomic_load(&ring->pids[count - 1]) == 0) sleep_us(100);
    pid_t next = (pid_t)atomic_load(&ring->pids[(self + 1) % count]);
    mdc_failpoint_set(spec);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        held_process held;
        hold_new(&held, next, 0);
        meet(ring, round, count);
        sleep_us((long)((round * 7 + self * 3) % 5 * 40)); /* together, and a little apart */
        mdc_status status = hold_stop(&held);
        if (status != MDC_ERR_TARGET_BUSY) REQUIRE_OK(status, held.err);
        if (status == MDC_OK) {
            sleep_us(300);
            status = mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err);
            /* Stopped threads of ours send us SIGCHLD where our thread traces; one that is seized waits with it for its
             * tracer, which may be stopped right then. Our tracer, with all signals blocked, notices. */
            if (*spec == '\0' || status != MDC_ERR_TARGET_BUSY) REQUIRE_OK(status, held.err);
        }
        atomic_fetch_add(status == MDC_OK ? &ring->well : &ring->busy, 1);
        atomic_fetch_add(&ring->first, mdc_tracer_goes_first(held.tracer));
        hold_free(&held);
    }
    meet(ring, ROUNDS + 1, count); /* none ends while another still dumps it */
    _exit(0);
}

/* How often one was busy. */
static uint32_t one_ring(uint32_t count, const char *spec) {
    ring *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    fflush(stdout);
    for (uint32_t i = 0; i < count; i++) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            dump_next(shared, i, count, spec);
        }
        atomic_store(&shared->pids[i], (int32_t)pid);
    }
    for (uint32_t i = 0; i < count; i++) {
        int status;
        REQUIRE(wait(&status) > 0);
        if (status != 0) printf("status %#x\n", (unsigned)status);
        REQUIRE(status == 0);
    }
    uint32_t well = atomic_load(&shared->well), busy = atomic_load(&shared->busy);
    printf("ring of %u%s: %u well, %u busy, of them %u may try again\n", count, *spec != '\0' ? " by threads" : "",
           well, busy, atomic_load(&shared->first));
    REQUIRE(well + busy == count * ROUNDS && well > ROUNDS / 4);
    munmap(shared, sizeof *shared);
    return busy;
}

/* Whether they meet at all is up to the scheduler. */
static void test_ring(uint32_t count, const char *spec) {
    uint32_t busy = 0;
    for (int turn = 0; turn < 20 && busy == 0; turn++) busy = one_ring(count, spec);
    REQUIRE(busy > 0);
}

int main(void) {
    alarm(LIMIT_S);
    test_ring(2, "");
    test_ring(3, "");
    test_ring(2, "spawn:clone_vm:0:11");
    test_ring(3, "spawn:clone_vm:0:11");
    return 0;
}
