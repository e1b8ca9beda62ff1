/* Every callback type: the answer, the member written and nothing besides, the counters, and not one allocation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/callback.h"
#include "check.h"

/* Counts the calls of the C library, where nothing else intercepts them. */
static size_t allocations;
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *block, size_t size) {
    allocations++;
    return __libc_realloc(block, size);
}
#endif

static mdc_error err;
static MINIDUMP_CALLBACK_INPUT input;
static union {
    MINIDUMP_CALLBACK_OUTPUT output;
    uint8_t bytes[sizeof(MINIDUMP_CALLBACK_OUTPUT) + 16];
} out;

enum { POISON = 0xA5 };
#define POISON32 0xA5A5A5A5u

/* Asks; checks that nothing after the first `written` bytes of the output was touched. */
static int32_t ask(mdc_callback *callback, uint32_t type, size_t written) {
    input.CallbackType = type;
    MINIDUMP_CALLBACK_INPUT before = input;
    size_t count = allocations;
    int32_t answer = mdc_callback_routine(callback, &input, &out.output);
    REQUIRE(allocations == count);
    REQUIRE(memcmp(&before, &input, sizeof input) == 0);
    for (size_t i = written; i < sizeof out.bytes; i++) REQUIRE(out.bytes[i] == POISON);
    return answer;
}

static void poison(void) { memset(&out, POISON, sizeof out); }

static mdc_filter *filter_of(const mdc_filter_spec *spec) {
    mdc_filter *filter = mdc_filter_new(spec, &err);
    if (filter == NULL) fprintf(stderr, "%s\n", err.message);
    REQUIRE(filter != NULL);
    return filter;
}

static mdc_callback *callback_of(const mdc_filter_spec *spec, const mdc_callback_options *options) {
    mdc_filter *filter = filter_of(spec);
    mdc_callback *callback = mdc_callback_new(filter, options, &err);
    if (callback == NULL) fprintf(stderr, "%s\n", err.message);
    REQUIRE(callback != NULL);
    mdc_filter_release(filter); /* the callback has its own reference */
    return callback;
}

static void finish(mdc_callback *callback) {
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
    REQUIRE(mdc_callback_free(callback, &err) == MDC_OK);
}

static const mdc_filter_spec everything = {
    .default_action = MDC_INCLUDE, .threads_default_keep = UINT32_MAX, .modules_default_keep = UINT32_MAX};

/* A filter without any opinion gives the answers that leave a dump as it would be. */
static void neutral(void) {
    mdc_callback *callback = callback_of(&everything, NULL);
    static const uint16_t path[] = {'/', 'a', 0};
    for (int round = 0; round < 2; round++) {
        memset(&input, 0x5A, sizeof input);
        input.u.Module.FullPath = path;
        poison();
        REQUIRE(ask(callback, MDC_CB_MODULE, 0) == 1);
        REQUIRE(ask(callback, MDC_CB_THREAD, 0) == 1 && ask(callback, MDC_CB_THREAD_EX, 0) == 1);
        REQUIRE(ask(callback, MDC_CB_INCLUDE_THREAD, 0) == 1 && ask(callback, MDC_CB_INCLUDE_MODULE, 0) == 1);
        REQUIRE(ask(callback, MDC_CB_MEMORY, 0) == 0 && ask(callback, MDC_CB_REMOVE_MEMORY, 0) == 0);
        REQUIRE(ask(callback, MDC_CB_CANCEL, 8) == 1);
        REQUIRE(out.output.Cancel.CheckCancel == 1 && out.output.Cancel.Cancel == 0);
        poison();
        REQUIRE(ask(callback, MDC_CB_WRITE_KERNEL_MINIDUMP, 0) == 0);
        input.u.Status = -77;
        REQUIRE(ask(callback, MDC_CB_KERNEL_MINIDUMP_STATUS, 0) == 1);
        REQUIRE(mdc_callback_read_counters(callback).kernel_status == -77);
        REQUIRE(ask(callback, MDC_CB_IO_START, 0) == 0);
        REQUIRE(ask(callback, MDC_CB_IO_WRITE_ALL, 4) == 0 && out.output.Status < 0);
        REQUIRE(ask(callback, MDC_CB_IO_FINISH, 4) == 0 && out.output.Status < 0);
        input.u.ReadMemoryFailure.FailureStatus = (int32_t)MDC_E_PARTIAL_COPY;
        poison();
        REQUIRE(ask(callback, MDC_CB_READ_MEMORY_FAILURE, 4) == 0);
        REQUIRE(out.output.Status == (int32_t)MDC_E_PARTIAL_COPY);
        input.u.SecondaryFlags = 0x40;
        REQUIRE(ask(callback, MDC_CB_SECONDARY_FLAGS, 4) == 1 && out.output.SecondaryFlags == 0x40);
        poison();
        for (uint32_t type = MDC_CB_VM_QUERY; type < 40; type++) REQUIRE(ask(callback, type, 0) == 0);
        REQUIRE(ask(callback, UINT32_MAX, 0) == 0);
        REQUIRE(mdc_callback_read_counters(callback).calls[31] == 18);
        poison();
        REQUIRE(ask(callback, MDC_CB_IS_PROCESS_SNAPSHOT, 4) == 1 && out.output.Status == MDC_S_OK);
        REQUIRE(mdc_callback_read_counters(callback).calls[31] == 0);
        poison();
        REQUIRE(ask(callback, MDC_CB_VM_START, 4) == 1 && out.output.Status == MDC_S_OK);
    }
    mdc_callback_counters counters = mdc_callback_read_counters(callback);
    REQUIRE(counters.calls[MDC_CB_IS_PROCESS_SNAPSHOT] == 1 && counters.calls[MDC_CB_VM_START] == 1);
    REQUIRE(counters.calls[MDC_CB_THREAD] == 0 && counters.kernel_status == 0);
    REQUIRE(mdc_callback_routine(NULL, &input, &out.output) == 0);
    const MINIDUMP_CALLBACK_INFORMATION *information = mdc_callback_information(callback);
    REQUIRE(information->CallbackRoutine == mdc_callback_routine && information->CallbackParam == callback);
    finish(callback);
}

