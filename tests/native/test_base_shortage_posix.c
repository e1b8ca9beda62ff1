/* The limit on threads and processes that was reached is named: a tree of cgroups as version 1, version 2 and both
 * together show it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/shortage.h"
#include "check.h"

static char root[] = "cgroups-XXXXXX";

static void put(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (file == NULL) return;
    fputs(text, file);
    fclose(file);
}

static bool says(const char *cgroups, const char *words) {
    char text[320];
    mdc_task_limit(cgroups, root, text, sizeof text);
    return strstr(text, words) != NULL;
}

static void test_version_2(void) {
    put("/system.slice/app", "pids.max", "20\n");
    put("/system.slice/app", "pids.current", "20\n");
    put("/system.slice/app/inner", "pids.max", "max\n");
    put("/system.slice/app/inner", "pids.current", "3\n");
    put("/system.slice/other", "pids.max", "20\n");
    put("/system.slice/other", "pids.current", "19\n");
    CHECK(says("0::/system.slice/app\n", "has reached its limit of 20 tasks: raise pids.max in "));
    CHECK(says("0::/system.slice/app/inner\n", "/system.slice/app"));
    CHECK(!says("0::/system.slice/other\n", "tasks: raise"));
    CHECK(!says("0::/", "tasks: raise") && !says("", "tasks: raise") && !says("x", "tasks: raise"));
    put("", "pids.max", "7\n"); /* what a container sees that has no namespace for cgroups */
    put("", "pids.current", "7\n");
    CHECK(says("0::/docker/0123\n", "limit of 7 tasks"));
    CHECK(says("0::/system.slice/other\n", "limit of 7 tasks"));
}

static void test_version_1_and_both(void) {
    const char *both = "5:cpu,cpuacct:/a\n4:pids:/a/b\n1:name=systemd:/a\n0::/c\n";
    put("/pids/a/b", "pids.max", "5");
    put("/pids/a/b", "pids.current", "4");
    put("/pids/a", "pids.max", "9");
    put("/pids/a", "pids.current", "9");
    CHECK(says(both, "limit of 9 tasks"));
    put("/pids/a", "pids.current", "8");
    put("/unified/c", "pids.max", "6");
    put("/unified/c", "pids.current", "6");
    put("", "pids.current", "0");
    CHECK(says(both, "limit of 6 tasks"));
}

/* A path that is longer than any room, and texts without an end. */
static void test_hostile(void) {
    char line[4096] = "0::";
    memset(line + 3, '/', sizeof line - 4);
    CHECK(!says(line, "tasks: raise"));
    put("/odd", "pids.max", "");
    put("/odd", "pids.current", "99999999999999999999999");
    CHECK(!says("0::/odd\n", "tasks: raise") && !says("0::", "tasks: raise"));
    CHECK(!says("0:pids\n::\n:::\n4:pids:\n", "tasks: raise"));
}

int main(void) {
    CHECK(mkdtemp(root) != NULL);
    test_version_2();
    test_version_1_and_both();
    test_hostile();
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(system(command) == 0);
    return failures != 0;
}
