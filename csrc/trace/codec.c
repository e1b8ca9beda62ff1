/* Records of callbacks: packing and unpacking (see codec.h).
 *
 * One table says of each type which fields its input member has, in the order of a record, where each is in the union
 * and how wide it is. Packing, unpacking and the check of a record's sizes all read it. Widths are fixed, so that a
 * record is the same on every CPU of one byte order; the fields of 64 bits come first. */
#include "codec.h"

#include <string.h>

#include "../base/thread_layout.h"
#include "../format/utf16_path.h"

_Static_assert(sizeof(mdc_trace_header) == 32, "a record begins with 32 bytes");

/* -- the table ----------------------------------------------------------------------------------------------------- */

enum {
    PLAIN,
    POINTER, /* 64 bits in a record */
    SHIFTED, /* after Context: 4 bytes lower where the engine was built with GCC */
    UNSET    /* 0 in a recording: the engine gives no meaning to it */
};

typedef struct field {
    uint16_t offset; /* in the union */
    uint8_t width;   /* bytes, in a record */
    uint8_t how;
} field;

typedef struct member {
    const field *fields;
    uint8_t count;
    uint8_t output;      /* bytes of the output member; 0 where none is known to be read */
    uint8_t buffer_size; /* with a buffer: which field says how long it is; 0: no buffer */
    uint16_t buffer;     /* where the pointer to it is */
} member;

#define AT(name) offsetof(MDC_CALLBACK_INPUT_UNION, name)
#define WIDTH(name) sizeof(((MDC_CALLBACK_INPUT_UNION *)0)->name)
#define F(name) {AT(name), WIDTH(name), PLAIN}
#define P(name) {AT(name), 8, POINTER}
#define S(name) {AT(ThreadEx.name), WIDTH(ThreadEx.name), SHIFTED}
#define U(name) {AT(name), WIDTH(name), UNSET}
#define ROW(of, size) BUFFERED(of, size, 0, 0)
#define BUFFERED(of, size, size_field, at) {of, sizeof of / sizeof of[0], size, size_field, at}
#define OF(output) sizeof(output)

static const field module[] = {F(Module.BaseOfImage),   F(Module.SizeOfImage),    F(Module.CheckSum),
                               F(Module.TimeDateStamp), F(Module.SizeOfCvRecord), F(Module.SizeOfMiscRecord),
                               F(Module.VersionInfo)};
static const field thread[] = {
    P(ThreadEx.ThreadHandle),    S(StackBase),         S(StackEnd),     U(ThreadEx.BackingStoreBase),
    U(ThreadEx.BackingStoreEnd), F(ThreadEx.ThreadId), S(SizeOfContext)};
static const field thread_ex[] = {P(ThreadEx.ThreadHandle), S(StackBase),         S(StackEnd),     S(BackingStoreBase),
                                  S(BackingStoreEnd),       F(ThreadEx.ThreadId), S(SizeOfContext)};
static const field number[] = {F(SecondaryFlags)}; /* IncludeThread and KernelMinidumpStatus have theirs there too */
static const field address[] = {F(VmQuery.Offset)};
static const field region_facts[] = {
    F(RegionFacts.MappingBase),   F(RegionFacts.MappingSize), F(RegionFacts.FileOffset), F(RegionFacts.Inode),
    F(RegionFacts.ResidentBytes), F(RegionFacts.Version),     F(RegionFacts.NameId),     F(RegionFacts.Kinds),
    F(RegionFacts.Flags),         F(RegionFacts.DevMajor),    F(RegionFacts.DevMinor)};
static const field io[] = {P(Io.Handle), U(Io.Offset), U(Io.BufferBytes)};
static const field io_write_all[] = {P(Io.Handle), F(Io.Offset), F(Io.BufferBytes)};
static const field failure[] = {F(ReadMemoryFailure.Offset), F(ReadMemoryFailure.Bytes),
                                F(ReadMemoryFailure.FailureStatus)};
static const field pre_read[] = {F(VmPreRead.Offset), F(VmPreRead.Size)};
static const field post_read[] = {F(VmPostRead.Offset), F(VmPostRead.Size), F(VmPostRead.Completed),
                                  F(VmPostRead.Status)};
static const field stream_finish[] = {F(CompressedMemoryStreamFinish.CompressedStreamSize),
                                      F(CompressedMemoryStreamFinish.StreamCompressionRate)};

