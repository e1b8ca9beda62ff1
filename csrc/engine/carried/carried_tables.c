/* Layouts: minidumpapiset.h, Breakpad's minidump_format.h, and our own streams in format/mdc_streams.h. Wine has its
 * ELF modules in a second module list (dlls/dbghelp/minidump.c). */
#include "carried_tables.h"

#include <string.h>

#include "../../base/arith.h"
#include "../../format/mdc_streams.h"
#include "../file_ranges.h"

enum {
    STREAM_THREAD_EX_LIST = 8,
    STREAM_WINE_ELF_MODULES = 0xFFF0,
    STREAM_MAC_CRASH_INFO = 0x4D7A0001,
    STREAM_MAC_BOOT_ARGS = 0x4D7A0002
};

/* How a table says how many entries it has. */
enum head {
    HEAD_NONE,    /* one entry, no head */
    HEAD_COUNT,   /* u32 count; some writers pad it to 8 bytes */
    HEAD_SIZES,   /* u32 size of head, u32 size of entry, u32 count */
    HEAD_SIZES16, /* the same, and 4 bytes that are reserved */
    HEAD_SIZES64, /* u32 size of head, u32 size of entry, u64 count */
    HEAD_OURS     /* u32 version, u32 size of head, u32 size of entry, u32 count */
};

enum key { KEY_NONE, KEY_THREAD, KEY_MODULE };

enum field_kind {
    FIELD_END = 0,
    FIELD_STRING,     /* u32 offset */
    FIELD_STRING64,   /* u64 offset */
    FIELD_CONTEXT,    /* location, of the entry's thread */
    FIELD_CODEVIEW,   /* location */
    FIELD_RECORD,     /* location */
    FIELD_RECORDS,    /* 20 of them */
    FIELD_STACK,      /* MINIDUMP_MEMORY_DESCRIPTOR, of the entry's thread */
    FIELD_MEMORY,     /* MINIDUMP_MEMORY_DESCRIPTOR */
    FIELD_WORDS,      /* 15 parameters of an exception: the target's words */
    FIELD_OBJECT_INFO /* u32 offset of a chain of MINIDUMP_HANDLE_OBJECT_INFORMATION */
};

typedef struct field {
    uint16_t offset;
    uint16_t kind;
    const char *name;
} field;

struct mdc_table {
    uint32_t type;
    enum head head;
    uint32_t entry_size; /* least bytes; what is longer than that and not known stays as it is */
    enum key key;        /* first member of the entry */
    uint32_t omit;       /* MDC_STREAM_* */
    const char *name;
    field fields[4];
};

