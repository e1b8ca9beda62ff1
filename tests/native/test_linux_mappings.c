/* Mappings: the text parser against odd lines, classification by made-up facts, smaps flags found again, and real
 * children with odd names, shrunk and removed files, MADV_DONTDUMP, mappings that change after the first look, and
 * 20,000 mappings; by ioctl and by text. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/mapclass.h"
#include "linux/mapfiles.h"
#include "linux/mappings.h"
#include "linux/smaps.h"
#include "linux_target.h"

enum { PAGE = 4096 };

static mdc_error fresh_error(void) {
    mdc_error err;
    mdc_error_clear(&err);
    return err;
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
    CHECK(parse("5558f6353000-5558f6355000 r-xp 00001000 fe:00 247026                     /usr/bin/a b  c ", &r, name));
    CHECK(r.first == 0x5558f6353000 && r.end == 0x5558f6355000 && r.file_offset == 0x1000 && r.inode == 247026);
    CHECK(r.dev_major == 0xfe && r.dev_minor == 0 && r.perms == (MDC_PERM_READ | MDC_PERM_EXECUTE));
    CHECK(strcmp(name, "/usr/bin/a b  c ") == 0);
    CHECK(parse("1000-2000 -w-s 00000000 00:00 0", &r, name));
    CHECK(r.perms == (MDC_PERM_WRITE | MDC_PERM_SHARED) && r.name_size == 0 && r.inode == 0);
    CHECK(parse("1000-2000 rw-p 00000000 00:00 0 ", &r, name) && r.name_size == 0);
    CHECK(parse("1000-2000 rw-p 0 0:0 7 /a\\012b\\0123\\134\\", &r, name) && strcmp(name, "/a\nb\n3\\134\\") == 0);
    CHECK(parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", &r, name));
    CHECK(r.first == 0xffffffffff600000 && strcmp(name, "[vsyscall]") == 0);
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
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK(!parse(bad[i], &r, name));
}

/* Lines of all lengths around the reader's buffer, out of a real file. */
static void test_reader(void) {
    char path[] = "/tmp/mdc_lines_XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    static const size_t lengths[] = {0, 1, 100, 32767, 32768, 32769, 70000, 3, 200000, 5};
    enum { LINES = sizeof lengths / sizeof lengths[0] };
    for (int i = 0; i < LINES; i++) {
        char *line = malloc(lengths[i] + 1);
        memset(line, 'a' + i, lengths[i]);
        line[lengths[i]] = '\n';
        size_t bytes = lengths[i] + (i + 1 < LINES ? 1 : 0); /* the last one has no newline */
        CHECK(write(fd, line, bytes) == (ssize_t)bytes);
        free(line);
    }
    close(fd);
    mdc_error err = fresh_error();
    mdc_map_reader *reader = mdc_map_reader_new(AT_FDCWD, path, &err);
    CHECK(reader != NULL);
    uint8_t *line;
    size_t size;
    for (int i = 0; i < LINES; i++) {
        CHECK_OK(mdc_map_reader_line(reader, &line, &size, &err), err);
        CHECK(line != NULL);
        if (lengths[i] < 32768)
            CHECK(size == lengths[i]);
        else
            CHECK(size > 16000 && size < lengths[i]); /* its head */
        for (size_t k = 0; k < size; k++) CHECK(line[k] == 'a' + i);
    }
    CHECK_OK(mdc_map_reader_line(reader, &line, &size, &err), err);
    CHECK(line == NULL);
    mdc_map_reader_free(reader);
    unlink(path);
}

/* --- classification by made-up facts --- */

typedef struct made_up {
    const char *name;
    uint64_t inode;
    uint32_t perms, file_flags, smaps_flags, facts;
    uint32_t want_flags; /* without DONTDUMP, CHANGED */
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
        if (region.flags != row->want_flags || region.state != row->want_state || region.kinds != row->want_kinds)
            printf("row %zu (%s): flags %x, state %x, kinds %x\n", i, row->name, region.flags, region.state,
                   region.kinds);
        CHECK(region.flags == row->want_flags);
        CHECK(region.state == row->want_state);
        CHECK(region.kinds == row->want_kinds);
        /* Nothing known of it: read the harmless way, not dumped, never a reservation. */
        facts.smaps_known = facts.smaps_exact = false;
        facts.smaps_flags = 0;
        mdc_map_classify(&region, &facts);
        CHECK((region.flags & MDC_REGION_VIA_MEM) != 0 && (region.flags & MDC_REGION_DONTDUMP) != 0);
        CHECK(region.state == MDC_MEM_COMMIT);
        facts.dontdump = MDC_DONTDUMP_IGNORE;
        mdc_map_classify(&region, &facts);
        CHECK((region.flags & MDC_REGION_DONTDUMP) == 0);
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
        CHECK(region.protect == protects[perms]);
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
        CHECK(region.valid_size == rows[i].want);
        facts.file_flags = 0; /* not a file whose size counts */
        mdc_map_classify(&region, &facts);
        CHECK(region.valid_size == rows[i].size);
    }
}

