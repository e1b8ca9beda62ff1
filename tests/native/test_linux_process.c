/* What /proc says of a process: stat with odd names, threads, texts by address, system facts, limits. */
#include <elf.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "api/engine.h"
#include "linux/handles.h"
#include "linux/process.h"
#include "linux/slow_fs.h"
#include "linux/threadinfo.h"
#include "linux_target.h"

enum { THREADS = 20 };
extern char **environ;

static const char *const odd_names[] = {"plain",         ") S 1 (x", "a b\nc)",   "(((((", ")))))",
                                        "\xff\xfe) Z 7", " ",        "a\\b\\\nc", "\\n",   "n\\"};
static int odd_name;

static mdc_error fresh_error(void) {
    mdc_error err;
    mdc_error_clear(&err);
    return err;
}

static void named_child(target_shared *shared) {
    prctl(PR_SET_NAME, odd_names[odd_name]);
    setpriority(PRIO_PROCESS, 0, 7);
    shared->ready = 1;
    for (;;) pause();
}

static void test_stat(void) {
    for (odd_name = 0; odd_name < (int)(sizeof odd_names / sizeof odd_names[0]); odd_name++) {
        target_shared *shared = target_share();
        pid_t pid = target_start(named_child, shared);
        WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
        int proc = proc_of(pid);
        mdc_error err = fresh_error();
        mdc_process_stat stat, own;
        REQUIRE_OK(mdc_process_read_stat(proc, &stat, &err), err);
        REQUIRE(stat.name_size == strlen(odd_names[odd_name]));
        REQUIRE(memcmp(stat.name, odd_names[odd_name], stat.name_size) == 0);
        REQUIRE(stat.state == 'S' && stat.ppid == getpid() && stat.threads == 1 && stat.nice == 7);
        REQUIRE(stat.priority == 27 && (stat.flags & 0x00200000) == 0);
        int self = proc_of(getpid());
        REQUIRE_OK(mdc_process_read_stat(self, &own, &err), err);
        REQUIRE(stat.start_time >= own.start_time && stat.start_time < own.start_time + 100 * 3600);
        REQUIRE(stat.start_stack == own.start_stack && stat.arg_start == own.arg_start && stat.env_end == own.env_end);
        REQUIRE(stat.start_stack != 0 && stat.arg_start > stat.start_stack && stat.arg_end > stat.arg_start);
        close(self);
        target_end(pid);
        REQUIRE(mdc_process_read_stat(proc, &stat, &err) == MDC_ERR_TARGET_GONE);
        close(proc);
        munmap(shared, sizeof *shared);
    }
    mdc_error err = fresh_error();
    mdc_process_stat stat;
    int dir = proc_of(2); /* kthreadd, if this is not a container of its own */
    if (dir >= 0 && mdc_process_read_stat(dir, &stat, &err) == MDC_OK && memcmp(stat.name, "kthreadd", 8) == 0)
        REQUIRE((stat.flags & 0x00200000) != 0 && stat.start_stack == 0);
    if (dir >= 0) close(dir);
}

static void check_thread(const char *name, int proc, pid_t pid, bool times, bool real_time) {
    mdc_error err = fresh_error();
    mdc_vec infos;
    mdc_vec_init(&infos, sizeof(mdc_threadinfo));
    mdc_mappings pool;
    mdc_mappings_init(&pool);
    REQUIRE_OK(mdc_threadinfo_list(&infos, proc, times, &err), err);
    REQUIRE(infos.count == 1);
    for (int born_since = 0; born_since < 2; born_since++) {
        mdc_thread thread = {.tid = (uint32_t)pid};
        if (born_since) infos.count = 0;
        REQUIRE_OK(mdc_threadinfo_fill(&infos, proc, times, &pool, &thread, &err), err);
        REQUIRE(thread.named && thread.name.size == strlen(name));
        REQUIRE(memcmp((char *)pool.pool.data + thread.name.offset, name, thread.name.size) == 0);
        REQUIRE((int32_t)thread.priority == (real_time ? 15 : -7));
        REQUIRE(thread.priority_class == (real_time ? 0x100U : 0x20U)); /* REALTIME_ and NORMAL_PRIORITY_CLASS */
        REQUIRE((thread.affinity != 0) == times && (thread.create_time != 0) == times);
    }
    mdc_vec_fini(&infos);
    mdc_mappings_fini(&pool);
}