static const mdc_table tables[] = {
    {MDC_STREAM_TYPE_THREAD_LIST,
     HEAD_COUNT,
     48,
     KEY_THREAD,
     0,
     "ThreadList",
     {{40, FIELD_CONTEXT, "a context"}, {24, FIELD_STACK, "a stack"}}},
    {STREAM_THREAD_EX_LIST,
     HEAD_COUNT,
     64,
     KEY_THREAD,
     0,
     "ThreadListEx",
     {{40, FIELD_CONTEXT, "a context"}, {24, FIELD_STACK, "a stack"}, {48, FIELD_MEMORY, "a backing store"}}},
    {MDC_STREAM_TYPE_MODULE_LIST,
     HEAD_COUNT,
     108,
     KEY_MODULE,
     0,
     "ModuleList",
     {{20, FIELD_STRING, "a name"}, {76, FIELD_CODEVIEW, "a CodeView record"}, {84, FIELD_RECORD, "a misc record"}}},
    {STREAM_WINE_ELF_MODULES,
     HEAD_COUNT,
     108,
     KEY_MODULE,
     0,
     "the list of ELF modules",
     {{20, FIELD_STRING, "a name"}, {76, FIELD_CODEVIEW, "a CodeView record"}, {84, FIELD_RECORD, "a misc record"}}},
    {MDC_STREAM_TYPE_EXCEPTION,
     HEAD_NONE,
     168,
     KEY_THREAD,
     MDC_STREAM_EXCEPTION,
     "Exception",
     {{160, FIELD_CONTEXT, "the context"}, {40, FIELD_WORDS, "the parameters"}}},
    {MDC_STREAM_TYPE_SYSTEM_INFO, HEAD_NONE, 56, KEY_NONE, 0, "SystemInfo", {{24, FIELD_STRING, "CSDVersion"}}},
    {MDC_STREAM_TYPE_THREAD_NAMES,
     HEAD_COUNT,
     12,
     KEY_THREAD,
     MDC_STREAM_THREAD_NAMES,
     "ThreadNames",
     {{4, FIELD_STRING64, "a name"}}},
    {MDC_STREAM_TYPE_THREAD_INFO_LIST, HEAD_SIZES, 64, KEY_THREAD, MDC_STREAM_THREAD_INFO, "ThreadInfoList", {{0}}},
    {MDC_STREAM_TYPE_THREAD_POINTERS, HEAD_OURS, 16, KEY_THREAD, 0, "the thread pointers", {{0}}},
    {MDC_STREAM_TYPE_UNLOADED_MODULE_LIST,
     HEAD_SIZES,
     24,
     KEY_NONE,
     0,
     "UnloadedModuleList",
     {{20, FIELD_STRING, "a name"}}},
    {MDC_STREAM_TYPE_HANDLE_DATA,
     HEAD_SIZES16,
     32,
     KEY_NONE,
     MDC_STREAM_HANDLE_DATA,
     "HandleData",
     {{8, FIELD_STRING, "a type"}, {12, FIELD_STRING, "a name"}, {32, FIELD_OBJECT_INFO, "object information"}}},
    {MDC_STREAM_TYPE_MEMORY_INFO_LIST, HEAD_SIZES64, 48, KEY_NONE, 0, "MemoryInfoList", {{0}}},
    {STREAM_MAC_CRASH_INFO, HEAD_NONE, 172, KEY_NONE, 0, "MozMacosCrashInfo", {{12, FIELD_RECORDS, "a record"}}},
    {STREAM_MAC_BOOT_ARGS, HEAD_NONE, 12, KEY_NONE, 0, "MozMacosBootArgs", {{4, FIELD_STRING64, "the arguments"}}},
};

const mdc_table *mdc_table_of(uint32_t type) {
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (tables[i].type == type) return &tables[i];
    return NULL;
}

/* Where the entries of a stream are, and how many. */
typedef struct entries {
    size_t head; /* bytes before the first */
    size_t size; /* bytes of each */
    uint64_t count;
} entries;

static uint32_t get32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t get64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static size_t head_bytes(enum head head) {
    static const size_t bytes[] = {0, 4, 12, 16, 16, 16};
    return bytes[head];
}

/* Whether the first bytes of a stream make sense. */
static bool parse_head(const mdc_table *table, const uint8_t *bytes, uint64_t size, entries *found) {
    uint64_t total;
    *found = (entries){head_bytes(table->head), table->entry_size, 1};
    if (size < found->head) return false;
    switch (table->head) {
    case HEAD_NONE:
        break;
    case HEAD_COUNT:
        found->count = get32(bytes);
        if (mdc_mul_u64(found->count, found->size, &total) && size == total + 8) found->head = 8;
        break;
    case HEAD_SIZES:
    case HEAD_SIZES16:
    case HEAD_SIZES64:
        found->head = get32(bytes);
        found->size = get32(bytes + 4);
        found->count = table->head == HEAD_SIZES64 ? get64(bytes + 8) : get32(bytes + 8);
        break;
    case HEAD_OURS:
        found->head = get32(bytes + 4);
        found->size = get32(bytes + 8);
        found->count = get32(bytes + 12);
        break;
    }
    return found->head >= head_bytes(table->head) && found->head <= size && found->size >= table->entry_size &&
           mdc_mul_u64(found->count, found->size, &total) && total <= size - found->head;
}

