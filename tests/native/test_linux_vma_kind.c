/* The pure parts of listing mappings: the text parser against odd lines, classification by made-up facts, and smaps
 * flags found again for mappings that changed. */
#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/corefilter.h"
#include "linux/mapfiles.h"
#include "linux/proc_maps.h"
#include "linux/slow_fs.h"
#include "linux/smaps.h"
#include "linux/vma_kind.h"
#include "linux_target.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { PAGE = 4096 };

static mdc_error fresh_error(void) {
    mdc_error err;
    mdc_error_clear(&err);
    return err;
}

/* --- file systems that may not answer --- */

static mdc_fs_kind kind_of(const char *type) { return mdc_fs_kind_of_type((const uint8_t *)type, strlen(type)); }

static bool mount_of(const char *line, mdc_mount *mount) {
    return mdc_mount_parse((const uint8_t *)line, strlen(line), mount);
}

static mdc_fs_kind found(const mdc_vec *mounts, uint32_t dev_major, uint32_t dev_minor, const char *name) {
    return mdc_mounts_find(mounts, dev_major, dev_minor, (const uint8_t *)name, strlen(name));
}

static void test_slow_file_systems(void) {
    static const char *const slow[] = {"fuse", "fuseblk", "fuse.sshfs", "virtiofs", "nfs",
                                       "nfs4", "cifs",    "smb3",       "ceph"};
    static const char *const local[] = {"", "ext4", "fusectl", "nfsd", "overlay", "9pfs"};
    for (size_t i = 0; i < sizeof slow / sizeof slow[0]; i++) REQUIRE(kind_of(slow[i]) == MDC_FS_SLOW);
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) REQUIRE(kind_of(local[i]) == MDC_FS_LOCAL);
    REQUIRE(kind_of("tmpfs") == MDC_FS_MEMORY && kind_of("hugetlbfs") == MDC_FS_MEMORY);
    REQUIRE(kind_of("9p") == MDC_FS_SLOW_STAT && kind_of("lustre") == MDC_FS_SLOW_STAT);

    mdc_mount mount;
    REQUIRE(mount_of("36 35 0:52 /a /mnt/a\\040b rw,noatime master:1 shared:2 - fuse.sshfs me@there: rw", &mount));
    REQUIRE(mount.dev_major == 0 && mount.dev_minor == 52 && mount.kind == MDC_FS_SLOW);
    REQUIRE(mount_of("24 1 254:1 / / rw - ext4 /dev/root rw", &mount));
    REQUIRE(mount.dev_major == 254 && mount.dev_minor == 1 && mount.kind == MDC_FS_LOCAL && mount.id == 24);
    static const char *const bad[] = {"",
                                      "36",
                                      "36 35",
                                      "36 35 0:52",
                                      "36 35 0:52 / /mnt rw fuse x rw",
                                      "36 35 0:52 / /mnt rw -",
                                      "36 35 052 / /mnt rw - fuse x rw",
                                      "36 35 : / /mnt rw - fuse x rw",
                                      "36 35 0:x / /mnt rw - fuse x rw",
                                      "36 35 4294967296:1 / /mnt rw - fuse x rw"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) REQUIRE(!mount_of(bad[i], &mount));

    mdc_error err = fresh_error();
    mdc_vec mounts;
    mdc_vec_init(&mounts, sizeof(mdc_mount));
    mdc_mount two[2] = {{0, 52, MDC_FS_SLOW}, {0, 53, MDC_FS_LOCAL}};
    REQUIRE_OK(mdc_vec_push(&mounts, two, 2, NULL, &err), err);
    REQUIRE(found(&mounts, 0, 52, "/mnt/x") == MDC_FS_SLOW && found(&mounts, 0, 53, "/x") == MDC_FS_LOCAL);
    /* Mounted nowhere: detached, unless it is a block device or the kernel's own. */
    REQUIRE(found(&mounts, 0, 54, "/x") == MDC_FS_SLOW_STAT && found(&mounts, 8, 1, "/x") == MDC_FS_LOCAL);
    REQUIRE(found(&mounts, 0, 54, "anon_inode:[perf_event]") == MDC_FS_LOCAL);
    REQUIRE(found(&mounts, 0, 54, "/memfd:x (deleted)") == MDC_FS_MEMORY);

    /* What this process has: shared memory of its own and not on a file system that is served. */
    mounts.count = 0;
    REQUIRE_OK(mdc_mounts_read(&mounts, proc_of(getpid()), &err), err);
    REQUIRE(mounts.count > 1);
    int shared = memfd_create("x", MFD_CLOEXEC);
    struct stat memory;
    REQUIRE(shared >= 0 && fstat(shared, &memory) == 0);
    REQUIRE(found(&mounts, major(memory.st_dev), minor(memory.st_dev), "/x") == MDC_FS_MEMORY);
    close(shared);
    mdc_vec_fini(&mounts);
}

