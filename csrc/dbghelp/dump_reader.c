/* Reads back what dbghelp wrote (see dump_reader.h). */
#include "dump_reader.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../format/minidump_file.h"

enum {
    STREAMS_MAX = 4096,
    ENTRIES_AT_ONCE = 512,
    STREAM_HANDLE_DATA = 12,
    STREAM_UNLOADED_MODULES = 14,
    HANDLE_BYTES = 32,      /* MINIDUMP_HANDLE_DESCRIPTOR; newer ones are longer */
    UNLOADED_BYTES = 24,    /* MINIDUMP_UNLOADED_MODULE */
    THREAD_NAME_BYTES = 12, /* MINIDUMP_THREAD_NAME */
    RSDS = 0x53445352,
    NB10 = 0x3031424E,
    TEXT_MAX = 1 << 16, /* bytes of one: paths have 32,767 units at most */
    STREAM_COMPRESSED = 25,
    STREAM_COMPRESSED_SQL = 0x7000,
    STREAM_THREAD_EX_LIST = 8,
    THREAD_EX_BYTES = 64 /* MINIDUMP_THREAD_EX: MINIDUMP_THREAD and the backing store */
};

typedef struct dump_reader {
    mdc_dump_reader *file;
    const mdc_staging_file *store;
    mdc_win_names *names;
    uint8_t *page; /* ENTRIES_AT_ONCE entries of the largest kind */
} dump_reader;

typedef mdc_status (*take_entry)(dump_reader *reader, const uint8_t *entry, mdc_error *err);

static mdc_status broken(mdc_error *err, const char *what) {
    return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0, "dbghelp wrote a dump whose %s does not fit the file",
                    what);
}

static bool lies_in_file(const dump_reader *reader, uint64_t offset, uint64_t size) {
    return offset <= reader->store->size && size <= reader->store->size - offset;
}

/* `count` entries of a list; the caller has checked that they lie in the file. */
static mdc_status each(dump_reader *reader, uint64_t offset, uint64_t count, uint32_t entry_size, take_entry take,
                       mdc_error *err) {
    while (count > 0) {
        size_t part = (size_t)mdc_min_u64(count, ENTRIES_AT_ONCE);
        if (mdc_staging_file_read(reader->store, offset, reader->page, part * entry_size, err) != MDC_OK)
            return err->code;
        for (size_t i = 0; i < part; i++)
            if (take(reader, reader->page + i * entry_size, err) != MDC_OK) return err->code;
        offset += part * entry_size;
        count -= part;
    }
    return MDC_OK;
}

/* A count and its entries. Before those lie 4 bytes, or 8 where the writer aligns them to 8. */
static mdc_status each_listed(dump_reader *reader, const mdc_file_directory *stream, uint32_t entry_size,
                              take_entry take, uint64_t *counted, mdc_error *err) {
    uint32_t count;
    if (stream->data_size < sizeof count) return broken(err, "list");
    if (mdc_staging_file_read(reader->store, stream->rva, &count, sizeof count, err) != MDC_OK) return err->code;
    if (counted != NULL) *counted = count;
    uint64_t needed = (uint64_t)count * entry_size;
    if (needed > stream->data_size - sizeof count) return broken(err, "list");
    uint64_t head = stream->data_size - needed == 8 ? 8 : sizeof count;
    return each(reader, stream->rva + head, count, entry_size, take, err);
}

static mdc_status push_piece(dump_reader *reader, uint64_t address, uint64_t size, uint64_t offset, uint32_t from,
                             mdc_error *err) {
    uint64_t end;
    if (size == 0) return MDC_OK;
    if (!lies_in_file(reader, offset, size) || !mdc_add_u64(address, size - 1, &end))
        return broken(err, "target memory");
    mdc_file_piece piece = {.address = address, .size = size, .offset = offset, .from = from};
    return mdc_vec_push(&reader->file->pieces, &piece, 1, NULL, err);
}

static mdc_status take_memory(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    mdc_file_memory memory;
    memcpy(&memory, entry, sizeof memory);
    return push_piece(reader, memory.start, memory.memory.data_size, memory.memory.rva, MDC_PIECE_MEMORY, err);
}

