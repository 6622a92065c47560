/* associative: pairs of a key (a word) and a value (digits), spread evenly over the filler; then a key is asked for
 * (after the remember and rewrite tasks of arXiv 2407.04841).
 *
 *     + A 3  filler  + B 1  filler  === B 1
 *
 *     remember    all keys are different
 *     rewrite     half as many keys as pairs, so that keys repeat, and the last value counts
 *     remember-multi, rewrite-multi    all keys are asked for, in random order (arXiv 2312.04927): more to learn from
 *
 * Keys are words that the filler does not have. */
#include "tasks/long.h"

#include <string.h>

enum associative_format { REMEMBER, REWRITE, REMEMBER_MULTI, REWRITE_MULTI };

struct pairs {
    int64_t n, n_keys;
    int64_t n_asked;              /* questions */
    int64_t next;                 /* the pair, and after the last one the question, that is planned next */
    int64_t n_free;               /* filler of the sample */
    int64_t n_tokens;             /* of a pair, and of a question with its answer */
    int32_t *keys;                /* [n] symbols */
    uint32_t *values;             /* [n] */
    int64_t *asked;               /* [n_asked] the last pair of each key that is asked for */
    int64_t *places;              /* [n] of the pairs in the sample */
};

static void release(struct snellen_reader *r)
{
    struct pairs *p = r->state;
    mem_free(p->keys);
    mem_free(p->values);
    mem_free(p->asked);
    mem_free(p->places);
}

static bool keys_repeat(const struct snellen_reader *r)
{
    return r->format == REWRITE || r->format == REWRITE_MULTI;
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static snellen_status make_room(struct snellen_reader *r, struct pairs *p, snellen_error *err)
{
    int64_t words = (int64_t)r->options.pool - FILLER_WORDS;
    p->n = r->options.pairs;
    p->n_keys = keys_repeat(r) ? MIN(MAX(p->n / 2, 1), words) : p->n;
    FAIL_IF(p->n_keys > words, SNELLEN_E_USAGE, "task associative: %lld pairs need as many different words, the pool "
            "has %lld beside the filler's; fewer pairs, a larger pool (at most %d), or the format rewrite",
            (long long)p->n, (long long)words, SYMBOL_MAX_POOL);
    if (p->keys) return SNELLEN_OK;
    TRY(NEW_ARRAY(&p->keys, p->n, "keys", err));
    TRY(NEW_ARRAY(&p->values, p->n, "values", err));
    TRY(NEW_ARRAY(&p->asked, p->n, "questions", err));
    return NEW_ARRAY(&p->places, p->n, "places", err);
}

/* One question for a key that is drawn, or one for each in random order: for the last pair that has it. */
static void draw_questions(struct snellen_reader *r, struct pairs *p)
{
    struct rng *rng = &r->dice.rng;
    p->n_asked = 0;
    for (int64_t i = 0; i < p->n; i++) {
        bool last = true;
        for (int64_t k = i + 1; k < p->n && last; k++) last = p->keys[k] != p->keys[i];
        if (!last) continue;
        int64_t at = (int64_t)rng_below(rng, (uint64_t)++p->n_asked);   /* Fisher and Yates, from the inside out */
        p->asked[p->n_asked - 1] = p->asked[at];
        p->asked[at] = i;
    }
    if (r->format < REMEMBER_MULTI) p->n_asked = 1;
}

static void draw(struct snellen_reader *r, struct pairs *p)
{
    struct rng *rng = &r->dice.rng;
    int32_t words[SYMBOL_MAX_POOL];
    dice_words(&r->dice, r->options.pool - FILLER_WORDS, (size_t)p->n_keys, words);
    uint64_t n_values = reader_values(r);
    for (int64_t i = 0; i < p->n; i++) {
        uint64_t key = keys_repeat(r) ? rng_below(rng, (uint64_t)p->n_keys) : (uint64_t)i;
        p->keys[i] = words[key] + FILLER_WORDS;
        p->values[i] = (uint32_t)rng_below(rng, n_values);
    }
    draw_questions(r, p);
}

static snellen_status begin(struct snellen_reader *r, snellen_error *err)
{
    struct pairs *p = r->state;
    TRY(make_room(r, p, err));
    draw(r, p);
    int64_t bos = r->bos >= 0;
    p->n_tokens = 2 + r->options.digits;
    p->n_free = r->length - bos - (p->n + p->n_asked) * p->n_tokens;
    p->next = 0;
    if (p->n_free < 0) return reader_too_short(r, r->length - p->n_free, err);
    if (!reader_thing(r, 0, err)) return SNELLEN_E_MEMORY;
    return reader_bos(r, err);
}

/* ---- the plan: pair by pair, then the questions ------------------------------------------------------------------ */

static snellen_status put_pair(struct snellen_reader *r, int64_t i, bool question, snellen_error *err)
{
    const struct pairs *p = r->state;
    unsigned marks = question ? SNELLEN_MARK_QUESTION : 0;
    TRY(reader_symbol(r, question ? SYMBOL_EQUALS : SYMBOL_PLUS, marks, err));
    TRY(reader_symbol(r, p->keys[i], marks, err));
    return reader_number(r, p->values[i], r->options.digits, question ? SNELLEN_MARK_ANSWER : SNELLEN_MARK_SAID, err);
}

/* Pair i lies anywhere in the i-th of n equal shares of the filler. */
static snellen_status plan(struct snellen_reader *r, snellen_error *err)
{
    struct pairs *p = r->state;
    int64_t i = p->next++, bos = r->bos >= 0;
    int64_t question = i - p->n;
    if (question >= p->n_asked) return SNELLEN_OK;
    struct thing *t = reader_thing(r, r->length - (p->n_asked - question) * p->n_tokens, err);
    if (!t) return SNELLEN_E_MEMORY;
    if (question >= 0) {
        t->about = p->places[p->asked[question]];
        return put_pair(r, p->asked[question], true, err);
    }
    int64_t first = p->n_free * i / p->n, end = p->n_free * (i + 1) / p->n;
    t->at = bos + p->n_tokens * i + first + (int64_t)rng_below(&r->dice.rng, (uint64_t)(end - first) + 1);
    p->places[i] = t->at;
    return put_pair(r, i, false, err);
}

static const int64_t lengths[] = {128, 256, 512, 1024, 2048, 4096};

const struct long_task associative_task = {
    .info = {.kind = SNELLEN_TASK_LONG, .name = "associative", .summary = "the value of one key of many",
             .source = "arXiv 2407.04841; over filler: ours", .formats = "remember rewrite remember-multi rewrite-multi",
             .cures = "", .styles = "", .frame = "", .lengths = lengths, .n_lengths = COUNT_OF(lengths), .n_prompts = UINT32_MAX},
    .word_formats = "", .options = "pairs pool vary", .digits = 1, .state_bytes = sizeof(struct pairs), .begin = begin,
    .plan = plan, .release = release,
};
