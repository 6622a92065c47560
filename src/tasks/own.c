/* Questions of a user's own: read from a jsonl file, grown by filler, asked with and without cures, and scored on the tokens
 * of the expected answer. What a prompt has in common with the one before it is read once. */
#include "base/base.h"
#include "tasks/eval.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 28, MOST_PROMPTS = 100000, MOST_EXPECTED = 4096, SPARE = 16 };

static const char *const cure_names[] = {"", "rewrite", "sharper", "twice"};
enum cure { CURE_NONE, CURE_REWRITE, CURE_SHARPER, CURE_TWICE, CURE_COUNT };
static const double SHARPER = 0.8;

static const int64_t usual_fillers[] = {0, 256, 1024, 4096, 16384};
static const char sentences[] = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ";
static const char place[] = "{filler}";

struct own_question {
    const char *prompt, *expected;
};


struct asking {
    const snellen_model *model;
    const snellen_own_options *options;
    const snellen_progress *progress;
    struct arena arena;             /* the questions */
    struct own_question *questions;     /* [n] */
    size_t n;
    const int64_t *fillers;         /* [n_fillers] */
    size_t n_fillers;
    size_t period;                  /* tokens of `sentences` */
    int64_t context;                /* tokens that a session holds */
    snellen_session *session;
    int32_t *tokens, *before;       /* [context] this prompt with its answer; the one before, as far as the session's */
    size_t n_tokens, n_before, n_prompt;
    uint64_t n_done, n_all;
    snellen_own_result *result;
};

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static snellen_status read_question(struct asking *a, const json_t *o, struct own_question *q, snellen_error *err)
{
    const struct { const char *key; const char **to; } texts[] = {{"prompt", &q->prompt}, {"expected", &q->expected}};
    FAIL_IF(!json_is_object(o), SNELLEN_E_FORMAT, "no JSON object; {\"prompt\", \"expected\"} expected");
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const json_t *text = json_object_get(o, texts[i].key);
        FAIL_IF(!json_is_string(text) || !json_string_length(text), SNELLEN_E_FORMAT,
                "\"%s\" is missing, empty or no string", texts[i].key);
        FAIL_IF(strlen(json_string_value(text)) != json_string_length(text), SNELLEN_E_FORMAT, "\"%s\" has a NUL in it",
                texts[i].key);
        *texts[i].to = arena_text(&a->arena, json_string_value(text), json_string_length(text));
        FAIL_IF(!*texts[i].to, SNELLEN_E_MEMORY, "questions: memory ran out");
    }
    return SNELLEN_OK;
}

static bool is_blank(const char *line, size_t n)
{
    return strspn(line, " \t\r\n") >= n;
}

static snellen_status read_lines(struct asking *a, const char *path, const char *text, size_t n, snellen_error *err)
{
    size_t most = a->options->n_prompts ? a->options->n_prompts : MOST_PROMPTS, number = 0;
    for (size_t at = 0, end; at < n && a->n < most; at = end + 1) {
        const char *newline = memchr(text + at, '\n', n - at);
        end = newline ? (size_t)(newline - text) : n;
        number++;
        if (is_blank(text + at, end - at)) continue;
        json_error_t where;
        json_t *o = json_loadb(text + at, end - at, 0, &where);
        snellen_status status = o ? read_question(a, o, &a->questions[a->n++], err)
                                  : error_set(err, SNELLEN_E_FORMAT, "column %d: %s", where.column, where.text);
        json_decref(o);
        if (status) return error_prefix(err, status, "%s: line %zu", path, number);
    }
    FAIL_IF(!a->n, SNELLEN_E_FORMAT, "%s: has no lines, {\"prompt\", \"expected\"} on each expected", path);
    return SNELLEN_OK;
}

