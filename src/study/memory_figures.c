/* Figures of the memory's probes. */
#include "study/memory_figures.h"

#include "report/plot.h"
#include "study/maps.h"

#include <math.h>
#include <string.h>

static snellen_status ran_out(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "figure: memory ran out");
}

/* ---- what the rows look at --------------------------------------------------------------------------------------- */

enum { MOST_LAYERS = 16 };

/* The map of one layer, or the mean of all (-1): mean over the memory's rows; the first block on top. */
struct attention_map {
    const struct memory_drawing *to;
    const snellen_memory_attention *a;
    const int32_t *tokens;
    struct arena arena;
    size_t nx, ny, across, down;    /* so many places share a column, so many blocks a row: their largest */
    double *values;
    const char **cells, **x_labels, **y_labels;
};

static double weight_of(const snellen_memory_attention *a, int64_t layer, int64_t block, int64_t place)
{
    const float *map = a->weights + (layer * a->n_blocks + block) * a->n_rows * a->n_seen;
    double sum = 0;
    for (int64_t row = 0; row < a->n_rows; row++) sum += (double)map[row * a->n_seen + place];
    return sum / (double)a->n_rows;
}

static double mean_weight(const snellen_memory_attention *a, int64_t layer, int64_t block, int64_t place)
{
    double sum = 0;
    if (layer >= 0) return weight_of(a, layer, block, place);
    for (int64_t l = 0; l < a->n_layers; l++) sum += weight_of(a, l, block, place);
    return sum / (double)a->n_layers;
}

static double pooled(const struct attention_map *m, int64_t layer, size_t column, size_t row)
{
    size_t n_blocks = (size_t)m->a->n_blocks, n_seen = (size_t)m->a->n_seen;
    double best = 0;
    for (size_t block = row * m->down; block < MIN((row + 1) * m->down, n_blocks); block++)
        for (size_t place = column * m->across; place < MIN((column + 1) * m->across, n_seen); place++)
            best = fmax(best, mean_weight(m->a, layer, (int64_t)block, (int64_t)place));
    return best;
}

static void fill_values(struct attention_map *m, int64_t layer)
{
    for (size_t j = 0; j < m->ny; j++)
        for (size_t i = 0; i < m->nx; i++) m->values[(m->ny - 1 - j) * m->nx + i] = pooled(m, layer, i, j);
}

/* "M3" the memory before, "7" a place in the block, "N3" rmt's new rows. */
static const char *place_label(struct arena *arena, const snellen_memory_attention *a, int64_t place)
{
    if (place < a->n_rows) return arena_printf(arena, "M%lld", (long long)place);
    place -= a->n_rows;
    return place < a->block ? arena_printf(arena, "%lld", (long long)place)
                            : arena_printf(arena, "N%lld", (long long)(place - a->block));
}

/* A token in a cell: without the mark of the space before it, which would leave no room for the word. */
static const char *cell_text(struct attention_map *m, int32_t token)
{
    static const char space[] = "\xe2\x90\xa3";
    struct strbuf label = {0};
    token_label(m->to->model, token, &label);
    size_t skip = label.n > strlen(space) && !memcmp(label.text, space, strlen(space)) ? strlen(space) : 0;
    const char *text = label.failed ? NULL : arena_text(&m->arena, label.text + skip, label.n - skip);
    strbuf_free(&label);
    return text;
}

static snellen_status fill_labels(struct attention_map *m, snellen_error *err)
{
    const snellen_memory_attention *a = m->a;
    for (size_t i = 0; i < m->nx; i++)
        if (!(m->x_labels[i] = place_label(&m->arena, a, (int64_t)(i * m->across)))) return ran_out(err);
    for (size_t j = 0; j < m->ny; j++) {
        const char **to = &m->y_labels[m->ny - 1 - j];
        *to = arena_printf(&m->arena, "%lld", (long long)a->first_block + (long long)(j * m->down));
        if (!*to) return ran_out(err);
    }
    for (size_t j = 0; m->down * m->across == 1 && j < m->ny; j++)
        for (int64_t i = 0; i < a->block; i++) {
            const char *text = cell_text(m, m->tokens[(a->first_block + (int64_t)j) * a->block + i]);
            if (!text) return ran_out(err);
            m->cells[(m->ny - 1 - j) * m->nx + (size_t)(a->n_rows + i)] = text;
        }
    return SNELLEN_OK;
}

