/* The text streams of a process, Breakpad's set and the limits (see process.h). Texts that the kernel makes are copied;
 * the command line, the environment and the auxiliary vector are target memory and given by address, so that the callee
 * is asked.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/shortage.h"
#include "../format/escape.h"
#include "../source/arguments.h"
#include "process.h"

/* Bytes. cpuinfo has about 1.5 KiB per processor. */
enum {
    CPUINFO_MAX = 1 << 20,
    STATUS_MAX = 64 << 10,
    LIMITS_MAX = 64 << 10,
    LSB_RELEASE_MAX = 64 << 10,
    AUXV_MAX = 64 << 10
};

void mdc_proc_files_init(mdc_proc_files *texts) {
    memset(texts, 0, sizeof *texts);
    texts->mem = -1;
    mdc_vec_init(&texts->texts, sizeof(mdc_text));
    mdc_vec_init(&texts->bytes, 1);
    mdc_vec_init(&texts->early, 1);
}

void mdc_proc_files_fini(mdc_proc_files *texts) {
    mdc_vec_fini(&texts->texts);
    mdc_vec_fini(&texts->bytes);
    mdc_vec_fini(&texts->early);
}

/* Appends the file's bytes. A file that is missing or forbidden costs its stream only; of one that is too long (the
 * status of a process with thousands of groups) the first lines stay. */
static mdc_status read_file(mdc_vec *bytes, int directory, const char *name, size_t limit, mdc_error *err) {
    mdc_error why;
    mdc_error_clear(&why);
    bool cut;
    mdc_status status = mdc_process_read_text(directory, name, limit, bytes, &cut, &why);
    if (!mdc_is_shortage(status) && !(status == MDC_ERR_TARGET_GONE && why.os_errno == ESRCH)) return MDC_OK;
    *err = why;
    return status;
}

/* mdc_text.address holds the offset of what was appended until the end. */
static mdc_status add_text(mdc_proc_files *texts, uint32_t stream, size_t start, mdc_error *err) {
    mdc_text text = {.stream = stream, .address = start, .size = texts->bytes.count - start};
    return text.size != 0 ? mdc_vec_push(&texts->texts, &text, 1, NULL, err) : MDC_OK;
}

static mdc_status add_file(mdc_proc_files *texts, uint32_t stream, int directory, const char *name, size_t limit,
                           mdc_error *err) {
    const size_t start = texts->bytes.count;
    mdc_status status = read_file(&texts->bytes, directory, name, limit, err);
    return status == MDC_OK ? add_text(texts, stream, start, err) : status;
}

static mdc_status add_bytes(mdc_proc_files *texts, uint32_t stream, const void *bytes, size_t size, mdc_error *err) {
    const size_t start = texts->bytes.count;
    mdc_status status = mdc_vec_push(&texts->bytes, bytes, size, NULL, err);
    return status == MDC_OK ? add_text(texts, stream, start, err) : status;
}

static mdc_status add_memory(mdc_proc_files *texts, uint32_t stream, uint64_t first, uint64_t end, mdc_error *err) {
    if (first == 0 || end <= first) return MDC_OK;
    mdc_text text = {.stream = stream, .address = first, .size = mdc_min_u64(end - first, MDC_ARGUMENTS_MAX)};
    return mdc_vec_push(&texts->texts, &text, 1, NULL, err);
}

static mdc_status read_mem(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err) {
    (void)err;
    ssize_t got = pread(*(const int *)context, to, size, (off_t)(address & INT64_MAX));
    *done = got > 0 ? (size_t)got : 0;
    return MDC_OK;
}

static uint64_t find_auxv(int lent, int proc, const mdc_process_stat *stat, const uint8_t *auxv, size_t size) {
    int mem = lent >= 0 ? lent : openat(proc, "mem", O_RDONLY | O_CLOEXEC);
    if (mem < 0) return 0;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    uint64_t found = 0;
    (void)mdc_auxv_find(read_mem, &mem, stat->start_stack, stat->arg_start, auxv, size, &found, &ignored);
    if (mem != lent) close(mem);
    return found;
}

static mdc_status add_auxv(mdc_proc_files *texts, int proc, mdc_error *err) {
    const size_t start = texts->bytes.count;
    const size_t before = texts->texts.count;
    mdc_status status = add_file(texts, MDC_STREAM_AUXV, proc, "auxv", AUXV_MAX, err);
    if (status != MDC_OK || texts->texts.count == before) return status;
    const uint8_t *bytes = (const uint8_t *)texts->bytes.data + start;
    size_t size = texts->bytes.count - start;
    for (size_t i = 0; i + sizeof(Elf64_auxv_t) <= size; i += sizeof(Elf64_auxv_t)) {
        Elf64_auxv_t entry;
        memcpy(&entry, bytes + i, sizeof entry);
        if (entry.a_type == AT_NULL) break;
        if (entry.a_type == AT_PHDR) texts->phdr = entry.a_un.a_val;
        if (entry.a_type == AT_PHENT) texts->phent = entry.a_un.a_val;
        if (entry.a_type == AT_EXECFN) texts->execfn = entry.a_un.a_val;
        if (entry.a_type == AT_RANDOM) texts->random = entry.a_un.a_val;
        if (entry.a_type == AT_PLATFORM) texts->platform = entry.a_un.a_val;
        if (entry.a_type == AT_PHNUM && entry.a_un.a_val <= UINT16_MAX) texts->phnum = (uint32_t)entry.a_un.a_val;
        if (entry.a_type == AT_CLKTCK && entry.a_un.a_val <= UINT32_MAX)
            texts->clock_ticks = (uint32_t)entry.a_un.a_val;
    }
    return MDC_OK;
}

