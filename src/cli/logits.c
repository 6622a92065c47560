/* logits: what the model makes of given tokens, as numbers in a safetensors file.
 * Memory is bounded: tokens go through in pieces and each piece is written where it belongs. */
#include "cli/cli.h"

#include "format/format.h"

#include <string.h>

enum { PIECE_BYTES = 64 << 20 };   /* of logits and hidden states that are held at once */

struct work {
    const snellen_model_info *info;
    snellen_session *session;
    struct safetensors_writer *writer;
    const int32_t *tokens;
    int64_t n_tokens, piece;   /* piece: tokens fed at a time */
    bool with_hidden;
    float *logits;             /* [piece, n_vocab] */
    float *hidden;             /* [n_layers + 2, piece, d_model] */
};

/* Puts the hidden states of `n` tokens from `at` on: the file has [n_layers + 1, T, d]: the embedding, the layers but
 * the last, and the vectors after the final norm. */
static snellen_status put_hidden(const struct work *w, int64_t at, int64_t n, snellen_error *err)
{
    uint64_t row = (uint64_t)w->info->d_model * sizeof(float);
    for (int64_t l = 0; l <= w->info->n_layers; l++) {
        int64_t from = l < w->info->n_layers ? l : l + 1;
        const float *rows = w->hidden + from * n * w->info->d_model;
        TRY(safetensors_writer_put(w->writer, 1, (uint64_t)(l * w->n_tokens + at) * row, rows, (uint64_t)n * row,
                                   err));
    }
    return SNELLEN_OK;
}

static snellen_status feed_all(struct work *w, snellen_error *err)
{
    uint64_t row = (uint64_t)w->info->n_vocab * sizeof(float);
    ui_step("tokens", 0, (uint64_t)w->n_tokens);   /* the bar's clock starts here */
    for (int64_t at = 0; at < w->n_tokens; at += w->piece) {
        int64_t n = MIN(w->piece, w->n_tokens - at);
        const snellen_outputs outputs = { .logits = w->logits, .hidden = w->hidden };
        TRY(snellen_session_feed(w->session, w->tokens + at, (size_t)n, &outputs, err));
        TRY(safetensors_writer_put(w->writer, 0, (uint64_t)at * row, w->logits, (uint64_t)n * row, err));
        if (w->hidden) TRY(put_hidden(w, at, n, err));
        FAIL_IF(!ui_step("tokens", (uint64_t)(at + n), (uint64_t)w->n_tokens), SNELLEN_E_CANCELLED, "interrupted");
    }
    return SNELLEN_OK;
}

static snellen_status write_logits(struct work *w, const snellen_session_options *options, const char *out,
                                   snellen_error *err)
{
    const snellen_model_info *info = w->info;
    struct safetensors_spec specs[2] = {
        { .name = "logits", .type = "F32", .n_dims = 2, .shape = { w->n_tokens, info->n_vocab } },
        { .name = "hidden", .type = "F32", .n_dims = 3, .shape = { info->n_layers + 1, w->n_tokens, info->d_model } },
    };
    bool with_hidden = w->with_hidden;
    int64_t floats = info->n_vocab + (with_hidden ? (info->n_layers + 2) * info->d_model : 0);
    int64_t chunk = options->chunk ? options->chunk : 512;
    w->piece = MAX(1, MIN(MIN(chunk, w->n_tokens), PIECE_BYTES / 4 / floats));
    TRY(NEW_ARRAY(&w->logits, w->piece * info->n_vocab, "logits of a piece", err));
    if (with_hidden)
        TRY(NEW_ARRAY(&w->hidden, (info->n_layers + 2) * w->piece * info->d_model, "hidden states of a piece", err));
    TRY(safetensors_writer_new(out, specs, with_hidden ? 2 : 1, &w->writer, err));
    snellen_status status = feed_all(w, err);
    if (status) {
        safetensors_writer_abort(w->writer);
        return status;
    }
    return safetensors_writer_commit(w->writer, err);
}

static bool report(const struct work *w, const char *out)
{
    if (ui.json)
        return ui_json(json_pack("{s:o, s:[I,I], s:b}", "out", cli_json_text(out, strlen(out)), "logits",
                                 (json_int_t)w->n_tokens, (json_int_t)w->info->n_vocab, "hidden",
                                 (int)w->with_hidden));
    printf("%s: logits [%lld, %lld]", out, (long long)w->n_tokens, (long long)w->info->n_vocab);
    if (w->with_hidden)
        printf(", hidden [%lld, %lld, %lld]", (long long)w->info->n_layers + 1, (long long)w->n_tokens,
               (long long)w->info->d_model);
    putchar('\n');
    return true;
}

