/* What the test programs say of a condition that does not hold, and how they end: `return failures != 0`. */
#ifndef MDC_TESTS_CHECK_H
#define MDC_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

static int failures;
static int check_round; /* shown with it where a test goes through many made-up cases; 0: there is one only */

static inline void check_failed(const char *file, int line, const char *condition) {
    failures++;
    if (check_round != 0)
        fprintf(stderr, "%s:%d: %s (round %d)\n", file, line, condition, check_round);
    else
        fprintf(stderr, "%s:%d: %s\n", file, line, condition);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition);                                                \
    } while (0)

/* Where nothing can go on without it, also in a child process: ends the program. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            check_failed(__FILE__, __LINE__, #condition);                                                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
