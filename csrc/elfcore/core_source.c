#include "core_source.h"

#include <string.h>

#include "../api/engine.h"
#include "../base/fail.h"
#include "core.h"

static mdc_core *core_of(mdc_source *source) { return (mdc_core *)source; } /* source is its first member */

static void publish(mdc_core *core) {
    const mdc_source_crash crash = core->lists.crash;
    core->lists = (mdc_snapshot){.regions = core->regions.data,
                                 .region_count = core->regions.count,
                                 .threads = core->threads.data,
                                 .thread_count = core->threads.count,
                                 .modules = core->modules.data,
                                 .module_count = core->modules.count,
                                 .texts = core->texts.data,
                                 .text_count = core->texts.count,
                                 .copies = core->copies.data,
                                 .copy_count = core->copies.count,
                                 .names = core->names.data,
                                 .name_count = core->names.count,
                                 .pool = core->pool.data,
                                 .pool_size = core->pool.count,
                                 .system = &core->system,
                                 .types = core->system.xstate_mask != 0 ? MDC_TYPE_WITH_AVX_XSTATE_CONTEXT : 0,
                                 .crash = crash,
                                 .cut_bytes = core->cut_bytes,
                                 .warnings = core->lists_cut ? MDC_WARN_CUT : 0};
    if (core->phnum <= UINT16_MAX) {
        core->lists.auxv_phdr = core->phdr;
        core->lists.auxv_phnum = (uint32_t)core->phnum;
    }
}

static mdc_status read_lists(mdc_core *core, mdc_error *err) {
    static mdc_status (*const steps[])(mdc_core *, mdc_error *) = {
        mdc_core_read_headers, mdc_core_read_notes,   mdc_core_read_auxv, mdc_core_read_files, mdc_core_make_regions,
        mdc_core_make_threads, mdc_core_find_modules, mdc_core_find_heap, mdc_core_find_texts};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i](core, err) != MDC_OK) return err->code;
    return MDC_OK;
}

static mdc_status core_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    mdc_core *core = core_of(source);
    if (core->prepared) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "prepared twice");
    core->prepared = true;
    core->control = control;
    if (mdc_window_init(&core->window, core->input, err) != MDC_OK) return err->code;
    mdc_doing_before before = mdc_control_begin(control, MDC_DOING_LIST, -1, 0);
    mdc_status status = read_lists(core, err);
    mdc_control_end(control, before);
    if (status != MDC_OK) return status;
    publish(core);
    return MDC_OK;
}

/* Nothing runs that could be stopped. */
static mdc_status core_stop(mdc_source *source, mdc_error *err) {
    if (core_of(source)->prepared) return MDC_OK;
    return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "stop before prepare");
}

static const mdc_snapshot *core_lists(const mdc_source *source) { return &((const mdc_core *)source)->lists; }

static mdc_status core_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    (void)source;
    (void)err;
    *stop_time_ns = 0;
    return MDC_OK;
}

static void core_free(mdc_source *source) {
    mdc_core *core = core_of(source);
    mdc_vec *const vecs[] = {&core->segments, &core->loads, &core->pieces, &core->files,   &core->notes,
                             &core->regions,  &core->names, &core->pool,   &core->threads, &core->contexts,
                             &core->modules,  &core->texts, &core->copies, &core->maps,    &core->text_files};
    for (size_t i = 0; i < sizeof vecs / sizeof vecs[0]; i++) mdc_vec_fini(vecs[i]);
    mdc_hash_fini(&core->tids);
    mdc_hash_fini(&core->name_table);
    mdc_window_fini(&core->window);
    mdc_root_file_close(&core->open);
    mdc_input_free(core->input);
    mdc_dealloc(core->auxv_bytes);
    mdc_dealloc(core->root);
    mdc_dealloc(core->executable);
    mdc_dealloc(core);
}

static mdc_status copy_text(char **to, const char *from, mdc_error *err) {
    if (from == NULL) return MDC_OK;
    const size_t size = strlen(from) + 1;
    *to = mdc_alloc(1, size, err);
    if (*to == NULL) return err->code;
    memcpy(*to, from, size);
    return MDC_OK;
}

mdc_status mdc_core_source_new(int64_t fd, const mdc_core_options *options, mdc_source **slot, mdc_error *err) {
    static const mdc_source_ops ops = {
        core_prepare, core_stop, core_lists, mdc_core_content, mdc_core_read, core_resume, core_free, NULL, NULL};
    if (options->text_files != 0 && !mdc_root_files_known())
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                        "text of modules from their files is for Linux: here no path of a core leads to a file");
    mdc_core *core = mdc_alloc(1, sizeof *core, err);
    if (core == NULL) return err->code;
    mdc_source_init(&core->source, &ops, 0);
    core->open.fd = -1;
    core->text_wanted = options->text_files != 0;
    core->xstate_wanted = options->xstate != 0;
    mdc_vec_init(&core->segments, sizeof(mdc_core_part));
    mdc_vec_init(&core->loads, sizeof(mdc_core_load));
    mdc_vec_init(&core->pieces, sizeof(mdc_core_piece));
    mdc_vec_init(&core->files, sizeof(mdc_core_file));
    mdc_vec_init(&core->notes, sizeof(mdc_core_notes));
    mdc_vec_init(&core->regions, sizeof(mdc_region));
    mdc_vec_init(&core->names, sizeof(mdc_name));
    mdc_vec_init(&core->pool, 1);
    mdc_vec_init(&core->threads, sizeof(mdc_thread));
    mdc_vec_init(&core->contexts, 1);
    mdc_vec_init(&core->modules, sizeof(mdc_module));
    mdc_vec_init(&core->texts, sizeof(mdc_text));
    mdc_vec_init(&core->copies, sizeof(mdc_copy));
    mdc_vec_init(&core->maps, 1);
    mdc_vec_init(&core->text_files, sizeof(mdc_core_text_file));
    mdc_hash_init(&core->tids);
    mdc_hash_init(&core->name_table);
    core->input = mdc_input_new(fd, err);
    if (core->input == NULL || copy_text(&core->root, options->root, err) != MDC_OK ||
        copy_text(&core->executable, options->executable, err) != MDC_OK) {
        core_free(&core->source);
        return err->code;
    }
    uint8_t ident[5] = {0}; /* up to EI_CLASS, which a callee has to know before the file is parsed */
    int32_t ignored;
    (void)mdc_input_read(core->input, 0, ident, sizeof ident, &ignored);
    core->source.narrow = ident[4] == 1;
    *slot = &core->source;
    return MDC_OK;
}
