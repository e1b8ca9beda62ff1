/* Hiding texts of the target (see sanitized_source.h). */
#include "sanitized_source.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/range_set.h"
#include "../format/minidump_file.h"
#include "../format/wtf8.h"

#define BLOCK_MAX (UINT64_C(8) << 20) /* bytes; the kernel lets arguments and environment grow to 6 MiB */

typedef struct mdc_sanitized_source {
    mdc_source source;
    mdc_source *inner;
    mdc_hiding hiding;
    mdc_dump_control *control; /* NULL: nothing ends the search for texts early */
    mdc_vec hidden;            /* mdc_set_range: a set after stop */
    mdc_vec hidden_file;       /* the same of offsets in the file that an existing dump is */
    mdc_vec *into;             /* the one of them that is being filled */
    mdc_snapshot lists;        /* of an existing dump: the inner one's, with */
    mdc_carried carried;       /* a read that goes through this source */
    uint64_t count;            /* variables */
    size_t unknown;            /* runs of bytes that may hold values and could not be read */
    bool wide;                 /* the environment is UTF-16: of Windows */
    bool found;                /* an environment, however much of it could be read */
    bool options;              /* a command line is looked at */
    bool learning;             /* values are told, nothing is hidden: the whole text is already */
    mdc_options option;        /* of the argument that is next */
    uint64_t strings;          /* looked at so far */
} mdc_sanitized_source;

static mdc_sanitized_source *sanitized_of(mdc_source *source) {
    return (mdc_sanitized_source *)source;
} /* source is its first member */

static void take_identity(mdc_sanitized_source *sanitized) {
    sanitized->source.pid = sanitized->inner->pid;
    sanitized->source.handle = sanitized->inner->handle;
}

static mdc_status hide(mdc_sanitized_source *sanitized, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_set_range range = {address, 0};
    if (size == 0 || sanitized->learning) return MDC_OK;
    if (!mdc_add_u64(address, size, &range.end))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_CAPTURE, 0, "a text of the target overflows");
    return mdc_vec_push(sanitized->into, &range, 1, NULL, err);
}

static mdc_status learn(mdc_sanitized_source *sanitized, const uint8_t *value, size_t size, bool wide, mdc_error *err) {
    const mdc_learner *learner = sanitized->hiding.learner;
    return learner != NULL && size > 0 ? learner->value(learner->context, value, size, wide, err) : MDC_OK;
}

/* A target may have millions of strings. */
static mdc_status poll(mdc_sanitized_source *sanitized, mdc_error *err) {
    enum { STRINGS = 1024 };
    if (++sanitized->strings % STRINGS != 0 || sanitized->control == NULL) return MDC_OK;
    return mdc_control_check(sanitized->control, err);
}

/* One variable of the block. */
static mdc_status hide_value(mdc_sanitized_source *sanitized, uint64_t address, const uint8_t *text, size_t size,
                             mdc_error *err) {
    const uint8_t *equals = memchr(text, '=', size);
    size_t name = equals != NULL ? (size_t)(equals - text) : size;
    if (size == 0 || !sanitized->hiding.hides(sanitized->hiding.context, text, name)) return MDC_OK;
    sanitized->count += !sanitized->learning;
    size_t kept = equals != NULL ? name + 1 : 0;
    if (equals != NULL && learn(sanitized, text + kept, size - kept, false, err) != MDC_OK) return err->code;
    return hide(sanitized, address + kept, size - kept, err);
}

/* One argument of the command line. */
static mdc_status hide_option(mdc_sanitized_source *sanitized, uint64_t address, const uint8_t *text, size_t size,
                              mdc_error *err) {
    mdc_option_value value = mdc_options_take(&sanitized->option, text, size);
    if (learn(sanitized, text + value.first, size - value.first, false, err) != MDC_OK) return err->code;
    if (value.assigned != value.first &&
        learn(sanitized, text + value.assigned, size - value.assigned, false, err) != MDC_OK)
        return err->code;
    return hide(sanitized, address + value.first, size - value.first, err);
}

enum { UNIT = 2, NAME_UNITS = 512 }; /* values of names with more units are hidden whatever these are */

static bool is_unit(const uint8_t *at, char wanted) { return at[0] == (uint8_t)wanted && at[1] == 0; }