/* Where an entry ends that is known; longer ones are of newer writers. */
static size_t known_bytes(const mdc_table *table) {
    enum { HANDLE_2_BYTES = 40 /* MINIDUMP_HANDLE_DESCRIPTOR_2 */ };
    return table->type == MDC_STREAM_TYPE_HANDLE_DATA ? HANDLE_2_BYTES : table->entry_size;
}

/* What follows the known parts of head and entries may be a text: it is searched as opaque streams are. */
static void sanitize_rest(const mdc_table *table, const mdc_engine *engine, uint8_t *bytes, const entries *found) {
    const size_t head = head_bytes(table->head), known = known_bytes(table);
    if (engine->options.edit == NULL) return;
    if (table->head != HEAD_COUNT) mdc_sanitize(engine, 0, bytes + head, found->head - head);
    for (uint64_t i = 0; i < found->count && found->size > known; i++)
        mdc_sanitize(engine, 0, bytes + found->head + i * found->size + known, found->size - known);
}

/* One entry on its way: `bytes` are its own, which are changed and then put at `at`. */
typedef struct moving {
    const mdc_table *table;
    mdc_relocation *relocation;
    uint8_t *bytes;
    size_t size;
    uint64_t at;
    const mdc_choice *thread;
    size_t thread_index; /* SIZE_MAX: no thread of the list */
    mdc_vec *descriptors;
} moving;

static mdc_status move_location(const moving *entry, size_t offset, uint32_t kind, const char *name, mdc_error *err) {
    mdc_file_location location;
    memcpy(&location, entry->bytes + offset, sizeof location);
    if (mdc_relocate_bytes(entry->relocation, kind, &location, name, err) != MDC_OK) return err->code;
    memcpy(entry->bytes + offset, &location, sizeof location);
    return MDC_OK;
}

static mdc_status move_string(const moving *entry, size_t offset, bool wide, const char *name, mdc_error *err) {
    uint64_t rva = wide ? get64(entry->bytes + offset) : get32(entry->bytes + offset);
    uint32_t moved = (uint32_t)rva;
    if (rva > UINT32_MAX) return mdc_relocation_fail(entry->relocation, name, rva, err);
    if (mdc_relocate_string(entry->relocation, MDC_MOVED_STRING, &moved, name, err) != MDC_OK) return err->code;
    rva = moved;
    memcpy(entry->bytes + offset, &rva, wide ? sizeof rva : sizeof moved);
    return MDC_OK;
}

/* The descriptor is empty until the memory has its place. */
static mdc_status move_memory(const moving *entry, size_t offset, bool stack, mdc_error *err) {
    mdc_file_memory old, none = {0, {0, 0}};
    memcpy(&old, entry->bytes + offset, sizeof old);
    mdc_descriptor descriptor = {.at = entry->at + offset,
                                 .address = old.start,
                                 .size = old.memory.data_size,
                                 .thread = stack ? entry->thread_index : SIZE_MAX};
    memcpy(entry->bytes + offset, &none, sizeof none);
    return mdc_vec_push(entry->descriptors, &descriptor, 1, NULL, err);
}