static const member members[MDC_CB_COUNT] = {
    [MDC_CB_MODULE] = ROW(module, 4),
    [MDC_CB_THREAD] = ROW(thread, 4),
    [MDC_CB_THREAD_EX] = ROW(thread_ex, 4),
    [MDC_CB_INCLUDE_THREAD] = ROW(number, 4),
    [MDC_CB_INCLUDE_MODULE] = ROW(address, 4),
    [MDC_CB_MEMORY] = {.output = OF(MDC_OUTPUT_MEMORY)},
    [MDC_CB_CANCEL] = {.output = OF(MDC_OUTPUT_CANCEL)},
    [MDC_CB_WRITE_KERNEL_MINIDUMP] = {.output = sizeof(void *)},
    [MDC_CB_KERNEL_MINIDUMP_STATUS] = ROW(number, 0), /* only reports, as CompressedMemoryStreamFinish */
    [MDC_CB_REMOVE_MEMORY] = {.output = OF(MDC_OUTPUT_MEMORY)},
    [MDC_CB_INCLUDE_VM_REGION] = {.output = OF(MDC_OUTPUT_VM_REGION)},
    [MDC_CB_IO_START] = ROW(io, 4),
    [MDC_CB_IO_WRITE_ALL] = BUFFERED(io_write_all, 4, 2, AT(Io.Buffer)),
    [MDC_CB_IO_FINISH] = ROW(io, 4),
    [MDC_CB_READ_MEMORY_FAILURE] = ROW(failure, 4),
    [MDC_CB_SECONDARY_FLAGS] = ROW(number, 4),
    [MDC_CB_IS_PROCESS_SNAPSHOT] = {.output = 4},
    [MDC_CB_VM_START] = {.output = 4},
    [MDC_CB_VM_QUERY] = ROW(address, OF(MDC_OUTPUT_VM_QUERY)),
    [MDC_CB_VM_PRE_READ] = BUFFERED(pre_read, OF(MDC_OUTPUT_VM_READ), 1, AT(VmPreRead.Buffer)),
    [MDC_CB_VM_POST_READ] = BUFFERED(post_read, OF(MDC_OUTPUT_VM_READ), 1, AT(VmPostRead.Buffer)),
    [MDC_CB_COMPRESSED_MEMORY_STREAM_START] = {.output = OF(MINIDUMP_COMPRESSED_MEMORY_STREAM_START_CALLBACK)},
    [MDC_CB_COMPRESSED_MEMORY_STREAM_FINISH] = ROW(stream_finish, 0),
};

/* Types of the future have neither members nor outputs. facts: IncludeVmRegion with mdc_region_facts. */
static member member_of(uint32_t type, bool facts) {
    member found = type < MDC_CB_COUNT ? members[type] : (member){.count = 0};
    if (facts) {
        found.fields = region_facts;
        found.count = sizeof region_facts / sizeof region_facts[0];
    }
    return found;
}

static uint32_t member_bytes(const member *m) {
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < m->count; i++) bytes += m->fields[i].width;
    return bytes;
}

uint32_t mdc_trace_output_bytes(uint32_t type) { return member_of(type, false).output; }

static uint32_t get32(const member *m, const uint8_t *record, uint32_t index) {
    uint32_t value;
    for (uint32_t i = 0; i < index; i++) record += m->fields[i].width;
    memcpy(&value, record, sizeof value);
    return value;
}

enum { MODULE_CV = 4, MODULE_MISC = 5 }; /* indices of SizeOfCvRecord and SizeOfMiscRecord */

static bool has_buffer(uint32_t type) { return member_of(type, false).buffer_size != 0; }

static bool is_thread(uint32_t type) { return type == MDC_CB_THREAD || type == MDC_CB_THREAD_EX; }

static size_t up8(size_t bytes) { return (bytes + 7) & ~(size_t)7; }

/* -- taking -------------------------------------------------------------------------------------------------------- */

/* Bytes of the path with its NUL; 0 if it is too long. Reads no further than Windows' longest path. */
static size_t path_bytes(const uint16_t *path) {
    for (size_t at = 0; at < MDC_PATH_UNITS_MAX; at++) {
        uint16_t unit; /* FullPath need not be aligned */
        memcpy(&unit, (const char *)path + at * sizeof unit, sizeof unit);
        if (unit == 0) return (at + 1) * sizeof unit;
    }
    return 0;
}

static void take_member(const MINIDUMP_CALLBACK_INPUT *input, const member *m, uint32_t shift, uint8_t *to) {
    for (uint32_t i = 0; i < m->count; to += m->fields[i].width, i++) {
        const field *f = &m->fields[i];
        const uint8_t *from = (const uint8_t *)&input->u + f->offset - (f->how == SHIFTED ? shift : 0);
        if (f->how == POINTER) {
            void *pointer;
            memcpy(&pointer, from, sizeof pointer);
            uint64_t value = (uintptr_t)pointer;
            memcpy(to, &value, sizeof value);
        } else if (f->how != UNSET) {
            memcpy(to, from, f->width);
        }
    }
}

