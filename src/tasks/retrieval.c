/* Questions of the probe of retrieval in a model's own tokens: in its template, and so long as is asked for.
 *
 * Filler is whole sentences or items, so its number is sought by bisection. The tokens are always those of the whole text. */
#include "tasks/retrieval.h"

#include <stdlib.h>
#include <string.h>

static snellen_status tokens_of(const struct retrieval_maker *maker, const char *text, size_t n_bytes, int32_t **ids, size_t *n,
                                snellen_error *err)
{
    return snellen_tokenize(maker->model, text, n_bytes, task_token_flags(maker->chat), ids, n, err);
}

/* A prompt up to where its answer begins. *opened by strbuf_free(); *start: byte at which the prompt stands in it. */
static snellen_status open_prompt(const struct retrieval_maker *maker, const char *prompt, struct strbuf *opened, size_t *start,
                                  snellen_error *err)
{
    *start = 0;
    if (!maker->chat) {
        strbuf_printf(opened, "%s\n", prompt);
        return SNELLEN_OK;
    }
    char *turns;
    TRY(snellen_chat_format(maker->model, &(snellen_message){.role = "user", .content = prompt}, 1, true, &turns, err));
    const char *at = strstr(turns, prompt);
    strbuf_puts(opened, turns);
    *start = at ? (size_t)(at - turns) : 0;
    snellen_free(turns);
    FAIL_IF(!at, SNELLEN_E_UNSUPPORTED, "the model's chat template changes the prompt that is put into it");
    return SNELLEN_OK;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

struct spelling {
    int32_t *ids;
    size_t n;
};

/* All answers behind "opening frame "; what they begin with in common belongs to the question. */
static snellen_status spell_all(const struct retrieval_maker *maker, const char *opening, const char *frame,
                                const struct retrieval_answers *answers, struct spelling *all, snellen_error *err)
{
    for (size_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        struct strbuf text = {0};
        strbuf_printf(&text, "%s%s %s", opening, frame, answers->text[i]);
        snellen_status status = text.failed ? error_set(err, SNELLEN_E_MEMORY, "answers: memory ran out")
                                            : tokens_of(maker, text.text, text.n, &all[i].ids, &all[i].n, err);
        strbuf_free(&text);
        if (status) return status;
    }
    return SNELLEN_OK;
}

static snellen_status keep_tails(const struct spelling *all, struct retrieval_question *q, snellen_error *err)
{
    size_t shared = all[0].n;
    for (size_t i = 1; i < SNELLEN_RETRIEVAL_ANSWERS; i++)
        shared = MIN(shared, common_prefix(all[0].ids, all[0].n, all[i].ids, all[i].n));
    for (size_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        q->n_tails[i] = all[i].n - shared;
        FAIL_IF(!q->n_tails[i] || q->n_tails[i] > ANSWER_MAX_DEPTH, SNELLEN_E_UNSUPPORTED,
                "the tokenizer spells the answer %s with %zu tokens, 1 to %d expected", q->answers.text[i], q->n_tails[i],
                ANSWER_MAX_DEPTH);
        memcpy(q->tails[i], all[i].ids + shared, q->n_tails[i] * sizeof **q->tails);
    }
    return SNELLEN_OK;
}

/* Behind a short prompt in the long one's place: what stands before the frame's line does not join it. */
static snellen_status spell_tails(const struct retrieval_maker *maker, const char *frame, struct retrieval_question *q,
                                  snellen_error *err)
{
    struct spelling all[SNELLEN_RETRIEVAL_ANSWERS] = {{0}};
    struct strbuf opening = {0};
    size_t start;
    snellen_status status = open_prompt(maker, "Which one?", &opening, &start, err);
    if (!status && opening.failed) status = error_set(err, SNELLEN_E_MEMORY, "answers: memory ran out");
    if (!status) status = spell_all(maker, opening.text, frame, &q->answers, all, err);
    if (!status) status = keep_tails(all, q, err);
    for (size_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) snellen_free(all[i].ids);
    strbuf_free(&opening);
    return status;
}

/* ---- the question ------------------------------------------------------------------------------------------------ */

/* The text as the model is given it, with the answer's frame: what it writes follows [0, asked), and what is asked for is said at
 * byte `at`. Who is not in a chat would go on with more questions: there the frame is given. */
struct question_text {
    struct strbuf text;
    size_t asked, at;
};

static snellen_status write_text(const struct retrieval_maker *maker, const struct retrieval_scene *scene,
                                 enum retrieval_task task, double depth, struct question_text *out, snellen_error *err)
{
    struct strbuf prompt = {0};
    size_t start = 0;
    retrieval_prompt(scene, task, depth, &prompt, &out->at);
    snellen_status status = prompt.failed ? error_set(err, SNELLEN_E_MEMORY, "prompt: memory ran out")
                                          : open_prompt(maker, prompt.text, &out->text, &start, err);
    strbuf_free(&prompt);
    if (status) return status;
    out->at += start;
    out->asked = out->text.n;
    retrieval_frame(scene, task, depth, &out->text);
    if (!maker->chat) out->asked = out->text.n;
    FAIL_IF(out->text.failed, SNELLEN_E_MEMORY, "prompt: memory ran out");
    return SNELLEN_OK;
}

/* Tokens of the text with the right answer, without that answer's tail. */
static snellen_status frame_tokens(const struct retrieval_maker *maker, struct question_text *text, struct retrieval_question *q,
                                   snellen_error *err)
{
    size_t n_tail = q->n_tails[0];
    strbuf_printf(&text->text, " %s", q->answers.text[0]);
    FAIL_IF(text->text.failed, SNELLEN_E_MEMORY, "prompt: memory ran out");
    TRY(tokens_of(maker, text->text.text, text->text.n, &q->tokens, &q->n_tokens, err));
    FAIL_IF(q->n_tokens <= n_tail || memcmp(q->tokens + q->n_tokens - n_tail, q->tails[0], n_tail * sizeof *q->tokens),
            SNELLEN_E_UNSUPPORTED, "the tokenizer joins the answer %s with what stands before it", q->answers.text[0]);
    q->n_tokens -= n_tail;
    return SNELLEN_OK;
}

/* The text's parts that are wanted beside the whole. */
static snellen_status part_tokens(const struct retrieval_maker *maker, const struct question_text *text,
                                  struct retrieval_question *q, snellen_error *err)
{
    int32_t *before;
    size_t n_before;
    TRY(tokens_of(maker, text->text.text, text->at, &before, &n_before, err));
    snellen_free(before);
    q->at = (int64_t)n_before;
    return maker->written ? tokens_of(maker, text->text.text, text->asked, &q->asked, &q->n_asked, err) : SNELLEN_OK;
}

/* `whole`: all of it, not just the number of tokens. */
static snellen_status build(const struct retrieval_maker *maker, const struct retrieval_scene *scene, enum retrieval_task task,
                            double depth, bool whole, struct retrieval_question *q, snellen_error *err)
{
    struct question_text text = {.at = 0};
    struct strbuf frame = {0};
    *q = (struct retrieval_question){.at = -1};
    retrieval_answers(scene, depth, &q->answers);
    retrieval_frame(scene, task, depth, &frame);
    snellen_status status = frame.failed ? error_set(err, SNELLEN_E_MEMORY, "prompt: memory ran out")
                                         : spell_tails(maker, frame.text, q, err);
    if (!status) status = write_text(maker, scene, task, depth, &text, err);
    if (!status) status = frame_tokens(maker, &text, q, err);
    if (!status && whole) status = part_tokens(maker, &text, q, err);
    strbuf_free(&frame);
    strbuf_free(&text.text);
    return status;
}

void retrieval_question_free(struct retrieval_question *q)
{
    snellen_free(q->tokens);
    snellen_free(q->asked);
    *q = (struct retrieval_question){.at = -1};
}

/* ---- its length -------------------------------------------------------------------------------------------------- */

static snellen_status count(const struct retrieval_maker *maker, const struct retrieval_scene *scene, enum retrieval_task task,
                            double depth, int64_t *n, snellen_error *err)
{
    struct retrieval_question q;
    snellen_status status = build(maker, scene, task, depth, false, &q, err);
    *n = (int64_t)q.n_tokens;
    retrieval_question_free(&q);
    return status;
}

/* Most tokens of the questions about a scene with so many units. */
static snellen_status longest(const struct retrieval_maker *maker, struct retrieval_scene *scene, int64_t units,
                              const bool wanted[RETRIEVAL_TASKS], const double *depths, size_t n_depths, int64_t *most,
                              snellen_error *err)
{
    *most = 0;
    scene->units = units;
    for (int task = 0; task < RETRIEVAL_TASKS; task++) {
        if (!wanted[task] || retrieval_kind_of((enum retrieval_task)task) != scene->kind) continue;
        for (size_t d = 0; d < n_depths; d++) {
            int64_t n;
            TRY(count(maker, scene, (enum retrieval_task)task, depths[d], &n, err));
            *most = MAX(*most, n);
        }
    }
    return SNELLEN_OK;
}

snellen_status retrieval_fit(const struct retrieval_maker *maker, struct retrieval_scene *scene, int64_t length,
                             const bool wanted[RETRIEVAL_TASKS], const double *depths, size_t n_depths, snellen_error *err)
{
    bool list = scene->kind == RETRIEVAL_LIST;
    const char *what = list ? "a list" : retrieval_names[scene->kind == RETRIEVAL_KEY ? RETRIEVAL_PASSKEY : RETRIEVAL_NEEDLE];
    int64_t fits = RETRIEVAL_LEAST, bound = list ? RETRIEVAL_MOST_ITEMS + 1 : length, n;
    TRY(longest(maker, scene, fits, wanted, depths, n_depths, &n, err));
    FAIL_IF(n > length, SNELLEN_E_USAGE, "length is %lld tokens, the shortest question about %s has %lld", (long long)length, what,
            (long long)n);
    /* First a bound near to what fits, so that what is tried is never much longer than what is asked for. */
    for (int64_t units = 2 * fits; units < bound; units *= 2) {
        TRY(longest(maker, scene, units, wanted, depths, 1, &n, err));
        if (n > length) bound = units;
        else fits = units;
    }
    while (bound - fits > 1) {
        int64_t middle = fits + (bound - fits) / 2;
        TRY(longest(maker, scene, middle, wanted, depths, 1, &n, err));
        if (n > length) bound = middle;
        else fits = middle;
    }
    FAIL_IF(list && fits == RETRIEVAL_MOST_ITEMS, SNELLEN_E_USAGE, "length is %lld tokens: a list of more than %d items, which is as "
            "many names as there are; --tasks passkey,needle expected at this length", (long long)length, RETRIEVAL_MOST_ITEMS);
    for (;; fits--) {
        TRY(longest(maker, scene, fits, wanted, depths, n_depths, &n, err));
        if (n <= length || fits == RETRIEVAL_LEAST) return SNELLEN_OK;
    }
}

snellen_status retrieval_make(const struct retrieval_maker *maker, const struct retrieval_scene *scene, enum retrieval_task task,
                              double depth, struct retrieval_question *out, snellen_error *err)
{
    return build(maker, scene, task, depth, true, out, err);
}