static void threads_and_flags(void) {
    const mdc_thread_rule threads[] = {{7, 0}, {8, 0x05}, {9, 0}, {9, UINT32_MAX}, {7, 0x16}};
    const mdc_filter_spec spec = {.default_action = MDC_INCLUDE,
                                  .threads = threads,
                                  .thread_count = 5,
                                  .threads_default_keep = 0x47,
                                  .modules_default_keep = UINT32_MAX,
                                  .tolerate_read_failures = 1,
                                  .secondary_flags = MDC_SECONDARY_WITHOUT_POWER_INFO};
    mdc_callback *callback = callback_of(&spec, NULL);
    static const struct {
        uint32_t tid, type;
        int32_t answer;
        uint32_t flags;
    } cases[] = {{7, MDC_CB_INCLUDE_THREAD, 0, 0x57}, {7, MDC_CB_THREAD, 1, 0x16},
                 {7, MDC_CB_THREAD_EX, 1, 0x16},      {8, MDC_CB_INCLUDE_THREAD, 1, 0x05},
                 {8, MDC_CB_THREAD, 1, 0x05},         {9, MDC_CB_THREAD, 1, 0x57},
                 {1, MDC_CB_THREAD, 1, 0x47},         {1, MDC_CB_INCLUDE_THREAD, 1, 0x47}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        poison();
        input.u.IncludeThread.ThreadId = cases[i].tid;
        out.output.ThreadWriteFlags = 0x57;
        REQUIRE(ask(callback, cases[i].type, 4) == cases[i].answer && out.output.ThreadWriteFlags == cases[i].flags);
    }
    poison();
    input.u.SecondaryFlags = 0x100;
    REQUIRE(ask(callback, MDC_CB_SECONDARY_FLAGS, 4) == 1 && out.output.SecondaryFlags == 0x101);
    REQUIRE(ask(callback, MDC_CB_READ_MEMORY_FAILURE, 4) == 1 && out.output.Status == MDC_S_OK);
    REQUIRE(mdc_callback_read_counters(callback).tolerated == 1);
    finish(callback);
}

