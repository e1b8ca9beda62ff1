/* The streams of an existing dump, in the order of its directory: see ../carried/carried_file.h. */
#include "../../base/arith.h"
#include "../../base/fail.h"
#include "../../format/mdc_streams.h"
#include "../carried/carried_trees.h"
#include "../file_ranges.h"
#include "stream.h"

enum { ASSERTION_INFO = 0x47670002, ASSERTION_NUMBERS = 8 /* bytes at its end */ };
enum { COMPRESSED_MEMORY = 25, COMPRESSED_MEMORY_SQL = 0x7000 };

/* What becomes of a stream. */
typedef enum fate {
    FATE_TABLE,
    FATE_CRASHPAD,
    FATE_DSO_DEBUG,
    FATE_TEXT,    /* a text */
    FATE_WIDE,    /* of UTF-16 */
    FATE_NUMBERS, /* opaque, and nothing in it is a text or a word of the target */
    FATE_BYTES,   /* opaque */
    FATE_OURS,    /* written by another row: memory lists, gaps */
    FATE_UNKNOWN
} fate;

static const struct {
    uint32_t type;
    fate what;
    uint32_t omit; /* MDC_STREAM_* */
} fates[] = {
    {MDC_STREAM_TYPE_MEMORY_LIST, FATE_OURS, 0},
    {MDC_STREAM_TYPE_MEMORY64_LIST, FATE_OURS, 0},
    {MDC_STREAM_TYPE_GAPS, FATE_OURS, 0},
    {MDC_STREAM_TYPE_CRASHPAD_INFO, FATE_CRASHPAD, 0},
    {MDC_STREAM_TYPE_LINUX_DSO_DEBUG, FATE_DSO_DEBUG, MDC_STREAM_DSO_DEBUG},
    {MDC_STREAM_TYPE_COMMENT_A, FATE_TEXT, 0},
    {MDC_STREAM_TYPE_COMMENT_W, FATE_WIDE, 0},
    {13 /* FunctionTable */, FATE_BYTES, 0},
    {MDC_STREAM_TYPE_MISC_INFO, FATE_NUMBERS, 0},
    {18 /* HandleOperationList */, FATE_BYTES, 0},
    {19 /* Token */, FATE_BYTES, 0},
    {20 /* JavaScriptData */, FATE_BYTES, 0},
    {21 /* SystemMemoryInfo */, FATE_NUMBERS, 0},
    {22 /* ProcessVmCounters */, FATE_NUMBERS, 0},
    {23 /* IptTrace */, FATE_BYTES, 0},
    {0x47670001 /* BreakpadInfo */, FATE_NUMBERS, 0},
    {ASSERTION_INFO, FATE_WIDE, 0},
    {MDC_STREAM_TYPE_LINUX_CPU_INFO, FATE_BYTES, MDC_STREAM_CPUINFO},
    {MDC_STREAM_TYPE_LINUX_PROC_STATUS, FATE_BYTES, MDC_STREAM_STATUS},
    {MDC_STREAM_TYPE_LINUX_LSB_RELEASE, FATE_BYTES, MDC_STREAM_LSB_RELEASE},
    {MDC_STREAM_TYPE_LINUX_CMD_LINE, FATE_BYTES, MDC_STREAM_CMDLINE},
    {MDC_STREAM_TYPE_LINUX_ENVIRON, FATE_BYTES, MDC_STREAM_ENVIRON},
    {MDC_STREAM_TYPE_LINUX_AUXV, FATE_BYTES, MDC_STREAM_AUXV},
    {MDC_STREAM_TYPE_LINUX_MAPS, FATE_BYTES, MDC_STREAM_MAPS},
    {MDC_STREAM_TYPE_MOZ_LINUX_LIMITS, FATE_BYTES, MDC_STREAM_LIMITS},
    {MDC_STREAM_TYPE_MOZ_SOFT_ERRORS, FATE_BYTES, 0},
    {0x4C4C4442 /* LLDBGenerated */, FATE_NUMBERS, 0},
    /* LLDB's numbers for more files below /proc/PID (MinidumpConstants.def of LLVM). */
    {0x4767000B /* LinuxProcStat */, FATE_BYTES, MDC_STREAM_STATUS},
    {0x4767000C /* LinuxProcUptime */, FATE_BYTES, 0},
    {0x4767000D /* LinuxProcFD */, FATE_BYTES, 0},
};

static fate fate_of(uint32_t type, uint32_t *omit) {
    *omit = 0;
    if (mdc_table_of(type) != NULL) return FATE_TABLE;
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        if (fates[i].type != type) continue;
        *omit = fates[i].omit;
        return fates[i].what;
    }
    return FATE_UNKNOWN;
}

const mdc_carried_stream *mdc_carried_find(const mdc_carried *carried, uint32_t type) {
    for (size_t i = 0; i < carried->stream_count; i++)
        if (carried->streams[i].type == type) return &carried->streams[i];
    return NULL;
}

typedef struct carried_state {
    mdc_choices choices;
    mdc_vec descriptors; /* mdc_descriptor */
    mdc_vec memory;      /* mdc_set_range, a set: where the file has memory */
} carried_state;

