/* Hidden variables: whatever part of the environment is read, and however, hidden values are not in it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/dump_control.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/source/sanitized_source.h"
#include "check.h"

#define BASE UINT64_C(0x7FFC00000F80) /* the block crosses a page: 128 bytes before its end */
static const char block[] =
    "PATH=/bin\0API_KEY=first secret\0EMPTY=\0API_EMPTY=\0NOT_AN_ASSIGNMENT\0API_LONG="
    "0123456789012345678901234567890123456789012345678901234567890123456789\0LAST=x\0API_END=open";
enum { SIZE = sizeof block - 1 };

/* A source that holds the block alone, whose second page may be unreadable. */
typedef struct stub {
    mdc_source source;
    mdc_snapshot lists;
    mdc_text text;
    const char *data; /* at BASE */
    uint64_t size;
    bool stopped, freed, second_unreadable;
} stub;

static mdc_status stub_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    (void)control;
    (void)err;
    source->pid = 77;
    return MDC_OK;
}
static mdc_status stub_stop(mdc_source *source, mdc_error *err) {
    (void)err;
    ((stub *)source)->stopped = true;
    return MDC_OK;
}
static const mdc_snapshot *stub_lists(const mdc_source *source) { return &((const stub *)source)->lists; }
static size_t stub_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    (void)source;
    (void)region;
    (void)room;
    runs[0] = (mdc_content){first, end, MDC_CONTENT_UNTOUCHED, 0};
    *next = end;
    return 1;
}
static mdc_status stub_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    const stub *self = (const stub *)source;
    (void)err;
    *done = 0;
    *os_errno = 0;
    for (size_t s = 0; s < span_count; s++)
        for (uint64_t i = 0; i < spans[s].size; i++) {
            uint64_t at = spans[s].address + i;
            if (self->second_unreadable && at >= 0x7FFC00001000 && at < 0x7FFC00002000) {
                *os_errno = EIO;
                return MDC_OK;
            }
            *buffer++ = at - BASE < self->size ? (uint8_t)self->data[at - BASE] : '.';
            ++*done;
        }
    return MDC_OK;
}
static mdc_status stub_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    (void)err;
    *stop_time_ns = 5;
    ((stub *)source)->stopped = false;
    return MDC_OK;
}
static void stub_free(mdc_source *source) { ((stub *)source)->freed = true; }

static const mdc_source_ops stub_ops = {stub_prepare, stub_stop, stub_lists, stub_content, stub_read,
                                        stub_resume,  stub_free, NULL,       NULL};

static bool hides_api(const void *context, const uint8_t *name, size_t size) {
    return (size >= 4 && memcmp(name, "API_", 4) == 0) ||
           (context != NULL && size == 17 && memcmp(name, "NOT_AN_ASSIGNMENT", 17) == 0);
}

static stub make_stub(void) {
    stub made = {.source = {.ops = &stub_ops}, .data = block, .size = SIZE};
    made.text = (mdc_text){.stream = MDC_STREAM_ENVIRON, .address = BASE, .size = SIZE};
    made.lists.text_count = 1;
    return made;
}

static mdc_source *hiding(stub *inner, uint32_t streams, mdc_hides hides, const void *context) {
    mdc_error err;
    mdc_error_clear(&err);
    const mdc_hiding what = {.streams = streams, .hides = hides, .context = context, .fill = 'X'};
    return mdc_sanitized_source_new(&inner->source, &what, &err);
}

static char wanted(uint64_t at, bool whole_too) {
    static const char *const secrets[] = {"first secret", "01234567890123", "open"};
    if (at - BASE >= SIZE) return '.';
    const char *p = block + (at - BASE);
    for (size_t i = 0; i < 3; i++) {
        const char *value = NULL; /* the whole value this byte is part of */
        const char *start = p;
        while (start > block && start[-1] != 0 && start[-1] != '=') start--;
        value = start;
        if (start > block && start[-1] == '=' && strncmp(value, secrets[i], strlen(secrets[i])) == 0 && *p != 0)
            return 'X';
    }
    const char *word = strstr(block + 50, "NOT_AN_ASSIGNMENT");
    if (word == NULL)
        for (size_t i = 0; i + 17 < SIZE && word == NULL; i++)
            if (memcmp(block + i, "NOT_AN_ASSIGNMENT", 17) == 0) word = block + i;
    if (whole_too && p >= word && p < word + 17) return 'X';
    return *p;
}

