/* CommentStreamA and CommentStreamW. */
#include <string.h>

#include "../../format/caller_texts.h"
#include "stream.h"

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const char *comment = layout->engine->options.comment;
    size_t at;
    (void)place;
    if (comment == NULL) return MDC_OK;
    if (mdc_comment_is_ascii(comment) &&
        (mdc_layout_put(layout, comment, strlen(comment) + 1, &at, err) != MDC_OK ||
         mdc_layout_stream(layout, MDC_STREAM_TYPE_COMMENT_A, at, strlen(comment) + 1, NULL, err) != MDC_OK))
        return err->code;
    size_t size = mdc_comment_put(comment, NULL);
    if (mdc_layout_align(layout, 4, err) != MDC_OK || mdc_layout_put(layout, NULL, size, &at, err) != MDC_OK)
        return err->code;
    mdc_comment_put(comment, (uint16_t *)(void *)((uint8_t *)layout->small.data + at));
    return mdc_layout_stream(layout, MDC_STREAM_TYPE_COMMENT_W, at, size, NULL, err);
}

const mdc_stream mdc_stream_comment = {.of = MDC_OF_BOTH, .type = MDC_STREAM_TYPE_COMMENT_W, .build = build_stream};
