/* What a dump does right now, and for how long nothing came back: the words for it, and the clock. */
#include <stdio.h>
#include <string.h>

#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/base/dump_control.h"
#include "../../csrc/base/fail.h"
#include "check.h"

static int says(const mdc_dump_control *control, const char *expected) {
    char text[512];
    mdc_activity activity = mdc_control_doing(control);
    mdc_activity_describe(&activity, text, sizeof text);
    if (strcmp(text, expected) != 0) fprintf(stderr, "says: %s\n", text);
    return strcmp(text, expected) == 0;
}

static void test_activities(mdc_dump_control *control) {
    CHECK(says(control, "the dump itself"));
    mdc_doing_before outer = mdc_control_begin(control, MDC_DOING_WRITE, -1, 0);
    CHECK(says(control, "the output"));
    mdc_control_name(control, "/lib/x.so", 9);
    mdc_doing_before inner = mdc_control_begin(control, MDC_DOING_READ, -1, 0x7f0000001000);
    CHECK(says(control, "a read of memory at 0x7f0000001000 (mapping of /lib/x.so)"));
    mdc_control_name(control, "", 0);
    CHECK(says(control, "a read of memory at 0x7f0000001000 (mapping of no file)"));
    mdc_control_name(control, "a\nb\xff", 4);
    CHECK(says(control, "a read of memory at 0x7f0000001000 (mapping of a?b?)"));
    mdc_control_end(control, inner);
    CHECK(says(control, "the output")); /* the name is of the read */
    inner = mdc_control_begin(control, MDC_DOING_CALL, MDC_CB_INCLUDE_VM_REGION, 0);
    CHECK(says(control, "the callback (IncludeVmRegion)"));
    (void)mdc_control_begin(control, MDC_DOING_CALL, MDC_CB_MODULE, 0);
    CHECK(says(control, "the callback (Module)"));
    mdc_control_end(control, outer);
    CHECK(says(control, "the dump itself"));
}

/* The end of a long name is what tells files apart. */
static void test_long_names(mdc_dump_control *control) {
    char name[1000];
    memset(name, 'd', sizeof name);
    for (size_t size = MDC_ACTIVITY_NAME - 10; size <= MDC_ACTIVITY_NAME + 10; size++) {
        size_t shown = size < MDC_ACTIVITY_NAME ? size : MDC_ACTIVITY_NAME - 1;
        name[size - 1] = 'E';
        mdc_control_name(control, name, size);
        (void)mdc_control_begin(control, MDC_DOING_OPEN, -1, 1);
        mdc_activity activity = mdc_control_doing(control);
        CHECK(strlen(activity.name) == shown && activity.name[shown - 1] == 'E');
        name[size - 1] = 'd';
    }
}

static void test_stall(mdc_dump_control *control) {
    mdc_stall stall;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_stall_init(&stall, control, 1000);
    CHECK(mdc_stall_ns(&stall, control, 1500) == 500);
    CHECK(!mdc_stall_over(&stall, control, UINT64_MAX)); /* no limit */
    control->stall_ns = 600;
    CHECK(!mdc_stall_over(&stall, control, 1599) && mdc_stall_over(&stall, control, 1600));
    mdc_control_step(control);
    CHECK(!mdc_stall_over(&stall, control, 1600) && !mdc_stall_over(&stall, control, 2199));
    atomic_fetch_add(&control->bytes_done, 1);
    CHECK(!mdc_stall_over(&stall, control, 2199) && mdc_stall_over(&stall, control, 2799));
    mdc_control_advance(control);
    CHECK(!mdc_stall_over(&stall, control, 2799) && mdc_stall_over(&stall, control, 3399));

    mdc_doing_before before = mdc_control_begin(control, MDC_DOING_CALL, MDC_CB_MEMORY, 0);
    mdc_control_stalled(control, mdc_control_doing(control));
    mdc_control_end(control, before);
    mdc_control_stalled(control, mdc_control_doing(control)); /* the first reason stays */
    CHECK(mdc_control_check(control, &err) == MDC_ERR_STALLED && err.callback_type == MDC_CB_MEMORY);
    CHECK(strstr(err.message, "what hung: the callback (Memory)") != NULL);
    CHECK(mdc_control_read(control).stalled == 1);
}

int main(void) {
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    test_activities(&control);
    test_long_names(&control);
    mdc_control_init(&control, 0);
    test_stall(&control);
    return failures != 0;
}
