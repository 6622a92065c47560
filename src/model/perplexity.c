/* Perplexity of a stream of tokens in bounded memory: by position, and by distance back to the last occurrence of the
 * same token (how well the model uses what it has seen). */
#include "model/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 4096 };  /* tokens fed to the session at a time */

struct snellen_perplexity {
    snellen_session *session;
    int64_t n_vocab;
    int64_t window;         /* tokens; INT64_MAX = one endless stream */
    bool second_half;       /* the way of llama.cpp: only whole windows count, and of them the second half */
    int32_t bos;            /* put at the start of each window; -1 = the model wants none */
    int64_t at;             /* tokens of this window so far */
    int64_t *last_seen;     /* [n_vocab] position in the window, -1 = not yet */
    float *nll;             /* [PIECE] */
    uint8_t *right;         /* [PIECE] */
    double squares;         /* sum of nll^2 */
    snellen_perplexity_result done, window_sums;   /* finished windows; the one being read */
    double window_squares;
};

snellen_status snellen_perplexity_new(const snellen_model *model, const snellen_perplexity_options *options,
                                      snellen_perplexity **out, snellen_error *err)
{
    snellen_session_options session = options ? options->session : snellen_session_options_default();
    int64_t context = options ? options->context : 0;
    FAIL_IF(context != 0 && context < 4, SNELLEN_E_USAGE, "context is %lld, at least 4 expected", (long long)context);
    if (context && session.memory == SNELLEN_MEMORY_FULL) session.n_context = context;
    snellen_perplexity *p = calloc(1, sizeof *p);
    FAIL_IF(!p, SNELLEN_E_MEMORY, "memory ran out");
    bool wanted = false;
    p->bos = snellen_token_bos(model, &wanted);
    if (!wanted) p->bos = -1;
    p->n_vocab = model->desc.n_vocab;
    p->second_half = context > 0;
    snellen_status status = snellen_session_new(model, &session, &p->session, err);
    if (!status) status = NEW_ARRAY(&p->last_seen, p->n_vocab, "last occurrences", err);
    if (!status) status = NEW_ARRAY(&p->nll, PIECE, "nll", err);
    if (!status) status = NEW_ARRAY(&p->right, PIECE, "right tokens", err);
    if (status) {
        snellen_perplexity_free(p);
        return status;
    }
    p->window = context ? context : snellen_session_capacity(p->session);
    *out = p;
    return SNELLEN_OK;
}

void snellen_perplexity_free(snellen_perplexity *p)
{
    if (!p) return;
    snellen_session_free(p->session);
    mem_free(p->last_seen);
    mem_free(p->nll);
    mem_free(p->right);
    free(p);
}

static int bucket_of(int64_t x)
{
    int bucket = 0;
    while (x > 1 && bucket < SNELLEN_PPL_BUCKETS - 1) {
        x >>= 1;
        bucket++;
    }
    return bucket;
}

/* One token of the window at position `at` with its nll; was it the likeliest? */
static void count_token(snellen_perplexity *p, int32_t token, int64_t at, double nll, bool right)
{
    snellen_perplexity_result *r = &p->window_sums;
    int64_t before = p->last_seen[token];
    p->last_seen[token] = at;
    r->n_tokens++;
    bool scored = !isnan(nll) && (!p->second_half || at > p->window / 2);
    if (!scored) return;
    r->n_scored++;
    r->nll += nll;
    p->window_squares += nll * nll;
    r->position_count[bucket_of(at)]++;
    r->position_nll[bucket_of(at)] += nll;
    r->position_right[bucket_of(at)] += right;
    r->n_right += right;
    if (before < 0) {
        r->first_count++;
        r->first_nll += nll;
    } else {
        r->distance_count[bucket_of(at - before)]++;
        r->distance_nll[bucket_of(at - before)] += nll;
    }
}

/* a += b, sums and counts alike. */
static void add_sums(snellen_perplexity_result *a, const snellen_perplexity_result *b)
{
    a->n_tokens += b->n_tokens;
    a->n_scored += b->n_scored;
    a->n_right += b->n_right;
    a->nll += b->nll;
    a->first_count += b->first_count;
    a->first_nll += b->first_nll;
    for (int i = 0; i < SNELLEN_PPL_BUCKETS; i++) {
        a->position_count[i] += b->position_count[i];
        a->position_nll[i] += b->position_nll[i];
        a->position_right[i] += b->position_right[i];
        a->distance_count[i] += b->distance_count[i];
        a->distance_nll[i] += b->distance_nll[i];
    }
}

static void close_window(snellen_perplexity *p)
{
    add_sums(&p->done, &p->window_sums);
    p->squares += p->window_squares;
    p->done.n_windows++;
    memset(&p->window_sums, 0, sizeof p->window_sums);
    p->window_squares = 0;
    p->at = 0;
}

/* A fresh window. Its first token is `token`; where the model wants the begin token, that stands first: in place of the
 * token when windows are scored by their second half, before it otherwise. */