static snellen_status read_file(struct asking *a, const char *path, snellen_error *err)
{
    char *text;
    size_t n, lines = 1;
    TRY(file_read(path, MOST_BYTES, &text, &n, err));
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    snellen_status status = lines > MOST_PROMPTS && !a->options->n_prompts
                                ? error_set(err, SNELLEN_E_USAGE, "%s: %zu lines, at most %d are asked", path, lines, MOST_PROMPTS)
                                : NEW_ARRAY(&a->questions, lines, "questions", err);
    if (!status) status = read_lines(a, path, text, n, err);
    mem_free(text);
    return status;
}

/* ---- a prompt ---------------------------------------------------------------------------------------------------- */

/* Prompt with the filler, at its place or before it. */
static void put_filler(const char *prompt, size_t repeats, struct strbuf *out)
{
    const char *at = strstr(prompt, place);
    if (at) strbuf_put(out, prompt, (size_t)(at - prompt));
    for (size_t i = 0; i < repeats; i++) strbuf_puts(out, sentences);
    if (!at && repeats) strbuf_puts(out, "\n\n");
    strbuf_puts(out, at ? at + strlen(place) : prompt);
}

static snellen_status rewritten(const char *text, struct strbuf *out, snellen_error *err)
{
    const snellen_rewrite_options o = snellen_rewrite_options_default();
    snellen_rewritten *r;
    TRY(snellen_rewrite(text, strlen(text), &o, &r, err));
    strbuf_put(out, r->text, r->n);
    snellen_rewritten_free(r);
    return SNELLEN_OK;
}

static snellen_status write_prompt(const char *prompt, enum cure cure, size_t repeats, struct strbuf *out, snellen_error *err)
{
    struct strbuf cured = {0};
    if (cure == CURE_REWRITE) TRY(rewritten(prompt, &cured, err));
    else strbuf_puts(&cured, prompt);
    if (cure == CURE_TWICE && !cured.failed) {
        put_filler(cured.text, 0, out);
        strbuf_puts(out, "\n\n");
    }
    if (!cured.failed) put_filler(cured.text, repeats, out);
    bool failed = cured.failed || out->failed;
    strbuf_free(&cured);
    FAIL_IF(failed, SNELLEN_E_MEMORY, "prompt: memory ran out");
    return SNELLEN_OK;
}

static snellen_status tokens_of(const struct asking *a, const char *text, unsigned flags, int32_t **ids, size_t *n,
                                snellen_error *err)
{
    return snellen_tokenize(a->model, text, strlen(text), flags, ids, n, err);
}

static snellen_status prompt_tokens(const struct asking *a, const char *prompt, int32_t **ids, size_t *n, snellen_error *err)
{
    if (!a->options->chat) return tokens_of(a, prompt, task_token_flags(false), ids, n, err);
    char *turns;
    TRY(snellen_chat_format(a->model, &(snellen_message){.role = "user", .content = prompt}, 1, true, &turns, err));
    snellen_status status = tokens_of(a, turns, task_token_flags(true), ids, n, err);
    snellen_free(turns);
    return status;
}

/* Without a template a space stands between prompt and answer, unless the prompt ends in white space. */
static snellen_status answer_tokens(const struct asking *a, const char *prompt, const char *expected, enum cure cure,
                                    int32_t **ids, size_t *n, snellen_error *err)
{
    struct strbuf text = {0};
    if (!a->options->chat && !strchr(" \t\n", prompt[strlen(prompt) - 1])) strbuf_puts(&text, " ");
    snellen_status status = SNELLEN_OK;
    if (cure == CURE_REWRITE) status = rewritten(expected, &text, err);
    else strbuf_puts(&text, expected);
    if (!status && text.failed) status = error_set(err, SNELLEN_E_MEMORY, "answer: memory ran out");
    if (!status) status = tokens_of(a, text.text, 0, ids, n, err);
    strbuf_free(&text);
    if (status) return status;
    if (*n && *n <= MOST_EXPECTED) return SNELLEN_OK;
    status = error_set(err, SNELLEN_E_USAGE, "an expected answer of %zu tokens, 1 to %d can be scored", *n, MOST_EXPECTED);
    snellen_free(*ids);
    return status;
}

