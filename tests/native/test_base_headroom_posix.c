/* How much memory may be taken: of the system, and of memory cgroups of both versions. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/headroom.h"
#include "check.h"

static char root[] = "cgroups-XXXXXX";
static const char *const MEMINFO = "MemTotal:       1000000 kB\nMemFree:   5 kB\nMemAvailable:     400000 kB\n";
#define KB UINT64_C(1024)

static void put(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    fputs(text, file);
    fclose(file);
}

static uint64_t of(const char *meminfo, const char *cgroups) { return mdc_headroom_of(meminfo, cgroups, root); }

static void test_the_system(void) {
    CHECK(of(MEMINFO, "") == 300000 * KB);
    CHECK(of("MemTotal: 7 kB\n", "") == UINT64_MAX);
    CHECK(of("XMemAvailable: 7 kB\n", "0::/nothing\n") == UINT64_MAX);
}

static void test_version_2(void) {
    put("/app", "memory.max", "4000\n");
    put("/app", "memory.current", "3000\n");
    CHECK(of(MEMINFO, "0::/app\n") == 750);
    put("/app", "memory.stat", "anon 5\nfile 700\ninactive_file 600\nactive_file 100\n"); /* can be taken back */
    CHECK(of(MEMINFO, "0::/app\n") == 1200);
    put("/app/inner", "memory.max", "max\n");
    put("/app/inner", "memory.current", "5\n");
    CHECK(of(MEMINFO, "0::/app/inner\n") == 1200); /* the one above counts */
    put("/app/inner", "memory.max", "105\n");
    CHECK(of(MEMINFO, "0::/app/inner\n") == 75);
    CHECK(of(MEMINFO, "0::/other\n") == 300000 * KB);
    put("/full", "memory.max", "50\n");
    put("/full", "memory.current", "60\n");
    CHECK(of(MEMINFO, "0::/full\n") == 0);
}

static void test_version_1(void) {
    put("/memory/app", "memory.limit_in_bytes", "4000\n");
    put("/memory/app", "memory.usage_in_bytes", "3600\n");
    put("/memory/app", "memory.stat", "inactive_file 900\ntotal_inactive_file 200\n");
    CHECK(of(MEMINFO, "5:cpu:/app\n4:memory:/app\n0::/\n") == 450);
    put("/memory/free", "memory.limit_in_bytes", "9223372036854771712\n");
    put("/memory/free", "memory.usage_in_bytes", "3600\n");
    CHECK(of(MEMINFO, "4:memory:/free\n") == 300000 * KB);
}

static void test_of_this_process(void) { CHECK(mdc_headroom() > 0); }

int main(void) {
    REQUIRE(mkdtemp(root) != NULL);
    test_the_system();
    test_version_2();
    test_version_1();
    test_of_this_process();
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(system(command) == 0);
    return failures != 0;
}