static snellen_status write_layer(struct attention_map *m, int64_t layer, snellen_error *err)
{
    char id[64] = "memory-attention", title[120] = "What the memory's rows look at, mean over layers";
    if (layer >= 0) snprintf(id, sizeof id, "memory-attention-layer%lld", (long long)layer);
    if (layer >= 0) snprintf(title, sizeof title, "What the memory's rows look at in layer %lld", (long long)layer);
    fill_values(m, layer);
    const struct plot_heat heat = {.nx = m->nx, .ny = m->ny, .values = m->values, .x_labels = m->x_labels,
                                   .y_labels = m->y_labels, .cells = m->cells, .log = true, .label = "share"};
    const struct plot_figure f = {
        .id = id, .title = title, .command = m->to->command, .alt = "",
        .caption = "Row: a block that is compressed; column: a row of the memory before (M) or a token of the block. Mean over "
                   "the memory's rows and heads: a row sums to 1. Where a cell stands for several, the largest.",
        .x = {.label = "M: the memory before; the block's tokens"}, .y = {.label = "block"}, .heat = &heat,
    };
    return plot_write_all(&f, m->to->folder, err);
}

static snellen_status draw_maps(struct attention_map *m, snellen_error *err)
{
    const snellen_memory_attention *a = m->a;
    m->across = ((size_t)a->n_seen + MAP_MOST - 1) / MAP_MOST;
    m->nx = ((size_t)a->n_seen + m->across - 1) / m->across;
    m->down = ((size_t)a->n_blocks + MAP_MOST - 1) / MAP_MOST;
    m->ny = ((size_t)a->n_blocks + m->down - 1) / m->down;
    m->values = arena_alloc(&m->arena, m->nx * m->ny * sizeof *m->values);
    m->cells = arena_alloc(&m->arena, m->nx * m->ny * sizeof *m->cells);
    m->x_labels = arena_alloc(&m->arena, m->nx * sizeof *m->x_labels);
    m->y_labels = arena_alloc(&m->arena, m->ny * sizeof *m->y_labels);
    if (!m->values || !m->cells || !m->x_labels || !m->y_labels) return ran_out(err);
    TRY(fill_labels(m, err));
    TRY(write_layer(m, -1, err));
    for (int64_t layer = 0; layer < a->n_layers && a->n_layers <= MOST_LAYERS; layer++) TRY(write_layer(m, layer, err));
    return SNELLEN_OK;
}