/* Each begins with the offset of the next, its type and its size; the bytes follow. */
static mdc_status move_object_info(const moving *entry, size_t offset, const char *name, mdc_error *err) {
    enum { CHAIN_MAX = 64, INFO_HEAD = 12 };
    mdc_relocation *relocation = entry->relocation;
    mdc_layout *layout = relocation->layout;
    uint32_t rva = get32(entry->bytes + offset), first = 0;
    uint64_t link = 0;
    for (uint32_t i = 0; rva != 0; i++) {
        size_t at;
        uint32_t none = 0;
        mdc_vec *bytes = &relocation->bytes;
        bytes->count = 0;
        if (i == CHAIN_MAX) return mdc_relocation_fail(relocation, name, rva, err);
        if (mdc_relocation_read(relocation, rva, INFO_HEAD, name, bytes, err) != MDC_OK) return err->code;
        uint32_t next = get32(bytes->data), size = get32((const uint8_t *)bytes->data + 8);
        if (mdc_relocation_read(relocation, (uint64_t)rva + INFO_HEAD, size, name, bytes, err) != MDC_OK)
            return err->code;
        memcpy(bytes->data, &none, sizeof none);
        mdc_sanitize(layout->engine, 0, (uint8_t *)bytes->data + INFO_HEAD, size);
        if (mdc_layout_align(layout, 4, err) != MDC_OK ||
            mdc_layout_put(layout, bytes->data, bytes->count, &at, err) != MDC_OK)
            return err->code;
        uint32_t moved = (uint32_t)at;
        if (first == 0)
            first = moved;
        else
            mdc_layout_set(layout, link, &moved, sizeof moved);
        link = at;
        rva = next;
    }
    memcpy(entry->bytes + offset, &first, sizeof first);
    return MDC_OK;
}

static mdc_status move_field(const moving *entry, const field *it, mdc_error *err) {
    enum { RECORDS = 20 };
    switch (it->kind) {
    case FIELD_STRING:
    case FIELD_STRING64:
        return move_string(entry, it->offset, it->kind == FIELD_STRING64, it->name, err);
    case FIELD_CONTEXT: {
        bool empty = entry->thread != NULL && (entry->thread->write & MDC_THREAD_WRITE_CONTEXT) == 0;
        return move_location(entry, it->offset, empty ? MDC_MOVED_EMPTY_CONTEXT : MDC_MOVED_CONTEXT, it->name, err);
    }
    case FIELD_CODEVIEW:
        return move_location(entry, it->offset, MDC_MOVED_CODEVIEW, it->name, err);
    case FIELD_RECORD:
        return move_location(entry, it->offset, MDC_MOVED_RECORD, it->name, err);
    case FIELD_RECORDS:
        for (size_t i = 0; i < RECORDS; i++)
            if (move_location(entry, it->offset + i * sizeof(mdc_file_location), MDC_MOVED_RECORD, it->name, err) !=
                MDC_OK)
                return err->code;
        return MDC_OK;
    case FIELD_STACK:
    case FIELD_MEMORY:
        return move_memory(entry, it->offset, it->kind == FIELD_STACK, err);
    case FIELD_WORDS:
        mdc_sanitize(entry->relocation->layout->engine, 0, entry->bytes + it->offset, 15 * sizeof(uint64_t));
        return MDC_OK;
    case FIELD_OBJECT_INFO:
        return it->offset + sizeof(uint32_t) <= entry->size ? move_object_info(entry, it->offset, it->name, err)
                                                            : MDC_OK;
    default:
        return MDC_OK;
    }
}

/* What the callee decided about the module, which is that of this place in a list that the snapshot has. */
static uint32_t module_choice(const mdc_capture *capture, const mdc_choices *choices, const mdc_carried_stream *stream,
                              uint64_t index, uint64_t base) {
    uint64_t at = stream->first_module - UINT64_C(1) + index;
    if (stream->first_module != 0 && at < capture->lists->module_count && capture->lists->modules[at].base == base)
        return capture->modules[at].write;
    const mdc_choice *choice = mdc_choices_module(choices, base);
    return choice != NULL ? choice->write : UINT32_MAX;
}

/* A module's parts that the callee leaves out are emptied. */
static bool keeps_module(uint8_t *bytes, uint32_t write) {
    const mdc_file_location none = {0, 0};
    if ((write & MDC_MODULE_WRITE_CV_RECORD) == 0) memcpy(bytes + 76, &none, sizeof none);
    if ((write & MDC_MODULE_WRITE_MISC_RECORD) == 0) memcpy(bytes + 84, &none, sizeof none);
    return write != 0;
}