/* Names are not needed to locate memory: an invalid one is noted, for code that must see them all. */
static mdc_status odd_text(dump_reader *reader) {
    reader->file->odd_texts = true;
    return MDC_OK;
}

static mdc_status push_text(dump_reader *reader, uint64_t offset, uint64_t size, bool wide, mdc_error *err) {
    if (size == 0) return MDC_OK;
    if (size > TEXT_MAX || !lies_in_file(reader, offset, size)) return odd_text(reader);
    mdc_file_text text = {.offset = offset, .size = (uint32_t)size, .wide = wide};
    return mdc_vec_push(&reader->file->texts, &text, 1, NULL, err);
}

/* A MINIDUMP_STRING; RVA 0: none. */
static mdc_status push_string(dump_reader *reader, uint64_t rva, mdc_error *err) {
    uint32_t bytes;
    if (rva == 0) return MDC_OK;
    if (!lies_in_file(reader, rva, sizeof bytes)) return odd_text(reader);
    if (mdc_staging_file_read(reader->store, rva, &bytes, sizeof bytes, err) != MDC_OK) return err->code;
    return push_text(reader, rva + sizeof bytes, bytes & ~1u, true, err);
}

static uint32_t number_at(const uint8_t *entry, size_t offset) {
    uint32_t number;
    memcpy(&number, entry + offset, sizeof number);
    return number;
}

static mdc_status push_context(dump_reader *reader, const mdc_file_location *context, mdc_error *err) {
    if (context->data_size == 0) return MDC_OK;
    if (!lies_in_file(reader, context->rva, context->data_size)) return broken(err, "registers");
    return mdc_vec_push(&reader->file->contexts, context, 1, NULL, err);
}

static mdc_status take_thread(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    mdc_file_thread thread;
    memcpy(&thread, entry, sizeof thread);
    mdc_dump_reader_thread taken = {.tid = thread.thread_id,
                                    .context_size = thread.context.data_size,
                                    .context_rva = thread.context.rva,
                                    .suspend_count = thread.suspend_count,
                                    .stack_base = thread.stack.start,
                                    .stack_size = thread.stack.memory.data_size};
    if (push_context(reader, &thread.context, err) != MDC_OK) return err->code;
    if (mdc_vec_push(&reader->file->threads, &taken, 1, NULL, err) != MDC_OK) return err->code;
    /* In a full dump the descriptor may name a stack that only Memory64List holds. */
    if (thread.stack.memory.rva == 0) return MDC_OK;
    return push_piece(reader, thread.stack.start, thread.stack.memory.data_size, thread.stack.memory.rva,
                      MDC_PIECE_STACK, err);
}

static mdc_status take_thread_ex(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    mdc_file_memory backing;
    memcpy(&backing, entry + sizeof(mdc_file_thread), sizeof backing);
    if (take_thread(reader, entry, err) != MDC_OK) return err->code;
    return push_piece(reader, backing.start, backing.memory.data_size, backing.memory.rva, MDC_PIECE_STACK, err);
}

/* The path in a CodeView record of a known kind; of others all after the signature. */
static mdc_status push_record(dump_reader *reader, const mdc_file_location *record, mdc_error *err) {
    uint32_t signature, fixed;
    if (record->data_size <= sizeof signature) return MDC_OK;
    if (!lies_in_file(reader, record->rva, record->data_size)) return odd_text(reader);
    if (mdc_staging_file_read(reader->store, record->rva, &signature, sizeof signature, err) != MDC_OK)
        return err->code;
    fixed = signature == RSDS ? 24 : signature == NB10 ? 16 : sizeof signature;
    if (record->data_size <= fixed) return MDC_OK;
    return push_text(reader, (uint64_t)record->rva + fixed, record->data_size - fixed, false, err);
}