/* --- flags found again --- */

static mdc_smaps_match find(const mdc_smaps_entry *old, size_t count, uint64_t first, uint64_t end, uint32_t perms,
                            uint64_t inode, bool torn, uint32_t *flags) {
    mdc_vec entries;
    mdc_error err = fresh_error();
    mdc_vec_init(&entries, sizeof *old);
    CHECK_OK(mdc_vec_push(&entries, old, count, NULL, &err), err);
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
    CHECK(find(old, COUNT, 0x1000, 0x3000, RW, 0, false, &flags) == MDC_SMAPS_EXACT && flags == RW);
    CHECK(find(old, COUNT, 0xa000, 0xc000, RW, 0, true, &flags) == MDC_SMAPS_EXACT && (flags & DD) != 0);
    /* Grown into a reservation next to it, as malloc does. */
    CHECK(find(old, COUNT, 0x1000, 0x5000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) == 0);
    CHECK(find(old, COUNT, 0x5000, 0x9000, NONE, 0, false, &flags) == MDC_SMAPS_INHERITED);
    /* Shrunk, split, with other protection. */
    CHECK(find(old, COUNT, 0xb000, 0xc000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    CHECK(find(old, COUNT, 0xa000, 0xb000, 1, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    /* Split by madvise: the kernel would have kept it whole, had not its flags been changed. */
    CHECK(find(old, COUNT, 0x1000, 0x2000, RW, 0, true, &flags) == MDC_SMAPS_UNKNOWN);
    /* Merged with something new at one end. */
    CHECK(find(old, COUNT, 0x9000, 0xc000, RW, 0, false, &flags) == MDC_SMAPS_INHERITED && (flags & DD) != 0);
    CHECK(find(old, COUNT, 0x10000, 0x19000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN); /* not the heap */
    CHECK(find(old, COUNT, 0x10000, 0x19000, RW | MDC_SMAPS_HEAP, 0, false, &flags) == MDC_SMAPS_INHERITED);
    /* New, or replaced by something else. */
    CHECK(find(old, COUNT, 0x20000, 0x21000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    CHECK(find(old, COUNT, 0x9000, 0xa000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    CHECK(find(old, COUNT, 0xd000, 0xe000, RW, 8, false, &flags) == MDC_SMAPS_UNKNOWN);
    CHECK(find(old, COUNT, 0x1000, 0x3000, RW | MDC_PERM_SHARED, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    CHECK(find(old, COUNT, 0xd000, 0xe000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
    CHECK(find(old, 0, 0x1000, 0x2000, RW, 0, false, &flags) == MDC_SMAPS_UNKNOWN);
}

/* --- real children --- */

static char folder[64];
static const char *const odd_names[] = {"with  two spaces", "new\nline", "back\\slash\\012", "\xff\xfe\x80 bytes",
                                        "really (deleted)", "gone",      "gone (deleted)"};
enum { ODD = sizeof odd_names / sizeof odd_names[0], ODD_GONE = 5 };

enum { NEW_PLAIN = 40, NEW_DONTDUMP, TORN, SHRUNK, PLAIN, DONT, EMPTY, FULL, ANON_SHARED, MEMFD, SHORT, CHANGED_ODD };

static uint64_t map_pages(size_t pages, int protect, int flags, int fd) {
    void *at = mmap(NULL, pages * PAGE, protect, flags, fd, 0);
    if (at == MAP_FAILED) _exit(5);
    return (uint64_t)(uintptr_t)at;
}

/* Keeps the kernel from merging neighbours. */
static uint64_t alone(size_t pages, int protect, int flags, int fd) {
    uint64_t fence = map_pages(pages + 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1) + PAGE;
    void *at = mmap((void *)fence, pages * PAGE, protect, flags | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) _exit(5);
    return (uint64_t)(uintptr_t)at;
}

static void fill(uint64_t at, size_t pages) {
    for (size_t i = 0; i < pages; i++) ((volatile char *)at)[i * PAGE] = 1;
}

static void odd_child(target_shared *shared) {
    uint64_t *words = shared->words;
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, 2 * PAGE) != 0) _exit(6);
        words[i] = map_pages(2, rw, MAP_PRIVATE, fd);
        close(fd);
        if (i >= ODD_GONE) unlink(path);
    }
    words[PLAIN] = alone(4, rw, anon, -1);
    fill(words[PLAIN], 2);
    words[DONT] = alone(4, rw, anon, -1);
    fill(words[DONT], 4);
    madvise((void *)words[DONT], 4 * PAGE, MADV_DONTDUMP);
    words[EMPTY] = alone(4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    words[FULL] = alone(4, rw, anon, -1);
    fill(words[FULL], 4);
    mprotect((void *)words[FULL], 4 * PAGE, PROT_NONE);
    words[ANON_SHARED] = map_pages(4, rw, MAP_SHARED | MAP_ANONYMOUS, -1);
    int memory = memfd_create("a memory file", MFD_CLOEXEC);
    if (ftruncate(memory, 4 * PAGE) != 0) _exit(6);
    words[MEMFD] = map_pages(4, rw, MAP_SHARED, memory);
    int shorter = memfd_create("short", MFD_CLOEXEC);
    if (ftruncate(shorter, 8 * PAGE) != 0) _exit(6);
    words[SHORT] = map_pages(8, rw, MAP_SHARED, shorter);
    fill(words[SHORT], 8);
    if (ftruncate(shorter, 2 * PAGE + 7) != 0) _exit(6);
    words[TORN] = alone(8, rw, anon, -1);
    fill(words[TORN], 8);
    words[SHRUNK] = alone(8, rw, anon, -1);
    fill(words[SHRUNK], 8);
    madvise((void *)words[SHRUNK], 8 * PAGE, MADV_DONTDUMP);
    shared->ready = 1;
    while (shared->go == 0) sleep_us(500);
    words[NEW_PLAIN] = alone(4, rw, anon, -1);
    fill(words[NEW_PLAIN], 1);
    words[NEW_DONTDUMP] = alone(4, rw, anon, -1);
    fill(words[NEW_DONTDUMP], 4);
    madvise((void *)words[NEW_DONTDUMP], 4 * PAGE, MADV_DONTDUMP);
    madvise((void *)(words[TORN] + 2 * PAGE), 2 * PAGE, MADV_DONTDUMP);
    munmap((void *)(words[SHRUNK] + 4 * PAGE), 4 * PAGE);
    if (sbrk(64 * PAGE) == (void *)-1) _exit(7);
    shared->ready = 2;
    for (;;) pause();
}

static const mdc_region *at(const mdc_mappings *mappings, uint64_t address) {
    int64_t found = mdc_mappings_find(mappings, address);
    CHECK(found >= 0);
    return &mdc_vec_at(&mappings->regions, mdc_region, found);
}

static bool name_is(const mdc_mappings *mappings, const mdc_region *region, const char *name) {
    if (region->name_id == 0) return *name == '\0';
    mdc_name found = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    return found.size == strlen(name) &&
           memcmp(&mdc_vec_at(&mappings->pool, char, found.offset), name, found.size) == 0;
}

static void check_order(const mdc_mappings *mappings) {
    uint64_t end = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, i);
        CHECK(region->base >= end && region->size > 0 && region->valid_size <= region->size);
        CHECK(region->name_id <= mappings->names.count && region->reserved == 0);
        end = region->base + region->size;
    }
    for (size_t i = 0; i < mappings->names.count; i++)
        for (size_t k = 0; k < i; k++) {
            mdc_name a = mdc_vec_at(&mappings->names, mdc_name, i), b = mdc_vec_at(&mappings->names, mdc_name, k);
            CHECK(a.size != b.size || memcmp(&mdc_vec_at(&mappings->pool, char, a.offset),
                                             &mdc_vec_at(&mappings->pool, char, b.offset), a.size) != 0);
        }
}

static void check_child(const mdc_mappings *mappings, const target_shared *shared, bool by_text) {
    const uint64_t *words = shared->words;
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        const mdc_region *region = at(mappings, words[i]);
        /* In the text a newline and the four characters that stand for it look the same. */
        if (by_text && strcmp(odd_names[i], "back\\slash\\012") == 0)
            snprintf(path, sizeof path, "%s/back\\slash\n", folder);
        if (!name_is(mappings, region, path)) printf("name %d is not %s\n", i, path);
        CHECK(name_is(mappings, region, path));
        CHECK(((region->facts & MDC_FACT_DELETED) != 0) == (i >= ODD_GONE));
        CHECK(region->type == MDC_MEM_MAPPED && region->kinds == MDC_KIND_FILE && region->valid_size == 2 * PAGE);
        CHECK((region->flags & (MDC_REGION_UNTOUCHED | MDC_REGION_DONTDUMP)) == 0);
    }
    const mdc_region *region = at(mappings, words[PLAIN]);
    CHECK(region->base == words[PLAIN] && region->size == 4 * PAGE && region->resident == 2 * PAGE);
    CHECK(region->flags == MDC_REGION_UNTOUCHED && region->kinds == MDC_KIND_ANONYMOUS && region->name_id == 0);
    CHECK(region->protect == MDC_PAGE_READWRITE && region->type == MDC_MEM_PRIVATE);
    CHECK((at(mappings, words[DONT])->flags & MDC_REGION_DONTDUMP) != 0);
    region = at(mappings, words[EMPTY]);
    CHECK(region->state == MDC_MEM_RESERVE && (region->flags & MDC_REGION_NEVER_READ) != 0);
    region = at(mappings, words[FULL]);
    CHECK(region->state == MDC_MEM_COMMIT && region->protect == MDC_PAGE_NOACCESS);
    CHECK((region->flags & MDC_REGION_VIA_MEM) != 0 && (region->flags & MDC_REGION_NEVER_READ) == 0);
    region = at(mappings, words[ANON_SHARED]);
    CHECK(name_is(mappings, region, "/dev/zero") && region->kinds == MDC_KIND_SHARED);
    CHECK((region->flags & MDC_REGION_UNTOUCHED) == 0 && (region->facts & MDC_FACT_DELETED) != 0);
    region = at(mappings, words[MEMFD]);
    CHECK(name_is(mappings, region, "/memfd:a memory file") && (region->kinds & MDC_KIND_SHARED) != 0);
    CHECK(at(mappings, words[SHORT])->valid_size == 3 * PAGE && at(mappings, words[SHORT])->size == 8 * PAGE);
    /* What came after the first look. */
    region = at(mappings, words[NEW_PLAIN]);
    CHECK((region->flags & MDC_REGION_CHANGED) != 0 && (region->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[NEW_DONTDUMP]);
    CHECK((region->flags & MDC_REGION_CHANGED) != 0 && (region->flags & MDC_REGION_DONTDUMP) != 0);
    CHECK((at(mappings, words[TORN])->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[TORN] + 2 * PAGE);
    CHECK(region->base == words[TORN] + 2 * PAGE && (region->flags & MDC_REGION_DONTDUMP) != 0);
    CHECK((at(mappings, words[TORN] + 4 * PAGE)->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[SHRUNK]);
    CHECK(region->size == 4 * PAGE && (region->flags & MDC_REGION_DONTDUMP) != 0);
    CHECK((region->flags & MDC_REGION_CHANGED) != 0);
    int heaps = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        region = &mdc_vec_at(&mappings->regions, mdc_region, i);
        if ((region->kinds & MDC_KIND_HEAP) != 0) {
            /* The kernel may have made a second mapping of what brk added. */
            CHECK((region->flags & MDC_REGION_DONTDUMP) == 0);
            if ((region->flags & MDC_REGION_CHANGED) != 0) heaps++;
        }
        if (name_is(mappings, region, "[vvar]") || name_is(mappings, region, "[vsyscall]"))
            CHECK((region->flags & MDC_REGION_NEVER_READ) != 0);
        if (name_is(mappings, region, "[vdso]")) CHECK((region->flags & MDC_REGION_UNTOUCHED) == 0);
    }
    CHECK(heaps == 1);
}

/* failpoints: what of the normal ways is taken away. */
static void test_child(const char *failpoints) {
    strcpy(folder, "/tmp/mdc_maps_XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    target_shared *shared = target_share();
    pid_t pid = target_start(odd_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    CHECK_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set(failpoints);
#endif
    CHECK_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, &err), err);
    check_order(&mappings);
    check_child(&mappings, shared, *failpoints != '\0');
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set("");
#endif
    mdc_mappings_fini(&mappings);
    close(proc);
    target_end(pid);
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        unlink(path);
    }
    rmdir(folder);
    munmap(shared, sizeof *shared);
}

static void sleeper(target_shared *shared) {
    shared->words[0] = alone(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise((void *)shared->words[0], 4 * PAGE, MADV_DONTDUMP);
    shared->ready = 1;
    while (shared->go == 0) sleep_us(500);
    shared->words[1] = alone(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    shared->ready = 2;
    for (;;) pause();
}

/* smaps cannot be read: no listing but with "ignore". The second look fails: new mappings are not dumped. */
static void test_without_smaps(void) {
#ifdef MDC_FAILPOINTS
    target_shared *shared = target_share();
    pid_t pid = target_start(sleeper, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    mdc_failpoint_set("smaps:list:0:13");
    CHECK(mdc_mappings_prepare(&mappings, proc, &err) == MDC_ERR_ACCESS && err.os_errno == EACCES);
    err = fresh_error();
    CHECK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, &err) == MDC_ERR_ACCESS);
    err = fresh_error();
    CHECK_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_IGNORE, &err), err);
    for (size_t i = 0; i < mappings.regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&mappings.regions, mdc_region, i);
        CHECK((region->flags & MDC_REGION_VIA_MEM) != 0 && (region->flags & MDC_REGION_DONTDUMP) == 0);
    }
    mdc_mappings_fini(&mappings);
    mdc_failpoint_set("smaps:list:2:13,maps:list:2:5");
    mdc_mappings_init(&mappings);
    CHECK_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
    CHECK_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_ASK, &err), err);
    uint32_t flags = at(&mappings, shared->words[1])->flags;
    CHECK((flags & MDC_REGION_DONTDUMP) != 0 && (flags & MDC_REGION_CHANGED) != 0);
    mdc_mappings_fini(&mappings);
    mdc_mappings_init(&mappings);
    CHECK_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    CHECK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_ASK, &err) == MDC_ERR_TARGET && err.os_errno == EIO);
    mdc_mappings_fini(&mappings);
    mdc_failpoint_set("");
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
#endif
}

enum { MANY = 20000 };

static void many_child(target_shared *shared) {
    int fd = memfd_create("many", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGE) != 0) _exit(6);
    uint64_t base = map_pages(2 * MANY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    for (uint64_t i = 0; i < MANY / 2; i++)
        if (mmap((void *)(base + i * 2 * PAGE), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
            _exit(5);
    shared->words[0] = base;
    shared->ready = 1;
    for (;;) pause();
}

static void test_many(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(many_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    CHECK_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    uint64_t before = mdc_clock_ns();
    CHECK_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, &err), err);
    uint64_t after = mdc_clock_ns();
    printf("%zu mappings listed in %.1f ms\n", mappings.regions.count, (double)(after - before) / 1e6);
    CHECK(mappings.regions.count >= MANY && mappings.files.count < 100 && mappings.names.count < 100);
    check_order(&mappings);
    for (uint64_t i = 0; i < MANY / 2; i++) {
        const mdc_region *region = at(&mappings, shared->words[0] + i * 2 * PAGE);
        CHECK(region->size == PAGE && name_is(&mappings, region, "/memfd:many") && region->valid_size == PAGE);
        CHECK((region->flags & (MDC_REGION_CHANGED | MDC_REGION_DONTDUMP)) == 0);
    }
    mdc_mappings_fini(&mappings);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

static void test_gone(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(sleeper, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    CHECK_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    target_end(pid);
    CHECK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, &err) == MDC_ERR_TARGET_GONE);
    err = fresh_error();
    CHECK(mdc_mappings_prepare(&mappings, proc, &err) != MDC_OK);
    mdc_mappings_fini(&mappings);
    close(proc);
    munmap(shared, sizeof *shared);
}

int main(void) {
    test_parser();
    test_reader();
    test_classes();
    test_valid_size();
    test_lookup();
    test_child("");
#ifdef MDC_FAILPOINTS
    test_child("maps:query:0:25");
#endif
    test_without_smaps();
    test_many();
    test_gone();
    return 0;
}
