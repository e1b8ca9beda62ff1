/* Editing reads through the routine: patterns and words across reads of all sizes, with an engine that holds back and
 * with one that does not, against the plainest way to do it in one piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/callback.h"
#include "../../csrc/callback/redaction.h"
#include "check.h"

enum { ROOM = 4000, PATTERNS = 6 };
#define BASE UINT64_C(0x10000)
#define MODULE UINT64_C(0x400000)
#define MARKER UINT64_C(0x0defaced0defaced)

static uint32_t state = 99;
static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}

static MINIDUMP_CALLBACK_INPUT input;
static MINIDUMP_CALLBACK_OUTPUT output;

static int32_t call(mdc_callback *callback, uint32_t type) {
    const MINIDUMP_CALLBACK_INFORMATION *information = mdc_callback_information(callback);
    input.CallbackType = type;
    return information->CallbackRoutine(information->CallbackParam, &input, &output);
}

static int32_t start(mdc_callback *callback) {
    memset(&output, 0xCC, sizeof output);
    int32_t result = call(callback, MDC_CB_VM_START);
    for (size_t i = 4; i < sizeof output; i++) CHECK(((uint8_t *)&output)[i] == 0xCC);
    return result != 0 ? output.Status : -1;
}

static void show(mdc_callback *callback, uint64_t address, uint8_t *bytes, size_t size) {
    memset(&output, 0xCC, sizeof output);
    input.u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){address, bytes, (uint32_t)size + 3, (uint32_t)size, 0x1234};
    CHECK(call(callback, MDC_CB_VM_POST_READ) == 1);
    CHECK(output.VmRead.VmReadStatus == 0x1234 && output.VmRead.VmReadBytesCompleted == size);
    for (size_t i = 8; i < sizeof output; i++) CHECK(((uint8_t *)&output)[i] == 0xCC);
}

static void tell_thread(mdc_callback *callback, uint32_t type, uint64_t high, uint64_t low) {
    memset(&input, 0, sizeof input);
    input.u.Thread.ThreadId = 7;
    input.u.Thread.StackBase = high;
    input.u.Thread.StackEnd = low;
    output.ThreadWriteFlags = 0x17;
    CHECK(call(callback, type) == 1 && output.ThreadWriteFlags == 0x17);
}

static void tell_module(mdc_callback *callback, uint64_t base, uint32_t size) {
    static const uint16_t path[] = {'/', 'm', 0};
    memset(&input, 0, sizeof input);
    input.u.Module.FullPath = (void *)(uintptr_t)path;
    input.u.Module.BaseOfImage = base;
    input.u.Module.SizeOfImage = size;
    output.ModuleWriteFlags = 0x0D;
    CHECK(call(callback, MDC_CB_MODULE) == 1 && output.ModuleWriteFlags == 0x0D);
}

static mdc_callback *make(const mdc_filter_spec *given, const mdc_callback_options *options, uint64_t *hold) {
    mdc_filter_spec spec = *given;
    mdc_error err;
    spec.default_action = MDC_INCLUDE;
    spec.threads_default_keep = spec.modules_default_keep = UINT32_MAX;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    mdc_callback *callback = filter == NULL ? NULL : mdc_callback_new(filter, options, &err);
    if (callback == NULL) fprintf(stderr, "%s\n", err.message);
    if (hold != NULL) *hold = mdc_filter_hold(filter);
    mdc_filter_release(filter);
    return callback;
}

/* Plays an engine over [address, address + size) in pieces of random sizes. */
static void play(mdc_callback *callback, uint64_t address, uint8_t *bytes, size_t size, size_t hold) {
    static uint8_t window[2 * ROOM];
    size_t held = 0, at = 0;
    while (at < size) {
        size_t part = 1 + draw(draw(4) == 0 ? 9 : 300);
        if (part > size - at) part = size - at;
        memcpy(window + held, bytes + at, part);
        show(callback, address + at - held, window, held + part);
        size_t ready = held + part, keep = ready < hold ? ready : hold;
        memcpy(bytes + at - held, window, ready);
        at += part;
        memmove(window, window + ready - keep, keep);
        held = keep;
    }
}

