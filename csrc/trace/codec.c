/* Records of callbacks: packing and unpacking (see call.h).
 *
 * Members are written field by field with fixed widths, so that a record is the same on every CPU of one byte order:
 *     0       BaseOfImage u64, SizeOfImage, CheckSum, TimeDateStamp, SizeOfCvRecord, SizeOfMiscRecord, VersionInfo x 13
 *     1, 2    ThreadHandle u64, StackBase u64, StackEnd u64, BackingStoreBase u64, BackingStoreEnd u64, ThreadId,
 *             SizeOfContext
 *     3, 8, 15  one u32       4, 18  one u64       14  Offset u64, Bytes, FailureStatus
 *     10      with facts: MappingBase u64, MappingSize u64, FileOffset u64, Inode u64, ResidentBytes u64, Version,
 *             NameId, Kinds, Flags, DevMajor, DevMinor
 *     11-13   Handle u64, Offset u64, BufferBytes
 *     19      Offset u64, Size     20  Offset u64, Size, Completed, Status     22  CompressedStreamSize u64, Rate
 * and u32 where nothing else is said. All others have none. */
#include "codec.h"

#include <string.h>

#include "../base/thread_layout.h"
#include "../format/utf16_path.h"

_Static_assert(sizeof(mdc_trace_header) == 32, "a record begins with 32 bytes");

typedef struct writer {
    uint8_t *at;
} writer;

static void put32(writer *w, uint32_t value) {
    memcpy(w->at, &value, sizeof value);
    w->at += sizeof value;
}

static void put64(writer *w, uint64_t value) {
    memcpy(w->at, &value, sizeof value);
    w->at += sizeof value;
}

static void put_pointer(writer *w, const void *pointer) { put64(w, (uintptr_t)pointer); }

typedef struct reader {
    const uint8_t *at;
} reader;

static uint32_t get32(reader *r) {
    uint32_t value;
    memcpy(&value, r->at, sizeof value);
    r->at += sizeof value;
    return value;
}

static uint64_t get64(reader *r) {
    uint64_t value;
    memcpy(&value, r->at, sizeof value);
    r->at += sizeof value;
    return value;
}

static void *get_pointer(reader *r) { return (void *)(uintptr_t)get64(r); }

static uint32_t member_bytes(uint32_t type, bool facts) {
    switch (type) {
    case MDC_CB_MODULE:
        return 80;
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
        return 48;
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_KERNEL_MINIDUMP_STATUS:
    case MDC_CB_SECONDARY_FLAGS:
        return 4;
    case MDC_CB_INCLUDE_MODULE:
    case MDC_CB_VM_QUERY:
        return 8;
    case MDC_CB_INCLUDE_VM_REGION:
        return facts ? 64 : 0;
    case MDC_CB_IO_START:
    case MDC_CB_IO_WRITE_ALL:
    case MDC_CB_IO_FINISH:
    case MDC_CB_VM_POST_READ:
        return 20;
    case MDC_CB_READ_MEMORY_FAILURE:
        return 16;
    case MDC_CB_VM_PRE_READ:
    case MDC_CB_COMPRESSED_MEMORY_STREAM_FINISH:
        return 12;
    default:
        return 0;
    }
}

uint32_t mdc_trace_output_bytes(uint32_t type) {
    switch (type) {
    case MDC_CB_MODULE:
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_INCLUDE_MODULE:
    case MDC_CB_SECONDARY_FLAGS:
    case MDC_CB_IO_START:
    case MDC_CB_IO_WRITE_ALL:
    case MDC_CB_IO_FINISH:
    case MDC_CB_READ_MEMORY_FAILURE:
    case MDC_CB_IS_PROCESS_SNAPSHOT:
    case MDC_CB_VM_START:
        return 4;
    case MDC_CB_MEMORY:
    case MDC_CB_REMOVE_MEMORY:
        return sizeof(MDC_OUTPUT_MEMORY);
    case MDC_CB_CANCEL:
        return sizeof(MDC_OUTPUT_CANCEL);
    case MDC_CB_WRITE_KERNEL_MINIDUMP:
        return sizeof(void *);
    case MDC_CB_INCLUDE_VM_REGION:
        return sizeof(MDC_OUTPUT_VM_REGION);
    case MDC_CB_VM_QUERY:
        return sizeof(MDC_OUTPUT_VM_QUERY);
    case MDC_CB_VM_PRE_READ:
    case MDC_CB_VM_POST_READ:
        return sizeof(MDC_OUTPUT_VM_READ);
    case MDC_CB_COMPRESSED_MEMORY_STREAM_START:
        return sizeof(MINIDUMP_COMPRESSED_MEMORY_STREAM_START_CALLBACK);
    default: /* KernelMinidumpStatus and CompressedMemoryStreamFinish only report; future types are unknown */
        return 0;
    }
}

