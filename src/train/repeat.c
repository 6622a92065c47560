/* repeat: "repeat random segment" (arXiv 2404.09173): a piece of what was read, taken at a random place, comes once more
 * at the end, behind a short prompt. Predicting it takes what earlier blocks held. A source around another source. */
#include "train/data.h"

#include <stdlib.h>
#include <string.h>

struct repeat {
    struct source source;       /* first: the two share their address */
    struct source *text;        /* the source of what is repeated; owned */
    int64_t n;                  /* tokens that are repeated */
    float weight;               /* of their loss */
    uint64_t seed, given;       /* samples so far: the place of each follows from these */
    int32_t *prompt;            /* [n_prompt] */
    size_t n_prompt;
    int32_t bos;                /* not repeated where it begins the sample; -1 = none */
};

/* The segment of sample number `given`: anywhere in it, all of it where it is shorter. */
static void draw_segment(const struct repeat *r, const struct sample *s, size_t *at, size_t *n)
{
    enum { REPEAT_STREAM = 4245 };
    struct rng rng;
    size_t first = s->n && s->tokens[0] == r->bos;
    rng_seed(&rng, r->seed, (uint64_t)REPEAT_STREAM << 32 | r->given);
    *n = MIN((size_t)r->n, s->n - first);
    *at = first + (size_t)rng_below(&rng, s->n - first - *n + 1);
}

static snellen_status repeat_next(struct source *source, struct sample *s, snellen_error *err)
{
    struct repeat *r = (struct repeat *)source;
    size_t at, n;
    snellen_status status = r->text->next(r->text, s, err);
    source->skipped = r->text->skipped;
    TRY(status);
    draw_segment(r, s, &at, &n);
    r->given++;
    TRY(sample_add(s, r->prompt, r->n_prompt, 0, err));
    for (size_t i = 0; i < n; i++) {    /* one by one: the sample's own tokens move when it grows */
        int32_t token = s->tokens[at + i];
        TRY(sample_add(s, &token, 1, r->weight, err));
    }
    return SNELLEN_OK;
}

static json_t *repeat_position(const struct source *source)
{
    const struct repeat *r = (const struct repeat *)source;
    return json_pack("{s:I, s:o}", "repeated", (json_int_t)r->given, "text", r->text->position(r->text));
}

static snellen_status repeat_seek(struct source *source, const json_t *position, snellen_error *err)
{
    struct repeat *r = (struct repeat *)source;
    const json_t *given = json_object_get(position, "repeated");
    FAIL_IF(!json_is_integer(given) || json_integer_value(given) < 0, SNELLEN_E_FORMAT,
            "data.repeat: the checkpoint's place in the data is of another kind");
    TRY(r->text->seek(r->text, json_object_get(position, "text"), err));
    r->given = (uint64_t)json_integer_value(given);
    source->skipped = r->text->skipped;
    return SNELLEN_OK;
}

static void repeat_free(struct source *source)
{
    struct repeat *r = (struct repeat *)source;
    source_free(r->text);
    snellen_free(r->prompt);
    free(r);
}

static snellen_status read_prompt(struct repeat *r, const struct data_options *o, snellen_error *err)
{
    bool wanted = false;
    const char *prompt = o->repeat_prompt ? o->repeat_prompt : "";
    r->bos = o->tokenizer ? tokenizer_bos(o->tokenizer, &wanted) : -1;
    if (!wanted) r->bos = -1;
    if (!*prompt) return SNELLEN_OK;
    FAIL_IF(!o->tokenizer, SNELLEN_E_UNSUPPORTED, "data.repeat_prompt: %s; '' expected", o->no_tokenizer);
    return tokenizer_encode(o->tokenizer, prompt, strlen(prompt), SNELLEN_SPECIAL, &r->prompt, &r->n_prompt, err);
}

static snellen_status repeat_start(struct repeat *r, const struct data_options *options, snellen_error *err)
{
    struct data_options o = *options;
    TRY(read_prompt(r, options, err));
    int64_t n_behind = options->repeat + (int64_t)r->n_prompt;
    FAIL_IF(options->repeat > options->length || options->length - n_behind < MAX(options->repeat, 2), SNELLEN_E_USAGE,
            "data.repeat %lld: twice as many tokens and a prompt of %zu are more than data.length %lld; a longer "
            "data.length or a smaller data.repeat expected", (long long)options->repeat, r->n_prompt,
            (long long)options->length);
    o.length -= n_behind;
    o.held_back = n_behind;
    o.repeat = 0;
    TRY(source_open(&o, &r->text, err));
    r->source.n = r->text->n;
    return SNELLEN_OK;
}

snellen_status repeat_open(const struct data_options *options, struct source **out, snellen_error *err)
{
    struct repeat *r = calloc(1, sizeof *r);
    FAIL_IF(!r, SNELLEN_E_MEMORY, "data.repeat: memory ran out");
    *r = (struct repeat){.source = {repeat_next, repeat_position, repeat_seek, repeat_free, options->length, 0, 0, NULL},
                         .n = options->repeat, .weight = (float)options->repeat_weight, .seed = options->seed};
    snellen_status status = repeat_start(r, options, err);
    if (status) repeat_free(&r->source);
    else *out = &r->source;
    return status;
}