static void one_round(bool with_hold, bool with_stack) {
    static uint8_t pool[PATTERNS * 40], text[ROOM], wanted[ROOM], got[ROOM];
    mdc_bytes patterns[PATTERNS];
    size_t size = 200 + draw(ROOM - 200), used = 0, count = 1 + draw(PATTERNS);
    bool top = draw(4) == 0; /* the reads end at 2**64 */
    uint64_t address = top ? 0 - (uint64_t)size : BASE + draw(9), hold;
    uint64_t low = address + 100 - draw(20), high = address + size - 1 - draw(90);
    for (size_t k = 0; k < count; k++) {
        patterns[k] = (mdc_bytes){pool + used, 4 + draw(30)};
        for (size_t i = 0; i < patterns[k].size; i++) pool[used++] = (uint8_t)('a' + draw(2));
    }
    for (size_t i = 0; i < size; i++) text[i] = (uint8_t)('a' + draw(3));
    for (int i = 0; i < 30; i++) { /* words that may stay, and some that hardly may not */
        const uint64_t words[] = {MODULE, MODULE + 0xFFF,  MODULE + 0x1000, MODULE - 1, 0,       4096,
                                  4097,   (uint64_t)-4096, (uint64_t)-4097, low,        low - 1, high - 1,
                                  high,   address};
        uint64_t word = words[draw(sizeof words / sizeof words[0])],
                 where = (address + 7 + draw((uint32_t)size - 20)) & ~7ull;
        memcpy(text + (where - address), &word, 8);
    }
    mdc_range range = {address + draw((uint32_t)size), 0};
    range.end = range.first + 1 + draw(40);
    if (range.end < range.first) range.end = 0;
    mdc_filter_spec spec = {
        .patterns = patterns, .pattern_count = count, .scrub = &range, .scrub_count = 1, .sanitize_stacks = with_stack};
    mdc_callback *callback = make(&spec, NULL, &hold);
    mdc_error err;
    if (callback == NULL) {
        failures++;
        return;
    }
    if (with_hold) CHECK(mdc_callback_set_host(callback, MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY, &err) == MDC_OK);
    CHECK(start(callback) == MDC_S_FALSE);
    tell_module(callback, MODULE, 0x1000);
    tell_thread(callback, MDC_CB_THREAD, high, low);

    memcpy(wanted, text, size);
    uint64_t scrubbed = 0, hits = 0, words = 0;
    for (size_t k = 0; k < count; k++) {
        bool twice = false;
        for (size_t j = 0; j < k; j++)
            twice = twice || (patterns[j].size == patterns[k].size &&
                              memcmp(patterns[j].data, patterns[k].data, patterns[k].size) == 0);
        for (size_t i = 0; i + patterns[k].size <= size && !twice; i++)
            if (memcmp(text + i, patterns[k].data, patterns[k].size) == 0) {
                memset(wanted + i, 'X', patterns[k].size);
                hits++;
            }
    }
    for (size_t i = 0; i < size; i++)
        if (address + i >= range.first && (range.end == 0 || address + i < range.end)) wanted[i] = 'X';
    for (size_t i = 0; i < size; i++) scrubbed += wanted[i] == 'X' && text[i] != 'X';
    if (with_stack) {
        static const uint8_t marker[8] = {0xED, 0xAC, 0xEF, 0x0D, 0xED, 0xAC, 0xEF, 0x0D};
        for (size_t at = 0, next; at < size; at = next) { /* word by word, the first and the last may be parts */
            uint64_t first = address + at;
            next = at + 8 - (size_t)(first & 7);
            bool whole = (first & 7) == 0 && next <= size;
            if (next > size) next = size;
            if (!(first >= low && first < high)) continue;
            uint64_t word = 0;
            if (whole) memcpy(&word, wanted + at, 8);
            bool stays =
                word + 4096 <= 8192 || (word >= MODULE && word < MODULE + 0x1000) || (word >= low && word < high);
            words += whole && !stays;
            for (size_t i = at; i < next && !(whole && stays); i++) wanted[i] = marker[(address + i) & 7];
        }
    }
    memcpy(got, text, size);
    size_t more = draw(3) == 0 ? draw(5) : 0; /* an engine may hold back more than it has to */
    play(callback, address, got, size, with_hold ? (size_t)hold + more : 0);
    if (with_hold) {
        for (size_t i = 0; i < size; i++)
            if (got[i] != wanted[i] && !(more > 0 && got[i] == 'X' && wanted[i] != text[i])) {
                fprintf(stderr, "byte %zu of %zu at 0x%llx: %02x, not %02x (was %02x)\n", i, size,
                        (unsigned long long)address, got[i], wanted[i], text[i]);
                failures++;
                break;
            }
        mdc_callback_counters counters = mdc_callback_read_counters(callback);
        CHECK(counters.uncovered_borders == 0 && counters.scrubbed_hits == hits);
        CHECK((counters.scrubbed_bytes >= scrubbed || with_stack) && (counters.sanitized_words == words || more > 0));
    } else {
        CHECK(mdc_callback_read_counters(callback).uncovered_borders > 0 || size <= 300);
    }
    CHECK(mdc_callback_check(callback, &err) == MDC_OK);
    CHECK(mdc_callback_reset(callback, &err) == MDC_OK);
    CHECK(mdc_callback_read_counters(callback).scrubbed_hits == 0);
    CHECK(mdc_callback_free(callback, &err) == MDC_OK);
}

