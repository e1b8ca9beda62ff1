/* Bytes by rule, counted after the dump over its finished plan. */
#ifndef MDC_CALLBACK_CALLBACK_RULE_STATS_H
#define MDC_CALLBACK_CALLBACK_RULE_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "../api/callback.h"
#include "../filter/match.h"

/* Rules of its filter. */
size_t mdc_callback_rule_count(const mdc_callback *callback);

/* Adds the bytes of [first, end), a part of the region (end 0: 2**64), to kept[i] and excluded[i] for the rule i that
 * decides about them. Each has `entries` = rule count + 1 entries; the last one is the default, and the RemoveMemory
 * ranges. `region` and `facts` are what was asked in the dump (facts NULL: the plain protocol), so the sums agree with
 * the answers given: bytes of pages that had to be left out whole count for the rule that excludes their neighbours.
 *
 * Between the dump and the next one (module table and names are those of the dump); not while a dump runs. */
mdc_status mdc_callback_rule_stats(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                                   const mdc_region_facts *facts, uint64_t first, uint64_t end, uint64_t *kept,
                                   uint64_t *excluded, size_t entries, mdc_error *err);
/* The same run by run, in the dump, once the callee has been asked about all items. */
mdc_status mdc_callback_rule_walk(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                                  const mdc_region_facts *facts, uint64_t first, uint64_t end, mdc_match_visit visit,
                                  void *context, mdc_error *err);

#endif
