/* Charts of the collapse probe: distances over n, by precision, sequence, measure and layer. The paper's readings stand
 * beside ours where glasses are drawn from its Fig 5 (Gemma 7B), and are always named as the paper's. */
#include "study/chart.h"

#include <math.h>
#include <string.h>

static const double paper_line = 1.0 / 128;

/* Mean over heads, read off Fig 5 of arXiv 2406.04267 (Gemma 7B). */
struct reading {
    double n, value;
};
static const struct reading PAPER_ONES[] = {{1, 0.94}, {11, 0.055}, {51, 0.037}, {501, 0.037}, {2001, 0.008}};
static const struct reading PAPER_COPY[] = {{1, 0.47}, {11, 0.053}, {51, 0.044}, {2001, 0.006}};
static const struct reading PAPER_COMMAS[] = {{1, 0.47}, {11, 0.78}, {51, 1.02}, {2001, 1.45}};

snellen_status chart_add_line(struct arena *arena, struct chart *chart, const char *label, size_t room, bool band,
                              struct chart_line **line, snellen_error *err)
{
    FAIL_IF(chart->n_lines == CHART_MAX_LINES, SNELLEN_E_INTERNAL, "chart %s: more than %d lines", chart->text.name,
            CHART_MAX_LINES);
    struct chart_line *l = &chart->lines[chart->n_lines];
    *l = (struct chart_line){.label = label};
    size_t bytes = MAX(room, 1) * sizeof(double);
    l->x = arena_alloc(arena, bytes);
    l->y = arena_alloc(arena, bytes);
    if (band) l->low = arena_alloc(arena, bytes);
    if (band) l->high = arena_alloc(arena, bytes);
    FAIL_IF(!label || !l->x || !l->y || (band && (!l->low || !l->high)), SNELLEN_E_MEMORY, "chart: memory ran out");
    chart->n_lines++;
    *line = l;
    return SNELLEN_OK;
}

static snellen_status add_paper(struct arena *arena, struct chart *chart, const char *label, const struct reading *readings,
                                size_t n, snellen_error *err)
{
    struct chart_line *l;
    TRY(chart_add_line(arena, chart, label, n, false, &l, err));
    l->paper = true;
    for (; l->n < n; l->n++) {
        l->x[l->n] = readings[l->n].n;
        l->y[l->n] = readings[l->n].value;
    }
    return SNELLEN_OK;
}

/* Measure (a) at y_n, with the range over heads as a band. */
static snellen_status add_linf(struct checkup *c, struct chart *chart, const struct checkup_collapse *k, const char *label,
                               bool band, snellen_error *err)
{
    struct chart_line *l;
    if (!k) return SNELLEN_OK;
    TRY(chart_add_line(&c->arena, chart, label, k->n_lengths, band, &l, err));
    for (; l->n < k->n_lengths; l->n++) {
        double mean, low, high;
        checkup_collapse_at(k, c->info->n_layers + 1, l->n, &mean, &low, &high);
        l->x[l->n] = (double)k->lengths[l->n];
        l->y[l->n] = mean;
        if (!band) continue;
        l->low[l->n] = low;
        l->high[l->n] = high;
    }
    return SNELLEN_OK;
}

static struct chart *new_chart(struct chart *charts, size_t *n, const char *name, const char *title)
{
    struct chart *chart = &charts[*n];
    *chart = (struct chart){.text = {.name = name, .section = "collapse", .title = title},
                            .x_label = "n, items in the sequence", .y_label = "distance of y_n and y*_n, mean over heads",
                            .log_x = true, .log_y = true, .has_rule = true, .rule = paper_line,
                            .rule_label = "2^-7 (paper)"};
    return chart;
}

/* Shift of the prediction, mean over prompts. */
static snellen_status add_shift(struct checkup *c, struct chart *chart, const struct checkup_collapse *k,
                                const char *label, snellen_error *err)
{
    struct chart_line *l;
    TRY(chart_add_line(&c->arena, chart, label, k->n_lengths, false, &l, err));
    for (; l->n < k->n_lengths; l->n++) {
        l->x[l->n] = (double)k->lengths[l->n];
        for (uint32_t p = 0; p < k->n_prompts; p++)
            l->y[l->n] += checkup_collapse_row(k, p, l->n, c->info->n_layers + 1)->shift / k->n_prompts;
    }
    return SNELLEN_OK;
}

