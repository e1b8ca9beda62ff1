/* An engine that breaks all rules: callbacks of any type, in any order, with any content, to our routine.
 * What it must keep to itself is judged by the meaning of the rules: no answer keeps a byte that a rule excludes (but
 * inside a hull, which the reads then hide), and no read shows what is excluded, scrubbed or a pattern. */
#ifndef MDC_FUZZ_CALLS_H
#define MDC_FUZZ_CALLS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/filter/match.h"
#include "../../csrc/filter/redact.h"
#include "meaning.h"

enum { CALLS_MAX = 400, HULLS_MAX = 64, NAMES = 8, NAME_BYTES = 16, READ_MAX = 0x1FFF };

typedef struct fuzz_counts {
    uint64_t calls, answers, reads, hidden;
} fuzz_counts;

typedef struct fuzz_engine {
    bytes_in *in;
    fuzz_spec made;
    mdc_filter *filter;
    mdc_callback *callback;
    fuzz_counts *counts;
    uint32_t extensions;
    bool judged;      /* no modules and no hooks: the meaning of rules says what must come out */
    bool shows_reads; /* VmStart was answered: hulls are allowed */
    int depth;
    asked hulls[HULLS_MAX];
    size_t hull_count;
    uint8_t names[NAMES][NAME_BYTES];
    uint32_t name_sizes[NAMES];
    bool named[NAMES];
} fuzz_engine;

/* One callback with what hangs on it; all in blocks of their exact size, so that ASan sees what lies beyond. */
typedef struct fuzz_call {
    MINIDUMP_CALLBACK_INPUT *input;
    MINIDUMP_CALLBACK_OUTPUT *output;
    uint8_t *block;
    uint32_t type;
    asked what;
    bool judged;
    uint64_t offset;
    uint32_t size, completed;
} fuzz_call;

static void show_rules(const mdc_filter_spec *spec) {
    for (size_t i = 0; i < spec->rule_count; i++) {
        const mdc_rule *r = &spec->rules[i];
        fprintf(stderr,
                "rule %zu: action %u fields %#x range %#" PRIx64 "-%#" PRIx64 " size %#" PRIx64 "-%#" PRIx64
                " head %#" PRIx64 " state %#x type %#x protect %#x/%#x kinds %#x name '%.*s'\n",
                i, r->action, r->fields, r->range.first, r->range.end, r->min_size, r->max_size, r->head_bytes,
                r->state, r->type, r->protect_any, r->protect_all, r->kinds, (int)r->name.size,
                (const char *)r->name.data);
    }
    for (size_t i = 0; i < spec->memory_remove_count; i++)
        fprintf(stderr, "removed: %#" PRIx64 "-%#" PRIx64 "\n", spec->memory_remove[i].first,
                spec->memory_remove[i].end);
    fprintf(stderr, "default %u nocase %u fill %#x\n", spec->default_action, spec->nocase, spec->fill);
}

static _Noreturn void fault(const fuzz_engine *engine, const fuzz_call *call, const char *text, uint64_t address) {
    const asked *what = &call->what;
    show_rules(&engine->made.spec);
    fprintf(stderr,
            "type %u, region %#" PRIx64 "-%#" PRIx64 " of mapping %#" PRIx64 "+%#" PRIx64
            " state %#x type %#x protect %#x kinds %#x, read %#" PRIx64 "+%#x, extensions %#x\n%s: %#" PRIx64 "\n",
            call->type, what->base, what->last, what->mapping_base, what->mapping_size, what->state, what->type,
            what->protect, what->kinds, call->offset, call->completed, engine->extensions, text, address);
    abort();
}

static void fill_any(bytes_in *in, void *out, size_t size) {
    uint8_t *bytes = out, key = take8(in);
    for (size_t i = 0; i < size; i++)
        bytes[i] = key & 1 ? key : (uint8_t)((size_t)key * 31 + i * 7 + (i % 16 == 0 ? take8(in) : 0));
}

