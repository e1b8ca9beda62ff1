/* The glob matcher against a plain recursive one, long pieces, folding, and patterns that are none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/filter/glob.h"
#include "check.h"

static uint64_t state = 0x9E3779B97F4A7C15u;
static unsigned roll(unsigned bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % bound;
}

static int lower(int c, int nocase) {
    if (!nocase) return c;
    if (c >= 'A' && c <= 'Z') return c + 32;
    return c == '\\' ? '/' : c;
}

/* Everything by the book, nothing fast: exponential, so only for short texts. */
static int slow(const uint8_t *p, size_t m, const uint8_t *t, size_t n, int nocase) {
    if (m == 0) return n == 0;
    if (*p == '*') return slow(p + 1, m - 1, t, n, nocase) || (n > 0 && slow(p, m, t + 1, n - 1, nocase));
    if (n == 0) return 0;
    if (*p == '?') return slow(p + 1, m - 1, t + 1, n - 1, nocase);
    if (*p != '[') return lower(*p, nocase) == lower(*t, nocase) && slow(p + 1, m - 1, t + 1, n - 1, nocase);
    size_t i = 1;
    int negated = 0, found = 0;
    if (p[i] == '!') {
        negated = 1;
        i++;
    }
    size_t begin = i;
    while (p[i] != ']' || i == begin) {
        int from = p[i], to = p[i];
        if (p[i + 1] == '-' && p[i + 2] != ']') {
            to = p[i + 2];
            i += 2;
        }
        for (int c = from; c <= to; c++)
            if (lower(c, nocase) == lower(*t, nocase)) found = 1;
        i++;
    }
    return found != negated && slow(p + i + 1, m - i - 1, t + 1, n - 1, nocase);
}

static int is(const char *pattern, const char *text, int nocase) {
    return mdc_glob_match((const uint8_t *)pattern, strlen(pattern), nocase, (const uint8_t *)text, strlen(text));
}