/* Whether the callee keeps the entry of this index. */
static bool keeps(const mdc_table *table, const mdc_capture *capture, const mdc_choices *choices,
                  const mdc_carried_stream *stream, uint64_t index, uint8_t *bytes, const mdc_choice **thread) {
    *thread = NULL;
    if (table->key == KEY_MODULE)
        return keeps_module(bytes, module_choice(capture, choices, stream, index, get64(bytes)));
    if (table->key == KEY_THREAD) *thread = mdc_choices_thread(choices, get32(bytes));
    if (*thread == NULL) return true;
    if (table->type == MDC_STREAM_TYPE_EXCEPTION) return ((*thread)->write & MDC_THREAD_WRITE_CONTEXT) != 0;
    return (*thread)->write != 0;
}

static mdc_status move_entry(moving *entry, const mdc_choices *choices, const mdc_carried_stream *stream,
                             uint64_t index, uint64_t *kept, mdc_error *err) {
    const mdc_table *table = entry->table;
    const mdc_capture *capture = entry->relocation->layout->capture;
    if (!keeps(table, capture, choices, stream, index, entry->bytes, &entry->thread)) return MDC_OK;
    /* The snapshot has the threads in the order of the first list. */
    const mdc_snapshot *lists = capture->lists;
    entry->thread_index = entry->thread != NULL ? entry->thread->index : SIZE_MAX;
    if (table->key == KEY_THREAD && index < lists->thread_count && lists->threads[index].tid == get32(entry->bytes))
        entry->thread_index = (size_t)index;
    for (size_t i = 0; i < sizeof table->fields / sizeof table->fields[0]; i++)
        if (move_field(entry, &table->fields[i], err) != MDC_OK) return err->code;
    mdc_layout_set(entry->relocation->layout, entry->at, entry->bytes, entry->size);
    entry->at += entry->size;
    ++*kept;
    return MDC_OK;
}

/* A list of threads that is empty now, and was not: as in other dumps it has an entry of no thread. */
static mdc_status put_no_thread(mdc_relocation *relocation, uint8_t *bytes, size_t size, uint64_t at, mdc_error *err) {
    mdc_file_thread none = {.thread_id = MDC_FILE_NO_THREAD}, old;
    memcpy(&old, bytes, sizeof old);
    none.context = old.context;
    if (mdc_relocate_bytes(relocation, MDC_MOVED_EMPTY_CONTEXT, &none.context, "a context", err) != MDC_OK)
        return err->code;
    memset(bytes, 0, size);
    memcpy(bytes, &none, sizeof none);
    relocation->layout->warnings |= MDC_WARN_NO_THREADS;
    mdc_layout_set(relocation->layout, at, bytes, size);
    return MDC_OK;
}

static void put_count(mdc_layout *layout, const mdc_table *table, uint64_t at, uint64_t count) {
    static const size_t where[] = {0, 0, 8, 8, 8, 12};
    uint32_t narrow = (uint32_t)count;
    if (table->head == HEAD_SIZES64)
        mdc_layout_set(layout, at + where[table->head], &count, sizeof count);
    else if (table->head != HEAD_NONE)
        mdc_layout_set(layout, at + where[table->head], &narrow, sizeof narrow);
}

/* Readers want a range of Memory64List to begin where an entry of MemoryInfoList does: entries are split there. Where
 * `at` is 0 they are only counted. */
static uint64_t split_regions(mdc_layout *layout, const uint8_t *bytes, const entries *found, uint64_t at) {
    mdc_sorted_walk walk = mdc_ranges_sorted(layout);
    mdc_file_range range;
    uint64_t count = 0, floor = 0;
    bool there = layout->memory64 && mdc_ranges_next_sorted(&walk, &range);
    for (uint64_t i = 0; i < found->count; i++) {
        const uint8_t *entry = bytes + i * found->size;
        uint64_t base = get64(entry), size = get64(entry + 24), end = 0;
        bool sound = base >= floor && mdc_add_u64(base, size, &end);
        if (sound) floor = end;
        do {
            while (sound && there && range.address <= base) there = mdc_ranges_next_sorted(&walk, &range);
            bool splits = sound && there && range.address < end;
            uint64_t part = splits ? range.address - base : size;
            if (at != 0) {
                mdc_layout_set(layout, at, entry, found->size);
                mdc_layout_set(layout, at, &base, sizeof base);
                mdc_layout_set(layout, at + 24, &part, sizeof part);
                at += found->size;
            }
            count++;
            base += part;
            size -= part;
        } while (sound && size > 0);
    }
    return count;
}