/* Debug records that are not there have no size, whatever the engine says. */
static void take_module_sizes(const MINIDUMP_MODULE_CALLBACK *from, const member *m, uint8_t *to) {
    for (uint32_t i = 0; i < m->count; to += m->fields[i].width, i++)
        if ((i == MODULE_CV && from->CvRecord == NULL) || (i == MODULE_MISC && from->MiscRecord == NULL))
            memset(to, 0, m->fields[i].width);
}

static void take_buffer(const MINIDUMP_CALLBACK_INPUT *input, const member *m, const uint8_t *record,
                        mdc_trace_taken *taken) {
    size_t size = get32(m, record, m->buffer_size);
    memcpy(&taken->buffer, (const uint8_t *)&input->u + m->buffer, sizeof taken->buffer);
    taken->buffer_before = input->CallbackType == MDC_CB_VM_PRE_READ ? 0 : size;
    taken->buffer_after = input->CallbackType == MDC_CB_IO_WRITE_ALL ? 0 : size;
    if (input->CallbackType == MDC_CB_VM_POST_READ && input->u.VmPostRead.Completed < size)
        taken->buffer_before = input->u.VmPostRead.Completed;
}

bool mdc_trace_take(const MINIDUMP_CALLBACK_INPUT *input, const MINIDUMP_CALLBACK_OUTPUT *output, bool facts,
                    uint8_t *to, mdc_trace_taken *taken) {
    uint32_t type = input->CallbackType;
    mdc_trace_header header = {.type = type,
                               .process_handle = (uintptr_t)input->ProcessHandle,
                               .process_id = input->ProcessId,
                               .output_bytes = (uint8_t)mdc_trace_output_bytes(type)};
    memset(to, 0, MDC_TRACE_FIXED_MAX);
    memset(taken, 0, sizeof *taken);
    /* Facts of a version that is not known here mean nothing to a replay either. */
    if (facts && type == MDC_CB_INCLUDE_VM_REGION && input->u.RegionFacts.Version >= 1 &&
        input->u.RegionFacts.Size >= sizeof input->u.RegionFacts)
        header.flags |= MDC_TRACE_FACTS;
    member m = member_of(type, (header.flags & MDC_TRACE_FACTS) != 0);
    header.member_bytes = (uint16_t)member_bytes(&m);
    size_t text = 0;
    if (type == MDC_CB_MODULE && input->u.Module.FullPath != NULL) {
        taken->text = input->u.Module.FullPath;
        text = path_bytes(input->u.Module.FullPath);
        if (text == 0) return false;
    } else if ((header.flags & MDC_TRACE_FACTS) && input->u.RegionFacts.Name != NULL) {
        taken->text = input->u.RegionFacts.Name;
        text = (size_t)input->u.RegionFacts.NameSize + 1; /* with a NUL of our own */
        if (text > MDC_TRACE_TEXT_MAX) return false;
    }
    if (taken->text != NULL) header.flags |= MDC_TRACE_TEXT;
    header.text_bytes = (uint32_t)text;
    if (m.buffer_size != 0) header.flags |= MDC_TRACE_DIGEST;
    uint32_t shift = is_thread(type) ? mdc_thread_shift(&input->u.ThreadEx) : 0;
    if (shift != 0) header.flags |= MDC_TRACE_GCC;

    size_t member_at = sizeof header + (header.flags & MDC_TRACE_DIGEST ? 2 * sizeof(uint64_t) : 0);
    size_t before_at = member_at + up8(header.member_bytes);
    take_member(input, &m, shift, to + member_at);
    if (type == MDC_CB_MODULE) take_module_sizes(&input->u.Module, &m, to + member_at);
    if (m.buffer_size != 0) take_buffer(input, &m, to + member_at, taken);
    memcpy(to + before_at, output, header.output_bytes);
    taken->after_at = before_at + header.output_bytes;
    taken->fixed = before_at + up8(2 * (size_t)header.output_bytes);
    header.size = (uint32_t)(taken->fixed + up8(text));
    memcpy(to, &header, sizeof header);
    return true;
}

/* -- parsing ------------------------------------------------------------------------------------------------------- */

static bool text_ends(const mdc_trace_parts *parts) {
    uint32_t bytes = parts->header.text_bytes;
    const uint8_t *text = parts->text;
    if (parts->header.type == MDC_CB_MODULE)
        return bytes >= 2 && bytes % 2 == 0 && text[bytes - 1] == 0 && text[bytes - 2] == 0;
    return bytes >= 1 && text[bytes - 1] == 0;
}

