/* What only Windows processes have: UnloadedModuleList, HandleData. */
#include <string.h>

#include "../dump_state.h"

static mdc_status put_name(mdc_dump *dump, mdc_name name, uint32_t *rva, mdc_error *err) {
    if (name.size == 0) return MDC_OK;
    return mdc_layout_string(dump, mdc_dump_name(dump, name), name.size, rva, err);
}

static mdc_status put_unloaded(mdc_dump *dump, mdc_error *err) {
    uint32_t count = (uint32_t)dump->lists->unloaded_count;
    mdc_file_unloaded_list header = {sizeof header, sizeof(mdc_file_unloaded), count};
    size_t at, entry_at;
    if (count == 0) return MDC_OK;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &header, sizeof header, &at, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, count * sizeof(mdc_file_unloaded), &entry_at, err) != MDC_OK)
        return err->code;
    for (uint32_t i = 0; i < count; i++) {
        const mdc_unloaded *unloaded = &dump->lists->unloaded[i];
        mdc_file_unloaded entry = {.base_of_image = unloaded->base,
                                   .size_of_image = unloaded->size,
                                   .checksum = unloaded->checksum,
                                   .time_date_stamp = unloaded->timestamp};
        if (put_name(dump, unloaded->name, &entry.name_rva, err) != MDC_OK) return err->code;
        memcpy((uint8_t *)dump->small.data + entry_at + i * sizeof entry, &entry, sizeof entry);
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_UNLOADED_MODULE_LIST, at,
                             sizeof header + sizeof(mdc_file_unloaded) * (uint64_t)count, NULL, err);
}

static mdc_status put_handles(mdc_dump *dump, mdc_error *err) {
    uint32_t count = (uint32_t)dump->lists->handle_count;
    mdc_file_handle_data header = {sizeof header, sizeof(mdc_file_handle), count, 0};
    size_t at, entry_at;
    if (count == 0) return MDC_OK;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &header, sizeof header, &at, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, count * sizeof(mdc_file_handle), &entry_at, err) != MDC_OK)
        return err->code;
    for (uint32_t i = 0; i < count; i++) {
        const mdc_handle *handle = &dump->lists->handles[i];
        mdc_file_handle entry = {.handle = handle->value,
                                 .attributes = handle->attributes,
                                 .granted_access = handle->access,
                                 .handle_count = handle->handles,
                                 .pointer_count = handle->pointers};
        if (put_name(dump, handle->type, &entry.type_name_rva, err) != MDC_OK ||
            put_name(dump, handle->name, &entry.object_name_rva, err) != MDC_OK)
            return err->code;
        memcpy((uint8_t *)dump->small.data + entry_at + i * sizeof entry, &entry, sizeof entry);
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_HANDLE_DATA, at,
                             sizeof header + sizeof(mdc_file_handle) * (uint64_t)count, NULL, err);
}

mdc_status mdc_streams_handles(mdc_dump *dump, mdc_error *err) {
    if ((dump->type & MDC_TYPE_WITH_UNLOADED_MODULES) != 0 && put_unloaded(dump, err) != MDC_OK) return err->code;
    return (dump->type & MDC_TYPE_WITH_HANDLE_DATA) != 0 ? put_handles(dump, err) : MDC_OK;
}
