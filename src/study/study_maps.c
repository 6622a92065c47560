/* Attribution of trained parity models: maps of one line a variant, and the share of the mass that lies on the two right
 * tokens, the bit and the last parity, over length (arXiv 2408.05506, section 5). Lines are read as they should be
 * written, so that every model answers for the same tokens. */
#include "study/maps.h"
#include "study/study.h"
#include "study/training.h"
#include "tasks/symbols.h"

#include <math.h>
#include <string.h>

enum { LINES_A_LENGTH = 4, MOST_BITS = LINE_MAX_LENGTH };

/* Where the bits and the parities of a line stand, in its tokens. */
struct parity_places {
    int64_t *bits, *outputs;
    size_t n_bits, n_outputs;
};

static bool is_bit(int32_t symbol, bool numeric)
{
    return numeric ? symbol == SYMBOL_A || symbol == SYMBOL_B : symbol == SYMBOL_NUMBER || symbol == SYMBOL_NUMBER + 1;
}

/* Bits stand in the prompt or are given in the output; what is neither given nor an anchor is a parity. */
static void find_places(const struct line *line, bool numeric, int64_t shift, struct parity_places *p)
{
    p->n_bits = p->n_outputs = 0;
    for (size_t i = 0; i < line->n; i++) {
        unsigned marks = line->marks[i];
        bool input = !marks || marks & MARK_GIVEN;
        if (input && is_bit(line->symbols[i], numeric)) p->bits[p->n_bits++] = (int64_t)i + shift;
        else if (!input && !(marks & MARK_ANCHOR)) p->outputs[p->n_outputs++] = (int64_t)i + shift;
    }
}

/* Tokens of a line as the model reads it. */
static snellen_status tokens_of(const struct symbol_tokens *t, const struct line *line, int32_t *ids, size_t *n,
                                snellen_error *err)
{
    *n = 0;
    if (t->bos >= 0) ids[(*n)++] = t->bos;
    for (size_t i = 0; i < line->n; i++) TRY(symbol_token(t, line->symbols[i], &ids[(*n)++], err));
    return SNELLEN_OK;
}

struct map_work {
    struct study *s;
    const struct settings *settings;
    snellen_model *model;
    struct line_spec spec;
    struct symbol_tokens tokens;
    struct line line;
    struct parity_places places;
    int32_t *ids;
    size_t n_ids;
    bool numeric;
};

static snellen_status attribute(struct map_work *w, int64_t length, uint64_t index, snellen_attribution **map,
                                snellen_error *err)
{
    TRY(line_make(&w->spec, length, false, 1, index, &w->line, err));
    TRY(tokens_of(&w->tokens, &w->line, w->ids, &w->n_ids, err));
    find_places(&w->line, w->numeric, w->tokens.bos >= 0, &w->places);
    snellen_attribution_options o = snellen_attribution_options_default();
    o.first_row = w->places.outputs[0] - 1;
    o.n_threads = w->s->options->n_threads;
    return snellen_probe_attribution(w->model, w->ids, w->n_ids, &o, w->s->progress, map, err);
}

/* Mean share over the outputs of some lines; output i rests on bit i and, from the second on, on output i - 1. */
static snellen_status mass_at(struct map_work *w, int64_t length, double *mass, snellen_error *err)
{
    double sum = 0;
    size_t n = 0;
    for (uint64_t index = 0; index < LINES_A_LENGTH; index++) {
        snellen_attribution *map;
        TRY(attribute(w, length, index, &map, err));
        for (size_t i = 0; i < w->places.n_outputs && w->places.n_outputs == w->places.n_bits; i++) {
            const int64_t right[] = {w->places.bits[i], i ? w->places.outputs[i - 1] : w->places.bits[i]};
            double share = snellen_attribution_mass(map, w->places.outputs[i] - 1, right, COUNT_OF(right));
            if (isnan(share)) continue;
            sum += share;
            n++;
        }
        snellen_attribution_free(map);
    }
    *mass = n ? sum / (double)n : (double)NAN;
    return SNELLEN_OK;
}