/* A chart with nothing of ours in it is not one. */
static void keep_chart(const struct chart *chart, size_t *n)
{
    for (size_t i = 0; i < chart->n_lines; i++)
        if (!chart->lines[i].paper) {
            ++*n;
            return;
        }
}

/* A probe alone (a plan without tasks) is redrawn by the command that it was. */
static bool is_probe(const struct checkup *c)
{
    return !c->plan.n_tasks;
}

const char *chart_exam_command(struct checkup *c, const char *part)
{
    if (is_probe(c)) return c->options.command;
    const char *prompts = c->options.n_prompts ? arena_printf(&c->arena, " --prompts %u", c->options.n_prompts) : "";
    if (!prompts) return NULL;
    return arena_printf(&c->arena, "snellen checkup %s --%s --only %s%s --seed %llu -o DIR", c->options.model_name,
                        c->options.full ? "full" : "quick", part, prompts, (unsigned long long)c->options.seed);
}

static const char *probe_command(struct checkup *c, const char *sequence, const char *precision)
{
    if (is_probe(c)) return c->options.command;
    int64_t longest = 0;
    uint32_t prompts = 0;
    for (size_t i = 0; i < c->plan.n_collapses; i++) {
        const struct checkup_collapse *k = &c->plan.collapses[i];
        if (strcmp(k->sequence, sequence) || (strcmp(precision, "all") && strcmp(precision, checkup_precision_name(k->precision))))
            continue;
        longest = MAX(longest, k->lengths[k->n_lengths - 1]);
        prompts = MAX(prompts, k->n_prompts);
    }
    return arena_printf(&c->arena, "snellen probe collapse %s --sequence %s --precision %s --up-to %lld --prompts %u%s "
                                   "--seed %llu -o DIR",
                        c->options.model_name, sequence, precision, (long long)longest, prompts, c->chat ? " --chat" : "",
                        (unsigned long long)c->options.seed);
}

/* ---- the charts ---------------------------------------------------------------------------------------------------------------- */

static snellen_status by_precision(struct checkup *c, const char *sequence, struct chart *charts, size_t *n,
                                   snellen_error *err)
{
    const char *name = arena_printf(&c->arena, "collapse-%s", sequence);
    struct chart *chart = new_chart(charts, n, name, arena_printf(&c->arena, "Telling n from n+1: %s", sequence));
    for (int p = 0; p < CHECKUP_PRECISIONS; p++)
        TRY(add_linf(c, chart, checkup_find_collapse(&c->plan, sequence, (snellen_precision)p),
                     checkup_precision_name((snellen_precision)p), p == 0, err));
    if (!strcmp(sequence, "ones"))
        TRY(add_paper(&c->arena, chart, "paper, Gemma 7B", PAPER_ONES, COUNT_OF(PAPER_ONES), err));
    chart->text.caption = "Measure (a): largest |difference| in each head's slice of the last vector, mean over heads; the "
                          "band goes from the lowest to the highest head (f32).";
    chart->text.command = probe_command(c, sequence, "all");
    chart->text.alt = "Distance between the vectors of n and n+1 items over n, a line for each precision";
    keep_chart(chart, n);
    return SNELLEN_OK;
}

/* What rounding does at the i-th length: checkup_rounding_at(), checkup_loss_at(). */
typedef double moved_fn(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                        const snellen_model_info *info);

static snellen_status add_moved(struct checkup *c, struct chart *chart, const struct checkup_collapse *k,
                                const struct checkup_collapse *f32, moved_fn *moved, const char *label,
                                snellen_error *err)
{
    struct chart_line *l;
    TRY(chart_add_line(&c->arena, chart, label, k->n_lengths, false, &l, err));
    for (size_t i = 0; i < k->n_lengths; i++) {
        double y = moved(k, f32, i, c->info);
        if (!isfinite(y)) continue;
        l->x[l->n] = (double)k->lengths[i];
        l->y[l->n++] = y;
    }
    return SNELLEN_OK;
}

