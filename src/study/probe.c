/* A collapse probe on its own: one sequence or all, one precision or all, or the parts of one; numbers to a file,
 * figures to a folder. The work and the pictures are those of the exam. */
#include "study/checkup.h"
#include "format/format.h"

#include <math.h>
#include <string.h>

/* ---- the request as a plan ------------------------------------------------------------------------------------------------------ */

static snellen_status request_lengths(struct checkup *c, const struct probe_request *r, const int64_t **lengths, size_t *n,
                                      snellen_error *err)
{
    struct checkup_plan *plan = &c->plan;
    if (r->collapse.lengths) {
        FAIL_IF(r->collapse.n_lengths > CHECKUP_MAX_GRID, SNELLEN_E_USAGE, "%zu lengths, at most %d expected",
                r->collapse.n_lengths, CHECKUP_MAX_GRID);
        *lengths = r->collapse.lengths;
        *n = r->collapse.n_lengths;
        return SNELLEN_OK;
    }
    plan->n_grid = checkup_grid(r->up_to, plan->grid);
    *lengths = plan->grid;
    *n = plan->n_grid;
    FAIL_IF(!*n, SNELLEN_E_USAGE, "no lengths to measure at");
    return SNELLEN_OK;
}

/* The sequences that are wanted, in a precision of a part; n lengths. */
static void add_collapses(struct checkup *c, const struct probe_request *r, snellen_precision precision, unsigned part,
                          const int64_t *lengths, size_t n)
{
    snellen_collapse_sequence sequence;
    for (size_t i = 0; snellen_collapse_list(i, &sequence); i++) {
        if (strcmp(r->sequence, "all") && strcmp(r->sequence, sequence.name)) continue;
        struct checkup_collapse *k = &c->plan.collapses[c->plan.n_collapses++];
        *k = (struct checkup_collapse){.sequence = sequence.name, .precision = precision, .part = part,
                                       .lengths = lengths, .n_lengths = n, .n_prompts = r->collapse.n_prompts,
                                       .tokens = r->collapse.n_prompts * (uint64_t)lengths[n - 1]};
        c->plan.work += k->tokens;
    }
}

/* What is asked of a precision: f32 to compare with, where parts are, all that is computed, each part. */
static void add_parts(struct checkup *c, const struct probe_request *r, snellen_precision precision,
                      const int64_t *lengths, size_t n)
{
    bool all = !strcmp(r->part, "all"), each = !strcmp(r->part, "each");
    if (!all) add_collapses(c, r, SNELLEN_F32, 0, lengths, n);
    /* q8_0 has one part. */
    if (all || each || precision == SNELLEN_Q8_0) add_collapses(c, r, precision, 0, lengths, n);
    for (unsigned part = 1; part <= SNELLEN_ROUND_LOGITS && precision != SNELLEN_Q8_0; part *= 2)
        if (each || !strcmp(r->part, checkup_part_name(part))) add_collapses(c, r, precision, part, lengths, n);
}

static snellen_status request_plan(struct checkup *c, const struct probe_request *r, snellen_error *err)
{
    const int64_t *lengths = NULL;
    size_t n = 0;
    bool every = !strcmp(r->precision, "all"), rounds = !every && strcmp(r->precision, "f32");
    FAIL_IF(strcmp(r->part, "all") && !rounds, SNELLEN_E_USAGE, "part '%s' of what? One precision that rounds is "
            "expected: --precision bf16 or f16, or q8_0 for the cache", r->part);
    FAIL_IF(!strcmp(r->precision, "q8_0") && strcmp(r->part, "all") && strcmp(r->part, "cache"), SNELLEN_E_USAGE,
            "part '%s': q8_0 is a format of the cache alone; weights, activations and logits have bf16 or f16",
            r->part);
    TRY(request_lengths(c, r, &lengths, &n, err));
    for (int p = 0; p < CHECKUP_PRECISIONS; p++) {
        snellen_precision precision = (snellen_precision)p;
        /* One that is asked for by name tells why it cannot be had. */
        if (every ? checkup_can_read(c->model, precision) : !strcmp(r->precision, checkup_precision_name(precision)))
            add_parts(c, r, precision, lengths, n);
    }
    FAIL_IF(!c->plan.n_collapses, SNELLEN_E_USAGE, "sequence '%s', precision '%s' are not known", r->sequence, r->precision);
    return SNELLEN_OK;
}

/* ---- numbers to a file -------------------------------------------------------------------------------------------------------------- */

static double linf_mean(const snellen_collapse_row *row) { return row->linf_mean; }
static double linf_min(const snellen_collapse_row *row) { return row->linf_min; }
static double linf_max(const snellen_collapse_row *row) { return row->linf_max; }
static double l1(const snellen_collapse_row *row) { return row->l1; }
static double relative(const snellen_collapse_row *row) { return row->relative; }
static double mean_abs(const snellen_collapse_row *row) { return row->mean_abs; }
static double bit_equal(const snellen_collapse_row *row) { return row->bit_equal; }
static double same_logits(const snellen_collapse_row *row) { return row->same_logits; }
static double same_top(const snellen_collapse_row *row) { return row->same_top; }
static double shift(const snellen_collapse_row *row) { return row->shift; }

