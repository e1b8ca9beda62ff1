#include <string.h>

#include "../../format/wtf8.h"
#include "carried_relocation.h"

static uint16_t unit_at(const uint8_t *bytes, size_t at) {
    uint16_t unit;
    memcpy(&unit, bytes + 2 * at, sizeof unit);
    return unit;
}

/* Units of the character there: 2 of a surrogate pair, else 1. */
static size_t character(const uint8_t *bytes, size_t at, size_t units) {
    bool high = (unit_at(bytes, at) & 0xFC00) == 0xD800;
    return high && at + 1 < units && (unit_at(bytes, at + 1) & 0xFC00) == 0xDC00 ? 2 : 1;
}

static size_t utf8_of(const uint8_t *bytes, size_t at, size_t count, uint8_t *out) {
    uint16_t wide[2];
    memcpy(wide, bytes + 2 * at, 2 * count);
    return mdc_wtf8_from_utf16(wide, count, out, 2 * (size_t)MDC_WTF8_PER_UNIT);
}

mdc_status mdc_carried_utf8(mdc_relocation *relocation, const uint8_t *bytes, size_t units, mdc_error *err) {
    mdc_vec *text = &relocation->text;
    text->count = 0;
    if (mdc_vec_reserve(text, units * MDC_WTF8_PER_UNIT + 2 * (size_t)MDC_WTF8_PER_UNIT, err) != MDC_OK)
        return err->code;
    for (size_t at = 0; at < units;) {
        size_t count = character(bytes, at, units);
        text->count += utf8_of(bytes, at, count, (uint8_t *)text->data + text->count);
        at += count;
    }
    return MDC_OK;
}

mdc_status mdc_carried_edit_utf16(mdc_relocation *relocation, uint8_t *bytes, size_t units, mdc_error *err) {
    const mdc_engine *engine = relocation->layout->engine;
    if (engine->options.edit == NULL || units == 0) return MDC_OK;
    mdc_sanitize(engine, 0, bytes, units * 2); /* a pattern may be UTF-16 itself, or the text is none */
    if (mdc_carried_utf8(relocation, bytes, units, err) != MDC_OK) return err->code;
    const uint8_t *edited = relocation->text.data;
    mdc_sanitize(engine, 0, relocation->text.data, relocation->text.count);
    for (size_t at = 0, from = 0; at < units;) {
        uint8_t before[2 * MDC_WTF8_PER_UNIT];
        size_t count = character(bytes, at, units), size = utf8_of(bytes, at, count, before);
        for (size_t i = 0; i < size; i++) {
            if (edited[from + i] == before[i]) continue;
            for (size_t unit = at; unit < at + count; unit++) {
                const uint16_t fill = edited[from + i];
                memcpy(bytes + 2 * unit, &fill, sizeof fill);
            }
            break;
        }
        at += count;
        from += size;
    }
    return MDC_OK;
}

mdc_status mdc_carried_text(mdc_relocation *relocation, const mdc_carried_stream *stream, bool wide, size_t rest,
                            mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    mdc_vec *body = &relocation->bytes;
    size_t at, text = stream->size > rest ? stream->size - rest : 0;
    relocation->what = "a text";
    body->count = 0;
    if (mdc_relocation_read(relocation, stream->rva, stream->size, "the stream", body, err) != MDC_OK) return err->code;
    if (!wide)
        mdc_sanitize(layout->engine, 0, body->data, text);
    else if (mdc_carried_edit_utf16(relocation, body->data, text / 2, err) != MDC_OK)
        return err->code;
    if (mdc_layout_align(layout, 4, err) != MDC_OK ||
        mdc_layout_put(layout, body->data, body->count, &at, err) != MDC_OK)
        return err->code;
    return mdc_layout_stream(layout, stream->type, at, stream->size, NULL, err);
}
