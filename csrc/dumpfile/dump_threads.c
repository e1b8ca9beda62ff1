/* The lists of threads, their names and times, and the exceptions. Registers follow in dump_context.c. */
#include <stdlib.h>
#include <string.h>

#include "../base/bound.h"
#include "../base/fail.h"
#include "dump_file.h"

enum { THREAD_EX_BYTES = 64 /* MINIDUMP_THREAD_EX: MINIDUMP_THREAD and the backing store */ };

static mdc_status take_thread(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_thread found;
    (void)offset;
    memcpy(&found, entry, sizeof found);
    mdc_thread thread = {.tid = found.thread_id,
                         .suspend_count = found.suspend_count,
                         .priority_class = found.priority_class,
                         .priority = found.priority,
                         .thread_pointer = found.teb};
    mdc_dump_thread_at place = {.context = found.context, .stack = found.stack};
    if (mdc_vec_push(&file->threads, &thread, 1, NULL, err) != MDC_OK) return err->code;
    return mdc_vec_push(&file->places, &place, 1, NULL, err);
}

/* file->listed: how many the first list has. */
static mdc_status list_threads(mdc_dump_file *file, const mdc_dump_entry *stream, uint32_t entry_size, const char *what,
                               mdc_error *err) {
    bool first = file->threads.count == 0;
    mdc_status status = mdc_dump_each_counted(file, stream, entry_size, MDC_DUMP_THREADS, what, take_thread, err);
    if (first) file->listed = file->threads.count;
    return status;
}

mdc_status mdc_dump_thread_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    return list_threads(file, stream, sizeof(mdc_file_thread), "ThreadList", err);
}

mdc_status mdc_dump_thread_ex_list(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    if (file->threads.count > 0 && file->tolerant) return MDC_OK; /* the same ones */
    return list_threads(file, stream, THREAD_EX_BYTES, "ThreadExList", err);
}

/* -- what other streams say of a thread ---------------------------------------------------------------------------- */

/* An entry that is about a thread; sorted by id, the last one of an id counts. */
typedef struct about {
    uint32_t tid;
    uint32_t order;
    mdc_name name;
    mdc_file_thread_info info;
} about;