static const struct {
    const char *name;
    double (*of)(const snellen_collapse_row *row);
} METRICS[] = {
    {"linf_mean", linf_mean}, {"linf_min", linf_min},   {"linf_max", linf_max},       {"l1", l1},
    {"relative", relative},   {"mean_abs", mean_abs},   {"bit_equal", bit_equal},     {"same_logits", same_logits},
    {"same_top", same_top},   {"shift", shift},
};
enum { TENSORS = COUNT_OF(METRICS) + 2 }; /* of one probe: metrics [prompts, lengths, layers], n [lengths], vectors */

static snellen_status put_probe(struct safetensors_writer *w, size_t first, const struct checkup_collapse *k,
                                int64_t d, snellen_error *err)
{
    for (size_t m = 0; m < COUNT_OF(METRICS); m++)
        for (size_t i = 0; i < k->result->n_rows; i++) {
            double value = METRICS[m].of(&k->result->rows[i]);
            TRY(safetensors_writer_put(w, first + m, i * sizeof value, &value, sizeof value, err));
        }
    TRY(safetensors_writer_put(w, first + COUNT_OF(METRICS), 0, k->lengths, k->n_lengths * sizeof *k->lengths, err));
    uint64_t bytes = k->n_prompts * k->n_lengths * 2 * (uint64_t)d * sizeof(float);
    return safetensors_writer_put(w, first + COUNT_OF(METRICS) + 1, 0, k->result->vectors, bytes, err);
}

static snellen_status write_numbers(struct checkup *c, const char *path, snellen_error *err)
{
    const struct checkup_plan *plan = &c->plan;
    int64_t n_layers = c->info->n_layers + 2, d = c->info->d_model;
    struct safetensors_spec *specs = arena_alloc(&c->arena, plan->n_collapses * TENSORS * sizeof *specs);
    FAIL_IF(!specs, SNELLEN_E_MEMORY, "numbers: memory ran out");
    size_t n = 0;
    for (size_t i = 0; i < plan->n_collapses; i++) {
        const struct checkup_collapse *k = &plan->collapses[i];
        struct safetensors_spec *s = specs + n * TENSORS;
        if (!k->result) continue;
        n++;
        int64_t prompts = k->n_prompts, lengths = (int64_t)k->n_lengths;
        for (size_t m = 0; m < TENSORS; m++) {
            const char *name = m < COUNT_OF(METRICS) ? METRICS[m].name : m == COUNT_OF(METRICS) ? "n" : "vectors";
            s[m].name = arena_printf(&c->arena, "%s.%s.%s", k->sequence, checkup_type_name(k), name);
            FAIL_IF(!s[m].name, SNELLEN_E_MEMORY, "numbers: memory ran out");
            s[m].type = "F64";
            s[m].n_dims = 3;
            memcpy(s[m].shape, (int64_t[4]){prompts, lengths, n_layers, 0}, sizeof s[m].shape);
        }
        s[TENSORS - 2] = (struct safetensors_spec){s[TENSORS - 2].name, "I64", 1, {lengths}};
        s[TENSORS - 1] = (struct safetensors_spec){s[TENSORS - 1].name, "F32", 4, {prompts, lengths, 2, d}};
    }
    struct safetensors_writer *w;
    TRY(safetensors_writer_new(path, specs, n * TENSORS, &w, err));
    n = 0;
    for (size_t i = 0; i < plan->n_collapses; i++) {
        if (!plan->collapses[i].result) continue;
        snellen_status status = put_probe(w, n++ * TENSORS, &plan->collapses[i], d, err);
        if (status) {
            safetensors_writer_abort(w);
            return status;
        }
    }
    return safetensors_writer_commit(w, err);
}

/* ---- the probe ------------------------------------------------------------------------------------------------------------------------ */

/* What could not be read is a finding beside what could; alone it is why the probe failed. */
static snellen_status any_result(const struct checkup *c, snellen_error *err)
{
    for (size_t i = 0; i < c->plan.n_collapses; i++)
        if (c->plan.collapses[i].result) return SNELLEN_OK;
    FAIL(SNELLEN_E_OVERFLOW, "%s", c->plan.collapses[0].overflow);
}

static snellen_status probe_and_write(struct checkup *c, const struct probe_request *r, snellen_error *err)
{
    TRY(checkup_work(c, err));
    TRY(any_result(c, err));
    if (r->numbers) TRY(write_numbers(c, r->numbers, err));
    struct plot_figure *figures;
    size_t n_figures;
    return c->options.folder ? checkup_figures(c, &figures, &n_figures, err) : SNELLEN_OK;
}

snellen_status checkup_probe(struct checkup *c, const struct probe_request *r, snellen_error *err)
{
    c->info = snellen_model_get_info(c->model);
    c->probe = &r->collapse;
    c->chat = r->collapse.chat;
    FAIL_IF(!c->info->has_tokenizer, SNELLEN_E_UNSUPPORTED, "%s; a probe's sequence is text",
            c->info->no_tokenizer);
    TRY(request_plan(c, r, err));
    if (c->options.folder) TRY(folder_make(c->options.folder, err));
    if (!c->options.database || *c->options.database) {
        const snellen_run_start start = {.verb = "probe", .command = c->options.command,
                                         .model_name = c->options.model_name, .seed = c->options.seed,
                                         .n_threads = r->collapse.session.n_threads};
        TRY(snellen_record_begin(c->options.database, c->model, &start, &c->recorder, err));
    }
    snellen_status status = probe_and_write(c, r, err);
    const char *word = !status ? "done" : status == SNELLEN_E_CANCELLED ? "incomplete" : "failed";
    snellen_status recorded = snellen_record_finish(c->recorder, word, status ? NULL : err);
    c->recorder = NULL;
    return status ? status : recorded;
}
