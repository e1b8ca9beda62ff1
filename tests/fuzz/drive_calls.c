/* The same engine from random bytes: drive_calls SEED CALLS [SECONDS]. Prints what was judged; aborts at a fault. */
#include <time.h>

#include "calls.h"

static uint64_t state;

static uint64_t roll(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

int main(int count, char **arguments) {
    static uint8_t bytes[16384];
    fuzz_counts counts = {0, 0, 0, 0};
    if (count < 3) return 2;
    uint64_t seed = strtoull(arguments[1], NULL, 10), calls = strtoull(arguments[2], NULL, 10), runs = 0;
    time_t end = count > 3 ? time(NULL) + atoi(arguments[3]) : 0;
    state = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    for (; counts.calls < calls && (end == 0 || time(NULL) < end); runs++) {
        size_t size = 200 + roll() % (sizeof bytes - 200);
        bool low = roll() & 1; /* short numbers, most of them */
        for (size_t i = 0; i < size; i += 8) {
            uint64_t eight = roll();
            if (low) eight &= UINT64_C(0x3F3F3F3F3F3F3F3F);
            memcpy(bytes + i, &eight, sizeof eight);
        }
        bytes_in in = {bytes, size};
        play_engine(&in, &counts);
    }
    printf("seed %" PRIu64 ": %" PRIu64 " runs, %" PRIu64 " callbacks, %" PRIu64 " answers and %" PRIu64
           " reads judged, %" PRIu64 " hidden bytes\n",
           seed, runs, counts.calls, counts.answers, counts.reads, counts.hidden);
    return 0;
}
