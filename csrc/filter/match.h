/* Asking the compiled filter (hot, pure): which bytes of a piece of the target are kept, and by which rule.
 *
 * A question is answered from itself, the filter and the module table alone: the same question gets the same answer,
 * always. The cursor only remembers where the last answer was found; a stale or zeroed one costs time, nothing else.
 * Nothing here allocates, locks or calls the system.
 *
 * Meaning of the values of a question: 0 meets no condition. Of other protections the modifiers and the base (low byte)
 * count, of states and types the known constants. A value without exactly one base or known constant is in doubt, and
 * so are the kinds derived from such a type: it meets the conditions of exclude and head rules, so that what may be
 * secret is left out, and none of an include rule, except a protect_any that names a modifier it has.
 *
 * Addresses here are [base, last], both inclusive, so that the last byte of the address space can be expressed. */
#ifndef MDC_FILTER_MATCH_H
#define MDC_FILTER_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/filter.h"

/* Modules by address: segment i is [start[i], start[i + 1]), start[0] is 0, start[count] is 0 and means 2**64;
 * rows[row[i] * words] are the condition sets whose module condition holds there (row 0: no module). */
typedef struct mdc_module_map {
    const uint64_t *start;
    const uint32_t *row;
    const uint64_t *rows;
    uint32_t count;
} mdc_module_map;

enum {
    MDC_KINDS_KNOWN = 0x7F,
    MDC_KIND_DOUBT = 0x80 /* the kinds are unknown, and the type is in doubt */
};

typedef struct mdc_question {
    uint64_t base; /* the piece */
    uint64_t last;
    uint64_t mapping_base; /* the original mapping, which size rules and head rules look at */
    uint64_t mapping_size; /* bytes */
    uint32_t state;
    uint32_t protect;
    uint32_t type;
    uint32_t kinds;                /* MDC_KIND_*, or MDC_KIND_DOUBT */
    uint32_t flags;                /* MDC_FACT_* */
    const uint64_t *name_row;      /* of mdc_filter_name_row; mdc_filter_words words */
    const mdc_module_map *modules; /* NULL: no module anywhere */
} mdc_question;

typedef struct mdc_cursor {
    uint32_t interval;
    uint32_t module;
} mdc_cursor;

/* A question made ready: the rows it selects. Lives on the asker's stack, borrows from filter and question. */
typedef struct mdc_matcher {
    const mdc_filter *filter;
    const mdc_question *question;
    const uint64_t *protect_row;
    const uint64_t *state_row;
    const uint64_t *size_row;
    const uint64_t *kind_row;
    uint32_t floor_code;
    bool whole_pages;
} mdc_matcher;

/* A stretch [.., last] of one deciding rule. rule is its number; mdc_filter_rule_count means both the default and
 * the RemoveMemory ranges. */
typedef struct mdc_verdict {
    uint64_t last;
    uint32_t rule;
    bool keep;
} mdc_verdict;

void mdc_match_begin(mdc_matcher *matcher, const mdc_filter *filter, const mdc_question *question);

/* The rule that decides about the byte at `address` (within the piece), and how far it decides in the same way. Byte
 * exact, whatever the page rule. */
mdc_verdict mdc_match_step(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t address);

/* The first run of kept bytes at or after `from`, in full length, whatever rules keep it. Without MDC_FACT_PIECE
 * a run is cut to whole pages (the edges of the piece itself stay as they are), and a run that holds no whole page is
 * passed over. false: nothing is kept from there on. */
bool mdc_match_next(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t from, uint64_t *first, uint64_t *last);

/* The longest such run of the piece, the first of equal ones. */
bool mdc_match_longest(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t *first, uint64_t *last);

/* The first run of the piece in one call, for the routine; *first and *last say which part, unless it is nothing. */
enum { MDC_MATCH_NOTHING = 0, MDC_MATCH_PART = 1, MDC_MATCH_WHOLE = 2 };
int mdc_match_answer(const mdc_filter *filter, mdc_cursor *cursor, const mdc_question *question, uint64_t *first,
                     uint64_t *last);

/* [first, last] and the rule that decides about it; rule_count: the default. */
typedef void (*mdc_match_visit)(void *context, uint64_t first, uint64_t last, bool keep, uint32_t rule);
/* Visits [first, last], a part of the piece, run by run, as the answers of mdc_match_next divide it: bytes that a rule
 * keeps but whose page holds excluded ones too are those of the rule that excludes their neighbours. */
void mdc_match_walk(const mdc_matcher *matcher, uint64_t first, uint64_t last, mdc_match_visit visit, void *context);

/* Adds the bytes of [first, last], a part of the piece, to kept[rule] and excluded[rule], each with rule_count + 1
 * entries, as mdc_match_walk visits them. What lies outside [keep_first, keep_last] (a host that takes one
 * run only) is excluded under the rule that would have kept it. */
void mdc_match_rule_stats(const mdc_matcher *matcher, uint64_t first, uint64_t last, uint64_t keep_first,
                          uint64_t keep_last, uint64_t *kept, uint64_t *excluded);

/* ---- what else a callee asks a filter ---- */

uint32_t mdc_filter_rule_count(const mdc_filter *filter);
/* Words of a row; 0 if no rule has conditions besides a range. */
uint32_t mdc_filter_words(const mdc_filter *filter);
/* Whether any rule asks for names (modules) at all; if not, the base row serves for every one. */
bool mdc_filter_has_names(const mdc_filter *filter);
bool mdc_filter_has_modules(const mdc_filter *filter);
/* Rows of a mapping without a name condition met, and of an address without a module. Live as long as the filter. */
const uint64_t *mdc_filter_module_base(const mdc_filter *filter);
/* Whether globs ignore case on this system; `nocase` below is that, or more where the target is of another one. */
bool mdc_filter_nocase(const mdc_filter *filter);
/* Fills row with the condition sets whose name (module) condition holds for the text. Costs a match per distinct
 * pattern: once per name, not per region. */
void mdc_filter_name_row(const mdc_filter *filter, bool nocase, const uint8_t *name, size_t size, uint64_t *row);
void mdc_filter_module_row(const mdc_filter *filter, bool nocase, const uint8_t *path, size_t size, uint64_t *row);

/* MDC_THREAD_WRITE_* or MDC_MODULE_WRITE_* bits that may stay. */
uint32_t mdc_filter_thread_keep(const mdc_filter *filter, uint32_t tid);
uint32_t mdc_filter_module_keep(const mdc_filter *filter, bool nocase, const uint8_t *path, size_t size);
/* Whether mdc_filter_module_keep looks at the path. */
bool mdc_filter_decides_modules(const mdc_filter *filter);

/* The Memory (add) and RemoveMemory lists. Live as long as the filter. */
const mdc_range *mdc_filter_memory_list(const mdc_filter *filter, bool remove, size_t *count);
uint32_t mdc_filter_secondary_flags(const mdc_filter *filter);
bool mdc_filter_tolerates(const mdc_filter *filter);
/* Whether a rule includes memory: then it is part of any dump. */
bool mdc_filter_adds(const mdc_filter *filter);
/* Whether a region can hold a kept byte, an excluded one, and a kept one again. Never false where one can. */
bool mdc_filter_leaves_excluded_gaps(const mdc_filter *filter);

#endif
