/* Samples, their order, and batches of them. The two kinds of files are jsonl.c and packed.c, what is repeated repeat.c. */
#include "train/data.h"

#include <stdlib.h>
#include <string.h>

/* ---- samples ----------------------------------------------------------------------------------------------------- */

snellen_status sample_add(struct sample *s, const int32_t *tokens, size_t n, float weight, snellen_error *err)
{
    if (n > s->room - s->n) {
        FAIL_IF(n > SIZE_MAX / 16 - s->n, SNELLEN_E_MEMORY, "sample: more tokens than any machine holds");
        size_t room = MAX(2 * s->room, s->n + n);
        int32_t *more_tokens = realloc(s->tokens, room * sizeof *s->tokens);
        if (more_tokens) s->tokens = more_tokens;
        float *more_weights = realloc(s->weights, room * sizeof *s->weights);
        if (more_weights) s->weights = more_weights;
        FAIL_IF(!more_tokens || !more_weights, SNELLEN_E_MEMORY, "sample of %zu tokens: memory ran out", room);
        s->room = room;
    }
    if (n) memcpy(s->tokens + s->n, tokens, n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) s->weights[s->n + i] = weight;
    s->n += n;
    return SNELLEN_OK;
}

void sample_free(struct sample *s)
{
    free(s->tokens);
    free(s->weights);
    *s = (struct sample){0};
}

void source_free(struct source *source)
{
    if (source) source->free(source);
}

snellen_status source_open(const struct data_options *options, struct source **out, snellen_error *err)
{
    FAIL_IF(options->length < 2, SNELLEN_E_USAGE, "data.length is %lld, at least 2 expected",
            (long long)options->length);
    FAIL_IF(options->length > options->n_context, SNELLEN_E_CONTEXT,
            "data.length is %lld: the model has %lld positions; a smaller data.length expected",
            (long long)options->length, (long long)options->n_context);
    if (options->repeat > 0) return repeat_open(options, out, err);
    return options->jsonl ? jsonl_open(options, out, err) : packed_open(options, out, err);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

void data_batch_free(struct data_batch *b)
{
    for (int64_t i = 0; i < b->room; i++) sample_free(&b->samples[i]);
    mem_free(b->samples);
    mem_free(b->tokens);
    mem_free(b->weights);
    *b = (struct data_batch){0};
}

static snellen_status make_room(struct data_batch *b, uint64_t n, snellen_error *err)
{
    if (n <= b->tokens_room) return SNELLEN_OK;
    mem_free(b->tokens);
    mem_free(b->weights);
    b->tokens = NULL;
    b->weights = NULL;
    b->tokens_room = 0;
    TRY(NEW_ARRAY(&b->tokens, n, "tokens of a batch", err));
    TRY(NEW_ARRAY(&b->weights, n, "weights of a batch", err));
    b->tokens_room = n;
    return SNELLEN_OK;
}

static void lay_out(struct data_batch *b)
{
    b->n_real = 0;
    b->weight = 0;
    for (int64_t i = 0; i < b->n_seqs; i++) {
        const struct sample *s = &b->samples[i];
        int32_t *tokens = b->tokens + i * b->n_tokens;
        float *weights = b->weights + i * b->n_tokens;
        for (size_t t = 0; t < (size_t)b->n_tokens; t++) {
            tokens[t] = t < s->n ? s->tokens[t] : 0;
            weights[t] = t > 0 && t < s->n ? s->weights[t] : 0;
            b->weight += (double)weights[t];
        }
        b->n_real += s->n;
    }
}

/* The longest first: what is computed together is then of about the same length. Equal ones keep their order. */
static void sort_by_length(struct data_batch *b)
{
    for (int64_t i = 1; i < b->n_seqs; i++) {
        struct sample s = b->samples[i];
        int64_t at = i;
        for (; at > 0 && b->samples[at - 1].n < s.n; at--) b->samples[at] = b->samples[at - 1];
        b->samples[at] = s;
    }
}

/* Samples that are not kept change places with those that are: their memory serves the next batch. */
void data_batch_keep(struct data_batch *b, const bool *keep)
{
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_seqs; i++) {
        if (!keep[i]) continue;
        struct sample kept = b->samples[i];
        b->samples[i] = b->samples[n];
        b->samples[n++] = kept;
    }
    b->n_seqs = n;
    b->n_tokens = n ? (int64_t)b->samples[0].n : 0;
    lay_out(b);
}

snellen_status data_batch_fill(struct data_batch *b, struct source *source, int64_t n_seqs, snellen_error *err)
{
    if (n_seqs > b->room) {
        data_batch_free(b);
        TRY(NEW_ARRAY(&b->samples, n_seqs, "samples of a batch", err));
        b->room = n_seqs;
    }
    b->n_seqs = n_seqs;
    b->n_tokens = 0;
    for (int64_t i = 0; i < n_seqs; i++) {
        TRY(source->next(source, &b->samples[i], err));
        b->n_tokens = MAX(b->n_tokens, (int64_t)b->samples[i].n);
    }
    uint64_t n;
    FAIL_IF(!size_mul((uint64_t)n_seqs, (uint64_t)b->n_tokens, &n), SNELLEN_E_MEMORY,
            "batch: more tokens than any machine holds");
    TRY(make_room(b, n, err));
    sort_by_length(b);
    lay_out(b);
    return SNELLEN_OK;
}