/* Without hold-back: what lies within one read is found, what lies across is counted as uncovered. */
static void test_foreign_engine(void) {
    const mdc_bytes pattern = {(const uint8_t *)"password", 8};
    mdc_filter_spec spec = {.patterns = &pattern, .pattern_count = 1};
    mdc_callback *callback = make(&spec, NULL, NULL);
    uint8_t bytes[32] = "xxpasswordxxpasswordxxpassword";
    mdc_error err;
    CHECK(start(callback) == MDC_S_FALSE);
    CHECK(call(callback, MDC_CB_VM_QUERY) == 0 && call(callback, MDC_CB_VM_PRE_READ) == 0);
    show(callback, BASE, bytes, 15);
    show(callback, BASE + 15, bytes + 15, 10);
    show(callback, BASE + 4096, bytes + 25, 5);
    CHECK(memcmp(bytes, "xxXXXXXXXXxxpasswordxxpassword", 30) == 0);
    mdc_callback_counters counters = mdc_callback_read_counters(callback);
    CHECK(counters.uncovered_borders == 1 && counters.scrubbed_hits == 1 && counters.scrubbed_bytes == 8);
    /* Nothing to edit: an empty read, no buffer. */
    show(callback, BASE, bytes, 0);
    show(callback, BASE, NULL, 0);
    uint8_t name[] = "my password";
    mdc_callback_edit(callback, 0, name, 11, true);
    CHECK(memcmp(name, "my XXXXXXXX", 11) == 0 && mdc_callback_read_counters(callback).scrubbed_hits == 2);
    CHECK(mdc_callback_free(callback, &err) == MDC_OK);
}