/* Prompt and answer as tokens: handed over, *n_prompt of them are the prompt's. */
static snellen_status build(const struct asking *a, const struct own_question *q, enum cure cure, int64_t filler, int32_t **ids,
                            size_t *n, size_t *n_prompt, snellen_error *err)
{
    struct strbuf text = {0};
    int32_t *prompt = NULL, *answer = NULL, *all = NULL;
    size_t n_answer = 0, repeats = filler > 0 ? MAX(((size_t)filler + a->period / 2) / a->period, 1) : 0;
    snellen_status status = write_prompt(q->prompt, cure, repeats, &text, err);
    if (!status) status = prompt_tokens(a, text.text, &prompt, n_prompt, err);
    if (!status && !*n_prompt) status = error_set(err, SNELLEN_E_USAGE, "the prompt has no tokens");
    if (!status) status = answer_tokens(a, text.text, q->expected, cure, &answer, &n_answer, err);
    if (!status) status = NEW_ARRAY(&all, *n_prompt + n_answer, "prompt", err);
    if (!status) {
        memcpy(all, prompt, *n_prompt * sizeof *all);
        memcpy(all + *n_prompt, answer, n_answer * sizeof *all);
        *n = *n_prompt + n_answer;
        *ids = all;
    }
    strbuf_free(&text);
    snellen_free(prompt);
    snellen_free(answer);
    return status;
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

/* The most tokens of a prompt with this much filler, any cure. */
static snellen_status longest_with(const struct asking *a, const bool wanted[CURE_COUNT], int64_t filler, size_t *longest,
                                   snellen_error *err)
{
    *longest = 0;
    for (size_t i = 0; i < a->n; i++)
        for (int cure = 0; cure < CURE_COUNT; cure++) {
            int32_t *ids;
            size_t n, n_prompt;
            if (!wanted[cure]) continue;
            snellen_status status = build(a, &a->questions[i], (enum cure)cure, filler, &ids, &n, &n_prompt, err);
            if (status) return error_prefix(err, status, "question %zu", i + 1);
            mem_free(ids);
            *longest = MAX(*longest, n);
        }
    return SNELLEN_OK;
}

/* Of the usual lengths those that fit; the context of the session is what the longest needs. */
static snellen_status choose_fillers(struct asking *a, const bool wanted[CURE_COUNT], snellen_error *err)
{
    bool own = !a->options->fillers;
    const snellen_session_options *s = &a->options->session;
    bool full = s->memory == SNELLEN_MEMORY_FULL;
    int64_t limit = full && s->n_context ? s->n_context : snellen_model_get_info(a->model)->n_context;
    a->fillers = own ? usual_fillers : a->options->fillers;
    a->n_fillers = own ? COUNT_OF(usual_fillers) : a->options->n_fillers;
    FAIL_IF(!a->n_fillers, SNELLEN_E_USAGE, "no length of filler is given");
    for (size_t i = 0; i < a->n_fillers; i++) {
        size_t longest;
        TRY(longest_with(a, wanted, a->fillers[i], &longest, err));
        bool fits = (int64_t)longest + SPARE <= limit || (!full && !own);
        if (own && !fits && i) {
            a->n_fillers = i;
            break;
        }
        FAIL_IF(!fits, SNELLEN_E_CONTEXT, "with %lld tokens of filler a prompt has %zu tokens, the context holds %lld",
                (long long)a->fillers[i], longest, (long long)limit);
        a->context = MAX(a->context, (int64_t)longest + SPARE);
    }
    return SNELLEN_OK;
}

static snellen_status wanted_cures(const char *list, bool wanted[CURE_COUNT], snellen_error *err)
{
    wanted[CURE_NONE] = true;
    for (size_t n; *list; list += n + (list[n] == ',')) {
        size_t cure = 1;
        n = strcspn(list, ",");
        while (cure < CURE_COUNT && (strlen(cure_names[cure]) != n || strncmp(cure_names[cure], list, n))) cure++;
        FAIL_IF(cure == CURE_COUNT, SNELLEN_E_USAGE, "cure '%.*s': rewrite, sharper or twice expected", (int)MIN(n, 100), list);
        wanted[cure] = true;
    }
    return SNELLEN_OK;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* What the session has read already stays; the prompt's last token is read anew, for its logits. */
static snellen_status read_prompt(struct asking *a, snellen_error *err)
{
    size_t common = 0, last = a->n_prompt - 1;
    while (common < MIN(a->n_before, last) && a->before[common] == a->tokens[common]) common++;
    if (a->options->session.memory != SNELLEN_MEMORY_FULL) common = 0;
    a->n_before = 0;
    TRY(snellen_session_truncate(a->session, (int64_t)common, err));
    TRY(snellen_session_feed(a->session, a->tokens + common, a->n_prompt - common, NULL, err));
    memcpy(a->before, a->tokens, a->n_prompt * sizeof *a->before);
    a->n_before = a->n_prompt;
    return SNELLEN_OK;
}

/* One token of the expected answer against all others. */
static void score_token(const float *logits, int64_t n_vocab, int32_t token, snellen_own_answer *to)
{
    float best = -INFINITY, top = logits[token];
    double sum = 0;
    for (int64_t i = 0; i < n_vocab; i++)
        if (i != token) best = fmaxf(best, logits[i]);
    top = fmaxf(top, best);
    for (int64_t i = 0; i < n_vocab; i++) sum += exp((double)(logits[i] - top));
    to->margin = fminf(to->margin, logits[token] - best);
    to->nll += (float)((double)(top - logits[token]) + log(sum));
}

static snellen_status ask(struct asking *a, size_t prompt, enum cure cure, int64_t filler, snellen_error *err)
{
    int64_t n_vocab = snellen_model_get_info(a->model)->n_vocab;
    mem_free(a->tokens);
    a->tokens = NULL;
    TRY(build(a, &a->questions[prompt], cure, filler, &a->tokens, &a->n_tokens, &a->n_prompt, err));
    TRY(read_prompt(a, err));
    snellen_own_answer answer = {.prompt = (uint32_t)prompt, .cure = cure_names[cure], .filler = filler, .margin = INFINITY};
    size_t n = a->n_tokens - a->n_prompt;
    for (size_t i = a->n_prompt; i < a->n_tokens; i++) {
        score_token(snellen_session_logits(a->session), n_vocab, a->tokens[i], &answer);
        if (i + 1 < a->n_tokens) TRY(snellen_session_feed(a->session, &a->tokens[i], 1, NULL, err));
    }
    answer.nll /= (float)n;
    answer.right = answer.margin > 0;
    a->result->answers[a->result->n_answers++] = answer;
    a->n_done++;
    return SNELLEN_OK;
}

static snellen_status close_cell(struct asking *a, enum cure cure, int64_t filler, snellen_error *err)
{
    snellen_own_cell *c = &a->result->cells[a->result->n_cells];
    const snellen_own_answer *answers = a->result->answers + a->result->n_answers - a->n;
    double *margins;
    TRY(NEW_ARRAY(&margins, a->n, "margins", err));
    *c = (snellen_own_cell){.cure = cure_names[cure], .filler = filler, .n = (uint32_t)a->n};
    for (size_t i = 0; i < a->n; i++) {
        margins[i] = (double)answers[i].margin;
        c->n_right += answers[i].right;
    }
    mean_interval(margins, a->n, &c->margin, &c->margin_low, &c->margin_high);
    wilson_interval(c->n_right, c->n, &c->right_low, &c->right_high);
    mem_free(margins);
    a->result->n_cells++;
    return SNELLEN_OK;
}

/* Between the chunks of a long prompt: still so many questions. */
static bool go_on(void *user, const char *what, uint64_t done, uint64_t all)
{
    const struct asking *a = user;
    const snellen_progress *p = a->progress;
    (void)what, (void)done, (void)all;
    return !p || !p->step || p->step(p->user, "questions", a->n_done, a->n_all);
}

static snellen_status ask_with(struct asking *a, enum cure cure, snellen_error *err)
{
    snellen_session_options o = a->options->session;
    if (cure == CURE_SHARPER) o.attn_temp = o.attn_temp * SHARPER;
    if (o.memory == SNELLEN_MEMORY_FULL) o.n_context = a->context;
    a->n_before = 0;
    TRY(snellen_session_new(a->model, &o, &a->session, err));
    snellen_session_set_progress(a->session, &(snellen_progress){.step = go_on, .user = a});
    snellen_status status = SNELLEN_OK;
    for (size_t f = 0; f < a->n_fillers && !status; f++) {
        size_t before = a->result->n_answers;
        for (size_t i = 0; i < a->n && !status; i++) status = ask(a, i, cure, a->fillers[f], err);
        if (!status) status = close_cell(a, cure, a->fillers[f], err);
        if (status) a->result->n_answers = before;   /* a cell that is not whole does not count */
    }
    snellen_session_free(a->session);
    a->session = NULL;
    return status;
}

static snellen_status ask_all(struct asking *a, const char *path, snellen_error *err)
{
    bool wanted[CURE_COUNT] = {false};
    size_t n_cures = 0;
    int32_t *ids;
    TRY(wanted_cures(a->options->cures, wanted, err));
    for (int cure = 0; cure < CURE_COUNT; cure++) n_cures += wanted[cure];
    TRY(tokens_of(a, sentences, 0, &ids, &a->period, err));
    snellen_free(ids);
    TRY(read_file(a, path, err));
    TRY(choose_fillers(a, wanted, err));
    a->n_all = n_cures * a->n_fillers * a->n;
    TRY(NEW_ARRAY(&a->before, a->context, "prompt", err));
    TRY(NEW_ARRAY(&a->result->answers, a->n_all, "answers", err));
    TRY(NEW_ARRAY(&a->result->cells, n_cures * a->n_fillers, "cells", err));
    for (int cure = 0; cure < CURE_COUNT; cure++)
        if (wanted[cure]) TRY(ask_with(a, (enum cure)cure, err));
    return SNELLEN_OK;
}

snellen_own_options snellen_own_options_default(const snellen_model *model)
{
    return (snellen_own_options){.cures = "rewrite,sharper,twice", .chat = snellen_task_options_default(model).chat,
                                 .session = snellen_session_options_default()};
}

snellen_status snellen_own_eval(const snellen_model *model, const char *path, const snellen_own_options *options,
                                const snellen_progress *progress, snellen_own_result **result, snellen_error *err)
{
    struct asking a = {.model = model, .options = options, .progress = progress};
    *result = NULL;
    TRY(NEW_ARRAY(&a.result, 1, "results", err));
    snellen_status status = ask_all(&a, path, err);
    arena_free(&a.arena);
    mem_free(a.questions);
    mem_free(a.tokens);
    mem_free(a.before);
    if (!status || status == SNELLEN_E_CANCELLED) *result = a.result;
    else snellen_own_result_free(a.result);
    return status;
}

void snellen_own_result_free(snellen_own_result *result)
{
    if (!result) return;
    mem_free(result->cells);
    mem_free(result->answers);
    mem_free(result);
}

int64_t snellen_own_reach(const snellen_own_result *result, const char *cure)
{
    int64_t reach = -1;
    const snellen_own_cell *first = NULL;
    for (size_t i = 0; i < result->n_cells; i++) {
        const snellen_own_cell *c = &result->cells[i];
        if (strcmp(c->cure, cure)) continue;
        if (!first) first = c;
        if (!first->n_right || (double)c->n_right < 0.85 * (double)first->n_right) break;
        reach = c->filler;
    }
    return reach;
}