static void test_reads(bool whole_too) {
    mdc_error err;
    mdc_error_clear(&err);
    stub inner = make_stub();
    inner.lists.texts = &inner.text;
    mdc_source *sanitized = hiding(&inner, 0, hides_api, whole_too ? &inner : NULL);
    CHECK(sanitized != NULL && sanitized->ops->prepare(sanitized, NULL, &err) == MDC_OK && sanitized->pid == 77);
    CHECK(sanitized->ops->stop(sanitized, &err) == MDC_OK && inner.stopped);
    CHECK(mdc_sanitized_source_count(sanitized) == 4 + (uint64_t)whole_too &&
          sanitized->ops->snapshot(sanitized) == &inner.lists);
    for (uint64_t first = BASE - 5; first < BASE + SIZE + 5; first++)
        for (uint64_t size = 1; first + size <= BASE + SIZE + 5; size += 1 + size / 7) {
            uint8_t bytes[512] = {0};
            mdc_span spans[2] = {{first, size}, {BASE + 20, 8}};
            size_t done;
            int32_t os_errno;
            CHECK(sanitized->ops->read(sanitized, spans, 2, bytes, &done, &os_errno, &err) == MDC_OK &&
                  done == size + 8);
            for (uint64_t i = 0; i < size; i++) CHECK(bytes[i] == (uint8_t)wanted(first + i, whole_too));
            for (uint64_t i = 0; i < 8; i++) CHECK(bytes[size + i] == (uint8_t)wanted(BASE + 20 + i, whole_too));
        }
    uint64_t frozen = 0, next;
    mdc_content run;
    CHECK(sanitized->ops->content(sanitized, 0, 4096, 8192, &run, 1, &next) == 1 && next == 8192);
    CHECK(sanitized->ops->resume(sanitized, &frozen, &err) == MDC_OK && frozen == 5 && !inner.stopped);
    sanitized->ops->free(sanitized);
    CHECK(inner.freed);
}

/* What could not be read when names were looked at may be readable later: it is hidden, and so is the end of the string
 * it breaks. */
static void test_unreadable(void) {
    static char data[5000], bytes[sizeof data];
    mdc_error err;
    mdc_error_clear(&err);
    strcpy(data, "PATH=/bin"); /* then NULs, then a value over the whole second page and a part of the third */
    memset(data + 100, 'z', 4400);
    memcpy(data + 100, "LONG=", 5);
    strcpy(data + 4501, "AFTER=1");
    stub inner = make_stub();
    inner.lists.texts = &inner.text;
    inner.data = data;
    inner.size = inner.text.size = sizeof data;
    inner.second_unreadable = true;
    mdc_source *sanitized = hiding(&inner, 0, hides_api, NULL);
    CHECK(sanitized != NULL && sanitized->ops->stop(sanitized, &err) == MDC_OK);
    inner.second_unreadable = false;
    mdc_span span = {BASE, sizeof data};
    size_t done;
    int32_t os_errno;
    CHECK(sanitized->ops->read(sanitized, &span, 1, (uint8_t *)bytes, &done, &os_errno, &err) == MDC_OK &&
          done == sizeof data);
    for (size_t i = 0; i < sizeof data; i++) CHECK(bytes[i] == (i >= 128 && i < 4500 ? 'X' : data[i]));
    sanitized->ops->free(sanitized);
}