/* Reads at the end of the address space: up to its last byte, and (no sound engine does that) beyond it. */
static void test_last_bytes(void) {
    const mdc_bytes pattern = {(const uint8_t *)"secret", 6};
    const mdc_range range = {UINT64_MAX - 3, 0};
    mdc_filter_spec spec = {.patterns = &pattern, .pattern_count = 1, .scrub = &range, .scrub_count = 1};
    mdc_error err;
    for (uint64_t before = 16; before > 14; before--) { /* bytes from the beginning of the read to 2**64 */
        mdc_callback *callback = make(&spec, NULL, NULL);
        uint8_t bytes[17] = "xxsecretxxxxabcd";
        CHECK(start(callback) == MDC_S_FALSE);
        show(callback, 0 - before, bytes, 16);
        CHECK(memcmp(bytes, before == 16 ? "xxXXXXXXxxxxXXXX" : "xxXXXXXXxxxXXXXd", 16) == 0);
        uint8_t bottom[5] = "next"; /* never after 2**64 */
        show(callback, 0, bottom, 4);
        CHECK(mdc_callback_read_counters(callback).uncovered_borders == 0);
        uint8_t edited[17] = "xxsecretxxxxabcd";
        mdc_callback_edit(callback, 0 - before, edited, 16, true);
        CHECK(memcmp(bytes, edited, 16) == 0);
        CHECK(mdc_callback_free(callback, &err) == MDC_OK);
    }
}

static int32_t no_hook(void *context, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)context;
    (void)in;
    (void)out;
    return 0;
}

static void test_limits(void) {
    mdc_filter_spec spec = {.sanitize_stacks = 1}, nothing = {.sanitize_stacks = 0};
    mdc_error err;
    mdc_callback_options options = {.hook_types = 1u << MDC_CB_VM_POST_READ, .hook = no_hook};
    CHECK(make(&spec, &options, NULL) == NULL); /* a hook would undo it */
    mdc_callback *callback = make(&nothing, &options, NULL);
    CHECK(callback != NULL && start(callback) == MDC_S_OK && call(callback, MDC_CB_VM_POST_READ) == 0);
    CHECK(mdc_callback_free(callback, &err) == MDC_OK);

    options = (mdc_callback_options){.module_capacity = 2, .stack_capacity = 3};
    for (int which = 0; which < 3; which++) {
        callback = make(&spec, &options, NULL);
        (void)start(callback);
        for (uint32_t i = 0; i < 2; i++) tell_module(callback, MODULE + i * 0x1000, 0x1000);
        for (uint32_t i = 0; i < 3; i++)
            tell_thread(callback, i == 2 ? MDC_CB_THREAD_EX : MDC_CB_THREAD, BASE + i * 0x1000, BASE + i * 0x1000 + 64);
        tell_thread(callback, MDC_CB_THREAD, 0, 0); /* no stack needs no room */
        CHECK(mdc_callback_check(callback, &err) == MDC_OK);
        if (which == 1) tell_module(callback, MODULE + 0x5000, 0x1000);
        if (which == 2) tell_thread(callback, MDC_CB_THREAD, BASE + 0x9000, BASE + 0x9040);
        CHECK(mdc_callback_check(callback, &err) == (which == 0 ? MDC_OK : MDC_ERR_CALLBACK));
        uint64_t word = 0x123456789abcdef0; /* the ends of the address space */
        show(callback, BASE + 64, (uint8_t *)&word, 8);
        CHECK(word == 0x123456789abcdef0);
        show(callback, BASE + 8, (uint8_t *)&word, 8);
        CHECK(word == MARKER);
        CHECK(mdc_callback_free(callback, &err) == MDC_OK);
    }
    callback = make(&spec, NULL, NULL);
    (void)start(callback);
    tell_thread(callback, MDC_CB_THREAD, UINT64_MAX, UINT64_MAX - 100);
    uint8_t top[12] = "abcdefghijk";
    show(callback, UINT64_MAX - 12, top, 12);
    show(callback, UINT64_MAX - 5, top, 5);
    show(callback, UINT64_MAX - 4, top, 3);
    CHECK(memcmp(top, "abc", 3) != 0);
    CHECK(mdc_callback_free(callback, &err) == MDC_OK);
}