/* Ranges above 4 GiB go out in pieces, none of them empty, and begin again with the next dump. */
static void memory_lists(void) {
    const mdc_range add[] = {{0x1000, 0x1001}, {0x200000, 0x200000 + 0x2800}, {0xFFFFFFFFFFFFF000u, 0}};
    const mdc_range taken[] = {{0x5000, 0x6000}};
    mdc_filter_spec spec = everything;
    spec.memory_add = add;
    spec.memory_add_count = 3;
    spec.memory_remove = taken;
    spec.memory_remove_count = 1;
    const mdc_callback_options small = {.memory_piece = 0x1000};
    mdc_callback *callback = callback_of(&spec, &small);
    static const uint64_t expected[][2] = {
        {0x1000, 1}, {0x200000, 0x1000}, {0x201000, 0x1000}, {0x202000, 0x800}, {0xFFFFFFFFFFFFF000u, 0x1000}};
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < 5; i++) {
            poison();
            REQUIRE(ask(callback, MDC_CB_MEMORY, 12) == 1);
            REQUIRE(out.output.Memory.MemoryBase == expected[i][0] && out.output.Memory.MemorySize == expected[i][1]);
            if (i == 2) {
                poison();
                REQUIRE(ask(callback, MDC_CB_REMOVE_MEMORY, 12) == 1 && out.output.Memory.MemoryBase == 0x5000);
                poison();
                REQUIRE(ask(callback, MDC_CB_REMOVE_MEMORY, 0) == 0);
            }
        }
        poison();
        REQUIRE(ask(callback, MDC_CB_MEMORY, 0) == 0 && ask(callback, MDC_CB_MEMORY, 0) == 0);
        if (round == 0) REQUIRE(mdc_callback_reset(callback, &err) == MDC_OK);
        if (round == 1) REQUIRE(ask(callback, MDC_CB_IS_PROCESS_SNAPSHOT, 4) == 1);
        if (round == 2) REQUIRE(ask(callback, MDC_CB_VM_START, 4) == 1); /* of an engine that sends no 16 */
    }
    /* VmStart right after IsProcessSnapshot begins nothing: half a list stays half. */
    REQUIRE(ask(callback, MDC_CB_IS_PROCESS_SNAPSHOT, 4) == 1 && ask(callback, MDC_CB_VM_START, 4) == 1);
    REQUIRE(mdc_callback_read_counters(callback).calls[MDC_CB_IS_PROCESS_SNAPSHOT] == 1);
    finish(callback);

    const mdc_range huge = {0x100000, 0x100000 + (UINT64_C(9) << 30)};
    spec = everything;
    spec.memory_add = &huge;
    spec.memory_add_count = 1;
    callback = callback_of(&spec, NULL);
    uint64_t at = huge.first, answers = 0;
    for (;; answers++) {
        poison();
        if (ask(callback, MDC_CB_MEMORY, 12) == 0) break;
        REQUIRE(out.output.Memory.MemoryBase == at && out.output.Memory.MemorySize > 0);
        at += out.output.Memory.MemorySize;
    }
    REQUIRE(at == huge.end && answers == 3);
    finish(callback);

    const mdc_range endless = {1, 0};
    spec.memory_add = &endless;
    mdc_filter *filter = filter_of(&spec);
    REQUIRE(mdc_callback_new(filter, NULL, &err) == NULL && err.code == MDC_ERR_FILTER && err.index == 0);
    mdc_filter_release(filter);
}

static void cancelling(void) {
    mdc_callback *callback = callback_of(&everything, NULL);
    mdc_callback_cancel(callback);
    poison();
    REQUIRE(ask(callback, MDC_CB_IS_PROCESS_SNAPSHOT, 4) == 1); /* a cancel before the first question is not lost */
    for (int i = 0; i < 2; i++) REQUIRE(ask(callback, MDC_CB_CANCEL, 8) == 1 && out.output.Cancel.Cancel == 1);
    REQUIRE(out.output.Cancel.CheckCancel == 1);
    REQUIRE(ask(callback, MDC_CB_VM_START, 8) == 1); /* one that was answered is used up by the next dump */
    REQUIRE(ask(callback, MDC_CB_CANCEL, 8) == 1 && out.output.Cancel.Cancel == 0);
    mdc_callback_cancel(callback);
    REQUIRE(mdc_callback_reset(callback, &err) == MDC_OK);
    REQUIRE(ask(callback, MDC_CB_CANCEL, 8) == 1 && out.output.Cancel.Cancel == 0);
    finish(callback);
}

typedef struct hooked {
    mdc_callback *callback;
    uint32_t last_type;
    int32_t answer;
    int32_t cancel;
    int reenter;
} hooked;