static void refuse(int number) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* The same from both files, and where the short way is refused; real time only where that is allowed. */
static void test_threadinfo(void) {
    for (odd_name = 0; odd_name < (int)(sizeof odd_names / sizeof odd_names[0]); odd_name++) {
        const char *name = odd_names[odd_name];
        target_shared *shared = target_share();
        pid_t pid = target_start(named_child, shared);
        WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
        int proc = proc_of(pid);
        const struct sched_param lowest = {.sched_priority = 1};
        check_thread(name, proc, pid, false, false);
        check_thread(name, proc, pid, true, false);
        pid_t refused = fork();
        if (refused == 0) {
            refuse(SYS_sched_getattr);
            check_thread(name, proc, pid, false, false);
            _exit(0);
        }
        int status;
        REQUIRE(waitpid(refused, &status, 0) == refused && status == 0);
        if (sched_setscheduler(pid, SCHED_RR, &lowest) == 0) {
            check_thread(name, proc, pid, false, true);
            check_thread(name, proc, pid, true, true);
        }
        target_end(pid);
        close(proc);
        munmap(shared, sizeof *shared);
    }
}

static void threads_child(target_shared *shared) {
    start_threads(shared, THREADS, sleep_forever);
    for (;;) pause();
}

static void test_threads(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(threads_child, shared);
    WAIT_FOR(shared->ready == THREADS);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_vec tids;
    mdc_vec_init(&tids, sizeof(int32_t));
    REQUIRE_OK(mdc_process_threads(proc, &tids, &err), err);
    REQUIRE(tids.count == THREADS + 1);
    size_t leaders = 0;
    for (size_t i = 0; i < tids.count; i++) leaders += mdc_vec_at(&tids, int32_t, i) == pid;
    REQUIRE(leaders == 1);
    for (size_t i = 1; i < tids.count; i++) REQUIRE(mdc_vec_at(&tids, int32_t, i) > mdc_vec_at(&tids, int32_t, i - 1));
    for (size_t i = 0; i < tids.count; i++) REQUIRE(state_of(pid, mdc_vec_at(&tids, int32_t, i)) != '?');
    target_end(pid);
    tids.count = 0;
    REQUIRE(mdc_process_threads(proc, &tids, &err) == MDC_ERR_TARGET_GONE);
    mdc_vec_fini(&tids);
    close(proc);
    munmap(shared, sizeof *shared);
}

