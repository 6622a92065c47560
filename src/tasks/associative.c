/* associative: pairs of a key (a word) and a value (digits), spread evenly over the filler; then a key is asked for
 * (after the remember and rewrite tasks of arXiv 2407.04841).
 *
 *     + A 3  filler  + B 1  filler  === B 1
 *
 *     remember    all keys are different
 *     rewrite     half as many keys as pairs, so that keys repeat, and the last value counts
 *
 * Keys are words that the filler does not have. */
#include "tasks/long.h"

#include <string.h>

enum associative_format { REMEMBER, REWRITE };

struct pairs {
    int64_t n, n_keys;
    int64_t next;                 /* the pair that is planned next */
    int64_t asked;                /* the last pair of the key that is asked for */
    int64_t asked_at;             /* its place */
    int64_t n_free;               /* filler of the sample */
    int64_t n_said, n_asked;      /* tokens of a pair, of the question with its answer */
    int32_t *keys;                /* [n] symbols */
    uint32_t *values;             /* [n] */
};

static void release(struct snellen_reader *r)
{
    struct pairs *p = r->state;
    mem_free(p->keys);
    mem_free(p->values);
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static snellen_status make_room(struct snellen_reader *r, struct pairs *p, snellen_error *err)
{
    int64_t words = (int64_t)r->options.pool - FILLER_WORDS;
    p->n = r->options.pairs;
    p->n_keys = r->format == REWRITE ? MIN(MAX(p->n / 2, 1), words) : p->n;
    FAIL_IF(p->n_keys > words, SNELLEN_E_USAGE, "task associative: %lld pairs need as many different words, the pool "
            "has %lld beside the filler's; fewer pairs, a larger pool (at most %d), or the format rewrite",
            (long long)p->n, (long long)words, SYMBOL_MAX_POOL);
    if (p->keys) return SNELLEN_OK;
    TRY(NEW_ARRAY(&p->keys, p->n, "keys", err));
    return NEW_ARRAY(&p->values, p->n, "values", err);
}

static void draw(struct snellen_reader *r, struct pairs *p)
{
    struct rng *rng = &r->dice.rng;
    int32_t words[SYMBOL_MAX_POOL];
    dice_words(&r->dice, r->options.pool - FILLER_WORDS, (size_t)p->n_keys, words);
    uint64_t n_values = reader_values(r);
    for (int64_t i = 0; i < p->n; i++) {
        uint64_t key = r->format == REWRITE ? rng_below(rng, (uint64_t)p->n_keys) : (uint64_t)i;
        p->keys[i] = words[key] + FILLER_WORDS;
        p->values[i] = (uint32_t)rng_below(rng, n_values);
    }
    p->asked = (int64_t)rng_below(rng, (uint64_t)p->n);
    for (int64_t i = p->asked + 1; i < p->n; i++)
        if (p->keys[i] == p->keys[p->asked]) p->asked = i;
}

static snellen_status begin(struct snellen_reader *r, snellen_error *err)
{
    struct pairs *p = r->state;
    TRY(make_room(r, p, err));
    draw(r, p);
    int64_t bos = r->bos >= 0;
    p->n_said = 2 + r->options.digits;
    p->n_asked = 2 + r->options.digits;
    p->n_free = r->length - bos - p->n * p->n_said - p->n_asked;
    p->next = 0;
    if (p->n_free < 0) return reader_too_short(r, r->length - p->n_free, err);
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    return reader_bos(r, err);
}

/* ---- the plan: pair by pair, then the question ------------------------------------------------------------------- */

static snellen_status put_pair(struct snellen_reader *r, int64_t i, bool question, snellen_error *err)
{
    const struct pairs *p = r->state;
    unsigned said = i == p->asked ? SNELLEN_MARK_SAID : 0;
    TRY(reader_symbol(r, question ? SYMBOL_EQUALS : SYMBOL_PLUS, question ? SNELLEN_MARK_QUESTION : 0, err));
    TRY(reader_symbol(r, p->keys[i], question ? SNELLEN_MARK_QUESTION : 0, err));
    return reader_number(r, p->values[i], r->options.digits, question ? SNELLEN_MARK_ANSWER : said, err);
}

/* Pair i lies anywhere in the i-th of n equal shares of the filler. */
static snellen_status plan(struct snellen_reader *r, snellen_error *err)
{
    struct pairs *p = r->state;
    int64_t i = p->next++, bos = r->bos >= 0;
    if (i > p->n) return SNELLEN_OK;
    struct thing *t = reader_thing(r, r->length - p->n_asked, err);
    if (!t) return SNELLEN_E_MEMORY;
    if (i == p->n) {
        t->about = p->asked_at;
        return put_pair(r, p->asked, true, err);
    }
    int64_t first = p->n_free * i / p->n, end = p->n_free * (i + 1) / p->n;
    t->at = bos + p->n_said * i + first + (int64_t)rng_below(&r->dice.rng, (uint64_t)(end - first) + 1);
    if (i == p->asked) p->asked_at = t->at;
    return put_pair(r, i, false, err);
}

static const int64_t lengths[] = {128, 256, 512, 1024, 2048, 4096};

const struct long_task associative_task = {
    .info = {.kind = SNELLEN_TASK_LONG, .name = "associative", .summary = "the value of one key of many",
             .source = "arXiv 2407.04841; over filler: ours", .formats = "remember rewrite", .cures = "", .styles = "",
             .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX},
    .word_formats = "", .options = "pairs pool vary", .digits = 1, .state_bytes = sizeof(struct pairs), .begin = begin,
    .plan = plan, .release = release,
};