static int32_t hook(void *context, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    fuzz_engine *engine = context;
    uint8_t how = take8(engine->in);
    if ((how & 1) != 0 && engine->depth < 2) { /* from inside the routine: refused, not a hang */
        MINIDUMP_CALLBACK_OUTPUT other = *output;
        engine->depth++;
        (void)mdc_callback_routine(engine->callback, input, &other);
        engine->depth--;
    }
    if (how & 2) fill_any(engine->in, output, sizeof *output);
    return how & 4;
}

/* A mapping around the region. Its size often is that of a rule's bound, or one off. */
static void take_mapping(fuzz_engine *engine, const MINIDUMP_MEMORY_INFO *region, mdc_region_facts *facts) {
    bytes_in *in = engine->in;
    const mdc_filter_spec *spec = &engine->made.spec;
    uint64_t before = (uint64_t)(take8(in) & 7) << 12, behind = (uint64_t)(take8(in) & 7) << 12;
    if (take8(in) & 1) before = behind = 0;
    if (before > region->BaseAddress) before = 0;
    facts->MappingBase = region->BaseAddress - before;
    uint64_t least = before + region->RegionSize, size = least + behind;
    if (spec->rule_count != 0 && (take8(in) & 1)) {
        const mdc_rule *rule = &spec->rules[take_below(in, (uint32_t)spec->rule_count)];
        uint64_t bound = (take8(in) & 1 ? rule->min_size : rule->max_size) + take_below(in, 3) - 1;
        if (bound >= least) size = bound;
    }
    facts->MappingSize = size >= region->RegionSize ? size : region->RegionSize; /* that of a broken region wraps */
}

static void take_facts(fuzz_engine *engine, fuzz_call *call, const MINIDUMP_MEMORY_INFO *region) {
    bytes_in *in = engine->in;
    mdc_region_facts *facts = &call->input->u.RegionFacts;
    uint8_t id = take8(in) % NAMES;
    memset(facts, 0, sizeof *facts);
    facts->Size = take8(in) == 7 ? take32(in) : sizeof *facts;
    facts->Version = take8(in) == 7 ? take32(in) : 1;
    take_mapping(engine, region, facts);
    if (!engine->judged && take8(in) == 9) facts->MappingBase = take_address(in), facts->MappingSize = take64(in);
    if (id != 0 && !engine->named[id]) {
        engine->named[id] = true;
        engine->name_sizes[id] = take8(in) % NAME_BYTES;
        for (uint32_t i = 0; i < engine->name_sizes[id]; i++) engine->names[id][i] = take8(in);
    }
    uint32_t size = id != 0 ? engine->name_sizes[id] : 0;
    call->block = malloc(size + 1u);
    memcpy(call->block, engine->names[id], size);
    facts->Name = id != 0 ? call->block : NULL;
    facts->NameSize = id != 0 || engine->judged ? size : take32(in);
    facts->NameId = !engine->judged && take8(in) == 9 ? take32(in) : id;
    facts->Kinds = take8(in);
    facts->Flags = take8(in) & 15;
    call->what.mapping_base = facts->MappingBase;
    call->what.mapping_size = facts->MappingSize;
    call->what.kinds = facts->Kinds & MDC_KINDS_KNOWN;
    call->what.kinds_in_doubt = false;
    call->what.dontdump = (facts->Flags & MDC_FACT_DONTDUMP) != 0;
    call->what.name = engine->names[id];
    call->what.name_size = size;
    if (facts->Size < sizeof *facts || facts->Version < 1 || (facts->Flags & MDC_FACT_ADDED) != 0) call->judged = false;
}