static int32_t hook(void *context, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *output) {
    hooked *h = context;
    h->last_type = in->CallbackType;
    if (in->CallbackType == MDC_CB_CANCEL) {
        REQUIRE(output->Cancel.Cancel == (int32_t)POISON32); /* the engine's default, whatever it is */
        output->Cancel.Cancel = h->cancel;
        output->Cancel.CheckCancel = 0;
    } else {
        output->Status = MDC_S_FALSE;
    }
    if (h->reenter) {
        MINIDUMP_CALLBACK_OUTPUT other;
        REQUIRE(mdc_callback_routine(h->callback, in, &other) == 0); /* one call at a time, from here too */
        REQUIRE(mdc_callback_reset(h->callback, &err) == MDC_ERR_BUSY);
        REQUIRE(mdc_callback_free(h->callback, &err) == MDC_ERR_BUSY);
    }
    return h->answer;
}

static void hooks(void) {
    hooked h = {.answer = 1};
    mdc_callback_options options = {.hook_types = 1u << MDC_CB_CANCEL | 1u << MDC_CB_IO_START |
                                                  1u << MDC_CB_INCLUDE_VM_REGION | 1u << MDC_CB_MODULE,
                                    .hook = hook,
                                    .hook_context = &h};
    mdc_callback *callback = h.callback = callback_of(&everything, &options);
    static const uint16_t path[] = {'a', 0};
    input.u.Module.FullPath = path;
    static const uint32_t types[] = {MDC_CB_IO_START, MDC_CB_INCLUDE_VM_REGION, MDC_CB_MODULE};
    for (size_t i = 0; i < 3; i++) {
        poison();
        REQUIRE(ask(callback, types[i], 4) == 1 && out.output.Status == MDC_S_FALSE && h.last_type == types[i]);
    }
    h.answer = 0;
    REQUIRE(ask(callback, MDC_CB_IO_START, 4) == 0);
    /* Cancel: what the hook says, but the question stays open, and the flag is stronger. */
    static const struct {
        int32_t answer, cancel, flag, expected;
    } cases[] = {{1, 0, 0, 0}, {1, 1, 0, 1}, {0, 1, 0, 0}, {0, 0, 1, 1}, {1, 0, 1, 1}};
    for (size_t i = 0; i < 5; i++) {
        poison();
        h.answer = cases[i].answer;
        h.cancel = cases[i].cancel;
        if (cases[i].flag) mdc_callback_cancel(callback);
        REQUIRE(ask(callback, MDC_CB_CANCEL, 8) == 1 && h.last_type == MDC_CB_CANCEL);
        REQUIRE(out.output.Cancel.CheckCancel == 1 && out.output.Cancel.Cancel == cases[i].expected);
    }
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
    h.reenter = 1;
    poison();
    for (int i = 0; i < 3; i++) ask(callback, MDC_CB_IO_START, 4);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_ERR_BUSY);
    REQUIRE(mdc_callback_reset(callback, &err) == MDC_OK);
    finish(callback);
    options.hook = NULL;
    mdc_filter *filter = filter_of(&everything);
    REQUIRE(mdc_callback_new(filter, &options, &err) == NULL && err.code == MDC_ERR_INVALID);
    options = (mdc_callback_options){.memory_piece = UINT64_C(1) << 32};
    REQUIRE(mdc_callback_new(filter, &options, &err) == NULL && err.code == MDC_ERR_INVALID);
    REQUIRE(mdc_callback_new(NULL, NULL, &err) == NULL && err.code == MDC_ERR_INVALID);
    mdc_filter_release(filter);
}

static void ownership(void) {
    mdc_callback *callback = callback_of(&everything, NULL);
    REQUIRE(mdc_callback_acquire(callback, &err) == MDC_OK);
    REQUIRE(mdc_callback_acquire(callback, &err) == MDC_ERR_BUSY);
    REQUIRE(mdc_callback_free(callback, &err) == MDC_ERR_BUSY);
    REQUIRE(mdc_callback_set_host(callback, MDC_EXT_RESUBMIT, &err) == MDC_OK);
    REQUIRE(mdc_callback_set_host(callback, 0x200, &err) == MDC_ERR_INVALID);
    mdc_callback_release(callback);
    REQUIRE(mdc_callback_acquire(callback, &err) == MDC_OK);
    mdc_callback_release(callback);
    finish(callback);
    REQUIRE(mdc_callback_free(NULL, &err) == MDC_OK);
}

int main(void) {
    neutral();
    threads_and_flags();
    memory_lists();
    cancelling();
    hooks();
    ownership();
    if (allocations == 0) puts("allocations were not counted: a sanitizer or valgrind has its own malloc");
    return 0;
}
