/* Lines as a source of samples. Sample i has a length drawn from (seed, i) and is the next line of that length in the
 * set, so that no line comes twice before all of its length have been seen. A curriculum raises the longest length by
 * one whenever the running mean of the loss is below a threshold. */
#include "study/line_source.h"

#include "tasks/symbols.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double loss_memory = 0.95;   /* share of the running mean that is kept at each step */
enum { PATIENCE = 10 };                   /* least steps between two raises */

struct line_source {
    struct source source;                 /* first: the two share their address */
    struct line_source_options options;
    struct line_spec spec;
    struct symbol_tokens tokens;
    struct line line;
    uint64_t *next_index;                 /* [longest + 1] lines of each length so far */
    uint64_t n_drawn;
    int64_t top;                          /* longest length now */
    double mean_loss;                     /* NAN at first */
    int64_t steps_at_top;
};

static snellen_status check_context(const struct line_source *l, int64_t length, size_t n, snellen_error *err)
{
    FAIL_IF((int64_t)n > l->source.longest, SNELLEN_E_CONTEXT,
            "a line of length %lld has %zu tokens, the model has %lld positions; lower data.lengths, or raise the "
            "model.context of a new model", (long long)length, n, (long long)l->source.longest);
    return SNELLEN_OK;
}

static snellen_status next_line(struct source *source, struct sample *s, snellen_error *err)
{
    struct line_source *l = (struct line_source *)source;
    const struct line_source_options *o = &l->options;
    struct rng rng;
    rng_seed(&rng, o->seed, ++l->n_drawn);
    int64_t length = o->shortest + (int64_t)rng_below(&rng, (uint64_t)(l->top - o->shortest + 1));
    TRY(line_make(&l->spec, length, o->train, o->seed, l->next_index[length]++, &l->line, err));
    s->n = 0;
    if (l->tokens.bos >= 0) TRY(sample_add(s, &l->tokens.bos, 1, 0, err));
    for (size_t i = 0; i < l->line.n; i++) {
        int32_t id;
        TRY(symbol_token(&l->tokens, l->line.symbols[i], &id, err));
        TRY(sample_add(s, &id, 1, line_weight(&l->line, i), err));
    }
    return check_context(l, length, s->n, err);
}

static void learned(struct source *source, double loss)
{
    struct line_source *l = (struct line_source *)source;
    l->mean_loss = isnan(l->mean_loss) ? loss : loss_memory * l->mean_loss + (1 - loss_memory) * loss;
    if (l->top == l->options.longest || ++l->steps_at_top < PATIENCE || l->mean_loss >= l->options.raise_below) return;
    l->top++;
    l->steps_at_top = 0;
}

/* ---- where it stands --------------------------------------------------------------------------------------------------- */

static json_t *position(const struct source *source)
{
    const struct line_source *l = (const struct line_source *)source;
    json_t *lengths = json_array();
    for (int64_t i = 0; lengths && i <= l->options.longest; i++)
        json_array_append_new(lengths, json_integer((json_int_t)l->next_index[i]));
    if (!lengths) return NULL;
    return json_pack("{s:I, s:I, s:o, s:I, s:o}", "drawn", (json_int_t)l->n_drawn, "top", (json_int_t)l->top, "mean_loss",
                     isnan(l->mean_loss) ? json_null() : json_real(l->mean_loss), "steps_at_top",
                     (json_int_t)l->steps_at_top, "lengths", lengths);
}

static snellen_status seek(struct source *source, const json_t *at, snellen_error *err)
{
    struct line_source *l = (struct line_source *)source;
    json_int_t drawn, top, steps;
    json_t *mean, *lengths;
    int failed = json_unpack_ex((json_t *)(uintptr_t)at, NULL, 0, "{s:I, s:I, s:o, s:I, s:o}", "drawn", &drawn, "top", &top,
                                "mean_loss", &mean, "steps_at_top", &steps, "lengths", &lengths);
    FAIL_IF(failed || drawn < 0 || top < l->options.shortest || top > l->options.longest || !json_is_array(lengths) ||
                json_array_size(lengths) != (size_t)l->options.longest + 1,
            SNELLEN_E_FORMAT, "the place in the lines does not fit the task");
    for (int64_t i = 0; i <= l->options.longest; i++)
        l->next_index[i] = (uint64_t)json_integer_value(json_array_get(lengths, (size_t)i));
    l->n_drawn = (uint64_t)drawn;
    l->top = top;
    l->steps_at_top = steps;
    l->mean_loss = json_is_real(mean) ? json_real_value(mean) : (double)NAN;
    return SNELLEN_OK;
}

/* ---- life -------------------------------------------------------------------------------------------------------------- */

static void free_lines(struct source *source)
{
    struct line_source *l = (struct line_source *)source;
    line_free(&l->line);
    mem_free(l->next_index);
    free(l);
}

static snellen_status open_lines(struct line_source *l, const snellen_model *model, snellen_error *err)
{
    const struct line_source_options *o = &l->options;
    TRY(line_spec_set(&l->spec, o->task, &o->line, err));
    FAIL_IF(o->shortest < 1 || o->longest < o->shortest || o->longest > LINE_MAX_LENGTH, SNELLEN_E_USAGE,
            "lengths %lld to %lld: 1 <= shortest <= longest <= %d expected", (long long)o->shortest, (long long)o->longest,
            LINE_MAX_LENGTH);
    FAIL_IF(o->first_longest && (o->first_longest < o->shortest || o->first_longest > o->longest), SNELLEN_E_USAGE,
            "a curriculum from length %lld: %lld to %lld expected", (long long)o->first_longest, (long long)o->shortest,
            (long long)o->longest);
    TRY(line_check(&l->spec, o->shortest, err));
    TRY(line_check(&l->spec, o->longest, err));
    bool words = l->spec.task->words_needed(&l->spec, o->longest) > 0;
    TRY(symbol_tokens_set(&l->tokens, model, words ? l->spec.pool : 0, err));
    TRY(NEW_ARRAY(&l->next_index, o->longest + 1, "lengths", err));
    l->source.longest = MIN((int64_t)LINE_ROOM(o->longest), snellen_model_get_info(model)->n_context);
    /* Found out now and not when the curriculum comes to it. */
    TRY(line_make(&l->spec, o->longest, o->train, o->seed, 0, &l->line, err));
    TRY(check_context(l, o->longest, l->line.n + (l->tokens.bos >= 0), err));
    l->top = o->first_longest ? o->first_longest : o->longest;
    l->mean_loss = (double)NAN;
    return SNELLEN_OK;
}

snellen_status line_source_open(const struct line_source_options *options, const snellen_model *model,
                                struct source **out, snellen_error *err)
{
    struct line_source *l = calloc(1, sizeof *l);
    FAIL_IF(!l, SNELLEN_E_MEMORY, "lines: memory ran out");
    l->options = *options;
    l->source = (struct source){.next = next_line, .learned = options->first_longest ? learned : NULL,
                                .position = position, .seek = seek, .free = free_lines};
    snellen_status status = open_lines(l, model, err);
    if (status) {
        free_lines(&l->source);
        return status;
    }
    *out = &l->source;
    return SNELLEN_OK;
}
