/* What the caller says of a dump, as bodies of streams: annotations become the simple annotations of CrashpadInfo
 * (Crashpad's minidump_extensions.h), the comment becomes CommentStreamA and CommentStreamW. */
#ifndef MDC_FORMAT_CALLER_TEXTS_H
#define MDC_FORMAT_CALLER_TEXTS_H

#include <stdbool.h>

#include "../api/engine.h"

/* Whether they can be written: keys are there, not twice, all texts fit into MDC_CALLER_TEXT_MAX bytes, and
 * no user stream has the number of one of theirs. */
mdc_status mdc_caller_texts_check(const mdc_engine_options *options, mdc_error *err);

/* CrashpadInfo and all it refers to, as one block that begins at `rva` of the file: it holds offsets in the file.
 * Returns its size in bytes, which does not depend on rva; out NULL: nothing is written. */
size_t mdc_annotations_put(const mdc_annotation *annotations, size_t count, uint32_t rva, uint8_t *out);

/* Whether a reader decodes CommentStreamA, whose code page a dump does not tell, as it was meant. */
bool mdc_comment_is_ascii(const char *comment);
/* The comment in UTF-16, with its NUL. Returns its size in bytes; out NULL: nothing is written. */
size_t mdc_comment_put(const char *comment, uint16_t *out);

#endif
