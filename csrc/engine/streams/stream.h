/* The streams of a dump: a new one is a file that defines its mdc_stream, and a line in MDC_STREAMS.
 *
 * Life of each: check -> read -> build -> place -> count -> write, a stage of the dump at a time and in the order of
 * the table, which is the order of the file. build and place may come twice, count and write again when gaps were
 * excised. What a stream does not need is NULL. */
#ifndef MDC_ENGINE_STREAM_H
#define MDC_ENGINE_STREAM_H

#include "../../format/mdc_streams.h"
#include "../buffered_output.h"
#include "../layout.h"

/* Dumps of a process or a core; of an existing dump; of all. */
enum { MDC_OF_PROCESS = 0, MDC_OF_DUMP = 1, MDC_OF_BOTH = 2 };

typedef struct mdc_stream {
    uint32_t type;  /* MDC_STREAM_TYPE_*, 0: of several types */
    uint32_t omit;  /* MDC_STREAM_*: it is left out if the caller omits it */
    uint64_t needs; /* MDC_TYPE_*: it is left out unless the dump type has it */
    uint32_t of;    /* MDC_OF_*: dumps of what have it */
    /* Can this target have what the caller asks for? */
    mdc_status (*check)(const mdc_capture *capture, mdc_error *err);
    /* Reads target memory into a *state of its own, allocated with mdc_alloc, NULL if there is no stream. */
    mdc_status (*read)(mdc_plan *plan, void **state, mdc_error *err);
    void (*free)(void *state);
    /* Puts it among the small streams. */
    mdc_status (*build)(mdc_layout *layout, mdc_place *place, mdc_error *err);
    /* Gives it a place after them, as parts or as a list that is written later. */
    mdc_status (*place)(mdc_layout *layout, mdc_place *place, mdc_error *err);
    /* All offsets are known: fills in what depends on them, and the length of a list. */
    void (*count)(mdc_layout *layout, mdc_place *place);
    /* Writes the list at its place. It is as long as the plan, so it is never stored. */
    mdc_status (*write)(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err);
} mdc_stream;

/* clang-format off: a line for each */
#define MDC_STREAMS(stream)                                                                                            \
    stream(carried) stream(system_info) stream(misc_info) stream(thread_list) stream(thread_pointers)                  \
        stream(thread_names) stream(thread_info_list) stream(module_list) stream(dso_debug) stream(exception)          \
            stream(unloaded_module_list) stream(handle_data) stream(crashpad_info) stream(comment) stream(linux_texts) \
                stream(user_streams) stream(memory_list) stream(memory64_list) stream(memory_info_list)                \
                    stream(gap_stream) stream(soft_errors)
/* clang-format on */

#define MDC_STREAM_DECLARE(name) extern const mdc_stream mdc_stream_##name;
MDC_STREAMS(MDC_STREAM_DECLARE)
#undef MDC_STREAM_DECLARE

/* All streams of the table; mdc_streams_check is in capture.h. */
mdc_status mdc_streams_read(mdc_plan *plan, mdc_error *err);
void mdc_streams_free(mdc_plan *plan);
mdc_status mdc_streams_build(mdc_layout *layout, mdc_error *err);
mdc_status mdc_streams_place(mdc_layout *layout, mdc_error *err);
void mdc_streams_count(mdc_layout *layout);
mdc_status mdc_streams_write(const mdc_layout *layout, mdc_out *out, mdc_error *err);
/* Row of the stream of this type, -1 if the table has none. */
int mdc_streams_find(uint32_t type);
/* Of the stream of this type, which the table has. */
const mdc_place *mdc_streams_place_of(const mdc_layout *layout, uint32_t type);

/* soft_errors.c: the text, of what is known by now; empty if there is nothing to say. */
mdc_status mdc_soft_errors_text(const mdc_layout *layout, mdc_vec *text, mdc_error *err);

/* user_streams.c: before the dump. */
mdc_status mdc_user_streams_check(const mdc_engine_options *options, mdc_error *err);
/* Those that know their place, right after the header. */
mdc_status mdc_user_streams_put(mdc_layout *layout, mdc_error *err);

#endif
