/* A study of text: the trained model reads stretches of a text as streams, and each stretch between two places of
 * eval.lengths is scored by its own: mean nll, and the share of tokens that the model held for the likeliest. */
#include "study/study.h"
#include "study/training.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 30, PIECE = 512 };

bool is_text_study(const struct settings *s)
{
    return !*s->data.task && *s->eval.text;
}

struct reading {
    const struct study *study;
    const struct settings *settings;
    const snellen_model *model;
    int32_t *tokens;            /* [n] of the text */
    size_t n;
    int64_t longest;            /* tokens of a stretch */
    struct study_cell *cells;   /* [n_lengths] */
};

static snellen_status read_tokens(struct reading *r, snellen_error *err)
{
    const char *path = r->settings->eval.text;
    char *text;
    size_t n;
    TRY(file_read(path, MOST_BYTES, &text, &n, err));
    snellen_status status = snellen_tokenize(r->model, text, n, 0, &r->tokens, &r->n, err);
    mem_free(text);
    TRY(status);
    FAIL_IF(r->n < (size_t)r->longest, SNELLEN_E_USAGE, "%s: %zu tokens, the longest of eval.lengths is %lld", path,
            r->n, (long long)r->longest);
    return SNELLEN_OK;
}

/* Token at place `at` of its stretch; the first one has nothing before it. */
static void count(struct reading *r, int64_t at, float nll, bool right)
{
    size_t i = 0;
    while (at >= r->settings->eval.lengths.v[i]) i++;
    struct study_cell *c = &r->cells[i];
    if (!at) return;
    c->n++;
    c->n_answer += right;
    c->n_exact += right;
    c->nll += (double)nll;
}

static snellen_status read_stretch(struct reading *r, snellen_session *session, int64_t index, snellen_error *err)
{
    int64_t lines = r->settings->eval.lines, spare = (int64_t)r->n - r->longest;
    const int32_t *tokens = r->tokens + (lines > 1 ? spare / (lines - 1) * index : 0);
    const snellen_progress *progress = r->study->progress;
    float nll[PIECE];
    uint8_t right[PIECE];
    const snellen_outputs out = {.nll = nll, .right = right};
    TRY(snellen_session_truncate(session, 0, err));
    for (int64_t at = 0, n; at < r->longest; at += n) {
        n = MIN(r->longest - at, PIECE);
        TRY(snellen_session_feed(session, tokens + at, (size_t)n, &out, err));
        for (int64_t i = 0; i < n; i++) count(r, at + i, nll[i], right[i]);
        uint64_t done = (uint64_t)(index * r->longest + at + n), all = (uint64_t)(lines * r->longest);
        FAIL_IF(progress && progress->step && !progress->step(progress->user, "tokens", done, all), SNELLEN_E_CANCELLED,
                "stopped after %lld tokens of stretch %lld", (long long)(at + n), (long long)index + 1);
    }
    return SNELLEN_OK;
}

static snellen_status read_all(struct reading *r, snellen_error *err)
{
    snellen_session_options options;
    snellen_session *session;
    TRY(evaluation_session(r->settings, r->study->options->n_threads, &options, err));
    if (options.memory == SNELLEN_MEMORY_FULL) options.n_context = r->longest;
    TRY(snellen_session_new(r->model, &options, &session, err));
    snellen_status status = SNELLEN_OK;
    for (int64_t i = 0; i < r->settings->eval.lines && !status; i++) status = read_stretch(r, session, i, err);
    snellen_session_free(session);
    return status;
}

snellen_status study_read_text(const struct study *s, const struct settings *settings, const snellen_model *model,
                               struct study_cell *cells, snellen_error *err)
{
    const struct int_row *lengths = &settings->eval.lengths;
    struct reading r = {.study = s, .settings = settings, .model = model, .cells = cells,
                        .longest = lengths->v[lengths->n - 1]};
    for (size_t i = 0; i < lengths->n; i++) cells[i] = (struct study_cell){.length = lengths->v[i]};
    snellen_status status = read_tokens(&r, err);
    if (!status) status = read_all(&r, err);
    for (size_t i = 0; i < lengths->n && !status; i++)
        if (cells[i].n) {
            cells[i].nll /= (double)cells[i].n;
            cells[i].per_symbol = (double)cells[i].n_answer / (double)cells[i].n;
        }
    snellen_free(r.tokens);
    return status;
}
