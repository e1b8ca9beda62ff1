/* A core as a source where memory runs out: whichever allocation fails, the error says so and nothing stays behind. And
 * the order of the calls. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/failpoint.h"
#include "check.h"
#include "elfcore/core_source.h"
#include "format/elf_file.h"

enum { PAGE = 4096, BASE = 0x10000, STACK = 0x20000, NOTES_MAX = 2048, TID = 7 };

typedef struct bytes {
    uint8_t data[NOTES_MAX];
    size_t size;
} bytes;

static void put(bytes *to, const void *data, size_t size) {
    CHECK(to->size + size <= sizeof to->data);
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put64(bytes *to, uint64_t value) { put(to, &value, sizeof value); }

static void note(bytes *to, uint32_t type, const void *data, size_t size) {
    const uint32_t head[3] = {5, (uint32_t)size, type};
    put(to, head, sizeof head);
    put(to, "CORE\0\0\0", 8);
    put(to, data, size);
    while (to->size % 4 != 0) put(to, "", 1);
}

static void segment(bytes *to, uint32_t type, uint32_t flags, uint64_t offset, uint64_t address, uint64_t size) {
    const uint32_t head[2] = {type, flags};
    put(to, head, sizeof head);
    put64(to, offset);
    put64(to, address);
    put64(to, 0);
    put64(to, type == MDC_ELF_LOAD && size == 0 ? PAGE : size); /* in the file; 0: all of a page */
    put64(to, type == MDC_ELF_LOAD ? PAGE : 0);
    put64(to, 1);
}

/* One thread, text of a file, a stack, an auxiliary vector and NT_FILE. */
static int make_core(void) {
    static const uint64_t auxv[] = {25, STACK + 64, 31, STACK + 128, 0, 0};
    static const char path[] = "/bin/made";
    uint8_t status[336] = {0}, info[136] = {0};
    const uint32_t tid = TID;
    const uint64_t sp = STACK + 16;
    bytes notes = {.size = 0}, files = {.size = 0}, head = {.size = 0};
    memcpy(status + 32, &tid, sizeof tid);
    memcpy(status + 112 + 8 * 19, &sp, sizeof sp);
    memcpy(info + 24, &tid, sizeof tid);
    memcpy(info + 40, "made", 4);
    const uint64_t file[] = {1, PAGE, BASE, BASE + PAGE, 0};
    put(&files, file, sizeof file);
    put(&files, path, sizeof path);
    note(&notes, 1, status, sizeof status);
    note(&notes, 3, info, sizeof info);
    note(&notes, 6, auxv, sizeof auxv);
    note(&notes, 0x46494c45, files.data, files.size);
    const uint64_t at = 64 + 3 * 56;
    put(&head, "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\4\0\76\0\1\0\0\0", 24);
    put64(&head, 0);
    put64(&head, 64);
    put64(&head, 0);
    put(&head, "\0\0\0\0\100\0\70\0\3\0\0\0\0\0\0\0", 16);
    segment(&head, MDC_ELF_NOTE, 0, at, 0, notes.size);
    segment(&head, MDC_ELF_LOAD, 5, PAGE, BASE, 0);
    segment(&head, MDC_ELF_LOAD, 6, 2 * PAGE, STACK, 0);
    int fd = memfd_create("core", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, head.data, head.size) == (ssize_t)head.size);
    REQUIRE(write(fd, notes.data, notes.size) == (ssize_t)notes.size && ftruncate(fd, 3 * PAGE) == 0);
    return fd;
}

static mdc_status look(int fd, size_t *threads, mdc_error *err) {
    static const mdc_core_options options = {
        .root = "/nowhere", .executable = "/nothing", .text_files = 1, .xstate = 1};
    mdc_source *source = NULL;
    mdc_dump_control control;
    mdc_error_clear(err);
    mdc_control_init(&control, 0);
    *threads = 0;
    if (mdc_core_source_new(fd, &options, &source, err) != MDC_OK) {
        CHECK(source == NULL);
        return err->code;
    }
    if (source->ops->prepare(source, &control, err) == MDC_OK && source->ops->stop(source, err) == MDC_OK) {
        const mdc_snapshot *lists = source->ops->snapshot(source);
        *threads = lists->thread_count;
        CHECK(source->pid == TID && lists->region_count == 2 && lists->threads[0].stack_pointer == STACK + 16);
        CHECK(lists->text_count >= 2 && lists->regions[0].name_id != 0);
        mdc_content run;
        uint64_t next;
        CHECK(source->ops->content(source, 1, STACK, STACK + PAGE, &run, 1, &next) == 1 && next == STACK + PAGE);
        CHECK(run.what == MDC_CONTENT_UNTOUCHED);
        CHECK(source->ops->prepare(source, &control, err) == MDC_ERR_INVALID);
        mdc_error_clear(err);
    }
    source->ops->free(source);
    return err->code;
}

int main(void) {
    int fd = make_core();
    mdc_error err;
    size_t threads;
    unsigned failed = 0;
    CHECK(look(fd, &threads, &err) == MDC_OK && threads == 1);
    for (unsigned n = 1; failed == n - 1; n++) {
        char spec[32];
        snprintf(spec, sizeof spec, "alloc:%u:12", n);
        mdc_failpoint_set(spec);
        const mdc_status status = look(fd, &threads, &err);
        mdc_failpoint_set("");
        if (status == MDC_OK) break;
        CHECK(status == MDC_ERR_NOMEM && err.message[0] != '\0');
        failed++;
    }
    CHECK(failed > 15);
    /* The position of the caller's descriptor stays, also where the file cannot be opened once more. */
    CHECK(lseek(fd, 77, SEEK_SET) == 77);
    CHECK(look(fd, &threads, &err) == MDC_OK && lseek(fd, 0, SEEK_CUR) == 77);
    mdc_failpoint_set("input:reopen:0:2");
    CHECK(look(fd, &threads, &err) == MDC_OK && lseek(fd, 0, SEEK_CUR) == 77);
    mdc_failpoint_set("");
    mdc_source *source = NULL;
    const mdc_core_options none = {.root = NULL};
    mdc_error_clear(&err);
    CHECK(mdc_core_source_new(-1, &none, &source, &err) == MDC_ERR_INVALID && source == NULL);
    mdc_error_clear(&err);
    REQUIRE(mdc_core_source_new(fd, &none, &source, &err) == MDC_OK);
    CHECK(source->ops->stop(source, &err) == MDC_ERR_INVALID);
    mdc_source_drop(&source);
    CHECK(source == NULL);
    close(fd);
    return failures != 0;
}
