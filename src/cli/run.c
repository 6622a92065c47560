/* run: continue a text, answer a question, read a stream. Conversations: chat.c; making tokens: generate.c. */
#include "cli/run.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static double rate(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static bool print_json(const struct runner *r)
{
    const struct generation *g = &r->generation;
    json_t *ids = json_array();
    for (size_t i = 0; ids && i < g->n; i++) json_array_append_new(ids, json_integer(g->ids[i]));
    return ui_json(json_pack("{s:o, s:o, s:s, s:I, s:f, s:I, s:f, s:I, s:I, s:I}", "text",
                             cli_json_text(g->text.text ? g->text.text : "", g->text.n), "tokens", ids, "stop",
                             stop_name(g->stop), "prompt_tokens", (json_int_t)r->n_prompt, "prompt_seconds",
                             r->prompt_seconds, "new_tokens", (json_int_t)g->n, "new_seconds", g->seconds,
                             "cache_bytes", (json_int_t)r->cost.cache_bytes, "weight_bytes",
                             (json_int_t)r->cost.model_bytes, "scratch_bytes", (json_int_t)r->cost.scratch_bytes));
}

static void print_summary(const struct runner *r)
{
    const struct generation *g = &r->generation;
    char weights[32], cache[32], scratch[32];
    ui_note("prompt: %" PRIu64 " tokens in %.2f s, %.0f tokens/s; new: %zu tokens in %.2f s, %.1f tokens/s",
            r->n_prompt, r->prompt_seconds, rate(r->n_prompt, r->prompt_seconds), r->n_made, r->made_seconds,
            rate(r->n_made, r->made_seconds));
    ui_note("memory: weights %s, keys and values %s (%s, %s), scratch %s%s", ui_bytes(r->cost.model_bytes, weights),
            ui_bytes(r->cost.cache_bytes, cache), r->common.memory, r->common.cache,
            ui_bytes(r->cost.scratch_bytes, scratch), g->stop == STOP_END ? "; stopped at an end token" : "");
}

/* ---- reading the prompt ------------------------------------------------------------------------------------------ */

snellen_status runner_feed(struct runner *r, const int32_t *ids, size_t n, snellen_error *err)
{
    int64_t length = snellen_session_length(r->session), capacity = snellen_session_capacity(r->session);
    FAIL_IF((int64_t)n > capacity - length, SNELLEN_E_CONTEXT,
            "the prompt of %lld tokens%s is longer than the context of %lld; --context N makes it longer (the model "
            "was made for %lld), --memory sink goes on without end and sees the last --window tokens",
            (long long)(length + (int64_t)n), r->streaming ? " so far" : "", (long long)capacity,
            (long long)r->info->n_context);
    double start = ui_seconds();
    TRY(snellen_session_feed(r->session, ids, n, NULL, err));
    r->prompt_seconds += ui_seconds() - start;
    r->n_prompt += n;
    return SNELLEN_OK;
}

snellen_status runner_feed_text(struct runner *r, const char *text, size_t n_bytes, snellen_error *err)
{
    int32_t *ids;
    size_t n;
    if (r->state.in) TRY(snellen_tokenize(r->model, text, n_bytes, SNELLEN_SPECIAL, &ids, &n, err));
    else TRY(cli_tokenize_prompt(r->model, text, n_bytes, &ids, &n, err));
    ui_step("tokens", 0, n);   /* the bar's clock starts here */
    snellen_session_set_progress(r->session, ui_progress());
    snellen_status status = runner_feed(r, ids, n, err);
    snellen_session_set_progress(r->session, NULL);
    snellen_free(ids);
    return status;
}

/* A text of any length, as its bytes come. */
static snellen_status feed_stream(struct runner *r, const char *path, snellen_error *err)
{
    struct token_stream *stream;
    unsigned begin = r->state.in ? 0 : SNELLEN_BOS; /* a text that goes on has begun */
    TRY(token_stream_open(path, r->model, SNELLEN_SPECIAL | begin, &stream, err));
    snellen_session_set_progress(r->session, ui_interruptible());
    r->streaming = true;
    snellen_status status;
    const int32_t *ids;
    size_t n;
    ui_step("bytes", 0, token_stream_size(stream));   /* the bar's clock starts here */
    while (!(status = token_stream_next(stream, &ids, &n, err)) && n) {
        if ((status = runner_feed(r, ids, n, err))) break;
        ui_step("bytes", token_stream_bytes(stream), token_stream_size(stream));
    }
    snellen_session_set_progress(r->session, NULL);
    if (!status && token_stream_bytes(stream) == 0)
        status =
            error_set(err, SNELLEN_E_FORMAT, "%s: the prompt is empty", strcmp(path, "-") ? path : "standard input");
    token_stream_close(stream);
    return status;
}

