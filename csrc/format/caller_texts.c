/* Annotations and the comment (see caller_texts.h). */
#include "caller_texts.h"

#include <inttypes.h>
#include <string.h>

#include "../base/fail.h"
#include "minidump_file.h"
#include "utf16.h"

/* -- annotations --------------------------------------------------------------------------------------------------- */

static void put(uint8_t *out, size_t at, const void *data, size_t size) {
    if (out != NULL) memcpy(out + at, data, size);
}

/* MinidumpUTF8String: the length, the bytes, a NUL; padded to 4 bytes with zeros. Returns the offset after it. */
static size_t put_string(uint8_t *out, size_t at, const char *text) {
    uint32_t length = (uint32_t)strlen(text);
    put(out, at, &length, sizeof length);
    put(out, at + sizeof length, text, length);
    size_t end = (at + sizeof length + length + sizeof(uint32_t)) & ~(sizeof(uint32_t) - 1);
    if (out != NULL) memset(out + at + sizeof length + length, 0, end - at - sizeof length - length);
    return end;
}

size_t mdc_annotations_put(const mdc_annotation *annotations, size_t count, uint32_t rva, uint8_t *out) {
    uint32_t entries = (uint32_t)count;
    size_t dictionary = sizeof(mdc_file_crashpad_info), entry = dictionary + sizeof entries;
    size_t end = entry + count * sizeof(mdc_file_annotation);
    mdc_file_crashpad_info info = {
        .version = MDC_FILE_CRASHPAD_VERSION,
        .simple_annotations = {(uint32_t)(end - dictionary), rva + (uint32_t)dictionary},
    };
    put(out, 0, &info, sizeof info);
    put(out, dictionary, &entries, sizeof entries);
    for (size_t i = 0; i < count; i++, entry += sizeof(mdc_file_annotation)) {
        mdc_file_annotation row = {.key_rva = rva + (uint32_t)end};
        end = put_string(out, end, annotations[i].key);
        row.value_rva = rva + (uint32_t)end;
        end = put_string(out, end, annotations[i].value);
        put(out, entry, &row, sizeof row);
    }
    return end;
}

/* -- the comment --------------------------------------------------------------------------------------------------- */

bool mdc_comment_is_ascii(const char *comment) {
    for (; *comment != 0; comment++)
        if ((uint8_t)*comment >= 0x80) return false;
    return true;
}

size_t mdc_comment_put(const char *comment, uint16_t *out) {
    const uint8_t *bytes = (const uint8_t *)comment;
    size_t units = out != NULL ? mdc_utf16_path(bytes, strlen(comment), out) : mdc_utf16_units(bytes, strlen(comment));
    return (units + 1) * sizeof *out;
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

static mdc_status wrong(mdc_error *err, size_t index, const char *why) {
    return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_NONE, (int64_t)index, "annotations: %s", why);
}

/* Whether a stream of this type is made of them. */
static bool is_made(const mdc_engine_options *options, uint32_t type) {
    if (type == MDC_STREAM_TYPE_CRASHPAD_INFO) return options->annotation_count > 0;
    return (type == MDC_STREAM_TYPE_COMMENT_A || type == MDC_STREAM_TYPE_COMMENT_W) && options->comment != NULL;
}

mdc_status mdc_caller_texts_check(const mdc_engine_options *options, mdc_error *err) {
    const mdc_annotation *all = options->annotations;
    size_t left = MDC_CALLER_TEXT_MAX;
    if (options->annotation_count > MDC_ANNOTATIONS_MAX || (options->annotation_count > 0 && all == NULL))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "there can be %d annotations at most",
                        (int)MDC_ANNOTATIONS_MAX);
    for (size_t i = 0; i < options->annotation_count; i++) {
        if (all[i].key == NULL || all[i].value == NULL) return wrong(err, i, "a key or value is missing");
        size_t size = strlen(all[i].key) + strlen(all[i].value);
        if (all[i].key[0] == 0) return wrong(err, i, "a key is empty");
        for (size_t j = 0; j < i; j++)
            if (strcmp(all[i].key, all[j].key) == 0) return wrong(err, i, "a key is given twice");
        if (size > left) return wrong(err, i, "keys, values and comment have more than 1 MiB");
        left -= size;
    }
    if (options->comment != NULL && strlen(options->comment) > left)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "keys, values and comment have more than 1 MiB");
    for (size_t i = 0; i < options->user_stream_count; i++)
        if (is_made(options, options->user_streams[i].type))
            return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_NONE, (int64_t)i,
                               "user stream 0x%" PRIx32 ": the annotations or the comment are this stream",
                               options->user_streams[i].type);
    return MDC_OK;
}
