/* For tests of the Windows source: the process of targets/win_pattern.c as a child, and a dump of it into a file.
 *
 * The child is this very program, started with the argument "target". */
#ifndef MDC_TESTS_WINDOWS_TARGET_H
#define MDC_TESTS_WINDOWS_TARGET_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define main pattern_main
#include "../targets/win_pattern.c"
#undef main

#include "../../csrc/base/fail.h"
#include "../../csrc/engine/engine.h"
#include "../../csrc/format/minidump_file.h"
#include "../../csrc/windows/win_live.h"
#include "check.h"

/* -- the child ----------------------------------------------------------------------------------------------------- */

typedef struct child {
    PROCESS_INFORMATION info;
    HANDLE input; /* closing it ends the child */
    struct {
        char name[32];
        uint64_t value;
    } facts[32];
    size_t fact_count;
} child;

static inline uint64_t fact(const child *target, const char *name) {
    for (size_t i = 0; i < target->fact_count; i++)
        if (strcmp(target->facts[i].name, name) == 0) return target->facts[i].value;
    fprintf(stderr, "the target does not tell %s\n", name);
    exit(1);
}

static inline void read_facts(child *target, HANDLE output) {
    char line[256];
    size_t used = 0;
    DWORD got;
    while (used < sizeof line - 1 && ReadFile(output, line + used, 1, &got, NULL) && got == 1) {
        if (line[used] == '\r') continue;
        if (line[used] != '\n') {
            used++;
            continue;
        }
        line[used] = '\0';
        used = 0;
        if (strcmp(line, "ready") == 0) return;
        char *space = strchr(line, ' ');
        if (space == NULL || target->fact_count == 32) continue;
        *space = '\0';
        snprintf(target->facts[target->fact_count].name, sizeof target->facts[0].name, "%s", line);
        target->facts[target->fact_count++].value = strtoull(space + 1, NULL, 0);
    }
    fprintf(stderr, "the target did not get ready\n");
    exit(1);
}

/* mode: the first argument of the child. */
static inline void begin_child_as(child *target, const char *mode) {
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE in_read, in_write, out_read, out_write;
    char path[MAX_PATH], command[MAX_PATH + 32];
    memset(target, 0, sizeof *target);
    if (!CreatePipe(&in_read, &in_write, &inherited, 0) || !CreatePipe(&out_read, &out_write, &inherited, 0)) exit(1);
    SetHandleInformation(in_write, HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(out_read, HANDLE_FLAG_INHERIT, 0);
    STARTUPINFOA startup;
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = in_read;
    startup.hStdOutput = out_write;
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    GetModuleFileNameA(NULL, path, sizeof path);
    snprintf(command, sizeof command, "\"%s\" %s", path, mode);
    if (!CreateProcessA(path, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &target->info)) {
        fprintf(stderr, "cannot start the target: %lu\n", GetLastError());
        exit(1);
    }
    CloseHandle(in_read);
    CloseHandle(out_write);
    target->input = in_write;
    read_facts(target, out_read);
    CloseHandle(out_read);
}

static inline void begin_child(child *target) { begin_child_as(target, "target"); }

static inline void end_child(child *target) {
    CloseHandle(target->input);
    DWORD code = 99;
    CHECK(WaitForSingleObject(target->info.hProcess, 30000) == WAIT_OBJECT_0);
    CHECK(GetExitCodeProcess(target->info.hProcess, &code) && code == 0);
    CloseHandle(target->info.hProcess);
    CloseHandle(target->info.hThread);
}

static inline uint64_t peek_u64(const child *target, uint64_t address) {
    uint64_t value = 0;
    ReadProcessMemory(target->info.hProcess, (const void *)(uintptr_t)address, &value, sizeof value, NULL);
    return value;
}

/* Whether the counting thread runs: waits until the counter has moved, 10 s at most. */
static inline bool runs_on(const child *target) {
    uint64_t before = peek_u64(target, fact(target, "counter"));
    for (int i = 0; i < 1000; i++) {
        if (peek_u64(target, fact(target, "counter")) != before) return true;
        Sleep(10);
    }
    return false;
}

/* The number of times it is suspended, and as many afterwards. */
static inline DWORD suspend_count(uint64_t tid) {
    HANDLE thread = OpenThread(THREAD_SUSPEND_RESUME, FALSE, (DWORD)tid);
    DWORD count = SuspendThread(thread);
    ResumeThread(thread);
    CloseHandle(thread);
    return count;
}

/* -- the dump ------------------------------------------------------------------------------------------------------ */

/* A sink of the test's own: into memory, and slow if it is told to. */
typedef struct block_sink {
    mdc_sink sink;
    uint8_t *data;
    size_t size;
    DWORD pause_ms; /* before each write */
} block_sink;

static inline mdc_status block_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    block_sink *block = (block_sink *)sink;
    (void)err;
    if (block->pause_ms != 0) Sleep(block->pause_ms);
    block->data = realloc(block->data, block->size + size + 1);
    if (data != NULL)
        memcpy(block->data + block->size, data, size);
    else
        memset(block->data + block->size, 0, size);
    block->size += size;
    sink->position = block->size;
    return MDC_OK;
}