static snellen_status by_rounding(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    struct chart *chart = new_chart(charts, n, "collapse-rounding", "One more 1 against the format's own rounding error");
    const struct checkup_collapse *f32 = checkup_find_collapse(&c->plan, "ones", SNELLEN_F32);
    TRY(add_linf(c, chart, f32, "one more 1 (f32)", false, err));
    size_t before = chart->n_lines;
    for (int p = SNELLEN_BF16; p < CHECKUP_PRECISIONS; p++) {
        const struct checkup_collapse *k = checkup_find_collapse(&c->plan, "ones", (snellen_precision)p);
        if (!f32 || !k) continue;
        TRY(add_moved(c, chart, k, f32, checkup_rounding_at, checkup_rounding_name((snellen_precision)p), err));
    }
    chart->text.caption = "Where the line of a format lies above that of one more 1, rounding alone moves the vector further than the "
                          "1 does: the model cannot rely on the difference (ours).";
    chart->text.command = probe_command(c, "ones", "all");
    chart->text.alt = "Distance made by one more 1 beside the distance made by rounding, over n";
    if (chart->n_lines > before) keep_chart(chart, n);
    return SNELLEN_OK;
}

static const char ALL_PARTS[] = "all that is computed";

/* One more item beside what each rounded part does, by `moved`. Logits move no vector. */
static snellen_status parts_moved(struct checkup *c, const char *sequence, snellen_precision precision,
                                  struct chart *chart, moved_fn *moved, snellen_error *err)
{
    const struct checkup_collapse *f32 = checkup_find_collapse(&c->plan, sequence, SNELLEN_F32);
    TRY(add_linf(c, chart, f32, "one more item (f32)", false, err));
    for (unsigned part = 0; part < SNELLEN_ROUND_LOGITS; part = part ? part * 2 : 1) {
        const struct checkup_collapse *k = checkup_find_part(&c->plan, sequence, precision, part);
        const char *label = arena_printf(&c->arena, "rounding %s", part ? checkup_part_name(part) : ALL_PARTS);
        if (k && f32) TRY(add_moved(c, chart, k, f32, moved, label, err));
    }
    return SNELLEN_OK;
}

/* The shift of the prediction by one more item, where each part is rounded. */
static snellen_status parts_shift(struct checkup *c, const char *sequence, snellen_precision precision,
                                  struct chart *chart, snellen_error *err)
{
    const struct checkup_collapse *f32 = checkup_find_collapse(&c->plan, sequence, SNELLEN_F32);
    if (f32) TRY(add_shift(c, chart, f32, "f32", err));
    for (unsigned part = 0; part <= SNELLEN_ROUND_LOGITS; part = part ? part * 2 : 1) {
        const struct checkup_collapse *k = checkup_find_part(&c->plan, sequence, precision, part);
        if (k) TRY(add_shift(c, chart, k, part ? checkup_part_name(part) : ALL_PARTS, err));
    }
    return SNELLEN_OK;
}

/* What rounding moves, and what it does to the difference. */
static const struct {
    const char *id, *title, *title_end, *caption, *alt;
    moved_fn *at;
} MOVED[] = {
    {"collapse-parts", "One more item against rounding a part to", "",
     "What rounding a part alone moves y_n by, beside what one more item does (measure (a), mean over heads). Where a "
     "part's line is the higher one, the model cannot rely on the difference (ours).",
     "Distance made by one more item beside the distance made by rounding each part, over n", checkup_rounding_at},
    {"collapse-parts-loss", "What rounding a part to", " does to the difference",
     "Rounding moves y_n and y*_n partly alike, which loses nothing. Here is what it does to y*_n - y_n (measure (a), mean "
     "over heads): where a part's line is the higher one, the difference is less than its own error (ours).",
     "One more item's difference beside the error of that difference by each rounded part, over n", checkup_loss_at},
};