static void take_region(fuzz_engine *engine, fuzz_call *call) {
    static const uint32_t states[] = {0, 0x2000, 0x10000, 0x3000, 0x4000, 1u << 31};
    static const uint32_t types[] = {0, 0x40000, 0x1000000, 0x1020000, 0x80000, 0x2020000};
    static const uint32_t protects[] = {0, 1, 2, 8, 0x10, 0x20, 0x40, 0x80, 0x104, 0x602, 6, 0x2000, 0x400, 0x40000004};
    bytes_in *in = engine->in;
    MINIDUMP_MEMORY_INFO *region = &call->output->Region.VmRegion;
    region->BaseAddress = take_address(in);
    region->RegionSize = take8(in) & 3 ? (uint64_t)(1 + (take8(in) & 15)) << 12 : take_address(in);
    region->State = take8(in) & 3 ? MDC_MEM_COMMIT : states[take_below(in, sizeof states / sizeof states[0])];
    region->Type = take8(in) & 3 ? MDC_MEM_PRIVATE : types[take_below(in, sizeof types / sizeof types[0])];
    region->Protect =
        take8(in) & 3 ? MDC_PAGE_READWRITE : protects[take_below(in, sizeof protects / sizeof protects[0])];
    uint64_t last = region->BaseAddress + (region->RegionSize - 1);
    call->judged = engine->judged && region->RegionSize != 0 && last >= region->BaseAddress;
    call->what = (asked){.base = region->BaseAddress,
                         .last = last,
                         .mapping_base = region->BaseAddress,
                         .mapping_size = region->RegionSize,
                         .state = region->State,
                         .type = region->Type,
                         .protect = region->Protect,
                         .kinds = region->Type == MDC_MEM_PRIVATE || region->Type == 0x2020000 ? MDC_KIND_ANONYMOUS
                                  : region->Type == MDC_MEM_MAPPED                             ? MDC_KIND_FILE
                                  : region->Type == MDC_MEM_IMAGE                              ? MDC_KIND_IMAGE
                                                                                               : 0,
                         .kinds_in_doubt = region->Type == 0x1020000 || region->Type == 0x80000,
                         .name = engine->names[0]};
    if (engine->extensions & MDC_EXT_REGION_FACTS) take_facts(engine, call, region);
}

static void take_module(fuzz_engine *engine, fuzz_call *call) {
    bytes_in *in = engine->in;
    size_t units = take8(in) & 31;
    call->block = malloc(units * 2 + 3);
    uint8_t *path = call->block + 1; /* engines may put it at any address */
    for (size_t i = 0; i < units; i++) {
        uint16_t unit = take16(in);
        if (unit == 0) unit = 0xD800;
        memcpy(path + 2 * i, &unit, sizeof unit);
    }
    memset(path + 2 * units, 0, 2);
    MINIDUMP_MODULE_CALLBACK *module = &call->input->u.Module;
    module->FullPath = take8(in) == 1 ? NULL : (const void *)path;
    module->BaseOfImage = take_address(in);
    module->SizeOfImage = take8(in) & 1 ? take32(in) : 0x3000;
}

static void take_read(fuzz_engine *engine, fuzz_call *call) {
    bytes_in *in = engine->in;
    const mdc_filter_spec *spec = &engine->made.spec;
    call->size = take8(in) & 7 ? take16(in) & READ_MAX : 0;
    call->offset = take_address(in);
    call->completed = call->size;
    if ((take8(in) & 3) == 0)
        call->completed = take8(in) & 1 ? take32(in) : call->size != 0 ? take16(in) % call->size : 0;
    call->block = malloc(call->size + 1u);
    memset(call->block, 0x11, call->size);
    for (int i = 0; i < 3 && spec->pattern_count != 0 && call->size != 0; i++) {
        mdc_bytes pattern = spec->patterns[take_below(in, (uint32_t)spec->pattern_count)];
        size_t at = take16(in) % call->size;
        if (pattern.size <= call->size - at) memcpy(call->block + at, pattern.data, pattern.size);
    }
    call->judged =
        engine->judged && call->size != 0 && take8(in) != 3 && call->offset + (call->size - 1) >= call->offset;
    call->input->u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){.Offset = call->offset,
                                                                 .Buffer = call->judged ? call->block : NULL,
                                                                 .Size = call->size,
                                                                 .Completed = call->completed};
    if (call->completed > call->size) call->completed = call->size;
}