static snellen_status open_window(snellen_perplexity *p, int32_t token, int32_t *first, snellen_error *err)
{
    TRY(snellen_session_truncate(p->session, 0, err));
    for (int64_t i = 0; i < p->n_vocab; i++) p->last_seen[i] = -1;
    *first = token;
    if (p->bos < 0 || token == p->bos) return SNELLEN_OK;
    if (p->second_half) {
        *first = p->bos;
        return SNELLEN_OK;
    }
    TRY(snellen_session_feed(p->session, &p->bos, 1, NULL, err));
    p->at = 1;
    return SNELLEN_OK;
}

/* At most PIECE tokens that lie in one window. */
static snellen_status feed_piece(snellen_perplexity *p, const int32_t *tokens, int64_t n, float *nll, snellen_error *err)
{
    snellen_outputs out = {.nll = p->nll, .right = p->right};
    TRY(snellen_session_feed(p->session, tokens, (size_t)n, &out, err));
    for (int64_t i = 0; i < n; i++, p->at++) {
        count_token(p, tokens[i], p->at, (double)p->nll[i], p->right[i]);
        if (nll) nll[i] = p->second_half && p->at <= p->window / 2 ? NAN : p->nll[i];
    }
    return SNELLEN_OK;
}

snellen_status snellen_perplexity_feed(snellen_perplexity *p, const int32_t *tokens, size_t n_tokens, float *nll,
                                       snellen_error *err)
{
    for (size_t i = 0; i < n_tokens; i++)
        FAIL_IF(tokens[i] < 0 || tokens[i] >= p->n_vocab, SNELLEN_E_USAGE, "token %zu is %d, 0 to %lld expected", i,
                tokens[i], (long long)p->n_vocab - 1);
    for (size_t i = 0; i < n_tokens;) {
        int32_t first;
        int64_t n = 1;
        if (p->at == 0) {
            TRY(open_window(p, tokens[i], &first, err));
            TRY(feed_piece(p, &first, n, nll ? nll + i : NULL, err));
        } else {
            n = MIN(MIN((int64_t)(n_tokens - i), p->window - p->at), PIECE);
            TRY(feed_piece(p, tokens + i, n, nll ? nll + i : NULL, err));
        }
        i += (size_t)n;
        if (p->at == p->window) close_window(p);
    }
    return SNELLEN_OK;
}

void snellen_perplexity_get(const snellen_perplexity *p, snellen_perplexity_result *result)
{
    *result = p->done;
    double squares = p->squares;
    if (p->second_half) {
        result->n_tokens += p->window_sums.n_tokens;
    } else {
        add_sums(result, &p->window_sums);
        squares += p->window_squares;
        result->n_windows += p->at > 0;
    }
    double n = (double)result->n_scored;
    if (result->n_scored) result->nll /= n;
    double variance = result->n_scored > 1 ? (squares / n - result->nll * result->nll) * n / (n - 1) : 0;
    result->nll_stderr = n > 0 ? sqrt(fmax(variance, 0) / n) : 0;
}

/* ---- as a state ---------------------------------------------------------------------------------------------------------- */

/* The session's state with the sums behind it; a state without them, as a session writes it, begins new sums. */
static void sums_state(snellen_perplexity *p, struct state *state)
{
    int64_t there = 1, length = p->session->memory->length;
    if (!state->saving && !state->status) there = state->in.pos < state->in.size;
    p->at = state->saving ? p->at : length;
    if (p->at >= p->window) p->at = 0;
    if (!there) return;
    state_same(state, p->second_half, "way of scoring");
    state_same(state, p->window, "window of scoring");
    state_number(state, &p->at, 0, MIN(length, p->window - 1), "place in the window");
    state_bytes(state, p->last_seen, (uint64_t)p->n_vocab * sizeof *p->last_seen);
    state_bytes(state, &p->done, sizeof p->done);
    state_bytes(state, &p->window_sums, sizeof p->window_sums);
    state_bytes(state, &p->squares, sizeof p->squares);
    state_bytes(state, &p->window_squares, sizeof p->window_squares);
    for (int64_t i = 0; i < p->n_vocab; i++)
        if (p->last_seen[i] < -1 || p->last_seen[i] >= MAX(length, 1))
            state_fail(state, SNELLEN_E_FORMAT, "a token was last seen where none was read");
}

snellen_status snellen_perplexity_save(snellen_perplexity *p, const char *path, snellen_error *err)
{
    struct state state;
    TRY(state_save_begin(&state, path, err));
    session_state(p->session, &state);
    sampler_state(NULL, &state);
    sums_state(p, &state);
    return state_end(&state);
}

snellen_status snellen_perplexity_restore(snellen_perplexity *p, const char *path, snellen_error *err)
{
    struct state state;
    TRY(state_restore_begin(&state, path, err));
    session_state(p->session, &state);
    sampler_state(NULL, &state);
    for (int64_t i = 0; i < p->n_vocab; i++) p->last_seen[i] = -1;
    sums_state(p, &state);
    return state_end(&state);
}
