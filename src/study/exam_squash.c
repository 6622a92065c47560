/* What reaches the end of texts, measured, against the bound of theorem 5.1 (arXiv 2406.04267); the paper measures nothing here. */
#include "study/exam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 16, MOST_LENGTHS = EXAM_MAX_LINES / 2 };
static const int64_t default_lengths[] = {128, 512};

/* Of all texts of a length: values relative to the last token's, geometric means over the tokens of a bin. */
struct texts {
    struct exam *e;
    const snellen_model *model;
    int64_t length, n_products;
    double *measured, *paths;     /* [BINS, prompts] */
    double *first;                /* [n_products, prompts] share of the paths that comes from the first token */
    double *rank, *ratio;         /* [prompts] rank correlation; paths of the first token over its sensitivity, both relative */
};

/* ---- one text ---------------------------------------------------------------------------------------------------- */

/* Sentences with a pass key somewhere, up to where its answer begins. */
static snellen_status read_text(struct texts *t, snellen_reader *reader, uint64_t index, int32_t *tokens, size_t *n,
                                snellen_error *err)
{
    uint8_t marks[256];
    size_t got;
    *n = 0;
    TRY(snellen_reader_start(reader, t->length, index, err));
    do {
        int32_t some[COUNT_OF(marks)];
        TRY(snellen_reader_next(reader, some, marks, COUNT_OF(marks), &got, err));
        for (size_t i = 0; i < got && *n < (size_t)t->length && !(marks[i] & SNELLEN_MARK_ANSWER); i++) tokens[(*n)++] = some[i];
    } while (got);
    FAIL_IF(*n < 2 * BINS, SNELLEN_E_USAGE, "exam.lengths: %lld is too short for a text of its own", (long long)t->length);
    return SNELLEN_OK;
}

static void take(struct texts *t, const snellen_squash *s, int64_t prompt)
{
    int64_t n = s->n_tokens, all = s->n_layers - 1, prompts = t->e->prompts;
    const float *product = s->paths + all * n;
    double own = s->sensitivity[n - 1], own_path = (double)product[n - 1];
    for (int64_t bin = 0; bin < BINS; bin++) {
        int64_t from = bin * (n - 1) / BINS, to = (bin + 1) * (n - 1) / BINS;
        double measured = 0, paths = 0;
        for (int64_t i = from; i < to; i++) {
            measured += log(s->sensitivity[i] / own) / (double)(to - from);
            paths += log((double)product[i] / own_path) / (double)(to - from);
        }
        t->measured[bin * prompts + prompt] = exp(measured);
        t->paths[bin * prompts + prompt] = exp(paths);
    }
    for (int64_t l = 0; l < t->n_products; l++) t->first[l * prompts + prompt] = (double)s->paths[l * n];
    t->rank[prompt] = s->rank_correlation;
    t->ratio[prompt] = (double)product[0] / own_path / (s->sensitivity[0] / own);
}

static snellen_status measure_texts(struct texts *t, snellen_reader *reader, int32_t *tokens, uint64_t done, uint64_t total,
                                    snellen_error *err)
{
    struct exam *e = t->e;
    snellen_squash_options o = snellen_squash_options_default();
    o.n_probes = (uint32_t)e->probes;
    o.session.n_threads = e->options->n_threads;
    for (int64_t prompt = 0; prompt < e->prompts; prompt++) {
        snellen_squash *s;
        size_t n;
        FAIL_IF(!exam_told(e, "texts", done + (uint64_t)prompt, total), SNELLEN_E_CANCELLED, "stopped");
        TRY(read_text(t, reader, (uint64_t)prompt, tokens, &n, err));
        o.seed = (uint64_t)e->seed + (uint64_t)prompt;
        TRY(snellen_probe_squash(t->model, tokens, n, &o, NULL, &s, err));
        take(t, s, prompt);
        snellen_squash_free(s);
    }
    return SNELLEN_OK;
}

/* ---- all lengths ------------------------------------------------------------------------------------------------- */

static snellen_status make_room(struct texts *t, snellen_error *err)
{
    int64_t prompts = t->e->prompts;
    t->n_products = snellen_model_get_info(t->model)->n_layers + snellen_squash_options_default().n_repeats;
    double **const arrays[] = {&t->measured, &t->paths, &t->first, &t->rank, &t->ratio};
    const int64_t rows[] = {BINS, BINS, t->n_products, 1, 1};
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        *arrays[i] = arena_alloc(&t->e->arena, (uint64_t)(rows[i] * prompts) * sizeof(double));
        FAIL_IF(!*arrays[i], SNELLEN_E_MEMORY, "study: memory ran out");
    }
    return SNELLEN_OK;
}

static snellen_status ask_length(struct texts *t, size_t at, size_t n_lengths, snellen_error *err)
{
    snellen_long_options o = snellen_long_options_default();
    snellen_reader *reader;
    int32_t *tokens;
    o.format = "words";
    o.seed = (uint64_t)t->e->seed;
    TRY(make_room(t, err));
    TRY(snellen_reader_new(t->model, "passkey", &o, &reader, err));
    snellen_status status = NEW_ARRAY(&tokens, t->length, "text", err);
    if (!status)
        status = measure_texts(t, reader, tokens, at * (uint64_t)t->e->prompts, n_lengths * (uint64_t)t->e->prompts, err);
    mem_free(tokens);
    snellen_reader_free(reader);
    return status;
}

/* ---- figures and findings ---------------------------------------------------------------------------------------- */

static double mean(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i];
    return sum / (double)n;
}