static bool has_buffer(uint32_t type) {
    return type == MDC_CB_IO_WRITE_ALL || type == MDC_CB_VM_PRE_READ || type == MDC_CB_VM_POST_READ;
}

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

static void take_module(const MINIDUMP_MODULE_CALLBACK *module, writer *w) {
    put64(w, module->BaseOfImage);
    put32(w, module->SizeOfImage);
    put32(w, module->CheckSum);
    put32(w, module->TimeDateStamp);
    put32(w, module->CvRecord != NULL ? module->SizeOfCvRecord : 0);
    put32(w, module->MiscRecord != NULL ? module->SizeOfMiscRecord : 0);
    memcpy(w->at, &module->VersionInfo, sizeof module->VersionInfo);
    w->at += sizeof module->VersionInfo;
}

static uint32_t take_thread(const MINIDUMP_THREAD_EX_CALLBACK *thread, uint32_t type, writer *w) {
    uint32_t shift = mdc_thread_shift(thread);
    struct {
        uint32_t size;
        uint64_t stack[2];
        uint64_t backing[2];
    } tail = {.size = 0};
    const uint8_t *from = (const uint8_t *)thread - shift;
    memcpy(&tail.size, from + offsetof(MINIDUMP_THREAD_EX_CALLBACK, SizeOfContext), sizeof tail.size);
    mdc_thread_stack(thread, tail.stack);
    if (type == MDC_CB_THREAD_EX)
        memcpy(tail.backing, from + offsetof(MINIDUMP_THREAD_EX_CALLBACK, BackingStoreBase), sizeof tail.backing);
    put_pointer(w, thread->ThreadHandle);
    put64(w, tail.stack[0]);
    put64(w, tail.stack[1]);
    put64(w, tail.backing[0]);
    put64(w, tail.backing[1]);
    put32(w, thread->ThreadId);
    put32(w, tail.size);
    return shift != 0 ? MDC_TRACE_GCC : 0;
}

static void take_facts(const mdc_region_facts *facts, writer *w) {
    put64(w, facts->MappingBase);
    put64(w, facts->MappingSize);
    put64(w, facts->FileOffset);
    put64(w, facts->Inode);
    put64(w, facts->ResidentBytes);
    put32(w, facts->Version);
    put32(w, facts->NameId);
    put32(w, facts->Kinds);
    put32(w, facts->Flags);
    put32(w, facts->DevMajor);
    put32(w, facts->DevMinor);
}