/* Which part of a precision makes two prompts one: three charts where parts were measured. */
static snellen_status by_part(struct checkup *c, const char *sequence, snellen_precision precision,
                              struct chart *charts, size_t *n, snellen_error *err)
{
    bool any = false;
    for (unsigned part = 1; part <= SNELLEN_ROUND_LOGITS; part *= 2)
        any |= checkup_find_part(&c->plan, sequence, precision, part) != NULL;
    if (!any) return SNELLEN_OK;
    const char *type = checkup_precision_name(precision);
    struct arena *a = &c->arena;
    struct chart *chart;
    for (size_t i = 0; i < COUNT_OF(MOVED); i++, ++*n) {
        chart = new_chart(charts, n, arena_printf(a, "%s-%s", MOVED[i].id, sequence),
                          arena_printf(a, "%s %s%s: %s", MOVED[i].title, type, MOVED[i].title_end, sequence));
        chart->text.caption = MOVED[i].caption;
        chart->text.alt = MOVED[i].alt;
        chart->y_label = "distance, mean over heads";
        TRY(parts_moved(c, sequence, precision, chart, MOVED[i].at, err));
        chart->text.command = c->options.command;
    }
    chart = new_chart(charts, n, arena_printf(a, "collapse-parts-shift-%s", sequence),
                      arena_printf(a, "How far one more item shifts the prediction, a part in %s: %s", type, sequence));
    chart->y_label = "total variation distance of the two predictions";
    chart->has_rule = false;
    chart->text.caption = "Total variation distance, 0 to 1, of the next-token distributions after n and n+1 items. "
                          "Where a line leaves that of f32, rounding decides; logits act here alone (ours).";
    chart->text.alt = "Shift of the prediction by one more item, a line for each rounded part, over n";
    TRY(parts_shift(c, sequence, precision, chart, err));
    chart->text.command = c->options.command;
    ++*n;
    return SNELLEN_OK;
}

static snellen_status by_comma(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    struct chart *chart = new_chart(charts, n, "comma-cure", "A comma every 3 digits");
    TRY(add_linf(c, chart, checkup_find_collapse(&c->plan, "copy", SNELLEN_F32), "ones", true, err));
    TRY(add_linf(c, chart, checkup_find_collapse(&c->plan, "commas", SNELLEN_F32), "with commas", true, err));
    bool both = chart->n_lines == 2;
    TRY(add_paper(&c->arena, chart, "ones (paper, Gemma 7B)", PAPER_COPY, COUNT_OF(PAPER_COPY), err));
    TRY(add_paper(&c->arena, chart, "with commas (paper)", PAPER_COMMAS, COUNT_OF(PAPER_COMMAS), err));
    chart->text.caption = "The prompt asks to copy the number; f32, measure (a), bands over heads. The cure of the paper's Fig 5.";
    chart->text.command = chart_exam_command(c, "collapse");
    chart->text.alt = "Distance over n for ones with and without commas";
    if (both) keep_chart(chart, n);
    return SNELLEN_OK;
}

static snellen_status by_sequence(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    static const char *const names[] = {"ones", "copy", "digits", "commas", "alternate"};
    struct chart *chart = new_chart(charts, n, "collapse-sequences", "Five kinds of sequence, f32");
    for (size_t i = 0; i < COUNT_OF(names); i++)
        TRY(add_linf(c, chart, checkup_find_collapse(&c->plan, names[i], SNELLEN_F32), names[i], false, err));
    chart->text.caption = "Measure (a), mean over heads. digits: random digits that end in 1, against 11. alternate (ours): 1 "
                          "and 0 by turns, the last one twice.";
    chart->text.command = chart_exam_command(c, "collapse");
    chart->text.alt = "Distance over n for five kinds of sequences";
    if (chart->n_lines > 1) keep_chart(chart, n);
    return SNELLEN_OK;
}

/* Measures (b), (c) and the prediction's shift, mean over prompts. */
static snellen_status by_measure(struct checkup *c, const char *sequence, struct chart *charts, size_t *n, snellen_error *err)
{
    static const char *const labels[] = {"(b) L1", "mean |difference|", "(c) relative to mean |v|", "shift of the prediction"};
    const struct checkup_collapse *k = checkup_find_collapse(&c->plan, sequence, SNELLEN_F32);
    if (!k) return SNELLEN_OK;
    const char *name = arena_printf(&c->arena, "measures-%s", sequence);
    struct chart *chart = new_chart(charts, n, name, arena_printf(&c->arena, "The other measures: %s, f32", sequence));
    chart->y_label = "distance of y_n and y*_n";
    chart->has_rule = false;
    for (size_t m = 0; m < COUNT_OF(labels); m++) {
        struct chart_line *l;
        TRY(chart_add_line(&c->arena, chart, labels[m], k->n_lengths, false, &l, err));
        for (; l->n < k->n_lengths; l->n++) {
            l->x[l->n] = (double)k->lengths[l->n];
            for (uint32_t p = 0; p < k->n_prompts; p++) {
                const snellen_collapse_row *row = checkup_collapse_row(k, p, l->n, c->info->n_layers + 1);
                double values[] = {row->l1, row->mean_abs, row->relative, row->shift};
                l->y[l->n] += values[m] / k->n_prompts;
            }
        }
    }
    chart->text.caption = "(b) sum of |differences| (theorem 4.2). (c) mean |difference| / mean |v| (ours). Shift: total variation "
                          "distance of the two next-token distributions, 0 to 1 (ours).";
    chart->text.command = probe_command(c, sequence, "f32");
    chart->text.alt = "Four measures of distance over n";
    ++*n;
    return SNELLEN_OK;
}

