/* Figures of over-squashing: measured sensitivities against the theorem's paths, and where paths end up. */
#include "study/squash_figures.h"

#include "report/plot.h"

#include <math.h>
#include <string.h>

enum { MOST_PRODUCTS = 9 };

static snellen_status ran_out(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "figure: memory ran out");
}

/* Arrays of a figure, each [n_tokens]. */
struct columns {
    struct arena arena;
    double *x, *low, *high, *bound;
};

static double *column(struct columns *c, int64_t n)
{
    return arena_alloc(&c->arena, (uint64_t)n * sizeof(double));
}

/* ---- measured and bound ------------------------------------------------------------------------------------------ */

static snellen_status fill(const snellen_squash *s, struct columns *c, snellen_error *err)
{
    int64_t n = s->n_tokens, last = n - 1;
    double scale = 0;
    double **const all[] = {&c->x, &c->low, &c->high, &c->bound};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (!(*all[i] = column(c, n))) return ran_out(err);
    const float *product = s->paths ? s->paths + (s->n_layers - 1) * n : NULL;
    if (product && product[last] > 0) scale = s->sensitivity[last] / (double)product[last];
    for (int64_t t = 0; t < n; t++) {
        double error = isnan(s->error[t]) ? 0 : s->error[t];
        c->x[t] = (double)t + 1;
        c->low[t] = fmax(s->sensitivity[t] - 1.96 * error, s->sensitivity[t] / 100);
        c->high[t] = s->sensitivity[t] + 1.96 * error;
        if (product) c->bound[t] = scale * (double)product[t];
    }
    return SNELLEN_OK;
}

static snellen_status draw_measured(const snellen_squash *s, const struct columns *c, const char *folder, const char *command,
                                    snellen_error *err)
{
    char measured[64] = "measured", caption[400];
    size_t n = (size_t)s->n_tokens;
    bool exact = true;
    for (size_t t = 0; t < n; t++) exact &= s->error[t] == 0;
    if (!exact) snprintf(measured, sizeof measured, "measured, 95 %% interval");
    snprintf(caption, sizeof caption, "|| dy_n / dv_i ||: how much of the token at place i reaches the last one's vector.%s",
             s->paths ? " Dashed: the paths of attention that theorem 5.1 bounds it by, scaled to meet it at the last token" : "");
    if (!isnan(s->rank_correlation))
        snprintf(caption + strlen(caption), sizeof caption - strlen(caption), "; rank correlation %.2f.", s->rank_correlation);
    const struct plot_series series[] = {
        {.name = measured, .n = n, .x = c->x, .y = s->sensitivity, .low = exact ? NULL : c->low, .high = exact ? NULL : c->high},
        {.name = "paths of attention, scaled", .n = n, .x = c->x, .y = c->bound, .dashed = true},
    };
    const struct plot_figure f = {
        .id = "squash", .title = "How much of each token reaches the last one", .caption = caption, .alt = "", .command = command,
        .x = {.label = "place i of the token"}, .y = {.label = "|| dy_n / dv_i ||", .scale = PLOT_LOG},
        .series = series, .n_series = s->paths ? 2 : 1,
    };
    return plot_write_all(&f, folder, err);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Layers 1, 2, 4, .. up to all of them, then all of them 2, 4, .. times over: which products, at most MOST_PRODUCTS. */
static size_t choose_products(const snellen_squash *s, int64_t which[MOST_PRODUCTS])
{
    int64_t repeats = s->n_products - s->n_layers;
    size_t n = 0, n_repeated = 0;
    for (int64_t times = 2; times <= repeats + 1; times *= 2) n_repeated++;
    n_repeated = MIN(n_repeated, 3);
    for (int64_t layers = 1; layers < s->n_layers && n + n_repeated + 1 < MOST_PRODUCTS; layers *= 2) which[n++] = layers - 1;
    which[n++] = s->n_layers - 1;
    for (size_t i = 0; i < n_repeated; i++) which[n++] = s->n_layers - 1 + ((int64_t)2 << i) - 1;
    return n;
}

static void name_product(const snellen_squash *s, int64_t product, char name[40])
{
    if (product < s->n_layers)
        snprintf(name, 40, "%lld layer%s", (long long)product + 1, product ? "s" : "");
    else
        snprintf(name, 40, "%lld times all layers", (long long)(product - s->n_layers + 2));
}

static snellen_status draw_products(const snellen_squash *s, struct columns *c, const char *folder, const char *command,
                                    snellen_error *err)
{
    int64_t n = s->n_tokens, which[MOST_PRODUCTS];
    struct plot_series series[MOST_PRODUCTS];
    char names[MOST_PRODUCTS][40];
    size_t n_series = choose_products(s, which);
    for (size_t i = 0; i < n_series; i++) {
        double *y = column(c, n);
        if (!y) return ran_out(err);
        for (int64_t t = 0; t < n; t++) y[t] = (double)s->paths[which[i] * n + t];
        name_product(s, which[i], names[i]);
        series[i] = (struct plot_series){.name = names[i], .n = (size_t)n, .x = c->x, .y = y, .dashed = which[i] >= s->n_layers};
    }
    const struct plot_figure f = {
        .id = "squash-products", .title = "Where the paths of attention come from, over more and more layers",
        .caption = "The last row of the product of (A / beta + I), scaled to sum to 1. With more layers everything moves to the "
                   "first token (proposition 5.2).",
        .alt = "", .command = command, .x = {.label = "place i of the token"},
        .y = {.label = "share of the paths", .scale = PLOT_LOG}, .series = series, .n_series = n_series,
    };
    return plot_write_all(&f, folder, err);
}

snellen_status squash_draw(const snellen_squash *s, const char *folder, const char *command, snellen_error *err)
{
    struct columns c = {0};
    snellen_status status = fill(s, &c, err);
    if (!status) status = draw_measured(s, &c, folder, command, err);
    if (!status && s->paths) status = draw_products(s, &c, folder, command, err);
    arena_free(&c.arena);
    return status;
}
