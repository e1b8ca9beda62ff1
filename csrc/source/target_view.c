#include "target_view.h"

#include "../base/bound.h"
#include "../base/fail.h"

int64_t mdc_regions_at(const mdc_vec *list, uint64_t address) {
    const mdc_region *regions = list->data;
    size_t at;
    mdc_lower_bound(at, 0, list->count, regions[at].base <= address);
    if (at == 0 || address - regions[at - 1].base >= regions[at - 1].size) return -1;
    return (int64_t)at - 1;
}

mdc_status mdc_pool_add(mdc_vec *pool, const void *bytes, size_t size, mdc_name *name, mdc_error *err) {
    if (size > UINT32_MAX || pool->count > UINT32_MAX - size)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_CAPTURE, 0, "the names in the target take more than 4 GiB");
    size_t at;
    mdc_status status = mdc_vec_push(pool, bytes, size, &at, err);
    if (status != MDC_OK) return status;
    name->offset = (uint32_t)at;
    name->size = (uint32_t)size;
    return MDC_OK;
}