static int by_tid(const void *left, const void *right) {
    const about *a = left, *b = right;
    if (a->tid != b->tid) return a->tid < b->tid ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static const about *find(const mdc_vec *all, uint32_t tid) {
    const about *entries = all->data;
    size_t at;
    mdc_lower_bound(at, 0, all->count, entries[at].tid <= tid);
    return at > 0 && entries[at - 1].tid == tid ? &entries[at - 1] : NULL;
}

static mdc_status push_about(mdc_dump_file *file, const about *entry, mdc_error *err) {
    if (mdc_vec_push(&file->about, entry, 1, NULL, err) != MDC_OK) return err->code;
    return file->tolerant ? MDC_OK : mdc_vec_push(&file->unlisted, &entry->tid, 1, NULL, err);
}

static mdc_status take_name(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    mdc_file_thread_name found;
    (void)offset;
    memcpy(&found, entry, sizeof found);
    about named = {.tid = found.thread_id, .order = (uint32_t)file->about.count};
    if (mdc_dump_string(file, found.name_rva, "ThreadNames: a name", &named.name, err) != MDC_OK) return err->code;
    return push_about(file, &named, err);
}

static mdc_status take_info(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    about timed = {.order = (uint32_t)file->about.count};
    (void)offset;
    memcpy(&timed.info, entry, sizeof timed.info);
    timed.tid = timed.info.thread_id;
    return push_about(file, &timed, err);
}

/* What `parsed` took goes to the threads, whether it reached the end of the list or not. */
static mdc_status apply(mdc_dump_file *file, mdc_status parsed, bool names) {
    if (file->about.count > 1) qsort(file->about.data, file->about.count, sizeof(about), by_tid);
    for (size_t i = 0; i < file->threads.count; i++) {
        mdc_thread *thread = &mdc_vec_at(&file->threads, mdc_thread, i);
        const about *found = find(&file->about, thread->tid);
        if (found == NULL) continue;
        if (names) {
            thread->name = found->name;
            thread->named = 1;
        } else {
            thread->create_time = found->info.create_time;
            thread->kernel_time = found->info.kernel_time;
            thread->user_time = found->info.user_time;
            thread->affinity = found->info.affinity;
            thread->start_address = found->info.start_address;
        }
    }
    mdc_vec_fini(&file->about);
    return parsed;
}

mdc_status mdc_dump_thread_names(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_vec_init(&file->about, sizeof(about));
    return apply(file,
                 mdc_dump_each_counted(file, stream, sizeof(mdc_file_thread_name), MDC_DUMP_LISTS, "ThreadNames",
                                       take_name, err),
                 true);
}

mdc_status mdc_dump_thread_infos(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_vec_init(&file->about, sizeof(about));
    return apply(file,
                 mdc_dump_each_sized(file, stream, sizeof(mdc_file_thread_info), false, MDC_DUMP_LISTS,
                                     "ThreadInfoList", take_info, err),
                 false);
}

/* -- exceptions ---------------------------------------------------------------------------------------------------- */

mdc_status mdc_dump_exception_stream(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_file_exception found;
    if (stream->size < sizeof found)
        return mdc_dump_broken(err, stream->rva, "Exception", "it has less than 168 bytes");
    /* A directory that names one stream again and again would make much of little. */
    if (file->exceptions.count > file->size / sizeof found)
        return mdc_dump_broken(err, stream->rva, "Exception", "there are more than the file has room for");
    if (mdc_dump_get(file, stream->rva, &found, sizeof found, "Exception", err) != MDC_OK) return err->code;
    mdc_dump_exception exception = {.tid = found.thread_id,
                                    .code = found.record.code,
                                    .flags = found.record.flags,
                                    .parameter_count = found.record.parameters,
                                    .address = found.record.address,
                                    .context_size = found.context.data_size,
                                    .context_rva = found.context.rva};
    memcpy(exception.parameters, found.record.information, sizeof exception.parameters);
    return mdc_vec_push(&file->exceptions, &exception, 1, NULL, err);
}

/* -- threads of several lists, and of none ------------------------------------------------------------------------- */

/* A thread, by id and then by its place in file->threads; UINT32_MAX: it is in none of the lists. */
typedef struct mention {
    uint32_t tid;
    uint32_t place;
} mention;

static int by_place(const void *left, const void *right) {
    const mention *a = left, *b = right;
    if (a->tid != b->tid) return a->tid < b->tid ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static mdc_status mention_all(const mdc_dump_file *file, mdc_vec *all, mdc_error *err) {
    const size_t named = file->unlisted.count;
    for (size_t i = 0; i < file->threads.count; i++) {
        mention one = {mdc_vec_at(&file->threads, const mdc_thread, i).tid, (uint32_t)i};
        if (mdc_vec_push(all, &one, 1, NULL, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < named + file->exceptions.count; i++) {
        mention one = {0, UINT32_MAX};
        one.tid = i < named ? mdc_vec_at(&file->unlisted, const uint32_t, i)
                            : mdc_vec_at(&file->exceptions, const mdc_dump_exception, i - named).tid;
        if (mdc_vec_push(all, &one, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (all->count > 1) qsort(all->data, all->count, sizeof(mention), by_place);
    return MDC_OK;
}

/* Behind the first list stay those of others that it does not have. */
static void drop_repeated(mdc_dump_file *file, const mdc_vec *mentions) {
    const mention *all = mentions->data;
    size_t kept = file->listed;
    for (size_t i = file->listed; i < file->threads.count; i++) {
        const mdc_thread *thread = &mdc_vec_at(&file->threads, mdc_thread, i);
        size_t at;
        mdc_lower_bound(at, 0, mentions->count, all[at].tid < thread->tid);
        if (all[at].place != i) continue;
        mdc_vec_at(&file->threads, mdc_thread, kept) = *thread;
        mdc_vec_at(&file->places, mdc_dump_thread_at, kept++) = mdc_vec_at(&file->places, mdc_dump_thread_at, i);
    }
    file->threads.count = file->places.count = file->listed = kept;
}

static mdc_status add_unlisted(mdc_dump_file *file, const mdc_vec *mentions, mdc_error *err) {
    const mention *all = mentions->data;
    const mdc_dump_thread_at nowhere = {.context = {0, 0}};
    for (size_t i = 0; i < mentions->count; i++) {
        const mdc_thread thread = {.tid = all[i].tid};
        if (all[i].place != UINT32_MAX || (i > 0 && all[i - 1].tid == all[i].tid)) continue;
        if (mdc_vec_push(&file->threads, &thread, 1, NULL, err) != MDC_OK ||
            mdc_vec_push(&file->places, &nowhere, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_dump_unlisted_threads(mdc_dump_file *file, mdc_error *err) {
    mdc_vec mentions;
    if (file->tolerant) {
        file->listed = file->threads.count;
        return MDC_OK;
    }
    mdc_vec_init(&mentions, sizeof(mention));
    mdc_status status = mention_all(file, &mentions, err);
    if (status == MDC_OK) {
        drop_repeated(file, &mentions);
        status = add_unlisted(file, &mentions, err);
    }
    mdc_vec_fini(&mentions);
    return status;
}
