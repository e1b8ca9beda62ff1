/* Rules, and the immutable table they are compiled to.
 *
 * Meaning: the rules are ordered, and for every byte of the target the LAST rule that matches decides (the default
 * where none does). A rule matches a byte when every condition it states holds; conditions look at the original
 * mapping (its size, name, kinds), at the module that covers the address, and at the address itself. `head` keeps the
 * first `head_bytes` of the mapping and excludes the rest of it.
 *
 * A compiled filter is immutable and reference counted: any number of dumps on any threads may share it.
 */
#ifndef MDC_API_FILTER_H
#define MDC_API_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
/* mdc_rule.action and mdc_filter_spec.default_action (there only the first two). */
enum { MDC_EXCLUDE = 0, MDC_INCLUDE = 1, MDC_HEAD = 2 };

/* mdc_rule.protect_all: all of these accesses must be there. */
enum { MDC_ACCESS_READ = 1, MDC_ACCESS_WRITE = 2, MDC_ACCESS_EXECUTE = 4 };

/* A range of addresses [first, end). end 0 means 2**64 if first is not 0 or MDC_RULE_RANGE is set. */
typedef struct mdc_range {
    uint64_t first;
    uint64_t end;
} mdc_range;

/* Raw bytes, borrowed for the duration of the call. */
typedef struct mdc_bytes {
    const uint8_t *data;
    size_t size;
} mdc_bytes;

/* Bits of mdc_rule.fields: which conditions are stated. */
enum {
    MDC_RULE_RANGE = 0x01,
    MDC_RULE_STATE = 0x02,
    MDC_RULE_TYPE = 0x04,
    MDC_RULE_PROTECT_ANY = 0x08,
    MDC_RULE_PROTECT_ALL = 0x10,
    MDC_RULE_KIND = 0x20,
    MDC_RULE_SIZE = 0x40,
    MDC_RULE_MODULE = 0x80,
    MDC_RULE_NAME = 0x100
};

typedef struct mdc_rule {
    uint32_t action;      /* MDC_EXCLUDE, MDC_INCLUDE, MDC_HEAD */
    uint32_t fields;      /* MDC_RULE_* */
    mdc_range range;      /* addresses; end == 0 means 2**64 */
    uint64_t min_size;    /* bytes of the original mapping, inclusive */
    uint64_t max_size;    /* bytes, inclusive */
    uint64_t head_bytes;  /* MDC_HEAD: bytes kept from the start of the mapping, not 0 */
    uint32_t state;       /* MDC_MEM_COMMIT | ...: any of these */
    uint32_t type;        /* MDC_MEM_PRIVATE | ...: any of these */
    uint32_t protect_any; /* MDC_PAGE_*: any of these base protections or modifiers */
    uint32_t protect_all; /* MDC_ACCESS_*: all of these, whatever PAGE_* value grants them */
    uint32_t kinds;       /* MDC_KIND_*: any of these */
    uint32_t reserved;
    mdc_bytes module; /* glob over the module's path: `*` any run (also of `/`), `?` one byte, `[a-z]`, `[!a]` */
    mdc_bytes name;   /* glob over the mapping's name; a mapping without a name has the empty name */
} mdc_rule;

/* One rule about threads or modules; the last that matches decides. keep: the MDC_THREAD_WRITE_* or
 * MDC_MODULE_WRITE_* bits that may stay; 0 leaves the item out (bit 0x01 is the item itself). */
typedef struct mdc_thread_rule {
    uint32_t tid;
    uint32_t keep;
} mdc_thread_rule;

typedef struct mdc_module_rule {
    mdc_bytes glob;
    uint32_t keep;
    uint32_t reserved;
} mdc_module_rule;

/* Bounds of mdc_filter_spec.patterns, bytes and number, of a pattern with its tail, and of the distinct sets of bytes
 * of tails; and mdc_filter_spec.fill: the low 8 bits are given. */
enum {
    MDC_PATTERN_MIN = 4,
    MDC_PATTERN_MAX = 4096,
    MDC_PATTERNS_MAX = 4096,
    MDC_PATTERN_SPAN_MAX = 16384,
    MDC_TAIL_SETS_MAX = 32,
    MDC_FILL_GIVEN = 0x100
};

/* What is hidden after an occurrence of a pattern: as many units as are in the set, at most up_to. */
typedef struct mdc_pattern_tail {
    uint64_t bytes[4]; /* the set: bit b of the 256 stands for byte b */
    uint32_t up_to;    /* units; 0: no tail, and the set is not looked at */
    uint32_t wide;     /* 1: units of UTF-16, little endian, whose second byte is 0; 0: bytes */
} mdc_pattern_tail;