/* IMAGE_DEBUG_MISC: DataType, Length, Unicode, three bytes, and the name of a file. */
static mdc_status push_misc(dump_reader *reader, const mdc_file_location *record, mdc_error *err) {
    uint8_t head[12];
    if (record->data_size <= sizeof head) return MDC_OK;
    if (!lies_in_file(reader, record->rva, record->data_size)) return odd_text(reader);
    if (mdc_staging_file_read(reader->store, record->rva, head, sizeof head, err) != MDC_OK) return err->code;
    return push_text(reader, (uint64_t)record->rva + sizeof head, record->data_size - (uint32_t)sizeof head,
                     head[8] != 0, err);
}

static mdc_status take_module(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    mdc_file_module module;
    uint32_t bytes;
    memcpy(&module, entry, sizeof module);
    mdc_dump_reader_module taken = {.base = module.base_of_image, .size = module.size_of_image};
    if (module.name_rva != 0) {
        if (mdc_staging_file_read(reader->store, module.name_rva, &bytes, sizeof bytes, err) != MDC_OK)
            return err->code;
        if (bytes / 2 > MDC_WIN_PATH_UNITS) return broken(err, "module name");
        uint16_t *units = reader->names->units;
        if (mdc_staging_file_read(reader->store, (uint64_t)module.name_rva + sizeof bytes, units, bytes & ~1u, err) !=
                MDC_OK ||
            mdc_win_names_put16(reader->names, units, bytes / 2, &taken.path, err) != MDC_OK)
            return err->code;
    }
    if (push_string(reader, module.name_rva, err) != MDC_OK || push_record(reader, &module.cv_record, err) != MDC_OK ||
        push_misc(reader, &module.misc_record, err) != MDC_OK)
        return err->code;
    return mdc_vec_push(&reader->file->modules, &taken, 1, NULL, err);
}

static mdc_status take_thread_name(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    uint64_t rva;
    memcpy(&rva, entry + 4, sizeof rva);
    return push_string(reader, rva, err);
}

/* Names of the type and of the object. */
static mdc_status take_handle(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    if (push_string(reader, number_at(entry, 8), err) != MDC_OK) return err->code;
    return push_string(reader, number_at(entry, 12), err);
}

static mdc_status take_unloaded(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    return push_string(reader, number_at(entry, 20), err);
}

static mdc_status take_info(dump_reader *reader, const uint8_t *entry, mdc_error *err) {
    return mdc_vec_push(&reader->file->infos, entry, 1, NULL, err);
}

static mdc_status read_exception(dump_reader *reader, const mdc_file_directory *stream, uint64_t entry,
                                 mdc_error *err) {
    mdc_file_exception exception;
    if (stream->data_size < sizeof exception) return broken(err, "exception");
    if (mdc_staging_file_read(reader->store, stream->rva, &exception, sizeof exception, err) != MDC_OK)
        return err->code;
    mdc_dump_reader_exception taken = {
        .entry = entry, .at = stream->rva, .tid = exception.thread_id, .context = exception.context};
    if (push_context(reader, &exception.context, err) != MDC_OK) return err->code;
    return mdc_vec_push(&reader->file->exceptions, &taken, 1, NULL, err);
}

/* Header, then as many entries as it says; their size is in it, and is `least` at least. */
static mdc_status each_sized(dump_reader *reader, const mdc_file_directory *stream, uint32_t least, take_entry take,
                             mdc_error *err) {
    uint32_t head[3]; /* SizeOfHeader, SizeOfEntry, NumberOfEntries */
    if (stream->data_size < sizeof head) return odd_text(reader);
    if (mdc_staging_file_read(reader->store, stream->rva, head, sizeof head, err) != MDC_OK) return err->code;
    if (head[0] < sizeof head || head[0] > stream->data_size || head[1] < least || head[1] > sizeof(mdc_file_module) ||
        head[2] > (stream->data_size - head[0]) / head[1])
        return odd_text(reader);
    return each(reader, (uint64_t)stream->rva + head[0], head[2], head[1], take, err);
}

