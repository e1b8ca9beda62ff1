/* Notes of a core: fs/binfmt_elf.c of Linux (fill_note_info), gdb/linux-tdep.c (linux_make_corefile_notes). In any
 * order; of what is there twice, the first counts. A note belongs to the thread of the last NT_PRSTATUS before it. */
#include <string.h>

#include "../base/arith.h"
#include "../format/amd64_context.h"
#include "../format/elf_file.h"
#include "../format/linux_signal.h"
#include "../format/x86_context.h"
#include "core.h"

enum {
    HEADER = 12,
    NAME_MAX_BYTES = 8, /* "LINUX" is the longest that is looked at */

    /* of "CORE" */
    NT_PRSTATUS = 1,
    NT_FPREGSET = 2,
    NT_PRPSINFO = 3,
    NT_AUXV = 6,
    NT_FILE = 0x46494c45,
    NT_SIGINFO = 0x53494749,
    /* of "LINUX" */
    NT_386_TLS = 0x200,
    NT_X86_XSTATE = 0x202,
    NT_X86_XSAVE_LAYOUT = 0x205,
    NT_PRXFPREG = 0x46e62b7f,

    PRSTATUS_WIDE = 336,
    PRSTATUS_NARROW = 144,
    PRPSINFO_WIDE = 136,
    PRPSINFO_NARROW = 124,
    TLS_ENTRIES_BYTES = 48,
};

typedef struct note {
    uint32_t type;
    bool linux_name; /* "LINUX", else "CORE" */
    mdc_core_part what;
} note;

typedef struct walker {
    mdc_core *core;
    bool skip; /* the thread is there already */
    uint32_t seen;
} walker;

static bool same_tid(const void *context, uint32_t number, const void *key) {
    const mdc_core *core = context;
    return mdc_vec_at(&core->notes, mdc_core_notes, number).tid == *(const uint32_t *)key;
}

static mdc_status add_thread(walker *self, uint64_t offset, mdc_error *err) {
    mdc_core *core = self->core;
    const uint8_t *bytes = mdc_window_get(&core->window, offset, PRSTATUS_NARROW, "NT_PRSTATUS", err);
    if (bytes == NULL) return err->code;
    mdc_core_notes notes = {.tid = mdc_elf_get32(bytes + (core->wide ? 32 : 24)), .status = offset};
    const uint32_t hash = mdc_hash_of(&core->tids, &notes.tid, sizeof notes.tid);
    self->skip = core->notes.count == MDC_CORE_THREADS_MAX ||
                 mdc_hash_find(&core->tids, hash, same_tid, core, &notes.tid) != MDC_HASH_NONE;
    if (self->skip) return MDC_OK;
    if (mdc_hash_reserve(&core->tids, (size_t)core->tids.count + 1, err) != MDC_OK ||
        mdc_vec_push(&core->notes, &notes, 1, NULL, err) != MDC_OK)
        return err->code;
    mdc_hash_add(&core->tids, hash);
    return MDC_OK;
}

static void first(uint64_t *place, const note *found, uint64_t least) {
    if (*place == 0 && found->what.size >= least) *place = found->what.offset;
}

static void first_part(mdc_core_part *place, const note *found, uint64_t least) {
    if (place->size == 0 && found->what.size >= least) *place = found->what;
}

/* Of the thread whose notes are being read. */
static void take_registers(mdc_core *core, const note *found) {
    if (core->notes.count == 0) return;
    mdc_core_notes *thread = &mdc_vec_at(&core->notes, mdc_core_notes, core->notes.count - 1);
    if (!found->linux_name) {
        if (found->type == NT_FPREGSET)
            first(&thread->floating, found, core->wide ? MDC_AMD64_FXSAVE_SIZE : MDC_X86_FSAVE_SIZE);
        return;
    }
    if (found->type == NT_PRXFPREG) first(&thread->fxsave, found, MDC_X86_FXSAVE_SIZE);
    if (found->type == NT_386_TLS && thread->segments == 0) {
        thread->segments = found->what.offset;
        thread->segments_size = (uint32_t)mdc_min_u64(found->what.size, TLS_ENTRIES_BYTES);
    }
    /* A longer area than any processor has is none of ours. */
    if (found->type == NT_X86_XSTATE && thread->extended == 0 && found->what.size >= MDC_AMD64_XSAVE_MIN &&
        found->what.size <= MDC_AMD64_XSAVE_MAX) {
        thread->extended = found->what.offset;
        thread->extended_size = (uint32_t)found->what.size;
    }
}