static void take_member(const MINIDUMP_CALLBACK_INPUT *input, mdc_trace_header *header, writer *w,
                        mdc_trace_taken *taken) {
    const MDC_CALLBACK_INPUT_UNION *u = &input->u;
    switch (header->type) {
    case MDC_CB_MODULE:
        take_module(&u->Module, w);
        break;
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
        header->flags = (uint8_t)(header->flags | take_thread(&u->ThreadEx, header->type, w));
        break;
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_KERNEL_MINIDUMP_STATUS:
    case MDC_CB_SECONDARY_FLAGS: /* all at offset 0 of the union */
        put32(w, u->SecondaryFlags);
        break;
    case MDC_CB_INCLUDE_MODULE:
    case MDC_CB_VM_QUERY:
        put64(w, u->VmQuery.Offset);
        break;
    case MDC_CB_INCLUDE_VM_REGION:
        if (header->flags & MDC_TRACE_FACTS) take_facts(&u->RegionFacts, w);
        break;
    case MDC_CB_IO_START:
    case MDC_CB_IO_FINISH: /* Handle alone means something */
        put_pointer(w, u->Io.Handle);
        put64(w, 0);
        put32(w, 0);
        break;
    case MDC_CB_IO_WRITE_ALL:
        put_pointer(w, u->Io.Handle);
        put64(w, u->Io.Offset);
        put32(w, u->Io.BufferBytes);
        taken->buffer = u->Io.Buffer;
        taken->buffer_before = u->Io.BufferBytes;
        break;
    case MDC_CB_READ_MEMORY_FAILURE:
        put64(w, u->ReadMemoryFailure.Offset);
        put32(w, u->ReadMemoryFailure.Bytes);
        put32(w, (uint32_t)u->ReadMemoryFailure.FailureStatus);
        break;
    case MDC_CB_VM_PRE_READ:
        put64(w, u->VmPreRead.Offset);
        put32(w, u->VmPreRead.Size);
        taken->buffer = u->VmPreRead.Buffer;
        taken->buffer_after = u->VmPreRead.Size;
        break;
    case MDC_CB_VM_POST_READ:
        put64(w, u->VmPostRead.Offset);
        put32(w, u->VmPostRead.Size);
        put32(w, u->VmPostRead.Completed);
        put32(w, (uint32_t)u->VmPostRead.Status);
        taken->buffer = u->VmPostRead.Buffer;
        taken->buffer_before =
            u->VmPostRead.Completed < u->VmPostRead.Size ? u->VmPostRead.Completed : u->VmPostRead.Size;
        taken->buffer_after = u->VmPostRead.Size;
        break;
    case MDC_CB_COMPRESSED_MEMORY_STREAM_FINISH:
        put64(w, u->CompressedMemoryStreamFinish.CompressedStreamSize);
        put32(w, u->CompressedMemoryStreamFinish.StreamCompressionRate);
        break;
    default:
        break;
    }
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
    header.member_bytes = (uint16_t)member_bytes(type, (header.flags & MDC_TRACE_FACTS) != 0);
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
    if (has_buffer(type)) header.flags |= MDC_TRACE_DIGEST;

    size_t member_at = sizeof header + (header.flags & MDC_TRACE_DIGEST ? 2 * sizeof(uint64_t) : 0);
    size_t before_at = member_at + up8(header.member_bytes);
    writer w = {to + member_at};
    take_member(input, &header, &w, taken);
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
    if (header->member_bytes != member_bytes(type, facts) || header->output_bytes != mdc_trace_output_bytes(type))
        return false;
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
    uint32_t type = parts->header.type;
    reader r = {parts->member + 20};
    if (type == MDC_CB_MODULE) {
        sizes.cv = get32(&r);
        sizes.misc = get32(&r);
    } else if (has_buffer(type)) {
        r.at = parts->member + (type == MDC_CB_IO_WRITE_ALL ? 16 : 8);
        sizes.data = get32(&r);
    }
    return sizes;
}

/* -- filling ------------------------------------------------------------------------------------------------------- */

static void fill_module(reader *r, const mdc_trace_parts *parts, void *buffer, MINIDUMP_MODULE_CALLBACK *module) {
    module->FullPath = (const uint16_t *)(const void *)parts->text;
    module->BaseOfImage = get64(r);
    module->SizeOfImage = get32(r);
    module->CheckSum = get32(r);
    module->TimeDateStamp = get32(r);
    module->SizeOfCvRecord = get32(r);
    module->SizeOfMiscRecord = get32(r);
    module->CvRecord = module->SizeOfCvRecord != 0 ? buffer : NULL;
    module->MiscRecord = module->SizeOfMiscRecord != 0 ? buffer : NULL;
    memcpy(&module->VersionInfo, r->at, sizeof module->VersionInfo);
}

