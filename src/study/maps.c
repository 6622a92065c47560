/* Maps of tokens against tokens as figures: labels from the tokenizer, long prompts pooled to what a picture can show. */
#include "study/maps.h"

#include <math.h>
#include <string.h>

void token_label(const snellen_model *model, int32_t token, struct strbuf *out)
{
    size_t n = 0;
    const char *text = snellen_token_bytes(model, token, &n);
    if (!text || !n) {
        strbuf_printf(out, "%d", token);
        return;
    }
    for (size_t i = 0; i < n; i++)
        switch (text[i]) {
        case ' ': strbuf_puts(out, "\xe2\x90\xa3"); break;                /* open box */
        case '\n': strbuf_puts(out, "\xe2\x8f\x8e"); break;               /* return symbol */
        case '\0': strbuf_puts(out, "\xef\xbf\xbd"); break;
        default: strbuf_put(out, text + i, 1);
        }
}

/* Labels of every `step`-th token. */
static snellen_status labels_of(struct arena *arena, const snellen_model *model, const int32_t *tokens, size_t n,
                                size_t step, bool upwards, const char *const **labels, snellen_error *err)
{
    size_t n_labels = (n + step - 1) / step;
    const char **list = arena_alloc(arena, n_labels * sizeof *list);
    FAIL_IF(!list, SNELLEN_E_MEMORY, "figure: memory ran out");
    for (size_t i = 0; i < n_labels; i++) {
        struct strbuf label = {0};
        token_label(model, tokens[i * step], &label);
        const char **to = &list[upwards ? n_labels - 1 - i : i];
        *to = label.failed ? NULL : arena_text(arena, label.text, label.n);
        strbuf_free(&label);
        FAIL_IF(!*to, SNELLEN_E_MEMORY, "figure: memory ran out");
    }
    *labels = list;
    return SNELLEN_OK;
}

/* The largest value of a cell, NaN where there is none. */
static double pooled(const struct token_map *map, size_t row0, size_t rows, size_t column0, size_t columns)
{
    double best = NAN;
    for (size_t i = row0; i < MIN(row0 + rows, map->n_rows); i++)
        for (size_t j = column0; j < MIN(column0 + columns, map->n_columns); j++) {
            double value = (double)map->values[i * map->n_columns + j];
            if (isnan(best) || value > best) best = value;
        }
    return best;
}

static snellen_status draw(struct arena *arena, const snellen_model *model, const struct token_map *map,
                           const char *folder, snellen_error *err)
{
    size_t down = (map->n_rows + MAP_MOST - 1) / MAP_MOST, across = (map->n_columns + MAP_MOST - 1) / MAP_MOST;
    struct plot_heat heat = {.nx = (map->n_columns + across - 1) / across, .ny = (map->n_rows + down - 1) / down,
                             .log = map->log, .label = map->value_label};
    double *values = arena_alloc(arena, heat.nx * heat.ny * sizeof *values);
    FAIL_IF(!values, SNELLEN_E_MEMORY, "figure: memory ran out");
    for (size_t i = 0; i < heat.ny; i++)
        for (size_t j = 0; j < heat.nx; j++)
            values[(heat.ny - 1 - i) * heat.nx + j] = pooled(map, i * down, down, j * across, across);
    heat.values = values;
    TRY(labels_of(arena, model, map->column_tokens, map->n_columns, across, false, &heat.x_labels, err));
    TRY(labels_of(arena, model, map->row_tokens, map->n_rows, down, true, &heat.y_labels, err));
    struct plot_figure figure = {.id = map->id, .title = map->title, .caption = map->caption, .alt = "",
                                 .command = map->command, .x = {.label = map->x_label}, .y = {.label = map->y_label},
                                 .heat = &heat};
    return plot_write_all(&figure, folder, err);
}

snellen_status token_map_write(const snellen_model *model, const struct token_map *map, const char *folder,
                               snellen_error *err)
{
    struct arena arena = {0};
    FAIL_IF(!map->n_rows || !map->n_columns, SNELLEN_E_USAGE, "figure %s: a map of no tokens", map->id);
    snellen_status status = draw(&arena, model, map, folder, err);
    arena_free(&arena);
    return status;
}