/* A text that cannot be is an error, and nothing stays stopped; without an environment nothing is hidden. */
static void test_odd_texts(void) {
    mdc_error err;
    const struct {
        uint64_t address, size;
        bool fine;
    } rows[] = {{UINT64_MAX - 3, 8, false}, {BASE, UINT64_C(1) << 40, false}, {0, 0, true}};
    for (size_t i = 0; i < 3; i++) {
        stub inner = make_stub();
        inner.lists.texts = &inner.text;
        inner.text.address = rows[i].address;
        inner.text.size = rows[i].size;
        mdc_error_clear(&err);
        mdc_source *sanitized = hiding(&inner, 0, hides_api, NULL);
        CHECK(sanitized != NULL);
        mdc_status status = sanitized->ops->stop(sanitized, &err);
        CHECK((status == MDC_OK) == rows[i].fine && inner.stopped == rows[i].fine &&
              mdc_sanitized_source_count(sanitized) == 0);
        sanitized->ops->free(sanitized);
    }
}

/* Whole texts, and what a source knows of copies: also where they overlap, touch, or are in another order. */
static void test_whole_texts(void) {
    for (int which = 0; which < 4; which++) {
        mdc_error err;
        mdc_error_clear(&err);
        const uint32_t streams =
            (which & 1 ? (uint32_t)MDC_STREAM_ENVIRON : 0) | (which & 2 ? (uint32_t)MDC_STREAM_CMDLINE : 0);
        stub inner = make_stub();
        inner.lists.texts = &inner.text;
        inner.text.address = BASE + 10;
        inner.text.size = 20;
        const mdc_copy copies[] = {{MDC_STREAM_CMDLINE, 0, {BASE + 60, 5}},
                                   {MDC_STREAM_ENVIRON, 0, {BASE + 25, 10}},
                                   {MDC_STREAM_CMDLINE, 0, {BASE + 35, 5}},
                                   {MDC_STREAM_ENVIRON, 0, {BASE, 0}}};
        inner.lists.copies = copies;
        inner.lists.copy_count = 4;
        mdc_source *sanitized = hiding(&inner, streams, NULL, NULL);
        CHECK(sanitized != NULL && sanitized->ops->stop(sanitized, &err) == MDC_OK);
        uint8_t bytes[SIZE];
        mdc_span span = {BASE, SIZE};
        size_t done;
        int32_t os_errno;
        CHECK(sanitized->ops->read(sanitized, &span, 1, bytes, &done, &os_errno, &err) == MDC_OK && done == SIZE);
        for (size_t i = 0; i < SIZE; i++) {
            bool hidden = ((which & 1) != 0 && i >= 10 && i < 35) ||
                          ((which & 2) != 0 && ((i >= 35 && i < 40) || (i >= 60 && i < 65)));
            CHECK(bytes[i] == (hidden ? 'X' : (uint8_t)block[i]));
        }
        CHECK(mdc_sanitized_source_count(sanitized) == 0);
        sanitized->ops->free(sanitized);
    }
}

/* Variables in a copy are hidden by their names as well. */
static void test_variables_of_a_copy(void) {
    mdc_error err;
    mdc_error_clear(&err);
    stub inner = make_stub();
    inner.lists.texts = &inner.text;
    inner.text.size = 0;
    const mdc_copy copy = {MDC_STREAM_ENVIRON, 0, {BASE, SIZE}};
    inner.lists.copies = &copy;
    inner.lists.copy_count = 1;
    mdc_source *sanitized = hiding(&inner, 0, hides_api, NULL);
    CHECK(sanitized != NULL && sanitized->ops->stop(sanitized, &err) == MDC_OK);
    CHECK(mdc_sanitized_source_count(sanitized) == 4);
    uint8_t bytes[SIZE];
    mdc_span span = {BASE, SIZE};
    size_t done;
    int32_t os_errno;
    CHECK(sanitized->ops->read(sanitized, &span, 1, bytes, &done, &os_errno, &err) == MDC_OK && done == SIZE);
    for (uint64_t i = 0; i < SIZE; i++) CHECK(bytes[i] == (uint8_t)wanted(BASE + i, false));
    sanitized->ops->free(sanitized);
}

