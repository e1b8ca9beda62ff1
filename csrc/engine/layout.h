/* The layout: everything in the file has its place before a byte is written.
 *
 * Takes a finished plan; mdc_layout_build makes it. Then it changes only when a gap is found: mdc_layout_excise notes
 * the range, mdc_layout_close moves what follows it. Streams write from a const layout. Promises: all that a directory
 * entry names lies below limit32, only Memory64 data may lie above; whole pages of memory lie on pages of the file. */
#ifndef MDC_ENGINE_LAYOUT_H
#define MDC_ENGINE_LAYOUT_H

#include "../format/minidump_file.h"
#include "plan.h"
#include "sanitized_copies.h"

/* Bytes between the small streams and the lists, in file order. */
typedef struct mdc_part {
    uint64_t offset;     /* in the dump */
    uint64_t size;       /* bytes */
    const uint8_t *data; /* the source's, or NULL: from what `from` says, at `address` */
    uint64_t address;
    uint32_t from; /* MDC_PART_* */
    uint32_t edit; /* 1: bytes of the file are sanitized */
} mdc_part;

enum { MDC_PART_MEMORY = 0, MDC_PART_FILE = 1 }; /* target memory; the file that an existing dump is */

/* A gap that is left out of its extent, because the lists can be patched. */
typedef struct mdc_excised {
    size_t extent;
    uint64_t address;
    uint64_t size;
} mdc_excised;

/* Streams of an existing dump that were left out because what is in them is not known. */
typedef struct mdc_dropped {
    uint32_t count;
    uint32_t types[MDC_DROPPED_MAX];
} mdc_dropped;

/* Where a stream is; each uses what it needs. */
typedef struct mdc_place {
    void *state;      /* what it has read: mdc_plan.streams */
    uint64_t offset;  /* in the dump */
    uint64_t count;   /* entries */
    size_t directory; /* index of its directory entry */
} mdc_place;

typedef struct mdc_layout {
    mdc_engine *engine;
    const mdc_capture *capture;
    const mdc_plan *plan;
    mdc_extent *extents;               /* the plan's: their file_offset is filled in here */
    mdc_vec small;                     /* uint8_t: the small streams are at offset 0, so an index is an offset */
    mdc_vec parts;                     /* mdc_part */
    mdc_vec ascii;                     /* uint8_t: the string that is being escaped */
    mdc_place places[MDC_STREAMS_MAX]; /* by row of the table */
    mdc_file_directory *directory;     /* directory_room of them */
    size_t directory_room;
    size_t directory_at; /* offset in the file */
    size_t stream_count;
    uint64_t end;            /* of what is laid out so far */
    bool memory32, memory64; /* which lists there are: both only in an existing dump that has both */
    size_t offset32_end;     /* extents before this one have 32-bit offsets in the file */
    uint64_t memory_offset;  /* of the first extent */
    uint64_t tail_offset;
    uint64_t lists_offset; /* of the first list that is written later */
    bool tail;             /* there are gaps to be told, or may be */
    size_t range_count;    /* ranges of memory, nothing excised */
    mdc_excised *excised;  /* spare of them, by address within the order of extents */
    size_t excised_count;
    bool truncated; /* memory was left out when the stop had to end */
    size_t spare;   /* gaps that can be excised: 0 on a stream */
    mdc_sanitized sanitized;
    mdc_vec soft_errors; /* char: the text of MozSoftErrors; empty if there is nothing to say */
    int64_t now;         /* seconds since 1970: the header's time stamp */
    uint64_t memory_info_count;
    uint32_t warnings;
    uint32_t omitted_streams; /* MDC_STREAM_* */
    mdc_dropped dropped;
} mdc_layout;

void mdc_layout_init(mdc_layout *layout, const mdc_plan *plan);
void mdc_layout_fini(mdc_layout *layout);
/* extents: those of the plan. */
mdc_status mdc_layout_build(mdc_layout *layout, mdc_extent *extents, mdc_error *err);
/* A range that could not be read takes no space in the file, if there is a spare slot for it; in the order of the
 * file. */
bool mdc_layout_excise(mdc_layout *layout, size_t extent, uint64_t address, uint64_t size);
/* All that needs the stop, from this address of this extent on, takes no space in the file; bytes. In the order of
 * copy_order.h, once. */
uint64_t mdc_layout_truncate(mdc_layout *layout, size_t extent, uint64_t address);
/* After the last of them: where everything is now. */
void mdc_layout_close(mdc_layout *layout);
/* A stream of the file's end, in place of the one that place->directory has or as another one. false: there is no room
 * for it in the directory or in its offsets. */
bool mdc_layout_move(mdc_layout *layout, mdc_place *place, uint32_t type, uint64_t offset, uint64_t size);

/* For streams while they are built: into the small ones, from an aligned offset on. */
mdc_status mdc_layout_put(mdc_layout *layout, const void *data, size_t size, size_t *offset, mdc_error *err);
mdc_status mdc_layout_align(mdc_layout *layout, size_t alignment, mdc_error *err);
/* Overwrites what was put. */
void mdc_layout_set(mdc_layout *layout, uint64_t offset, const void *data, size_t size);
mdc_status mdc_layout_string(mdc_layout *layout, const uint8_t *bytes, size_t size, uint32_t *rva, mdc_error *err);
/* The same of a name; nothing if it is empty. */
mdc_status mdc_layout_name(mdc_layout *layout, mdc_name name, uint32_t *rva, mdc_error *err);
/* A stream that is a header and a table; *entries: offset of the first entry, all zero so far. */
mdc_status mdc_layout_table(mdc_layout *layout, uint32_t type, const void *header, size_t header_size, size_t count,
                            size_t entry_size, size_t *entries, mdc_error *err);
/* After the small ones: target memory or bytes that live as long as the layout. */
mdc_status mdc_layout_part(mdc_layout *layout, uint32_t type, const mdc_part *part, mdc_error *err);
/* Room for a list that is written later; it may be shorter than `bytes`. */
mdc_status mdc_layout_reserve(mdc_layout *layout, mdc_place *place, uint32_t type, uint64_t bytes, mdc_error *err);
/* Bytes of the file as far as they are planned. */
static inline uint64_t mdc_layout_planned_end(const mdc_layout *layout) {
    return layout->tail_offset + (layout->tail ? sizeof(uint64_t) : 0);
}
/* The directory entry of [offset, offset + size). */
mdc_status mdc_layout_stream(mdc_layout *layout, uint32_t type, uint64_t offset, uint64_t size, size_t *directory,
                             mdc_error *err);

#endif