static void known(void) {
    REQUIRE(mdc_glob_least((const uint8_t *)"a*?[*]b**[]c]", 13) == 5 && mdc_glob_least(NULL, 0) == 0);
    REQUIRE(is("", "", 0) && !is("", "a", 0) && is("*", "", 0) && is("*", "/a/b", 0) && is("**", "x", 0));
    REQUIRE(is("*/libapp*.so*", "/usr/lib/libapp-1.so.3", 0));
    REQUIRE(!is("*/libapp*.so*", "/usr/lib/libapq-1.so.3", 0));
    REQUIRE(is("[[]stack]", "[stack]", 0) && !is("[stack]", "[stack]", 0) && is("[stack]", "k", 0));
    REQUIRE(is("[]a]", "]", 0) && is("[!]a]", "b", 0) && !is("[!]a]", "]", 0));
    REQUIRE(is("[a-]", "-", 0) && is("[-a]", "-", 0) && !is("[a-c]", "-", 0));
    REQUIRE(is("a*a", "aa", 0) && !is("a*a", "a", 0));
    REQUIRE(is("C:\\Windows\\*.DLL", "c:/windows/system32/kernel32.dll", 1));
    REQUIRE(!is("C:\\Windows\\*.DLL", "c:/windows/system32/kernel32.dll", 0));
    REQUIRE(is("[A-C]x", "bX", 1) && !is("[!A-C]x", "bX", 1) && is("[\\]x", "/x", 1));
    REQUIRE(is("\xff*[\x80-\xfe]", "\xffqq\x90", 0));
    const char *bad[] = {"[", "a[", "[!", "[]", "[!]", "[z-a]", "x[a-"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        REQUIRE(mdc_glob_check((const uint8_t *)bad[i], strlen(bad[i])) != NULL);
    static uint8_t longest[MDC_GLOB_PATTERN_MAX + 1];
    memset(longest, 'a', sizeof longest);
    REQUIRE(mdc_glob_check(longest, MDC_GLOB_PATTERN_MAX) == NULL);
    REQUIRE(mdc_glob_check(longest, sizeof longest) != NULL);
}

static void against_slow(void) {
    static const char *parts[] = {"*", "?", "a", "b", "A", "/", "\\", "[ab]", "[!ab]", "[a-b]", "[]a]", "[!-a]", "B"};
    static const uint8_t letters[] = "abAB/\\]-";
    unsigned matched = 0;
    for (int round = 0; round < 300000; round++) {
        char pattern[64] = "";
        uint8_t text[10];
        unsigned count = roll(7);
        for (unsigned i = 0; i < count; i++) strcat(pattern, parts[roll(sizeof parts / sizeof parts[0])]);
        size_t size = roll(sizeof text);
        for (size_t i = 0; i < size; i++) text[i] = letters[roll(sizeof letters - 1)];
        int nocase = (int)roll(2);
        REQUIRE(mdc_glob_check((uint8_t *)pattern, strlen(pattern)) == NULL);
        int expected = slow((uint8_t *)pattern, strlen(pattern), text, size, nocase);
        matched += (unsigned)expected;
        REQUIRE(!expected || size >= mdc_glob_least((uint8_t *)pattern, strlen(pattern)));
        if (mdc_glob_match((uint8_t *)pattern, strlen(pattern), nocase, text, size) != (expected != 0)) {
            fprintf(stderr, "pattern %s, text %.*s, nocase %d: expected %d\n", pattern, (int)size, (char *)text, nocase,
                    expected);
            exit(1);
        }
    }
    REQUIRE(matched > 10000 && matched < 290000);
}

/* Pieces of more than 64 elements take another way: a needle of that length in a haystack of near misses. */
static void long_pieces(void) {
    static uint8_t text[6000], pattern[1000];
    for (unsigned length = 60; length < 400; length += 7) {
        for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)"ab"[roll(16) == 0];
        size_t at = roll((unsigned)(sizeof text - length));
        size_t size = 0;
        pattern[size++] = '*';
        for (unsigned i = 0; i < length; i++) {
            static const char *any = "?";
            pattern[size++] = roll(5) == 0 ? (uint8_t)*any : text[at + i];
        }
        pattern[size++] = '*';
        pattern[size++] = text[sizeof text - 1];
        /* The end of the text is needed twice if the piece is there. */
        int expected = at + length < sizeof text;
        if (expected) REQUIRE(mdc_glob_match(pattern, size, false, text, sizeof text));
        pattern[1 + length / 2] = 'c';
        REQUIRE(!mdc_glob_match(pattern, size, false, text, sizeof text));
    }
}

/* The classic traps. Without linear time this test does not come back. */
static void traps(void) {
    static uint8_t text[MDC_GLOB_TEXT_MAX + 1], pattern[MDC_GLOB_PATTERN_MAX];
    memset(text, 'a', sizeof text);
    size_t size = 0;
    while (size + 2 < sizeof pattern) {
        pattern[size++] = '*';
        pattern[size++] = 'a';
    }
    pattern[size - 1] = 'b';
    REQUIRE(!mdc_glob_match(pattern, size, false, text, MDC_GLOB_TEXT_MAX));
    memset(pattern, 'a', sizeof pattern);
    pattern[0] = pattern[sizeof pattern - 1] = '*';
    pattern[sizeof pattern - 2] = 'b';
    REQUIRE(!mdc_glob_match(pattern, sizeof pattern, false, text, MDC_GLOB_TEXT_MAX));
    REQUIRE(is("*", "", 0) && mdc_glob_match((const uint8_t *)"*", 1, false, text, MDC_GLOB_TEXT_MAX));
    REQUIRE(!mdc_glob_match((const uint8_t *)"*", 1, false, text, MDC_GLOB_TEXT_MAX + 1));
}

int main(void) {
    known();
    against_slow();
    long_pieces();
    traps();
    return 0;
}