/* What a learner was told: all values, one after the other with a bar after each. */
typedef struct told {
    char values[512];
    size_t size, unknown;
    int wide, ended;
} told;

static mdc_status hear(void *context, const uint8_t *value, size_t size, bool wide, mdc_error *err) {
    told *heard = context;
    (void)err;
    heard->wide += wide;
    memcpy(heard->values + heard->size, value, size);
    heard->size += size;
    heard->values[heard->size++] = '|';
    return MDC_OK;
}

static mdc_status hear_all(void *context, size_t unknown, mdc_error *err) {
    told *heard = context;
    (void)err;
    heard->unknown = unknown;
    heard->ended++;
    return MDC_OK;
}

/* UTF-16 as Windows has it: the same values are hidden, and told, also where the whole block is hidden. */
static void test_learning(bool wide, bool whole) {
    static const char expected[] =
        "first secret|0123456789012345678901234567890123456789012345678901234567890123456789|open|";
    char data[2 * SIZE], bytes[sizeof data];
    size_t size = 0, unit = wide ? 2 : 1;
    for (size_t i = 0; i < SIZE; i++) {
        data[size++] = block[i];
        if (wide) data[size++] = 0;
    }
    mdc_error err;
    mdc_error_clear(&err);
    const mdc_system system = {.platform = MDC_PLATFORM_WINDOWS};
    stub inner = make_stub();
    inner.data = data;
    inner.size = inner.text.size = size;
    inner.lists.texts = &inner.text;
    if (wide) inner.lists.system = &system;
    told heard = {.size = 0};
    const mdc_learner learner = {hear, hear_all, &heard};
    const mdc_hiding what = {
        .streams = whole ? MDC_STREAM_ENVIRON : 0, .hides = hides_api, .learner = &learner, .fill = 'X'};
    mdc_source *sanitized = mdc_sanitized_source_new(&inner.source, &what, &err);
    CHECK(sanitized != NULL && sanitized->ops->stop(sanitized, &err) == MDC_OK);
    mdc_span span = {BASE, size};
    size_t done;
    int32_t os_errno;
    CHECK(sanitized->ops->read(sanitized, &span, 1, (uint8_t *)bytes, &done, &os_errno, &err) == MDC_OK);
    for (uint64_t i = 0; i < size; i++) {
        bool hidden = whole || (wanted(BASE + i / unit, false) != block[i / unit]);
        if (block[i / unit] == 'X') continue;
        CHECK(bytes[i] == (hidden ? 'X' : data[i]));
    }
    CHECK(heard.ended == 1 && heard.unknown == 0 && heard.wide == (wide ? 3 : 0));
    size_t at = 0;
    for (size_t i = 0; i < sizeof expected - 1 && at < heard.size; i++) {
        CHECK(heard.values[at++] == expected[i]);
        if (wide && expected[i] != '|') CHECK(heard.values[at++] == 0);
    }
    CHECK(at == heard.size);
    CHECK(mdc_sanitized_source_count(sanitized) == (whole ? 0 : 4));
    sanitized->ops->free(sanitized);
}

/* Without an environment a learner is told that values are unknown; and so if a page of it cannot be read. */
static void test_learning_of_what_is_missing(void) {
    for (int which = 0; which < 2; which++) {
        mdc_error err;
        mdc_error_clear(&err);
        stub inner = make_stub();
        if (which == 0) inner.lists.text_count = 0;
        inner.lists.texts = &inner.text;
        inner.second_unreadable = true;
        told heard = {.size = 0};
        const mdc_learner learner = {hear, hear_all, &heard};
        const mdc_hiding what = {.hides = hides_api, .learner = &learner, .fill = 'X'};
        mdc_source *sanitized = mdc_sanitized_source_new(&inner.source, &what, &err);
        CHECK(sanitized != NULL && sanitized->ops->stop(sanitized, &err) == MDC_OK);
        CHECK(heard.ended == 1 && heard.unknown == 1);
        sanitized->ops->free(sanitized);
    }
}