static snellen_status logits(const snellen_model *model, const char *tokens, snellen_session_options *options,
                             const struct state_opts *state, const char *out, bool hidden, snellen_error *err)
{
    struct work w = { .info = snellen_model_get_info(model), .with_hidden = hidden };
    int32_t *ids;
    size_t n;
    TRY(cli_token_ids(tokens, w.info->n_vocab, &ids, &n, err));
    if (n == 0) {
        mem_free(ids);
        FAIL(SNELLEN_E_USAGE, "logits: --tokens holds no token, at least one expected");
    }
    w.tokens = ids;
    w.n_tokens = (int64_t)n;
    /* No longer than asked: the cache of a whole context is not needed. */
    if (options->memory == SNELLEN_MEMORY_FULL && options->n_context == 0 && !state->in)
        options->n_context = MIN(w.n_tokens, w.info->n_context);
    snellen_status status = snellen_session_new(model, options, &w.session, err);
    if (!status && state->in) status = snellen_session_restore(w.session, NULL, state->in, err);
    if (!status && snellen_session_capacity(w.session) - snellen_session_length(w.session) < w.n_tokens)
        status = error_set(err, SNELLEN_E_CONTEXT,
                           "%lld tokens are more than the context of %lld; --context N makes it longer (past %lld "
                           "the model was not trained), --memory sink goes on without end",
                           (long long)w.n_tokens, (long long)snellen_session_capacity(w.session),
                           (long long)w.info->n_context);
    if (!status) {
        snellen_session_set_progress(w.session, ui_interruptible());
        status = write_logits(&w, options, out, err);
    }
    if (!status && state->out) status = snellen_session_save(w.session, NULL, state->out, err);
    if (!status && state->out) state_note(state, snellen_session_length(w.session));
    snellen_session_free(w.session);
    mem_free(w.logits);
    mem_free(w.hidden);
    mem_free(ids);
    if (!status) report(&w, out);
    return status;
}

static int run(int argc, char **argv)
{
    struct common_opts common = common_opts_default();
    const char *tokens = NULL, *out = NULL, *args[1];
    struct state_opts state = { 0 };
    bool hidden = false;
    common.cache = "f32";   /* this verb is for exact numbers */
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT(0, "tokens", "LIST", &tokens,
                 "token ids, as in 1,2,3, or a file of ids separated by commas or white space; - is standard input"),
        OPT_TEXT('o', "out", "FILE", &out,
                 "safetensors file to write: logits [tokens, vocabulary], f32. It appears when it is complete"),
        OPT_FLAG(0, "hidden", &hidden,
                 "also hidden [layers + 1, tokens, width]: the embedding, the output of each layer but the last, and "
                 "last the vectors after the final norm"),
        OPTS_LORA(&common),
        OPTS_MEMORY(&common),
        OPT_INT(0, "context", "N", &common.context, 1, CLI_MAX_TOKENS, "full: most tokens the session can hold",
                .shown = "as many as are given, at most what the model was made for"),
        OPTS_STATE(&state),
        OPTS_ATTENTION(&common),
        OPTS_NUMBERS(&common),
        OPTS_THREADS(&common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_logits, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (!tokens) return ui_wrong("logits: --tokens LIST is missing");
    if (!out) return ui_wrong("logits: --out FILE is missing");
    snellen_error err;
    snellen_session_options options;
    if (common_session(&common, &options, &err) || cli_check_output(out, &err) ||
        (state.out && cli_check_output(state.out, &err)))
        return ui_fail(&err);
    snellen_model *model = common_load(args[0], &common, &status);
    if (!model) return status;
    common_own_memory(&common, model, &options);
    status = 0;
    if (logits(model, tokens, &options, &state, out, hidden, &err)) {
        status = ui_fail(&err);
        if (err.status == SNELLEN_E_CANCELLED) ui_note("%s was not written; the same command starts again", out);
    }
    snellen_model_free(model);
    return status;
}

const struct verb verb_logits = {
    .name = "logits",
    .summary = "logits and hidden states of given tokens, to a file",
    .run = run,
    .works = true,
    .usage = "MODEL --tokens LIST --out FILE [--hidden] [options]",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen logits smollm2 --tokens 1,2,3 --out logits.safetensors",
                  "snellen logits smollm2 --tokens ids.txt --out all.safetensors --hidden --chunk 1" },
};