/* The same of a block of UTF-16. size: bytes, a multiple of UNIT. Names that begin with `=` are Windows' own. */
static mdc_status hide_wide_value(mdc_sanitized_source *sanitized, uint64_t address, const uint8_t *text, size_t size,
                                  mdc_error *err) {
    uint16_t name[NAME_UNITS];
    uint8_t bytes[NAME_UNITS * MDC_WTF8_PER_UNIT];
    size_t count = 0, units = size / UNIT;
    if (units == 0) return MDC_OK;
    while (count < units && (count == 0 || !is_unit(text + count * UNIT, '='))) count++;
    if (count <= NAME_UNITS) {
        memcpy(name, text, count * UNIT);
        size_t length = mdc_wtf8_from_utf16(name, count, bytes, sizeof bytes);
        if (!sanitized->hiding.hides(sanitized->hiding.context, bytes, length)) return MDC_OK;
    }
    sanitized->count += !sanitized->learning;
    bool named = count < units;
    size_t kept = named ? (count + 1) * UNIT : 0;
    if (named && learn(sanitized, text + kept, size - kept, true, err) != MDC_OK) return err->code;
    return hide(sanitized, address + kept, size - kept, err);
}

/* As hide_values. What is left of a unit at the end of a run is hidden: its other byte could not be read. */
static mdc_status hide_wide_values(mdc_sanitized_source *sanitized, uint64_t address, const uint8_t *bytes, size_t size,
                                   bool broken, mdc_error *err) {
    const size_t whole = size / UNIT * UNIT;
    for (size_t at = 0; at < whole;) {
        size_t end = at;
        while (end < whole && !is_unit(bytes + end, 0)) end += UNIT;
        if (poll(sanitized, err) != MDC_OK) return err->code;
        mdc_status status = broken && at == 0 ? hide(sanitized, address, end, err)
                                              : hide_wide_value(sanitized, address + at, bytes + at, end - at, err);
        if (status != MDC_OK) return status;
        at = end + UNIT;
    }
    return hide(sanitized, address + whole, size - whole, err);
}

/* The strings of one run of pages that could be read. broken: its first string begins in what could not. */
static mdc_status hide_values(mdc_sanitized_source *sanitized, uint64_t address, const uint8_t *bytes, size_t size,
                              bool broken, mdc_error *err) {
    if (sanitized->wide) return hide_wide_values(sanitized, address, bytes, size, broken, err);
    sanitized->option = (mdc_options){sanitized->hiding.drops, sanitized->hiding.context, false};
    for (size_t at = 0; at < size;) {
        const uint8_t *nul = memchr(bytes + at, 0, size - at);
        size_t length = nul != NULL ? (size_t)(nul - (bytes + at)) : size - at;
        if (poll(sanitized, err) != MDC_OK) return err->code;
        mdc_status status = broken && at == 0    ? hide(sanitized, address, length, err)
                            : sanitized->options ? hide_option(sanitized, address + at, bytes + at, length, err)
                                                 : hide_value(sanitized, address + at, bytes + at, length, err);
        if (status != MDC_OK) return status;
        if (broken && at == 0) sanitized->option.wanted = true; /* what was cut may be the end of an option */
        at += length + 1;
    }
    return MDC_OK;
}

/* Pages that cannot be read now are hidden: their content is unknown. */
static mdc_status hide_in_block(mdc_sanitized_source *sanitized, uint64_t address, uint8_t *bytes, size_t size,
                                mdc_error *err) {
    size_t at = 0;
    bool broken = false;
    while (at < size) {
        size_t done = 0;
        int32_t os_errno = 0;
        mdc_span span = {address + at, size - at};
        if (sanitized->inner->ops->read(sanitized->inner, &span, 1, bytes + at, &done, &os_errno, err) != MDC_OK)
            return err->code;
        if (done > size - at) done = size - at;
        if (hide_values(sanitized, address + at, bytes + at, done, broken, err) != MDC_OK) return err->code;
        at += done;
        if (at == size) break;
        uint64_t next = mdc_min_u64(mdc_page_down(address + at) + MDC_PAGE_SIZE, address + size);
        if (hide(sanitized, address + at, next - (address + at), err) != MDC_OK) return err->code;
        at = (size_t)(next - address);
        broken = true;
        sanitized->unknown++;
    }
    return MDC_OK;
}

