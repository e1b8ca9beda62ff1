/* Sets of ranges against a table of bits, one for each address. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/base/range_set.h"
#include "check.h"

enum { ADDRESSES = 200, ROUNDS = 3000 };

typedef struct bits {
    bool has[ADDRESSES];
} bits;

static uint64_t next_random(uint64_t *state) {
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = (*state ^ *state >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Ranges in any order, which may overlap, touch and be the same; sometimes none. */
static bits make(mdc_vec *set, uint64_t *state) {
    bits model;
    mdc_error err = {0};
    memset(&model, 0, sizeof model);
    mdc_range_set_init(set);
    uint64_t count = next_random(state) % 20, longest = 1 + next_random(state) % 30;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = next_random(state) % (ADDRESSES - 31), size = 1 + next_random(state) % longest;
        mdc_set_range range = {first, first + size};
        for (uint64_t at = range.first; at < range.end; at++) model.has[at] = true;
        CHECK(mdc_vec_push(set, &range, 1, NULL, &err) == MDC_OK);
    }
    mdc_range_set_normalise(set);
    return model;
}

static void expect(const mdc_vec *set, const bits *model) {
    bits found;
    memset(&found, 0, sizeof found);
    uint64_t reached = 0;
    for (size_t i = 0; i < set->count; i++) {
        mdc_set_range range = mdc_vec_at(set, const mdc_set_range, i);
        CHECK(range.first < range.end && range.end <= ADDRESSES);
        if (i > 0) CHECK(range.first > reached);
        for (uint64_t at = range.first; at < range.end && at < ADDRESSES; at++) found.has[at] = true;
        reached = range.end;
    }
    CHECK(memcmp(&found, model, sizeof found) == 0);
}

static void test_questions(const mdc_vec *set, const bits *model) {
    for (uint64_t first = 0; first < ADDRESSES; first++) {
        size_t at = 0;
        while (at < set->count && mdc_vec_at(set, const mdc_set_range, at).end <= first) at++;
        CHECK(mdc_range_set_find(set, first) == at);
        bool any = false;
        for (uint64_t end = first; end <= ADDRESSES; end++) {
            if (end > first) any = any || model->has[end - 1];
            if (end > first) CHECK(mdc_range_set_touches(set, first, end) == any);
        }
    }
}

int main(void) {
    uint64_t state = 1;
    for (int round = 0; round < ROUNDS; round++) {
        mdc_vec a, b, out;
        mdc_error err = {0};
        bits in_a = make(&a, &state), in_b = make(&b, &state);
        expect(&a, &in_a);
        mdc_range_set_init(&out);
        CHECK(mdc_range_set_subtract(&out, &a, &b, &err) == MDC_OK);
        bits left = in_a;
        for (size_t at = 0; at < ADDRESSES; at++) left.has[at] = in_a.has[at] && !in_b.has[at];
        expect(&out, &left);
        if (round % 100 == 0) test_questions(&a, &in_a);
        mdc_vec_fini(&a);
        mdc_vec_fini(&b);
        mdc_vec_fini(&out);
    }
    return failures == 0 ? 0 : 1;
}
