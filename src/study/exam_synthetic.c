/* Figures 8, 9 and 10 of arXiv 2406.04267, redrawn: attention over random numbers, `prompts` draws a point. */
#include "study/exam.h"
#include "study/synthetic.h"

#include <math.h>
#include <string.h>

enum { MOST_POINTS = 24, MOST_DRAWS = 10000 };
static const double paper_line = 1.0 / 128;
static const int64_t repeat_lengths[] = {5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
static const int64_t softmax_lengths[] = {500, 1000, 2000, 5000, 10000};

/* One figure's lines over its lengths. */
struct sweep {
    struct exam *e;
    const int64_t *lengths;
    size_t n, done, total;        /* points; of all lines of the study */
    double x[MOST_POINTS], *values;
};

typedef snellen_status sweep_point(const void *what, int64_t n, uint64_t seed, double *value, snellen_error *err);

static snellen_status sweep_line(struct sweep *s, sweep_point *point, const void *what, const char *name, struct plot_series *out,
                                 snellen_error *err)
{
    size_t draws = (size_t)s->e->prompts;
    for (size_t i = 0; i < s->n; i++) {
        s->x[i] = (double)s->lengths[i];
        FAIL_IF(!exam_told(s->e, "points", s->done++, s->total), SNELLEN_E_CANCELLED, "stopped");
        for (size_t k = 0; k < draws; k++)
            TRY(point(what, s->lengths[i], (uint64_t)s->e->seed * MOST_DRAWS + k, &s->values[i * draws + k], err));
    }
    return exam_line(s->e, name, s->x, s->n, s->values, draws, true, out, err);
}

static snellen_status linf_point(const void *what, int64_t n, uint64_t seed, double *value, snellen_error *err)
{
    struct synthetic_distance d;
    TRY(synthetic_repeat(what, n, seed, &d, err));
    *value = d.linf;
    return SNELLEN_OK;
}

static snellen_status l1_point(const void *what, int64_t n, uint64_t seed, double *value, snellen_error *err)
{
    struct synthetic_distance d;
    TRY(synthetic_repeat(what, n, seed, &d, err));
    *value = d.l1;
    return SNELLEN_OK;
}

static snellen_status softmax_point(const void *what, int64_t n, uint64_t seed, double *value, snellen_error *err)
{
    (void)what;
    return synthetic_softmax(n, seed, value, err);
}

/* ---- what a line says -------------------------------------------------------------------------------------------- */

/* Where a falling line meets a height, between its points on logarithmic axes; NaN where it does not. */
static double crossing(const struct plot_series *s, double height)
{
    for (size_t i = 1; i < s->n; i++) {
        if (s->y[i - 1] < height || s->y[i] >= height) continue;
        double share = log(s->y[i - 1] / height) / log(s->y[i - 1] / s->y[i]);
        return s->x[i - 1] * pow(s->x[i] / s->x[i - 1], share);
    }
    return (double)NAN;
}

static double last_of(const struct plot_series *s) { return s->y[s->n - 1]; }

/* The value at an x that is one of its points. */
static double value_at(const struct plot_series *s, double x)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->x[i] == x) return s->y[i];
    return (double)NAN;
}

/* ---- the figures ------------------------------------------------------------------------------------------------- */

static snellen_status figure_8(struct sweep *s, snellen_error *err)
{
    static const struct synthetic_layer bare = {.positions = SYNTHETIC_SINUSOIDAL},
                                        normed = {.positions = SYNTHETIC_SINUSOIDAL, .residual = true, .norm = true};
    static const double paper_x[] = {500}, paper_y[] = {1.0 / 128};
    struct plot_series lines[3];
    s->lengths = repeat_lengths;
    s->n = COUNT_OF(repeat_lengths);
    TRY(sweep_line(s, linf_point, &bare, "attention alone", &lines[0], err));
    TRY(sweep_line(s, linf_point, &normed, "residual and layer norm behind", &lines[1], err));
    lines[2] = exam_paper("paper: meets 2^-7 near 500", paper_x, paper_y, 1);
    lines[2].style = PLOT_POINTS;
    const struct plot_rule rule = {.at = paper_line, .label = "2^-7 (paper)"};
    TRY(exam_find(s->e, "repeat-linf", err, "Figure 8: attention alone meets 2^-7 at n = %.0f (paper: near 500); with the residual path "
                  "and a layer norm behind it does at %.0f.", crossing(&lines[0], paper_line), crossing(&lines[1], paper_line)));
    return exam_draw(s->e, (struct plot_figure){
        .id = "repeat-linf", .title = "One attention layer: the last token once more (Fig 8)",
        .caption = "Largest |difference| of the last row's result, q, k and v ~ N(0, 1/64), sinusoidal positions added to q and k. Geometric "
                   "means and 95 % intervals over draws.",
        .x = {.label = "tokens n", .scale = PLOT_LOG}, .y = {.label = "L-infinity distance", .scale = PLOT_LOG}}, lines, 3, &rule, err);
}

