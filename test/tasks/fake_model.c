/* See fake_model.h. The session is as strict as the real one: ranges, capacity, logits gone after truncation. */
#include "test/tasks/fake_model.h"

#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_CONTEXT = 4096 };

struct snellen_session {
    snellen_model *model;
    snellen_session_options options;
    int32_t *tokens;
    int64_t n, lost;          /* tokens read; swa: whether any has left the window */
    bool has_logits;
    float logits[FAKE_VOCAB];
    snellen_progress progress;
};

struct snellen_model fake_model(void)
{
    return (struct snellen_model){.info = {.positions = "rotary", .chat = "chatml", .n_vocab = FAKE_VOCAB,
                                           .n_context = FAKE_CONTEXT}};
}

const snellen_model_info *snellen_model_get_info(const snellen_model *model)
{
    return &model->info;
}

/* ---- logits ------------------------------------------------------------------------------------------------------ */

/* What stands after the last opened turn, if the text has one. */
static const char *after_turn(const int32_t *tokens, size_t n, char *buffer, size_t size)
{
    size_t at = 0;
    for (size_t i = n > 600 ? n - 600 : 0; i < n; i++) {
        if (tokens[i] >= FAKE_PAIRS && tokens[i] < FAKE_END)
            at += (size_t)snprintf(buffer + at, size - at, "%02d", tokens[i] - FAKE_PAIRS);
        else if (at + 2 < size)
            buffer[at++] = (char)tokens[i];
        buffer[at] = 0;
    }
    const char *turn = NULL;
    for (const char *p = buffer; (p = strstr(p, "<a>")); p += 3) turn = p + 3;
    return turn;
}

static void fake_logits(const snellen_model *model, const int32_t *tokens, size_t n, float *logits)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint64_t)(tokens[i] + 1)) * 1099511628211u;
    struct rng rng;
    rng_seed(&rng, hash, 0);
    for (int64_t i = 0; i < FAKE_VOCAB; i++) logits[i] = (float)(2 * rng_normal(&rng));
    int32_t written = model->writes ? model->writes(tokens, n) : -1;
    if (written >= 0) logits[written] = 100;
    char buffer[2048];
    const char *said = model->says ? after_turn(tokens, n, buffer, sizeof buffer) : NULL;
    if (said && !strncmp(model->says, said, strlen(said))) {
        char next = model->says[strlen(said)];
        logits[next ? (unsigned char)next : FAKE_END] = 100;
    }
}

