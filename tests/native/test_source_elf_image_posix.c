/* ELF images in files: what a real one says, and damaged ones, of which nothing is read outside of what was asked. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "check.h"
#include "source/elf_image.h"

enum { ROUNDS = 4000, CHANGES = 6 };

static uint64_t state = 0x9E3779B97F4A7C15;
static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static mdc_status read_file(void *context, uint64_t offset, void *to, size_t size, size_t *done, mdc_error *err) {
    (void)err;
    ssize_t got = offset <= INT64_MAX ? pread(*(const int *)context, to, size, (off_t)offset) : 0;
    *done = got > 0 ? (size_t)got : 0;
    return MDC_OK;
}

/* Everything that is asked of a file; whether it is an image. */
static bool look(int fd, uint64_t base, mdc_module *module, uint8_t *name, size_t *size) {
    mdc_error err;
    mdc_error_clear(&err);
    const mdc_image_reader file = {.read = read_file, .context = &fd, .base = base, .file = true};
    static mdc_elf_image image;
    mdc_module hashed = {.base = 0};
    memset(module, 0, sizeof *module);
    *size = 0;
    CHECK(mdc_elf_image_read(&file, &image, &err) == MDC_OK);
    if (!image.valid) return false;
    CHECK(mdc_elf_image_build_id(&file, &image, module, &err) == MDC_OK);
    CHECK(mdc_elf_image_text_id(&file, &image, &hashed, &err) == MDC_OK);
    CHECK(mdc_elf_image_soname(&file, &image, name, size, &err) == MDC_OK);
    CHECK(module->build_id_size <= sizeof module->build_id && *size < MDC_ELF_NAME_MAX);
    CHECK(hashed.build_id_size == 0 || (hashed.build_id_size == 16 && hashed.hashed == 1));
    return true;
}

int main(void) {
    int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = memfd_create("image", MFD_CLOEXEC);
    struct stat facts;
    CHECK(exe >= 0 && copy >= 0 && fstat(exe, &facts) == 0);
    const size_t size = (size_t)facts.st_size;
    uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, exe, 0), name[MDC_ELF_NAME_MAX];
    CHECK(bytes != MAP_FAILED && write(copy, bytes, size) == (ssize_t)size);
    mdc_module real, other;
    size_t name_size;
    CHECK(look(exe, 0, &real, name, &name_size) && real.build_id_size > 0 && real.hashed == 0);
    CHECK(!look(exe, 1, &other, name, &name_size) && !look(exe, UINT64_MAX, &other, name, &name_size));
    CHECK(!look(exe, size - 3, &other, name, &name_size));

    /* Where damage matters: headers at both ends, and the sections and notes that they lead to. */
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    const uint64_t tables = header.e_shnum * (uint64_t)header.e_shentsize;
    unsigned images = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t at[CHANGES];
        for (int i = 0; i < CHANGES; i++) {
            const uint64_t where = next();
            at[i] = where % 3 == 0 ? next() % 1024 : where % 3 == 1 ? header.e_shoff + next() % tables : next() % size;
            uint8_t byte = where % 5 == 0 ? 0xFF : (uint8_t)next();
            CHECK(pwrite(copy, &byte, 1, (off_t)at[i]) == 1);
        }
        images += look(copy, 0, &other, name, &name_size);
        for (int i = 0; i < CHANGES; i++) CHECK(pwrite(copy, &bytes[at[i]], 1, (off_t)at[i]) == 1);
    }
    printf("%u of %d damaged files are images\n", images, ROUNDS);
    CHECK(images > ROUNDS / 2 && images < ROUNDS);
    CHECK(look(copy, 0, &other, name, &name_size) && memcmp(&other, &real, sizeof real) == 0);
    close(copy);
    close(exe);
    return failures != 0;
}
