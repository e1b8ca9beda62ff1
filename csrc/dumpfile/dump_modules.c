/* Modules, those that were unloaded, and handles. */
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "dump_file.h"

enum {
    RECORD_MAX = MDC_DUMP_STRING_MAX, /* bytes of a CodeView record: a path at most */
    UNLOADED_BYTES = 24,
    HANDLE_BYTES = 32 /* newer descriptors are longer */
};

/* The CodeView record: the build id of an ELF file, or a record that is kept as it is. */
static mdc_status read_record(mdc_dump_file *file, const mdc_file_location *at, mdc_module *module, mdc_error *err) {
    const char *what = "ModuleList: a CodeView record";
    uint32_t signature, size = at->data_size;
    if (size == 0) return MDC_OK;
    if (size > RECORD_MAX) return mdc_dump_broken(err, at->rva, what, "it is longer than 65536 bytes");
    if (mdc_dump_get(file, at->rva, file->scratch, size, what, err) != MDC_OK) return err->code;
    if (size > sizeof signature) {
        memcpy(&signature, file->scratch, sizeof signature);
        if (signature == MDC_FILE_CV_ELF && size - sizeof signature <= sizeof module->build_id) {
            module->build_id_size = size - (uint32_t)sizeof signature;
            memcpy(module->build_id, file->scratch + sizeof signature, module->build_id_size);
            return MDC_OK;
        }
    }
    if (file->text_read + size > file->size)
        return mdc_dump_broken(err, at->rva, what, "it overlaps others: together they are longer than the file");
    file->text_read += size;
    return mdc_dump_put(file, file->scratch, size, &module->codeview, err);
}

static mdc_status take_module(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_module found;
    uint64_t end;
    memcpy(&found, entry, sizeof found);
    mdc_module module = {.base = found.base_of_image,
                         .size = found.size_of_image,
                         .checksum = found.checksum,
                         .timestamp = found.time_date_stamp};
    if (!mdc_add_u64(module.base, module.size, &end) &&
        (mdc_dump_broken(err, offset, "ModuleList: a module", "it extends beyond the end of the address space"),
         mdc_dump_tolerate(file, err)) != MDC_OK)
        return err->code;
    if (module.size == 0 && !file->tolerant) module.size = 1; /* the engine takes no empty ones */
    _Static_assert(sizeof module.version == sizeof found.version_info, "VS_FIXEDFILEINFO");
    memcpy(module.version, &found.version_info, sizeof module.version);
    if (mdc_dump_string(file, found.name_rva, "ModuleList: a name", &module.path, err) != MDC_OK) return err->code;
    if (read_record(file, &found.cv_record, &module, err) != MDC_OK && mdc_dump_tolerate(file, err) != MDC_OK)
        return err->code;
    return mdc_vec_push(&file->modules, &module, 1, NULL, err);
}

mdc_status mdc_dump_module_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    return mdc_dump_each_counted(file, stream, sizeof(mdc_file_module), MDC_DUMP_MODULES, "ModuleList", take_module,
                                 err);
}

mdc_status mdc_dump_elf_module_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    return file->tolerant ? MDC_OK : mdc_dump_module_list(file, stream, err);
}

static mdc_status take_unloaded(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_unloaded found;
    (void)offset;
    memcpy(&found, entry, sizeof found);
    mdc_unloaded unloaded = {.base = found.base_of_image,
                             .size = found.size_of_image,
                             .checksum = found.checksum,
                             .timestamp = found.time_date_stamp};
    if (mdc_dump_string(file, found.name_rva, "UnloadedModuleList: a name", &unloaded.name, err) != MDC_OK)
        return err->code;
    return mdc_vec_push(&file->unloaded, &unloaded, 1, NULL, err);
}

mdc_status mdc_dump_unloaded_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    return mdc_dump_each_sized(file, stream, UNLOADED_BYTES, false, MDC_DUMP_UNLOADED, "UnloadedModuleList",
                               take_unloaded, err);
}

static mdc_status take_handle(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_handle found;
    (void)offset;
    memcpy(&found, entry, sizeof found);
    mdc_handle handle = {.value = found.handle,
                         .attributes = found.attributes,
                         .access = found.granted_access,
                         .handles = found.handle_count,
                         .pointers = found.pointer_count};
    if (mdc_dump_string(file, found.type_name_rva, "HandleData: a type", &handle.type, err) != MDC_OK ||
        mdc_dump_string(file, found.object_name_rva, "HandleData: a name", &handle.name, err) != MDC_OK)
        return err->code;
    return mdc_vec_push(&file->handles, &handle, 1, NULL, err);
}

mdc_status mdc_dump_handle_data(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    uint32_t least = HANDLE_BYTES;
    /* The header is MINIDUMP_HANDLE_DATA_STREAM, of 16 bytes with a reserved word after the 32-bit count. */
    if (stream->size < sizeof(mdc_file_handle_data))
        return mdc_dump_broken(err, stream->rva, "HandleData", "it has less than 16 bytes");
    return mdc_dump_each_sized(file, stream, least, false, MDC_DUMP_HANDLES, "HandleData", take_handle, err);
}
