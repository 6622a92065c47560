/* Filler: what stands between the things of a sample.
 *
 * Symbols: a pattern of FILLER_WORDS words, over and over, as the sentences of the paper are; the sample begins at a
 * place of it that is drawn, and a share of the words (`vary`) is drawn from among them. Words: the paper's sentences,
 * in such a phase that each stretch ends with the end of a sentence; or a text file, from a place that is drawn. */
#include "tasks/long.h"

#include <string.h>

static const char sentences[] =
    " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

enum { STRAW_BYTES = 4096 };

/* ---- a file ---------------------------------------------------------------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The next bytes as tokens: whole words, so that the cut does not show; from the start again behind the end. */
static snellen_status read_straw(struct snellen_reader *r, snellen_error *err)
{
    struct filler *f = &r->filler;
    if (f->haystack_at >= f->haystack.size) f->haystack_at = 0;
    const uint8_t *bytes = f->haystack.data + f->haystack_at;
    uint64_t left = f->haystack.size - f->haystack_at, n = MIN(left, STRAW_BYTES);
    while (n < left && n > 1 && !is_space(bytes[n])) n--;
    if (n < left && n == 1) n = MIN(left, STRAW_BYTES);   /* one endless word */
    mem_free(f->straw);
    f->straw = NULL;
    f->used = f->n_straw = 0;
    TRY(reader_tokenize(r, (const char *)bytes, n, &f->straw, &f->n_straw, err));
    f->haystack_at += n;
    return SNELLEN_OK;
}

static snellen_status put_straw(struct snellen_reader *r, int64_t n, snellen_error *err)
{
    struct filler *f = &r->filler;
    for (; n > 0; n--) {
        for (int tries = 0; f->used == f->n_straw; tries++) {
            FAIL_IF(tries == 2, SNELLEN_E_FORMAT, "%s: no tokens in this text", r->options.haystack);
            TRY(read_straw(r, err));
        }
        TRY(row_put(&r->piece, f->straw[f->used++], 0, err));
    }
    return SNELLEN_OK;
}

/* A place after white space, drawn evenly over the file. */
static void draw_place(struct filler *f)
{
    f->haystack_at = rng_below(&f->rng, f->haystack.size);
    while (f->haystack_at > 0 && !is_space(f->haystack.data[f->haystack_at])) f->haystack_at--;
    f->used = f->n_straw = 0;
}

/* ---- a pattern ------------------------------------------------------------------------------------------------------- */

/* Token `i` of the pattern, or another of its words in its place. */
static int32_t pattern_token(struct snellen_reader *r, int64_t i)
{
    struct filler *f = &r->filler;
    bool other = f->vary > 0 && rng_uniform(&f->rng) < f->vary;
    return f->cycle[other ? rng_below(&f->rng, f->n_cycle) : (uint64_t)(i + f->phase) % f->n_cycle];
}

snellen_status filler_put(struct snellen_reader *r, int64_t n, int64_t left, snellen_error *err)
{
    const struct filler *f = &r->filler;
    if (f->haystack.size) return put_straw(r, n, err);
    int64_t period = (int64_t)f->n_cycle;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = r->words ? f->cycle[(period - (left - i) % period) % period] : pattern_token(r, r->made + i);
        TRY(row_put(&r->piece, id, 0, err));
    }
    return SNELLEN_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

snellen_status filler_open(struct snellen_reader *r, snellen_error *err)
{
    struct filler *f = &r->filler;
    if (r->options.haystack) {
        TRY(file_map_open(&f->haystack, r->options.haystack, err));
        FAIL_IF(!f->haystack.size, SNELLEN_E_FORMAT, "%s: the file is empty, text expected", r->options.haystack);
        return SNELLEN_OK;
    }
    if (r->words) return reader_tokenize(r, sentences, strlen(sentences), &f->cycle, &f->n_cycle, err);
    TRY(NEW_ARRAY(&f->cycle, FILLER_WORDS, "filler", err));
    f->n_cycle = FILLER_WORDS;
    f->vary = r->options.vary;
    for (int32_t i = 0; i < FILLER_WORDS; i++) TRY(symbol_token(&r->tokens, SYMBOL_WORD + i, &f->cycle[i], err));
    return SNELLEN_OK;
}

void filler_start(struct snellen_reader *r)
{
    struct filler *f = &r->filler;
    rng_seed(&f->rng, rng_u64(&r->dice.rng), 0);
    if (f->haystack.size) draw_place(f);
    else f->phase = (int64_t)rng_below(&f->rng, f->n_cycle);
}

void filler_close(struct filler *f)
{
    mem_free(f->cycle);
    mem_free(f->straw);
    file_map_close(&f->haystack);
    *f = (struct filler){0};
}