static mdc_status read_infos(dump_reader *reader, const mdc_file_directory *stream, mdc_error *err) {
    mdc_file_memory_info_list list;
    if (stream->data_size < sizeof list) return broken(err, "MemoryInfoList");
    if (mdc_staging_file_read(reader->store, stream->rva, &list, sizeof list, err) != MDC_OK) return err->code;
    if (list.size_of_header < sizeof list || list.size_of_header > stream->data_size ||
        list.size_of_entry != sizeof(MINIDUMP_MEMORY_INFO) ||
        list.entry_count > (stream->data_size - list.size_of_header) / list.size_of_entry)
        return broken(err, "MemoryInfoList");
    return each(reader, (uint64_t)stream->rva + list.size_of_header, list.entry_count, list.size_of_entry, take_info,
                err);
}

/* The data of all ranges is one block: where each lies follows from those before it. */
static mdc_status read_memory64(dump_reader *reader, const mdc_file_directory *stream, mdc_error *err) {
    mdc_file_memory64_list list;
    if (stream->data_size < sizeof list) return broken(err, "Memory64List");
    if (mdc_staging_file_read(reader->store, stream->rva, &list, sizeof list, err) != MDC_OK) return err->code;
    if (list.range_count > (stream->data_size - sizeof list) / sizeof(mdc_file_memory64))
        return broken(err, "Memory64List");
    reader->file->memory64_ranges = list.range_count;
    uint64_t at = (uint64_t)stream->rva + sizeof list, offset = list.base_rva;
    for (uint64_t i = 0; i < list.range_count; i++, at += sizeof(mdc_file_memory64)) {
        mdc_file_memory64 range;
        size_t slot = (size_t)(i % ENTRIES_AT_ONCE);
        if (slot == 0) {
            size_t part = (size_t)mdc_min_u64(list.range_count - i, ENTRIES_AT_ONCE) * sizeof range;
            if (mdc_staging_file_read(reader->store, at, reader->page, part, err) != MDC_OK) return err->code;
        }
        memcpy(&range, reader->page + slot * sizeof range, sizeof range);
        if (push_piece(reader, range.start, range.data_size, offset, MDC_PIECE_MEMORY64, err) != MDC_OK)
            return err->code;
        if (!mdc_add_u64(offset, range.data_size, &offset)) return broken(err, "Memory64List");
    }
    return MDC_OK;
}

/* each_listed of a list that a callback may have shortened. */
static mdc_status each_kept(dump_reader *reader, const mdc_file_directory *stream, uint64_t entry, uint32_t entry_size,
                            take_entry take, mdc_error *err) {
    uint64_t count = 0;
    if (each_listed(reader, stream, entry_size, take, &count, err) != MDC_OK) return err->code;
    uint64_t size = 4 + count * entry_size;
    if (stream->data_size < size + entry_size) return MDC_OK;
    mdc_file_short_list list = {.entry = entry, .size = (uint32_t)size};
    return mdc_vec_push(&reader->file->shortened, &list, 1, NULL, err);
}

/* entry: index of the stream in the directory. */
static mdc_status read_stream(dump_reader *reader, const mdc_file_directory *stream, uint64_t entry, mdc_error *err) {
    mdc_dump_reader *file = reader->file;
    if (stream->stream_type == 0) return MDC_OK; /* unused: nothing of it means anything */
    if (!lies_in_file(reader, stream->rva, stream->data_size)) return broken(err, "directory");
    switch (stream->stream_type) {
    case MDC_STREAM_TYPE_THREAD_LIST:
        return each_kept(reader, stream, entry, sizeof(mdc_file_thread), take_thread, err);
    case STREAM_THREAD_EX_LIST:
        return each_listed(reader, stream, THREAD_EX_BYTES, take_thread_ex, NULL, err);
    case MDC_STREAM_TYPE_MODULE_LIST:
        return each_kept(reader, stream, entry, sizeof(mdc_file_module), take_module, err);
    case MDC_STREAM_TYPE_MEMORY_LIST:
        return each_listed(reader, stream, sizeof(mdc_file_memory), take_memory, &file->memory_ranges, err);
    case MDC_STREAM_TYPE_MEMORY64_LIST:
        return read_memory64(reader, stream, err);
    case MDC_STREAM_TYPE_MEMORY_INFO_LIST:
        return read_infos(reader, stream, err);
    case MDC_STREAM_TYPE_EXCEPTION:
        return read_exception(reader, stream, entry, err);
    case MDC_STREAM_TYPE_THREAD_NAMES:
        return each_listed(reader, stream, THREAD_NAME_BYTES, take_thread_name, NULL, err);
    case STREAM_HANDLE_DATA:
        return each_sized(reader, stream, HANDLE_BYTES, take_handle, err);
    case STREAM_UNLOADED_MODULES:
        return each_sized(reader, stream, UNLOADED_BYTES, take_unloaded, err);
    case MDC_STREAM_TYPE_CRASHPAD_INFO:
        file->crashpad_info = (mdc_file_location){stream->data_size, stream->rva};
        return MDC_OK;
    case STREAM_COMPRESSED:
    case STREAM_COMPRESSED_SQL:
        file->compressed = true;
        return MDC_OK;
    default:
        return MDC_OK;
    }
}