static double geometric_mean(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += log(values[i]);
    return exp(sum / (double)n);
}

static const char *name_of(struct exam *e, const char *what, int64_t length)
{
    const char *name = arena_printf(&e->arena, "%s, %lld tokens", what, (long long)length);
    return name ? name : what;
}

static snellen_status draw_depth(struct exam *e, const struct texts *texts, size_t n, snellen_error *err)
{
    struct plot_series lines[EXAM_MAX_LINES];
    double depth[BINS];
    for (int i = 0; i < BINS; i++) depth[i] = (i + 0.5) / BINS;
    for (size_t i = 0; i < n; i++) {
        const struct texts *t = &texts[i];
        TRY(exam_line(e, name_of(e, "measured", t->length), depth, BINS, t->measured, (size_t)e->prompts, true, &lines[2 * i],
                      err));
        TRY(exam_line(e, name_of(e, "paths", t->length), depth, BINS, t->paths, (size_t)e->prompts, true, &lines[2 * i + 1],
                      err));
        lines[2 * i + 1].dashed = lines[2 * i + 1].follows = true;
    }
    return exam_draw(e, (struct plot_figure){
        .id = "squash-depth", .title = "How much of a text reaches its last token, by depth",
        .caption = "|| dy_n / dv_i || relative to the last token's own, mean over the tokens of a sixteenth of the text; dashed: the paths "
                   "of attention in the bound of theorem 5.1, relative alike. Geometric means and 95 % intervals over texts.",
        .x = {.label = "depth of the token, 0 = start, 1 = end"},
        .y = {.label = "relative to the last token", .scale = PLOT_LOG}}, lines, 2 * n, NULL, err);
}

static snellen_status draw_first(struct exam *e, const struct texts *texts, size_t n, int64_t n_layers, snellen_error *err)
{
    struct plot_series lines[EXAM_MAX_LINES];
    int64_t n_products = texts->n_products;
    double *depth = arena_alloc(&e->arena, (uint64_t)n_products * sizeof *depth);
    FAIL_IF(!depth, SNELLEN_E_MEMORY, "study: memory ran out");
    for (int64_t l = 0; l < n_products; l++) depth[l] = (double)(l < n_layers ? l + 1 : (l - n_layers + 2) * n_layers);
    for (size_t i = 0; i < n; i++)
        TRY(exam_line(e, name_of(e, "first token", texts[i].length), depth, (size_t)n_products, texts[i].first, (size_t)e->prompts,
                      false, &lines[i], err));
    return exam_draw(e, (struct plot_figure){
        .id = "squash-first", .title = "The share of attention's paths that comes from the first token",
        .caption = "The last row of the product of (A / beta + I) over the layers, then over all layers several times: everything moves to "
                   "the first token (proposition 5.2).",
        .x = {.label = "layers", .scale = PLOT_LOG}, .y = {.label = "share of the first token", .low = 0, .high = 1}}, lines, n, NULL,
        err);
}

static snellen_status find_length(struct exam *e, const struct texts *t, int64_t n_layers, snellen_error *err)
{
    int64_t prompts = e->prompts, middle = 0;
    double least = INFINITY;
    for (int64_t bin = 0; bin < BINS; bin++) {
        double value = geometric_mean(t->measured + bin * prompts, prompts);
        if (value < least) least = value, middle = bin;
    }
    TRY(exam_find(e, "squash-depth", err, "%lld tokens: least of the text reaches its end from depth %.2f (%.2g of the last token); "
                  "the first sixteenth %.2g, the last one %.2g.", (long long)t->length, (middle + 0.5) / BINS, least,
                  geometric_mean(t->measured, prompts), geometric_mean(t->measured + (BINS - 1) * prompts, prompts)));
    TRY(exam_find(e, "squash-depth", err, "%lld tokens: rank correlation of measured and paths %.2f (mean of %lld texts); for the first "
                  "token the paths say %.0f times what is measured, for the last as much.", (long long)t->length,
                  mean(t->rank, prompts), (long long)prompts, geometric_mean(t->ratio, prompts)));
    return exam_find(e, "squash-first", err, "%lld tokens: %.0f %% of the paths of all %lld layers come from the first token, %.1f %% of "
                     "twice as many.", (long long)t->length, 100 * mean(t->first + (n_layers - 1) * prompts, prompts),
                     (long long)n_layers, 100 * mean(t->first + n_layers * prompts, prompts));
}

static snellen_status squash_all(struct exam *e, const snellen_model *model, snellen_error *err)
{
    struct texts texts[MOST_LENGTHS];
    const int64_t *lengths = e->lengths.n ? e->lengths.v : default_lengths;
    size_t n = e->lengths.n ? e->lengths.n : COUNT_OF(default_lengths);
    int64_t n_layers = snellen_model_get_info(model)->n_layers;
    FAIL_IF(n > MOST_LENGTHS, SNELLEN_E_USAGE, "exam.lengths: %zu lengths, at most %d in one figure", n, MOST_LENGTHS);
    for (size_t i = 0; i < n; i++) {
        texts[i] = (struct texts){.e = e, .model = model, .length = lengths[i]};
        TRY(ask_length(&texts[i], i, n, err));
        TRY(find_length(e, &texts[i], n_layers, err));
    }
    TRY(draw_depth(e, texts, n, err));
    return draw_first(e, texts, n, n_layers, err);
}

snellen_status exam_squash(struct exam *e, snellen_error *err)
{
    snellen_model *model;
    TRY(snellen_model_load(e->model, &model, err));
    snellen_status status = squash_all(e, model, err);
    snellen_model_free(model);
    return status;
}