/* ---- one answer -------------------------------------------------------------------------------------------------- */

snellen_status runner_answer(struct runner *r, snellen_error *err)
{
    struct generation *g = &r->generation;
    generation_free(g);
    double before = g->seconds;
    TRY(generate(g, err));
    r->n_made += g->n;
    r->made_seconds += g->seconds - before;
    if (!g->silent && g->n && (!g->text.n || g->text.text[g->text.n - 1] != '\n')) putchar('\n');
    ui_flush();
    return SNELLEN_OK;
}

/* What was asked: read it, answer it. After a state that alone may be the question. */
static snellen_status read_and_answer(struct runner *r, snellen_error *err)
{
    if (r->state.in && !r->text && !r->file)
        FAIL_IF(!snellen_session_logits(r->session), SNELLEN_E_USAGE,
                "%s: the state of an empty session; a prompt (-p, -f) expected", r->state.in);
    else if (r->chat && r->text) TRY(chat_once(r, r->text, err));
    else if (r->chat) TRY(chat_file(r, r->file ? r->file : "-", err));
    else if (r->text) TRY(runner_feed_text(r, r->text, strlen(r->text), err));
    else TRY(feed_stream(r, r->file ? r->file : "-", err));
    return runner_answer(r, err);
}

/* The last token of an answer is made but not read yet; in the state it is. */
static snellen_status keep_state(struct runner *r, snellen_error *err)
{
    const struct generation *g = &r->generation;
    bool unread = g->n && (g->stop == STOP_LIMIT || g->stop == STOP_OUTPUT);
    bool room = snellen_session_length(r->session) < snellen_session_capacity(r->session);
    if (unread && room) TRY(snellen_session_feed(r->session, &g->ids[g->n - 1], 1, NULL, err));
    TRY(snellen_session_save(r->session, g->sampler, r->state.out, err));
    state_note(&r->state, snellen_session_length(r->session));
    return SNELLEN_OK;
}

