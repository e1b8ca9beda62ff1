/* The fake target itself: bytes, pages that fail, untouched runs, refused descriptions. */
#include "../../csrc/base/os_error.h"
#include "engine_check.h"

static void test_read(void) {
    mdc_fake_region regions[8];
    memcpy(regions, standard_regions, sizeof regions);
    regions[1].unreadable_first = HEAP + 0x2000;
    regions[1].unreadable_end = HEAP + 0x2001;
    mdc_fake_target target = standard_target;
    target.regions = regions;
    mdc_error err = {0};
    mdc_source *fake = mdc_fake_new(&target, &err);
    uint8_t buffer[0x6000];
    size_t done;
    int32_t os_errno;
    mdc_span one = {HEAP, 16};
    CHECK(fake->ops->read(fake, &one, 1, buffer, &done, &os_errno, &err) != MDC_OK); /* it runs */
    memset(&err, 0, sizeof err);
    CHECK(fake->ops->stop(fake, &err) == MDC_OK);
    const mdc_span spans[] = {{HEAP + 5, 0x10}, {SPARSE + 0xFFE, 4}, {STACK_B, 0x1003}};
    CHECK(fake->ops->read(fake, spans, 3, buffer, &done, &os_errno, &err) == MDC_OK && done == 0x1017 && os_errno == 0);
    for (uint64_t i = 0; i < 0x10; i++) CHECK(buffer[i] == mdc_fake_byte(HEAP + 5 + i, SEED));
    CHECK(buffer[0x11] == mdc_fake_byte(SPARSE + 0xFFF, SEED) && buffer[0x12] == 0 && buffer[0x13] == 0);
    CHECK(buffer[0x1016] == mdc_fake_byte(STACK_B + 0x1002, SEED));
    static const struct {
        uint64_t address, size, done;
        int32_t os_errno;
    } failing[] = {{HEAP + 0x1800, 0x3000, 0x800, MDC_OS_IO},
                   {HEAP + 0x2800, 8, 0, MDC_OS_IO},
                   {FILE_MAP + 0x1000, 0x2000, 0x1000, MDC_OS_FAULT},
                   {VVAR, 8, 0, MDC_OS_FAULT},
                   {HEAP + 0x7FFF, 2, 1, MDC_OS_FAULT},
                   {0, 1, 0, MDC_OS_FAULT},
                   {UINT64_MAX, 2, 0, MDC_OS_FAULT}};
    for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
        mdc_span span = {failing[i].address, failing[i].size};
        CHECK(fake->ops->read(fake, &span, 1, buffer, &done, &os_errno, &err) == MDC_OK);
        CHECK(done == failing[i].done && os_errno == failing[i].os_errno);
    }
    mdc_content runs[3];
    uint64_t next, first = SPARSE, touched = 0;
    while (first < SPARSE + 0x400000) {
        size_t count = fake->ops->content(fake, 2, first, SPARSE + 0x400000, runs, 3, &next);
        CHECK(count > 0 && runs[0].first == first && runs[count - 1].end == next);
        for (size_t i = 0; i < count; i++)
            touched += runs[i].what == MDC_CONTENT_DATA ? runs[i].end - runs[i].first : 0;
        first = next;
    }
    CHECK(touched == 4 * 0x1000);
    uint64_t frozen;
    CHECK(fake->ops->resume(fake, &frozen, &err) == MDC_OK && fake->ops->resume(fake, &frozen, &err) == MDC_OK);
    const mdc_snapshot *lists = fake->ops->snapshot(fake);
    CHECK(lists->region_count == 8 && lists->regions[3].valid_size == 0x1800 && lists->name_count == 5);
    fake->ops->free(fake);
}

static void test_refused(void) {
    for (int n = 0; n < 5; n++) {
        mdc_fake_region regions[8];
        memcpy(regions, standard_regions, sizeof regions);
        if (n == 0) regions[4].base += 1;
        if (n == 1) regions[4].size = 0;
        if (n == 2) regions[4].base = regions[3].base;
        if (n == 3) regions[7].size = UINT64_MAX - 0xFFF;
        if (n == 4) regions[4].valid_size = regions[4].size + 1;
        mdc_fake_target target = standard_target;
        target.regions = regions;
        mdc_error err = {0};
        CHECK(mdc_fake_new(&target, &err) == NULL && err.code == MDC_ERR_INVALID && err.index == (n == 3 ? 7 : 4));
    }
}

int main(void) {
    test_read();
    test_refused();
    return failures != 0;
}
