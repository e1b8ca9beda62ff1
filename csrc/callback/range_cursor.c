/* Memory and RemoveMemory: lists handed out range by range. MemorySize is 32 bits wide and a size of 0 ends
 * the list, so a long range goes out in pieces, none of them empty. */
#include "state.h"

int32_t mdc_answer_memory(mdc_callback *callback, mdc_range_cursor *list, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (list->index == list->count) return 0;
    const mdc_range *range = &list->ranges[list->index];
    uint64_t size = range->end - range->first; /* end 0 is 2**64; the filter holds no empty range */
    uint64_t left = size - list->done;
    uint64_t take = left < callback->piece ? left : callback->piece;
    output->Memory.MemoryBase = range->first + list->done;
    output->Memory.MemorySize = (uint32_t)take;
    list->done += take;
    if (list->done == size) {
        list->done = 0;
        list->index++;
    }
    return 1;
}