int32_t fake_next(const snellen_model *model, const int32_t *tokens, size_t n)
{
    float logits[FAKE_VOCAB];
    fake_logits(model, tokens, n, logits);
    int32_t best = 0;
    for (int32_t i = 1; i < FAKE_VOCAB; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

double fake_log_p(const snellen_model *model, const int32_t *tokens, size_t n_before, size_t n, bool closed)
{
    float logits[FAKE_VOCAB];
    double sum = 0;
    for (size_t i = n_before; i < n_before + n + closed; i++) {
        double all = 0, no_digit = 0;
        fake_logits(model, tokens, i, logits);
        for (int64_t t = 0; t < FAKE_VOCAB; t++) {
            bool digit = (t >= '0' && t <= '9') || (t >= FAKE_PAIRS && t < FAKE_END);
            all += exp((double)logits[t]);
            if (!digit) no_digit += exp((double)logits[t]);
        }
        sum += i < n_before + n ? (double)logits[tokens[i]] - log(all) : log(no_digit) - log(all);
    }
    return sum;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

snellen_status snellen_tokenize(const snellen_model *model, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err)
{
    (void)flags;
    int32_t *out = malloc((n_bytes + 1) * sizeof *out);
    size_t n = 0;
    FAIL_IF(!out, SNELLEN_E_MEMORY, "memory ran out");
    for (size_t i = 0; i < n_bytes; i++)
        if (model->pairs && i + 1 < n_bytes && is_digit(text[i]) && is_digit(text[i + 1])) {
            out[n++] = FAKE_PAIRS + 10 * (text[i] - '0') + (text[i + 1] - '0');
            i++;
        } else {
            out[n++] = (unsigned char)text[i];
        }
    *ids = out;
    *n_ids = n;
    return SNELLEN_OK;
}

const char *snellen_token_bytes(const snellen_model *model, int32_t id, size_t *n_bytes)
{
    static char bytes[FAKE_VOCAB][4];
    (void)model;
    if (id < 0 || id >= FAKE_VOCAB) return NULL;
    if (id < FAKE_PAIRS)
        bytes[id][0] = (char)id;
    else
        snprintf(bytes[id], sizeof bytes[id], "%02d", id == FAKE_END ? 0 : id - FAKE_PAIRS);
    *n_bytes = id < FAKE_PAIRS ? 1 : id < FAKE_END ? 2 : 0;
    return bytes[id];
}

const char *snellen_token_kind(const snellen_model *model, int32_t id)
{
    (void)model;
    return id == FAKE_END ? "special" : "normal";
}

int32_t snellen_token_bos(const snellen_model *model, bool *wanted)
{
    (void)model;
    *wanted = false;
    return -1;
}

bool snellen_token_ends(const snellen_model *model, int32_t id)
{
    (void)model;
    return id == FAKE_END;
}

snellen_status snellen_chat_format(const snellen_model *model, const snellen_message *messages, size_t n_messages,
                                   bool answer, char **text, snellen_error *err)
{
    struct strbuf b = {0};
    (void)model;
    for (size_t i = 0; i < n_messages; i++) strbuf_printf(&b, "<%c>%s\n", messages[i].role[0], messages[i].content);
    if (answer) strbuf_puts(&b, "<a>");
    return strbuf_take(&b, text, NULL, err);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

snellen_session_options snellen_session_options_default(void)
{
    return (snellen_session_options){.memory = SNELLEN_MEMORY_FULL};
}

snellen_status snellen_session_new(const snellen_model *model, const snellen_session_options *options,
                                   snellen_session **session, snellen_error *err)
{
    snellen_session *s = calloc(1, sizeof *s);
    FAIL_IF(!s, SNELLEN_E_MEMORY, "memory ran out");
    s->model = (snellen_model *)(uintptr_t)model;  /* it counts */
    s->options = *options;
    if (!s->options.n_context) s->options.n_context = FAKE_CONTEXT;
    if (!s->options.chunk) s->options.chunk = 512;
    s->tokens = calloc((size_t)MAX(s->options.n_context, FAKE_CONTEXT), sizeof *s->tokens);
    s->model->n_sessions++;
    *session = s;
    return SNELLEN_OK;
}

void snellen_session_free(snellen_session *s)
{
    if (!s) return;
    s->model->n_sessions--;
    free(s->tokens);
    free(s);
}

void snellen_session_set_progress(snellen_session *s, const snellen_progress *progress)
{
    s->progress = *progress;
}

const float *snellen_session_logits(const snellen_session *s)
{
    return s->has_logits ? s->logits : NULL;
}

static snellen_status may_go_on(snellen_session *s, snellen_error *err)
{
    FAIL_IF(s->progress.step && !s->progress.step(s->progress.user, "tokens", 0, 1), SNELLEN_E_CANCELLED, "stopped");
    return SNELLEN_OK;
}

/* Logits after row i of this call, if they are wanted. */
static void give_logits(const snellen_session *s, const int32_t *tokens, size_t n, const snellen_outputs *out,
                        size_t row, size_t *given)
{
    if (!out || !out->logits || *given == out->n_rows || out->rows[*given] != (int64_t)row) return;
    fake_logits(s->model, tokens, n, out->logits + FAKE_VOCAB * (*given)++);
}

snellen_status snellen_session_feed(snellen_session *s, const int32_t *tokens, size_t n_tokens,
                                    const snellen_outputs *outputs, snellen_error *err)
{
    size_t given = 0;
    FAIL_IF(s->options.memory == SNELLEN_MEMORY_FULL && s->n + (int64_t)n_tokens > s->options.n_context,
            SNELLEN_E_CONTEXT, "too long");
    TRY(may_go_on(s, err));
    for (size_t i = 0; i < n_tokens; i++) {
        s->tokens[s->n++] = tokens[i];
        give_logits(s, s->tokens, (size_t)s->n, outputs, i, &given);
    }
    s->lost = s->options.memory == SNELLEN_MEMORY_FULL ? 0 : MAX(s->lost, s->n - s->options.window);
    s->model->tokens_read += n_tokens;
    s->has_logits = n_tokens || s->has_logits;
    if (n_tokens) fake_logits(s->model, s->tokens, (size_t)s->n, s->logits);
    return SNELLEN_OK;
}

snellen_status snellen_session_truncate(snellen_session *s, int64_t n_tokens, snellen_error *err)
{
    FAIL_IF(n_tokens < 0 || n_tokens > s->n, SNELLEN_E_USAGE, "out of range");
    if (n_tokens == s->n) return SNELLEN_OK;
    if (s->lost > 0 && n_tokens) {
        s->model->n_refused++;
        FAIL(SNELLEN_E_CONTEXT, "left the window");
    }
    s->n = n_tokens;
    if (!n_tokens) s->lost = 0;
    s->has_logits = false;
    return SNELLEN_OK;
}

snellen_status snellen_session_branches(snellen_session *s, const snellen_branch *branches, size_t n_branches,
                                        const snellen_outputs *outputs, snellen_error *err)
{
    size_t row = 0, given = 0;
    FAIL_IF(s->options.memory != SNELLEN_MEMORY_FULL, SNELLEN_E_UNSUPPORTED, "no branches");
    TRY(may_go_on(s, err));
    int32_t *line = malloc((size_t)s->options.n_context * sizeof *line);
    snellen_status status = line ? SNELLEN_OK : SNELLEN_E_MEMORY;
    for (size_t b = 0; b < n_branches && !status; b++) {
        int64_t start = (int64_t)branches[b].n_tokens > s->options.chunk ? s->n : branches[b].keep;
        if (branches[b].keep > s->n || start + (int64_t)branches[b].n_tokens > s->options.n_context) {
            status = error_set(err, SNELLEN_E_CONTEXT, "branch %zu is too long", b);
            break;
        }
        memcpy(line, s->tokens, (size_t)branches[b].keep * sizeof *line);
        for (size_t i = 0; i < branches[b].n_tokens; i++) {
            size_t n = (size_t)branches[b].keep + i;
            line[n] = branches[b].tokens[i];
            if (outputs->nll) outputs->nll[row] = i ? -(float)fake_log_p(s->model, line, n, 1, false) : NAN;
            give_logits(s, line, n + 1, outputs, row++, &given);
        }
    }
    s->model->tokens_read += row;
    free(line);
    return status;
}

snellen_status snellen_session_cost_of(const snellen_model *model, const snellen_session_options *options,
                                       snellen_session_cost *cost, snellen_error *err)
{
    (void)model;
    FAIL_IF(options->n_context < 1, SNELLEN_E_USAGE, "no context");
    *cost = (snellen_session_cost){.cache_bytes = (uint64_t)options->n_context << 20};
    return SNELLEN_OK;
}

/* ---- lanes ------------------------------------------------------------------------------------------------------- */

struct snellen_lanes {
    snellen_model *model;
    int64_t n_lanes, n_context;
    int32_t *tokens;          /* [n_lanes, n_context] */
    int64_t *n;
};

snellen_status snellen_lanes_new(const snellen_model *model, const snellen_session_options *options, int64_t n_lanes,
                                 snellen_lanes **lanes, snellen_error *err)
{
    snellen_lanes *l = calloc(1, sizeof *l);
    FAIL_IF(!l, SNELLEN_E_MEMORY, "memory ran out");
    *l = (snellen_lanes){.model = (snellen_model *)(uintptr_t)model, .n_lanes = n_lanes,
                         .n_context = options->n_context};
    l->tokens = calloc((size_t)(n_lanes * l->n_context), sizeof *l->tokens);
    l->n = calloc((size_t)n_lanes, sizeof *l->n);
    l->model->n_sessions++;
    *lanes = l;
    return SNELLEN_OK;
}

void snellen_lanes_free(snellen_lanes *l)
{
    if (!l) return;
    l->model->n_sessions--;
    free(l->tokens);
    free(l->n);
    free(l);
}

void snellen_lanes_clear(snellen_lanes *l, int64_t lane)
{
    l->n[lane] = 0;
}

snellen_status snellen_lanes_feed(snellen_lanes *l, const snellen_lane_feed *feeds, size_t n, float *logits,
                                  snellen_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const snellen_lane_feed *f = &feeds[i];
        FAIL_IF(f->lane < 0 || f->lane >= l->n_lanes || !f->n_tokens, SNELLEN_E_USAGE, "not a lane");
        FAIL_IF(l->n[f->lane] + (int64_t)f->n_tokens > l->n_context, SNELLEN_E_CONTEXT, "too long");
        int32_t *tokens = l->tokens + f->lane * l->n_context;
        memcpy(tokens + l->n[f->lane], f->tokens, f->n_tokens * sizeof *tokens);
        l->n[f->lane] += (int64_t)f->n_tokens;
        l->model->tokens_read += f->n_tokens;
        fake_logits(l->model, tokens, (size_t)l->n[f->lane], logits + i * FAKE_VOCAB);
    }
    l->model->n_passes++;
    return SNELLEN_OK;
}
