/* A minidump as a source: what its content says run by run, reads that end where memory does, errors that name offset
 * and field, failing allocations, a file that becomes shorter. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/base/os_error.h"
#include "../../csrc/dumpfile/dump_source.h"
#include "../../csrc/format/minidump_file.h"
#include "../../csrc/source/reading.h"
#include "check.h"

enum { PAGE = 4096, RANGES = 4, DATA = 512, MODULE_NAME = 6 };

#pragma pack(push, 4)
typedef struct image {
    mdc_file_header header;
    mdc_file_directory directory[5];
    mdc_file_system_info system;
    uint32_t thread_count;
    mdc_file_thread thread;
    uint32_t module_count;
    mdc_file_module module;
    uint32_t name_size;
    uint16_t name[MODULE_NAME];
    uint32_t range_count;
    mdc_file_memory ranges[RANGES];
    uint32_t name_count;
    mdc_file_thread_name thread_name;
    uint8_t context[1232];
    uint8_t data[DATA];
} image;
#pragma pack(pop)

#define AT(member) ((uint32_t)offsetof(image, member))

static void fill(image *file) {
    memset(file, 0, sizeof *file);
    file->header = (mdc_file_header){.signature = MDC_FILE_SIGNATURE,
                                     .version = MDC_FILE_VERSION,
                                     .stream_count = 5,
                                     .directory_rva = AT(directory)};
    file->directory[0] = (mdc_file_directory){MDC_STREAM_TYPE_SYSTEM_INFO, sizeof file->system, AT(system)};
    file->directory[1] = (mdc_file_directory){MDC_STREAM_TYPE_THREAD_LIST, 4 + 48, AT(thread_count)};
    file->directory[2] = (mdc_file_directory){MDC_STREAM_TYPE_MODULE_LIST, 4 + 108, AT(module_count)};
    file->directory[3] = (mdc_file_directory){MDC_STREAM_TYPE_MEMORY_LIST, 4 + 16 * RANGES, AT(range_count)};
    file->directory[4] = (mdc_file_directory){MDC_STREAM_TYPE_THREAD_NAMES, 4 + 12, AT(name_count)};
    file->system.processor_architecture = MDC_FILE_ARCH_AMD64;
    file->thread_count = file->module_count = file->name_count = 1;
    file->thread.thread_id = 7;
    file->thread.context = (mdc_file_location){sizeof file->context, AT(context)};
    memcpy(file->context + 152, &(uint64_t){0x10010}, 8);
    file->module = (mdc_file_module){.base_of_image = 0x20000, .size_of_image = PAGE, .name_rva = AT(name_size)};
    file->name_size = sizeof file->name;
    for (int i = 0; i < MODULE_NAME; i++) file->name[i] = (uint16_t)("/bin/x"[i]);
    file->range_count = RANGES;
    /* Two that touch, one apart from them, and one whose end the file does not have. */
    file->ranges[0] = (mdc_file_memory){0x10000, {100, AT(data)}};
    file->ranges[1] = (mdc_file_memory){0x10064, {50, AT(data) + 200}};
    file->ranges[2] = (mdc_file_memory){0x10100, {10, AT(data) + 10}};
    file->ranges[3] = (mdc_file_memory){0x10200, {100, AT(data) + DATA - 30}};
    file->thread_name = (mdc_file_thread_name){7, AT(name_size)};
    for (int i = 0; i < DATA; i++) file->data[i] = (uint8_t)i;
}

static int stored(const image *file) {
    int fd = memfd_create("dump", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, file, sizeof *file) == (ssize_t)sizeof *file);
    return fd;
}

static mdc_reading *opened(int fd, bool tolerant, mdc_error *err) {
    mdc_source *source = NULL;
    mdc_reading *reading = NULL;
    mdc_dump_source_options options = {.tolerant = tolerant};
    mdc_error_clear(err);
    if (mdc_dump_source_new(fd, &options, &source, err) != MDC_OK) return NULL;
    (void)mdc_reading_new(&source, &reading, err);
    CHECK(source == NULL);
    return reading;
}

static void test_content(void) {
    static const mdc_content expected[] = {
        {0x10000, 0x10096, MDC_CONTENT_DATA, 0},   {0x10096, 0x10100, MDC_CONTENT_ABSENT, 0},
        {0x10100, 0x1010A, MDC_CONTENT_DATA, 0},   {0x1010A, 0x10200, MDC_CONTENT_ABSENT, 0},
        {0x10200, 0x1021E, MDC_CONTENT_DATA, 0},   {0x1021E, 0x10264, MDC_CONTENT_CUT, 0},
        {0x10264, 0x11000, MDC_CONTENT_ABSENT, 0},
    };
    enum { COUNT = sizeof expected / sizeof *expected };
    image file;
    fill(&file);
    int fd = stored(&file);
    mdc_error err;
    mdc_reading *reading = opened(fd, false, &err);
    REQUIRE(reading != NULL);
    const mdc_snapshot *lists = mdc_reading_snapshot(reading);
    REQUIRE(lists->region_count == 1 && lists->cut_bytes == 70);
    CHECK(lists->regions[0].base == 0x10000 && lists->regions[0].size == PAGE);
    for (size_t room = 1; room <= COUNT; room++) {
        mdc_content runs[COUNT + 1];
        uint64_t next = 0x10000;
        size_t count = 0;
        while (next < 0x11000 && count < COUNT) {
            uint64_t first = next;
            size_t got = mdc_reading_content(reading, 0, first, 0x11000, runs + count, room, &next);
            REQUIRE(got > 0 && got <= room && next > first);
            count += got;
        }
        /* Two runs that touch may be one or two: joined here. */
        size_t joined = 0;
        for (size_t i = 0; i < count; i++) {
            if (joined > 0 && runs[joined - 1].what == runs[i].what)
                runs[joined - 1].end = runs[i].end;
            else
                runs[joined++] = runs[i];
        }
        if (room > 1) CHECK(joined == COUNT && memcmp(runs, expected, sizeof expected) == 0);
    }
    mdc_reading_free(reading);
    close(fd);
}

