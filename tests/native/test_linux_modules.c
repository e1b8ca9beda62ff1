/* Modules: those of a real child (this program, its libraries, the vdso) with the build ids their files have; removed
 * executables, ones without section headers, files that only look like modules, and hostile headers. */
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <sys/stat.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "format/elf_notes.h"
#include "linux/mappings.h"
#include "linux/memory.h"
#include "linux/process.h"
#include "linux/view.h"
#include "linux_target.h"

enum { PAGE = 4096 };

typedef struct view {
    mdc_mappings mappings;
    mdc_memory memory;
    mdc_vec modules;
    uint64_t phdr;
    int proc;
} view;

static void look(view *self, pid_t pid) {
    mdc_error err;
    mdc_error_clear(&err);
    self->proc = proc_of(pid);
    mdc_mappings_init(&self->mappings);
    mdc_vec_init(&self->modules, sizeof(mdc_module));
    mdc_proc_files texts;
    mdc_process_stat stat;
    mdc_vec no_maps;
    mdc_vec_init(&no_maps, 1);
    mdc_proc_files_init(&texts);
    REQUIRE_OK(mdc_process_read_stat(self->proc, &stat, &err), err);
    REQUIRE_OK(mdc_proc_files_read(&texts, self->proc, self->proc, &stat, &no_maps, &err), err);
    self->phdr = texts.phdr;
    mdc_proc_files_fini(&texts);
    REQUIRE_OK(mdc_mappings_prepare(&self->mappings, self->proc, &err), err);
    REQUIRE_OK(mdc_mappings_list(&self->mappings, self->proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    REQUIRE_OK(mdc_memory_open(&self->memory, self->proc, pid, &err), err);
    mdc_live_view live = {&self->mappings, &self->memory, self->proc};
    REQUIRE_OK(mdc_live_modules_find(&self->modules, &live, self->phdr, &err), err);
}

static void look_away(view *self) {
    mdc_vec_fini(&self->modules);
    mdc_memory_close(&self->memory);
    mdc_mappings_fini(&self->mappings);
    close(self->proc);
}

static const mdc_module *module_at(const view *self, uint64_t address) {
    for (size_t i = 0; i < self->modules.count; i++) {
        const mdc_module *module = &mdc_vec_at(&self->modules, mdc_module, i);
        if (address >= module->base && address - module->base < module->size) return module;
    }
    return NULL;
}

static const mdc_region *region_at(const view *self, uint64_t address) {
    int64_t found = mdc_mappings_find(&self->mappings, address);
    REQUIRE(found >= 0);
    return &mdc_vec_at(&self->mappings.regions, mdc_region, found);
}

static bool path_is(const view *self, const mdc_module *module, const char *path) {
    return module->path.size == strlen(path) &&
           memcmp(&mdc_vec_at(&self->mappings.pool, char, module->path.offset), path, module->path.size) == 0;
}

/* Sorted after the first, disjoint, and each covers its regions. */
static void check_all(const view *self) {
    REQUIRE(self->modules.count > 0);
    for (size_t i = 0; i < self->modules.count; i++) {
        const mdc_module *module = &mdc_vec_at(&self->modules, mdc_module, i);
        REQUIRE(module->size > 0 && module->base % PAGE == 0 && module->size % PAGE == 0);
        REQUIRE(module->build_id_size <= sizeof module->build_id);
        if (i > 1) {
            const mdc_module *before = &mdc_vec_at(&self->modules, mdc_module, i - 1);
            REQUIRE(module->base >= before->base + before->size);
        }
        const mdc_region *region = region_at(self, module->base);
        REQUIRE((region->kinds & MDC_KIND_IMAGE) != 0 && region->type == MDC_MEM_IMAGE);
        REQUIRE((region->kinds & MDC_KIND_FILE) == 0 && region->alloc_base == module->base);
    }
}

/* --- this program as it is --- */

static int bss_far[1 << 20]; /* a .bss tail after the last mapped page of the file */
static uint64_t code_address(void) { return (uint64_t)(uintptr_t)&code_address; }

static void plain_child(target_shared *shared) {
    bss_far[(1 << 20) - 1] = 1;
    shared->words[0] = (uint64_t)(uintptr_t)&bss_far[(1 << 20) - 1];
    shared->words[1] = code_address();
    shared->words[2] = (uint64_t)(uintptr_t)&printf;
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    /* A debugger that reads the file: an ELF header at offset 0, but no code. */
    int fd = open(path, O_RDONLY);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) != 0) _exit(6);
    void *data = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) _exit(6);
    shared->words[3] = (uint64_t)(uintptr_t)data;
    shared->ready = 1;
    for (;;) pause();
}

