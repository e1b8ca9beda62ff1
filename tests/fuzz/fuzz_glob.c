/* libFuzzer: globs against a matcher that tries everything. */
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/filter/glob.h"
#include "spec.h"

enum { TRIES = 20000 };

typedef struct span {
    const uint8_t *data;
    size_t size;
} span;

static bool nocase;
static long tries;

static span tail(span of, size_t from) { return (span){of.data + from, of.size - from}; }

static uint8_t folded(uint8_t letter) {
    if (!nocase) return letter;
    if (letter >= 'A' && letter <= 'Z') return (uint8_t)(letter + 32);
    return letter == '\\' ? '/' : letter;
}

/* Where the set that begins at the front ends. */
static size_t set_end(span pattern) {
    size_t at = 1;
    if (at < pattern.size && pattern.data[at] == '!') at++;
    if (at < pattern.size && pattern.data[at] == ']') at++;
    while (at < pattern.size && pattern.data[at] != ']') at++;
    return at;
}

static bool in_set(span members, uint8_t letter) {
    bool not_these = members.size > 0 && members.data[0] == '!', found = false;
    for (size_t at = not_these; at < members.size; at++) {
        uint8_t first = members.data[at], last = first;
        if (at + 2 < members.size && members.data[at + 1] == '-') {
            last = members.data[at + 2];
            at += 2;
        }
        for (unsigned member = first; member <= last; member++) found |= folded((uint8_t)member) == folded(letter);
    }
    return found != not_these;
}

static bool matches(span pattern, span text) {
    if (--tries < 0) return false;
    if (pattern.size == 0) return text.size == 0;
    uint8_t head = pattern.data[0];
    if (head == '*') {
        for (size_t skip = 0; skip <= text.size; skip++)
            if (matches(tail(pattern, 1), tail(text, skip))) return true;
        return false;
    }
    if (text.size == 0) return false;
    if (head == '[') {
        size_t end = set_end(pattern);
        return in_set((span){pattern.data + 1, end - 1}, text.data[0]) &&
               matches(tail(pattern, end + 1), tail(text, 1));
    }
    return (head == '?' || folded(head) == folded(text.data[0])) && matches(tail(pattern, 1), tail(text, 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_spec made;
    bytes_in in = {data, size};
    made.used = 0;
    nocase = take8(&in) & 1;
    mdc_bytes pattern = take_text(&in, &made, 100), text = take_text(&in, &made, 30);
    if (mdc_glob_check(pattern.data, pattern.size) != NULL) return 0;
    bool got = mdc_glob_match(pattern.data, pattern.size, nocase, text.data, text.size);
    tries = TRIES;
    bool wanted = matches((span){pattern.data, pattern.size}, (span){text.data, text.size});
    if (tries < 0 || got == wanted) return 0;
    fprintf(stderr, "pattern '%.*s' text '%.*s' nocase %d: %d, not %d\n", (int)pattern.size, (const char *)pattern.data,
            (int)text.size, (const char *)text.data, nocase, got, wanted);
    abort();
}
