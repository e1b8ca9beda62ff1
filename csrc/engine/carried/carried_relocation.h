/* Moving what streams point at: strings, contexts, records. What two entries share in the file they share afterwards.
 */
#ifndef MDC_ENGINE_CARRIED_RELOCATION_H
#define MDC_ENGINE_CARRIED_RELOCATION_H

#include "../../base/hash.h"
#include "carried_file.h"

/* What lies at an offset. The same bytes as two of these are moved twice. */
enum {
    MDC_MOVED_STRING = 1,        /* MINIDUMP_STRING */
    MDC_MOVED_UTF8 = 2,          /* MinidumpUTF8String of Crashpad */
    MDC_MOVED_CONTEXT = 3,       /* registers */
    MDC_MOVED_EMPTY_CONTEXT = 4, /* the same without them: the callee leaves them out */
    MDC_MOVED_CODEVIEW = 5,
    MDC_MOVED_RECORD = 6 /* other bytes */
};

typedef struct mdc_moved {
    uint32_t kind;
    uint32_t rva;
    uint32_t size; /* bytes; 0: the string says it */
    uint32_t to;
} mdc_moved;

typedef struct mdc_relocation {
    mdc_layout *layout;
    mdc_source *source;
    const mdc_carried *carried;
    const mdc_vec *memory; /* mdc_set_range, a set: where the file has memory of the target */
    mdc_hash shared;
    mdc_vec moved;    /* mdc_moved */
    mdc_vec bytes;    /* uint8_t: what is being moved */
    mdc_vec text;     /* uint8_t: a string as UTF-8 */
    uint64_t read;    /* bytes of the file so far */
    const char *what; /* the stream, for messages */
} mdc_relocation;

/* memory lives as long as the relocation. */
void mdc_relocation_init(mdc_relocation *relocation, mdc_layout *layout, const mdc_vec *memory);
void mdc_relocation_fini(mdc_relocation *relocation);
/* [rva, rva + size) of the file, appended to out. `field` is named where the file does not have it. */
mdc_status mdc_relocation_read(mdc_relocation *relocation, uint64_t rva, uint64_t size, const char *field, mdc_vec *out,
                               mdc_error *err);
/* The string at *rva, which becomes its new offset; 0 stays 0. */
mdc_status mdc_relocate_string(mdc_relocation *relocation, uint32_t kind, uint32_t *rva, const char *field,
                               mdc_error *err);
/* The bytes at the location, which is corrected; empty ones become {0, 0}. */
mdc_status mdc_relocate_bytes(mdc_relocation *relocation, uint32_t kind, mdc_file_location *location, const char *field,
                              mdc_error *err);
/* carried_texts.c. In place: `units` of UTF-16, which the callee edits as UTF-8, as all texts; a character of which it
 * changes a byte becomes that byte. */
mdc_status mdc_carried_edit_utf16(mdc_relocation *relocation, uint8_t *bytes, size_t units, mdc_error *err);
/* relocation->text: the same as UTF-8. */
mdc_status mdc_carried_utf8(mdc_relocation *relocation, const uint8_t *bytes, size_t units, mdc_error *err);
/* A stream that is a text from its start on, but for the last `rest` bytes: of UTF-16, or of bytes. */
mdc_status mdc_carried_text(mdc_relocation *relocation, const mdc_carried_stream *stream, bool wide, size_t rest,
                            mdc_error *err);

/* MDC_ERR_FORMAT if [rva, rva + size) shares bytes with memory: which rule decides about them would be left open. */
mdc_status mdc_carried_apart(const mdc_vec *memory, const char *what, uint64_t rva, uint64_t size, mdc_error *err);
mdc_status mdc_relocation_fail(const mdc_relocation *relocation, const char *field, uint64_t rva, mdc_error *err);

#endif
