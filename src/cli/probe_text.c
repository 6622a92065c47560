/* The text of a probe: a prompt, and a continuation that is given or that the model writes. */
#include "cli/probe.h"

#include <stdlib.h>
#include <string.h>

snellen_status probe_text_append(struct probe_text *t, const int32_t *ids, size_t n, snellen_error *err)
{
    int32_t *grown = realloc(t->ids, (t->n + n + 1) * sizeof *grown);
    FAIL_IF(!grown, SNELLEN_E_MEMORY, "tokens: memory ran out");
    if (n) memcpy(grown + t->n, ids, n * sizeof *grown);
    t->ids = grown;
    t->n += n;
    return SNELLEN_OK;
}

void probe_text_free(struct probe_text *t)
{
    free(t->ids);
    t->ids = NULL;
}

static int32_t likeliest_token(const float *logits, int64_t n_vocab)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* The model's own greedy continuation. */
static snellen_status write_on(struct probe_text *t, const snellen_model *model, const snellen_session_options *options,
                               snellen_error *err)
{
    snellen_session_options o = *options;
    snellen_session *s;
    if (o.memory == SNELLEN_MEMORY_FULL) o.n_context = (int64_t)t->n + t->write;
    TRY(snellen_session_new(model, &o, &s, err));
    snellen_session_set_progress(s, ui_progress());
    snellen_status status = snellen_session_feed(s, t->ids, t->n, NULL, err);
    for (int64_t left = t->write; !status && left > 0; left--) {
        int32_t token = likeliest_token(snellen_session_logits(s), snellen_model_get_info(model)->n_vocab);
        status = probe_text_append(t, &token, 1, err);
        if (!status && left > 1) status = snellen_session_feed(s, &token, 1, NULL, err);
        if (snellen_token_ends(model, token)) break;
    }
    snellen_session_free(s);
    return status;
}

static snellen_status read_file(struct probe_text *t, const snellen_model *model, snellen_error *err)
{
    char *text;
    int32_t *ids;
    size_t n_bytes, n;
    TRY(cli_read_text(t->file, &text, &n_bytes, err));
    snellen_status status = cli_tokenize_prompt(model, text, n_bytes, &ids, &n, err);
    mem_free(text);
    TRY(status);
    status = probe_text_append(t, ids, n, err);
    snellen_free(ids);
    TRY(status);
    FAIL_IF(!n, SNELLEN_E_USAGE, "probe: %s holds no token", t->file);
    return SNELLEN_OK;
}

static snellen_status read_prompt(struct probe_text *t, const snellen_model *model, snellen_error *err)
{
    int32_t *ids;
    size_t n;
    FAIL_IF(t->file && (t->prompt || t->tokens), SNELLEN_E_USAGE, "probe: one prompt is wanted: -p TEXT, --tokens LIST or -f FILE");
    if (t->file) return read_file(t, model, err);
    TRY(probe_prompt(model, t->prompt, t->tokens, &ids, &n, err));
    snellen_status status = probe_text_append(t, ids, n, err);
    mem_free(ids);
    return status;
}

snellen_status probe_text_read(struct probe_text *t, const snellen_model *model, const snellen_session_options *session,
                               snellen_error *err)
{
    FAIL_IF(t->continuation && t->write, SNELLEN_E_USAGE, "probe: --continuation and -n exclude each other");
    TRY(read_prompt(t, model, err));
    t->n_prompt = t->n;
    if (t->write) return write_on(t, model, session, err);
    if (!t->continuation) return SNELLEN_OK;
    int32_t *ids;
    size_t n;
    TRY(snellen_tokenize(model, t->continuation, strlen(t->continuation), SNELLEN_SPECIAL, &ids, &n, err));
    snellen_status status = probe_text_append(t, ids, n, err);
    snellen_free(ids);
    TRY(status);
    FAIL_IF(!n, SNELLEN_E_USAGE, "probe: the continuation holds no token");
    return SNELLEN_OK;
}