static mdc_status hide_variables(mdc_sanitized_source *sanitized, const mdc_span *span, mdc_error *err) {
    uint64_t end;
    if (span->size == 0) return MDC_OK;
    if (!mdc_add_u64(span->address, span->size, &end) || span->size > BLOCK_MAX)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_CAPTURE, 0,
                        "the target's environment is too long to hide variables in it");
    uint8_t *bytes = mdc_alloc((size_t)span->size, 1, err);
    if (bytes == NULL) return err->code;
    mdc_status status = hide_in_block(sanitized, span->address, bytes, (size_t)span->size, err);
    mdc_dealloc(bytes);
    return status;
}

static bool learns_options(const mdc_sanitized_source *sanitized) {
    return sanitized->hiding.learner != NULL && sanitized->hiding.drops != NULL;
}

static mdc_status hide_text(mdc_sanitized_source *sanitized, uint32_t stream, mdc_span span, mdc_error *err) {
    bool whole = (sanitized->hiding.streams & stream) != 0;
    if (whole && hide(sanitized, span.address, span.size, err) != MDC_OK) return err->code;
    if (whole && sanitized->hiding.learner == NULL) return MDC_OK;
    if (stream == MDC_STREAM_ENVIRON && sanitized->hiding.hides != NULL) {
        sanitized->learning = whole;
        sanitized->found = true;
        mdc_status status = hide_variables(sanitized, &span, err);
        sanitized->learning = false;
        return status;
    }
    /* A command line of Windows is one text, which the program takes apart by its own rules. */
    if (stream != MDC_STREAM_CMDLINE || !learns_options(sanitized) || sanitized->wide) return MDC_OK;
    sanitized->learning = whole;
    sanitized->options = true;
    mdc_status status = hide_variables(sanitized, &span, err);
    sanitized->learning = sanitized->options = false;
    return status;
}

/* [first, end) was read to `bytes`. set: of addresses, or of offsets. */
static void cover_set(const mdc_sanitized_source *sanitized, const mdc_vec *set, uint64_t first, uint64_t end,
                      uint8_t *bytes) {
    const mdc_set_range *hidden = set->data;
    for (size_t at = mdc_range_set_find(set, first); at < set->count && hidden[at].first < end; at++) {
        uint64_t from = mdc_max_u64(first, hidden[at].first), to = mdc_min_u64(end, hidden[at].end);
        memset(bytes + (from - first), sanitized->hiding.fill, (size_t)(to - from));
    }
}

static void cover(const mdc_sanitized_source *sanitized, uint64_t first, uint64_t end, uint8_t *bytes) {
    cover_set(sanitized, &sanitized->hidden, first, end, bytes);
}

static mdc_status sanitized_file_read(mdc_source *source, uint64_t offset, void *buffer, size_t size, mdc_error *err) {
    const mdc_sanitized_source *sanitized = sanitized_of(source);
    const mdc_carried *inner = sanitized->inner->ops->snapshot(sanitized->inner)->carried;
    if (inner->read(sanitized->inner, offset, buffer, size, err) != MDC_OK) return err->code;
    cover_set(sanitized, &sanitized->hidden_file, offset, offset + size, buffer);
    return MDC_OK;
}

static uint64_t sanitized_file_run(mdc_source *source, uint64_t offset, uint64_t end, bool *hole) {
    const mdc_sanitized_source *sanitized = sanitized_of(source);
    return sanitized->inner->ops->snapshot(sanitized->inner)->carried->run(sanitized->inner, offset, end, hole);
}

/* A text of an existing dump that is not known to be in the memory it holds. */
static mdc_status hide_in_file(mdc_sanitized_source *sanitized, const mdc_carried *carried,
                               const mdc_carried_stream *stream, mdc_error *err) {
    const bool options = stream->type == MDC_STREAM_TYPE_LINUX_CMD_LINE;
    if (options ? !learns_options(sanitized) : sanitized->hiding.hides == NULL) return MDC_OK;
    if (stream->size > BLOCK_MAX)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_CAPTURE, 0,
                        "the environment of the dump is too long to hide variables in it");
    uint8_t *bytes = mdc_alloc(stream->size, 1, err);
    if (bytes == NULL) return err->code;
    sanitized->into = &sanitized->hidden_file;
    sanitized->options = options;
    sanitized->found |= !options;
    mdc_status status = carried->read(sanitized->inner, stream->rva, bytes, stream->size, err);
    if (status == MDC_OK) status = hide_values(sanitized, stream->rva, bytes, stream->size, false, err);
    sanitized->into = &sanitized->hidden;
    sanitized->options = false;
    mdc_dealloc(bytes);
    return status;
}

