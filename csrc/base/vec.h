/* A growing array for plans and lists. Cold paths only: never used while answering a callback or copying memory.
 * Elements are addressed by index; pointers into it die with the next push. */
#ifndef MDC_BASE_VEC_H
#define MDC_BASE_VEC_H

#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_vec {
    void *data;
    size_t count;
    size_t capacity;
    size_t item_size; /* bytes */
} mdc_vec;

void mdc_vec_init(mdc_vec *vec, size_t item_size);
void mdc_vec_fini(mdc_vec *vec);
/* Room for `count` items in all. MDC_ERR_NOMEM. */
mdc_status mdc_vec_reserve(mdc_vec *vec, size_t count, mdc_error *err);
/* Appends `count` items copied from `items` (or zeroed if items is NULL); *at (if not NULL) is the first one's index.
 */
mdc_status mdc_vec_push(mdc_vec *vec, const void *items, size_t count, size_t *at, mdc_error *err);
/* Gives back what is not used. */
void mdc_vec_trim(mdc_vec *vec);

#define mdc_vec_at(vec, type, index) (((type *)(vec)->data)[index])

/* The allocator used everywhere: fails by name ("alloc:n") when a test asks for it. */
void *mdc_alloc(size_t count, size_t size, mdc_error *err);
/* The same, but what is in it is not known: for what is large, and written before it is read. */
void *mdc_alloc_buffer(size_t count, size_t size, mdc_error *err);
void mdc_dealloc(void *block);

#endif