static void test_reads(void) {
    image file;
    fill(&file);
    int fd = stored(&file);
    mdc_error err;
    mdc_reading *reading = opened(fd, false, &err);
    REQUIRE(reading != NULL);
    uint8_t bytes[200];
    size_t done;
    int32_t number;
    CHECK(mdc_reading_read(reading, 0x10060, 10, bytes, &done, &number, &err) == MDC_OK && done == 10 && number == 0);
    CHECK(memcmp(bytes, (uint8_t[]){96, 97, 98, 99, 200, 201, 202, 203, 204, 205}, 10) == 0);
    CHECK(mdc_reading_read(reading, 0x10090, 20, bytes, &done, &number, &err) == MDC_OK && done == 6);
    CHECK(number == MDC_OS_FAULT);
    CHECK(mdc_reading_read(reading, 0xFFF0, 20, bytes, &done, &number, &err) == MDC_OK && done == 0);
    CHECK(mdc_reading_read(reading, UINT64_MAX, 1, bytes, &done, &number, &err) == MDC_OK && done == 0);
    REQUIRE(ftruncate(fd, AT(data)) == 0); /* the file becomes shorter after it was read */
    CHECK(mdc_reading_read(reading, 0x10000, 20, bytes, &done, &number, &err) == MDC_OK && done == 0 && number != 0);
    mdc_reading_free(reading);
    close(fd);
}

/* A strict reader names stream, field and offset; a tolerant one lists the same, and reads the rest. */
static void check_fault(const image *file, const char *words, const char *offset, size_t threads) {
    int fd = stored(file);
    mdc_error err;
    CHECK(opened(fd, false, &err) == NULL);
    CHECK(err.code == MDC_ERR_FORMAT && strstr(err.message, words) != NULL && strstr(err.message, offset) != NULL);
    mdc_reading *reading = opened(fd, true, &err);
    REQUIRE(reading != NULL);
    const mdc_dump_view *view = mdc_dump_source_view(mdc_reading_source(reading));
    bool found = false;
    for (size_t i = 0; i < view->fault_count; i++) found = found || strstr(view->faults[i].message, words) != NULL;
    CHECK(found && mdc_reading_snapshot(reading)->thread_count == threads);
    mdc_reading_free(reading);
    close(fd);
}

static void test_faults(void) {
    image file;
    char offset[32];
    fill(&file);
    file.thread_count = 99;
    snprintf(offset, sizeof offset, "0x%x", AT(thread_count));
    check_fault(&file, "ThreadList: 99 entries at offset", offset, 0);
    fill(&file);
    file.module.name_rva = 0x7FFFFFFF;
    check_fault(&file, "ModuleList: a name", "0x7fffffff", 1);
    fill(&file);
    file.thread.context.rva = 0xFFFFFF00;
    check_fault(&file, "ThreadList: a context", "0xffffff00", 1);
    fill(&file);
    file.thread.context.data_size = 1 << 17;
    check_fault(&file, "ThreadList: a context", "longer than 65536", 1);
    fill(&file);
    file.module.cv_record = (mdc_file_location){8, 0xFFFFFFF0};
    check_fault(&file, "CodeView record", "0xfffffff0", 1);
    fill(&file);
    file.ranges[2].start = UINT64_MAX - 3;
    snprintf(offset, sizeof offset, "0x%x", AT(ranges[2]));
    check_fault(&file, "MemoryList: an entry", offset, 1);
    fill(&file);
    file.directory[0].rva = 0x40000000;
    check_fault(&file, "SystemInfo: 56 bytes", "0x40000000", 1);
}

static void test_header_and_directory(void) {
    image file;
    mdc_error err;
    for (int i = 0; i < 3; i++) {
        fill(&file);
        if (i == 0) file.header.signature = 0;
        if (i == 1) file.header.version = 0;
        if (i == 2) file.header.stream_count = UINT32_MAX;
        int fd = stored(&file);
        for (int tolerant = 0; tolerant < 2; tolerant++)
            CHECK(opened(fd, tolerant != 0, &err) == NULL && err.code == MDC_ERR_FORMAT);
        close(fd);
    }
}

static void test_failing_allocations(void) {
    image file;
    mdc_error err;
    fill(&file);
    file.ranges[2].start = 0x10050; /* ranges overlap: more is allocated */
    int fd = stored(&file);
    int refused = 0;
    for (int n = 1; n < 1000; n++) {
        char spec[32];
        snprintf(spec, sizeof spec, "alloc:%d:12", n);
        mdc_failpoint_set(spec);
        mdc_reading *reading = opened(fd, n % 2 == 0, &err);
        unsigned long passed = mdc_failpoint_passes("alloc");
        mdc_failpoint_set("");
        check_round = n;
        CHECK(reading != NULL || err.code == MDC_ERR_NOMEM);
        mdc_reading_free(reading);
        refused += reading == NULL;
        if (passed < (unsigned long)n) break;
    }
    check_round = 0;
    CHECK(refused > 15);
    close(fd);
}

int main(void) {
    test_content();
    test_reads();
    test_faults();
    test_header_and_directory();
    test_failing_allocations();
    return failures != 0;
}
