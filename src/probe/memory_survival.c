/* How long a written item survives: a pass key, said at the start of a text and asked for 1, 2, 4, .. blocks later. */
#include "probe/probe.h"

#include "model/session.h"
#include "tasks/tasks.h"

#include <math.h>
#include <stdlib.h>

enum { READ_AT_ONCE = 4096, MOST_SAMPLES = 100000, MOST_POINTS = 32 };

/* A result with what it owns. */
struct owned_survival {
    snellen_survival result;      /* first: the two share their address */
    snellen_survival_point points[MOST_POINTS];
};

struct surviving {
    snellen_session *session;
    snellen_reader *reader;
    const snellen_survival_options *options;
    struct owned_survival *owned;
    double *log_p;                /* [n_samples] of the keys of a point */
    struct reading_progress progress;
    int64_t n_taken;              /* tokens of the sample so far */
    int64_t said, asked;          /* places of the key's last token and of the answer's first */
    int32_t tokens[READ_AT_ONCE];
    uint8_t marks[READ_AT_ONCE];
};

snellen_survival_options snellen_survival_options_default(void)
{
    return (snellen_survival_options){.task = snellen_long_options_default(), .most_blocks = 64, .n_samples = 20,
                                      .session = snellen_session_options_default()};
}

/* ---- one key ----------------------------------------------------------------------------------------------------- */

static snellen_status read_tokens(struct surviving *v, size_t from, size_t to, snellen_error *err)
{
    if (from < to) TRY(snellen_session_feed(v->session, v->tokens + from, to - from, NULL, err));
    v->progress.done += to - from;
    return SNELLEN_OK;
}

/* A piece of the text; answers are read token by token. */
static snellen_status take_piece(struct surviving *v, size_t n, struct answer_score *score, snellen_error *err)
{
    size_t unread = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t place = v->n_taken + (int64_t)i;
        if (v->marks[i] & SNELLEN_MARK_SAID) v->said = place;
        if (!(v->marks[i] & SNELLEN_MARK_ANSWER)) continue;
        if (!score->n) v->asked = place;
        TRY(read_tokens(v, unread, i, err));
        TRY(answer_token(v->session, v->tokens[i], score, err));
        v->progress.done++;
        unread = i + 1;
    }
    v->n_taken += (int64_t)n;
    return read_tokens(v, unread, n, err);
}

static snellen_status one_key(struct surviving *v, int64_t length, uint64_t index, struct answer_score *score,
                              snellen_error *err)
{
    size_t n;
    *score = (struct answer_score){0};
    v->n_taken = 0;
    TRY(snellen_session_truncate(v->session, 0, err));
    TRY(snellen_reader_start(v->reader, length, index, err));
    do {
        TRY(snellen_reader_next(v->reader, v->tokens, v->marks, READ_AT_ONCE, &n, err));
        TRY(take_piece(v, n, score, err));
    } while (n);
    return SNELLEN_OK;
}

/* ---- one number of blocks ---------------------------------------------------------------------------------------- */

static void close_point(struct surviving *v, snellen_survival_point *point)
{
    if (!point->n) return;
    wilson_interval(point->n_exact, point->n, &point->exact_low, &point->exact_high);
    mean_interval(v->log_p, point->n, &point->log_p, &point->log_p_low, &point->log_p_high);
    point->log_p_high = fmin(point->log_p_high, 0);
    v->owned->result.n_points++;
}

static snellen_status one_point(struct surviving *v, snellen_survival_point *point, snellen_error *err)
{
    snellen_status status = SNELLEN_OK;
    int64_t block = v->session->options.block;
    while (point->n < v->options->n_samples && !status) {
        struct answer_score score;
        status = one_key(v, point->length, point->n, &score, err);
        if (status) break;                 /* an unfinished key does not count */
        point->blocks = v->asked / block - v->said / block;
        v->log_p[point->n++] = score.log_p;
        point->n_exact += score.n_right == score.n;
        point->n_tokens += (uint64_t)score.n;
        point->n_right += (uint64_t)score.n_right;
    }
    close_point(v, point);
    return status;
}

/* Texts whose last token ends a block, `blocks` after the first one. Those too short for the task are left out, but not
 * all of them. *n is 0 before, their number after. */
static snellen_status plan_points(struct surviving *v, size_t *n, snellen_error *err)
{
    int64_t block = v->session->options.block, most = v->options->most_blocks;
    FAIL_IF(most < 1 || most > SNELLEN_LONG_MAX / block - 1, SNELLEN_E_USAGE,
            "%lld blocks of %lld tokens from key to question, 1 to %lld blocks expected", (long long)most,
            (long long)block, (long long)SNELLEN_LONG_MAX / block - 1);
    snellen_status status = SNELLEN_OK;
    for (int64_t blocks = 1; blocks <= most; blocks *= 2) {
        int64_t length = (blocks + 1) * block;
        status = snellen_reader_start(v->reader, length, 0, err);
        if (status == SNELLEN_E_USAGE) continue;
        TRY(status);
        v->owned->points[(*n)++].length = length;
        v->progress.total += (uint64_t)length * v->options->n_samples;
    }
    return *n ? SNELLEN_OK : status;
}

static snellen_status survive(struct surviving *v, const snellen_model *model, snellen_error *err)
{
    snellen_long_options task = v->options->task;
    size_t n = 0;
    FAIL_IF(v->options->n_samples < 1 || v->options->n_samples > MOST_SAMPLES, SNELLEN_E_USAGE,
            "samples are %u, 1 to %d expected", v->options->n_samples, MOST_SAMPLES);
    task.depth = 0;
    TRY(memory_session(model, &v->options->session, false, &v->session, err));
    TRY(snellen_reader_new(model, "passkey", &task, &v->reader, err));
    TRY(NEW_ARRAY(&v->owned, 1, "survival", err));
    TRY(NEW_ARRAY(&v->log_p, v->options->n_samples, "survival", err));
    TRY(plan_points(v, &n, err));
    const snellen_progress step = reading_step(&v->progress);
    snellen_session_set_progress(v->session, &step);
    v->owned->result.points = v->owned->points;
    for (size_t i = 0; i < n; i++) TRY(one_point(v, &v->owned->points[i], err));
    return SNELLEN_OK;
}

snellen_status snellen_probe_memory_survival(const snellen_model *model, const snellen_survival_options *options,
                                             const snellen_progress *progress, snellen_survival **result,
                                             snellen_error *err)
{
    const snellen_survival_options defaults = snellen_survival_options_default();
    struct surviving *v;
    *result = NULL;
    TRY(NEW_ARRAY(&v, 1, "survival", err));
    v->options = options ? options : &defaults;
    v->progress.all = progress;
    snellen_status status = survive(v, model, err);
    bool some = !status || (status == SNELLEN_E_CANCELLED && v->owned->result.n_points);
    if (some) *result = &v->owned->result;
    else mem_free(v->owned);
    snellen_session_free(v->session);
    snellen_reader_free(v->reader);
    mem_free(v->log_p);
    mem_free(v);
    return status;
}

void snellen_survival_free(snellen_survival *result)
{
    mem_free(result);
}
