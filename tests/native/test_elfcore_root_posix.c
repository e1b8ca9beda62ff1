/* Files below a folder: what is opened and what is not, where the kernel can confine links to the folder and where it
 * cannot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "check.h"
#include "elfcore/root_files.h"

static char root[64];

static bool opens(const char *path) {
    mdc_root_file file = {.fd = -1};
    char text[4] = {0};
    if (!mdc_root_file_open(&file, root, (const uint8_t *)path, strlen(path))) return false;
    CHECK(file.fd >= 0 && file.size == 3);
    CHECK(mdc_root_file_read(&file, 0, text, 4) == 3 && strcmp(text, "abc") == 0);
    CHECK(mdc_root_file_read(&file, 3, text, 1) == 0 && mdc_root_file_read(&file, UINT64_MAX, text, 1) == 0);
    mdc_root_file_close(&file);
    return true;
}

static void look(bool links) {
    CHECK(opens("/a/b") && opens("//a///b"));
    CHECK(!opens("a/b") && !opens("") && !opens("/") && !opens("/a") && !opens("/a/b/c") && !opens("/a/missing"));
    CHECK(opens("/inside/b") == links && opens("/a/own") == links);
    CHECK(!opens("/outside/b") && !opens("/a/outside"));
    CHECK(!opens("/a/fifo") && !opens("/a/device"));
}

static void write_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    REQUIRE(fd >= 0 && write(fd, "abc", 3) == 3 && close(fd) == 0);
}

int main(void) {
    char folder[] = "/tmp/mdc-root-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL && chdir(folder) == 0);
    snprintf(root, sizeof root, "%s/root", folder);
    REQUIRE(mkdir("root", 0700) == 0 && mkdir("root/a", 0700) == 0 && mkdir("other", 0700) == 0);
    write_file("root/a/b");
    write_file("other/b");
    char outside[80];
    snprintf(outside, sizeof outside, "%s/other", folder);
    REQUIRE(symlink("a", "root/inside") == 0 && symlink("b", "root/a/own") == 0);
    REQUIRE(symlink(outside, "root/outside") == 0 && symlink("../../other/b", "root/a/outside") == 0);
    REQUIRE(mkfifo("root/a/fifo", 0600) == 0 && symlink("/dev/null", "root/a/device") == 0);
    look(true);
    static const int errors[] = {ENOSYS, EPERM};
    for (int i = 0; i < 2; i++) {
        char spec[32];
        snprintf(spec, sizeof spec, "root:links:0:%d", errors[i]);
        mdc_failpoint_set(spec);
        look(false);
        mdc_failpoint_set("");
    }

    /* Without a root it is the path itself, as the user gave it. */
    mdc_root_file one, two;
    REQUIRE(mdc_root_files_known() && mdc_root_file_open(&one, NULL, (const uint8_t *)"root/a/own", 10));
    REQUIRE(mdc_root_file_open(&two, NULL, (const uint8_t *)"root/a/b", 8));
    CHECK(mdc_root_file_same(&one, &two));
    mdc_root_file_close(&two);
    REQUIRE(mdc_root_file_open(&two, NULL, (const uint8_t *)"other/b", 7));
    CHECK(!mdc_root_file_same(&one, &two));
    mdc_root_file_close(&one);
    mdc_root_file_close(&two);
    CHECK(!mdc_root_file_open(&two, NULL, (const uint8_t *)"/dev/null", 9));
    CHECK(!mdc_root_file_open(&two, "/nowhere", (const uint8_t *)"/a/b", 4));

    static const char *const made[] = {"root/a/b",     "other/b",        "root/inside", "root/a/own",
                                       "root/outside", "root/a/outside", "root/a/fifo", "root/a/device"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) unlink(made[i]);
    rmdir("root/a");
    rmdir("root");
    rmdir("other");
    CHECK(rmdir(folder) == 0);
    return failures != 0;
}