static bool drops_api(const void *context, const uint8_t *name, size_t size) {
    (void)context;
    return size >= 4 && memcmp(name, "API_", 4) == 0;
}

/* Runs a source over a text of these bytes; `bytes` (a copy) becomes what is read of it. */
static void run_text(stub *inner, const mdc_hiding *what, mdc_dump_control *control, uint8_t *bytes, size_t size) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_source *sanitized = mdc_sanitized_source_new(&inner->source, what, &err);
    CHECK(sanitized != NULL && sanitized->ops->prepare(sanitized, control, &err) == MDC_OK);
    CHECK(sanitized->ops->stop(sanitized, &err) == MDC_OK);
    inner->second_unreadable = false;
    mdc_span span = {BASE, size};
    size_t done;
    int32_t os_errno;
    CHECK(sanitized->ops->read(sanitized, &span, 1, bytes, &done, &os_errno, &err) == MDC_OK && done == size);
    sanitized->ops->free(sanitized);
}

/* Values of options are hidden in the command line, however short, and told; once where a copy is the text itself. */
static void test_options(void) {
    static const struct {
        const char *line, *shown, *told;
        size_t size;
    } rows[] = {
#define ROW(line, shown, told) {line, shown, told, sizeof(line) - 1}
        ROW("app\0--api-token\0q7", "app\0--api-token\0XX", "q7|"),
        ROW("--api-token\0-q7\0-v", "--api-token\0XXX\0-v", "-q7|"),
        ROW("--api-a\0--verbose\0x", "--api-a\0--verbose\0x", ""),
        ROW("--api-a\0--api-b\0x", "--api-a\0--api-b\0X", "x|"),
        ROW("--api-a\0-api-b\0x", "--api-a\0XXXXXX\0X", "-api-b|x|"),
        ROW("--api-a\0\0x", "--api-a\0\0x", ""),
        ROW("--api-a=b\0API_B=cd\0x=y", "--api-a=X\0API_B=XX\0x=y", "b|cd|"),
        ROW("--api-a\0API_B=cd", "--api-a\0XXXXXXXX", "API_B=cd|cd|"),
        ROW("--api-a\0bA==", "--api-a\0XXXX", "bA==|"),
        ROW("--other\0x\0API_\0y", "--other\0x\0API_\0y", ""),
        ROW("--api-a", "--api-a", "")};
#undef ROW
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int whole = 0; whole < 2; whole++) {
            uint8_t bytes[64];
            stub inner = make_stub();
            inner.lists.texts = &inner.text;
            inner.text.stream = MDC_STREAM_CMDLINE;
            inner.data = rows[i].line;
            inner.size = inner.text.size = rows[i].size;
            const mdc_copy copy = {MDC_STREAM_CMDLINE, 0, {BASE, rows[i].size}};
            inner.lists.copies = &copy;
            inner.lists.copy_count = 1;
            told heard = {.size = 0};
            const mdc_learner learner = {hear, hear_all, &heard};
            const mdc_hiding what = {.streams = whole ? MDC_STREAM_CMDLINE : 0,
                                     .hides = hides_api,
                                     .drops = drops_api,
                                     .learner = &learner,
                                     .fill = 'X'};
            run_text(&inner, &what, NULL, bytes, rows[i].size);
            for (size_t k = 0; k < rows[i].size; k++) CHECK(bytes[k] == (whole ? 'X' : (uint8_t)rows[i].shown[k]));
            CHECK(heard.size == strlen(rows[i].told) && memcmp(heard.values, rows[i].told, heard.size) == 0);
        }
}