/* What the caller adds must not be there twice: readers take one stream of a kind. */
static mdc_status check_target(const mdc_capture *capture, mdc_error *err) {
    const mdc_carried *carried = capture->lists->carried;
    const mdc_engine_options *options = &capture->engine->options;
    if (carried == NULL) return MDC_OK;
    if (options->signal.thread_id != 0 || options->exception.thread_id != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0,
                        "exception: an existing dump keeps the exception it has");
    if (options->annotation_count > 0 && mdc_carried_find(carried, MDC_STREAM_TYPE_CRASHPAD_INFO) != NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "annotations: the dump has some already");
    if (options->comment != NULL && (mdc_carried_find(carried, MDC_STREAM_TYPE_COMMENT_A) != NULL ||
                                     mdc_carried_find(carried, MDC_STREAM_TYPE_COMMENT_W) != NULL))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "comment: the dump has one already");
    for (size_t i = 0; i < options->user_stream_count; i++)
        if (mdc_carried_find(carried, options->user_streams[i].type) != NULL)
            return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, (int64_t)i,
                               "user stream 0x%X: the dump has a stream of this number already",
                               (unsigned)options->user_streams[i].type);
    return MDC_OK;
}

/* Gaps that the dump already had stay gaps of it. */
static mdc_status read_gaps(mdc_plan *plan, mdc_error *err) {
    mdc_source *source = plan->engine->source;
    const mdc_carried *carried = plan->capture->lists->carried;
    const mdc_carried_stream *stream = mdc_carried_find(carried, MDC_STREAM_TYPE_GAPS);
    mdc_gap_stream head;
    if (stream == NULL || stream->size < sizeof head) return MDC_OK;
    if (carried->read(source, stream->rva, &head, sizeof head, err) != MDC_OK) return err->code;
    if (head.version != MDC_GAP_STREAM_VERSION || head.entry_size != sizeof(mdc_gap)) return MDC_OK;
    uint64_t at[2] = {(uint64_t)stream->rva + head.header_size, head.tail_offset}, count[2] = {head.planned_count, 0};
    if (head.tail_offset >= sizeof(mdc_file_header) && head.tail_offset <= carried->file_size - sizeof count[1]) {
        if (carried->read(source, head.tail_offset, &count[1], sizeof count[1], err) != MDC_OK) return err->code;
        at[1] += sizeof count[1];
    }
    for (size_t part = 0; part < 2; part++)
        for (uint64_t i = 0; i < count[part]; i++) {
            mdc_gap gap;
            uint64_t end = at[part] + sizeof gap;
            if (end > carried->file_size || plan->gaps->full) break;
            if (carried->read(source, at[part], &gap, sizeof gap, err) != MDC_OK) return err->code;
            if (mdc_add_u64(gap.address, gap.size, &end))
                mdc_gaps_add(plan->gaps, gap.address, gap.size, gap.reason, gap.os_errno);
            at[part] += sizeof gap;
        }
    return MDC_OK;
}