static snellen_status one_shot(struct runner *r, snellen_error *err)
{
    snellen_status status = read_and_answer(r, err);
    if (r->state.out && (!status || status == SNELLEN_E_CANCELLED)) {
        snellen_error own;
        if (keep_state(r, &own)) *err = own, status = own.status;
    }
    TRY(status);
    if (ui.json) print_json(r);
    print_summary(r);
    int64_t capacity = snellen_session_capacity(r->session);
    FAIL_IF(r->generation.stop == STOP_CONTEXT, SNELLEN_E_CONTEXT,
            "the context of %lld tokens is full after %zu new ones; --context N makes it longer (the model was made "
            "for %lld), --memory sink goes on without end",
            (long long)capacity, r->generation.n, (long long)r->info->n_context);
    FAIL_IF(r->generation.stop == STOP_INTERRUPTED, SNELLEN_E_CANCELLED, "interrupted");
    return SNELLEN_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

static snellen_status start(struct runner *r, const snellen_sampling *sampling, snellen_error *err)
{
    FAIL_IF(!r->info->has_tokenizer, SNELLEN_E_UNSUPPORTED, "%s; `snellen logits` takes token ids",
            r->info->no_tokenizer);
    FAIL_IF(r->chat && !*r->info->chat, SNELLEN_E_UNSUPPORTED,
            "%s: has no chat template; without --chat the model continues the text", r->info->path);
    TRY(snellen_session_cost_of(r->model, &r->options, &r->cost, err));
    TRY(snellen_session_new(r->model, &r->options, &r->session, err));
    TRY(snellen_sampler_new(sampling, r->info->n_vocab, &r->generation.sampler, err));
    if (r->state.in) TRY(snellen_session_restore(r->session, r->generation.sampler, r->state.in, err));
    r->generation.model = r->model;
    r->generation.session = r->session;
    r->generation.silent = ui.json;
    return SNELLEN_OK;
}

static int work(struct runner *r, const snellen_sampling *sampling, bool conversation)
{
    snellen_error err;
    snellen_status failed = start(r, sampling, &err);
    if (!failed) failed = conversation ? chat_talk(r, &err) : one_shot(r, &err);
    if (!failed && conversation) print_summary(r);
    int status = failed ? ui_fail(&err) : 0;
    if (failed == SNELLEN_E_CANCELLED && r->generation.n)
        ui_note("what was made so far is printed; -n %lld makes more at once", (long long)r->generation.limit * 2);
    else if (failed == SNELLEN_E_CANCELLED && !r->state.out)
        ui_note("the prompt was not read to its end; the same command starts again");
    if (r->generation.stop == STOP_OUTPUT && !status) status = 1;
    generation_free(&r->generation);
    snellen_sampler_free(r->generation.sampler);
    snellen_session_free(r->session);
    return status;
}

static int run(int argc, char **argv)
{
    struct runner r = { .common = common_opts_default() };
    snellen_sampling s = snellen_sampling_default();
    double temp = (double)s.temp, top_p = (double)s.top_p, min_p = (double)s.min_p;
    int64_t top_k = s.top_k;
    const char *args[1];
    r.common.seed = s.seed;
    const struct opt table[] = {
        OPT_GROUP("what to read (standard input, without end, when neither is given and no state)"),
        OPT_TEXT('p', "prompt", "TEXT", &r.text, "text to continue, or with --chat the question"),
        OPT_TEXT('f', "file", "FILE", &r.file, "the same from a file of any length; - is standard input"),
        OPT_FLAG(0, "chat", &r.chat,
                 "answer in the form of the model's chat template; on a terminal without -p and -f: a conversation, "
                 "line by line"),
        OPT_TEXT(0, "system", "TEXT", &r.system, "--chat: the system message"),
        OPT_GROUP("what to make"),
        OPT_INT('n', "predict", "N", &r.generation.limit, 0, CLI_MAX_TOKENS,
                "tokens to make at most; an end token stops earlier",
                .shown = "256, with --chat 1024"),
        OPT_FLAG(0, "ignore-eos", &r.generation.ignore_end, "go on after end tokens until -n"),
        OPT_REAL(0, "temp", "T", &temp, 0, 100, "0: always the likeliest token; above 1: more surprising ones"),
        OPT_INT(0, "top-k", "K", &top_k, 0, INT32_MAX, "only the K likeliest; 0 = off"),
        OPT_REAL(0, "top-p", "P", &top_p, 0, 1, "only the likeliest that make up P of the probability; 1 = off"),
        OPT_REAL(0, "min-p", "P", &min_p, 0, 1, "only those at least P times as likely as the likeliest; 0 = off"),
        OPTS_SEED(&r.common),
        OPTS_LORA(&r.common),
        OPTS_SESSION(&r.common),
        OPTS_STATE(&r.state),
        OPTS_THREADS(&r.common),
        OPTS_OUTPUT(),
    };
    r.generation.limit = -1;
    int status = opts_parse(&verb_run, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (r.text && r.file) return ui_wrong("run: -p and -f exclude each other");
    if (r.system && !r.chat) return ui_wrong("run: --system needs --chat");
    if (r.text && !*r.text) return ui_wrong("run: -p: the prompt is empty");
    if (r.generation.limit < 0) r.generation.limit = r.chat ? 1024 : 256;
    s = (snellen_sampling){ .temp = (float)temp,
                            .top_k = (int32_t)top_k,
                            .top_p = (float)top_p,
                            .min_p = (float)min_p,
                            .seed = r.common.seed };
    bool from_terminal = !r.text && !r.file && !r.state.in && isatty(0);
    bool conversation = from_terminal && r.chat && !ui.json;
    if (conversation && r.state.out) return ui_wrong("run: --state-out keeps a text, not a conversation; -p, -f or a pipe "
                                                     "expected");
    if (from_terminal && !conversation) ui_note("reading standard input; Ctrl-D ends it");
    snellen_error err;
    if (common_session(&r.common, &r.options, &err) || (r.state.out && cli_check_output(r.state.out, &err)))
        return ui_fail(&err);
    snellen_model *model = common_load(args[0], &r.common, &status);
    if (!model) return status;
    common_own_memory(&r.common, model, &r.options);
    r.model = model;
    r.info = snellen_model_get_info(model);
    status = work(&r, &s, conversation);
    snellen_model_free(model);
    return status;
}

const struct verb verb_run = {
    .name = "run",
    .summary = "continue a text or answer a question",
    .run = run,
    .works = true,
    .usage = "MODEL [-p TEXT | -f FILE] [--chat] [-n N] [options]",
    .about = "Only what the model adds is printed, token by token. When full memory's context is full the run ends "
             "with an error that says so; --memory sink reads and writes without end in fixed space.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen run smollm2 --chat -p 'Name three rivers.' --temp 0",
                  "cat *.log | snellen run smollm2 --memory sink --window 1024 -n 100" },
};
