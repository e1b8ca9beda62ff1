/* The engine loop of the benchmarks (see bench_loop.h). */
#include "bench_loop.h"

#include <string.h>

#include "../../csrc/base/clock.h"

/* Regions per look at the clock, when calls are not timed one by one: 16 KiB of table. */
enum { BLOCK = 128 };

static int32_t ask(MINIDUMP_CALLBACK_ROUTINE routine, void *param, MINIDUMP_CALLBACK_INPUT *input,
                   MINIDUMP_CALLBACK_OUTPUT *output, const mdc_bench_region *region, uint32_t extensions) {
    input->CallbackType = MDC_CB_INCLUDE_VM_REGION;
    if (extensions & MDC_EXT_REGION_FACTS) input->u.RegionFacts = region->facts;
    output->Region.VmRegion = region->info;
    output->Region.Continue = 0;
    return routine(param, input, output) != 0 && output->Region.Continue != 0;
}

/* An unused sum, so that the table's next block is in the cache when the clock starts: streaming it from memory is
 * part of the benchmark and took longer than the callee. */
static uint64_t touch(const mdc_bench_region *regions, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += regions[i].info.BaseAddress + regions[i].facts.Size + regions[i].facts.Inode;
    return sum;
}

double mdc_bench_loop(MINIDUMP_CALLBACK_ROUTINE routine, void *param, uint32_t extensions, size_t count,
                      const mdc_bench_region *regions, uint64_t gap_ns, uint64_t *latencies) {
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&input, 0, sizeof input);
    memset(&output, 0, sizeof output);
    int32_t fine = 1;
    uint64_t total = 0;
    if (gap_ns == 0 && latencies == NULL) {
        volatile uint64_t touched = 0;
        for (size_t i = 0, end; i < count; i = end) {
            end = count - i < BLOCK ? count : i + BLOCK;
            touched = touched + touch(regions + i, end - i);
            uint64_t begun = mdc_clock_ns();
            for (size_t k = i; k < end; k++) fine &= ask(routine, param, &input, &output, &regions[k], extensions);
            total += mdc_clock_ns() - begun;
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            uint64_t begun = mdc_clock_ns();
            fine &= ask(routine, param, &input, &output, &regions[i], extensions);
            uint64_t ended = mdc_clock_ns();
            total += ended - begun;
            if (latencies != NULL) latencies[i] = ended - begun;
            while (gap_ns != 0 && mdc_clock_ns() - ended < gap_ns) {
            }
        }
    }
    if (!fine) return -1.0;
    return count > 0 ? (double)total / (double)count : 0.0;
}