bool mdc_trace_parse(const uint8_t *record, size_t left, mdc_trace_parts *parts) {
    mdc_trace_header *header = &parts->header;
    if (left < sizeof *header) return false;
    memcpy(header, record, sizeof *header);
    uint32_t type = header->type, flags = header->flags;
    bool facts = (flags & MDC_TRACE_FACTS) != 0, text = (flags & MDC_TRACE_TEXT) != 0;
    uint32_t known =
        MDC_TRACE_RESULT | MDC_TRACE_AFTER | MDC_TRACE_DIGEST | MDC_TRACE_FACTS | MDC_TRACE_TEXT | MDC_TRACE_GCC;
    if (header->size > left || header->size % 8 != 0 || (flags & ~known) != 0) return false;
    if (facts && type != MDC_CB_INCLUDE_VM_REGION) return false;
    if ((flags & MDC_TRACE_DIGEST) && !has_buffer(type)) return false;
    if ((flags & MDC_TRACE_GCC) && !is_thread(type)) return false;
    if (text && type != MDC_CB_MODULE && !facts) return false;
    member m = member_of(type, facts);
    if (header->member_bytes != member_bytes(&m) || header->output_bytes != m.output) return false;
    if (header->text_bytes > MDC_TRACE_TEXT_MAX || text != (header->text_bytes > 0)) return false;
    size_t member_at = sizeof *header + (flags & MDC_TRACE_DIGEST ? 2 * sizeof(uint64_t) : 0);
    size_t before_at = member_at + up8(header->member_bytes);
    size_t text_at = before_at + up8(2 * (size_t)header->output_bytes);
    if (header->size != text_at + up8(header->text_bytes)) return false;
    parts->digests = flags & MDC_TRACE_DIGEST ? record + sizeof *header : NULL;
    parts->member = record + member_at;
    parts->before = record + before_at;
    parts->after = record + before_at + header->output_bytes;
    parts->text = text ? record + text_at : NULL;
    return !text || text_ends(parts);
}

mdc_trace_buffers mdc_trace_buffer_sizes(const mdc_trace_parts *parts) {
    mdc_trace_buffers sizes = {0, 0, 0};
    member m = member_of(parts->header.type, false);
    if (parts->header.type == MDC_CB_MODULE) {
        sizes.cv = get32(&m, parts->member, MODULE_CV);
        sizes.misc = get32(&m, parts->member, MODULE_MISC);
    } else if (m.buffer_size != 0) {
        sizes.data = get32(&m, parts->member, m.buffer_size);
    }
    return sizes;
}

/* -- filling ------------------------------------------------------------------------------------------------------- */

static void fill_member(const mdc_trace_parts *parts, const member *m, MINIDUMP_CALLBACK_INPUT *input) {
    const uint8_t *from = parts->member;
    uint32_t shift = parts->header.flags & MDC_TRACE_GCC ? MDC_GCC_SHIFT : 0;
    for (uint32_t i = 0; i < m->count; from += m->fields[i].width, i++) {
        const field *f = &m->fields[i];
        uint8_t *to = (uint8_t *)&input->u + f->offset - (f->how == SHIFTED ? shift : 0);
        if (f->how == POINTER) {
            uint64_t value;
            memcpy(&value, from, sizeof value);
            void *pointer = (void *)(uintptr_t)value;
            memcpy(to, &pointer, sizeof pointer);
        } else if (f->how != UNSET || !is_thread(parts->header.type)) { /* Thread has no room for ThreadEx's */
            memcpy(to, from, f->width);
        }
    }
}

static void fill_module(const mdc_trace_parts *parts, void *buffer, MINIDUMP_MODULE_CALLBACK *to) {
    to->FullPath = (const uint16_t *)(const void *)parts->text;
    to->CvRecord = to->SizeOfCvRecord != 0 ? buffer : NULL;
    to->MiscRecord = to->SizeOfMiscRecord != 0 ? buffer : NULL;
}

static void fill_facts(const mdc_trace_parts *parts, mdc_region_facts *facts) {
    facts->Size = sizeof *facts;
    facts->Name = parts->text;
    facts->NameSize = parts->text != NULL ? parts->header.text_bytes - 1 : 0;
}

void mdc_trace_fill(const mdc_trace_parts *parts, void *buffer, MINIDUMP_CALLBACK_INPUT *input) {
    const mdc_trace_header *header = &parts->header;
    bool facts = (header->flags & MDC_TRACE_FACTS) != 0;
    member m = member_of(header->type, facts);
    input->ProcessId = header->process_id;
    input->ProcessHandle = (void *)(uintptr_t)header->process_handle;
    input->CallbackType = header->type;
    fill_member(parts, &m, input);
    if (header->type == MDC_CB_MODULE) fill_module(parts, buffer, &input->u.Module);
    if (facts) fill_facts(parts, &input->u.RegionFacts);
    if (m.buffer_size != 0) memcpy((uint8_t *)&input->u + m.buffer, &buffer, sizeof buffer);
    if (header->type == MDC_CB_IO_START || header->type == MDC_CB_IO_FINISH) input->u.Io.Buffer = NULL;
}