static mdc_status read_all(dump_reader *reader, mdc_error *err) {
    mdc_file_header header;
    if (mdc_staging_file_read(reader->store, 0, &header, sizeof header, err) != MDC_OK) return err->code;
    if (header.signature != MDC_FILE_SIGNATURE || (header.version & 0xFFFF) != MDC_FILE_VERSION)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0,
                        "the output of dbghelp does not start like a minidump");
    if (header.stream_count > STREAMS_MAX) return broken(err, "directory");
    reader->file->flags = header.flags;
    reader->file->streams = header.stream_count;
    for (uint32_t i = 0; i < header.stream_count; i++) {
        mdc_file_directory stream;
        uint64_t at = (uint64_t)header.directory_rva + i * sizeof stream;
        if (mdc_staging_file_read(reader->store, at, &stream, sizeof stream, err) != MDC_OK ||
            read_stream(reader, &stream, at, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_dump_reader_read(mdc_dump_reader *file, const mdc_staging_file *store, mdc_win_names *names,
                                mdc_error *err) {
    memset(file, 0, sizeof *file);
    mdc_vec_init(&file->pieces, sizeof(mdc_file_piece));
    mdc_vec_init(&file->threads, sizeof(mdc_dump_reader_thread));
    mdc_vec_init(&file->modules, sizeof(mdc_dump_reader_module));
    mdc_vec_init(&file->infos, sizeof(MINIDUMP_MEMORY_INFO));
    mdc_vec_init(&file->contexts, sizeof(mdc_file_location));
    mdc_vec_init(&file->texts, sizeof(mdc_file_text));
    mdc_vec_init(&file->exceptions, sizeof(mdc_dump_reader_exception));
    mdc_vec_init(&file->shortened, sizeof(mdc_file_short_list));
    dump_reader reader = {.file = file, .store = store, .names = names};
    reader.page = mdc_alloc(ENTRIES_AT_ONCE, sizeof(mdc_file_module), err);
    if (reader.page == NULL) return err->code;
    mdc_status status = read_all(&reader, err);
    mdc_dealloc(reader.page);
    return status;
}

mdc_status mdc_dump_reader_fit_lists(const mdc_dump_reader *file, mdc_staging_file *store, mdc_error *err) {
    for (size_t i = 0; i < file->shortened.count; i++) {
        const mdc_file_short_list *list = &mdc_vec_at(&file->shortened, const mdc_file_short_list, i);
        if (mdc_staging_file_overwrite(store, list->entry + offsetof(mdc_file_directory, data_size), &list->size,
                                       sizeof list->size, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

void mdc_dump_reader_fini(mdc_dump_reader *file) {
    mdc_vec_fini(&file->pieces);
    mdc_vec_fini(&file->threads);
    mdc_vec_fini(&file->modules);
    mdc_vec_fini(&file->infos);
    mdc_vec_fini(&file->contexts);
    mdc_vec_fini(&file->texts);
    mdc_vec_fini(&file->exceptions);
    mdc_vec_fini(&file->shortened);
}