/* --- the parser --- */

static bool parse(const char *text, mdc_map_record *record, char *name) {
    static uint8_t line[512];
    size_t size = strlen(text);
    memcpy(line, text, size);
    bool ok = mdc_map_parse(line, size, record);
    if (ok) {
        memcpy(name, record->name, record->name_size);
        name[record->name_size] = '\0';
    }
    return ok;
}

static void test_parser(void) {
    mdc_map_record r;
    char name[512];
    REQUIRE(
        parse("5558f6353000-5558f6355000 r-xp 00001000 fe:00 247026                     /usr/bin/a b  c ", &r, name));
    REQUIRE(r.first == 0x5558f6353000 && r.end == 0x5558f6355000 && r.file_offset == 0x1000 && r.inode == 247026);
    REQUIRE(r.dev_major == 0xfe && r.dev_minor == 0 && r.perms == (MDC_PERM_READ | MDC_PERM_EXECUTE));
    REQUIRE(strcmp(name, "/usr/bin/a b  c ") == 0);
    REQUIRE(parse("1000-2000 -w-s 00000000 00:00 0", &r, name));
    REQUIRE(r.perms == (MDC_PERM_WRITE | MDC_PERM_SHARED) && r.name_size == 0 && r.inode == 0);
    REQUIRE(parse("1000-2000 rw-p 00000000 00:00 0 ", &r, name) && r.name_size == 0);
    REQUIRE(parse("1000-2000 rw-p 0 0:0 7 /a\\012b\\0123\\134\\", &r, name) && strcmp(name, "/a\nb\n3\\134\\") == 0);
    REQUIRE(parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", &r, name));
    REQUIRE(r.first == 0xffffffffff600000 && strcmp(name, "[vsyscall]") == 0);
    static const char *const bad[] = {"",
                                      "1000",
                                      "1000-2000",
                                      "1000-2000 rw-p",
                                      "2000-1000 rw-p 0 0:0 0",
                                      "1000-1000 rw-p 0 0:0 0",
                                      "1000-20000000000000000 rw-p 0 0:0 0",
                                      "1000-2000 rw-p 0 0 0",
                                      "1000-2000 rw-p 0 0:0 x",
                                      "1000-2000 rw-p 0 0:0 99999999999999999999999999999999",
                                      "1000-2000 rw-p 0 100000000:0 0",
                                      "-2000 rw-p 0 0:0 0",
                                      "1000-2000 rw-p  0:0 0",
                                      "1000-2000 rwxps 0 0:0 0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) REQUIRE(!parse(bad[i], &r, name));
}

/* Lines of all lengths around the reader's buffer, out of a real file. */
static void test_reader(void) {
    char path[] = "/tmp/mdc_lines_XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    static const size_t lengths[] = {0, 1, 100, 32767, 32768, 32769, 70000, 3, 200000, 5};
    enum { LINES = sizeof lengths / sizeof lengths[0] };
    for (int i = 0; i < LINES; i++) {
        char *line = malloc(lengths[i] + 1);
        memset(line, 'a' + i, lengths[i]);
        line[lengths[i]] = '\n';
        size_t bytes = lengths[i] + (i + 1 < LINES ? 1 : 0); /* the last one has no newline */
        REQUIRE(write(fd, line, bytes) == (ssize_t)bytes);
        free(line);
    }
    close(fd);
    mdc_error err = fresh_error();
    mdc_map_reader *reader = mdc_map_reader_new(AT_FDCWD, path, &err);
    REQUIRE(reader != NULL);
    uint8_t *line;
    size_t size;
    for (int i = 0; i < LINES; i++) {
        REQUIRE_OK(mdc_map_reader_line(reader, &line, &size, &err), err);
        REQUIRE(line != NULL);
        if (lengths[i] < 32768)
            REQUIRE(size == lengths[i]);
        else
            REQUIRE(size > 16000 && size < lengths[i]); /* its head */
        for (size_t k = 0; k < size; k++) REQUIRE(line[k] == 'a' + i);
    }
    REQUIRE_OK(mdc_map_reader_line(reader, &line, &size, &err), err);
    REQUIRE(line == NULL);
    mdc_map_reader_free(reader);
    unlink(path);
}

/* --- classification by made-up facts --- */

typedef struct made_up {
    const char *name;
    uint64_t inode;
    uint32_t perms, file_flags, smaps_flags, facts;
    uint32_t want_flags; /* without DONTDUMP, CHANGED, SHARED, USERFAULT */
    uint32_t want_state, want_kinds;
} made_up;

static void test_classes(void) {
    enum {
        R = MDC_PERM_READ,
        RW = MDC_PERM_READ | MDC_PERM_WRITE,
        S = MDC_PERM_SHARED,
        IN = MDC_SMAPS_CONTENT,
        HOLE = MDC_REGION_UNTOUCHED,
        NEVER = MDC_REGION_NEVER_READ,
        MEM = MDC_REGION_VIA_MEM,
        FROM_FILE = MDC_REGION_FILE,
        GONE = MDC_FACT_DELETED,
        ANON = MDC_KIND_ANONYMOUS,
        COMMIT = MDC_MEM_COMMIT,
        RESERVE = MDC_MEM_RESERVE
    };
    static const made_up rows[] = {
        {"", 0, RW, 0, IN, 0, HOLE, COMMIT, ANON},
        {"", 0, RW, 0, 0, 0, HOLE, COMMIT, ANON},
        {"[heap]", 0, RW, 0, IN, 0, HOLE, COMMIT, ANON | MDC_KIND_HEAP},
        {"[stack]", 0, RW, 0, IN, 0, HOLE, COMMIT, ANON | MDC_KIND_STACK},
        {"[anon:pool]", 0, RW, 0, IN, 0, HOLE, COMMIT, ANON},
        {"[uprobes]", 0, R, 0, IN, 0, 0, COMMIT, ANON},
        {"[heap] ", 0, RW, 0, IN, 0, 0, COMMIT, ANON},
        {"[vdso]", 0, R, 0, IN, 0, 0, COMMIT, MDC_KIND_VDSO},
        {"[vvar]", 0, R, 0, 0, 0, NEVER, COMMIT, 0},
        {"[vvar_vclock]", 0, R, 0, 0, 0, NEVER, COMMIT, 0},
        {"[vsyscall]", 0, MDC_PERM_EXECUTE, 0, 0, 0, NEVER | MEM, COMMIT, 0},
        {"", 0, RW, 0, MDC_SMAPS_DEVICE, 0, NEVER, COMMIT, ANON},
        {"", 0, RW, 0, MDC_SMAPS_MIXED, 0, MEM, COMMIT, ANON},
        {"", 0, RW, 0, IN | MDC_SMAPS_UNSHARES, 0, HOLE | MEM, COMMIT, ANON},
        {"", 0, RW, 0, MDC_SMAPS_UFFD, 0, HOLE | MEM, COMMIT, ANON},
        {"/memfd:x", 9, RW | S, MDC_MAPPED_REGULAR, MDC_SMAPS_UFFD | MDC_SMAPS_MISSING, GONE, FROM_FILE | MEM, COMMIT,
         MDC_KIND_FILE | MDC_KIND_SHARED},
        {"", 0, 0, 0, 0, 0, HOLE | NEVER | MEM, RESERVE, ANON},
        {"", 0, 0, 0, IN, 0, HOLE | MEM, COMMIT, ANON},
        {"", 0, MDC_PERM_WRITE, 0, IN, 0, HOLE | MEM, COMMIT, ANON},
        {"/dev/zero", 9, RW, MDC_MAPPED_CHAR | MDC_MAPPED_ZERO, IN, 0, HOLE, COMMIT, ANON},
        {"/dev/zero", 9, RW, MDC_MAPPED_REGULAR, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE},
        {"/dev/zero", 9, RW | S, MDC_MAPPED_REGULAR, IN, GONE, FROM_FILE, COMMIT, MDC_KIND_SHARED},
        {"/dev/zero", 9, RW, MDC_MAPPED_REGULAR, IN, GONE, FROM_FILE, COMMIT, MDC_KIND_SHARED},
        {"/dev/mem", 9, RW | S, MDC_MAPPED_CHAR, IN, 0, FROM_FILE | NEVER, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"", 9, RW, MDC_MAPPED_REGULAR, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE},
        {"[anon:x]", 9, RW, 0, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE},
        {"[anon_shmem:x]", 9, RW | S, 0, IN, 0, FROM_FILE, COMMIT, MDC_KIND_SHARED},
        {"", 0, RW | S, 0, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"/lib/x.so", 9, R, MDC_MAPPED_REGULAR, 0, 0, FROM_FILE, COMMIT, MDC_KIND_FILE},
        {"/lib/x.so", 9, RW, MDC_MAPPED_REGULAR, IN | MDC_SMAPS_UNSHARES, 0, FROM_FILE | MEM, COMMIT, MDC_KIND_FILE},
        {"/lib/x.so", 9, 0, MDC_MAPPED_REGULAR, 0, 0, FROM_FILE | NEVER | MEM, RESERVE, MDC_KIND_FILE},
        {"/memfd:x", 9, 0, MDC_MAPPED_REGULAR, 0, GONE, FROM_FILE | MEM, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"/memfd:x", 9, S, MDC_MAPPED_REGULAR, 0, GONE, FROM_FILE | MEM, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"/memfd:x", 9, RW | S, MDC_MAPPED_REGULAR, IN, GONE, FROM_FILE, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"/dev/shm/x", 9, RW, MDC_MAPPED_REGULAR, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"/SYSV00000000", 9, RW | S, MDC_MAPPED_REGULAR, 0, GONE, FROM_FILE, COMMIT, MDC_KIND_SHARED},
        {"/anon_hugepage", 9, RW, MDC_MAPPED_REGULAR, MDC_SMAPS_HUGETLB, GONE, FROM_FILE, COMMIT, ANON},
        {"/secretmem", 9, RW | S, 0, 0, GONE, FROM_FILE | NEVER, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
        {"anon_inode:[perf_event]", 9, RW | S, 0, IN, 0, FROM_FILE, COMMIT, MDC_KIND_FILE | MDC_KIND_SHARED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const made_up *row = &rows[i];
        mdc_region region = {.base = 0x10000, .size = PAGE, .inode = row->inode, .facts = row->facts};
        mdc_map_facts facts = {.perms = row->perms,
                               .name = (const uint8_t *)row->name,
                               .name_size = strlen(row->name),
                               .file_flags = row->file_flags,
                               .file_size = PAGE,
                               .smaps_flags = row->smaps_flags,
                               .smaps_known = true,
                               .smaps_exact = true,
                               .resident = (row->smaps_flags & IN) != 0 ? PAGE : 0};
        mdc_map_classify(&region, &facts);
        const uint32_t want_flags = row->want_flags | ((row->perms & S) != 0 ? MDC_REGION_SHARED : 0u) |
                                    ((row->smaps_flags & MDC_SMAPS_MISSING) != 0 ? MDC_REGION_USERFAULT : 0u);
        if (region.flags != want_flags || region.state != row->want_state || region.kinds != row->want_kinds)
            printf("row %zu (%s): flags %x, state %x, kinds %x\n", i, row->name, region.flags, region.state,
                   region.kinds);
        REQUIRE(region.flags == want_flags);
        REQUIRE(region.state == row->want_state);
        REQUIRE(region.kinds == row->want_kinds);
        /* Nothing known of it: read the harmless way, not dumped, never a reservation. */
        facts.smaps_known = facts.smaps_exact = false;
        facts.smaps_flags = 0;
        mdc_map_classify(&region, &facts);
        REQUIRE((region.flags & MDC_REGION_VIA_MEM) != 0 && (region.flags & MDC_REGION_DONTDUMP) != 0);
        REQUIRE(region.state == MDC_MEM_COMMIT);
        facts.dontdump = MDC_DONTDUMP_IGNORE;
        mdc_map_classify(&region, &facts);
        REQUIRE((region.flags & MDC_REGION_DONTDUMP) == 0);
    }
    static const uint32_t protects[8] = {1, 2, 4, 4, 0x10, 0x20, 0x40, 0x40};
    for (uint32_t perms = 0; perms < 8; perms++) {
        mdc_region region = {.base = 0x10000, .size = PAGE};
        mdc_map_facts facts = {.perms = perms,
                               .name = (const uint8_t *)"",
                               .smaps_known = true,
                               .smaps_exact = true,
                               .smaps_flags = MDC_SMAPS_CONTENT,
                               .resident = PAGE};
        mdc_map_classify(&region, &facts);
        REQUIRE(region.protect == protects[perms]);
    }
}

static void test_valid_size(void) {
    static const struct {
        uint64_t file, offset, size, resident, want;
    } rows[] = {
        {0, 0, 4 * PAGE, 0, 0},
        {1, 0, 4 * PAGE, 0, PAGE},
        {PAGE, 0, 4 * PAGE, 0, PAGE},
        {PAGE + 1, 0, 4 * PAGE, 0, 2 * PAGE},
        {9 * PAGE, 0, 4 * PAGE, 0, 4 * PAGE},
        {5 * PAGE, 4 * PAGE, 4 * PAGE, 0, PAGE},
        {4 * PAGE, 4 * PAGE, 4 * PAGE, 0, 0},
        {UINT64_MAX, 0, 4 * PAGE, 0, 4 * PAGE},
        {PAGE, UINT64_MAX - PAGE + 1, PAGE, 0, 0},
        {0, 0, 4 * PAGE, PAGE, 4 * PAGE}, /* a file system whose sizes mean nothing */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mdc_region region = {.base = 0x10000, .size = rows[i].size, .file_offset = rows[i].offset, .inode = 5};
        mdc_map_facts facts = {.perms = MDC_PERM_READ,
                               .name = (const uint8_t *)"/f",
                               .name_size = 2,
                               .file_flags = MDC_MAPPED_REGULAR,
                               .file_size = rows[i].file,
                               .smaps_known = true,
                               .smaps_exact = true,
                               .resident = rows[i].resident};
        mdc_map_classify(&region, &facts);
        REQUIRE(region.valid_size == rows[i].want);
        facts.file_flags = 0; /* not a file whose size counts */
        mdc_map_classify(&region, &facts);
        REQUIRE(region.valid_size == rows[i].size);
    }
}

/* --- flags found again --- */

static mdc_smaps_match find(const mdc_smaps_entry *old, size_t count, uint64_t first, uint64_t end, uint32_t perms,
                            uint64_t inode, bool torn, uint32_t *flags) {
    mdc_vec entries;
    mdc_error err = fresh_error();
    mdc_vec_init(&entries, sizeof *old);
    REQUIRE_OK(mdc_vec_push(&entries, old, count, NULL, &err), err);
    mdc_smaps_entry now = {.first = first, .end = end, .inode = inode, .flags = perms};
    size_t cursor = 0;
    uint64_t resident;
    mdc_smaps_match match = mdc_smaps_lookup(&entries, &cursor, &now, torn, flags, &resident);
    mdc_vec_fini(&entries);
    return match;
}

static void test_lookup(void) {
    enum { RW = 3, NONE = 0, DD = MDC_SMAPS_DONTDUMP };
    static const mdc_smaps_entry old[] = {
        {.first = 0x1000, .end = 0x3000, .flags = RW},
        {.first = 0x3000, .end = 0x9000, .flags = NONE},
        {.first = 0xa000, .end = 0xc000, .flags = RW | DD},
        {.first = 0xd000, .end = 0xe000, .inode = 7, .flags = RW},
        {.first = 0x10000, .end = 0x12000, .flags = RW | MDC_SMAPS_HEAP},
    };
    enum { COUNT = sizeof old / sizeof old[0] };
    uint32_t flags;
    REQUIRE(find(old, COUNT, 0x1000, 0x3000, RW, 0, false, &flags) == MDC_SMAPS_EXACT && flags == RW);
    REQUIRE(find(old, COUNT, 0xa000, 0xc000, RW, 0, true, &flags) == MDC_SMAPS_EXACT && (flags & DD) != 0);
    /* Grown into a reservation next to it, as malloc does. */
    REQUIRE(find(old, COUNT, 0x1000, 0x5000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) == 0);
    REQUIRE(find(old, COUNT, 0x5000, 0x9000, NONE, 0, false, &flags) == MDC_SMAPS_INHERITED);
    /* Shrunk, split, with other protection. */
    REQUIRE(find(old, COUNT, 0xb000, 0xc000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    REQUIRE(find(old, COUNT, 0xa000, 0xb000, 1, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    /* Split by madvise: the kernel would have kept it whole, had not its flags been changed. */
    REQUIRE(find(old, COUNT, 0x1000, 0x2000, RW, 0, true, &flags) == MDC_SMAPS_UNKNOWN);
    /* Merged with something new at one end. */
    REQUIRE(find(old, COUNT, 0x9000, 0xc000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    REQUIRE(find(old, COUNT, 0x10000, 0x19000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN); /* not the heap */
    REQUIRE(find(old, COUNT, 0x10000, 0x19000, RW | MDC_SMAPS_HEAP, 0, false, &flags) == MDC_SMAPS_INHERITED);
    /* New, or replaced by something else. */
    REQUIRE(find(old, COUNT, 0x20000, 0x21000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    REQUIRE(find(old, COUNT, 0x9000, 0xa000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    REQUIRE(find(old, COUNT, 0xd000, 0xe000, RW, 8, false, &flags) == MDC_SMAPS_UNKNOWN);
    REQUIRE(find(old, COUNT, 0x1000, 0x3000, RW | MDC_PERM_SHARED, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    REQUIRE(find(old, COUNT, 0xd000, 0xe000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    REQUIRE(find(old, 0, 0x1000, 0x2000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
}

/* What we lack is not said to be a refusal of the target. */
static void test_coredump_filter_errors(void) {
    static const struct {
        const char *failpoint;
        mdc_status status;
    } cases[] = {{"coredump_filter:read:0:24", MDC_ERR_LIMIT},
                 {"coredump_filter:read:0:23", MDC_ERR_LIMIT},
                 {"coredump_filter:read:0:12", MDC_ERR_NOMEM},
                 {"coredump_filter:read:0:13", MDC_ERR_ACCESS},
                 {"coredump_filter:read:0:3", MDC_ERR_TARGET_GONE}};
    int proc = proc_of(getpid());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdc_error err = fresh_error();
        int64_t bits;
        mdc_failpoint_set(cases[i].failpoint);
        REQUIRE(mdc_corefilter_read(proc, &bits, &err) == cases[i].status && err.code == cases[i].status);
    }
    mdc_failpoint_set("");
    close(proc);
}

int main(void) {
    test_coredump_filter_errors();
    test_slow_file_systems();
    test_parser();
    test_reader();
    test_classes();
    test_valid_size();
    test_lookup();
    return 0;
}
