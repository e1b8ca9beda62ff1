/* What /proc says of a process: identity, state, threads, times, texts, system facts. */
#ifndef MDC_LINUX_PROCESS_H
#define MDC_LINUX_PROCESS_H

#include "../base/vec.h"
#include "../source/source.h"
#include "mappings.h"

#define MDC_PF_KTHREAD UINT64_C(0x00200000) /* include/linux/sched.h */

/* /proc/PID/stat, as far as needed. */
typedef struct mdc_process_stat {
    char state; /* R S D T t Z X I */
    bool ended; /* a zombie, or without memory on the way to it; a kernel thread never is */
    int32_t ppid;
    uint64_t flags;      /* PF_* */
    uint64_t start_time; /* field 22: clock ticks since boot */
    uint64_t resident_pages;
    uint64_t user_ticks, kernel_ticks;
    int64_t priority, nice;
    uint64_t start_stack; /* field 28 */
    uint64_t arg_start, arg_end, env_start, env_end;
    int32_t exit_code; /* of the process, as for wait(2); 0 as long as it lives, or where it may not be seen */
    char name[64];     /* comm, raw bytes */
    uint32_t name_size;
    uint32_t threads;
} mdc_process_stat;

/* directory: /proc/PID or /proc/PID/task/TID. */
mdc_status mdc_process_read_stat(int directory, mdc_process_stat *stat, mdc_error *err);
/* The same of a file below the directory ("task/TID/stat"). */
mdc_status mdc_process_read_stat_at(int directory, const char *name, mdc_process_stat *stat, mdc_error *err);
/* Whether the process still runs the program that stat was read of; false as well if it has ended. */
bool mdc_process_same_program(int directory, const mdc_process_stat *stat);
/* The same of a stat file that is open, without allocating: 0 or an error number, EBADMSG if it makes no sense. Works
 * again and again. */
int mdc_process_parse_stat(int file, mdc_process_stat *stat);
/* The number after "\nField:" in the status file below the directory, or -1 if it is not there. */
mdc_status mdc_process_status_number(int directory, const char *name, long *value, mdc_error *err);
/* Several of them, of one moment. */
mdc_status mdc_process_status_numbers(int directory, const char *const *names, long *values, size_t count,
                                      mdc_error *err);
/* Reads a whole file below the directory, at most `limit` bytes (more is MDC_ERR_TARGET); appended to bytes (uint8_t).
 */
mdc_status mdc_process_read_file(int directory, const char *name, size_t limit, mdc_vec *bytes, mdc_error *err);
/* The same for a text whose beginning is useful: if it is longer, *cut is set and the lines that fit
 * into the limit are kept. */
mdc_status mdc_process_read_text(int directory, const char *name, size_t limit, mdc_vec *bytes, bool *cut,
                                 mdc_error *err);
/* tids of all threads, ascending. tids: int32_t. directory: /proc/PID. */
mdc_status mdc_process_threads(int directory, mdc_vec *tids, mdc_error *err);
/* System facts (uname, and the processor by the text of cpuinfo); the version string goes to pool_owner's pool. The
 * xstate members stay 0: the registers provide them, and mdc_system_times those of the times. */
mdc_status mdc_system_read(mdc_system *system, mdc_mappings *pool_owner, const uint8_t *cpuinfo, size_t size,
                           mdc_error *err);
void mdc_system_times(mdc_system *system, const mdc_process_stat *stat);

/* Texts for the streams not in omit (MDC_STREAM_*): cpuinfo, status, lsb-release, maps, limits as bytes; cmdline,
 * environ by address; auxv as bytes with its address. The bytes live in `bytes` (uint8_t); offsets in mdc_text.data are
 * fixed up at the end. */
typedef struct mdc_proc_files {
    mdc_vec texts; /* mdc_text */
    mdc_vec bytes; /* uint8_t */
    mdc_vec early; /* uint8_t: what was read before the stop, in this order */
    size_t cpuinfo_size, release_size, limits_size;
    uint64_t phdr;   /* AT_PHDR */
    uint64_t phent;  /* AT_PHENT: 56 in a 64-bit process */
    uint64_t execfn; /* AT_EXECFN, AT_RANDOM, AT_PLATFORM: addresses; 0: the vector has none */
    uint64_t random;
    uint64_t platform;
    uint32_t phnum;
    uint32_t clock_ticks; /* AT_CLKTCK */
    int mem;              /* /proc/PID/mem of the process whose memory is seen, borrowed; -1: it is opened */
} mdc_proc_files;
void mdc_proc_files_init(mdc_proc_files *texts);
void mdc_proc_files_fini(mdc_proc_files *texts);
/* A text that cannot be read, or is longer than its limit, is left out; only memory shortage and a target that is gone
 * are errors. Before the stop: what says nothing of the moment (cpuinfo, the release, limits). process: /proc/PID. */
mdc_status mdc_proc_files_prepare(mdc_proc_files *texts, int process, mdc_error *err);
/* The rest, and all in order. proc: where its memory is seen, the same as process or a child's. maps: the text of maps
 * (uint8_t), borrowed as long as the texts are used. */
mdc_status mdc_proc_files_read(mdc_proc_files *texts, int process, int proc, const mdc_process_stat *stat,
                               const mdc_vec *maps, mdc_error *err);

#endif
