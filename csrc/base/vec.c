/* Growing arrays and their allocator (see vec.h). */
#include "vec.h"

#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "failpoint.h"

static void *take(size_t count, size_t size, bool zeroed, mdc_error *err) {
    void *block = NULL;
    uint64_t total;
    bool fits = mdc_mul_u64(count, size, &total) && total <= SIZE_MAX / 2;
    if (fits && total == 0) total = 1;
    if (fits && MDC_FAILPOINT("alloc") == 0) block = zeroed ? calloc(1, (size_t)total) : malloc((size_t)total);
    if (block == NULL)
        mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "out of memory: %zu items of %zu bytes", count, size);
    return block;
}

void *mdc_alloc(size_t count, size_t size, mdc_error *err) { return take(count, size, true, err); }

void *mdc_alloc_buffer(size_t count, size_t size, mdc_error *err) { return take(count, size, false, err); }

void mdc_dealloc(void *block) { free(block); }

void mdc_vec_init(mdc_vec *vec, size_t item_size) {
    memset(vec, 0, sizeof *vec);
    vec->item_size = item_size;
}

void mdc_vec_fini(mdc_vec *vec) {
    free(vec->data);
    vec->data = NULL;
    vec->count = vec->capacity = 0;
}

static mdc_status resize(mdc_vec *vec, size_t capacity, mdc_error *err) {
    uint64_t total;
    void *data = NULL;
    bool fits = mdc_mul_u64(capacity, vec->item_size, &total) && total <= SIZE_MAX / 2;
    if (fits && MDC_FAILPOINT("alloc") == 0) data = realloc(vec->data, total > 0 ? (size_t)total : 1);
    if (data == NULL)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "out of memory: %zu items of %zu bytes", capacity,
                        vec->item_size);
    vec->data = data;
    vec->capacity = capacity;
    return MDC_OK;
}

mdc_status mdc_vec_reserve(mdc_vec *vec, size_t count, mdc_error *err) {
    if (count <= vec->capacity) return MDC_OK;
    size_t capacity = vec->capacity < 8 ? 8 : vec->capacity;
    while (capacity < count) capacity = capacity > SIZE_MAX / 2 ? count : capacity + capacity / 2;
    return resize(vec, capacity, err);
}

mdc_status mdc_vec_push(mdc_vec *vec, const void *items, size_t count, size_t *at, mdc_error *err) {
    if (count > SIZE_MAX - vec->count)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "out of memory: %zu more items", count);
    mdc_status status = mdc_vec_reserve(vec, vec->count + count, err);
    if (status != MDC_OK) return status;
    if (count > 0) {
        char *end = (char *)vec->data + vec->count * vec->item_size;
        if (items != NULL)
            memcpy(end, items, count * vec->item_size);
        else
            memset(end, 0, count * vec->item_size);
    }
    if (at != NULL) *at = vec->count;
    vec->count += count;
    return MDC_OK;
}

void mdc_vec_trim(mdc_vec *vec) {
    if (vec->capacity == vec->count || vec->count == 0) return;
    void *data = realloc(vec->data, vec->count * vec->item_size);
    if (data == NULL) return; /* the larger block serves as well */
    vec->data = data;
    vec->capacity = vec->count;
}