static void fill_thread(reader *r, const mdc_trace_header *header, MINIDUMP_THREAD_EX_CALLBACK *thread) {
    bool ex = header->type == MDC_CB_THREAD_EX;
    uint32_t shift = header->flags & MDC_TRACE_GCC ? MDC_GCC_SHIFT : 0;
    thread->ThreadHandle = get_pointer(r);
    uint64_t tail[4];
    for (size_t i = 0; i < 4; i++) tail[i] = get64(r);
    thread->ThreadId = get32(r);
    uint32_t size = get32(r);
    uint8_t *to = (uint8_t *)thread - shift;
    memcpy(to + offsetof(MINIDUMP_THREAD_EX_CALLBACK, SizeOfContext), &size, sizeof size);
    memcpy(to + offsetof(MINIDUMP_THREAD_EX_CALLBACK, StackBase), tail, (ex ? 4 : 2) * sizeof tail[0]);
}

static void fill_facts(reader *r, const mdc_trace_parts *parts, mdc_region_facts *facts) {
    facts->Size = sizeof *facts;
    facts->MappingBase = get64(r);
    facts->MappingSize = get64(r);
    facts->FileOffset = get64(r);
    facts->Inode = get64(r);
    facts->ResidentBytes = get64(r);
    facts->Version = get32(r);
    facts->NameId = get32(r);
    facts->Kinds = get32(r);
    facts->Flags = get32(r);
    facts->DevMajor = get32(r);
    facts->DevMinor = get32(r);
    facts->Name = parts->text;
    facts->NameSize = parts->text != NULL ? parts->header.text_bytes - 1 : 0;
}

void mdc_trace_fill(const mdc_trace_parts *parts, void *buffer, MINIDUMP_CALLBACK_INPUT *input) {
    const mdc_trace_header *header = &parts->header;
    MDC_CALLBACK_INPUT_UNION *u = &input->u;
    reader r = {parts->member};
    input->ProcessId = header->process_id;
    input->ProcessHandle = (void *)(uintptr_t)header->process_handle;
    input->CallbackType = header->type;
    switch (header->type) {
    case MDC_CB_MODULE:
        fill_module(&r, parts, buffer, &u->Module);
        break;
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
        fill_thread(&r, header, &u->ThreadEx);
        break;
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_KERNEL_MINIDUMP_STATUS:
    case MDC_CB_SECONDARY_FLAGS:
        u->SecondaryFlags = get32(&r);
        break;
    case MDC_CB_INCLUDE_MODULE:
    case MDC_CB_VM_QUERY:
        u->VmQuery.Offset = get64(&r);
        break;
    case MDC_CB_INCLUDE_VM_REGION:
        if (header->flags & MDC_TRACE_FACTS) fill_facts(&r, parts, &u->RegionFacts);
        break;
    case MDC_CB_IO_START:
    case MDC_CB_IO_WRITE_ALL:
    case MDC_CB_IO_FINISH:
        u->Io.Handle = get_pointer(&r);
        u->Io.Offset = get64(&r);
        u->Io.BufferBytes = get32(&r);
        u->Io.Buffer = header->type == MDC_CB_IO_WRITE_ALL ? buffer : NULL;
        break;
    case MDC_CB_READ_MEMORY_FAILURE:
        u->ReadMemoryFailure.Offset = get64(&r);
        u->ReadMemoryFailure.Bytes = get32(&r);
        u->ReadMemoryFailure.FailureStatus = (int32_t)get32(&r);
        break;
    case MDC_CB_VM_PRE_READ:
        u->VmPreRead.Offset = get64(&r);
        u->VmPreRead.Size = get32(&r);
        u->VmPreRead.Buffer = buffer;
        break;
    case MDC_CB_VM_POST_READ:
        u->VmPostRead.Offset = get64(&r);
        u->VmPostRead.Size = get32(&r);
        u->VmPostRead.Completed = get32(&r);
        u->VmPostRead.Status = (int32_t)get32(&r);
        u->VmPostRead.Buffer = buffer;
        break;
    case MDC_CB_COMPRESSED_MEMORY_STREAM_FINISH:
        u->CompressedMemoryStreamFinish.CompressedStreamSize = get64(&r);
        u->CompressedMemoryStreamFinish.StreamCompressionRate = get32(&r);
        break;
    default:
        break;
    }
}