snellen_status memory_attention_draw(const struct memory_drawing *d, const snellen_memory_attention *a, const int32_t *tokens,
                                     snellen_error *err)
{
    struct attention_map m = {.to = d, .a = a, .tokens = tokens};
    snellen_status status = draw_maps(&m, err);
    arena_free(&m.arena);
    return status;
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

enum { MOST_LINES = 8 };

static double lost(const snellen_memory_cuts *c, size_t cut, int64_t column)
{
    return c->log_p - c->cut_log_p[cut * (size_t)c->n_columns + (size_t)column];
}

/* The answer's loss over the block, a line a column. */
static snellen_status draw_lines(const struct memory_drawing *d, const snellen_memory_cuts *c, int64_t n_lines,
                                 struct arena *arena, snellen_error *err)
{
    char names[MOST_LINES][32] = {"all layers"};
    struct plot_series series[MOST_LINES];
    double *x = arena_alloc(arena, c->n_cuts * sizeof *x);
    if (!x) return ran_out(err);
    for (size_t i = 0; i < c->n_cuts; i++) x[i] = (double)c->blocks[i];
    for (int64_t column = 0; column < n_lines; column++) {
        double *y = arena_alloc(arena, c->n_cuts * sizeof *y);
        if (!y) return ran_out(err);
        for (size_t i = 0; i < c->n_cuts; i++) y[i] = lost(c, i, column);
        if (column) snprintf(names[column], sizeof names[column], "layer %lld alone", (long long)column - 1);
        series[column] = (struct plot_series){.name = names[column], .n = c->n_cuts, .x = x, .y = y};
    }
    const struct plot_rule rule = {.label = "as without a cut"};
    const struct plot_figure f = {
        .id = "memory-cuts", .title = "What the answer loses when the memory is cut", .command = d->command, .alt = "",
        .caption = "After this block the memory's rows are replaced by those the text began with, and the rest is read.",
        .x = {.label = "block after which the memory is cut"}, .y = {.label = "nats lost from log p(answer)"},
        .series = series, .n_series = (size_t)n_lines, .rules = &rule, .n_rules = 1,
    };
    return plot_write_all(&f, d->folder, err);
}

/* Layers one above the other. */
static snellen_status draw_layers(const struct memory_drawing *d, const snellen_memory_cuts *c, struct arena *arena,
                                  snellen_error *err)
{
    size_t nx = c->n_cuts, ny = (size_t)c->n_columns - 1;
    double *values = arena_alloc(arena, nx * ny * sizeof *values);
    const char **x_labels = arena_alloc(arena, nx * sizeof *x_labels), **y_labels = arena_alloc(arena, ny * sizeof *y_labels);
    if (!values || !x_labels || !y_labels) return ran_out(err);
    for (size_t i = 0; i < nx; i++) {
        if (!(x_labels[i] = arena_printf(arena, "%lld", (long long)c->blocks[i]))) return ran_out(err);
        for (size_t j = 0; j < ny; j++) values[j * nx + i] = lost(c, i, (int64_t)j + 1);
    }
    for (size_t j = 0; j < ny; j++)
        if (!(y_labels[j] = arena_printf(arena, "%zu", j))) return ran_out(err);
    const struct plot_heat heat = {.nx = nx, .ny = ny, .values = values, .x_labels = x_labels, .y_labels = y_labels,
                                   .label = "nats lost"};
    const struct plot_figure f = {
        .id = "memory-cuts-layers", .title = "What the answer loses when one layer's memory is cut", .command = d->command,
        .alt = "", .caption = "After this block this layer's rows are replaced by those the text began with.",
        .x = {.label = "block after which the memory is cut"}, .y = {.label = "layer"}, .heat = &heat,
    };
    return plot_write_all(&f, d->folder, err);
}

snellen_status memory_cuts_draw(const struct memory_drawing *d, const snellen_memory_cuts *c, snellen_error *err)
{
    struct arena arena = {0};
    bool many = c->n_columns > MOST_LINES;
    if (!c->n_cuts) return SNELLEN_OK;
    snellen_status status = draw_lines(d, c, many ? 1 : c->n_columns, &arena, err);
    if (!status && many) status = draw_layers(d, c, &arena, err);
    arena_free(&arena);
    return status;
}

/* ---- survival ---------------------------------------------------------------------------------------------------- */

/* Columns of the points. */
struct survival_lines {
    double *x, *exact, *exact_low, *exact_high, *digits, *log_p, *log_p_low, *log_p_high;
};

static snellen_status fill_lines(const snellen_survival *s, struct survival_lines *l, struct arena *arena, snellen_error *err)
{
    double **const columns[] = {&l->x, &l->exact, &l->exact_low, &l->exact_high, &l->digits, &l->log_p, &l->log_p_low,
                                &l->log_p_high};
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (!(*columns[i] = arena_alloc(arena, s->n_points * sizeof **columns[i]))) return ran_out(err);
    for (size_t i = 0; i < s->n_points; i++) {
        const snellen_survival_point *p = &s->points[i];
        l->x[i] = (double)p->blocks;
        l->exact[i] = (double)p->n_exact / p->n;
        l->exact_low[i] = p->exact_low;
        l->exact_high[i] = p->exact_high;
        l->digits[i] = (double)p->n_right / (double)p->n_tokens;
        l->log_p[i] = p->log_p;
        l->log_p_low[i] = p->log_p_low;
        l->log_p_high[i] = p->log_p_high;
    }
    return SNELLEN_OK;
}

static snellen_status draw_survival(const struct memory_drawing *d, const snellen_survival *s, double guess,
                                    struct arena *arena, snellen_error *err)
{
    struct survival_lines l;
    TRY(fill_lines(s, &l, arena, err));
    const struct plot_series shares[] = {
        {.name = "whole keys, 95 % interval", .n = s->n_points, .x = l.x, .y = l.exact, .low = l.exact_low, .high = l.exact_high},
        {.name = "digits", .n = s->n_points, .x = l.x, .y = l.digits, .dashed = true},
    };
    const struct plot_series likely = {.name = "mean, 95 % interval", .n = s->n_points, .x = l.x, .y = l.log_p, .low = l.log_p_low,
                                       .high = l.log_p_high};
    const struct plot_rule rule = {.at = guess, .label = "a guess"};
    struct plot_figure f = {
        .id = "memory-survival", .title = "How long a pass key survives", .command = d->command, .alt = "",
        .caption = "The key is said at the start of the text and asked for so many blocks later.",
        .x = {.label = "blocks from key to question", .scale = PLOT_LOG}, .y = {.label = "share that is right", .high = 1},
        .series = shares, .n_series = COUNT_OF(shares),
    };
    TRY(plot_write_all(&f, d->folder, err));
    f.id = "memory-survival-log-p";
    f.title = "How likely a pass key is after so many blocks";
    f.y = (struct plot_axis){.label = "log p(key), nats"};
    f.series = &likely;
    f.n_series = 1;
    f.rules = &rule;
    f.n_rules = 1;
    return plot_write_all(&f, d->folder, err);
}

snellen_status memory_survival_draw(const struct memory_drawing *d, const snellen_survival *s, double guess,
                                    snellen_error *err)
{
    struct arena arena = {0};
    snellen_status status = s->n_points ? draw_survival(d, s, guess, &arena, err) : SNELLEN_OK;
    arena_free(&arena);
    return status;
}
