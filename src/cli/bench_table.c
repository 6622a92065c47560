/* The table of bench: rows of sessions and of training, beside those of an earlier run. */
#include "cli/bench.h"

#include <string.h>

static struct bench_row row_of(const struct measure *m)
{
    return (struct bench_row){ .test = m->test, .tokens = m->n_tokens, .depth = m->depth, .reps = m->reps,
                               .median = measure_median(m), .least = m->rate[0], .most = m->rate[m->reps - 1] };
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static json_t *about_run(const struct bench_args *a, const snellen_model_info *info)
{
    const struct common_opts *c = &a->common;
    return json_pack("{s:s, s:o, s:s, s:s*, s:s*, s:I, s:o, s:[]}", "version", snellen_version(), "model",
                     cli_json_text(info->path, strlen(info->path)), "arch", info->arch, "memory",
                     a->train ? NULL : c->memory, "cache", a->train ? NULL : c->cache, "weight_bytes",
                     (json_int_t)info->weight_bytes, "machine", cli_machine(c->threads), "results");
}

static void print_head(const struct bench_table *t, const snellen_model_info *info)
{
    char size[32];
    const struct common_opts *c = &t->args->common;
    const json_t *cpu = json_object_get(json_object_get(t->about, "machine"), "cpu");
    int threads = c->threads ? (int)c->threads : snellen_default_threads();
    printf("%s, %s, %.1f M weights in %s; memory %s, cache %s\n", info->path, info->arch, (double)info->n_params / 1e6,
           ui_bytes(info->weight_bytes, size), c->memory, c->cache);
    printf("snellen %s, %s, %d thread%s, %s\n\n", snellen_version(), snellen_isa(), threads, threads == 1 ? "" : "s",
           json_string_value(cpu));
    printf("%-8s %8s %8s %10s", "test", "tokens", "depth", "tokens/s");
    if (t->args->compare) printf(" %10s %8s", "before", "ratio");
    printf("   %s\n", "min .. max");
}

static void note_differences(const struct bench_table *t)
{
    struct strbuf text = { 0 };
    earlier_differences(&t->args->earlier, t->about, &text);
    if (text.n) ui_note("%s: the ratios tell of these differences too: %s", t->args->compare, text.text);
    strbuf_free(&text);
}

snellen_status table_begin(struct bench_table *t, const struct bench_args *a, const snellen_model_info *info,
                           const struct measure *tests, size_t n, snellen_error *err)
{
    *t = (struct bench_table){ .args = a };
    TRY(NEW_ARRAY(&t->rows, n, "rows", err));
    for (size_t i = 0; i < n; i++) t->rows[i] = row_of(&tests[i]);
    t->draws = a->folder && bench_has_figures(t->rows, n);
    if (a->folder && !t->draws)
        ui_note("-o %s: nothing to draw a line through; two sizes of -p, or two depths of -d, expected", a->folder);
    if (t->draws) TRY(folder_make(a->folder, err));
    t->about = about_run(a, info);
    FAIL_IF(!t->about, SNELLEN_E_MEMORY, "bench: memory ran out");
    if (a->compare) note_differences(t);
    if (!ui.json) print_head(t, info);
    return SNELLEN_OK;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void print_row(const struct bench_row *row, const struct bench_row *before, bool compared)
{
    printf("%-8s %8lld %8lld %10.1f", row->test, (long long)row->tokens, (long long)row->depth, row->median);
    if (before) printf(" %10.1f %8.3f", before->median, row->median / before->median);
    else if (compared) printf(" %10s %8s", "-", "-");
    printf("   %.1f .. %.1f\n", row->least, row->most);
    ui_flush();   /* each row appears when it is measured */
}

static json_t *row_json(const struct bench_row *row, const struct bench_row *before, bool compared)
{
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "test", row->test, "tokens", (json_int_t)row->tokens,
                          "depth", (json_int_t)row->depth, "repetitions", (json_int_t)row->reps, "median", row->median,
                          "min", row->least, "max", row->most);
    if (!compared) return o;
    json_object_set_new(o, "before", before ? json_real(before->median) : json_null());
    json_object_set_new(o, "ratio", before ? json_real(row->median / before->median) : json_null());
    return o;
}

void table_add(struct bench_table *t, const struct measure *m)
{
    struct bench_row *row = &t->rows[t->n_rows++];
    *row = row_of(m);
    const struct bench_row *before = earlier_find(&t->args->earlier, row);
    json_array_append_new(json_object_get(t->about, "results"), row_json(row, before, t->args->compare));
    if (ui.json) return;
    ui_clear();
    print_row(row, before, t->args->compare);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static snellen_status draw(const struct bench_table *t, snellen_error *err)
{
    const struct bench_args *a = t->args;
    char caption[192];
    snprintf(caption, sizeof caption, "%s, memory %s, cache %s: medians of %lld, in a band from the least to the most.",
             json_string_value(json_object_get(t->about, "arch")), a->common.memory, a->common.cache,
             (long long)a->reps);
    const struct bench_figures figures = { t->rows, t->n_rows, a->compare ? &a->earlier : NULL, caption, a->folder };
    return bench_draw(&figures, err);
}

snellen_status table_finish(struct bench_table *t, snellen_error *err)
{
    if (ui.json) ui_json(json_incref(t->about));
    return t->draws ? draw(t, err) : SNELLEN_OK;
}

void table_free(struct bench_table *t)
{
    json_decref(t->about);
    mem_free(t->rows);
    *t = (struct bench_table){ 0 };
}
