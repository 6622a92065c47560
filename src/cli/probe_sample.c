/* The text of a probe as a sample of a task of long memory, with its answer. */
#include "cli/probe.h"

struct probe_sample probe_sample_default(void)
{
    return (struct probe_sample){.options = snellen_long_options_default()};
}

snellen_long_options probe_sample_options(const struct probe_sample *s, uint64_t seed)
{
    snellen_long_options o = s->options;
    o.pool = (uint32_t)s->pool;
    o.seed = seed;
    return o;
}

snellen_status probe_sample_fits(const struct probe_sample *s, const struct probe_text *t, snellen_error *err)
{
    const snellen_long_options none = snellen_long_options_default(), *o = &s->options;
    bool asked = o->format || s->length || s->index || o->within || s->pool || o->digits || o->depth >= 0 || o->pairs != none.pairs;
    FAIL_IF(asked && !s->task, SNELLEN_E_USAGE, "probe: --format, --length, --sample, --within, --depth, --pairs, --pool and "
            "--digits are of a --task");
    FAIL_IF(s->task && (t->prompt || t->tokens || t->file || t->continuation || t->write), SNELLEN_E_USAGE,
            "probe: --task is a text with its answer: no -p, --tokens, -f, --continuation or -n beside it");
    return SNELLEN_OK;
}

/* A whole sample; the answer is what ends it. */
static snellen_status take(const struct probe_sample *s, struct probe_text *t, snellen_reader *reader, snellen_error *err)
{
    enum { READ_AT_ONCE = 4096, DEFAULT_LENGTH = 1024 };
    int32_t tokens[READ_AT_ONCE];
    uint8_t marks[READ_AT_ONCE];
    size_t n;
    TRY(snellen_reader_start(reader, s->length ? s->length : DEFAULT_LENGTH, (uint64_t)s->index, err));
    do {
        TRY(snellen_reader_next(reader, tokens, marks, READ_AT_ONCE, &n, err));
        for (size_t i = 0; i < n; i++)
            if (!(marks[i] & SNELLEN_MARK_ANSWER)) t->n_prompt = t->n + i + 1;
        TRY(probe_text_append(t, tokens, n, err));
    } while (n);
    FAIL_IF(t->n_prompt == t->n, SNELLEN_E_USAGE, "probe: a sample of %s does not end in an answer; passkey or associative expected",
            s->task);
    return SNELLEN_OK;
}

snellen_status probe_sample_read(const struct probe_sample *s, struct probe_text *t, const snellen_model *model, uint64_t seed,
                                 snellen_error *err)
{
    const snellen_long_options o = probe_sample_options(s, seed);
    snellen_reader *reader;
    TRY(snellen_reader_new(model, s->task, &o, &reader, err));
    snellen_status status = take(s, t, reader, err);
    snellen_reader_free(reader);
    return status;
}
