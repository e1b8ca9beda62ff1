/* Glob patterns over bytes: `*` any run of bytes (also of `/`), `?` one byte, `[a-z]` one byte of a set, `[!a-z]` one
 * byte outside it, everything else itself. In a set a `]` that comes first and a `-` at either end are
 * literal. There is no escape character: `[*]` is a star, `[[]` a bracket.
 *
 * nocase: ASCII letters compare without case and `\` is read as `/`, in pattern and text (Windows paths).
 *
 * Time: the pattern is matched piece by piece between its stars, each piece at its leftmost place, found by bit
 * parallel search: text * ceil(pattern / 64) steps at the worst, whatever the pattern. No allocation; needs no memory
 * beyond the pattern itself, so a million patterns cost a million strings. */
#ifndef MDC_FILTER_GLOB_H
#define MDC_FILTER_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest pattern, bytes. */
#define MDC_GLOB_PATTERN_MAX ((size_t)4096)
/* Longest text that can match, bytes: Windows' longest path (32,767 units) as UTF-8. */
#define MDC_GLOB_TEXT_MAX ((size_t)98304)

/* NULL if the pattern is well formed, else the text of an error message. */
const char *mdc_glob_check(const uint8_t *pattern, size_t size);

/* How many bytes a text that matches has at least: one for each element that is not a star. */
size_t mdc_glob_least(const uint8_t *pattern, size_t size);

/* The pattern must have passed mdc_glob_check. A text longer than MDC_GLOB_TEXT_MAX matches nothing. */
bool mdc_glob_match(const uint8_t *pattern, size_t pattern_size, bool nocase, const uint8_t *text, size_t text_size);

#endif