static void test_files(void) {
    char path[] = "/tmp/mdc_file_XXXXXX";
    int fd = mkstemp(path);
    char bytes[50000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i % 251);
    REQUIRE(fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    close(fd);
    mdc_error err = fresh_error();
    mdc_vec read;
    mdc_vec_init(&read, 1);
    REQUIRE_OK(mdc_vec_push(&read, "before", 6, NULL, &err), err);
    REQUIRE_OK(mdc_process_read_file(AT_FDCWD, path, sizeof bytes, &read, &err), err);
    REQUIRE(read.count == 6 + sizeof bytes && memcmp((char *)read.data + 6, bytes, sizeof bytes) == 0);
    read.count = 6;
    REQUIRE(mdc_process_read_file(AT_FDCWD, path, sizeof bytes - 1, &read, &err) == MDC_ERR_TARGET);
    REQUIRE(read.count == 6 && memcmp(read.data, "before", 6) == 0);
    unlink(path);
    err = fresh_error();
    REQUIRE(mdc_process_read_file(AT_FDCWD, path, 10, &read, &err) == MDC_ERR_TARGET_GONE && err.os_errno == ENOENT);
    mdc_vec_fini(&read);
}

static const mdc_text *text_of(const mdc_proc_files *texts, uint32_t stream) {
    const mdc_text *found = NULL;
    for (size_t i = 0; i < texts->texts.count; i++) {
        const mdc_text *text = &mdc_vec_at(&texts->texts, mdc_text, i);
        if (text->stream != stream) continue;
        REQUIRE(found == NULL);
        found = text;
    }
    return found;
}

static bool contains(const mdc_text *text, const char *what) {
    return text != NULL && text->data != NULL && memmem(text->data, text->size, what, strlen(what)) != NULL;
}

/* Cuts the environment short in place, as unsetenv does, so that its end is not where the auxiliary vector begins. */
static void texts_child(target_shared *shared) {
    environ[0] = NULL;
    shared->ready = 1;
    for (;;) pause();
}

static void broken_child(target_shared *shared) {
    /* The vector itself overwritten: it is after the environment's end. */
    char **at = environ;
    while (*at != NULL) at++;
    memset(at + 1, 0x77, 64);
    shared->ready = 1;
    for (;;) pause();
}

/* As a dump does it. */
static mdc_status read_texts(mdc_proc_files *texts, int proc, const mdc_process_stat *stat, mdc_vec *maps,
                             mdc_error *err) {
    bool cut;
    maps->count = 0;
    mdc_status status = mdc_process_read_text(proc, "maps", 1 << 20, maps, &cut, err);
    if (status == MDC_OK) status = mdc_proc_files_prepare(texts, proc, err);
    return status == MDC_OK ? mdc_proc_files_read(texts, proc, proc, stat, maps, err) : status;
}

static void test_texts(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(texts_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_process_stat stat;
    mdc_proc_files texts;
    mdc_vec maps;
    mdc_vec_init(&maps, 1);
    mdc_proc_files_init(&texts);
    REQUIRE_OK(mdc_process_read_stat(proc, &stat, &err), err);
    REQUIRE_OK(read_texts(&texts, proc, &stat, &maps, &err), err);
    char line[64];
    snprintf(line, sizeof line, "\nPid:\t%d\n", (int)pid);
    REQUIRE(contains(text_of(&texts, MDC_STREAM_STATUS), line));
    REQUIRE(contains(text_of(&texts, MDC_STREAM_LIMITS), "Max open files"));
    REQUIRE(contains(text_of(&texts, MDC_STREAM_CPUINFO), "processor"));
    REQUIRE(contains(text_of(&texts, MDC_STREAM_MAPS), "[stack]"));
    const mdc_text *cmdline = text_of(&texts, MDC_STREAM_CMDLINE), *environment = text_of(&texts, MDC_STREAM_ENVIRON);
    REQUIRE(cmdline != NULL && cmdline->data == NULL && cmdline->address == stat.arg_start);
    REQUIRE(cmdline->size == stat.arg_end - stat.arg_start);
    if (stat.env_end > stat.env_start)
        REQUIRE(environment != NULL && environment->data == NULL && environment->address == stat.env_start);
    /* The child is a fork: its content is here too. */
    REQUIRE(strcmp((const char *)cmdline->address, program_invocation_name) == 0);
    const mdc_text *auxv = text_of(&texts, MDC_STREAM_AUXV);
    REQUIRE(auxv != NULL && auxv->size >= sizeof(Elf64_auxv_t) && auxv->address > stat.start_stack);
    REQUIRE(memcmp((const void *)auxv->address, auxv->data, auxv->size) == 0);
    REQUIRE(texts.phdr == getauxval(AT_PHDR) && texts.phnum == getauxval(AT_PHNUM));
    REQUIRE(texts.clock_ticks == (uint32_t)sysconf(_SC_CLK_TCK));
    /* The memory is a child's, and the process runs: its status is its own as long as it is the same program. */
    int same = dup(proc);
    mdc_process_stat other = stat;
    REQUIRE_OK(mdc_proc_files_read(&texts, same, proc, &stat, &maps, &err), err);
    REQUIRE(contains(text_of(&texts, MDC_STREAM_STATUS), line));
    other.start_stack += 16;
    REQUIRE_OK(mdc_proc_files_read(&texts, same, proc, &other, &maps, &err), err);
    REQUIRE(text_of(&texts, MDC_STREAM_STATUS) == NULL && text_of(&texts, MDC_STREAM_LIMITS) != NULL);
    close(same);
    target_end(pid);
    REQUIRE(read_texts(&texts, proc, &stat, &maps, &err) != MDC_OK || text_of(&texts, MDC_STREAM_MAPS) == NULL);
    mdc_proc_files_fini(&texts);
    close(proc);

    shared->ready = 0;
    pid = target_start(broken_child, shared);
    WAIT_FOR(shared->ready == 1);
    proc = proc_of(pid);
    err = fresh_error();
    mdc_proc_files_init(&texts);
    REQUIRE_OK(read_texts(&texts, proc, &stat, &maps, &err), err);
    auxv = text_of(&texts, MDC_STREAM_AUXV);
    REQUIRE(auxv != NULL && auxv->address == stat.start_stack); /* asked about with the stack */
    mdc_proc_files_fini(&texts);
    mdc_vec_fini(&maps);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

enum { GROUPS = 60000 };

static void grouped_child(target_shared *shared) {
    static gid_t groups[GROUPS];
    for (unsigned i = 0; i < GROUPS; i++) groups[i] = 100000 + i;
    shared->words[0] = setgroups(GROUPS, groups) == 0;
    shared->ready = 1;
    for (;;) pause();
}

/* A text that is longer than we take: its first lines. */
static void test_long_text(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(grouped_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_vec bytes;
    mdc_vec_init(&bytes, 1);
    bool cut;
    REQUIRE_OK(mdc_vec_push(&bytes, "before", 6, NULL, &err), err);
    REQUIRE_OK(mdc_process_read_text(proc, "status", 24, &bytes, &cut, &err), err);
    const char *text = bytes.data;
    REQUIRE(cut && bytes.count > 6 && bytes.count <= 30 && memcmp(text, "beforeName:", 11) == 0);
    REQUIRE(text[bytes.count - 1] == '\n');
    bytes.count = 6;
    REQUIRE_OK(mdc_process_read_text(proc, "status", 3, &bytes, &cut, &err), err);
    REQUIRE(cut && bytes.count == 6);
    REQUIRE_OK(mdc_process_read_text(proc, "comm", 64, &bytes, &cut, &err), err);
    REQUIRE(!cut && bytes.count > 6);
    mdc_vec_fini(&bytes);
    if (shared->words[0]) {
        mdc_process_stat stat;
        mdc_proc_files texts;
        mdc_vec maps;
        mdc_vec_init(&maps, 1);
        mdc_proc_files_init(&texts);
        REQUIRE_OK(mdc_process_read_stat(proc, &stat, &err), err);
        REQUIRE_OK(read_texts(&texts, proc, &stat, &maps, &err), err);
        char line[64];
        snprintf(line, sizeof line, "\nPid:\t%d\n", (int)pid);
        const mdc_text *status = text_of(&texts, MDC_STREAM_STATUS);
        REQUIRE(contains(status, line) && !contains(status, "Groups:"));
        mdc_proc_files_fini(&texts);
        mdc_vec_fini(&maps);
    } else {
        printf("not allowed to join thousands of groups: the length of a real status is not tested\n");
    }
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

static void test_system(void) {
    mdc_error err = fresh_error();
    mdc_mappings pool;
    mdc_system system;
    mdc_process_stat stat;
    mdc_mappings_init(&pool);
    int self = proc_of(getpid());
    REQUIRE_OK(mdc_process_read_stat(self, &stat, &err), err);
    stat.user_ticks = 12345;
    stat.kernel_ticks = UINT64_MAX;
    mdc_vec cpuinfo;
    mdc_vec_init(&cpuinfo, 1);
    REQUIRE_OK(mdc_process_read_file(AT_FDCWD, "/proc/cpuinfo", 1 << 20, &cpuinfo, &err), err);
    REQUIRE_OK(mdc_system_read(&system, &pool, cpuinfo.data, cpuinfo.count, &err), err);
    mdc_system_times(&system, &stat);
    mdc_vec_fini(&cpuinfo);
    struct utsname name;
    REQUIRE(uname(&name) == 0);
    unsigned major = 0, minor = 0;
    REQUIRE(sscanf(name.release, "%u.%u", &major, &minor) == 2 && system.major == major && system.minor == minor);
    char line[512];
    snprintf(line, sizeof line, "%s %s %s %s", name.sysname, name.release, name.version, name.machine);
    REQUIRE(system.version.size == strlen(line));
    REQUIRE(memcmp(&mdc_vec_at(&pool.pool, char, system.version.offset), line, strlen(line)) == 0);
    const char *csd = &mdc_vec_at(&pool.pool, char, system.csd_version.offset); /* the rest after major.minor.build */
    snprintf(line, sizeof line, "%u.%u.%u", system.major, system.minor, system.build);
    size_t number = strlen(line);
    if (strncmp(name.release, line, number) == 0) {
        const char *rest = name.release + number;
        snprintf(line, sizeof line, "%s%s%s %s", rest, rest[0] != 0 ? " " : "", name.version, name.machine);
        REQUIRE(system.csd_version.size == strlen(line) && memcmp(csd, line, strlen(line)) == 0);
    }
    REQUIRE(system.architecture == 9 && system.platform == 0x8201 && system.processors > 0 && system.vendor[0] != 0);
    uint32_t family = system.version_information >> 8 & 0xF;
    if (family == 0xF) family += system.version_information >> 20 & 0xFF;
    REQUIRE(system.version_information == 0 || system.level == family);
    REQUIRE(system.version_information == 0 || (system.revision & 0xFF) == (system.version_information & 0xF));
    REQUIRE(system.user_time_s == 12345 / (uint64_t)sysconf(_SC_CLK_TCK) && system.kernel_time_s == UINT32_MAX);
    uint64_t now = (uint64_t)time(NULL);
    REQUIRE(system.create_time_s <= now + 2 && system.create_time_s + 3600 > now);
    REQUIRE(system.xstate_mask == 0 && system.xstate_size == 0);
    close(self);
    mdc_mappings_fini(&pool);
}

static void test_fdinfo(void) {
    static const char text[] =
        "pos:\t18446744073709551615\nflags:\t02100002\nmnt_id:\t27\nino:\t5\nxpos:\t9\nempty:\nodd:\tx";
    REQUIRE(mdc_fdinfo_number(text, "pos", 10) == UINT64_MAX && mdc_fdinfo_number(text, "flags", 8) == 02100002);
    REQUIRE(mdc_fdinfo_number(text, "mnt_id", 10) == 27 && mdc_fdinfo_number(text, "mnt", 10) == 0);
    REQUIRE(mdc_fdinfo_number(text, "empty", 10) == 0 && mdc_fdinfo_number(text, "odd", 10) == 0);
    REQUIRE(mdc_fdinfo_number("", "pos", 10) == 0 && mdc_fdinfo_number("\n\n", "pos", 10) == 0);
    REQUIRE(mdc_fdinfo_number("flags:\t0128", "flags", 8) == 012);
}

static void test_handles(void) {
    mdc_error err = fresh_error();
    mdc_mappings pool;
    mdc_vec handles;
    mdc_mappings_init(&pool);
    mdc_vec_init(&handles, sizeof(mdc_handle));
    int self = proc_of(getpid()), null = open("/dev/null", O_RDWR | O_CLOEXEC), far = dup2(null, 900);
    REQUIRE(null >= 0 && far == 900);
    REQUIRE_OK(mdc_mounts_read(&pool.mounts, self, &err), err);
    REQUIRE(mdc_handles_list(&handles, self, &pool, &err) && err.code == MDC_OK);
    bool found = false;
    for (size_t i = 0; i < handles.count; i++) {
        const mdc_handle *handle = &mdc_vec_at(&handles, const mdc_handle, i);
        REQUIRE(i == 0 || handle->value > mdc_vec_at(&handles, const mdc_handle, i - 1).value);
        REQUIRE((uint64_t)handle->name.offset + handle->name.size <= pool.pool.count);
        if (handle->value != 900) continue;
        found = true;
        REQUIRE(handle->name.size == 9 && memcmp((uint8_t *)pool.pool.data + handle->name.offset, "/dev/null", 9) == 0);
        REQUIRE((handle->access & O_ACCMODE) == O_RDWR && (handle->access & O_CLOEXEC) == 0);
    }
    REQUIRE(found);
    REQUIRE(!mdc_handles_list(&handles, null, &pool, &err) && err.code == MDC_OK); /* no directory */
    close(null);
    close(far);
    close(self);
    mdc_vec_fini(&handles);
    mdc_mappings_fini(&pool);
}

int main(void) {
    test_fdinfo();
    test_handles();
    test_stat();
    test_threadinfo();
    test_threads();
    test_files();
    test_texts();
    test_long_text();
    test_system();
    return 0;
}
