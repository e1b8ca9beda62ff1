/* Which bits of the dump type are honoured. */
#include "plan.h"

/* Honoured of every target. */
#define OWN                                                                                                            \
    (MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO | MDC_TYPE_WITH_THREAD_INFO |                          \
     MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY | MDC_TYPE_SCAN_MEMORY | MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY |         \
     MDC_TYPE_FILTER_MODULE_PATHS | MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY | MDC_TYPE_WITHOUT_OPTIONAL_DATA |         \
     MDC_TYPE_FILTER_TRIAGE)
/* Found by the mappings of any other than a Windows process, whose source knows its sections better. */
#define BY_MAPPINGS (MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_MODULE_HEADERS)
/* Memory that a full dump has anyway. */
#define MEMORY                                                                                                         \
    (MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY | MDC_TYPE_WITH_PROCESS_THREAD_DATA |        \
     MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY |     \
     MDC_TYPE_WITH_MODULE_HEADERS)

uint64_t mdc_type_honoured(const mdc_capture *capture) {
    const mdc_engine_options *options = &capture->engine->options;
    if (capture->engine->held) return capture->lists->carried->flags;
    uint64_t known = OWN | capture->lists->types | options->callee_types, asked = options->dump_type;
    if (capture->lists->system->platform != MDC_PLATFORM_WINDOWS) known |= BY_MAPPINGS;
    if ((asked & known & MDC_TYPE_FILTER_TRIAGE) != 0) asked |= MDC_TYPE_FILTER_MODULE_PATHS; /* as dbghelp does */
    uint64_t honoured = asked & known;
    return capture->engine->full ? honoured & ~(uint64_t)(MEMORY | MDC_TYPE_WITHOUT_OPTIONAL_DATA) : honoured;
}

uint64_t mdc_type_lost(const mdc_capture *capture) {
    if (capture->engine->held) return 0;
    uint64_t lost = capture->engine->options.dump_type & ~capture->type;
    return capture->engine->full ? lost & ~(uint64_t)MEMORY : lost;
}
