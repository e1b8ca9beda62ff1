/* What a dump does right now, and for how long nothing came back: the words for it, and the clock. */
#include <stdio.h>
#include <string.h>

#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/base/dump_control.h"
#include "../../csrc/base/fail.h"
#include "check.h"

static int says(const mdc_monitor *monitor, const char *expected) {
    char text[512];
    mdc_activity activity = mdc_monitor_doing(monitor);
    mdc_activity_describe(&activity, text, sizeof text);
    if (strcmp(text, expected) != 0) fprintf(stderr, "says: %s\n", text);
    return strcmp(text, expected) == 0;
}

static void test_activities(mdc_monitor *monitor) {
    CHECK(says(monitor, "the dump itself"));
    mdc_doing_before outer = mdc_monitor_begin(monitor, MDC_DOING_WRITE, -1, 0);
    CHECK(says(monitor, "the output"));
    mdc_monitor_name(monitor, "/lib/x.so", 9);
    mdc_doing_before inner = mdc_monitor_begin(monitor, MDC_DOING_READ, -1, 0x7f0000001000);
    CHECK(says(monitor, "a read of memory at 0x7f0000001000 (mapping of /lib/x.so)"));
    mdc_monitor_name(monitor, "", 0);
    CHECK(says(monitor, "a read of memory at 0x7f0000001000 (mapping of no file)"));
    mdc_monitor_name(monitor, "a\nb\xff", 4);
    CHECK(says(monitor, "a read of memory at 0x7f0000001000 (mapping of a?b?)"));
    mdc_monitor_end(monitor, inner);
    CHECK(says(monitor, "the output")); /* the name is of the read */
    inner = mdc_monitor_begin(monitor, MDC_DOING_CALL, MDC_CB_INCLUDE_VM_REGION, 0);
    CHECK(says(monitor, "the callback (IncludeVmRegion)"));
    (void)mdc_monitor_begin(monitor, MDC_DOING_CALL, MDC_CB_MODULE, 0);
    CHECK(says(monitor, "the callback (Module)"));
    mdc_monitor_end(monitor, outer);
    CHECK(says(monitor, "the dump itself"));
}

/* The end of a long name is what tells files apart. */
static void test_long_names(mdc_monitor *monitor) {
    char name[1000];
    memset(name, 'd', sizeof name);
    for (size_t size = MDC_ACTIVITY_NAME - 10; size <= MDC_ACTIVITY_NAME + 10; size++) {
        size_t shown = size < MDC_ACTIVITY_NAME ? size : MDC_ACTIVITY_NAME - 1;
        name[size - 1] = 'E';
        mdc_monitor_name(monitor, name, size);
        (void)mdc_monitor_begin(monitor, MDC_DOING_OPEN, -1, 1);
        mdc_activity activity = mdc_monitor_doing(monitor);
        CHECK(strlen(activity.name) == shown && activity.name[shown - 1] == 'E');
        name[size - 1] = 'd';
    }
}

static void test_stall(mdc_monitor *monitor) {
    mdc_stall stall;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_stall_init(&stall, monitor, 1000);
    CHECK(mdc_stall_ns(&stall, monitor, 1500) == 500);
    CHECK(!mdc_stall_over(&stall, monitor, UINT64_MAX)); /* no limit */
    monitor->stall_ns = 600;
    CHECK(!mdc_stall_over(&stall, monitor, 1599) && mdc_stall_over(&stall, monitor, 1600));
    mdc_monitor_step(monitor);
    CHECK(!mdc_stall_over(&stall, monitor, 1600) && !mdc_stall_over(&stall, monitor, 2199));
    atomic_fetch_add(&monitor->bytes_done, 1);
    CHECK(!mdc_stall_over(&stall, monitor, 2199) && mdc_stall_over(&stall, monitor, 2799));
    mdc_monitor_advance(monitor);
    CHECK(!mdc_stall_over(&stall, monitor, 2799) && mdc_stall_over(&stall, monitor, 3399));

    mdc_doing_before before = mdc_monitor_begin(monitor, MDC_DOING_CALL, MDC_CB_MEMORY, 0);
    mdc_monitor_stalled(monitor, mdc_monitor_doing(monitor));
    mdc_monitor_end(monitor, before);
    mdc_monitor_stalled(monitor, mdc_monitor_doing(monitor)); /* the first reason stays */
    CHECK(mdc_monitor_check(monitor, &err) == MDC_ERR_STALLED && err.callback_type == MDC_CB_MEMORY);
    CHECK(strstr(err.message, "what hung: the callback (Memory)") != NULL);
    CHECK(mdc_monitor_read(monitor).stalled == 1);
}

int main(void) {
    mdc_monitor monitor;
    mdc_monitor_init(&monitor, 0);
    test_activities(&monitor);
    test_long_names(&monitor);
    mdc_monitor_init(&monitor, 0);
    test_stall(&monitor);
    return failures != 0;
}
