/* Samples of long memory as a source: sample i has a length drawn from (seed, i) and is the i-th of its length. Loss
 * lies on answers, and a little, if asked for, on what is said again right after it was said. */
#include "study/reader_source.h"

#include "study/curriculum.h"

#include <stdlib.h>
#include <string.h>

enum { READ_AT_ONCE = 1024 };

struct reader_source {
    struct source source;           /* first: the two share their address */
    struct reader_source_options options;
    snellen_reader *reader;
    struct curriculum lengths;
    uint64_t n_drawn;
};

static float weight_of(const struct reader_source *r, unsigned marks)
{
    if (marks & SNELLEN_MARK_ANSWER) return 1;
    return marks & SNELLEN_MARK_AGAIN ? (float)r->options.again : 0;
}

static snellen_status next_sample(struct source *source, struct sample *s, snellen_error *err)
{
    struct reader_source *r = (struct reader_source *)source;
    int32_t tokens[READ_AT_ONCE];
    uint8_t marks[READ_AT_ONCE];
    size_t n;
    struct rng rng;
    rng_seed(&rng, r->options.sample.seed, ++r->n_drawn);
    TRY(snellen_reader_start(r->reader, curriculum_draw(&r->lengths, &rng), r->n_drawn - 1, err));
    s->n = 0;
    do {
        TRY(snellen_reader_next(r->reader, tokens, marks, READ_AT_ONCE, &n, err));
        for (size_t i = 0, end; i < n; i = end) {
            for (end = i + 1; end < n && marks[end] == marks[i]; end++) {}
            TRY(sample_add(s, tokens + i, end - i, weight_of(r, marks[i]), err));
        }
    } while (n);
    return SNELLEN_OK;
}

static void learned(struct source *source, double loss)
{
    curriculum_learned(&((struct reader_source *)source)->lengths, loss);
}

static json_t *position(const struct source *source)
{
    const struct reader_source *r = (const struct reader_source *)source;
    json_t *at = json_pack("{s:I}", "drawn", (json_int_t)r->n_drawn);
    if (at) curriculum_put(&r->lengths, at);
    return at;
}

static snellen_status seek(struct source *source, const json_t *at, snellen_error *err)
{
    struct reader_source *r = (struct reader_source *)source;
    json_int_t drawn = json_integer_value(json_object_get(at, "drawn"));
    FAIL_IF(drawn < 0, SNELLEN_E_FORMAT, "the place in the samples is no number");
    TRY(curriculum_take(&r->lengths, at, err));
    r->n_drawn = (uint64_t)drawn;
    return SNELLEN_OK;
}

static void free_samples(struct source *source)
{
    struct reader_source *r = (struct reader_source *)source;
    snellen_reader_free(r->reader);
    free(r);
}

static snellen_status open_samples(struct reader_source *r, const snellen_model *model, snellen_error *err)
{
    const struct reader_source_options *o = &r->options;
    const snellen_model_info *info = snellen_model_get_info(model);
    FAIL_IF(o->longest < o->shortest || o->step < 1, SNELLEN_E_USAGE,
            "%s: lengths %lld to %lld by %lld: shortest <= longest and a step of at least 1 expected", o->task,
            (long long)o->shortest, (long long)o->longest, (long long)o->step);
    FAIL_IF(!strcmp(info->positions, "learned") && o->longest > info->n_context, SNELLEN_E_CONTEXT,
            "%s: samples have up to %lld tokens, the model has %lld positions; lower data.lengths, or raise the "
            "model.context of a new model", o->task, (long long)o->longest, (long long)info->n_context);
    r->lengths = (struct curriculum){.shortest = o->shortest, .longest = o->longest, .step = o->step,
                                     .raise_below = o->raise_below, .share = o->raise_by,
                                     .by_log = o->by_log};
    TRY(curriculum_start(&r->lengths, o->first_longest, err));
    TRY(snellen_reader_new(model, o->task, &o->sample, &r->reader, err));
    TRY(snellen_reader_start(r->reader, o->longest, 0, err));
    r->source.longest = o->longest;
    return snellen_reader_start(r->reader, o->shortest, 0, err);   /* what does not fit is found out now */
}

snellen_status reader_source_open(const struct reader_source_options *options, const snellen_model *model,
                                  struct source **out, snellen_error *err)
{
    struct reader_source *r = calloc(1, sizeof *r);
    FAIL_IF(!r, SNELLEN_E_MEMORY, "samples: memory ran out");
    r->options = *options;
    r->source = (struct source){.next = next_sample, .learned = options->first_longest ? learned : NULL,
                                .position = position, .seek = seek, .free = free_samples};
    snellen_status status = open_samples(r, model, err);
    if (status) free_samples(&r->source);
    else *out = &r->source;
    return status;
}