/* The page in the middle cannot be read: it is hidden, and so are what it cuts and the argument after that. */
static void test_options_cut(void) {
    static char data[4240];
    static uint8_t bytes[sizeof data];
    memset(data, 'z', sizeof data);
    memcpy(data, "--api-k\0q7\0", 11);
    memcpy(data + 4230, "\0r8\0s", 6);
    stub inner = make_stub();
    inner.lists.texts = &inner.text;
    inner.text.stream = MDC_STREAM_CMDLINE;
    inner.data = data;
    inner.size = inner.text.size = 4236;
    inner.second_unreadable = true;
    told heard = {.size = 0};
    const mdc_learner learner = {hear, hear_all, &heard};
    const mdc_hiding what = {.hides = hides_api, .drops = drops_api, .learner = &learner, .fill = 'X'};
    run_text(&inner, &what, NULL, bytes, 4236);
    for (size_t i = 0; i < 4236; i++) {
        bool hidden = i == 8 || i == 9 || (i >= 128 && i < 4230) || i == 4231 || i == 4232;
        CHECK(bytes[i] == (hidden ? 'X' : (uint8_t)data[i]));
    }
    CHECK(heard.unknown == 2); /* no environment either */
}

/* A name too long to be looked at: the value is hidden, and told. */
static void test_long_wide_names(void) {
    for (size_t units = 511; units < 515; units++) {
        static uint8_t data[1100], bytes[sizeof data];
        memset(data, 0, sizeof data);
        for (size_t i = 0; i < units; i++) data[2 * i] = 'n';
        memcpy(data + 2 * units, "=\0v\0w", 6);
        const size_t size = 2 * units + 6;
        const mdc_system system = {.platform = MDC_PLATFORM_WINDOWS};
        stub inner = make_stub();
        inner.lists.texts = &inner.text;
        inner.lists.system = &system;
        inner.data = (const char *)data;
        inner.size = inner.text.size = size;
        told heard = {.size = 0};
        const mdc_learner learner = {hear, hear_all, &heard};
        const mdc_hiding what = {.hides = hides_api, .learner = &learner, .fill = 'X'};
        run_text(&inner, &what, NULL, bytes, size);
        const bool hidden = units > 512;
        CHECK(memcmp(bytes, data, size - 4) == 0);
        CHECK(memcmp(bytes + size - 4, hidden ? "XXXX" : "v\0w", 4) == 0);
        CHECK(heard.size == (hidden ? 5 : 0) && heard.unknown == 0);
    }
}

/* A dump that has to end does so in the middle of very many variables, and nothing stays stopped. */
static void test_an_end_in_between(void) {
    static char data[1 << 16];
    for (size_t i = 0; i < sizeof data; i += 2) data[i] = 'A';
    const mdc_system system = {.platform = MDC_PLATFORM_WINDOWS};
    for (int wide = 0; wide < 2; wide++) {
        mdc_error err;
        mdc_error_clear(&err);
        mdc_dump_control control;
        mdc_control_init(&control, 0);
        stub inner = make_stub();
        inner.lists.texts = &inner.text;
        if (wide) inner.lists.system = &system;
        if (wide)
            for (size_t i = 2; i < sizeof data; i += 4) data[i] = 0;
        inner.data = data;
        inner.size = inner.text.size = sizeof data;
        mdc_source *sanitized = hiding(&inner, 0, hides_api, NULL);
        CHECK(sanitized != NULL && sanitized->ops->prepare(sanitized, &control, &err) == MDC_OK);
        mdc_control_abort(&control, MDC_ABORT_CANCEL);
        CHECK(sanitized->ops->stop(sanitized, &err) == MDC_ERR_CANCELLED && !inner.stopped);
        sanitized->ops->free(sanitized);
    }
}

int main(void) {
    test_options();
    test_options_cut();
    test_long_wide_names();
    test_an_end_in_between();
    for (int which = 0; which < 4; which++) test_learning(which & 1, which & 2);
    test_learning_of_what_is_missing();
    test_whole_texts();
    test_variables_of_a_copy();
    test_reads(false);
    test_reads(true);
    test_unreadable();
    test_odd_texts();
    return failures != 0;
}
