/* Lines as a source of samples. Sample i has a length drawn from (seed, i) and is the next line of that length in the
 * set, so that no line comes twice before all of its length have been seen. A curriculum raises the longest length by
 * one whenever the running mean of the loss is below a threshold. Lines of a second kind may be mixed in. */
#include "study/line_source.h"

#include "study/curriculum.h"
#include "tasks/symbols.h"

#include <stdlib.h>
#include <string.h>

/* Lines of one kind. */
struct stream {
    struct line_spec spec;
    struct line_kind kind;
    uint64_t *next_index;                 /* [kind.longest + 1] lines of each length so far */
};

struct line_source {
    struct source source;                 /* first: the two share their address */
    struct line_source_options options;
    struct stream streams[2];             /* main and, where there is one, mixed */
    size_t n_streams;
    struct symbol_tokens tokens;
    struct line line;
    uint64_t n_drawn;
    struct curriculum lengths;            /* of main */
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
    bool mixed = l->n_streams > 1 && rng_uniform(&rng) < o->mixed_share;
    struct stream *stream = &l->streams[mixed];
    const struct line_kind *kind = &stream->kind;
    int64_t length = mixed ? kind->shortest + (int64_t)rng_below(&rng, (uint64_t)(kind->longest - kind->shortest + 1))
                           : curriculum_draw(&l->lengths, &rng);
    TRY(line_make(&stream->spec, length, o->train, o->seed, stream->next_index[length]++, &l->line, err));
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
    curriculum_learned(&((struct line_source *)source)->lengths, loss);
}

/* ---- where it stands --------------------------------------------------------------------------------------------------- */

static json_t *position_of_stream(const struct stream *stream)
{
    json_t *lengths = json_array();
    for (int64_t i = 0; lengths && i <= stream->kind.longest; i++)
        json_array_append_new(lengths, json_integer((json_int_t)stream->next_index[i]));
    return lengths;
}

static json_t *position(const struct source *source)
{
    const struct line_source *l = (const struct line_source *)source;
    json_t *streams = json_array();
    for (size_t i = 0; i < l->n_streams; i++) json_array_append_new(streams, position_of_stream(&l->streams[i]));
    json_t *at = json_pack("{s:I, s:o}", "drawn", (json_int_t)l->n_drawn, "streams", streams);
    if (at) curriculum_put(&l->lengths, at);
    return at;
}

static snellen_status seek_stream(struct stream *stream, const json_t *lengths, snellen_error *err)
{
    FAIL_IF(!json_is_array(lengths) || json_array_size(lengths) != (size_t)stream->kind.longest + 1, SNELLEN_E_FORMAT,
            "the place in the lines does not fit the lengths");
    for (int64_t i = 0; i <= stream->kind.longest; i++)
        stream->next_index[i] = (uint64_t)json_integer_value(json_array_get(lengths, (size_t)i));
    return SNELLEN_OK;
}

static snellen_status seek(struct source *source, const json_t *at, snellen_error *err)
{
    struct line_source *l = (struct line_source *)source;
    json_int_t drawn;
    json_t *streams;
    int failed = json_unpack_ex((json_t *)(uintptr_t)at, NULL, 0, "{s:I, s:o}", "drawn", &drawn, "streams", &streams);
    FAIL_IF(failed || drawn < 0 || !json_is_array(streams) || json_array_size(streams) != l->n_streams,
            SNELLEN_E_FORMAT, "the place in the lines does not fit the task");
    TRY(curriculum_take(&l->lengths, at, err));
    for (size_t i = 0; i < l->n_streams; i++) TRY(seek_stream(&l->streams[i], json_array_get(streams, i), err));
    l->n_drawn = (uint64_t)drawn;
    return SNELLEN_OK;
}

/* ---- life -------------------------------------------------------------------------------------------------------------- */

static void free_lines(struct source *source)
{
    struct line_source *l = (struct line_source *)source;
    line_free(&l->line);
    for (size_t i = 0; i < l->n_streams; i++) mem_free(l->streams[i].next_index);
    free(l);
}

static snellen_status open_stream(struct line_source *l, const struct line_kind *kind, snellen_error *err)
{
    struct stream *stream = &l->streams[l->n_streams++];
    snellen_line_options line = l->options.line;
    line.format = kind->format;
    if (kind != &l->options.main) line.spacing = line.cycle = 0;   /* of the main lines' anchors */
    stream->kind = *kind;
    TRY(line_spec_set(&stream->spec, kind->task, &line, err));
    FAIL_IF(kind->shortest < 1 || kind->longest < kind->shortest || kind->longest > LINE_MAX_LENGTH, SNELLEN_E_USAGE,
            "%s: lengths %lld to %lld: 1 <= shortest <= longest <= %d expected", kind->task, (long long)kind->shortest,
            (long long)kind->longest, LINE_MAX_LENGTH);
    TRY(line_check(&stream->spec, kind->shortest, err));
    TRY(line_check(&stream->spec, kind->longest, err));
    return NEW_ARRAY(&stream->next_index, kind->longest + 1, "lengths", err);
}

/* Its longest line fits the model: found out now and not when the curriculum comes to it. */
static snellen_status check_longest(struct line_source *l, struct stream *stream, snellen_error *err)
{
    const struct line_source_options *o = &l->options;
    TRY(line_make(&stream->spec, stream->kind.longest, o->train, o->seed, 0, &l->line, err));
    return check_context(l, stream->kind.longest, l->line.n + (l->tokens.bos >= 0), err);
}

static snellen_status open_lines(struct line_source *l, const snellen_model *model, snellen_error *err)
{
    const struct line_source_options *o = &l->options;
    bool words = false;
    int64_t longest = 0;
    TRY(open_stream(l, &o->main, err));
    if (o->mixed.task) TRY(open_stream(l, &o->mixed, err));
    l->lengths = (struct curriculum){.shortest = o->main.shortest, .longest = o->main.longest, .step = 1,
                                     .raise_below = o->raise_below, .share = o->raise_by,
                                     .by_log = o->by_log};
    TRY(curriculum_start(&l->lengths, o->first_longest, err));
    for (size_t i = 0; i < l->n_streams; i++) {
        const struct stream *stream = &l->streams[i];
        words |= stream->spec.task->words_needed(&stream->spec, stream->kind.longest) > 0;
        longest = MAX(longest, stream->kind.longest);
    }
    TRY(symbol_tokens_set(&l->tokens, model, words ? o->line.pool : 0, err));
    l->source.longest = MIN((int64_t)LINE_ROOM(longest), snellen_model_get_info(model)->n_context);
    for (size_t i = 0; i < l->n_streams; i++) TRY(check_longest(l, &l->streams[i], err));
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