#if defined(__x86_64__) || defined(_M_X64)
/* The input of an engine built with GCC for x64: 1296 bytes and not one more, Context at 12 in the member. */
static void test_layouts(void) {
    mdc_filter_spec spec = {.sanitize_stacks = 1};
    mdc_error err;
    for (uint32_t type = MDC_CB_THREAD; type <= MDC_CB_THREAD_EX; type++)
        for (uint32_t lower = 0; lower <= 4; lower += 4) {
            mdc_callback *callback = make(&spec, NULL, NULL);
            (void)start(callback);
            size_t room = lower != 0 ? 1296 : sizeof input;
            uint8_t *own = malloc(room), *member = own + 16;
            memset(own, 0xEE, room);
            const uint32_t id = 7, size = MDC_CONTEXT_SIZE;
            const uint64_t bounds[] = {BASE + 0x1000, BASE}, backing[] = {MODULE, MODULE + 0x1000};
            memcpy(own + 12, &type, sizeof type);
            memcpy(member, &id, sizeof id);
            memcpy(member + 1248 - lower, &size, sizeof size);
            memcpy(member + 1252 - lower, bounds, sizeof bounds);
            if (type == MDC_CB_THREAD_EX) memcpy(member + 1268 - lower, backing, sizeof backing);
            output.ThreadWriteFlags = 0x17;
            const MINIDUMP_CALLBACK_INFORMATION *information = mdc_callback_information(callback);
            CHECK(information->CallbackRoutine(callback, (MINIDUMP_CALLBACK_INPUT *)(void *)own, &output) == 1);
            CHECK(output.ThreadWriteFlags == 0x17);
            free(own);
            uint64_t words[] = {0x123456789abcdef0, 0x123456789abcdef0, 0x123456789abcdef0};
            show(callback, BASE - 8, (uint8_t *)words, 16);
            CHECK(words[0] == 0x123456789abcdef0 && words[1] == MARKER);
            show(callback, BASE + 0xFF8, (uint8_t *)(words + 1), 16);
            CHECK(words[1] == MARKER && words[2] == 0x123456789abcdef0);
            CHECK(mdc_callback_check(callback, &err) == MDC_OK && mdc_callback_free(callback, &err) == MDC_OK);
        }
}
#else
static void test_layouts(void) {} /* one layout */
#endif

static int32_t release_inside(void *context, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    mdc_callback **callback = context;
    (void)in;
    (void)out;
    mdc_callback_release(*callback);
    return 1;
}

/* Values that were learned for a dump whose engine was still inside at its end are not searched for in the next one. */
static void test_values_of_the_last_dump(void) {
    const mdc_bytes globs = {(const uint8_t *)"A*", 2}, value = {(const uint8_t *)"swordfish", 9};
    const mdc_filter_spec spec = {.environ_drop = &globs, .environ_drop_count = 1, .values_everywhere = 1};
    for (int acquired = 0; acquired < 2; acquired++) {
        mdc_callback *callback = NULL;
        mdc_error err;
        const mdc_callback_options options = {
            .hook_types = 1u << MDC_CB_IO_START, .hook = release_inside, .hook_context = &callback};
        callback = make(&spec, &options, NULL);
        CHECK(callback != NULL && mdc_callback_acquire(callback, &err) == MDC_OK);
        CHECK(mdc_callback_learn(callback, &value, 1, &err) == MDC_OK);
        uint8_t bytes[] = "a swordfish";
        show(callback, BASE, bytes, sizeof bytes);
        CHECK(memchr(bytes, 'w', sizeof bytes) == NULL);
        CHECK(call(callback, MDC_CB_IO_START) == 1);
        CHECK((acquired ? mdc_callback_acquire(callback, &err) : mdc_callback_set_host(callback, 0, &err)) == MDC_OK);
        uint8_t again[] = "a swordfish";
        show(callback, BASE + 0x1000, again, sizeof again);
        CHECK(memcmp(again, "a swordfish", sizeof again) == 0);
        if (acquired) mdc_callback_release(callback);
        CHECK(mdc_callback_free(callback, &err) == MDC_OK);
    }
}

int main(void) {
    test_values_of_the_last_dump();
    test_layouts();
    for (int i = 0; i < 1500 && failures < 10; i++) one_round(i % 4 != 3, i % 2 != 0);
    test_foreign_engine();
    test_last_bytes();
    test_limits();
    return failures != 0;
}