/* The kernel escapes newlines in names. Readers that take the text for UTF-8 refuse all of it for an invalid byte
 * (rust-minidump), and others split lines at more than newlines. */
static mdc_status add_maps(mdc_proc_files *texts, const mdc_vec *maps, mdc_error *err) {
    const size_t start = texts->bytes.count;
    mdc_status status = MDC_OK;
    if (mdc_escape_needed(maps->data, maps->count, MDC_ESCAPE_LINES)) {
        status = mdc_escape_text(&texts->bytes, maps->data, maps->count, MDC_ESCAPE_LINES, err);
        return status == MDC_OK ? add_text(texts, MDC_STREAM_MAPS, start, err) : status;
    }
    const mdc_text text = {.stream = MDC_STREAM_MAPS, .size = maps->count, .data = maps->data};
    return maps->count != 0 ? mdc_vec_push(&texts->texts, &text, 1, NULL, err) : MDC_OK;
}

/* Offsets become pointers, now that the bytes stay where they are. */
static void fix_up(mdc_proc_files *texts, int proc, const mdc_process_stat *stat) {
    for (size_t i = 0; i < texts->texts.count; i++) {
        mdc_text *text = &mdc_vec_at(&texts->texts, mdc_text, i);
        if (text->stream == MDC_STREAM_CMDLINE || text->stream == MDC_STREAM_ENVIRON || text->data != NULL) continue;
        text->data = (const uint8_t *)texts->bytes.data + text->address;
        text->address = 0;
        if (text->stream != MDC_STREAM_AUXV) continue;
        text->address = find_auxv(texts->mem, proc, stat, text->data, (size_t)text->size);
        /* Changed by the program: it is asked about with the stack's beginning, which lies right below. */
        if (text->address == 0) text->address = stat->start_stack;
    }
}

/* Of the process itself. If its memory is a child's, it may have ended meanwhile, or become another program. */
static mdc_status add_own(mdc_proc_files *texts, uint32_t stream, int process, int proc, const char *name, size_t limit,
                          const mdc_process_stat *stat, mdc_error *err) {
    const size_t texts_before = texts->texts.count, bytes_before = texts->bytes.count;
    mdc_error why;
    mdc_error_clear(&why);
    mdc_status status = add_file(texts, stream, process, name, limit, &why);
    if (status == MDC_OK && process != proc && !mdc_process_same_program(process, stat)) {
        texts->texts.count = texts_before;
        texts->bytes.count = bytes_before;
    }
    if (status == MDC_OK || (status == MDC_ERR_TARGET_GONE && process != proc)) return MDC_OK;
    *err = why;
    return status;
}

mdc_status mdc_proc_files_prepare(mdc_proc_files *texts, int process, mdc_error *err) {
    mdc_vec *early = &texts->early;
    early->count = 0;
    mdc_status status = read_file(early, AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, err);
    texts->cpuinfo_size = early->count;
    /* The dumper's, as Breakpad does: the target's root could be anything, a FIFO too. Distributions without this file
     * have their facts in os-release, in the same form. */
    if (status == MDC_OK) status = read_file(early, AT_FDCWD, "/etc/lsb-release", LSB_RELEASE_MAX, err);
    if (status == MDC_OK && early->count == texts->cpuinfo_size)
        status = read_file(early, AT_FDCWD, "/etc/os-release", LSB_RELEASE_MAX, err);
    texts->release_size = early->count - texts->cpuinfo_size;
    if (status == MDC_OK) status = read_file(early, process, "limits", LIMITS_MAX, err);
    texts->limits_size = early->count - texts->release_size - texts->cpuinfo_size;
    return status;
}

mdc_status mdc_proc_files_read(mdc_proc_files *texts, int process, int proc, const mdc_process_stat *stat,
                               const mdc_vec *maps, mdc_error *err) {
    const uint8_t *early = texts->early.data;
    const size_t release = texts->cpuinfo_size, limits = release + texts->release_size;
    texts->texts.count = 0;
    texts->bytes.count = 0;
    mdc_status status = add_bytes(texts, MDC_STREAM_CPUINFO, early, release, err);
    if (status == MDC_OK) status = add_own(texts, MDC_STREAM_STATUS, process, proc, "status", STATUS_MAX, stat, err);
    if (status == MDC_OK) status = add_bytes(texts, MDC_STREAM_LSB_RELEASE, early + release, texts->release_size, err);
    if (status == MDC_OK) status = add_memory(texts, MDC_STREAM_CMDLINE, stat->arg_start, stat->arg_end, err);
    if (status == MDC_OK) status = add_memory(texts, MDC_STREAM_ENVIRON, stat->env_start, stat->env_end, err);
    if (status == MDC_OK) status = add_auxv(texts, proc, err);
    if (status == MDC_OK) status = add_maps(texts, maps, err);
    if (status == MDC_OK) status = add_bytes(texts, MDC_STREAM_LIMITS, early + limits, texts->limits_size, err);
    if (status != MDC_OK) return status;
    mdc_vec_trim(&texts->bytes);
    fix_up(texts, proc, stat);
    return MDC_OK;
}