static mdc_status find_memory(const mdc_carried *carried, mdc_vec *memory, mdc_error *err) {
    for (size_t i = 0; i < carried->run_count; i++) {
        const mdc_carried_run *run = &carried->runs[i];
        mdc_set_range range = {run->offset, run->offset + run->size};
        if (mdc_vec_push(memory, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(memory);
    return MDC_OK;
}

static mdc_status read_stream(mdc_plan *plan, void **place, mdc_error *err) {
    carried_state *state = *place = mdc_alloc(1, sizeof *state, err);
    if (state == NULL) return err->code;
    mdc_vec_init(&state->descriptors, sizeof(mdc_descriptor));
    mdc_range_set_init(&state->memory);
    if (mdc_choices_make(&state->choices, plan->capture, err) != MDC_OK ||
        find_memory(plan->capture->lists->carried, &state->memory, err) != MDC_OK)
        return err->code;
    return read_gaps(plan, err);
}

static void free_state(void *place) {
    carried_state *state = place;
    mdc_choices_fini(&state->choices);
    mdc_vec_fini(&state->descriptors);
    mdc_vec_fini(&state->memory);
    mdc_dealloc(state);
}

static mdc_status move_stream(mdc_relocation *relocation, carried_state *state, const mdc_carried_stream *stream,
                              fate what, uint32_t omit, mdc_error *err) {
    mdc_layout *layout = relocation->layout;
    bool kept = true;
    switch (what) {
    case FATE_TABLE:
        return mdc_table_move(mdc_table_of(stream->type), relocation, &state->choices, stream, &state->descriptors,
                              &layout->omitted_streams, err);
    case FATE_CRASHPAD:
        return mdc_crashpad_move(relocation, stream, err);
    case FATE_DSO_DEBUG:
        if (mdc_dso_debug_move(relocation, stream, &kept, err) != MDC_OK) return err->code;
        if (!kept) layout->omitted_streams |= omit;
        return MDC_OK;
    case FATE_TEXT:
    case FATE_WIDE:
        return mdc_carried_text(relocation, stream, what == FATE_WIDE,
                                stream->type == ASSERTION_INFO ? ASSERTION_NUMBERS : 0, err);
    default:
        return MDC_OK;
    }
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    carried_state *state = place->state;
    const mdc_carried *carried = layout->capture->lists->carried;
    mdc_relocation relocation;
    mdc_relocation_init(&relocation, layout, &state->memory);
    state->descriptors.count = 0;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < carried->stream_count; i++) {
        uint32_t omit;
        fate what = fate_of(carried->streams[i].type, &omit);
        if ((layout->engine->options.omit_streams & omit) == 0)
            status = move_stream(&relocation, state, &carried->streams[i], what, omit, err);
    }
    mdc_relocation_fini(&relocation);
    return status;
}

static void drop(mdc_layout *layout, uint32_t type) {
    mdc_dropped *dropped = &layout->dropped;
    if (dropped->count < MDC_DROPPED_MAX) dropped->types[dropped->count] = type;
    dropped->count++;
}

/* Compressed memory is memory that no rule would decide about. */
static bool may_keep(const mdc_layout *layout, uint32_t type) {
    return layout->engine->options.unknown_streams == MDC_UNKNOWN_KEEP && type != COMPRESSED_MEMORY &&
           type != COMPRESSED_MEMORY_SQL;
}

/* A text that is also in the target's memory follows it: excluded there, it is not written here. */
static mdc_status place_opaque(mdc_layout *layout, const carried_state *state, const mdc_carried_stream *stream,
                               fate what, uint32_t omit, mdc_error *err) {
    mdc_part part = {.offset = layout->end,
                     .size = stream->size,
                     .address = stream->rva,
                     .from = MDC_PART_FILE,
                     .edit = what != FATE_NUMBERS};
    uint64_t end;
    if (stream->size == 0) return mdc_layout_stream(layout, stream->type, layout->end, 0, NULL, err);
    if (stream->address != 0 && mdc_add_u64(stream->address, stream->size, &end)) {
        bool kept;
        if (mdc_reader_kept(layout->plan->reader, stream->address, end, &kept, err) != MDC_OK) return err->code;
        if (!kept) {
            layout->omitted_streams |= omit;
            return MDC_OK;
        }
        part.address = stream->address;
        part.from = MDC_PART_MEMORY;
    }
    if (part.from == MDC_PART_FILE &&
        mdc_carried_apart(&state->memory, "a stream", part.address, part.size, err) != MDC_OK)
        return err->code;
    return mdc_layout_part(layout, stream->type, &part, err);
}

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_carried *carried = layout->capture->lists->carried;
    for (size_t i = 0; i < carried->stream_count; i++) {
        const mdc_carried_stream *stream = &carried->streams[i];
        uint32_t omit;
        fate what = fate_of(stream->type, &omit);
        bool unknown = what == FATE_UNKNOWN && !may_keep(layout, stream->type);
        if (unknown) drop(layout, stream->type);
        if (unknown || (what != FATE_NUMBERS && what != FATE_BYTES && what != FATE_UNKNOWN)) continue;
        if ((layout->engine->options.omit_streams & omit) != 0) continue;
        if (place_opaque(layout, place->state, stream, what, omit, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* What of the range the descriptor named before; all of it if it named nothing. */
static mdc_file_memory part_of(const mdc_file_range *range, const mdc_descriptor *descriptor) {
    uint64_t first = range->address, end = range->address + range->size, named_end;
    if (descriptor->size > 0 && mdc_add_u64(descriptor->address, descriptor->size, &named_end)) {
        first = mdc_max_u64(first, descriptor->address);
        end = mdc_min_u64(end, named_end);
    }
    if (first >= end || end - first > UINT32_MAX) return (mdc_file_memory){0, {0, 0}};
    uint32_t rva = (uint32_t)(range->offset + (first - range->address));
    return (mdc_file_memory){first, {(uint32_t)(end - first), rva}};
}

/* Where the memory is that descriptors name. */
static void put_descriptors(mdc_layout *layout, mdc_place *place) {
    const carried_state *state = place->state;
    for (size_t i = 0; i < state->descriptors.count; i++) {
        const mdc_descriptor *descriptor = &mdc_vec_at(&state->descriptors, const mdc_descriptor, i);
        mdc_file_memory memory = {0, {0, 0}};
        mdc_file_range range;
        bool found = descriptor->thread != SIZE_MAX
                         ? mdc_ranges_of_thread(layout, descriptor->thread, &range)
                         : descriptor->size > 0 && mdc_ranges_of_address(layout, descriptor->address, &range);
        if (found) memory = part_of(&range, descriptor);
        mdc_layout_set(layout, descriptor->at, &memory, sizeof memory);
    }
}

const mdc_stream mdc_stream_carried = {.of = MDC_OF_DUMP,
                                       .check = check_target,
                                       .read = read_stream,
                                       .free = free_state,
                                       .build = build_stream,
                                       .place = place_stream,
                                       .count = put_descriptors};