static mdc_status find_carried(mdc_sanitized_source *sanitized, const mdc_carried *carried, mdc_error *err) {
    for (size_t i = 0; i < carried->stream_count; i++) {
        const mdc_carried_stream *stream = &carried->streams[i];
        uint32_t text = stream->type == MDC_STREAM_TYPE_LINUX_ENVIRON    ? MDC_STREAM_ENVIRON
                        : stream->type == MDC_STREAM_TYPE_LINUX_CMD_LINE ? MDC_STREAM_CMDLINE
                                                                         : 0;
        mdc_span span = {stream->address, stream->size};
        size_t unknown = sanitized->unknown;
        mdc_status status = text == 0              ? MDC_OK
                            : stream->address != 0 ? hide_text(sanitized, text, span, err)
                                                   : hide_in_file(sanitized, carried, stream, err);
        if (status == MDC_OK && stream->address != 0 && sanitized->hiding.learner != NULL) {
            /* The dump may hold the stream, and not the memory that it is a copy of. */
            const uint64_t count = sanitized->count;
            status = hide_in_file(sanitized, carried, stream, err);
            sanitized->count = count;
            sanitized->unknown = unknown;
        }
        if (status != MDC_OK) return status;
    }
    mdc_range_set_normalise(&sanitized->hidden_file);
    return MDC_OK;
}

/* Whether all of the copy is in a text that was looked at. */
static bool is_text(const mdc_snapshot *lists, const mdc_copy *copy) {
    for (size_t i = 0; i < lists->text_count; i++) {
        const mdc_text *text = &lists->texts[i];
        if (text->data == NULL && text->stream == copy->stream && copy->span.address == text->address &&
            copy->span.size <= text->size)
            return true;
    }
    return false;
}