/* Every layer: measure (c), since vectors grow from layer to layer and only a relative one can be compared. */
static snellen_status by_layer(struct checkup *c, const char *sequence, snellen_precision precision, struct chart *charts,
                               size_t *n, snellen_error *err)
{
    const struct checkup_collapse *k = checkup_find_collapse(&c->plan, sequence, precision);
    if (!k) return SNELLEN_OK;
    const char *type = checkup_precision_name(precision);
    struct chart *chart = &charts[*n];
    size_t n_layers = (size_t)c->info->n_layers + 1; /* the embeddings of equal tokens are equal: left out */
    *chart = (struct chart){.kind = CHART_HEAT, .x_label = "n, items in the sequence", .y_label = "layer",
                            .log_y = true, .n_x = k->n_lengths, .n_y = n_layers,
                            .value_label = "mean |difference| / mean |v|"};
    chart->text = (struct chart_text){
        .name = arena_printf(&c->arena, "layers-%s-%s", sequence, type), .section = "collapse",
        .title = arena_printf(&c->arena, "Every layer: %s, %s", sequence, type),
        .caption = "Measure (c) after each layer; the top row is after the final norm.",
        .command = probe_command(c, sequence, type), .alt = "Relative distance by layer and n"};
    chart->values = arena_alloc(&c->arena, n_layers * k->n_lengths * sizeof(double));
    chart->x_ticks = arena_alloc(&c->arena, k->n_lengths * sizeof(double));
    chart->y_ticks = arena_alloc(&c->arena, n_layers * sizeof(double));
    FAIL_IF(!chart->values || !chart->x_ticks || !chart->y_ticks, SNELLEN_E_MEMORY, "chart: memory ran out");
    for (size_t i = 0; i < k->n_lengths; i++) {
        chart->x_ticks[i] = (double)k->lengths[i];
        for (size_t layer = 0; layer < n_layers; layer++) {
            chart->y_ticks[layer] = (double)(layer + 1);
            for (uint32_t p = 0; p < k->n_prompts; p++)
                chart->values[layer * k->n_lengths + i] +=
                    checkup_collapse_row(k, p, i, (int64_t)layer + 1)->relative / k->n_prompts;
        }
    }
    ++*n;
    return SNELLEN_OK;
}

snellen_status chart_collapse(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    static const char *const sequences[] = {"ones", "commas", "copy", "digits", "alternate"};
    TRY(by_precision(c, "ones", charts, n, err));
    TRY(by_rounding(c, charts, n, err));
    for (size_t i = 0; i < COUNT_OF(sequences); i++)
        for (int p = 0; p < CHECKUP_PRECISIONS; p++)
            TRY(by_part(c, sequences[i], (snellen_precision)p, charts, n, err));
    TRY(by_comma(c, charts, n, err));
    TRY(by_sequence(c, charts, n, err));
    for (size_t i = 1; i < COUNT_OF(sequences); i++) TRY(by_precision(c, sequences[i], charts, n, err));
    /* In an exam the layers and further measures of two sequences are enough; a probe shows all that it was asked. */
    size_t shown = is_probe(c) ? COUNT_OF(sequences) : 2;
    for (size_t i = 0; i < shown; i++) TRY(by_measure(c, sequences[i], charts, n, err));
    for (size_t i = 0; i < shown; i++)
        for (int p = 0; p < CHECKUP_PRECISIONS; p++)
            if (i == 0 || p == 0 || is_probe(c)) TRY(by_layer(c, sequences[i], (snellen_precision)p, charts, n, err));
    return SNELLEN_OK;
}