static snellen_status figure_9(struct sweep *s, snellen_error *err)
{
    static const double paper_x[] = {500, 10000}, paper_y[] = {0.026, 0.002};
    struct plot_series lines[2];
    s->lengths = softmax_lengths;
    s->n = COUNT_OF(softmax_lengths);
    TRY(sweep_line(s, softmax_point, NULL, "measured", &lines[0], err));
    lines[1] = exam_paper("paper", paper_x, paper_y, 2);
    TRY(exam_find(s->e, "softmax", err, "Figure 9: total variation %.4f at n = 500 (paper: 0.026) and %.4f at 10,000 (0.002).",
                  lines[0].y[0], last_of(&lines[0])));
    return exam_draw(s->e, (struct plot_figure){
        .id = "softmax", .title = "A softmax under noise on its first 200 entries (Fig 9)",
        .caption = "Sum of |p - p*|: x ~ U[0, 1], noise U[0, 0.1]. The longer the row, the less its weights move.",
        .x = {.label = "entries n", .scale = PLOT_LOG}, .y = {.label = "sum of |p - p*|", .scale = PLOT_LOG}}, lines, 2, NULL, err);
}

static snellen_status figure_10(struct sweep *s, snellen_error *err)
{
    static const struct {
        struct synthetic_layer layer;
        const char *name;
    } kinds[] = {{{.positions = SYNTHETIC_SINUSOIDAL, .projected = true}, "sinusoidal"},
                 {{.positions = SYNTHETIC_ROTARY, .projected = true}, "rotary"},
                 {{.positions = SYNTHETIC_ALIBI, .slope = 1.0 / 256, .projected = true}, "ALiBi, slope 1/256"},
                 {{.positions = SYNTHETIC_NONE, .projected = true}, "none"}};
    static const double paper_x[] = {5, 100, 1000}, paper_y[] = {1.0, 0.065, 0.007};
    struct plot_series lines[COUNT_OF(kinds) + 1];
    s->lengths = repeat_lengths;
    s->n = COUNT_OF(repeat_lengths);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) TRY(sweep_line(s, l1_point, &kinds[i].layer, kinds[i].name, &lines[i], err));
    lines[COUNT_OF(kinds)] = exam_paper("paper", paper_x, paper_y, COUNT_OF(paper_x));
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        TRY(exam_find(s->e, "repeat-l1", err, "Figure 10, %s: L1 %.3g at n = 5, %.3g at 100, %.3g at 1,000, %.3g at 10,000 (paper: "
                      "about 1.0, 0.065, 0.007).", kinds[i].name, lines[i].y[0], value_at(&lines[i], 100),
                      value_at(&lines[i], 1000), last_of(&lines[i])));
    return exam_draw(s->e, (struct plot_figure){
        .id = "repeat-l1", .title = "One head by positions: the last token once more (Fig 10)",
        .caption = "Sum of |differences| of the last row's result: x ~ N(0, I), q, k, v = W (x + position) with W ~ N(0, 1/64^2), the size "
                   "that the paper's readings fit.",
        .x = {.label = "tokens n", .scale = PLOT_LOG}, .y = {.label = "L1 distance", .scale = PLOT_LOG}}, lines, COUNT_OF(lines), NULL,
        err);
}

/* The paper gives no slope. */
static snellen_status alibi_slopes(struct sweep *s, snellen_error *err)
{
    static const struct {
        double slope;
        const char *name;
    } slopes[] = {{0.5, "slope 1/2"}, {1.0 / 8, "1/8"}, {1.0 / 32, "1/32"}, {1.0 / 128, "1/128"}, {1.0 / 512, "1/512"}};
    struct plot_series lines[COUNT_OF(slopes)];
    for (size_t i = 0; i < COUNT_OF(slopes); i++) {
        const struct synthetic_layer layer = {.positions = SYNTHETIC_ALIBI, .slope = slopes[i].slope, .projected = true};
        TRY(sweep_line(s, l1_point, &layer, slopes[i].name, &lines[i], err));
    }
    TRY(exam_find(s->e, "repeat-alibi", err, "ALiBi stops the fall where the text is longer than 1/slope: L1 at n = 10,000 is %.3g at "
                  "slope 1/2, %.3g at 1/32, %.3g at 1/512.", last_of(&lines[0]), last_of(&lines[2]), last_of(&lines[4])));
    return exam_draw(s->e, (struct plot_figure){
        .id = "repeat-alibi", .title = "ALiBi by slope: the last token once more",
        .caption = "As figure 10. A head of slope m sees about the last 1/m tokens: what one more does to it does not shrink beyond them.",
        .x = {.label = "tokens n", .scale = PLOT_LOG}, .y = {.label = "L1 distance", .scale = PLOT_LOG}}, lines, COUNT_OF(lines), NULL,
        err);
}

snellen_status exam_synthetic(struct exam *e, snellen_error *err)
{
    struct sweep s = {.e = e, .total = 11 * COUNT_OF(repeat_lengths) + COUNT_OF(softmax_lengths)};
    e->model = NULL;
    TRY(NEW_ARRAY(&s.values, MOST_POINTS * e->prompts, "draws", err));
    snellen_status status = figure_8(&s, err);
    if (!status) status = figure_9(&s, err);
    if (!status) status = figure_10(&s, err);
    if (!status) status = alibi_slopes(&s, err);
    mem_free(s.values);
    return status;
}