static inline mdc_status block_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    return block_write(sink, NULL, (size_t)size, err);
}

static inline mdc_status block_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)err;
    memcpy(((block_sink *)sink)->data + offset, data, size);
    return MDC_OK;
}

static inline mdc_status block_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    (void)sink, (void)flush, (void)err;
    return MDC_OK;
}

static inline void block_free(mdc_sink *sink) { free(((block_sink *)sink)->data); }

static inline void block_init(block_sink *block) {
    static const mdc_sink_ops ops = {NULL, block_write, block_hole, block_patch, block_finish, block_free};
    memset(block, 0, sizeof *block);
    block->sink.ops = &ops;
    block->sink.patchable = true;
    block->sink.fd = -1;
}

typedef struct taken {
    mdc_status status;
    mdc_error err;
    block_sink block;
    mdc_dump_control control;
    mdc_source *source;
    mdc_dump *dump;
    const mdc_report *report;
} taken;

static inline void take(taken *dump, const mdc_win_live_options *target, const mdc_engine_options *options,
                        DWORD pause_ms) {
    memset(dump, 0, sizeof *dump);
    mdc_error_clear(&dump->err);
    mdc_control_init(&dump->control, 0);
    block_init(&dump->block);
    dump->block.pause_ms = pause_ms;
    mdc_win_live_options live = *target;
    live.types = options->dump_type;
    dump->source = mdc_win_live_new(&live, &dump->err);
    dump->dump = mdc_dump_new(options, dump->source, &dump->block.sink, &dump->control, &dump->err);
    if (dump->dump == NULL) {
        dump->status = dump->err.code;
        return;
    }
    dump->status = mdc_dump_run(dump->dump, &dump->err);
    dump->report = mdc_dump_report(dump->dump);
}

/* The bytes of a stream, NULL if there is none. */
static inline const uint8_t *stream(const taken *dump, uint32_t type, size_t *size) {
    mdc_file_header header;
    memcpy(&header, dump->block.data, sizeof header);
    for (uint32_t i = 0; i < header.stream_count; i++) {
        mdc_file_directory entry;
        memcpy(&entry, dump->block.data + header.directory_rva + i * sizeof entry, sizeof entry);
        if (entry.stream_type != type) continue;
        *size = entry.data_size;
        return dump->block.data + entry.rva;
    }
    *size = 0;
    return NULL;
}

/* The position of a byte of the target in the dump, NULL if none. */
static inline const uint8_t *stored(const taken *dump, uint64_t address) {
    size_t size;
    const uint8_t *list = stream(dump, MDC_STREAM_TYPE_MEMORY64_LIST, &size);
    if (list != NULL) {
        mdc_file_memory64_list header;
        memcpy(&header, list, sizeof header);
        for (uint64_t i = 0; i < header.range_count; i++) {
            mdc_file_memory64 entry;
            memcpy(&entry, list + sizeof header + i * sizeof entry, sizeof entry);
            if (address - entry.start < entry.data_size)
                return dump->block.data + header.base_rva + (address - entry.start);
            header.base_rva += entry.data_size;
        }
    }
    uint32_t count = 0;
    list = stream(dump, MDC_STREAM_TYPE_MEMORY_LIST, &size);
    if (list != NULL) memcpy(&count, list, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        mdc_file_memory entry;
        memcpy(&entry, list + sizeof count + i * sizeof entry, sizeof entry);
        if (address - entry.start < entry.memory.data_size)
            return dump->block.data + entry.memory.rva + (address - entry.start);
    }
    return NULL;
}

/* How often a text occurs in the dump. */
static inline size_t occurrences(const taken *dump, const char *text) {
    size_t length = strlen(text), found = 0;
    for (size_t i = 0; i + length <= dump->block.size; i++) found += memcmp(dump->block.data + i, text, length) == 0;
    return found;
}

static inline void put_back(taken *dump) {
    mdc_dump_free(dump->dump);
    if (dump->source != NULL) dump->source->ops->free(dump->source);
    block_free(&dump->block.sink);
}

#endif
