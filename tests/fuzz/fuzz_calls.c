/* libFuzzer: any engine, judged by the meaning of the rules (see calls.h). */
#include "calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_counts counts;
    bytes_in in = {data, size};
    play_engine(&in, &counts);
    return 0;
}
