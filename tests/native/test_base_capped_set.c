/* Sets that have a bound, against a table of addresses; and how often they sort, whatever comes. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/base/capped_set.h"
#include "../../csrc/base/failpoint.h"
#include "check.h"

enum { ADDRESSES = 4000, ROUNDS = 300, SIZE = 0x400 };

static uint32_t state = 12345;
static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}

static void one_round(void) {
    static bool has[ADDRESSES], found[ADDRESSES];
    const uint64_t most = draw(ADDRESSES);
    const uint32_t count = draw(2) == 0 ? draw(40) : draw(1000), longest = 1 + draw(draw(2) == 0 ? 4 : 200);
    uint64_t bytes = 0;
    bool full = false;
    mdc_capped_set set;
    mdc_error err = {0};
    memset(has, 0, sizeof has);
    memset(found, 0, sizeof found);
    mdc_capped_set_init(&set, most);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t first = draw(ADDRESSES - 200), more = 0;
        mdc_set_range range = {first, first + 1 + draw(longest)};
        CHECK(mdc_capped_set_add(&set, range, &err) == MDC_OK);
        for (uint64_t at = range.first; at < range.end; at++) more += !has[at];
        full |= bytes + more > most;
        if (full) continue;
        memset(has + range.first, 1, (size_t)(range.end - range.first));
        bytes += more;
    }
    CHECK(mdc_capped_set_finish(&set, &err) == MDC_OK && set.full == full);
    for (size_t i = 0; i < set.ranges.count; i++) {
        mdc_set_range range = mdc_vec_at(&set.ranges, const mdc_set_range, i);
        CHECK(range.first < range.end && range.end <= ADDRESSES);
        CHECK(i == 0 || range.first > mdc_vec_at(&set.ranges, const mdc_set_range, i - 1).end);
        memset(found + range.first, 1, (size_t)(range.end - range.first));
    }
    CHECK(memcmp(found, has, sizeof has) == 0);
    mdc_capped_set_fini(&set);
}

/* As many as nearly reach the bound; then the same again, or each some bytes further. */
static void test_near_the_bound(uint64_t step) {
    enum { APART = 20000, AGAIN = 20000 };
    mdc_capped_set set;
    mdc_error err = {0};
    mdc_capped_set_init(&set, (uint64_t)APART * SIZE + SIZE - 1);
    mdc_failpoint_set("ranges:sort:0:0"); /* only counted */
    for (uint64_t i = 0; i < APART; i++)
        CHECK(mdc_capped_set_add(&set, (mdc_set_range){i * 4096, i * 4096 + SIZE}, &err) == MDC_OK);
    for (uint64_t i = 0; i < AGAIN; i++)
        CHECK(mdc_capped_set_add(&set, (mdc_set_range){i * step, i * step + SIZE}, &err) == MDC_OK);
    CHECK(mdc_capped_set_finish(&set, &err) == MDC_OK);
    CHECK(mdc_failpoint_passes("ranges:sort") < 60); /* not once for each */
    mdc_failpoint_set("");
    CHECK(set.full == (step != 0) && set.ranges.count == APART);
    mdc_capped_set_fini(&set);
}

int main(void) {
    for (int i = 0; i < ROUNDS; i++) one_round();
    test_near_the_bound(0);
    test_near_the_bound(1);
    return failures == 0 ? 0 : 1;
}