static void take_call(fuzz_engine *engine, fuzz_call *call) {
    bytes_in *in = engine->in;
    memset(call, 0, sizeof *call);
    call->input = malloc(sizeof *call->input);
    call->output = malloc(sizeof *call->output);
    fill_any(in, call->input, sizeof *call->input);
    memcpy(call->output, call->input, sizeof *call->output);
    uint8_t which = take8(in);
    call->type = which < 180   ? which % (MDC_CB_COUNT + 1u)
                 : which < 230 ? (uint32_t)MDC_CB_INCLUDE_VM_REGION
                 : which < 245 ? (uint32_t)MDC_CB_VM_POST_READ
                               : take32(in);
    call->input->CallbackType = call->type;
    switch (call->type) {
    case MDC_CB_MODULE:
        take_module(engine, call);
        break;
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
        call->input->u.Thread.ThreadId = take8(in) & 15;
        call->input->u.Thread.StackBase = take_address(in);
        call->input->u.Thread.StackEnd = take_address(in);
        break;
    case MDC_CB_INCLUDE_THREAD:
        call->input->u.IncludeThread.ThreadId = take8(in) & 15;
        break;
    case MDC_CB_INCLUDE_VM_REGION:
        take_region(engine, call);
        break;
    case MDC_CB_VM_POST_READ:
        take_read(engine, call);
        break;
    case MDC_CB_READ_MEMORY_FAILURE:
        call->input->u.ReadMemoryFailure.Offset = take_address(in);
        call->input->u.ReadMemoryFailure.Bytes = take32(in);
        break;
    case MDC_CB_CANCEL:
        if (take8(in) & 1) mdc_callback_cancel(engine->callback);
        break;
    default:
        break;
    }
}

/* Every byte of the answer is one that the rules keep, or lies inside a hull. */
static void judge_answer(fuzz_engine *engine, const fuzz_call *call) {
    const MINIDUMP_MEMORY_INFO *region = &call->output->Region.VmRegion;
    if (region->RegionSize == 0) return;
    uint64_t first = region->BaseAddress, last = first + (region->RegionSize - 1), points[160];
    if (first < call->what.base || last > call->what.last || last < first)
        fault(engine, call, "the answer is no part of the region", first);
    bool hulls = engine->shows_reads && (engine->extensions & MDC_EXT_RESUBMIT) == 0, hull = false;
    size_t count =
        turning_points(&engine->made.spec, &call->what, first, last, points, sizeof points / sizeof points[0]);
    for (size_t i = 0; i < count; i++) {
        long by;
        if (byte_kept(&engine->made.spec, &call->what, points[i], &by)) continue;
        if (!hulls || points[i] == first || points[i] == last)
            fault(engine, call, "an excluded byte is kept", points[i]);
        hull = true;
    }
    engine->counts->answers++;
    if (!hull || engine->hull_count == HULLS_MAX) return;
    asked *noted = &engine->hulls[engine->hull_count++];
    *noted = call->what;
    noted->base = first;
    noted->last = last;
}

/* Nothing in the buffer that a hull hides, a range covers or a pattern is. */
static void judge_read(fuzz_engine *engine, const fuzz_call *call) {
    const mdc_filter_spec *spec = &engine->made.spec;
    uint8_t fill = mdc_filter_fill(engine->filter);
    engine->counts->reads++;
    if (spec->sanitize_stacks) return; /* words of stacks are overwritten with something else */
    for (uint32_t i = 0; i < call->completed; i++) {
        uint64_t address = call->offset + i;
        bool hide = false;
        long by;
        for (size_t k = 0; k < engine->hull_count && !hide; k++)
            hide = address >= engine->hulls[k].base && address <= engine->hulls[k].last &&
                   !byte_kept(spec, &engine->hulls[k], address, &by);
        for (size_t k = 0; k < spec->scrub_count && !hide; k++) hide = in_range(spec->scrub[k], address);
        if (hide && call->block[i] != fill) fault(engine, call, "a byte is shown that is to be hidden", address);
        engine->counts->hidden += hide;
    }
    for (size_t k = 0; k < spec->pattern_count; k++) {
        mdc_bytes pattern = spec->patterns[k];
        if (memchr(pattern.data, fill, pattern.size) != NULL) continue;
        for (size_t i = 0; i + pattern.size <= call->completed; i++)
            if (memcmp(call->block + i, pattern.data, pattern.size) == 0)
                fault(engine, call, "a pattern is still there", call->offset + i);
    }
}