typedef struct loaded {
    const view *self;
    size_t count;
} loaded;

/* The loader's own list, with build ids out of our memory (a forked child has the same images). */
static int compare_loaded(struct dl_phdr_info *info, size_t size, void *context) {
    loaded *all = context;
    (void)size;
    uint64_t first = UINT64_MAX, end = 0;
    uint8_t id[64];
    size_t id_size = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t at = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD) {
            if (at < first) first = at & ~(uint64_t)(PAGE - 1);
            if (at + header->p_memsz > end) end = (at + header->p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1);
        }
        if (header->p_type == PT_NOTE && id_size == 0)
            id_size = mdc_elf_build_id((const uint8_t *)at, header->p_filesz, id);
    }
    const mdc_module *module = module_at(all->self, first);
    if (module == NULL) printf("missing: %s\n", info->dlpi_name);
    REQUIRE(module != NULL && module->base == first);
    REQUIRE(module->build_id_size == id_size && memcmp(module->build_id, id, id_size) == 0);
    /* The vdso has a second page that its headers do not name. */
    if (strstr(info->dlpi_name, "vdso") == NULL) REQUIRE(module->base + module->size == end);
    all->count++;
    return 0;
}

/* Whether the page table of the target has the page; a read by another process brings it there. */
static bool present(const view *self, uint64_t address) {
    uint64_t entry = 0;
    int fd = openat(self->proc, "pagemap", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pread(fd, &entry, sizeof entry, (off_t)(address / PAGE * sizeof entry)) == sizeof entry);
    close(fd);
    return (entry & UINT64_C(1) << 63) != 0;
}

static void test_plain(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(plain_child, shared);
    WAIT_FOR(shared->ready == 1);
    view self;
    mdc_failpoint_set("modules:step:0:0");
    look(&self, pid);
    REQUIRE(mdc_failpoint_passes("modules:step") > 0);
    REQUIRE(mdc_failpoint_passes("modules:step") <= self.mappings.regions.count); /* a walk ends where an image does */
    mdc_failpoint_set("");
    check_all(&self);
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    REQUIRE(n > 0);
    path[n] = '\0';
    const mdc_module *first = &mdc_vec_at(&self.modules, mdc_module, 0);
    REQUIRE(path_is(&self, first, path));
    REQUIRE(module_at(&self, self.phdr) == first && module_at(&self, shared->words[1]) == first);
    REQUIRE(module_at(&self, shared->words[0]) == first); /* .bss */
    REQUIRE((region_at(&self, shared->words[0])->kinds & MDC_KIND_IMAGE) != 0);
    const mdc_region *data = region_at(&self, shared->words[3]);
    REQUIRE(module_at(&self, shared->words[3]) == NULL && (data->kinds & MDC_KIND_FILE) != 0);
    REQUIRE(data->type == MDC_MEM_MAPPED);
    REQUIRE(present(&self, first->base) && !present(&self, shared->words[3])); /* no code follows: it was not read */
    loaded all = {&self, 0};
    dl_iterate_phdr(compare_loaded, &all);
    printf("%zu modules, the loader has %zu\n", self.modules.count, all.count);
    REQUIRE(self.modules.count == all.count);
    int vdso = 0;
    for (size_t i = 0; i < self.modules.count; i++)
        vdso += path_is(&self, &mdc_vec_at(&self.modules, mdc_module, i), "linux-gate.so");
    REQUIRE(vdso == 1);
    look_away(&self);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

/* --- copies of this program, started anew --- */

static char copy_path[64];

/* change: what to do to the copy's bytes. */
static void make_copy(void (*change)(uint8_t *bytes, size_t size)) {
    strcpy(copy_path, "/tmp/mdc_module_XXXXXX");
    int from = open("/proc/self/exe", O_RDONLY), to = mkstemp(copy_path);
    struct stat facts;
    REQUIRE(from >= 0 && to >= 0 && fstat(from, &facts) == 0);
    uint8_t *bytes = malloc((size_t)facts.st_size);
    REQUIRE(read(from, bytes, (size_t)facts.st_size) == facts.st_size);
    if (change != NULL) change(bytes, (size_t)facts.st_size);
    REQUIRE(write(to, bytes, (size_t)facts.st_size) == facts.st_size);
    REQUIRE(fchmod(to, 0700) == 0);
    close(to);
    close(from);
    free(bytes);
}

static void drop_sections(uint8_t *bytes, size_t size) {
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    if (header.e_shoff < size) memset(bytes + header.e_shoff, 0, size - header.e_shoff);
    header.e_shoff = 0;
    header.e_shnum = header.e_shstrndx = 0;
    memcpy(bytes, &header, sizeof header);
}

static void test_copy(void (*change)(uint8_t *, size_t), bool removed) {
    make_copy(change);
    int gate[2];
    REQUIRE(pipe2(gate, O_CLOEXEC) == 0);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        dup2(gate[1], 1);
        execl(copy_path, copy_path, "wait", (char *)NULL);
        _exit(9);
    }
    close(gate[1]);
    char byte;
    REQUIRE(read(gate[0], &byte, 1) == 1); /* it runs */
    close(gate[0]);
    if (removed) unlink(copy_path);
    view self;
    look(&self, pid);
    check_all(&self);
    const mdc_module *first = &mdc_vec_at(&self.modules, mdc_module, 0);
    REQUIRE(path_is(&self, first, copy_path));
    REQUIRE(self.phdr >= first->base && self.phdr < first->base + first->size);
    REQUIRE(((region_at(&self, first->base)->facts & MDC_FACT_DELETED) != 0) == removed);
    /* It has the build id and size of this program. */
    target_shared *shared = target_share();
    pid_t child = target_start(plain_child, shared);
    WAIT_FOR(shared->ready == 1);
    view own;
    look(&own, child);
    const mdc_module *mine = &mdc_vec_at(&own.modules, mdc_module, 0);
    REQUIRE(first->build_id_size == mine->build_id_size && first->size == mine->size);
    REQUIRE(memcmp(first->build_id, mine->build_id, mine->build_id_size) == 0);
    look_away(&own);
    target_end(child);
    munmap(shared, sizeof *shared);
    look_away(&self);
    target_end(pid);
    unlink(copy_path);
}