/* Each column scaled to its maximum, as the paper draws it. */
static snellen_status draw_map(struct map_work *w, const char *variant, snellen_error *err)
{
    snellen_attribution *m;
    TRY(attribute(w, w->s->file.attribution, 0, &m, err));
    float *scaled = arena_alloc(&w->s->arena, (size_t)(m->n_tokens * m->n_rows) * sizeof *scaled);
    for (int64_t i = 0; scaled && i < m->n_rows; i++) {
        float top = 0;
        for (int64_t t = 0; t < m->n_tokens; t++) top = fmaxf(top, m->values[t * m->n_rows + i]);
        for (int64_t t = 0; t < m->n_tokens; t++)
            scaled[t * m->n_rows + i] = top > 0 ? m->values[t * m->n_rows + i] / top : 0;
    }
    struct token_map map = {
        .id = arena_printf(&w->s->arena, "attribution-%s", variant),
        .title = arena_printf(&w->s->arena, "Attribution, %s, %lld bits", variant, (long long)w->s->file.attribution),
        .caption = "Column: an output token; row: what a context token did for it (gradient x input), each column scaled to its "
                   "maximum. Ideal are two diagonals: the bit and the last parity.",
        .command = w->s->options->command ? w->s->options->command : "", .x_label = "output", .y_label = "context",
        .value_label = "share of the column's maximum", .n_rows = (size_t)m->n_tokens, .n_columns = (size_t)m->n_rows,
        .values = scaled, .row_tokens = w->ids, .column_tokens = w->ids + m->first_row + 1};
    snellen_status status = scaled && map.id && map.title ? token_map_write(w->model, &map, w->s->options->folder, err)
                                                          : error_set(err, SNELLEN_E_MEMORY, "figure: memory ran out");
    snellen_attribution_free(m);
    return status;
}

static snellen_status map_run(struct map_work *w, struct study_run *run, bool draw, snellen_error *err)
{
    struct study *s = w->s;
    const struct int_row *lengths = &w->settings->eval.lengths;
    int64_t longest = s->file.attribution;
    for (size_t i = 0; i < lengths->n; i++) longest = MAX(longest, lengths->v[i]);
    w->ids = arena_alloc(&s->arena, LINE_ROOM(longest) * sizeof *w->ids);
    w->places.bits = arena_alloc(&s->arena, 2 * LINE_ROOM(longest) * sizeof *w->places.bits);
    run->mass = arena_alloc(&s->arena, MAX(lengths->n, 1) * sizeof *run->mass);
    FAIL_IF(!w->ids || !w->places.bits || !run->mass, SNELLEN_E_MEMORY, "maps: memory ran out");
    w->places.outputs = w->places.bits + LINE_ROOM(longest);
    TRY(trained_model(w->settings, run->weights, false, &w->model, err));
    bool words = w->spec.task->words_needed(&w->spec, longest) > 0;
    TRY(symbol_tokens_set(&w->tokens, w->model, words ? w->spec.pool : 0, err));
    for (size_t i = 0; i < lengths->n; i++) TRY(mass_at(w, lengths->v[i], &run->mass[i], err));
    return draw ? draw_map(w, s->file.variants[run->variant].name, err) : SNELLEN_OK;
}

snellen_status study_maps(struct study *s, snellen_error *err)
{
    for (size_t r = 0; r < s->n_runs; r++) {
        struct study_run *run = &s->runs[r];
        struct map_work w = {.s = s, .settings = &s->settings[run->variant]};
        const struct settings *settings = w.settings;
        FAIL_IF(strcmp(settings->data.task, "parity"), SNELLEN_E_USAGE, "%s: attribution: the task parity expected, %s found",
                s->file.path, settings->data.task);
        const snellen_line_options o = line_options_of(settings);
        w.numeric = o.format && !strcmp(o.format, "numeric");
        TRY(line_spec_set(&w.spec, settings->data.task, &o, err));
        snellen_status status = map_run(&w, run, run->seed == settings->seeds.v[0], err);
        line_free(&w.line);
        snellen_model_free(w.model);
        TRY(status);
    }
    return SNELLEN_OK;
}
