/* Compiling a filter and making a callback when memory runs out at each allocation in turn: an error, nothing leaked
 * (a sanitizer looks), and the next attempt works. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/callback.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/callback/callback_rule_stats.h"
#include "check.h"

#ifndef MDC_FAILPOINTS
int main(void) {
    puts("built without fail points");
    return 77;
}
#else
static void fail_nth(unsigned n) {
    char spec[32];
    snprintf(spec, sizeof spec, "alloc:%u:12", n);
    mdc_failpoint_set(n == 0 ? "" : spec);
}

int main(void) {
    static const uint8_t glob[] = "*lib*";
    const mdc_rule rules[] = {
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {0x1000, 0x5000}},
        {.action = MDC_INCLUDE,
         .fields = MDC_RULE_RANGE | MDC_RULE_TYPE,
         .range = {0x2000, 0x3000},
         .type = MDC_MEM_IMAGE},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_NAME, .name = {glob, 5}},
        {.action = MDC_HEAD,
         .fields = MDC_RULE_MODULE | MDC_RULE_SIZE,
         .module = {glob, 5},
         .max_size = 77,
         .head_bytes = 1},
    };
    const mdc_thread_rule thread = {.tid = 1};
    const mdc_module_rule module = {.glob = {glob, 5}};
    const mdc_range range = {0x1000, 0x2000};
    const mdc_filter_spec spec = {.rules = rules,
                                  .rule_count = 4,
                                  .threads = &thread,
                                  .thread_count = 1,
                                  .modules = &module,
                                  .module_count = 1,
                                  .memory_add = &range,
                                  .memory_add_count = 1,
                                  .memory_remove = &range,
                                  .memory_remove_count = 1};
    mdc_error err;
    mdc_filter *filter = NULL;
    unsigned n = 1;
    for (;; n++) {
        fail_nth(n);
        filter = mdc_filter_new(&spec, &err);
        if (filter != NULL) break;
        REQUIRE(err.code == MDC_ERR_NOMEM && err.message[0] != 0);
    }
    REQUIRE(n > 30);
    mdc_callback *callback = NULL;
    for (n = 1;; n++) {
        fail_nth(n);
        callback = mdc_callback_new(filter, NULL, &err);
        if (callback != NULL) break;
        REQUIRE(err.code == MDC_ERR_NOMEM);
    }
    REQUIRE(n > 5);
    /* Counting matches a name it does not remember, and needs a row for it. */
    MINIDUMP_MEMORY_INFO info = {.BaseAddress = 0x1000, .RegionSize = 0x1000};
    mdc_region_facts facts = {.Size = sizeof facts, .Version = 1, .Name = glob, .NameSize = 5, .NameId = 9};
    uint64_t kept[5] = {0}, excluded[5] = {0};
    fail_nth(1);
    REQUIRE(mdc_callback_rule_stats(callback, &info, &facts, 0x1000, 0x2000, kept, excluded, 5, &err) == MDC_ERR_NOMEM);
    fail_nth(0);
    REQUIRE(mdc_callback_rule_stats(callback, &info, &facts, 0x1000, 0x2000, kept, excluded, 5, &err) == MDC_OK);
    REQUIRE(excluded[4] == 0x1000); /* removed memory */
    REQUIRE(mdc_callback_free(callback, &err) == MDC_OK);
    mdc_filter_release(filter);
    return 0;
}
#endif