static mdc_status find_texts(mdc_sanitized_source *sanitized, mdc_error *err) {
    const mdc_snapshot *lists = sanitized->inner->ops->snapshot(sanitized->inner);
    sanitized->hidden.count = sanitized->hidden_file.count = 0;
    sanitized->count = 0;
    sanitized->unknown = 0;
    sanitized->strings = 0;
    sanitized->found = false;
    sanitized->wide = lists->system != NULL && lists->system->platform == MDC_PLATFORM_WINDOWS;
    for (size_t i = 0; i < lists->text_count; i++) {
        const mdc_text *text = &lists->texts[i];
        mdc_span span = {text->address, text->size};
        if (text->data == NULL && hide_text(sanitized, text->stream, span, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < lists->copy_count; i++)
        if (!is_text(lists, &lists->copies[i]) &&
            hide_text(sanitized, lists->copies[i].stream, lists->copies[i].span, err) != MDC_OK)
            return err->code;
    if (lists->carried != NULL) {
        sanitized->lists = *lists;
        sanitized->carried = *lists->carried;
        sanitized->carried.read = sanitized_file_read;
        sanitized->carried.run = sanitized_file_run;
        sanitized->lists.carried = &sanitized->carried;
        if (find_carried(sanitized, lists->carried, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(&sanitized->hidden);
    const mdc_learner *learner = sanitized->hiding.learner;
    return learner != NULL ? learner->all(learner->context, sanitized->unknown + !sanitized->found, err) : MDC_OK;
}

static mdc_status sanitized_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    mdc_sanitized_source *sanitized = sanitized_of(source);
    sanitized->control = control;
    mdc_status status = sanitized->inner->ops->prepare(sanitized->inner, control, err);
    take_identity(sanitized);
    return status;
}

static mdc_status sanitized_stop(mdc_source *source, mdc_error *err) {
    mdc_sanitized_source *sanitized = sanitized_of(source);
    mdc_status status = sanitized->inner->ops->stop(sanitized->inner, err);
    take_identity(sanitized);
    if (status != MDC_OK || find_texts(sanitized, err) == MDC_OK) return status;
    mdc_error ignored; /* nothing stays stopped after a failure */
    uint64_t stop_time_ns;
    mdc_error_clear(&ignored);
    (void)sanitized->inner->ops->resume(sanitized->inner, &stop_time_ns, &ignored);
    return err->code;
}

static const mdc_snapshot *sanitized_lists(const mdc_source *source) {
    const mdc_sanitized_source *sanitized = (const mdc_sanitized_source *)source;
    return sanitized->carried.read != NULL ? &sanitized->lists : sanitized->inner->ops->snapshot(sanitized->inner);
}

static size_t sanitized_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                                size_t room, uint64_t *next) {
    mdc_source *inner = sanitized_of(source)->inner;
    return inner->ops->content(inner, region, first, end, runs, room, next);
}

static mdc_status sanitized_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer,
                                 size_t *done, int32_t *os_errno, mdc_error *err) {
    mdc_sanitized_source *sanitized = sanitized_of(source);
    mdc_status status = sanitized->inner->ops->read(sanitized->inner, spans, span_count, buffer, done, os_errno, err);
    if (sanitized->hidden.count == 0) return status;
    /* Whatever it says was read: a source may leave more in the buffer than it vouches for. */
    for (size_t i = 0; i < span_count; i++) {
        cover(sanitized, spans[i].address, spans[i].address + spans[i].size, buffer);
        buffer += spans[i].size;
    }
    return status;
}

static mdc_status sanitized_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    mdc_source *inner = sanitized_of(source)->inner;
    return inner->ops->resume(inner, stop_time_ns, err);
}

static uint64_t sanitized_late_end(mdc_source *source, size_t region) {
    mdc_source *inner = sanitized_of(source)->inner;
    return inner->ops->late->end(inner, region);
}

static void sanitized_late_read(mdc_source *source, size_t region, uint64_t address, size_t size, uint8_t *buffer,
                                size_t *done, int32_t *os_errno) {
    mdc_sanitized_source *sanitized = sanitized_of(source);
    sanitized->inner->ops->late->read(sanitized->inner, region, address, size, buffer, done, os_errno);
    cover(sanitized, address, address + size, buffer);
}

static int32_t sanitized_late_check(mdc_source *source, size_t region) {
    mdc_source *inner = sanitized_of(source)->inner;
    return inner->ops->late->check(inner, region);
}

static uint64_t sanitized_footprint(mdc_source *source) {
    mdc_source *inner = sanitized_of(source)->inner;
    return inner->ops->footprint != NULL ? inner->ops->footprint(inner) : 0;
}

static void sanitized_free(mdc_source *source) {
    mdc_sanitized_source *sanitized = sanitized_of(source);
    sanitized->inner->ops->free(sanitized->inner);
    mdc_vec_fini(&sanitized->hidden);
    mdc_vec_fini(&sanitized->hidden_file);
    mdc_dealloc(sanitized);
}

mdc_source *mdc_sanitized_source_new(mdc_source *inner, const mdc_hiding *hiding, mdc_error *err) {
    static const mdc_late_ops late = {sanitized_late_end, sanitized_late_read, sanitized_late_check};
    static const mdc_source_ops ops = {.prepare = sanitized_prepare,
                                       .stop = sanitized_stop,
                                       .snapshot = sanitized_lists,
                                       .content = sanitized_content,
                                       .read = sanitized_read,
                                       .resume = sanitized_resume,
                                       .free = sanitized_free,
                                       .late = &late,
                                       .footprint = sanitized_footprint};
    static const mdc_source_ops ops_without = {.prepare = sanitized_prepare,
                                               .stop = sanitized_stop,
                                               .snapshot = sanitized_lists,
                                               .content = sanitized_content,
                                               .read = sanitized_read,
                                               .resume = sanitized_resume,
                                               .free = sanitized_free,
                                               .footprint = sanitized_footprint};
    mdc_sanitized_source *sanitized = mdc_alloc(1, sizeof *sanitized, err);
    if (sanitized == NULL) return NULL;
    mdc_source_init(&sanitized->source, inner->ops->late != NULL ? &ops : &ops_without, inner->pid);
    sanitized->inner = inner;
    sanitized->source.carries = inner->carries;
    sanitized->source.windows = inner->windows;
    sanitized->source.narrow = inner->narrow;
    sanitized->hiding = *hiding;
    mdc_range_set_init(&sanitized->hidden);
    mdc_range_set_init(&sanitized->hidden_file);
    sanitized->into = &sanitized->hidden;
    take_identity(sanitized);
    return &sanitized->source;
}

uint64_t mdc_sanitized_source_count(const mdc_source *sanitized) {
    return ((const mdc_sanitized_source *)sanitized)->count;
}