/* --- hostile headers --- */

static Elf64_Ehdr evil_header;
static Elf64_Phdr evil_load[4];

static void evil_child(target_shared *shared) {
    int fd = memfd_create("evil.so", MFD_CLOEXEC);
    uint8_t page[PAGE] = {0};
    memcpy(page, &evil_header, sizeof evil_header);
    memcpy(page + 64, evil_load, sizeof evil_load);
    if (fd < 0 || write(fd, page, PAGE) != PAGE || ftruncate(fd, 2 * PAGE) != 0) _exit(6);
    char *fence = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *at = mmap(fence + PAGE, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) _exit(6);
    /* A secret after it that must not become a part of it, whatever its header says. */
    char *behind = mmap(at + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memcpy(behind, page, PAGE);
    shared->words[0] = (uint64_t)(uintptr_t)at;
    shared->words[1] = (uint64_t)(uintptr_t)behind;
    shared->ready = 1;
    for (;;) pause();
}

/* An executable that unpacked itself into plain memory: AT_PHDR points there, its path is known all the same. */
static void check_unpacked(view *self, uint64_t base) {
    mdc_error err;
    mdc_error_clear(&err);
    self->modules.count = 0;
    mdc_live_view live = {&self->mappings, &self->memory, self->proc};
    REQUIRE_OK(mdc_live_modules_find(&self->modules, &live, base + 64, &err), err);
    const mdc_module *first = &mdc_vec_at(&self->modules, mdc_module, 0);
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    REQUIRE(n > 0);
    path[n] = '\0';
    REQUIRE(first->base == base && first->size == 2 * PAGE && path_is(self, first, path)); /* as its header says */
}

static void test_evil(void) {
    for (int kind = 0; kind < 9; kind++) {
        memset(&evil_header, 0, sizeof evil_header);
        memset(evil_load, 0, sizeof evil_load);
        memcpy(evil_header.e_ident, ELFMAG, SELFMAG);
        evil_header.e_ident[EI_CLASS] = ELFCLASS64;
        evil_header.e_ident[EI_DATA] = ELFDATA2LSB;
        evil_header.e_phentsize = sizeof(Elf64_Phdr);
        evil_header.e_phoff = 64;
        evil_header.e_phnum = 4;
        evil_load[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = PAGE, .p_memsz = 2 * PAGE};
        evil_load[1] = (Elf64_Phdr){.p_type = PT_NOTE, .p_vaddr = 0x200, .p_filesz = 64};
        bool image = true;
        switch (kind) {
        case 0:
            break;
        case 1:
            evil_load[0].p_memsz = UINT64_MAX;
            image = false;
            break;
        case 2:
            evil_load[0].p_memsz = UINT64_C(1) << 47;
            break;
        case 3:
            evil_load[0].p_vaddr = UINT64_MAX - 100;
            evil_load[0].p_memsz = 50;
            image = false;
            break;
        case 4:
            evil_header.e_phnum = 65535;
            image = false;
            break;
        case 5:
            evil_header.e_phoff = UINT64_MAX - 10;
            image = false;
            break;
        case 6:
            evil_load[1].p_filesz = UINT64_MAX;
            break;
        case 7:
            evil_load[1].p_vaddr = UINT64_MAX - 3;
            break;
        case 8:
            evil_header.e_phentsize = 1;
            image = false;
            break;
        }
        target_shared *shared = target_share();
        pid_t pid = target_start(evil_child, shared);
        WAIT_FOR(shared->ready == 1);
        view self;
        look(&self, pid);
        const mdc_module *module = module_at(&self, shared->words[0]);
        if (kind != 1 && kind != 3 && kind != 4) REQUIRE((module != NULL) == image);
        if (module != NULL) REQUIRE(module->base == shared->words[0] && module->build_id_size == 0);
        REQUIRE(module_at(&self, shared->words[1]) == NULL);
        REQUIRE((region_at(&self, shared->words[1])->kinds & MDC_KIND_IMAGE) == 0);
        check_all(&self);
        if (kind == 0) check_unpacked(&self, shared->words[1]);
        look_away(&self);
        target_end(pid);
        munmap(shared, sizeof *shared);
    }
}

/* --- many mappings of one file --- */

enum { CROWD = 20000 };

/* Parts of the executable that are not an image, and a file whose header claims all memory after it, repeatedly. */
static void crowd_child(target_shared *shared) {
    int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int evil = memfd_create("evil.so", MFD_CLOEXEC);
    uint8_t page[PAGE] = {0};
    memcpy(page, &evil_header, sizeof evil_header);
    memcpy(page + 64, evil_load, sizeof evil_load);
    if (exe < 0 || evil < 0 || write(evil, page, PAGE) != PAGE) _exit(6);
    const int protect = PROT_NONE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *fence = mmap(NULL, (2 * CROWD + 8) * (size_t)PAGE, protect, flags, -1, 0);
    if (fence == MAP_FAILED) _exit(6);
    for (size_t i = 0; i < 2; i++)
        if (mmap(fence + 2 * i * PAGE, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, exe, PAGE) == MAP_FAILED)
            _exit(6);
    for (size_t i = 4; i < CROWD; i++)
        if (mmap(fence + i * PAGE, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, evil,
                 0) == MAP_FAILED)
            _exit(6);
    /* Code that could be of each of them, were there no hole before it. */
    char *last = fence + (2 * CROWD + 7) * (size_t)PAGE;
    if (munmap(last - PAGE, PAGE) != 0 || mprotect(last, PAGE, PROT_READ | PROT_EXEC) != 0) _exit(6);
    shared->words[0] = (uint64_t)(uintptr_t)fence;
    shared->ready = 1;
    for (;;) pause();
}

static void test_crowd(void) {
    memset(&evil_header, 0, sizeof evil_header);
    memset(evil_load, 0, sizeof evil_load);
    memcpy(evil_header.e_ident, ELFMAG, SELFMAG);
    evil_header.e_ident[EI_CLASS] = ELFCLASS64;
    evil_header.e_ident[EI_DATA] = ELFDATA2LSB;
    evil_header.e_phentsize = sizeof(Elf64_Phdr);
    evil_header.e_phoff = 64;
    evil_header.e_phnum = 1;
    evil_load[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_memsz = UINT64_C(1) << 46};
    target_shared *shared = target_share();
    pid_t pid = target_start(crowd_child, shared);
    WAIT_FOR(shared->ready == 1);
    view self;
    look(&self, pid);
    REQUIRE(self.mappings.regions.count > CROWD);
    /* Code of the executable without its header, somewhere else, is no second executable. */
    REQUIRE(module_at(&self, shared->words[0]) == NULL && module_at(&self, shared->words[0] + 2 * PAGE) == NULL);
    REQUIRE(module_at(&self, shared->words[0] + CROWD / 2 * PAGE) == NULL);
    const mdc_module *first = &mdc_vec_at(&self.modules, mdc_module, 0);
    REQUIRE(self.phdr - first->base < first->size);
    check_all(&self);
    self.modules.count = 0;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("modules:step:0:0");
    mdc_live_view live = {&self.mappings, &self.memory, self.proc};
    REQUIRE_OK(mdc_live_modules_find(&self.modules, &live, self.phdr, &err), err);
    /* Each mapping of the file begins a walk over all after it: the square of their number. The bound is linear. */
    unsigned long steps = mdc_failpoint_passes("modules:step");
    REQUIRE(steps > 10 * CROWD && steps < 20 * self.mappings.regions.count);
    mdc_failpoint_set("");
    look_away(&self);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        if (write(1, "x", 1) != 1) return 1;
        for (;;) pause();
    }
    test_plain();
    test_copy(NULL, false);
    test_copy(NULL, true);
    test_copy(drop_sections, false);
    test_evil();
    test_crowd();
    return 0;
}