static mdc_status take(walker *self, const note *found, mdc_error *err) {
    mdc_core *core = self->core;
    if (found->linux_name && found->type == NT_X86_XSAVE_LAYOUT) {
        first_part(&core->layout, found, 16);
        return MDC_OK;
    }
    if (!found->linux_name) {
        switch ((uint32_t)found->type) {
        case NT_PRSTATUS:
            self->skip = true;
            if (found->what.size < (core->wide ? PRSTATUS_WIDE : PRSTATUS_NARROW)) return MDC_OK;
            return add_thread(self, found->what.offset, err);
        case NT_PRPSINFO:
            first(&core->psinfo, found, core->wide ? PRPSINFO_WIDE : PRPSINFO_NARROW);
            return MDC_OK;
        case NT_AUXV:
            first_part(&core->auxv, found, mdc_elf_entry_size(core->wide));
            return MDC_OK;
        case NT_FILE:
            first_part(&core->file_note, found, 1);
            return MDC_OK;
        case NT_SIGINFO:
            /* gcore writes one for each thread. */
            if (core->notes.count <= 1 && !self->skip) first(&core->info, found, MDC_SIGINFO_BYTES);
            return MDC_OK;
        default:
            break;
        }
    }
    if (!self->skip) take_registers(core, found);
    return MDC_OK;
}

static mdc_status read_segment(walker *self, const mdc_core_part *segment, mdc_error *err) {
    mdc_core *core = self->core;
    uint64_t at = 0;
    while (segment->size - at >= HEADER && self->seen < MDC_CORE_NOTES_MAX) {
        if (self->seen++ % 1024 == 0 && mdc_control_check(core->control, err) != MDC_OK) return err->code;
        const uint64_t left = segment->size - at;
        size_t head = (size_t)mdc_min_u64(left, HEADER + NAME_MAX_BYTES);
        const uint8_t *bytes = mdc_window_get(&core->window, segment->offset + at, head, "note", err);
        if (bytes == NULL) return err->code;
        /* Sizes have 32 bits: nothing below overflows. Both are padded to 4 bytes, also in the segments of gcore,
         * which are aligned to 1. */
        const uint64_t name_size = mdc_elf_get32(bytes), size = mdc_elf_get32(bytes + 4);
        const uint64_t start = HEADER + ((name_size + 3) & ~UINT64_C(3));
        if (start > left) return MDC_OK;
        /* The last one may have been cut; what is there of it counts. */
        note found = {.type = mdc_elf_get32(bytes + 8),
                      .what = {segment->offset + at + start, mdc_min_u64(size, left - start)}};
        const bool core_name = head >= HEADER + 5 && name_size == 5 && memcmp(bytes + HEADER, "CORE", 5) == 0;
        found.linux_name = head >= HEADER + 6 && name_size == 6 && memcmp(bytes + HEADER, "LINUX", 6) == 0;
        if ((core_name || found.linux_name) && take(self, &found, err) != MDC_OK) return err->code;
        at += mdc_min_u64(start + ((size + 3) & ~UINT64_C(3)), left);
    }
    return MDC_OK;
}

mdc_status mdc_core_read_notes(mdc_core *core, mdc_error *err) {
    walker self = {.core = core};
    for (size_t i = 0; i < core->segments.count; i++) {
        const mdc_core_part *segment = &mdc_vec_at(&core->segments, const mdc_core_part, i);
        if (read_segment(&self, segment, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}