typedef struct mdc_filter_spec {
    const mdc_rule *rules;
    size_t rule_count;
    const mdc_thread_rule *threads;
    size_t thread_count;
    const mdc_module_rule *modules;
    size_t module_count;
    const mdc_range *memory_add; /* answered to Memory, in this order */
    size_t memory_add_count;
    const mdc_range *memory_remove; /* answered to RemoveMemory, and an exclude rule after all others */
    size_t memory_remove_count;
    uint32_t default_action;         /* MDC_INCLUDE or MDC_EXCLUDE */
    uint32_t threads_default_keep;   /* for threads no rule names; 0xFFFFFFFF keeps everything */
    uint32_t modules_default_keep;   /* for modules no rule names */
    uint32_t tolerate_read_failures; /* ReadMemoryFailure: 1 skip the block, 0 let the dump fail */
    uint32_t secondary_flags;        /* bits added to SecondaryFlags */
    uint32_t nocase;                 /* 1: globs ignore ASCII case and read `\` as `/` (Windows) */

    /* Redaction: what is read is overwritten before it is stored (VmPostRead); sizes never change. */
    const mdc_range *scrub; /* addresses whose bytes are overwritten with `fill` */
    size_t scrub_count;
    const mdc_bytes *patterns;     /* every occurrence is overwritten, overlapping ones too */
    const mdc_pattern_tail *tails; /* of each pattern, or NULL: none has one */
    size_t pattern_count;
    const mdc_bytes *environ_keep; /* globs over names: if there are any, values of all other variables are hidden */
    size_t environ_keep_count;
    const mdc_bytes *environ_drop; /* globs over names of variables whose values are hidden, also from environ_keep */
    size_t environ_drop_count;
    uint32_t sanitize_stacks;   /* 1: overwrite stack words except pointers into modules or stacks and small numbers */
    uint32_t fill;              /* 0: 'X'; else MDC_FILL_GIVEN | byte */
    uint32_t values_everywhere; /* 1: values of the variables that are hidden are also patterns, as far as the session
                                   learns them; MDC_VALUE_* say which */
    uint32_t reserved;
} mdc_filter_spec;

/* Values of variables as patterns: shorter ones are hidden in the environment only, longer ones are cut into pieces
 * of the second number; each is searched for as it is and as UTF-16. The last: how many bytes of all pieces. */
enum { MDC_VALUE_MIN = 4, MDC_VALUE_PIECE = 1024, MDC_VALUES_MAX = 4096, MDC_VALUES_BYTES_MAX = 1 << 22 };

typedef struct mdc_filter mdc_filter;

/* Compiles. Checks everything: a rule that is malformed (empty or overflowing range, unknown bits, bad glob, min over
 * max) is MDC_ERR_FILTER with err->index = the rule's number. Returns NULL with *err filled on failure. */
mdc_filter *mdc_filter_new(const mdc_filter_spec *spec, mdc_error *err);
mdc_filter *mdc_filter_retain(mdc_filter *filter);
void mdc_filter_release(mdc_filter *filter); /* NULL is allowed */

/* Bytes the compiled table occupies, and how many elementary intervals it has: at most 2 * ranges + 1, 12 bytes each
 * where rules state no condition besides the range; with further conditions 8 bytes more per rule that is alive in an
 * interval, at most 16 of them per interval on average, else MDC_ERR_FILTER. */
uint64_t mdc_filter_bytes(const mdc_filter *filter);
uint64_t mdc_filter_intervals(const mdc_filter *filter);

/* How many bytes of a run an engine must hold back so that no pattern is missed between two reads: the longest pattern
 * with its tail minus one (at least 7 with sanitize_stacks, MDC_VALUE_PIECE - 1 with values_everywhere); 0 if the
 * filter edits no memory. */
uint64_t mdc_filter_hold(const mdc_filter *filter);

/* What an engine must support for the whole filter to be honoured; MDC_REQUIRES_*. Parts of a filter without a bit need
 * no support. If the engine sends no facts, size and head rules apply to what it calls the region. Rules about the text
 * streams are not part of a filter: they are options of the engine. */
enum {
    /* Rules have conditions on names, or on kinds that the Type of a region does not determine (heap, stack, shared,
     * vdso): MDC_EXT_REGION_FACTS. Without it no region has a name, and none of these kinds. */
    MDC_REQUIRES_REGION_FACTS = 0x01,
    /* Kept bytes may lie on both sides of excluded ones: MDC_EXT_RESUBMIT, or VmStart, VmPostRead and room in
     * excluded_gap_capacity: then the excluded bytes are `fill` in the dump. With neither, only the longest kept
     * part of such a region is stored. */
    MDC_REQUIRES_EXCLUDED_GAPS = 0x02,
    /* Rules exclude memory, or the default does: in dumps without full memory only an engine with MDC_EXT_PIECES asks.
     * Ranges to remove (memory_remove) need nothing: RemoveMemory (9) tells them. */
    MDC_REQUIRES_PIECES = 0x04,
    /* Memory is edited (ranges to scrub, patterns, stacks): VmStart and VmPostRead. */
    MDC_REQUIRES_READS = 0x08,
    /* Patterns and stack words may span two reads: MDC_EXT_HOLD_BACK, and `hold` of the engine. */
    MDC_REQUIRES_HOLD_BACK = 0x10,
    /* Values of variables are hidden: only the engine of this package locates the environment. */
    MDC_REQUIRES_ENVIRON = 0x20
};
uint32_t mdc_filter_requirements(const mdc_filter *filter);

/* Writes to `out` the numbers of rules that can never decide anything because later rules hide them completely
 * (a rule that cannot match by itself is an error instead). At most `capacity` are written; returns how many
 * there are. */
size_t mdc_filter_dead_rules(const mdc_filter *filter, uint32_t *out, size_t capacity);
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
