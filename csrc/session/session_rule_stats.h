/* Bytes by the rule that decided about them: the engine's finished plan, looked up once more in the callee's table.
 *
 * No rule number crosses the protocol, so this is done here, where both sides are known: each byte goes to one rule or
 * to the default. What the engine itself never reads belongs to no rule. */
#ifndef MDC_SESSION_SESSION_RULE_STATS_H
#define MDC_SESSION_SESSION_RULE_STATS_H

#include "../api/callback.h"
#include "../api/engine.h"
#include "../filter/match.h"

typedef struct mdc_session_rule_stats {
    uint64_t *kept;        /* by rule, then the default */
    uint64_t *excluded;    /* likewise */
    uint64_t *over_budget; /* likewise: of kept, what the budget has taken out */
    size_t entries;
    mdc_error error; /* why there are none */
} mdc_session_rule_stats;

void mdc_session_rule_stats_init(mdc_session_rule_stats *bytes);
void mdc_session_rule_stats_fini(mdc_session_rule_stats *bytes);
/* Room for the rules of this callback: before the dump, so that nothing can fail for lack of memory after it. */
mdc_status mdc_session_rule_stats_reserve(mdc_session_rule_stats *bytes, const mdc_callback *callback, mdc_error *err);
/* While the callback still holds the module table of the dump. A full dump is counted mapping by mapping. In a Normal
 * dump `kept` is what is in the plan, and `excluded` what its rules forbid in all mappings, whether or not a dump of
 * that type would have looked there. */
void mdc_session_rule_stats_count(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                                  const mdc_engine_options *options);
/* For which rule each byte of an extent is in the plan; while the callee holds the module table of the dump. */
mdc_status mdc_session_rules_walk(const mdc_callback *callback, const mdc_report *plan, const mdc_extent *extent,
                                  const mdc_engine_options *options, mdc_match_visit visit, void *context,
                                  mdc_error *err);
/* Adds to the caller's figures. MDC_ERR_INVALID if `entries` is not the number of rules + 1. */
mdc_status mdc_session_rule_stats_add(const mdc_session_rule_stats *bytes, uint64_t *kept, uint64_t *excluded,
                                      size_t entries, mdc_error *err);

#endif