static void forget_dump(fuzz_engine *engine) {
    engine->hull_count = 0;
    engine->shows_reads = false;
    memset(engine->named, 0, sizeof engine->named);
}

static void one_call(fuzz_engine *engine) {
    fuzz_call call;
    take_call(engine, &call);
    MINIDUMP_CALLBACK_INPUT *before = malloc(sizeof *before);
    memcpy(before, call.input, sizeof *before);
    int32_t answer = mdc_callback_routine(engine->callback, call.input, call.output);
    engine->counts->calls++;
    if (engine->judged && memcmp(before, call.input, sizeof *before) != 0)
        fault(engine, &call, "the input was changed", 0);
    if (call.type == MDC_CB_IS_PROCESS_SNAPSHOT || call.type == MDC_CB_VM_START) forget_dump(engine);
    if (call.type == MDC_CB_VM_START) engine->shows_reads = call.output->Status == (int32_t)MDC_S_FALSE;
    if (call.type == MDC_CB_INCLUDE_VM_REGION && call.judged && answer != 0) judge_answer(engine, &call);
    if (call.type == MDC_CB_VM_POST_READ && call.judged) judge_read(engine, &call);
    free(before);
    free(call.block);
    free(call.input);
    free(call.output);
}

/* What a host does between callbacks. */
static void between(fuzz_engine *engine) {
    mdc_error err;
    switch (take8(engine->in)) {
    case 250:
        if (mdc_callback_reset(engine->callback, &err) == MDC_OK) forget_dump(engine);
        break;
    case 251:
        (void)mdc_callback_check(engine->callback, &err);
        break;
    case 252:
        (void)mdc_callback_read_counters(engine->callback);
        break;
    case 253:
        if (mdc_callback_acquire(engine->callback, &err) != MDC_OK) break;
        mdc_callback_release(engine->callback);
        engine->extensions = 0;
        break;
    default:
        break;
    }
}

static void play_engine(bytes_in *in, fuzz_counts *counts) {
    static fuzz_engine engine;
    mdc_error err;
    memset(&engine, 0, sizeof engine);
    engine.in = in;
    engine.counts = counts;
    take_spec(in, &engine.made, true);
    uint8_t mode = take8(in);
    engine.judged = (mode & 0x40) == 0;
    for (size_t i = 0; i < engine.made.spec.rule_count && engine.judged; i++)
        engine.made.rules[i].fields &= ~(uint32_t)MDC_RULE_MODULE;
    engine.filter = mdc_filter_new(&engine.made.spec, &err);
    if (engine.filter == NULL) return;
    mdc_callback_options options = {
        .module_capacity = 4, .name_capacity = 6, .stack_capacity = 3, .excluded_gap_capacity = mode & 0x80 ? 2 : 64};
    if (take8(in) & 1) options.memory_piece = 1 + take16(in);
    if (!engine.judged) options.hook_types = take32(in), options.hook = hook, options.hook_context = &engine;
    engine.callback = mdc_callback_new(engine.filter, &options, &err);
    if (engine.callback == NULL && options.hook_types != 0) { /* hooks of types that the filter answers itself */
        options.hook_types &= 1u << MDC_CB_MODULE | 1u << MDC_CB_CANCEL;
        engine.callback = mdc_callback_new(engine.filter, &options, &err);
    }
    if (engine.callback != NULL) {
        engine.extensions = mode & 0x1F;
        if (mdc_callback_set_host(engine.callback, engine.extensions, &err) != MDC_OK) abort();
        for (int i = 0; i < CALLS_MAX && in->left != 0; i++) {
            one_call(&engine);
            between(&engine);
        }
        (void)mdc_callback_check(engine.callback, &err);
        (void)mdc_callback_read_counters(engine.callback);
        if (mdc_callback_free(engine.callback, &err) != MDC_OK) abort();
    }
    mdc_filter_release(engine.filter);
}

#endif