static mdc_status move_all(const mdc_table *table, mdc_relocation *relocation, const mdc_choices *choices,
                           const mdc_carried_stream *stream, mdc_vec *body, mdc_vec *descriptors, uint32_t *omitted,
                           mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    entries found;
    size_t at;
    if (mdc_relocation_read(relocation, stream->rva, stream->size, "the stream", body, err) != MDC_OK) return err->code;
    uint8_t *bytes = body->data;
    if (!parse_head(table, bytes, stream->size, &found))
        return mdc_relocation_fail(relocation, "the number of entries", stream->rva, err);
    sanitize_rest(table, layout->engine, bytes, &found);
    /* The padding of a count is not written again. */
    const size_t head = table->head == HEAD_COUNT ? sizeof(uint32_t) : found.head;
    bool regions = table->type == MDC_STREAM_TYPE_MEMORY_INFO_LIST;
    uint64_t kept = 0, stay = regions ? split_regions(layout, bytes + found.head, &found, 0) : 0;
    for (uint64_t i = 0; !regions && i < found.count; i++) {
        const mdc_choice *thread;
        stay += keeps(table, layout->capture, choices, stream, i, bytes + found.head + i * found.size, &thread);
    }
    bool placeholder = table->type == MDC_STREAM_TYPE_THREAD_LIST && stay == 0 && found.count > 0;
    if (placeholder) stay = 1;
    if (table->head == HEAD_NONE && stay == 0) { /* the one entry is left out, and the stream with it */
        *omitted |= table->omit;
        return MDC_OK;
    }
    if (stay > SIZE_MAX / found.size) return mdc_relocation_fail(relocation, "the number of entries", stream->rva, err);
    if (mdc_layout_align(layout, 8, err) != MDC_OK || mdc_layout_put(layout, bytes, head, &at, err) != MDC_OK ||
        mdc_layout_put(layout, NULL, (size_t)stay * found.size, NULL, err) != MDC_OK)
        return err->code;
    if (regions) {
        kept = split_regions(layout, bytes + found.head, &found, at + head);
        layout->memory_info_count = kept;
    }
    moving entry = {
        .table = table, .relocation = relocation, .size = found.size, .at = at + head, .descriptors = descriptors};
    for (uint64_t i = 0; !regions && i < found.count; i++) {
        entry.bytes = bytes + found.head + i * found.size;
        if (mdc_calls_poll(&layout->engine->calls, err) != MDC_OK ||
            move_entry(&entry, choices, stream, i, &kept, err) != MDC_OK)
            return err->code;
    }
    if (placeholder) {
        if (put_no_thread(relocation, bytes + found.head, found.size, at + head, err) != MDC_OK) return err->code;
        kept = 1;
    }
    put_count(layout, table, at, kept);
    return mdc_layout_stream(layout, stream->type, at, head + kept * found.size, NULL, err);
}

mdc_status mdc_table_move(const mdc_table *table, mdc_relocation *relocation, const mdc_choices *choices,
                          const mdc_carried_stream *stream, mdc_vec *descriptors, uint32_t *omitted, mdc_error *err) {
    mdc_vec body;
    if ((relocation->layout->engine->options.omit_streams & table->omit) != 0) {
        *omitted |= table->omit;
        return MDC_OK;
    }
    mdc_vec_init(&body, 1);
    relocation->what = table->name;
    mdc_status status = move_all(table, relocation, choices, stream, &body, descriptors, omitted, err);
    mdc_vec_fini(&body);
    return status;
}
